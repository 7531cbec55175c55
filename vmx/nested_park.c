/*
 * Chains that wait (nested_chain.c): what runs further in belongs to one VMCS page of L1's. When L1 takes another page, or clears this
 * one, the engines above go into a slot until the page comes back.
 *
 *      page A current   n ---- above ---- above        L1 enters page B:   slot: A's engines, their vmcs02s as they are
 *                                                      L1 enters page A:   the same engines again above n
 *
 * Invariant: what a slot holds is named by a number that stands in the page, too (further_in); a page with another number than its
 * slot's is another page. A page delegates only while there is a slot left for it, so nothing is ever without a place. In a slot there
 * are no composed tables and no addresses in L1's memory: both are found again.
 */
#include "vmx/nested_priv.h"

/* Something further in has begun, and is not at an exit of L2's own guest. */
static bool holds(const struct nested *n)
{
	for (const struct nested *e = n; e; e = e->above) {
		if (e->suspended)
			return true;
		for (u32 i = 0; e != n && i < NR_PARKED; i++)
			if (e->parked[i].token)
				return true;
	}
	return false;
}

/* ---- what is over ---- */
static void slot_forget(struct vcpu *v, struct parked *s);

/* Their pages are not told: who reads them is gone. */
static void engines_forget(struct vcpu *v, struct nested *first)
{
	struct nested *running = v->nested;

	for (struct nested *a = first; a; a = a->above) {
		v->nested = a;
		ept02_free_all(v);
		vpid_forget_all(a);
		page_forget(a);
		a->suspended = NULL;
		a->assist_gpa = NEST_VMCS_NONE;
		a->in02_valid = false;
		for (u32 i = 0; i < NR_PARKED; i++)
			slot_forget(v, &a->parked[i]);
	}
	v->nested = running;
}

/* The engines stay: the next chain may use them. */
static void slot_forget(struct vcpu *v, struct parked *s)
{
	if (!s->token)
		return;
	engines_forget(v, s->above);
	s->token = 0;
	s->suspended = NULL;
}

void chain_forget(struct vcpu *v, struct nested *n)
{
	if (n->page && holds(n)) /* L2 must not go on as if nothing had run */
		WRITE_ONCE(n->page->abort, ABORT_FURTHER_IN);
	n->suspended = NULL;
	engines_forget(v, n->above);
	for (u32 i = 0; i < NR_PARKED; i++)
		slot_forget(v, &n->parked[i]);
}

/* ---- slots ---- */
/* L1 has said that it is done with that page, or has made something else of it. */
static bool slot_stale(struct vcpu *v, const struct parked *s)
{
	const struct nest_vmcs_page *p = l1_page_at(v, s->page_gpa);

	return !p || READ_ONCE(p->further_in) != s->token || READ_ONCE(p->delegate) == NEST_VMCS_NONE;
}

static struct parked *free_slot(struct vcpu *v, struct nested *n)
{
	for (u32 i = 0; i < NR_PARKED; i++)
		if (!n->parked[i].token)
			return &n->parked[i];
	for (u32 i = 0; i < NR_PARKED; i++)
		if (slot_stale(v, &n->parked[i])) {
			slot_forget(v, &n->parked[i]);
			return &n->parked[i];
		}
	return NULL;
}

bool park_room(struct vcpu *v) { return free_slot(v, v->nested); }

static void exchange(struct nested *n, struct parked *s)
{
	struct nested *above = n->above;

	n->above = s->above;
	s->above = above;
}

void park(struct vcpu *v, struct nested *n)
{
	static u64 last;
	struct nested *running = v->nested;

	if (!holds(n)) {
		chain_put(v, n);
		return;
	}
	v->nested = n;
	struct parked *s = free_slot(v, n);
	v->nested = running;
	if (!s) { /* cannot be: see park_room */
		chain_forget(v, n);
		return;
	}
	ept02_drop_above(n);
	s->page_gpa = n->current_gpa;
	s->token = __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED);
	s->suspended = n->suspended;
	s->root_rip = n->root_rip;
	n->suspended = NULL;
	exchange(n, s);
	WRITE_ONCE(n->page->further_in, s->token);
}

bool unpark(struct vcpu *v, struct nest_vmcs_page *p, u64 gpa)
{
	struct nested *n = v->nested;
	u64 token = READ_ONCE(p->further_in);

	for (u32 i = 0; i < NR_PARKED; i++) {
		struct parked *s = &n->parked[i];

		if (!s->token || s->page_gpa != gpa)
			continue;
		if (s->token != token) {
			slot_forget(v, s);
			continue;
		}
		exchange(n, s);
		n->suspended = s->suspended;
		n->root_rip = s->root_rip;
		s->token = 0;
		s->suspended = NULL;
		WRITE_ONCE(p->further_in, 0);
		return true;
	}
	if (token)
		WRITE_ONCE(p->abort, ABORT_FURTHER_IN); /* it has run on another vCPU, or the state was lost */
	return !token;
}
