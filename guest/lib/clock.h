/*
 * Time in TSC ticks, and bounded waits.
 *
 * Invariant: clock_init() has found a frequency before anything waits. On an emulator a tick is an instruction, so times
 * bound waits and mean nothing else.
 */
#ifndef GUEST_LIB_CLOCK_H
#define GUEST_LIB_CLOCK_H

#include "core/types.h"
#include "guest/lib/x86.h"

/* From CPUID 40000003h, else 15h. False if neither tells. */
bool clock_init(void);
u64 clock_khz(void);
static inline u64 clock_us(u64 us) { return us * clock_khz() / 1000; }
static inline u64 clock_deadline(u64 us) { return rdtsc() + clock_us(us); }
static inline bool clock_passed(u64 deadline) { return rdtsc() >= deadline; }

/*
 * Spin until cond is true or us microseconds have passed; true if cond became true. No PAUSE: a tight loop with it may exit
 * (SDM 3C, PAUSE-Loop Exiting), and the guest's waits must not.
 */
#define clock_wait(cond, us) clock_wait_checked(({ \
	u64 end_ = clock_deadline(us); \
	bool ok_; \
	while (!(ok_ = (cond)) && !clock_passed(end_)) \
		; \
	ok_ || (cond); }))
static inline bool __must_check clock_wait_checked(bool ok) { return ok; }

#endif
