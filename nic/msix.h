/*
 * MSI-X tables of devices that we own (PCI Local Bus Specification 3.0, MSI-X Capability and Table Structures).
 *
 * Invariant: an entry is written while it is masked. The table is never mapped to a guest.
 */
#ifndef NIC_MSIX_H
#define NIC_MSIX_H

#include "core/pci.h"
#include "core/types.h"

/* pending: the pending bits, NULL if they lie in another BAR. */
struct msix { rid_t rid; u16 cap; volatile u8 *table; u32 nr; volatile u8 *pending; };

/*
 * Find the capability and the table. bar: mapping of the BAR that holds the table, bar_index its number, of `len` bytes. 0, -ENOTSUP
 * (no MSI-X, or its table lies elsewhere).
 */
int msix_init(struct msix *m, rid_t rid, volatile u8 *bar, u32 bar_index, u64 len);
/* BAR that holds the table, or -ENOTSUP. */
int msix_table_bar(rid_t rid);
/* Mask every entry, then turn MSI-X on. */
void msix_enable(struct msix *m);
void msix_disable(struct msix *m);
/* Write an entry; its mask bit is as given afterwards. */
void msix_set(struct msix *m, u32 i, u64 addr, u32 data, bool masked);
void msix_mask(struct msix *m, u32 i, bool masked);
/* A message waits that could not leave: it will when its entry is unmasked, whoever that is for. */
bool msix_any_pending(const struct msix *m);

#endif
