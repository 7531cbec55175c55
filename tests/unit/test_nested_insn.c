/*
 * VMX instructions of an L1 (SDM 3C, VMX Instruction Reference), executed on the whole nested engine: results and error numbers, VMCS
 * regions, what the processor shadows of them. Memory operands: test_nested_operand.c.
 */
#include "tests/unit/nested_machine.h"

#define GP FAULT(VEC_GP, 0)
#define UD FAULT(6, 0)
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
	vcpu.gpr[GPR_RBX] = 3;
	assert_int_equal(l1_run(exit_invept), INSN_ERR_INV_OPERAND); /* the type first */
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
	vcpu.gpr[GPR_RBX] = 4;
	assert_int_equal(l1_run(exit_invvpid), INSN_ERR_INV_OPERAND);
	nested_caps.proc2.may &= (u32)~PROC2_VPID;
	assert_int_equal(l1_invalidate(exit_invvpid, INVVPID_ALL, 0, 0), UD);
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
		TEST(shadowing), cmocka_unit_test_setup_teardown(without_shadowing, machine_no_shadow, machine_stop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
