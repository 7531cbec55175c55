/*
 * VT-x of this CPU: control bits and exit reasons in the SDM's names, what the CPU can do, what we use of it.
 *
 * Invariant: a control bit is set in a VMCS only if vmx_caps says that the CPU allows it (intent ∩ capability).
 */
#ifndef VMX_VMX_H
#define VMX_VMX_H

#include "core/errno.h"
#include "core/types.h"

/* ---- pin-based controls (SDM 3C, Pin-Based VM-Execution Controls) ---- */
#define PIN_EXT_INT BIT(0)
#define PIN_NMI BIT(3)
#define PIN_VIRTUAL_NMI BIT(5)
#define PIN_PREEMPTION_TIMER BIT(6)
#define PIN_POSTED_INT BIT(7)
/* ---- primary processor-based controls ---- */
#define PROC_INT_WINDOW BIT(2)
#define PROC_TSC_OFFSET BIT(3)
#define PROC_HLT BIT(7)
#define PROC_INVLPG BIT(9)
#define PROC_MWAIT BIT(10)
#define PROC_RDPMC BIT(11)
#define PROC_RDTSC BIT(12)
#define PROC_CR3_LOAD BIT(15)
#define PROC_CR3_STORE BIT(16)
#define PROC_CR8_LOAD BIT(19)
#define PROC_CR8_STORE BIT(20)
#define PROC_TPR_SHADOW BIT(21)
#define PROC_NMI_WINDOW BIT(22)
#define PROC_MOV_DR BIT(23)
#define PROC_UNCOND_IO BIT(24)
#define PROC_IO_BITMAPS BIT(25)
#define PROC_MTF BIT(27)
#define PROC_MSR_BITMAPS BIT(28)
#define PROC_MONITOR BIT(29)
#define PROC_PAUSE BIT(30)
#define PROC_SECONDARY BIT(31)
/* ---- secondary processor-based controls ---- */
#define PROC2_APIC_ACCESS BIT(0)
#define PROC2_EPT BIT(1)
#define PROC2_DESC_TABLE BIT(2)
#define PROC2_RDTSCP BIT(3)
#define PROC2_X2APIC BIT(4)
#define PROC2_VPID BIT(5)
#define PROC2_WBINVD BIT(6)
#define PROC2_UNRESTRICTED BIT(7)
#define PROC2_APIC_REGS BIT(8)
#define PROC2_VIRT_INT BIT(9)
#define PROC2_PAUSE_LOOP BIT(10)
#define PROC2_RDRAND BIT(11)
#define PROC2_INVPCID BIT(12)
#define PROC2_VMFUNC BIT(13)
#define PROC2_SHADOW_VMCS BIT(14)
#define PROC2_ENCLS BIT(15)
#define PROC2_RDSEED BIT(16)
#define PROC2_PML BIT(17)
#define PROC2_EPT_VE BIT(18)
#define PROC2_XSAVES BIT(20)
#define PROC2_MBE BIT(22)
#define PROC2_TSC_SCALING BIT(25)
/* ---- VM-exit controls ---- */
#define EXIT_SAVE_DEBUG BIT(2)
#define EXIT_HOST_64 BIT(9)
#define EXIT_LOAD_PERF_GLOBAL BIT(12)
#define EXIT_ACK_INT BIT(15)
#define EXIT_SAVE_PAT BIT(18)
#define EXIT_LOAD_PAT BIT(19)
#define EXIT_SAVE_EFER BIT(20)
#define EXIT_LOAD_EFER BIT(21)
#define EXIT_SAVE_PREEMPTION BIT(22)
/* ---- VM-entry controls ---- */
#define ENTRY_LOAD_DEBUG BIT(2)
#define ENTRY_IA32E BIT(9)
#define ENTRY_SMM BIT(10)
#define ENTRY_DUAL_MONITOR BIT(11)
#define ENTRY_LOAD_PERF_GLOBAL BIT(13)
#define ENTRY_LOAD_PAT BIT(14)
#define ENTRY_LOAD_EFER BIT(15)
/* ---- interruption information (SDM 3C, VM-Entry Controls for Event Injection) ---- */
#define INTR_VECTOR BITS(7, 0)
#define INTR_TYPE BITS(10, 8)
#define INTR_HAS_ERROR BIT(11)
#define INTR_NMI_UNBLOCK BIT(12)
#define INTR_VALID BIT(31)
enum intr_type { INTR_EXTERNAL = 0, INTR_NMI = 2, INTR_HW_EXCEPTION = 3, INTR_SW_INT = 4, INTR_PRIV_SW_EXCEPTION = 5,
		 INTR_SW_EXCEPTION = 6, INTR_OTHER = 7 };
/* ---- guest interruptibility and activity ---- */
#define BLOCK_STI BIT(0)
#define BLOCK_MOV_SS BIT(1)
#define BLOCK_SMI BIT(2)
#define BLOCK_NMI BIT(3)
enum activity { ACTIVITY_ACTIVE, ACTIVITY_HLT, ACTIVITY_SHUTDOWN, ACTIVITY_WAIT_SIPI };
#define VMX_MISC_ACTIVITY(state) BIT(5 + (state)) /* IA32_VMX_MISC: this one may be entered; not for ACTIVITY_ACTIVE */
#define SEG_AR_UNUSABLE BIT(16)

/* ---- basic exit reasons (SDM 3D, Appendix C) ---- */
#define EXIT_REASONS(R) \
	R(EXCEPTION_NMI, 0) R(EXTERNAL_INTERRUPT, 1) R(TRIPLE_FAULT, 2) R(INIT, 3) R(SIPI, 4) R(IO_SMI, 5) R(OTHER_SMI, 6) \
	R(INTERRUPT_WINDOW, 7) R(NMI_WINDOW, 8) R(TASK_SWITCH, 9) R(CPUID, 10) R(GETSEC, 11) R(HLT, 12) R(INVD, 13) \
	R(INVLPG, 14) R(RDPMC, 15) R(RDTSC, 16) R(RSM, 17) R(VMCALL, 18) R(VMCLEAR, 19) R(VMLAUNCH, 20) R(VMPTRLD, 21) \
	R(VMPTRST, 22) R(VMREAD, 23) R(VMRESUME, 24) R(VMWRITE, 25) R(VMXOFF, 26) R(VMXON, 27) R(CR_ACCESS, 28) \
	R(DR_ACCESS, 29) R(IO, 30) R(RDMSR, 31) R(WRMSR, 32) R(ENTRY_GUEST_STATE, 33) R(ENTRY_MSR_LOAD, 34) R(MWAIT, 36) \
	R(MTF, 37) R(MONITOR, 39) R(PAUSE, 40) R(ENTRY_MACHINE_CHECK, 41) R(TPR_BELOW_THRESHOLD, 43) R(APIC_ACCESS, 44) \
	R(VIRTUALIZED_EOI, 45) R(GDTR_IDTR, 46) R(LDTR_TR, 47) R(EPT_VIOLATION, 48) R(EPT_MISCONFIG, 49) R(INVEPT, 50) \
	R(RDTSCP, 51) R(PREEMPTION_TIMER, 52) R(INVVPID, 53) R(WBINVD, 54) R(XSETBV, 55) R(APIC_WRITE, 56) R(RDRAND, 57) \
	R(INVPCID, 58) R(VMFUNC, 59) R(ENCLS, 60) R(RDSEED, 61) R(PML_FULL, 62) R(XSAVES, 63) R(XRSTORS, 64) R(PCONFIG, 65) \
	R(SPP, 66) R(UMWAIT, 67) R(TPAUSE, 68)
enum exit_reason {
#define EXIT_ENUM(name, nr) XR_##name = nr,
	EXIT_REASONS(EXIT_ENUM)
#undef EXIT_ENUM
};
#define EXIT_REASON_ENTRY_FAILURE BIT(31)
/* Name of a basic exit reason in the SDM's words, "?" for a number without one. */
const char *vmx_exit_name(u32 reason);

/* ---- capabilities (SDM 3D, Appendix A: VMX Capability Reporting Facility) ---- */
#define MSR_VMX_PINBASED 0x481
#define MSR_VMX_PROCBASED 0x482
#define MSR_VMX_EXIT 0x483
#define MSR_VMX_ENTRY 0x484
#define MSR_VMX_MISC 0x485
#define MSR_VMX_CR0_FIXED0 0x486
#define MSR_VMX_CR0_FIXED1 0x487
#define MSR_VMX_CR4_FIXED0 0x488
#define MSR_VMX_CR4_FIXED1 0x489
#define MSR_VMX_VMCS_ENUM 0x48a
#define MSR_VMX_PROCBASED2 0x48b
#define MSR_VMX_EPT_VPID 0x48c
#define MSR_VMX_TRUE_PINBASED 0x48d
#define MSR_VMX_TRUE_PROCBASED 0x48e
#define MSR_VMX_TRUE_EXIT 0x48f
#define MSR_VMX_TRUE_ENTRY 0x490
#define MSR_VMX_VMFUNC 0x491
#define VMX_BASIC_TRUE BIT(55)
#define VMX_BASIC_INS_OUTS BIT(54)
#define VMX_MISC_TIMER_RATE BITS(4, 0) /* the preemption timer counts when this bit of the TSC changes */
#define VMX_MISC_EFER_LMA BIT(5)
#define VMX_MISC_VMWRITE_RO BIT(29)
#define VMFUNC_EPTP_SWITCHING BIT(0)
#define EPT_CAP_EXEC_ONLY BIT(0)
#define EPT_CAP_WALK_4 BIT(6)
#define EPT_CAP_UC BIT(8)
#define EPT_CAP_WB BIT(14)
#define EPT_CAP_2M BIT(16)
#define EPT_CAP_1G BIT(17)
#define EPT_CAP_INVEPT BIT(20)
#define EPT_CAP_AD BIT(21)
#define EPT_CAP_INVEPT_SINGLE BIT(25)
#define EPT_CAP_INVEPT_ALL BIT(26)
#define EPT_CAP_INVVPID BIT(32)
#define EPT_CAP_INVVPID_ADDR BIT(40)
#define EPT_CAP_INVVPID_SINGLE BIT(41)
#define EPT_CAP_INVVPID_ALL BIT(42)
#define EPT_CAP_INVVPID_KEEP_GLOBAL BIT(43)

/* One control word: what must be set, what may be set. */
struct vmx_ctl { u32 must, may; };
struct vmx_caps {
	u64 basic, misc, ept_vpid, vmfunc;
	u64 cr0_fixed0, cr0_fixed1, cr4_fixed0, cr4_fixed1;
	struct vmx_ctl pin, proc, proc2, exit, entry;   /* the TRUE ones where the CPU has them */
	/* what we use for our own VMs: required and available optional bits */
	u32 use_pin, use_proc, use_proc2, use_exit, use_entry;
	bool unrestricted, vpid, shadow_vmcs, apicv, posted, preemption_timer, ept_ad, ept_1g, ept_2m;
};
extern struct vmx_caps vmx_caps;

/*
 * Probe the boot CPU. 0, or -ENODEV with the reason in why ("no VT-x", "VT-x is locked off in the firmware", "no EPT" …).
 * Every CPU must offer the same; vmx_cpu_on checks.
 */
int vmx_probe(char *why, size_t whylen);
/* VMXON on the calling CPU. 0, -ENODEV (capabilities differ from the boot CPU's), -EIO. */
int vmx_cpu_on(void);
void vmx_cpu_off(void);
/* Log one line: which features are there, which fallbacks run. */
void vmx_log_features(void);

#endif
