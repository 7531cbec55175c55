/*
 * core/x86.h for tests that need a device: the same, but register accesses and cache flushes arrive at the test's model.
 * Tests that want it put this directory in front of the include path.
 */
#define mmio_read32 cpu_mmio_read32
#define mmio_read64 cpu_mmio_read64
#define mmio_write32 cpu_mmio_write32
#define mmio_write64 cpu_mmio_write64
#define clflush cpu_clflush
#include_next "core/x86.h"
#undef mmio_read32
#undef mmio_read64
#undef mmio_write32
#undef mmio_write64
#undef clflush

#ifndef UNIT_VTD_MODEL_X86_H
#define UNIT_VTD_MODEL_X86_H
u32 mmio_read32(const volatile void *p);
u64 mmio_read64(const volatile void *p);
void mmio_write32(volatile void *p, u32 v);
void mmio_write64(volatile void *p, u64 v);
void clflush(const volatile void *p);
#endif
