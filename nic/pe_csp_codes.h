/*
 * UNVERIFIED: every number of PE-CSP, the Port Extension Control and Status Protocol of IEEE Std 802.1BR.
 *
 * The sources that could be reached (Extreme's, Dell's and MikroTik's manuals, Wireshark, openlldp, IEEE's MIBs) show the protocol's place (ECP
 * subtype 2: openlldp, Wireshark), that it asks and answers, and that a PDU is one command TLV and further TLVs (Extreme, Port Extension
 * Control and Status Protocol). They show no number, no layout and no name of a message. So the numbers here, and the layouts in
 * pe_csp_pdu.c, are our own; a TLV's header (type 7, length 9) is assumed to be that of LLDP and VDP. Two Nestlings
 * understand each other and the controlling bridge of the tests; a bridge made by others will do so when somebody with the standard in hand has
 * corrected this file and that one. Nothing else depends on the values.
 *
 * Invariant: no PE-CSP number anywhere else.
 */
#ifndef NIC_PE_CSP_CODES_H
#define NIC_PE_CSP_CODES_H

/* Types of command TLVs. */
#define PE_CSP_TLV_OPEN 1u
#define PE_CSP_TLV_PORT_CREATE 2u
#define PE_CSP_TLV_PORT_DELETE 3u
#define PE_CSP_TLV_ECHANNEL_REGISTER 4u

/* Types of the other TLVs. */
#define PE_CSP_TLV_END 0u
#define PE_CSP_TLV_PORT 32u       /* a port of the extender, and its kind */
#define PE_CSP_TLV_ECIDS 33u      /* E-CIDs, each with what to do */

/* Operation byte of a command TLV. */
#define PE_CSP_OP_REQUEST 0u
#define PE_CSP_OP_RESPONSE 1u

#endif
