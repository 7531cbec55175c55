/*
 * Entry of every exception and interrupt: 256 stubs of 16 bytes, one common path into exception_entry().
 *
 * Invariant: below exception_entry() lies a struct exc_frame (core/exception.h). GS is ours whenever host code runs, so
 * nothing is swapped. Interrupt gates keep IF clear, but the path is re-entrant all the same (core/irq.h).
 */
	.text

	.balign 16
	.globl idt_stubs
idt_stubs:
	.set vector, 0
	.rept 256
	.balign 16
	/* The CPU pushes an error code for these (SDM 3A, Error Code); all others get a zero. */
	.if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30)
	pushq $0
	.endif
	pushq $vector
	jmp idt_common
	.set vector, vector + 1
	.endr

idt_common:
	pushq %rax
	pushq %rbx
	pushq %rcx
	pushq %rdx
	pushq %rsi
	pushq %rdi
	pushq %rbp
	pushq %r8
	pushq %r9
	pushq %r10
	pushq %r11
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	cld
	movq %rsp, %rdi
	call exception_entry
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %r11
	popq %r10
	popq %r9
	popq %r8
	popq %rbp
	popq %rdi
	popq %rsi
	popq %rdx
	popq %rcx
	popq %rbx
	popq %rax
	addq $16, %rsp
	iretq

/* bool rdmsr_safe(u32 msr, u64 *value) */
	.globl rdmsr_safe
	.type rdmsr_safe, @function
rdmsr_safe:
	movl %edi, %ecx
rdmsr_at:
	rdmsr
	shlq $32, %rdx
	orq %rdx, %rax
	movq %rax, (%rsi)
	movl $1, %eax
	ret
	.size rdmsr_safe, . - rdmsr_safe

/* bool wrmsr_safe(u32 msr, u64 value) */
	.globl wrmsr_safe
	.type wrmsr_safe, @function
wrmsr_safe:
	movl %edi, %ecx
	movl %esi, %eax
	movq %rsi, %rdx
	shrq $32, %rdx
wrmsr_at:
	wrmsr
	movl $1, %eax
	ret
	.size wrmsr_safe, . - wrmsr_safe

msr_fault:
	xorl %eax, %eax
	ret

/* Instructions that may fault, and where to go on: pairs, ended by a zero. */
	.section .rodata
	.balign 8
	.globl exception_fixups
exception_fixups:
	.quad rdmsr_at, msr_fault
	.quad wrmsr_at, msr_fault
	.quad 0

	.section .note.GNU-stack, "", @progbits
