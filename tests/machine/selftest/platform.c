/*
 * What the firmware tells: ACPI tables; pages; the PM timer as a clock that runs in real time on every machine.
 */
#include <efi.h>
#include <efilib.h>

#include "tests/machine/selftest/selftest.h"

#define HEADER      36   /* of an ACPI table */
#define MADT_FIRST  44
#define DMAR_FIRST  48
#define DRHD        0
#define MADT_APIC   0

struct platform platform;
static EFI_SYSTEM_TABLE *efi;

static bool is(u64 table, const char *signature)
{
	return !CompareMem((void *)table, signature, 4);
}

static void parse_dmar(u64 t)
{
	for (u64 p = t + DMAR_FIRST; p < t + read32(t + 4); p += read16(p + 2))
		if (read16(p) == DRHD && !platform.vtd)
			platform.vtd = read64(p + 8);
}

static void parse_madt(u64 t)
{
	for (u64 p = t + MADT_FIRST; p < t + read32(t + 4); p += read8(p + 1))
		if (read8(p) == MADT_APIC && (read32(p + 4) & 1))
			platform.cpus++;
}

static void parse_table(u64 t)
{
	if (is(t, "MCFG"))
		platform.ecam = read64(t + 44);
	else if (is(t, "DMAR"))
		parse_dmar(t);
	else if (is(t, "APIC"))
		parse_madt(t);
	else if (is(t, "FACP"))
		platform.pm_timer = (u16)read32(t + 76);
}

static u64 find_xsdt(void)
{
	EFI_GUID acpi = ACPI_20_TABLE_GUID;

	for (UINTN i = 0; i < efi->NumberOfTableEntries; i++)
		if (!CompareGuid(&efi->ConfigurationTable[i].VendorGuid, &acpi))
			return read64((u64)efi->ConfigurationTable[i].VendorTable + 24);
	return 0;
}

void platform_init(void *efi_system_table)
{
	u64 xsdt;

	efi = efi_system_table;
	xsdt = find_xsdt();
	if (xsdt)
		for (u64 p = xsdt + HEADER; p < xsdt + read32(xsdt + 4); p += 8)
			parse_table(read64(p));
}

u64 alloc_pages(unsigned count)
{
	EFI_PHYSICAL_ADDRESS a = 0xFFFFFFFF;

	if (uefi_call_wrapper(efi->BootServices->AllocatePages, 4, AllocateMaxAddress, EfiRuntimeServicesData, count, &a)) {
		check(false, "memory");
		end_machine(1);
	}
	for (u64 p = a; p < a + count * 4096ull; p += 8)
		write64(p, 0);
	return a;
}

u32 pm_ticks(void)
{
	return inl(platform.pm_timer);
}

void delay_ms(u32 ms)
{
	wait_until(false, ms);
}

void test_platform(void)
{
	print_hex("ECAM", platform.ecam);
	print_hex("VT-d", platform.vtd);
	print_hex("CPUs", platform.cpus);
	check(platform.ecam != 0, "MCFG gives ECAM");
	check(platform.pm_timer != 0, "FADT gives the PM timer");
	check(platform.cpus != 0, "MADT lists CPUs");
	check(read32(pci_cfg(0, 0)) == 0x29C08086, "ECAM shows the q35 host bridge");
	check(read32(pci_cfg(0xF0, 0)) == 0xFFFFFFFF, "nothing at 00:1e.0 by ECAM");
}
