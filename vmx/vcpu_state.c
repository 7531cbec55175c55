/*
 * Architectural states of a vCPU: after reset, at a multiboot entry, and what is switched when another vCPU takes the CPU.
 *
 * Invariant: whatever VM entry and exit do not switch and we do not use ourselves stays in the CPU while a vCPU is current; it
 * is saved by vcpu_put and loaded by vcpu_load, so no vCPU sees another's.
 */
#include <string.h>

#include "core/percpu.h"
#include "core/x86.h"
#include "vmx/ept.h"
#include "vmx/exit_family.h"
#include "vmx/nested.h"
#include "vmx/no_ug.h"
#include "vmx/vcpu.h"
#include "vmx/vlapic.h"
#include "vmx/vmcs.h"

/* Access rights (SDM 3C, Guest Register State): type, S, present, D/B, G. */
#define AR_CODE_16 0x9b
#define AR_DATA_16 0x93
#define AR_CODE_32 0xc09b
#define AR_DATA_32 0xc093
#define AR_LDT 0x82
#define AR_TSS_BUSY 0x8b

/* The segment fields follow each other two encodings apart: ES CS SS DS FS GS LDTR TR. */
static void set_segment(u32 n, u16 sel, u64 base, u32 limit, u32 ar)
{
	vmwrite(VMCS_GUEST_ES_SEL + 2 * n, sel);
	vmwrite(VMCS_GUEST_ES_BASE + 2 * n, base);
	vmwrite(VMCS_GUEST_ES_LIMIT + 2 * n, limit);
	vmwrite(VMCS_GUEST_ES_AR + 2 * n, ar);
}
enum { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_LDTR, SEG_TR };

static void reset_descriptor_tables(void)
{
	set_segment(SEG_LDTR, 0, 0, 0xffff, AR_LDT);
	set_segment(SEG_TR, 0, 0, 0xffff, AR_TSS_BUSY);
	vmwrite(VMCS_GUEST_GDTR_BASE, 0);
	vmwrite(VMCS_GUEST_GDTR_LIMIT, 0xffff);
	vmwrite(VMCS_GUEST_IDTR_BASE, 0);
	vmwrite(VMCS_GUEST_IDTR_LIMIT, 0xffff);
}

static void reset_misc(struct vcpu *v)
{
	vmwrite(VMCS_GUEST_DR7, 0x400);
	vmwrite(VMCS_GUEST_DEBUGCTL, 0);
	vmwrite(VMCS_GUEST_PAT, 0x0007040600070406ull); /* SDM 3A, Programming the PAT: power-on value */
	vmwrite(VMCS_GUEST_SYSENTER_CS, 0);
	vmwrite(VMCS_GUEST_SYSENTER_ESP, 0);
	vmwrite(VMCS_GUEST_SYSENTER_EIP, 0);
	vmwrite(VMCS_GUEST_INTERRUPTIBILITY, 0);
	vmwrite(VMCS_GUEST_ACTIVITY, ACTIVITY_ACTIVE);
	vmwrite(VMCS_GUEST_PENDING_DBG, 0);
	vmwrite(VMCS_GUEST_RFLAGS, RFLAGS_FIXED);
	vmwrite(VMCS_GUEST_RSP, 0);
	v->event = (struct vcpu_event){ 0 };
	v->nmi_pending = false;
	v->nmis_waiting = 0;
}

void vcpu_reset(struct vcpu *v)
{
	memset(v->gpr, 0, sizeof(v->gpr));
	cpuid_cache_drop(v);
	v->gpr[GPR_RDX] = cpuid(1, 0).eax; /* SDM 3A, Processor State After Reset: DX holds the signature */
	for (u32 s = SEG_ES; s <= SEG_GS; s++)
		set_segment(s, 0, 0, 0xffff, AR_DATA_16);
	set_segment(SEG_CS, 0xf000, 0xffff0000, 0xffff, AR_CODE_16);
	reset_descriptor_tables();
	reset_misc(v);
	vmwrite(VMCS_GUEST_RIP, 0xfff0);
	vmwrite(VMCS_GUEST_CR3, 0);
	vmwrite(VMCS_GUEST_EFER, 0);
	vmwrite(VMCS_ENTRY_CONTROLS, vmread(VMCS_ENTRY_CONTROLS) & ~ENTRY_IA32E);
	vmwrite(VMCS_CR0_MASK, vcpu_cr0_owned(v));
	vmwrite(VMCS_CR4_MASK, vcpu_cr4_owned(v));
	vcpu_set_cr4(v, 0);
	vcpu_set_cr0(v, CR0_ET | CR0_NW | CR0_CD);
	ept_flush_vpid(v->vpid); /* INIT empties the TLBs */
}

void vcpu_enter_protected_mode(struct vcpu *v, const struct vm_entry_state *e)
{
	set_segment(SEG_CS, 0x08, 0, 0xffffffff, AR_CODE_32);
	for (u32 s = SEG_ES; s <= SEG_GS; s++)
		if (s != SEG_CS)
			set_segment(s, 0x10, 0, 0xffffffff, AR_DATA_32);
	vcpu_set_cr0(v, CR0_ET | CR0_NE | CR0_PE);
	v->gpr[GPR_RAX] = e->eax;
	v->gpr[GPR_RBX] = e->ebx;
	v->gpr[GPR_RSI] = e->esi;
	vmwrite(VMCS_GUEST_RIP, e->eip);
}

/* ---- the rest of the state: registers that we never touch while a vCPU is current ---- */
static bool have_xsave(void) { return read_cr4() & CR4_OSXSAVE; }

/*
 * Saved and loaded always whole, whatever the guest's own XCR0 selects: else what one guest left in a component that another
 * has not enabled would pass to it, and XRSTOR would refuse an image of components that XCR0 lacks.
 */
u64 vcpu_xcr0_all(void)
{
	static u64 all;
	if (!all)
		all = cpuid(0xd, 0).eax & XCR0_OURS;
	return all;
}

static void save_fpu(struct vcpu *v)
{
	if (!have_xsave()) {
		fxsave(v->fpu);
		return;
	}
	v->xcr0 = xgetbv(0);
	if (v->xcr0 != vcpu_xcr0_all())
		xsetbv(0, vcpu_xcr0_all());
	xsave(v->fpu, vcpu_xcr0_all());
}

static void load_fpu(struct vcpu *v)
{
	if (!have_xsave()) {
		fxrstor(v->fpu);
		return;
	}
	xsetbv(0, vcpu_xcr0_all());
	xrstor(v->fpu, vcpu_xcr0_all());
	if (v->xcr0 != vcpu_xcr0_all())
		xsetbv(0, v->xcr0);
}

static bool have_tsc_aux(void) { return vmx_caps.use_proc2 & PROC2_RDTSCP; }

void vcpu_put(struct vcpu *v)
{
	save_fpu(v);
	v->msr_star = rdmsr(MSR_STAR);
	v->msr_lstar = rdmsr(MSR_LSTAR);
	v->msr_cstar = rdmsr(MSR_CSTAR);
	v->msr_fmask = rdmsr(MSR_FMASK);
	v->msr_kernel_gs = rdmsr(MSR_KERNEL_GS_BASE);
	if (have_tsc_aux())
		v->msr_tsc_aux = rdmsr(MSR_TSC_AUX);
	v->cr2 = read_cr2();
	v->dr[0] = read_dr0();
	v->dr[1] = read_dr1();
	v->dr[2] = read_dr2();
	v->dr[3] = read_dr3();
	v->dr6 = read_dr6();
	/* The CPU may keep VMCS data to itself until VMCLEAR (SDM 3C, Using VMCLEAR): the pages may be freed on another one. */
	nested_put(v);
	vmcs_forget(&v->vmcs01);
	v->on_cpu = false;
	this_cpu()->current = NULL;
}

void vcpu_load(struct vcpu *v)
{
	load_fpu(v);
	wrmsr(MSR_STAR, v->msr_star);
	wrmsr(MSR_LSTAR, v->msr_lstar);
	wrmsr(MSR_CSTAR, v->msr_cstar);
	wrmsr(MSR_FMASK, v->msr_fmask);
	wrmsr(MSR_KERNEL_GS_BASE, v->msr_kernel_gs);
	if (have_tsc_aux())
		wrmsr(MSR_TSC_AUX, v->msr_tsc_aux);
	write_cr2(v->cr2);
	write_dr0(v->dr[0]);
	write_dr1(v->dr[1]);
	write_dr2(v->dr[2]);
	write_dr3(v->dr[3]);
	write_dr6(v->dr6);
	vcpu_load_vmcs(v, v->loaded ? v->loaded : &v->vmcs01);
	v->on_cpu = true;
	this_cpu()->current = v;
}
