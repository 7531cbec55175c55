/*
 * Exceptions and interrupts: the IDT, handlers by vector, and the dump when something went wrong.
 *
 * Invariant: an interrupt may arrive at any instruction, also with RFLAGS.IF = 0 (Bochs delivers a virtual interrupt then),
 * and inside another one. Handlers are therefore re-entrant: they change memory by single atomic instructions only.
 */
#ifndef GUEST_LIB_TRAPS_H
#define GUEST_LIB_TRAPS_H

#include "core/types.h"

struct trap_frame {
	u64 rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15;
	u64 vector; /* sign-extended from 8 bits */
	u64 error, rip, cs, rflags, rsp, ss;
};
_Static_assert(sizeof(struct trap_frame) == 22 * 8, "pushed by lib/stubs.S");

#define EXIT_EXCEPTION 250 /* exit codes of the guest's own failures */
#define EXIT_PANIC 251

typedef void (*irq_handler)(void *arg);

/* IDT, TSS and the stack for double faults. Interrupts stay off. */
void traps_init(void);
/* x2APIC on, a PIC silent. False if this CPU has none. */
bool apic_init(void);
u32 apic_id(void);
/* Handler of an interrupt vector (32..254); NULL unbinds. The end-of-interrupt is sent after it. */
void irq_bind(u8 vector, irq_handler fn, void *arg);
/* The next NMI, on whatever vCPU, is no failure. */
void nmi_expect(void);
/* It has not come yet. */
bool nmi_expected(void);
/* Interrupts taken so far; of these, by nobody's vector. */
u64 irq_taken(void);
u64 irq_unbound(void);
/* Vector 255 in service: some emulated processors deliver it for a notification that finds no posted interrupt. */
u64 irq_empty(void);

/* The frame of the last exception that fault_catch() (x86.h) has caught: error code, RIP and registers. */
const struct trap_frame *fault_frame(void);

/* From lib/stubs.S. */
void trap_handle(struct trap_frame *f);

#endif
