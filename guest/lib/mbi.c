/*
 * Parser of the Multiboot2 boot information (mbi.h).
 */
#include "guest/lib/mbi.h"

#include <string.h>

#include "core/multiboot2.h"

static const char *take_range(struct boot *b, u64 base, u64 len)
{
	if (b->nr_taken == BOOT_MAX_TAKEN)
		return "too many modules";
	b->taken[b->nr_taken++] = (struct boot_range){ base, len, false };
	return NULL;
}

static const char *parse_cmdline(struct boot *b, const struct mb2_tag *t)
{
	u64 room = t->size - sizeof(*t);
	const char *s = (const char *)(t + 1);

	if (!memchr(s, 0, room))
		return "command line without an end";
	if (strlen(s) >= sizeof(b->cmdline))
		return "command line too long";
	strcpy(b->cmdline, s);
	return NULL;
}

static const char *parse_module(struct boot *b, const struct mb2_tag *t)
{
	struct mb2_tag_module m;

	if (t->size < sizeof(m))
		return "module tag too short";
	memcpy(&m, t, sizeof(m));
	if (m.end < m.start)
		return "module ends before it starts";
	return take_range(b, m.start, m.end - m.start);
}

static const char *parse_mmap(struct boot *b, const struct mb2_tag *t)
{
	struct mb2_tag_mmap h;
	struct mb2_mmap_entry e;

	if (t->size < sizeof(h))
		return "memory map tag too short";
	memcpy(&h, t, sizeof(h));
	if (h.entry_size < sizeof(e))
		return "memory map entries too short";
	for (u64 at = sizeof(h); at + h.entry_size <= t->size; at += h.entry_size) {
		memcpy(&e, (const u8 *)t + at, sizeof(e));
		if (e.base + e.len < e.base)
			return "memory map entry wraps around";
		if (b->nr_map == BOOT_MAX_RANGES)
			return "too many memory map entries";
		b->map[b->nr_map++] = (struct boot_range){ e.base, e.len, e.type == MB2_MEM_RAM };
	}
	return NULL;
}

static const char *parse_tag(struct boot *b, const struct mb2_tag *t)
{
	switch (t->type) {
	case MB2_CMDLINE:
		return parse_cmdline(b, t);
	case MB2_MODULE:
		return parse_module(b, t);
	case MB2_MMAP:
		return parse_mmap(b, t);
	default:
		return NULL;
	}
}

const char *boot_parse(struct boot *b, const void *mbi, u64 limit)
{
	struct mb2_info info;
	u64 at = sizeof(info);

	memset(b, 0, sizeof(*b));
	if (!IS_ALIGNED((u64)mbi, 8) || limit < sizeof(info))
		return "boot information misplaced";
	memcpy(&info, mbi, sizeof(info));
	if (info.total_size > limit)
		return "boot information too long";
	for (;;) {
		const struct mb2_tag *t = (const struct mb2_tag *)((const u8 *)mbi + at);
		if (at + sizeof(*t) > info.total_size)
			return "boot information without an end tag";
		if (t->size < sizeof(*t) || t->size > info.total_size - at)
			return "tag longer than the boot information";
		if (t->type == MB2_END)
			break;
		const char *err = parse_tag(b, t);
		if (err)
			return err;
		at = ALIGN_UP(at + t->size, 8);
	}
	return take_range(b, (u64)mbi, info.total_size);
}

/* First byte of [at, hi) that is in no taken range, and the end of the gap in *end. */
static u64 next_gap(const struct boot_range *taken, u32 n, u64 at, u64 hi, u64 *end)
{
	for (bool moved = true; moved;) {
		moved = false;
		for (u32 i = 0; i < n; i++)
			if (taken[i].base <= at && at - taken[i].base < taken[i].len) {
				at = taken[i].base + taken[i].len;
				moved = true;
			}
	}
	*end = hi;
	for (u32 i = 0; i < n; i++)
		if (taken[i].len && taken[i].base >= at && taken[i].base < *end)
			*end = taken[i].base;
	return at;
}

struct boot_range boot_largest_free(const struct boot *b, u64 lo, u64 hi, u64 image_lo, u64 image_hi)
{
	struct boot_range taken[BOOT_MAX_TAKEN + 1], best = { 0, 0, true };

	memcpy(taken, b->taken, b->nr_taken * sizeof(taken[0]));
	taken[b->nr_taken] = (struct boot_range){ image_lo, image_hi - image_lo, false };
	for (u32 i = 0; i < b->nr_map; i++) {
		u64 at = MAX(b->map[i].base, lo), top = MIN(b->map[i].base + b->map[i].len, hi), end;
		for (; b->map[i].ram && at < top; at = end) {
			at = next_gap(taken, b->nr_taken + 1, at, top, &end);
			u64 from = ALIGN_UP(at, PAGE_SIZE), to = ALIGN_DOWN(end, PAGE_SIZE);
			if (at < top && to > from && to - from > best.len)
				best = (struct boot_range){ from, to - from, true };
		}
	}
	return best;
}
