/*
 * A VDP station for one VSI, the port (802.1Qbg-2012, VSI discovery and configuration protocol: station state machine): announces itself by LLDP with the
 * EVB TLV, agrees with the bridge on timers, pre-associates, associates, keeps the association alive, and dissolves it.
 *
 *   DOWN --up--> LOOKING --bridge's EVB TLV--> PREASSOC --answer--> ASSOC --answer--> ASSOCIATED --keep-alives…
 *                   ^                             |  ^                |                    |
 *                   |                             |  +-- WAITING <----+--- refusal, no answer, bridge's DeAssociate
 *                   +--- LLDP: bridge gone -------+-------------------+--------------------+
 *   down: LEAVING (DeAssociate, if there may be something to dissolve) --answer, or none--> DOWN
 * A bridge that has begun anew (another in LLDP; our status no more in its EVB TLV; a keep-alive unanswered) is associated with again at once,
 * and so is one that the port has found another way to (vdp_station_moved).
 * No answer: again after 1, 2, 4, … s, at last LLDP's interval. Refused: again at that interval, as resources or the VSI manager may come back; at ten of them where the bridge says that it will not,
 * or its VLAN is not ours.
 *
 * Timers (10 · 2^x µs; of both sides the larger is used): RTE and R for ECP, RWD for the bridge's answer, RKA between keep-alives.
 * The bridge's VLAN, once answered, is what later requests name.
 *
 * Pure: time (µs, monotonic) with each call, frames out by ops, deadline says when tick has something to do. No locks: calls of one
 * station come one at a time; ops must not call back.
 *
 * Invariant: associated is said by `changed` after the bridge's Associate answer with a VLAN that suits the configuration, and taken back before
 * any other state is entered; in every state but DOWN a deadline stands.
 */
#ifndef NIC_VDP_H
#define NIC_VDP_H

#include "nic/ecp_link.h"
#include "nic/lldp_agent.h"
#include "nic/vdp_pdu.h"

#define VDP_STATION_RWD 20u       /* 10.5 s */
#define VDP_STATION_RKA 20u
#define VDP_STATION_RETRY_US LLDP_AGENT_US
#define VDP_STATION_HARD_US (10 * LLDP_AGENT_US)
#define VDP_STATION_AGAIN_US 1000000ull   /* the first time after an association that has lasted */

enum vdp_state {
	VDP_STATION_DOWN, VDP_STATION_LOOKING, VDP_STATION_PREASSOC, VDP_STATION_ASSOC, VDP_STATION_ASSOCIATED,
	VDP_STATION_WAITING, VDP_STATION_LEAVING,
};

enum vdp_why {
	VDP_WHY_PROGRESS,        /* as it should go on */
	VDP_WHY_BRIDGE_GONE,     /* its LLDP ended, or has no EVB TLV any more */
	VDP_WHY_BRIDGE_NEW,      /* it is another, or begins anew */
	VDP_WHY_NO_ANSWER,
	VDP_WHY_REFUSED,         /* station.error has the code */
	VDP_WHY_VLAN,            /* it answered another VLAN than configured: station.vid has it */
	VDP_WHY_DISSOLVED,       /* by the bridge's own DeAssociate */
	VDP_WHY_LOCAL,           /* up, down */
};

struct vdp_station_ops {
	/* A VDP control frame: extender_send_vdp. */
	void (*send)(void *arg, u16 ethertype, const u8 *body, u32 len);
	/*
	 * State, VLAN or reason have changed. vid: of the bridge's answer while ASSOCIATED (0: none), else 0, or the bridge's with
	 * VDP_WHY_VLAN. NULL: nobody cares.
	 */
	void (*changed)(void *arg, enum vdp_state state, u16 vid, enum vdp_why why);
};

struct vdp_conf {
	u8 mac[6];
	u16 vlan;                /* demanded; 0: the bridge chooses */
	u8 manager[VDP_ID_LEN];  /* VSI manager; zeros: the bridge's own */
	u32 vsi_type;            /* 24 bits */
	u8 vsi_type_version;
	u16 seq;                 /* where ECP's numbers begin: not the same in each life */
};

struct vdp_station {
	const struct vdp_station_ops *ops;
	void *arg;
	struct vdp_conf conf;
	u8 id[VDP_ID_LEN];       /* VSIID: a UUID made of the MAC */
	enum vdp_state state;
	bool up;                 /* wanted */
	u16 vid;                 /* what requests name: of the configuration, then of the answer */
	u8 error;                /* of the last refusal: enum vdp_error */
	struct lldp_agent lldp;
	struct lldp_evb evb;     /* what we announce */
	bool repeated;           /* the bridge's TLV had something of ours */
	bool moved;              /* … and may come from another port of it next */
	struct ecp_link ecp;
	u8 type;                 /* enum vdp_type of the request that waits for an answer; 0: none */
	u64 answer_us;           /* … until then */
	u64 next_us;             /* keep-alive, or next try */
	u64 since_us;            /* associated since */
	u32 tries;               /* in a row that had no answer */
	struct {
		u64 lldp_in, malformed, responses, stray, refused, unanswered, dissolved, keep_alives, associations;
	} count;
};

void vdp_station_init(struct vdp_station *s, const struct vdp_conf *conf, const struct vdp_station_ops *ops, void *arg);
/* The port comes up; goes down: DeAssociate goes out, and answers are taken until deadline says NONE. */
void vdp_station_up(struct vdp_station *s, u64 now_us);
void vdp_station_down(struct vdp_station *s, u64 now_us);
/*
 * The port's data goes another way now (another E-CID): behind it may be another bridge port, which knows nothing of us, so we begin again. The
 * old one keeps what it has until its timer ends it. What was heard of the bridge stays true for its TTL, so we do not wait for LLDP
 * there: a bridge that takes us for the neighbour it knows says it only when it is due. If it is another port, its first is no reason to begin once more.
 */
void vdp_station_moved(struct vdp_station *s, u64 now_us);
/* A VDP control frame, as the extender's control callback had it. */
void vdp_station_receive(struct vdp_station *s, u16 ethertype, const u8 *body, u32 len, u64 now_us);
/* Time has passed; and when it next matters, DEADLINE_NONE: never. */
void vdp_station_tick(struct vdp_station *s, u64 now_us);
u64 vdp_station_deadline(const struct vdp_station *s);
/* The VSIID of a port: the same on every level and in every life. */
void vdp_station_id(u8 id[VDP_ID_LEN], const u8 mac[6]);
const char *vdp_state_name(enum vdp_state s);
const char *vdp_why_name(enum vdp_why w);

#endif
