/*
 * core/hypercall.c: numbers, the record page's ways to be wrong, what is copied in and out and when.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/errno.h"
#include "core/hypercall.h"

#define RAM (16 * PAGE_SIZE)
#define PAGE 0x3000u

static u8 ram[RAM], record[PAGE_SIZE];
static struct vm vm;
static struct vcpu_core v;
static u64 ram_end; /* guest RAM that exists at the moment */
static u32 reads, writes;

hpa_t vm_gpa_to_hpa(struct vm *m, gpa_t gpa, u64 len)
{
	(void)m;
	return gpa.v < ram_end && len <= ram_end - gpa.v ? HPA((u64)ram + gpa.v) : HPA_NONE;
}

int vm_read(struct vm *m, gpa_t gpa, void *buf, u64 len)
{
	if (vm_gpa_to_hpa(m, gpa, len).v == HPA_NONE.v)
		return -EFAULT;
	reads++;
	memcpy(buf, ram + gpa.v, len);
	return 0;
}

int vm_write(struct vm *m, gpa_t gpa, const void *buf, u64 len)
{
	if (vm_gpa_to_hpa(m, gpa, len).v == HPA_NONE.v)
		return -EFAULT;
	writes++;
	memcpy(ram + gpa.v, buf, len);
	return 0;
}

/* ---- handlers ---- */

static struct hc_call seen;
static u32 called;
static s64 answer;

static s64 plain(struct hc_call *c)
{
	seen = *c;
	called++;
	return answer;
}

/* The guest changes its page while the call runs: our copy stays. */
static s64 looks_twice(struct hc_call *c)
{
	u8 first = c->rec[0];
	memset(ram + PAGE, 0xee, PAGE_SIZE);
	called++;
	return c->rec[0] == first ? first : -EIO;
}

static s64 fills(struct hc_call *c)
{
	for (u32 i = 0; i < 8; i++)
		assert_int_equal(c->rec[i], 0); /* nothing of an earlier call leaks */
	memset(c->rec, 0x77, 4);
	called++;
	return answer;
}

enum { NR_PLAIN = HC_NIC_FREE, NR_IN = HC_NIC_CONFIGURE, NR_WHOLE = HC_NIC_DMA_MAP, NR_OUT = HC_NIC_INFO, NR_UNBOUND = HC_NIC_STATS };

static int bind(void **state)
{
	static const struct hc_entry e_plain = { "plain", plain, HC_REC_NONE, 0 }, e_in = { "in", looks_twice, HC_REC_IN, 16 },
				     e_whole = { "whole", plain, HC_REC_IN, 0 }, e_out = { "out", fills, HC_REC_OUT, 8 };
	(void)state;
	hypercall_bind(NR_PLAIN, &e_plain);
	hypercall_bind(NR_IN, &e_in);
	hypercall_bind(NR_WHOLE, &e_whole);
	hypercall_bind(NR_OUT, &e_out);
	return 0;
}

static int begin(void **state)
{
	(void)state;
	memset(ram, 0, sizeof(ram));
	memset(record, 0xcc, sizeof(record));
	ram_end = RAM;
	reads = writes = called = 0;
	answer = 0;
	v = (struct vcpu_core){ .vm = &vm, .record_page = GPA(~0ull), .record = record };
	return 0;
}

static s64 call(u64 nr, u64 a0)
{
	u64 arg[6] = { a0, 2, 3, 4, 5, 6 };
	return hypercall_dispatch(&v, nr, arg);
}

static void unknown_numbers(void **state)
{
	static const u64 numbers[] = { 0, NR_UNBOUND, HC_MAX, HC_MAX + 1, 63, 64, 0xffffffff, 1ull << 32 | NR_PLAIN, ~0ull };

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(numbers); i++)
		assert_int_equal(call(numbers[i], 0), -ENOSYS);
	assert_int_equal(called, 0);
	assert_int_equal(v.count.hypercalls[0], ARRAY_SIZE(numbers));
	assert_string_equal(hypercall_name(NR_UNBOUND), "?");
	assert_string_equal(hypercall_name(~0u), "?");
	assert_string_equal(hypercall_name(NR_PLAIN), "plain");
}

static void arguments_and_results_are_whole(void **state)
{
	(void)state;
	answer = 0x123456789abcdef;
	assert_int_equal(call(NR_PLAIN, ~0ull), 0x123456789abcdef);
	assert_int_equal(seen.arg[0], ~0ull);
	for (u32 i = 1; i < 6; i++)
		assert_int_equal(seen.arg[i], i + 1);
	assert_ptr_equal(seen.v, &v);
	assert_null(seen.rec);
	answer = -EPERM;
	assert_int_equal(call(NR_PLAIN, 0), -EPERM);
	assert_int_equal(v.count.hypercalls[NR_PLAIN], 2);
	assert_int_equal(reads + writes, 0);
}

static void record_page_must_be_ram(void **state)
{
	(void)state;
	assert_int_equal(call(HC_RECORD_PAGE, PAGE + 8), -EINVAL);
	assert_int_equal(call(HC_RECORD_PAGE, RAM), -EFAULT);
	assert_int_equal(call(HC_RECORD_PAGE, ~PAGE_MASK), -EFAULT);
	assert_int_equal(v.record_page.v, ~0ull);
	assert_int_equal(call(HC_RECORD_PAGE, RAM - PAGE_SIZE), 0);
	assert_int_equal(call(HC_RECORD_PAGE, ~0ull), 0);
	assert_int_equal(call(NR_IN, 0), -EFAULT);
}

static void no_record_page(void **state)
{
	(void)state;
	assert_int_equal(call(NR_IN, 0), -EFAULT);
	assert_int_equal(call(NR_OUT, 0), -EFAULT);
	assert_int_equal(called, 0);
}

static void record_is_copied_once(void **state)
{
	(void)state;
	assert_int_equal(call(HC_RECORD_PAGE, PAGE), 0);
	ram[PAGE] = 42;
	ram[PAGE + 16] = 1;
	assert_int_equal(call(NR_IN, 0), 42);
	assert_int_equal(reads, 1);
	assert_int_equal(record[16], 0xcc); /* only the record's length */
	memset(ram + PAGE, 9, PAGE_SIZE);
	assert_int_equal(call(NR_WHOLE, 0), 0);
	assert_int_equal(seen.rec[PAGE_SIZE - 1], 9);
	assert_int_equal(writes, 0);
}

static void record_goes_out_on_success_only(void **state)
{
	(void)state;
	assert_int_equal(call(HC_RECORD_PAGE, PAGE), 0);
	memset(ram + PAGE, 0x11, 16);
	answer = -EBUSY;
	assert_int_equal(call(NR_OUT, 0), -EBUSY);
	assert_int_equal(ram[PAGE], 0x11);
	answer = 5;
	assert_int_equal(call(NR_OUT, 0), 5);
	assert_memory_equal(ram + PAGE, "\x77\x77\x77\x77\0\0\0\0\x11", 9);
	assert_int_equal(reads, 0);
}

static void page_that_vanished(void **state)
{
	(void)state;
	assert_int_equal(call(HC_RECORD_PAGE, PAGE), 0);
	ram_end = PAGE;
	assert_int_equal(call(NR_IN, 0), -EFAULT);
	assert_int_equal(called, 0);
	assert_int_equal(call(NR_OUT, 0), -EFAULT);
}

static void a_number_is_bound_once(void **state)
{
	static const struct hc_entry e = { "again", plain, HC_REC_NONE, 0 };
	(void)state;
	expect_assert_failure(hypercall_bind(NR_PLAIN, &e));
	expect_assert_failure(hypercall_bind(HC_RECORD_PAGE, &e));
	expect_assert_failure(hypercall_bind(0, &e));
	expect_assert_failure(hypercall_bind(HC_MAX, &e));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(unknown_numbers, begin), cmocka_unit_test_setup(arguments_and_results_are_whole, begin),
		cmocka_unit_test_setup(record_page_must_be_ram, begin), cmocka_unit_test_setup(no_record_page, begin),
		cmocka_unit_test_setup(record_is_copied_once, begin), cmocka_unit_test_setup(record_goes_out_on_success_only, begin),
		cmocka_unit_test_setup(page_that_vanished, begin), cmocka_unit_test_setup(a_number_is_bound_once, begin),
	};
	return cmocka_run_group_tests(tests, bind, NULL);
}
