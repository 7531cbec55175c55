/*
 * Handing an exit of L2 to L1: exit information, L2's state, then L1's host state (SDM 3C, VM Exits).
 *
 * Invariant: afterwards vmcs01 is loaded and L1 stands where its VMCS says; v->event holds nothing of L2 any more.
 */
#include "core/trace.h"
#include "core/x86.h"
#include "vmx/nested_priv.h"

static void put_info(struct vmcs12 *f, const struct exit_info *i)
{
	f->EXIT_REASON = i->reason;
	f->EXIT_QUALIFICATION = i->qualification;
	f->EXIT_INTR_INFO = i->intr_info;
	f->EXIT_INTR_ERROR = i->intr_error;
	f->IDT_VECTORING_INFO = i->idt_info;
	f->IDT_VECTORING_ERROR = i->idt_error;
	f->EXIT_INSN_LEN = i->insn_len;
	f->EXIT_INSN_INFO = i->insn_info;
	f->GUEST_LINEAR_ADDR = i->linear;
	f->GUEST_PHYSICAL_ADDR = i->physical;
	f->ENTRY_INTR_INFO &= ~INTR_VALID; /* SDM 3C, Event Injection: cleared by every VM exit */
}

void reflect_fast(struct vcpu *v, const struct exit_info *info)
{
	struct nested *n = v->nested;
	struct vmcs12 *f = &n->v12;
	u32 basic = (u32)info->reason & 0xffff;

	v->core.count.reflected[MIN(basic, (u32)COUNT_EXIT_REASONS - 1)]++;
	n->trap_due = false; /* what exits first leaves none behind */
	state_save(v);
	put_info(f, info);
	if (msr_area_store(v, f->EXIT_MSR_STORE_ADDR, f->EXIT_MSR_STORE_COUNT)) {
		region_abort(v, ABORT_SAVE_MSR);
		return;
	}
	bool nmi = basic == XR_EXCEPTION_NMI && FIELD_GET(INTR_TYPE, info->intr_info) == INTR_NMI;
	host_state_load(v, true, nmi);
}

void reflect(struct vcpu *v, const struct exit_info *info)
{
	trace(&v->core, TRACE_REFLECT, v->nested->height, info->reason & 0xffff, info->qualification, info->intr_info);
	reflect_fast(v, info);
}

#define INSN_INFO(F) \
	F(qualification, EXIT_QUALIFICATION) F(linear, GUEST_LINEAR_ADDR) F(insn_len, EXIT_INSN_LEN) F(insn_info, EXIT_INSN_INFO)
#define EXIT_INFO(F) \
	INSN_INFO(F) F(reason, EXIT_REASON) F(physical, GUEST_PHYSICAL_ADDR) F(intr_info, EXIT_INTR_INFO) F(idt_info, IDT_VECTORING_INFO)
#define READ_HW(member, name) vmread_again_to(VMCS_##name, i->member);
#define READ_MEMORY(member, name) i->member = vmread_memory(VMCS_##name);
void exit_info_read(struct exit_info *i)
{
	if (vmcs_in_memory) {
		EXIT_INFO(READ_MEMORY)
	} else {
		EXIT_INFO(READ_HW)
	}
	i->intr_error = i->intr_info & INTR_HAS_ERROR ? vmread(VMCS_EXIT_INTR_ERROR) : 0;
	i->idt_error = i->idt_info & INTR_HAS_ERROR ? vmread(VMCS_IDT_VECTORING_ERROR) : 0;
}

void nested_reflect(struct vcpu *v, u32 reason)
{
	struct exit_info i;

	exit_info_read(&i);
	i.reason = reason;
	reflect(v, &i);
}

/* NESTED_FAST_REASONS: no event is at hand, and no guest-physical address belongs to them. */
void nested_reflect_fast(struct vcpu *v, u32 reason)
{
	struct exit_info info = { .reason = reason }, *i = &info;

	if (vmcs_in_memory) {
		INSN_INFO(READ_MEMORY)
	} else {
		INSN_INFO(READ_HW)
	}
	reflect_fast(v, &info);
}

void reflect_as(struct vcpu *v, u32 reason, u64 qualification)
{
	struct exit_info i;

	exit_info_read(&i);
	i.reason = reason;
	i.qualification = qualification;
	reflect(v, &i);
}

void exit_info_take_event(const struct vcpu *v, struct exit_info *i)
{
	if (!(v->event.info & INTR_VALID))
		return;
	i->idt_info = v->event.info;
	i->idt_error = v->event.error;
	i->insn_len = v->event.insn_len;
}

void reflect_event(struct vcpu *v, u32 reason, u32 intr_info)
{
	struct exit_info i = { .reason = reason, .intr_info = intr_info };

	exit_info_take_event(v, &i);
	reflect(v, &i);
}

/* SDM 3C, Exception Bitmap: page faults are filtered by mask and match. */
bool reflect_wants_exception(const struct vmcs12 *f, u32 vector, u64 error)
{
	bool bit = f->EXCEPTION_BITMAP & BIT(vector & 31);

	return vector == VEC_PF ? bit == ((error & f->PF_ERROR_MASK) == f->PF_ERROR_MATCH) : bit;
}

bool nested_exception_exits(struct vcpu *v, u8 vector, bool has_error, u32 error)
{
	struct exit_info i = { .reason = XR_EXCEPTION_NMI, .intr_error = error };

	if (!nested_in_l2(v) || !reflect_wants_exception(&v->nested->v12, vector, error))
		return false;
	i.intr_info = (u32)(INTR_VALID | FIELD_PREP(INTR_TYPE, INTR_HW_EXCEPTION) | (has_error ? INTR_HAS_ERROR : 0) | vector);
	if (vector == VEC_PF)
		i.qualification = read_cr2();
	exit_info_take_event(v, &i);
	reflect(v, &i);
	return true;
}

void nested_triple_fault(struct vcpu *v)
{
	v->event.info = 0;
	reflect_event(v, XR_TRIPLE_FAULT, 0);
}
