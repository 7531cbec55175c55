/*
 * LLDPDUs (IEEE Std 802.1AB, LLDPDU and TLV formats; ethertype 88CCh) with the two TLVs that start the protocols of a port: EVB (802.1Qbg-2012,
 * EVB TLV) starts VDP, Port Extension (802.1BR, Port Extension TLV) starts PE-CSP.
 *
 *   Chassis ID, Port ID, Time To Live: first, in this order, once. Then any others. Then End, which may be missing where the PDU ends
 *   (optional since 802.1AB-2016, LLDPDU format). What lies behind End is padding.
 *
 * Invariant: pure functions on the caller's bytes; nothing outside `len` is read, nothing outside `room` written; what build makes, parse
 * takes back equal. A PDU is accepted whole or not at all. PDUs are what follows the ethertype. Callable from anywhere.
 */
#ifndef NIC_LLDP_H
#define NIC_LLDP_H

#include "core/types.h"

#define LLDP_ID_MAX 255u
#define LLDP_CHASSIS_MAC 4u   /* Chassis ID subtype: MAC address */
#define LLDP_PORT_MAC 3u      /* Port ID subtype: MAC address */
#define LLDP_PORT_LOCAL 7u    /* Port ID subtype: locally assigned */

/* An identifier: subtype and 1..LLDP_ID_MAX bytes, the caller's to build, inside the PDU after parsing. */
struct lldp_id {
	u8 subtype;
	u32 len;
	const u8 *bytes;
};

enum lldp_evb_mode { LLDP_EVB_OFF, LLDP_EVB_BRIDGE, LLDP_EVB_STATION, LLDP_EVB_MODES = 4 };

/* Bits of a bridge's and a station's status. */
#define LLDP_EVB_BGID BIT(2)      /* the bridge supports group IDs */
#define LLDP_EVB_RRCAP BIT(1)     /* it is capable of reflective relay (hairpin) … */
#define LLDP_EVB_RRCTR BIT(0)     /* … and does it */
#define LLDP_EVB_SGID BIT(3)      /* the station supports group IDs */
#define LLDP_EVB_RRREQ BIT(2)     /* it asks for reflective relay */
#define LLDP_EVB_RRSTAT BITS(1, 0) /* 0 no, 1 yes, 3 unknown */

/* EVB TLV, 00-80-C2 subtype 0Dh. A side repeats the other's status. Times are 10 · 2^x µs. */
struct lldp_evb {
	u8 bridge;         /* LLDP_EVB_BGID | _RRCAP | _RRCTR */
	u8 station;        /* LLDP_EVB_SGID | _RRREQ | _RRSTAT */
	u8 retries;        /* R, 0..7: retransmissions by ECP */
	u8 rte;            /* 0..31: ECP waits that long for an acknowledgement */
	u8 mode;           /* enum lldp_evb_mode: of the sender */
	bool remote_wait;  /* ROL: rwd is the other side's, repeated */
	u8 rwd;            /* resource wait delay, 0..31 */
	bool remote_keep;  /* ROL: rka is the other side's, repeated */
	u8 rka;            /* reinit keep alive, 0..31 */
};

/*
 * Port Extension TLV, 00-80-C2 subtype 0Fh. Its fields are those of IEEE's LLDP-EXT-DOT1-PE-MIB; that they stand in the TLV in the order
 * of the MIB's columns is unverified.
 */
struct lldp_pe {
	u8 priority;     /* cascade port priority: how good an upstream port is at the other end of a link; the lowest wins */
	u8 pe[6];        /* address of the port extender */
	u8 csp[6];       /* address that PE-CSP is spoken with */
};

struct lldp {
	struct lldp_id chassis;
	struct lldp_id port;
	u16 ttl;         /* seconds; 0: forget the sender */
	bool has_evb;
	struct lldp_evb evb;
	bool has_pe;
	struct lldp_pe pe;
};

/* A PDU with End. Its length; -EINVAL: a field out of range; -ENOSPC: no room. */
int lldp_build(u8 *pdu, u32 room, const struct lldp *l);
/*
 * 0; -EINVAL: cut short, TLVs of the first three missing, in another order or of a wrong length, one of ours twice or of a wrong
 * length. Other TLVs are skipped. *l is written on success only; its identifiers point into the PDU.
 */
int lldp_parse(const u8 *pdu, u32 len, struct lldp *l);

/* 10 · 2^exponent µs (exponent 0..31), the unit of rte, rwd and rka. */
static inline u64 lldp_evb_us(u8 exponent) { return 10ull << (exponent & 31); }

#endif
