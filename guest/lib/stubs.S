/*
 * Entry stubs of all 256 vectors, and the small pieces of code whose exact instructions matter.
 *
 * Invariant: a stub builds struct trap_frame (lib/traps.h) on the stack in use, so handlers may be entered again at any
 * point. fault_resume_rsp is non-zero only while fault_catch() runs its function.
 */
	.text
	.code64
	.balign 16
	.globl trap_stubs
trap_stubs: /* TRAP_STUB_SIZE bytes each */
	vector = 0
	.rept 256
	.balign 16
	.if (vector == 8) || (vector >= 10 && vector <= 14) || (vector == 17) || (vector == 21) || (vector == 29) || (vector == 30)
	.else
	pushq $0
	.endif
	.byte 0x6a, vector /* PUSH imm8: sign-extended, trap_common undoes it */
	jmp trap_common
	vector = vector + 1
	.endr

trap_common:
	pushq %r15
	pushq %r14
	pushq %r13
	pushq %r12
	pushq %r11
	pushq %r10
	pushq %r9
	pushq %r8
	pushq %rbp
	pushq %rdi
	pushq %rsi
	pushq %rdx
	pushq %rcx
	pushq %rbx
	pushq %rax
	movq %rsp, %rdi
	cld
	call trap_handle
	popq %rax
	popq %rbx
	popq %rcx
	popq %rdx
	popq %rsi
	popq %rdi
	popq %rbp
	popq %r8
	popq %r9
	popq %r10
	popq %r11
	popq %r12
	popq %r13
	popq %r14
	popq %r15
	addq $16, %rsp
	iretq

	.globl fault_catch
fault_catch:
	pushq %rbx
	pushq %rbp
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	subq $8, %rsp
	movq %rsp, fault_resume_rsp
	movq %rdi, %rax
	movq %rsi, %rdi
	call *%rax
	movl $-1, %eax
	/* trap_handle returns here with RSP as it was saved and the vector in RAX. */
	.globl fault_resume
fault_resume:
	movq $0, fault_resume_rsp
	addq $8, %rsp
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbp
	popq %rbx
	ret

	.globl user_vmcall
user_vmcall:
	pushq $0x23                 /* SEL_USER_DATA */
	leaq user_stack_end(%rip), %rax
	pushq %rax
	pushq $2                    /* RFLAGS: only the fixed bit */
	pushq $0x1b                 /* SEL_USER_CODE */
	leaq 1f(%rip), %rax
	pushq %rax
	iretq
1:	movl $3, %eax               /* HC_REPORT: needs no argument */
	vmcall
	hlt

	.globl user_run
user_run:
	pushq $0x23                 /* SEL_USER_DATA */
	leaq user_stack_end(%rip), %rax
	pushq %rax
	pushq $2                    /* RFLAGS: only the fixed bit */
	pushq $0x1b                 /* SEL_USER_CODE */
	pushq %rdi
	iretq

	.globl user_vmxon, user_vmread, user_vmlaunch
user_vmxon:
	vmxon fault_resume_rsp(%rip)
	ud2
user_vmread:
	vmread %rax, %rax
	ud2
user_vmlaunch:
	vmlaunch
	ud2

	.globl tsc_loop
tsc_loop:
	movq %rdi, %rcx
	rdtsc
	movl %eax, %esi
	movl %edx, %edi
1:	decq %rcx
	jnz 1b
	rdtsc
	shlq $32, %rdx
	orq %rdx, %rax
	shlq $32, %rdi
	orq %rdi, %rsi
	subq %rsi, %rax
	ret

	.bss
	.balign 16
	.globl fault_resume_rsp
fault_resume_rsp:
	.skip 16
	.skip 1024
user_stack_end:

	.section .note.GNU-stack, "", @progbits
