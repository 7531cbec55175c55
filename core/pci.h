/*
 * PCI Express by ECAM (PCIe Base Specification, PCI Express Enhanced Configuration Access Mechanism); config
 * mechanism 1 only where there is no MCFG.
 */
#ifndef CORE_PCI_H
#define CORE_PCI_H

#include "core/types.h"

/* Requester ID: bus[15:8] device[7:3] function[2:0] (segment 0). */
typedef struct { u16 v; } rid_t;
#define RID(bus, dev, fn) ((rid_t){ (u16)((bus) << 8 | (dev) << 3 | (fn)) })
#define RID_FMT "%02x:%02x.%x"
#define RID_ARG(r) (r).v >> 8, (r).v >> 3 & 31, (r).v & 7

#define PCI_COMMAND 4
#define PCI_COMMAND_IO BIT(0)
#define PCI_COMMAND_MEM BIT(1)
#define PCI_COMMAND_MASTER BIT(2)
#define PCI_COMMAND_INTX_DISABLE BIT(10)
#define PCI_STATUS 6
#define PCI_CLASS_REVISION 8
#define PCI_HEADER_TYPE 0xe
#define PCI_BAR0 0x10
#define PCI_PRIMARY_BUS 0x18
#define PCI_SUBSYSTEM_VENDOR 0x2c
#define PCI_CAP_PTR 0x34
#define PCI_CAP_ID_MSI 5
#define PCI_CAP_ID_EXP 0x10
#define PCI_CAP_ID_MSIX 0x11
#define PCI_EXT_CAP_ID_ACS 0xd
#define PCI_EXT_CAP_ID_ARI 0xe
#define PCI_EXT_CAP_ID_SRIOV 0x10

struct pci_dev {
	rid_t rid;
	u16 vendor, device;
	u32 class_code;      /* class[23:16] subclass[15:8] interface[7:0] */
	u8 header_type;      /* without the multi-function bit */
	u8 secondary, subordinate; /* bridges */
	s32 parent;          /* index of the bridge above, -1 on the root bus */
};

/* Map ECAM and enumerate all functions on all buses. Boot CPU, once. Returns the number of functions, -ENODEV. */
int pci_init(void);
/* False: configuration by ports, so no extended capabilities (SR-IOV is one). */
bool pci_has_ecam(void);
u32 pci_count(void);
const struct pci_dev *pci_get(u32 i);
const struct pci_dev *pci_find_rid(rid_t rid);
/* Clear bus mastering everywhere (bridges keep it) and disable INTx: nothing may DMA from here on. */
void pci_quiesce_all(void);

u8 pci_read8(rid_t r, u16 off);
u16 pci_read16(rid_t r, u16 off);
u32 pci_read32(rid_t r, u16 off);
void pci_write8(rid_t r, u16 off, u8 v);
void pci_write16(rid_t r, u16 off, u16 v);
void pci_write32(rid_t r, u16 off, u32 v);
/* Offset of a capability or 0; bounded walk, a loop in the list ends it. */
u16 pci_find_cap(rid_t r, u8 id);
u16 pci_find_ext_cap(rid_t r, u16 id);
/* Address and size of a memory BAR at config offset `off` (0x10.. or inside the SR-IOV capability). 0, -EINVAL (I/O or unset). */
int pci_bar(rid_t r, u16 off, hpa_t *base, u64 *size);
/*
 * Have every port above a function send requests of its subtree up to the root complex, and so through the IOMMU, instead of across to
 * a neighbour. A port that cannot is named on the console. For what VMs will own, before they do.
 */
void pci_acs_enable(rid_t r);
/* Function-level reset by the PCIe capability, with the specified wait. 0, -ENOTSUP, -ETIMEDOUT. */
int pci_flr(rid_t r);

#endif
