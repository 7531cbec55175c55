/*
 * How fields go between a vmcs12 and vmcs02: lists of them, and accesses that know what vmcs02 holds already. For nested_state.c (entry)
 * and nested_save.c (exit) alone.
 *
 * Invariant: while in02_valid, n->in02 equals vmcs02 for the fields that go through put() or were read back by GET.
 */
#ifndef VMX_NESTED_PUT_H
#define VMX_NESTED_PUT_H

#include "vmx/nested_priv.h"
#include "vmx/vmcs.h"

/* Guest state that goes both ways as it is: what nearly every exit changes, the segments, the rest. */
#define HOT_STATE(F) \
	F(GUEST_RIP) F(GUEST_RSP) F(GUEST_RFLAGS) F(GUEST_PENDING_DBG) F(GUEST_INTERRUPTIBILITY)
#define SEGMENT_STATE(F) \
	F(GUEST_ES_SEL) F(GUEST_CS_SEL) F(GUEST_SS_SEL) F(GUEST_DS_SEL) F(GUEST_FS_SEL) F(GUEST_GS_SEL) F(GUEST_LDTR_SEL) \
	F(GUEST_TR_SEL) F(GUEST_ES_LIMIT) F(GUEST_CS_LIMIT) F(GUEST_SS_LIMIT) F(GUEST_DS_LIMIT) F(GUEST_FS_LIMIT) \
	F(GUEST_GS_LIMIT) F(GUEST_LDTR_LIMIT) F(GUEST_TR_LIMIT) F(GUEST_GDTR_LIMIT) F(GUEST_IDTR_LIMIT) F(GUEST_ES_AR) \
	F(GUEST_CS_AR) F(GUEST_SS_AR) F(GUEST_DS_AR) F(GUEST_FS_AR) F(GUEST_GS_AR) F(GUEST_LDTR_AR) F(GUEST_TR_AR) \
	F(GUEST_ES_BASE) F(GUEST_CS_BASE) F(GUEST_SS_BASE) F(GUEST_DS_BASE) F(GUEST_FS_BASE) F(GUEST_GS_BASE) \
	F(GUEST_LDTR_BASE) F(GUEST_TR_BASE) F(GUEST_GDTR_BASE) F(GUEST_IDTR_BASE)
#define REGISTER_STATE(F) F(GUEST_SYSENTER_CS) F(GUEST_SYSENTER_ESP) F(GUEST_SYSENTER_EIP) F(GUEST_CR3)
/* Where vmcs02 differs from vmcs12: read back into in02. */
#define MERGED_STATE(F) \
	F(GUEST_CR0) F(GUEST_CR4) F(CR0_READ_SHADOW) F(CR4_READ_SHADOW) F(GUEST_EFER) F(ENTRY_CONTROLS) F(GUEST_DR7) \
	F(GUEST_DEBUGCTL) F(GUEST_PAT) F(GUEST_ACTIVITY)
/* Controls that are L1's alone and always exist in the hardware. */
#define OWN_CONTROLS(F) \
	F(PF_ERROR_MASK) F(PF_ERROR_MATCH) F(CR3_TARGET_COUNT) F(CR3_TARGET_0) F(CR3_TARGET_1) F(CR3_TARGET_2) F(CR3_TARGET_3)

/* A whole list from v12 (f) into vmcs02, and back (n). */
#define WRITE_HW(name) vmwrite_again(VMCS_##name, f->name);
#define WRITE_MEMORY(name) vmwrite_memory(VMCS_##name, f->name);
#define READ_HW(name) vmread_again_to(VMCS_##name, to->name);
#define READ_MEMORY(name) to->name = vmread_memory(VMCS_##name);
#define WRITE_ALL(LIST) do { if (vmcs_in_memory) { LIST(WRITE_MEMORY) } else { LIST(WRITE_HW) } } while (0)
#define READ_ALL(LIST) do { if (vmcs_in_memory) { LIST(READ_MEMORY) } else { LIST(READ_HW) } } while (0)

static __inline_always void put(struct nested *n, enum vmcs_field enc, u64 *held, u64 value)
{
	if (__builtin_expect(n->in02_valid && *held == value, 1))
		return;
	vmwrite(enc, value);
	*held = value;
}
#define PUT(n, name, value) put(n, VMCS_##name, &(n)->in02.name, value)
/* Read a field back: in02 and the return value. */
#define GET(n, name) ((n)->in02.name = vmread(VMCS_##name))

#endif
