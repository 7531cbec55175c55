/*
 * core/irq.c and core/time.c, on a processor block of the test's own (reached through GS, as in the hypervisor) and with
 * a machine of the test's own behind the port and time-stamp instructions.
 */
#include <asm/prctl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/abi.h"
#include "core/acpi.h"
#include "core/apic.h"
#include "core/errno.h"
#include "core/hypercall.h"
#include "core/irq.h"
#include "core/time.h"
#include "core/x86.h"

/* The 8254 and its gate, as every PC has them. */
#define PIT_HZ 1193182
#define PIT_CHANNEL2 0x42
#define PIT_GATE 0x61

#define FAR (~0ull - 1000)

struct cpu cpus[MAX_CPUS];
u32 nr_cpus = 2;
static u64 apic_timer; /* what the local APIC's timer is set to */

void apic_timer_set(u64 tsc)
{
	apic_timer = tsc;
}

/* ---- a machine: one reading of anything takes one microsecond ---- */

static struct {
	u64 us, tsc_khz;
	u32 outer_khz;        /* 0: no outer */
	u16 pm_port;          /* 0: no FADT */
	bool pm_stands_still;
	u32 pm_start;
	bool pit;
	u64 pit_loaded, pit_count;
	u32 crystal_hz;       /* CPUID 15h: twice that; 0: no such leaf */
} machine;

u64 rdtsc(void)
{
	machine.us++;
	return machine.us * machine.tsc_khz / 1000;
}

u32 inl(u16 port)
{
	assert_int_equal(port, machine.pm_port);
	machine.us++;
	return machine.pm_stands_still ? 5 : (u32)((machine.pm_start + machine.us * 3579545 / 1000000) & 0xffffff);
}

u8 inb(u16 port)
{
	assert_int_equal(port, PIT_GATE);
	machine.us++;
	if (!machine.pit)
		return 0xff;
	return (machine.us - machine.pit_loaded) * PIT_HZ / 1000000 >= machine.pit_count ? 0x20 : 0;
}

void outb(u16 port, u8 v)
{
	if (port == PIT_CHANNEL2) { /* low byte, then high byte */
		machine.pit_count = machine.pit_count >> 8 | (u64)v << 8;
		machine.pit_loaded = machine.us;
	}
}

struct cpuid_regs cpuid(u32 leaf, u32 subleaf)
{
	struct cpuid_regs r = { .eax = 0 };

	(void)subleaf;
	if (leaf == 0)
		r.eax = machine.crystal_hz ? 0x15 : 0x14;
	if (leaf == NEST_CPUID_TSC)
		r.eax = machine.outer_khz;
	if (leaf == 0x15)
		r = (struct cpuid_regs){ .eax = 1, .ebx = 2, .ecx = machine.crystal_hz };
	return r;
}

bool outer_present(void)
{
	return machine.outer_khz;
}

const struct acpi_header *acpi_find(const char *signature)
{
	static const struct acpi_header h = { .length = 276 };

	assert_string_equal(signature, "FACP");
	return machine.pm_port ? &h : NULL;
}

int acpi_parse_fadt(const void *table, u32 len, struct acpi_fadt *out)
{
	(void)table;
	assert_int_equal(len, 276);
	*out = (struct acpi_fadt){ .pm_timer_port = machine.pm_port };
	return 0;
}

void log_line(const char *fmt, ...)
{
	(void)fmt;
}

/* ---- what happened, in order ---- */

static struct { void *arg; u32 vector; } events[1000];
static u32 nr_events;

static void note(void *arg, u8 vector)
{
	events[nr_events].arg = arg;
	events[nr_events++].vector = vector;
}

static int reset(void **state)
{
	(void)state;
	memset(cpus, 0, sizeof(cpus));
	cpus[0].self = &cpus[0];
	cpus[1].self = &cpus[1];
	cpus[1].index = 1;
	nr_events = 0;
	apic_timer = 0;
	memset(&machine, 0, sizeof(machine));
	machine.tsc_khz = 2000000;
	return syscall(SYS_arch_prctl, ARCH_SET_GS, &cpus[0]) ? -1 : 0;
}

/* ---- interrupts ---- */

static void highest_first_and_merged(void **state)
{
	int a = irq_alloc(0, note, "a"), b = irq_alloc(0, note, "b"), c = irq_alloc(0, note, "c");
	u64 before = irq_count();

	(void)state;
	assert_true(a >= IRQ_VEC_FIRST && a <= IRQ_VEC_LAST && a != b && b != c && a != c);
	assert_false(irq_pending_here());
	irq_record((u8)b);
	irq_record((u8)c);
	irq_record((u8)a);
	irq_record((u8)b);
	assert_true(irq_pending_here());
	assert_int_equal(nr_events, 0);
	irq_poll();
	assert_false(irq_pending_here());
	assert_int_equal(nr_events, 3);
	assert_true(events[0].vector > events[1].vector && events[1].vector > events[2].vector);
	for (u32 i = 0; i < 3; i++)
		assert_string_equal(events[i].arg, events[i].vector == (u32)a ? "a" : events[i].vector == (u32)b ? "b" : "c");
	assert_int_equal(irq_count(), before + 3);
	irq_poll();
	assert_int_equal(nr_events, 3);
	irq_free(0, (u8)a);
	irq_free(0, (u8)b);
	irq_free(0, (u8)c);
}

static void all_vectors_in_order(void **state)
{
	(void)state;
	while (irq_alloc(0, note, NULL) >= 0)
		;
	for (u32 v = IRQ_VEC_FIRST; v <= IRQ_VEC_LAST; v += 3) /* 48, 51, ... 222 */
		irq_record((u8)(v * 7 % 176 / 3 * 3 + IRQ_VEC_FIRST));
	u32 recorded = 0;
	for (u32 i = 0; i < 4; i++)
		recorded += (u32)__builtin_popcountll(cpus[0].pending[i]);
	irq_poll();
	assert_true(recorded > 40);
	assert_int_equal(nr_events, recorded);
	for (u32 i = 1; i < nr_events; i++)
		assert_true(events[i].vector < events[i - 1].vector);
	for (u32 v = IRQ_VEC_FIRST; v <= IRQ_VEC_LAST; v++)
		irq_free(0, (u8)v);
}

static void vectors_run_out_and_come_back(void **state)
{
	u8 seen[256] = { 0 };
	u32 n = 0;

	(void)state;
	for (int v; (v = irq_alloc(1, note, NULL)) >= 0; n++)
		assert_int_equal(seen[v]++, 0);
	assert_int_equal(n, IRQ_VEC_LAST - IRQ_VEC_FIRST + 1);
	assert_int_equal(irq_alloc(1, note, NULL), -ENOSPC);
	int other = irq_alloc(0, note, NULL); /* each CPU has its own */
	assert_true(other > 0);
	irq_free(0, (u8)other);
	irq_free(1, 0x77);
	assert_int_equal(irq_alloc(1, note, NULL), 0x77);
	for (u32 v = IRQ_VEC_FIRST; v <= IRQ_VEC_LAST; v++)
		irq_free(1, (u8)v);
}

static void unbound_is_spurious(void **state)
{
	u64 handled = irq_count(), spurious = irq_spurious_count();
	int v = irq_alloc(0, note, NULL);

	(void)state;
	irq_free(0, (u8)v);
	irq_record((u8)v);
	irq_record(0x20);
	irq_record(IRQ_VEC_SPURIOUS);
	irq_poll();
	assert_int_equal(nr_events, 0);
	assert_int_equal(irq_spurious_count(), spurious + 3);
	assert_int_equal(irq_count(), handled);
}

static void of_another_cpu(void **state)
{
	int v = irq_alloc(1, note, "one");
	u64 spurious = irq_spurious_count();

	(void)state;
	irq_record((u8)v); /* on CPU 0, where it means nothing */
	irq_poll();
	assert_int_equal(irq_spurious_count(), spurious + 1);
	syscall(SYS_arch_prctl, ARCH_SET_GS, &cpus[1]);
	assert_false(irq_pending_here());
	irq_record((u8)v);
	irq_poll();
	assert_int_equal(nr_events, 1);
	irq_free(1, (u8)v);
}

static void again(void *arg, u8 vector)
{
	note(arg, vector);
	if (nr_events < 5)
		irq_record(vector); /* as an interrupt that arrives during its own handler */
}

static void recorded_during_a_handler(void **state)
{
	(void)state;
	irq_bind_fixed(IRQ_VEC_KICK, again);
	irq_record(IRQ_VEC_KICK);
	irq_poll();
	assert_int_equal(nr_events, 5);
	assert_false(irq_pending_here());
}

/* ---- timers ---- */

static void fire(void *arg)
{
	note(arg, 0);
}

static int timers_reset(void **state)
{
	int err = reset(state);

	machine.outer_khz = (u32)machine.tsc_khz;
	time_init(); /* binds the timer's vector */
	return err;
}

static void earliest_first(void **state)
{
	struct timer a = { .fn = fire, .arg = "a" }, b = { .fn = fire, .arg = "b" }, c = { .fn = fire, .arg = "c" };

	(void)state;
	timer_arm(&a, FAR + 30);
	assert_int_equal(apic_timer, FAR + 30);
	timer_arm(&b, FAR + 10);
	assert_int_equal(apic_timer, FAR + 10);
	timer_arm(&c, FAR + 20);
	assert_int_equal(apic_timer, FAR + 10);
	timer_cancel(&b);
	assert_int_equal(apic_timer, FAR + 20);
	timer_arm(&c, FAR + 40); /* later than before: a is now the first */
	assert_int_equal(apic_timer, FAR + 30);
	timer_cancel(&c);
	timer_cancel(&c);
	assert_int_equal(apic_timer, FAR + 30);
	timer_cancel(&a);
	assert_int_equal(apic_timer, 0);
	assert_false(a.armed || b.armed || c.armed);
	irq_record(IRQ_VEC_TIMER); /* late interrupt of a timer that is gone */
	irq_poll();
	assert_int_equal(nr_events, 0);
}

static void past_deadlines_fire_at_the_next_poll(void **state)
{
	struct timer a = { .fn = fire, .arg = "a" }, b = { .fn = fire, .arg = "b" }, c = { .fn = fire, .arg = "c" };

	(void)state;
	timer_arm(&a, 7);
	timer_arm(&b, 5);
	timer_arm(&c, FAR);
	assert_int_equal(nr_events, 0);
	irq_poll();
	assert_int_equal(nr_events, 2);
	assert_string_equal(events[0].arg, "b");
	assert_string_equal(events[1].arg, "a");
	assert_false(a.armed || b.armed);
	assert_true(c.armed);
	assert_int_equal(apic_timer, FAR);
	timer_cancel(&c);
}

static void too_early_interrupt_sets_it_again(void **state)
{
	struct timer a = { .fn = fire, .arg = "a" };

	(void)state;
	timer_arm(&a, FAR);
	apic_timer = 0; /* it has fired: a counter too short for the deadline */
	irq_record(IRQ_VEC_TIMER);
	irq_poll();
	assert_int_equal(nr_events, 0);
	assert_int_equal(apic_timer, FAR);
	timer_cancel(&a);
}

static struct timer periodic;
static void rearm(void *arg)
{
	note(arg, 0);
	if (nr_events < 4)
		timer_arm(&periodic, nr_events < 3 ? 1 : FAR);
}

static void armed_again_by_its_own_function(void **state)
{
	(void)state;
	periodic = (struct timer){ .fn = rearm };
	timer_arm(&periodic, 1);
	irq_poll();
	assert_int_equal(nr_events, 3);
	assert_true(periodic.armed);
	assert_int_equal(apic_timer, FAR);
	timer_cancel(&periodic);
}

static struct timer victim;
static void cancel_other(void *arg)
{
	note(arg, 0);
	timer_cancel(&victim);
}

static void cancelled_by_an_earlier_one(void **state)
{
	struct timer a = { .fn = cancel_other };

	(void)state;
	victim = (struct timer){ .fn = fire };
	timer_arm(&victim, 9);
	timer_arm(&a, 8);
	irq_poll();
	assert_int_equal(nr_events, 1);
	assert_int_equal(apic_timer, 0);
}

static void only_on_its_own_cpu(void **state)
{
	struct timer a = { .fn = fire };

	(void)state;
	timer_arm(&a, FAR);
	syscall(SYS_arch_prctl, ARCH_SET_GS, &cpus[1]);
	expect_assert_failure(timer_cancel(&a));
	expect_assert_failure(timer_arm(&a, 1));
	syscall(SYS_arch_prctl, ARCH_SET_GS, &cpus[0]);
	timer_cancel(&a);
}

static void fires_in_its_time(void **state)
{
	struct timer a = { .fn = fire };
	u64 deadline = rdtsc() + us_to_tsc(50);

	(void)state;
	timer_arm(&a, deadline);
	irq_poll();
	assert_int_equal(nr_events, 0);
	while (rdtsc() < deadline)
		;
	irq_record(IRQ_VEC_TIMER);
	irq_poll();
	assert_int_equal(nr_events, 1);
}

static void waits_end(void **state)
{
	u64 n = 0;

	(void)state;
	assert_true(wait_until(++n == 3, 1000000));
	assert_int_equal(n, 3);
	u64 start = machine.us, waited = cpus[0].wait_tsc;
	assert_false(wait_until(false, 100));
	assert_in_range(machine.us - start, 100, 105);
	assert_in_range(cpus[0].wait_tsc - waited, us_to_tsc(100), us_to_tsc(105)); /* booked as waiting */
	start = machine.us;
	delay_us(1000);
	assert_in_range(machine.us - start, 1000, 1005);
	/* Looked at once more when the time is over: as many looks as in a wait that fails. */
	n = 0;
	assert_false(wait_until((n++, false), 40));
	u64 looks = n;
	n = 0;
	assert_true(wait_until(++n == looks, 40));
}

/* ---- calibration ---- */

static void near(u64 khz_wanted)
{
	assert_in_range(tsc_khz(), khz_wanted - khz_wanted / 500, khz_wanted + khz_wanted / 500);
}

static void calibrates_by_the_best_source(void **state)
{
	(void)state;
	machine.tsc_khz = 2600000;
	machine.outer_khz = 1234567;
	machine.pm_port = 0x608;
	machine.pit = true;
	machine.crystal_hz = 25000000;
	time_init();
	assert_int_equal(tsc_khz(), 1234567); /* the outer knows */
	machine.outer_khz = 0;
	machine.pit = false;
	time_init();
	near(2600000); /* PM timer */
	machine.pm_start = 0xffff00 - (u32)(machine.us * 3579545 / 1000000); /* wraps meanwhile */
	time_init();
	near(2600000);
	machine.tsc_khz = 1800000;
	machine.pit = true;
	machine.pm_stands_still = true;
	time_init();
	near(1800000); /* PIT */
	machine.tsc_khz = 1900000;
	machine.pm_port = 0;
	time_init();
	near(1900000);
	machine.pit = false;
	time_init();
	assert_int_equal(tsc_khz(), 50000); /* CPUID */
	machine.crystal_hz = 0;
	time_init();
	assert_int_equal(tsc_khz(), 50000); /* nothing: what was there before stays */
}

int main(void)
{
#define IRQ(fn) cmocka_unit_test_setup(fn, reset)
#define TIMER(fn) cmocka_unit_test_setup(fn, timers_reset)
	const struct CMUnitTest tests[] = {
		IRQ(highest_first_and_merged),
		IRQ(all_vectors_in_order),
		IRQ(vectors_run_out_and_come_back),
		IRQ(unbound_is_spurious),
		IRQ(of_another_cpu),
		IRQ(recorded_during_a_handler),
		TIMER(earliest_first),
		TIMER(past_deadlines_fire_at_the_next_poll),
		TIMER(too_early_interrupt_sets_it_again),
		TIMER(armed_again_by_its_own_function),
		TIMER(cancelled_by_an_earlier_one),
		TIMER(only_on_its_own_cpu),
		TIMER(fires_in_its_time),
		TIMER(waits_end),
		TIMER(calibrates_by_the_best_source),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
