/*
 * Virtio's registers, BAR0 of the emulated device (VIRTIO 1.2, Virtio Over PCI Bus: Common configuration structure layout, ISR
 * status capability, Device-specific configuration, Notification structure layout).
 *
 * Invariant: a register changes by a write of its own width only (64-bit ones also by halves), at the times that the
 * specification names; any other write is dropped. A read gives the bytes that are there, whatever its width.
 */
#include <string.h>

#include "nic/vnet_priv.h"

#define BLOCK BITS(13, 12)       /* of an offset: which structure, VNET_COMMON ... VNET_NOTIFY */
#define INSIDE BITS(11, 0)

static struct vnet_queue_regs *selected(struct vnet *d) { return d->queue_select < VNET_QUEUES ? &d->regs[d->queue_select] : NULL; }

/* Up to 8 bytes at offset of a structure in memory; zeroes behind it. */
static u64 bytes_of(const void *from, u64 len, u64 offset, u32 size)
{
	u64 value = 0;
	if (offset < len)
		memcpy(&value, (const u8 *)from + offset, MIN(size, len - offset));
	return value;
}

/* ---- reading ---- */

static void read_queue(struct vnet *d, struct virtio_common *c)
{
	const struct vnet_queue_regs *r = selected(d);
	c->queue_msix_vector = VIRTIO_NO_VECTOR;
	if (!r)
		return;
	c->queue_size = r->size;
	c->queue_msix_vector = READ_ONCE(d->queue_vector[d->queue_select]);
	c->queue_enable = r->enabled;
	c->queue_notify_off = d->queue_select;
	c->queue_desc = r->desc;
	c->queue_driver = r->driver;
	c->queue_device = r->device;
}

static u64 read_common(struct vnet *d, u64 offset, u32 size)
{
	spin_lock(&d->ctrl);
	vnet_settle(d);
	struct virtio_common c = {
		.device_feature_select = d->device_select,
		.device_feature = d->device_select < 2 ? (u32)(VNET_FEATURES >> d->device_select * 32) : 0,
		.driver_feature_select = d->driver_select,
		.driver_feature = d->driver_select < 2 ? (u32)(d->features >> d->driver_select * 32) : 0,
		.config_msix_vector = READ_ONCE(d->config_vector),
		.num_queues = VNET_QUEUES,
		.device_status = d->status | (READ_ONCE(d->broken) ? VIRTIO_STATUS_NEEDS_RESET : 0),
		.config_generation = READ_ONCE(d->generation),
		.queue_select = d->queue_select,
	};
	read_queue(d, &c);
	spin_unlock(&d->ctrl);
	return bytes_of(&c, sizeof(c), offset, size);
}

static u64 read_isr(struct vnet *d)
{
	spin_lock(&d->irq);
	u8 isr = d->isr;
	d->isr = 0;
	spin_unlock(&d->irq);
	return isr;
}

static u64 read_config(struct vnet *d, u64 offset, u32 size)
{
	spin_lock(&d->irq);
	struct virtio_net_config c = { .status = d->link, .max_virtqueue_pairs = 1, .mtu = d->mtu };
	for (u32 i = 0; i < sizeof(c.mac); i++)
		c.mac[i] = (u8)(d->mac >> (5 - i) * 8);
	spin_unlock(&d->irq);
	return bytes_of(&c, sizeof(c), offset, size);
}

u64 vnet_regs_read(struct vnet *d, u64 offset, u32 size)
{
	switch (offset & BLOCK) {
	case VNET_COMMON: return read_common(d, offset & INSIDE, size);
	case VNET_ISR: return offset == VNET_ISR ? read_isr(d) : 0;
	case VNET_DEVICE: return read_config(d, offset & INSIDE, size);
	default: return 0;
	}
}

/* ---- writing ---- */

static void write_features(struct vnet *d, u32 value)
{
	if (d->status & VIRTIO_STATUS_FEATURES_OK)
		return;
	if (d->driver_select < 2)
		d->features = (d->features & ~(0xffffffffull << d->driver_select * 32)) | (u64)value << d->driver_select * 32;
	else
		d->strange |= value != 0;
}

static void write_vector(struct vnet *d, u16 *vector, u16 value)
{
	spin_lock(&d->irq);
	*vector = value < VNET_VECTORS ? value : VIRTIO_NO_VECTOR;
	spin_unlock(&d->irq);
}

static void enable_queue(struct vnet *d)
{
	u32 q = d->queue_select;
	struct vnet_queue_regs *r = &d->regs[q];
	if (!(d->status & VIRTIO_STATUS_FEATURES_OK) || READ_ONCE(d->broken))
		return;
	vnet_queue_lock(d, q);
	int bad = vqd_start(&d->vq[q], d->vm, r->size, r->desc, r->driver, r->device, d->features);
	vnet_queue_unlock(d, q);
	if (bad)
		vnet_break(d, "the rings of a queue do not lie in its memory, or not aligned");
	else
		r->enabled = true;
}

/* A field by its offset and width. */
#define AT(reg) (offsetof(struct virtio_common, reg) << 4 | sizeof(((struct virtio_common *)0)->reg))
#define LOW(reg) (offsetof(struct virtio_common, reg) << 4 | 4)
#define HIGH(reg) ((offsetof(struct virtio_common, reg) + 4) << 4 | 4)

static void set_low(u64 *to, u64 value) { *to = (*to & ~0xffffffffull) | (u32)value; }
static void set_high(u64 *to, u64 value) { *to = (u32)*to | value << 32; }

/* Registers of the selected queue, which are fixed once it is enabled. */
static void write_queue(struct vnet *d, u64 field, u64 value)
{
	struct vnet_queue_regs *r = selected(d);
	if (!r || r->enabled)
		return;
	switch (field) {
	case AT(queue_size):
		if (value && value <= VIRTQ_MAX && !(value & (value - 1)))
			r->size = (u16)value;
		break;
	case AT(queue_enable):
		if (value == 1)
			enable_queue(d);
		break;
	case AT(queue_desc): r->desc = value; break;
	case LOW(queue_desc): set_low(&r->desc, value); break;
	case HIGH(queue_desc): set_high(&r->desc, value); break;
	case AT(queue_driver): r->driver = value; break;
	case LOW(queue_driver): set_low(&r->driver, value); break;
	case HIGH(queue_driver): set_high(&r->driver, value); break;
	case AT(queue_device): r->device = value; break;
	case LOW(queue_device): set_low(&r->device, value); break;
	case HIGH(queue_device): set_high(&r->device, value); break;
	default: break;
	}
}

static void write_common(struct vnet *d, u64 field, u64 value)
{
	switch (field) {
	case AT(device_feature_select): d->device_select = (u32)value; break;
	case AT(driver_feature_select): d->driver_select = (u32)value; break;
	case AT(driver_feature): write_features(d, (u32)value); break;
	case AT(config_msix_vector): write_vector(d, &d->config_vector, (u16)value); break;
	case AT(device_status): vnet_set_status(d, (u8)value); break;
	case AT(queue_select): d->queue_select = (u16)value; break;
	case AT(queue_msix_vector):
		if (selected(d))
			write_vector(d, &d->queue_vector[d->queue_select], (u16)value);
		break;
	default: write_queue(d, field, value); break;
	}
}

/* The value that is written names the queue, too (no NOTIFICATION_DATA here); the address is enough. */
static void notify(struct vnet *d, u64 offset)
{
	switch (offset / VNET_NOTIFY_MULTIPLIER) {
	case VIRTIO_NET_RXQ: vnet_rx_kick(d); break;
	case VIRTIO_NET_TXQ: vnet_tx_kick(d); break;
	case VIRTIO_NET_CTRLQ: vnet_ctrl_kick(d); break;
	default: return;
	}
	if (READ_ONCE(d->broken)) {
		spin_lock(&d->ctrl);
		vnet_settle(d);
		spin_unlock(&d->ctrl);
	}
}

void vnet_regs_write(struct vnet *d, u64 offset, u32 size, u64 value)
{
	if ((offset & BLOCK) == VNET_NOTIFY) {
		notify(d, offset & INSIDE);
	} else if ((offset & BLOCK) == VNET_COMMON) {
		spin_lock(&d->ctrl);
		vnet_settle(d);
		write_common(d, (offset & INSIDE) << 4 | size, value);
		vnet_settle(d);
		spin_unlock(&d->ctrl);
	}
}
