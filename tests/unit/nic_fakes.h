/*
 * What nic/ stands on, for its unit tests: PCI, IOMMU, interrupts, timers, memory, with books that show what was not given back and
 * with failures on demand. "Physical" addresses are addresses of the test.
 */
#ifndef TESTS_UNIT_NIC_FAKES_H
#define TESTS_UNIT_NIC_FAKES_H

#include "core/config.h"
#include "core/vm.h"
#include "iommu/iommu.h"
#include "nic/nic.h"

/* Books: all zero again when everything was given back. */
struct fake_balance { int pages, domains, attached, irtes, vectors, lent; };
extern struct fake_balance fake_balance;

/* Answers. err_*: returned once by the next call of that kind, if not 0. */
struct fake_answers {
	bool no_domain, no_iommu;
	int err_attach, err_detach, err_map, err_unmap, err_irq_alloc, err_irq_set, err_flr, err_vector, err_arm;
	bool idle; /* the vCPUs do not run and have their vectors waiting */
	bool not_isolated;
	u32 *pending, late_irqs;   /* pending bits, which a reset clears; so many resets leave some behind all the same */
	const char *fault;         /* the point of that name (core/fault.h) fails, once */
};
extern struct fake_answers fake;

/* What was seen. */
struct fake_seen {
	u32 maps, unmaps, isolated, flrs, vms_ended, flushes, timers, waits;
	u32 irte_apic[16];
	u8 irte_vector[16];
	u16 command[8];            /* PCI COMMAND by function number / 2 of bus 1 device 16.. */
	u32 lines;                 /* of the log, … */
	char last_line[256];       /* … the last one */
	char last_report[512];
};
extern struct fake_seen seen;

/* Deliver a vector that irq_alloc gave out. False: nobody has it. */
bool fake_irq(u32 cpu, int vector);
/* Let the last armed timer expire. False: none is armed. */
bool fake_timer(void);
/* When it would; ~0: none is armed. */
u64 fake_deadline(void);
void fakes_reset(void);

/* A VM with `mib` MiB of RAM in two pieces that are not contiguous for us, on CPU 0 and 1. */
struct vm *fake_vm(const char *name, u32 mib, const struct vm_config *cfg);
void fake_vm_free(struct vm *vm);
/* Its RAM as we see it. */
u8 *fake_vm_ram(struct vm *vm, u64 gpa);

/* vCPUs and what was posted to them. */
extern struct vcpu_core fake_vcpus[2];
extern u8 fake_own_vector[2];
extern u32 fake_own_posts[2], fake_direct_posts;
extern hpa_t fake_running_pi;      /* post_direct succeeds for this descriptor */
/* What is lent to vCPUs, for their own VMCS and for their guest's; balance: fake_balance.lent. */
struct fake_lent { bool on; u8 vector, host_vector; hpa_t page; };
extern struct fake_lent fake_lent[2][2];

#endif
