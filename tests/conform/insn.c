/*
 * VMX instructions in every mode and state: outside VMX operation, in it without and with a current VMCS, at CPL 3, in
 * compatibility mode, with bad operands; launch state; what a VMCS region keeps (SDM 3C, VMX Instruction Reference;
 * VM-Instruction Error Numbers).
 *
 * Invariant: VMX operation is left and CR4.VMXE is clear when the group ends.
 */
#include <stdio.h>
#include <string.h>

#include "guest/lib/memory.h"
#include "guest/lib/traps.h"
#include "tests/conform/session.h"

static const char *const op_names[NR_OPS] = { "vmxon", "vmxoff", "vmclear", "vmptrld", "vmptrst", "vmread", "vmwrite", "vmlaunch",
					      "vmresume", "invept", "invvpid", "vmcall" };
static u64 scratch[2];

static bool exists(enum insn_op op)
{
	if (op == OP_INVEPT)
		return env.ept_vpid & EPT_CAP_INVEPT;
	return op != OP_INVVPID || (env.ept_vpid & EPT_CAP_INVVPID);
}

static void expect(enum insn_op op, u64 a, u64 b, const char *want, const char *when)
{
	char name[80];

	sniprintf(name, sizeof(name), "%s/%s", op_names[op], when);
	report_text(name, attempt(op, a, b), exists(op) ? want : "#UD");
}

/* VMXON, VMCLEAR or VMPTRLD of the region at this address. */
static void expect_at(enum insn_op op, u64 address, const char *want, const char *when)
{
	u64 pointer = address;

	expect(op, (u64)&pointer, 0, want, when);
}

/* ---- where VMX instructions do not exist ---- */
static void all_undefined(enum insn_op first, const char *when)
{
	for (enum insn_op op = first; op <= OP_INVVPID; op++)
		expect(op, op == OP_VMREAD || op == OP_VMWRITE ? VMCS_INSN_ERROR : op >= OP_INVEPT ? 2 : (u64)scratch, (u64)scratch, "#UD", when);
}

/* The fault of the piece's own instruction, not of the undefined one behind it. */
static void expect_piece(void (*run)(void *), void *piece, enum insn_op op, const char *want, const char *when)
{
	const char *saw = attempt_call(run, piece);
	char name[80];

	sniprintf(name, sizeof(name), "%s/%s", op_names[op], when);
	report_text(name, fault_frame()->rip == (u64)piece ? saw : "done", want);
}

static void other_modes(bool vmxe, bool vmx_operation, const char *state)
{
	char when[48];

	for (enum insn_op op = OP_VMXON; op <= OP_INVVPID; op++) {
		bool gp = vmx_operation || (vmxe && op == OP_VMXON);
		sniprintf(when, sizeof(when), "cpl3-%s", state);
		expect_piece(user_run, pieces64[op], op, gp && exists(op) ? "#GP(0)" : "#UD", when);
		sniprintf(when, sizeof(when), "compatibility-mode-%s", state);
		expect_piece(compat_run, pieces32[op], op, "#UD", when);
	}
}

/* ---- control registers in and around VMX operation ---- */
static void load_cr4(void *v) { write_cr4(*(u64 *)v); }
static void load_cr0(void *v) { write_cr0(*(u64 *)v); }

static void set_cr4(u64 value, const char *want, const char *name) { report_text(name, attempt_call(load_cr4, &value), want); }
static void set_cr0(u64 value, const char *want, const char *name) { report_text(name, attempt_call(load_cr0, &value), want); }

/* ---- VMXON ---- */
static void bad_operands(enum insn_op op, u64 b, u32 error)
{
	char text[48];
	u64 page_end = BIT(47) - PAGE_SIZE;

	expect(op, op >= OP_INVEPT ? 2 : BIT(62), op >= OP_INVEPT ? BIT(62) : b, "#GP(0)", "operand-not-canonical");
	expect(op, op >= OP_INVEPT ? 2 : BIT(47) - 4, op >= OP_INVEPT ? BIT(47) - 4 : b, "#GP(0)", "operand-across-canonical-boundary");
	sniprintf(text, sizeof(text), "#PF(%x) at %llx", error, (unsigned long long)page_end);
	expect(op, op >= OP_INVEPT ? 2 : page_end, op >= OP_INVEPT ? page_end : b, text, "operand-page-fault");
}

static void entering(void)
{
	u64 region = (u64)vmxon_region, too_wide = BIT(env.maxpa);

	bad_operands(OP_VMXON, 0, 0);
	expect_at(OP_VMXON, region + 8, "invalid", "misaligned");
	expect_at(OP_VMXON, region + 0x800, "invalid", "misaligned-half");
	if (env.maxpa < 52)
		expect_at(OP_VMXON, region | too_wide, "invalid", "first-bit-too-wide");
	expect_at(OP_VMXON, region | BIT(63), "invalid", "last-bit-too-wide");
	vmxon_region[0] = env.revision ^ 1;
	expect_at(OP_VMXON, region, "invalid", "other-revision");
	vmxon_region[0] = env.revision | BIT(31);
	expect_at(OP_VMXON, region, "invalid", "shadow-revision");
	vmxon_region[0] = env.revision;
	expect_at(OP_VMXON, region, "ok", "good");
}

/* ---- in VMX operation ---- */
static void without_vmcs(void)
{
	static const u64 zeros[2];
	static u64 pointer;

	vmcs_a[0] = env.revision;
	expect_at(OP_VMXON, (u64)vmxon_region, "invalid", "again-without-vmcs");
	expect(OP_VMXON, BIT(62), 0, "invalid", "again-bad-operand-not-read");
	expect(OP_VMREAD, VMCS_PIN_CONTROLS, (u64)scratch, "invalid", "without-vmcs");
	expect(OP_VMWRITE, VMCS_PIN_CONTROLS, 0, "invalid", "without-vmcs");
	expect(OP_VMREAD, 0x6fee, (u64)scratch, "invalid", "no-such-field-without-vmcs");
	expect(OP_VMLAUNCH, 0, 0, "invalid", "without-vmcs");
	expect(OP_VMRESUME, 0, 0, "invalid", "without-vmcs");
	expect_at(OP_VMPTRLD, (u64)vmcs_a + 8, "invalid", "misaligned-without-vmcs");
	expect_at(OP_VMPTRLD, (u64)vmxon_region, "invalid", "vmxon-region-without-vmcs");
	expect_at(OP_VMCLEAR, (u64)vmcs_a + 8, "invalid", "misaligned-without-vmcs");
	expect_at(OP_VMCLEAR, (u64)vmxon_region, "invalid", "vmxon-region-without-vmcs");
	expect(OP_INVEPT, 0, (u64)zeros, "invalid", "type-0-without-vmcs");
	expect(OP_INVVPID, 4, (u64)zeros, "invalid", "type-4-without-vmcs");
	expect(OP_VMPTRST, (u64)&pointer, 0, "ok", "without-vmcs");
	report_u64("vmptrst/says-none", pointer, ~0ull);
	expect_at(OP_VMCLEAR, (u64)vmcs_a, "ok", "good");
	expect(OP_VMREAD, VMCS_PIN_CONTROLS, (u64)scratch, "invalid", "cleared-is-not-current");
	expect_at(OP_VMPTRLD, (u64)vmcs_a, "ok", "good");
	expect(OP_VMPTRST, (u64)&pointer, 0, "ok", "good");
	report_u64("vmptrst/says-which", pointer, (u64)vmcs_a);
}

static void bad_pointers(void)
{
	u64 region = (u64)vmcs_b, nothing = ALIGN_UP(memory_top(), SIZE_1G);

	expect_at(OP_VMXON, (u64)vmxon_region, "error 15", "in-vmx-operation");
	expect(OP_VMXON, BIT(62), 0, "error 15", "in-vmx-operation-bad-operand-not-read");
	for (enum insn_op op = OP_VMCLEAR; op <= OP_VMPTRLD; op++) {
		const char *wrong = op == OP_VMCLEAR ? "error 2" : "error 9";
		bad_operands(op, 0, 0);
		expect_at(op, region + 1, wrong, "misaligned");
		expect_at(op, region + 0x800, wrong, "misaligned-half");
		if (env.maxpa < 52)
			expect_at(op, region | BIT(env.maxpa), wrong, "first-bit-too-wide");
		expect_at(op, region | BIT(63), wrong, "last-bit-too-wide");
		expect_at(op, (u64)vmxon_region, op == OP_VMCLEAR ? "error 3" : "error 10", "vmxon-region");
	}
	bad_operands(OP_VMPTRST, 0, 2);
	vmcs_b[0] = env.revision ^ 1;
	expect_at(OP_VMPTRLD, region, "error 11", "other-revision");
	vmcs_b[0] = env.revision | BIT(31);
	if (may_proc2(&env, PROC2_SHADOW_VMCS))
		report_skip("vmptrld/shadow-revision", "VMCS shadowing is offered");
	else
		expect_at(OP_VMPTRLD, region, "error 11", "shadow-revision");
	vmcs_b[0] = 0;
	expect_at(OP_VMPTRLD, region, "error 11", "zero-revision");
	vmcs_b[0] = env.revision;
	expect_at(OP_VMPTRLD, nothing, "error 11", "outside-memory");
	expect_at(OP_VMCLEAR, nothing, "ok", "outside-memory");
	expect(OP_VMREAD, VMCS_PIN_CONTROLS, (u64)scratch, "ok", "current-after-failed-vmptrld");
}

static void bad_invalidations(void)
{
	static const u64 zeros[2], wide[2] = { BIT(16) | 1, 0 }, crooked[2] = { 1, BIT(62) }, one[2] = { 1, 0 }, eptp[2] = { ~0ull, 0 };
	static u64 good[2];

	good[0] = 0x1000 | 6 | 3 << 3;
	expect(OP_INVEPT, 0, (u64)zeros, "error 28", "type-0");
	expect(OP_INVEPT, 3, (u64)zeros, "error 28", "type-3");
	expect(OP_INVEPT, BIT(32) | 2, (u64)zeros, "error 28", "type-high-bits");
	expect(OP_INVEPT, 3, BIT(62), "error 28", "bad-type-before-operand");
	bad_operands(OP_INVEPT, 0, 0);
	expect(OP_INVEPT, 1, (u64)eptp, "error 28", "bad-eptp");
	expect(OP_INVEPT, 1, (u64)good, env.ept_vpid & EPT_CAP_INVEPT_SINGLE ? "ok" : "error 28", "single");
	expect(OP_INVEPT, 2, (u64)eptp, env.ept_vpid & EPT_CAP_INVEPT_ALL ? "ok" : "error 28", "all");
	expect(OP_INVVPID, 4, (u64)one, "error 28", "type-4");
	expect(OP_INVVPID, ~0ull, (u64)one, "error 28", "type-huge");
	expect(OP_INVVPID, 4, BIT(62), "error 28", "bad-type-before-operand");
	bad_operands(OP_INVVPID, 0, 0);
	for (u32 type = 0; type <= 3; type++) {
		char when[32];
		bool all = type == 2;
		sniprintf(when, sizeof(when), "type-%u-vpid-0", type);
		expect(OP_INVVPID, type, (u64)zeros, all ? "ok" : "error 28", when);
		sniprintf(when, sizeof(when), "type-%u-vpid-1", type);
		expect(OP_INVVPID, type, (u64)one, "ok", when);
		sniprintf(when, sizeof(when), "type-%u-reserved", type);
		expect(OP_INVVPID, type, (u64)wide, "error 28", when);
		sniprintf(when, sizeof(when), "type-%u-not-canonical", type);
		expect(OP_INVVPID, type, (u64)crooked, type ? "ok" : "error 28", when);
	}
}

static void clear_vmcs(u32 *vmcs)
{
	u64 p = (u64)vmcs;

	vmcs[0] = env.revision;
	do_vmclear(&p);
}

/* What VM entry answers before it looks at fields, and the least that it looks at. */
static void launch_states(void)
{
	clear_vmcs(vmcs_a);
	expect_at(OP_VMPTRLD, (u64)vmcs_a, "ok", "after-vmclear");
	expect(OP_VMRESUME, 0, 0, "error 5", "not-launched");
	expect(OP_VMWRITE, VMCS_PIN_CONTROLS, ~0ull, "ok", "all-pin-controls");
	expect(OP_VMLAUNCH, 0, 0, "error 7", "bad-controls");
	expect(OP_VMRESUME, 0, 0, "error 5", "not-launched-by-failure");
	report_text("vmlaunch/mov-ss", flags_text(do_vmlaunch_mov_ss(false)), "error 26");
	report_text("vmresume/mov-ss", flags_text(do_vmlaunch_mov_ss(true)), "error 26");
}

/* Fields stay in the region over VMCLEAR and over another VMCS being current. */
static void write_back(void)
{
	u64 v = 0;

	clear_vmcs(vmcs_b);
	expect(OP_VMWRITE, VMCS_GUEST_RSP, 0x123456789abcdef0, "ok", "before-write-back");
	expect_at(OP_VMPTRLD, (u64)vmcs_b, "ok", "second");
	expect(OP_VMWRITE, VMCS_GUEST_RSP, 0x55, "ok", "second");
	expect_at(OP_VMPTRLD, (u64)vmcs_a, "ok", "first-again");
	expect(OP_VMREAD, VMCS_GUEST_RSP, (u64)&v, "ok", "first-again");
	report_u64("write-back/by-vmptrld", v, 0x123456789abcdef0);
	expect_at(OP_VMCLEAR, (u64)vmcs_a, "ok", "current");
	expect(OP_VMREAD, VMCS_GUEST_RSP, (u64)&v, "invalid", "after-vmclear-of-current");
	expect_at(OP_VMPTRLD, (u64)vmcs_a, "ok", "first-once-more");
	expect(OP_VMREAD, VMCS_GUEST_RSP, (u64)&v, "ok", "first-once-more");
	report_u64("write-back/by-vmclear", v, 0x123456789abcdef0);
	expect_at(OP_VMCLEAR, (u64)vmcs_b, "ok", "not-current");
	expect(OP_VMREAD, VMCS_GUEST_RSP, (u64)&v, "ok", "after-vmclear-of-other");
	report_u64("write-back/other-region", vmcs_b[0], env.revision);
}

static void ptrld_ss(void *p) { do_vmptrld_ss(*(void **)p); }

void group_insn(u32 sample)
{
	u64 bad = BIT(62);
	void *bad_pointer = (void *)bad;

	(void)sample;
	set_cr4(read_cr4() & ~CR4_VMXE, "ok", "cr4/vmxe-off");
	all_undefined(OP_VMXON, "without-cr4-vmxe");
	other_modes(false, false, "without-cr4-vmxe");
	set_cr4(read_cr4() | CR4_VMXE, "ok", "cr4/vmxe-on");
	all_undefined(OP_VMXOFF, "outside-vmx-operation");
	other_modes(true, false, "outside-vmx-operation");
	write_cr0(read_cr0() | env.cr0_fixed0);
	entering();
	other_modes(true, true, "in-vmx-operation");
	set_cr4(read_cr4() & ~CR4_VMXE, "#GP(0)", "cr4/vmxe-in-vmx-operation");
	set_cr0(read_cr0() & ~CR0_NE, "#GP(0)", "cr0/ne-in-vmx-operation");
	set_cr0(read_cr0() & ~CR0_PG, "#GP(0)", "cr0/pg-in-vmx-operation");
	without_vmcs();
	bad_pointers();
	report_text("vmptrld/stack-segment-not-canonical", attempt_call(ptrld_ss, &bad_pointer), "#SS(0)");
	bad_invalidations();
	insn_operands();
	launch_states();
	write_back();
	clear_vmcs(vmcs_a);
	expect(OP_VMXOFF, 0, 0, "ok", "good");
	expect(OP_VMXOFF, 0, 0, "#UD", "again");
	set_cr4(read_cr4() & ~CR4_VMXE, "ok", "cr4/vmxe-off-again");
}
