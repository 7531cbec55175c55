/*
 * First instructions: from a multiboot2 loader (32-bit, no paging) or from our EFI loader (64-bit, the firmware's
 * tables) to boot_main() at the linked address in long mode, wherever the image was put.
 *
 * Invariant: until the jump to boot_high nothing is addressed absolutely; ESI holds the physical address of the image
 * and every symbol is reached as ESI + OFF(symbol). The early tables map the low 4 GiB one to one and the image at its
 * linked address; application processors come in by them, too (ap_start.S), so they stay unchanged afterwards.
 *
 * Both roads meet in 32-bit mode without paging: the firmware may run with 5-level paging, and CR4.LA57 cannot be
 * changed in long mode (SDM 3A, Linear-Address Translation with 4-Level and 5-Level Paging).
 */
#include "boot/entry.h"
#include "core/multiboot2.h"

#define IMAGE_VIRT 0xffffffff80000000 /* as in linker.ld */
#define IMAGE_PHYS 0x200000
#define OFF(sym) (sym - IMAGE_VIRT)
#define LINKED(sym) (sym - IMAGE_VIRT + IMAGE_PHYS)

#define CR0_EARLY 0x80010033  /* PG WP NE ET MP PE */
#define CR0_PG 0x80000000
#define CR4_PAE 0x20
#define CR4_LA57 0x1000
#define MSR_EFER 0xc0000080
#define EFER_LME 0x100
#define CPUID_LONG_MODE 29    /* leaf 80000001h, EDX */
#define PTE_TABLE 3           /* present, writable */
#define PTE_2M 0x83           /* present, writable, 2 MiB page */
#define COM1 0x3f8
#define COM1_LSR 0x3fd
#define LSR_THRE 0x20

/* ---- Multiboot2, OS image format: what we ask of a loader ---- */
	.section .multiboot, "a"
	.balign MB2_HEADER_ALIGN
header:
	.long MB2_HEADER_MAGIC, MB2_ARCH_I386, header_end - header
	.long -(MB2_HEADER_MAGIC + MB2_ARCH_I386 + (header_end - header))

	.balign 8
request:
	.short MB2_HDR_INFO_REQUEST, MB2_TAG_OPTIONAL
	.long request_end - request
	.long MB2_CMDLINE, MB2_LOADER_NAME, MB2_MODULE, MB2_MMAP, MB2_EFI64, MB2_ACPI_OLD, MB2_ACPI_NEW, MB2_EFI_MMAP
	.long MB2_LOAD_BASE
request_end:
	.balign 8
	.short MB2_HDR_ENTRY, 0
	.long 12, LINKED(boot_entry32)
	.balign 8
	.short MB2_HDR_MODULE_ALIGN, 0
	.long 8
	.balign 8 /* optional: a loader that cannot move us uses p_paddr, which is as good */
	.short MB2_HDR_RELOCATABLE, MB2_TAG_OPTIONAL
	.long 24, IMAGE_PHYS, 0xffffffff, 0x200000, MB2_PLACE_LOWEST
	.balign 8
	.short MB2_HDR_END, 0
	.long 8
header_end:

/*
 * ---- from a multiboot2 loader ----
 * Multiboot2, I386 machine state: EAX magic, EBX physical address of the information, flat segments, no stack, and the
 * segment registers must not be reloaded before we have a GDT of our own.
 */
	.section .boot, "ax"
	.code32
	.globl boot_entry32
boot_entry32:
	cli
	cld
	movl %eax, %ebp
	rdtsc
	movl %eax, %ecx
	cmpl $MB2_BOOT_MAGIC, %ebp
	jne not_multiboot2

	/* Where are we? The first word of the information lends itself as a stack for one call. */
	movl (%ebx), %edi
	leal 4(%ebx), %esp
	call 1f
1:	popl %esi
	movl %edi, (%ebx)
	subl $OFF(1b), %esi

	movl $BOOT_FROM_MULTIBOOT2, OFF(boot_from)(%esi)
	movl %ebx, OFF(boot_info)(%esi)
	movl %ecx, OFF(boot_tsc)(%esi)
	movl %edx, OFF(boot_tsc) + 4(%esi)
	jmp common

not_multiboot2: /* nothing tells where the image is; most likely where it was linked to be */
	movl $IMAGE_PHYS, %esi
	movl $OFF(msg_not_multiboot2), %edi
	jmp fail

/*
 * ---- from our EFI loader (boot/efi_main.c), boot services gone ----
 * RDI physical address of a struct bootinfo below 4 GiB, RSI time stamp of the hand-off; long mode, identity map.
 */
	.code64
	.globl boot_entry64
boot_entry64:
	cli
	cld
	movl $BOOT_FROM_EFI, boot_from(%rip)
	movl %edi, boot_info(%rip)
	movq %rsi, boot_tsc(%rip)
	leaq __image_start(%rip), %rsi
	leaq boot_stack_top(%rip), %rsp
	leaq gdt(%rip), %rax
	movq %rax, gdt_pointer + 2(%rip)
	lgdt gdt_pointer(%rip)
	pushq $BOOT_SEL_CODE32
	leaq 1f(%rip), %rax
	pushq %rax
	lretq
	.code32
1:	movl $BOOT_SEL_DATA, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl %cr4, %eax /* PCIDE must be off before paging goes off */
	andl $(CR4_PAE | CR4_LA57), %eax
	movl %eax, %cr4
	movl %cr0, %eax
	andl $~CR0_PG, %eax
	movl %eax, %cr0

/* ---- both: ESI = physical address of the image, boot_* stored, paging off ---- */
common:
	leal OFF(boot_stack_top)(%esi), %esp
	movl %esi, OFF(boot_image)(%esi)
	movl $OFF(msg_misplaced), %edi
	testl $0x1fffff, %esi
	jnz fail
	movl $OFF(msg_no_long_mode), %edi
	movl $0x80000000, %eax
	cpuid
	cmpl $0x80000001, %eax
	jb fail
	movl $0x80000001, %eax
	cpuid
	btl $CPUID_LONG_MODE, %edx
	jnc fail

	/* Tables: [0] one to one, [511] the top 512 GiB, of which the last but one GiB is ours. */
	leal OFF(pdpt_low) + PTE_TABLE(%esi), %eax
	movl %eax, OFF(boot_pml4)(%esi)
	leal OFF(pdpt_high) + PTE_TABLE(%esi), %eax
	movl %eax, OFF(boot_pml4) + 511 * 8(%esi)
	leal OFF(pd_high) + PTE_TABLE(%esi), %eax
	movl %eax, OFF(pdpt_high) + 510 * 8(%esi)
	leal OFF(pd_low) + PTE_TABLE(%esi), %eax
	leal OFF(pdpt_low)(%esi), %edi
	movl $4, %ecx
	movl $0x1000, %edx
	call fill
	movl $PTE_2M, %eax
	leal OFF(pd_low)(%esi), %edi
	movl $2048, %ecx
	movl $0x200000, %edx
	call fill
	leal PTE_2M(%esi), %eax
	leal OFF(pd_high)(%esi), %edi
	movl $OFF(__image_end) + 0x1fffff, %ecx
	shrl $21, %ecx
	call fill

	movl $CR4_PAE, %eax
	movl %eax, %cr4
	leal OFF(boot_pml4)(%esi), %eax
	movl %eax, %cr3
	movl $MSR_EFER, %ecx
	movl $EFER_LME, %eax
	xorl %edx, %edx
	wrmsr
	movl $CR0_EARLY, %eax
	movl %eax, %cr0
	leal OFF(gdt)(%esi), %eax
	movl %eax, OFF(gdt_pointer) + 2(%esi)
	movl $0, OFF(gdt_pointer) + 6(%esi)
	lgdt OFF(gdt_pointer)(%esi)
	pushl $BOOT_SEL_CODE64
	leal OFF(to_high)(%esi), %eax
	pushl %eax
	lret

fill: /* ECX entries from EDI on: EAX, EAX + EDX, ... */
	movl %eax, (%edi)
	addl %edx, %eax
	addl $8, %edi
	decl %ecx
	jnz fill
	ret

fail: /* EDI = offset of a text: say it on COM1 and stop */
	addl %esi, %edi
1:	movl $0x10000, %ecx
2:	movl $COM1_LSR, %edx
	inb %dx, %al
	testb $LSR_THRE, %al
	jnz 3f
	decl %ecx
	jnz 2b
3:	movb (%edi), %al
	testb %al, %al
	jz 4f
	movl $COM1, %edx
	outb %al, %dx
	incl %edi
	jmp 1b
4:	cli
	hlt
	jmp 4b

	.code64
to_high:
	movabsq $boot_high, %rax
	jmp *%rax

	.text
boot_high:
	movq $gdt, gdt_pointer + 2(%rip)
	lgdt gdt_pointer(%rip)
	movl $BOOT_SEL_DATA, %eax
	movl %eax, %ss
	movl %eax, %ds
	movl %eax, %es
	xorl %eax, %eax
	movl %eax, %fs
	movl %eax, %gs
	movq $boot_stack_top, %rsp
	xorl %ebp, %ebp /* ends backtraces */
	call boot_main
	ud2

	.section .rodata
msg_not_multiboot2:
	.asciz "nestling: error: the boot loader does not speak multiboot2 (GRUB: use the command multiboot2)\r\n"
msg_misplaced:
	.asciz "nestling: error: the boot loader put the image at an address that is not a multiple of 2 MiB\r\n"
msg_no_long_mode:
	.asciz "nestling: error: this processor has no 64-bit mode\r\n"

	.balign 8
	.globl boot_gdt
boot_gdt:
gdt:	.quad 0
	.quad 0x00af9b000000ffff /* BOOT_SEL_CODE64 */
	.quad 0x00cf93000000ffff /* BOOT_SEL_DATA */
	.quad 0x00cf9b000000ffff /* BOOT_SEL_CODE32 */
gdt_end:

	.data
	.balign 8
	.globl boot_from, boot_info, boot_tsc, boot_image
boot_tsc:	.quad 0
boot_image:	.quad 0
boot_from:	.long 0
boot_info:	.long 0
	.short 0, 0, 0 /* so that the base below is aligned */
gdt_pointer:
	.short gdt_end - gdt - 1
	.quad 0

	.section .bss.boot, "aw", @nobits
	.balign 4096
	.globl boot_pml4
boot_pml4:	.skip 4096
pdpt_low:	.skip 4096
pdpt_high:	.skip 4096
pd_high:	.skip 4096
pd_low:		.skip 4 * 4096
	.globl boot_stack_guard, boot_stack
boot_stack_guard:
	.skip 4096 /* core/paging.c does not map it */
boot_stack:
	.skip 16384
boot_stack_top:
