/*
 * The console: a 16550 at COM1 below the C library's stdout.
 *
 * Invariant: a line is written in as few accesses as the UART allows, because below a hypervisor each of them is an exit.
 */
#ifndef GUEST_LIB_CONSOLE_H
#define GUEST_LIB_CONSOLE_H

#include "core/types.h"

/* 115200 8N1, FIFO on; stdout becomes line-buffered. */
void console_init(void);
/* A UART that takes any number of bytes at once (Nestling's does): whole lines by one REP OUTSB instead of one FIFO's worth. */
void console_set_burst(u32 bytes);
void console_write(const char *buf, u64 len);
/* Wait until the last character has left the UART. */
void console_drain(void);

#endif
