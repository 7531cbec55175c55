/*
 * Tags that name a channel between an extended port and its controlling bridge: the E-TAG of IEEE Std 802.1BR (clause E-TAG), behind an
 * interface that another format (VN-Tag) can be put behind, too.
 *
 *   E-TAG, 8 bytes after the two addresses:  893Fh | PCP 3, DEI 1, Ingress_E-CID_base 12 | reserved 2, GRP 2, E-CID_base 12 |
 *                                            Ingress_E-CID_ext 8 | E-CID_ext 8
 * Numbers here are ext << 12 | base, 20 bits. Reserved bits are sent as zero and not looked at.
 *
 * Invariant: pure functions on the caller's bytes; nothing outside `len` is read, nothing outside `room` written; a frame comes back
 * from insert and strip byte for byte. Callable from anywhere.
 */
#ifndef NIC_ETAG_H
#define NIC_ETAG_H

#include "core/types.h"

#define ETAG_LEN 8u
#define ETAG_ECID_BITS 20
#define ETAG_ECID_MAX 0xfffffu

/*
 * What a tag says. A format with fewer fields takes zeros there: VN-Tag would have its source interface in ingress, its destination in
 * ecid, its list bit in grp, and direction by ecid, which is 0 from an extender to its bridge.
 */
struct etag {
	u8 pcp;        /* 0..7 */
	bool dei;
	u32 ingress;   /* Ingress_E-CID, 20 bits: toward ports the one that must not get it back; 0 = none */
	u8 grp;        /* 0 = one port's E-CID, 1..3 = a group's */
	u32 ecid;      /* E-CID, 20 bits: to the bridge the sending port's, from the bridge the destination's */
};

/*
 * A format of tag. Frames begin with the destination address and have no FCS.
 *
 * insert   the frame with the tag goes to out, `room` bytes long. Its length; -EINVAL: shorter than an Ethernet header, or a field out
 *          of range; -ENOSPC: no room. out is apart from the frame, or the frame itself (the rest moves up), or tag_len
 *          before it (only the addresses move).
 * parse    the outermost tag. 0; -ENOENT: not of this format; -EINVAL: cut short. t is written on success only.
 * strip    the frame without its outermost tag goes to out. Its length; as parse; -ENOSPC. out is apart from the frame, or the
 *          frame itself, or tag_len behind its beginning (only the addresses move). t may be NULL.
 */
struct tag_codec {
	const char *name;
	u16 ethertype;
	u32 tag_len;
	int (*insert)(u8 *out, u32 room, const u8 *frame, u32 len, const struct etag *t);
	int (*parse)(const u8 *frame, u32 len, struct etag *t);
	int (*strip)(u8 *out, u32 room, const u8 *frame, u32 len, struct etag *t);
};

extern const struct tag_codec etag_codec;

/* Is the outermost tag of this format? Says nothing about its being whole. */
bool tag_is(const struct tag_codec *c, const u8 *frame, u32 len);

/* The three of etag_codec, for who wants no other format. */
int etag_insert(u8 *out, u32 room, const u8 *frame, u32 len, const struct etag *t);
int etag_parse(const u8 *frame, u32 len, struct etag *t);
int etag_strip(u8 *out, u32 room, const u8 *frame, u32 len, struct etag *t);

/* The tag alone, ethertype first, ETAG_LEN bytes at p: to send a frame in pieces, or to replace a tag. 0, -EINVAL: out of range. */
int etag_put(u8 *p, const struct etag *t);

#endif
