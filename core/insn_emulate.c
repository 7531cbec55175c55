/*
 * Performs a decoded instruction on the registers and one emulated location (SDM 2, the instructions' Operation sections;
 * flags: SDM 1, Status Flags).
 *
 * Invariant: each instruction reads the location at most once and writes it at most once, in that order, with the width of
 * its memory operand.
 */
#include "core/errno.h"
#include "core/insn.h"
#include "core/x86.h"

#define STATUS_FLAGS (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)

static u64 mask_of(u32 size) { return size == 8 ? ~0ull : BIT(size * 8) - 1; }
static u64 sign_of(u32 size) { return BIT(size * 8 - 1); }

static u64 read_reg(const struct insn *i, const struct insn_ctx *c)
{
	return c->gpr[i->reg] >> (i->high_byte ? 8 : 0) & mask_of(i->reg_size);
}

/* Writing 4 bytes clears the upper half; 1 or 2 bytes leave the rest (SDM 1, General-Purpose Registers in 64-Bit Mode). */
static void write_reg(const struct insn *i, struct insn_ctx *c, u64 value)
{
	u64 *r = &c->gpr[i->reg], mask = mask_of(i->reg_size);
	u32 shift = i->high_byte ? 8 : 0;

	if (i->reg_size >= 4)
		*r = value & mask;
	else
		*r = (*r & ~(mask << shift)) | (value & mask) << shift;
}

static void set_flags(struct insn_ctx *c, u64 flags) { *c->rflags = (*c->rflags & ~STATUS_FLAGS) | flags; }

/* ZF, SF, PF of a result. */
static u64 result_flags(u64 r, u32 size)
{
	return (r ? 0 : RFLAGS_ZF) | (r & sign_of(size) ? RFLAGS_SF : 0) | (__builtin_parity((u32)(r & 0xff)) ? 0 : RFLAGS_PF);
}

static u64 add(u64 a, u64 b, u32 size, u64 *flags)
{
	u64 r = (a + b) & mask_of(size);
	*flags = result_flags(r, size) | (r < a ? RFLAGS_CF : 0) | ((a ^ b ^ r) & 0x10 ? RFLAGS_AF : 0) |
		 (~(a ^ b) & (a ^ r) & sign_of(size) ? RFLAGS_OF : 0);
	return r;
}

static u64 sub(u64 a, u64 b, u32 size, u64 *flags)
{
	u64 r = (a - b) & mask_of(size);
	*flags = result_flags(r, size) | (a < b ? RFLAGS_CF : 0) | ((a ^ b ^ r) & 0x10 ? RFLAGS_AF : 0) |
		 ((a ^ b) & (a ^ r) & sign_of(size) ? RFLAGS_OF : 0);
	return r;
}

/* AND, OR, XOR: CF and OF are cleared; AF is undefined, here cleared. */
static u64 logic(u64 r, u32 size, u64 *flags)
{
	*flags = result_flags(r, size);
	return r;
}

static u64 compute(const struct insn *i, u64 a, u64 b, u64 *flags)
{
	switch (i->op) {
	case INSN_AND: case INSN_TEST: return logic(a & b, i->size, flags);
	case INSN_OR: return logic(a | b, i->size, flags);
	case INSN_XOR: return logic(a ^ b, i->size, flags);
	case INSN_ADD: return add(a, b, i->size, flags);
	default: return sub(a, b, i->size, flags);
	}
}

static void arithmetic(const struct insn *i, struct insn_ctx *c)
{
	u64 mem = c->mem_read(c->arg, i->size) & mask_of(i->size), other = i->has_imm ? i->imm : read_reg(i, c), flags;
	u64 r = i->mem_is_dest ? compute(i, mem, other, &flags) : compute(i, other, mem, &flags);

	if (i->op != INSN_TEST && i->op != INSN_CMP) {
		if (i->mem_is_dest)
			c->mem_write(c->arg, i->size, r);
		else
			write_reg(i, c, r);
	}
	set_flags(c, flags);
}

static void exchange(const struct insn *i, struct insn_ctx *c)
{
	u64 mem = c->mem_read(c->arg, i->size);
	c->mem_write(c->arg, i->size, read_reg(i, c));
	write_reg(i, c, mem);
}

static u64 sign_extend(u64 v, u32 size)
{
	u64 sign = sign_of(size);
	return ((v & mask_of(size)) ^ sign) - sign;
}

int insn_emulate(const struct insn *i, struct insn_ctx *c)
{
	switch (i->op) {
	case INSN_MOV_LOAD: write_reg(i, c, c->mem_read(c->arg, i->size)); return 0;
	case INSN_MOVZX: write_reg(i, c, c->mem_read(c->arg, i->size) & mask_of(i->size)); return 0;
	case INSN_MOVSX: write_reg(i, c, sign_extend(c->mem_read(c->arg, i->size), i->size)); return 0;
	case INSN_MOV_STORE: c->mem_write(c->arg, i->size, read_reg(i, c)); return 0;
	case INSN_MOV_STORE_IMM: c->mem_write(c->arg, i->size, i->imm); return 0;
	case INSN_XCHG: exchange(i, c); return 0;
	case INSN_STOS: case INSN_MOVS: return -ENOTSUP;
	default: arithmetic(i, c); return 0;
	}
}
