/*
 * The parts of the EFI loader. It runs under boot services up to efi_handoff(), which does not come back.
 *
 * Errors: a function prints what is wrong (efi_fail) where it finds it, and returns the EFI status that efi_main gives
 * back to the firmware, which then tries its next boot option.
 */
#ifndef BOOT_EFI_LOADER_H
#define BOOT_EFI_LOADER_H

#include <efi.h>

#include "core/bootinfo.h"

#define EFI_LOW_MEMORY 0xffffffffull /* highest address that early paging maps (boot/entry.S) */

/* Boot services and console of this machine; set by efi_main before anything else. */
extern EFI_SYSTEM_TABLE *efi_system;

/* Print "nestling: error: WHAT (EFI status 0xN)" on the firmware's console and COM1; returns status. */
EFI_STATUS efi_fail(const char *what, EFI_STATUS status);

/*
 * Pages below 4 GiB, aligned to `align` bytes (a power of two, at least 4 KiB), not cleared. memory_type: one that
 * becomes free RAM at hand-off (EfiLoaderCode, EfiLoaderData). On success *at is their physical address.
 */
EFI_STATUS efi_alloc(EFI_MEMORY_TYPE memory_type, u64 bytes, u64 align, u64 *at);

/*
 * Read \nestling\bundle.cpio of the file system that `loaded` came from into fresh pages; fills bi->bundle and
 * bi->bundle_len.
 */
EFI_STATUS efi_read_bundle(EFI_LOADED_IMAGE *loaded, struct bootinfo *bi);

/* Put the embedded nestling.elf into fresh pages; *entry: physical address of its 64-bit entry. */
EFI_STATUS efi_load_image(u64 *entry);

/*
 * Take the memory map into bi, leave boot services and enter the image. Returns a status only while boot services
 * are untouched; after that an error stops the machine with a message on COM1, which is all that is left.
 */
EFI_STATUS efi_handoff(EFI_HANDLE self, struct bootinfo *bi, u64 entry);

#endif
