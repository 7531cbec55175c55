/*
 * The ground of the nested engine's unit tests: memory of the host, and a VM's RAM through its EPT (see nested_ram.h).
 */
#include "tests/unit/nested_ram.h"

#include <stdlib.h>

#include "core/errno.h"
#include "vmx/ept.h"

u64 host_direct_map_base;
s64 pages_left;
u32 ept_flushes;

void *pages_alloc(struct mem_owner *owner, unsigned order)
{
	if (!pages_left)
		return NULL;
	pages_left -= pages_left > 0;
	void *p = aligned_alloc(PAGE_SIZE << order, PAGE_SIZE << order);
	memset(p, 0, PAGE_SIZE << order);
	owner->pages += BIT(order);
	return p;
}

void pages_free(struct mem_owner *owner, void *p, unsigned order)
{
	owner->pages -= BIT(order);
	pages_left += pages_left >= 0;
	free(p);
}

hpa_t vm_gpa_to_hpa(struct vm *vm, gpa_t gpa, u64 len)
{
	struct ptab_leaf l;
	bool is_ram = ptab_walk(&vm->ept, gpa.v, &l) && (l.flags & VM_MAP_RAM) && len <= l.size - (gpa.v & (l.size - 1));

	return is_ram ? l.pa : HPA_NONE;
}

int vm_read(struct vm *vm, gpa_t gpa, void *buf, u64 len)
{
	hpa_t a = vm_gpa_to_hpa(vm, gpa, len);

	if (a.v == HPA_NONE.v)
		return -EFAULT;
	memcpy(buf, hpa_to_virt(a), len);
	return 0;
}

int vm_write(struct vm *vm, gpa_t gpa, const void *buf, u64 len)
{
	hpa_t a = vm_gpa_to_hpa(vm, gpa, len);

	if (a.v == HPA_NONE.v)
		return -EFAULT;
	memcpy(hpa_to_virt(a), buf, len);
	return 0;
}

const struct ptab_fmt ept_fmt = { "EPT", EPT_RWX, EPT_PAGE, EPT_RWX, EPT_ADDR };
u64 ept_pointer(const struct ptab *pt) { return pt->root.v | MEMTYPE_WB | FIELD_PREP(BITS(5, 3), 3); }
void ept_flush_here(u64 eptp) { (void)eptp; ept_flushes++; }
void vmx_access_failed(bool write, u64 field, u64 value) { fail_msg("VMCS access %d %lx %lx", write, field, value); abort(); }
