/*
 * The I/O APIC that the guest sees, in place of Bochs's own: it understands VT-d's remappable entries, and its pins
 * serve both sides.
 *
 * Pins 0-15 are driven by Bochs's devices, except the SCI (9). Pins 16-23 (PCI INTx) and 9 are lines of QEMU's
 * machine: while the guest has such a pin unmasked, the same pin is open on QEMU's own I/O APIC towards the agent. When
 * it fires, the agent masks it there and reports; the guest's EOI opens it again, and it fires anew if the line is
 * still up.
 * Invariant: a level-triggered pin is never delivered twice without an EOI between.
 */
#include <dlfcn.h>
#include <string.h>

#include "tests/machine/plugin/plugin.h"

#define IOAPIC_FIRST 0xFEC00000
#define IOAPIC_LAST  0xFEC00FFF
#define PINS         24
#define PIN_SCI      9
#define IOREGSEL     0x00
#define IOWIN        0x10
#define EOI_REG      0x40
#define REG_ID       0
#define REG_VERSION  1
#define REG_RTE      0x10
#define VERSION      (((PINS - 1) << 16) | 0x20)

#define RTE_VECTOR   0xFFull
#define RTE_STATUS   (1ull << 12)
#define RTE_IRR      (1ull << 14)
#define RTE_LEVEL    (1ull << 15)
#define RTE_MASK     (1ull << 16)

static struct {
	uint64_t rte;
	bool asserted;   /* Bochs's line */
	bool in_service; /* level-triggered: delivered, no EOI yet */
} pin[PINS];
static uint32_t selector, id;

static bool is_qemus(unsigned p)
{
	return p == PIN_SCI || p >= 16;
}

/* --- QEMU's I/O APIC --------------------------------------------------------------------------------------------- */

static void qemu_write(uint32_t reg, uint32_t value)
{
	mailbox_call(OP_MMIO_WRITE, QEMU_IOAPIC + IOREGSEL, 4, reg);
	mailbox_call(OP_MMIO_WRITE, QEMU_IOAPIC + IOWIN, 4, value);
}

/* Opens or closes a pin towards vCPU 0. */
static void qemu_set_pin(unsigned p, bool open)
{
	uint64_t rte = VECTOR_PIN(p) | (pin[p].rte & RTE_LEVEL) | (open ? 0 : RTE_MASK);

	qemu_write(REG_RTE + 2 * p + 1, 0);
	qemu_write(REG_RTE + 2 * p, (uint32_t)rte);
}

/* --- delivery ---------------------------------------------------------------------------------------------------- */

static void fire(unsigned p)
{
	bool level = pin[p].rte & RTE_LEVEL;
	struct message m;

	if ((pin[p].rte & RTE_MASK) || pin[p].in_service || !vtd_remap(pin[p].rte, &m))
		return;
	bochs_deliver(m.vector, m.dest, m.mode, m.logical, true, level);
	pin[p].in_service = level;
}

static void eoi(uint8_t vector)
{
	for (unsigned p = 0; p < PINS; p++) {
		if (!pin[p].in_service || (pin[p].rte & RTE_VECTOR) != vector)
			continue;
		pin[p].in_service = false;
		if (is_qemus(p))
			qemu_set_pin(p, !(pin[p].rte & RTE_MASK));
		else if (pin[p].asserted)
			fire(p);
	}
}

void ioapic_qemu_pin(uint8_t vector)
{
	unsigned p = vector < 24 ? vector : vector - 16u;

	fire(p);
	if (!(pin[p].rte & RTE_LEVEL))
		qemu_set_pin(p, !(pin[p].rte & RTE_MASK));
}

/* --- the guest's registers --------------------------------------------------------------------------------------- */

static uint32_t rte_read(unsigned reg)
{
	unsigned p = reg / 2;
	uint64_t rte = pin[p].rte | (pin[p].in_service ? RTE_IRR : 0);

	return (uint32_t)(reg & 1 ? rte >> 32 : rte);
}

static void rte_write(unsigned reg, uint32_t value)
{
	unsigned p = reg / 2;
	bool was_masked = pin[p].rte & RTE_MASK, masked;

	if (reg & 1) {
		pin[p].rte = (uint32_t)pin[p].rte | (uint64_t)value << 32;
		return;
	}
	pin[p].rte = (pin[p].rte & ~0xFFFFFFFFull) | (value & ~(RTE_STATUS | RTE_IRR));
	if (!(value & RTE_LEVEL))
		pin[p].in_service = false;
	masked = pin[p].rte & RTE_MASK;
	if (is_qemus(p))
		qemu_set_pin(p, !masked && !pin[p].in_service);
	else if (was_masked && !masked && (value & RTE_LEVEL) && pin[p].asserted)
		fire(p);
}

static uint32_t reg_read(uint32_t reg)
{
	if (reg == REG_ID)
		return id;
	if (reg == REG_VERSION)
		return VERSION;
	return IN_RANGE(reg, REG_RTE, 2 * PINS) ? rte_read(reg - REG_RTE) : 0;
}

static bool read_memory(uint64_t addr, uint32_t size, void *data, void *self)
{
	uint32_t offset = addr & 0xFF, v = 0;

	(void)self;
	if (offset == IOREGSEL)
		v = selector;
	else if (offset == IOWIN)
		v = reg_read(selector);
	memset(data, 0, size);
	memcpy(data, &v, size < 4 ? size : 4);
	return true;
}

static bool write_memory(uint64_t addr, uint32_t size, void *data, void *self)
{
	uint32_t offset = addr & 0xFF, v = 0;

	(void)self;
	memcpy(&v, data, size < 4 ? size : 4);
	if (offset == IOREGSEL)
		selector = v & 0xFF;
	else if (offset == EOI_REG)
		eoi((uint8_t)v);
	else if (offset == IOWIN && selector == REG_ID)
		id = v & 0x0F000000;
	else if (offset == IOWIN && IN_RANGE(selector, REG_RTE, 2 * PINS))
		rte_write(selector - REG_RTE, v);
	return true;
}

/* --- Bochs's object ---------------------------------------------------------------------------------------------- */

static void reset_pins(void)
{
	for (unsigned p = 0; p < PINS; p++) {
		pin[p].rte = RTE_MASK;
		pin[p].in_service = false;
	}
	selector = id = 0;
}

void ioapic_reset(void)
{
	reset_pins();
	for (unsigned p = 0; p < PINS; p++)
		pin[p].asserted = false;
}

static void set_irq_level(struct bochs_device *self, uint8_t p, bool level)
{
	bool was;

	(void)self;
	if (p == 0)
		p = 2; /* the timer's interrupt, as the MADT says */
	if (p >= PINS || is_qemus(p))
		return;
	was = pin[p].asserted;
	pin[p].asserted = level;
	if (level && !was)
		fire(p);
}

static void receive_eoi(struct bochs_device *self, uint8_t vector)
{
	(void)self;
	eoi(vector);
}

static void device_nothing(struct bochs_device *self) { (void)self; }
static void device_reset(struct bochs_device *self, unsigned type) { (void)self; (void)type; }
static void set_enabled(struct bochs_device *self, bool on, uint16_t at) { (void)self; (void)on; (void)at; }
static void debug_dump(struct bochs_device *self, int argc, char **argv) { (void)self; (void)argc; (void)argv; }

static const struct bochs_vtable vtable = {
	.destroy = device_nothing,
	.destroy_and_free = device_nothing,
	.init = device_nothing,
	.reset = device_reset,
	.register_state = device_nothing,
	.after_restore_state = device_nothing,
	.debug_dump = debug_dump,
	.set_enabled = set_enabled,
	.receive_eoi = receive_eoi,
	.set_irq_level = set_irq_level,
};

/* Bochs's I/O APIC stays the object that its devices and local APICs call; its methods become ours. */
void ioapic_init(void)
{
	void *plugin = dlopen("libbx_ioapic.so.0", RTLD_NOLOAD | RTLD_LAZY);
	struct bochs_device **object = plugin ? dlsym(plugin, "theIOAPIC") : NULL;

	if (!object || !*object)
		machine_end(END_ERROR, 0, "Bochs's I/O APIC was not found: %s", dlerror());
	(*object)->methods = BOCHS_METHODS(vtable);
	ioapic_reset();
	if (!bochs_unregister_memory(NULL, IOAPIC_FIRST, IOAPIC_LAST) ||
	    !bochs_register_memory(*object, read_memory, write_memory, NULL, IOAPIC_FIRST, IOAPIC_LAST))
		machine_end(END_ERROR, 0, "Bochs's I/O APIC could not be replaced");
}
