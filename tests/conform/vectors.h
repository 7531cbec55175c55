/*
 * VM-entry checks: one row per sentence of the SDM (3C, VM Entries), each with states at the passing and at the failing
 * side of its boundary. Run by conform.elf on a processor (entry.c) and by a unit test on the nested engine's own checks
 * (test_nested_check_rows.c).
 *
 * Invariant: a failing vector breaks no other sentence than its row's (but where two sentences cannot be told apart), so
 * a processor without that check alone lets it pass.
 */
#ifndef CONFORM_VECTORS_H
#define CONFORM_VECTORS_H

#include "tests/conform/env.h"

/* Where a vector starts from; all valid. */
enum base {
	BASE_LONG,      /* 64-bit guest, no EPT */
	BASE_EPT,       /* the same with EPT */
	BASE_32,        /* protected mode, 32-bit paging */
	BASE_PAE,       /* protected mode, PAE paging */
	BASE_PAE_EPT,
	BASE_V86,       /* virtual-8086 mode */
	BASE_REAL,      /* real mode: EPT, unrestricted guest */
	BASE_FLAT,      /* protected mode without paging: EPT, unrestricted guest */
	BASE_UG,        /* BASE_EPT as an unrestricted guest */
	NR_BASES
};

/* What a processor answers. The numbers below ENTERS are VM-instruction errors. */
enum expect {
	E_CONTROLS = 7, E_HOST = 8,
	ENTERS = 100,   /* no VM-entry failure */
	E_GUEST,        /* exit reason 80000021h, qualification 0 */
	E_PDPTE,        /* …, 2 */
	E_NMI,          /* …, 3 */
	E_LINK,         /* …, 4 */
	E_MSR1,         /* exit reason 80000022h, qualification 1 */
	E_MSR2,
};

struct walk {
	struct env *e;
	struct vstate s;
	/* False: leave the row out. why: what is missing, NULL if nothing. */
	bool (*row)(struct walk *w, const char *name, const char *sentence, const char *why);
	void (*vector)(struct walk *w, enum expect want);
};

/* The valid state, and memory that it names. */
void base_state(struct vstate *s, const struct env *e, enum base b);
/* Does this processor offer what the base needs? */
bool base_possible(const struct env *e, enum base b);

/* The tables. Names begin with "ctl.", "host." or "guest." of the sentence's section. */
void vectors_execution(struct walk *w);
void vectors_apic(struct walk *w);
void vectors_exit_entry(struct walk *w);
void vectors_injection(struct walk *w);
void vectors_host(struct walk *w);
void vectors_registers(struct walk *w);
void vectors_segments(struct walk *w);
void vectors_system(struct walk *w);
void vectors_state(struct walk *w);
void vectors_msr_load(struct walk *w);

/*
 * ROW(name, sentence, need, why) { PASS(base, statements); FAIL(base, answer, statements); } with s the state and e the environment
 * in scope. need false: left out, because of why.
 */
#define VECTORS(w) struct vstate *s = &(w)->s; const struct env *e = (w)->e; (void)s; (void)e
#define ROW(name, sentence, ...) if (w->row(w, name, sentence, ROW_WHY(__VA_ARGS__)))
#define ROW_WHY(need, why) ((need) ? NULL : (why))
#define ALWAYS true, NULL
#define FAIL(b, want, ...) do { base_state(s, e, b); __VA_ARGS__; w->vector(w, want); } while (0)
#define PASS(b, ...) FAIL(b, ENTERS, __VA_ARGS__)
#define ON(field, bits) (s->field |= (bits))
#define OFF(field, bits) (s->field &= ~(u64)(bits))
#define SECONDARY(bits) (ON(PROC_CONTROLS, PROC_SECONDARY), ON(PROC2_CONTROLS, bits))
#define TOO_WIDE(e) ((e)->maxpa < 64 ? BIT((e)->maxpa) : 0)
#define NOT_CANONICAL BIT(47)
#define SHORT "the control is not offered"
#define NO_X2APIC "no x2APIC" /* known to tests/scenarios/conform.py */

#endif
