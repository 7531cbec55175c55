/*
 * Vectors: guest control registers, debug registers and MSRs; RIP and RFLAGS; PDPTEs (SDM 3C, Checks on Guest Control
 * Registers, Debug Registers, and MSRs; … Guest RIP, RFLAGS, and SSP; … Guest Page-Directory-Pointer-Table Entries).
 */
#include "core/x86.h"
#include "tests/conform/vectors.h"

static u64 lowest(u64 bits) { return bits & -bits; }
#define INJECT(type, vector, more) (s->ENTRY_INTR_INFO = INTR_VALID | (u64)(type) << 8 | (vector) | (more))
#define DEBUG_LOADED may_entry(e, ENTRY_LOAD_DEBUG)

static void control_registers(struct walk *w)
{
	VECTORS(w);
	bool ug = base_possible(e, BASE_FLAT);

	ROW("guest.cr0", "guest CR0 must have the bits that VMX operation needs; an unrestricted guest is free in PE and PG", ALWAYS) {
		PASS(BASE_32, );
		FAIL(BASE_LONG, E_GUEST, OFF(GUEST_CR0, CR0_NE));
		FAIL(BASE_LONG, E_GUEST, ON(GUEST_CR0, BIT(32)));
		FAIL(BASE_LONG, E_GUEST, ON(GUEST_CR0, BIT(63)));
		FAIL(BASE_32, E_GUEST, OFF(GUEST_CR0, CR0_PG));
		FAIL(BASE_32, E_GUEST, OFF(GUEST_CR0, CR0_PG | CR0_PE));
		PASS(BASE_LONG, ON(GUEST_CR0, CR0_NW | CR0_CD));
	}
	ROW("guest.cr0.unrestricted", "an unrestricted guest may have PE and PG clear, but not NE", ug, SHORT) {
		PASS(BASE_FLAT, );
		PASS(BASE_REAL, );
		FAIL(BASE_FLAT, E_GUEST, OFF(GUEST_CR0, CR0_NE));
	}
	ROW("guest.cr0.pg-pe", "if guest CR0.PG is 1, CR0.PE must be 1", ug, SHORT)
		FAIL(BASE_REAL, E_GUEST, ON(GUEST_CR0, CR0_PG));
	ROW("guest.cr4", "guest CR4 must have the bits that VMX operation needs", ALWAYS) {
		FAIL(BASE_LONG, E_GUEST, OFF(GUEST_CR4, CR4_VMXE));
		FAIL(BASE_LONG, E_GUEST, ON(GUEST_CR4, lowest(~e->cr4_fixed1)));
		FAIL(BASE_LONG, E_GUEST, ON(GUEST_CR4, BIT(63)));
	}
	ROW("guest.ia32e.pg", "in IA-32e mode guest CR0.PG must be 1", ug, SHORT)
		FAIL(BASE_UG, E_GUEST, OFF(GUEST_CR0, CR0_PG));
	ROW("guest.ia32e.pae", "in IA-32e mode guest CR4.PAE must be 1", ALWAYS)
		FAIL(BASE_LONG, E_GUEST, OFF(GUEST_CR4, CR4_PAE));
	ROW("guest.pcide", "outside IA-32e mode guest CR4.PCIDE must be 0", e->cr4_fixed1 & CR4_PCIDE, SHORT) {
		PASS(BASE_LONG, ON(GUEST_CR4, CR4_PCIDE));
		FAIL(BASE_32, E_GUEST, ON(GUEST_CR4, CR4_PCIDE));
	}
	ROW("guest.cr3", "guest CR3: no bits beyond the physical-address width", TOO_WIDE(e), SHORT) {
		FAIL(BASE_LONG, E_GUEST, ON(GUEST_CR3, TOO_WIDE(e)));
		FAIL(BASE_LONG, E_GUEST, ON(GUEST_CR3, BIT(51)));
		FAIL(BASE_LONG, E_GUEST, ON(GUEST_CR3, BIT(63)));
		FAIL(BASE_32, E_GUEST, ON(GUEST_CR3, BIT(63)));
	}
}

static void debug_registers(struct walk *w)
{
	VECTORS(w);

	ROW("guest.debugctl", "reserved bits of a loaded guest IA32_DEBUGCTL must be 0", DEBUG_LOADED, SHORT) {
		PASS(BASE_LONG, s->GUEST_DEBUGCTL = BIT(1));
		PASS(BASE_LONG, s->GUEST_DEBUGCTL = BIT(0));
		FAIL(BASE_LONG, E_GUEST, s->GUEST_DEBUGCTL = BIT(2));
		FAIL(BASE_LONG, E_GUEST, s->GUEST_DEBUGCTL = BIT(5));
		FAIL(BASE_LONG, E_GUEST, s->GUEST_DEBUGCTL = BIT(16));
		FAIL(BASE_LONG, E_GUEST, s->GUEST_DEBUGCTL = BIT(63));
	}
	ROW("guest.debugctl.unused", "guest IA32_DEBUGCTL and DR7 are not checked if they are not loaded",
	       !(e->entry.must & ENTRY_LOAD_DEBUG), SHORT) {
		PASS(BASE_LONG, OFF(ENTRY_CONTROLS, ENTRY_LOAD_DEBUG); s->GUEST_DEBUGCTL = BIT(63));
		PASS(BASE_LONG, OFF(ENTRY_CONTROLS, ENTRY_LOAD_DEBUG); s->GUEST_DR7 = BIT(63));
	}
	ROW("guest.dr7", "bits 63:32 of a loaded guest DR7 must be 0", DEBUG_LOADED, SHORT) {
		PASS(BASE_LONG, s->GUEST_DR7 = 0x400);
		FAIL(BASE_LONG, E_GUEST, ON(GUEST_DR7, BIT(32)));
		FAIL(BASE_LONG, E_GUEST, ON(GUEST_DR7, BIT(63)));
	}
}

static void msrs(struct walk *w)
{
	VECTORS(w);

	ROW("guest.sysenter-esp", "guest IA32_SYSENTER_ESP must be canonical", ALWAYS) {
		PASS(BASE_LONG, s->GUEST_SYSENTER_ESP = ~0ull << 47);
		FAIL(BASE_LONG, E_GUEST, s->GUEST_SYSENTER_ESP = NOT_CANONICAL);
		FAIL(BASE_32, E_GUEST, s->GUEST_SYSENTER_ESP = BIT(63));
	}
	ROW("guest.sysenter-eip", "guest IA32_SYSENTER_EIP must be canonical", ALWAYS) {
		PASS(BASE_LONG, s->GUEST_SYSENTER_EIP = ~0ull << 47);
		FAIL(BASE_LONG, E_GUEST, s->GUEST_SYSENTER_EIP = NOT_CANONICAL);
	}
	ROW("guest.pat", "each byte of a loaded guest IA32_PAT must be 0, 1, 4, 5, 6 or 7", may_entry(e, ENTRY_LOAD_PAT), SHORT) {
		for (u64 t = 0; t < 9; t++)
			FAIL(BASE_LONG, t == 2 || t == 3 || t > 7 ? E_GUEST : ENTERS, s->GUEST_PAT = (s->GUEST_PAT & ~0xff00ull) | t << 8);
		FAIL(BASE_LONG, E_GUEST, s->GUEST_PAT |= BIT(63));
		PASS(BASE_LONG, OFF(ENTRY_CONTROLS, ENTRY_LOAD_PAT); s->GUEST_PAT = ~0ull);
	}
	ROW("guest.efer.reserved", "reserved bits of a loaded guest IA32_EFER must be 0", may_entry(e, ENTRY_LOAD_EFER), SHORT) {
		PASS(BASE_LONG, ON(GUEST_EFER, EFER_SCE | EFER_NXE));
		PASS(BASE_LONG, OFF(ENTRY_CONTROLS, ENTRY_LOAD_EFER); s->GUEST_EFER = ~0ull);
		FAIL(BASE_LONG, E_GUEST, ON(GUEST_EFER, BIT(1)));
		FAIL(BASE_LONG, E_GUEST, ON(GUEST_EFER, BIT(9)));
		FAIL(BASE_LONG, E_GUEST, ON(GUEST_EFER, BIT(63)));
	}
	ROW("guest.efer.lma", "LMA of a loaded guest IA32_EFER is IA-32e mode guest", may_entry(e, ENTRY_LOAD_EFER), SHORT) {
		FAIL(BASE_LONG, E_GUEST, s->GUEST_EFER = EFER_LME);
		FAIL(BASE_32, E_GUEST, s->GUEST_EFER = EFER_LME | EFER_LMA);
	}
	ROW("guest.efer.lme", "with paging, LME of a loaded guest IA32_EFER is its LMA", may_entry(e, ENTRY_LOAD_EFER), SHORT) {
		FAIL(BASE_LONG, E_GUEST, s->GUEST_EFER = EFER_LMA);
		FAIL(BASE_32, E_GUEST, s->GUEST_EFER = EFER_LME);
	}
	ROW("guest.efer.lme-unpaged", "without paging LME may differ from LMA", may_entry(e, ENTRY_LOAD_EFER) && base_possible(e,
	       BASE_FLAT), SHORT)
		PASS(BASE_FLAT, s->GUEST_EFER = EFER_LME);
}

static void rip_rflags(struct walk *w)
{
	VECTORS(w);

	ROW("guest.rip.low", "outside 64-bit mode bits 63:32 of RIP must be 0", ALWAYS) {
		FAIL(BASE_32, E_GUEST, ON(GUEST_RIP, BIT(32)));
		FAIL(BASE_32, E_GUEST, ON(GUEST_RIP, BIT(63)));
		PASS(BASE_LONG, s->GUEST_CS_AR = 0xc09b; s->GUEST_RIP = e->guest_rip32);
		FAIL(BASE_LONG, E_GUEST, s->GUEST_CS_AR = 0xc09b; s->GUEST_RIP = e->guest_rip32 | BIT(32));
	}
	ROW("guest.rip.high", "in 64-bit mode bits of RIP beyond the linear-address width must be identical", ALWAYS) {
		PASS(BASE_LONG, s->GUEST_RIP = ~0ull << 47);
		FAIL(BASE_LONG, E_GUEST, s->GUEST_RIP = BIT(48));
		FAIL(BASE_LONG, E_GUEST, s->GUEST_RIP = BIT(63));
	}
	ROW("guest.rflags.reserved", "reserved bits of RFLAGS must be 0, bit 1 must be 1", ALWAYS) {
		FAIL(BASE_LONG, E_GUEST, s->GUEST_RFLAGS = 0);
		FAIL(BASE_LONG, E_GUEST, ON(GUEST_RFLAGS, BIT(3)));
		FAIL(BASE_LONG, E_GUEST, ON(GUEST_RFLAGS, BIT(5)));
		FAIL(BASE_LONG, E_GUEST, ON(GUEST_RFLAGS, BIT(15)));
		FAIL(BASE_LONG, E_GUEST, ON(GUEST_RFLAGS, BIT(22)));
		FAIL(BASE_LONG, E_GUEST, ON(GUEST_RFLAGS, BIT(63)));
		PASS(BASE_LONG, ON(GUEST_RFLAGS, BIT(21) | BIT(18) | BIT(14) | BITS(13, 12) | RFLAGS_OF | RFLAGS_SF));
	}
	ROW("guest.rflags.vm", "RFLAGS.VM must be 0 in IA-32e mode and if CR0.PE is 0", ALWAYS) {
		PASS(BASE_V86, );
		FAIL(BASE_V86, E_GUEST, ON(ENTRY_CONTROLS, ENTRY_IA32E); s->GUEST_EFER = EFER_LME | EFER_LMA; ON(GUEST_CR4, CR4_PAE);
		     s->GUEST_CR3 = e->guest_cr3);
		if (base_possible(e, BASE_REAL))
			FAIL(BASE_V86, E_GUEST, SECONDARY(PROC2_EPT | PROC2_UNRESTRICTED); OFF(GUEST_CR0, CR0_PE | CR0_PG));
	}
	ROW("guest.rflags.if", "RFLAGS.IF must be 1 if an external interrupt is injected", ALWAYS) {
		PASS(BASE_LONG, INJECT(INTR_EXTERNAL, 64, 0); ON(GUEST_RFLAGS, RFLAGS_IF));
		FAIL(BASE_LONG, E_GUEST, INJECT(INTR_EXTERNAL, 64, 0));
		PASS(BASE_LONG, INJECT(INTR_NMI, 2, 0));
	}
}

static void pdptes(struct walk *w)
{
	VECTORS(w);
	bool ept = base_possible(e, BASE_PAE_EPT);

	ROW("guest.pdpte.memory", "PAE paging without EPT: reserved bits of present PDPTEs in memory must be 0", ALWAYS) {
		PASS(BASE_PAE, );
		PASS(BASE_PAE, e->pdptes[3] = 0x1e6);
		for (u32 bit = 1; bit <= 8; bit += bit == 2 ? 3 : 1)
			FAIL(BASE_PAE, E_PDPTE, e->pdptes[bit & 3] |= BIT(bit));
		FAIL(BASE_PAE, E_PDPTE, e->pdptes[3] |= BIT(63));
		if (TOO_WIDE(e))
			FAIL(BASE_PAE, E_PDPTE, e->pdptes[2] |= TOO_WIDE(e));
		PASS(BASE_32, e->pdptes[0] |= BIT(1));
	}
	ROW("guest.pdpte.fields", "PAE paging with EPT: the same of the PDPTE fields", ept, SHORT) {
		PASS(BASE_PAE_EPT, );
		PASS(BASE_PAE_EPT, s->GUEST_PDPTE3 = 0x1e6);
		PASS(BASE_PAE_EPT, e->pdptes[0] |= BIT(1));
		FAIL(BASE_PAE_EPT, E_PDPTE, ON(GUEST_PDPTE0, BIT(1)));
		FAIL(BASE_PAE_EPT, E_PDPTE, ON(GUEST_PDPTE1, BIT(2)));
		FAIL(BASE_PAE_EPT, E_PDPTE, ON(GUEST_PDPTE2, BIT(5)));
		FAIL(BASE_PAE_EPT, E_PDPTE, ON(GUEST_PDPTE3, BIT(8)));
		FAIL(BASE_PAE_EPT, E_PDPTE, ON(GUEST_PDPTE3, BIT(63)));
		if (TOO_WIDE(e))
			FAIL(BASE_PAE_EPT, E_PDPTE, ON(GUEST_PDPTE0, TOO_WIDE(e)));
		PASS(BASE_EPT, s->GUEST_PDPTE0 = ~0ull);
	}
}

void vectors_registers(struct walk *w)
{
	control_registers(w);
	debug_registers(w);
	msrs(w);
	rip_rflags(w);
	pdptes(w);
}
