/*
 * nestling.efi: from the firmware to the image, in order: record, image, bundle, hand-off.
 *
 * Invariant: until efi_handoff() the firmware owns the machine and any failure returns to it with nothing changed but
 * memory that it gave us.
 */
#include "boot/efi_loader.h"
#include "boot/serial.h"

EFI_SYSTEM_TABLE *efi_system;

EFI_STATUS efi_main(EFI_HANDLE self, EFI_SYSTEM_TABLE *system);

static void print_on_console(const char *text)
{
	CHAR16 wide[2] = { 0, 0 };

	for (; *text; text++) {
		if (*text == '\n') {
			wide[0] = '\r';
			efi_system->ConOut->OutputString(efi_system->ConOut, wide);
		}
		wide[0] = (CHAR16)*text;
		efi_system->ConOut->OutputString(efi_system->ConOut, wide);
	}
}

static char *append(char *to, const char *end, const char *text)
{
	while (*text && to < end)
		*to++ = *text++;
	*to = '\0';
	return to;
}

/* A whole line to one, then to the other: where the firmware's console is COM1, too, it is there twice but readable. */
EFI_STATUS efi_fail(const char *what, EFI_STATUS status)
{
	static char line[256];
	char *at = line, digits[] = "0x00", *end = line + sizeof(line) - 1;

	digits[2] = "0123456789abcdef"[status >> 4 & 15]; /* small numbers with the top bit set (UEFI 2.10, Status Codes) */
	digits[3] = "0123456789abcdef"[status & 15];
	at = append(at, end, "nestling: error: ");
	at = append(at, end, what);
	at = append(at, end, " (EFI status ");
	at = append(at, end, digits);
	append(at, end, ")\n");
	if (efi_system->ConOut)
		print_on_console(line);
	serial_puts(line);
	return status;
}

EFI_STATUS efi_alloc(EFI_MEMORY_TYPE memory_type, u64 bytes, u64 align, u64 *at)
{
	EFI_BOOT_SERVICES *bs = efi_system->BootServices;
	u64 pages = ALIGN_UP(bytes, PAGE_SIZE) >> PAGE_SHIFT, slack = (align >> PAGE_SHIFT) - 1, head;
	EFI_PHYSICAL_ADDRESS got = EFI_LOW_MEMORY;
	EFI_STATUS status = bs->AllocatePages(AllocateMaxAddress, memory_type, pages + slack, &got);

	if (EFI_ERROR(status))
		return status;
	*at = ALIGN_UP(got, align);
	head = (*at - got) >> PAGE_SHIFT;
	if (head)
		bs->FreePages(got, head);
	if (slack - head)
		bs->FreePages(*at + (pages << PAGE_SHIFT), slack - head);
	return EFI_SUCCESS;
}

static bool same_guid(const EFI_GUID *a, const EFI_GUID *b)
{
	const u64 *x = (const void *)a, *y = (const void *)b;

	return x[0] == y[0] && x[1] == y[1];
}

/* UEFI 2.10, EFI Configuration Table: the RSDP of ACPI 2.0 if there is one, else that of 1.0, else 0. */
static hpa_t find_rsdp(void)
{
	static const EFI_GUID acpi_new = ACPI_20_TABLE_GUID, acpi_old = ACPI_TABLE_GUID;
	u64 old = 0;

	for (UINTN i = 0; i < efi_system->NumberOfTableEntries; i++) {
		const EFI_CONFIGURATION_TABLE *t = &efi_system->ConfigurationTable[i];

		if (same_guid(&t->VendorGuid, &acpi_new))
			return HPA((u64)t->VendorTable);
		if (same_guid(&t->VendorGuid, &acpi_old))
			old = (u64)t->VendorTable;
	}
	return HPA(old);
}

/* Load options are text only if a person wrote them; firmware puts binary data there, too: then there is no command line. */
static void take_cmdline(const EFI_LOADED_IMAGE *loaded, struct bootinfo *bi)
{
	const CHAR16 *text = loaded->LoadOptions;
	u64 n = loaded->LoadOptionsSize / sizeof(*text), i;

	for (i = 0; text && i < n && text[i]; i++) {
		if (i + 1 >= sizeof(bi->cmdline) || text[i] < ' ' || text[i] > '~') {
			bi->cmdline[0] = '\0';
			return;
		}
		bi->cmdline[i] = (char)text[i];
		bi->cmdline[i + 1] = '\0';
	}
}

static struct bootinfo *new_record(void)
{
	static const char name[] = "Nestling's EFI loader";
	struct bootinfo *bi;
	EFI_STATUS status;
	u64 at;

	status = efi_alloc(EfiLoaderData, sizeof(*bi), PAGE_SIZE, &at);
	if (EFI_ERROR(status)) {
		efi_fail("no memory below 4 GiB for the boot record", status);
		return NULL;
	}
	bi = (void *)at;
	*bi = (struct bootinfo){ .rsdp = find_rsdp() };
	for (u32 i = 0; i < sizeof(name); i++)
		bi->loader[i] = name[i];
	return bi;
}

EFI_STATUS efi_main(EFI_HANDLE self, EFI_SYSTEM_TABLE *system)
{
	EFI_GUID loaded_guid = LOADED_IMAGE_PROTOCOL;
	EFI_LOADED_IMAGE *loaded;
	struct bootinfo *bi;
	EFI_STATUS status;
	u64 entry;

	efi_system = system;
	status = system->BootServices->HandleProtocol(self, &loaded_guid, (void **)&loaded);
	if (EFI_ERROR(status))
		return efi_fail("the firmware does not say where this program was loaded from", status);
	bi = new_record();
	if (!bi)
		return EFI_OUT_OF_RESOURCES;
	take_cmdline(loaded, bi);
	status = efi_read_bundle(loaded, bi);
	if (EFI_ERROR(status))
		return status;
	status = efi_load_image(&entry);
	if (EFI_ERROR(status))
		return status;
	return efi_handoff(self, bi, entry);
}
