/*
 * Every exit reason that a guest's instruction or exception can reach, with qualification, instruction length and
 * information (SDM 3C, VM Exits: Recording VM-Exit Information and Updating VM-Entry Control Fields).
 *
 * Exit 3 (INIT) is in events.c, 4 (SIPI) in sipi.c. Not reached, and why: 5 and 6 SMI and 17 RSM (no SMM), 11 GETSEC (no SMX: CR4.SMXE
 * cannot be set), 35 and 38 and 42 do not exist, 41 machine check at entry, 60 ENCLS and 66 SPP, 65 PCONFIG, 67 UMWAIT, 68 TPAUSE (the
 * processor has none of them), 63 XSAVES and 64 XRSTORS (they exit by bits of IA32_XSS, and the processor has no supervisor state: 0 is
 * its only value).
 */
#include "tests/conform/exits.h"

#include <stdio.h>
#include <string.h>

static const u8 *piece_at;

void exit_begin(struct vstate *s, enum base b, const u8 *piece)
{
	memset(&guest_regs, 0, sizeof(guest_regs));
	base_state(s, &env, b);
	s->EXCEPTION_BITMAP = 0;
	s->GUEST_RIP = (u64)piece;
	piece_at = piece;
}

/* ---- the text of an exit ---- */
static bool has_length(u32 reason, u64 intr)
{
	u32 type = (u32)FIELD_GET(INTR_TYPE, intr);

	switch (reason) {
	case XR_EXCEPTION_NMI: return (intr & INTR_VALID) && (type == INTR_SW_EXCEPTION || type == INTR_PRIV_SW_EXCEPTION);
	case XR_EXTERNAL_INTERRUPT: case XR_TRIPLE_FAULT: case XR_INIT: case XR_SIPI: case XR_INTERRUPT_WINDOW: case XR_NMI_WINDOW: case XR_MTF:
	case XR_TPR_BELOW_THRESHOLD: case XR_EPT_VIOLATION: case XR_EPT_MISCONFIG: case XR_PREEMPTION_TIMER: case XR_APIC_ACCESS:
	case XR_VIRTUALIZED_EOI: case XR_APIC_WRITE: case XR_PML_FULL:
		return false;
	default: return true;
	}
}

static bool has_info(u32 reason, u64 qualification)
{
	switch (reason) {
	case XR_IO: return qualification & BIT(4); /* INS, OUTS */
	case XR_VMCLEAR: case XR_VMPTRLD: case XR_VMPTRST: case XR_VMREAD: case XR_VMWRITE: case XR_VMXON: case XR_GDTR_IDTR:
	case XR_LDTR_TR: case XR_INVEPT: case XR_INVVPID: case XR_RDRAND: case XR_RDSEED: case XR_INVPCID: case XR_XSAVES: case XR_XRSTORS:
		return true;
	default: return false;
	}
}

/* Of the instruction information, what the SDM does not leave undefined. */
static u64 defined_info(u32 reason, u64 info)
{
	u64 memory = BITS(9, 7) | BIT(10) | BITS(17, 15) | BIT(22) | BIT(27);
	bool reg = info & BIT(10);

	memory |= (info & BIT(22) ? 0 : BITS(1, 0) | BITS(21, 18)) | (info & BIT(27) ? 0 : BITS(26, 23));
	switch (reason) {
	case XR_IO: return info & (BITS(9, 7) | BITS(17, 15));
	case XR_VMREAD: case XR_VMWRITE: return info & ((reg ? BITS(6, 3) | BIT(10) : memory) | BITS(31, 28));
	case XR_LDTR_TR: return info & ((reg ? BITS(6, 3) | BIT(10) : memory) | BITS(29, 28));
	case XR_GDTR_IDTR: return info & ((memory & ~BIT(10)) | BIT(11) | BITS(29, 28));
	case XR_INVEPT: case XR_INVVPID: case XR_INVPCID: return info & ((memory & ~BIT(10)) | BITS(31, 28));
	case XR_RDRAND: case XR_RDSEED: return info & (BITS(6, 3) | BITS(12, 11));
	default: return info & (memory & ~BIT(10));
	}
}

/*
 * No memory is named: zero should be stored into the qualification. Bochs stores what its decoder has left of another instruction's
 * displacement, not the same twice, so this is not looked at.
 */
static bool register_form(u32 reason)
{
	return (reason == XR_VMREAD || reason == XR_VMWRITE || reason == XR_LDTR_TR) && (field(VMCS_EXIT_INSN_INFO) & BIT(10));
}

static u32 add_hex(char *t, u32 at, char letter, u64 value)
{
	return at + (u32)sniprintf(t + at, 200 - at, " %c%llx", letter, (unsigned long long)value);
}

static u32 add_details(char *t, u32 at, const struct outcome *o)
{
	u32 reason = o->reason & 0xffff;
	u64 intr = field(VMCS_EXIT_INTR_INFO), idt = field(VMCS_IDT_VECTORING_INFO);

	if (has_length(reason, intr))
		at = add_hex(t, at, 'l', field(VMCS_EXIT_INSN_LEN));
	at += (u32)sniprintf(t + at, 200 - at, " +%llx", (unsigned long long)(field(VMCS_GUEST_RIP) - (u64)piece_at));
	if (has_info(reason, o->qualification))
		at = add_hex(t, at, 'i', defined_info(reason, field(VMCS_EXIT_INSN_INFO)));
	if (reason == XR_EXCEPTION_NMI || (reason == XR_EXTERNAL_INTERRUPT && (intr & INTR_VALID)))
		at = add_hex(t, at, 'v', intr);
	if (reason == XR_EXCEPTION_NMI && (intr & INTR_HAS_ERROR))
		at = add_hex(t, at, 'e', field(VMCS_EXIT_INTR_ERROR));
	if (idt & INTR_VALID)
		at = add_hex(t, at, 'd', idt);
	if ((idt & INTR_VALID) && (idt & INTR_HAS_ERROR))
		at = add_hex(t, at, 'c', field(VMCS_IDT_VECTORING_ERROR));
	if (reason == XR_EPT_VIOLATION && (o->qualification & BIT(7)))
		at = add_hex(t, at, 'g', field(VMCS_GUEST_LINEAR_ADDR));
	if (reason == XR_IO && (o->qualification & BIT(4)))
		at = add_hex(t, at, 'g', field(VMCS_GUEST_LINEAR_ADDR));
	if (reason == XR_EPT_VIOLATION || reason == XR_EPT_MISCONFIG)
		at = add_hex(t, at, 'p', field(VMCS_GUEST_PHYSICAL_ADDR));
	return at;
}

static const char *describe(void)
{
	static char text[2][208];
	static u32 next;
	char *t = text[next++ & 1];
	struct outcome o;

	world_run(&o);
	if ((o.reason & 0xffff) == XR_EPT_VIOLATION && !(env.ept_vpid & EPT_ADVANCED))
		o.qualification &= ~BITS(11, 9);
	sniprintf(t, 200, "%s", outcome_text(&o));
	if (!o.entered || (o.reason & EXIT_REASON_ENTRY_FAILURE))
		return t;
	add_details(t, register_form(o.reason & 0xffff) ? (u32)strlen(t) : add_hex(t, (u32)strlen(t), 'q', o.qualification), &o);
	return t;
}

const char *exit_run(const struct vstate *s)
{
	world_write(s);
	return describe();
}

const char *exit_resume(const u32 *encodings, const u64 *values, u32 n)
{
	for (u32 i = 0; i < n; i++) {
		do_vmwrite(encodings[i], values[i]);
		world_forget(encodings[i]);
	}
	return describe();
}

void exit_expect(const char *name, struct vstate *s, const char *expected)
{
	const char *saw = exit_run(s);
	u32 n = (u32)strlen(expected);
	bool ok = !strncmp(saw, expected, n) && (!saw[n] || saw[n] == ' ');

	if (n)
		report_text(name, ok ? "as the SDM says" : saw, ok ? "as the SDM says" : expected);
	report_result(name, "%s", saw);
}

void group_exits(u32 every)
{
	(void)every;
	world_open();
	exits_cr();
	exits_io();
	exits_vmx();
	exits_memory();
	exits_other();
	world_close();
}
