/*
 * The @report lines of one VM and phase; used by report.c only.
 */
#ifndef CORE_REPORT_PRINT_H
#define CORE_REPORT_PRINT_H

#include "core/vm.h"

#define REPORT_NAMES COUNT_PHASES

/* Print c. first: also lines without any count, so that a phase in which nothing happened shows. */
void report_print_counters(const struct vm *vm, const char *phase, const struct counters *c, bool first);

#endif
