/*
 * boot/multiboot2.c: what a right loader hands over arrives; what a wrong one hands over is refused, and no byte
 * outside of it is read (the information lies at the very end of a heap block, where ASan watches).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "boot/multiboot2.h"
#include "core/multiboot2.h"

static u8 info[8192];
static u32 used;
static struct bootinfo bi;
static struct mb2_rsdp rsdp;

static int reset(void **state)
{
	(void)state;
	memset(info, 0, sizeof(info));
	used = sizeof(struct mb2_info);
	return 0;
}

/* Append a tag; size_of_tag may lie about the body's length. */
static void tag_sized(u32 type, const void *body, u32 len, u32 size_of_tag)
{
	struct mb2_tag t = { .type = type, .size = size_of_tag };

	memcpy(info + used, &t, sizeof(t));
	memcpy(info + used + sizeof(t), body, len);
	used += (u32)ALIGN_UP(sizeof(t) + len, 8);
}

static void tag(u32 type, const void *body, u32 len)
{
	tag_sized(type, body, len, (u32)sizeof(struct mb2_tag) + len);
}

static void text(u32 type, const char *s)
{
	tag(type, s, (u32)strlen(s) + 1);
}

static void module(u32 start, u32 end)
{
	u32 body[3] = { start, end, 0 };

	tag(MB2_MODULE, body, 9);
}

static void map_sized(u32 entry_size)
{
	struct { u32 entry_size, version; struct mb2_mmap_entry e[2]; } body = {
		entry_size, 0, { { 0x100000, 0x10000000, MB2_MEM_RAM, 0 }, { 0xf0000000, 0x1000, 2, 0 } }
	};

	tag(MB2_MMAP, &body, sizeof(body));
}

static void map(void)
{
	map_sized(sizeof(struct mb2_mmap_entry));
}

/* Parse a heap copy of exactly `len` bytes that claims to have `total`. */
static const char *parse_len(u32 len, u32 total)
{
	u8 *copy = malloc(len ? len : 1);
	const char *err;

	assert_non_null(copy);
	memcpy(copy, info, len);
	if (len >= 4)
		memcpy(copy, &total, sizeof(total));
	memset(&bi, 0, sizeof(bi));
	memset(&rsdp, 0, sizeof(rsdp));
	err = mb2_parse(copy, len, &bi, &rsdp);
	free(copy);
	return err;
}

static const char *parse(void)
{
	text(MB2_END, "");
	used -= 8; /* the end tag has no body */
	memcpy(info + used - 8, &(struct mb2_tag){ MB2_END, 8 }, 8);
	return parse_len(used, used);
}

static void takes_everything(void **state)
{
	(void)state;
	text(MB2_CMDLINE, "a=1 b");
	text(MB2_LOADER_NAME, "GRUB");
	module(0x200000, 0x200123);
	module(0x300000, 0x300001);
	map();
	tag(MB2_ACPI_OLD, "RSD PTR old.........", 20);
	tag(MB2_ACPI_NEW, "RSD PTR new.........................", 36);
	tag(99, "unknown", 7);
	assert_null(parse());
	assert_string_equal(bi.cmdline, "a=1 b");
	assert_string_equal(bi.loader, "GRUB");
	assert_int_equal(bi.bundle.v, 0x200000);
	assert_int_equal(bi.bundle_len, 0x123);
	assert_int_equal(bi.nr_ranges, 2);
	assert_int_equal(bi.ranges[0].len, 0x10000000);
	assert_int_equal(bi.ranges[1].kind, MEM_RESERVED);
	assert_int_equal(rsdp.len, 36);
	assert_memory_equal(rsdp.data, "RSD PTR new", 11);
}

static void old_rsdp_alone(void **state)
{
	(void)state;
	map();
	tag(MB2_ACPI_OLD, "RSD PTR old.........", 20);
	assert_null(parse());
	assert_int_equal(rsdp.len, 20);
	assert_int_equal(bi.bundle_len, 0);
	assert_string_equal(bi.loader, "(a loader without a name)");
}

static void efi_map_where_there_is_no_other(void **state)
{
	struct { u32 size, version; struct { u32 type, pad; u64 base, virt, pages, attribute; } d; } body = {
		40, 1, { 7, 0, 0x100000, 0, 256, 8 }
	};

	(void)state;
	tag(MB2_EFI_MMAP, &body, sizeof(body));
	assert_null(parse());
	assert_int_equal(bi.nr_ranges, 1);
	assert_int_equal(bi.ranges[0].len, 0x100000);
	reset(NULL);
	tag(MB2_EFI_MMAP, &body, sizeof(body));
	map();
	assert_null(parse());
	assert_int_equal(bi.nr_ranges, 2); /* the loader's own map counts */
}

static void no_map(void **state)
{
	(void)state;
	text(MB2_CMDLINE, "x");
	assert_string_equal(parse(), "there is no memory map");
}

static void no_end(void **state)
{
	(void)state;
	map();
	assert_string_equal(parse_len(used, used), "the end tag is missing");
}

static void wrong_total(void **state)
{
	(void)state;
	map();
	assert_null(parse());
	assert_string_equal(parse_len(used, used + 1), "the information's total size is wrong");
	assert_string_equal(parse_len(used, 0xffffffff), "the information's total size is wrong");
	assert_string_equal(parse_len(used, 7), "the information's total size is wrong");
	assert_non_null(parse_len(4, 4));
	assert_non_null(parse_len(8, 8));
}

/* Cut anywhere, the information is refused (the end tag is gone), and nothing behind it is read. */
static void cut_anywhere(void **state)
{
	(void)state;
	text(MB2_CMDLINE, "a=1 b");
	module(0x200000, 0x200123);
	map();
	tag(MB2_ACPI_NEW, "RSD PTR new.........................", 36);
	assert_null(parse());
	for (u32 len = 0; len < used - 8; len++)
		assert_non_null(parse_len(len, len));
}

static void tag_sizes(void **state)
{
	static const u32 sizes[] = { 0, 7, 0x1000, 0x7fffffff, 0xffffffff };

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(sizes); i++) {
		reset(NULL);
		map();
		tag_sized(MB2_CMDLINE, "abc", 4, sizes[i]);
		assert_string_equal(parse(), "a tag reaches beyond the information");
	}
	for (u32 type = 1; type < 22; type++) {
		static const u32 looked_at = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 6 | 1 << 14 | 1 << 15 | 1 << 17;

		reset(NULL);
		map();
		tag(type, "", 0);
		if (looked_at >> type & 1)
			assert_string_equal(parse(), "a tag is shorter than its type needs");
		else
			assert_null(parse());
	}
}

static void map_shapes(void **state)
{
	static const u32 sizes[] = { 0, 8, 23, 25, 28, 32, 0xfffffff8 };

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(sizes); i++) {
		reset(NULL);
		map_sized(sizes[i]);
		assert_string_equal(parse(), "the memory map's entry size is wrong");
	}
	reset(NULL);
	map_sized(48); /* a later version with longer entries: one of them */
	assert_null(parse());
	assert_int_equal(bi.nr_ranges, 1);
}

static void strings(void **state)
{
	char longest[BOOTINFO_MAX_CMDLINE + 1];

	(void)state;
	memset(longest, 'x', sizeof(longest));
	longest[BOOTINFO_MAX_CMDLINE - 1] = '\0';
	map();
	text(MB2_CMDLINE, longest);
	assert_null(parse());
	assert_string_equal(bi.cmdline, longest);

	reset(NULL);
	longest[BOOTINFO_MAX_CMDLINE - 1] = 'x';
	longest[BOOTINFO_MAX_CMDLINE] = '\0';
	map();
	text(MB2_CMDLINE, longest);
	assert_string_equal(parse(), "the command line is longer than 255 bytes");

	reset(NULL);
	map();
	tag(MB2_CMDLINE, "no end", 6); /* not terminated inside its tag */
	assert_non_null(parse());

	reset(NULL);
	map();
	text(MB2_LOADER_NAME, longest);
	assert_null(parse());
	assert_string_equal(bi.loader, "(a loader with a long name)");
}

static void modules(void **state)
{
	(void)state;
	map();
	module(0x200000, 0x200000);
	assert_string_equal(parse(), "a module is empty");
	reset(NULL);
	map();
	module(0x200000, 0x1fffff);
	assert_string_equal(parse(), "a module is empty");
	reset(NULL);
	map();
	module(0xf0000000, 0xf0000010);
	assert_string_equal(parse(), "the bundle does not lie in RAM");
}

static void too_many_ranges(void **state)
{
	struct { u32 entry_size, version; struct mb2_mmap_entry e[BOOTINFO_MAX_RANGES + 1]; } body = {
		sizeof(struct mb2_mmap_entry), 0, { { 0 } }
	};

	(void)state;
	for (u32 i = 0; i <= BOOTINFO_MAX_RANGES; i++)
		body.e[i] = (struct mb2_mmap_entry){ i * 0x2000ull, 0x1000, MB2_MEM_RAM, 0 };
	tag(MB2_MMAP, &body, sizeof(body));
	assert_string_equal(parse(), "the memory map has too many ranges");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(takes_everything, reset),
		cmocka_unit_test_setup(old_rsdp_alone, reset),
		cmocka_unit_test_setup(efi_map_where_there_is_no_other, reset),
		cmocka_unit_test_setup(no_map, reset),
		cmocka_unit_test_setup(no_end, reset),
		cmocka_unit_test_setup(wrong_total, reset),
		cmocka_unit_test_setup(cut_anywhere, reset),
		cmocka_unit_test_setup(tag_sizes, reset),
		cmocka_unit_test_setup(map_shapes, reset),
		cmocka_unit_test_setup(strings, reset),
		cmocka_unit_test_setup(modules, reset),
		cmocka_unit_test_setup(too_many_ranges, reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
