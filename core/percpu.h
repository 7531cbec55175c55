/*
 * Per-CPU block, reached through GS.
 *
 * Invariant: cpus[i].index == i; only CPU i writes its own block, except `pending` and `kicked` (atomic).
 */
#ifndef CORE_PERCPU_H
#define CORE_PERCPU_H

#include "core/types.h"
#include "core/x86.h"

#define MAX_CPUS 16

/* Selectors of our GDT, the same on every CPU. */
#define SEL_CODE 0x08
#define SEL_DATA 0x10
#define SEL_TSS 0x18 /* two slots */

struct vcpu;
struct nest_vmx_assist;
struct nest_vmcs_page;
struct timer;

struct cpu {
	struct cpu *self;        /* must be first: gs_self() */
	u64 host_rsp;            /* must be second: vmx/vmx_enter.S finds our stack here after a VM exit */
	u32 index;
	u32 apic_id;
	bool online;
	struct vcpu *current;    /* vCPU whose state is loaded, or NULL */
	u64 pending[4];          /* vectors that the IDT handlers recorded and irq_poll() has not handled yet */
	u64 wait_tsc;            /* TSC ticks spent in wait_until and idle: subtracted from boot counts */
	struct timer *timers;    /* armed timers, earliest first (core/time.h) */
	void *vmxon_page;
	struct nest_vmx_assist *vmx_assist; /* our assist page, and the VMCS page that it names, where VMCSs are in memory */
	struct nest_vmcs_page *vmcs;
	void *stack;             /* bottom of its 16 KiB stack */
	u64 tss[16];
	u64 gdt[8];
};

extern struct cpu cpus[MAX_CPUS];
extern u32 nr_cpus;          /* CPUs that run; indices 0..nr_cpus-1 */

static inline struct cpu *this_cpu(void) { return gs_self(); }
/* Index of the CPU with this APIC id, or -ENOENT. */
int cpu_by_apic_id(u32 apic_id);
/* The one IDT of all CPUs (built by percpu_init), for host state of a VMCS. */
u64 idt_base(void);
/* Set up GDT, TSS, IDT, GS base of the calling CPU. Once per CPU, before anything that may fault. */
void percpu_init(u32 index, u32 apic_id);

#endif
