/*
 * panic() for unit tests: prints the message and fails the test; inside cmocka's expect_assert_failure() it is what
 * was expected.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/types.h"

void panic(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	mock_assert(0, "panic", __FILE__, __LINE__);
	abort();
}
