/*
 * Vectors: checks on VM-execution, VM-exit and VM-entry control fields (SDM 3C, Checks on VMX Controls).
 */
#include "core/x86.h"
#include "tests/conform/vectors.h"

/* A reserved bit of a control word: the lowest that must be 1, and the lowest that must be 0. */
static u64 lowest(u64 bits) { return bits & -bits; }
static u64 must_bit(struct vmx_ctl c) { return lowest(c.must); }
static u64 zero_bit(struct vmx_ctl c) { return lowest(~c.may & 0xffffffff); }
/* The highest one that may not be set. */
static u64 zero_top(struct vmx_ctl c)
{
	u64 bits = ~c.may & 0xffffffff;

	return bits ? BIT(63 - __builtin_clzll(bits)) : 0;
}

static void reserved_controls(struct walk *w)
{
	VECTORS(w);

	ROW("ctl.pin", "reserved bits in the pin-based VM-execution controls must be set properly", ALWAYS) {
		PASS(BASE_LONG, );
		FAIL(BASE_LONG, E_CONTROLS, OFF(PIN_CONTROLS, must_bit(e->pin)));
		FAIL(BASE_LONG, E_CONTROLS, ON(PIN_CONTROLS, zero_bit(e->pin)));
		FAIL(BASE_LONG, E_CONTROLS, ON(PIN_CONTROLS, zero_top(e->pin)));
	}
	ROW("ctl.proc", "reserved bits in the primary processor-based VM-execution controls must be set properly", ALWAYS) {
		FAIL(BASE_LONG, E_CONTROLS, OFF(PROC_CONTROLS, must_bit(e->proc)));
		FAIL(BASE_LONG, E_CONTROLS, ON(PROC_CONTROLS, zero_bit(e->proc)));
		FAIL(BASE_LONG, E_CONTROLS, ON(PROC_CONTROLS, zero_top(e->proc)));
	}
	ROW("ctl.proc2", "if secondary controls are activated, their reserved bits must be set properly",
	    may_proc(e, PROC_SECONDARY) && zero_bit(e->proc2), SHORT) {
		PASS(BASE_LONG, s->PROC2_CONTROLS = 0xffffffff);
		PASS(BASE_LONG, ON(PROC_CONTROLS, PROC_SECONDARY));
		FAIL(BASE_LONG, E_CONTROLS, SECONDARY(zero_bit(e->proc2)));
		FAIL(BASE_LONG, E_CONTROLS, SECONDARY(zero_top(e->proc2)));
	}
	ROW("ctl.cr3-targets", "the CR3-target count must not be greater than 4", ALWAYS) {
		PASS(BASE_LONG, s->CR3_TARGET_COUNT = FIELD_GET(BITS(24, 16), e->misc));
		FAIL(BASE_LONG, E_CONTROLS, s->CR3_TARGET_COUNT = FIELD_GET(BITS(24, 16), e->misc) + 1);
		FAIL(BASE_LONG, E_CONTROLS, s->CR3_TARGET_COUNT = BIT(31));
	}
}

/* Bits 11:0, and bits beyond the physical-address width, of an address in a field; set_up: what makes it looked at. */
#define PAGE_ROWS(row, field, set_up, need) \
	ROW("ctl." row ".low", #field ": bits 11:0 must be 0", need, SHORT) { \
		PASS(BASE_LONG, set_up); \
		PASS(BASE_LONG, s->field |= 1); \
		FAIL(BASE_LONG, E_CONTROLS, set_up; s->field |= 1); \
		FAIL(BASE_LONG, E_CONTROLS, set_up; s->field |= 0x800); \
	} \
	ROW("ctl." row ".high", #field ": no bits beyond the physical-address width", (need) && TOO_WIDE(e), SHORT) { \
		PASS(BASE_LONG, s->field = BIT(63)); \
		FAIL(BASE_LONG, E_CONTROLS, set_up; s->field |= TOO_WIDE(e)); \
		FAIL(BASE_LONG, E_CONTROLS, set_up; s->field |= BIT(63)); \
	}

void vectors_execution(struct walk *w)
{
	VECTORS(w);
	bool ug = may_proc2(e, PROC2_EPT | PROC2_UNRESTRICTED);

	reserved_controls(w);
	PAGE_ROWS("io-bitmap-a", IO_BITMAP_A, ON(PROC_CONTROLS, PROC_IO_BITMAPS), may_proc(e, PROC_IO_BITMAPS))
	PAGE_ROWS("io-bitmap-b", IO_BITMAP_B, ON(PROC_CONTROLS, PROC_IO_BITMAPS), may_proc(e, PROC_IO_BITMAPS))
	PAGE_ROWS("msr-bitmap", MSR_BITMAP, ON(PROC_CONTROLS, PROC_MSR_BITMAPS), may_proc(e, PROC_MSR_BITMAPS))
	ROW("ctl.nmi-virtual", "if NMI exiting is 0, virtual NMIs must be 0", may_pin(e, PIN_VIRTUAL_NMI), SHORT) {
		PASS(BASE_LONG, ON(PIN_CONTROLS, PIN_VIRTUAL_NMI));
		PASS(BASE_LONG, OFF(PIN_CONTROLS, PIN_NMI));
		FAIL(BASE_LONG, E_CONTROLS, OFF(PIN_CONTROLS, PIN_NMI); ON(PIN_CONTROLS, PIN_VIRTUAL_NMI));
	}
	ROW("ctl.nmi-window", "if virtual NMIs is 0, NMI-window exiting must be 0", may_pin(e, PIN_VIRTUAL_NMI) && may_proc(e,
	       PROC_NMI_WINDOW),
	    SHORT) {
		PASS(BASE_LONG, ON(PIN_CONTROLS, PIN_VIRTUAL_NMI); ON(PROC_CONTROLS, PROC_NMI_WINDOW));
		FAIL(BASE_LONG, E_CONTROLS, ON(PROC_CONTROLS, PROC_NMI_WINDOW));
	}
	ROW("ctl.vpid", "if VPID is enabled, the VPID must not be 0000H", may_proc2(e, PROC2_VPID), SHORT) {
		PASS(BASE_LONG, SECONDARY(PROC2_VPID));
		PASS(BASE_LONG, s->VPID = 0);
		PASS(BASE_LONG, SECONDARY(PROC2_VPID); s->VPID = 0xffff);
		FAIL(BASE_LONG, E_CONTROLS, SECONDARY(PROC2_VPID); s->VPID = 0);
	}
	ROW("ctl.eptp.type", "EPT memory type must be one that IA32_VMX_EPT_VPID_CAP reports", may_proc2(e, PROC2_EPT), SHORT) {
		PASS(BASE_EPT, );
		for (u64 type = 0; type < 8; type++) {
			bool ok = (type == 6 && (e->ept_vpid & EPT_CAP_WB)) || (type == 0 && (e->ept_vpid & EPT_CAP_UC));
			FAIL(BASE_EPT, ok ? ENTERS : E_CONTROLS, s->EPTP = (s->EPTP & ~7ull) | type);
		}
		PASS(BASE_LONG, s->EPTP = ~0ull);
	}
	ROW("ctl.eptp.walk", "EPTP bits 5:3 must be 3, a page-walk length of 4", may_proc2(e, PROC2_EPT), SHORT) {
		FAIL(BASE_EPT, E_CONTROLS, s->EPTP = (s->EPTP & ~0x38ull) | 2 << 3);
		FAIL(BASE_EPT, E_CONTROLS, s->EPTP = (s->EPTP & ~0x38ull) | 5 << 3);
		FAIL(BASE_EPT, E_CONTROLS, OFF(EPTP, 0x38));
	}
	ROW("ctl.eptp.ad", "EPTP bit 6 must be 0 if accessed and dirty flags are not supported",
	    may_proc2(e, PROC2_EPT) && !(e->ept_vpid & EPT_CAP_AD), "accessed and dirty flags for EPT are offered")
		FAIL(BASE_EPT, E_CONTROLS, ON(EPTP, BIT(6)));
	ROW("ctl.eptp.reserved", "EPTP bits 11:7 must be 0", may_proc2(e, PROC2_EPT), SHORT) {
		FAIL(BASE_EPT, E_CONTROLS, ON(EPTP, BIT(7)));
		FAIL(BASE_EPT, E_CONTROLS, ON(EPTP, BIT(8)));
		FAIL(BASE_EPT, E_CONTROLS, ON(EPTP, BIT(11)));
	}
	ROW("ctl.eptp.high", "EPTP: no bits beyond the physical-address width", may_proc2(e, PROC2_EPT) && TOO_WIDE(e), SHORT) {
		FAIL(BASE_EPT, E_CONTROLS, ON(EPTP, TOO_WIDE(e)));
		FAIL(BASE_EPT, E_CONTROLS, ON(EPTP, BIT(63)));
	}
	ROW("ctl.unrestricted", "if unrestricted guest is 1, EPT must be enabled", ug, SHORT) {
		PASS(BASE_UG, );
		FAIL(BASE_UG, E_CONTROLS, OFF(PROC2_CONTROLS, PROC2_EPT));
	}
	ROW("ctl.mbe", "if mode-based execute control is 1, EPT must be enabled", may_proc2(e, PROC2_MBE), SHORT) {
		PASS(BASE_EPT, SECONDARY(PROC2_MBE));
		FAIL(BASE_LONG, E_CONTROLS, SECONDARY(PROC2_MBE));
	}
	ROW("ctl.tsc-multiplier", "with TSC scaling the multiplier must not be 0", may_proc2(e, PROC2_TSC_SCALING), SHORT) {
		PASS(BASE_LONG, SECONDARY(PROC2_TSC_SCALING); s->TSC_MULTIPLIER = 1);
		FAIL(BASE_LONG, E_CONTROLS, SECONDARY(PROC2_TSC_SCALING); s->TSC_MULTIPLIER = 0);
	}
	ROW("ctl.pml.ept", "if PML is enabled, EPT must be enabled", may_proc2(e, PROC2_PML), SHORT)
		FAIL(BASE_LONG, E_CONTROLS, SECONDARY(PROC2_PML); s->PML_ADDR = e->pi_desc);
	PAGE_ROWS("pml", PML_ADDR, SECONDARY(PROC2_PML | PROC2_EPT), may_proc2(e, PROC2_PML))
	ROW("ctl.vmfunc.reserved", "reserved bits in the VM-function controls must be 0", may_proc2(e, PROC2_VMFUNC), SHORT) {
		PASS(BASE_EPT, SECONDARY(PROC2_VMFUNC));
		FAIL(BASE_EPT, E_CONTROLS, SECONDARY(PROC2_VMFUNC); s->VMFUNC_CONTROLS = BIT(1));
		FAIL(BASE_EPT, E_CONTROLS, SECONDARY(PROC2_VMFUNC); s->VMFUNC_CONTROLS = BIT(63));
	}
	ROW("ctl.vmfunc.eptp-switching", "EPTP switching needs EPT and a good EPTP-list address", may_proc2(e, PROC2_VMFUNC), SHORT) {
		PASS(BASE_EPT, SECONDARY(PROC2_VMFUNC); s->VMFUNC_CONTROLS = 1; s->EPTP_LIST_ADDR = e->pi_desc);
		FAIL(BASE_LONG, E_CONTROLS, SECONDARY(PROC2_VMFUNC); s->VMFUNC_CONTROLS = 1; s->EPTP_LIST_ADDR = e->pi_desc);
		FAIL(BASE_EPT, E_CONTROLS, SECONDARY(PROC2_VMFUNC); s->VMFUNC_CONTROLS = 1; s->EPTP_LIST_ADDR = e->pi_desc | 8);
		FAIL(BASE_EPT, E_CONTROLS, SECONDARY(PROC2_VMFUNC); s->VMFUNC_CONTROLS = 1; s->EPTP_LIST_ADDR = TOO_WIDE(e));
	}
	PAGE_ROWS("vmread-bitmap", VMREAD_BITMAP, SECONDARY(PROC2_SHADOW_VMCS), may_proc2(e, PROC2_SHADOW_VMCS))
	PAGE_ROWS("vmwrite-bitmap", VMWRITE_BITMAP, SECONDARY(PROC2_SHADOW_VMCS), may_proc2(e, PROC2_SHADOW_VMCS))
	PAGE_ROWS("ve-info", VE_INFO_ADDR, SECONDARY(PROC2_EPT_VE | PROC2_EPT), may_proc2(e, PROC2_EPT_VE))
}

/* ---- APIC virtualisation ---- */
#define VID (PROC2_VIRT_INT | PROC2_APIC_REGS)
#define POSTED (ON(PIN_CONTROLS, PIN_POSTED_INT), ON(PROC_CONTROLS, PROC_TPR_SHADOW), SECONDARY(PROC2_VIRT_INT), \
		ON(EXIT_CONTROLS, EXIT_ACK_INT), \
		s->PI_NOTIFICATION_VECTOR = 0xf2)

static void tpr(struct walk *w)
{
	VECTORS(w);
	bool shadow = may_proc(e, PROC_TPR_SHADOW);

	PAGE_ROWS("virtual-apic", VIRTUAL_APIC_ADDR, ON(PROC_CONTROLS, PROC_TPR_SHADOW), shadow)
	ROW("ctl.tpr-threshold.bits", "TPR shadow without virtual-interrupt delivery: bits 31:4 of the TPR threshold must be 0", shadow,
	       SHORT) {
		PASS(BASE_LONG, s->TPR_THRESHOLD = 0xffffffff);
		FAIL(BASE_LONG, E_CONTROLS, ON(PROC_CONTROLS, PROC_TPR_SHADOW); s->TPR_THRESHOLD = 0x10);
		FAIL(BASE_LONG, E_CONTROLS, ON(PROC_CONTROLS, PROC_TPR_SHADOW); s->TPR_THRESHOLD = BIT(31));
	}
	ROW("ctl.tpr-threshold.bits-vid", "with virtual-interrupt delivery bits 31:4 of the TPR threshold are not checked",
	    shadow && may_proc2(e, PROC2_VIRT_INT), SHORT)
		PASS(BASE_LONG, ON(PROC_CONTROLS, PROC_TPR_SHADOW); SECONDARY(PROC2_VIRT_INT); s->TPR_THRESHOLD = 0x10);
	ROW("ctl.tpr-threshold.vtpr",
	       "TPR shadow without virtualised APIC accesses: bits 3:0 of the threshold must not exceed VTPR bits 7:4",
	    shadow, SHORT) {
		PASS(BASE_LONG, ON(PROC_CONTROLS, PROC_TPR_SHADOW); s->TPR_THRESHOLD = 5; e->vapic_bytes[0x80] = 0x50);
		FAIL(BASE_LONG, E_CONTROLS, ON(PROC_CONTROLS, PROC_TPR_SHADOW); s->TPR_THRESHOLD = 5; e->vapic_bytes[0x80] = 0x4f);
		FAIL(BASE_LONG, E_CONTROLS, ON(PROC_CONTROLS, PROC_TPR_SHADOW); s->TPR_THRESHOLD = 1);
	}
	ROW("ctl.tpr-threshold.vtpr-apic", "with virtualised APIC accesses the threshold is not compared with VTPR",
	    shadow && may_proc2(e, PROC2_APIC_ACCESS), SHORT)
		PASS(BASE_LONG, ON(PROC_CONTROLS, PROC_TPR_SHADOW); SECONDARY(PROC2_APIC_ACCESS); s->TPR_THRESHOLD = 5;
		       e->vapic_bytes[0x80] = 0x4f);
	ROW("ctl.no-tpr-shadow.x2apic", "without TPR shadow virtualised x2APIC mode must be 0", may_proc2(e, PROC2_X2APIC), SHORT) {
		PASS(BASE_LONG, ON(PROC_CONTROLS, PROC_TPR_SHADOW); SECONDARY(PROC2_X2APIC));
		FAIL(BASE_LONG, E_CONTROLS, SECONDARY(PROC2_X2APIC));
	}
	ROW("ctl.no-tpr-shadow.registers", "without TPR shadow APIC-register virtualisation must be 0", may_proc2(e, PROC2_APIC_REGS),
	       SHORT) {
		PASS(BASE_LONG, ON(PROC_CONTROLS, PROC_TPR_SHADOW); SECONDARY(PROC2_APIC_REGS));
		FAIL(BASE_LONG, E_CONTROLS, SECONDARY(PROC2_APIC_REGS));
	}
	ROW("ctl.no-tpr-shadow.vid", "without TPR shadow virtual-interrupt delivery must be 0", may_proc2(e, PROC2_VIRT_INT), SHORT) {
		PASS(BASE_LONG, ON(PROC_CONTROLS, PROC_TPR_SHADOW); SECONDARY(PROC2_VIRT_INT));
		FAIL(BASE_LONG, E_CONTROLS, SECONDARY(PROC2_VIRT_INT));
	}
}

void vectors_apic(struct walk *w)
{
	VECTORS(w);

	tpr(w);
	PAGE_ROWS("apic-access", APIC_ACCESS_ADDR, SECONDARY(PROC2_APIC_ACCESS), may_proc2(e, PROC2_APIC_ACCESS))
	ROW("ctl.x2apic-and-access", "virtualised x2APIC mode excludes virtualised APIC accesses", may_proc2(e,
	       PROC2_X2APIC | PROC2_APIC_ACCESS), SHORT)
		FAIL(BASE_LONG, E_CONTROLS, ON(PROC_CONTROLS, PROC_TPR_SHADOW); SECONDARY(PROC2_X2APIC | PROC2_APIC_ACCESS));
	ROW("ctl.vid.ext-int", "virtual-interrupt delivery needs external-interrupt exiting", may_proc2(e, PROC2_VIRT_INT), SHORT)
		FAIL(BASE_LONG, E_CONTROLS, ON(PROC_CONTROLS, PROC_TPR_SHADOW); SECONDARY(PROC2_VIRT_INT); OFF(PIN_CONTROLS, PIN_EXT_INT));
	ROW("ctl.posted.vid", "processing posted interrupts needs virtual-interrupt delivery", may_pin(e, PIN_POSTED_INT), SHORT) {
		PASS(BASE_LONG, POSTED);
		FAIL(BASE_LONG, E_CONTROLS, POSTED; OFF(PROC2_CONTROLS, PROC2_VIRT_INT));
	}
	ROW("ctl.posted.ack", "processing posted interrupts needs acknowledge on exit", may_pin(e, PIN_POSTED_INT), SHORT)
		FAIL(BASE_LONG, E_CONTROLS, POSTED; OFF(EXIT_CONTROLS, EXIT_ACK_INT));
	ROW("ctl.posted.vector", "the posted-interrupt notification vector must be 0-255", may_pin(e, PIN_POSTED_INT), SHORT) {
		PASS(BASE_LONG, POSTED; s->PI_NOTIFICATION_VECTOR = 0xff);
		PASS(BASE_LONG, s->PI_NOTIFICATION_VECTOR = 0xffff);
		FAIL(BASE_LONG, E_CONTROLS, POSTED; s->PI_NOTIFICATION_VECTOR = 0x100);
		FAIL(BASE_LONG, E_CONTROLS, POSTED; s->PI_NOTIFICATION_VECTOR = 0x80f2);
	}
	ROW("ctl.posted.low", "bits 5:0 of the posted-interrupt descriptor address must be 0", may_pin(e, PIN_POSTED_INT), SHORT) {
		PASS(BASE_LONG, POSTED; s->PI_DESC_ADDR |= 0x40);
		FAIL(BASE_LONG, E_CONTROLS, POSTED; s->PI_DESC_ADDR |= 0x20);
		FAIL(BASE_LONG, E_CONTROLS, POSTED; s->PI_DESC_ADDR |= 1);
	}
	ROW("ctl.posted.high", "posted-interrupt descriptor address: no bits beyond the physical-address width", may_pin(e,
	       PIN_POSTED_INT) && TOO_WIDE(e),
	    SHORT) {
		FAIL(BASE_LONG, E_CONTROLS, POSTED; s->PI_DESC_ADDR |= TOO_WIDE(e));
		FAIL(BASE_LONG, E_CONTROLS, POSTED; s->PI_DESC_ADDR |= BIT(63));
	}
}

/* ---- MSR areas ---- */
#define AREA_ROWS(row, addr, count) \
	ROW("ctl." row ".low", #addr ": bits 3:0 must be 0 if the count is not 0", ALWAYS) { \
		PASS(BASE_LONG, s->addr = 8); \
		FAIL(BASE_LONG, E_CONTROLS, s->addr = e->msr_area | 8; s->count = 1); \
		FAIL(BASE_LONG, E_CONTROLS, s->addr = e->msr_area | 1; s->count = 1); \
	} \
	ROW("ctl." row ".high", #addr ": no bits beyond the physical-address width", TOO_WIDE(e), SHORT) { \
		PASS(BASE_LONG, s->addr = BIT(63)); \
		FAIL(BASE_LONG, E_CONTROLS, s->addr = e->msr_area | TOO_WIDE(e); s->count = 1); \
		FAIL(BASE_LONG, E_CONTROLS, s->addr = e->msr_area | BIT(63); s->count = 1); \
	} \
	ROW("ctl." row ".last", #addr ": the last byte must not lie beyond the physical-address width", TOO_WIDE(e), SHORT) \
		FAIL(BASE_LONG, E_CONTROLS, s->addr = TOO_WIDE(e) - 16; s->count = 2);

void vectors_exit_entry(struct walk *w)
{
	VECTORS(w);

	ROW("ctl.exit", "reserved bits in the VM-exit controls must be set properly", ALWAYS) {
		FAIL(BASE_LONG, E_CONTROLS, OFF(EXIT_CONTROLS, must_bit(e->exit)));
		FAIL(BASE_LONG, E_CONTROLS, ON(EXIT_CONTROLS, zero_bit(e->exit)));
		FAIL(BASE_LONG, E_CONTROLS, ON(EXIT_CONTROLS, zero_top(e->exit)));
	}
	ROW("ctl.save-timer", "without an active preemption timer, its value must not be saved",
	    may_exit(e, EXIT_SAVE_PREEMPTION) && may_pin(e, PIN_PREEMPTION_TIMER), SHORT) {
		PASS(BASE_LONG, ON(EXIT_CONTROLS, EXIT_SAVE_PREEMPTION));
		FAIL(BASE_LONG, E_CONTROLS, OFF(PIN_CONTROLS, PIN_PREEMPTION_TIMER); ON(EXIT_CONTROLS, EXIT_SAVE_PREEMPTION));
	}
	AREA_ROWS("exit-store", EXIT_MSR_STORE_ADDR, EXIT_MSR_STORE_COUNT)
	AREA_ROWS("exit-load", EXIT_MSR_LOAD_ADDR, EXIT_MSR_LOAD_COUNT)
	ROW("ctl.entry", "reserved bits in the VM-entry controls must be set properly", ALWAYS) {
		FAIL(BASE_LONG, E_CONTROLS, OFF(ENTRY_CONTROLS, must_bit(e->entry)));
		FAIL(BASE_LONG, E_CONTROLS, ON(ENTRY_CONTROLS, zero_bit(e->entry)));
		FAIL(BASE_LONG, E_CONTROLS, ON(ENTRY_CONTROLS, zero_top(e->entry)));
	}
	ROW("ctl.entry.smm", "outside SMM, entry to SMM and deactivation of dual-monitor treatment must be 0", ALWAYS) {
		FAIL(BASE_LONG, E_CONTROLS, ON(ENTRY_CONTROLS, ENTRY_SMM));
		FAIL(BASE_LONG, E_CONTROLS, ON(ENTRY_CONTROLS, ENTRY_DUAL_MONITOR));
	}
	AREA_ROWS("entry-load", ENTRY_MSR_LOAD_ADDR, ENTRY_MSR_LOAD_COUNT)
}
