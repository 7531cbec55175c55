/*
 * VDP PDUs (802.1Qbg-2012, VSI discovery and configuration protocol: VDP TLV formats), the payload of ECP subtype 1, requests and responses alike.
 *
 *   Manager ID TLV: first, once. Then at least one association TLV, and organizationally defined ones. Then End (0), or the PDU's end;
 *   what lies behind End is padding.
 *   Association TLV: type 7, length 9 | status 1 | VSI Type ID 3 | its version 1 | VSIID format 1 | VSIID 16 | filter format 1 |
 *   number of entries 2 | entries
 *
 * Invariant: pure functions on the caller's bytes; nothing outside `len` is read, nothing outside `room` written; what build makes, parse
 * takes back equal. A PDU is accepted whole or not at all. Callable from anywhere.
 */
#ifndef NIC_VDP_PDU_H
#define NIC_VDP_PDU_H

#include "core/types.h"

#define VDP_MAX_VSIS 4u        /* in one PDU */
#define VDP_MAX_FILTERS 16u    /* of one VSI */
#define VDP_ID_LEN 16u

enum vdp_type { VDP_PREASSOC = 1, VDP_PREASSOC_RR, VDP_ASSOC, VDP_DEASSOC };
enum vdp_vsiid_format { VDP_VSIID_IPV4 = 1, VDP_VSIID_IPV6, VDP_VSIID_MAC, VDP_VSIID_LOCAL, VDP_VSIID_UUID };
enum vdp_filter_format { VDP_FILTER_VID = 1, VDP_FILTER_MAC_VID, VDP_FILTER_GROUP_VID, VDP_FILTER_GROUP_MAC_VID };

/*
 * Status. With VDP_ACK it is a response, and the next two bits are a response's; without it is a request, or a bridge's own DeAssoc,
 * which may give a reason as error code. Bit 7 is reserved.
 */
#define VDP_ACK BIT(6)
#define VDP_KEEP BIT(5)        /* response: refused, what was associated before stays so */
#define VDP_HARD BIT(4)        /* response: the error will not go away by itself */
#define VDP_SUSPENDED BIT(5)   /* request: S, the VSI is suspended where it was (migration) */
#define VDP_MIGRATED BIT(4)    /* request: M, it moves or has moved here */
#define VDP_ERROR BITS(3, 0)   /* enum vdp_error */
#define VDP_STATUS_MASK BITS(6, 0)

/*
 * 802.1Q's names: Success, Invalid format, Insufficient resources, Unable to contact VSI manager, Other failure, Invalid VID, GroupID or
 * MAC address.
 */
enum vdp_error {
	VDP_SUCCESS,
	VDP_INVALID_FORMAT,
	VDP_INSUFFICIENT_RESOURCES,
	VDP_NO_VSI_MANAGER,
	VDP_OTHER_FAILURE,
	VDP_INVALID_VID_GROUP_MAC,
};

/* Fields that the format does not have are zero. */
struct vdp_filter {
	u32 group;      /* GroupID */
	u8 mac[6];
	u16 vid;        /* 0..4095; 0 in a request: the bridge shall choose, its response says which */
	u8 pcp;         /* 0..7, meant only if ps */
	bool ps;        /* PCP significant */
};

struct vdp_vsi {
	u8 type;              /* enum vdp_type */
	u8 status;
	u32 vsi_type;         /* VSI Type ID, 24 bits */
	u8 vsi_type_version;
	u8 id_format;         /* enum vdp_vsiid_format */
	u8 id[VDP_ID_LEN];    /* shorter ones right-aligned behind zeros, as their format says */
	u8 filter_format;     /* enum vdp_filter_format */
	u32 nr_filters;
	struct vdp_filter filter[VDP_MAX_FILTERS];
};

struct vdp_pdu {
	u8 manager[VDP_ID_LEN];
	u32 nr_vsis;
	struct vdp_vsi vsi[VDP_MAX_VSIS];
};

/* Is it an answer to what we asked? A bridge's DeAssoc without VDP_ACK is not: it is the bridge's own. */
static inline bool vdp_is_response(const struct vdp_vsi *v) { return v->status & VDP_ACK; }

/*
 * A PDU with End. lldpad sends none, but as receiver looks for it, into what an earlier frame left where there is none. The PDU's length;
 * -EINVAL: a field out of range, no VSI or too many; -ENOSPC: no room.
 */
int vdp_build(u8 *pdu, u32 room, const struct vdp_pdu *p);
/*
 * 0; -EINVAL: cut short, Manager ID not first or twice, no association TLV, a number out of range, entries that do not fill their TLV;
 * -ENOSPC: right so far, but with more VSIs or entries than we hold. Other TLVs are skipped. *p is scratch unless 0 is returned.
 */
int vdp_parse(const u8 *pdu, u32 len, struct vdp_pdu *p);

#endif
