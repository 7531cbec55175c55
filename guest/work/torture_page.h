/*
 * VMCS pages that must be refused: part of the workload torture-vmx.
 */
#ifndef GUEST_WORK_TORTURE_PAGE_H
#define GUEST_WORK_TORTURE_PAGE_H

#include "core/types.h"

/* In VMX operation, no current VMCS. Returns how many checks failed. */
u32 torture_vmcs_pages(u64 vmxon_region);

#endif
