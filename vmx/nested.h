/*
 * Nested VMX: our VM uses VMX itself. vmcs12 is what it wrote, vmcs02 what runs: merge(vmcs12, our policy).
 *
 * Levels in names: L1 = our VM (a hypervisor), L2 = its guest; vmcs01 runs L1. The same code at every depth: an L1
 * Nestling is in turn the "L0" of its own inner.
 *
 * Invariant: nothing in vmcs02 that could reach beyond L1's rights comes from vmcs12 unchecked; every address of vmcs12 is
 * translated and checked at each use; no state that L1 can build crashes, hangs or leaks us.
 */
#ifndef VMX_NESTED_H
#define VMX_NESTED_H

#include "vmx/vcpu.h"

struct nested; /* vmx/nested_priv.h */

/* Prepare the capability MSRs that inners see; after vmx_probe. */
void nested_init(void);
/* Bind HC_VMX_ASSIST. */
void nested_page_init(void);
/* Bind HC_EPT_PREMAP. */
void nested_premap_init(void);
/* May the VM use VMCS pages and what else is for inners that know us (core/abi.h)? */
bool nested_offers_pages(const struct vm *vm);
/* … and may they delegate? */
bool nested_delegates(const struct vm *vm);
/* Per vCPU; cheap until L1 executes VMXON. 0, -ENOMEM. */
int nested_create(struct vcpu *v);
void nested_free(struct vcpu *v);
/* Another vCPU takes the CPU: the CPU must not keep vmcs02. */
void nested_put(struct vcpu *v);
/* An instruction of L2 has been performed for it: a monitor trap of L1's is due. Precondition: nested_in_l2. */
void nested_advanced(struct vcpu *v);
/* L2 has met a triple fault in an injection of ours: an exit to L1. Precondition: nested_in_l2. */
void nested_triple_fault(struct vcpu *v);
/*
 * An exception that L2 meets in what we do for it. True: vmcs12 wants it, L1 runs now. An event that was being delivered is v->event. No
 * effect while L1 runs.
 */
bool nested_exception_exits(struct vcpu *v, u8 vector, bool has_error, u32 error);
/* INIT or reset of the vCPU: leave VMX operation. Leaves vmcs01 loaded. */
void nested_reset(struct vcpu *v);
/* True while the loaded VMCS is vmcs02: what runs is L2. */
static inline bool nested_in_l2(const struct vcpu *v) { return v->loaded != &v->vmcs01 && v->loaded; }
/* True between VMXON and VMXOFF (CR4.VMXE may not be cleared, INIT is blocked …). */
bool nested_vmx_on(const struct vcpu *v);

/* nested_fast.c: for vmx/exit_fast.c. True: done, the other VMCS is loaded and has been launched. False: nothing has happened. */
bool nested_fast_resume(struct vcpu *v);
bool nested_fast_reflect(struct vcpu *v, u32 reason);
bool nested_fast_chain(struct vcpu *v); /* VMRESUME of an L2 */

/* The handlers of the VMX instructions (exit_handlers table). */
enum exit_action exit_vmxon(struct vcpu *v);
enum exit_action exit_vmxoff(struct vcpu *v);
enum exit_action exit_vmclear(struct vcpu *v);
enum exit_action exit_vmptrld(struct vcpu *v);
enum exit_action exit_vmptrst(struct vcpu *v);
enum exit_action exit_vmread(struct vcpu *v);
enum exit_action exit_vmwrite(struct vcpu *v);
enum exit_action exit_vmlaunch(struct vcpu *v);
enum exit_action exit_vmresume(struct vcpu *v);
enum exit_action exit_invept(struct vcpu *v);
enum exit_action exit_invvpid(struct vcpu *v);

/*
 * First look at an exit from L2 (exit_dispatch calls it when nested_in_l2). True: done – reflected to L1 (vmcs01 is
 * loaded, L1 stands at its host state) or consumed (EPT02 filled). False: ours; the ordinary handler runs with vmcs02
 * loaded (external interrupt, NMI of ours, preemption timer of ours …). Also captures IDT-vectoring for re-injection.
 */
bool nested_exit(struct vcpu *v, u32 reason);
/*
 * Before entering (vcpu_run): with L2 running, hand pending interrupts/NMI/INIT of L1 over as VM exits to L1 (if vmcs12 asks for
 * such exits; otherwise inject into L2), and process the descriptor of L2 if a notification came in. May switch to vmcs01.
 */
void nested_before_entry(struct vcpu *v);
/* The same where L1 is to run: what the outer may run on L1's behalf next is left to it. */
void nested_before_l1(struct vcpu *v);
/*
 * VMLAUNCH/VMRESUME of vmcs02 failed in the hardware with this VM-instruction error (0: VMfailInvalid): an entry check that
 * we left to the CPU. L1's instruction fails the same way; vmcs01 is loaded afterwards.
 */
void nested_entry_failed(struct vcpu *v, u32 insn_error);
/* Inject v->event etc. is common. Reflect an exit to L1: basic reason with its details taken from vmcs02. */
void nested_reflect(struct vcpu *v, u32 reason);
void nested_reflect_fast(struct vcpu *v, u32 reason); /* the same; its record is the caller's */

/* v->posting has changed: vmcs02 follows. May leave it loaded. */
void nested_posting_changed(struct vcpu *v);
/* v->tsc_offset has changed. */
void nested_tsc_changed(struct vcpu *v);

/* Capability MSRs 480h-491h as L1 sees them. False: #GP. */
bool nested_read_msr(struct vcpu *v, u32 msr, u64 *value);

/* Bound the run of L2 by our preemption timer (0: no more). No effect while L1 uses the timer itself. vmcs02 is loaded. */
void nested_set_limit(struct vcpu *v, u32 ticks);

/* Our EPT01 for this VM changed (pages unmapped): every EPT02 made from it must go. Own CPU. */
void nested_flush_ept(struct vcpu *v);

/*
 * A vector arrived for L1 by posting while L2 runs: if it is vmcs12's posted-interrupt notification vector, process L2's
 * descriptor instead of exiting to L1. Called by vlapic code; true if consumed.
 */
bool nested_take_notification(struct vcpu *v, u8 vector);
/*
 * post_direct of nic_irq_sink: if L2 runs and vmcs12's (translated) descriptor is pi: post the vector there, so that the next
 * entry delivers it without L1. True if so.
 */
bool nested_post_direct(struct vcpu *v, hpa_t pi, u8 vector);

/* L2 runs and an interrupt is an exit to L1, whatever RFLAGS.IF of L2 is. */
bool nested_interrupt_exits(const struct vcpu *v);

/* Translate an L2 physical address for guest_walk: L2 gpa -> our hpa through vmcs12's EPT and EPT01; HPA_NONE if unmapped (write: or read-only). */
hpa_t nested_l2_gpa_to_hpa(struct vcpu *v, u64 l2_gpa, bool write);
/* The same, only through vmcs12's EPT: for an access of L2 to a device that we emulate for L1. False if unmapped. */
bool nested_l2_gpa_to_l1(struct vcpu *v, u64 l2_gpa, u64 *l1_gpa);
/*
 * INIT for a vCPU in VMX operation (SDM 3C, INIT): L2 runs: exit to L1; else, and while L2 waits for a SIPI, it stays blocked until
 * L1 enters an L2 that does not wait, or VMXOFF. True if dealt with.
 */
bool nested_take_init(struct vcpu *v);
/*
 * SIPI for a vCPU that waits for one (VCPU_WAIT_SIPI): if it is L2 that waits, an exit to L1; v is runnable then. Own CPU, a VMCS of v
 * loaded. False: not in VMX operation, so it starts the processor.
 */
bool nested_take_sipi(struct vcpu *v, u8 vector);

#endif
