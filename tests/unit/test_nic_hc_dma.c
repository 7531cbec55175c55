/*
 * HC_NIC_DMA_MAP and _UNMAP: arguments, translation, the book of mappings, roll-back of what failed half-way.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/nic_lower.h"

/* ---- memory ---- */

static void dma_arguments(void **state)
{
	static const struct { u64 iova, gpa, len; u32 perm; int want; } bad[] = {
		{ 0, 0, 0, RW, -EINVAL }, { 1, 0, PAGE_SIZE, RW, -EINVAL }, { 0, 1, PAGE_SIZE, RW, -EINVAL }, { 0, 0, 100, RW, -EINVAL },
		{ 0, 0, PAGE_SIZE, 0, -EINVAL }, { 0, 0, PAGE_SIZE, 4, -EINVAL }, { ~0xfffull, 0, PAGE_SIZE, RW, -EINVAL },
		{ 0, 0, ~0xfffull, RW, -EFAULT }, { PAGE_SIZE, 0, ~0xfffull, RW, -EINVAL }, { 0, 1ull << 63, 1ull << 63, RW, -EFAULT },
		{ 0, 2 * HALF, PAGE_SIZE, RW, -EFAULT }, { 0, 2 * HALF - PAGE_SIZE, 2 * PAGE_SIZE, RW, -EFAULT },
		{ 0, ~0xfffull, PAGE_SIZE, RW, -EFAULT }, { 0, BIT(47), PAGE_SIZE, RW, -EFAULT },
	};
	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(bad); i++) {
		record_dma(0, bad[i].iova, bad[i].gpa, bad[i].len, bad[i].perm);
		assert_int_equal(hc(0, HC_NIC_DMA_MAP, (u64)handle, 1, 0), bad[i].want);
	}
	record_dma(0, 0, 0, PAGE_SIZE, RW);
	((struct nest_nic_dma *)record)[0].reserved = 1;
	assert_int_equal(hc(0, HC_NIC_DMA_MAP, (u64)handle, 1, 0), -EINVAL);
	assert_int_equal(hc(0, HC_NIC_DMA_MAP, (u64)handle, 0, 0), -EINVAL);
	assert_int_equal(hc(0, HC_NIC_DMA_MAP, (u64)handle, NEST_DMA_MAX + 1, 0), -EINVAL);
	assert_int_equal(hc(0, HC_NIC_DMA_MAP, (u64)handle, ~0ull, 0), -EINVAL);
	assert_int_equal(hc(0, HC_NIC_DMA_MAP, (u64)handle, BIT(32) | 1, 0), -EINVAL);
	assert_int_equal(low[0].calls[OP_DMA_MAP], 0);
	assert_int_equal(vm[0]->ports[0]->dma->nr, 0);
}

static void a_range_may_lie_in_several_places(void **state)
{
	u64 low_end = (u64)fake_vm_ram(vm[0], HALF - PAGE_SIZE), high = (u64)fake_vm_ram(vm[0], HALF);
	(void)state;
	assert_int_equal(map_one(0x10000, HALF - PAGE_SIZE, 3 * PAGE_SIZE), 0);
	assert_int_equal(low[0].calls[OP_DMA_MAP], 1);
	assert_int_equal(low[0].nr, 2);
	assert_int_equal(low[0].map[0].iova, 0x10000);
	assert_int_equal(low[0].map[0].hpa, low_end);
	assert_int_equal(low[0].map[0].len, PAGE_SIZE);
	assert_int_equal(low[0].map[1].iova, 0x11000);
	assert_int_equal(low[0].map[1].hpa, high);
	assert_int_equal(low[0].map[1].len, 2 * PAGE_SIZE);
	assert_int_equal(unmap_one(0x10000, 3 * PAGE_SIZE), 0);
	assert_int_equal(low[0].nr, 0);
	/* many large leaves that are neighbours for us, too, are one piece */
	assert_int_equal(map_one(0, 0, HALF), 0);
	assert_int_equal(low[0].nr, 1);
	assert_int_equal(low[0].map[0].len, HALF);
}

static void maps_do_not_overlap(void **state)
{
	(void)state;
	assert_int_equal(map_one(0x10000, 0, 4 * PAGE_SIZE), 0);
	assert_int_equal(map_one(0x10000, 0, PAGE_SIZE), -EEXIST);
	assert_int_equal(map_one(0xf000, 0, 2 * PAGE_SIZE), -EEXIST);
	assert_int_equal(map_one(0x13000, 0, 2 * PAGE_SIZE), -EEXIST);
	assert_int_equal(map_one(0, 0, 64 * PAGE_SIZE), -EEXIST);
	record_dma(0, 0x40000, 0, 2 * PAGE_SIZE, RW);
	record_dma(1, 0x41000, 0, PAGE_SIZE, RW);
	assert_int_equal(hc(0, HC_NIC_DMA_MAP, (u64)handle, 2, 0), -EEXIST);
	assert_int_equal(map_one(0x14000, 0, PAGE_SIZE), 0); /* touching is not overlapping */
	assert_int_equal(map_one(0xf000, 0, PAGE_SIZE), 0);
	assert_int_equal(vm[0]->ports[0]->dma->nr, 1); /* and the book joins them */
}

static void unmaps_are_exact(void **state)
{
	(void)state;
	assert_int_equal(map_one(0x10000, 0, 4 * PAGE_SIZE), 0);
	assert_int_equal(unmap_one(0xf000, PAGE_SIZE), -EINVAL);
	assert_int_equal(unmap_one(0x10000, 5 * PAGE_SIZE), -EINVAL);
	assert_int_equal(unmap_one(0x10000, 0), -EINVAL);
	record_dma(0, 0x10000, 0, PAGE_SIZE, 0);
	record_dma(1, 0x10000, 0, PAGE_SIZE, 0);
	assert_int_equal(hc(0, HC_NIC_DMA_UNMAP, (u64)handle, 2, 0), -EINVAL); /* twice in one list */
	assert_int_equal(low[0].calls[OP_DMA_UNMAP], 0);
	assert_int_equal(unmap_one(0x11000, PAGE_SIZE), 0); /* out of the middle */
	assert_int_equal(vm[0]->ports[0]->dma->nr, 2);
	assert_int_equal(unmap_one(0x11000, PAGE_SIZE), -EINVAL);
	assert_int_equal(unmap_one(0x10000, PAGE_SIZE), 0);
	assert_int_equal(unmap_one(0x13000, PAGE_SIZE), 0);
	assert_int_equal(unmap_one(0x12000, PAGE_SIZE), 0);
	assert_int_equal(vm[0]->ports[0]->dma->nr, 0);
	assert_int_equal(low[0].nr, 0);
	low[0].fail[OP_DMA_UNMAP] = -EIO;
	assert_int_equal(map_one(0x10000, 0, PAGE_SIZE), 0);
	assert_int_equal(unmap_one(0x10000, PAGE_SIZE), -EIO);
	assert_int_equal(vm[0]->ports[0]->dma->nr, 1); /* still mapped, as far as anybody knows */
}

/* Against a page-by-page picture: 20,000 random maps and unmaps. */
static void book_is_right(void **state)
{
	static u8 model[256];
	const struct nic_dma_book *b = vm[0]->ports[0]->dma;
	(void)state;
	memset(model, 0, sizeof(model));
	srand(1);
	for (u32 i = 0; i < 20000; i++) {
		u32 at = (u32)rand() % 256, n = 1 + (u32)rand() % 8, used = 0;
		if (at + n > 256)
			continue;
		for (u32 k = at; k < at + n; k++)
			used += model[k];
		bool map = rand() & 1;
		s64 want = map ? (used ? -EEXIST : 0) : (used == n ? 0 : -EINVAL);
		assert_int_equal(map ? map_one(at * PAGE_SIZE, 0, n * PAGE_SIZE) : unmap_one(at * PAGE_SIZE, n * PAGE_SIZE), want);
		if (!want)
			memset(model + at, map, n);
		u32 spans = 0;
		for (u32 k = 0; k < 256; k++)
			spans += model[k] && (!k || !model[k - 1]);
		assert_int_equal(b->nr, spans);
	}
}

static void book_is_bounded(void **state)
{
	u32 done = 0;
	s64 r;
	(void)state;
	for (u64 iova = 0; !(r = map_one(iova, 0, PAGE_SIZE)) && done < 10000; iova += 2 * PAGE_SIZE) {
		done++;
		low[0].nr = 0;
	}
	assert_int_equal(r, -ENOMEM);
	assert_int_equal(done, DMA_BOOK_MAX);
	assert_int_equal(vm[0]->ports[0]->dma->nr, DMA_BOOK_MAX);
}

/* A list of many pieces goes down in several calls; whichever fails, nothing of it stays. */
static void a_failing_map_is_undone(void **state)
{
	(void)state;
	for (u32 i = 0; i < NEST_DMA_MAX; i++) /* each lies in two places: 256 pieces, at least two calls */
		record_dma(i, i * 0x10000ull, HALF - PAGE_SIZE, 2 * PAGE_SIZE, RW);
	for (u32 after = 0; after < 2; after++) {
		low[0].fail[OP_DMA_MAP] = -ENOMEM;
		low[0].fail_after[OP_DMA_MAP] = after;
		assert_int_equal(hc(0, HC_NIC_DMA_MAP, (u64)handle, NEST_DMA_MAX, 0), -ENOMEM);
		assert_int_equal(low[0].nr, 0);
		assert_int_equal(vm[0]->ports[0]->dma->nr, 0);
	}
	assert_int_equal(hc(0, HC_NIC_DMA_MAP, (u64)handle, NEST_DMA_MAX, 0), 0);
	assert_int_equal(low[0].nr, 2 * NEST_DMA_MAX);
	assert_int_equal(vm[0]->ports[0]->dma->nr, NEST_DMA_MAX);
	/* a bad last range is found before the first is mapped */
	u32 calls = low[0].calls[OP_DMA_MAP];
	for (u32 i = 0; i < 3; i++)
		record_dma(i, BIT(32) + i * PAGE_SIZE, i == 2 ? BIT(40) : 0, PAGE_SIZE, RW);
	assert_int_equal(hc(0, HC_NIC_DMA_MAP, (u64)handle, 3, 0), -EFAULT);
	assert_int_equal(low[0].calls[OP_DMA_MAP], calls);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(dma_arguments), T(a_range_may_lie_in_several_places), T(maps_do_not_overlap), T(unmaps_are_exact),
		T(book_is_right), T(book_is_bounded), T(a_failing_map_is_undone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
