/*
 * The shortest way between an L1 that uses VMCS pages and its L2: what vmx/exit_fast.c is for L1 alone.
 *
 * Invariant: as there; and nothing has happened when the answer is false, so the ordinary handler may do it all again. Only what
 * cannot fail is done here: no injection, no checks but the plain one, no MSR areas, no interrupt or NMI that waits.
 */
#include "core/x86.h"
#include "vmx/nested_priv.h"
#include "vmx/vlapic.h"

/* Nothing is waiting for either level, and nobody shares the CPU. */
static __inline_always bool quiet(const struct vcpu *v, const struct nested *n)
{
	const struct vlapic *a = v->vlapic;

	return !((READ_ONCE(v->pi->control) & PI_ON) | v->nmi_pending | a->stale | v->posted_further_in | n->pi_pending | n->ours | v->limit | n->vmcs02.limit |
		 n->vmcs01->limit | (v->event.info & INTR_VALID));
}

/* VMRESUME of L1. vmcs01 is loaded; afterwards vmcs02 is. */
bool nested_fast_resume(struct vcpu *v)
{
	struct nested *n = v->nested;

	if (!n || !n->page || !n->entered || --v->fast_left < 0 || !quiet(v, n) || !insn_in_plain_mode(v))
		return false;
	page_collect(v);
	if (n->suspended || !n->page || !n->launched12 || !nested_unchanged(n) || n->v12.ENTRY_MSR_LOAD_COUNT || (n->below && !nested_host_steady(n)))
		return false;
	/* An interrupt that waited for L1's IF: it ends L2 at once (nested_before_entry). */
	if (vmread(VMCS_GUEST_INTERRUPTIBILITY) || (vmx_caps.apicv ? vmread(VMCS_GUEST_INTERRUPT_STATUS) & 0xff : v->vlapic->maybe_irr))
		return false;
	n->launching = false;
	state_enter(v);
	v->injected = 0;
	v->core.count.nested_entries++;
	if (n->below)
		v->core.count.fast_nested[XR_VMRESUME]++;
	else
		v->core.count.fast[XR_VMRESUME]++;
	return true;
}

/* L2 has run and exited: what vcpu.c and nested_exit.c note of that. The first entry may have been one of theirs. */
static void left_l2(struct vcpu *v, struct nested *n, u32 reason)
{
	n->vmcs02.launched = n->entered = n->ran = true;
	v->core.count.fast_nested[reason]++;
}

/* Nothing of an exit of L2 to L1 can fail, and L1's own state is nearly all there; L1 has run since the vCPU came to this CPU; the page stays ours. */
static bool plain_reflection(const struct nested *n)
{
	return n->page && !n->shared && n->vmcs01->launched && !n->v12.EXIT_MSR_STORE_COUNT && nested_host_steady(n) && n->activity02 == ACTIVITY_ACTIVE;
}

/* A field of the exit. The reason has been read before. */
static __inline_always u64 exit_field(enum vmcs_field f) { return vmcs_in_memory ? vmread_memory(f) : vmread_again(f); }

/* An EPT violation that interrupted nothing: ept02 is filled, or it is L1's. Filling twice does no harm. */
static bool fast_ept(struct vcpu *v)
{
	struct nested *n = v->nested;

	if (!n->ept || --v->fast_left < 0 || !quiet(v, n) || n->activity02 != ACTIVITY_ACTIVE ||
	    (exit_field(VMCS_IDT_VECTORING_INFO) & INTR_VALID))
		return false;
	u64 q = exit_field(VMCS_EXIT_QUALIFICATION), gpa = exit_field(VMCS_GUEST_PHYSICAL_ADDR);
	u32 perm12;

	if (q & EPT_QUAL_NMI_UNBLOCK)
		return false;
	enum l2_fault result = ept02_fault(v, gpa, q, &perm12);
	if (result != L2_FAULT_FILLED && (result != L2_FAULT_REFLECT || !plain_reflection(n)))
		return false;
	left_l2(v, n, XR_EPT_VIOLATION);
	v->injected = 0;
	if (result == L2_FAULT_FILLED)
		return true;
	struct exit_info i = { .reason = XR_EPT_VIOLATION, .qualification = ept12_qualification(q, perm12), .physical = gpa,
			       .linear = exit_field(VMCS_GUEST_LINEAR_ADDR), .insn_len = exit_field(VMCS_EXIT_INSN_LEN) };
	reflect_fast(v, &i);
	return true;
}

/* An exit of L2 that is L1's beyond doubt, or for ept02. vmcs02 is loaded; afterwards vmcs01 is, or vmcs02 still. */
bool nested_fast_reflect(struct vcpu *v, u32 reason)
{
	struct nested *n = v->nested;

	if (reason == XR_EPT_VIOLATION)
		return fast_ept(v);
	if (reason >= 64 || !(BIT(reason) & NESTED_FAST_REASONS) || --v->fast_left < 0 || !quiet(v, n) || !plain_reflection(n) ||
	    !nested_l1_wants(v, reason))
		return false;
	if ((n->above || n->delegate != NEST_VMCS_NONE) && (BIT(reason) & NESTED_VMX_REASONS))
		return false;
	left_l2(v, n, reason);
	nested_reflect_fast(v, reason);
	v->injected = 0;
	return true;
}
