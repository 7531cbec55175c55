/*
 * Type-length-value records as LLDP, VDP and PE-CSP have them: type 7 bits, length 9 bits, value; type 0 of length 0 is the end.
 *
 * Invariant: a reader never looks behind the PDU, a writer never writes behind its room. Pure functions, callable from anywhere.
 */
#ifndef NIC_TLV_H
#define NIC_TLV_H

#include "core/errno.h"
#include "nic/frame.h"

#define TLV_HEADER_LEN 2u
#define TLV_END 0u
#define TLV_TYPE_MAX 0x7fu
#define TLV_LEN_MAX 0x1ffu

/* One record of a PDU; value points into it. */
struct tlv {
	u8 type;
	u32 len;
	const u8 *value;
};

/* The rest of a PDU that is being read. */
struct tlv_in {
	const u8 *at;
	u32 left;
};

/* The next record. 1; 0: the end, by its record or for lack of bytes; -EINVAL: cut short, or an end that has a value. */
static inline int tlv_next(struct tlv_in *in, struct tlv *t)
{
	if (!in->left)
		return 0;
	if (in->left < TLV_HEADER_LEN)
		return -EINVAL;
	u32 head = be16_get(in->at);
	*t = (struct tlv){ (u8)(head >> 9), head & TLV_LEN_MAX, in->at + TLV_HEADER_LEN };
	if (t->type == TLV_END)
		return t->len ? -EINVAL : 0;
	if (t->len > in->left - TLV_HEADER_LEN)
		return -EINVAL;
	in->at += TLV_HEADER_LEN + t->len;
	in->left -= TLV_HEADER_LEN + t->len;
	return 1;
}

/* A PDU that is being written. */
struct tlv_out {
	u8 *at;
	u32 room;      /* left */
	u32 len;       /* written */
};

/* Begins a record and returns where its len (at most TLV_LEN_MAX) bytes of value belong; NULL: no room. */
static inline u8 *tlv_add(struct tlv_out *out, u8 type, u32 len)
{
	if (out->room < TLV_HEADER_LEN || out->room - TLV_HEADER_LEN < len)
		return NULL;
	u8 *value = out->at + TLV_HEADER_LEN;
	be16_put(out->at, (u32)type << 9 | len);
	out->at = value + len;
	out->room -= TLV_HEADER_LEN + len;
	out->len += TLV_HEADER_LEN + len;
	return value;
}

#endif
