/*
 * The console's input: commands of a person, or of an outer, at our COM1. One line is one command; see `help`.
 *
 * Invariant: lines are at most MONITOR_LINE characters of printable ASCII; a longer one, or one of which characters were lost, is
 * not carried out. Commands run on the boot CPU's main road (core/irq.h) with nothing held.
 */
#ifndef CORE_MONITOR_H
#define CORE_MONITOR_H

#include "core/ioapic.h"
#include "core/types.h"

#define MONITOR_LINE 128
#define MONITOR_WORDS 8

struct vm;

/* fn: word[0] is the name. False: wrong words, the usage is shown. It answers by log_line. */
struct monitor_command {
	const char *name, *args, *help;
	bool (*fn)(u32 n, char *const *word);
};

/* Add a table of commands, which stays. Before monitor_start; at most 3 tables. */
void monitor_add(const struct monitor_command *table, u32 n);
/* Open COM1's input, by interrupt. What is missing for it is said once, and there is no console then. Boot CPU. */
void monitor_start(ioapic_remap_fn remap);
/* One character of input, or CONSOLE_LOST (core/console.h). */
void monitor_char(int c);

/* For commands: the VM of that name, which exists at least until the command returns; NULL after saying that there is none. */
struct vm *monitor_vm(const char *name);

#endif
