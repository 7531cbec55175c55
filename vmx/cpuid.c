/*
 * CPUID as our VMs see it: the machine's, less what we do not virtualise, plus the hypervisor leaves of core/abi.h.
 *
 * Invariant: a feature bit is shown only if using it works.
 */
#include "core/abi.h"
#include "core/hypercall.h"
#include "core/time.h"
#include "core/x86.h"
#include "vmx/exit_family.h"
#include "vmx/nested.h"
#include "vmx/vlapic.h"

/* CPUID.1:ECX */
#define C1_MONITOR BIT(3)
#define C1_VMX BIT(5)
#define C1_SMX BIT(6)
#define C1_EIST BIT(7)
#define C1_TM2 BIT(8)
#define C1_SDBG BIT(11)
#define C1_PDCM BIT(15)
#define C1_X2APIC BIT(21)
#define C1_TSC_DEADLINE BIT(24)
#define C1_OSXSAVE BIT(27)
#define C1_HYPERVISOR BIT(31)
/* CPUID.1:EDX */
#define D1_MCE BIT(7)
#define D1_APIC BIT(9)
#define D1_MCA BIT(14)
#define D1_DS BIT(21)
#define D1_ACPI BIT(22)
#define D1_TM BIT(29)
/* CPUID.7.0 */
#define B7_TSC_ADJUST BIT(1)
#define B7_SGX BIT(2)
#define B7_HLE BIT(4)
#define B7_INVPCID BIT(10)
#define B7_RTM BIT(11)
#define B7_MPX BIT(14)
#define B7_PT BIT(25)
#define C7_OSPKE BIT(4)
#define C7_WAITPKG BIT(5)
#define C7_CET_SS BIT(7)
#define C7_LA57 BIT(16)
#define C7_SGX_LC BIT(30)
#define D7_CET_IBT BIT(20)
#define D7_AMX (BIT(22) | BIT(24) | BIT(25))
#define D7_SPEC (BIT(26) | BIT(27) | BIT(28) | BIT(29) | BIT(30) | BIT(31)) /* speculation MSRs: not virtualised */
/* CPUID.D.1:EAX */
#define AD1_XSAVES BIT(3)
/* CPUID.80000001h:EDX */
#define DX_RDTSCP BIT(27)

static void leaf_1(struct vcpu *v, struct cpuid_regs *r)
{
	r->ecx &= ~(C1_MONITOR | C1_VMX | C1_SMX | C1_EIST | C1_TM2 | C1_SDBG | C1_PDCM | C1_OSXSAVE);
	r->ecx |= C1_X2APIC | C1_TSC_DEADLINE | C1_HYPERVISOR;
	if (v->core.vm->cfg->vmx)
		r->ecx |= C1_VMX;
	if (vcpu_read_cr4() & CR4_OSXSAVE)
		r->ecx |= C1_OSXSAVE;
	r->edx &= ~(D1_MCE | D1_MCA | D1_DS | D1_ACPI | D1_TM);
	if (!(v->vlapic->base_msr & APIC_BASE_EN)) /* SDM 3A, Enabling or Disabling the Local APIC */
		r->edx &= ~D1_APIC;
	r->ebx = (r->ebx & 0x0000ffff) | v->core.apic_id << 24 | (v->core.vm->nr_vcpus & 0xff) << 16;
}

static void leaf_7(u32 sub, struct cpuid_regs *r)
{
	if (sub) {
		*r = (struct cpuid_regs){ 0 };
		return;
	}
	r->eax = 0;
	r->ebx &= ~(B7_TSC_ADJUST | B7_SGX | B7_HLE | B7_RTM | B7_MPX | B7_PT);
	if (!(vmx_caps.use_proc2 & PROC2_INVPCID))
		r->ebx &= ~B7_INVPCID;
	r->ecx &= ~(C7_WAITPKG | C7_CET_SS | C7_LA57 | C7_SGX_LC | C7_OSPKE);
	if (vcpu_read_cr4() & CR4_PKE)
		r->ecx |= C7_OSPKE;
	r->edx &= ~(D7_CET_IBT | D7_SPEC | D7_AMX);
}

/* XSAVE state components (SDM 2, leaf 0DH): those of XCR0_OURS only. */
static void leaf_d(u32 sub, struct cpuid_regs *r)
{
	if (sub == 0) {
		r->eax = (u32)vcpu_xcr0_all();
		r->edx = 0;
		r->ecx = MIN(r->ecx, (u32)PAGE_SIZE);
	} else if (sub == 1) {
		if (!(vmx_caps.use_proc2 & PROC2_XSAVES))
			r->eax &= ~AD1_XSAVES;
		r->ecx = r->edx = 0; /* no component needs IA32_XSS: PT, CET, HDC and the rest are hidden */
	} else if (sub >= 64 || !(vcpu_xcr0_all() & BIT(sub))) {
		*r = (struct cpuid_regs){ 0 };
	}
}

/* Extended topology (SDM 2, CPUID leaf 0BH): one thread per core, all cores in one package. */
static void leaf_b(struct vcpu *v, u32 sub, struct cpuid_regs *r)
{
	*r = (struct cpuid_regs){ .ecx = sub & 0xff, .edx = v->core.apic_id };
	if (sub == 0) {
		r->ebx = 1;
		r->ecx |= 1 << 8;
	} else if (sub == 1) {
		r->eax = 4; /* bits of the APIC id within the package: 16 vCPUs at most */
		r->ebx = v->core.vm->nr_vcpus;
		r->ecx |= 2 << 8;
	}
}

/* TSC = crystal * EBX / EAX (SDM 2, leaf 15H), exact in kHz; the crystal also clocks the APIC timer. */
static void leaf_15(struct cpuid_regs *r)
{
	*r = (struct cpuid_regs){ .eax = VLAPIC_CLOCK_KHZ, .ebx = (u32)tsc_khz(), .ecx = VLAPIC_CLOCK_KHZ * 1000 };
}

static void hypervisor_leaf(struct vcpu *v, u32 leaf, struct cpuid_regs *r)
{
	*r = (struct cpuid_regs){ 0 };
	switch (leaf) {
	case NEST_CPUID_BASE:
		*r = (struct cpuid_regs){ NEST_CPUID_TSC, NEST_SIG_EBX, NEST_SIG_ECX, NEST_SIG_EDX };
		break;
	case NEST_CPUID_FEATURES:
		r->eax = NEST_ABI_VERSION;
		r->ebx = NEST_FEAT_NIC | (vmx_caps.posted ? NEST_FEAT_PI : 0) | (nested_offers_pages(v->core.vm) ? NEST_FEAT_VMCS_PAGE | NEST_FEAT_PREMAP : 0) |
			 (nested_delegates(v->core.vm) ? NEST_FEAT_DELEGATE : 0);
		r->ecx = v->core.vm->nr_ports;
		break;
	case NEST_CPUID_DEPTH:
		r->eax = outer_depth() + 1;
		break;
	case NEST_CPUID_TSC:
		r->eax = (u32)tsc_khz();
		break;
	}
}

static void filter(struct vcpu *v, u32 leaf, u32 sub, struct cpuid_regs *r)
{
	switch (leaf) {
	case 0:
		if (r->eax < 0x16)
			r->eax = 0x16;
		break;
	case 1:
		leaf_1(v, r);
		break;
	case 4: /* deterministic cache parameters: no sharing */
		r->eax &= (u32)BITS(13, 0);
		break;
	case 5:
	case 0xa: /* MONITOR, performance counters */
	case 0xf:
	case 0x10:
	case 0x12:
	case 0x14:
	case 0x1f:
		*r = (struct cpuid_regs){ 0 };
		break;
	case 6: /* of thermal and power only ARAT: the timer never stops */
		*r = (struct cpuid_regs){ .eax = BIT(2) };
		break;
	case 7:
		leaf_7(sub, r);
		break;
	case 0xb:
		leaf_b(v, sub, r);
		break;
	case 0xd:
		leaf_d(sub, r);
		break;
	case 0x15:
		leaf_15(r);
		break;
	case 0x16:
		*r = (struct cpuid_regs){ .eax = (u32)(tsc_khz() / 1000), .ebx = (u32)(tsc_khz() / 1000), .ecx = 100 };
		break;
	case 0x80000001:
		if (!(vmx_caps.use_proc2 & PROC2_RDTSCP))
			r->edx &= ~DX_RDTSCP;
		break;
	}
}

enum exit_action exit_cpuid(struct vcpu *v)
{
	u32 leaf = (u32)v->gpr[GPR_RAX], sub = (u32)v->gpr[GPR_RCX];
	struct cpuid_regs r;
	if (leaf >= NEST_CPUID_BASE && leaf < NEST_CPUID_BASE + 0x10000) {
		hypervisor_leaf(v, leaf, &r);
	} else {
		r = cpuid(leaf, sub);
		filter(v, leaf, sub, &r);
	}
	cpuid_cache_put(v, leaf, sub, &r);
	v->gpr[GPR_RAX] = r.eax;
	v->gpr[GPR_RBX] = r.ebx;
	v->gpr[GPR_RCX] = r.ecx;
	v->gpr[GPR_RDX] = r.edx;
	return EXIT_ADVANCE;
}
