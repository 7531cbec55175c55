/*
 * Entry of the guest: from the Multiboot2 machine state (32-bit protected mode, paging off, EAX = magic, EBX = boot
 * information) to guest_main() in long mode.
 *
 * Invariant: the low 4 GiB are identity-mapped with 2 MiB pages before the first line of C; everything is reachable from
 * CPL 3 as well, because the only code that ever runs there is a two-instruction test of ours.
 */
#include "core/multiboot2.h"

#define PTE_TABLE 0x7   /* present, writable, user */
#define PTE_LARGE 0x87  /* … and a 2 MiB page */
#define STACK_SIZE 65536

	.section .multiboot, "a"
	.balign MB2_HEADER_ALIGN
header:
	.long MB2_HEADER_MAGIC, MB2_ARCH_I386, header_end - header
	.long -(MB2_HEADER_MAGIC + MB2_ARCH_I386 + (header_end - header))
	.balign 8
	.word MB2_HDR_END, 0
	.long 8
header_end:

	.section .text.start, "ax"
	.code32
	.globl guest_entry
guest_entry:
	movl %eax, %ebp
	rdtsc
	movl %eax, guest_tsc_entry
	movl %edx, guest_tsc_entry + 4

	/* 2048 large pages: entry i maps i << 21. */
	movl $guest_pd, %edi
	movl $PTE_LARGE, %eax
	movl $2048, %ecx
1:	movl %eax, (%edi)
	addl $0x200000, %eax
	addl $8, %edi
	decl %ecx
	jnz 1b
	movl $(guest_pd + PTE_TABLE), guest_pdpt
	movl $(guest_pd + 0x1000 + PTE_TABLE), guest_pdpt + 8
	movl $(guest_pd + 0x2000 + PTE_TABLE), guest_pdpt + 16
	movl $(guest_pd + 0x3000 + PTE_TABLE), guest_pdpt + 24
	movl $(guest_pdpt + PTE_TABLE), guest_pml4

	movl $0x20, %eax            /* CR4.PAE */
	movl %eax, %cr4
	movl $guest_pml4, %eax
	movl %eax, %cr3
	movl $0xc0000080, %ecx      /* EFER.LME */
	rdmsr
	orl $0x100, %eax
	wrmsr
	movl $0x80010031, %eax      /* CR0: PG WP NE ET PE */
	movl %eax, %cr0
	lgdt gdt_pointer
	ljmp $0x08, $entry64

	.code64
entry64:
	movl $0x10, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	xorl %eax, %eax
	movl %eax, %fs
	movl %eax, %gs
	leaq stack + STACK_SIZE(%rip), %rsp
	movl %ebp, %edi
	movl %ebx, %esi
	xorl %ebp, %ebp
	call guest_main
1:	cli
	hlt
	jmp 1b

	.section .data, "aw"
	.balign 16
	/* The order is known to lib/x86.h: code, data, user code, user data, TSS (filled in by traps_init). */
	.globl guest_gdt
guest_gdt:
	.quad 0
	.quad 0x00af9b000000ffff
	.quad 0x00cf93000000ffff
	.quad 0x00affb000000ffff
	.quad 0x00cff3000000ffff
	.quad 0, 0
gdt_end:
gdt_pointer:
	.word gdt_end - guest_gdt - 1
	.quad guest_gdt
	.globl guest_tsc_entry
	.balign 8
guest_tsc_entry:
	.quad 0

	.section .bss, "aw", @nobits
	.balign 4096
	.globl guest_pml4, guest_pdpt, guest_pd
guest_pml4:
	.skip 4096
guest_pdpt:
	.skip 4096
guest_pd:
	.skip 4 * 4096
stack:
	.skip STACK_SIZE

	.section .note.GNU-stack, "", @progbits
