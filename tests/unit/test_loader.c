/*
 * core/loader*.c: kernels of both protocols and both ELF classes into a flat guest RAM, and the boot information as a kernel
 * would read it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/errno.h"
#include "core/multiboot2.h"
#include "core/vacpi.h"
#include "tests/unit/loader_kernels.h"

/* ---- multiboot 1 ---- */

static void mb1_elf32(void **state)
{
	(void)state;
	put_elf32();
	put_mb1(3);
	module(0, "m0", "first module", "one");
	module(1, "m1", "second", "");
	vm.ram_high = 2 << 20;
	assert_int_equal(load(), 0);
	image_is_at(LOAD);
	assert_int_equal(entry.eip, LOAD + 0x10);
	assert_int_equal(entry.eax, 0x2badb002);
	u32 i = entry.ebx;
	assert_int_equal(word(i), 1 | 4 | 8 | 0x40 | 0x200);
	assert_int_equal(word(i + 4), 0x9f000 / 1024);
	assert_int_equal(word(i + 8), (RAM - 0x100000) / 1024);
	assert_string_equal((char *)ram + word(i + 16), "a=1 b");
	assert_int_equal(word(i + 20), 2);
	u32 m = word(i + 24);
	assert_true(IS_ALIGNED(m, 4) && IS_ALIGNED(word(i + 48), 4));
	assert_true(IS_ALIGNED(word(m), 4096) && word(m) >= LOAD + 0x5800);
	assert_int_equal(word(m + 4) - word(m), 12);
	assert_memory_equal(ram + word(m), "first module", 12);
	assert_string_equal((char *)ram + word(m + 8), "one");
	assert_memory_equal(ram + word(m + 16), "second", 6);
	assert_true(word(m + 16) >= word(m + 4));
	assert_string_equal((char *)ram + word(i + 64), "Nestling");
	/* memory map: 20-byte entries behind their size; the RAM in it is exactly the VM's, less 9f000-100000 */
	u64 total = 0;
	for (u32 off = 0; off < word(i + 44); off += word(word(i + 48) + off) + 4) {
		u32 e = word(i + 48) + off;
		assert_int_equal(word(e), 20);
		if (word(e + 20) == 1)
			total += word(e + 12) + ((u64)word(e + 16) << 32);
	}
	assert_int_equal(total, RAM - 0x61000 + (2 << 20));
}

static void mb1_flat(void **state)
{
	(void)state;
	/* header address, load (0x100 bytes before it), load end, bss end, entry */
	u32 a[5] = { 0x300100, 0x300000, 0x300180, 0x300400, 0x300120 };
	put_mb1(1 << 16 | 4);
	memcpy(kernel + HEADER_AT + 12, a, sizeof(a));
	assert_int_equal(load(), 0);
	assert_memory_equal(ram + 0x300000, kernel + HEADER_AT - 0x100, 0x180);
	assert_int_equal(word(0x300180), 0);
	assert_int_equal(entry.eip, 0x300120);
	a[2] = a[3] = 0; /* all of the file, no bss */
	memcpy(kernel + HEADER_AT + 12, a, sizeof(a));
	assert_int_equal(load(), 0);
	assert_memory_equal(ram + 0x300000, kernel + HEADER_AT - 0x100, FILE_LEN - HEADER_AT + 0x100);
}

static void mb1_features(void **state)
{
	(void)state;
	put_elf32();
	put_mb1(4); /* video is a wish */
	assert_int_equal(load(), 0);
	put_mb1(8);
	expect("kernel.elf: the multiboot header requires features");
}

/* ---- multiboot 2 ---- */

static u32 info_tag(u32 type, u32 nth)
{
	u32 at = entry.ebx + 8, end = entry.ebx + word(entry.ebx);
	for (; at < end; at = (u32)ALIGN_UP(at + word(at + 4), 8))
		if (word(at) == type && !nth--)
			return at;
	return 0;
}

static void mb2_elf64(void **state)
{
	(void)state;
	put_elf64();
	mb2_begin();
	MB2_TAG(MB2_HDR_INFO_REQUEST, 0, MB2_CMDLINE, MB2_MODULE, MB2_MMAP, MB2_ACPI_NEW);
	mb2_tag(MB2_HDR_MODULE_ALIGN, 0, NULL, 0);
	MB2_TAG(MB2_HDR_FRAMEBUFFER, MB2_TAG_OPTIONAL, 0, 0, 0);
	mb2_end();
	module(0, "m0", "first module", "one two");
	assert_int_equal(load(), 0);
	image_is_at(LOAD);
	assert_int_equal(entry.eip, LOAD + 0x10); /* e_entry is virtual */
	assert_int_equal(entry.eax, MB2_BOOT_MAGIC);
	assert_true(IS_ALIGNED(entry.ebx, 8));
	assert_string_equal((char *)ram + info_tag(MB2_CMDLINE, 0) + 8, "a=1 b");
	assert_string_equal((char *)ram + info_tag(MB2_LOADER_NAME, 0) + 8, "Nestling");
	u32 m = info_tag(MB2_MODULE, 0);
	assert_true(IS_ALIGNED(word(m + 8), 4096));
	assert_memory_equal(ram + word(m + 8), "first module", 12);
	assert_int_equal(word(m + 12) - word(m + 8), 12);
	assert_string_equal((char *)ram + m + 16, "one two");
	assert_int_equal(info_tag(MB2_MODULE, 1), 0);
	assert_memory_equal(ram + info_tag(MB2_ACPI_NEW, 0) + 8, ram + VACPI_BASE, 36);
	assert_int_equal(word(info_tag(MB2_ACPI_OLD, 0) + 4), 28);
	assert_int_equal(word(info_tag(MB2_BASIC_MEMORY, 0) + 12), (RAM - 0x100000) / 1024);
	u32 map = info_tag(MB2_MMAP, 0);
	assert_int_equal(word(map + 8), 24);
	assert_int_equal((word(map + 4) - 16) % 24, 0);
	assert_int_equal(info_tag(MB2_LOAD_BASE, 0), 0);
	u32 end = info_tag(MB2_END, 0);
	assert_int_equal(end + 8, entry.ebx + word(entry.ebx));
}

static void relocated_to(u32 base)
{
	assert_int_equal(load(), 0);
	image_is_at(base);
	assert_int_equal(entry.eip, base + 0x10);
	assert_int_equal(word(info_tag(MB2_LOAD_BASE, 0) + 8), base);
}

static void mb2_relocatable(void **state)
{
	(void)state;
	relocate(0, 0xffffffff, 0x1000, MB2_PLACE_ANY);
	relocated_to(LOAD);
	relocate(0x300001, 0xffffffff, 0x100000, MB2_PLACE_ANY);
	relocated_to(0x400000);
	relocate(0, 0xffffffff, 0x1000, MB2_PLACE_LOWEST);
	relocated_to(0x100000);
	relocate(0, 0xffffffff, 0x200000, MB2_PLACE_HIGHEST);
	relocated_to(0x600000);
	relocate(0, 0x500000, 0x1000, MB2_PLACE_HIGHEST);
	relocated_to(0x4fa000);
	relocate(0x7fb000, 0xffffffff, 0x1000, MB2_PLACE_ANY);
	expect("do not fit where it wants to be");
	relocate(0x300000, 0x304000, 0x1000, MB2_PLACE_ANY);
	expect("do not fit where it wants to be");
	relocate(0x300000, 0x200000, 0x1000, MB2_PLACE_ANY);
	expect("relocatable tag is malformed");
	relocate(0, 0xffffffff, 0x1800, MB2_PLACE_ANY);
	expect("relocatable tag is malformed");
}

/* With the image at the very top, modules go below it. */
static void modules_below_a_high_image(void **state)
{
	(void)state;
	relocate(0, 0xffffffff, 0x1000, MB2_PLACE_HIGHEST);
	module(0, "m0", "first module", "");
	assert_int_equal(load(), 0);
	assert_int_equal(word(info_tag(MB2_MODULE, 0) + 8), 0x100000);
}

static void mb2_flat(void **state)
{
	(void)state;
	mb2_begin();
	MB2_TAG(MB2_HDR_ADDRESS, 0, 0x300000, 0x300000, 0x300080, 0);
	MB2_TAG(MB2_HDR_ENTRY, 0, 0x300040);
	mb2_end();
	assert_int_equal(load(), 0);
	assert_memory_equal(ram + 0x300000, kernel + HEADER_AT, 0x80);
	assert_int_equal(entry.eip, 0x300040);
	mb2_begin();
	MB2_TAG(MB2_HDR_ADDRESS, 0, 0x300000, 0x300000, 0x300080, 0);
	mb2_end();
	expect("an address tag but no entry tag");
}

/* Largest boot information: eight modules, all texts at their limit. */
static void largest_information(void **state)
{
	(void)state;
	for (u32 protocol = 0; protocol < 2; protocol++) {
		begin(NULL);
		put_elf64();
		if (protocol)
			put_mb1(0);
		else
			mb2_begin(), mb2_end();
		memset(cfg.cmdline, 'c', CFG_MAX_TEXT - 1);
		for (u32 i = 0; i < CFG_MAX_MODULES; i++) {
			strcpy(cfg.modules[i].file, "kernel.elf");
			memset(cfg.modules[i].cmdline, 'm', CFG_MAX_TEXT - 1);
		}
		cfg.nr_modules = CFG_MAX_MODULES;
		vm.ram_high = 2 << 20;
		assert_int_equal(load(), 0);
	}
}

/* Every buffer that is too small is refused, and not written beyond (it has exactly that size). */
static void information_does_not_fit(void **state)
{
	static const struct load_protocol *const protocols[] = { &loader_mb1, &loader_mb2 };
	struct load_info li = { .cmdline = "a b", .nr_modules = 2, .module = { { 1, 2, "x" }, { 3, 4, "yz" } }, .nr_mmap = 3,
				.rsdp = ram, .relocated_image = true };

	(void)state;
	for (u32 p = 0; p < 2; p++) {
		int need = protocols[p]->info(kernel, sizeof(kernel), 0x1000, &li);
		assert_in_range(need, 100, 1000);
		for (u32 size = 0; size <= (u32)need; size++) {
			u8 *buf = malloc(size ? size : 1);
			assert_int_equal(protocols[p]->info(buf, size, 0x1000, &li), size < (u32)need ? -ENOSPC : need);
			free(buf);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(mb1_elf32, begin),
		cmocka_unit_test_setup(mb1_flat, begin),
		cmocka_unit_test_setup(mb1_features, begin),
		cmocka_unit_test_setup(mb2_elf64, begin),
		cmocka_unit_test_setup(mb2_relocatable, begin),
		cmocka_unit_test_setup(modules_below_a_high_image, begin),
		cmocka_unit_test_setup(mb2_flat, begin),
		cmocka_unit_test_setup(largest_information, begin),
		cmocka_unit_test_setup(information_does_not_fit, begin),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
