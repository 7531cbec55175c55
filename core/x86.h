/*
 * Every CPU instruction that C cannot express, and the architectural constants that go with them (SDM 3 and 4).
 * VMX instructions live in vmx/vmx_insn.h. No other C file contains asm.
 */
#ifndef CORE_X86_H
#define CORE_X86_H

#include "core/types.h"

/* ---- control registers (SDM 3A, Control Registers) ---- */
#define CR0_PE BIT(0)
#define CR0_MP BIT(1)
#define CR0_EM BIT(2)
#define CR0_TS BIT(3)
#define CR0_ET BIT(4)
#define CR0_NE BIT(5)
#define CR0_WP BIT(16)
#define CR0_AM BIT(18)
#define CR0_NW BIT(29)
#define CR0_CD BIT(30)
#define CR0_PG BIT(31)
#define CR4_PSE BIT(4)
#define CR4_PAE BIT(5)
#define CR4_MCE BIT(6)
#define CR4_PGE BIT(7)
#define CR4_OSFXSR BIT(9)
#define CR4_OSXMMEXCPT BIT(10)
#define CR4_UMIP BIT(11)
#define CR4_LA57 BIT(12)
#define CR4_VMXE BIT(13)
#define CR4_SMXE BIT(14)
#define CR4_FSGSBASE BIT(16)
#define CR4_PCIDE BIT(17)
#define CR4_OSXSAVE BIT(18)
#define CR4_SMEP BIT(20)
#define CR4_SMAP BIT(21)
#define CR4_PKE BIT(22)
#define CR4_CET BIT(23)
#define RFLAGS_FIXED BIT(1)
#define RFLAGS_CF BIT(0)
#define RFLAGS_PF BIT(2)
#define RFLAGS_AF BIT(4)
#define RFLAGS_ZF BIT(6)
#define RFLAGS_SF BIT(7)
#define RFLAGS_TF BIT(8)
#define RFLAGS_IF BIT(9)
#define RFLAGS_OF BIT(11)
#define RFLAGS_NT BIT(14)
#define RFLAGS_RF BIT(16)
#define RFLAGS_VM BIT(17)

/* ---- exception vectors ---- */
enum { VEC_DE = 0, VEC_DB = 1, VEC_NMI = 2, VEC_BP = 3, VEC_UD = 6, VEC_NM = 7, VEC_DF = 8, VEC_TS = 10, VEC_NP = 11,
       VEC_SS = 12, VEC_GP = 13, VEC_PF = 14, VEC_AC = 17, VEC_MC = 18 };

/* ---- MSRs (SDM 4, Model-Specific Registers) ---- */
#define MSR_TSC 0x10
#define MSR_APIC_BASE 0x1b
#define MSR_FEATURE_CONTROL 0x3a
#define MSR_SPEC_CTRL 0x48
#define MSR_PRED_CMD 0x49
#define MSR_BIOS_SIGN_ID 0x8b
#define MSR_MTRRCAP 0xfe
#define MSR_SYSENTER_CS 0x174
#define MSR_SYSENTER_ESP 0x175
#define MSR_SYSENTER_EIP 0x176
#define MSR_MISC_ENABLE 0x1a0
#define MSR_DEBUGCTL 0x1d9
#define MSR_MTRR_PHYSBASE0 0x200
#define MSR_MTRR_FIX64K 0x250
#define MSR_PAT 0x277
#define MSR_MTRR_DEF_TYPE 0x2ff
#define MSR_PERF_GLOBAL_CTRL 0x38f
#define MSR_VMX_BASIC 0x480
#define MSR_TSC_DEADLINE 0x6e0
#define MSR_X2APIC_BASE 0x800
#define MSR_XSS 0xda0
#define MSR_EFER 0xc0000080
#define MSR_STAR 0xc0000081
#define MSR_LSTAR 0xc0000082
#define MSR_CSTAR 0xc0000083
#define MSR_FMASK 0xc0000084
#define MSR_FS_BASE 0xc0000100
#define MSR_GS_BASE 0xc0000101
#define MSR_KERNEL_GS_BASE 0xc0000102
#define MSR_TSC_AUX 0xc0000103
#define EFER_SCE BIT(0)
#define EFER_LME BIT(8)
#define EFER_LMA BIT(10)
#define EFER_NXE BIT(11)
#define APIC_BASE_BSP BIT(8)
#define APIC_BASE_EXTD BIT(10)
#define APIC_BASE_EN BIT(11)
#define FEATURE_CONTROL_LOCK BIT(0)
#define FEATURE_CONTROL_VMXON BIT(2) /* VMX outside SMX */

struct cpuid_regs { u32 eax, ebx, ecx, edx; };

static inline struct cpuid_regs cpuid(u32 leaf, u32 subleaf)
{
	struct cpuid_regs r;
	__asm__ volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx) : "a"(leaf), "c"(subleaf));
	return r;
}

static inline u64 rdmsr(u32 msr)
{
	u32 lo, hi;
	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
	return lo | (u64)hi << 32;
}

static inline void wrmsr(u32 msr, u64 v)
{
	__asm__ volatile("wrmsr" :: "c"(msr), "a"((u32)v), "d"((u32)(v >> 32)) : "memory");
}

static inline u64 rdtsc(void)
{
	u32 lo, hi;
	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi) :: "memory");
	return lo | (u64)hi << 32;
}

#define X86_CR_ACCESSORS(n) \
	static inline u64 read_cr##n(void) \
	{ \
		u64 v; \
		__asm__ volatile("mov %%cr" #n ",%0" : "=r"(v) :: "memory"); \
		return v; \
	} \
	static inline void write_cr##n(u64 v) { __asm__ volatile("mov %0,%%cr" #n :: "r"(v) : "memory"); }
X86_CR_ACCESSORS(0)
X86_CR_ACCESSORS(2)
X86_CR_ACCESSORS(3)
X86_CR_ACCESSORS(4)

#define X86_DR_ACCESSORS(n) \
	static inline u64 read_dr##n(void) \
	{ \
		u64 v; \
		__asm__ volatile("mov %%dr" #n ",%0" : "=r"(v)); \
		return v; \
	} \
	static inline void write_dr##n(u64 v) { __asm__ volatile("mov %0,%%dr" #n :: "r"(v)); }
X86_DR_ACCESSORS(0)
X86_DR_ACCESSORS(1)
X86_DR_ACCESSORS(2)
X86_DR_ACCESSORS(3)
X86_DR_ACCESSORS(6)
X86_DR_ACCESSORS(7)

static inline u64 xgetbv(u32 i)
{
	u32 lo, hi;
	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(i));
	return lo | (u64)hi << 32;
}
static inline void xsetbv(u32 i, u64 v)
{
	__asm__ volatile("xsetbv" :: "c"(i), "a"((u32)v), "d"((u32)(v >> 32)) : "memory");
}
/* Save and load the x87/SSE/AVX state of a guest; area is 64-byte aligned, mask selects components of XCR0. */
static inline void xsave(void *area, u64 mask)
{
	__asm__ volatile("xsave64 (%0)" :: "r"(area), "a"((u32)mask), "d"((u32)(mask >> 32)) : "memory");
}
static inline void xrstor(const void *area, u64 mask)
{
	__asm__ volatile("xrstor64 (%0)" :: "r"(area), "a"((u32)mask), "d"((u32)(mask >> 32)) : "memory");
}
static inline void fxsave(void *area) { __asm__ volatile("fxsave64 (%0)" :: "r"(area) : "memory"); }
static inline void fxrstor(const void *area) { __asm__ volatile("fxrstor64 (%0)" :: "r"(area) : "memory"); }

static inline void cpu_relax(void) { __asm__ volatile("pause" ::: "memory"); }
static inline __noreturn void cpu_halt_forever(void) { for (;;) __asm__ volatile("cli; hlt" ::: "memory"); }
static inline void irq_disable(void) { __asm__ volatile("cli" ::: "memory"); }
static inline void irq_enable(void) { __asm__ volatile("sti" ::: "memory"); }
/* Open the interrupt window for exactly one HLT: STI blocks interrupts until the HLT has begun. */
/* Take what is pending, now: STI holds interrupts back for one instruction. */
static inline void irq_enable_disable(void) { __asm__ volatile("sti; nop; cli" ::: "memory"); }
static inline void irq_enable_halt_disable(void) { __asm__ volatile("sti; hlt; cli" ::: "memory"); }
/* Run the NMI handler of the IDT, as if an NMI had come. */
static inline void raise_nmi_handler(void) { __asm__ volatile("int $2" ::: "memory"); }
static inline u64 read_rflags(void)
{
	u64 v;
	__asm__ volatile("pushfq; pop %0" : "=r"(v) :: "memory");
	return v;
}
static inline void wbinvd(void) { __asm__ volatile("wbinvd" ::: "memory"); }
static inline void clflush(const volatile void *p) { __asm__ volatile("clflush (%0)" :: "r"(p) : "memory"); }
static inline void invlpg(u64 va) { __asm__ volatile("invlpg (%0)" :: "r"(va) : "memory"); }
static inline void mfence(void) { __asm__ volatile("mfence" ::: "memory"); }
static inline void sfence(void) { __asm__ volatile("sfence" ::: "memory"); }
static inline void lfence(void) { __asm__ volatile("lfence" ::: "memory"); }
static inline void compiler_barrier(void) { __asm__ volatile("" ::: "memory"); }

static inline u8 inb(u16 p) { u8 v; __asm__ volatile("inb %1,%0" : "=a"(v) : "Nd"(p)); return v; }
static inline u16 inw(u16 p) { u16 v; __asm__ volatile("inw %1,%0" : "=a"(v) : "Nd"(p)); return v; }
static inline u32 inl(u16 p) { u32 v; __asm__ volatile("inl %1,%0" : "=a"(v) : "Nd"(p)); return v; }
static inline void outb(u16 p, u8 v) { __asm__ volatile("outb %0,%1" :: "a"(v), "Nd"(p)); }
static inline void outw(u16 p, u16 v) { __asm__ volatile("outw %0,%1" :: "a"(v), "Nd"(p)); }
static inline void outl(u16 p, u32 v) { __asm__ volatile("outl %0,%1" :: "a"(v), "Nd"(p)); }
/* n bytes to one port by a single instruction: one VM exit for all of them where port I/O exits. */
static inline void outsb(u16 p, const void *buf, u64 n)
{
	__asm__ volatile("rep outsb" : "+S"(buf), "+c"(n) : "d"(p) : "memory");
}

/* MMIO: exactly one access of the given width. */
static inline u8 mmio_read8(const volatile void *p) { u8 v; __asm__ volatile("movb (%1),%0" : "=q"(v) : "r"(p) : "memory"); return v; }
static inline u16 mmio_read16(const volatile void *p) { u16 v; __asm__ volatile("movw (%1),%0" : "=r"(v) : "r"(p) : "memory"); return v; }
static inline u32 mmio_read32(const volatile void *p) { u32 v; __asm__ volatile("movl (%1),%0" : "=r"(v) : "r"(p) : "memory"); return v; }
static inline u64 mmio_read64(const volatile void *p) { u64 v; __asm__ volatile("movq (%1),%0" : "=r"(v) : "r"(p) : "memory"); return v; }
static inline void mmio_write8(volatile void *p, u8 v) { __asm__ volatile("movb %0,(%1)" :: "q"(v), "r"(p) : "memory"); }
static inline void mmio_write16(volatile void *p, u16 v) { __asm__ volatile("movw %0,(%1)" :: "r"(v), "r"(p) : "memory"); }
static inline void mmio_write32(volatile void *p, u32 v) { __asm__ volatile("movl %0,(%1)" :: "r"(v), "r"(p) : "memory"); }
static inline void mmio_write64(volatile void *p, u64 v) { __asm__ volatile("movq %0,(%1)" :: "r"(v), "r"(p) : "memory"); }

/* 16-byte atomic store by CMPXCHG16B: IRTEs are written whole (VT-d, Interrupt Remapping Table Entry). p is 16-byte aligned. */
static inline void store128(volatile void *p, u64 lo, u64 hi)
{
	u64 old_lo = ((volatile u64 *)p)[0], old_hi = ((volatile u64 *)p)[1];
	bool done;
	do {
		__asm__ volatile("lock cmpxchg16b (%3)" : "=@ccz"(done), "+a"(old_lo), "+d"(old_hi) : "r"(p), "b"(lo), "c"(hi) : "memory");
	} while (!done);
}

/* ---- descriptor tables ---- */
struct desc_ptr { u16 limit; u64 base; } __packed;
static inline void lgdt(const struct desc_ptr *d) { __asm__ volatile("lgdt %0" :: "m"(*d) : "memory"); }
static inline void lidt(const struct desc_ptr *d) { __asm__ volatile("lidt %0" :: "m"(*d) : "memory"); }
static inline void ltr(u16 sel) { __asm__ volatile("ltr %0" :: "r"(sel) : "memory"); }
static inline void sgdt(struct desc_ptr *d) { __asm__ volatile("sgdt %0" : "=m"(*d)); }
static inline void sidt(struct desc_ptr *d) { __asm__ volatile("sidt %0" : "=m"(*d)); }
static inline void load_data_segments(u16 sel)
{
	__asm__ volatile("mov %0,%%ds; mov %0,%%es; mov %0,%%ss; mov %1,%%fs; mov %1,%%gs" :: "r"((u32)sel), "r"(0) : "memory");
}
static inline void load_cs(u16 sel)
{
	u64 tmp;
	__asm__ volatile("pushq %1; leaq 1f(%%rip),%0; pushq %0; lretq; 1:" : "=&r"(tmp) : "r"((u64)sel) : "memory");
}

/* Current frame pointer, for backtraces. */
static inline u64 read_rbp(void)
{
	u64 v;
	__asm__ volatile("mov %%rbp,%0" : "=r"(v));
	return v;
}

/* Pointer-sized load relative to GS: the per-CPU block's first word is its own address (core/percpu.h). */
static inline void *gs_self(void)
{
	void *p;
	__asm__("movq %%gs:0,%0" : "=r"(p));
	return p;
}

/* One call outward: VMCALL by the ABI of core/abi.h. Only when an outer is present. */
static inline s64 vmcall(u64 nr, u64 a0, u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	register u64 r10 __asm__("r10") = a3;
	register u64 r8 __asm__("r8") = a4;
	register u64 r9 __asm__("r9") = a5;
	s64 ret;
	__asm__ volatile("vmcall" : "=a"(ret) : "a"(nr), "D"(a0), "S"(a1), "d"(a2), "r"(r10), "r"(r8), "r"(r9) : "memory", "cc");
	return ret;
}

#endif
