/*
 * What arrives for L1 while L2 runs: interrupts, NMIs, INIT, SIPIs become VM exits to L1 or events in L2, as vmcs12 says; and
 * posted interrupts for L2.
 *
 * Invariant: nothing is delivered twice or lost: an interrupt leaves L1's APIC exactly when L1 or L2 gets it. An event that waits to
 * be injected into L2 goes in first; we come back right after it by a monitor trap.
 */
#include "core/percpu.h"
#include "core/x86.h"
#include "vmx/nested_priv.h"
#include "vmx/vlapic.h"

/* ---- posted interrupts of L2 (SDM 3C, Posted-Interrupt Processing) ---- */
void irq_drain_l2(struct vcpu *v)
{
	struct nested *n = v->nested;

	n->pi_pending = false;
	if (n->pi_desc.v == HPA_NONE.v || n->virtual_apic.v == HPA_NONE.v)
		return;
	int highest = pi_drain(hpa_to_virt(n->pi_desc), hpa_to_virt(n->virtual_apic));
	u64 status = vmread(VMCS_GUEST_INTERRUPT_STATUS);
	if (highest > (int)(status & 0xff))
		vmwrite(VMCS_GUEST_INTERRUPT_STATUS, (status & ~0xffull) | (u64)highest);
}

bool nested_take_notification(struct vcpu *v, u8 vector)
{
	if (!nested_in_l2(v))
		return false;
	const struct vmcs12 *f = &v->nested_base->v12;
	if (!pin12(f, PIN_POSTED_INT) || f->PI_NOTIFICATION_VECTOR != vector)
		return false;
	v->nested_base->pi_pending = v->posted_further_in = true; /* no VMCS here: the scheduler asks about vCPUs that are not current, too */
	vcpu_wake(v);
	return true;
}

bool nested_interrupt_exits(const struct vcpu *v) { return nested_in_l2(v) && pin12(&v->nested->v12, PIN_EXT_INT); }

bool nested_post_direct(struct vcpu *v, hpa_t pi, u8 vector)
{
	struct nested *n = v->nested;

	if (!nested_in_l2(v) || n->pi_desc.v == HPA_NONE.v || n->pi_desc.v != pi.v || v->core.cpu != this_cpu()->index)
		return false;
	pi_post(hpa_to_virt(n->pi_desc), vector);
	n->pi_pending = v->posted_further_in = true; /* the next entry of L2 delivers it */
	vcpu_wake(v);
	return true;
}

/* ---- before an entry of L2 ---- */
struct moment {
	u32 ours;      /* what to add to vmcs02's controls */
	bool event;    /* something will be injected already */
	u64 blocking;  /* interruptibility */
};

static bool exit_blocked(const struct moment *m) { return m->event || (m->blocking & (BLOCK_STI | BLOCK_MOV_SS)); }

static void inject(struct vcpu *v, struct moment *m, u32 type, u32 vector)
{
	v->event = (struct vcpu_event){ .info = (u32)(INTR_VALID | FIELD_PREP(INTR_TYPE, type) | vector) };
	m->event = true;
}

/* True: L1 runs now. */
static bool give_nmi(struct vcpu *v, struct moment *m)
{
	const struct vmcs12 *f = &v->nested->v12;
	bool blocked = m->blocking & BLOCK_NMI;

	if (pin12(f, PIN_NMI)) {
		if (blocked && !pin12(f, PIN_VIRTUAL_NMI))
			return false;
		if (exit_blocked(m)) {
			m->ours |= PROC_MTF;
			return false;
		}
		vcpu_nmi_done(v);
		reflect_event(v, XR_EXCEPTION_NMI, (u32)(INTR_VALID | FIELD_PREP(INTR_TYPE, INTR_NMI) | VEC_NMI));
		return true;
	}
	if (!blocked && !exit_blocked(m)) {
		vcpu_nmi_done(v);
		inject(v, m, INTR_NMI, VEC_NMI);
	}
	if (v->nmi_pending) {
		m->ours |= vmx_caps.use_pin & PIN_VIRTUAL_NMI ? PROC_NMI_WINDOW : PROC_MTF;
	}
	return false;
}

static void reflect_interrupt(struct vcpu *v)
{
	bool ack = v->nested->v12.EXIT_CONTROLS & EXIT_ACK_INT;

	reflect_event(v, XR_EXTERNAL_INTERRUPT, ack ? (u32)(INTR_VALID | FIELD_PREP(INTR_TYPE, INTR_EXTERNAL) | vlapic_ack(v)) : 0);
}

static bool give_interrupt(struct vcpu *v, struct moment *m)
{
	int vector = vlapic_pending(v);

	if (vector < 0)
		return false;
	if (nested_take_notification(v, (u8)vector)) {
		apic_reg_clear(v->vlapic->regs, APIC_IRR, (u8)vector);
		irq_drain_l2(v);
		return give_interrupt(v, m); /* at most once more: the vector is gone */
	}
	if (pin12(&v->nested->v12, PIN_EXT_INT)) {
		if (exit_blocked(m)) {
			m->ours |= PROC_MTF;
			return false;
		}
		reflect_interrupt(v);
		return true;
	}
	if (exit_blocked(m) || !(vmread(VMCS_GUEST_RFLAGS) & RFLAGS_IF))
		m->ours |= PROC_INT_WINDOW;
	else
		inject(v, m, INTR_EXTERNAL, vlapic_ack(v));
	return false;
}

/* Does L2's virtual APIC have something that its PPR lets through? */
static bool virtual_interrupt_due(const struct nested *n)
{
	if (!proc2_12(&n->v12, PROC2_VIRT_INT) || !(vmread(VMCS_GUEST_RFLAGS) & RFLAGS_IF))
		return false;
	const u8 *regs = hpa_to_virt(n->virtual_apic);
	return (vmread(VMCS_GUEST_INTERRUPT_STATUS) & 0xf0) > (regs[APIC_PPR] & 0xf0u);
}

/* HLT of L2 goes on in the processor unless something ends it now. */
static void set_activity(struct nested *n, const struct moment *m)
{
	if (n->l2_halted && (m->event || virtual_interrupt_due(n)))
		n->l2_halted = false;
	u32 wanted = n->l2_halted ? ACTIVITY_HLT : ACTIVITY_ACTIVE;
	if (wanted == n->activity02)
		return;
	vmwrite(VMCS_GUEST_ACTIVITY, wanted);
	n->in02.GUEST_ACTIVITY = n->activity02 = wanted;
}

void nested_advanced(struct vcpu *v)
{
	if (!proc12(&v->nested->v12, PROC_MTF))
		return;
	v->nested->trap_due = true;
	vcpu_wake(v); /* the trap comes even if the instruction was HLT */
}

/* INIT while L2 runs, or one that was blocked until L1 entered it (SDM 3C, Other Causes of VM Exits). */
static void take_init(struct vcpu *v)
{
	struct exit_info i = { .reason = XR_INIT };

	page_set_init(v, false);
	if (v->nested->below)
		chain_reflect(v, v->nested_base, &i);
	else
		reflect_event(v, XR_INIT, 0);
}

void nested_before_entry(struct vcpu *v)
{
	if (!nested_in_l2(v))
		return;
	if (v->nested_base->init_blocked && page_init_waits(v)) {
		take_init(v);
		return;
	}
	while (v->nested->below && (chain_take_init(v) || chain_before_entry(v))) /* each time further out, or at the next level's L1 */
		if (!nested_in_l2(v))
			return;
	struct nested *n = v->nested;
	if (n->trap_due) { /* SDM 3C, Monitor Trap Flag: before any event that could be delivered now */
		n->trap_due = false;
		reflect_event(v, XR_MTF, 0);
		return;
	}
	vlapic_sync(v);
	v->posted_further_in = chain_init_waits(v); /* for those below it has been dealt with */
	if (n->pi_pending)
		irq_drain_l2(v);
	struct moment m = { .event = v->event.info & INTR_VALID };
	if (!n->below && (v->nmi_pending || vlapic_pending(v) >= 0)) { /* above the base they are dealt with */
		m.blocking = vmread(VMCS_GUEST_INTERRUPTIBILITY);
		if (v->nmi_pending && give_nmi(v, &m))
			return;
		if (give_interrupt(v, &m))
			return;
	}
	if (m.ours != n->ours)
		state_set_ours(n, m.ours);
	if (n->l2_halted || n->activity02 != ACTIVITY_ACTIVE)
		set_activity(n, &m);
}

bool nested_take_init(struct vcpu *v)
{
	if (!nested_vmx_on(v))
		return false;
	if (!nested_in_l2(v) || v->nested->l2_waits) {
		page_set_init(v, true);
		v->posted_further_in = true; /* the next L2 is not entered the shortest way */
		return true;
	}
	take_init(v);
	vcpu_wake(v); /* L2 may have been halted; L1 is not */
	return true;
}

/* ---- wait-for-SIPI ---- */
/*
 * The activity state blocks interrupts, NMIs, INIT, windows and the preemption timer's exit, all that could end a stay in the processor but a
 * SIPI, which would not come there (SDM 3C, Activity State; Other Causes of VM Exits). So vmcs02 is not entered: the vCPU waits like one
 * after INIT, and what comes for L1 stays where it is until the SIPI.
 */
void irq_wait_sipi(struct vcpu *v)
{
	v->nested->waits_since = rdtsc();
	__atomic_store_n(&v->state, VCPU_WAIT_SIPI, __ATOMIC_SEQ_CST);
}

/* What the wait has changed of L2: the timer counts in that state, too, down to 0; pending debug exceptions are not kept. */
static void after_wait(const struct nested *n)
{
	u64 passed = (rdtsc() - n->waits_since) >> FIELD_GET(VMX_MISC_TIMER_RATE, nested_caps.misc), value = n->v12.PREEMPTION_TIMER;

	if (pin12(&n->v12, PIN_PREEMPTION_TIMER))
		vmwrite(VMCS_PREEMPTION_TIMER, value > passed ? value - passed : 0);
	vmwrite(VMCS_GUEST_PENDING_DBG, 0);
}

bool nested_take_sipi(struct vcpu *v, u8 vector)
{
	struct exit_info i = { .reason = XR_SIPI, .qualification = vector };

	if (!nested_in_l2(v))
		return false;
	after_wait(v->nested);
	v->state = VCPU_RUNNABLE;
	reflect(v, &i);
	page_leave_to_outer(v);
	return true;
}
