/*
 * core/loader*.c: kernels of both protocols and both ELF classes into a flat guest RAM; every truncation, wrong headers, and
 * the boot information as a kernel would read it.
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
#include "core/loader.h"
#include "core/multiboot2.h"
#include "core/vacpi.h"
#include "tests/unit/core_fakes.h"

#define RAM (8ull << 20)
#define HEADER_AT 0x400u  /* of the multiboot header in the test kernels */
#define TEXT_AT 0x1000u   /* of the first segment's bytes */
#define TEXT_LEN 0x300u
#define DATA_LEN 0x80u
#define FILE_LEN (TEXT_AT + TEXT_LEN + DATA_LEN)
#define LOAD 0x200000u
#define VIRT 0xffffffff80000000ull

static u8 ram[RAM];
static struct vm_config cfg;
static struct vm vm;
static char err[256];

/* ---- guest RAM: the low part only, where everything is loaded ---- */

int vm_write(struct vm *v, gpa_t gpa, const void *buf, u64 len)
{
	(void)v;
	if (gpa.v + len > RAM)
		return -EFAULT;
	memcpy(ram + gpa.v, buf, len);
	return 0;
}

int vm_read(struct vm *v, gpa_t gpa, void *buf, u64 len)
{
	(void)v;
	if (gpa.v + len > RAM)
		return -EFAULT;
	memcpy(buf, ram + gpa.v, len);
	return 0;
}

/* ---- a bundle of named pieces; bundle.c has its own test ---- */

static struct bundle_file files[4];
static u32 nr_files;

int bundle_find(const struct bundle *b, const char *name, struct bundle_file *out)
{
	(void)b;
	for (u32 i = 0; i < nr_files; i++) {
		if (!strcmp(files[i].name, name)) {
			*out = files[i];
			return 0;
		}
	}
	return -ENOENT;
}

/* ---- making kernels ---- */

static u8 kernel[FILE_LEN];
static u32 mb2_len;

static void put_elf64(void)
{
	Elf64_Ehdr *e = (Elf64_Ehdr *)kernel;
	Elf64_Phdr *p = (Elf64_Phdr *)(kernel + sizeof(*e));

	memcpy(e->e_ident, ELFMAG, SELFMAG);
	e->e_ident[EI_CLASS] = ELFCLASS64;
	e->e_ident[EI_DATA] = ELFDATA2LSB;
	e->e_type = ET_EXEC;
	e->e_machine = EM_X86_64;
	e->e_entry = VIRT + 0x10;
	e->e_phoff = sizeof(*e);
	e->e_phentsize = sizeof(*p);
	e->e_phnum = 3;
	p[0] = (Elf64_Phdr){ .p_type = PT_LOAD, .p_offset = TEXT_AT, .p_vaddr = VIRT, .p_paddr = LOAD, .p_filesz = TEXT_LEN,
			     .p_memsz = 0x1000 };
	p[1] = (Elf64_Phdr){ .p_type = PT_NOTE, .p_offset = ~0ull, .p_filesz = ~0ull };
	p[2] = (Elf64_Phdr){ .p_type = PT_LOAD, .p_offset = TEXT_AT + TEXT_LEN, .p_vaddr = VIRT + 0x3000, .p_paddr = LOAD + 0x3000,
			     .p_filesz = DATA_LEN, .p_memsz = 0x2800 };
}

static void put_elf32(void)
{
	Elf32_Ehdr *e = (Elf32_Ehdr *)kernel;
	Elf32_Phdr *p = (Elf32_Phdr *)(kernel + sizeof(*e));

	memcpy(e->e_ident, ELFMAG, SELFMAG);
	e->e_ident[EI_CLASS] = ELFCLASS32;
	e->e_ident[EI_DATA] = ELFDATA2LSB;
	e->e_type = ET_EXEC;
	e->e_machine = EM_386;
	e->e_entry = LOAD + 0x10;
	e->e_phoff = sizeof(*e);
	e->e_phentsize = sizeof(*p);
	e->e_phnum = 2;
	p[0] = (Elf32_Phdr){ .p_type = PT_LOAD, .p_offset = TEXT_AT, .p_vaddr = LOAD, .p_paddr = LOAD, .p_filesz = TEXT_LEN,
			     .p_memsz = 0x1000 };
	p[1] = (Elf32_Phdr){ .p_type = PT_LOAD, .p_offset = TEXT_AT + TEXT_LEN, .p_vaddr = LOAD + 0x3000, .p_paddr = LOAD + 0x3000,
			     .p_filesz = DATA_LEN, .p_memsz = 0x2800 };
}

static void put_mb1(u32 flags)
{
	u32 h[3] = { 0x1badb002, flags, -(0x1badb002 + flags) };
	memcpy(kernel + HEADER_AT, h, sizeof(h));
}

static void mb2_begin(void) { mb2_len = 16; }

static void mb2_tag(u16 type, u16 flags, const u32 *words, u32 n)
{
	struct mb2_header_tag t = { .type = type, .flags = flags, .size = 8 + n * 4 };
	memcpy(kernel + HEADER_AT + mb2_len, &t, 8);
	if (n)
		memcpy(kernel + HEADER_AT + mb2_len + 8, words, n * 4);
	mb2_len = (u32)ALIGN_UP(mb2_len + t.size, 8);
}
#define MB2_TAG(type, flags, ...) mb2_tag((type), (flags), (u32[]){ __VA_ARGS__ }, sizeof((u32[]){ __VA_ARGS__ }) / 4)

static void mb2_end(void)
{
	mb2_tag(MB2_HDR_END, 0, NULL, 0);
	struct mb2_header h = { .magic = MB2_HEADER_MAGIC, .architecture = 0, .length = mb2_len };
	h.checksum = -(h.magic + h.architecture + h.length);
	memcpy(kernel + HEADER_AT, &h, sizeof(h));
}

static int begin(void **state)
{
	(void)state;
	fakes_reset();
	memset(&cfg, 0, sizeof(cfg));
	memset(&vm, 0, sizeof(vm));
	memset(ram, 0, sizeof(ram));
	memset(kernel, 0, sizeof(kernel));
	for (u32 i = TEXT_AT; i < FILE_LEN; i++)
		kernel[i] = (u8)(i * 7);
	strcpy(cfg.kernel, "kernel.elf");
	strcpy(cfg.cmdline, "a=1 b");
	vm.cfg = &cfg;
	vm.ram_low = RAM;
	memcpy(ram + VACPI_BASE, "RSD PTR ", 8);
	nr_files = 0;
	return 0;
}

/* Load the first n bytes of the kernel, on a copy of exactly that size. */
static int load_n(u64 n, struct vm_entry_state *entry)
{
	struct bundle b = { 0 };
	u8 *copy = malloc(n ? n : 1);

	memcpy(copy, kernel, n);
	files[0] = (struct bundle_file){ .name = "kernel.elf", .data = copy, .len = n };
	nr_files = MAX(nr_files, 1u);
	err[0] = 0;
	int e = loader_load(&vm, &b, entry, err, sizeof(err));
	free(copy);
	assert_int_equal(vm.owner.pages, 0);
	return e;
}

static struct vm_entry_state entry;
static int load(void) { return load_n(FILE_LEN, &entry); }

static void expect(const char *part)
{
	int e = load();
	if (e >= 0 || !strstr(err, part))
		fail_msg("returned %d, said '%s', expected '%s'", e, err, part);
}

static void module(u32 i, const char *name, const char *data, const char *cmdline)
{
	strcpy(cfg.modules[i].file, name);
	strcpy(cfg.modules[i].cmdline, cmdline);
	cfg.nr_modules = i + 1;
	files[i + 1] = (struct bundle_file){ .name = cfg.modules[i].file, .data = (const u8 *)data, .len = strlen(data) };
	nr_files = i + 2;
}

static void image_is_at(u64 base)
{
	assert_memory_equal(ram + base, kernel + TEXT_AT, TEXT_LEN);
	assert_memory_equal(ram + base + 0x3000, kernel + TEXT_AT + TEXT_LEN, DATA_LEN);
	for (u32 i = TEXT_LEN; i < 0x3000; i++)
		assert_int_equal(ram[base + i], 0);
}

/* ---- multiboot 1 ---- */

static u32 word(u64 gpa)
{
	u32 v;
	assert_true(gpa + 4 <= RAM);
	memcpy(&v, ram + gpa, 4);
	return v;
}

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

static void relocate(u32 min, u32 max, u32 align, u32 preference)
{
	begin(NULL);
	put_elf64();
	mb2_begin();
	MB2_TAG(MB2_HDR_RELOCATABLE, 0, min, max, align, preference);
	mb2_end();
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
	strcpy(cfg.kernel, "other");
	expect("kernel 'other' is not in the bundle");
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
			int e = load_n(n, &entry);
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
		cmocka_unit_test_setup(mb1_elf32, begin), cmocka_unit_test_setup(mb1_flat, begin),
		cmocka_unit_test_setup(mb1_flat_wrong, begin), cmocka_unit_test_setup(mb1_features, begin),
		cmocka_unit_test_setup(mb2_elf64, begin), cmocka_unit_test_setup(mb2_relocatable, begin),
		cmocka_unit_test_setup(modules_below_a_high_image, begin), cmocka_unit_test_setup(mb2_flat, begin),
		cmocka_unit_test_setup(mb2_wrong, begin), cmocka_unit_test_setup(elf_wrong, begin),
		cmocka_unit_test_setup(not_a_kernel, begin), cmocka_unit_test_setup(modules_wrong, begin),
		cmocka_unit_test_setup(largest_information, begin), cmocka_unit_test_setup(every_truncation_fails, begin),
		cmocka_unit_test_setup(survives_any_byte, begin),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
