/*
 * Starts the application processors (SDM 3A, Multiple-Processor (MP) Initialization).
 *
 * The trampoline's way: real mode below 1 MiB, long mode on the early tables of boot/entry.S, then the boot processor's
 * own tables, a stack from core/mem.h, ap_main(). It works with xAPIC and x2APIC, and with an outer's emulated INIT and
 * start-up IPIs.
 */
#ifndef BOOT_AP_START_H
#define BOOT_AP_START_H

#include "core/types.h"

/*
 * Start the processors with the given APIC ids, one after the other; the caller's own id among them is passed over.
 * Each gets the next index from 1 on and a 16 KiB stack (cpus[index].stack), and runs ap_main(index); it counts as
 * started once ap_main has set cpus[index].online. One that never appears within a second is reported and left out, and
 * the next one gets its index. One that appears but stops inside ap_main keeps its index: it ends the list. Sets nr_cpus
 * and returns it (the caller included, at most MAX_CPUS).
 *
 * Boot CPU only, once, after mem_init, percpu_init, apic_init, time_init.
 */
u32 ap_start_all(const u32 *apic_ids, u32 nr);

#endif
