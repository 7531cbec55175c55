/*
 * The console: our own lines and those of our VMs, each line whole, marked by where it comes from.
 *
 * Own lines begin with "[L<depth>] ", a VM's lines with "[<vm name>] " before whatever the VM printed: an outer
 * always puts its mark in front, so a guest cannot forge a line of another. Lines of concurrent CPUs never mix.
 */
#ifndef CORE_CONSOLE_H
#define CORE_CONSOLE_H

#include <stdarg.h>

#include "core/types.h"

/* 16550 at COM1 (if it answers). As early as possible; depth is asked from CPUID. */
void console_init(void);
/* One line (a '\n' is added). Any CPU, any time after console_init. At most 1023 characters, cut beyond that. */
void log_line(const char *fmt, ...) __printf_like(1, 2);
/* The same, at most `burst` times per call site until the counter is reset: for events that a guest can cause. */
#define log_limited(burst, ...) do { \
	static u32 n_; \
	u32 seen_ = __atomic_fetch_add(&n_, 1, __ATOMIC_RELAXED); \
	if (seen_ < (burst)) \
		log_line(__VA_ARGS__); \
	else if (seen_ == (burst)) \
		log_line("(further messages of this kind are only counted)"); \
} while (0)
/* A machine-readable record: prints "@report " and the JSON object, which must fit one line. */
void log_report(const char *fmt, ...) __printf_like(1, 2);

/*
 * Input. present: there is a UART. on: interrupt on each received character (ISA interrupt CONSOLE_IRQ). read: one character, or
 * CONSOLE_EMPTY, or CONSOLE_LOST once when some were lost before the next. Boot CPU.
 */
#define CONSOLE_IRQ 4
#define CONSOLE_EMPTY (-1)
#define CONSOLE_LOST (-2)
bool console_present(void);
void console_input_on(void);
int console_read(void);

/* Line buffer of one VM's serial port. */
struct console_line {
	const char *tag;   /* the VM's name */
	u32 len;
	char buf[512];
};
/* A character from a VM; the line goes out at '\n' or when full ('\r' and NUL are dropped). */
void console_vm_putc(struct console_line *l, char c);
/* What is left of a line when the VM ends. */
void console_vm_flush(struct console_line *l);
/* The panic path: take the console whatever its lock says. */
void console_break_lock(void);

/* snprintf of the C library, integers only (newlib's sniprintf); size in bytes; result as C99. */
int format(char *buf, size_t size, const char *fmt, ...) __printf_like(3, 4);
int format_va(char *buf, size_t size, const char *fmt, va_list ap);

#endif
