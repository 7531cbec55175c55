/*
 * Mutation of the VM-entry checks: with any single row of checks_ctl, checks_host or checks_guest disabled, at least one
 * vector of tests/conform/vectors_*.c (the same that conform.elf runs on processors) has another answer. And with all
 * rows every vector has the answer that the SDM gives it.
 *
 * CONFORM_TABLE=1 in the environment: prints the sentences of the SDM with the rows that refuse their vectors, as in
 * tests/conform/README.md.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/conform/vectors.h"
#include "tests/unit/nested_hw.h"

struct vmx_caps vmx_caps;

_Static_assert(sizeof(struct vstate) == sizeof(struct vmcs12), "one order of fields");

#define MAX_VECTORS 4096
#define MAX_CHECKS 512

struct vector {
	struct vmcs12 f;
	struct check_ctx c;
	const struct nested_caps *caps;
	const char *row, *sentence;
	int want, seen; /* enum expect */
	const struct check *refused;
};
static struct vector vectors[MAX_VECTORS];
static u32 nr_vectors;

/* ---- processors to stand for ---- */
enum { CPU_FULL, CPU_RELAXED, CPU_NO_MTF, CPU_NO_HLT, NR_CPUS };
static struct nested_caps models[NR_CPUS];

static void make_cpus(void)
{
	for (u32 i = 0; i < NR_CPUS; i++)
		models[i] = full_caps();
	models[CPU_RELAXED].basic |= BIT(56);
	models[CPU_RELAXED].misc |= BIT(30);
	models[CPU_NO_MTF].proc.may &= ~(u32)PROC_MTF;
	models[CPU_NO_HLT].misc &= ~BITS(8, 6);
}

/* ---- memory that vectors name ---- */
static u8 vapic[4096];
static u32 link_words[1024];
static u64 pdptes[4] = { 0x11000, 0x12000, 0x13000, 0x14000 };
static struct env env;

static void make_env(const struct nested_caps *c)
{
	env = (struct env){
		.basic = c->basic, .misc = c->misc, .ept_vpid = c->ept_vpid, .cr0_fixed0 = c->cr0_fixed0, .cr0_fixed1 = c->cr0_fixed1,
		.cr4_fixed0 = c->cr4_fixed0, .cr4_fixed1 = c->cr4_fixed1, .pin = c->pin, .proc = c->proc, .proc2 = c->proc2,
		.exit = c->exit, .entry = c->entry, .maxpa = c->maxphyaddr, .revision = NESTED_REVISION,
		.io_a = 0x1000, .io_b = 0x2000, .msr_bitmap = 0x3000, .vapic = 0x4000, .apic_access = 0xfee00000, .ept_root = 0x5000,
		.link = 0x6000, .pi_desc = 0x8000, .msr_area = 0x9000, .this_vmcs = 0xa000, .pae_pdpt = 0xb000,
		.vapic_bytes = vapic, .link_words = link_words, .pdptes = pdptes,
		.host_rip = 0x200000, .host_rsp = 0x201000, .host_cr3 = 0xd000, .guest_rip = 0x202000, .guest_rip32 = 0x202000,
		.guest_rsp = 0x203000, .guest_cr3 = 0xd000,
	};
}

/* What the engine collects before the checks (nested_entry.c). */
static struct check_ctx context(const struct nested_caps *caps, const struct vmcs12 *f)
{
	struct check_ctx c = { .caps = caps, .l1_long = true, .current_gpa = env.this_vmcs, .vtpr = vapic[0x80] };

	/* More than the engine reads: behind a bad address, too, so that the row on the address is needed for itself. */
	c.link_revision = (f->VMCS_LINK_PTR & BITS(31, 12)) == env.link ? link_words[0] : env.revision;
	c.pdptes_read = true;
	for (u32 i = 0; i < 4; i++)
		c.pdpte[i] = pdptes[i];
	if (proc2_12(f, PROC2_EPT)) {
		c.pdpte[0] = f->GUEST_PDPTE0;
		c.pdpte[1] = f->GUEST_PDPTE1;
		c.pdpte[2] = f->GUEST_PDPTE2;
		c.pdpte[3] = f->GUEST_PDPTE3;
	}
	return c;
}

/* ---- collecting the vectors ---- */
static const struct nested_caps *cpu;
static const char *row_name, *row_sentence;
static char skipped[64][48];
static u32 nr_skipped;

static bool row(struct walk *w, const char *name, const char *sentence, const char *why)
{
	(void)w;
	row_name = name;
	row_sentence = sentence;
	if (why && cpu == &models[CPU_FULL] && nr_skipped < 64)
		snprintf(skipped[nr_skipped++], sizeof(skipped[0]), "%s", name);
	return !why;
}

static struct vector *add(enum expect want)
{
	struct vector *v = &vectors[nr_vectors++];

	assert_true(nr_vectors < MAX_VECTORS);
	*v = (struct vector){ .caps = cpu, .row = row_name, .sentence = row_sentence, .want = (int)want };
	return v;
}

static void vector(struct walk *w, enum expect want)
{
	struct vector *v = add(want);

	memcpy(&v->f, &w->s, sizeof(v->f));
	v->c = context(cpu, &v->f);
}

/* Sentences about an L1 outside IA-32e mode, which conform.elf never is. */
#define HOST32 (v->c.l1_long = false, v->f.EXIT_CONTROLS &= ~EXIT_HOST_64, v->f.HOST_EFER = 0, v->f.HOST_SS_SEL = 0x10)
static void vector32(const char *name, const char *sentence, int change, enum expect want)
{
	struct vstate s;
	struct vector *v;

	row_name = name;
	row_sentence = sentence;
	base_state(&s, &env, BASE_32);
	v = add(want);
	memcpy(&v->f, &s, sizeof(v->f));
	v->c = context(cpu, &v->f);
	HOST32;
	switch (change) {
	case 1: v->f.HOST_SS_SEL = 0; break;
	case 2: v->f.ENTRY_CONTROLS |= ENTRY_IA32E; break;
	case 3: v->f.EXIT_CONTROLS |= EXIT_HOST_64; v->f.HOST_EFER = EFER_LME | EFER_LMA; break;
	case 4: v->f.HOST_CR4 |= CR4_PCIDE; break;
	case 5: v->f.HOST_RIP |= BIT(32); break;
	case 6: v->c.l1_long = true; break;
	default: break;
	}
}

static void vectors_32_bit_host(void)
{
	vector32("host32", "a 32-bit host outside IA-32e mode is valid", 0, ENTERS);
	vector32("host32.ss-null", "the host SS selector must not be 0000H with a 32-bit host", 1, E_HOST);
	vector32("host32.ia32e-guest", "outside IA-32e mode IA-32e mode guest must be 0", 2, E_HOST);
	vector32("host32.size", "outside IA-32e mode the host address-space size must be 0", 3, E_HOST);
	vector32("host32.pcide", "a 32-bit host has CR4.PCIDE clear", 4, E_HOST);
	vector32("host32.rip", "bits 63:32 of the RIP of a 32-bit host must be 0", 5, E_HOST);
	vector32("host32.now-64", "in IA-32e mode the host address-space size must be 1", 6, E_HOST);
}

static int collect(void **state)
{
	struct walk w = { .e = &env, .row = row, .vector = vector };

	(void)state;
	make_cpus();
	for (u32 i = 0; i < NR_CPUS; i++) {
		cpu = &models[i];
		make_env(cpu);
		vectors_execution(&w);
		vectors_apic(&w);
		vectors_exit_entry(&w);
		vectors_injection(&w);
		vectors_host(&w);
		vectors_registers(&w);
		vectors_segments(&w);
		vectors_system(&w);
		vectors_state(&w);
		vectors_32_bit_host();
	}
	for (u32 i = 0; i < nr_vectors; i++) {
		vectors[i].c.f = &vectors[i].f;
		vectors[i].c.caps = vectors[i].caps;
	}
	return 0;
}

/* ---- the engine's answer, one row left out ---- */
static const struct check *refusal(const struct check *rows, u32 n, const struct check_ctx *c, const struct check *without)
{
	for (u32 i = 0; i < n; i++)
		if (&rows[i] != without && !rows[i].holds(c))
			return &rows[i];
	return NULL;
}

static int answer(const struct check_ctx *c, const struct check *without, const struct check **by)
{
	if ((*by = refusal(checks_ctl, nr_checks_ctl, c, without)))
		return E_CONTROLS;
	if ((*by = refusal(checks_host, nr_checks_host, c, without)))
		return E_HOST;
	if (!(*by = refusal(checks_guest, nr_checks_guest, c, without)))
		return ENTERS;
	switch ((*by)->failure) {
	case ENTRY_FAIL_PDPTE: return E_PDPTE;
	case ENTRY_FAIL_NMI: return E_NMI;
	case ENTRY_FAIL_LINK_PTR: return E_LINK;
	default: return E_GUEST;
	}
}

static void every_vector(void **state)
{
	u32 wrong = 0;

	(void)state;
	for (u32 i = 0; i < nr_vectors; i++) {
		struct vector *v = &vectors[i];
		v->seen = answer(&v->c, NULL, &v->refused);
		if (v->seen == v->want)
			continue;
		wrong++;
		fprintf(stderr, "%s: vector %u: expected %d, saw %d by \"%s\"\n", v->row, i, v->want, v->seen, v->refused ? v->refused->name
		       : "");
	}
	assert_true(nr_vectors > 1000);
	assert_int_equal(wrong, 0);
}

/* Rows that another row repeats in every state that exists, so that no vector can need them; with what repeats them. */
static const struct { const char *name, *by; } repeated[] = {
	{ "entry to SMM, or end of dual-monitor treatment, outside SMM", "reserved bits of the VM-entry controls: neither is offered" },
	{ "IA-32e mode guest of a 32-bit host", "the rows on the mode now: a 64-bit L1 has a 64-bit host, a 32-bit L1 no IA-32e guest" },
	{ "IA-32e mode guest entered from outside IA-32e mode", "the row before, and a 32-bit L1 has a 32-bit host" },
};

static bool is_repeated(const struct check *r)
{
	for (u32 i = 0; i < ARRAY_SIZE(repeated); i++)
		if (!strcmp(repeated[i].name, r->name))
			return true;
	return false;
}

static bool needed(const struct check *r)
{
	const struct check *by;

	for (u32 i = 0; i < nr_vectors; i++)
		if (vectors[i].refused == r && answer(&vectors[i].c, r, &by) != vectors[i].seen)
			return true;
	return false;
}

static u32 unneeded(const struct check *rows, u32 n)
{
	u32 count = 0;

	for (u32 i = 0; i < n; i++)
		if (needed(&rows[i]) == is_repeated(&rows[i])) {
			fprintf(stderr, "\"%s\": %s\n", rows[i].name, is_repeated(&rows[i]) ? "is needed after all" : "no vector needs it");
			count++;
		}
	return count;
}

static void mutations(void **state)
{
	(void)state;
	assert_int_equal(unneeded(checks_ctl, nr_checks_ctl) + unneeded(checks_host, nr_checks_host) + unneeded(checks_guest,
	       nr_checks_guest), 0);
}

/* ---- the table ---- */
static void refusals_of(const char *name)
{
	const struct check *told[16];
	u32 n = 0;

	for (u32 i = 0; i < nr_vectors && n < 16; i++) {
		const struct check *r = vectors[i].refused;
		bool again = !r || strcmp(vectors[i].row, name);
		for (u32 k = 0; k < n && !again; k++)
			again = told[k] == r;
		if (again)
			continue;
		printf("%s%s", n ? "; " : "", r->name);
		told[n++] = r;
	}
}

static void table(void **state)
{
	const char *last = "";

	(void)state;
	for (u32 i = 0; getenv("CONFORM_TABLE") && i < nr_vectors && vectors[i].caps == &models[CPU_FULL]; i++) {
		if (!strcmp(vectors[i].row, last))
			continue;
		last = vectors[i].row;
		printf("| `%s` | %s | ", last, vectors[i].sentence);
		refusals_of(last);
		printf(" |\n");
	}
	for (u32 i = 0; getenv("CONFORM_TABLE") && i < nr_skipped; i++)
		printf("| `%s` | left out: not offered | |\n", skipped[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(every_vector), cmocka_unit_test(mutations), cmocka_unit_test(table) };

	return cmocka_run_group_tests(tests, collect, NULL);
}
