/*
 * The trace: what happened on each CPU, in order, for a person to read. Switched on by configuration (trace = on).
 *
 * A ring of fixed-size records per CPU, in memory of our own; the newest overwrite the oldest. What is new since the last time
 * leaves as @trace lines on the console, behind HC_REPORT and at the end of a VM; tests/trace.py merges the lines of all levels
 * and names what the numbers mean. Order is by TSC: within a CPU of a level it is the order of the ring, whatever the TSC says;
 * between levels of one CPU it is exact, for an inner's TSC is ours plus an offset that the lines tell; between CPUs as exact as
 * their TSCs agree.
 *
 * Costs when off: none for an exit (vmx/exit_trace.c); one look at trace_on for each of the other records.
 */
#ifndef CORE_TRACE_H
#define CORE_TRACE_H

#include "core/vm.h"

/*
 * Kinds: what `reason`, a and b are. All are told at the moment they begin, but for RETURN.
 *   EXIT       basic exit reason, of an EPT violation also bits 5:0 of its qualification in bits 13:8; RIP; what the reason is
 *              about: vmx/exit_trace.c. inner: what exited
 *   REFLECT    that exit, or another one that we made up, is handed to a level: its reason; qualification; interruption
 *              information. inner: the level
 *   INJECT     an event goes in with the next entry: vector; interruption information; error code. inner: where
 *   IRQ        interrupt of a port: vector of the VM; port << 8 | index of the function's vector; 1: it went past the VM into its
 *              guest
 *   CALL       hypercall: number; first and second argument
 *   RETURN     of that: number; result
 */
#define TRACE_KINDS(K) K(EXIT) K(REFLECT) K(INJECT) K(IRQ) K(CALL) K(RETURN)
enum trace_kind {
	TRACE_NONE,
#define TRACE_KIND(name) TRACE_##name,
	TRACE_KINDS(TRACE_KIND)
#undef TRACE_KIND
};

struct trace_record {
	u64 tsc;
	u8 kind, level, cpu, vm; /* level: our depth; cpu: ours; vm: its id */
	u8 vcpu, inner;          /* inner: 0 the VM itself, 1 its guest (vmcs02), 2 the guest of that (flat nesting) … */
	u16 reason;
	u64 a, b;
};
_Static_assert(sizeof(struct trace_record) == 32, "fixed size");

#define TRACE_ORDER 6 /* pages of a ring: 2^order */
#define TRACE_RECORDS ((PAGE_SIZE << TRACE_ORDER) / sizeof(struct trace_record))

extern bool trace_on;
/*
 * Rings for all CPUs that run, and on from now; off if there is no memory for them, which is said. tsc_offset: what a vCPU reads
 * as TSC less what we read. Boot CPU, once, before any VM exists.
 */
void trace_init(u64 (*tsc_offset)(const struct vcpu_core *v));
/* Write a record. Precondition: trace_on. */
void trace_put(const struct vcpu_core *v, enum trace_kind kind, u32 inner, u64 reason, u64 a, u64 b);
static inline void trace(const struct vcpu_core *v, enum trace_kind kind, u32 inner, u64 reason, u64 a, u64 b)
{
	if (__builtin_expect(trace_on, 0))
		trace_put(v, kind, inner, reason, a, b);
}

/*
 * Print what is new: at most one ring per CPU.
 *   @trace vm ID NAME CPU:OFFSET...      each VM; each of its vCPUs: our CPU and its TSC offset (hexadecimal)
 *   @trace LEVEL CPU NUMBER BASE64       records from this number on. Each: kind, vm, vcpu, inner; then variable-length numbers
 *                                        (LEB128, signed ones as zigzag): reason, TSC less that of the record before, a, b;
 *                                        signed but for reason
 *   @trace LEVEL CPU NUMBER              the end: so many records have there been; those not seen are lost
 * Any CPU, nothing held but what report_print allows. If another CPU prints already, that will have to do.
 */
void trace_print(void);

#endif
