/*
 * VM entry and exit, the guest's first instructions, and handlers of its IDT.
 *
 * Invariant: world_enter returns once for each call, with all that the C calling convention preserves, whether the entry failed or
 * the guest ran. HOST_RSP is exit_stack_top, HOST_RIP world_exit, at all times.
 */
	.text
	.globl world_enter, world_exit
world_enter:
	pushq %rbx
	pushq %rbp
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	movq %rdi, regs_at
	movl %esi, launch
	movq 0(%rdi), %rax
	movq 8(%rdi), %rcx
	movq 16(%rdi), %rdx
	movq 24(%rdi), %rbx
	movq 32(%rdi), %rbp
	movq 40(%rdi), %rsi
	movq 56(%rdi), %r8
	movq 64(%rdi), %r9
	movq 72(%rdi), %r10
	movq 80(%rdi), %r11
	movq 88(%rdi), %r12
	movq 96(%rdi), %r13
	movq 104(%rdi), %r14
	movq 112(%rdi), %r15
	movq 48(%rdi), %rdi
	movq %rsp, saved_rsp
	cmpl $0, launch
	je 1f
	pushq $0x8d7
	popfq
	vmlaunch
	jmp 2f
1:	pushq $0x8d7
	popfq
	vmresume
2:	pushfq
	popq %rax
	andl $0x8d5, %eax
	jmp 3f
world_exit:
	pushq %rdi
	movq regs_at, %rdi
	movq %rax, 0(%rdi)
	movq %rcx, 8(%rdi)
	movq %rdx, 16(%rdi)
	movq %rbx, 24(%rdi)
	movq %rbp, 32(%rdi)
	movq %rsi, 40(%rdi)
	movq %r8, 56(%rdi)
	movq %r9, 64(%rdi)
	movq %r10, 72(%rdi)
	movq %r11, 80(%rdi)
	movq %r12, 88(%rdi)
	movq %r13, 96(%rdi)
	movq %r14, 104(%rdi)
	movq %r15, 112(%rdi)
	popq 48(%rdi)
	movl $0x40000000, %eax
3:	movq saved_rsp, %rsp
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbp
	popq %rbx
	ret

	.balign 16
	.globl guest_vmcall, guest_idt_stubs
guest_vmcall:
	vmcall
	hlt
	.balign 16
guest_idt_stubs:
	.rept 256
	.balign 4
	vmcall
	.endr

	.bss
	.balign 16
regs_at:
	.skip 8
saved_rsp:
	.skip 8
launch:
	.skip 8
	.balign 16
	.skip 512
	.globl exit_stack_top, guest_stack_top
exit_stack_top:
	.skip 8192
guest_stack_top:
	.skip 64

	.section .note.GNU-stack, "", @progbits
