/*
 * The rounds of a small hypervisor (inner.h): entry, exit, what a typical handler reads and writes, entry.
 *
 * Its guest shares all registers but RSP and RIP with it and uses RAX, RCX, RDI only: nothing is saved or restored. RBP = struct
 * inner_run, R15 = exits to come, R14 = bytes to skip, R13 = expected reason, R12 = 0, RBX = the VMCS page.
 */
#include "guest/work/inner.h"

	.text
	.globl inner_run
	.type inner_run, @function
inner_run:
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	movq	%rdi, %rbp
	movq	%rsp, RUN_RSP(%rbp)
	movq	RUN_COUNT(%rbp), %r15
	movq	RUN_SKIP(%rbp), %r14
	movq	RUN_EXPECTED(%rbp), %r13
	xorl	%r12d, %r12d
	movq	RUN_PAGE(%rbp), %rbx
	movq	RUN_RCX(%rbp), %rcx
	cmpq	$0, RUN_LAUNCH(%rbp)
	movq	RUN_RDI(%rbp), %rdi
	je	1f
	vmlaunch
	jmp	refused
1:	vmresume
refused:
	movl	$INNER_REFUSED, %eax
	jmp	leave

	/* INNER_OWN_REGION counts from here to VMRESUME, and two instructions of its guest. */
	.globl inner_exit_region
inner_exit_region:
	movl	$0x4402, %eax		/* exit reason */
	vmread	%rax, %r8
	movl	$0x6400, %eax		/* qualification */
	vmread	%rax, %r9
	movl	$0x681e, %eax		/* RIP */
	vmread	%rax, %r10
	movl	$0x440c, %eax		/* instruction length */
	vmread	%rax, %r11
	movl	$0x4824, %eax		/* interruptibility */
	vmread	%rax, %rsi
	movl	$0x4408, %eax		/* IDT-vectoring information */
	vmread	%rax, %r11
	movl	$0x4404, %eax		/* interruption information */
	vmread	%rax, %r11
	movl	$0x6820, %eax		/* RFLAGS */
	vmread	%rax, %rdx
	cmpq	%r13, %r8
	jne	other
	addq	%r14, %r10
	movl	$0x681e, %eax
	vmwrite	%r10, %rax
	movl	$0x4824, %eax
	vmwrite	%rsi, %rax
	movl	$0x6820, %eax
	vmwrite	%rdx, %rax
	movl	$0x4016, %eax		/* event to inject */
	vmwrite	%r12, %rax
	decq	%r15
	jz	done
	vmresume
	jmp	refused

	/* The same with a VMCS page: INNER_OWN_PAGE. All that is written is read at each entry: no clean bits. */
	.globl inner_exit_page
inner_exit_page:
	movq	AT_EXIT_REASON(%rbx), %r8
	movq	AT_EXIT_QUALIFICATION(%rbx), %r9
	movq	AT_GUEST_RIP(%rbx), %r10
	movq	AT_EXIT_INSN_LEN(%rbx), %r11
	movq	AT_GUEST_INTERRUPTIBILITY(%rbx), %rsi
	movq	AT_IDT_VECTORING_INFO(%rbx), %r11
	movq	AT_EXIT_INTR_INFO(%rbx), %r11
	movq	AT_GUEST_RFLAGS(%rbx), %rdx
	cmpq	%r13, %r8
	jne	other
	addq	%r14, %r10
	movq	%r10, AT_GUEST_RIP(%rbx)
	movq	%rsi, AT_GUEST_INTERRUPTIBILITY(%rbx)
	movq	%rdx, AT_GUEST_RFLAGS(%rbx)
	movq	%r12, AT_ENTRY_INTR_INFO(%rbx)
	decq	%r15
	jz	done
	vmresume
	jmp	refused

done:
	xorl	%eax, %eax
	jmp	leave
other:
	movl	$INNER_OTHER_EXIT, %eax
leave:
	movq	%r8, RUN_REASON(%rbp)
	movq	%rdi, RUN_RDI(%rbp)
	movq	%rcx, RUN_RCX(%rbp)
	movq	RUN_RSP(%rbp), %rsp
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
	ret
	.size inner_run, . - inner_run

	.globl inner_vmread
inner_vmread:
	vmread	%rsi, %rax
	decq	%rdi
	jnz	inner_vmread
	ret

	.globl inner_guest_vmcall, inner_guest_load, inner_guest_touch, inner_guest_spin
inner_guest_vmcall:
	vmcall
	jmp	inner_guest_vmcall
inner_guest_load:
	movl	(%rdi), %eax
	jmp	inner_guest_load
inner_guest_touch:
	movb	(%rdi), %al
	addq	$4096, %rdi
	decq	%rcx
	jnz	inner_guest_touch
	jmp	inner_guest_vmcall
inner_guest_spin:
	pause
	jmp	inner_guest_spin
	.section .note.GNU-stack,"",@progbits
