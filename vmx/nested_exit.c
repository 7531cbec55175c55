/*
 * Who owns an exit of L2: we first (what the machine sent us, what our own EPT caused), then L1 if vmcs12 asks for it, else we
 * handle it as if L1 had caused it.
 *
 * Invariant: the table has a row for every basic exit reason that a VMCS of ours can produce; a reason without a row goes to the
 * ordinary handlers, which end the VM. L1's bitmaps are read at the exit.
 */
#include "core/x86.h"
#include "vmx/exit_family.h"
#include "vmx/nested_priv.h"

typedef bool (*wants_fn)(struct vcpu *v, const struct vmcs12 *f);

/* ---- exits whose owner depends on details ---- */
static bool wants_exception(struct vcpu *v, const struct vmcs12 *f)
{
	u64 info = vmread(VMCS_EXIT_INTR_INFO);

	(void)v;
	if (FIELD_GET(INTR_TYPE, info) == INTR_NMI)
		return false; /* the machine's: L1's NMIs come through nested_before_entry */
	return reflect_wants_exception(f, (u32)FIELD_GET(INTR_VECTOR, info), info & INTR_HAS_ERROR ? vmread(VMCS_EXIT_INTR_ERROR) : 0);
}

#define Q_CR BITS(3, 0)
#define Q_CR_TYPE BITS(5, 4)
#define Q_CR_GPR BITS(11, 8)
#define Q_LMSW BITS(31, 16)
enum { CR_MOV_TO, CR_MOV_FROM, CR_CLTS, CR_LMSW };

/* A write exits to L1 if it gives a bit that L1 owns another value than L1 shows (SDM 3C, Guest/Host Masks and Read Shadows). */
static bool write_differs(u64 value, u64 mask12, u64 shadow12) { return (value ^ shadow12) & mask12; }

static bool wants_cr3_load(const struct vmcs12 *f, u64 value)
{
	const u64 target[4] = { f->CR3_TARGET_0, f->CR3_TARGET_1, f->CR3_TARGET_2, f->CR3_TARGET_3 };

	for (u64 i = 0; i < f->CR3_TARGET_COUNT && i < 4; i++)
		if (target[i] == value)
			return false;
	return proc12(f, PROC_CR3_LOAD);
}

static bool wants_mov_to_cr(struct vcpu *v, const struct vmcs12 *f, u64 q)
{
	u64 value = vcpu_gpr(v, (u32)FIELD_GET(Q_CR_GPR, q));

	if (!(vmread(VMCS_GUEST_EFER) & EFER_LMA) || !(vmread(VMCS_GUEST_CS_AR) & BIT(13)))
		value = (u32)value;
	switch (FIELD_GET(Q_CR, q)) {
	case 0:
		return write_differs(value, f->CR0_MASK, f->CR0_READ_SHADOW);
	case 3:
		return wants_cr3_load(f, value);
	case 4:
		return write_differs(value, f->CR4_MASK, f->CR4_READ_SHADOW);
	default:
		return proc12(f, PROC_CR8_LOAD);
	}
}

/* LMSW: PE counts only if it is being set; MP, EM, TS always. CLTS: if L1 owns TS and shows it set. */
static bool wants_lmsw(const struct vmcs12 *f, u64 source)
{
	u64 rest = CR0_MP | CR0_EM | CR0_TS;

	if ((f->CR0_MASK & CR0_PE) && (source & CR0_PE) && !(f->CR0_READ_SHADOW & CR0_PE))
		return true;
	return write_differs(source & rest, f->CR0_MASK & rest, f->CR0_READ_SHADOW);
}

static bool wants_cr(struct vcpu *v, const struct vmcs12 *f)
{
	u64 q = vmread(VMCS_EXIT_QUALIFICATION);

	switch (FIELD_GET(Q_CR_TYPE, q)) {
	case CR_MOV_TO:
		return wants_mov_to_cr(v, f, q);
	case CR_MOV_FROM:
		return proc12(f, FIELD_GET(Q_CR, q) == 8 ? PROC_CR8_STORE : PROC_CR3_STORE);
	case CR_CLTS:
		return (f->CR0_MASK & CR0_TS) && (f->CR0_READ_SHADOW & CR0_TS);
	default:
		return wants_lmsw(f, FIELD_GET(Q_LMSW, q));
	}
}

/* One bit of a bitmap in L1's memory; outside RAM all bits are one. */
static bool l1_bit(struct vcpu *v, u64 gpa, u32 bit)
{
	u8 byte;

	return l1_read(v, gpa + bit / 8, &byte, 1) || (byte & BIT(bit % 8));
}

#define Q_IO_SIZE BITS(2, 0)
#define Q_IO_PORT BITS(31, 16)
static bool wants_io(struct vcpu *v, const struct vmcs12 *f)
{
	u64 q = vmread(VMCS_EXIT_QUALIFICATION);
	u32 port = (u32)FIELD_GET(Q_IO_PORT, q), size = (u32)FIELD_GET(Q_IO_SIZE, q) + 1;

	if (!proc12(f, PROC_IO_BITMAPS))
		return proc12(f, PROC_UNCOND_IO);
	if (port + size > 0x10000) /* wraps around: exits (SDM 3C, I/O-Bitmap Addresses) */
		return true;
	for (u32 p = port; p < port + size; p++)
		if (l1_bit(v, p < 0x8000 ? f->IO_BITMAP_A : f->IO_BITMAP_B, p & 0x7fff))
			return true;
	return false;
}

/* SDM 3C, MSR-Bitmap Address: read low, read high, write low, write high. */
static bool wants_msr(struct vcpu *v, const struct vmcs12 *f, bool write)
{
	u32 msr = (u32)v->gpr[GPR_RCX], half;

	if (!proc12(f, PROC_MSR_BITMAPS))
		return true;
	if (msr <= 0x1fff)
		half = 0;
	else if (msr >= 0xc0000000 && msr <= 0xc0001fff)
		half = 1;
	else
		return true;
	return l1_bit(v, f->MSR_BITMAP, (write * 2 + half) * 1024 * 8 + (msr & 0x1fff));
}
static bool wants_rdmsr(struct vcpu *v, const struct vmcs12 *f) { return wants_msr(v, f, false); }
static bool wants_wrmsr(struct vcpu *v, const struct vmcs12 *f) { return wants_msr(v, f, true); }

static bool wants_pause(struct vcpu *v, const struct vmcs12 *f)
{
	(void)v;
	return proc12(f, PROC_PAUSE) || proc2_12(f, PROC2_PAUSE_LOOP);
}

static bool wants_invpcid(struct vcpu *v, const struct vmcs12 *f)
{
	(void)v;
	return proc12(f, PROC_INVLPG) && proc2_12(f, PROC2_INVPCID);
}

static bool wants_vmread(struct vcpu *v, const struct vmcs12 *f) { return !proc2_12(f, PROC2_SHADOW_VMCS) || link_wants(v, false); }
static bool wants_vmwrite(struct vcpu *v, const struct vmcs12 *f) { return !proc2_12(f, PROC2_SHADOW_VMCS) || link_wants(v, true); }

/* ---- the table ---- */
enum owner { OWNER_US = 1, OWNER_L1, OWNER_PIN, OWNER_PROC, OWNER_PROC2, OWNER_ASK };
struct rule { u8 owner; u32 bit; wants_fn wants; };
#define US { OWNER_US, 0, NULL }
#define L1 { OWNER_L1, 0, NULL }
#define PIN(b) { OWNER_PIN, (u32)(b), NULL }
#define PROC(b) { OWNER_PROC, (u32)(b), NULL }
#define PROC2(b) { OWNER_PROC2, (u32)(b), NULL }
#define ASK(fn) { OWNER_ASK, 0, fn }

static const struct rule rules[] = {
	[XR_EXCEPTION_NMI] = ASK(wants_exception), [XR_EXTERNAL_INTERRUPT] = US, [XR_TRIPLE_FAULT] = L1, [XR_INIT] = US,
	[XR_SIPI] = US, [XR_INTERRUPT_WINDOW] = PROC(PROC_INT_WINDOW), [XR_NMI_WINDOW] = PROC(PROC_NMI_WINDOW),
	[XR_TASK_SWITCH] = L1, [XR_CPUID] = L1, [XR_GETSEC] = L1, [XR_HLT] = PROC(PROC_HLT), [XR_INVD] = L1,
	[XR_INVLPG] = PROC(PROC_INVLPG), [XR_RDPMC] = PROC(PROC_RDPMC), [XR_RDTSC] = PROC(PROC_RDTSC), [XR_RSM] = L1,
	[XR_VMCALL] = L1, [XR_VMCLEAR] = L1, [XR_VMLAUNCH] = L1, [XR_VMPTRLD] = L1, [XR_VMPTRST] = L1, [XR_VMREAD] = ASK(wants_vmread),
	[XR_VMRESUME] = L1, [XR_VMWRITE] = ASK(wants_vmwrite), [XR_VMXOFF] = L1, [XR_VMXON] = L1, [XR_CR_ACCESS] = ASK(wants_cr),
	[XR_DR_ACCESS] = PROC(PROC_MOV_DR), [XR_IO] = ASK(wants_io), [XR_RDMSR] = ASK(wants_rdmsr), [XR_WRMSR] = ASK(wants_wrmsr),
	[XR_MWAIT] = PROC(PROC_MWAIT), [XR_MTF] = PROC(PROC_MTF), [XR_MONITOR] = PROC(PROC_MONITOR), [XR_PAUSE] = ASK(wants_pause),
	[XR_TPR_BELOW_THRESHOLD] = PROC(PROC_TPR_SHADOW), [XR_APIC_ACCESS] = PROC2(PROC2_APIC_ACCESS),
	[XR_VIRTUALIZED_EOI] = PROC2(PROC2_VIRT_INT), [XR_GDTR_IDTR] = PROC2(PROC2_DESC_TABLE), [XR_LDTR_TR] = PROC2(PROC2_DESC_TABLE),
	[XR_EPT_MISCONFIG] = US, [XR_INVEPT] = L1, [XR_RDTSCP] = PROC(PROC_RDTSC), [XR_PREEMPTION_TIMER] = PIN(PIN_PREEMPTION_TIMER),
	[XR_INVVPID] = L1, [XR_WBINVD] = PROC2(PROC2_WBINVD), [XR_XSETBV] = L1,
	[XR_APIC_WRITE] = PROC2(PROC2_APIC_REGS | PROC2_VIRT_INT | PROC2_APIC_ACCESS), [XR_RDRAND] = PROC2(PROC2_RDRAND),
	[XR_INVPCID] = ASK(wants_invpcid), [XR_VMFUNC] = US, [XR_RDSEED] = PROC2(PROC2_RDSEED),
	[XR_XSAVES] = PROC2(PROC2_XSAVES), [XR_XRSTORS] = PROC2(PROC2_XSAVES),
};

bool nested_l1_wants(struct vcpu *v, u32 reason)
{
	const struct vmcs12 *f = &v->nested->v12;
	const struct rule *r = &rules[reason];

	switch (r->owner) {
	case OWNER_L1:
		return true;
	case OWNER_PIN:
		return pin12(f, r->bit);
	case OWNER_PROC:
		return proc12(f, r->bit);
	case OWNER_PROC2:
		return proc2_12(f, r->bit);
	case OWNER_ASK:
		return r->wants(v, f);
	default:
		return false;
	}
}

/* ---- EPT ---- */
/* IRET had ended the blocking of NMIs when the fault came: it will be executed again (SDM 3C, NMI Unblocking Due to IRET). */
static void restore_nmi_blocking(u64 qualification)
{
	if ((qualification & EPT_QUAL_NMI_UNBLOCK) && !(vmread(VMCS_IDT_VECTORING_INFO) & INTR_VALID))
		vmwrite(VMCS_GUEST_INTERRUPTIBILITY, vmread(VMCS_GUEST_INTERRUPTIBILITY) | BLOCK_NMI);
}

/* Not L1's tables but those of a level further out: an exit of that level's own L2, at an address of that one. */
static void reflect_far(struct vcpu *v, u64 q)
{
	const struct nested *n = v->nested;
	bool violation = n->far.result == L2_FAULT_REFLECT;
	struct exit_info i = { .reason = violation ? XR_EPT_VIOLATION : XR_EPT_MISCONFIG, .physical = n->far.gpa };

	if (violation)
		i.qualification = (q & EPT_RWX) | FIELD_PREP(EPT_QUAL_PERMS, n->far.perm);
	vcpu_requeue_event(v);
	chain_reflect(v, n->far.engine, &i);
}

/* True: done. */
static bool ept_violation(struct vcpu *v)
{
	u64 q = vmread(VMCS_EXIT_QUALIFICATION), gpa = vmread(VMCS_GUEST_PHYSICAL_ADDR);
	u32 perm12;

	if (!v->nested->ept) /* L1 has no EPT for it: the address is L1's own */
		return false;
	switch (ept02_fault(v, gpa, q, &perm12)) {
	case L2_FAULT_FILLED:
		vcpu_requeue_event(v);
		restore_nmi_blocking(q);
		return true;
	case L2_FAULT_REFLECT:
		reflect_as(v, XR_EPT_VIOLATION, ept12_qualification(q, perm12));
		return true;
	case L2_FAULT_MISCONFIG:
		reflect_as(v, XR_EPT_MISCONFIG, 0);
		return true;
	case L2_FAULT_LOG_FULL: /* SDM 3C, Page-Modification Log-Full Events */
		reflect_as(v, XR_PML_FULL, q & EPT_QUAL_NMI_UNBLOCK);
		return true;
	case L2_FAULT_FURTHER_OUT:
		reflect_far(v, q);
		return true;
	case L2_FAULT_NO_MEMORY:
		vcpu_kill(v, "no memory left for the tables of its guest");
		return true;
	default:
		restore_nmi_blocking(q);
		return false;
	}
}

/* ---- what is neither L1's nor for the ordinary handlers ---- */
/* True: done, and v continues in L2. */
static bool consumed(struct vcpu *v, u32 reason)
{
	struct nested *n = v->nested;

	switch (reason) {
	case XR_INTERRUPT_WINDOW:
	case XR_NMI_WINDOW:
	case XR_MTF: /* ours, asked for by nested_before_entry, which looks again */
		return true;
	case XR_CR_ACCESS:
		if (l2_cr_access(v) == EXIT_ADVANCE)
			vcpu_advance(v);
		return true;
	case XR_VMREAD:
		if (link_vmread(v) == EXIT_ADVANCE)
			vcpu_advance(v);
		return true;
	case XR_VMWRITE:
		if (link_vmwrite(v) == EXIT_ADVANCE)
			vcpu_advance(v);
		return true;
	case XR_VMFUNC:
		if (link_vmfunc(v))
			vcpu_advance(v);
		else
			nested_reflect(v, reason);
		return true;
	case XR_HLT:
		n->l2_halted = true;
		if (!proc2_12(&n->v12, PROC2_VIRT_INT) && !pin12(&n->v12, PIN_PREEMPTION_TIMER))
			return false;
		vcpu_advance(v); /* the CPU itself halts L2: virtual interrupts and L1's timer end that without us */
		return true;
	default:
		return false;
	}
}

/* VM entry failed in the hardware: guest state that only it checks, or an MSR area of ours (there is none). */
static bool entry_failure(struct vcpu *v, u32 reason)
{
	struct nested *n = v->nested;

	n->vmcs02.launched = n->entered;
	entry_fail(v, reason & 0xffff, vmread(VMCS_EXIT_QUALIFICATION));
	return true;
}

bool nested_exit(struct vcpu *v, u32 reason)
{
	struct nested *n = v->nested;
	u32 full = reason;

	if (full & EXIT_REASON_ENTRY_FAILURE)
		return entry_failure(v, full);
	n->entered = n->ran = true;
	reason &= 0xffff;
	if (n->activity02 != ACTIVITY_ACTIVE) {
		n->activity02 = (u32)vmread(VMCS_GUEST_ACTIVITY);
		n->l2_halted = n->activity02 == ACTIVITY_HLT;
	}
	if (reason == XR_EPT_VIOLATION && ept_violation(v))
		return true;
	if ((reason == XR_VMLAUNCH || reason == XR_VMRESUME) && chain_enter(v, reason == XR_VMLAUNCH))
		return true;
	chain_l2_insn(v, reason);
	if (reason < ARRAY_SIZE(rules) && nested_l1_wants(v, reason)) {
		nested_reflect(v, full);
		return true;
	}
	vcpu_requeue_event(v);
	if (n->below && chain_outer_wants(v, reason))
		return true;
	return consumed(v, reason);
}
