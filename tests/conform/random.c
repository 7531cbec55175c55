/*
 * Random VMCS states on the processor, against the validator (validate.h): a line per block, with the first case that is not as the
 * SDM's rules say.
 *
 * Invariant: what enters is ended by its VMCALL, an exception, or the preemption timer; where there is none, the group is left out.
 */
#include <stdio.h>
#include <string.h>

#include "tests/conform/validate.h"
#include "tests/conform/world.h"

#define BLOCKS 32
#define CASES 192 /* each */

static u64 read_memory(u64 address)
{
	/* What is not RAM reads as ones or zeros: no revision, and no PDPTE of a test. */
	return address < 4 * SIZE_1G ? *(const volatile u64 *)address : 0;
}

static u32 answer_of(const struct outcome *o)
{
	if (!o->entered)
		return o->flags == RFLAGS_ZF && (o->error == 7 || o->error == 8) ? ANSWER(o->error) : 0;
	if (!(o->reason & EXIT_REASON_ENTRY_FAILURE))
		return ANSWER(ENTERS);
	if ((o->reason & 0xffff) != XR_ENTRY_GUEST_STATE)
		return 0;
	return o->qualification == 0 ? ANSWER(E_GUEST) : o->qualification == 2 ? ANSWER(E_PDPTE)
	       : o->qualification == 4 ? ANSWER(E_LINK) : 0;
}

static void set_text(u32 set, char *t, u32 len)
{
	static const struct { u32 bit; const char *text; } rows[] = {
		{ ANSWER(E_CONTROLS), "e7" }, { ANSWER(E_HOST), "e8" }, { ANSWER(E_GUEST), "x33q0" }, { ANSWER(E_PDPTE), "x33q2" },
		{ ANSWER(E_LINK), "x33q4" }, { ANSWER(ENTERS), "entry" },
	};
	u32 at = 0;

	for (u32 i = 0; i < ARRAY_SIZE(rows); i++)
		if (set & rows[i].bit)
			at += (u32)sniprintf(t + at, len - at, "%s%s", at ? "|" : "", rows[i].text);
}

static void case_text(u64 n, const struct random_case *c, const struct outcome *o, char *t, u32 len)
{
	u32 at = (u32)sniprintf(t, len, "%s in case %llu: base %d", outcome_text(o), (unsigned long long)n, (int)c->base);

	for (u32 i = 0; i < c->nr; i++)
		at += (u32)sniprintf(t + at, len - at, " %s=%llx", c->change[i].field, (unsigned long long)c->change[i].value);
}

static void block(u32 number, const struct memory *m)
{
	static char saw[320], want[64];
	struct random_case what;
	u32 wrong = 0, entered = 0;
	struct vstate s;
	struct outcome o;
	char name[32];

	for (u32 i = 0; i < CASES; i++) {
		u64 n = (u64)number * CASES + i;
		random_state(n, &env, &s, m, &what);
		u32 set = validate(&env, &s, m);
		memset(&guest_regs, 0, sizeof(guest_regs));
		world_write(&s);
		world_run(&o);
		entered += answer_of(&o) == ANSWER(ENTERS);
		if ((answer_of(&o) & set) || wrong++)
			continue;
		set_text(set, want, sizeof(want));
		case_text(n, &what, &o, saw, sizeof(saw));
	}
	sniprintf(name, sizeof(name), "block-%02u", number);
	report_text(name, wrong ? saw : "as the SDM says", wrong ? want : "as the SDM says");
	if (wrong)
		printf("conform: random block %u: %u of %u not as predicted, %u entered\n", number, wrong, CASES, entered);
}

void group_random(u32 every)
{
	u32 features = cpuid(7, 0).ebx;
	struct memory m = { .read = read_memory, .rtm = features & BIT(11), .sgx = features & BIT(2) };

	if (!may_pin(&env, PIN_PREEMPTION_TIMER)) {
		report_skip("all", "no preemption timer to end what enters");
		return;
	}
	world_open();
	for (u32 i = 0; i < BLOCKS; i += every)
		block(i, &m);
	world_close();
}
