/*
 * The VMX instructions of L1 (SDM 3C, VMX Instruction Reference), all but VMLAUNCH and VMRESUME.
 *
 * Invariant: each handler makes the checks of its "Operation" section in that order; the results are exactly #UD, #GP(0), a fault
 * of the operand, VMfailInvalid, VMfailValid(n) or VMsucceed. Precondition of all: vmcs01 is loaded (L2's always exit to L1).
 */
#include <string.h>

#include "core/console.h"
#include "core/x86.h"
#include "vmx/nested_priv.h"
#include "vmx/vmcs.h"

#define ARITHMETIC_FLAGS (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)
#define INFO_REG1 BITS(6, 3)
#define INFO_IS_REG BIT(10)
#define INFO_REG2 BITS(31, 28)

/* ---- results ---- */
static enum exit_action finish(u64 flag)
{
	vmwrite(VMCS_GUEST_RFLAGS, (vmread(VMCS_GUEST_RFLAGS) & ~ARITHMETIC_FLAGS) | flag);
	return EXIT_ADVANCE;
}

enum exit_action insn_succeed(void) { return finish(0); }
enum exit_action insn_fail_invalid(void) { return finish(RFLAGS_CF); }

enum exit_action insn_fail(struct vcpu *v, enum vmx_insn_error error)
{
	if (v->nested->current_gpa == ~0ull)
		return insn_fail_invalid();
	v->nested->v12.INSN_ERROR = error;
	if (v->nested->page)
		page_publish_error(v->nested);
	return finish(RFLAGS_ZF);
}

/* ---- checks before anything else ---- */
/* Where VMX instructions do not exist at all. */
static bool mode_undefined(struct vcpu *v)
{
	if (!v->nested || !(vcpu_read_cr0() & CR0_PE) || (vmread(VMCS_GUEST_RFLAGS) & RFLAGS_VM))
		return true;
	return (vmread(VMCS_GUEST_EFER) & EFER_LMA) && !l1_in_64bit();
}

/* In VMX operation 64-bit code at CPL 0 is allowed, whatever else there is to say (the common case, in three fields). */
bool insn_in_plain_mode(struct vcpu *v)
{
	return v->nested && v->nested->vmx_on && (vmread(VMCS_GUEST_EFER) & EFER_LMA) && (vmread(VMCS_GUEST_CS_AR) & BIT(13)) &&
	       !(vmread(VMCS_GUEST_SS_AR) & BITS(6, 5));
}

bool insn_allowed(struct vcpu *v, enum exit_action *a)
{
	if (insn_in_plain_mode(v))
		return true;
	if (mode_undefined(v) || !v->nested->vmx_on)
		*a = inject_ud(v);
	else if (vcpu_cpl() != 0)
		*a = inject_gp(v);
	else
		return true;
	return false;
}

/* ---- VMXON, VMXOFF ---- */
static bool fixed_ok(u64 value, u64 fixed0, u64 fixed1) { return !(fixed0 & ~value) && !(value & ~fixed1); }

static bool vmxon_permitted(struct vcpu *v)
{
	u64 fc;

	return vcpu_cpl() == 0 && fixed_ok(vcpu_read_cr0(), nested_caps.cr0_fixed0, nested_caps.cr0_fixed1) &&
	       fixed_ok(vcpu_read_cr4(), nested_caps.cr4_fixed0, nested_caps.cr4_fixed1) &&
	       vcpu_read_msr(v, MSR_FEATURE_CONTROL, &fc) && (fc & FEATURE_CONTROL_LOCK) && (fc & FEATURE_CONTROL_VMXON);
}

static void enter_vmx(struct vcpu *v, u64 region)
{
	struct nested *n = v->nested;

	memset(n->msr_bitmap, 0xff, PAGE_SIZE);
	memset(n->io_bitmap, 0xff, 2 * PAGE_SIZE);
	open_words_find(&n->msr_open, v->msr_bitmap_page, PAGE_SIZE / 8);
	open_words_find(&n->io_open[0], v->io_bitmap_pages, PAGE_SIZE / 8);
	open_words_find(&n->io_open[1], (u64 *)v->io_bitmap_pages + PAGE_SIZE / 8, PAGE_SIZE / 8);
	n->vmxon_gpa = region;
	n->current_gpa = ~0ull;
	n->vmx_on = true;
	vcpu_cr0_owned_changed(v);
}

enum exit_action exit_vmxon(struct vcpu *v)
{
	u64 region;

	if (mode_undefined(v) || !(vcpu_read_cr4() & CR4_VMXE))
		return inject_ud(v);
	if (v->nested->vmx_on)
		return vcpu_cpl() ? inject_gp(v) : insn_fail(v, INSN_ERR_VMXON_IN_ROOT);
	if (!vmxon_permitted(v))
		return inject_gp(v);
	if (!l1_operand_pointer(v, &region))
		return EXIT_INJECT;
	if (!region_gpa_ok(region) || region_read_revision(v, region) != NESTED_REVISION)
		return insn_fail_invalid();
	if (nested_allocate(v)) {
		log_limited(4, "%s: VMXON refused: the VM's memory limit leaves no room for the nested engine", v->core.vm->cfg->name);
		return insn_fail_invalid();
	}
	enter_vmx(v, region);
	return insn_succeed();
}

enum exit_action exit_vmxoff(struct vcpu *v)
{
	enum exit_action a;

	if (!insn_allowed(v, &a))
		return a;
	chain_forget(v, v->nested);
	region_put(v);
	ept02_free_all(v);
	premap_forget_all(v->nested);
	v->nested->vmx_on = false;
	v->nested->vmxon_gpa = ~0ull;
	vcpu_cr0_owned_changed(v);
	if (page_init_waits(v))
		vcpu_request(v, VCPU_REQ_INIT);
	page_set_init(v, false);
	return insn_succeed();
}

/* ---- VMCLEAR, VMPTRLD, VMPTRST ---- */
enum exit_action exit_vmclear(struct vcpu *v)
{
	enum exit_action a;
	u64 gpa;

	if (!insn_allowed(v, &a))
		return a;
	if (!l1_operand_pointer(v, &gpa))
		return EXIT_INJECT;
	if (!region_gpa_ok(gpa))
		return insn_fail(v, INSN_ERR_VMCLEAR_ADDR);
	if (gpa == v->nested->vmxon_gpa)
		return insn_fail(v, INSN_ERR_VMCLEAR_VMXON);
	if (gpa == v->nested->current_gpa)
		region_put(v);
	region_clear_launched(v, gpa);
	return insn_succeed();
}

enum exit_action exit_vmptrld(struct vcpu *v)
{
	struct nested *n = v->nested;
	enum exit_action a;
	u64 gpa;

	if (!insn_allowed(v, &a))
		return a;
	if (!l1_operand_pointer(v, &gpa))
		return EXIT_INJECT;
	if (!region_gpa_ok(gpa))
		return insn_fail(v, INSN_ERR_VMPTRLD_ADDR);
	if (gpa == n->vmxon_gpa)
		return insn_fail(v, INSN_ERR_VMPTRLD_VMXON);
	u32 shadow = nested_caps.proc2.may & PROC2_SHADOW_VMCS ? (u32)REVISION_SHADOW : 0;
	if ((region_read_revision(v, gpa) & ~shadow) != NESTED_REVISION)
		return insn_fail(v, INSN_ERR_VMPTRLD_REVISION);
	if (gpa != n->current_gpa) {
		region_put(v);
		region_load(v, gpa);
	}
	return insn_succeed();
}

enum exit_action exit_vmptrst(struct vcpu *v)
{
	enum exit_action a;
	u64 linear, gpa;

	if (!insn_allowed(v, &a))
		return a;
	gpa = v->nested->page ? ~0ull : v->nested->current_gpa;
	if (!l1_operand_address(v, vmread(VMCS_EXIT_INSN_INFO), sizeof(gpa), true, &linear) ||
	    !l1_access_linear(v, linear, &gpa, sizeof(gpa), true))
		return EXIT_INJECT;
	return insn_succeed();
}

/* ---- VMREAD, VMWRITE ---- */
/* Register operands are 64 bits wide in 64-bit mode, 32 elsewhere. */
static u64 register_operand(struct vcpu *v, u32 reg, bool wide)
{
	u64 value = vcpu_gpr(v, reg);

	return wide ? value : (u32)value;
}

u64 insn_register2(struct vcpu *v)
{
	return register_operand(v, (u32)FIELD_GET(INFO_REG2, vmread(VMCS_EXIT_INSN_INFO)), l1_in_64bit());
}

enum exit_action insn_vmread(struct vcpu *v, struct vmcs12 *target)
{
	u64 info = vmread(VMCS_EXIT_INSN_INFO), encoding = insn_register2(v), linear;
	bool wide = l1_in_64bit();

	if (!vmcs12_field(target, &nested_caps, encoding))
		return insn_fail(v, INSN_ERR_FIELD);
	u64 value = vmcs12_read(target, &nested_caps, encoding);
	if (!wide)
		value = (u32)value;
	if (info & INFO_IS_REG)
		vcpu_set_gpr(v, (u32)FIELD_GET(INFO_REG1, info), value);
	else if (!l1_operand_address(v, info, wide ? 8 : 4, true, &linear) || !l1_access_linear(v, linear, &value, wide ? 8 : 4, true))
		return EXIT_INJECT;
	return insn_succeed();
}

enum exit_action exit_vmread(struct vcpu *v)
{
	enum exit_action a;

	if (!insn_allowed(v, &a))
		return a;
	return v->nested->current_gpa == ~0ull || v->nested->page ? insn_fail_invalid() : insn_vmread(v, &v->nested->v12);
}

static bool vmwrite_source(struct vcpu *v, u64 info, bool wide, u64 *value)
{
	u64 linear;

	*value = 0;
	if (info & INFO_IS_REG) {
		*value = register_operand(v, (u32)FIELD_GET(INFO_REG1, info), wide);
		return true;
	}
	return l1_operand_address(v, info, wide ? 8 : 4, false, &linear) && l1_access_linear(v, linear, value, wide ? 8 : 4, false);
}

enum exit_action insn_vmwrite(struct vcpu *v, struct vmcs12 *target)
{
	u64 info = vmread(VMCS_EXIT_INSN_INFO), encoding = insn_register2(v), value;

	if (!vmwrite_source(v, info, l1_in_64bit(), &value))
		return EXIT_INJECT;
	if (!vmcs12_field(target, &nested_caps, encoding))
		return insn_fail(v, INSN_ERR_FIELD);
	if (field_type(encoding) == FIELD_TYPE_READ_ONLY && !(nested_caps.misc & VMX_MISC_VMWRITE_RO))
		return insn_fail(v, INSN_ERR_READ_ONLY);
	vmcs12_write(target, &nested_caps, encoding, value);
	return insn_succeed();
}

enum exit_action exit_vmwrite(struct vcpu *v)
{
	struct nested *n = v->nested;
	enum exit_action a;

	if (!insn_allowed(v, &a))
		return a;
	if (n->current_gpa == ~0ull || n->page)
		return insn_fail_invalid();
	u32 encoding = (u32)insn_register2(v);
	a = insn_vmwrite(v, &n->v12);
	if (a == EXIT_ADVANCE) { /* written, or refused: a group too many does no harm */
		n->dirty |= vmcs_group(encoding & ~(u32)VMCS_ENC_HIGH);
		if (field_type(encoding) == FIELD_TYPE_READ_ONLY)
			shadow_from_v12(v); /* its VMREAD does not come here */
	}
	return a;
}

/* ---- INVEPT, INVVPID ---- */
/* The descriptor; of a type that does not exist it is not read. False: a fault has been injected. */
static bool invalidation_descriptor(struct vcpu *v, u64 desc[2])
{
	u64 linear;

	return l1_operand_address(v, vmread(VMCS_EXIT_INSN_INFO), 16, false, &linear) && l1_access_linear(v, linear, desc, 16, false);
}

enum exit_action exit_invept(struct vcpu *v)
{
	enum exit_action a;
	u64 type, desc[2];

	if (!insn_allowed(v, &a))
		return a;
	if (!(nested_caps.proc2.may & PROC2_EPT))
		return inject_ud(v);
	type = insn_register2(v);
	if (type != INVEPT_SINGLE && type != INVEPT_GLOBAL)
		return insn_fail(v, INSN_ERR_INV_OPERAND);
	if (!invalidation_descriptor(v, desc))
		return EXIT_INJECT;
	if (type == INVEPT_GLOBAL)
		ept02_drop_all(v);
	else if (check_eptp(&nested_caps, desc[0]))
		ept02_drop(v, desc[0]);
	else
		return insn_fail(v, INSN_ERR_INV_OPERAND);
	return insn_succeed();
}

static bool invvpid_descriptor_ok(u64 type, const u64 desc[2])
{
	if (desc[0] >> 16 || (type == INVVPID_ADDRESS && !canonical(desc[1])))
		return false;
	return type == INVVPID_ALL || desc[0] != 0;
}

/* Whatever the type: all translations of the VPID go, or all of all. */
enum exit_action exit_invvpid(struct vcpu *v)
{
	enum exit_action a;
	u64 type, desc[2];

	if (!(nested_caps.proc2.may & PROC2_VPID)) /* undefined whoever executes it */
		return inject_ud(v);
	if (!insn_allowed(v, &a))
		return a;
	type = insn_register2(v);
	if (type > INVVPID_SINGLE_KEEP_GLOBAL)
		return insn_fail(v, INSN_ERR_INV_OPERAND);
	if (!invalidation_descriptor(v, desc))
		return EXIT_INJECT;
	if (!invvpid_descriptor_ok(type, desc))
		return insn_fail(v, INSN_ERR_INV_OPERAND);
	if (type == INVVPID_ALL)
		vpid_forget_all(v->nested);
	else
		vpid_forget(v->nested, (u16)desc[0]);
	return insn_succeed();
}
