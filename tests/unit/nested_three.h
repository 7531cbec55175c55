/*
 * Three levels for the unit tests of flat nesting: an L1 that delegates its L2, a Nestling that runs an L3 by VMCS pages. On the whole nested
 * engine (nested_machine.h). Included by one test each.
 */
#ifndef TESTS_UNIT_NESTED_THREE_H
#define TESTS_UNIT_NESTED_THREE_H

#include "tests/unit/nested_machine.h"

#define PAGE 0x50000         /* L1's VMCS page, for L2 */
#define L2_ASSIST 0x60000    /* L2's memory is L1's, one to one; L3's is L2's at 2 MiB above */
#define L2_PAGE 0x61000
#define L2_EPT 0x70000
#define L3_RIP 0x180000
#define SLOT(p, name) ((p)->field[NEST_VMCS_SLOT(VMCS_##name)])
#define EXTERNAL(vector) (INTR_VALID | FIELD_PREP(INTR_TYPE, INTR_EXTERNAL) | (vector))
#define NMI_INFO (INTR_VALID | FIELD_PREP(INTR_TYPE, INTR_NMI) | 2)
#define GP_INFO (INTR_VALID | FIELD_PREP(INTR_TYPE, INTR_HW_EXCEPTION) | INTR_HAS_ERROR | VEC_GP)

static struct nest_vmcs_page *page1, *page2;
static struct nest_vmx_assist *assist1, *assist2;

static void make_l2_tables(void)
{
	l1_word(L2_EPT)[0] = (L2_EPT + PAGE_SIZE) | EPT_RWX;
	l1_word(L2_EPT + PAGE_SIZE)[0] = (L2_EPT + 2 * PAGE_SIZE) | EPT_RWX;
	for (u64 i = 0; i < 3; i++)
		l1_word(L2_EPT + 2 * PAGE_SIZE)[i] = (i + 1) * SIZE_2M | EPT_RWX | FIELD_PREP(EPT_MEMTYPE, MEMTYPE_WB) | EPT_PAGE;
}

static int start(void **state)
{
	struct vmx_caps hw = full_hw();

	(void)state;
	hw.posted = hw.vpid = true;
	machine_on(&hw);
	page1 = l1_page(PAGE, BASE_EPT);
	page2 = l1_page(L2_PAGE, BASE_EPT);
	make_l2_tables();
	SLOT(page1, PROC2_CONTROLS) |= PROC2_VPID;
	SLOT(page2, PROC2_CONTROLS) |= PROC2_VPID;
	SLOT(page1, PIN_CONTROLS) &= ~PIN_PREEMPTION_TIMER;
	SLOT(page2, PIN_CONTROLS) &= ~PIN_PREEMPTION_TIMER;
	SLOT(page1, EXCEPTION_BITMAP) = SLOT(page2, EXCEPTION_BITMAP) = 0;
	SLOT(page2, EPTP) = L2_EPT | MEMTYPE_WB | 3 << 3;
	SLOT(page2, GUEST_RIP) = L3_RIP;
	page1->delegate = L2_ASSIST;
	assist1 = l1_mem(L1_ASSIST);
	assist2 = l1_mem(L2_ASSIST);
	assist1->flags = assist2->flags = NEST_ASSIST_STEADY;
	assist2->vmcs_page = L2_PAGE;
	return 0;
}

static void run_l2(void)
{
	l1_vmxon();
	l1_use_page(PAGE);
	l1_launch();
}

static bool l2_is_in(void) { return vcpu.loaded == &vcpu.nested_base->vmcs02; }
static bool l3_is_in(void) { return vcpu.loaded != &vcpu.vmcs01 && vcpu.loaded->engine->height == 1; }

static void run_l3(void)
{
	run_l2();
	assert_true(L2_EXITS(.reason = XR_VMLAUNCH));
	assert_true(l3_is_in());
}

/* As l2_exits; for what L3 does. */
#define L3_EXITS L2_EXITS
#define REASON1 SLOT(page1, EXIT_REASON)
#define REASON2 SLOT(page2, EXIT_REASON)

#endif
