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
