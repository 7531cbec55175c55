/*
 * VM-entry checks on the processor: runs the tables of vectors_*.c, one line per row.
 *
 * Invariant: RESULT lists the answer to every vector of a row in order: e7, e8 VMfailValid; x33q0 entry failure with its exit
 * qualification; x18 entered, and ended by exit 18. PASS if each is what the SDM says.
 */
#include <stdio.h>
#include <string.h>

#include "tests/conform/world.h"

static struct { struct walk walk; u32 sample, count; const char *name; char saw[512], want[512]; u32 saw_len, want_len; bool wrong;
       } run;

static void row_end(void)
{
	if (!run.name)
		return;
	report_text(run.name, run.wrong ? run.saw : "as the SDM says", run.wrong ? run.want : "as the SDM says");
	report_result(run.name, "%s", run.saw);
	run.name = NULL;
}

static bool row(struct walk *w, const char *name, const char *sentence, const char *why)
{
	(void)w;
	(void)sentence;
	row_end();
	if (run.count++ % run.sample)
		return false;
	if (why) {
		report_skip(name, why);
		return false;
	}
	run.name = name;
	run.saw_len = run.want_len = 0;
	run.wrong = false;
	run.saw[0] = run.want[0] = 0;
	return true;
}

static const char *wanted(enum expect want)
{
	switch (want) {
	case E_CONTROLS: return "e7";
	case E_HOST: return "e8";
	case E_GUEST: return "x33q0";
	case E_PDPTE: return "x33q2";
	case E_NMI: return "x33q3";
	case E_LINK: return "x33q4";
	case E_MSR1: return "x34q1";
	case E_MSR2: return "x34q2";
	default: return "entry";
	}
}

static void append(char *list, u32 *len, const char *word)
{
	if (*len < 480)
		*len += (u32)sniprintf(list + *len, 512 - *len, "%s%s", *len ? " " : "", word);
}

static void vector(struct walk *w, enum expect want)
{
	struct outcome o;
	const char *saw;
	bool entered;

	world_write(&w->s);
	world_run(&o);
	saw = outcome_text(&o);
	entered = o.entered && !(o.reason & EXIT_REASON_ENTRY_FAILURE);
	bool ok = want == ENTERS ? entered : !strcmp(saw, wanted(want));
	append(run.saw, &run.saw_len, saw);
	append(run.want, &run.want_len, ok ? saw : wanted(want));
	run.wrong |= !ok;
}

void group_entry(u32 sample)
{
	static void (*const tables[])(struct walk *) = {
		vectors_execution, vectors_apic, vectors_exit_entry, vectors_injection, vectors_host, vectors_registers, vectors_segments,
		vectors_system, vectors_state, vectors_msr_load,
	};

	run.sample = sample;
	run.count = 0;
	run.walk = (struct walk){ .e = &env, .row = row, .vector = vector };
	world_open();
	for (u32 i = 0; i < ARRAY_SIZE(tables); i++)
		tables[i](&run.walk);
	row_end();
	world_close();
}
