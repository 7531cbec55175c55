/*
 * The VM's PCI Express: one root bus, configuration space by ports CF8h/CFCh and by ECAM at E0000000h.
 */
#ifndef CORE_VPCI_H
#define CORE_VPCI_H

#include "core/pci.h"
#include "core/vm.h"

#define VPCI_ECAM_BASE 0xe0000000ull /* above the 3 GiB that low RAM can reach */
#define VPCI_ECAM_LEN 0x10000000ull  /* 256 buses */
#define VPCI_WINDOW_BASE 0xc0000000ull /* for the BARs of virtual devices: up to the ECAM */
#define VPCI_MAX_FUNCTIONS 16

/*
 * Configuration space of one function: naturally aligned accesses of 1, 2 or 4 bytes, offset < 4096 (by ports: < 256).
 * Called under the PCI lock of the VM.
 */
struct vpci_ops {
	u32 (*read)(void *dev, u32 offset, u32 size);
	void (*write)(void *dev, u32 offset, u32 size, u32 value);
};

/* Create the bus with its host bridge and claim ports and ECAM. 0, -ENOMEM. */
int vpci_create(struct vm *vm) __must_check;
void vpci_destroy(struct vm *vm);
/* Plug a function in; before the VM runs. 0, -EEXIST, -ENOSPC. */
int vpci_add(struct vm *vm, rid_t rid, const struct vpci_ops *ops, void *dev) __must_check;
/* Unplug it; no vCPU of the VM runs. What was never plugged in is no error. */
void vpci_remove(struct vm *vm, rid_t rid);
/* A place for a BAR of len bytes (a power of two) in the window, as a firmware assigns them; before the VM runs. 0: it is full. */
u32 vpci_window_alloc(struct vm *vm, u32 len);

#endif
