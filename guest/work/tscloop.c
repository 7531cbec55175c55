/*
 * A loop of known length between two readings of the TSC. Where the TSC counts instructions (Bochs), any exit or interrupt
 * inside it would show: expected and seen are equal only if there was none.
 */
#include <stdio.h>

#include "guest/lib/nest.h"
#include "guest/lib/x86.h"
#include "guest/work/work.h"

typedef unsigned long long ull;

void tsc_sample(struct tsc_samples *t)
{
	u64 seen = tsc_loop(t->rounds);

	t->seen_min = t->samples ? MIN(t->seen_min, seen) : seen;
	t->seen_max = MAX(t->seen_max, seen);
	t->seen_sum += seen;
	t->exact += seen == TSC_LOOP_TICKS(t->rounds);
	t->samples++;
}

void tsc_samples_report(const struct tsc_samples *t, const char *who)
{
	printf("@report {\"guest\":\"tscloop\",\"workload\":\"%s\",\"expected\":%llu,\"samples\":%llu,\"exact\":%llu,"
	       "\"seen_min\":%llu,\"seen_max\":%llu,\"seen_sum\":%llu}\n", who, (ull)TSC_LOOP_TICKS(t->rounds), (ull)t->samples,
	       (ull)t->exact, (ull)t->seen_min, (ull)t->seen_max, (ull)t->seen_sum);
}

/* loop=rounds samples=n; strict=1: anything but exact equality fails (for machines whose TSC counts instructions). */
u32 work_tscloop(const struct cmdline *c)
{
	struct tsc_samples t = { .rounds = cmdline_u64(c, "loop", 10000) };
	u64 n = cmdline_u64(c, "samples", 100);
	bool strict = cmdline_u64(c, "strict", 0);

	nest_phase(PHASE_TRAFFIC);
	for (u64 i = 0; i < n; i++)
		tsc_sample(&t);
	nest_phase(PHASE_END);
	tsc_samples_report(&t, "tscloop");
	return strict ? work_check(t.exact == t.samples, "tscloop-exact") : 0;
}
