/*
 * Flat nesting (vmx/nested_chain.c; core/abi.h, Delegation): events for a level between. What comes for L1 or L2 while L3 runs, INIT and SIPI,
 * posted interrupts.
 */
#include "tests/unit/nested_three.h"

/* ---- events for L1 ---- */
static void events_for_l1(void **state)
{
	(void)state;
	SLOT(page1, EXIT_CONTROLS) |= EXIT_ACK_INT;
	run_l3();
	vcpu.event = (struct vcpu_event){ GP_INFO, 0x10, 0 }; /* on its way into L3 */
	vlapic_post(&vcpu, 0x41);
	nested_before_entry(&vcpu);
	expect_exit(XR_EXTERNAL_INTERRUPT, 0);
	assert_int_equal(SLOT(page1, EXIT_INTR_INFO), EXTERNAL(0x41));
	assert_int_equal(SLOT(page1, IDT_VECTORING_INFO), 0);
	l1_resume();
	assert_true(l3_is_in());
	assert_int_equal(vcpu.event.info, GP_INFO); /* goes in now */
	assert_int_equal(vcpu.event.error, 0x10);
	vcpu.event.info = 0;
	vcpu.nmi_pending = true;
	nested_before_entry(&vcpu);
	expect_exit(XR_EXCEPTION_NMI, 0);
	assert_false(vcpu.nmi_pending);
	l1_resume();
	assert_true(l3_is_in());
	assert_true(nested_take_init(&vcpu));
	expect_exit(XR_INIT, 0);
	l1_resume();
	assert_true(l3_is_in());
	vlapic_eoi(&vcpu);
	vlapic_post(&vcpu, 0x42);
	vcpu.nested_base->v12.PIN_CONTROLS &= ~PIN_EXT_INT; /* nobody can take it now */
	nested_before_entry(&vcpu);
	assert_true(l3_is_in());
}

/* ---- INIT and SIPI for L2's processor, which is L1's to say ---- */
static void l1_says_init(void)
{
	page1->init = 1;
	page1->clean &= ~NEST_GROUP_CONTROLS;
	l1_resume();
}

static void init_for_l2(void **state)
{
	(void)state;
	SLOT(page1, PROC_CONTROLS) |= PROC_RDTSC;
	run_l3();
	assert_true(L3_EXITS(.reason = XR_RDTSC)); /* L1's: L3 is suspended */
	l1_says_init();
	assert_true(l3_is_in());
	vcpu.event = (struct vcpu_event){ GP_INFO, 0x10, 0 }; /* on its way into L3 */
	nested_before_entry(&vcpu);
	assert_true(l2_is_in());
	assert_int_equal(REASON2, XR_INIT);
	assert_int_equal(SLOT(page2, IDT_VECTORING_INFO), GP_INFO);
	assert_int_equal(SLOT(page2, IDT_VECTORING_ERROR), 0x10);
	assert_int_equal(page1->init, 0); /* L1 is told */
	assert_true(L2_EXITS(.reason = XR_VMRESUME));
	nested_before_entry(&vcpu);
	assert_true(l3_is_in());
	/* L2 is in VMX root operation: it waits for the next stay further in. */
	assert_true(L3_EXITS(.reason = XR_CPUID));
	assert_true(L2_EXITS(.reason = XR_RDTSC));
	l1_says_init();
	nested_before_entry(&vcpu);
	assert_true(l2_is_in());
	assert_int_equal(page1->init, 1);
	assert_false(nested_fast_chain(&vcpu));
	assert_true(L2_EXITS(.reason = XR_VMRESUME));
	assert_true(l3_is_in());
	nested_before_entry(&vcpu);
	assert_true(l2_is_in());
	assert_int_equal(REASON2, XR_INIT);
	assert_int_equal(page1->init, 0);
	/* L1 takes it back. */
	assert_true(L2_EXITS(.reason = XR_RDTSC));
	l1_says_init();
	assert_true(L2_EXITS(.reason = XR_RDTSC));
	page1->init = 0;
	page1->clean &= ~NEST_GROUP_CONTROLS;
	l1_resume();
	assert_true(L2_EXITS(.reason = XR_VMRESUME));
	nested_before_entry(&vcpu);
	assert_true(l3_is_in());
}

/* Whether a SIPI comes for L2's processor only L1 knows: it gets the entry, and all of L2's page with it. */
static void wait_for_sipi_is_l1s(void **state)
{
	(void)state;
	run_l3();
	SET(GUEST_RIP, L3_RIP + 3);
	assert_true(L3_EXITS(.reason = XR_CPUID));
	struct nested *above = vcpu.nested_base->above;
	SLOT(page2, GUEST_ACTIVITY) = ACTIVITY_WAIT_SIPI;
	assert_false(nested_fast_chain(&vcpu));
	assert_true(L2_EXITS(.reason = XR_VMRESUME));
	expect_exit(XR_VMRESUME, 0);
	assert_null(above->page);
	assert_int_equal(page2->launched, 1);
	assert_int_equal(page2->clean, 0);
	assert_int_equal(SLOT(page2, GUEST_RIP), L3_RIP + 3);
	SLOT(page1, GUEST_RIP) += 3; /* L1 has done it, and the SIPI has come */
	SLOT(page2, GUEST_ACTIVITY) = ACTIVITY_ACTIVE;
	l1_resume();
	assert_true(L2_EXITS(.reason = XR_VMRESUME));
	assert_true(l3_is_in());
	/* One that changes while we look at it is refused. */
	assert_true(L3_EXITS(.reason = XR_CPUID));
	SLOT(page2, GUEST_ACTIVITY) = ACTIVITY_WAIT_SIPI;
	vcpu.nested = above;
	nested_enter(&vcpu, false);
	vcpu.nested = vcpu.nested_base;
	assert_true(l2_is_in());
	assert_int_equal(SLOT(page2, INSN_ERROR), INSN_ERR_CONTROLS);
	assist2->vmcs_page = L1_RAM; /* another page, which is nowhere */
	assert_true(L2_EXITS(.reason = XR_VMRESUME));
	assert_true(l2_is_in());
}

/* L1 has L2 itself wait: what is suspended further in waits with it. */
static void l2_waits_for_sipi(void **state)
{
	(void)state;
	SLOT(page1, PROC_CONTROLS) |= PROC_RDTSC;
	run_l3();
	assert_true(L3_EXITS(.reason = XR_RDTSC));
	SLOT(page1, GUEST_ACTIVITY) = ACTIVITY_WAIT_SIPI;
	vcpu.state = VCPU_RUNNABLE;
	l1_resume();
	assert_true(l2_is_in());
	assert_int_equal(vcpu.state, VCPU_WAIT_SIPI);
	assert_true(nested_take_sipi(&vcpu, 0x44));
	expect_exit(XR_SIPI, 0x44);
	SLOT(page1, GUEST_ACTIVITY) = ACTIVITY_ACTIVE;
	l1_resume();
	assert_true(l3_is_in());
}

/* ---- interrupts for L2, by L1's posting ---- */
#define NOTIFICATION 0xe1
static void virtual_interrupts(struct nest_vmcs_page *p, u64 vapic, u64 desc)
{
	SLOT(p, PIN_CONTROLS) |= PIN_POSTED_INT;
	SLOT(p, EXIT_CONTROLS) |= EXIT_ACK_INT;
	SLOT(p, PROC_CONTROLS) |= PROC_TPR_SHADOW;
	SLOT(p, PROC2_CONTROLS) |= PROC2_VIRT_INT | PROC2_APIC_REGS;
	SLOT(p, PI_NOTIFICATION_VECTOR) = NOTIFICATION;
	SLOT(p, VIRTUAL_APIC_ADDR) = vapic;
	SLOT(p, PI_DESC_ADDR) = desc;
}

static bool bit(u64 vapic, u32 reg, u8 vector) { return *(u32 *)((u8 *)l1_mem(vapic) + reg + vector / 32 * 16) & BIT(vector % 32); }

static void posted_for_l2(void **state)
{
	(void)state;
	virtual_interrupts(page1, L1_VAPIC, L1_PI);
	SLOT(page2, EXIT_CONTROLS) |= EXIT_ACK_INT;
	run_l3();
	pi_post(l1_mem(L1_PI), 0x61);
	pi_post(l1_mem(L1_PI), 0x52);
	vlapic_post(&vcpu, NOTIFICATION);
	vcpu.event = (struct vcpu_event){ NMI_INFO, 0, 0 }; /* on its way into L3: not lost */
	nested_before_entry(&vcpu);
	assert_int_equal(SLOT(page2, IDT_VECTORING_INFO), NMI_INFO);
	assert_true(l2_is_in()); /* L1 has not been there */
	assert_int_equal(REASON2, XR_EXTERNAL_INTERRUPT);
	assert_int_equal(SLOT(page2, EXIT_INTR_INFO), EXTERNAL(0x61));
	assert_true(bit(L1_VAPIC, APIC_ISR, 0x61));
	assert_false(bit(L1_VAPIC, APIC_IRR, 0x61));
	assert_true(bit(L1_VAPIC, APIC_IRR, 0x52));
	assert_int_equal(HW(GUEST_INTERRUPT_STATUS), 0x6152); /* in service, and what waits */
	assert_true(L2_EXITS(.reason = XR_VMRESUME));
	assert_true(l3_is_in());
	nested_before_entry(&vcpu);
	assert_true(l3_is_in()); /* of lower priority than what is in service */
	/* What waits is L1's to see when L2 exits to it. */
	assert_true(nested_take_init(&vcpu));
	assert_int_equal(SLOT(page1, GUEST_INTERRUPT_STATUS), 0x6152);
	l1_resume();
	assert_true(l3_is_in());
	assert_int_equal(vcpu.nested->status01, 0x6152);
}

/* One level more: L3 delegates, too. */
static void three_engines(void **state)
{
	struct nest_vmcs_page *page3 = l1_page(SIZE_2M + 0x2000, BASE_EPT);
	struct nest_vmx_assist *assist3 = l1_mem(SIZE_2M + 0x1000);

	(void)state;
	SLOT(page3, PROC2_CONTROLS) |= PROC2_VPID;
	SLOT(page3, PIN_CONTROLS) &= ~PIN_PREEMPTION_TIMER;
	SLOT(page3, PROC2_CONTROLS) &= ~PROC2_EPT;
	page2->delegate = 0x1000;
	*assist3 = (struct nest_vmx_assist){ .vmcs_page = 0x2000, .flags = NEST_ASSIST_STEADY };
	virtual_interrupts(page1, L1_VAPIC, L1_PI);
	virtual_interrupts(page2, 0x63000, 0x64000);
	SLOT(page3, EXIT_CONTROLS) |= EXIT_ACK_INT;
	SLOT(page1, PROC_CONTROLS) |= PROC_HLT;
	run_l3();
	assert_true(L3_EXITS(.reason = XR_VMLAUNCH));
	assert_int_equal(vcpu.loaded->engine->height, 2);
	assert_true(L2_EXITS(.reason = XR_CPUID)); /* L4's: to L3 */
	assert_true(l3_is_in());
	assert_int_equal(SLOT(page3, EXIT_REASON), XR_CPUID);
	assert_true(L3_EXITS(.reason = XR_VMRESUME));
	assert_true(L2_EXITS(.reason = XR_HLT)); /* L1's */
	expect_exit(XR_HLT, 0);
	l1_resume();
	assert_int_equal(vcpu.loaded->engine->height, 2);
	pi_post(l1_mem(L1_PI), 0x61); /* for L2: L4 is suspended while L2 runs, and L3 does not hear of it */
	vlapic_post(&vcpu, NOTIFICATION);
	nested_before_entry(&vcpu);
	assert_true(l2_is_in());
	assert_int_equal(SLOT(page2, EXIT_INTR_INFO), EXTERNAL(0x61));
	assert_true(L2_EXITS(.reason = XR_VMRESUME));
	assert_int_equal(vcpu.loaded->engine->height, 2);
	assert_true(L2_EXITS(.reason = XR_CPUID));
	assert_true(l3_is_in());
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, start, machine_stop)
	const struct CMUnitTest tests[] = {
		TEST(events_for_l1), TEST(init_for_l2), TEST(wait_for_sipi_is_l1s), TEST(l2_waits_for_sipi), TEST(posted_for_l2), TEST(three_engines),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
