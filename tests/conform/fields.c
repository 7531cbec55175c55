/*
 * All 32,768 encodings of VMCS fields, read and written: which exist, which are read-only, how wide they are, their high halves
 * (SDM 3C, VMREAD, VMWRITE, and Encodings of VMCS Fields; SDM 3D, Field Encoding in VMCS).
 *
 * Invariant: the VMCS is not used for VM entry; it is cleared and left with the session.
 */
#include <stdio.h>
#include <string.h>

#include "tests/conform/session.h"

#define ENCODINGS 0x8000u
#define BLOCK 256u
#define PATTERN 0x1122334455667788ull

static const u16 known[] = {
#define KNOWN(name, enc) enc,
	VMCS_FIELDS(KNOWN)
#undef KNOWN
};
static u8 present[ENCODINGS]; /* by the SDM and the capability MSRs: 0, 'w' writable, 'r' read-only */

/* ---- what should exist (SDM 3D, Appendix B, footnotes) ---- */
static bool exists_pair(u32 first, u32 last, u32 enc) { return enc >= first && enc <= last; }

static bool exists2(u32 e, bool *answer)
{
	static const struct { u16 first, last; u64 bit; } by_proc2[] = {
		{ VMCS_VPID, VMCS_VPID, PROC2_VPID }, { VMCS_EPTP_INDEX, VMCS_EPTP_INDEX, PROC2_EPT_VE },
		{ VMCS_GUEST_INTERRUPT_STATUS, VMCS_GUEST_INTERRUPT_STATUS, PROC2_VIRT_INT }, { VMCS_PML_INDEX, VMCS_PML_INDEX, PROC2_PML },
		{ VMCS_PML_ADDR, VMCS_PML_ADDR, PROC2_PML }, { VMCS_APIC_ACCESS_ADDR, VMCS_APIC_ACCESS_ADDR, PROC2_APIC_ACCESS },
		{ VMCS_VMFUNC_CONTROLS, VMCS_VMFUNC_CONTROLS, PROC2_VMFUNC }, { VMCS_EPTP, VMCS_EPTP, PROC2_EPT },
		{ VMCS_EOI_EXIT_0, VMCS_EOI_EXIT_3, PROC2_VIRT_INT }, { VMCS_EPTP_LIST_ADDR, VMCS_EPTP_LIST_ADDR, PROC2_VMFUNC },
		{ VMCS_VMREAD_BITMAP, VMCS_VMWRITE_BITMAP, PROC2_SHADOW_VMCS }, { VMCS_VE_INFO_ADDR, VMCS_VE_INFO_ADDR, PROC2_EPT_VE },
		{ VMCS_XSS_EXITING_BITMAP, VMCS_XSS_EXITING_BITMAP, PROC2_XSAVES }, { VMCS_ENCLS_EXITING_BITMAP, VMCS_ENCLS_EXITING_BITMAP,
		       PROC2_ENCLS },
		{ VMCS_SPP_TABLE_PTR, VMCS_SPP_TABLE_PTR, BIT(23) }, { VMCS_TSC_MULTIPLIER, VMCS_TSC_MULTIPLIER, PROC2_TSC_SCALING },
		{ VMCS_GUEST_PHYSICAL_ADDR, VMCS_GUEST_PHYSICAL_ADDR, PROC2_EPT }, { VMCS_GUEST_PDPTE0, VMCS_GUEST_PDPTE3, PROC2_EPT },
		{ VMCS_PLE_GAP, VMCS_PLE_WINDOW, PROC2_PAUSE_LOOP },
	};

	for (u32 i = 0; i < ARRAY_SIZE(by_proc2); i++)
		if (exists_pair(by_proc2[i].first, by_proc2[i].last, e)) {
			*answer = may_proc2(&env, by_proc2[i].bit);
			return true;
		}
	return false;
}

static bool should_exist(u32 e)
{
	bool answer;

	if (exists2(e, &answer))
		return answer;
	switch (e) {
	case VMCS_PI_NOTIFICATION_VECTOR:
	case VMCS_PI_DESC_ADDR: return may_pin(&env, PIN_POSTED_INT);
	case VMCS_PREEMPTION_TIMER: return may_pin(&env, PIN_PREEMPTION_TIMER);
	case VMCS_MSR_BITMAP: return may_proc(&env, PROC_MSR_BITMAPS);
	case VMCS_VIRTUAL_APIC_ADDR:
	case VMCS_TPR_THRESHOLD: return may_proc(&env, PROC_TPR_SHADOW);
	case VMCS_PROC2_CONTROLS: return may_proc(&env, PROC_SECONDARY);
	case VMCS_GUEST_PAT: return may_entry(&env, ENTRY_LOAD_PAT) || may_exit(&env, EXIT_SAVE_PAT);
	case VMCS_GUEST_EFER: return may_entry(&env, ENTRY_LOAD_EFER) || may_exit(&env, EXIT_SAVE_EFER);
	case VMCS_GUEST_PERF_GLOBAL_CTRL: return may_entry(&env, ENTRY_LOAD_PERF_GLOBAL);
	case VMCS_GUEST_BNDCFGS: return may_entry(&env, BIT(16));
	case VMCS_HOST_PAT: return may_exit(&env, EXIT_LOAD_PAT);
	case VMCS_HOST_EFER: return may_exit(&env, EXIT_LOAD_EFER);
	case VMCS_HOST_PERF_GLOBAL_CTRL: return may_exit(&env, EXIT_LOAD_PERF_GLOBAL);
	default: return true;
	}
}

static void make_present(void)
{
	bool all_writable = env.misc & VMX_MISC_VMWRITE_RO;

	memset(present, 0, sizeof(present));
	for (u32 i = 0; i < ARRAY_SIZE(known); i++) {
		u32 e = known[i];
		bool read_only = FIELD_GET(VMCS_ENC_TYPE, e) == 1;

		if (!should_exist(e))
			continue;
		present[e] = read_only && !all_writable ? 'r' : 'w';
		if (FIELD_GET(VMCS_ENC_WIDTH, e) == 1)
			present[e | 1] = present[e];
	}
}

/* ---- the sweep ---- */
/* 0: no such field; 'w', 'r'; '?' answers that do not fit together. */
static u8 probe(u64 encoding)
{
	u64 value = 0, error = 0, r, w;

	r = do_vmread(encoding, &value);
	if (r == RFLAGS_ZF && (do_vmread(VMCS_INSN_ERROR, &error) || error != 12))
		return '?';
	w = do_vmwrite(encoding, value);
	if (w && w != RFLAGS_ZF)
		return '?';
	if (w)
		do_vmread(VMCS_INSN_ERROR, &error);
	if (r)
		return r == RFLAGS_ZF && w && error == 12 ? 0 : '?';
	return !w ? 'w' : error == 13 ? 'r' : '?';
}

static bool is_known(u32 e)
{
	for (u32 i = 0; i < ARRAY_SIZE(known); i++)
		if ((e & ~1u) == known[i])
			return true;
	return false;
}

static void sweep_block(u32 block, u32 sample)
{
	static char list[BLOCK * 8], wrong[256];
	u32 at = 0, bad = 0;
	char name[32];

	list[0] = wrong[0] = 0;
	for (u32 e = block * BLOCK; e < (block + 1) * BLOCK; e++) {
		if (sample > 1 && e % sample && !is_known(e))
			continue;
		u8 saw = probe(e);
		if (saw)
			at += (u32)sniprintf(list + at, sizeof(list) - at, " %x%c", e, saw);
		if (saw != present[e] && bad < sizeof(wrong) - 12)
			bad += (u32)sniprintf(wrong + bad, sizeof(wrong) - bad, "%s%x%c", bad ? " " : "", e, saw ? saw : '-');
	}
	sniprintf(name, sizeof(name), "encodings-%04x", block * BLOCK);
	report_text(name, bad ? wrong : "as the SDM says", "as the SDM says");
	if (at)
		report_result(name, "%s", list + 1);
}

static void outside(void)
{
	static const struct { const char *name; u64 set; } bits[] = {
		{ "bit-15", BIT(15) }, { "bit-31", BIT(31) }, { "bit-32", BIT(32) }, { "bit-63", BIT(63) }, { "bit-12", BIT(12) },
	};
	char name[48];
	u64 v;

	for (u32 i = 0; i < ARRAY_SIZE(bits); i++) {
		sniprintf(name, sizeof(name), "vmread-%s", bits[i].name);
		report_text(name, attempt(OP_VMREAD, VMCS_GUEST_RSP | bits[i].set, (u64)&v), "error 12");
		sniprintf(name, sizeof(name), "vmwrite-%s", bits[i].name);
		report_text(name, attempt(OP_VMWRITE, VMCS_GUEST_RSP | bits[i].set, 0), "error 12");
	}
}

/* ---- what a field keeps ---- */
static const u64 masks[4] = { 0xffff, ~0ull, 0xffffffff, ~0ull };
static const char *const widths[4] = { "16", "64", "32", "natural" };
static const char *const types[4] = { "control", "data", "guest", "host" };

static u64 written_and_read(u64 write, u64 value, u64 read)
{
	u64 saw = 0x5a5a5a5a5a5a5a5a;

	return do_vmwrite(write, value) || do_vmread(read, &saw) ? 0xbad : saw;
}

/* The first way in which the field is not as wide as it should be; 0 none. */
static u32 field_wrong(u32 e)
{
	u32 width = (u32)FIELD_GET(VMCS_ENC_WIDTH, e);
	u64 mask = masks[width];

	if (written_and_read(e, PATTERN, e) != (PATTERN & mask))
		return 1;
	if (width == 1) {
		u64 saw = 0;
		if (do_vmread(e | 1, &saw) || saw != PATTERN >> 32)
			return 2;
		if (written_and_read(e | 1, 0xdeadbeefaabbccdd, e) != ((PATTERN & 0xffffffff) | 0xaabbccddull << 32))
			return 3;
		if (written_and_read(e, 0, e | 1) != 0)
			return 4;
	}
	if (written_and_read(e, ~0ull, e) != mask)
		return 5;
	return written_and_read(e, 0, e) ? 6 : 0;
}

static void keeps(u32 width, u32 type)
{
	char name[48], wrong[256];
	u32 at = 0;

	wrong[0] = 0;
	for (u32 i = 0; i < ARRAY_SIZE(known); i++) {
		u32 e = known[i], how;
		if (FIELD_GET(VMCS_ENC_WIDTH, e) != width || FIELD_GET(VMCS_ENC_TYPE, e) != type || present[e] != 'w')
			continue;
		how = field_wrong(e);
		if (how && at < sizeof(wrong) - 16)
			at += (u32)sniprintf(wrong + at, sizeof(wrong) - at, "%s%x:%u", at ? " " : "", e, how);
	}
	sniprintf(name, sizeof(name), "keeps-%s-%s", widths[width], types[type]);
	report_text(name, at ? wrong : "all bits", "all bits");
}

void group_fields(u32 sample)
{
	session_vmxon();
	make_present();
	for (u32 block = 0; block < ENCODINGS / BLOCK; block++)
		sweep_block(block, sample);
	outside();
	for (u32 width = 0; width < 4; width++)
		for (u32 type = 0; type < 4; type++)
			keeps(width, type);
	session_vmxoff();
}
