/*
 * Valid states to start from (vectors.h).
 *
 * Invariant: pure but for the bytes in memory that the state names, which are set as the state needs them; only controls that the
 * environment offers are used.
 */
#include "core/x86.h"
#include "tests/conform/vectors.h"

#define PAT_RESET 0x0007040600070406ull
#define AR_CODE64 0xa09b
#define AR_CODE32 0xc09b
#define AR_CODE16 0x009b
#define AR_DATA 0xc093
#define AR_DATA16 0x0093
#define AR_V86 0xf3
#define AR_TSS_BUSY 0x8b
#define AR_LDT 0x82
#define EPT_WB_4 (6 | 3 << 3)
#define LOW_CODE 0x8000 /* VMCALL for real and virtual-8086 mode */
#define TIMER 20000000

bool base_possible(const struct env *e, enum base b)
{
	switch (b) {
	case BASE_EPT:
	case BASE_PAE_EPT:
		return may_proc2(e, PROC2_EPT);
	case BASE_REAL:
	case BASE_FLAT:
	case BASE_UG:
		return may_proc2(e, PROC2_EPT | PROC2_UNRESTRICTED);
	default:
		return true;
	}
}

static void controls(struct vstate *s, const struct env *e)
{
	s->PIN_CONTROLS = e->pin.must | ((PIN_EXT_INT | PIN_NMI | PIN_PREEMPTION_TIMER) & e->pin.may);
	s->PROC_CONTROLS = e->proc.must;
	s->PROC2_CONTROLS = e->proc2.must;
	s->EXIT_CONTROLS = e->exit.must | EXIT_HOST_64 | ((EXIT_LOAD_EFER | EXIT_LOAD_PAT) & e->exit.may);
	s->ENTRY_CONTROLS = e->entry.must | ENTRY_IA32E | ((ENTRY_LOAD_DEBUG | ENTRY_LOAD_EFER | ENTRY_LOAD_PAT) & e->entry.may);
	s->EXCEPTION_BITMAP = 0xffffffff;
	s->PREEMPTION_TIMER = TIMER;
	s->IO_BITMAP_A = e->io_a;
	s->IO_BITMAP_B = e->io_b;
	s->MSR_BITMAP = e->msr_bitmap;
	s->VIRTUAL_APIC_ADDR = e->vapic;
	s->APIC_ACCESS_ADDR = e->apic_access;
	s->PI_DESC_ADDR = e->pi_desc;
	s->EPTP = e->ept_root | EPT_WB_4;
	s->VPID = 1;
	s->VMCS_LINK_PTR = ~0ull;
}

static void host(struct vstate *s, const struct env *e)
{
	s->HOST_CR0 = (CR0_PE | CR0_NE | CR0_ET | CR0_WP | CR0_PG | e->cr0_fixed0) & e->cr0_fixed1;
	s->HOST_CR4 = CR4_PAE | CR4_VMXE | e->cr4_fixed0;
	s->HOST_CR3 = e->host_cr3;
	s->HOST_CS_SEL = 0x08;
	s->HOST_SS_SEL = s->HOST_DS_SEL = s->HOST_ES_SEL = 0x10;
	s->HOST_TR_SEL = 0x28;
	s->HOST_TR_BASE = e->host_tr_base;
	s->HOST_GDTR_BASE = e->host_gdtr_base;
	s->HOST_IDTR_BASE = e->host_idtr_base;
	s->HOST_RSP = e->host_rsp;
	s->HOST_RIP = e->host_rip;
	s->HOST_PAT = PAT_RESET;
	s->HOST_EFER = EFER_LME | EFER_LMA;
}

static void guest_segments(struct vstate *s, const struct env *e, u64 cs_sel, u64 cs_ar)
{
#define DATA_SEGMENT(r) (s->GUEST_##r##_SEL = 0x10, s->GUEST_##r##_LIMIT = 0xffffffff, s->GUEST_##r##_AR = AR_DATA)
	DATA_SEGMENT(ES);
	DATA_SEGMENT(SS);
	DATA_SEGMENT(DS);
	DATA_SEGMENT(FS);
	DATA_SEGMENT(GS);
	s->GUEST_CS_SEL = cs_sel;
	s->GUEST_CS_LIMIT = 0xffffffff;
	s->GUEST_CS_AR = cs_ar;
	s->GUEST_LDTR_SEL = 0x50;
	s->GUEST_LDTR_LIMIT = 0xffff;
	s->GUEST_LDTR_AR = AR_LDT;
	s->GUEST_TR_SEL = 0x28;
	s->GUEST_TR_BASE = e->guest_tr_base;
	s->GUEST_TR_LIMIT = 0x67;
	s->GUEST_TR_AR = AR_TSS_BUSY;
	s->GUEST_GDTR_BASE = e->guest_gdtr_base;
	s->GUEST_GDTR_LIMIT = 0xffff;
	s->GUEST_IDTR_BASE = e->guest_idtr_base;
	s->GUEST_IDTR_LIMIT = 0xffff;
}

static void guest64(struct vstate *s, const struct env *e)
{
	s->GUEST_CR0 = (CR0_PE | CR0_NE | CR0_ET | CR0_PG | e->cr0_fixed0) & e->cr0_fixed1;
	s->GUEST_CR4 = CR4_PAE | CR4_VMXE | e->cr4_fixed0;
	s->GUEST_CR3 = e->guest_cr3;
	s->GUEST_EFER = EFER_LME | EFER_LMA;
	s->GUEST_PAT = PAT_RESET;
	s->GUEST_DR7 = 0x400;
	s->GUEST_RFLAGS = 2;
	s->GUEST_RIP = e->guest_rip;
	s->GUEST_RSP = e->guest_rsp;
	guest_segments(s, e, 0x08, AR_CODE64);
}

static void ept(struct vstate *s) { SECONDARY(PROC2_EPT); }

static void guest32(struct vstate *s, const struct env *e, bool pae)
{
	OFF(ENTRY_CONTROLS, ENTRY_IA32E);
	s->GUEST_EFER = 0;
	s->GUEST_RIP = e->guest_rip32;
	guest_segments(s, e, 0x38, AR_CODE32);
	s->GUEST_IDTR_LIMIT = 0; /* the table is one of 64-bit gates */
	if (pae) {
		s->GUEST_CR3 = e->pae_pdpt;
	} else {
		OFF(GUEST_CR4, CR4_PAE);
		ON(GUEST_CR4, CR4_PSE);
		s->GUEST_CR3 = e->pae_pdpt + 4096; /* a page directory for 32-bit paging lies behind the PDPT */
	}
}

static void pdptes(struct vstate *s, const struct env *e)
{
	s->GUEST_PDPTE0 = e->pdptes[0];
	s->GUEST_PDPTE1 = e->pdptes[1];
	s->GUEST_PDPTE2 = e->pdptes[2];
	s->GUEST_PDPTE3 = e->pdptes[3];
}

#define LOW_SEGMENT(r, ar) (s->GUEST_##r##_SEL = LOW_CODE >> 4, s->GUEST_##r##_BASE = LOW_CODE, s->GUEST_##r##_LIMIT = 0xffff, \
			    s->GUEST_##r##_AR = (ar))
static void guest16(struct vstate *s, u64 code, u64 data)
{
	LOW_SEGMENT(CS, code);
	LOW_SEGMENT(SS, data);
	LOW_SEGMENT(DS, data);
	LOW_SEGMENT(ES, data);
	LOW_SEGMENT(FS, data);
	LOW_SEGMENT(GS, data);
	s->GUEST_RIP = 0;
	s->GUEST_RSP = 0x100;
}

static void unpaged(struct vstate *s, const struct env *e)
{
	guest32(s, e, false);
	SECONDARY(PROC2_EPT | PROC2_UNRESTRICTED);
	OFF(GUEST_CR0, CR0_PG);
}

void base_state(struct vstate *s, const struct env *e, enum base b)
{
	*s = (struct vstate){ 0 };
	controls(s, e);
	host(s, e);
	guest64(s, e);
	e->vapic_bytes[0x80] = 0;
	e->link_words[0] = e->revision;
	for (u32 i = 0; i < 4; i++)
		e->pdptes[i] = (e->pdptes[i] & BITS(31, 12)) | 1;
	switch (b) {
	case BASE_EPT: ept(s); break;
	case BASE_32: guest32(s, e, false); break;
	case BASE_PAE: guest32(s, e, true); break;
	case BASE_PAE_EPT: ept(s); guest32(s, e, true); pdptes(s, e); break;
	case BASE_V86: guest32(s, e, false); ON(GUEST_RFLAGS, RFLAGS_VM); guest16(s, AR_V86, AR_V86); break;
	case BASE_REAL: unpaged(s, e); OFF(GUEST_CR0, CR0_PE); guest16(s, AR_CODE16, AR_DATA16); break;
	case BASE_FLAT: unpaged(s, e); break;
	case BASE_UG: SECONDARY(PROC2_EPT | PROC2_UNRESTRICTED); break;
	default: break;
	}
}
