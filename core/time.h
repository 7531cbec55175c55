/*
 * Time in TSC ticks; bounded waits; one-shot timers per CPU.
 *
 * Invariant: no wait on hardware is unbounded. Deadlines are in this CPU's TSC.
 */
#ifndef CORE_TIME_H
#define CORE_TIME_H

#include "core/percpu.h"
#include "core/types.h"

/* Calibrate: CPUID 40000000h's outer or CPUID 15h if they can be trusted, else the ACPI PM timer. Boot CPU, once. */
void time_init(void);
u64 tsc_khz(void);
static inline u64 us_to_tsc(u64 us) { return us * tsc_khz() / 1000; }
void delay_us(u64 us);

/* Book-keeping of wait_until: not to be called directly. */
u64 wait_begin(void);
void wait_end(u64 start);
/* Between two looks: nothing at first, then a few microseconds, so that looks at slow registers do not stretch the wait. */
void wait_pause(u32 *polls);

/*
 * Spin until cond is true or us microseconds have passed; true if cond became true. The ticks are left out of boot
 * counts (cpu->wait_tsc). Must be checked.
 */
#define wait_until(cond, us) wait_until_checked(({ \
	u64 start_ = wait_begin(), end_ = start_ + us_to_tsc(us); \
	u32 polls_ = 0; \
	bool ok_; \
	while (!(ok_ = (cond)) && rdtsc() < end_) \
		wait_pause(&polls_); \
	if (!ok_) \
		ok_ = (cond); \
	wait_end(start_); \
	ok_; }))
static inline bool __must_check wait_until_checked(bool ok) { return ok; }

struct timer {
	u64 deadline;            /* TSC; valid while armed */
	void (*fn)(void *arg);   /* runs on the CPU that armed it, from irq_poll() */
	void *arg;
	struct timer *next;
	bool armed;
	u32 cpu;
};
/* Arm (or re-arm) on the calling CPU; a deadline in the past fires at the next irq_poll(). */
void timer_arm(struct timer *t, u64 deadline);
/* Disarm; only on the CPU that armed it. Harmless if not armed. */
void timer_cancel(struct timer *t);

#endif
