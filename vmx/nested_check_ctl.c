/*
 * VM-entry checks on the VMX controls (SDM 3C, Checks on VMX Controls): one row per sentence.
 *
 * Invariant: a vmcs12 that passes makes no control word of vmcs02 that the CPU refuses. Pure.
 */
#include "core/x86.h"
#include "vmx/nested_priv.h"

static bool ctl_ok(u64 value, struct vmx_ctl c) { return !(c.must & ~value) && !(value & ~(u64)c.may); }
static bool address_ok(const struct check_ctx *c, u64 a, u64 align)
{
	return IS_ALIGNED(a, align) && !(a >> c->caps->maxphyaddr);
}
/* An MSR area: 16-byte aligned, first and last byte inside the physical-address width. */
static bool area_ok(const struct check_ctx *c, u64 a, u64 count)
{
	return !count || (address_ok(c, a, 16) && !((a + count * 16 - 1) >> c->caps->maxphyaddr));
}

bool check_eptp(const struct nested_caps *c, u64 eptp)
{
	u64 type = eptp & BITS(2, 0);

	if (!(type == MEMTYPE_WB && (c->ept_vpid & EPT_CAP_WB)) && !(type == MEMTYPE_UC && (c->ept_vpid & EPT_CAP_UC)))
		return false;
	if (FIELD_GET(BITS(5, 3), eptp) != 3) /* only 4-level walks are offered */
		return false;
	if ((eptp & BIT(6)) && !(c->ept_vpid & EPT_CAP_AD))
		return false;
	return !(eptp & BITS(11, 7)) && !(eptp >> c->maxphyaddr);
}

/* ---- event injection (SDM 3C, Checks on VM-Entry Control Fields) ---- */
#define INJECT(f) ((f)->ENTRY_INTR_INFO & INTR_VALID)
static u64 type_of(const struct vmcs12 *f) { return FIELD_GET(INTR_TYPE, f->ENTRY_INTR_INFO); }
static u64 vector_of(const struct vmcs12 *f) { return FIELD_GET(INTR_VECTOR, f->ENTRY_INTR_INFO); }

static bool type_ok(const struct check_ctx *c)
{
	u64 type = type_of(c->f);

	return type != 1 && (type != INTR_OTHER || (c->caps->proc.may & PROC_MTF));
}

static bool vector_ok(const struct vmcs12 *f)
{
	switch (type_of(f)) {
	case INTR_NMI:
		return vector_of(f) == VEC_NMI;
	case INTR_HW_EXCEPTION:
		return vector_of(f) <= 31;
	case INTR_OTHER:
		return vector_of(f) == 0;
	default:
		return true;
	}
}

static bool pushes_error(u64 vector)
{
	return vector == VEC_DF || (vector >= VEC_TS && vector <= VEC_PF) || vector == VEC_AC;
}

static bool deliver_error_ok(const struct check_ctx *c)
{
	const struct vmcs12 *f = c->f;
	bool has = f->ENTRY_INTR_INFO & INTR_HAS_ERROR;
	bool protected = !proc2_12(f, PROC2_UNRESTRICTED) || (f->GUEST_CR0 & CR0_PE);

	if (!protected || type_of(f) != INTR_HW_EXCEPTION)
		return !has;
	if (c->caps->basic & BIT(56)) /* SDM 3D, Basic VMX Information: any vector with or without */
		return true;
	return has == pushes_error(vector_of(f));
}

static bool length_ok(const struct check_ctx *c)
{
	const struct vmcs12 *f = c->f;
	u64 type = type_of(f);

	if (type != INTR_SW_INT && type != INTR_PRIV_SW_EXCEPTION && type != INTR_SW_EXCEPTION)
		return true;
	return f->ENTRY_INSN_LEN <= 15 && (f->ENTRY_INSN_LEN || (c->caps->misc & BIT(30)));
}

static bool switches_eptp(const struct vmcs12 *f)
{
	return proc2_12(f, PROC2_VMFUNC) && (f->VMFUNC_CONTROLS & VMFUNC_EPTP_SWITCHING);
}

#define CTL_ROWS(R) \
	/* VM-Execution Control Fields */ \
	R(pin, "reserved bits of the pin-based controls", ctl_ok(f->PIN_CONTROLS, c->caps->pin)) \
	R(proc, "reserved bits of the primary processor-based controls", ctl_ok(f->PROC_CONTROLS, c->caps->proc)) \
	R(proc2, "reserved bits of the secondary processor-based controls", \
	  !proc12(f, PROC_SECONDARY) || ctl_ok(f->PROC2_CONTROLS, c->caps->proc2)) \
	R(cr3_targets, "CR3-target count", f->CR3_TARGET_COUNT <= FIELD_GET(BITS(24, 16), c->caps->misc)) \
	R(io_a, "address of I/O bitmap A", !proc12(f, PROC_IO_BITMAPS) || address_ok(c, f->IO_BITMAP_A, PAGE_SIZE)) \
	R(io_b, "address of I/O bitmap B", !proc12(f, PROC_IO_BITMAPS) || address_ok(c, f->IO_BITMAP_B, PAGE_SIZE)) \
	R(msr_bitmap, "address of the MSR bitmaps", !proc12(f, PROC_MSR_BITMAPS) || address_ok(c, f->MSR_BITMAP, PAGE_SIZE)) \
	R(vapic, "virtual-APIC address", !proc12(f, PROC_TPR_SHADOW) || address_ok(c, f->VIRTUAL_APIC_ADDR, PAGE_SIZE)) \
	R(tpr_bits, "TPR threshold bits 31:4", \
	  !proc12(f, PROC_TPR_SHADOW) || proc2_12(f, PROC2_VIRT_INT) || !(f->TPR_THRESHOLD >> 4)) \
	R(tpr_value, "TPR threshold not above VTPR", \
	  !proc12(f, PROC_TPR_SHADOW) || proc2_12(f, PROC2_VIRT_INT | PROC2_APIC_ACCESS) || \
	  (f->TPR_THRESHOLD & 0xf) <= c->vtpr >> 4) \
	R(vnmi, "virtual NMIs without NMI exiting", pin12(f, PIN_NMI) || !pin12(f, PIN_VIRTUAL_NMI)) \
	R(nmi_window, "NMI-window exiting without virtual NMIs", pin12(f, PIN_VIRTUAL_NMI) || !proc12(f, PROC_NMI_WINDOW)) \
	R(apic_access, "APIC-access address", !proc2_12(f, PROC2_APIC_ACCESS) || address_ok(c, f->APIC_ACCESS_ADDR, PAGE_SIZE)) \
	R(no_tpr_shadow, "APIC virtualisation without TPR shadow", \
	  proc12(f, PROC_TPR_SHADOW) || !proc2_12(f, PROC2_X2APIC | PROC2_APIC_REGS | PROC2_VIRT_INT)) \
	R(x2apic, "virtualised x2APIC mode with virtualised APIC accesses", \
	  !proc2_12(f, PROC2_X2APIC) || !proc2_12(f, PROC2_APIC_ACCESS)) \
	R(virt_int, "virtual-interrupt delivery without external-interrupt exiting", \
	  !proc2_12(f, PROC2_VIRT_INT) || pin12(f, PIN_EXT_INT)) \
	R(posted_virt, "posted interrupts without virtual-interrupt delivery", \
	  !pin12(f, PIN_POSTED_INT) || proc2_12(f, PROC2_VIRT_INT)) \
	R(posted_ack, "posted interrupts without acknowledge on exit", \
	  !pin12(f, PIN_POSTED_INT) || (f->EXIT_CONTROLS & EXIT_ACK_INT)) \
	R(posted_vector, "posted-interrupt notification vector", !pin12(f, PIN_POSTED_INT) || f->PI_NOTIFICATION_VECTOR <= 255) \
	R(posted_desc, "posted-interrupt descriptor address", !pin12(f, PIN_POSTED_INT) || address_ok(c, f->PI_DESC_ADDR, 64)) \
	R(vpid, "VPID 0", !proc2_12(f, PROC2_VPID) || f->VPID) \
	R(eptp, "EPTP", !proc2_12(f, PROC2_EPT) || check_eptp(c->caps, f->EPTP)) \
	R(unrestricted, "unrestricted guest without EPT", !proc2_12(f, PROC2_UNRESTRICTED) || proc2_12(f, PROC2_EPT)) \
	R(vmread_bitmap, "VMREAD-bitmap address", !proc2_12(f, PROC2_SHADOW_VMCS) || address_ok(c, f->VMREAD_BITMAP, PAGE_SIZE)) \
	R(vmwrite_bitmap, "VMWRITE-bitmap address", !proc2_12(f, PROC2_SHADOW_VMCS) || address_ok(c, f->VMWRITE_BITMAP, PAGE_SIZE)) \
	R(log_ept, "page-modification log without EPT", !proc2_12(f, PROC2_PML) || proc2_12(f, PROC2_EPT)) \
	R(log_addr, "page-modification log address", !proc2_12(f, PROC2_PML) || address_ok(c, f->PML_ADDR, PAGE_SIZE)) \
	R(mbe, "mode-based execute control without EPT", !proc2_12(f, PROC2_MBE) || proc2_12(f, PROC2_EPT)) \
	R(tsc_multiplier, "TSC multiplier 0", !proc2_12(f, PROC2_TSC_SCALING) || f->TSC_MULTIPLIER) \
	R(functions, "reserved bits of the VM-function controls", !proc2_12(f, PROC2_VMFUNC) || !(f->VMFUNC_CONTROLS & ~c->caps->vmfunc)) \
	R(switch_ept, "EPTP switching without EPT", !switches_eptp(f) || proc2_12(f, PROC2_EPT)) \
	R(eptp_list, "EPTP-list address", !switches_eptp(f) || address_ok(c, f->EPTP_LIST_ADDR, PAGE_SIZE)) \
	/* VM-Exit Control Fields */ \
	R(exit, "reserved bits of the VM-exit controls", ctl_ok(f->EXIT_CONTROLS, c->caps->exit)) \
	R(save_timer, "saving a preemption timer that is off", \
	  pin12(f, PIN_PREEMPTION_TIMER) || !(f->EXIT_CONTROLS & EXIT_SAVE_PREEMPTION)) \
	R(exit_store, "VM-exit MSR-store area", area_ok(c, f->EXIT_MSR_STORE_ADDR, f->EXIT_MSR_STORE_COUNT)) \
	R(exit_load, "VM-exit MSR-load area", area_ok(c, f->EXIT_MSR_LOAD_ADDR, f->EXIT_MSR_LOAD_COUNT)) \
	/* VM-Entry Control Fields */ \
	R(entry, "reserved bits of the VM-entry controls", ctl_ok(f->ENTRY_CONTROLS, c->caps->entry)) \
	R(entry_smm, "entry to SMM, or end of dual-monitor treatment, outside SMM", \
	  !(f->ENTRY_CONTROLS & (ENTRY_SMM | ENTRY_DUAL_MONITOR))) \
	R(inject_type, "type of the injected event", !INJECT(f) || type_ok(c)) \
	R(inject_vector, "vector of the injected event", !INJECT(f) || vector_ok(f)) \
	R(inject_error, "deliver-error-code bit of the injected event", !INJECT(f) || deliver_error_ok(c)) \
	R(inject_reserved, "reserved bits of the interruption information", !INJECT(f) || !(f->ENTRY_INTR_INFO & BITS(30, 12))) \
	R(inject_code, "error code of the injected event", \
	  !INJECT(f) || !(f->ENTRY_INTR_INFO & INTR_HAS_ERROR) || !(f->ENTRY_EXCEPTION_ERROR >> 16)) \
	R(inject_length, "instruction length of the injected event", !INJECT(f) || length_ok(c)) \
	R(entry_load, "VM-entry MSR-load area", area_ok(c, f->ENTRY_MSR_LOAD_ADDR, f->ENTRY_MSR_LOAD_COUNT))

#define ROW_FN(id, text, ...) \
	static bool holds_##id(const struct check_ctx *c) { const struct vmcs12 *f = c->f; return (__VA_ARGS__); }
CTL_ROWS(ROW_FN)

#define ROW_ENTRY(id, text, ...) { text, holds_##id, INSN_ERR_CONTROLS },
const struct check checks_ctl[] = { CTL_ROWS(ROW_ENTRY) };
const u32 nr_checks_ctl = ARRAY_SIZE(checks_ctl);

const struct check *checks_run(const struct check *rows, u32 n, const struct check_ctx *c)
{
	for (u32 i = 0; i < n; i++)
		if (!rows[i].holds(c))
			return &rows[i];
	return NULL;
}
