/*
 * The scheduler (vmx/sched.c) on a clock of the test's own: two vCPUs on one CPU, one of them busy, the other woken as often as can be.
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

#include "core/apic.h"
#include "core/irq.h"
#include "core/percpu.h"
#include "vmx/sched.h"
#include "vmx/vlapic.h"

#define KHZ 1000000u
#define TURNS 100u
#define US(n) ((u64)(n) * (KHZ / 1000))

/* What it stands on. */
struct cpu cpus[MAX_CPUS];
u32 nr_cpus = 1;
struct vmx_caps vmx_caps = { .preemption_timer = true, .misc = 5 };
static u64 now, armed;
u64 rdtsc(void) { return now; }
u64 tsc_khz(void) { return KHZ; }
u64 wait_begin(void) { return now; }
void wait_end(u64 start) { (void)start; }
void timer_arm(struct timer *t, u64 deadline) { (void)t; armed = deadline; }
void timer_cancel(struct timer *t) { (void)t; armed = 0; }
void irq_poll(void) {}
void apic_send(u32 apic_id, u8 vector) { (void)apic_id, (void)vector; }
void vcpu_take_requests(struct vcpu *v) { v->requests = 0; }
void vcpu_load(struct vcpu *v) { this_cpu()->current = v; }
void vcpu_put(struct vcpu *v) { (void)v; this_cpu()->current = NULL; }

static struct vm vm;
static struct vcpu busy, woken;
static bool work;                  /* for woken */
bool vlapic_has_work(struct vcpu *v) { return v == &woken && work; }

static void wake(void)
{
	work = true;
	sched_note(&woken);
}

/* Turns of busy: how many, the shortest and the longest; turns of woken. */
static u64 turns, shortest = ~0ull, longest, woken_turns;
static bool halts = true;                 /* woken does its work and halts; else it is busy as well */

/* Interrupts for a vCPU that takes each and halts again, the next one there already: the other one has its turns all the same. */
static void interrupts_over(void)
{
	assert_true(shortest >= US(200));
	assert_true(longest <= US(210)); /* and who is woken does not wait for longer than that */
	assert_true(woken_turns >= TURNS - 1);
	halts = false;
	longest = woken_turns = 0;
	shortest = ~0ull;
	work = true;
}

/* Both are busy: whole slices, in turn. */
static void both_over(void)
{
	assert_true(woken_turns >= TURNS - 1 && woken_turns <= TURNS + 1);
	assert_true(shortest >= US(2000) && longest <= US(2010));
	sched_stop();
}

/* As vcpu_run goes: between exits, of which there is one for each interrupt. */
static u64 run_until_over(void)
{
	u64 start = now;

	while (!sched_slice_over()) {
		now += US(1);
		if (halts)
			wake();
		if (this_cpu()->current->limit)
			assert_true(armed > start);
	}
	return now - start;
}

bool vcpu_run(struct vcpu *v)
{
	if (v == &woken && halts) {
		now += US(5);
		woken_turns++;
		work = false;
		v->state = VCPU_HALTED;
		wake(); /* the next interrupt is there already */
		return false;
	}
	u64 turn = run_until_over();
	if (v == &woken) {
		woken_turns++;
		return true;
	}
	shortest = MIN(shortest, turn);
	longest = MAX(longest, turn);
	if (++turns == TURNS)
		interrupts_over();
	else if (turns == 2 * TURNS)
		both_over();
	return true;
}

/* A scheduler runs once: one test, in two parts. */
static void turns_on_one_cpu(void **state)
{
	(void)state;
	cpus[0].self = &cpus[0];
	assert_int_equal(syscall(SYS_arch_prctl, ARCH_SET_GS, &cpus[0]), 0);
	busy = (struct vcpu){ .core = { .vm = &vm }, .state = VCPU_RUNNABLE };
	woken = (struct vcpu){ .core = { .vm = &vm }, .state = VCPU_HALTED };
	now = US(1000);
	sched_add(&busy);
	sched_add(&woken);
	sched_run();
	assert_int_equal(turns, 2 * TURNS);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(turns_on_one_cpu) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
