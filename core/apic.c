/*
 * Our own local APICs (SDM 3A, Advanced Programmable Interrupt Controller (APIC)).
 *
 * Invariant: registers are named by their xAPIC offset; in x2APIC mode offset o is MSR 800h + o/16 (SDM 3A, x2APIC
 * Register Address Space). All CPUs run in the same mode, which apic_init chose.
 */
#include "core/apic.h"
#include "core/console.h"
#include "core/irq.h"
#include "core/mem.h"
#include "core/percpu.h"
#include "core/time.h"
#include "core/x86.h"

#define APIC_ID 0x20
#define APIC_VERSION 0x30
#define APIC_TPR 0x80
#define APIC_EOI 0xb0
#define APIC_SVR 0xf0
#define APIC_SVR_ENABLE BIT(8)
/*
 * Our task priority: vectors 0-31, which are exceptions to us, are never delivered, whoever sends them; ours begin above (core/irq.h).
 * VM entries and exits leave this register alone, and no guest reaches it (SDM 3A, Task and Processor Priorities).
 */
#define APIC_TPR_ABOVE_EXCEPTIONS 0x10
#define APIC_ISR 0x100
#define APIC_ESR 0x280
#define APIC_LVT_CMCI 0x2f0
#define APIC_ICR 0x300
#define APIC_ICR_HIGH 0x310
#define APIC_ICR_PENDING BIT(12)
#define APIC_LVT_TIMER 0x320
#define APIC_LVT_TIMER_DEADLINE (2ull << 17)
#define APIC_LVT_THERMAL 0x330
#define APIC_LVT_PERF 0x340
#define APIC_LVT_LINT0 0x350
#define APIC_LVT_LINT1 0x360
#define APIC_LVT_ERROR 0x370
#define APIC_LVT_MASKED BIT(16)
#define APIC_TIMER_INITIAL 0x380
#define APIC_TIMER_CURRENT 0x390
#define APIC_TIMER_DIVIDE 0x3e0
#define APIC_TIMER_DIVIDE_1 0xb

/* Interrupt Command Register: delivery mode in 10:8, level in 14. */
#define ICR_ASSERT BIT(14)
#define ICR_NMI (4ull << 8)
#define ICR_INIT (5ull << 8)
#define ICR_STARTUP (6ull << 8)

/* The 8259A pair (8259A data sheet, Initialization Command Words). */
#define PIC1 0x20
#define PIC2 0xa0
#define PIC_ICW1 0x11     /* edge triggered, cascaded, ICW4 follows */
#define PIC_VECTORS 0x20  /* what still comes is recorded as an interrupt that nobody bound */
#define PIC_ICW4 0x01     /* 8086 mode */

#define CPUID_1_ECX_X2APIC BIT(21)
#define CPUID_1_ECX_DEADLINE BIT(24)
#define APIC_BASE_ADDR BITS(51, 12)
#define APIC_SIZE 4096
#define ICR_WAIT_US 1000
#define CALIBRATE_US 10000

static bool x2;
static bool has_deadline;
static u64 timer_ticks, timer_tsc; /* one-shot timer, when there is no TSC deadline: so many ticks in so much TSC */
static char *xapic;        /* registers in xAPIC mode */

static u32 apic_read(u32 reg)
{
	return x2 ? (u32)rdmsr(MSR_X2APIC_BASE + reg / 16) : mmio_read32(xapic + reg);
}

static void apic_write(u32 reg, u32 v)
{
	if (x2)
		wrmsr(MSR_X2APIC_BASE + reg / 16, v);
	else
		mmio_write32(xapic + reg, v);
}

u32 apic_id_from_cpuid(void)
{
	if (cpuid(0, 0).eax >= 0xb && cpuid(0xb, 0).ebx)
		return cpuid(0xb, 0).edx;
	return cpuid(1, 0).ebx >> 24;
}

bool apic_is_x2(void)
{
	return x2;
}

u32 apic_id(void)
{
	return x2 ? apic_read(APIC_ID) : apic_read(APIC_ID) >> 24;
}

void apic_eoi(void)
{
	apic_write(APIC_EOI, 0);
}

/* ---- start ---- */

static void lvt_mask_all(void)
{
	u32 max = apic_read(APIC_VERSION) >> 16 & 0xff; /* highest LVT entry (SDM 3A, Local APIC Version Register) */
	static const struct { u32 reg; u8 needs; } lvt[] = {
		{ APIC_LVT_TIMER, 0 }, { APIC_LVT_LINT0, 1 }, { APIC_LVT_LINT1, 2 }, { APIC_LVT_ERROR, 3 },
		{ APIC_LVT_PERF, 4 }, { APIC_LVT_THERMAL, 5 }, { APIC_LVT_CMCI, 6 },
	};

	for (u32 i = 0; i < ARRAY_SIZE(lvt); i++)
		if (max >= lvt[i].needs)
			apic_write(lvt[i].reg, APIC_LVT_MASKED);
}

/* What firmware left in service would block ours: one EOI for each. */
static void drop_in_service(void)
{
	for (u32 n = 0; n < 256; n++) {
		u32 any = 0;

		for (u32 i = 0; i < 8; i++)
			any |= apic_read(APIC_ISR + 16 * i);
		if (!any)
			return;
		apic_eoi();
	}
}

/* Mode and vector once; from here on only the deadline or the count changes. */
static void timer_open(void)
{
	apic_write(APIC_TIMER_DIVIDE, APIC_TIMER_DIVIDE_1);
	apic_write(APIC_TIMER_INITIAL, 0);
	apic_write(APIC_LVT_TIMER, has_deadline ? APIC_LVT_TIMER_DEADLINE | IRQ_VEC_TIMER : IRQ_VEC_TIMER);
	mfence(); /* in xAPIC mode a write of the deadline could overtake it (SDM 3A, TSC-Deadline Mode) */
	apic_timer_set(0);
}

void apic_init_cpu(void)
{
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | APIC_BASE_EN);
	if (x2) /* two steps: disabled to x2APIC at once is not allowed (SDM 3A, x2APIC State Transitions) */
		wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | APIC_BASE_EXTD);
	apic_write(APIC_TPR, APIC_TPR_ABOVE_EXCEPTIONS);
	apic_write(APIC_SVR, APIC_SVR_ENABLE | IRQ_VEC_SPURIOUS);
	lvt_mask_all();
	apic_write(APIC_ESR, 0);
	drop_in_service();
	timer_open();
}

/* As a ratio to the TSC, so that it does not matter whether time_init has run yet. */
static void timer_calibrate(void)
{
	apic_write(APIC_TIMER_INITIAL, ~0u);
	u64 start = rdtsc();
	delay_us(CALIBRATE_US);
	timer_ticks = ~0u - apic_read(APIC_TIMER_CURRENT);
	timer_tsc = rdtsc() - start;
	apic_write(APIC_TIMER_INITIAL, 0);
	if (!timer_ticks)
		log_line("apic: the timer does not count: timers will not fire");
}

/* A BIOS leaves the 8259s running, with vectors that are exceptions to us: move them, then mask all. */
static void pic_silence(void)
{
	outb(PIC1, PIC_ICW1);
	outb(PIC1 + 1, PIC_VECTORS);
	outb(PIC1 + 1, BIT(2)); /* the second one sits on input 2 */
	outb(PIC1 + 1, PIC_ICW4);
	outb(PIC2, PIC_ICW1);
	outb(PIC2 + 1, PIC_VECTORS + 8);
	outb(PIC2 + 1, 2);
	outb(PIC2 + 1, PIC_ICW4);
	outb(PIC1 + 1, 0xff);
	outb(PIC2 + 1, 0xff);
}

void apic_init(void)
{
	u32 features = cpuid(1, 0).ecx;
	u64 base = rdmsr(MSR_APIC_BASE);

	x2 = features & CPUID_1_ECX_X2APIC;
	has_deadline = features & CPUID_1_ECX_DEADLINE;
	if (!x2) {
		xapic = mmio_map(HPA(base & APIC_BASE_ADDR), APIC_SIZE);
		if (!xapic)
			panic("apic: cannot map the registers at %lx", (u64)(base & APIC_BASE_ADDR));
	}
	pic_silence();
	apic_init_cpu();
	if (!has_deadline)
		timer_calibrate();
	log_line("apic: %s, id %u, timer %s", x2 ? "x2APIC" : "xAPIC", apic_id(), has_deadline ? "TSC deadline" : "one-shot");
}

/* ---- interprocessor interrupts ---- */

/*
 * In x2APIC mode a write to the ICR does not wait for earlier stores: MFENCE and LFENCE make what we stored for the other
 * CPU visible first (SDM 3A, MSR Access in x2APIC Mode).
 */
static void icr_send(u32 dest, u64 command)
{
	if (x2) {
		mfence();
		lfence();
		wrmsr(MSR_X2APIC_BASE + APIC_ICR / 16, (u64)dest << 32 | command);
		return;
	}
	if (!xapic)
		return; /* a panic before apic_init */
	if (!wait_until(!(apic_read(APIC_ICR) & APIC_ICR_PENDING), ICR_WAIT_US))
		log_limited(4, "apic: the last interprocessor interrupt was not accepted");
	apic_write(APIC_ICR_HIGH, dest << 24);
	apic_write(APIC_ICR, (u32)command);
}

void apic_send(u32 apic_id, u8 vector)
{
	icr_send(apic_id, ICR_ASSERT | vector);
}

void apic_send_nmi(u32 apic_id)
{
	icr_send(apic_id, ICR_ASSERT | ICR_NMI);
}

void apic_send_init(u32 apic_id)
{
	icr_send(apic_id, ICR_ASSERT | ICR_INIT);
}

void apic_send_sipi(u32 apic_id, hpa_t page)
{
	ASSERT(page.v < 0x100000 && IS_ALIGNED(page.v, PAGE_SIZE));
	icr_send(apic_id, ICR_ASSERT | ICR_STARTUP | page.v >> PAGE_SHIFT);
}

/* ---- timer ---- */

static void oneshot_set(u64 tsc)
{
	u64 now = rdtsc(), ticks = 0;

	if (tsc && timer_ticks) {
		/* Too far for the counter: fires early, and core/time.c sets it again. */
		u64 ahead = tsc > now ? MIN(tsc - now, 1ull << 31) : 1;

		ticks = MIN(MAX(ahead * timer_ticks / timer_tsc, 1ull), 0xffffffffull);
	}
	apic_write(APIC_TIMER_INITIAL, (u32)ticks);
}

/* One register write: at an inner level each access may be an exit. */
void apic_timer_set(u64 tsc)
{
	if (has_deadline)
		wrmsr(MSR_TSC_DEADLINE, tsc);
	else
		oneshot_set(tsc);
}
