/*
 * Code that arrives by disk DMA. Bochs keeps decoded instructions and does not see QEMU's writes to memory; a page that
 * held code and is filled anew from the disk would execute stale. So decoded instructions are forgotten whenever the
 * guest learns that an AHCI command has completed.
 *
 * Invariant: between a command's completion and the guest's first look at the controller that can tell it so, all
 * decoded instructions are flushed. (Other devices' DMA into code is not covered, see README.md.)
 */
#include "tests/machine/plugin/plugin.h"

#define AHCI_SIZE   0x1000
#define AHCI_PORTS  6
#define PORT_BASE   0x100
#define PORT_STRIDE 0x80
#define PORT_SACT   0x34
#define PORT_CI     0x38

static uint64_t base;
static uint32_t issued[AHCI_PORTS]; /* commands that the guest has started and not yet seen end */

void storage_set_base(uint64_t addr)
{
	base = addr;
}

void storage_reset(void)
{
	base = 0;
	for (unsigned p = 0; p < AHCI_PORTS; p++)
		issued[p] = 0;
}

static uint64_t port_reg(unsigned port, uint32_t reg)
{
	return base + PORT_BASE + port * PORT_STRIDE + reg;
}

void storage_write(uint64_t addr, uint64_t value)
{
	if (!base || !IN_RANGE(addr, base, AHCI_SIZE))
		return;
	for (unsigned p = 0; p < AHCI_PORTS; p++)
		if (addr == port_reg(p, PORT_CI) || addr == port_reg(p, PORT_SACT))
			issued[p] |= (uint32_t)value;
}

static uint32_t running(unsigned port)
{
	return (uint32_t)mailbox_call(OP_MMIO_READ, port_reg(port, PORT_CI), 4, 0) |
	       (uint32_t)mailbox_call(OP_MMIO_READ, port_reg(port, PORT_SACT), 4, 0);
}

void storage_read(uint64_t addr)
{
	bool flush = false;

	if (!base || !IN_RANGE(addr, base, AHCI_SIZE))
		return;
	for (unsigned p = 0; p < AHCI_PORTS; p++) {
		uint32_t now;

		if (!issued[p])
			continue;
		now = running(p);
		flush |= (issued[p] & ~now) != 0;
		issued[p] &= now;
	}
	if (flush)
		bochs_flush_decoded();
}
