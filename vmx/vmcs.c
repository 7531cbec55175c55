/*
 * VMCS regions and their constant parts.
 *
 * Invariant: a region that is freed was VMCLEARed on the CPU that used it last.
 */
#include "vmx/vmcs.h"

#include "core/irq.h"
#include "core/percpu.h"
#include "core/trace.h"
#include "core/x86.h"
#include "vmx/ept.h"
#include "vmx/vlapic.h"

int vmcs_create(struct vmcs *m, struct mem_owner *owner)
{
	m->page = page_alloc(owner);
	if (!m->page)
		return -ENOMEM;
	*(u32 *)m->page = vmcs_in_memory ? NEST_VMCS_REVISION : (u32)vmx_caps.basic & 0x7fffffff;
	m->hpa = virt_to_hpa(m->page);
	if (vmcs_in_memory)
		vmcs_delegate(m, NEST_VMCS_NONE);
	m->launched = false;
	if (vmclear(m->hpa) != VMX_OK)
		panic("VMCLEAR of a fresh region failed");
	return 0;
}

void vmcs_forget(struct vmcs *m)
{
	if (!m->page)
		return;
	if (vmcs_in_memory)
		this_cpu()->vmx_assist->vmcs_page = NEST_VMCS_NONE;
	if (vmclear(m->hpa) != VMX_OK)
		panic("VMCLEAR of our own VMCS failed");
	m->launched = false;
}

void vmcs_bitmaps_changed(const struct vmcs *m)
{
	if (vmcs_in_memory)
		((struct nest_vmcs_page *)m->page)->clean &= ~NEST_GROUP_BITMAPS;
}

void vmcs_delegate(const struct vmcs *m, u64 assist)
{
	struct nest_vmcs_page *p = m->page;

	p->delegate = assist;
	p->clean &= ~NEST_GROUP_CONTROLS;
}

void vmcs_set_init(const struct vmcs *m, bool waits)
{
	struct nest_vmcs_page *p = m->page;

	WRITE_ONCE(p->init, waits);
	p->clean &= ~NEST_GROUP_CONTROLS;
}

bool vmcs_init_waits(const struct vmcs *m) { return READ_ONCE(((const struct nest_vmcs_page *)m->page)->init); }

void vmcs_load(const struct vmcs *m)
{
	if (vmcs_in_memory) {
		this_cpu()->vmcs = m->page;
		this_cpu()->vmx_assist->vmcs_page = m->hpa.v;
	} else if (vmptrld(m->hpa) != VMX_OK) {
		panic("VMPTRLD of our own VMCS failed");
	}
}

void vmcs_destroy(struct vmcs *m, struct mem_owner *owner)
{
	if (!m->page)
		return;
	if (vmcs_in_memory)
		vmcs_delegate(m, NEST_VMCS_NONE); /* the outer keeps nothing for it */
	page_free(owner, m->page);
	m->page = NULL;
}

/* Base of the TSS, from its descriptor (SDM 3A, TSS Descriptor in 64-bit mode). */
static u64 tss_base(const struct desc_ptr *gdt)
{
	const u64 *d = (const u64 *)(gdt->base + SEL_TSS);
	return FIELD_GET(BITS(39, 16), d[0]) | FIELD_GET(BITS(63, 56), d[0]) << 24 | (d[1] & BITS(31, 0)) << 32;
}

void vmcs_write_host_state(struct vcpu *v)
{
	struct desc_ptr gdt, idt;
	sgdt(&gdt);
	sidt(&idt);
	vmwrite(VMCS_HOST_CR0, read_cr0());
	vmwrite(VMCS_HOST_CR3, read_cr3());
	vmwrite(VMCS_HOST_CR4, read_cr4());
	vmwrite(VMCS_HOST_CS_SEL, SEL_CODE);
	vmwrite(VMCS_HOST_SS_SEL, SEL_DATA);
	vmwrite(VMCS_HOST_DS_SEL, SEL_DATA);
	vmwrite(VMCS_HOST_ES_SEL, SEL_DATA);
	vmwrite(VMCS_HOST_FS_SEL, 0);
	vmwrite(VMCS_HOST_GS_SEL, 0);
	vmwrite(VMCS_HOST_TR_SEL, SEL_TSS);
	vmwrite(VMCS_HOST_FS_BASE, 0);
	vmwrite(VMCS_HOST_GS_BASE, (u64)this_cpu());
	vmwrite(VMCS_HOST_TR_BASE, tss_base(&gdt));
	vmwrite(VMCS_HOST_GDTR_BASE, gdt.base);
	vmwrite(VMCS_HOST_IDTR_BASE, idt.base);
	vmwrite(VMCS_HOST_SYSENTER_CS, 0);
	vmwrite(VMCS_HOST_SYSENTER_ESP, 0);
	vmwrite(VMCS_HOST_SYSENTER_EIP, 0);
	vmwrite(VMCS_HOST_PAT, rdmsr(MSR_PAT));
	vmwrite(VMCS_HOST_EFER, rdmsr(MSR_EFER));
	vmwrite(VMCS_HOST_RSP, (u64)&v->gpr[GPR_R12]);
	vmwrite(VMCS_HOST_RIP, (u64)(trace_on ? vmx_exit_entry_traced : vmx_exit_entry));
}

static void write_apic_controls(struct vcpu *v)
{
	if (vmx_caps.use_proc & PROC_TPR_SHADOW) {
		vmwrite(VMCS_VIRTUAL_APIC_ADDR, v->vlapic->regs_hpa.v);
		vmwrite(VMCS_TPR_THRESHOLD, 0);
	}
	if (vmx_caps.apicv) {
		vmwrite(VMCS_GUEST_INTERRUPT_STATUS, 0);
		vmwrite(VMCS_EOI_EXIT_0, 0);
		vmwrite(VMCS_EOI_EXIT_1, 0);
		vmwrite(VMCS_EOI_EXIT_2, 0);
		vmwrite(VMCS_EOI_EXIT_3, 0);
	}
	if (vmx_caps.posted) {
		vmwrite(VMCS_PI_NOTIFICATION_VECTOR, IRQ_VEC_PI);
		vmwrite(VMCS_PI_DESC_ADDR, v->pi_hpa.v);
	}
}

void vmcs_write_controls(struct vcpu *v)
{
	bool cr8_exits = !(vmx_caps.use_proc & PROC_TPR_SHADOW);
	vmwrite(VMCS_PIN_CONTROLS, vmx_caps.use_pin);
	vmwrite(VMCS_PROC_CONTROLS, vmx_caps.use_proc | (cr8_exits ? PROC_CR8_LOAD | PROC_CR8_STORE : 0));
	vmwrite(VMCS_PROC2_CONTROLS, vmx_caps.use_proc2);
	vmwrite(VMCS_EXIT_CONTROLS, vmx_caps.use_exit);
	vmwrite(VMCS_ENTRY_CONTROLS, vmx_caps.use_entry);
	vmwrite(VMCS_EXCEPTION_BITMAP, 0);
	vmwrite(VMCS_PF_ERROR_MASK, 0);
	vmwrite(VMCS_PF_ERROR_MATCH, 0);
	vmwrite(VMCS_CR3_TARGET_COUNT, 0);
	vmwrite(VMCS_EXIT_MSR_STORE_COUNT, 0);
	vmwrite(VMCS_EXIT_MSR_LOAD_COUNT, 0);
	vmwrite(VMCS_ENTRY_MSR_LOAD_COUNT, 0);
	vmwrite(VMCS_ENTRY_INTR_INFO, 0);
	vmwrite(VMCS_IO_BITMAP_A, v->io_bitmap.v);
	vmwrite(VMCS_IO_BITMAP_B, v->io_bitmap.v + PAGE_SIZE);
	vmwrite(VMCS_MSR_BITMAP, v->msr_bitmap.v);
	vmwrite(VMCS_EPTP, ept_pointer(&v->core.vm->ept));
	if (vmx_caps.use_proc & PROC_TSC_OFFSET)
		vmwrite(VMCS_TSC_OFFSET, v->tsc_offset);
	vmwrite(VMCS_VMCS_LINK_PTR, ~0ull);
	if (vmx_caps.use_proc2 & PROC2_VPID)
		vmwrite(VMCS_VPID, v->vpid);
	if (vmx_caps.use_proc2 & PROC2_XSAVES)
		vmwrite(VMCS_XSS_EXITING_BITMAP, 0);
	write_apic_controls(v);
}
