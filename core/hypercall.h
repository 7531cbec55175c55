/*
 * The hypercall table: number -> handler, with who may call it and what becomes of the record page beside it.
 */
#ifndef CORE_HYPERCALL_H
#define CORE_HYPERCALL_H

#include "core/vm.h"

enum hc_record { HC_REC_NONE, HC_REC_IN, HC_REC_OUT };

/* One decoded call. rec: our copy of the record page (IN), or to be filled (OUT, written back when the result is >= 0). */
struct hc_call {
	struct vcpu_core *v;
	u64 arg[6];
	u8 *rec;
};
typedef s64 (*hc_fn)(struct hc_call *c);

/* rec_len: bytes of the record page that are copied in or out; 0 = whole page. */
struct hc_entry { const char *name; hc_fn fn; u8 record; u16 rec_len; };

/* Bind a number; modules do it at start-up (core/main.c calls them). Each number once. */
void hypercall_bind(u32 nr, const struct hc_entry *e);
/* Count, copy the record, call. Returns what goes into RAX. From the VMCALL exit, at CPL 0 only. */
s64 hypercall_dispatch(struct vcpu_core *v, u64 nr, const u64 arg[6]);
/* Name of a number for reports; "?" if unbound. */
const char *hypercall_name(u32 nr);

/* Our own calls to the outer. True if there is one (CPUID signature); depth of this instance, 0 = outermost. */
bool outer_present(void);
u32 outer_depth(void);
u32 outer_features(void);
/* NIC ports that the outer gives us, missing ones among them counted. */
u32 outer_ports(void);
/* Call it; -ENOSYS without an outer. The calling CPU's record page (outer_record) is registered on first use. */
s64 outer_call(u64 nr, u64 a0, u64 a1, u64 a2, u64 a3);
/* The calling CPU's record page, shared with the outer. */
void *outer_record(void);

#endif
