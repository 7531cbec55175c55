/*
 * What boot/ hands over: one record, whatever the firmware or loader was.
 *
 * Invariant: everything in it was bounds-checked by boot/; core/ trusts the record but not what it points to
 * (ACPI tables, bundle contents).
 */
#ifndef CORE_BOOTINFO_H
#define CORE_BOOTINFO_H

#include "core/types.h"

#define BOOTINFO_MAX_RANGES 256
#define BOOTINFO_MAX_CMDLINE 256

enum mem_kind {
	MEM_RAM = 1,      /* free for our use (image and bundle lie inside such ranges and are carved out by core/mem.c) */
	MEM_RESERVED = 2, /* firmware, MMIO: never touched */
	MEM_ACPI = 3,     /* ACPI tables: read only */
	MEM_NVS = 4,
	MEM_BAD = 5,
};

/* One range of physical memory; ranges are sorted by base, do not overlap, and are page aligned (RAM shrunk). */
struct mem_range {
	hpa_t base;
	u64 len;
	enum mem_kind kind;
};

struct bootinfo {
	hpa_t image;                /* where the image was loaded, 2 MiB aligned */
	u64 image_len;              /* bytes, page aligned, .bss included */
	hpa_t rsdp;                 /* ACPI RSDP (or a copy of it), 0 = none given: core/acpi.c searches the BIOS area */
	hpa_t bundle;               /* newc cpio archive, 0 = none */
	u64 bundle_len;
	u64 tsc_handoff;            /* TSC when firmware or loader let go (ExitBootServices returned / entry) */
	char cmdline[BOOTINFO_MAX_CMDLINE];
	char loader[64];            /* boot loader's name, for the log */
	u32 nr_ranges;
	struct mem_range ranges[BOOTINFO_MAX_RANGES];
};

/*
 * C entry of the boot processor, in long mode, on a 16 KiB boot stack, at the linked (high) address, interrupts off,
 * low 4 GiB identity-mapped by early page tables. bi may lie anywhere in mapped memory; kmain copies it. Never returns.
 */
void kmain(const struct bootinfo *bi) __noreturn;

/*
 * C entry of an application processor: same state, its own stack, our page tables. cpu: index from core/percpu.h.
 */
void ap_main(u32 cpu) __noreturn;

#endif
