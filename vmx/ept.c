/*
 * EPT of our VMs: format for the walker, EPTP, flushes.
 *
 * Invariant: after ept_flush_vm returns, no CPU uses a translation that was unmapped before it was called.
 */
#include "vmx/ept.h"

#include <string.h>

#include "core/hypercall.h"
#include "core/percpu.h"
#include "core/vm_mem.h"
#include "vmx/vcpu.h"
#include "vmx/vmx.h"
#include "vmx/vmx_insn.h"

const struct ptab_fmt ept_fmt = {
	.name = "EPT",
	.present = EPT_RWX,
	.page_size = EPT_PAGE,
	.table_flags = EPT_RWX,
	.addr_mask = EPT_ADDR,
};

u64 ept_pointer(const struct ptab *pt)
{
	return pt->root.v | MEMTYPE_WB | FIELD_PREP(BITS(5, 3), pt->levels - 1);
}

int ept_vm_init(struct vm *vm)
{
	u8 max_leaf = vmx_caps.ept_1g ? 3 : vmx_caps.ept_2m ? 2 : 1;
	return ptab_init(&vm->ept, &ept_fmt, 4, max_leaf, false, &vm->owner);
}

u64 ept_ram_flags(void) { return ept_leaf_flags(EPT_RWX, MEMTYPE_WB) | VM_MAP_RAM; }
u64 ept_device_flags(void) { return ept_leaf_flags(EPT_READ | EPT_WRITE, MEMTYPE_UC) | EPT_IPAT | VM_MAP_DEVICE; }

void ept_flush_here(u64 eptp)
{
	if (vmx_caps.ept_vpid & EPT_CAP_INVEPT_SINGLE)
		invept(INVEPT_SINGLE, eptp);
	else
		invept(INVEPT_GLOBAL, 0);
}

/*
 * A CPU outside the guest uses no translation of it and takes the request before its next entry (vcpu_run sets in_guest,
 * then looks at the requests): so it is enough to see it leave once. No deadlock: a waiting CPU is outside.
 */
static void flush_vcpu(struct vcpu *v)
{
	vcpu_request(v, VCPU_REQ_FLUSH_EPT);
	if (v->core.cpu == this_cpu()->index)
		return;
	while (READ_ONCE(v->in_guest) && (READ_ONCE(v->requests) & VCPU_REQ_FLUSH_EPT))
		cpu_relax();
}

void ept_flush_vm(struct vm *vm)
{
	for (u32 i = 0; i < vm->nr_vcpus; i++)
		if (vm->vcpus[i])
			flush_vcpu(vm->vcpus[i]);
}

s64 ept_declare(u64 eptp, const struct nest_premap *range, u32 nr, u64 height)
{
	if (!(outer_features() & NEST_FEAT_PREMAP))
		return 0;
	memcpy(outer_record(), range, nr * sizeof(*range));
	return outer_call(HC_EPT_PREMAP, eptp, nr, height, 0); /* whatever it answers: the rest comes on demand */
}

void ept_declare_vm(const struct vm *vm)
{
	const struct nest_premap ram[] = { { 0, vm->ram_low }, { VM_RAM_HIGH_BASE, vm->ram_high } };

	ept_declare(ept_pointer(&vm->ept), ram, vm->ram_high ? 2 : 1, 0);
}

void ept_flush_vpid(u16 vpid)
{
	if (!(vmx_caps.use_proc2 & PROC2_VPID))
		return;
	if (vmx_caps.ept_vpid & EPT_CAP_INVVPID_SINGLE)
		invvpid(INVVPID_SINGLE, vpid, 0);
	else
		invvpid(INVVPID_ALL, 0, 0);
}
