/*
 * The PCI function of the emulated device (PCI Local Bus Specification 3.0, Configuration Space; VIRTIO 1.2, Virtio Structure PCI
 * Capabilities). No interrupt pin, no power management, no PCI Express capability: it is integrated into the root.
 *
 * Invariant: a BAR is decoded exactly where its register says, if memory decoding is on, the place lies in the window for BARs
 * and nobody else is there. Under the lock of the VM's PCI bus.
 */
#include <string.h>

#include "core/errno.h"
#include "core/vpci.h"
#include "nic/vnet_priv.h"

#define CLASS_ETHERNET 0x02000000u
#define REVISION 1u              /* of a device that is no transitional one */
#define SUBSYSTEM 0x1100u
#define STATUS_CAPABILITIES BIT(20)
#define COMMAND_WRITABLE (PCI_COMMAND_MEM | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE)
#define SUBSYSTEM_ID 0x2c
#define INTERRUPT_LINE 0x3c
#define CACHE_LINE 0xc
#define CAP_VENDOR 9

/* Where the capabilities are. */
#define AT_MSIX 0x40u
#define AT_COMMON 0x50u
#define AT_ISR 0x60u
#define AT_DEVICE 0x70u
#define AT_NOTIFY 0x80u
#define AT_PCI_CFG 0x98u
#define PCI_CFG_DATA (AT_PCI_CFG + 16)
#define MSIX_WRITABLE (BIT(31) | BIT(30))
#define PBA 2048u
#define DEVICE_LEN 0x1000u

static const u32 bar_len[VNET_BARS] = { VNET_BAR0_LEN, VNET_BAR1_LEN };

/* ---- BARs ---- */

static u64 bar_read(struct vnet *d, u32 bar, u64 offset, u32 size)
{
	return bar ? vnet_msix_read(d, offset, size) : vnet_regs_read(d, offset, size);
}

static void bar_write(struct vnet *d, u32 bar, u64 offset, u32 size, u64 value)
{
	if (bar)
		vnet_msix_write(d, offset, size, value);
	else
		vnet_regs_write(d, offset, size, value);
}

static u64 bar0_read(void *dev, struct vcpu_core *v, u64 offset, u32 size)
{
	(void)v;
	return bar_read(dev, 0, offset, size);
}
static void bar0_write(void *dev, struct vcpu_core *v, u64 offset, u32 size, u64 value)
{
	(void)v;
	bar_write(dev, 0, offset, size, value);
}
static u64 bar1_read(void *dev, struct vcpu_core *v, u64 offset, u32 size)
{
	(void)v;
	return bar_read(dev, 1, offset, size);
}
static void bar1_write(void *dev, struct vcpu_core *v, u64 offset, u32 size, u64 value)
{
	(void)v;
	bar_write(dev, 1, offset, size, value);
}
static const struct vdev_ops bar_ops[VNET_BARS] = { { bar0_read, bar0_write }, { bar1_read, bar1_write } };

/* Where BAR b should be decoded, 0: nowhere. */
static u64 bar_wanted(const struct vnet *d, u32 b)
{
	u64 at = d->cfg[PCI_BAR0 / 4 + b];
	bool fits = at >= VPCI_WINDOW_BASE && at + bar_len[b] <= VPCI_ECAM_BASE;
	return d->cfg[PCI_COMMAND / 4] & PCI_COMMAND_MEM && fits ? at : 0;
}

static void map_bars(struct vnet *d)
{
	for (u32 b = 0; b < VNET_BARS; b++)
		if (d->bar_at[b] && d->bar_at[b] != bar_wanted(d, b)) {
			vdev_remove(&d->vm->mmio, d->bar_at[b]);
			d->bar_at[b] = 0;
		}
	for (u32 b = 0; b < VNET_BARS; b++) {
		u64 at = bar_wanted(d, b);
		if (at && !d->bar_at[b] && !vdev_add(&d->vm->mmio, at, bar_len[b], &bar_ops[b], d))
			d->bar_at[b] = at;
	}
}

/* ---- access to the BARs by the capability VIRTIO_CAP_PCI_CFG ---- */

/* What its registers name: false if that is nothing. */
static bool window(const struct vnet *d, u32 *bar, u64 *offset, u32 *size)
{
	*bar = d->cfg[AT_PCI_CFG / 4 + 1] & 0xff;
	*offset = d->cfg[AT_PCI_CFG / 4 + 2];
	*size = d->cfg[AT_PCI_CFG / 4 + 3];
	return *bar < VNET_BARS && (*size == 1 || *size == 2 || *size == 4) && IS_ALIGNED(*offset, *size) &&
	       *offset < bar_len[*bar];
}

static u32 window_read(struct vnet *d)
{
	u64 offset;
	u32 bar, size;
	if (!window(d, &bar, &offset, &size))
		return 0;
	u64 value = bar_read(d, bar, offset, size);
	return (u32)(size == 4 ? value : value & (BIT(size * 8) - 1));
}

static void window_write(struct vnet *d, u32 value)
{
	u64 offset;
	u32 bar, size;
	if (window(d, &bar, &offset, &size))
		bar_write(d, bar, offset, size, size == 4 ? value : value & (BIT(size * 8) - 1));
}

/* ---- configuration space ---- */

/* Bits of a dword that can be written. */
static u32 writable(u32 offset)
{
	switch (offset) {
	case PCI_COMMAND: return COMMAND_WRITABLE;
	case CACHE_LINE: return 0xff;
	case PCI_BAR0: return ~(VNET_BAR0_LEN - 1);
	case PCI_BAR0 + 4: return ~(VNET_BAR1_LEN - 1);
	case INTERRUPT_LINE: return 0xff;
	case AT_MSIX: return MSIX_WRITABLE;
	case AT_PCI_CFG + 4: return 0xff;
	case AT_PCI_CFG + 8: case AT_PCI_CFG + 12: return ~0u;
	default: return 0;
	}
}

static u32 config_read(void *dev, u32 offset, u32 size)
{
	struct vnet *d = dev;
	(void)size; /* the caller cuts the value */
	if (offset >= sizeof(d->cfg))
		return 0;
	u32 value = offset == PCI_CFG_DATA ? window_read(d) : d->cfg[offset / 4];
	return value >> (offset & 3) * 8;
}

/* Kicks that came without bus mastering found nothing to do. */
static void command_write(struct vnet *d)
{
	bool could = d->command & PCI_COMMAND_MASTER;
	WRITE_ONCE(d->command, d->cfg[PCI_COMMAND / 4]);
	if (could || !(d->command & PCI_COMMAND_MASTER))
		return;
	vnet_rx_kick(d);
	vnet_tx_kick(d);
	vnet_ctrl_kick(d);
}

static void config_write(void *dev, u32 offset, u32 size, u32 value)
{
	struct vnet *d = dev;
	u32 dword = offset & ~3u, shift = (offset & 3) * 8;
	if (offset == PCI_CFG_DATA)
		window_write(d, value);
	if (offset >= sizeof(d->cfg))
		return;
	u32 mask = (u32)((size == 4 ? ~0u : BIT(size * 8) - 1) << shift) & writable(dword), *reg = &d->cfg[dword / 4];
	*reg = (*reg & ~mask) | (value << shift & mask);
	if (dword == PCI_COMMAND || dword == PCI_BAR0 || dword == PCI_BAR0 + 4) {
		command_write(d);
		map_bars(d);
	} else if (dword == AT_MSIX) {
		vnet_msix_control(d, *reg);
	}
}

static const struct vpci_ops config_ops = { .read = config_read, .write = config_write };

static void capability(struct vnet *d, u32 at, u32 next, u8 len, u8 type, u32 offset, u32 length)
{
	struct virtio_pci_cap c = {
		.id = CAP_VENDOR, .next = (u8)next, .len = len, .type = type, .offset = offset, .length = length,
	};
	memcpy(&d->cfg[at / 4], &c, sizeof(c));
}

static void fill(struct vnet *d)
{
	d->cfg[0] = VIRTIO_PCI_NET << 16 | VIRTIO_PCI_VENDOR;
	d->cfg[PCI_COMMAND / 4] = STATUS_CAPABILITIES | PCI_COMMAND_MEM;
	d->cfg[PCI_CLASS_REVISION / 4] = CLASS_ETHERNET | REVISION;
	d->cfg[SUBSYSTEM_ID / 4] = SUBSYSTEM << 16 | VIRTIO_PCI_VENDOR;
	d->cfg[PCI_CAP_PTR / 4] = AT_MSIX;
	d->cfg[AT_MSIX / 4] = (VNET_VECTORS - 1) << 16 | AT_COMMON << 8 | PCI_CAP_ID_MSIX;
	d->cfg[AT_MSIX / 4 + 1] = 0 | 1; /* table: offset | BAR */
	d->cfg[AT_MSIX / 4 + 2] = PBA | 1;
	capability(d, AT_COMMON, AT_ISR, 16, VIRTIO_CAP_COMMON, VNET_COMMON, sizeof(struct virtio_common));
	capability(d, AT_ISR, AT_DEVICE, 16, VIRTIO_CAP_ISR, VNET_ISR, 1);
	capability(d, AT_DEVICE, AT_NOTIFY, 16, VIRTIO_CAP_DEVICE, VNET_DEVICE, DEVICE_LEN);
	capability(d, AT_NOTIFY, AT_PCI_CFG, 20, VIRTIO_CAP_NOTIFY, VNET_NOTIFY, VNET_QUEUES * VNET_NOTIFY_MULTIPLIER);
	d->cfg[AT_NOTIFY / 4 + 4] = VNET_NOTIFY_MULTIPLIER;
	capability(d, AT_PCI_CFG, 0, 20, VIRTIO_CAP_PCI_CFG, 0, 0);
}

/* As a firmware would leave it: BARs assigned and decoded, no bus mastering. */
int vnet_pci_plug(struct vnet *d)
{
	fill(d);
	for (u32 b = 0; b < VNET_BARS; b++) {
		d->cfg[PCI_BAR0 / 4 + b] = vpci_window_alloc(d->vm, bar_len[b]);
		if (!d->cfg[PCI_BAR0 / 4 + b])
			return -ENOSPC;
	}
	int r = vpci_add(d->vm, d->rid, &config_ops, d);
	if (r)
		return r;
	map_bars(d);
	WRITE_ONCE(d->command, d->cfg[PCI_COMMAND / 4]);
	if (d->bar_at[0] && d->bar_at[1])
		return 0;
	vnet_pci_unplug(d);
	return -ENOSPC;
}

void vnet_pci_unplug(struct vnet *d)
{
	vpci_remove(d->vm, d->rid);
	for (u32 b = 0; b < VNET_BARS; b++)
		if (d->bar_at[b])
			vdev_remove(&d->vm->mmio, d->bar_at[b]);
}
