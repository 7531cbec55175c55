/*
 * Engines above each other, and memory as the L1 of any of them sees it: the part of nested_priv.h for nested_chain.c, nested_life.c and
 * nested_park.c, which includes it.
 */
#ifndef VMX_NESTED_CHAIN_H
#define VMX_NESTED_CHAIN_H

#include "vmx/nested_priv.h"

/* ---- nested_chain.c ---- */
/*
 * VMLAUNCH or VMRESUME of an L2 whose L1 delegates: vmcs02 is loaded. True: done: its guest runs, or the instruction has failed.
 * False: it is L1's to do.
 */
bool chain_enter(struct vcpu *v, bool launch);
/* What the engine above n has of pages goes back into them. */
void chain_put(struct vcpu *v, struct nested *n);
/* L2 exits by this instruction: what we know of its VMCSs and tables may not outlive some of them. */
void chain_l2_insn(struct vcpu *v, u32 reason);
/* An exit that n's vmcs12 does not want, but a level further out. True: it has it. v->nested is the engine that exited. */
bool chain_outer_wants(struct vcpu *v, u32 reason);
/* The exit is n's L1's, whatever runs further in. Afterwards n->vmcs01 is loaded. */
void chain_reflect(struct vcpu *v, struct nested *n, const struct exit_info *info);
/* L1 has entered L2 again (vmcs02 loaded, v->event taken): if something further in is suspended, that goes on. */
void chain_continue(struct vcpu *v);
/* Before an entry of something further in: what waits for the levels between. True: one of them runs now. */
bool chain_before_entry(struct vcpu *v);
/* Before an entry of something further in: an INIT that waits for the processor of a level between. True: that level runs now. */
bool chain_take_init(struct vcpu *v);
/* Does one wait for any of them, wherever v is now? */
bool chain_init_waits(const struct vcpu *v);
/* vmcs01 of n is loaded for L1 to go on, without an entry: its EPT may have been dropped meanwhile, its interrupts have moved. */
void chain_loaded(struct vcpu *v, struct nested *n);
/* The EPT of the loaded vmcs02 of n, likewise. */
void chain_refresh(struct vcpu *v, struct nested *n);
/* All engines of v that are in use now, from the outermost inward: for (n = v->nested_base; n; n = n->above). */

/* All engines from this one on, those that wait or are spare included; no deeper than CHAIN_MAX calls. fn may free its engine. */
void each_engine(struct vcpu *v, struct nested *first, void (*fn)(struct vcpu *, struct nested *));

/* ---- nested_park.c ---- */
/* Everything further in than n ends, also what waits. */
void chain_forget(struct vcpu *v, struct nested *n);
/* Is there a place for what one more page may have further in? v->nested is the engine. */
bool park_room(struct vcpu *v);
/* n's current page is about to go: what runs further in waits, or the engines are free if there is nothing. */
void park(struct vcpu *v, struct nested *n);
/* Page p at gpa becomes current: what waits for it is there again. False: it is lost; p says so. */
bool unpark(struct vcpu *v, struct nest_vmcs_page *p, u64 gpa);

/* ---- L1's memory, by its own physical addresses ---- */
/* size bytes within one page; HPA_NONE: no RAM there. */
hpa_t l1_gpa_to_hpa(struct vcpu *v, u64 gpa, u64 size);
/* The whole page at gpa (aligned), where we have it; NULL: no RAM there. */
static inline void *l1_page_at(struct vcpu *v, u64 gpa)
{
	hpa_t a = l1_gpa_to_hpa(v, gpa, PAGE_SIZE);

	return a.v == HPA_NONE.v ? NULL : hpa_to_virt(a);
}
/* 2 MiB (gpa is aligned) that are one piece of our RAM, which L1 may write; HPA_NONE: they are not, or not known to be yet. */
hpa_t l1_frame_to_hpa(struct vcpu *v, u64 gpa);
/* 0, -EFAULT. */
int l1_read(struct vcpu *v, u64 gpa, void *buf, u64 len);
int l1_write(struct vcpu *v, u64 gpa, const void *buf, u64 len);

#endif
