/*
 * core/x86.h for tests of time: the same, but the time stamp, ports, CPUID and MSRs are the test's own. Tests that want it put
 * this directory in front of the include path.
 */
#define rdtsc cpu_rdtsc
#define inb cpu_inb
#define inl cpu_inl
#define outb cpu_outb
#define cpuid cpu_cpuid
#define rdmsr cpu_rdmsr
#define wrmsr cpu_wrmsr
#include_next "core/x86.h"
#undef rdtsc
#undef inb
#undef inl
#undef outb
#undef cpuid
#undef rdmsr
#undef wrmsr

#ifndef UNIT_CPU_MODEL_X86_H
#define UNIT_CPU_MODEL_X86_H
u64 rdtsc(void);
u64 rdmsr(u32 msr);
void wrmsr(u32 msr, u64 v);
u8 inb(u16 port);
u32 inl(u16 port);
void outb(u16 port, u8 v);
struct cpuid_regs cpuid(u32 leaf, u32 subleaf);
#endif
