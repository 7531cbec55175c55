/*
 * Random VMCS states (validate.h): valid ones with one to three fields changed.
 *
 * Invariant: the case number alone decides, given the environment. A field that leads somewhere (addresses, RIP, host
 * state, MSR counts, activity) is left as it was if its change alone would be let in.
 */
#include "tests/conform/validate.h"

static const struct { const char *name; u16 enc; } fields[NR_FIELDS] = {
#define FIELD_ROW(name, enc) { #name, enc },
	VMCS_FIELDS(FIELD_ROW)
#undef FIELD_ROW
};

/* splitmix64: a good sequence from any start. */
static u64 next(u64 *state)
{
	u64 z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static u64 field_mask(u32 enc)
{
	static const u64 masks[4] = { 0xffff, ~0ull, 0xffffffff, ~0ull };

	return masks[FIELD_GET(VMCS_ENC_WIDTH, enc)];
}

static bool read_only(u32 enc) { return FIELD_GET(VMCS_ENC_TYPE, enc) == 1; }
static bool leads_somewhere(u32 enc)
{
	if (FIELD_GET(VMCS_ENC_TYPE, enc) == 3 || (FIELD_GET(VMCS_ENC_TYPE, enc) == 0 && FIELD_GET(VMCS_ENC_WIDTH, enc) == 1))
		return true;
	switch (enc) {
	case VMCS_GUEST_RIP: case VMCS_GUEST_RSP: case VMCS_GUEST_CR3: case VMCS_GUEST_CS_BASE:
	case VMCS_GUEST_SS_BASE: case VMCS_GUEST_GDTR_BASE:
	case VMCS_GUEST_IDTR_BASE: case VMCS_GUEST_TR_BASE: case VMCS_GUEST_LDTR_BASE: case VMCS_GUEST_PDPTE0: case VMCS_GUEST_PDPTE1:
	case VMCS_GUEST_PDPTE2: case VMCS_GUEST_PDPTE3: case VMCS_EXIT_MSR_STORE_COUNT: case VMCS_EXIT_MSR_LOAD_COUNT:
	case VMCS_ENTRY_MSR_LOAD_COUNT: case VMCS_GUEST_ACTIVITY: case VMCS_PIN_CONTROLS:
	case VMCS_PROC2_CONTROLS: case VMCS_EXIT_CONTROLS:
	case VMCS_ENTRY_CONTROLS: case VMCS_PREEMPTION_TIMER: case VMCS_EXCEPTION_BITMAP:
		return true;
	default:
		return false;
	}
}

static u64 changed(u64 value, u64 mask, u64 *rng)
{
	u64 bit = BIT(next(rng) & 63), how = next(rng) % 16;

	if (!(bit & mask))
		bit = BIT(next(rng) % (64 - (u64)__builtin_clzll(mask)));
	switch (how) {
	case 0: return 0;
	case 1: return mask;
	case 2: return next(rng) & mask;
	case 3: return bit;
	case 4: return (bit - 1) & mask;
	case 5: return (value + 1) & mask;
	case 6: return (value ^ bit ^ BIT(next(rng) & 63)) & mask;
	default: return (value ^ bit) & mask;
	}
}

static u32 pick(u64 *rng)
{
	u32 i;

	do
		i = (u32)(next(rng) % NR_FIELDS);
	while (read_only(fields[i].enc));
	return i;
}

void random_state(u64 n, const struct env *e, struct vstate *s, const struct memory *m, struct random_case *what)
{
	u64 rng = n * 0x100000001b3ull + 12345, *v = (u64 *)s;
	u32 changes = 1 + (u32)(next(&rng) % 3);
	enum base b = (enum base)(next(&rng) % NR_BASES);
	struct vstate valid, alone;

	if (!base_possible(e, b))
		b = BASE_LONG;
	base_state(s, e, b);
	s->PML_ADDR = s->VE_INFO_ADDR = s->EPTP_LIST_ADDR = s->VMREAD_BITMAP = s->VMWRITE_BITMAP = e->pi_desc;
	s->TSC_MULTIPLIER = BIT(48);
	s->PREEMPTION_TIMER = 200000;
	s->GUEST_IDTR_LIMIT = 0; /* what is delivered ends in an exit */
	valid = *s;
	if (next(&rng) % 4 == 0) /* an event, more often than by chance */
		s->ENTRY_INTR_INFO = INTR_VALID | (next(&rng) & 0xfff);
	*what = (struct random_case){ .base = b };
	for (u32 i = 0; i < changes; i++) {
		u32 f = pick(&rng);
		u64 value = changed(v[f], field_mask(fields[f].enc), &rng);
		alone = valid;
		((u64 *)&alone)[f] = value;
		if (leads_somewhere(fields[f].enc) && (validate(e, &alone, m) & ANSWER(ENTERS)))
			continue;
		v[f] = value;
		what->change[what->nr].field = fields[f].name;
		what->change[what->nr++].value = value;
	}
}
