/*
 * The guest's heap, device pages and page tables (memory.h).
 */
#include "guest/lib/memory.h"

#include <string.h>

#include "guest/lib/x86.h"

#define PTE_P BIT(0)
#define PTE_RW BIT(1)
#define PTE_PWT BIT(3)
#define PTE_PCD BIT(4)
#define PTE_LARGE BIT(7)
#define PTE_UNCACHED (PTE_PWT | PTE_PCD) /* entry 3 of the PAT as reset: UC (SDM 3A, Page Attribute Table) */
#define LOW_LIMIT (4 * SIZE_1G)          /* what start.S maps */
#define MEMORY_MIN SIZE_2M               /* less is not worth starting with */

extern u64 guest_pdpt[512], guest_pd[2048];
extern u8 guest_image_start[], guest_image_end[];

static u64 window_pd[512] __aligned_to(PAGE_SIZE);
static u64 heap_next, pages_next; /* heap [start, heap_next), pages [pages_next, end) */
static u64 window, top;

static bool range_overlaps(const struct boot_range *r, u64 base, u64 len)
{
	return r->len && r->base < base + len && base < r->base + r->len;
}

static bool overlaps(const struct boot *b, u64 base, u64 len, bool ram_only)
{
	for (u32 i = 0; i < b->nr_map; i++)
		if ((b->map[i].ram || !ram_only) && range_overlaps(&b->map[i], base, len))
			return true;
	return false;
}

static void paging_uncache_holes(const struct boot *b)
{
	for (u64 i = 0; i < LOW_LIMIT / SIZE_2M; i++)
		if (!overlaps(b, i * SIZE_2M, SIZE_2M, true))
			guest_pd[i] |= PTE_UNCACHED;
}

/* The first whole GiB from 4 GiB on that the memory map does not speak of. */
static void paging_map_window(const struct boot *b)
{
	window = LOW_LIMIT;
	while (overlaps(b, window, SIZE_1G, false))
		window += SIZE_1G;
	ASSERT(window / SIZE_1G < 512);
	for (u64 i = 0; i < 512; i++)
		window_pd[i] = (window + i * SIZE_2M) | PTE_P | PTE_RW | PTE_LARGE | PTE_UNCACHED;
	guest_pdpt[window / SIZE_1G] = (u64)window_pd | PTE_P | PTE_RW;
}

/*
 * A level below that fills its tables on demand shall do so now: later, in a phase that must be free of exits, code and data
 * are used for the first time that boot did not need.
 */
static void touch_image(void)
{
	for (const u8 *p = guest_image_start; p < guest_image_end; p += PAGE_SIZE)
		(void)READ_ONCE(*p);
}

const char *memory_init(const struct boot *b)
{
	struct boot_range r = boot_largest_free(b, 0x100000, LOW_LIMIT, (u64)guest_image_start, (u64)guest_image_end);

	if (r.len < MEMORY_MIN)
		return "no 2 MiB of free RAM";
	heap_next = r.base;
	pages_next = r.base + r.len;
	for (u32 i = 0; i < b->nr_map; i++)
		if (b->map[i].ram)
			top = MAX(top, b->map[i].base + b->map[i].len);
	paging_uncache_holes(b);
	paging_map_window(b);
	write_cr3(read_cr3());
	touch_image();
	return NULL;
}

void *memory_sbrk(s64 increment)
{
	u64 old = heap_next;

	if (increment < 0 || (u64)increment > pages_next - heap_next)
		return (void *)-1;
	heap_next += (u64)increment;
	return (void *)old;
}

void *memory_pages(u64 n)
{
	if (n == 0 || n > (pages_next - ALIGN_UP(heap_next, PAGE_SIZE)) / PAGE_SIZE)
		return NULL;
	pages_next -= n * PAGE_SIZE;
	return memset((void *)pages_next, 0, n * PAGE_SIZE);
}

u64 memory_untouched(u64 *len)
{
	u64 from = ALIGN_UP(heap_next, PAGE_SIZE);

	*len = pages_next - from;
	return from;
}

u64 memory_device_window(void) { return window; }
u64 memory_top(void) { return top; }
