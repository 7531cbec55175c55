/*
 * The engines of a port's extender: their frames in and out, their time, what they say (port_ext_priv.h).
 *
 * They run on the boot CPU: there is their timer, and others send it our vector.
 */
#include "nic/port_ext_priv.h"

#include <string.h>

#include "core/apic.h"
#include "core/errno.h"
#include "core/hypercall.h"
#include "core/percpu.h"
#include "nic/port.h"

#define EXTENDED_PORT 1u        /* our number for the one extended port */

void ext_kick(struct port_ext *e)
{
	if (!__atomic_exchange_n(&e->kicked, true, __ATOMIC_SEQ_CST))
		apic_send(cpus[EXT_HOME].apic_id, (u8)e->vector);
}

static const char *vm_name(const struct port_ext *e)
{
	const struct nic_port *p = e->lower->bound;
	return p && p->vm ? p->vm->cfg->name : "?";
}

/* ---- the inbox ---- */

/* What finds no room is lost, as on a wire: its sender repeats it. */
void ext_control_in(void *arg, enum extender_plane plane, u16 ethertype, const u8 *body, u32 len)
{
	struct port_ext *e = arg;
	spin_lock(&e->inbox_lock);
	bool room = e->inbox_nr < EXT_INBOX && len <= EXTENDER_CONTROL_MAX;
	bool take = room && ext_rate(&e->frames, EXT_FRAMES, EXT_FRAME_US, ext_now());
	if (take) {
		struct inbox_frame *f = &e->inbox[(e->inbox_first + e->inbox_nr++) % EXT_INBOX];
		f->plane = plane;
		f->ethertype = ethertype;
		f->len = len;
		memcpy(f->body, body, len);
	}
	e->inbox_full += !room;
	e->flood += room && !take;
	spin_unlock(&e->inbox_lock);
	if (take)
		ext_kick(e);
}

static bool inbox_take(struct port_ext *e)
{
	spin_lock(&e->inbox_lock);
	bool any = e->inbox_nr;
	if (any) {
		const struct inbox_frame *f = &e->inbox[e->inbox_first];
		memcpy(&e->taken, f, offsetof(struct inbox_frame, body) + f->len);
		e->inbox_first = (e->inbox_first + 1) % EXT_INBOX;
		e->inbox_nr--;
	}
	spin_unlock(&e->inbox_lock);
	return any;
}

static bool inbox_any(struct port_ext *e)
{
	spin_lock(&e->inbox_lock);
	bool any = e->inbox_nr;
	spin_unlock(&e->inbox_lock);
	return any;
}

static void inbox_clear(struct port_ext *e)
{
	spin_lock(&e->inbox_lock);
	e->inbox_nr = 0;
	spin_unlock(&e->inbox_lock);
}

/* ---- what the engines want of us ---- */

static void pe_send(void *arg, u16 ethertype, const u8 *body, u32 len)
{
	struct port_ext *e = arg;
	(void)extender_send_pe(&e->x, ethertype, body, len); /* what is lost is sent again */
	ext_link(e)->tx_flush(e->lower);
}

static void vdp_send(void *arg, u16 ethertype, const u8 *body, u32 len)
{
	struct port_ext *e = arg;
	(void)extender_send_vdp(&e->x, ethertype, body, len);
	ext_link(e)->tx_flush(e->lower);
}

/* A port that comes and goes must not silence what the others have to say. */
static bool may_log(struct port_ext *e) { return ext_rate(&e->lines, EXT_LINES, EXT_LINE_US, ext_now()); }

static void pe_changed(void *arg, enum pe_state state, u32 ecid, enum pe_why why)
{
	struct port_ext *e = arg;
	bool fault = why != PE_WHY_PROGRESS && why != PE_WHY_LOCAL;
	if ((state != PE_UP && !fault) || !may_log(e))
		return;
	if (state == PE_UP)
		log_line("nic: port%u of VM %s: the bridge gave it E-CID %u", e->lower->index, vm_name(e), ecid);
	else
		log_line("nic: port%u of VM %s: extender %s: %s", e->lower->index, vm_name(e), pe_state_name(state), pe_why_name(why));
}

static void vdp_say(struct port_ext *e, enum vdp_state state, u16 vid, enum vdp_why why)
{
	bool fault = why != VDP_WHY_PROGRESS && why != VDP_WHY_LOCAL;
	if ((state != VDP_STATION_ASSOCIATED && !fault) || !may_log(e))
		return;
	if (state == VDP_STATION_ASSOCIATED)
		log_line("nic: port%u of VM %s: associated with the bridge, VLAN %u", e->lower->index, vm_name(e), vid);
	else if (why == VDP_WHY_VLAN)
		log_line("nic: port%u of VM %s stays down: it is configured for VLAN %u, the bridge says %u", e->lower->index, vm_name(e),
			 e->vdp.conf.vlan, vid);
	else
		log_line("nic: port%u of VM %s: VDP %s: %s", e->lower->index, vm_name(e), vdp_state_name(state), vdp_why_name(why));
}

static void vdp_changed(void *arg, enum vdp_state state, u16 vid, enum vdp_why why)
{
	struct port_ext *e = arg;
	u16 vlan = state == VDP_STATION_ASSOCIATED ? vid : 0;
	bool refused = why == VDP_WHY_VLAN;
	vdp_say(e, state, vid, why);
	/* It takes an association to be taken back. */
	refused |= e->refused && state != VDP_STATION_ASSOCIATED;
	e->news |= vlan != e->vlan || refused != e->refused;
	if (refused != e->refused)
		e->check_us = ext_now() + EXT_CHECK_US;
	WRITE_ONCE(e->vlan, vlan);
	WRITE_ONCE(e->refused, refused);
}

static const struct pe_ops pe_ops = { pe_send, pe_changed };
static const struct vdp_station_ops vdp_ops = { vdp_send, vdp_changed };

/* ---- up and down ---- */

_Static_assert((int)NIC_VDP_INNERMOST == EXTENDER_VDP_AUTO && (int)NIC_VDP_HERE == EXTENDER_VDP_HERE && (int)NIC_VDP_OFF == EXTENDER_VDP_OFF,
	       "the key vdp= is the extender's option");

enum extender_vdp ext_vdp_role(const struct port_ext *e, const struct nic_port *p, const struct nest_nic_info *info)
{
	return extender_vdp_role((enum extender_vdp_option)p->cfg->vdp, info->flags & NEST_NIC_VDP_OUTER, e->announced);
}

void ext_engines_init(struct port_ext *e, const struct nic_port *p, const struct nest_nic_info *info, const struct extender_ops *ops)
{
	struct extender_conf conf = {
		.external = true,
		.s_channel = info->flags & NEST_NIC_S_CHANNEL,
		.outermost = e->lower->wire,
		.cascade = e->announced,
		.vdp = ext_vdp_role(e, p, info),
	};
	struct pe_conf pe = { .depth = outer_depth(), .port = EXTENDED_PORT, .seq = (u16)rdtsc(), .confirm_us = PE_CSP_CONFIRM_US };
	struct vdp_conf vdp = { .vlan = p->cfg->vlan, .seq = (u16)(rdtsc() >> 4) };
	memcpy(conf.mac, info->mac, FRAME_MAC_LEN);
	memcpy(pe.mac, info->mac, FRAME_MAC_LEN);
	memcpy(vdp.mac, info->mac, FRAME_MAC_LEN);
	extender_init(&e->x, &conf, ops, e);
	pe_csp_init(&e->pe, &pe, &e->x, &pe_ops, e);
	vdp_station_init(&e->vdp, &vdp, &vdp_ops, e);
	/* A port that is configured for a VLAN waits for the bridge's word. */
	WRITE_ONCE(e->refused, conf.vdp == EXTENDER_VDP_SPEAK && p->cfg->vlan);
	e->check_us = DEADLINE_NONE;
	inbox_clear(e); /* the link is not started: nothing comes in from an earlier life */
	if (p->cfg->vlan && conf.vdp != EXTENDER_VDP_SPEAK && !e->told_vlan) {
		e->told_vlan = true;
		log_line("nic: VM %s, port %u: vlan=%u has no effect: %s", vm_name(e), p->index, p->cfg->vlan,
			 conf.vdp == EXTENDER_VDP_PASS ? "a level further in speaks VDP with the bridge" :
			 info->flags & NEST_NIC_VDP_OUTER ? "a level further out speaks VDP with the bridge, or forbids it" : "its configuration says vdp=off");
	}
}

/* A port that is configured for a VLAN waits for the bridge's word. */
static void hold(struct port_ext *e, u64 now)
{
	if (!e->vdp.conf.vlan || e->refused)
		return;
	e->news = true;
	e->check_us = now + EXT_CHECK_US;
	WRITE_ONCE(e->refused, true);
}

/* In an E-channel the station's frames need an E-CID, and another one leads to another port of the bridge. */
static void speak(struct port_ext *e, u64 now)
{
	bool can = e->begun && e->x.conf.vdp == EXTENDER_VDP_SPEAK && (e->x.conf.s_channel || e->x.data);
	if (can && !e->speaking) {
		e->speaking = true;
		vdp_station_up(&e->vdp, now);
	} else if (e->speaking && !e->x.conf.s_channel && e->x.data != e->data) {
		hold(e, now); /* what that one has for the port it has not said */
		vdp_station_moved(&e->vdp, now);
	}
	e->data = e->x.data;
}

void ext_engines_up(struct port_ext *e, u64 now)
{
	if (e->begun || !ext_rate(&e->sessions, EXT_SESSIONS, EXT_SESSION_US, now))
		return;
	e->begun = true;
	pe_csp_start(&e->pe, now);
	pe_csp_port(&e->pe, true, now);
	speak(e, now);
}

void ext_engines_down(struct port_ext *e, u64 now)
{
	if (e->speaking)
		vdp_station_down(&e->vdp, now);
	if (e->begun) {
		pe_csp_port(&e->pe, false, now);
		pe_csp_stop(&e->pe, now);
	}
	e->speaking = e->begun = false;
	WRITE_ONCE(e->vlan, 0);
	WRITE_ONCE(e->refused, false);
}

/* ---- their time ---- */

static void handle(struct port_ext *e, const struct inbox_frame *f)
{
	if (!e->begun)
		return;
	if (f->plane == EXTENDER_PE)
		pe_csp_receive(&e->pe, f->ethertype, f->body, f->len, ext_now());
	else if (e->speaking)
		vdp_station_receive(&e->vdp, f->ethertype, f->body, f->len, ext_now());
	speak(e, ext_now());
}

/* The function may not have been able to stop, or to start: then the port is told again. */
static void check(struct port_ext *e)
{
	bool again = READ_ONCE(e->lower->bound->unsettled);
	e->news |= again;
	e->check_us = again ? ext_now() + EXT_CHECK_US : DEADLINE_NONE;
}

static void tick(struct port_ext *e)
{
	if (!e->up)
		return;
	ext_engines_up(e, ext_now());
	if (e->begun)
		pe_csp_tick(&e->pe, ext_now());
	speak(e, ext_now());
	if (e->speaking)
		vdp_station_tick(&e->vdp, ext_now());
	if (ext_now() >= e->check_us)
		check(e);
}

static u64 deadline(const struct port_ext *e)
{
	if (!e->up)
		return DEADLINE_NONE;
	if (!e->begun)
		return ext_rate_next(e->sessions, EXT_SESSIONS, EXT_SESSION_US);
	u64 vdp = e->speaking ? vdp_station_deadline(&e->vdp) : DEADLINE_NONE;
	return MIN(MIN(pe_csp_deadline(&e->pe), vdp), e->check_us);
}

static void come_back(struct port_ext *e, u64 at_us)
{
	u64 now = ext_now();
	timer_arm(&e->timer, rdtsc() + us_to_tsc(MAX(at_us, now + EXT_TICK_US) - now));
}

void ext_leave(struct port_ext *e)
{
	bool news = e->news;
	struct nic_port *p = e->lower->bound;
	e->news = false;
	spin_unlock(&e->control);
	if (news && p)
		nic_port_changed(p); /* it may have been given back meanwhile, and look for nothing */
}

void ext_work(void *arg)
{
	struct port_ext *e = arg;
	__atomic_store_n(&e->kicked, false, __ATOMIC_SEQ_CST); /* before we look: what comes now kicks again */
	if (!spin_try(&e->control)) {
		come_back(e, 0);
		return;
	}
	for (u32 n = 0; n < EXT_INBOX && inbox_take(e); n++)
		handle(e, &e->taken);
	tick(e);
	u64 next = inbox_any(e) ? 0 : deadline(e);
	if (next == DEADLINE_NONE)
		timer_cancel(&e->timer);
	else
		come_back(e, next);
	ext_leave(e);
}

void ext_work_irq(void *arg, u8 vector)
{
	(void)vector;
	ext_work(arg);
}
