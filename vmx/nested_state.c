/*
 * Entry: L2's state from vmcs12 into vmcs02, and the fields of vmcs02 that come from the merge.
 *
 * Invariant: a group of fields that is not in n->dirty is in vmcs02 what v12 says (merged where the merge has a say); for in02
 * see nested_put.h. No address of vmcs12 is put into vmcs02 but through
 * l1_gpa_to_hpa.
 */
#include <string.h>

#include "core/irq.h"
#include "core/trace.h"
#include "core/x86.h"
#include "vmx/nested_put.h"
#include "vmx/posting.h"
#include "vmx/vlapic.h"

u64 state_cr0_owned(const struct vcpu *v) { return vcpu_cr0_owned(v) & ~(CR0_PE | CR0_PG | CR0_WP); }
u64 state_cr4_owned(const struct vcpu *v) { return vcpu_cr4_owned(v) & ~(CR4_PAE | CR4_PSE | CR4_OSXSAVE | CR4_PKE); }

void state_set_ours(struct nested *n, u32 ours)
{
	n->ours = ours;
	PUT(n, PROC_CONTROLS, n->proc02 | ours);
}

void nested_set_limit(struct vcpu *v, u32 ticks)
{
	struct nested *n = v->nested;

	if (pin12(&n->v12, PIN_PREEMPTION_TIMER))
		return;
	PUT(n, PIN_CONTROLS, n->pin02 | (ticks ? PIN_PREEMPTION_TIMER : 0));
	if (ticks)
		PUT(n, PREEMPTION_TIMER, ticks);
}

/* A page that vmcs12 names; outside L1's RAM a page of zeros takes its place (SDM: behaviour there is the platform's). */
static hpa_t page_or_dummy(struct vcpu *v, u64 gpa)
{
	hpa_t a = l1_gpa_to_hpa(v, gpa, PAGE_SIZE);

	return a.v == HPA_NONE.v ? virt_to_hpa(v->nested->dummy_page) : a;
}

static void translate_pages(struct vcpu *v)
{
	struct nested *n = v->nested;
	const struct vmcs12 *f = &n->v12;

	n->virtual_apic = proc12(f, PROC_TPR_SHADOW) ? page_or_dummy(v, f->VIRTUAL_APIC_ADDR) : HPA_NONE;
	n->apic_access = proc2_12(f, PROC2_APIC_ACCESS) ? page_or_dummy(v, f->APIC_ACCESS_ADDR) : HPA_NONE;
	n->apic_hole = !n->below && n->apic_access.v == virt_to_hpa(n->dummy_page).v;
	n->pi_desc = pin12(f, PIN_POSTED_INT) ? l1_gpa_to_hpa(v, f->PI_DESC_ADDR, sizeof(struct pi_desc)) : HPA_NONE;
	/* FACTS: an emulator wants the descriptor on a page boundary; elsewhere we process it ourselves. */
	n->pi_hw = vmx_caps.posted && n->pi_desc.v != HPA_NONE.v && IS_ALIGNED(n->pi_desc.v, PAGE_SIZE);
}

/* What L2 inherits from L1 where vmcs12 does not load it. */
struct l1_state { u64 pat, efer, dr7, debugctl; };

static void read_l1(const struct vmcs12 *f, struct l1_state *s)
{
	s->pat = f->ENTRY_CONTROLS & ENTRY_LOAD_PAT ? f->GUEST_PAT : vmread(VMCS_GUEST_PAT);
	s->dr7 = f->ENTRY_CONTROLS & ENTRY_LOAD_DEBUG ? f->GUEST_DR7 : vmread(VMCS_GUEST_DR7);
	s->debugctl = f->ENTRY_CONTROLS & ENTRY_LOAD_DEBUG ? f->GUEST_DEBUGCTL : vmread(VMCS_GUEST_DEBUGCTL);
	if (f->ENTRY_CONTROLS & ENTRY_LOAD_EFER) {
		s->efer = f->GUEST_EFER;
		return;
	}
	/* SDM 3C, Loading Guest Control Registers, Debug Registers, and MSRs: LMA is the control, LME too if paging is on. */
	u64 bits = f->ENTRY_CONTROLS & ENTRY_IA32E ? EFER_LMA | EFER_LME : 0;
	u64 which = f->GUEST_CR0 & CR0_PG ? EFER_LMA | EFER_LME : EFER_LMA;
	s->efer = (vmread(VMCS_GUEST_EFER) & ~which) | (bits & which);
}

/* Once per vmcs02: fields that never change. Precondition: vmcs02 loaded. */
static void write_constants(struct vcpu *v)
{
	struct nested *n = v->nested;

	vmcs_write_host_state(v);
	vmwrite(VMCS_HOST_RIP, (u64)(trace_on ? vmx_exit_entry_nested_traced : vmx_exit_entry_nested));
	vmwrite(VMCS_VMCS_LINK_PTR, ~0ull);
	vmwrite(VMCS_EXIT_MSR_STORE_COUNT, 0);
	vmwrite(VMCS_EXIT_MSR_LOAD_COUNT, 0);
	vmwrite(VMCS_ENTRY_MSR_LOAD_COUNT, 0);
	vmwrite(VMCS_ENTRY_INTR_INFO, 0);
	vmwrite(VMCS_MSR_BITMAP, virt_to_hpa(n->msr_bitmap).v);
	vmwrite(VMCS_IO_BITMAP_A, virt_to_hpa(n->io_bitmap).v);
	vmwrite(VMCS_IO_BITMAP_B, virt_to_hpa(n->io_bitmap).v + PAGE_SIZE);
	if (vmx_caps.posted)
		vmwrite(VMCS_PI_NOTIFICATION_VECTOR, IRQ_VEC_PI_NESTED);
	if (vmx_caps.proc2.may & PROC2_VMFUNC)
		vmwrite(VMCS_VMFUNC_CONTROLS, 0); /* every function exits */
	n->in02_valid = false;
	n->vmcs02_ready = true;
}

/* What the VMCS that runs L1 asks for. Its vmcs01 is a vmcs02: what is merged there holds here as our own policy does below. */
static void policy_of_below(struct merge_policy *p, const struct nested *b)
{
	p->pin = b->merged.pin;
	p->proc = b->merged.proc;
	p->proc2 = b->merged.proc2;
	p->exception_bitmap = b->merged.exception_bitmap;
	p->tsc = b->merged.tsc;
	p->cr0_owned = b->merged.cr0_mask & ~(CR0_PE | CR0_PG | CR0_WP);
	p->cr4_owned = b->merged.cr4_mask & ~(CR4_PAE | CR4_PSE | CR4_OSXSAVE | CR4_PKE);
}

static u64 tsc_now_for(const struct vmcs12 *f) { return proc2_12(f, PROC2_TSC_SCALING) ? rdtsc() : 0; }

static void put_tsc(struct nested *n)
{
	if (vmx_caps.proc.may & PROC_TSC_OFFSET)
		PUT(n, TSC_OFFSET, n->merged.tsc.offset);
	if (n->merged.proc2 & PROC2_TSC_SCALING)
		PUT(n, TSC_MULTIPLIER, n->merged.tsc.multiplier);
}

static void put_merged(struct vcpu *v)
{
	struct nested *n = v->nested;
	struct merge_policy p = {
		.pin = vmx_caps.use_pin, .proc = vmx_caps.use_proc, .proc2 = vmx_caps.use_proc2, .exit = vmx_caps.use_exit,
		.entry = vmx_caps.use_entry, .exit_may = vmx_caps.exit.may, .cr0_owned = state_cr0_owned(v),
		.cr4_owned = state_cr4_owned(v), .cr0_set = CR0_NE, .cr4_set = CR4_VMXE, .cr4_clear = CR4_MCE, .pi_hw = n->pi_hw,
		.tsc = { TSC_ONE, v->tsc_offset }, .tsc_now = tsc_now_for(&n->v12),
	};
	struct merged m;

	if (n->below)
		policy_of_below(&p, n->below);
	n->cr0_owned02 = p.cr0_owned;
	n->cr4_owned02 = p.cr4_owned;
	merge_controls(&m, &n->v12, &p);
	if (n->below)
		n->policy_seen = n->below->policy_made;
	n->merged = m;
	n->policy_made++;
	n->pin02 = m.pin;
	PUT(n, PIN_CONTROLS, m.pin);
	n->proc02 = m.proc;
	state_set_ours(n, 0);
	PUT(n, PROC2_CONTROLS, m.proc2);
	PUT(n, EXIT_CONTROLS, m.exit);
	PUT(n, ENTRY_CONTROLS, m.entry);
	PUT(n, EXCEPTION_BITMAP, m.exception_bitmap);
	put_tsc(n);
	PUT(n, CR0_MASK, m.cr0_mask);
	PUT(n, CR4_MASK, m.cr4_mask);
	PUT(n, CR0_READ_SHADOW, m.cr0_shadow);
	PUT(n, CR4_READ_SHADOW, m.cr4_shadow);
	PUT(n, GUEST_CR0, m.cr0);
	PUT(n, GUEST_CR4, m.cr4);
}

void nested_tsc_changed(struct vcpu *v)
{
	struct vmcs *loaded = v->loaded;
	struct tsc_view tsc = { TSC_ONE, v->tsc_offset };

	for (struct nested *n = v->nested_base; n; n = n->above) {
		n->dirty |= NEST_GROUP_CONTROLS;
		if (!n->in02_valid)
			break;
		tsc = n->merged.tsc = merge_tsc(&n->v12, tsc, tsc_now_for(&n->v12));
		vcpu_load_vmcs(v, &n->vmcs02);
		put_tsc(n);
	}
	if (v->loaded != loaded)
		vcpu_load_vmcs(v, loaded);
}

/*
 * An interrupt of a port may come to L2 by the processor alone (vmx/posting.h). Above the base vmcs12's vector is one of its L1's, which
 * we do not know; every level on the way has named the page.
 */
static void put_notification(struct vcpu *v, struct nested *n)
{
	if (n->pi_hw)
		PUT(n, PI_NOTIFICATION_VECTOR, posting_inner_vector(v, n->below ? NULL : &n->v12.PI_NOTIFICATION_VECTOR, n->pi_desc));
}

static void posting_changed(struct vcpu *v, struct nested *n)
{
	if (!n->vmcs02_ready)
		return;
	vcpu_load_vmcs(v, &n->vmcs02);
	put_notification(v, n);
}

void nested_posting_changed(struct vcpu *v) { each_engine(v, v->nested_base, posting_changed); }

/* Fields that exist only with the controls that L1 turned on (so the CPU has them). */
static void put_optional(struct nested *n)
{
	const struct vmcs12 *f = &n->v12;

	if (proc12(f, PROC_TPR_SHADOW))
		PUT(n, VIRTUAL_APIC_ADDR, n->virtual_apic.v);
	if (proc2_12(f, PROC2_APIC_ACCESS))
		PUT(n, APIC_ACCESS_ADDR, n->apic_access.v);
	if (proc2_12(f, PROC2_VIRT_INT)) {
		PUT(n, EOI_EXIT_0, f->EOI_EXIT_0);
		PUT(n, EOI_EXIT_1, f->EOI_EXIT_1);
		PUT(n, EOI_EXIT_2, f->EOI_EXIT_2);
		PUT(n, EOI_EXIT_3, f->EOI_EXIT_3);
	}
	if (n->pi_hw && pin12(f, PIN_POSTED_INT))
		PUT(n, PI_DESC_ADDR, n->pi_desc.v);
	if (proc2_12(f, PROC2_XSAVES)) /* of no effect while IA32_XSS has no bits: vmx/msr.c */
		PUT(n, XSS_EXITING_BITMAP, f->XSS_EXITING_BITMAP);
	if (proc2_12(f, PROC2_PAUSE_LOOP)) {
		PUT(n, PLE_GAP, f->PLE_GAP);
		PUT(n, PLE_WINDOW, f->PLE_WINDOW);
	}
}

/* What nearly every exit changes. */
static void put_hot(struct nested *n)
{
	const struct vmcs12 *f = &n->v12;

	WRITE_ALL(HOT_STATE);
	if (proc12(f, PROC_TPR_SHADOW))
		PUT(n, TPR_THRESHOLD, f->TPR_THRESHOLD);
	if (proc2_12(f, PROC2_VIRT_INT))
		PUT(n, GUEST_INTERRUPT_STATUS, f->GUEST_INTERRUPT_STATUS);
	if (pin12(f, PIN_PREEMPTION_TIMER))
		PUT(n, PREEMPTION_TIMER, f->PREEMPTION_TIMER);
}

static void put_state(struct nested *n, u32 dirty)
{
	const struct vmcs12 *f = &n->v12;

	if (dirty & NEST_GROUP_SEGMENTS)
		WRITE_ALL(SEGMENT_STATE);
	if (dirty & NEST_GROUP_REGISTERS)
		WRITE_ALL(REGISTER_STATE);
	if (dirty & NEST_GROUP_CONTROLS)
		WRITE_ALL(OWN_CONTROLS);
}

static void put_pdptes(struct nested *n)
{
	PUT(n, GUEST_PDPTE0, n->pdpte[0]);
	PUT(n, GUEST_PDPTE1, n->pdpte[1]);
	PUT(n, GUEST_PDPTE2, n->pdpte[2]);
	PUT(n, GUEST_PDPTE3, n->pdpte[3]);
}

static const u64 *l1_page(struct vcpu *v, bool used, u64 gpa)
{
	return used ? l1_page_at(v, gpa) : NULL;
}

static void merge_io(struct vcpu *v, u32 half, u64 gpa)
{
	static const u64 none[PAGE_SIZE / 8];
	struct nested *n = v->nested;
	const struct vmcs12 *f = &n->v12;
	u64 *dst = (u64 *)n->io_bitmap + half * (PAGE_SIZE / 8), *ours = (u64 *)(n->below ? n->below->io_bitmap : v->io_bitmap_pages) + half * (PAGE_SIZE / 8);

	if (!n->io_open[half].nr) /* nothing of ours passes: ones stay ones */
		return;
	if (proc12(f, PROC_IO_BITMAPS))
		merge_bitmap(dst, &n->io_open[half], ours, l1_page(v, true, gpa));
	else
		merge_bitmap(dst, &n->io_open[half], ours, proc12(f, PROC_UNCOND_IO) ? NULL : none);
}

static void merge_bitmaps(struct vcpu *v)
{
	struct nested *n = v->nested;
	const struct vmcs12 *f = &n->v12;
	const u64 *l1 = l1_page(v, proc12(f, PROC_MSR_BITMAPS), f->MSR_BITMAP);

	merge_bitmap(n->msr_bitmap, &n->msr_open, n->below ? n->below->msr_bitmap : v->msr_bitmap_page, l1);
	merge_x2apic(n->msr_bitmap, f, l1);
	merge_io(v, 0, f->IO_BITMAP_A);
	merge_io(v, 1, f->IO_BITMAP_B);
	n->bitmaps_made++;
	vmcs_bitmaps_changed(&n->vmcs02);
}

static void put_ept_and_vpid(struct vcpu *v, bool dirty)
{
	struct nested *n = v->nested;
	const struct vmcs12 *f = &n->v12;
	u16 vpid12 = proc2_12(f, PROC2_VPID) ? (u16)f->VPID : 0;

	if (!vpid12 || vpid12 != n->vpid12) {
		vpid_select(n, vpid12);
		if (vmx_caps.use_proc2 & PROC2_VPID)
			PUT(n, VPID, n->vpid02);
	}
	if (!(dirty | n->nr_newly_dirty) && ept02_settled(n))
		return;
	const struct ept02 *before = n->ept;

	if (!has_ept02(n))
		n->ept = NULL;
	else if (!ept02_select(v))
		vcpu_kill(v, "no memory left for the tables of its guest");
	if (n->ept != before)
		ept02_drop_above(n);
	if (n->nr_newly_dirty)
		ept02_recheck(v);
	PUT(n, EPTP, ept02_pointer(n, v->core.vm));
	n->ept_selected = false;
}

static void take_event(struct vcpu *v)
{
	const struct vmcs12 *f = &v->nested->v12;

	v->event = (struct vcpu_event){ 0 };
	if (!(f->ENTRY_INTR_INFO & INTR_VALID))
		return;
	u64 type = FIELD_GET(INTR_TYPE, f->ENTRY_INTR_INFO);
	if (type == INTR_OTHER) { /* SDM 3C, Injection of Pending MTF VM Exits: whatever the control says */
		v->nested->trap_due = true;
		return;
	}
	bool soft = type == INTR_SW_INT || type == INTR_PRIV_SW_EXCEPTION || type == INTR_SW_EXCEPTION;

	v->event.info = (u32)f->ENTRY_INTR_INFO;
	v->event.error = (u32)f->ENTRY_EXCEPTION_ERROR;
	v->event.insn_len = soft ? (u32)f->ENTRY_INSN_LEN : 0;
}

/* MSRs and debug registers, of which L2 inherits L1's where vmcs12 does not load them. */
static void put_inherited(struct nested *n, const struct l1_state *l1)
{
	PUT(n, GUEST_PAT, l1->pat);
	PUT(n, GUEST_EFER, l1->efer);
	PUT(n, GUEST_DR7, l1->dr7);
	PUT(n, GUEST_DEBUGCTL, l1->debugctl);
}

/* While L2 runs, L1's interrupts wait: in its vlapic, which is ours, or where the processor would deliver them from. */
static void note_interrupts_of_l1(struct vcpu *v)
{
	struct nested *n = v->nested;
	u64 status = vmx_caps.apicv ? vmread(VMCS_GUEST_INTERRUPT_STATUS) : 0;

	if (n->below)
		n->status01 = (u16)status;
	else if (status & 0xff)
		v->vlapic->maybe_irr = true;
}

/* What the engine below lets pass is what may pass here. */
static void take_bitmaps_of_below(struct nested *n, u32 *dirty)
{
	const struct nested *b = n->below;

	n->bitmaps_seen = b->bitmaps_made;
	memset(n->msr_bitmap, 0xff, PAGE_SIZE);
	memset(n->io_bitmap, 0xff, 2 * PAGE_SIZE);
	open_words_find(&n->msr_open, b->msr_bitmap, PAGE_SIZE / 8);
	open_words_find(&n->io_open[0], b->io_bitmap, PAGE_SIZE / 8);
	open_words_find(&n->io_open[1], (u64 *)b->io_bitmap + PAGE_SIZE / 8, PAGE_SIZE / 8);
	*dirty |= NEST_GROUP_BITMAPS;
}

void state_enter(struct vcpu *v)
{
	struct nested *n = v->nested;
	const struct vmcs12 *f = &n->v12;
	u32 dirty = n->in02_valid ? n->dirty : NEST_GROUPS_ALL;
	struct l1_state l1;

	read_l1(f, &l1);
	note_interrupts_of_l1(v);
	if (n->below && n->bitmaps_seen != n->below->bitmaps_made)
		take_bitmaps_of_below(n, &dirty);
	if (n->below && n->policy_seen != n->below->policy_made)
		dirty |= NEST_GROUP_CONTROLS | NEST_GROUP_REGISTERS;
	if (dirty & NEST_GROUP_CONTROLS)
		translate_pages(v);
	if (dirty & (NEST_GROUP_BITMAPS | NEST_GROUP_CONTROLS))
		merge_bitmaps(v);
	vcpu_load_vmcs(v, &n->vmcs02);
	if (!n->vmcs02_ready)
		write_constants(v);
	if (dirty & (NEST_GROUP_CONTROLS | NEST_GROUP_REGISTERS))
		put_merged(v);
	put_state(n, dirty);
	put_hot(n);
	if (dirty & NEST_GROUP_CONTROLS) {
		put_optional(n);
		put_notification(v, n);
	}
	if (pae_guest(f))
		put_pdptes(n);
	put_inherited(n, &l1);
	n->l2_halted = f->GUEST_ACTIVITY == ACTIVITY_HLT;
	n->l2_waits = f->GUEST_ACTIVITY == ACTIVITY_WAIT_SIPI;
	n->activity02 = ACTIVITY_ACTIVE;
	PUT(n, GUEST_ACTIVITY, ACTIVITY_ACTIVE);
	put_ept_and_vpid(v, dirty & NEST_GROUP_CONTROLS);
	take_event(v);
	n->in02_valid = true;
	n->dirty = 0;
	n->ran = false;
}
