/*
 * Guests without paging on a CPU without "unrestricted guest" (see vmx/no_ug.h).
 *
 * The identity table is one page of 32-bit page-directory entries with 4 MiB pages, mapped at a guest-physical address
 * below 4 GiB where a VM has no RAM and no device.
 */
#include "vmx/no_ug.h"

#include "core/console.h"
#include "core/errno.h"
#include "core/x86.h"
#include "vmx/ept.h"

#define IDENTITY_GPA 0xfffbc000ull

bool no_ug_needed(void) { return !vmx_caps.unrestricted; }

int no_ug_create(struct vcpu *v)
{
	struct vm *vm = v->core.vm;
	if (!no_ug_needed())
		return 0;
	if (v->core.index == 0) {
		u32 *table = page_alloc(&vm->owner);
		if (!table)
			return -ENOMEM;
		for (u32 i = 0; i < 1024; i++) /* present, writable, user, accessed, dirty, 4 MiB */
			table[i] = i << 22 | 0xe7;
		int error = ptab_map(&vm->ept, IDENTITY_GPA, virt_to_hpa(table), PAGE_SIZE, ept_leaf_flags(EPT_READ | EPT_WRITE, MEMTYPE_WB));
		if (error) {
			page_free(&vm->owner, table);
			return error;
		}
		v->identity_table = table;
	}
	return 0;
}

void no_ug_free(struct vcpu *v)
{
	if (v->identity_table)
		page_free(&v->core.vm->owner, v->identity_table);
	v->identity_table = NULL;
}

bool no_ug_start_real_mode(struct vcpu *v)
{
	if (!no_ug_needed())
		return true;
	log_line("%s vCPU %u: start-up in real mode needs an \"unrestricted guest\" processor; it stays off", v->core.vm->cfg->name, v->core.index);
	v->state = VCPU_OFF;
	return false;
}

static void cr3_exits(bool on)
{
	u64 c = vmread(VMCS_PROC_CONTROLS), bits = PROC_CR3_LOAD | PROC_CR3_STORE;
	vmwrite(VMCS_PROC_CONTROLS, on ? c | bits : c & ~bits);
}

static void to_identity(struct vcpu *v)
{
	if (!v->real_mode_fallback)
		v->identity_cr3 = vmread(VMCS_GUEST_CR3);
	v->real_mode_fallback = true;
	cr3_exits(true);
	vmwrite(VMCS_GUEST_CR3, IDENTITY_GPA);
	u64 cr4 = vmread(VMCS_GUEST_CR4);
	vmwrite(VMCS_GUEST_CR4, (cr4 | CR4_PSE) & ~CR4_PAE);
}

static void to_guest_paging(struct vcpu *v)
{
	u64 shadow = vmread(VMCS_CR4_READ_SHADOW), cr4 = vmread(VMCS_GUEST_CR4) & ~(CR4_PAE | CR4_PSE);
	vmwrite(VMCS_GUEST_CR4, cr4 | (shadow & (CR4_PAE | CR4_PSE)));
	if (v->real_mode_fallback)
		vmwrite(VMCS_GUEST_CR3, v->identity_cr3);
	v->real_mode_fallback = false;
	cr3_exits(false);
}

void no_ug_apply(struct vcpu *v, u64 wanted_cr0)
{
	if (!no_ug_needed())
		return;
	vmwrite(VMCS_GUEST_CR0, vmread(VMCS_GUEST_CR0) | CR0_PE | CR0_PG);
	if (wanted_cr0 & CR0_PG)
		to_guest_paging(v);
	else
		to_identity(v);
	if (!(wanted_cr0 & CR0_PE) && v->state == VCPU_RUNNABLE && vmread(VMCS_GUEST_RIP) != 0xfff0)
		vm_end(v->core.vm, 254, "vCPU %u enters real mode, which this processor cannot run as a guest", v->core.index);
}

u64 no_ug_read_cr3(struct vcpu *v) { return v->real_mode_fallback ? v->identity_cr3 : vmread(VMCS_GUEST_CR3); }

void no_ug_write_cr3(struct vcpu *v, u64 value)
{
	if (v->real_mode_fallback)
		v->identity_cr3 = value;
	else
		vmwrite(VMCS_GUEST_CR3, value & ~BIT(63));
}
