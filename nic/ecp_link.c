/*
 * One end of an ECP channel (ecp_link.h).
 */
#include "nic/ecp_link.h"

#include <string.h>

#include "core/crc32.h"
#include "core/errno.h"
#include "nic/lldp.h"

void ecp_link_init(struct ecp_link *l, u16 subtype, u16 seq, const struct ecp_link_ops *ops, void *arg)
{
	memset(l, 0, sizeof(*l));
	l->ops = ops;
	l->arg = arg;
	l->subtype = subtype;
	l->seq = seq;
	ecp_link_set(l, ECP_LINK_RTE, ECP_LINK_RETRIES);
}

void ecp_link_set(struct ecp_link *l, u8 rte, u8 retries)
{
	l->rte = rte;
	l->retries = retries;
}

void ecp_link_cancel(struct ecp_link *l) { l->busy = false; }

void ecp_link_reset(struct ecp_link *l)
{
	ecp_link_cancel(l);
	l->heard = false;
}

u64 ecp_link_answer_us(const struct ecp_link *l, u64 thinking_us)
{
	u64 us = (1 + 2ull * l->retries) * lldp_evb_us(l->rte) + thinking_us;
	return us + us / 2;
}

/* ---- transmitter ---- */

static void transmit(struct ecp_link *l, u64 now_us)
{
	l->sent++;
	l->deadline = now_us + lldp_evb_us(l->rte);
	l->ops->send(l->arg, l->pdu, l->len);
}

int ecp_link_request(struct ecp_link *l, const u8 *payload, u32 len, u64 now_us)
{
	if (l->busy)
		return -EBUSY;
	if (!len || len > ECP_LINK_PAYLOAD_MAX)
		return -EINVAL;
	if (!++l->seq) /* 0 is skipped, as lldpad does */
		l->seq++;
	int n = ecp_build(l->pdu, sizeof(l->pdu), &(struct ecp){ ECP_REQUEST, l->subtype, l->seq });
	if (n < 0)
		return n;
	memcpy(l->pdu + n, payload, len);
	l->len = (u32)n + len;
	l->busy = true;
	l->sent = 0;
	l->count.requests++;
	transmit(l, now_us);
	return 0;
}

void ecp_link_tick(struct ecp_link *l, u64 now_us)
{
	if (!l->busy || now_us < l->deadline)
		return;
	if (l->sent <= l->retries) {
		l->count.repeats++;
		transmit(l, now_us);
		return;
	}
	l->count.failures++;
	l->busy = false;
	l->ops->done(l->arg, false, now_us);
}

static void acknowledged(struct ecp_link *l, u16 seq, u64 now_us)
{
	if (!l->busy || seq != l->seq) {
		l->count.stray_acks++;
		return;
	}
	l->busy = false;
	l->ops->done(l->arg, true, now_us);
}

/* ---- receiver ---- */

static void acknowledge(struct ecp_link *l, u16 seq)
{
	u8 pdu[ECP_LEN];
	if (ecp_build(pdu, sizeof(pdu), &(struct ecp){ ECP_ACK, l->subtype, seq }) > 0)
		l->ops->send(l->arg, pdu, sizeof(pdu));
}

static void requested(struct ecp_link *l, u16 seq, const u8 *payload, u32 len, u64 now_us)
{
	u32 crc = crc32(0, payload, len);
	if (l->heard && seq == l->heard_seq && crc == l->heard_crc) { /* our acknowledgement was lost, or the frame is a copy */
		l->count.duplicates++;
		acknowledge(l, seq);
		return;
	}
	if (l->ops->room && !l->ops->room(l->arg)) {
		l->count.no_room++;
		return;
	}
	l->heard = true;
	l->heard_seq = seq;
	l->heard_crc = crc;
	l->count.received++;
	acknowledge(l, seq);
	l->ops->deliver(l->arg, payload, len, now_us);
}

void ecp_link_receive(struct ecp_link *l, const u8 *pdu, u32 len, u64 now_us)
{
	struct ecp h;
	int n = ecp_parse(pdu, len, &h);
	if (n < 0) {
		l->count.malformed++;
		return;
	}
	if (h.subtype != l->subtype)
		return;
	if (h.op == ECP_ACK)
		acknowledged(l, h.seq, now_us);
	else
		requested(l, h.seq, pdu + n, len - (u32)n, now_us);
}
