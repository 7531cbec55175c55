/*
 * Single steps and breakpoints across exits: TF, RF, the monitor trap flag, pending debug exceptions (SDM 3A, Debug Exceptions; SDM 3C, Saving
 * Non-Register State; Pending Debug Exceptions). Instructions that a hypervisor performs for the guest of its guest must leave what the
 * processor would have.
 */
#include "tests/conform/exits.h"

#include <stdio.h>

PIECE(cpuid); PIECE(step); PIECE(mov_to_cr0); PIECE(rdmsr); PIECE(load32_nop); PIECE(store32); PIECE(ud2); PIECE(load); PIECE(int3); PIECE(vmcall_nop);
       PIECE(rmw32);

#define R guest_regs
#define IOAPIC 0xfec00000ull    /* a device wherever we run */
#define DB BIT(1)
#define APIC_BASE_MSR 0x1b
#define HOLE 0xd0000000ull

static const u32 rip_field[] = { VMCS_GUEST_RIP };

/* Go on behind the instruction that exited. */
static const char *go_on(const u8 *piece, u64 offset)
{
	const u64 rip = (u64)piece + offset;

	return exit_resume(rip_field, &rip, 1);
}

static void expect(const char *name, const char *saw, const char *wanted)
{
	u32 n = 0;

	while (wanted[n] && saw[n] == wanted[n])
		n++;
	report_text(name, wanted[n] || (saw[n] && saw[n] != ' ') ? saw : wanted, wanted);
}

#define STEP ON(GUEST_RFLAGS, RFLAGS_TF); s->EXCEPTION_BITMAP = DB
static void single_steps(void)
{
	EXPECT("tf-exit-first", BASE_LONG, cpuid, "x10 q0 l2 +0", STEP); /* the exit comes first; no trap is pending then */
	report_u64("tf-exit-nothing-pending", field(VMCS_GUEST_PENDING_DBG), 0);
	EXPECT("tf-mov-cr0", BASE_LONG, mov_to_cr0, "x0 q4000 +3 v80000301", STEP; R.rax = s->GUEST_CR0 | CR0_CD);
	EXPECT("tf-mov-cr0-gp", BASE_LONG, mov_to_cr0, "x0 q0 +0 v80000b0d e0", STEP; s->EXCEPTION_BITMAP |= BIT(13); R.rax = 0);
	EXPECT("tf-rdmsr", BASE_LONG, rdmsr, "x0 q4000 +2 v80000301", STEP; ON(PROC_CONTROLS, PROC_MSR_BITMAPS); R.rcx = APIC_BASE_MSR);
	EXPECT("tf-device-read", BASE_LONG, load32_nop, "x0 q4000 +2 v80000301", STEP; R.rsi = IOAPIC);
	EXPECT("tf-device-write", BASE_LONG, store32, "x0 q4000 +2 v80000301", STEP; R.rsi = IOAPIC; R.rax = 1);
	EXPECT("tf-delivered", BASE_LONG, load32_nop, "x18", ON(GUEST_RFLAGS, RFLAGS_TF); R.rsi = IOAPIC);
	report_u64("tf-delivered-vector", (field(VMCS_GUEST_RIP) - (u64)guest_idt_stubs) / IDT_STUB, 1);
}

/* An exit, and the hypervisor goes on behind the instruction: the next one is stepped over. */
static void step_behind_exit(void)
{
	struct vstate s_, *s = &s_;

	exit_begin(s, BASE_LONG, g_vmcall_nop);
	STEP;
	expect("tf-behind-exit-first", exit_run(s), "x18 q0 l3 +0");
	expect("tf-behind-exit", go_on(g_vmcall_nop, 3), "x0 q4000 +4 v80000301");
}

static void monitor_traps(void)
{
	if (!may_proc(&env, PROC_MTF)) {
		report_skip("mtf-device", SHORT);
		return;
	}
	EXPECT("mtf-device-read", BASE_LONG, load32_nop, "x37 q0 +2", ON(PROC_CONTROLS, PROC_MTF); R.rsi = IOAPIC);
	EXPECT("mtf-device-write", BASE_LONG, store32, "x37 q0 +2", ON(PROC_CONTROLS, PROC_MTF); R.rsi = IOAPIC; R.rax = 1);
	EXPECT("mtf-mov-cr0", BASE_LONG, mov_to_cr0, "x37 q0 +3", ON(PROC_CONTROLS, PROC_MTF); R.rax = s->GUEST_CR0 | CR0_CD);
	EXPECT("mtf-rdmsr", BASE_LONG, rdmsr, "x37 q0 +2", ON(PROC_CONTROLS, PROC_MTF | PROC_MSR_BITMAPS); R.rcx = APIC_BASE_MSR);
}

/* ---- RF: an instruction breakpoint at offset ---- */
#define BREAK(piece, offset) write_dr0((u64)g_##piece + (offset)); s->GUEST_DR7 = 0x402; s->EXCEPTION_BITMAP = DB
static void resume_flag(void)
{
	EXPECT("breakpoint", BASE_LONG, step, "x0 q1 +0 v80000301", BREAK(step, 0));
	EXPECT("rf-suppresses-one", BASE_LONG, step, "x18 q0 l3 +2", BREAK(step, 0); ON(GUEST_RFLAGS, RFLAGS_RF));
	EXPECT("rf-ends-behind-instruction", BASE_LONG, step, "x0 q1 +1 v80000301", BREAK(step, 1); ON(GUEST_RFLAGS, RFLAGS_RF));
	EXPECT("rf-ends-behind-device", BASE_LONG, load32_nop, "x0 q1 +2 v80000301", BREAK(load32_nop, 2); ON(GUEST_RFLAGS, RFLAGS_RF); R.rsi = IOAPIC);
	EXPECT("rf-ends-behind-device-rmw", BASE_LONG, rmw32, "x0 q1 +2 v80000301", BREAK(rmw32, 2); ON(GUEST_RFLAGS, RFLAGS_RF); R.rsi = IOAPIC);
	EXPECT("rf-ends-behind-mov-cr0", BASE_LONG, mov_to_cr0, "x0 q1 +3 v80000301", BREAK(mov_to_cr0, 3); ON(GUEST_RFLAGS, RFLAGS_RF);
	       R.rax = s->GUEST_CR0 | CR0_CD);
	write_dr0(0);
}

/* What an exit saves of RF (SDM 3C, Saving RIP, RSP, RFLAGS, and SSP). */
static void saved_rf(const char *name, enum base b, const u8 *piece, u64 bitmap, u64 want)
{
	struct vstate s_, *s = &s_;

	exit_begin(s, b, piece);
	s->EXCEPTION_BITMAP = bitmap;
	R.rsi = HOLE;
	exit_run(s);
	report_u64(name, field(VMCS_GUEST_RFLAGS) >> 16 & 1, want);
}

static void saved(void)
{
	static const u64 all[2];

	saved_rf("rf-saved-instruction", BASE_LONG, g_cpuid, 0, 0);
	saved_rf("rf-saved-fault", BASE_LONG, g_ud2, BIT(6), 1);
	saved_rf("rf-saved-trap", BASE_LONG, g_int3, BIT(3), 0);
	if (!may_proc2(&env, PROC2_EPT)) {
		report_skip("rf-saved-ept-violation", SHORT);
		return;
	}
	ept_pd[HOLE >> 21] = 0;
	do_invept(2, all);
	saved_rf("rf-saved-ept-violation", BASE_EPT, g_load, 0, 1);
	ept_pd[HOLE >> 21] = HOLE | 7 | 6 << 3 | BIT(7);
	do_invept(2, all);
}

void group_steps(u32 every)
{
	(void)every;
	world_open();
	single_steps();
	step_behind_exit();
	monitor_traps();
	if (may_entry(&env, ENTRY_LOAD_DEBUG))
		resume_flag();
	else
		report_skip("breakpoint", SHORT);
	saved();
	world_close();
}
