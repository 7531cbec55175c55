/*
 * vmcs02 = merge(vmcs12, policy): each control word by a table of what L1 asks and what must come out; CR masks; bitmaps.
 */
#include "tests/unit/nested_hw.h"

struct vmx_caps vmx_caps;

#define PIN_BASE 0x16u
#define PROC_BASE 0x04006172u

static struct merge_policy policy(void)
{
	struct vmx_caps hw = full_hw();

	return (struct merge_policy){
		.pin = hw.use_pin, .proc = hw.use_proc, .proc2 = hw.use_proc2, .exit = hw.use_exit, .entry = hw.use_entry,
		.exit_may = hw.exit.may, .cr0_owned = CR0_CD | CR0_NW | CR0_NE, .cr4_owned = CR4_VMXE | CR4_MCE,
		.cr0_set = CR0_NE, .cr4_set = CR4_VMXE, .cr4_clear = CR4_MCE, .pi_hw = true,
		.tsc = { TSC_ONE, 0 }, .tsc_now = 1 << 20,
	};
}

static struct merged run(const struct vmcs12 *f, const struct merge_policy *p)
{
	struct merged m;
	merge_controls(&m, f, p);
	return m;
}

/* set: bits that must be one, clear: bits that must be zero in vmcs02. */
static void pin(void **state)
{
	static const struct { u32 l1, set, clear; bool pi_hw; } rows[] = {
		{ PIN_BASE, PIN_EXT_INT | PIN_NMI | PIN_VIRTUAL_NMI, PIN_PREEMPTION_TIMER | PIN_POSTED_INT, true },
		{ PIN_BASE | PIN_NMI, PIN_EXT_INT | PIN_NMI, PIN_VIRTUAL_NMI, true },
		{ PIN_BASE | PIN_NMI | PIN_VIRTUAL_NMI, PIN_NMI | PIN_VIRTUAL_NMI, 0, true },
		{ PIN_BASE | PIN_PREEMPTION_TIMER, PIN_PREEMPTION_TIMER, PIN_POSTED_INT, true },
		{ PIN_BASE | PIN_EXT_INT | PIN_POSTED_INT, PIN_EXT_INT | PIN_POSTED_INT, 0, true },
		{ PIN_BASE | PIN_EXT_INT | PIN_POSTED_INT, PIN_EXT_INT, PIN_POSTED_INT, false },
	};
	(void)state;

	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		struct vmcs12 f = { .PIN_CONTROLS = rows[i].l1 };
		struct merge_policy p = policy();
		p.pi_hw = rows[i].pi_hw;
		u32 w = run(&f, &p).pin;
		if ((w & rows[i].set) != rows[i].set || (w & rows[i].clear))
			fail_msg("pin row %u gives %#x", i, w);
	}
}

static void proc(void **state)
{
	static const struct { u32 l1, set, clear; } rows[] = {
		/* no TPR shadow of L1's: CR8 is emulated; no MSR bitmap: all exit; nothing wanted of I/O: our bitmap */
		{ PROC_BASE, PROC_HLT | PROC_CR8_LOAD | PROC_CR8_STORE | PROC_IO_BITMAPS | PROC_SECONDARY,
		  PROC_TPR_SHADOW | PROC_MSR_BITMAPS | PROC_UNCOND_IO },
		{ PROC_BASE | PROC_TPR_SHADOW, PROC_TPR_SHADOW, PROC_CR8_LOAD | PROC_CR8_STORE },
		{ (u32)(PROC_BASE | PROC_TPR_SHADOW | PROC_CR8_LOAD), PROC_TPR_SHADOW | PROC_CR8_LOAD, PROC_CR8_STORE },
		{ (u32)(PROC_BASE | PROC_MSR_BITMAPS), PROC_MSR_BITMAPS, 0 },
		{ PROC_BASE | PROC_UNCOND_IO, PROC_UNCOND_IO, PROC_IO_BITMAPS },
		{ PROC_BASE | PROC_UNCOND_IO | PROC_IO_BITMAPS, PROC_IO_BITMAPS, PROC_UNCOND_IO },
		{ PROC_BASE | PROC_IO_BITMAPS, PROC_IO_BITMAPS, PROC_UNCOND_IO },
		{ (u32)(PROC_BASE | PROC_RDTSC | PROC_INVLPG | PROC_MOV_DR | PROC_CR3_LOAD | PROC_CR3_STORE | PROC_MTF),
		  (u32)(PROC_RDTSC | PROC_INVLPG | PROC_MOV_DR | PROC_CR3_LOAD | PROC_CR3_STORE | PROC_MTF), 0 },
		{ PROC_BASE | PROC_INT_WINDOW | PROC_NMI_WINDOW, PROC_INT_WINDOW | PROC_NMI_WINDOW, 0 },
		{ PROC_BASE | PROC_TSC_OFFSET, PROC_TSC_OFFSET, PROC_INT_WINDOW | PROC_NMI_WINDOW | PROC_MTF },
	};
	(void)state;

	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		struct vmcs12 f = { .PROC_CONTROLS = rows[i].l1 };
		struct merge_policy p = policy();
		u32 w = run(&f, &p).proc;
		if ((w & rows[i].set) != rows[i].set || (w & rows[i].clear))
			fail_msg("proc row %u gives %#x", i, w);
	}
}

static void proc2(void **state)
{
	static const struct { bool secondary; u32 l1, out; } rows[] = {
		{ true, 0, PROC2_EPT | PROC2_VPID },
		{ false, ~0u, PROC2_EPT | PROC2_VPID }, /* not activated: as if 0 */
		{ true, PROC2_UNRESTRICTED | PROC2_EPT, PROC2_EPT | PROC2_VPID | PROC2_UNRESTRICTED },
		{ true, PROC2_RDTSCP | PROC2_INVPCID, PROC2_EPT | PROC2_VPID | PROC2_RDTSCP | PROC2_INVPCID },
		{ true, PROC2_X2APIC | PROC2_APIC_REGS | PROC2_VIRT_INT,
		  PROC2_EPT | PROC2_VPID | PROC2_X2APIC | PROC2_APIC_REGS | PROC2_VIRT_INT },
		{ true, PROC2_PML | PROC2_SHADOW_VMCS, PROC2_EPT | PROC2_VPID }, /* emulated */
		{ true, PROC2_MBE | PROC2_VMFUNC, PROC2_EPT | PROC2_VPID | PROC2_MBE | PROC2_VMFUNC },
		{ true, PROC2_WBINVD | PROC2_DESC_TABLE, PROC2_EPT | PROC2_VPID | PROC2_WBINVD | PROC2_DESC_TABLE },
	};
	(void)state;

	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		struct vmcs12 f = { .PROC_CONTROLS = rows[i].secondary ? PROC_SECONDARY : 0, .PROC2_CONTROLS = rows[i].l1 };
		struct merge_policy p = policy();
		assert_int_equal(run(&f, &p).proc2, rows[i].out);
	}
	/* An exit of our own stays, VPID only if we use it. */
	struct vmcs12 f = { 0 };
	struct merge_policy p = policy();
	p.proc2 = PROC2_EPT | PROC2_WBINVD;
	assert_int_equal(run(&f, &p).proc2, PROC2_EPT | PROC2_WBINVD);
}

static void exit_and_entry(void **state)
{
	struct merge_policy p = policy();
	struct vmcs12 f = { .EXIT_CONTROLS = 0x36dfb, .ENTRY_CONTROLS = 0x11fb };
	(void)state;

	assert_int_equal(run(&f, &p).exit, p.exit); /* our host side, whatever L1's is */
	assert_int_equal(run(&f, &p).entry, p.entry);
	f.ENTRY_CONTROLS |= ENTRY_IA32E;
	assert_int_equal(run(&f, &p).entry, p.entry | ENTRY_IA32E);
	p.entry |= ENTRY_IA32E; /* of vmcs01: does not leak */
	f.ENTRY_CONTROLS = 0x11fb;
	assert_int_equal(run(&f, &p).entry & ENTRY_IA32E, 0);
	f.PIN_CONTROLS = PIN_PREEMPTION_TIMER;
	assert_int_equal(run(&f, &p).exit, p.exit | EXIT_SAVE_PREEMPTION);
	p.exit_may &= ~(u32)EXIT_SAVE_PREEMPTION;
	assert_int_equal(run(&f, &p).exit, p.exit);
}

static void exceptions_and_tsc(void **state)
{
	struct merge_policy p = policy();
	struct vmcs12 f = { .EXCEPTION_BITMAP = BIT(VEC_PF), .TSC_OFFSET = 77 };
	(void)state;

	p.exception_bitmap = (u32)BIT(VEC_MC);
	assert_int_equal(run(&f, &p).exception_bitmap, BIT(VEC_PF) | BIT(VEC_MC));
	assert_int_equal(run(&f, &p).tsc.offset, 0);
	f.PROC_CONTROLS = PROC_TSC_OFFSET;
	assert_int_equal(run(&f, &p).tsc.offset, 77);
	p.tsc.offset = (u64)-1000;
	assert_int_equal(run(&f, &p).tsc.offset, 77 - 1000);
	assert_int_equal(run(&f, &p).proc2 & PROC2_TSC_SCALING, 0);
	f.PROC_CONTROLS |= PROC_SECONDARY;
	f.PROC2_CONTROLS = PROC2_TSC_SCALING;
	f.TSC_MULTIPLIER = TSC_ONE / 2;
	assert_int_equal(run(&f, &p).tsc.offset, 77 - 500);
	assert_int_equal(run(&f, &p).tsc.multiplier, TSC_ONE / 2);
	assert_true(run(&f, &p).proc2 & PROC2_TSC_SCALING);
	f.TSC_MULTIPLIER = TSC_ONE;
	assert_int_equal(run(&f, &p).tsc.offset, 77 - 1000);
	assert_int_equal(run(&f, &p).proc2 & PROC2_TSC_SCALING, 0); /* no need */
	f.TSC_MULTIPLIER = TSC_ONE / 2;
	f.PROC_CONTROLS &= ~PROC_TSC_OFFSET; /* neither has an effect */
	assert_int_equal(run(&f, &p).tsc.offset, (u64)-1000);
	assert_int_equal(run(&f, &p).proc2 & PROC2_TSC_SCALING, 0);
	p.tsc.multiplier = 3 * TSC_ONE; /* but L1's own has */
	assert_int_equal(run(&f, &p).tsc.multiplier, 3 * TSC_ONE);
	assert_true(run(&f, &p).proc2 & PROC2_TSC_SCALING);
}

/* ---- the TSC through several levels ---- */
/* The SDM's words, bit by bit of the product: IA32_TIME_STAMP_COUNTER times multiplier, shifted right 48 bits, plus offset. */
static u64 one_level(u64 tsc, u64 multiplier, u64 offset)
{
	u64 low = 0, high = 0;

	for (u32 i = 0; i < 64; i++) {
		if (!(multiplier & BIT(i)))
			continue;
		u64 add = tsc << i;
		high += (i ? tsc >> (64 - i) : 0) + (low + add < low);
		low += add;
	}
	return (high << 16 | low >> 48) + offset;
}

static u64 next(void)
{
	static u64 x = 0x9e3779b97f4a7c15;

	x ^= x << 13, x ^= x >> 7, x ^= x << 17;
	return x;
}

static struct vmcs12 scaling(u64 multiplier, u64 offset)
{
	return (struct vmcs12){ .PROC_CONTROLS = PROC_TSC_OFFSET | PROC_SECONDARY, .PROC2_CONTROLS = PROC2_TSC_SCALING,
				.TSC_MULTIPLIER = multiplier, .TSC_OFFSET = offset };
}

/*
 * Four levels, three of which scale by 1/16 to 16: at the moment of the merge as exact as each level's rounding, which the levels around it
 * multiply; later the composed one loses nothing that matters.
 */
static void tsc_of_all_levels(void **state)
{
	(void)state;
	for (u32 run_nr = 0; run_nr < 20000; run_nr++) {
		u64 now = next() >> (next() % 32), later = now + (next() >> 24), exact = now, exact_later = later;
		struct tsc_view view = { TSC_ONE, next() >> (next() % 64) };

		exact += view.offset;
		exact_later += view.offset;
		for (u32 level = 0; level < 3; level++) {
			u64 multiplier = TSC_ONE / 16 + next() % (16 * TSC_ONE), offset = next() & 1 ? next() : -(next() >> 40);
			const struct vmcs12 f = scaling(multiplier, offset);

			view = merge_tsc(&f, view, now);
			bool carried = exact_later < exact; /* L1's TSC goes over 2^64 meanwhile: then a product is another one */
			exact = one_level(exact, multiplier, offset);
			exact_later = one_level(exact_later, multiplier, offset);
			if (carried)
				exact_later = exact + tsc_seen(view, later) - tsc_seen(view, now);
			s64 wrong = (s64)(tsc_seen(view, now) - exact), wrong_later = (s64)(tsc_seen(view, later) - exact_later);
			if (wrong < -(s64)300 || wrong > 300 || wrong_later < -(s64)1000 || wrong_later > 1000)
				fail_msg("run %u, level %u: wrong by %ld, later by %ld", run_nr, level, (long)wrong, (long)wrong_later);
			if (!level && (wrong < -1 || wrong > 1))
				fail_msg("run %u: one multiplier: wrong by %ld", run_nr, (long)wrong);
		}
	}
}

/* What no multiplier of a processor can be. */
static void tsc_at_the_borders(void **state)
{
	struct vmcs12 f = scaling(1, 5);
	struct tsc_view view = merge_tsc(&f, (struct tsc_view){ 1, 0 }, BIT(60));

	(void)state;
	assert_int_equal(view.multiplier, 1); /* 0 would fail the entry */
	assert_int_equal(tsc_seen(view, BIT(60)), 5);
	f = scaling(~0ull, 5);
	view = merge_tsc(&f, (struct tsc_view){ ~0ull, 0 }, 3);
	assert_int_equal(view.multiplier, ~0ull);
	assert_int_equal(tsc_seen(view, 3), one_level(one_level(3, ~0ull, 0), ~0ull, 5));
	/* L1 has set its TSC so high that the sign of its offset says the wrong thing. */
	f = scaling(TSC_ONE / 2 * 3, 0);
	view = merge_tsc(&f, (struct tsc_view){ TSC_ONE, 3ull << 62 }, 1000);
	assert_int_equal(tsc_seen(view, 1000), one_level((3ull << 62) + 1000, TSC_ONE / 2 * 3, 0));
	view = merge_tsc(&f, (struct tsc_view){ TSC_ONE, (u64)-1000 }, 5000);
	assert_int_equal(tsc_seen(view, 5000), 6000);
}

static void control_registers(void **state)
{
	struct merge_policy p = policy();
	struct vmcs12 f = {
		.GUEST_CR0 = CR0_PE | CR0_NE | CR0_CD | CR0_TS, .CR0_MASK = CR0_TS | CR0_WP, .CR0_READ_SHADOW = CR0_WP,
		.GUEST_CR4 = CR4_PAE | CR4_MCE | CR4_VMXE, .CR4_MASK = CR4_VMXE, .CR4_READ_SHADOW = 0,
	};
	struct merged m = run(&f, &p);
	(void)state;

	assert_int_equal(m.cr0_mask, CR0_TS | CR0_WP | CR0_CD | CR0_NW | CR0_NE);
	/* L1's bits read as L1 says, ours as L2 believes. */
	assert_int_equal(m.cr0_shadow & m.cr0_mask, CR0_WP | CR0_CD | CR0_NE);
	assert_int_equal(m.cr0, f.GUEST_CR0);
	assert_int_equal(m.cr4_mask, CR4_VMXE | CR4_MCE);
	assert_int_equal(m.cr4_shadow & m.cr4_mask, CR4_MCE);
	assert_int_equal(m.cr4, CR4_PAE | CR4_VMXE);
	/* Nothing happened in L2: L1 finds what it wrote. */
	assert_int_equal(merge_cr_back(m.cr0, m.cr0_shadow, f.GUEST_CR0, f.CR0_MASK, p.cr0_owned), f.GUEST_CR0);
	assert_int_equal(merge_cr_back(m.cr4, m.cr4_shadow, f.GUEST_CR4, f.CR4_MASK, p.cr4_owned), f.GUEST_CR4);
	/* L2 set MP (nobody's) and cleared CD (ours, so in the shadow only); TS and WP stay L1's. */
	u64 back = merge_cr_back(m.cr0 | CR0_MP | CR0_WP, m.cr0_shadow & ~CR0_CD, f.GUEST_CR0, f.CR0_MASK, p.cr0_owned);
	assert_int_equal(back, (f.GUEST_CR0 | CR0_MP) & ~CR0_CD);
}

/* No control that only vmcs12 may ask for, no exit of ours lost: random words, fixed seed. */
static void never_loses_ours(void **state)
{
	u64 seed = 1;
	(void)state;

	for (u32 i = 0; i < 100000; i++) {
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		struct vmcs12 f = { .PIN_CONTROLS = (u32)seed, .PROC_CONTROLS = (u32)(seed >> 16), .PROC2_CONTROLS = (u32)(seed >> 32),
				    .EXIT_CONTROLS = (u32)(seed >> 8), .ENTRY_CONTROLS = (u32)(seed >> 24) };
		struct merge_policy p = policy();
		struct merged m = run(&f, &p);
		assert_int_equal(m.pin & (PIN_EXT_INT | PIN_NMI), PIN_EXT_INT | PIN_NMI);
		assert_true(m.proc & PROC_HLT);
		assert_true(m.proc & (PROC_IO_BITMAPS | PROC_UNCOND_IO));
		assert_true((m.proc & PROC_TPR_SHADOW) || (m.proc & PROC_CR8_LOAD && m.proc & PROC_CR8_STORE));
		assert_true(!(m.proc & PROC_MSR_BITMAPS) || proc12(&f, PROC_MSR_BITMAPS));
		assert_int_equal(m.proc2 & PROC2_EPT, PROC2_EPT);
		assert_int_equal(m.exit & ~(u32)EXIT_SAVE_PREEMPTION, p.exit & ~(u32)EXIT_SAVE_PREEMPTION);
		assert_int_equal(m.entry & ~(u32)ENTRY_IA32E, p.entry & ~(u32)ENTRY_IA32E);
		assert_false((m.proc & PROC_NMI_WINDOW) && !proc12(&f, PROC_NMI_WINDOW));
	}
}

/* ---- bitmaps ---- */
static u64 ours[512], l1[512], dst[512];

static void bitmap_or(void **state)
{
	struct open_words o;
	(void)state;

	memset(ours, 0xff, sizeof(ours));
	memset(dst, 0xff, sizeof(dst));
	memset(l1, 0, sizeof(l1));
	ours[5] = ~BIT(3);
	ours[300] = ~(BIT(0) | BIT(63));
	l1[300] = BIT(63);
	open_words_find(&o, ours, 512);
	assert_int_equal(o.nr, 2);
	merge_bitmap(dst, &o, ours, l1);
	for (u32 i = 0; i < 512; i++)
		assert_int_equal(dst[i], ours[i] | l1[i]);
	merge_bitmap(dst, &o, ours, NULL);
	for (u32 i = 0; i < 512; i++)
		assert_int_equal(dst[i], ~0ull);
}

/* More open words than are remembered: the rest keeps exiting, nothing passes that should not. */
static void bitmap_overflow(void **state)
{
	struct open_words o;
	(void)state;

	memset(ours, 0, sizeof(ours));
	memset(l1, 0, sizeof(l1));
	memset(dst, 0xff, sizeof(dst));
	open_words_find(&o, ours, 512);
	merge_bitmap(dst, &o, ours, l1);
	assert_int_equal(o.nr, BITMAP_WORDS);
	assert_int_equal(dst[BITMAP_WORDS - 1], 0);
	assert_int_equal(dst[BITMAP_WORDS], ~0ull);
}

static bool passes(bool write, u32 msr) { return !(dst[(write ? 256 : 0) + msr / 64] & BIT(msr % 64)); }

static u32 nr_passing(bool write)
{
	u32 n = 0;
	for (u32 msr = 0x800; msr < 0x900; msr++)
		n += passes(write, msr);
	return n;
}

static void x2apic(void **state)
{
	struct vmcs12 f = { .PROC_CONTROLS = PROC_SECONDARY | PROC_TPR_SHADOW };
	(void)state;

	memset(l1, 0, sizeof(l1));
	merge_x2apic(dst, &f, l1); /* L1 passes its own APIC on: we emulate that */
	assert_int_equal(nr_passing(false) + nr_passing(true), 0);
	f.PROC2_CONTROLS = PROC2_X2APIC;
	merge_x2apic(dst, &f, l1);
	assert_true(passes(false, 0x808) && passes(true, 0x808));
	assert_int_equal(nr_passing(false) + nr_passing(true), 2);
	f.PROC2_CONTROLS |= PROC2_VIRT_INT;
	merge_x2apic(dst, &f, l1);
	assert_true(passes(true, 0x808) && passes(true, 0x80b) && passes(true, 0x83f));
	assert_int_equal(nr_passing(true), 3);
	f.PROC2_CONTROLS |= PROC2_APIC_REGS;
	merge_x2apic(dst, &f, l1);
	assert_int_equal(nr_passing(false), 256);
	l1[0x839 / 64] = BIT(0x839 % 64); /* L1 wants this one */
	merge_x2apic(dst, &f, l1);
	assert_int_equal(nr_passing(false), 255);
	assert_false(passes(false, 0x839));
	merge_x2apic(dst, &f, NULL);
	assert_int_equal(nr_passing(false) + nr_passing(true), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pin), cmocka_unit_test(proc), cmocka_unit_test(proc2), cmocka_unit_test(exit_and_entry),
		cmocka_unit_test(exceptions_and_tsc), cmocka_unit_test(tsc_of_all_levels), cmocka_unit_test(tsc_at_the_borders),
		cmocka_unit_test(control_registers), cmocka_unit_test(never_loses_ours),
		cmocka_unit_test(bitmap_or), cmocka_unit_test(bitmap_overflow), cmocka_unit_test(x2apic),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
