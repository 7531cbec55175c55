/*
 * L1's EPT tables, what is composed from them, and VPIDs: the part of nested_priv.h for nested_ept12.c, nested_ept.c, nested_premap.c and
 * nested_vpid.c, which includes it.
 */
#ifndef VMX_NESTED_EPT_H
#define VMX_NESTED_EPT_H

#include "vmx/nested_priv.h"

/* ---- nested_ept12.c, nested_ept.c ---- */
enum l2_fault {
	L2_FAULT_FILLED,   /* ept02 has the page now */
	L2_FAULT_REFLECT,  /* ept12 forbids it: EPT violation of L1 */
	L2_FAULT_MISCONFIG,/* ept12 is malformed */
	L2_FAULT_OURS,     /* allowed by L1, but neither RAM nor a passed-through page of L1 */
	L2_FAULT_FURTHER_OUT, /* refused by the tables of a level further out: n->far */
	L2_FAULT_NO_MEMORY,
	L2_FAULT_LOG_FULL, /* a flag would have to be set, and L1's page-modification log has no room */
};
#define PML_ENTRIES 512
/* What tells one ept12 from another: root, accessed and dirty flags, mode-based execute control. */
#define EPT12_MBE BIT(0)
/* L2 without EPT has L1's addresses as they are. Never a root: no processor has RAM there. */
#define EPT12_IDENTITY EPT_ADDR
static inline u64 ept12_key(const struct vmcs12 *f)
{
	if (!proc2_12(f, PROC2_EPT))
		return EPT12_IDENTITY;
	return (f->EPTP & (EPT_ADDR | EPTP_AD)) | (proc2_12(f, PROC2_MBE) ? EPT12_MBE : 0);
}
struct ept12_walk {
	u64 l1_gpa;
	u64 size;                  /* of the leaf, or of what is certainly not translated */
	u32 perm, memtype;
	bool ipat, dirty;
	bool unflagged;            /* of a translation: some entry has no accessed flag yet */
	enum l2_fault result;
	u32 last;                  /* of a translation: the leaf is entry[last] */
	u64 *entry[EPT12_LEVELS];  /* in L1's memory, top first */
};
/*
 * Walk ept12 in L1's memory. result: REFLECT (not present), MISCONFIG or FILLED (a translation; perm may still forbid). l1_gpa, memtype,
 * ipat, dirty: of a translation.
 */
void ept12_walk(struct vcpu *v, u64 key, u64 l2_gpa, struct ept12_walk *w);
/* Forget where L1's tables were found. */
void ept12_forget(struct nested *n);
/*
 * Set the accessed flags of what was walked, and with write the dirty flag of the leaf and its line in the log, if L1 asks for them.
 * False: the log is full, and nothing has been set.
 */
bool ept12_mark(struct vcpu *v, u64 l2_gpa, struct ept12_walk *w, bool write);
/*
 * Bits of the qualification that say what the access was; 5:3 say what ept12 would have allowed (SDM 3C, Exit Qualification for EPT
 * Violations).
 */
#define EPT_QUAL_ACCESS (EPT_RWX | EPT_QUAL_LINEAR_VALID | EPT_QUAL_TRANSLATED | EPT_QUAL_NMI_UNBLOCK)
static inline u64 ept12_qualification(u64 q, u32 perm12)
{
	return (q & EPT_QUAL_ACCESS) | FIELD_PREP(EPT_QUAL_PERMS, perm12 & EPT_RWX) | (perm12 & EPT_EXEC_USER ? EPT_QUAL_PERM_USER : 0);
}
enum l2_fault ept02_fault(struct vcpu *v, u64 l2_gpa, u64 qualification, u32 *perm12);
/* The ept02 for the current vmcs12, made if necessary; NULL: no memory. Sets n->ept. */
struct ept02 *ept02_select(struct vcpu *v);
/* The same, where vmcs12 has an EPT at all; else NULL. */
struct ept02 *ept02_running(struct vcpu *v);
/* Tables of the engines above n rest on ours: they go with them. Precondition: no vmcs02 of theirs is loaded. */
void ept02_drop_above(struct nested *n);
/* There is one, and vmcs02 names it. */
static inline bool ept02_settled(const struct nested *n) { return !n->ept_selected && n->ept && n->ept->pt.root.v != HPA_NONE.v; }
u64 ept02_pointer(const struct nested *n, struct vm *vm);
u64 ept02_pointer_of(const struct ept02 *e);
/*
 * L1 may have cleared dirty flags again while it handled an exit. Without INVEPT a processor may or may not notice; most do, because
 * they cache little across an exit and an entry, and software counts on it. So do we, for the pages that became dirty last.
 */
void ept02_recheck(struct vcpu *v);
/* The table of a key, whether L2 runs by it or not; made if necessary. NULL: no memory. */
struct ept02 *ept02_of(struct vcpu *v, u64 key);
/*
 * Compose [gpa, gpa + len) as far as ept12 maps it, leaf by leaf, *leaves at most. Bytes composed now or before. Sets no flags in ept12:
 * what has none is left out.
 */
u64 ept02_premap(struct vcpu *v, struct ept02 *e, u64 gpa, u64 len, u32 *leaves);
/* Forget one (eptp12) or all composed tables and what the CPU cached of them. */
void ept02_drop(struct vcpu *v, u64 eptp12);
void ept02_drop_all(struct vcpu *v);
void ept02_free_all(struct vcpu *v);

/* ---- nested_premap.c ---- */
/* A table starts: compose what is declared for it. */
void premap_start(struct vcpu *v, struct ept02 *e);
/* They took too much memory, or VMX operation ends. */
void premap_forget_all(struct nested *n);

/* ---- nested_vpid.c ---- */
void vpid_create(struct nested *n);
/* Set n->vpid02 for an entry with this VPID of L1's (0: without); flushed if it was another one's. On the CPU that enters. */
void vpid_select(struct nested *n, u16 vpid12);
/* INVVPID of L1. */
void vpid_forget(struct nested *n, u16 vpid12);
void vpid_forget_all(struct nested *n);

#endif
