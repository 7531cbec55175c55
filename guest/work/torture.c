/*
 * Hypercalls, instructions and ports that must fail in the documented way and harm nobody: core/abi.h and the SDM say how.
 */
#include <stdio.h>
#include <string.h>

#include "guest/lib/memory.h"
#include "guest/lib/nest.h"
#include "guest/lib/x86.h"
#include "guest/work/work.h"

#define MSR_NOBODYS 0x12345
#define PORT_NOBODYS 0x1234

static u32 unknown_calls(void)
{
	static const u64 numbers[] = { 0, HC_FAULT + 1, HC_NIC_INFO - 1, HC_MAX, HC_MAX + 1, 64, 0x7fffffff, 0x80000000,
				       0x100000000ull | HC_REPORT, ~0ull };
	u32 failed = 0;

	for (u32 i = 0; i < ARRAY_SIZE(numbers); i++) {
		char name[48];
		sniprintf(name, sizeof(name), "hypercall-unknown-%llx", (unsigned long long)numbers[i]);
		failed += work_check_result(nest_call(numbers[i], 0, 0, 0, 0), -ENOSYS, name);
	}
	return failed;
}

static u32 record_page(void)
{
	u64 page = (u64)nest_record(), above = ALIGN_UP(memory_top(), SIZE_1G);
	u32 failed = 0;

	failed += work_check_result(nest_call(HC_RECORD_PAGE, page + 8, 0, 0, 0), -EINVAL, "record-page-misaligned");
	failed += work_check_result(nest_call(HC_RECORD_PAGE, above, 0, 0, 0), -EFAULT, "record-page-outside-memory");
	failed += work_check_result(nest_call(HC_RECORD_PAGE, ~0xfffull, 0, 0, 0), -EFAULT, "record-page-at-the-top");
	failed += work_check_result(nest_call(HC_RECORD_PAGE, ~0ull, 0, 0, 0), 0, "record-page-unregister");
	failed += work_check_result(nest_call(HC_NIC_INFO, 0, 0, 0, 0), -EFAULT, "record-page-absent");
	failed += work_check_result(nest_record_register(), 0, "record-page-register");
	return failed;
}

static u32 phases(void)
{
	u64 page = (u64)nest_record();
	u32 failed = work_check_result(nest_call(HC_PHASE, 16, page, 0, 0), -EINVAL, "phase-16");

	failed += work_check_result(nest_call(HC_PHASE, ~0ull, page, 0, 0), -EINVAL, "phase-huge");
	return failed;
}

static void do_rdmsr(void *unused) { (void)unused; (void)rdmsr(MSR_NOBODYS); }
static void do_wrmsr(void *unused) { (void)unused; wrmsr(MSR_NOBODYS, 0); }
static void do_cr4(void *unused) { (void)unused; write_cr4(read_cr4() | BIT(63)); }
static void do_cr0(void *unused) { (void)unused; write_cr0((read_cr0() & ~CR0_PE) | CR0_PG); }
static void do_xsetbv(void *unused) { (void)unused; xsetbv(0, 0); }
static void do_vmread(void *unused) { (void)unused; trap_vmread(); }
static void do_undefined(void *unused) { (void)unused; trap_undefined(); }
static void do_breakpoint(void *unused) { (void)unused; trap_breakpoint(); }
static void do_page_fault(void *unused) { (void)unused; (void)mmio_read8((void *)(BIT(47) - PAGE_SIZE)); }
static void do_not_canonical(void *unused) { (void)unused; (void)mmio_read8((void *)BIT(62)); }

/* A guest may make nothing fail that its configuration does not let it: here, further out, by no operation. */
static u32 injected_failures(void)
{
	u32 failed = work_check_result(nest_call(HC_FAULT, 0, NEST_FAULT_QUERY, 0, 0), -EPERM, "fault-query-not-allowed");

	failed += work_check_result(nest_call(HC_FAULT, 0, NEST_FAULT_ARM, 0, 0), -EPERM, "fault-arm-not-allowed");
	failed += work_check_result(nest_call(HC_FAULT, 1, NEST_FAULT_ARM, 0, 0), -EPERM, "fault-arm-further-out-not-allowed");
	failed += work_check_result(nest_call(HC_FAULT, ~0ull, NEST_FAULT_ARM, ~0ull, 0), -EPERM, "fault-arm-nowhere-not-allowed");
	failed += work_check_result(nest_call(HC_FAULT, 0, NEST_FAULT_DISARM, 0, 0), -EPERM, "fault-disarm-not-allowed");
	return failed + work_check_result(nest_call(HC_FAULT, 0, 3, 0, 0), -EPERM, "fault-unknown-operation-not-allowed");
}

static u32 assist_page(void)
{
	u32 failed = work_check_result(nest_call(HC_VMX_ASSIST, 0x1008, 0, 0, 0), -EINVAL, "assist-page-misaligned");

	failed += work_check_result(nest_call(HC_VMX_ASSIST, 0xfee00000, 0, 0, 0), -EFAULT, "assist-page-not-ram");
	failed += work_check_result(nest_call(HC_VMX_ASSIST, BIT(51), 0, 0, 0), -EFAULT, "assist-page-nowhere");
	return failed + work_check_result(nest_call(HC_VMX_ASSIST, ~0ull, 0, 0, 0), 0, "assist-page-none");
}

static u32 faults(void)
{
	static const struct { const char *name; void (*fn)(void *); int vector; } all[] = {
		{ "vmcall-from-cpl3", user_vmcall, VEC_UD },
		{ "rdmsr-unknown", do_rdmsr, VEC_GP },
		{ "wrmsr-unknown", do_wrmsr, VEC_GP },
		{ "xsetbv-without-osxsave", do_xsetbv, VEC_UD },
		{ "vmread-outside-vmx-operation", do_vmread, VEC_UD },
		{ "undefined-instruction", do_undefined, VEC_UD },
		{ "breakpoint", do_breakpoint, VEC_BP },
		{ "page-fault", do_page_fault, VEC_PF },
		{ "not-canonical", do_not_canonical, VEC_GP },
		{ "cr4-reserved-bit", do_cr4, VEC_GP },
		{ "cr0-paging-without-protection", do_cr0, VEC_GP },
	};
	u32 failed = 0;

	for (u32 i = 0; i < ARRAY_SIZE(all); i++)
		failed += work_check_result(fault_catch(all[i].fn, NULL), all[i].vector, all[i].name);
	return failed;
}

static u32 nobodys_places(void)
{
	volatile u8 *hole = (volatile u8 *)memory_device_window();
	u32 failed = work_check(inb(PORT_NOBODYS) == 0xff && inw(PORT_NOBODYS) == 0xffff && inl(PORT_NOBODYS) == ~0u,
				"unclaimed-port-reads-ones");

	outl(PORT_NOBODYS, 0);
	mmio_write32(hole, 0);
	failed += work_check(mmio_read32(hole) == ~0u && mmio_read64(hole + 8) == ~0ull, "unclaimed-memory-reads-ones");
	return failed;
}

u32 work_torture(const struct cmdline *c)
{
	(void)c;
	return unknown_calls() + record_page() + phases() + injected_failures() + assist_page() + faults() + nobodys_places();
}
