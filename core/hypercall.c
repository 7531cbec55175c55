/*
 * The hypercall table and its dispatcher.
 *
 * Invariant: a handler sees its record only as our copy, taken once before the call (IN) or zeroed before and copied out
 * after it (OUT); the guest's page is never looked at while a handler decides.
 */
#include "core/hypercall.h"

#include <string.h>

#include "core/errno.h"
#include "core/trace.h"

#define COUNT_UNKNOWN 0 /* counters' slot of numbers that are not bound */

/* (gpa) see core/abi.h */
static s64 hc_record_page(struct hc_call *c)
{
	gpa_t gpa = GPA(c->arg[0]);

	if (gpa.v != ~0ull && !IS_ALIGNED(gpa.v, PAGE_SIZE))
		return -EINVAL;
	if (gpa.v != ~0ull && vm_gpa_to_hpa(c->v->vm, gpa, PAGE_SIZE).v == HPA_NONE.v)
		return -EFAULT;
	c->v->record_page = gpa;
	return 0;
}

static const struct hc_entry record_page_entry = { .name = "record_page", .fn = hc_record_page, .record = HC_REC_NONE };
static const struct hc_entry *table[HC_MAX] = { [HC_RECORD_PAGE] = &record_page_entry };
_Static_assert(HC_MAX <= COUNT_HYPERCALLS, "every call has its counter");

void hypercall_bind(u32 nr, const struct hc_entry *e)
{
	ASSERT(nr > COUNT_UNKNOWN && nr < HC_MAX && !table[nr]);
	table[nr] = e;
}

const char *hypercall_name(u32 nr) { return nr < HC_MAX && table[nr] ? table[nr]->name : "?"; }

static u64 record_len(const struct hc_entry *e) { return e->rec_len ? e->rec_len : PAGE_SIZE; }

/* The record page as it must be before the handler runs. */
static int record_in(struct hc_call *c, const struct hc_entry *e)
{
	struct vcpu_core *v = c->v;

	if (e->record == HC_REC_NONE)
		return 0;
	if (v->record_page.v == ~0ull)
		return -EFAULT;
	c->rec = v->record;
	if (e->record == HC_REC_IN)
		return vm_read(v->vm, v->record_page, c->rec, record_len(e));
	memset(c->rec, 0, record_len(e));
	return 0;
}

static __inline_always s64 perform(struct vcpu_core *v, u64 nr, const u64 arg[6])
{
	const struct hc_entry *e = nr < HC_MAX ? table[nr] : NULL;
	struct hc_call c = { .v = v };

	v->count.hypercalls[e ? nr : COUNT_UNKNOWN]++;
	if (!e)
		return -ENOSYS;
	memcpy(c.arg, arg, sizeof(c.arg));
	int err = record_in(&c, e);
	if (err)
		return err;
	s64 result = e->fn(&c);
	if (e->record == HC_REC_OUT && result >= 0 && vm_write(v->vm, v->record_page, c.rec, record_len(e)))
		return -EFAULT;
	return result;
}

s64 hypercall_dispatch(struct vcpu_core *v, u64 nr, const u64 arg[6])
{
	if (__builtin_expect(!trace_on, 1))
		return perform(v, nr, arg);
	trace_put(v, TRACE_CALL, 0, nr, arg[0], arg[1]);
	s64 result = perform(v, nr, arg);
	trace_put(v, TRACE_RETURN, 0, nr, (u64)result, 0);
	return result;
}
