/*
 * Who gets an exit of L2, and what L1 finds of it (SDM 3C, VMX Non-Root Operation; VM Exits): on the whole nested engine, once with the control
 * that asks for the exit and once without. An exit that is nobody's but the machine's is left to the ordinary handlers (l2_exits is false).
 */
#include "tests/unit/nested_machine.h"

#define WRITE(name, value) assert_int_equal(l1_write_field(VMCS_##name, value), SUCCEEDED)

static void start_plain(void)
{
	l1_start_l2(BASE_EPT);
}

/* L1 takes back and runs L2 again, whatever happened. */
static void back_to_l1(void)
{
	if (!l2_runs())
		return;
	L2_EXITS(.reason = XR_TRIPLE_FAULT);
	expect_exit(XR_TRIPLE_FAULT, 0);
}

static void put_l2(void)
{
	WRITE(GUEST_RIP, L2_RIP);
	WRITE(GUEST_ACTIVITY, ACTIVITY_ACTIVE);
	WRITE(GUEST_INTERRUPTIBILITY, 0);
	l1_resume();
}

/* ---- instructions that exit whatever the controls, with all their information ---- */
static void unconditional(void **state)
{
	static const u32 always[] = { XR_CPUID, XR_GETSEC, XR_INVD, XR_VMCALL, XR_VMCLEAR, XR_VMLAUNCH, XR_VMPTRLD, XR_VMPTRST, XR_VMREAD, XR_VMRESUME,
				      XR_VMWRITE, XR_VMXOFF, XR_VMXON, XR_INVEPT, XR_INVVPID, XR_XSETBV, XR_TASK_SWITCH, XR_TRIPLE_FAULT, XR_RSM };

	(void)state;
	start_plain();
	for (u32 i = 0; i < ARRAY_SIZE(always); i++) {
		assert_true(L2_EXITS(.reason = always[i], .qualification = 0x1234 + i, .linear = 0x55, .physical = 0x66, .insn_len = 5, .insn_info = 0x77,
				     .idt_info = INTR_VALID | INTR_HAS_ERROR | FIELD_PREP(INTR_TYPE, INTR_HW_EXCEPTION) | 14, .idt_error = 4));
		expect_exit(always[i], 0x1234 + i);
		assert_int_equal(v12()->GUEST_LINEAR_ADDR, 0x55);
		assert_int_equal(v12()->GUEST_PHYSICAL_ADDR, 0x66);
		assert_int_equal(v12()->EXIT_INSN_LEN, 5);
		assert_int_equal(v12()->EXIT_INSN_INFO, 0x77);
		assert_int_equal(v12()->IDT_VECTORING_INFO, INTR_VALID | INTR_HAS_ERROR | FIELD_PREP(INTR_TYPE, INTR_HW_EXCEPTION) | 14);
		assert_int_equal(v12()->IDT_VECTORING_ERROR, 4);
		assert_int_equal(vcpu.event.info, 0);
		assert_int_equal(vcpu.core.count.reflected[always[i]], 1);
		put_l2();
	}
}

/* ---- those with a control ---- */
enum { PIN, PROC, SECOND };
static const struct { u32 reason; u8 word; u64 bits; } controlled[] = {
	{ XR_HLT, PROC, PROC_HLT }, { XR_INVLPG, PROC, PROC_INVLPG }, { XR_RDPMC, PROC, PROC_RDPMC }, { XR_RDTSC, PROC, PROC_RDTSC },
	{ XR_RDTSCP, PROC, PROC_RDTSC }, { XR_DR_ACCESS, PROC, PROC_MOV_DR }, { XR_MWAIT, PROC, PROC_MWAIT }, { XR_MONITOR, PROC, PROC_MONITOR },
	{ XR_PAUSE, PROC, PROC_PAUSE }, { XR_PAUSE, SECOND, PROC2_PAUSE_LOOP }, { XR_GDTR_IDTR, SECOND, PROC2_DESC_TABLE },
	{ XR_LDTR_TR, SECOND, PROC2_DESC_TABLE }, { XR_WBINVD, SECOND, PROC2_WBINVD }, { XR_RDRAND, SECOND, PROC2_RDRAND },
	{ XR_RDSEED, SECOND, PROC2_RDSEED }, { XR_XSAVES, SECOND, PROC2_XSAVES }, { XR_XRSTORS, SECOND, PROC2_XSAVES }, { XR_PREEMPTION_TIMER, PIN, PIN_PREEMPTION_TIMER }, { XR_MTF, PROC, PROC_MTF },
	{ XR_INTERRUPT_WINDOW, PROC, PROC_INT_WINDOW }, { XR_NMI_WINDOW, PROC, PROC_NMI_WINDOW }, { XR_APIC_ACCESS, SECOND, PROC2_APIC_ACCESS },
	{ XR_APIC_WRITE, SECOND, PROC2_APIC_REGS }, { XR_VIRTUALIZED_EOI, SECOND, PROC2_VIRT_INT }, { XR_TPR_BELOW_THRESHOLD, PROC, PROC_TPR_SHADOW },
};

static void by_control(void **state)
{
	(void)state;
	start_plain();
	for (u32 i = 0; i < ARRAY_SIZE(controlled); i++) {
		struct vmcs12 *f = v12(), kept;

		back_to_l1();
		kept = *f;
		/* The owner is decided by vmcs12 alone: no entry is needed for what an entry would refuse by itself. */
		put_l2();
		for (u32 on = 0; on < 2; on++) {
			u64 *word = controlled[i].word == PIN ? &f->PIN_CONTROLS : controlled[i].word == PROC ? &f->PROC_CONTROLS : &f->PROC2_CONTROLS;
			*word = on ? *word | controlled[i].bits : *word & ~controlled[i].bits;
			SET(EXIT_QUALIFICATION, 0);
			if (nested_l1_wants(&vcpu, controlled[i].reason) != !!on)
				fail_msg("exit reason %u, control %d", controlled[i].reason, on);
		}
		v12()->PIN_CONTROLS = kept.PIN_CONTROLS;
		v12()->PROC_CONTROLS = kept.PROC_CONTROLS;
		v12()->PROC2_CONTROLS = kept.PROC2_CONTROLS;
	}
	v12()->PROC2_CONTROLS &= ~PROC2_DESC_TABLE;
	assert_false(L2_EXITS(.reason = XR_GDTR_IDTR)); /* nobody's: the ordinary handlers */
	assert_true(l2_runs());
	assert_true(L2_EXITS(.reason = XR_MTF)); /* ours, asked for to look again */
	assert_true(l2_runs());
	assert_true(L2_EXITS(.reason = XR_INTERRUPT_WINDOW));
	assert_true(L2_EXITS(.reason = XR_NMI_WINDOW));
	assert_true(l2_runs());
}

static void invpcid_needs_both(void **state)
{
	(void)state;
	start_plain();
	struct vmcs12 *f = v12();
	f->PROC_CONTROLS &= ~PROC_INVLPG;
	f->PROC2_CONTROLS |= PROC2_INVPCID;
	assert_false(nested_l1_wants(&vcpu, XR_INVPCID));
	f->PROC_CONTROLS |= PROC_INVLPG;
	assert_true(nested_l1_wants(&vcpu, XR_INVPCID));
	f->PROC2_CONTROLS &= ~PROC2_INVPCID;
	assert_false(nested_l1_wants(&vcpu, XR_INVPCID));
}

/* ---- exceptions ---- */
#define EXCEPTION_INFO(vector) (INTR_VALID | FIELD_PREP(INTR_TYPE, INTR_HW_EXCEPTION) | (vector))
static void exceptions(void **state)
{
	(void)state;
	l1_prepare(BASE_EPT);
	WRITE(EXCEPTION_BITMAP, BIT(6));
	l1_launch();
	assert_true(L2_EXITS(.reason = XR_EXCEPTION_NMI, .intr_info = EXCEPTION_INFO(6)));
	expect_exit(XR_EXCEPTION_NMI, 0);
	assert_int_equal(v12()->EXIT_INTR_INFO, EXCEPTION_INFO(6));
	put_l2();
	assert_false(L2_EXITS(.reason = XR_EXCEPTION_NMI, .intr_info = EXCEPTION_INFO(3)));
	assert_false(L2_EXITS(.reason = XR_EXCEPTION_NMI, .intr_info = INTR_VALID | FIELD_PREP(INTR_TYPE, INTR_NMI) | 2)); /* the machine's */
	/* page faults: mask and match turn the bit's meaning */
	static const struct { u64 bit, mask, match; u32 error; bool exits; } filter[] = {
		{ 0, 0, 0, 7, false }, { 1, 0, 0, 7, true }, { 1, 2, 2, 7, true }, { 1, 2, 2, 5, false }, { 0, 2, 2, 7, false }, { 0, 2, 2, 5, true },
		{ 1, 0, 1, 0, false }, { 0, 0, 1, 0, true },
	};
	for (u32 i = 0; i < ARRAY_SIZE(filter); i++) {
		struct vmcs12 *f = v12();
		f->EXCEPTION_BITMAP = filter[i].bit << VEC_PF;
		f->PF_ERROR_MASK = filter[i].mask;
		f->PF_ERROR_MATCH = filter[i].match;
		assert_int_equal(L2_EXITS(.reason = XR_EXCEPTION_NMI, .intr_info = EXCEPTION_INFO(VEC_PF) | INTR_HAS_ERROR, .intr_error = filter[i].error,
					  .qualification = 0x8765), filter[i].exits);
		if (!filter[i].exits)
			continue;
		expect_exit(XR_EXCEPTION_NMI, 0x8765);
		assert_int_equal(v12()->EXIT_INTR_ERROR, filter[i].error);
		put_l2();
	}
}

/* An exception that L2 meets in what we do for it. */
static void our_exceptions(void **state)
{
	(void)state;
	l1_prepare(BASE_EPT);
	assert_false(nested_exception_exits(&vcpu, 13, true, 0)); /* L1 runs */
	WRITE(EXCEPTION_BITMAP, BIT(13) | BIT(VEC_PF));
	l1_launch();
	assert_false(nested_exception_exits(&vcpu, 6, false, 0));
	vcpu.event = (struct vcpu_event){ INTR_VALID | FIELD_PREP(INTR_TYPE, INTR_SW_INT) | 0x21, 0, 2 };
	assert_true(nested_exception_exits(&vcpu, 13, true, 0x33));
	expect_exit(XR_EXCEPTION_NMI, 0);
	assert_int_equal(v12()->EXIT_INTR_INFO, EXCEPTION_INFO(13) | INTR_HAS_ERROR);
	assert_int_equal(v12()->EXIT_INTR_ERROR, 0x33);
	assert_int_equal(v12()->IDT_VECTORING_INFO, INTR_VALID | FIELD_PREP(INTR_TYPE, INTR_SW_INT) | 0x21);
	assert_int_equal(v12()->EXIT_INSN_LEN, 2);
	put_l2();
	model_cr2 = 0x4444;
	assert_true(nested_exception_exits(&vcpu, VEC_PF, true, 2));
	expect_exit(XR_EXCEPTION_NMI, 0x4444);
	put_l2();
	vcpu.event.info = EXCEPTION_INFO(8);
	nested_triple_fault(&vcpu);
	expect_exit(XR_TRIPLE_FAULT, 0);
	assert_int_equal(v12()->IDT_VECTORING_INFO, 0);
}

/* ---- I/O and MSR bitmaps ---- */
static bool io_exits(u32 port, u32 size)
{
	SET(EXIT_QUALIFICATION, (size - 1) | (u64)port << 16);
	return nested_l1_wants(&vcpu, XR_IO);
}

static void io(void **state)
{
	(void)state;
	start_plain();
	struct vmcs12 *f = v12();
	u8 *a = l1_mem(L1_IO_A), *b = l1_mem(L1_IO_B);
	f->PROC_CONTROLS &= ~(PROC_IO_BITMAPS | PROC_UNCOND_IO);
	assert_false(io_exits(0x70, 1));
	f->PROC_CONTROLS |= PROC_UNCOND_IO;
	assert_true(io_exits(0x70, 1));
	f->PROC_CONTROLS |= PROC_IO_BITMAPS; /* then the bitmaps decide */
	assert_false(io_exits(0x70, 1));
	a[0x70 / 8] |= 1;
	assert_true(io_exits(0x70, 1));
	assert_false(io_exits(0x71, 1));
	assert_true(io_exits(0x6f, 2));
	assert_true(io_exits(0x6d, 4));
	assert_false(io_exits(0x6c, 4));
	b[0] = 1;
	assert_true(io_exits(0x8000, 1));
	assert_true(io_exits(0x7fff, 2)); /* from bitmap A into B */
	assert_false(io_exits(0x7fff, 1));
	assert_false(io_exits(0xfffc, 4));
	assert_true(io_exits(0xfffd, 4)); /* wraps around */
	f->IO_BITMAP_A = L1_RAM; /* no RAM: all ones */
	assert_true(io_exits(0x10, 1));
}

static bool msr_exits(u32 reason, u32 msr)
{
	vcpu.gpr[GPR_RCX] = 0xdead00000000 | msr;
	return nested_l1_wants(&vcpu, reason);
}

static void msrs(void **state)
{
	u8 *bitmap = l1_mem(L1_MSR_BITMAP);

	(void)state;
	start_plain();
	v12()->PROC_CONTROLS &= ~PROC_MSR_BITMAPS;
	assert_true(msr_exits(XR_RDMSR, 0x10));
	v12()->PROC_CONTROLS |= PROC_MSR_BITMAPS;
	static const struct { u32 reason, msr, byte; } at[] = {
		{ XR_RDMSR, 0x10, 2 }, { XR_RDMSR, 0x1fff, 1023 }, { XR_RDMSR, 0xc0000080, 1024 + 16 }, { XR_WRMSR, 0x10, 2048 + 2 }, { XR_WRMSR, 0xc0001fff, 4095 },
	};
	for (u32 i = 0; i < ARRAY_SIZE(at); i++) {
		assert_false(msr_exits(at[i].reason, at[i].msr));
		bitmap[at[i].byte] = (u8)BIT(at[i].msr % 8);
		assert_true(msr_exits(at[i].reason, at[i].msr));
		bitmap[at[i].byte] = 0;
	}
	assert_true(msr_exits(XR_RDMSR, 0x2000));
	assert_true(msr_exits(XR_WRMSR, 0xbfffffff));
	assert_true(msr_exits(XR_WRMSR, 0xc0002000));
	assert_true(msr_exits(XR_RDMSR, 0x40000000));
}

/* ---- HLT ---- */
static void hlt(void **state)
{
	(void)state;
	l1_prepare(BASE_EPT);
	WRITE(PIN_CONTROLS, v12()->PIN_CONTROLS & ~PIN_PREEMPTION_TIMER);
	l1_launch();
	assert_false(L2_EXITS(.reason = XR_HLT)); /* the vCPU halts, as for L1 */
	assert_true(vcpu.nested->l2_halted);
	SET(GUEST_ACTIVITY, ACTIVITY_HLT);
	L2_EXITS(.reason = XR_TRIPLE_FAULT);
	assert_int_equal(v12()->GUEST_ACTIVITY, ACTIVITY_HLT);
	WRITE(PIN_CONTROLS, v12()->PIN_CONTROLS | PIN_PREEMPTION_TIMER);
	l1_resume(); /* into HLT; L1's timer runs there, so the processor itself halts */
	nested_before_entry(&vcpu);
	assert_int_equal(HW(GUEST_ACTIVITY), ACTIVITY_HLT);
	assert_true(L2_EXITS(.reason = XR_PREEMPTION_TIMER));
	expect_exit(XR_PREEMPTION_TIMER, 0);
	assert_int_equal(v12()->GUEST_ACTIVITY, ACTIVITY_HLT);
	WRITE(GUEST_ACTIVITY, ACTIVITY_ACTIVE);
	l1_resume();
	u64 rip = HW(GUEST_RIP);
	assert_true(L2_EXITS(.reason = XR_HLT, .insn_len = 1));
	assert_int_equal(HW(GUEST_RIP), rip + 1);
	nested_before_entry(&vcpu);
	assert_int_equal(HW(GUEST_ACTIVITY), ACTIVITY_HLT);
	vcpu.nmi_pending = true; /* an NMI of L1's: exits, HLT or not */
	nested_before_entry(&vcpu);
	expect_exit(XR_EXCEPTION_NMI, 0);
}

/* ---- EPT ---- */
#define RWX(entry) ((entry) & EPT_RWX)
static void ept(void **state)
{
	u64 *pd = l1_word(L1_EPT + 2 * PAGE_SIZE);

	(void)state;
	start_plain();
	assert_true(L2_EXITS(.reason = XR_EPT_VIOLATION, .qualification = EPT_QUAL_READ | EPT_QUAL_NMI_UNBLOCK, .physical = 0x1234,
			     .idt_info = INTR_VALID | FIELD_PREP(INTR_TYPE, INTR_EXTERNAL) | 0x44));
	assert_true(l2_runs()); /* filled */
	assert_int_equal(vcpu.event.info, INTR_VALID | FIELD_PREP(INTR_TYPE, INTR_EXTERNAL) | 0x44); /* delivered again */
	assert_int_equal(HW(GUEST_INTERRUPTIBILITY), 0); /* … so it is not an IRET that failed */
	assert_true(L2_EXITS(.reason = XR_EPT_VIOLATION, .qualification = EPT_QUAL_READ | EPT_QUAL_NMI_UNBLOCK, .physical = 0x1234));
	assert_int_equal(HW(GUEST_INTERRUPTIBILITY), BLOCK_NMI); /* the IRET is executed again */
	SET(GUEST_INTERRUPTIBILITY, 0);
	pd[2] = 2 * SIZE_2M | EPT_READ | FIELD_PREP(EPT_MEMTYPE, MEMTYPE_WB) | EPT_PAGE;
	assert_true(L2_EXITS(.reason = XR_EPT_VIOLATION, .qualification = EPT_QUAL_WRITE | EPT_QUAL_LINEAR_VALID | EPT_QUAL_TRANSLATED, .physical = 2 * SIZE_2M + 8,
			     .linear = 0x99));
	expect_exit(XR_EPT_VIOLATION, EPT_QUAL_WRITE | EPT_QUAL_LINEAR_VALID | EPT_QUAL_TRANSLATED | FIELD_PREP(EPT_QUAL_PERMS, EPT_READ));
	assert_int_equal(v12()->GUEST_PHYSICAL_ADDR, 2 * SIZE_2M + 8);
	assert_int_equal(v12()->GUEST_LINEAR_ADDR, 0x99);
	put_l2();
	pd[2] = EPT_WRITE; /* malformed */
	assert_true(L2_EXITS(.reason = XR_EPT_VIOLATION, .qualification = EPT_QUAL_READ, .physical = 2 * SIZE_2M));
	expect_exit(XR_EPT_MISCONFIG, 0);
	put_l2();
	pd[2] = 0x40000000 | EPT_RWX | FIELD_PREP(EPT_MEMTYPE, MEMTYPE_WB) | EPT_PAGE; /* where L1 has a device page, and nothing else */
	assert_false(L2_EXITS(.reason = XR_EPT_VIOLATION, .qualification = EPT_QUAL_READ, .physical = 2 * SIZE_2M + 2 * PAGE_SIZE));
	pages_left = 0;
	pd[3] = (L1_EPT + 3 * PAGE_SIZE) | EPT_RWX;
	l1_word(L1_EPT + 3 * PAGE_SIZE)[0] = 0x5000 | EPT_RWX | FIELD_PREP(EPT_MEMTYPE, MEMTYPE_WB);
	assert_true(L2_EXITS(.reason = XR_EPT_VIOLATION, .qualification = EPT_QUAL_READ, .physical = 3 * SIZE_2M)); /* no memory for one table more */
	pages_left = -1;
}

static void without_ept(void **state)
{
	(void)state;
	l1_start_l2(BASE_LONG);
	assert_false(L2_EXITS(.reason = XR_EPT_VIOLATION, .qualification = EPT_QUAL_READ, .physical = L1_DEVICE)); /* L1's own address */
	assert_false(L2_EXITS(.reason = XR_EPT_MISCONFIG, .physical = L1_DEVICE));
}

/*
 * An APIC-access page where L1 has no RAM, at FEE00000h say. The processor must find it at that address: with and without EPT, so L2 without it
 * gets a table all the same.
 */
static void expect_page(u64 l2_gpa, u64 hpa, u64 flags)
{
	struct ptab_leaf l;

	assert_int_equal(HW(EPTP), ept02_pointer(vcpu.nested, &vm));
	assert_true(ptab_walk(&vcpu.nested->ept->pt, l2_gpa, &l));
	assert_int_equal(l.pa.v, hpa);
	assert_int_equal(l.flags & EPT_RWX, flags);
}

static void apic_access_page(void **state)
{
	const u64 apic = 0xfee00000;

	(void)state;
	l1_prepare(BASE_LONG);
	WRITE(PROC_CONTROLS, v12()->PROC_CONTROLS | PROC_SECONDARY);
	WRITE(PROC2_CONTROLS, PROC2_APIC_ACCESS);
	WRITE(APIC_ACCESS_ADDR, apic);
	l1_launch();
	u64 page = HW(APIC_ACCESS_ADDR);
	assert_int_not_equal(HW(EPTP) & EPT_ADDR, vm.ept.root.v);
	assert_true(L2_EXITS(.reason = XR_EPT_VIOLATION, .qualification = EPT_QUAL_READ, .physical = apic + 0x30));
	assert_true(l2_runs());
	expect_page(apic + 0x30, page + 0x30, EPT_READ | EPT_WRITE);
	assert_true(L2_EXITS(.reason = XR_EPT_VIOLATION, .qualification = EPT_QUAL_WRITE, .physical = 3 * SIZE_2M + 5));
	expect_page(3 * SIZE_2M + 5, (u64)ram + 3 * SIZE_2M + 5, EPT_RWX); /* L1's RAM as ever */
	assert_false(L2_EXITS(.reason = XR_EPT_VIOLATION, .qualification = EPT_QUAL_READ, .physical = apic + PAGE_SIZE)); /* the platform's */
	assert_true(L2_EXITS(.reason = XR_APIC_ACCESS, .qualification = 0x30));
	expect_exit(XR_APIC_ACCESS, 0x30);
	WRITE(APIC_ACCESS_ADDR, L1_APIC_ACCESS); /* RAM: found by our own table */
	l1_resume();
	assert_int_equal(HW(EPTP) & EPT_ADDR, vm.ept.root.v);
	assert_int_equal(HW(APIC_ACCESS_ADDR), (u64)ram + L1_APIC_ACCESS);
	L2_EXITS(.reason = XR_CPUID);
	WRITE(APIC_ACCESS_ADDR, apic);
	l1_resume();
	nested_flush_ept(&vcpu); /* our tables change */
	assert_true(L2_EXITS(.reason = XR_EPT_VIOLATION, .qualification = EPT_QUAL_READ, .physical = apic));
	expect_page(apic, page, EPT_READ | EPT_WRITE);
}

/* ---- page-modification log ---- */
static void pml(void **state)
{
	u64 *pd = l1_word(L1_EPT + 2 * PAGE_SIZE);

	(void)state;
	l1_prepare(BASE_EPT);
	WRITE(PROC2_CONTROLS, v12()->PROC2_CONTROLS | PROC2_PML);
	WRITE(EPTP, v12()->EPTP | EPTP_AD);
	WRITE(PML_ADDR, L1_AREA);
	WRITE(PML_INDEX, 511);
	l1_launch();
	assert_true(L2_EXITS(.reason = XR_EPT_VIOLATION, .qualification = EPT_QUAL_WRITE, .physical = SIZE_2M + 0x1234));
	assert_int_equal(l1_word(L1_AREA)[511], SIZE_2M + 0x1000);
	assert_int_equal(v12()->PML_INDEX, 510);
	assert_int_equal(pd[1] & (EPT_ACCESSED | EPT_DIRTY), EPT_ACCESSED | EPT_DIRTY);
	L2_EXITS(.reason = XR_CPUID);
	pd[1] &= ~(u64)EPT_DIRTY; /* L1 has seen it, and forgets to tell: L2's next write must be seen again */
	l1_resume();
	assert_true(L2_EXITS(.reason = XR_EPT_VIOLATION, .qualification = EPT_QUAL_WRITE, .physical = SIZE_2M));
	assert_int_equal(l1_word(L1_AREA)[510], SIZE_2M);
	L2_EXITS(.reason = XR_CPUID);
	WRITE(PML_INDEX, 0xffff); /* full */
	l1_resume();
	assert_true(L2_EXITS(.reason = XR_EPT_VIOLATION, .qualification = EPT_QUAL_WRITE | EPT_QUAL_NMI_UNBLOCK, .physical = 2 * SIZE_2M));
	expect_exit(XR_PML_FULL, EPT_QUAL_NMI_UNBLOCK);
	assert_int_equal(pd[2] & EPT_DIRTY, 0);
	WRITE(PML_ADDR, L1_RAM); /* a log nobody can read */
	WRITE(PML_INDEX, 3);
	l1_resume();
	assert_true(L2_EXITS(.reason = XR_EPT_VIOLATION, .qualification = EPT_QUAL_WRITE, .physical = 2 * SIZE_2M));
	assert_true(pd[2] & EPT_DIRTY);
}

/* ---- VMFUNC ---- */
static void vmfunc(void **state)
{
	u64 *list = l1_word(L1_AREA), other = 0x30000;

	(void)state;
	*l1_word(other) = (L1_EPT + PAGE_SIZE) | EPT_RWX;
	list[0] = L1_EPT | MEMTYPE_WB | 3 << 3;
	list[1] = other | MEMTYPE_WB | 3 << 3;
	list[2] = other; /* memory type UC, page walk 1 */
	l1_prepare(BASE_EPT);
	WRITE(PROC2_CONTROLS, v12()->PROC2_CONTROLS | PROC2_VMFUNC);
	WRITE(VMFUNC_CONTROLS, VMFUNC_EPTP_SWITCHING);
	WRITE(EPTP_LIST_ADDR, L1_AREA);
	l1_launch();
	static const struct { u64 rax, rcx; bool done; } call[] = {
		{ 0, 1, true }, { 0, 2, false }, { 0, 512, false }, { 1, 0, false }, { 0, 0, true }, { BIT(32), BIT(32) | 1, true },
	};
	for (u32 i = 0; i < ARRAY_SIZE(call); i++) {
		vcpu.gpr[GPR_RAX] = call[i].rax;
		vcpu.gpr[GPR_RCX] = call[i].rcx;
		u64 rip = HW(GUEST_RIP), before = v12()->EPTP;
		assert_true(L2_EXITS(.reason = XR_VMFUNC, .insn_len = 3));
		if (call[i].done) {
			assert_true(l2_runs());
			assert_int_equal(HW(GUEST_RIP), rip + 3);
			assert_int_equal(v12()->EPTP, list[(u32)call[i].rcx]);
			assert_int_equal(HW(EPTP), ept02_pointer(vcpu.nested, &vm));
			continue;
		}
		expect_exit(XR_VMFUNC, 0);
		assert_int_equal(v12()->EPTP, before);
		assert_int_equal(v12()->GUEST_RIP, rip);
		put_l2();
	}
	v12()->VMFUNC_CONTROLS = 0;
	vcpu.gpr[GPR_RAX] = vcpu.gpr[GPR_RCX] = 0;
	assert_true(L2_EXITS(.reason = XR_VMFUNC));
	expect_exit(XR_VMFUNC, 0);
	v12()->VMFUNC_CONTROLS = VMFUNC_EPTP_SWITCHING;
	v12()->EPTP_LIST_ADDR = L1_RAM;
	put_l2();
	assert_true(L2_EXITS(.reason = XR_VMFUNC));
	expect_exit(XR_VMFUNC, 0);
}

/* ---- a shadow VMCS of L1's for its L2 ---- */
#define REGISTERS (BIT(10) | FIELD_PREP(BITS(31, 28), GPR_RBX) | FIELD_PREP(BITS(6, 3), GPR_RAX))
static bool l2_access(u32 reason, u64 encoding)
{
	vcpu.gpr[GPR_RBX] = encoding;
	return L2_EXITS(.reason = reason, .insn_info = REGISTERS, .insn_len = 4);
}

static void shadow_of_l2(void **state)
{
	struct vmcs12_region *linked = l1_mem(L1_SHADOW);
	u8 *reads = l1_mem(L1_AREA), *writes = l1_mem(L1_AREA + PAGE_SIZE);

	(void)state;
	l1_prepare(BASE_EPT);
	WRITE(PROC2_CONTROLS, v12()->PROC2_CONTROLS | PROC2_SHADOW_VMCS);
	WRITE(VMREAD_BITMAP, L1_AREA);
	WRITE(VMWRITE_BITMAP, L1_AREA + PAGE_SIZE);
	WRITE(VMCS_LINK_PTR, L1_SHADOW);
	l1_launch();
	linked->data.GUEST_RIP = 0x777;
	u64 rip = HW(GUEST_RIP);
	assert_true(l2_access(XR_VMREAD, VMCS_GUEST_RIP));
	assert_true(l2_runs());
	assert_int_equal(vcpu.gpr[GPR_RAX], 0x777);
	assert_int_equal(HW(GUEST_RIP), rip + 4);
	vcpu.gpr[GPR_RAX] = 0x888;
	assert_true(l2_access(XR_VMWRITE, VMCS_GUEST_RIP));
	assert_int_equal(linked->data.GUEST_RIP, 0x888);
	assert_true(l2_access(XR_VMREAD, 0x4444)); /* no such field */
	assert_int_equal(HW(GUEST_RFLAGS) & (RFLAGS_ZF | RFLAGS_CF), RFLAGS_ZF);
	reads[VMCS_GUEST_RIP / 8] = (u8)BIT(VMCS_GUEST_RIP % 8);
	assert_true(l2_access(XR_VMREAD, VMCS_GUEST_RIP));
	expect_exit(XR_VMREAD, 0);
	put_l2();
	assert_true(l2_access(XR_VMWRITE, VMCS_GUEST_RIP));
	assert_true(l2_runs());
	writes[VMCS_GUEST_RIP / 8] = 0xff;
	assert_true(l2_access(XR_VMWRITE, VMCS_GUEST_RIP));
	expect_exit(XR_VMWRITE, 0);
	put_l2();
	assert_true(l2_access(XR_VMREAD, BIT(15))); /* beyond the bitmap */
	expect_exit(XR_VMREAD, 0);
	WRITE(VMREAD_BITMAP, L1_RAM);
	put_l2();
	assert_true(l2_access(XR_VMREAD, VMCS_GUEST_RSP));
	expect_exit(XR_VMREAD, 0);
	WRITE(VMREAD_BITMAP, L1_AREA);
	WRITE(VMCS_LINK_PTR, ~0ull);
	put_l2();
	assert_true(l2_access(XR_VMREAD, VMCS_GUEST_RSP)); /* no current VMCS */
	assert_int_equal(HW(GUEST_RFLAGS) & (RFLAGS_ZF | RFLAGS_CF), RFLAGS_CF);
	SET(GUEST_SS_AR, 0xc0f3);
	writes[VMCS_GUEST_RIP / 8] = 0;
	v12()->EXCEPTION_BITMAP = 0;
	assert_true(l2_access(XR_VMWRITE, VMCS_GUEST_RSP));
	assert_int_equal(vcpu.event.info, EXCEPTION_INFO(VEC_GP) | INTR_HAS_ERROR);
}

/* Its operand in L2's memory, that ept12 refuses: an EPT violation of L1's. */
static void shadow_operand(void **state)
{
	u64 *pd = l1_word(L1_EPT + 2 * PAGE_SIZE);

	(void)state;
	l1_prepare(BASE_EPT);
	WRITE(PROC2_CONTROLS, v12()->PROC2_CONTROLS | PROC2_SHADOW_VMCS);
	WRITE(VMREAD_BITMAP, L1_AREA);
	WRITE(VMWRITE_BITMAP, L1_AREA);
	WRITE(VMCS_LINK_PTR, L1_SHADOW);
	WRITE(EXCEPTION_BITMAP, 0);
	pd[3] &= ~(u64)EPT_WRITE;
	l1_launch();
	u64 memory = FIELD_PREP(BITS(17, 15), 3) | FIELD_PREP(BITS(9, 7), 2) | BIT(22) | BIT(27) | FIELD_PREP(BITS(31, 28), GPR_RBX), at = 3 * SIZE_2M + 16;
	vcpu.gpr[GPR_RBX] = VMCS_GUEST_RSP;
	((struct vmcs12_region *)l1_mem(L1_SHADOW))->data.GUEST_RSP = 0x4242;
	*l1_word(at) = 0x99;
	assert_true(L2_EXITS(.reason = XR_VMWRITE, .insn_info = (u32)memory, .qualification = at));
	assert_int_equal(((struct vmcs12_region *)l1_mem(L1_SHADOW))->data.GUEST_RSP, 0x99);
	assert_true(l2_runs());
	assert_true(L2_EXITS(.reason = XR_VMREAD, .insn_info = (u32)memory, .qualification = 2 * SIZE_2M));
	assert_int_equal(*l1_word(2 * SIZE_2M), 0x99);
	assert_true(L2_EXITS(.reason = XR_VMREAD, .insn_info = (u32)memory, .qualification = at));
	expect_exit(XR_EPT_VIOLATION, EPT_QUAL_WRITE | FIELD_PREP(EPT_QUAL_PERMS, EPT_READ | EPT_EXEC) | EPT_QUAL_LINEAR_VALID | EPT_QUAL_TRANSLATED);
	assert_int_equal(v12()->GUEST_PHYSICAL_ADDR, at);
	assert_int_equal(v12()->GUEST_LINEAR_ADDR, at);
	assert_int_equal(*l1_word(at), 0x99);
	pd[3] = EPT_WRITE;
	put_l2();
	assert_true(L2_EXITS(.reason = XR_VMREAD, .insn_info = (u32)memory, .qualification = at));
	expect_exit(XR_EPT_MISCONFIG, 0);
	pd[0] = 0; /* its page tables: a violation of the walk */
	put_l2();
	assert_true(L2_EXITS(.reason = XR_VMREAD, .insn_info = (u32)memory, .qualification = at));
	expect_exit(XR_EPT_VIOLATION, EPT_QUAL_READ | EPT_QUAL_LINEAR_VALID);
	assert_int_equal(v12()->GUEST_PHYSICAL_ADDR, L1_PML4);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, machine_full, machine_stop)
	const struct CMUnitTest tests[] = {
		TEST(unconditional), TEST(by_control), TEST(invpcid_needs_both), TEST(exceptions), TEST(our_exceptions), TEST(io), TEST(msrs), TEST(hlt),
		TEST(ept), TEST(without_ept), TEST(apic_access_page), TEST(pml), TEST(vmfunc), TEST(shadow_of_l2), TEST(shadow_operand),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
