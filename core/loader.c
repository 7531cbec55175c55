/*
 * Loading a guest: the kernel's image and modules get their places in guest RAM, and are copied there with the boot
 * information.
 *
 * Invariant: everything is decoded and placed before the first byte is written; no two placed things overlap, and all lie
 * in the guest's usable RAM. What is not written is zero, because a VM's RAM is zeroed when it is allocated.
 */
#include "core/loader.h"

#include <stdarg.h>
#include <string.h>

#include "core/console.h"
#include "core/errno.h"
#include "core/multiboot2.h"
#include "core/vacpi.h"
#include "core/vioapic.h"
#include "core/vpci.h"

#define LOCAL_APIC_BASE 0xfee00000ull
#define INFO_MAX PAGE_SIZE
#define MAX_SPANS (LOADER_MAX_SEGMENTS + CFG_MAX_MODULES + 1)

struct span { u64 start, end; };

struct load {
	struct vm *vm;
	const struct bundle *bundle;
	const struct load_protocol *proto;
	struct bundle_file kernel;
	struct load_image img;
	struct load_info info;
	struct span used[MAX_SPANS];
	u32 nr_used;
	u64 info_at;
	u8 rsdp[VACPI_RSDP_LEN];
	char *err;
	size_t errlen;
};
_Static_assert(sizeof(struct load) <= 2048, "lies on the stack");

static int __printf_like(3, 4) fail(struct load *l, int error, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	format_va(l->err, l->errlen, fmt, ap);
	va_end(ap);
	return error;
}

/* ---- places ---- */

static bool usable(const struct load *l, u64 start, u64 end)
{
	return end <= LOADER_LOW_END || (start >= LOADER_HIGH_START && end <= l->vm->ram_low);
}

static const struct span *overlaps(const struct load *l, u64 start, u64 end)
{
	for (u32 i = 0; i < l->nr_used; i++)
		if (start < l->used[i].end && l->used[i].start < end)
			return &l->used[i];
	return NULL;
}

static void take(struct load *l, u64 start, u64 len)
{
	l->used[l->nr_used++] = (struct span){ start, start + len };
}

/* First free page-aligned place from `from` (at least 1 MiB) upward. 0: none. */
static u64 find_above(const struct load *l, u64 from, u64 len)
{
	u64 at = ALIGN_UP(from, PAGE_SIZE);
	const struct span *s;

	if (len > l->vm->ram_low)
		return 0; /* and at + len does not wrap */
	while ((s = overlaps(l, at, at + len)))
		at = ALIGN_UP(s->end, PAGE_SIZE);
	return usable(l, at, at + len) ? at : 0;
}

static u64 image_start(const struct load_image *img)
{
	u64 v = ~0ull;
	for (u32 i = 0; i < img->nr; i++)
		v = MIN(v, img->seg[i].pa);
	return v;
}

static u64 image_end(const struct load_image *img)
{
	u64 v = 0;
	for (u32 i = 0; i < img->nr; i++)
		v = MAX(v, img->seg[i].pa + img->seg[i].memsz);
	return v;
}

/* Where a relocatable image goes (Multiboot2, Relocatable header tag), or 0 if it fits nowhere. */
static u64 choose_base(const struct load *l, u64 linked, u64 size)
{
	const struct load_image *img = &l->img;
	u64 low = ALIGN_UP(MAX((u64)img->min, LOADER_HIGH_START), img->align), top = MIN((u64)img->max + 1, l->vm->ram_low);

	if (low >= top || size > top - low)
		return 0;
	if (img->preference == MB2_PLACE_HIGHEST)
		return ALIGN_DOWN(top - size, img->align);
	if (img->preference != MB2_PLACE_LOWEST && linked >= low && linked + size <= top && IS_ALIGNED(linked, img->align))
		return linked;
	return low;
}

static int relocate(struct load *l)
{
	struct load_image *img = &l->img;
	u64 linked = image_start(img), size = image_end(img) - linked;
	u64 base = choose_base(l, linked, size);

	if (!base)
		return fail(l, -EINVAL, "%.60s: its %llu KiB do not fit where it wants to be (%x to %x, in RAM that ends at %llx)",
			    img->file, (unsigned long long)size >> 10, img->min, img->max, (unsigned long long)l->vm->ram_low);
	for (u32 i = 0; i < img->nr; i++)
		img->seg[i].pa += base - linked;
	img->entry += base - linked;
	l->info.relocated_image = true;
	l->info.load_base = (u32)base;
	return 0;
}

static int place_image(struct load *l)
{
	struct load_image *img = &l->img;
	int e = img->relocatable ? relocate(l) : 0;
	bool entry_inside = false;

	for (u32 i = 0; i < img->nr && !e; i++) {
		struct load_segment *s = &img->seg[i];
		if (!usable(l, s->pa, s->pa + s->memsz))
			e = fail(l, -EINVAL, "%.60s: a segment (%llx to %llx) lies outside the RAM for kernels (0 to %llx, %llx to %llx)",
				 img->file, (unsigned long long)s->pa, (unsigned long long)(s->pa + s->memsz), LOADER_LOW_END,
				 LOADER_HIGH_START, (unsigned long long)l->vm->ram_low);
		take(l, s->pa, s->memsz);
		entry_inside |= img->entry >= s->pa && img->entry - s->pa < s->memsz;
	}
	if (!e && !entry_inside)
		e = fail(l, -EINVAL, "%.60s: the entry point %llx lies in no segment", img->file, (unsigned long long)img->entry);
	return e;
}

static int place_modules(struct load *l)
{
	const struct vm_config *cfg = l->vm->cfg;
	u64 from = MAX(image_end(&l->img), LOADER_HIGH_START);

	for (u32 i = 0; i < cfg->nr_modules; i++) {
		struct bundle_file f;
		if (bundle_find(l->bundle, cfg->modules[i].file, &f))
			return fail(l, -ENOENT, "module '%.60s' is not in the bundle", cfg->modules[i].file);
		u64 at = find_above(l, from, f.len);
		if (!at)
			at = find_above(l, LOADER_HIGH_START, f.len);
		if (!at)
			return fail(l, -ENOMEM, "module '%.60s' (%llu KiB) does not fit the RAM below %llx", cfg->modules[i].file,
				    (unsigned long long)f.len >> 10, (unsigned long long)l->vm->ram_low);
		take(l, at, f.len);
		l->info.module[i] = (struct load_module){ (u32)at, (u32)(at + f.len), cfg->modules[i].cmdline };
		l->info.nr_modules++;
	}
	return 0;
}

/* The information goes to the top of low memory, out of the way of kernels that use the first pages for themselves. */
static int place_info(struct load *l)
{
	for (u64 at = LOADER_LOW_END - INFO_MAX; at && !l->info_at; at -= PAGE_SIZE)
		if (!overlaps(l, at, at + INFO_MAX))
			l->info_at = at;
	if (!l->info_at)
		l->info_at = find_above(l, LOADER_HIGH_START, INFO_MAX);
	if (!l->info_at)
		return fail(l, -ENOMEM, "%.60s: no room for the boot information", l->img.file);
	take(l, l->info_at, INFO_MAX);
	return 0;
}

/* ---- what the guest is told ---- */

static void add_mmap(struct load_info *info, u64 base, u64 end, bool ram)
{
	if (end > base)
		info->mmap[info->nr_mmap++] = (struct load_mmap_entry){ .base = base, .len = end - base, .ram = ram };
}

static int describe(struct load *l)
{
	struct load_info *info = &l->info;
	const struct vm *vm = l->vm;
	u64 four = 4 * SIZE_1G;

	info->cmdline = vm->cfg->cmdline;
	info->mem_lower = LOADER_LOW_END / 1024;
	info->mem_upper = (u32)((vm->ram_low - LOADER_HIGH_START) / 1024);
	add_mmap(info, 0, LOADER_LOW_END, true);
	add_mmap(info, LOADER_LOW_END, LOADER_HIGH_START, false);
	add_mmap(info, LOADER_HIGH_START, vm->ram_low, true);
	add_mmap(info, VPCI_ECAM_BASE, VPCI_ECAM_BASE + VPCI_ECAM_LEN, false);
	add_mmap(info, VIOAPIC_BASE, VIOAPIC_BASE + VIOAPIC_LEN, false);
	add_mmap(info, LOCAL_APIC_BASE, LOCAL_APIC_BASE + PAGE_SIZE, false);
	add_mmap(info, four, four + vm->ram_high, true);
	info->rsdp = l->rsdp;
	return vm_read(l->vm, GPA(VACPI_BASE), l->rsdp, sizeof(l->rsdp)) ? fail(l, -EFAULT, "no ACPI tables") : 0;
}

/* ---- writing ---- */

static int write_files(struct load *l)
{
	const struct load_image *img = &l->img;
	int e = 0;

	for (u32 i = 0; i < img->nr && !e; i++)
		e = vm_write(l->vm, GPA(img->seg[i].pa), l->kernel.data + img->seg[i].offset, img->seg[i].filesz);
	for (u32 i = 0; i < l->info.nr_modules && !e; i++) {
		struct bundle_file f;
		e = bundle_find(l->bundle, l->vm->cfg->modules[i].file, &f);
		if (!e)
			e = vm_write(l->vm, GPA(l->info.module[i].start), f.data, f.len);
	}
	return e ? fail(l, e, "%.60s: cannot be written to the guest's RAM", img->file) : 0;
}

/* BIOS data area: kernels for PCs look there for the end of low memory and the extended BIOS data area (empty here). */
#define BDA_EBDA_SEGMENT 0x40e
#define BDA_LOW_KIB 0x413
static int write_bda(struct load *l)
{
	const u16 segment = LOADER_LOW_END >> 4, kib = LOADER_LOW_END >> 10;
	int e = vm_write(l->vm, GPA(BDA_EBDA_SEGMENT), &segment, sizeof(segment));

	if (!e)
		e = vm_write(l->vm, GPA(BDA_LOW_KIB), &kib, sizeof(kib));
	return e ? fail(l, e, "the BIOS data area cannot be written to the guest's RAM") : 0;
}

static int write_info(struct load *l)
{
	u8 *buf = page_alloc(&l->vm->owner);

	if (!buf)
		return fail(l, -ENOMEM, "no memory for the boot information");
	int n = l->proto->info(buf, INFO_MAX, (u32)l->info_at, &l->info);
	int e = n < 0 ? n : vm_write(l->vm, GPA(l->info_at), buf, (u64)n);
	page_free(&l->vm->owner, buf);
	return e ? fail(l, e, "%.60s: the boot information does not fit a page", l->img.file) : 0;
}

/* Multiboot2 first: a kernel that has both headers is better served by the newer. */
static int decode(struct load *l)
{
	static const struct load_protocol *const protocols[] = { &loader_mb2, &loader_mb1 };
	const char *name = l->vm->cfg->kernel;

	if (bundle_find(l->bundle, name, &l->kernel))
		return fail(l, -ENOENT, "kernel '%.60s' is not in the bundle", name);
	l->img.file = l->kernel.name;
	for (u32 i = 0; i < ARRAY_SIZE(protocols); i++) {
		s64 header = protocols[i]->find(&l->kernel);
		if (header < 0)
			continue;
		l->proto = protocols[i];
		return l->proto->parse(&l->img, &l->kernel, (u64)header, l->err, l->errlen);
	}
	return fail(l, -EINVAL, "%.60s: not a multiboot kernel (no multiboot header in the first 8 KiB, no multiboot2 header in "
		    "the first 32 KiB)", l->img.file);
}

int loader_load(struct vm *vm, const struct bundle *b, struct vm_entry_state *entry, char *err, size_t errlen)
{
	struct load l = { .vm = vm, .bundle = b, .err = err, .errlen = errlen };
	int (*const steps[])(struct load *) = { decode, place_image, place_modules, place_info, describe, write_bda, write_files,
						write_info };

	for (u32 i = 0; i < ARRAY_SIZE(steps); i++) {
		int e = steps[i](&l);
		if (e)
			return e;
	}
	*entry = (struct vm_entry_state){ .eip = (u32)l.img.entry, .eax = l.proto->magic, .ebx = (u32)l.info_at };
	return 0;
}
