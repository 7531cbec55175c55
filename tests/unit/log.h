/* log_line() for unit tests: keeps what was said. */
#ifndef TESTS_UNIT_LOG_H
#define TESTS_UNIT_LOG_H

#include "core/types.h"

extern u32 log_count;       /* lines so far */
void log_reset(void);
bool log_has(const char *text);

#endif
