/*
 * Interrupt vectors that are not our function's: the emulated 82576 takes three bits of each vector in VTIVAR, so that 3 to 7 are causes of
 * functions with lower numbers (README, CAVEATS). The neighbour gets interrupts that mean nothing, and must not mind; we ourselves get none.
 */
#include <stdio.h>

#include "guest/lib/memory.h"
#include "guest/lib/nest.h"
#include "guest/work/pinger.h"
#include "guest/work/work.h"
#include "nic/plugin/igbvf_regs.h"

#define FIRST 3u
#define LAST 7u

/* Frames sent and received name the vector; our own pings are polled for and need no interrupt. */
static u64 raise(struct pinger *p, u32 vector, u64 count, u64 us)
{
	volatile u8 *regs = (volatile u8 *)memory_device_window();
	u64 answered = 0;

	vf_write(regs, VF_EIAC, ~0u);
	vf_write(regs, VF_EIMS, ~0u);
	vf_write(regs, VF_IVAR, VF_IVAR_RX0(vector) * 0x01010101u);
	for (u64 i = 0; i < count; i++) {
		answered += pinger_exchange(p, us);
		vf_write(regs, VF_EICS, ~0u);
	}
	return answered;
}

/* A function anew for each vector: bits are only ever added. */
u32 work_vtivar(const struct cmdline *c)
{
	static struct pinger p;
	u64 count = cmdline_u64(c, "count", 50), us = cmdline_u64(c, "wait", 30) * 1000000;
	u32 failed = 0;

	nest_phase(PHASE_CONTROL);
	for (u32 v = FIRST; v <= LAST; v++) {
		char name[32];
		if (pinger_open(&p, c, us))
			return failed + work_check(false, "vtivar-open");
		u64 answered = raise(&p, v, count, us);
		sniprintf(name, sizeof(name), "vtivar-%u-pings", v);
		failed += work_check_result((s64)answered, (s64)count, name);
		failed += work_check(net_close(&p.net) == 0, "vtivar-close");
	}
	return failed;
}
