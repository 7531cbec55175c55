/*
 * Injected failures: the points of this image, and the call that arms one of them here or further out.
 *
 * Invariant: at most one point is armed; it fires once.
 */
#include "core/fault.h"

#include <string.h>

#include "core/console.h"
#include "core/errno.h"
#include "core/hypercall.h"

extern struct fault_point __start_fault_points[], __stop_fault_points[];

static bool allowed;
static struct fault_point *armed; /* atomic */

bool fault_hit(struct fault_point *p)
{
	struct fault_point *self = p;
	__atomic_fetch_add(&p->reached, 1, __ATOMIC_RELAXED);
	if (READ_ONCE(armed) != p || !__atomic_compare_exchange_n(&armed, &self, NULL, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		return false;
	__atomic_fetch_add(&p->fired, 1, __ATOMIC_RELAXED);
	log_line("fault injected: %s", p->name);
	return true;
}

static s64 fault_here(struct hc_call *c)
{
	u64 nr = (u64)(__stop_fault_points - __start_fault_points), index = c->arg[2];
	struct fault_point *p = index < nr ? &__start_fault_points[index] : NULL;
	switch (c->arg[1]) {
	case NEST_FAULT_QUERY:
		if (p) {
			struct nest_fault *out = (struct nest_fault *)c->rec;
			strncpy(out->name, p->name, sizeof(out->name) - 1);
			out->reached = p->reached;
			out->fired = p->fired;
		}
		return (s64)nr;
	case NEST_FAULT_ARM:
		if (!p)
			return -ENOENT;
		WRITE_ONCE(armed, p);
		return 0;
	case NEST_FAULT_DISARM:
		WRITE_ONCE(armed, NULL);
		return 0;
	default:
		return -EINVAL;
	}
}

static s64 hc_fault(struct hc_call *c)
{
	if (!allowed)
		return -EPERM;
	if (!c->arg[0])
		return fault_here(c);
	if (!outer_present())
		return -ENOENT;
	s64 r = outer_call(HC_FAULT, c->arg[0] - 1, c->arg[1], c->arg[2], 0);
	if (r >= 0)
		memcpy(c->rec, outer_record(), sizeof(struct nest_fault));
	return r;
}

static const struct hc_entry fault_entry = { "fault", hc_fault, HC_REC_OUT, sizeof(struct nest_fault) };

void fault_init(bool may)
{
	allowed = may;
	hypercall_bind(HC_FAULT, &fault_entry);
}
