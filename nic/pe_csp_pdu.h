/*
 * PE-CSP PDUs (802.1BR, Port Extension Control and Status Protocol), the payload of ECP subtype 2: one command TLV, then others. Only
 * what a one-to-one extender needs: CSP Open, Extended Port Create and Delete, E-channel Register.
 *
 *   command            asked by    a request carries                  a good response carries
 *   CSP Open           both sides  –                                  –
 *   Port Create        extender    port, kind                         port, kind, its E-CID (one, not a group)
 *   Port Delete        extender    port, kind                         port, kind
 *   E-channel Register bridge      port, kind, E-CIDs with actions    port, kind
 * A response has its request's command and transaction. A response with a result other than success carries what its request
 * carried of port and kind, and no E-CIDs.
 *
 * Numbers and layouts are unverified: pe_csp_codes.h says why; layouts are in pe_csp_pdu.c.
 *
 * Invariant: pure functions on the caller's bytes; nothing outside `len` is read, nothing outside `room` written; what build makes, parse
 * takes back equal. A PDU is accepted whole or not at all. Callable from anywhere.
 */
#ifndef NIC_PE_CSP_PDU_H
#define NIC_PE_CSP_PDU_H

#include "core/types.h"

#define PE_CSP_MAX_ECIDS 64u    /* in one PDU */

enum pe_csp_command { PE_CSP_OPEN, PE_CSP_PORT_CREATE, PE_CSP_PORT_DELETE, PE_CSP_ECHANNEL_REGISTER, PE_CSP_NR_COMMANDS };
enum pe_csp_kind { PE_CSP_EXTENDED, PE_CSP_CASCADE, PE_CSP_NR_KINDS };

/* What a port does with frames of an E-channel. */
enum pe_csp_action {
	PE_CSP_REMOVE,        /* it is no member any more */
	PE_CSP_UNTAGGED,      /* member; the tag comes off: extended ports */
	PE_CSP_TAGGED,        /* member; with the tag: cascade ports */
	PE_CSP_NR_ACTIONS
};

enum pe_csp_result {
	PE_CSP_SUCCESS,
	PE_CSP_MALFORMED,     /* the request */
	PE_CSP_NO_RESOURCES,
	PE_CSP_NO_PORT,       /* no such port */
	PE_CSP_NOT_OPEN,      /* CSP Open first */
	PE_CSP_REFUSED,
	PE_CSP_NR_RESULTS
};

struct pe_csp_ecid {
	u8 grp;               /* 0 = one port's, 1..3 = a group's */
	u32 ecid;             /* 1..ETAG_ECID_MAX */
	u8 action;            /* enum pe_csp_action; in a Port Create response PE_CSP_UNTAGGED or _TAGGED */
};

struct pe_csp {
	u8 command;           /* enum pe_csp_command */
	bool response;
	u8 result;            /* enum pe_csp_result; 0 in a request */
	u16 transaction;      /* the asking side's choice */
	bool has_port;
	u8 kind;              /* enum pe_csp_kind; 0 without a port */
	u32 port;             /* the extender's number for it; 0 without a port */
	u32 nr_ecids;
	struct pe_csp_ecid ecid[PE_CSP_MAX_ECIDS];
};

/* A PDU with End. Its length; -EINVAL: a field out of range, or not what the table above says; -ENOSPC: no room. */
int pe_csp_build(u8 *pdu, u32 room, const struct pe_csp *m);
/*
 * 0; -EINVAL: cut short, a TLV of ours twice or of a wrong length, a number out of range, or not what the table
 * above says; -ENOSPC: more E-CIDs than we hold; -ENOTSUP: another command. Other TLVs are skipped. *m is scratch unless 0 is
 * returned.
 */
int pe_csp_parse(const u8 *pdu, u32 len, struct pe_csp *m);

#endif
