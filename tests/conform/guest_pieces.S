/*
 * What guests execute in the tests of exits and events: pieces of code, each ended by VMCALL.
 *
 * Invariant: a piece needs only what its test sets up in guest_regs and the VMCS; the pieces of 32 bits contain no 64-bit forms.
 */
	.macro piece name
	.balign 16
	.globl g_\name
g_\name:
	.endm
	.macro done
	vmcall
	.endm

	.text
	.code64
	piece ud2;	ud2;			done
	piece int3;	int3;			done
	piece icebp;	.byte 0xf1;		done
	piece de;	divl %ecx;		done
	piece gp;	movq (%rbx), %rax;	done
	piece gp_cs;	movl $0x7fff, %eax; movl %eax, %ds; done
	piece load;	movq (%rsi), %rax;	done
	piece load32;	movl (%rsi), %eax;	done
	piece store;	movq %rax, (%rsi);	done
	piece jump;	jmp *%rsi
	piece rmw;	addq %rax, (%rsi);	done
	piece step;	nop; nop;		done
	piece int80;	int $0x80;		done
	piece cpuid;	cpuid;			done
	piece hlt;	hlt;			done
	piece invd;	invd;			done
	piece wbinvd;	wbinvd;			done
	piece invlpg;	invlpg 8(%rsi);		done
	piece rdpmc;	rdpmc;			done
	piece rdtsc;	rdtsc;			done
	piece rdtscp;	rdtscp;			done
	piece vmcall;	done
	piece pause;	pause;			done
	piece monitor;	xorl %ecx, %ecx; xorl %edx, %edx; leaq g_monitor(%rip), %rax; monitor; done
	piece mwait;	mwait;			done
	piece rdmsr;	rdmsr;			done
	piece wrmsr;	wrmsr;			done
	piece xsetbv;	xsetbv;			done
	piece rdrand;	rdrand %edx;		done
	piece rdseed;	rdseed %r11;		done
	piece invpcid;	invpcid (%rsi), %rax;	done
	piece vmfunc;	vmfunc;			done
	piece xsaves;	xsaves (%rsi);		done
	piece xrstors;	xrstors (%rsi);		done
	piece getsec;	.byte 0x0f, 0x37;	done
	piece rsm;	rsm;			done
	piece vmclear;	vmclear (%rsi);		done
	piece vmlaunch;	vmlaunch;		done
	piece vmresume;	vmresume;		done
	piece vmptrld;	vmptrld 16(%rsi, %rdi, 4); done
	piece vmptrst;	vmptrst (%rsp);		done
	piece vmread_r;	vmread %rdx, %r9;	done
	piece vmread_m;	vmread %r10, -8(%rbp);	done
	piece vmwrite_r; vmwrite %rbx, %r14;	done
	piece vmwrite_m; vmwrite %gs:(%r8), %rcx; done
	piece vmxoff;	vmxoff;			done
	piece vmxon;	vmxon (%esi);		done
	piece invept;	invept 0x1000(%rip), %rdx; done
	piece invvpid;	invvpid (%rbx), %r15;	done
	piece mov_to_cr0;	movq %rax, %cr0;	done
	piece mov_from_cr0;	movq %cr0, %rbx;	done
	piece mov_to_cr3;	movq %r9, %cr3;		done
	piece mov_from_cr3;	movq %cr3, %rcx;	done
	piece mov_to_cr4;	movq %rdx, %cr4;	done
	piece mov_from_cr4;	movq %cr4, %rbx;	done
	piece mov_to_cr8;	movq %r15, %cr8;	done
	piece mov_from_cr8;	movq %cr8, %rsi;	done
	piece clts;	clts;			done
	piece lmsw_r;	lmsw %ax;		done
	piece lmsw_m;	lmsw (%rsi);		done
	piece smsw;	smsw %eax;		done
	piece mov_to_dr7;	movq %rbx, %dr7;	done
	piece mov_from_dr6;	movq %dr6, %r12;	done
	piece in_imm8;	inb $0x71, %al;		done
	piece in_dx16;	inw %dx, %ax;		done
	piece out_imm32;	outl %eax, $0x44;	done
	piece out_dx8;	outb %al, %dx;		done
	piece insb;	insb;			done
	piece rep_insw;	rep insw;		done
	piece rep_outsl; rep outsl;		done
	piece outsb_fs;	outsb %fs:(%rsi), %dx;	done
	piece outsb_a32; outsb (%esi), %dx;	done
	piece in_dx32;	inl %dx, %eax;		done
	piece sgdt;	sgdt (%rsi);		done
	piece sidt;	sidt 8(%rsi, %rdi, 2);	done
	piece lgdt;	lgdt (%rsi);		done
	piece lidt;	lidt (%rsi);		done
	piece sldt_r;	sldt %eax;		done
	piece str_m;	str (%rsi);		done
	piece lldt_r;	lldt %cx;		done
	piece ltr_m;	ltr (%rsi);		done
	piece sti;	sti; nop; nop;		done
	piece mov_ss;	movl %ss, %eax; movl %eax, %ss; nop; done
	piece iret;	pushq $0x10; pushq %rsp; pushfq; pushq $0x08; leaq 1f(%rip), %rax; pushq %rax; iretq; 1: done
	piece spin;	1: jmp 1b
	piece spin_sti;	sti; 1: jmp 1b
	piece sti_hlt;	sti; hlt; done
	piece eoi;	movl $0x80b, %ecx; xorl %eax, %eax; xorl %edx, %edx; wrmsr; nop; done
	piece self_nmi;	movl $0x830, %ecx; movl $0x4400, %eax; xorl %edx, %edx; wrmsr; 1: jmp 1b
	piece count;	1: pause; cmpl $2, (%rsi); jb 1b; vmcall
	piece self_init; movl $0x830, %ecx; movl $0x4500, %eax; wrmsr; 1: jmp 1b
	piece cr8_nop;	movq %rax, %cr8; nop; done
	piece store32;	movl %eax, (%rsi); nop; done
	piece vmcall_nop; vmcall; nop; nop; done
	piece remap;	movq (%rsi), %r8; movq %rax, (%rbx); invlpg (%rsi); movq (%rsi), %r9; done
	piece vmfunc_load; vmfunc; movq (%rsi), %r8; done
	piece load32_nop; movl (%rsi), %eax; nop; done
	piece rmw32;	orl %eax, (%rsi); nop; done

	.code32
	piece jmp_tss;	ljmp $0x68, $0;		done
	piece call_tss;	lcall $0x68, $0;	done
	piece iret_nt;	iret;			done
	piece vmread32;	vmread %eax, %ecx;	done
	piece bound;	bound %eax, (%esi);	done
	piece into;	into;			done
	piece int80_32;	int $0x80;		done
	piece outsb32;	outsb;			done

	.section .note.GNU-stack, "", @progbits
