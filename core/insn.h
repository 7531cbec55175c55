/*
 * Decoder for the instructions with which guests touch emulated MMIO: the MOV family, and what compilers use on
 * registers besides (AND, OR, XOR, ADD, SUB, TEST, CMP, XCHG, MOVZX, MOVSX, STOS, MOVS), in 16-, 32- and 64-bit code
 * (SDM 2, Instruction Format). Pure: bytes in, description out.
 */
#ifndef CORE_INSN_H
#define CORE_INSN_H

#include "core/types.h"

#define INSN_MAX 15

enum insn_mode { INSN_16, INSN_32, INSN_64 };
enum insn_op { INSN_MOV_LOAD, INSN_MOV_STORE, INSN_MOV_STORE_IMM, INSN_MOVZX, INSN_MOVSX, INSN_AND, INSN_OR, INSN_XOR, INSN_ADD,
	       INSN_SUB, INSN_TEST, INSN_CMP, INSN_XCHG, INSN_STOS, INSN_MOVS };

struct insn {
	u8 len;
	u8 op;               /* enum insn_op */
	u8 size;             /* bytes of the memory operand: 1, 2, 4, 8 */
	u8 reg_size;         /* bytes of the register operand (MOVZX/MOVSX differ) */
	u8 reg;              /* register operand 0..15; high_byte: AH CH DH BH */
	bool high_byte;
	bool mem_is_dest;    /* memory is the first operand: the destination, where the operation has one (not TEST, CMP) */
	bool has_imm;
	u64 imm;             /* sign-extended to the operand size */
	bool rep;            /* STOS, MOVS */
	u8 addr_size;
};

/* Decode `n` bytes. 0; -EINVAL (not one of ours, or no memory operand), -EAGAIN (needs more bytes than n). */
int insn_decode(struct insn *out, const u8 *bytes, u32 n, enum insn_mode mode);

/* Access to the emulated location and the registers, for insn_emulate. gpr: in x86 order RAX RCX RDX RBX RSP …; 16 of them. */
struct insn_ctx {
	u64 *gpr;
	u64 *rflags;
	u64 (*mem_read)(void *arg, u32 size);
	void (*mem_write)(void *arg, u32 size, u64 value);
	void *arg;
};
/* Perform one decoded instruction but STOS/MOVS (-ENOTSUP). Sets registers and flags as the SDM says. 0 or error. */
int insn_emulate(const struct insn *i, struct insn_ctx *c);

#endif
