/*
 * Instructions and memory accesses of the machine's self-test: the only file of it with inline assembly.
 */
#ifndef SELFTEST_INSN_H
#define SELFTEST_INSN_H

#include <stdbool.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

static inline void outb(u16 port, u8 v) { __asm__ volatile("outb %0, %1" :: "a"(v), "Nd"(port)); }
static inline u8 inb(u16 port) { u8 v; __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port)); return v; }
static inline u32 inl(u16 port) { u32 v; __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port)); return v; }

static inline u64 rdmsr(u32 msr)
{
	u32 low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
	return low | (u64)high << 32;
}

static inline void wrmsr(u32 msr, u64 v)
{
	__asm__ volatile("wrmsr" :: "c"(msr), "a"((u32)v), "d"((u32)(v >> 32)) : "memory");
}

static inline u32 cpuid_ecx(u32 leaf)
{
	u32 a = leaf, b, c = 0, d;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	return c;
}

static inline u64 read_cr0(void) { u64 v; __asm__ volatile("mov %%cr0, %0" : "=r"(v)); return v; }
static inline void write_cr0(u64 v) { __asm__ volatile("mov %0, %%cr0" :: "r"(v)); }
static inline u64 read_cr4(void) { u64 v; __asm__ volatile("mov %%cr4, %0" : "=r"(v)); return v; }
static inline void write_cr4(u64 v) { __asm__ volatile("mov %0, %%cr4" :: "r"(v)); }
static inline u16 read_cs(void) { u16 v; __asm__ volatile("mov %%cs, %0" : "=r"(v)); return v; }

/* True if VMXON (and then VMXOFF) succeeded. */
static inline bool vmxon_vmxoff(u64 region)
{
	bool failed;

	__asm__ volatile("vmxon %1; setbe %0" : "=q"(failed) : "m"(region) : "cc", "memory");
	if (!failed)
		__asm__ volatile("vmxoff" ::: "cc", "memory");
	return !failed;
}

struct idt_pointer { u16 limit; u64 base; } __attribute__((packed));
static inline void sidt(struct idt_pointer *p) { __asm__ volatile("sidt %0" : "=m"(*p)); }
static inline void lidt(const struct idt_pointer *p) { __asm__ volatile("lidt %0" :: "m"(*p)); }
static inline void cli(void) { __asm__ volatile("cli" ::: "memory"); }
static inline void sti(void) { __asm__ volatile("sti" ::: "memory"); }
static inline void pause_cpu(void) { __asm__ volatile("pause" ::: "memory"); }
static inline void halt(void) { __asm__ volatile("sti; hlt" ::: "memory"); }

static inline u8 read8(u64 a) { return *(volatile u8 *)a; }
static inline u16 read16(u64 a) { return *(volatile u16 *)a; }
static inline u32 read32(u64 a) { return *(volatile u32 *)a; }
static inline u64 read64(u64 a) { return *(volatile u64 *)a; }
static inline void write8(u64 a, u8 v) { *(volatile u8 *)a = v; }
static inline void write16(u64 a, u16 v) { *(volatile u16 *)a = v; }
static inline void write32(u64 a, u32 v) { *(volatile u32 *)a = v; }
static inline void write64(u64 a, u64 v) { *(volatile u64 *)a = v; }

#endif
