/*
 * Other modes of the processor: a second vCPU that comes out of real mode, a trip of this one into real mode, CR0 written from
 * 32-bit code.
 *
 * Invariant: code that runs in real mode is the piece [low_start, low_end) of modes.S, copied to LOW_BASE, free RAM of every VM.
 */
#ifndef GUEST_WORK_MODES_H
#define GUEST_WORK_MODES_H

#define LOW_BASE 0x8000
#define LOW_STACK 0x7000 /* of real mode; grows down */
#define SEL_CODE32 0x28
#define SEL_CODE16 0x30
#define SEL_DATA16 0x38

#ifndef __ASSEMBLER__
#include "core/types.h"

/*
 * vCPU 1 executes fn in long mode with a stack of its own, this IDT and an x2APIC that is on, interrupts off, then halts. False: it
 * does not come. May be used again: vCPU 1 then starts anew.
 */
bool smp_start(void (*fn)(void));
/* Fixed interrupt, or NMI, to vCPU 1. */
void smp_send(u8 vector);
void smp_send_nmi(void);

/* ---- modes.S ---- */
extern const u8 low_start[], low_end[];
/*
 * Into real mode and back, interrupts off. There an RDMSR of an MSR that does not exist raises #GP through the IVT. Left behind: the
 * vector's bytes on the stack, lowest address first, IP CS FLAGS; how many there were; and IP of the RDMSR.
 */
void real_mode_gp(void);
extern u16 real_mode_frame[3], real_mode_pushed, real_mode_rdmsr;
/* Write CR0 from 32-bit compatibility mode, and back as it was. Function for fault_catch: may raise #GP. */
void compat_write_cr0(void *value);
/* Give the GDT back that modes.S has replaced. */
void modes_gdt_restore(void);
#endif

#endif
