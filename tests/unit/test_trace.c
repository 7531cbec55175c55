/*
 * core/trace.c: what a ring keeps and in which order, what is said to be lost, and the exact text of a line, which
 * tests/test_trace.py decodes.
 */
#include <asm/prctl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/percpu.h"
#include "core/trace.h"
#include "tests/unit/core_fakes.h"

struct cpu cpus[MAX_CPUS];
static struct vm_config cfg = { .name = "inner" };
static struct vcpu_core vcpu[2] = { { .index = 0, .cpu = 0 }, { .index = 1, .cpu = 1 } };
static struct vm vm = { .id = 1, .cfg = &cfg, .nr_vcpus = 2, .vcpus = { (struct vcpu *)&vcpu[0], (struct vcpu *)&vcpu[1] } };
static u64 tsc;

u64 rdtsc(void) { return tsc; }
void vm_for_each(void (*fn)(struct vm *vm, void *arg), void *arg) { fn(&vm, arg); }
static u64 offset(const struct vcpu_core *v) { return v->index ? ~0xfull : 0; }

static void on_cpu(u32 i) { assert_int_equal(syscall(SYS_arch_prctl, ARCH_SET_GS, &cpus[i]), 0); }

static int setup(void **state)
{
	(void)state;
	fakes_reset();
	for (u32 i = 0; i < 2; i++) {
		cpus[i].self = &cpus[i];
		cpus[i].index = i;
		vcpu[i].vm = &vm;
	}
	on_cpu(0);
	return 0;
}

/* ---- the lines back into records ---- */

struct seen { u64 number, tsc; u32 kind, vm, vcpu, inner; u64 reason, a, b; };
static struct seen seen[2 * TRACE_RECORDS];
static u32 nr_seen, longest;
static u64 ends_at; /* the last end of CPU 0 */

static u64 number_at(const u8 **p)
{
	u64 n = 0;
	for (u32 shift = 0;; shift += 7) {
		u8 byte = *(*p)++;
		n |= (u64)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return n;
	}
}

static u64 signed_at(const u8 **p)
{
	u64 n = number_at(p);
	return n >> 1 ^ -(n & 1);
}

static u32 unbase64(u8 *out, const char *in, u32 len)
{
	static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	u32 bits = 0, have = 0, n = 0;

	assert_int_equal(len % 4, 0);
	for (u32 i = 0; i < len && in[i] != '='; i++) {
		const char *d = strchr(digit, in[i]);
		assert_non_null(d);
		bits = bits << 6 | (u32)(d - digit);
		have += 6;
		if (have >= 8)
			out[n++] = (u8)(bits >> (have -= 8));
	}
	return n;
}

static void line_into_records(const char *line, u32 len)
{
	char text[512];
	unsigned level, cpu;
	unsigned long number;
	u8 data[400];
	int fields;

	longest = MAX(longest, len);
	assert_true(len < sizeof(text));
	memcpy(text, line, len);
	text[len] = 0;
	if (!strncmp(text, "@trace vm ", 10))
		return;
	char *space = strrchr(text, ' ');
	fields = sscanf(text, "@trace %u %u %lu", &level, &cpu, &number);
	assert_int_equal(fields, 3);
	if (space - text < 11) { /* no data: the end */
		if (!cpu)
			ends_at = number;
		return;
	}
	u32 have = unbase64(data, space + 1, (u32)strlen(space + 1));
	u64 t = 0;
	for (const u8 *p = data; p < data + have; nr_seen++) {
		struct seen *s = &seen[nr_seen];
		*s = (struct seen){ .number = number++, .kind = p[0], .vm = p[1], .vcpu = p[2], .inner = p[3] };
		p += 4;
		s->reason = number_at(&p);
		s->tsc = t += signed_at(&p);
		s->a = signed_at(&p);
		s->b = signed_at(&p);
	}
}

static void print(void)
{
	nr_seen = longest = 0;
	char *all = malloc(1 << 20);
	fake_console[0] = 0;
	trace_print();
	strcpy(all, fake_console);
	for (char *line = all, *eol; (eol = strchr(line, '\n')); line = eol + 1)
		line_into_records(line, (u32)(eol - line));
	free(all);
}

/* ---- tests, in this order: the rings stay ---- */

static void without_memory(void **state)
{
	(void)state;
	fake_allocs_left = 1;
	trace_init(offset);
	assert_false(trace_on);
	assert_non_null(strstr(fake_console, "no memory for the ring of CPU 1"));
	trace(&vcpu[0], TRACE_CALL, 0, 1, 2, 3);
	fake_console[0] = 0;
	trace_print();
	assert_string_equal(fake_console, "");
}

static void exact_text(void **state)
{
	(void)state;
	trace_init(offset);
	assert_true(trace_on);
	tsc = 1000;
	trace_put(&vcpu[0], TRACE_EXIT, 1, 10, 0x200000, 0x40000000);
	tsc = 1100;
	trace(&vcpu[0], TRACE_CALL, 0, 3, ~0ull, 0xffffffff80001234);
	on_cpu(1);
	tsc = 1050;
	trace_put(&vcpu[1], TRACE_EXIT, 0, 48 | 3 << 8, 0xfff0, 0xfee00000);
	fake_console[0] = 0;
	trace_print();
	/* the same text is in tests/test_trace.py */
	assert_string_equal(fake_console,
			    "@trace vm 1 inner 0:0 1:fffffffffffffff0\n"
			    "@trace 0 0 0 AQEAAQrQD4CAgAKAgICACAUBAAADyAEBl7f//w8=\n"
			    "@trace 0 0 2\n"
			    "@trace 0 1 0 AQEBALAGtBDg/weAgIDuHw==\n"
			    "@trace 0 1 1\n");
	fake_console[0] = 0;
	trace_print(); /* nothing new */
	assert_string_equal(fake_console, "@trace vm 1 inner 0:0 1:fffffffffffffff0\n@trace 0 0 2\n@trace 0 1 1\n");
}

static void all_comes_back(void **state)
{
	(void)state;
	static const u64 odd[] = { 0, 1, ~0ull, 63, 64, ~63ull, ~64ull, 1ull << 63, (1ull << 63) - 1, 0xffffffff80000000 };
	u64 first = 2;

	for (u32 i = 0; i < 1000; i++) {
		tsc += (i * 7919) % 100000;
		trace_put(&vcpu[i & 1], 1 + i % 6, (u8)i, i * 66, odd[i % 10], odd[i / 10 % 10]);
	}
	print();
	assert_int_equal(nr_seen, 1000);
	assert_int_equal(ends_at, first + 1000);
	assert_true(longest <= 384);
	for (u32 i = 0; i < 1000; i++) {
		assert_int_equal(seen[i].number, first + i);
		assert_int_equal(seen[i].kind, 1 + i % 6);
		assert_int_equal(seen[i].vm, 1);
		assert_int_equal(seen[i].vcpu, i & 1);
		assert_int_equal(seen[i].inner, (u8)i);
		assert_int_equal(seen[i].reason, MIN(i * 66, 0xffffu));
		assert_int_equal(seen[i].a, odd[i % 10]);
		assert_int_equal(seen[i].b, odd[i / 10 % 10]);
		assert_true(!i || seen[i].tsc - seen[i - 1].tsc == (i * 7919) % 100000);
	}
}

/* The oldest go; the numbers tell how many. */
static void overwritten(void **state)
{
	(void)state;
	u64 first = ends_at, n = TRACE_RECORDS + 500;

	for (u64 i = 0; i < n; i++)
		trace_put(&vcpu[0], TRACE_CALL, 0, 1, 0, i & 63);
	print();
	assert_int_equal(nr_seen, TRACE_RECORDS - 1); /* one place counts as being written */
	assert_int_equal(ends_at, first + n);
	for (u32 i = 0; i < nr_seen; i++) {
		assert_int_equal(seen[i].number, first + n - nr_seen + i);
		assert_int_equal(seen[i].b, (seen[i].number - first) & 63);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(without_memory, setup), cmocka_unit_test_setup(exact_text, setup),
		cmocka_unit_test_setup(all_comes_back, setup), cmocka_unit_test_setup(overwritten, setup),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
