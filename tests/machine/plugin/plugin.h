/*
 * Interfaces between the parts of the plugin. See README.md for the picture.
 *
 * Invariant: everything runs on Bochs's one thread; no part needs a lock.
 */
#ifndef PLUGIN_H
#define PLUGIN_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/machine/mailbox.h"
#include "tests/machine/plugin/bochs.h"

#define IN_RANGE(x, first, size) ((uint64_t)(x) - (uint64_t)(first) < (uint64_t)(size))

/* --- main.c ------------------------------------------------------------------------------------------------------ */
/* A line into cosim.log. */
void log_line(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Value of a file descriptor or number that the runner hands over by environment. */
long setting(const char *name, long otherwise);
uint64_t now_us(void);

/* --- end.c ------------------------------------------------------------------------------------------------------- */
/* Ends the machine: the reason goes to the mailbox (for the runner) and to the log. */
void machine_end(enum machine_end end, uint32_t code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4), noreturn));
/* The guest wrote its exit code: the machine ends as soon as the serial port has sent what it holds. */
void machine_exit(uint8_t code);

/* --- ram.c ------------------------------------------------------------------------------------------------------- */
/* Replaces Bochs's RAM by QEMU's. */
void ram_init(void);
uint64_t ram_size(void);
/* The guest's memory at a physical address; NULL unless all `size` bytes are RAM. */
void *ram_at(uint64_t addr, uint64_t size);

/* --- processor.c ------------------------------------------------------------------------------------------------- */
/* Takes VT-x features away from the processor. Before Bochs makes its CPUs: when the plugin is loaded. */
void processor_init(void);
/* Ends the machine if one is still there. */
void processor_check(void);

/* --- mailbox.c --------------------------------------------------------------------------------------------------- */
void mailbox_init(void);
struct mailbox *mailbox(void);
struct ring *mailbox_ring(unsigned cpu);
struct exit_counts *mailbox_exits(void);
/* One access on QEMU's side. Ends the machine if QEMU or the agent is gone. */
uint64_t mailbox_call(enum mailbox_op op, uint64_t addr, uint32_t size, uint64_t data);
/* Waits until the agents on all of QEMU's vCPUs serve. */
void mailbox_wait_agents(void);
/* Resets QEMU's machine and waits until its agents serve again. */
void mailbox_reset_platform(void);

/* --- forward.c --------------------------------------------------------------------------------------------------- */
/* Routes all ports and memory that Bochs itself does not emulate to QEMU. */
void forward_init(struct bochs_device *self);
void forward_reset(void);
/* Port 0xF4 alone: for stock Bochs, without QEMU. */
void forward_init_exit_port(struct bochs_device *self);

/* --- config.c ---------------------------------------------------------------------------------------------------- */
/* PCI configuration space as the guest may see it; each returns true if the access must not reach QEMU. */
bool config_port_read(uint32_t port, uint32_t size, uint32_t *value);
bool config_port_write(uint32_t port, uint32_t size, uint32_t value);
bool config_ecam_access(uint64_t addr);
void config_ecam_write(uint64_t addr, uint64_t value);
void config_reset(void);

/* --- storage.c --------------------------------------------------------------------------------------------------- */
/* Base of the AHCI controller's registers has changed. */
void storage_set_base(uint64_t base);
void storage_write(uint64_t addr, uint64_t value);
void storage_read(uint64_t addr);
void storage_reset(void);

/* --- interrupts.c ------------------------------------------------------------------------------------------------ */
void interrupts_reset(void);
/* Delivers what has arrived at QEMU's vCPUs. True if there was anything. */
bool interrupts_poll(void);
/* Mends what Bochs's VM entry forgets: see interrupts.c. */
void interrupts_unmask(void);

/* --- ioapic.c ---------------------------------------------------------------------------------------------------- */
void ioapic_init(void);
/* A level- or edge-triggered pin of QEMU's own (vector from its ring entry) has fired. */
void ioapic_qemu_pin(uint8_t vector);
void ioapic_reset(void);

/* --- vtd.c ------------------------------------------------------------------------------------------------------- */
struct message {
	uint8_t vector, mode;
	bool logical;
	uint32_t dest;
};
/* What VT-d makes of an IOAPIC entry. False: blocked (and recorded as a fault by QEMU). */
bool vtd_remap(uint64_t entry, struct message *m);

/* --- console.c --------------------------------------------------------------------------------------------------- */
/* Opens COM1's input, if the runner has one. */
void console_init(struct bochs_device *self);

/* --- clock.c ----------------------------------------------------------------------------------------------------- */
/* Starts the periodic poll, which also keeps an idle machine's time, a paced machine's always, from running ahead of the host's. */
void clock_init(struct bochs_device *self);
/* The ACPI PM timer of a paced machine; false: the machine is not, the timer is QEMU's. */
bool clock_pm_timer(uint32_t *value);
/* The machine ends: how well a paced one kept up with the host goes to the log. */
void clock_end(void);

/* --- hooks.c ----------------------------------------------------------------------------------------------------- */
/* Instrumentation: counts VM exits, knows which CPUs are halted. */
void hooks_init(void);
/* True if all CPUs are in HLT. False as well if the hooks could not be set. */
bool hooks_all_halted(void);

#endif
