/*
 * Vectors: guest non-register state (SDM 3C, Checks on Guest Non-Register State).
 */
#include "core/x86.h"
#include "tests/conform/vectors.h"

#define INJECT(type, vector, more) (s->ENTRY_INTR_INFO = INTR_VALID | (u64)(type) << 8 | (vector) | (more))
#define HALT (s->GUEST_ACTIVITY = ACTIVITY_HLT, s->PREEMPTION_TIMER = 100000)
#define CPL3 (ON(GUEST_CS_SEL, 3), ON(GUEST_SS_SEL, 3), ON(GUEST_CS_AR, BITS(6, 5)), ON(GUEST_SS_AR, BITS(6, 5)))
#define MISC_ACTIVITY(e, a) ((e)->misc & BIT(5 + (a))) /* bits 6, 7, 8: HLT, shutdown, wait for SIPI */
/* A guest that halts for good needs something to end it. */
#define CAN_HALT (MISC_ACTIVITY(e, ACTIVITY_HLT) && may_pin(e, PIN_PREEMPTION_TIMER))

static void activity(struct walk *w)
{
	VECTORS(w);

	ROW("guest.activity", "the activity state must be one that IA32_VMX_MISC reports", ALWAYS) {
		FAIL(BASE_LONG, E_GUEST, s->GUEST_ACTIVITY = 4);
		FAIL(BASE_LONG, E_GUEST, s->GUEST_ACTIVITY = BIT(31) | 1);
		for (u64 a = ACTIVITY_HLT; a <= ACTIVITY_WAIT_SIPI; a++)
			if (!MISC_ACTIVITY(e, a))
				FAIL(BASE_LONG, E_GUEST, s->GUEST_ACTIVITY = a);
	}
	ROW("guest.activity.hlt", "HLT is a valid state at CPL 0", CAN_HALT, "no HLT activity state, or no preemption timer to end it")
		PASS(BASE_LONG, HALT);
	ROW("guest.activity.hlt-dpl", "HLT must not be entered if the DPL of SS is not 0", MISC_ACTIVITY(e, ACTIVITY_HLT), SHORT)
		FAIL(BASE_32, E_GUEST, HALT; CPL3);
	ROW("guest.activity.blocking", "with blocking by STI or MOV SS the state must be active", MISC_ACTIVITY(e, ACTIVITY_HLT), SHORT) {
		FAIL(BASE_LONG, E_GUEST, HALT; s->GUEST_INTERRUPTIBILITY = BLOCK_MOV_SS);
		FAIL(BASE_LONG, E_GUEST, HALT; s->GUEST_INTERRUPTIBILITY = BLOCK_STI; ON(GUEST_RFLAGS, RFLAGS_IF));
	}
	ROW("guest.activity.hlt-event", "into HLT only interrupts, NMI, #DB, #MC and a pending MTF may be injected", MISC_ACTIVITY(e,
	       ACTIVITY_HLT), SHORT) {
		PASS(BASE_LONG, HALT; INJECT(INTR_EXTERNAL, 64, 0); ON(GUEST_RFLAGS, RFLAGS_IF));
		PASS(BASE_LONG, HALT; INJECT(INTR_NMI, 2, 0));
		PASS(BASE_LONG, HALT; INJECT(INTR_HW_EXCEPTION, VEC_DB, 0));
		PASS(BASE_LONG, HALT; INJECT(INTR_HW_EXCEPTION, VEC_MC, 0));
		if (may_proc(e, PROC_MTF))
			PASS(BASE_LONG, HALT; INJECT(INTR_OTHER, 0, 0));
		FAIL(BASE_LONG, E_GUEST, HALT; INJECT(INTR_HW_EXCEPTION, VEC_UD, 0));
		FAIL(BASE_LONG, E_GUEST, HALT; INJECT(INTR_HW_EXCEPTION, VEC_GP, INTR_HAS_ERROR));
		FAIL(BASE_LONG, E_GUEST, HALT; INJECT(INTR_SW_INT, 64, 0); s->ENTRY_INSN_LEN = 2);
		FAIL(BASE_LONG, E_GUEST, HALT; INJECT(INTR_SW_EXCEPTION, 3, 0); s->ENTRY_INSN_LEN = 1);
		FAIL(BASE_LONG, E_GUEST, HALT; INJECT(INTR_PRIV_SW_EXCEPTION, VEC_DB, 0); s->ENTRY_INSN_LEN = 1);
	}
	ROW("guest.activity.shutdown-event", "into shutdown only NMI and #MC may be injected", MISC_ACTIVITY(e, ACTIVITY_SHUTDOWN),
	       SHORT) {
		FAIL(BASE_LONG, E_GUEST, s->GUEST_ACTIVITY = ACTIVITY_SHUTDOWN; INJECT(INTR_HW_EXCEPTION, VEC_DB, 0));
		FAIL(BASE_LONG, E_GUEST, s->GUEST_ACTIVITY = ACTIVITY_SHUTDOWN; INJECT(INTR_EXTERNAL, 64, 0); ON(GUEST_RFLAGS, RFLAGS_IF));
		PASS(BASE_LONG, s->GUEST_ACTIVITY = ACTIVITY_SHUTDOWN; INJECT(INTR_NMI, 2, 0));
	}
	ROW("guest.activity.sipi-event", "into wait-for-SIPI nothing may be injected", MISC_ACTIVITY(e, ACTIVITY_WAIT_SIPI), SHORT) {
		FAIL(BASE_LONG, E_GUEST, s->GUEST_ACTIVITY = ACTIVITY_WAIT_SIPI; INJECT(INTR_NMI, 2, 0));
		FAIL(BASE_LONG, E_GUEST, s->GUEST_ACTIVITY = ACTIVITY_WAIT_SIPI; INJECT(INTR_HW_EXCEPTION, VEC_MC, 0));
		FAIL(BASE_LONG, E_GUEST, s->GUEST_ACTIVITY = ACTIVITY_WAIT_SIPI; INJECT(INTR_EXTERNAL, 64, 0); ON(GUEST_RFLAGS, RFLAGS_IF));
		if (may_proc(e, PROC_MTF))
			FAIL(BASE_LONG, E_GUEST, s->GUEST_ACTIVITY = ACTIVITY_WAIT_SIPI; INJECT(INTR_OTHER, 0, 0));
	}
	ROW("guest.activity.sipi-blocking", "in wait-for-SIPI nothing may be blocked by STI or MOV SS", MISC_ACTIVITY(e, ACTIVITY_WAIT_SIPI),
	       SHORT) {
		FAIL(BASE_LONG, E_GUEST, s->GUEST_ACTIVITY = ACTIVITY_WAIT_SIPI; s->GUEST_INTERRUPTIBILITY = BLOCK_MOV_SS);
		FAIL(BASE_LONG, E_GUEST, s->GUEST_ACTIVITY = ACTIVITY_WAIT_SIPI; s->GUEST_INTERRUPTIBILITY = BLOCK_STI;
		     ON(GUEST_RFLAGS, RFLAGS_IF));
	}
}

static void interruptibility(struct walk *w)
{
	VECTORS(w);

	ROW("guest.blocking.reserved", "reserved bits of the interruptibility state must be 0", ALWAYS) {
		FAIL(BASE_LONG, E_GUEST, s->GUEST_INTERRUPTIBILITY = BIT(5));
		FAIL(BASE_LONG, E_GUEST, s->GUEST_INTERRUPTIBILITY = BIT(31));
	}
	ROW("guest.blocking.both", "blocking by STI and by MOV SS must not both be set", ALWAYS) {
		PASS(BASE_LONG, s->GUEST_INTERRUPTIBILITY = BLOCK_STI; ON(GUEST_RFLAGS, RFLAGS_IF));
		PASS(BASE_LONG, s->GUEST_INTERRUPTIBILITY = BLOCK_MOV_SS);
		FAIL(BASE_LONG, E_GUEST, s->GUEST_INTERRUPTIBILITY = BLOCK_STI | BLOCK_MOV_SS; ON(GUEST_RFLAGS, RFLAGS_IF));
	}
	ROW("guest.blocking.sti-if", "blocking by STI must be 0 if RFLAGS.IF is 0", ALWAYS)
		FAIL(BASE_LONG, E_GUEST, s->GUEST_INTERRUPTIBILITY = BLOCK_STI);
	ROW("guest.blocking.interrupt", "no blocking by STI or MOV SS if an external interrupt is injected", ALWAYS) {
		FAIL(BASE_LONG, E_GUEST, s->GUEST_INTERRUPTIBILITY = BLOCK_STI; ON(GUEST_RFLAGS, RFLAGS_IF); INJECT(INTR_EXTERNAL, 64, 0));
		FAIL(BASE_LONG, E_GUEST, s->GUEST_INTERRUPTIBILITY = BLOCK_MOV_SS; ON(GUEST_RFLAGS, RFLAGS_IF); INJECT(INTR_EXTERNAL, 64, 0));
	}
	ROW("guest.blocking.nmi-mov-ss", "no blocking by MOV SS if an NMI is injected", ALWAYS)
		FAIL(BASE_LONG, E_GUEST, s->GUEST_INTERRUPTIBILITY = BLOCK_MOV_SS; INJECT(INTR_NMI, 2, 0));
	ROW("guest.blocking.exception", "exceptions may be injected while STI or MOV SS blocks", ALWAYS)
		PASS(BASE_LONG, s->GUEST_INTERRUPTIBILITY = BLOCK_MOV_SS; INJECT(INTR_HW_EXCEPTION, VEC_UD, 0));
	ROW("guest.blocking.smi", "blocking by SMI must be 0 outside SMM", ALWAYS)
		FAIL(BASE_LONG, E_GUEST, s->GUEST_INTERRUPTIBILITY = BLOCK_SMI);
	ROW("guest.blocking.virtual-nmi", "with virtual NMIs no blocking by NMI if an NMI is injected", may_pin(e, PIN_VIRTUAL_NMI),
	       SHORT) {
		PASS(BASE_LONG, ON(PIN_CONTROLS, PIN_VIRTUAL_NMI); s->GUEST_INTERRUPTIBILITY = BLOCK_NMI);
		PASS(BASE_LONG, s->GUEST_INTERRUPTIBILITY = BLOCK_NMI; INJECT(INTR_NMI, 2, 0));
		FAIL(BASE_LONG, E_GUEST, ON(PIN_CONTROLS, PIN_VIRTUAL_NMI); s->GUEST_INTERRUPTIBILITY = BLOCK_NMI; INJECT(INTR_NMI, 2, 0));
	}
	ROW("guest.blocking.enclave", "enclave interruption needs SGX", ALWAYS)
		FAIL(BASE_LONG, E_GUEST, s->GUEST_INTERRUPTIBILITY = BIT(4));
}

#define STEP (s->GUEST_INTERRUPTIBILITY = BLOCK_MOV_SS, ON(GUEST_RFLAGS, RFLAGS_TF))
#define PENDING_BS BIT(14)
static void pending(struct walk *w)
{
	VECTORS(w);

	ROW("guest.pending.reserved", "pending debug exceptions: bits 11:4, 13, 15 and 63:17 must be 0", ALWAYS) {
		static const u8 bits[] = { 4, 11, 13, 15, 17, 63 };
		for (u32 i = 0; i < ARRAY_SIZE(bits); i++)
			FAIL(BASE_LONG, E_GUEST, s->GUEST_PENDING_DBG = BIT(bits[i]));
		PASS(BASE_LONG, s->GUEST_PENDING_DBG = PENDING_BS);
		PASS(BASE_LONG, s->GUEST_PENDING_DBG = BIT(12) | BITS(3, 0));
	}
	ROW("guest.pending.bs-set", "blocked or halted, BS must be 1 if TF is 1 and BTF is 0", ALWAYS) {
		PASS(BASE_LONG, STEP; s->GUEST_PENDING_DBG = PENDING_BS);
		FAIL(BASE_LONG, E_GUEST, STEP);
		FAIL(BASE_LONG, E_GUEST, s->GUEST_INTERRUPTIBILITY = BLOCK_STI; ON(GUEST_RFLAGS, RFLAGS_TF | RFLAGS_IF));
	}
	ROW("guest.pending.bs-clear", "blocked or halted, BS must be 0 if TF is 0 or BTF is 1", ALWAYS) {
		PASS(BASE_LONG, STEP; s->GUEST_DEBUGCTL = BIT(1));
		FAIL(BASE_LONG, E_GUEST, s->GUEST_INTERRUPTIBILITY = BLOCK_MOV_SS; s->GUEST_PENDING_DBG = PENDING_BS);
		FAIL(BASE_LONG, E_GUEST, STEP; s->GUEST_DEBUGCTL = BIT(1); s->GUEST_PENDING_DBG = PENDING_BS);
	}
	ROW("guest.pending.bs-halted", "the same in HLT", CAN_HALT, SHORT) {
		FAIL(BASE_LONG, E_GUEST, HALT; s->GUEST_PENDING_DBG = PENDING_BS);
		FAIL(BASE_LONG, E_GUEST, HALT; ON(GUEST_RFLAGS, RFLAGS_TF));
	}
	ROW("guest.pending.rtm", "bit 16 (RTM) must be 0 on a processor without advanced debugging of RTM", ALWAYS)
		FAIL(BASE_LONG, E_GUEST, s->GUEST_PENDING_DBG = BIT(16) | BIT(12));
	ROW("guest.pending.rtm-bits", "with bit 16 (RTM) bits 11:0, 15:13 must be 0 and bit 12 must be 1", ALWAYS) {
		FAIL(BASE_LONG, E_GUEST, s->GUEST_PENDING_DBG = BIT(16));
		FAIL(BASE_LONG, E_GUEST, s->GUEST_PENDING_DBG = BIT(16) | BIT(12) | 1);
	}
}

static void link_pointer(struct walk *w)
{
	VECTORS(w);

	ROW("guest.link.low", "VMCS link pointer: bits 11:0 must be 0", ALWAYS) {
		PASS(BASE_LONG, s->VMCS_LINK_PTR = e->link);
		FAIL(BASE_LONG, E_LINK, s->VMCS_LINK_PTR = e->link | 1);
		FAIL(BASE_LONG, E_LINK, s->VMCS_LINK_PTR = e->link | 0x800);
	}
	ROW("guest.link.high", "VMCS link pointer: no bits beyond the physical-address width", TOO_WIDE(e), SHORT) {
		FAIL(BASE_LONG, E_LINK, s->VMCS_LINK_PTR = e->link | TOO_WIDE(e));
		FAIL(BASE_LONG, E_LINK, s->VMCS_LINK_PTR = e->link | BIT(63));
	}
	ROW("guest.link.revision", "the linked region must hold the processor's revision identifier", ALWAYS) {
		FAIL(BASE_LONG, E_LINK, s->VMCS_LINK_PTR = e->link; e->link_words[0] = e->revision ^ 1);
		FAIL(BASE_LONG, E_LINK, s->VMCS_LINK_PTR = e->link; e->link_words[0] = 0);
	}
	ROW("guest.link.shadow", "bit 31 of the linked region's first word is the VMCS-shadowing control", ALWAYS) {
		FAIL(BASE_LONG, E_LINK, s->VMCS_LINK_PTR = e->link; e->link_words[0] = e->revision | BIT(31));
		if (may_proc2(e, PROC2_SHADOW_VMCS))
			FAIL(BASE_LONG, E_LINK, SECONDARY(PROC2_SHADOW_VMCS); s->VMCS_LINK_PTR = e->link);
	}
	ROW("guest.link.current", "VMCS link pointer: not the current VMCS", ALWAYS)
		FAIL(BASE_LONG, E_LINK, s->VMCS_LINK_PTR = e->this_vmcs);
}

void vectors_state(struct walk *w)
{
	activity(w);
	interruptibility(w);
	pending(w);
	link_pointer(w);
}
