/*
 * Exit: L2's state from vmcs02 back into vmcs12 (SDM 3C, Saving Guest State).
 *
 * Invariant: what vmcs12's controls do not ask for stays as L1 wrote it; bits that are ours in a control register never reach it.
 */
#include "core/x86.h"
#include "vmx/nested_put.h"

static void save_optional(struct nested *n)
{
	struct vmcs12 *f = &n->v12;

	f->GUEST_ACTIVITY = n->l2_waits ? ACTIVITY_WAIT_SIPI : n->l2_halted ? ACTIVITY_HLT : ACTIVITY_ACTIVE;
	if (f->EXIT_CONTROLS & EXIT_SAVE_DEBUG) {
		f->GUEST_DR7 = n->in02.GUEST_DR7;
		f->GUEST_DEBUGCTL = n->in02.GUEST_DEBUGCTL;
	}
	if (f->EXIT_CONTROLS & EXIT_SAVE_PAT)
		f->GUEST_PAT = n->in02.GUEST_PAT;
	if (proc2_12(f, PROC2_VIRT_INT))
		f->GUEST_INTERRUPT_STATUS = GET(n, GUEST_INTERRUPT_STATUS);
	if (pin12(f, PIN_PREEMPTION_TIMER)) {
		GET(n, PREEMPTION_TIMER);
		if (f->EXIT_CONTROLS & EXIT_SAVE_PREEMPTION)
			f->PREEMPTION_TIMER = n->in02.PREEMPTION_TIMER;
	}
}

static void save_pdptes(struct nested *n)
{
	struct vmcs12 *f = &n->v12;

	GET(n, GUEST_PDPTE0);
	GET(n, GUEST_PDPTE1);
	GET(n, GUEST_PDPTE2);
	GET(n, GUEST_PDPTE3);
	if (!proc2_12(f, PROC2_EPT)) /* then they are not part of vmcs12's state */
		return;
	f->GUEST_PDPTE0 = n->in02.GUEST_PDPTE0;
	f->GUEST_PDPTE1 = n->in02.GUEST_PDPTE1;
	f->GUEST_PDPTE2 = n->in02.GUEST_PDPTE2;
	f->GUEST_PDPTE3 = n->in02.GUEST_PDPTE3;
}

static void save_control_registers(struct nested *n)
{
	struct vmcs12 *f = &n->v12;

	f->GUEST_CR0 = merge_cr_back(n->in02.GUEST_CR0, n->in02.CR0_READ_SHADOW, f->GUEST_CR0, f->CR0_MASK, n->cr0_owned02);
	f->GUEST_CR4 = merge_cr_back(n->in02.GUEST_CR4, n->in02.CR4_READ_SHADOW, f->GUEST_CR4, f->CR4_MASK, n->cr4_owned02);
	if (f->EXIT_CONTROLS & EXIT_SAVE_EFER)
		f->GUEST_EFER = n->in02.GUEST_EFER;
	if (nested_caps.misc & VMX_MISC_EFER_LMA) {
		f->ENTRY_CONTROLS &= ~ENTRY_IA32E;
		f->ENTRY_CONTROLS |= n->in02.GUEST_EFER & EFER_LMA ? ENTRY_IA32E : 0;
	}
}

/* Segments go straight into L1's page where there is one: v12 does not need them before all checks are made anew. */
static void save_segments(struct nested *n)
{
	struct vmcs12 *to = &n->v12;

	if (!n->page || vmcs_in_memory) {
		READ_ALL(SEGMENT_STATE);
		return;
	}
#define READ_TO_PAGE(name) vmread_again_to(VMCS_##name, n->page->field[NEST_VMCS_SLOT(VMCS_##name)]);
	SEGMENT_STATE(READ_TO_PAGE)
	READ_HW(GUEST_CS_AR) /* check_plain looks at it */
	n->segments_in_page = true;
}

static void save_rest(struct nested *n)
{
	struct vmcs12 *to = &n->v12;

	READ_ALL(HOT_STATE);
	READ_ALL(REGISTER_STATE);
	to = &n->in02;
	READ_ALL(MERGED_STATE);
}

void state_save(struct vcpu *v)
{
	struct nested *n = v->nested;

	save_segments(n);
	save_rest(n);
	n->rflags_saved = n->v12.GUEST_RFLAGS;
	save_control_registers(n);
	save_optional(n);
	/* PDPTEs are in use with PAE paging only (SDM 3C, Saving Guest State); otherwise what vmcs02 holds is undefined. */
	if ((n->v12.GUEST_CR0 & CR0_PG) && (n->v12.GUEST_CR4 & CR4_PAE) && !(n->in02.GUEST_EFER & EFER_LMA))
		save_pdptes(n);
	else
		n->in02.GUEST_PDPTE0 = n->in02.GUEST_PDPTE1 = n->in02.GUEST_PDPTE2 = n->in02.GUEST_PDPTE3 = ~0ull;
	n->in02_valid = true;
}
