/*
 * Exceptions of our own code, panics, backtraces.
 */
#ifndef CORE_EXCEPTION_H
#define CORE_EXCEPTION_H

#include "core/types.h"

/* What idt.S leaves on the stack: lowest address first. */
struct exc_frame {
	u64 r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
	u64 vector, error;
	u64 rip, cs, rflags, rsp, ss; /* pushed by the CPU (SDM 3A, 64-Bit Mode Stack Frame) */
};
_Static_assert(sizeof(struct exc_frame) == 22 * 8, "as pushed by idt.S");

/* Write the 256 gates and load the IDT on this CPU (percpu_init does it). */
void exception_init_cpu(void);
/* C side of every gate; called by idt.S only. */
void exception_entry(struct exc_frame *f);
/* An NMI reached this CPU, by the IDT or as a VM exit: a kick (IRQ_VEC_KICK), or the end if some CPU has panicked. */
void nmi_handle(void);

/*
 * MSR accesses that may fault: false if the CPU (or the outer) raised #GP. Any context in which exceptions may be taken.
 */
bool rdmsr_safe(u32 msr, u64 *value) __must_check;
bool wrmsr_safe(u32 msr, u64 value) __must_check;

/* panic() ends by writing ffh to the exit port (NEST_EXIT_PORT) instead of halting: test machines. */
void panic_set_exit_port(bool on);
/* The end of a panic whose message is already out. */
void panic_stop(void) __noreturn;
/* Begin one: other CPUs are stopped, the console is ours. Returns only on the first CPU that panics. */
void panic_begin(void);
/* Names of the callers from a frame on; every address is checked before it is read. */
void backtrace_log(u64 rip, u64 rbp);

#endif
