/*
 * The agent's entry and interrupt stubs: from the reset vector (or a SIPI) to agent_main in long mode.
 *
 * Invariant: interrupt stubs touch nothing but the ring of their own vCPU (by GS), so they may run at any point of
 * agent_main; an interrupt is acknowledged only after its ring entry is published.
 *
 * Position: the ROM is linked at 0xFFFF0000. 16-bit code runs with CS based there (reset) or at 0xF0000 (SIPI) and
 * uses offsets from `rom`. Everything below 4 GiB and the mailbox is identity-mapped by 1 GiB pages.
 */
#include "tests/machine/mailbox.h"

#define SEL_CODE32 0x08
#define SEL_DATA   0x10
#define SEL_CODE64 0x18
#define IVSHMEM_CFG 0x8000F000          /* CF8 value: 00:1e.0, the mailbox device */
#define APIC_EOI   0xFEE000B0
#define IOAPIC_DATA (QEMU_IOAPIC + 0x10)
#define RTE_MASKED 0x18000              /* masked, level-triggered */
#define RING_MASK  (RING_ENTRIES - 1)

	.macro	config_write reg, value
	movl	$(IVSHMEM_CFG + \reg), %eax
	movw	$0xCF8, %dx
	outl	%eax, %dx
	movl	$\value, %eax
	movw	$0xCFC, %dx
	outl	%eax, %dx
	.endm

	.section .rom, "ax"
	.code16
	.globl rom
rom:
	cli
	movw	%cs, %ax
	movw	%ax, %ds
	lgdtl	gdt_pointer - rom
	movl	%cr0, %eax
	orb	$1, %al                 /* PE */
	movl	%eax, %cr0
	ljmpl	$SEL_CODE32, $start32

	.code32
start32:
	movw	$SEL_DATA, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	movl	%cr4, %eax
	orl	$0x20, %eax             /* PAE */
	movl	%eax, %cr4
	movl	$pml4, %eax
	movl	%eax, %cr3
	movl	$0xC0000080, %ecx       /* EFER */
	rdmsr
	orl	$0x100, %eax            /* LME */
	wrmsr
	movl	%cr0, %eax
	andl	$~0x60000000, %eax      /* caches on */
	orl	$0x80000000, %eax       /* PG */
	movl	%eax, %cr0
	ljmpl	$SEL_CODE64, $start64

	.code64
start64:
	movl	$SEL_DATA, %eax
	movl	%eax, %ss
	movl	$1, %eax
	cpuid
	shrl	$24, %ebx               /* APIC ID */
	movl	%ebx, %r12d
	movl	$0x1B, %ecx             /* APIC_BASE */
	rdmsr
	testl	$0x100, %eax            /* BSP? */
	jz	1f
	config_write 0x18, (MAILBOX_GPA & 0xFFFFFFFF)   /* BAR2 of the mailbox device */
	config_write 0x1C, (MAILBOX_GPA >> 32)
	config_write 0x04, 6            /* memory decode, bus master */
1:	movabsq	$MAILBOX_GPA, %rbx
	movl	%r12d, %eax
	shll	$14, %eax
	leaq	MAILBOX_STACK(0)(%rbx, %rax), %rsp
	movl	%r12d, %eax
	shll	$13, %eax
	leaq	MAILBOX_RING(0)(%rbx, %rax), %rax
	movq	%rax, %rdx
	shrq	$32, %rdx
	movl	$0xC0000101, %ecx       /* GS base: this vCPU's ring */
	wrmsr
	lidt	idt_pointer(%rip)
	movl	%r12d, %edi
	movq	%rbx, %rsi
	call	agent_main
2:	hlt
	jmp	2b

/* Appends %ecx to this vCPU's ring. Clobbers %eax, %edx. */
	.macro	ring_push
	movl	%gs:RING_HEAD, %eax
	movl	%eax, %edx
	andl	$RING_MASK, %edx
	movl	%ecx, %gs:RING_ENTRY_OFFSET(, %rdx, 4)
	incl	%eax
	movl	%eax, %gs:RING_HEAD     /* publish: x86 keeps the stores in order */
	.endm

	.macro	apic_eoi
	movl	$APIC_EOI, %eax
	movl	$0, (%rax)
	.endm

/* The stubs enter with the vector on the stack (see `stubs`). */
	.p2align 4
message:                                /* a message-signalled interrupt */
	pushq	%rax
	pushq	%rcx
	pushq	%rdx
	movl	24(%rsp), %ecx
	ring_push
	apic_eoi
	popq	%rdx
	popq	%rcx
	popq	%rax
	addq	$8, %rsp
	iretq

/*
 * A message with a vector below 16, which QEMU delivers and hardware refuses (SDM 3A, Valid Interrupt Vectors); a device that is
 * pointed at FEExxxxx writes such. Of these vectors the agent itself raises no exception.
 */
illegal:
	pushq	%rax
	apic_eoi
	popq	%rax
	addq	$8, %rsp
	iretq

nmi:                                    /* counted apart: it may interrupt a ring_push */
	incl	%gs:RING_NMI_COUNT
	addq	$8, %rsp
	iretq

/*
 * A level-triggered pin of QEMU's IOAPIC. It stays masked until the guest's EOI lets the plugin open it again, else it
 * would fire for as long as the guest has not served its device. The plugin may be between its accesses to the
 * IOAPIC's two registers: the selector is put back.
 */
pin:
	pushq	%rax
	pushq	%rcx
	pushq	%rdx
	pushq	%rbx
	movl	32(%rsp), %ecx
	movl	%ecx, %edx              /* vector 16 + (pin & 15): 16..23 are their own pins, 25 is pin 9 */
	cmpl	$24, %edx
	jb	1f
	subl	$16, %edx
1:	leal	0x10(%rdx, %rdx), %edx  /* register of the pin's low half */
	movl	$QEMU_IOAPIC, %eax
	movl	(%rax), %ebx
	movl	%edx, (%rax)
	movl	$IOAPIC_DATA, %edx
	orl	$RTE_MASKED, %ecx
	movl	%ecx, (%rdx)
	movl	%ebx, (%rax)
	movzbl	%cl, %ecx
	orl	$RING_LEVEL, %ecx
	ring_push
	apic_eoi
	popq	%rbx
	popq	%rdx
	popq	%rcx
	popq	%rax
	addq	$8, %rsp
	iretq

doorbell:                               /* empties the UART and acknowledges the PIC: its only use is to end HLT */
	pushq	%rax
	pushq	%rdx
1:	movw	$0x3FD, %dx
	inb	%dx, %al
	testb	$1, %al
	jz	2f
	movw	$0x3F8, %dx
	inb	%dx, %al
	jmp	1b
2:	movw	$0x3FA, %dx             /* clears a transmitter interrupt (the plugin uses one, see ioapic.c) */
	inb	%dx, %al
	movb	$0x20, %al
	outb	%al, $0x20
	popq	%rdx
	popq	%rax
	addq	$8, %rsp
	iretq

fault:                                  /* the agent's own mistake: record it for the plugin, and stop */
	popq	%rax
	incq	%rax
	popq	%rcx
	popq	%rdx
	movq	%rcx, %gs:RING_FAULT + 8
	movq	%rdx, %gs:RING_FAULT + 16
	movq	%cr2, %rcx
	movq	%rcx, %gs:RING_FAULT + 24
	movq	%rax, %gs:RING_FAULT
1:	cli
	hlt
	jmp	1b

	.org	0x1000
stubs:                                  /* 16 bytes each, so that the IDT can be written down */
	.set	vector, 0
	.rept	256
	.p2align 4
	pushq	$vector
	.if	vector == VECTOR_DOORBELL
	jmp	doorbell
	.elseif	vector == VECTOR_NMI
	jmp	nmi
	.elseif	vector == 1 || vector == 3 || vector == 5 || vector == 7
	jmp	illegal
	.elseif	vector < 16
	jmp	fault
	.elseif	vector <= VECTOR_PIN_LAST
	jmp	pin
	.else
	jmp	message
	.endif
	.set	vector, vector + 1
	.endr

	.p2align 4
gdt:	.quad	0, 0x00CF9B000000FFFF, 0x00CF93000000FFFF, 0x00AF9B000000FFFF
gdt_pointer:
	.word	31
	.long	gdt
	.p2align 3
idt_pointer:
	.word	4095
	.quad	idt

/* Accessed and dirty bits are set in advance: QEMU must not write to a ROM. */
	.p2align 12
pml4:	.quad	pdpt + 0x23
	.fill	511, 8, 0
pdpt:	.set	gigabyte, 0
	.rept	512
	.quad	(gigabyte << 30) + 0xE3
	.set	gigabyte, gigabyte + 1
	.endr
idt:	.set	vector, 0
	.rept	256
	.word	0x1000 + vector * 16, SEL_CODE64, 0x8E00, 0xFFFF
	.long	0, 0
	.set	vector, vector + 1
	.endr

	.section .reset, "ax"
	.code16
	jmp	rom
	.p2align 4, 0x90

	.section .note.GNU-stack, "", @progbits
