/*
 * Layouts of the Multiboot2 specification (version 2.0): the boot information that a loader hands to a kernel, and the
 * header by which a kernel's file asks for it. Shared by boot/ (we are loaded), the guest loader (we load) and guest/.
 *
 * Invariant: every structure is exactly the specification's; a tag is followed by padding to the next multiple of 8.
 * Also included by assembly, which sees only the numbers.
 */
#ifndef CORE_MULTIBOOT2_H
#define CORE_MULTIBOOT2_H

/* Multiboot2, OS image format: magic fields, general tag structure. The header lies in the file's first 32 KiB. */
#define MB2_HEADER_MAGIC 0xe85250d6
#define MB2_HEADER_SEARCH 32768
#define MB2_HEADER_ALIGN 8
#define MB2_ARCH_I386 0
#define MB2_TAG_OPTIONAL 1 /* header tag flag: the loader may ignore it */

#define MB2_HDR_END 0
#define MB2_HDR_INFO_REQUEST 1
#define MB2_HDR_ADDRESS 2
#define MB2_HDR_ENTRY 3
#define MB2_HDR_CONSOLE 4
#define MB2_HDR_FRAMEBUFFER 5
#define MB2_HDR_MODULE_ALIGN 6
#define MB2_HDR_EFI_BS 7
#define MB2_HDR_ENTRY_EFI32 8
#define MB2_HDR_ENTRY_EFI64 9
#define MB2_HDR_RELOCATABLE 10

#define MB2_PLACE_ANY 0 /* preference of the relocatable tag */
#define MB2_PLACE_LOWEST 1
#define MB2_PLACE_HIGHEST 2

/* Multiboot2, I386 machine state: EAX at entry. */
#define MB2_BOOT_MAGIC 0x36d76289

/* Multiboot2, Boot information: tag types. */
#define MB2_END 0
#define MB2_CMDLINE 1
#define MB2_LOADER_NAME 2
#define MB2_MODULE 3
#define MB2_BASIC_MEMORY 4
#define MB2_MMAP 6
#define MB2_EFI64 12
#define MB2_ACPI_OLD 14
#define MB2_ACPI_NEW 15
#define MB2_EFI_MMAP 17
#define MB2_LOAD_BASE 21

/* Multiboot2, Memory map: entry types; all others are reserved. */
#define MB2_MEM_RAM 1
#define MB2_MEM_ACPI 3
#define MB2_MEM_NVS 4
#define MB2_MEM_BAD 5

#ifndef __ASSEMBLER__

#include "core/types.h"

struct mb2_header {
	u32 magic, architecture, length, checksum;
};
_Static_assert(sizeof(struct mb2_header) == 16, "multiboot2 header");

struct mb2_header_tag {
	u16 type, flags;
	u32 size;
};
_Static_assert(sizeof(struct mb2_header_tag) == 8, "multiboot2 header tag");

struct mb2_header_address {
	struct mb2_header_tag tag;
	u32 header, load, load_end, bss_end; /* physical addresses */
};
_Static_assert(sizeof(struct mb2_header_address) == 24, "multiboot2 address tag");

struct mb2_header_entry {
	struct mb2_header_tag tag;
	u32 entry; /* physical address; also for the two EFI entries */
};
_Static_assert(sizeof(struct mb2_header_entry) == 12, "multiboot2 entry tag");

struct mb2_header_relocatable {
	struct mb2_header_tag tag;
	u32 min, max, align, preference; /* physical addresses; max is the highest that may be used */
};
_Static_assert(sizeof(struct mb2_header_relocatable) == 24, "multiboot2 relocatable tag");

/* Fixed part of the boot information; its tags follow. */
struct mb2_info {
	u32 total_size; /* bytes, this part included */
	u32 reserved;
};
_Static_assert(sizeof(struct mb2_info) == 8, "multiboot2 information");

struct mb2_tag {
	u32 type;
	u32 size; /* bytes, this header included, padding not */
};
_Static_assert(sizeof(struct mb2_tag) == 8, "multiboot2 tag");

/* MB2_CMDLINE, MB2_LOADER_NAME: NUL-terminated UTF-8. */
struct mb2_tag_string {
	struct mb2_tag tag;
	char string[];
};

struct mb2_tag_module {
	struct mb2_tag tag;
	u32 start, end; /* physical addresses; end is the first byte after it */
	char cmdline[];
};
_Static_assert(sizeof(struct mb2_tag_module) == 16, "multiboot2 module tag");

struct mb2_tag_basic_memory {
	struct mb2_tag tag;
	u32 lower, upper; /* KiB from 0, KiB from 1 MiB up to the first hole */
};
_Static_assert(sizeof(struct mb2_tag_basic_memory) == 16, "multiboot2 basic memory tag");

struct mb2_mmap_entry {
	u64 base, len;
	u32 type, reserved;
};
_Static_assert(sizeof(struct mb2_mmap_entry) == 24, "multiboot2 memory map entry");

struct mb2_tag_mmap {
	struct mb2_tag tag;
	u32 entry_size, entry_version; /* step by entry_size: a later version may append fields */
	u8 entries[];
};
_Static_assert(sizeof(struct mb2_tag_mmap) == 16, "multiboot2 memory map tag");

/* MB2_EFI_MMAP: EFI_MEMORY_DESCRIPTORs as GetMemoryMap gave them. */
struct mb2_tag_efi_mmap {
	struct mb2_tag tag;
	u32 descriptor_size, descriptor_version;
	u8 descriptors[];
};
_Static_assert(sizeof(struct mb2_tag_efi_mmap) == 16, "multiboot2 EFI memory map tag");

struct mb2_tag_efi64 {
	struct mb2_tag tag;
	u64 system_table; /* physical address */
};
_Static_assert(sizeof(struct mb2_tag_efi64) == 16, "multiboot2 EFI64 tag");

/* MB2_ACPI_OLD, MB2_ACPI_NEW: a copy of the RSDP of ACPI 1.0, or of 2.0 and later. */
struct mb2_tag_acpi {
	struct mb2_tag tag;
	u8 rsdp[];
};

struct mb2_tag_load_base {
	struct mb2_tag tag;
	u32 base; /* physical address of the image */
};
_Static_assert(sizeof(struct mb2_tag_load_base) == 12, "multiboot2 load base tag");

#endif
#endif
