/*
 * EPT violations of our VMs: accesses to emulated devices are decoded and performed; everything else is a hole that
 * reads as ones, like an empty bus.
 *
 * Invariant: one guest instruction is one device access of the width it asked for; the bytes that were decoded are the bytes
 * that the guest would have executed, read once.
 */
#include <string.h>

#include "core/console.h"
#include "core/insn.h"
#include "core/x86.h"
#include "vmx/ept.h"
#include "vmx/exit_family.h"
#include "vmx/nested.h"
#include "vmx/vlapic.h"

struct access { struct vcpu *v; u64 gpa; };

static u64 mmio_read(void *arg, u32 size)
{
	struct access *a = arg;
	u64 value;
	vdev_read(&a->v->core.vm->mmio, &a->v->core, a->gpa, size, &value);
	return value;
}

static void mmio_write(void *arg, u32 size, u64 value)
{
	struct access *a = arg;
	vdev_write(&a->v->core.vm->mmio, &a->v->core, a->gpa, size, value);
}

/*
 * An access that cannot be performed ends the guest that made it: the VM, or, if L2 did it through a page that L1 gave it, L2 (L1
 * sees a triple fault).
 */
static enum exit_action cannot(struct vcpu *v, const char *what, u64 gpa)
{
	if (!nested_in_l2(v))
		return vcpu_kill(v, "%s at %#lx", what, (unsigned long)gpa);
	log_limited(20, "%s: its guest made %s at %#lx", v->core.vm->cfg->name, what, (unsigned long)gpa);
	nested_triple_fault(v);
	return EXIT_RESUME;
}

/* STOS and MOVS with one memory operand in RAM: item by item, as REP leaves the registers after each. */
static enum exit_action string_move(struct vcpu *v, const struct insn *i, struct access *a)
{
	u64 mask = i->addr_size == 8 ? ~0ull : BIT(i->addr_size * 8) - 1;
	s64 step = vmread(VMCS_GUEST_RFLAGS) & BIT(10) ? -(s64)i->size : (s64)i->size;
	u64 linear = vmread(VMCS_GUEST_LINEAR_ADDR), value = v->gpr[GPR_RAX];
	bool movs = i->op == INSN_MOVS, to_device = vmread(VMCS_EXIT_QUALIFICATION) & EPT_QUAL_WRITE;
	if (i->rep && !(v->gpr[GPR_RCX] & mask))
		return EXIT_ADVANCE;
	u64 other = linear + v->gpr[to_device ? GPR_RSI : GPR_RDI] - v->gpr[to_device ? GPR_RDI : GPR_RSI];
	if (!to_device) {
		value = mmio_read(a, i->size);
		if (movs && guest_write_linear(v, other, &value, i->size) != i->size)
			return cannot(v, "a MOVS from a device to unmapped memory", a->gpa);
	} else {
		if (movs && guest_read_linear(v, other, &value, i->size) != i->size)
			return cannot(v, "a MOVS to a device from unmapped memory", a->gpa);
		mmio_write(a, i->size, value);
	}
	v->gpr[GPR_RDI] = (v->gpr[GPR_RDI] & ~mask) | ((v->gpr[GPR_RDI] + (u64)step) & mask);
	if (movs)
		v->gpr[GPR_RSI] = (v->gpr[GPR_RSI] & ~mask) | ((v->gpr[GPR_RSI] + (u64)step) & mask);
	if (!i->rep)
		return EXIT_ADVANCE;
	u64 left = (v->gpr[GPR_RCX] - 1) & mask;
	v->gpr[GPR_RCX] = (v->gpr[GPR_RCX] & ~mask) | left;
	if (!left)
		return EXIT_ADVANCE;
	vcpu_advance_by(v, 0);
	return EXIT_RESUME;
}

static enum exit_action perform(struct vcpu *v, const struct insn *i, struct access *a)
{
	if (i->op == INSN_STOS || i->op == INSN_MOVS)
		return string_move(v, i, a);
	u64 rflags = vmread(VMCS_GUEST_RFLAGS), before = rflags;
	v->gpr[GPR_RSP] = vmread(VMCS_GUEST_RSP);
	u64 rsp = v->gpr[GPR_RSP];
	struct insn_ctx c = { .gpr = v->gpr, .rflags = &rflags, .mem_read = mmio_read, .mem_write = mmio_write, .arg = a };
	if (insn_emulate(i, &c))
		return cannot(v, "an access that is not emulated", a->gpa);
	if (rflags != before)
		vmwrite(VMCS_GUEST_RFLAGS, rflags);
	if (v->gpr[GPR_RSP] != rsp)
		vmwrite(VMCS_GUEST_RSP, v->gpr[GPR_RSP]);
	return EXIT_ADVANCE;
}

/* The instruction at RIP, decoded. 0 or an error of insn_decode; -EFAULT if its bytes cannot be read. */
static int fetch(struct vcpu *v, struct insn *i)
{
	u8 bytes[INSN_MAX];
	u64 rip = vmread(VMCS_GUEST_RIP);
	if (guest_mode() != INSN_64)
		rip = (u32)(rip + vmread(VMCS_GUEST_CS_BASE));
	u32 n = guest_read_linear(v, rip, bytes, sizeof(bytes));
	return n ? insn_decode(i, bytes, n, guest_mode()) : -EFAULT;
}

enum exit_action exit_ept_violation(struct vcpu *v)
{
	u64 q = vmread(VMCS_EXIT_QUALIFICATION);
	struct access a = { v, vmread(VMCS_GUEST_PHYSICAL_ADDR) };
	struct insn i;
	if (nested_in_l2(v) && !nested_l2_gpa_to_l1(v, a.gpa, &a.gpa))
		return EXIT_RESUME; /* L1 has just unmapped it: the access faults again */
	if (q & EPT_QUAL_FETCH)
		return cannot(v, "a jump to where there is no memory", a.gpa);
	if (!(q & EPT_QUAL_TRANSLATED))
		return cannot(v, "a page walk to where there is no memory", a.gpa);
	if (v->event.info & INTR_VALID)
		return cannot(v, "an event delivery through where there is no memory", a.gpa);
	int error = fetch(v, &i);
	if (error)
		return cannot(v, "an access by an instruction that is not emulated", a.gpa);
	enum exit_action action = perform(v, &i, &a);
	if (action == EXIT_ADVANCE) {
		vcpu_advance_by(v, i.len);
		action = EXIT_RESUME;
	}
	return vm_ended(v->core.vm) ? EXIT_KILL : action;
}

/* Our tables never misconfigure: the entry at this address is our bug, but the VM pays, not the machine. */
enum exit_action exit_ept_misconfig(struct vcpu *v)
{
	return vcpu_kill(v, "EPT misconfiguration at %#lx", vmread(VMCS_GUEST_PHYSICAL_ADDR));
}

enum exit_action exit_task_switch(struct vcpu *v)
{
	return vcpu_kill(v, "hardware task switch, which is not emulated");
}
