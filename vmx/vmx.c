/*
 * VT-x of this CPU: probing, VMXON, names.
 *
 * Invariant: vmx_caps holds what every CPU of the machine can do; a CPU that can do less never enters VMX operation.
 */
#include "vmx/vmx.h"

#include <string.h>

#include "core/console.h"
#include "core/errno.h"
#include "core/hypercall.h"
#include "core/mem.h"
#include "core/percpu.h"
#include "core/x86.h"
#include "vmx/vmx_insn.h"

struct vmx_caps vmx_caps;
bool vmcs_in_memory;

const char *vmx_exit_name(u32 reason)
{
	static const char *const names[] = {
#define EXIT_NAME(name, nr) [nr] = #name,
		EXIT_REASONS(EXIT_NAME)
#undef EXIT_NAME
	};
	return reason < ARRAY_SIZE(names) && names[reason] ? names[reason] : "?";
}

void vmx_access_failed(bool write, u64 field, u64 v)
{
	u64 error = 0;
	if (field != VMCS_INSN_ERROR && !vmcs_in_memory)
		try_vmread(VMCS_INSN_ERROR, &error);
	panic("%s of VMCS field %#lx (value %#lx) failed, VM-instruction error %lu", write ? "VMWRITE" : "VMREAD",
	      (unsigned long)field, (unsigned long)v, (unsigned long)error);
}

/* Allowed settings: low half must-be-one, high half may-be-one (SDM 3D, Reserved Controls and Default Settings). */
static struct vmx_ctl read_ctl(u32 msr, u32 true_msr)
{
	u64 v = rdmsr(vmx_caps.basic & VMX_BASIC_TRUE ? true_msr : msr);
	return (struct vmx_ctl){ .must = (u32)v, .may = (u32)(v >> 32) };
}

/* Intent ∩ capability; *missing collects required bits that the CPU lacks. */
static u32 choose(struct vmx_ctl c, u32 required, u32 optional, u32 *missing)
{
	*missing |= required & ~c.may;
	return (required | (optional & c.may) | c.must) & c.may;
}

static void read_caps(void)
{
	struct vmx_caps *c = &vmx_caps;
	c->basic = rdmsr(MSR_VMX_BASIC);
	c->misc = rdmsr(MSR_VMX_MISC);
	c->cr0_fixed0 = rdmsr(MSR_VMX_CR0_FIXED0);
	c->cr0_fixed1 = rdmsr(MSR_VMX_CR0_FIXED1);
	c->cr4_fixed0 = rdmsr(MSR_VMX_CR4_FIXED0);
	c->cr4_fixed1 = rdmsr(MSR_VMX_CR4_FIXED1);
	c->pin = read_ctl(MSR_VMX_PINBASED, MSR_VMX_TRUE_PINBASED);
	c->proc = read_ctl(MSR_VMX_PROCBASED, MSR_VMX_TRUE_PROCBASED);
	c->exit = read_ctl(MSR_VMX_EXIT, MSR_VMX_TRUE_EXIT);
	c->entry = read_ctl(MSR_VMX_ENTRY, MSR_VMX_TRUE_ENTRY);
	if (c->proc.may & PROC_SECONDARY) {
		c->proc2 = (struct vmx_ctl){ .must = 0, .may = (u32)(rdmsr(MSR_VMX_PROCBASED2) >> 32) };
		if (c->proc2.may & (PROC2_EPT | PROC2_VPID))
			c->ept_vpid = rdmsr(MSR_VMX_EPT_VPID);
		if (c->proc2.may & PROC2_VMFUNC)
			c->vmfunc = rdmsr(MSR_VMX_VMFUNC);
	}
}

/* The feature is usable only if all its controls are. */
static bool have2(u32 bits) { return (vmx_caps.proc2.may & bits) == bits; }

static void choose_features(void)
{
	struct vmx_caps *c = &vmx_caps;
	c->unrestricted = have2(PROC2_UNRESTRICTED);
	c->vpid = have2(PROC2_VPID) && (c->ept_vpid & EPT_CAP_INVVPID) && (c->ept_vpid & EPT_CAP_INVVPID_ALL);
	c->shadow_vmcs = have2(PROC2_SHADOW_VMCS) && !vmcs_in_memory; /* a shadow VMCS cannot hang on a VMCS page */
	c->apicv = (c->proc.may & PROC_TPR_SHADOW) && have2(PROC2_X2APIC | PROC2_APIC_REGS | PROC2_VIRT_INT);
	c->posted = c->apicv && (c->pin.may & PIN_POSTED_INT) && (c->exit.may & EXIT_ACK_INT);
	c->preemption_timer = c->pin.may & PIN_PREEMPTION_TIMER;
	c->ept_ad = c->ept_vpid & EPT_CAP_AD;
	c->ept_1g = c->ept_vpid & EPT_CAP_1G;
	c->ept_2m = c->ept_vpid & EPT_CAP_2M;
}

static u32 choose_controls(void)
{
	struct vmx_caps *c = &vmx_caps;
	u32 missing = 0;
	u32 apicv2 = c->apicv ? PROC2_APIC_REGS | PROC2_VIRT_INT : 0; /* PROC2_X2APIC follows the guest's APIC mode */
	c->use_pin = choose(c->pin, PIN_EXT_INT | PIN_NMI, PIN_VIRTUAL_NMI | (c->posted ? PIN_POSTED_INT : 0), &missing);
	c->use_proc = choose(c->proc, PROC_HLT | PROC_MSR_BITMAPS | PROC_IO_BITMAPS | PROC_SECONDARY, PROC_TPR_SHADOW | PROC_TSC_OFFSET, &missing);
	c->use_proc2 = choose(c->proc2, PROC2_EPT, PROC2_UNRESTRICTED | PROC2_RDTSCP | PROC2_INVPCID | PROC2_XSAVES | (c->vpid ? PROC2_VPID : 0) | apicv2, &missing);
	c->use_exit = choose(c->exit, EXIT_HOST_64 | EXIT_ACK_INT | EXIT_SAVE_EFER | EXIT_LOAD_EFER | EXIT_SAVE_PAT | EXIT_LOAD_PAT, EXIT_SAVE_DEBUG, &missing);
	c->use_entry = choose(c->entry, ENTRY_LOAD_EFER | ENTRY_LOAD_PAT, ENTRY_LOAD_DEBUG, &missing);
	return missing;
}

/* The firmware may have locked VT-x off (SDM 3C, Enabling and Entering VMX Operation). */
static bool unlock_vmx(void)
{
	u64 fc = rdmsr(MSR_FEATURE_CONTROL);
	if (!(fc & FEATURE_CONTROL_LOCK)) {
		wrmsr(MSR_FEATURE_CONTROL, fc | FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMXON);
		fc = rdmsr(MSR_FEATURE_CONTROL);
	}
	return fc & FEATURE_CONTROL_VMXON;
}

int vmx_probe(char *why, size_t whylen)
{
	if (!(cpuid(1, 0).ecx & BIT(5))) {
		format(why, whylen, "this processor has no VT-x (CPUID.1:ECX.VMX = 0)");
		return -ENODEV;
	}
	if (!unlock_vmx()) {
		format(why, whylen, "VT-x is disabled and locked by the firmware (IA32_FEATURE_CONTROL): switch it on in the set-up");
		return -ENODEV;
	}
	read_caps();
	vmcs_in_memory = outer_features() & NEST_FEAT_VMCS_PAGE;
	if (!(vmx_caps.proc2.may & PROC2_EPT) || !(vmx_caps.ept_vpid & EPT_CAP_WALK_4) || !(vmx_caps.ept_vpid & EPT_CAP_WB) ||
	    !(vmx_caps.ept_vpid & EPT_CAP_INVEPT)) {
		format(why, whylen, "this processor's VT-x has no EPT (4-level, write-back, INVEPT): Nestling needs it");
		return -ENODEV;
	}
	choose_features();
	if (choose_controls()) {
		format(why, whylen, "this processor's VT-x lacks controls that Nestling needs (MSR/I-O bitmaps, EFER/PAT switching)");
		return -ENODEV;
	}
	return 0;
}

/* Same capabilities as the boot CPU? */
static bool same_as_boot_cpu(void)
{
	return rdmsr(MSR_VMX_BASIC) == vmx_caps.basic && rdmsr(MSR_VMX_EPT_VPID) == vmx_caps.ept_vpid &&
	       (u32)(rdmsr(MSR_VMX_PROCBASED2) >> 32) == vmx_caps.proc2.may;
}

/* core/abi.h, HC_VMX_ASSIST. */
static int register_assist(struct cpu *c)
{
	c->vmx_assist = page_alloc(&mem_self);
	if (!c->vmx_assist)
		return -ENOMEM;
	c->vmx_assist->vmcs_page = NEST_VMCS_NONE;
	c->vmx_assist->flags = NEST_ASSIST_STEADY; /* segments, tables and MSRs stay as percpu_init and apic set them */
	return (int)outer_call(HC_VMX_ASSIST, virt_to_hpa(c->vmx_assist).v, 0, 0, 0);
}

int vmx_cpu_on(void)
{
	struct cpu *c = this_cpu();
	if (!(cpuid(1, 0).ecx & BIT(5)) || !unlock_vmx() || !same_as_boot_cpu())
		return -ENODEV;
	c->vmxon_page = page_alloc(&mem_self);
	if (!c->vmxon_page)
		return -ENOMEM;
	*(u32 *)c->vmxon_page = (u32)vmx_caps.basic & 0x7fffffff;
	write_cr0((read_cr0() | vmx_caps.cr0_fixed0) & vmx_caps.cr0_fixed1);
	write_cr4(((read_cr4() | CR4_VMXE) | vmx_caps.cr4_fixed0) & vmx_caps.cr4_fixed1);
	if (vmx_caps.use_proc2 & PROC2_XSAVES) /* no supervisor state, for any VM: vmx/msr.c */
		wrmsr(MSR_XSS, 0);
	if (vmxon(virt_to_hpa(c->vmxon_page)) != VMX_OK)
		return -EIO;
	if (vmcs_in_memory && register_assist(c))
		return -EIO;
	invept(INVEPT_GLOBAL, 0);
	if (vmx_caps.vpid)
		invvpid(INVVPID_ALL, 0, 0);
	return 0;
}

void vmx_cpu_off(void)
{
	struct cpu *c = this_cpu();
	if (!c->vmxon_page)
		return;
	vmxoff();
	write_cr4(read_cr4() & ~CR4_VMXE);
	page_free(&mem_self, c->vmxon_page);
	c->vmxon_page = NULL;
	if (!c->vmx_assist)
		return;
	outer_call(HC_VMX_ASSIST, ~0ull, 0, 0, 0);
	page_free(&mem_self, c->vmx_assist);
	c->vmx_assist = NULL;
}

void vmx_log_features(void)
{
	const struct vmx_caps *c = &vmx_caps;
	log_line("VT-x: unrestricted guest %s, VPID %s, VMCS shadowing %s, APIC virtualisation %s, posted interrupts %s, "
		 "preemption timer %s, EPT A/D %s, EPT pages up to %s%s",
		 c->unrestricted ? "yes" : "no (identity-table fallback)", c->vpid ? "yes" : "no (flush at switch)",
		 c->shadow_vmcs ? "yes" : "no (VMREAD exits)", c->apicv ? "yes" : "no (software APIC)",
		 c->posted ? "yes" : "no (kick)", c->preemption_timer ? "yes" : "no", c->ept_ad ? "yes" : "no",
		 c->ept_1g ? "1G" : c->ept_2m ? "2M" : "4K", vmcs_in_memory ? ", VMCS pages" : "");
}
