/*
 * Receive queue of the emulated device: frames and END marks of the lower link become used buffers (VIRTIO 1.2, Network Device,
 * Processing of Incoming Packets).
 *
 * Invariant: what is given to the VM keeps the order in which the lower link gave it, END marks included; a frame is given whole
 * or not at all. Kicks are asked for only while something waits for buffers.
 */
#include <string.h>

#include "core/errno.h"
#include "nic/vnet_priv.h"

#define VID 0xfff

/* ---- the filter ---- */

static bool wanted_group(const struct vnet *d, u64 to)
{
	if (d->filter.all_groups)
		return true;
	for (u32 i = 0; i < d->filter.nr; i++)
		if (d->group[i] == to)
			return true;
	return false;
}

/* A tag is the guest's own; priority tags (VID 0) belong to no VLAN. */
static bool wanted_vlan(const struct vnet *d, const u8 *frame, u32 len)
{
	if (!d->filter_vlans || READ_ONCE(d->own_vlan))
		return true;
	if (len < VNET_FRAME_MIN + 4 || (frame[12] << 8 | frame[13]) != VNET_ETHERTYPE_VLAN)
		return true;
	u32 vid = (u32)(frame[14] << 8 | frame[15]) & VID;
	return !vid || d->vlans[vid / 32] & (u32)BIT(vid % 32);
}

/* Frames of the port's own come back by replication in the NIC's switch. */
static bool wanted(const struct vnet *d, const u8 *frame, u32 len)
{
	if (!vnet_frame_fits(d, frame, len))
		return false;
	u64 to = mac_key(frame), own = READ_ONCE(d->mac);
	if (mac_key(frame + 6) == own)
		return false;
	bool mine = to == MAC_BROADCAST || (to & MAC_GROUP ? wanted_group(d, to) : to == own);
	return mine && wanted_vlan(d, frame, len);
}

/* ---- into buffers ---- */

/*
 * Bytes [done, ...) of header and frame into one buffer. Returns how many fitted, or an error.
 */
static int fill(struct virtq_dev *q, const struct vqd_chain *c, const u8 *frame, u32 len, u32 done)
{
	struct virtio_net_hdr hdr = { .num_buffers = 1 };
	u32 n = (u32)MIN(c->write_len, sizeof(hdr) + len - done), head = done ? 0 : sizeof(hdr);
	int r = head ? vqd_write(q, c, 0, &hdr, head) : 0;
	if (!r)
		r = vqd_write(q, c, head, frame + (done ? done - sizeof(hdr) : 0), n - head);
	return r ? r : (int)n;
}

/*
 * Give the VM header and frame. 0; -EAGAIN: too few buffers; -ENOSPC: they will never do; -EINVAL, -EFAULT: malformed. Its buffers have
 * together as many pieces as the queue has entries, at most: a driver that crumbles its memory must not hold up the link's other ports.
 */
static int give(struct vnet *d, struct virtq_dev *q, const u8 *frame, u32 len)
{
	bool merge = d->features & F(MRG_RXBUF);
	u32 total = (u32)sizeof(struct virtio_net_hdr) + len, done = 0, k = 0, pieces = 0;
	int n = vqd_available(q);
	for (; n >= 0 && done < total; k++) {
		if (k == (u32)n)
			return k == q->size ? -ENOSPC : -EAGAIN;
		struct vqd_chain *c = k ? &d->rx_next : &d->chain[VIRTIO_NET_RXQ];
		int r = vqd_peek(q, k, c);
		if (r)
			return r;
		if (c->read_len || c->write_len < (k ? 1 : sizeof(struct virtio_net_hdr)))
			return -EINVAL;
		pieces += c->nr;
		if ((!merge && c->write_len < total) || pieces > q->size)
			return -ENOSPC;
		r = fill(q, c, frame, len, done);
		if (r >= 0)
			done += (u32)r;
		int u = r < 0 ? r : vqd_use(q, k, c->head, (u32)r);
		if (u)
			return u;
	}
	if (n < 0)
		return n;
	u16 buffers = (u16)k;
	int r = k > 1 ? vqd_write(q, &d->chain[VIRTIO_NET_RXQ], offsetof(struct virtio_net_hdr, num_buffers), &buffers, 2) : 0;
	return r ? r : vqd_publish(q, k);
}

/* The same; when there are too few buffers, a kick is under way for the next ones. Under rx. */
static int give_or_wait(struct vnet *d, const u8 *frame, u32 len)
{
	struct virtq_dev *q = &d->vq[VIRTIO_NET_RXQ];
	int r = q->size ? give(d, q, frame, len) : -ENOSPC;
	if (r != -EAGAIN)
		return r;
	r = vqd_arm(q);
	if (r < 0)
		return r;
	r = give(d, q, frame, len); /* some may have come before the driver saw that we want to know */
	d->starved = r == -EAGAIN;
	if (!r)
		r = vqd_suppress(q);
	return r;
}

static void malformed(struct vnet *d) { vnet_break(d, "a malformed buffer in the receive queue"); }

/* Under rx. 0 when no mark waits any more, -EAGAIN; else the device is broken: a buffer that cannot hold a mark is none. */
static int give_ends(struct vnet *d)
{
	static const struct nest_nic_end end = { NEST_NIC_END_MAGIC };
	int r = 0;
	while (d->ends && !r) {
		r = give_or_wait(d, end.magic, sizeof(end.magic));
		if (!r)
			d->ends--;
	}
	if (r && r != -EAGAIN)
		malformed(d);
	return r;
}

static void count(struct vnet *d, const u8 *frame, u32 len)
{
	u64 to = mac_key(frame);
	WRITE_ONCE(d->rx_packets, d->rx_packets + 1);
	WRITE_ONCE(d->rx_bytes, d->rx_bytes + len);
	if (to & MAC_GROUP && to != MAC_BROADCAST)
		WRITE_ONCE(d->rx_multicast, d->rx_multicast + 1);
}

/* Under rx. */
static int receive(struct vnet *d, const u8 *frame, u32 len)
{
	if (!vnet_works(d) || !wanted(d, frame, len))
		return 0;
	int r = give_ends(d);
	if (r)
		return r == -EAGAIN ? r : 0;
	r = give_or_wait(d, frame, len);
	if (!r)
		count(d, frame, len);
	else if (r == -ENOSPC)
		WRITE_ONCE(d->dropped, d->dropped + 1);
	else if (r != -EAGAIN)
		malformed(d);
	return r == -EAGAIN ? r : 0;
}

int vnet_rx(struct vnet *d, const u8 *frame, u32 len)
{
	spin_lock(&d->rx);
	int r = receive(d, frame, len);
	spin_unlock(&d->rx);
	return r;
}

void vnet_rx_dropped(struct vnet *d)
{
	spin_lock(&d->rx);
	WRITE_ONCE(d->dropped, d->dropped + 1);
	spin_unlock(&d->rx);
}

/* Under rx. */
static void tell(struct vnet *d)
{
	if (vqd_interrupts(&d->vq[VIRTIO_NET_RXQ]))
		vnet_irq_queue(d, VIRTIO_NET_RXQ);
}

void vnet_rx_flush(struct vnet *d)
{
	spin_lock(&d->rx);
	tell(d);
	spin_unlock(&d->rx);
}

void vnet_rx_end(struct vnet *d)
{
	spin_lock(&d->rx);
	if (vnet_works(d)) {
		d->ends++;
		(void)give_ends(d);
		tell(d);
	}
	spin_unlock(&d->rx);
}

void vnet_rx_kick(struct vnet *d)
{
	spin_lock(&d->rx);
	bool more = d->starved && vnet_works(d);
	if (more) {
		d->starved = false;
		if (vqd_suppress(&d->vq[VIRTIO_NET_RXQ]))
			malformed(d);
		(void)give_ends(d);
		tell(d);
	}
	spin_unlock(&d->rx);
	if (more)
		d->data->rx_more(d->lower);
}
