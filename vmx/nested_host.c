/*
 * L1's state after a VM exit (SDM 3C, Loading Host State).
 *
 * Invariant: what is loaded was checked at VM entry (nested_check_host.c), so loading cannot fail but for the PDPTEs and the MSR
 * area, whose failures are VMX aborts.
 */
#include "core/x86.h"
#include "vmx/nested_priv.h"

/* SDM 3C, Loading Host Control Registers, Debug Registers, MSRs: the bits of CR0 that an exit loads. */
#define CR0_LOADED (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_NE | CR0_WP | CR0_AM | CR0_PG)
#define DR7_CLEAR 0x400
/* Access rights and limits (SDM 3C, Loading Host Segment and Descriptor-Table Registers). */
#define AR_CODE_64 0xa09b
#define AR_CODE_32 0xc09b
#define AR_DATA 0xc093
#define AR_TSS 0x8b
#define TSS_LIMIT 0x67

/* One field of vmcs01: unchecked where the processor's own VMCS is meant, for there are many of them. */
static __inline_always void put(bool memory, enum vmcs_field field, u64 value)
{
	if (memory)
		vmwrite_memory(field, value);
	else
		vmwrite_again(field, value);
}

#define DATA_AR(sel) (AR_DATA | ((sel) ? 0 : SEG_AR_UNUSABLE))
#define SEGMENT(s, sel, base, limit, ar) do { \
		put(memory, VMCS_GUEST_##s##_SEL, sel); \
		put(memory, VMCS_GUEST_##s##_BASE, base); \
		put(memory, VMCS_GUEST_##s##_LIMIT, limit); \
		put(memory, VMCS_GUEST_##s##_AR, ar); \
	} while (0)

static __inline_always void load_segments(const struct vmcs12 *f, bool memory)
{
	SEGMENT(CS, f->HOST_CS_SEL, 0, 0xffffffff, f->EXIT_CONTROLS & EXIT_HOST_64 ? AR_CODE_64 : AR_CODE_32);
	SEGMENT(SS, f->HOST_SS_SEL, 0, 0xffffffff, DATA_AR(f->HOST_SS_SEL));
	SEGMENT(DS, f->HOST_DS_SEL, 0, 0xffffffff, DATA_AR(f->HOST_DS_SEL));
	SEGMENT(ES, f->HOST_ES_SEL, 0, 0xffffffff, DATA_AR(f->HOST_ES_SEL));
	SEGMENT(FS, f->HOST_FS_SEL, f->HOST_FS_BASE, 0xffffffff, DATA_AR(f->HOST_FS_SEL));
	SEGMENT(GS, f->HOST_GS_SEL, f->HOST_GS_BASE, 0xffffffff, DATA_AR(f->HOST_GS_SEL));
	SEGMENT(TR, f->HOST_TR_SEL, f->HOST_TR_BASE, TSS_LIMIT, AR_TSS);
	SEGMENT(LDTR, 0, 0, 0, SEG_AR_UNUSABLE);
	put(memory, VMCS_GUEST_GDTR_BASE, f->HOST_GDTR_BASE);
	put(memory, VMCS_GUEST_GDTR_LIMIT, 0xffff);
	put(memory, VMCS_GUEST_IDTR_BASE, f->HOST_IDTR_BASE);
	put(memory, VMCS_GUEST_IDTR_LIMIT, 0xffff);
}

/* EFER and PAT that the processor has when the exit begins. */
struct carried { u64 efer, pat; };

static __inline_always void load_msrs(const struct vmcs12 *f, const struct carried *c, bool memory)
{
	u64 mode = f->EXIT_CONTROLS & EXIT_HOST_64 ? EFER_LMA | EFER_LME : 0;

	put(memory, VMCS_GUEST_EFER, f->EXIT_CONTROLS & EXIT_LOAD_EFER ? f->HOST_EFER : (c->efer & ~(EFER_LMA | EFER_LME)) | mode);
	put(memory, VMCS_GUEST_PAT, f->EXIT_CONTROLS & EXIT_LOAD_PAT ? f->HOST_PAT : c->pat);
	put(memory, VMCS_GUEST_DEBUGCTL, 0);
	put(memory, VMCS_GUEST_DR7, DR7_CLEAR);
	put(memory, VMCS_GUEST_SYSENTER_CS, f->HOST_SYSENTER_CS);
	put(memory, VMCS_GUEST_SYSENTER_ESP, f->HOST_SYSENTER_ESP);
	put(memory, VMCS_GUEST_SYSENTER_EIP, f->HOST_SYSENTER_EIP);
}

/* L1 stays in its paging mode (checked at entry), so these are writes that MOV to CR allows; CR3 must not carry a PCID then. */
static void load_control_registers(struct vcpu *v, const struct vmcs12 *f)
{
	u64 cr0 = vcpu_read_cr0(), wanted = (cr0 & ~CR0_LOADED) | (f->HOST_CR0 & CR0_LOADED);

	if (vcpu_read_cr4() != f->HOST_CR4) {
		vmwrite(VMCS_GUEST_CR3, f->EXIT_CONTROLS & EXIT_HOST_64 ? 0 : f->HOST_CR3);
		if (!vcpu_set_cr4(v, f->HOST_CR4))
			vcpu_kill(v, "host CR4 %#lx of its guest's VMCS cannot be loaded", (unsigned long)f->HOST_CR4);
	}
	vmwrite(VMCS_GUEST_CR3, f->HOST_CR3);
	if (cr0 != wanted && !vcpu_set_cr0(v, wanted))
		vcpu_kill(v, "host CR0 %#lx of its guest's VMCS cannot be loaded", (unsigned long)f->HOST_CR0);
}

/* With EPT the processor takes PDPTEs from the VMCS: a 32-bit PAE L1 needs them there (SDM 3C, Checking and Loading Host PDPTEs). */
static bool load_pdptes(struct vcpu *v, const struct vmcs12 *f)
{
	u64 pdpte[4];

	if ((f->EXIT_CONTROLS & EXIT_HOST_64) || !(f->HOST_CR4 & CR4_PAE))
		return true;
	if (l1_read(v, f->HOST_CR3 & BITS(31, 5), pdpte, sizeof(pdpte)) || !check_pdptes(&nested_caps, pdpte))
		return false;
	for (u32 i = 0; i < 4; i++)
		vmwrite(VMCS_GUEST_PDPTE0 + 2 * i, pdpte[i]);
	return true;
}

static __inline_always void load_rest(const struct vmcs12 *f, u64 blocking, bool memory)
{
	put(memory, VMCS_GUEST_RIP, f->HOST_RIP);
	put(memory, VMCS_GUEST_RSP, f->HOST_RSP);
	put(memory, VMCS_GUEST_RFLAGS, RFLAGS_FIXED);
	put(memory, VMCS_GUEST_INTERRUPTIBILITY, blocking);
	put(memory, VMCS_GUEST_PENDING_DBG, 0);
}

/* What cannot fail. */
static __inline_always void load_plain(const struct vmcs12 *f, const struct carried *c, u64 blocking, bool memory)
{
	load_rest(f, blocking, memory);
	load_msrs(f, c, memory);
	load_segments(f, memory);
}

/* NMIs: blocked after an exit that an NMI caused; else as they were, in L2 if that shared the blocking with L1. */
static u64 nmi_blocking(const struct nested *n, u64 blocking01, bool l2_ran, bool nmi)
{
	if (nmi)
		return BLOCK_NMI;
	return (l2_ran && !pin12(&n->v12, PIN_VIRTUAL_NMI) ? n->v12.GUEST_INTERRUPTIBILITY : blocking01) & BLOCK_NMI;
}

/* Nothing of L1's host state can fail to load. Without VPIDs, PAE and MSR areas, which have more to do. */
void host_state_note(struct nested *n)
{
	const struct vmcs12 *f = &n->v12;

	n->steady12 = proc2_12(f, PROC2_VPID) && (f->EXIT_CONTROLS & EXIT_HOST_64) && !f->EXIT_MSR_LOAD_COUNT;
}

static void load_steady(const struct vmcs12 *f, u64 blocking)
{
	if (vmcs_in_memory)
		load_rest(f, blocking, true);
	else
		load_rest(f, blocking, false);
	vmwrite(VMCS_GUEST_CR3, f->HOST_CR3);
}

void host_state_load(struct vcpu *v, bool l2_ran, bool nmi)
{
	struct nested *n = v->nested;
	const struct vmcs12 *f = &n->v12;
	struct carried c = { n->in02.GUEST_EFER, n->in02.GUEST_PAT };

	vcpu_load_vmcs(v, n->vmcs01);
	chain_loaded(v, n);
	if (!l2_ran)
		c = (struct carried){ vmread(VMCS_GUEST_EFER), vmread(VMCS_GUEST_PAT) };
	v->event = (struct vcpu_event){ 0 };
	u64 blocking = nmi_blocking(n, vmread(VMCS_GUEST_INTERRUPTIBILITY), l2_ran, nmi);
	if (nested_host_steady(n)) {
		load_steady(f, blocking);
		page_publish(n);
		return;
	}
	if (vmcs_in_memory)
		load_plain(f, &c, blocking, true);
	else
		load_plain(f, &c, blocking, false);
	load_control_registers(v, f);
	n->host_loaded = true;
	if (!proc2_12(f, PROC2_VPID)) /* SDM 3C, Operations that Invalidate Cached Mappings: exits without VPID */
		ept_flush_vpid(v->vpid);
	if (!load_pdptes(v, f))
		region_abort(v, ABORT_HOST_PDPTE);
	else if (msr_area_load(v, f->EXIT_MSR_LOAD_ADDR, f->EXIT_MSR_LOAD_COUNT))
		region_abort(v, ABORT_LOAD_MSR);
	if (n->page)
		page_publish(n);
	else
		shadow_from_v12(v);
}
