/*
 * CR0, CR4, EFER and CR-access exits of the level-1 guest.
 *
 * Invariant: the guest sees what it wrote (read shadow) for the bits that we own, and owns the rest; the values in the
 * VMCS always satisfy the fixed bits of VMX operation (SDM 3D, VMX-Fixed Bits in CR0 and CR4).
 */
#include "core/x86.h"
#include "vmx/ept.h"
#include "vmx/exit_family.h"
#include "vmx/nested.h"
#include "vmx/no_ug.h"
#include "vmx/vlapic.h"

#define CR0_DEFINED (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG)

/* Merge of what runs and what the guest believes (SDM 3C, Guest/Host Masks and Read Shadows). */
static u64 merged(u64 real, u64 mask, u64 shadow) { return (real & ~mask) | (shadow & mask); }
u64 vcpu_read_cr0(void) { return merged(vmread(VMCS_GUEST_CR0), vmread(VMCS_CR0_MASK), vmread(VMCS_CR0_READ_SHADOW)); }
u64 vcpu_read_cr4(void) { return merged(vmread(VMCS_GUEST_CR4), vmread(VMCS_CR4_MASK), vmread(VMCS_CR4_READ_SHADOW)); }

/*
 * Cache control never reaches the machine (CD, NW); NE must stay on; without unrestricted guest also PE and PG are ours, with it
 * while the guest is in VMX operation, where it may not clear them (SDM 3C, Restrictions on VMX Operation).
 */
u64 vcpu_cr0_owned(const struct vcpu *v)
{
	u64 modes = no_ug_needed() ? CR0_PE | CR0_PG | CR0_WP : nested_vmx_on(v) ? CR0_PE | CR0_PG : 0;
	return CR0_CD | CR0_NW | CR0_NE | ~CR0_DEFINED | modes;
}

void vcpu_cr0_owned_changed(const struct vcpu *v)
{
	vmwrite(VMCS_CR0_READ_SHADOW, vcpu_read_cr0());
	vmwrite(VMCS_CR0_MASK, vcpu_cr0_owned(v));
}

/* Bits that the guest may set: what the CPU has, less what we hide in CPUID. */
static u64 cr4_allowed(const struct vcpu *v)
{
	u64 ok = vmx_caps.cr4_fixed1 & ~(CR4_SMXE | CR4_CET | CR4_LA57);
	return v->core.vm->cfg->vmx ? ok | CR4_VMXE : ok & ~CR4_VMXE;
}

/* What CPUID repeats: owned, so that its answers can be kept (vmx/exit_fast.c). */
#define CR4_IN_CPUID (CR4_OSXSAVE | CR4_PKE)

/* VMXE must be on for us; with no unrestricted guest the paging mode bits are chosen by vmx/no_ug.c; the rest is reserved. */
u64 vcpu_cr4_owned(const struct vcpu *v)
{
	return CR4_VMXE | CR4_MCE | CR4_IN_CPUID | ~cr4_allowed(v) | (no_ug_needed() ? CR4_PAE | CR4_PSE : 0);
}

static bool long_mode(void) { return vmread(VMCS_GUEST_EFER) & EFER_LMA; }

/* The rules of MOV to CR0 (SDM 3A, Control Registers; SDM 2, MOV to CR). */
static bool cr0_valid(const struct vcpu *v, u64 value)
{
	u64 efer = vcpu_read_efer(v), cr4 = vcpu_read_cr4();
	if (value >> 32)
		return false;
	if ((value & CR0_PG) && !(value & CR0_PE))
		return false;
	if ((value & CR0_NW) && !(value & CR0_CD))
		return false;
	if ((value & CR0_PG) && (efer & EFER_LME) && !(cr4 & CR4_PAE))
		return false;
	if (!(value & CR0_PG) && ((long_mode() && (vmread(VMCS_GUEST_CS_AR) & BIT(13))) || (cr4 & CR4_PCIDE)))
		return false;
	return true;
}

u64 vcpu_read_efer(const struct vcpu *v) { return vmread(VMCS_GUEST_EFER) | (v->hidden_lme ? EFER_LME : 0); }

/*
 * EFER for a CR0: LMA and the entry control follow paging (SDM 3A, IA-32e Mode Operation). LME with the identity table of
 * vmx/no_ug.c, where CR0.PG is really on, would be refused by VM entry: it is hidden until the guest turns paging on.
 */
static void write_efer(struct vcpu *v, u64 efer, u64 cr0)
{
	u64 ctl = vmread(VMCS_ENTRY_CONTROLS);
	bool lma = (cr0 & CR0_PG) && (efer & EFER_LME);
	efer = lma ? efer | EFER_LMA : efer & ~EFER_LMA;
	v->hidden_lme = no_ug_needed() && !(cr0 & CR0_PG) && (efer & EFER_LME);
	vmwrite(VMCS_GUEST_EFER, v->hidden_lme ? efer & ~EFER_LME : efer);
	vmwrite(VMCS_ENTRY_CONTROLS, lma ? ctl | ENTRY_IA32E : ctl & ~ENTRY_IA32E);
}

/*
 * PAE paging keeps its four top entries in the VMCS (SDM 3C, Guest Page-Directory-Pointer-Table Entries); the MOV to CR that
 * we emulate would have loaded them. False: reserved bits in a present entry, which is #GP for the guest.
 */
static bool load_pdptes(struct vcpu *v, u64 cr3)
{
	u64 pdpte[4] = { 0 };
	if (vm_read(v->core.vm, GPA(cr3 & 0xffffffe0), pdpte, sizeof(pdpte)))
		return false;
	for (u32 i = 0; i < 4; i++)
		if ((pdpte[i] & BIT(0)) && (pdpte[i] & (BITS(2, 1) | BITS(8, 5) | BITS(63, 52))))
			return false;
	for (u32 i = 0; i < 4; i++)
		vmwrite(VMCS_GUEST_PDPTE0 + 2 * i, pdpte[i]);
	return true;
}

static bool pae_paging(const struct vcpu *v, u64 cr0, u64 cr4)
{
	return (cr0 & CR0_PG) && (cr4 & CR4_PAE) && !(vcpu_read_efer(v) & EFER_LME);
}

bool vcpu_set_cr0(struct vcpu *v, u64 value)
{
	u64 old = vcpu_read_cr0();
	if (!cr0_valid(v, value)) /* the upper half is reserved, and not ignored as the rest of the undefined bits is */
		return false;
	value = (value & CR0_DEFINED) | CR0_ET;
	if (nested_vmx_on(v) && (vmx_caps.cr0_fixed0 & ~value)) /* SDM 3C, Restrictions on VMX Operation */
		return false;
	if (pae_paging(v, value, vcpu_read_cr4()) && !load_pdptes(v, no_ug_read_cr3(v)))
		return false;
	u64 real = (value & ~(CR0_CD | CR0_NW)) | CR0_NE;
	vmwrite(VMCS_CR0_READ_SHADOW, value);
	vmwrite(VMCS_GUEST_CR0, real);
	if ((old ^ value) & CR0_PG)
		write_efer(v, vcpu_read_efer(v), value);
	no_ug_apply(v, value);
	if ((old ^ value) & CR0_PG) /* the MOV that we emulate would have emptied the TLBs */
		ept_flush_vpid(v->vpid);
	return true;
}

bool vcpu_set_cr4(struct vcpu *v, u64 value)
{
	if (value & ~cr4_allowed(v))
		return false;
	if (long_mode() && !(value & CR4_PAE))
		return false;
	if ((value & CR4_PCIDE) && !(vcpu_read_cr4() & CR4_PCIDE) && (!long_mode() || (vmread(VMCS_GUEST_CR3) & 0xfff)))
		return false;
	if (!(value & CR4_VMXE) && nested_vmx_on(v))
		return false;
	if (pae_paging(v, vcpu_read_cr0(), value) && !load_pdptes(v, no_ug_read_cr3(v)))
		return false;
	if ((vcpu_read_cr4() ^ value) & CR4_IN_CPUID)
		cpuid_cache_drop(v);
	if ((vcpu_read_cr4() ^ value) & (CR4_PGE | CR4_PAE | CR4_PSE | CR4_PCIDE | CR4_SMEP))
		ept_flush_vpid(v->vpid);
	vmwrite(VMCS_CR4_READ_SHADOW, value);
	vmwrite(VMCS_GUEST_CR4, (value & ~CR4_MCE) | CR4_VMXE);
	no_ug_apply(v, vcpu_read_cr0());
	return true;
}

bool vcpu_set_efer(struct vcpu *v, u64 value)
{
	u64 allowed = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE, old = vcpu_read_efer(v), cr0 = vcpu_read_cr0();
	if (value & ~allowed)
		return false;
	if (((value ^ old) & EFER_LME) && (cr0 & CR0_PG))
		return false;
	write_efer(v, value, cr0);
	return true;
}

/* Exit qualification (SDM 3C, Exit Qualification for Control-Register Accesses). */
#define Q_CR BITS(3, 0)
#define Q_TYPE BITS(5, 4)
#define Q_GPR BITS(11, 8)
#define Q_LMSW_SOURCE BITS(31, 16)
enum { CR_MOV_TO, CR_MOV_FROM, CR_CLTS, CR_LMSW };

static enum exit_action mov_to_cr(struct vcpu *v, u32 cr, u64 value)
{
	bool ok = false;
	if (!long_mode())
		value = (u32)value;
	switch (cr) {
	case 0:
		ok = vcpu_set_cr0(v, value);
		break;
	case 3:
		ok = !pae_paging(v, vcpu_read_cr0(), vcpu_read_cr4()) || load_pdptes(v, value);
		if (ok)
			no_ug_write_cr3(v, value);
		break;
	case 4:
		ok = vcpu_set_cr4(v, value);
		break;
	case 8:
		ok = !(value & ~0xfull);
		if (ok)
			vlapic_set_cr8(v, value);
		break;
	}
	return ok ? EXIT_ADVANCE : inject_gp(v);
}

static enum exit_action lmsw(struct vcpu *v, u64 source)
{
	u64 cr0 = vcpu_read_cr0();
	source &= 0xf;
	u64 value = (cr0 & ~(CR0_MP | CR0_EM | CR0_TS)) | source; /* LMSW can set PE but not clear it (SDM 2, LMSW) */
	return vcpu_set_cr0(v, value | (cr0 & CR0_PE)) ? EXIT_ADVANCE : inject_gp(v);
}

enum exit_action exit_cr_access(struct vcpu *v)
{
	u64 q = vmread(VMCS_EXIT_QUALIFICATION);
	u32 cr = (u32)FIELD_GET(Q_CR, q), reg = (u32)FIELD_GET(Q_GPR, q);
	switch (FIELD_GET(Q_TYPE, q)) {
	case CR_MOV_TO:
		return mov_to_cr(v, cr, vcpu_gpr(v, reg));
	case CR_MOV_FROM:
		vcpu_set_gpr(v, reg, cr == 8 ? vlapic_cr8(v) : no_ug_read_cr3(v));
		return EXIT_ADVANCE;
	case CR_CLTS:
		return vcpu_set_cr0(v, vcpu_read_cr0() & ~CR0_TS) ? EXIT_ADVANCE : inject_gp(v);
	default:
		return lmsw(v, FIELD_GET(Q_LMSW_SOURCE, q));
	}
}
