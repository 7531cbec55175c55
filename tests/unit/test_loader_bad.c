/*
 * core/loader*.c: what can be wrong with a kernel's headers and modules, with the sentence it must give; every truncation and
 * every byte changed.
 */
#include <elf.h>
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

static void mb1_flat_wrong(void **state)
{
	static const struct { u32 a[5]; const char *message; } cases[] = {
		{ { 0x300000, 0x300100, 0, 0, 0 }, "load address does not fit" },
		{ { 0x310000, 0x300000, 0, 0, 0 }, "load address does not fit" },
		{ { 0x300100, 0x300000, 0x2fffff, 0, 0 }, "lies behind the load end" },
		{ { 0x300100, 0x300000, 0x310000, 0, 0 }, "beyond the end of the file" },
		{ { 0x300100, 0x300000, 0x300180, 0x300100, 0 }, "bss end address lies before" },
		{ { 0x300100, 0x300000, 0x300180, 0xffffffff, 0 }, "outside the RAM" },
		{ { 0xfffff100, 0xfffff000, 0, 0, 0 }, "above 4 GiB" },
		{ { 0x300100, 0x300000, 0x300180, 0, 0x300180 }, "the entry point 300180 lies in no segment" },
	};
	(void)state;
	put_mb1(1 << 16);
	for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
		memcpy(kernel + HEADER_AT + 12, cases[i].a, sizeof(cases[i].a));
		expect(cases[i].message);
	}
}

static void mb2_wrong(void **state)
{
	(void)state;
	put_elf64();
	mb2_begin();
	MB2_TAG(MB2_HDR_INFO_REQUEST, 0, MB2_CMDLINE, 8);
	mb2_end();
	expect("kernel.elf: the multiboot2 header requires boot information 8");
	mb2_begin();
	MB2_TAG(MB2_HDR_FRAMEBUFFER, 0, 0, 0, 0);
	mb2_end();
	expect("requires a framebuffer");
	mb2_begin();
	MB2_TAG(MB2_HDR_CONSOLE, 0, 1);
	mb2_end();
	expect("requires a screen");
	mb2_begin();
	mb2_tag(77, 0, NULL, 0);
	mb2_end();
	expect("unknown tag 77");
	mb2_begin();
	mb2_tag(MB2_HDR_ENTRY, 0, NULL, 0);
	mb2_end();
	expect("entry tag is too short");
	mb2_begin();
	mb2_end();
	kernel[HEADER_AT + 16 + 4] = 4; /* size of the end tag */
	expect("does not fit the header");
	mb2_begin();
	MB2_TAG(MB2_HDR_INFO_REQUEST, 0, MB2_CMDLINE);
	mb2_end();
	kernel[HEADER_AT + 16 + 6] = 1; /* 64 KiB */
	expect("tag 1 of the multiboot2 header does not fit");
	mb2_begin();
	mb2_end();
	kernel[HEADER_AT + 16] = MB2_HDR_MODULE_ALIGN; /* instead of the end tag */
	expect("no end tag");
	mb2_begin();
	mb2_tag(77, MB2_TAG_OPTIONAL, NULL, 0);
	mb2_end();
	assert_int_equal(load(), 0);
}

/* ---- what can be wrong with an ELF file ---- */

static Elf64_Phdr *segment(u32 i) { return (Elf64_Phdr *)(kernel + sizeof(Elf64_Ehdr)) + i; }

static void fresh64(void)
{
	begin(NULL);
	put_elf64();
	put_mb1(0);
}

static void elf_wrong(void **state)
{
	Elf64_Ehdr *e = (Elf64_Ehdr *)kernel;

	(void)state;
	fresh64(), e->e_ident[0] = 0, expect("not an ELF file");
	fresh64(), e->e_ident[EI_CLASS] = 9, expect("not an ELF file");
	fresh64(), e->e_machine = EM_ARM, expect("not for x86");
	fresh64(), e->e_type = ET_REL, expect("not an executable");
	fresh64(), e->e_phnum = 0, expect("program headers are malformed");
	fresh64(), e->e_phnum = 65, expect("program headers are malformed");
	fresh64(), e->e_phentsize = 32, expect("program headers are malformed");
	fresh64(), e->e_phoff = ~0ull, expect("program headers lie beyond the end");
	fresh64(), e->e_phoff = FILE_LEN - 100, expect("program headers lie beyond the end");
	fresh64(), e->e_entry = 0, expect("the entry point 0 lies in no segment");
	fresh64(), e->e_entry = VIRT + 0x1000, expect("lies in no segment");
	fresh64(), segment(0)->p_filesz = 0x1001, expect("larger in the file than in memory");
	fresh64(), segment(0)->p_offset = FILE_LEN, expect("beyond the end of the file");
	fresh64(), segment(0)->p_offset = ~0ull, expect("beyond the end of the file");
	fresh64(), segment(2)->p_filesz = 0x81, expect("beyond the end of the file");
	fresh64(), segment(0)->p_paddr = LOAD + 0x2001, expect("two segments overlap");
	fresh64(), segment(0)->p_paddr = 1ull << 32, expect("above 4 GiB");
	fresh64(), segment(0)->p_paddr = ~0ull, expect("above 4 GiB");
	fresh64(), segment(0)->p_memsz = ~0ull, expect("above 4 GiB");
	fresh64(), segment(0)->p_paddr = 0x9e001, expect("outside the RAM for kernels");
	fresh64(), segment(0)->p_paddr = 0xfffff, expect("outside the RAM for kernels");
	fresh64(), segment(0)->p_paddr = RAM - 0xfff, expect("outside the RAM for kernels");
	fresh64(), segment(0)->p_type = segment(2)->p_type = PT_NULL, expect("no segment to load");
	fresh64(), segment(0)->p_paddr = 0x9e000;
	assert_int_equal(load(), 0);
	assert_true(entry.ebx + 0x1000 <= 0x9e000);
	fresh64(), segment(0)->p_paddr = RAM - 0x1000;
	assert_int_equal(load(), 0);
}

static void not_a_kernel(void **state)
{
	(void)state;
	put_elf64();
	expect("kernel.elf: not a multiboot kernel");
	memcpy(kernel + HEADER_AT + 2, (u32[]){ 0x1badb002, 0, -0x1badb002u }, 12); /* misaligned */
	expect("not a multiboot kernel");
	strcpy(cfg.kernel, "other"), expect("kernel 'other' is not in the bundle");
}

static void modules_wrong(void **state)
{
	(void)state;
	fresh64();
	strcpy(cfg.modules[0].file, "nope");
	cfg.nr_modules = 1;
	expect("module 'nope' is not in the bundle");
	fresh64();
	module(0, "big", "x", "");
	files[1].len = RAM;
	expect("module 'big' (8192 KiB) does not fit the RAM below 800000");
	files[1].len = ~0ull;
	expect("module 'big'");
}

/* Each truncation of each kind of kernel fails with a sentence, and reads nothing behind the end. */
static void every_truncation_fails(void **state)
{
	(void)state;
	for (u32 kind = 0; kind < 4; kind++) {
		begin(NULL);
		if (kind & 1)
			put_elf64();
		else
			put_elf32();
		if (kind & 2)
			put_mb1(0);
		else
			mb2_begin(), mb2_end();
		assert_int_equal(load(), 0);
		for (u64 n = 0; n < FILE_LEN; n++) {
			int e = load_n(n);
			if (e != -EINVAL || strncmp(err, "kernel.elf: ", 12))
				fail_msg("kind %u cut to %lu: returned %d, said '%s'", kind, n, e, err);
		}
	}
}

/* Any byte of the headers changed: an answer; if it loads, the entry lies in usable RAM. */
static void survives_any_byte(void **state)
{
	static const u8 values[] = { 0, 1, 0x7f, 0x80, 0xff };

	(void)state;
	for (u32 kind = 0; kind < 2; kind++) {
		relocate(0, 0xffffffff, 0x1000, MB2_PLACE_ANY);
		if (kind)
			put_elf32();
		for (u32 i = 0; i < HEADER_AT + 0x80; i += i == 0x100 ? HEADER_AT - 0x100 : 1) {
			u8 was = kernel[i];
			for (u32 v = 0; v < sizeof(values); v++) {
				kernel[i] = values[v];
				if (!load())
					assert_true(entry.eip < 0x9f000 || (entry.eip >= 0x100000 && entry.eip < RAM));
			}
			kernel[i] = was;
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(mb1_flat_wrong, begin),
		cmocka_unit_test_setup(mb2_wrong, begin),
		cmocka_unit_test_setup(elf_wrong, begin),
		cmocka_unit_test_setup(not_a_kernel, begin),
		cmocka_unit_test_setup(modules_wrong, begin),
		cmocka_unit_test_setup(every_truncation_fails, begin),
		cmocka_unit_test_setup(survives_any_byte, begin),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
