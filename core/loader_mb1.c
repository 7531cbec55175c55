/*
 * Multiboot 1 (Multiboot Specification 0.6.96): the header in a kernel's file, and the boot information it gets.
 *
 * Invariant: the information is built in a buffer of ours for the address where it will lie, and is copied as a whole.
 */
#include <string.h>

#include "core/console.h"
#include "core/errno.h"
#include "core/loader.h"

#define HEADER_MAGIC 0x1badb002u
#define BOOT_MAGIC 0x2badb002u
#define SEARCH 8192u

/* Header flags (The layout of Multiboot header). Bits 0-15 must be understood; video (bit 2) is a wish. */
#define FLAG_PAGE_ALIGN BIT(0)
#define FLAG_MEMORY BIT(1)
#define FLAG_VIDEO BIT(2)
#define FLAG_ADDRESSES BIT(16)
#define FLAGS_REQUIRED BITS(15, 0)
#define FLAGS_KNOWN (FLAG_PAGE_ALIGN | FLAG_MEMORY | FLAG_VIDEO)

struct header { u32 magic, flags, checksum; };
struct addresses { u32 header, load, load_end, bss_end, entry; };

/* Boot information format, up to the last field that we fill. */
#define INFO_MEMORY BIT(0)
#define INFO_CMDLINE BIT(2)
#define INFO_MODULES BIT(3)
#define INFO_MMAP BIT(6)
#define INFO_LOADER_NAME BIT(9)
struct info {
	u32 flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4], mmap_length, mmap_addr, drives[2],
		config_table, loader_name, apm_table, vbe[4], framebuffer[6];
};
_Static_assert(offsetof(struct info, mmap_length) == 44 && offsetof(struct info, loader_name) == 64, "multiboot information");
_Static_assert(sizeof(struct info) == 112, "multiboot information");
struct module { u32 start, end, string, reserved; };
struct mmap_entry { u32 size; u64 base, len; u32 type; } __packed; /* size does not count itself */
_Static_assert(sizeof(struct mmap_entry) == 24, "multiboot memory map entry");

static s64 mb1_find(const struct bundle_file *f)
{
	struct header h;

	for (u64 off = 0; off + sizeof(h) <= MIN(f->len, SEARCH); off += 4) {
		memcpy(&h, f->data + off, sizeof(h));
		if (h.magic == HEADER_MAGIC && h.magic + h.flags + h.checksum == 0)
			return (s64)off;
	}
	return -ENOENT;
}

static int mb1_parse(struct load_image *img, const struct bundle_file *f, u64 header, char *err, size_t errlen)
{
	struct addresses a;
	struct header h;

	memcpy(&h, f->data + header, sizeof(h));
	if (h.flags & FLAGS_REQUIRED & ~FLAGS_KNOWN) {
		format(err, errlen, "%.60s: the multiboot header requires features that do not exist (flags %x)", f->name, h.flags);
		return -EINVAL;
	}
	if (!(h.flags & FLAG_ADDRESSES))
		return loader_parse_elf(img, f, err, errlen);
	if (f->len - header < sizeof(h) + sizeof(a)) {
		format(err, errlen, "%.60s: the file ends inside its multiboot header", f->name);
		return -EINVAL;
	}
	memcpy(&a, f->data + header + sizeof(h), sizeof(a));
	img->entry = a.entry;
	return loader_add_flat(img, f, header, a.header, a.load, a.load_end, a.bss_end, err, errlen);
}

/* ---- the information: fixed part, modules, memory map, strings ---- */

struct writer { u8 *buf; u32 size, at, used; };

/* Room for len bytes; its guest address, or 0 when there is none left. */
static u32 put(struct writer *w, const void *data, u32 len)
{
	u32 off = (u32)ALIGN_UP(w->used, 4);
	if (off > w->size || len > w->size - off)
		return 0;
	memcpy(w->buf + off, data, len);
	w->used = off + len;
	return w->at + off;
}

static u32 put_string(struct writer *w, const char *s) { return put(w, s, (u32)strlen(s) + 1); }

static bool put_modules(struct writer *w, struct info *out, const struct load_info *li)
{
	struct module m[CFG_MAX_MODULES] = { 0 };

	for (u32 i = 0; i < li->nr_modules; i++) {
		m[i] = (struct module){ .start = li->module[i].start, .end = li->module[i].end };
		m[i].string = put_string(w, li->module[i].cmdline);
		if (!m[i].string)
			return false;
	}
	out->mods_count = li->nr_modules;
	out->mods_addr = put(w, m, li->nr_modules * (u32)sizeof(m[0]));
	return out->mods_addr;
}

static bool put_mmap(struct writer *w, struct info *out, const struct load_info *li)
{
	struct mmap_entry e[LOADER_MMAP_MAX];

	for (u32 i = 0; i < li->nr_mmap; i++)
		e[i] = (struct mmap_entry){ .size = sizeof(e[0]) - 4, .base = li->mmap[i].base, .len = li->mmap[i].len,
					    .type = li->mmap[i].ram ? 1 : 2 };
	out->mmap_length = li->nr_mmap * (u32)sizeof(e[0]);
	out->mmap_addr = put(w, e, out->mmap_length);
	return out->mmap_addr;
}

static int mb1_info(u8 *buf, u32 size, u32 at, const struct load_info *li)
{
	struct writer w = { .buf = buf, .size = size, .at = at, .used = sizeof(struct info) };
	struct info out = { .flags = INFO_MEMORY | INFO_CMDLINE | INFO_MODULES | INFO_MMAP | INFO_LOADER_NAME,
			    .mem_lower = li->mem_lower, .mem_upper = li->mem_upper };

	if (size < sizeof(out))
		return -ENOSPC;
	out.cmdline = put_string(&w, li->cmdline);
	out.loader_name = put_string(&w, LOADER_NAME);
	if (!out.cmdline || !out.loader_name || !put_modules(&w, &out, li) || !put_mmap(&w, &out, li))
		return -ENOSPC;
	memcpy(buf, &out, sizeof(out));
	return (int)w.used;
}

const struct load_protocol loader_mb1 = {
	.name = "multiboot", .magic = BOOT_MAGIC, .find = mb1_find, .parse = mb1_parse, .info = mb1_info,
};
