/*
 * Frames of inner instances: the packet path through the outer's virtio-net device (VIRTIO 1.2, Network Device, Device Operation).
 *
 * Invariant: frames go up in the order of the used ring, and the mark at the end of emulation with them; one that finds no room
 * above stays at the head of the ring, with interrupts off, until rx_more. What the outer writes is checked before it is used: a
 * wrong length costs that frame, a wrong ring that ring until the next start, and neither reaches memory outside our buffers.
 *
 * A write to `notify` exits to the outer; the packet path touches no other register.
 */
#include <string.h>

#include "core/errno.h"
#include "core/fault.h"
#include "core/mem.h"
#include "core/time.h"
#include "nic/upstream.h"

#define HEADER (u32)sizeof(struct virtio_net_hdr)
#define FRAME_MIN 14u
#define CONTROL_US 1000000
#define RX_BUDGET VIRTQ_MAX  /* frames that one call takes: under a flood the CPU has other things to do, too */
#define RX_AGAIN_US 50

static struct upstream_net *net(struct nic_lower *l) { return ((struct upstream *)l->priv)->data; }

static void ring_broke(struct upstream_net *n, struct upstream_ring *r, const char *what)
{
	if (!r->broken)
		log_line("nic: " RID_FMT ": the outer's device has written nonsense into the %s ring", RID_ARG(n->rid), what);
	r->broken = true;
}

/* ---- receive ---- */

static bool is_end(const u8 *frame, u32 len)
{
	return len == sizeof(struct nest_nic_end) && !memcmp(frame, NEST_NIC_END_MAGIC, sizeof(struct nest_nic_end));
}

/* What the device says it wrote into a buffer. 0: done with it; -EAGAIN: keep it. */
static int deliver(struct upstream_net *n, const u8 *buf, u32 len)
{
	struct nic_port *p = n->l->bound;
	if (len >= HEADER + FRAME_MIN && len <= n->room)
		return nic_port_rx(p, buf + HEADER, len - HEADER);
	if (len <= n->room && len >= HEADER && is_end(buf + HEADER, len - HEADER))
		nic_port_rx_end(p);
	else
		log_limited(4, "nic: " RID_FMT ": a frame of %u bytes from the outer: dropped", RID_ARG(n->rid), len);
	return 0;
}

/* 0: the ring is empty; 1: the budget is; -EAGAIN; -EIO: the ring is broken. */
static int drain(struct upstream_net *n, u32 *budget)
{
	struct upstream_ring *r = &n->rx;
	u16 head;
	u32 len;
	int got;
	while ((got = virtq_peek(&r->q, &head, &len)) > 0) {
		if (!*budget)
			return 1;
		int err = deliver(n, upstream_buffer(n, r, head), len);
		if (err == -EAGAIN)
			return err;
		virtq_take(&r->q, head);
		virtq_post(&r->q, head);
		--*budget;
	}
	if (got)
		ring_broke(n, r, "receive");
	return got;
}

static void rx_again(void *arg);

static void come_back(struct upstream_net *n)
{
	if (n->rx_again_armed)
		return;
	n->rx_again_armed = true;
	n->rx_again.fn = rx_again;
	n->rx_again.arg = n;
	timer_arm(&n->rx_again, rdtsc() + us_to_tsc(RX_AGAIN_US));
}

/* What there is, until the ring is empty with interrupts on; or the budget, and the rest a little later. Precondition: rx_lock. */
static void receive(struct upstream_net *n)
{
	struct virtq_drv *q = &n->rx.q;
	u32 budget = RX_BUDGET;
	int left;
	if (!n->running || n->rx.broken)
		return;
	virtq_irq(q, false);
	while (!(left = drain(n, &budget))) {
		virtq_irq(q, true);
		if (!virtq_pending(q))
			break;
		virtq_irq(q, false);
	}
	if (left > 0)
		come_back(n);
	nic_port_rx_flush(n->l->bound);
	if (virtq_kick(q))
		upstream_notify(&n->rx, VIRTIO_NET_RXQ);
}

static void rx_again(void *arg)
{
	struct upstream_net *n = arg;
	spin_lock(&n->rx_lock);
	n->rx_again_armed = false;
	receive(n);
	spin_unlock(&n->rx_lock);
}

void upstream_rx_irq(void *arg, u8 vector)
{
	struct upstream_net *n = arg;
	(void)vector;
	spin_lock(&n->rx_lock);
	receive(n);
	spin_unlock(&n->rx_lock);
}

static void data_rx_more(struct nic_lower *l) { upstream_rx_irq(net(l), 0); }

/* Link, or an administrator's wish. */
void upstream_config_irq(void *arg, u8 vector)
{
	struct upstream_net *n = arg;
	(void)vector;
	spin_lock(&n->rx_lock); /* so that stop waits for us */
	if (n->running) {
		if (virtio_status(n->common) & VIRTIO_STATUS_NEEDS_RESET)
			log_limited(1, "nic: " RID_FMT ": the outer's device wants a reset", RID_ARG(n->rid));
		nic_port_changed(n->l->bound);
	}
	spin_unlock(&n->rx_lock);
}

/* ---- transmit ---- */

static void tx_reclaim(struct upstream_net *n)
{
	struct upstream_ring *r = &n->tx;
	u16 head;
	u32 len;
	int got;
	while ((got = virtq_peek(&r->q, &head, &len)) > 0)
		virtq_take(&r->q, head);
	if (got)
		ring_broke(n, r, "transmit");
}

/* A buffer that is ours, or -1. The outer works while it handles the notification: what is not free after one never will be. */
static int tx_room(struct upstream_net *n)
{
	struct virtq_drv *q = &n->tx.q;
	int head = virtq_head(q);
	if (head < 0) {
		tx_reclaim(n);
		head = virtq_head(q);
	}
	if (head < 0 && !n->tx.broken) {
		q->told = q->posted;
		upstream_notify(&n->tx, VIRTIO_NET_TXQ);
		tx_reclaim(n);
		head = virtq_head(q);
	}
	return n->tx.broken ? -1 : head;
}

static int transmit(struct upstream_net *n, const u8 *frame, u32 len)
{
	int head = n->running && !n->tx.broken ? tx_room(n) : -1;
	if (head < 0)
		return -EIO;
	memcpy(upstream_buffer(n, &n->tx, (u32)head) + HEADER, frame, len);
	n->tx.mem->desc[head].len = HEADER + len;
	virtq_post(&n->tx.q, (u16)head);
	return 0;
}

static int data_tx(struct nic_lower *l, const u8 *frame, u32 len)
{
	struct upstream_net *n = net(l);
	if (!n || len < FRAME_MIN || len > n->room - HEADER)
		return n ? -EINVAL : -EIO;
	spin_lock(&n->tx_lock);
	int r = transmit(n, frame, len);
	spin_unlock(&n->tx_lock);
	return r;
}

static void data_tx_flush(struct nic_lower *l)
{
	struct upstream_net *n = net(l);
	if (!n)
		return;
	spin_lock(&n->tx_lock);
	if (n->running && virtq_kick(&n->tx.q))
		upstream_notify(&n->tx, VIRTIO_NET_TXQ);
	spin_unlock(&n->tx_lock);
}

/* The outer takes what is in the ring, told or not, and asks its own lower link the same. */
static int data_fence(struct nic_lower *l)
{
	struct upstream *u = l->priv;
	data_tx_flush(l);
	if (fault_point("upstream data: fence"))
		return -ETIMEDOUT;
	return upstream_call(HC_NIC_FENCE, u->port, 0, 0) < 0 ? -ETIMEDOUT : 0;
}

/* ---- control queue ---- */

struct control {
	u8 class, command;
	union {
		u8 on;
		struct { u32 nr_unicast, nr_multicast; u8 multicast[NEST_MAX_GROUPS][6]; } __packed table;
	} data;
	u8 ack;
} __packed;

/* Send what lies in the control page, `len` bytes of data. */
static void control(struct upstream_net *n, struct control *c, u64 len)
{
	struct upstream_ring *r = &n->ctrl;
	u16 head;
	u32 ignored;
	c->ack = VIRTIO_NET_ERR;
	r->mem->desc[0] = (struct virtq_desc){ virt_to_hpa(c).v, (u32)(offsetof(struct control, data) + len), VIRTQ_DESC_NEXT, 1 };
	r->mem->desc[1] = (struct virtq_desc){ virt_to_hpa(&c->ack).v, 1, VIRTQ_DESC_WRITE, 0 };
	virtq_post(&r->q, 0);
	if (virtq_kick(&r->q))
		upstream_notify(r, VIRTIO_NET_CTRLQ);
	if (!wait_until(virtq_pending(&r->q), CONTROL_US) || virtq_peek(&r->q, &head, &ignored) <= 0) {
		ring_broke(n, r, "control");
		return;
	}
	virtq_take(&r->q, head);
	if (READ_ONCE(c->ack) != VIRTIO_NET_OK)
		log_limited(4, "nic: " RID_FMT ": the outer's device refuses a receive filter", RID_ARG(n->rid));
}

static void data_rx_filter(struct nic_lower *l, const struct nic_rx_filter *f)
{
	struct upstream_net *n = net(l);
	const u64 need = BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_RX);
	u32 nr = MIN(f->nr, NEST_MAX_GROUPS);
	if (!n || !n->running || n->ctrl.broken || (n->features & need) != need)
		return;
	struct control *c = (struct control *)upstream_buffer(n, &n->ctrl, 0);
	*c = (struct control){ .class = VIRTIO_NET_CTRL_MAC, .command = VIRTIO_NET_CTRL_MAC_TABLE_SET,
			       .data.table = { .nr_multicast = nr } };
	memcpy(c->data.table.multicast, f->group, nr * 6);
	control(n, c, 8 + nr * 6);
	if (n->ctrl.broken)
		return;
	*c = (struct control){ .class = VIRTIO_NET_CTRL_RX, .command = VIRTIO_NET_CTRL_RX_ALLMULTI, .data.on = f->all_groups };
	control(n, c, 1);
}

/* ---- start and stop ---- */

static void set_running(struct upstream_net *n, bool on)
{
	spin_lock(&n->rx_lock);
	spin_lock(&n->tx_lock);
	n->running = on;
	spin_unlock(&n->tx_lock);
	spin_unlock(&n->rx_lock);
}

static void data_stop(struct nic_lower *l)
{
	if (!net(l) || !net(l)->running)
		return;
	set_running(net(l), false); /* after this no call upward is under way, and none will be made */
	upstream_dev_stop(net(l));
}

static int data_start(struct nic_lower *l)
{
	int r = net(l) ? 0 : upstream_dev_open(l);
	r = r ? r : upstream_dev_start(net(l));
	if (r)
		return r;
	set_running(net(l), true); /* first, or the interrupt of the first frame would find nobody */
	r = upstream_dev_go(net(l));
	if (r) {
		data_stop(l);
		return r;
	}
	data_rx_more(l); /* tells the device of the receive buffers, if it wants that */
	upstream_config_irq(net(l), 0); /* what changed while nobody listened */
	return 0;
}

const struct nic_data_ops upstream_data = {
	.start = data_start, .stop = data_stop,
	.tx = data_tx, .tx_flush = data_tx_flush, .fence = data_fence,
	.rx_more = data_rx_more, .rx_filter = data_rx_filter,
};
