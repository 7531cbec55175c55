/*
 * core/x86.h for tests of the guest's shell: the same, but time and the interrupt flag are the test's own. Tests that want it put this
 * directory in front of the include path.
 */
#define rdtsc guest_rdtsc
#define irq_enable guest_irq_enable
#define irq_disable guest_irq_disable
#define irq_enable_halt_disable guest_irq_enable_halt_disable
#include_next "core/x86.h"
#undef rdtsc
#undef irq_enable
#undef irq_disable
#undef irq_enable_halt_disable

#ifndef UNIT_GUEST_MODEL_X86_H
#define UNIT_GUEST_MODEL_X86_H
u64 rdtsc(void);
void irq_enable(void);
void irq_disable(void);
void irq_enable_halt_disable(void);
#endif
