/*
 * CPU instructions that only the guest uses, and what its assembly files offer to C. Everything else comes from
 * core/x86.h; no C file of guest/ contains asm.
 */
#ifndef GUEST_LIB_X86_H
#define GUEST_LIB_X86_H

#include "core/x86.h"

/* Selectors of guest_gdt (start.S). */
#define SEL_CODE 0x08
#define SEL_DATA 0x10
#define SEL_USER_CODE 0x1b
#define SEL_USER_DATA 0x23
#define SEL_TSS 0x28

/* Write n bytes to one port: a hypervisor may take them all in one exit. */
static inline void rep_outsb(u16 port, const void *p, u64 n)
{
	__asm__ volatile("rep outsb" : "+S"(p), "+c"(n) : "d"(port) : "memory");
}

/* Copy without a C library: for plugins, which have none. */
static inline void copy_bytes(void *dst, const void *src, u64 n)
{
	__asm__ volatile("rep movsb" : "+D"(dst), "+S"(src), "+c"(n) :: "memory");
}

static inline void zero_bytes(void *dst, u64 n)
{
	__asm__ volatile("rep stosb" : "+D"(dst), "+c"(n) : "a"(0) : "memory");
}

/* Only an NMI, INIT or SMI ends this HLT. */
static inline void write_cr8(u64 v) { __asm__ volatile("mov %0, %%cr8" :: "r"(v) : "memory"); }
static inline void irq_disable_halt(void) { __asm__ volatile("cli; hlt" ::: "memory"); }

static inline void trap_breakpoint(void) { __asm__ volatile("int3" ::: "memory"); }
static inline void trap_undefined(void) { __asm__ volatile("ud2" ::: "memory"); }
/* A VMX instruction outside VMX operation: #UD by the SDM. */
static inline void trap_vmread(void)
{
	u64 v;
	__asm__ volatile("vmread %1,%0" : "=r"(v) : "r"(0ull) : "cc");
}

/*
 * VMX instructions, executed as they are: each may raise an exception. The result is what they leave in the flags (SDM 3C,
 * Conventions): 0, VMX_FAILED_INVALID or VMX_FAILED_VALID.
 */
#define VMX_FAILED_INVALID 1u
#define VMX_FAILED_VALID 2u
#define VMX_INSN(name, text, operands, ...) \
	static inline u32 name(__VA_ARGS__) \
	{ \
		bool cf, zf; \
		__asm__ volatile(text : "=@ccc"(cf), "=@ccz"(zf) : operands : "memory"); \
		return (cf ? VMX_FAILED_INVALID : 0) | (zf ? VMX_FAILED_VALID : 0); \
	}
#define VMX_TWO(a, b) a, b
VMX_INSN(vmx_vmxon, "vmxon (%2)", "r"(p), const u64 *p)
VMX_INSN(vmx_vmxoff, "vmxoff", , void)
VMX_INSN(vmx_vmclear, "vmclear (%2)", "r"(p), const u64 *p)
VMX_INSN(vmx_vmptrld, "vmptrld (%2)", "r"(p), const u64 *p)
VMX_INSN(vmx_vmptrst, "vmptrst (%2)", "r"(p), u64 *p)
VMX_INSN(vmx_vmread, "vmread %3, (%2)", VMX_TWO("r"(p), "r"(field)), u64 field, u64 *p)
VMX_INSN(vmx_vmwrite, "vmwrite %2, %3", VMX_TWO("r"(value), "r"(field)), u64 field, u64 value)
VMX_INSN(vmx_vmlaunch, "vmlaunch", , void)
VMX_INSN(vmx_vmresume, "vmresume", , void)
VMX_INSN(vmx_invept, "invept (%2), %3", VMX_TWO("r"(desc), "r"(type)), u64 type, const u64 *desc)
VMX_INSN(vmx_invvpid, "invvpid (%2), %3", VMX_TWO("r"(desc), "r"(type)), u64 type, const u64 *desc)
#undef VMX_INSN
#undef VMX_TWO

/* ---- lib/stubs.S ---- */

/*
 * Call fn(arg). Returns -1, or the vector of the exception that fn raised (fn is then left where it was). Not nested.
 */
int fault_catch(void (*fn)(void *), void *arg);
/* fn of fault_catch: VMCALL at CPL 3, then HLT. Raises #UD as it should, or #GP if the call went through. */
void user_vmcall(void *unused);
/* The same: run the code at `code` at CPL 3. Each of the pieces below is one instruction, then an undefined one. */
void user_run(void *code);
extern u8 user_vmxon[], user_vmread[], user_vmlaunch[];

/*
 * Ticks of the TSC around a loop of n rounds, n > 1. Where the TSC counts instructions and nothing else runs on this CPU, they
 * are TSC_LOOP_TICKS(n) exactly: twice n, and what Bochs 3.0 counts for the two readings (measured, the same for every n > 1).
 */
u64 tsc_loop(u64 n);
#define TSC_LOOP_TICKS(n) (2 * (n) + 2)

#endif
