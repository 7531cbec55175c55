/*
 * A stock Linux bzImage as a multiboot guest: module 0 is the kernel, module 1 its initial RAM disk, the command line is ours. The test's
 * own glue until guests can be bzImages; 32-bit, no library (Linux, Documentation/arch/x86/boot.rst and zero-page.rst).
 *
 * Invariant: nothing of the multiboot information is overwritten before it has been read; what does not fit ends with a message.
 */
#include <stdint.h>

#define COM1 0x3f8
#define EXIT_PORT 0xf4
#define SETUP_HEADER 0x1f1
#define MAX_E820 128

struct mb_info {
	uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4], mmap_length, mmap_addr;
};
struct mb_module { uint32_t start, end, string, reserved; };
struct mb_mmap { uint32_t size; uint64_t addr, len; uint32_t type; } __attribute__((packed));
struct e820 { uint64_t addr, len; uint32_t type; } __attribute__((packed));

/* The part of boot_params that a loader fills in, by offset. */
static uint8_t params[4096] __attribute__((aligned(4096)));
#define PARAM8(off) (*(volatile uint8_t *)(params + (off)))
#define PARAM32(off) (*(volatile uint32_t *)(params + (off)))
#define E820_COUNT 0x1e8
#define E820_TABLE 0x2d0
#define HDR_SETUP_SECTS 0x1f1
#define HDR_MAGIC 0x202
#define HDR_VERSION 0x206
#define HDR_JUMP_LENGTH 0x201
#define HDR_LOADER_TYPE 0x210
#define HDR_LOAD_FLAGS 0x211
#define HDR_CODE32 0x214
#define HDR_RAMDISK 0x218
#define HDR_RAMDISK_LEN 0x21c
#define HDR_CMDLINE 0x228
#define HDR_PREF_ADDRESS 0x258
#define HDR_INIT_SIZE 0x260

void shim_main(uint32_t magic, const struct mb_info *mb);
void linux_enter(uint32_t entry, uint32_t boot_params);

static void out8(uint16_t port, uint8_t v) { __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port)); }

static void die(const char *why)
{
	for (const char *p = "linux shim: "; *p; p++)
		out8(COM1, (uint8_t)*p);
	for (; *why; why++)
		out8(COM1, (uint8_t)*why);
	out8(COM1, '\n');
	out8(EXIT_PORT, 1);
	for (;;)
		;
}

static void copy(void *to, const void *from, uint32_t len)
{
	uint8_t *t = to;
	const uint8_t *f = from;
	for (uint32_t i = 0; i < len; i++)
		t[i] = f[i];
}

static void memory_map(const struct mb_info *mb)
{
	uint32_t n = 0;
	for (uint32_t at = 0; at + 4 < mb->mmap_length && n < MAX_E820;) {
		const struct mb_mmap *m = (const struct mb_mmap *)(mb->mmap_addr + at);
		struct e820 e = { m->addr, m->len, m->type };
		copy(params + E820_TABLE + n++ * sizeof(e), &e, sizeof(e));
		at += m->size + 4;
	}
	if (!n)
		die("no memory map");
	PARAM8(E820_COUNT) = (uint8_t)n;
}

void shim_main(uint32_t magic, const struct mb_info *mb)
{
	if (magic != 0x2badb002 || mb->mods_count != 2)
		die("expected Multiboot 1 and two modules: bzImage, initial RAM disk");
	const struct mb_module *mod = (const struct mb_module *)mb->mods_addr;
	const uint8_t *image = (const uint8_t *)mod[0].start;
	uint32_t header_end = HDR_MAGIC + image[HDR_JUMP_LENGTH];
	copy(params + SETUP_HEADER, image + SETUP_HEADER, header_end - SETUP_HEADER);
	if (PARAM32(HDR_MAGIC) != 0x53726448 || (PARAM32(HDR_VERSION) & 0xffff) < 0x20a || !(PARAM8(HDR_LOAD_FLAGS) & 1))
		die("module 0 is no bzImage of boot protocol 2.10 or later");
	uint32_t setup = (1u + (PARAM8(HDR_SETUP_SECTS) ? PARAM8(HDR_SETUP_SECTS) : 4)) * 512;
	uint32_t where = PARAM32(HDR_PREF_ADDRESS), len = mod[0].end - mod[0].start - setup;
	if (where + PARAM32(HDR_INIT_SIZE) > (uint32_t)params)
		die("the kernel needs more room than there is below the shim");
	memory_map(mb);
	PARAM8(HDR_LOADER_TYPE) = 0xff;
	PARAM32(HDR_RAMDISK) = mod[1].start;
	PARAM32(HDR_RAMDISK_LEN) = mod[1].end - mod[1].start;
	PARAM32(HDR_CMDLINE) = mb->flags & 4 ? mb->cmdline : 0;
	PARAM32(HDR_CODE32) = where;
	copy((void *)where, image + setup, len);
	linux_enter(where, (uint32_t)params);
}
