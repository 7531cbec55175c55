/*
 * VM exits: counting, dispatch by a table, and the small handlers.
 *
 * Invariant: exit_handlers[] names every reason we can get; an entry that is NULL ends the VM with a dump, nothing else.
 */
#include <stdarg.h>

#include "core/apic.h"
#include "core/console.h"
#include "core/hypercall.h"
#include "core/irq.h"
#include "core/percpu.h"
#include "core/x86.h"
#include "vmx/exit_family.h"
#include "vmx/nested.h"
#include "vmx/vcpu.h"
#include "vmx/vlapic.h"

/* ---- events ---- */
static bool contributory(u8 vec) { return vec == VEC_DE || (vec >= VEC_TS && vec <= VEC_GP); }

/* Which pair becomes a double fault: SDM 3A, Interrupt 8-Double Fault Exception, "Conditions for Generating a Double Fault". */
static bool doubles(u8 first, u8 second)
{
	return (contributory(first) && contributory(second)) || (first == VEC_PF && (contributory(second) || second == VEC_PF));
}

/* Faults push RF = 1 (SDM 3A, Instruction-Breakpoint Exception Condition); injection pushes what the guest's RFLAGS say. */
static bool is_fault(u8 vec) { return vec != VEC_DB && vec != VEC_BP && vec != VEC_DF && vec != VEC_MC; }

enum exit_action vcpu_inject_exception(struct vcpu *v, u8 vector, bool has_error, u32 error)
{
	struct vcpu_event *e = &v->event;
	bool pending_exception = (e->info & INTR_VALID) && FIELD_GET(INTR_TYPE, e->info) == INTR_HW_EXCEPTION;
	if (!(vmread(VMCS_GUEST_CR0) & CR0_PE)) /* real mode pushes none, and VM entry would refuse one */
		has_error = false;
	if (is_fault(vector))
		vmwrite(VMCS_GUEST_RFLAGS, vmread(VMCS_GUEST_RFLAGS) | RFLAGS_RF);
	if (nested_exception_exits(v, vector, has_error, error))
		return EXIT_RESUME;
	if (pending_exception) {
		u8 first = (u8)FIELD_GET(INTR_VECTOR, e->info);
		if (first == VEC_DF && nested_in_l2(v)) {
			nested_triple_fault(v);
			return EXIT_RESUME;
		}
		if (first == VEC_DF) {
			vm_end(v->core.vm, 255, "triple fault (exception %u while delivering a double fault)", vector);
			return EXIT_KILL;
		}
		if (doubles(first, vector)) {
			vector = VEC_DF;
			has_error = vmread(VMCS_GUEST_CR0) & CR0_PE;
			error = 0;
			if (nested_exception_exits(v, vector, has_error, error))
				return EXIT_RESUME;
		}
	}
	e->info = (u32)(INTR_VALID | FIELD_PREP(INTR_TYPE, INTR_HW_EXCEPTION) | vector | (has_error ? INTR_HAS_ERROR : 0));
	e->error = error;
	e->insn_len = 0;
	return EXIT_INJECT;
}

/* The trap that the instruction would have left behind (SDM 3C, Guest Non-Register State, Pending Debug Exceptions). */
#define PENDING_BS BIT(14)
#define DEBUGCTL_BTF BIT(1)
static void single_step(void)
{
	if (!(vmread(VMCS_GUEST_DEBUGCTL) & DEBUGCTL_BTF))
		vmwrite(VMCS_GUEST_PENDING_DBG, vmread(VMCS_GUEST_PENDING_DBG) | PENDING_BS);
}

/* SDM 3A, Debug Exceptions: RF lasts for one instruction; a part of a repeated one (len 0) is stepped over, too. */
static void leave_flags(u64 rflags, u64 len)
{
	if ((rflags & RFLAGS_RF) && len)
		vmwrite(VMCS_GUEST_RFLAGS, rflags & ~RFLAGS_RF);
	if (rflags & RFLAGS_TF)
		single_step();
}

void vcpu_advance_by(struct vcpu *v, u64 len)
{
	u64 rip = vmread(VMCS_GUEST_RIP) + len, rflags = vmread(VMCS_GUEST_RFLAGS);
	if (!(vmread(VMCS_GUEST_CS_AR) & BIT(13))) /* not 64-bit code: RIP is 32 bits */
		rip &= 0xffffffff;
	vmwrite(VMCS_GUEST_RIP, rip);
	u64 blocking = vmread(VMCS_GUEST_INTERRUPTIBILITY);
	if (blocking & (BLOCK_STI | BLOCK_MOV_SS))
		vmwrite(VMCS_GUEST_INTERRUPTIBILITY, blocking & ~(BLOCK_STI | BLOCK_MOV_SS));
	if (rflags & (RFLAGS_RF | RFLAGS_TF))
		leave_flags(rflags, len);
	if (nested_in_l2(v))
		nested_advanced(v);
}

void vcpu_advance(struct vcpu *v) { vcpu_advance_by(v, vmread(VMCS_EXIT_INSN_LEN)); }

u32 vcpu_cpl(void) { return (u32)FIELD_GET(BITS(6, 5), vmread(VMCS_GUEST_SS_AR)); }

u64 vcpu_gpr(struct vcpu *v, u32 reg) { return reg == GPR_RSP ? vmread(VMCS_GUEST_RSP) : v->gpr[reg]; }

void vcpu_set_gpr(struct vcpu *v, u32 reg, u64 value)
{
	if (reg == GPR_RSP)
		vmwrite(VMCS_GUEST_RSP, value);
	else
		v->gpr[reg] = value;
}

/* ---- small handlers ---- */
static enum exit_action exit_external_interrupt(struct vcpu *v)
{
	u64 info = vmread(VMCS_EXIT_INTR_INFO);
	v->core.count.irqs++;
	if (!(info & INTR_VALID))
		return EXIT_RESUME;
	irq_record((u8)FIELD_GET(INTR_VECTOR, info));
	apic_eoi(); /* the exit has acknowledged it */
	return EXIT_RESUME;
}

/*
 * An NMI of ours: its IDT handler runs now, and its IRET ends the blocking that the exit left (SDM 3C, NMI-exiting). Exceptions
 * are never intercepted for vmcs01.
 */
static enum exit_action exit_exception_nmi(struct vcpu *v)
{
	u64 info = vmread(VMCS_EXIT_INTR_INFO);
	u8 vector = (u8)FIELD_GET(INTR_VECTOR, info);
	if (FIELD_GET(INTR_TYPE, info) == INTR_NMI) {
		raise_nmi_handler();
		return EXIT_RESUME;
	}
	if (vector == VEC_MC)
		panic("machine check while %s ran", v->core.vm->cfg->name);
	return vcpu_inject_exception(v, vector, info & INTR_HAS_ERROR, (u32)vmread(VMCS_EXIT_INTR_ERROR));
}

static enum exit_action exit_triple_fault(struct vcpu *v) { return vcpu_kill(v, "triple fault"); }
static enum exit_action exit_nothing(struct vcpu *v) { (void)v; return EXIT_RESUME; }
static enum exit_action exit_skip(struct vcpu *v) { (void)v; return EXIT_ADVANCE; }
static enum exit_action exit_undefined(struct vcpu *v) { return inject_ud(v); }
static enum exit_action exit_wbinvd(struct vcpu *v) { (void)v; wbinvd(); return EXIT_ADVANCE; }

/* The window that vlapic_prepare_entry asked for is open; the next preparation uses it. */
static enum exit_action exit_window(struct vcpu *v)
{
	u64 which = vmread(VMCS_EXIT_REASON) == XR_NMI_WINDOW ? PROC_NMI_WINDOW : PROC_INT_WINDOW;
	(void)v;
	vmwrite(VMCS_PROC_CONTROLS, vmread(VMCS_PROC_CONTROLS) & ~which);
	return EXIT_RESUME;
}

static enum exit_action exit_hlt(struct vcpu *v)
{
	v->core.count.halts++;
	v->halted_if = (vmread(VMCS_GUEST_RFLAGS) & RFLAGS_IF) || nested_interrupt_exits(v);
	__atomic_store_n(&v->state, VCPU_HALTED, __ATOMIC_SEQ_CST);
	if (vlapic_has_work(v))
		v->state = VCPU_RUNNABLE;
	return EXIT_ADVANCE;
}

static enum exit_action exit_vmcall(struct vcpu *v)
{
	if (vcpu_cpl() != 0)
		return inject_ud(v); /* core/abi.h */
	const u64 arg[6] = { v->gpr[GPR_RDI], v->gpr[GPR_RSI], v->gpr[GPR_RDX], v->gpr[GPR_R10], v->gpr[GPR_R8], v->gpr[GPR_R9] };
	v->gpr[GPR_RAX] = (u64)hypercall_dispatch(&v->core, v->gpr[GPR_RAX], arg);
	return EXIT_ADVANCE;
}

/* XSETBV (SDM 2): the guest's XCR0 is live in the CPU; check before we execute it for the guest. */
static enum exit_action exit_xsetbv(struct vcpu *v)
{
	u64 value = (u32)v->gpr[GPR_RAX] | v->gpr[GPR_RDX] << 32;
	u64 supported = vcpu_xcr0_all();
	bool avx_without_sse = (value & BIT(2)) && !(value & BIT(1));
	u64 avx512 = value & BITS(7, 5);
	bool bad512 = avx512 && (avx512 != BITS(7, 5) || (value & BITS(2, 1)) != BITS(2, 1));
	bool bad_mpx = !!(value & BIT(3)) != !!(value & BIT(4));
	if (vcpu_cpl() || (u32)v->gpr[GPR_RCX] || !(value & 1) || (value & ~supported) || avx_without_sse || bad512 || bad_mpx)
		return inject_gp(v);
	xsetbv(0, value);
	cpuid_cache_drop(v);
	return EXIT_ADVANCE;
}

const exit_fn exit_handlers[EXIT_HANDLERS] = {
	[XR_EXCEPTION_NMI] = exit_exception_nmi,
	[XR_EXTERNAL_INTERRUPT] = exit_external_interrupt,
	[XR_TRIPLE_FAULT] = exit_triple_fault,
	[XR_INTERRUPT_WINDOW] = exit_window,
	[XR_NMI_WINDOW] = exit_window,
	[XR_TASK_SWITCH] = exit_task_switch,
	[XR_CPUID] = exit_cpuid,
	[XR_GETSEC] = exit_undefined,
	[XR_HLT] = exit_hlt,
	[XR_INVD] = exit_wbinvd, /* write back instead: dropping the machine's caches is not a guest's right */
	[XR_RDPMC] = exit_undefined,
	[XR_VMCALL] = exit_vmcall,
	[XR_VMCLEAR] = exit_vmclear,
	[XR_VMLAUNCH] = exit_vmlaunch,
	[XR_VMPTRLD] = exit_vmptrld,
	[XR_VMPTRST] = exit_vmptrst,
	[XR_VMREAD] = exit_vmread,
	[XR_VMRESUME] = exit_vmresume,
	[XR_VMWRITE] = exit_vmwrite,
	[XR_VMXOFF] = exit_vmxoff,
	[XR_VMXON] = exit_vmxon,
	[XR_CR_ACCESS] = exit_cr_access,
	[XR_IO] = exit_io,
	[XR_RDMSR] = exit_rdmsr,
	[XR_WRMSR] = exit_wrmsr,
	[XR_MWAIT] = exit_undefined,
	[XR_MONITOR] = exit_undefined,
	[XR_PAUSE] = exit_skip,
	[XR_TPR_BELOW_THRESHOLD] = exit_tpr,
	[XR_VIRTUALIZED_EOI] = exit_eoi,
	[XR_EPT_VIOLATION] = exit_ept_violation,
	[XR_EPT_MISCONFIG] = exit_ept_misconfig,
	[XR_INVEPT] = exit_invept,
	[XR_INVVPID] = exit_invvpid,
	[XR_PREEMPTION_TIMER] = exit_nothing,
	[XR_WBINVD] = exit_wbinvd,
	[XR_XSETBV] = exit_xsetbv,
	[XR_APIC_WRITE] = exit_apic_write,
	[XR_INVPCID] = exit_undefined,
	[XR_VMFUNC] = exit_undefined,
	[XR_ENCLS] = exit_undefined,
	[XR_XSAVES] = exit_undefined,
	[XR_XRSTORS] = exit_undefined,
};

/* ---- dispatch ---- */
/* Reasons during which an event may have been under delivery (SDM 3C, Information for VM Exits During Event Delivery). */
#define MAY_INTERRUPT_DELIVERY (BIT(XR_EXCEPTION_NMI) | BIT(XR_TASK_SWITCH) | BIT(XR_APIC_ACCESS) | BIT(XR_EPT_VIOLATION) | \
				BIT(XR_EPT_MISCONFIG))

/*
 * An external interrupt that we did not inject with the last entry was a virtual one: its vector is in service by now (SDM 3C,
 * Virtual-Interrupt Delivery). The emulated processor tells the vector of an earlier event (tests/machine/README.md).
 */
static u64 interrupted_event(const struct vcpu *v)
{
	u64 info = vmread(VMCS_IDT_VECTORING_INFO);
	bool external = (info & (INTR_VALID | INTR_TYPE)) == (INTR_VALID | FIELD_PREP(INTR_TYPE, INTR_EXTERNAL));
	if (!external || v->injected == (u32)info || !(vmread(VMCS_PROC_CONTROLS) & PROC_SECONDARY) ||
	    !(vmread(VMCS_PROC2_CONTROLS) & PROC2_VIRT_INT))
		return info;
	return (info & ~INTR_VECTOR) | (vmread(VMCS_GUEST_INTERRUPT_STATUS) >> 8 & 0xff);
}

/*
 * The event shall find RFLAGS.RF as it would have been pushed (SDM 3C, Saving RIP, RSP, RFLAGS, and SSP): of one that we injected, as it
 * was at the entry; of an interrupt, clear. The emulated processor saves it set in any case (tests/machine/README.md).
 */
static void restore_rf(struct vcpu *v, u64 type)
{
	u64 rflags = vmread(VMCS_GUEST_RFLAGS);

	if (!(v->injected & INTR_VALID) && type != INTR_EXTERNAL && type != INTR_NMI)
		return;
	vmwrite(VMCS_GUEST_RFLAGS, (rflags & ~RFLAGS_RF) | (v->injected & INTR_VALID ? v->injected_rf : 0));
}

void vcpu_requeue_event(struct vcpu *v)
{
	u64 info = interrupted_event(v);
	if (!(info & INTR_VALID))
		return;
	v->event.info = (u32)(info & ~INTR_NMI_UNBLOCK);
	v->event.error = info & INTR_HAS_ERROR ? (u32)vmread(VMCS_IDT_VECTORING_ERROR) : 0;
	u64 type = FIELD_GET(INTR_TYPE, info);
	bool soft = type == INTR_SW_INT || type == INTR_PRIV_SW_EXCEPTION || type == INTR_SW_EXCEPTION;
	v->event.insn_len = soft ? (u32)vmread(VMCS_EXIT_INSN_LEN) : 0;
	restore_rf(v, type);
	if (type == INTR_NMI) /* its delivery did not happen: let the next entry block NMIs again */
		vmwrite(VMCS_GUEST_INTERRUPTIBILITY, vmread(VMCS_GUEST_INTERRUPTIBILITY) & ~BLOCK_NMI);
}

static bool finish(struct vcpu *v, enum exit_action a)
{
	if (a == EXIT_ADVANCE)
		vcpu_advance(v);
	return a != EXIT_KILL;
}

static bool handle(struct vcpu *v, u32 full)
{
	u32 reason = full & 0xffff;
	if (nested_in_l2(v) && nested_exit(v, full))
		return true;
	if (full & EXIT_REASON_ENTRY_FAILURE) {
		vcpu_kill(v, "the processor refused the guest state (%s)", vmx_exit_name(reason));
		return false;
	}
	if (reason < 64 && (MAY_INTERRUPT_DELIVERY & BIT(reason)) && !nested_in_l2(v))
		vcpu_requeue_event(v);
	exit_fn fn = reason < EXIT_HANDLERS ? exit_handlers[reason] : NULL;
	if (!fn) {
		vcpu_kill(v, "exit reason %u (%s) that nobody handles", reason, vmx_exit_name(reason));
		return false;
	}
	return finish(v, fn(v));
}

bool exit_dispatch(struct vcpu *v)
{
	u64 start = rdtsc();
	u32 full = (u32)vmread(VMCS_EXIT_REASON);
	u32 slot = (full & 0xffff) < COUNT_EXIT_REASONS ? full & 0xffff : COUNT_EXIT_REASONS - 1;
	if (nested_in_l2(v))
		v->core.count.exits_nested[slot]++;
	else
		v->core.count.exits[slot]++;
	bool goes_on = handle(v, full);
	v->core.count.exit_tsc[slot] += rdtsc() - start;
	return goes_on;
}

/* ---- the end ---- */
void vcpu_dump(struct vcpu *v)
{
	static const char *const names[NR_GPR] = { "RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI", "R8", "R9", "R10", "R11", "R12", "R13", "R14", "R15" };
	log_line("%s vCPU %u%s: CS:RIP %lx:%lx RFLAGS %lx CR0 %lx CR3 %lx CR4 %lx EFER %lx", v->core.vm->cfg->name, v->core.index,
		 nested_in_l2(v) ? " (in its guest)" : "", vmread(VMCS_GUEST_CS_SEL), vmread(VMCS_GUEST_RIP), vmread(VMCS_GUEST_RFLAGS),
		 vmread(VMCS_GUEST_CR0), vmread(VMCS_GUEST_CR3), vmread(VMCS_GUEST_CR4), vmread(VMCS_GUEST_EFER));
	for (u32 i = 0; i < NR_GPR; i += 4)
		log_line("  %s %lx %s %lx %s %lx %s %lx", names[i], vcpu_gpr(v, i), names[i + 1], vcpu_gpr(v, i + 1), names[i + 2],
			 vcpu_gpr(v, i + 2), names[i + 3], vcpu_gpr(v, i + 3));
	log_line("  exit reason %lx qualification %lx linear %lx physical %lx interruption %lx vectoring %lx", vmread(VMCS_EXIT_REASON),
		 vmread(VMCS_EXIT_QUALIFICATION), vmread(VMCS_GUEST_LINEAR_ADDR), vmread(VMCS_GUEST_PHYSICAL_ADDR),
		 vmread(VMCS_EXIT_INTR_INFO), vmread(VMCS_IDT_VECTORING_INFO));
}

enum exit_action vcpu_kill(struct vcpu *v, const char *fmt, ...)
{
	char why[80];
	va_list ap;
	va_start(ap, fmt);
	format_va(why, sizeof(why), fmt, ap);
	va_end(ap);
	vcpu_dump(v);
	vm_end(v->core.vm, 255, "vCPU %u: %s", v->core.index, why);
	return EXIT_KILL;
}
