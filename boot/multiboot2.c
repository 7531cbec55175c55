/*
 * Reads what a multiboot2 loader tells us into struct bootinfo.
 *
 * Invariant: no byte outside [info, info + limit) is read, whatever the information says; a tag is looked at only after
 * its whole size was found to lie inside, and a field only after it was found to lie inside its tag.
 */
#include <string.h>

#include "boot/memmap.h"
#include "boot/multiboot2.h"
#include "core/multiboot2.h"

struct parse {
	struct bootinfo *bi;
	struct mb2_rsdp *rsdp;
	const struct mb2_tag_efi_mmap *efi_map; /* used only if there is no map of the loader's own */
	bool have_map;
};

/* Copy a string that must end before `end`. False if it does not, or if it has no room in size bytes. */
static bool copy_string(char *to, u64 size, const char *from, const void *end)
{
	u64 room = (const char *)end - from, len = strnlen(from, room);

	if (len == room || len >= size)
		return false;
	memcpy(to, from, len + 1);
	return true;
}

static const char *parse_cmdline(struct parse *p, const struct mb2_tag *tag)
{
	const struct mb2_tag_string *t = (const void *)tag;

	if (!copy_string(p->bi->cmdline, sizeof(p->bi->cmdline), t->string, (const char *)tag + tag->size))
		return "the command line is longer than 255 bytes";
	return NULL;
}

static const char *parse_loader_name(struct parse *p, const struct mb2_tag *tag)
{
	const struct mb2_tag_string *t = (const void *)tag;

	if (!copy_string(p->bi->loader, sizeof(p->bi->loader), t->string, (const char *)tag + tag->size))
		strcpy(p->bi->loader, "(a loader with a long name)");
	return NULL;
}

static const char *parse_module(struct parse *p, const struct mb2_tag *tag)
{
	const struct mb2_tag_module *t = (const void *)tag;

	if (t->end <= t->start)
		return "a module is empty";
	if (!p->bi->bundle_len) {
		p->bi->bundle = HPA(t->start);
		p->bi->bundle_len = t->end - t->start;
	}
	return NULL;
}

static enum mem_kind map_kind(u32 type)
{
	switch (type) {
	case MB2_MEM_RAM:
		return MEM_RAM;
	case MB2_MEM_ACPI:
		return MEM_ACPI;
	case MB2_MEM_NVS:
		return MEM_NVS;
	case MB2_MEM_BAD:
		return MEM_BAD;
	default:
		return MEM_RESERVED;
	}
}

static const char *parse_map(struct parse *p, const struct mb2_tag *tag)
{
	const struct mb2_tag_mmap *t = (const void *)tag;
	u32 left = tag->size - sizeof(*t);

	if (t->entry_size < sizeof(struct mb2_mmap_entry) || !IS_ALIGNED(t->entry_size, 8) || left % t->entry_size)
		return "the memory map's entry size is wrong";
	for (u32 at = 0; at < left; at += t->entry_size) {
		const struct mb2_mmap_entry *e = (const void *)(t->entries + at);

		if (!memmap_add(p->bi, e->base, e->len, map_kind(e->type)))
			return "the memory map has too many ranges";
	}
	p->have_map = true;
	return NULL;
}

static const char *parse_efi_map(struct parse *p, const struct mb2_tag *tag)
{
	p->efi_map = (const void *)tag;
	return NULL;
}

static const char *keep_rsdp(struct parse *p, const struct mb2_tag *tag, u32 len)
{
	const struct mb2_tag_acpi *t = (const void *)tag;

	if (p->rsdp->len < len) { /* of two, the newer one */
		memcpy(p->rsdp->data, t->rsdp, len);
		p->rsdp->len = len;
	}
	return NULL;
}

static const char *parse_acpi_old(struct parse *p, const struct mb2_tag *tag)
{
	return keep_rsdp(p, tag, 20);
}

static const char *parse_acpi_new(struct parse *p, const struct mb2_tag *tag)
{
	return keep_rsdp(p, tag, 36);
}

static const struct {
	u32 type, min_size;
	const char *(*fn)(struct parse *p, const struct mb2_tag *tag);
} tags[] = {
	{ MB2_CMDLINE, sizeof(struct mb2_tag_string) + 1, parse_cmdline },
	{ MB2_LOADER_NAME, sizeof(struct mb2_tag_string) + 1, parse_loader_name },
	{ MB2_MODULE, sizeof(struct mb2_tag_module), parse_module },
	{ MB2_MMAP, sizeof(struct mb2_tag_mmap), parse_map },
	{ MB2_ACPI_OLD, sizeof(struct mb2_tag_acpi) + 20, parse_acpi_old },
	{ MB2_ACPI_NEW, sizeof(struct mb2_tag_acpi) + 36, parse_acpi_new },
	{ MB2_EFI_MMAP, sizeof(struct mb2_tag_efi_mmap), parse_efi_map },
};

static const char *parse_tag(struct parse *p, const struct mb2_tag *tag)
{
	for (u32 i = 0; i < ARRAY_SIZE(tags); i++) {
		if (tags[i].type != tag->type)
			continue;
		if (tag->size < tags[i].min_size)
			return "a tag is shorter than its type needs";
		return tags[i].fn(p, tag);
	}
	return NULL; /* Multiboot2, Basic tags structure: unknown tags are passed over */
}

static const char *parse_tags(struct parse *p, const u8 *info, u32 total)
{
	for (u32 at = sizeof(struct mb2_info); at + sizeof(struct mb2_tag) <= total; ) {
		const struct mb2_tag *tag = (const void *)(info + at);
		const char *err;

		if (tag->size < sizeof(*tag) || tag->size > total - at)
			return "a tag reaches beyond the information";
		if (tag->type == MB2_END)
			return NULL;
		err = parse_tag(p, tag);
		if (err)
			return err;
		at += ALIGN_UP(tag->size, 8); /* cannot wrap: size <= total <= 1 MiB */
	}
	return "the end tag is missing";
}

const char *mb2_parse(const void *info, u64 limit, struct bootinfo *bi, struct mb2_rsdp *rsdp)
{
	struct parse p = { .bi = bi, .rsdp = rsdp };
	const struct mb2_info *head = info;
	const char *err;

	if (limit < sizeof(*head) || !IS_ALIGNED(info, 8))
		return "the information's address is wrong";
	if (head->total_size < sizeof(*head) || head->total_size > MIN(limit, 1u << 20))
		return "the information's total size is wrong";
	err = parse_tags(&p, info, head->total_size);
	if (err)
		return err;
	if (!p.have_map && p.efi_map) {
		const struct mb2_tag_efi_mmap *t = p.efi_map;

		err = memmap_add_efi(bi, t->descriptors, t->tag.size - sizeof(*t), t->descriptor_size);
		if (err)
			return err;
	}
	if (!bi->nr_ranges)
		return "there is no memory map";
	if (!bi->loader[0])
		strcpy(bi->loader, "(a loader without a name)");
	if (bi->bundle_len && !memmap_is_ram(bi, bi->bundle.v, bi->bundle_len))
		return "the bundle does not lie in RAM";
	return NULL;
}
