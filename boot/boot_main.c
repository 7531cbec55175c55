/*
 * The boot processor's way from entry.S to kmain(): makes one struct bootinfo of what the loader left.
 *
 * Invariant: the record and the RSDP copy handed on lie in the image, so no memory of the loader's is needed once
 * kmain() runs, except the bundle and the ACPI tables. Runs on the early tables: the low 4 GiB are readable as they are.
 */
#include "boot/entry.h"
#include "boot/memmap.h"
#include "boot/multiboot2.h"
#include "boot/serial.h"
#include "core/bootinfo.h"
#include "core/x86.h"

static struct bootinfo record;
static struct mb2_rsdp rsdp_copy;

static void __noreturn fail(const char *reason)
{
	serial_puts("nestling: error: ");
	serial_puts(reason);
	serial_puts(" (what the boot loader handed over is unusable; another loader may do better)\n");
	cpu_halt_forever();
	__builtin_unreachable();
}

static const char *from_multiboot2(void)
{
	u64 at = boot_info;
	const char *err = mb2_parse((const void *)at, (1ull << 32) - at, &record, &rsdp_copy);

	if (!err && rsdp_copy.len)
		record.rsdp = HPA((u64)rsdp_copy.data - (u64)__image_start + boot_image);
	return err;
}

static const char *check_places(void)
{
	u64 start = record.image.v, end = start + record.image_len;

	if (!memmap_is_ram(&record, start, record.image_len))
		return "by the memory map the hypervisor itself does not lie in RAM";
	if (record.bundle.v < end && start < record.bundle.v + record.bundle_len)
		return "the bundle lies over the hypervisor";
	return NULL;
}

void boot_main(void)
{
	const char *err = NULL;

	if (boot_from == BOOT_FROM_EFI)
		record = *(const struct bootinfo *)(u64)boot_info;
	record.image = HPA(boot_image);
	record.image_len = (u64)(__image_end - __image_start);
	record.tsc_handoff = boot_tsc;
	if (boot_from == BOOT_FROM_MULTIBOOT2)
		err = from_multiboot2();
	if (!err)
		err = check_places();
	if (err)
		fail(err);
	kmain(&record);
}
