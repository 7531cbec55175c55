/*
 * A validator of VMCS states of our own: what VM entry must answer, worked out from the SDM's sentences alone (SDM 3C, VM
 * Entries). It shares no code with vmx/nested_check_*.c, so that a fault of one is seen by the other.
 *
 * Invariant: pure but for reads of the memory that the state names. A processor may make the checks of controls and host
 * state in any order, and those of guest state in any order: the answer is a set.
 */
#ifndef CONFORM_VALIDATE_H
#define CONFORM_VALIDATE_H

#include "tests/conform/vectors.h"

#define ANSWER(x) (1u << ((x) >= ENTERS ? (x) - ENTERS : 16 + (x)))

struct memory {
	u64 (*read)(u64 address); /* eight bytes of guest-physical memory */
	bool rtm, sgx;            /* CPUID.07H.EBX: bits 11, 2 */
};
/* ANSWER(ENTERS), or the failures that apply. A 64-bit L1 is presumed. */
u32 validate(const struct env *e, const struct vstate *s, const struct memory *m);

/* What a random state is made of: a base, and the fields changed. */
struct random_case { enum base base; u32 nr; struct { const char *field; u64 value; } change[3]; };
/*
 * Case number n of the random states (fixed for all time): a valid state with up to three fields changed, and in a
 * quarter of them an event. Nothing that enters leads the guest or the host to where they must not go.
 */
void random_state(u64 n, const struct env *e, struct vstate *s, const struct memory *m, struct random_case *what);

#endif
