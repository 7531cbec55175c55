/*
 * Interrupts: record at any moment, handle in irq_poll().
 *
 * Invariant: pending bits are set atomically (a handler may interrupt another one, core/irq.h) and taken atomically by
 * their own CPU; a handler runs once per recorded vector, and deliveries that meet a set bit merge, as in a local APIC.
 */
#include "core/errno.h"
#include "core/irq.h"
#include "core/percpu.h"
#include "core/spinlock.h"

#define NR_ALLOT (IRQ_VEC_LAST - IRQ_VEC_FIRST + 1)

struct binding {
	irq_fn fn;
	void *arg;
};

/* Protects bound[], fixed[] and their generations against concurrent irq_alloc and irq_free. */
static spinlock_t lock = SPINLOCK_INIT;
static struct binding bound[MAX_CPUS][NR_ALLOT];
static irq_fn fixed[256];
static u64 handled, spurious; /* atomic */

int irq_alloc(u32 cpu, irq_fn fn, void *arg)
{
	int vector = -ENOSPC;

	ASSERT(cpu < MAX_CPUS && fn);
	spin_lock(&lock);
	for (int i = NR_ALLOT - 1; i >= 0 && vector < 0; i--) {
		if (!bound[cpu][i].fn) {
			bound[cpu][i] = (struct binding){ fn, arg };
			vector = IRQ_VEC_FIRST + i;
		}
	}
	spin_unlock(&lock);
	return vector;
}

void irq_free(u32 cpu, u8 vector)
{
	ASSERT(cpu < MAX_CPUS && vector >= IRQ_VEC_FIRST && vector <= IRQ_VEC_LAST);
	spin_lock(&lock);
	bound[cpu][vector - IRQ_VEC_FIRST] = (struct binding){ NULL, NULL };
	spin_unlock(&lock);
}

void irq_bind_fixed(u8 vector, irq_fn fn)
{
	ASSERT(vector > IRQ_VEC_LAST);
	fixed[vector] = fn;
}

void irq_record(u8 vector)
{
	__atomic_fetch_or(&this_cpu()->pending[vector / 64], BIT(vector % 64), __ATOMIC_SEQ_CST);
}

bool irq_pending_here(void)
{
	const struct cpu *c = this_cpu();

	return READ_ONCE(c->pending[0]) | READ_ONCE(c->pending[1]) | READ_ONCE(c->pending[2]) | READ_ONCE(c->pending[3]);
}

/* Take the highest recorded vector, or -1. */
static int pending_take(struct cpu *c)
{
	for (int word = 3; word >= 0; word--) {
		u64 bits = READ_ONCE(c->pending[word]);

		if (!bits)
			continue;
		int bit = 63 - __builtin_clzll(bits);
		__atomic_fetch_and(&c->pending[word], ~BIT(bit), __ATOMIC_SEQ_CST);
		return word * 64 + bit;
	}
	return -1;
}

static struct binding binding_of(u32 cpu, u8 vector)
{
	struct binding b = { fixed[vector], NULL };

	if (vector >= IRQ_VEC_FIRST && vector <= IRQ_VEC_LAST) {
		spin_lock(&lock);
		b = bound[cpu][vector - IRQ_VEC_FIRST];
		spin_unlock(&lock);
	}
	return b;
}

void irq_poll(void)
{
	struct cpu *c = this_cpu();

	for (int vector; (vector = pending_take(c)) >= 0;) {
		struct binding b = binding_of(c->index, (u8)vector);

		__atomic_fetch_add(b.fn ? &handled : &spurious, 1, __ATOMIC_RELAXED);
		if (b.fn)
			b.fn(b.arg, (u8)vector);
	}
}

u64 irq_spurious_count(void)
{
	return READ_ONCE(spurious);
}

u64 irq_count(void)
{
	return READ_ONCE(handled);
}
