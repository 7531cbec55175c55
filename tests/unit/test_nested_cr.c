/*
 * CR0, CR3, CR4 and CR8 of an L2 (SDM 3C, Changes to Instruction Behavior in VMX Non-Root Operation; Guest/Host Masks and Read Shadows), on the
 * whole nested engine: what exits to L1, and what L2 then has and reads where it does not.
 */
#include "tests/unit/nested_machine.h"

#define WRITE(name, value) assert_int_equal(l1_write_field(VMCS_##name, value), SUCCEEDED)
#define GP_INFO (INTR_VALID | FIELD_PREP(INTR_TYPE, INTR_HW_EXCEPTION) | INTR_HAS_ERROR | VEC_GP)
enum { TO, FROM, CLTS, LMSW };

static u64 access(u32 type, u32 cr, u64 source) { return cr | type << 4 | (type == LMSW ? source << 16 : GPR_RDX << 8); }

/* Does L1 want it? */
static bool exits(u32 type, u32 cr, u64 value)
{
	vcpu.gpr[GPR_RDX] = value;
	SET(EXIT_QUALIFICATION, access(type, cr, value));
	return nested_l1_wants(&vcpu, XR_CR_ACCESS);
}

static void owner(void **state)
{
	(void)state;
	l1_start_l2(BASE_UG);
	struct vmcs12 *f = v12();
	f->CR0_MASK = CR0_TS | CR0_PE;
	f->CR0_READ_SHADOW = CR0_TS;
	assert_false(exits(TO, 0, CR0_TS | CR0_PG));
	assert_true(exits(TO, 0, CR0_PG));
	assert_true(exits(TO, 0, CR0_TS | CR0_PE));
	assert_true(exits(CLTS, 0, 0));
	assert_false(exits(LMSW, 0, CR0_TS));
	assert_true(exits(LMSW, 0, 0));
	assert_true(exits(LMSW, 0, CR0_TS | CR0_PE)); /* sets PE, which L1 owns and shows clear */
	f->CR0_READ_SHADOW = CR0_PE;
	assert_false(exits(CLTS, 0, 0));
	assert_true(exits(LMSW, 0, CR0_TS));
	assert_false(exits(LMSW, 0, 0)); /* LMSW cannot clear PE */
	f->CR0_MASK = 0;
	assert_false(exits(CLTS, 0, 0));
	f->CR4_MASK = CR4_PGE;
	f->CR4_READ_SHADOW = CR4_PGE;
	assert_false(exits(TO, 4, CR4_PGE | CR4_PAE));
	assert_true(exits(TO, 4, CR4_PAE));
	f->PROC_CONTROLS &= ~(PROC_CR3_LOAD | PROC_CR3_STORE | PROC_CR8_LOAD | PROC_CR8_STORE);
	assert_false(exits(TO, 3, 0x5000));
	assert_false(exits(FROM, 3, 0));
	assert_false(exits(TO, 8, 0));
	assert_false(exits(FROM, 8, 0));
	f->PROC_CONTROLS |= PROC_CR3_LOAD | PROC_CR3_STORE | PROC_CR8_LOAD | PROC_CR8_STORE;
	assert_true(exits(TO, 3, 0x5000));
	assert_true(exits(FROM, 3, 0));
	assert_true(exits(TO, 8, 0));
	assert_true(exits(FROM, 8, 0));
	f->CR3_TARGET_COUNT = 2;
	f->CR3_TARGET_1 = 0x5000;
	f->CR3_TARGET_2 = 0x6000;
	assert_false(exits(TO, 3, 0x5000));
	assert_true(exits(TO, 3, 0x6000)); /* not counted */
	SET(GUEST_CS_AR, 0xc09b);
	assert_false(exits(TO, 3, BIT(32) | 0x5000)); /* 32 bits outside 64-bit mode */
}

/* L2 executes one that L1 does not want. False: #GP(0). */
static bool done(u32 type, u32 cr, u64 value)
{
	u64 rip = HW(GUEST_RIP);

	vcpu.gpr[GPR_RDX] = value;
	assert_true(L2_EXITS(.reason = XR_CR_ACCESS, .qualification = access(type, cr, value), .insn_len = 3));
	assert_true(l2_runs());
	if (vcpu.event.info & INTR_VALID) {
		assert_int_equal(vcpu.event.info, GP_INFO);
		assert_int_equal(HW(GUEST_RIP), rip);
		return false;
	}
	assert_int_equal(HW(GUEST_RIP), rip + 3);
	return true;
}

static u64 reads_cr0(void) { return vcpu_read_cr0(); }
static u64 reads_cr4(void) { return vcpu_read_cr4(); }
#define CR0_64 (CR0_PE | CR0_PG | CR0_NE | CR0_ET)

static void cr0(void **state)
{
	(void)state;
	l1_prepare(BASE_EPT);
	WRITE(CR0_MASK, CR0_MP);
	WRITE(CR0_READ_SHADOW, CR0_MP);
	WRITE(EXCEPTION_BITMAP, 0);
	l1_launch();
	assert_true(done(TO, 0, CR0_64 | CR0_CD | CR0_NW | CR0_MP | CR0_TS));
	assert_int_equal(reads_cr0(), CR0_64 | CR0_CD | CR0_NW | CR0_MP | CR0_TS);
	assert_int_equal(HW(GUEST_CR0) & (CR0_CD | CR0_NW), 0); /* ours: never the machine's */
	assert_int_equal(HW(GUEST_CR0) & CR0_MP, 0);            /* L1's bit stays as L1 has it */
	assert_true(HW(GUEST_CR0) & CR0_TS);
	assert_true(done(CLTS, 0, 0));
	assert_int_equal(reads_cr0(), CR0_64 | CR0_CD | CR0_NW | CR0_MP);
	assert_true(done(LMSW, 0, CR0_MP | CR0_EM));
	assert_int_equal(reads_cr0() & (CR0_MP | CR0_EM | CR0_TS | CR0_PE), CR0_MP | CR0_EM | CR0_PE);
	assert_false(done(TO, 0, CR0_64 | CR0_NW | CR0_MP));    /* NW without CD */
	assert_false(done(TO, 0, CR0_64 | CR0_MP | BIT(32)));
	assert_false(done(TO, 0, (CR0_64 | CR0_MP) & ~CR0_PG)); /* not an unrestricted guest */
	assert_false(done(TO, 0, (CR0_64 | CR0_MP) & ~CR0_PE));
	assert_false(done(TO, 0, (CR0_64 | CR0_MP) & ~CR0_NE));
	L2_EXITS(.reason = XR_CPUID);
	assert_int_equal(v12()->GUEST_CR0 & (CR0_CD | CR0_NW), CR0_CD | CR0_NW); /* as L2 has them */
	assert_int_equal(v12()->GUEST_CR0 & CR0_MP, 0);
}

static void cr4(void **state)
{
	(void)state;
	l1_prepare(BASE_EPT);
	WRITE(CR4_MASK, CR4_PGE);
	WRITE(CR4_READ_SHADOW, CR4_PGE);
	WRITE(EXCEPTION_BITMAP, 0);
	l1_launch();
	assert_true(done(TO, 4, CR4_PAE | CR4_VMXE | CR4_MCE | CR4_PGE));
	assert_int_equal(reads_cr4(), CR4_PAE | CR4_VMXE | CR4_MCE | CR4_PGE);
	assert_int_equal(HW(GUEST_CR4) & (CR4_MCE | CR4_PGE), 0);
	assert_false(done(TO, 4, CR4_VMXE | CR4_PGE));                     /* PAE in IA-32e mode */
	assert_false(done(TO, 4, CR4_PAE | CR4_PGE));                      /* VMXE */
	assert_false(done(TO, 4, CR4_PAE | CR4_VMXE | CR4_PGE | BIT(31))); /* reserved */
	SET(GUEST_CR3, 0x5001);
	assert_false(done(TO, 4, CR4_PAE | CR4_VMXE | CR4_PGE | CR4_PCIDE)); /* PCIDs begin with one of 0 */
	SET(GUEST_CR3, 0x5000);
	u32 before = vpid_flushes;
	assert_true(done(TO, 4, CR4_PAE | CR4_VMXE | CR4_PGE | CR4_PCIDE));
	assert_true(vpid_flushes > before);
	L2_EXITS(.reason = XR_CPUID);
	assert_true(v12()->GUEST_CR4 & CR4_PCIDE);
	assert_int_equal(v12()->GUEST_CR4 & (CR4_MCE | CR4_PGE), 0);
}

/* Paging switched on and off by an unrestricted guest; PDPTEs. */
static void paging(void **state)
{
	u64 *pdpt = l1_word(L1_PDPT_PAE);

	(void)state;
	l1_prepare(BASE_FLAT);
	WRITE(ENTRY_CONTROLS, v12()->ENTRY_CONTROLS | ENTRY_LOAD_EFER);
	WRITE(EXCEPTION_BITMAP, 0);
	WRITE(GUEST_EFER, EFER_LME);
	WRITE(GUEST_CR4, CR4_VMXE);
	l1_launch();
	assert_false(done(TO, 0, CR0_64)); /* PAE must be on for IA-32e mode */
	assert_true(done(TO, 4, CR4_VMXE | CR4_PAE));
	assert_false(done(TO, 0, CR0_PG | CR0_NE)); /* PG without PE */
	assert_true(done(TO, 0, CR0_64));
	assert_int_equal(HW(GUEST_EFER), EFER_LME | EFER_LMA);
	assert_true(HW(ENTRY_CONTROLS) & ENTRY_IA32E);
	assert_true(done(TO, 0, CR0_64 & ~CR0_PG)); /* compatibility mode: may leave */
	assert_int_equal(HW(GUEST_EFER), EFER_LME);
	assert_false(HW(ENTRY_CONTROLS) & ENTRY_IA32E);
	SET(GUEST_EFER, 0);
	SET(GUEST_CR3, L1_PDPT_PAE);
	pdpt[1] = 0x6001 | BIT(1);
	assert_false(done(TO, 0, CR0_64));
	pdpt[1] = 0x6001;
	assert_true(done(TO, 0, CR0_64));
	assert_int_equal(HW(GUEST_PDPTE1), 0x6001);
	pdpt[1] = 0x7001;
	assert_true(done(TO, 4, CR4_VMXE | CR4_PAE | CR4_PGE)); /* loads them again */
	assert_int_equal(HW(GUEST_PDPTE1), 0x7001);
	pdpt[1] = 0x7003;
	u64 before = HW(GUEST_CR4);
	assert_false(done(TO, 4, CR4_VMXE | CR4_PAE));
	assert_int_equal(HW(GUEST_CR4), before);
	assert_true(reads_cr4() & CR4_PGE);
	SET(GUEST_CR3, 4 * SIZE_2M); /* not mapped: reads as absent entries */
	assert_true(done(TO, 4, CR4_VMXE | CR4_PAE));
	assert_int_equal(HW(GUEST_PDPTE1), 0);
}

static void cr3_and_cr8(void **state)
{
	(void)state;
	l1_prepare(BASE_EPT);
	WRITE(PROC_CONTROLS, v12()->PROC_CONTROLS & ~(PROC_CR3_LOAD | PROC_CR3_STORE | PROC_CR8_LOAD | PROC_CR8_STORE));
	WRITE(EXCEPTION_BITMAP, 0);
	l1_launch();
	assert_true(done(TO, 8, 9));
	assert_int_equal(vlapic.regs[APIC_TPR], 0x90); /* L1's own */
	assert_true(done(FROM, 8, 0));
	assert_int_equal(vcpu.gpr[GPR_RDX], 9);
	assert_false(done(TO, 8, 16));
	assert_true(done(FROM, 3, 0));
	assert_int_equal(vcpu.gpr[GPR_RDX], HW(GUEST_CR3));
	assert_true(done(TO, 3, 0x5000)); /* the processor has let it pass */
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, machine_full, machine_stop)
	const struct CMUnitTest tests[] = { TEST(owner), TEST(cr0), TEST(cr4), TEST(paging), TEST(cr3_and_cr8) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
