/*
 * The way of an application processor from its start-up interrupt to ap_main (SDM 3A, Multiple-Processor (MP)
 * Initialization; Switching to Protected Mode; IA-32e Mode Initialization).
 *
 * Invariant: up to ap_high everything runs from, and touches, only the trampoline page, which our page tables map one
 * to one. No stack is used before the slot is taken (ap_slot.h).
 */
#include "boot/ap_slot.h"

#define SEL_CODE64 0x08
#define SEL_DATA 0x10
#define SEL_CODE32 0x18
#define CR0_PROTECTED 0x11   /* ET PE; this also takes CD and NW of power-on away */
#define CR0_LONG 0x80010033  /* PG WP NE ET MP PE */
#define CR4_PAE 0x20
#define MSR_EFER 0xc0000080
#define IN_PAGE(sym) (sym - ap_page_start)

	.section .rodata
	.balign 16
	.globl ap_page_start, ap_page_end, ap_page_words, ap_page_gdt, ap_page_code32, ap_page_code64
ap_page_start:
	.code16
	cli
	cld
	movw %cs, %ax
	movw %ax, %ds
	movzwl %ax, %ebx
	shll $4, %ebx /* physical address of the page */
	lgdtl IN_PAGE(gdt_pointer)
	movl $CR0_PROTECTED, %eax
	movl %eax, %cr0
	ljmpl *IN_PAGE(jump32)

	.code32
ap_page_code32:
	movl $SEL_DATA, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl $CR4_PAE, %eax
	movl %eax, %cr4
	movl IN_PAGE(word_cr3)(%ebx), %eax
	movl %eax, %cr3
	movl $MSR_EFER, %ecx
	movl IN_PAGE(word_efer)(%ebx), %eax
	xorl %edx, %edx
	wrmsr
	movl $CR0_LONG, %eax
	movl %eax, %cr0
	ljmpl *IN_PAGE(jump64)(%ebx)

	.code64
ap_page_code64:
	movabsq $ap_high, %rax
	jmp *%rax

	.balign 8
ap_page_gdt:
	.quad 0
	.quad 0x00af9b000000ffff /* SEL_CODE64 */
	.quad 0x00cf93000000ffff /* SEL_DATA */
	.quad 0x00cf9b000000ffff /* SEL_CODE32 */
gdt_end:
ap_page_words: /* struct ap_words; C fills in the addresses */
word_cr3:	.long 0
word_efer:	.long 0
jump32:		.long 0
		.short SEL_CODE32, 0
jump64:		.long 0
		.short SEL_CODE64, 0
		.short 0
gdt_pointer:	.short gdt_end - ap_page_gdt - 1
		.long 0
ap_page_end:

	.text
ap_high:
	xorl %eax, %eax
	xchgl %eax, ap_slot + AP_SLOT_OPEN(%rip)
	testl %eax, %eax
	jz park
	movq ap_slot + AP_SLOT_STACK(%rip), %rsp
	xorl %ebp, %ebp /* ends backtraces */
	call ap_is_wanted
	testb %al, %al
	jz give_back
	movl ap_slot + AP_SLOT_INDEX(%rip), %edi
	call ap_main
	ud2

give_back: /* the stack is not touched from here on */
	movl $1, ap_slot + AP_SLOT_OPEN(%rip)
park:
	cli
	hlt
	jmp park
