/*
 * Machines for the tests of iommu/: DMAR, root ports and units of the model, and short words for what tests do.
 *
 * T(test) starts a machine with one unit like QEMU's, and checks afterwards that the rules for software were kept.
 */
#ifndef UNIT_VTD_MACHINE_H
#define UNIT_VTD_MACHINE_H

#include "iommu/iommu.h"
#include "iommu/vtd.h"
#include "tests/unit/vtd_model.h"

#define PF RID(1, 0, 0)
#define VF0 RID(1, 0x10, 0)
#define VF1 RID(1, 0x10, 2)
#define ON_UNIT1 RID(2, 0, 0) /* only on machines with two units */
#define RAM 0x10000000ull
#define IO 0x40000000ull
#define RW (IOMMU_READ | IOMMU_WRITE)
#define UNIT0 (&models[0])

/* The DMAR of the machine: signature and header, then what was added. */
extern u8 machine_dmar[1024];

/* Root port 00:01.0 with bus 1 below, and so on for more units; not started. */
void machine(u32 units, u64 cap, u64 ecap);
/* Add a region that firmware reserved for one endpoint. */
void machine_reserve(u8 bus, u8 device, u64 base, u64 limit);
/* One unit, started. */
void start_with(u64 cap, u64 ecap);
int start(void **state);
int check_rules(void **state);
#define T(f) cmocka_unit_test_setup_teardown(f, start, check_rules)

extern u64 reached; /* where the last access went */
u32 dma(rid_t rid, u64 iova, bool write);
#define assert_reaches(rid, iova, hpa) do { \
	assert_int_equal(dma(rid, iova, true), MODEL_PASSED); \
	assert_int_equal(reached, hpa); \
	assert_int_equal(dma(rid, iova, false), MODEL_PASSED); \
} while (0)
#define assert_blocked(rid, iova) do { \
	assert_true(dma(rid, iova, true) != MODEL_PASSED); \
	assert_true(dma(rid, iova, false) != MODEL_PASSED); \
} while (0)

extern u32 msi_apic;
extern u8 msi_vector;
u32 msi(rid_t rid, int handle);
#define assert_delivers(rid, handle, apic, vec) do { \
	assert_int_equal(msi(rid, handle), MODEL_PASSED); \
	assert_int_equal(msi_apic, apic); \
	assert_int_equal(msi_vector, vec); \
} while (0)

struct iommu_domain *domain(void);
struct iommu_range range(u64 iova, u64 hpa, u64 bytes, u32 perm);
int map1(struct iommu_domain *d, u64 iova, u64 hpa, u64 bytes, u32 perm);
int unmap1(struct iommu_domain *d, u64 iova, u64 bytes);
void end_domain(struct iommu_domain *d, rid_t rid);
struct iommu_balance balance(void);
struct iommu_stats stats(void);
/* Everything given back, exactly. */
void assert_nothing_left(void);

#endif
