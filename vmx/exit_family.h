/*
 * Handlers of the exit table that live in files of their own.
 */
#ifndef VMX_EXIT_FAMILY_H
#define VMX_EXIT_FAMILY_H

#include "vmx/vcpu.h"

#define EXIT_HANDLERS 70

enum exit_action exit_cpuid(struct vcpu *v);         /* cpuid.c */
enum exit_action exit_cr_access(struct vcpu *v);     /* cr.c */
enum exit_action exit_rdmsr(struct vcpu *v);         /* msr.c */
enum exit_action exit_wrmsr(struct vcpu *v);
enum exit_action exit_io(struct vcpu *v);            /* exit_io.c */
enum exit_action exit_ept_violation(struct vcpu *v); /* exit_mmio.c */
enum exit_action exit_ept_misconfig(struct vcpu *v);
enum exit_action exit_task_switch(struct vcpu *v);   /* exit_mmio.c: not emulated, ends the VM */

/*
 * The event that the last exit interrupted (IDT-vectoring information) becomes v->event, to be injected again (SDM 3C,
 * Information for VM Exits During Event Delivery). Precondition: the VMCS that exited is loaded.
 */
void vcpu_requeue_event(struct vcpu *v);

/*
 * exit_fast.c. Called by vmx_enter.S right after an exit of vmcs01: true if it was dealt with and the VM goes on, false if it is for
 * exit_dispatch (then nothing has happened). Of the registers, gpr has those that C may change, and RBX; RBP and R12 to R15 are not there
 * yet, so nothing on these ways may look at a register by number.
 */
bool exit_fast(u64 *gpr);
bool exit_fast_nested(u64 *gpr); /* the same for vmcs02 */
/* exit_trace.c: the same two, behind a record of the exit (and before one of what became of it). Precondition: trace_on. */
bool exit_fast_traced(u64 *gpr);
bool exit_fast_nested_traced(u64 *gpr);
void exit_trace_inject(const struct vcpu *v); /* v->event is going in. Precondition: trace_on */
void cpuid_cache_put(struct vcpu *v, u32 leaf, u32 sub, const struct cpuid_regs *r);
/* Whatever an answer depends on has changed: CR4.OSXSAVE, CR4.PKE, XCR0. */
void cpuid_cache_drop(struct vcpu *v);

#endif
