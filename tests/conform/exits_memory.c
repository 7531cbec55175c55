/*
 * Exits by memory: EPT violations and misconfigurations with their qualifications, execute-only pages, page walks;
 * page-fault filter; APIC accesses (SDM 3C, EPT-Induced VM Exits; Exit Qualification for EPT Violations; … for
 * APIC-Access VM Exits).
 *
 * Invariant: the test page at HOLE is one of the guest's own tables' 2 MiB pages, given a 4 KiB table for the tests, then
 * back.
 */
#include "tests/conform/exits.h"

#include <stdio.h>

PIECE(load); PIECE(load32); PIECE(store); PIECE(jump); PIECE(rmw); PIECE(ud2);

#define R guest_regs
#define HOLE 0xd0000000ull /* no RAM there: only EPT gives it some */
#define EPT_R 1u
#define EPT_W 2u
#define EPT_X 4u
#define EPT_WB (6u << 3)
#define EPT_PS BIT(7)

extern u64 guest_pd[2048];
static u64 ept_pt[512] __aligned_to(4096), guest_pt[512] __aligned_to(4096);
static u8 data[4096] __aligned_to(4096);

/* The page at HOLE is data, with this leaf; the guest sees it at the linear address HOLE. */
static void page(u64 leaf_bits)
{
	static const u64 all[2] = { 0, 0 };

	ept_pt[0] = (u64)data | leaf_bits;
	ept_pd[HOLE >> 21] = (u64)ept_pt | EPT_R | EPT_W | EPT_X;
	do_invept(2, all);
}

static void page_back(void)
{
	ept_pd[HOLE >> 21] = HOLE | EPT_R | EPT_W | EPT_X | EPT_WB | EPT_PS;
	page(0);
	ept_pd[HOLE >> 21] = HOLE | EPT_R | EPT_W | EPT_X | EPT_WB | EPT_PS;
}

/*
 * Qualification of a violation at HOLE: access in bits 2:0, rights in bits 5:3, linear address valid, final address; with advanced
 * information: a user-mode, writable, executable linear address.
 */
static void violation(const char *name, const u8 *piece, u32 rights, u64 access)
{
	struct vstate s;
	char want[80], address[64];

	page(rights ? rights | EPT_WB : 0);
	exit_begin(&s, BASE_EPT, piece);
	R.rsi = HOLE + 8;
	sniprintf(want, sizeof(want), "x48 q%llx",
	       (unsigned long long)(access | (u64)rights << 3 | 0x180 | (env.ept_vpid & EPT_ADVANCED ? 0x600 : 0)));
	exit_expect(name, &s, want);
	sniprintf(address, sizeof(address), "%s-address", name);
	report_u64(address, field(VMCS_GUEST_PHYSICAL_ADDR), HOLE + 8);
}

static void allowed(const char *name, const u8 *piece, u32 rights, const char *want)
{
	struct vstate s;

	page(rights | EPT_WB);
	exit_begin(&s, BASE_EPT, piece);
	R.rsi = HOLE + 8;
	exit_expect(name, &s, want);
}

static void violations(void)
{
	bool exec_only = env.ept_vpid & EPT_CAP_EXEC_ONLY;
	struct { const char *name; const u8 *piece; u32 rights; u64 access; } rows[] = {
		{ "ept-read-nothing", g_load, 0, 1 }, { "ept-write-nothing", g_store, 0, 2 }, { "ept-fetch-nothing", g_jump, 0, 4 },
		{ "ept-write-read-only", g_store, EPT_R, 2 }, { "ept-fetch-read-only", g_jump, EPT_R, 4 },
		{ "ept-fetch-read-write", g_jump, EPT_R | EPT_W, 4 }, { "ept-write-read-execute", g_store, EPT_R | EPT_X, 2 },
		{ "ept-read-execute-only", g_load, EPT_X, 1 }, { "ept-write-execute-only", g_store, EPT_X, 2 },
	};

	for (u32 i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].rights == EPT_X && !exec_only)
			report_skip(rows[i].name, SHORT);
		else
			violation(rows[i].name, rows[i].piece, rows[i].rights, rows[i].access);
	data[8] = 0x0f; /* VMCALL */
	data[9] = 0x01;
	data[10] = 0xc1;
	allowed("ept-read-read-only", g_load, EPT_R, "x18 q0");
	allowed("ept-fetch-read-execute", g_jump, EPT_R | EPT_X, "x18 q0");
	NEEDS("ept-fetch-execute-only", exec_only, allowed("ept-fetch-execute-only", g_jump, EPT_X, "x18 q0"));
}

/* A read-modify-write reports the read, the write, or both. */
static void read_modify_write(void)
{
	struct vstate s;

	page(EPT_R | EPT_WB);
	exit_begin(&s, BASE_EPT, g_rmw);
	R.rsi = HOLE;
	exit_run(&s);
	report_u64("ept-rmw-write-bit", field(VMCS_EXIT_QUALIFICATION) & 2, 2);
	report_u64("ept-rmw-rights", field(VMCS_EXIT_QUALIFICATION) >> 3 & 7, EPT_R);
}

/* ---- misconfigurations ---- */
static void misconfigured(const char *name, u64 leaf)
{
	struct vstate s;

	page(leaf);
	exit_begin(&s, BASE_EPT, g_load);
	R.rsi = HOLE + 0x10;
	exit_expect(name, &s, "x49 q0 +0 pd0000010");
}

static void misconfigurations(void)
{
	misconfigured("ept-misconfig-write-only", EPT_W | EPT_WB);
	misconfigured("ept-misconfig-write-execute", EPT_W | EPT_X | EPT_WB);
	if (!(env.ept_vpid & EPT_CAP_EXEC_ONLY))
		misconfigured("ept-misconfig-execute-only", EPT_X | EPT_WB);
	misconfigured("ept-misconfig-type-2", EPT_R | 2 << 3);
	misconfigured("ept-misconfig-type-3", EPT_R | 3 << 3);
	misconfigured("ept-misconfig-type-7", EPT_R | 7 << 3);
	if (env.maxpa < 52)
		misconfigured("ept-misconfig-address", EPT_R | EPT_WB | BIT(env.maxpa));
}

/* In a table entry that is no leaf, bits 6:3 are reserved. */
static void misconfigured_table(void)
{
	struct vstate s;

	page(EPT_R | EPT_WB);
	ept_pd[HOLE >> 21] |= BIT(3);
	exit_begin(&s, BASE_EPT, g_load);
	R.rsi = HOLE;
	exit_expect("ept-misconfig-table-reserved", &s, "x49 q0 +0 pd0000000");
	ept_pd[HOLE >> 21] = HOLE | EPT_W | EPT_WB | EPT_PS;
	exit_begin(&s, BASE_EPT, g_load);
	R.rsi = HOLE;
	exit_expect("ept-misconfig-2m-write-only", &s, "x49 q0 +0 pd0000000");
	ept_pd[HOLE >> 21] = HOLE | EPT_R | EPT_WB | EPT_PS | BIT(13);
	exit_begin(&s, BASE_EPT, g_load);
	R.rsi = HOLE;
	exit_expect("ept-misconfig-2m-reserved", &s, "x49 q0 +0 pd0000000");
}

/* ---- the guest's own page walk ---- */
static void page_walks(void)
{
	u64 entry = guest_pd[HOLE >> 21];
	struct vstate s;

	/* The guest's page table lies in the page at HOLE itself. */
	guest_pd[HOLE >> 21] = HOLE | 7;
	page(0);
	exit_begin(&s, BASE_EPT, g_load);
	R.rsi = HOLE + 8;
	exit_run(&s);
	report_u64("ept-walk-reason", field(VMCS_EXIT_REASON), XR_EPT_VIOLATION);
	report_u64("ept-walk-not-final", field(VMCS_EXIT_QUALIFICATION) >> 7 & 3, 1);
	report_u64("ept-walk-rights", field(VMCS_EXIT_QUALIFICATION) >> 3 & 7, 0);
	report_u64("ept-walk-read", field(VMCS_EXIT_QUALIFICATION) & 1, 1);
	report_u64("ept-walk-linear", field(VMCS_GUEST_LINEAR_ADDR), HOLE + 8);
	report_u64("ept-walk-physical", field(VMCS_GUEST_PHYSICAL_ADDR), HOLE);
	report_result("ept-walk", "q%llx", (unsigned long long)field(VMCS_EXIT_QUALIFICATION));
	guest_pd[HOLE >> 21] = entry;
}

/* ---- page faults of the guest ---- */
#define PF (BIT(14))
static void page_faults(void)
{
	u64 entry = guest_pd[HOLE >> 21];

	guest_pd[HOLE >> 21] = 0;
	EXPECT("pf-read", BASE_LONG, load, "x0 qd0000123 +0 v80000b0e e0", s->EXCEPTION_BITMAP = PF; R.rsi = HOLE + 0x123);
	EXPECT("pf-write", BASE_LONG, store, "x0 qd0000000 +0 v80000b0e e2", s->EXCEPTION_BITMAP = PF; R.rsi = HOLE);
	EXPECT("pf-mask-match", BASE_LONG, store, "x0 qd0000000 +0 v80000b0e e2", s->EXCEPTION_BITMAP = PF; s->PF_ERROR_MASK = 2;
	       s->PF_ERROR_MATCH = 2;
	       R.rsi = HOLE);
	EXPECT("pf-mask-no-match", BASE_LONG, load, "x18", s->EXCEPTION_BITMAP = PF; s->PF_ERROR_MASK = 2; s->PF_ERROR_MATCH = 2;
	       R.rsi = HOLE);
	EXPECT("pf-bit-clear-match", BASE_LONG, load, "x18", s->PF_ERROR_MASK = 2; s->PF_ERROR_MATCH = 0; R.rsi = HOLE);
	EXPECT("pf-bit-clear-no-match", BASE_LONG, load, "x0 qd0000000 +0 v80000b0e e0", s->PF_ERROR_MASK = 2; s->PF_ERROR_MATCH = 2;
	       R.rsi = HOLE);
	guest_pd[HOLE >> 21] = entry;
}

/* ---- APIC accesses; no fetch: the emulated processor ends itself at one ---- */
static void apic_accesses(void)
{
	u64 entry = guest_pd[HOLE >> 21];

	if (!may_proc2(&env, PROC2_APIC_ACCESS)) {
		report_skip("apic-access", SHORT);
		return;
	}
	guest_pt[0] = env.apic_access | 7;
	guest_pt[1] = (u64)data | 7;
	guest_pd[HOLE >> 21] = (u64)guest_pt | 7;
	EXPECT("apic-access-read", BASE_LONG, load, "x44 q30 +0", SECONDARY(PROC2_APIC_ACCESS); R.rsi = HOLE + 0x30);
	EXPECT("apic-access-write", BASE_LONG, store, "x44 q1300 +0", SECONDARY(PROC2_APIC_ACCESS); R.rsi = HOLE + 0x300);
	EXPECT("apic-access-ram-read", BASE_LONG, load, "x44 q30 +0", SECONDARY(PROC2_APIC_ACCESS); s->APIC_ACCESS_ADDR = (u64)data;
	       R.rsi = HOLE + 0x1030);
	EXPECT("apic-access-ram-write", BASE_LONG, store, "x44 q1300 +0", SECONDARY(PROC2_APIC_ACCESS); s->APIC_ACCESS_ADDR = (u64)data;
	       R.rsi = HOLE + 0x1300);
	NEEDS("apic-access-ept", may_proc2(&env, PROC2_EPT), EXPECT("apic-access-ept", BASE_EPT, load, "x44 q20 +0",
	       SECONDARY(PROC2_APIC_ACCESS);
	      s->APIC_ACCESS_ADDR = (u64)data; R.rsi = HOLE + 0x1020));
	NEEDS("tpr-shadow-read", may_proc(&env, PROC_TPR_SHADOW), EXPECT("tpr-shadow-read", BASE_LONG, load32, "x18 q0 l3 +2",
	      SECONDARY(PROC2_APIC_ACCESS); ON(PROC_CONTROLS, PROC_TPR_SHADOW); s->APIC_ACCESS_ADDR = (u64)data; R.rsi = HOLE + 0x1080;
	      env.vapic_bytes[0x80] = 0x70));
	report_u64("tpr-shadow-value", (u32)R.rax, 0x70);
	guest_pd[HOLE >> 21] = entry;
}

void exits_memory(void)
{
	page_faults();
	apic_accesses();
	if (!may_proc2(&env, PROC2_EPT)) {
		report_skip("ept", SHORT);
		return;
	}
	violations();
	read_modify_write();
	misconfigurations();
	misconfigured_table();
	page_walks();
	page_back();
}
