/* The model of VT-d units (vtd_model.h), written from the specification and not from the driver. */
#include <string.h>

#include "core/x86.h"
#include "tests/unit/vtd_model.h"

struct model models[MODEL_UNITS];

static u64 *reg64(struct model *m, u32 reg) { return &m->regs[reg / 8]; }
static u32 *reg32(struct model *m, u32 reg) { return (u32 *)m->regs + reg / 4; }
u32 model_reg32(const struct model *m, u32 reg) { return ((const u32 *)m->regs)[reg / 4]; }

static void violate(struct model *m, const char *what)
{
	m->violations++;
	m->violation = what;
}
static void rule(struct model *m, bool kept, const char *what)
{
	if (!kept)
		violate(m, what);
}

void model_reset(struct model *m, u64 cap, u64 ecap)
{
	memset(m, 0, sizeof(*m));
	*reg32(m, 0x00) = 0x10;
	*reg64(m, 0x08) = cap;
	*reg64(m, 0x10) = ecap;
	*reg32(m, 0x38) = 1u << 31;
}

static bool caching_mode(struct model *m) { return *reg64(m, 8) >> 7 & 1; }
static bool on(struct model *m, u32 bit) { return *reg32(m, 0x1c) >> bit & 1; }
static u32 records(struct model *m) { return (*reg64(m, 8) >> 40 & 0xff) + 1; }
static u32 record_at(struct model *m, u32 i) { return (*reg64(m, 8) >> 24 & 0x3ff) * 16 + i * 16; }

/* ---- faults ---- */

static void update_ppf(struct model *m)
{
	*reg32(m, 0x34) &= ~2u;
	for (u32 i = 0; i < records(m); i++)
		if (*reg64(m, record_at(m, i) + 8) >> 63)
			*reg32(m, 0x34) |= 2;
}

static u32 fault(struct model *m, rid_t rid, u64 info, u32 reason, bool read)
{
	u32 *status = reg32(m, 0x34), i = 0;

	if (*status & 1)
		return reason;
	while (i < records(m) && *reg64(m, record_at(m, i) + 8) >> 63)
		i++;
	if (i == records(m)) {
		*status |= 1;
		return reason;
	}
	*reg64(m, record_at(m, i)) = info;
	*reg64(m, record_at(m, i) + 8) = 1ull << 63 | (u64)read << 62 | (u64)reason << 32 | rid.v;
	if (!(*status & 0x73) && !(*reg32(m, 0x38) >> 31))
		m->events++;
	update_ppf(m);
	return reason;
}

/* The unit can record again: once, and then there is no room. */
static void storm(struct model *m)
{
	for (u32 i = 0; i < 2 && m->storm.v; i++)
		fault(m, m->storm, 0x7000, 5, false);
}

/* ---- invalidation ---- */

static void flush_contexts(struct model *m, u64 lo)
{
	u32 granularity = lo >> 4 & 3;

	for (u32 i = 0; i < ARRAY_SIZE(m->contexts); i++) {
		bool did = m->contexts[i].did == (u16)(lo >> 16), rid = m->contexts[i].rid == (u16)(lo >> 32);
		if (granularity == 1 || (granularity == 2 && did) || (granularity == 3 && did && rid))
			m->contexts[i].valid = false;
	}
}

static bool flush_tlb(struct model *m, u64 lo, u64 hi)
{
	u32 granularity = lo >> 4 & 3;
	u64 size = 4096ull << (hi & 0x3f), base = hi & ~0xfffull;

	if (granularity == 0 || (lo & 0xffffffff0000ff00ull & ~0xffff0000ull))
		return false;
	if (granularity == 3 && ((hi & 0x3f) > (*reg64(m, 8) >> 48 & 0x3f) || !(*reg64(m, 8) >> 39 & 1)))
		return false;
	if (granularity == 3 && base & (size - 1))
		violate(m, "page-selective invalidation is not aligned to its size");
	for (u32 i = 0; i < MODEL_CACHE; i++) {
		bool did = m->tlb[i].did == (u16)(lo >> 16);
		bool hit = m->tlb[i].iova < base + size && base < m->tlb[i].iova + m->tlb[i].size;
		if (granularity == 1 || (granularity == 2 && did) || (granularity == 3 && did && hit))
			m->tlb[i].valid = false;
	}
	return true;
}

static void flush_irtes(struct model *m, u64 lo)
{
	if (lo >> 4 & 1)
		m->irtes[lo >> 32 & 0xffff].valid = false;
	else
		for (u32 i = 0; i < ARRAY_SIZE(m->irtes); i++)
			m->irtes[i].valid = false;
}

static bool carry_out(struct model *m, struct vtd_entry d, bool *context_open)
{
	u32 type = d.lo & 15;

	if (m->refused_types >> type & 1)
		return false;
	bool deaf = m->deaf_types >> type & 1;
	switch (type) {
	case 1:
		*context_open = true;
		if (!deaf)
			flush_contexts(m, d.lo);
		return d.hi == 0 && (d.lo >> 4 & 3);
	case 2:
		rule(m, !*context_open, "IOTLB invalidated before the context cache is known to be done");
		return deaf || flush_tlb(m, d.lo, d.hi);
	case 4:
		if (!deaf)
			flush_irtes(m, d.lo);
		return d.hi == 0;
	case 5:
		if (!(d.lo >> 5 & 1) || (d.lo & 0xffffff80) || (d.hi & 3))
			return false;
		if (d.lo >> 6 & 1)
			*context_open = false;
		*(u32 *)hpa_to_virt(HPA(d.hi)) = (u32)(d.lo >> 32);
		return true;
	default:
		return false;
	}
}

static void run_queue(struct model *m)
{
	u32 head = *reg64(m, 0x80) >> 4 & 0x7fff, tail = *reg64(m, 0x88) >> 4 & 0x7fff;
	bool context_open = false;

	if (!on(m, 26) || m->deaf_queue || (*reg32(m, 0x34) & 0x70))
		return;
	rule(m, tail < 256, "queue tail beyond the queue");
	while (head != tail) {
		if (!carry_out(m, ((struct vtd_entry *)m->ring)[head], &context_open)) {
			*reg32(m, 0x34) |= 1 << 4;
			break;
		}
		head = (head + 1) % 256;
		*reg64(m, 0x80) = (u64)head << 4;
	}
}

/* ---- registers ---- */

static void command(struct model *m, u32 v)
{
	const u32 enables = 0x86800000, once = 0x49000000;
	u32 *status = reg32(m, 0x1c), changed = ((v ^ *status) & enables) | (v & once);

	rule(m, __builtin_popcount(changed) <= 1, "more than one global command in a write");
	changed &= ~m->deaf_commands;
	if (changed & once & 1u << 30)
		m->root = *reg64(m, 0x20), *status |= 1u << 30;
	if (changed & once & 1u << 24)
		m->irta = *reg64(m, 0xb8), *status |= 1u << 24;
	if (changed & 1u << 26) {
		if (v >> 26 & 1)
			rule(m, *reg64(m, 0x88) == 0, "queue enabled with a tail");
		m->ring = *reg64(m, 0x90) & ~0xfffull;
		*reg64(m, 0x80) = 0;
	}
	if (changed & v & 1u << 31)
		rule(m, *status >> 30 & 1, "translation enabled without a root table");
	if (changed & v & 1u << 25)
		rule(m, (*status >> 24 & 1) && (*status >> 26 & 1), "remapping enabled without a table or a queue");
	*status = (*status & ~(changed & enables)) | (v & changed & enables);
}

static struct model *model_of(const volatile void *p, u32 *reg)
{
	for (u32 i = 0; i < MODEL_UNITS; i++) {
		u64 off = (u64)p - (u64)models[i].regs;
		if (off < sizeof(models[i].regs)) {
			*reg = (u32)off;
			return &models[i];
		}
	}
	panic("access to registers of nobody");
}

u32 mmio_read32(const volatile void *p)
{
	u32 reg;
	struct model *m = model_of(p, &reg);
	return *reg32(m, reg);
}

u64 mmio_read64(const volatile void *p)
{
	u32 reg;
	struct model *m = model_of(p, &reg);
	return *reg64(m, reg);
}

void mmio_write32(volatile void *p, u32 v)
{
	u32 reg;
	struct model *m = model_of(p, &reg);

	if (reg == 0x18)
		command(m, v);
	else if (reg == 0x34)
		*reg32(m, reg) &= ~(v & 0x71), storm(m); /* write one to clear; PPF follows the records */
	else if (reg == 0x64)
		*reg32(m, reg) = (v & 1u << 31) | v >> 31;
	else if (reg >= record_at(m, 0) && reg < record_at(m, records(m)) && (reg & 15) == 12)
		*reg32(m, reg) &= ~(v & 1u << 31), update_ppf(m), storm(m);
	else
		*reg32(m, reg) = v;
}

void mmio_write64(volatile void *p, u64 v)
{
	u32 reg;
	struct model *m = model_of(p, &reg);

	rule(m, reg == 0x20 || reg == 0x88 || reg == 0x90 || reg == 0xb8, "64-bit write of a register that is not");
	if (reg == 0x90)
		rule(m, !on(m, 26), "queue moved while enabled");
	*reg64(m, reg) = v;
	if (reg == 0x88)
		run_queue(m);
}

/* ---- what devices do ---- */

static bool context_lookup(struct model *m, rid_t rid, u64 *lo, u64 *hi, u32 *reason)
{
	for (u32 i = 0; i < ARRAY_SIZE(m->contexts); i++) {
		if (m->contexts[i].valid && m->contexts[i].rid == rid.v) {
			*lo = m->contexts[i].lo;
			*hi = m->contexts[i].hi;
			*reason = 2;
			return m->contexts[i].present;
		}
	}
	u64 root = ((struct vtd_entry *)hpa_to_virt(HPA(m->root & ~0xfffull)))[rid.v >> 8].lo;
	const struct vtd_entry *c = root & 1 ? (struct vtd_entry *)hpa_to_virt(HPA(root & ~0xfffull)) + (rid.v & 0xff) : NULL;
	*lo = c ? c->lo : 0;
	*hi = c ? c->hi : 0;
	*reason = root & 1 ? 2 : 1;
	bool present = *lo & 1;
	if (present || caching_mode(m)) {
		u32 i = m->next_context++ % ARRAY_SIZE(m->contexts);
		m->contexts[i].valid = true;
		m->contexts[i].present = present;
		m->contexts[i].rid = rid.v;
		m->contexts[i].did = present ? (u16)(*hi >> 8) : 0;
		m->contexts[i].lo = *lo;
		m->contexts[i].hi = *hi;
	}
	return present;
}

/* The leaf that maps iova, from the cache if it is there; 0 if nothing does. */
static u64 tlb_lookup(struct model *m, u16 did, u64 table, u32 levels, u64 iova, u64 *size)
{
	for (u32 i = 0; i < MODEL_CACHE; i++) {
		if (m->tlb[i].valid && m->tlb[i].did == did && iova - m->tlb[i].iova < m->tlb[i].size) {
			*size = m->tlb[i].size;
			return m->tlb[i].entry;
		}
	}
	u64 entry = 0;
	for (u32 level = levels; ; level--) {
		*size = 1ull << (12 + 9 * (level - 1));
		entry = ((u64 *)hpa_to_virt(HPA(table)))[iova / *size % 512];
		if (!(entry & 3) || level == 1 || (entry & 0x80))
			break;
		table = entry & 0x000ffffffffff000ull;
	}
	if (!(entry & 3))
		*size = 4096;
	if (entry & 3 || caching_mode(m)) {
		u32 i = m->next_tlb++ % MODEL_CACHE;
		m->tlb[i].valid = true;
		m->tlb[i].did = did;
		m->tlb[i].iova = iova & ~(*size - 1);
		m->tlb[i].size = *size;
		m->tlb[i].entry = entry & 3 ? entry : 0;
	}
	return entry & 3 ? entry : 0;
}

u32 model_dma(struct model *m, rid_t rid, u64 iova, bool write, u64 *hpa)
{
	u64 lo, hi, size;
	u32 reason;

	*hpa = iova;
	if (!on(m, 31))
		return MODEL_PASSED;
	if (!context_lookup(m, rid, &lo, &hi, &reason))
		return fault(m, rid, iova & ~0xfffull, reason, !write);
	u32 levels = (u32)(hi & 7) + 2;
	if ((lo & 0xffe) || (hi & ~0xffff07ull) || !(*reg64(m, 8) >> 8 >> (levels - 2) & 1))
		return fault(m, rid, iova & ~0xfffull, 3, !write);
	if (iova >> ((*reg64(m, 8) >> 16 & 0x3f) + 1) || iova >> (12 + 9 * levels))
		return fault(m, rid, iova & ~0xfffull, 4, !write);
	u64 entry = tlb_lookup(m, (u16)(hi >> 8), lo & ~0xfffull, levels, iova, &size);
	if (((entry & 0x800) && !(*reg64(m, 0x10) >> 7 & 1)) || (size == SIZE_2M && !(*reg64(m, 8) >> 34 & 1)) ||
	    (size == SIZE_1G && !(*reg64(m, 8) >> 35 & 1)) || size > SIZE_1G)
		return fault(m, rid, iova & ~0xfffull, 12, !write);
	if (!(entry & (write ? 2 : 1)))
		return fault(m, rid, iova & ~0xfffull, write ? 5 : 6, !write);
	*hpa = (entry & 0x000ffffffffff000ull & ~(size - 1)) | (iova & (size - 1));
	return MODEL_PASSED;
}

u32 model_msi(struct model *m, rid_t rid, u64 addr, u32 data, u32 *apic_id, u8 *vector)
{
	u32 index = (u32)(addr >> 5 & 0x7fff) | (u32)(addr >> 2 & 1) << 15;
	u64 info = (u64)index << 48;

	if (!on(m, 25) || (!(addr >> 4 & 1) && on(m, 23))) {
		*apic_id = addr >> 12 & 0xff;
		*vector = (u8)data;
		return MODEL_PASSED;
	}
	if (!(addr >> 4 & 1))
		return fault(m, rid, info, 0x25, false);
	if (addr >> 20 != 0xfee || (addr >> 3 & 1) || (data >> 16))
		return fault(m, rid, info, 0x20, false);
	if (index >= 2u << (m->irta & 15))
		return fault(m, rid, info, 0x21, false);
	if (!m->irtes[index].valid) {
		const struct vtd_entry *e = (struct vtd_entry *)hpa_to_virt(HPA(m->irta & ~0xfffull)) + index;
		m->irtes[index].lo = e->lo;
		m->irtes[index].hi = e->hi;
		m->irtes[index].valid = e->lo & 1 || caching_mode(m);
	}
	u64 lo = m->irtes[index].lo, hi = m->irtes[index].hi;
	if (!(lo & 1))
		return fault(m, rid, info, 0x22, false);
	bool eime = m->irta >> 11 & 1;
	if ((lo & 0xff00f0feull) || hi >> 20 || (!eime && lo >> 32 & ~0xff00ull))
		return fault(m, rid, info, 0x24, false);
	if ((hi >> 18 & 3) != 1 || (hi >> 16 & 3) || (u16)hi != rid.v)
		return fault(m, rid, info, 0x26, false);
	*apic_id = eime ? (u32)(lo >> 32) : (u32)(lo >> 40 & 0xff);
	*vector = (u8)(lo >> 16);
	return MODEL_PASSED;
}
