/*
 * Workloads: what a bare word on the command line runs.
 *
 * Invariant: a workload returns how many of its checks failed (0 = well), gives back what it took, and prints nothing
 * while a phase that must be free of exits runs.
 */
#ifndef GUEST_WORK_WORK_H
#define GUEST_WORK_WORK_H

#include "guest/lib/cmdline.h"

struct work {
	const char *name;
	u32 (*run)(const struct cmdline *c);
	const char *help;
};

u32 work_echo(const struct cmdline *c);
u32 work_ping(const struct cmdline *c);
u32 work_blast(const struct cmdline *c);
u32 work_mesh(const struct cmdline *c);
u32 work_switch(const struct cmdline *c);
u32 work_inject(const struct cmdline *c);
u32 work_die(const struct cmdline *c);
u32 work_cycle(const struct cmdline *c);
u32 work_state(const struct cmdline *c);
u32 work_tscloop(const struct cmdline *c);
u32 work_exits(const struct cmdline *c);
u32 work_inner(const struct cmdline *c);
u32 work_inner_sipi(const struct cmdline *c);
u32 work_torture(const struct cmdline *c);
u32 work_torture_nic(const struct cmdline *c);
u32 work_torture_post(const struct cmdline *c);
u32 work_inherit(const struct cmdline *c);
u32 work_torture_virtio(const struct cmdline *c);
u32 work_torture_virtio_end(const struct cmdline *c);
u32 work_vtivar(const struct cmdline *c);
u32 work_torture_vmx(const struct cmdline *c);
u32 work_attack(const struct cmdline *c);
u32 work_spin(const struct cmdline *c);
u32 work_hlt(const struct cmdline *c);
u32 work_armed(const struct cmdline *c);
u32 work_triplefault(const struct cmdline *c);
u32 work_exception(const struct cmdline *c);
u32 work_nowhere(const struct cmdline *c);
u32 work_smp_level(const struct cmdline *c);
u32 work_smp_cli_hlt(const struct cmdline *c);
u32 work_smp_spin(const struct cmdline *c);
u32 work_smp_post(const struct cmdline *c);
u32 work_smp_storm(const struct cmdline *c);
u32 work_wake(const struct cmdline *c);
u32 work_real_mode(const struct cmdline *c);
u32 work_xcr0(const struct cmdline *c);

/* Phases by name (HC_PHASE): all workloads use these. */
#define PHASE_BOOT "boot"
#define PHASE_CONTROL "control"
#define PHASE_TRAFFIC "traffic"
#define PHASE_END "end"

/* One line "PASS name" or "FAIL name"; returns 1 for a failure. */
u32 work_check(bool ok, const char *name);
/* The same for a hypercall's result. */
u32 work_check_result(s64 got, s64 want, const char *name);

/* Samples of the fixed-length loop: no sample costs an exit or prints. */
struct tsc_samples { u64 rounds, samples, exact, seen_min, seen_max, seen_sum; };
void tsc_sample(struct tsc_samples *t);
void tsc_samples_report(const struct tsc_samples *t, const char *who);

#endif
