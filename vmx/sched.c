/*
 * The scheduler (see vmx/sched.h).
 */
#include "vmx/sched.h"

#include "core/apic.h"
#include "core/irq.h"
#include "core/percpu.h"
#include "core/spinlock.h"
#include "core/time.h"
#include "vmx/vlapic.h"

#define SLICE_US 2000
#define TURN_US 200            /* of a vCPU, at least, whoever is woken meanwhile: even who is woken all the time leaves the others something */

struct ring {
	spinlock_t lock;       /* protects first and the next_on_cpu links */
	struct vcpu *first;
	struct timer slice;    /* makes the running vCPU exit when its slice is over */
	u64 slice_end;         /* TSC; SLICE_NONE: nobody waits */
	u64 turn_end;          /* TSC; before that nobody who is woken has the CPU */
	u32 woken;             /* a vCPU that is not current has something to do: choose again, soon; atomic */
};

#define SLICE_NONE (~0ull)

static struct ring rings[MAX_CPUS];
static u32 stopping;
static u32 reap_wanted;        /* a VM has ended: CPU 0 is to look */
static bool (*reaper)(void);

void sched_set_reaper(bool (*reap)(void)) { reaper = reap; }

static struct ring *my_ring(void) { return &rings[this_cpu()->index]; }

/*
 * The timer's interrupt ends the slice. The VMX preemption timer bounds it as well: with interrupts off in the guest, a CPU that
 * holds external interrupts back (FACTS: the emulator) would never exit.
 */
static void slice_until(struct ring *r, struct vcpu *v, u64 end, u64 ticks)
{
	r->slice_end = end;
	timer_arm(&r->slice, end);
	v->limit = vmx_caps.preemption_timer ? (u32)(ticks >> FIELD_GET(VMX_MISC_TIMER_RATE, vmx_caps.misc)) + 1 : 0;
}

/* Somebody has been woken: the slice ends with the turn at the latest. Not inlined: every exit that is not a fast one asks below. */
static __attribute__((noinline)) bool turn_over(struct ring *r)
{
	u64 now = rdtsc();

	if (now < r->turn_end && r->slice_end > r->turn_end)
		slice_until(r, this_cpu()->current, r->turn_end, r->turn_end - now);
	return now >= r->turn_end || (READ_ONCE(reap_wanted) && this_cpu()->index == 0);
}

bool sched_slice_over(void)
{
	struct ring *r = my_ring();
	u64 end = r->slice_end;

	if (__builtin_expect(READ_ONCE(r->woken) != 0, 0))
		return turn_over(r);
	return (end != SLICE_NONE && rdtsc() >= end) || (READ_ONCE(reap_wanted) && this_cpu()->index == 0);
}

void sched_note(struct vcpu *v)
{
	if (READ_ONCE(cpus[v->core.cpu].current) != v)
		__atomic_store_n(&rings[v->core.cpu].woken, 1, __ATOMIC_SEQ_CST);
}

void sched_ask_reap(void)
{
	__atomic_store_n(&reap_wanted, 1, __ATOMIC_SEQ_CST);
	if (this_cpu()->index != 0)
		apic_send(cpus[0].apic_id, IRQ_VEC_KICK);
}

/* True when no VM is left. */
static bool reap(void)
{
	if (this_cpu()->index != 0 || !reaper || !__atomic_exchange_n(&reap_wanted, 0, __ATOMIC_SEQ_CST))
		return false;
	return reaper();
}
static void slice_end(void *unused) { (void)unused; }

void sched_add(struct vcpu *v)
{
	struct ring *r = &rings[v->core.cpu];
	spin_lock(&r->lock);
	struct vcpu **link = &r->first;
	while (*link)
		link = &(*link)->next_on_cpu;
	*link = v;
	spin_unlock(&r->lock);
	if (v->core.cpu != this_cpu()->index)
		apic_send(cpus[v->core.cpu].apic_id, IRQ_VEC_KICK);
}

static void remove_from_ring(struct ring *r, const struct vm *vm)
{
	spin_lock(&r->lock);
	for (struct vcpu **link = &r->first; *link;) {
		if ((*link)->core.vm == vm)
			*link = (*link)->next_on_cpu;
		else
			link = &(*link)->next_on_cpu;
	}
	spin_unlock(&r->lock);
}

static bool on_some_cpu(const struct vm *vm)
{
	for (u32 i = 0; i < vm->nr_vcpus; i++)
		if (vm->vcpus[i] && READ_ONCE(vm->vcpus[i]->on_cpu))
			return true;
	return false;
}

/* The state of a vCPU stays in the CPU until another one needs it, or its VM has ended. */
static void drop_if_ended(void)
{
	struct vcpu *v = this_cpu()->current;
	if (v && vm_ended(v->core.vm))
		vcpu_put(v);
}

/* The waiting CPU keeps answering interrupts, so two CPUs cannot wait for each other. */
void sched_remove_vm(struct vm *vm)
{
	for (u32 i = 0; i < nr_cpus; i++)
		remove_from_ring(&rings[i], vm);
	while (on_some_cpu(vm)) {
		irq_poll();
		drop_if_ended();
		cpu_relax();
	}
}

/* A waiting vCPU answers requests (INIT, SIPI, NMI) without running. */
static bool runnable(struct vcpu *v)
{
	if (vm_ended(v->core.vm))
		return false;
	if (v->state == VCPU_HALTED && vlapic_has_work(v))
		v->state = VCPU_RUNNABLE;
	return v->state == VCPU_RUNNABLE || READ_ONCE(v->requests);
}

/* Next runnable vCPU after `last`, round robin; *others: is another one runnable besides? */
static struct vcpu *pick(struct ring *r, struct vcpu *last, bool *others)
{
	struct vcpu *before = NULL, *after = NULL;
	u32 n = 0;
	bool passed = false;
	spin_lock(&r->lock);
	for (struct vcpu *v = r->first; v; v = v->next_on_cpu) {
		if (runnable(v)) {
			n++;
			if (passed && !after)
				after = v;
			if (!passed && !before)
				before = v;
		}
		if (v == last)
			passed = true;
	}
	struct vcpu *chosen = after ? after : before;
	if (chosen)
		chosen->on_cpu = true; /* under the lock: sched_remove_vm waits for it from now on */
	spin_unlock(&r->lock);
	*others = n > 1;
	return chosen;
}

static void slice_cancel(struct ring *r, struct vcpu *v)
{
	timer_cancel(&r->slice);
	r->slice_end = SLICE_NONE;
	v->limit = 0;
}

static void run_one(struct ring *r, struct vcpu *v, bool others)
{
	struct vcpu *old = this_cpu()->current;
	if (old != v) {
		if (old)
			vcpu_put(old);
		vcpu_load(v);
	}
	if (READ_ONCE(v->requests))
		vcpu_take_requests(v);
	u64 now = rdtsc();
	r->turn_end = now + us_to_tsc(TURN_US);
	if (others)
		slice_until(r, v, now + us_to_tsc(SLICE_US), us_to_tsc(SLICE_US));
	vcpu_run(v);
	slice_cancel(r, v);
}

static void idle(void)
{
	u64 t = wait_begin();
	irq_enable_halt_disable();
	wait_end(t);
}

void sched_stop(void)
{
	__atomic_store_n(&stopping, 1, __ATOMIC_SEQ_CST);
	for (u32 i = 0; i < nr_cpus; i++)
		if (i != this_cpu()->index)
			apic_send(cpus[i].apic_id, IRQ_VEC_KICK);
}

void sched_run(void)
{
	struct ring *r = my_ring();
	struct vcpu *last = NULL;
	bool others;
	r->slice.fn = slice_end;
	r->slice_end = SLICE_NONE;
	while (!READ_ONCE(stopping)) {
		irq_poll();
		drop_if_ended();
		if (reap()) {
			sched_stop();
			return;
		}
		__atomic_store_n(&r->woken, 0, __ATOMIC_SEQ_CST);
		struct vcpu *v = pick(r, last, &others);
		last = v;
		if (v)
			run_one(r, v, others);
		else
			idle();
	}
}
