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

void machine_end(enum machine_end end, uint32_t code, const char *fmt, ...)
{
	struct mailbox *m = mailbox();
	char text[sizeof m->end_text];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	log_line("end: %s", text);
	for (unsigned i = 0; i < sizeof text && (i == 0 || text[i - 1]); i++)
		m->end_text[i] = text[i];
	m->end_code = code;
	__atomic_store_n(&m->end, end, __ATOMIC_RELEASE);
	fflush(NULL);
	_exit(end == END_ERROR);
}
