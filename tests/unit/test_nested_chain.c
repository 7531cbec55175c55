/*
 * Flat nesting (vmx/nested_chain.c; core/abi.h, Delegation): whose exit is whose, what waits meanwhile, and that what lies between keeps its say.
 */
#include "tests/unit/nested_three.h"

/* ---- in and out ---- */
static void straight_to_l2(void **state)
{
	(void)state;
	SLOT(page1, TSC_OFFSET) = 100;
	SLOT(page1, PROC_CONTROLS) |= PROC_TSC_OFFSET;
	SLOT(page2, TSC_OFFSET) = 7;
	SLOT(page2, PROC_CONTROLS) |= PROC_TSC_OFFSET;
	SLOT(page1, EXCEPTION_BITMAP) = BIT(5);
	SLOT(page2, EXCEPTION_BITMAP) = BIT(6);
	vcpu.tsc_offset = 1000;
	run_l3();
	assert_int_equal(HW(GUEST_RIP), L3_RIP);
	assert_int_equal(HW(TSC_OFFSET), 1107);
	vcpu.tsc_offset = 5000; /* the VM's TSC is written */
	nested_tsc_changed(&vcpu);
	assert_true(l3_is_in());
	assert_int_equal(HW(TSC_OFFSET), 5107);
	assert_int_equal(HW(EXCEPTION_BITMAP), BIT(5) | BIT(6)); /* what any level asks for */
	assert_true(L3_EXITS(.reason = XR_CPUID, .qualification = 3));
	assert_true(l2_is_in()); /* L1 has not been there */
	assert_int_equal(HW(TSC_OFFSET), 5100);
	assert_int_equal(REASON2, XR_CPUID);
	assert_int_equal(SLOT(page2, EXIT_QUALIFICATION), 3);
	assert_int_equal(HW(GUEST_RIP), SLOT(page2, HOST_RIP));
	assert_true(L2_EXITS(.reason = XR_VMRESUME));
	assert_true(l3_is_in());
	assert_true(L3_EXITS(.reason = XR_CPUID));
	assert_true(L2_EXITS(.reason = XR_CPUID)); /* L2's own, for L1 */
	expect_exit(XR_CPUID, 0);
	assert_int_equal(REASON1, XR_CPUID);
}

/* Each level's multiplier and offset, all the way in; also when the VM's TSC is written, and for a level whose vmcs12 scales no more. */
static void tsc_scaled_at_both(void **state)
{
	(void)state;
	model_tsc = 1 << 20;
	SLOT(page1, PROC_CONTROLS) |= PROC_TSC_OFFSET;
	SLOT(page2, PROC_CONTROLS) |= PROC_TSC_OFFSET;
	SLOT(page1, PROC2_CONTROLS) |= PROC2_TSC_SCALING;
	SLOT(page2, PROC2_CONTROLS) |= PROC2_TSC_SCALING;
	SLOT(page1, TSC_MULTIPLIER) = 3 * TSC_ONE;
	SLOT(page2, TSC_MULTIPLIER) = TSC_ONE / 2 * 5;
	SLOT(page1, TSC_OFFSET) = 100;
	SLOT(page2, TSC_OFFSET) = 7;
	vcpu.tsc_offset = 1000;
	run_l3();
#define READS(at) ((u64)((unsigned __int128)(at) * HW(TSC_MULTIPLIER) >> 48) + HW(TSC_OFFSET))
	assert_true(HW(PROC2_CONTROLS) & PROC2_TSC_SCALING);
	assert_int_equal(HW(TSC_MULTIPLIER), TSC_ONE / 2 * 15);
	assert_int_equal(READS(model_tsc), ((model_tsc + 1000) * 3 + 100) * 5 / 2 + 7);
	model_tsc += 400000;
	vcpu.tsc_offset = 500000 - model_tsc;
	nested_tsc_changed(&vcpu);
	assert_int_equal(READS(model_tsc), (500000 * 3 + 100) * 5 / 2 + 7);
	assert_true(L3_EXITS(.reason = XR_CPUID));
	assert_true(l2_is_in());
	assert_int_equal(HW(TSC_MULTIPLIER), 3 * TSC_ONE);
	assert_int_equal(READS(model_tsc), 500000 * 3 + 100);
	SLOT(page2, PROC2_CONTROLS) &= ~PROC2_TSC_SCALING;
	page2->clean = 0;
	assert_true(L2_EXITS(.reason = XR_VMRESUME));
	assert_true(l3_is_in());
	assert_int_equal(HW(TSC_MULTIPLIER), 3 * TSC_ONE); /* L2's own view, and L3's offset */
	assert_true(HW(PROC2_CONTROLS) & PROC2_TSC_SCALING);
	assert_int_equal(READS(model_tsc), 500000 * 3 + 100 + 7);
	assert_true(L3_EXITS(.reason = XR_CPUID));
	SLOT(page2, PROC_CONTROLS) &= ~PROC_TSC_OFFSET;
	page2->clean = 0;
	assert_true(L2_EXITS(.reason = XR_VMRESUME));
	assert_int_equal(READS(model_tsc), 500000 * 3 + 100);
	assert_true(L3_EXITS(.reason = XR_CPUID));
	assert_true(L2_EXITS(.reason = XR_CPUID));
	assert_int_equal(HW(PROC2_CONTROLS) & PROC2_TSC_SCALING, 0); /* L1 */
}

static void shortest_way(void **state)
{
	(void)state;
	run_l3();
	assert_true(L3_EXITS(.reason = XR_CPUID));
	assert_true(nested_fast_chain(&vcpu));
	assert_true(l3_is_in());
	SET(EXIT_REASON, XR_CPUID);
	assert_true(nested_fast_reflect(&vcpu, XR_CPUID));
	assert_true(l2_is_in());
	assert_int_equal(vcpu.core.count.fast_nested[XR_VMRESUME], 1);
	vcpu.nmi_pending = true;
	assert_false(nested_fast_chain(&vcpu));
	assert_true(l2_is_in());
	vcpu.nmi_pending = false;
	vcpu.nested_base->pi_pending = vcpu.posted_further_in = true;
	assert_false(nested_fast_chain(&vcpu));
	vcpu.nested_base->pi_pending = vcpu.posted_further_in = false;
	assist2->vmcs_page = NEST_VMCS_NONE; /* not by VMCS pages this time: L1's to do */
	assert_false(nested_fast_chain(&vcpu));
	assert_true(L2_EXITS(.reason = XR_VMRESUME));
	expect_exit(XR_VMRESUME, 0);
}

static void l2_fails(void **state)
{
	(void)state;
	run_l2();
	u64 rip = HW(GUEST_RIP);
	assist2->flags = 0; /* not steady: refused, as core/abi.h says */
	assert_true(L2_EXITS(.reason = XR_VMLAUNCH));
	assert_true(l2_is_in());
	assert_int_equal(SLOT(page2, INSN_ERROR), INSN_ERR_CONTROLS);
	assert_int_equal(HW(GUEST_RFLAGS) & (RFLAGS_CF | RFLAGS_ZF), RFLAGS_ZF);
	assert_int_equal(HW(GUEST_RIP), rip + 3);
	assist2->flags = NEST_ASSIST_STEADY;
	assert_true(L2_EXITS(.reason = XR_VMRESUME));
	assert_int_equal(SLOT(page2, INSN_ERROR), INSN_ERR_VMRESUME_NOT_LAUNCHED);
	SET(GUEST_SS_AR, 0xc0f3);
	assert_true(L2_EXITS(.reason = XR_VMLAUNCH));
	assert_int_equal(vcpu.event.info, GP_INFO);
	SET(GUEST_SS_AR, 0xc093);
	SLOT(page2, GUEST_CR4) = 0;
	assert_true(L2_EXITS(.reason = XR_VMLAUNCH));
	assert_true(l2_is_in());
	assert_int_equal(REASON2, XR_ENTRY_GUEST_STATE | EXIT_REASON_ENTRY_FAILURE);
	assert_int_equal(HW(GUEST_RIP), SLOT(page2, HOST_RIP));
}

/* L2's assist page is where L2 has no memory; or there is no memory for one engine more. */
static void not_to_be_had(void **state)
{
	(void)state;
	page1->delegate = L1_RAM;
	run_l2();
	assert_true(L2_EXITS(.reason = XR_VMLAUNCH));
	expect_exit(XR_VMLAUNCH, 0);
	page1->delegate = L2_ASSIST;
	page1->clean &= ~NEST_GROUP_CONTROLS;
	nested_reset(&vcpu);
	page1->launched = 0;
	nested_free(&vcpu);
	assert_int_equal(nested_create(&vcpu), 0);
	run_l2();
	for (s64 room = 0; room < 3; room++) {
		pages_left = room;
		assert_null(nested_above(&vcpu, vcpu.nested_base));
		assert_ptr_equal(vcpu.nested, vcpu.nested_base);
	}
	pages_left = -1;
	assert_true(L2_EXITS(.reason = XR_VMLAUNCH));
	assert_true(l3_is_in());
}

/* ---- exits of L3 that are L1's ---- */
static void l1_asks_for_it(void **state)
{
	(void)state;
	SLOT(page1, PROC_CONTROLS) |= PROC_HLT | PROC_RDTSC;
	run_l3();
	SET(GUEST_RIP, L3_RIP + 5);
	assert_true(L3_EXITS(.reason = XR_HLT, .insn_len = 1));
	expect_exit(XR_HLT, 0);
	assert_int_equal(REASON1, XR_HLT);
	assert_int_equal(SLOT(page1, GUEST_RIP), L2_RIP); /* as it was when L2 entered L3 */
	assert_int_equal(SLOT(page2, GUEST_RIP), L3_RIP); /* L2 has not been there */
	SLOT(page1, GUEST_RIP) += 1; /* L1 steps over the instruction */
	l1_resume();
	assert_true(l3_is_in());
	assert_int_equal(HW(GUEST_RIP), L3_RIP + 6);
	/* and injects an exception at one: L3's */
	assert_true(L3_EXITS(.reason = XR_RDTSC));
	SLOT(page1, ENTRY_INTR_INFO) = GP_INFO;
	l1_resume();
	assert_true(l3_is_in());
	assert_int_equal(HW(GUEST_RIP), L3_RIP + 6);
	assert_int_equal(vcpu.event.info, GP_INFO);
	/* … or an interrupt: that is L2's, whose L3 exits */
	assert_true(L3_EXITS(.reason = XR_RDTSC));
	SLOT(page1, ENTRY_INTR_INFO) = EXTERNAL(0x77);
	SLOT(page1, GUEST_RFLAGS) = 0x202;
	l1_resume();
	assert_true(l2_is_in());
	assert_int_equal(REASON2, XR_EXTERNAL_INTERRUPT);
	assert_int_equal(SLOT(page2, EXIT_INTR_INFO), EXTERNAL(0x77));
	assert_true(L2_EXITS(.reason = XR_VMRESUME));
	assert_true(l3_is_in());
	assert_true(L3_EXITS(.reason = XR_RDTSC));
	SLOT(page1, ENTRY_INTR_INFO) = NMI_INFO;
	l1_resume();
	assert_true(l2_is_in());
	assert_int_equal(REASON2, XR_EXCEPTION_NMI);
}

/* ---- memory ---- */
static void ept_violations(void **state)
{
	u64 *pd1 = l1_word(L1_EPT + 2 * PAGE_SIZE), *pd2 = l1_word(L2_EPT + 2 * PAGE_SIZE);

	(void)state;
	run_l3();
	assert_true(L3_EXITS(.reason = XR_EPT_VIOLATION, .qualification = EPT_QUAL_READ, .physical = 0x1234));
	assert_true(l3_is_in());
	struct ptab_leaf l;
	assert_true(ptab_walk(&vcpu.nested->ept->pt, 0x1234, &l));
	assert_int_equal(l.pa.v, (u64)ram + SIZE_2M + 0x1234);
	pd2[1] = 0; /* L2's tables refuse */
	assert_true(L3_EXITS(.reason = XR_EPT_VIOLATION, .qualification = EPT_QUAL_READ, .physical = SIZE_2M));
	assert_true(l2_is_in());
	assert_int_equal(REASON2, XR_EPT_VIOLATION);
	assert_int_equal(SLOT(page2, GUEST_PHYSICAL_ADDR), SIZE_2M);
	assert_true(L2_EXITS(.reason = XR_VMRESUME));
	pd1[3] = EPT_READ | 3 * SIZE_2M | FIELD_PREP(EPT_MEMTYPE, MEMTYPE_WB) | EPT_PAGE; /* L1's do: of L2, at L2's address */
	assert_true(L3_EXITS(.reason = XR_EPT_VIOLATION, .qualification = EPT_QUAL_WRITE | EPT_QUAL_LINEAR_VALID, .physical = 2 * SIZE_2M + 0x10));
	expect_exit(XR_EPT_VIOLATION, EPT_QUAL_WRITE | FIELD_PREP(EPT_QUAL_PERMS, EPT_READ));
	assert_int_equal(SLOT(page1, GUEST_PHYSICAL_ADDR), 3 * SIZE_2M + 0x10);
	l1_resume();
	assert_true(l3_is_in());
	pd1[3] = EPT_WRITE;
	assert_true(L3_EXITS(.reason = XR_EPT_VIOLATION, .qualification = EPT_QUAL_READ, .physical = 2 * SIZE_2M));
	expect_exit(XR_EPT_MISCONFIG, 0);
	pd1[3] = 3 * SIZE_2M | EPT_RWX | FIELD_PREP(EPT_MEMTYPE, MEMTYPE_WB) | EPT_PAGE;
	l1_resume();
	assert_true(L3_EXITS(.reason = XR_EPT_VIOLATION, .qualification = EPT_QUAL_WRITE, .physical = 2 * SIZE_2M));
	assert_true(l3_is_in());
	u64 l1_gpa;
	assert_true(nested_l2_gpa_to_l1(&vcpu, 2 * SIZE_2M + 8, &l1_gpa));
	assert_int_equal(l1_gpa, 3 * SIZE_2M + 8);
	assert_false(nested_l2_gpa_to_l1(&vcpu, 3 * SIZE_2M, &l1_gpa));
	assert_ptr_equal(vcpu.nested, vcpu.nested_base->above);
}

/* An L2 without EPT for its L3, below an L1 without EPT for its L2. */
static void without_ept(void **state)
{
	(void)state;
	SLOT(page1, PROC2_CONTROLS) &= ~PROC2_EPT;
	SLOT(page2, PROC2_CONTROLS) &= ~PROC2_EPT;
	run_l3();
	assert_int_equal(HW(EPTP) & EPT_ADDR, vm.ept.root.v);
	assert_true(L3_EXITS(.reason = XR_CPUID));
	assert_true(l2_is_in());
}

/* ---- bitmaps: what any level does not let pass, exits ---- */
static void bitmaps(void **state)
{
	(void)state;
	memset(vcpu.io_bitmap_pages, 0, 8); /* ports 0-63 of ours are open */
	SLOT(page1, PROC_CONTROLS) |= PROC_IO_BITMAPS;
	SLOT(page2, PROC_CONTROLS) |= PROC_IO_BITMAPS;
	SLOT(page2, IO_BITMAP_A) = 0x62000;
	*l1_word(L1_IO_A) = BIT(3);
	*l1_word(0x62000) = BIT(5);
	run_l3();
	const u64 *io = (const u64 *)HW(IO_BITMAP_A);
	assert_int_equal(io[0], BIT(3) | BIT(5));
	assert_int_equal(io[1], ~0ull);
	assert_true(L3_EXITS(.reason = XR_IO, .qualification = 5 << 16)); /* L2's */
	assert_true(l2_is_in());
	assert_true(L2_EXITS(.reason = XR_VMRESUME));
	assert_true(L3_EXITS(.reason = XR_IO, .qualification = 3 << 16)); /* L1's */
	expect_exit(XR_IO, 3 << 16);
	*l1_word(L1_IO_A) = BIT(4); /* L1 changes its mind and says so: L3, which it continues, obeys with L2's next entry */
	page1->clean &= ~NEST_GROUP_BITMAPS;
	l1_resume();
	assert_true(L3_EXITS(.reason = XR_CPUID));
	assert_true(L2_EXITS(.reason = XR_VMRESUME));
	assert_int_equal(io[0], BIT(4) | BIT(5));
}

/* ---- forgetting ---- */
static void forgetting(void **state)
{
	(void)state;
	SLOT(page1, PROC_CONTROLS) |= PROC_HLT;
	run_l3();
	assert_true(L3_EXITS(.reason = XR_CPUID));
	struct nested *above = vcpu.nested_base->above;
	assert_ptr_equal(above->page, page2);
	assert_true(L2_EXITS(.reason = XR_VMCLEAR)); /* L1 performs it; what we know of L2's VMCSs is in its memory before */
	expect_exit(XR_VMCLEAR, 0);
	assert_null(above->page);
	assert_int_equal(page2->launched, 1);
	page2->launched = 0;
	l1_resume();
	assert_true(L2_EXITS(.reason = XR_VMLAUNCH));
	assert_true(l3_is_in());
	assert_true(L3_EXITS(.reason = XR_HLT)); /* L3 is suspended … */
	assert_int_equal(l1_pointer(exit_vmclear, PAGE), SUCCEEDED); /* … and L1 takes the page away: it waits in a slot */
	assert_int_equal(page1->abort, 0);
	assert_null(vcpu.nested_base->suspended);
	assert_int_equal(l1_run(exit_vmresume), INSN_ERR_VMRESUME_NOT_LAUNCHED);
	l1_launch();
	assert_true(l3_is_in());
	assert_true(L3_EXITS(.reason = XR_CPUID));
	assert_true(l2_is_in());
}

static void reset_in_l3(void **state)
{
	(void)state;
	run_l3();
	nested_put(&vcpu);
	assert_false(vcpu.nested->vmcs02.launched);
	nested_reset(&vcpu);
	assert_ptr_equal(vcpu.loaded, &vcpu.vmcs01);
	assert_false(nested_vmx_on(&vcpu));
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, start, machine_stop)
	const struct CMUnitTest tests[] = {
		TEST(straight_to_l2), TEST(tsc_scaled_at_both), TEST(shortest_way), TEST(l2_fails), TEST(not_to_be_had), TEST(l1_asks_for_it),
		TEST(ept_violations), TEST(without_ept), TEST(bitmaps), TEST(forgetting), TEST(reset_in_l3),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
