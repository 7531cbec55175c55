/*
 * The port taken and given back again and again: each time it must work, and the levels' reports after the first and the last time
 * must show the same balances.
 */
#include <stdio.h>

#include "guest/lib/nest.h"
#include "guest/net/net.h"
#include "guest/work/work.h"

#define RESOLVE_US 30000000

static bool cycle(struct net *n, const struct cmdline *c)
{
	if (net_open(n, c))
		return false;
	bool answered = net_resolve(n, cmdline_ip(c, "peer", 0x0a000001), RESOLVE_US);
	return net_close(n) == 0 && answered;
}

u32 work_cycle(const struct cmdline *c)
{
	static struct net n;
	u64 count = cmdline_u64(c, "count", 20), good = 0;

	nest_phase(PHASE_CONTROL);
	for (u64 i = 0; i < count; i++) {
		good += cycle(&n, c);
		if (i == 0 || i == count - 1)
			nest_call(HC_REPORT, 0, 0, 0, 0);
	}
	printf("guest: cycle: %llu of %llu good\n", (unsigned long long)good, (unsigned long long)count);
	return work_check(good == count, "cycle");
}
