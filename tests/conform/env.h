/*
 * What the processor under test says of itself, and the state of a VMCS as plain numbers. Shared with the host's unit tests, which
 * fill it from a model.
 *
 * Invariant: struct vstate has the order of VMCS_FIELDS, as struct vmcs12 of the nested engine.
 */
#ifndef CONFORM_ENV_H
#define CONFORM_ENV_H

#include "core/types.h"
#include "vmx/vmcs_fields.h"
#include "vmx/vmx.h"

struct vstate {
#define VSTATE_MEMBER(name, enc) u64 name;
	VMCS_FIELDS(VSTATE_MEMBER)
#undef VSTATE_MEMBER
};
#define NR_FIELDS (sizeof(struct vstate) / sizeof(u64))
#define FIELD_INDEX(name) (offsetof(struct vstate, name) / sizeof(u64))

/* The capability MSRs (the TRUE ones of the controls), and where things are. */
struct env {
	u64 basic, misc, ept_vpid, cr0_fixed0, cr0_fixed1, cr4_fixed0, cr4_fixed1;
	struct vmx_ctl pin, proc, proc2, exit, entry;
	u8 maxpa;
	bool x2apic; /* the local APIC is in x2APIC mode */
	u32 revision;
	/* physical addresses of whole pages for the VMCS to name, and the bytes there */
	u64 io_a, io_b, msr_bitmap, vapic, apic_access, ept_root, link, other_vmcs, pi_desc, msr_area, this_vmcs, pae_pdpt;
	u8 *vapic_bytes;
	u32 *link_words;     /* the VMCS region at link: its first word is the revision */
	u64 *pdptes;         /* of PAE paging without EPT, at pae_pdpt */
	u64 host_rip, host_rsp, host_cr3, host_tr_base, host_gdtr_base, host_idtr_base;
	u64 guest_rip, guest_rip32, guest_rsp, guest_cr3, guest_gdtr_base, guest_idtr_base, guest_tr_base;
};

static inline bool may_pin(const struct env *e, u64 bits) { return (e->pin.may & bits) == bits; }
static inline bool may_proc(const struct env *e, u64 bits) { return (e->proc.may & bits) == bits; }
static inline bool may_proc2(const struct env *e, u64 bits) { return (e->proc2.may & bits) == bits; }
static inline bool may_exit(const struct env *e, u64 bits) { return (e->exit.may & bits) == bits; }
static inline bool may_entry(const struct env *e, u64 bits) { return (e->entry.may & bits) == bits; }

#endif
