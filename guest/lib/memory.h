/*
 * The guest's memory: C library heap from below, whole pages for devices from above, and a window for device registers.
 *
 * Invariant: heap and pages never overlap, nor do they touch the image, the boot information or a module. Virtual =
 * physical everywhere; what is not RAM is mapped uncached.
 */
#ifndef GUEST_LIB_MEMORY_H
#define GUEST_LIB_MEMORY_H

#include "core/types.h"
#include "guest/lib/mbi.h"

/* NULL, or what is wrong. The boot information is not needed afterwards. */
const char *memory_init(const struct boot *b);
void *memory_sbrk(s64 increment);
/* n zeroed pages in a row, never given back; NULL if there are none left. */
void *memory_pages(u64 n);
/* Free RAM that nobody has touched: from, and how many bytes. */
u64 memory_untouched(u64 *len);
/* Guest-physical address of 1 GiB of nothing, 1 GiB aligned, mapped uncached: where device registers may appear. */
u64 memory_device_window(void);
/* First guest-physical address above all RAM. */
u64 memory_top(void);

#endif
