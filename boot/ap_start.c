/*
 * Starts the application processors (SDM 3A, Multiple-Processor (MP) Initialization, MP Initialization Protocol
 * Algorithm).
 *
 * Invariant: at most one processor owns the slot and its stack. A processor that arrives after it was given up finds
 * the slot closed, or open for another one; in both cases it halts for good, so that no stack is ever used twice.
 */
#include <string.h>

#include "boot/ap_slot.h"
#include "boot/ap_start.h"
#include "core/apic.h"
#include "core/console.h"
#include "core/mem.h"
#include "core/percpu.h"
#include "core/time.h"
#include "core/x86.h"

#define STACK_ORDER 2 /* 16 KiB */
#define STACK_SIZE (PAGE_SIZE << STACK_ORDER)
#define INIT_US 10000
#define SIPI_US 200
#define START_US 1000000

struct ap_slot ap_slot;

bool ap_is_wanted(void)
{
	return apic_id_from_cpuid() == ap_slot.apic_id;
}

/* Physical address of a place in the trampoline once it is copied to page. */
static u32 in_page(hpa_t page, const u8 *place)
{
	return (u32)(page.v + (u64)(place - ap_page_start));
}

static void write_trampoline(hpa_t page)
{
	u8 *to = hpa_to_virt(page);
	struct ap_words w;

	_Static_assert(EFER_NXE < BIT(32) && EFER_LME < BIT(32), "EFER is patched as 32 bits");
	memcpy(to, ap_page_start, (size_t)(ap_page_end - ap_page_start));
	memcpy(&w, ap_page_words, sizeof(w));
	w.cr3 = (u32)mem_kernel_cr3().v;
	w.efer = (u32)(EFER_LME | (rdmsr(MSR_EFER) & EFER_NXE));
	w.jump32 = in_page(page, ap_page_code32);
	w.jump64 = in_page(page, ap_page_code64);
	w.gdt_base = in_page(page, ap_page_gdt);
	memcpy(to + (ap_page_words - ap_page_start), &w, sizeof(w));
}

static void slot_open(u32 index, u32 id, u8 *stack)
{
	cpus[index].stack = stack;
	ap_slot.apic_id = id;
	ap_slot.index = index;
	ap_slot.stack = (u64)stack + STACK_SIZE;
	__atomic_store_n(&ap_slot.open, 1, __ATOMIC_SEQ_CST);
}

/* True if nobody took the slot: then nobody ever will. */
static bool slot_close(void)
{
	return __atomic_exchange_n(&ap_slot.open, 0, __ATOMIC_SEQ_CST);
}

static bool slot_taken(void)
{
	return !__atomic_load_n(&ap_slot.open, __ATOMIC_SEQ_CST);
}

static bool is_online(u32 index)
{
	return __atomic_load_n(&cpus[index].online, __ATOMIC_ACQUIRE);
}

enum outcome {
	STARTED,
	ABSENT,  /* nothing of it was ever seen: its index is free */
	STRANDED /* it came, but did not get through ap_main: it keeps its stack and its index */
};

/* One processor, already reset by INIT. */
static enum outcome start_one(u32 index, u32 id, hpa_t page)
{
	void *pages = pages_alloc(&mem_self, STACK_ORDER);
	u8 *stack = pages ? stack_map(virt_to_hpa(pages), STACK_SIZE) : NULL;

	if (!stack) {
		if (pages)
			pages_free(&mem_self, pages, STACK_ORDER);
		log_line("CPU with APIC id %u: no memory for its stack", id);
		return ABSENT;
	}
	slot_open(index, id, stack);
	apic_send_sipi(id, page);
	if (!wait_until(slot_taken(), SIPI_US))
		apic_send_sipi(id, page);
	if (wait_until(is_online(index), START_US))
		return STARTED;
	if (!slot_close())
		return STRANDED;
	log_line("CPU with APIC id %u does not start: going on without it", id);
	cpus[index].stack = NULL;
	pages_free(&mem_self, pages, STACK_ORDER); /* mapped still, and used by nobody */
	return ABSENT;
}

/* All are reset first, so that the ten milliseconds pass once. Returns how many others there are. */
static u32 reset_others(const u32 *ids, u32 nr)
{
	u32 others = 0;

	for (u32 i = 0; i < nr; i++) {
		if (ids[i] != apic_id()) {
			apic_send_init(ids[i]);
			others++;
		}
	}
	if (others)
		delay_us(INIT_US);
	return others;
}

u32 ap_start_all(const u32 *apic_ids, u32 nr)
{
	hpa_t page = mem_ap_page();
	enum outcome outcome = ABSENT;
	u32 left;

	nr_cpus = 1;
	if (page.v == HPA_NONE.v) {
		log_line("no page below 1 MiB: only the boot CPU is used");
		return nr_cpus;
	}
	write_trampoline(page);
	left = reset_others(apic_ids, nr);
	for (u32 i = 0; i < nr && nr_cpus < MAX_CPUS && outcome != STRANDED; i++) {
		if (apic_ids[i] == apic_id())
			continue;
		left--;
		outcome = start_one(nr_cpus, apic_ids[i], page);
		if (outcome == STARTED)
			nr_cpus++;
	}
	if (outcome == STRANDED)
		log_line("a CPU came up but cannot be used; it and the %u after it stay halted", left);
	else if (left)
		log_line("%u more CPUs than the %u that are supported: they stay halted", left, MAX_CPUS);
	return nr_cpus;
}
