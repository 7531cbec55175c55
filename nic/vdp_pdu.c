/*
 * VDP PDUs (vdp_pdu.h).
 */
#include "nic/vdp_pdu.h"

#include "nic/tlv.h"

#define MANAGER 5u      /* type of the Manager ID TLV */

/* An association TLV. */
#define STATUS 0u
#define VSI_TYPE 1u
#define VSI_TYPE_VERSION 4u
#define ID_FORMAT 5u
#define ID 6u
#define FILTER_FORMAT 22u
#define NR_FILTERS 23u
#define FILTERS 25u

/* The last two bytes of an entry. */
#define PS BIT(15)
#define PCP BITS(14, 12)
#define VID BITS(11, 0)
#define VSI_TYPE_MAX 0xffffffu

static bool has_group(u8 format) { return format == VDP_FILTER_GROUP_VID || format == VDP_FILTER_GROUP_MAC_VID; }
static bool has_mac(u8 format) { return format == VDP_FILTER_MAC_VID || format == VDP_FILTER_GROUP_MAC_VID; }
static u32 filter_len(u8 format) { return (has_group(format) ? 4u : 0) + (has_mac(format) ? FRAME_MAC_LEN : 0) + 2u; }

static bool formats_ok(const struct vdp_vsi *v)
{
	return v->id_format >= VDP_VSIID_IPV4 && v->id_format <= VDP_VSIID_UUID && v->filter_format >= VDP_FILTER_VID &&
	       v->filter_format <= VDP_FILTER_GROUP_MAC_VID;
}

/* ---- building ---- */

/* What a format does not have is zero, or it would be lost. */
static bool filter_ok(const struct vdp_filter *f, u8 format)
{
	static const u8 none[FRAME_MAC_LEN];
	return f->vid <= VID && f->pcp <= 7 && (has_group(format) || !f->group) && (has_mac(format) || !memcmp(f->mac, none, sizeof(none)));
}

static u8 *filter_put(u8 *p, const struct vdp_filter *f, u8 format)
{
	if (has_group(format)) {
		be32_put(p, f->group);
		p += 4;
	}
	if (has_mac(format)) {
		memcpy(p, f->mac, FRAME_MAC_LEN);
		p += FRAME_MAC_LEN;
	}
	be16_put(p, (u32)(FIELD_PREP(PS, f->ps) | FIELD_PREP(PCP, f->pcp) | f->vid));
	return p + 2;
}

static bool vsi_ok(const struct vdp_vsi *v)
{
	if (v->type < VDP_PREASSOC || v->type > VDP_DEASSOC || v->status & ~VDP_STATUS_MASK || v->vsi_type > VSI_TYPE_MAX ||
	    !formats_ok(v) || v->nr_filters > VDP_MAX_FILTERS)
		return false;
	for (u32 i = 0; i < v->nr_filters; i++)
		if (!filter_ok(&v->filter[i], v->filter_format))
			return false;
	return true;
}

static int vsi_put(struct tlv_out *out, const struct vdp_vsi *v)
{
	if (!vsi_ok(v))
		return -EINVAL;
	u8 *p = tlv_add(out, v->type, FILTERS + v->nr_filters * filter_len(v->filter_format));
	if (!p)
		return -ENOSPC;
	p[STATUS] = v->status;
	be24_put(p + VSI_TYPE, v->vsi_type);
	p[VSI_TYPE_VERSION] = v->vsi_type_version;
	p[ID_FORMAT] = v->id_format;
	memcpy(p + ID, v->id, VDP_ID_LEN);
	p[FILTER_FORMAT] = v->filter_format;
	be16_put(p + NR_FILTERS, v->nr_filters);
	p += FILTERS;
	for (u32 i = 0; i < v->nr_filters; i++)
		p = filter_put(p, &v->filter[i], v->filter_format);
	return 0;
}

int vdp_build(u8 *pdu, u32 room, const struct vdp_pdu *p)
{
	struct tlv_out out = { pdu, room, 0 };
	if (!p->nr_vsis || p->nr_vsis > VDP_MAX_VSIS)
		return -EINVAL;
	u8 *manager = tlv_add(&out, MANAGER, VDP_ID_LEN);
	if (!manager)
		return -ENOSPC;
	memcpy(manager, p->manager, VDP_ID_LEN);
	for (u32 i = 0; i < p->nr_vsis; i++) {
		int r = vsi_put(&out, &p->vsi[i]);
		if (r)
			return r;
	}
	return tlv_add(&out, TLV_END, 0) ? (int)out.len : -ENOSPC;
}

/* ---- parsing ---- */

static const u8 *filter_get(const u8 *p, struct vdp_filter *f, u8 format)
{
	*f = (struct vdp_filter){ .group = 0 };
	if (has_group(format)) {
		f->group = be32_get(p);
		p += 4;
	}
	if (has_mac(format)) {
		memcpy(f->mac, p, FRAME_MAC_LEN);
		p += FRAME_MAC_LEN;
	}
	u16 word = be16_get(p);
	f->vid = word & VID;
	f->pcp = (u8)FIELD_GET(PCP, word);
	f->ps = FIELD_GET(PS, word);
	return p + 2;
}

static int vsi_get(const struct tlv *t, struct vdp_vsi *v)
{
	const u8 *p = t->value;
	if (t->len < FILTERS)
		return -EINVAL;
	*v = (struct vdp_vsi){
		.type = t->type,
		.status = p[STATUS] & VDP_STATUS_MASK,
		.vsi_type = be24_get(p + VSI_TYPE),
		.vsi_type_version = p[VSI_TYPE_VERSION],
		.id_format = p[ID_FORMAT],
		.filter_format = p[FILTER_FORMAT],
		.nr_filters = be16_get(p + NR_FILTERS),
	};
	memcpy(v->id, p + ID, VDP_ID_LEN);
	if (!formats_ok(v) || t->len != FILTERS + v->nr_filters * filter_len(v->filter_format))
		return -EINVAL;
	if (v->nr_filters > VDP_MAX_FILTERS)
		return -ENOSPC;
	p += FILTERS;
	for (u32 i = 0; i < v->nr_filters; i++)
		p = filter_get(p, &v->filter[i], v->filter_format);
	return 0;
}

static int get(const struct tlv *t, struct vdp_pdu *p)
{
	switch (t->type) {
	case MANAGER:
		return -EINVAL; /* a second one */
	case VDP_PREASSOC:
	case VDP_PREASSOC_RR:
	case VDP_ASSOC:
	case VDP_DEASSOC:
		return p->nr_vsis < VDP_MAX_VSIS ? vsi_get(t, &p->vsi[p->nr_vsis++]) : -ENOSPC;
	default:
		return 0;
	}
}

int vdp_parse(const u8 *pdu, u32 len, struct vdp_pdu *p)
{
	struct tlv_in in = { pdu, len };
	struct tlv t;
	int more;
	if (tlv_next(&in, &t) <= 0 || t.type != MANAGER || t.len != VDP_ID_LEN)
		return -EINVAL;
	memcpy(p->manager, t.value, VDP_ID_LEN);
	p->nr_vsis = 0;
	while ((more = tlv_next(&in, &t)) > 0) {
		int r = get(&t, p);
		if (r)
			return r;
	}
	return more || !p->nr_vsis ? -EINVAL : 0;
}
