/*
 * Puts the embedded nestling.elf into memory (System V ABI, Object Files: ELF Header, Program Header).
 *
 * Invariant: the segments keep their distances to each other, so the image works at any 2 MiB aligned place; every
 * byte of it is either copied from the file or zero.
 */
#include "boot/efi_loader.h"

struct elf_header {
	u8 ident[16];
	u16 type, machine;
	u32 version;
	u64 entry, phoff, shoff;
	u32 flags;
	u16 ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};
_Static_assert(sizeof(struct elf_header) == 64, "Elf64_Ehdr");

struct elf_segment {
	u32 type, flags;
	u64 offset, vaddr, paddr, filesz, memsz, align;
};
_Static_assert(sizeof(struct elf_segment) == 56, "Elf64_Phdr");

#define PT_LOAD 1

/* UEFI 2.10, EFI_MEMORY_ATTRIBUTE_PROTOCOL. */
struct memory_attribute_protocol {
	void *get, *set;
	EFI_STATUS (EFIAPI *clear)(struct memory_attribute_protocol *self, EFI_PHYSICAL_ADDRESS at, UINT64 len, UINT64 attributes);
};
#define MEMORY_XP 0x4000 /* no execution */

extern const u8 efi_payload[], efi_payload_end[];

/* The span of linked addresses that the segments fill; segment(i) for i < phnum. */
struct layout {
	const struct elf_header *elf;
	const struct elf_segment *segments;
	u64 start, end;
};

/* The file comes out of our own build: this catches a build gone wrong, not an attack. */
static bool read_layout(struct layout *l)
{
	u64 size = (u64)(efi_payload_end - efi_payload);
	const struct elf_header *e = (const void *)efi_payload;

	*l = (struct layout){ .elf = e, .start = ~0ull };
	if (size < sizeof(*e) || e->ident[0] != 0x7f || e->ident[1] != 'E' || e->ident[2] != 'L' || e->ident[3] != 'F' ||
	    e->phentsize != sizeof(struct elf_segment) || e->phoff > size ||
	    e->phnum > (size - e->phoff) / sizeof(struct elf_segment))
		return false;
	l->segments = (const void *)(efi_payload + e->phoff);
	for (u32 i = 0; i < e->phnum; i++) {
		const struct elf_segment *s = &l->segments[i];

		if (s->type != PT_LOAD)
			continue;
		if (s->filesz > s->memsz || s->offset > size || s->filesz > size - s->offset || s->vaddr + s->memsz < s->vaddr)
			return false;
		l->start = MIN(l->start, s->vaddr);
		l->end = MAX(l->end, s->vaddr + s->memsz);
	}
	return l->start < l->end && IS_ALIGNED(l->start, SIZE_2M) && e->entry >= l->start && e->entry < l->end;
}

static void copy_segments(const struct layout *l, u64 at)
{
	u8 *image = (u8 *)at;

	for (u64 i = 0; i < l->end - l->start; i++)
		image[i] = 0;
	for (u32 i = 0; i < l->elf->phnum; i++) {
		const struct elf_segment *s = &l->segments[i];
		u8 *to = image + (s->vaddr - l->start);

		for (u64 j = 0; s->type == PT_LOAD && j < s->filesz; j++)
			to[j] = efi_payload[s->offset + j];
	}
}

/* Firmware that takes memory protection seriously allots even EfiLoaderCode without execute permission. */
static void allow_execution(u64 at, u64 len)
{
	EFI_GUID guid = { 0xf4560cf6, 0x40ec, 0x4b4a, { 0xa1, 0x92, 0xbf, 0x1d, 0x57, 0xd0, 0xb1, 0x89 } };
	struct memory_attribute_protocol *protocol;

	if (!EFI_ERROR(efi_system->BootServices->LocateProtocol(&guid, NULL, (void **)&protocol)))
		protocol->clear(protocol, at, ALIGN_UP(len, PAGE_SIZE), MEMORY_XP);
}

EFI_STATUS efi_load_image(u64 *entry)
{
	struct layout l;
	EFI_STATUS status;
	u64 at;

	if (!read_layout(&l))
		return efi_fail("the hypervisor inside this program is damaged", EFI_LOAD_ERROR);
	status = efi_alloc(EfiLoaderCode, l.end - l.start, SIZE_2M, &at);
	if (EFI_ERROR(status))
		return efi_fail("no room for the hypervisor below 4 GiB", status);
	copy_segments(&l, at);
	allow_execution(at, l.end - l.start);
	*entry = l.elf->entry - l.start + at;
	return EFI_SUCCESS;
}
