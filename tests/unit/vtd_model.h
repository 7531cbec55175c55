/*
 * A model of VT-d units for unit tests: registers, caches that keep everything until they are told otherwise, tables walked
 * as the specification says. It is stricter and lazier than any hardware, so that a missing flush shows at once.
 *
 * vtd_stubs.c stands for the core around it: memory, PCI, ACPI, interrupts, the console.
 */
#ifndef UNIT_VTD_MODEL_H
#define UNIT_VTD_MODEL_H

#include "core/mem.h"
#include "core/pci.h"
#include "core/types.h"
#include "iommu/vtd_regs.h"

#define MODEL_UNITS 2
#define MODEL_BASE(i) (0xfed90000ull + (i) * 0x1000)
#define MODEL_CAP 0x00d2008c222f0606ull /* QEMU's intel-iommu as measured */
#define MODEL_ECAP 0xf00f5bull          /* with EIM, coherent */
#define MODEL_PASSED 0                  /* otherwise a fault reason */
#define MODEL_CACHE 4096

struct model {
	u64 regs[4096 / 8];
	u64 root, irta, ring;        /* as latched by SRTP, SIRTP, QIE */
	/* knobs */
	u32 deaf_commands;           /* GCMD bits without effect */
	bool deaf_queue;             /* the queue never advances */
	u32 deaf_types;              /* descriptors of these types (bit set) are taken but change nothing */
	u32 refused_types;           /* … stop the queue with an error */
	rid_t storm;                 /* not 0: a device that faults twice whenever the unit can record again */
	/* what was seen */
	u32 violations;              /* of the rules for software */
	const char *violation;
	u32 events;                  /* fault-event messages sent */
	/* caches */
	struct { bool valid, present; u16 rid, did; u64 lo, hi; } contexts[64];
	struct { bool valid; u16 did; u64 iova, size, entry; } tlb[MODEL_CACHE];
	struct { bool valid; u64 lo, hi; } irtes[1 << 16];
	u32 next_context, next_tlb;
};
extern struct model models[MODEL_UNITS];

/* Power on. */
void model_reset(struct model *m, u64 cap, u64 ecap);
/* A device accesses memory: MODEL_PASSED and the address, or the reason of the fault, which is recorded. */
u32 model_dma(struct model *m, rid_t rid, u64 iova, bool write, u64 *hpa);
/* A device sends an interrupt message. */
u32 model_msi(struct model *m, rid_t rid, u64 addr, u32 data, u32 *apic_id, u8 *vector);
u32 model_reg32(const struct model *m, u32 reg);

/* ---- vtd_stubs.c ---- */
struct stub_state {
	struct mem_owner vm_owner;
	u64 fail_after;              /* page allocations until the next fails; 0 = never */
	void (*on_failure)(void);    /* what happens at that moment, on the other side of the unit */
	u64 ram_end;                 /* "RAM" is 1 MiB .. ram_end, but for the hole 3..4 GiB */
	const void *dmar;            /* what acpi_find gives */
	struct pci_dev pci[8];
	u32 nr_pci;
	u16 command[0x10000];        /* PCI COMMAND by requester ID */
	u16 deaf_rid;                /* its COMMAND reads all ones */
	bool quiesced, x2apic, no_vectors;
	u32 clflushes;
	void (*irq_fn)(void *arg, u8 vector);
	void *irq_arg;
	struct timer *timer;         /* armed */
	u32 timers;                  /* armed so far */
	char log[1 << 16];
	u32 log_lines;
};
extern struct stub_state stub;
void stub_reset(void);
bool stub_logged(const char *text);
/* Let the armed timer expire. False: none is armed. */
bool stub_timer(void);

#endif
