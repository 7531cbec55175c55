/*
 * VM-entry checks: a valid vmcs12 passes; each row has a state that fails in exactly that row, and a neighbour that passes.
 * Every row of the three tables must have been hit: removing any one check makes this test fail.
 */
#include <stdio.h>

#include "tests/unit/nested_hw.h"

struct vmx_caps vmx_caps;

static struct nested_caps caps;
static struct check_ctx ctx;
static struct vmcs12 f;
static bool hit_ctl[256], hit_host[256], hit_guest[256];

enum table { CTL, HOST, GUEST };
static const struct check *rows(enum table t, u32 *n, bool **hit)
{
	*n = t == CTL ? nr_checks_ctl : t == HOST ? nr_checks_host : nr_checks_guest;
	*hit = t == CTL ? hit_ctl : t == HOST ? hit_host : hit_guest;
	return t == CTL ? checks_ctl : t == HOST ? checks_host : checks_guest;
}

#define AR_CODE64 0xa09b
#define AR_CODE32 0xc09b
#define AR_DATA32 0xc093

static void reset_segments(void)
{
#define DATA_SEG(s) (f.GUEST_##s##_SEL = 0x10, f.GUEST_##s##_LIMIT = 0xffffffff, f.GUEST_##s##_AR = AR_DATA32)
	DATA_SEG(ES);
	DATA_SEG(SS);
	DATA_SEG(DS);
	DATA_SEG(FS);
	DATA_SEG(GS);
	f.GUEST_CS_SEL = 8;
	f.GUEST_CS_LIMIT = 0xffffffff;
	f.GUEST_CS_AR = AR_CODE64;
	f.GUEST_TR_SEL = 0x18;
	f.GUEST_TR_LIMIT = 0x67;
	f.GUEST_TR_AR = 0x8b;
	f.GUEST_LDTR_SEL = 0x20;
	f.GUEST_LDTR_LIMIT = 0xffff;
	f.GUEST_LDTR_AR = 0x82;
	f.GUEST_GDTR_LIMIT = f.GUEST_IDTR_LIMIT = 0xffff;
}

/* A 64-bit L1 with a 64-bit L2, many controls on. */
static void reset(void)
{
	caps = full_caps();
	f = (struct vmcs12){
		.PIN_CONTROLS = 0x16 | PIN_EXT_INT | PIN_NMI | PIN_VIRTUAL_NMI,
		.PROC_CONTROLS = (u32)(0x04006172 | PROC_SECONDARY | PROC_MSR_BITMAPS | PROC_IO_BITMAPS | PROC_TPR_SHADOW),
		.PROC2_CONTROLS = PROC2_EPT | PROC2_VPID, .EXIT_CONTROLS = 0x36dfb | EXIT_HOST_64 | EXIT_LOAD_EFER | EXIT_LOAD_PAT,
		.ENTRY_CONTROLS = 0x11fb | ENTRY_IA32E | ENTRY_LOAD_EFER | ENTRY_LOAD_PAT | ENTRY_LOAD_DEBUG,
		.IO_BITMAP_A = 0x1000, .IO_BITMAP_B = 0x2000, .MSR_BITMAP = 0x3000, .VIRTUAL_APIC_ADDR = 0x4000, .VPID = 1,
		.EPTP = 0x5000 | 6 | 3 << 3, .VMCS_LINK_PTR = ~0ull,
		.HOST_CR0 = CR0_PE | CR0_NE | CR0_PG, .HOST_CR4 = CR4_VMXE | CR4_PAE, .HOST_CR3 = 0x6000, .HOST_CS_SEL = 8,
		.HOST_TR_SEL = 0x18, .HOST_EFER = EFER_LME | EFER_LMA, .HOST_PAT = 0x0007040600070406ull, .HOST_RIP = 0x1000,
		.GUEST_CR0 = CR0_PE | CR0_NE | CR0_PG, .GUEST_CR4 = CR4_VMXE | CR4_PAE, .GUEST_CR3 = 0x7000,
		.GUEST_EFER = EFER_LME | EFER_LMA, .GUEST_PAT = 0x0007040600070406ull, .GUEST_RFLAGS = 2, .GUEST_DR7 = 0x400,
	};
	reset_segments();
	ctx = (struct check_ctx){ .f = &f, .caps = &caps, .l1_long = true, .current_gpa = 0x9000, .link_revision = NESTED_REVISION };
}

static void expect_row(enum table t, const char *name, int line)
{
	u32 n;
	bool *hit;
	const struct check *r = rows(t, &n, &hit), *bad = checks_run(r, n, &ctx);

	if (!name) {
		if (bad)
			fail_msg("line %d: refused by \"%s\"", line, bad->name);
		return;
	}
	if (!bad || strcmp(bad->name, name))
		fail_msg("line %d: expected \"%s\", refused by \"%s\"", line, name, bad ? bad->name : "nothing");
	hit[bad - r] = true;
}

/* From the valid state, after the statement: refused by that row; or accepted. */
#define BAD(t, name, ...) do { reset(); __VA_ARGS__; expect_row(t, name, __LINE__); } while (0)
#define GOOD(t, ...) BAD(t, NULL, __VA_ARGS__)
#define OFF(field, bits) (f.field &= ~(u64)(bits))
#define ON(field, bits) (f.field |= (bits))

static void all_rows_hit(enum table t)
{
	u32 n, missing = 0;
	bool *hit;
	const struct check *r = rows(t, &n, &hit);

	for (u32 i = 0; i < n; i++)
		if (!hit[i]) {
			fprintf(stderr, "no test of \"%s\"\n", r[i].name);
			missing++;
		}
	assert_int_equal(missing, 0);
}

/* ---- controls ---- */
static void later_features(void **state)
{
	(void)state;
	GOOD(CTL, ON(PROC2_CONTROLS, PROC2_SHADOW_VMCS | PROC2_PML); f.VMREAD_BITMAP = f.VMWRITE_BITMAP = f.PML_ADDR = 0x6000);
	BAD(CTL, "VMREAD-bitmap address", ON(PROC2_CONTROLS, PROC2_SHADOW_VMCS); f.VMREAD_BITMAP = 0x6800);
	BAD(CTL, "VMWRITE-bitmap address", ON(PROC2_CONTROLS, PROC2_SHADOW_VMCS); f.VMWRITE_BITMAP = BIT(39));
	BAD(CTL, "page-modification log address", ON(PROC2_CONTROLS, PROC2_PML); f.PML_ADDR = 0x6010);
	BAD(CTL, "page-modification log without EPT", ON(PROC2_CONTROLS, PROC2_PML); OFF(PROC2_CONTROLS, PROC2_EPT));
	BAD(CTL, "mode-based execute control without EPT", ON(PROC2_CONTROLS, PROC2_MBE); OFF(PROC2_CONTROLS, PROC2_EPT));
	BAD(CTL, "TSC multiplier 0", ON(PROC2_CONTROLS, PROC2_TSC_SCALING));
	GOOD(CTL, ON(PROC2_CONTROLS, PROC2_VMFUNC | PROC2_MBE | PROC2_TSC_SCALING); f.VMFUNC_CONTROLS = f.TSC_MULTIPLIER = 1);
	BAD(CTL, "reserved bits of the VM-function controls", ON(PROC2_CONTROLS, PROC2_VMFUNC); f.VMFUNC_CONTROLS = 2);
	BAD(CTL, "EPTP-list address", ON(PROC2_CONTROLS, PROC2_VMFUNC); f.VMFUNC_CONTROLS = 1; f.EPTP_LIST_ADDR = 0x6001);
	BAD(CTL, "EPTP switching without EPT", ON(PROC2_CONTROLS, PROC2_VMFUNC); OFF(PROC2_CONTROLS, PROC2_EPT); f.VMFUNC_CONTROLS = 1);
}

static void execution_controls(void **state)
{
	(void)state;
	GOOD(CTL, (void)0);
	BAD(CTL, "reserved bits of the pin-based controls", OFF(PIN_CONTROLS, 2));
	BAD(CTL, "reserved bits of the pin-based controls", ON(PIN_CONTROLS, BIT(8)));
	BAD(CTL, "reserved bits of the primary processor-based controls", OFF(PROC_CONTROLS, 2));
	BAD(CTL, "reserved bits of the primary processor-based controls", ON(PROC_CONTROLS, 1));
	BAD(CTL, "reserved bits of the secondary processor-based controls", ON(PROC2_CONTROLS, PROC2_EPT_VE));
	GOOD(CTL, ON(PROC2_CONTROLS, PROC2_EPT_VE); OFF(PROC_CONTROLS, PROC_SECONDARY));
	BAD(CTL, "CR3-target count", f.CR3_TARGET_COUNT = 5);
	GOOD(CTL, f.CR3_TARGET_COUNT = 4);
	BAD(CTL, "address of I/O bitmap A", f.IO_BITMAP_A = 0x1001);
	BAD(CTL, "address of I/O bitmap A", f.IO_BITMAP_A = BIT(39));
	GOOD(CTL, f.IO_BITMAP_A = BIT(39) - PAGE_SIZE);
	BAD(CTL, "address of I/O bitmap B", f.IO_BITMAP_B = 0x800);
	GOOD(CTL, f.IO_BITMAP_B = 0x800; OFF(PROC_CONTROLS, PROC_IO_BITMAPS));
	BAD(CTL, "address of the MSR bitmaps", f.MSR_BITMAP = 8);
	BAD(CTL, "virtual-APIC address", f.VIRTUAL_APIC_ADDR = BIT(63));
	GOOD(CTL, f.VIRTUAL_APIC_ADDR = 1; OFF(PROC_CONTROLS, PROC_TPR_SHADOW));
	BAD(CTL, "TPR threshold bits 31:4", f.TPR_THRESHOLD = 0x10);
	BAD(CTL, "TPR threshold not above VTPR", f.TPR_THRESHOLD = 3; ctx.vtpr = 0x2f);
	GOOD(CTL, f.TPR_THRESHOLD = 3; ctx.vtpr = 0x30);
	GOOD(CTL, f.TPR_THRESHOLD = 3; ON(PROC2_CONTROLS, PROC2_APIC_ACCESS));
	BAD(CTL, "virtual NMIs without NMI exiting", OFF(PIN_CONTROLS, PIN_NMI));
	BAD(CTL, "NMI-window exiting without virtual NMIs", OFF(PIN_CONTROLS, PIN_VIRTUAL_NMI); ON(PROC_CONTROLS, PROC_NMI_WINDOW));
	GOOD(CTL, ON(PROC_CONTROLS, PROC_NMI_WINDOW));
	BAD(CTL, "VPID 0", f.VPID = 0);
	GOOD(CTL, f.VPID = 0; OFF(PROC2_CONTROLS, PROC2_VPID));
	BAD(CTL, "unrestricted guest without EPT", f.PROC2_CONTROLS = PROC2_UNRESTRICTED);
	GOOD(CTL, ON(PROC2_CONTROLS, PROC2_UNRESTRICTED));
}

static void apic_controls(void **state)
{
	(void)state;
	BAD(CTL, "APIC-access address", ON(PROC2_CONTROLS, PROC2_APIC_ACCESS); f.APIC_ACCESS_ADDR = 0xfee00800);
	GOOD(CTL, ON(PROC2_CONTROLS, PROC2_APIC_ACCESS); f.APIC_ACCESS_ADDR = 0xfee00000);
	BAD(CTL, "APIC virtualisation without TPR shadow", ON(PROC2_CONTROLS, PROC2_X2APIC); OFF(PROC_CONTROLS, PROC_TPR_SHADOW));
	BAD(CTL, "APIC virtualisation without TPR shadow", ON(PROC2_CONTROLS, PROC2_APIC_REGS); OFF(PROC_CONTROLS, PROC_TPR_SHADOW));
	BAD(CTL, "APIC virtualisation without TPR shadow", ON(PROC2_CONTROLS, PROC2_VIRT_INT); OFF(PROC_CONTROLS, PROC_TPR_SHADOW));
	BAD(CTL, "virtualised x2APIC mode with virtualised APIC accesses", ON(PROC2_CONTROLS, PROC2_X2APIC | PROC2_APIC_ACCESS));
	GOOD(CTL, ON(PROC2_CONTROLS, PROC2_X2APIC | PROC2_APIC_REGS | PROC2_VIRT_INT));
	BAD(CTL, "virtual-interrupt delivery without external-interrupt exiting",
	    ON(PROC2_CONTROLS, PROC2_VIRT_INT); OFF(PIN_CONTROLS, PIN_EXT_INT));
	BAD(CTL, "posted interrupts without virtual-interrupt delivery", ON(PIN_CONTROLS, PIN_POSTED_INT); ON(EXIT_CONTROLS, EXIT_ACK_INT));
	BAD(CTL, "posted interrupts without acknowledge on exit", ON(PIN_CONTROLS, PIN_POSTED_INT); ON(PROC2_CONTROLS, PROC2_VIRT_INT));
#define POSTED (ON(PIN_CONTROLS, PIN_POSTED_INT), ON(PROC2_CONTROLS, PROC2_VIRT_INT), ON(EXIT_CONTROLS, EXIT_ACK_INT))
	GOOD(CTL, POSTED; f.PI_DESC_ADDR = 0x40; f.PI_NOTIFICATION_VECTOR = 255);
	BAD(CTL, "posted-interrupt notification vector", POSTED; f.PI_NOTIFICATION_VECTOR = 256);
	BAD(CTL, "posted-interrupt descriptor address", POSTED; f.PI_DESC_ADDR = 0x20);
	BAD(CTL, "posted-interrupt descriptor address", POSTED; f.PI_DESC_ADDR = BIT(39));
}

static void eptp(void **state)
{
	(void)state;
	BAD(CTL, "EPTP", f.EPTP = 0x5000 | 1 | 3 << 3);        /* memory type */
	GOOD(CTL, f.EPTP = 0x5000 | 0 | 3 << 3);               /* UC */
	BAD(CTL, "EPTP", f.EPTP = 0x5000 | 6 | 2 << 3);        /* walk length */
	BAD(CTL, "EPTP", f.EPTP = 0x5000 | 6 | 4 << 3);
	GOOD(CTL, f.EPTP = 0x5000 | 6 | 3 << 3 | 0x40);        /* A/D flags */
	BAD(CTL, "EPTP", f.EPTP = 0x5000 | 6 | 3 << 3 | 0x40; caps.ept_vpid &= ~EPT_CAP_AD);
	BAD(CTL, "EPTP", f.EPTP = 0x5000 | 6 | 3 << 3 | 0x80);
	BAD(CTL, "EPTP", f.EPTP = 0x5000 | 6 | 3 << 3 | 0x800);
	BAD(CTL, "EPTP", f.EPTP = BIT(39) | 6 | 3 << 3);
	GOOD(CTL, f.EPTP = 0; OFF(PROC2_CONTROLS, PROC2_EPT));
}

static void exit_controls(void **state)
{
	(void)state;
	BAD(CTL, "reserved bits of the VM-exit controls", OFF(EXIT_CONTROLS, 1));
	BAD(CTL, "reserved bits of the VM-exit controls", ON(EXIT_CONTROLS, EXIT_LOAD_PERF_GLOBAL));
	BAD(CTL, "saving a preemption timer that is off", ON(EXIT_CONTROLS, EXIT_SAVE_PREEMPTION));
	GOOD(CTL, ON(EXIT_CONTROLS, EXIT_SAVE_PREEMPTION); ON(PIN_CONTROLS, PIN_PREEMPTION_TIMER));
	BAD(CTL, "VM-exit MSR-store area", f.EXIT_MSR_STORE_COUNT = 1; f.EXIT_MSR_STORE_ADDR = 8);
	BAD(CTL, "VM-exit MSR-store area", f.EXIT_MSR_STORE_COUNT = 2; f.EXIT_MSR_STORE_ADDR = BIT(39) - 16);
	GOOD(CTL, f.EXIT_MSR_STORE_COUNT = 1; f.EXIT_MSR_STORE_ADDR = BIT(39) - 16);
	GOOD(CTL, f.EXIT_MSR_STORE_ADDR = 8);
	BAD(CTL, "VM-exit MSR-load area", f.EXIT_MSR_LOAD_COUNT = 1; f.EXIT_MSR_LOAD_ADDR = BIT(39));
	BAD(CTL, "VM-entry MSR-load area", f.ENTRY_MSR_LOAD_COUNT = 1; f.ENTRY_MSR_LOAD_ADDR = 4);
}

#define INJECT(type, vector, extra) (f.ENTRY_INTR_INFO = INTR_VALID | (u64)(type) << 8 | (vector) | (extra))
static void entry_controls(void **state)
{
	(void)state;
	BAD(CTL, "reserved bits of the VM-entry controls", OFF(ENTRY_CONTROLS, 1));
	BAD(CTL, "reserved bits of the VM-entry controls", ON(ENTRY_CONTROLS, ENTRY_LOAD_PERF_GLOBAL));
	/* Reserved for L1 as well; the row stands for the sentence of its own. */
	BAD(CTL, "entry to SMM, or end of dual-monitor treatment, outside SMM",
	    caps.entry.may |= ENTRY_SMM; ON(ENTRY_CONTROLS, ENTRY_SMM));
	BAD(CTL, "type of the injected event", INJECT(1, 0x20, 0));
	GOOD(CTL, INJECT(INTR_OTHER, 0, 0));
	BAD(CTL, "type of the injected event", caps.proc.may &= ~(u32)PROC_MTF; INJECT(INTR_OTHER, 0, 0));
	BAD(CTL, "vector of the injected event", INJECT(INTR_NMI, 3, 0));
	BAD(CTL, "vector of the injected event", INJECT(INTR_HW_EXCEPTION, 32, 0));
	BAD(CTL, "vector of the injected event", INJECT(INTR_OTHER, 1, 0));
	GOOD(CTL, INJECT(INTR_EXTERNAL, 255, 0));
	for (u32 vector = 0; vector < 32; vector++) {
		bool error = vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;
		BAD(CTL, error ? "deliver-error-code bit of the injected event" : NULL, INJECT(INTR_HW_EXCEPTION, vector, 0));
		BAD(CTL, error ? NULL : "deliver-error-code bit of the injected event", INJECT(INTR_HW_EXCEPTION, vector, INTR_HAS_ERROR));
	}
	GOOD(CTL, caps.basic |= BIT(56); INJECT(INTR_HW_EXCEPTION, 1, INTR_HAS_ERROR));
	BAD(CTL, "deliver-error-code bit of the injected event", INJECT(INTR_EXTERNAL, 14, INTR_HAS_ERROR));
	BAD(CTL, "deliver-error-code bit of the injected event", ON(PROC2_CONTROLS, PROC2_UNRESTRICTED); f.GUEST_CR0 = CR0_NE;
	    INJECT(INTR_HW_EXCEPTION, 13, INTR_HAS_ERROR));
	BAD(CTL, "reserved bits of the interruption information", INJECT(INTR_EXTERNAL, 32, BIT(12)));
	BAD(CTL, "reserved bits of the interruption information", INJECT(INTR_EXTERNAL, 32, BIT(30)));
	BAD(CTL, "error code of the injected event", INJECT(INTR_HW_EXCEPTION, 13, INTR_HAS_ERROR); f.ENTRY_EXCEPTION_ERROR = 0x10000);
	GOOD(CTL, INJECT(INTR_HW_EXCEPTION, 13, INTR_HAS_ERROR); f.ENTRY_EXCEPTION_ERROR = 0xffff);
	for (u32 type = INTR_SW_INT; type <= INTR_SW_EXCEPTION; type++) {
		BAD(CTL, "instruction length of the injected event", INJECT(type, 3, 0); f.ENTRY_INSN_LEN = 0);
		BAD(CTL, "instruction length of the injected event", INJECT(type, 3, 0); f.ENTRY_INSN_LEN = 16);
		GOOD(CTL, INJECT(type, 3, 0); f.ENTRY_INSN_LEN = 15);
		GOOD(CTL, caps.misc |= BIT(30); INJECT(type, 3, 0); f.ENTRY_INSN_LEN = 0);
	}
	GOOD(CTL, f.ENTRY_INTR_INFO = 0x7fffffff); /* not valid: not looked at */
	all_rows_hit(CTL);
}

/* ---- host state ---- */
static void host_state(void **state)
{
	(void)state;
	GOOD(HOST, (void)0);
	BAD(HOST, "fixed bits of host CR0", OFF(HOST_CR0, CR0_NE));
	BAD(HOST, "fixed bits of host CR0", ON(HOST_CR0, BIT(32)));
	BAD(HOST, "fixed bits of host CR4", OFF(HOST_CR4, CR4_VMXE));
	BAD(HOST, "fixed bits of host CR4", ON(HOST_CR4, CR4_SMXE));
	BAD(HOST, "host CR3 inside the physical-address width", f.HOST_CR3 = BIT(39));
	GOOD(HOST, f.HOST_CR3 = BIT(39) - 1);
	BAD(HOST, "host SYSENTER_ESP canonical", f.HOST_SYSENTER_ESP = BIT(47));
	BAD(HOST, "host SYSENTER_EIP canonical", f.HOST_SYSENTER_EIP = BIT(63));
	BAD(HOST, "host PAT", f.HOST_PAT = 2);
	BAD(HOST, "host PAT", f.HOST_PAT = 3ull << 56);
	BAD(HOST, "host PAT", f.HOST_PAT = 8);
	GOOD(HOST, f.HOST_PAT = 8; OFF(EXIT_CONTROLS, EXIT_LOAD_PAT));
	BAD(HOST, "reserved bits of host EFER", ON(HOST_EFER, BIT(1)));
	BAD(HOST, "host EFER.LMA is the host address-space size", OFF(HOST_EFER, EFER_LMA));
	BAD(HOST, "host EFER.LME is the host address-space size", OFF(HOST_EFER, EFER_LME));
	GOOD(HOST, f.HOST_EFER = 0; OFF(EXIT_CONTROLS, EXIT_LOAD_EFER));
#define HOST_SEL(s) \
	BAD(HOST, "RPL and TI of the host " #s " selector", f.HOST_##s##_SEL |= 1); \
	BAD(HOST, "RPL and TI of the host " #s " selector", f.HOST_##s##_SEL |= 4)
	HOST_SEL(ES); HOST_SEL(CS); HOST_SEL(SS); HOST_SEL(DS); HOST_SEL(FS); HOST_SEL(GS); HOST_SEL(TR);
	BAD(HOST, "host CS selector not 0", f.HOST_CS_SEL = 0);
	BAD(HOST, "host TR selector not 0", f.HOST_TR_SEL = 0);
#define HOST_BASE(s) \
	BAD(HOST, "host " #s " base canonical", f.HOST_##s##_BASE = BIT(47)); \
	GOOD(HOST, f.HOST_##s##_BASE = ~0ull << 47)
	HOST_BASE(FS); HOST_BASE(GS); HOST_BASE(GDTR); HOST_BASE(IDTR); HOST_BASE(TR);
}

/* A 32-bit L1 with a 32-bit L2. */
#define HOST32 (ctx.l1_long = false, OFF(EXIT_CONTROLS, EXIT_HOST_64), OFF(ENTRY_CONTROLS, ENTRY_IA32E), f.HOST_EFER = 0, f.HOST_SS_SEL = 0x10)
static void address_space(void **state)
{
	(void)state;
	GOOD(HOST, HOST32);
	BAD(HOST, "host SS selector not 0 outside IA-32e mode", HOST32; f.HOST_SS_SEL = 0);
	BAD(HOST, "IA-32e mode guest entered from outside IA-32e mode", HOST32; ON(ENTRY_CONTROLS, ENTRY_IA32E));
	BAD(HOST, "64-bit host entered from outside IA-32e mode",
	    ctx.l1_long = false; OFF(ENTRY_CONTROLS, ENTRY_IA32E));
	BAD(HOST, "32-bit host entered from IA-32e mode", HOST32; ctx.l1_long = true);
	BAD(HOST, "host CR4.PCIDE outside IA-32e mode", HOST32; ON(HOST_CR4, CR4_PCIDE));
	BAD(HOST, "host RIP bits 63:32 outside IA-32e mode", HOST32; f.HOST_RIP = BIT(32));
	BAD(HOST, "host CR4.PAE in IA-32e mode", OFF(HOST_CR4, CR4_PAE));
	GOOD(HOST, ON(HOST_CR4, CR4_PCIDE));
	BAD(HOST, "host RIP canonical", f.HOST_RIP = BIT(47));
	/* Shadowed by the two rows on the current mode in every state; called by itself. */
	reset();
	HOST32;
	ON(ENTRY_CONTROLS, ENTRY_IA32E);
	for (u32 i = 0; i < nr_checks_host; i++)
		if (!strcmp(checks_host[i].name, "IA-32e mode guest of a 32-bit host")) {
			assert_false(checks_host[i].holds(&ctx));
			hit_host[i] = true;
		}
	all_rows_hit(HOST);
}

/* ---- guest state ---- */
#define UG ON(PROC2_CONTROLS, PROC2_UNRESTRICTED)
#define GUEST32 (OFF(ENTRY_CONTROLS, ENTRY_IA32E), f.GUEST_EFER = 0, OFF(GUEST_CR4, CR4_PAE), f.GUEST_CS_AR = AR_CODE32)

static void guest_registers(void **state)
{
	(void)state;
	GOOD(GUEST, (void)0);
	GOOD(GUEST, GUEST32);
	BAD(GUEST, "fixed bits of CR0", OFF(GUEST_CR0, CR0_NE));
	BAD(GUEST, "fixed bits of CR0", GUEST32; OFF(GUEST_CR0, CR0_PG));
	GOOD(GUEST, GUEST32; UG; OFF(GUEST_CR0, CR0_PG));
	BAD(GUEST, "CR0.PG without CR0.PE", GUEST32; UG; OFF(GUEST_CR0, CR0_PE));
	BAD(GUEST, "fixed bits of CR4", OFF(GUEST_CR4, CR4_VMXE));
	BAD(GUEST, "fixed bits of CR4", ON(GUEST_CR4, CR4_CET));
	BAD(GUEST, "reserved bits of DEBUGCTL", f.GUEST_DEBUGCTL = 4);
	GOOD(GUEST, f.GUEST_DEBUGCTL = 4; OFF(ENTRY_CONTROLS, ENTRY_LOAD_DEBUG));
	BAD(GUEST, "CR0.PG in IA-32e mode", UG; OFF(GUEST_CR0, CR0_PG));
	BAD(GUEST, "CR4.PAE in IA-32e mode", OFF(GUEST_CR4, CR4_PAE));
	BAD(GUEST, "CR4.PCIDE outside IA-32e mode", GUEST32; ON(GUEST_CR4, CR4_PCIDE));
	GOOD(GUEST, ON(GUEST_CR4, CR4_PCIDE));
	BAD(GUEST, "CR3 inside the physical-address width", f.GUEST_CR3 = BIT(39));
	BAD(GUEST, "DR7 bits 63:32", f.GUEST_DR7 = BIT(32));
	BAD(GUEST, "SYSENTER_ESP canonical", f.GUEST_SYSENTER_ESP = BIT(48));
	BAD(GUEST, "SYSENTER_EIP canonical", f.GUEST_SYSENTER_EIP = BIT(48));
	BAD(GUEST, "PAT", f.GUEST_PAT = 0x0200);
	BAD(GUEST, "reserved bits of EFER", ON(GUEST_EFER, BIT(9)));
	BAD(GUEST, "EFER.LMA is IA-32e mode guest", f.GUEST_EFER = EFER_LME);
	BAD(GUEST, "EFER.LME is EFER.LMA with paging", f.GUEST_EFER = EFER_LMA);
	GOOD(GUEST, GUEST32; UG; f.GUEST_EFER = EFER_LME; OFF(GUEST_CR0, CR0_PG));
}

#define V86 (GUEST32, ON(GUEST_RFLAGS, RFLAGS_VM), V86_SEG(ES), V86_SEG(CS), V86_SEG(SS), V86_SEG(DS), V86_SEG(FS), V86_SEG(GS))
#define V86_SEG(s) (f.GUEST_##s##_SEL = 0x1234, f.GUEST_##s##_BASE = 0x12340, f.GUEST_##s##_LIMIT = 0xffff, f.GUEST_##s##_AR = 0xf3)
static void guest_v86(void **state)
{
	(void)state;
	GOOD(GUEST, V86);
#define V86_BAD(s) \
	BAD(GUEST, #s " base in virtual-8086 mode", V86; f.GUEST_##s##_BASE++); \
	BAD(GUEST, #s " limit in virtual-8086 mode", V86; f.GUEST_##s##_LIMIT++); \
	BAD(GUEST, #s " access rights in virtual-8086 mode", V86; f.GUEST_##s##_AR = 0x93)
	V86_BAD(ES); V86_BAD(CS); V86_BAD(SS); V86_BAD(DS); V86_BAD(FS); V86_BAD(GS);
	BAD(GUEST, "RFLAGS.VM in IA-32e or real mode", V86; UG; f.GUEST_CR0 = CR0_NE);
	BAD(GUEST, "RFLAGS.VM in IA-32e or real mode", V86; ON(ENTRY_CONTROLS, ENTRY_IA32E); f.GUEST_EFER = EFER_LME | EFER_LMA;
	    ON(GUEST_CR4, CR4_PAE));
}

/* Rows that data, code and stack segments share. */
#define COMMON_BAD(s) \
	BAD(GUEST, #s " is code or data", OFF(GUEST_##s##_AR, BIT(4))); \
	BAD(GUEST, #s " present", OFF(GUEST_##s##_AR, BIT(7))); \
	BAD(GUEST, #s " reserved access rights", ON(GUEST_##s##_AR, BIT(8))); \
	BAD(GUEST, #s " reserved access rights", ON(GUEST_##s##_AR, BIT(17))); \
	BAD(GUEST, #s " granularity", f.GUEST_##s##_LIMIT = 0xfffff000); \
	BAD(GUEST, #s " granularity", OFF(GUEST_##s##_AR, BIT(15))); \
	GOOD(GUEST, OFF(GUEST_##s##_AR, BIT(15)); f.GUEST_##s##_LIMIT = 0xfffff)
#define DATA_BAD(s) \
	COMMON_BAD(s); \
	BAD(GUEST, #s " type", OFF(GUEST_##s##_AR, 1)); \
	BAD(GUEST, #s " type", f.GUEST_##s##_AR = 0xc099); \
	GOOD(GUEST, f.GUEST_##s##_AR = 0xc09b); \
	BAD(GUEST, #s " DPL not below RPL", f.GUEST_##s##_SEL = 0x13); \
	GOOD(GUEST, f.GUEST_##s##_SEL = 0x13; f.GUEST_##s##_AR |= 0x60); \
	GOOD(GUEST, f.GUEST_##s##_SEL = 0x13; UG); \
	GOOD(GUEST, f.GUEST_##s##_SEL = 0x13; f.GUEST_##s##_AR = 0xc09f); \
	GOOD(GUEST, f.GUEST_##s##_AR = SEG_AR_UNUSABLE)
static void guest_segments(void **state)
{
	(void)state;
	DATA_BAD(DS);
	DATA_BAD(ES);
	DATA_BAD(FS);
	DATA_BAD(GS);
	COMMON_BAD(CS);
	COMMON_BAD(SS);
	BAD(GUEST, "FS base canonical", f.GUEST_FS_BASE = BIT(47));
	BAD(GUEST, "GS base canonical", f.GUEST_GS_BASE = BIT(47));
	BAD(GUEST, "CS base bits 63:32", f.GUEST_CS_BASE = BIT(32));
	BAD(GUEST, "SS base bits 63:32", f.GUEST_SS_BASE = BIT(32));
	BAD(GUEST, "DS base bits 63:32", f.GUEST_DS_BASE = BIT(32));
	BAD(GUEST, "ES base bits 63:32", f.GUEST_ES_BASE = BIT(32));
	GOOD(GUEST, f.GUEST_ES_BASE = BIT(32); f.GUEST_ES_AR = SEG_AR_UNUSABLE);
	BAD(GUEST, "SS and CS have the same RPL", f.GUEST_SS_SEL = 0x13);
	BAD(GUEST, "SS type", f.GUEST_SS_AR = 0xc091);
	GOOD(GUEST, f.GUEST_SS_AR = 0xc097);
	BAD(GUEST, "SS DPL is RPL", GUEST32; f.GUEST_SS_AR |= 0x60; f.GUEST_CS_AR |= 0x60);
	BAD(GUEST, "SS DPL 0 in real mode", GUEST32; UG; f.GUEST_CR0 = CR0_NE; f.GUEST_SS_AR |= 0x60; f.GUEST_CS_AR |= 0x60);
}

static void guest_code(void **state)
{
	(void)state;
	BAD(GUEST, "CS type", f.GUEST_CS_AR = 0xa093);
	BAD(GUEST, "CS type", f.GUEST_CS_AR = 0xa09a);
	GOOD(GUEST, GUEST32; UG; f.GUEST_CR0 = CR0_NE; f.GUEST_CS_AR = 0xc093);
	BAD(GUEST, "CS DPL", GUEST32; UG; f.GUEST_CR0 = CR0_NE; f.GUEST_CS_AR = 0xc0f3);
	BAD(GUEST, "CS DPL", f.GUEST_CS_AR |= 0x60);
	BAD(GUEST, "CS DPL", f.GUEST_CS_AR = 0xa0fd); /* conforming, above SS */
	GOOD(GUEST, f.GUEST_CS_AR = 0xa09d);
	BAD(GUEST, "CS.D in 64-bit mode", f.GUEST_CS_AR |= BIT(14));
	GOOD(GUEST, f.GUEST_CS_AR = AR_CODE32); /* compatibility mode */
}

#define SYS_BAD(s) \
	BAD(GUEST, #s " is a system segment", ON(GUEST_##s##_AR, BIT(4))); \
	BAD(GUEST, #s " present", OFF(GUEST_##s##_AR, BIT(7))); \
	BAD(GUEST, #s " reserved access rights", ON(GUEST_##s##_AR, BIT(11))); \
	BAD(GUEST, #s " granularity", f.GUEST_##s##_LIMIT = 0x100000); \
	BAD(GUEST, #s " selector TI", ON(GUEST_##s##_SEL, 4)); \
	BAD(GUEST, #s " base canonical", f.GUEST_##s##_BASE = BIT(47))
static void guest_tables(void **state)
{
	(void)state;
	SYS_BAD(TR);
	SYS_BAD(LDTR);
	BAD(GUEST, "TR type", f.GUEST_TR_AR = 0x89);
	BAD(GUEST, "TR type", f.GUEST_TR_AR = 0x83);
	GOOD(GUEST, GUEST32; f.GUEST_TR_AR = 0x83);
	BAD(GUEST, "TR usable", ON(GUEST_TR_AR, SEG_AR_UNUSABLE));
	BAD(GUEST, "LDTR type", f.GUEST_LDTR_AR = 0x83);
	GOOD(GUEST, f.GUEST_LDTR_AR = SEG_AR_UNUSABLE; f.GUEST_LDTR_BASE = BIT(47));
	BAD(GUEST, "GDTR base canonical", f.GUEST_GDTR_BASE = BIT(47));
	BAD(GUEST, "IDTR base canonical", f.GUEST_IDTR_BASE = BIT(47));
	BAD(GUEST, "GDTR limit bits 31:16", f.GUEST_GDTR_LIMIT = 0x10000);
	BAD(GUEST, "IDTR limit bits 31:16", f.GUEST_IDTR_LIMIT = 0x10000);
}

static void guest_rip_rflags(void **state)
{
	(void)state;
	BAD(GUEST, "RIP bits 63:32 outside 64-bit mode", GUEST32; f.GUEST_RIP = BIT(32));
	BAD(GUEST, "RIP bits 63:32 outside 64-bit mode", f.GUEST_CS_AR = AR_CODE32; f.GUEST_RIP = BIT(32));
	GOOD(GUEST, f.GUEST_RIP = BIT(47)); /* bits 63:48 are what counts */
	BAD(GUEST, "RIP bits 63:48 identical", f.GUEST_RIP = BIT(48));
	BAD(GUEST, "reserved bits of RFLAGS", f.GUEST_RFLAGS = 0);
	BAD(GUEST, "reserved bits of RFLAGS", ON(GUEST_RFLAGS, BIT(3)));
	BAD(GUEST, "reserved bits of RFLAGS", ON(GUEST_RFLAGS, BIT(22)));
	BAD(GUEST, "RFLAGS.IF with an injected interrupt", INJECT(INTR_EXTERNAL, 32, 0));
	GOOD(GUEST, INJECT(INTR_EXTERNAL, 32, 0); ON(GUEST_RFLAGS, RFLAGS_IF));
}

static void guest_non_register(void **state)
{
	(void)state;
	GOOD(GUEST, f.GUEST_ACTIVITY = ACTIVITY_WAIT_SIPI);
	GOOD(GUEST, f.GUEST_ACTIVITY = ACTIVITY_HLT);
	BAD(GUEST, "activity state", caps.misc &= ~BIT(6); f.GUEST_ACTIVITY = ACTIVITY_HLT);
	BAD(GUEST, "event injected in wait-for-SIPI", f.GUEST_ACTIVITY = ACTIVITY_WAIT_SIPI; INJECT(INTR_NMI, 2, 0));
	BAD(GUEST, "HLT at CPL 0", f.GUEST_ACTIVITY = ACTIVITY_HLT; f.GUEST_SS_SEL = 0x13; f.GUEST_CS_SEL = 0xb; f.GUEST_SS_AR |= 0x60;
	    f.GUEST_CS_AR |= 0x60);
	BAD(GUEST, "blocking by STI or MOV SS while not active", f.GUEST_ACTIVITY = ACTIVITY_HLT; f.GUEST_INTERRUPTIBILITY = BLOCK_MOV_SS);
	BAD(GUEST, "event injected in HLT", f.GUEST_ACTIVITY = ACTIVITY_HLT; INJECT(INTR_HW_EXCEPTION, 6, 0));
	BAD(GUEST, "event injected in HLT", f.GUEST_ACTIVITY = ACTIVITY_HLT; INJECT(INTR_SW_INT, 0x80, 0));
	GOOD(GUEST, f.GUEST_ACTIVITY = ACTIVITY_HLT; INJECT(INTR_HW_EXCEPTION, VEC_DB, 0));
	GOOD(GUEST, f.GUEST_ACTIVITY = ACTIVITY_HLT; INJECT(INTR_NMI, 2, 0));
	BAD(GUEST, "reserved interruptibility bits", f.GUEST_INTERRUPTIBILITY = BIT(4));
	BAD(GUEST, "blocking by STI and by MOV SS", f.GUEST_INTERRUPTIBILITY = BLOCK_STI | BLOCK_MOV_SS; ON(GUEST_RFLAGS, RFLAGS_IF));
	BAD(GUEST, "blocking by STI with IF = 0", f.GUEST_INTERRUPTIBILITY = BLOCK_STI);
	GOOD(GUEST, f.GUEST_INTERRUPTIBILITY = BLOCK_STI; ON(GUEST_RFLAGS, RFLAGS_IF));
	BAD(GUEST, "interrupt injected while blocked", f.GUEST_INTERRUPTIBILITY = BLOCK_MOV_SS; ON(GUEST_RFLAGS, RFLAGS_IF);
	    INJECT(INTR_EXTERNAL, 32, 0));
	BAD(GUEST, "NMI injected while MOV SS blocks", f.GUEST_INTERRUPTIBILITY = BLOCK_MOV_SS; INJECT(INTR_NMI, 2, 0));
	BAD(GUEST, "blocking by SMI outside SMM", f.GUEST_INTERRUPTIBILITY = BLOCK_SMI);
	BAD(GUEST, "virtual NMI injected while blocked", f.GUEST_INTERRUPTIBILITY = BLOCK_NMI; INJECT(INTR_NMI, 2, 0));
	GOOD(GUEST, f.GUEST_INTERRUPTIBILITY = BLOCK_NMI; INJECT(INTR_NMI, 2, 0); OFF(PIN_CONTROLS, PIN_VIRTUAL_NMI));
}

#define STEP (f.GUEST_INTERRUPTIBILITY = BLOCK_MOV_SS, ON(GUEST_RFLAGS, RFLAGS_TF))
static void guest_pending(void **state)
{
	(void)state;
	BAD(GUEST, "reserved bits of the pending debug exceptions", f.GUEST_PENDING_DBG = BIT(4));
	BAD(GUEST, "reserved bits of the pending debug exceptions", f.GUEST_PENDING_DBG = BIT(13));
	GOOD(GUEST, f.GUEST_PENDING_DBG = BIT(12) | BITS(3, 0));
	BAD(GUEST, "RTM of the pending debug exceptions", f.GUEST_PENDING_DBG = BIT(16) | BIT(12));
	BAD(GUEST, "pending single step", STEP);
	GOOD(GUEST, STEP; f.GUEST_PENDING_DBG = BIT(14));
	BAD(GUEST, "pending single step", STEP; f.GUEST_PENDING_DBG = BIT(14); f.GUEST_DEBUGCTL = BIT(1));
	BAD(GUEST, "pending single step", f.GUEST_ACTIVITY = ACTIVITY_HLT; f.GUEST_PENDING_DBG = BIT(14));
	GOOD(GUEST, f.GUEST_PENDING_DBG = BIT(14));
}

static void guest_link_and_pdptes(void **state)
{
	(void)state;
	BAD(GUEST, "VMCS link pointer address", f.VMCS_LINK_PTR = 0x1234);
	BAD(GUEST, "VMCS link pointer address", f.VMCS_LINK_PTR = BIT(39));
	BAD(GUEST, "revision of the linked VMCS", f.VMCS_LINK_PTR = 0x8000; ctx.link_revision = NESTED_REVISION | (u32)REVISION_SHADOW);
	BAD(GUEST, "VMCS linked to itself", f.VMCS_LINK_PTR = 0x9000);
	GOOD(GUEST, f.VMCS_LINK_PTR = 0x8000);
	GOOD(GUEST, f.VMCS_LINK_PTR = 0x8000; ON(PROC2_CONTROLS, PROC2_SHADOW_VMCS); ctx.link_revision = NESTED_REVISION | (u32)REVISION_SHADOW);
#define PAE_GUEST (GUEST32, ON(GUEST_CR4, CR4_PAE), ctx.pdptes_read = true)
	GOOD(GUEST, PAE_GUEST; ctx.pdpte[3] = 0x1001);
	GOOD(GUEST, PAE_GUEST; ctx.pdpte[3] = 0x1002); /* not present: not looked at */
	BAD(GUEST, "PDPTEs", PAE_GUEST; ctx.pdpte[3] = 0x1003);
	BAD(GUEST, "PDPTEs", PAE_GUEST; ctx.pdpte[0] = BIT(39) | 1);
	BAD(GUEST, "PDPTEs", PAE_GUEST; ctx.pdptes_read = false);
	all_rows_hit(GUEST);
}

/* What the processor reports: error numbers of the instructions, qualifications of the failed entry. */
static void failures(void **state)
{
	(void)state;
	for (u32 i = 0; i < nr_checks_ctl; i++)
		assert_int_equal(checks_ctl[i].failure, INSN_ERR_CONTROLS);
	for (u32 i = 0; i < nr_checks_host; i++)
		assert_int_equal(checks_host[i].failure, INSN_ERR_HOST_STATE);
	for (u32 i = 0; i < nr_checks_guest; i++) {
		const struct check *c = &checks_guest[i];
		u8 want = strstr(c->name, "PDPTE") ? ENTRY_FAIL_PDPTE : strstr(c->name, "link") ? ENTRY_FAIL_LINK_PTR : ENTRY_FAIL_OTHER;
		if (c->failure != want)
			fail_msg("\"%s\" reports %u", c->name, c->failure);
	}
}

/* ---- the shortcut ---- */
static u64 seed = 1;
static u64 next_random(void) /* xorshift64 */
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	return seed ^= seed << 17;
}
/* One of the values that matter, or anything. */
#define PICK(...) ({ static const u64 of[] = { __VA_ARGS__ }; u64 r = next_random(); r % 8 ? of[r / 8 % ARRAY_SIZE(of)] : next_random(); })

static void any_hot(void)
{
	f.GUEST_RIP = PICK(0, 0x1000, 0xffffffff, BIT(32), BIT(47), BITS(63, 47));
	f.GUEST_RSP = next_random();
	f.GUEST_RFLAGS = PICK(2, 2, 0x202, 0x246, 0x10002, 0x20002, 0x3, 0, BIT(22) | 2, 0x802a);
	f.GUEST_INTERRUPTIBILITY = PICK(0, 0, 0, 1, 2, 3, 8, 32);
	f.GUEST_PENDING_DBG = PICK(0, 0, 0, BIT(14), BIT(12));
	f.GUEST_ACTIVITY = PICK(0, 0, 0, 1, 2, 3, 4) & 0xffffffff;
	f.ENTRY_INTR_INFO = PICK(0, 0, INTR_VALID | 0x30, INTR_VALID | 0x202, 0x7fffffff) & 0xffffffff;
	f.ENTRY_EXCEPTION_ERROR = next_random() & 0xffffffff;
	f.ENTRY_INSN_LEN = next_random() & 31;
	f.TPR_THRESHOLD = PICK(0, 0, 0, 1, 15, 16) & 0xffffffff;
	f.PREEMPTION_TIMER = next_random() & 0xffffffff;
	f.GUEST_INTERRUPT_STATUS = next_random() & 0xffff;
}

/* Before: a state that passes, of some kind. */
static void any_valid(void)
{
	reset();
	switch (next_random() % 4) {
	case 0: /* compatibility mode */
		f.GUEST_CS_AR = AR_CODE32;
		break;
	case 1: /* 32-bit PAE paging */
		f.GUEST_CS_AR = AR_CODE32;
		OFF(ENTRY_CONTROLS, ENTRY_IA32E);
		f.GUEST_EFER = 0;
		ctx.pdptes_read = true;
		break;
	case 2: /* APIC virtualisation */
		ON(PROC2_CONTROLS, PROC2_VIRT_INT | PROC2_X2APIC | PROC2_APIC_REGS);
		break;
	}
}

static void plain_is_sound(void **state)
{
	u32 plain = 0;

	(void)state;
	for (u32 i = 0; i < 400000; i++) {
		any_valid();
		expect_row(CTL, NULL, __LINE__);
		expect_row(GUEST, NULL, __LINE__);
		u64 before = f.GUEST_RFLAGS;
		any_hot();
		if (!check_plain(&f, before))
			continue;
		plain++;
		expect_row(CTL, NULL, __LINE__);
		expect_row(GUEST, NULL, __LINE__);
	}
	assert_in_range(plain, 1000, 390000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(execution_controls), cmocka_unit_test(later_features), cmocka_unit_test(apic_controls), cmocka_unit_test(eptp), cmocka_unit_test(exit_controls),
		cmocka_unit_test(entry_controls), cmocka_unit_test(host_state), cmocka_unit_test(address_space),
		cmocka_unit_test(guest_registers), cmocka_unit_test(guest_v86), cmocka_unit_test(guest_segments), cmocka_unit_test(guest_code),
		cmocka_unit_test(guest_tables), cmocka_unit_test(guest_rip_rflags), cmocka_unit_test(guest_non_register),
		cmocka_unit_test(guest_pending), cmocka_unit_test(guest_link_and_pdptes), cmocka_unit_test(failures),
		cmocka_unit_test(plain_is_sound),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
