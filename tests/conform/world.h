/*
 * Guests of the processor under test: writing a VMCS, entering, what the exit said; memory and tables that guests use.
 *
 * Invariant: between world_open and world_close the processor is in VMX operation with vmcs_a current. A field is written only if
 * its value is not known to be there already, so the number of VMWRITEs stays small where each of them exits.
 */
#ifndef CONFORM_WORLD_H
#define CONFORM_WORLD_H

#include "tests/conform/session.h"
#include "tests/conform/vectors.h"

struct regs { u64 rax, rcx, rdx, rbx, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15; };
extern struct regs guest_regs; /* the guest's registers, at entry and after the exit */

struct outcome {
	bool entered;          /* a VM exit happened (also that of an entry failure); else: */
	u64 flags;             /* what the instruction left */
	u32 error;             /* VM-instruction error */
	u32 reason;            /* whole field */
	u64 qualification;
};

void world_open(void);
void world_close(void);
/* Make the VMCS hold this state, where fields exist. */
void world_write(const struct vstate *s);
/* VMLAUNCH or VMRESUME, as its launch state asks for. */
void world_run(struct outcome *o);
/* The guest's failed entry or other outcome in short: "e7", "x33q4", "x18". */
const char *outcome_text(const struct outcome *o);
/* VMREAD of a field that exists; all ones if it fails. */
u64 field(u32 encoding);
/* A field written behind world_write's back, or by the guest's run: its value is not known any more. */
void world_forget(u32 encoding);

/* ---- world.S ---- */
u64 world_enter(struct regs *r, u32 launch);
extern u8 world_exit[], exit_stack_top[], guest_stack_top[], guest_vmcall[], guest_idt_stubs[];
#define IDT_STUB 4 /* bytes of a handler in the guest's IDT: VMCALL; its place says the vector */

/* Tables for guests: EPT of 4 GiB in 2 MiB pages, open to tests. */
extern u64 ept_pml4[512], ept_pdpt[512], ept_pd[2048];

#endif
