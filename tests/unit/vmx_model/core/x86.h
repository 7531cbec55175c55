/*
 * core/x86.h for tests of the nested engine: the same, but registers that user mode has not are the test's own. Tests that want it put
 * this directory in front of the include path.
 */
#define rdtsc cpu_rdtsc
#define rdmsr cpu_rdmsr
#define read_cr0 cpu_read_cr0
#define read_cr2 cpu_read_cr2
#define read_cr3 cpu_read_cr3
#define read_cr4 cpu_read_cr4
#define write_cr2 cpu_write_cr2
#define irq_enable_disable cpu_irq_enable_disable
#define sgdt cpu_sgdt
#define sidt cpu_sidt
#include_next "core/x86.h"
#undef rdtsc
#undef rdmsr
#undef read_cr0
#undef read_cr2
#undef read_cr3
#undef read_cr4
#undef write_cr2
#undef irq_enable_disable
#undef sgdt
#undef sidt

#ifndef UNIT_VMX_MODEL_X86_H
#define UNIT_VMX_MODEL_X86_H
u64 rdtsc(void);
u64 rdmsr(u32 msr);
u64 read_cr0(void);
u64 read_cr2(void);
u64 read_cr3(void);
u64 read_cr4(void);
void write_cr2(u64 v);
void irq_enable_disable(void);
void sgdt(struct desc_ptr *d);
void sidt(struct desc_ptr *d);
#endif
