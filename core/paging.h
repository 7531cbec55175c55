/*
 * Our own page tables, as core/mem.c starts them (everybody else uses core/mem.h).
 */
#ifndef CORE_PAGING_H
#define CORE_PAGING_H

#include "core/bootinfo.h"
#include "core/types.h"

/* Make hpa_to_virt valid below 4 GiB while the early page tables of boot/ are still loaded. */
void paging_open_low_window(void);
/* Build the tables of core/mem.h and load them on this CPU. The page allocator holds only memory below 4 GiB yet. */
void paging_build(const struct bootinfo *bi, hpa_t ap_page);

#endif
