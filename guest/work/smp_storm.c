/*
 * More interrupts of our function than anybody wants, for a vCPU with self-armed posting that does not run: first it halts and will not
 * hear of them, then another guest has its CPU half of the time. They cost the others on that CPU little, one of them arrives when the
 * vCPU runs again, and those that come afterwards all do.
 *
 * Invariant: vCPU 1 stands in HLT with interrupts off when the workload returns.
 */
#include <stdio.h>

#include "guest/lib/clock.h"
#include "guest/lib/memory.h"
#include "guest/lib/nest.h"
#include "guest/lib/traps.h"
#include "guest/lib/x86.h"
#include "guest/net/port.h"
#include "guest/work/modes.h"
#include "guest/work/pinger.h"
#include "guest/work/work.h"
#include "nic/plugin/igbvf_regs.h"

#define VECTOR 0x45
#define VECTOR_IPI 0x62   /* of a higher class than TPR_BLOCKS */
#define TPR_BLOCKS 5
#define AFTERWARDS 20u
#define WAIT_US 5000000
#define QUIET_US 300000   /* longer than any storm is masked */

static u32 stage, taken, ipis;
static u64 gap;           /* between two: the emulated machine hands on one at a time */
static u64 *page;
static volatile u8 *regs;

static void count(void *what) { __atomic_fetch_add((u32 *)what, 1, __ATOMIC_SEQ_CST); }

static void target(void)
{
	write_cr8(TPR_BLOCKS);
	WRITE_ONCE(stage, 1);
	while (READ_ONCE(stage) == 1)
		irq_enable_halt_disable();
	write_cr8(0);
	irq_enable();
	while (READ_ONCE(stage) == 2)
		compiler_barrier();
	irq_disable_halt();
}

static void arm(void) { __atomic_fetch_or(&page[VECTOR / 64], BIT(VECTOR % 64), __ATOMIC_SEQ_CST); }

static void storm(u64 n)
{
	vf_write(regs, VF_EIMS, 1);
	for (u64 i = 0; i < n; i++) {
		vf_write(regs, VF_EICS, 1);
		for (u64 k = 0; k < gap; k++)
			compiler_barrier();
	}
}

/* Each of them comes. */
static u32 lost(void)
{
	u32 bad = 0;

	for (u32 i = 0; i < AFTERWARDS; i++) {
		u32 before = READ_ONCE(taken);

		arm();
		vf_write(regs, VF_EICS, 1);
		bad += !clock_wait(READ_ONCE(taken) != before, WAIT_US);
	}
	return bad;
}

static u32 halted(u64 n)
{
	u32 failed;

	arm();
	storm(n);
	failed = work_check_result(READ_ONCE(taken), 0, "storm-halted-blocked");
	WRITE_ONCE(stage, 2);
	smp_send(VECTOR_IPI);
	failed += work_check(clock_wait(READ_ONCE(taken) != 0, WAIT_US), "storm-halted-arrives");
	(void)!clock_wait(false, QUIET_US);
	return failed + work_check_result(lost(), 0, "storm-halted-afterwards");
}

static u32 descheduled(u64 n)
{
	u32 before = READ_ONCE(taken), failed;

	arm();
	storm(n);
	failed = work_check(clock_wait(READ_ONCE(taken) != before, WAIT_US), "storm-descheduled-arrives");
	(void)!clock_wait(false, QUIET_US);
	return failed + work_check_result(lost(), 0, "storm-descheduled-afterwards");
}

u32 work_smp_storm(const struct cmdline *c)
{
	static struct pinger p;
	struct nest_nic_irq irq = { .vector = VECTOR, .apic_id = 1, .pi_gpa = ~0ull };
	u64 n = cmdline_u64(c, "count", 10000);
	u32 failed;

	gap = cmdline_u64(c, "gap", 3000);
	page = memory_pages(1);
	regs = (volatile u8 *)memory_device_window();
	irq_bind(VECTOR, count, &taken);
	irq_bind(VECTOR_IPI, count, &ipis);
	WRITE_ONCE(stage, 0);
	if (!page || pinger_open(&p, c, WAIT_US) || !smp_start(target) || !clock_wait(READ_ONCE(stage) == 1, WAIT_US))
		return work_check(false, "storm-starts");
	u64 h = p.net.nic.handle;
	if (port_irq_set(h, 0, &irq) || port_irq_mask(h, 0, 0) || port_irq_post(h, 0, NEST_POST_SELF, (u64)page))
		return work_check(false, "storm-starts");
	printf("guest: storm: begins\n");
	failed = halted(n) + descheduled(n);
	printf("guest: storm: is over\n");
	vf_write(regs, VF_EIMC, 1);
	failed += work_check(!port_irq_clear(h, 0), "storm-clear");
	net_drain(&p.net, clock_deadline(WAIT_US)); /* the sender has filled the ring: an answer has no room there */
	failed += work_check(pinger_exchange(&p, 30000000), "storm-ping");
	WRITE_ONCE(stage, 3);
	return failed + work_check(net_close(&p.net) == 0, "storm-close");
}
