/*
 * The E-TAG (etag.h).
 */
#include "nic/etag.h"

#include "core/errno.h"
#include "nic/frame.h"

/* Offsets in the tag, and fields of its words. */
#define INGRESS 2u
#define DESTINATION 4u
#define INGRESS_EXT 6u
#define DESTINATION_EXT 7u
#define PCP BITS(15, 13)
#define DEI BIT(12)
#define GRP BITS(13, 12)
#define BASE BITS(11, 0)
#define EXT BITS(19, 12)

/* A tag, and something that it is on. */
#define TAGGED_MIN (FRAME_HEADER_LEN + ETAG_LEN)

bool tag_is(const struct tag_codec *c, const u8 *frame, u32 len)
{
	return len >= FRAME_HEADER_LEN && frame_type(frame) == c->ethertype;
}

int etag_put(u8 *p, const struct etag *t)
{
	if (t->pcp > 7 || t->grp > 3 || t->ingress > ETAG_ECID_MAX || t->ecid > ETAG_ECID_MAX)
		return -EINVAL;
	be16_put(p, FRAME_TYPE_ETAG);
	be16_put(p + INGRESS, (u32)(FIELD_PREP(PCP, t->pcp) | FIELD_PREP(DEI, t->dei) | (t->ingress & BASE)));
	be16_put(p + DESTINATION, (u32)(FIELD_PREP(GRP, t->grp) | (t->ecid & BASE)));
	p[INGRESS_EXT] = (u8)FIELD_GET(EXT, t->ingress);
	p[DESTINATION_EXT] = (u8)FIELD_GET(EXT, t->ecid);
	return 0;
}

static u32 ecid(u32 base, u32 ext) { return (u32)(FIELD_PREP(EXT, ext) | (base & BASE)); }

int etag_parse(const u8 *frame, u32 len, struct etag *t)
{
	const u8 *p = frame + FRAME_TYPE_OFFSET;
	if (len < FRAME_HEADER_LEN)
		return -EINVAL;
	if (!tag_is(&etag_codec, frame, len))
		return -ENOENT;
	if (len < TAGGED_MIN)
		return -EINVAL;
	u16 ingress = be16_get(p + INGRESS), destination = be16_get(p + DESTINATION);
	*t = (struct etag){
		.pcp = (u8)FIELD_GET(PCP, ingress),
		.dei = FIELD_GET(DEI, ingress),
		.ingress = ecid(ingress, p[INGRESS_EXT]),
		.grp = (u8)FIELD_GET(GRP, destination),
		.ecid = ecid(destination, p[DESTINATION_EXT]),
	};
	return 0;
}

/* First what comes after the tag, which may move onto where the addresses are now, but not the other way round. */
int etag_insert(u8 *out, u32 room, const u8 *frame, u32 len, const struct etag *t)
{
	u8 tag[ETAG_LEN];
	int r = len < FRAME_HEADER_LEN ? -EINVAL : etag_put(tag, t);
	if (r)
		return r;
	if (room < ETAG_LEN || room - ETAG_LEN < len)
		return -ENOSPC;
	if (out + ETAG_LEN != frame)
		memmove(out + FRAME_MACS_LEN + ETAG_LEN, frame + FRAME_MACS_LEN, len - FRAME_MACS_LEN);
	memmove(out, frame, FRAME_MACS_LEN);
	memcpy(out + FRAME_MACS_LEN, tag, ETAG_LEN);
	return (int)(len + ETAG_LEN);
}

int etag_strip(u8 *out, u32 room, const u8 *frame, u32 len, struct etag *t)
{
	struct etag unused;
	int r = etag_parse(frame, len, t ? t : &unused);
	if (r)
		return r;
	if (room < len - ETAG_LEN)
		return -ENOSPC;
	if (out != frame + ETAG_LEN)
		memmove(out + FRAME_MACS_LEN, frame + FRAME_MACS_LEN + ETAG_LEN, len - FRAME_MACS_LEN - ETAG_LEN);
	memmove(out, frame, FRAME_MACS_LEN);
	return (int)(len - ETAG_LEN);
}

const struct tag_codec etag_codec = {
	.name = "E-TAG",
	.ethertype = FRAME_TYPE_ETAG,
	.tag_len = ETAG_LEN,
	.insert = etag_insert,
	.parse = etag_parse,
	.strip = etag_strip,
};
