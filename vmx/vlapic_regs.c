/*
 * Registers of the guest's local APIC: reads, writes, mode changes, and the exits of APIC virtualisation.
 *
 * Invariant: reserved registers and bits are refused in x2APIC mode (#GP) and ignored in xAPIC mode (SDM 3A, x2APIC).
 */
#include "core/errno.h"
#include "core/x86.h"
#include "vmx/exit_family.h"
#include "vmx/vlapic.h"

#define LVT_MASKED BIT(16)

static u32 *reg32(struct vlapic *a, u32 reg) { return (u32 *)(a->regs + reg); }
static bool x2(const struct vlapic *a) { return a->base_msr & APIC_BASE_EXTD; }

/* ---- modes ---- */
/* x2APIC id and logical id replace the xAPIC ones (SDM 3A, Logical Destination Mode in x2APIC Mode). */
void vlapic_mode_changed(struct vcpu *v)
{
	struct vlapic *a = v->vlapic;
	bool on = x2(a) && (a->base_msr & APIC_BASE_EN);
	u32 id = v->core.apic_id;
	*reg32(a, APIC_ID) = on ? id : id << 24;
	*reg32(a, APIC_LDR) = on ? (id >> 4) << 16 | (u32)BIT(id & 15) : 0;
	bool by_cpu = on && vmx_caps.apicv;
	msr_bitmap_x2apic(v, by_cpu);
	if (!vmx_caps.apicv)
		return;
	/* The open bitmap and the control belong together, in vmcs01, whatever runs: apart, the machine's own APIC lies open. */
	struct vmcs *running = v->loaded;
	if (running != &v->vmcs01)
		vcpu_load_vmcs(v, &v->vmcs01);
	u64 c = vmread(VMCS_PROC2_CONTROLS);
	vmwrite(VMCS_PROC2_CONTROLS, by_cpu ? c | PROC2_X2APIC : c & ~PROC2_X2APIC);
	if (running != &v->vmcs01)
		vcpu_load_vmcs(v, running);
}

/* Legal transitions: SDM 3A, x2APIC State Transitions. The base address cannot be moved here. */
bool vlapic_msr_base_write(struct vcpu *v, u64 value)
{
	struct vlapic *a = v->vlapic;
	u64 keep = APIC_BASE_EN | APIC_BASE_EXTD;
	if ((value & ~keep) != (a->base_msr & ~keep))
		return false;
	bool en = value & APIC_BASE_EN, ext = value & APIC_BASE_EXTD;
	bool was_en = a->base_msr & APIC_BASE_EN, was_ext = a->base_msr & APIC_BASE_EXTD;
	if ((ext && !en) || (was_ext && en && !ext) || (!was_en && ext))
		return false;
	cpuid_cache_drop(v); /* CPUID.1:EDX.APIC follows */
	if (was_en && !en) {
		vlapic_reset(v);
		a->base_msr &= ~keep;
		return true;
	}
	a->base_msr = value;
	vlapic_mode_changed(v);
	return true;
}

/* ---- reads ---- */
static bool readable(u32 reg)
{
	switch (reg) {
	case APIC_ID:
	case APIC_VERSION:
	case APIC_TPR:
	case APIC_PPR:
	case APIC_LDR:
	case APIC_SVR:
	case APIC_ESR:
	case APIC_ICR:
	case APIC_LVT_TIMER:
	case APIC_LVT_THERMAL:
	case APIC_LVT_PERF:
	case APIC_LVT_LINT0:
	case APIC_LVT_LINT1:
	case APIC_LVT_ERROR:
	case APIC_TMICT:
	case APIC_TMCCT:
	case APIC_TDCR:
		return true;
	default:
		return reg >= APIC_ISR && reg < APIC_IRR + 0x80;
	}
}

bool vlapic_read(struct vcpu *v, u32 reg, u64 *value)
{
	struct vlapic *a = v->vlapic;
	bool legacy = reg == APIC_DFR || reg == APIC_ICR2;
	*value = 0;
	if (!readable(reg) && (x2(a) || !legacy))
		return !x2(a);
	vlapic_sync(v);
	if (reg == APIC_TMCCT)
		*value = vlapic_timer_current(v);
	else if (reg == APIC_ICR && x2(a))
		*value = *(u64 *)(a->regs + APIC_ICR);
	else
		*value = *reg32(a, reg);
	return true;
}

/* ---- writes ---- */
static bool write_svr(struct vlapic *a, u64 value)
{
	*reg32(a, APIC_SVR) = (u32)value & 0x1ff;
	if (value & BIT(8))
		return true;
	for (u32 lvt = APIC_LVT_TIMER; lvt <= APIC_LVT_ERROR; lvt += 0x10) /* software disable masks them all */
		*reg32(a, lvt) |= LVT_MASKED;
	return true;
}

static bool write_lvt(struct vcpu *v, u32 reg, u64 value)
{
	struct vlapic *a = v->vlapic;
	static const u32 valid_timer = 0x700ff, valid_lint = 0x1a7ff, valid_other = 0x107ff;
	u32 valid = reg == APIC_LVT_TIMER ? valid_timer : reg == APIC_LVT_LINT0 || reg == APIC_LVT_LINT1 ? valid_lint : valid_other;
	u32 old = *reg32(a, reg);
	if (x2(a) && (value & ~(u64)valid))
		return false;
	*reg32(a, reg) = ((u32)value & valid) | (*reg32(a, APIC_SVR) & BIT(8) ? 0 : (u32)LVT_MASKED);
	/* SDM 3A, TSC-Deadline Mode: transitions to and from it disarm the timer; between the others the count goes on. */
	if (reg == APIC_LVT_TIMER && ((old ^ value) & BIT(18))) {
		timer_cancel(&a->slot->timer);
		a->tsc_deadline = 0;
		*reg32(a, APIC_TMICT) = 0;
	}
	return true;
}

static bool write_icr(struct vcpu *v, u64 value)
{
	struct vlapic *a = v->vlapic;
	value &= ~BIT(12); /* delivery status: always idle */
	if (x2(a))
		*(u64 *)(a->regs + APIC_ICR) = value;
	else
		*reg32(a, APIC_ICR) = (u32)value;
	u32 dest = x2(a) ? (u32)(value >> 32) : *reg32(a, APIC_ICR2) >> 24;
	vlapic_send_ipi(v, (value & 0xffffffff) | (u64)dest << 32);
	return true;
}

static bool write_legacy(struct vlapic *a, u32 reg, u64 value)
{
	if (x2(a))
		return false;
	if (reg == APIC_LDR)
		*reg32(a, reg) = (u32)value & 0xff000000;
	if (reg == APIC_DFR)
		*reg32(a, reg) = (u32)value | 0x0fffffff;
	if (reg == APIC_ICR2)
		*reg32(a, reg) = (u32)value & 0xff000000;
	return true; /* read-only ones: ignored in xAPIC mode */
}

bool vlapic_write(struct vcpu *v, u32 reg, u64 value)
{
	struct vlapic *a = v->vlapic;
	if (x2(a) && reg != APIC_ICR && value >> 32)
		return false;
	switch (reg) {
	case APIC_TPR:
		if (value & ~0xffull)
			return !x2(a);
		*reg32(a, APIC_TPR) = (u32)value;
		a->stale = true;
		return true;
	case APIC_EOI:
		if (value && x2(a))
			return false;
		vlapic_eoi(v);
		return true;
	case APIC_SVR:
		return write_svr(a, value);
	case APIC_ESR:
		*reg32(a, APIC_ESR) = 0;
		return !value || !x2(a);
	case APIC_ICR:
		return write_icr(v, value);
	case APIC_LVT_TIMER:
	case APIC_LVT_THERMAL:
	case APIC_LVT_PERF:
	case APIC_LVT_LINT0:
	case APIC_LVT_LINT1:
	case APIC_LVT_ERROR:
		return write_lvt(v, reg, value);
	case APIC_TMICT:
		if (FIELD_GET(BITS(18, 17), *reg32(a, APIC_LVT_TIMER)) == 2)
			return true; /* TSC-deadline mode: ignored */
		*reg32(a, APIC_TMICT) = (u32)value;
		vlapic_timer_start(v);
		return true;
	case APIC_TDCR:
		*reg32(a, APIC_TDCR) = (u32)value & 0xb;
		return true;
	case APIC_SELF_IPI:
		if (!x2(a) || value > 0xff)
			return !x2(a);
		vlapic_post(v, (u8)value);
		return true;
	default:
		return write_legacy(a, reg, value);
	}
}

/* ---- xAPIC registers in memory: FEE00000h, per vCPU ---- */
static u64 xapic_read(void *dev, struct vcpu_core *core, u64 offset, u32 size)
{
	u64 value = ~0ull;
	struct vcpu *v = vcpu_of(core);
	(void)dev;
	if (!(v->vlapic->base_msr & APIC_BASE_EN) || x2(v->vlapic) || size != 4 || (offset & 15))
		return value;
	vlapic_read(v, (u32)offset, &value);
	return value;
}

static void xapic_write(void *dev, struct vcpu_core *core, u64 offset, u32 size, u64 value)
{
	struct vcpu *v = vcpu_of(core);
	(void)dev;
	if ((v->vlapic->base_msr & APIC_BASE_EN) && !x2(v->vlapic) && size == 4 && !(offset & 15))
		vlapic_write(v, (u32)offset, (u32)value);
}

const struct vdev_ops vlapic_mmio_ops = { .read = xapic_read, .write = xapic_write };

/* ---- exits of APIC virtualisation (SDM 3C, APIC-Write VM Exits; EOI Virtualization; TPR) ---- */
enum exit_action exit_apic_write(struct vcpu *v)
{
	u32 reg = (u32)vmread(VMCS_EXIT_QUALIFICATION) & 0xff0;
	vlapic_write(v, reg, *reg32(v->vlapic, reg));
	return EXIT_RESUME;
}

enum exit_action exit_eoi(struct vcpu *v)
{
	vlapic_level_eoi(v->core.vm, (u8)vmread(VMCS_EXIT_QUALIFICATION));
	return EXIT_RESUME;
}

enum exit_action exit_tpr(struct vcpu *v)
{
	v->vlapic->stale = true;
	v->vlapic->maybe_irr = true;
	return EXIT_RESUME;
}
