/*
 * The vCPU: one life is one visible loop (vcpu_run).
 *
 * Invariant: a vCPU runs only on the CPU it is pinned to; other CPUs touch only `requests`, `pi` and `state` (atomic), and `posting`
 * under its lock.
 * While a vCPU is current, the VMCS loaded on this CPU is vmcs01, or vmcs02 while v->nested says that its inner runs.
 */
#ifndef VMX_VCPU_H
#define VMX_VCPU_H

#include "core/time.h"
#include "core/vm.h"
#include "core/x86.h"
#include "vmx/vmx.h"
#include "vmx/vmx_insn.h"

/* x86 register numbers (SDM 2, ModR/M): index of vcpu->gpr. GPR_RSP is not used: RSP lives in the VMCS. */
enum gpr { GPR_RAX, GPR_RCX, GPR_RDX, GPR_RBX, GPR_RSP, GPR_RBP, GPR_RSI, GPR_RDI, GPR_R8, GPR_R9, GPR_R10, GPR_R11, GPR_R12,
	   GPR_R13, GPR_R14, GPR_R15, NR_GPR };

/* Posted-interrupt descriptor (SDM 3C, Posted-Interrupt Processing). One page each (FACTS: the emulator wants that). */
struct pi_desc {
	u64 pir[4];
	u32 control;     /* bit 0: outstanding notification */
	u32 reserved[7];
} __aligned_to(64);
_Static_assert(sizeof(struct pi_desc) == 64, "posted-interrupt descriptor");
#define PI_ON BIT(0)

/* One VMCS of ours. */
struct vmcs {
	void *page;      /* the region; never read by software */
	hpa_t hpa;
	bool launched;
	u32 limit;       /* as written: see struct vcpu */
	struct nested *engine; /* whose vmcs02 it is; NULL: a vmcs01 */
};

enum vcpu_state { VCPU_RUNNABLE, VCPU_HALTED, VCPU_WAIT_SIPI, VCPU_OFF };

/* requests: set from any CPU by vcpu_request, taken on the vCPU's own */
#define VCPU_REQ_FLUSH_EPT BIT(0)
#define VCPU_REQ_INIT BIT(1)
#define VCPU_REQ_SIPI BIT(2)
#define VCPU_REQ_NMI BIT(3)
#define VCPU_REQ_START BIT(4)  /* first run: fill vmcs01 */
#define VCPU_REQ_LEVEL BIT(5)  /* a level-triggered interrupt was raised */
#define VCPU_REQ_POSTING BIT(6) /* posting[] has changed */

/*
 * A vector of our CPU lent to a VMCS: vcpu->posting[], vmx/posting.h. SELF: to vmcs01; those from INNER on: to vmcs02 while vmcs12 names
 * vector and page.
 */
#define POSTING_SELF 0u
#define POSTING_INNER 1u
#define NR_POSTING 17u
struct vcpu_posting { bool on; u8 vector, host_vector; hpa_t page; };

/* An event that must be injected at the next entry (also one that an exit interrupted: IDT-vectoring information). */
struct vcpu_event { u32 info, error, insn_len; };

/* What CPUID last answered for a leaf (and its subleaf, where it has some): vmx/exit_fast.c. */
struct cpuid_answer { u32 leaf, subleaf, mask, unused; struct cpuid_regs r; };
#define CPUID_CACHE 16
#define FAST_RUN 64
#define CPUID_NO_LEAF ~0u /* never kept */

struct vcpu {
	struct vcpu_core core;       /* first */
	u64 gpr[NR_GPR];             /* VMCS HOST_RSP points into it: vmx_enter.S pushes the guest's registers here */
	struct vmcs vmcs01;
	struct vmcs *loaded;         /* &vmcs01 or &nested->vmcs02 */
	u32 state;                   /* enum vcpu_state, atomic */
	u32 requests;                /* VCPU_REQ_*, atomic */
	u32 limit;                   /* what runs exits after that many ticks of the preemption timer; 0: no limit */
	u32 in_guest;                /* set around an entry; read by CPUs that wait for it to leave */
	u8 sipi_vector;
	u16 vpid;
	bool boot;                   /* the VM's boot processor: starts in `entry` instead of waiting for SIPI */
	struct vm_entry_state entry;
	struct vcpu_event event;     /* for the level that runs now */
	u32 injected;                /* what went in with the last entry: interruption information, or 0 */
	u64 injected_rf;             /* RFLAGS.RF when it was injected */
	bool nmi_pending;
	bool posted_further_in;      /* some engine may have pi_pending or init_blocked (vmx/nested_priv.h) */
	u32 nmis_posted;             /* atomic; not taken yet. With nmis_waiting: what nmi_pending says, counted */
	u32 nmis_waiting;
	bool halted_if;              /* an interrupt ends the HLT that halted it */
	struct cpuid_answer cpuid_cache[CPUID_CACHE];
	s32 fast_left;               /* exits that may take the fast way before one takes the slow way */
	bool real_mode_fallback;     /* no unrestricted guest: paging is emulated by an identity table (vmx/no_ug.c) */

	struct vlapic *vlapic;
	struct pi_desc *pi;          /* always used for posting; processed by the CPU where vmx_caps.posted */
	hpa_t pi_hpa;
	struct vcpu_posting posting[NR_POSTING];
	u32 nr_posting_inner;        /* of these, on from POSTING_INNER on; written under their lock */

	struct nested *nested_base;  /* NULL when the VM may not use VMX */
	struct nested *nested;       /* of nested_base and the engines above it, the one whose L2 runs, else nested_base */

	/* state that VM entries do not switch; saved when another vCPU takes the CPU */
	bool on_cpu;
	u64 msr_star, msr_lstar, msr_cstar, msr_fmask, msr_kernel_gs, msr_tsc_aux, xcr0, cr2, dr[4], dr6;
	void *fpu;                   /* XSAVE area, 4 KiB */
	u64 msr_mtrr_def_type;
	u64 tsc_offset;              /* what the VM reads less what the CPU has */
	hpa_t msr_bitmap, io_bitmap; /* ours, for vmcs01 */
	void *msr_bitmap_page, *io_bitmap_pages;
	struct vcpu *next_on_cpu;    /* scheduler's ring of its CPU */
	u64 identity_cr3;            /* guest's CR3 while real_mode_fallback */
	bool hidden_lme;             /* EFER.LME that the guest has set before paging: vmx/cr.c */
	void *identity_table;        /* of the boot vCPU: the page, NULL where not needed */
};

#define VCPU_ORDER 1 /* pages of a struct vcpu: 2^order */
#define vcpu_of(core_ptr) container_of(core_ptr, struct vcpu, core)

/* What a handler of an exit wants to happen next (STYLE: RIP advance is the return value). */
enum exit_action {
	EXIT_RESUME,   /* re-execute, or everything is done */
	EXIT_ADVANCE,  /* skip the instruction */
	EXIT_INJECT,   /* v->event was set by vcpu_inject_exception; do not advance */
	EXIT_KILL,     /* the VM cannot go on; the handler has called vm_end */
};

/* ---- running (vmx/vcpu.c, vcpu_state.c; the scheduler is vmx/sched.h) ---- */
int vcpu_create(struct vm *vm, u32 index, const struct vm_entry_state *entry);
void vcpu_free(struct vcpu *v);
/*
 * Run v until it halts, ends, or its slice is over. Precondition: on its CPU, v->on_cpu, interrupts off. Returns true
 * if it may run again at once.
 */
bool vcpu_run(struct vcpu *v);
/* Make v current on this CPU (switching the rest of the state), or put the current one away. */
void vcpu_load(struct vcpu *v);
void vcpu_put(struct vcpu *v);
/* Load a VMCS of v and remember it. */
void vcpu_load_vmcs(struct vcpu *v, struct vmcs *vmcs);
/* Components of XCR0 that VMs may use: x87, SSE, AVX, AVX-512, PKRU, as far as the CPU has them. They fit one page. */
#define XCR0_OURS (BITS(2, 0) | BITS(7, 5) | BIT(9))
u64 vcpu_xcr0_all(void);
/* Handle v->requests. On v's own CPU with vmcs01 or vmcs02 loaded; also for a vCPU that waits (sched.c). */
void vcpu_take_requests(struct vcpu *v);
/* A fresh VPID (1..65534; reused only after all were given out). */
u16 vcpu_alloc_vpid(void);
/* 32-bit flat protected mode at a multiboot entry point. Precondition: vcpu_reset has been called, vmcs01 loaded. */
void vcpu_enter_protected_mode(struct vcpu *v, const struct vm_entry_state *e);
/* Power-on or INIT state of the architecture (SDM 3A, Processor State After Reset). Precondition: vmcs01 loaded. */
void vcpu_reset(struct vcpu *v);
/* Set request bits, wake and kick. Any CPU. */
void vcpu_request(struct vcpu *v, u32 bits);
/* Make a halted vCPU runnable and see to it that its CPU notices. Any CPU. */
void vcpu_wake(struct vcpu *v);
/* Something came for v: its CPU asks vlapic_has_work if it is halted. What wakes it is decided there alone. Any CPU. */
void vcpu_look_again(struct vcpu *v);
/* ---- exits (vmx/exit.c and its family) ---- */
/* Handle the exit that has just happened; v->event and RIP are set for the next entry. False: the VM has ended. */
bool exit_dispatch(struct vcpu *v);
/* One handler per basic exit reason; NULL = unhandled (kills the VM with a dump). */
typedef enum exit_action (*exit_fn)(struct vcpu *v);
extern const exit_fn exit_handlers[];
/* An NMI for v. Any CPU. */
void vcpu_post_nmi(struct vcpu *v);
/* The pending NMI has been delivered. On v's own CPU. */
void vcpu_nmi_done(struct vcpu *v);
/* Queue an exception for the next entry. Combines with nothing: an exception during delivery becomes #DF, then triple fault. */
enum exit_action vcpu_inject_exception(struct vcpu *v, u8 vector, bool has_error, u32 error);
static inline enum exit_action inject_gp(struct vcpu *v) { return vcpu_inject_exception(v, 13, true, 0); }
static inline enum exit_action inject_ud(struct vcpu *v) { return vcpu_inject_exception(v, 6, false, 0); }
/* Skip the current instruction: RIP += length, clears STI/MOV-SS blocking. Precondition: the exit provides the length. */
void vcpu_advance(struct vcpu *v);
/* Behind an instruction of this length that was performed for the guest; 0: one part of a repeated one was. */
void vcpu_advance_by(struct vcpu *v, u64 len);
/* CPL of the running guest (level that runs now): SS.DPL (SDM 3C, Guest Register State). */
u32 vcpu_cpl(void);
/* End the VM with a readable dump of the vCPU. */
enum exit_action vcpu_kill(struct vcpu *v, const char *fmt, ...) __printf_like(2, 3);
void vcpu_dump(struct vcpu *v);
/* Register by number for the running level: reads RSP from the VMCS where needed. */
u64 vcpu_gpr(struct vcpu *v, u32 reg);
void vcpu_set_gpr(struct vcpu *v, u32 reg, u64 value);

/* ---- CR0/CR4 of the level-1 guest (vmx/cr.c) ---- */
/* The value the guest sees (shadow merged). Precondition: vmcs01 loaded. */
u64 vcpu_read_cr0(void);
u64 vcpu_read_cr4(void);
/* Bits of CR0/CR4 that we own for vmcs01; for the nested merge. */
u64 vcpu_cr0_owned(const struct vcpu *v);
u64 vcpu_cr4_owned(const struct vcpu *v);
/* VMX operation has begun or ended: it decides about vcpu_cr0_owned. Precondition: vmcs01 loaded. */
void vcpu_cr0_owned_changed(const struct vcpu *v);
/* Write as if by MOV to CR. False: would be #GP (nothing changed). */
bool vcpu_set_cr0(struct vcpu *v, u64 value);
bool vcpu_set_cr4(struct vcpu *v, u64 value);
bool vcpu_set_efer(struct vcpu *v, u64 value);
u64 vcpu_read_efer(const struct vcpu *v);

/* ---- MSRs (vmx/msr.c) ---- */
/* As RDMSR/WRMSR by the level-1 guest. False: #GP. */
bool vcpu_read_msr(struct vcpu *v, u32 msr, u64 *value);
bool vcpu_write_msr(struct vcpu *v, u32 msr, u64 value);
/* The VM's TSC is value now. Either VMCS loaded; it stays loaded. */
void vcpu_set_tsc(struct vcpu *v, u64 value);
/* Fill a fresh MSR bitmap page with our policy (all exit but the listed ones; x2APIC registers per APIC virtualisation). */
void msr_bitmap_init(struct vcpu *v);
/* Open or close the x2APIC registers (800h-8FFh) as the APIC mode and the CPU allow. */
void msr_bitmap_x2apic(struct vcpu *v, bool on);

/* ---- guest memory by linear address (vmx/guest_walk.c) ---- */
/*
 * Copy from a linear address of the guest that runs now, through its own page tables (and, while nested, its EPT). Returns bytes
 * copied (0 = not mapped). Precondition: its VMCS is loaded. A read only; sets no accessed bits.
 */
u32 guest_read_linear(struct vcpu *v, u64 linear, void *buf, u32 len);
u32 guest_write_linear(struct vcpu *v, u64 linear, const void *buf, u32 len);
/* Instruction mode of the running guest from CS and EFER. */
/* = enum insn_mode of core/insn.h */
u32 guest_mode(void);

#endif
