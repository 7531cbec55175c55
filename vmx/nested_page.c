/*
 * VMCS pages of L1 (core/abi.h): a vmcs12 that L1 reads and writes in its own memory.
 *
 * Invariant: what we check and use is our copy, v12; each field of the page is read once per entry at most, and only those of groups
 * that L1 says it has touched, once it has run from this page. What L1 may read is written to the page at each exit. A page is current
 * like a VMCS region is (n->current_gpa); n->page tells them apart.
 */
#include "core/errno.h"
#include "core/hypercall.h"
#include "vmx/nested_priv.h"
#include "vmx/vmcs.h"

static const u64 width_mask[4] = { 0xffff, ~0ull, 0xffffffff, ~0ull };

#define SLOT(page, name) ((page)->field[NEST_VMCS_SLOT(VMCS_##name)])

/* ---- from the page ---- */
/* The fields of one group; 0: the hot ones. For a constant group only its loads remain. */
static __inline_always void take_group(struct vmcs12 *f, const struct nest_vmcs_page *p, u32 group)
{
#define TAKE(name, enc) \
	if (vmcs_group(enc) == group && FIELD_GET(VMCS_ENC_TYPE, enc) != FIELD_TYPE_READ_ONLY) \
		f->name = READ_ONCE(p->field[NEST_VMCS_SLOT(enc)]) & width_mask[FIELD_GET(VMCS_ENC_WIDTH, enc)];
	VMCS_FIELDS(TAKE)
#undef TAKE
}

static void take(struct nested *n, u32 groups)
{
	take_group(&n->v12, n->page, 0);
	if (!groups)
		return;
	if (groups & NEST_GROUP_CONTROLS)
		take_group(&n->v12, n->page, NEST_GROUP_CONTROLS);
	if (groups & NEST_GROUP_SEGMENTS)
		take_group(&n->v12, n->page, NEST_GROUP_SEGMENTS);
	if (groups & NEST_GROUP_REGISTERS)
		take_group(&n->v12, n->page, NEST_GROUP_REGISTERS);
	if (groups & NEST_GROUP_HOST)
		take_group(&n->v12, n->page, NEST_GROUP_HOST);
}

static bool make_current(struct vcpu *v, u64 gpa)
{
	struct nested *n = v->nested;
	struct nest_vmcs_page *p = region_gpa_ok(gpa) && gpa != n->vmxon_gpa ? l1_page_at(v, gpa) : NULL;

	region_put(v);
	if (!p || READ_ONCE(p->revision) != NEST_VMCS_REVISION || READ_ONCE(p->abort) || !unpark(v, p, gpa))
		return false;
	n->v12 = (struct vmcs12){ 0 };
	n->page = p;
	n->current_gpa = gpa;
	n->shadow12 = false;
	n->launched12 = READ_ONCE(p->launched) != 0;
	n->dirty = NEST_GROUPS_ALL;
	return true;
}

void page_collect(struct vcpu *v)
{
	struct nested *n = v->nested;
	u64 gpa = n->assist ? READ_ONCE(n->assist->vmcs_page) : NEST_VMCS_NONE;

	if (gpa == NEST_VMCS_NONE) {
		if (n->page)
			region_put(v);
		return;
	}
	if ((!n->page || gpa != n->current_gpa) && !make_current(v, gpa))
		return; /* no current VMCS then: VMfailInvalid */
	n->dirty |= ~READ_ONCE(n->page->clean) & NEST_GROUPS_ALL;
	if (n->dirty & NEST_GROUP_SEGMENTS)
		n->segments_in_page = false;
	if (n->dirty & NEST_GROUP_HOST)
		n->host_loaded = false;
	if (n->dirty & NEST_GROUP_CONTROLS) {
		n->delegate = nested_delegates(v->core.vm) && park_room(v) ? READ_ONCE(n->page->delegate) : NEST_VMCS_NONE;
		n->init_further_in = n->delegate != NEST_VMCS_NONE && READ_ONCE(n->page->init);
		v->posted_further_in |= n->init_further_in; /* no short way */
	}
	take(n, n->dirty);
}

void page_collect_segments(struct nested *n)
{
	if (!n->segments_in_page)
		return;
	take_group(&n->v12, n->page, NEST_GROUP_SEGMENTS);
	n->dirty |= NEST_GROUP_SEGMENTS;
	n->segments_in_page = false;
}

/* ---- to the page ---- */
static void give_segments(struct nest_vmcs_page *p, const struct vmcs12 *f)
{
#define GIVE_SEGMENT(name, enc) \
	if (vmcs_group(enc) == NEST_GROUP_SEGMENTS) \
		p->field[NEST_VMCS_SLOT(enc)] = f->name;
	VMCS_FIELDS(GIVE_SEGMENT)
#undef GIVE_SEGMENT
}

static void give_pdptes(struct nest_vmcs_page *p, const struct vmcs12 *f)
{
	SLOT(p, GUEST_PDPTE0) = f->GUEST_PDPTE0;
	SLOT(p, GUEST_PDPTE1) = f->GUEST_PDPTE1;
	SLOT(p, GUEST_PDPTE2) = f->GUEST_PDPTE2;
	SLOT(p, GUEST_PDPTE3) = f->GUEST_PDPTE3;
}

/* What a VM exit can change of a vmcs12, but for segments and PDPTEs (SDM 3C, Saving Guest State; Recording VM-Exit Information). */
#define EXIT_CHANGES(F) \
	F(EXIT_REASON) F(EXIT_QUALIFICATION) F(EXIT_INTR_INFO) F(EXIT_INTR_ERROR) F(IDT_VECTORING_INFO) F(IDT_VECTORING_ERROR) \
	F(EXIT_INSN_LEN) F(EXIT_INSN_INFO) F(GUEST_LINEAR_ADDR) F(GUEST_PHYSICAL_ADDR) F(ENTRY_INTR_INFO) F(ENTRY_CONTROLS) \
	F(GUEST_RIP) F(GUEST_RSP) F(GUEST_RFLAGS) F(GUEST_PENDING_DBG) F(GUEST_INTERRUPTIBILITY) F(GUEST_ACTIVITY) \
	F(GUEST_INTERRUPT_STATUS) F(GUEST_CR0) F(GUEST_CR3) F(GUEST_CR4) F(GUEST_EFER) F(GUEST_PAT) F(GUEST_DR7) F(GUEST_DEBUGCTL) \
	F(GUEST_SYSENTER_CS) F(GUEST_SYSENTER_ESP) F(GUEST_SYSENTER_EIP) F(PREEMPTION_TIMER) F(PML_INDEX) F(EPTP) F(EPTP_INDEX)
void page_publish(struct nested *n)
{
	struct nest_vmcs_page *p = n->page;
	const struct vmcs12 *f = &n->v12;

#define GIVE(name) SLOT(p, name) = f->name;
	EXIT_CHANGES(GIVE)
#undef GIVE
	if (pae_guest(f))
		give_pdptes(p, f);
	if (!n->segments_in_page)
		give_segments(p, f);
	WRITE_ONCE(p->clean, NEST_GROUPS_ALL);
}

void page_publish_error(struct nested *n) { SLOT(n->page, INSN_ERROR) = n->v12.INSN_ERROR; }

void page_put(struct vcpu *v, struct nested *n)
{
	park(v, n);
	WRITE_ONCE(n->page->launched, n->launched12);
	WRITE_ONCE(n->page->clean, 0);
	page_forget(n);
}

void page_forget(struct nested *n)
{
	n->page = NULL;
	n->delegate = NEST_VMCS_NONE;
	n->init_further_in = false;
	n->segments_in_page = false;
	n->current_gpa = ~0ull;
}

/* ---- pages that the outer has, too ---- */
bool page_delegated(const struct vcpu *v) { return v->nested_base->shared; }

void page_leave_to_outer(struct vcpu *v)
{
	if (v->nested && v->nested->page && page_delegated(v)) /* a VM may have no VMX, and execute VMLAUNCH all the same */
		region_put(v);
}

void nested_before_l1(struct vcpu *v) { page_leave_to_outer(v); }

bool page_init_waits(struct vcpu *v)
{
	struct nested *n = v->nested_base;

	if (n->init_blocked && page_delegated(v) && !vmcs_init_waits(&v->vmcs01))
		n->init_blocked = 0; /* the outer has made it an exit of what L1 runs */
	return n->init_blocked;
}

void page_set_init(struct vcpu *v, bool waits)
{
	v->nested_base->init_blocked = waits;
	if (vmcs_in_memory)
		vmcs_set_init(&v->vmcs01, waits);
}

/* ---- HC_VMX_ASSIST ---- */
static s64 hc_vmx_assist(struct hc_call *c)
{
	struct vcpu *v = vcpu_of(c->v);
	u64 gpa = c->arg[0];
	void *page = NULL;

	if (!v->nested || !nested_offers_pages(v->core.vm))
		return -EPERM;
	if (gpa != ~0ull) {
		if (!IS_ALIGNED(gpa, PAGE_SIZE))
			return -EINVAL;
		page = l1_page_at(v, gpa);
		if (!page)
			return -EFAULT;
	}
	page_init_waits(v); /* while the outer can be asked */
	v->nested->assist = page;
	v->nested->shared = page && outer_features() & NEST_FEAT_DELEGATE;
	if (outer_features() & NEST_FEAT_DELEGATE)
		vmcs_delegate(&v->vmcs01, gpa);
	return 0;
}

/* Flat nesting rests on virtual-interrupt delivery at every level. */
bool nested_delegates(const struct vm *vm) { return nested_offers_pages(vm) && !vm->cfg->vmx_pages && vmx_caps.posted && vmx_caps.vpid; }

bool nested_offers_pages(const struct vm *vm) { return vm->cfg->vmx && !vm->cfg->vmx_plain; }

void nested_page_init(void)
{
	static const struct hc_entry entry = { .name = "vmx_assist", .fn = hc_vmx_assist, .record = HC_REC_NONE };

	hypercall_bind(HC_VMX_ASSIST, &entry);
}
