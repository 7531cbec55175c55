/*
 * Vectors: checks on the host-state area, and those related to address-space size (SDM 3C, Checks on Host Control
 * Registers, MSRs, and SSP; … Host Segment and Descriptor-Table Registers; … Address-Space Size).
 */
#include "core/x86.h"
#include "tests/conform/vectors.h"

static u64 lowest(u64 bits) { return bits & -bits; }

static void control_registers(struct walk *w)
{
	VECTORS(w);

	ROW("host.cr0", "host CR0 must have the bits that VMX operation needs", ALWAYS) {
		FAIL(BASE_LONG, E_HOST, OFF(HOST_CR0, CR0_PE));
		FAIL(BASE_LONG, E_HOST, OFF(HOST_CR0, CR0_NE));
		FAIL(BASE_LONG, E_HOST, OFF(HOST_CR0, CR0_PG));
		FAIL(BASE_LONG, E_HOST, ON(HOST_CR0, BIT(32)));
		FAIL(BASE_LONG, E_HOST, ON(HOST_CR0, BIT(63)));
	}
	ROW("host.cr4", "host CR4 must have the bits that VMX operation needs", ALWAYS) {
		FAIL(BASE_LONG, E_HOST, OFF(HOST_CR4, CR4_VMXE));
		FAIL(BASE_LONG, E_HOST, ON(HOST_CR4, lowest(~e->cr4_fixed1)));
		FAIL(BASE_LONG, E_HOST, ON(HOST_CR4, BIT(63)));
	}
	ROW("host.cr3", "host CR3: no bits beyond the physical-address width", TOO_WIDE(e), SHORT) {
		FAIL(BASE_LONG, E_HOST, ON(HOST_CR3, TOO_WIDE(e)));
		FAIL(BASE_LONG, E_HOST, ON(HOST_CR3, BIT(51)));
		FAIL(BASE_LONG, E_HOST, ON(HOST_CR3, BIT(63)));
	}
	ROW("host.sysenter-esp", "host IA32_SYSENTER_ESP must be canonical", ALWAYS) {
		PASS(BASE_LONG, s->HOST_SYSENTER_ESP = ~0ull << 47);
		FAIL(BASE_LONG, E_HOST, s->HOST_SYSENTER_ESP = NOT_CANONICAL);
		FAIL(BASE_LONG, E_HOST, s->HOST_SYSENTER_ESP = BIT(63));
	}
	ROW("host.sysenter-eip", "host IA32_SYSENTER_EIP must be canonical", ALWAYS) {
		PASS(BASE_LONG, s->HOST_SYSENTER_EIP = ~0ull << 47);
		FAIL(BASE_LONG, E_HOST, s->HOST_SYSENTER_EIP = NOT_CANONICAL);
	}
	ROW("host.pat", "each byte of a loaded host IA32_PAT must be 0, 1, 4, 5, 6 or 7", may_exit(e, EXIT_LOAD_PAT), SHORT) {
		for (u64 t = 0; t < 9; t++)
			FAIL(BASE_LONG, t == 2 || t == 3 || t > 7 ? E_HOST : ENTERS, s->HOST_PAT = (s->HOST_PAT & ~0xff00000000000000ull) | t << 56);
		FAIL(BASE_LONG, E_HOST, s->HOST_PAT |= BIT(31));
		PASS(BASE_LONG, OFF(EXIT_CONTROLS, EXIT_LOAD_PAT); s->HOST_PAT = ~0ull);
	}
	ROW("host.efer.reserved", "reserved bits of a loaded host IA32_EFER must be 0", may_exit(e, EXIT_LOAD_EFER), SHORT) {
		PASS(BASE_LONG, ON(HOST_EFER, EFER_SCE | EFER_NXE));
		PASS(BASE_LONG, OFF(EXIT_CONTROLS, EXIT_LOAD_EFER); s->HOST_EFER = ~0ull);
		FAIL(BASE_LONG, E_HOST, ON(HOST_EFER, BIT(1)));
		FAIL(BASE_LONG, E_HOST, ON(HOST_EFER, BIT(9)));
		FAIL(BASE_LONG, E_HOST, ON(HOST_EFER, BIT(63)));
	}
	ROW("host.efer.lma", "LMA of a loaded host IA32_EFER is the host address-space size", may_exit(e, EXIT_LOAD_EFER), SHORT)
		FAIL(BASE_LONG, E_HOST, OFF(HOST_EFER, EFER_LMA));
	ROW("host.efer.lme", "LME of a loaded host IA32_EFER is the host address-space size", may_exit(e, EXIT_LOAD_EFER), SHORT)
		FAIL(BASE_LONG, E_HOST, OFF(HOST_EFER, EFER_LME));
}

#define SELECTOR_ROW(r) \
	ROW("host.selector." #r, "host " #r " selector: RPL and TI must be 0", ALWAYS) { \
		FAIL(BASE_LONG, E_HOST, ON(HOST_##r##_SEL, 1)); \
		FAIL(BASE_LONG, E_HOST, ON(HOST_##r##_SEL, 2)); \
		FAIL(BASE_LONG, E_HOST, ON(HOST_##r##_SEL, 4)); \
	}
#define BASE_ROW(r) \
	ROW("host.base." #r, "host " #r " base must be canonical", ALWAYS) { \
		FAIL(BASE_LONG, E_HOST, s->HOST_##r##_BASE = NOT_CANONICAL); \
		FAIL(BASE_LONG, E_HOST, s->HOST_##r##_BASE = BIT(63)); \
	}

static void segments(struct walk *w)
{
	VECTORS(w);

	SELECTOR_ROW(ES) SELECTOR_ROW(CS) SELECTOR_ROW(SS) SELECTOR_ROW(DS) SELECTOR_ROW(FS) SELECTOR_ROW(GS) SELECTOR_ROW(TR)
	ROW("host.selector.cs-null", "the host CS selector must not be 0000H", ALWAYS)
		FAIL(BASE_LONG, E_HOST, s->HOST_CS_SEL = 0);
	ROW("host.selector.tr-null", "the host TR selector must not be 0000H", ALWAYS)
		FAIL(BASE_LONG, E_HOST, s->HOST_TR_SEL = 0);
	ROW("host.selector.ss-null", "the host SS selector may be 0000H with a 64-bit host", ALWAYS)
		PASS(BASE_LONG, s->HOST_SS_SEL = s->HOST_DS_SEL = s->HOST_ES_SEL = 0);
	BASE_ROW(FS) BASE_ROW(GS) BASE_ROW(GDTR) BASE_ROW(IDTR) BASE_ROW(TR)
	ROW("host.base.fs-high", "host FS and GS base may lie in the upper half", ALWAYS)
		PASS(BASE_LONG, s->HOST_FS_BASE = s->HOST_GS_BASE = ~0ull << 47);
}

static void address_space(struct walk *w)
{
	VECTORS(w);

	ROW("host.size.now-64", "in IA-32e mode the host address-space size must be 1", ALWAYS) {
		FAIL(BASE_LONG, E_HOST, OFF(EXIT_CONTROLS, EXIT_HOST_64); s->HOST_EFER = 0);
		FAIL(BASE_32, E_HOST, OFF(EXIT_CONTROLS, EXIT_HOST_64); s->HOST_EFER = 0);
	}
	ROW("host.size.pae", "a 64-bit host has CR4.PAE set", ALWAYS)
		FAIL(BASE_LONG, E_HOST, OFF(HOST_CR4, CR4_PAE));
	ROW("host.size.rip", "the RIP of a 64-bit host must be canonical", ALWAYS) {
		FAIL(BASE_LONG, E_HOST, s->HOST_RIP = NOT_CANONICAL);
		FAIL(BASE_LONG, E_HOST, s->HOST_RIP = BIT(63));
	}
	ROW("host.size.pcide", "a 64-bit host may have CR4.PCIDE set", e->cr4_fixed1 & CR4_PCIDE, SHORT)
		PASS(BASE_LONG, ON(HOST_CR4, CR4_PCIDE));
}

void vectors_host(struct walk *w)
{
	control_registers(w);
	segments(w);
	address_space(w);
}
