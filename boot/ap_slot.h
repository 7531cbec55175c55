/*
 * What ap_start.c and ap_start.S share: the words that are patched into the trampoline page, and the slot that hands
 * one processor its stack. Also included by assembly, which sees only the offsets.
 */
#ifndef BOOT_AP_SLOT_H
#define BOOT_AP_SLOT_H

#define AP_SLOT_OPEN 0
#define AP_SLOT_STACK 8
#define AP_SLOT_INDEX 16

#ifndef __ASSEMBLER__

#include "core/types.h"

/*
 * `open` is the lock: the boot processor sets it to 1 when the rest is valid; a processor that takes it (exchanges it
 * for 0) owns the stack; whoever finds 0 halts for good, be it late or not wanted.
 */
struct ap_slot {
	u32 open;
	u32 apic_id; /* whom it is for */
	u64 stack;   /* top */
	u32 index;
};
_Static_assert(offsetof(struct ap_slot, open) == AP_SLOT_OPEN, "ap_start.S");
_Static_assert(offsetof(struct ap_slot, stack) == AP_SLOT_STACK, "ap_start.S");
_Static_assert(offsetof(struct ap_slot, index) == AP_SLOT_INDEX, "ap_start.S");
extern struct ap_slot ap_slot;

/* On the slot's stack, just taken: true if the slot was meant for this processor. Called by ap_start.S. */
bool ap_is_wanted(void);

/* The trampoline, to be copied to the start of a page below 1 MiB. */
extern const u8 ap_page_start[], ap_page_end[];

/* Its words, at ap_page_words - ap_page_start in the page; addresses are physical. */
struct ap_words {
	u32 cr3;
	u32 efer;
	u32 jump32; /* far pointers: address, selector */
	u16 jump32_selector, pad0;
	u32 jump64;
	u16 jump64_selector, pad1;
	u16 pad2, gdt_limit;
	u32 gdt_base;
};
_Static_assert(sizeof(struct ap_words) == 32, "ap_start.S");
extern const u8 ap_page_words[], ap_page_gdt[], ap_page_code32[], ap_page_code64[];

#endif
#endif
