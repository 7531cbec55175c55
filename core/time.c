/*
 * TSC frequency, delays, timers.
 *
 * Invariant: each CPU's list of armed timers is sorted by deadline, and its local APIC timer is set to the first one.
 */
#include "core/abi.h"
#include "core/acpi.h"
#include "core/apic.h"
#include "core/console.h"
#include "core/hypercall.h"
#include "core/irq.h"
#include "core/time.h"
#include "core/x86.h"

#define PM_TIMER_HZ 3579545u /* ACPI, Power Management Timer */
#define PM_TIMER_STUCK 1000u
/*
 * TSC ticks between two looks at the PM timer: a look may take far longer than its instructions (port I/O that an outer or
 * an emulator serves), and must not weigh in what waits without port I/O are measured by.
 */
#define PM_TIMER_PAUSE 1000000u
#define QUICK_POLLS 100u
#define POLL_PAUSE_US 4
#define PIT_HZ 1193182u
#define PIT_CHANNEL2 0x42
#define PIT_COMMAND 0x43
#define PIT_GATE 0x61        /* bit 0 gate of channel 2, bit 1 speaker, bit 5 output of channel 2 */
#define CALIBRATE_MS 10
#define PIT_POLLS 10000000u

/* Until time_init: faster than any CPU, so that waits are rather too long than too short. */
static u64 khz = 6000000;

u64 tsc_khz(void)
{
	return khz;
}

u64 wait_begin(void)
{
	return rdtsc();
}

void wait_end(u64 start)
{
	this_cpu()->wait_tsc += rdtsc() - start;
}

void wait_pause(u32 *polls)
{
	u64 until = rdtsc() + (++*polls > QUICK_POLLS ? us_to_tsc(POLL_PAUSE_US) : 0);
	do
		cpu_relax();
	while (rdtsc() < until);
}

void delay_us(u64 us)
{
	/* The condition never comes true: this is the wait itself. */
	(void)!wait_until(false, us);
}

/* ---- calibration ---- */

static u64 khz_from_outer(void)
{
	return outer_present() ? cpuid(NEST_CPUID_TSC, 0).eax : 0;
}

/*
 * TSC ticks during CALIBRATE_MS by the ACPI PM timer, which runs at a fixed frequency. It has 24 or 32 bits; of the
 * difference 24 are enough. 0 if it stands still.
 */
static u64 khz_from_pm_timer(void)
{
	const struct acpi_header *table = acpi_find("FACP");
	struct acpi_fadt fadt;
	const u32 goal = PM_TIMER_HZ / 1000 * CALIBRATE_MS;

	if (!table || acpi_parse_fadt(table, table->length, &fadt) || !fadt.pm_timer_port)
		return 0;
	u32 first = inl(fadt.pm_timer_port), ticks = 0;
	u64 start = rdtsc();
	for (u32 still = 0; ticks < goal;) {
		for (u64 next = rdtsc() + PM_TIMER_PAUSE; rdtsc() < next;)
			cpu_relax();
		u32 now = (inl(fadt.pm_timer_port) - first) & 0xffffff;

		still = now == ticks ? still + 1 : 0;
		if (still == PM_TIMER_STUCK) {
			log_line("time: the ACPI PM timer stands still");
			return 0;
		}
		ticks = now;
	}
	wait_end(start);
	return (rdtsc() - start) * PM_TIMER_HZ / ticks / 1000;
}

/* The same by channel 2 of the 8254: mode 0, its output rises when the count is done. */
static u64 khz_from_pit(void)
{
	const u32 count = PIT_HZ / 1000 * CALIBRATE_MS;
	u8 gate = inb(PIT_GATE);
	u32 polls = 0;

	outb(PIT_GATE, (gate & 0xfc) | 1);
	outb(PIT_COMMAND, 0xb0); /* channel 2, low and high byte, mode 0 */
	outb(PIT_CHANNEL2, count & 0xff);
	outb(PIT_CHANNEL2, count >> 8);
	u64 start = rdtsc();
	while (!(inb(PIT_GATE) & 0x20) && polls < PIT_POLLS)
		polls++;
	u64 ticks = rdtsc() - start;
	outb(PIT_GATE, gate);
	/* Done at once: nobody is there, ports read as ones. */
	return polls > 10 && polls < PIT_POLLS ? ticks / CALIBRATE_MS : 0;
}

/* SDM 2A, CPUID, leaf 15h: crystal frequency times EBX/EAX. */
static u64 khz_from_cpuid(void)
{
	if (cpuid(0, 0).eax < 0x15)
		return 0;
	struct cpuid_regs r = cpuid(0x15, 0);
	return r.eax && r.ebx && r.ecx ? (u64)r.ecx * r.ebx / r.eax / 1000 : 0;
}

static void timer_irq(void *arg, u8 vector);

void time_init(void)
{
	static const struct { u64 (*ask)(void); const char *name; } sources[] = {
		{ khz_from_outer, "the outer hypervisor" },
		{ khz_from_pm_timer, "the ACPI PM timer" },
		{ khz_from_pit, "the 8254" },
		{ khz_from_cpuid, "CPUID 15h" }, /* last: emulators claim figures that their TSC does not keep */
	};

	irq_bind_fixed(IRQ_VEC_TIMER, timer_irq);
	for (u32 i = 0; i < ARRAY_SIZE(sources); i++) {
		u64 got = sources[i].ask();

		if (got >= 1000) {
			khz = got;
			log_line("time: TSC runs at %lu.%03lu MHz, says %s", khz / 1000, khz % 1000, sources[i].name);
			return;
		}
	}
	log_line("time: nothing tells the TSC's frequency; %lu MHz assumed, waits may be too long", khz / 1000);
}

/* ---- timers ---- */

static void program_first(void)
{
	const struct timer *first = this_cpu()->timers;

	apic_timer_set(first ? first->deadline : 0);
	if (first && first->deadline <= rdtsc())
		irq_record(IRQ_VEC_TIMER); /* so that the next irq_poll() sees it, whether interrupts are open or not */
}

static void list_remove(struct timer *t)
{
	for (struct timer **p = &this_cpu()->timers; *p; p = &(*p)->next) {
		if (*p == t) {
			*p = t->next;
			break;
		}
	}
	t->armed = false;
}

void timer_arm(struct timer *t, u64 deadline)
{
	struct timer **p = &this_cpu()->timers, *first = *p;

	if (t->armed) {
		ASSERT(t->cpu == this_cpu()->index);
		list_remove(t);
	}
	t->deadline = deadline;
	t->cpu = this_cpu()->index;
	t->armed = true;
	while (*p && (*p)->deadline <= deadline)
		p = &(*p)->next;
	t->next = *p;
	*p = t;
	if (first == t || this_cpu()->timers == t)
		program_first();
}

void timer_cancel(struct timer *t)
{
	if (!t->armed)
		return;
	ASSERT(t->cpu == this_cpu()->index);
	bool was_first = this_cpu()->timers == t;
	list_remove(t);
	if (was_first)
		program_first();
}

/* May come early (a counter too short for the deadline) or for a timer that was cancelled. */
static void timer_irq(void *arg, u8 vector)
{
	struct timer *t;
	u64 now = rdtsc();

	(void)arg;
	(void)vector;
	while ((t = this_cpu()->timers) && t->deadline <= now) {
		list_remove(t);
		t->fn(t->arg);
	}
	program_first();
}
