/*
 * Our own page tables and the CPU bits that go with them.
 *
 * Invariant: no mapping is both writable and executable; the text and rodata of the image are read-only in the direct map,
 * too. After mem_init entries are only added. Below each CPU's stack lies a page that is not mapped.
 */
#include "core/console.h"
#include "core/mem.h"
#include "core/paging.h"
#include "core/ptab.h"
#include "core/spinlock.h"
#include "core/x86.h"

/* 4-level paging entries (SDM 3A, 4-Level Paging and 5-Level Paging). */
#define PTE_P BIT(0)
#define PTE_W BIT(1)
#define PTE_PWT BIT(3)
#define PTE_PCD BIT(4)
#define PTE_A BIT(5)
#define PTE_D BIT(6)
#define PTE_PS BIT(7)
#define PTE_G BIT(8)
#define PTE_NX BIT(63)
#define PTE_ADDR BITS(51, 12)
#define CR3_ADDR BITS(51, 12)

/* A and D are set in advance: the CPU need not write them. */
#define LEAF (PTE_P | PTE_A | PTE_D)
/* PAT entry 3 = UC (SDM 3A, Page Attribute Table: power-on values). */
#define LEAF_UC (PTE_PCD | PTE_PWT)
#define PAT_POWER_ON 0x0007040600070406ull

#define WINDOW_BASE 0xffffc00000000000ull
#define WINDOW_SIZE (512 * SIZE_1G)

#define CPUID_1_ECX_XSAVE BIT(26)
#define CPUID_X1_EDX_NX BIT(20)
#define CPUID_X1_EDX_1G BIT(26)

extern const char boot_stack_guard[], boot_stack[]; /* boot/entry.S */
extern const char __image_start[], __text_end[], __rodata_end[], __image_end[];

static const struct ptab_fmt kernel_fmt = {
	.name = "kernel",
	.present = PTE_P,
	.page_size = PTE_PS,
	.table_flags = PTE_P | PTE_W | PTE_A,
	.addr_mask = PTE_ADDR,
};

static struct ptab kernel = { .root = { ~0ull } };
static hpa_t image_base;
static u64 nx;
static u64 phys_limit;

/* Protects window_next and, after mem_init, the tables. */
static spinlock_t window_lock = SPINLOCK_INIT;
static u64 window_next = WINDOW_BASE;

/* The walker takes addresses without sign extension. */
static u64 va48(u64 va)
{
	return va & BITS(47, 0);
}

static u64 *early_window(void)
{
	u64 *pml4 = (u64 *)(read_cr3() & CR3_ADDR);

	return &pml4[DIRECT_MAP_BASE >> 39 & 511];
}

void paging_open_low_window(void)
{
	u64 *pml4 = (u64 *)(read_cr3() & CR3_ADDR);

	*early_window() = pml4[0];
	compiler_barrier();
}

static void cpu_probe(void)
{
	u32 features = cpuid(0x80000001, 0).edx;

	nx = features & CPUID_X1_EDX_NX ? PTE_NX : 0;
	phys_limit = cpuid(0x80000000, 0).eax >= 0x80000008 ? BIT(MIN(cpuid(0x80000008, 0).eax & 0xff, 52u)) : BIT(36);
	if (ptab_init(&kernel, &kernel_fmt, 4, features & CPUID_X1_EDX_1G ? 3 : 2, false, &mem_self))
		panic("paging: no memory for page tables");
}

static void map_image_part(const char *from, const char *to, u64 flags)
{
	hpa_t pa = HPA(image_base.v + (u64)(from - __image_start));

	if (ptab_map(&kernel, va48((u64)from), pa, (u64)(to - from), flags))
		panic("paging: cannot map the image at %p", (const void *)from);
}

static void map_image(void)
{
	map_image_part(__image_start, __text_end, LEAF | PTE_G);
	map_image_part(__text_end, __rodata_end, LEAF | PTE_G | nx);
	map_image_part(__rodata_end, boot_stack_guard, LEAF | PTE_W | PTE_G | nx);
	map_image_part(boot_stack, __image_end, LEAF | PTE_W | PTE_G | nx);
}

static void map_direct(u64 start, u64 end, u64 flags)
{
	start = ALIGN_DOWN(start, PAGE_SIZE);
	end = ALIGN_UP(end, PAGE_SIZE);
	int err = ptab_map(&kernel, va48(DIRECT_MAP_BASE + start), HPA(start), end - start, flags);
	if (err)
		panic("paging: cannot map memory %lx-%lx: %d", start, end, err);
}

/* All RAM and ACPI ranges; neighbours of one kind together, so that large pages can span them. */
static void map_ranges(const struct bootinfo *bi)
{
	u64 start = 0, end = 0;
	enum mem_kind kind = MEM_RESERVED;

	for (u32 i = 0; i <= bi->nr_ranges; i++) {
		const struct mem_range *r = i < bi->nr_ranges ? &bi->ranges[i] : NULL;

		if (r && r->kind == kind && r->base.v == end) {
			end += r->len;
			continue;
		}
		if (start < end && kind == MEM_RAM)
			map_direct(start, end, LEAF | PTE_W | PTE_G | nx);
		else if (start < end && kind == MEM_ACPI)
			map_direct(start, end, LEAF | PTE_G | nx);
		if (r) {
			start = MIN(r->base.v, phys_limit);
			end = MIN(r->base.v + r->len, phys_limit);
			kind = r->kind;
		}
	}
}

static void protect_image_alias(void)
{
	u64 len = (u64)(__rodata_end - __image_start);

	if (ptab_protect(&kernel, va48(DIRECT_MAP_BASE + image_base.v), len, LEAF | PTE_G | nx))
		panic("paging: cannot protect the image in the direct map");
}

void paging_build(const struct bootinfo *bi, hpa_t ap_page)
{
	u64 *window = hpa_to_virt(HPA((u64)early_window()));

	image_base = bi->image;
	cpu_probe();
	map_ranges(bi);
	map_image();
	protect_image_alias();
	if (ap_page.v != HPA_NONE.v && ptab_map(&kernel, ap_page.v, ap_page, PAGE_SIZE, LEAF))
		panic("paging: cannot map the AP start-up page");
	mem_init_cpu();
	*window = 0; /* the early tables stay as boot/ made them */
}

/*
 * SDM 3A, Control Registers. The x87 and SSE units belong to guests: they are enabled here so that their state can be
 * saved and loaded, while our own code does not use them.
 */
void mem_init_cpu(void)
{
	u64 cr4 = read_cr4() & ~(CR4_PCIDE | CR4_SMXE | CR4_CET | CR4_PKE);

	if (nx)
		wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
	if (rdmsr(MSR_PAT) != PAT_POWER_ON)
		wrmsr(MSR_PAT, PAT_POWER_ON);
	write_cr0((read_cr0() & ~(CR0_EM | CR0_TS | CR0_CD | CR0_NW | CR0_AM)) | CR0_WP | CR0_NE | CR0_MP);
	cr4 |= CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT;
	if (cpuid(1, 0).ecx & CPUID_1_ECX_XSAVE)
		cr4 |= CR4_OSXSAVE;
	write_cr4(cr4 & ~CR4_PGE);
	write_cr3(kernel.root.v);
	write_cr4(cr4 | CR4_PGE);
}

hpa_t mem_kernel_cr3(void)
{
	return kernel.root;
}

hpa_t image_to_hpa(const void *p)
{
	ASSERT((const char *)p >= __image_start && (const char *)p < __image_end);
	return HPA(image_base.v + (u64)((const char *)p - __image_start));
}

bool mem_is_mapped(const void *p, u64 len)
{
	u64 va = (u64)p, end = va + len;
	struct ptab_leaf leaf;

	if (kernel.root.v == HPA_NONE.v) /* the early tables of boot/ are trusted for the image only */
		return va >= (u64)__image_start && end <= (u64)__image_end && va <= end;
	if (end < va)
		return false;
	while (va < end) {
		if ((va >> 47 && va >> 47 != BITS(16, 0)) || !ptab_walk(&kernel, va48(va), &leaf))
			return false;
		va = ALIGN_DOWN(va, leaf.size) + leaf.size;
	}
	return true;
}

/* ---- the mapping window: an unmapped page stays between neighbours ---- */

static void *window_map(hpa_t a, u64 len, u64 flags)
{
	u64 first = ALIGN_DOWN(a.v, PAGE_SIZE), end = ALIGN_UP(a.v + len, PAGE_SIZE), size = end - first;
	u64 align = size >= SIZE_2M ? SIZE_2M : PAGE_SIZE;

	if (!len || a.v >= phys_limit || len > phys_limit - a.v || size > WINDOW_SIZE)
		return NULL;
	spin_lock(&window_lock);
	u64 va = ALIGN_UP(window_next, align) + (first & (align - 1));
	bool ok = va + size < WINDOW_BASE + WINDOW_SIZE && !ptab_map(&kernel, va48(va), HPA(first), size, flags);
	if (ok)
		window_next = va + size + PAGE_SIZE;
	spin_unlock(&window_lock);
	return ok ? (void *)(va + (a.v & PAGE_MASK)) : NULL;
}

void *mmio_map(hpa_t a, u64 len)
{
	return mem_touches_ram(a, len) ? NULL : window_map(a, len, LEAF | LEAF_UC | PTE_W | PTE_G | nx);
}

void *stack_map(hpa_t a, u64 len)
{
	return window_map(a, len, LEAF | PTE_W | PTE_G | nx);
}

const void *firmware_map(hpa_t a, u64 len)
{
	return window_map(a, len, LEAF | PTE_G | nx);
}
