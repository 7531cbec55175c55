/*
 * What controls do while a guest runs: preemption timer, monitor trap flag, MSR areas, TSC offset, TPR shadow, virtual
 * interrupts, posted interrupts, EPT accessed and dirty flags, guests in real mode (SDM 3C, VMX Non-Root Operation; APIC
 * Virtualization).
 */
#include "tests/conform/exits.h"

#include <string.h>

PIECE(step); PIECE(spin); PIECE(spin_sti); PIECE(rdmsr); PIECE(wrmsr); PIECE(rdtsc); PIECE(rdtscp); PIECE(cr8_nop); PIECE(eoi);
       PIECE(store32); PIECE(int80);
PIECE(load); PIECE(store); PIECE(vmcall); PIECE(cpuid); PIECE(mov_from_cr8); PIECE(mov_to_cr3); PIECE(sti); PIECE(vmcall_nop);

#define R guest_regs
#define INJECT(type, vector, more) (s->ENTRY_INTR_INFO = INTR_VALID | (u64)(type) << 8 | (vector) | (more))
#define AD_FLAGS BITS(9, 8)
#define HOLE 0xd0000000ull
static u64 page[512] __aligned_to(4096);
static const u64 all[2];

static u64 delivered(void)
{
	u64 off = field(VMCS_GUEST_RIP) - (u64)guest_idt_stubs;

	return off < 256 * IDT_STUB ? off / IDT_STUB : ~0ull;
}

/* ---- preemption timer, monitor trap flag ---- */
static void timer(void)
{
	if (!may_pin(&env, PIN_PREEMPTION_TIMER)) {
		report_skip("timer", SHORT);
		return;
	}
	EXPECT("timer-0", BASE_LONG, step, "x52 q0 +0", s->PREEMPTION_TIMER = 0);
	EXPECT("timer-ends-loop", BASE_LONG, spin, "x52 q0 +0", s->PREEMPTION_TIMER = 100000);
	NEEDS("timer-saved-0", may_exit(&env, EXIT_SAVE_PREEMPTION), EXPECT("timer-saved-0", BASE_LONG, spin, "x52 q0 +0",
	      s->PREEMPTION_TIMER = 100000; ON(EXIT_CONTROLS, EXIT_SAVE_PREEMPTION)); report_u64("timer-saved-value",
	       field(VMCS_PREEMPTION_TIMER), 0));
	NEEDS("timer-saved", may_exit(&env, EXIT_SAVE_PREEMPTION), EXPECT("timer-saved", BASE_LONG, vmcall, "x18",
	      s->PREEMPTION_TIMER = 0x40000000; ON(EXIT_CONTROLS, EXIT_SAVE_PREEMPTION));
	      report_u64("timer-saved-some", field(VMCS_PREEMPTION_TIMER) - 0x30000000 < 0x10000000, 1));
	EXPECT("timer-not-saved", BASE_LONG, vmcall, "x18", s->PREEMPTION_TIMER = 0x40000000);
	report_u64("timer-kept", field(VMCS_PREEMPTION_TIMER), 0x40000000);
	NEEDS("timer-in-hlt", env.misc & BIT(6), EXPECT("timer-in-hlt", BASE_LONG, step, "x52 q0 +0", s->GUEST_ACTIVITY = ACTIVITY_HLT;
	      s->PREEMPTION_TIMER = 100000); report_u64("timer-hlt-kept", field(VMCS_GUEST_ACTIVITY), ACTIVITY_HLT));
}

static void trap_flag(void)
{
	if (!may_proc(&env, PROC_MTF)) {
		report_skip("mtf", SHORT);
		return;
	}
	EXPECT("mtf-one-instruction", BASE_LONG, step, "x37 q0 +1", ON(PROC_CONTROLS, PROC_MTF));
	EXPECT("mtf-behind-injection", BASE_LONG, step, "x37", ON(PROC_CONTROLS, PROC_MTF); INJECT(INTR_HW_EXCEPTION, 6, 0));
	report_u64("mtf-at-handler", delivered(), 6);
	EXPECT("mtf-int-n", BASE_LONG, int80, "x37", ON(PROC_CONTROLS, PROC_MTF));
	report_u64("mtf-int-n-at-handler", delivered(), 0x80);
	EXPECT("mtf-not-before-exit", BASE_LONG, vmcall, "x18 q0 l3 +0", ON(PROC_CONTROLS, PROC_MTF));
	EXPECT("mtf-over-sti", BASE_LONG, sti, "x37 q0 +1", ON(PROC_CONTROLS, PROC_MTF));
}

/* ---- MSR areas ---- */
static void msr_areas(void)
{
	u64 *entry = (u64 *)env.msr_area, *exit_store = entry + 64, *exit_load = entry + 128;
	u64 before = rdmsr(MSR_KERNEL_GS_BASE);

	memset(entry, 0, PAGE_SIZE);
	entry[0] = MSR_KERNEL_GS_BASE;
	entry[1] = 0x11110000;
	entry[2] = MSR_LSTAR;
	entry[3] = 0x22220000;
	exit_store[0] = MSR_LSTAR;
	exit_store[2] = MSR_KERNEL_GS_BASE;
	exit_load[0] = MSR_KERNEL_GS_BASE;
	exit_load[1] = 0x33330000;
	EXPECT("msr-entry-load", BASE_LONG, rdmsr, "x18 q0 l3 +2", ON(PROC_CONTROLS, PROC_MSR_BITMAPS); R.rcx = MSR_KERNEL_GS_BASE;
	       s->ENTRY_MSR_LOAD_ADDR = env.msr_area; s->ENTRY_MSR_LOAD_COUNT = 2; s->EXIT_MSR_STORE_ADDR = (u64)exit_store;
	       s->EXIT_MSR_STORE_COUNT = 2; s->EXIT_MSR_LOAD_ADDR = (u64)exit_load; s->EXIT_MSR_LOAD_COUNT = 1);
	report_u64("msr-guest-value", R.rax, 0x11110000);
	report_u64("msr-stored-first", exit_store[1], 0x22220000);
	report_u64("msr-stored-second", exit_store[3], 0x11110000);
	report_u64("msr-host-value", rdmsr(MSR_KERNEL_GS_BASE), 0x33330000);
	EXPECT("msr-guest-write", BASE_LONG, wrmsr, "x18 q0 l3 +2", ON(PROC_CONTROLS, PROC_MSR_BITMAPS); R.rcx = MSR_LSTAR; R.rax = 0x4444;
	       s->EXIT_MSR_STORE_ADDR = (u64)exit_store; s->EXIT_MSR_STORE_COUNT = 1);
	report_u64("msr-guest-write-stored", exit_store[1], 0x4444);
	report_u64("msr-not-switched-by-itself", rdmsr(MSR_LSTAR), 0x4444);
	wrmsr(MSR_KERNEL_GS_BASE, before);
}

/* ---- TSC ---- */
static void tsc_reading(const char *name, u64 before, u64 offset)
{
	u64 guest = (R.rax & 0xffffffff) | R.rdx << 32;

	report_u64(name, guest - offset >= before && guest - offset <= rdtsc(), 1);
}

static void tsc(void)
{
	u64 before = rdtsc(), forward = BIT(50), back = -(u64)1000000000000;

	EXPECT("tsc-offset", BASE_LONG, rdtsc, "x18 q0 l3 +2", ON(PROC_CONTROLS, PROC_TSC_OFFSET); s->TSC_OFFSET = forward);
	tsc_reading("tsc-offset-value", before, forward);
	before = rdtsc();
	EXPECT("tsc-offset-negative", BASE_LONG, rdtsc, "x18 q0 l3 +2", ON(PROC_CONTROLS, PROC_TSC_OFFSET); s->TSC_OFFSET = back);
	tsc_reading("tsc-offset-negative-value", before, back);
	before = rdtsc();
	EXPECT("tsc-offset-not-used", BASE_LONG, rdtsc, "x18 q0 l3 +2", s->TSC_OFFSET = forward);
	tsc_reading("tsc-offset-not-used-value", before, 0);
	before = rdtsc();
	EXPECT("tsc-offset-rdmsr", BASE_LONG, rdmsr, "x18 q0 l3 +2", ON(PROC_CONTROLS, PROC_TSC_OFFSET | PROC_MSR_BITMAPS);
	       s->TSC_OFFSET = forward;
	       R.rcx = MSR_TSC);
	tsc_reading("tsc-offset-rdmsr-value", before, forward);
}

/* ---- TPR shadow, virtual interrupts ---- */
#define SHADOW ON(PROC_CONTROLS, PROC_TPR_SHADOW)
#define VID_ON (SHADOW, ON(PROC_CONTROLS, PROC_MSR_BITMAPS), SECONDARY(PROC2_VIRT_INT | PROC2_X2APIC | PROC2_APIC_REGS))
static void tpr(void)
{
	if (!may_proc(&env, PROC_TPR_SHADOW)) {
		report_skip("tpr", SHORT);
		return;
	}
	EXPECT("tpr-below-threshold", BASE_LONG, cr8_nop, "x43 q0 +4", SHADOW; s->TPR_THRESHOLD = 5; env.vapic_bytes[0x80] = 0x50;
	       R.rax = 4);
	report_u64("tpr-vtpr-written", env.vapic_bytes[0x80], 0x40);
	EXPECT("tpr-at-threshold", BASE_LONG, cr8_nop, "x18 q0 l3 +5", SHADOW; s->TPR_THRESHOLD = 5; env.vapic_bytes[0x80] = 0xf0;
	       R.rax = 5);
	EXPECT("tpr-cr8-read", BASE_LONG, mov_from_cr8, "x18 q0 l3 +4", SHADOW; env.vapic_bytes[0x80] = 0x9f);
	report_u64("tpr-cr8-value", R.rsi, 9);
}

static void virtual_interrupts(void)
{
	if (!may_proc2(&env, PROC2_VIRT_INT | PROC2_X2APIC | PROC2_APIC_REGS)) {
		report_skip("vid", SHORT);
		return;
	}
	memset(env.vapic_bytes, 0, PAGE_SIZE);
	EXPECT("vid-delivered", BASE_LONG, spin_sti, "x18", VID_ON; s->GUEST_INTERRUPT_STATUS = 0x61; env.vapic_bytes[0x230] = 2);
	report_u64("vid-vector", delivered(), 0x61);
	report_u64("vid-status", field(VMCS_GUEST_INTERRUPT_STATUS), 0x6100);
	report_u64("vid-visr", env.vapic_bytes[0x130], 2);
	report_u64("vid-virr", env.vapic_bytes[0x230], 0);
	memset(env.vapic_bytes, 0, PAGE_SIZE);
	NEEDS("vid-masked-by-ppr", BOUNDED, EXPECT("vid-masked-by-ppr", BASE_LONG, spin_sti, "x52", VID_ON;
	      s->GUEST_INTERRUPT_STATUS = 0x61; env.vapic_bytes[0x230] = 2; env.vapic_bytes[0x80] = 0x60; s->PREEMPTION_TIMER = 100000));
	memset(env.vapic_bytes, 0, PAGE_SIZE);
	EXPECT("vid-eoi", BASE_LONG, eoi, "x18", VID_ON; s->GUEST_INTERRUPT_STATUS = 0x6100; env.vapic_bytes[0x130] = 2);
	report_u64("vid-eoi-status", field(VMCS_GUEST_INTERRUPT_STATUS), 0);
	report_u64("vid-eoi-visr", env.vapic_bytes[0x130], 0);
	memset(env.vapic_bytes, 0, PAGE_SIZE);
	EXPECT("vid-eoi-exit", BASE_LONG, eoi, "x45 q61 +b", VID_ON; s->GUEST_INTERRUPT_STATUS = 0x6100; env.vapic_bytes[0x130] = 2;
	       s->EOI_EXIT_1 = BIT(0x21));
	memset(env.vapic_bytes, 0, PAGE_SIZE);
	EXPECT("vid-window", BASE_LONG, sti, "x7 q0 +2", VID_ON; ON(PROC_CONTROLS, PROC_INT_WINDOW));
}

static void apic_write(void)
{
	struct vstate s_, *s = &s_;
	extern u64 guest_pd[2048];
	static u64 table[512] __aligned_to(4096);
	u64 entry = guest_pd[HOLE >> 21];

	if (!may_proc2(&env, PROC2_APIC_ACCESS | PROC2_APIC_REGS)) {
		report_skip("apic-write", SHORT);
		return;
	}
	memset(env.vapic_bytes, 0, PAGE_SIZE);
	table[0] = (u64)page | 7;
	guest_pd[HOLE >> 21] = (u64)table | 7;
	exit_begin(s, BASE_LONG, g_store32);
	SHADOW;
	SECONDARY(PROC2_APIC_ACCESS | PROC2_APIC_REGS);
	s->APIC_ACCESS_ADDR = (u64)page;
	R.rsi = HOLE + 0x380; /* the timer's initial count */
	R.rax = 0x1234;
	exit_expect("apic-write", s, "x56 q380 +2");
	report_u64("apic-write-value", *(u32 *)(env.vapic_bytes + 0x380), 0x1234);
	guest_pd[HOLE >> 21] = entry;
}

#define PI_VECTOR 0xf2
static void posted(void)
{
	struct vstate s_, *s = &s_;
	u64 *desc = (u64 *)env.pi_desc;

	if (!env.x2apic || !may_pin(&env, PIN_POSTED_INT) || !may_proc2(&env, PROC2_X2APIC | PROC2_APIC_REGS)) {
		report_skip("posted", SHORT);
		return;
	}
	memset(env.vapic_bytes, 0, PAGE_SIZE);
	memset(desc, 0, 64);
	exit_begin(s, BASE_LONG, g_spin_sti);
	VID_ON;
	ON(PIN_CONTROLS, PIN_POSTED_INT);
	ON(EXIT_CONTROLS, EXIT_ACK_INT);
	s->PI_NOTIFICATION_VECTOR = PI_VECTOR;
	desc[1] = BIT(0x71 - 64);
	desc[4] = 1 | (u64)PI_VECTOR << 16;
	wrmsr(MSR_X2APIC_BASE + 0x3f, PI_VECTOR);
	exit_expect("posted", s, "x18");
	report_u64("posted-vector", delivered(), 0x71);
	report_u64("posted-descriptor-empty", desc[1] | (desc[4] & 1), 0);
	report_u64("posted-status", field(VMCS_GUEST_INTERRUPT_STATUS), 0x7100);
}

/* ---- EPT accessed and dirty flags ---- */
static void leaf_flags(const char *name, const u8 *piece, u64 want)
{
	static u64 table[512] __aligned_to(4096);
	struct vstate s_, *s = &s_;

	table[0] = (u64)page | 7 | 6 << 3;
	ept_pd[HOLE >> 21] = (u64)table | 7;
	do_invept(2, all);
	exit_begin(s, BASE_EPT, piece);
	ON(EPTP, BIT(6));
	R.rsi = HOLE;
	exit_run(s);
	report_u64(name, table[0] & AD_FLAGS, want);
	ept_pd[HOLE >> 21] = HOLE | 7 | 6 << 3 | BIT(7);
	do_invept(2, all);
}

static void accessed_dirty(void)
{
	if (!may_proc2(&env, PROC2_EPT) || !(env.ept_vpid & EPT_CAP_AD)) {
		report_skip("ept-accessed", SHORT);
		report_skip("ept-dirty", SHORT);
		return;
	}
	leaf_flags("ept-accessed", g_load, BIT(8));
	leaf_flags("ept-dirty", g_store, BIT(8) | BIT(9));
}

/* ---- guests without paging ---- */
static void unpaged(void)
{
	static u32 vectors[256];
	u8 *low = (u8 *)0x8040;

	if (!base_possible(&env, BASE_REAL)) {
		report_skip("real-cpuid", SHORT);
		return;
	}
	low[0] = 0x0f; /* CPUID */
	low[1] = 0xa2;
	EXPECT("real-cpuid", BASE_REAL, cpuid, "x10 q0 l2", s->GUEST_RIP = 0x40);
	EXPECT("flat-cpuid", BASE_FLAT, cpuid, "x10 q0 l2 +0", );
	low[0] = 0xcd; /* INT 21H */
	low[1] = 0x21;
	vectors[0x21] = 0x08000000; /* 0800:0000 */
	EXPECT("real-int-n", BASE_REAL, cpuid, "x18 q0 l3", s->GUEST_RIP = 0x40; s->GUEST_IDTR_BASE = (u64)vectors;
	       s->GUEST_IDTR_LIMIT = 0x3ff);
	report_u64("real-int-n-ip", field(VMCS_GUEST_RIP), 0);
	report_u64("real-int-n-pushed-ip", *(u16 *)(0x8000 + 0x100 - 6), 0x42);
	EXPECT("real-inject", BASE_REAL, cpuid, "x18 q0 l3", s->GUEST_RIP = 0x40; s->GUEST_IDTR_BASE = (u64)vectors;
	       s->GUEST_IDTR_LIMIT = 0x3ff;
	       ON(GUEST_RFLAGS, RFLAGS_IF); INJECT(INTR_EXTERNAL, 0x21, 0));
	report_u64("real-inject-pushed-ip", *(u16 *)(0x8000 + 0x100 - 6), 0x40);
}

void events_features(void)
{
	timer();
	trap_flag();
	msr_areas();
	tsc();
	tpr();
	virtual_interrupts();
	apic_write();
	posted();
	accessed_dirty();
	unpaged();
}
