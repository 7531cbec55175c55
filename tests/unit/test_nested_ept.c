/*
 * ept02 (vmx/nested_ept.c, nested_ept12.c) and what is declared for it (nested_premap.c): tables of an L1 in a small RAM of the test's
 * own, composed on demand and in advance.
 */
#include "tests/unit/nested_l1.h"

/* ---- on demand ---- */
static void smaller_of_both_pages(void **state)
{
	u32 perm;

	(void)state;
	map12(root12, 0, SIZE_2M, 2, WB(EPT_RWX));
	map12(root12, SIZE_2M + 5 * PAGE_SIZE, SIZE_2M + PAGE_SIZE, 1, WB(EPT_READ));
	map12(root12, SIZE_1G, 0, 3, WB(EPT_RWX));
	assert_int_equal(fault(12345, EPT_WRITE, &perm), L2_FAULT_FILLED);
	expect02(12345, (u64)ram + SIZE_2M + 12345, RAM_WB(EPT_RWX), SIZE_2M);
	assert_int_equal(fault(SIZE_2M + 5 * PAGE_SIZE + 7, EPT_READ, &perm), L2_FAULT_FILLED);
	assert_int_equal(perm, EPT_READ);
	expect02(SIZE_2M + 5 * PAGE_SIZE, (u64)ram + SIZE_2M + PAGE_SIZE, RAM_WB(EPT_READ), PAGE_SIZE);
	assert_int_equal(fault(SIZE_1G + SIZE_2M, EPT_EXEC, &perm), L2_FAULT_FILLED);
	expect02(SIZE_1G + SIZE_2M, (u64)ram + SIZE_2M, RAM_WB(EPT_RWX), SIZE_2M);
	assert_int_equal(nested.ept->tables, ptab_pages(&nested.ept->pt));
}

static void what_ept12_forbids(void **state)
{
	u32 perm;

	(void)state;
	map12(root12, SIZE_2M, SIZE_2M, 1, WB(EPT_READ));
	map12(root12, SIZE_2M + PAGE_SIZE, SIZE_2M, 1, EPT_WRITE);
	map12(root12, SIZE_2M + 2 * PAGE_SIZE, SIZE_2M, 1, ept_leaf_flags(EPT_RWX, 2));
	map12(root12, SIZE_2M + 3 * PAGE_SIZE, SIZE_2M | BIT(45), 1, WB(EPT_RWX));
	map12(root12, SIZE_2M + 4 * PAGE_SIZE, RAM, 1, WB(EPT_RWX));
	map12(root12, SIZE_2M + 5 * PAGE_SIZE, SIZE_2M, 1, WB(EPT_EXEC));
	assert_int_equal(fault(SIZE_2M, EPT_WRITE, &perm), L2_FAULT_REFLECT);
	assert_int_equal(perm, EPT_READ);
	assert_int_equal(fault(SIZE_2M, EPT_EXEC, &perm), L2_FAULT_REFLECT);
	assert_int_equal(fault(SIZE_2M + PAGE_SIZE, EPT_READ, &perm), L2_FAULT_MISCONFIG);
	assert_int_equal(fault(SIZE_2M + 2 * PAGE_SIZE, EPT_READ, &perm), L2_FAULT_MISCONFIG);
	assert_int_equal(fault(SIZE_2M + 3 * PAGE_SIZE, EPT_READ, &perm), L2_FAULT_MISCONFIG);
	assert_int_equal(fault(SIZE_2M + 4 * PAGE_SIZE, EPT_READ, &perm), L2_FAULT_OURS);
	assert_int_equal(fault(SIZE_2M + 5 * PAGE_SIZE, EPT_EXEC, &perm), L2_FAULT_FILLED);
	assert_int_equal(fault(SIZE_2M + 5 * PAGE_SIZE, EPT_READ, &perm), L2_FAULT_REFLECT);
	assert_int_equal(fault(SIZE_2M + 6 * PAGE_SIZE, EPT_READ, &perm), L2_FAULT_REFLECT);
	assert_int_equal(perm, 0);
	assert_int_equal(fault(BIT(48), EPT_READ, &perm), L2_FAULT_REFLECT);
	l1(root12)[1] = EPT_WRITE | EPT_EXEC | 0x5000;
	assert_int_equal(fault(512 * SIZE_1G, EPT_READ, &perm), L2_FAULT_MISCONFIG);
	l1(root12)[1] = EPT_RWX | RAM; /* a table where there is no RAM: reads as ones */
	assert_int_equal(fault(512 * SIZE_1G, EPT_READ, &perm), L2_FAULT_MISCONFIG);
}

/* L1 changes its entry without a word: what was composed before must not stay in the way. */
static void changed_entries(void **state)
{
	u32 perm;

	(void)state;
	map12(root12, 0, SIZE_2M, 1, WB(EPT_READ));
	assert_int_equal(fault(0, EPT_READ, &perm), L2_FAULT_FILLED);
	map12(root12, 0, SIZE_2M, 1, WB(EPT_RWX));
	assert_int_equal(fault(0, EPT_WRITE, &perm), L2_FAULT_FILLED);
	expect02(0, (u64)ram + SIZE_2M, RAM_WB(EPT_RWX), PAGE_SIZE);
	map12(root12, 0, 2 * SIZE_2M, 2, WB(EPT_READ)); /* a large page now; the composed table stays */
	assert_int_equal(fault(PAGE_SIZE, EPT_READ, &perm), L2_FAULT_FILLED);
	expect02(0, (u64)ram + 2 * SIZE_2M, RAM_WB(EPT_READ), PAGE_SIZE);
	expect02(SIZE_2M - 1, (u64)ram + 3 * SIZE_2M - 1, RAM_WB(EPT_READ), PAGE_SIZE);
	assert_int_equal(nested.ept->tables, ptab_pages(&nested.ept->pt));
}

static void flags_of_l1(void **state)
{
	u32 perm;

	(void)state;
	nested.v12.EPTP |= EPTP_AD;
	map12(root12, 0, SIZE_2M, 1, WB(EPT_RWX));
	assert_int_equal(fault(0, EPT_READ, &perm), L2_FAULT_FILLED);
	expect02(0, (u64)ram + SIZE_2M, RAM_WB(EPT_READ | EPT_EXEC), PAGE_SIZE);
	assert_int_equal(l1(l1(l1(l1(root12)[0] & EPT_ADDR)[0] & EPT_ADDR)[0] & EPT_ADDR)[0] & (EPT_ACCESSED | EPT_DIRTY), EPT_ACCESSED);
	assert_int_equal(fault(0, EPT_WRITE, &perm), L2_FAULT_FILLED);
	expect02(0, (u64)ram + SIZE_2M, RAM_WB(EPT_RWX), PAGE_SIZE);
	assert_int_equal(l1(l1(l1(l1(root12)[0] & EPT_ADDR)[0] & EPT_ADDR)[0] & EPT_ADDR)[0] & (EPT_ACCESSED | EPT_DIRTY),
			 EPT_ACCESSED | EPT_DIRTY);
}

/* Our own tables change while L1 runs: its next entry must not rely on what vmcs02 names. */
static void flush_while_l1_runs(void **state)
{
	(void)state;
	assert_non_null(ept02_select(&vcpu));
	nested.ept_selected = false; /* an entry */
	assert_non_null(ept02_select(&vcpu));
	assert_false(nested.ept_selected);
	nested_flush_ept(&vcpu);
	assert_true(!nested.ept || nested.ept_selected);
	assert_non_null(ept02_select(&vcpu));
	assert_true(nested.ept_selected);
}

/* ---- in advance ---- */
static void premap_keeps_large_pages(void **state)
{
	const struct nest_premap all[] = { { 0, 3 * SIZE_2M }, { SIZE_1G, SIZE_2M } };

	(void)state;
	map12(root12, 0, SIZE_2M, 2, WB(EPT_RWX));
	map12(root12, SIZE_2M, 2 * SIZE_2M, 2, WB(EPT_READ));
	assert_int_equal(premap(nested.v12.EPTP, 2, all), 2 * SIZE_2M);
	assert_non_null(ept02_select(&vcpu));
	expect02(0, (u64)ram + SIZE_2M, RAM_WB(EPT_RWX), SIZE_2M);
	expect02(SIZE_2M, (u64)ram + 2 * SIZE_2M, RAM_WB(EPT_READ), SIZE_2M);
	expect_hole02(2 * SIZE_2M);
	assert_int_equal(nested.ept->tables, 3);
	assert_int_equal(declared_eptp, ept02_pointer_of(nested.ept));
	assert_true(declared >= 2);
}

/* Where there is a table already: 4 KiB, and what is there counts. Malformed and device pages, holes of ept01. */
static void premap_of_mixed_tables(void **state)
{
	const struct nest_premap range = { 0, SIZE_2M + 8 * PAGE_SIZE };
	u32 perm;

	(void)state;
	map12(root12, 3 * PAGE_SIZE, SIZE_2M, 1, WB(EPT_READ));
	assert_int_equal(fault(3 * PAGE_SIZE, EPT_READ, &perm), L2_FAULT_FILLED);
	l1(l1(l1(root12)[0] & EPT_ADDR)[0] & EPT_ADDR)[0] = SIZE_2M | WB(EPT_RWX) | EPT_PAGE;
	map12(root12, SIZE_2M, SIZE_2M, 1, EPT_WRITE);
	map12(root12, SIZE_2M + PAGE_SIZE, DEVICE, 1, WB(EPT_READ | EPT_WRITE));
	map12(root12, SIZE_2M + 2 * PAGE_SIZE, RAM, 1, WB(EPT_RWX));
	map12(root12, SIZE_2M + 7 * PAGE_SIZE, 0x5000, 1, WB(EPT_RWX));
	map12(root12, SIZE_2M + 8 * PAGE_SIZE, 0x6000, 1, WB(EPT_RWX)); /* beyond the range */
	assert_int_equal(premap(nested.v12.EPTP, 1, &range), SIZE_2M + 2 * PAGE_SIZE);
	expect02(0, (u64)ram + SIZE_2M, RAM_WB(EPT_RWX), PAGE_SIZE);
	expect02(3 * PAGE_SIZE, (u64)ram + SIZE_2M, RAM_WB(EPT_READ), PAGE_SIZE); /* as it was: nobody flushed it */
	expect_hole02(SIZE_2M);
	expect02(SIZE_2M + PAGE_SIZE, 0xfe000000, EPT_READ | EPT_WRITE | EPT_IPAT | VM_MAP_DEVICE, PAGE_SIZE);
	expect_hole02(SIZE_2M + 2 * PAGE_SIZE);
	expect02(SIZE_2M + 7 * PAGE_SIZE, (u64)ram + 0x5000, RAM_WB(EPT_RWX), PAGE_SIZE);
	expect_hole02(SIZE_2M + 8 * PAGE_SIZE);
	assert_int_equal(nested.ept->tables, ptab_pages(&nested.ept->pt));
}

static void premap_sets_no_flags(void **state)
{
	const struct nest_premap range = { 0, 4 * PAGE_SIZE };

	(void)state;
	map12(root12, 0, SIZE_2M, 1, WB(EPT_RWX));
	map12(root12, PAGE_SIZE, SIZE_2M, 1, WB(EPT_RWX) | EPT_ACCESSED);
	map12(root12, 2 * PAGE_SIZE, SIZE_2M, 1, WB(EPT_RWX) | EPT_ACCESSED | EPT_DIRTY);
	nested.v12.EPTP |= EPTP_AD;
	assert_int_equal(premap(nested.v12.EPTP, 1, &range), 2 * PAGE_SIZE);
	assert_non_null(ept02_select(&vcpu));
	expect_hole02(0);
	expect02(PAGE_SIZE, (u64)ram + SIZE_2M, RAM_WB(EPT_READ | EPT_EXEC), PAGE_SIZE);
	expect02(2 * PAGE_SIZE, (u64)ram + SIZE_2M, RAM_WB(EPT_RWX), PAGE_SIZE);
}

/* A flush forgets what was composed, not what was declared. */
static void premap_lasts(void **state)
{
	const struct nest_premap range = { 0, SIZE_2M }, none = { 0, 0 };
	u64 other = EPTP_OF(new_table());

	(void)state;
	map12(root12, 0, SIZE_2M, 2, WB(EPT_RWX));
	assert_int_equal(premap(nested.v12.EPTP, 1, &range), SIZE_2M);
	ept02_drop(&vcpu, nested.v12.EPTP);
	assert_int_equal(vm.owner.pages, ptab_pages(&vm.ept));
	map12(root12, 0, 2 * SIZE_2M, 2, WB(EPT_READ));
	assert_non_null(ept02_select(&vcpu));
	expect02(0, (u64)ram + 2 * SIZE_2M, RAM_WB(EPT_READ), SIZE_2M);
	assert_int_equal(premap(other, 1, &range), 0); /* another table of L1's: empty */
	ept02_drop_all(&vcpu);
	assert_int_equal(premap(nested.v12.EPTP, 0, &none), 0);
	assert_non_null(ept02_select(&vcpu));
	expect_hole02(0);
	nested.v12.PROC2_CONTROLS |= PROC2_MBE; /* not for these */
	assert_int_equal(premap(nested.v12.EPTP, 1, &range), SIZE_2M);
	assert_non_null(ept02_select(&vcpu));
	expect_hole02(0);
}

/* More tables than are kept: the one that L2 ran by may go, and then it is not ours any more. */
static void premap_evicts(void **state)
{
	const struct nest_premap range = { 0, SIZE_2M };
	u32 perm;

	(void)state;
	map12(root12, 0, SIZE_2M, 2, WB(EPT_RWX));
	assert_int_equal(fault(0, EPT_READ, &perm), L2_FAULT_FILLED);
	for (u32 i = 0; i < NR_EPT02; i++)
		assert_int_equal(premap(EPTP_OF(new_table()), 1, &range), 0);
	assert_null(nested.ept);
	assert_int_equal(fault(0, EPT_READ, &perm), L2_FAULT_FILLED);
	expect02(0, (u64)ram + SIZE_2M, RAM_WB(EPT_RWX), SIZE_2M);
}

static void premap_is_bounded(void **state)
{
	const struct nest_premap range[] = { { 0, 8 * SIZE_2M }, { SIZE_1G, 64 * SIZE_1G } };
	u32 perm;

	(void)state;
	for (u64 i = 0; i < 8 * 512; i++)
		map12(root12, i * PAGE_SIZE, i % 2 * PAGE_SIZE, 1, WB(EPT_RWX));
	assert_int_equal(premap(nested.v12.EPTP, 1, range), NEST_PREMAP_LEAVES * PAGE_SIZE);
	assert_non_null(ept02_select(&vcpu));
	expect_hole02(4 * SIZE_2M);
	ept02_drop_all(&vcpu);
	pages_left = 5; /* root, two tables above, two of leaves */
	assert_int_equal(premap(nested.v12.EPTP, 1, range), 2 * SIZE_2M);
	/* A fault needs the memory: what was declared is forgotten, and with it what it took. */
	vcpu.loaded = &nested.vmcs02;
	assert_int_equal(fault(3 * SIZE_2M, EPT_READ, &perm), L2_FAULT_FILLED);
	expect_hole02(0);
	assert_int_equal(vmcs_page.field[NEST_VMCS_SLOT(VMCS_EPTP)], ept02_pointer_of(nested.ept));
	pages_left = -1;
	ept02_drop_all(&vcpu);
	assert_non_null(ept02_select(&vcpu));
	expect_hole02(0);
}

static void premap_without_memory(void **state)
{
	const struct nest_premap range = { 0, SIZE_2M };

	(void)state;
	map12(root12, 0, SIZE_2M, 2, WB(EPT_RWX));
	pages_left = 0;
	assert_int_equal(premap(nested.v12.EPTP, 1, &range), 0);
	assert_null(ept02_select(&vcpu));
	pages_left = 2;
	assert_int_equal(premap(nested.v12.EPTP, 1, &range), 0);
	assert_non_null(ept02_select(&vcpu));
}

static void premap_refuses(void **state)
{
	const struct nest_premap bad[NEST_PREMAP_MAX] = { { 1, PAGE_SIZE }, { 0, 1 }, { ~0ull << 12, SIZE_2M }, { 0, BIT(48) + PAGE_SIZE },
					   { BIT(48), PAGE_SIZE }, { BIT(48) + PAGE_SIZE, 0 } };
	const struct nest_premap good = { BIT(48), 0 };

	(void)state;
	for (u32 i = 0; i < 6; i++)
		assert_int_equal(premap(nested.v12.EPTP, 1, &bad[i]), -EINVAL);
	assert_int_equal(premap(nested.v12.EPTP, NEST_PREMAP_MAX + 1, bad), -EINVAL);
	assert_int_equal(premap(nested.v12.EPTP | BIT(8), 1, &good), -EINVAL);
	assert_int_equal(premap(nested.v12.EPTP, 1, &good), 0);
	nested.vmx_on = false;
	assert_int_equal(premap(nested.v12.EPTP, 1, &good), -EINVAL);
	offered = false;
	assert_int_equal(premap(nested.v12.EPTP, 1, &good), -EPERM);
}

/* ---- two engines: L2 has tables of its own for L3, in its memory, which is at 2 MiB of L1's ---- */
struct nested *nested_above(struct vcpu *v, struct nested *n)
{
	(void)v;
	if (n != &nested)
		return NULL;
	n->above = &second;
	second.below = n;
	return &second;
}

static u64 chain_start(void)
{
	map12(root12, 0, SIZE_2M, 2, WB(EPT_RWX));               /* L2's first 2 MiB: its tables */
	map12(root12, SIZE_2M, 2 * SIZE_2M, 2, WB(EPT_RWX));     /* and some memory */
	u64 l2_table[] = { SIZE_2M, SIZE_2M + PAGE_SIZE, SIZE_2M + 2 * PAGE_SIZE };
	for (u32 i = 0; i < 2; i++)
		l1(l2_table[i])[0] = (l2_table[i + 1] - SIZE_2M) | EPT_RWX;
	l1(l2_table[2])[0] = SIZE_2M | WB(EPT_RWX) | EPT_PAGE;
	second.v12.EPTP = EPTP_OF(0);
	second.v12.PROC_CONTROLS = PROC_SECONDARY;
	second.v12.PROC2_CONTROLS = PROC2_EPT;
	delegates = true;
	nested_above(&vcpu, &nested);
	return second.v12.EPTP;
}

static void expect_second(u64 l3_gpa, u64 hpa, u64 size)
{
	struct ptab_leaf l;

	assert_true(ptab_walk(&second.ept->pt, l3_gpa, &l));
	assert_int_equal(l.pa.v, hpa);
	assert_int_equal(l.size, size);
}

static void chain_fault(void **state)
{
	u32 perm;

	(void)state;
	chain_start();
	vcpu_load_vmcs(&vcpu, &second.vmcs02);
	assert_non_null(ept02_select(&vcpu));
	assert_int_equal(ept02_fault(&vcpu, 0x1234, EPT_READ, &perm), L2_FAULT_FILLED);
	expect_second(0x1234, (u64)ram + 2 * SIZE_2M + 0x1234, SIZE_2M);
	/* Our own tables change: all that rests on them goes, and comes back by itself. */
	nested_flush_ept(&vcpu);
	assert_int_equal(vmcs_page.field[NEST_VMCS_SLOT(VMCS_EPTP)], ept02_pointer_of(second.ept));
	assert_int_equal(ept02_fault(&vcpu, 0, EPT_WRITE, &perm), L2_FAULT_FILLED);
	expect_second(0, (u64)ram + 2 * SIZE_2M, SIZE_2M);
	/* L1 takes the memory away. */
	vcpu_load_vmcs(&vcpu, &vcpu.vmcs01);
	map12(root12, SIZE_2M, 3 * SIZE_2M, 2, WB(EPT_READ));
	ept02_drop(&vcpu, nested.v12.EPTP);
	vcpu_load_vmcs(&vcpu, &second.vmcs02);
	chain_refresh(&vcpu, &second);
	assert_int_equal(ept02_fault(&vcpu, 0, EPT_WRITE, &perm), L2_FAULT_FURTHER_OUT);
	assert_ptr_equal(second.far.engine, &nested);
	assert_int_equal(ept02_fault(&vcpu, 0, EPT_READ, &perm), L2_FAULT_FILLED);
	expect_second(0, (u64)ram + 3 * SIZE_2M, SIZE_2M);
	vcpu_load_vmcs(&vcpu, &vcpu.vmcs01);
}

static void chain_premap(void **state)
{
	const struct nest_premap range = { 0, 2 * SIZE_2M };
	u64 eptp = chain_start();

	(void)state;
	assert_int_equal(premap(nested.v12.EPTP, 1, &range), 2 * SIZE_2M);
	assert_int_equal(premap_at(eptp, 1, &range, 1), SIZE_2M);
	assert_ptr_equal(vcpu.nested, &nested);
	vcpu_load_vmcs(&vcpu, &second.vmcs02);
	assert_non_null(ept02_select(&vcpu));
	expect_second(SIZE_2M - 1, (u64)ram + 3 * SIZE_2M - 1, SIZE_2M);
	nested_flush_ept(&vcpu);
	expect_second(SIZE_2M - 1, (u64)ram + 3 * SIZE_2M - 1, SIZE_2M);
	vcpu_load_vmcs(&vcpu, &vcpu.vmcs01);
	assert_int_equal(premap_at(eptp, 1, &range, 2), 0); /* there is none */
	assert_int_equal(premap_at(eptp, 1, &range, CHAIN_MAX + 1), -EINVAL);
	delegates = false;
	assert_int_equal(premap_at(eptp, 1, &range, 1), -EPERM);
}

/* Our outer runs L1's guests: it gets the list, and what it says is the answer. */
static void premap_of_the_delegated(void **state)
{
	static struct nest_vmx_assist assist;
	const struct nest_premap range = { 0, SIZE_2M };

	(void)state;
	delegates = true;
	features = NEST_FEAT_DELEGATE;
	assert_int_equal(premap(nested.v12.EPTP, 1, &range), 0); /* L1 has not registered an assist page */
	declared = 0;
	nested.assist = &assist;
	assert_int_equal(premap(nested.v12.EPTP, 1, &range), 4711);
	assert_int_equal(declared_height, 1);
	assert_int_equal(declared_eptp, nested.v12.EPTP);
	assert_int_equal(premap_at(nested.v12.EPTP, 1, &range, 2), 4711);
	assert_int_equal(declared_height, 3);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, start, stop)
	const struct CMUnitTest tests[] = {
		TEST(smaller_of_both_pages), TEST(what_ept12_forbids), TEST(changed_entries), TEST(flags_of_l1),
		TEST(flush_while_l1_runs),
		TEST(premap_keeps_large_pages), TEST(premap_of_mixed_tables), TEST(premap_sets_no_flags), TEST(premap_lasts),
		TEST(premap_evicts), TEST(premap_is_bounded), TEST(premap_without_memory), TEST(premap_refuses),
		TEST(chain_fault), TEST(chain_premap), TEST(premap_of_the_delegated),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
