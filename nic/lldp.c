/*
 * LLDPDUs (lldp.h).
 */
#include "nic/lldp.h"

#include "nic/tlv.h"

#define CHASSIS 1u
#define PORT 2u
#define TTL 3u
#define ORGANIZATION 127u
#define TTL_LEN 2u

/* OUI and subtype of an organizationally specific TLV, as one number. */
#define SPECIFIC_LEN 4u
#define EVB 0x0080c20du
#define PORT_EXTENSION 0x0080c20fu
#define EVB_LEN (SPECIFIC_LEN + 5u)
#define PORT_EXTENSION_LEN (SPECIFIC_LEN + 13u)

/* EVB TLV, octets 3, 4 and 5 after the subtype. */
#define RETRIES BITS(7, 5)
#define MODE BITS(7, 6)
#define REMOTE BIT(5)
#define EXPONENT BITS(4, 0)
#define EXPONENT_MAX 31
#define BRIDGE_BITS (LLDP_EVB_BGID | LLDP_EVB_RRCAP | LLDP_EVB_RRCTR)
#define STATION_BITS (LLDP_EVB_SGID | LLDP_EVB_RRREQ | LLDP_EVB_RRSTAT)

/* ---- building ---- */

static int id_put(struct tlv_out *out, u8 type, const struct lldp_id *id)
{
	if (!id->len || id->len > LLDP_ID_MAX)
		return -EINVAL;
	u8 *p = tlv_add(out, type, 1 + id->len);
	if (!p)
		return -ENOSPC;
	p[0] = id->subtype;
	memcpy(p + 1, id->bytes, id->len);
	return 0;
}

static int ttl_put(struct tlv_out *out, u16 ttl)
{
	u8 *p = tlv_add(out, TTL, TTL_LEN);
	if (!p)
		return -ENOSPC;
	be16_put(p, ttl);
	return 0;
}

static int evb_put(struct tlv_out *out, const struct lldp_evb *e)
{
	if (e->bridge & ~BRIDGE_BITS || e->station & ~STATION_BITS || e->retries > 7 || e->rte > EXPONENT_MAX ||
	    e->mode >= LLDP_EVB_MODES || e->rwd > EXPONENT_MAX || e->rka > EXPONENT_MAX)
		return -EINVAL;
	u8 *p = tlv_add(out, ORGANIZATION, EVB_LEN);
	if (!p)
		return -ENOSPC;
	be32_put(p, EVB);
	p[4] = e->bridge;
	p[5] = e->station;
	p[6] = (u8)(FIELD_PREP(RETRIES, e->retries) | e->rte);
	p[7] = (u8)(FIELD_PREP(MODE, e->mode) | FIELD_PREP(REMOTE, e->remote_wait) | e->rwd);
	p[8] = (u8)(FIELD_PREP(REMOTE, e->remote_keep) | e->rka);
	return 0;
}

static int pe_put(struct tlv_out *out, const struct lldp_pe *pe)
{
	u8 *p = tlv_add(out, ORGANIZATION, PORT_EXTENSION_LEN);
	if (!p)
		return -ENOSPC;
	be32_put(p, PORT_EXTENSION);
	p[4] = pe->priority;
	memcpy(p + 5, pe->pe, FRAME_MAC_LEN);
	memcpy(p + 11, pe->csp, FRAME_MAC_LEN);
	return 0;
}

int lldp_build(u8 *pdu, u32 room, const struct lldp *l)
{
	struct tlv_out out = { pdu, room, 0 };
	int r = id_put(&out, CHASSIS, &l->chassis);
	if (!r)
		r = id_put(&out, PORT, &l->port);
	if (!r)
		r = ttl_put(&out, l->ttl);
	if (!r && l->has_evb)
		r = evb_put(&out, &l->evb);
	if (!r && l->has_pe)
		r = pe_put(&out, &l->pe);
	if (r)
		return r;
	return tlv_add(&out, TLV_END, 0) ? (int)out.len : -ENOSPC;
}

/* ---- parsing ---- */

static int id_get(const struct tlv *t, struct lldp_id *id)
{
	if (t->len < 2 || t->len > 1 + LLDP_ID_MAX)
		return -EINVAL;
	*id = (struct lldp_id){ t->value[0], t->len - 1, t->value + 1 };
	return 0;
}

static int ttl_get(const struct tlv *t, u16 *ttl)
{
	if (t->len != TTL_LEN)
		return -EINVAL;
	*ttl = be16_get(t->value);
	return 0;
}

static int evb_get(const struct tlv *t, struct lldp *l)
{
	const u8 *p = t->value;
	if (l->has_evb || t->len != EVB_LEN)
		return -EINVAL;
	l->has_evb = true;
	l->evb = (struct lldp_evb){
		.bridge = p[4] & BRIDGE_BITS,
		.station = p[5] & STATION_BITS,
		.retries = (u8)FIELD_GET(RETRIES, p[6]),
		.rte = p[6] & EXPONENT,
		.mode = (u8)FIELD_GET(MODE, p[7]),
		.remote_wait = FIELD_GET(REMOTE, p[7]),
		.rwd = p[7] & EXPONENT,
		.remote_keep = FIELD_GET(REMOTE, p[8]),
		.rka = p[8] & EXPONENT,
	};
	return 0;
}

static int pe_get(const struct tlv *t, struct lldp *l)
{
	if (l->has_pe || t->len != PORT_EXTENSION_LEN)
		return -EINVAL;
	l->has_pe = true;
	l->pe.priority = t->value[4];
	memcpy(l->pe.pe, t->value + 5, FRAME_MAC_LEN);
	memcpy(l->pe.csp, t->value + 11, FRAME_MAC_LEN);
	return 0;
}

static int specific_get(const struct tlv *t, struct lldp *l)
{
	if (t->len < SPECIFIC_LEN)
		return -EINVAL;
	switch (be32_get(t->value)) {
	case EVB: return evb_get(t, l);
	case PORT_EXTENSION: return pe_get(t, l);
	default: return 0;
	}
}

/* TLV number `at` of the PDU, from 0. */
static int get(u32 at, const struct tlv *t, struct lldp *l)
{
	if (at < TTL ? t->type != at + 1 : t->type <= TTL)
		return -EINVAL;
	switch (t->type) {
	case CHASSIS: return id_get(t, &l->chassis);
	case PORT: return id_get(t, &l->port);
	case TTL: return ttl_get(t, &l->ttl);
	case ORGANIZATION: return specific_get(t, l);
	default: return 0;
	}
}

int lldp_parse(const u8 *pdu, u32 len, struct lldp *l)
{
	struct lldp found = { .ttl = 0 };
	struct tlv_in in = { pdu, len };
	struct tlv t;
	u32 n;
	int r;
	for (n = 0; (r = tlv_next(&in, &t)) > 0; n++)
		if (get(n, &t, &found))
			return -EINVAL;
	if (r || n < TTL)
		return -EINVAL;
	*l = found;
	return 0;
}
