/*
 * The guest's local APIC: state, delivery into the vCPU, timer (see vmx/vlapic.h). Registers: vmx/vlapic_regs.c.
 *
 * Invariant: the register page is the truth; the VMCS's copies (RVI, SVI, EOI-exit bitmap) are rewritten from it before the
 * next entry whenever software changed it (`stale`).
 */
#include "vmx/vlapic.h"

#include <string.h>

#include "core/apic.h"
#include "core/errno.h"
#include "core/irq.h"
#include "core/percpu.h"
#include "core/x86.h"
#include "vmx/nested.h"

#define PERIOD_MIN_US 100

void (*vlapic_level_eoi)(struct vm *vm, u8 vector);

/* ---- 256-bit registers ---- */
static u32 *word(u8 *regs, u32 offset, u8 vector) { return (u32 *)(regs + offset + (vector / 32) * 16); }

int apic_reg_highest(const u8 *regs, u32 offset)
{
	for (int w = 7; w >= 0; w--) {
		u32 bits = READ_ONCE(*(const u32 *)(regs + offset + w * 16));
		if (bits)
			return w * 32 + 31 - __builtin_clz(bits);
	}
	return -1;
}

void apic_reg_set(u8 *regs, u32 offset, u8 vector) { *word(regs, offset, vector) |= (u32)BIT(vector % 32); }
void apic_reg_clear(u8 *regs, u32 offset, u8 vector) { *word(regs, offset, vector) &= (u32)~BIT(vector % 32); }
static bool apic_reg_test(u8 *regs, u32 offset, u8 vector) { return *word(regs, offset, vector) & BIT(vector % 32); }

/* ---- posting ---- */
bool pi_post(struct pi_desc *pi, u8 vector)
{
	__atomic_or_fetch(&pi->pir[vector / 64], BIT(vector % 64), __ATOMIC_SEQ_CST);
	return !(__atomic_fetch_or(&pi->control, PI_ON, __ATOMIC_SEQ_CST) & PI_ON);
}

int pi_drain(struct pi_desc *pi, u8 *regs)
{
	int highest = -1;
	__atomic_and_fetch(&pi->control, ~(u32)PI_ON, __ATOMIC_SEQ_CST);
	for (u32 i = 0; i < 4; i++) {
		u64 bits = READ_ONCE(pi->pir[i]) ? __atomic_exchange_n(&pi->pir[i], 0, __ATOMIC_SEQ_CST) : 0;
		if (!bits)
			continue;
		*word(regs, APIC_IRR, (u8)(i * 64)) |= (u32)bits;
		*word(regs, APIC_IRR, (u8)(i * 64 + 32)) |= (u32)(bits >> 32);
		highest = (int)(i * 64 + 63 - (u32)__builtin_clzll(bits));
	}
	return highest;
}

/* To a VMCS with another notification vector (vmx/posting.h) IRQ_VEC_PI is a kick as well. */
static void notify(struct vcpu *v)
{
	if (READ_ONCE(v->state) == VCPU_HALTED)
		vcpu_look_again(v);
	if (v->core.cpu != this_cpu()->index && READ_ONCE(v->in_guest))
		apic_send(cpus[v->core.cpu].apic_id, vmx_caps.posted ? IRQ_VEC_PI : IRQ_VEC_KICK);
}

void vlapic_post(struct vcpu *v, u8 vector)
{
	__atomic_add_fetch(&v->core.count.posted, 1, __ATOMIC_RELAXED);
	if (pi_post(v->pi, vector))
		notify(v);
}

bool vlapic_waits(const struct vcpu *v, u8 vector)
{
	return (READ_ONCE(v->pi->pir[vector / 64]) & BIT(vector % 64)) || apic_reg_test(v->vlapic->regs, APIC_IRR, vector);
}

void vlapic_post_level(struct vcpu *v, u8 vector)
{
	__atomic_or_fetch(&v->vlapic->level[vector / 64], BIT(vector % 64), __ATOMIC_SEQ_CST);
	vcpu_request(v, VCPU_REQ_LEVEL);
}

/* Before they can be delivered, TMR and the EOI-exit bitmap say that their EOI is wanted (SDM 3A, Trigger Mode Register). */
void vlapic_take_level(struct vcpu *v)
{
	struct vlapic *a = v->vlapic;
	for (u32 i = 0; i < 4; i++) {
		u64 bits = READ_ONCE(a->level[i]) ? __atomic_exchange_n(&a->level[i], 0, __ATOMIC_SEQ_CST) : 0;
		if (!bits)
			continue;
		*word(a->regs, APIC_TMR, (u8)(i * 64)) |= (u32)bits;
		*word(a->regs, APIC_TMR, (u8)(i * 64 + 32)) |= (u32)(bits >> 32);
		*word(a->regs, APIC_IRR, (u8)(i * 64)) |= (u32)bits;
		*word(a->regs, APIC_IRR, (u8)(i * 64 + 32)) |= (u32)(bits >> 32);
		a->eoi_exit[i] |= bits;
		a->eoi_stale = a->stale = a->maybe_irr = true;
	}
}

void vlapic_sync(struct vcpu *v)
{
	struct vlapic *a = v->vlapic;
	if (!(READ_ONCE(v->pi->control) & PI_ON))
		return;
	pi_drain(v->pi, a->regs);
	/*
	 * The notification of what was drained may still be on its way. It is taken here, where it means nothing: a processor should ignore one
	 * with an empty PIR, but the emulated one delivers vector 255 (tests/machine/README.md).
	 */
	irq_enable_disable();
	if (irq_pending_here()) /* something else came as well, and before the entry nobody looks any more: an exit at once will */
		apic_send(this_cpu()->apic_id, IRQ_VEC_KICK);
	a->maybe_irr = true;
	a->stale = true;
	if (nested_in_l2(v)) {
		int vector = apic_reg_highest(a->regs, APIC_IRR);
		if (vector >= 0 && nested_take_notification(v, (u8)vector))
			apic_reg_clear(a->regs, APIC_IRR, (u8)vector);
	}
}

static u8 ppr(const struct vlapic *a)
{
	u8 tpr = a->regs[APIC_TPR];
	int isr = apic_reg_highest(a->regs, APIC_ISR);
	return isr >= 0 && (isr & 0xf0) > (tpr & 0xf0) ? (u8)(isr & 0xf0) : tpr;
}

/* IRR is read even when the hint says empty if the CPU moves interrupts there by itself. */
int vlapic_pending(struct vcpu *v)
{
	struct vlapic *a = v->vlapic;
	if (!a->maybe_irr && (!vmx_caps.apicv || nested_in_l2(v))) /* nested_entry.c has set the hint from RVI then */
		return -1;
	int irr = apic_reg_highest(a->regs, APIC_IRR);
	if (irr < 0) {
		a->maybe_irr = false;
		return -1;
	}
	return (irr & 0xf0) > (ppr(a) & 0xf0) ? irr : -1;
}

u8 vlapic_ack(struct vcpu *v)
{
	struct vlapic *a = v->vlapic;
	int vector = apic_reg_highest(a->regs, APIC_IRR);
	ASSERT(vector >= 0);
	apic_reg_clear(a->regs, APIC_IRR, (u8)vector);
	apic_reg_set(a->regs, APIC_ISR, (u8)vector);
	a->regs[APIC_PPR] = ppr(a);
	a->stale = true;
	return (u8)vector;
}

void vlapic_eoi(struct vcpu *v)
{
	struct vlapic *a = v->vlapic;
	int vector = apic_reg_highest(a->regs, APIC_ISR);
	if (vector < 0)
		return;
	apic_reg_clear(a->regs, APIC_ISR, (u8)vector);
	a->regs[APIC_PPR] = ppr(a);
	a->stale = true;
	if (apic_reg_test(a->regs, APIC_TMR, (u8)vector))
		vlapic_level_eoi(v->core.vm, (u8)vector);
}

bool vlapic_has_work(struct vcpu *v)
{
	if (v->nmi_pending || (READ_ONCE(v->requests) & VCPU_REQ_NMI))
		return true;
	if (!v->halted_if)
		return false;
	vlapic_sync(v);
	return vlapic_pending(v) >= 0;
}

u64 vlapic_cr8(struct vcpu *v) { return v->vlapic->regs[APIC_TPR] >> 4; }

void vlapic_set_cr8(struct vcpu *v, u64 value)
{
	v->vlapic->regs[APIC_TPR] = (u8)(value << 4);
	v->vlapic->stale = true;
}

/* ---- before an entry of vmcs01 ---- */
static bool can_take_interrupt(void)
{
	return (vmread(VMCS_GUEST_RFLAGS) & RFLAGS_IF) && !(vmread(VMCS_GUEST_INTERRUPTIBILITY) & (BLOCK_STI | BLOCK_MOV_SS));
}

static void request_window(u64 which) { vmwrite(VMCS_PROC_CONTROLS, vmread(VMCS_PROC_CONTROLS) | which); }

static void prepare_nmi(struct vcpu *v)
{
	u64 blocked = vmread(VMCS_GUEST_INTERRUPTIBILITY) & (BLOCK_NMI | BLOCK_STI | BLOCK_MOV_SS);
	if (!blocked && !(v->event.info & INTR_VALID)) {
		v->event = (struct vcpu_event){ .info = (u32)(INTR_VALID | FIELD_PREP(INTR_TYPE, INTR_NMI) | VEC_NMI) };
		vcpu_nmi_done(v);
	}
	if (v->nmi_pending && (vmx_caps.use_pin & PIN_VIRTUAL_NMI))
		request_window(PROC_NMI_WINDOW);
}

static void refresh_vmcs(struct vlapic *a)
{
	int rvi = apic_reg_highest(a->regs, APIC_IRR), svi = apic_reg_highest(a->regs, APIC_ISR);
	vmwrite(VMCS_GUEST_INTERRUPT_STATUS, (u64)(rvi < 0 ? 0 : rvi) | (u64)(svi < 0 ? 0 : svi) << 8);
	for (u32 i = 0; a->eoi_stale && i < 4; i++) /* rarely: each VMWRITE may exit to an outer */
		vmwrite(VMCS_EOI_EXIT_0 + 2 * i, a->eoi_exit[i]);
	a->stale = a->eoi_stale = false;
}

static void inject_in_software(struct vcpu *v)
{
	struct vlapic *a = v->vlapic;
	int vector = vlapic_pending(v);
	if (vmx_caps.use_proc & PROC_TPR_SHADOW) {
		int irr = a->maybe_irr ? apic_reg_highest(a->regs, APIC_IRR) : -1;
		bool held_by_tpr = vector < 0 && irr >= 0 && (irr >> 4) <= (a->regs[APIC_TPR] >> 4);
		vmwrite(VMCS_TPR_THRESHOLD, held_by_tpr ? (u64)(irr >> 4) : 0);
	}
	if (vector < 0)
		return;
	if ((v->event.info & INTR_VALID) || !can_take_interrupt()) {
		request_window(PROC_INT_WINDOW);
		return;
	}
	v->event = (struct vcpu_event){ .info = (u32)(INTR_VALID | FIELD_PREP(INTR_TYPE, INTR_EXTERNAL) | vlapic_ack(v)) };
}

void vlapic_prepare_entry(struct vcpu *v)
{
	struct vlapic *a = v->vlapic;
	vlapic_sync(v);
	if (__builtin_expect(v->nmi_pending, 0))
		prepare_nmi(v);
	if (vmx_caps.apicv) {
		if (a->stale)
			refresh_vmcs(a);
		return;
	}
	if (a->maybe_irr || a->stale) { /* stale: TPR may have changed under the threshold */
		a->stale = false;
		inject_in_software(v);
	}
}

/* ---- timer ---- */
/* Slots are never given out twice at the same time; a VM's slots are free again when it is destroyed. */
static struct vlapic_timer slots[CFG_MAX_VMS * CFG_MAX_CPUS];
static spinlock_t slots_lock = SPINLOCK_INIT; /* protects v of all slots, and its vCPU's memory while its timer fires */

static struct vlapic_timer *slot_take(struct vcpu *v)
{
	struct vlapic_timer *found = NULL;
	spin_lock(&slots_lock);
	for (u32 i = 0; i < ARRAY_SIZE(slots) && !found; i++)
		if (!slots[i].v && !READ_ONCE(slots[i].timer.armed))
			found = &slots[i];
	if (found)
		found->v = v;
	spin_unlock(&slots_lock);
	return found;
}

static void slot_give(struct vlapic_timer *slot)
{
	spin_lock(&slots_lock);
	slot->v = NULL;
	spin_unlock(&slots_lock);
}

static void fire(struct vcpu *v)
{
	struct vlapic *a = v->vlapic;
	u32 lvt = *(u32 *)(a->regs + APIC_LVT_TIMER);
	a->tsc_deadline = 0;
	if (!(lvt & BIT(16)))
		vlapic_post(v, (u8)lvt);
	if (FIELD_GET(BITS(18, 17), lvt) == 1) /* periodic */
		vlapic_timer_start(v);
}

/* On the CPU that armed it. The VM may have ended, and been destroyed by another CPU, in between. */
static void timer_fired(void *slot)
{
	struct vlapic_timer *s = slot;
	spin_lock(&slots_lock);
	if (s->v && !vm_ended(s->v->core.vm))
		fire(s->v);
	spin_unlock(&slots_lock);
}

static u64 ticks_to_tsc(const struct vlapic *a, u64 ticks)
{
	u32 code = *(u32 *)(a->regs + APIC_TDCR);
	u32 shift = ((code & 3) | (code & 8) >> 1) + 1; /* 111b divides by 1 (SDM 3A, Divide Configuration Register) */
	u64 divide = BIT(shift & 7);
	return ticks * divide * tsc_khz() / VLAPIC_CLOCK_KHZ;
}

void vlapic_timer_start(struct vcpu *v)
{
	struct vlapic *a = v->vlapic;
	u32 count = *(u32 *)(a->regs + APIC_TMICT);
	timer_cancel(&a->slot->timer);
	if (!count || FIELD_GET(BITS(18, 17), *(u32 *)(a->regs + APIC_LVT_TIMER)) > 1)
		return;
	/* A period shorter than its own handling would leave the CPU nothing else to do. */
	bool periodic = FIELD_GET(BITS(18, 17), *(u32 *)(a->regs + APIC_LVT_TIMER)) == 1;
	u64 least = periodic ? us_to_tsc(PERIOD_MIN_US) : 1;
	a->timer_start = rdtsc();
	timer_arm(&a->slot->timer, a->timer_start + MAX(ticks_to_tsc(a, count), least));
}

u32 vlapic_timer_current(struct vcpu *v)
{
	struct vlapic *a = v->vlapic;
	u32 count = *(u32 *)(a->regs + APIC_TMICT);
	if (!count || !a->slot->timer.armed)
		return 0;
	u64 per_tick = MAX(ticks_to_tsc(a, 1000), 1ull), gone = (rdtsc() - a->timer_start) * 1000 / per_tick;
	return gone < count ? count - (u32)gone : 0;
}

void vlapic_deadline_write(struct vcpu *v, u64 tsc)
{
	struct vlapic *a = v->vlapic;
	if (FIELD_GET(BITS(18, 17), *(u32 *)(a->regs + APIC_LVT_TIMER)) != 2)
		return; /* SDM 3A, TSC-Deadline Mode: ignored in the other modes */
	timer_cancel(&a->slot->timer);
	a->tsc_deadline = tsc;
	if (!tsc)
		return;
	u64 now = rdtsc(), seen = now + v->tsc_offset, left = tsc > seen ? tsc - seen : 0;
	timer_arm(&a->slot->timer, left > ~0ull - now ? ~0ull : now + left);
}

/* ---- life ---- */
void vlapic_reset(struct vcpu *v)
{
	struct vlapic *a = v->vlapic;
	timer_cancel(&a->slot->timer);
	pi_drain(v->pi, a->regs); /* what was posted before the reset is lost with the rest */
	memset(a->level, 0, sizeof(a->level));
	memset(a->regs, 0, PAGE_SIZE);
	memset(a->eoi_exit, 0, sizeof(a->eoi_exit));
	*(u32 *)(a->regs + APIC_ID) = v->core.apic_id << 24;
	*(u32 *)(a->regs + APIC_VERSION) = 0x00050014; /* six LVT entries, version 14h */
	*(u32 *)(a->regs + APIC_DFR) = 0xffffffff;
	*(u32 *)(a->regs + APIC_SVR) = 0xff;
	for (u32 lvt = APIC_LVT_TIMER; lvt <= APIC_LVT_ERROR; lvt += 0x10)
		*(u32 *)(a->regs + lvt) = (u32)BIT(16);
	a->base_msr = 0xfee00000 | APIC_BASE_EN | (v->boot ? APIC_BASE_BSP : 0);
	a->tsc_deadline = 0;
	a->maybe_irr = false;
	a->stale = a->eoi_stale = true;
	vlapic_mode_changed(v);
}

int vlapic_create(struct vcpu *v)
{
	_Static_assert(sizeof(struct vlapic) <= PAGE_SIZE, "one page");
	v->vlapic = page_alloc(&v->core.vm->owner);
	if (!v->vlapic)
		return -ENOMEM;
	v->vlapic->regs = page_alloc(&v->core.vm->owner);
	if (!v->vlapic->regs)
		return -ENOMEM;
	v->vlapic->regs_hpa = virt_to_hpa(v->vlapic->regs);
	v->vlapic->slot = slot_take(v);
	if (!v->vlapic->slot)
		return -ENOMEM;
	v->vlapic->slot->timer.fn = timer_fired;
	v->vlapic->slot->timer.arg = v->vlapic->slot;
	return 0;
}

void vlapic_free(struct vcpu *v)
{
	if (!v->vlapic)
		return;
	if (v->vlapic->slot)
		slot_give(v->vlapic->slot);
	if (v->vlapic->regs)
		page_free(&v->core.vm->owner, v->vlapic->regs);
	page_free(&v->core.vm->owner, v->vlapic);
	v->vlapic = NULL;
}
