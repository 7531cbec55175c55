/*
 * The wait-for-SIPI activity state: what ends it, what it blocks, and what becomes of INIT and startup IPIs elsewhere (SDM 3C, Activity
 * State; Other Causes of VM Exits; VMX-Preemption Timer). A second processor sends; without one the group is left out.
 *
 * Invariant: the last message of every list is repeated until the processor under test says stop, so one that comes too early cannot be
 * what a guest waits for in vain. Each INIT is taken by an exit before VMXOFF.
 */
#include "tests/conform/exits.h"

#include <stdio.h>

#include "guest/lib/ap.h"
#include "guest/lib/traps.h"

PIECE(step); PIECE(spin); PIECE(count);

#define R guest_regs
#define TEST_VECTOR 0x51
#define SOON 1000000u /* rounds: the guest is entered by then, three levels up as well */
#define NEXT 20000u
#define NEEDED "no wait-for-SIPI activity state, or no second processor" /* known to tests/scenarios/conform.py */
#define WAITING (s->GUEST_ACTIVITY = ACTIVITY_WAIT_SIPI)

static u32 taken;
static void take(void *unused) { (void)unused; taken++; }

/* Enter s while the second processor sends. How many messages were sent, the repeated ones included. */
static u32 run(const char *name, struct vstate *s, const char *expected, const struct ap_ipi *list, u32 n)
{
	world_write(s);
	ap_send(list, n);
	exit_expect(name, s, expected);
	return ap_stop();
}
#define RUN(name, piece, expected, list, ...) do { \
	struct vstate s_, *s = &s_; \
	exit_begin(s, BASE_LONG, g_##piece); \
	__VA_ARGS__; \
	run(name, s, expected, list, ARRAY_SIZE(list)); \
} while (0)

static void exits(void)
{
	static const struct ap_ipi sipi[] = { { SOON, IPI_SIPI(0x9a) } };

	RUN("exit", step, "x4 q9a", sipi, WAITING; s->GUEST_PENDING_DBG = BIT(12) | 1; ON(GUEST_RFLAGS, RFLAGS_IF));
	report_u64("state-kept", field(VMCS_GUEST_ACTIVITY), ACTIVITY_WAIT_SIPI);
	report_u64("rip-kept", field(VMCS_GUEST_RIP) - (u64)g_step, 0);
	report_u64("no-pending-debug-exceptions", field(VMCS_GUEST_PENDING_DBG), 0);
	RUN("again", step, "x4 q9a", sipi, WAITING);
	EXPECT("goes-on-active", BASE_LONG, step, "x18 q0 l3 +2", );
}

static void blocked(void)
{
	static const struct ap_ipi list[] = { { SOON, IPI_FIXED(TEST_VECTOR) }, { NEXT, IPI_NMI }, { SOON, IPI_SIPI(1) } };
	static const struct ap_ipi sipi[] = { { SOON, IPI_SIPI(0xff) } };

	irq_bind(TEST_VECTOR, take, NULL);
	nmi_expect();
	RUN("blocks-interrupt-and-nmi", step, "x4 q1", list, WAITING; ON(GUEST_RFLAGS, RFLAGS_IF); ON(PIN_CONTROLS, PIN_EXT_INT | PIN_NMI));
	report_u64("nmi-after-exit", nmi_expected(), 0);
	taken = 0;
	irq_enable_disable();
	report_u64("interrupt-after-exit", taken, 1);
	irq_bind(TEST_VECTOR, NULL, NULL);
	NEEDS("blocks-interrupt-window", may_proc(&env, PROC_INT_WINDOW), RUN("blocks-interrupt-window", step, "x4 qff", sipi, WAITING;
	      ON(PROC_CONTROLS, PROC_INT_WINDOW); ON(GUEST_RFLAGS, RFLAGS_IF)));
	NEEDS("blocks-nmi-window", may_proc(&env, PROC_NMI_WINDOW) && may_pin(&env, PIN_VIRTUAL_NMI), RUN("blocks-nmi-window", step, "x4 qff",
	      sipi, WAITING; ON(PIN_CONTROLS, PIN_NMI | PIN_VIRTUAL_NMI); ON(PROC_CONTROLS, PROC_NMI_WINDOW)));
}

static void timer(void)
{
	static const struct ap_ipi sipi[] = { { SOON, IPI_SIPI(3) } };

	if (!BOUNDED || !may_exit(&env, EXIT_SAVE_PREEMPTION)) {
		report_skip("timer-makes-no-exit", SHORT);
		return;
	}
	RUN("timer-makes-no-exit", step, "x4 q3", sipi, WAITING; ON(PIN_CONTROLS, PIN_PREEMPTION_TIMER);
	    ON(EXIT_CONTROLS, EXIT_SAVE_PREEMPTION); s->PREEMPTION_TIMER = 10);
	report_u64("timer-counts", field(VMCS_PREEMPTION_TIMER), 0);
}

/* INIT and SIPI as an L1 sees them that starts its guest's processors by them. */
static void starting(void)
{
	static const struct ap_ipi init[] = { { SOON, IPI_INIT }, { SOON, IPI_NONE } };
	static const struct ap_ipi sipi[] = { { SOON, IPI_SIPI(0x12) } };
	static const struct ap_ipi both[] = { { SOON, IPI_INIT }, { SOON, IPI_SIPI(2) } };

	RUN("init-of-another", spin, "x3 q0 +0", init, );
	RUN("init-then-sipi", step, "x4 q12", sipi, WAITING);
	EXPECT("init-is-over", BASE_LONG, step, "x18 q0 l3 +2", );
	RUN("blocks-init", step, "x4 q2", both, WAITING);
	RUN("still-blocks-init", step, "x4 q12", sipi, WAITING);
	EXPECT("init-after-exit", BASE_LONG, step, "x3 q0 +0", );
	EXPECT("init-after-exit-is-over", BASE_LONG, step, "x18 q0 l3 +2", );
}

/* In every other state a SIPI is lost. */
static void dropped(void)
{
	static const struct ap_ipi early[] = { { SOON, IPI_SIPI(5) }, { SOON, IPI_NONE } };
	static const struct ap_ipi sipi[] = { { SOON, IPI_SIPI(7) } };

	RUN("dropped-while-active", count, "x18 q0 l3", early, R.rsi = (u64)ap_sent());
	ap_send(early, ARRAY_SIZE(early));
	while (*ap_sent() < 2)
		cpu_relax();
	ap_stop();
	RUN("dropped-in-root", step, "x4 q7", sipi, WAITING);
}

void group_sipi(u32 every)
{
	(void)every;
	if (!(env.misc & VMX_MISC_ACTIVITY(ACTIVITY_WAIT_SIPI)) || !env.x2apic || !ap_start()) {
		report_skip("all", NEEDED);
		return;
	}
	world_open();
	exits();
	blocked();
	timer();
	starting();
	dropped();
	world_close();
}
