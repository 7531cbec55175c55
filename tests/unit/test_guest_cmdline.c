/*
 * guest/lib/cmdline.c and guest/lib/mbi.c: what the loader hands over is split, checked and copied; nothing malformed gets
 * through, and nothing is read past its end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/multiboot2.h"
#include "guest/lib/cmdline.h"
#include "guest/lib/mbi.h"

static const struct option options[] = {
	{ "n", OPTION_NUMBER, 1, 1000, NULL }, { "big", OPTION_NUMBER, 0, ~0ull, NULL }, { "ip", OPTION_IP, 1, 0xfffffffe, NULL },
	{ "list", OPTION_LIST, 0, ~0ull, NULL }, { "word", OPTION_WORD, 0, 0, "event plain plainer" },
};
static struct cmdline c;

static const char *check(const char *text)
{
	assert_true(cmdline_split(&c, text));
	return cmdline_check(&c, options, ARRAY_SIZE(options));
}

static void test_split(void **state)
{
	(void)state;
	assert_null(check("  echo n=5\t blast big=0x10  ip=10.0.0.2 n=6 "));
	assert_int_equal(c.nr, 6);
	assert_string_equal(c.word[0].key, "echo");
	assert_null(c.word[0].value);
	assert_string_equal(c.word[2].key, "blast");
	assert_int_equal(cmdline_u64(&c, "n", 1), 6); /* the last one counts */
	assert_int_equal(cmdline_u64(&c, "big", 1), 16);
	assert_int_equal(cmdline_u64(&c, "absent", 77), 77);
	assert_int_equal(cmdline_ip(&c, "ip", 1), 0x0a000002);
	assert_int_equal(cmdline_ip(&c, "absent", 9), 9);
	assert_null(check(""));
	assert_int_equal(c.nr, 0);
}

static void test_split_limits(void **state)
{
	char text[600];

	(void)state;
	for (u32 i = 0; i < 300; i++)
		memcpy(text + 2 * i, "a ", 2);
	text[2 * CMDLINE_MAX_WORDS] = 0;
	assert_true(cmdline_split(&c, text));
	text[2 * CMDLINE_MAX_WORDS] = 'a';
	text[2 * CMDLINE_MAX_WORDS + 1] = 0;
	assert_false(cmdline_split(&c, text));
	memset(text, 'x', sizeof(text));
	text[511] = 0;
	assert_true(cmdline_split(&c, text));
	text[511] = 'x';
	text[512] = 0;
	assert_false(cmdline_split(&c, text));
}

static void test_values(void **state)
{
	static const char *const good[] = { "n=1", "n=1000", "n=0x3e8", "big=18446744073709551615", "big=0xffffffffffffffff",
					    "ip=0.0.0.1", "ip=255.255.255.254", "list=1", "list=0x10,20,0xffffffffffffffff", "word=event", "word=plain",
					    "word=plainer" };
	static const char *const bad[] = { "n=", "n=0", "n=1001", "n=x", "n=1x", "n=0x", "n=-1", "n=1 n=", "big=18446744073709551616",
					   "big=0x10000000000000000", "ip=10.0.0", "ip=10.0.0.256", "ip=10.0.0.0.1", "ip=10..0.1",
					   "ip=0.0.0.0", "ip=255.255.255.255", "ip=a.b.c.d", "list=", "list=1,", "list=,1",
					   "list=1,,2", "list=1;2", "word=", "word=plai", "word=lain", "word=er", "unknown=1", "=1" };

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(good); i++)
		assert_null(check(good[i]));
	for (u32 i = 0; i < ARRAY_SIZE(bad); i++)
		assert_non_null(check(bad[i]));
	assert_string_equal(check("n=1 nonsense=2"), "nonsense");
	assert_string_equal(check("n=0"), "n");
}

static void test_list(void **state)
{
	u64 v = 0;

	(void)state;
	assert_null(check("list=1,0x20,3"));
	assert_true(cmdline_list(&c, "list", 0, &v) && v == 1);
	assert_true(cmdline_list(&c, "list", 1, &v) && v == 0x20);
	assert_true(cmdline_list(&c, "list", 2, &v) && v == 3);
	assert_false(cmdline_list(&c, "list", 3, &v));
	assert_false(cmdline_list(&c, "absent", 0, &v));
}

/* ---- boot information ---- */

static u8 *mbi;
static u32 mbi_len;
static struct boot boot;

static int mbi_begin(void **state)
{
	(void)state;
	mbi = aligned_alloc(8, 4096);
	memset(mbi, 0, 4096);
	mbi_len = sizeof(struct mb2_info);
	return 0;
}

static int mbi_end(void **state)
{
	(void)state;
	free(mbi);
	return 0;
}

static void tag(u32 type, const void *body, u32 len)
{
	struct mb2_tag t = { type, (u32)sizeof(t) + len };

	memcpy(mbi + mbi_len, &t, sizeof(t));
	memcpy(mbi + mbi_len + sizeof(t), body, len);
	mbi_len = (u32)ALIGN_UP(mbi_len + t.size, 8);
}

static void tag_map(const struct mb2_mmap_entry *e, u32 n)
{
	u8 body[1024];
	u32 head[2] = { sizeof(*e), 0 };

	memcpy(body, head, 8);
	memcpy(body + 8, e, n * sizeof(*e));
	tag(MB2_MMAP, body, 8 + n * (u32)sizeof(*e));
}

/* Close it and parse it from a block of exactly its size. */
static const char *parse(void)
{
	tag(MB2_END, "", 0);
	memcpy(mbi, &mbi_len, 4);
	u8 *copy = aligned_alloc(8, mbi_len);
	memcpy(copy, mbi, mbi_len);
	const char *err = boot_parse(&boot, copy, mbi_len);
	free(copy);
	return err;
}

static void test_mbi(void **state)
{
	const struct mb2_mmap_entry map[] = { { 0, 0x9f000, MB2_MEM_RAM, 0 }, { 0x100000, 0x7f00000, MB2_MEM_RAM, 0 },
					      { 0xfee00000, 0x1000, 2, 0 } };
	const u32 module[2] = { 0x800000, 0x900000 };

	(void)state;
	tag(MB2_CMDLINE, "echo n=1", 9);
	tag_map(map, 3);
	tag(MB2_MODULE, module, 8);
	tag(99, "xyz", 3);
	assert_null(parse());
	assert_string_equal(boot.cmdline, "echo n=1");
	assert_int_equal(boot.nr_map, 3);
	assert_true(boot.map[1].ram && !boot.map[2].ram);
	assert_int_equal(boot.nr_taken, 2);
	boot.taken[1] = (struct boot_range){ 0x7fff000, 0x1000, false }; /* as if the information itself lay at the top */
	struct boot_range r = boot_largest_free(&boot, 0x100000, 1ull << 32, 0x200000, 0x240000);
	assert_int_equal(r.base, 0x900000);
	assert_int_equal(r.base + r.len, 0x7fff000);
	r = boot_largest_free(&boot, 0x100000, 0x800000, 0x200000, 0x240000);
	assert_int_equal(r.base, 0x240000);
	assert_int_equal(r.len, 0x5c0000);
	r = boot_largest_free(&boot, 0x100000, 0x240000, 0, 0x240000);
	assert_int_equal(r.len, 0);
}

static void test_mbi_malformed(void **state)
{
	const struct mb2_mmap_entry wrap = { ~0ull, 2, 1, 0 };
	char text[600];

	(void)state;
	memset(text, 'a', sizeof(text));
	tag(MB2_CMDLINE, "unended", 7);
	assert_non_null(parse());
	mbi_len = 8;
	tag(MB2_CMDLINE, text, sizeof(text));
	assert_non_null(parse());
	mbi_len = 8;
	text[sizeof(text) - 1] = 0;
	tag(MB2_CMDLINE, text, sizeof(text));
	assert_non_null(parse());
	mbi_len = 8;
	tag_map(&wrap, 1);
	assert_non_null(parse());
	mbi_len = 8;
	tag(MB2_MMAP, "\0\0\0\0\0\0\0\0", 8); /* entries of no length */
	assert_non_null(parse());
	mbi_len = 8;
	tag(MB2_MODULE, "\x10\0\0\0\x08\0\0\0", 8);
	assert_non_null(parse());
	mbi_len = 8;
	tag(MB2_MODULE, "", 0);
	assert_non_null(parse());
	mbi_len = 8;
	for (u32 i = 0; i < BOOT_MAX_TAKEN + 1; i++)
		tag(MB2_MODULE, "\0\0\0\0\x08\0\0\0", 8);
	assert_non_null(parse());
}

/* Any prefix, and any size field replaced: an error or a result, never a read outside. */
static void test_mbi_truncated(void **state)
{
	const struct mb2_mmap_entry map = { 0x100000, 0x7f00000, MB2_MEM_RAM, 0 };

	(void)state;
	tag(MB2_CMDLINE, "echo", 5);
	tag_map(&map, 1);
	assert_null(parse());
	for (u32 n = 0; n < mbi_len; n++) {
		u8 *copy = aligned_alloc(8, ALIGN_UP(n, 8) + 8);
		memcpy(copy, mbi, n);
		assert_non_null(boot_parse(&boot, copy, n));
		if (n >= 8) {
			memcpy(copy, &n, 4);
			assert_non_null(boot_parse(&boot, copy, n));
		}
		free(copy);
	}
	for (u32 at = 8; at < mbi_len; at += 4)
		for (u32 v = 0; v < 64; v++) {
			u8 *copy = aligned_alloc(8, mbi_len);
			u32 size = v < 60 ? v : 0u - v;
			memcpy(copy, mbi, mbi_len);
			memcpy(copy + at, &size, 4);
			(void)boot_parse(&boot, copy, mbi_len);
			free(copy);
		}
}

#define MBI_TEST(fn) cmocka_unit_test_setup_teardown(fn, mbi_begin, mbi_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_split), cmocka_unit_test(test_split_limits), cmocka_unit_test(test_values),
		cmocka_unit_test(test_list), MBI_TEST(test_mbi), MBI_TEST(test_mbi_malformed), MBI_TEST(test_mbi_truncated),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
