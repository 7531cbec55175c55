/*
 * How checks appear on the console: "PASS name", or "FAIL name" with what was seen.
 */
#include "guest/work/work.h"

#include <stdio.h>

u32 work_check(bool ok, const char *name)
{
	printf("%s %s\n", ok ? "PASS" : "FAIL", name);
	return !ok;
}

u32 work_check_result(s64 got, s64 want, const char *name)
{
	if (got == want)
		return work_check(true, name);
	printf("FAIL %s: %lld, not %lld\n", name, (long long)got, (long long)want);
	return 1;
}
