/*
 * Multiboot2 (Multiboot2 Specification 2.0): the header in a kernel's file, and the boot information it gets. Layouts are
 * in core/multiboot2.h.
 *
 * Invariant: a header tag is looked at only after its size was seen to fit the header; a tag that asks for something we
 * do not have fails unless it is marked optional.
 */
#include <stdarg.h>
#include <string.h>

#include "core/console.h"
#include "core/errno.h"
#include "core/loader.h"
#include "core/multiboot2.h"
#include "core/vacpi.h"

#define CONSOLE_REQUIRED BIT(0) /* of the console tag: at least one of the supported consoles must be there */

static s64 mb2_find(const struct bundle_file *f)
{
	struct mb2_header h;

	for (u64 off = 0; off + sizeof(h) <= MIN(f->len, (u64)MB2_HEADER_SEARCH); off += MB2_HEADER_ALIGN) {
		memcpy(&h, f->data + off, sizeof(h));
		if (h.magic == MB2_HEADER_MAGIC && h.magic + h.architecture + h.length + h.checksum == 0)
			return (s64)off;
	}
	return -ENOENT;
}

/* What the header says, collected while walking its tags. */
struct parse {
	struct load_image *img;
	const struct bundle_file *f;
	char *err;
	size_t errlen;
	bool has_address, has_entry;
	struct mb2_header_address address;
	u32 entry;
};

static int __printf_like(2, 3) fail(struct parse *p, const char *fmt, ...)
{
	int n = format(p->err, p->errlen, "%.60s: ", p->f->name);
	va_list ap;

	if (n >= 0 && (size_t)n < p->errlen) {
		va_start(ap, fmt);
		format_va(p->err + n, p->errlen - (size_t)n, fmt, ap);
		va_end(ap);
	}
	return -EINVAL;
}

static bool have_info(u32 type)
{
	return type == MB2_CMDLINE || type == MB2_LOADER_NAME || type == MB2_MODULE || type == MB2_BASIC_MEMORY || type == MB2_MMAP ||
	       type == MB2_ACPI_OLD || type == MB2_ACPI_NEW || type == MB2_LOAD_BASE;
}

static int tag_info_request(struct parse *p, const u8 *tag, u32 size)
{
	for (u32 off = sizeof(struct mb2_header_tag); off + 4 <= size; off += 4) {
		u32 type;
		memcpy(&type, tag + off, 4);
		if (!have_info(type))
			return fail(p, "the multiboot2 header requires boot information %u, which this platform does not have", type);
	}
	return 0;
}

static int tag_address(struct parse *p, const u8 *tag, u32 size)
{
	if (size < sizeof(p->address))
		return fail(p, "the multiboot2 address tag is too short");
	memcpy(&p->address, tag, sizeof(p->address));
	p->has_address = true;
	return 0;
}

static int tag_entry(struct parse *p, const u8 *tag, u32 size)
{
	struct mb2_header_entry t;
	if (size < sizeof(t))
		return fail(p, "the multiboot2 entry tag is too short");
	memcpy(&t, tag, sizeof(t));
	p->entry = t.entry;
	p->has_entry = true;
	return 0;
}

static int tag_console(struct parse *p, const u8 *tag, u32 size)
{
	u32 flags = 0;
	if (size < sizeof(struct mb2_header_tag) + 4)
		return fail(p, "the multiboot2 console tag is too short");
	memcpy(&flags, tag + sizeof(struct mb2_header_tag), 4);
	return flags & CONSOLE_REQUIRED ? fail(p, "the multiboot2 header requires a screen; there is a serial port only") : 0;
}

static int tag_framebuffer(struct parse *p, const u8 *tag, u32 size)
{
	(void)tag;
	(void)size;
	return fail(p, "the multiboot2 header requires a framebuffer; there is a serial port only");
}

static int tag_relocatable(struct parse *p, const u8 *tag, u32 size)
{
	struct mb2_header_relocatable t;
	if (size < sizeof(t))
		return fail(p, "the multiboot2 relocatable tag is too short");
	memcpy(&t, tag, sizeof(t));
	if ((t.align & (t.align - 1)) || t.min > t.max)
		return fail(p, "the multiboot2 relocatable tag is malformed (from %x to %x, alignment %x)", t.min, t.max, t.align);
	p->img->relocatable = true;
	p->img->min = t.min;
	p->img->max = t.max;
	p->img->align = t.align ? t.align : 1;
	p->img->preference = t.preference;
	return 0;
}

static int tag_nothing(struct parse *p, const u8 *tag, u32 size)
{
	(void)p;
	(void)tag;
	(void)size;
	return 0;
}

/* By tag type. Modules are always page aligned; the EFI tags are about a start from EFI, which is not ours. */
static int (*const tag_fn[])(struct parse *p, const u8 *tag, u32 size) = {
	[MB2_HDR_INFO_REQUEST] = tag_info_request, [MB2_HDR_ADDRESS] = tag_address,         [MB2_HDR_ENTRY] = tag_entry,
	[MB2_HDR_CONSOLE] = tag_console,           [MB2_HDR_FRAMEBUFFER] = tag_framebuffer, [MB2_HDR_MODULE_ALIGN] = tag_nothing,
	[MB2_HDR_EFI_BS] = tag_nothing,            [MB2_HDR_ENTRY_EFI32] = tag_nothing,     [MB2_HDR_ENTRY_EFI64] = tag_nothing,
	[MB2_HDR_RELOCATABLE] = tag_relocatable,
};

/* Requests that cannot be met are ignored where they are optional; the other tags are instructions and always count. */
static bool ignorable(const struct mb2_header_tag *t)
{
	return t->flags & MB2_TAG_OPTIONAL && (t->type == MB2_HDR_INFO_REQUEST || t->type == MB2_HDR_CONSOLE ||
					       t->type == MB2_HDR_FRAMEBUFFER || t->type >= ARRAY_SIZE(tag_fn));
}

static int parse_tags(struct parse *p, const u8 *header, u32 length)
{
	struct mb2_header_tag t;

	for (u64 off = sizeof(struct mb2_header); off + sizeof(t) <= length; off = ALIGN_UP(off + t.size, 8)) {
		memcpy(&t, header + off, sizeof(t));
		if (t.size < sizeof(t) || t.size > length - off)
			return fail(p, "tag %u of the multiboot2 header does not fit the header", t.type);
		if (t.type == MB2_HDR_END)
			return 0;
		if (ignorable(&t))
			continue;
		if (t.type >= ARRAY_SIZE(tag_fn))
			return fail(p, "the multiboot2 header has an unknown tag %u that is not optional", t.type);
		int e = tag_fn[t.type](p, header + off, t.size);
		if (e)
			return e;
	}
	return fail(p, "the multiboot2 header has no end tag");
}

static int mb2_parse(struct load_image *img, const struct bundle_file *f, u64 header, char *err, size_t errlen)
{
	struct parse p = { .img = img, .f = f, .err = err, .errlen = errlen };
	struct mb2_header h;

	memcpy(&h, f->data + header, sizeof(h));
	if (h.architecture != MB2_ARCH_I386)
		return fail(&p, "the multiboot2 header is for architecture %u, not i386", h.architecture);
	if (h.length < sizeof(h) || h.length > MIN(f->len, (u64)MB2_HEADER_SEARCH) - header)
		return fail(&p, "the multiboot2 header does not lie in the first 32 KiB of the file");
	int e = parse_tags(&p, f->data + header, h.length);
	if (e)
		return e;
	if (!p.has_address)
		e = loader_parse_elf(img, f, err, errlen);
	else if (!p.has_entry)
		return fail(&p, "the multiboot2 header has an address tag but no entry tag");
	else
		e = loader_add_flat(img, f, header, p.address.header, p.address.load, p.address.load_end, p.address.bss_end, err,
				    errlen);
	if (!e && p.has_entry)
		img->entry = p.entry;
	return e;
}

/* ---- the information ---- */

struct writer { u8 *buf; u32 size, used; };

/* Append a tag of `size` bytes: its header and fixed part from `fixed`, then a string. NULL tail: none. */
static bool put_tag(struct writer *w, u32 type, const void *fixed, u32 fixed_len, const void *tail, u32 tail_len)
{
	struct mb2_tag t = { .type = type, .size = (u32)sizeof(t) + fixed_len + tail_len };
	u32 off = (u32)ALIGN_UP(w->used, 8);

	if (off > w->size || t.size > w->size - off)
		return false;
	memset(w->buf + w->used, 0, off - w->used);
	memcpy(w->buf + off, &t, sizeof(t));
	if (fixed_len)
		memcpy(w->buf + off + sizeof(t), fixed, fixed_len);
	if (tail_len)
		memcpy(w->buf + off + sizeof(t) + fixed_len, tail, tail_len);
	w->used = off + t.size;
	return true;
}

static bool put_string(struct writer *w, u32 type, const char *s)
{
	return put_tag(w, type, NULL, 0, s, (u32)strlen(s) + 1);
}

static bool put_modules(struct writer *w, const struct load_info *li)
{
	for (u32 i = 0; i < li->nr_modules; i++) {
		const struct load_module *m = &li->module[i];
		if (!put_tag(w, MB2_MODULE, (u32[]){ m->start, m->end }, 8, m->cmdline, (u32)strlen(m->cmdline) + 1))
			return false;
	}
	return true;
}

static bool put_mmap(struct writer *w, const struct load_info *li)
{
	struct mb2_mmap_entry e[LOADER_MMAP_MAX];

	for (u32 i = 0; i < li->nr_mmap; i++)
		e[i] = (struct mb2_mmap_entry){ .base = li->mmap[i].base, .len = li->mmap[i].len,
						.type = li->mmap[i].ram ? MB2_MEM_RAM : 2 };
	return put_tag(w, MB2_MMAP, (u32[]){ sizeof(e[0]), 0 }, 8, e, li->nr_mmap * (u32)sizeof(e[0]));
}

static int mb2_info(u8 *buf, u32 size, u32 at, const struct load_info *li)
{
	struct writer w = { .buf = buf, .size = size, .used = sizeof(struct mb2_info) };

	(void)at; /* the information holds no pointers into itself */
	if (size < sizeof(struct mb2_info))
		return -ENOSPC;
	bool ok = put_string(&w, MB2_CMDLINE, li->cmdline) && put_string(&w, MB2_LOADER_NAME, LOADER_NAME) && put_modules(&w, li) &&
		  put_tag(&w, MB2_BASIC_MEMORY, (u32[]){ li->mem_lower, li->mem_upper }, 8, NULL, 0) && put_mmap(&w, li) &&
		  put_tag(&w, MB2_ACPI_OLD, NULL, 0, li->rsdp, VACPI_RSDP_V1_LEN) &&
		  put_tag(&w, MB2_ACPI_NEW, NULL, 0, li->rsdp, VACPI_RSDP_LEN);
	if (ok && li->relocated_image)
		ok = put_tag(&w, MB2_LOAD_BASE, &li->load_base, 4, NULL, 0);
	if (!ok || !put_tag(&w, MB2_END, NULL, 0, NULL, 0))
		return -ENOSPC;
	memcpy(buf, &(struct mb2_info){ .total_size = w.used }, sizeof(struct mb2_info));
	return (int)w.used;
}

const struct load_protocol loader_mb2 = {
	.name = "multiboot2", .magic = MB2_BOOT_MAGIC, .find = mb2_find, .parse = mb2_parse, .info = mb2_info,
};
