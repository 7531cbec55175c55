/*
 * What L2 does by itself with what vmcs12 names: VMREAD and VMWRITE of a shadow VMCS (SDM 3C, VMCS Shadowing), VMFUNC (SDM 3C,
 * VM Functions).
 *
 * Invariant: bitmaps and lists are L1's and are read at each use; a field is reached only where L1 may use it, an EPTP only if a VM
 * entry would accept it. Precondition of all: vmcs02 is loaded.
 */
#include "core/x86.h"
#include "vmx/nested_priv.h"

#define ENCODINGS BIT(15) /* bits of a VMREAD or VMWRITE bitmap */

bool link_wants(struct vcpu *v, bool write)
{
	const struct vmcs12 *f = &v->nested->v12;
	u64 encoding = insn_register2(v), bitmap = write ? f->VMWRITE_BITMAP : f->VMREAD_BITMAP;
	u8 byte;

	return encoding >= ENCODINGS || l1_read(v, bitmap + encoding / 8, &byte, 1) || (byte & BIT(encoding % 8));
}

/* The rest of the instruction's "Operation", in its order. True: the linked VMCS is to be accessed. */
static bool may_access(struct vcpu *v, enum exit_action *a)
{
	if (vcpu_cpl() != 0)
		*a = inject_gp(v);
	else if (v->nested->v12.VMCS_LINK_PTR == ~0ull)
		*a = insn_fail_invalid();
	else
		return true;
	return false;
}

enum exit_action link_vmread(struct vcpu *v)
{
	enum exit_action a;

	return may_access(v, &a) ? insn_vmread(v, region_data(v, v->nested->v12.VMCS_LINK_PTR)) : a;
}

enum exit_action link_vmwrite(struct vcpu *v)
{
	enum exit_action a;

	return may_access(v, &a) ? insn_vmwrite(v, region_data(v, v->nested->v12.VMCS_LINK_PTR)) : a;
}

/* ---- VMFUNC 0: EPTP switching ---- */
#define EPTP_LIST 512

bool link_vmfunc(struct vcpu *v)
{
	struct nested *n = v->nested;
	u32 function = (u32)v->gpr[GPR_RAX], index = (u32)v->gpr[GPR_RCX];
	u64 eptp;

	if (function != 0 || !(n->v12.VMFUNC_CONTROLS & VMFUNC_EPTP_SWITCHING) || index >= EPTP_LIST)
		return false;
	if (l1_read(v, n->v12.EPTP_LIST_ADDR + index * 8, &eptp, sizeof(eptp)) || !check_eptp(&nested_caps, eptp))
		return false;
	n->v12.EPTP = eptp;
	ept02_drop_above(n);
	if (!ept02_select(v)) {
		vcpu_kill(v, "no memory left for the tables of its guest");
		return true;
	}
	n->in02.EPTP = ept02_pointer(n, v->core.vm);
	vmwrite(VMCS_EPTP, n->in02.EPTP);
	return true;
}
