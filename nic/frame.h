/*
 * Ethernet frames as bytes: big-endian numbers, the header, the ethertypes and group addresses of the protocols between a port and its switch.
 *
 * Invariant: bytes are read and written one at a time, so neither alignment nor a struct's layout matters. Nothing here checks a
 * length: who calls has. Pure functions, callable from anywhere.
 */
#ifndef NIC_FRAME_H
#define NIC_FRAME_H

#include <string.h>

#include "core/types.h"

#define FRAME_MAC_LEN 6u
#define FRAME_MACS_LEN 12u    /* destination and source */
#define FRAME_HEADER_LEN 14u
#define FRAME_TYPE_OFFSET 12u
#define FRAME_MIN_LEN 60u     /* without FCS; shorter ones are padded with zeros on a wire */

/* IEEE 802 Numbers, ETHER TYPES. */
#define FRAME_TYPE_CTAG 0x8100u
#define FRAME_TYPE_STAG 0x88a8u
#define FRAME_TYPE_LLDP 0x88ccu  /* IEEE Std 802.1AB */
#define FRAME_TYPE_VNTAG 0x8926u
#define FRAME_TYPE_ETAG 0x893fu  /* IEEE Std 802.1BR */
#define FRAME_TYPE_ECP 0x8940u   /* IEEE Std 802.1Qbg-2012 (802.1Q, Edge Control Protocol) */

/*
 * Group addresses that a bridge does not relay, by how far they reach (802.1Q, Reserved addresses). Between a station and its bridge
 * LLDP and ECP use the nearest customer bridge: what lldpad's bridge listens to.
 */
#define FRAME_NEAREST_CUSTOMER_BRIDGE ((const u8[FRAME_MAC_LEN]){ 0x01, 0x80, 0xc2, 0x00, 0x00, 0x00 })
#define FRAME_NEAREST_NON_TPMR_BRIDGE ((const u8[FRAME_MAC_LEN]){ 0x01, 0x80, 0xc2, 0x00, 0x00, 0x03 })
#define FRAME_NEAREST_BRIDGE ((const u8[FRAME_MAC_LEN]){ 0x01, 0x80, 0xc2, 0x00, 0x00, 0x0e })

static inline u16 be16_get(const u8 *p) { return (u16)(p[0] << 8 | p[1]); }
static inline u32 be24_get(const u8 *p) { return (u32)p[0] << 16 | (u32)p[1] << 8 | p[2]; }
static inline u32 be32_get(const u8 *p) { return (u32)p[0] << 24 | be24_get(p + 1); }

static inline void be16_put(u8 *p, u32 v)
{
	p[0] = (u8)(v >> 8);
	p[1] = (u8)v;
}

static inline void be24_put(u8 *p, u32 v)
{
	p[0] = (u8)(v >> 16);
	be16_put(p + 1, v);
}

static inline void be32_put(u8 *p, u32 v)
{
	p[0] = (u8)(v >> 24);
	be24_put(p + 1, v);
}

/* What a frame of at least FRAME_HEADER_LEN bytes carries, the first tag's type if it has one. */
static inline u16 frame_type(const u8 *frame) { return be16_get(frame + FRAME_TYPE_OFFSET); }

/* Header of a frame, FRAME_HEADER_LEN bytes at p; the payload comes behind. */
static inline void frame_header_put(u8 *p, const u8 *to, const u8 *from, u16 type)
{
	memcpy(p, to, FRAME_MAC_LEN);
	memcpy(p + FRAME_MAC_LEN, from, FRAME_MAC_LEN);
	be16_put(p + FRAME_TYPE_OFFSET, type);
}

#endif
