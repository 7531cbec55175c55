/*
 * The life of the engines of a vCPU: the base, whose L1 is our own VM, and those above it, one for each level that is delegated
 * (nested_chain.c).
 *
 * Invariant: v->nested is the engine whose vmcs02 is loaded, else the base.
 */
#include "core/x86.h"
#include "vmx/nested_priv.h"
#include "vmx/vmcs.h"

static struct nested *engine_new(struct vcpu *v, struct vmcs *vmcs01)
{
	struct nested *n = pages_alloc(&v->core.vm->owner, NESTED_ORDER);

	if (!n)
		return NULL;
	n->vmxon_gpa = n->current_gpa = n->delegate = ~0ull;
	n->virtual_apic = n->pi_desc = n->apic_access = HPA_NONE;
	vpid_create(n);
	ept12_forget(n);
	n->vmcs01 = vmcs01;
	n->vmcs02.engine = n;
	for (u32 i = 0; i < NR_EPT02; i++)
		n->ept02[i].pt.root = HPA_NONE;
	return n;
}

/* What VMX operation needs of us. v->nested is the engine. */
int nested_allocate(struct vcpu *v)
{
	struct nested *n = v->nested;
	struct mem_owner *owner = &v->core.vm->owner;

	if (!n->dummy_page)
		n->dummy_page = page_alloc(owner);
	if (!n->msr_bitmap)
		n->msr_bitmap = page_alloc(owner);
	if (!n->io_bitmap)
		n->io_bitmap = pages_alloc(owner, 1);
	if (!n->dummy_page || !n->msr_bitmap || !n->io_bitmap || (!n->below && shadow_create(v)))
		return -ENOMEM;
	return n->vmcs02.page ? 0 : vmcs_create(&n->vmcs02, owner);
}

static void engine_free(struct vcpu *v, struct nested *n)
{
	struct mem_owner *owner = &v->core.vm->owner;

	v->nested = n;
	ept02_free_all(v);
	shadow_free(v);
	vmcs_destroy(&n->vmcs02, owner);
	if (n->dummy_page)
		page_free(owner, n->dummy_page);
	if (n->msr_bitmap)
		page_free(owner, n->msr_bitmap);
	if (n->io_bitmap)
		pages_free(owner, n->io_bitmap, 1);
	pages_free(owner, n, NESTED_ORDER);
}

struct nested *nested_above(struct vcpu *v, struct nested *n)
{
	if (n->above || n->height == CHAIN_MAX)
		return n->above;
	struct nested *a = engine_new(v, &n->vmcs02), *running = v->nested;
	if (!a)
		return NULL;
	a->below = n;
	a->height = n->height + 1;
	v->nested = a;
	if (nested_allocate(v)) {
		engine_free(v, a);
		a = NULL;
	}
	v->nested = running;
	return n->above = a;
}

int nested_create(struct vcpu *v)
{
	v->nested = v->nested_base = engine_new(v, &v->vmcs01);
	return v->nested ? 0 : -ENOMEM;
}

void each_engine(struct vcpu *v, struct nested *first, void (*fn)(struct vcpu *, struct nested *))
{
	struct nested *next;

	for (struct nested *n = first; n; n = next) {
		next = n->above;
		for (u32 i = 0; i < NR_PARKED; i++)
			each_engine(v, n->parked[i].above, fn);
		fn(v, n);
	}
}

void nested_free(struct vcpu *v)
{
	each_engine(v, v->nested_base, engine_free);
	v->nested = v->nested_base = NULL;
}

static void engine_put(struct vcpu *v, struct nested *n)
{
	(void)v;
	vmcs_forget(&n->vmcs02);
	n->entered = false;
}

void nested_put(struct vcpu *v) { each_engine(v, v->nested_base, engine_put); }

/* INIT and reset take the vCPU out of VMX operation; what its vmcs12 held is lost, as in a processor. */
void nested_reset(struct vcpu *v)
{
	struct nested *n = v->nested_base;

	if (v->loaded != &v->vmcs01)
		vcpu_load_vmcs(v, &v->vmcs01);
	if (!n || !n->vmx_on)
		return;
	chain_forget(v, n);
	if (n->current_gpa != ~0ull)
		n->page ? page_put(v, n) : shadow_detach(v);
	page_set_init(v, false);
	n->assist = NULL;
	n->shared = false;
	ept02_free_all(v);
	premap_forget_all(n);
	n->vmx_on = false;
	n->vmxon_gpa = n->current_gpa = ~0ull;
	v->event = (struct vcpu_event){ 0 };
}
