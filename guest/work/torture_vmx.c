/*
 * VMX instructions where they must fail: before VMX operation, in it without a current VMCS, with one that is not fit to run, at
 * CPL 3 (SDM 3C, VMX Instruction Reference; VM-Instruction Error Numbers). On a vCPU without VMX all of them are undefined.
 *
 * Invariant: nothing is ever launched; VMX operation is left and CR4 is as it was when the workload returns.
 */
#include <stdio.h>
#include <string.h>

#include "guest/lib/memory.h"
#include "guest/lib/traps.h"
#include "guest/lib/x86.h"
#include "guest/work/modes.h"
#include "guest/work/torture_page.h"
#include "guest/work/work.h"

#define CPUID1_ECX_VMX BIT(5)
#define VMX_BASIC 0x480
#define VMX_PIN 0x481        /* then the processor-based, exit and entry controls */
#define VMX_MISC 0x485
#define VMX_MISC_VMWRITE_ALL BIT(29)
#define VMX_PROC2 0x48b
#define VMX_PROC2_VPID BIT(32 + 5)
#define VMX_TRUE_PIN 0x48d
#define FIELD_PIN 0x4000
#define FIELD_PROC 0x4002
#define FIELD_EXIT 0x400c
#define FIELD_ENTRY 0x4012
#define FIELD_ERROR 0x4400
#define FIELD_NOBODYS 0x6fee
#define EXIT_HOST_64 BIT(9)
#define INVALID (-1)         /* results of attempt(): VMfailInvalid; an exception; else 0 or the VM-instruction error */
#define FAULT(vector) (1000 + (vector))

enum op { VMXON, VMXOFF, VMCLEAR, VMPTRLD, VMPTRST, VMREAD, VMWRITE, VMLAUNCH, VMRESUME, INVEPT, INVVPID };
static const char *const op_names[] = { "vmxon", "vmxoff", "vmclear", "vmptrld", "vmptrst", "vmread", "vmwrite", "vmlaunch",
					"vmresume", "invept", "invvpid" };

/* a: pointer operand, or field, or type; b: value, or descriptor */
struct insn { enum op op; u64 a, b; u32 result; };

static u64 *vmxon_region, *vmcs;
static u64 scratch[2];

static void execute(void *arg)
{
	struct insn *i = arg;

	switch (i->op) {
	case VMXON: i->result = vmx_vmxon((u64 *)i->a); break;
	case VMXOFF: i->result = vmx_vmxoff(); break;
	case VMCLEAR: i->result = vmx_vmclear((u64 *)i->a); break;
	case VMPTRLD: i->result = vmx_vmptrld((u64 *)i->a); break;
	case VMPTRST: i->result = vmx_vmptrst((u64 *)i->a); break;
	case VMREAD: i->result = vmx_vmread(i->a, scratch); break;
	case VMWRITE: i->result = vmx_vmwrite(i->a, i->b); break;
	case VMLAUNCH: i->result = vmx_vmlaunch(); break;
	case VMRESUME: i->result = vmx_vmresume(); break;
	case INVEPT: i->result = vmx_invept(i->a, (u64 *)i->b); break;
	case INVVPID: i->result = vmx_invvpid(i->a, (u64 *)i->b); break;
	}
}

static s64 attempt(enum op op, u64 a, u64 b)
{
	struct insn i = { op, a, b, 0 };
	int vector = fault_catch(execute, &i);
	u64 error = 0;

	if (vector >= 0)
		return FAULT(vector);
	if (i.result == VMX_FAILED_VALID && vmx_vmread(FIELD_ERROR, &error))
		return -2;
	return i.result == VMX_FAILED_VALID ? (s64)error : i.result ? INVALID : 0;
}

static u32 expect(enum op op, u64 a, u64 b, s64 want, const char *when)
{
	char name[80];

	sniprintf(name, sizeof(name), "%s-%s", op_names[op], when);
	return work_check_result(attempt(op, a, b), want, name);
}

/* VMXON, VMCLEAR or VMPTRLD of the region at this address. */
static u32 expect_at(enum op op, u64 address, s64 want, const char *when)
{
	u64 pointer = address;

	return expect(op, (u64)&pointer, 0, want, when);
}

static void load_cr4(void *value) { write_cr4(*(u64 *)value); }
static void load_cr0(void *value) { write_cr0(*(u64 *)value); }
static void read_basic(void *unused) { (void)unused; (void)rdmsr(VMX_BASIC); }

static u32 set_vmxe(bool on, int want, const char *name)
{
	u64 cr4 = on ? read_cr4() | CR4_VMXE : read_cr4() & ~CR4_VMXE;

	return work_check_result(fault_catch(load_cr4, &cr4), want, name);
}

/* MOV to CR0 with these bits clear, from 32-bit code: 64-bit code may never clear PG. want: the vector, or -1. */
static u32 clear_cr0(u64 bits, int want, const char *name)
{
	u64 cr0 = read_cr0() & ~bits;
	int got = fault_catch(compat_write_cr0, &cr0);

	modes_gdt_restore();
	return work_check_result(got, want, name) + work_check((read_cr0() & bits) == bits, "cr0-as-before");
}

static u32 all_undefined(enum op first, const char *when)
{
	u32 failed = 0;

	scratch[0] = scratch[1] = 0;
	for (enum op op = first; op <= INVVPID; op++)
		failed += expect(op, op == VMREAD || op == VMWRITE ? FIELD_ERROR : op >= INVEPT ? 2 : (u64)&vmcs, (u64)scratch,
				 FAULT(VEC_UD), when);
	return failed;
}

static u32 at_cpl3(void *code, const char *name) { return work_check_result(fault_catch(user_run, code), VEC_GP, name); }

static u32 bad_operands(enum op op)
{
	return expect(op, BIT(62), 0, FAULT(VEC_GP), "operand-not-canonical") +
	       expect(op, BIT(47) - PAGE_SIZE, 0, FAULT(VEC_PF), "operand-page-fault");
}

/* CR4.VMXE is set; still outside VMX operation. */
static u32 entering(u32 revision)
{
	u64 region = (u64)vmxon_region;
	u32 failed = all_undefined(VMXOFF, "outside-vmx-operation") + at_cpl3(user_vmxon, "vmxon-at-cpl3") + bad_operands(VMXON);

	failed += expect_at(VMXON, region + 8, INVALID, "misaligned") + expect_at(VMXON, region | BIT(62), INVALID, "too-wide");
	*vmxon_region = revision ^ 1;
	failed += expect_at(VMXON, region, INVALID, "other-revision");
	*vmxon_region = revision;
	return failed + expect_at(VMXON, region, 0, "good");
}

static u32 without_vmcs(u32 revision)
{
	u64 cr0 = read_cr0() & ~CR0_NE;
	u32 failed = expect_at(VMXON, (u64)vmxon_region, INVALID, "again-without-vmcs");

	failed += set_vmxe(false, VEC_GP, "cr4-vmxe-in-vmx-operation");
	failed += work_check_result(fault_catch(load_cr0, &cr0), VEC_GP, "cr0-ne-in-vmx-operation");
	failed += clear_cr0(CR0_PG, VEC_GP, "cr0-pg-in-vmx-operation");
	failed += clear_cr0(CR0_PG | CR0_PE, VEC_GP, "cr0-pe-in-vmx-operation");
	failed += at_cpl3(user_vmread, "vmread-at-cpl3") + at_cpl3(user_vmlaunch, "vmlaunch-at-cpl3") + at_cpl3(user_vmxon, "vmxon-again-at-cpl3");
	failed += expect(VMREAD, FIELD_PIN, 0, INVALID, "without-vmcs") + expect(VMWRITE, FIELD_PIN, 0, INVALID, "without-vmcs");
	failed += expect(VMLAUNCH, 0, 0, INVALID, "without-vmcs") + expect(VMRESUME, 0, 0, INVALID, "without-vmcs");
	failed += expect_at(VMPTRLD, (u64)vmcs + 8, INVALID, "misaligned-without-vmcs");
	failed += expect(VMPTRST, (u64)scratch, 0, 0, "without-vmcs") + work_check(scratch[0] == ~0ull, "vmptrst-says-none");
	*vmcs = revision;
	return failed + expect_at(VMCLEAR, (u64)vmcs, 0, "good") + expect_at(VMPTRLD, (u64)vmcs, 0, "good") +
	       expect(VMPTRST, (u64)scratch, 0, 0, "good") + work_check(scratch[0] == (u64)vmcs, "vmptrst-says-which");
}

static u32 bad_pointers(u32 revision)
{
	u64 *other = vmcs + PAGE_SIZE / sizeof(u64), nothing = ALIGN_UP(memory_top(), SIZE_1G);
	u32 failed = expect_at(VMXON, (u64)vmxon_region, 15, "in-vmx-operation");

	*other = revision ^ 1;
	failed += bad_operands(VMPTRLD) + bad_operands(VMCLEAR) + bad_operands(VMPTRST);
	failed += expect_at(VMCLEAR, (u64)vmcs + 1, 2, "misaligned") + expect_at(VMCLEAR, (u64)vmcs | BIT(62), 2, "too-wide");
	failed += expect_at(VMCLEAR, (u64)vmxon_region, 3, "vmxon-region");
	failed += expect_at(VMPTRLD, (u64)vmcs + 1, 9, "misaligned") + expect_at(VMPTRLD, (u64)vmcs | BIT(62), 9, "too-wide");
	failed += expect_at(VMPTRLD, (u64)vmxon_region, 10, "vmxon-region");
	failed += expect_at(VMPTRLD, (u64)other, 11, "other-revision") + expect_at(VMPTRLD, nothing, 11, "outside-memory");
	return failed + expect_at(VMCLEAR, nothing, 0, "outside-memory");
}

static u32 bad_fields(void)
{
	bool all = rdmsr(VMX_MISC) & VMX_MISC_VMWRITE_ALL;
	u32 failed = expect(VMREAD, FIELD_NOBODYS, 0, 12, "no-such-field") + expect(VMWRITE, FIELD_NOBODYS, 0, 12, "no-such-field");

	failed += expect(VMREAD, BIT(63) | FIELD_PIN, 0, 12, "high-bit") + expect(VMWRITE, ~0ull, 0, 12, "all-ones");
	return failed + expect(VMWRITE, FIELD_ERROR, 0, all ? 0 : 13, "read-only-field");
}

static u32 bad_invalidations(void)
{
	static const u64 zeros[2], wide[2] = { BIT(16), 0 }, crooked[2] = { 1, BIT(62) }, eptp[2] = { ~0ull, 0 };
	s64 wrong = rdmsr(VMX_PROC2) & VMX_PROC2_VPID ? 28 : FAULT(VEC_UD);
	u32 failed = expect(INVEPT, 0, (u64)zeros, 28, "type-0") + expect(INVEPT, 3, (u64)zeros, 28, "type-3");

	failed += expect(INVEPT, ~0ull, (u64)zeros, 28, "type-huge") + expect(INVEPT, 1, (u64)eptp, 28, "bad-eptp");
	failed += expect(INVEPT, 2, BIT(62), FAULT(VEC_GP), "operand-not-canonical");
	failed += expect(INVVPID, 4, (u64)zeros, wrong, "type-4") + expect(INVVPID, 1, (u64)zeros, wrong, "vpid-0");
	return failed + expect(INVVPID, 1, (u64)wide, wrong, "vpid-too-wide") + expect(INVVPID, 0, (u64)crooked, wrong, "not-canonical");
}

static u32 allowed_least(u32 i, bool true_msrs) { return (u32)rdmsr((true_msrs ? VMX_TRUE_PIN : VMX_PIN) + i); }

/* Controls that are all as small as may be pass; the host state is still zero. */
static u32 bad_entries(void)
{
	bool t = rdmsr(VMX_BASIC) & BIT(55);
	u32 failed = expect(VMRESUME, 0, 0, 5, "not-launched") + expect(VMLAUNCH, 0, 0, 7, "zero-controls");

	failed += expect(VMWRITE, FIELD_PIN, allowed_least(0, t), 0, "pin-controls");
	failed += expect(VMWRITE, FIELD_PROC, allowed_least(1, t), 0, "processor-controls");
	failed += expect(VMWRITE, FIELD_EXIT, allowed_least(2, t) | EXIT_HOST_64, 0, "exit-controls");
	failed += expect(VMWRITE, FIELD_ENTRY, allowed_least(3, t), 0, "entry-controls");
	failed += expect(VMLAUNCH, 0, 0, 8, "zero-host-state");
	failed += expect(VMWRITE, FIELD_PIN, ~0u, 0, "reserved-pin-controls") + expect(VMLAUNCH, 0, 0, 7, "reserved-controls");
	return failed;
}

static u32 leaving(void)
{
	u32 failed = expect_at(VMCLEAR, (u64)vmcs, 0, "current") + expect(VMREAD, FIELD_PIN, 0, INVALID, "after-vmclear");

	failed += torture_vmcs_pages((u64)vmxon_region);
	failed += expect(VMLAUNCH, 0, 0, INVALID, "after-vmclear") + expect(VMXOFF, 0, 0, 0, "good");
	return failed + expect(VMXOFF, 0, 0, FAULT(VEC_UD), "again") + set_vmxe(false, -1, "cr4-vmxe-off") +
	       clear_cr0(CR0_PG, -1, "cr0-pg-outside-vmx-operation");
}

static u32 no_vmx(void)
{
	return work_check_result(fault_catch(read_basic, NULL), VEC_GP, "no-vmx-msrs") + set_vmxe(true, VEC_GP, "no-cr4-vmxe") +
	       all_undefined(VMXON, "without-vmx");
}

u32 work_torture_vmx(const struct cmdline *c)
{
	(void)c;
	vmxon_region = memory_pages(3);
	if (work_check(vmxon_region, "memory"))
		return 1;
	vmcs = vmxon_region + PAGE_SIZE / sizeof(u64);
	if (!(cpuid(1, 0).ecx & CPUID1_ECX_VMX))
		return no_vmx();
	u32 revision = (u32)rdmsr(VMX_BASIC) & 0x7fffffff;
	u32 failed = all_undefined(VMXON, "without-cr4-vmxe") + set_vmxe(true, -1, "cr4-vmxe");
	failed += entering(revision) + without_vmcs(revision) + bad_pointers(revision) + bad_fields() + bad_invalidations();
	return failed + bad_entries() + leaving();
}
