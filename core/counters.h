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

#define COUNT_EXIT_REASONS 80
#define COUNT_HYPERCALLS 64

struct counters {
	u64 exits[COUNT_EXIT_REASONS];        /* VM exits of this VM's own vCPUs, by basic exit reason */
	u64 exits_nested[COUNT_EXIT_REASONS]; /* … taken while the vCPU ran its own guest (vmcs02) */
	u64 reflected[COUNT_EXIT_REASONS];    /* … of those, handed to the VM (our inner) */
	u64 exit_tsc[COUNT_EXIT_REASONS];     /* TSC ticks in our handlers (on Bochs: instructions) */
	u64 hypercalls[COUNT_HYPERCALLS];
	u64 nested_entries;                   /* vmcs02 entries */
	u64 irqs;                             /* interrupts of ours handled while this vCPU was current */
	u64 posted;                           /* interrupts posted to it */
	u64 nic_irqs;                         /* of these, from a NIC port */
	u64 halts;                            /* times it was put to sleep */
};

#define COUNT_PHASES 16
/* Names of the phases, in order of first use, are given by the guest (HC_PHASE). */

#endif
