/*
 * COM1 for the few lines that are said before core/console.c runs, or when it never will.
 */
#ifndef BOOT_SERIAL_H
#define BOOT_SERIAL_H

#include "core/types.h"

/* Set COM1 to 115200 8N1 and print `text`; '\n' is sent as CR LF. Bounded, also where there is no COM1. */
void serial_puts(const char *text);

#endif
