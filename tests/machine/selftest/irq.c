/*
 * Interrupts: a copy of the firmware's table with our vectors in it, in either mode of the local APIC.
 */
#include "tests/machine/selftest/selftest.h"

#define APIC         0xFEE00000
#define APIC_ID      0x20
#define APIC_TPR     0x80
#define APIC_EOI     0xB0
#define APIC_SVR     0xF0
#define MSR_APIC_BASE 0x1B
#define BASE_X2APIC  0x400
#define MSR_X2APIC(reg) (0x800 + ((reg) >> 4))
#define GATE_INTERRUPT 0x8E00

struct frame;

void (*volatile irq_level_handler)(void);
static volatile u32 count[VECTOR_COUNT], last_cpu[VECTOR_COUNT];
static struct idt_pointer idt;

static bool x2apic(void)
{
	return rdmsr(MSR_APIC_BASE) & BASE_X2APIC;
}

static void apic_write(u32 reg, u32 v)
{
	if (x2apic())
		wrmsr(MSR_X2APIC(reg), v);
	else
		write32(APIC + reg, v);
}

u32 apic_id(void)
{
	return x2apic() ? (u32)rdmsr(MSR_X2APIC(APIC_ID)) : read32(APIC + APIC_ID) >> 24;
}

static __attribute__((no_caller_saved_registers)) void handle(unsigned n)
{
	last_cpu[n] = apic_id();
	if (VECTOR_FIRST + n == VECTOR_LEVEL && irq_level_handler)
		irq_level_handler();
	apic_write(APIC_EOI, 0);
	__atomic_fetch_add(&count[n], 1, __ATOMIC_SEQ_CST);
}

#define HANDLER(n) \
	static __attribute__((interrupt)) void handler##n(struct frame *f) { (void)f; handle(n); }
HANDLER(0) HANDLER(1) HANDLER(2) HANDLER(3) HANDLER(4) HANDLER(5) HANDLER(6) HANDLER(7)
static void (*const handlers[VECTOR_COUNT])(struct frame *) = {
	handler0, handler1, handler2, handler3, handler4, handler5, handler6, handler7,
};

static void set_gate(u8 vector, u64 to)
{
	u64 gate = idt.base + vector * 16;

	write64(gate, (to & 0xFFFF) | (u64)read_cs() << 16 | (u64)GATE_INTERRUPT << 32 | (to >> 16 & 0xFFFF) << 48);
	write64(gate + 8, to >> 32);
}

void irq_init(void)
{
	struct idt_pointer old;

	sidt(&old);
	idt.base = alloc_pages(1);
	idt.limit = 4095;
	for (u32 i = 0; i + 7 <= old.limit; i += 8)
		write64(idt.base + i, read64(old.base + i));
	for (unsigned n = 0; n < VECTOR_COUNT; n++)
		set_gate((u8)(VECTOR_FIRST + n), (u64)handlers[n]);
	cli();
	lidt(&idt);
	sti();
}

void irq_init_ap(void)
{
	lidt(&idt);
	apic_write(APIC_SVR, 0x1FF);
	apic_write(APIC_TPR, 0);
}

u32 irq_count(u8 vector)
{
	return count[vector - VECTOR_FIRST];
}

u32 irq_last_cpu(u8 vector)
{
	return last_cpu[vector - VECTOR_FIRST];
}
