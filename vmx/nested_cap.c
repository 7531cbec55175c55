/*
 * What an inner may use of VMX: the capability MSRs 480h-491h (SDM 3D, VMX Capability Reporting Facility).
 *
 * Invariant: only what the CPU has and this engine carries through is offered, so an L1 that believes these MSRs never
 * finds them wrong. Not offered: sub-page permissions, #VE, ENCLS exiting, performance-counter switching, SMM.
 */
#include "core/x86.h"
#include "vmx/nested_priv.h"

/* SDM 3D, Reserved Controls and Default Settings: the default1 class, and its members that the TRUE MSRs release. */
#define DEFAULT1_PIN 0x00000016u
#define DEFAULT1_PROC 0x0401e172u
#define DEFAULT1_EXIT 0x00036dffu
#define DEFAULT1_ENTRY 0x000011ffu
#define RELEASED_PROC ((u32)(PROC_CR3_LOAD | PROC_CR3_STORE))
#define RELEASED_EXIT ((u32)EXIT_SAVE_DEBUG)
#define RELEASED_ENTRY ((u32)ENTRY_LOAD_DEBUG)

#define OFFER_PIN (PIN_EXT_INT | PIN_NMI | PIN_VIRTUAL_NMI | PIN_PREEMPTION_TIMER)
#define OFFER_PROC (PROC_INT_WINDOW | PROC_TSC_OFFSET | PROC_HLT | PROC_INVLPG | PROC_MWAIT | PROC_RDPMC | PROC_RDTSC | \
		    PROC_CR3_LOAD | PROC_CR3_STORE | PROC_CR8_LOAD | PROC_CR8_STORE | PROC_TPR_SHADOW | PROC_NMI_WINDOW | \
		    PROC_MOV_DR | PROC_UNCOND_IO | PROC_IO_BITMAPS | PROC_MTF | PROC_MSR_BITMAPS | PROC_MONITOR | PROC_PAUSE | \
		    PROC_SECONDARY)
#define OFFER_PROC2 (PROC2_APIC_ACCESS | PROC2_EPT | PROC2_DESC_TABLE | PROC2_X2APIC | PROC2_WBINVD | PROC2_UNRESTRICTED | \
		     PROC2_APIC_REGS | PROC2_VIRT_INT | PROC2_PAUSE_LOOP | PROC2_RDRAND | PROC2_RDSEED | PROC2_SHADOW_VMCS | \
		     PROC2_PML | PROC2_MBE | PROC2_TSC_SCALING | PROC2_VMFUNC)
/* These only if vmcs01 lets L1 itself use the instruction, VPID only if we can flush by it. */
#define OFFER_PROC2_AS_US (PROC2_RDTSCP | PROC2_INVPCID | PROC2_XSAVES | PROC2_VPID)
#define OFFER_EXIT (EXIT_SAVE_DEBUG | EXIT_HOST_64 | EXIT_ACK_INT | EXIT_SAVE_PAT | EXIT_LOAD_PAT | EXIT_SAVE_EFER | \
		    EXIT_LOAD_EFER | EXIT_SAVE_PREEMPTION)
#define OFFER_ENTRY (ENTRY_LOAD_DEBUG | ENTRY_IA32E | ENTRY_LOAD_PAT | ENTRY_LOAD_EFER)
#define OFFER_EPT (EPT_CAP_EXEC_ONLY | EPT_CAP_WALK_4 | EPT_CAP_UC | EPT_CAP_WB | EPT_CAP_2M | EPT_CAP_1G | EPT_CAP_AD)
/* We emulate these, whatever form the CPU has. */
#define EMULATED_INVEPT (EPT_CAP_INVEPT | EPT_CAP_INVEPT_SINGLE | EPT_CAP_INVEPT_ALL)
#define EMULATED_INVVPID (EPT_CAP_INVVPID | EPT_CAP_INVVPID_ADDR | EPT_CAP_INVVPID_SINGLE | EPT_CAP_INVVPID_ALL | \
			  EPT_CAP_INVVPID_KEEP_GLOBAL)

#define BASIC_SIZE FIELD_PREP(BITS(44, 32), PAGE_SIZE)
#define BASIC_WB FIELD_PREP(BITS(53, 50), MEMTYPE_WB)
#define BASIC_ANY_ERROR_CODE BIT(56)
#define MISC_CR3_TARGETS BITS(24, 16)
#define MISC_MSR_LIST BITS(27, 25)
#define MISC_ZERO_LENGTH BIT(30)
/* Bits of CR4 that vmx/cr.c refuses. */
#define CR4_HIDDEN (CR4_SMXE | CR4_CET | CR4_LA57)

struct nested_caps nested_caps;

static struct vmx_ctl offer(struct vmx_ctl hw, u64 bits, u32 default1, u32 released)
{
	u32 must = default1 & ~(released & ~hw.must);

	return (struct vmx_ctl){ .must = must, .may = ((u32)bits & hw.may) | default1 };
}

void nested_caps_make(struct nested_caps *out, const struct vmx_caps *hw, u8 maxphyaddr)
{
	bool cr3_free = !(hw->proc.must & RELEASED_PROC);

	*out = (struct nested_caps){ .maxphyaddr = maxphyaddr };
	out->basic = NESTED_REVISION | BASIC_SIZE | BASIC_WB | VMX_BASIC_TRUE | (hw->basic & (VMX_BASIC_INS_OUTS | BASIC_ANY_ERROR_CODE));
	out->pin = offer(hw->pin, OFFER_PIN | (hw->posted ? PIN_POSTED_INT : 0), DEFAULT1_PIN, 0);
	out->proc = offer(hw->proc, OFFER_PROC, DEFAULT1_PROC, cr3_free ? RELEASED_PROC : 0);
	out->exit = offer(hw->exit, OFFER_EXIT, DEFAULT1_EXIT, RELEASED_EXIT);
	out->entry = offer(hw->entry, OFFER_ENTRY, DEFAULT1_ENTRY, RELEASED_ENTRY);
	out->proc2.may = (u32)((OFFER_PROC2 & hw->proc2.may) | (OFFER_PROC2_AS_US & hw->use_proc2));
	if (!(hw->ept_vpid & EPT_CAP_AD)) /* the log is of dirty flags */
		out->proc2.may &= (u32)~PROC2_PML;
	out->misc = (hw->misc & (VMX_MISC_TIMER_RATE | VMX_MISC_EFER_LMA | VMX_MISC_ACTIVITY(ACTIVITY_HLT) | MISC_CR3_TARGETS | MISC_MSR_LIST |
				 VMX_MISC_VMWRITE_RO | MISC_ZERO_LENGTH)) |
		    VMX_MISC_ACTIVITY(ACTIVITY_WAIT_SIPI); /* we hold the vCPU ourselves: nested_irq.c */
	out->vmfunc = hw->vmfunc & VMFUNC_EPTP_SWITCHING;
	out->ept_vpid = (hw->ept_vpid & OFFER_EPT) | EMULATED_INVEPT | (out->proc2.may & PROC2_VPID ? EMULATED_INVVPID : 0);
	out->cr0_fixed0 = hw->cr0_fixed0;
	out->cr0_fixed1 = hw->cr0_fixed1;
	out->cr4_fixed0 = hw->cr4_fixed0;
	out->cr4_fixed1 = (hw->cr4_fixed1 & ~CR4_HIDDEN) | CR4_VMXE;
	out->vmcs_enum = FIELD_PREP(BITS(9, 1), vmcs12_fields_make(out));
}

void nested_init(void)
{
	u32 width = cpuid(0x80000000, 0).eax >= 0x80000008 ? cpuid(0x80000008, 0).eax & 0xff : 36;

	nested_caps_make(&nested_caps, &vmx_caps, (u8)MIN(width, 52u));
}

static u64 ctl_msr(u32 must, u32 may) { return must | (u64)may << 32; }

bool nested_cap_msr(const struct nested_caps *c, u32 msr, u64 *value)
{
	const u64 v[] = {
		[MSR_VMX_BASIC - MSR_VMX_BASIC] = c->basic,
		[MSR_VMX_PINBASED - MSR_VMX_BASIC] = ctl_msr(c->pin.must | DEFAULT1_PIN, c->pin.may),
		[MSR_VMX_PROCBASED - MSR_VMX_BASIC] = ctl_msr(c->proc.must | DEFAULT1_PROC, c->proc.may),
		[MSR_VMX_EXIT - MSR_VMX_BASIC] = ctl_msr(c->exit.must | DEFAULT1_EXIT, c->exit.may),
		[MSR_VMX_ENTRY - MSR_VMX_BASIC] = ctl_msr(c->entry.must | DEFAULT1_ENTRY, c->entry.may),
		[MSR_VMX_MISC - MSR_VMX_BASIC] = c->misc,
		[MSR_VMX_CR0_FIXED0 - MSR_VMX_BASIC] = c->cr0_fixed0,
		[MSR_VMX_CR0_FIXED1 - MSR_VMX_BASIC] = c->cr0_fixed1,
		[MSR_VMX_CR4_FIXED0 - MSR_VMX_BASIC] = c->cr4_fixed0,
		[MSR_VMX_CR4_FIXED1 - MSR_VMX_BASIC] = c->cr4_fixed1,
		[MSR_VMX_VMCS_ENUM - MSR_VMX_BASIC] = c->vmcs_enum,
		[MSR_VMX_PROCBASED2 - MSR_VMX_BASIC] = ctl_msr(c->proc2.must, c->proc2.may),
		[MSR_VMX_EPT_VPID - MSR_VMX_BASIC] = c->ept_vpid,
		[MSR_VMX_TRUE_PINBASED - MSR_VMX_BASIC] = ctl_msr(c->pin.must, c->pin.may),
		[MSR_VMX_TRUE_PROCBASED - MSR_VMX_BASIC] = ctl_msr(c->proc.must, c->proc.may),
		[MSR_VMX_TRUE_EXIT - MSR_VMX_BASIC] = ctl_msr(c->exit.must, c->exit.may),
		[MSR_VMX_TRUE_ENTRY - MSR_VMX_BASIC] = ctl_msr(c->entry.must, c->entry.may),
	};

	if (msr == MSR_VMX_VMFUNC && (c->proc2.may & PROC2_VMFUNC)) {
		*value = c->vmfunc;
		return true;
	}
	if (msr < MSR_VMX_BASIC || msr - MSR_VMX_BASIC >= ARRAY_SIZE(v))
		return false;
	*value = v[msr - MSR_VMX_BASIC];
	return true;
}

bool nested_read_msr(struct vcpu *v, u32 msr, u64 *value)
{
	return v->nested && nested_cap_msr(&nested_caps, msr, value);
}
