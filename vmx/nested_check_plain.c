/*
 * The shortcut past the VM-entry checks.
 *
 * Invariant: sound: if the three tables held when vmcs12 was checked last, only hot fields (core/abi.h, "VMCS pages") have changed since,
 * and check_plain holds, then every row of the tables holds (tests/unit/test_nested_checks.c). Pure.
 */
#include "core/x86.h"
#include "vmx/nested_priv.h"

/* Ordinary code goes on: nothing injected, nothing blocked, flags and RIP that no check can refuse. */
bool check_plain(const struct vmcs12 *f, u64 rflags_before)
{
	const u64 undefined = BITS(63, 22) | BIT(15) | BIT(5) | BIT(3) | RFLAGS_VM;
	bool wide = (f->ENTRY_CONTROLS & ENTRY_IA32E) && (f->GUEST_CS_AR & BIT(13));

	if (f->GUEST_INTERRUPTIBILITY | f->GUEST_PENDING_DBG | f->GUEST_ACTIVITY | (f->ENTRY_INTR_INFO & INTR_VALID))
		return false;
	if ((f->GUEST_RFLAGS & (undefined | RFLAGS_FIXED)) != RFLAGS_FIXED || (rflags_before & RFLAGS_VM))
		return false;
	if (f->TPR_THRESHOLD && !proc2_12(f, PROC2_VIRT_INT))
		return false;
	if (f->VMCS_LINK_PTR != ~0ull || (pae_guest(f) && !proc2_12(f, PROC2_EPT)))
		return false;
	return wide ? canonical(f->GUEST_RIP) : !(f->GUEST_RIP >> 32);
}
