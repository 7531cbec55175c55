/*
 * Parser of the ACPI table DMAR, and the decision which unit covers a device (dmar.h).
 *
 * Invariant: every read goes through a struct view whose bounds were checked before; a length of zero or one that leaves
 * the table ends the parse with a reason.
 */
#include "iommu/dmar.h"

#include <string.h>

#include "core/errno.h"

/* VT-d 3.4, DMA Remapping Reporting Structure. */
#define DMAR_OFF_LENGTH 4
#define DMAR_OFF_WIDTH 36
#define DMAR_OFF_FLAGS 37
#define DMAR_HEADER_SIZE 48
enum { DMAR_TYPE_DRHD = 0, DMAR_TYPE_RMRR = 1, DMAR_TYPE_ATSR = 2 };
#define DMAR_STRUCT_MIN 4
/* Offsets inside a structure: type (2), length (2), then by type. */
#define DRHD_OFF_FLAGS 4
#define DRHD_OFF_SEGMENT 6
#define DRHD_OFF_BASE 8
#define DRHD_SIZE 16
#define RMRR_OFF_SEGMENT 6
#define RMRR_OFF_BASE 8
#define RMRR_OFF_LIMIT 16
#define RMRR_SIZE 24
#define ATSR_OFF_FLAGS 4
#define ATSR_OFF_SEGMENT 6
#define ATSR_SIZE 8
/* Device Scope Structure. */
#define SCOPE_OFF_LENGTH 1
#define SCOPE_OFF_ID 4
#define SCOPE_OFF_BUS 5
#define SCOPE_SIZE 6
#define SCOPE_STEP 2

struct bytes { const u8 *p; u32 len; };

static u16 get16(struct bytes b, u32 off) { return (u16)(b.p[off] | b.p[off + 1] << 8); }
static u32 get32(struct bytes b, u32 off) { return get16(b, off) | (u32)get16(b, off + 2) << 16; }
static u64 get64(struct bytes b, u32 off) { return get32(b, off) | (u64)get32(b, off + 4) << 32; }

static int corrupt(const char **why, const char *reason)
{
	*why = reason;
	return -EINVAL;
}

/* One scope of at least SCOPE_SIZE bytes. */
static int parse_scope(struct dmar *d, struct bytes b, struct dmar_scopes *run, const char **why)
{
	u32 steps = (b.len - SCOPE_SIZE) / SCOPE_STEP;

	if ((b.len - SCOPE_SIZE) % SCOPE_STEP || steps == 0)
		return corrupt(why, "a device scope's path is empty or ends in the middle of a step");
	if (b.p[0] < DMAR_ENDPOINT || b.p[0] > DMAR_NAMESPACE)
		return 0;
	if (steps > DMAR_MAX_PATH) {
		d->ignored++;
		return 0;
	}
	if (d->nr_scopes == DMAR_MAX_SCOPES)
		return corrupt(why, "more device scopes than we have room for");
	struct dmar_scope *s = &d->scopes[d->nr_scopes++];
	*s = (struct dmar_scope){ .type = b.p[0], .id = b.p[SCOPE_OFF_ID], .start_bus = b.p[SCOPE_OFF_BUS], .steps = (u8)steps };
	for (u32 i = 0; i < steps; i++) {
		s->path[i].device = b.p[SCOPE_SIZE + i * SCOPE_STEP];
		s->path[i].function = b.p[SCOPE_SIZE + i * SCOPE_STEP + 1];
		if (s->path[i].device > 31 || s->path[i].function > 7)
			return corrupt(why, "a device scope names a device above 31 or a function above 7");
	}
	run->count++;
	return 0;
}

static int parse_scopes(struct dmar *d, struct bytes b, struct dmar_scopes *run, const char **why)
{
	*run = (struct dmar_scopes){ .first = d->nr_scopes };
	while (b.len) {
		if (b.len < SCOPE_SIZE || b.p[SCOPE_OFF_LENGTH] < SCOPE_SIZE || b.p[SCOPE_OFF_LENGTH] > b.len)
			return corrupt(why, "a device scope's length is wrong");
		u32 len = b.p[SCOPE_OFF_LENGTH];
		int err = parse_scope(d, (struct bytes){ b.p, len }, run, why);
		if (err)
			return err;
		b.p += len;
		b.len -= len;
	}
	return 0;
}

static struct bytes tail(struct bytes b, u32 off) { return (struct bytes){ b.p + off, b.len - off }; }

static int parse_drhd(struct dmar *d, struct bytes b, const char **why)
{
	if (b.len < DRHD_SIZE)
		return corrupt(why, "a DRHD is too short");
	if (d->nr_units == DMAR_MAX_UNITS)
		return corrupt(why, "more DRHDs than we have room for");
	struct dmar_unit *u = &d->units[d->nr_units];
	*u = (struct dmar_unit){ .flags = b.p[DRHD_OFF_FLAGS], .segment = get16(b, DRHD_OFF_SEGMENT), .base = get64(b, DRHD_OFF_BASE) };
	if (!u->base || !IS_ALIGNED(u->base, PAGE_SIZE))
		return corrupt(why, "a DRHD's register base is zero or not page aligned");
	if (u->base >= BIT(d->width))
		return corrupt(why, "a DRHD's register base is beyond the host address width");
	for (u32 i = 0; i < d->nr_units; i++) {
		const struct dmar_unit *o = &d->units[i];
		if (o->base == u->base)
			return corrupt(why, "two DRHDs have the same register base");
		if (o->segment == u->segment && o->flags & u->flags & DMAR_INCLUDE_PCI_ALL)
			return corrupt(why, "two DRHDs of a segment claim all remaining devices");
	}
	d->nr_units++;
	return parse_scopes(d, tail(b, DRHD_SIZE), &u->scopes, why);
}

static int parse_rmrr(struct dmar *d, struct bytes b, const char **why)
{
	if (b.len < RMRR_SIZE)
		return corrupt(why, "an RMRR is too short");
	struct dmar_rmrr r = { .segment = get16(b, RMRR_OFF_SEGMENT), .base = get64(b, RMRR_OFF_BASE), .limit = get64(b, RMRR_OFF_LIMIT) };
	int err = parse_scopes(d, tail(b, RMRR_SIZE), &r.scopes, why);

	if (err)
		return err;
	if (r.base >= r.limit || !IS_ALIGNED(r.base, PAGE_SIZE) || !IS_ALIGNED(r.limit + 1, PAGE_SIZE) || r.limit >= BIT(d->width)) {
		d->ignored++;
		return 0;
	}
	if (d->nr_rmrrs == DMAR_MAX_RMRRS)
		return corrupt(why, "more RMRRs than we have room for");
	d->rmrrs[d->nr_rmrrs++] = r;
	return 0;
}

static int parse_atsr(struct dmar *d, struct bytes b, const char **why)
{
	if (b.len < ATSR_SIZE)
		return corrupt(why, "an ATSR is too short");
	if (d->nr_atsrs == DMAR_MAX_ATSRS)
		return corrupt(why, "more ATSRs than we have room for");
	struct dmar_atsr *a = &d->atsrs[d->nr_atsrs++];
	*a = (struct dmar_atsr){ .flags = b.p[ATSR_OFF_FLAGS], .segment = get16(b, ATSR_OFF_SEGMENT) };
	return parse_scopes(d, tail(b, ATSR_SIZE), &a->scopes, why);
}

static int parse_struct(struct dmar *d, struct bytes b, const char **why)
{
	switch (get16(b, 0)) {
	case DMAR_TYPE_DRHD: return parse_drhd(d, b, why);
	case DMAR_TYPE_RMRR: return parse_rmrr(d, b, why);
	case DMAR_TYPE_ATSR: return parse_atsr(d, b, why);
	default: return 0;
	}
}

int dmar_parse(const void *table, u32 len, struct dmar *out, const char **why)
{
	struct bytes b = { table, len };

	*why = NULL;
	memset(out, 0, sizeof(*out));
	if (len < DMAR_HEADER_SIZE || memcmp(b.p, "DMAR", 4) != 0)
		return corrupt(why, "no DMAR header");
	if (get32(b, DMAR_OFF_LENGTH) != len)
		return corrupt(why, "the header's length is not that of the table");
	out->width = b.p[DMAR_OFF_WIDTH] + 1u > 63 ? 63 : (u8)(b.p[DMAR_OFF_WIDTH] + 1);
	out->flags = b.p[DMAR_OFF_FLAGS];
	for (b = tail(b, DMAR_HEADER_SIZE); b.len; ) {
		u32 n = b.len < DMAR_STRUCT_MIN ? 0 : get16(b, 2);
		if (n < DMAR_STRUCT_MIN || n > b.len)
			return corrupt(why, "a structure's length is wrong");
		int err = parse_struct(out, (struct bytes){ b.p, n }, why);
		if (err)
			return err;
		b = tail(b, n);
	}
	return 0;
}

bool dmar_scope_rid(const struct dmar_scope *s, const struct dmar_topology *t, rid_t *out)
{
	u8 bus = s->start_bus, last;

	for (u32 i = 0; ; i++) {
		*out = RID(bus, s->path[i].device, s->path[i].function);
		if (i + 1 == s->steps)
			return true;
		if (!t->bridge(t->arg, *out, &bus, &last))
			return false;
	}
}

#define SPAN_ALL 0x10000u  /* buses that a match covers: more than any bridge */
#define SPAN_NONE (~0u)

/* How many buses the scope covers if it covers rid: the fewer, the better the match. */
static u32 scope_span(const struct dmar_scope *s, rid_t rid, const struct dmar_topology *t)
{
	rid_t named;
	u8 first, last;

	if ((s->type != DMAR_ENDPOINT && s->type != DMAR_BRIDGE) || !dmar_scope_rid(s, t, &named))
		return SPAN_NONE;
	if (named.v == rid.v)
		return 0;
	if (s->type != DMAR_BRIDGE || !t->bridge(t->arg, named, &first, &last))
		return SPAN_NONE;
	u8 bus = rid.v >> 8;
	return bus >= first && bus <= last ? last - first + 1u : SPAN_NONE;
}

int dmar_unit_for(const struct dmar *d, rid_t rid, const struct dmar_topology *t)
{
	int found = -ENODEV;
	u32 best = SPAN_NONE;

	for (u32 i = 0; i < d->nr_units; i++) {
		const struct dmar_unit *u = &d->units[i];
		if (u->segment != 0)
			continue;
		u32 span = u->flags & DMAR_INCLUDE_PCI_ALL ? SPAN_ALL : SPAN_NONE;
		for (u32 k = 0; k < u->scopes.count; k++)
			span = MIN(span, scope_span(&d->scopes[u->scopes.first + k], rid, t));
		if (span < best) {
			best = span;
			found = (int)i;
		}
	}
	return found;
}
