/*
 * Self-armed posting (vmx/posting.c; nic/README.md) beside the whole nested engine: whose VMCS has a lent vector at which moment, and
 * that it is nobody's any more once it has been taken back.
 */
#include "tests/unit/nested_machine.h"

#include <pthread.h>
#include <unistd.h>

#include "core/errno.h"
#include "core/irq.h"
#include "vmx/posting.h"
#include "vmx/vmcs.h"

#define WRITE(name, value) assert_int_equal(l1_write_field(VMCS_##name, value), SUCCEEDED)
#define VECTOR 0xe1     /* L1's: what stands for the port's interrupt there */
#define H 0x45          /* ours */
#define PI_PAGE HPA((u64)ram + L1_PI)
#define OWN_PAGE HPA((u64)ram + L1_AREA)

static struct vcpu other;

static int start(void **state)
{
	machine_full(state);
	vcpu.pi_hpa = HPA(0x7000);
	memset(&other, 0, sizeof(other));
	other.core.vm = &vm;
	other.pi_hpa = HPA(0x8000);
	assert_int_equal(vmcs_create(&other.vmcs01, &vm.owner), 0);
	vcpu_load_vmcs(&other, &other.vmcs01);
	posting_apply(&other);
	vcpu_load_vmcs(&vcpu, &vcpu.vmcs01);
	posting_apply(&vcpu);
	return 0;
}

static int stop(void **state)
{
	vmcs_destroy(&other.vmcs01, &vm.owner);
	return machine_stop(state);
}

/* The request has been made, and v's CPU takes it. */
static void taken(struct vcpu *v)
{
	assert_true(requests & VCPU_REQ_POSTING);
	requests = 0;
	posting_apply(v);
}

static void lend(struct vcpu *v, bool inner, u8 vector, u8 host_vector, hpa_t page)
{
	requests = 0;
	assert_int_equal(posting_arm(v, inner, vector, host_vector, page), 0);
	taken(v);
}

static void take_back(struct vcpu *v, u8 host_vector)
{
	requests = 0;
	posting_disarm(v, host_vector);
	taken(v);
}

/* What the VMCS of v's own has; which VMCS was loaded stands. */
static void expect_own(struct vcpu *v, u8 vector, hpa_t page)
{
	struct vmcs *loaded = vcpu.loaded;

	vcpu_load_vmcs(v, &v->vmcs01);
	assert_int_equal(HW(PI_NOTIFICATION_VECTOR), vector);
	assert_int_equal(HW(PI_DESC_ADDR), page.v);
	vcpu_load_vmcs(&vcpu, loaded);
}

static void expect_inner(u8 vector)
{
	struct vmcs *loaded = vcpu.loaded;

	vcpu_load_vmcs(&vcpu, &vcpu.nested_base->vmcs02);
	assert_int_equal(HW(PI_NOTIFICATION_VECTOR), vector);
	assert_int_equal(HW(PI_DESC_ADDR), vcpu.nested_base->pi_desc.v);
	vcpu_load_vmcs(&vcpu, loaded);
}

static void prepare_posted(u8 vector)
{
	l1_prepare(BASE_EPT);
	WRITE(PIN_CONTROLS, (v12()->PIN_CONTROLS | PIN_POSTED_INT | PIN_EXT_INT) & ~PIN_PREEMPTION_TIMER);
	WRITE(EXIT_CONTROLS, v12()->EXIT_CONTROLS | EXIT_ACK_INT);
	WRITE(PROC_CONTROLS, v12()->PROC_CONTROLS | PROC_TPR_SHADOW);
	WRITE(PROC2_CONTROLS, v12()->PROC2_CONTROLS | PROC2_VIRT_INT | PROC2_APIC_REGS);
	WRITE(PI_NOTIFICATION_VECTOR, vector);
}

static void leave_l2(void)
{
	L2_EXITS(.reason = XR_CPUID);
	assert_false(l2_runs());
}

/* ---- a vCPU's own VMCS ---- */
static void lent_and_taken_back(void **state)
{
	(void)state;
	expect_own(&vcpu, IRQ_VEC_PI, vcpu.pi_hpa);
	requests = 0;
	assert_int_equal(posting_arm(&vcpu, false, VECTOR, H, OWN_PAGE), 0);
	expect_own(&vcpu, IRQ_VEC_PI, vcpu.pi_hpa); /* on its own CPU only, before the next entry */
	taken(&vcpu);
	expect_own(&vcpu, H, OWN_PAGE);
	take_back(&vcpu, H);
	expect_own(&vcpu, IRQ_VEC_PI, vcpu.pi_hpa);
	take_back(&vcpu, H); /* nothing is lent: no harm */
	expect_own(&vcpu, IRQ_VEC_PI, vcpu.pi_hpa);
	lend(&vcpu, false, VECTOR, H + 1, PI_PAGE);
	expect_own(&vcpu, H + 1, PI_PAGE);
}

static void second_one_refused(void **state)
{
	(void)state;
	lend(&vcpu, false, VECTOR, H, OWN_PAGE);
	requests = 0;
	assert_int_equal(posting_arm(&vcpu, false, VECTOR, H + 1, PI_PAGE), -EBUSY);
	assert_int_equal(requests, 0);
	take_back(&vcpu, H + 1); /* the one that was refused */
	expect_own(&vcpu, H, OWN_PAGE);
	take_back(&vcpu, H);
	lend(&vcpu, false, VECTOR, H + 1, PI_PAGE);
	expect_own(&vcpu, H + 1, PI_PAGE);
}

static void not_on_this_processor(void **state)
{
	(void)state;
	vmx_caps.posted = false;
	requests = 0;
	assert_int_equal(posting_arm(&vcpu, false, VECTOR, H, OWN_PAGE), -ENOTSUP);
	assert_int_equal(posting_arm(&vcpu, true, VECTOR, H, OWN_PAGE), -ENOTSUP);
	assert_int_equal(requests, 0);
	SET(PI_NOTIFICATION_VECTOR, 0x11); /* a field that does not exist there is not written */
	posting_apply(&vcpu);
	assert_int_equal(HW(PI_NOTIFICATION_VECTOR), 0x11);
}

/* Each VMCS on a CPU has its own vector; one vCPU's neither moves nor ends another's. */
static void two_on_one_cpu(void **state)
{
	(void)state;
	lend(&vcpu, false, VECTOR, H, OWN_PAGE);
	expect_own(&other, IRQ_VEC_PI, other.pi_hpa);
	vcpu_load_vmcs(&other, &other.vmcs01);
	lend(&other, false, VECTOR, H + 1, PI_PAGE);
	vcpu_load_vmcs(&vcpu, &vcpu.vmcs01);
	expect_own(&vcpu, H, OWN_PAGE);
	expect_own(&other, H + 1, PI_PAGE);
	take_back(&vcpu, H);
	expect_own(&vcpu, IRQ_VEC_PI, vcpu.pi_hpa);
	expect_own(&other, H + 1, PI_PAGE);
}

/* ---- that of its guest ---- */
static void inner_matches(void **state)
{
	(void)state;
	prepare_posted(VECTOR);
	lend(&vcpu, true, VECTOR, H, PI_PAGE);
	expect_own(&vcpu, IRQ_VEC_PI, vcpu.pi_hpa);
	l1_launch();
	expect_inner(H);
	take_back(&vcpu, H); /* while L2 runs */
	assert_true(l2_runs());
	expect_inner(IRQ_VEC_PI_NESTED);
	lend(&vcpu, true, VECTOR, H + 1, PI_PAGE);
	assert_true(l2_runs());
	expect_inner(H + 1);
	lend(&vcpu, false, VECTOR, H, OWN_PAGE); /* L1's own besides: vmcs01 follows, vmcs02 stays loaded */
	assert_true(l2_runs());
	expect_own(&vcpu, H, OWN_PAGE);
	expect_inner(H + 1);
	leave_l2();
	expect_own(&vcpu, H, OWN_PAGE);
	l1_resume();
	expect_inner(H + 1);
}

static void inner_does_not_match(void **state)
{
	(void)state;
	prepare_posted(VECTOR);
	lend(&vcpu, true, VECTOR + 1, H, PI_PAGE);
	lend(&vcpu, true, VECTOR, H + 1, OWN_PAGE);
	l1_launch();
	expect_inner(IRQ_VEC_PI_NESTED);
	lend(&vcpu, true, VECTOR, H + 2, PI_PAGE);
	expect_inner(H + 2);
	leave_l2();
	WRITE(PI_NOTIFICATION_VECTOR, VECTOR + 1); /* L1 runs another guest, or this one with another interrupt */
	l1_resume();
	expect_inner(H);
	leave_l2();
	WRITE(PI_DESC_ADDR, L1_AREA);
	l1_resume();
	expect_inner(IRQ_VEC_PI_NESTED);
	leave_l2();
	WRITE(PI_NOTIFICATION_VECTOR, VECTOR);
	l1_resume();
	expect_inner(H + 1);
	leave_l2();
	WRITE(PIN_CONTROLS, v12()->PIN_CONTROLS & ~PIN_POSTED_INT); /* posts no more: what is lent is nobody's */
	l1_resume();
	assert_false(HW(PIN_CONTROLS) & PIN_POSTED_INT && HW(PI_NOTIFICATION_VECTOR) != IRQ_VEC_PI_NESTED);
}

/* A VMCS further in, by delegation: its vector is one of another level's, so the page alone says whose it is. */
static void further_in(void **state)
{
	u64 vector = VECTOR;

	(void)state;
	lend(&vcpu, true, VECTOR + 1, H, PI_PAGE);
	assert_int_equal(posting_inner_vector(&vcpu, &vector, PI_PAGE), IRQ_VEC_PI_NESTED);
	assert_int_equal(posting_inner_vector(&vcpu, NULL, PI_PAGE), H);
	assert_int_equal(posting_inner_vector(&vcpu, NULL, OWN_PAGE), IRQ_VEC_PI_NESTED);
	assert_int_equal(posting_inner_vector(&vcpu, NULL, HPA(PI_PAGE.v + 64)), IRQ_VEC_PI_NESTED);
	lend(&vcpu, false, VECTOR, H + 1, OWN_PAGE); /* the vCPU's own is not for its guests */
	assert_int_equal(posting_inner_vector(&vcpu, NULL, OWN_PAGE), IRQ_VEC_PI_NESTED);
}

static void sixteen_inner(void **state)
{
	const u32 most = NR_POSTING - POSTING_INNER;
	u64 vector;

	(void)state;
	assert_int_equal(most, 16);
	for (u32 i = 0; i < most; i++)
		lend(&vcpu, true, (u8)(VECTOR + i), (u8)(H + i), PI_PAGE);
	assert_int_equal(posting_arm(&vcpu, true, 0x99, H + 16, PI_PAGE), -EBUSY);
	lend(&vcpu, false, VECTOR, H + 17, OWN_PAGE); /* none of these */
	for (u32 i = 0; i < most; i++) {
		vector = VECTOR + i;
		assert_int_equal(posting_inner_vector(&vcpu, &vector, PI_PAGE), H + i);
	}
	take_back(&vcpu, H + 5);
	vector = VECTOR + 5;
	assert_int_equal(posting_inner_vector(&vcpu, &vector, PI_PAGE), IRQ_VEC_PI_NESTED);
	vector = 0x99;
	assert_int_equal(posting_inner_vector(&vcpu, &vector, PI_PAGE), IRQ_VEC_PI_NESTED);
	lend(&vcpu, true, 0x99, H + 16, PI_PAGE);
	assert_int_equal(posting_inner_vector(&vcpu, &vector, PI_PAGE), H + 16);
	for (u32 i = 0; i < most + 2; i++)
		take_back(&vcpu, (u8)(H + i));
	assert_int_equal(vcpu.nr_posting_inner, 0);
	expect_own(&vcpu, IRQ_VEC_PI, vcpu.pi_hpa);
}

/* L1 has taken its guest to another vCPU: the vector arrives on the first one's CPU, so no VMCS of the other has it. */
static void moved(void **state)
{
	u64 vector = VECTOR;

	(void)state;
	lend(&vcpu, true, VECTOR, H, PI_PAGE);
	assert_int_equal(posting_inner_vector(&vcpu, &vector, PI_PAGE), H);
	assert_int_equal(posting_inner_vector(&other, &vector, PI_PAGE), IRQ_VEC_PI_NESTED);
	assert_int_equal(posting_inner_vector(&other, NULL, PI_PAGE), IRQ_VEC_PI_NESTED);
	/* The hypervisor moves the interrupt after it: off, set anew, on. */
	take_back(&vcpu, H);
	vcpu_load_vmcs(&other, &other.vmcs01);
	lend(&other, true, VECTOR, H + 1, PI_PAGE);
	vcpu_load_vmcs(&vcpu, &vcpu.vmcs01);
	assert_int_equal(posting_inner_vector(&vcpu, &vector, PI_PAGE), IRQ_VEC_PI_NESTED);
	assert_int_equal(posting_inner_vector(&other, &vector, PI_PAGE), H + 1);
}

/* ---- taken back from another CPU ---- */
static bool has_left;

static void *leaves(void *unused)
{
	(void)unused;
	usleep(20000);
	__atomic_store_n(&has_left, true, __ATOMIC_SEQ_CST);
	__atomic_store_n(&vcpu.in_guest, 0, __ATOMIC_SEQ_CST);
	return NULL;
}

static void from_another_cpu(void **state)
{
	pthread_t cpu;

	(void)state;
	vcpu.core.cpu = 1;
	lend(&vcpu, false, VECTOR, H, OWN_PAGE);
	vcpu.in_guest = 1; /* and has not seen the request: the vector may still be used */
	vcpu.requests = VCPU_REQ_POSTING;
	assert_int_equal(pthread_create(&cpu, NULL, leaves, NULL), 0);
	posting_disarm(&vcpu, H);
	assert_true(has_left);
	assert_int_equal(pthread_join(cpu, NULL), 0);
	lend(&vcpu, false, VECTOR, H, OWN_PAGE);
	vcpu.in_guest = 1; /* it has taken the request: the VMCS was reloaded before this entry */
	vcpu.requests = 0;
	posting_disarm(&vcpu, H);
	vcpu.in_guest = 0; /* halted or descheduled: takes the request before it enters again */
	vcpu.requests = VCPU_REQ_POSTING;
	posting_disarm(&vcpu, H);
}

/* A VM has ended: its ports give back what they lent, whatever the vCPU was doing last, and no CPU is waited for. */
static void vm_ends(void **state)
{
	(void)state;
	prepare_posted(VECTOR);
	lend(&vcpu, false, VECTOR, H, OWN_PAGE);
	lend(&vcpu, true, VECTOR, H + 1, PI_PAGE);
	l1_launch();
	expect_inner(H + 1);
	vcpu.core.cpu = 1; /* the CPU that ends VMs is another one */
	vcpu.requests = VCPU_REQ_POSTING;
	posting_disarm(&vcpu, H);
	posting_disarm(&vcpu, H + 1);
	for (u32 i = 0; i < NR_POSTING; i++)
		assert_false(vcpu.posting[i].on);
	assert_int_equal(vcpu.nr_posting_inner, 0);
	vcpu.core.cpu = 0;
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, start, stop)
	const struct CMUnitTest tests[] = {
		T(lent_and_taken_back), T(second_one_refused), T(not_on_this_processor), T(two_on_one_cpu), T(inner_matches),
		T(inner_does_not_match), T(further_in), T(sixteen_inner), T(moved), T(from_another_cpu), T(vm_ends),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
