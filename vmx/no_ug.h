/*
 * Without "unrestricted guest" the CPU runs guests only with CR0.PE = CR0.PG = 1 (SDM 3C, Unrestricted Guests). Protected mode
 * without paging is then run on a hidden identity table; real mode cannot be run: a guest that enters it is told so.
 *
 * Invariant: while v->real_mode_fallback, GUEST_CR3 points to the identity table and the guest's own CR3 is in identity_cr3.
 */
#ifndef VMX_NO_UG_H
#define VMX_NO_UG_H

#include "vmx/vcpu.h"

/* The VM's identity table, if this CPU needs one. 0, -ENOMEM. free: nothing to do beyond the VM's tables. */
int no_ug_create(struct vcpu *v);
void no_ug_free(struct vcpu *v);
/* Is the fallback needed on this CPU at all? */
bool no_ug_needed(void);
/* A SIPI asks for real mode: true if the CPU can run it; else the vCPU stays off and the console says why. */
bool no_ug_start_real_mode(struct vcpu *v);
/* Adapt GUEST_CR0/CR3/CR4, CR3 exits and entry controls to the CR0 that the guest wants. Precondition: vmcs01 loaded. */
void no_ug_apply(struct vcpu *v, u64 wanted_cr0);
/* MOV to/from CR3 while the fallback runs. */
u64 no_ug_read_cr3(struct vcpu *v);
void no_ug_write_cr3(struct vcpu *v, u64 value);

#endif
