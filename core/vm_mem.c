/*
 * RAM of a VM: pieces of 2 MiB, mapped into its address space; and every look into it.
 *
 * Invariant: only leaves marked VM_MAP_RAM are ever read, written or handed out here. RAM is mapped before the VM runs
 * and unmapped after it ended, and the walker reads entries whole, so look-ups need no lock.
 */
#include "core/vm_mem.h"

#include <string.h>

#include "core/errno.h"

#define CHUNK_ORDER MEM_MAX_ORDER
#define CHUNK_LEN (PAGE_SIZE << CHUNK_ORDER)
_Static_assert(CHUNK_LEN == SIZE_2M, "RAM comes in 2 MiB pieces");

/* Beyond RAM: 16 MiB for vCPUs and nesting, and 1/128 of RAM for tables (4 KiB leaves need 1/512 at each level). */
u64 vm_mem_limit(u64 ram) { return (ram + ram / 128 + (16ull << 20)) / PAGE_SIZE; }

static int add_range(struct vm *vm, u64 base, u64 len, u64 *done)
{
	for (*done = 0; *done < len; *done += CHUNK_LEN) {
		void *chunk = pages_alloc(&vm->owner, CHUNK_ORDER);
		if (!chunk)
			return -ENOMEM;
		if (ptab_map(&vm->ept, base + *done, virt_to_hpa(chunk), CHUNK_LEN, vm_arch->ram_flags() | VM_MAP_RAM)) {
			pages_free(&vm->owner, chunk, CHUNK_ORDER);
			return -ENOMEM;
		}
	}
	return 0;
}

int vm_mem_create(struct vm *vm)
{
	u64 low = MIN(vm->cfg->memory, VM_RAM_LOW_MAX);
	int err = add_range(vm, 0, low, &vm->ram_low);
	return err ? err : add_range(vm, VM_RAM_HIGH_BASE, vm->cfg->memory - low, &vm->ram_high);
}

static void free_range(struct vm *vm, u64 base, u64 len)
{
	struct ptab_leaf leaf;

	for (u64 off = 0; off < len; off += CHUNK_LEN) {
		bool mapped = ptab_walk(&vm->ept, base + off, &leaf);
		ASSERT(mapped && leaf.flags & VM_MAP_RAM);
		pages_free(&vm->owner, hpa_to_virt(leaf.pa), CHUNK_ORDER);
	}
}

void vm_mem_destroy(struct vm *vm)
{
	free_range(vm, 0, vm->ram_low);
	free_range(vm, VM_RAM_HIGH_BASE, vm->ram_high);
	vm->ram_low = vm->ram_high = 0;
	ptab_destroy(&vm->ept);
}

/* ---- looking into it ---- */

/* RAM at gpa: its hpa, and the bytes from there to the end of the leaf. */
static bool ram_at(struct vm *vm, u64 gpa, hpa_t *hpa, u64 *left)
{
	struct ptab_leaf leaf;

	if (!ptab_walk(&vm->ept, gpa, &leaf) || !(leaf.flags & VM_MAP_RAM))
		return false;
	*hpa = leaf.pa;
	*left = leaf.size - (gpa & (leaf.size - 1));
	return true;
}

hpa_t vm_gpa_to_hpa(struct vm *vm, gpa_t gpa, u64 len)
{
	hpa_t hpa;
	u64 left;

	return ram_at(vm, gpa.v, &hpa, &left) && len <= left ? hpa : HPA_NONE;
}

/* The whole of [gpa, gpa + len) is RAM. */
static bool is_ram(struct vm *vm, u64 gpa, u64 len)
{
	hpa_t hpa;
	u64 left = 0;

	if (gpa + len < gpa)
		return false;
	for (u64 off = 0; off < len; off += left)
		if (!ram_at(vm, gpa + off, &hpa, &left))
			return false;
	return true;
}

static int copy(struct vm *vm, u64 gpa, u8 *to, const u8 *from, u64 len, bool write)
{
	if (!is_ram(vm, gpa, len))
		return -EFAULT;
	for (u64 off = 0, n; off < len; off += n) {
		hpa_t hpa;
		u64 left;
		bool ok = ram_at(vm, gpa + off, &hpa, &left);
		ASSERT(ok); /* is_ram saw it, and RAM stays while the VM exists */
		n = MIN(left, len - off);
		if (write)
			memcpy(hpa_to_virt(hpa), from + off, n);
		else
			memcpy(to + off, hpa_to_virt(hpa), n);
	}
	return 0;
}

int vm_read(struct vm *vm, gpa_t gpa, void *buf, u64 len) { return copy(vm, gpa.v, buf, NULL, len, false); }
int vm_write(struct vm *vm, gpa_t gpa, const void *buf, u64 len) { return copy(vm, gpa.v, NULL, buf, len, true); }

u64 vm_gpa_top(const struct vm *vm) { return VM_RAM_HIGH_BASE + vm->ram_high; }
