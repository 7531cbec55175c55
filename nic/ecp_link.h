/*
 * One end of an ECP channel (802.1Q, Edge Control Protocol: state machines of transmitter and receiver): at most one request is on its way; it is
 * repeated until its acknowledgement comes. Requests of the other side are acknowledged at once and delivered once each.
 *
 * As on the wire between lldpad's ends: a request is sent 1 + R times, 10 · 2^RTE µs apart; sequence numbers count up past 0; a
 * request is a duplicate if it has number and content of the one before it (of a peer that began anew the number may be the same by chance).
 *
 * Pure: time comes in with each call (µs, monotonic), PDUs go out by ops, deadline says when tick has something to do. No locks: calls of one
 * link come one at a time; ops may call back ecp_link_request and ecp_link_cancel.
 *
 * Invariant: of each request, done is called exactly once, unless it is cancelled.
 */
#ifndef NIC_ECP_LINK_H
#define NIC_ECP_LINK_H

#include "nic/ecp.h"

#define ECP_LINK_PAYLOAD_MAX 384u
#define ECP_LINK_RTE 14u          /* 164 ms */
#define ECP_LINK_RETRIES 3u
#define DEADLINE_NONE (~0ull)

struct ecp_link_ops {
	/* A PDU to the other side; it may get lost. */
	void (*send)(void *arg, const u8 *pdu, u32 len);
	/* Can a request be taken in now? If not it is not acknowledged and comes again. NULL: always. */
	bool (*room)(void *arg);
	/* A request's payload (perhaps with padding behind it), acknowledged already. */
	void (*deliver)(void *arg, const u8 *payload, u32 len, u64 now_us);
	/* Our request was acknowledged, or has been sent in vain. */
	void (*done)(void *arg, bool acknowledged, u64 now_us);
};

struct ecp_link {
	const struct ecp_link_ops *ops;
	void *arg;
	u16 subtype;
	u8 rte, retries;
	/* transmitter */
	bool busy;
	u16 seq;                  /* of the last request */
	u32 sent;                 /* how often */
	u64 deadline;             /* of its acknowledgement */
	u32 len;
	u8 pdu[ECP_LEN + ECP_LINK_PAYLOAD_MAX];
	/* receiver */
	bool heard;
	u16 heard_seq;
	u32 heard_crc;
	struct {
		u64 requests, repeats, failures;      /* sent */
		u64 received, duplicates, no_room;    /* of the other side */
		u64 stray_acks, malformed;
	} count;
};

/* subtype: ECP_VDP, ECP_PE_CSP. seq: the last number used; one that an earlier life of ours has not ended with. */
void ecp_link_init(struct ecp_link *l, u16 subtype, u16 seq, const struct ecp_link_ops *ops, void *arg);
/* What the two sides have agreed on (larger of both); from the next transmission on. */
void ecp_link_set(struct ecp_link *l, u8 rte, u8 retries);
/* The other side has begun anew: its next request is its first. Ours on its way is dropped, without done. */
void ecp_link_reset(struct ecp_link *l);
/* Send a request. -EBUSY: the one before is on its way; -EINVAL: length. */
int ecp_link_request(struct ecp_link *l, const u8 *payload, u32 len, u64 now_us);
/* Give up the request on its way, if any, without done. */
void ecp_link_cancel(struct ecp_link *l);
static inline bool ecp_link_busy(const struct ecp_link *l) { return l->busy; }
/* An ECPDU from the channel, any subtype; others' are ignored. */
void ecp_link_receive(struct ecp_link *l, const u8 *pdu, u32 len, u64 now_us);
/* Time has passed; and when it next matters, DEADLINE_NONE: never. */
void ecp_link_tick(struct ecp_link *l, u64 now_us);
static inline u64 ecp_link_deadline(const struct ecp_link *l) { return l->busy ? l->deadline : DEADLINE_NONE; }
/*
 * How long to wait for the other side's answer to a request that went out now, in µs (802.1Q, VDP: as its station's and bridge's timers): half
 * more than its thinking time and the repetitions of both ways.
 */
u64 ecp_link_answer_us(const struct ecp_link *l, u64 thinking_us);

#endif
