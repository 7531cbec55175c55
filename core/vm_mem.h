/*
 * RAM of a VM; used by vm.c only. What others call is in core/vm.h.
 */
#ifndef CORE_VM_MEM_H
#define CORE_VM_MEM_H

#include "core/vm.h"

#define VM_RAM_LOW_MAX (3 * SIZE_1G)  /* what does not fit below begins at 4 GiB */
#define VM_RAM_HIGH_BASE (4 * SIZE_1G)

/* Pages that a VM of so many bytes may own in all: RAM, tables, vCPUs, and what its nesting needs. */
u64 vm_mem_limit(u64 ram);
/* Take RAM from the pool and map it. -ENOMEM: vm_mem_destroy takes back what was mapped so far. */
int vm_mem_create(struct vm *vm) __must_check;
/* Give RAM and tables back. */
void vm_mem_destroy(struct vm *vm);

#endif
