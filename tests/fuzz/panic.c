/*
 * panic() for fuzzers: prints the message and dies, which libFuzzer reports with the input.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/types.h"

void panic(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	abort();
}
