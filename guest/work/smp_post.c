/*
 * Self-armed posting to the VM's other vCPU, which never rests: lent and taken back again and again while it runs on its own CPU.
 * Afterwards nobody may write to the page any more; before, other interrupts must reach a vCPU whose notification vector is borrowed.
 *
 * Invariant: vCPU 1 stands in HLT with interrupts off when the workload returns.
 */
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
#define VECTOR_IPI 0x52
#define ROUNDS 50u
#define EACH 4u
#define WAIT_US 2000000
#define QUIET_US 2000

static u32 stage, taken, ipis;
static u64 *page;

static void count(void *what) { __atomic_fetch_add((u32 *)what, 1, __ATOMIC_SEQ_CST); }

static void spin(void)
{
	irq_enable();
	WRITE_ONCE(stage, 1);
	while (READ_ONCE(stage) == 1)
		compiler_barrier();
	irq_disable_halt();
}

static void arm(void) { __atomic_fetch_or(&page[VECTOR / 64], BIT(VECTOR % 64), __ATOMIC_SEQ_CST); }
static bool armed(void) { return READ_ONCE(page[VECTOR / 64]) & BIT(VECTOR % 64); }

static bool raise(void)
{
	volatile u8 *regs = (volatile u8 *)memory_device_window();
	u32 before = READ_ONCE(taken);

	vf_write(regs, VF_EIMS, 1);
	vf_write(regs, VF_EICS, 1);
	bool came = clock_wait(READ_ONCE(taken) != before, WAIT_US);
	vf_write(regs, VF_EIMC, 1);
	return came;
}

/* One life: each step that did not do what it should is counted. */
static u32 life(u64 h, bool by_clear)
{
	struct nest_nic_irq irq = { .vector = VECTOR, .apic_id = 1, .pi_gpa = ~0ull };
	u32 bad = port_irq_set(h, 0, &irq) || port_irq_mask(h, 0, 0) || port_irq_post(h, 0, NEST_POST_SELF, (u64)page), before;

	for (u32 i = 0; i < EACH; i++) {
		arm();
		bad += !raise();
		before = READ_ONCE(ipis);
		smp_send(VECTOR_IPI);
		bad += !clock_wait(READ_ONCE(ipis) != before, WAIT_US);
	}
	(void)!clock_wait(false, QUIET_US); /* what is late takes its bit now */
	if (by_clear)
		return bad + (port_irq_clear(h, 0) != 0);
	bad += port_irq_post(h, 0, NEST_POST_OFF, 0) != 0;
	arm();
	bad += !raise();  /* as any interrupt … */
	bad += !armed();  /* … and the page is ours alone */
	return bad + (port_irq_clear(h, 0) != 0);
}

u32 work_smp_post(const struct cmdline *c)
{
	static struct pinger p;
	u32 bad = 0, failed;

	page = memory_pages(1);
	irq_bind(VECTOR, count, &taken);
	irq_bind(VECTOR_IPI, count, &ipis);
	WRITE_ONCE(stage, 0);
	if (!page || pinger_open(&p, c, WAIT_US) || !smp_start(spin) || !clock_wait(READ_ONCE(stage) == 1, WAIT_US))
		return work_check(false, "smp-post-starts");
	for (u32 i = 0; i < ROUNDS; i++)
		bad += life(p.net.nic.handle, i & 1);
	failed = work_check_result(bad, 0, "smp-post-lives");
	failed += work_check(pinger_exchange(&p, 30000000), "smp-post-ping");
	WRITE_ONCE(stage, 2);
	return failed + work_check(net_close(&p.net) == 0, "smp-post-close");
}
