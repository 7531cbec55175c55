/*
 * Lines of the report (report.h).
 */
#include "tests/conform/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *current = "";
static u32 passed, failed;

void report_group(const char *group) { current = group; }

static void line(const char *word, const char *name) { printf("%s %s/%s", word, current, name); }

void report_text(const char *name, const char *saw, const char *expected)
{
	if (!strcmp(saw, expected)) {
		passed++;
		line("PASS", name);
		printf("\n");
	} else {
		failed++;
		line("FAIL", name);
		printf(": expected %s, saw %s\n", expected, saw);
	}
}

void report_u64(const char *name, u64 saw, u64 expected)
{
	char a[24], b[24];

	sniprintf(a, sizeof(a), "%llx", (unsigned long long)saw);
	sniprintf(b, sizeof(b), "%llx", (unsigned long long)expected);
	report_text(name, a, b);
}

void report_skip(const char *name, const char *why)
{
	line("SKIP", name);
	printf(": %s\n", why);
}

void report_result(const char *name, const char *fmt, ...)
{
	va_list ap;

	line("RESULT", name);
	printf(" ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
}

u32 report_failed(void) { return failed; }
u32 report_passed(void) { return passed; }
