/*
 * The poll for interrupts, and the machine's time.
 *
 * Bochs's clock counts instructions. When all CPUs are halted it skips ahead to the next timer, so that the guest's
 * time would race while QEMU's devices, the network and the host's tools work in real time.
 * Invariant: over a stretch of idleness guest time runs as fast as the host's, never faster; what a sleep took too long
 * is made up for afterwards. Guest time is not held back while a CPU works, unless the machine is *paced*: then it never
 * runs faster than the host's, and the ACPI PM timer counts guest time too, so that a guest finds its TSC to count `ips`.
 */
#include <time.h>

#include "tests/machine/plugin/plugin.h"

#define POLL_TICKS 1000
#define SLEEP_US 200
#define CREDIT_US 1000000  /* most that is made up for */
#define PM_TIMER_HZ 3579545
#define PM_TIMER_BITS 0xFFFFFF

static uint64_t last_guest, last_host; /* when last looked at; last_host = 0: not idle then */
static int64_t ahead;                  /* guest time minus host time, in idleness or, if paced, altogether */
static bool paced;
static uint64_t behind;                /* paced: what could not be made up for, in us */

static void sleep_a_little(void)
{
	struct timespec t = { .tv_nsec = SLEEP_US * 1000 };

	nanosleep(&t, NULL);
}

static void account(void)
{
	uint64_t guest = bochs_time_us(&bx_pc_system), host = now_us();

	if (last_host)
		ahead += (int64_t)(guest - last_guest) - (int64_t)(host - last_host);
	if (ahead < -CREDIT_US) {
		behind += (uint64_t)(-CREDIT_US - ahead);
		ahead = -CREDIT_US;
	}
	last_guest = guest;
	last_host = host;
}

static void tick(void *self)
{
	bool idle = hooks_all_halted();

	(void)self;
	interrupts_unmask();
	if ((interrupts_poll() || !idle) && !paced) {
		last_host = 0;
		return;
	}
	account();
	while (ahead > SLEEP_US) {
		sleep_a_little();
		account();
		if (interrupts_poll())
			return;
	}
}

bool clock_pm_timer(uint32_t *value)
{
	if (paced)
		*value = (uint32_t)(bochs_time_us(&bx_pc_system) * PM_TIMER_HZ / 1000000) & PM_TIMER_BITS;
	return paced;
}

void clock_end(void)
{
	if (paced)
		log_line("paced: guest time is %lu ms short of the host's", (unsigned long)(behind / 1000));
}

void clock_init(struct bochs_device *self)
{
	paced = setting("NESTLING_PACED", 0) != 0;
	bochs_timer(&bx_pc_system, self, tick, POLL_TICKS, true, true, "nestling");
}
