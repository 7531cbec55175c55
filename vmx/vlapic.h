/*
 * The guest's local APIC: one register page per vCPU, virtualised by the CPU where it can (virtual-interrupt delivery,
 * APIC-register virtualisation, posted interrupts), in software otherwise (SDM 3A, APIC; SDM 3C, APIC Virtualization).
 *
 * Invariant: interrupts for a vCPU are always posted to its pi descriptor first (any CPU), level-triggered ones to `level`; only
 * its own CPU moves them to IRR, in vlapic_sync and vlapic_take_level.
 */
#ifndef VMX_VLAPIC_H
#define VMX_VLAPIC_H

#include "vmx/vcpu.h"

#define VLAPIC_CLOCK_KHZ 25000u /* clock of the APIC timer before its divider: CPUID 15h's crystal */

/* A timer stays in its CPU's list until it fires, also when its VM has gone: v is NULL then. */
struct vlapic_timer {
	struct timer timer;
	struct vcpu *v;
};

struct vlapic {
	u8 *regs;            /* the virtual-APIC page: register r of the SDM at offset r (x2APIC MSR 800h + r/16) */
	hpa_t regs_hpa;
	u64 base_msr;        /* IA32_APIC_BASE */
	u64 tsc_deadline;
	struct vlapic_timer *slot; /* its timer: outlives the VM, see vlapic.c */
	u64 timer_start;     /* TSC when the count in TMICT began */
	u64 level[4];        /* level-triggered vectors that have been raised; atomic */
	u64 eoi_exit[4];     /* EOI-exit bitmap: these vectors' EOI must reach the I/O APIC */
	bool maybe_irr;      /* false: IRR is certainly empty */
	bool stale;          /* vmcs01's interrupt status (eoi_stale: EOI-exit bitmap) no longer matches */
	bool eoi_stale;
};

int vlapic_create(struct vcpu *v);
void vlapic_free(struct vcpu *v);
void vlapic_reset(struct vcpu *v);
/* Raise a fixed interrupt. Any CPU: PIR bit, then notification or wake-up. */
void vlapic_post(struct vcpu *v, u8 vector);
/* It has been raised, and v has not taken it yet. On v's CPU while v does not run; else it may say what was so a moment ago. */
bool vlapic_waits(const struct vcpu *v, u8 vector);
/*
 * The same for a level-triggered source, whose EOI goes to the I/O APIC. Never by the descriptor: the CPU would deliver it without
 * the EOI-exit bitmap. The vCPU comes out of the guest instead, and takes it by vlapic_take_level.
 */
void vlapic_post_level(struct vcpu *v, u8 vector);
void vlapic_take_level(struct vcpu *v);
/* PIR -> IRR, on the vCPU's own CPU; touches no VMCS (vlapic_prepare_entry brings vmcs01 up to date). */
void vlapic_sync(struct vcpu *v);
/* Highest IRR vector that PPR lets through, or -1. After vlapic_sync. */
int vlapic_pending(struct vcpu *v);
/* Move it from IRR to ISR as if the processor had acknowledged it; returns the vector. Precondition: vlapic_pending >= 0. */
u8 vlapic_ack(struct vcpu *v);
/* Is there a reason to wake a halted vCPU? On its own CPU. */
bool vlapic_has_work(struct vcpu *v);
/* A level-triggered vector was acknowledged by EOI: filled in core/main.c with the virtual I/O APIC. */
extern void (*vlapic_level_eoi)(struct vm *vm, u8 vector);
/* EOI of the highest vector in service, in software. */
void vlapic_eoi(struct vcpu *v);
/* ICR written (vmx/vlapic_ipi.c). */
void vlapic_send_ipi(struct vcpu *v, u64 icr);
/* MSI of a virtual device: address and data as on the bus (SDM 3A, Message Signalled Interrupts). Any CPU. */
void vlapic_msi(struct vm *vm, u64 addr, u32 data);
/* Registers as the guest sees them, by offset; false = reserved (x2APIC: #GP). */
bool vlapic_read(struct vcpu *v, u32 reg, u64 *value);
bool vlapic_write(struct vcpu *v, u32 reg, u64 value);
bool vlapic_msr_base_write(struct vcpu *v, u64 value);
/* IA32_TSC_DEADLINE of the guest. */
void vlapic_deadline_write(struct vcpu *v, u64 tsc);
/* An MSI/IPI message: destination, delivery mode. Any CPU. */
void vlapic_deliver(struct vm *vm, u32 dest, bool logical, u32 mode, u8 vector);
/* CR8 of the guest. */
u64 vlapic_cr8(struct vcpu *v);
void vlapic_set_cr8(struct vcpu *v, u64 value);
/* Before entering vmcs01: TPR threshold, interrupt-window request, or injection (no virtual-interrupt delivery). */
void vlapic_prepare_entry(struct vcpu *v);
/* The exits of APIC virtualisation. */
enum exit_action exit_apic_write(struct vcpu *v);
enum exit_action exit_eoi(struct vcpu *v);
enum exit_action exit_tpr(struct vcpu *v);

/* APIC timer in its one-shot and periodic modes: (re)start from TMICT; count left. Own CPU. */
void vlapic_timer_start(struct vcpu *v);
u32 vlapic_timer_current(struct vcpu *v);
/* base_msr changed: ids, MSR bitmap and vmcs01's controls follow. Precondition: the vCPU is current. */
void vlapic_mode_changed(struct vcpu *v);
/* The registers at FEE00000h for xAPIC mode; core/main.c adds the range to each VM. */
extern const struct vdev_ops vlapic_mmio_ops;

/* Bits of a 256-bit register (IRR, ISR, TMR at 200h, 100h, 180h: 8 words, 16 bytes apart). */
#define APIC_ID 0x20
#define APIC_VERSION 0x30
#define APIC_TPR 0x80
#define APIC_PPR 0xa0
#define APIC_EOI 0xb0
#define APIC_LDR 0xd0
#define APIC_DFR 0xe0
#define APIC_SVR 0xf0
#define APIC_ISR 0x100
#define APIC_TMR 0x180
#define APIC_IRR 0x200
#define APIC_ESR 0x280
#define APIC_LVT_CMCI 0x2f0
#define APIC_ICR 0x300
#define APIC_ICR2 0x310
#define APIC_LVT_TIMER 0x320
#define APIC_LVT_THERMAL 0x330
#define APIC_LVT_PERF 0x340
#define APIC_LVT_LINT0 0x350
#define APIC_LVT_LINT1 0x360
#define APIC_LVT_ERROR 0x370
#define APIC_TMICT 0x380
#define APIC_TMCCT 0x390
#define APIC_TDCR 0x3e0
#define APIC_SELF_IPI 0x3f0

/* Highest set bit of a 256-bit register at regs+offset, or -1; set, clear, test one. Shared with the nested engine. */
int apic_reg_highest(const u8 *regs, u32 offset);
void apic_reg_set(u8 *regs, u32 offset, u8 vector);
void apic_reg_clear(u8 *regs, u32 offset, u8 vector);
/* Move a descriptor's PIR into regs' IRR; returns the highest vector moved or -1. Clears ON first. */
int pi_drain(struct pi_desc *pi, u8 *regs);
/* Set a vector's bit; true if a notification is due (ON was clear and is now set). */
bool pi_post(struct pi_desc *pi, u8 vector);

#endif
