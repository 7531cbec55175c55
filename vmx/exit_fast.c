/*
 * The shortest way back into a VM: exits that need nothing but registers and the VMCS are answered before the loop sees them: CPUID,
 * from a cache that the ordinary handler (cpuid.c) fills, and the plain traffic between an inner and its guest (nested_fast.c).
 *
 * Invariant: nothing here executes an instruction that exits when we are nested, but the entry itself. What other CPUs want of this
 * vCPU comes with an interrupt, which ends its next stay in the VM at once; should the processor not see that while the
 * guest's IF is 0, the slow way is taken after FAST_RUN exits (vcpu.h).
 */
#include "core/x86.h"
#include "vmx/exit_family.h"
#include "vmx/nested.h"
#include "vmx/vmcs.h"

/* Leaves that look at ECX (SDM 2, CPUID). */
#define WITH_SUBLEAF (BIT(4) | BIT(7) | BIT(0xb) | BIT(0xd) | BIT(0xf) | BIT(0x10) | BIT(0x12) | BIT(0x14) | BIT(0x17) | BIT(0x18) | \
		      BIT(0x1d) | BIT(0x1e) | BIT(0x1f))

static struct cpuid_answer *slot_of(struct vcpu *v, u32 leaf) { return &v->cpuid_cache[(leaf ^ leaf >> 29) % CPUID_CACHE]; }

void cpuid_cache_drop(struct vcpu *v)
{
	for (u32 i = 0; i < CPUID_CACHE; i++)
		v->cpuid_cache[i] = (struct cpuid_answer){ .leaf = CPUID_NO_LEAF, .subleaf = ~0u };
}

void cpuid_cache_put(struct vcpu *v, u32 leaf, u32 subleaf, const struct cpuid_regs *r)
{
	u32 mask = leaf < 32 && (WITH_SUBLEAF & BIT(leaf)) ? ~0u : 0;

	if (leaf != CPUID_NO_LEAF)
		*slot_of(v, leaf) = (struct cpuid_answer){ leaf, subleaf & mask, mask, 0, *r };
}

static __inline_always u64 get(bool memory, enum vmcs_field f) { return memory ? vmread_memory(f) : vmread_again(f); }

/* Past the instruction, if there is nothing special about it: a 4-GiB border, interrupt blocking, single step. False: nothing done. */
static __inline_always bool advance(bool memory)
{
	u64 rip = get(memory, VMCS_GUEST_RIP), next = rip + get(memory, VMCS_EXIT_INSN_LEN);
	u64 blocking = get(memory, VMCS_GUEST_INTERRUPTIBILITY), flags = get(memory, VMCS_GUEST_RFLAGS);

	if ((rip ^ next) >> 32 | blocking | (flags & RFLAGS_TF))
		return false;
	if (memory)
		vmwrite_memory(VMCS_GUEST_RIP, next);
	else
		vmwrite_again(VMCS_GUEST_RIP, next);
	return true;
}

static __inline_always bool fast_cpuid(struct vcpu *v, bool memory)
{
	u32 leaf = (u32)v->gpr[GPR_RAX], subleaf = (u32)v->gpr[GPR_RCX];
	const struct cpuid_answer *a = slot_of(v, leaf);

	if (a->leaf != leaf || (subleaf & a->mask) != a->subleaf || --v->fast_left < 0 || !advance(memory))
		return false;
	v->gpr[GPR_RAX] = a->r.eax;
	v->gpr[GPR_RBX] = a->r.ebx;
	v->gpr[GPR_RCX] = a->r.ecx;
	v->gpr[GPR_RDX] = a->r.edx;
	v->core.count.fast[XR_CPUID]++;
	v->injected = 0; /* nothing goes in with the entry that follows */
	return true;
}

static __inline_always bool fast(struct vcpu *v, u64 reason, bool memory)
{
	if (reason == XR_CPUID)
		return fast_cpuid(v, memory);
	return reason == XR_VMRESUME && nested_fast_resume(v);
}

bool exit_fast(u64 *gpr)
{
	struct vcpu *v = container_of(gpr, struct vcpu, gpr[0]);

	return vmcs_in_memory ? fast(v, vmread_memory(VMCS_EXIT_REASON), true) : fast(v, vmread(VMCS_EXIT_REASON), false);
}

bool exit_fast_nested(u64 *gpr)
{
	struct vcpu *v = container_of(gpr, struct vcpu, gpr[0]);
	u32 reason = (u32)vmread(VMCS_EXIT_REASON);

	return (reason == XR_VMRESUME && nested_fast_chain(v)) || nested_fast_reflect(v, reason);
}
