/*
 * The loader of guests: multiboot 1 and 2 kernels (Multiboot Specification 0.6.96; Multiboot2 Specification 2.0).
 *
 * Invariant: a kernel's file and header are untrusted bytes: every offset is checked against the file, every address
 * against the guest's RAM, before it is used; parsing writes nothing.
 */
#ifndef CORE_LOADER_H
#define CORE_LOADER_H

#include "core/bundle.h"
#include "core/vm.h"

#define LOADER_MAX_SEGMENTS 16
#define LOADER_NAME "Nestling"

/* The guest's usable RAM below 4 GiB: [0, LOW_END) and [1 MiB, vm->ram_low); what is between is reserved. */
#define LOADER_LOW_END 0x9f000ull
#define LOADER_HIGH_START 0x100000ull

/* Bytes [offset, offset + filesz) of the file go to pa, zeros up to memsz. pa + memsz does not wrap, filesz <= memsz. */
struct load_segment { u64 offset, filesz, pa, memsz; };

/*
 * What a kernel's headers ask for. Addresses are those it was linked for; nothing is checked against RAM yet, nor whether
 * the entry lies in a segment.
 */
struct load_image {
	const char *file;
	u32 nr;
	struct load_segment seg[LOADER_MAX_SEGMENTS];
	u64 entry;
	bool relocatable;
	u32 min, max, align, preference; /* where the image may go, if relocatable */
};

/* A module's place in guest memory, and its text. */
struct load_module { u32 start, end; const char *cmdline; };

/* Everything that a boot information tells; built by loader.c, written down by the two protocols. */
#define LOADER_MMAP_MAX 8
struct load_mmap_entry { u64 base, len; bool ram; };
struct load_info {
	const char *cmdline;
	u32 nr_modules;
	struct load_module module[CFG_MAX_MODULES];
	u32 nr_mmap;
	struct load_mmap_entry mmap[LOADER_MMAP_MAX];
	u32 mem_lower, mem_upper; /* KiB from 0, and from 1 MiB */
	const u8 *rsdp;           /* VACPI_RSDP_LEN bytes */
	bool relocated_image;     /* tell it load_base */
	u32 load_base;
};

/* What one protocol does. Both parse functions are pure. */
struct load_protocol {
	const char *name;
	u32 magic; /* EAX at entry */
	/* Find the header. Offset, or -ENOENT. */
	s64 (*find)(const struct bundle_file *f);
	/* Decode header and image. 0, or -EINVAL with a sentence that names the file. */
	int (*parse)(struct load_image *img, const struct bundle_file *f, u64 header, char *err, size_t errlen);
	/* Write the boot information that will lie at `at` into buf; returns its length, or -ENOSPC. */
	int (*info)(u8 *buf, u32 size, u32 at, const struct load_info *info);
};
extern const struct load_protocol loader_mb1, loader_mb2;

/* Load kernel and modules of vm->cfg. 0 and how to enter; or a negative error with a sentence. */
int loader_load(struct vm *vm, const struct bundle *b, struct vm_entry_state *entry, char *err, size_t errlen);
/* ELF program headers -> segments and entry (loader_elf.c). header errors as above. */
int loader_parse_elf(struct load_image *img, const struct bundle_file *f, char *err, size_t errlen);
/* Add a segment, with all its checks (loader_elf.c). memsz 0 adds nothing. */
int loader_add_segment(struct load_image *img, const struct bundle_file *f, const struct load_segment *s, char *err,
		       size_t errlen);
/* The address fields (mb1) or address tag (mb2) of a kernel that is not to be read as ELF; bss_end, load_end 0 = none. */
int loader_add_flat(struct load_image *img, const struct bundle_file *f, u64 header_offset, u32 header, u32 load, u32 load_end,
		    u32 bss_end, char *err, size_t errlen);

#endif
