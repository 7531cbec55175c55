/* Memory, console and outer for the unit tests of core/'s VM objects; see core_fakes.h. */
#include "tests/unit/core_fakes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/console.h"
#include "core/hypercall.h"
#include "core/percpu.h"
#include "core/time.h"

u64 host_direct_map_base; /* physical addresses are the test's own */
struct mem_owner mem_self = { .name = "hypervisor" };
u32 nr_cpus = 2;
char fake_console[1 << 18];
u64 fake_free_bytes, fake_outer_calls, fake_outer_nr, fake_outer_a0;
s64 fake_allocs_left;
bool fake_outer;
u8 fake_record[PAGE_SIZE];

void fakes_reset(void)
{
	fake_console[0] = 0;
	fake_free_bytes = 1ull << 30;
	fake_allocs_left = -1;
	fake_outer = false;
	fake_outer_calls = fake_outer_nr = fake_outer_a0 = 0;
}

int format_va(char *buf, size_t size, const char *fmt, va_list ap) { return vsnprintf(buf, size, fmt, ap); }

int format(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(buf, size, fmt, ap);
	va_end(ap);
	return n;
}

static void say(const char *mark, const char *fmt, va_list ap)
{
	size_t used = strlen(fake_console);
	used += (size_t)snprintf(fake_console + used, sizeof(fake_console) - used, "%s", mark);
	used += (size_t)vsnprintf(fake_console + used, sizeof(fake_console) - used, fmt, ap);
	assert_true(used + 1 < sizeof(fake_console));
	strcpy(fake_console + used, "\n");
}

void log_line(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	say("", fmt, ap);
	va_end(ap);
}

void log_report(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	say("@report ", fmt, ap);
	va_end(ap);
}

void console_vm_putc(struct console_line *l, char c)
{
	assert_true(l->len < sizeof(l->buf) - 1);
	l->buf[l->len++] = c;
	if (c == '\n')
		console_vm_flush(l);
}

void console_vm_flush(struct console_line *l)
{
	size_t used = strlen(fake_console);
	snprintf(fake_console + used, sizeof(fake_console) - used, "%.*s", (int)l->len, l->buf);
	l->len = 0;
}

void *pages_alloc(struct mem_owner *owner, unsigned order)
{
	u64 len = PAGE_SIZE << order;

	if (fake_allocs_left == 0 || (owner->limit && owner->pages + (1u << order) > owner->limit))
		return NULL;
	fake_allocs_left -= fake_allocs_left > 0;
	void *p = aligned_alloc(len, len);
	memset(p, 0, len);
	owner->pages += 1u << order;
	return p;
}

void pages_free(struct mem_owner *owner, void *p, unsigned order)
{
	assert_true(owner->pages >= 1u << order);
	owner->pages -= 1u << order;
	free(p);
}

u64 mem_free_bytes(void) { return fake_free_bytes; }
u64 tsc_khz(void) { return 1000000; }

bool outer_present(void) { return fake_outer; }
u32 outer_depth(void) { return fake_outer; }
void *outer_record(void) { return fake_record; }

s64 outer_call(u64 nr, u64 a0, u64 a1, u64 a2, u64 a3)
{
	(void)a1;
	(void)a2;
	(void)a3;
	fake_outer_calls++;
	fake_outer_nr = nr;
	fake_outer_a0 = a0;
	return 0;
}
