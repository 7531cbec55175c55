/*
 * Ways to end the machine.
 */
#ifndef CORE_POWEROFF_H
#define CORE_POWEROFF_H

#include "core/types.h"

/* ACPI soft-off. Where the firmware gives no \_S5, or nothing happens: says so and halts. */
void machine_poweroff(void) __noreturn;
/* ACPI reset register, then port CF9h, then the keyboard controller, then a triple fault. */
void machine_reset(void) __noreturn;
/* Write the code to NEST_EXIT_PORT: ends a VM of an outer Nestling, or a test machine; elsewhere it halts. */
void machine_exit_port(u8 code) __noreturn;

#endif
