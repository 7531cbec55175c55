/*
 * The controlling bridge of the unit tests (bridge_model.h).
 */
#include "tests/unit/bridge_model.h"

#include <stdlib.h>
#include <string.h>

#include "core/errno.h"
#include "nic/lldp_agent.h"

#define LLDP_US 30000000ull
#define ANSWER_US 3000000ull

static void check(bool ok)
{
	if (!ok)
		abort();
}

static u32 index_of(const struct bridge *b, const struct bridge_pe *p) { return (u32)(p - b->pe); }

/* ---- frames ---- */

void bridge_put(struct bridge *b, const u8 *to, u16 type, const u8 *body, u32 len, u32 ecid)
{
	u8 frame[1600] = { 0 };
	u32 n = MAX(FRAME_HEADER_LEN + len, FRAME_MIN_LEN);
	frame_header_put(frame, to, BRIDGE_MAC, type);
	memcpy(frame + FRAME_HEADER_LEN, body, len);
	if (ecid)
		n = (u32)etag_insert(frame, sizeof(frame), frame, n, &(struct etag){ .ecid = ecid });
	b->send(frame, n);
}

static void put_pe(struct bridge *b, struct bridge_pe *p, u16 type, const u8 *body, u32 len)
{
	bool shared = !p->via && !b->s_channel;
	bridge_put(b, shared ? p->mac : FRAME_NEAREST_NON_TPMR_BRIDGE, type, body, len, p->via);
}

static void put_lldp(struct bridge *b, struct bridge_pe *p, u16 ttl)
{
	u8 pdu[256], name[2] = { 'b', (u8)('0' + b->name) };
	struct lldp l = { { LLDP_CHASSIS_MAC, 6, BRIDGE_MAC }, { LLDP_PORT_LOCAL, 2, name }, .ttl = ttl, .has_pe = true };
	memcpy(l.pe.pe, BRIDGE_MAC, 6);
	memcpy(l.pe.csp, BRIDGE_MAC, 6);
	p->lldp_us = b->now_us;
	int n = lldp_build(pdu, sizeof(pdu), &l);
	check(n > 0);
	put_pe(b, p, FRAME_TYPE_LLDP, pdu, (u32)n);
}

/* ---- PE-CSP: out ---- */

/* Each link's arg is where the bridge has it: bridge, and which extender. */
static struct bridge *the_bridge;

static void pump(struct bridge_pe *p)
{
	u8 pdu[ECP_LINK_PAYLOAD_MAX];
	if (!p->used || !p->nr_queue || ecp_link_busy(&p->ecp))
		return;
	int n = pe_csp_build(pdu, sizeof(pdu), &p->queue[0]);
	check(n > 0 && !ecp_link_request(&p->ecp, pdu, (u32)n, the_bridge->now_us));
	p->nr_queue--;
	memmove(p->queue, p->queue + 1, p->nr_queue * sizeof(p->queue[0]));
}

static void enqueue(struct bridge_pe *p, const struct pe_csp *m)
{
	if (p->nr_queue < BRIDGE_QUEUE)
		p->queue[p->nr_queue++] = *m;
	pump(p);
}

/* E-CIDs further in than p, the innermost last. */
static u32 further_in(struct bridge *b, const struct bridge_pe *p, u32 *ecid)
{
	u32 n = 0;
	for (const struct bridge_pe *q = p->ecid ? bridge_pe(b, p->ecid) : NULL; q && q->ecid; q = bridge_pe(b, q->ecid))
		ecid[n++] = q->ecid;
	return n;
}

static u32 wanted(struct bridge *b, const struct bridge_pe *p, struct pe_csp_ecid *w)
{
	u32 inner[BRIDGE_PES], n = further_in(b, p, inner), k = 0;
	if (!p->ecid)
		return 0;
	for (u32 i = 0; i < n; i++)
		w[k++] = (struct pe_csp_ecid){ 0, inner[i], PE_CSP_TAGGED };
	if (!b->s_channel)
		w[k++] = (struct pe_csp_ecid){ BRIDGE_GROUP_GRP, BRIDGE_GROUP_ECID, n ? PE_CSP_TAGGED : PE_CSP_UNTAGGED };
	return k;
}

static bool has(const struct pe_csp_ecid *set, u32 n, const struct pe_csp_ecid *e, bool same_action)
{
	for (u32 i = 0; i < n; i++)
		if (set[i].grp == e->grp && set[i].ecid == e->ecid && (!same_action || set[i].action == e->action))
			return true;
	return false;
}

static void synchronise(struct bridge *b, struct bridge_pe *p)
{
	struct pe_csp_ecid w[BRIDGE_PES + 1];
	struct pe_csp m = { .command = PE_CSP_ECHANNEL_REGISTER, .has_port = true, .port = p->port };
	if (!p->used || !p->ecid || p->asked)
		return;
	u32 n = wanted(b, p, w);
	for (u32 i = 0; i < p->nr_have; i++)
		if (!has(w, n, &p->have[i], false))
			m.ecid[m.nr_ecids++] = (struct pe_csp_ecid){ p->have[i].grp, p->have[i].ecid, PE_CSP_REMOVE };
	for (u32 i = 0; i < n; i++)
		if (!has(p->have, p->nr_have, &w[i], true))
			m.ecid[m.nr_ecids++] = w[i];
	if (!m.nr_ecids)
		return;
	m.transaction = ++b->transaction;
	p->asked = true;
	p->asked_transaction = m.transaction;
	p->asked_us = b->now_us;
	p->nr_sent = n;
	memcpy(p->sent, w, sizeof(w));
	enqueue(p, &m);
}

static void synchronise_all(struct bridge *b)
{
	for (u32 i = 0; i < BRIDGE_PES; i++)
		synchronise(b, &b->pe[i]);
}

/* ---- PE-CSP: in ---- */

static void forget(struct bridge *b, struct bridge_pe *p)
{
	struct bridge_pe *q = p->ecid ? bridge_pe(b, p->ecid) : NULL;
	p->used = false;
	if (q)
		forget(b, q);
}

static void release(struct bridge *b, struct bridge_pe *p)
{
	struct bridge_pe *q = p->ecid ? bridge_pe(b, p->ecid) : NULL;
	if (q)
		forget(b, q);
	p->ecid = p->nr_have = 0;
	p->asked = false;
}

static u8 opened(struct bridge *b, struct bridge_pe *p)
{
	b->nr_opens++;
	release(b, p);
	p->open = true;
	return PE_CSP_SUCCESS;
}

static u8 create(struct bridge *b, struct bridge_pe *p, const struct pe_csp *m)
{
	b->nr_creates++;
	if (p->ecid)
		return p->port == m->port ? PE_CSP_SUCCESS : PE_CSP_NO_RESOURCES;
	if (!p->last_ecid || b->new_ecid) {
		p->last_ecid = b->next_ecid++;
		b->new_ecid -= b->new_ecid > 0;
	}
	p->ecid = p->last_ecid;
	p->port = m->port;
	return PE_CSP_SUCCESS;
}

static u8 delete(struct bridge *b, struct bridge_pe *p)
{
	b->nr_deletes++;
	if (!p->ecid)
		return PE_CSP_NO_PORT;
	release(b, p);
	return PE_CSP_SUCCESS;
}

static void request(struct bridge *b, struct bridge_pe *p, const struct pe_csp *m)
{
	struct pe_csp a = { .command = m->command, .response = true, .transaction = m->transaction, .has_port = m->has_port,
	                    .kind = m->kind, .port = m->port };
	if (b->no_response) {
		b->no_response--;
		return;
	}
	if (b->refuse) {
		b->refuse--;
		a.result = b->refuse_result;
	} else if (m->command == PE_CSP_OPEN) {
		a.result = opened(b, p);
	} else if (!p->open) {
		a.result = PE_CSP_NOT_OPEN;
	} else if (m->command == PE_CSP_PORT_CREATE) {
		a.result = create(b, p, m);
	} else {
		a.result = m->command == PE_CSP_PORT_DELETE ? delete(b, p) : PE_CSP_REFUSED;
	}
	if (!a.result && m->command == PE_CSP_PORT_CREATE)
		a.ecid[a.nr_ecids++] = (struct pe_csp_ecid){ 0, p->ecid, PE_CSP_UNTAGGED };
	if (b->wrong_transaction) {
		b->wrong_transaction--;
		a.transaction += 0x100;
	}
	if (b->register_first)
		synchronise_all(b);
	enqueue(p, &a);
	if (b->opens_too && m->command == PE_CSP_OPEN)
		bridge_open(b, p);
	synchronise_all(b);
}

static void response(struct bridge *b, struct bridge_pe *p, const struct pe_csp *m)
{
	if (m->command != PE_CSP_ECHANNEL_REGISTER || !p->asked || m->transaction != p->asked_transaction)
		return;
	p->asked = false;
	if (m->result) {
		b->nr_registers_refused++;
		p->asked = true; /* again when the time is over */
		return;
	}
	p->nr_have = p->nr_sent;
	memcpy(p->have, p->sent, sizeof(p->have));
	synchronise_all(b);
}

static void csp_send(void *arg, const u8 *pdu, u32 len) { put_pe(the_bridge, arg, FRAME_TYPE_ECP, pdu, len); }
static void csp_done(void *arg, bool acknowledged, u64 now_us)
{
	(void)acknowledged, (void)now_us;
	pump(arg);
}
static void csp_deliver(void *arg, const u8 *payload, u32 len, u64 now_us)
{
	struct pe_csp m;
	(void)now_us;
	if (pe_csp_parse(payload, len, &m))
		the_bridge->nr_bad++;
	else if (m.response)
		response(the_bridge, arg, &m);
	else
		request(the_bridge, arg, &m);
}
static const struct ecp_link_ops csp_ops = { .send = csp_send, .deliver = csp_deliver, .done = csp_done };

static void meet(struct bridge *b, struct bridge_pe *p, u32 via, const u8 *mac)
{
	memset(p, 0, sizeof(*p));
	p->used = true;
	p->via = via;
	memcpy(p->mac, mac, 6);
	ecp_link_init(&p->ecp, ECP_PE_CSP, (u16)(b->life * 7), &csp_ops, p);
	put_lldp(b, p, 120);
	if (b->life > 1 && b->opens_after_restart)
		bridge_open(b, p);
}

static void pe_lldp(struct bridge *b, struct bridge_pe *p, u32 via, const u8 *from, const struct lldp *l)
{
	if (!l->has_pe)
		return;
	if (!l->ttl) {
		if (p)
			forget(b, p);
		synchronise_all(b);
		return;
	}
	if (!p) {
		for (p = b->pe; p < b->pe + BRIDGE_PES && p->used;)
			p++;
		check(index_of(b, p) < BRIDGE_PES);
		meet(b, p, via, from);
	} else if (b->now_us - p->lldp_us >= 1000000) {
		put_lldp(b, p, 120);
	}
	p->expires_us = b->now_us + l->ttl * 1000000ull;
}

/* ---- in ---- */

static void receive_pe(struct bridge *b, const u8 *frame, u32 ecid, u16 type, const u8 *body, u32 len)
{
	struct lldp l;
	struct bridge_pe *p = bridge_pe(b, ecid), *outer = NULL;
	for (u32 i = 0; i < BRIDGE_PES; i++)
		if (b->pe[i].used && b->pe[i].ecid == ecid)
			outer = &b->pe[i];
	if (ecid && !outer)
		b->nr_bad++; /* an E-CID of nobody */
	else if (type == FRAME_TYPE_LLDP && !lldp_parse(body, len, &l))
		pe_lldp(b, p, ecid, frame + 6, &l);
	else if (type == FRAME_TYPE_ECP && p)
		ecp_link_receive(&p->ecp, body, len, b->now_us);
	else if (type == FRAME_TYPE_LLDP)
		b->nr_bad++;
}

void bridge_receive(struct bridge *b, const u8 *frame, u32 len, u64 now_us)
{
	struct etag t = { 0 };
	u8 plain[10000];
	b->now_us = now_us;
	the_bridge = b;
	if (b->silent)
		return;
	int n = etag_strip(plain, sizeof(plain), frame, len, &t);
	if (n == -ENOENT) {
		memcpy(plain, frame, len);
		n = (int)len;
	}
	if (n < (int)FRAME_HEADER_LEN) {
		b->nr_bad++;
		return;
	}
	const u8 *body = plain + FRAME_HEADER_LEN;
	u32 body_len = (u32)n - FRAME_HEADER_LEN;
	if (!memcmp(plain, FRAME_NEAREST_NON_TPMR_BRIDGE, 6)) {
		receive_pe(b, plain, t.ecid, frame_type(plain), body, body_len);
	} else if (!memcmp(plain, FRAME_NEAREST_CUSTOMER_BRIDGE, 6)) {
		bridge_vdp_receive(b, t.ecid, frame_type(plain), body, body_len);
	} else {
		b->data.nr++;
		b->data.len = len;
		memcpy(b->data.frame, frame, len);
	}
}

/* ---- time ---- */

static void tick_pe(struct bridge *b, struct bridge_pe *p)
{
	ecp_link_tick(&p->ecp, b->now_us);
	if (p->asked && b->now_us - p->asked_us >= ANSWER_US) {
		p->asked = false;
		synchronise(b, p);
	}
	if (b->now_us - p->lldp_us >= LLDP_US)
		put_lldp(b, p, 120);
	if (b->now_us >= p->expires_us) {
		forget(b, p);
		synchronise_all(b);
	}
}

void bridge_tick(struct bridge *b, u64 now_us)
{
	b->now_us = now_us;
	the_bridge = b;
	if (b->silent)
		return;
	for (u32 i = 0; i < BRIDGE_PES; i++)
		if (b->pe[i].used)
			tick_pe(b, &b->pe[i]);
	bridge_vdp_tick(b);
}

u64 bridge_deadline(const struct bridge *b)
{
	u64 d = DEADLINE_NONE;
	if (b->silent)
		return d;
	for (u32 i = 0; i < BRIDGE_PES; i++) {
		const struct bridge_pe *p = &b->pe[i];
		if (!p->used)
			continue;
		d = MIN(d, ecp_link_deadline(&p->ecp));
		d = MIN(d, MIN(p->lldp_us + LLDP_US, p->expires_us));
		if (p->asked)
			d = MIN(d, p->asked_us + ANSWER_US);
	}
	if (!b->vdp.on)
		return d;
	d = MIN(d, MIN(ecp_link_deadline(&b->vdp.ecp), b->vdp.lldp_us + LLDP_US));
	return b->vdp.associated || b->vdp.preassociated ? MIN(d, b->vdp.keep_us) : d;
}

/* ---- orders ---- */

struct bridge_pe *bridge_pe(struct bridge *b, u32 via)
{
	for (u32 i = 0; i < BRIDGE_PES; i++)
		if (b->pe[i].used && b->pe[i].via == via)
			return &b->pe[i];
	return NULL;
}

struct bridge_pe *bridge_leaf(struct bridge *b)
{
	struct bridge_pe *leaf = NULL;
	for (struct bridge_pe *p = bridge_pe(b, 0); p && p->ecid; p = bridge_pe(b, p->ecid))
		leaf = p;
	return leaf;
}

static void ask(struct bridge *b, struct bridge_pe *p, const struct pe_csp *m)
{
	struct pe_csp copy = *m;
	the_bridge = b;
	copy.transaction = ++b->transaction;
	if (copy.command != PE_CSP_OPEN) {
		copy.has_port = true;
		copy.port = p->port;
	}
	enqueue(p, &copy);
}

void bridge_open(struct bridge *b, struct bridge_pe *p) { ask(b, p, &(struct pe_csp){ .command = PE_CSP_OPEN }); }

void bridge_change_ecid(struct bridge *b, struct bridge_pe *p, u32 ecid)
{
	struct bridge_pe *q = bridge_pe(b, p->ecid);
	ask(b, p, &(struct pe_csp){ .command = PE_CSP_ECHANNEL_REGISTER, .nr_ecids = 1, .ecid = { { 0, ecid, PE_CSP_UNTAGGED } } });
	p->ecid = p->last_ecid = ecid;
	if (q)
		q->via = ecid;
	synchronise_all(b);
}

void bridge_remove_ecid(struct bridge *b, struct bridge_pe *p)
{
	ask(b, p, &(struct pe_csp){ .command = PE_CSP_ECHANNEL_REGISTER, .nr_ecids = 1, .ecid = { { 0, p->ecid, PE_CSP_REMOVE } } });
	release(b, p);
	p->last_ecid = 0;
	synchronise_all(b);
}

void bridge_delete_port(struct bridge *b, struct bridge_pe *p)
{
	ask(b, p, &(struct pe_csp){ .command = PE_CSP_PORT_DELETE });
	release(b, p);
	p->last_ecid = 0;
	synchronise_all(b);
}

void bridge_shutdown(struct bridge *b)
{
	the_bridge = b;
	for (u32 i = 0; i < BRIDGE_PES; i++)
		if (b->pe[i].used)
			put_lldp(b, &b->pe[i], 0);
	bridge_vdp_shutdown(b);
}

void bridge_send_data(struct bridge *b, const u8 *frame, u32 len)
{
	u8 tagged[10000];
	struct bridge_pe *leaf = bridge_leaf(b);
	bool group = frame[0] & 1;
	if (b->s_channel) {
		b->send(frame, len);
		return;
	}
	struct etag t = { .ecid = group ? BRIDGE_GROUP_ECID : leaf ? leaf->ecid : 1, .grp = group ? BRIDGE_GROUP_GRP : 0 };
	b->send(tagged, (u32)etag_insert(tagged, sizeof(tagged), frame, len, &t));
}

bool bridge_settled(const struct bridge *b)
{
	struct pe_csp_ecid w[BRIDGE_PES + 1];
	for (u32 i = 0; i < BRIDGE_PES; i++) {
		const struct bridge_pe *p = &b->pe[i];
		u32 n = p->used ? wanted((struct bridge *)b, p, w) : 0;
		if (p->used && (p->asked || n != p->nr_have))
			return false;
		for (u32 k = 0; k < n; k++)
			if (!has(p->have, p->nr_have, &w[k], true))
				return false;
	}
	return true;
}

void bridge_restart(struct bridge *b, bool another)
{
	b->life++;
	b->name += another;
	memset(b->pe, 0, sizeof(b->pe));
	memset(&b->vdp, 0, sizeof(b->vdp));
	b->next_ecid += 0x10;
}

void bridge_init(struct bridge *b, bool s_channel, void (*send)(const u8 *frame, u32 len))
{
	memset(b, 0, sizeof(*b));
	b->s_channel = s_channel;
	b->send = send;
	b->next_ecid = 0x101;
	b->life = 1;
	b->evb = (struct lldp_evb){ .bridge = LLDP_EVB_RRCAP, .retries = 3, .rte = 14, .mode = LLDP_EVB_BRIDGE, .rwd = 20, .rka = 20 };
}
