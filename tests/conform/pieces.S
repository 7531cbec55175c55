/*
 * Code whose exact instructions, mode or privilege matter: the GDT with segments of all sizes, and one VMX instruction each.
 *
 * Invariant: the first entries of cf_gdt are those of guest/start.S, so that traps and returns of guest/lib work with it.
 */
	.data
	.balign 16
	.globl cf_gdt, cf_gdt_end
cf_gdt:
	.quad 0
	.quad 0x00af9b000000ffff    /* 08: 64-bit code */
	.quad 0x00cf93000000ffff    /* 10: data */
	.quad 0x00affb000000ffff    /* 18: 64-bit code, DPL 3 */
	.quad 0x00cff3000000ffff    /* 20: data, DPL 3 */
	.quad 0, 0                  /* 28: TSS, filled in */
	.quad 0x00cf9b000000ffff    /* 38: 32-bit code */
	.quad 0x00009b000000ffff    /* 40: 16-bit code, base 0 */
	.quad 0x000093000000ffff    /* 48: 16-bit data */
	.quad 0x000082000000ffff, 0 /* 50: LDT, empty */
	.quad 0x00af9f000000ffff    /* 60: conforming 64-bit code */
	.quad 0, 0                  /* 68: a second TSS, for guests */
cf_gdt_end:

	.text
	.code64
	.macro pieces bits, ax
	.balign 8
p\bits\()_vmxon:	vmxon zeros
	ud2
p\bits\()_vmxoff:	vmxoff
	ud2
p\bits\()_vmclear:	vmclear zeros
	ud2
p\bits\()_vmptrld:	vmptrld zeros
	ud2
p\bits\()_vmptrst:	vmptrst zeros
	ud2
p\bits\()_vmread:	vmread %\ax, %\ax
	ud2
p\bits\()_vmwrite:	vmwrite %\ax, %\ax
	ud2
p\bits\()_vmlaunch:	vmlaunch
	ud2
p\bits\()_vmresume:	vmresume
	ud2
p\bits\()_invept:	invept zeros, %\ax
	ud2
p\bits\()_invvpid:	invvpid zeros, %\ax
	ud2
p\bits\()_vmcall:	vmcall
	ud2
	.endm
	pieces 64, rax
	.code32
	pieces 32, eax
	.code64

	.globl compat_run
compat_run:
	pushq $0x38
	pushq %rdi
	lretq

	/* rdi: field, rsi: value, edx: register */
	.globl regs_roundtrip
regs_roundtrip:
	pushq %rbx
	pushq %rbp
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	leaq roundtrips(%rip), %rax
	movslq (%rax, %rdx, 4), %rdx
	addq %rax, %rdx
	jmp *%rdx
	/* RSI: the value is there already. RDI: the field moves to R8. */
	.irp reg, rax, rbx, rcx, rdx, rbp, r8, r9, r10, r11, r12, r13, r14, r15
rt_\reg:
	movq %rsi, %\reg
	vmwrite %\reg, %rdi
	movq $-1, %\reg
	vmread %rdi, %\reg
	movq %\reg, %rax
	jmp 9f
	.endr
rt_rsi:
	vmwrite %rsi, %rdi
	movq $-1, %rsi
	vmread %rdi, %rsi
	movq %rsi, %rax
	jmp 9f
rt_rdi:
	movq %rdi, %r8
	movq %rsi, %rdi
	vmwrite %rdi, %r8
	movq $-1, %rdi
	vmread %r8, %rdi
	movq %rdi, %rax
9:	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbp
	popq %rbx
	ret

	.globl ptrst_rip, ptrst_sib, ptrst_a32, ptrst_fs
ptrst_rip:
	vmptrst cf_rip_target(%rip)
	ret
ptrst_sib:
	vmptrst 16(%rdi, %rsi, 8)
	ret
ptrst_a32:
	vmptrst (%edi)
	ret
ptrst_fs:
	vmptrst %fs:(%rdi)
	ret

	.section .rodata
	.balign 8
	.globl pieces64, pieces32
pieces64:
	.irp op, vmxon, vmxoff, vmclear, vmptrld, vmptrst, vmread, vmwrite, vmlaunch, vmresume, invept, invvpid, vmcall
	.quad p64_\op
	.endr
pieces32:
	.irp op, vmxon, vmxoff, vmclear, vmptrld, vmptrst, vmread, vmwrite, vmlaunch, vmresume, invept, invvpid, vmcall
	.quad p32_\op
	.endr
roundtrips:
	.irp reg, rax, rcx, rdx, rbx, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15
	.long rt_\reg - roundtrips
	.endr

	.bss
	.balign 16
zeros:
	.skip 16
	.globl cf_rip_target
cf_rip_target:
	.skip 8

	.section .note.GNU-stack, "", @progbits
