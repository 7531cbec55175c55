/*
 * VM entry as a call that returns (STYLE, Choices).
 *
 * u64 vmx_enter(u64 *gpr, u64 launched): loads the guest's registers from gpr[16], VMLAUNCH or VMRESUME. Returns 0 after a
 * VM exit with the registers stored back into gpr; 1 (VMfailInvalid) or 2 (VMfailValid) if the entry failed. An exit that
 * exit_fast or exit_fast_nested (C) deals with does not return: the VM goes on. With a trace their _traced forms are called: which
 * ones says HOST_RIP.
 *
 * The trick: HOST_RSP lies behind R11's place in gpr[], so the exit path stores the registers by PUSH; our own stack is found
 * in the per-CPU block (GS base is loaded by the VM exit; offset 8: struct cpu.host_rsp). RBP and R12 to R15 a C function gives
 * back as it got them: they stay in the processor until an exit is for vmx_enter's caller. Nothing here exits when nested, but the
 * entry itself.
 */
	.macro	load_registers	/* those that call_on_our_stack stores, from (RDI); flags stay */
	movq	0x00(%rdi), %rax
	movq	0x08(%rdi), %rcx
	movq	0x10(%rdi), %rdx
	movq	0x18(%rdi), %rbx
	movq	0x30(%rdi), %rsi
	movq	0x40(%rdi), %r8
	movq	0x48(%rdi), %r9
	movq	0x50(%rdi), %r10
	movq	0x58(%rdi), %r11
	movq	0x38(%rdi), %rdi
	.endm

	.macro	call_on_our_stack fn	/* AL = fn(gpr); its alignment is the ABI's: see vmx_enter */
	pushq	%r11
	pushq	%r10
	pushq	%r9
	pushq	%r8
	pushq	%rdi
	pushq	%rsi
	leaq	-0x10(%rsp), %rsp /* RBP: later; RSP: no meaning */
	pushq	%rbx		/* also one that C gives back, but CPUID changes it */
	pushq	%rdx
	pushq	%rcx
	pushq	%rax
	movq	%rsp, %rdi
	movq	%gs:8, %rsp
	call	\fn
	.endm

	.text
	.globl vmx_enter
	.type vmx_enter, @function
vmx_enter:
	pushq	%rbp
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	pushq	%rdi		/* gpr, for the exit; aligns the stack for its call, too */
	movq	%rsp, %gs:8
	testq	%rsi, %rsi
	movq	0x28(%rdi), %rbp
	movq	0x60(%rdi), %r12
	movq	0x68(%rdi), %r13
	movq	0x70(%rdi), %r14
	movq	0x78(%rdi), %r15
	load_registers
	jnz	1f
	vmlaunch
	jmp	2f
1:	vmresume
2:	/* the entry failed: flags tell how, registers are the guest's and worthless */
	setc	%al
	setz	%cl
	movzbl	%al, %eax
	movzbl	%cl, %ecx
	leal	(%eax,%ecx,2), %eax
	jmp	3f

	.globl vmx_exit_entry
vmx_exit_entry:			/* HOST_RIP; RSP = &gpr[12]; RFLAGS are clear (SDM 3C, Loading Host RIP, RSP, RFLAGS) */
	call_on_our_stack exit_fast
4:	movq	(%rsp), %rdi	/* gpr */
	testb	%al, %al
	jz	5f
	load_registers
	vmresume
	jmp	2b
5:	movq	%rbp, 0x28(%rdi)
	movq	%r12, 0x60(%rdi)
	movq	%r13, 0x68(%rdi)
	movq	%r14, 0x70(%rdi)
	movq	%r15, 0x78(%rdi)
	xorl	%eax, %eax
3:	popq	%rdi
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbx
	popq	%rbp
	ret

	.globl vmx_exit_entry_nested
vmx_exit_entry_nested:
	call_on_our_stack exit_fast_nested
	jmp	4b

	.globl vmx_exit_entry_traced
vmx_exit_entry_traced:
	call_on_our_stack exit_fast_traced
	jmp	4b

	.globl vmx_exit_entry_nested_traced
vmx_exit_entry_nested_traced:
	call_on_our_stack exit_fast_nested_traced
	jmp	4b
	.size vmx_enter, . - vmx_enter
	.section .note.GNU-stack,"",@progbits
