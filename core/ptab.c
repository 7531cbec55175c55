/*
 * The page-table walker (core/ptab.h): map, unmap, protect, look up, tear down, for every kind of table.
 *
 * Invariant: every operation first does all that can fail (checks, splits, allocations) and only then changes what is
 * mapped, except ptab_map, which takes back what it mapped. Tables are never freed before ptab_destroy: a CPU or an
 * IOMMU may hold them in its paging-structure caches until the caller has flushed.
 */
#include "core/errno.h"
#include "core/ptab.h"
#include "core/x86.h"

#define ENTRIES 512
#define CACHE_LINE 64

static u64 level_size(u8 level)
{
	return PAGE_SIZE << (9 * (level - 1));
}

static unsigned level_index(u64 va, u8 level)
{
	return va >> (PAGE_SHIFT + 9 * (level - 1)) & (ENTRIES - 1);
}

static bool is_present(const struct ptab *pt, u64 entry)
{
	return entry & pt->fmt->present;
}

/* Of a present entry. */
static bool is_leaf(const struct ptab *pt, u64 entry, u8 level)
{
	return level == 1 || (entry & pt->fmt->page_size);
}

static u64 *table_of(const struct ptab *pt, u64 entry)
{
	return hpa_to_virt(HPA(entry & pt->fmt->addr_mask));
}

static u64 leaf_addr(const struct ptab *pt, u64 entry, u8 level)
{
	return entry & pt->fmt->addr_mask & ~(level_size(level) - 1);
}

static u64 leaf_flags(const struct ptab *pt, u64 entry, u8 level)
{
	return entry & ~pt->fmt->addr_mask & ~(level > 1 ? pt->fmt->page_size : 0);
}

static u64 leaf_make(const struct ptab *pt, u64 pa, u64 flags, u8 level)
{
	return pa | flags | (level > 1 ? pt->fmt->page_size : 0);
}

/* Make n entries from `first` on visible to a reader that does not snoop. */
static void entries_flush(const struct ptab *pt, const u64 *first, u64 n)
{
	if (!pt->clflush)
		return;
	mfence();
	for (u64 line = ALIGN_DOWN((u64)first, CACHE_LINE); line < (u64)(first + n); line += CACHE_LINE)
		clflush((const void *)line);
	mfence();
}

static void entry_publish(const struct ptab *pt, u64 *entry, u64 value)
{
	WRITE_ONCE(*entry, value);
	entries_flush(pt, entry, 1);
}

/* The entry at which the walk for va ends: a leaf, or one that is not present. */
static u64 *entry_find(const struct ptab *pt, u64 va, u8 *level)
{
	u64 *table = hpa_to_virt(pt->root);

	for (u8 l = pt->levels;; l--) {
		u64 *e = &table[level_index(va, l)], v = READ_ONCE(*e);

		if (!is_present(pt, v) || is_leaf(pt, v, l)) {
			*level = l;
			return e;
		}
		table = table_of(pt, v);
	}
}

static bool range_ok(const struct ptab *pt, u64 va, u64 len)
{
	u64 reach = level_size(pt->levels) * ENTRIES;

	return IS_ALIGNED(va | len, PAGE_SIZE) && va <= reach && len <= reach - va;
}

int ptab_init(struct ptab *pt, const struct ptab_fmt *fmt, u8 levels, u8 max_leaf, bool clflush, struct mem_owner *owner)
{
	ASSERT(levels >= 3 && levels <= 5 && max_leaf >= 1 && max_leaf <= 3);
	*pt = (struct ptab){ .fmt = fmt, .owner = owner, .levels = levels, .max_leaf = max_leaf, .clflush = clflush,
			     .root = HPA_NONE };
	u64 *root = page_alloc(owner);
	if (!root)
		return -ENOMEM;
	entries_flush(pt, root, ENTRIES);
	pt->root = virt_to_hpa(root);
	return 0;
}

bool ptab_walk(const struct ptab *pt, u64 va, struct ptab_leaf *out)
{
	*out = (struct ptab_leaf){ .pa = HPA_NONE };
	if (!range_ok(pt, ALIGN_DOWN(va, PAGE_SIZE), PAGE_SIZE))
		return false;
	u64 entry = READ_ONCE(*entry_find(pt, va, &out->level));
	out->size = level_size(out->level);
	if (!is_present(pt, entry)) {
		out->level = 0;
		return false;
	}
	out->pa = HPA(leaf_addr(pt, entry, out->level) | (va & (out->size - 1)));
	out->flags = leaf_flags(pt, entry, out->level);
	return true;
}

/* ---- map ---- */

static bool range_is_empty(const struct ptab *pt, u64 va, u64 end)
{
	while (va < end) {
		struct ptab_leaf leaf;

		if (ptab_walk(pt, va, &leaf))
			return false;
		va = ALIGN_DOWN(va, leaf.size) + leaf.size;
	}
	return true;
}

static bool leaf_fits(const struct ptab *pt, u8 level, u64 va, u64 pa, u64 len)
{
	return level <= pt->max_leaf && IS_ALIGNED(va | pa, level_size(level)) && len >= level_size(level);
}

/* Fill entries of one table from va on, as many as the range and the table have room for; bytes mapped. */
static u64 leaves_fill(struct ptab *pt, u64 *first, u8 level, u64 va, u64 pa, u64 len, u64 flags)
{
	u64 size = level_size(level), n = MIN(len / size, ENTRIES - (u64)level_index(va, level)), i;

	for (i = 0; i < n && !is_present(pt, first[i]); i++)
		WRITE_ONCE(first[i], leaf_make(pt, pa + i * size, flags, level));
	entries_flush(pt, first, i);
	return i * size;
}

/* Map a first part of the (empty) range; bytes mapped, or -ENOMEM. */
static s64 map_some(struct ptab *pt, u64 va, u64 pa, u64 len, u64 flags)
{
	u64 *table = hpa_to_virt(pt->root);

	for (u8 level = pt->levels;; level--) {
		u64 *e = &table[level_index(va, level)];

		if (is_present(pt, *e)) {
			table = table_of(pt, *e);
			continue;
		}
		if (leaf_fits(pt, level, va, pa, len))
			return (s64)leaves_fill(pt, e, level, va, pa, len, flags);
		table = page_alloc(pt->owner);
		if (!table)
			return -ENOMEM;
		entries_flush(pt, table, ENTRIES);
		entry_publish(pt, e, virt_to_hpa(table).v | pt->fmt->table_flags);
	}
}

/* Clear every leaf in the range; leaves do not reach beyond it. */
static void range_clear(struct ptab *pt, u64 va, u64 end)
{
	while (va < end) {
		u8 level;
		u64 *e = entry_find(pt, va, &level);

		if (is_present(pt, *e))
			entry_publish(pt, e, 0);
		va = ALIGN_DOWN(va, level_size(level)) + level_size(level);
	}
}

int ptab_map(struct ptab *pt, u64 va, hpa_t pa, u64 len, u64 flags)
{
	if (!range_ok(pt, va, len) || !IS_ALIGNED(pa.v, PAGE_SIZE) || !is_present(pt, flags) || (flags & pt->fmt->addr_mask) ||
	    pa.v + len < pa.v || (len && ((pa.v + len - 1) & ~(pt->fmt->addr_mask | PAGE_MASK))))
		return -EINVAL;
	if (!range_is_empty(pt, va, va + len))
		return -EEXIST;
	for (u64 done = 0; done < len;) {
		s64 n = map_some(pt, va + done, pa.v + done, len - done, flags);

		if (n < 0) {
			range_clear(pt, va, va + done);
			return (int)n;
		}
		done += (u64)n;
	}
	return 0;
}

/* The table of this level for va, made where there is none. 0, -EEXIST (a leaf is in the way), -ENOMEM. */
static int table_reach(struct ptab *pt, u64 va, u8 level, u32 *room, u64 **table)
{
	*table = hpa_to_virt(pt->root);
	for (u8 at = pt->levels; at > level; at--) {
		u64 *e = &(*table)[level_index(va, at)], there = READ_ONCE(*e);

		if (is_present(pt, there)) {
			if (is_leaf(pt, there, at))
				return -EEXIST;
			*table = table_of(pt, there);
			continue;
		}
		*table = *room ? page_alloc(pt->owner) : NULL;
		if (!*table)
			return -ENOMEM;
		--*room;
		entries_flush(pt, *table, ENTRIES);
		entry_publish(pt, e, virt_to_hpa(*table).v | pt->fmt->table_flags);
	}
	return 0;
}

int ptab_map_leaf(struct ptab *pt, u64 va, hpa_t pa, u8 level, u64 flags, u32 *room, struct ptab_last *last)
{
	u64 tag = va / SIZE_2M + 1, *table = last->table;

	if (level > 1 || tag != last->tag) {
		int err = table_reach(pt, va, level, room, &table);

		if (err)
			return err;
		if (level == 1)
			*last = (struct ptab_last){ tag, table };
	}
	u64 *e = &table[level_index(va, level)];
	if (is_present(pt, READ_ONCE(*e)))
		return -EEXIST;
	entry_publish(pt, e, leaf_make(pt, pa.v, flags, level));
	return 0;
}

/* ---- unmap, protect ---- */

/* Replace a large leaf by a table that maps the same, one level down. */
static int leaf_split(struct ptab *pt, u64 *e, u8 level)
{
	u64 entry = *e, pa = leaf_addr(pt, entry, level), size = level_size(level - 1);
	u64 *table = page_alloc(pt->owner);

	if (!table)
		return -ENOMEM;
	for (unsigned i = 0; i < ENTRIES; i++)
		table[i] = leaf_make(pt, pa + i * size, leaf_flags(pt, entry, level), level - 1);
	entries_flush(pt, table, ENTRIES);
	entry_publish(pt, e, virt_to_hpa(table).v | pt->fmt->table_flags);
	return 0;
}

/* Make sure that no leaf crosses va. */
static int boundary_split(struct ptab *pt, u64 va)
{
	for (;;) {
		u8 level;
		u64 *e = entry_find(pt, va, &level);

		if (!is_present(pt, *e) || IS_ALIGNED(va, level_size(level)))
			return 0;
		if (leaf_split(pt, e, level))
			return -ENOMEM;
	}
}

static int range_prepare(struct ptab *pt, u64 va, u64 len)
{
	if (!range_ok(pt, va, len))
		return -EINVAL;
	if (!len)
		return 0;
	int err = boundary_split(pt, va);
	/* At the very end of the reach there is nothing beyond. */
	if (!err && range_ok(pt, va + len, PAGE_SIZE))
		err = boundary_split(pt, va + len);
	return err;
}

int ptab_unmap(struct ptab *pt, u64 va, u64 len)
{
	int err = range_prepare(pt, va, len);

	if (!err)
		range_clear(pt, va, va + len);
	return err;
}

int ptab_protect(struct ptab *pt, u64 va, u64 len, u64 flags)
{
	if (!is_present(pt, flags) || (flags & pt->fmt->addr_mask))
		return -EINVAL;
	int err = range_prepare(pt, va, len);
	if (err)
		return err;
	for (u64 at = va; at < va + len;) {
		u8 level;
		u64 *e = entry_find(pt, at, &level);

		if (is_present(pt, *e))
			entry_publish(pt, e, leaf_make(pt, leaf_addr(pt, *e, level), flags, level));
		at = ALIGN_DOWN(at, level_size(level)) + level_size(level);
	}
	return 0;
}

/* ---- tear down, count ---- */

static u64 tables_visit(const struct ptab *pt, u64 *table, u8 level, bool destroy)
{
	u64 n = 1;

	for (unsigned i = 0; i < ENTRIES && level > 1; i++)
		if (is_present(pt, table[i]) && !is_leaf(pt, table[i], level))
			n += tables_visit(pt, table_of(pt, table[i]), level - 1, destroy);
	if (destroy)
		page_free(pt->owner, table);
	return n;
}

void ptab_destroy(struct ptab *pt)
{
	if (pt->root.v == HPA_NONE.v)
		return;
	tables_visit(pt, hpa_to_virt(pt->root), pt->levels, true);
	pt->root = HPA_NONE;
}

u64 ptab_pages(const struct ptab *pt)
{
	return pt->root.v == HPA_NONE.v ? 0 : tables_visit(pt, hpa_to_virt(pt->root), pt->levels, false);
}
