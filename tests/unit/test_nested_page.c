/*
 * VMCS pages (core/abi.h) and the shortest way between their L1 and its L2, on the whole nested engine: what is read and written when, what clean
 * bits mean, what is refused, and that the shortest way does what the ordinary one does or nothing at all.
 */
#include "core/errno.h"
#include "tests/unit/nested_machine.h"

#define PAGE 0x50000
#define PAGE2 0x51000
#define SLOT(p, name) ((p)->field[NEST_VMCS_SLOT(VMCS_##name)])
#define ASSIST ((struct nest_vmx_assist *)l1_mem(L1_ASSIST))

/* All that L1 writes at once and marks. */
static void touch(struct nest_vmcs_page *p, u32 groups) { p->clean &= ~groups; }

static struct nest_vmcs_page *start(enum base b)
{
	struct nest_vmcs_page *p = l1_page(PAGE, b);

	l1_vmxon();
	l1_use_page(PAGE);
	return p;
}

static void enters_and_exits(void **state)
{
	struct nest_vmcs_page *p = start(BASE_LONG);

	(void)state;
	SLOT(p, GUEST_FS_BASE) = 0x1111;
	l1_launch();
	assert_int_equal(HW(GUEST_RIP), L2_RIP);
	assert_int_equal(HW(GUEST_FS_BASE), 0x1111);
	SET(GUEST_RIP, L2_RIP + 2);
	SET(GUEST_FS_BASE, 0x2222);
	assert_true(L2_EXITS(.reason = XR_CPUID, .qualification = 9, .insn_len = 2));
	assert_int_equal(SLOT(p, EXIT_REASON), XR_CPUID);
	assert_int_equal(SLOT(p, EXIT_QUALIFICATION), 9);
	assert_int_equal(SLOT(p, EXIT_INSN_LEN), 2);
	assert_int_equal(SLOT(p, GUEST_RIP), L2_RIP + 2);
	assert_int_equal(SLOT(p, GUEST_FS_BASE), 0x2222);
	assert_int_equal(p->clean, NEST_GROUPS_ALL);
	assert_int_equal(HW(GUEST_RIP), SLOT(p, HOST_RIP));
	/* what is told to be clean is not looked at; the hot fields always are */
	SLOT(p, GUEST_SYSENTER_CS) = 0x99;
	SLOT(p, GUEST_RIP) = L2_RIP + 4;
	l1_resume();
	assert_int_equal(HW(GUEST_RIP), L2_RIP + 4);
	assert_int_equal(HW(GUEST_SYSENTER_CS), 0);
	L2_EXITS(.reason = XR_CPUID);
	SLOT(p, GUEST_SYSENTER_CS) = 0x99;
	touch(p, NEST_GROUP_REGISTERS);
	l1_resume();
	assert_int_equal(HW(GUEST_SYSENTER_CS), 0x99);
	L2_EXITS(.reason = XR_CPUID);
	SLOT(p, GUEST_ES_BASE) = 0x4321;
	touch(p, NEST_GROUP_SEGMENTS);
	l1_resume();
	assert_int_equal(HW(GUEST_ES_BASE), 0x4321);
	L2_EXITS(.reason = XR_CPUID);
	SLOT(p, EXCEPTION_BITMAP) = BIT(5);
	touch(p, NEST_GROUP_CONTROLS);
	l1_resume();
	assert_int_equal(HW(EXCEPTION_BITMAP), BIT(5));
	L2_EXITS(.reason = XR_CPUID);
	SLOT(p, HOST_RIP) += 0x10;
	touch(p, NEST_GROUP_HOST);
	l1_resume();
	L2_EXITS(.reason = XR_CPUID);
	assert_int_equal(HW(GUEST_RIP), L1_RIP + 0x1010);
}

static void fields_are_cut(void **state)
{
	struct nest_vmcs_page *p = start(BASE_LONG);

	(void)state;
	SLOT(p, GUEST_ES_SEL) |= 0xabcd0000;
	SLOT(p, EXCEPTION_BITMAP) |= BIT(40);
	l1_launch();
	assert_int_equal(v12()->GUEST_ES_SEL, 0x10);
	assert_int_equal(v12()->EXCEPTION_BITMAP, 0xffffffff);
}

static void refused(void **state)
{
	struct nest_vmcs_page *p = start(BASE_LONG);

	(void)state;
	SLOT(p, PIN_CONTROLS) = 0;
	assert_int_equal(l1_run(exit_vmlaunch), INSN_ERR_CONTROLS);
	assert_int_equal(SLOT(p, INSN_ERROR), INSN_ERR_CONTROLS);
	SLOT(p, PIN_CONTROLS) = env.pin.must;
	SLOT(p, GUEST_CR4) = 0;
	assert_int_equal(l1_run(exit_vmlaunch), ENTERED);
	assert_int_equal(SLOT(p, EXIT_REASON), XR_ENTRY_GUEST_STATE | EXIT_REASON_ENTRY_FAILURE);
	assert_int_equal(l1_run(exit_vmresume), INSN_ERR_VMRESUME_NOT_LAUNCHED);
	p->revision = 7;
	ASSIST->vmcs_page = PAGE2; /* another page: nothing there */
	assert_int_equal(l1_run(exit_vmlaunch), FAILED_INVALID);
	ASSIST->vmcs_page = PAGE;
	assert_int_equal(l1_run(exit_vmlaunch), FAILED_INVALID);
	p->revision = NEST_VMCS_REVISION;
	p->abort = ABORT_FURTHER_IN;
	assert_int_equal(l1_run(exit_vmlaunch), FAILED_INVALID);
	p->abort = 0;
	ASSIST->vmcs_page = PAGE + 8;
	assert_int_equal(l1_run(exit_vmlaunch), FAILED_INVALID);
	ASSIST->vmcs_page = L1_VMXON;
	assert_int_equal(l1_run(exit_vmlaunch), FAILED_INVALID);
	ASSIST->vmcs_page = L1_RAM;
	assert_int_equal(l1_run(exit_vmlaunch), FAILED_INVALID);
}

/* For the VMX instructions there is no current VMCS. VMCLEAR ends the use of the page; launch state and all are in it then. */
static void instructions(void **state)
{
	struct nest_vmcs_page *p = start(BASE_LONG), *q = l1_page(PAGE2, BASE_LONG);
	u64 value;

	(void)state;
	l1_launch();
	L2_EXITS(.reason = XR_CPUID);
	assert_int_equal(l1_read_field(VMCS_GUEST_RIP, &value), FAILED_INVALID);
	assert_int_equal(l1_write_field(VMCS_GUEST_RIP, 1), FAILED_INVALID);
	l1_operand_memory(L1_OPERAND);
	assert_int_equal(l1_run(exit_vmptrst), SUCCEEDED);
	assert_int_equal(*l1_word(L1_OPERAND), ~0ull);
	ASSIST->vmcs_page = PAGE2;
	l1_launch();
	assert_int_equal(p->launched, 1);
	assert_int_equal(p->clean, 0);
	L2_EXITS(.reason = XR_CPUID);
	ASSIST->vmcs_page = PAGE;
	l1_resume(); /* still launched */
	L2_EXITS(.reason = XR_CPUID);
	assert_int_equal(q->launched, 1);
	assert_int_equal(l1_pointer(exit_vmclear, PAGE), SUCCEEDED);
	assert_int_equal(p->launched, 0);
	assert_int_equal(l1_run(exit_vmresume), INSN_ERR_VMRESUME_NOT_LAUNCHED);
	l1_launch();
	L2_EXITS(.reason = XR_CPUID);
	ASSIST->vmcs_page = NEST_VMCS_NONE; /* a VMCS as ever */
	assert_int_equal(l1_run(exit_vmlaunch), FAILED_INVALID);
	assert_int_equal(l1_pointer(exit_vmptrld, L1_VMCS), SUCCEEDED);
	l1_set(BASE_LONG);
	l1_launch();
	L2_EXITS(.reason = XR_CPUID);
	ASSIST->vmcs_page = PAGE2;
	l1_resume();
	nested_reset(&vcpu);
	assert_int_equal(q->clean, 0);
	assert_null(vcpu.nested->assist);
}

static void pae_guest_pdptes(void **state)
{
	struct nest_vmcs_page *p = start(BASE_PAE_EPT);

	(void)state;
	l1_launch();
	SET(GUEST_PDPTE2, 0x9001);
	L2_EXITS(.reason = XR_CPUID);
	assert_int_equal(SLOT(p, GUEST_PDPTE2), 0x9001);
}

/* ---- HC_VMX_ASSIST ---- */
static void hypercall(void **state)
{
	(void)state;
	assert_int_equal(hc_assist(L1_ASSIST + 8), -EINVAL);
	assert_int_equal(hc_assist(L1_RAM), -EFAULT);
	assert_int_equal(hc_assist(L1_ASSIST), 0);
	assert_ptr_equal(vcpu.nested->assist, l1_mem(L1_ASSIST));
	assert_int_equal(hc_assist(~0ull), 0);
	assert_null(vcpu.nested->assist);
	config.vmx_plain = true;
	assert_int_equal(hc_assist(L1_ASSIST), -EPERM);
	config.vmx_plain = false;
	config.vmx = false;
	assert_int_equal(hc_assist(L1_ASSIST), -EPERM);
	config.vmx = true;
	outer_has = NEST_FEAT_DELEGATE; /* our own outer may run what L1 runs */
	vmcs_in_memory = true;
	cpus[0].vmcs = vcpu.vmcs01.page;
	assert_int_equal(hc_assist(L1_ASSIST), 0);
	assert_int_equal(((struct nest_vmcs_page *)vcpu.vmcs01.page)->delegate, L1_ASSIST);
	assert_int_equal(hc_assist(~0ull), 0);
	assert_int_equal(((struct nest_vmcs_page *)vcpu.vmcs01.page)->delegate, NEST_VMCS_NONE);
}

static void who_delegates(void **state)
{
	(void)state;
	vmx_caps.posted = vmx_caps.vpid = true;
	assert_true(nested_delegates(&vm));
	config.vmx_pages = true;
	assert_false(nested_delegates(&vm));
	config.vmx_pages = false;
	vmx_caps.posted = false;
	assert_false(nested_delegates(&vm));
}

/* ---- the shortest way ---- */
/* L2 exits as the processor shows it to nested_fast_reflect. */
static bool fast_exit(u32 reason, u64 qualification, u64 physical)
{
	SET(EXIT_REASON, reason);
	SET(EXIT_QUALIFICATION, qualification);
	SET(GUEST_PHYSICAL_ADDR, physical);
	SET(EXIT_INTR_INFO, 0);
	SET(IDT_VECTORING_INFO, 0);
	SET(EXIT_INSN_LEN, 3);
	return nested_fast_reflect(&vcpu, reason);
}

/* An L1 as Nestling is: VPID, the host state as it was, everything exits that must. */
static struct nest_vmcs_page *start_steady(void)
{
	struct nest_vmcs_page *p = start(BASE_EPT);

	SLOT(p, PROC2_CONTROLS) |= PROC2_VPID;
	l1_launch();
	ASSIST->flags = NEST_ASSIST_STEADY;
	L2_EXITS(.reason = XR_CPUID);
	return p;
}

static void back_and_forth(void **state)
{
	struct nest_vmcs_page *p = start_steady();

	(void)state;
	for (u32 i = 0; i < 3; i++) {
		SLOT(p, GUEST_RIP) = L2_RIP + 2 * i;
		SET(GUEST_GS_BASE, 0x777 + i); /* L1's: stays, for its host state is as it was */
		assert_true(nested_fast_resume(&vcpu));
		assert_true(l2_runs());
		assert_int_equal(HW(GUEST_RIP), L2_RIP + 2 * i);
		SET(GUEST_RIP, L2_RIP + 2 * i + 1);
		assert_true(fast_exit(XR_CPUID, i, 0));
		assert_false(l2_runs());
		assert_int_equal(SLOT(p, EXIT_REASON), XR_CPUID);
		assert_int_equal(SLOT(p, EXIT_QUALIFICATION), i);
		assert_int_equal(SLOT(p, GUEST_RIP), L2_RIP + 2 * i + 1);
		assert_int_equal(HW(GUEST_RIP), SLOT(p, HOST_RIP));
		assert_int_equal(HW(GUEST_RSP), SLOT(p, HOST_RSP));
		assert_int_equal(HW(GUEST_RFLAGS), RFLAGS_FIXED);
		assert_int_equal(HW(GUEST_GS_BASE), 0x777 + i);
	}
	assert_int_equal(vcpu.core.count.fast[XR_VMRESUME], 3);
	assert_int_equal(vcpu.core.count.fast_nested[XR_CPUID], 3);
	/* a segment that L2 has changed goes the long way to L1's page and back */
	assert_true(nested_fast_resume(&vcpu));
	SET(GUEST_ES_BASE, 0x55aa);
	assert_true(fast_exit(XR_CPUID, 0, 0));
	assert_int_equal(SLOT(p, GUEST_ES_BASE), 0x55aa);
	SLOT(p, GUEST_ES_BASE) = 0x66bb;
	SLOT(p, EXCEPTION_BITMAP) = 0; /* all checks are made anew, with the segments of the page */
	touch(p, NEST_GROUP_CONTROLS | NEST_GROUP_SEGMENTS);
	assert_false(nested_fast_resume(&vcpu));
	l1_resume();
	assert_int_equal(HW(GUEST_ES_BASE), 0x66bb);
	assert_true(fast_exit(XR_CPUID, 0, 0));
	SLOT(p, EXCEPTION_BITMAP) = BIT(1);
	touch(p, NEST_GROUP_CONTROLS);
	l1_resume();
	assert_int_equal(HW(GUEST_ES_BASE), 0x66bb);
}

static void not_the_shortest_way(void **state)
{
	struct nest_vmcs_page *p = start_steady();

	(void)state;
#define REFUSED(set, unset) do { set; assert_false(nested_fast_resume(&vcpu)); assert_false(l2_runs()); unset; } while (0)
	REFUSED(vcpu.fast_left = 0, vcpu.fast_left = FAST_RUN); /* one in many takes the loop */
	REFUSED(vcpu.nmi_pending = true, vcpu.nmi_pending = false);
	REFUSED(vcpu.pi->control = PI_ON, vcpu.pi->control = 0);
	REFUSED(vlapic.stale = true, vlapic.stale = false);
	REFUSED(vcpu.limit = 5, vcpu.limit = 0);
	REFUSED(vcpu.vmcs01.limit = 5, vcpu.vmcs01.limit = 0);
	REFUSED(vcpu.nested->vmcs02.limit = 5, vcpu.nested->vmcs02.limit = 0);
	REFUSED(vcpu.nested->pi_pending = true, vcpu.nested->pi_pending = false);
	REFUSED(assert_true(nested_take_init(&vcpu)), vcpu.nested->init_blocked = vcpu.posted_further_in = 0);
	REFUSED(vcpu.event.info = INTR_VALID, vcpu.event.info = 0);
	REFUSED(SET(GUEST_INTERRUPTIBILITY, BLOCK_MOV_SS), SET(GUEST_INTERRUPTIBILITY, 0));
	REFUSED(SET(GUEST_INTERRUPT_STATUS, 0x30), SET(GUEST_INTERRUPT_STATUS, 0));
	REFUSED(SET(GUEST_SS_AR, 0xc0f3), SET(GUEST_SS_AR, 0xc093)); /* CPL 3 */
	REFUSED(SLOT(p, ENTRY_INTR_INFO) = INTR_VALID | FIELD_PREP(INTR_TYPE, 1), SLOT(p, ENTRY_INTR_INFO) = 0);
	REFUSED(SLOT(p, GUEST_RIP) = BIT(50), SLOT(p, GUEST_RIP) = L2_RIP);
	REFUSED(ASSIST->vmcs_page = NEST_VMCS_NONE, ASSIST->vmcs_page = PAGE);
	l1_resume();
	L2_EXITS(.reason = XR_CPUID);
	assert_true(nested_fast_resume(&vcpu));
	assert_false(fast_exit(XR_EXCEPTION_NMI, 0, 0));
	vcpu.fast_left = 0;
	assert_false(fast_exit(XR_CPUID, 0, 0));
	vcpu.fast_left = FAST_RUN;
	ASSIST->flags = 0;
	assert_false(fast_exit(XR_CPUID, 0, 0)); /* L1's whole host state has to be loaded */
	ASSIST->flags = NEST_ASSIST_STEADY;
	vcpu.nested->delegate = 0x1000;
	assert_false(fast_exit(XR_VMRESUME, 0, 0)); /* not L1's, perhaps */
	vcpu.nested->delegate = NEST_VMCS_NONE;
	v12()->PROC_CONTROLS &= ~PROC_RDTSC;
	assert_false(fast_exit(XR_RDTSC, 0, 0)); /* not L1's */
	assert_true(fast_exit(XR_VMRESUME, 0, 0));
	assert_false(l2_runs());
}

static void ept_violations(void **state)
{
	struct nest_vmcs_page *p = start_steady();

	(void)state;
	assert_true(nested_fast_resume(&vcpu));
	assert_true(fast_exit(XR_EPT_VIOLATION, EPT_QUAL_READ, 0x1234)); /* filled, L2 goes on */
	assert_true(l2_runs());
	assert_int_equal(vcpu.core.count.fast_nested[XR_EPT_VIOLATION], 1);
	assert_false(fast_exit(XR_EPT_VIOLATION, EPT_QUAL_READ | EPT_QUAL_NMI_UNBLOCK, 0x1234));
	vcpu.nmi_pending = true;
	assert_false(fast_exit(XR_EPT_VIOLATION, EPT_QUAL_READ, 0x1234));
	vcpu.nmi_pending = false;
	l1_word(L1_EPT + 2 * PAGE_SIZE)[3] = EPT_WRITE; /* malformed */
	assert_false(fast_exit(XR_EPT_VIOLATION, EPT_QUAL_READ, 3 * SIZE_2M));
	l1_word(L1_EPT + 2 * PAGE_SIZE)[3] = 0;
	SET(GUEST_LINEAR_ADDR, 0x4444);
	assert_true(fast_exit(XR_EPT_VIOLATION, EPT_QUAL_WRITE | EPT_QUAL_LINEAR_VALID, 3 * SIZE_2M + 8));
	assert_false(l2_runs());
	assert_int_equal(SLOT(p, EXIT_REASON), XR_EPT_VIOLATION);
	assert_int_equal(SLOT(p, EXIT_QUALIFICATION), EPT_QUAL_WRITE | EPT_QUAL_LINEAR_VALID);
	assert_int_equal(SLOT(p, GUEST_PHYSICAL_ADDR), 3 * SIZE_2M + 8);
	assert_int_equal(SLOT(p, GUEST_LINEAR_ADDR), 0x4444);
	l1_page(PAGE, BASE_LONG);
	SLOT(p, PROC2_CONTROLS) |= PROC2_VPID;
	SLOT(p, PROC_CONTROLS) |= PROC_SECONDARY;
	touch(p, NEST_GROUPS_ALL);
	assert_int_equal(l1_pointer(exit_vmclear, PAGE), SUCCEEDED);
	l1_launch();
	assert_false(fast_exit(XR_EPT_VIOLATION, EPT_QUAL_READ, L1_DEVICE)); /* L1 has no EPT: its own address */
}

/* A limit of the scheduler's bounds L2, too. */
static void limit(void **state)
{
	(void)state;
	struct nest_vmcs_page *p = start(BASE_LONG);
	SLOT(p, PIN_CONTROLS) &= ~PIN_PREEMPTION_TIMER;
	l1_launch();
	nested_set_limit(&vcpu, 77);
	assert_true(HW(PIN_CONTROLS) & PIN_PREEMPTION_TIMER);
	assert_int_equal(HW(PREEMPTION_TIMER), 77);
	assert_false(L2_EXITS(.reason = XR_PREEMPTION_TIMER)); /* ours */
	nested_set_limit(&vcpu, 0);
	assert_false(HW(PIN_CONTROLS) & PIN_PREEMPTION_TIMER);
}

/* ---- what an outer that runs our L1's guests leaves to us ---- */
static struct nest_vmcs_page *told(void) { return vcpu.vmcs01.page; }

static void delegated_wait_for_sipi(void **state)
{
	struct nest_vmcs_page *p = start(BASE_EPT);

	(void)state;
	outer_has = NEST_FEAT_DELEGATE;
	assert_int_equal(hc_assist(L1_ASSIST), 0);
	SLOT(p, GUEST_ACTIVITY) = ACTIVITY_WAIT_SIPI;
	SLOT(p, GUEST_INTERRUPTIBILITY) = BLOCK_STI; /* no */
	assert_int_equal(l1_run(exit_vmlaunch), ENTERED);
	assert_int_equal(SLOT(p, EXIT_REASON), XR_ENTRY_GUEST_STATE | EXIT_REASON_ENTRY_FAILURE);
	assert_null(vcpu.nested->page); /* whoever comes next finds all in the page */
	assert_int_equal(p->launched, 0);
	assert_int_equal(p->clean, 0);
	SLOT(p, GUEST_INTERRUPTIBILITY) = 0;
	l1_launch();
	assert_ptr_equal(vcpu.nested->page, p);
	assert_true(nested_take_sipi(&vcpu, 0x21));
	assert_int_equal(SLOT(p, EXIT_REASON), XR_SIPI);
	assert_int_equal(SLOT(p, EXIT_QUALIFICATION), 0x21);
	assert_int_equal(SLOT(p, GUEST_ACTIVITY), ACTIVITY_WAIT_SIPI);
	assert_null(vcpu.nested->page);
	assert_int_equal(p->launched, 1);
}

/* The outer may take the next VMRESUME, which must find the launch state in the page: so no exit to L1 goes the shortest way. */
static void delegated_exits(void **state)
{
	struct nest_vmcs_page *p = start_steady();

	(void)state;
	outer_has = NEST_FEAT_DELEGATE;
	assert_int_equal(hc_assist(L1_ASSIST), 0);
	l1_resume();
	assert_false(fast_exit(XR_CPUID, 0, 0));
	L2_EXITS(.reason = XR_CPUID);
	nested_before_l1(&vcpu);
	assert_int_equal(SLOT(p, EXIT_REASON), XR_CPUID);
	assert_int_equal(p->launched, 1);
	assert_int_equal(p->clean, 0);
	assert_null(vcpu.nested->page);
}

/* A VM without VMX has no engine; it may execute the instructions all the same. */
static void no_engine(void **state)
{
	start(BASE_EPT);
	struct nested *n = vcpu.nested;

	(void)state;
	vcpu.nested = vcpu.nested_base = NULL;
	vcpu.event.info = 0;
	exit_vmlaunch(&vcpu);
	assert_int_equal(vcpu.event.info & 0xff, VEC_UD);
	exit_vmresume(&vcpu);
	nested_before_l1(&vcpu);
	vcpu.nested = vcpu.nested_base = n;
}

/* An INIT that is blocked is told to an outer that can make it an exit; it says when it has. */
static void delegated_init(void **state)
{
	struct nest_vmcs_page *p = start(BASE_EPT);

	(void)state;
	outer_has = NEST_FEAT_DELEGATE;
	assert_int_equal(hc_assist(L1_ASSIST), 0);
	told()->clean = NEST_GROUPS_ALL;
	assert_true(nested_take_init(&vcpu));
	assert_int_equal(told()->init, 1);
	assert_int_equal(told()->clean & NEST_GROUP_CONTROLS, 0);
	l1_launch(); /* this one is ours */
	nested_before_entry(&vcpu);
	assert_int_equal(SLOT(p, EXIT_REASON), XR_INIT);
	assert_int_equal(told()->init, 0);
	assert_true(nested_take_init(&vcpu));
	told()->init = 0; /* the outer's */
	l1_resume();
	nested_before_entry(&vcpu);
	assert_true(l2_runs());
	L2_EXITS(.reason = XR_CPUID);
	assert_true(nested_take_init(&vcpu));
	told()->init = 0;
	assert_int_equal(hc_assist(~0ull), 0);
	assert_int_equal(l1_run(exit_vmxoff), SUCCEEDED);
	assert_int_equal(requests, 0);
	l1_vmxon();
	assert_true(nested_take_init(&vcpu));
	assert_int_equal(l1_run(exit_vmxoff), SUCCEEDED); /* nobody has taken it */
	assert_int_equal(requests, VCPU_REQ_INIT);
	assert_int_equal(told()->init, 0);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, machine_full, machine_stop)
#define BOTH(fn) TEST(fn), { #fn " (our VMCSs in memory)", fn, machine_in_memory, machine_stop, NULL }
	const struct CMUnitTest tests[] = {
		BOTH(enters_and_exits), BOTH(fields_are_cut), BOTH(refused), BOTH(instructions), BOTH(pae_guest_pdptes), TEST(hypercall),
		TEST(who_delegates), BOTH(back_and_forth), BOTH(not_the_shortest_way), BOTH(ept_violations), BOTH(limit),
		BOTH(delegated_wait_for_sipi), { "delegated_init", delegated_init, machine_in_memory, machine_stop, NULL }, BOTH(delegated_exits), BOTH(no_engine),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
