/*
 * Interrupts, NMIs and INIT for an L1 whose L2 runs (SDM 3C, Other Causes of VM Exits; Event Blocking; Posted-Interrupt Processing), on the
 * whole nested engine: nothing is lost or delivered twice, and what is blocked waits for its window.
 */
#include "tests/unit/nested_machine.h"

#define WRITE(name, value) assert_int_equal(l1_write_field(VMCS_##name, value), SUCCEEDED)
#define EXTERNAL(vector) (INTR_VALID | FIELD_PREP(INTR_TYPE, INTR_EXTERNAL) | (vector))
#define NMI (INTR_VALID | FIELD_PREP(INTR_TYPE, INTR_NMI) | 2)
#define EXCEPTION_3 (INTR_VALID | FIELD_PREP(INTR_TYPE, INTR_SW_EXCEPTION) | 3)

static bool waits(u8 vector) { return *(u32 *)(vlapic.regs + APIC_IRR + vector / 32 * 16) & BIT(vector % 32); }
static bool in_service(u8 vector) { return *(u32 *)(vlapic.regs + APIC_ISR + vector / 32 * 16) & BIT(vector % 32); }

static void start(u64 pin_on, u64 pin_off, u64 exit_on)
{
	l1_prepare(BASE_EPT);
	WRITE(PIN_CONTROLS, (v12()->PIN_CONTROLS | pin_on) & ~pin_off);
	WRITE(EXIT_CONTROLS, v12()->EXIT_CONTROLS | exit_on);
	l1_launch();
}

/* L2 is entered: what goes in with it, and the windows that are asked for. */
static void entry(u32 event, u64 windows)
{
	vcpu.event = (struct vcpu_event){ 0 };
	nested_before_entry(&vcpu);
	assert_true(l2_runs());
	assert_int_equal(vcpu.event.info, event);
	assert_int_equal(HW(PROC_CONTROLS) & OURS_DYNAMIC, windows);
}

/* ---- external interrupts ---- */
static void interrupt_exits(void **state)
{
	(void)state;
	start(PIN_EXT_INT, 0, 0);
	entry(0, 0);
	vlapic_post(&vcpu, 0x55); /* RFLAGS.IF is 0: exits all the same */
	assert_true(nested_interrupt_exits(&vcpu));
	nested_before_entry(&vcpu);
	expect_exit(XR_EXTERNAL_INTERRUPT, 0);
	assert_int_equal(v12()->EXIT_INTR_INFO, 0); /* not acknowledged */
	assert_true(waits(0x55));
	assert_false(nested_interrupt_exits(&vcpu));
}

static void interrupt_exits_acknowledged(void **state)
{
	(void)state;
	start(PIN_EXT_INT, 0, EXIT_ACK_INT);
	vlapic_post(&vcpu, 0x55);
	SET(GUEST_INTERRUPTIBILITY, BLOCK_STI); /* such an exit waits for the end of that, too */
	entry(0, PROC_MTF);
	assert_true(L2_EXITS(.reason = XR_MTF));
	SET(GUEST_INTERRUPTIBILITY, 0);
	vcpu.event = (struct vcpu_event){ EXCEPTION_3, 0, 1 }; /* goes in first */
	nested_before_entry(&vcpu);
	assert_true(l2_runs());
	assert_int_equal(vcpu.event.info, EXCEPTION_3);
	assert_int_equal(HW(PROC_CONTROLS) & OURS_DYNAMIC, PROC_MTF);
	vcpu.event = (struct vcpu_event){ 0 };
	nested_before_entry(&vcpu);
	expect_exit(XR_EXTERNAL_INTERRUPT, 0);
	assert_int_equal(v12()->EXIT_INTR_INFO, EXTERNAL(0x55));
	assert_false(waits(0x55));
	assert_true(in_service(0x55));
}

static void interrupt_goes_in(void **state)
{
	(void)state;
	start(0, PIN_EXT_INT, 0);
	vlapic_post(&vcpu, 0x55);
	entry(0, PROC_INT_WINDOW); /* IF = 0 */
	assert_true(L2_EXITS(.reason = XR_INTERRUPT_WINDOW));
	SET(GUEST_RFLAGS, 0x202);
	SET(GUEST_INTERRUPTIBILITY, BLOCK_MOV_SS);
	entry(0, PROC_INT_WINDOW);
	SET(GUEST_INTERRUPTIBILITY, 0);
	entry(EXTERNAL(0x55), 0);
	assert_true(in_service(0x55));
	vlapic_post(&vcpu, 0x54); /* the same priority class: must wait for the EOI */
	entry(0, 0);
	assert_true(waits(0x54));
	vlapic_eoi(&vcpu);
	entry(EXTERNAL(0x54), 0);
}

/* ---- NMIs ---- */
static void nmi_exits(void **state)
{
	(void)state;
	start(PIN_NMI, PIN_VIRTUAL_NMI, 0);
	vcpu.nmi_pending = true;
	SET(GUEST_INTERRUPTIBILITY, BLOCK_NMI); /* L1 and L2 share the blocking */
	entry(0, 0);
	SET(GUEST_INTERRUPTIBILITY, BLOCK_MOV_SS);
	entry(0, PROC_MTF);
	SET(GUEST_INTERRUPTIBILITY, 0);
	nested_before_entry(&vcpu);
	expect_exit(XR_EXCEPTION_NMI, 0);
	assert_int_equal(v12()->EXIT_INTR_INFO, NMI);
	assert_false(vcpu.nmi_pending);
	assert_int_equal(HW(GUEST_INTERRUPTIBILITY), BLOCK_NMI);
}

static void nmi_exits_virtual(void **state)
{
	(void)state;
	start(PIN_NMI | PIN_VIRTUAL_NMI, 0, 0);
	vcpu.nmi_pending = true;
	SET(GUEST_INTERRUPTIBILITY, BLOCK_NMI); /* L2's own, virtual one */
	nested_before_entry(&vcpu);
	expect_exit(XR_EXCEPTION_NMI, 0);
	assert_int_equal(v12()->EXIT_INTR_INFO, NMI);
	assert_int_equal(v12()->GUEST_INTERRUPTIBILITY, BLOCK_NMI);
}

static void nmi_goes_in(void **state)
{
	(void)state;
	start(0, PIN_NMI, 0);
	vcpu.nmi_pending = true;
	SET(GUEST_INTERRUPTIBILITY, BLOCK_NMI);
	entry(0, PROC_NMI_WINDOW);
	assert_true(L2_EXITS(.reason = XR_NMI_WINDOW));
	SET(GUEST_INTERRUPTIBILITY, 0);
	entry(NMI, 0);
	assert_false(vcpu.nmi_pending);
	vcpu.nmi_pending = true; /* no NMI windows: look again behind each instruction */
	vmx_caps.use_pin &= (u32)~PIN_VIRTUAL_NMI;
	SET(GUEST_INTERRUPTIBILITY, BLOCK_NMI);
	entry(0, PROC_MTF);
}

/* The event that was being delivered when the interrupt came is the interrupt's IDT-vectoring information. */
static void interrupted_delivery(void **state)
{
	(void)state;
	start(PIN_EXT_INT, 0, 0);
	vcpu.event = (struct vcpu_event){ EXCEPTION_3, 0, 1 };
	reflect_event(&vcpu, XR_EXTERNAL_INTERRUPT, 0);
	expect_exit(XR_EXTERNAL_INTERRUPT, 0);
	assert_int_equal(v12()->IDT_VECTORING_INFO, EXCEPTION_3);
	assert_int_equal(v12()->EXIT_INSN_LEN, 1);
}

/* ---- INIT ---- */
static void init(void **state)
{
	(void)state;
	assert_false(nested_take_init(&vcpu)); /* outside VMX operation: as ever */
	l1_prepare(BASE_EPT);
	assert_true(nested_take_init(&vcpu));  /* VMX root operation: blocked … */
	assert_int_equal(requests, 0);
	assert_int_equal(l1_run(exit_vmxoff), SUCCEEDED);
	assert_int_equal(requests, VCPU_REQ_INIT); /* … until VMXOFF */
	l1_vmxon();
	assert_int_equal(l1_pointer(exit_vmptrld, L1_VMCS), SUCCEEDED);
	l1_launch();
	vcpu.state = VCPU_HALTED;
	assert_true(nested_take_init(&vcpu));
	expect_exit(XR_INIT, 0);
	assert_int_equal(vcpu.state, VCPU_RUNNABLE);
	assert_true(nested_vmx_on(&vcpu));
	requests = 0;
	assert_true(nested_take_init(&vcpu)); /* blocked in VMX root operation, and not forgotten */
	WRITE(ENTRY_INTR_INFO, EXTERNAL(0x44));
	WRITE(GUEST_RFLAGS, 0x202);
	l1_resume();
	nested_before_entry(&vcpu);
	expect_exit(XR_INIT, 0);
	assert_int_equal(v12()->IDT_VECTORING_INFO, EXTERNAL(0x44)); /* was on its way */
	assert_int_equal(l1_run(exit_vmxoff), SUCCEEDED);
	assert_int_equal(requests, 0); /* the exit has taken it */
}

/* ---- wait-for-SIPI ---- */
static void start_waiting(u32 timer)
{
	l1_prepare(BASE_EPT);
	WRITE(PIN_CONTROLS, v12()->PIN_CONTROLS | PIN_EXT_INT | PIN_NMI | PIN_PREEMPTION_TIMER);
	WRITE(EXIT_CONTROLS, v12()->EXIT_CONTROLS | EXIT_SAVE_PREEMPTION);
	WRITE(PREEMPTION_TIMER, timer);
	WRITE(GUEST_PENDING_DBG, BIT(12) | 1);
	WRITE(GUEST_ACTIVITY, ACTIVITY_WAIT_SIPI);
	vcpu.state = VCPU_RUNNABLE;
	l1_launch();
	assert_int_equal(vcpu.state, VCPU_WAIT_SIPI); /* the loop does not enter it */
}

/* Nothing but a SIPI ends it, and nothing of what came is lost. */
static void wait_for_sipi(void **state)
{
	(void)state;
	assert_false(nested_take_sipi(&vcpu, 0x12)); /* outside VMX operation: the processor starts */
	start_waiting(1000);
	vlapic_post(&vcpu, 0x55);
	vcpu.nmi_pending = true;
	assert_true(nested_take_init(&vcpu));
	assert_true(l2_runs());
	assert_int_equal(vcpu.state, VCPU_WAIT_SIPI);
	model_tsc += 10 << 5;
	assert_true(nested_take_sipi(&vcpu, 0x9a));
	expect_exit(XR_SIPI, 0x9a);
	assert_int_equal(vcpu.state, VCPU_RUNNABLE);
	assert_int_equal(v12()->GUEST_ACTIVITY, ACTIVITY_WAIT_SIPI);
	assert_int_equal(v12()->GUEST_RIP, env.guest_rip);
	assert_int_equal(v12()->GUEST_PENDING_DBG, 0);
	assert_in_range(v12()->PREEMPTION_TIMER, 989, 990);
	assert_int_equal(v12()->EXIT_INTR_INFO & INTR_VALID, 0);
	assert_true(vcpu.pi->control & PI_ON);
	assert_true(vcpu.nmi_pending);
	vcpu.nmi_pending = false; /* L1 has taken it */
	WRITE(GUEST_ACTIVITY, ACTIVITY_WAIT_SIPI);
	l1_resume();
	nested_take_sipi(&vcpu, 1); /* the INIT that is blocked does not end it either */
	expect_exit(XR_SIPI, 1);
	WRITE(GUEST_ACTIVITY, ACTIVITY_ACTIVE);
	l1_resume();
	nested_before_entry(&vcpu); /* … but it comes now */
	expect_exit(XR_INIT, 0);
	assert_int_equal(v12()->GUEST_ACTIVITY, ACTIVITY_ACTIVE);
	l1_resume();
	nested_before_entry(&vcpu);
	expect_exit(XR_EXTERNAL_INTERRUPT, 0);
}

static void wait_for_sipi_timer_over(void **state)
{
	(void)state;
	start_waiting(1000);
	model_tsc += 1 << 20;
	assert_true(nested_take_sipi(&vcpu, 0));
	expect_exit(XR_SIPI, 0);
	assert_int_equal(v12()->PREEMPTION_TIMER, 0); /* has made no exit */
}

/* L2 that waits in another state ignores a SIPI: vmx/vcpu.c does not ask. And what may not go in. */
static void wait_for_sipi_injection(void **state)
{
	(void)state;
	l1_prepare(BASE_EPT);
	WRITE(GUEST_ACTIVITY, ACTIVITY_WAIT_SIPI);
	WRITE(ENTRY_INTR_INFO, NMI);
	assert_int_equal(l1_run(exit_vmlaunch), ENTERED);
	expect_exit(XR_ENTRY_GUEST_STATE | EXIT_REASON_ENTRY_FAILURE, 0);
	WRITE(ENTRY_INTR_INFO, INTR_VALID | FIELD_PREP(INTR_TYPE, INTR_OTHER));
	assert_int_equal(l1_run(exit_vmlaunch), ENTERED);
	expect_exit(XR_ENTRY_GUEST_STATE | EXIT_REASON_ENTRY_FAILURE, 0);
}

/* ---- monitor trap ---- */
static void monitor_trap(void **state)
{
	(void)state;
	l1_prepare(BASE_EPT);
	WRITE(PROC_CONTROLS, v12()->PROC_CONTROLS | PROC_MTF);
	l1_launch();
	nested_advanced(&vcpu); /* an instruction that we have performed for L2 */
	vlapic_post(&vcpu, 0x55);
	nested_before_entry(&vcpu);
	expect_exit(XR_MTF, 0);      /* first */
	assert_true(vcpu.pi->control & PI_ON);
	l1_resume();
	nested_before_entry(&vcpu);
	expect_exit(XR_EXTERNAL_INTERRUPT, 0);
	WRITE(PROC_CONTROLS, v12()->PROC_CONTROLS & ~PROC_MTF);
	l1_resume();
	nested_advanced(&vcpu);
	assert_false(vcpu.nested->trap_due);
}

/* ---- virtual-interrupt delivery and posting for L2 ---- */
#define NOTIFICATION 0xe1
static void start_posted(void)
{
	l1_prepare(BASE_EPT);
	WRITE(PIN_CONTROLS, (v12()->PIN_CONTROLS | PIN_POSTED_INT | PIN_EXT_INT) & ~PIN_PREEMPTION_TIMER);
	WRITE(EXIT_CONTROLS, v12()->EXIT_CONTROLS | EXIT_ACK_INT);
	WRITE(PROC_CONTROLS, v12()->PROC_CONTROLS | PROC_TPR_SHADOW);
	WRITE(PROC2_CONTROLS, v12()->PROC2_CONTROLS | PROC2_VIRT_INT | PROC2_APIC_REGS);
	WRITE(PI_NOTIFICATION_VECTOR, NOTIFICATION);
	l1_launch();
}

static struct pi_desc *l2_desc(void) { return l1_mem(L1_PI); }
static bool l2_irr(u8 vector) { return *(u32 *)((u8 *)l1_mem(L1_VAPIC) + APIC_IRR + vector / 32 * 16) & BIT(vector % 32); }

static void posted_by_l1s_vector(void **state)
{
	(void)state;
	start_posted();
	pi_post(l2_desc(), 0x71);
	pi_post(l2_desc(), 0x44);
	vlapic_post(&vcpu, NOTIFICATION);
	entry(0, 0); /* no exit */
	assert_true(l2_irr(0x71));
	assert_true(l2_irr(0x44));
	assert_int_equal(l2_desc()->control & PI_ON, 0);
	assert_int_equal(HW(GUEST_INTERRUPT_STATUS) & 0xff, 0x71);
	assert_false(waits(NOTIFICATION));
	assert_false(in_service(NOTIFICATION));
	pi_post(l2_desc(), 0x33); /* a lower one does not lower RVI */
	vlapic_post(&vcpu, NOTIFICATION);
	vlapic_post(&vcpu, 0x20); /* and another one for L1 */
	vcpu.event = (struct vcpu_event){ 0 };
	nested_before_entry(&vcpu);
	expect_exit(XR_EXTERNAL_INTERRUPT, 0);
	assert_int_equal(v12()->EXIT_INTR_INFO, EXTERNAL(0x20));
	assert_int_equal(v12()->GUEST_INTERRUPT_STATUS & 0xff, 0x71);
	assert_false(nested_take_notification(&vcpu, NOTIFICATION)); /* L1 runs: an interrupt like any other */
}

/* The vector stands in L1's IRR already. */
static void posted_pending(void **state)
{
	(void)state;
	start_posted();
	pi_post(l2_desc(), 0x71);
	apic_reg_set(vlapic.regs, APIC_IRR, NOTIFICATION);
	vlapic.maybe_irr = true;
	entry(0, 0);
	assert_true(l2_irr(0x71));
	assert_false(waits(NOTIFICATION));
	assert_false(nested_take_notification(&vcpu, NOTIFICATION - 1));
}

static void posted_directly(void **state)
{
	const hpa_t desc = HPA((u64)ram + L1_PI);

	(void)state;
	start_posted();
	assert_false(nested_post_direct(&vcpu, HPA(desc.v + 64), 0x66)); /* not L2's */
	assert_true(nested_post_direct(&vcpu, desc, 0x66));
	entry(0, 0);
	assert_true(l2_irr(0x66));
	assert_int_equal(HW(GUEST_INTERRUPT_STATUS) & 0xff, 0x66);
	vcpu.core.cpu = 1;
	assert_false(nested_post_direct(&vcpu, desc, 0x67));
	vcpu.core.cpu = 0;
	L2_EXITS(.reason = XR_CPUID);
	assert_false(nested_post_direct(&vcpu, desc, 0x67)); /* L1 runs */
	vcpu.nested->pi_pending = true;
	vcpu.nested->pi_desc = HPA_NONE;
	irq_drain_l2(&vcpu);
	assert_false(vcpu.nested->pi_pending);
}

/* A virtual interrupt that L2's TPR and IF let through ends its HLT; one that they do not, does not. */
static void posted_ends_hlt(void **state)
{
	(void)state;
	start_posted();
	assert_true(L2_EXITS(.reason = XR_HLT, .insn_len = 1));
	entry(0, 0);
	assert_int_equal(HW(GUEST_ACTIVITY), ACTIVITY_HLT);
	assert_true(nested_post_direct(&vcpu, HPA((u64)ram + L1_PI), 0x66));
	entry(0, 0);
	assert_int_equal(HW(GUEST_ACTIVITY), ACTIVITY_HLT); /* IF = 0 */
	SET(GUEST_RFLAGS, 0x202);
	((u8 *)l1_mem(L1_VAPIC))[APIC_PPR] = 0x60;
	entry(0, 0);
	assert_int_equal(HW(GUEST_ACTIVITY), ACTIVITY_HLT); /* priority */
	((u8 *)l1_mem(L1_VAPIC))[APIC_PPR] = 0x50;
	entry(0, 0);
	assert_int_equal(HW(GUEST_ACTIVITY), ACTIVITY_ACTIVE);
	assert_true(L2_EXITS(.reason = XR_CPUID));
	assert_int_equal(v12()->GUEST_ACTIVITY, ACTIVITY_ACTIVE);
}

static void nothing_while_l1_runs(void **state)
{
	(void)state;
	l1_prepare(BASE_EPT);
	vlapic_post(&vcpu, 0x55);
	nested_before_entry(&vcpu);
	assert_true(vcpu.pi->control & PI_ON);
}

/* L1's own pending virtual interrupt, that the processor would have delivered, is not lost when L2 is entered. */
static void rvi_of_l1(void **state)
{
	(void)state;
	l1_prepare(BASE_EPT);
	apic_reg_set(vlapic.regs, APIC_IRR, 0x31);
	SET(GUEST_INTERRUPT_STATUS, 0x31);
	l1_launch();
	nested_before_entry(&vcpu);
	expect_exit(XR_EXTERNAL_INTERRUPT, 0);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, machine_full, machine_stop)
	const struct CMUnitTest tests[] = {
		TEST(interrupt_exits), TEST(interrupt_exits_acknowledged), TEST(interrupt_goes_in), TEST(nmi_exits), TEST(nmi_exits_virtual),
		TEST(nmi_goes_in), TEST(interrupted_delivery), TEST(init), TEST(wait_for_sipi), TEST(wait_for_sipi_timer_over),
		TEST(wait_for_sipi_injection), TEST(monitor_trap), TEST(posted_by_l1s_vector), TEST(posted_pending),
		TEST(posted_directly), TEST(posted_ends_hlt), TEST(nothing_while_l1_runs), TEST(rvi_of_l1),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
