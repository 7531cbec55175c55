/*
 * What the tests print: "PASS name", "FAIL name: expected X, saw Y", "SKIP name: why", "RESULT name value".
 *
 * Invariant: names are unique in a run, and a line depends on nothing but the processor's answers: runs on the bare machine and
 * at any depth are compared line by line (tests/scenarios/conform.py).
 */
#ifndef CONFORM_REPORT_H
#define CONFORM_REPORT_H

#include "core/types.h"

/* Begin a group: its name stands before all names that follow, "group/name". */
void report_group(const char *group);
/* Text against text. */
void report_text(const char *name, const char *saw, const char *expected);
void report_u64(const char *name, u64 saw, u64 expected);
void report_skip(const char *name, const char *why);
/* Something to be the same on the bare machine, without an opinion of ours. */
void report_result(const char *name, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
u32 report_failed(void);
u32 report_passed(void);

#endif
