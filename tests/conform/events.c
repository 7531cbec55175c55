/*
 * Events at VM entry and in the guest: injection of every type with what it leaves on the guest's stack, IDT-vectoring,
 * windows, virtual NMIs (SDM 3C, Event Injection; Interrupt-Window Exiting and Virtual-Interrupt Delivery; NMI-Window
 * Exiting).
 */
#include "tests/conform/exits.h"

#include <stdio.h>

#include "guest/lib/traps.h"

PIECE(vmcall); PIECE(sti); PIECE(iret); PIECE(mov_ss); PIECE(step); PIECE(spin); PIECE(spin_sti); PIECE(self_nmi); PIECE(self_init);
       PIECE(vmcall_nop);

#define R guest_regs
#define INJECT(type, vector, more) (s->ENTRY_INTR_INFO = INTR_VALID | (u64)(type) << 8 | (vector) | (more))
#define X2APIC_SELF_IPI (MSR_X2APIC_BASE + 0x3f)
#define TEST_VECTOR 0x51

/* ---- injection ---- */
/* What delivery through a 64-bit gate to the same privilege level pushes. */
struct frame { u64 error, rip, cs, rflags, rsp, ss; };

/* Vector that the guest's handler stands for; all ones if RIP is elsewhere. */
static u64 delivered(void)
{
	u64 off = field(VMCS_GUEST_RIP) - (u64)guest_idt_stubs;

	return off < 256 * IDT_STUB ? off / IDT_STUB : ~0ull;
}

static void injected(const char *name, u32 type, u32 vector, bool error, u32 length)
{
	struct vstate s_, *s = &s_;
	const u64 *stack;
	char sub[64];

	exit_begin(s, BASE_LONG, g_vmcall);
	INJECT(type, vector, error ? INTR_HAS_ERROR : 0);
	s->ENTRY_EXCEPTION_ERROR = 0x5a5a;
	s->ENTRY_INSN_LEN = length;
	ON(GUEST_RFLAGS, RFLAGS_IF | BIT(18));
	exit_expect(name, s, "x18 q0 l3");
	stack = (const u64 *)field(VMCS_GUEST_RSP);
	sniprintf(sub, sizeof(sub), "%s-vector", name);
	report_u64(sub, delivered(), vector);
	sniprintf(sub, sizeof(sub), "%s-error-code", name);
	report_u64(sub, error ? *stack++ : 0x5a5a, 0x5a5a);
	sniprintf(sub, sizeof(sub), "%s-return-rip", name);
	report_u64(sub, stack[0] - (u64)g_vmcall, length);
	sniprintf(sub, sizeof(sub), "%s-pushed-rflags", name);
	/* RF is set in the image of a fault's RFLAGS (SDM 3C, Details of Vectored-Event Injection). */
	report_u64(sub, stack[2] & ~RFLAGS_RF, 2 | RFLAGS_IF | BIT(18));
	sniprintf(sub, sizeof(sub), "%s-pushed-rsp", name);
	report_u64(sub, stack[3], env.guest_rsp);
	sniprintf(sub, sizeof(sub), "%s-interrupts-off", name);
	report_u64(sub, field(VMCS_GUEST_RFLAGS) & RFLAGS_IF, 0);
	sniprintf(sub, sizeof(sub), "%s-valid-bit-cleared", name);
	report_u64(sub, field(VMCS_ENTRY_INTR_INFO) >> 31, 0);
	sniprintf(sub, sizeof(sub), "%s-state", name);
	report_result(sub, "rf%llx blocking%llx", (unsigned long long)(stack[2] >> 16 & 1),
	       (unsigned long long)field(VMCS_GUEST_INTERRUPTIBILITY));
}

static void injections(void)
{
	injected("inject-interrupt", INTR_EXTERNAL, 0x77, false, 0);
	injected("inject-nmi", INTR_NMI, 2, false, 0);
	injected("inject-ud", INTR_HW_EXCEPTION, VEC_UD, false, 0);
	injected("inject-gp", INTR_HW_EXCEPTION, VEC_GP, true, 0);
	injected("inject-pf", INTR_HW_EXCEPTION, VEC_PF, true, 0);
	injected("inject-software-interrupt", INTR_SW_INT, 0x80, false, 2);
	injected("inject-software-exception", INTR_SW_EXCEPTION, VEC_BP, false, 1);
	injected("inject-icebp", INTR_PRIV_SW_EXCEPTION, VEC_DB, false, 1);
}

/* Delivery fails; the exit tells what was being delivered. */
static void vectoring(void)
{
	EXPECT("vectoring-interrupt", BASE_LONG, vmcall, "x0 q0 +0 v80000b0d e3bb d80000077", INJECT(INTR_EXTERNAL, 0x77, 0);
	       ON(GUEST_RFLAGS, RFLAGS_IF); s->GUEST_IDTR_LIMIT = 0x6ff; s->EXCEPTION_BITMAP = BIT(13));
	EXPECT("vectoring-nmi", BASE_LONG, vmcall, "x0 q0 +0 v80000b0d e13 d80000202", INJECT(INTR_NMI, 2, 0); s->GUEST_IDTR_LIMIT = 0x1f;
	       s->EXCEPTION_BITMAP = BIT(13));
	EXPECT("vectoring-gp-double-fault", BASE_LONG, vmcall, "x0 q0 +0 v80000b08 e0", INJECT(INTR_HW_EXCEPTION, 13, INTR_HAS_ERROR);
	       s->GUEST_IDTR_LIMIT = 0x5f; s->EXCEPTION_BITMAP = BIT(8));
	EXPECT("vectoring-software-interrupt", BASE_LONG, vmcall, "x0 q0 +0 v80000b0d e402 d80000480", INJECT(INTR_SW_INT, 0x80, 0);
	       s->ENTRY_INSN_LEN = 2; s->GUEST_IDTR_LIMIT = 0x6ff; s->EXCEPTION_BITMAP = BIT(13));
	EXPECT("vectoring-triple-fault", BASE_LONG, vmcall, "x2 q0 +0", INJECT(INTR_HW_EXCEPTION, 6, 0); s->GUEST_IDTR_LIMIT = 0);
	EXPECT("inject-into-bitmap", BASE_LONG, vmcall, "x18", INJECT(INTR_HW_EXCEPTION, 6, 0); s->EXCEPTION_BITMAP = BIT(6));
	NEEDS("inject-mtf", may_proc(&env, PROC_MTF), EXPECT("inject-mtf", BASE_LONG, vmcall, "x37 q0 +0", INJECT(INTR_OTHER, 0, 0)));
	EXPECT("pending-db", BASE_LONG, step, "x0 q4000 +0 v80000301", s->GUEST_PENDING_DBG = BIT(14); s->EXCEPTION_BITMAP = BIT(1));
	EXPECT("pending-breakpoint", BASE_LONG, step, "x0 q2 +0 v80000301", s->GUEST_PENDING_DBG = BIT(12) | BIT(1);
	       s->EXCEPTION_BITMAP = BIT(1));
}

/* ---- windows ---- */
static void interrupt_window(void)
{
	EXPECT("window-open", BASE_LONG, step, "x7 q0 +0", ON(PROC_CONTROLS, PROC_INT_WINDOW); ON(GUEST_RFLAGS, RFLAGS_IF));
	EXPECT("window-closed", BASE_LONG, step, "x18 q0 l3 +2", ON(PROC_CONTROLS, PROC_INT_WINDOW));
	EXPECT("window-behind-sti", BASE_LONG, sti, "x7 q0 +2", ON(PROC_CONTROLS, PROC_INT_WINDOW));
	EXPECT("window-blocked-by-sti", BASE_LONG, step, "x7 q0 +1", ON(PROC_CONTROLS, PROC_INT_WINDOW); ON(GUEST_RFLAGS, RFLAGS_IF);
	       s->GUEST_INTERRUPTIBILITY = BLOCK_STI);
	EXPECT("window-blocked-by-mov-ss", BASE_LONG, step, "x7 q0 +1", ON(PROC_CONTROLS, PROC_INT_WINDOW); ON(GUEST_RFLAGS, RFLAGS_IF);
	       s->GUEST_INTERRUPTIBILITY = BLOCK_MOV_SS);
	EXPECT("window-after-injection", BASE_LONG, step, "x18", ON(PROC_CONTROLS, PROC_INT_WINDOW); ON(GUEST_RFLAGS, RFLAGS_IF);
	       INJECT(INTR_EXTERNAL, 0x77, 0));
	NEEDS("window-ends-hlt", (env.misc & BIT(6)) && BOUNDED, EXPECT("window-ends-hlt", BASE_LONG, step, "x7 q0 +0", ON(PROC_CONTROLS,
	       PROC_INT_WINDOW);
	      ON(GUEST_RFLAGS, RFLAGS_IF); s->GUEST_ACTIVITY = ACTIVITY_HLT; s->PREEMPTION_TIMER = 1000000));
}

#define VNMI ON(PIN_CONTROLS, PIN_VIRTUAL_NMI)
static void virtual_nmi(void)
{
	if (!may_pin(&env, PIN_VIRTUAL_NMI) || !may_proc(&env, PROC_NMI_WINDOW)) {
		report_skip("virtual-nmi", SHORT);
		return;
	}
	EXPECT("nmi-window-open", BASE_LONG, step, "x8 q0 +0", VNMI; ON(PROC_CONTROLS, PROC_NMI_WINDOW));
	EXPECT("nmi-window-blocked", BASE_LONG, step, "x18 q0 l3 +2", VNMI; ON(PROC_CONTROLS, PROC_NMI_WINDOW);
	       s->GUEST_INTERRUPTIBILITY = BLOCK_NMI);
	report_u64("nmi-still-blocked", field(VMCS_GUEST_INTERRUPTIBILITY), BLOCK_NMI);
	EXPECT("nmi-window-behind-iret", BASE_LONG, iret, "x8", VNMI; ON(PROC_CONTROLS, PROC_NMI_WINDOW);
	       s->GUEST_INTERRUPTIBILITY = BLOCK_NMI);
	report_u64("iret-unblocks", field(VMCS_GUEST_INTERRUPTIBILITY) & BLOCK_NMI, 0);
	EXPECT("virtual-nmi-injected", BASE_LONG, step, "x18", VNMI; INJECT(INTR_NMI, 2, 0));
	report_u64("virtual-nmi-blocks", field(VMCS_GUEST_INTERRUPTIBILITY) & BLOCK_NMI, BLOCK_NMI);
	EXPECT("nmi-window-blocked-by-mov-ss", BASE_LONG, step, "x8 q0 +1", VNMI; ON(PROC_CONTROLS, PROC_NMI_WINDOW);
	       s->GUEST_INTERRUPTIBILITY = BLOCK_MOV_SS);
}

/* The guest sends itself an NMI by the local APIC. */
static void nmi_exit(void)
{
	nmi_expect(); /* should it come late, to us */
	EXPECT("nmi", BASE_LONG, self_nmi, "x0 q0", ON(PROC_CONTROLS, PROC_MSR_BITMAPS));
	report_u64("nmi-information", field(VMCS_EXIT_INTR_INFO), 0x80000202);
}

/* An INIT that finds a guest at work: taken by the exit, so nothing is left of it (SDM 3C, Other Causes of VM Exits). RDX: to this processor. */
static void init_exit(void)
{
	u64 self = rdmsr(MSR_X2APIC_BASE + 2);

	EXPECT("init", BASE_LONG, self_init, "x3 q0", ON(PROC_CONTROLS, PROC_MSR_BITMAPS); R.rdx = self);
	EXPECT("init-is-over", BASE_LONG, step, "x18 q0 l3 +2", );
}

/* ---- interrupts of the machine ---- */
static u32 taken;
static void take(void *unused) { (void)unused; taken++; }

static void external(void)
{
	irq_bind(TEST_VECTOR, take, NULL);
	wrmsr(X2APIC_SELF_IPI, TEST_VECTOR);
	EXPECT("interrupt", BASE_LONG, spin, "x1 q0 +0", ON(GUEST_RFLAGS, RFLAGS_IF));
	report_u64("interrupt-not-acknowledged", field(VMCS_EXIT_INTR_INFO) & INTR_VALID, 0);
	irq_enable_disable();
	report_u64("interrupt-still-pending", taken, 1);
	wrmsr(X2APIC_SELF_IPI, TEST_VECTOR);
	EXPECT("interrupt-before-sti", BASE_LONG, spin_sti, "x1 q0 +0", );
	irq_enable_disable();
	wrmsr(X2APIC_SELF_IPI, TEST_VECTOR);
	EXPECT("interrupt-acknowledged", BASE_LONG, spin, "x1 q0 +0 v80000051", ON(GUEST_RFLAGS, RFLAGS_IF); ON(EXIT_CONTROLS,
	       EXIT_ACK_INT));
	wrmsr(MSR_X2APIC_BASE + 0x0b, 0);
	irq_enable_disable();
	report_u64("interrupt-was-taken", taken, 2);
	wrmsr(X2APIC_SELF_IPI, TEST_VECTOR);
	NEEDS("interrupt-guest-if-0", BOUNDED, EXPECT("interrupt-guest-if-0", BASE_LONG, spin, "x1 q0 +0", s->PREEMPTION_TIMER = 1000000));
	irq_enable_disable();
	wrmsr(X2APIC_SELF_IPI, TEST_VECTOR);
	EXPECT("interrupt-not-exiting", BASE_LONG, spin_sti, "x18", OFF(PIN_CONTROLS, PIN_EXT_INT));
	report_u64("interrupt-delivered-to-guest", delivered(), TEST_VECTOR);
	wrmsr(MSR_X2APIC_BASE + 0x0b, 0);
	irq_bind(TEST_VECTOR, NULL, NULL);
}

void group_events(u32 every)
{
	(void)every;
	world_open();
	injections();
	vectoring();
	interrupt_window();
	virtual_nmi();
	if (env.x2apic) {
		nmi_exit();
		init_exit();
		external();
	} else {
		report_skip("interrupts-of-the-machine", NO_X2APIC);
	}
	events_features();
	world_close();
}
