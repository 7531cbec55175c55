/*
 * Builds the list of memory ranges in struct bootinfo, from whatever map the firmware or loader gives.
 *
 * Invariant: after every call the list is sorted, without overlap, page aligned, and touching ranges of one kind are
 * merged. Where entries of the given map overlap, the more careful kind wins: BAD, RESERVED, NVS, ACPI, RAM.
 */
#ifndef BOOT_MEMMAP_H
#define BOOT_MEMMAP_H

#include "core/bootinfo.h"

/*
 * Add [base, base + len), physical addresses in bytes, in any order. RAM is shrunk to whole pages, everything else
 * grown; what lies beyond 52 address bits is dropped. False if the list is full (the list is then unusable).
 */
bool memmap_add(struct bootinfo *bi, u64 base, u64 len, enum mem_kind kind) __must_check;

/* True if [base, base + len) lies wholly inside one range of RAM. */
bool memmap_is_ram(const struct bootinfo *bi, u64 base, u64 len);

/* One entry of an EFI memory map (UEFI 2.10, EFI_BOOT_SERVICES.GetMemoryMap(), Related Definitions). */
struct efi_descriptor {
	u32 type;
	u32 pad;
	u64 base;     /* physical, 4 KiB aligned */
	u64 virt;
	u64 pages;    /* of 4 KiB */
	u64 attribute;
};
_Static_assert(sizeof(struct efi_descriptor) == 40, "EFI_MEMORY_DESCRIPTOR");

/*
 * Add an EFI memory map of `len` bytes whose entries lie `stride` bytes apart, as it stands after ExitBootServices.
 * NULL, or what is wrong with it.
 */
const char *memmap_add_efi(struct bootinfo *bi, const void *map, u64 len, u64 stride) __must_check;

#endif
