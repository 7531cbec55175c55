/*
 * Capabilities and single instructions (session.h).
 */
#include "tests/conform/session.h"

#include <stdio.h>
#include <string.h>

#include "guest/lib/traps.h"

#define CPUID1_ECX_VMX BIT(5)
#define TEXTS 4
#define TEXT_LEN 48

struct env env;
u32 vmxon_region[1024] __aligned_to(4096), vmcs_a[1024] __aligned_to(4096), vmcs_b[1024] __aligned_to(4096);
extern u64 guest_gdt[];

static char *text(void)
{
	static char texts[TEXTS][TEXT_LEN];
	static u32 next;

	return texts[next++ % TEXTS];
}

/* ---- capabilities ---- */
static struct vmx_ctl ctl(u32 msr)
{
	u64 v = rdmsr(msr);

	return (struct vmx_ctl){ (u32)v, (u32)(v >> 32) };
}

static void read_caps(void)
{
	u32 shift;

	env.basic = rdmsr(MSR_VMX_BASIC);
	shift = env.basic & VMX_BASIC_TRUE ? MSR_VMX_TRUE_PINBASED - MSR_VMX_PINBASED : 0;
	env.revision = (u32)env.basic & 0x7fffffff;
	env.pin = ctl(MSR_VMX_PINBASED + shift);
	env.proc = ctl(MSR_VMX_PROCBASED + shift);
	env.exit = ctl(MSR_VMX_EXIT + shift);
	env.entry = ctl(MSR_VMX_ENTRY + shift);
	env.misc = rdmsr(MSR_VMX_MISC);
	env.cr0_fixed0 = rdmsr(MSR_VMX_CR0_FIXED0);
	env.cr0_fixed1 = rdmsr(MSR_VMX_CR0_FIXED1);
	env.cr4_fixed0 = rdmsr(MSR_VMX_CR4_FIXED0);
	env.cr4_fixed1 = rdmsr(MSR_VMX_CR4_FIXED1);
	if (env.proc.may & PROC_SECONDARY)
		env.proc2 = ctl(MSR_VMX_PROCBASED2);
	if (env.proc2.may & (PROC2_EPT | PROC2_VPID))
		env.ept_vpid = rdmsr(MSR_VMX_EPT_VPID);
	env.maxpa = cpuid(0x80000000, 0).eax >= 0x80000008 ? cpuid(0x80000008, 0).eax & 0xff : 36;
}

static void load_gdt(void)
{
	struct desc_ptr p = { .limit = (u16)((u8 *)cf_gdt_end - (u8 *)cf_gdt - 1), .base = (u64)cf_gdt };

	cf_gdt[SEL_TSS / 8] = guest_gdt[SEL_TSS / 8];
	cf_gdt[SEL_TSS / 8 + 1] = guest_gdt[SEL_TSS / 8 + 1];
	lgdt(&p);
}

const char *session_init(void)
{
	u64 fc;

	if (!(cpuid(1, 0).ecx & CPUID1_ECX_VMX))
		return "this processor has no VMX";
	fc = rdmsr(MSR_FEATURE_CONTROL);
	if (!(fc & FEATURE_CONTROL_LOCK))
		wrmsr(MSR_FEATURE_CONTROL, fc | FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMXON);
	else if (!(fc & FEATURE_CONTROL_VMXON))
		return "the firmware has locked VMX off";
	read_caps();
	load_gdt();
	return NULL;
}

/* ---- VMX operation ---- */
void session_vmxon(void)
{
	u64 region = (u64)vmxon_region, vmcs = (u64)vmcs_a;

	write_cr0(read_cr0() | env.cr0_fixed0);
	write_cr4(read_cr4() | CR4_VMXE);
	vmxon_region[0] = vmcs_a[0] = vmcs_b[0] = env.revision;
	if (do_vmxon(&region) || do_vmclear(&vmcs) || do_vmptrld(&vmcs))
		panic("VMX operation cannot be entered");
}

void session_vmxoff(void)
{
	u64 vmcs = (u64)vmcs_a;

	if (do_vmclear(&vmcs) || do_vmxoff())
		panic("VMX operation cannot be left");
	write_cr4(read_cr4() & ~CR4_VMXE);
}

/* ---- one instruction ---- */
struct insn { enum insn_op op; u64 a, b, flags; };

static void execute(void *arg)
{
	struct insn *i = arg;

	switch (i->op) {
	case OP_VMXON: i->flags = do_vmxon((void *)i->a); break;
	case OP_VMXOFF: i->flags = do_vmxoff(); break;
	case OP_VMCLEAR: i->flags = do_vmclear((void *)i->a); break;
	case OP_VMPTRLD: i->flags = do_vmptrld((void *)i->a); break;
	case OP_VMPTRST: i->flags = do_vmptrst((void *)i->a); break;
	case OP_VMREAD: i->flags = do_vmread(i->a, (void *)i->b); break;
	case OP_VMWRITE: i->flags = do_vmwrite(i->a, i->b); break;
	case OP_VMLAUNCH: i->flags = do_vmlaunch(); break;
	case OP_VMRESUME: i->flags = do_vmresume(); break;
	case OP_INVEPT: i->flags = do_invept(i->a, (void *)i->b); break;
	case OP_INVVPID: i->flags = do_invvpid(i->a, (void *)i->b); break;
	default: panic("no such instruction");
	}
}

const char *flags_text(u64 flags)
{
	char *t = text();
	u64 error = 0;

	if (!flags || flags == RFLAGS_CF)
		return flags ? "invalid" : "ok";
	if (flags == RFLAGS_ZF && !do_vmread(VMCS_INSN_ERROR, &error))
		sniprintf(t, TEXT_LEN, "error %u", (u32)error);
	else
		sniprintf(t, TEXT_LEN, "flags %x", (u32)flags);
	return t;
}

static const char *fault_text(int vector)
{
	static const char *const names[] = { [VEC_UD] = "#UD", [VEC_NP] = "#NP", [VEC_SS] = "#SS", [VEC_GP] = "#GP", [VEC_PF] = "#PF" };
	const struct trap_frame *f = fault_frame();
	char *t = text();

	if (vector == VEC_UD)
		return "#UD";
	if (vector == VEC_PF)
		sniprintf(t, TEXT_LEN, "#PF(%x) at %llx", (u32)f->error, (unsigned long long)read_cr2());
	else if ((u32)vector < ARRAY_SIZE(names) && names[vector])
		sniprintf(t, TEXT_LEN, "%s(%x)", names[vector], (u32)f->error);
	else
		sniprintf(t, TEXT_LEN, "exception %d", vector);
	return t;
}

const char *attempt(enum insn_op op, u64 a, u64 b)
{
	struct insn i = { op, a, b, 0 };
	int vector = fault_catch(execute, &i);

	return vector < 0 ? flags_text(i.flags) : fault_text(vector);
}

const char *attempt_call(void (*fn)(void *), void *arg)
{
	int vector = fault_catch(fn, arg);

	return vector < 0 ? "ok" : fault_text(vector);
}
