/*
 * VPIDs of L2 (vmx/nested_vpid.c): each of L1's has one of ours, flushed when it was another one's.
 */
#include "tests/unit/nested_hw.h"

static u32 vpid_flushes;
static u16 vpid_flushed;
static struct nested nested;

void ept_flush_vpid(u16 vpid) { vpid_flushes++; vpid_flushed = vpid; }
u16 vcpu_alloc_vpid(void) { static u16 last = 100; return ++last; }

static int start(void **state)
{
	(void)state;
	memset(&nested, 0, sizeof(nested));
	vpid_flushes = 0;
	return 0;
}

static u16 selected(u16 vpid12, bool flushed)
{
	u32 before = vpid_flushes;

	vpid_select(&nested, vpid12);
	assert_int_equal(vpid_flushes - before, flushed);
	assert_int_equal(nested.vpid12, vpid12);
	if (flushed)
		assert_int_equal(vpid_flushed, nested.vpid02);
	return nested.vpid02;
}

static void vpids_are_kept(void **state)
{
	(void)state;
	vpid_create(&nested);
	u16 one = selected(1, true), two = selected(2, true), none = selected(0, true);

	assert_true(one != two && one != none && two != none);
	assert_int_equal(selected(1, false), one);
	assert_int_equal(selected(2, false), two);
	assert_int_equal(selected(0, true), none); /* as the processor: each time */
	vpid_forget(&nested, 1);
	assert_int_equal(nested.vpid12, 0);
	assert_int_equal(selected(2, false), two);
	selected(1, true);
	selected(1, false);
	vpid_forget_all(&nested);
	selected(2, true);
	selected(1, true);
	vpid_forget(&nested, 77);
	selected(1, false);
}

static void vpids_in_turn(void **state)
{
	(void)state;
	vpid_create(&nested);
	for (u16 i = 1; i < NR_VPID02; i++)
		selected(i, true);
	for (u16 i = 1; i < NR_VPID02; i++)
		selected(i, false);
	u16 first = selected(1, false);
	assert_int_equal(selected(1000, true), first); /* the first one's place */
	selected(2, false);
	selected(1, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(vpids_are_kept, start),
		cmocka_unit_test_setup(vpids_in_turn, start),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
