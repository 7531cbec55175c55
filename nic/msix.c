/*
 * MSI-X tables of devices that we own: one entry at a time, masked while it changes.
 */
#include "nic/msix.h"

#include "core/errno.h"
#include "core/x86.h"

#define MSIX_CONTROL 2
#define MSIX_CONTROL_SIZE BITS(10, 0)
#define MSIX_CONTROL_MASK_ALL BIT(14)
#define MSIX_CONTROL_ENABLE BIT(15)
#define MSIX_TABLE 4
#define MSIX_TABLE_BIR BITS(2, 0)
#define MSIX_PBA 8               /* as the table: offset and BAR */

#define ENTRY_LEN 16
#define ENTRY_ADDR_LOW 0
#define ENTRY_ADDR_HIGH 4
#define ENTRY_DATA 8
#define ENTRY_CONTROL 12
#define ENTRY_MASKED BIT(0)

static volatile u8 *entry(const struct msix *m, u32 i, u32 field)
{
	ASSERT(i < m->nr);
	return m->table + i * ENTRY_LEN + field;
}

int msix_table_bar(rid_t rid)
{
	u16 cap = pci_find_cap(rid, PCI_CAP_ID_MSIX);
	return cap ? (int)FIELD_GET(MSIX_TABLE_BIR, pci_read32(rid, (u16)(cap + MSIX_TABLE))) : -ENOTSUP;
}

static volatile u8 *pending_bits(u32 place, u32 nr, volatile u8 *bar, u32 bar_index, u64 len)
{
	u64 offset = place & ~(u32)MSIX_TABLE_BIR;
	bool here = FIELD_GET(MSIX_TABLE_BIR, place) == bar_index && offset + ALIGN_UP(nr, 64) / 8 <= len;
	return here ? bar + offset : NULL;
}

int msix_init(struct msix *m, rid_t rid, volatile u8 *bar, u32 bar_index, u64 len)
{
	u16 cap = pci_find_cap(rid, PCI_CAP_ID_MSIX);
	if (!cap)
		return -ENOTSUP;
	u32 table = pci_read32(rid, (u16)(cap + MSIX_TABLE));
	u32 nr = (u32)FIELD_GET(MSIX_CONTROL_SIZE, pci_read16(rid, (u16)(cap + MSIX_CONTROL))) + 1;
	u64 offset = table & ~(u32)MSIX_TABLE_BIR;
	if (FIELD_GET(MSIX_TABLE_BIR, table) != bar_index || offset + (u64)nr * ENTRY_LEN > len)
		return -ENOTSUP;
	*m = (struct msix){ .rid = rid, .cap = cap, .table = bar + offset, .nr = nr,
			    .pending = pending_bits(pci_read32(rid, (u16)(cap + MSIX_PBA)), nr, bar, bar_index, len) };
	return 0;
}

static void set_control(struct msix *m, u64 bits)
{
	u16 old = pci_read16(m->rid, (u16)(m->cap + MSIX_CONTROL));
	u64 new = (old & ~(MSIX_CONTROL_ENABLE | MSIX_CONTROL_MASK_ALL)) | bits;
	pci_write16(m->rid, (u16)(m->cap + MSIX_CONTROL), (u16)new);
}

void msix_enable(struct msix *m)
{
	set_control(m, MSIX_CONTROL_ENABLE | MSIX_CONTROL_MASK_ALL);
	for (u32 i = 0; i < m->nr; i++)
		msix_mask(m, i, true);
	set_control(m, MSIX_CONTROL_ENABLE);
}

void msix_disable(struct msix *m) { set_control(m, 0); }

void msix_mask(struct msix *m, u32 i, bool masked)
{
	mmio_write32(entry(m, i, ENTRY_CONTROL), masked ? (u32)ENTRY_MASKED : 0);
	/* The read pushes the write: after it no interrupt leaves a masked entry. */
	(void)mmio_read32(entry(m, i, ENTRY_CONTROL));
}

void msix_set(struct msix *m, u32 i, u64 addr, u32 data, bool masked)
{
	msix_mask(m, i, true);
	mmio_write32(entry(m, i, ENTRY_ADDR_LOW), (u32)addr);
	mmio_write32(entry(m, i, ENTRY_ADDR_HIGH), (u32)(addr >> 32));
	mmio_write32(entry(m, i, ENTRY_DATA), data);
	if (!masked)
		msix_mask(m, i, false);
}

bool msix_any_pending(const struct msix *m)
{
	u32 bits = 0;
	for (u32 i = 0; m->pending && i < m->nr; i += 32)
		bits |= mmio_read32(m->pending + i / 8) & (m->nr - i < 32 ? (u32)BIT(m->nr - i) - 1 : ~0u);
	return bits;
}
