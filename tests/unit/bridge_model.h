/*
 * A controlling bridge and the VDP side of one of its ports, as a chain of extenders on one wire sees it: gives E-CIDs, registers E-channels
 * at every extender on the way, answers VDP. What it does wrong can be ordered.
 *
 * Invariant: what is registered at an extender is what the model wants as soon as it has been answered.
 */
#ifndef TESTS_UNIT_BRIDGE_MODEL_H
#define TESTS_UNIT_BRIDGE_MODEL_H

#include "nic/ecp_link.h"
#include "nic/extender.h"
#include "nic/lldp.h"
#include "nic/pe_csp_pdu.h"
#include "nic/vdp_pdu.h"

#define BRIDGE_MAC ((const u8[6]){ 2, 0, 0, 0, 0x0c, 0xb0 })
#define BRIDGE_PES 4
#define BRIDGE_QUEUE 16
#define BRIDGE_GROUP_GRP 1
#define BRIDGE_GROUP_ECID 0x2b0u

/* One extender that it knows. */
struct bridge_pe {
	bool used, open;
	u32 via;                     /* E-CID through which it is reached, 0 = directly */
	u8 mac[6];
	u32 ecid, last_ecid, port;   /* of its extended port */
	struct ecp_link ecp;
	u32 nr_queue;
	struct pe_csp queue[BRIDGE_QUEUE];
	u32 nr_have;                 /* registered there */
	struct pe_csp_ecid have[BRIDGE_PES + 1];
	bool asked;                  /* a Register is unanswered … */
	u16 asked_transaction;
	u64 asked_us;                /* … since */
	u32 nr_sent;
	struct pe_csp_ecid sent[BRIDGE_PES + 1];
	u64 lldp_us, expires_us;
};

struct bridge_vdp {
	u32 channel;                 /* E-CID of the station's frames, 0 = untagged */
	bool on, associated, preassociated;
	u16 vid;                     /* of the association */
	u64 lldp_us, keep_us;
	struct lldp_evb station;     /* its last EVB TLV */
	bool heard;
	struct vdp_vsi vsi;
	u8 manager[VDP_ID_LEN];
	struct ecp_link ecp;
	u32 nr_preassoc, nr_assoc, nr_deassoc, nr_expired, nr_lldp;
};

struct bridge {
	bool s_channel;
	u64 now_us;
	void (*send)(const u8 *frame, u32 len);
	u32 next_ecid, name;
	u16 transaction;
	u32 life;
	struct bridge_pe pe[BRIDGE_PES];
	struct bridge_vdp vdp;
	/* orders */
	bool silent;                 /* answers nothing at all */
	u32 no_response, refuse, wrong_transaction, new_ecid;   /* the next n requests */
	u8 refuse_result;
	bool opens_too;              /* sends an Open of its own for each that it gets */
	bool opens_after_restart;    /* … and to each extender that it meets after a restart */
	bool register_first;         /* before the answer to a Create */
	struct lldp_evb evb;         /* what its EVB TLV says */
	bool no_evb;
	bool same_port;              /* an E-CID that changes is still the same port of the bridge: it says LLDP to who is no news when it is due */
	u16 vid;                     /* for requests with VID 0 */
	u16 force_vid;               /* for all requests */
	u32 vdp_silent, vdp_refuse;  /* the next n */
	u8 vdp_status;               /* of these */
	bool refuse_by_deassoc;      /* as lldpad: the type becomes DeAssociate */
	/* what came */
	struct { u32 nr, len; u8 frame[10000]; } data;
	u32 nr_bad;                  /* malformed, or from nobody */
	u32 nr_opens, nr_creates, nr_deletes, nr_registers_refused;
};

void bridge_init(struct bridge *b, bool s_channel, void (*send)(const u8 *frame, u32 len));
/* As after a power cut. another: with another name in LLDP. It sends its LLDP when it hears an extender's. */
void bridge_restart(struct bridge *b, bool another);
void bridge_receive(struct bridge *b, const u8 *frame, u32 len, u64 now_us);
void bridge_tick(struct bridge *b, u64 now_us);
u64 bridge_deadline(const struct bridge *b);
/* The innermost extender with an E-CID; NULL. */
struct bridge_pe *bridge_leaf(struct bridge *b);
/* The extender reached through `via`; NULL. */
struct bridge_pe *bridge_pe(struct bridge *b, u32 via);
/* Give the extender's port another E-CID by E-channel Register, or take it away by it, or by Delete. */
void bridge_change_ecid(struct bridge *b, struct bridge_pe *p, u32 ecid);
void bridge_remove_ecid(struct bridge *b, struct bridge_pe *p);
void bridge_delete_port(struct bridge *b, struct bridge_pe *p);
void bridge_open(struct bridge *b, struct bridge_pe *p);
/* LLDP with TTL 0 to the extender, and to the station. */
void bridge_shutdown(struct bridge *b);
/* DeAssociate of its own accord. */
void bridge_dissolve(struct bridge *b, u8 error);
/* An untagged frame to the port: as the wire has it. */
void bridge_send_data(struct bridge *b, const u8 *frame, u32 len);
/* Everything that the model wants registered is. */
bool bridge_settled(const struct bridge *b);

/* ---- between bridge_model.c and bridge_vdp.c ---- */
void bridge_put(struct bridge *b, const u8 *to, u16 type, const u8 *body, u32 len, u32 ecid);
void bridge_vdp_receive(struct bridge *b, u32 ecid, u16 type, const u8 *body, u32 len);
void bridge_vdp_tick(struct bridge *b);
void bridge_vdp_shutdown(struct bridge *b);

#endif
