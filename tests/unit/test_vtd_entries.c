/*
 * VT-d entries and descriptors against the bit positions of the specification, written here as plain numbers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "iommu/vtd_regs.h"

u64 host_direct_map_base;

#define CAP_QEMU 0x00d2008c222f0606ull /* intel-iommu as measured */
#define assert_entry(e, low, high) do { \
	struct vtd_entry e_ = (e); \
	assert_int_equal(e_.lo, low); \
	assert_int_equal(e_.hi, high); \
} while (0)

static void root_and_context(void **state)
{
	(void)state;
	assert_entry(vtd_root_entry(HPA(0x123456000)), 0x123456001, 0);
	/* AW 1 = 39 bits, 2 = 48 bits, 3 = 57 bits; domain id in bits 87:72 */
	assert_entry(vtd_context_entry(HPA(0xabc000), 3, 1), 0xabc001, 0x101);
	assert_entry(vtd_context_entry(HPA(0xabc000), 4, 0x1234), 0xabc001, 0x123402);
	assert_entry(vtd_context_entry(HPA(0xabc000), 5, 0xffff), 0xabc001, 0xffff03);
	/* stray low bits of an address reach no field */
	assert_entry(vtd_root_entry(HPA(0x5fff)), 0x5001, 0);
	assert_entry(vtd_context_entry(HPA(0x5fff), 4, 0), 0x5001, 2);
}

static void second_level(void **state)
{
	const struct ptab_fmt f = VTD_SL_FMT;
	(void)state;
	assert_int_equal(f.present, 3);
	assert_int_equal(f.table_flags, 3);
	assert_int_equal(f.page_size, 0x80);
	assert_int_equal(f.addr_mask, 0x000ffffffffff000);
	assert_int_equal(VTD_SL_SNOOP, 0x800);
}

static void interrupt_entries(void **state)
{
	const rid_t vf = RID(1, 0x10, 0);
	(void)state;
	/* P 0, V 23:16, DST 63:32 (xAPIC: 47:40), SID 79:64, SVT 83:82 = 01b; FPD DM RH TM DLM IM SQ zero */
	assert_entry(vtd_irte(vf, 5, 0x41, false), 0x0000050000410001, 0x40180);
	assert_entry(vtd_irte(vf, 0x12345678, 0x41, true), 0x1234567800410001, 0x40180);
	assert_entry(vtd_irte((rid_t){ 0xffff }, 0xff, 0xff, false), 0x0000ff0000ff0001, 0x4ffff);
	/* an id that the format cannot hold does not spill over */
	assert_int_equal(vtd_irte(vf, 0x1ff, 0, false).lo >> 48, 0);
	assert_int_equal(vtd_irta(HPA(0x1000000), 8, false), 0x1000007);
	assert_int_equal(vtd_irta(HPA(0x1000000), 16, true), 0x100080f);
}

static void messages(void **state)
{
	(void)state;
	/* handle 14:0 in 19:5, format in 4, SHV in 3, handle 15 in 2 */
	assert_int_equal(vtd_msi_remappable(0), 0xfee00010);
	assert_int_equal(vtd_msi_remappable(5), 0xfee000b0);
	assert_int_equal(vtd_msi_remappable(0x7fff), 0xfeeffff0);
	assert_int_equal(vtd_msi_remappable(0x8001), 0xfee00034);
	assert_int_equal(vtd_msi_direct(0x12), 0xfee12000);
	assert_int_equal(vtd_msi_direct(0x134), 0xfee34000);
	assert_int_equal(vtd_msi_direct_upper(0x134), 0x100);
	assert_int_equal(vtd_msi_direct_upper(0x34), 0);
}

static void descriptors(void **state)
{
	const u64 no_drain = 0;
	(void)state;
	assert_entry(vtd_inv_context_all(), 0x11, 0);
	assert_entry(vtd_inv_context_device(0x1234, RID(1, 0x10, 2)), 0x0000018212340031, 0);
	assert_entry(vtd_inv_iotlb_all(no_drain), 0x12, 0);
	assert_entry(vtd_inv_iotlb_all(CAP_QEMU), 0xd2, 0);
	assert_entry(vtd_inv_iotlb_domain(no_drain, 0xabcd), 0xabcd0022, 0);
	assert_entry(vtd_inv_iotlb_domain(CAP_QEMU, 7), 0x700e2, 0);
	assert_entry(vtd_inv_iotlb_pages(CAP_QEMU, 7, IOVA(0x40001000), 0), 0x700f2, 0x40001000);
	assert_entry(vtd_inv_iotlb_pages(no_drain, 7, IOVA(0x40000fff), 18), 0x70032, 0x40000012);
	assert_entry(vtd_inv_iec_all(), 4, 0);
	assert_entry(vtd_inv_iec_one(0x123), 0x0000012300000014, 0);
	assert_entry(vtd_inv_wait(HPA(0x7654321c), 0x89abcdef, false), 0x89abcdef00000025, 0x7654321c);
	assert_entry(vtd_inv_wait(HPA(0x1000), 1, true), 0x0000000100000065, 0x1000);
}

static void capabilities(void **state)
{
	(void)state;
	assert_int_equal(vtd_cap_width(CAP_QEMU), 48);
	assert_int_equal(vtd_cap_domains(CAP_QEMU), 65536);
	assert_int_equal(vtd_cap_domains(0), 16);
	assert_true(vtd_cap_levels(CAP_QEMU, 3));
	assert_true(vtd_cap_levels(CAP_QEMU, 4));
	assert_false(vtd_cap_levels(CAP_QEMU, 5));
	assert_int_equal(vtd_frcd_offset(CAP_QEMU, 0), 0x220);
	assert_int_equal(vtd_frcd_offset(CAP_QEMU, 2), 0x240);
	assert_int_equal(vtd_frcd_count(CAP_QEMU), 1);
	assert_int_equal(vtd_frcd_count(CAP_QEMU | 0x700ull << 32), 8);
	assert_int_equal(FIELD_GET(VTD_CAP_MAMV, CAP_QEMU), 18);
	assert_true(CAP_QEMU & VTD_CAP_PSI && CAP_QEMU & VTD_CAP_SLLPS_2M && CAP_QEMU & VTD_CAP_SLLPS_1G);
	assert_false(CAP_QEMU & (VTD_CAP_CM | VTD_CAP_RWBF | VTD_CAP_PLMR | VTD_CAP_PHMR));
	assert_true(0xd2008c222f0686ull & VTD_CAP_CM);
	assert_true(0xf00f4aull & VTD_ECAP_QI && 0xf00f4aull & VTD_ECAP_IR);
	assert_false(0xf00f4aull & (VTD_ECAP_C | VTD_ECAP_EIM | VTD_ECAP_SC));
	assert_true(0xf00f5eull & VTD_ECAP_EIM);
}

static void registers(void **state)
{
	(void)state;
	assert_int_equal(VTD_GCMD, 0x18);
	assert_int_equal(VTD_GSTS, 0x1c);
	assert_int_equal(VTD_RTADDR, 0x20);
	assert_int_equal(VTD_FSTS, 0x34);
	assert_int_equal(VTD_FECTL, 0x38);
	assert_int_equal(VTD_PMEN, 0x64);
	assert_int_equal(VTD_IQH, 0x80);
	assert_int_equal(VTD_IQT, 0x88);
	assert_int_equal(VTD_IQA, 0x90);
	assert_int_equal(VTD_IRTA, 0xb8);
	/* TE QIE IRE CFI; everything else in GCMD is one-shot or not ours */
	assert_int_equal(VTD_GSTS_ENABLES, 0x86800000);
	assert_int_equal(VTD_FSTS_QI_ERRORS, 0x70);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(root_and_context), cmocka_unit_test(second_level), cmocka_unit_test(interrupt_entries),
		cmocka_unit_test(messages), cmocka_unit_test(descriptors), cmocka_unit_test(capabilities), cmocka_unit_test(registers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
