/*
 * Interrupts of the emulated device: MSI-X only (PCI Local Bus Specification 3.0, MSI-X Capability and Table Structures). A
 * driver that leaves MSI-X off can read the ISR byte, but no interrupt pin is there to tell it when.
 *
 * Invariant: a message leaves once per event, or, while its vector is masked, once when that ends; none without bus mastering,
 * and none to where no local APIC is. The irq lock covers all of it and is a leaf but for vm_arch->msi.
 */
#include "nic/vnet_priv.h"

#define CONTROL_ENABLE BIT(31)   /* Message Control lies in the upper half of its dword */
#define CONTROL_MASK BIT(30)
#define VECTOR_MASKED BIT(0)
#define TABLE_LEN (VNET_VECTORS * (u32)sizeof(struct vnet_msix))
#define PBA 2048

/* Under irq. */
static void deliver(struct vnet *d, u32 v)
{
	const struct vnet_msix *m = &d->msix[v];
	d->pending |= (u32)BIT(v);
	if (!(d->msix_control & CONTROL_ENABLE) || d->msix_control & CONTROL_MASK || m->control & VECTOR_MASKED)
		return;
	d->pending &= ~(u32)BIT(v);
	if (READ_ONCE(d->command) & PCI_COMMAND_MASTER && m->addr >> 20 == 0xfee)
		vm_arch->msi(d->vm, m->addr, m->data);
}

/* Under irq. An event for a queue or the configuration. */
static void event(struct vnet *d, u16 vector, u8 isr)
{
	if (!(d->msix_control & CONTROL_ENABLE))
		d->isr |= isr;
	else if (vector < VNET_VECTORS)
		deliver(d, vector);
}

static void deliver_pending(struct vnet *d)
{
	for (u32 v = 0; v < VNET_VECTORS; v++)
		if (d->pending & BIT(v))
			deliver(d, v);
}

void vnet_irq_queue(struct vnet *d, u32 q)
{
	spin_lock(&d->irq);
	event(d, d->queue_vector[q], VIRTIO_ISR_QUEUE);
	spin_unlock(&d->irq);
}

void vnet_irq_config(struct vnet *d)
{
	spin_lock(&d->irq);
	event(d, d->config_vector, VIRTIO_ISR_CONFIG);
	spin_unlock(&d->irq);
}

void vnet_irq_reset(struct vnet *d)
{
	spin_lock(&d->irq);
	d->config_vector = VIRTIO_NO_VECTOR;
	for (u32 q = 0; q < VNET_QUEUES; q++)
		d->queue_vector[q] = VIRTIO_NO_VECTOR;
	d->isr = 0;
	d->pending = 0;
	spin_unlock(&d->irq);
}

void vnet_msix_control(struct vnet *d, u32 control)
{
	spin_lock(&d->irq);
	d->msix_control = control;
	if (control & CONTROL_ENABLE)
		deliver_pending(d);
	else
		d->pending = 0;
	spin_unlock(&d->irq);
}

/* ---- table and pending bits, by aligned dwords or quadwords ---- */

static u32 table_dword(const struct vnet *d, u64 offset)
{
	const struct vnet_msix *m = &d->msix[offset / sizeof(*m)];
	switch (offset % sizeof(*m)) {
	case 0: return (u32)m->addr;
	case 4: return (u32)(m->addr >> 32);
	case 8: return m->data;
	default: return m->control;
	}
}

static u32 read_dword(struct vnet *d, u64 offset)
{
	return offset < TABLE_LEN ? table_dword(d, offset) : offset == PBA ? d->pending : 0;
}

static void write_dword(struct vnet *d, u64 offset, u32 value)
{
	if (offset >= TABLE_LEN)
		return;
	struct vnet_msix *m = &d->msix[offset / sizeof(*m)];
	switch (offset % sizeof(*m)) {
	case 0: m->addr = (m->addr & ~0xffffffffull) | (value & ~3u); break;
	case 4: m->addr = (u32)m->addr | (u64)value << 32; break;
	case 8: m->data = value; break;
	default: m->control = value & VECTOR_MASKED; break;
	}
}

u64 vnet_msix_read(struct vnet *d, u64 offset, u32 size)
{
	spin_lock(&d->irq);
	u64 dword = offset & ~3ull, value = read_dword(d, dword);
	if (size == 8)
		value |= (u64)read_dword(d, dword + 4) << 32;
	spin_unlock(&d->irq);
	return value >> (offset & 3) * 8;
}

void vnet_msix_write(struct vnet *d, u64 offset, u32 size, u64 value)
{
	if (size < 4 || !IS_ALIGNED(offset, size))
		return; /* undefined by the specification */
	spin_lock(&d->irq);
	write_dword(d, offset, (u32)value);
	if (size == 8)
		write_dword(d, offset + 4, (u32)(value >> 32));
	deliver_pending(d);
	spin_unlock(&d->irq);
}
