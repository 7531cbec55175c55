/*
 * Decoder of the instructions that touch emulated MMIO (SDM 2, Instruction Format; Opcode Map).
 *
 * Invariant: reads at most n and at most 15 bytes; what it accepts is decoded to the byte. Everything outside the list in
 * insn.h, and every form without a memory operand, is refused. The address of the operand is not computed: a VM exit
 * tells it.
 */
#include "core/insn.h"

#include <string.h>

#include "core/errno.h"

#define REX_W 8u
#define REX_R 4u

struct decoder {
	struct insn *out;
	const u8 *bytes;
	u32 n, at;
	bool too_short;
	enum insn_mode mode;
	u8 rex;
	bool opsize, addrsize, lock, rep, repne;
	u8 modrm;
};

static u8 next(struct decoder *d)
{
	if (d->at >= d->n) {
		d->too_short = true;
		return 0;
	}
	return d->bytes[d->at++];
}

static void skip(struct decoder *d, u32 count)
{
	while (count--)
		next(d);
}

/* ---- prefixes (SDM 2, Instruction Prefixes; REX Prefixes: only the one right before the opcode counts) ---- */

static bool legacy_prefix(struct decoder *d, u8 b)
{
	switch (b) {
	case 0x66: d->opsize = true; return true;
	case 0x67: d->addrsize = true; return true;
	case 0xf0: d->lock = true; return true;
	case 0xf2: d->repne = true; return true;
	case 0xf3: d->rep = true; return true;
	case 0x26: case 0x2e: case 0x36: case 0x3e: case 0x64: case 0x65: return true;
	default: return false;
	}
}

static u8 prefixes(struct decoder *d)
{
	for (;;) {
		u8 b = next(d);
		if (d->too_short)
			return 0;
		if (legacy_prefix(d, b))
			d->rex = 0;
		else if (d->mode == INSN_64 && (b & 0xf0) == 0x40)
			d->rex = b;
		else
			return b;
	}
}

static u8 operand_size(const struct decoder *d)
{
	if (d->rex & REX_W)
		return 8;
	return (d->mode == INSN_16) == d->opsize ? 4 : 2;
}

static u8 address_size(const struct decoder *d)
{
	if (d->mode == INSN_64)
		return d->addrsize ? 4 : 8;
	return (d->mode == INSN_16) == d->addrsize ? 4 : 2;
}

/* ---- operands ---- */

/* Bytes of displacement behind ModR/M and SIB (SDM 2, Addressing-Mode Encoding of ModR/M and SIB Bytes). */
static u32 displacement(struct decoder *d, u8 mod, u8 rm)
{
	if (d->out->addr_size == 2)
		return mod == 1 ? 1 : mod == 2 || rm == 6 ? 2 : 0;
	u8 base = rm == 4 ? next(d) & 7 : rm;
	return mod == 1 ? 1 : mod == 2 || base == 5 ? 4 : 0;
}

/* ModR/M with a memory operand. False: register form. */
static bool memory_operand(struct decoder *d)
{
	d->modrm = next(d);
	u8 mod = d->modrm >> 6, rm = d->modrm & 7;
	if (mod == 3)
		return false;
	skip(d, displacement(d, mod, rm));
	d->out->reg = (u8)((d->modrm >> 3 & 7) | (d->rex & REX_R ? 8 : 0));
	return true;
}

static u8 extension(const struct decoder *d) { return d->modrm >> 3 & 7; }

/* The register operand has `size` bytes: without REX, byte registers 4 to 7 are AH CH DH BH. */
static void set_register(struct decoder *d, u8 size)
{
	struct insn *o = d->out;
	o->reg_size = size;
	o->high_byte = size == 1 && !d->rex && o->reg >= 4;
	if (o->high_byte)
		o->reg -= 4;
}

/* An immediate of `size` bytes, at most 4, sign-extended to the operand's size. */
static void immediate(struct decoder *d, u32 size)
{
	u32 bits = MIN(size, 4u) * 8;
	u64 v = 0;

	for (u32 i = 0; i < bits; i += 8)
		v |= (u64)next(d) << i;
	if (v >> (bits - 1))
		v |= ~0ull << bits;
	d->out->has_imm = true;
	d->out->imm = d->out->size == 8 ? v : v & (BIT(d->out->size * 8) - 1);
}

static bool set(struct decoder *d, enum insn_op op, u8 size, bool mem_is_dest)
{
	d->out->op = (u8)op;
	d->out->size = size;
	d->out->reg_size = size;
	d->out->mem_is_dest = mem_is_dest;
	return true;
}

/* ---- opcodes ---- */

/* The eight operations of 00-3F and of group 1 in order; ADC and SBB are not ours. */
static bool arithmetic(u8 row, enum insn_op *op)
{
	static const struct { bool ours; enum insn_op op; } rows[8] = {
		{ true, INSN_ADD }, { true, INSN_OR }, { false, 0 }, { false, 0 },
		{ true, INSN_AND }, { true, INSN_SUB }, { true, INSN_XOR }, { true, INSN_CMP },
	};
	*op = rows[row].op;
	return rows[row].ours;
}

/* op r/m, r or op r, r/m. */
static bool with_register(struct decoder *d, enum insn_op op, u8 size, bool mem_is_dest)
{
	if (!memory_operand(d))
		return false;
	set(d, op, size, mem_is_dest);
	set_register(d, size);
	return true;
}

/* op r/m, imm; the extension in ModR/M has been chosen by the caller's predicate. */
static bool group1(struct decoder *d, u8 opcode, u8 size)
{
	enum insn_op op;
	if (!memory_operand(d) || !arithmetic(extension(d), &op))
		return false;
	set(d, op, size, true);
	immediate(d, opcode == 0x81 ? size : 1);
	return true;
}

static bool move_immediate(struct decoder *d, u8 size)
{
	if (!memory_operand(d) || extension(d) != 0)
		return false;
	set(d, INSN_MOV_STORE_IMM, size, true);
	immediate(d, size);
	return true;
}

static bool test_immediate(struct decoder *d, u8 size)
{
	if (!memory_operand(d) || extension(d) > 1) /* /1 is an alias of /0 */
		return false;
	set(d, INSN_TEST, size, true);
	immediate(d, size);
	return true;
}

/* MOV between the accumulator and an address in the instruction. */
static bool move_offset(struct decoder *d, enum insn_op op, u8 size)
{
	skip(d, d->out->addr_size);
	return set(d, op, size, op == INSN_MOV_STORE);
}

static bool string(struct decoder *d, enum insn_op op, u8 size)
{
	d->out->rep = d->rep || d->repne;
	return set(d, op, size, op == INSN_STOS);
}

static bool extend(struct decoder *d, enum insn_op op, u8 size)
{
	if (!memory_operand(d))
		return false;
	set(d, op, size, false);
	d->out->reg_size = operand_size(d); /* at least 2: never a high byte */
	return true;
}

static bool two_byte(struct decoder *d)
{
	switch (next(d)) {
	case 0xb6: return extend(d, INSN_MOVZX, 1);
	case 0xb7: return extend(d, INSN_MOVZX, 2);
	case 0xbe: return extend(d, INSN_MOVSX, 1);
	case 0xbf: return extend(d, INSN_MOVSX, 2);
	case 0xc3: /* MOVNTI */
		return !d->opsize && !d->rep && !d->repne && with_register(d, INSN_MOV_STORE, d->rex & REX_W ? 8 : 4, true);
	default: return false;
	}
}

static bool one_byte(struct decoder *d, u8 opcode)
{
	u8 size = opcode & 1 ? operand_size(d) : 1;
	enum insn_op op;

	if (opcode < 0x40)
		return (opcode & 7) < 4 && arithmetic(opcode >> 3, &op) && with_register(d, op, size, !(opcode & 2));
	switch (opcode) {
	case 0x63: return d->mode == INSN_64 && extend(d, INSN_MOVSX, MIN(operand_size(d), 4)); /* MOVSXD */
	case 0x80: case 0x81: case 0x83: return group1(d, opcode, size);
	case 0x84: case 0x85: return with_register(d, INSN_TEST, size, true);
	case 0x86: case 0x87: return with_register(d, INSN_XCHG, size, true);
	case 0x88: case 0x89: return with_register(d, INSN_MOV_STORE, size, true);
	case 0x8a: case 0x8b: return with_register(d, INSN_MOV_LOAD, size, false);
	case 0xa0: case 0xa1: return move_offset(d, INSN_MOV_LOAD, size);
	case 0xa2: case 0xa3: return move_offset(d, INSN_MOV_STORE, size);
	case 0xa4: case 0xa5: return string(d, INSN_MOVS, size);
	case 0xaa: case 0xab: return string(d, INSN_STOS, size);
	case 0xc6: case 0xc7: return move_immediate(d, size);
	case 0xf6: case 0xf7: return test_immediate(d, size);
	default: return false;
	}
}

/* SDM 2, LOCK: only with a destination in memory that is read and written; anything else is #UD. */
static bool lock_allowed(const struct insn *i)
{
	return i->mem_is_dest && (i->op == INSN_ADD || i->op == INSN_OR || i->op == INSN_AND || i->op == INSN_SUB ||
				  i->op == INSN_XOR || i->op == INSN_XCHG);
}

int insn_decode(struct insn *out, const u8 *bytes, u32 n, enum insn_mode mode)
{
	struct decoder d = { .out = out, .bytes = bytes, .n = MIN(n, (u32)INSN_MAX), .mode = mode };

	memset(out, 0, sizeof(*out));
	u8 opcode = prefixes(&d);
	out->addr_size = address_size(&d);
	bool ours = opcode == 0x0f ? two_byte(&d) : one_byte(&d, opcode);
	if (d.too_short)
		return n < INSN_MAX ? -EAGAIN : -EINVAL;
	if (!ours || (d.lock && !lock_allowed(out)))
		return -EINVAL;
	out->len = (u8)d.at;
	return 0;
}
