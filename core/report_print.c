/*
 * How counts are written: @report lines, each one JSON object
 *   {"level":0,"vm":"inner","phase":"traffic","kind":"exits","VMCALL":3,...}
 * kinds: exits, exits_nested, reflected (by exit reason); exits_fast, exits_nested_fast: of exits and exits_nested, those that
 * vmx/exit_fast.c dealt with; exit_instructions (TSC ticks in our handlers by reason; none is booked for fast ones), hypercalls (by
 * name), counters. Only counts that are not zero.
 *
 * Invariant: a line is short enough to pass whole through the console lines of every outer (512 characters with their
 * marks); what does not fit goes on in a further line of the same kind.
 */
#include "core/report_print.h"

#include <string.h>

#include "core/hypercall.h"
#include "core/report.h"

#define MAX_JSON 384

static const char *(*exit_name)(u32 reason);

struct line {
	const struct vm *vm;
	const char *phase, *kind;
	char buf[MAX_JSON];
	int len;
	u32 counts;
};

void report_set_exit_namer(const char *(*fn)(u32 reason)) { exit_name = fn; }
const char *report_exit_name(u32 reason) { return exit_name ? exit_name(reason) : "?"; }

static void line_begin(struct line *l, const char *kind)
{
	l->kind = kind;
	l->counts = 0;
	l->len = format(l->buf, sizeof(l->buf), "{\"level\":%u,\"vm\":\"%s\",\"phase\":\"%s\",\"kind\":\"%s\"", outer_depth(),
			l->vm->cfg->name, l->phase, kind);
}

/* always: also without any count. */
static void line_end(struct line *l, bool always)
{
	if (l->counts || always)
		log_report("%.*s}", l->len, l->buf);
}

static void line_add(struct line *l, const char *name, u64 value)
{
	char item[64];

	if (!value)
		return;
	int n = format(item, sizeof(item), ",\"%.40s\":%llu", name, (unsigned long long)value);
	if (l->len + n >= (int)sizeof(l->buf)) {
		line_end(l, false);
		line_begin(l, l->kind);
	}
	l->len += format(l->buf + l->len, sizeof(l->buf) - (size_t)l->len, "%s", item);
	l->counts++;
}

static void print_by_reason(struct line *l, const char *kind, const u64 *counts, u32 nr, bool always)
{
	line_begin(l, kind);
	for (u32 i = 0; i < nr; i++) {
		char number[16];
		const char *name = report_exit_name(i);
		format(number, sizeof(number), "REASON_%u", i);
		line_add(l, strcmp(name, "?") ? name : number, counts[i]);
	}
	line_end(l, always);
}

static void print_hypercalls(struct line *l, const u64 *counts)
{
	line_begin(l, "hypercalls");
	line_add(l, "unknown", counts[0]);
	for (u32 i = 1; i < COUNT_HYPERCALLS; i++)
		line_add(l, hypercall_name(i), counts[i]);
	line_end(l, false);
}

static void print_counters(struct line *l, const struct counters *c)
{
	line_begin(l, "counters");
	line_add(l, "nested_entries", c->nested_entries);
	line_add(l, "irqs", c->irqs);
	line_add(l, "posted", c->posted);
	line_add(l, "nic_irqs", c->nic_irqs);
	line_add(l, "halts", c->halts);
	line_end(l, false);
}

void report_print_counters(const struct vm *vm, const char *phase, const struct counters *c, bool first)
{
	struct line l = { .vm = vm, .phase = phase };

	print_by_reason(&l, "exits", c->exits, COUNT_EXIT_REASONS, first);
	print_by_reason(&l, "exits_fast", c->fast, COUNT_FAST_REASONS, false);
	print_by_reason(&l, "exits_nested", c->exits_nested, COUNT_EXIT_REASONS, first && vm->cfg->vmx);
	print_by_reason(&l, "exits_nested_fast", c->fast_nested, COUNT_FAST_REASONS, false);
	print_by_reason(&l, "reflected", c->reflected, COUNT_EXIT_REASONS, false);
	print_by_reason(&l, "exit_instructions", c->exit_tsc, COUNT_EXIT_REASONS, false);
	print_hypercalls(&l, c->hypercalls);
	print_counters(&l, c);
}
