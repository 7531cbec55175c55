/*
 * Interrupts between two vCPUs: level-triggered ones whose EOI the I/O APIC must see, HLT with interrupts off, wake-ups beside a
 * vCPU that never rests.
 *
 * Invariant: vCPU 1 stands in HLT with interrupts off, or spins for the test after (smp-spin), when a workload returns.
 */
#include "guest/lib/clock.h"
#include "guest/lib/traps.h"
#include "guest/lib/x86.h"
#include "guest/work/modes.h"
#include "guest/work/work.h"

#define COM1 0x3f8
#define COM1_PIN 4
#define IER_THRE BIT(1)
#define IOAPIC 0xfec00000ull
#define IOAPIC_WINDOW 0x10
#define REDIRECT_LEVEL BIT(15)
#define REDIRECT_MASKED BIT(16)
#define REDIRECT_REMOTE_IRR BIT(14)

#define VECTOR_LEVEL 0x51
#define VECTOR_IPI 0x52
#define VECTOR_TIMER 0x53
#define ROUNDS 50
#define WAIT_US 200000
#define QUIET_US 20000

static u32 stage, taken;

static void count(void *unused)
{
	(void)unused;
	__atomic_fetch_add(&taken, 1, __ATOMIC_SEQ_CST);
}

/* ---- level-triggered ---- */
static u32 ioapic_access(u32 index, u32 value, bool write)
{
	mmio_write32((void *)IOAPIC, index);
	if (write)
		mmio_write32((void *)(IOAPIC + IOAPIC_WINDOW), value);
	return mmio_read32((void *)(IOAPIC + IOAPIC_WINDOW));
}

static void pin_set(u32 low)
{
	ioapic_access(0x10 + COM1_PIN * 2, (u32)REDIRECT_MASKED, true);
	ioapic_access(0x11 + COM1_PIN * 2, 1 << 24, true); /* to vCPU 1 */
	ioapic_access(0x10 + COM1_PIN * 2, low, true);
}

static void take_level(void *unused)
{
	inb(COM1 + 2); /* IIR: the pin falls */
	count(unused);
}

static void spin_open(void)
{
	irq_enable();
	WRITE_ONCE(stage, 1);
	while (READ_ONCE(stage) == 1)
		compiler_barrier();
	irq_disable();
}

static void halt_open(void)
{
	WRITE_ONCE(stage, 1);
	while (READ_ONCE(stage) == 1)
		irq_enable_halt_disable();
}

/* The transmitter is always empty: enabling its interrupt raises the pin. Nothing is printed meanwhile. */
static u32 raise_rounds(void)
{
	u32 n;

	for (n = 0; n < ROUNDS; n++) {
		outb(COM1 + 1, (u8)IER_THRE);
		bool came = clock_wait(READ_ONCE(taken) == n + 1, WAIT_US);
		outb(COM1 + 1, 0);
		if (!came)
			break;
	}
	return n;
}

static u32 level_to(void (*fn)(void), const char *all, const char *clean)
{
	WRITE_ONCE(taken, 0);
	WRITE_ONCE(stage, 0);
	if (!smp_start(fn) || !clock_wait(READ_ONCE(stage) == 1, WAIT_US))
		return work_check(false, "second-vcpu-starts");
	pin_set(VECTOR_LEVEL | REDIRECT_LEVEL);
	u32 n = raise_rounds();
	bool clear = clock_wait(!(ioapic_access(0x10 + COM1_PIN * 2, 0, false) & REDIRECT_REMOTE_IRR), WAIT_US);
	pin_set(REDIRECT_MASKED);
	WRITE_ONCE(stage, 2);
	smp_send(VECTOR_IPI);
	return work_check_result(n, ROUNDS, all) + work_check(clear, clean);
}

u32 work_smp_level(const struct cmdline *c)
{
	(void)c;
	irq_bind(VECTOR_LEVEL, take_level, NULL);
	irq_bind(VECTOR_IPI, NULL, NULL);
	return level_to(spin_open, "level-interrupts-running", "remote-irr-clear-running") +
	       level_to(halt_open, "level-interrupts-halted", "remote-irr-clear-halted");
}

/* ---- HLT with interrupts off ---- */
static void halt_closed(void)
{
	WRITE_ONCE(stage, 1);
	irq_disable_halt();
	WRITE_ONCE(stage, 2);
	irq_enable(); /* what waited comes now */
	while (READ_ONCE(stage) == 2)
		compiler_barrier();
	irq_disable();
}

u32 work_smp_cli_hlt(const struct cmdline *c)
{
	(void)c;
	irq_bind(VECTOR_IPI, count, NULL);
	WRITE_ONCE(taken, 0);
	WRITE_ONCE(stage, 0);
	if (!smp_start(halt_closed) || !clock_wait(READ_ONCE(stage) == 1, WAIT_US))
		return work_check(false, "second-vcpu-starts");
	(void)!clock_wait(false, QUIET_US); /* it is in HLT by now */
	smp_send(VECTOR_IPI);
	(void)!clock_wait(false, QUIET_US);
	u32 failed = work_check(READ_ONCE(stage) == 1 && !READ_ONCE(taken), "cli-hlt-sleeps-through-an-interrupt");
	nmi_expect();
	smp_send_nmi();
	failed += work_check(clock_wait(READ_ONCE(stage) == 2, WAIT_US), "cli-hlt-wakes-by-nmi");
	failed += work_check(clock_wait(READ_ONCE(taken) == 1, WAIT_US), "interrupt-taken-after-sti");
	WRITE_ONCE(stage, 3);
	return failed;
}

/* ---- wake-ups ---- */
static void spin_for_ever(void)
{
	irq_enable(); /* with interrupts off the emulator would not let go of it at the end (tests/machine/README.md) */
	WRITE_ONCE(stage, 1);
	for (;;)
		compiler_barrier();
}

u32 work_smp_spin(const struct cmdline *c)
{
	(void)c;
	WRITE_ONCE(stage, 0);
	return work_check(smp_start(spin_for_ever) && clock_wait(READ_ONCE(stage) == 1, WAIT_US), "second-vcpu-spins");
}

#define X2APIC_LVT_TIMER (MSR_X2APIC_BASE + 0x32)
#define LVT_DEADLINE BIT(18)
#define LVT_MASKED BIT(16)
#define NAP_US 300
u32 work_wake(const struct cmdline *c)
{
	u32 n = 0;

	(void)c;
	irq_bind(VECTOR_TIMER, count, NULL);
	WRITE_ONCE(taken, 0);
	wrmsr(X2APIC_LVT_TIMER, LVT_DEADLINE | VECTOR_TIMER);
	while (n < ROUNDS) { /* not woken: it hangs here, and the runner notices */
		wrmsr(MSR_TSC_DEADLINE, clock_deadline(NAP_US));
		while (READ_ONCE(taken) == n)
			irq_enable_halt_disable();
		n++;
	}
	wrmsr(X2APIC_LVT_TIMER, LVT_MASKED);
	return work_check_result(READ_ONCE(taken), ROUNDS, "timer-wakes-from-hlt");
}
