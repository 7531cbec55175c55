/*
 * Exits as the trace shows them (core/trace.h): where, what about, and whether they were handed over on the way of vmx/exit_fast.c.
 *
 * A VMCS that is set up while the trace is on exits to these functions instead (HOST_RIP), so without a trace no exit pays for
 * it, and with one all exits go the ways that they always go: what is counted stays the same.
 *
 * Invariant: reads only; fields that any handler of the reason would read, so where reading them exits (an inner with neither VMCS
 * pages nor shadowing) the trace costs what a handler costs.
 */
#include "core/trace.h"
#include "vmx/exit_family.h"
#include "vmx/nested_priv.h"

/* What it is about: registers that say it, else the field that does. */
static u64 subject(const struct vcpu *v, u32 reason)
{
	switch (reason) {
	case XR_CPUID: /* leaf, subleaf */
		return (u32)v->gpr[GPR_RAX] | v->gpr[GPR_RCX] << 32;
	case XR_RDMSR:
	case XR_WRMSR:
		return (u32)v->gpr[GPR_RCX];
	case XR_VMCALL:
		return v->gpr[GPR_RAX];
	case XR_EXCEPTION_NMI:
	case XR_EXTERNAL_INTERRUPT:
		return vmread(VMCS_EXIT_INTR_INFO);
	case XR_EPT_VIOLATION:
	case XR_EPT_MISCONFIG:
		return vmread(VMCS_GUEST_PHYSICAL_ADDR);
	default:
		return vmread(VMCS_EXIT_QUALIFICATION);
	}
}

static void exit_trace(struct vcpu *v, u32 inner)
{
	u32 reason = (u32)vmread(VMCS_EXIT_REASON) & 0xffff, access = 0;

	if (reason == XR_EPT_VIOLATION)
		access = (u32)vmread(VMCS_EXIT_QUALIFICATION) & 0x3f;
	trace_put(&v->core, TRACE_EXIT, inner, reason | access << 8, vmread(VMCS_GUEST_RIP), subject(v, reason));
}

bool exit_fast_traced(u64 *gpr)
{
	exit_trace(container_of(gpr, struct vcpu, gpr[0]), 0);
	return exit_fast(gpr);
}

bool exit_fast_nested_traced(u64 *gpr)
{
	struct vcpu *v = container_of(gpr, struct vcpu, gpr[0]);
	const struct nested *n = v->nested;
	const struct vmcs12 *f = &n->v12;

	exit_trace(v, n->height + 1);
	if (!exit_fast_nested(gpr))
		return false;
	if (v->loaded == n->vmcs01) /* else it was an entry, further inward */
		trace_put(&v->core, TRACE_REFLECT, n->height, f->EXIT_REASON & 0xffff, f->EXIT_QUALIFICATION, f->EXIT_INTR_INFO);
	return true;
}

void exit_trace_inject(const struct vcpu *v)
{
	u32 inner = nested_in_l2(v) ? v->nested->height + 1 : 0;

	trace_put(&v->core, TRACE_INJECT, inner, FIELD_GET(INTR_VECTOR, v->event.info), v->event.info, v->event.error);
}
