/*
 * One kind of exit many times, each in a phase of its own: instructions per exit, by reason and level.
 */
#include <stdio.h>

#include "guest/lib/nest.h"
#include "guest/lib/x86.h"
#include "guest/work/work.h"

typedef unsigned long long ull;

static void exit_cpuid(void) { (void)cpuid(0, 0); }
static void exit_vmcall(void) { (void)nest_call(HC_MAX, 0, 0, 0, 0); } /* unknown: the least work behind it */
static void exit_io(void) { (void)inb(0x80); }
static void exit_rdmsr(void) { (void)rdmsr(MSR_APIC_BASE); }
static void exit_nothing(void) { compiler_barrier(); }

static const struct { const char *phase; void (*fn)(void); } kinds[] = {
	{ "exits-none", exit_nothing }, { "exits-cpuid", exit_cpuid }, { "exits-vmcall", exit_vmcall },
	{ "exits-io", exit_io }, { "exits-rdmsr", exit_rdmsr },
};

u32 work_exits(const struct cmdline *c)
{
	u64 n = cmdline_u64(c, "count", 1000);
	u64 ticks[ARRAY_SIZE(kinds)];

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
