/*
 * The processor under test: its capabilities, entering VMX operation, single VMX instructions with their results as text.
 *
 * Invariant: an exception of a tested instruction is caught and told, with its error code; VMX operation is entered and left by
 * session_vmxon and session_vmxoff only, except by the tests of those instructions themselves.
 */
#ifndef CONFORM_SESSION_H
#define CONFORM_SESSION_H

#include "guest/lib/cmdline.h"
#include "tests/conform/env.h"
#include "tests/conform/report.h"
#include "tests/conform/x86.h"

extern struct env env;
/* Pages that tests use as VMCS regions: VMXON region, two VMCSs. */
extern u32 vmxon_region[1024], vmcs_a[1024], vmcs_b[1024];

/* Read the capability MSRs, make the GDT. NULL, or why nothing can be tested. */
const char *session_init(void);
/* Into VMX operation with vmcs_a current and clear; out of it. */
void session_vmxon(void);
void session_vmxoff(void);

/* Result of an instruction: "ok", "invalid", "error 12", "#GP(0)", "#PF(2) at 1000". The text lives for three more calls. */
const char *attempt(enum insn_op op, u64 a, u64 b);
/* The same for any function: its exceptions, or "ok". */
const char *attempt_call(void (*fn)(void *), void *arg);
/* Flags of a VMX instruction as text. */
const char *flags_text(u64 flags);

/* The groups: report.h's lines; NULL-terminated list in main.c. sample: every n-th of what is many. */
void group_insn(u32 sample);
void group_fields(u32 sample);
void group_entry(u32 sample);
void group_exits(u32 sample);
void group_events(u32 sample);
void group_steps(u32 sample);
void group_translate(u32 sample);
void group_random(u32 sample);
void group_sipi(u32 sample);
void insn_operands(void); /* part of group_insn, in VMX operation with vmcs_a current */

#endif
