/*
 * Exits by exceptions, task switches, and all other instructions (SDM 3C, VM Exits).
 */
#include "tests/conform/exits.h"

PIECE(ud2); PIECE(int3); PIECE(icebp); PIECE(de); PIECE(gp); PIECE(gp_cs); PIECE(step); PIECE(int80); PIECE(cpuid); PIECE(hlt);
       PIECE(invd);
PIECE(wbinvd); PIECE(invlpg); PIECE(rdpmc); PIECE(rdtsc); PIECE(rdtscp); PIECE(pause); PIECE(monitor); PIECE(mwait); PIECE(rdmsr);
       PIECE(wrmsr);
PIECE(xsetbv); PIECE(rdrand); PIECE(rdseed); PIECE(invpcid); PIECE(vmfunc); PIECE(xsaves); PIECE(xrstors); PIECE(getsec);
       PIECE(rsm);
PIECE(jmp_tss); PIECE(call_tss); PIECE(iret_nt); PIECE(into); PIECE(bound); PIECE(int80_32); PIECE(vmcall);

#define R guest_regs
static u64 buffer[64] __aligned_to(64);

static void exceptions(void)
{
	EXPECT("ud", BASE_LONG, ud2, "x0 q0 +0 v80000306", s->EXCEPTION_BITMAP = BIT(6));
	EXPECT("ud-not-intercepted", BASE_LONG, ud2, "x18", s->EXCEPTION_BITMAP = ~BIT(6) & 0xffffffff & ~BIT(14));
	report_u64("ud-delivered", (field(VMCS_GUEST_RIP) - (u64)guest_idt_stubs) / IDT_STUB, 6);
	EXPECT("bp", BASE_LONG, int3, "x0 q0 l1 +0 v80000603", s->EXCEPTION_BITMAP = BIT(3));
	EXPECT("icebp", BASE_LONG, icebp, "x0 q0 l1 +0 v80000501", s->EXCEPTION_BITMAP = BIT(1));
	EXPECT("de", BASE_LONG, de, "x0 q0 +0 v80000300", s->EXCEPTION_BITMAP = BIT(0));
	EXPECT("gp", BASE_LONG, gp, "x0 q0 +0 v80000b0d e0", s->EXCEPTION_BITMAP = BIT(13); R.rbx = BIT(62));
	EXPECT("gp-selector", BASE_LONG, gp_cs, "x0 q0 +5 v80000b0d e7ffc", s->EXCEPTION_BITMAP = BIT(13); s->GUEST_GDTR_LIMIT = 0x77);
	EXPECT("db-single-step", BASE_LONG, step, "x0 q4000 +1 v80000301", s->EXCEPTION_BITMAP = BIT(1); ON(GUEST_RFLAGS, RFLAGS_TF));
	EXPECT("int-n-no-exit", BASE_LONG, int80, "x18", s->EXCEPTION_BITMAP = 0xffffffff);
	report_u64("int-n-delivered", (field(VMCS_GUEST_RIP) - (u64)guest_idt_stubs) / IDT_STUB, 0x80);
	EXPECT("of", BASE_32, into, "x0 q0 l1 +0 v80000604", s->EXCEPTION_BITMAP = BIT(4); ON(GUEST_RFLAGS, RFLAGS_OF));
	buffer[0] = 1;
	EXPECT("br", BASE_32, bound, "x0 q0 +0 v80000305", s->EXCEPTION_BITMAP = BIT(5); R.rax = 9; R.rsi = (u64)buffer);
	EXPECT("triple-fault", BASE_LONG, ud2, "x2 q0 +0", s->GUEST_IDTR_LIMIT = 0);
	EXPECT("gp-during-delivery", BASE_LONG, ud2, "x0 q0 +0 v80000b0d e33 d80000306", s->EXCEPTION_BITMAP = BIT(13);
	       s->GUEST_IDTR_LIMIT = 0x5f);
	EXPECT("df", BASE_LONG, ud2, "x0 q0 +0 v80000b08 e0", s->EXCEPTION_BITMAP = BIT(8); s->GUEST_IDTR_LIMIT = 0x5f);
	EXPECT("gp-during-int-n", BASE_LONG, int80, "x0 q0 +0 v80000b0d e402 d80000480", s->EXCEPTION_BITMAP = BIT(13);
	       s->GUEST_IDTR_LIMIT = 0x7ff);
	report_u64("idt-vectoring-length", field(VMCS_EXIT_INSN_LEN), 2);
}

/* ---- task switches, in 32-bit protected mode ---- */
static void task_switches(void)
{
	u64 base = (u64)buffer;

	cf_gdt[SEL_TSS_GUEST / 8] = 0x67 | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
	EXPECT("task-jmp", BASE_32, jmp_tss, "x9 q80000068 l7 +0", );
	EXPECT("task-call", BASE_32, call_tss, "x9 q68 l7 +0", );
	((u16 *)env.guest_tr_base)[0] = SEL_TSS_GUEST;
	cf_gdt[SEL_TSS_GUEST / 8] |= 2ull << 40;
	EXPECT("task-iret", BASE_32, iret_nt, "x9 q40000068 l1 +0", ON(GUEST_RFLAGS, RFLAGS_NT));
	cf_gdt[SEL_TSS_GUEST / 8] &= ~(2ull << 40);
	buffer[32 + 3] = 0x0000850000000000ull | SEL_TSS_GUEST << 16; /* a task gate, vector 3 of a table of 4 */
	EXPECT("task-gate", BASE_32, int3, "x9 qc0000068", s->GUEST_IDTR_BASE = (u64)(buffer + 32); s->GUEST_IDTR_LIMIT = 31);
	report_u64("task-gate-vectoring", field(VMCS_IDT_VECTORING_INFO), 0x80000603);
}

static void instructions(void)
{
	EXPECT("cpuid", BASE_LONG, cpuid, "x10 q0 l2 +0", );
	EXPECT("cpuid-32-bit", BASE_32, cpuid, "x10 q0 l2 +0", );
	EXPECT("hlt", BASE_LONG, hlt, "x12 q0 l1 +0", ON(PROC_CONTROLS, PROC_HLT));
	EXPECT("invd", BASE_LONG, invd, "x13 q0 l2 +0", );
	EXPECT("invlpg", BASE_LONG, invlpg, "x14 q1008 l4 +0", ON(PROC_CONTROLS, PROC_INVLPG); R.rsi = 0x1000);
	EXPECT("invlpg-free", BASE_LONG, invlpg, "x18 q0 l3 +4", R.rsi = 0x1000);
	EXPECT("rdpmc", BASE_LONG, rdpmc, "x15 q0 l2 +0", ON(PROC_CONTROLS, PROC_RDPMC));
	EXPECT("rdtsc", BASE_LONG, rdtsc, "x16 q0 l2 +0", ON(PROC_CONTROLS, PROC_RDTSC));
	EXPECT("rdtsc-free", BASE_LONG, rdtsc, "x18 q0 l3 +2", );
	EXPECT("rdtscp-undefined", BASE_LONG, rdtscp, "x0 q0 +0 v80000306", s->EXCEPTION_BITMAP = BIT(6));
	NEEDS("rdtscp", may_proc2(&env, PROC2_RDTSCP), EXPECT("rdtscp", BASE_LONG, rdtscp, "x51 q0 l3 +0", ON(PROC_CONTROLS, PROC_RDTSC);
	      SECONDARY(PROC2_RDTSCP)));
	EXPECT("pause", BASE_LONG, pause, "x40 q0 l2 +0", ON(PROC_CONTROLS, PROC_PAUSE));
	EXPECT("monitor", BASE_LONG, monitor, "x39 q0 l3 +b", ON(PROC_CONTROLS, PROC_MONITOR));
	EXPECT("mwait", BASE_LONG, mwait, "x36 q0 l3 +0", ON(PROC_CONTROLS, PROC_MWAIT));
	NEEDS("xsetbv", env.cr4_fixed1 & CR4_OSXSAVE, EXPECT("xsetbv", BASE_LONG, xsetbv, "x55 q0 l3 +0", ON(GUEST_CR4, CR4_OSXSAVE);
	       R.rax = 1));
	NEEDS("wbinvd", may_proc2(&env, PROC2_WBINVD), EXPECT("wbinvd", BASE_LONG, wbinvd, "x54 q0 l2 +0", SECONDARY(PROC2_WBINVD)));
	NEEDS("rdrand", may_proc2(&env, PROC2_RDRAND), EXPECT("rdrand", BASE_LONG, rdrand, "x57 q0 l3 +0 i810", SECONDARY(PROC2_RDRAND)));
	NEEDS("rdseed", may_proc2(&env, PROC2_RDSEED), EXPECT("rdseed", BASE_LONG, rdseed, "x61 q0 l4 +0 i1058", SECONDARY(PROC2_RDSEED)));
	EXPECT("invpcid-undefined", BASE_LONG, invpcid, "x0 q0 +0 v80000306", s->EXCEPTION_BITMAP = BIT(6); R.rsi = (u64)buffer);
	NEEDS("invpcid", may_proc2(&env, PROC2_INVPCID), EXPECT("invpcid", BASE_LONG, invpcid, "x58 q0 l5 +0", ON(PROC_CONTROLS,
	       PROC_INVLPG);
	      SECONDARY(PROC2_INVPCID); R.rax = 2; R.rsi = (u64)buffer));
	EXPECT("vmfunc-undefined", BASE_LONG, vmfunc, "x0 q0 +0 v80000306", s->EXCEPTION_BITMAP = BIT(6));
	NEEDS("vmfunc", may_proc2(&env, PROC2_VMFUNC), EXPECT("vmfunc", BASE_EPT, vmfunc, "x59 q0 l3 +0", SECONDARY(PROC2_VMFUNC);
	       R.rax = 0));
	NEEDS("xsaves-undefined", env.cr4_fixed1 & CR4_OSXSAVE, EXPECT("xsaves-undefined", BASE_LONG, xsaves, "x0 q0 +0 v80000306",
	      s->EXCEPTION_BITMAP = BIT(6); ON(GUEST_CR4, CR4_OSXSAVE)));
	NEEDS("xsaves-not-in-xss", may_proc2(&env, PROC2_XSAVES), EXPECT("xsaves-not-in-xss", BASE_LONG, xsaves, "x18 q0 l3",
	       SECONDARY(PROC2_XSAVES);
	      s->XSS_EXITING_BITMAP = ~0ull; ON(GUEST_CR4, CR4_OSXSAVE); R.rax = 0x100; R.rsi = (u64)buffer));
	EXPECT("getsec-undefined", BASE_LONG, getsec, "x0 q0 +0 v80000306", s->EXCEPTION_BITMAP = BIT(6));
	EXPECT("rsm-undefined", BASE_LONG, rsm, "x0 q0 +0 v80000306", s->EXCEPTION_BITMAP = BIT(6));
}

/* ---- MSR bitmaps: without them every access exits; bits of reads and writes, low and high range ---- */
#define BITMAPS ON(PROC_CONTROLS, PROC_MSR_BITMAPS)
#define BYTE(offset, msr) ((u8 *)env.msr_bitmap)[(offset) + ((msr) & 0x1fff) / 8]
static void msrs(void)
{
	EXPECT("rdmsr-no-bitmap", BASE_LONG, rdmsr, "x31 q0 l2 +0", R.rcx = MSR_SYSENTER_CS);
	EXPECT("wrmsr-no-bitmap", BASE_LONG, wrmsr, "x32 q0 l2 +0", R.rcx = MSR_SYSENTER_CS);
	EXPECT("rdmsr-clear", BASE_LONG, rdmsr, "x18 q0 l3 +2", BITMAPS; R.rcx = MSR_SYSENTER_CS; s->GUEST_SYSENTER_CS = 0x77);
	report_u64("rdmsr-value", R.rax, 0x77);
	EXPECT("rdmsr-outside-ranges", BASE_LONG, rdmsr, "x31 q0 l2 +0", BITMAPS; R.rcx = 0x2000);
	EXPECT("rdmsr-outside-high-range", BASE_LONG, rdmsr, "x31 q0 l2 +0", BITMAPS; R.rcx = 0xc0002000);
	BYTE(0, MSR_SYSENTER_CS) = BIT(MSR_SYSENTER_CS & 7);
	EXPECT("rdmsr-set", BASE_LONG, rdmsr, "x31 q0 l2 +0", BITMAPS; R.rcx = MSR_SYSENTER_CS);
	EXPECT("wrmsr-only-read-bit-set", BASE_LONG, wrmsr, "x18 q0 l3 +2", BITMAPS; R.rcx = MSR_SYSENTER_CS; R.rax = 0x88);
	report_u64("wrmsr-value", field(VMCS_GUEST_SYSENTER_CS), 0x88);
	BYTE(0, MSR_SYSENTER_CS) = 0;
	BYTE(2048, MSR_SYSENTER_CS) = BIT(MSR_SYSENTER_CS & 7);
	EXPECT("wrmsr-set", BASE_LONG, wrmsr, "x32 q0 l2 +0", BITMAPS; R.rcx = MSR_SYSENTER_CS);
	BYTE(2048, MSR_SYSENTER_CS) = 0;
	BYTE(1024, MSR_LSTAR) = BIT(MSR_LSTAR & 7);
	EXPECT("rdmsr-high-set", BASE_LONG, rdmsr, "x31 q0 l2 +0", BITMAPS; R.rcx = MSR_LSTAR);
	EXPECT("rdmsr-low-same-bit", BASE_LONG, rdmsr, "x18 q0 l3 +2", BITMAPS; R.rcx = MSR_FMASK);
	BYTE(1024, MSR_LSTAR) = 0;
	BYTE(3072, MSR_KERNEL_GS_BASE) = BIT(MSR_KERNEL_GS_BASE & 7);
	EXPECT("wrmsr-high-set", BASE_LONG, wrmsr, "x32 q0 l2 +0", BITMAPS; R.rcx = MSR_KERNEL_GS_BASE);
	BYTE(3072, MSR_KERNEL_GS_BASE) = 0;
	EXPECT("wrmsr-gp-inside", BASE_LONG, wrmsr, "x0 q0 +0 v80000b0d e0", BITMAPS; s->EXCEPTION_BITMAP = BIT(13); R.rcx = MSR_PAT;
	       R.rax = 2);
}

/* Faults come before exits (SDM 3C, Relative Priority of Faults and VM Exits). */
static void priorities(void)
{
#define USER (s->GUEST_CS_SEL = 0x1b, s->GUEST_SS_SEL = 0x23, s->GUEST_CS_AR |= BITS(6, 5), s->GUEST_SS_AR |= BITS(6, 5))
	EXPECT("cpl3-hlt", BASE_LONG, hlt, "x0 q0 +0 v80000b0d e0", USER; ON(PROC_CONTROLS, PROC_HLT); s->EXCEPTION_BITMAP = BIT(13));
	EXPECT("cpl3-rdmsr", BASE_LONG, rdmsr, "x0 q0 +0 v80000b0d e0", USER; s->EXCEPTION_BITMAP = BIT(13));
	EXPECT("cpl3-invd", BASE_LONG, invd, "x0 q0 +0 v80000b0d e0", USER; s->EXCEPTION_BITMAP = BIT(13));
	EXPECT("cpl3-cpuid", BASE_LONG, cpuid, "x10 q0 l2 +0", USER);
	EXPECT("cpl3-rdtsc-tsd", BASE_LONG, rdtsc, "x0 q0 +0 v80000b0d e0", USER; ON(GUEST_CR4, BIT(2)); ON(PROC_CONTROLS, PROC_RDTSC);
	       s->EXCEPTION_BITMAP = BIT(13));
	EXPECT("cpl3-monitor", BASE_LONG, mwait, "x0 q0 +0 v80000306", USER; ON(PROC_CONTROLS, PROC_MWAIT); s->EXCEPTION_BITMAP = BIT(6));
	EXPECT("cpl3-pause", BASE_LONG, pause, "x40 q0 l2 +0", USER; ON(PROC_CONTROLS, PROC_PAUSE));
	EXPECT("xsetbv-no-osxsave", BASE_LONG, xsetbv, "x0 q0 +0 v80000306", s->EXCEPTION_BITMAP = BIT(6));
}

void exits_other(void)
{
	exceptions();
	task_switches();
	instructions();
	msrs();
	priorities();
}
