/*
 * The validator (validate.h): the sentences of SDM 3C, VM Entries, once more and in another way.
 */
#include "tests/conform/validate.h"

#include "core/x86.h"

static bool proc2(const struct vstate *s, u64 bit) { return (s->PROC_CONTROLS >> 31 & 1) && (s->PROC2_CONTROLS & bit); }
static bool within(u64 v, struct vmx_ctl c) { return ((u32)v & c.must) == c.must && ((u32)v & ~c.may) == 0; }
static bool beyond(const struct env *e, u64 address) { return e->maxpa < 64 && address >= BIT(e->maxpa); }
static bool bad_page(const struct env *e, u64 address) { return address % 4096 || beyond(e, address); }
static bool is_canonical(u64 a) { return a < BIT(47) || a >= ~0ull << 47; }
static bool cr_ok(u64 v, u64 fixed0, u64 fixed1) { return (v & fixed0) == fixed0 && (v | fixed1) == fixed1; }
static bool bad_area(const struct env *e, u64 address, u64 count)
{
	return (u32)count && (address % 16 || beyond(e, address) || beyond(e, address + (u64)(u32)count * 16 - 1));
}
static bool bad_pat(u64 pat)
{
	for (u32 i = 0; i < 8; i++, pat >>= 8)
		if (!(BIT(pat & 63) & 0xf3) || (pat & 0xc0))
			return true;
	return false;
}
static bool bad_efer_bits(u64 efer) { return efer & ~0xd01ull; }

/* ---- controls ---- */
static bool bad_apic(const struct env *e, const struct vstate *s)
{
	bool shadow = s->PROC_CONTROLS & PROC_TPR_SHADOW, vid = proc2(s, PROC2_VIRT_INT), access = proc2(s, PROC2_APIC_ACCESS);

	if (!shadow && (vid || proc2(s, PROC2_X2APIC) || proc2(s, PROC2_APIC_REGS)))
		return true;
	if (shadow && bad_page(e, s->VIRTUAL_APIC_ADDR))
		return true;
	if (shadow && !vid && ((u32)s->TPR_THRESHOLD > 15 || (!access && (u32)s->TPR_THRESHOLD > e->vapic_bytes[0x80] >> 4)))
		return true;
	if (access && (proc2(s, PROC2_X2APIC) || bad_page(e, s->APIC_ACCESS_ADDR)))
		return true;
	if (vid && !(s->PIN_CONTROLS & PIN_EXT_INT))
		return true;
	if (!(s->PIN_CONTROLS & PIN_POSTED_INT))
		return false;
	return !vid || !(s->EXIT_CONTROLS & EXIT_ACK_INT) || (u16)s->PI_NOTIFICATION_VECTOR > 255 || s->PI_DESC_ADDR % 64 || beyond(e,
	       s->PI_DESC_ADDR);
}

static bool bad_ept(const struct env *e, const struct vstate *s)
{
	bool ept = proc2(s, PROC2_EPT);
	u64 p = s->EPTP, type = p & 7;

	if (!ept && (proc2(s, PROC2_UNRESTRICTED) || proc2(s, PROC2_PML) || proc2(s, PROC2_MBE) || proc2(s, BIT(23))))
		return true;
	if (ept && !((type == 0 && (e->ept_vpid & BIT(8))) || (type == 6 && (e->ept_vpid & BIT(14)))))
		return true;
	if (ept && ((p >> 3 & 7) != 3 || (p & 0xf80) || beyond(e, p) || ((p & 0x40) && !(e->ept_vpid & BIT(21)))))
		return true;
	if (proc2(s, PROC2_PML) && bad_page(e, s->PML_ADDR))
		return true;
	if (proc2(s, PROC2_VMFUNC) && ((s->VMFUNC_CONTROLS & ~1ull) || ((s->VMFUNC_CONTROLS & 1) && (!ept || bad_page(e,
	       s->EPTP_LIST_ADDR)))))
		return true;
	if (proc2(s, PROC2_SHADOW_VMCS) && (bad_page(e, s->VMREAD_BITMAP) || bad_page(e, s->VMWRITE_BITMAP)))
		return true;
	return proc2(s, PROC2_EPT_VE) && bad_page(e, s->VE_INFO_ADDR);
}

static bool bad_injection(const struct env *e, const struct vstate *s)
{
	u32 info = (u32)s->ENTRY_INTR_INFO, vector = info & 255, type = info >> 8 & 7, length = (u32)s->ENTRY_INSN_LEN;
	bool error = info & BIT(11), takes_error = BIT(vector & 31) & 0x27d00; /* 8, 10-14, 17 */
	bool protected = !proc2(s, PROC2_UNRESTRICTED) || (s->GUEST_CR0 & 1);

	if (!(info >> 31))
		return false;
	if (type == 1 || (type == 7 && !may_proc(e, PROC_MTF)) || (info & 0x7ffff000))
		return true;
	if ((type == 2 && vector != 2) || (type == 3 && vector > 31) || (type == 7 && vector))
		return true;
	if (type != 3 || !protected ? error : !(e->basic & BIT(56)) && error != takes_error)
		return true;
	if (error && (u32)s->ENTRY_EXCEPTION_ERROR >> 16)
		return true;
	return type >= 4 && type <= 6 && (length > 15 || (!length && !(e->misc & BIT(30))));
}

static bool bad_controls(const struct env *e, const struct vstate *s)
{
	u64 pin = s->PIN_CONTROLS, proc = s->PROC_CONTROLS;

	if (!within(pin, e->pin) || !within(proc, e->proc) || !within(s->EXIT_CONTROLS, e->exit) || !within(s->ENTRY_CONTROLS, e->entry))
		return true;
	if ((proc & PROC_SECONDARY) && !within(s->PROC2_CONTROLS, e->proc2))
		return true;
	if ((u32)s->CR3_TARGET_COUNT > (e->misc >> 16 & 0x1ff))
		return true;
	if ((proc & PROC_IO_BITMAPS) && (bad_page(e, s->IO_BITMAP_A) || bad_page(e, s->IO_BITMAP_B)))
		return true;
	if ((proc & PROC_MSR_BITMAPS) && bad_page(e, s->MSR_BITMAP))
		return true;
	if (((pin & PIN_VIRTUAL_NMI) && !(pin & PIN_NMI)) || ((proc & PROC_NMI_WINDOW) && !(pin & PIN_VIRTUAL_NMI)))
		return true;
	if (proc2(s, PROC2_VPID) && !(u16)s->VPID)
		return true;
	if (proc2(s, PROC2_TSC_SCALING) && !s->TSC_MULTIPLIER)
		return true;
	if ((s->EXIT_CONTROLS & EXIT_SAVE_PREEMPTION) && !(pin & PIN_PREEMPTION_TIMER))
		return true;
	if (bad_area(e, s->EXIT_MSR_STORE_ADDR, s->EXIT_MSR_STORE_COUNT) || bad_area(e, s->EXIT_MSR_LOAD_ADDR, s->EXIT_MSR_LOAD_COUNT) ||
	    bad_area(e, s->ENTRY_MSR_LOAD_ADDR, s->ENTRY_MSR_LOAD_COUNT))
		return true;
	return (s->ENTRY_CONTROLS & (ENTRY_SMM | ENTRY_DUAL_MONITOR)) || bad_apic(e, s) || bad_ept(e, s) || bad_injection(e, s);
}

/* ---- host state; L1 is in IA-32e mode ---- */
static bool bad_host(const struct env *e, const struct vstate *s)
{
	u64 selectors = s->HOST_ES_SEL | s->HOST_CS_SEL | s->HOST_SS_SEL | s->HOST_DS_SEL | s->HOST_FS_SEL | s->HOST_GS_SEL |
			s->HOST_TR_SEL;

	if (!(s->EXIT_CONTROLS & EXIT_HOST_64))
		return true;
	if (!cr_ok(s->HOST_CR0, e->cr0_fixed0, e->cr0_fixed1) || !cr_ok(s->HOST_CR4, e->cr4_fixed0, e->cr4_fixed1) || beyond(e,
	       s->HOST_CR3))
		return true;
	if (!(s->HOST_CR4 & CR4_PAE) || !is_canonical(s->HOST_RIP))
		return true;
	if (!is_canonical(s->HOST_SYSENTER_ESP) || !is_canonical(s->HOST_SYSENTER_EIP) || !is_canonical(s->HOST_FS_BASE) ||
	    !is_canonical(s->HOST_GS_BASE) || !is_canonical(s->HOST_GDTR_BASE) || !is_canonical(s->HOST_IDTR_BASE) ||
	       !is_canonical(s->HOST_TR_BASE))
		return true;
	if ((s->EXIT_CONTROLS & EXIT_LOAD_PAT) && bad_pat(s->HOST_PAT))
		return true;
	if ((s->EXIT_CONTROLS & EXIT_LOAD_EFER) && (bad_efer_bits(s->HOST_EFER) || (s->HOST_EFER & 0x500) != 0x500))
		return true;
	return (selectors & 7) || !(u16)s->HOST_CS_SEL || !(u16)s->HOST_TR_SEL;
}

/* ---- guest segments ---- */
struct segment { u64 sel, base, limit, ar; };
#define SEGMENT(s, r) (struct segment){ (u16)(s)->GUEST_##r##_SEL, (s)->GUEST_##r##_BASE, (u32)(s)->GUEST_##r##_LIMIT, \
					(u32)(s)->GUEST_##r##_AR }
static u32 type_of(struct segment g) { return g.ar & 15; }
static u32 dpl_of(struct segment g) { return g.ar >> 5 & 3; }
static bool unusable(struct segment g) { return g.ar >> 16 & 1; }
/* Present, reserved bits, granularity; S as it should be. */
static bool bad_rights(struct segment g, bool code_or_data)
{
	bool g_bit = g.ar >> 15 & 1;

	if (!(g.ar & 0x80) || (g.ar & 0xfffe0f00) || !!(g.ar & 0x10) != code_or_data)
		return true;
	return ((g.limit & 0xfff) != 0xfff && g_bit) || (g.limit >> 20 && !g_bit);
}

static bool bad_v86(struct segment g) { return g.base != g.sel << 4 || g.limit != 0xffff || g.ar != 0xf3; }

static bool bad_data(struct segment g, bool ug, bool wide_base)
{
	u32 t = type_of(g);

	if (wide_base && !is_canonical(g.base))
		return true;
	if (unusable(g))
		return false;
	if (!wide_base && g.base >> 32)
		return true;
	if (!(t & 1) || ((t & 8) && !(t & 2)) || bad_rights(g, true))
		return true;
	return !ug && t <= 11 && dpl_of(g) < (g.sel & 3);
}

static bool bad_code(struct segment cs, struct segment ss, bool ug, bool ia32e)
{
	u32 t = type_of(cs);

	if (cs.base >> 32 || bad_rights(cs, true))
		return true;
	switch (t) {
	case 3:
		if (!ug || dpl_of(cs))
			return true;
		break;
	case 9: case 11:
		if (dpl_of(cs) != dpl_of(ss))
			return true;
		break;
	case 13: case 15:
		if (dpl_of(cs) > dpl_of(ss))
			return true;
		break;
	default:
		return true;
	}
	return ia32e && (cs.ar >> 13 & 3) == 3;
}

static bool bad_stack(const struct vstate *s, struct segment cs, struct segment ss, bool ug)
{
	if (!ug && ((cs.sel & 3) != (ss.sel & 3) || dpl_of(ss) != (ss.sel & 3)))
		return true;
	if ((type_of(cs) == 3 || !(s->GUEST_CR0 & 1)) && dpl_of(ss))
		return true;
	if (unusable(ss))
		return false;
	return ss.base >> 32 || (type_of(ss) != 3 && type_of(ss) != 7) || bad_rights(ss, true);
}

static bool bad_system(struct segment tr, struct segment ldtr, bool ia32e)
{
	if ((tr.sel & 4) || !is_canonical(tr.base) || unusable(tr) || bad_rights(tr, false))
		return true;
	if (type_of(tr) != 11 && (ia32e || type_of(tr) != 3))
		return true;
	return !unusable(ldtr) && ((ldtr.sel & 4) || !is_canonical(ldtr.base) || type_of(ldtr) != 2 || bad_rights(ldtr, false));
}

static bool bad_segments(const struct vstate *s)
{
	bool ug = proc2(s, PROC2_UNRESTRICTED), ia32e = s->ENTRY_CONTROLS & ENTRY_IA32E;
	struct segment cs = SEGMENT(s, CS), ss = SEGMENT(s, SS), ds = SEGMENT(s, DS), es = SEGMENT(s, ES), fs = SEGMENT(s, FS),
	       gs = SEGMENT(s, GS);

	if (bad_system(SEGMENT(s, TR), SEGMENT(s, LDTR), ia32e))
		return true;
	if (!is_canonical(s->GUEST_GDTR_BASE) || !is_canonical(s->GUEST_IDTR_BASE) || (u32)s->GUEST_GDTR_LIMIT >> 16 ||
	       (u32)s->GUEST_IDTR_LIMIT >> 16)
		return true;
	if (s->GUEST_RFLAGS & RFLAGS_VM)
		return bad_v86(cs) || bad_v86(ss) || bad_v86(ds) || bad_v86(es) || bad_v86(fs) || bad_v86(gs);
	return bad_code(cs, ss, ug, ia32e) || bad_stack(s, cs, ss, ug) || bad_data(ds, ug, false) || bad_data(es, ug, false) ||
	       bad_data(fs, ug, true) || bad_data(gs, ug, true);
}

/* ---- guest registers and other state ---- */
static bool bad_registers(const struct env *e, const struct vstate *s)
{
	bool ug = proc2(s, PROC2_UNRESTRICTED), ia32e = s->ENTRY_CONTROLS & ENTRY_IA32E, pg = s->GUEST_CR0 >> 31 & 1;
	u64 efer = s->GUEST_EFER, cr0_fixed0 = ug ? e->cr0_fixed0 & ~(CR0_PE | CR0_PG) : e->cr0_fixed0;

	if (!cr_ok(s->GUEST_CR0, cr0_fixed0, e->cr0_fixed1) || !cr_ok(s->GUEST_CR4, e->cr4_fixed0, e->cr4_fixed1) || (pg &&
	       !(s->GUEST_CR0 & 1)))
		return true;
	if (ia32e ? !pg || !(s->GUEST_CR4 & CR4_PAE) : (s->GUEST_CR4 & CR4_PCIDE) != 0)
		return true;
	if ((s->ENTRY_CONTROLS & ENTRY_LOAD_DEBUG) && ((s->GUEST_DEBUGCTL & ~3ull) || s->GUEST_DR7 >> 32))
		return true;
	if (beyond(e, s->GUEST_CR3) || !is_canonical(s->GUEST_SYSENTER_ESP) || !is_canonical(s->GUEST_SYSENTER_EIP))
		return true;
	if ((s->ENTRY_CONTROLS & ENTRY_LOAD_PAT) && bad_pat(s->GUEST_PAT))
		return true;
	if (!(s->ENTRY_CONTROLS & ENTRY_LOAD_EFER))
		return false;
	return bad_efer_bits(efer) || !!(efer & EFER_LMA) != ia32e || (pg && !!(efer & EFER_LMA) != !!(efer & EFER_LME));
}

static bool bad_rip_rflags(const struct vstate *s)
{
	bool ia32e = s->ENTRY_CONTROLS & ENTRY_IA32E;
	u64 f = s->GUEST_RFLAGS, top = s->GUEST_RIP >> 48;
	bool wide = ia32e && (s->GUEST_CS_AR >> 13 & 1);

	if (wide ? top != 0 && top != 0xffff : s->GUEST_RIP >> 32 != 0)
		return true;
	if (f >> 22 || (f & (BIT(3) | BIT(5) | BIT(15))) || !(f & 2))
		return true;
	if ((f & RFLAGS_VM) && (ia32e || !(s->GUEST_CR0 & 1)))
		return true;
	return ((u32)s->ENTRY_INTR_INFO & 0x80000700) == 0x80000000 && !(f & RFLAGS_IF);
}

static bool bad_activity(const struct env *e, const struct vstate *s)
{
	u32 a = (u32)s->GUEST_ACTIVITY, info = (u32)s->ENTRY_INTR_INFO, type = info >> 8 & 7, vector = info & 255;
	bool inject = info >> 31, debug = type == 3 && vector == 1, check = type == 3 && vector == 18;

	if (a > 3 || (a && !(e->misc & BIT(5 + a))))
		return true;
	if ((a && (s->GUEST_INTERRUPTIBILITY & 3)) || (a == 1 && (s->GUEST_SS_AR >> 5 & 3)))
		return true;
	if (!inject)
		return false;
	if (a == 1)
		return type != 0 && type != 2 && !debug && !check && type != 7;
	return a == 2 ? type != 2 && !check : a == 3;
}

static bool bad_blocking(const struct vstate *s, const struct memory *m)
{
	u32 b = (u32)s->GUEST_INTERRUPTIBILITY, info = (u32)s->ENTRY_INTR_INFO, type = info >> 8 & 7;
	u64 p = s->GUEST_PENDING_DBG;
	bool step = (s->GUEST_RFLAGS & RFLAGS_TF) && !(s->GUEST_DEBUGCTL & 2);

	if (b >> 5 || (b & 3) == 3 || ((b & 1) && !(s->GUEST_RFLAGS & RFLAGS_IF)) || (b & 4))
		return true;
	if ((b & 16) && ((b & 2) || !m->sgx))
		return true;
	if ((info >> 31) && ((type == 0 && (b & 3)) || (type == 2 && ((b & 2) || ((b & 8) && (s->PIN_CONTROLS & PIN_VIRTUAL_NMI))))))
		return true;
	if (p & ~(BITS(3, 0) | BIT(12) | BIT(14) | BIT(16)))
		return true;
	if (((b & 3) || (u32)s->GUEST_ACTIVITY == 1) && !!(p & BIT(14)) != step)
		return true;
	return (p & BIT(16)) && (!m->rtm || (p & (BITS(11, 0) | BITS(15, 13))) || !(p & BIT(12)) || (b & 2));
}

static bool bad_link(const struct env *e, const struct vstate *s, const struct memory *m)
{
	u64 p = s->VMCS_LINK_PTR;
	u32 first;

	if (p == ~0ull)
		return false;
	if (bad_page(e, p) || p == e->this_vmcs)
		return true;
	first = (u32)m->read(p);
	return (first & 0x7fffffff) != e->revision || (first >> 31) != proc2(s, PROC2_SHADOW_VMCS);
}

static bool bad_pdptes(const struct env *e, const struct vstate *s, const struct memory *m)
{
	const u64 fields[4] = { s->GUEST_PDPTE0, s->GUEST_PDPTE1, s->GUEST_PDPTE2, s->GUEST_PDPTE3 };

	if (!(s->GUEST_CR0 >> 31 & 1) || !(s->GUEST_CR4 & CR4_PAE) || (s->ENTRY_CONTROLS & ENTRY_IA32E))
		return false;
	for (u32 i = 0; i < 4; i++) {
		u64 p = proc2(s, PROC2_EPT) ? fields[i] : m->read((s->GUEST_CR3 & 0xffffffe0) + 8 * i);
		if ((p & 1) && ((p & 0x1e6) || beyond(e, p)))
			return true;
	}
	return false;
}

u32 validate(const struct env *e, const struct vstate *s, const struct memory *m)
{
	u32 set = (bad_controls(e, s) ? ANSWER(E_CONTROLS) : 0) | (bad_host(e, s) ? ANSWER(E_HOST) : 0);

	if (set)
		return set;
	if (bad_registers(e, s) || bad_segments(s) || bad_rip_rflags(s) || bad_activity(e, s) || bad_blocking(s, m))
		set |= ANSWER(E_GUEST);
	if (bad_link(e, s, m))
		set |= ANSWER(E_LINK);
	if (bad_pdptes(e, s, m))
		set |= ANSWER(E_PDPTE);
	return set ? set : ANSWER(ENTERS);
}
