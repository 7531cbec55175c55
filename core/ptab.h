/*
 * The page-table walker: one, for EPT, VT-d second-level tables and our own (STYLE, Choices).
 *
 * Invariant: an entry is published whole (one 64-bit store), tables are zeroed and flushed before they are linked,
 * and every table page is charged to the table's owner and given back by ptab_destroy.
 */
#ifndef CORE_PTAB_H
#define CORE_PTAB_H

#include "core/mem.h"
#include "core/types.h"

/* What differs between the kinds. Masks apply to 64-bit entries; level 1 = 4 KiB leaf, 2 = 2 MiB, 3 = 1 GiB, 4, 5. */
struct ptab_fmt {
	const char *name;
	u64 present;      /* entry is in use if any of these bits is set */
	u64 page_size;    /* bit that marks a leaf above level 1 */
	u64 table_flags;  /* bits set in an entry that points to a table */
	u64 addr_mask;    /* bits of an entry that hold the physical address */
};

struct ptab {
	const struct ptab_fmt *fmt;
	struct mem_owner *owner;
	hpa_t root;
	u8 levels;    /* 3, 4 or 5 */
	u8 max_leaf;  /* largest leaf level that may be used: 1, 2 or 3 */
	bool clflush; /* the reader does not snoop caches: flush every line written (VT-d ECAP.C = 0) */
};

/* Where an address leads. level 0: not mapped. */
struct ptab_leaf {
	hpa_t pa;   /* of the address itself, not of the page */
	u64 flags;  /* the leaf entry without its address and page-size bit: fit to be given to ptab_map again */
	u64 size;   /* of the leaf in bytes; when not mapped: the span that is certainly not mapped around it */
	u8 level;
};

/* Allocate the root. 0 or -ENOMEM. */
int ptab_init(struct ptab *pt, const struct ptab_fmt *fmt, u8 levels, u8 max_leaf, bool clflush, struct mem_owner *owner) __must_check;
/*
 * Map [va, va+len) to pa with the format's leaf flags, using the largest leaves allowed by alignment and max_leaf
 * (where an unmap left a table behind, that table is used again: it may still be in some CPU's paging-structure cache).
 * va is not sign-extended: a canonical high address is given without its upper bits.
 * All 4 KiB aligned. 0, -EEXIST if any part is mapped already (nothing changed), -ENOMEM (nothing left mapped),
 * -EINVAL (misaligned, beyond the levels' reach, flags without a present bit). The caller serialises and flushes TLBs where the kind needs it.
 */
int ptab_map(struct ptab *pt, u64 va, hpa_t pa, u64 len, u64 flags) __must_check;
/* The table that took the last 4 KiB leaf, and the 2 MiB that it maps + 1; zeroed: none. Good until ptab_destroy. */
struct ptab_last { u64 tag, *table; };
/*
 * Map one leaf of this level (1 = 4 KiB …) where nothing is: the short way for who knows its size. Preconditions: what ptab_map would
 * answer -EINVAL to; level <= max_leaf. *room: table pages that it may take; less those that it took. 0, -EEXIST (a leaf or a table is
 * there; nothing changed), -ENOMEM (tables may have been added, no leaf).
 */
int ptab_map_leaf(struct ptab *pt, u64 va, hpa_t pa, u8 level, u64 flags, u32 *room, struct ptab_last *last) __must_check;
/* The same for a 4 KiB leaf in that last table. False: the leaf goes elsewhere, or something is there; nothing done. */
static inline bool ptab_map_last(struct ptab *pt, u64 va, hpa_t pa, u64 flags, const struct ptab_last *last)
{
	u64 *e = &last->table[va >> PAGE_SHIFT & 511];

	if (last->tag != va / SIZE_2M + 1 || (READ_ONCE(*e) & pt->fmt->present) || pt->clflush)
		return false;
	WRITE_ONCE(*e, pa.v | flags);
	return true;
}
/* Unmap; holes are allowed; large leaves are split where only part of them goes. 0, -ENOMEM (a split failed: nothing unmapped), -EINVAL. */
int ptab_unmap(struct ptab *pt, u64 va, u64 len) __must_check;
/* Change the flags of every mapped leaf in the range, splitting as needed. Same returns. */
int ptab_protect(struct ptab *pt, u64 va, u64 len, u64 flags) __must_check;
/* Look an address up. True if mapped. Any context (reads only). */
bool ptab_walk(const struct ptab *pt, u64 va, struct ptab_leaf *out);
/* Free all tables (not what they map). */
void ptab_destroy(struct ptab *pt);
/* Number of table pages in use (for balance checks). */
u64 ptab_pages(const struct ptab *pt);

#endif
