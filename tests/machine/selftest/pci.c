/*
 * PCI Express configuration by ECAM.
 */
#include "tests/machine/selftest/selftest.h"

#define PCI_CAP_FIRST 0x34
#define PCI_EXT_FIRST 0x100
#define BAR_IS_64     4
#define MSI_REMAPPABLE 0x10   /* VT-d 3.4, Interrupt Requests in Remappable Format */
#define MSIX_ENABLE   0x8000

u64 pci_cfg(u32 bdf, u32 reg)
{
	return platform.ecam + ((u64)bdf << 12) + reg;
}

u32 pci_find_device(u32 id)
{
	for (u32 bdf = 0; bdf < 0x1000; bdf++)
		if (read32(pci_cfg(bdf, 0)) == id)
			return bdf;
	return 0;
}

u32 pci_find_cap(u32 bdf, u8 id)
{
	u32 reg = read8(pci_cfg(bdf, PCI_CAP_FIRST));

	while (reg && read8(pci_cfg(bdf, reg)) != id)
		reg = read8(pci_cfg(bdf, reg + 1));
	return reg;
}

u32 pci_find_ext_cap(u32 bdf, u16 id)
{
	u32 reg = PCI_EXT_FIRST;

	while (reg && read16(pci_cfg(bdf, reg)) != id)
		reg = read32(pci_cfg(bdf, reg)) >> 20;
	return reg;
}

u64 pci_bar(u32 bdf, u32 reg)
{
	u32 low = read32(pci_cfg(bdf, reg));
	u64 a = low & ~0xFu;

	if (low & BAR_IS_64)
		a |= (u64)read32(pci_cfg(bdf, reg + 4)) << 32;
	return a;
}

void pci_msix_remapped(u32 bdf, u64 table_bar, u32 handle)
{
	u32 cap = pci_find_cap(bdf, PCI_CAP_MSIX);
	u64 entry = table_bar + (read32(pci_cfg(bdf, cap + 4)) & ~7u);

	write32(entry, 0xFEE00000 | MSI_REMAPPABLE | handle << 5);
	write32(entry + 4, 0);
	write32(entry + 8, 0);
	write32(entry + 12, 0);
	write16(pci_cfg(bdf, cap + 2), MSIX_ENABLE);
}

void pci_msix_off(u32 bdf)
{
	write16(pci_cfg(bdf, pci_find_cap(bdf, PCI_CAP_MSIX) + 2), 0);
}
