/*
 * core/bundle.c: good archives, each thing that can be wrong with one, every truncation, and every byte changed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/bundle.h"
#include "core/errno.h"

static u8 archive[8192];
static u64 len;
static char err[160];

static void add(const char *name, const char *data, u32 mode, u32 nlink)
{
	u32 size = (u32)strlen(data);

	snprintf((char *)archive + len, 111, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", 1, mode, 0, 0, nlink, 0, size,
		 0, 0, 0, 0, (u32)strlen(name) + 1, 0);
	strcpy((char *)archive + len + 110, name);
	len = ALIGN_UP(len + 110 + strlen(name) + 1, 4);
	memcpy(archive + len, data, size);
	len = ALIGN_UP(len + size, 4);
}

static int begin(void **state)
{
	(void)state;
	memset(archive, 0, sizeof(archive));
	len = 0;
	err[0] = 0;
	return 0;
}

static void good(void)
{
	add(".", "", 040755, 2);
	add("./nestling.cfg", "[vm a]\n", 0100644, 1);
	add("kernel.elf", "12345", 0100755, 1);
	add("empty", "", 0100644, 1);
	add("TRAILER!!!", "", 0, 1);
}

/* On a copy of exactly that size, so that the sanitizer sees a read behind it. */
static int open_copy(u64 n)
{
	struct bundle b;
	u8 *copy = malloc(n ? n : 1);

	memcpy(copy, archive, n);
	int e = bundle_open(&b, copy, n, err, sizeof(err));
	if (e)
		assert_true(err[0]);
	free(copy);
	return e;
}

static void finds_files(void **state)
{
	struct bundle b;
	struct bundle_file f;

	(void)state;
	good();
	assert_int_equal(bundle_open(&b, archive, len, err, sizeof(err)), 0);
	assert_int_equal(bundle_find(&b, "nestling.cfg", &f), 0);
	assert_string_equal(f.name, "nestling.cfg");
	assert_int_equal(f.len, 7);
	assert_memory_equal(f.data, "[vm a]\n", 7);
	assert_int_equal(bundle_find(&b, "./kernel.elf", &f), 0);
	assert_memory_equal(f.data, "12345", 5);
	assert_int_equal(bundle_find(&b, "empty", &f), 0);
	assert_int_equal(f.len, 0);
	assert_int_equal(bundle_find(&b, ".", &f), -ENOENT);
	assert_int_equal(bundle_find(&b, "kernel", &f), -ENOENT);
	assert_int_equal(bundle_find(&b, "TRAILER!!!", &f), -ENOENT);
}

static void padding_behind_the_trailer_is_allowed(void **state)
{
	(void)state;
	good();
	assert_int_equal(open_copy(len + 512), 0);
}

static void every_truncation_fails(void **state)
{
	(void)state;
	good();
	u64 end_of_trailer_name = len - 1; /* 110 + 11 bytes, padded to 124 */
	while (!archive[end_of_trailer_name - 1])
		end_of_trailer_name--;
	for (u64 n = 0; n <= end_of_trailer_name; n++)
		assert_int_equal(open_copy(n), -EINVAL);
	assert_int_equal(open_copy(len), 0);
}

static void expect(const char *part)
{
	assert_int_equal(open_copy(len), -EINVAL);
	if (!strstr(err, part))
		fail_msg("'%s' does not say '%s'", err, part);
}

static void says_what_is_wrong(void **state)
{
	good();
	archive[5] = '2';
	expect("offset 0");
	expect("not a newc cpio header");
	begin(state);
	good();
	archive[60] = 'x';
	expect("not a hexadecimal number");
	begin(state);
	good();
	memcpy(archive + 94, "ffffffff", 8);
	expect("the name does not fit");
	begin(state);
	good();
	memcpy(archive + 54, "fffffff0", 8);
	expect("the data does not fit");
	begin(state);
	add("a", "12345678", 0100644, 1);
	memcpy(archive + 54, "00000009", 8); /* one byte more than there is */
	expect("the data does not fit");
	begin(state);
	good();
	memcpy(archive + 94, "00000001", 8);
	expect("the name does not fit");
	begin(state);
	add("a", "1", 0100644, 1);
	add("./a", "2", 0100644, 1);
	add("TRAILER!!!", "", 0, 1);
	expect("(./a): two files have this name");
	begin(state);
	add("a", "1", 0100644, 2);
	add("TRAILER!!!", "", 0, 1);
	expect("hard links");
	begin(state);
	good();
	good();
	expect("a second archive");
	begin(state);
	add("ab", "1", 0100644, 1);
	archive[111] = 0; /* "a\0\0" */
	add("TRAILER!!!", "", 0, 1);
	expect("the name does not end");
}

/* Any single changed byte: an answer, and no read outside (the sanitizer's word). */
static void survives_any_byte(void **state)
{
	static const u8 values[] = { 0, '0', '1', 'f', 'F', 0xff };

	(void)state;
	good();
	for (u64 i = 0; i < len; i++) {
		u8 was = archive[i];
		for (u32 v = 0; v < sizeof(values); v++) {
			archive[i] = values[v];
			open_copy(len);
		}
		archive[i] = was;
	}
	assert_int_equal(open_copy(len), 0);
}

static void finding_in_garbage_is_safe(void **state)
{
	struct bundle_file f;
	u8 *junk = malloc(1000);
	struct bundle b = { .data = junk, .len = 1000 };

	(void)state;
	memset(junk, '0', 1000);
	memcpy(junk, "070701", 6);
	assert_int_equal(bundle_find(&b, "x", &f), -ENOENT);
	free(junk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(finds_files, begin),
		cmocka_unit_test_setup(padding_behind_the_trailer_is_allowed, begin),
		cmocka_unit_test_setup(every_truncation_fails, begin),
		cmocka_unit_test_setup(says_what_is_wrong, begin),
		cmocka_unit_test_setup(survives_any_byte, begin),
		cmocka_unit_test_setup(finding_in_garbage_is_safe, begin),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
