/*
 * 16550 UART at COM1 (console.h).
 */
#include "guest/lib/console.h"

#include <stdio.h>

#include "guest/lib/x86.h"

#define COM1 0x3f8
#define UART_DATA (COM1 + 0)
#define UART_IER (COM1 + 1)
#define UART_FCR (COM1 + 2)
#define UART_LCR (COM1 + 3)
#define UART_MCR (COM1 + 4)
#define UART_LSR (COM1 + 5)
#define UART_LCR_DLAB 0x80
#define UART_LCR_8N1 0x03
#define UART_FCR_ON 0x07     /* enabled, both FIFOs cleared */
#define UART_MCR_DTR_RTS 0x03
#define UART_LSR_THRE 0x20   /* transmitter (and its FIFO) empty */
#define UART_LSR_TEMT 0x40   /* … and the shift register */
#define UART_FIFO 16
#define UART_SPINS 100000

static char line_buffer[1024];
static u32 burst = UART_FIFO;

void console_init(void)
{
	outb(UART_IER, 0);
	outb(UART_LCR, UART_LCR_DLAB);
	outb(UART_DATA, 1); /* divisor 1 = 115200 */
	outb(UART_IER, 0);
	outb(UART_LCR, UART_LCR_8N1);
	outb(UART_FCR, UART_FCR_ON);
	outb(UART_MCR, UART_MCR_DTR_RTS);
	setvbuf(stdout, line_buffer, _IOLBF, sizeof(line_buffer));
}

void console_set_burst(u32 bytes) { burst = bytes; }

/* Bounded: an absent UART reads as ones, a broken one must not stop us. */
static void wait_status(u8 bit)
{
	for (u32 i = 0; i < UART_SPINS && !(inb(UART_LSR) & bit); i++)
		cpu_relax();
}

void console_drain(void) { wait_status(UART_LSR_TEMT); }

void console_write(const char *buf, u64 len)
{
	while (len) {
		u64 n = MIN(len, burst);

		wait_status(UART_LSR_THRE);
		rep_outsb(UART_DATA, buf, n);
		buf += n;
		len -= n;
	}
}
