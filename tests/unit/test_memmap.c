/*
 * boot/memmap.c: whatever the order, overlap and alignment of the entries, the list is sorted, disjoint and page
 * aligned, and the more careful kind wins.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "boot/memmap.h"

static struct bootinfo bi;

static int reset(void **state)
{
	(void)state;
	memset(&bi, 0, sizeof(bi));
	return 0;
}

static void add(u64 base, u64 len, enum mem_kind kind)
{
	assert_true(memmap_add(&bi, base, len, kind));
}

static void expect(u32 i, u64 base, u64 end, enum mem_kind kind)
{
	assert_true(i < bi.nr_ranges);
	assert_int_equal(bi.ranges[i].base.v, base);
	assert_int_equal(bi.ranges[i].base.v + bi.ranges[i].len, end);
	assert_int_equal(bi.ranges[i].kind, kind);
}

static void sorts_and_merges(void **state)
{
	(void)state;
	add(0x300000, 0x100000, MEM_RAM);
	add(0x100000, 0x100000, MEM_RAM);
	add(0x200000, 0x100000, MEM_RAM);
	assert_int_equal(bi.nr_ranges, 1);
	expect(0, 0x100000, 0x400000, MEM_RAM);
	add(0x400000, 0x1000, MEM_NVS);
	assert_int_equal(bi.nr_ranges, 2);
}

static void careful_kind_wins_in_any_order(void **state)
{
	(void)state;
	add(0x1000, 0x4000, MEM_RAM);
	add(0x2000, 0x1000, MEM_RESERVED);
	add(0x0, 0x8000, MEM_RAM);
	assert_int_equal(bi.nr_ranges, 3);
	expect(0, 0, 0x2000, MEM_RAM);
	expect(1, 0x2000, 0x3000, MEM_RESERVED);
	expect(2, 0x3000, 0x8000, MEM_RAM);
	add(0x0, 0x10000, MEM_ACPI); /* above RAM, below reserved */
	expect(0, 0, 0x2000, MEM_ACPI);
	expect(1, 0x2000, 0x3000, MEM_RESERVED);
	expect(2, 0x3000, 0x10000, MEM_ACPI);
	add(0x0, 0x10000, MEM_BAD);
	assert_int_equal(bi.nr_ranges, 1);
	expect(0, 0, 0x10000, MEM_BAD);
}

static void ram_shrinks_others_grow_to_pages(void **state)
{
	(void)state;
	add(0x10, 0x9f000, MEM_RAM);
	expect(0, 0x1000, 0x9f000, MEM_RAM);
	add(0x9fc00, 0x400, MEM_RESERVED);
	expect(1, 0x9f000, 0xa0000, MEM_RESERVED);
	add(0x5010, 1, MEM_ACPI);
	expect(1, 0x5000, 0x6000, MEM_ACPI);
	reset(NULL);
	add(0x10, 0x1000, MEM_RAM); /* no whole page */
	add(0x5000, 0, MEM_RESERVED);
	assert_int_equal(bi.nr_ranges, 0);
}

static void drops_what_no_address_reaches(void **state)
{
	(void)state;
	add(~0ull - 0xfff, 0x1000, MEM_RESERVED);
	assert_int_equal(bi.nr_ranges, 0);
	add(0x1000, ~0ull, MEM_RAM);
	assert_int_equal(bi.nr_ranges, 1);
	expect(0, 0x1000, 1ull << 52, MEM_RAM);
	add((1ull << 52) - 0x1000, 0x5000, MEM_NVS);
	expect(1, (1ull << 52) - 0x1000, 1ull << 52, MEM_NVS);
}

static void says_when_full(void **state)
{
	(void)state;
	for (u64 i = 0; i < BOOTINFO_MAX_RANGES; i++)
		add(i * 0x2000, 0x1000, MEM_RAM);
	assert_false(memmap_add(&bi, 0x1000000, 0x1000, MEM_RAM));
}

static void every_order_gives_one_list(void **state)
{
	static const struct { u64 base, len; enum mem_kind kind; } in[5] = {
		{ 0x0, 0x20000, MEM_RAM }, { 0x8000, 0x2000, MEM_ACPI }, { 0x9000, 0x4000, MEM_RESERVED },
		{ 0x7000, 0x10000, MEM_NVS }, { 0xa000, 0x1000, MEM_BAD },
	};

	(void)state;
	for (u32 order = 0; order < 3125; order++) { /* all 5-digit numbers in base 5 that are permutations */
		u32 used = 0, n = order;

		reset(NULL);
		for (u32 i = 0; i < 5; i++, n /= 5) {
			used |= 1u << n % 5;
			add(in[n % 5].base, in[n % 5].len, in[n % 5].kind);
		}
		if (used != 0x1f)
			continue;
		assert_int_equal(bi.nr_ranges, 7);
		expect(0, 0x0, 0x7000, MEM_RAM);
		expect(1, 0x7000, 0x9000, MEM_NVS);
		expect(2, 0x9000, 0xa000, MEM_RESERVED);
		expect(3, 0xa000, 0xb000, MEM_BAD);
		expect(4, 0xb000, 0xd000, MEM_RESERVED);
		expect(5, 0xd000, 0x17000, MEM_NVS);
		expect(6, 0x17000, 0x20000, MEM_RAM);
	}
}

static void knows_ram(void **state)
{
	(void)state;
	add(0x100000, 0x100000, MEM_RAM);
	add(0x300000, 0x100000, MEM_ACPI);
	assert_true(memmap_is_ram(&bi, 0x100000, 0x100000));
	assert_true(memmap_is_ram(&bi, 0x1ffff0, 0x10));
	assert_false(memmap_is_ram(&bi, 0x1ffff0, 0x11));
	assert_false(memmap_is_ram(&bi, 0xfffff, 2));
	assert_false(memmap_is_ram(&bi, 0x300000, 1));
	assert_false(memmap_is_ram(&bi, 0x100000, ~0ull));
}

/* UEFI 2.10, Memory Type Usage after ExitBootServices(). */
static void efi_kinds(void **state)
{
	const u64 wb = 8;
	struct { struct efi_descriptor d; u64 more; } map[] = { /* a firmware's entries may be longer than we know */
		{ { .type = 7, .base = 0x0, .pages = 1, .attribute = wb }, 0 },
		{ { .type = 4, .base = 0x1000, .pages = 1, .attribute = wb }, 0 },
		{ { .type = 2, .base = 0x2000, .pages = 1, .attribute = wb }, 0 },
		{ { .type = 5, .base = 0x3000, .pages = 1, .attribute = wb }, 0 },  /* runtime code */
		{ { .type = 9, .base = 0x4000, .pages = 1, .attribute = wb }, 0 },
		{ { .type = 10, .base = 0x5000, .pages = 1, .attribute = wb }, 0 },
		{ { .type = 8, .base = 0x6000, .pages = 1, .attribute = wb }, 0 },
		{ { .type = 7, .base = 0x7000, .pages = 1, .attribute = 1 }, 0 },   /* uncached only */
		{ { .type = 0x80000000, .base = 0x8000, .pages = 1, .attribute = wb }, 0 },
		{ { .type = 7, .base = 0x9000, .pages = ~0ull, .attribute = wb }, 0 },
	};

	(void)state;
	assert_null(memmap_add_efi(&bi, map, sizeof(map), sizeof(map[0])));
	assert_int_equal(bi.nr_ranges, 7);
	expect(0, 0x0, 0x3000, MEM_RAM);
	expect(1, 0x3000, 0x4000, MEM_RESERVED);
	expect(2, 0x4000, 0x5000, MEM_ACPI);
	expect(3, 0x5000, 0x6000, MEM_NVS);
	expect(4, 0x6000, 0x7000, MEM_BAD);
	expect(5, 0x7000, 0x9000, MEM_RESERVED);
	expect(6, 0x9000, 1ull << 52, MEM_RAM);
}

static void efi_map_of_wrong_shape(void **state)
{
	struct efi_descriptor map[3] = { 0 };

	(void)state;
	assert_non_null(memmap_add_efi(&bi, map, sizeof(map), 0));
	assert_non_null(memmap_add_efi(&bi, map, sizeof(map), 32));
	assert_non_null(memmap_add_efi(&bi, map, sizeof(map), 44));
	assert_non_null(memmap_add_efi(&bi, map, sizeof(map) - 8, sizeof(map[0])));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(sorts_and_merges, reset),
		cmocka_unit_test_setup(careful_kind_wins_in_any_order, reset),
		cmocka_unit_test_setup(ram_shrinks_others_grow_to_pages, reset),
		cmocka_unit_test_setup(drops_what_no_address_reaches, reset),
		cmocka_unit_test_setup(says_when_full, reset),
		cmocka_unit_test_setup(every_order_gives_one_list, reset),
		cmocka_unit_test_setup(knows_ram, reset),
		cmocka_unit_test_setup(efi_kinds, reset),
		cmocka_unit_test_setup(efi_map_of_wrong_shape, reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
