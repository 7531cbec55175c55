/*
 * Physical memory: a buddy allocator over the RAM that boot/ reports, and the direct map.
 *
 * Invariant: every RAM page is either free here, or owned by exactly one owner; each owner's balance is exact, so
 * a leak shows as a non-zero balance after its VM is gone.
 */
#ifndef CORE_MEM_H
#define CORE_MEM_H

#include "core/bootinfo.h"
#include "core/types.h"

#ifdef NESTLING_HOST_TEST
/* The one seam for unit tests: "physical" memory is an arena anywhere in the test's own address space. */
extern u64 host_direct_map_base;
#define DIRECT_MAP_BASE host_direct_map_base
#else
#define DIRECT_MAP_BASE 0xffff800000000000ull /* all RAM, write-back */
#endif
#define KERNEL_BASE 0xffffffff80000000ull     /* the image */
#define MEM_MAX_ORDER 9                       /* 2^9 pages = 2 MiB */

/* Who pays for pages: the hypervisor itself, or one VM. pages is exact at any moment; limit 0 = no limit. */
struct mem_owner {
	const char *name;
	u64 pages;
	u64 limit;
};
extern struct mem_owner mem_self;

/*
 * Take over the RAM of bi (less image, bundle and the first MiB, of which one page is kept for AP start-up) and build
 * our page tables: direct map of all RAM and ACPI ranges, the image (text read-only executable, rodata read-only, data
 * no-execute). Boot CPU only, once, before anything else here.
 */
void mem_init(const struct bootinfo *bi);
/* Load our page tables and CR0/CR4/EFER/PAT bits on the calling CPU (mem_init does it for the boot CPU). */
void mem_init_cpu(void);
/* Below 4 GiB, so 32-bit start-up code can load it; its entries use NX: set EFER.NXE (if the CPU has it) before CR0.PG. */
hpa_t mem_kernel_cr3(void);
/* Page below 1 MiB reserved for the AP trampoline; identity-mapped for execution (written through the direct map). HPA_NONE: none. */
hpa_t mem_ap_page(void);

/*
 * 2^order zeroed, naturally aligned pages charged to owner; NULL when memory or the owner's limit is exhausted.
 * Any CPU. Returns a direct-map pointer.
 */
void *pages_alloc(struct mem_owner *owner, unsigned order) __must_check;
/* Give them back; same owner and order as at allocation (checked). */
void pages_free(struct mem_owner *owner, void *p, unsigned order);
static inline void *page_alloc(struct mem_owner *owner) { return pages_alloc(owner, 0); }
static inline void page_free(struct mem_owner *owner, void *p) { pages_free(owner, p, 0); }
/* Bytes free now; bytes of RAM in all. */
u64 mem_free_bytes(void);
u64 mem_total_bytes(void);
/* True if [a, a+len) lies wholly inside RAM that boot/ reported (not MMIO, not firmware). */
bool mem_is_ram(hpa_t a, u64 len);
/* True if any byte of [a, a+len) lies inside that RAM. */
bool mem_touches_ram(hpa_t a, u64 len);

/* Direct map, valid for RAM and ACPI ranges only. */
static inline void *hpa_to_virt(hpa_t a) { return (void *)(DIRECT_MAP_BASE + a.v); }
static inline hpa_t virt_to_hpa(const void *p) { return HPA((u64)p - DIRECT_MAP_BASE); }
/* Physical address of something inside the image (static data); after mem_init. */
hpa_t image_to_hpa(const void *p);
/* True if all of [p, p+len) can be read without a fault; before mem_init only of the image. For dumps and backtraces. */
bool mem_is_mapped(const void *p, u64 len);

/*
 * Map device registers uncached; len and a need no alignment. Lives until the machine ends. NULL: no table space, or the address
 * cannot be: it is beyond what the CPU can address, or in RAM (firmware and devices say where registers are, and may be wrong).
 */
void *mmio_map(hpa_t a, u64 len) __must_check;
/* Map firmware memory (ACPI) write-back, read-only; same rules, but RAM is allowed. */
const void *firmware_map(hpa_t a, u64 len) __must_check;
/* Map RAM of our own as a CPU's stack: the pages below and above it are not mapped. NULL: no room. Stays for ever. */
void *stack_map(hpa_t a, u64 len) __must_check;

#endif
