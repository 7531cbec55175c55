/*
 * The machine's own I/O APICs, as far as we use them: one ISA interrupt at a time, for our console.
 */
#ifndef CORE_IOAPIC_H
#define CORE_IOAPIC_H

#include "core/acpi.h"
#include "core/types.h"

/*
 * Upward (core/main.c): the remapping table entry through which the I/O APIC with that id sends `vector` to the CPU with that
 * APIC id. Index of the entry; -ENOTSUP: interrupts are not remapped here; another error: remapped, but this one cannot be.
 */
typedef int (*ioapic_remap_fn)(u8 ioapic_id, u32 apic_id, u8 vector);

/*
 * Send an ISA interrupt to (apic_id, vector), unmasked, edge or level as the MADT says. Boot CPU. 0, -ENODEV (no I/O APIC has
 * its pin), -EINVAL (APIC id beyond 8 bits where nothing is remapped), or what remap answered.
 */
int ioapic_route_isa(u8 irq, u32 apic_id, u8 vector, ioapic_remap_fn remap) __must_check;

/* Redirection entries as words (pure). */
u64 ioapic_entry(u32 apic_id, u8 vector, const struct acpi_isa_irq *i);
u64 ioapic_entry_remapped(u16 index, u8 vector, const struct acpi_isa_irq *i);

#endif
