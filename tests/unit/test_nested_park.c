/*
 * Chains that wait (vmx/nested_park.c): VMCS pages in an L1's RAM, and engines above the base that hold something or not.
 */
#define L1_PARKS
#include "tests/unit/nested_l1.h"

struct nested *nested_above(struct vcpu *v, struct nested *n) { (void)v; return n->above; }

#define PAGE_AT(i) (SIZE_2M + (i) * PAGE_SIZE)
#define PAGES 5
static struct nested above[PAGES], deeper;
static u32 written; /* pages that got their last words */

void page_forget(struct nested *n)
{
	n->page = NULL;
	n->current_gpa = ~0ull;
}

void page_put(struct vcpu *v, struct nested *n)
{
	park(v, n);
	page_forget(n);
	written++;
}

static struct nest_vmcs_page *page(u32 i) { return (struct nest_vmcs_page *)l1(PAGE_AT(i)); }

static void engine(struct nested *n, struct nested *below)
{
	memset(n, 0, sizeof(*n));
	for (u32 i = 0; i < NR_EPT02; i++)
		n->ept02[i].pt.root = HPA_NONE;
	n->current_gpa = n->assist_gpa = ~0ull;
	n->below = below;
	n->height = below->height + 1;
	n->vmcs01 = &below->vmcs02;
	n->vmcs02.engine = n;
}

static int start_pages(void **state)
{
	assert_int_equal(start(state), 0);
	written = 0;
	for (u32 i = 0; i < PAGES; i++) {
		engine(&above[i], &nested);
		page(i)->revision = NEST_VMCS_REVISION;
	}
	engine(&deeper, &above[0]);
	return 0;
}

/* L1 has entered page i, and its guest something further in. */
static void enter(u32 i)
{
	nested.page = page(i);
	nested.current_gpa = PAGE_AT(i);
	nested.above = &above[i];
}

/* L1 got an exit meanwhile, and now takes another page. */
static void interrupted(u32 i)
{
	enter(i);
	nested.suspended = &above[i];
	nested.root_rip = 0x1000 + i;
	page_put(&vcpu, &nested);
}

static void nothing_held(void)
{
	assert_null(nested.suspended);
	for (u32 i = 0; i < NR_PARKED; i++) {
		assert_int_equal(nested.parked[i].token, 0);
		assert_null(nested.parked[i].suspended);
	}
}

static void comes_back(void **state)
{
	(void)state;
	interrupted(0);
	assert_null(nested.suspended);
	assert_null(nested.above);
	assert_int_not_equal(page(0)->further_in, 0);
	interrupted(1);
	assert_int_not_equal(page(0)->further_in, page(1)->further_in);
	for (u32 i = 0; i < 2; i++) {
		nested.above = NULL;
		assert_true(unpark(&vcpu, page(i), PAGE_AT(i)));
		assert_ptr_equal(nested.above, &above[i]);
		assert_ptr_equal(nested.suspended, &above[i]);
		assert_int_equal(nested.root_rip, 0x1000 + i);
		assert_int_equal(page(i)->further_in, 0);
		assert_int_equal(page(i)->abort, 0);
		nested.suspended = NULL;
	}
	nothing_held();
}

/* L2 itself runs, but one of its guests was left in the midst of something. */
static void held_further_in(void **state)
{
	(void)state;
	enter(0);
	above[0].above = &deeper;
	above[0].suspended = &deeper;
	page_put(&vcpu, &nested);
	assert_int_not_equal(page(0)->further_in, 0);
	assert_true(unpark(&vcpu, page(0), PAGE_AT(0)));
	assert_null(nested.suspended);
	assert_ptr_equal(nested.above, &above[0]);
	assert_ptr_equal(above[0].suspended, &deeper);
	assert_true(above[0].moved); /* its page is translated again */
}

static void nothing_to_keep(void **state)
{
	(void)state;
	map12(root12, 0, 0, 2, WB(EPT_RWX));
	enter(0);
	above[0].page = page(3);
	above[0].current_gpa = PAGE_AT(3);
	above[0].moved = false;
	map12(root12, SIZE_2M, SIZE_2M, 2, WB(EPT_RWX));
	page_put(&vcpu, &nested);
	assert_int_equal(written, 2); /* L2's page, too */
	assert_int_equal(page(0)->further_in, 0);
	assert_ptr_equal(nested.above, &above[0]);
	nothing_held();
}

/* The same address, another page: what waited was the old one's. */
static void another_page(void **state)
{
	(void)state;
	interrupted(0);
	page(0)->further_in = 0;
	assert_true(unpark(&vcpu, page(0), PAGE_AT(0)));
	nothing_held();
	assert_int_equal(page(0)->abort, 0);
}

static void not_here(void **state)
{
	(void)state;
	page(0)->further_in = 77;
	assert_false(unpark(&vcpu, page(0), PAGE_AT(0)));
	assert_int_equal(page(0)->abort, ABORT_FURTHER_IN);
	interrupted(1);
	page(1)->further_in++;
	assert_false(unpark(&vcpu, page(1), PAGE_AT(1)));
	assert_int_equal(page(1)->abort, ABORT_FURTHER_IN);
	nothing_held();
}

static void no_room(void **state)
{
	(void)state;
	for (u32 i = 0; i < NR_PARKED; i++) {
		assert_true(park_room(&vcpu));
		interrupted(i);
	}
	assert_false(park_room(&vcpu));
	page(1)->delegate = NEST_VMCS_NONE; /* L1 is done with it */
	assert_true(park_room(&vcpu));
	assert_true(unpark(&vcpu, page(0), PAGE_AT(0)));
	assert_ptr_equal(nested.suspended, &above[0]);
	assert_true(unpark(&vcpu, page(2), PAGE_AT(2)));
	assert_ptr_equal(nested.suspended, &above[2]);
	assert_false(unpark(&vcpu, page(1), PAGE_AT(1)));
}

static void the_end(void **state)
{
	(void)state;
	interrupted(0);
	interrupted(1);
	enter(2);
	nested.suspended = &above[2];
	chain_forget(&vcpu, &nested);
	assert_int_equal(page(2)->abort, ABORT_FURTHER_IN);
	nothing_held();
	for (u32 i = 0; i < 2; i++) {
		assert_false(unpark(&vcpu, page(i), PAGE_AT(i)));
		assert_int_equal(page(i)->abort, ABORT_FURTHER_IN);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(comes_back, start_pages, stop), cmocka_unit_test_setup_teardown(held_further_in, start_pages, stop),
		cmocka_unit_test_setup_teardown(nothing_to_keep, start_pages, stop),
		cmocka_unit_test_setup_teardown(another_page, start_pages, stop), cmocka_unit_test_setup_teardown(not_here, start_pages, stop),
		cmocka_unit_test_setup_teardown(no_room, start_pages, stop), cmocka_unit_test_setup_teardown(the_end, start_pages, stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
