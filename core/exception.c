/*
 * The IDT and what comes through it.
 *
 * Invariant: an interrupt is recorded and acknowledged, nothing else (core/irq.h). An NMI is a kick: harmless whenever
 * it comes. Any other exception in our own code is our fault and ends in a dump, except at the few instructions listed
 * in exception_fixups.
 */
#include "core/apic.h"
#include "core/console.h"
#include "core/exception.h"
#include "core/irq.h"
#include "core/percpu.h"
#include "core/symbols.h"
#include "core/x86.h"

#define STUB_SIZE 16
#define GATE_INTERRUPT 0x8e00ull /* present, DPL 0, 64-bit interrupt gate (SDM 3A, 64-Bit Mode IDT) */
#define FIRST_IRQ 0x20
/* Interrupt stack table slots, filled by percpu.c. */
#define IST_NMI 1
#define IST_DF 2
#define IST_MC 3

struct gate {
	u64 low, high;
};
_Static_assert(sizeof(struct gate) == 16, "IDT gate");

extern const char idt_stubs[];
extern const u64 exception_fixups[][2];

static struct gate idt[256] __aligned_to(16);

static const char *const names[32] = {
	[0] = "#DE divide error", [1] = "#DB debug", [2] = "NMI", [3] = "#BP breakpoint", [4] = "#OF overflow",
	[5] = "#BR bound range", [6] = "#UD invalid opcode", [7] = "#NM no math", [8] = "#DF double fault",
	[10] = "#TS invalid TSS", [11] = "#NP segment not present", [12] = "#SS stack fault",
	[13] = "#GP general protection", [14] = "#PF page fault", [16] = "#MF math fault", [17] = "#AC alignment check",
	[18] = "#MC machine check", [19] = "#XM SIMD", [20] = "#VE virtualization", [21] = "#CP control protection",
};

static struct gate gate_make(u64 target, u8 ist)
{
	return (struct gate){
		.low = FIELD_GET(BITS(15, 0), target) | (u64)SEL_CODE << 16 | (u64)ist << 32 | GATE_INTERRUPT << 32 |
		       FIELD_GET(BITS(31, 16), target) << 48,
		.high = target >> 32,
	};
}

static u8 ist_of(unsigned vector)
{
	return vector == VEC_NMI ? IST_NMI : vector == VEC_DF ? IST_DF : vector == VEC_MC ? IST_MC : 0;
}

/* Every CPU writes the same gates. */
void exception_init_cpu(void)
{
	struct desc_ptr d = { sizeof(idt) - 1, (u64)idt };

	for (unsigned v = 0; v < ARRAY_SIZE(idt); v++)
		idt[v] = gate_make((u64)idt_stubs + v * STUB_SIZE, ist_of(v));
	lidt(&d);
}

u64 idt_base(void)
{
	return (u64)idt;
}

/* A push into the guard page faults, and so does the delivery of that fault: a double fault, on its own stack. */
static bool stack_overflow(const struct exc_frame *f)
{
	u64 below = (u64)this_cpu()->stack - read_cr2();

	return f->vector == VEC_DF && below && below <= PAGE_SIZE;
}

static void dump(const struct exc_frame *f)
{
	u64 offset = 0;
	const char *name = f->vector < ARRAY_SIZE(names) ? names[f->vector] : NULL;
	const char *symbol = symbol_find(f->rip, &offset);

	if (stack_overflow(f))
		log_line("PANIC: stack overflow on CPU %u", this_cpu()->index);
	log_line("PANIC: exception %lu %s, error %lx, on CPU %u", f->vector, name ? name : "(reserved)", f->error,
		 this_cpu()->index);
	log_line("rip %016lx %s+0x%lx  rflags %lx  cs %lx", f->rip, symbol ? symbol : "?", offset, f->rflags, f->cs);
	log_line("rax %016lx rbx %016lx rcx %016lx rdx %016lx", f->rax, f->rbx, f->rcx, f->rdx);
	log_line("rsi %016lx rdi %016lx rbp %016lx rsp %016lx", f->rsi, f->rdi, f->rbp, f->rsp);
	log_line("r8  %016lx r9  %016lx r10 %016lx r11 %016lx", f->r8, f->r9, f->r10, f->r11);
	log_line("r12 %016lx r13 %016lx r14 %016lx r15 %016lx", f->r12, f->r13, f->r14, f->r15);
	log_line("cr0 %lx cr2 %016lx cr3 %lx cr4 %lx", read_cr0(), read_cr2(), read_cr3(), read_cr4());
	backtrace_log(f->rip, f->rbp);
}

static bool fixup(struct exc_frame *f)
{
	for (unsigned i = 0; f->vector == VEC_GP && exception_fixups[i][0]; i++) {
		if (f->rip == exception_fixups[i][0]) {
			f->rip = exception_fixups[i][1];
			return true;
		}
	}
	return false;
}

void exception_entry(struct exc_frame *f)
{
	if (f->vector >= FIRST_IRQ) {
		irq_record((u8)f->vector);
		/* SDM 3A, Spurious Interrupt: its handler sends no EOI. */
		if (f->vector != IRQ_VEC_SPURIOUS)
			apic_eoi();
		return;
	}
	if (f->vector == VEC_NMI) {
		nmi_handle();
		return;
	}
	if (fixup(f))
		return;
	panic_begin();
	dump(f);
	panic_stop();
}
