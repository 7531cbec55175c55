/*
 * VMCS field encodings: all 32,768 of them, existence by capability, widths; and the capability MSRs.
 */
#include "tests/unit/nested_hw.h"

struct vmx_caps vmx_caps;

static const struct { const char *name; u16 enc; } named[] = {
#define NAMED(name, enc) { #name, enc },
	VMCS_FIELDS(NAMED)
#undef NAMED
};

/* Never offered, whatever the CPU has. */
static const u16 hidden[] = {
	VMCS_EPTP_INDEX, VMCS_VE_INFO_ADDR, VMCS_ENCLS_EXITING_BITMAP, VMCS_SPP_TABLE_PTR, VMCS_GUEST_PERF_GLOBAL_CTRL, VMCS_GUEST_BNDCFGS, VMCS_HOST_PERF_GLOBAL_CTRL,
};

static bool is_hidden(u64 enc)
{
	for (u32 i = 0; i < ARRAY_SIZE(hidden); i++)
		if (hidden[i] == enc)
			return true;
	return false;
}

static bool expected(u64 enc)
{
	u64 full = field_width(enc) == 1 ? enc & ~VMCS_ENC_HIGH : enc;

	for (u32 i = 0; i < ARRAY_SIZE(named); i++)
		if (named[i].enc == full)
			return !is_hidden(full);
	return false;
}

static void every_encoding(void **state)
{
	struct nested_caps c = full_caps();
	struct vmcs12 f = { 0 };
	(void)state;

	for (u64 enc = 0; enc < 0x8000; enc++) {
		const u64 *p = vmcs12_field(&f, &c, enc);
		if (!!p != expected(enc))
			fail_msg("encoding %#lx: %s", (unsigned long)enc, p ? "exists" : "missing");
	}
}

static void beyond_15_bits(void **state)
{
	struct nested_caps c = full_caps();
	struct vmcs12 f = { 0 };
	(void)state;

	for (u32 bit = 15; bit < 64; bit++)
		assert_null(vmcs12_field(&f, &c, VMCS_GUEST_RIP | BIT(bit)));
}

/* Every field has a place of its own, and keeps exactly its width. */
static void write_and_read(void **state)
{
	static const u64 mask[4] = { 0xffff, ~0ull, 0xffffffff, ~0ull };
	struct nested_caps c = full_caps();
	struct vmcs12 f = { 0 };
	(void)state;

	for (u32 i = 0; i < ARRAY_SIZE(named); i++)
		if (vmcs12_field(&f, &c, named[i].enc))
			vmcs12_write(&f, &c, named[i].enc, 0x1234567800000000ull * (i + 1) + 0x01010101u * (i + 1));
	for (u32 i = 0; i < ARRAY_SIZE(named); i++) {
		u64 wrote = 0x1234567800000000ull * (i + 1) + 0x01010101u * (i + 1);
		if (vmcs12_field(&f, &c, named[i].enc) && vmcs12_read(&f, &c, named[i].enc) != (wrote & mask[field_width(named[i].enc)]))
			fail_msg("%s does not keep its value", named[i].name);
	}
}

static void high_half(void **state)
{
	struct nested_caps c = full_caps();
	struct vmcs12 f = { 0 };
	(void)state;

	vmcs12_write(&f, &c, VMCS_TSC_OFFSET, 0x1111111122222222ull);
	vmcs12_write(&f, &c, VMCS_TSC_OFFSET | VMCS_ENC_HIGH, 0xffffffff33333333ull);
	assert_int_equal(f.TSC_OFFSET, 0x3333333322222222ull);
	assert_int_equal(vmcs12_read(&f, &c, VMCS_TSC_OFFSET | VMCS_ENC_HIGH), 0x33333333);
	vmcs12_write(&f, &c, VMCS_TSC_OFFSET, 5);
	assert_int_equal(f.TSC_OFFSET, 5);
}

static void exists_with_its_control(void **state)
{
	static const struct { u16 enc; u32 pin, proc, proc2, exit, entry; } without[] = {
		{ VMCS_VPID, 0, 0, PROC2_VPID, 0, 0 }, { VMCS_PI_DESC_ADDR, PIN_POSTED_INT, 0, 0, 0, 0 },
		{ VMCS_GUEST_INTERRUPT_STATUS, 0, 0, PROC2_VIRT_INT, 0, 0 }, { VMCS_EOI_EXIT_2, 0, 0, PROC2_VIRT_INT, 0, 0 },
		{ VMCS_TPR_THRESHOLD, 0, PROC_TPR_SHADOW, 0, 0, 0 }, { VMCS_EPTP, 0, 0, PROC2_EPT, 0, 0 },
		{ VMCS_GUEST_PDPTE3, 0, 0, PROC2_EPT, 0, 0 }, { VMCS_PREEMPTION_TIMER, PIN_PREEMPTION_TIMER, 0, 0, 0, 0 },
		{ VMCS_HOST_EFER, 0, 0, 0, EXIT_LOAD_EFER, 0 }, { VMCS_GUEST_EFER, 0, 0, 0, 0, ENTRY_LOAD_EFER },
	};
	struct vmcs12 f = { 0 };
	(void)state;

	for (u32 i = 0; i < ARRAY_SIZE(without); i++) {
		struct vmx_caps hw = full_hw();
		struct nested_caps c;
		hw.pin.may &= ~without[i].pin;
		hw.proc.may &= ~without[i].proc;
		hw.proc2.may &= ~without[i].proc2;
		hw.use_proc2 &= ~without[i].proc2;
		hw.exit.may &= ~without[i].exit;
		hw.entry.may &= ~without[i].entry;
		hw.posted = hw.pin.may & PIN_POSTED_INT;
		nested_caps_make(&c, &hw, 39);
		if (vmcs12_field(&f, &c, without[i].enc))
			fail_msg("%#x exists without its control", without[i].enc);
	}
}

/* ---- capability MSRs ---- */
static u64 cap(const struct nested_caps *c, u32 msr)
{
	u64 v = 0;
	assert_true(nested_cap_msr(c, msr, &v));
	return v;
}

static void capability_msrs(void **state)
{
	struct nested_caps c = full_caps();
	u64 v;
	(void)state;

	assert_int_equal(cap(&c, MSR_VMX_BASIC) & BITS(31, 0), NESTED_REVISION);
	assert_int_equal(FIELD_GET(BITS(44, 32), c.basic), 4096);
	assert_true(cap(&c, MSR_VMX_BASIC) & VMX_BASIC_TRUE);
	/* Each plain MSR asks for the whole default1 class; nothing that must be one may not be one. */
	assert_int_equal((u32)cap(&c, MSR_VMX_PROCBASED), 0x0401e172);
	assert_int_equal((u32)cap(&c, MSR_VMX_TRUE_PROCBASED), 0x04006172);
	assert_int_equal((u32)cap(&c, MSR_VMX_EXIT), 0x00036dff);
	assert_int_equal((u32)cap(&c, MSR_VMX_TRUE_EXIT), 0x00036dfb);
	assert_int_equal((u32)cap(&c, MSR_VMX_ENTRY), 0x000011ff);
	for (u32 msr = MSR_VMX_PINBASED; msr <= MSR_VMX_ENTRY; msr++)
		assert_int_equal((u32)cap(&c, msr) & ~(cap(&c, msr) >> 32), 0);
	u64 extras = PROC2_PML | PROC2_VMFUNC | PROC2_TSC_SCALING | PROC2_MBE | PROC2_SHADOW_VMCS | PROC2_XSAVES;
	assert_int_equal(cap(&c, MSR_VMX_PROCBASED2) >> 32 & (extras | PROC2_EPT_VE | PROC2_ENCLS), extras);
	assert_true(cap(&c, MSR_VMX_EPT_VPID) & EPT_CAP_AD);
	assert_int_equal(cap(&c, MSR_VMX_MISC) & BITS(8, 6), BIT(6) | BIT(8)); /* HLT, wait-for-SIPI */
	assert_int_equal(FIELD_GET(BITS(9, 1), cap(&c, MSR_VMX_VMCS_ENUM)), 25);
	assert_int_equal(cap(&c, MSR_VMX_VMFUNC), VMFUNC_EPTP_SWITCHING);
	assert_false(nested_cap_msr(&c, MSR_VMX_VMFUNC + 1, &v));
	assert_false(nested_cap_msr(&c, MSR_VMX_BASIC - 1, &v));
}

/* Offered is never more than the CPU has. */
static void capabilities_shrink(void **state)
{
	struct vmx_caps hw = full_hw();
	struct nested_caps c;
	(void)state;

	hw.proc2.may = PROC2_EPT;
	hw.use_proc2 = PROC2_EPT;
	hw.misc = 0;
	hw.posted = false;
	hw.exit.must |= EXIT_SAVE_DEBUG;
	nested_caps_make(&c, &hw, 36);
	assert_int_equal(c.proc2.may, PROC2_EPT);
	assert_int_equal(c.ept_vpid & EPT_CAP_INVVPID, 0);
	assert_int_equal(c.pin.may & PIN_POSTED_INT, 0);
	assert_int_equal(c.misc & BITS(8, 6), BIT(8)); /* is ours alone */
	assert_true(c.exit.must & EXIT_SAVE_DEBUG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_encoding), cmocka_unit_test(beyond_15_bits), cmocka_unit_test(write_and_read),
		cmocka_unit_test(high_half), cmocka_unit_test(exists_with_its_control), cmocka_unit_test(capability_msrs),
		cmocka_unit_test(capabilities_shrink),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
