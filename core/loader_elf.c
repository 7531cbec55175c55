/*
 * Kernel images: ELF program headers (System V ABI, Object Files: Program Header), 32 and 64 bit, and the flat format that
 * the multiboot headers can describe by themselves.
 *
 * Invariant: a segment that is in a load_image lies inside the file, does not wrap, ends below 4 GiB, and overlaps none
 * of the others.
 */
#include <elf.h>
#include <string.h>

#include "core/console.h"
#include "core/errno.h"
#include "core/loader.h"

#define MAX_PROGRAM_HEADERS 64u
#define FOUR_GIB (1ull << 32)

/* The fields that we use, of either class. */
struct elf_header { u16 type, machine; u64 entry, phoff; u32 phentsize, phnum; };
struct elf_segment { u32 type; u64 offset, vaddr, paddr, filesz, memsz; };

static int bad(const struct bundle_file *f, char *err, size_t errlen, const char *why)
{
	format(err, errlen, "%.60s: %s", f->name, why);
	return -EINVAL;
}

int loader_add_segment(struct load_image *img, const struct bundle_file *f, const struct load_segment *s, char *err,
		       size_t errlen)
{
	if (!s->memsz && !s->filesz)
		return 0;
	if (s->filesz > s->memsz)
		return bad(f, err, errlen, "a segment is larger in the file than in memory");
	if (s->offset > f->len || s->filesz > f->len - s->offset)
		return bad(f, err, errlen, "a segment lies beyond the end of the file (truncated?)");
	if (s->pa >= FOUR_GIB || s->memsz > FOUR_GIB - s->pa)
		return bad(f, err, errlen, "a segment lies above 4 GiB");
	for (u32 i = 0; i < img->nr; i++)
		if (s->pa < img->seg[i].pa + img->seg[i].memsz && img->seg[i].pa < s->pa + s->memsz)
			return bad(f, err, errlen, "two segments overlap in memory");
	if (img->nr == LOADER_MAX_SEGMENTS)
		return bad(f, err, errlen, "too many segments");
	img->seg[img->nr++] = *s;
	return 0;
}

int loader_add_flat(struct load_image *img, const struct bundle_file *f, u64 header_offset, u32 header, u32 load, u32 load_end,
		    u32 bss_end, char *err, size_t errlen)
{
	if (load > header || header - load > header_offset)
		return bad(f, err, errlen, "the header's load address does not fit its own address");
	u64 offset = header_offset - (header - load);
	if (load_end && load_end < load)
		return bad(f, err, errlen, "the header's load address lies behind the load end address");
	u64 filesz = load_end ? load_end - load : f->len - offset;
	u64 end = load + filesz;
	if (bss_end && bss_end < end)
		return bad(f, err, errlen, "the header's bss end address lies before the load end address");
	struct load_segment s = { .offset = offset, .filesz = filesz, .pa = load, .memsz = (bss_end ? bss_end : end) - load };
	return loader_add_segment(img, f, &s, err, errlen);
}

/* ---- ELF ---- */

static bool read_header(const struct bundle_file *f, struct elf_header *h, bool *is64)
{
	Elf64_Ehdr e64;
	Elf32_Ehdr e32;

	if (f->len < sizeof(e32))
		return false;
	memcpy(&e32, f->data, sizeof(e32));
	if (memcmp(e32.e_ident, ELFMAG, SELFMAG) || e32.e_ident[EI_DATA] != ELFDATA2LSB)
		return false;
	*is64 = e32.e_ident[EI_CLASS] == ELFCLASS64;
	if (!*is64) {
		*h = (struct elf_header){ e32.e_type, e32.e_machine, e32.e_entry, e32.e_phoff, e32.e_phentsize, e32.e_phnum };
		return e32.e_ident[EI_CLASS] == ELFCLASS32;
	}
	if (f->len < sizeof(e64))
		return false;
	memcpy(&e64, f->data, sizeof(e64));
	*h = (struct elf_header){ e64.e_type, e64.e_machine, e64.e_entry, e64.e_phoff, e64.e_phentsize, e64.e_phnum };
	return true;
}

/* Program header i; the caller has checked that the table lies inside the file and its entries are large enough. */
static struct elf_segment read_segment(const struct bundle_file *f, const struct elf_header *h, bool is64, u32 i)
{
	const u8 *at = f->data + h->phoff + (u64)i * h->phentsize;
	Elf64_Phdr p64;
	Elf32_Phdr p32;

	if (is64) {
		memcpy(&p64, at, sizeof(p64));
		return (struct elf_segment){ p64.p_type, p64.p_offset, p64.p_vaddr, p64.p_paddr, p64.p_filesz, p64.p_memsz };
	}
	memcpy(&p32, at, sizeof(p32));
	return (struct elf_segment){ p32.p_type, p32.p_offset, p32.p_vaddr, p32.p_paddr, p32.p_filesz, p32.p_memsz };
}

static int check_header(const struct bundle_file *f, const struct elf_header *h, bool is64, char *err, size_t errlen)
{
	u32 entsize = is64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);

	if (h->machine != EM_386 && h->machine != EM_X86_64)
		return bad(f, err, errlen, "the ELF file is not for x86");
	if (h->type != ET_EXEC && h->type != ET_DYN)
		return bad(f, err, errlen, "the ELF file is not an executable");
	if (!h->phnum || h->phnum > MAX_PROGRAM_HEADERS || h->phentsize < entsize)
		return bad(f, err, errlen, "the ELF program headers are malformed");
	if (h->phoff > f->len || (u64)h->phnum * h->phentsize > f->len - h->phoff)
		return bad(f, err, errlen, "the ELF program headers lie beyond the end of the file (truncated?)");
	return 0;
}

/* e_entry is an address as linked: where a segment's virtual and physical addresses differ, its physical place is meant. */
static u64 physical_entry(const struct bundle_file *f, const struct elf_header *h, bool is64)
{
	for (u32 i = 0; i < h->phnum; i++) {
		struct elf_segment s = read_segment(f, h, is64, i);
		if (s.type == PT_LOAD && h->entry >= s.vaddr && h->entry - s.vaddr < s.memsz)
			return s.paddr + (h->entry - s.vaddr);
	}
	return h->entry;
}

int loader_parse_elf(struct load_image *img, const struct bundle_file *f, char *err, size_t errlen)
{
	struct elf_header h;
	bool is64;

	if (!read_header(f, &h, &is64))
		return bad(f, err, errlen, "not an ELF file for x86, and the multiboot header gives no load addresses");
	int e = check_header(f, &h, is64, err, errlen);
	for (u32 i = 0; i < h.phnum && !e; i++) {
		struct elf_segment s = read_segment(f, &h, is64, i);
		struct load_segment l = { .offset = s.offset, .filesz = s.filesz, .pa = s.paddr, .memsz = s.memsz };
		if (s.type == PT_LOAD)
			e = loader_add_segment(img, f, &l, err, errlen);
	}
	if (e)
		return e;
	if (!img->nr)
		return bad(f, err, errlen, "the ELF file has no segment to load");
	img->entry = physical_entry(f, &h, is64);
	return 0;
}
