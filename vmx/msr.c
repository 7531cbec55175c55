/*
 * MSRs as our VMs see them.
 *
 * Invariant: an MSR is passed through only if VM entry and exit, or vcpu_load and vcpu_put, switch it; everything that this
 * file does not name is #GP.
 */
#include <string.h>

#include "core/console.h"
#include "core/x86.h"
#include "vmx/exit_family.h"
#include "vmx/nested.h"
#include "vmx/no_ug.h"
#include "vmx/vlapic.h"
#include "vmx/vmcs.h"

/* MSR bitmap (SDM 3C, MSR-Bitmap Address): read low, read high, write low, write high; 1 KiB each. */
static void bitmap_open(u8 *page, u32 msr, bool read, bool write)
{
	u32 high = msr >= 0xc0000000 ? 1 : 0, n = msr & 0x1fff;
	if (read)
		page[high * 1024 + n / 8] &= (u8)~BIT(n % 8);
	if (write)
		page[2048 + high * 1024 + n / 8] &= (u8)~BIT(n % 8);
}

static const u32 passed_through[] = {
	MSR_SYSENTER_CS, MSR_SYSENTER_ESP, MSR_SYSENTER_EIP, MSR_PAT, MSR_STAR, MSR_LSTAR, MSR_CSTAR, MSR_FMASK,
	MSR_FS_BASE, MSR_GS_BASE, MSR_KERNEL_GS_BASE,
};

/* With x2APIC virtualisation: all reads but the current count; writes of TPR, EOI, SELF IPI (SDM 3C, Virtualizing MSR-Based APIC Accesses). */
void msr_bitmap_x2apic(struct vcpu *v, bool on)
{
	u8 *page = v->msr_bitmap_page;
	memset(page + 0x800 / 8, 0xff, 0x100 / 8);
	memset(page + 2048 + 0x800 / 8, 0xff, 0x100 / 8);
	vmcs_bitmaps_changed(&v->vmcs01);
	if (!on)
		return;
	static const u32 readable[] = { APIC_ID, APIC_VERSION, APIC_TPR, APIC_PPR, APIC_LDR, APIC_SVR, APIC_ICR };
	for (u32 i = 0; i < ARRAY_SIZE(readable); i++)
		bitmap_open(page, MSR_X2APIC_BASE + readable[i] / 16, true, false);
	for (u32 i = 0; i < 8; i++) {
		bitmap_open(page, MSR_X2APIC_BASE + APIC_ISR / 16 + i, true, false);
		bitmap_open(page, MSR_X2APIC_BASE + APIC_TMR / 16 + i, true, false);
		bitmap_open(page, MSR_X2APIC_BASE + APIC_IRR / 16 + i, true, false);
	}
	bitmap_open(page, MSR_X2APIC_BASE + APIC_TPR / 16, false, true);
	bitmap_open(page, MSR_X2APIC_BASE + APIC_EOI / 16, false, true);
	bitmap_open(page, MSR_X2APIC_BASE + APIC_SELF_IPI / 16, false, true);
}

void msr_bitmap_init(struct vcpu *v)
{
	memset(v->msr_bitmap_page, 0xff, PAGE_SIZE);
	for (u32 i = 0; i < ARRAY_SIZE(passed_through); i++)
		bitmap_open(v->msr_bitmap_page, passed_through[i], true, true);
	bitmap_open(v->msr_bitmap_page, MSR_TSC, true, false);
	if (vmx_caps.use_proc2 & PROC2_RDTSCP)
		bitmap_open(v->msr_bitmap_page, MSR_TSC_AUX, true, true);
	if (!no_ug_needed())
		bitmap_open(v->msr_bitmap_page, MSR_EFER, true, false);
}

static bool is_x2apic(u32 msr) { return msr >= MSR_X2APIC_BASE && msr < MSR_X2APIC_BASE + 0x100; }
static bool x2apic_on(struct vcpu *v) { return v->vlapic->base_msr & APIC_BASE_EXTD; }

/* FEATURE_CONTROL of the VM: locked, VMX on if the configuration says so. */
static u64 feature_control(struct vcpu *v) { return FEATURE_CONTROL_LOCK | (v->core.vm->cfg->vmx ? FEATURE_CONTROL_VMXON : 0); }

/* Registers that VM entry loads from a VMCS field: the level-1 guest's are in vmcs01. */
static enum vmcs_field vmcs_field_of(u32 msr)
{
	switch (msr) {
	case MSR_SYSENTER_CS:
		return VMCS_GUEST_SYSENTER_CS;
	case MSR_SYSENTER_ESP:
		return VMCS_GUEST_SYSENTER_ESP;
	case MSR_SYSENTER_EIP:
		return VMCS_GUEST_SYSENTER_EIP;
	case MSR_PAT:
		return VMCS_GUEST_PAT;
	case MSR_FS_BASE:
		return VMCS_GUEST_FS_BASE;
	case MSR_GS_BASE:
		return VMCS_GUEST_GS_BASE;
	default:
		return 0;
	}
}

/* Registers that stay in the CPU while the vCPU is current. */
static bool lives_in_cpu(u32 msr)
{
	return msr == MSR_STAR || msr == MSR_LSTAR || msr == MSR_CSTAR || msr == MSR_FMASK || msr == MSR_KERNEL_GS_BASE ||
	       (msr == MSR_TSC_AUX && (vmx_caps.use_proc2 & PROC2_RDTSCP));
}

bool vcpu_read_msr(struct vcpu *v, u32 msr, u64 *value)
{
	*value = 0;
	if (is_x2apic(msr))
		return x2apic_on(v) && vlapic_read(v, (msr - MSR_X2APIC_BASE) * 16, value);
	if (msr >= MSR_VMX_BASIC && msr <= MSR_VMX_VMFUNC)
		return v->core.vm->cfg->vmx && nested_read_msr(v, msr, value);
	if (vmcs_field_of(msr)) {
		*value = vmread(vmcs_field_of(msr));
		return true;
	}
	if (lives_in_cpu(msr)) {
		*value = rdmsr(msr);
		return true;
	}
	switch (msr) {
	case MSR_TSC:
		*value = rdtsc() + v->tsc_offset;
		return true;
	case MSR_APIC_BASE:
		*value = v->vlapic->base_msr;
		return true;
	case MSR_FEATURE_CONTROL:
		*value = feature_control(v);
		return true;
	case MSR_TSC_DEADLINE:
		*value = v->vlapic->tsc_deadline;
		return true;
	case MSR_EFER:
		*value = vcpu_read_efer(v);
		return true;
	case MSR_MISC_ENABLE:
		*value = BIT(0) | BIT(11) | BIT(12); /* fast strings; no BTS, no PEBS */
		return true;
	case MSR_DEBUGCTL:
		*value = vmread(VMCS_GUEST_DEBUGCTL);
		return true;
	case MSR_XSS: /* no bit of it is offered, so it is 0 in the CPU, too, whoever runs */
		return vmx_caps.use_proc2 & PROC2_XSAVES;
	case MSR_MTRR_DEF_TYPE:
		*value = v->msr_mtrr_def_type;
		return true;
	case MSR_MTRRCAP: /* no variable and no fixed ranges: EPT decides about memory types */
	case MSR_BIOS_SIGN_ID:
	case 0x17: /* IA32_PLATFORM_ID */
	case 0xce: /* MSR_PLATFORM_INFO */
		return true;
	default:
		return false;
	}
}

static bool canonical(u64 a) { return (u64)((s64)(a << 16) >> 16) == a; }

static bool pat_valid(u64 pat)
{
	for (u32 i = 0; i < 8; i++) {
		u8 t = (u8)(pat >> (8 * i));
		if (t > 7 || t == 2 || t == 3) /* SDM 3A, Memory Types That Can Be Encoded With PAT */
			return false;
	}
	return true;
}

/* SDM 3A, IA32_MTRR_DEF_TYPE MSR: type, fixed ranges (not offered), enable. */
static bool mtrr_def_type_valid(u64 v)
{
	u8 type = v & 0xff;
	return !(v & ~(BIT(11) | 0xffull)) && (type <= 1 || (type >= 4 && type <= 6));
}

static bool address_msr(u32 msr)
{
	return msr == MSR_FS_BASE || msr == MSR_GS_BASE || msr == MSR_KERNEL_GS_BASE || msr == MSR_LSTAR || msr == MSR_CSTAR ||
	       msr == MSR_SYSENTER_ESP || msr == MSR_SYSENTER_EIP;
}

void vcpu_set_tsc(struct vcpu *v, u64 value)
{
	struct vmcs *loaded = v->loaded;

	v->tsc_offset = value - rdtsc();
	if (loaded != &v->vmcs01)
		vcpu_load_vmcs(v, &v->vmcs01);
	vmwrite(VMCS_TSC_OFFSET, v->tsc_offset);
	if (loaded != &v->vmcs01)
		vcpu_load_vmcs(v, loaded);
	nested_tsc_changed(v);
	if (v->vlapic->tsc_deadline)
		vlapic_deadline_write(v, v->vlapic->tsc_deadline);
}

bool vcpu_write_msr(struct vcpu *v, u32 msr, u64 value)
{
	if (is_x2apic(msr))
		return x2apic_on(v) && vlapic_write(v, (msr - MSR_X2APIC_BASE) * 16, value);
	if ((address_msr(msr) && !canonical(value)) || (msr == MSR_PAT && !pat_valid(value)))
		return false;
	if (vmcs_field_of(msr)) {
		vmwrite(vmcs_field_of(msr), msr == MSR_SYSENTER_CS ? (u32)value : value);
		return true;
	}
	if (lives_in_cpu(msr)) {
		if (msr == MSR_FMASK || msr == MSR_TSC_AUX)
			value = (u32)value;
		wrmsr(msr, value);
		return true;
	}
	switch (msr) {
	case MSR_TSC:
		if (!(vmx_caps.use_proc & PROC_TSC_OFFSET))
			return false;
		vcpu_set_tsc(v, value);
		return true;
	case MSR_APIC_BASE:
		return vlapic_msr_base_write(v, value);
	case MSR_TSC_DEADLINE:
		vlapic_deadline_write(v, value);
		return true;
	case MSR_EFER:
		return vcpu_set_efer(v, value);
	case MSR_MISC_ENABLE:
	case MSR_BIOS_SIGN_ID:
		return true; /* no effect, as the bits are not offered */
	case MSR_MTRR_DEF_TYPE:
		if (!mtrr_def_type_valid(value))
			return false;
		v->msr_mtrr_def_type = value; /* kept, without effect */
		return true;
	case MSR_XSS:
		return (vmx_caps.use_proc2 & PROC2_XSAVES) && !value;
	case MSR_DEBUGCTL:
		return !(value & ~3ull) && (vmwrite(VMCS_GUEST_DEBUGCTL, value), true);
	default:
		return false;
	}
}

enum exit_action exit_rdmsr(struct vcpu *v)
{
	u64 value;
	u32 msr = (u32)v->gpr[GPR_RCX];
	if (!vcpu_read_msr(v, msr, &value)) {
		log_limited(20, "%s: RDMSR %#x: #GP", v->core.vm->cfg->name, msr);
		return inject_gp(v);
	}
	v->gpr[GPR_RAX] = (u32)value;
	v->gpr[GPR_RDX] = value >> 32;
	return EXIT_ADVANCE;
}

enum exit_action exit_wrmsr(struct vcpu *v)
{
	u32 msr = (u32)v->gpr[GPR_RCX];
	u64 value = (u32)v->gpr[GPR_RAX] | v->gpr[GPR_RDX] << 32;
	if (!vcpu_write_msr(v, msr, value)) {
		log_limited(20, "%s: WRMSR %#x = %#lx: #GP", v->core.vm->cfg->name, msr, (unsigned long)value);
		return inject_gp(v);
	}
	return EXIT_ADVANCE;
}
