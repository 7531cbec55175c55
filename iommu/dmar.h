/*
 * The ACPI table DMAR as data: which remapping units there are, what each covers, which memory firmware reserved for
 * which device (VT-d 3.4, BIOS Considerations).
 *
 * Invariant: pure; any bytes may be given, and nothing outside them is read. What parses is well-formed: sizes, alignment
 * and table space are checked here and nowhere else.
 */
#ifndef IOMMU_DMAR_H
#define IOMMU_DMAR_H

#include "core/pci.h"
#include "core/types.h"

#define DMAR_MAX_UNITS 16
#define DMAR_MAX_RMRRS 32
#define DMAR_MAX_ATSRS 16
#define DMAR_MAX_SCOPES 512
#define DMAR_MAX_PATH 8

#define DMAR_INTR_REMAP BIT(0)
#define DMAR_X2APIC_OPT_OUT BIT(1)
#define DMAR_INCLUDE_PCI_ALL BIT(0) /* in a unit's flags */
#define DMAR_ALL_PORTS BIT(0)       /* in an ATSR's flags */

enum dmar_scope_type { DMAR_ENDPOINT = 1, DMAR_BRIDGE = 2, DMAR_IOAPIC = 3, DMAR_HPET = 4, DMAR_NAMESPACE = 5 };

/* A device as firmware names it: from a bus down through bridges, one (device, function) a step. */
struct dmar_scope {
	u8 type, id;      /* id: of the I/O APIC, HPET or ACPI name */
	u8 start_bus, steps;
	struct { u8 device, function; } path[DMAR_MAX_PATH];
};
/* A run of scopes in the pool. */
struct dmar_scopes { u32 first, count; };

struct dmar_unit { u8 flags; u16 segment; u64 base; struct dmar_scopes scopes; };
struct dmar_rmrr { u16 segment; u64 base, limit; struct dmar_scopes scopes; }; /* limit: last byte */
struct dmar_atsr { u8 flags; u16 segment; struct dmar_scopes scopes; };

struct dmar {
	u8 width;         /* host address width in bits */
	u8 flags;
	u32 nr_units, nr_rmrrs, nr_atsrs, nr_scopes;
	u32 ignored;      /* RMRRs with a senseless range, scopes deeper than DMAR_MAX_PATH: left out, which only denies more */
	struct dmar_unit units[DMAR_MAX_UNITS];
	struct dmar_rmrr rmrrs[DMAR_MAX_RMRRS];
	struct dmar_atsr atsrs[DMAR_MAX_ATSRS];
	struct dmar_scope scopes[DMAR_MAX_SCOPES];
};

/*
 * Parse the whole table, header included. 0, or -EINVAL with a reason in *why (out is then meaningless). Unknown structures
 * and scope types are skipped, as the specification asks.
 */
int dmar_parse(const void *table, u32 len, struct dmar *out, const char **why) __must_check;

/* The PCI topology, as far as paths need it: true if rid is a bridge, with the buses behind it. */
struct dmar_topology {
	bool (*bridge)(void *arg, rid_t rid, u8 *secondary, u8 *subordinate);
	void *arg;
};

/* Follow a scope's path. False if a step on the way is no bridge. */
bool dmar_scope_rid(const struct dmar_scope *s, const struct dmar_topology *t, rid_t *out);
/*
 * Index of the unit that translates what rid (segment 0) sends, or -ENODEV. The narrowest scope decides: the device itself,
 * the deepest bridge above it, then the unit that has INCLUDE_PCI_ALL. For a VF whose bus no scope covers, ask with its PF.
 */
int dmar_unit_for(const struct dmar *d, rid_t rid, const struct dmar_topology *t);

#endif
