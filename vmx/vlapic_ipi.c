/*
 * Messages between local APICs: IPIs and MSIs of virtual devices (SDM 3A, Issuing Interprocessor Interrupts).
 *
 * Invariant: a message never leaves its VM; a destination that does not exist swallows it.
 */
#include "core/x86.h"
#include "vmx/vlapic.h"

enum { MODE_FIXED, MODE_LOWEST, MODE_SMI, MODE_RESERVED, MODE_NMI, MODE_INIT, MODE_SIPI, MODE_EXTINT };
enum { SHORT_NONE, SHORT_SELF, SHORT_ALL, SHORT_OTHERS };
#define ICR_VECTOR BITS(7, 0)
#define ICR_MODE BITS(10, 8)
#define ICR_LOGICAL BIT(11)
#define ICR_LEVEL_ASSERT BIT(14)
#define ICR_TRIGGER BIT(15)
#define ICR_SHORTHAND BITS(19, 18)

static bool software_enabled(struct vcpu *v)
{
	return (v->vlapic->base_msr & APIC_BASE_EN) && (*(u32 *)(v->vlapic->regs + APIC_SVR) & BIT(8));
}

static bool matches_logical(struct vcpu *v, u32 dest)
{
	u32 ldr = *(u32 *)(v->vlapic->regs + APIC_LDR);
	if (v->vlapic->base_msr & APIC_BASE_EXTD)
		return (dest >> 16) == (ldr >> 16) && (dest & ldr & 0xffff);
	if ((*(u32 *)(v->vlapic->regs + APIC_DFR) >> 28) == 0xf) /* flat model */
		return (ldr >> 24) & dest;
	return (ldr >> 28) == (dest >> 4 & 0xf) && (ldr >> 24 & dest & 0xf);
}

static bool matches(struct vcpu *v, u32 dest, bool logical)
{
	bool wide = v->vlapic->base_msr & APIC_BASE_EXTD;
	if (dest == 0xffffffff || (dest == 0xff && !wide))
		return true;
	return logical ? matches_logical(v, dest) : v->core.apic_id == dest;
}

static void deliver_one(struct vcpu *v, u32 mode, u8 vector, bool level)
{
	switch (mode) {
	case MODE_FIXED:
	case MODE_LOWEST:
		if (vector < 16 || !software_enabled(v))
			return;
		if (level)
			vlapic_post_level(v, vector);
		else
			vlapic_post(v, vector);
		break;
	case MODE_NMI:
		vcpu_post_nmi(v);
		break;
	case MODE_INIT:
		vcpu_request(v, VCPU_REQ_INIT);
		break;
	case MODE_SIPI:
		v->sipi_vector = vector;
		vcpu_request(v, VCPU_REQ_SIPI);
		break;
	}
}

static void deliver(struct vm *vm, struct vcpu *skip, u32 dest, bool logical, u32 mode, u8 vector, bool level)
{
	for (u32 i = 0; i < vm->nr_vcpus; i++) {
		struct vcpu *v = vm->vcpus[i];
		if (!v || v == skip || !matches(v, dest, logical))
			continue;
		deliver_one(v, mode, vector, level);
		if (mode == MODE_LOWEST)
			return; /* one of them; which one is the implementation's choice */
	}
}

void vlapic_deliver(struct vm *vm, u32 dest, bool logical, u32 mode, u8 vector) { deliver(vm, NULL, dest, logical, mode, vector, false); }

void vlapic_send_ipi(struct vcpu *v, u64 icr)
{
	struct vm *vm = v->core.vm;
	u32 mode = (u32)FIELD_GET(ICR_MODE, icr), dest = (u32)(icr >> 32);
	u8 vector = (u8)FIELD_GET(ICR_VECTOR, icr);
	if (mode == MODE_INIT && (icr & ICR_TRIGGER) && !(icr & ICR_LEVEL_ASSERT))
		return; /* INIT level de-assert: no effect on these processors */
	switch (FIELD_GET(ICR_SHORTHAND, icr)) {
	case SHORT_SELF:
		deliver_one(v, mode, vector, false);
		break;
	case SHORT_ALL:
		deliver(vm, NULL, 0xffffffff, false, mode, vector, false);
		break;
	case SHORT_OTHERS:
		deliver(vm, v, 0xffffffff, false, mode, vector, false);
		break;
	default:
		deliver(vm, NULL, dest, icr & ICR_LOGICAL, mode, vector, false);
	}
}

/* Address FEExxxxx: destination 19:12, logical bit 2; data: vector, mode 10:8, trigger 15. */
void vlapic_msi(struct vm *vm, u64 addr, u32 data)
{
	if ((addr >> 20) != 0xfee)
		return;
	u32 dest = (u32)FIELD_GET(BITS(19, 12), addr);
	deliver(vm, NULL, dest, addr & BIT(2), (u32)FIELD_GET(BITS(10, 8), data), (u8)data, data & BIT(15));
}
