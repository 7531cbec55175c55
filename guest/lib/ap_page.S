/*
 * What the other processor executes (ap.h): it stays in real mode, where it has all that it needs, and uses no memory but its page.
 *
 * Invariant: nothing here depends on where the page is; DS is CS.
 */
#include "guest/lib/ap_page.h"

#define MSR_APIC_BASE 0x1b
#define X2APIC_ON 0xc00
#define X2APIC_ICR 0x830

	.section .rodata
	.globl ap_page_start, ap_page_end
	.balign 16
	.code16
ap_page_start:
	cli
	movw	%cs, %ax
	movw	%ax, %ds
	lock btsl $0, AP_TAKEN		/* one is enough */
	jc	spare
	movl	$MSR_APIC_BASE, %ecx
	rdmsr
	orl	$X2APIC_ON, %eax
	wrmsr
	movl	$1, AP_IDLE
	movl	$1, AP_UP
idle:
	pause
	cmpl	$0, AP_GO
	je	idle
	movw	$AP_LIST, %si
next:
	movl	(%si), %ecx
1:	decl	%ecx
	jnz	1b
	cmpl	$0, AP_GO
	je	stopped
	movl	4(%si), %eax
	movl	AP_DEST, %edx
	testl	%eax, %eax
	jz	2f
	movl	$X2APIC_ICR, %ecx
	wrmsr
2:	incl	AP_SENT
	cmpl	$0, 8(%si)		/* the last one again and again */
	je	next
	addw	$8, %si
	jmp	next
stopped:
	movl	$1, AP_IDLE
	jmp	idle
spare:
	hlt
	jmp	spare
ap_page_end:

	.section .note.GNU-stack, "", @progbits
