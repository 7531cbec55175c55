/*
 * PCI configuration space on its way to QEMU: the mailbox device is hidden, and two registers are noted: PCIEXBAR, which
 * says where ECAM is, and the AHCI controller's BAR5 (for storage.c).
 *
 * Invariant: the guest never sees, moves or disables the mailbox device, by CF8/CFC or by ECAM.
 */
#include "tests/machine/plugin/plugin.h"

#define CF8 0xCF8
#define CFC 0xCFC

#define BDF_HOST_BRIDGE 0x0000
#define BDF_MAILBOX     0x00F0 /* 00:1e.0 */
#define BDF_AHCI        0x00FA /* 00:1f.2 */
#define REG_PCIEXBAR    0x60
#define REG_BAR5        0x24
#define ECAM_SIZE       0x10000000

static uint32_t cf8;
static uint64_t ecam;

static void note_write(uint32_t bdf, uint32_t reg, uint64_t value)
{
	if (bdf == BDF_HOST_BRIDGE && reg == REG_PCIEXBAR) {
		ecam = value & 1 ? value & 0xF0000000 : 0;
		log_line("ECAM at %#lx", (unsigned long)ecam);
	}
	if (bdf == BDF_AHCI && reg == REG_BAR5)
		storage_set_base(value & 0xFFFFF000);
}

bool config_port_read(uint32_t port, uint32_t size, uint32_t *value)
{
	if (port == CF8 && size == 4) {
		*value = cf8;
		return true;
	}
	if (IN_RANGE(port, CFC, 4) && (cf8 >> 8 & 0xFFFF) == BDF_MAILBOX) {
		*value = 0xFFFFFFFF;
		return true;
	}
	return false;
}

bool config_port_write(uint32_t port, uint32_t size, uint32_t value)
{
	uint32_t bdf = cf8 >> 8 & 0xFFFF;

	if (port == CF8 && size == 4)
		cf8 = value;
	if (!IN_RANGE(port, CFC, 4))
		return false;
	if (bdf == BDF_MAILBOX)
		return true;
	if (size == 4)
		note_write(bdf, cf8 & 0xFC, value);
	return false;
}

static uint32_t ecam_bdf(uint64_t addr)
{
	return (uint32_t)(addr - ecam) >> 12;
}

bool config_ecam_access(uint64_t addr)
{
	return ecam && IN_RANGE(addr, ecam, ECAM_SIZE) && ecam_bdf(addr) == BDF_MAILBOX;
}

void config_ecam_write(uint64_t addr, uint64_t value)
{
	if (ecam && IN_RANGE(addr, ecam, ECAM_SIZE))
		note_write(ecam_bdf(addr), addr & 0xFFF, value);
}

void config_reset(void)
{
	cf8 = 0;
	ecam = 0;
}
