/*
 * A VDP station for one port (vdp.h).
 */
#include "nic/vdp.h"

#include <string.h>

#include "core/errno.h"
#include "nic/frame.h"

#define PDU_MAX 256u
#define RRSTAT_UNKNOWN 3u

_Static_assert(PDU_MAX <= ECP_LINK_PAYLOAD_MAX, "a PDU goes into one ECP request");

/* What we would have, before a bridge has said anything. */
static const struct lldp_evb our_evb = {
	.station = RRSTAT_UNKNOWN,
	.retries = ECP_LINK_RETRIES,
	.rte = ECP_LINK_RTE,
	.mode = LLDP_EVB_STATION,
	.rwd = VDP_STATION_RWD,
	.rka = VDP_STATION_RKA,
};

/* vid: what `changed` says. */
static void enter(struct vdp_station *s, enum vdp_state state, u16 vid, enum vdp_why why)
{
	s->state = state;
	if (s->ops->changed)
		s->ops->changed(s->arg, state, vid, why);
}

static bool is_begun(const struct vdp_station *s)
{
	return s->state == VDP_STATION_PREASSOC || s->state == VDP_STATION_ASSOC || s->state == VDP_STATION_ASSOCIATED;
}

static bool may_be_known(const struct vdp_station *s) { return is_begun(s) || (s->state == VDP_STATION_WAITING && s->lldp.heard); }

/* ---- LLDP ---- */

static void send_lldp(struct vdp_station *s, u16 ttl)
{
	u8 pdu[PDU_MAX];
	struct lldp l = {
		.chassis = { LLDP_CHASSIS_MAC, FRAME_MAC_LEN, s->conf.mac },
		.port = { LLDP_PORT_MAC, FRAME_MAC_LEN, s->conf.mac },
		.ttl = ttl,
		.has_evb = true,
		.evb = s->evb,
	};
	int n = lldp_build(pdu, sizeof(pdu), &l);
	if (n > 0)
		s->ops->send(s->arg, FRAME_TYPE_LLDP, pdu, (u32)n);
}

static void run_lldp(struct vdp_station *s, u64 now_us)
{
	if (lldp_agent_due(&s->lldp, now_us))
		send_lldp(s, LLDP_AGENT_TTL);
}

/*
 * Both sides take the larger of each, and say by ROL whose it is; each repeats the other's status (lldpad does, and HPE's manuals say
 * so of the timers). True: what we announce has changed.
 */
static bool negotiate(struct vdp_station *s, const struct lldp_evb *theirs)
{
	struct lldp_evb e = our_evb;
	e.bridge = theirs->bridge;
	e.station = theirs->bridge & LLDP_EVB_RRCTR ? 1 : 0;
	e.retries = MAX(e.retries, theirs->retries);
	e.rte = MAX(e.rte, theirs->rte);
	e.remote_wait = theirs->rwd >= e.rwd;
	e.rwd = MAX(e.rwd, theirs->rwd);
	e.remote_keep = theirs->rka >= e.rka;
	e.rka = MAX(e.rka, theirs->rka);
	bool changed = memcmp(&e, &s->evb, sizeof(e));
	if (e.station != s->evb.station)
		s->repeated = false;
	s->evb = e;
	ecp_link_set(&s->ecp, e.rte, e.retries);
	return changed;
}

/* It had repeated something of ours, and does not any more: it has never heard of us. */
static bool has_forgotten(struct vdp_station *s, const struct lldp_evb *theirs)
{
	bool repeats = theirs->remote_wait || theirs->remote_keep || (s->evb.station && theirs->station == s->evb.station);
	bool forgotten = s->repeated && !repeats;
	s->repeated = repeats;
	return forgotten;
}

/* ---- requests ---- */

/* Our one VSI in a PDU. What was on its way before means nothing any more. */
static void ask(struct vdp_station *s, u8 type, u64 now_us)
{
	u8 payload[PDU_MAX];
	struct vdp_pdu p = { .nr_vsis = 1 };
	struct vdp_vsi *v = &p.vsi[0];
	memcpy(p.manager, s->conf.manager, VDP_ID_LEN);
	v->type = type;
	v->vsi_type = s->conf.vsi_type;
	v->vsi_type_version = s->conf.vsi_type_version;
	v->id_format = VDP_VSIID_UUID;
	memcpy(v->id, s->id, VDP_ID_LEN);
	v->filter_format = VDP_FILTER_MAC_VID;
	v->nr_filters = 1;
	memcpy(v->filter[0].mac, s->conf.mac, FRAME_MAC_LEN);
	v->filter[0].vid = s->vid;
	int n = vdp_build(payload, sizeof(payload), &p);
	ASSERT(n > 0); /* vdp_station_init saw to the fields' ranges */
	ecp_link_cancel(&s->ecp);
	s->type = type;
	s->answer_us = now_us + ecp_link_answer_us(&s->ecp, lldp_evb_us(s->evb.rwd));
	int r = ecp_link_request(&s->ecp, payload, (u32)n, now_us);
	ASSERT(!r);
}

/* From the beginning, with a bridge that has just heard of us. */
static void begin(struct vdp_station *s, enum vdp_why why, u64 now_us)
{
	s->vid = s->conf.vlan;
	enter(s, VDP_STATION_PREASSOC, 0, why);
	lldp_agent_hurry(&s->lldp, now_us);
	run_lldp(s, now_us);
	ask(s, VDP_PREASSOC, now_us);
}

static void wait(struct vdp_station *s, enum vdp_why why, u64 delay_us, u64 now_us)
{
	u16 vid = why == VDP_WHY_VLAN ? s->vid : 0;
	s->type = 0;
	ecp_link_cancel(&s->ecp);
	s->next_us = now_us + delay_us;
	enter(s, VDP_STATION_WAITING, vid, why);
}

static void finish(struct vdp_station *s, u64 now_us)
{
	s->type = 0;
	ecp_link_reset(&s->ecp);
	send_lldp(s, 0);
	lldp_agent_stop(&s->lldp);
	enter(s, VDP_STATION_DOWN, 0, VDP_WHY_LOCAL);
	if (s->up)
		vdp_station_up(s, now_us);
}

static void gone(struct vdp_station *s, u64 now_us)
{
	s->repeated = false;
	if (s->state == VDP_STATION_LEAVING) {
		finish(s, now_us);
		return;
	}
	s->type = 0;
	ecp_link_reset(&s->ecp);
	enter(s, VDP_STATION_LOOKING, 0, VDP_WHY_BRIDGE_GONE);
}

/* ---- answers ---- */

static bool is_ours(const struct vdp_station *s, const struct vdp_vsi *v)
{
	return v->id_format == VDP_VSIID_UUID && !memcmp(v->id, s->id, VDP_ID_LEN) && v->filter_format == VDP_FILTER_MAC_VID &&
	       v->nr_filters == 1 && !memcmp(v->filter[0].mac, s->conf.mac, FRAME_MAC_LEN);
}

/* A bridge's own DeAssociate. */
static void dissolved(struct vdp_station *s, const struct vdp_vsi *v, u64 now_us)
{
	if (v->type != VDP_DEASSOC || (s->state != VDP_STATION_LEAVING && !may_be_known(s))) {
		s->count.stray++;
		return;
	}
	s->count.dissolved++;
	s->error = (u8)FIELD_GET(VDP_ERROR, v->status);
	if (s->state == VDP_STATION_LEAVING) {
		finish(s, now_us);
		return;
	}
	if (s->state == VDP_STATION_WAITING)
		return;
	bool lasted = s->state == VDP_STATION_ASSOCIATED && now_us - s->since_us >= VDP_STATION_RETRY_US;
	wait(s, VDP_WHY_DISSOLVED, lasted ? VDP_STATION_AGAIN_US : VDP_STATION_RETRY_US, now_us);
}

static void refused(struct vdp_station *s, const struct vdp_vsi *v, u64 now_us)
{
	s->count.refused++;
	s->error = (u8)FIELD_GET(VDP_ERROR, v->status);
	s->type = 0;
	if (s->state == VDP_STATION_LEAVING) {
		finish(s, now_us);
		return;
	}
	if (s->state == VDP_STATION_WAITING)
		return;
	if (s->state == VDP_STATION_ASSOCIATED && v->status & VDP_KEEP) { /* what was, stays */
		s->next_us = now_us + lldp_evb_us(s->evb.rka);
		return;
	}
	bool hard = v->status & VDP_HARD || s->error == VDP_INVALID_FORMAT || s->error == VDP_INVALID_VID_GROUP_MAC;
	wait(s, VDP_WHY_REFUSED, hard ? VDP_STATION_HARD_US : VDP_STATION_RETRY_US, now_us);
}

/* Another VLAN than demanded: out of it again. */
static void wrong_vlan(struct vdp_station *s, u64 now_us)
{
	wait(s, VDP_WHY_VLAN, VDP_STATION_HARD_US, now_us);
	ask(s, VDP_DEASSOC, now_us);
}

static void associated(struct vdp_station *s, bool news, u64 now_us)
{
	s->next_us = now_us + lldp_evb_us(s->evb.rka);
	if (s->state != VDP_STATION_ASSOCIATED) {
		s->since_us = now_us;
		s->count.associations++;
	} else if (!news) {
		return;
	}
	enter(s, VDP_STATION_ASSOCIATED, s->vid, VDP_WHY_PROGRESS);
}

static void granted(struct vdp_station *s, const struct vdp_vsi *v, u64 now_us)
{
	u16 vid = v->filter[0].vid;
	bool news = vid != s->vid;
	s->type = 0;
	if (s->state == VDP_STATION_LEAVING) {
		finish(s, now_us);
		return;
	}
	if (s->state == VDP_STATION_WAITING)
		return;
	s->error = VDP_SUCCESS;
	s->vid = vid;
	if (s->conf.vlan && vid != s->conf.vlan) {
		wrong_vlan(s, now_us);
	} else if (s->state == VDP_STATION_PREASSOC) {
		enter(s, VDP_STATION_ASSOC, 0, VDP_WHY_PROGRESS);
		ask(s, VDP_ASSOC, now_us);
	} else {
		associated(s, news, now_us);
	}
}

static void response(struct vdp_station *s, const struct vdp_vsi *v, u64 now_us)
{
	if (!is_ours(s, v)) {
		s->count.stray++;
	} else if (!vdp_is_response(v)) {
		dissolved(s, v, now_us);
	} else if (!s->type || (v->type != s->type && v->type != VDP_DEASSOC)) {
		s->count.stray++; /* late, or of an earlier life */
	} else {
		s->count.responses++;
		s->tries = 0;
		if (v->type == s->type && !(v->status & VDP_ERROR))
			granted(s, v, now_us);
		else
			refused(s, v, now_us);
	}
}

static void unanswered(struct vdp_station *s, u64 now_us)
{
	s->count.unanswered++;
	s->type = 0;
	ecp_link_cancel(&s->ecp);
	if (s->state == VDP_STATION_LEAVING)
		finish(s, now_us);
	else if (s->state == VDP_STATION_ASSOCIATED)
		begin(s, VDP_WHY_NO_ANSWER, now_us); /* perhaps it has begun anew */
	else if (s->state != VDP_STATION_WAITING)
		wait(s, VDP_WHY_NO_ANSWER, lldp_backoff_us(s->tries++), now_us);
}

/* ---- what comes in ---- */

static void ecp_send(void *arg, const u8 *pdu, u32 len)
{
	struct vdp_station *s = arg;
	s->ops->send(s->arg, FRAME_TYPE_ECP, pdu, len);
}

static void ecp_deliver(void *arg, const u8 *payload, u32 len, u64 now_us)
{
	struct vdp_station *s = arg;
	struct vdp_pdu p;
	if (vdp_parse(payload, len, &p)) {
		s->count.malformed++;
		return;
	}
	for (u32 i = 0; i < p.nr_vsis; i++)
		response(s, &p.vsi[i], now_us);
}

static void ecp_done(void *arg, bool acknowledged, u64 now_us)
{
	struct vdp_station *s = arg;
	if (!acknowledged && s->type)
		unanswered(s, now_us);
}

static const struct ecp_link_ops ecp_ops = { .send = ecp_send, .deliver = ecp_deliver, .done = ecp_done };

static void receive_lldp(struct vdp_station *s, const u8 *body, u32 len, u64 now_us)
{
	struct lldp l;
	if (lldp_parse(body, len, &l)) {
		s->count.malformed++;
		return;
	}
	s->count.lldp_in++;
	if (l.chassis.len == FRAME_MAC_LEN && !memcmp(l.chassis.bytes, s->conf.mac, FRAME_MAC_LEN))
		return; /* our own */
	bool bridge = l.has_evb && l.evb.mode == LLDP_EVB_BRIDGE;
	if (!bridge)
		l.ttl = 0; /* if it was ours, it is no more */
	enum lldp_neighbour n = lldp_agent_heard(&s->lldp, &l, now_us);
	if (n == LLDP_GONE)
		gone(s, now_us);
	if (!l.ttl)
		return;
	/* What we asked on the new way counts, unless a bridge took it in and kept quiet because it had not seen the TLV yet. */
	bool begun = s->moved && is_begun(s) && (s->state != VDP_STATION_PREASSOC || ecp_link_busy(&s->ecp));
	if (n == LLDP_NEW)
		s->repeated = false;
	bool anew = has_forgotten(s, &l.evb) || (n == LLDP_NEW && !begun);
	s->moved = false;
	if (negotiate(s, &l.evb))
		lldp_agent_hurry(&s->lldp, now_us);
	if (!anew || s->state == VDP_STATION_LEAVING)
		return;
	ecp_link_reset(&s->ecp);
	begin(s, s->state == VDP_STATION_LOOKING ? VDP_WHY_PROGRESS : VDP_WHY_BRIDGE_NEW, now_us);
}

void vdp_station_receive(struct vdp_station *s, u16 ethertype, const u8 *body, u32 len, u64 now_us)
{
	if (s->state == VDP_STATION_DOWN)
		return;
	if (ethertype == FRAME_TYPE_LLDP)
		receive_lldp(s, body, len, now_us);
	else if (ethertype == FRAME_TYPE_ECP)
		ecp_link_receive(&s->ecp, body, len, now_us);
	run_lldp(s, now_us);
}

/* ---- time ---- */

static void next(struct vdp_station *s, u64 now_us)
{
	if (s->state == VDP_STATION_ASSOCIATED) {
		s->count.keep_alives++;
		ask(s, VDP_ASSOC, now_us);
	} else if (s->lldp.heard) {
		begin(s, VDP_WHY_PROGRESS, now_us);
	} else {
		enter(s, VDP_STATION_LOOKING, 0, VDP_WHY_PROGRESS);
	}
}

/* When `next` is due: a try or a keep-alive, unless one is under way. */
static u64 next_deadline(const struct vdp_station *s)
{
	bool waits = s->state == VDP_STATION_WAITING || (s->state == VDP_STATION_ASSOCIATED && !s->type);
	return waits ? s->next_us : DEADLINE_NONE;
}

void vdp_station_tick(struct vdp_station *s, u64 now_us)
{
	if (s->state == VDP_STATION_DOWN)
		return;
	ecp_link_tick(&s->ecp, now_us);
	if (s->type && now_us >= s->answer_us)
		unanswered(s, now_us);
	if (lldp_agent_expired(&s->lldp, now_us))
		gone(s, now_us);
	if (now_us >= next_deadline(s))
		next(s, now_us);
	run_lldp(s, now_us);
}

u64 vdp_station_deadline(const struct vdp_station *s)
{
	if (s->state == VDP_STATION_DOWN)
		return DEADLINE_NONE;
	u64 d = MIN(lldp_agent_deadline(&s->lldp), ecp_link_deadline(&s->ecp));
	d = MIN(d, next_deadline(s));
	return s->type ? MIN(d, s->answer_us) : d;
}

/* ---- life ---- */

void vdp_station_up(struct vdp_station *s, u64 now_us)
{
	s->up = true;
	if (s->state != VDP_STATION_DOWN)
		return;
	s->evb = our_evb;
	s->repeated = false;
	s->tries = 0;
	ecp_link_set(&s->ecp, s->evb.rte, s->evb.retries);
	lldp_agent_start(&s->lldp, now_us);
	enter(s, VDP_STATION_LOOKING, 0, VDP_WHY_LOCAL);
	run_lldp(s, now_us);
}

void vdp_station_moved(struct vdp_station *s, u64 now_us)
{
	if (s->state == VDP_STATION_DOWN)
		return;
	if (s->state == VDP_STATION_LEAVING) { /* nobody there has an answer */
		finish(s, now_us);
		return;
	}
	s->repeated = false;
	lldp_agent_moved(&s->lldp, now_us);
	if (s->lldp.heard) {
		s->moved = true;
		s->tries = 0;
		ecp_link_reset(&s->ecp);
		begin(s, VDP_WHY_BRIDGE_NEW, now_us);
	}
	run_lldp(s, now_us);
}

void vdp_station_down(struct vdp_station *s, u64 now_us)
{
	s->up = false;
	if (s->state == VDP_STATION_DOWN || s->state == VDP_STATION_LEAVING)
		return;
	bool known = may_be_known(s);
	enter(s, VDP_STATION_LEAVING, 0, VDP_WHY_LOCAL);
	if (known)
		ask(s, VDP_DEASSOC, now_us);
	else
		finish(s, now_us);
}

void vdp_station_id(u8 id[VDP_ID_LEN], const u8 mac[6])
{
	/* RFC 9562, UUID version 8: our own way of making them; the address at the end. */
	static const u8 ours[VDP_ID_LEN - FRAME_MAC_LEN] = { 'N', 'e', 's', 't', 'l', 'i', 0x80 | 'n' >> 4, 'g', 0x80, 0x00 };
	memcpy(id, ours, sizeof(ours));
	memcpy(id + sizeof(ours), mac, FRAME_MAC_LEN);
}

void vdp_station_init(struct vdp_station *s, const struct vdp_conf *conf, const struct vdp_station_ops *ops, void *arg)
{
	memset(s, 0, sizeof(*s));
	s->ops = ops;
	s->arg = arg;
	s->conf = *conf;
	s->conf.vlan &= 0xfff;
	s->conf.vsi_type &= 0xffffff;
	vdp_station_id(s->id, conf->mac);
	ecp_link_init(&s->ecp, ECP_VDP, conf->seq, &ecp_ops, s);
}

const char *vdp_state_name(enum vdp_state s)
{
	static const char *const name[] = { "down", "looking", "preassoc", "assoc", "associated", "waiting", "leaving" };
	return s < ARRAY_SIZE(name) ? name[s] : "?";
}

const char *vdp_why_name(enum vdp_why w)
{
	static const char *const name[] = {
		"progress", "bridge gone", "bridge new", "no answer", "refused", "vlan", "dissolved", "local",
	};
	return w < ARRAY_SIZE(name) ? name[w] : "?";
}
