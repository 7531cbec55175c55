/*
 * CR0 and CR4 accesses of L2 that exit because of bits that are ours, not L1's: performed as the processor would have.
 *
 * Invariant: a bit that L1 owns is not changed here (the access would have gone to L1); what L2 then reads is what it wrote; the
 * real registers keep the bits that VMX operation needs. Precondition of all: vmcs02 loaded.
 */
#include "core/x86.h"
#include "vmx/nested_priv.h"
#include "vmx/vlapic.h"

#define Q_CR BITS(3, 0)
#define Q_TYPE BITS(5, 4)
#define Q_GPR BITS(11, 8)
#define Q_LMSW BITS(31, 16)
enum { CR_MOV_TO, CR_MOV_FROM, CR_CLTS, CR_LMSW };

static bool long_mode(void) { return vmread(VMCS_GUEST_EFER) & EFER_LMA; }

/* The registers as L2's execution sees them: our bits as L2 wrote them, the rest (L1's too) as they are. */
static u64 cr0_now(const struct nested *n)
{
	u64 ours = vmread(VMCS_CR0_MASK) & ~n->v12.CR0_MASK;

	return (vmread(VMCS_GUEST_CR0) & ~ours) | (vmread(VMCS_CR0_READ_SHADOW) & ours);
}

static u64 cr4_now(const struct nested *n)
{
	u64 ours = vmread(VMCS_CR4_MASK) & ~n->v12.CR4_MASK;

	return (vmread(VMCS_GUEST_CR4) & ~ours) | (vmread(VMCS_CR4_READ_SHADOW) & ours);
}

/* PAE paging takes its PDPTEs from memory at such a write (SDM 3A, PDPTE Registers). False: #GP. */
static bool load_pdptes(struct vcpu *v)
{
	u64 cr3 = vmread(VMCS_GUEST_CR3), pdpte[4];

	for (u32 i = 0; i < 4; i++) {
		hpa_t a = nested_l2_gpa_to_hpa(v, (cr3 & BITS(31, 5)) + i * 8, false);

		pdpte[i] = a.v == HPA_NONE.v ? 0 : READ_ONCE(*(const u64 *)hpa_to_virt(a));
	}
	if (!check_pdptes(&nested_caps, pdpte))
		return false;
	for (u32 i = 0; i < 4; i++)
		vmwrite(VMCS_GUEST_PDPTE0 + 2 * i, pdpte[i]);
	v->nested->in02_valid = false;
	return true;
}

/* The rules of MOV to CR0 (SDM 2, MOV—Move to/from Control Registers) and of VMX non-root operation. */
static bool cr0_valid(const struct nested *n, u64 value, u64 cr4)
{
	u64 fixed0 = nested_caps.cr0_fixed0 & ~(proc2_12(&n->v12, PROC2_UNRESTRICTED) ? CR0_PE | CR0_PG : 0);

	if (((fixed0 & ~value) | (value & ~nested_caps.cr0_fixed1)) & ~n->v12.CR0_MASK)
		return false;
	if (((value & CR0_PG) && !(value & CR0_PE)) || ((value & CR0_NW) && !(value & CR0_CD)))
		return false;
	if ((value & CR0_PG) && (vmread(VMCS_GUEST_EFER) & EFER_LME) && !(cr4 & CR4_PAE))
		return false;
	return (value & CR0_PG) || !((long_mode() && (vmread(VMCS_GUEST_CS_AR) & BIT(13))) || (cr4 & CR4_PCIDE));
}

static void follow_paging(bool on)
{
	u64 efer = vmread(VMCS_GUEST_EFER), ctl = vmread(VMCS_ENTRY_CONTROLS);
	bool lma = on && (efer & EFER_LME);

	vmwrite(VMCS_GUEST_EFER, lma ? efer | EFER_LMA : efer & ~EFER_LMA);
	vmwrite(VMCS_ENTRY_CONTROLS, lma ? ctl | ENTRY_IA32E : ctl & ~ENTRY_IA32E);
}

static bool set_cr0(struct vcpu *v, u64 written)
{
	struct nested *n = v->nested;
	u64 mask12 = n->v12.CR0_MASK, old = cr0_now(n), cr4 = cr4_now(n);
	u64 value = ((written & ~mask12) | (old & mask12)) | CR0_ET;

	if (!cr0_valid(n, value, cr4))
		return false;
	bool paging = (old ^ value) & CR0_PG;
	u64 efer = vmread(VMCS_GUEST_EFER), reload = CR0_PG | CR0_CD | CR0_NW;
	if ((value & CR0_PG) && ((old ^ value) & reload) && (cr4 & CR4_PAE) && !(efer & EFER_LME) && !load_pdptes(v))
		return false;
	u64 ours = state_cr0_owned(v) & ~mask12, real = vmread(VMCS_GUEST_CR0);
	vmwrite(VMCS_GUEST_CR0, (value & ~ours) | (real & ours));
	vmwrite(VMCS_CR0_READ_SHADOW, (vmread(VMCS_CR0_READ_SHADOW) & mask12) | (value & ~mask12));
	if (paging) {
		follow_paging(value & CR0_PG);
		ept_flush_vpid(n->vpid02);
	}
	return true;
}

static bool cr4_valid(const struct nested *n, u64 value, u64 old)
{
	if (((nested_caps.cr4_fixed0 & ~value) | (value & ~nested_caps.cr4_fixed1)) & ~n->v12.CR4_MASK)
		return false;
	if (long_mode() && !(value & CR4_PAE))
		return false;
	return !(value & CR4_PCIDE) || (old & CR4_PCIDE) || (long_mode() && !(vmread(VMCS_GUEST_CR3) & 0xfff));
}

static bool set_cr4(struct vcpu *v, u64 written)
{
	struct nested *n = v->nested;
	u64 mask12 = n->v12.CR4_MASK, old = cr4_now(n), value = (written & ~mask12) | (old & mask12);
	u64 reload = CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP;

	if (!cr4_valid(n, value, old))
		return false;
	bool pae = (value & CR4_PAE) && (cr0_now(n) & CR0_PG) && !long_mode();
	u64 before = vmread(VMCS_GUEST_CR4), ours = state_cr4_owned(v) & ~mask12;
	vmwrite(VMCS_GUEST_CR4, (value & ~ours) | (before & ours));
	if (pae && ((old ^ value) & reload) && !load_pdptes(v)) {
		vmwrite(VMCS_GUEST_CR4, before);
		return false;
	}
	vmwrite(VMCS_CR4_READ_SHADOW, (vmread(VMCS_CR4_READ_SHADOW) & mask12) | (value & ~mask12));
	if ((old ^ value) & (reload | CR4_PCIDE))
		ept_flush_vpid(n->vpid02);
	return true;
}

static enum exit_action done(struct vcpu *v, bool ok) { return ok ? EXIT_ADVANCE : inject_gp(v); }

/* CR8 without a TPR shadow is the TPR of L1's APIC. */
static enum exit_action mov_to(struct vcpu *v, u32 cr, u64 value)
{
	switch (cr) {
	case 0:
		return done(v, !(value >> 32) && set_cr0(v, value));
	case 4:
		return done(v, set_cr4(v, value));
	case 8:
		if (value & ~0xfull)
			return inject_gp(v);
		vlapic_set_cr8(v, value);
		return EXIT_ADVANCE;
	default: /* CR3 exits only for L1: its target list has let this one pass */
		return EXIT_ADVANCE;
	}
}

enum exit_action l2_cr_access(struct vcpu *v)
{
	u64 q = vmread(VMCS_EXIT_QUALIFICATION), cr0 = cr0_now(v->nested);
	u32 cr = (u32)FIELD_GET(Q_CR, q), reg = (u32)FIELD_GET(Q_GPR, q);

	switch (FIELD_GET(Q_TYPE, q)) {
	case CR_MOV_TO:
		return mov_to(v, cr, long_mode() ? vcpu_gpr(v, reg) : (u32)vcpu_gpr(v, reg));
	case CR_MOV_FROM:
		vcpu_set_gpr(v, reg, cr == 8 ? vlapic_cr8(v) : vmread(VMCS_GUEST_CR3));
		return EXIT_ADVANCE;
	case CR_CLTS:
		return done(v, set_cr0(v, cr0 & ~CR0_TS));
	default:
		return done(v, set_cr0(v, (cr0 & ~(CR0_MP | CR0_EM | CR0_TS)) | (FIELD_GET(Q_LMSW, q) & 0xf) | (cr0 & CR0_PE)));
	}
}
