/*
 * Memory operands of VMX instructions of an L1: addressing, segments, its paging, faults (SDM 3C, Instruction-Information Field; SDM 3A,
 * Paging). The instruction is VMPTRST, which writes 8 bytes of ones, or VMCLEAR, which reads.
 */
#include "tests/unit/nested_machine.h"

#define GP FAULT(VEC_GP, 0)
#define SS FAULT(VEC_SS, 0)
#define PF(error) FAULT(VEC_PF, error)

/* ---- addressing of memory operands (SDM 3C, Table on the instruction-information field) ---- */
#define INFO(scale, size, seg) ((scale) | FIELD_PREP(BITS(9, 7), size) | FIELD_PREP(BITS(17, 15), seg))
#define INDEX(reg) FIELD_PREP(BITS(21, 18), reg)
#define NO_INDEX BIT(22)
#define BASE(reg) FIELD_PREP(BITS(26, 23), reg)
#define NO_BASE BIT(27)
enum { ES, CS, SEG_SS, DS, FS, GS };

/* VMPTRST there; what is expected, and where it must have written then. */
static void store(u64 info, u64 displacement, int want, u64 at)
{
	const u64 ones = ~0ull;

	if (want == SUCCEEDED)
		memset(l1_mem(at), 0, 8);
	SET(EXIT_INSN_INFO, info);
	SET(EXIT_QUALIFICATION, displacement);
	assert_int_equal(l1_run(exit_vmptrst), want);
	if (want == SUCCEEDED)
		assert_memory_equal(l1_mem(at), &ones, 8);
}

static void addressing_64(void **state)
{
	(void)state;
	l1_vmxon();
	vcpu.gpr[GPR_RSI] = 0x100;
	vcpu.gpr[GPR_RDI] = 0x4000;
	SET(GUEST_RSP, 0x4800);
	SET(GUEST_ES_BASE, BIT(40)); /* not used in 64-bit mode */
	SET(GUEST_FS_BASE, 0x1000);
	SET(GUEST_GS_BASE, 0x2000);
	store(INFO(3, 2, ES) | INDEX(GPR_RSI) | BASE(GPR_RDI), 8, SUCCEEDED, 0x4000 + 0x800 + 8);
	store(INFO(0, 2, DS) | INDEX(GPR_RSI) | NO_BASE, 0x5000, SUCCEEDED, 0x5100);
	store(INFO(0, 2, SEG_SS) | NO_INDEX | BASE(GPR_RSP), 0, SUCCEEDED, 0x4800);
	store(INFO(0, 2, FS) | NO_INDEX | BASE(GPR_RDI), 0, SUCCEEDED, 0x5000);
	store(INFO(0, 2, GS) | NO_INDEX | BASE(GPR_RDI), 0, SUCCEEDED, 0x6000);
	store(INFO(0, 2, 7) | NO_INDEX | NO_BASE, 0x5000, SUCCEEDED, 0x5000);
	vcpu.gpr[GPR_RDI] = 0x100004000;
	store(INFO(0, 1, DS) | NO_INDEX | BASE(GPR_RDI), 0, SUCCEEDED, 0x4000); /* 32-bit addressing */
	store(INFO(0, 2, DS) | NO_INDEX | NO_BASE, BIT(47), GP, 0);
	store(INFO(0, 2, DS) | NO_INDEX | NO_BASE, BIT(47) - 7, GP, 0);         /* its last byte */
	store(INFO(0, 2, SEG_SS) | NO_INDEX | NO_BASE, BIT(47), SS, 0);
	store(INFO(0, 2, DS) | NO_INDEX | NO_BASE, 0x5ffc, SUCCEEDED, 0x5ffc);  /* across a page boundary */
}

static void addressing_segments(void **state)
{
	(void)state;
	l1_vmxon();
	l1_in_protected_mode();
	SET(GUEST_DS_BASE, 0x1000);
	store(INFO(0, 1, DS) | NO_INDEX | NO_BASE, 0x4000, SUCCEEDED, 0x5000);
	store(INFO(0, 0, DS) | NO_INDEX | NO_BASE, 0x14000, SUCCEEDED, 0x5000); /* 16-bit addressing */
	SET(GUEST_DS_LIMIT, 0x4007);
	store(INFO(0, 1, DS) | NO_INDEX | NO_BASE, 0x4000, SUCCEEDED, 0x5000);
	store(INFO(0, 1, DS) | NO_INDEX | NO_BASE, 0x4001, GP, 0);
	SET(GUEST_SS_LIMIT, 0x4000);
	store(INFO(0, 1, SEG_SS) | NO_INDEX | NO_BASE, 0x4000, SS, 0);
	SET(GUEST_DS_AR, 0xc091); /* read-only data */
	store(INFO(0, 1, DS) | NO_INDEX | NO_BASE, 0x4000, GP, 0);
	SET(GUEST_DS_AR, 0xc09b); /* code */
	store(INFO(0, 1, DS) | NO_INDEX | NO_BASE, 0x4000, GP, 0);
	SET(GUEST_DS_AR, 0xc093 | SEG_AR_UNUSABLE);
	store(INFO(0, 1, DS) | NO_INDEX | NO_BASE, 0x4000, GP, 0);
	SET(GUEST_DS_AR, 0xc097); /* expand-down: above the limit */
	SET(GUEST_DS_LIMIT, 0x3fff);
	store(INFO(0, 1, DS) | NO_INDEX | NO_BASE, 0x4000, SUCCEEDED, 0x5000);
	SET(GUEST_DS_LIMIT, 0x4000);
	store(INFO(0, 1, DS) | NO_INDEX | NO_BASE, 0x4000, GP, 0);
	SET(GUEST_DS_AR, 0x8097); /* 16-bit expand-down: up to FFFFh */
	store(INFO(0, 1, DS) | NO_INDEX | NO_BASE, 0xfff9, GP, 0);
	/* reading: execute-only code, readable code */
	SET(GUEST_CS_LIMIT, 0xffffffff);
	SET(GUEST_CS_AR, 0xc099);
	*l1_word(0x5000) = L1_VMCS;
	SET(EXIT_INSN_INFO, INFO(0, 1, CS) | NO_INDEX | NO_BASE);
	SET(EXIT_QUALIFICATION, 0x5000);
	assert_int_equal(l1_run(exit_vmclear), GP);
	SET(GUEST_CS_AR, 0xc09b);
	assert_int_equal(l1_run(exit_vmclear), SUCCEEDED);
}

/* ---- L1's paging (SDM 3A, Paging) ---- */
static void paging_4_level(void **state)
{
	u64 *pd = l1_word(0x12000), *pt = l1_word(0x13000), *pml4 = l1_word(L1_PML4), *pdpt = l1_word(0x11000);
	u64 info = INFO(0, 2, DS) | NO_INDEX | NO_BASE, at = SIZE_1G;

	(void)state;
	l1_vmxon();
	pdpt[1] = 0x12000 | 3;
	pd[0] = 0x13000 | 3;
	pt[0] = 0x5000 | 3;
	store(info, at + 8, SUCCEEDED, 0x5008);
	assert_int_equal(pt[0], 0x5000 | 3 | BIT(5) | BIT(6)); /* accessed, dirty */
	assert_int_equal(pd[0], 0x13000 | 3 | BIT(5));
	pt[0] = 0x5000 | 3;
	*l1_word(0x5000) = L1_VMCS;
	SET(EXIT_INSN_INFO, info);
	SET(EXIT_QUALIFICATION, at);
	assert_int_equal(l1_run(exit_vmclear), SUCCEEDED);
	assert_int_equal(pt[0], 0x5000 | 3 | BIT(5)); /* read: not dirty */
	pt[0] = 0x5000 | 1;
	store(info, at, PF(3), 0); /* write protection: CR0.WP */
	SET(GUEST_CR0, HW(GUEST_CR0) & ~CR0_WP);
	store(info, at, SUCCEEDED, 0x5000);
	SET(GUEST_CR0, HW(GUEST_CR0) | CR0_WP);
	pt[0] = 0x5000 | 7, pd[0] |= 4, pdpt[1] |= 4, pml4[0] |= 4; /* a user page */
	store(info, at, SUCCEEDED, 0x5000);
	SET(GUEST_CR4, HW(GUEST_CR4) | CR4_SMAP);
	store(info, at, PF(3), 0);
	SET(GUEST_RFLAGS, HW(GUEST_RFLAGS) | BIT(18)); /* AC */
	store(info, at, SUCCEEDED, 0x5000);
	SET(GUEST_RFLAGS, RFLAGS_FIXED);
	pt[0] = 0x5000 | 3 | BIT(39); /* beyond the physical-address width */
	store(info, at, PF(0xb), 0);
	pt[0] = 0;
	store(info, at, PF(2), 0);
	assert_int_equal(model_cr2, at);
	assert_int_equal(vcpu.cr2, at);
	store(info, at - 4, PF(2), 0); /* the second page only */
	assert_int_equal(model_cr2, at);
	pml4[0] |= BIT(7);
	store(info, at, PF(0xb), 0);
	pml4[0] &= ~BIT(7);
	pd[0] = 0x600000 | 0x83; /* 2 MiB */
	store(info, at + 0x12340, SUCCEEDED, 0x612340);
	pdpt[1] = L1_RAM | 3; /* a table where there is no RAM */
	store(info, at, PF(2), 0);
	pdpt[1] = L1_RAM | 0x83;
	store(info, at, PF(0xb), 0); /* 1 GiB: address bits 29:13 are reserved */
	pdpt[1] = 0x83;
	store(info, at + 0x5000, SUCCEEDED, 0x5000);
	pdpt[1] = 0x12000 | 3;
	pd[0] = 0x613000 | 0x83;
	store(info, at, PF(0xb), 0); /* 2 MiB: bits 20:13 */
	pd[0] = 0x600000 | 0x83 | BIT(62); /* ignored, or a protection key */
	store(info, at, SUCCEEDED, 0x600000);
	pd[0] = 0x600000 | 0x83 | BIT(63); /* execute-disable, without EFER.NXE */
	store(info, at, PF(0xb), 0);
	SET(GUEST_EFER, HW(GUEST_EFER) | EFER_NXE);
	store(info, at, SUCCEEDED, 0x600000);
}

/* Five levels. */
static void paging_5_level(void **state)
{
	(void)state;
	l1_vmxon();
	*l1_word(0x14000) = L1_PML4 | 3;
	SET(GUEST_CR4, HW(GUEST_CR4) | CR4_LA57);
	SET(CR4_MASK, 0);
	SET(GUEST_CR3, 0x14000);
	store(INFO(0, 2, DS) | NO_INDEX | NO_BASE, 0x5000, SUCCEEDED, 0x5000);
	assert_int_equal(*l1_word(0x14000), L1_PML4 | 3 | BIT(5));
}

static void l1_paging_32(u64 cr4, u64 cr3)
{
	l1_in_protected_mode();
	SET(GUEST_CR0, CR0_PE | CR0_PG | CR0_NE | CR0_WP);
	SET(CR0_READ_SHADOW, CR0_PE | CR0_PG | CR0_NE | CR0_WP);
	SET(GUEST_CR4, CR4_VMXE | cr4);
	SET(CR4_READ_SHADOW, CR4_VMXE | cr4);
	SET(GUEST_CR3, cr3);
}

static void paging_pae(void **state)
{
	u64 *pd = l1_word(0x13000), *pt = l1_word(0x14000), info = INFO(0, 1, DS) | NO_INDEX | NO_BASE;

	(void)state;
	l1_vmxon();
	l1_paging_32(CR4_PAE, 0x12020);
	SET(GUEST_PDPTE3, 0x13000 | 1); /* the processor's, whatever is in memory */
	pd[1] = 0x14000 | 3;
	pt[5] = 0x5000 | 3;
	store(info, 0xc0205010, SUCCEEDED, 0x5010);
	assert_int_equal(pt[5], 0x5000 | 3 | BIT(5) | BIT(6));
	pd[2] = 0x600000 | 0x83;
	store(info, 0xc0400020, SUCCEEDED, 0x600020);
	pd[2] = 0x600000 | 0x83 | BIT(62);
	store(info, 0xc0400020, PF(0xb), 0);
	pd[2] = 0x602000 | 0x83;
	store(info, 0xc0400020, PF(0xb), 0);
	store(info, 0x1000, PF(2), 0);
}

static void paging_32_bit(void **state)
{
	u32 *pd = l1_mem(0x12000), *pt = l1_mem(0x13000);
	u64 info = INFO(0, 1, DS) | NO_INDEX | NO_BASE;

	(void)state;
	l1_vmxon();
	l1_paging_32(CR4_PSE, 0x12000);
	pd[1] = 0x13000 | 3;
	pt[2] = 0x5000 | 3;
	store(info, 0x402010, SUCCEEDED, 0x5010);
	assert_int_equal(pt[2], 0x5000 | 3 | BIT(5) | BIT(6));
	assert_int_equal(pd[1], 0x13000 | 3 | BIT(5));
	pd[2] = 0x400000 | 0x83; /* 4 MiB */
	store(info, 0x800000 + 0x200020, SUCCEEDED, 0x600020);
	pd[2] = 0x400000 | 0x83 | BIT(13); /* PSE-36: bit 32 of the address; no RAM there, so nothing is written */
	SET(EXIT_INSN_INFO, info);
	SET(EXIT_QUALIFICATION, 0x800000);
	assert_int_equal(l1_run(exit_vmptrst), SUCCEEDED);
	assert_int_equal(*l1_word(0x400000), 0);
	*l1_word(0x5000) = 0;
	assert_int_equal(l1_run(exit_vmptrld), FAILED_INVALID); /* reads ones */
	pd[2] = 0x400000 | 0x83 | BIT(21); /* reserved */
	store(info, 0x800000, PF(0xb), 0);
	SET(GUEST_CR4, CR4_VMXE);
	SET(CR4_READ_SHADOW, CR4_VMXE);
	pd[2] = 0x13000 | 3 | 0x80; /* without PSE no large page */
	store(info, 0x802010, SUCCEEDED, 0x5010);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, machine_full, machine_stop)
	const struct CMUnitTest tests[] = {
		TEST(addressing_64), TEST(addressing_segments), TEST(paging_4_level), TEST(paging_5_level), TEST(paging_pae), TEST(paging_32_bit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
