/*
 * The console's input: what the runner writes into the FIFO console.in reaches Bochs's COM1 as if it came over the wire.
 *
 * Invariant: a character is handed over only when the receiver has none ready, so the UART never overruns, however slowly the
 * guest reads; what it does not take waits in the FIFO.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>

#include "tests/machine/plugin/plugin.h"

#define COM1_LSR   0x3FD
#define LSR_READY  1
#define POLL_TICKS 4340   /* a character at 115200 baud */

static int fifo = -1;
static void (*receive)(uint8_t port, uint8_t c); /* bx_serial_c::rx_fifo_enq, static in this build */

static void poll(void *self)
{
	static uint8_t c;
	static bool waiting;

	(void)self;
	if (!waiting)
		waiting = read(fifo, &c, 1) == 1;
	if (!waiting || (bochs_port(&bx_devices, COM1_LSR, 1) & LSR_READY))
		return;
	waiting = false;
	receive(0, c);
}

void console_init(struct bochs_device *self)
{
	void *plugin = dlopen("libbx_serial.so.0", RTLD_NOLOAD | RTLD_LAZY);

	fifo = open("console.in", O_RDONLY | O_NONBLOCK);
	if (plugin)
		receive = (void (*)(uint8_t, uint8_t))dlsym(plugin, "_ZN11bx_serial_c11rx_fifo_enqEhh");
	if (fifo < 0 || !receive) {
		log_line("console: no input");
		return;
	}
	bochs_timer(&bx_pc_system, self, poll, POLL_TICKS, true, true, "nestling-console");
}
