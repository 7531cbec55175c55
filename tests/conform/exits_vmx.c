/*
 * Exits by VMX instructions of a guest: which come before exceptions, qualification (displacement) and instruction information; and
 * where they are undefined (SDM 3C, Instructions That Cause VM Exits Unconditionally; Instruction-Information Field).
 */
#include "tests/conform/exits.h"

PIECE(vmclear); PIECE(vmlaunch); PIECE(vmresume); PIECE(vmptrld); PIECE(vmptrst); PIECE(vmread_r); PIECE(vmread_m);
       PIECE(vmwrite_r);
PIECE(vmwrite_m); PIECE(vmxoff); PIECE(vmxon); PIECE(invept); PIECE(invvpid); PIECE(vmcall); PIECE(vmread32);

#define R guest_regs
#define USER(s) (s->GUEST_CS_SEL = 0x1b, s->GUEST_SS_SEL = 0x23, s->GUEST_CS_AR |= BITS(6, 5), s->GUEST_SS_AR |= BITS(6, 5))
#define COMPAT(s) (s->GUEST_CS_AR = 0xc09b, s->GUEST_CS_SEL = 0x38)

static void in_64_bit_mode(void)
{
	EXPECT("vmcall", BASE_LONG, vmcall, "x18 q0 l3 +0", );
	EXPECT("vmclear", BASE_LONG, vmclear, "x19 q0 l4 +0", );
	EXPECT("vmlaunch", BASE_LONG, vmlaunch, "x20 q0 l3 +0", );
	EXPECT("vmptrld", BASE_LONG, vmptrld, "x21 q10 l5 +0", );
	EXPECT("vmptrst", BASE_LONG, vmptrst, "x22 q0 l4 +0", );
	EXPECT("vmread-register", BASE_LONG, vmread_r, "x23 l4 +0", );
	EXPECT("vmread-memory", BASE_LONG, vmread_m, "x23 qfffffffffffffff8 l5 +0", );
	EXPECT("vmresume", BASE_LONG, vmresume, "x24 q0 l3 +0", );
	EXPECT("vmwrite-register", BASE_LONG, vmwrite_r, "x25 l4 +0", );
	EXPECT("vmwrite-memory", BASE_LONG, vmwrite_m, "x25 q0 l5 +0", );
	EXPECT("vmxoff", BASE_LONG, vmxoff, "x26 q0 l3 +0", );
	EXPECT("vmxon-address-size-32", BASE_LONG, vmxon, "x27 q0 l5 +0", );
	NEEDS("invvpid", env.ept_vpid & EPT_CAP_INVVPID, EXPECT("invvpid", BASE_LONG, invvpid, "x53 q0 l6 +0", ));
}

/* RIP-relative: the qualification is the address of the next instruction plus the displacement. */
static void rip_relative(void)
{
	struct vstate s;
	u64 want = (u64)g_invept + 9 + 0x1000;

	if (!(env.ept_vpid & EPT_CAP_INVEPT)) {
		report_skip("invept-rip-relative", SHORT);
		return;
	}
	exit_begin(&s, BASE_LONG, g_invept);
	exit_run(&s);
	report_u64("invept-reason", field(VMCS_EXIT_REASON), XR_INVEPT);
	report_u64("invept-rip-relative", field(VMCS_EXIT_QUALIFICATION), want);
	report_u64("invept-length", field(VMCS_EXIT_INSN_LEN), 9);
}

static void elsewhere(void)
{
	EXPECT("vmclear-cpl3", BASE_LONG, vmclear, "x19 q0 l4 +0", USER(s));
	EXPECT("vmxon-cpl3", BASE_LONG, vmxon, "x27 q0 l5 +0", USER(s));
	EXPECT("vmxoff-cpl3", BASE_LONG, vmxoff, "x26 q0 l3 +0", USER(s));
	EXPECT("vmcall-cpl3", BASE_LONG, vmcall, "x18 q0 l3 +0", USER(s));
	EXPECT("vmread-compatibility-mode", BASE_LONG, vmread32, "x0 q0 +0 v80000306", COMPAT(s); s->EXCEPTION_BITMAP = BIT(6));
	EXPECT("vmlaunch-compatibility-mode", BASE_LONG, vmlaunch, "x0 q0 +0 v80000306", COMPAT(s); s->EXCEPTION_BITMAP = BIT(6));
	EXPECT("vmcall-compatibility-mode", BASE_LONG, vmcall, "x18 q0 l3 +0", COMPAT(s));
	EXPECT("vmread-32-bit", BASE_32, vmread32, "x23 l3 +0", );
	EXPECT("vmlaunch-32-bit", BASE_32, vmlaunch, "x20 q0 l3 +0", );
	EXPECT("vmcall-v86", BASE_V86, vmcall, "x18 q0 l3", s->GUEST_RIP = 0);
	NEEDS("vmcall-real", base_possible(&env, BASE_REAL), EXPECT("vmcall-real", BASE_REAL, vmcall, "x18 q0 l3", s->GUEST_RIP = 0));
	/* VMLAUNCH at linear 8000H + 20H */
	((u8 *)0x8020)[0] = 0x0f;
	((u8 *)0x8020)[1] = 0x01;
	((u8 *)0x8020)[2] = 0xc2;
	EXPECT("vmlaunch-v86", BASE_V86, vmcall, "x0 q0", s->GUEST_RIP = 0x20; s->EXCEPTION_BITMAP = BIT(6));
	NEEDS("vmlaunch-real", base_possible(&env, BASE_REAL), EXPECT("vmlaunch-real", BASE_REAL, vmcall, "x0 q0", s->GUEST_RIP = 0x20;
	      s->EXCEPTION_BITMAP = BIT(6)));
}

void exits_vmx(void)
{
	in_64_bit_mode();
	rip_relative();
	elsewhere();
}
