/*
 * The switch workload: count= switches between emulation and pass-through, under numbered unicast, broadcast and (with
 * group=) multicast datagrams both ways, `every` of them between two switches. Neither end may lose, repeat or reorder one, and the port's own totals must be what the plugins counted.
 */
#include <stdio.h>
#include <string.h>

#include "guest/lib/clock.h"
#include "guest/lib/nest.h"
#include "guest/work/traffic.h"
#include "guest/work/work.h"

#define SETTLE_US 2000000
/* All that may be in a ring of 256 at once: a window of each stream, and those of ours to many that the NIC returns to us. */
#define WINDOW_2 64
#define WINDOW_3 40

static struct traffic t;
static u64 pause_us;

/* Traffic between prepare and freeze, when group frames come by both devices. */
static int linger(void *arg, const char *name)
{
	(void)arg;
	if (!strcmp(name, "prepare"))
		for (u64 end = clock_deadline(pause_us); !clock_passed(end);)
			traffic_round(&t);
	return 0;
}

/* What the slowest of all streams has done: so there is traffic of each kind behind every switch. */
static u64 least(void)
{
	u64 n = ~0ull;

	for (u32 i = 0; i < t.nr; i++)
		n = MIN(n, (u64)MIN(t.blast[i].acked, t.blast[i].expect));
	return n;
}

/* All switches; returns how many worked. Our sender runs at most two steps ahead, so the traffic lasts until after the last one. */
static u64 run(u64 count, u64 every)
{
	u64 good = 0, done = 0;

	while (!traffic_done(&t)) {
		for (u32 i = 0; i < t.nr; i++)
			t.blast[i].limit = (u32)((done + 2) * every);
		traffic_round(&t);
		if (done == count || least() < (done + 1) * every)
			continue;
		done++;
		good += nic_switch(&t.net.nic, !t.net.nic.mode) == 0;
	}
	return good;
}

u32 work_switch(const struct cmdline *c)
{
	u64 count = cmdline_u64(c, "count", 20), every, good;
	u32 window = (u32)cmdline_u64(c, "window", cmdline_get(c, "group") ? WINDOW_3 : WINDOW_2);
	every = MAX(cmdline_u64(c, "every", 64), window);
	struct blast_conf conf = {
		.count = (u32)((count + 1) * every),
		.window = window,
		.size = (u32)cmdline_u64(c, "size", 256),
		.run = (u32)rdtsc(),
	};
	bool open;

	nest_phase(PHASE_CONTROL);
	u32 failed = traffic_open(&t, c, &conf, 2, "switch", &open);
	pause_us = cmdline_u64(c, "pause", 2000);
	t.net.nic.step = linger;
	if (open && !failed) {
		nest_phase(PHASE_TRAFFIC);
		good = run(count, every);
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
