/*
 * VMLAUNCH and VMRESUME of L1, and the engine's life per vCPU.
 *
 * Invariant: L2 runs only after all checks of SDM 3C, VM Entries, passed on our copy of vmcs12; a failure leaves L1 exactly where the
 * SDM says: after the instruction with an error number, or at its host state with an exit of the entry-failure kind.
 */
#include "core/trace.h"
#include "core/x86.h"
#include "vmx/nested_priv.h"
#include "vmx/vmcs.h"

bool nested_vmx_on(const struct vcpu *v) { return v->nested_base && v->nested_base->vmx_on; }

/* ---- checks ---- */
static void collect_pdptes(struct vcpu *v, struct check_ctx *c)
{
	const struct vmcs12 *f = c->f;

	if (!pae_guest(f))
		return;
	c->pdptes_read = true;
	if (proc2_12(f, PROC2_EPT)) {
		c->pdpte[0] = f->GUEST_PDPTE0;
		c->pdpte[1] = f->GUEST_PDPTE1;
		c->pdpte[2] = f->GUEST_PDPTE2;
		c->pdpte[3] = f->GUEST_PDPTE3;
	} else {
		c->pdptes_read = !l1_read(v, f->GUEST_CR3 & BITS(31, 5), c->pdpte, sizeof(c->pdpte));
	}
}

/* Everything in L1's memory that a check looks at, read once. */
static void collect(struct vcpu *v, struct check_ctx *c)
{
	struct nested *n = v->nested;
	const struct vmcs12 *f = &n->v12;

	*c = (struct check_ctx){ .f = f, .caps = &nested_caps, .current_gpa = n->current_gpa };
	c->l1_long = vmread(VMCS_GUEST_EFER) & EFER_LMA;
	if (proc12(f, PROC_TPR_SHADOW) && l1_read(v, f->VIRTUAL_APIC_ADDR + 0x80, &c->vtpr, 1))
		c->vtpr = 0;
	if (f->VMCS_LINK_PTR != ~0ull && region_gpa_ok(f->VMCS_LINK_PTR))
		c->link_revision = region_read_revision(v, f->VMCS_LINK_PTR);
	collect_pdptes(v, c);
}

/* ---- failure after the checks of controls and host state ---- */
void entry_fail(struct vcpu *v, u32 reason, u64 qualification)
{
	struct nested *n = v->nested;

	v->core.count.reflected[reason]++;
	trace(&v->core, TRACE_REFLECT, n->height, reason, qualification, 0);
	if (n->launching && !n->ran)
		n->launched12 = false;
	n->in02_valid = false;
	n->v12.EXIT_REASON = reason | EXIT_REASON_ENTRY_FAILURE;
	n->v12.EXIT_QUALIFICATION = qualification;
	host_state_load(v, false, false);
}

void nested_entry_failed(struct vcpu *v, u32 insn_error)
{
	struct nested *n = v->nested;

	n->in02_valid = false;
	vcpu_load_vmcs(v, n->vmcs01);
	struct nested *running = v->nested;
	v->nested = n; /* whose L1 it is about */
	if (n->ran) { /* L2 has begun: L1's instruction cannot fail any more */
		vcpu_kill(v, "the processor refused to continue its guest: VM-instruction error %u", insn_error);
		return;
	}
	if (n->launching)
		n->launched12 = false;
	v->event = (struct vcpu_event){ 0 };
	if (insn_error)
		insn_fail(v, (enum vmx_insn_error)insn_error);
	else
		insn_fail_invalid();
	v->nested = running;
	vcpu_advance(v);
}

/* ---- VMLAUNCH, VMRESUME ---- */
/* The conditions before any field is looked at, in the SDM's order. True: go on. */
static bool may_enter(struct vcpu *v, bool launch, enum exit_action *a)
{
	struct nested *n = v->nested;

	if (n->current_gpa == ~0ull || n->shadow12)
		*a = insn_fail_invalid();
	else if (vmread(VMCS_GUEST_INTERRUPTIBILITY) & BLOCK_MOV_SS)
		*a = insn_fail(v, INSN_ERR_MOV_SS);
	else if (launch && n->launched12)
		*a = insn_fail(v, INSN_ERR_VMLAUNCH_NOT_CLEAR);
	else if (!launch && !n->launched12)
		*a = insn_fail(v, INSN_ERR_VMRESUME_NOT_LAUNCHED);
	else
		return true;
	return false;
}

static void load_guest(struct vcpu *v)
{
	const struct vmcs12 *f = &v->nested->v12;

	state_enter(v);
	v->core.count.nested_entries++;
	if (f->ENTRY_MSR_LOAD_COUNT) {
		u32 failed = msr_area_load(v, f->ENTRY_MSR_LOAD_ADDR, f->ENTRY_MSR_LOAD_COUNT);
		if (failed) {
			entry_fail(v, XR_ENTRY_MSR_LOAD, failed);
			return;
		}
		v->nested->in02_valid = false; /* fields of vmcs02 may have changed under the copy */
	}
	if (v->nested->l2_waits) /* what may be suspended further in waits with L2 */
		irq_wait_sipi(v);
	else
		chain_continue(v);
}

bool nested_unchanged(const struct nested *n)
{
	return n->in02_valid && !(n->dirty & ~(u32)NEST_GROUP_BITMAPS) && check_plain(&n->v12, n->rflags_saved);
}

enum exit_action nested_enter(struct vcpu *v, bool launch)
{
	struct nested *n = v->nested;
	const struct check *bad;
	struct check_ctx c;
	enum exit_action a;

	if (!insn_allowed(v, &a))
		return a;
	page_collect(v);
	if (!may_enter(v, launch, &a))
		return a;
	host_state_note(n);
	if (n->below && !(n->page && nested_host_steady(n) && !n->v12.ENTRY_MSR_LOAD_COUNT && !n->v12.EXIT_MSR_STORE_COUNT))
		return insn_fail(v, INSN_ERR_CONTROLS);
	if (!n->page) {
		shadow_to_v12(v);
		n->dirty |= NEST_GROUP_BITMAPS; /* nobody tells when they change */
	}
	if (n->below && n->v12.GUEST_ACTIVITY == ACTIVITY_WAIT_SIPI) /* changed since chain_enter looked */
		return insn_fail(v, INSN_ERR_CONTROLS);
	n->launching = launch;
	if (nested_unchanged(n)) {
		n->launched12 = true;
		load_guest(v);
		return EXIT_RESUME;
	}
	page_collect_segments(n);
	collect(v, &c);
	bad = checks_run(checks_ctl, nr_checks_ctl, &c);
	if (!bad)
		bad = checks_run(checks_host, nr_checks_host, &c);
	if (bad)
		return insn_fail(v, bad->failure);
	n->ran = false;
	bad = checks_run(checks_guest, nr_checks_guest, &c);
	if (bad) {
		entry_fail(v, XR_ENTRY_GUEST_STATE, bad->failure);
		return EXIT_RESUME;
	}
	for (u32 i = 0; i < 4; i++)
		n->pdpte[i] = c.pdpte[i];
	n->launched12 = true;
	load_guest(v);
	return EXIT_RESUME;
}

/* Of our own VM. */
static enum exit_action enter(struct vcpu *v, bool launch)
{
	enum exit_action a = nested_enter(v, launch);

	if (!nested_in_l2(v))
		page_leave_to_outer(v);
	return a;
}

enum exit_action exit_vmlaunch(struct vcpu *v) { return enter(v, true); }
enum exit_action exit_vmresume(struct vcpu *v) { return enter(v, false); }
