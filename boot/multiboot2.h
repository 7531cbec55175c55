/*
 * Reads what a multiboot2 loader tells us into struct bootinfo.
 */
#ifndef BOOT_MULTIBOOT2_H
#define BOOT_MULTIBOOT2_H

#include "core/bootinfo.h"

/* The RSDP that the loader copied into its information, since that memory will be reused. len 0 = it gave none. */
struct mb2_rsdp {
	u8 data[36]; /* ACPI 6.5, RSDP Structure; revision 0 has 20 bytes */
	u32 len;
};

/*
 * Fill cmdline, loader, bundle and memory ranges of bi (zeroed by the caller) and rsdp from the boot information at
 * `info`, of which at most `limit` bytes may be read. The first module is the bundle. NULL, or what is wrong.
 * Pure; Multiboot2, Boot information format.
 */
const char *mb2_parse(const void *info, u64 limit, struct bootinfo *bi, struct mb2_rsdp *rsdp) __must_check;

#endif
