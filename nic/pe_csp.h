/*
 * The extender's side of its control protocol (IEEE Std 802.1BR, Port Extension Control and Status Protocol; numbers as in pe_csp_codes.h): finds the
 * controlling bridge by LLDP with the Port Extension TLV, opens, creates its extended port, and does to struct extender what the bridge
 * registers.
 *
 *   DOWN --start--> LOOKING --bridge's LLDP--> OPENING --answer--> OPEN --port up--> CREATING --E-CID--> UP
 *                      ^                          |                  ^                  |                 |
 *                      +----- no answer, refusal: again after 1, 2, 4, … 30 s ----------+                 |
 *                      |                          +-- answer -- DELETING <----------- port down ----------+
 *                      +---- LLDP says that the bridge is gone or another: all E-CIDs forgotten, from any state
 * A CSP Open of the bridge's own in a session says that it has forgotten us: so do we, and open again. A bridge may change our E-CID by
 * E-channel Register: a unicast E-CID untagged is our own one; our own one removed, or the port deleted: we ask for another.
 * Once in a while Create is repeated, which changes nothing for a bridge that has our port: one that begins anew within its LLDP's time, or has
 * lost a level between, says nothing of itself. Without an answer to that all stays as it is as long as the LLDP lasts.
 *
 * Pure: time (µs, monotonic) with each call, frames out by ops, deadline says when tick has something to do. No locks: calls of one
 * engine come one at a time, on the control road of its extender (extender.h); ops must not call back.
 *
 * Invariant: the extender has only E-CIDs that the bridge of this session gave; each request of the bridge is answered once; in every
 * state but DOWN a deadline stands.
 */
#ifndef NIC_PE_CSP_H
#define NIC_PE_CSP_H

#include "nic/ecp_link.h"
#include "nic/extender.h"
#include "nic/lldp_agent.h"
#include "nic/pe_csp_pdu.h"

#define PE_CSP_ANSWERS 8           /* to the bridge, waiting for the channel */
#define PE_CSP_PORT_ID_LEN 8
#define PE_CSP_CONFIRM_US LLDP_AGENT_US

enum pe_state { PE_DOWN, PE_LOOKING, PE_OPENING, PE_OPEN, PE_CREATING, PE_UP, PE_DELETING };

/* Why the state changed, for the console. */
enum pe_why {
	PE_WHY_PROGRESS,         /* as it should go on */
	PE_WHY_BRIDGE_GONE,      /* its LLDP ended */
	PE_WHY_BRIDGE_NEW,       /* it is another, or begins anew */
	PE_WHY_NO_ANSWER,
	PE_WHY_REFUSED,          /* by a result of the bridge, in pe.result */
	PE_WHY_ECID_LOST,        /* the bridge took it back */
	PE_WHY_LOCAL,            /* start, stop, the port */
};

struct pe_ops {
	/* A PE control frame of this level: extender_send_pe. */
	void (*send)(void *arg, u16 ethertype, const u8 *body, u32 len);
	/* State or own E-CID have changed. NULL: nobody cares. */
	void (*changed)(void *arg, enum pe_state state, u32 ecid, enum pe_why why);
};

struct pe_conf {
	u8 mac[6];               /* the port's: chassis ID, address of the extender */
	u32 depth;               /* this level's: the port ID is "pe" and it */
	u32 port;                /* our number for the extended port */
	u16 seq;                 /* where ECP's numbers begin: not the same in each life */
	u64 confirm_us;          /* Create is repeated that often; 0: never */
};

struct pe_answer { u8 command, result, kind; bool has_port; u16 transaction; u32 port; };

struct pe_csp_engine {
	const struct pe_ops *ops;
	void *arg;
	struct extender *x;
	struct pe_conf conf;
	char port_id[PE_CSP_PORT_ID_LEN];
	enum pe_state state;
	bool port_up;            /* wanted */
	u8 result;               /* of the bridge's last refusal */
	struct lldp_agent lldp;
	struct ecp_link ecp;
	bool asking;             /* a request of ours is to be sent or unanswered … */
	bool sent;               /* … it has gone out */
	bool on_its_way;         /* what the ECP link carries is that request, not an answer */
	u8 command;              /* … it is this … */
	u16 transaction;         /* … known by this */
	u64 answer_us;           /* the bridge's answer is due; or, not asking, when to try again or confirm; DEADLINE_NONE */
	u64 opened_us;           /* the session's beginning */
	u32 tries;               /* in a row that came to nothing */
	u32 first_answer, nr_answers;
	struct pe_answer answer[PE_CSP_ANSWERS];
	struct {
		u64 lldp_in, malformed, requests_in, stray, refused, unanswered, sessions;
	} count;
};

void pe_csp_init(struct pe_csp_engine *e, const struct pe_conf *conf, struct extender *x, const struct pe_ops *ops, void *arg);
/* The lower link is there: announce ourselves. */
void pe_csp_start(struct pe_csp_engine *e, u64 now_us);
/* It goes away: nothing is said to the bridge but the end of our LLDP. All E-CIDs are forgotten. */
void pe_csp_stop(struct pe_csp_engine *e, u64 now_us);
/* The extended port (our user) is there or not. Without it the own E-CID is given back. */
void pe_csp_port(struct pe_csp_engine *e, bool up, u64 now_us);
/* A PE control frame of this level, as the extender's control callback had it. */
void pe_csp_receive(struct pe_csp_engine *e, u16 ethertype, const u8 *body, u32 len, u64 now_us);
/* Time has passed; and when it next matters, DEADLINE_NONE: never. */
void pe_csp_tick(struct pe_csp_engine *e, u64 now_us);
u64 pe_csp_deadline(const struct pe_csp_engine *e);
/* "creating", …; "refused", … */
const char *pe_state_name(enum pe_state s);
const char *pe_why_name(enum pe_why w);

#endif
