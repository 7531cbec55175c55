/*
 * The emulated device of a port on the VM's PCI bus, as far as the shell needs it: found by ECAM, its BARs, bus mastering, its
 * MSI-X table.
 *
 * Invariant: what pci_open accepts is laid out as in nic/virtio.h, so that the virtio plugin can drive it. A table entry is written
 * while it is masked. All registers lie below 4 GiB, where the guest maps them uncached (virtual = physical).
 */
#ifndef GUEST_NET_PCI_H
#define GUEST_NET_PCI_H

#include "core/errno.h"
#include "core/types.h"

#define PCI_ECAM_BASE 0xe0000000ull   /* core/README.md, The guest's platform; the MCFG says the same */
#define PCI_WINDOW_BASE 0xc0000000ull /* for BARs */

struct pci_device {
	u16 rid;
	volatile u8 *config;         /* its 4 KiB of configuration space */
	volatile u8 *bar0, *bar1;    /* registers; MSI-X table */
	u32 msix_cap, msix_nr;
};

/*
 * rid: bus << 8 | device << 3 | function, as nest_nic_info.emu_rid. Decoding and bus mastering on, MSI-X off. -ENODEV (no such
 * function, another device, or laid out otherwise).
 */
int pci_open(u16 rid, struct pci_device *d);
/* MSI-X and bus mastering off: no memory is written and no interrupt sent afterwards. */
void pci_close(struct pci_device *d);
/* Entry `index` raises `vector` on the CPU with that APIC id (< 256), unmasked; MSI-X on. -EINVAL (no such entry, id or vector). */
int pci_msix_set(struct pci_device *d, u32 index, u8 vector, u32 apic_id);
void pci_msix_mask(struct pci_device *d, u32 index, bool masked);

#endif
