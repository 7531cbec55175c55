/*
 * One guest, one exit, held against what the SDM says of it.
 *
 * Invariant: an exit's text begins with what the SDM defines for every exit (reason, qualification, instruction length where an
 * instruction exited, RIP relative to the piece); fields that are defined for some reasons only follow where they are.
 */
#ifndef CONFORM_EXITS_H
#define CONFORM_EXITS_H

#include "core/x86.h"
#include "tests/conform/world.h"

#define EPT_ADVANCED BIT(22) /* IA32_VMX_EPT_VPID_CAP: bits 11:9 of a violation's qualification are defined */
#define PIECE(name) extern u8 g_##name[]

/* Start a test: base state, guest registers cleared, RIP at the piece, no exceptions intercepted. */
void exit_begin(struct vstate *s, enum base b, const u8 *piece);
/*
 * Run and report: expected is the beginning of the exit's text; "": where the SDM leaves it open, only to be the same everywhere.
 * "x10 q0 l2 +0": exit 10, qualification 0, length 2, RIP at the piece.
 * More: i instruction information, v interruption information, e its error code, d IDT-vectoring information, c its error code, g
 * guest-linear, p guest-physical address.
 */
void exit_expect(const char *name, struct vstate *s, const char *expected);
/* Enter and say what came out; for tests that go on afterwards. */
const char *exit_run(const struct vstate *s);
/* Continue the guest as the last exit left it, with these fields written first (pairs: encoding, value; ends with encoding ~0). */
const char *exit_resume(const u32 *encodings, const u64 *values, u32 n);

/* s in scope; the statements prepare it, and guest_regs. */
#define EXPECT(name, base, piece, expected, ...) do { \
	struct vstate s_, *s = &s_; \
	exit_begin(s, base, g_##piece); \
	__VA_ARGS__; \
	exit_expect(name, s, expected); \
} while (0)
/* The timer ends a guest that wrongly goes on for ever. */
#define BOUNDED may_pin(&env, PIN_PREEMPTION_TIMER)
#define NEEDS(name, cond, ...) do { if (cond) { __VA_ARGS__; } else report_skip(name, SHORT); } while (0)

void exits_cr(void);   /* parts of group_exits */
void exits_io(void);
void exits_vmx(void);
void exits_memory(void);
void exits_other(void);
void events_features(void); /* part of group_events */

#endif
