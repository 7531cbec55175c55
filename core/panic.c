/*
 * The end: panic, backtrace.
 *
 * Invariant: one CPU panics, all others stop at their next NMI; a panic inside a panic stops at once.
 */
#include <stdarg.h>
#include <stdio.h>

#include "core/abi.h"
#include "core/apic.h"
#include "core/console.h"
#include "core/exception.h"
#include "core/irq.h"
#include "core/mem.h"
#include "core/percpu.h"
#include "core/poweroff.h"
#include "core/symbols.h"
#include "core/x86.h"

#define BACKTRACE_MAX 24
#define EXIT_CODE_PANIC 0xff

static u32 panicking;   /* 0, or 1 + index of the CPU; atomic */
static bool exit_port;
static char message[512]; /* only the panicking CPU writes it */

void panic_set_exit_port(bool on)
{
	exit_port = on;
}

void panic_stop(void)
{
	if (exit_port)
		machine_exit_port(EXIT_CODE_PANIC);
	cpu_halt_forever();
}

void panic_begin(void)
{
	u32 nobody = 0, me = 1 + this_cpu()->index;

	irq_disable();
	if (!__atomic_compare_exchange_n(&panicking, &nobody, me, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
		if (nobody == me)
			panic_stop(); /* in the middle of our own message */
		cpu_halt_forever();
	}
	for (u32 i = 0; i < nr_cpus; i++)
		if (cpus[i].online && i != me - 1)
			apic_send_nmi(cpus[i].apic_id);
	console_break_lock();
}

void nmi_handle(void)
{
	u32 who = __atomic_load_n(&panicking, __ATOMIC_SEQ_CST);

	if (who && who != 1 + this_cpu()->index)
		cpu_halt_forever();
	irq_record(IRQ_VEC_KICK);
}

void panic(const char *fmt, ...)
{
	va_list args;

	panic_begin();
	va_start(args, fmt);
	vsniprintf(message, sizeof(message), fmt, args);
	va_end(args);
	log_line("PANIC: %s, on CPU %u", message, this_cpu()->index);
	backtrace_log(0, read_rbp());
	panic_stop();
}

/*
 * Frames are linked by RBP: [rbp] the caller's RBP, [rbp + 8] the return address. The chain ends at 0 (boot/ starts
 * stacks so), at an address that is not mapped, or where it does not go upwards.
 */
void backtrace_log(u64 rip, u64 rbp)
{
	unsigned shown = 0;

	for (unsigned n = 0; n < BACKTRACE_MAX; n++) {
		u64 offset = 0;
		const char *name = rip ? symbol_find(rip, &offset) : NULL;

		if (rip)
			log_line("  #%u %016lx %s+0x%lx", shown++, rip, name ? name : "?", offset);
		if (!rbp || !IS_ALIGNED(rbp, 8) || !mem_is_mapped((const void *)rbp, 16))
			return;
		const u64 *frame = (const u64 *)rbp;
		rbp = frame[0] > rbp ? frame[0] : 0;
		rip = frame[1];
		if (!rip)
			return;
	}
}
