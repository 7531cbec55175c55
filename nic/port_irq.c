/*
 * Interrupts of a port: from our CPU upward to the vCPU that the VM named, or past it to the one that its inner runs.
 *
 * Storm bound: more than STORM_LIMIT interrupts of one vector within STORM_WINDOW_US mask it at the source until the window's length has
 * passed again; so do IDLE_LIMIT one after the other that tell a vCPU nothing, for it does not run and the first of them waits for it, for
 * the length of a slice. Masking loses nothing: MSI-X keeps one pending.
 *
 * Invariant: between port_irq_set and port_irq_clear an interrupt is delivered exactly as one of the requests so far says; after
 * port_irq_clear returns, no vCPU pointer of the VM is used any more, and no VMCS borrows its vector.
 */
#include "core/errno.h"
#include "core/fault.h"
#include "core/irq.h"
#include "core/trace.h"
#include "nic/port.h"

#define STORM_WINDOW_US 100000
#define STORM_LIMIT 20000
#define IDLE_LIMIT 32
#define IDLE_PAUSE_US 2000
#define RETRY_US 1000
#define FIRST_VECTOR 16

void port_irq_init(struct nic_port *p)
{
	/* Not the timer: it may still be armed for the port's last owner. */
	for (u32 i = 0; i < NIC_MAX_VECTORS; i++) {
		struct nic_irq *q = &p->irq[i];
		q->port = p;
		q->index = i;
		q->used = q->masked = false;
		q->post = NEST_POST_OFF;
		q->host_vector = -1;
	}
}

/* ---- arrival ---- */

static void unthrottle(void *arg)
{
	struct nic_irq *q = arg;
	struct nic_port *p = q->port;
	if (!port_try_enter(p)) {
		timer_arm(&q->unthrottle, rdtsc() + us_to_tsc(RETRY_US));
		return;
	}
	q->throttled = false;
	if (p->open && q->used && !q->masked)
		p->lower->ops->irq_mask(p->lower, q->index, false);
	port_leave(p);
}

/* Somebody has the port's lock: then the next interrupt tries again. */
static void throttle(struct nic_irq *q, u32 us)
{
	struct nic_port *p = q->port;
	if (!port_try_enter(p))
		return;
	/* Not twice: while a vector moves, its handler runs on two CPUs, and the timer is the first one's. */
	if (p->open && q->used && !q->throttled && !p->lower->ops->irq_mask(p->lower, q->index, true)) {
		q->throttled = true;
		q->unthrottle.fn = unthrottle;
		q->unthrottle.arg = q;
		q->idle_count = 0;
		timer_arm(&q->unthrottle, rdtsc() + us_to_tsc(us));
		log_limited(5, "nic: port %u of VM %s: interrupt storm on vector %u, masked for a while", p->index, p->vm->cfg->name,
			    q->index);
	}
	port_leave(p);
}

static void storm_check(struct nic_irq *q)
{
	u64 now = rdtsc();
	if (now - q->window_start > us_to_tsc(STORM_WINDOW_US)) {
		q->window_start = now;
		q->window_count = 0;
	}
	bool storm = ++q->window_count > STORM_LIMIT;
	if ((storm || q->idle_count >= IDLE_LIMIT) && !q->throttled)
		throttle(q, storm ? STORM_WINDOW_US : IDLE_PAUSE_US);
}

/* Handler of our vector, on the CPU of the target vCPU. */
static void nic_irq(void *arg, u8 vector)
{
	struct nic_irq *q = arg;
	(void)vector;
	spin_lock(&q->lock);
	bool used = q->used;
	if (used) {
		__atomic_fetch_add(&q->port->nr_irqs, 1, __ATOMIC_RELAXED);
		bool own = q->pi_gpa.v == ~0ull || !nic_irq_sink->post_direct(q->target, q->pi, q->pi_vector);
		bool news = !own || nic_irq_sink->post_own(q->target, q->vector);
		q->idle_count = news ? 0 : q->idle_count + 1;
		trace(q->target, TRACE_IRQ, 0, q->vector, (u64)q->port->index << 8 | q->index, !own);
	}
	spin_unlock(&q->lock);
	if (used)
		storm_check(q);
}

/* ---- set up, retarget, mask, tear down ---- */

/* What a request of the VM means here. */
struct route { struct vcpu_core *target; u8 vector; gpa_t pi_gpa; hpa_t pi; u8 pi_vector; u32 cpu; int host_vector; };

static int route_decode(struct nic_port *p, const struct nest_nic_irq *want, struct route *r)
{
	if (want->vector < FIRST_VECTOR || want->vector > 255 || want->reserved)
		return -EINVAL;
	*r = (struct route){ .target = nic_irq_sink->by_apic_id(p->vm, want->apic_id), .vector = (u8)want->vector,
			     .pi_gpa = GPA(want->pi_gpa), .host_vector = -1 };
	if (!r->target)
		return -EINVAL;
	r->cpu = r->target->cpu;
	if (want->pi_gpa == ~0ull) {
		r->pi = nic_irq_sink->own_descriptor(r->target);
		r->pi_vector = r->vector;
		return 0;
	}
	if (!IS_ALIGNED(want->pi_gpa, 64) || want->pi_vector < FIRST_VECTOR || want->pi_vector > 255)
		return -EINVAL;
	r->pi = vm_gpa_to_hpa(p->vm, r->pi_gpa, 64);
	r->pi_vector = (u8)want->pi_vector;
	return r->pi.v == HPA_NONE.v ? -EFAULT : 0;
}

static struct route route_get(const struct nic_irq *q)
{
	return (struct route){ q->target, q->vector, q->pi_gpa, q->pi, q->pi_vector, q->cpu, q->host_vector };
}

static void route_put(struct nic_irq *q, const struct route *r, bool used)
{
	spin_lock(&q->lock);
	q->target = r->target;
	q->vector = r->vector;
	q->pi_gpa = r->pi_gpa;
	q->pi = r->pi;
	q->pi_vector = r->pi_vector;
	q->cpu = r->cpu;
	q->host_vector = r->host_vector;
	q->used = used;
	spin_unlock(&q->lock);
}

/* Our records change before the lower link does, so that the first interrupt already finds them; and back if it refuses. */
int port_irq_set(struct nic_port *p, u32 index, const struct nest_nic_irq *want)
{
	struct route new;
	if (index >= NIC_MAX_VECTORS)
		return -EINVAL;
	int r = route_decode(p, want, &new);
	if (r)
		return r;
	struct nic_irq *q = &p->irq[index];
	if (q->post)
		return -EBUSY;
	struct route old = route_get(q);
	bool was_used = q->used, moves = !was_used || old.cpu != new.cpu;
	new.host_vector = !moves ? old.host_vector : fault_point("port: vector of an interrupt") ? -ENOSPC : irq_alloc(new.cpu, nic_irq, q);
	if (new.host_vector < 0)
		return -ENOMEM;
	route_put(q, &new, true);
	struct nic_irq_request req = { new.cpu, (u8)new.host_vector, new.pi, new.pi_vector };
	r = p->lower->ops->irq_set(p->lower, index, &req);
	if (r)
		route_put(q, &old, was_used);
	struct route *unneeded = r ? &new : &old;
	if (moves && unneeded->host_vector >= 0)
		irq_free(unneeded->cpu, (u8)unneeded->host_vector);
	if (!r && !was_used && q->throttled) /* tearing it down does not end the storm's penalty */
		(void)p->lower->ops->irq_mask(p->lower, index, true);
	if (!r && moves && was_used) { /* one may have been on its way to the old place: spurious ones are legal, lost ones not */
		spin_lock(&q->lock);
		(void)nic_irq_sink->post_own(new.target, new.vector);
		spin_unlock(&q->lock);
	}
	return r;
}

int port_irq_mask(struct nic_port *p, u32 index, bool mask)
{
	if (index >= NIC_MAX_VECTORS || !p->irq[index].used)
		return -EINVAL;
	struct nic_irq *q = &p->irq[index];
	int r = p->lower->ops->irq_mask(p->lower, index, mask || q->throttled);
	if (!r)
		q->masked = mask;
	return r;
}

/* ---- self-armed posting (README.md) ---- */

static void post_end(struct nic_irq *q)
{
	nic_irq_sink->disarm(q->target, (u8)q->host_vector);
	q->post = NEST_POST_OFF;
}

/* What the lower link says to it changes nothing: no VMCS of ours names the page any more. */
static int post_off(struct nic_port *p, struct nic_irq *q)
{
	if (!q->post)
		return -EINVAL;
	post_end(q);
	(void)p->lower->ops->irq_post(p->lower, q->index, HPA_NONE);
	return 0;
}

int port_irq_post(struct nic_port *p, u32 index, u32 how, gpa_t page)
{
	if (index >= NIC_MAX_VECTORS || !p->irq[index].used)
		return -EINVAL;
	struct nic_irq *q = &p->irq[index];
	if (how == NEST_POST_OFF)
		return post_off(p, q);
	if (how > NEST_POST_GUEST || !IS_ALIGNED(page.v, PAGE_SIZE))
		return -EINVAL;
	hpa_t hpa = vm_gpa_to_hpa(p->vm, page, PAGE_SIZE);
	if (hpa.v == HPA_NONE.v)
		return -EFAULT;
	if (!p->cfg->may_post)
		return -EPERM;
	if (q->post)
		return -EBUSY;
	int r = nic_irq_sink->arm(q->target, how == NEST_POST_GUEST, q->vector, (u8)q->host_vector, hpa);
	if (r)
		return r;
	q->post = how;
	r = p->lower->ops->irq_post(p->lower, index, hpa);
	if (r)
		post_end(q);
	return r;
}

int port_irq_clear(struct nic_port *p, u32 index)
{
	static const struct route none = { .pi_gpa = { ~0ull }, .host_vector = -1 };
	if (index >= NIC_MAX_VECTORS || !p->irq[index].used)
		return -EINVAL;
	struct nic_irq *q = &p->irq[index];
	struct route old = route_get(q);
	if (q->post)
		post_end(q); /* before the vector can become another one's */
	int r = p->lower->ops->irq_clear(p->lower, index);
	if (r && p->open)
		return r;
	route_put(q, &none, false);
	q->masked = false;
	irq_free(old.cpu, (u8)old.host_vector);
	return 0;
}
