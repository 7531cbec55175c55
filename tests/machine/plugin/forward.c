/*
 * The bus: ports and memory that Bochs does not emulate itself go to QEMU, each access as the guest made it.
 *
 * Invariant: exactly one side owns an address. Bochs owns the PIC, PIT, RTC, keyboard controller, COM1, the local APICs
 * and the I/O APIC; the ports of struct `port_write` below end here; everything else is QEMU's.
 */
#include <string.h>

#include "tests/machine/plugin/plugin.h"

#define PORT_POST      0x80
#define PORT_APM       0xB2    /* and B3: SMIs, which this machine does not have */
#define PORT_EXIT      0xF4
#define PORT_RESET     0xCF9
#define RESET_CPU      4
#define PORT_PM1_CNT   0x604   /* where the firmware puts it on q35 */
#define PM1_SLP_EN     0x2000
#define PORT_PM_TIMER  0x608

#define MMIO_LOW_END   0xFEBFFFFF
#define VTD_FIRST      0xFED90000
#define VTD_LAST       0xFED9FFFF
#define MMIO64_FIRST   0x800000000  /* where the firmware puts 64-bit BARs */
#define MMIO64_LAST    0xFFFFFFFFF

static uint64_t call(enum mailbox_op op, uint64_t addr, uint32_t size, uint64_t data)
{
	uint64_t result = mailbox_call(op, addr, size, data);

	interrupts_poll(); /* what the access caused should be seen by the next instruction */
	return result;
}

/* The largest naturally aligned piece at the start of an access. */
static uint32_t piece(uint64_t addr, uint32_t size)
{
	uint32_t n = 8;

	while (n > size || (addr & (n - 1)))
		n >>= 1;
	return n;
}

static bool mmio_read(uint64_t addr, uint32_t size, void *data, void *self)
{
	uint8_t *to = data;

	(void)self;
	if (config_ecam_access(addr)) {
		memset(data, 0xFF, size);
		return true;
	}
	while (size) {
		uint32_t n = piece(addr, size);
		uint64_t v = call(OP_MMIO_READ, addr, n, 0);

		memcpy(to, &v, n);
		addr += n;
		to += n;
		size -= n;
	}
	storage_read(addr - 1);
	return true;
}

static bool mmio_write(uint64_t addr, uint32_t size, void *data, void *self)
{
	const uint8_t *from = data;

	(void)self;
	if (config_ecam_access(addr))
		return true;
	while (size) {
		uint32_t n = piece(addr, size);
		uint64_t v = 0;

		memcpy(&v, from, n);
		call(OP_MMIO_WRITE, addr, n, v);
		config_ecam_write(addr, v);
		storage_write(addr, v);
		addr += n;
		from += n;
		size -= n;
	}
	return true;
}

static uint32_t port_read(void *self, uint32_t port, uint32_t size)
{
	uint32_t v;

	(void)self;
	if (port == PORT_POST || port == PORT_APM || port == PORT_APM + 1)
		return 0;
	if (config_port_read(port, size, &v))
		return v;
	if (port == PORT_PM_TIMER && clock_pm_timer(&v))
		return v;
	return (uint32_t)call(OP_PORT_READ, port, size, 0);
}

static void port_write(void *self, uint32_t port, uint32_t value, uint32_t size)
{
	(void)self;
	switch (port) {
	case PORT_POST:
	case PORT_APM:
	case PORT_APM + 1:
		return;
	case PORT_EXIT:
		machine_exit((uint8_t)value);
		return;
	case PORT_RESET:
		if (value & RESET_CPU) {
			bochs_reset(&bx_pc_system, RESET_HARDWARE);
			return;
		}
		break;
	case PORT_PM1_CNT:
		if (value & PM1_SLP_EN)
			machine_end(END_POWEROFF, 0, "ACPI power-off");
		break;
	}
	if (!config_port_write(port, size, value))
		call(OP_PORT_WRITE, port, size, value);
}

static void exit_port_write(void *self, uint32_t port, uint32_t value, uint32_t size)
{
	(void)self;
	(void)size;
	if (port == PORT_EXIT)
		machine_exit((uint8_t)value);
}

void forward_init_exit_port(struct bochs_device *self)
{
	pluginRegisterDefaultIOWriteHandler(self, exit_port_write, "nestling", ALL_SIZES);
}

static void claim_memory(struct bochs_device *self, uint64_t first, uint64_t last)
{
	if (!bochs_register_memory(self, mmio_read, mmio_write, NULL, first, last))
		machine_end(END_ERROR, 0, "Bochs refused the memory range %#lx", (unsigned long)first);
}

void forward_init(struct bochs_device *self)
{
	claim_memory(self, (ram_size() + 0xFFFFF) & ~0xFFFFFull, MMIO_LOW_END);
	claim_memory(self, VTD_FIRST, VTD_LAST);
	claim_memory(self, MMIO64_FIRST, MMIO64_LAST);
	pluginRegisterDefaultIOReadHandler(self, port_read, "nestling", ALL_SIZES);
	pluginRegisterDefaultIOWriteHandler(self, port_write, "nestling", ALL_SIZES);
}

void forward_reset(void)
{
	config_reset();
	storage_reset();
}
