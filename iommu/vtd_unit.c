/*
 * One remapping unit: taking it over from firmware, its global commands, its root and context tables.
 *
 * Invariant: from vtd_unit_start on, the unit translates with our root table, in which only vtd_context_set makes a device
 * present; an entry is complete before its present bit is set, and is visible to the unit before a flush is asked for.
 */
#include "core/apic.h"
#include "core/console.h"
#include "core/errno.h"
#include "core/mem.h"
#include "core/time.h"
#include "iommu/vtd.h"

#define CACHE_LINE 64
#define CONTEXTS_PER_BUS 256
#define ROOTS 256

void vtd_publish(const void *p, u64 len)
{
	mfence();
	if (!vtd.incoherent)
		return;
	for (u64 line = ALIGN_DOWN((u64)p, CACHE_LINE); line < (u64)p + len; line += CACHE_LINE)
		clflush((const void *)line);
	mfence();
}

/* ---- global commands (VT-d 3.4, Global Command Register: one change a write, then wait for its status) ---- */

static int gcmd_done(struct vtd_unit *u, u64 status, bool set, const char *what)
{
	if (wait_until(!!(vtd_read32(u, VTD_GSTS) & status) == set, VTD_TIMEOUT_US))
		return 0;
	log_line("IOMMU: unit %u does not obey: %s (GSTS %08x)", u->index, what, vtd_read32(u, VTD_GSTS));
	return -ETIMEDOUT;
}

static int gcmd_enable(struct vtd_unit *u, u64 bit, const char *what)
{
	u->enables |= (u32)bit;
	vtd_write32(u, VTD_GCMD, u->enables);
	return gcmd_done(u, bit, true, what);
}

static int gcmd_disable(struct vtd_unit *u, u64 bit, const char *what)
{
	if (!(vtd_read32(u, VTD_GSTS) & bit))
		return 0;
	u->enables &= ~(u32)bit;
	vtd_write32(u, VTD_GCMD, u->enables);
	return gcmd_done(u, bit, false, what);
}

/* A one-shot command: its status bit comes on when it is done (SRTP, SIRTP), or goes off (WBF). */
static int gcmd_once(struct vtd_unit *u, u64 bit, bool done_is_set, const char *what)
{
	vtd_write32(u, VTD_GCMD, u->enables | bit);
	return gcmd_done(u, bit, done_is_set, what);
}

int vtd_write_buffer_flush(struct vtd_unit *u)
{
	if (!(u->cap & VTD_CAP_RWBF))
		return 0;
	return gcmd_once(u, VTD_GCMD_WBF, false, "write buffer flush") ? -EIO : 0;
}

/* ---- coming up ---- */

int vtd_unit_probe(struct vtd_unit *u, u32 index, const struct dmar_unit *d)
{
	*u = (struct vtd_unit){ .index = index, .segment = d->segment, .base = HPA(d->base), .fault_vector = -ENOSPC };
	u->regs = mmio_map(u->base, PAGE_SIZE);
	if (!u->regs)
		return -ENOMEM;
	u->cap = vtd_read64(u, VTD_CAP);
	u->ecap = vtd_read64(u, VTD_ECAP);
	u32 version = vtd_read32(u, VTD_VER);
	if (version == 0 || version == ~0u || u->cap == ~0ull)
		return -ENODEV;
	u32 end = vtd_frcd_offset(u->cap, vtd_frcd_count(u->cap));
	if (end > PAGE_SIZE)
		u->regs = mmio_map(u->base, end);
	return u->regs ? 0 : -ENOMEM;
}

/*
 * Whatever firmware or an earlier kernel left running, off; bus mastering is off already, so nothing gets through in
 * between. The queue must be empty to be turned off (VT-d 3.4, Queued Invalidation Enable).
 */
static int unit_quiet(struct vtd_unit *u)
{
	u->enables = (u32)(vtd_read32(u, VTD_GSTS) & VTD_GSTS_ENABLES);
	vtd_write32(u, VTD_FECTL, VTD_FECTL_IM);
	int err = gcmd_disable(u, VTD_GCMD_IRE, "interrupt remapping off");
	if (!err)
		err = gcmd_disable(u, VTD_GCMD_TE, "translation off");
	if (!err)
		err = gcmd_disable(u, VTD_GCMD_CFI, "compatibility-format interrupts off");
	if (err || !(u->enables & VTD_GCMD_QIE))
		return err;
	if (!wait_until(vtd_read64(u, VTD_IQH) == vtd_read64(u, VTD_IQT), VTD_TIMEOUT_US))
		log_line("IOMMU: unit %u: the invalidation queue that was left running does not drain", u->index);
	return gcmd_disable(u, VTD_GCMD_QIE, "invalidation queue off");
}

/* VT-d 3.4, Protected Memory Enable Register: superseded by translation, and firmware's idea of memory is not ours. */
static int protected_regions_off(struct vtd_unit *u)
{
	if (!(u->cap & (VTD_CAP_PLMR | VTD_CAP_PHMR)) || !(vtd_read32(u, VTD_PMEN) & (VTD_PMEN_EPM | VTD_PMEN_PRS)))
		return 0;
	vtd_write32(u, VTD_PMEN, vtd_read32(u, VTD_PMEN) & ~VTD_PMEN_EPM);
	if (wait_until(!(vtd_read32(u, VTD_PMEN) & VTD_PMEN_PRS), VTD_TIMEOUT_US))
		return 0;
	log_line("IOMMU: unit %u does not obey: protected memory regions off", u->index);
	return -ETIMEDOUT;
}

/* Context cache, then IOTLB, then interrupt entries (VT-d 3.4, Set Root Table Pointer Operation). */
static int invalidate_all(struct vtd_unit *u)
{
	const struct vtd_entry d[] = { vtd_inv_context_all(), vtd_qi_fence(u), vtd_inv_iotlb_all(u->cap), vtd_inv_iec_all() };
	bool ir = u->ecap & VTD_ECAP_IR;

	return vtd_qi_submit(u, d, ARRAY_SIZE(d) - !ir);
}

int vtd_unit_start(struct vtd_unit *u)
{
	u->root = page_alloc(&mem_self);
	if (!u->root || vtd_qi_alloc(u))
		return -ENOMEM;
	vtd_publish(u->root, PAGE_SIZE);
	int err = unit_quiet(u);
	if (!err)
		err = vtd_write_buffer_flush(u);
	if (err)
		return err;
	vtd_write64(u, VTD_RTADDR, virt_to_hpa(u->root).v);
	err = gcmd_once(u, VTD_GCMD_SRTP, true, "set root table");
	if (err)
		return err;
	vtd_qi_reset(u);
	err = gcmd_enable(u, VTD_GCMD_QIE, "invalidation queue on");
	if (!err)
		err = invalidate_all(u);
	if (!err)
		err = gcmd_enable(u, VTD_GCMD_TE, "translation on");
	return err ? err : protected_regions_off(u);
}

/* Compatibility-format interrupts stay off (CFI clear), so a device cannot go round the table. */
int vtd_unit_remap(struct vtd_unit *u)
{
	const struct vtd_entry d[] = { vtd_inv_iec_all() };

	vtd_write64(u, VTD_IRTA, vtd_irta(virt_to_hpa(vtd.irtes), VTD_IRTE_ORDER, vtd.eime));
	int err = gcmd_once(u, VTD_GCMD_SIRTP, true, "set interrupt table");
	if (!err)
		err = vtd_qi_submit(u, d, ARRAY_SIZE(d));
	return err ? err : gcmd_enable(u, VTD_GCMD_IRE, "interrupt remapping on");
}

void vtd_unit_stop(struct vtd_unit *u)
{
	if (unit_quiet(u)) {
		log_line("IOMMU: unit %u stays in the state it is in", u->index);
		return; /* it may still read its tables */
	}
	if (u->root)
		page_free(&mem_self, u->root);
	u->root = NULL;
	vtd_qi_free(u);
}

/* ---- root and context tables ---- */

/* Context entry of rid; NULL if its bus has no table and none can be had. */
static struct vtd_entry *context_of(struct vtd_unit *u, rid_t rid, bool create)
{
	struct vtd_entry *root = &u->root[rid.v >> 8];

	if (!(root->lo & VTD_ENTRY_PRESENT)) {
		struct vtd_entry *table = create ? page_alloc(&mem_self) : NULL;
		if (!table)
			return NULL;
		vtd_publish(table, PAGE_SIZE);
		WRITE_ONCE(root->lo, vtd_root_entry(virt_to_hpa(table)).lo);
		vtd_publish(root, sizeof(*root));
	}
	return (struct vtd_entry *)hpa_to_virt(HPA(root->lo & VTD_TABLE_ADDR)) + (rid.v & 0xff);
}
_Static_assert(ROOTS * sizeof(struct vtd_entry) == PAGE_SIZE && CONTEXTS_PER_BUS * sizeof(struct vtd_entry) == PAGE_SIZE,
               "each table is one page");

static int context_flush(struct vtd_unit *u, rid_t rid, u16 cached_as, u16 domain_id)
{
	const struct vtd_entry d[] = { vtd_inv_context_device(cached_as, rid), vtd_qi_fence(u), vtd_inv_iotlb_domain(u->cap, domain_id) };

	return vtd_qi_submit(u, d, ARRAY_SIZE(d));
}

int vtd_context_set(struct vtd_unit *u, rid_t rid, hpa_t tables, u32 levels, u16 domain_id)
{
	struct vtd_entry *c = context_of(u, rid, true), e = vtd_context_entry(tables, levels, domain_id);

	if (!c)
		return -ENOMEM;
	ASSERT(!(c->lo & VTD_ENTRY_PRESENT));
	WRITE_ONCE(c->hi, e.hi);
	vtd_publish(c, sizeof(*c));
	WRITE_ONCE(c->lo, e.lo);
	vtd_publish(c, sizeof(*c));
	/* Caching Mode: entries that are not present are cached too, under domain id 0 (VT-d 3.4, Caching Mode). */
	return u->cap & VTD_CAP_CM ? context_flush(u, rid, 0, domain_id) : vtd_write_buffer_flush(u);
}

int vtd_context_clear(struct vtd_unit *u, rid_t rid, u16 domain_id)
{
	struct vtd_entry *c = context_of(u, rid, false);

	if (c) {
		WRITE_ONCE(c->lo, 0);
		vtd_publish(c, sizeof(*c));
		WRITE_ONCE(c->hi, 0);
		vtd_publish(c, sizeof(*c));
	}
	return context_flush(u, rid, domain_id, domain_id);
}
