/*
 * HC_EPT_PREMAP (core/abi.h): ranges of L2's memory that L1 declares, composed into ept02 before L2 touches them.
 *
 * Invariant: a list is only a hint: what is composed is what the tables say at that moment, by the same code as a fault's. A table that
 * starts anew is filled from the list again, and declared to our own outer in turn, so that no level has a fault left; where L1's work is
 * delegated (nested_chain.c) the outer has the table, and gets the list. A list whose table has no room is forgotten: a premap never
 * costs the VM what a fault needs.
 */
#include <string.h>

#include "core/hypercall.h"
#include "vmx/nested_priv.h"

static struct premap_list *list_of(struct nested *n, u64 key)
{
	for (u32 i = 0; i < NR_EPT02; i++)
		if (n->premap[i].nr && n->premap[i].key == key)
			return &n->premap[i];
	return NULL;
}

/* The one of this key, a free one, or one in turn. */
static struct premap_list *list_for(struct nested *n, u64 key)
{
	struct premap_list *l = list_of(n, key);

	for (u32 i = 0; i < NR_EPT02 && !l; i++)
		if (!n->premap[i].nr)
			l = &n->premap[i];
	return l ? l : &n->premap[n->premap_next++ % NR_EPT02];
}

static void compose(struct vcpu *v, struct ept02 *e, const struct premap_list *l)
{
	u32 leaves = NEST_PREMAP_LEAVES;

	e->premapped = 0;
	for (u32 i = 0; i < l->nr; i++)
		e->premapped += ept02_premap(v, e, l->range[i].gpa, l->range[i].len, &leaves);
	if (e->premapped)
		ept_declare(ept02_pointer_of(e), l->range, l->nr, 0);
}

void premap_start(struct vcpu *v, struct ept02 *e)
{
	const struct premap_list *l = list_of(v->nested, e->key);

	if (l)
		compose(v, e, l);
}

void premap_forget_all(struct nested *n) { memset(n->premap, 0, sizeof(n->premap)); }

/* ---- the call ---- */
#define REACH BIT(12 + 9 * EPT12_LEVELS)
static bool ranges_ok(const struct nest_premap *r, u64 nr)
{
	for (u64 i = 0; i < nr; i++)
		if (!IS_ALIGNED(r[i].gpa | r[i].len, PAGE_SIZE) || r[i].gpa > REACH || r[i].len > REACH - r[i].gpa)
			return false;
	return true;
}

/* The engine of L1 for height 0, of L2 for height 1 ...; NULL: too many, or no memory. */
static struct nested *engine_at(struct vcpu *v, u64 height)
{
	struct nested *n = v->nested_base;

	while (n && height--)
		n = nested_above(v, n);
	return n;
}

/* Precondition: v->nested is the engine. */
static s64 declare(struct vcpu *v, u64 key, const struct nest_premap *range, u64 nr)
{
	struct premap_list *l = list_for(v->nested, key);

	*l = (struct premap_list){ .key = key, .nr = (u32)nr };
	memcpy(l->range, range, nr * sizeof(*range));
	struct ept02 *e = nr ? ept02_of(v, key) : NULL; /* if it starts now, that composes it, and this finds it done */
	if (!e)
		return 0;
	compose(v, e, l);
	return (s64)e->premapped;
}

static s64 hc_ept_premap(struct hc_call *c)
{
	struct vcpu *v = vcpu_of(c->v);
	const struct nest_premap *range = (const struct nest_premap *)c->rec;
	u64 eptp = c->arg[0], nr = c->arg[1], height = c->arg[2];

	if (!v->nested_base || !nested_offers_pages(v->core.vm) || (height && !nested_delegates(v->core.vm)))
		return -EPERM;
	if (!nested_vmx_on(v) || nr > NEST_PREMAP_MAX || height > CHAIN_MAX || !check_eptp(&nested_caps, eptp) || !ranges_ok(range, nr))
		return -EINVAL;
	if (page_delegated(v)) /* our outer runs what our L1 runs: it has the tables */
		return ept_declare(eptp, range, (u32)nr, height + 1);
	struct nested *running = v->nested, *n = engine_at(v, height);
	if (!n)
		return 0;
	v->nested = n;
	s64 bytes = declare(v, eptp & (EPT_ADDR | EPTP_AD), range, nr);
	v->nested = running;
	return bytes;
}

void nested_premap_init(void)
{
	static const struct hc_entry entry = { .name = "ept_premap", .fn = hc_ept_premap, .record = HC_REC_IN,
					       .rec_len = NEST_PREMAP_MAX * sizeof(struct nest_premap) };

	hypercall_bind(HC_EPT_PREMAP, &entry);
}
