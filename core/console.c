/*
 * The console on COM1 (16550, "PC16550D Universal Asynchronous Receiver/Transmitter", Registers).
 *
 * Invariant: a line goes out whole under the lock, in bursts as long as the transmitter takes without being asked again.
 * A line starts with a mark of ours, and control characters of a VM do not get through, so no VM can imitate another's.
 */
#include <stdio.h>
#include <string.h>

#include "core/console.h"
#include "core/hypercall.h"
#include "core/percpu.h"
#include "core/spinlock.h"
#include "core/x86.h"

#define COM1 0x3f8
#define UART_DATA (COM1 + 0)
#define UART_IER (COM1 + 1)
#define UART_FCR (COM1 + 2)
#define UART_IIR (COM1 + 2)
#define UART_IIR_FIFOS 0xc0
#define UART_LCR (COM1 + 3)
#define UART_LCR_8N1 0x03
#define UART_LCR_DLAB 0x80
#define UART_MCR (COM1 + 4)
#define UART_MCR_DTR_RTS 0x03
#define UART_MCR_OUT2 BIT(3) /* opens the interrupt line on a PC */
#define UART_IER_RX 0x01
#define UART_LSR (COM1 + 5)
#define UART_LSR_DR BIT(0)
#define UART_LSR_OVERRUN BIT(1)
#define UART_LSR_THRE BIT(5)
#define UART_FCR_ENABLE_CLEAR 0x07
#define DIVISOR_115200 1
#define FIFO_SIZE 16
/* 16 characters at 115200 baud take 1.4 ms; a transmitter that stays busy for this many reads is gone. */
#define MAX_POLLS 100000
#define LINE_MAX 1024

static bool present;
static u32 burst = 1;   /* characters that an idle transmitter takes at once */
static u32 depth;
static bool broken;     /* a panic owns the console */
static bool overrun;    /* the receiver lost a character; LSR forgets it when read, by whoever */
/* Protects the transmitter. */
static spinlock_t lock = SPINLOCK_INIT;

static u8 line_status(void)
{
	u8 lsr = inb(UART_LSR);

	if (lsr & UART_LSR_OVERRUN && lsr != 0xff)
		WRITE_ONCE(overrun, true);
	return lsr;
}

/*
 * STYLE's wait_until needs this CPU's block and the lock-free timekeeping of a healthy machine; the console must work in
 * a panic, too: bounded by reads instead.
 */
static bool transmitter_idle(void)
{
	for (u32 i = 0; i < MAX_POLLS; i++) {
		if (line_status() & UART_LSR_THRE)
			return true;
		cpu_relax();
	}
	return false;
}

void console_init(void)
{
	depth = outer_depth();
	outb(UART_IER, 0);
	outb(UART_LCR, UART_LCR_DLAB | UART_LCR_8N1);
	outb(UART_DATA, DIVISOR_115200);
	outb(UART_IER, 0); /* divisor, high byte */
	outb(UART_LCR, UART_LCR_8N1);
	outb(UART_FCR, UART_FCR_ENABLE_CLEAR);
	outb(UART_MCR, UART_MCR_DTR_RTS);
	present = inb(UART_LSR) != 0xff; /* ports without a device read as ones */
	if (outer_present())
		burst = LINE_MAX; /* an outer takes a line by one string instruction, hence one exit */
	else if ((inb(UART_IIR) & UART_IIR_FIFOS) == UART_IIR_FIFOS)
		burst = FIFO_SIZE;
}

bool console_present(void) { return READ_ONCE(present); }

void console_input_on(void)
{
	outb(UART_MCR, UART_MCR_DTR_RTS | UART_MCR_OUT2);
	outb(UART_IER, UART_IER_RX);
}

/* The receiver has registers of its own: no lock against those who print. */
int console_read(void)
{
	u8 lsr = line_status();

	if (lsr == 0xff)
		return CONSOLE_EMPTY;
	if (__atomic_exchange_n(&overrun, false, __ATOMIC_RELAXED))
		return CONSOLE_LOST;
	return lsr & UART_LSR_DR ? inb(UART_DATA) : CONSOLE_EMPTY;
}

static void emit(const char *s, size_t n)
{
	while (present && n) {
		size_t now = MIN(n, (size_t)burst);

		if (!transmitter_idle()) {
			present = false;
			return;
		}
		outsb(UART_DATA, s, now);
		s += now;
		n -= now;
	}
}

static void emit_line(const char *s, size_t n)
{
	u64 start = rdtsc();
	bool locked = !READ_ONCE(broken);

	if (locked)
		spin_lock(&lock);
	emit(s, n);
	if (locked) {
		spin_unlock(&lock);
		this_cpu()->wait_tsc += rdtsc() - start; /* waiting for the line is no work of ours */
	}
}

void console_break_lock(void)
{
	WRITE_ONCE(broken, true);
}

/* End the line of n characters in a buffer of LINE_MAX + 2: terminals want a carriage return. */
static void finish(char *buf, size_t n)
{
	n = MIN(n, (size_t)LINE_MAX - 1);
	buf[n++] = '\r';
	buf[n++] = '\n';
	emit_line(buf, n);
}

static void log_args(const char *mark, const char *fmt, va_list args)
{
	char buf[LINE_MAX + 2];
	int n = sniprintf(buf, LINE_MAX, "[L%u] %s", (unsigned)depth, mark);
	int more = vsniprintf(buf + n, LINE_MAX - (size_t)n, fmt, args);

	finish(buf, (size_t)n + (size_t)MAX(more, 0));
}

void log_line(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	log_args("", fmt, args);
	va_end(args);
}

void log_report(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	log_args("@report ", fmt, args);
	va_end(args);
}

void console_vm_flush(struct console_line *l)
{
	char buf[LINE_MAX + 2];

	if (!l->len)
		return;
	int n = sniprintf(buf, LINE_MAX, "[%s] ", l->tag);
	memcpy(buf + n, l->buf, l->len);
	finish(buf, (size_t)n + l->len);
	l->len = 0;
}

void console_vm_putc(struct console_line *l, char c)
{
	if (c == '\r' || c == '\0')
		return;
	if (c == '\n' && !l->len) {
		l->buf[l->len++] = ' '; /* an empty line shows, too */
		console_vm_flush(l);
		return;
	}
	if (c == '\n') {
		console_vm_flush(l);
		return;
	}
	/* Escape sequences could move the cursor over other lines. */
	l->buf[l->len++] = (unsigned char)c < ' ' && c != '\t' ? '.' : c;
	if (l->len == sizeof(l->buf))
		console_vm_flush(l);
}

int format_va(char *buf, size_t size, const char *fmt, va_list ap)
{
	return vsniprintf(buf, size, fmt, ap);
}

int format(char *buf, size_t size, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	int n = format_va(buf, size, fmt, args);
	va_end(args);
	return n;
}
