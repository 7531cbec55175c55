/*
 * Stands in front of a Nestling on a test's disk and damages the firmware's ACPI tables, so that bad machines can be
 * tested on any emulator. Reads \nestling\acpi.patch, one change a line, then starts \nestling\NEXT.EFI:
 *
 *     SIGNATURE OFFSET WIDTH VALUE   store a little-endian value (numbers in hexadecimal)
 *     SIGNATURE fix                  make the table's checksum right again
 *     SIGNATURE hide                 overwrite the signature, so that the table is not found
 *
 * RSDP and XSDT are tables too, by these names; the RSDP has no "fix".
 * Invariant: tables are changed only as the file says; a line that cannot be applied stops with a message.
 */
#include <efi.h>
#include <efilib.h>

#include "tests/machine/selftest/selftest.h"

#define MAX_FILE 4096
#define RSDP_XSDT 24
#define HEADER 36
#define CHECKSUM 9

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system);

static EFI_SYSTEM_TABLE *efi;
static EFI_GUID loaded_image_guid = EFI_LOADED_IMAGE_PROTOCOL_GUID;
static EFI_GUID file_system_guid = EFI_SIMPLE_FILE_SYSTEM_PROTOCOL_GUID;

static __attribute__((noreturn)) void fail(const char *why, const char *detail)
{
	print("acpi_patch: ");
	print(why);
	print(detail);
	print("\n");
	end_machine(1);
}

static u64 find_rsdp(void)
{
	EFI_GUID acpi = ACPI_20_TABLE_GUID;

	for (UINTN i = 0; i < efi->NumberOfTableEntries; i++)
		if (!CompareGuid(&efi->ConfigurationTable[i].VendorGuid, &acpi))
			return (u64)efi->ConfigurationTable[i].VendorTable;
	fail("no RSDP", "");
}

static u64 find_table(const char *signature)
{
	u64 rsdp = find_rsdp(), xsdt = read64(rsdp + RSDP_XSDT);

	if (!CompareMem(signature, "RSDP", 4))
		return rsdp;
	if (!CompareMem(signature, "XSDT", 4))
		return xsdt;
	for (u64 p = xsdt + HEADER; p < xsdt + read32(xsdt + 4); p += 8)
		if (!CompareMem((void *)read64(p), signature, 4))
			return read64(p);
	fail("no such table: ", signature);
}

static void fix_checksum(u64 table)
{
	u8 sum = 0;

	write8(table + CHECKSUM, 0);
	for (u32 i = 0; i < read32(table + 4); i++)
		sum += read8(table + i);
	write8(table + CHECKSUM, (u8)-sum);
}

/* --- the patch file ------------------------------------------------------------------------------------------------ */

static char *skip_blanks(char *p)
{
	while (*p == ' ')
		p++;
	return p;
}

static bool starts(const char *p, const char *word)
{
	while (*word)
		if (*p++ != *word++)
			return false;
	return true;
}

static u64 parse_hex(char **at)
{
	u64 v = 0;
	char *p = skip_blanks(*at);

	for (;; p++) {
		if (*p >= '0' && *p <= '9')
			v = v << 4 | (u64)(*p - '0');
		else if ((*p | 32) >= 'a' && (*p | 32) <= 'f')
			v = v << 4 | (u64)((*p | 32) - 'a' + 10);
		else
			break;
	}
	if (p == *at || (*p && *p != ' '))
		fail("not a number: ", *at);
	*at = p;
	return v;
}

static void apply(char *line)
{
	char signature[5] = { line[0], line[1], line[2], line[3], 0 };
	char *p = skip_blanks(line + 4);
	u64 table = find_table(signature), offset, width, value;

	print("acpi_patch: ");
	print(line);
	print("\n");
	if (starts(p, "fix")) {
		fix_checksum(table);
		return;
	}
	if (starts(p, "hide")) {
		write32(table, 0x58585858);
		return;
	}
	offset = parse_hex(&p);
	width = parse_hex(&p);
	value = parse_hex(&p);
	for (u64 i = 0; i < width; i++)
		write8(table + offset + i, (u8)(value >> 8 * i));
}

static void apply_all(char *text)
{
	while (*text) {
		char *end = text;

		while (*end && *end != '\n')
			end++;
		if (*end)
			*end++ = 0;
		if (*text && *text != '#')
			apply(text);
		text = end;
	}
}

/* --- files --------------------------------------------------------------------------------------------------------- */

static EFI_HANDLE our_device(EFI_HANDLE image)
{
	EFI_LOADED_IMAGE *self;

	if (efi->BootServices->HandleProtocol(image, &loaded_image_guid, (void **)&self))
		fail("no loaded image", "");
	return self->DeviceHandle;
}

static void read_patches(EFI_HANDLE device, char *text)
{
	EFI_FILE_IO_INTERFACE *fs;
	EFI_FILE_HANDLE volume, file;
	UINTN size = MAX_FILE - 1;

	if (efi->BootServices->HandleProtocol(device, &file_system_guid, (void **)&fs) ||
	    fs->OpenVolume(fs, &volume) ||
	    volume->Open(volume, &file, L"\\nestling\\acpi.patch", EFI_FILE_MODE_READ, 0) ||
	    file->Read(file, &size, text))
		fail("cannot read acpi.patch", "");
	text[size] = 0;
	file->Close(file);
}

static EFI_STATUS start_next(EFI_HANDLE image, EFI_HANDLE device)
{
	EFI_DEVICE_PATH *path = FileDevicePath(device, L"\\nestling\\NEXT.EFI");
	EFI_HANDLE next;

	if (efi->BootServices->LoadImage(FALSE, image, path, NULL, 0, &next))
		fail("cannot load NEXT.EFI", "");
	return efi->BootServices->StartImage(next, NULL, NULL);
}

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system)
{
	static char text[MAX_FILE];
	EFI_HANDLE device;

	efi = system;
	InitializeLib(image, system);
	device = our_device(image);
	read_patches(device, text);
	apply_all(text);
	return start_next(image, device);
}
