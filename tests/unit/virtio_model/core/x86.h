/*
 * core/x86.h for tests of drivers of the emulated device: the same, but register accesses arrive at the machine of
 * virtio_machine.c. Tests that want it put this directory in front of the include path.
 */
#define mmio_read8 cpu_mmio_read8
#define mmio_read16 cpu_mmio_read16
#define mmio_read32 cpu_mmio_read32
#define mmio_write8 cpu_mmio_write8
#define mmio_write16 cpu_mmio_write16
#define mmio_write32 cpu_mmio_write32
#include_next "core/x86.h"
#undef mmio_read8
#undef mmio_read16
#undef mmio_read32
#undef mmio_write8
#undef mmio_write16
#undef mmio_write32

#ifndef UNIT_VIRTIO_MODEL_X86_H
#define UNIT_VIRTIO_MODEL_X86_H
u64 machine_read(const volatile void *p, u32 size);
void machine_write(volatile void *p, u32 size, u64 value);
static inline u8 mmio_read8(const volatile void *p) { return (u8)machine_read(p, 1); }
static inline u16 mmio_read16(const volatile void *p) { return (u16)machine_read(p, 2); }
static inline u32 mmio_read32(const volatile void *p) { return (u32)machine_read(p, 4); }
static inline void mmio_write8(volatile void *p, u8 v) { machine_write(p, 1, v); }
static inline void mmio_write16(volatile void *p, u16 v) { machine_write(p, 2, v); }
static inline void mmio_write32(volatile void *p, u32 v) { machine_write(p, 4, v); }
#endif
