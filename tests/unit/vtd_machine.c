/* Machines for the tests of iommu/ (vtd_machine.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/errno.h"
#include "iommu/dmar.h"
#include "tests/unit/vtd_machine.h"

u8 machine_dmar[1024];
static u32 len; /* so far */

static void put(u64 v, u32 bytes)
{
	for (u32 i = 0; i < bytes; i++)
		machine_dmar[len++] = (u8)(v >> 8 * i);
}
/* A root port, and the I/O APIC with the same number at f0:number.7. */
static void drhd(u64 base, u8 bridge_device)
{
	put(0, 2);
	put(16 + 8 + 8, 2);
	put(0, 4);
	put(base, 8);
	put(DMAR_IOAPIC | 8 << 8, 4);
	put(bridge_device | 0xf0 << 8 | bridge_device << 16 | 7u << 24, 4);
	put(DMAR_BRIDGE | 8 << 8, 4);
	put(bridge_device << 16, 4);
}
static void dmar_finish(void)
{
	memcpy(&machine_dmar[4], &len, 4);
	stub.dmar = machine_dmar;
}
static void bridge(u32 i, u8 device, u8 bus)
{
	stub.pci[i] = (struct pci_dev){ .rid = RID(0, device, 0), .header_type = 1, .secondary = bus, .subordinate = bus };
	stub.nr_pci = i + 1;
}

/* Root port 00:01.0 with bus 1 below, and so on for more units. Units as given in models[]. */
void machine(u32 units, u64 cap, u64 ecap)
{
	stub_reset();
	memset(machine_dmar, 0, sizeof(machine_dmar));
	memcpy(machine_dmar, "DMAR", 4);
	machine_dmar[36] = 38;
	machine_dmar[37] = DMAR_INTR_REMAP;
	len = 48;
	for (u32 i = 0; i < MODEL_UNITS; i++)
		model_reset(&models[i], cap, ecap);
	for (u32 i = 0; i < units; i++) {
		drhd(MODEL_BASE(i), (u8)(i + 1));
		bridge(i, (u8)(i + 1), (u8)(i + 1));
	}
	dmar_finish();
}
void machine_reserve(u8 bus, u8 device, u64 base, u64 limit)
{
	put(1, 2);
	put(24 + 8, 2);
	put(0, 4);
	put(base, 8);
	put(limit, 8);
	put(DMAR_ENDPOINT | 8 << 8, 4);
	put((u32)bus << 8 | device << 16, 4);
	dmar_finish();
}
void start_with(u64 cap, u64 ecap)
{
	machine(1, cap, ecap);
	assert_int_equal(iommu_init(), 0);
}
int start(void **state)
{
	(void)state;
	start_with(MODEL_CAP, MODEL_ECAP);
	return 0;
}
/* After each test: the rules for software were kept. */
int check_rules(void **state)
{
	(void)state;
	for (u32 i = 0; i < MODEL_UNITS; i++) {
		if (models[i].violations)
			print_error("unit %u: %s\n", i, models[i].violation);
		assert_int_equal(models[i].violations, 0);
	}
	return 0;
}

u64 reached;
u32 dma(rid_t rid, u64 iova, bool write) { return model_dma(UNIT0, rid, iova, write, &reached); }

u32 msi_apic;
u8 msi_vector;
u32 msi(rid_t rid, int handle)
{
	u64 addr;
	u32 data;
	iommu_irq_message(handle, &addr, &data);
	return model_msi(UNIT0, rid, addr, data, &msi_apic, &msi_vector);
}

struct iommu_domain *domain(void)
{
	struct iommu_domain *d = iommu_domain_create(&stub, &stub.vm_owner);
	assert_non_null(d);
	return d;
}
struct iommu_range range(u64 iova, u64 hpa, u64 bytes, u32 perm)
{
	return (struct iommu_range){ .iova = IOVA(iova), .hpa = HPA(hpa), .len = bytes, .perm = perm };
}
int map1(struct iommu_domain *d, u64 iova, u64 hpa, u64 bytes, u32 perm)
{
	struct iommu_range r = range(iova, hpa, bytes, perm);
	return iommu_map(d, &r, 1);
}
int unmap1(struct iommu_domain *d, u64 iova, u64 bytes)
{
	struct iommu_range r = range(iova, 0, bytes, 0);
	return iommu_unmap(d, &r, 1);
}
struct iommu_balance balance(void)
{
	struct iommu_balance b;
	iommu_balance(&b);
	return b;
}
struct iommu_stats stats(void)
{
	struct iommu_stats s;
	iommu_stats(&s);
	return s;
}
void assert_nothing_left(void)
{
	struct iommu_balance b = balance();
	assert_int_equal(b.domains, 0);
	assert_int_equal(b.devices, 0);
	assert_int_equal(b.irtes, 0);
	assert_int_equal(stub.vm_owner.pages, 0);
}
void end_domain(struct iommu_domain *d, rid_t rid)
{
	assert_int_equal(iommu_detach(d, rid), 0);
	iommu_domain_destroy(d);
}
