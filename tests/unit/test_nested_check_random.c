/*
 * The VM-entry checks of the nested engine against a validator of their own making (tests/conform/validate.c): hundreds
 * of thousands of random states, the same that conform.elf runs on processors, each with the answer that the SDM's rules
 * give.
 */
#include <stdio.h>

#include "tests/conform/validate.h"
#include "tests/unit/nested_hw.h"

struct vmx_caps vmx_caps;

#define CASES 300000u

static u8 vapic[4096];
static u32 link_words[2];
static u64 pdptes[4] = { 0x11000, 0x12000, 0x13000, 0x14000 };
static struct env env;
static struct nested_caps caps;

/* Memory has only what a state of ours names; the rest is zero. */
static u64 read_memory(u64 address)
{
	if (address == env.link)
		return link_words[0];
	if (address == env.this_vmcs)
		return env.revision;
	return address >= env.pae_pdpt && address < env.pae_pdpt + 32 ? pdptes[(address - env.pae_pdpt) / 8] : 0;
}

static void make_env(void)
{
	caps = full_caps();
	env = (struct env){
		.basic = caps.basic, .misc = caps.misc, .ept_vpid = caps.ept_vpid, .cr0_fixed0 = caps.cr0_fixed0, .cr0_fixed1 = caps.cr0_fixed1,
		.cr4_fixed0 = caps.cr4_fixed0, .cr4_fixed1 = caps.cr4_fixed1, .pin = caps.pin, .proc = caps.proc, .proc2 = caps.proc2,
		.exit = caps.exit, .entry = caps.entry, .maxpa = caps.maxphyaddr, .revision = NESTED_REVISION,
		.io_a = 0x1000, .io_b = 0x2000, .msr_bitmap = 0x3000, .vapic = 0x4000, .apic_access = 0xfee00000, .ept_root = 0x5000,
		.link = 0x6000, .pi_desc = 0x8000, .msr_area = 0x9000, .this_vmcs = 0xa000, .pae_pdpt = 0xb000,
		.vapic_bytes = vapic, .link_words = link_words, .pdptes = pdptes,
		.host_rip = 0x200000, .host_rsp = 0x201000, .host_cr3 = 0xd000, .guest_rip = 0x202000, .guest_rip32 = 0x202000,
		.guest_rsp = 0x203000, .guest_cr3 = 0xd000,
	};
}

static u32 engine_answer(const struct vmcs12 *f)
{
	struct check_ctx c = { .f = f, .caps = &caps, .l1_long = true, .current_gpa = env.this_vmcs, .vtpr = vapic[0x80],
	       .pdptes_read = true };
	const u64 fields[4] = { f->GUEST_PDPTE0, f->GUEST_PDPTE1, f->GUEST_PDPTE2, f->GUEST_PDPTE3 };
	const struct check *bad;

	c.link_revision = (u32)read_memory(f->VMCS_LINK_PTR);
	for (u32 i = 0; i < 4; i++)
		c.pdpte[i] = proc2_12(f, PROC2_EPT) ? fields[i] : read_memory((f->GUEST_CR3 & BITS(31, 5)) + 8 * i);
	if (checks_run(checks_ctl, nr_checks_ctl, &c))
		return ANSWER(E_CONTROLS);
	if (checks_run(checks_host, nr_checks_host, &c))
		return ANSWER(E_HOST);
	bad = checks_run(checks_guest, nr_checks_guest, &c);
	if (!bad)
		return ANSWER(ENTERS);
	return bad->failure == ENTRY_FAIL_PDPTE ? ANSWER(E_PDPTE) : bad->failure == ENTRY_FAIL_LINK_PTR ? ANSWER(E_LINK) : ANSWER(E_GUEST);
}

static void engine_and_validator_agree(void **state)
{
	struct memory m = { .read = read_memory };
	struct random_case what;
	struct vstate s;
	struct vmcs12 f;
	u32 wrong = 0, entered = 0;

	(void)state;
	make_env();
	for (u32 n = 0; n < CASES && wrong < 20; n++) {
		random_state(n, &env, &s, &m, &what);
		memcpy(&f, &s, sizeof(f));
		u32 set = validate(&env, &s, &m), saw = engine_answer(&f);
		entered += saw == ANSWER(ENTERS);
		if (saw & set)
			continue;
		wrong++;
		fprintf(stderr, "case %u, base %d: expected one of %x, saw %x:", n, (int)what.base, set, saw);
		for (u32 i = 0; i < what.nr; i++)
			fprintf(stderr, " %s=%llx", what.change[i].field, (unsigned long long)what.change[i].value);
		fprintf(stderr, "\n");
	}
	assert_int_equal(wrong, 0);
	assert_in_range(entered, CASES / 5, CASES * 4 / 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(engine_and_validator_agree) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
