/*
 * What the guest knows of the Nestling below it: discovery, hypercalls, phases, the end (core/abi.h).
 *
 * Invariant: the record page is registered before any call that needs it, and holds nothing between two calls.
 */
#ifndef GUEST_LIB_NEST_H
#define GUEST_LIB_NEST_H

#include "core/abi.h"
#include "core/errno.h"
#include "core/types.h"

struct nest {
	bool present;
	u32 version, features, nr_ports, depth;
	u32 max_leaf;
	char signature[13]; /* what CPUID 40000000h says, printable */
};

/* Ask CPUID; fills in everything. */
void nest_find(struct nest *n);
/* Hypercall: 0, a positive result or -errno. Only where nest_find says present. */
s64 nest_call(u64 nr, u64 a0, u64 a1, u64 a2, u64 a3);
/* This vCPU's record page; the address is constant. */
void *nest_record(void);
/* Register it. 0 or -errno. */
int nest_record_register(void);
/* Begin a phase of the measurement by name; a name that was used before is the same phase. */
void nest_phase(const char *name);
/* End the VM with this code, after what was printed has gone out. */
void nest_exit(u8 code) __noreturn;

#endif
