/*
 * The IOMMU: which device may reach which memory, and which interrupt it may raise. The only header of iommu/ that
 * others include; VT-d behind it.
 *
 * Invariant: from iommu_init on, a device reaches exactly what an attached domain maps (default deny), and every
 * interrupt that arrives was sent by the device that owns its IRTE. IOVA FEE00000-FEEFFFFF is never mapped.
 */
#ifndef IOMMU_IOMMU_H
#define IOMMU_IOMMU_H

#include "core/mem.h"
#include "core/pci.h"
#include "core/types.h"

#define IOMMU_READ BIT(0)
#define IOMMU_WRITE BIT(1)

struct iommu_domain; /* one address space for devices; belongs to one VM's port, or to a driver of ours */

/* What there is; for messages and policy. */
struct iommu_info {
	bool present;           /* at least one DRHD, translation on */
	bool remapping;         /* interrupt remapping on: without it there is no pass-through */
	bool x2apic;            /* EIM */
	bool caching_mode;
	u32 units;
	const char *why_not;    /* human-readable reason while present or remapping is false */
};

/*
 * Parse DMAR, quiesce all bus mastering, take over every unit, turn translation and interrupt remapping on with no
 * mapping at all (RMRRs mapped for their own device only). Boot CPU, once, after pci_init. 0, -ENODEV (no DMAR: the
 * machine goes on without pass-through), -EINVAL (corrupt DMAR, said so), -EIO/-ETIMEDOUT (a unit does not obey).
 */
int iommu_init(void);
const struct iommu_info *iommu_info(void);

/*
 * New empty domain. vm: the VM to which faults are charged (struct vm, NULL = ourselves). owner pays for tables.
 * NULL: no memory or no domain ids left. Caller: NIC drivers.
 */
struct iommu_domain *iommu_domain_create(void *vm, struct mem_owner *owner) __must_check;
/* Detach must have happened for every device. */
void iommu_domain_destroy(struct iommu_domain *d);

/* One piece of a mapping list; all 4 KiB aligned. */
struct iommu_range { iova_t iova; hpa_t hpa; u64 len; u32 perm; };
/*
 * Map a list of ranges with at most one invalidation wait. All or nothing. 0; -EINVAL (alignment, length 0, wraps, beyond
 * the unit's width, touches FEE00000-FEEFFFFF, hpa not RAM), -EEXIST (part is mapped already), -ENOMEM, -EIO.
 */
int iommu_map(struct iommu_domain *d, const struct iommu_range *r, u32 n) __must_check;
/*
 * Unmap a list (iova and len used; holes are allowed); the hardware no longer uses the pages when this returns 0. -EINVAL,
 * -EIO (see below), -ENOMEM (part of a large mapping goes and there is no memory to split it: unmapped up to that range).
 */
int iommu_unmap(struct iommu_domain *d, const struct iommu_range *r, u32 n) __must_check;

/*
 * Let a device (requester ID; a VF's own) use the domain. 0, -ENODEV (no unit covers it), -EBUSY (attached already), -ENOMEM,
 * -EIO. Detaching what is not attached to d: -ENODEV.
 * Detach: context entry cleared, caches flushed and drained before it returns 0. A flush that does not finish returns -EIO:
 * the caller must disable the device and never reuse its pages.
 */
int iommu_attach(struct iommu_domain *d, rid_t rid) __must_check;
int iommu_detach(struct iommu_domain *d, rid_t rid) __must_check;
/*
 * After -EIO from unmap or detach: bus mastering of the device off, nothing pending, context entry cleared. True: it can reach
 * memory no more and counts as detached, so the domain may be destroyed. False: isolation cannot be had (the caller panics).
 */
bool iommu_isolate(rid_t rid) __must_check;
/*
 * Say which physical function a virtual function belongs to, before the first attach or interrupt of the VF: it is then covered
 * by the PF's unit, whatever bus it is on. 0, -ENOSPC.
 */
int iommu_vf_declare(rid_t vf, rid_t pf) __must_check;

/*
 * Interrupts. An IRTE for one device: fixed, edge, physical destination; the source ID is verified (VT-d, Interrupt
 * Remapping). Returns a handle (index) or -ENOSPC, -ENODEV, -ENOTSUP (no remapping).
 */
int iommu_irq_alloc(rid_t rid) __must_check;
/* The same for the I/O APIC with that id, whose requester ID the DMAR names; -ENODEV if it does not. */
int iommu_irq_alloc_ioapic(u8 id) __must_check;
/* Point the IRTE at (apic id, vector); the entry cache is flushed. 0, -EINVAL, -EIO. */
int iommu_irq_set(int handle, u32 apic_id, u8 vector) __must_check;
/* Not present: the interrupt is blocked. */
int iommu_irq_mask(int handle) __must_check;
void iommu_irq_free(int handle);
/* What to write into the device's MSI/MSI-X entry for this handle (remappable format). */
void iommu_irq_message(int handle, u64 *addr, u32 *data);

/* Handle pending fault records: log by device, reason, address; rate-limited; counted for the domain's VM. Called from irq_poll. */
void iommu_faults_poll(void);
/* How a fault message names a VM. The function takes no locks. Without it VMs are not named. */
void iommu_set_vm_namer(const char *(*namer)(void *vm));
struct iommu_stats { u64 maps, unmaps, invalidations, waits, faults, irte_writes; };
void iommu_stats(struct iommu_stats *out);
/* Faults charged to one VM so far, what is pending included; kept when its domains go, until it is forgotten. */
u64 iommu_faults_of(const void *vm);
/* The VM is gone: its address may come back as another's. */
void iommu_forget_vm(const void *vm);
/* Live objects, for balance checks: domains, attached devices, IRTEs in use. */
struct iommu_balance { u32 domains, devices, irtes; };
void iommu_balance(struct iommu_balance *out);

#endif
