/*
 * A port's extender: its life, and the data road between the port's device and its lower link (port_ext.h, port_ext_priv.h).
 */
#include "nic/port_ext_priv.h"

#include <string.h>

#include "core/errno.h"
#include "core/irq.h"
#include "core/percpu.h"
#include "nic/port.h"
#include "nic/vnet.h"

#define ORDER 4
_Static_assert(sizeof(struct port_ext) <= PAGE_SIZE << ORDER, "one allocation");

static struct port_ext *ext(const struct nic_lower *l) { return l->ext; }

/* ---- what the extender wants of us ---- */

static int to_link(void *arg, const u8 *frame, u32 len)
{
	struct port_ext *e = arg;
	return ext_link(e)->tx(e->lower, frame, len);
}

static int to_device(void *arg, const u8 *frame, u32 len)
{
	struct port_ext *e = arg;
	struct vnet *d = READ_ONCE(e->lower->bound->dev);
	return d && !READ_ONCE(e->refused) ? vnet_rx(d, frame, len) : 0;
}

static const struct extender_ops extender_ops = { to_link, to_device, ext_control_in };

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
	ext_link(e)->rx_filter(e->lower, &f);
}

static int bring_up(struct port_ext *e)
{
	struct nest_nic_info info;
	const struct nic_port *p = e->lower->bound;
	if (e->lower->ops->info(e->lower, &info))
		return -EIO;
	ext_engines_init(e, p, &info, &extender_ops);
	int r = ext_link(e)->start(e->lower);
	if (r)
		return r;
	e->up = true;
	filter(e);
	ext_engines_up(e, ext_now());
	return 0;
}

static void bring_down(struct port_ext *e)
{
	ext_engines_down(e, ext_now());
	e->up = false;
	ext_link(e)->stop(e->lower);
}

/* As device and function say. Under control. A port is held while it is up, or its function waits; the device must show what is. */
static int settle(struct port_ext *e)
{
	bool want = e->device || e->function, was = e->up, held = e->refused;
	int r = 0;
	if (want && !e->up)
		r = bring_up(e);
	else if (!want && e->up)
		bring_down(e);
	if (!e->up && !e->function)
		WRITE_ONCE(e->refused, false); /* of a link that did not start, too */
	e->news |= e->refused != held;
	if (e->up != was)
		ext_kick(e);
	return r;
}

/* ---- in place of the link's data operations, for the device ---- */

static int data_start(struct nic_lower *l)
{
	struct port_ext *e = ext(l);
	spin_lock(&e->control);
	e->device = true;
	int r = settle(e);
	e->device = !r;
	WRITE_ONCE(e->sending, !r);
	ext_leave(e);
	return r;
}

static void data_stop(struct nic_lower *l)
{
	struct port_ext *e = ext(l);
	spin_lock(&e->control);
	e->device = false;
	e->filter = (struct nic_rx_filter){ .nr = 0 };
	WRITE_ONCE(e->sending, false);
	if (e->up && e->function)
		filter(e); /* its groups go */
	settle(e);
	ext_leave(e);
}

static int data_tx(struct nic_lower *l, const u8 *frame, u32 len)
{
	struct port_ext *e = ext(l);
	return READ_ONCE(e->sending) && !READ_ONCE(e->refused) ? extender_tx(&e->x, frame, len) : -EIO;
}

static void data_tx_flush(struct nic_lower *l) { ext_link(ext(l))->tx_flush(l); }
static int data_fence(struct nic_lower *l) { return ext_link(ext(l))->fence(l); }
static void data_rx_more(struct nic_lower *l) { ext_link(ext(l))->rx_more(l); }

static void data_rx_filter(struct nic_lower *l, const struct nic_rx_filter *f)
{
	struct port_ext *e = ext(l);
	spin_lock(&e->control);
	e->filter = *f;
	if (e->up)
		filter(e);
	ext_leave(e);
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
	ext_leave(e);
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
	e->news |= !r;
	ext_leave(e);
	return r;
}

void port_ext_info(const struct nic_port *p, struct nest_nic_info *info)
{
	const struct port_ext *e = ext(p->lower);
	if (!e)
		return;
	enum extender_vdp role = ext_vdp_role(e, p, info);
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
	struct port_ext *e = pages_alloc(&mem_self, ORDER);
	if (!e)
		return -ENOMEM;
	e->lower = l;
	e->timer.fn = ext_work;
	e->timer.arg = e;
	e->vector = irq_alloc(EXT_HOME, ext_work_irq, e);
	if (e->vector < 0) {
		pages_free(&mem_self, e, ORDER);
		return -ENOSPC;
	}
	l->ext = e;
	return 0;
}

/* Whether there is an external switch never changes: an extender that was made once is there for good. */
static bool external(struct nic_lower *l)
{
	struct nest_nic_info info;
	return l->ext || (!l->ops->info(l, &info) && info.flags & NEST_NIC_EXTERNAL);
}

int port_ext_bind(struct nic_port *p)
{
	struct nic_lower *l = p->lower;
	l->data = l->ops->data;
	if (!l->ops->data || !external(l))
		return 0;
	int r = l->ext ? 0 : make(l);
	if (!r && l->ops->extender)
		r = l->ops->extender(l);
	if (!r) {
		l->ext->announced = l->ext->told_vlan = false;
		l->data = &extender_data;
	}
	return r;
}

void port_ext_unbind(struct nic_port *p)
{
	struct port_ext *e = ext(p->lower);
	if (!e)
		return;
	port_ext_open(p, false);
	ASSERT(!e->up && !e->device); /* its device was destroyed before */
}
