/*
 * Cached translations: what INVEPT, INVVPID, INVLPG, VM entries and exits must have ended (SDM 3C, Caching Translation Information; Operations that
 * Invalidate Cached Mappings), EPTP switching (VM Functions), TSC scaling.
 *
 * Invariant: a table is changed and then invalidated as the SDM asks for, so what the guest sees next is certain.
 */
#include "tests/conform/exits.h"

#include <stdio.h>
#include <string.h>

PIECE(load); PIECE(remap); PIECE(vmfunc_load); PIECE(rdtsc); PIECE(rdmsr);

#define R guest_regs
#define HOLE 0xd0000000ull
#define EPT_WB_RWX (7 | 6 << 3)
#define EPTP_OF(root) ((u64)(root) | 6 | 3 << 3)
#define PTE 7

extern u64 guest_pd[2048];
static u64 table[512] __aligned_to(4096), data[2][512] __aligned_to(4096), list[512] __aligned_to(4096);
static u64 other_pml4[512] __aligned_to(4096), other_pdpt[512] __aligned_to(4096), other_pd[512] __aligned_to(4096);

static u64 desc[2];
static void invept(u64 type, u64 eptp)
{
	desc[0] = eptp;
	desc[1] = 0;
	do_invept(type, desc);
}

static void invvpid(u64 type, u64 vpid, u64 linear)
{
	desc[0] = vpid;
	desc[1] = linear;
	do_invvpid(type, desc);
}

/* What the guest finds at HOLE. */
static u64 loaded(enum base b, u64 vpid)
{
	struct vstate s_, *s = &s_;

	exit_begin(s, b, g_load);
	R.rsi = HOLE;
	R.rax = ~0ull;
	if (vpid) {
		SECONDARY(PROC2_VPID);
		s->VPID = vpid;
	}
	exit_run(s);
	return field(VMCS_EXIT_REASON) == XR_VMCALL ? R.rax : 1000 + field(VMCS_EXIT_REASON);
}

/* ---- by EPT ---- */
static void ept_leaf(u64 to) { table[0] = to; }

static void by_invept(const char *name, u64 type)
{
	char sub[64];

	ept_leaf((u64)data[0] | EPT_WB_RWX);
	ept_pd[HOLE >> 21] = (u64)table | 7;
	invept(2, 0);
	sniprintf(sub, sizeof(sub), "%s-before", name);
	report_u64(sub, loaded(BASE_EPT, 0), 10);
	ept_leaf((u64)data[1] | EPT_WB_RWX);
	invept(type, EPTP_OF(ept_pml4));
	sniprintf(sub, sizeof(sub), "%s-moved", name);
	report_u64(sub, loaded(BASE_EPT, 0), 11);
	ept_leaf(0);
	invept(type, EPTP_OF(ept_pml4));
	sniprintf(sub, sizeof(sub), "%s-gone", name);
	report_u64(sub, loaded(BASE_EPT, 0), 1000 + XR_EPT_VIOLATION);
	ept_leaf((u64)data[0] | EPT_WB_RWX); /* from nothing to something needs none */
	sniprintf(sub, sizeof(sub), "%s-back", name);
	report_u64(sub, loaded(BASE_EPT, 0), 10);
	ept_pd[HOLE >> 21] = HOLE | EPT_WB_RWX | BIT(7);
	invept(2, 0);
}

/* ---- by the guest's own paging ---- */
static bool may_invvpid(u64 type) { return env.ept_vpid & (EPT_CAP_INVVPID_ADDR << type); }

static void by_invvpid(const char *name, u64 type, u64 vpid)
{
	char sub[64];

	table[0] = (u64)data[0] | PTE;
	sniprintf(sub, sizeof(sub), "%s-before", name);
	invvpid(2, 0, 0);
	report_u64(sub, loaded(BASE_LONG, 1), 10);
	table[0] = (u64)data[1] | PTE;
	invvpid(type, vpid, HOLE);
	sniprintf(sub, sizeof(sub), "%s-moved", name);
	report_u64(sub, loaded(BASE_LONG, 1), 11);
}

static void vpids(void)
{
	static const char *const names[] = { "invvpid-address", "invvpid-single", "invvpid-all", "invvpid-keep-global" };
	u64 entry = guest_pd[HOLE >> 21];

	guest_pd[HOLE >> 21] = (u64)table | PTE;
	for (u64 type = 0; type < 4; type++)
		NEEDS(names[type], may_proc2(&env, PROC2_VPID) && may_invvpid(type), by_invvpid(names[type], type, type == 2 ? 0 : 1));
	/* Two guests with VPIDs of their own, and one without. */
	if (may_proc2(&env, PROC2_VPID)) {
		table[0] = (u64)data[0] | PTE;
		invvpid(2, 0, 0);
		report_u64("vpid-1", loaded(BASE_LONG, 1), 10);
		table[0] = (u64)data[1] | PTE;
		report_u64("vpid-2-fresh", loaded(BASE_LONG, 2), 11);
		invvpid(1, 1, 0);
		report_u64("vpid-1-moved", loaded(BASE_LONG, 1), 11);
	} else {
		report_skip("vpid-1", SHORT);
	}
	table[0] = (u64)data[0] | PTE;
	report_u64("no-vpid-before", loaded(BASE_LONG, 0), 10);
	table[0] = (u64)data[1] | PTE;
	report_u64("no-vpid-moved", loaded(BASE_LONG, 0), 11); /* entry and exit have invalidated */
	guest_pd[HOLE >> 21] = entry;
	if (may_proc2(&env, PROC2_VPID))
		invvpid(2, 0, 0);
}

/* The guest changes its own table and invalidates; nobody wants to know of either. */
static void by_guest(const char *name, enum base b, bool vpid)
{
	u64 entry = guest_pd[HOLE >> 21];
	struct vstate s_, *s = &s_;

	guest_pd[HOLE >> 21] = (u64)table | PTE;
	table[0] = (u64)data[0] | PTE;
	exit_begin(s, b, g_remap);
	R.rsi = HOLE;
	R.rbx = (u64)table;
	R.rax = (u64)data[1] | PTE;
	if (vpid)
		SECONDARY(PROC2_VPID);
	exit_expect(name, s, "x18 q0 l3 +c");
	guest_pd[HOLE >> 21] = entry;
	if (vpid)
		invvpid(2, 0, 0);
}

static void guest_invlpg(void)
{
	by_guest("invlpg", BASE_LONG, false);
	report_u64("invlpg-values", R.r8 << 8 | R.r9, 10 << 8 | 11);
	NEEDS("invlpg-vpid", may_proc2(&env, PROC2_VPID), by_guest("invlpg-vpid", BASE_LONG, true);
	      report_u64("invlpg-vpid-values", R.r8 << 8 | R.r9, 10 << 8 | 11));
	NEEDS("invlpg-ept", may_proc2(&env, PROC2_EPT), by_guest("invlpg-ept", BASE_EPT, false);
	      report_u64("invlpg-ept-values", R.r8 << 8 | R.r9, 10 << 8 | 11));
}

/* ---- EPTP switching ---- */
/* The second table has all of the first one but for the GiB of HOLE, where HOLE's 2 MiB are elsewhere. */
static void make_other(void)
{
	memcpy(other_pml4, ept_pml4, sizeof(other_pml4));
	memcpy(other_pdpt, ept_pdpt, sizeof(other_pdpt));
	memcpy(other_pd, ept_pd + 3 * 512, sizeof(other_pd));
	other_pml4[0] = (u64)other_pdpt | 7;
	other_pdpt[3] = (u64)other_pd | 7;
	ept_leaf((u64)data[1] | EPT_WB_RWX);
	other_pd[HOLE >> 21 & 511] = (u64)table | 7;
}

#define SWITCHING SECONDARY(PROC2_VMFUNC); s->VMFUNC_CONTROLS = 1; s->EPTP_LIST_ADDR = (u64)list; R.rsi = HOLE; R.r8 = 77
static void eptp_switching(void)
{
	if (!may_proc2(&env, PROC2_VMFUNC | PROC2_EPT) || !(rdmsr(MSR_VMX_VMFUNC) & 1)) {
		report_skip("eptp-switching", SHORT);
		return;
	}
	make_other();
	list[0] = EPTP_OF(ept_pml4);
	list[511] = EPTP_OF(other_pml4);
	list[2] = EPTP_OF(other_pml4) | BIT(11);
	invept(2, 0);
	EXPECT("eptp-switch", BASE_EPT, vmfunc_load, "x18 q0 l3 +6", SWITCHING; R.rax = 0; R.rcx = 511);
	report_u64("eptp-switch-value", R.r8, 11);
	report_u64("eptp-switch-field", field(VMCS_EPTP), EPTP_OF(other_pml4));
	EXPECT("eptp-switch-same", BASE_EPT, vmfunc_load, "x18 q0 l3 +6", SWITCHING; R.rcx = 511; s->EPTP = EPTP_OF(other_pml4));
	EXPECT("eptp-switch-bad-index", BASE_EPT, vmfunc_load, "x59 q0 l3 +0", SWITCHING; R.rcx = 512);
	EXPECT("eptp-switch-bad-eptp", BASE_EPT, vmfunc_load, "x59 q0 l3 +0", SWITCHING; R.rcx = 2);
	report_u64("eptp-switch-bad-field", field(VMCS_EPTP), EPTP_OF(ept_pml4));
	EXPECT("eptp-switch-function-1", BASE_EPT, vmfunc_load, "x59 q0 l3 +0", SWITCHING; R.rax = 1);
	EXPECT("eptp-switch-function-64", BASE_EPT, vmfunc_load, "x0 q0 +0 v80000306", SWITCHING; R.rax = 64; s->EXCEPTION_BITMAP = BIT(6));
	EXPECT("eptp-switch-not-enabled", BASE_EPT, vmfunc_load, "x59 q0 l3 +0", SWITCHING; s->VMFUNC_CONTROLS = 0);
}

/* ---- TSC scaling ---- */
static u64 scaled(u64 tsc, u64 multiplier) { return (u64)((unsigned __int128)tsc * multiplier >> 48); }

static void scaled_reading(const char *name, u64 before, u64 multiplier, u64 offset)
{
	u64 saw = ((R.rax & 0xffffffff) | R.rdx << 32) - offset;

	report_u64(name, saw >= scaled(before, multiplier) && saw <= scaled(rdtsc(), multiplier), 1);
}

#define SCALE(m, o) ON(PROC_CONTROLS, PROC_TSC_OFFSET); SECONDARY(PROC2_TSC_SCALING); s->TSC_MULTIPLIER = (m); s->TSC_OFFSET = (o)
static void tsc_scaling(void)
{
	static const u64 multiplier[] = { BIT(48), 3ull << 48, BIT(47), 0x0001555555555555 };
	static const char *const names[] = { "tsc-scale-1", "tsc-scale-3", "tsc-scale-half", "tsc-scale-4/3" };
	char sub[64];
	u64 before;

	if (!may_proc2(&env, PROC2_TSC_SCALING)) {
		report_skip("tsc-scale", SHORT);
		return;
	}
	for (u32 i = 0; i < ARRAY_SIZE(names); i++) {
		before = rdtsc();
		EXPECT(names[i], BASE_LONG, rdtsc, "x18 q0 l3 +2", SCALE(multiplier[i], BIT(40)));
		sniprintf(sub, sizeof(sub), "%s-value", names[i]);
		scaled_reading(sub, before, multiplier[i], BIT(40));
	}
	before = rdtsc();
	EXPECT("tsc-scale-rdmsr", BASE_LONG, rdmsr, "x18 q0 l3 +2", SCALE(3ull << 48, 5); ON(PROC_CONTROLS, PROC_MSR_BITMAPS); R.rcx = MSR_TSC);
	scaled_reading("tsc-scale-rdmsr-value", before, 3ull << 48, 5);
	u64 high = 3ull << 62; /* products are unsigned, wherever the TSC stands */
	wrmsr(MSR_TSC, rdtsc() + high);
	before = rdtsc();
	EXPECT("tsc-scale-high", BASE_LONG, rdtsc, "x18 q0 l3 +2", SCALE(3ull << 47, 9));
	scaled_reading("tsc-scale-high-value", before, 3ull << 47, 9);
	wrmsr(MSR_TSC, rdtsc() - high);
	before = rdtsc(); /* without TSC offsetting neither counts */
	EXPECT("tsc-scale-not-used", BASE_LONG, rdtsc, "x18 q0 l3 +2", SCALE(3ull << 48, 5); OFF(PROC_CONTROLS, PROC_TSC_OFFSET));
	scaled_reading("tsc-scale-not-used-value", before, BIT(48), 0);
}

void group_translate(u32 every)
{
	(void)every;
	world_open();
	data[0][0] = 10;
	data[1][0] = 11;
	NEEDS("invept-single", may_proc2(&env, PROC2_EPT) && (env.ept_vpid & EPT_CAP_INVEPT_SINGLE), by_invept("invept-single", 1));
	NEEDS("invept-global", may_proc2(&env, PROC2_EPT), by_invept("invept-global", 2));
	vpids();
	guest_invlpg();
	eptp_switching();
	tsc_scaling();
	world_close();
}
