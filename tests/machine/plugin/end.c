/*
 * The end of the machine.
 *
 * Invariant: the reason is complete in the mailbox before `end` is set, and `end` is set before the process exits, so
 * the runner never has to guess from an exit status.
 */
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/machine/plugin/plugin.h"

#define COM1_LSR  0x3FD
#define LSR_EMPTY 0x60      /* holding and shift registers */
#define POLL_TICKS 1000

void machine_end(enum machine_end end, uint32_t code, const char *fmt, ...)
{
	struct mailbox *m = mailbox();
	char text[sizeof m->end_text];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	log_line("end: %s", text);
	clock_end();
	for (unsigned i = 0; i < sizeof text && (i == 0 || text[i - 1]); i++)
		m->end_text[i] = text[i];
	m->end_code = code;
	__atomic_store_n(&m->end, end, __ATOMIC_RELEASE);
	fflush(NULL);
	_exit(end == END_ERROR);
}

static void end_when_sent(void *code)
{
	if ((bochs_port(&bx_devices, COM1_LSR, 1) & LSR_EMPTY) == LSR_EMPTY)
		machine_end(END_EXIT, *(uint8_t *)code, "exit code %u by port F4", *(uint8_t *)code);
}

void machine_exit(uint8_t code)
{
	static bool ending;
	static uint8_t first;

	if (ending)
		return;
	ending = true;
	first = code;
	bochs_timer(&bx_pc_system, &first, end_when_sent, POLL_TICKS, true, true, "nestling-exit");
}
