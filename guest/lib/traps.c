/*
 * The guest's IDT, its interrupt handlers, its local APIC, and the dump after an exception (traps.h has the invariant).
 */
#include "guest/lib/traps.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "guest/lib/nest.h"
#include "guest/lib/x86.h"

#define TRAP_STUB_SIZE 16
#define VECTOR_SPURIOUS 0xff
#define PIC_MASTER_MASK 0x21
#define PIC_SLAVE_MASK 0xa1
#define X2APIC(reg) (MSR_X2APIC_BASE + (reg))
#define X2APIC_ID X2APIC(0x02)
#define X2APIC_TPR X2APIC(0x08)
#define X2APIC_EOI X2APIC(0x0b)
#define X2APIC_SVR X2APIC(0x0f)
#define X2APIC_ISR_LAST X2APIC(0x17) /* vectors 224 to 255 */
#define X2APIC_SVR_ENABLE BIT(8)
#define CPUID1_ECX_X2APIC BIT(21)

struct idt_gate { u16 offset_low, selector, attributes, offset_mid; u32 offset_high, reserved; } __packed;
_Static_assert(sizeof(struct idt_gate) == 16, "SDM 3A, 64-Bit IDT Gate Descriptors");
struct tss64 { u32 reserved0; u64 rsp[3], reserved1, ist[7], reserved2; u16 reserved3, iomap; } __packed;
_Static_assert(sizeof(struct tss64) == 104, "SDM 3A, 64-Bit TSS Format");

extern u8 trap_stubs[], fault_resume[];
extern u64 guest_gdt[], fault_resume_rsp;

static struct idt_gate idt[256] __aligned_to(16);
static struct tss64 tss;
static u8 double_fault_stack[4096] __aligned_to(16);
static u8 ring0_stack[8192] __aligned_to(16); /* for traps from CPL 3 */
static struct { irq_handler fn; void *arg; } handlers[256];
static u64 nr_taken, nr_unbound, nr_empty;
static bool nmi_awaited;

static struct idt_gate gate_make(u64 target, u8 ist)
{
	return (struct idt_gate){
		.offset_low = (u16)target, .selector = SEL_CODE, .attributes = (u16)(0x8e00 | ist),
		.offset_mid = (u16)(target >> 16), .offset_high = (u32)(target >> 32),
	};
}

static void tss_load(void)
{
	u64 base = (u64)&tss, limit = sizeof(tss) - 1;
	u64 *d = &guest_gdt[SEL_TSS / 8];

	tss.rsp[0] = (u64)(ring0_stack + sizeof(ring0_stack));
	tss.ist[0] = (u64)(double_fault_stack + sizeof(double_fault_stack));
	tss.iomap = sizeof(tss);
	d[0] = limit | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
	d[1] = base >> 32;
	ltr(SEL_TSS);
}

void traps_init(void)
{
	struct desc_ptr p = { .limit = sizeof(idt) - 1, .base = (u64)idt };

	for (u32 v = 0; v < ARRAY_SIZE(idt); v++)
		idt[v] = gate_make((u64)trap_stubs + v * TRAP_STUB_SIZE, v == VEC_DF ? 1 : 0);
	tss_load();
	lidt(&p);
}

bool apic_init(void)
{
	if (!(cpuid(1, 0).ecx & CPUID1_ECX_X2APIC))
		return false;
	outb(PIC_MASTER_MASK, 0xff); /* its vectors, as a PC's firmware leaves them, are those of exceptions */
	outb(PIC_SLAVE_MASK, 0xff);
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | APIC_BASE_EN);
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | APIC_BASE_EN | APIC_BASE_EXTD);
	wrmsr(X2APIC_TPR, 0);
	wrmsr(X2APIC_SVR, X2APIC_SVR_ENABLE | VECTOR_SPURIOUS);
	return true;
}

u32 apic_id(void) { return (u32)rdmsr(X2APIC_ID); }

void irq_bind(u8 vector, irq_handler fn, void *arg)
{
	ASSERT(vector >= 32 && vector != VECTOR_SPURIOUS);
	WRITE_ONCE(handlers[vector].fn, NULL); /* never the new function with the old argument */
	WRITE_ONCE(handlers[vector].arg, arg);
	WRITE_ONCE(handlers[vector].fn, fn);
}

bool nmi_expected(void) { return READ_ONCE(nmi_awaited); }
void nmi_expect(void) { WRITE_ONCE(nmi_awaited, true); }

u64 irq_taken(void) { return READ_ONCE(nr_taken); }
u64 irq_unbound(void) { return READ_ONCE(nr_unbound); }
u64 irq_empty(void) { return READ_ONCE(nr_empty); }

/* No EOI (SDM 3A, Spurious Interrupt), unless it is in service all the same: traps.h, irq_empty. */
static void spurious_handle(void)
{
	if (!(rdmsr(X2APIC_ISR_LAST) & BIT(31)))
		return;
	__atomic_fetch_add(&nr_empty, 1, __ATOMIC_RELAXED);
	wrmsr(X2APIC_EOI, 0);
}

static void irq_handle(u8 vector)
{
	irq_handler fn = READ_ONCE(handlers[vector].fn);

	__atomic_fetch_add(&nr_taken, 1, __ATOMIC_RELAXED);
	if (fn)
		fn(handlers[vector].arg);
	else
		__atomic_fetch_add(&nr_unbound, 1, __ATOMIC_RELAXED);
	wrmsr(X2APIC_EOI, 0);
}

static const char *exception_name(u8 vector)
{
	static const char *const names[32] = {
		[0] = "#DE", [1] = "#DB", [2] = "NMI", [3] = "#BP", [4] = "#OF", [5] = "#BR", [6] = "#UD", [7] = "#NM", [8] = "#DF",
		[10] = "#TS", [11] = "#NP", [12] = "#SS", [13] = "#GP", [14] = "#PF", [16] = "#MF", [17] = "#AC", [18] = "#MC",
		[19] = "#XM", [20] = "#VE", [21] = "#CP",
	};
	return names[vector] ? names[vector] : "reserved exception";
}

static void dump_backtrace(u64 rbp)
{
	extern u8 guest_image_start[], guest_image_end[];
	u64 lo = (u64)guest_image_start, hi = (u64)guest_image_end;

	printf("guest: called from");
	for (u32 i = 0; i < 12 && rbp >= lo && rbp < hi - 16 && IS_ALIGNED(rbp, 8); i++) {
		const u64 *frame = (const u64 *)rbp;
		printf(" %llx", (unsigned long long)frame[1]);
		if (frame[0] <= rbp)
			break;
		rbp = frame[0];
	}
	printf("\n");
}

static void dump_frame(const struct trap_frame *f, u8 vector)
{
	const u64 *r = &f->rax;
	static const char names[15][4] = { "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "r8", "r9", "r10", "r11", "r12",
					   "r13", "r14", "r15" };

	printf("guest: exception %u %s, error %llx, at %llx:%llx, rsp %llx, rflags %llx, cr2 %llx\n", vector,
		exception_name(vector), (unsigned long long)f->error, (unsigned long long)f->cs, (unsigned long long)f->rip,
		(unsigned long long)f->rsp, (unsigned long long)f->rflags, (unsigned long long)read_cr2());
	for (u32 i = 0; i < 15; i++)
		printf("%s%s=%llx%s", i % 5 ? " " : "guest:   ", names[i], (unsigned long long)r[i], i % 5 == 4 ? "\n" : "");
	dump_backtrace(f->rbp);
}

static struct trap_frame caught;
const struct trap_frame *fault_frame(void) { return &caught; }

/* Continue in fault_catch() instead of at the fault. */
static void fault_leave(struct trap_frame *f, u8 vector)
{
	caught = *f;
	f->rip = (u64)fault_resume;
	f->cs = SEL_CODE;
	f->ss = SEL_DATA;
	f->rsp = fault_resume_rsp;
	f->rflags &= ~(RFLAGS_TF | RFLAGS_IF);
	f->rax = vector;
}

void trap_handle(struct trap_frame *f)
{
	u8 vector = (u8)f->vector;

	if (vector == VECTOR_SPURIOUS) {
		spurious_handle();
	} else if (vector >= 32) {
		irq_handle(vector);
	} else if (fault_resume_rsp && vector != VEC_DF && vector != VEC_NMI && vector != VEC_MC) {
		fault_leave(f, vector);
	} else if (vector == VEC_NMI && READ_ONCE(nmi_awaited)) {
		WRITE_ONCE(nmi_awaited, false);
	} else {
		dump_frame(f, vector);
		nest_exit(EXIT_EXCEPTION);
	}
}

void panic(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("guest: panic: ");
	vprintf(fmt, ap);
	printf("\n");
	va_end(ap);
	nest_exit(EXIT_PANIC);
}
