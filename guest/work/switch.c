/*
 * The switch workload: count= switches between emulation and pass-through, under numbered unicast and broadcast datagrams both ways, `every`
 * of them between two switches. Neither end may lose, repeat or reorder one, and the port's own totals must be what the plugins counted.
 */
#include <stdio.h>

#include "guest/lib/clock.h"
#include "guest/lib/nest.h"
#include "guest/work/traffic.h"
#include "guest/work/work.h"

#define SETTLE_US 2000000

/* All switches; returns how many worked. The last datagrams run after the last one. */
static u64 run(struct traffic *t, u64 count, u64 every)
{
	u64 good = 0, done = 0;

	while (!traffic_done(t)) {
		traffic_round(t);
		/* the slowest of what each stream does decides: so there is traffic to come after every switch */
		u64 least = MIN(MIN(t->blast[0].acked, t->blast[0].expect), MIN(t->blast[1].acked, t->blast[1].expect));
		if (done == count || least < (done + 1) * every)
			continue;
		done++;
		good += nic_switch(&t->net.nic, !t->net.nic.mode) == 0;
	}
	return good;
}

u32 work_switch(const struct cmdline *c)
{
	static struct traffic t;
	u64 count = cmdline_u64(c, "count", 20), every = cmdline_u64(c, "every", 50), good;
	struct blast_conf conf = {
		.count = (u32)((count + 1) * every),
		.window = (u32)cmdline_u64(c, "window", 64),
		.size = (u32)cmdline_u64(c, "size", 256),
		.run = (u32)rdtsc(),
	};
	bool open;

	nest_phase(PHASE_CONTROL);
	u32 failed = traffic_open(&t, c, &conf, 2, "switch", &open);
	if (open && !failed) {
		nest_phase(PHASE_TRAFFIC);
		good = run(&t, count, every);
		nest_phase(PHASE_END);
		failed = traffic_finish(&t, "switch");
		bool adds_up = net_adds_up(&t.net, SETTLE_US);
		net_report(&t.net, "switch");
		printf("guest: switch: %llu of %llu switches\n", (unsigned long long)good, (unsigned long long)count);
		failed += work_check(good == count, "switch-all") + work_check(adds_up, "switch-totals-add-up") +
			  work_check(t.net.tx_dropped == 0, "switch-no-drop");
	}
	return failed + (open ? work_check(net_close(&t.net) == 0, "switch-close") : 0);
}
