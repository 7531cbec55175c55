/*
 * Exact counts, per vCPU and per phase (DESIGN, What is measured).
 *
 * Invariant: a counter is written by one CPU only (its vCPU's) or is atomic; a phase's figures are differences of two
 * snapshots, so nothing is reset while it runs.
 */
#ifndef CORE_COUNTERS_H
#define CORE_COUNTERS_H

#include "core/abi.h"
#include "core/types.h"

#define COUNT_EXIT_REASONS 72 /* of those beyond, all in the last place */
#define COUNT_FAST_REASONS 64
#define COUNT_HYPERCALLS 64

struct counters {
	u64 exits[COUNT_EXIT_REASONS];        /* VM exits of this VM's own vCPUs, by basic exit reason */
	u64 exits_nested[COUNT_EXIT_REASONS]; /* … taken while the vCPU ran its own guest (vmcs02) */
	u64 reflected[COUNT_EXIT_REASONS];    /* … of those, handed to the VM (our inner) */
	u64 exit_tsc[COUNT_EXIT_REASONS];     /* TSC ticks in our handlers (on Bochs: instructions) */
	u64 fast[COUNT_FAST_REASONS];         /* of exits, those that vmx/exit_fast.c dealt with; in a vCPU only here */
	u64 fast_nested[COUNT_FAST_REASONS];  /* the same of exits_nested */
	u64 hypercalls[COUNT_HYPERCALLS];
	u64 nested_entries;                   /* vmcs02 entries */
	u64 irqs;                             /* interrupts of ours handled while this vCPU was current */
	u64 posted;                           /* interrupts posted to it */
	u64 nic_irqs;                         /* of these, from a NIC port */
	u64 halts;                            /* times it was put to sleep */
};

/* From a sum of vCPUs' counters: exits and exits_nested are all of them from now on. */
static inline void counters_add_fast(struct counters *c)
{
	for (u32 i = 0; i < COUNT_FAST_REASONS; i++) {
		c->exits[i] += c->fast[i];
		c->exits_nested[i] += c->fast_nested[i];
	}
}

#define COUNT_PHASES 16
/* Names of the phases, in order of first use, are given by the guest (HC_PHASE). */

#endif
