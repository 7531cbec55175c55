/*
 * The VM's I/O APIC: 24 pins at FEC00000h.
 */
#ifndef CORE_VIOAPIC_H
#define CORE_VIOAPIC_H

#include "core/vm.h"

#define VIOAPIC_BASE 0xfec00000ull
#define VIOAPIC_LEN 0x1000ull
#define VIOAPIC_PINS 24

/* Create it and claim its registers. 0, -ENOMEM. */
int vioapic_create(struct vm *vm) __must_check;
void vioapic_destroy(struct vm *vm);
/* Drive an input (high = asserted). Any CPU; takes the I/O APIC's lock, delivers with it held (vm_arch->msi). */
void vioapic_set_pin(struct vm *vm, u32 pin, bool high);
/* A local APIC of the VM broadcasts the EOI of a level-triggered vector. Any CPU. */
void vioapic_eoi(struct vm *vm, u8 vector);

#endif
