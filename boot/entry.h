/*
 * What boot/entry.S and the C code behind it share: where we came from, and the segments and tables of early boot.
 * Also included by assembly, which sees only the numbers.
 *
 * Invariant: the boot_* variables are written once, by entry.S before boot_main(), and only read afterwards.
 */
#ifndef BOOT_ENTRY_H
#define BOOT_ENTRY_H

#define BOOT_FROM_MULTIBOOT2 1
#define BOOT_FROM_EFI 2

/* Selectors of boot_gdt. */
#define BOOT_SEL_CODE64 0x08
#define BOOT_SEL_DATA 0x10
#define BOOT_SEL_CODE32 0x18

#ifndef __ASSEMBLER__

#include "core/types.h"

extern u32 boot_from;  /* BOOT_FROM_* */
extern u32 boot_info;  /* physical address below 4 GiB: multiboot2 information, or the EFI loader's struct bootinfo */
extern u64 boot_tsc;   /* TSC when firmware or loader let go */
extern u64 boot_image; /* physical address of the image, 2 MiB aligned, below 4 GiB */

extern u64 boot_pml4[512]; /* early page tables: low 4 GiB one to one, the image at its linked address */
extern u64 boot_gdt[4];

extern char __image_start[], __image_end[];

/* C side of the boot processor's entry: long mode, early tables, 16 KiB stack, interrupts off. Calls kmain(). */
void boot_main(void) __noreturn;

#endif
#endif
