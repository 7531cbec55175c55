/*
 * Code of other processor modes (modes.h). The GDT here has the guest's code and data selectors at the same places, so that traps and
 * returns to long mode work with either.
 */
#include "guest/work/modes.h"

#define LOW(x) ((x) - low_start + LOW_BASE)
#define CR0_PE 0x1
#define CR0_PG 0x80000000
#define CR0_LONG 0x80010031 /* PG WP NE ET PE */
#define NO_SUCH_MSR 0x0bad0bad
#define VECTOR_GP 13

	.section .rodata
	.globl low_start, low_end
low_start:
	.code16
	/* vCPU 1 after its SIPI: CS base LOW_BASE, IP 0. */
	cli
	movw %cs, %ax
	movw %ax, %ds
	lgdtl low_gdtr - low_start /* DS base is LOW_BASE */
	movl %cr0, %eax
	orl $CR0_PE, %eax
	movl %eax, %cr0
	ljmpl $SEL_CODE32, $modes_ap32

	/* From protected mode with a 16-bit segment of base 0. */
low_to_real:
	movw $SEL_DATA16, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	movl %cr0, %eax
	andl $~CR0_PE, %eax
	movl %eax, %cr0
	ljmpw $0, $LOW(low_real)
low_real:
	xorw %ax, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	movw $LOW_STACK, %sp
	lidtl LOW(low_idtr)
	movw $LOW(low_gp), VECTOR_GP * 4
	movw $0, VECTOR_GP * 4 + 2
	movl $NO_SUCH_MSR, %ecx
low_rdmsr:
	rdmsr
	/* The handler comes back here. */
low_back:
	lgdtl LOW(low_gdtr)
	movl %cr0, %eax
	orl $CR0_PE, %eax
	movl %eax, %cr0
	ljmpl $SEL_CODE32, $modes_back32

	/* Nothing but IP, CS, FLAGS must lie on the stack: note them, and leave by dropping them. */
low_gp:
	movw %sp, %bp
	movw (%bp), %ax
	movw %ax, LOW(low_frame)
	movw 2(%bp), %ax
	movw %ax, LOW(low_frame) + 2
	movw 4(%bp), %ax
	movw %ax, LOW(low_frame) + 4
	movw $LOW_STACK, %ax
	subw %bp, %ax
	movw %ax, LOW(low_frame) + 6
	movw $LOW_STACK, %sp
	jmp low_back

	.balign 8
low_gdtr:
	.word modes_gdt_end - modes_gdt - 1
	.long modes_gdt
low_idtr:
	.word 0x3ff
	.long 0
low_frame:
	.skip 8
low_end:

	.data
	.balign 16
modes_gdt:
	.quad 0
	.quad 0x00af9b000000ffff    /* 08: 64-bit code */
	.quad 0x00cf93000000ffff    /* 10: data */
	.quad 0, 0
	.quad 0x00cf9b000000ffff    /* 28: 32-bit code */
	.quad 0x00009b000000ffff    /* 30: 16-bit code, base 0 */
	.quad 0x000093000000ffff    /* 38: 16-bit data */
modes_gdt_end:
	.balign 8
modes_gdtr:
	.word modes_gdt_end - modes_gdt - 1
	.quad modes_gdt
saved_gdtr:
	.skip 10
saved_idtr:
	.skip 10
	.balign 8
saved_rsp:
	.quad 0
	.globl real_mode_frame, real_mode_pushed, real_mode_rdmsr
real_mode_frame:
	.skip 6
real_mode_pushed:
	.word 0
real_mode_rdmsr:
	.word 0

	.text
	/* ---- vCPU 1 ---- */
	.code32
modes_ap32:
	movl $0x10, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl $0x20, %eax            /* CR4.PAE */
	movl %eax, %cr4
	movl $guest_pml4, %eax
	movl %eax, %cr3
	movl $0xc0000080, %ecx      /* EFER.LME */
	rdmsr
	orl $0x100, %eax
	wrmsr
	movl $CR0_LONG, %eax
	movl %eax, %cr0
	ljmp $0x08, $1f
	.code64
1:	movq $smp_stack_top, %rsp
	xorl %ebp, %ebp
	call smp_main
2:	cli
	hlt
	jmp 2b

	/* ---- real mode and back ---- */
	.globl real_mode_gp
real_mode_gp:
	pushq %rbx
	pushq %rbp
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	sgdt saved_gdtr
	sidt saved_idtr
	movq %rsp, saved_rsp
	movw $LOW(low_rdmsr), real_mode_rdmsr
	lgdt modes_gdtr
	pushq $SEL_CODE32
	pushq $1f
	lretq
	.code32
1:	movl $0x10, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl %cr0, %eax
	andl $~CR0_PG, %eax
	movl %eax, %cr0
	ljmp $SEL_CODE16, $LOW(low_to_real)
modes_back32:
	movl $0x10, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl %cr0, %eax             /* CR3, CR4.PAE and EFER.LME are as they were */
	orl $CR0_PG, %eax
	movl %eax, %cr0
	ljmp $0x08, $2f
	.code64
2:	movq saved_rsp, %rsp
	lgdt saved_gdtr
	lidt saved_idtr
	movq LOW(low_frame), %rax
	movq %rax, real_mode_frame
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbp
	popq %rbx
	ret

	/* ---- CR0 from compatibility mode ---- */
	.globl compat_write_cr0
compat_write_cr0:
	pushq %rbx
	pushq %rbp
	movl (%rdi), %ebx
	movq %cr0, %rbp
	movq %rsp, saved_rsp
	sgdt saved_gdtr
	lgdt modes_gdtr
	pushq $SEL_CODE32
	pushq $1f
	lretq
	.code32
1:	movl %ebx, %cr0
	movl %ebp, %cr0
	ljmp $0x08, $2f
	.code64
2:	movq saved_rsp, %rsp
	popq %rbp
	popq %rbx
	ret

	.globl modes_gdt_restore
modes_gdt_restore:
	lgdt saved_gdtr
	ret

	.bss
	.balign 16
	.skip 8192
smp_stack_top:

	.section .note.GNU-stack, "", @progbits
