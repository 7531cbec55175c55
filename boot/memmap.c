/*
 * The list of memory ranges (see memmap.h for the invariant it keeps). Runs in the EFI loader and in the image, so it
 * calls nothing.
 */
#include "boot/memmap.h"

#define MAX_ADDRESS BIT(52) /* SDM 3A: physical addresses have at most 52 bits */

/* UEFI 2.10, Memory Type Usage after ExitBootServices(). */
enum {
	EFI_LOADER_CODE = 1,
	EFI_LOADER_DATA = 2,
	EFI_BS_CODE = 3,
	EFI_BS_DATA = 4,
	EFI_CONVENTIONAL = 7,
	EFI_UNUSABLE = 8,
	EFI_ACPI_RECLAIM = 9,
	EFI_ACPI_NVS = 10,
};
#define EFI_ATTRIBUTE_WB BIT(3)
#define EFI_ATTRIBUTE_SP BIT(18) /* specific-purpose: not for general use */

static unsigned care(enum mem_kind kind) /* the more careful kind of two is the larger */
{
	static const unsigned char rank[] = { [MEM_RAM] = 0, [MEM_ACPI] = 1, [MEM_NVS] = 2, [MEM_RESERVED] = 3, [MEM_BAD] = 4 };
	return rank[kind];
}

static u64 end_of(const struct mem_range *r)
{
	return r->base.v + r->len;
}

static void remove_at(struct bootinfo *bi, u32 i)
{
	for (bi->nr_ranges--; i < bi->nr_ranges; i++)
		bi->ranges[i] = bi->ranges[i + 1];
}

static bool insert_at(struct bootinfo *bi, u32 i, u64 base, u64 end, enum mem_kind kind)
{
	if (bi->nr_ranges == BOOTINFO_MAX_RANGES)
		return false;
	for (u32 j = bi->nr_ranges++; j > i; j--)
		bi->ranges[j] = bi->ranges[j - 1];
	bi->ranges[i] = (struct mem_range){ .base = HPA(base), .len = end - base, .kind = kind };
	return true;
}

/* Make `at` a border between ranges. False if the list is full. */
static bool split_at(struct bootinfo *bi, u64 at)
{
	for (u32 i = 0; i < bi->nr_ranges; i++) {
		struct mem_range *r = &bi->ranges[i];

		if (r->base.v < at && at < end_of(r)) {
			if (!insert_at(bi, i + 1, at, end_of(r), r->kind))
				return false;
			r->len = at - r->base.v;
		}
	}
	return true;
}

static void merge(struct bootinfo *bi)
{
	for (u32 i = 1; i < bi->nr_ranges; ) {
		struct mem_range *a = &bi->ranges[i - 1], *b = &bi->ranges[i];

		if (a->kind == b->kind && end_of(a) == b->base.v) {
			a->len += b->len;
			remove_at(bi, i);
		} else {
			i++;
		}
	}
}

bool memmap_add(struct bootinfo *bi, u64 base, u64 len, enum mem_kind kind)
{
	u64 end = len < MAX_ADDRESS ? base + len : MAX_ADDRESS;
	u32 i;

	if (base >= MAX_ADDRESS || !len)
		return true;
	end = MIN(end, MAX_ADDRESS);
	base = kind == MEM_RAM ? ALIGN_UP(base, PAGE_SIZE) : ALIGN_DOWN(base, PAGE_SIZE);
	end = kind == MEM_RAM ? ALIGN_DOWN(end, PAGE_SIZE) : ALIGN_UP(end, PAGE_SIZE);
	if (base >= end)
		return true;

	if (!split_at(bi, base) || !split_at(bi, end))
		return false;
	/* Now every range is either wholly inside [base, end) or outside: raise the care of those inside, fill the gaps. */
	for (i = 0; i < bi->nr_ranges && base < end; i++) {
		struct mem_range *r = &bi->ranges[i];

		if (end_of(r) <= base)
			continue;
		if (r->base.v > base) {
			if (!insert_at(bi, i, base, MIN(end, r->base.v), kind))
				return false;
		} else if (care(kind) > care(r->kind)) {
			r->kind = kind;
		}
		base = end_of(&bi->ranges[i]);
	}
	if (base < end && !insert_at(bi, i, base, end, kind))
		return false;
	merge(bi);
	return true;
}

bool memmap_is_ram(const struct bootinfo *bi, u64 base, u64 len)
{
	for (u32 i = 0; i < bi->nr_ranges; i++) {
		const struct mem_range *r = &bi->ranges[i];

		if (r->kind == MEM_RAM && base >= r->base.v && base < end_of(r))
			return len <= end_of(r) - base;
	}
	return false;
}

static enum mem_kind efi_kind(const struct efi_descriptor *d)
{
	switch (d->type) {
	case EFI_LOADER_CODE:
	case EFI_LOADER_DATA:
	case EFI_BS_CODE:
	case EFI_BS_DATA:
	case EFI_CONVENTIONAL:
		return (d->attribute & EFI_ATTRIBUTE_WB) && !(d->attribute & EFI_ATTRIBUTE_SP) ? MEM_RAM : MEM_RESERVED;
	case EFI_UNUSABLE:
		return MEM_BAD;
	case EFI_ACPI_RECLAIM:
		return MEM_ACPI;
	case EFI_ACPI_NVS:
		return MEM_NVS;
	default:
		return MEM_RESERVED;
	}
}

const char *memmap_add_efi(struct bootinfo *bi, const void *map, u64 len, u64 stride)
{
	const u8 *at = map;

	if (stride < sizeof(struct efi_descriptor) || !IS_ALIGNED(stride, 8) || len % stride)
		return "the EFI memory map's entry size is wrong";
	for (; len; len -= stride, at += stride) {
		const struct efi_descriptor *d = (const void *)at;
		u64 bytes = d->pages < MAX_ADDRESS >> PAGE_SHIFT ? d->pages << PAGE_SHIFT : MAX_ADDRESS;

		if (!memmap_add(bi, d->base, bytes, efi_kind(d)))
			return "the memory map has too many ranges";
	}
	return NULL;
}
