/*
 * The guest's RAM: QEMU's, mapped over Bochs's.
 *
 * Invariant: guest-physical address a < ram_size() is byte a of the shared RAM file, for the CPU and for every device.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "tests/machine/plugin/plugin.h"

static uint8_t *ram;
static uint64_t size;

/* Bochs could hand out its RAM in blocks; that of this size lies in one piece, but better to ask. */
static void check_linear(void)
{
	for (uint64_t a = 0; a < size; a += 0x1000)
		if (bochs_ram_page(a) != ram + a)
			machine_end(END_ERROR, 0, "Bochs's RAM is not in one piece at %#lx", (unsigned long)a);
}

void ram_init(void)
{
	int fd = (int)setting("NESTLING_RAM_FD", -1);
	struct stat st;

	size = bochs_ram_size();
	ram = bochs_ram_page(0);
	check_linear();
	if (fstat(fd, &st) || (uint64_t)st.st_size != size)
		machine_end(END_ERROR, 0, "the RAM file is not as large as the guest's memory");
	if (mmap(ram, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) != ram)
		machine_end(END_ERROR, 0, "mapping the RAM file: %s", strerror(errno));
}

uint64_t ram_size(void)
{
	return size;
}

void *ram_at(uint64_t addr, uint64_t bytes)
{
	return addr < size && bytes <= size - addr ? ram + addr : NULL;
}
