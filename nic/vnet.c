/*
 * The emulated device of a port (vnet.h): how it comes, starts, stops and goes.
 *
 * Invariant: the lower link is started exactly while `started` says so: from DRIVER_OK to the reset, FAILED, or the first access
 * by the VM after the device broke (the data road itself cannot stop its link); in between a broken device drops all frames.
 */
#include "nic/vnet.h"

#include <string.h>

#include "core/errno.h"
#include "nic/port_ext.h"
#include "nic/vnet_priv.h"

/* ---- locks ---- */

void vnet_queue_lock(struct vnet *d, u32 q)
{
	if (q != VIRTIO_NET_CTRLQ)
		spin_lock(q == VIRTIO_NET_RXQ ? &d->rx : &d->tx);
}

void vnet_queue_unlock(struct vnet *d, u32 q)
{
	if (q != VIRTIO_NET_CTRLQ)
		spin_unlock(q == VIRTIO_NET_RXQ ? &d->rx : &d->tx);
}

static void set_running(struct vnet *d, bool on)
{
	spin_lock(&d->tx);
	spin_lock(&d->rx);
	WRITE_ONCE(d->running, on);
	spin_unlock(&d->rx);
	spin_unlock(&d->tx);
}

/* ---- start and stop ---- */

void vnet_break(struct vnet *d, const char *what)
{
	if (__atomic_exchange_n(&d->broken, true, __ATOMIC_SEQ_CST))
		return;
	log_limited(20, "nic: VM %s, port %u: %s; its virtio device waits for a reset", d->vm->cfg->name, d->port->index, what);
	if (READ_ONCE(d->running))
		vnet_irq_config(d);
}

static void lower_stop(struct vnet *d)
{
	set_running(d, false);
	if (d->started)
		d->data->stop(d->lower);
	d->started = false;
}

void vnet_settle(struct vnet *d)
{
	if (d->started && READ_ONCE(d->broken))
		lower_stop(d);
}

static void lower_start(struct vnet *d)
{
	spin_lock(&d->rx);
	int r = vqd_suppress(&d->vq[VIRTIO_NET_RXQ]); /* buffers are looked for when there is a frame */
	spin_unlock(&d->rx);
	if (!r) {
		set_running(d, true);
		d->started = true;
		r = d->data->start(d->lower);
	}
	if (r) {
		d->started = false;
		vnet_break(d, "the lower link does not start");
		set_running(d, false);
		return;
	}
	d->data->rx_filter(d->lower, &d->filter);
}

static void reset(struct vnet *d)
{
	lower_stop(d);
	spin_lock(&d->tx);
	spin_lock(&d->rx);
	for (u32 q = 0; q < VNET_QUEUES; q++) {
		vqd_stop(&d->vq[q]);
		d->regs[q] = (struct vnet_queue_regs){ .size = VIRTQ_MAX };
	}
	d->starved = false;
	d->ends = 0;
	spin_unlock(&d->rx);
	spin_unlock(&d->tx);
	d->status = 0;
	d->features = 0;
	d->strange = false;
	d->device_select = d->driver_select = d->queue_select = 0;
	vnet_irq_reset(d);
	vnet_ctrl_default(d);
	__atomic_store_n(&d->broken, false, __ATOMIC_SEQ_CST);
}

static bool features_good(const struct vnet *d)
{
	if (d->strange || d->features & ~VNET_FEATURES || !(d->features & BIT(VIRTIO_F_VERSION_1)))
		return false;
	return d->features & F(CTRL_VQ) || !(d->features & VNET_NEED_CTRL);
}

/* Bits are only ever added; a step without the one before it does not happen (VIRTIO 1.2, Device Initialization). */
void vnet_set_status(struct vnet *d, u8 value)
{
	if (!value) {
		reset(d);
		return;
	}
	u8 add = value & (u8)~d->status;
	if (add & VIRTIO_STATUS_FAILED) {
		d->status |= VIRTIO_STATUS_FAILED;
		lower_stop(d);
	}
	d->status |= add & (VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
	if (add & VIRTIO_STATUS_FEATURES_OK && d->status & VIRTIO_STATUS_DRIVER && features_good(d)) {
		d->status |= VIRTIO_STATUS_FEATURES_OK;
		vnet_ctrl_default(d);
	}
	if (!(add & VIRTIO_STATUS_DRIVER_OK) || !(d->status & VIRTIO_STATUS_FEATURES_OK) || d->status & VIRTIO_STATUS_FAILED)
		return;
	d->status |= VIRTIO_STATUS_DRIVER_OK;
	if (!READ_ONCE(d->broken))
		lower_start(d);
}

/* ---- configuration ---- */

/* What the chain says of the port. Under the port's lock, or before the VM runs. */
static void refresh(struct vnet *d)
{
	struct nest_nic_info info;
	if (d->lower->ops->info(d->lower, &info))
		return;
	port_ext_info(d->port, &info);
	spin_lock(&d->irq);
	WRITE_ONCE(d->mac, mac_key(info.mac));
	d->link = info.flags & NEST_NIC_LINK_UP ? VIRTIO_NET_S_LINK_UP : 0;
	u16 mtu = (u16)(MIN(MAX(info.max_frame, 68 + VNET_FRAME_MIN), VNET_FRAME_MAX - 4) - VNET_FRAME_MIN);
	WRITE_ONCE(d->mtu, d->port->cfg->mtu ? MIN(mtu, d->port->cfg->mtu) : mtu);
	WRITE_ONCE(d->own_vlan, info.vlan != 0);
	WRITE_ONCE(d->tag_room, port_ext_tag_room(d->port));
	d->generation++;
	spin_unlock(&d->irq);
}

void vnet_changed(struct vnet *d)
{
	refresh(d);
	if (READ_ONCE(d->running))
		vnet_irq_config(d);
}

rid_t vnet_rid(const struct vnet *d) { return d->rid; }
bool vnet_running(const struct vnet *d) { return vnet_works(d); }

void vnet_stats(struct vnet *d, struct nest_nic_stats *out)
{
	u64 rx = READ_ONCE(d->rx_packets), rx_bytes = READ_ONCE(d->rx_bytes), multicast = READ_ONCE(d->rx_multicast);
	u64 tx = READ_ONCE(d->tx_packets), tx_bytes = READ_ONCE(d->tx_bytes);
	out->emu_rx_packets += rx;
	out->emu_rx_bytes += rx_bytes;
	out->emu_rx_multicast += multicast;
	out->emu_tx_packets += tx;
	out->emu_tx_bytes += tx_bytes;
	out->rx_packets += rx;
	out->rx_bytes += rx_bytes;
	out->rx_multicast += multicast;
	out->tx_packets += tx;
	out->tx_bytes += tx_bytes;
	out->dropped += READ_ONCE(d->dropped);
}

/* ---- life ---- */

int vnet_create(struct vnet **out, struct nic_port *p)
{
	struct vnet *d = pages_alloc(&p->vm->owner, VNET_ORDER);
	if (!d)
		return -ENOMEM;
	d->vm = p->vm;
	d->port = p;
	d->lower = p->lower;
	d->data = p->lower->data;
	d->rid = RID(0, p->index + 1, 0);
	for (u32 q = 0; q < VNET_QUEUES; q++)
		d->vq[q].vm = p->vm;
	for (u32 v = 0; v < VNET_VECTORS; v++)
		d->msix[v].control = 1; /* masked */
	reset(d);
	refresh(d);
	int r = vnet_pci_plug(d);
	if (r) {
		pages_free(&p->vm->owner, d, VNET_ORDER);
		return r;
	}
	*out = d;
	return 0;
}

void vnet_destroy(struct vnet *d)
{
	struct mem_owner *owner = &d->vm->owner;
	spin_lock(&d->ctrl);
	lower_stop(d);
	spin_unlock(&d->ctrl);
	vnet_pci_unplug(d);
	pages_free(owner, d, VNET_ORDER);
}
