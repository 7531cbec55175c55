/*
 * The extender's side of PE-CSP (pe_csp.h).
 */
#include "nic/pe_csp.h"

#include "core/errno.h"

#define PDU_MAX 128u
#define THINKING_US 1000000ull     /* what a bridge may need for an answer */

_Static_assert(PDU_MAX <= ECP_LINK_PAYLOAD_MAX, "a PDU goes into one ECP request");

static void enter(struct pe_csp_engine *e, enum pe_state state, enum pe_why why)
{
	e->state = state;
	if (e->ops->changed)
		e->ops->changed(e->arg, state, e->x->own, why);
}

/* ---- LLDP ---- */

static void send_lldp(struct pe_csp_engine *e, u16 ttl)
{
	u8 pdu[PDU_MAX];
	struct lldp l = {
		.chassis = { LLDP_CHASSIS_MAC, FRAME_MAC_LEN, e->conf.mac },
		.port = { LLDP_PORT_LOCAL, (u32)strlen(e->port_id), (const u8 *)e->port_id },
		.ttl = ttl,
		.has_pe = true,
	};
	memcpy(l.pe.pe, e->conf.mac, FRAME_MAC_LEN);
	memcpy(l.pe.csp, e->conf.mac, FRAME_MAC_LEN);
	int n = lldp_build(pdu, sizeof(pdu), &l);
	ASSERT(n > 0);
	e->ops->send(e->arg, FRAME_TYPE_LLDP, pdu, (u32)n);
}

static void run_lldp(struct pe_csp_engine *e, u64 now_us)
{
	if (lldp_agent_due(&e->lldp, now_us))
		send_lldp(e, LLDP_AGENT_TTL);
}

/* ---- out: answers first, then what we ask ---- */

static void put(struct pe_csp_engine *e, const struct pe_csp *m, u64 now_us)
{
	u8 payload[PDU_MAX];
	int n = pe_csp_build(payload, sizeof(payload), m);
	ASSERT(n > 0);
	int r = ecp_link_request(&e->ecp, payload, (u32)n, now_us);
	ASSERT(!r);
}

static void pump(struct pe_csp_engine *e, u64 now_us)
{
	struct pe_csp m = { .has_port = true, .kind = PE_CSP_EXTENDED, .port = e->conf.port };
	if (ecp_link_busy(&e->ecp))
		return;
	e->on_its_way = !e->nr_answers && e->asking && !e->sent;
	if (e->nr_answers) {
		const struct pe_answer *a = &e->answer[e->first_answer];
		m = (struct pe_csp){ .command = a->command, .response = true, .result = a->result, .transaction = a->transaction,
		                     .has_port = a->has_port, .kind = a->kind, .port = a->port };
		e->first_answer = (e->first_answer + 1) % PE_CSP_ANSWERS;
		e->nr_answers--;
	} else if (e->on_its_way) {
		m.command = e->command;
		m.transaction = e->transaction;
		if (m.command == PE_CSP_OPEN)
			m = (struct pe_csp){ .command = PE_CSP_OPEN, .transaction = e->transaction };
		e->sent = true;
	} else {
		return;
	}
	put(e, &m, now_us);
}

/* One request of ours at a time: what was asked before means nothing any more. */
static void forget_request(struct pe_csp_engine *e)
{
	if (e->on_its_way)
		ecp_link_cancel(&e->ecp);
	e->asking = e->on_its_way = false;
	e->answer_us = DEADLINE_NONE;
}

static void ask(struct pe_csp_engine *e, u8 command, u64 now_us)
{
	forget_request(e);
	e->asking = true;
	e->sent = false;
	e->command = command;
	e->transaction++;
	e->answer_us = now_us + ecp_link_answer_us(&e->ecp, THINKING_US);
	pump(e, now_us);
}

/* ---- the session ---- */

/* Into it, with a bridge that has just heard of us. */
static void open(struct pe_csp_engine *e, enum pe_why why, u64 now_us)
{
	enter(e, PE_OPENING, why);
	lldp_agent_hurry(&e->lldp, now_us);
	run_lldp(e, now_us);
	ask(e, PE_CSP_OPEN, now_us);
}

/* Out of it; again later, if the bridge is there. */
static void leave(struct pe_csp_engine *e, enum pe_why why, u64 now_us)
{
	forget_request(e);
	extender_forget(e->x);
	if (e->lldp.heard)
		e->answer_us = now_us + lldp_backoff_us(e->tries++);
	enter(e, PE_LOOKING, why);
}

/* The bridge is not the one that it was: what is on its way concerns nobody. */
static void break_off(struct pe_csp_engine *e)
{
	forget_request(e);
	e->nr_answers = 0;
	ecp_link_reset(&e->ecp);
	extender_forget(e->x);
	e->tries = 0;
}

static void create(struct pe_csp_engine *e, enum pe_why why, u64 now_us)
{
	enter(e, PE_CREATING, why);
	ask(e, PE_CSP_PORT_CREATE, now_us);
}

static void opened(struct pe_csp_engine *e, enum pe_why why, u64 now_us)
{
	if (e->port_up)
		create(e, why, now_us);
	else
		enter(e, PE_OPEN, why);
}

/* ---- what the bridge asks ---- */

static bool adds_twice(const struct pe_csp *m)
{
	for (u32 i = 0; i < m->nr_ecids; i++)
		for (u32 k = 0; k < i; k++)
			if (m->ecid[i].ecid == m->ecid[k].ecid && m->ecid[i].grp == m->ecid[k].grp &&
			    m->ecid[i].action != PE_CSP_REMOVE && m->ecid[k].action != PE_CSP_REMOVE)
				return true;
	return false;
}

/* All of a Register can be done, or nothing is. Removals come first, so their places count. */
static u8 check_register(const struct pe_csp_engine *e, const struct pe_csp *m)
{
	u32 room[2] = { extender_room(e->x, 0), extender_room(e->x, 1) }, need[2] = { 0 };
	if (m->port != e->conf.port || !e->port_up)
		return PE_CSP_NO_PORT;
	if (adds_twice(m))
		return PE_CSP_MALFORMED;
	for (u32 i = 0; i < m->nr_ecids; i++) {
		const struct pe_csp_ecid *c = &m->ecid[i];
		bool had = extender_registered(e->x, c->grp, c->ecid);
		if (c->action == PE_CSP_REMOVE)
			room[c->grp != 0] += had;
		else if (c->grp || c->action == PE_CSP_TAGGED)
			need[c->grp != 0] += !had;
		if (!c->grp && c->action == PE_CSP_TAGGED && c->ecid == e->x->own)
			return PE_CSP_REFUSED;
	}
	return need[0] > room[0] || need[1] > room[1] ? PE_CSP_NO_RESOURCES : PE_CSP_SUCCESS;
}

static void remove_ecid(struct pe_csp_engine *e, const struct pe_csp_ecid *c)
{
	if (!c->grp && c->ecid == e->x->own)
		extender_set_own(e->x, 0);
	else
		(void)extender_unregister(e->x, c->grp, c->ecid); /* not there: as it should be */
}

static u8 add_ecid(struct pe_csp_engine *e, const struct pe_csp_ecid *c)
{
	if (c->grp || c->action == PE_CSP_TAGGED)
		return extender_register(e->x, c->grp, c->ecid, c->action == PE_CSP_TAGGED) ? PE_CSP_NO_RESOURCES : PE_CSP_SUCCESS;
	extender_set_own(e->x, c->ecid);
	return PE_CSP_SUCCESS;
}

static u8 do_register(struct pe_csp_engine *e, const struct pe_csp *m)
{
	if (e->state < PE_OPEN)
		return PE_CSP_NOT_OPEN;
	u8 result = check_register(e, m);
	for (u32 i = 0; !result && i < m->nr_ecids; i++)
		if (m->ecid[i].action == PE_CSP_REMOVE)
			remove_ecid(e, &m->ecid[i]);
	for (u32 i = 0; !result && i < m->nr_ecids; i++)
		if (m->ecid[i].action != PE_CSP_REMOVE)
			result = add_ecid(e, &m->ecid[i]);
	return result;
}

/* The bridge takes our port away. */
static u8 do_delete(struct pe_csp_engine *e, const struct pe_csp *m)
{
	if (e->state < PE_OPEN)
		return PE_CSP_NOT_OPEN;
	if (m->port != e->conf.port || !e->x->own)
		return PE_CSP_NO_PORT;
	extender_forget(e->x);
	return PE_CSP_SUCCESS;
}

static void answer(struct pe_csp_engine *e, const struct pe_csp *m, u8 result, u64 now_us)
{
	u32 i = (e->first_answer + e->nr_answers++) % PE_CSP_ANSWERS; /* ecp_room saw to the place */
	e->answer[i] = (struct pe_answer){ m->command, result, m->kind, m->has_port, m->transaction, m->port };
	pump(e, now_us);
}

/*
 * The bridge opens. One that does so while we do, or soon after, as the other half of the same beginning, may have what we have told it: the port
 * is only asked for again. Otherwise it begins anew.
 */
static void bridge_opens(struct pe_csp_engine *e, u64 now_us)
{
	if (e->state == PE_LOOKING) {
		open(e, PE_WHY_PROGRESS, now_us);
	} else if (e->state != PE_OPENING && now_us - e->opened_us >= ecp_link_answer_us(&e->ecp, THINKING_US)) {
		extender_forget(e->x);
		open(e, PE_WHY_BRIDGE_NEW, now_us);
	} else if (e->state == PE_UP) {
		create(e, PE_WHY_BRIDGE_NEW, now_us);
	}
}

static void request(struct pe_csp_engine *e, const struct pe_csp *m, u64 now_us)
{
	u32 own = e->x->own;
	e->count.requests_in++;
	switch (m->command) {
	case PE_CSP_OPEN:
		answer(e, m, PE_CSP_SUCCESS, now_us);
		bridge_opens(e, now_us);
		return;
	case PE_CSP_ECHANNEL_REGISTER: answer(e, m, do_register(e, m), now_us); break;
	case PE_CSP_PORT_DELETE: answer(e, m, do_delete(e, m), now_us); break;
	default: answer(e, m, PE_CSP_REFUSED, now_us);
	}
	if (e->state == PE_UP && !e->x->own)
		create(e, PE_WHY_ECID_LOST, now_us);
	else if (e->x->own != own)
		enter(e, e->state, PE_WHY_PROGRESS);
}

/* ---- what it answers ---- */

static void created(struct pe_csp_engine *e, const struct pe_csp *m, u64 now_us)
{
	if (m->port != e->conf.port) {
		leave(e, PE_WHY_REFUSED, now_us);
		return;
	}
	bool news = e->state != PE_UP || m->ecid[0].ecid != e->x->own;
	e->tries = 0;
	if (e->conf.confirm_us)
		e->answer_us = now_us + e->conf.confirm_us;
	extender_set_own(e->x, m->ecid[0].ecid);
	if (news)
		enter(e, PE_UP, PE_WHY_PROGRESS);
}

static void response(struct pe_csp_engine *e, const struct pe_csp *m, u64 now_us)
{
	if (!e->asking || m->command != e->command || m->transaction != e->transaction) {
		e->count.stray++;
		return;
	}
	forget_request(e);
	if (m->result != PE_CSP_SUCCESS && m->command != PE_CSP_PORT_DELETE) {
		e->count.refused++;
		e->result = m->result;
		leave(e, PE_WHY_REFUSED, now_us);
	} else if (m->command == PE_CSP_PORT_CREATE) {
		created(e, m, now_us);
	} else {
		if (m->command == PE_CSP_OPEN) {
			e->count.sessions++;
			e->opened_us = now_us;
		}
		opened(e, PE_WHY_PROGRESS, now_us);
	}
	pump(e, now_us);
}

static void unanswered(struct pe_csp_engine *e, u64 now_us)
{
	e->count.unanswered++;
	if (e->state == PE_UP) { /* perhaps it must hear of us first */
		forget_request(e);
		lldp_agent_hurry(&e->lldp, now_us);
		e->answer_us = now_us + lldp_backoff_us(e->tries++);
		return;
	}
	leave(e, PE_WHY_NO_ANSWER, now_us);
}

/* ---- what comes in ---- */

static void ecp_send(void *arg, const u8 *pdu, u32 len)
{
	struct pe_csp_engine *e = arg;
	e->ops->send(e->arg, FRAME_TYPE_ECP, pdu, len);
}

static bool ecp_room(void *arg) { return ((struct pe_csp_engine *)arg)->nr_answers < PE_CSP_ANSWERS; }

static void ecp_deliver(void *arg, const u8 *payload, u32 len, u64 now_us)
{
	struct pe_csp_engine *e = arg;
	struct pe_csp m;
	if (pe_csp_parse(payload, len, &m))
		e->count.malformed++;
	else if (m.response)
		response(e, &m, now_us);
	else
		request(e, &m, now_us);
}

static void ecp_done(void *arg, bool acknowledged, u64 now_us)
{
	struct pe_csp_engine *e = arg;
	bool was_ours = e->on_its_way;
	e->on_its_way = false;
	if (!acknowledged && was_ours && e->asking)
		unanswered(e, now_us);
	pump(e, now_us);
}

static const struct ecp_link_ops ecp_ops = { ecp_send, ecp_room, ecp_deliver, ecp_done };

static void receive_lldp(struct pe_csp_engine *e, const u8 *body, u32 len, u64 now_us)
{
	struct lldp l;
	if (lldp_parse(body, len, &l)) {
		e->count.malformed++;
		return;
	}
	e->count.lldp_in++;
	if (l.chassis.len == FRAME_MAC_LEN && !memcmp(l.chassis.bytes, e->conf.mac, FRAME_MAC_LEN))
		return; /* our own */
	if (!l.has_pe)
		l.ttl = 0; /* if it was ours, it is no more */
	enum lldp_neighbour n = lldp_agent_heard(&e->lldp, &l, now_us);
	if (n == LLDP_GONE) {
		break_off(e);
		enter(e, PE_LOOKING, PE_WHY_BRIDGE_GONE);
	} else if (n == LLDP_NEW) {
		enum pe_why why = e->state == PE_LOOKING ? PE_WHY_PROGRESS : PE_WHY_BRIDGE_NEW;
		break_off(e);
		open(e, why, now_us);
	}
}

void pe_csp_receive(struct pe_csp_engine *e, u16 ethertype, const u8 *body, u32 len, u64 now_us)
{
	if (e->state == PE_DOWN)
		return;
	if (ethertype == FRAME_TYPE_LLDP)
		receive_lldp(e, body, len, now_us);
	else if (ethertype == FRAME_TYPE_ECP)
		ecp_link_receive(&e->ecp, body, len, now_us);
	run_lldp(e, now_us);
}

/* ---- time ---- */

void pe_csp_tick(struct pe_csp_engine *e, u64 now_us)
{
	if (e->state == PE_DOWN)
		return;
	ecp_link_tick(&e->ecp, now_us);
	if (now_us >= e->answer_us) {
		if (e->asking)
			unanswered(e, now_us);
		else if (e->state == PE_UP)
			ask(e, PE_CSP_PORT_CREATE, now_us);
		else
			open(e, PE_WHY_PROGRESS, now_us);
	}
	if (lldp_agent_expired(&e->lldp, now_us)) {
		break_off(e);
		enter(e, PE_LOOKING, PE_WHY_BRIDGE_GONE);
	}
	run_lldp(e, now_us);
}

u64 pe_csp_deadline(const struct pe_csp_engine *e)
{
	if (e->state == PE_DOWN)
		return DEADLINE_NONE;
	u64 d = MIN(lldp_agent_deadline(&e->lldp), ecp_link_deadline(&e->ecp));
	return MIN(d, e->answer_us);
}

/* ---- life ---- */

void pe_csp_start(struct pe_csp_engine *e, u64 now_us)
{
	if (e->state != PE_DOWN)
		return;
	lldp_agent_start(&e->lldp, now_us);
	enter(e, PE_LOOKING, PE_WHY_LOCAL);
	run_lldp(e, now_us);
}

void pe_csp_stop(struct pe_csp_engine *e, u64 now_us)
{
	(void)now_us;
	if (e->state == PE_DOWN)
		return;
	break_off(e);
	send_lldp(e, 0);
	lldp_agent_stop(&e->lldp);
	enter(e, PE_DOWN, PE_WHY_LOCAL);
}

void pe_csp_port(struct pe_csp_engine *e, bool up, u64 now_us)
{
	if (e->port_up == up)
		return;
	e->port_up = up;
	if (up && e->state == PE_OPEN) {
		create(e, PE_WHY_LOCAL, now_us);
	} else if (!up && (e->state == PE_CREATING || e->state == PE_UP)) {
		extender_forget(e->x);
		enter(e, PE_DELETING, PE_WHY_LOCAL);
		ask(e, PE_CSP_PORT_DELETE, now_us);
	}
}

void pe_csp_init(struct pe_csp_engine *e, const struct pe_conf *conf, struct extender *x, const struct pe_ops *ops, void *arg)
{
	memset(e, 0, sizeof(*e));
	e->ops = ops;
	e->arg = arg;
	e->x = x;
	e->conf = *conf;
	e->answer_us = DEADLINE_NONE;
	u32 n = 0, d = MIN(conf->depth, 999u);
	e->port_id[n++] = 'p';
	e->port_id[n++] = 'e';
	if (d >= 100)
		e->port_id[n++] = (char)('0' + d / 100);
	if (d >= 10)
		e->port_id[n++] = (char)('0' + d / 10 % 10);
	e->port_id[n] = (char)('0' + d % 10);
	ecp_link_init(&e->ecp, ECP_PE_CSP, conf->seq, &ecp_ops, e);
}

const char *pe_state_name(enum pe_state s)
{
	static const char *const name[] = { "down", "looking", "opening", "open", "creating", "up", "deleting" };
	return s < ARRAY_SIZE(name) ? name[s] : "?";
}

const char *pe_why_name(enum pe_why w)
{
	static const char *const name[] = { "progress", "bridge gone", "bridge new", "no answer", "refused", "E-CID lost", "local" };
	return w < ARRAY_SIZE(name) ? name[w] : "?";
}
