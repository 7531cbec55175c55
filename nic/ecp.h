/*
 * ECP, the Edge Control Protocol's header (802.1Qbg-2012, ECPDU; ethertype 8940h): 16 bits version 4, operation 2, subtype 10; 16 bits sequence
 * number; then, in a request, the payload of the upper protocol. An acknowledgement repeats subtype and number and carries nothing.
 *
 * Invariant: pure functions on the caller's bytes; nothing outside `len` is read, nothing outside `room` written. PDUs are what
 * follows the ethertype. Callable from anywhere.
 */
#ifndef NIC_ECP_H
#define NIC_ECP_H

#include "core/types.h"

#define ECP_LEN 4u
#define ECP_VERSION 1u

enum ecp_op { ECP_REQUEST, ECP_ACK };

#define ECP_VDP 1u      /* subtypes */
#define ECP_PE_CSP 2u
#define ECP_SUBTYPE_MAX 0x3ffu

struct ecp {
	u8 op;          /* enum ecp_op */
	u16 subtype;
	u16 seq;
};

/* ECP_LEN, the payload's offset; -EINVAL: a field out of range; -ENOSPC: no room. */
int ecp_build(u8 *pdu, u32 room, const struct ecp *h);
/*
 * ECP_LEN, the payload's offset; -EINVAL: cut short, another version, neither request nor acknowledgement. Any subtype: it is the
 * caller's to know. *h is written on success only.
 */
int ecp_parse(const u8 *pdu, u32 len, struct ecp *h);

#endif
