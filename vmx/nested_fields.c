/*
 * The fields of a vmcs12 by encoding (SDM 3D, Field Encoding in VMCS).
 *
 * Invariant: a field exists for L1 exactly if a control that L1 is offered makes use of it; everything else is
 * "unsupported VMCS component". Pure: no VMCS is touched.
 */
#include "vmx/nested_priv.h"

/* Bits that no encoding has: 12, index 9:6, and everything above 14. */
#define FIELD_RESERVED (~0x7fffull | BIT(12) | BITS(9, 6))

/* Offset in struct vmcs12. */
static const u16 place[FIELD_SLOTS] = {
#define FIELD_PLACE(name, enc) [FIELD_SLOT(enc)] = offsetof(struct vmcs12, name),
	VMCS_FIELDS(FIELD_PLACE)
#undef FIELD_PLACE
};

/* Fields that come and go with a control (SDM 3D, Appendix B, footnotes). */
enum word { W_PIN, W_PROC, W_PROC2, W_EXIT, W_ENTRY };
struct condition { u16 first, last; u8 word; u8 bit; };
#define BIT_NR(mask) ((u8)__builtin_ctzll(mask))
static const struct condition conditions[] = {
	{ VMCS_VPID, VMCS_VPID, W_PROC2, BIT_NR(PROC2_VPID) },
	{ VMCS_PI_NOTIFICATION_VECTOR, VMCS_PI_NOTIFICATION_VECTOR, W_PIN, BIT_NR(PIN_POSTED_INT) },
	{ VMCS_EPTP_INDEX, VMCS_EPTP_INDEX, W_PROC2, BIT_NR(PROC2_EPT_VE) },
	{ VMCS_GUEST_INTERRUPT_STATUS, VMCS_GUEST_INTERRUPT_STATUS, W_PROC2, BIT_NR(PROC2_VIRT_INT) },
	{ VMCS_PML_INDEX, VMCS_PML_INDEX, W_PROC2, BIT_NR(PROC2_PML) },
	{ VMCS_MSR_BITMAP, VMCS_MSR_BITMAP, W_PROC, BIT_NR(PROC_MSR_BITMAPS) },
	{ VMCS_PML_ADDR, VMCS_PML_ADDR, W_PROC2, BIT_NR(PROC2_PML) },
	{ VMCS_VIRTUAL_APIC_ADDR, VMCS_VIRTUAL_APIC_ADDR, W_PROC, BIT_NR(PROC_TPR_SHADOW) },
	{ VMCS_APIC_ACCESS_ADDR, VMCS_APIC_ACCESS_ADDR, W_PROC2, BIT_NR(PROC2_APIC_ACCESS) },
	{ VMCS_PI_DESC_ADDR, VMCS_PI_DESC_ADDR, W_PIN, BIT_NR(PIN_POSTED_INT) },
	{ VMCS_VMFUNC_CONTROLS, VMCS_VMFUNC_CONTROLS, W_PROC2, BIT_NR(PROC2_VMFUNC) },
	{ VMCS_EPTP, VMCS_EPTP, W_PROC2, BIT_NR(PROC2_EPT) },
	{ VMCS_EOI_EXIT_0, VMCS_EOI_EXIT_3, W_PROC2, BIT_NR(PROC2_VIRT_INT) },
	{ VMCS_EPTP_LIST_ADDR, VMCS_EPTP_LIST_ADDR, W_PROC2, BIT_NR(PROC2_VMFUNC) },
	{ VMCS_VMREAD_BITMAP, VMCS_VMWRITE_BITMAP, W_PROC2, BIT_NR(PROC2_SHADOW_VMCS) },
	{ VMCS_VE_INFO_ADDR, VMCS_VE_INFO_ADDR, W_PROC2, BIT_NR(PROC2_EPT_VE) },
	{ VMCS_XSS_EXITING_BITMAP, VMCS_XSS_EXITING_BITMAP, W_PROC2, BIT_NR(PROC2_XSAVES) },
	{ VMCS_ENCLS_EXITING_BITMAP, VMCS_ENCLS_EXITING_BITMAP, W_PROC2, BIT_NR(PROC2_ENCLS) },
	{ VMCS_SPP_TABLE_PTR, VMCS_SPP_TABLE_PTR, W_PROC2, 23 },
	{ VMCS_TSC_MULTIPLIER, VMCS_TSC_MULTIPLIER, W_PROC2, BIT_NR(PROC2_TSC_SCALING) },
	{ VMCS_GUEST_PHYSICAL_ADDR, VMCS_GUEST_PHYSICAL_ADDR, W_PROC2, BIT_NR(PROC2_EPT) },
	{ VMCS_GUEST_PAT, VMCS_GUEST_PAT, W_ENTRY, BIT_NR(ENTRY_LOAD_PAT) },
	{ VMCS_GUEST_EFER, VMCS_GUEST_EFER, W_ENTRY, BIT_NR(ENTRY_LOAD_EFER) },
	{ VMCS_GUEST_PERF_GLOBAL_CTRL, VMCS_GUEST_PERF_GLOBAL_CTRL, W_ENTRY, BIT_NR(ENTRY_LOAD_PERF_GLOBAL) },
	{ VMCS_GUEST_PDPTE0, VMCS_GUEST_PDPTE3, W_PROC2, BIT_NR(PROC2_EPT) },
	{ VMCS_GUEST_BNDCFGS, VMCS_GUEST_BNDCFGS, W_ENTRY, 16 },
	{ VMCS_HOST_PAT, VMCS_HOST_PAT, W_EXIT, BIT_NR(EXIT_LOAD_PAT) },
	{ VMCS_HOST_EFER, VMCS_HOST_EFER, W_EXIT, BIT_NR(EXIT_LOAD_EFER) },
	{ VMCS_HOST_PERF_GLOBAL_CTRL, VMCS_HOST_PERF_GLOBAL_CTRL, W_EXIT, BIT_NR(EXIT_LOAD_PERF_GLOBAL) },
	{ VMCS_TPR_THRESHOLD, VMCS_TPR_THRESHOLD, W_PROC, BIT_NR(PROC_TPR_SHADOW) },
	{ VMCS_PROC2_CONTROLS, VMCS_PROC2_CONTROLS, W_PROC, BIT_NR(PROC_SECONDARY) },
	{ VMCS_PLE_GAP, VMCS_PLE_WINDOW, W_PROC2, BIT_NR(PROC2_PAUSE_LOOP) },
	{ VMCS_PREEMPTION_TIMER, VMCS_PREEMPTION_TIMER, W_PIN, BIT_NR(PIN_PREEMPTION_TIMER) },
};

static u32 offered(const struct nested_caps *c, u8 word)
{
	switch (word) {
	case W_PIN:
		return c->pin.may;
	case W_PROC:
		return c->proc.may;
	case W_PROC2:
		return c->proc2.may;
	case W_EXIT:
		return c->exit.may;
	default:
		return c->entry.may;
	}
}

static bool exists(const struct nested_caps *c, u32 encoding)
{
	for (u32 i = 0; i < ARRAY_SIZE(conditions); i++)
		if (encoding >= conditions[i].first && encoding <= conditions[i].last)
			return offered(c, conditions[i].word) & BIT(conditions[i].bit);
	return true;
}

u32 vmcs12_fields_make(struct nested_caps *c)
{
	static const u16 all[] = {
#define FIELD_ENC(name, enc) enc,
		VMCS_FIELDS(FIELD_ENC)
#undef FIELD_ENC
	};
	u32 highest = 0;

	for (u32 i = 0; i < ARRAY_SIZE(all); i++) {
		if (!exists(c, all[i]))
			continue;
		c->fields[FIELD_SLOT(all[i]) / 64] |= BIT(FIELD_SLOT(all[i]) % 64);
		highest = MAX(highest, (u32)FIELD_GET(VMCS_ENC_INDEX, all[i]));
	}
	return highest;
}

u64 *vmcs12_field(struct vmcs12 *f, const struct nested_caps *c, u64 encoding)
{
	if ((encoding & FIELD_RESERVED) || ((encoding & VMCS_ENC_HIGH) && field_width(encoding) != 1))
		return NULL;
	u64 slot = FIELD_SLOT(encoding);
	if (!(c->fields[slot / 64] & BIT(slot % 64)))
		return NULL;
	return (u64 *)((u8 *)f + place[slot]);
}

u64 vmcs12_read(struct vmcs12 *f, const struct nested_caps *c, u64 encoding)
{
	const u64 *p = vmcs12_field(f, c, encoding);

	ASSERT(p);
	return encoding & VMCS_ENC_HIGH ? *p >> 32 : *p;
}

void vmcs12_write(struct vmcs12 *f, const struct nested_caps *c, u64 encoding, u64 value)
{
	static const u64 mask[4] = { 0xffff, ~0ull, 0xffffffff, ~0ull };
	u64 *p = vmcs12_field(f, c, encoding);

	ASSERT(p);
	if (encoding & VMCS_ENC_HIGH)
		*p = (u32)*p | value << 32;
	else
		*p = value & mask[field_width(encoding)];
}
