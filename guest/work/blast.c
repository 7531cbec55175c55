/*
 * The blast workload: the guest's end of the protocol in blast.h over the NIC, as fast as the window allows.
 *
 * Invariant: between the traffic phase's begin and end nothing is executed that exits when the NIC is polled (traffic.h).
 */
#include "guest/work/blast.h"

#include "guest/lib/clock.h"
#include "guest/lib/nest.h"
#include "guest/work/traffic.h"
#include "guest/work/work.h"

#define SAMPLE_EVERY 4096      /* data packets per sample of the TSC loop */
#define SAMPLE_ROUNDS 1000

static void run(struct traffic *t, struct tsc_samples *tsc)
{
	u64 sample_at = SAMPLE_EVERY;

	while (!traffic_done(t)) {
		traffic_round(t);
		if (traffic_progress(t) >= sample_at) {
			tsc_sample(tsc);
			sample_at += SAMPLE_EVERY;
		}
	}
}

u32 work_blast(const struct cmdline *c)
{
	static struct traffic t;
	struct tsc_samples tsc = { .rounds = SAMPLE_ROUNDS };
	struct blast_conf conf = {
		.count = (u32)cmdline_u64(c, "count", 100000),
		.window = (u32)cmdline_u64(c, "window", 128),
		.size = (u32)cmdline_u64(c, "size", 256),
		.run = (u32)rdtsc(),
	};
	bool open;

	nest_phase(PHASE_CONTROL);
	u32 failed = traffic_open(&t, c, &conf, 1, "blast", &open);
	if (open && !failed) {
		nest_phase(PHASE_TRAFFIC);
		run(&t, &tsc);
		nest_phase(PHASE_END);
		failed = traffic_finish(&t, "blast");
		tsc_samples_report(&tsc, "blast");
		net_report(&t.net, "blast");
	}
	return failed + (open ? work_check(net_close(&t.net) == 0, "blast-close") : 0);
}
