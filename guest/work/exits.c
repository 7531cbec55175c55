/*
 * One kind of exit many times, each in a phase of its own: instructions per exit, by reason and level.
 */
#include <stdio.h>

#include "guest/lib/memory.h"
#include "guest/lib/nest.h"
#include "guest/lib/x86.h"
#include "guest/work/work.h"

typedef unsigned long long ull;

static void exit_cpuid(void) { (void)cpuid(0, 0); }
static void exit_vmcall(void) { (void)nest_call(HC_MAX, 0, 0, 0, 0); } /* unknown: the least work behind it */
static void exit_io(void) { (void)inb(0x80); }
static void exit_rdmsr(void) { (void)rdmsr(MSR_APIC_BASE); }
static void exit_nothing(void) { compiler_barrier(); }

/* The next untouched page: no exit where all RAM is in the processor's tables already. */
static u64 next_page, page_step;
static void exit_touch(void)
{
	mmio_write8((void *)next_page, 1);
	next_page += page_step;
}

/* A register of nobody's, in an address range that no level maps: its access goes to the level that gives us our memory. */
static u64 nowhere;
static void exit_mmio(void) { (void)mmio_read32((void *)nowhere); }

static const struct { const char *phase; void (*fn)(void); } kinds[] = {
	{ "exits-none", exit_nothing }, { "exits-cpuid", exit_cpuid }, { "exits-vmcall", exit_vmcall },
	{ "exits-io", exit_io }, { "exits-rdmsr", exit_rdmsr },
	{ "exits-mmio", exit_mmio }, { "exits-touch", exit_touch },
};

u32 work_exits(const struct cmdline *c)
{
	u64 n = cmdline_u64(c, "count", 1000);
	u64 ticks[ARRAY_SIZE(kinds)], untouched;

	next_page = memory_untouched(&untouched);
	page_step = ALIGN_DOWN(untouched / (n ? n : 1), PAGE_SIZE);
	nowhere = memory_device_window();
	for (u32 k = 0; k < ARRAY_SIZE(kinds); k++) {
		nest_phase(kinds[k].phase);
		u64 start = rdtsc();
		for (u64 i = 0; i < n; i++)
			kinds[k].fn();
		ticks[k] = rdtsc() - start;
	}
	nest_phase(PHASE_END);
	for (u32 k = 0; k < ARRAY_SIZE(kinds); k++)
		printf("@report {\"guest\":\"exits\",\"phase\":\"%s\",\"count\":%llu,\"ticks\":%llu}\n", kinds[k].phase, (ull)n,
		       (ull)ticks[k]);
	return 0;
}
