/*
 * The vCPU's life: creation, reset, and the loop that runs it.
 *
 * Invariant: see vmx/vcpu.h; in vcpu_run, in_guest is set before the requests are looked at for the last time, so whoever sets
 * one later also kicks a CPU that is about to enter: nothing is missed.
 */
#include "vmx/vcpu.h"

#include <string.h>

#include "core/apic.h"
#include "core/console.h"
#include "core/errno.h"
#include "core/irq.h"
#include "core/percpu.h"
#include "core/trace.h"
#include "vmx/ept.h"
#include "vmx/exit_family.h"
#include "vmx/nested.h"
#include "vmx/no_ug.h"
#include "vmx/posting.h"
#include "vmx/sched.h"
#include "vmx/vlapic.h"
#include "vmx/vmcs.h"

/* VPIDs: 0 is ours; vCPUs and nested guests take the rest in turn (SDM 3C, Virtual Processor Identifiers). */
u16 vcpu_alloc_vpid(void)
{
	static u32 last;
	return (u16)(__atomic_add_fetch(&last, 1, __ATOMIC_RELAXED) % 0xfffe + 1);
}

static void *alloc_into(struct vm *vm, unsigned order, hpa_t *hpa)
{
	void *p = pages_alloc(&vm->owner, order);
	if (p && hpa)
		*hpa = virt_to_hpa(p);
	return p;
}

static int alloc_pages(struct vcpu *v)
{
	struct vm *vm = v->core.vm;
	v->msr_bitmap_page = alloc_into(vm, 0, &v->msr_bitmap);
	v->io_bitmap_pages = alloc_into(vm, 1, &v->io_bitmap);
	v->fpu = alloc_into(vm, 0, NULL);
	v->pi = alloc_into(vm, 0, &v->pi_hpa);
	v->core.record = alloc_into(vm, 0, NULL);
	if (!v->msr_bitmap_page || !v->io_bitmap_pages || !v->fpu || !v->pi || !v->core.record)
		return -ENOMEM;
	memset(v->io_bitmap_pages, 0xff, 2 * PAGE_SIZE); /* every port exits */
	msr_bitmap_init(v);
	return 0;
}

static void free_page_of(struct vcpu *v, void *p, unsigned order)
{
	if (p)
		pages_free(&v->core.vm->owner, p, order);
}

void vcpu_free(struct vcpu *v)
{
	struct vm *vm = v->core.vm;
	nested_free(v);
	vlapic_free(v);
	no_ug_free(v);
	vmcs_destroy(&v->vmcs01, &vm->owner);
	free_page_of(v, v->msr_bitmap_page, 0);
	free_page_of(v, v->io_bitmap_pages, 1);
	free_page_of(v, v->fpu, 0);
	free_page_of(v, v->pi, 0);
	free_page_of(v, v->core.record, 0);
	vm->vcpus[v->core.index] = NULL;
	pages_free(&vm->owner, v, VCPU_ORDER);
}

/* FXSAVE/XSAVE image of the state after reset (SDM 1, Initialization of the x87 FPU and SSE): FCW 37Fh, MXCSR 1F80h. */
static void fpu_reset(struct vcpu *v)
{
	u8 *area = v->fpu;
	memset(area, 0, PAGE_SIZE);
	*(u16 *)area = 0x37f;
	*(u32 *)(area + 24) = 0x1f80;
	v->xcr0 = 1;
}

int vcpu_create(struct vm *vm, u32 index, const struct vm_entry_state *entry)
{
	_Static_assert(sizeof(struct vcpu) <= PAGE_SIZE << VCPU_ORDER, "vCPU fits its pages");
	struct vcpu *v = pages_alloc(&vm->owner, VCPU_ORDER);
	if (!v)
		return -ENOMEM;
	v->core.vm = vm;
	v->core.index = v->core.apic_id = index;
	v->core.cpu = vm->cfg->cpus[index];
	v->core.record_page = GPA(~0ull);
	v->vpid = vcpu_alloc_vpid();
	vm->vcpus[index] = v;
	if (alloc_pages(v) || vmcs_create(&v->vmcs01, &vm->owner) || vlapic_create(v) || no_ug_create(v) ||
	    (vm->cfg->vmx && nested_create(v))) {
		vcpu_free(v);
		return -ENOMEM;
	}
	fpu_reset(v);
	v->msr_mtrr_def_type = BIT(11) | MEMTYPE_WB; /* on, write-back: as firmware leaves it */
	v->boot = index == 0;
	if (v->boot)
		v->entry = *entry;
	v->state = v->boot ? VCPU_RUNNABLE : VCPU_WAIT_SIPI;
	v->requests = VCPU_REQ_START;
	sched_add(v);
	return 0;
}

void vcpu_load_vmcs(struct vcpu *v, struct vmcs *m)
{
	vmcs_load(m);
	v->loaded = m;
	v->nested = m->engine ? m->engine : v->nested_base;
}

/* ---- requests ---- */
void vcpu_look_again(struct vcpu *v)
{
	sched_note(v);
	if (v->core.cpu != this_cpu()->index)
		apic_send(cpus[v->core.cpu].apic_id, IRQ_VEC_KICK);
}

void vcpu_wake(struct vcpu *v)
{
	u32 halted = VCPU_HALTED;
	if (!__atomic_compare_exchange_n(&v->state, &halted, VCPU_RUNNABLE, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		return;
	vcpu_look_again(v);
}

void vcpu_request(struct vcpu *v, u32 bits)
{
	__atomic_or_fetch(&v->requests, bits, __ATOMIC_SEQ_CST);
	vcpu_look_again(v);
}

/* INIT and SIPI (SDM 3A, MP Initialization Protocol): INIT resets and waits, a SIPI is taken only while waiting. */
static void take_init(struct vcpu *v)
{
	if (nested_take_init(v)) /* VMX operation: blocked, or an exit of L2 */
		return;
	nested_reset(v);
	vlapic_reset(v);
	vcpu_reset(v);
	v->state = v->core.index == 0 ? VCPU_RUNNABLE : VCPU_WAIT_SIPI;
}

static void take_sipi(struct vcpu *v)
{
	if (v->state != VCPU_WAIT_SIPI || nested_take_sipi(v, v->sipi_vector))
		return;
	vmwrite(VMCS_GUEST_CS_SEL, (u64)v->sipi_vector << 8);
	vmwrite(VMCS_GUEST_CS_BASE, (u64)v->sipi_vector << 12);
	vmwrite(VMCS_GUEST_RIP, 0);
	if (!no_ug_start_real_mode(v))
		return;
	v->state = VCPU_RUNNABLE;
}

/* First time on its CPU: VMCS contents, reset state, and the loader's entry state for the boot processor. */
static void take_start(struct vcpu *v)
{
	ept_flush_here(ept_pointer(&v->core.vm->ept)); /* the root may have been another VM's */
	ept_declare_vm(v->core.vm);
	vmcs_write_controls(v);
	vmcs_write_host_state(v);
	vlapic_reset(v);
	vcpu_reset(v);
	if (v->boot)
		vcpu_enter_protected_mode(v, &v->entry);
}

void vcpu_post_nmi(struct vcpu *v)
{
	__atomic_add_fetch(&v->nmis_posted, 1, __ATOMIC_SEQ_CST);
	vcpu_request(v, VCPU_REQ_NMI);
}

/* A processor remembers one NMI while another is handled (SDM 3A, Handling Multiple NMIs): of two that come at once none is lost. */
static void take_nmis(struct vcpu *v)
{
	u32 room = vmread(VMCS_GUEST_INTERRUPTIBILITY) & BLOCK_NMI ? 1 : 2;

	u32 all = v->nmis_waiting + __atomic_exchange_n(&v->nmis_posted, 0, __ATOMIC_SEQ_CST);

	v->nmis_waiting = MIN(all, MAX(room, v->nmis_waiting));
	v->nmi_pending = v->nmis_waiting != 0;
	vcpu_wake(v);
}

void vcpu_nmi_done(struct vcpu *v)
{
	v->nmis_waiting -= v->nmis_waiting != 0;
	v->nmi_pending = v->nmis_waiting != 0;
}

void vcpu_take_requests(struct vcpu *v)
{
	u32 r = __atomic_exchange_n(&v->requests, 0, __ATOMIC_SEQ_CST);
	if (r & VCPU_REQ_START)
		take_start(v);
	if (r & VCPU_REQ_FLUSH_EPT) {
		ept_flush_here(ept_pointer(&v->core.vm->ept));
		nested_flush_ept(v);
	}
	if (r & VCPU_REQ_POSTING)
		posting_apply(v);
	if (r & VCPU_REQ_LEVEL)
		vlapic_take_level(v);
	if (r & VCPU_REQ_INIT)
		take_init(v);
	if (r & VCPU_REQ_SIPI)
		take_sipi(v);
	if (r & VCPU_REQ_NMI)
		take_nmis(v);
}

/* ---- the loop ---- */
static void write_event(struct vcpu *v)
{
	if (__builtin_expect(trace_on, 0))
		exit_trace_inject(v);
	vmwrite(VMCS_ENTRY_INTR_INFO, v->event.info);
	if (v->event.info & INTR_HAS_ERROR)
		vmwrite(VMCS_ENTRY_EXCEPTION_ERROR, v->event.error);
	u64 type = FIELD_GET(INTR_TYPE, v->event.info);
	if (type == INTR_SW_INT || type == INTR_PRIV_SW_EXCEPTION || type == INTR_SW_EXCEPTION)
		vmwrite(VMCS_ENTRY_INSN_LEN, v->event.insn_len);
	v->injected_rf = vmread(VMCS_GUEST_RFLAGS) & RFLAGS_RF;
	v->event.info = 0;
	v->event.insn_len = 0;
}

/* Ours in vmcs02, too, unless L1 uses the timer for L2: then its value stands, and ends up with L1. */
static void write_limit(struct vcpu *v)
{
	if (nested_in_l2(v)) {
		nested_set_limit(v, v->limit);
	} else {
		vmwrite(VMCS_PIN_CONTROLS, vmx_caps.use_pin | (v->limit ? PIN_PREEMPTION_TIMER : 0));
		if (v->limit)
			vmwrite(VMCS_PREEMPTION_TIMER, v->limit);
	}
	v->loaded->limit = v->limit;
}

static void prepare_entry(struct vcpu *v)
{
	if (nested_in_l2(v))
		nested_before_entry(v);
	if (!nested_in_l2(v)) {
		nested_before_l1(v);
		vlapic_prepare_entry(v);
	}
	v->injected = v->event.info;
	if (v->event.info & INTR_VALID)
		write_event(v);
	if (__builtin_expect(v->limit != v->loaded->limit || (v->limit && nested_in_l2(v)), 0)) /* an entry of L1 may have rewritten vmcs02 */
		write_limit(v);
}

static bool must_leave(struct vcpu *v)
{
	return vm_ended(v->core.vm) || v->state != VCPU_RUNNABLE || sched_slice_over();
}

/* The entry instruction itself failed: our bug for vmcs01, but the VM pays, not the machine; for vmcs02 an entry check that only the hardware made. */
static void entry_failed(struct vcpu *v, u64 kind)
{
	u64 error = kind == VMX_FAIL_VALID ? vmread(VMCS_INSN_ERROR) : 0;
	if (nested_in_l2(v)) {
		nested_entry_failed(v, (u32)error);
		return;
	}
	vcpu_kill(v, "VM entry failed with VM-instruction error %lu", (unsigned long)error);
}

static bool enter_and_dispatch(struct vcpu *v)
{
	v->fast_left = FAST_RUN;
	struct vmcs *first = v->loaded; /* the short ways may leave with another one */
	u64 failed = vmx_enter(v->gpr, first->launched);
	WRITE_ONCE(v->in_guest, 0);
	if (!failed || v->loaded != first)
		first->launched = true;
	if (__builtin_expect(failed != 0, 0)) {
		entry_failed(v, failed);
		return true;
	}
	v->loaded->launched = true;
	return exit_dispatch(v);
}

bool vcpu_run(struct vcpu *v)
{
	for (;;) {
		if (__builtin_expect(irq_pending_here(), 0))
			irq_poll();
		if (__builtin_expect(must_leave(v), 0))
			return !vm_ended(v->core.vm) && v->state == VCPU_RUNNABLE;
		__atomic_store_n(&v->in_guest, 1, __ATOMIC_SEQ_CST);
		if (__builtin_expect(READ_ONCE(v->requests) != 0, 0)) {
			WRITE_ONCE(v->in_guest, 0);
			vcpu_take_requests(v);
			continue;
		}
		prepare_entry(v);
		if (__builtin_expect(vm_ended(v->core.vm), 0)) { /* by what an exit to L1 has met */
			WRITE_ONCE(v->in_guest, 0);
			continue;
		}
		if (!enter_and_dispatch(v))
			return false;
	}
}
