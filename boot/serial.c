/*
 * COM1, polled (PC16550D data sheet, Registers).
 *
 * Invariant: at most one line's worth of bounded waiting; no interrupt of the UART is ever enabled here.
 */
#include "boot/serial.h"
#include "core/x86.h"

#define COM1 0x3f8
#define UART_THR (COM1 + 0)
#define UART_DLL (COM1 + 0) /* while LCR_DLAB is set */
#define UART_DLM (COM1 + 1)
#define UART_IER (COM1 + 1)
#define UART_FCR (COM1 + 2)
#define UART_LCR (COM1 + 3)
#define UART_MCR (COM1 + 4)
#define UART_LSR (COM1 + 5)
#define LCR_8N1 0x03
#define LCR_DLAB 0x80
#define FCR_ENABLE_CLEAR 0x07
#define MCR_DTR_RTS 0x03
#define LSR_THRE 0x20
#define DIVISOR_115200 1

static void put(char c)
{
	for (u32 tries = 0; tries < 0x10000 && !(inb(UART_LSR) & LSR_THRE); tries++)
		cpu_relax();
	outb(UART_THR, (u8)c);
}

void serial_puts(const char *text)
{
	outb(UART_LCR, LCR_8N1 | LCR_DLAB);
	outb(UART_DLL, DIVISOR_115200);
	outb(UART_DLM, 0);
	outb(UART_LCR, LCR_8N1);
	outb(UART_IER, 0);
	outb(UART_FCR, FCR_ENABLE_CLEAR);
	outb(UART_MCR, MCR_DTR_RTS);
	for (; *text; text++) {
		if (*text == '\n')
			put('\r');
		put(*text);
	}
}
