/*
 * core/ptab.c: against a model that knows only pages, with memory that runs out at every possible moment, and with a
 * reader that sees nothing but flushed cache lines.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/errno.h"
#include "core/ptab.h"
#include "core/x86.h"

#define F_READ BIT(0)
#define F_WRITE BIT(1)
#define F_SOFT BIT(52)
#define F_PS BIT(7)

static const struct ptab_fmt fmt = {
	.name = "test",
	.present = BITS(2, 0),
	.page_size = F_PS,
	.table_flags = BITS(2, 0),
	.addr_mask = BITS(51, 12),
};

/* ---- memory: every page with the copy that a reader without snooping would see ---- */

u64 host_direct_map_base; /* physical addresses are the test's own */
#define MAX_PAGES 8192
static struct { u8 *page, *seen; } memory[MAX_PAGES];
static u32 nr_memory;
static s64 allocs_left; /* then there is no more memory; negative: no limit */
static struct mem_owner owner = { .name = "test" };

void *pages_alloc(struct mem_owner *who, unsigned order)
{
	assert_int_equal(order, 0);
	if (allocs_left == 0)
		return NULL;
	allocs_left -= allocs_left > 0;
	assert_true(nr_memory < MAX_PAGES);
	u8 *p = aligned_alloc(PAGE_SIZE, PAGE_SIZE), *seen = malloc(PAGE_SIZE);
	memset(p, 0, PAGE_SIZE);
	memset(seen, 0xaa, PAGE_SIZE);
	memory[nr_memory].page = p;
	memory[nr_memory++].seen = seen;
	who->pages++;
	return p;
}

static u32 memory_find(const void *p)
{
	for (u32 i = nr_memory; i-- > 0;)
		if (memory[i].page == (const u8 *)ALIGN_DOWN((u64)p, PAGE_SIZE))
			return i;
	fail_msg("%p is no table page", p);
	return 0;
}

void pages_free(struct mem_owner *who, void *p, unsigned order)
{
	u32 i = memory_find(p);

	assert_int_equal(order, 0);
	free(memory[i].page);
	free(memory[i].seen);
	memory[i] = memory[--nr_memory];
	who->pages--;
}

void clflush(const volatile void *p)
{
	u32 i = memory_find((const void *)p);
	u64 at = ALIGN_DOWN((u64)p, 64) - (u64)memory[i].page;

	memcpy(memory[i].seen + at, memory[i].page + at, 64);
}

static void expect_all_flushed(void)
{
	for (u32 i = 0; i < nr_memory; i++)
		assert_memory_equal(memory[i].page, memory[i].seen, PAGE_SIZE);
}

static struct ptab pt;

static void start_as(u8 levels, u8 max_leaf, bool flush)
{
	allocs_left = -1;
	assert_int_equal(ptab_init(&pt, &fmt, levels, max_leaf, flush, &owner), 0);
}

static int start(void **state)
{
	(void)state;
	start_as(4, 3, false);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	allocs_left = -1;
	ptab_destroy(&pt);
	assert_int_equal(owner.pages, 0);
	assert_int_equal(ptab_pages(&pt), 0);
	return 0;
}

static void expect_leaf(u64 va, u64 pa, u64 flags, u8 level)
{
	struct ptab_leaf leaf;

	assert_true(ptab_walk(&pt, va, &leaf));
	assert_int_equal(leaf.pa.v, pa);
	assert_int_equal(leaf.flags, flags);
	assert_int_equal(leaf.level, level);
	assert_int_equal(leaf.size, PAGE_SIZE << (9 * (level - 1)));
}

static void expect_hole(u64 va, u64 span)
{
	struct ptab_leaf leaf;

	assert_false(ptab_walk(&pt, va, &leaf));
	assert_int_equal(leaf.level, 0);
	assert_int_equal(leaf.size, span);
}

/* ---- tests ---- */

static void largest_leaves_that_fit(void **state)
{
	(void)state;
	/* 4 KiB up to 2 MiB, 2 MiB up to 1 GiB, 1 GiB, then the same downwards. */
	u64 va = SIZE_1G - SIZE_2M - PAGE_SIZE, pa = 8 * SIZE_1G + va, len = 2 * (SIZE_2M + PAGE_SIZE) + SIZE_1G;

	assert_int_equal(ptab_map(&pt, va, HPA(pa), len, F_READ), 0);
	expect_leaf(va + 5, pa + 5, F_READ, 1);
	expect_leaf(va + PAGE_SIZE + 12345, pa + PAGE_SIZE + 12345, F_READ, 2);
	expect_leaf(SIZE_1G + 0x12345678, 9 * SIZE_1G + 0x12345678, F_READ, 3);
	expect_leaf(va + len - PAGE_SIZE - 1, pa + len - PAGE_SIZE - 1, F_READ, 2);
	expect_leaf(va + len - 1, pa + len - 1, F_READ, 1);
	expect_hole(va - 1, PAGE_SIZE);
	expect_hole(va + len, PAGE_SIZE);
	expect_hole(4 * SIZE_1G, SIZE_1G);
	expect_hole(1024 * SIZE_1G, 512 * SIZE_1G);
	assert_int_equal(ptab_pages(&pt), owner.pages);
	assert_int_equal(owner.pages, 6); /* root, one of level 3, two each of levels 2 and 1 */
}

static void physical_alignment_counts_too(void **state)
{
	(void)state;
	assert_int_equal(ptab_map(&pt, SIZE_1G, HPA(SIZE_1G + SIZE_2M), SIZE_1G, F_READ), 0);
	expect_leaf(SIZE_1G, SIZE_1G + SIZE_2M, F_READ, 2);
	assert_int_equal(ptab_map(&pt, 4 * SIZE_1G, HPA(PAGE_SIZE), SIZE_2M, F_READ), 0);
	expect_leaf(4 * SIZE_1G, PAGE_SIZE, F_READ, 1);
}

static void max_leaf_is_kept(void **state)
{
	(void)state;
	for (u8 max = 1; max <= 3; max++) {
		stop(NULL);
		start_as(4, max, false);
		assert_int_equal(ptab_map(&pt, SIZE_1G, HPA(0), SIZE_1G, F_READ), 0);
		expect_leaf(SIZE_1G + 0x3fffffff, 0x3fffffff, F_READ, max);
	}
}

static void bad_arguments(void **state)
{
	(void)state;
	for (u8 levels = 3; levels <= 5; levels++) {
		u64 reach = 512 * (PAGE_SIZE << (9 * (levels - 1)));

		stop(NULL);
		start_as(levels, 3, false);
		assert_int_equal(ptab_map(&pt, 1, HPA(0), PAGE_SIZE, F_READ), -EINVAL);
		assert_int_equal(ptab_map(&pt, 0, HPA(0x800), PAGE_SIZE, F_READ), -EINVAL);
		assert_int_equal(ptab_map(&pt, 0, HPA(0), 0x800, F_READ), -EINVAL);
		assert_int_equal(ptab_map(&pt, reach, HPA(0), PAGE_SIZE, F_READ), -EINVAL);
		assert_int_equal(ptab_map(&pt, 2 * reach, HPA(0), PAGE_SIZE, F_READ), -EINVAL);
		assert_int_equal(ptab_map(&pt, reach - PAGE_SIZE, HPA(0), 2 * PAGE_SIZE, F_READ), -EINVAL);
		assert_int_equal(ptab_map(&pt, PAGE_SIZE, HPA(0), ~PAGE_MASK, F_READ), -EINVAL);
		assert_int_equal(ptab_map(&pt, 0, HPA(BIT(52)), PAGE_SIZE, F_READ), -EINVAL);
		assert_int_equal(ptab_map(&pt, 0, HPA(BIT(52) - PAGE_SIZE), 2 * PAGE_SIZE, F_READ), -EINVAL);
		assert_int_equal(ptab_map(&pt, 0, HPA(0), PAGE_SIZE, 0), -EINVAL);
		assert_int_equal(ptab_map(&pt, 0, HPA(0), PAGE_SIZE, F_READ | BIT(20)), -EINVAL);
		assert_int_equal(ptab_protect(&pt, 0, PAGE_SIZE, F_SOFT), -EINVAL);
		assert_int_equal(ptab_unmap(&pt, 0, reach + PAGE_SIZE), -EINVAL);
		assert_int_equal(owner.pages, 1); /* nothing was touched */
		expect_hole(reach, 0);
		assert_int_equal(ptab_map(&pt, reach - PAGE_SIZE, HPA(0x5000), PAGE_SIZE, F_READ), 0);
		expect_leaf(reach - 1, 0x5fff, F_READ, 1);
		assert_int_equal(ptab_unmap(&pt, 0, reach), 0);
		expect_hole(reach - 1, PAGE_SIZE);
		assert_int_equal(ptab_map(&pt, 0, HPA(0), 0, F_READ), 0);
		assert_int_equal(ptab_unmap(&pt, 0, 0), 0);
	}
}

static void mapping_twice_changes_nothing(void **state)
{
	(void)state;
	assert_int_equal(ptab_map(&pt, SIZE_2M, HPA(SIZE_1G), SIZE_2M, F_READ), 0);
	u64 pages = owner.pages;
	/* The last page of the range meets the first of the leaf. */
	assert_int_equal(ptab_map(&pt, PAGE_SIZE, HPA(0), SIZE_2M, F_WRITE), -EEXIST);
	assert_int_equal(ptab_map(&pt, SIZE_2M + 5 * PAGE_SIZE, HPA(0), PAGE_SIZE, F_WRITE), -EEXIST);
	assert_int_equal(ptab_map(&pt, 0, HPA(0), SIZE_1G, F_WRITE), -EEXIST);
	assert_int_equal(owner.pages, pages);
	expect_hole(PAGE_SIZE, SIZE_2M);
	expect_leaf(SIZE_2M, SIZE_1G, F_READ, 2);
	assert_int_equal(ptab_map(&pt, PAGE_SIZE, HPA(0), SIZE_2M - PAGE_SIZE, F_WRITE), 0);
}

static void unmap_splits_and_keeps_the_rest(void **state)
{
	(void)state;
	assert_int_equal(ptab_map(&pt, SIZE_1G, HPA(3 * SIZE_1G), SIZE_1G, F_READ | F_SOFT), 0);
	assert_int_equal(ptab_unmap(&pt, SIZE_1G + SIZE_2M + PAGE_SIZE, PAGE_SIZE), 0);
	expect_hole(SIZE_1G + SIZE_2M + PAGE_SIZE, PAGE_SIZE);
	expect_leaf(SIZE_1G + SIZE_2M, 3 * SIZE_1G + SIZE_2M, F_READ | F_SOFT, 1);
	expect_leaf(SIZE_1G + SIZE_2M + 2 * PAGE_SIZE, 3 * SIZE_1G + SIZE_2M + 2 * PAGE_SIZE, F_READ | F_SOFT, 1);
	expect_leaf(SIZE_1G + 3 * SIZE_2M, 3 * SIZE_1G + 3 * SIZE_2M, F_READ | F_SOFT, 2);
	assert_int_equal(ptab_unmap(&pt, 0, 8 * SIZE_1G), 0);
	expect_hole(SIZE_1G, PAGE_SIZE << 9);
	/* The tables are still there, and are used again instead of a large leaf in their place. */
	assert_int_equal(ptab_map(&pt, SIZE_1G, HPA(0), SIZE_1G, F_WRITE), 0);
	expect_leaf(SIZE_1G, 0, F_WRITE, 2);
	expect_leaf(SIZE_1G + SIZE_2M, SIZE_2M, F_WRITE, 1);
	assert_int_equal(ptab_pages(&pt), owner.pages);
}

static void protect_only_the_range(void **state)
{
	(void)state;
	assert_int_equal(ptab_map(&pt, 0, HPA(SIZE_1G), 2 * SIZE_2M, F_READ | F_WRITE), 0);
	assert_int_equal(ptab_protect(&pt, SIZE_2M - PAGE_SIZE, 2 * PAGE_SIZE, F_READ), 0);
	expect_leaf(SIZE_2M - PAGE_SIZE - 1, SIZE_1G + SIZE_2M - PAGE_SIZE - 1, F_READ | F_WRITE, 1);
	expect_leaf(SIZE_2M - 1, SIZE_1G + SIZE_2M - 1, F_READ, 1);
	expect_leaf(SIZE_2M + PAGE_SIZE - 1, SIZE_1G + SIZE_2M + PAGE_SIZE - 1, F_READ, 1);
	expect_leaf(SIZE_2M + PAGE_SIZE, SIZE_1G + SIZE_2M + PAGE_SIZE, F_READ | F_WRITE, 1);
	/* Whole leaves are not split, holes stay holes. */
	assert_int_equal(ptab_map(&pt, SIZE_1G, HPA(0), SIZE_2M, F_READ), 0);
	assert_int_equal(ptab_protect(&pt, SIZE_1G, SIZE_1G, F_WRITE), 0);
	expect_leaf(SIZE_1G, 0, F_WRITE, 2);
	expect_hole(SIZE_1G + SIZE_2M, SIZE_2M);
}

static void no_memory_at_any_moment(void **state)
{
	(void)state;
	u64 va = 512 * SIZE_1G - SIZE_2M - 2 * PAGE_SIZE, len = 2 * SIZE_2M + 4 * PAGE_SIZE;
	int err = -ENOMEM;

	for (int n = 0; err; n++) {
		stop(NULL);
		start_as(4, 3, true);
		allocs_left = n;
		err = ptab_map(&pt, va, HPA(va), len, F_READ);
		assert_true(err == 0 ? n > 0 : err == -ENOMEM);
		assert_int_equal(ptab_pages(&pt), owner.pages);
		expect_all_flushed();
		for (u64 at = va; err && at < va + len; at += PAGE_SIZE) {
			struct ptab_leaf leaf;
			assert_false(ptab_walk(&pt, at, &leaf));
		}
		assert_true(n < 20);
	}
	expect_leaf(va + len - 1, va + len - 1, F_READ, 1);
}

static void no_memory_for_a_split(void **state)
{
	(void)state;
	for (int n = 0; n < 4; n++) { /* two splits at each end */
		stop(NULL);
		start_as(4, 3, false);
		assert_int_equal(ptab_map(&pt, 0, HPA(0), 2 * SIZE_1G, F_READ), 0);
		allocs_left = n;
		assert_int_equal(ptab_unmap(&pt, SIZE_1G - PAGE_SIZE, 2 * PAGE_SIZE), -ENOMEM);
		allocs_left = n;
		assert_int_equal(ptab_protect(&pt, SIZE_1G - PAGE_SIZE, 2 * PAGE_SIZE, F_WRITE), n < 2 ? -ENOMEM : 0);
		for (u64 at = 0; at < 2 * SIZE_1G; at += SIZE_2M - PAGE_SIZE) {
			struct ptab_leaf leaf;
			assert_true(ptab_walk(&pt, at, &leaf));
			assert_int_equal(leaf.pa.v, at);
		}
	}
	allocs_left = 4;
	stop(NULL);
	start_as(4, 3, false);
	assert_int_equal(ptab_map(&pt, 0, HPA(0), 2 * SIZE_1G, F_READ), 0);
	allocs_left = 4;
	assert_int_equal(ptab_unmap(&pt, SIZE_1G - PAGE_SIZE, 2 * PAGE_SIZE), 0);
	expect_hole(SIZE_1G - 1, PAGE_SIZE);
	expect_hole(SIZE_1G, PAGE_SIZE);
}

static void no_memory_for_the_root(void **state)
{
	(void)state;
	stop(NULL);
	allocs_left = 0;
	assert_int_equal(ptab_init(&pt, &fmt, 4, 3, false, &owner), -ENOMEM);
}

/* ---- random operations against a flat model ---- */

#define MODEL_BASE_VA (SIZE_1G - 3 * SIZE_2M) /* around a 1 GiB boundary */
#define MODEL_PAGES (512 * 6)
static struct { u64 pa, flags; } model[MODEL_PAGES];

static bool model_used(u64 first, u64 n)
{
	for (u64 i = first; i < first + n; i++)
		if (model[i].flags)
			return true;
	return false;
}

static void model_check(void)
{
	u64 hole_end = 0;

	for (u64 i = 0; i < MODEL_PAGES; i++) {
		u64 va = MODEL_BASE_VA + i * PAGE_SIZE;
		struct ptab_leaf leaf;
		bool there = ptab_walk(&pt, va, &leaf);

		if (there != (model[i].flags != 0))
			fail_msg("page %lu is %smapped", i, there ? "" : "not ");
		if (there && (leaf.pa.v != model[i].pa || leaf.flags != model[i].flags))
			fail_msg("page %lu: %lx %lx instead of %lx %lx", i, leaf.pa.v, leaf.flags, model[i].pa, model[i].flags);
		/* What is promised to be a hole around it is one. */
		if (there && va < hole_end)
			fail_msg("page %lu lies in a hole that ends at %lx", i, hole_end);
		if (!there)
			hole_end = ALIGN_DOWN(va, leaf.size) + leaf.size;
	}
}

static void random_step(void)
{
	u64 granule = rand() % 3 ? 1 : 512, first = (u64)rand() % MODEL_PAGES / granule * granule;
	u64 wish = (1 + (u64)rand() % (rand() % 2 ? 8 : 1500)) * granule, n = MIN(wish, MODEL_PAGES - first);
	u64 va = MODEL_BASE_VA + first * PAGE_SIZE, flags = 1 + (u64)rand() % 7;
	u64 pa = va + (rand() % 2 ? 0 : (u64)(rand() % 4) * SIZE_1G + (u64)(rand() % 4) * PAGE_SIZE);

	switch (rand() % 3) {
	case 0:
		assert_int_equal(ptab_map(&pt, va, HPA(pa), n * PAGE_SIZE, flags), model_used(first, n) ? -EEXIST : 0);
		if (model_used(first, n))
			return;
		for (u64 i = 0; i < n; i++) {
			model[first + i].pa = pa + i * PAGE_SIZE;
			model[first + i].flags = flags;
		}
		return;
	case 1:
		assert_int_equal(ptab_unmap(&pt, va, n * PAGE_SIZE), 0);
		for (u64 i = 0; i < n; i++)
			model[first + i].flags = 0;
		return;
	default:
		assert_int_equal(ptab_protect(&pt, va, n * PAGE_SIZE, flags), 0);
		for (u64 i = 0; i < n; i++)
			model[first + i].flags = model[first + i].flags ? flags : 0;
	}
}

static void random_operations(void **state)
{
	(void)state;
	srand(4711);
	for (int round = 0; round < 6; round++) {
		stop(NULL);
		start_as(4, 1 + round % 3, true);
		memset(model, 0, sizeof(model));
		for (int step = 0; step < 60; step++) {
			random_step();
			model_check();
			expect_all_flushed();
			assert_int_equal(ptab_pages(&pt), owner.pages);
		}
	}
}

/* ---- one leaf of a known size ---- */

static void one_leaf(void **state)
{
	struct ptab_last last = { 0 };
	u32 room = 10;

	(void)state;
	stop(NULL);
	start_as(4, 3, true);
	assert_false(ptab_map_last(&pt, 0, HPA(0x5000), F_READ, &last)); /* none yet */
	assert_int_equal(ptab_map_leaf(&pt, SIZE_2M + PAGE_SIZE, HPA(0x5000), 1, F_READ | F_SOFT, &room, &last), 0);
	assert_int_equal(room, 7);
	expect_leaf(SIZE_2M + PAGE_SIZE, 0x5000, F_READ | F_SOFT, 1);
	assert_int_equal(ptab_map_leaf(&pt, 2 * SIZE_2M - PAGE_SIZE, HPA(0x6000), 1, F_READ, &room, &last), 0);
	assert_int_equal(room, 7);
	assert_int_equal(ptab_map_leaf(&pt, 0, HPA(SIZE_2M), 2, F_WRITE, &room, &last), 0);
	expect_leaf(12345, SIZE_2M + 12345, F_WRITE, 2);
	assert_int_equal(ptab_map_leaf(&pt, SIZE_1G, HPA(SIZE_1G), 3, F_READ, &room, &last), 0);
	assert_int_equal(room, 7);
	expect_leaf(SIZE_1G + 5, SIZE_1G + 5, F_READ, 3);
	assert_int_equal(ptab_map_leaf(&pt, SIZE_2M + 3 * PAGE_SIZE, HPA(0x7000), 1, F_READ, &room, &last), 0);
	assert_int_equal(room, 7); /* the last table of 4 KiB leaves is remembered */
	expect_all_flushed();
	assert_int_equal(ptab_pages(&pt), owner.pages);
}

static void one_leaf_where_something_is(void **state)
{
	struct ptab_last last = { 0 };
	u32 room = 10;

	(void)state;
	assert_int_equal(ptab_map(&pt, 0, HPA(0), SIZE_2M, F_READ), 0);
	assert_int_equal(ptab_map(&pt, SIZE_2M, HPA(0), PAGE_SIZE, F_READ), 0);
	assert_int_equal(ptab_map_leaf(&pt, PAGE_SIZE, HPA(0), 1, F_WRITE, &room, &last), -EEXIST); /* a large page */
	assert_int_equal(ptab_map_leaf(&pt, 0, HPA(0), 2, F_WRITE, &room, &last), -EEXIST);
	assert_int_equal(ptab_map_leaf(&pt, SIZE_2M, HPA(0), 1, F_WRITE, &room, &last), -EEXIST);
	assert_int_equal(ptab_map_leaf(&pt, SIZE_2M, HPA(0), 2, F_WRITE, &room, &last), -EEXIST); /* a table */
	assert_int_equal(ptab_map_leaf(&pt, 0, HPA(0), 3, F_WRITE, &room, &last), -EEXIST);
	assert_int_equal(room, 10);
	expect_leaf(0, 0, F_READ, 2);
	expect_leaf(SIZE_2M, 0, F_READ, 1);
	assert_false(ptab_map_last(&pt, SIZE_2M, HPA(0x5000), F_WRITE, &last));
	assert_true(ptab_map_last(&pt, SIZE_2M + PAGE_SIZE, HPA(0x5000), F_WRITE, &last));
	expect_leaf(SIZE_2M + PAGE_SIZE, 0x5000, F_WRITE, 1);
	assert_false(ptab_map_last(&pt, 2 * SIZE_2M, HPA(0x5000), F_WRITE, &last)); /* another table's */
	expect_hole(2 * SIZE_2M, SIZE_2M);
}

static void one_leaf_without_room(void **state)
{
	struct ptab_last last = { 0 };
	u32 room = 2;

	(void)state;
	assert_int_equal(ptab_map_leaf(&pt, 0, HPA(0), 1, F_READ, &room, &last), -ENOMEM);
	assert_int_equal(room, 0);
	expect_hole(0, SIZE_2M);
	assert_int_equal(ptab_map_leaf(&pt, 0, HPA(0), 2, F_READ, &room, &last), 0); /* its tables are there */
	room = 5;
	allocs_left = 0;
	assert_int_equal(ptab_map_leaf(&pt, 512 * SIZE_1G, HPA(0), 1, F_READ, &room, &last), -ENOMEM);
	assert_int_equal(room, 5);
	assert_int_equal(ptab_pages(&pt), owner.pages);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, start, stop)
	const struct CMUnitTest tests[] = {
		TEST(largest_leaves_that_fit),
		TEST(physical_alignment_counts_too),
		TEST(max_leaf_is_kept),
		TEST(bad_arguments),
		TEST(mapping_twice_changes_nothing),
		TEST(unmap_splits_and_keeps_the_rest),
		TEST(protect_only_the_range),
		TEST(no_memory_at_any_moment),
		TEST(no_memory_for_a_split),
		TEST(no_memory_for_the_root),
		TEST(random_operations),
		TEST(one_leaf),
		TEST(one_leaf_where_something_is),
		TEST(one_leaf_without_room),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
