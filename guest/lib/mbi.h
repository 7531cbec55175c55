/*
 * The Multiboot2 boot information, copied once into a record of ours.
 *
 * Invariant: pure; reads nothing outside [mbi, mbi + total_size) and believes no size that it has not checked.
 */
#ifndef GUEST_LIB_MBI_H
#define GUEST_LIB_MBI_H

#include "core/types.h"

#define BOOT_MAX_RANGES 32
#define BOOT_MAX_TAKEN 16
#define BOOT_CMDLINE 512

struct boot_range { u64 base, len; bool ram; };

struct boot {
	char cmdline[BOOT_CMDLINE];
	struct boot_range map[BOOT_MAX_RANGES];   /* the loader's memory map */
	u32 nr_map;
	struct boot_range taken[BOOT_MAX_TAKEN];  /* the boot information itself and the modules */
	u32 nr_taken;
};

/* limit: bytes readable at mbi. NULL, or what is wrong with it. */
const char *boot_parse(struct boot *b, const void *mbi, u64 limit);
/* Largest piece of RAM in [lo, hi) that none of b->taken or [image_lo, image_hi) touches, in whole pages; len 0 if none. */
struct boot_range boot_largest_free(const struct boot *b, u64 lo, u64 hi, u64 image_lo, u64 image_hi);

#endif
