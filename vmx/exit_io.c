/*
 * Port I/O of guests: to the VM's virtual devices; unclaimed ports read as ones.
 *
 * Invariant: a string instruction moves at most IO_STRING_BATCH items per exit and leaves RCX, RSI, RDI as the processor would
 * after that many, so interrupts are never held off for long.
 */
#include "core/x86.h"
#include "vmx/exit_family.h"
#include "vmx/nested.h"

#define IO_STRING_BATCH 512u

/* Exit qualification (SDM 3C, Exit Qualification for I/O Instructions). */
#define Q_SIZE BITS(2, 0)
#define Q_IN BIT(3)
#define Q_STRING BIT(4)
#define Q_REP BIT(5)
#define Q_PORT BITS(31, 16)
#define INFO_ADDR_SIZE BITS(9, 7)

static u64 size_mask(u32 size) { return size == 8 ? ~0ull : BIT(size * 8) - 1; }

static enum exit_action simple(struct vcpu *v, u16 port, u32 size, bool in)
{
	u64 value = v->gpr[GPR_RAX] & size_mask(size);
	if (!in) {
		vdev_write(&v->core.vm->pio, &v->core, port, size, value);
		return vm_ended(v->core.vm) ? EXIT_KILL : EXIT_ADVANCE;
	}
	vdev_read(&v->core.vm->pio, &v->core, port, size, &value);
	if (size == 4) /* a 32-bit result clears the upper half (SDM 1, 64-bit mode) */
		v->gpr[GPR_RAX] = (u32)value;
	else
		v->gpr[GPR_RAX] = (v->gpr[GPR_RAX] & ~size_mask(size)) | (value & size_mask(size));
	return EXIT_ADVANCE;
}

/* Width of RCX, RSI, RDI: the instruction's address size. */
static u32 address_size(void)
{
	static const u8 sizes[] = { 2, 4, 8 };
	if (vmx_caps.basic & VMX_BASIC_INS_OUTS) {
		u64 code = FIELD_GET(INFO_ADDR_SIZE, vmread(VMCS_EXIT_INSN_INFO));
		return code < 3 ? sizes[code] : 8;
	}
	return sizes[guest_mode()];
}

static void bump(u64 *reg, u32 width, s64 delta)
{
	u64 mask = size_mask(width);
	u64 next = (*reg + (u64)delta) & mask;
	*reg = width == 4 ? next : (*reg & ~mask) | next;
}

static bool one_item(struct vcpu *v, u64 linear, u16 port, u32 size, bool in)
{
	u64 value = 0;
	if (in) {
		vdev_read(&v->core.vm->pio, &v->core, port, size, &value);
		return guest_write_linear(v, linear, &value, size) == size;
	}
	if (guest_read_linear(v, linear, &value, size) != size)
		return false;
	vdev_write(&v->core.vm->pio, &v->core, port, size, value);
	return true;
}

/* The exit comes before the page fault that the processor would raise; whoever ran the instruction ends. */
static enum exit_action unmapped_operand(struct vcpu *v, u16 port, u64 linear)
{
	if (!nested_in_l2(v))
		return vcpu_kill(v, "string I/O on port %#x with an unmapped operand at %#lx", port, (unsigned long)linear);
	nested_triple_fault(v);
	return EXIT_RESUME;
}

static enum exit_action string(struct vcpu *v, u16 port, u32 size, bool in, bool rep)
{
	u32 width = address_size();
	u64 *index = &v->gpr[in ? GPR_RDI : GPR_RSI];
	s64 step = vmread(VMCS_GUEST_RFLAGS) & BIT(10) ? -(s64)size : (s64)size;
	u64 linear = vmread(VMCS_GUEST_LINEAR_ADDR);
	u64 left = rep ? v->gpr[GPR_RCX] & size_mask(width) : 1;
	for (u32 n = 0; left && n < IO_STRING_BATCH; n++, left--, linear += (u64)step) {
		if (!one_item(v, linear, port, size, in))
			return unmapped_operand(v, port, linear);
		bump(index, width, step);
		if (rep)
			bump(&v->gpr[GPR_RCX], width, -1);
		if (vm_ended(v->core.vm))
			return EXIT_KILL;
	}
	return left ? EXIT_RESUME : EXIT_ADVANCE;
}

enum exit_action exit_io(struct vcpu *v)
{
	u64 q = vmread(VMCS_EXIT_QUALIFICATION);
	u32 size = (u32)FIELD_GET(Q_SIZE, q) + 1;
	u16 port = (u16)FIELD_GET(Q_PORT, q);
	return q & Q_STRING ? string(v, port, size, q & Q_IN, q & Q_REP) : simple(v, port, size, q & Q_IN);
}
