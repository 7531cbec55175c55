/*
 * Ways to end the machine (core/poweroff.h): each is tried for a bounded time, then the next one.
 */
#include "core/abi.h"
#include "core/acpi.h"
#include "core/console.h"
#include "core/mem.h"
#include "core/pci.h"
#include "core/poweroff.h"
#include "core/time.h"
#include "core/x86.h"

/* ACPI, PM1 Control Registers. */
#define PM1_SCI_EN BIT(0)
#define PM1_SLP_TYP BITS(12, 10)
#define PM1_SLP_EN BIT(13)

#define RESET_CF9 0xcf9
#define CF9_SYSTEM 0x02
#define CF9_SYSTEM_NOW 0x06
#define KEYBOARD_COMMAND 0x64
#define KEYBOARD_PULSE_RESET 0xfe
#define TRY_US 100000
#define ACPI_ENABLE_US 3000000

static bool fadt_read(struct acpi_fadt *f)
{
	const struct acpi_header *t = acpi_find("FACP");

	return t && !acpi_parse_fadt(t, t->length, f);
}

/* ACPI, Legacy/ACPI Select and the SCI interrupt: the sleep registers work in ACPI mode only. */
static void acpi_mode(const struct acpi_fadt *f)
{
	if (!f->smi_cmd_port || !f->acpi_enable || (inw(f->pm1a_cnt_port) & PM1_SCI_EN))
		return;
	outb(f->smi_cmd_port, f->acpi_enable);
	if (!wait_until(inw(f->pm1a_cnt_port) & PM1_SCI_EN, ACPI_ENABLE_US))
		log_line("poweroff: the firmware does not switch to ACPI mode");
}

static void sleep_write(u16 port, u8 typ)
{
	if (port)
		outw(port, (u16)((inw(port) & ~PM1_SLP_TYP) | FIELD_PREP(PM1_SLP_TYP, typ & 7u) | PM1_SLP_EN));
}

void machine_poweroff(void)
{
	const struct acpi_header *dsdt = acpi_find("DSDT");
	struct acpi_fadt f;
	u8 a, b;

	if (!dsdt || acpi_parse_s5(dsdt, dsdt->length, &a, &b) || !fadt_read(&f) || !f.pm1a_cnt_port) {
		log_line("poweroff: the firmware's tables tell no way: the machine is halted");
		cpu_halt_forever();
	}
	acpi_mode(&f);
	sleep_write(f.pm1a_cnt_port, a);
	sleep_write(f.pm1b_cnt_port, b);
	delay_us(TRY_US);
	log_line("poweroff: the machine did not switch off: it is halted");
	cpu_halt_forever();
}

/* ACPI, Reset Register: memory, a port, or configuration space of bus 0 (device 47:32, function 31:16, offset 15:0). */
static void acpi_reset(void)
{
	struct acpi_fadt f;

	if (!fadt_read(&f) || !f.has_reset)
		return;
	if (f.reset_space == ACPI_SPACE_IO) {
		outb((u16)f.reset_addr, f.reset_value);
	} else if (f.reset_space == ACPI_SPACE_PCI) {
		pci_write8(RID(0, FIELD_GET(BITS(36, 32), f.reset_addr), FIELD_GET(BITS(18, 16), f.reset_addr)),
			   (u16)f.reset_addr, f.reset_value);
	} else if (f.reset_space == ACPI_SPACE_MEMORY) {
		void *p = mmio_map(HPA(f.reset_addr), 1);

		if (p)
			mmio_write8(p, f.reset_value);
	}
	delay_us(TRY_US);
}

void machine_reset(void)
{
	static const struct desc_ptr no_idt;

	irq_disable();
	acpi_reset();
	outb(RESET_CF9, CF9_SYSTEM);
	outb(RESET_CF9, CF9_SYSTEM_NOW);
	delay_us(TRY_US);
	outb(KEYBOARD_COMMAND, KEYBOARD_PULSE_RESET);
	delay_us(TRY_US);
	lidt(&no_idt); /* no handler for the exception, nor for the one that this raises: shutdown */
	__builtin_trap();
}

void machine_exit_port(u8 code)
{
	outb(NEST_EXIT_PORT, code);
	cpu_halt_forever();
}
