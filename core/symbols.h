/*
 * Names of our own functions, for backtraces. The table is made from the linked image itself (Makefile: two passes).
 */
#ifndef CORE_SYMBOLS_H
#define CORE_SYMBOLS_H

#include "core/types.h"

/*
 * Name of the function that contains the linked address addr, and how far into it addr lies (bytes). NULL if addr is
 * outside our code. Any context; touches read-only data only.
 */
const char *symbol_find(u64 addr, u64 *offset);

#endif
