/*
 * VM-entry checks on the guest-state area (SDM 3C, Checks on the Guest State Area): one row per sentence; per register
 * where the sentence names several.
 *
 * Invariant: a vmcs12 that passes gives a vmcs02 whose guest state the CPU accepts, but for what the SDM leaves to the
 * processor (an NMI injected while STI blocks: the CPU's own answer is reflected). Pure.
 */
#include "core/x86.h"
#include "vmx/nested_priv.h"

#define EFER_KNOWN (EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE)
#define DEBUGCTL_KNOWN BITS(1, 0) /* LBR, BTF: what vmx/msr.c lets L1 set */
#define DEBUGCTL_BTF BIT(1)
#define SELECTOR_TI BIT(2)
#define RFLAGS_RESERVED (BITS(63, 22) | BIT(15) | BIT(5) | BIT(3))
#define PENDING_BS BIT(14)
#define PENDING_RTM BIT(16) /* valid only with CPUID.07H.EBX.RTM, which cpuid.c hides */
#define PENDING_RESERVED (BITS(63, 17) | BIT(15) | BIT(13) | BITS(11, 4))
#define INTERRUPTIBILITY_RESERVED BITS(63, 4)
/* Access rights (SDM 3C, Guest Register State) */
#define AR_TYPE BITS(3, 0)
#define AR_S BIT(4)
#define AR_DPL BITS(6, 5)
#define AR_P BIT(7)
#define AR_L BIT(13)
#define AR_DB BIT(14)
#define AR_G BIT(15)
#define AR_RESERVED (BITS(63, 17) | BITS(11, 8))
#define AR_V86 0xf3
#define TYPE_DATA_RW 3
#define TYPE_DATA_RW_DOWN 7
#define TYPE_LDT 2
#define TYPE_TSS16_BUSY 3
#define TYPE_TSS32_BUSY 11

static bool fixed_ok(u64 value, u64 fixed0, u64 fixed1) { return !(fixed0 & ~value) && !(value & ~fixed1); }
static bool ia32e(const struct vmcs12 *f) { return f->ENTRY_CONTROLS & ENTRY_IA32E; }
static bool unrestricted(const struct vmcs12 *f) { return proc2_12(f, PROC2_UNRESTRICTED); }
static bool v86(const struct vmcs12 *f) { return f->GUEST_RFLAGS & RFLAGS_VM; }
static bool loads(const struct vmcs12 *f, u64 bit) { return f->ENTRY_CONTROLS & bit; }
static bool injects(const struct vmcs12 *f, u64 type)
{
	return (f->ENTRY_INTR_INFO & INTR_VALID) && FIELD_GET(INTR_TYPE, f->ENTRY_INTR_INFO) == type;
}

static bool usable(u64 ar) { return !(ar & SEG_AR_UNUSABLE); }
static u64 type_of(u64 ar) { return ar & AR_TYPE; }
static u64 dpl_of(u64 ar) { return FIELD_GET(AR_DPL, ar); }
static u64 rpl_of(u64 selector) { return selector & 3; }
static bool granularity_ok(u64 limit, u64 ar)
{
	return (ar & AR_G) ? (limit & 0xfff) == 0xfff : !(limit >> 20);
}

static bool cs_type_ok(const struct vmcs12 *f)
{
	u64 t = type_of(f->GUEST_CS_AR);

	return (t & 9) == 9 || (t == TYPE_DATA_RW && unrestricted(f));
}

static bool cs_dpl_ok(const struct vmcs12 *f)
{
	u64 t = type_of(f->GUEST_CS_AR), cs = dpl_of(f->GUEST_CS_AR), ss = dpl_of(f->GUEST_SS_AR);

	if (t == TYPE_DATA_RW)
		return cs == 0;
	return t & 4 ? cs <= ss : cs == ss; /* conforming or not */
}

static bool ss_dpl_zero_ok(const struct vmcs12 *f)
{
	return (type_of(f->GUEST_CS_AR) != TYPE_DATA_RW && (f->GUEST_CR0 & CR0_PE)) || dpl_of(f->GUEST_SS_AR) == 0;
}

static bool data_type_ok(u64 ar) { return (ar & 1) && (!(ar & 8) || (ar & 2)); }

static bool event_fits_halt(const struct vmcs12 *f)
{
	u64 vector = FIELD_GET(INTR_VECTOR, f->ENTRY_INTR_INFO);

	if (!(f->ENTRY_INTR_INFO & INTR_VALID) || injects(f, INTR_EXTERNAL) || injects(f, INTR_NMI))
		return true;
	return (injects(f, INTR_HW_EXCEPTION) && (vector == VEC_DB || vector == VEC_MC)) || injects(f, INTR_OTHER);
}

/* With blocking by STI or MOV SS, or in HLT, a single-step trap is pending exactly if RFLAGS.TF asks for one. */
static bool pending_bs_ok(const struct vmcs12 *f)
{
	bool step = (f->GUEST_RFLAGS & RFLAGS_TF) && !(f->GUEST_DEBUGCTL & DEBUGCTL_BTF);

	if (!(f->GUEST_INTERRUPTIBILITY & (BLOCK_STI | BLOCK_MOV_SS)) && f->GUEST_ACTIVITY != ACTIVITY_HLT)
		return true;
	return !!(f->GUEST_PENDING_DBG & PENDING_BS) == step;
}

static bool pae_paging(const struct vmcs12 *f)
{
	return (f->GUEST_CR0 & CR0_PG) && (f->GUEST_CR4 & CR4_PAE) && !ia32e(f);
}

bool check_pdptes(const struct nested_caps *c, const u64 pdpte[4])
{
	u64 reserved = BITS(2, 1) | BITS(8, 5) | ~(BIT(c->maxphyaddr) - 1);

	for (u32 i = 0; i < 4; i++)
		if ((pdpte[i] & 1) && (pdpte[i] & reserved))
			return false;
	return true;
}

static bool top_bits_identical(u64 a) { return a >> 48 == 0 || a >> 48 == 0xffff; }

/* Rows of one data or code segment outside virtual-8086 mode (… or unusable). on: the check applies. */
#define SEG_COMMON_ROWS(R, s, on) \
	R(s##_s, #s " is code or data", !(on) || (f->GUEST_##s##_AR & AR_S)) \
	R(s##_p, #s " present", !(on) || (f->GUEST_##s##_AR & AR_P)) \
	R(s##_reserved, #s " reserved access rights", !(on) || !(f->GUEST_##s##_AR & AR_RESERVED)) \
	R(s##_g, #s " granularity", !(on) || granularity_ok(f->GUEST_##s##_LIMIT, f->GUEST_##s##_AR))
#define DATA_ON(s) (!v86(f) && usable(f->GUEST_##s##_AR))
#define SEG_DATA_ROWS(R, s) \
	R(s##_type, #s " type", !DATA_ON(s) || data_type_ok(f->GUEST_##s##_AR)) \
	SEG_COMMON_ROWS(R, s, DATA_ON(s)) \
	R(s##_dpl, #s " DPL not below RPL", !DATA_ON(s) || unrestricted(f) || type_of(f->GUEST_##s##_AR) > 11 || \
	  dpl_of(f->GUEST_##s##_AR) >= rpl_of(f->GUEST_##s##_SEL))
#define SEG_V86_ROWS(R, s) \
	R(s##_v86_base, #s " base in virtual-8086 mode", !v86(f) || f->GUEST_##s##_BASE == f->GUEST_##s##_SEL << 4) \
	R(s##_v86_limit, #s " limit in virtual-8086 mode", !v86(f) || f->GUEST_##s##_LIMIT == 0xffff) \
	R(s##_v86_ar, #s " access rights in virtual-8086 mode", !v86(f) || f->GUEST_##s##_AR == AR_V86)
#define SYS_ROWS(R, s, on) \
	R(s##_s, #s " is a system segment", !(on) || !(f->GUEST_##s##_AR & AR_S)) \
	R(s##_p, #s " present", !(on) || (f->GUEST_##s##_AR & AR_P)) \
	R(s##_reserved, #s " reserved access rights", !(on) || !(f->GUEST_##s##_AR & AR_RESERVED)) \
	R(s##_g, #s " granularity", !(on) || granularity_ok(f->GUEST_##s##_LIMIT, f->GUEST_##s##_AR)) \
	R(s##_ti, #s " selector TI", !(on) || !(f->GUEST_##s##_SEL & SELECTOR_TI)) \
	R(s##_base, #s " base canonical", !(on) || canonical(f->GUEST_##s##_BASE))
#define LOW_BASE_ROW(R, s, on) R(s##_base_low, #s " base bits 63:32", !(on) || !(f->GUEST_##s##_BASE >> 32))

#define REGISTER_ROWS(R) \
	/* Checks on Guest Control Registers, Debug Registers, and MSRs */ \
	R(cr0, OTHER, "fixed bits of CR0", \
	  fixed_ok(f->GUEST_CR0, c->caps->cr0_fixed0 & ~(unrestricted(f) ? CR0_PE | CR0_PG : 0), c->caps->cr0_fixed1)) \
	R(cr0_pg, OTHER, "CR0.PG without CR0.PE", !(f->GUEST_CR0 & CR0_PG) || (f->GUEST_CR0 & CR0_PE)) \
	R(cr4, OTHER, "fixed bits of CR4", fixed_ok(f->GUEST_CR4, c->caps->cr4_fixed0, c->caps->cr4_fixed1)) \
	R(debugctl, OTHER, "reserved bits of DEBUGCTL", !loads(f, ENTRY_LOAD_DEBUG) || !(f->GUEST_DEBUGCTL & ~DEBUGCTL_KNOWN)) \
	R(ia32e_pg, OTHER, "CR0.PG in IA-32e mode", !ia32e(f) || (f->GUEST_CR0 & CR0_PG)) \
	R(ia32e_pae, OTHER, "CR4.PAE in IA-32e mode", !ia32e(f) || (f->GUEST_CR4 & CR4_PAE)) \
	R(pcide, OTHER, "CR4.PCIDE outside IA-32e mode", ia32e(f) || !(f->GUEST_CR4 & CR4_PCIDE)) \
	R(cr3, OTHER, "CR3 inside the physical-address width", !(f->GUEST_CR3 >> c->caps->maxphyaddr)) \
	R(dr7, OTHER, "DR7 bits 63:32", !loads(f, ENTRY_LOAD_DEBUG) || !(f->GUEST_DR7 >> 32)) \
	R(sysenter_esp, OTHER, "SYSENTER_ESP canonical", canonical(f->GUEST_SYSENTER_ESP)) \
	R(sysenter_eip, OTHER, "SYSENTER_EIP canonical", canonical(f->GUEST_SYSENTER_EIP)) \
	R(pat, OTHER, "PAT", !loads(f, ENTRY_LOAD_PAT) || check_pat(f->GUEST_PAT)) \
	R(efer_bits, OTHER, "reserved bits of EFER", !loads(f, ENTRY_LOAD_EFER) || !(f->GUEST_EFER & ~EFER_KNOWN)) \
	R(efer_lma, OTHER, "EFER.LMA is IA-32e mode guest", !loads(f, ENTRY_LOAD_EFER) || !!(f->GUEST_EFER & EFER_LMA) == ia32e(f)) \
	R(efer_lme, OTHER, "EFER.LME is EFER.LMA with paging", !loads(f, ENTRY_LOAD_EFER) || !(f->GUEST_CR0 & CR0_PG) || \
	  !!(f->GUEST_EFER & EFER_LME) == !!(f->GUEST_EFER & EFER_LMA))

#define SEGMENT_ROWS(R) \
	/* Checks on Guest Segment Registers */ \
	SEG_V86_ROWS(R, ES) SEG_V86_ROWS(R, CS) SEG_V86_ROWS(R, SS) SEG_V86_ROWS(R, DS) SEG_V86_ROWS(R, FS) SEG_V86_ROWS(R, GS) \
	R(ss_rpl, "SS and CS have the same RPL", \
	  v86(f) || unrestricted(f) || rpl_of(f->GUEST_SS_SEL) == rpl_of(f->GUEST_CS_SEL)) \
	R(FS_base, "FS base canonical", v86(f) || canonical(f->GUEST_FS_BASE)) \
	R(GS_base, "GS base canonical", v86(f) || canonical(f->GUEST_GS_BASE)) \
	LOW_BASE_ROW(R, CS, !v86(f)) LOW_BASE_ROW(R, SS, DATA_ON(SS)) LOW_BASE_ROW(R, DS, DATA_ON(DS)) LOW_BASE_ROW(R, ES, DATA_ON(ES)) \
	R(CS_type, "CS type", v86(f) || cs_type_ok(f)) \
	SEG_COMMON_ROWS(R, CS, !v86(f)) \
	R(CS_dpl, "CS DPL", v86(f) || cs_dpl_ok(f)) \
	R(CS_db, "CS.D in 64-bit mode", \
	  v86(f) || !ia32e(f) || !(f->GUEST_CS_AR & AR_L) || !(f->GUEST_CS_AR & AR_DB)) \
	R(SS_type, "SS type", \
	  !DATA_ON(SS) || type_of(f->GUEST_SS_AR) == TYPE_DATA_RW || type_of(f->GUEST_SS_AR) == TYPE_DATA_RW_DOWN) \
	SEG_COMMON_ROWS(R, SS, DATA_ON(SS)) \
	R(SS_dpl, "SS DPL is RPL", v86(f) || unrestricted(f) || dpl_of(f->GUEST_SS_AR) == rpl_of(f->GUEST_SS_SEL)) \
	R(SS_dpl_zero, "SS DPL 0 in real mode", v86(f) || ss_dpl_zero_ok(f)) \
	SEG_DATA_ROWS(R, DS) SEG_DATA_ROWS(R, ES) SEG_DATA_ROWS(R, FS) SEG_DATA_ROWS(R, GS) \
	R(TR_type, "TR type", type_of(f->GUEST_TR_AR) == TYPE_TSS32_BUSY || (!ia32e(f) && type_of(f->GUEST_TR_AR) == TYPE_TSS16_BUSY)) \
	SYS_ROWS(R, TR, true) \
	R(TR_usable, "TR usable", usable(f->GUEST_TR_AR)) \
	R(LDTR_type, "LDTR type", !usable(f->GUEST_LDTR_AR) || type_of(f->GUEST_LDTR_AR) == TYPE_LDT) \
	SYS_ROWS(R, LDTR, usable(f->GUEST_LDTR_AR)) \
	/* Checks on Guest Descriptor-Table Registers */ \
	R(GDTR_base, "GDTR base canonical", canonical(f->GUEST_GDTR_BASE)) \
	R(IDTR_base, "IDTR base canonical", canonical(f->GUEST_IDTR_BASE)) \
	R(GDTR_limit, "GDTR limit bits 31:16", !(f->GUEST_GDTR_LIMIT >> 16)) \
	R(IDTR_limit, "IDTR limit bits 31:16", !(f->GUEST_IDTR_LIMIT >> 16))

#define STATE_ROWS(R) \
	/* Checks on Guest RIP, RFLAGS, and SSP */ \
	R(rip_32, OTHER, "RIP bits 63:32 outside 64-bit mode", (ia32e(f) && (f->GUEST_CS_AR & AR_L)) || !(f->GUEST_RIP >> 32)) \
	R(rip_64, OTHER, "RIP bits 63:48 identical", top_bits_identical(f->GUEST_RIP)) \
	R(rflags, OTHER, "reserved bits of RFLAGS", !(f->GUEST_RFLAGS & RFLAGS_RESERVED) && (f->GUEST_RFLAGS & RFLAGS_FIXED)) \
	R(rflags_vm, OTHER, "RFLAGS.VM in IA-32e or real mode", !v86(f) || (!ia32e(f) && (f->GUEST_CR0 & CR0_PE))) \
	R(rflags_if, OTHER, "RFLAGS.IF with an injected interrupt", !injects(f, INTR_EXTERNAL) || (f->GUEST_RFLAGS & RFLAGS_IF)) \
	/* Checks on Guest Non-Register State */ \
	R(activity, OTHER, "activity state", \
	  f->GUEST_ACTIVITY <= ACTIVITY_WAIT_SIPI && \
	  (f->GUEST_ACTIVITY == ACTIVITY_ACTIVE || (c->caps->misc & VMX_MISC_ACTIVITY(f->GUEST_ACTIVITY)))) \
	R(halt_dpl, OTHER, "HLT at CPL 0", f->GUEST_ACTIVITY != ACTIVITY_HLT || dpl_of(f->GUEST_SS_AR) == 0) \
	R(halt_blocking, OTHER, "blocking by STI or MOV SS while not active", \
	  f->GUEST_ACTIVITY == ACTIVITY_ACTIVE || !(f->GUEST_INTERRUPTIBILITY & (BLOCK_STI | BLOCK_MOV_SS))) \
	R(halt_event, OTHER, "event injected in HLT", f->GUEST_ACTIVITY != ACTIVITY_HLT || event_fits_halt(f)) \
	R(sipi_event, OTHER, "event injected in wait-for-SIPI", \
	  f->GUEST_ACTIVITY != ACTIVITY_WAIT_SIPI || !(f->ENTRY_INTR_INFO & INTR_VALID)) \
	R(blocking_bits, OTHER, "reserved interruptibility bits", !(f->GUEST_INTERRUPTIBILITY & INTERRUPTIBILITY_RESERVED)) \
	R(blocking_both, OTHER, "blocking by STI and by MOV SS", \
	  (f->GUEST_INTERRUPTIBILITY & (BLOCK_STI | BLOCK_MOV_SS)) != (BLOCK_STI | BLOCK_MOV_SS)) \
	R(blocking_sti, OTHER, "blocking by STI with IF = 0", \
	  !(f->GUEST_INTERRUPTIBILITY & BLOCK_STI) || (f->GUEST_RFLAGS & RFLAGS_IF)) \
	R(blocking_int, OTHER, "interrupt injected while blocked", \
	  !injects(f, INTR_EXTERNAL) || !(f->GUEST_INTERRUPTIBILITY & (BLOCK_STI | BLOCK_MOV_SS))) \
	R(blocking_nmi, OTHER, "NMI injected while MOV SS blocks", \
	  !injects(f, INTR_NMI) || !(f->GUEST_INTERRUPTIBILITY & BLOCK_MOV_SS)) \
	R(blocking_smi, OTHER, "blocking by SMI outside SMM", !(f->GUEST_INTERRUPTIBILITY & BLOCK_SMI)) \
	R(blocking_vnmi, OTHER, "virtual NMI injected while blocked", \
	  !injects(f, INTR_NMI) || !pin12(f, PIN_VIRTUAL_NMI) || !(f->GUEST_INTERRUPTIBILITY & BLOCK_NMI)) \
	R(pending, OTHER, "reserved bits of the pending debug exceptions", !(f->GUEST_PENDING_DBG & PENDING_RESERVED)) \
	R(pending_rtm, OTHER, "RTM of the pending debug exceptions", !(f->GUEST_PENDING_DBG & PENDING_RTM)) \
	R(pending_bs, OTHER, "pending single step", pending_bs_ok(f)) \
	R(link_address, LINK_PTR, "VMCS link pointer address", f->VMCS_LINK_PTR == ~0ull || \
	  (IS_ALIGNED(f->VMCS_LINK_PTR, PAGE_SIZE) && !(f->VMCS_LINK_PTR >> c->caps->maxphyaddr))) \
	R(link_revision, LINK_PTR, "revision of the linked VMCS", f->VMCS_LINK_PTR == ~0ull || \
	  c->link_revision == (NESTED_REVISION | (proc2_12(f, PROC2_SHADOW_VMCS) ? (u32)REVISION_SHADOW : 0))) \
	R(link_current, LINK_PTR, "VMCS linked to itself", f->VMCS_LINK_PTR == ~0ull || f->VMCS_LINK_PTR != c->current_gpa) \
	/* Checks on Guest Page-Directory-Pointer-Table Entries */ \
	R(pdptes, PDPTE, "PDPTEs", !pae_paging(f) || (c->pdptes_read && check_pdptes(c->caps, c->pdpte)))

#define ROW_FN(id, failure, text, ...) \
	static bool holds_##id(const struct check_ctx *c) { const struct vmcs12 *f = c->f; return (__VA_ARGS__); }
#define ROW_FN_OTHER(id, text, ...) ROW_FN(id, OTHER, text, __VA_ARGS__)
REGISTER_ROWS(ROW_FN)
SEGMENT_ROWS(ROW_FN_OTHER)
STATE_ROWS(ROW_FN)

#define ROW_ENTRY(id, failure, text, ...) { text, holds_##id, ENTRY_FAIL_##failure },
#define ROW_ENTRY_OTHER(id, text, ...) { text, holds_##id, ENTRY_FAIL_OTHER },
const struct check checks_guest[] = { REGISTER_ROWS(ROW_ENTRY) SEGMENT_ROWS(ROW_ENTRY_OTHER) STATE_ROWS(ROW_ENTRY) };
const u32 nr_checks_guest = ARRAY_SIZE(checks_guest);
