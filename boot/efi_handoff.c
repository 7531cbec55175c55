/*
 * The end of boot services: memory map, ExitBootServices, jump.
 *
 * Invariant: between ExitBootServices and the jump nothing of the firmware is called, and the time stamp is taken
 * first, so that everything after it counts as ours.
 */
#include "boot/efi_loader.h"
#include "boot/memmap.h"
#include "boot/serial.h"
#include "core/x86.h"

#define MAP_BYTES (256u << 10) /* room for about 5000 entries */
#define TRIES 8

struct efi_map {
	u64 at;
	UINTN len, key, stride;
	UINT32 version;
};

/*
 * UEFI 2.10, ExitBootServices(): a timer may change the map between the two calls, then the key no longer fits and both
 * are repeated. After the first refusal only the memory services may be used, so the buffer is allotted beforehand.
 */
static EFI_STATUS leave_boot_services(EFI_HANDLE self, struct efi_map *map)
{
	EFI_BOOT_SERVICES *bs = efi_system->BootServices;
	EFI_STATUS status = EFI_INVALID_PARAMETER;

	for (u32 i = 0; i < TRIES && status == EFI_INVALID_PARAMETER; i++) {
		map->len = MAP_BYTES;
		status = bs->GetMemoryMap(&map->len, (EFI_MEMORY_DESCRIPTOR *)map->at, &map->key, &map->stride, &map->version);
		if (EFI_ERROR(status))
			return status;
		status = bs->ExitBootServices(self, map->key);
	}
	return status;
}

static void __noreturn stop(const char *reason)
{
	serial_puts("nestling: error: ");
	serial_puts(reason);
	serial_puts("\n");
	cpu_halt_forever();
	__builtin_unreachable();
}

EFI_STATUS efi_handoff(EFI_HANDLE self, struct bootinfo *bi, u64 entry)
{
	void (*image)(struct bootinfo *bi, u64 tsc) = (void (*)(struct bootinfo *, u64))entry; /* boot_entry64 */
	struct efi_map map;
	const char *err;
	EFI_STATUS status;
	u64 tsc;

	status = efi_alloc(EfiLoaderData, MAP_BYTES, PAGE_SIZE, &map.at);
	if (EFI_ERROR(status))
		return efi_fail("no memory below 4 GiB for the memory map", status);
	status = leave_boot_services(self, &map);
	if (EFI_ERROR(status))
		stop("the firmware does not let go of the machine (ExitBootServices)");
	tsc = rdtsc();
	irq_disable();
	err = memmap_add_efi(bi, (const void *)map.at, map.len, map.stride);
	if (err)
		stop(err);
	image(bi, tsc);
	stop("the hypervisor returned");
}
