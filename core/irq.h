/*
 * Interrupts of this instance's own CPUs.
 *
 * Invariant: an IDT handler only records its vector in this_cpu()->pending and sends EOI; all work happens in
 * irq_poll() on the main road. Delivery at a surprising moment (FACTS-MACHINE: a virtual interrupt despite IF=0) is
 * therefore harmless. With "acknowledge interrupt on exit" the VM exit records the vector the same way.
 */
#ifndef CORE_IRQ_H
#define CORE_IRQ_H

#include "core/types.h"

/* Fixed vectors, from the top; 0x30..0xdf are allotted by irq_alloc. */
#define IRQ_VEC_FIRST 0x30
#define IRQ_VEC_LAST 0xdf
#define IRQ_VEC_TIMER 0xf0
#define IRQ_VEC_KICK 0xf1       /* come out of the guest and look at your requests */
#define IRQ_VEC_PI 0xf2         /* posted-interrupt notification for a VM's own vCPU (SDM: PIN vector) */
#define IRQ_VEC_PI_NESTED 0xf3  /* the same for the VMCS that an inner runs (vmcs02) */
#define IRQ_VEC_SPURIOUS 0xff

typedef void (*irq_fn)(void *arg, u8 vector);

/*
 * Allot a vector on one CPU and bind its handler. Returns the vector, -ENOSPC. The handler runs on that CPU from
 * irq_poll(), interrupts off.
 */
int irq_alloc(u32 cpu, irq_fn fn, void *arg) __must_check;
/* Unbind; a late delivery is then counted as spurious. */
void irq_free(u32 cpu, u8 vector);
/* Bind a fixed vector on all CPUs (timer, kick …). */
void irq_bind_fixed(u8 vector, irq_fn fn);
/* Record a vector as delivered on this CPU (VM exit with acknowledge, IDT stub). Sends no EOI. */
void irq_record(u8 vector);
/* True if something is recorded and not yet handled. */
bool irq_pending_here(void);
/* Handle all recorded vectors of this CPU, highest first. Counted by vector class. */
void irq_poll(void);
/* Interrupts that nobody had bound. */
u64 irq_spurious_count(void);
/* Interrupts handled on this machine so far. */
u64 irq_count(void);

#endif
