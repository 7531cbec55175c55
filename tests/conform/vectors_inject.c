/*
 * Vectors: the VM-entry interruption-information field (SDM 3C, VM-Entry Control Fields), and MSRs loaded at entry (Loading MSRs).
 */
#include "core/x86.h"
#include "tests/conform/vectors.h"

#define INJECT(type, vector, more) (s->ENTRY_INTR_INFO = INTR_VALID | (u64)(type) << 8 | (vector) | (more))

static bool pushes_error(u64 vector) { return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17; }

void vectors_injection(struct walk *w)
{
	VECTORS(w);
	bool any_error = e->basic & BIT(56), zero_length = e->misc & BIT(30), mtf = may_proc(e, PROC_MTF);

	ROW("ctl.inject.type", "interruption type 1 is reserved", ALWAYS) {
		PASS(BASE_LONG, s->ENTRY_INTR_INFO = 0x7fffffff);
		FAIL(BASE_LONG, E_CONTROLS, INJECT(1, 32, 0));
	}
	ROW("ctl.inject.other-event", "interruption type 7 (other event) only where the monitor trap flag is supported", ALWAYS)
		FAIL(BASE_LONG, mtf ? ENTERS : E_CONTROLS, INJECT(INTR_OTHER, 0, 0));
	ROW("ctl.inject.nmi-vector", "if the interruption type is NMI, the vector is 2", ALWAYS) {
		PASS(BASE_LONG, INJECT(INTR_NMI, 2, 0));
		FAIL(BASE_LONG, E_CONTROLS, INJECT(INTR_NMI, 3, 0));
		FAIL(BASE_LONG, E_CONTROLS, INJECT(INTR_NMI, 0x82, 0));
	}
	ROW("ctl.inject.exception-vector", "if the interruption type is hardware exception, the vector is at most 31", ALWAYS) {
		PASS(BASE_LONG, INJECT(INTR_HW_EXCEPTION, 31, 0));
		FAIL(BASE_LONG, E_CONTROLS, INJECT(INTR_HW_EXCEPTION, 32, 0));
		FAIL(BASE_LONG, E_CONTROLS, INJECT(INTR_HW_EXCEPTION, 255, 0));
	}
	ROW("ctl.inject.other-vector", "if the interruption type is other event, the vector is 0 (pending MTF VM exit)", mtf, SHORT) {
		FAIL(BASE_LONG, E_CONTROLS, INJECT(INTR_OTHER, 1, 0));
		FAIL(BASE_LONG, E_CONTROLS, INJECT(INTR_OTHER, 128, 0));
	}
	ROW("ctl.inject.vector-free", "external interrupts and software events may have any vector", ALWAYS) {
		PASS(BASE_LONG, INJECT(INTR_EXTERNAL, 255, 0); ON(GUEST_RFLAGS, RFLAGS_IF));
		PASS(BASE_LONG, INJECT(INTR_EXTERNAL, 0, 0); ON(GUEST_RFLAGS, RFLAGS_IF));
		PASS(BASE_LONG, INJECT(INTR_SW_INT, 255, 0); s->ENTRY_INSN_LEN = 2);
	}
	ROW("ctl.inject.error-code.vectors", "deliver-error-code is 1 exactly for exceptions that deliver one", !any_error,
	    "any exception may have an error code or none")
		for (u64 vector = 0; vector < 20; vector++) {
			if (vector == VEC_NMI || vector == 9 || vector == 15)
				continue;
			FAIL(BASE_LONG, pushes_error(vector) ? E_CONTROLS : ENTERS, INJECT(INTR_HW_EXCEPTION, vector, 0));
			FAIL(BASE_LONG, pushes_error(vector) ? ENTERS : E_CONTROLS, INJECT(INTR_HW_EXCEPTION, vector, INTR_HAS_ERROR));
		}
	ROW("ctl.inject.error-code.type", "deliver-error-code is 0 for events other than hardware exceptions", ALWAYS) {
		FAIL(BASE_LONG, E_CONTROLS, INJECT(INTR_EXTERNAL, 13, INTR_HAS_ERROR); ON(GUEST_RFLAGS, RFLAGS_IF));
		FAIL(BASE_LONG, E_CONTROLS, INJECT(INTR_SW_INT, 13, INTR_HAS_ERROR); s->ENTRY_INSN_LEN = 2);
		FAIL(BASE_LONG, E_CONTROLS, INJECT(INTR_SW_EXCEPTION, 13, INTR_HAS_ERROR); s->ENTRY_INSN_LEN = 1);
	}
	ROW("ctl.inject.error-code.real", "deliver-error-code is 0 for an unrestricted guest with CR0.PE = 0", base_possible(e,
	       BASE_REAL), SHORT) {
		PASS(BASE_REAL, INJECT(INTR_HW_EXCEPTION, 13, 0));
		FAIL(BASE_REAL, E_CONTROLS, INJECT(INTR_HW_EXCEPTION, 13, INTR_HAS_ERROR));
		PASS(BASE_FLAT, INJECT(INTR_HW_EXCEPTION, 13, INTR_HAS_ERROR));
	}
	ROW("ctl.inject.reserved", "bits 30:12 of the interruption information must be 0", ALWAYS)
		for (u32 bit = 12; bit <= 30; bit += 6)
			FAIL(BASE_LONG, E_CONTROLS, INJECT(INTR_HW_EXCEPTION, 6, BIT(bit)));
	ROW("ctl.inject.error-code.bits", "if an error code is delivered, its bits 31:16 must be 0", ALWAYS) {
		PASS(BASE_LONG, INJECT(INTR_HW_EXCEPTION, 13, INTR_HAS_ERROR); s->ENTRY_EXCEPTION_ERROR = 0x7fff);
		PASS(BASE_LONG, INJECT(INTR_HW_EXCEPTION, 6, 0); s->ENTRY_EXCEPTION_ERROR = ~0u);
		FAIL(BASE_LONG, E_CONTROLS, INJECT(INTR_HW_EXCEPTION, 13, INTR_HAS_ERROR); s->ENTRY_EXCEPTION_ERROR = 0x10000);
		FAIL(BASE_LONG, E_CONTROLS, INJECT(INTR_HW_EXCEPTION, 13, INTR_HAS_ERROR); s->ENTRY_EXCEPTION_ERROR = BIT(31));
	}
	ROW("ctl.inject.length", "software events have an instruction length of 1-15, or 0 where IA32_VMX_MISC bit 30 allows it", ALWAYS)
		for (u32 type = INTR_SW_INT; type <= INTR_SW_EXCEPTION; type++) {
			PASS(BASE_LONG, INJECT(type, 3, 0); s->ENTRY_INSN_LEN = 1);
			PASS(BASE_LONG, INJECT(type, 3, 0); s->ENTRY_INSN_LEN = 15);
			FAIL(BASE_LONG, E_CONTROLS, INJECT(type, 3, 0); s->ENTRY_INSN_LEN = 16);
			FAIL(BASE_LONG, E_CONTROLS, INJECT(type, 3, 0); s->ENTRY_INSN_LEN = BIT(31) | 1);
			FAIL(BASE_LONG, zero_length ? ENTERS : E_CONTROLS, INJECT(type, 3, 0); s->ENTRY_INSN_LEN = 0);
		}
	ROW("ctl.inject.length-unused", "other events do not look at the instruction length", ALWAYS)
		PASS(BASE_LONG, INJECT(INTR_HW_EXCEPTION, 6, 0); s->ENTRY_INSN_LEN = 16);
}

/* An entry of the VM-entry MSR-load area, in memory that vectors may change. */
static void entry(const struct env *e, u32 i, u64 index, u64 value)
{
	u64 *area = (u64 *)e->msr_area;

	area[2 * i] = index;
	area[2 * i + 1] = value;
}

#define MSR_SYSENTER_CS_VALUE 0x1234
#define LOAD(n) (s->ENTRY_MSR_LOAD_ADDR = e->msr_area, s->ENTRY_MSR_LOAD_COUNT = (n), \
		 entry(e, 0, MSR_SYSENTER_CS, MSR_SYSENTER_CS_VALUE))

void vectors_msr_load(struct walk *w)
{
	VECTORS(w);

	ROW("msr.fs-gs-base", "MSR-load entries of IA32_FS_BASE and IA32_GS_BASE fail", ALWAYS) {
		PASS(BASE_LONG, LOAD(1));
		FAIL(BASE_LONG, E_MSR1, LOAD(1); entry(e, 0, MSR_FS_BASE, 0));
		FAIL(BASE_LONG, E_MSR2, LOAD(2); entry(e, 1, MSR_GS_BASE, 0));
		PASS(BASE_LONG, LOAD(1); entry(e, 0, MSR_KERNEL_GS_BASE, 0));
	}
	ROW("msr.x2apic", "MSR-load entries of 800H-8FFH fail while the local APIC is in x2APIC mode", e->x2apic, NO_X2APIC) {
		FAIL(BASE_LONG, E_MSR1, LOAD(1); entry(e, 0, 0x808, 0));
		FAIL(BASE_LONG, E_MSR1, LOAD(1); entry(e, 0, 0x8ff, 0));
	}
	ROW("msr.smm", "MSR-load entries of MSRs that only SMM may write fail", ALWAYS)
		FAIL(BASE_LONG, E_MSR1, LOAD(1); entry(e, 0, 0x9e, 0));
	ROW("msr.reserved", "bits 63:32 of an MSR-load entry must be 0", ALWAYS) {
		FAIL(BASE_LONG, E_MSR1, LOAD(1); entry(e, 0, MSR_SYSENTER_CS | BIT(32), 0));
		FAIL(BASE_LONG, E_MSR2, LOAD(2); entry(e, 1, MSR_SYSENTER_CS | BIT(63), 0));
	}
	ROW("msr.wrmsr", "an MSR-load entry fails if WRMSR at CPL 0 would raise #GP", ALWAYS) {
		FAIL(BASE_LONG, E_MSR1, LOAD(1); entry(e, 0, MSR_PAT, 2));
		FAIL(BASE_LONG, E_MSR1, LOAD(1); entry(e, 0, MSR_SYSENTER_EIP, NOT_CANONICAL));
		FAIL(BASE_LONG, E_MSR1, LOAD(1); entry(e, 0, MSR_EFER, BIT(1)));
		FAIL(BASE_LONG, E_MSR2, LOAD(3); entry(e, 1, MSR_VMX_BASIC, 0); entry(e, 2, MSR_FS_BASE, 0));
	}
}
