/*
 * VMCS regions in L1's memory (SDM 3C, Software Use of Virtual-Machine Control Structures).
 *
 * Invariant: while a vmcs12 is current its data live in struct nested only; L1's memory gets them at VMCLEAR, at VMPTRLD of
 * another one and at VMXOFF, together with the launch state. A region outside RAM reads as ones and swallows writes.
 */
#include <string.h>

#include "vmx/nested_priv.h"

bool region_gpa_ok(u64 gpa)
{
	return IS_ALIGNED(gpa, PAGE_SIZE) && !(gpa >> nested_caps.maxphyaddr);
}

u32 region_read_revision(struct vcpu *v, u64 gpa)
{
	const struct vmcs12_region *r = l1_page_at(v, gpa);

	return r ? READ_ONCE(r->revision) : ~0u;
}

/* What L1 put there by plain stores is taken as it is; fields are cut to their widths, as VMWRITE would have. */
static void clean(struct vmcs12 *f)
{
	static const struct { u16 offset, enc; } all[] = {
#define CLEAN_FIELD(name, enc) { offsetof(struct vmcs12, name), enc },
		VMCS_FIELDS(CLEAN_FIELD)
#undef CLEAN_FIELD
	};

	for (u32 i = 0; i < ARRAY_SIZE(all); i++) {
		u64 *p = (u64 *)((u8 *)f + all[i].offset);
		u32 width = field_width(all[i].enc);

		if (width == 0)
			*p &= 0xffff;
		else if (width == 2)
			*p &= 0xffffffff;
	}
}

struct vmcs12 *region_data(struct vcpu *v, u64 gpa)
{
	struct vmcs12_region *r = l1_page_at(v, gpa);

	return r ? &r->data : v->nested->dummy_page;
}

void region_load(struct vcpu *v, u64 gpa)
{
	struct nested *n = v->nested;
	const struct vmcs12_region *r = l1_page_at(v, gpa);

	if (r) {
		memcpy(&n->v12, &r->data, sizeof(n->v12));
		n->launched12 = READ_ONCE(r->launched) != 0;
	} else {
		memset(&n->v12, 0, sizeof(n->v12));
		n->launched12 = false;
	}
	clean(&n->v12);
	n->dirty = NEST_GROUPS_ALL;
	n->shadow12 = region_read_revision(v, gpa) & REVISION_SHADOW;
	n->current_gpa = gpa;
	shadow_attach(v);
}

void region_put(struct vcpu *v)
{
	struct nested *n = v->nested;

	if (n->current_gpa == ~0ull)
		return;
	if (n->page) {
		page_put(v, n);
		return;
	}
	shadow_detach(v);
	struct vmcs12_region *r = l1_page_at(v, n->current_gpa);
	if (r) {
		memcpy(&r->data, &n->v12, sizeof(n->v12));
		WRITE_ONCE(r->launched, n->launched12);
	}
	n->current_gpa = ~0ull;
}

void region_clear_launched(struct vcpu *v, u64 gpa)
{
	struct vmcs12_region *r = l1_page_at(v, gpa);

	if (r)
		WRITE_ONCE(r->launched, 0);
}

/* A VMX abort leaves the processor in shutdown until RESET: L1 cannot go on (SDM 3C, VMX Aborts). */
void region_abort(struct vcpu *v, enum vmx_abort why)
{
	struct vmcs12_region *r = l1_page_at(v, v->nested->current_gpa);

	if (r)
		WRITE_ONCE(r->abort, (u32)why);
	vcpu_kill(v, "VMX abort %u", (u32)why);
}
