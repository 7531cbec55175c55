/*
 * Setting up a VMCS of ours: host state and controls that do not change while a VM lives. Used for vmcs01 and, by the
 * nested engine, for vmcs02.
 */
#ifndef VMX_VMCS_H
#define VMX_VMCS_H

#include "vmx/vcpu.h"

/* Allocate and VMCLEAR a region with the revision id. 0, -ENOMEM. */
int vmcs_create(struct vmcs *m, struct mem_owner *owner) __must_check;
/* Make it the one that vmread, vmwrite and the entry use. */
void vmcs_load(const struct vmcs *m);
/* What its MSR or I/O bitmaps say has changed: an outer that reads our VMCSs from memory wants to know. */
void vmcs_bitmaps_changed(const struct vmcs *m);
/* Our outer may run what the guest of this VMCS runs by its own VMCS pages; assist: its assist page, NEST_VMCS_NONE: no more. */
void vmcs_delegate(const struct vmcs *m, u64 assist);
/* Tell the outer that an INIT waits for the guest's processor (core/abi.h, "Delegation"), or not; does it wait still? With VMCS pages only. */
void vmcs_set_init(const struct vmcs *m, bool waits);
bool vmcs_init_waits(const struct vmcs *m);
/* VMCLEAR on the CPU that has used it: its data are in memory afterwards, the next entry is a VMLAUNCH. */
void vmcs_forget(struct vmcs *m);
/* Free the region. Precondition: vmcs_forget on the CPU that used it last. */
void vmcs_destroy(struct vmcs *m, struct mem_owner *owner);
/* Write the host-state area for the calling CPU and this vCPU. Precondition: the VMCS is loaded on the vCPU's CPU. */
void vmcs_write_host_state(struct vcpu *v);
/* Write our controls (vmx_caps.use_*) and the addresses of v's pages. Precondition: vmcs01 is loaded. */
void vmcs_write_controls(struct vcpu *v);

/* vmx_enter.S: for vmcs01, which tries exit_fast first, and for vmcs02. */
u64 vmx_enter(u64 *gpr, u64 launched);
extern const char vmx_exit_entry[], vmx_exit_entry_nested[];
extern const char vmx_exit_entry_traced[], vmx_exit_entry_nested_traced[]; /* the same with a trace (core/trace.h) */

#endif
