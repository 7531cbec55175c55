/*
 * The scheduler: each CPU runs the vCPUs pinned to it, round robin; nothing ever moves.
 *
 * Invariant: a CPU's ring of vCPUs is changed under the ring's lock only; a slice (timer and VMX preemption timer) runs only
 * while more than one of them is runnable, so a vCPU that is alone on its CPU is never interrupted by us. Who is chosen runs for TURN_US
 * at least if it wants to, however often others are woken.
 */
#ifndef VMX_SCHED_H
#define VMX_SCHED_H

#include "vmx/vcpu.h"

/* The loop of this CPU: runs its vCPUs, halts when none can. Returns when no VM is left. */
void sched_run(void);
/* Pin a new vCPU to its CPU. */
void sched_add(struct vcpu *v);
/* Wait until no vCPU of an ended VM is on any CPU, and take them all out. Any CPU, not from one of its own vCPUs. */
void sched_remove_vm(struct vm *vm);
/* A vCPU has something to do that had not: if another one runs on its CPU, that one shares it from now on. Any CPU, before the kick. */
void sched_note(struct vcpu *v);
/* Should the current vCPU give way? */
bool sched_slice_over(void);
/* Called by the boot CPU when all VMs are gone: lets the other CPUs' sched_run return. */
void sched_stop(void);
/* The boot CPU's loop calls this function after sched_ask_reap: it destroys ended VMs and returns true if none is left. */
void sched_set_reaper(bool (*reap)(void));
/* A VM has ended. Any CPU. */
void sched_ask_reap(void);

#endif
