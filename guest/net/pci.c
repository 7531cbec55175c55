/*
 * The emulated device by ECAM (pci.h; PCI Local Bus Specification 3.0, Configuration Space; MSI-X Capability and Table Structures).
 */
#include "guest/net/pci.h"

#include "guest/lib/x86.h"
#include "nic/virtio_pci.h"

#define COMMAND 4
#define COMMAND_MEM BIT(1)
#define COMMAND_MASTER BIT(2)
#define COMMAND_INTX_DISABLE BIT(10)
#define COMMAND_QUIET (COMMAND_MEM | COMMAND_INTX_DISABLE)
#define BAR(i) (0x10 + 4 * (i))
#define BAR_IO BIT(0)
#define BAR_TYPE BITS(2, 1)
#define CAP_MSIX 0x11
#define MSIX_CONTROL 2
#define MSIX_CONTROL_SIZE BITS(10, 0)
#define MSIX_CONTROL_ENABLE BIT(15)
#define MSIX_TABLE 4
#define MSIX_TABLE_BAR1 1u  /* at its beginning */
#define ENTRY_LEN 16
#define ENTRY_ADDR_LOW 0
#define ENTRY_ADDR_HIGH 4
#define ENTRY_DATA 8
#define ENTRY_CONTROL 12

static u32 config_read(void *arg, u32 offset) { return mmio_read32(((const struct pci_device *)arg)->config + offset); }

static u32 find_cap(struct pci_device *d, u8 id)
{
	u32 cap = config_read(d, COMMAND) >> 16 & 0x10 ? config_read(d, 0x34) & 0xfc : 0;

	for (u32 n = 0; n < 48 && cap >= 0x40; n++) { /* a longer list is a loop */
		u32 head = config_read(d, cap);
		if ((head & 0xff) == id)
			return cap;
		cap = head >> 8 & 0xfc;
	}
	return 0;
}

/* The level below has given it a place, as firmware does; where it has not, each function gets one of its own. */
static volatile u8 *bar(struct pci_device *d, u32 i)
{
	u32 low = config_read(d, BAR(i));

	if (low & (BAR_IO | BAR_TYPE))
		return NULL;
	if (!(low & ~0xfu)) {
		mmio_write32(d->config + BAR(i), (u32)PCI_WINDOW_BASE + (u32)d->rid * 2 * VNET_BAR0_LEN + i * VNET_BAR0_LEN);
		low = config_read(d, BAR(i));
	}
	return low & ~0xfu ? (volatile u8 *)(u64)(low & ~0xfu) : NULL;
}

static bool lies_at(const struct virtio_places *p, u32 kind, u32 offset)
{
	return p->at[kind].bar == 0 && p->at[kind].offset == offset;
}

static bool laid_out(struct pci_device *d)
{
	struct virtio_places p;

	return !virtio_find(config_read, d, &p) && lies_at(&p, VIRTIO_CAP_COMMON, VNET_COMMON) &&
	       lies_at(&p, VIRTIO_CAP_ISR, VNET_ISR) && lies_at(&p, VIRTIO_CAP_DEVICE, VNET_DEVICE) &&
	       lies_at(&p, VIRTIO_CAP_NOTIFY, VNET_NOTIFY) && p.notify_multiplier == VNET_NOTIFY_MULTIPLIER;
}

static void msix_on(struct pci_device *d, bool on)
{
	mmio_write16(d->config + d->msix_cap + MSIX_CONTROL, on ? MSIX_CONTROL_ENABLE : 0);
}

int pci_open(u16 rid, struct pci_device *d)
{
	*d = (struct pci_device){ .rid = rid, .config = (volatile u8 *)(PCI_ECAM_BASE + ((u64)rid << 12)) };
	if (config_read(d, 0) != (VIRTIO_PCI_NET << 16 | VIRTIO_PCI_VENDOR) || !laid_out(d))
		return -ENODEV;
	d->msix_cap = find_cap(d, CAP_MSIX);
	if (!d->msix_cap || config_read(d, d->msix_cap + MSIX_TABLE) != MSIX_TABLE_BAR1)
		return -ENODEV;
	d->msix_nr = (u32)FIELD_GET(MSIX_CONTROL_SIZE, config_read(d, d->msix_cap) >> 16) + 1;
	d->bar0 = bar(d, 0);
	d->bar1 = bar(d, 1);
	if (!d->bar0 || !d->bar1)
		return -ENODEV;
	msix_on(d, false);
	mmio_write16(d->config + COMMAND, COMMAND_QUIET | COMMAND_MASTER);
	return 0;
}

void pci_close(struct pci_device *d)
{
	msix_on(d, false);
	mmio_write16(d->config + COMMAND, COMMAND_QUIET);
}

static volatile u8 *entry(const struct pci_device *d, u32 i, u32 field) { return d->bar1 + i * ENTRY_LEN + field; }

void pci_msix_mask(struct pci_device *d, u32 index, bool masked)
{
	if (index < d->msix_nr)
		mmio_write32(entry(d, index, ENTRY_CONTROL), masked);
}

int pci_msix_set(struct pci_device *d, u32 index, u8 vector, u32 apic_id)
{
	if (index >= d->msix_nr || apic_id > 255 || vector < 16)
		return -EINVAL;
	pci_msix_mask(d, index, true);
	mmio_write32(entry(d, index, ENTRY_ADDR_LOW), 0xfee00000u | apic_id << 12);
	mmio_write32(entry(d, index, ENTRY_ADDR_HIGH), 0);
	mmio_write32(entry(d, index, ENTRY_DATA), vector);
	msix_on(d, true);
	pci_msix_mask(d, index, false);
	return 0;
}
