/*
 * This instance's own local APICs: x2APIC where the CPU has it, xAPIC otherwise (SDM 3A, Advanced Programmable
 * Interrupt Controller).
 */
#ifndef CORE_APIC_H
#define CORE_APIC_H

#include "core/types.h"

/* Boot CPU, once: choose the mode, map the registers; silence the 8259s. */
void apic_init(void);
/* Each CPU: enable, mask LVT entries, set the spurious vector. */
void apic_init_cpu(void);
bool apic_is_x2(void);
u32 apic_id(void);
/* The same from CPUID (leaf 0Bh, else 1): works before apic_init. */
u32 apic_id_from_cpuid(void);
void apic_eoi(void);
/* Fixed interrupt to one CPU by APIC id. */
void apic_send(u32 apic_id, u8 vector);
/* INIT and start-up IPIs (SDM 3A, MP Initialization); page: 4 KiB page below 1 MiB that the SIPI vector names. */
void apic_send_init(u32 apic_id);
void apic_send_sipi(u32 apic_id, hpa_t page);
void apic_send_nmi(u32 apic_id);
/* Program this CPU's timer to raise IRQ_VEC_TIMER at the TSC value (TSC-deadline, or one-shot); 0 stops it. */
void apic_timer_set(u64 tsc);

#endif
