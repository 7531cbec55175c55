/*
 * The shortest way back into a VM: exits that need nothing but registers and the VMCS are answered before the loop sees them. Today
 * that is CPUID, from a cache that the ordinary handler (cpuid.c) fills.
 *
 * Invariant: nothing here executes an instruction that exits when we are nested, but the entry itself. What other CPUs want of this
 * vCPU comes with an interrupt, which ends its next stay in the VM at once; should the processor not see that while the
 * guest's IF is 0, the slow way is taken after FAST_RUN exits.
 */
#include "core/x86.h"
#include "vmx/exit_family.h"
#include "vmx/vmcs.h"

#define FAST_RUN 64

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
	v->fast_left = FAST_RUN;
}

/* Past the instruction, if there is nothing special about it: a 4-GiB border, interrupt blocking, single step. False: nothing done. */
static bool advance(void)
{
	u64 rip = vmread_again(VMCS_GUEST_RIP), next = rip + vmread_again(VMCS_EXIT_INSN_LEN);

	if ((rip ^ next) >> 32 || vmread_again(VMCS_GUEST_INTERRUPTIBILITY) || (vmread_again(VMCS_GUEST_RFLAGS) & RFLAGS_TF))
		return false;
	vmwrite(VMCS_GUEST_RIP, next);
	return true;
}

static bool fast_cpuid(struct vcpu *v)
{
	u32 leaf = (u32)v->gpr[GPR_RAX], subleaf = (u32)v->gpr[GPR_RCX];
	const struct cpuid_answer *a = slot_of(v, leaf);

	if (a->leaf != leaf || (subleaf & a->mask) != a->subleaf || --v->fast_left <= 0 || !advance())
		return false;
	v->gpr[GPR_RAX] = a->r.eax;
	v->gpr[GPR_RBX] = a->r.ebx;
	v->gpr[GPR_RCX] = a->r.ecx;
	v->gpr[GPR_RDX] = a->r.edx;
	v->core.count.exits[XR_CPUID]++;
	return true;
}

u64 *exit_fast(u64 *gpr)
{
	struct vcpu *v = container_of(gpr, struct vcpu, gpr[0]);

	return vmread(VMCS_EXIT_REASON) == XR_CPUID && fast_cpuid(v) ? gpr : NULL;
}
