/*
 * Devices: which unit covers a requester ID, which domain it is attached to, and what firmware reserved for it.
 *
 * Invariant: a context entry is present exactly while the device is in the table and not stuck; a device is in one domain
 * at most. A device whose detach did not finish stays in the table until it is isolated.
 */
#include "core/console.h"
#include "core/errno.h"
#include "core/time.h"
#include "iommu/vtd.h"

static struct vtd_device devices[VTD_MAX_DEVICES];
static struct { rid_t vf, pf; } vfs[VTD_MAX_VFS];
static u32 nr_vfs;
static const struct dmar *dmar;

void vtd_devices_reset(const struct dmar *d)
{
	for (u32 i = 0; i < VTD_MAX_DEVICES; i++)
		devices[i] = (struct vtd_device){ 0 };
	nr_vfs = 0;
	dmar = d;
}

u32 vtd_devices_count(void)
{
	u32 n = 0;

	for (u32 i = 0; i < VTD_MAX_DEVICES; i++)
		n += devices[i].domain && !devices[i].reserved;
	return n;
}

/* ---- which unit ---- */

static bool bridge_buses(void *arg, rid_t rid, u8 *secondary, u8 *subordinate)
{
	const struct pci_dev *dev = pci_find_rid(rid);

	(void)arg;
	/* A bridge that firmware left unnumbered leads nowhere. */
	if (!dev || dev->header_type != 1 || dev->secondary <= rid.v >> 8 || dev->subordinate < dev->secondary)
		return false;
	*secondary = dev->secondary;
	*subordinate = dev->subordinate;
	return true;
}
static const struct dmar_topology topology = { .bridge = bridge_buses };

int vtd_vf_declare(rid_t vf, rid_t pf)
{
	for (u32 i = 0; i < nr_vfs; i++) {
		if (vfs[i].vf.v == vf.v) {
			vfs[i].pf = pf;
			return 0;
		}
	}
	if (nr_vfs == VTD_MAX_VFS)
		return -ENOSPC;
	vfs[nr_vfs].vf = vf;
	vfs[nr_vfs++].pf = pf;
	return 0;
}

/* VT-d 3.4, Remapping Hardware Unit Definition Structure: virtual functions are in the scope of their physical function. */
static rid_t physical_function(rid_t rid)
{
	for (u32 i = 0; i < nr_vfs; i++)
		if (vfs[i].vf.v == rid.v)
			return vfs[i].pf;
	return rid;
}

struct vtd_unit *vtd_unit_of(rid_t rid)
{
	int i = dmar ? dmar_unit_for(dmar, physical_function(rid), &topology) : -ENODEV;

	return i < 0 || (u32)i >= vtd.nr_units ? NULL : &vtd.units[i];
}

struct vtd_unit *vtd_unit_of_ioapic(u8 id, rid_t *rid)
{
	for (u32 i = 0; dmar && i < vtd.nr_units; i++) {
		const struct dmar_scopes *run = &dmar->units[i].scopes;
		for (u32 k = 0; k < run->count && dmar->units[i].segment == 0; k++) {
			const struct dmar_scope *s = &dmar->scopes[run->first + k];
			if (s->type == DMAR_IOAPIC && s->id == id && dmar_scope_rid(s, &topology, rid))
				return &vtd.units[i];
		}
	}
	return NULL;
}

/* ---- attaching ---- */

struct vtd_device *vtd_device_find(rid_t rid)
{
	for (u32 i = 0; i < VTD_MAX_DEVICES; i++)
		if (devices[i].domain && devices[i].rid.v == rid.v)
			return &devices[i];
	return NULL;
}

static struct vtd_device *device_slot(void)
{
	for (u32 i = 0; i < VTD_MAX_DEVICES; i++)
		if (!devices[i].domain)
			return &devices[i];
	return NULL;
}

/* Forget a device that no longer reaches the domain. */
static void device_drop(struct vtd_device *dev)
{
	struct iommu_domain *d = dev->domain;

	d->devices--;
	d->on_unit[dev->unit->index]--;
	*dev = (struct vtd_device){ 0 };
}

int vtd_device_detach(struct vtd_device *dev)
{
	if (vtd_context_clear(dev->unit, dev->rid, dev->domain->id)) {
		dev->domain->tainted = true;
		dev->stuck = true;
		return -EIO;
	}
	device_drop(dev);
	return 0;
}

/* What firmware reserved ends when someone else wants the device. */
static int reserved_detach(struct vtd_device *dev)
{
	struct iommu_domain *d = dev->domain;
	int err = vtd_device_detach(dev);

	if (!err && d->devices == 0)
		vtd_domain_destroy(d);
	return err;
}

int vtd_device_attach(struct iommu_domain *d, rid_t rid, bool reserved)
{
	struct vtd_unit *u = vtd_unit_of(rid);
	struct vtd_device *dev = vtd_device_find(rid);

	if (!u)
		return -ENODEV;
	if (u->broken)
		return -EIO; /* nothing could ever be taken back */
	if (dev && (!dev->reserved || dev->stuck))
		return -EBUSY;
	int err = dev ? reserved_detach(dev) : 0;
	dev = device_slot();
	if (err || !dev)
		return err ? err : -ENOMEM;
	err = vtd_context_set(u, rid, d->tables.root, d->tables.levels, d->id);
	if (err == -ENOMEM)
		return err;
	*dev = (struct vtd_device){ .domain = d, .unit = u, .rid = rid, .reserved = reserved };
	d->devices++;
	d->on_unit[u->index]++;
	if (!err)
		return 0;
	/* The entry is written but the unit does not answer: take it back. If that fails too, the device is stuck. */
	log_limited(8, "IOMMU: " RID_FMT " could not be attached", RID_ARG(rid));
	(void)!vtd_device_detach(dev);
	return err;
}

/* ---- isolating (what is left to do when a flush did not finish) ---- */

#define NOBODY 0xffff /* what a function that does not answer reads as */
#define PCIE_DEVICE_STATUS 0x0a
#define PCIE_TRANSACTIONS_PENDING BIT(5)

/* True if the device's bus mastering is off and nothing of it is under way (PCIe Base Specification, Device Status Register). */
static bool device_silence(rid_t rid)
{
	u16 command = pci_read16(rid, PCI_COMMAND);

	if (command == NOBODY)
		return false;
	pci_write16(rid, PCI_COMMAND, command & (u16)~PCI_COMMAND_MASTER);
	if (pci_read16(rid, PCI_COMMAND) & PCI_COMMAND_MASTER)
		return false;
	u16 cap = pci_find_cap(rid, PCI_CAP_ID_EXP);
	return cap && wait_until(!(pci_read16(rid, cap + PCIE_DEVICE_STATUS) & PCIE_TRANSACTIONS_PENDING), VTD_TIMEOUT_US);
}

bool vtd_device_isolate(rid_t rid)
{
	bool silent = device_silence(rid);
	struct vtd_device *dev = vtd_device_find(rid);

	if (!dev)
		return true; /* no context entry: it reaches nothing */
	bool detached = vtd_device_detach(dev) == 0;
	if (!detached && silent)
		device_drop(dev);
	return detached || silent;
}

/* ---- memory that firmware reserved (VT-d 3.4, Reserved Memory Region Reporting Structure) ---- */

/* Firmware must report such memory as reserved; RAM of ours inside would be open to the device. */
static bool holds_ram(const struct dmar_rmrr *r)
{
	for (u64 a = r->base; a < r->limit; a += PAGE_SIZE)
		if (mem_is_ram(HPA(a), PAGE_SIZE))
			return true;
	return false;
}

/* One domain per device, for all its regions. */
static int region_reserve(rid_t rid, const struct dmar_rmrr *r)
{
	struct vtd_device *dev = vtd_device_find(rid);
	struct iommu_domain *d = dev ? dev->domain : vtd_domain_create(NULL, &mem_self);

	if (!d)
		return -ENOMEM;
	d->reserved = true;
	/* While attached, a new mapping is told by attaching anew. */
	int err = vtd_domain_map_reserved(d, r->base, r->limit + 1 - r->base);
	if (!err && dev)
		err = vtd_device_detach(dev);
	if (!err)
		err = vtd_device_attach(d, rid, true);
	if (err && d->devices == 0)
		vtd_domain_destroy(d);
	return err;
}

void vtd_reserve_regions(const struct dmar *d)
{
	for (u32 i = 0; i < d->nr_rmrrs; i++) {
		const struct dmar_rmrr *r = &d->rmrrs[i];
		if (r->segment != 0)
			continue;
		if (holds_ram(r)) {
			log_line("IOMMU: reserved region %lx-%lx lies in RAM: its devices get no mapping", r->base, r->limit);
			continue;
		}
		for (u32 k = 0; k < r->scopes.count; k++) {
			rid_t rid;
			if (!dmar_scope_rid(&d->scopes[r->scopes.first + k], &topology, &rid))
				continue;
			int err = region_reserve(rid, r);
			log_line("IOMMU: reserved region %lx-%lx %s for " RID_FMT " (%d)", r->base, r->limit,
			         err ? "not mapped" : "mapped", RID_ARG(rid), err);
		}
	}
}
