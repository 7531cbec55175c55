/*
 * Guests that misbehave at the end: they never return. What the levels below must do is to survive them.
 */
#include <stdio.h>

#include "guest/lib/memory.h"
#include "guest/lib/nest.h"
#include "guest/lib/x86.h"
#include "guest/work/work.h"

u32 work_spin(const struct cmdline *c)
{
	(void)c;
	printf("guest: spinning\n");
	nest_phase(PHASE_TRAFFIC);
	for (;;)
		compiler_barrier();
}

u32 work_hlt(const struct cmdline *c)
{
	(void)c;
	printf("guest: halting with interrupts off\n");
	nest_phase(PHASE_TRAFFIC);
	cpu_halt_forever();
	return 1;
}

/* An exception without an IDT. */
u32 work_triplefault(const struct cmdline *c)
{
	struct desc_ptr none = { 0, 0 };

	(void)c;
	printf("guest: triple fault\n");
	fflush(stdout);
	lidt(&none);
	trap_undefined();
	return 1;
}

/* An exception with one: shows the dump, and ends by code 250. */
u32 work_exception(const struct cmdline *c)
{
	(void)c;
	printf("guest: undefined instruction\n");
	trap_undefined();
	return 1;
}

/* Ends with its APIC timer running, periodic and with the shortest period there is: nobody is left whom it could interrupt. */
#define X2APIC_LVT_TIMER (MSR_X2APIC_BASE + 0x32)
#define X2APIC_INITIAL_COUNT (MSR_X2APIC_BASE + 0x38)
#define X2APIC_DIVIDE (MSR_X2APIC_BASE + 0x3e)
#define LVT_MASKED BIT(16)
#define LVT_PERIODIC BIT(17)
#define DIVIDE_BY_1 0xb
u32 work_armed(const struct cmdline *c)
{
	(void)c;
	wrmsr(X2APIC_DIVIDE, DIVIDE_BY_1);
	wrmsr(X2APIC_LVT_TIMER, LVT_PERIODIC | LVT_MASKED | 0x50);
	wrmsr(X2APIC_INITIAL_COUNT, 1);
	printf("guest: ending with the timer armed\n");
	return 0;
}

/* The CPU finds a translation there, but no bytes to execute. */
u32 work_nowhere(const struct cmdline *c)
{
	void (*fn)(void) = (void (*)(void))memory_device_window();

	(void)c;
	printf("guest: jumping to %llx\n", (unsigned long long)memory_device_window());
	fflush(stdout);
	fn();
	return 1;
}
