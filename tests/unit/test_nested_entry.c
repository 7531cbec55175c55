/*
 * VM entries of an L1 (SDM 3C, VM Entries; Loading Guest State; Loading MSRs), executed on the whole nested engine: in which order they
 * fail and how, what the processor is then given to run L2, and L1's state after an exit (Loading Host State). Also by VMCS pages
 * (core/abi.h), where both must come out the same.
 */
#include "tests/unit/nested_machine.h"

#define SECOND(bits) do { l1_write_field(VMCS_PROC_CONTROLS, v12()->PROC_CONTROLS | PROC_SECONDARY); \
			  l1_write_field(VMCS_PROC2_CONTROLS, v12()->PROC2_CONTROLS | (bits)); } while (0)
#define WRITE(name, value) assert_int_equal(l1_write_field(VMCS_##name, value), SUCCEEDED)
#define GUEST_FAILURE (XR_ENTRY_GUEST_STATE | EXIT_REASON_ENTRY_FAILURE)
#define MSR_FAILURE (XR_ENTRY_MSR_LOAD | EXIT_REASON_ENTRY_FAILURE)

/* ---- failures, in the SDM's order ---- */
static void order_of_failures(void **state)
{
	(void)state;
	l1_vmxon();
	assert_int_equal(l1_run(exit_vmlaunch), FAILED_INVALID); /* no current VMCS */
	assert_int_equal(l1_pointer(exit_vmptrld, L1_VMCS), SUCCEEDED);
	SET(GUEST_INTERRUPTIBILITY, BLOCK_MOV_SS);
	assert_int_equal(l1_run(exit_vmlaunch), INSN_ERR_MOV_SS); /* although all else is wrong, too */
	assert_int_equal(HW(GUEST_INTERRUPTIBILITY), 0);
	assert_int_equal(l1_run(exit_vmresume), INSN_ERR_VMRESUME_NOT_LAUNCHED);
	assert_int_equal(l1_run(exit_vmlaunch), INSN_ERR_CONTROLS);
	l1_set(BASE_LONG);
	WRITE(HOST_CR4, 0);
	WRITE(GUEST_CR4, 0);
	assert_int_equal(l1_run(exit_vmlaunch), INSN_ERR_HOST_STATE);
	WRITE(HOST_CR4, CR4_PAE | CR4_VMXE);
	WRITE(GUEST_CR4, CR4_PAE | CR4_VMXE);
	WRITE(GUEST_RIP, BIT(50));
	assert_int_equal(l1_run(exit_vmlaunch), ENTERED);
	expect_exit(GUEST_FAILURE, 0);
	assert_int_equal(l1_run(exit_vmresume), INSN_ERR_VMRESUME_NOT_LAUNCHED); /* such a failure does not launch */
	WRITE(GUEST_RIP, L2_RIP);
	l1_launch();
	L2_EXITS(.reason = XR_CPUID);
	assert_int_equal(l1_run(exit_vmlaunch), INSN_ERR_VMLAUNCH_NOT_CLEAR);
	WRITE(VMCS_LINK_PTR, L1_SHADOW);
	assert_int_equal(l1_run(exit_vmresume), ENTERED);
	expect_exit(GUEST_FAILURE, ENTRY_FAIL_LINK_PTR); /* the revision says that it is no ordinary VMCS */
	WRITE(VMCS_LINK_PTR, ~0ull);
	l1_resume();
}

static void pdptes(void **state)
{
	(void)state;
	l1_prepare(BASE_PAE); /* entries in memory */
	l1_word(L1_PDPT_PAE)[1] = 0x6003;
	assert_int_equal(l1_run(exit_vmlaunch), ENTERED);
	expect_exit(GUEST_FAILURE, ENTRY_FAIL_PDPTE);
	l1_word(L1_PDPT_PAE)[1] = 0x6001;
	l1_launch();
	assert_int_equal(HW(GUEST_PDPTE1), 0x6001);
	L2_EXITS(.reason = XR_CPUID);
	assert_int_equal(v12()->GUEST_PDPTE1, 0); /* without EPT they are no part of the VMCS */
	WRITE(GUEST_CR3, L1_RAM);
	assert_int_equal(l1_run(exit_vmresume), ENTERED);
	expect_exit(GUEST_FAILURE, ENTRY_FAIL_PDPTE);
	assert_int_equal(l1_pointer(exit_vmclear, L1_VMCS), SUCCEEDED);
	assert_int_equal(l1_pointer(exit_vmptrld, L1_VMCS), SUCCEEDED);
	l1_set(BASE_PAE_EPT);
	WRITE(GUEST_PDPTE2, 0x7001);
	l1_launch();
	assert_int_equal(HW(GUEST_PDPTE2), 0x7001);
	SET(GUEST_PDPTE2, 0x8001);
	L2_EXITS(.reason = XR_CPUID);
	assert_int_equal(v12()->GUEST_PDPTE2, 0x8001);
}

/* The processor itself refuses what the engine let pass: L1 must see the same as on hardware. */
static void refused_by_the_processor(void **state)
{
	(void)state;
	l1_prepare(BASE_LONG);
	l1_launch();
	nested_entry_failed(&vcpu, INSN_ERR_CONTROLS);
	assert_false(l2_runs());
	assert_int_equal(v12()->INSN_ERROR, INSN_ERR_CONTROLS);
	assert_int_equal(HW(GUEST_RFLAGS) & (RFLAGS_CF | RFLAGS_ZF), RFLAGS_ZF);
	assert_int_equal(HW(GUEST_RIP), L1_RIP + 3 * (HW(GUEST_RIP) - L1_RIP) / 3);
	l1_launch(); /* not launched by that */
	nested_entry_failed(&vcpu, 0);
	assert_int_equal(HW(GUEST_RFLAGS) & (RFLAGS_CF | RFLAGS_ZF), RFLAGS_CF);
	l1_launch();
	assert_true(L2_EXITS(.reason = GUEST_FAILURE));
	expect_exit(GUEST_FAILURE, 0);
	l1_launch();
	L2_EXITS(.reason = XR_CPUID);
	l1_resume();
	vcpu.nested->ran = true;
	nested_entry_failed(&vcpu, INSN_ERR_CONTROLS); /* L2 had begun: nobody's instruction can fail */
	assert_int_equal(killed, 1);
}

/* ---- what runs ---- */
static void merged_state(void **state)
{
	u64 value;

	(void)state;
	vcpu.tsc_offset = 1000;
	l1_prepare(BASE_LONG);
	WRITE(PROC_CONTROLS, v12()->PROC_CONTROLS | PROC_TSC_OFFSET | PROC_HLT);
	WRITE(TSC_OFFSET, 50);
	WRITE(EXCEPTION_BITMAP, BIT(6));
	WRITE(CR0_MASK, CR0_TS);
	WRITE(CR0_READ_SHADOW, CR0_TS);
	WRITE(CR3_TARGET_COUNT, 2);
	WRITE(CR3_TARGET_1, 0x77000);
	WRITE(GUEST_FS_BASE, 0x1234);
	WRITE(GUEST_SYSENTER_EIP, 0x5678);
	l1_launch();
	assert_int_equal(HW(GUEST_RIP), L2_RIP);
	assert_int_equal(HW(GUEST_RSP), 0x203000);
	assert_int_equal(HW(TSC_OFFSET), 1050);
	assert_int_equal(HW(EXCEPTION_BITMAP), BIT(6));
	assert_true(HW(PROC_CONTROLS) & PROC_HLT);
	assert_true(HW(CR0_MASK) & CR0_TS);
	assert_int_equal(HW(CR3_TARGET_1), 0x77000);
	assert_int_equal(HW(GUEST_FS_BASE), 0x1234);
	assert_int_equal(HW(GUEST_SYSENTER_EIP), 0x5678);
	assert_int_equal(HW(VMCS_LINK_PTR), ~0ull);
	assert_true(HW(EXIT_CONTROLS) & EXIT_HOST_64);
	assert_int_equal(HW(EPTP) & EPT_ADDR, vm.ept.root.v); /* L1's own memory */
	vcpu.tsc_offset = 3000; /* another CPU of ours writes the VM's TSC */
	nested_tsc_changed(&vcpu);
	assert_int_equal(HW(TSC_OFFSET), 3050);
	SET(GUEST_FS_BASE, 0x4321);
	SET(GUEST_RIP, L2_RIP + 7);
	SET(GUEST_RSP, 0x202ff8);
	SET(GUEST_RFLAGS, 0x202);
	SET(GUEST_CR3, 0x99000);
	SET(GUEST_INTERRUPTIBILITY, BLOCK_STI);
	SET(GUEST_PENDING_DBG, BIT(12) | 1);
	L2_EXITS(.reason = XR_HLT);
	expect_exit(XR_HLT, 0);
	assert_int_equal(l1_read_field(VMCS_GUEST_FS_BASE, &value), SUCCEEDED);
	assert_int_equal(value, 0x4321);
	assert_int_equal(v12()->GUEST_RIP, L2_RIP + 7);
	assert_int_equal(v12()->GUEST_RSP, 0x202ff8);
	assert_int_equal(v12()->GUEST_RFLAGS, 0x202);
	assert_int_equal(v12()->GUEST_CR3, 0x99000);
	assert_int_equal(v12()->GUEST_INTERRUPTIBILITY, BLOCK_STI);
	assert_int_equal(v12()->GUEST_PENDING_DBG, BIT(12) | 1);
	nested_tsc_changed(&vcpu); /* while L1 runs */
	l1_resume();
	assert_int_equal(HW(TSC_OFFSET), 3050);
	assert_int_equal(HW(GUEST_FS_BASE), 0x4321);
}

/* Fields that belong to optional controls reach the processor, addresses translated. */
static void optional_controls(void **state)
{
	(void)state;
	l1_prepare(BASE_EPT);
	WRITE(PIN_CONTROLS, v12()->PIN_CONTROLS | PIN_POSTED_INT);
	WRITE(EXIT_CONTROLS, v12()->EXIT_CONTROLS | EXIT_ACK_INT | EXIT_SAVE_PREEMPTION | EXIT_SAVE_EFER | EXIT_SAVE_PAT | EXIT_SAVE_DEBUG);
	WRITE(PROC_CONTROLS, v12()->PROC_CONTROLS | PROC_TPR_SHADOW | PROC_IO_BITMAPS | PROC_MSR_BITMAPS | PROC_TSC_OFFSET);
	SECOND(PROC2_APIC_ACCESS | PROC2_VIRT_INT | PROC2_APIC_REGS | PROC2_TSC_SCALING | PROC2_PAUSE_LOOP | PROC2_VPID | PROC2_XSAVES);
	WRITE(XSS_EXITING_BITMAP, BIT(8) | BIT(11));
	WRITE(TSC_MULTIPLIER, 1ull << 49);
	WRITE(PLE_GAP, 3);
	WRITE(PLE_WINDOW, 4);
	WRITE(EOI_EXIT_0, BIT(33));
	WRITE(EOI_EXIT_3, BIT(1));
	WRITE(TPR_THRESHOLD, 0);
	WRITE(GUEST_INTERRUPT_STATUS, 0x4020);
	WRITE(PI_NOTIFICATION_VECTOR, 0xf2);
	WRITE(PREEMPTION_TIMER, 500);
	memset(vcpu.io_bitmap_pages, 0, 16);  /* ports 0-127 of ours are open */
	memset(vcpu.msr_bitmap_page, 0, 16);  /* MSRs 0-127 for reading */
	*l1_word(L1_IO_A) = BIT(5);
	*l1_word(L1_MSR_BITMAP) = BIT(9);
	assert_int_equal(l1_run(exit_vmxoff), SUCCEEDED); /* the engine looks at ours at VMXON */
	l1_vmxon();
	assert_int_equal(l1_pointer(exit_vmptrld, L1_VMCS), SUCCEEDED);
	l1_launch();
	assert_int_equal(HW(VIRTUAL_APIC_ADDR), (u64)ram + L1_VAPIC);
	assert_int_equal(HW(APIC_ACCESS_ADDR), (u64)ram + L1_APIC_ACCESS);
	assert_int_equal(HW(PI_DESC_ADDR), (u64)ram + L1_PI);
	assert_int_equal(HW(TSC_MULTIPLIER), 1ull << 49);
	assert_int_equal(HW(XSS_EXITING_BITMAP), BIT(8) | BIT(11));
	assert_int_equal(HW(PLE_GAP), 3);
	assert_int_equal(HW(PLE_WINDOW), 4);
	assert_int_equal(HW(EOI_EXIT_0), BIT(33));
	assert_int_equal(HW(EOI_EXIT_3), BIT(1));
	assert_int_equal(HW(GUEST_INTERRUPT_STATUS), 0x4020);
	assert_int_equal(HW(PREEMPTION_TIMER), 500);
	assert_int_not_equal(HW(VPID), v12()->VPID);
	const u64 *io = (const u64 *)HW(IO_BITMAP_A), *msr = (const u64 *)HW(MSR_BITMAP);
	assert_int_equal(io[0], BIT(5));
	assert_int_equal(io[1], 0);
	assert_int_equal(io[2], ~0ull);
	assert_int_equal(msr[0], BIT(9));
	assert_int_equal(msr[2], ~0ull);
	nested_set_limit(&vcpu, 99); /* the timer is L1's */
	assert_int_equal(HW(PREEMPTION_TIMER), 500);
	SET(PREEMPTION_TIMER, 321);
	SET(GUEST_INTERRUPT_STATUS, 0x5030);
	SET(GUEST_PAT, 6);
	SET(GUEST_DR7, 0x403);
	SET(GUEST_DEBUGCTL, 2);
	L2_EXITS(.reason = XR_CPUID);
	assert_int_equal(v12()->PREEMPTION_TIMER, 321);
	assert_int_equal(v12()->GUEST_INTERRUPT_STATUS, 0x5030);
	assert_int_equal(v12()->GUEST_PAT, 6);
	assert_int_equal(v12()->GUEST_DR7, 0x403);
	assert_int_equal(v12()->GUEST_DEBUGCTL, 2);
	WRITE(PROC_CONTROLS, (v12()->PROC_CONTROLS & ~PROC_IO_BITMAPS) | PROC_UNCOND_IO);
	l1_resume();
	assert_int_equal(io[0], ~0ull);
	L2_EXITS(.reason = XR_CPUID);
	WRITE(PROC_CONTROLS, v12()->PROC_CONTROLS & ~PROC_UNCOND_IO);
	l1_resume();
	assert_int_equal(io[0], 0);
	assert_int_equal(io[2], ~0ull); /* ours */
}

/* What vmcs12 does not load, L2 has from L1; what it does not save, stays. */
static void inherited(void **state)
{
	(void)state;
	l1_prepare(BASE_LONG);
	WRITE(ENTRY_CONTROLS, v12()->ENTRY_CONTROLS & ~(ENTRY_LOAD_EFER | ENTRY_LOAD_PAT | ENTRY_LOAD_DEBUG));
	WRITE(EXIT_CONTROLS, v12()->EXIT_CONTROLS & ~(EXIT_LOAD_EFER | EXIT_LOAD_PAT));
	WRITE(GUEST_EFER, 0);
	WRITE(GUEST_PAT, 0);
	WRITE(GUEST_DR7, 0);
	SET(GUEST_EFER, EFER_LME | EFER_LMA | EFER_NXE | EFER_SCE);
	SET(GUEST_PAT, 0x0606);
	SET(GUEST_DR7, 0x455);
	l1_launch();
	assert_int_equal(HW(GUEST_EFER), EFER_LME | EFER_LMA | EFER_NXE | EFER_SCE);
	assert_int_equal(HW(GUEST_PAT), 0x0606);
	assert_int_equal(HW(GUEST_DR7), 0x455);
	SET(GUEST_EFER, EFER_LME | EFER_LMA | EFER_SCE);
	SET(GUEST_PAT, 0x0404);
	L2_EXITS(.reason = XR_CPUID);
	assert_int_equal(HW(GUEST_EFER), EFER_LME | EFER_LMA | EFER_SCE); /* L1 has L2's now */
	assert_int_equal(HW(GUEST_PAT), 0x0404);
	assert_int_equal(HW(GUEST_DR7), 0x400);
	assert_int_equal(HW(GUEST_DEBUGCTL), 0);
	assert_int_equal(v12()->GUEST_EFER, 0);
	/* a 32-bit L2: LMA and LME follow the control */
	assert_int_equal(l1_pointer(exit_vmclear, L1_VMCS), SUCCEEDED);
	assert_int_equal(l1_pointer(exit_vmptrld, L1_VMCS), SUCCEEDED);
	l1_set(BASE_32);
	WRITE(ENTRY_CONTROLS, v12()->ENTRY_CONTROLS & ~ENTRY_LOAD_EFER);
	l1_launch();
	assert_int_equal(HW(GUEST_EFER), EFER_SCE);
}

static void injected(void **state)
{
	(void)state;
	l1_prepare(BASE_LONG);
	WRITE(ENTRY_INTR_INFO, INTR_VALID | FIELD_PREP(INTR_TYPE, INTR_HW_EXCEPTION) | INTR_HAS_ERROR | VEC_GP);
	WRITE(ENTRY_EXCEPTION_ERROR, 0x18);
	l1_launch();
	assert_int_equal(vcpu.event.info, INTR_VALID | FIELD_PREP(INTR_TYPE, INTR_HW_EXCEPTION) | INTR_HAS_ERROR | VEC_GP);
	assert_int_equal(vcpu.event.error, 0x18);
	assert_int_equal(vcpu.event.insn_len, 0);
	L2_EXITS(.reason = XR_CPUID);
	assert_int_equal(v12()->ENTRY_INTR_INFO & INTR_VALID, 0); /* every exit clears it */
	WRITE(ENTRY_INTR_INFO, INTR_VALID | FIELD_PREP(INTR_TYPE, INTR_SW_INT) | 0x80);
	WRITE(ENTRY_INSN_LEN, 2);
	l1_resume();
	assert_int_equal(vcpu.event.insn_len, 2);
	L2_EXITS(.reason = XR_CPUID);
	WRITE(ENTRY_INTR_INFO, INTR_VALID | FIELD_PREP(INTR_TYPE, INTR_OTHER)); /* a pending MTF exit */
	l1_resume();
	assert_int_equal(vcpu.event.info, 0);
	nested_before_entry(&vcpu);
	expect_exit(XR_MTF, 0);
}

/* ---- MSR areas ---- */
struct msr_entry { u32 index, reserved; u64 data; };

static void msr_areas(void **state)
{
	struct msr_entry *e = l1_mem(L1_AREA);
	static const u32 forbidden[] = { MSR_FS_BASE, MSR_GS_BASE, 0x9b, 0x79, 0x8b, 0x12345 };

	(void)state;
	l1_prepare(BASE_LONG);
	e[0] = (struct msr_entry){ MSR_STAR, 0, 11 };
	e[1] = (struct msr_entry){ MSR_LSTAR, 0, 22 };
	WRITE(ENTRY_MSR_LOAD_ADDR, L1_AREA);
	WRITE(ENTRY_MSR_LOAD_COUNT, 2);
	WRITE(EXIT_MSR_STORE_ADDR, L1_AREA + 0x800);
	WRITE(EXIT_MSR_STORE_COUNT, 2);
	WRITE(EXIT_MSR_LOAD_ADDR, L1_AREA + 0x400);
	WRITE(EXIT_MSR_LOAD_COUNT, 1);
	e[0x80] = (struct msr_entry){ MSR_STAR, 0, 0 };
	e[0x81] = (struct msr_entry){ MSR_TSC, 0, 0 };
	e[0x40] = (struct msr_entry){ MSR_STAR, 0, 33 };
	l1_launch();
	assert_int_equal(*l1_msr(MSR_STAR), 11);
	assert_int_equal(*l1_msr(MSR_LSTAR), 22);
	*l1_msr(MSR_STAR) = 44;
	vcpu.tsc_offset = 5;
	L2_EXITS(.reason = XR_CPUID);
	assert_int_equal(e[0x80].data, 44);
	assert_int_equal(e[0x81].data, model_tsc + 5); /* L1's, without L2's offset */
	assert_int_equal(*l1_msr(MSR_STAR), 33);
	for (u32 i = 0; i < ARRAY_SIZE(forbidden); i++) {
		e[1].index = forbidden[i];
		assert_int_equal(l1_run(exit_vmresume), ENTERED);
		expect_exit(MSR_FAILURE, 2);
	}
	e[1] = (struct msr_entry){ MSR_LSTAR, 1, 0 }; /* reserved bits */
	assert_int_equal(l1_run(exit_vmresume), ENTERED);
	expect_exit(MSR_FAILURE, 2);
	vlapic.base_msr = APIC_BASE_EXTD;
	e[0] = (struct msr_entry){ 0x808, 0, 0 };
	assert_int_equal(l1_run(exit_vmresume), ENTERED);
	expect_exit(MSR_FAILURE, 1);
	WRITE(ENTRY_MSR_LOAD_COUNT, 10000); /* more than IA32_VMX_MISC recommends */
	for (u32 i = 0; i < PAGE_SIZE / 16 * 9; i++)
		e[i] = (struct msr_entry){ MSR_STAR, 0, 1 };
	assert_int_equal(l1_run(exit_vmresume), ENTERED);
	expect_exit(MSR_FAILURE, 512 * (FIELD_GET(BITS(27, 25), nested_caps.misc) + 1) + 1);
	WRITE(ENTRY_MSR_LOAD_COUNT, 0);
	WRITE(EXIT_MSR_STORE_COUNT, 0);
	WRITE(EXIT_MSR_LOAD_COUNT, 0);
	l1_resume();
}

/* A failure at an exit is a VMX abort: L1 cannot go on, and finds why. */
static void abort_of(enum vmx_abort why)
{
	assert_true(killed);
	assert_int_equal(((struct vmcs12_region *)l1_mem(L1_VMCS))->abort, why);
}

static void abort_msr_store(void **state)
{
	(void)state;
	l1_prepare(BASE_LONG);
	*(struct msr_entry *)l1_mem(L1_AREA) = (struct msr_entry){ 0x9e, 0, 0 }; /* IA32_SMBASE */
	WRITE(EXIT_MSR_STORE_ADDR, L1_AREA);
	WRITE(EXIT_MSR_STORE_COUNT, 1);
	l1_launch();
	L2_EXITS(.reason = XR_CPUID);
	abort_of(ABORT_SAVE_MSR);
}

static void abort_msr_load(void **state)
{
	(void)state;
	l1_prepare(BASE_LONG);
	WRITE(EXIT_MSR_LOAD_ADDR, L1_RAM); /* nothing there */
	WRITE(EXIT_MSR_LOAD_COUNT, 1);
	l1_launch();
	L2_EXITS(.reason = XR_CPUID);
	abort_of(ABORT_LOAD_MSR);
}

/* ---- a 32-bit L1 ---- */
static void l1_with_pae(u64 cr3)
{
	u64 *pdpt = l1_word(cr3);

	l1_in_protected_mode();
	pdpt[0] = (cr3 + PAGE_SIZE) | 1;
	l1_word(cr3 + PAGE_SIZE)[0] = 0x83;
	for (u32 i = 0; i < 4; i++)
		vmwrite(VMCS_GUEST_PDPTE0 + 2 * i, pdpt[i]);
	SET(GUEST_CR0, CR0_PE | CR0_PG | CR0_NE | CR0_ET);
	SET(CR0_READ_SHADOW, CR0_PE | CR0_PG | CR0_NE | CR0_ET);
	SET(GUEST_CR3, cr3);
	SET(ENTRY_CONTROLS, 0);
}

static void prepare_32(void)
{
	l1_with_pae(0x30000);
	l1_prepare(BASE_32);
	WRITE(EXIT_CONTROLS, v12()->EXIT_CONTROLS & ~EXIT_HOST_64);
	WRITE(HOST_EFER, 0);
	WRITE(HOST_CR3, 0x40000);
	WRITE(HOST_CR4, CR4_PAE | CR4_VMXE);
	l1_word(0x40000)[0] = 0x41001;
	l1_word(0x40000)[3] = 0x42001;
}

static void host_32_bit(void **state)
{
	(void)state;
	prepare_32();
	l1_launch();
	L2_EXITS(.reason = XR_CPUID);
	expect_exit(XR_CPUID, 0);
	assert_int_equal(HW(GUEST_EFER), 0);
	assert_int_equal(HW(GUEST_CS_AR), 0xc09b);
	assert_int_equal(HW(GUEST_PDPTE0), 0x41001);
	assert_int_equal(HW(GUEST_PDPTE3), 0x42001);
	assert_int_equal(killed, 0);
}

static void abort_host_pdptes(void **state)
{
	(void)state;
	prepare_32();
	l1_word(0x40000)[3] = 0x42003;
	l1_launch();
	L2_EXITS(.reason = XR_CPUID);
	abort_of(ABORT_HOST_PDPTE);
}

/* ---- L1's host state ---- */
static void host_state(void **state)
{
	(void)state;
	l1_prepare(BASE_LONG);
	WRITE(HOST_CR0, v12()->HOST_CR0 | CR0_TS);
	WRITE(HOST_CR4, CR4_PAE | CR4_VMXE | CR4_PGE);
	WRITE(HOST_FS_BASE, 0x111);
	WRITE(HOST_GS_BASE, 0x222);
	WRITE(HOST_FS_SEL, 0);
	WRITE(HOST_DS_SEL, 0x18);
	WRITE(HOST_SYSENTER_CS, 8);
	WRITE(HOST_GDTR_BASE, 0x333);
	l1_launch();
	u32 before = vpid_flushes;
	L2_EXITS(.reason = XR_CPUID);
	expect_exit(XR_CPUID, 0);
	assert_true(vpid_flushes > before); /* an exit without VPID invalidates */
	assert_true(vcpu_read_cr0() & CR0_TS);
	assert_int_equal(vcpu_read_cr4(), CR4_PAE | CR4_VMXE | CR4_PGE);
	assert_int_equal(HW(GUEST_CS_AR), 0xa09b);
	assert_int_equal(HW(GUEST_CS_SEL), 0x08);
	assert_int_equal(HW(GUEST_DS_SEL), 0x18);
	assert_int_equal(HW(GUEST_DS_AR), 0xc093);
	assert_int_equal(HW(GUEST_FS_AR), 0xc093 | SEG_AR_UNUSABLE);
	assert_int_equal(HW(GUEST_FS_BASE), 0x111);
	assert_int_equal(HW(GUEST_GS_BASE), 0x222);
	assert_int_equal(HW(GUEST_LDTR_AR), SEG_AR_UNUSABLE);
	assert_int_equal(HW(GUEST_TR_AR), 0x8b);
	assert_int_equal(HW(GUEST_TR_LIMIT), 0x67);
	assert_int_equal(HW(GUEST_GDTR_BASE), 0x333);
	assert_int_equal(HW(GUEST_GDTR_LIMIT), 0xffff);
	assert_int_equal(HW(GUEST_SYSENTER_CS), 8);
	assert_int_equal(HW(GUEST_EFER), EFER_LME | EFER_LMA);
	assert_int_equal(HW(GUEST_PENDING_DBG), 0);
	assert_int_equal(HW(GUEST_INTERRUPTIBILITY), 0);
}

/* Blocking of NMIs after an exit: by the NMI itself, or as it was in L2 (SDM 3C, Changes to the Blocking of Events). */
static void host_nmi_blocking(void **state)
{
	(void)state;
	l1_prepare(BASE_LONG);
	WRITE(PIN_CONTROLS, v12()->PIN_CONTROLS & ~PIN_NMI);
	l1_launch();
	SET(GUEST_INTERRUPTIBILITY, BLOCK_NMI);
	L2_EXITS(.reason = XR_CPUID);
	assert_int_equal(HW(GUEST_INTERRUPTIBILITY), BLOCK_NMI);
	WRITE(PIN_CONTROLS, v12()->PIN_CONTROLS | PIN_NMI | PIN_VIRTUAL_NMI);
	WRITE(GUEST_INTERRUPTIBILITY, 0);
	l1_resume();
	L2_EXITS(.reason = XR_CPUID);
	assert_int_equal(HW(GUEST_INTERRUPTIBILITY), BLOCK_NMI); /* L1's own stayed */
	SET(GUEST_INTERRUPTIBILITY, 0);
	WRITE(GUEST_INTERRUPTIBILITY, 0);
	l1_resume();
	SET(GUEST_INTERRUPTIBILITY, BLOCK_NMI); /* virtual: L2's alone */
	L2_EXITS(.reason = XR_CPUID);
	assert_int_equal(HW(GUEST_INTERRUPTIBILITY), 0);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, machine_full, machine_stop)
	const struct CMUnitTest tests[] = {
		TEST(order_of_failures), TEST(pdptes), TEST(refused_by_the_processor), TEST(merged_state), TEST(optional_controls),
		TEST(inherited), TEST(injected), TEST(msr_areas), TEST(abort_msr_store), TEST(abort_msr_load), TEST(host_32_bit),
		TEST(abort_host_pdptes), TEST(host_state), TEST(host_nmi_blocking),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
