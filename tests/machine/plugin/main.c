/*
 * Entry of the Bochs plugin that joins Bochs's CPU with QEMU's machine; set-up order; log.
 *
 * Invariant: the parts are set up once, in Bochs's device initialisation, in the order RAM, mailbox, bus, interrupts:
 * each needs only those before it. A hardware reset runs through all of them after QEMU has reset itself.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/machine/plugin/plugin.h"

int libnestling_plugin_entry(void *plugin, uint16_t type, uint8_t mode);

static FILE *log_file;

uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

void log_line(const char *fmt, ...)
{
	va_list args;

	if (!log_file)
		return;
	va_start(args, fmt);
	vfprintf(log_file, fmt, args);
	va_end(args);
	fputc('\n', log_file);
	fflush(log_file);
}

long setting(const char *name, long otherwise)
{
	const char *value = getenv(name);

	return value ? strtol(value, NULL, 0) : otherwise;
}

static bool joined(void)
{
	return setting("NESTLING_JOINED", 0) != 0;
}

static void init(struct bochs_device *self)
{
	mailbox_init();
	processor_check();
	hooks_init();
	console_init(self);
	if (!joined()) {
		forward_init_exit_port(self);
		return;
	}
	ram_init();
	mailbox_wait_agents();
	forward_init(self);
	ioapic_init();
	interrupts_reset();
	clock_init(self);
	log_line("joined: %u CPUs, %lu MiB", bx_cpu_count, (unsigned long)(ram_size() >> 20));
}

/*
 * Bochs calls this once at power-on. Later calls come from CF9, from a triple fault, and from port 92 and the keyboard
 * controller, which QEMU's machine treats as a reset of everything as well.
 */
static void reset(struct bochs_device *self, unsigned type)
{
	static bool powered_on;
	struct mailbox *m = mailbox();

	(void)self;
	if (!powered_on) {
		powered_on = true;
		return;
	}
	m->resets = m->resets + 1;
	log_line("platform reset %u (%s)", m->resets, type == RESET_HARDWARE ? "hardware" : "software");
	if (m->resets > (uint32_t)setting("NESTLING_RESETS", 0))
		machine_end(END_RESET, 0, "the platform was reset (CF9, port 92, keyboard controller or triple fault)");
	if (!joined())
		return;
	mailbox_reset_platform();
	forward_reset();
	ioapic_reset();
	interrupts_reset();
}

static void nothing(struct bochs_device *self) { (void)self; }
static void debug_dump(struct bochs_device *self, int argc, char **argv) { (void)self; (void)argc; (void)argv; }

static const struct bochs_vtable vtable = {
	.destroy = nothing,
	.destroy_and_free = nothing,
	.init = init,
	.reset = reset,
	.register_state = nothing,
	.after_restore_state = nothing,
	.debug_dump = debug_dump,
};

int libnestling_plugin_entry(void *plugin, uint16_t type, uint8_t mode)
{
	static struct bochs_device device;

	switch (mode) {
	case PLUGIN_INIT:
		log_file = fopen("cosim.log", "w");
		processor_init();
		device.methods = BOCHS_METHODS(vtable);
		pluginRegisterDeviceDevmodel(plugin, type, &device, "nestling");
		return 0;
	case PLUGIN_PROBE:
		return PLUGIN_TYPE_OPTIONAL;
	default:
		return 0;
	}
}
