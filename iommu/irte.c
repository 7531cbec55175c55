/*
 * Interrupt remapping: one table for all units; each entry admits one device and sends one vector to one CPU (VT-d 3.4,
 * Interrupt Remapping).
 *
 * Invariant: an entry that is present compares the whole requester ID; it changes by one 16-byte store, and a call that
 * returns 0 has flushed it from the unit's interrupt entry cache. An entry that could not be flushed is never given out again.
 */
#include "core/errno.h"
#include "iommu/vtd.h"

#define APIC_BROADCAST_XAPIC 0xffu
#define APIC_BROADCAST 0xffffffffu
#define FIRST_VECTOR 16 /* below: illegal for fixed delivery (SDM 3A, Valid Interrupt Vectors) */

struct irte_slot { bool used, tainted; rid_t rid; struct vtd_unit *unit; };
static struct irte_slot slots[VTD_IRTES];

void vtd_irtes_reset(void)
{
	for (u32 i = 0; i < VTD_IRTES; i++)
		slots[i] = (struct irte_slot){ 0 };
}

u32 vtd_irtes_count(void)
{
	u32 n = 0;

	for (u32 i = 0; i < VTD_IRTES; i++)
		n += slots[i].used;
	return n;
}

bool vtd_irte_valid(int handle) { return handle >= 0 && (u32)handle < VTD_IRTES && slots[handle].used; }

static int slot_take(struct vtd_unit *u, rid_t rid)
{
	if (!vtd.remapping)
		return -ENOTSUP;
	if (!u)
		return -ENODEV;
	for (u32 i = 0; i < VTD_IRTES; i++) {
		if (slots[i].used || slots[i].tainted)
			continue;
		slots[i] = (struct irte_slot){ .used = true, .rid = rid, .unit = u };
		return (int)i;
	}
	return -ENOSPC;
}

int vtd_irte_alloc(rid_t rid) { return slot_take(vtd_unit_of(rid), rid); }

int vtd_irte_alloc_ioapic(u8 id)
{
	rid_t rid = { 0 };
	struct vtd_unit *u = vtd_unit_of_ioapic(id, &rid);

	return slot_take(u, rid);
}

static int irte_write(int handle, struct vtd_entry e)
{
	const struct vtd_entry flush = vtd_inv_iec_one((u16)handle);

	store128(&vtd.irtes[handle], e.lo, e.hi);
	vtd_publish(&vtd.irtes[handle], sizeof(e));
	vtd.stats.irte_writes++;
	if (!vtd_qi_submit(slots[handle].unit, &flush, 1))
		return 0;
	slots[handle].tainted = true;
	return -EIO;
}

int vtd_irte_set(int handle, u32 apic_id, u8 vector)
{
	if (!vtd_irte_valid(handle) || vector < FIRST_VECTOR || apic_id == APIC_BROADCAST)
		return -EINVAL;
	if (!vtd.eime && apic_id >= APIC_BROADCAST_XAPIC)
		return -EINVAL;
	return irte_write(handle, vtd_irte(slots[handle].rid, apic_id, vector, vtd.eime));
}

int vtd_irte_mask(int handle)
{
	return vtd_irte_valid(handle) ? irte_write(handle, (struct vtd_entry){ 0 }) : -EINVAL;
}

void vtd_irte_free(int handle)
{
	if (!vtd_irte_valid(handle))
		return;
	(void)!vtd_irte_mask(handle); /* a failure is kept in the slot */
	slots[handle].used = false;
}
