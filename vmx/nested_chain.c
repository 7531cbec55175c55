/*
 * Flat nesting (core/abi.h, "Delegation"): the engines of a vCPU as a chain. Engine k runs L(k+1) by the vmcs12 of Lk; its vmcs01 is
 * the vmcs02 of the engine below. An L2 that is told to us as delegated enters its own guest through the engine above, whatever the
 * depth, and an exit goes straight to the engine whose L1 it belongs to.
 *
 *      base engine          engine above            engine above that
 *      L1 | L2              L2 | L3                 L3 | L4
 *      vmcs01, vmcs02 ====> vmcs01, vmcs02 =======> vmcs01, vmcs02
 *
 * Invariant: while an engine is suspended, its vmcs02 holds all of its L2's state, and nothing but chain_continue or chain_forget ends
 * that; meanwhile it may be put aside with its chain (nested_park.c). What a level k that delegates is shown is an exit of its own L2,
 * with that one's state at its last VMRESUME.
 * No address of a vmcs12 reaches memory but through here.
 */
#include <string.h>

#include "core/x86.h"
#include "vmx/exit_family.h"
#include "vmx/nested_priv.h"
#include "vmx/vlapic.h"

/* ---- L1's memory ---- */
/* RAM of the VM behind an address of L2's, through the table that runs L2, filled if necessary: as L2 would write there. */
static hpa_t composed(struct vcpu *v, u64 l2_gpa)
{
	const u64 need = VM_MAP_RAM | EPT_READ | EPT_WRITE;
	struct nested *n = v->nested;
	struct ptab_leaf leaf;
	u32 perm;

	if (!proc2_12(&n->v12, PROC2_EPT)) /* L1 has none for it */
		return l1_gpa_to_hpa(v, l2_gpa, 1);
	if (!ept02_running(v))
		return HPA_NONE;
	if (ptab_walk(&n->ept->pt, l2_gpa, &leaf) && (leaf.flags & need) == need)
		return leaf.pa;
	if (ept02_fault(v, l2_gpa, EPT_READ | EPT_WRITE, &perm) != L2_FAULT_FILLED || !n->ept)
		return HPA_NONE;
	return ptab_walk(&n->ept->pt, l2_gpa, &leaf) && (leaf.flags & need) == need ? leaf.pa : HPA_NONE;
}

hpa_t l1_gpa_to_hpa(struct vcpu *v, u64 gpa, u64 size)
{
	struct nested *n = v->nested;

	if (!n || !n->below)
		return vm_gpa_to_hpa(v->core.vm, GPA(gpa), size);
	v->nested = n->below;
	hpa_t a = composed(v, gpa);
	v->nested = n;
	return a;
}

hpa_t l1_frame_to_hpa(struct vcpu *v, u64 gpa)
{
	const u64 need = VM_MAP_RAM | EPT_READ | EPT_WRITE;
	struct nested *n = v->nested;
	struct ptab_leaf leaf;

	if (!n->below)
		return vm_gpa_to_hpa(v->core.vm, GPA(gpa), SIZE_2M);
	v->nested = n->below;
	const struct ept02 *e = ept02_running(v);
	v->nested = n;
	return e && ptab_walk(&e->pt, gpa, &leaf) && leaf.size >= SIZE_2M && (leaf.flags & need) == need ? leaf.pa : HPA_NONE;
}

/* By pages: neighbours in L1's memory need not be neighbours in ours. */
static int l1_copy(struct vcpu *v, u64 gpa, void *buf, u64 len, bool write)
{
	while (len) {
		u64 part = MIN(len, PAGE_SIZE - (gpa & PAGE_MASK));
		hpa_t a = l1_gpa_to_hpa(v, gpa, part);

		if (a.v == HPA_NONE.v)
			return -EFAULT;
		if (write)
			memcpy(hpa_to_virt(a), buf, part);
		else
			memcpy(buf, hpa_to_virt(a), part);
		gpa += part;
		buf = (u8 *)buf + part;
		len -= part;
	}
	return 0;
}

int l1_read(struct vcpu *v, u64 gpa, void *buf, u64 len)
{
	return v->nested->below ? l1_copy(v, gpa, buf, len, false) : vm_read(v->core.vm, GPA(gpa), buf, len);
}

int l1_write(struct vcpu *v, u64 gpa, const void *buf, u64 len)
{
	return v->nested->below ? l1_copy(v, gpa, (void *)buf, len, true) : vm_write(v->core.vm, GPA(gpa), buf, len);
}

/* ---- inward ---- */
/* The VMCS page of a's L1, where the tables of that one have been dropped since it was translated. False: it has none (any more). */
static bool find_again(struct vcpu *v, struct nested *a)
{
	struct nested *running = v->nested;

	if (a->moved) {
		a->moved = false;
		a->assist_gpa = NEST_VMCS_NONE;
		v->nested = a;
		struct nest_vmcs_page *page = a->page ? l1_page_at(v, a->current_gpa) : NULL;
		v->nested = running;
		if (page)
			a->page = page;
		else
			page_forget(a);
	}
	return a->page;
}

/* It is there, and its assist page is the one that n's L1 names. */
static __inline_always bool at_hand(const struct nested *a, u64 delegate) { return a && !a->moved && a->assist_gpa == delegate; }

static void fetch_above(struct vcpu *v, struct nested *n)
{
	struct nested *a = nested_above(v, n);

	if (a && a->moved)
		find_again(v, a);
	if (!a || a->assist_gpa == n->delegate)
		return;
	v->nested = a;
	a->assist = l1_page_at(v, ALIGN_DOWN(n->delegate, PAGE_SIZE));
	v->nested = n;
	a->assist_gpa = a->assist ? n->delegate : NEST_VMCS_NONE;
}

/* The engine for L2's own guest, its assist page at hand; NULL: not delegated, or not to be had. */
static __inline_always struct nested *engine_above(struct vcpu *v, struct nested *n)
{
	if (n->delegate == NEST_VMCS_NONE)
		return NULL;
	if (!at_hand(n->above, n->delegate))
		fetch_above(v, n);
	return at_hand(n->above, n->delegate) && READ_ONCE(n->above->assist->vmcs_page) != NEST_VMCS_NONE ? n->above : NULL;
}

/*
 * The guest of a's L1 is to wait for a SIPI. Whether one comes is known to the level whose virtual APIC that L1 has: n's L1. For us the
 * vCPU would have to wait for that level's events, too.
 */
static bool enters_wait(struct vcpu *v, struct nested *a)
{
	struct nested *running = v->nested;
	u64 gpa = READ_ONCE(a->assist->vmcs_page);
	const struct nest_vmcs_page *p = a->page;

	if (!p || gpa != a->current_gpa) {
		v->nested = a;
		p = l1_page_at(v, ALIGN_DOWN(gpa, PAGE_SIZE));
		v->nested = running;
	}
	return p && READ_ONCE(p->field[NEST_VMCS_SLOT(VMCS_GUEST_ACTIVITY)]) == ACTIVITY_WAIT_SIPI;
}

bool chain_enter(struct vcpu *v, bool launch)
{
	struct nested *n = v->nested, *a = engine_above(v, n);

	if (!a)
		return false;
	if (enters_wait(v, a)) {
		chain_put(v, n);
		return false;
	}
	v->nested = a;
	a->vmx_on = true;
	enum exit_action action = nested_enter(v, launch);
	if (v->loaded == &n->vmcs02 && action != EXIT_RESUME) { /* the instruction has failed, or is not allowed */
		v->nested = n;
		if (action == EXIT_ADVANCE)
			vcpu_advance(v);
	}
	return true;
}

bool nested_fast_chain(struct vcpu *v)
{
	struct nested *n = v->nested, *a = engine_above(v, n);

	if (!a)
		return false;
	v->nested = a;
	if (nested_fast_resume(v))
		return true;
	v->nested = n;
	return false;
}

void chain_put(struct vcpu *v, struct nested *n)
{
	struct nested *a = n->above, *running = v->nested;

	ept02_drop_above(n);
	if (!a)
		return;
	if (find_again(v, a)) {
		v->nested = a;
		page_put(v, a);
		v->nested = running;
	}
	vpid_forget_all(a);
	a->assist_gpa = NEST_VMCS_NONE;
	a->in02_valid = false;
}

#define L2_VMX_INSNS (BIT(XR_VMCLEAR) | BIT(XR_VMPTRLD) | BIT(XR_VMXON) | BIT(XR_VMXOFF) | BIT(XR_INVEPT) | BIT(XR_INVVPID))
void chain_l2_insn(struct vcpu *v, u32 reason)
{
	if (reason < 64 && (BIT(reason) & L2_VMX_INSNS))
		chain_put(v, v->nested);
}

/* ---- outward ---- */
void chain_refresh(struct vcpu *v, struct nested *n)
{
	v->nested = n;
	if (has_ept02(n) && !ept02_select(v)) {
		vcpu_kill(v, "no memory left for the tables of its guest");
		return;
	}
	u64 eptp = ept02_pointer(n, v->core.vm);
	n->ept_selected = false;
	if (n->in02.EPTP == eptp)
		return;
	n->in02.EPTP = eptp;
	vmwrite(VMCS_EPTP, eptp);
}

void chain_loaded(struct vcpu *v, struct nested *n)
{
	struct nested *b = n->below;

	if (!b)
		return;
	if (n->status01_moved) {
		n->status01_moved = false;
		vmwrite(VMCS_GUEST_INTERRUPT_STATUS, n->status01);
	}
	if (!ept02_settled(b))
		chain_refresh(v, b);
}

void chain_reflect(struct vcpu *v, struct nested *n, const struct exit_info *info)
{
	struct nested *running = v->nested;

	if (n == running) { /* what waits to go in has been interrupted, if it is not that which exits */
		struct exit_info i = *info;

		if (!(i.idt_info & INTR_VALID))
			exit_info_take_event(v, &i);
		reflect(v, &i);
		return;
	}
	running->event_kept = v->event;
	v->event = (struct vcpu_event){ 0 };
	n->suspended = running;
	vcpu_load_vmcs(v, &n->vmcs02);
	if (proc2_12(&n->v12, PROC2_VIRT_INT))
		vmwrite(VMCS_GUEST_INTERRUPT_STATUS, n->above->status01);
	n->above->status01_moved = false;
	n->root_rip = vmread(VMCS_GUEST_RIP);
	reflect(v, info);
}

bool chain_outer_wants(struct vcpu *v, u32 reason)
{
	struct nested *running = v->nested;

	for (struct nested *n = running->below; n; n = n->below) {
		v->nested = n;
		bool wants = nested_l1_wants(v, reason);
		v->nested = running;
		if (!wants)
			continue;
		struct exit_info i;
		exit_info_read(&i);
		chain_reflect(v, n, &i);
		return true;
	}
	return false;
}

/* L1 has done something for its L2 at an exit that was further in: stepped over the instruction, injected an event. */
static void carry_over(struct vcpu *v, struct nested *n, struct vcpu_event ev, u64 stepped)
{
	u64 type = FIELD_GET(INTR_TYPE, ev.info);

	if (stepped && stepped <= 15)
		vmwrite(VMCS_GUEST_RIP, vmread(VMCS_GUEST_RIP) + stepped);
	if (!(ev.info & INTR_VALID))
		return;
	if (type != INTR_EXTERNAL && type != INTR_NMI) {
		v->event = ev;
		return;
	}
	struct exit_info i = { .reason = type == INTR_NMI ? XR_EXCEPTION_NMI : XR_EXTERNAL_INTERRUPT, .intr_info = ev.info };
	chain_reflect(v, n->above, &i);
}

/* Everything up to what is suspended has its page. */
static bool all_found(struct vcpu *v, struct nested *n)
{
	for (struct nested *a = n->above; find_again(v, a); a = a->above)
		if (a == n->suspended)
			return true;
	return false;
}

void chain_continue(struct vcpu *v)
{
	struct nested *n = v->nested, *inner = n->suspended;
	struct vcpu_event ev = v->event;

	if (!inner)
		return;
	bool waited = n->above->moved;
	if (!all_found(v, n)) { /* L1 has taken memory from L2 that a processor would need to leave what L2 runs */
		chain_forget(v, n);
		reflect_event(v, XR_TRIPLE_FAULT, 0);
		return;
	}
	if (waited) /* the VM's TSC may have been written meanwhile */
		nested_tsc_changed(v);
	u64 stepped = vmread(VMCS_GUEST_RIP) - n->root_rip;
	if (stepped)
		vmwrite(VMCS_GUEST_RIP, n->root_rip);
	n->suspended = NULL;
	if (proc2_12(&n->v12, PROC2_VIRT_INT))
		n->above->status01 = (u16)vmread(VMCS_GUEST_INTERRUPT_STATUS);
	vcpu_load_vmcs(v, &inner->vmcs02);
	chain_refresh(v, inner);
	v->event = inner->event_kept;
	carry_over(v, n, ev, stepped);
}

/* ---- what waits for the levels between ---- */
/* The virtual APIC of n's L1, which nobody but us delivers from while something further in runs. */
static u8 *apic_of_l1(const struct nested *n) { return hpa_to_virt(n->below->virtual_apic); }

static bool interrupt_due(const struct nested *n)
{
	const struct nested *b = n->below;

	if (!proc2_12(&b->v12, PROC2_VIRT_INT) || !pin12(&n->v12, PIN_EXT_INT))
		return false;
	return (n->status01 & 0xf0) > (apic_of_l1(n)[APIC_PPR] & 0xf0);
}

/* SDM 3C, Virtual-Interrupt Delivery, as an acknowledgement. */
static u8 acknowledge(struct nested *n)
{
	u8 *regs = apic_of_l1(n), vector = (u8)n->status01;

	apic_reg_clear(regs, APIC_IRR, vector);
	apic_reg_set(regs, APIC_ISR, vector);
	regs[APIC_PPR] = vector & 0xf0;
	int next = apic_reg_highest(regs, APIC_IRR);
	n->status01 = (u16)((next < 0 ? 0 : next) | vector << 8);
	n->status01_moved = true;
	return vector;
}

static void drain_posted(struct nested *n)
{
	struct nested *b = n->below;

	if (!b->pi_pending)
		return;
	b->pi_pending = false;
	if (b->pi_desc.v == HPA_NONE.v || b->virtual_apic.v == HPA_NONE.v)
		return;
	int highest = pi_drain(hpa_to_virt(b->pi_desc), apic_of_l1(n));
	if (highest > (int)(n->status01 & 0xff)) {
		n->status01 = (u16)((n->status01 & 0xff00) | highest);
		n->status01_moved = true;
	}
}

static void take_interrupt(struct vcpu *v, struct nested *n, u8 vector)
{
	bool ack = n->v12.EXIT_CONTROLS & EXIT_ACK_INT;
	struct exit_info i = { .reason = XR_EXTERNAL_INTERRUPT,
			       .intr_info = ack ? INTR_VALID | FIELD_PREP(INTR_TYPE, INTR_EXTERNAL) | vector : 0 };

	chain_reflect(v, n, &i);
}

/* For our own VM, that is L1. */
static bool base_before_entry(struct vcpu *v)
{
	struct nested *base = v->nested_base;
	int vector = vlapic_pending(v);

	if (v->nmi_pending && pin12(&base->v12, PIN_NMI)) {
		struct exit_info i = { .reason = XR_EXCEPTION_NMI, .intr_info = INTR_VALID | FIELD_PREP(INTR_TYPE, INTR_NMI) | VEC_NMI };
		v->nmi_pending = false;
		chain_reflect(v, base, &i);
		return true;
	}
	if (vector >= 0 && nested_take_notification(v, (u8)vector)) {
		apic_reg_clear(v->vlapic->regs, APIC_IRR, (u8)vector);
		vector = vlapic_pending(v);
	}
	if (vector < 0 || !pin12(&base->v12, PIN_EXT_INT))
		return false;
	take_interrupt(v, base, vlapic_ack(v));
	return true;
}

bool chain_init_waits(const struct vcpu *v)
{
	for (const struct nested *n = v->nested_base; n; n = n->above)
		if (n->init_further_in)
			return true;
	return false;
}

bool chain_take_init(struct vcpu *v)
{
	const struct exit_info i = { .reason = XR_INIT };

	for (struct nested *n = v->nested_base; n != v->nested; n = n->above) {
		if (!n->init_further_in)
			continue;
		n->init_further_in = false;
		if (find_again(v, n))
			WRITE_ONCE(n->page->init, 0);
		chain_reflect(v, n->above, &i);
		return true;
	}
	return false;
}

bool chain_before_entry(struct vcpu *v)
{
	struct nested *running = v->nested;

	vlapic_sync(v);
	if (base_before_entry(v))
		return true;
	for (struct nested *n = v->nested_base->above; n; n = n == running ? NULL : n->above) {
		drain_posted(n);
		if (!interrupt_due(n))
			continue;
		take_interrupt(v, n, acknowledge(n));
		return true;
	}
	return false;
}
