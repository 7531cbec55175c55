/*
 * core/apic.c on a model of an x2APIC: which vectors it lets through once a CPU is set up (SDM 3A, Interrupt, Task, and Processor
 * Priority).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/apic.h"
#include "core/irq.h"
#include "core/mem.h"
#include "core/time.h"
#include "core/x86.h"

#define X2APIC(offset) (MSR_X2APIC_BASE + (offset) / 16)
#define TPR X2APIC(0x80)
#define SVR X2APIC(0xf0)
#define NR_X2APIC 0x100

static struct {
	u64 base, reg[NR_X2APIC];
	bool enabled_open; /* software-enabled while it let vectors of exceptions through */
} apic;

/* Would it be delivered with nothing in service? */
static bool delivered(u32 vector) { return (vector >> 4) > (apic.reg[TPR - MSR_X2APIC_BASE] >> 4); }

u64 rdmsr(u32 msr)
{
	if (msr >= MSR_X2APIC_BASE && msr < MSR_X2APIC_BASE + NR_X2APIC)
		return apic.reg[msr - MSR_X2APIC_BASE];
	return msr == MSR_APIC_BASE ? apic.base : 0;
}

void wrmsr(u32 msr, u64 v)
{
	if (msr == MSR_APIC_BASE)
		apic.base = v;
	if (msr >= MSR_X2APIC_BASE && msr < MSR_X2APIC_BASE + NR_X2APIC)
		apic.reg[msr - MSR_X2APIC_BASE] = v;
	apic.enabled_open |= (apic.reg[SVR - MSR_X2APIC_BASE] & BIT(8)) && delivered(31);
}

struct cpuid_regs cpuid(u32 leaf, u32 subleaf)
{
	(void)subleaf;
	return (struct cpuid_regs){ .ecx = leaf == 1 ? (u32)(BIT(21) | BIT(24)) : 0 }; /* x2APIC, TSC deadline */
}

u64 rdtsc(void) { return 0; }
u8 inb(u16 port) { return (void)port, 0xff; }
u32 inl(u16 port) { return (void)port, ~0u; }
void outb(u16 port, u8 v) { (void)port, (void)v; }
void *mmio_map(hpa_t a, u64 len) { return (void)a, (void)len, NULL; }
void delay_us(u64 us) { (void)us; }
u64 tsc_khz(void) { return 1000; }
u64 wait_begin(void) { return 0; }
void wait_end(u64 start) { (void)start; }
void wait_pause(u32 *polls) { (void)polls; }

static void test_exceptions_are_no_interrupts(void **state)
{
	(void)state;
	apic_init();
	for (u32 vector = 0; vector < 32; vector++)
		assert_false(delivered(vector));
	for (u32 vector = 32; vector < 256; vector++)
		assert_true(delivered(vector));
	assert_false(apic.enabled_open);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_exceptions_are_no_interrupts) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
