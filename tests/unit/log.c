/* log_line() for unit tests (tests/unit/log.h). */
#include "tests/unit/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/console.h"

u32 log_count;
static char text[16384];

void log_reset(void)
{
	log_count = 0;
	text[0] = '\0';
}

bool log_has(const char *part)
{
	return strstr(text, part) != NULL;
}

void log_line(const char *fmt, ...)
{
	size_t used = strlen(text);
	va_list args;

	va_start(args, fmt);
	vsnprintf(text + used, sizeof(text) - used, fmt, args);
	va_end(args);
	strncat(text, "\n", sizeof(text) - strlen(text) - 1);
	log_count++;
}
