/* Makes kernels for the tests of the loader; stands in for bundle.c and the memory of a VM. See loader_kernels.h. */
#include "tests/unit/loader_kernels.h"

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
#include "tests/unit/core_fakes.h"

u8 ram[RAM];
struct vm_config cfg;
struct vm vm;
char err[256];

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

struct bundle_file files[4];
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

u8 kernel[FILE_LEN];
static u32 mb2_len;

void put_elf64(void)
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

void put_elf32(void)
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

void put_mb1(u32 flags) { memcpy(kernel + HEADER_AT, (u32[]){ 0x1badb002, flags, -(0x1badb002 + flags) }, 12); }

void mb2_begin(void) { mb2_len = 16; }

void mb2_tag(u16 type, u16 flags, const u32 *words, u32 n)
{
	struct mb2_header_tag t = { .type = type, .flags = flags, .size = 8 + n * 4 };
	memcpy(kernel + HEADER_AT + mb2_len, &t, 8);
	if (n)
		memcpy(kernel + HEADER_AT + mb2_len + 8, words, n * 4);
	mb2_len = (u32)ALIGN_UP(mb2_len + t.size, 8);
}

void mb2_end(void)
{
	mb2_tag(MB2_HDR_END, 0, NULL, 0);
	struct mb2_header h = { .magic = MB2_HEADER_MAGIC, .architecture = 0, .length = mb2_len };
	h.checksum = -(h.magic + h.architecture + h.length);
	memcpy(kernel + HEADER_AT, &h, sizeof(h));
}

int begin(void **state)
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
int load_n(u64 n)
{
	struct bundle b = { 0 };
	u8 *copy = malloc(n ? n : 1);

	memcpy(copy, kernel, n);
	files[0] = (struct bundle_file){ .name = "kernel.elf", .data = copy, .len = n };
	nr_files = MAX(nr_files, 1u);
	err[0] = 0;
	int e = loader_load(&vm, &b, &entry, err, sizeof(err));
	free(copy);
	assert_int_equal(vm.owner.pages, 0);
	return e;
}

struct vm_entry_state entry;
int load(void) { return load_n(FILE_LEN); }

void expect(const char *part)
{
	int e = load();
	if (e >= 0 || !strstr(err, part))
		fail_msg("returned %d, said '%s', expected '%s'", e, err, part);
}

void module(u32 i, const char *name, const char *data, const char *cmdline)
{
	strcpy(cfg.modules[i].file, name);
	strcpy(cfg.modules[i].cmdline, cmdline);
	cfg.nr_modules = i + 1;
	files[i + 1] = (struct bundle_file){ .name = cfg.modules[i].file, .data = (const u8 *)data, .len = strlen(data) };
	nr_files = i + 2;
}

void image_is_at(u64 base)
{
	assert_memory_equal(ram + base, kernel + TEXT_AT, TEXT_LEN);
	assert_memory_equal(ram + base + 0x3000, kernel + TEXT_AT + TEXT_LEN, DATA_LEN);
	for (u32 i = TEXT_LEN; i < 0x3000; i++)
		assert_int_equal(ram[base + i], 0);
}

u32 word(u64 gpa)
{
	assert_true(gpa + 4 <= RAM);
	return *(u32 *)(ram + gpa);
}

void relocate(u32 min, u32 max, u32 align, u32 preference)
{
	begin(NULL);
	put_elf64();
	mb2_begin();
	MB2_TAG(MB2_HDR_RELOCATABLE, 0, min, max, align, preference);
	mb2_end();
}
