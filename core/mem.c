/*
 * The buddy allocator: which page of RAM belongs to whom.
 *
 * Invariant: a free block's head frame is FRAME_FREE with its order and hangs in exactly one list; an allocated block's
 * head frame is FRAME_USED with its order and owner; every other frame is FRAME_NONE. So a double free, a wrong order or
 * a wrong owner is seen at the head frame. Links of the lists lie in the free pages themselves. RAM that was never
 * allocated yet hangs in no list but lies in fresh[], so start-up touches none of it, however much there is.
 */
#include <string.h>

#include "core/console.h"
#include "core/mem.h"
#include "core/paging.h"
#include "core/spinlock.h"

#define LOW_LIMIT (4 * SIZE_1G)        /* what boot/ maps for us */
#define FIRST_MIB (1ull << 20)
#define MEM_MAX_PHYS (256 * SIZE_1G)   /* RAM above is not used: one frame per page up to the highest */

enum { FRAME_NONE, FRAME_FREE, FRAME_USED };

struct frame {
	u8 state, order;
	u16 owner; /* owner_tag() */
};

struct block {
	struct block *next, *prev;
};

struct span {
	u64 start, end;
};

struct mem_owner mem_self = { .name = "hypervisor" };

static struct frame *frames;
static u64 nr_frames;
static struct span ram[BOOTINFO_MAX_RANGES]; /* all RAM, merged, ascending */
static u32 nr_ram;
static struct span taken[4];                 /* RAM that never becomes free */
static hpa_t ap_page;
static u64 total_bytes;

/* Protects lists, fresh, frames, free_bytes and every owner's pages. */
static spinlock_t lock = SPINLOCK_INIT;
static struct block lists[MEM_MAX_ORDER + 1];
static struct span fresh[BOOTINFO_MAX_RANGES + ARRAY_SIZE(taken)]; /* each taken span cuts at most one range in two */
static u32 nr_fresh;
static u64 free_bytes;

/* ---- lists of free blocks ---- */

static u64 block_pfn(const struct block *b)
{
	return virt_to_hpa(b).v >> PAGE_SHIFT;
}

static void block_insert(u64 pfn, unsigned order)
{
	struct block *b = hpa_to_virt(HPA(pfn << PAGE_SHIFT)), *head = &lists[order];

	frames[pfn] = (struct frame){ .state = FRAME_FREE, .order = (u8)order };
	b->next = head->next;
	b->prev = head;
	b->next->prev = b;
	head->next = b;
}

static void block_remove(struct block *b)
{
	b->next->prev = b->prev;
	b->prev->next = b->next;
	frames[block_pfn(b)].state = FRAME_NONE;
}

/* Put a block into its list, joined with its free buddies. */
static void block_join(u64 pfn, unsigned order)
{
	frames[pfn].state = FRAME_NONE; /* it may end in the middle of a larger block */
	while (order < MEM_MAX_ORDER) {
		u64 buddy = pfn ^ (1ull << order);

		if (buddy >= nr_frames || frames[buddy].state != FRAME_FREE || frames[buddy].order != order)
			break;
		block_remove(hpa_to_virt(HPA(buddy << PAGE_SHIFT)));
		pfn &= ~(1ull << order);
		order++;
	}
	block_insert(pfn, order);
}

/* Move the next block of fresh RAM, as large as its place allows, to the lists. */
static bool fresh_open(void)
{
	if (!nr_fresh)
		return false;
	struct span *s = &fresh[nr_fresh - 1];
	u64 pfn = s->start >> PAGE_SHIFT, n = (s->end - s->start) >> PAGE_SHIFT;
	unsigned order = (unsigned)__builtin_ctzll(pfn | BIT(MEM_MAX_ORDER));

	order = MIN(order, 63u - (unsigned)__builtin_clzll(n));
	block_join(pfn, order);
	s->start += PAGE_SIZE << order;
	if (s->start == s->end)
		nr_fresh--;
	return true;
}

static struct block *block_take(unsigned order)
{
	unsigned o = order;

	while (o <= MEM_MAX_ORDER && lists[o].next == &lists[o]) {
		o++;
		if (o > MEM_MAX_ORDER && fresh_open())
			o = order;
	}
	if (o > MEM_MAX_ORDER)
		return NULL;
	struct block *b = lists[o].next;
	block_remove(b);
	while (o > order) {
		o--;
		block_insert(block_pfn(b) + (1ull << o), o);
	}
	free_bytes -= PAGE_SIZE << order;
	return b;
}

/* ---- the interface ---- */

/* Enough of the owner's address to tell owners apart that lie within 512 KiB of each other. */
static u16 owner_tag(const struct mem_owner *owner)
{
	return (u16)((u64)owner >> 3);
}

void *pages_alloc(struct mem_owner *owner, unsigned order)
{
	u64 n = 1ull << order;
	struct block *b = NULL;

	ASSERT(order <= MEM_MAX_ORDER);
	spin_lock(&lock);
	if (!owner->limit || (owner->pages <= owner->limit && n <= owner->limit - owner->pages))
		b = block_take(order);
	if (b) {
		frames[block_pfn(b)] = (struct frame){ FRAME_USED, (u8)order, owner_tag(owner) };
		owner->pages += n;
	}
	spin_unlock(&lock);
	return b ? memset(b, 0, PAGE_SIZE << order) : NULL;
}

void pages_free(struct mem_owner *owner, void *p, unsigned order)
{
	u64 pa = virt_to_hpa(p).v, pfn = pa >> PAGE_SHIFT;

	if ((pa & PAGE_MASK) || pfn >= nr_frames)
		panic("mem: %s frees %p, which is no page of RAM", owner->name, p);
	spin_lock(&lock);
	struct frame f = frames[pfn];
	if (f.state != FRAME_USED || f.order != order || f.owner != owner_tag(owner) || owner->pages < (1ull << order)) {
		spin_unlock(&lock);
		panic("mem: %s frees %p order %u: %s", owner->name, p, order,
		      f.state != FRAME_USED ? "not allocated (double free?)" :
		      f.order != order ? "allocated with another order" : "owned by another");
	}
	owner->pages -= 1ull << order;
	free_bytes += PAGE_SIZE << order;
	block_join(pfn, order);
	spin_unlock(&lock);
}

u64 mem_free_bytes(void)
{
	return READ_ONCE(free_bytes);
}

u64 mem_total_bytes(void)
{
	return total_bytes;
}

bool mem_is_ram(hpa_t a, u64 len)
{
	u64 end = a.v + len;

	if (end < a.v)
		return false;
	for (u32 i = 0; i < nr_ram; i++)
		if (a.v >= ram[i].start && end <= ram[i].end)
			return true;
	return false;
}

bool mem_touches_ram(hpa_t a, u64 len)
{
	for (u32 i = 0; i < nr_ram; i++)
		if (a.v < ram[i].end && (a.v >= ram[i].start || len > ram[i].start - a.v))
			return true;
	return false;
}

hpa_t mem_ap_page(void)
{
	return ap_page;
}

/* ---- start ---- */

static void ram_collect(const struct bootinfo *bi)
{
	u64 unused = 0;

	nr_ram = 0;
	total_bytes = 0;
	for (u32 i = 0; i < bi->nr_ranges && i < BOOTINFO_MAX_RANGES; i++) {
		u64 start = bi->ranges[i].base.v, end = start + bi->ranges[i].len;

		if (bi->ranges[i].kind != MEM_RAM || start >= end)
			continue;
		unused += end > MEM_MAX_PHYS ? end - MAX(start, MEM_MAX_PHYS) : 0;
		end = MIN(end, MEM_MAX_PHYS);
		if (start >= end)
			continue;
		total_bytes += end - start;
		if (nr_ram && ram[nr_ram - 1].end == start)
			ram[nr_ram - 1].end = end;
		else
			ram[nr_ram++] = (struct span){ start, end };
	}
	if (!nr_ram)
		panic("mem: the boot loader reported no RAM");
	if (unused)
		log_line("mem: %lu MiB of RAM above %lu GiB are not used", unused >> 20, MEM_MAX_PHYS / SIZE_1G);
}

/* The first address from `from` at which [from, from+len) meets nothing that is taken. */
static u64 skip_taken(u64 from, u64 len)
{
	for (u32 i = 0; i < ARRAY_SIZE(taken); i++) {
		if (from < taken[i].end && taken[i].start < from + len) {
			from = taken[i].end;
			i = (u32)-1; /* once more: the new place may meet an earlier one */
		}
	}
	return from;
}

/*
 * The start-up page: high in conventional memory, where firmware and loaders are least at home; below the extended BIOS
 * data area, whose segment a BIOS keeps at 40Eh (a UEFI machine has no such word, then it fails the range check).
 */
static void ap_page_choose(void)
{
	u64 limit = 0x9f000, ebda = (u64)*(const u16 *)hpa_to_virt(HPA(0x40e)) << 4;

	ap_page = HPA_NONE;
	if (ebda >= 0x80000 && ebda < limit)
		limit = ALIGN_DOWN(ebda, PAGE_SIZE);
	for (u64 a = limit - PAGE_SIZE; a >= PAGE_SIZE; a -= PAGE_SIZE) {
		if (mem_is_ram(HPA(a), PAGE_SIZE) && skip_taken(a, PAGE_SIZE) == a) {
			ap_page = HPA(a);
			return;
		}
	}
	log_line("mem: no RAM below 1 MiB: other processors cannot be started");
}

static void frames_place(void)
{
	u64 len = ALIGN_UP(ram[nr_ram - 1].end / PAGE_SIZE * sizeof(struct frame), PAGE_SIZE);

	for (u32 i = 0; i < nr_ram; i++) {
		u64 a = skip_taken(ram[i].start, len);

		if (a < ram[i].end && len <= ram[i].end - a && a + len <= LOW_LIMIT) {
			taken[3] = (struct span){ a, a + len };
			frames = memset(hpa_to_virt(HPA(a)), 0, len);
			nr_frames = ram[nr_ram - 1].end / PAGE_SIZE;
			return;
		}
	}
	panic("mem: no %lu KiB of contiguous RAM below 4 GiB for the page frames", len >> 10);
}

/* Give the allocator what is not taken of all RAM in [low, high). */
static void ram_free(u64 low, u64 high)
{
	for (u32 i = 0; i < nr_ram; i++) {
		u64 at = MAX(ram[i].start, low), end = MIN(ram[i].end, high);

		while (at < end) {
			u64 stop = end;

			at = skip_taken(at, 1);
			for (u32 t = 0; t < ARRAY_SIZE(taken); t++)
				if (taken[t].start >= at)
					stop = MIN(stop, MAX(taken[t].start, at));
			if (at < stop) {
				fresh[nr_fresh++] = (struct span){ at, stop };
				free_bytes += stop - at;
			}
			at = MAX(at, stop);
		}
	}
}

void mem_init(const struct bootinfo *bi)
{
	for (unsigned o = 0; o <= MEM_MAX_ORDER; o++)
		lists[o].next = lists[o].prev = &lists[o];
	free_bytes = nr_fresh = 0;
	ram_collect(bi);
	paging_open_low_window();
	taken[0] = (struct span){ ALIGN_DOWN(bi->image.v, PAGE_SIZE), ALIGN_UP(bi->image.v + bi->image_len, PAGE_SIZE) };
	taken[1] = (struct span){ ALIGN_DOWN(bi->bundle.v, PAGE_SIZE), ALIGN_UP(bi->bundle.v + bi->bundle_len, PAGE_SIZE) };
	taken[2] = taken[3] = (struct span){ 0, 0 };
	ap_page_choose();
	taken[2] = (struct span){ 0, FIRST_MIB };
	frames_place();
	ram_free(0, LOW_LIMIT);
	paging_build(bi, ap_page);
	ram_free(LOW_LIMIT, MEM_MAX_PHYS);
}
