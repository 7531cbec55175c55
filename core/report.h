/*
 * Phases and reports: snapshots of all counters, printed as @report JSON lines (what they contain: report.c).
 */
#ifndef CORE_REPORT_H
#define CORE_REPORT_H

#include "core/vm.h"

/* Register our hypercalls (HC_PHASE, HC_REPORT). */
void report_init(void);
/*
 * Begin a phase on this level, and outward (order: report.c). name: at most 31 characters, copied. 0, -ENOSPC, -ENOMEM (the caller's
 * own memory). Counts of another VM that has no memory left for them go to a later phase.
 */
int report_phase(struct vm *caller, u32 phase, const char *name);
/*
 * Print what this level counted since the last print, per VM and phase: what is printed adds up. Called by HC_REPORT and
 * when a VM ends.
 */
void report_print(void);
/* Free what was kept for a VM that goes. */
void report_forget(struct vm *vm);
/* Extra sections that other modules print with the report (iommu, nic): called with nothing held. At most 8. */
void report_add_section(void (*fn)(void));
/* Names of basic exit reasons, from vmx/ (upward table). */
void report_set_exit_namer(const char *(*fn)(u32 reason));
/* "?" where there is none. */
const char *report_exit_name(u32 reason);
/* Called once, when a guest begins the first phase: it is up. With the reports locked. */
void report_on_first_phase(void (*fn)(void));

#endif
