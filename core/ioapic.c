/*
 * The machine's I/O APICs (Intel 82093AA data sheet, Register Description; VT-d 3.4, Interrupt Requests in Remappable Format
 * for I/OxAPICs).
 *
 * Invariant: only the pin that was asked for is touched; while its entry is half written it is masked.
 */
#include "core/ioapic.h"

#include "core/errno.h"
#include "core/mem.h"
#include "core/x86.h"

#define REG_SELECT 0x00
#define REG_WINDOW 0x10
#define REGS_LEN 0x20
#define INDEX_VERSION 1
#define INDEX_REDIRECT 0x10
#define VERSION_LAST_PIN BITS(23, 16)

#define RTE_LOW_ACTIVE BIT(13)
#define RTE_LEVEL BIT(15)
#define RTE_MASKED BIT(16)
#define RTE_DEST BITS(63, 56)
#define RTE_REMAPPABLE BIT(48)
#define RTE_INDEX_LOW BITS(63, 49)
#define RTE_INDEX_15 BIT(11)
#define APIC_BROADCAST 0xffu

static u64 trigger(const struct acpi_isa_irq *i) { return (i->low ? RTE_LOW_ACTIVE : 0) | (i->level ? RTE_LEVEL : 0); }

u64 ioapic_entry(u32 apic_id, u8 vector, const struct acpi_isa_irq *i)
{
	return FIELD_PREP(RTE_DEST, apic_id) | trigger(i) | vector;
}

u64 ioapic_entry_remapped(u16 index, u8 vector, const struct acpi_isa_irq *i)
{
	return FIELD_PREP(RTE_INDEX_LOW, index & 0x7fff) | RTE_REMAPPABLE | (index & 0x8000 ? RTE_INDEX_15 : 0) | trigger(i) | vector;
}

static u32 reg_read(u8 *regs, u32 index)
{
	mmio_write32(regs + REG_SELECT, index);
	return mmio_read32(regs + REG_WINDOW);
}

static void reg_write(u8 *regs, u32 index, u32 value)
{
	mmio_write32(regs + REG_SELECT, index);
	mmio_write32(regs + REG_WINDOW, value);
}

static void entry_write(u8 *regs, u32 pin, u64 entry)
{
	u32 index = INDEX_REDIRECT + 2 * pin;

	reg_write(regs, index, (u32)RTE_MASKED);
	reg_write(regs, index + 1, (u32)(entry >> 32));
	reg_write(regs, index, (u32)entry);
}

/* The registers of the I/O APIC that has this interrupt, its id and the pin. NULL: none has it. */
static u8 *find(const struct acpi_header *madt, u32 gsi, u8 *id, u32 *pin)
{
	struct acpi_ioapics all;

	if (acpi_parse_ioapics(madt, madt->length, &all))
		return NULL;
	for (u32 i = 0; i < all.nr; i++) {
		u8 *regs = gsi >= all.io[i].first && all.io[i].base.v ? mmio_map(all.io[i].base, REGS_LEN) : NULL;
		if (!regs)
			continue;
		u32 version = reg_read(regs, INDEX_VERSION);
		*pin = gsi - all.io[i].first;
		*id = all.io[i].id;
		if (version != ~0u && *pin <= FIELD_GET(VERSION_LAST_PIN, version))
			return regs;
	}
	return NULL;
}

int ioapic_route_isa(u8 irq, u32 apic_id, u8 vector, ioapic_remap_fn remap)
{
	const struct acpi_header *madt = acpi_find("APIC");
	struct acpi_isa_irq isa;
	u32 pin;
	u8 id;

	if (!madt || acpi_parse_isa_irq(madt, madt->length, irq, &isa))
		return -ENODEV;
	u8 *regs = find(madt, isa.gsi, &id, &pin);
	if (!regs)
		return -ENODEV;
	int index = remap(id, apic_id, vector);
	if (index < 0 && index != -ENOTSUP)
		return index;
	if (index < 0 && apic_id >= APIC_BROADCAST)
		return -EINVAL;
	entry_write(regs, pin, index < 0 ? ioapic_entry(apic_id, vector, &isa) : ioapic_entry_remapped((u16)index, vector, &isa));
	return 0;
}
