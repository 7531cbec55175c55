/*
 * VMX instructions of the conformance tests, executed as they are, and what pieces.S offers to C.
 *
 * Invariant: each instruction starts with all six arithmetic flags set, so that what it leaves in them is its own work (SDM 3C,
 * VMX Instruction Reference, Conventions); each may raise an exception.
 */
#ifndef CONFORM_X86_H
#define CONFORM_X86_H

#include "guest/lib/x86.h"

#define FLAGS_ALL (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)

#define FLAG_INSN(name, text, operands, ...) \
	static inline u64 name(__VA_ARGS__) \
	{ \
		u64 flags; \
		__asm__ volatile("pushq $0x8d7; popfq; " text "; pushfq; popq %0" : "=&r"(flags) : operands : "memory", "cc"); \
		return flags & FLAGS_ALL; \
	}
#define TWO(a, b) a, b
FLAG_INSN(do_vmxon, "vmxon (%1)", "r"(p), const void *p)
FLAG_INSN(do_vmxoff, "vmxoff", , void)
FLAG_INSN(do_vmclear, "vmclear (%1)", "r"(p), const void *p)
FLAG_INSN(do_vmptrld, "vmptrld (%1)", "r"(p), const void *p)
FLAG_INSN(do_vmptrst, "vmptrst (%1)", "r"(p), void *p)
FLAG_INSN(do_vmread, "vmread %2, (%1)", TWO("r"(p), "r"(field)), u64 field, void *p)
FLAG_INSN(do_vmwrite, "vmwrite %1, %2", TWO("r"(value), "r"(field)), u64 field, u64 value)
FLAG_INSN(do_vmwrite_mem, "vmwrite (%1), %2", TWO("r"(p), "r"(field)), u64 field, const void *p)
FLAG_INSN(do_vmlaunch, "vmlaunch", , void)
FLAG_INSN(do_vmresume, "vmresume", , void)
FLAG_INSN(do_invept, "invept (%1), %2", TWO("r"(desc), "r"(type)), u64 type, const void *desc)
FLAG_INSN(do_invvpid, "invvpid (%1), %2", TWO("r"(desc), "r"(type)), u64 type, const void *desc)
/* Through the stack segment: #SS instead of #GP. */
FLAG_INSN(do_vmptrld_ss, "pushq %%rbp; movq %1, %%rbp; vmptrld (%%rbp); popq %%rbp", "r"(p), const void *p)
/* Behind a load of SS: events and VM entries are blocked for one instruction. */
static inline u64 do_vmlaunch_mov_ss(bool resume)
{
	u64 flags;
	if (resume)
		__asm__ volatile("movl %%ss, %%eax; pushq $0x8d7; popfq; movl %%eax, %%ss; vmresume; pushfq; popq %0" : "=r"(flags) :: "memory",
		       "cc", "rax");
	else
		__asm__ volatile("movl %%ss, %%eax; pushq $0x8d7; popfq; movl %%eax, %%ss; vmlaunch; pushfq; popq %0" : "=r"(flags) :: "memory",
		       "cc", "rax");
	return flags & FLAGS_ALL;
}
#undef FLAG_INSN
#undef TWO

/* ---- pieces.S ---- */
#define SEL_CODE32 0x38
#define SEL_CODE16 0x40
#define SEL_DATA16 0x48
#define SEL_LDT 0x50
#define SEL_CODE64_CONFORMING 0x60
#define SEL_TSS_GUEST 0x68
extern u64 cf_gdt[], cf_gdt_end[];

/* One VMX instruction each, as code of 64 bits and of 32 bits, an undefined instruction behind it. */
enum insn_op { OP_VMXON, OP_VMXOFF, OP_VMCLEAR, OP_VMPTRLD, OP_VMPTRST, OP_VMREAD, OP_VMWRITE, OP_VMLAUNCH, OP_VMRESUME, OP_INVEPT,
	       OP_INVVPID, OP_VMCALL, NR_OPS };
extern void *const pieces64[NR_OPS], *const pieces32[NR_OPS];
/* fn of fault_catch: go to this code in compatibility mode at CPL 0. It must end in an exception. */
void compat_run(void *code);

/* VMWRITE and VMREAD between each general register and field: writes value, reads it back. RSP is left out. */
u64 regs_roundtrip(u64 field, u64 value, u32 reg);
/* One VMPTRST to p each, with another way of naming the address: n is a scratch operand. */
extern u8 cf_rip_target[];
void ptrst_rip(void);                /* RIP-relative: cf_rip_target */
void ptrst_sib(u64 base, u64 index); /* base + index * 8 + 16 */
void ptrst_a32(u64 p);               /* with a 32-bit address: bits 63:32 do not count */
void ptrst_fs(u64 offset);           /* from the FS base */

#endif
