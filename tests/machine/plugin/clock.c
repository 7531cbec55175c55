/*
 * The poll for interrupts, and the idle machine's time.
 *
 * Bochs's clock counts instructions. When all CPUs are halted it skips ahead to the next timer, so that the guest's
 * time would race while QEMU's devices, the network and the host's tools work in real time.
 * Invariant: while all CPUs are halted, guest time runs at most as fast as the host's; it is never slowed otherwise.
 */
#include <time.h>

#include "tests/machine/plugin/plugin.h"

#define POLL_TICKS 1000
#define SLEEP_US 200

static uint64_t last_guest, last_host, ahead;

static void sleep_a_little(void)
{
	struct timespec t = { .tv_nsec = SLEEP_US * 1000 };

	nanosleep(&t, NULL);
}

/* How far guest time has run ahead in this stretch of idleness, in microseconds. */
static void account(void)
{
	uint64_t guest = bochs_time_us(&bx_pc_system), host = now_us();

	ahead += guest - last_guest;
	ahead -= ahead < host - last_host ? ahead : host - last_host;
	last_guest = guest;
	last_host = host;
}

static void tick(void *self)
{
	bool idle = hooks_all_halted();

	(void)self;
	if (interrupts_poll() || !idle) {
		ahead = 0;
		last_guest = last_host = 0;
		return;
	}
	if (!last_host) { /* idleness begins */
		last_guest = bochs_time_us(&bx_pc_system);
		last_host = now_us();
	}
	account();
	while (ahead > SLEEP_US) {
		sleep_a_little();
		if (interrupts_poll())
			return;
		account();
	}
}

void clock_init(struct bochs_device *self)
{
	bochs_timer(&bx_pc_system, self, tick, POLL_TICKS, true, true, "nestling");
}
