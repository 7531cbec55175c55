/*
 * The port's extender joined to its surroundings (port_ext.h).
 *
 * Locks: `control` covers the engines, `up` and who needs it; it is held while control frames go out and while the link starts and stops.
 * Order: vnet ctrl or nic port -> control -> what the link's operations take. `inbox_lock` is a leaf, taken under the link's data lock. The data
 * roads take none: see extender.h.
 *
 * The engines run on the boot CPU: there is their timer, and others send it our vector.
 */
#include "nic/port_ext.h"

#include <string.h>

#include "core/apic.h"
#include "core/errno.h"
#include "core/fault.h"
#include "core/hypercall.h"
#include "core/irq.h"
#include "core/percpu.h"
#include "core/time.h"
#include "nic/pe_csp.h"
#include "nic/port.h"
#include "nic/vdp.h"
#include "nic/vnet.h"

#define HOME 0u                 /* CPU of the engines */
#define INBOX 8u
#define EXTENDED_PORT 1u        /* our number for the one extended port */

struct inbox_frame { enum extender_plane plane; u16 ethertype; u32 len; u8 body[EXTENDER_CONTROL_MAX]; };

/* One of each lower port, made when it is first bound and never freed: a late interrupt or timer finds it, at worst down. */
struct port_ext {
	struct nic_lower *lower;
	spinlock_t control;
	bool device, function;      /* who needs the link … */
	bool up;                    /* … and it is started */
	bool sending;               /* (atomic) the device may send: it is started, and so are we */
	bool speaking;              /* the VDP station is up */
	bool announced;             /* the port's user is an extender */
	struct nic_rx_filter filter; /* the device's */
	struct extender x;
	struct pe_csp_engine pe;
	struct vdp_station vdp;
	u16 vlan;                   /* (atomic) of the bridge's answer */
	bool refused;               /* (atomic) it is not what the configuration demands */
	bool news;                  /* the port's information has changed */
	struct timer timer;
	int vector;
	spinlock_t inbox_lock;
	struct inbox_frame inbox[INBOX];
	u32 inbox_first, inbox_nr;
	u64 inbox_full;             /* control frames for which there was no room */
};

#define ORDER 4
_Static_assert(sizeof(struct port_ext) <= PAGE_SIZE << ORDER, "one allocation");

static const struct nic_data_ops *link_of(const struct port_ext *e) { return e->lower->ops->data; }
static u64 now_us(void) { return rdtsc() / (tsc_khz() / 1000); }
static void kick(const struct port_ext *e) { apic_send(cpus[HOME].apic_id, (u8)e->vector); }

static const char *vm_name(const struct port_ext *e)
{
	const struct nic_port *p = e->lower->bound;
	return p && p->vm ? p->vm->cfg->name : "?";
}

/* ---- what the extender wants of us ---- */

static int to_link(void *arg, const u8 *frame, u32 len)
{
	struct port_ext *e = arg;
	return link_of(e)->tx(e->lower, frame, len);
}

static int to_device(void *arg, const u8 *frame, u32 len)
{
	struct port_ext *e = arg;
	struct vnet *d = READ_ONCE(e->lower->bound->dev);
	return d && !READ_ONCE(e->refused) ? vnet_rx(d, frame, len) : 0;
}

/* Under the link's data lock. What finds no room is lost, as on a wire: its sender repeats it. */
static void control_in(void *arg, enum extender_plane plane, u16 ethertype, const u8 *body, u32 len)
{
	struct port_ext *e = arg;
	spin_lock(&e->inbox_lock);
	bool room = e->inbox_nr < INBOX && len <= EXTENDER_CONTROL_MAX;
	if (room) {
		struct inbox_frame *f = &e->inbox[(e->inbox_first + e->inbox_nr++) % INBOX];
		*f = (struct inbox_frame){ .plane = plane, .ethertype = ethertype, .len = len };
		memcpy(f->body, body, len);
	} else {
		e->inbox_full++;
	}
	spin_unlock(&e->inbox_lock);
	if (room)
		kick(e);
}

static const struct extender_ops extender_ops = { to_link, to_device, control_in };

/* ---- what the engines want of us; under control ---- */

static void pe_send(void *arg, u16 ethertype, const u8 *body, u32 len)
{
	struct port_ext *e = arg;
	(void)extender_send_pe(&e->x, ethertype, body, len); /* what is lost is sent again */
	link_of(e)->tx_flush(e->lower);
}

static void vdp_send(void *arg, u16 ethertype, const u8 *body, u32 len)
{
	struct port_ext *e = arg;
	(void)extender_send_vdp(&e->x, ethertype, body, len);
	link_of(e)->tx_flush(e->lower);
}

static void pe_changed(void *arg, enum pe_state state, u32 ecid, enum pe_why why)
{
	const struct port_ext *e = arg;
	if (state == PE_UP)
		log_limited(40, "nic: port%u of VM %s: the bridge gave it E-CID %u", e->lower->index, vm_name(e), ecid);
	else if (why != PE_WHY_PROGRESS && why != PE_WHY_LOCAL)
		log_limited(40, "nic: port%u of VM %s: extender %s: %s", e->lower->index, vm_name(e), pe_state_name(state), pe_why_name(why));
}

static void vdp_changed(void *arg, enum vdp_state state, u16 vid, enum vdp_why why)
{
	struct port_ext *e = arg;
	u16 vlan = state == VDP_STATION_ASSOCIATED ? vid : 0;
	bool refused = why == VDP_WHY_VLAN;
	if (state == VDP_STATION_ASSOCIATED)
		log_limited(40, "nic: port%u of VM %s: associated with the bridge, VLAN %u", e->lower->index, vm_name(e), vid);
	else if (refused)
		log_limited(40, "nic: port%u of VM %s stays down: it is configured for VLAN %u, the bridge says %u", e->lower->index,
			    vm_name(e), e->vdp.conf.vlan, vid);
	else if (why != VDP_WHY_PROGRESS && why != VDP_WHY_LOCAL)
		log_limited(40, "nic: port%u of VM %s: VDP %s: %s", e->lower->index, vm_name(e), vdp_state_name(state), vdp_why_name(why));
	/* Once refused, it takes an association to be taken back. */
	refused |= e->refused && state != VDP_STATION_ASSOCIATED && why != VDP_WHY_LOCAL;
	e->news |= vlan != e->vlan || refused != e->refused;
	WRITE_ONCE(e->vlan, vlan);
	WRITE_ONCE(e->refused, refused);
}

static const struct pe_ops pe_ops = { pe_send, pe_changed };
static const struct vdp_station_ops vdp_ops = { vdp_send, vdp_changed };

/* ---- the control road; under control ---- */

/* In an E-channel the station's frames need an E-CID. */
static void speak(struct port_ext *e, u64 now)
{
	bool can = e->up && e->x.conf.vdp == EXTENDER_VDP_SPEAK && (e->x.conf.s_channel || e->x.own);
	if (can == e->speaking)
		return;
	e->speaking = can;
	if (can)
		vdp_station_up(&e->vdp, now);
	else
		vdp_station_down(&e->vdp, now);
}

static bool inbox_take(struct port_ext *e, struct inbox_frame *f)
{
	spin_lock(&e->inbox_lock);
	bool any = e->inbox_nr;
	if (any) {
		*f = e->inbox[e->inbox_first];
		e->inbox_first = (e->inbox_first + 1) % INBOX;
		e->inbox_nr--;
	}
	spin_unlock(&e->inbox_lock);
	return any;
}

static void handle(struct port_ext *e, const struct inbox_frame *f)
{
	if (!e->up)
		return;
	if (f->plane == EXTENDER_PE)
		pe_csp_receive(&e->pe, f->ethertype, f->body, f->len, now_us());
	else if (e->speaking)
		vdp_station_receive(&e->vdp, f->ethertype, f->body, f->len, now_us());
	speak(e, now_us());
}

static u64 deadline(const struct port_ext *e)
{
	u64 vdp = e->speaking ? vdp_station_deadline(&e->vdp) : DEADLINE_NONE;
	return e->up ? MIN(pe_csp_deadline(&e->pe), vdp) : DEADLINE_NONE;
}

static void tick(struct port_ext *e)
{
	if (!e->up)
		return;
	pe_csp_tick(&e->pe, now_us());
	speak(e, now_us());
	if (e->speaking)
		vdp_station_tick(&e->vdp, now_us());
}

/* News go on without the lock: they reach the device of the port. */
static void leave(struct port_ext *e)
{
	bool news = e->news;
	struct nic_port *p = e->lower->bound;
	e->news = false;
	spin_unlock(&e->control);
	if (news && p)
		nic_port_changed(p);
}

/* On HOME. The frame is too large for the stack, and of one extender at a time. */
static void work(void *arg)
{
	static struct inbox_frame frame;
	struct port_ext *e = arg;
	spin_lock(&e->control);
	while (inbox_take(e, &frame))
		handle(e, &frame);
	tick(e);
	u64 next = deadline(e);
	if (next == DEADLINE_NONE)
		timer_cancel(&e->timer);
	else
		timer_arm(&e->timer, rdtsc() + us_to_tsc(MAX(next, now_us() + 1) - now_us()));
	leave(e);
}

static void work_irq(void *arg, u8 vector)
{
	(void)vector;
	work(arg);
}

/* ---- up and down ---- */

static void add_group(struct nic_rx_filter *f, const u8 *group)
{
	if (f->nr == NEST_MAX_GROUPS)
		f->all_groups = true;
	else
		memcpy(f->group[f->nr++], group, FRAME_MAC_LEN);
}

static void filter(struct port_ext *e)
{
	struct nic_rx_filter f = e->device ? e->filter : (struct nic_rx_filter){ .nr = 0 };
	add_group(&f, FRAME_NEAREST_CUSTOMER_BRIDGE);
	add_group(&f, FRAME_NEAREST_NON_TPMR_BRIDGE);
	link_of(e)->rx_filter(e->lower, &f);
}

static void engines_init(struct port_ext *e, const struct nic_port *p, const struct nest_nic_info *info)
{
	bool claimed = info->flags & NEST_NIC_VDP_OUTER;
	struct extender_conf conf = { .external = true, .s_channel = info->flags & NEST_NIC_S_CHANNEL, .outermost = e->lower->wire, .cascade = e->announced };
	struct pe_conf pe = { .depth = outer_depth(), .port = EXTENDED_PORT, .seq = (u16)rdtsc() };
	struct vdp_conf vdp = { .vlan = p->cfg->vlan, .seq = (u16)(rdtsc() >> 4) };
	conf.vdp = extender_vdp_role((enum extender_vdp_option)p->cfg->vdp, claimed, e->announced);
	memcpy(conf.mac, info->mac, FRAME_MAC_LEN);
	memcpy(pe.mac, info->mac, FRAME_MAC_LEN);
	memcpy(vdp.mac, info->mac, FRAME_MAC_LEN);
	extender_init(&e->x, &conf, &extender_ops, e);
	pe_csp_init(&e->pe, &pe, &e->x, &pe_ops, e);
	vdp_station_init(&e->vdp, &vdp, &vdp_ops, e);
}

static int bring_up(struct port_ext *e)
{
	struct nest_nic_info info;
	const struct nic_port *p = e->lower->bound;
	if (e->lower->ops->info(e->lower, &info))
		return -EIO;
	engines_init(e, p, &info);
	int r = link_of(e)->start(e->lower);
	if (r)
		return r;
	e->up = true;
	filter(e);
	pe_csp_start(&e->pe, now_us());
	pe_csp_port(&e->pe, true, now_us());
	speak(e, now_us());
	return 0;
}

/* What is said last is said once: nobody will be here for an answer. */
static void bring_down(struct port_ext *e)
{
	u64 now = now_us();
	if (e->speaking)
		vdp_station_down(&e->vdp, now);
	e->speaking = false;
	pe_csp_port(&e->pe, false, now);
	pe_csp_stop(&e->pe, now);
	e->up = false;
	link_of(e)->stop(e->lower);
	spin_lock(&e->inbox_lock);
	e->inbox_nr = 0;
	spin_unlock(&e->inbox_lock);
	WRITE_ONCE(e->vlan, 0);
	WRITE_ONCE(e->refused, false);
}

/* As device and function say. Under control. */
static int settle(struct port_ext *e)
{
	bool want = e->device || e->function;
	int r = 0;
	if (want && !e->up)
		r = bring_up(e);
	else if (!want && e->up)
		bring_down(e);
	kick(e);
	return r;
}

/* ---- in place of the link's data operations, for the device ---- */

static struct port_ext *ext(const struct nic_lower *l) { return l->ext; }

static int data_start(struct nic_lower *l)
{
	struct port_ext *e = ext(l);
	spin_lock(&e->control);
	e->device = true;
	int r = settle(e);
	e->device = !r;
	WRITE_ONCE(e->sending, !r);
	leave(e);
	return r;
}

static void data_stop(struct nic_lower *l)
{
	struct port_ext *e = ext(l);
	spin_lock(&e->control);
	e->device = false;
	WRITE_ONCE(e->sending, false);
	if (e->function)
		filter(e); /* its groups go */
	settle(e);
	leave(e);
}

static int data_tx(struct nic_lower *l, const u8 *frame, u32 len)
{
	struct port_ext *e = ext(l);
	return READ_ONCE(e->sending) && !READ_ONCE(e->refused) ? extender_tx(&e->x, frame, len) : -EIO;
}

static void data_tx_flush(struct nic_lower *l) { link_of(ext(l))->tx_flush(l); }
static int data_fence(struct nic_lower *l) { return link_of(ext(l))->fence(l); }
static void data_rx_more(struct nic_lower *l) { link_of(ext(l))->rx_more(l); }

static void data_rx_filter(struct nic_lower *l, const struct nic_rx_filter *f)
{
	struct port_ext *e = ext(l);
	spin_lock(&e->control);
	e->filter = *f;
	if (e->up)
		filter(e);
	leave(e);
}

static const struct nic_data_ops extender_data = {
	.start = data_start, .stop = data_stop, .tx = data_tx, .tx_flush = data_tx_flush, .fence = data_fence,
	.rx_more = data_rx_more, .rx_filter = data_rx_filter,
};

/* ---- the port ---- */

int port_ext_rx(struct nic_port *p, const u8 *frame, u32 len) { return extender_rx(&ext(p->lower)->x, frame, len); }

void port_ext_open(struct nic_port *p, bool open)
{
	struct port_ext *e = ext(p->lower);
	if (!e)
		return;
	spin_lock(&e->control);
	e->function = open;
	if (settle(e)) /* the function works without; nobody speaks for it */
		log_limited(8, "nic: VM %s, port %u: the lower link does not start: no control frames", p->vm->cfg->name, p->index);
	leave(e);
}

int port_ext_cascade(struct nic_port *p)
{
	struct port_ext *e = ext(p->lower);
	if (!e)
		return 0;
	spin_lock(&e->control);
	int r = e->up ? -EBUSY : 0;
	if (!r)
		e->announced = true;
	e->news = !r;
	leave(e);
	return r;
}

void port_ext_info(const struct nic_port *p, struct nest_nic_info *info)
{
	const struct port_ext *e = ext(p->lower);
	if (!e)
		return;
	bool claimed = info->flags & NEST_NIC_VDP_OUTER;
	enum extender_vdp role = extender_vdp_role((enum extender_vdp_option)p->cfg->vdp, claimed, e->announced);
	if (extender_vdp_claims(role))
		info->flags |= NEST_NIC_VDP_OUTER;
	if (role == EXTENDER_VDP_SPEAK)
		info->vlan = READ_ONCE(e->vlan);
	if (READ_ONCE(e->refused))
		info->flags &= ~(NEST_NIC_LINK_UP | NEST_NIC_MAY_PASS);
}

bool port_ext_refused(const struct nic_port *p) { return ext(p->lower) && READ_ONCE(ext(p->lower)->refused); }
u32 port_ext_tag_room(const struct nic_port *p) { return ext(p->lower) && ext(p->lower)->announced ? ETAG_LEN : 0; }

void port_ext_describe(const struct nic_port *p, char *buf, u32 len)
{
	const struct port_ext *e = ext(p->lower);
	buf[0] = 0;
	if (e && e->up)
		format(buf, len, "; extender %s, E-CID %u, VDP %s", pe_state_name(e->pe.state), READ_ONCE(e->x.own),
		       e->x.conf.vdp == EXTENDER_VDP_SPEAK ? vdp_state_name(e->vdp.state) : "elsewhere");
	else if (e)
		format(buf, len, "; extender down");
}

/* ---- life ---- */

static int make(struct nic_lower *l)
{
	struct port_ext *e = fault_point("port: memory for the extender") ? NULL : pages_alloc(&mem_self, ORDER);
	if (!e)
		return -ENOMEM;
	e->lower = l;
	e->timer.fn = work;
	e->timer.arg = e;
	e->vector = irq_alloc(HOME, work_irq, e);
	if (e->vector < 0) {
		pages_free(&mem_self, e, ORDER);
		return -ENOSPC;
	}
	l->ext = e;
	return 0;
}

int port_ext_bind(struct nic_port *p)
{
	struct nic_lower *l = p->lower;
	struct nest_nic_info info;
	l->data = l->ops->data;
	if (!l->ops->data || l->ops->info(l, &info) || !(info.flags & NEST_NIC_EXTERNAL))
		return 0;
	int r = l->ext ? 0 : make(l);
	if (!r && l->ops->extender)
		r = l->ops->extender(l);
	if (!r) {
		l->ext->announced = false;
		l->data = &extender_data;
	}
	return r;
}

void port_ext_unbind(struct nic_port *p)
{
	if (p->lower->ext)
		port_ext_open(p, false);
}
