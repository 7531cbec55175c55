/*
 * Self-armed posting: an interrupt of a port that needs no VM exit while its vCPU runs (nic/README.md, Self-armed posting).
 *
 * The interrupt's vector on our CPU, an ordinary one with a handler, is lent to a VMCS as its posted-interrupt notification vector. While
 * that VMCS is current in a VM the processor takes the interrupt itself: it moves the descriptor's requests to the virtual APIC and
 * goes on. At any other moment – another VMCS, the vCPU halted or descheduled, we ourselves at work – the same vector is the same
 * interrupt with its handler. So nothing has to be told to the interrupt remapping hardware, and no moment can be missed.
 *
 * Invariant: a vector is lent to one VMCS at most; after posting_disarm returns no VM entry uses it. The descriptor page belongs to the
 * guest: nothing is decided by what it holds.
 */
#ifndef VMX_POSTING_H
#define VMX_POSTING_H

#include "vmx/vcpu.h"

/*
 * Lend host_vector, which arrives on v's CPU and stands for `vector` of v. v's own VMCS takes `page` as descriptor; inner: v is a
 * hypervisor, which names `page` and `vector` in the VMCS of a guest. 0; -ENOTSUP (this processor cannot), -EBUSY (v's own VMCS has one
 * already; inner: there are as many as we keep). Any CPU; it takes effect when v is entered next.
 */
int posting_arm(struct vcpu *v, bool inner, u8 vector, u8 host_vector, hpa_t page);
/* Take it back. Any CPU; not under a lock that v's CPU waits for with v in its guest (it has left it by then). */
void posting_disarm(struct vcpu *v, u8 host_vector);
/* VCPU_REQ_POSTING: bring the VMCSs up to date. On v's own CPU; the VMCS that is loaded stays loaded. */
void posting_apply(struct vcpu *v);
/*
 * Notification vector for a VMCS that runs v's guest, of which v wrote the vector and the descriptor at `desc`; vector NULL: a VMCS further in,
 * by delegation. On v's own CPU.
 */
u8 posting_inner_vector(struct vcpu *v, const u64 *vector, hpa_t desc);

#endif
