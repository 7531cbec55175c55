/*
 * One LLDP agent's clockwork (802.1AB, transmit and receive state machines): when the next PDU of ours is due, and whether the neighbour is
 * new, the same, or gone. What is in the PDUs is the caller's.
 *
 * Fast start: a few PDUs a second apart when the port comes up and when a neighbour is new; then one every 5 s while there is no
 * neighbour (links of inner levels have no carrier that would say when somebody comes), one every 30 s to one. Never two within LLDP_AGENT_GAP_US.
 *
 * Invariant: pure, time in µs comes in with each call; calls of one agent come one at a time.
 */
#ifndef NIC_LLDP_AGENT_H
#define NIC_LLDP_AGENT_H

#include "nic/lldp.h"

#define LLDP_AGENT_US 30000000ull     /* 802.1AB: msgTxInterval */
#define LLDP_AGENT_SEARCH_US 5000000ull
#define LLDP_AGENT_TTL 120u           /* seconds */
#define LLDP_AGENT_FAST_US 1000000ull /* msgFastTx */
#define LLDP_AGENT_FAST 4u            /* txFastInit */
#define LLDP_AGENT_GAP_US 100000ull

/* When to try again what a neighbour has not answered n times before: 1, 2, 4, … s, at last with each PDU of ours. */
static inline u64 lldp_backoff_us(u32 n) { return n < 5 ? LLDP_AGENT_FAST_US << n : LLDP_AGENT_US; }

struct lldp_agent {
	bool on;
	u64 next_us;       /* our next PDU */
	u64 gap_us;        /* … not before */
	u32 fast;          /* so many of them come fast */
	bool heard;        /* there is a neighbour … */
	u32 peer;          /* … known by this, and … */
	u64 until_us;      /* … if not heard again, until then */
};

enum lldp_neighbour { LLDP_NONE, LLDP_NEW, LLDP_SAME, LLDP_GONE };

/* The port is up: a PDU is due at once, and fast ones after it. No neighbour. */
void lldp_agent_start(struct lldp_agent *a, u64 now_us);
/* The same on another way to the neighbour, whom we still know; at once, for it has not had the one before. */
void lldp_agent_moved(struct lldp_agent *a, u64 now_us);
void lldp_agent_stop(struct lldp_agent *a);
/* A PDU is due earlier than planned: something in it has changed. */
void lldp_agent_hurry(struct lldp_agent *a, u64 now_us);
/* Is one due now? If so it counts as sent. */
bool lldp_agent_due(struct lldp_agent *a, u64 now_us);
/*
 * A PDU of the neighbour: NEW (the first, or another neighbour), SAME, GONE (TTL 0 of the one we had), NONE (TTL 0 of another).
 */
enum lldp_neighbour lldp_agent_heard(struct lldp_agent *a, const struct lldp *l, u64 now_us);
/* Has its time run out? True once. */
bool lldp_agent_expired(struct lldp_agent *a, u64 now_us);
/* When due or expired has something to do; ~0: never. */
u64 lldp_agent_deadline(const struct lldp_agent *a);

#endif
