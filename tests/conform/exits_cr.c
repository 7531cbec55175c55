/*
 * Exits by control registers, debug registers, descriptor tables and I/O (SDM 3C, Exit Qualification).
 */
#include "tests/conform/exits.h"

PIECE(mov_to_cr0); PIECE(mov_from_cr0); PIECE(mov_to_cr3); PIECE(mov_from_cr3); PIECE(mov_to_cr4); PIECE(mov_from_cr4);
       PIECE(mov_to_cr8);
PIECE(mov_from_cr8); PIECE(clts); PIECE(lmsw_r); PIECE(lmsw_m); PIECE(smsw); PIECE(mov_to_dr7); PIECE(mov_from_dr6);
PIECE(in_imm8); PIECE(in_dx16); PIECE(in_dx32); PIECE(out_imm32); PIECE(out_dx8); PIECE(insb); PIECE(rep_insw); PIECE(rep_outsl);
       PIECE(outsb_fs);
PIECE(outsb_a32); PIECE(outsb32); PIECE(sgdt); PIECE(sidt); PIECE(lgdt); PIECE(lidt); PIECE(sldt_r); PIECE(str_m); PIECE(lldt_r);
       PIECE(ltr_m);

static u64 word[64] __aligned_to(64);
#define R guest_regs

static void cr0(void)
{
	EXPECT("cr0-write-masked", BASE_LONG, mov_to_cr0, "x28 q0 l3 +0", s->CR0_MASK = CR0_TS; s->CR0_READ_SHADOW = 0;
	       R.rax = s->GUEST_CR0 | CR0_TS);
	EXPECT("cr0-write-same-as-shadow", BASE_LONG, mov_to_cr0, "x18 q0 l3 +3", s->CR0_MASK = CR0_TS; s->CR0_READ_SHADOW = CR0_TS;
	       R.rax = s->GUEST_CR0 | CR0_TS);
	EXPECT("cr0-write-unmasked", BASE_LONG, mov_to_cr0, "x18 q0 l3 +3", R.rax = s->GUEST_CR0 | CR0_TS);
	report_u64("cr0-written", field(VMCS_GUEST_CR0) & CR0_TS, CR0_TS);
	EXPECT("cr0-read-shadow", BASE_LONG, mov_from_cr0, "x18 q0 l3 +3", s->CR0_MASK = CR0_TS | CR0_NE; s->CR0_READ_SHADOW = CR0_TS);
	report_u64("cr0-read-value", R.rbx & (CR0_TS | CR0_NE | CR0_PE), CR0_TS | CR0_PE);
	EXPECT("clts-masked", BASE_LONG, clts, "x28 q20 l2 +0", s->CR0_MASK = CR0_TS; s->CR0_READ_SHADOW = CR0_TS);
	EXPECT("clts-shadow-clear", BASE_LONG, clts, "x18 q0 l3 +2", s->CR0_MASK = CR0_TS; s->CR0_READ_SHADOW = 0; ON(GUEST_CR0, CR0_TS));
	report_u64("clts-leaves-owned-bit", field(VMCS_GUEST_CR0) & CR0_TS, CR0_TS);
	EXPECT("clts-unmasked", BASE_LONG, clts, "x18 q0 l3 +2", ON(GUEST_CR0, CR0_TS));
	report_u64("clts-clears", field(VMCS_GUEST_CR0) & CR0_TS, 0);
	EXPECT("lmsw-register", BASE_LONG, lmsw_r, "x28 q90030 l3 +0", s->CR0_MASK = CR0_TS; R.rax = 9);
	word[0] = 9;
	EXPECT("lmsw-memory", BASE_LONG, lmsw_m, "x28 q90070 l3 +0", s->CR0_MASK = CR0_TS; R.rsi = (u64)word);
	EXPECT("lmsw-not-masked-bits", BASE_LONG, lmsw_r, "x18 q0 l3 +3", s->CR0_MASK = CR0_TS | CR0_NE; R.rax = 3);
	EXPECT("smsw-shadow", BASE_LONG, smsw, "x18 q0 l3 +3", s->CR0_MASK = CR0_TS; s->CR0_READ_SHADOW = CR0_TS);
	report_u64("smsw-value", R.rax & CR0_TS, CR0_TS);
}

static void cr3_cr4_cr8(void)
{
	bool targets = FIELD_GET(BITS(24, 16), env.misc) >= 4;

	EXPECT("cr3-load", BASE_LONG, mov_to_cr3, "x28 q903 l4 +0", ON(PROC_CONTROLS, PROC_CR3_LOAD); R.r9 = s->GUEST_CR3);
	NEEDS("cr3-target", targets, EXPECT("cr3-target", BASE_LONG, mov_to_cr3, "x18 q0 l3 +4", ON(PROC_CONTROLS, PROC_CR3_LOAD);
	      s->CR3_TARGET_COUNT = 4; s->CR3_TARGET_3 = s->GUEST_CR3; R.r9 = s->GUEST_CR3));
	NEEDS("cr3-target-behind-count", targets, EXPECT("cr3-target-behind-count", BASE_LONG, mov_to_cr3, "x28 q903 l4 +0",
	      ON(PROC_CONTROLS, PROC_CR3_LOAD); s->CR3_TARGET_COUNT = 3; s->CR3_TARGET_3 = s->GUEST_CR3; R.r9 = s->GUEST_CR3));
	EXPECT("cr3-store", BASE_LONG, mov_from_cr3, "x28 q113 l3 +0", ON(PROC_CONTROLS, PROC_CR3_STORE));
	NEEDS("cr3-free", !(env.proc.must & (PROC_CR3_LOAD | PROC_CR3_STORE)), EXPECT("cr3-free", BASE_LONG, mov_to_cr3, "x18 q0 l3 +4",
	      R.r9 = s->GUEST_CR3));
	EXPECT("cr4-write-masked", BASE_LONG, mov_to_cr4, "x28 q204 l3 +0", s->CR4_MASK = CR4_PGE; R.rdx = s->GUEST_CR4 | CR4_PGE);
	EXPECT("cr4-write-unmasked", BASE_LONG, mov_to_cr4, "x18 q0 l3 +3", R.rdx = s->GUEST_CR4 | CR4_PGE);
	EXPECT("cr4-vmxe-fixed", BASE_LONG, mov_to_cr4, "x0 q0 +0 v80000b0d e0", s->EXCEPTION_BITMAP = BIT(13);
	       R.rdx = s->GUEST_CR4 & ~CR4_VMXE);
	EXPECT("cr4-read-shadow", BASE_LONG, mov_from_cr4, "x18 q0 l3 +3", s->CR4_MASK = CR4_VMXE | CR4_PGE; s->CR4_READ_SHADOW = CR4_PGE);
	report_u64("cr4-read-value", R.rbx & (CR4_VMXE | CR4_PGE | CR4_PAE), CR4_PGE | CR4_PAE);
	EXPECT("cr8-load", BASE_LONG, mov_to_cr8, "x28 qf08 l4 +0", ON(PROC_CONTROLS, PROC_CR8_LOAD));
	EXPECT("cr8-store", BASE_LONG, mov_from_cr8, "x28 q618 l4 +0", ON(PROC_CONTROLS, PROC_CR8_STORE));
	EXPECT("dr7-write", BASE_LONG, mov_to_dr7, "x29 q307 l3 +0", ON(PROC_CONTROLS, PROC_MOV_DR));
	EXPECT("dr6-read", BASE_LONG, mov_from_dr6, "x29 qc16 l4 +0", ON(PROC_CONTROLS, PROC_MOV_DR));
}

void exits_cr(void)
{
	cr0();
	cr3_cr4_cr8();
}

/* ---- I/O ---- */
static void io_bitmaps(void)
{
	u8 *a = (u8 *)env.io_a, *b = (u8 *)env.io_b;

	a[0x71 / 8] = BIT(0x71 % 8);
	EXPECT("io-bitmap-a-set", BASE_LONG, in_imm8, "x30 q710048 l2 +0", ON(PROC_CONTROLS, PROC_IO_BITMAPS));
	EXPECT("io-bitmap-overrides-unconditional", BASE_LONG, out_imm32, "x18 q0 l3 +2", ON(PROC_CONTROLS,
	       PROC_IO_BITMAPS | PROC_UNCOND_IO));
	a[0x47 / 8] |= BIT(0x47 % 8);
	EXPECT("io-bitmap-last-byte-of-access", BASE_LONG, out_imm32, "x30 q440043 l2 +0", ON(PROC_CONTROLS, PROC_IO_BITMAPS));
	a[0x71 / 8] = a[0x47 / 8] = 0;
	EXPECT("io-bitmap-clear", BASE_LONG, in_imm8, "x18 q0 l3 +2", ON(PROC_CONTROLS, PROC_IO_BITMAPS));
	b[0] = 1;
	EXPECT("io-bitmap-b-first", BASE_LONG, out_dx8, "x30 q80000000 l1 +0", ON(PROC_CONTROLS, PROC_IO_BITMAPS); R.rdx = 0x8000);
	EXPECT("io-across-bitmaps", BASE_LONG, in_dx16, "x30 q7fff0009 l2 +0", ON(PROC_CONTROLS, PROC_IO_BITMAPS); R.rdx = 0x7fff);
	b[0] = 0;
	EXPECT("io-wraps-16-bit", BASE_LONG, in_dx16, "x30 qffff0009 l2 +0", ON(PROC_CONTROLS, PROC_IO_BITMAPS); R.rdx = 0xffff);
	EXPECT("io-wraps-32-bit", BASE_LONG, in_dx32, "x30 qfffd000b l1 +0", ON(PROC_CONTROLS, PROC_IO_BITMAPS); R.rdx = 0xfffd);
	EXPECT("io-last-port", BASE_LONG, out_dx8, "x18 q0 l3 +1", ON(PROC_CONTROLS, PROC_IO_BITMAPS); R.rdx = 0xffff);
}

static void strings(void)
{
	EXPECT("insb", BASE_LONG, insb, "x30 q800018 l1 +0", ON(PROC_CONTROLS, PROC_UNCOND_IO); R.rdx = 0x80; R.rdi = (u64)word);
	EXPECT("rep-insw", BASE_LONG, rep_insw, "x30 q800039 l3 +0", ON(PROC_CONTROLS, PROC_UNCOND_IO); R.rdx = 0x80; R.rdi = (u64)word;
	       R.rcx = 4);
	EXPECT("rep-outsl", BASE_LONG, rep_outsl, "x30 q800033 l2 +0", ON(PROC_CONTROLS, PROC_UNCOND_IO); R.rdx = 0x80; R.rsi = (u64)word;
	       R.rcx = 2);
	EXPECT("outsb-fs", BASE_LONG, outsb_fs, "x30 q800010 l2 +0", ON(PROC_CONTROLS, PROC_UNCOND_IO); R.rdx = 0x80; R.rsi = 8;
	       s->GUEST_FS_BASE = (u64)word);
	EXPECT("outsb-address-size-32", BASE_LONG, outsb_a32, "x30 q800010 l2 +0", ON(PROC_CONTROLS, PROC_UNCOND_IO); R.rdx = 0x80;
	       R.rsi = (u64)word);
	EXPECT("outsb-32-bit", BASE_32, outsb32, "x30 q800010 l1 +0", ON(PROC_CONTROLS, PROC_UNCOND_IO); R.rdx = 0x80; R.rsi = (u64)word);
	EXPECT("rep-insw-count-0", BASE_LONG, rep_insw, "", ON(PROC_CONTROLS, PROC_UNCOND_IO); R.rdx = 0x80; R.rdi = (u64)word);
}

#define DESC SECONDARY(PROC2_DESC_TABLE)
static void tables(void)
{
	struct desc_ptr *p = (struct desc_ptr *)word;

	if (!may_proc2(&env, PROC2_DESC_TABLE)) {
		report_skip("descriptor-tables", SHORT);
		return;
	}
	*p = (struct desc_ptr){ .limit = 0x7f, .base = env.guest_gdtr_base };
	EXPECT("sgdt", BASE_LONG, sgdt, "x46 q0 l3 +0", DESC; R.rsi = (u64)word);
	EXPECT("sidt", BASE_LONG, sidt, "x46 q8 l5 +0", DESC; R.rsi = (u64)word; R.rdi = 2);
	EXPECT("lgdt", BASE_LONG, lgdt, "x46 q0 l3 +0", DESC; R.rsi = (u64)word);
	EXPECT("lidt", BASE_LONG, lidt, "x46 q0 l3 +0", DESC; R.rsi = (u64)word);
	EXPECT("sldt", BASE_LONG, sldt_r, "x47 l3 +0", DESC);
	EXPECT("str", BASE_LONG, str_m, "x47 q0 l3 +0", DESC; R.rsi = (u64)word);
	EXPECT("lldt", BASE_LONG, lldt_r, "x47 l3 +0", DESC; R.rcx = 0x50);
	EXPECT("ltr", BASE_LONG, ltr_m, "x47 q0 l3 +0", DESC; R.rsi = (u64)word);
	EXPECT("sgdt-free", BASE_LONG, sgdt, "x18 q0 l3 +3", R.rsi = (u64)word);
}

void exits_io(void)
{
	EXPECT("in-imm8", BASE_LONG, in_imm8, "x30 q710048 l2 +0", ON(PROC_CONTROLS, PROC_UNCOND_IO));
	EXPECT("in-dx-16", BASE_LONG, in_dx16, "x30 q800009 l2 +0", ON(PROC_CONTROLS, PROC_UNCOND_IO); R.rdx = 0x80);
	EXPECT("out-imm-32", BASE_LONG, out_imm32, "x30 q440043 l2 +0", ON(PROC_CONTROLS, PROC_UNCOND_IO));
	EXPECT("out-dx-8", BASE_LONG, out_dx8, "x30 q800000 l1 +0", ON(PROC_CONTROLS, PROC_UNCOND_IO); R.rdx = 0x80);
	io_bitmaps();
	strings();
	tables();
}
