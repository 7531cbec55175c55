/*
 * The public face of iommu/ (iommu/iommu.h): start-up with every way it can end, and one lock around the rest.
 *
 * Invariant: after iommu_init no device is a bus master, whatever it returned. Either all units translate, or none: a
 * machine is never half protected. Without translation every other call fails or does nothing.
 */
#include <string.h>

#include "core/acpi.h"
#include "core/apic.h"
#include "core/console.h"
#include "core/errno.h"
#include "iommu/vtd.h"

struct vtd_machine vtd;
spinlock_t vtd_lock = SPINLOCK_INIT;

static struct dmar dmar;
static struct iommu_info info;
static char why_text[128];

/* Why there is less than there could be; the first reason counts, err is handed through. */
#define WHY_NOT(err, ...) (format(why_text, sizeof(why_text), __VA_ARGS__), info.why_not = why_text, (err))

/* ---- start-up ---- */

static int table_read(void)
{
	const struct acpi_header *h = acpi_find("DMAR");
	const char *why;

	if (!h)
		return WHY_NOT(-ENODEV, "the machine has no valid ACPI table DMAR (VT-d absent, or off in firmware)");
	if (dmar_parse(h, h->length, &dmar, &why))
		return WHY_NOT(-EINVAL, "ACPI table DMAR is corrupt: %s", why);
	if (dmar.ignored)
		log_line("IOMMU: %u senseless entries of ACPI table DMAR ignored", dmar.ignored);
	return dmar.nr_units ? 0 : WHY_NOT(-ENODEV, "ACPI table DMAR names no remapping unit");
}

/* What all units have in common: a domain must work on each. */
static void capability_merge(const struct vtd_unit *u)
{
	u8 large = u->cap & VTD_CAP_SLLPS_2M ? (u->cap & VTD_CAP_SLLPS_1G ? 3 : 2) : 1;

	vtd.max_leaf = MIN(vtd.max_leaf, large);
	vtd.width = (u8)MIN(vtd.width, vtd_cap_width(u->cap));
	vtd.max_domains = MIN(vtd.max_domains, vtd_cap_domains(u->cap));
	vtd.caching_mode |= (u->cap & VTD_CAP_CM) != 0;
	vtd.incoherent |= !(u->ecap & VTD_ECAP_C);
	if (!(u->ecap & VTD_ECAP_SC))
		vtd.leaf_flags = 0;
	vtd.eime &= (u->ecap & VTD_ECAP_EIM) != 0;
}

static bool all_have_levels(u32 levels)
{
	for (u32 i = 0; i < vtd.nr_units; i++)
		if (!vtd_cap_levels(vtd.units[i].cap, levels))
			return false;
	return true;
}

static int units_probe(void)
{
	vtd.max_leaf = 3;
	vtd.width = 57;
	vtd.max_domains = VTD_MAX_DOMAINS + 1;
	vtd.leaf_flags = VTD_SL_SNOOP;
	vtd.eime = apic_is_x2();
	for (u32 i = 0; i < dmar.nr_units; i++) {
		struct vtd_unit *u = &vtd.units[i];
		int err = vtd_unit_probe(u, i, &dmar.units[i]);
		if (err)
			return WHY_NOT(err, "unit %u at %lx does not answer", i, dmar.units[i].base);
		vtd.nr_units = i + 1;
		if (!(u->ecap & VTD_ECAP_QI))
			return WHY_NOT(-ENODEV, "unit %u at %lx has no queued invalidation", i, u->base.v);
		capability_merge(u);
	}
	vtd.levels = all_have_levels(4) ? 4 : all_have_levels(3) ? 3 : all_have_levels(5) ? 5 : 0;
	if (!vtd.levels)
		return WHY_NOT(-ENODEV, "the units have no page-table depth in common");
	vtd.width = (u8)MIN(vtd.width, PAGE_SHIFT + 9 * vtd.levels);
	return 0;
}

static void units_stop(void)
{
	for (u32 i = 0; i < vtd.nr_units; i++) {
		vtd_faults_disable(&vtd.units[i]);
		vtd_unit_stop(&vtd.units[i]);
	}
	vtd.nr_units = 0;
}

static int units_start(void)
{
	for (u32 i = 0; i < vtd.nr_units; i++) {
		struct vtd_unit *u = &vtd.units[i];
		int err = vtd_unit_start(u);
		if (err == -ENOMEM)
			return WHY_NOT(err, "no memory for the tables of unit %u", i);
		if (err)
			return WHY_NOT(err, "unit %u at %lx does not obey (see above)", i, u->base.v);
		vtd_faults_enable(u);
	}
	vtd.translating = true;
	return 0;
}

/* All units or none: an interrupt that bypasses the table could forge any vector. Failure leaves translation as it is. */
static int remapping_start(void)
{
	if (!(dmar.flags & DMAR_INTR_REMAP))
		return WHY_NOT(-ENOTSUP, "the platform does not support interrupt remapping (ACPI table DMAR)");
	for (u32 i = 0; i < vtd.nr_units; i++)
		if (!(vtd.units[i].ecap & VTD_ECAP_IR))
			return WHY_NOT(-ENOTSUP, "interrupt remapping not supported by unit %u at %lx", i, vtd.units[i].base.v);
	vtd.irtes = pages_alloc(&mem_self, VTD_IRTE_ORDER + 4 - PAGE_SHIFT);
	if (!vtd.irtes)
		return WHY_NOT(-ENOMEM, "no memory for the interrupt remapping table");
	vtd_publish(vtd.irtes, VTD_IRTES * sizeof(vtd.irtes[0]));
	for (u32 i = 0; i < vtd.nr_units; i++) {
		int err = vtd_unit_remap(&vtd.units[i]);
		if (err)
			return WHY_NOT(err, "unit %u at %lx does not turn interrupt remapping on", i, vtd.units[i].base.v);
	}
	vtd.remapping = true;
	return 0;
}
_Static_assert((1u << VTD_IRTE_ORDER) * sizeof(struct vtd_entry) >= PAGE_SIZE, "the table is whole pages");

static void info_fill(void)
{
	info.present = vtd.translating;
	info.remapping = vtd.remapping;
	info.x2apic = vtd.remapping && vtd.eime;
	info.caching_mode = vtd.caching_mode;
	info.units = vtd.nr_units;
}

static int all_start(void)
{
	int err = table_read();

	if (!err)
		err = units_probe();
	if (!err)
		err = units_start();
	if (err) {
		units_stop();
		return err;
	}
	/* A unit that fails here no longer does what it is told; without the interrupt table alone, translation still protects. */
	err = remapping_start();
	if (err == -EIO || err == -ETIMEDOUT) {
		units_stop();
		vtd.translating = false;
		return err;
	}
	vtd_devices_reset(&dmar);
	vtd_reserve_regions(&dmar);
	return 0;
}

static void start_log(int err)
{
	static const char *const large[] = { "", "4K", "2M", "1G" };

	if (err) {
		log_line("IOMMU: none in use: %s", info.why_not);
		return;
	}
	log_line("IOMMU: %u unit(s), default deny on: %u-level tables, pages up to %s, %u-bit addresses%s%s", vtd.nr_units, vtd.levels,
	         large[vtd.max_leaf], vtd.width, vtd.caching_mode ? ", caching mode" : "", vtd.incoherent ? ", cache flushes" : "");
	if (vtd.remapping)
		log_line("IOMMU: interrupt remapping on, %u-bit APIC ids", vtd.eime ? 32 : 8);
	else
		log_line("IOMMU: no interrupt remapping: %s", info.why_not);
}

int iommu_init(void)
{
	memset(&vtd, 0, sizeof(vtd));
	memset(&info, 0, sizeof(info));
	vtd_devices_reset(NULL);
	vtd_domains_reset();
	vtd_irtes_reset();
	vtd_faults_reset();
	pci_quiesce_all();
	int err = all_start();
	info_fill();
	start_log(err);
	return err;
}

const struct iommu_info *iommu_info(void) { return &info; }

/* ---- the rest: one lock around the files that do the work ---- */

#define LOCKED(expr) ({ \
	spin_lock(&vtd_lock); \
	__typeof__(expr) ret_ = (expr); \
	spin_unlock(&vtd_lock); \
	ret_; })

struct iommu_domain *iommu_domain_create(void *vm, struct mem_owner *owner)
{
	return vtd.translating ? LOCKED(vtd_domain_create(vm, owner)) : NULL;
}

void iommu_domain_destroy(struct iommu_domain *d)
{
	spin_lock(&vtd_lock);
	vtd_domain_destroy(d);
	spin_unlock(&vtd_lock);
}

int iommu_map(struct iommu_domain *d, const struct iommu_range *r, u32 n) { return LOCKED(vtd_domain_map(d, r, n)); }
int iommu_unmap(struct iommu_domain *d, const struct iommu_range *r, u32 n) { return LOCKED(vtd_domain_unmap(d, r, n)); }
int iommu_attach(struct iommu_domain *d, rid_t rid) { return LOCKED(vtd_device_attach(d, rid, false)); }
bool iommu_isolate(rid_t rid) { return LOCKED(vtd_device_isolate(rid)); }
int iommu_vf_declare(rid_t vf, rid_t pf) { return LOCKED(vtd_vf_declare(vf, pf)); }

static int detach(struct iommu_domain *d, rid_t rid)
{
	struct vtd_device *dev = vtd_device_find(rid);

	if (!dev || dev->domain != d)
		return -ENODEV;
	vtd_faults_poll(dev->unit); /* what it did while attached is charged to its VM */
	return vtd_device_detach(dev);
}

int iommu_detach(struct iommu_domain *d, rid_t rid) { return LOCKED(detach(d, rid)); }

int iommu_irq_alloc(rid_t rid) { return LOCKED(vtd_irte_alloc(rid)); }
int iommu_irq_alloc_ioapic(u8 id) { return LOCKED(vtd_irte_alloc_ioapic(id)); }
int iommu_irq_set(int handle, u32 apic_id, u8 vector) { return LOCKED(vtd_irte_set(handle, apic_id, vector)); }
int iommu_irq_mask(int handle) { return LOCKED(vtd_irte_mask(handle)); }

void iommu_irq_free(int handle)
{
	spin_lock(&vtd_lock);
	vtd_irte_free(handle);
	spin_unlock(&vtd_lock);
}

void iommu_irq_message(int handle, u64 *addr, u32 *data)
{
	*addr = vtd_msi_remappable((u16)handle);
	*data = 0;
}

static void faults_poll(void)
{
	for (u32 i = 0; i < vtd.nr_units; i++)
		vtd_faults_poll(&vtd.units[i]);
}

void iommu_faults_poll(void)
{
	spin_lock(&vtd_lock);
	faults_poll();
	spin_unlock(&vtd_lock);
}

u64 iommu_faults_of(const void *vm)
{
	spin_lock(&vtd_lock);
	faults_poll();
	u64 n = vtd_faults_of(vm);
	spin_unlock(&vtd_lock);
	return n;
}

void iommu_forget_vm(const void *vm)
{
	spin_lock(&vtd_lock);
	vtd_faults_forget(vm);
	spin_unlock(&vtd_lock);
}

void iommu_set_vm_namer(const char *(*namer)(void *vm))
{
	spin_lock(&vtd_lock);
	vtd_faults_set_namer(namer);
	spin_unlock(&vtd_lock);
}

void iommu_stats(struct iommu_stats *out) { *out = LOCKED(vtd.stats); }

void iommu_balance(struct iommu_balance *out)
{
	spin_lock(&vtd_lock);
	*out = (struct iommu_balance){ .domains = vtd_domains_count(), .devices = vtd_devices_count(), .irtes = vtd_irtes_count() };
	spin_unlock(&vtd_lock);
}
