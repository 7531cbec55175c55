/*
 * core/mem.c on machines of many shapes: what is free, what is not, who pays, and that every misuse is noticed.
 * "Physical" memory is an arena that costs only the pages that are touched.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "core/mem.h"
#include "core/paging.h"
#include "tests/unit/log.h"

#define MIB (1ull << 20)
#define ARENA (66 * SIZE_1G)

u64 host_direct_map_base;
static u8 *arena;
static struct bootinfo bi;
static bool built;
static hpa_t built_ap_page;

/* ---- what core/paging.c does, as far as it concerns mem.c ---- */

void paging_open_low_window(void)
{
}

void paging_build(const struct bootinfo *b, hpa_t ap_page)
{
	void *p[64];

	assert_ptr_equal(b, &bi);
	built_ap_page = ap_page;
	built = true;
	/* Tables must come from where the early mapping reaches. */
	for (u32 i = 0; i < ARRAY_SIZE(p); i++) {
		p[i] = page_alloc(&mem_self);
		assert_true(!p[i] || virt_to_hpa(p[i]).v < 4 * SIZE_1G);
	}
	for (u32 i = 0; i < ARRAY_SIZE(p); i++)
		if (p[i])
			page_free(&mem_self, p[i]);
}

/* ---- a machine ---- */

static void range(u64 base, u64 end, enum mem_kind kind)
{
	assert_true(bi.nr_ranges < BOOTINFO_MAX_RANGES);
	bi.ranges[bi.nr_ranges++] = (struct mem_range){ HPA(base), end - base, kind };
}

static int reset(void **state)
{
	(void)state;
	if (arena)
		munmap(arena, ARENA);
	arena = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_ptr_not_equal(arena, MAP_FAILED);
	host_direct_map_base = (u64)arena;
	memset(&bi, 0, sizeof(bi));
	mem_self = (struct mem_owner){ .name = "self" };
	built = false;
	log_reset();
	return 0;
}

/* 64 MiB, image at 2 MiB, bundle at an odd place, firmware in the middle. */
static void small_machine(void)
{
	range(0, 0x9f000, MEM_RAM);
	range(0xf0000, MIB, MEM_RESERVED);
	range(MIB, 40 * MIB, MEM_RAM);
	range(40 * MIB, 40 * MIB + 0x3000, MEM_ACPI);
	range(40 * MIB + 0x3000, 64 * MIB, MEM_RAM);
	bi.image = HPA(2 * MIB);
	bi.image_len = 3 * MIB / 2;
	bi.bundle = HPA(7 * MIB + 0x123);
	bi.bundle_len = 0x5f00;
	mem_init(&bi);
	assert_true(built);
}

static bool overlaps(u64 a, u64 len, u64 start, u64 end)
{
	return a < end && start < a + len;
}

static bool is_foreign(u64 a, u64 len)
{
	return overlaps(a, len, 0, MIB) || overlaps(a, len, bi.image.v, bi.image.v + bi.image_len) ||
	       overlaps(a, len, bi.bundle.v, bi.bundle.v + bi.bundle_len) || !mem_is_ram(HPA(a), len);
}

/* Allocate blocks until there are no more; how many. */
#define MAX_BLOCKS 20000
static void *blocks[MAX_BLOCKS];
static u32 alloc_all(struct mem_owner *owner, unsigned order)
{
	u32 n = 0;

	while (n < MAX_BLOCKS && (blocks[n] = pages_alloc(owner, order)))
		n++;
	assert_true(n < MAX_BLOCKS);
	return n;
}

static void free_all(struct mem_owner *owner, u32 n, unsigned order)
{
	while (n-- > 0)
		pages_free(owner, blocks[n], order);
}

/* ---- tests ---- */

static void every_free_page_once_and_zeroed(void **state)
{
	static u8 seen[64 * MIB / PAGE_SIZE];
	static const u8 zero[PAGE_SIZE];

	(void)state;
	memset(arena + MIB, 0x5a, 63 * MIB);
	memset(seen, 0, sizeof(seen));
	small_machine();
	u64 free_bytes = mem_free_bytes();
	u32 n = alloc_all(&mem_self, 0);

	assert_int_equal(n * PAGE_SIZE, free_bytes);
	assert_int_equal(mem_free_bytes(), 0);
	assert_int_equal(mem_self.pages, n);
	/* 63 MiB and less: image, bundle (7 pages), firmware (3), frames (16384 * 4 bytes). */
	assert_int_equal(n, 63 * MIB / PAGE_SIZE - 384 - 7 - 3 - 16);
	assert_int_equal(mem_total_bytes(), 63 * MIB - 0x3000 + 0x9f000);
	for (u32 i = 0; i < n; i++) {
		u64 a = virt_to_hpa(blocks[i]).v;

		assert_true(IS_ALIGNED(a, PAGE_SIZE));
		assert_false(is_foreign(a, PAGE_SIZE));
		assert_int_equal(seen[a / PAGE_SIZE]++, 0);
		assert_memory_equal(blocks[i], zero, PAGE_SIZE);
	}
	free_all(&mem_self, n, 0);
	assert_int_equal(mem_free_bytes(), free_bytes);
	assert_int_equal(mem_self.pages, 0);
}

static void freed_pages_grow_together_again(void **state)
{
	(void)state;
	small_machine();
	u32 large = alloc_all(&mem_self, MEM_MAX_ORDER);
	assert_true(large >= 27); /* of 31 blocks of 2 MiB above 1 MiB, image, bundle, firmware and frames touch four */
	free_all(&mem_self, large, MEM_MAX_ORDER);
	u32 small = alloc_all(&mem_self, 0);
	assert_null(pages_alloc(&mem_self, MEM_MAX_ORDER));
	for (u32 i = 0; i < small; i += 2) /* every second, then the others: no order helps */
		page_free(&mem_self, blocks[i]);
	for (u32 i = 1; i < small; i += 2)
		page_free(&mem_self, blocks[i]);
	assert_int_equal(alloc_all(&mem_self, MEM_MAX_ORDER), large);
}

static void blocks_are_aligned_to_their_size(void **state)
{
	(void)state;
	small_machine();
	for (unsigned order = 0; order <= MEM_MAX_ORDER; order++) {
		void *odd = page_alloc(&mem_self), *p = pages_alloc(&mem_self, order);

		assert_true(IS_ALIGNED(virt_to_hpa(p).v, PAGE_SIZE << order));
		assert_int_equal(mem_self.pages, 1 + (1 << order));
		pages_free(&mem_self, p, order);
		page_free(&mem_self, odd);
	}
}

static void owners_pay_and_have_limits(void **state)
{
	struct mem_owner vm = { .name = "vm", .limit = 10 }, rich = { .name = "rich" };

	(void)state;
	small_machine();
	void *a = pages_alloc(&vm, 3), *b = page_alloc(&vm), *c = page_alloc(&vm);
	assert_non_null(a);
	assert_non_null(b);
	assert_non_null(c);
	assert_int_equal(vm.pages, 10);
	assert_null(page_alloc(&vm));
	assert_int_equal(vm.pages, 10);
	assert_non_null(page_alloc(&rich));
	assert_int_equal(rich.pages, 1);
	page_free(&vm, b);
	assert_null(pages_alloc(&vm, 1));
	assert_non_null(page_alloc(&vm));
	pages_free(&vm, a, 3);
	assert_int_equal(vm.pages, 2);
	assert_null(pages_alloc(&vm, 4));
	vm.limit = 1; /* lowered below what it has */
	assert_null(page_alloc(&vm));
}

static void misuse_panics(void **state)
{
	struct mem_owner other = { .name = "other", .pages = 100 };

	(void)state;
	small_machine();
	u8 *p = pages_alloc(&mem_self, 2), *q = page_alloc(&mem_self);
	u64 free_bytes = mem_free_bytes();

	expect_assert_failure(pages_free(&mem_self, p, 1));           /* another order */
	expect_assert_failure(pages_free(&mem_self, p + PAGE_SIZE, 0)); /* the middle of a block */
	expect_assert_failure(pages_free(&other, p, 2));              /* another owner */
	expect_assert_failure(pages_free(&mem_self, p + 8, 2));
	expect_assert_failure(page_free(&mem_self, hpa_to_virt(HPA(64 * MIB))));
	expect_assert_failure(page_free(&mem_self, hpa_to_virt(HPA(0x5000))));  /* first MiB */
	expect_assert_failure(page_free(&mem_self, hpa_to_virt(bi.image)));
	expect_assert_failure(page_free(&mem_self, hpa_to_virt(HPA(~0xfffull))));
	page_free(&mem_self, q);
	expect_assert_failure(page_free(&mem_self, q));               /* twice */
	assert_int_equal(mem_free_bytes(), free_bytes + PAGE_SIZE);
	assert_int_equal(other.pages, 100);
	pages_free(&mem_self, p, 2);
	expect_assert_failure(pages_free(&mem_self, p, 2));           /* twice, after it merged into a larger block */
}

/* From below 1 MiB straight into the bundle, from there into the image: none of it may be the frames' place. */
static void taken_without_gaps(void **state)
{
	(void)state;
	range(0, 16 * MIB, MEM_RAM);
	bi.bundle = HPA(MIB);
	bi.bundle_len = MIB - 5;
	bi.image = HPA(2 * MIB);
	bi.image_len = MIB;
	memset(arena + MIB, 0x77, 2 * MIB);
	mem_init(&bi);
	u32 n = alloc_all(&mem_self, 0);
	assert_int_equal(n, 13 * MIB / PAGE_SIZE - 4);
	for (u32 i = 0; i < n; i++)
		assert_false(is_foreign(virt_to_hpa(blocks[i]).v, PAGE_SIZE));
	for (u32 i = 0; i < 2 * MIB; i++)
		if (arena[MIB + i] != 0x77)
			fail_msg("byte %x of bundle or image was written", i);
}

static void ram_queries(void **state)
{
	(void)state;
	range(0, 0x9f000, MEM_RAM);
	range(MIB, 8 * MIB, MEM_RAM);
	range(8 * MIB, 16 * MIB, MEM_RAM); /* neighbours are one */
	range(16 * MIB, 17 * MIB, MEM_NVS);
	bi.image = HPA(2 * MIB);
	bi.image_len = MIB;
	mem_init(&bi);
	assert_true(mem_is_ram(HPA(8 * MIB - 1), 2));
	assert_true(mem_is_ram(HPA(15 * MIB), MIB));
	assert_false(mem_is_ram(HPA(15 * MIB), MIB + 1));
	assert_false(mem_is_ram(HPA(0x9f000), 1));
	assert_false(mem_is_ram(HPA(0), 2 * MIB));
	assert_false(mem_is_ram(HPA(2 * MIB), ~0ull));
	assert_false(mem_is_ram(HPA(~0ull - 1), 3));
	assert_false(mem_is_ram(HPA(16 * MIB), PAGE_SIZE));
	assert_true(mem_touches_ram(HPA(8 * MIB - 1), 2));
	assert_true(mem_touches_ram(HPA(16 * MIB - 1), 2));
	assert_true(mem_touches_ram(HPA(2 * MIB - 1), ~0ull));
	assert_false(mem_touches_ram(HPA(16 * MIB), ~0ull));
	assert_false(mem_touches_ram(HPA(0x9f000), 1));
	assert_true(mem_touches_ram(HPA(0), 2 * MIB));
}

static void ap_page_where_it_may_be(void **state)
{
	static const struct { u64 ram_end; u16 ebda_segment; u64 bundle, expect; } cases[] = {
		{ 0xa0000, 0, 0, 0x9e000 },
		{ 0xa0000, 0x9fc0, 0, 0x9e000 },
		{ 0xa0000, 0x9d40, 0, 0x9c000 },      /* EBDA at 9D400: the page that it begins in is not ours */
		{ 0xa0000, 0x1234, 0, 0x9e000 },      /* nonsense */
		{ 0x8000, 0, 0, 0x7000 },
		{ 0x2000, 0, 0, 0x1000 },
		{ 0x1000, 0, 0, ~0ull },              /* page 0 alone will not do */
		{ 0xa0000, 0, 0x9d800, 0x9c000 },
	};

	for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
		reset(state);
		range(0, cases[i].ram_end, MEM_RAM);
		range(MIB, 16 * MIB, MEM_RAM);
		bi.image = HPA(2 * MIB);
		bi.image_len = MIB;
		bi.bundle = HPA(cases[i].bundle);
		bi.bundle_len = cases[i].bundle ? 0x1000 : 0;
		*(u16 *)(arena + 0x40e) = cases[i].ebda_segment;
		mem_init(&bi);
		assert_int_equal(mem_ap_page().v, cases[i].expect);
		assert_int_equal(built_ap_page.v, cases[i].expect);
		assert_int_equal(log_has("no RAM below 1 MiB"), cases[i].expect == ~0ull);
	}
}

static void sixty_four_gigabytes(void **state)
{
	(void)state;
	range(0, 0xa0000, MEM_RAM);
	range(MIB, 3 * SIZE_1G, MEM_RAM);
	range(4 * SIZE_1G, 65 * SIZE_1G, MEM_RAM);
	bi.image = HPA(2 * MIB);
	bi.image_len = MIB;
	bi.bundle = HPA(60 * SIZE_1G + 5); /* a loader may put it anywhere */
	bi.bundle_len = 10 * MIB;
	mem_init(&bi);
	assert_int_equal(mem_total_bytes(), 64 * SIZE_1G - MIB + 0xa0000);
	/* Less first MiB, image, bundle, 65 MiB of frames. */
	assert_int_equal(mem_free_bytes(), 64 * SIZE_1G - MIB - MIB - 10 * MIB - PAGE_SIZE - 65 * MIB);
	assert_true(mem_is_ram(HPA(64 * SIZE_1G), SIZE_1G));
	u64 high = 0;
	void *p[4];
	for (u32 i = 0; i < 4; i++)
		p[i] = pages_alloc(&mem_self, 9);
	for (u32 i = 0; i < 4; i++) /* after what paging_build gave back: the last RAM first */
		high = MAX(high, virt_to_hpa(p[i]).v);
	assert_true(high >= 4 * SIZE_1G);
	/* Nothing of the rest was touched: RAM costs nothing before it is used. */
	static unsigned char resident[SIZE_1G / PAGE_SIZE];
	assert_int_equal(mincore(arena + 10 * SIZE_1G, SIZE_1G, resident), 0);
	for (u32 i = 0; i < sizeof(resident); i++)
		assert_false(resident[i] & 1);
}

static void as_many_ranges_as_can_be(void **state)
{
	(void)state;
	u64 pages = 0;

	range(0, 0x9f000, MEM_RAM);
	range(MIB, 16 * MIB, MEM_RAM);
	for (u64 a = 16 * MIB; bi.nr_ranges < BOOTINFO_MAX_RANGES; a += 0x10000) {
		u64 n = 1 + bi.nr_ranges % 15;

		range(a, a + n * PAGE_SIZE, MEM_RAM);
		pages += n;
	}
	bi.image = HPA(2 * MIB);
	bi.image_len = MIB;
	mem_init(&bi);
	u32 n = alloc_all(&mem_self, 0);
	for (u32 i = 0; i < n; i++)
		assert_false(is_foreign(virt_to_hpa(blocks[i]).v, PAGE_SIZE));
	u64 frames = ALIGN_UP((bi.ranges[255].base.v + bi.ranges[255].len) / PAGE_SIZE * 4, PAGE_SIZE) / PAGE_SIZE;
	assert_int_equal(n, 14 * MIB / PAGE_SIZE + pages - frames);
}

static void hopeless_machines_say_why(void **state)
{
	(void)state;
	range(0, 16 * MIB, MEM_RESERVED);
	expect_assert_failure(mem_init(&bi));
	reset(state);
	range(MIB, MIB + 0x2000, MEM_RAM); /* no room for the frames of all that lies above */
	range(5 * SIZE_1G, 6 * SIZE_1G, MEM_RAM);
	expect_assert_failure(mem_init(&bi));
	reset(state);
	range(MIB, 32 * MIB, MEM_RAM);
	range(300 * SIZE_1G, 301 * SIZE_1G, MEM_RAM);
	bi.image = HPA(2 * MIB);
	bi.image_len = MIB;
	mem_init(&bi);
	assert_true(log_has("1024 MiB of RAM above 256 GiB are not used"));
	assert_int_equal(mem_total_bytes(), 31 * MIB);
}

/* Random blocks, each filled with its own pattern: nobody else ever writes there. */
static void random_blocks(void **state)
{
	struct { u64 *p; unsigned order, owner; } held[300] = { { 0 } };
	struct mem_owner owners[3] = { { .name = "a" }, { .name = "b", .limit = 3000 }, { .name = "c" } };
	u64 pages[3] = { 0 };

	(void)state;
	small_machine();
	u64 free_bytes = mem_free_bytes();
	srand(99);
	for (u32 step = 0; step < 40000; step++) {
		u32 i = (u32)rand() % ARRAY_SIZE(held), words = 512u << held[i].order;

		if (held[i].p) {
			assert_int_equal(held[i].p[0], i);
			assert_int_equal(held[i].p[words - 1], i);
			pages_free(&owners[held[i].owner], held[i].p, held[i].order);
			pages[held[i].owner] -= 1u << held[i].order;
			held[i].p = NULL;
		} else {
			held[i].order = (unsigned)rand() % 10;
			held[i].owner = (unsigned)rand() % 3;
			held[i].p = pages_alloc(&owners[held[i].owner], held[i].order);
			if (!held[i].p)
				continue;
			words = 512u << held[i].order;
			assert_int_equal(held[i].p[0] | held[i].p[1] | held[i].p[words - 1], 0);
			assert_false(is_foreign(virt_to_hpa(held[i].p).v, PAGE_SIZE << held[i].order));
			held[i].p[0] = held[i].p[words - 1] = i;
			pages[held[i].owner] += 1u << held[i].order;
		}
		for (u32 o = 0; o < 3; o++)
			assert_int_equal(owners[o].pages, pages[o]);
		assert_int_equal(mem_free_bytes(), free_bytes - (pages[0] + pages[1] + pages[2]) * PAGE_SIZE);
	}
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup(fn, reset)
	const struct CMUnitTest tests[] = {
		TEST(every_free_page_once_and_zeroed),
		TEST(freed_pages_grow_together_again),
		TEST(blocks_are_aligned_to_their_size),
		TEST(owners_pay_and_have_limits),
		TEST(misuse_panics),
		TEST(taken_without_gaps),
		TEST(ram_queries),
		TEST(ap_page_where_it_may_be),
		TEST(sixty_four_gigabytes),
		TEST(as_many_ranges_as_can_be),
		TEST(hopeless_machines_say_why),
		TEST(random_blocks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
