/*
 * VM-entry checks on the host-state area (SDM 3C, Checks on the Host-State Area; Checks Related to Address-Space Size): one
 * row per sentence.
 *
 * Invariant: a vmcs12 that passes can always be left: nested_host.c finds no value that it cannot load. Pure.
 */
#include "core/x86.h"
#include "vmx/nested_priv.h"

#define EFER_KNOWN (EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE)
#define SELECTOR_RPL_TI BITS(2, 0)

static bool fixed_ok(u64 value, u64 fixed0, u64 fixed1) { return !(fixed0 & ~value) && !(value & ~fixed1); }
static bool long_host(const struct vmcs12 *f) { return f->EXIT_CONTROLS & EXIT_HOST_64; }

bool check_pat(u64 pat)
{
	for (u32 i = 0; i < 64; i += 8) {
		u64 t = pat >> i & 0xff;

		if (t > 7 || t == 2 || t == 3) /* SDM 3A, Memory Types That Can Be Encoded With PAT */
			return false;
	}
	return true;
}

#define SELECTOR_ROW(R, s) R(sel_##s, "RPL and TI of the host " #s " selector", !(f->HOST_##s##_SEL & SELECTOR_RPL_TI))
#define BASE_ROW(R, s) R(base_##s, "host " #s " base canonical", canonical(f->HOST_##s##_BASE))

#define HOST_ROWS(R) \
	/* Checks on Host Control Registers, MSRs, and SSP */ \
	R(cr0, "fixed bits of host CR0", fixed_ok(f->HOST_CR0, c->caps->cr0_fixed0, c->caps->cr0_fixed1)) \
	R(cr4, "fixed bits of host CR4", fixed_ok(f->HOST_CR4, c->caps->cr4_fixed0, c->caps->cr4_fixed1)) \
	R(cr3, "host CR3 inside the physical-address width", !(f->HOST_CR3 >> c->caps->maxphyaddr)) \
	R(sysenter_esp, "host SYSENTER_ESP canonical", canonical(f->HOST_SYSENTER_ESP)) \
	R(sysenter_eip, "host SYSENTER_EIP canonical", canonical(f->HOST_SYSENTER_EIP)) \
	R(pat, "host PAT", !(f->EXIT_CONTROLS & EXIT_LOAD_PAT) || check_pat(f->HOST_PAT)) \
	R(efer_bits, "reserved bits of host EFER", !(f->EXIT_CONTROLS & EXIT_LOAD_EFER) || !(f->HOST_EFER & ~EFER_KNOWN)) \
	R(efer_lma, "host EFER.LMA is the host address-space size", \
	  !(f->EXIT_CONTROLS & EXIT_LOAD_EFER) || !!(f->HOST_EFER & EFER_LMA) == long_host(f)) \
	R(efer_lme, "host EFER.LME is the host address-space size", \
	  !(f->EXIT_CONTROLS & EXIT_LOAD_EFER) || !!(f->HOST_EFER & EFER_LME) == long_host(f)) \
	/* Checks on Host Segment and Descriptor-Table Registers */ \
	SELECTOR_ROW(R, ES) SELECTOR_ROW(R, CS) SELECTOR_ROW(R, SS) SELECTOR_ROW(R, DS) SELECTOR_ROW(R, FS) SELECTOR_ROW(R, GS) \
	SELECTOR_ROW(R, TR) \
	R(cs_null, "host CS selector not 0", f->HOST_CS_SEL) \
	R(tr_null, "host TR selector not 0", f->HOST_TR_SEL) \
	R(ss_null, "host SS selector not 0 outside IA-32e mode", long_host(f) || f->HOST_SS_SEL) \
	BASE_ROW(R, FS) BASE_ROW(R, GS) BASE_ROW(R, GDTR) BASE_ROW(R, IDTR) BASE_ROW(R, TR) \
	/* Checks Related to Address-Space Size */ \
	R(now_32_guest, "IA-32e mode guest entered from outside IA-32e mode", c->l1_long || !(f->ENTRY_CONTROLS & ENTRY_IA32E)) \
	R(now_32_host, "64-bit host entered from outside IA-32e mode", c->l1_long || !long_host(f)) \
	R(now_64_host, "32-bit host entered from IA-32e mode", !c->l1_long || long_host(f)) \
	R(guest_64_host_32, "IA-32e mode guest of a 32-bit host", long_host(f) || !(f->ENTRY_CONTROLS & ENTRY_IA32E)) \
	R(pcide, "host CR4.PCIDE outside IA-32e mode", long_host(f) || !(f->HOST_CR4 & CR4_PCIDE)) \
	R(rip_32, "host RIP bits 63:32 outside IA-32e mode", long_host(f) || !(f->HOST_RIP >> 32)) \
	R(pae, "host CR4.PAE in IA-32e mode", !long_host(f) || (f->HOST_CR4 & CR4_PAE)) \
	R(rip_64, "host RIP canonical", !long_host(f) || canonical(f->HOST_RIP))

#define ROW_FN(id, text, ...) \
	static bool holds_##id(const struct check_ctx *c) { const struct vmcs12 *f = c->f; (void)f; return (__VA_ARGS__); }
HOST_ROWS(ROW_FN)

#define ROW_ENTRY(id, text, ...) { text, holds_##id, INSN_ERR_HOST_STATE },
const struct check checks_host[] = { HOST_ROWS(ROW_ENTRY) };
const u32 nr_checks_host = ARRAY_SIZE(checks_host);
