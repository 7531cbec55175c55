/*
 * VMX instructions of an L1 (SDM 3C, VMX Instruction Reference), executed on the whole nested engine: results and error numbers, VMCS
 * regions, memory operands with their addressing, paging and faults.
 */
#include "tests/unit/nested_machine.h"

#define GP FAULT(VEC_GP, 0)
#define UD FAULT(6, 0)
#define SS FAULT(VEC_SS, 0)
#define PF(error) FAULT(VEC_PF, error)
static const insn_fn all[] = { exit_vmxoff, exit_vmclear, exit_vmptrld, exit_vmptrst, exit_vmread, exit_vmwrite, exit_vmlaunch, exit_vmresume,
			       exit_invept, exit_invvpid };

/* ---- where they are not allowed ---- */
static void undefined(void **state)
{
	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(all); i++)
		assert_int_equal(l1_run(all[i]), UD); /* outside VMX operation */
	SET(CR4_READ_SHADOW, CR4_PAE);
	assert_int_equal(l1_pointer(exit_vmxon, L1_VMXON), UD);
	SET(CR4_READ_SHADOW, CR4_PAE | CR4_VMXE);
	SET(GUEST_CS_AR, 0xc09b); /* compatibility mode */
	assert_int_equal(l1_pointer(exit_vmxon, L1_VMXON), UD);
	SET(GUEST_CS_AR, 0xa09b);
	SET(GUEST_EFER, 0);
	SET(GUEST_RFLAGS, RFLAGS_VM | RFLAGS_FIXED);
	assert_int_equal(l1_pointer(exit_vmxon, L1_VMXON), UD);
	SET(GUEST_RFLAGS, RFLAGS_FIXED);
	SET(GUEST_CR0, CR0_NE);
	assert_int_equal(l1_pointer(exit_vmxon, L1_VMXON), UD);
}

static void privileged(void **state)
{
	(void)state;
	SET(GUEST_SS_AR, 0xc093 | 3 << 5);
	assert_int_equal(l1_pointer(exit_vmxon, L1_VMXON), GP);
	SET(GUEST_SS_AR, 0xc093);
	l1_vmxon();
	SET(GUEST_SS_AR, 0xc093 | 3 << 5);
	for (u32 i = 0; i < ARRAY_SIZE(all); i++)
		assert_int_equal(l1_run(all[i]), GP);
	assert_int_equal(l1_pointer(exit_vmxon, L1_VMXON), GP);
	SET(GUEST_CS_AR, 0xc09b);
	assert_int_equal(l1_run(exit_vmxoff), UD); /* before the privilege is looked at */
}

/* ---- VMXON, VMXOFF ---- */
static void vmxon_conditions(void **state)
{
	(void)state;
	*l1_msr(MSR_FEATURE_CONTROL) = FEATURE_CONTROL_VMXON;
	assert_int_equal(l1_pointer(exit_vmxon, L1_VMXON), GP);
	*l1_msr(MSR_FEATURE_CONTROL) = FEATURE_CONTROL_LOCK;
	assert_int_equal(l1_pointer(exit_vmxon, L1_VMXON), GP);
	*l1_msr(MSR_FEATURE_CONTROL) = FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMXON;
	SET(CR0_READ_SHADOW, CR0_PE | CR0_PG | CR0_ET); /* NE */
	assert_int_equal(l1_pointer(exit_vmxon, L1_VMXON), GP);
	SET(CR0_READ_SHADOW, CR0_PE | CR0_PG | CR0_NE | CR0_ET | CR0_WP);
	SET(CR4_READ_SHADOW, CR4_PAE | CR4_VMXE | BIT(23));
	assert_int_equal(l1_pointer(exit_vmxon, L1_VMXON), GP);
	SET(CR4_READ_SHADOW, CR4_PAE | CR4_VMXE);
	assert_int_equal(l1_pointer(exit_vmxon, L1_VMXON + 8), FAILED_INVALID);
	assert_int_equal(l1_pointer(exit_vmxon, BIT(39)), FAILED_INVALID);
	assert_int_equal(l1_pointer(exit_vmxon, L1_OPERAND), FAILED_INVALID);  /* revision */
	assert_int_equal(l1_pointer(exit_vmxon, L1_RAM), FAILED_INVALID);      /* no RAM: reads as ones */
	l1_operand_memory(BIT(47));
	assert_int_equal(l1_run(exit_vmxon), GP);
	assert_false(nested_vmx_on(&vcpu));
	l1_vmxon();
	assert_true(nested_vmx_on(&vcpu));
	assert_int_equal(HW(CR0_MASK) & (CR0_PE | CR0_PG), CR0_PE | CR0_PG); /* L1 may not clear them now */
	assert_int_equal(l1_pointer(exit_vmxon, L1_VMXON), FAILED_INVALID);    /* no current VMCS to tell the number */
	assert_int_equal(l1_pointer(exit_vmptrld, L1_VMCS), SUCCEEDED);
	assert_int_equal(l1_pointer(exit_vmxon, L1_VMXON), INSN_ERR_VMXON_IN_ROOT);
	assert_int_equal(l1_run(exit_vmxoff), SUCCEEDED);
	assert_false(nested_vmx_on(&vcpu));
	assert_int_equal(HW(CR0_MASK) & (CR0_PE | CR0_PG), 0);
}

static void vmxon_without_memory(void **state)
{
	(void)state;
	for (s64 room = 0; room < 8; room++) {
		pages_left = room;
		int result = l1_pointer(exit_vmxon, L1_VMXON);
		if (result == SUCCEEDED)
			break;
		assert_int_equal(result, FAILED_INVALID);
		assert_true(room < 7);
	}
	assert_true(nested_vmx_on(&vcpu));
	pages_left = -1;
}

/* ---- VMCS pointers ---- */
static void pointers(void **state)
{
	(void)state;
	l1_vmxon();
	assert_int_equal(l1_pointer(exit_vmptrld, L1_VMCS + 1), FAILED_INVALID); /* no current VMCS yet */
	assert_int_equal(l1_pointer(exit_vmptrld, L1_VMCS), SUCCEEDED);
	assert_int_equal(l1_pointer(exit_vmptrld, L1_VMCS + 1), INSN_ERR_VMPTRLD_ADDR);
	assert_int_equal(l1_pointer(exit_vmptrld, BIT(39)), INSN_ERR_VMPTRLD_ADDR);
	assert_int_equal(l1_pointer(exit_vmptrld, L1_VMXON), INSN_ERR_VMPTRLD_VMXON);
	assert_int_equal(l1_pointer(exit_vmptrld, L1_OPERAND), INSN_ERR_VMPTRLD_REVISION);
	assert_int_equal(l1_pointer(exit_vmclear, L1_VMCS + 1), INSN_ERR_VMCLEAR_ADDR);
	assert_int_equal(l1_pointer(exit_vmclear, BIT(39)), INSN_ERR_VMCLEAR_ADDR);
	assert_int_equal(l1_pointer(exit_vmclear, L1_VMXON), INSN_ERR_VMCLEAR_VMXON);
	assert_int_equal(l1_pointer(exit_vmclear, L1_RAM), SUCCEEDED); /* memory that is not there */
	l1_operand_memory(L1_OPERAND);
	assert_int_equal(l1_run(exit_vmptrst), SUCCEEDED);
	assert_int_equal(*l1_word(L1_OPERAND), L1_VMCS);
	assert_int_equal(l1_pointer(exit_vmclear, L1_OTHER_VMCS), SUCCEEDED); /* another one: this stays current */
	l1_operand_memory(L1_OPERAND);
	assert_int_equal(l1_run(exit_vmptrst), SUCCEEDED);
	assert_int_equal(*l1_word(L1_OPERAND), L1_VMCS);
	assert_int_equal(l1_pointer(exit_vmclear, L1_VMCS), SUCCEEDED);
	l1_operand_memory(L1_OPERAND);
	assert_int_equal(l1_run(exit_vmptrst), SUCCEEDED);
	assert_int_equal(*l1_word(L1_OPERAND), ~0ull);
	assert_int_equal(l1_pointer(exit_vmptrld, L1_SHADOW), SUCCEEDED);
	assert_int_equal(l1_run(exit_vmlaunch), FAILED_INVALID); /* a shadow VMCS */
	nested_caps.proc2.may &= (u32)~PROC2_SHADOW_VMCS; /* then its bit belongs to the revision */
	assert_int_equal(l1_pointer(exit_vmptrld, L1_SHADOW), INSN_ERR_VMPTRLD_REVISION);
	l1_operand_memory(BIT(47) - 1); /* not canonical at its end */
	assert_int_equal(l1_run(exit_vmptrld), GP);
	assert_int_equal(l1_run(exit_vmclear), GP);
	assert_int_equal(l1_run(exit_vmptrst), GP);
}

/* What one VMCS holds does not follow L1 to another one, and comes back with it. */
static void write_back(void **state)
{
	u64 value;

	(void)state;
	l1_start_l2(BASE_LONG);
	L2_EXITS(.reason = XR_CPUID);
	expect_exit(XR_CPUID, 0);
	assert_int_equal(l1_write_field(VMCS_GUEST_RIP, 0x1234), SUCCEEDED);
	assert_int_equal(l1_pointer(exit_vmptrld, L1_OTHER_VMCS), SUCCEEDED);
	assert_int_equal(l1_read_field(VMCS_GUEST_RIP, &value), SUCCEEDED);
	assert_int_equal(value, 0);
	assert_int_equal(l1_run(exit_vmresume), INSN_ERR_VMRESUME_NOT_LAUNCHED);
	assert_int_equal(l1_pointer(exit_vmptrld, L1_VMCS), SUCCEEDED);
	assert_int_equal(l1_read_field(VMCS_GUEST_RIP, &value), SUCCEEDED);
	assert_int_equal(value, 0x1234);
	assert_int_equal(l1_run(exit_vmlaunch), INSN_ERR_VMLAUNCH_NOT_CLEAR); /* its launch state came back, too */
	assert_int_equal(l1_pointer(exit_vmclear, L1_VMCS), SUCCEEDED);
	assert_int_equal(l1_pointer(exit_vmptrld, L1_VMCS), SUCCEEDED);
	assert_int_equal(l1_read_field(VMCS_GUEST_RIP, &value), SUCCEEDED);
	assert_int_equal(value, 0x1234);
	assert_int_equal(l1_run(exit_vmresume), INSN_ERR_VMRESUME_NOT_LAUNCHED);
	l1_launch();
	assert_int_equal(HW(GUEST_RIP), 0x1234);
}

/* L1 writes into a region by plain stores: widths hold all the same; a region outside RAM is one of zeros that forgets. */
static void odd_regions(void **state)
{
	u64 value;

	(void)state;
	l1_vmxon();
	memset(&((struct vmcs12_region *)l1_mem(L1_VMCS))->data, 0xff, sizeof(struct vmcs12));
	assert_int_equal(l1_pointer(exit_vmptrld, L1_VMCS), SUCCEEDED);
	assert_int_equal(l1_read_field(VMCS_GUEST_ES_SEL, &value), SUCCEEDED);
	assert_int_equal(value, 0xffff);
	assert_int_equal(l1_read_field(VMCS_GUEST_ES_LIMIT, &value), SUCCEEDED);
	assert_int_equal(value, 0xffffffff);
	assert_int_equal(l1_read_field(VMCS_GUEST_ES_BASE, &value), SUCCEEDED);
	assert_int_equal(value, ~0ull);
	region_load(&vcpu, L1_RAM);
	assert_int_equal(l1_read_field(VMCS_GUEST_ES_BASE, &value), SUCCEEDED);
	assert_int_equal(value, 0);
	assert_int_equal(l1_pointer(exit_vmclear, L1_RAM), SUCCEEDED);
}

/* ---- VMREAD, VMWRITE ---- */
static void fields(void **state)
{
	u64 value;

	(void)state;
	l1_vmxon();
	assert_int_equal(l1_read_field(VMCS_GUEST_RIP, &value), FAILED_INVALID);
	assert_int_equal(l1_write_field(VMCS_GUEST_RIP, 1), FAILED_INVALID);
	assert_int_equal(l1_pointer(exit_vmptrld, L1_VMCS), SUCCEEDED);
	assert_int_equal(l1_read_field(0x4444, &value), INSN_ERR_FIELD);
	assert_int_equal(l1_write_field(0x4444, 1), INSN_ERR_FIELD);
	assert_int_equal(l1_write_field(VMCS_GUEST_RIP | BIT(32), 1), INSN_ERR_FIELD); /* all 64 bits of the operand count */
	assert_int_equal(l1_write_field(VMCS_EXIT_REASON, 77), SUCCEEDED); /* IA32_VMX_MISC bit 29 */
	assert_int_equal(l1_read_field(VMCS_EXIT_REASON, &value), SUCCEEDED);
	assert_int_equal(value, 77);
	nested_caps.misc &= ~(u64)VMX_MISC_VMWRITE_RO;
	assert_int_equal(l1_write_field(VMCS_EXIT_REASON, 78), INSN_ERR_READ_ONLY);
	assert_int_equal(l1_read_field(VMCS_INSN_ERROR, &value), SUCCEEDED);
	assert_int_equal(value, INSN_ERR_READ_ONLY);
	/* operands in memory */
	*l1_word(L1_OPERAND) = 0x1122334455667788;
	l1_operand_memory(L1_OPERAND);
	vcpu.gpr[GPR_RBX] = VMCS_GUEST_RIP;
	assert_int_equal(l1_run(exit_vmwrite), SUCCEEDED);
	*l1_word(L1_OPERAND) = 0;
	assert_int_equal(l1_run(exit_vmread), SUCCEEDED);
	assert_int_equal(*l1_word(L1_OPERAND), 0x1122334455667788);
	l1_operand_memory(SIZE_1G); /* not mapped */
	assert_int_equal(l1_run(exit_vmwrite), PF(0));
	assert_int_equal(l1_run(exit_vmread), PF(2));
	assert_int_equal(model_cr2, SIZE_1G);
	vcpu.gpr[GPR_RBX] = 0x4444;
	assert_int_equal(l1_run(exit_vmwrite), PF(0));           /* VMWRITE reads its source first … */
	assert_int_equal(l1_run(exit_vmread), INSN_ERR_FIELD);   /* … VMREAD looks at the field first */
}

/* Protected mode without long mode: 32-bit operands. */
static void l1_in_protected_mode(void)
{
	SET(GUEST_EFER, 0);
	SET(GUEST_CS_AR, 0xc09b);
	SET(GUEST_ES_LIMIT, 0xffffffff);
	SET(GUEST_DS_LIMIT, 0xffffffff);
	SET(GUEST_SS_LIMIT, 0xffffffff);
	SET(GUEST_CR0, CR0_PE | CR0_NE);
	SET(CR0_READ_SHADOW, CR0_PE | CR0_NE);
}

static void fields_32_bit(void **state)
{
	u64 value;

	(void)state;
	l1_vmxon();
	assert_int_equal(l1_pointer(exit_vmptrld, L1_VMCS), SUCCEEDED);
	l1_in_protected_mode();
	assert_int_equal(l1_write_field(VMCS_GUEST_RIP | BIT(32), 0xabcdef0123456789), SUCCEEDED); /* 32 bits of each register */
	assert_int_equal(l1_read_field(VMCS_GUEST_RIP, &value), SUCCEEDED);
	assert_int_equal(value, 0x23456789);
	v12()->TSC_OFFSET = ~0ull;
	assert_int_equal(l1_write_field(VMCS_TSC_OFFSET, 9), SUCCEEDED);
	assert_int_equal(v12()->TSC_OFFSET, 9); /* of a whole field the upper half is cleared */
	assert_int_equal(l1_write_field(VMCS_TSC_OFFSET | 1, 7), SUCCEEDED);
	assert_int_equal(v12()->TSC_OFFSET, 7ull << 32 | 9);
	*l1_word(L1_OPERAND) = ~0ull;
	l1_operand_memory(L1_OPERAND);
	vcpu.gpr[GPR_RBX] = VMCS_TSC_OFFSET | 1;
	assert_int_equal(l1_run(exit_vmread), SUCCEEDED);
	assert_int_equal(*l1_word(L1_OPERAND), 0xffffffff00000007);
	*l1_word(L1_OPERAND) = 0x1234567800000005;
	assert_int_equal(l1_run(exit_vmwrite), SUCCEEDED);
	assert_int_equal(v12()->TSC_OFFSET, 5ull << 32 | 9);
}

/* ---- INVEPT, INVVPID ---- */
static void invept_types(void **state)
{
	u64 eptp = L1_EPT | MEMTYPE_WB | 3 << 3;

	(void)state;
	l1_start_l2(BASE_EPT);
	assert_true(L2_EXITS(.reason = XR_EPT_VIOLATION, .qualification = EPT_QUAL_READ, .physical = 0x1000)); /* something to forget */
	assert_true(l2_runs());
	u64 root = vcpu.nested->ept->pt.root.v;
	assert_true(root != HPA_NONE.v);
	L2_EXITS(.reason = XR_CPUID);
	assert_int_equal(l1_invalidate(exit_invept, 0, eptp, 0), INSN_ERR_INV_OPERAND);
	assert_int_equal(l1_invalidate(exit_invept, 3, eptp, 0), INSN_ERR_INV_OPERAND);
	assert_int_equal(l1_invalidate(exit_invept, BIT(32) | INVEPT_GLOBAL, 0, 0), INSN_ERR_INV_OPERAND); /* all 64 bits of the type */
	assert_int_equal(l1_invalidate(exit_invept, INVEPT_SINGLE, eptp | BIT(7), 0), INSN_ERR_INV_OPERAND);
	assert_int_not_equal(vcpu.nested->ept02[0].pt.root.v, HPA_NONE.v);
	assert_int_equal(l1_invalidate(exit_invept, INVEPT_SINGLE, eptp + PAGE_SIZE, 0), SUCCEEDED); /* another table's */
	assert_int_not_equal(vcpu.nested->ept02[0].pt.root.v, HPA_NONE.v);
	assert_int_equal(l1_invalidate(exit_invept, INVEPT_SINGLE, eptp, 0), SUCCEEDED);
	assert_int_equal(vcpu.nested->ept02[0].pt.root.v, HPA_NONE.v);
	l1_resume();
	assert_true(L2_EXITS(.reason = XR_EPT_VIOLATION, .qualification = EPT_QUAL_READ, .physical = 0x1000));
	L2_EXITS(.reason = XR_CPUID);
	assert_int_equal(l1_invalidate(exit_invept, INVEPT_GLOBAL, ~0ull, ~0ull), SUCCEEDED); /* whose descriptor is not looked at */
	assert_int_equal(vcpu.nested->ept02[0].pt.root.v, HPA_NONE.v);
	l1_operand_memory(SIZE_1G);
	vcpu.gpr[GPR_RBX] = INVEPT_GLOBAL;
	assert_int_equal(l1_run(exit_invept), PF(0));
	nested_caps.proc2.may &= (u32)~PROC2_EPT;
	assert_int_equal(l1_invalidate(exit_invept, INVEPT_GLOBAL, 0, 0), UD);
}

static bool vpid_known(u16 vpid12)
{
	for (u32 i = 1; i < NR_VPID02; i++)
		if (vcpu.nested->vpid[i].vpid12 == vpid12)
			return true;
	return false;
}

static void invvpid_types(void **state)
{
	(void)state;
	l1_prepare(BASE_LONG);
	assert_int_equal(l1_write_field(VMCS_PROC_CONTROLS, v12()->PROC_CONTROLS | PROC_SECONDARY), SUCCEEDED);
	assert_int_equal(l1_write_field(VMCS_PROC2_CONTROLS, PROC2_VPID), SUCCEEDED);
	l1_launch();
	assert_true(vpid_known(1));
	L2_EXITS(.reason = XR_CPUID);
	assert_int_equal(l1_invalidate(exit_invvpid, 4, 1, 0), INSN_ERR_INV_OPERAND);
	assert_int_equal(l1_invalidate(exit_invvpid, BIT(32) | INVVPID_SINGLE, 1, 0), INSN_ERR_INV_OPERAND);
	assert_int_equal(l1_invalidate(exit_invvpid, INVVPID_SINGLE, 0x10001, 0), INSN_ERR_INV_OPERAND);
	assert_int_equal(l1_invalidate(exit_invvpid, INVVPID_SINGLE, 0, 0), INSN_ERR_INV_OPERAND);
	assert_int_equal(l1_invalidate(exit_invvpid, INVVPID_ADDRESS, 0, 0), INSN_ERR_INV_OPERAND);
	assert_int_equal(l1_invalidate(exit_invvpid, INVVPID_SINGLE_KEEP_GLOBAL, 0, 0), INSN_ERR_INV_OPERAND);
	assert_int_equal(l1_invalidate(exit_invvpid, INVVPID_ADDRESS, 1, BIT(47)), INSN_ERR_INV_OPERAND);
	assert_true(vpid_known(1));
	assert_int_equal(l1_invalidate(exit_invvpid, INVVPID_SINGLE, 2, 0), SUCCEEDED);
	assert_true(vpid_known(1));
	static const u64 types[] = { INVVPID_ADDRESS, INVVPID_SINGLE, INVVPID_ALL, INVVPID_SINGLE_KEEP_GLOBAL };
	for (u32 i = 0; i < ARRAY_SIZE(types); i++) {
		assert_int_equal(l1_invalidate(exit_invvpid, types[i], types[i] == INVVPID_ALL ? 0 : 1, 0x1000), SUCCEEDED);
		assert_false(vpid_known(1));
		u32 before = vpid_flushes;
		l1_resume();
		assert_true(vpid_known(1));
		assert_true(vpid_flushes > before); /* what the CPU had of it */
		L2_EXITS(.reason = XR_CPUID);
	}
	l1_operand_memory(SIZE_1G);
	vcpu.gpr[GPR_RBX] = INVVPID_ALL;
	assert_int_equal(l1_run(exit_invvpid), PF(0));
	nested_caps.proc2.may &= (u32)~PROC2_VPID;
	assert_int_equal(l1_invalidate(exit_invvpid, INVVPID_ALL, 0, 0), UD);
}

/* ---- addressing of memory operands (SDM 3C, Table on the instruction-information field) ---- */
#define INFO(scale, size, seg) ((scale) | FIELD_PREP(BITS(9, 7), size) | FIELD_PREP(BITS(17, 15), seg))
#define INDEX(reg) FIELD_PREP(BITS(21, 18), reg)
#define NO_INDEX BIT(22)
#define BASE(reg) FIELD_PREP(BITS(26, 23), reg)
#define NO_BASE BIT(27)
enum { ES, CS, SEG_SS, DS, FS, GS };

/* VMPTRST there; what is expected, and where it must have written then. */
static void store(u64 info, u64 displacement, int want, u64 at)
{
	const u64 ones = ~0ull;

	if (want == SUCCEEDED)
		memset(l1_mem(at), 0, 8);
	SET(EXIT_INSN_INFO, info);
	SET(EXIT_QUALIFICATION, displacement);
	assert_int_equal(l1_run(exit_vmptrst), want);
	if (want == SUCCEEDED)
		assert_memory_equal(l1_mem(at), &ones, 8);
}

static void addressing_64(void **state)
{
	(void)state;
	l1_vmxon();
	vcpu.gpr[GPR_RSI] = 0x100;
	vcpu.gpr[GPR_RDI] = 0x4000;
	SET(GUEST_RSP, 0x4800);
	SET(GUEST_ES_BASE, BIT(40)); /* not used in 64-bit mode */
	SET(GUEST_FS_BASE, 0x1000);
	SET(GUEST_GS_BASE, 0x2000);
	store(INFO(3, 2, ES) | INDEX(GPR_RSI) | BASE(GPR_RDI), 8, SUCCEEDED, 0x4000 + 0x800 + 8);
	store(INFO(0, 2, DS) | INDEX(GPR_RSI) | NO_BASE, 0x5000, SUCCEEDED, 0x5100);
	store(INFO(0, 2, SEG_SS) | NO_INDEX | BASE(GPR_RSP), 0, SUCCEEDED, 0x4800);
	store(INFO(0, 2, FS) | NO_INDEX | BASE(GPR_RDI), 0, SUCCEEDED, 0x5000);
	store(INFO(0, 2, GS) | NO_INDEX | BASE(GPR_RDI), 0, SUCCEEDED, 0x6000);
	store(INFO(0, 2, 7) | NO_INDEX | NO_BASE, 0x5000, SUCCEEDED, 0x5000);
	vcpu.gpr[GPR_RDI] = 0x100004000;
	store(INFO(0, 1, DS) | NO_INDEX | BASE(GPR_RDI), 0, SUCCEEDED, 0x4000); /* 32-bit addressing */
	store(INFO(0, 2, DS) | NO_INDEX | NO_BASE, BIT(47), GP, 0);
	store(INFO(0, 2, DS) | NO_INDEX | NO_BASE, BIT(47) - 7, GP, 0);         /* its last byte */
	store(INFO(0, 2, SEG_SS) | NO_INDEX | NO_BASE, BIT(47), SS, 0);
	store(INFO(0, 2, DS) | NO_INDEX | NO_BASE, 0x5ffc, SUCCEEDED, 0x5ffc);  /* across a page boundary */
}

static void addressing_segments(void **state)
{
	(void)state;
	l1_vmxon();
	l1_in_protected_mode();
	SET(GUEST_DS_BASE, 0x1000);
	store(INFO(0, 1, DS) | NO_INDEX | NO_BASE, 0x4000, SUCCEEDED, 0x5000);
	store(INFO(0, 0, DS) | NO_INDEX | NO_BASE, 0x14000, SUCCEEDED, 0x5000); /* 16-bit addressing */
	SET(GUEST_DS_LIMIT, 0x4007);
	store(INFO(0, 1, DS) | NO_INDEX | NO_BASE, 0x4000, SUCCEEDED, 0x5000);
	store(INFO(0, 1, DS) | NO_INDEX | NO_BASE, 0x4001, GP, 0);
	SET(GUEST_SS_LIMIT, 0x4000);
	store(INFO(0, 1, SEG_SS) | NO_INDEX | NO_BASE, 0x4000, SS, 0);
	SET(GUEST_DS_AR, 0xc091); /* read-only data */
	store(INFO(0, 1, DS) | NO_INDEX | NO_BASE, 0x4000, GP, 0);
	SET(GUEST_DS_AR, 0xc09b); /* code */
	store(INFO(0, 1, DS) | NO_INDEX | NO_BASE, 0x4000, GP, 0);
	SET(GUEST_DS_AR, 0xc093 | SEG_AR_UNUSABLE);
	store(INFO(0, 1, DS) | NO_INDEX | NO_BASE, 0x4000, GP, 0);
	SET(GUEST_DS_AR, 0xc097); /* expand-down: above the limit */
	SET(GUEST_DS_LIMIT, 0x3fff);
	store(INFO(0, 1, DS) | NO_INDEX | NO_BASE, 0x4000, SUCCEEDED, 0x5000);
	SET(GUEST_DS_LIMIT, 0x4000);
	store(INFO(0, 1, DS) | NO_INDEX | NO_BASE, 0x4000, GP, 0);
	SET(GUEST_DS_AR, 0x8097); /* 16-bit expand-down: up to FFFFh */
	store(INFO(0, 1, DS) | NO_INDEX | NO_BASE, 0xfff9, GP, 0);
	/* reading: execute-only code, readable code */
	SET(GUEST_CS_LIMIT, 0xffffffff);
	SET(GUEST_CS_AR, 0xc099);
	*l1_word(0x5000) = L1_VMCS;
	SET(EXIT_INSN_INFO, INFO(0, 1, CS) | NO_INDEX | NO_BASE);
	SET(EXIT_QUALIFICATION, 0x5000);
	assert_int_equal(l1_run(exit_vmclear), GP);
	SET(GUEST_CS_AR, 0xc09b);
	assert_int_equal(l1_run(exit_vmclear), SUCCEEDED);
}

/* ---- L1's paging (SDM 3A, Paging) ---- */
static void paging_4_level(void **state)
{
	u64 *pd = l1_word(0x12000), *pt = l1_word(0x13000), *pml4 = l1_word(L1_PML4), *pdpt = l1_word(0x11000);
	u64 info = INFO(0, 2, DS) | NO_INDEX | NO_BASE, at = SIZE_1G;

	(void)state;
	l1_vmxon();
	pdpt[1] = 0x12000 | 3;
	pd[0] = 0x13000 | 3;
	pt[0] = 0x5000 | 3;
	store(info, at + 8, SUCCEEDED, 0x5008);
	assert_int_equal(pt[0], 0x5000 | 3 | BIT(5) | BIT(6)); /* accessed, dirty */
	assert_int_equal(pd[0], 0x13000 | 3 | BIT(5));
	pt[0] = 0x5000 | 3;
	*l1_word(0x5000) = L1_VMCS;
	SET(EXIT_INSN_INFO, info);
	SET(EXIT_QUALIFICATION, at);
	assert_int_equal(l1_run(exit_vmclear), SUCCEEDED);
	assert_int_equal(pt[0], 0x5000 | 3 | BIT(5)); /* read: not dirty */
	pt[0] = 0x5000 | 1;
	store(info, at, PF(3), 0); /* write protection: CR0.WP */
	SET(GUEST_CR0, HW(GUEST_CR0) & ~CR0_WP);
	store(info, at, SUCCEEDED, 0x5000);
	SET(GUEST_CR0, HW(GUEST_CR0) | CR0_WP);
	pt[0] = 0x5000 | 7, pd[0] |= 4, pdpt[1] |= 4, pml4[0] |= 4; /* a user page */
	store(info, at, SUCCEEDED, 0x5000);
	SET(GUEST_CR4, HW(GUEST_CR4) | CR4_SMAP);
	store(info, at, PF(3), 0);
	SET(GUEST_RFLAGS, HW(GUEST_RFLAGS) | BIT(18)); /* AC */
	store(info, at, SUCCEEDED, 0x5000);
	SET(GUEST_RFLAGS, RFLAGS_FIXED);
	pt[0] = 0x5000 | 3 | BIT(39); /* beyond the physical-address width */
	store(info, at, PF(0xb), 0);
	pt[0] = 0;
	store(info, at, PF(2), 0);
	assert_int_equal(model_cr2, at);
	assert_int_equal(vcpu.cr2, at);
	store(info, at - 4, PF(2), 0); /* the second page only */
	assert_int_equal(model_cr2, at);
	pml4[0] |= BIT(7);
	store(info, at, PF(0xb), 0);
	pml4[0] &= ~BIT(7);
	pd[0] = 0x600000 | 0x83; /* 2 MiB */
	store(info, at + 0x12340, SUCCEEDED, 0x612340);
	pdpt[1] = L1_RAM | 3; /* a table where there is no RAM */
	store(info, at, PF(2), 0);
	pdpt[1] = L1_RAM | 0x83;
	store(info, at, PF(0xb), 0); /* 1 GiB: address bits 29:13 are reserved */
	pdpt[1] = 0x83;
	store(info, at + 0x5000, SUCCEEDED, 0x5000);
	pdpt[1] = 0x12000 | 3;
	pd[0] = 0x613000 | 0x83;
	store(info, at, PF(0xb), 0); /* 2 MiB: bits 20:13 */
	pd[0] = 0x600000 | 0x83 | BIT(62); /* ignored, or a protection key */
	store(info, at, SUCCEEDED, 0x600000);
	pd[0] = 0x600000 | 0x83 | BIT(63); /* execute-disable, without EFER.NXE */
	store(info, at, PF(0xb), 0);
	SET(GUEST_EFER, HW(GUEST_EFER) | EFER_NXE);
	store(info, at, SUCCEEDED, 0x600000);
}

/* Five levels. */
static void paging_5_level(void **state)
{
	(void)state;
	l1_vmxon();
	*l1_word(0x14000) = L1_PML4 | 3;
	SET(GUEST_CR4, HW(GUEST_CR4) | CR4_LA57);
	SET(CR4_MASK, 0);
	SET(GUEST_CR3, 0x14000);
	store(INFO(0, 2, DS) | NO_INDEX | NO_BASE, 0x5000, SUCCEEDED, 0x5000);
	assert_int_equal(*l1_word(0x14000), L1_PML4 | 3 | BIT(5));
}

static void l1_paging_32(u64 cr4, u64 cr3)
{
	l1_in_protected_mode();
	SET(GUEST_CR0, CR0_PE | CR0_PG | CR0_NE | CR0_WP);
	SET(CR0_READ_SHADOW, CR0_PE | CR0_PG | CR0_NE | CR0_WP);
	SET(GUEST_CR4, CR4_VMXE | cr4);
	SET(CR4_READ_SHADOW, CR4_VMXE | cr4);
	SET(GUEST_CR3, cr3);
}

static void paging_pae(void **state)
{
	u64 *pd = l1_word(0x13000), *pt = l1_word(0x14000), info = INFO(0, 1, DS) | NO_INDEX | NO_BASE;

	(void)state;
	l1_vmxon();
	l1_paging_32(CR4_PAE, 0x12020);
	SET(GUEST_PDPTE3, 0x13000 | 1); /* the processor's, whatever is in memory */
	pd[1] = 0x14000 | 3;
	pt[5] = 0x5000 | 3;
	store(info, 0xc0205010, SUCCEEDED, 0x5010);
	assert_int_equal(pt[5], 0x5000 | 3 | BIT(5) | BIT(6));
	pd[2] = 0x600000 | 0x83;
	store(info, 0xc0400020, SUCCEEDED, 0x600020);
	pd[2] = 0x600000 | 0x83 | BIT(62);
	store(info, 0xc0400020, PF(0xb), 0);
	pd[2] = 0x602000 | 0x83;
	store(info, 0xc0400020, PF(0xb), 0);
	store(info, 0x1000, PF(2), 0);
}

static void paging_32_bit(void **state)
{
	u32 *pd = l1_mem(0x12000), *pt = l1_mem(0x13000);
	u64 info = INFO(0, 1, DS) | NO_INDEX | NO_BASE;

	(void)state;
	l1_vmxon();
	l1_paging_32(CR4_PSE, 0x12000);
	pd[1] = 0x13000 | 3;
	pt[2] = 0x5000 | 3;
	store(info, 0x402010, SUCCEEDED, 0x5010);
	assert_int_equal(pt[2], 0x5000 | 3 | BIT(5) | BIT(6));
	assert_int_equal(pd[1], 0x13000 | 3 | BIT(5));
	pd[2] = 0x400000 | 0x83; /* 4 MiB */
	store(info, 0x800000 + 0x200020, SUCCEEDED, 0x600020);
	pd[2] = 0x400000 | 0x83 | BIT(13); /* PSE-36: bit 32 of the address; no RAM there, so nothing is written */
	SET(EXIT_INSN_INFO, info);
	SET(EXIT_QUALIFICATION, 0x800000);
	assert_int_equal(l1_run(exit_vmptrst), SUCCEEDED);
	assert_int_equal(*l1_word(0x400000), 0);
	*l1_word(0x5000) = 0;
	assert_int_equal(l1_run(exit_vmptrld), FAILED_INVALID); /* reads ones */
	pd[2] = 0x400000 | 0x83 | BIT(21); /* reserved */
	store(info, 0x800000, PF(0xb), 0);
	SET(GUEST_CR4, CR4_VMXE);
	SET(CR4_READ_SHADOW, CR4_VMXE);
	pd[2] = 0x13000 | 3 | 0x80; /* without PSE no large page */
	store(info, 0x802010, SUCCEEDED, 0x5010);
}

/* ---- shadowing of L1's VMCS by the processor ---- */
static void shadowing(void **state)
{
	u64 value;

	(void)state;
	l1_start_l2(BASE_LONG);
	L2_EXITS(.reason = XR_CPUID, .qualification = 5);
	assert_true(HW(PROC2_CONTROLS) & PROC2_SHADOW_VMCS);
	u64 linked = HW(VMCS_LINK_PTR);
	assert_int_not_equal(linked, ~0ull);
	const u8 *reads = (const u8 *)HW(VMREAD_BITMAP), *writes = (const u8 *)HW(VMWRITE_BITMAP);
#define BIT_OF(bitmap, enc) ((bitmap)[(enc) / 8] >> ((enc) % 8) & 1)
	assert_int_equal(BIT_OF(reads, VMCS_EXIT_REASON), 0);
	assert_int_equal(BIT_OF(writes, VMCS_EXIT_REASON), 1);
	assert_int_equal(BIT_OF(writes, VMCS_GUEST_RIP), 0);
	assert_int_equal(BIT_OF(reads, VMCS_EPTP | 1), 0);
	assert_int_equal(BIT_OF(reads, VMCS_MSR_BITMAP), 1);
	/* What L1 finds there, without an exit; and what it writes there is what runs. */
	vmptrld(HPA(linked));
	assert_int_equal(vmread(VMCS_EXIT_REASON), XR_CPUID);
	assert_int_equal(vmread(VMCS_GUEST_RIP), L2_RIP);
	vmwrite(VMCS_GUEST_RIP, 0x4321);
	vcpu_load_vmcs(&vcpu, &vcpu.vmcs01);
	assert_int_equal(l1_write_field(VMCS_EXIT_REASON, 99), SUCCEEDED); /* exits: then the shadow has it, too */
	vmptrld(HPA(linked));
	assert_int_equal(vmread(VMCS_EXIT_REASON), 99);
	vcpu_load_vmcs(&vcpu, &vcpu.vmcs01);
	l1_resume();
	assert_int_equal(HW(GUEST_RIP), 0x4321);
	L2_EXITS(.reason = XR_CPUID);
	assert_int_equal(l1_pointer(exit_vmclear, L1_VMCS), SUCCEEDED);
	assert_false(HW(PROC2_CONTROLS) & PROC2_SHADOW_VMCS);
	assert_int_equal(HW(VMCS_LINK_PTR), ~0ull);
	assert_int_equal(l1_pointer(exit_vmptrld, L1_VMCS), SUCCEEDED);
	assert_int_equal(l1_read_field(VMCS_GUEST_RIP, &value), SUCCEEDED);
	assert_int_equal(value, 0x4321);
	nested_reset(&vcpu); /* with a current VMCS */
	assert_false(nested_vmx_on(&vcpu));
	assert_int_equal(HW(VMCS_LINK_PTR), ~0ull);
}

static int machine_no_shadow(void **state)
{
	struct vmx_caps hw = full_hw();

	(void)state;
	hw.shadow_vmcs = false;
	machine_on(&hw);
	return 0;
}

static void without_shadowing(void **state)
{
	(void)state;
	l1_start_l2(BASE_LONG);
	L2_EXITS(.reason = XR_CPUID);
	assert_false(HW(PROC2_CONTROLS) & PROC2_SHADOW_VMCS);
	l1_resume();
	nested_put(&vcpu); /* another vCPU takes the CPU */
	assert_false(vcpu.nested->vmcs02.launched);
	nested_reset(&vcpu);
	assert_false(l2_runs());
	nested_reset(&vcpu);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, machine_full, machine_stop)
	const struct CMUnitTest tests[] = {
		TEST(undefined), TEST(privileged), TEST(vmxon_conditions), TEST(vmxon_without_memory), TEST(pointers), TEST(write_back),
		TEST(odd_regions), TEST(fields), TEST(fields_32_bit), TEST(invept_types), TEST(invvpid_types),
		TEST(addressing_64), TEST(addressing_segments), TEST(paging_4_level), TEST(paging_5_level), TEST(paging_pae), TEST(paging_32_bit),
		TEST(shadowing), cmocka_unit_test_setup_teardown(without_shadowing, machine_no_shadow, machine_stop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
