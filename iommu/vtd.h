/*
 * Inside iommu/: what its files share. Others include iommu/iommu.h only.
 *
 * Invariant: everything here is used under vtd_lock (iommu.c takes it in each public function), except by iommu_init, which
 * runs alone.
 */
#ifndef IOMMU_VTD_H
#define IOMMU_VTD_H

#include "core/spinlock.h"
#include "core/x86.h"
#include "iommu/dmar.h"
#include "iommu/iommu.h"
#include "iommu/vtd_regs.h"

#define VTD_TIMEOUT_US 1000000     /* for any command or invalidation; real hardware takes microseconds */
#define VTD_MAX_DOMAINS 64         /* domain ids 1..64, or fewer if a unit has fewer; id 0 is reserved by Caching Mode */
#define VTD_MAX_DEVICES 64
#define VTD_MAX_VFS 64
#define VTD_IRTE_ORDER 10          /* 1024 interrupts */
#define VTD_IRTES (1u << VTD_IRTE_ORDER)
#define VTD_QI_ENTRIES 256         /* one page, IQA.QS = 0 */
#define VTD_QI_MAX_BATCH 32        /* descriptors of one submission, without the wait */

/* Invalidation queue of one unit. It is empty between submissions: each waits for its own end. */
struct vtd_qi {
	struct vtd_entry *ring;
	u32 *done;                 /* where hardware stores the number of the last finished submission */
	u32 *fence;                /* where inner fences store; nobody reads it */
	u32 tail, seq;
};

struct vtd_unit {
	u32 index;
	u16 segment;
	hpa_t base;
	volatile u8 *regs;
	u64 cap, ecap;
	u32 enables;               /* GCMD's enable bits as we last wrote them */
	bool broken;               /* the queue stopped for good: nothing can be invalidated any more */
	struct vtd_entry *root;
	struct vtd_qi qi;
	int fault_vector;          /* on CPU 0; negative: faults are found by polling only */
};

/* All units as one: a domain must work on each of them. */
struct vtd_machine {
	struct vtd_unit units[DMAR_MAX_UNITS];
	u32 nr_units;
	bool translating, remapping;
	bool eime;                 /* IRTEs hold 32-bit APIC ids */
	bool caching_mode, incoherent; /* of any unit */
	u8 levels, max_leaf;       /* of second-level tables */
	u8 width;                  /* bits of an IOVA */
	u64 leaf_flags;            /* VTD_SL_SNOOP where all units have it */
	u32 max_domains;
	struct vtd_entry *irtes;   /* one table for all units */
	struct iommu_stats stats;
};
extern struct vtd_machine vtd;
/* Protects all of iommu/: units, queues, tables, domains, attachments, IRTEs, fault counts. */
extern spinlock_t vtd_lock;

static inline u32 vtd_read32(const struct vtd_unit *u, u32 reg) { return mmio_read32(u->regs + reg); }
static inline u64 vtd_read64(const struct vtd_unit *u, u32 reg) { return mmio_read64(u->regs + reg); }
static inline void vtd_write32(const struct vtd_unit *u, u32 reg, u64 v) { mmio_write32(u->regs + reg, (u32)v); }
static inline void vtd_write64(const struct vtd_unit *u, u32 reg, u64 v) { mmio_write64(u->regs + reg, v); }

/* ---- vtd_unit.c: registers, root and context tables of one unit ---- */
/* Map the registers and read the capabilities. 0, -ENODEV (nobody there), -ENOMEM. */
int vtd_unit_probe(struct vtd_unit *u, u32 index, const struct dmar_unit *d) __must_check;
/* Take the unit over from whatever state it is in; on 0 it translates with no device present. -EIO, -ETIMEDOUT, -ENOMEM. */
int vtd_unit_start(struct vtd_unit *u) __must_check;
/* Interrupt remapping on, with vtd.irtes. Needs vtd_unit_start. */
int vtd_unit_remap(struct vtd_unit *u) __must_check;
/* Back to no translation and no remapping, as far as the unit still obeys. Before any device was made present. */
void vtd_unit_stop(struct vtd_unit *u);
/* Make what was written to an entry visible to a unit that does not snoop. */
void vtd_publish(const void *p, u64 len);
/* Needed after entries became present where nothing is invalidated (CAP.RWBF). */
int vtd_write_buffer_flush(struct vtd_unit *u) __must_check;
/* Context entry of rid. Set: -ENOMEM, -EIO; it was not present before. Clear: -EIO if a flush did not finish. */
int vtd_context_set(struct vtd_unit *u, rid_t rid, hpa_t tables, u32 levels, u16 domain_id) __must_check;
int vtd_context_clear(struct vtd_unit *u, rid_t rid, u16 domain_id) __must_check;

/* ---- vtd_qi.c ---- */
/* Memory for the queue; then arm it (queue off). */
int vtd_qi_alloc(struct vtd_unit *u) __must_check;
void vtd_qi_free(struct vtd_unit *u);
void vtd_qi_reset(struct vtd_unit *u);
/* Submit n <= VTD_QI_MAX_BATCH descriptors and wait for their end. 0 or -EIO: at least one was not carried out. */
int vtd_qi_submit(struct vtd_unit *u, const struct vtd_entry *d, u32 n) __must_check;
/* A descriptor for inside a batch: what follows begins only when what precedes is done. */
struct vtd_entry vtd_qi_fence(const struct vtd_unit *u);

/* ---- devices.c: which unit and domain a device belongs to ---- */
struct vtd_device {
	struct iommu_domain *domain; /* NULL: slot is free */
	struct vtd_unit *unit;
	rid_t rid;
	bool reserved;               /* attached for an RMRR only: gives way to a real attachment */
	bool stuck;                  /* its detach did not finish; only iommu_isolate ends it */
};
void vtd_devices_reset(const struct dmar *d);
struct vtd_unit *vtd_unit_of(rid_t rid);
/* The unit that remaps an I/O APIC's interrupts, and the requester ID that they have there. NULL: the DMAR names no such I/O APIC. */
struct vtd_unit *vtd_unit_of_ioapic(u8 id, rid_t *rid);
struct vtd_device *vtd_device_find(rid_t rid);
int vtd_device_attach(struct iommu_domain *d, rid_t rid, bool reserved) __must_check;
int vtd_device_detach(struct vtd_device *dev) __must_check;
/* Bus mastering off and context entry cleared. True if the device can no longer reach memory; it is then detached. */
bool vtd_device_isolate(rid_t rid) __must_check;
int vtd_vf_declare(rid_t vf, rid_t pf) __must_check;
u32 vtd_devices_count(void);
/* Give every device that firmware reserved memory for a domain with just that. */
void vtd_reserve_regions(const struct dmar *d);

/* ---- domain.c ---- */
struct iommu_domain {
	bool used;
	bool reserved;                 /* holds what firmware reserved; not counted */
	bool tainted;                  /* a flush failed: the id may live on in some cache and is never given out again */
	u16 id;
	u32 devices;                   /* attached, all units */
	u32 on_unit[DMAR_MAX_UNITS];   /* attached, by unit */
	void *vm;
	struct ptab tables;
};
void vtd_domains_reset(void);
struct iommu_domain *vtd_domain_create(void *vm, struct mem_owner *owner);
void vtd_domain_destroy(struct iommu_domain *d);
int vtd_domain_map(struct iommu_domain *d, const struct iommu_range *r, u32 n) __must_check;
int vtd_domain_unmap(struct iommu_domain *d, const struct iommu_range *r, u32 n) __must_check;
/* One identity range that firmware asks for; not RAM. */
int vtd_domain_map_reserved(struct iommu_domain *d, u64 base, u64 len) __must_check;
u32 vtd_domains_count(void);

/* ---- irte.c ---- */
void vtd_irtes_reset(void);
int vtd_irte_alloc(rid_t rid) __must_check;
int vtd_irte_alloc_ioapic(u8 id) __must_check;
int vtd_irte_set(int handle, u32 apic_id, u8 vector) __must_check;
int vtd_irte_mask(int handle) __must_check;
void vtd_irte_free(int handle);
bool vtd_irte_valid(int handle);
u32 vtd_irtes_count(void);

/* ---- faults.c ---- */
void vtd_faults_reset(void);
/* Forget what was recorded before our time, and ask for interrupts. */
void vtd_faults_enable(struct vtd_unit *u);
void vtd_faults_disable(struct vtd_unit *u);
void vtd_faults_poll(struct vtd_unit *u);
u64 vtd_faults_of(const void *vm);
void vtd_faults_forget(const void *vm);
void vtd_faults_set_namer(const char *(*namer)(void *vm));

#endif
