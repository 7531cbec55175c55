/*
 * Entry of the Linux shim: Multiboot 1, 32-bit protected mode, paging off; and the jump into a kernel by the 32-bit boot protocol
 * (Linux, Documentation/arch/x86/boot.rst, 32-bit Boot Protocol: flat segments 10h and 18h, ESI = boot parameters, IF = 0).
 */
#define MAGIC 0x1badb002
#define FLAGS 3 /* modules page-aligned; memory information */

	.section .multiboot, "a"
	.balign 4
	.long MAGIC, FLAGS, -(MAGIC + FLAGS)

	.text
	.code32
	.globl shim_start
shim_start:
	movl $stack_top, %esp
	pushl %ebx
	pushl %eax
	call shim_main
1:	hlt
	jmp 1b

	/* void linux_enter(u32 entry, u32 boot_params) */
	.globl linux_enter
linux_enter:
	movl 4(%esp), %eax
	movl 8(%esp), %esi
	cli
	lgdt gdt_pointer
	ljmp $0x10, $1f
1:	movl $0x18, %edx
	movl %edx, %ds
	movl %edx, %es
	movl %edx, %fs
	movl %edx, %gs
	movl %edx, %ss
	xorl %ebx, %ebx
	xorl %edi, %edi
	xorl %ebp, %ebp
	jmp *%eax

	.section .rodata, "a"
	.balign 8
gdt:	.quad 0, 0, 0x00cf9a000000ffff, 0x00cf92000000ffff
gdt_pointer:
	.word . - gdt - 1
	.long gdt

	.bss
	.balign 16
	.skip 8192
stack_top:
	.section .note.GNU-stack, "", @progbits
