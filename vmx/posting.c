/*
 * Self-armed posting (see vmx/posting.h).
 *
 * Invariant: posting[] of a vCPU changes under the lock only, on any CPU; the VMCSs follow on the vCPU's own.
 */
#include "vmx/posting.h"

#include "core/errno.h"
#include "core/irq.h"
#include "core/percpu.h"
#include "core/spinlock.h"
#include "vmx/nested.h"

static spinlock_t lock = SPINLOCK_INIT; /* protects posting[] of all vCPUs; a leaf */

static struct vcpu_posting *slot_free(struct vcpu *v, bool inner)
{
	u32 first = inner ? POSTING_INNER : POSTING_SELF, end = inner ? NR_POSTING : POSTING_INNER;

	for (u32 i = first; i < end; i++)
		if (!v->posting[i].on)
			return &v->posting[i];
	return NULL;
}

/* So that an entry of a guest's guest need not look at all of them. */
static void count_inner(struct vcpu *v)
{
	u32 n = 0;

	for (u32 i = POSTING_INNER; i < NR_POSTING; i++)
		n += v->posting[i].on;
	WRITE_ONCE(v->nr_posting_inner, n);
}

int posting_arm(struct vcpu *v, bool inner, u8 vector, u8 host_vector, hpa_t page)
{
	if (!vmx_caps.posted)
		return -ENOTSUP;
	spin_lock(&lock);
	struct vcpu_posting *p = slot_free(v, inner);
	if (p)
		*p = (struct vcpu_posting){ true, vector, host_vector, page };
	count_inner(v);
	spin_unlock(&lock);
	if (!p)
		return -EBUSY;
	vcpu_request(v, VCPU_REQ_POSTING);
	return 0;
}

/* As for a flush of EPT: a CPU outside the guest takes the request before its next entry. No deadlock: a waiting CPU is outside. */
void posting_disarm(struct vcpu *v, u8 host_vector)
{
	spin_lock(&lock);
	for (u32 i = 0; i < NR_POSTING; i++)
		if (v->posting[i].host_vector == host_vector)
			v->posting[i].on = false;
	count_inner(v);
	spin_unlock(&lock);
	vcpu_request(v, VCPU_REQ_POSTING);
	if (v->core.cpu == this_cpu()->index)
		return;
	while (READ_ONCE(v->in_guest) && (READ_ONCE(v->requests) & VCPU_REQ_POSTING))
		cpu_relax();
}

void posting_apply(struct vcpu *v)
{
	struct vmcs *running = v->loaded;

	if (!vmx_caps.posted)
		return;
	spin_lock(&lock);
	struct vcpu_posting p = v->posting[POSTING_SELF];
	spin_unlock(&lock);
	if (running != &v->vmcs01)
		vcpu_load_vmcs(v, &v->vmcs01);
	vmwrite(VMCS_PI_NOTIFICATION_VECTOR, p.on ? p.host_vector : IRQ_VEC_PI);
	vmwrite(VMCS_PI_DESC_ADDR, p.on ? p.page.v : v->pi_hpa.v);
	nested_posting_changed(v);
	if (v->loaded != running)
		vcpu_load_vmcs(v, running);
}

u8 posting_inner_vector(struct vcpu *v, const u64 *vector, hpa_t desc)
{
	u8 found = IRQ_VEC_PI_NESTED;

	if (!READ_ONCE(v->nr_posting_inner)) /* changed just now: then posting_apply comes before the entry */
		return found;
	spin_lock(&lock);
	for (u32 i = POSTING_INNER; i < NR_POSTING; i++) {
		const struct vcpu_posting *p = &v->posting[i];
		if (p->on && (!vector || p->vector == *vector) && p->page.v == desc.v)
			found = p->host_vector;
	}
	spin_unlock(&lock);
	return found;
}
