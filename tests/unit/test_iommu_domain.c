/*
 * Domains on a model of the hardware (vtd_machine.h): what a device reaches, and when it no longer does. Whether the model
 * sees a missing flush is a test of its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/errno.h"
#include "tests/unit/vtd_machine.h"

/* ---- domains ---- */

static void a_domain_is_what_a_device_reaches(void **state)
{
	(void)state;
	struct iommu_domain *d = domain(), *other = domain();
	assert_int_equal(map1(d, IO, RAM, 0x3000, RW), 0);
	assert_int_equal(map1(d, IO + 0x10000, RAM + 0x10000, 0x1000, IOMMU_READ), 0);
	assert_int_equal(map1(d, IO + 0x20000, RAM + 0x20000, 0x1000, IOMMU_WRITE), 0);
	assert_blocked(VF0, IO);
	assert_int_equal(iommu_attach(d, VF0), 0);
	assert_int_equal(iommu_attach(other, VF1), 0);
	assert_reaches(VF0, IO + 0x2ffc, RAM + 0x2ffc);
	assert_int_equal(dma(VF0, IO + 0x10008, false), MODEL_PASSED);
	assert_int_equal(dma(VF0, IO + 0x10008, true), 5);
	assert_int_equal(dma(VF0, IO + 0x20008, true), MODEL_PASSED);
	assert_int_equal(dma(VF0, IO + 0x20008, false), 6);
	assert_blocked(VF0, IO + 0x3000);
	assert_blocked(VF0, IO - 0x1000);
	assert_blocked(VF0, RAM);
	assert_blocked(VF1, IO);
	assert_blocked(PF, IO);
	end_domain(d, VF0);
	end_domain(other, VF1);
	assert_nothing_left();
}

static void large_pages(void **state)
{
	(void)state;
	struct iommu_domain *d = domain();
	assert_int_equal(map1(d, SIZE_1G, 4 * SIZE_1G, SIZE_1G, RW), 0);
	assert_int_equal(map1(d, 2 * SIZE_1G, RAM, SIZE_2M, RW), 0);
	assert_in_range(stub.vm_owner.pages, 3, 3); /* three levels: no table for 4 KiB pages was needed */
	assert_int_equal(iommu_attach(d, VF0), 0);
	assert_reaches(VF0, SIZE_1G + 0x12345678, 4 * SIZE_1G + 0x12345678);
	/* part of a large page goes: the rest stays, and the cached large translation is gone */
	assert_int_equal(unmap1(d, SIZE_1G + 0x12345000, 0x1000), 0);
	assert_blocked(VF0, SIZE_1G + 0x12345678);
	assert_reaches(VF0, SIZE_1G + 0x12346000, 4 * SIZE_1G + 0x12346000);
	assert_reaches(VF0, SIZE_1G, 4 * SIZE_1G);
	end_domain(d, VF0);
	assert_nothing_left();
}

static void unmapping_takes_the_page_away(void **state)
{
	(void)state;
	struct iommu_domain *d = domain();
	assert_int_equal(iommu_attach(d, VF0), 0);
	for (u32 pages = 1; pages < 70; pages += 7) { /* unaligned on purpose: several page-selective descriptors, or the domain */
		u64 bytes = pages * PAGE_SIZE;
		assert_int_equal(map1(d, IO + 0x3000, RAM, bytes, RW), 0);
		for (u64 at = 0; at < bytes; at += PAGE_SIZE)
			assert_reaches(VF0, IO + 0x3000 + at, RAM + at);
		assert_int_equal(unmap1(d, IO + 0x3000, bytes), 0);
		for (u64 at = 0; at < bytes; at += PAGE_SIZE)
			assert_blocked(VF0, IO + 0x3000 + at);
	}
	assert_int_equal(map1(d, 0, RAM, 0x1000, RW), 0); /* iova 0 is an address like any other */
	assert_reaches(VF0, 0, RAM);
	assert_int_equal(unmap1(d, 0, 0x1000), 0);
	assert_blocked(VF0, 0);
	end_domain(d, VF0);
}

/* The model must notice when a flush has no effect, or the tests above would prove nothing. */
static void the_model_sees_missing_flushes(void **state)
{
	(void)state;
	struct iommu_domain *d = domain();
	assert_int_equal(map1(d, IO, RAM, 0x1000, RW), 0);
	assert_int_equal(iommu_attach(d, VF0), 0);
	assert_reaches(VF0, IO, RAM);
	UNIT0->deaf_types = 1 << 2;
	assert_int_equal(unmap1(d, IO, 0x1000), 0);
	assert_reaches(VF0, IO, RAM);
	UNIT0->deaf_types = 1 << 1;
	assert_int_equal(map1(d, IO + 0x1000, RAM, 0x1000, RW), 0);
	assert_int_equal(iommu_detach(d, VF0), 0);
	assert_int_equal(dma(VF0, IO + 0x5000, true), 5); /* not 2: its context is still cached */
	iommu_domain_destroy(d);
}

static void caching_mode_is_honoured(void **state)
{
	(void)state;
	start_with(MODEL_CAP | 1 << 7, MODEL_ECAP);
	assert_true(iommu_info()->caching_mode);
	struct iommu_domain *d = domain();
	assert_blocked(VF0, IO); /* its absence is cached now */
	assert_int_equal(iommu_attach(d, VF0), 0);
	assert_blocked(VF0, IO);
	assert_blocked(VF0, IO + 0x1000);
	struct iommu_stats before = stats();
	assert_int_equal(map1(d, IO, RAM, 0x2000, RW), 0);
	assert_int_equal(stats().waits - before.waits, 1);
	assert_reaches(VF0, IO, RAM);
	assert_reaches(VF0, IO + 0x1000, RAM + 0x1000);
	int h = iommu_irq_alloc(VF0);
	u64 addr;
	u32 data, apic;
	u8 vector;
	iommu_irq_message(h, &addr, &data);
	assert_int_equal(model_msi(UNIT0, VF0, addr, data, &apic, &vector), 0x22);
	assert_int_equal(iommu_irq_set(h, 1, 0x60), 0);
	assert_int_equal(model_msi(UNIT0, VF0, addr, data, &apic, &vector), MODEL_PASSED);
	iommu_irq_free(h);
	end_domain(d, VF0);
}

static void detaching_ends_everything(void **state)
{
	(void)state;
	struct iommu_domain *d = domain();
	assert_int_equal(map1(d, IO, RAM, 0x1000, RW), 0);
	assert_int_equal(iommu_attach(d, VF0), 0);
	assert_int_equal(iommu_attach(d, VF1), 0);
	assert_int_equal(iommu_attach(d, VF0), -EBUSY);
	assert_reaches(VF0, IO, RAM);
	assert_reaches(VF1, IO, RAM);
	assert_int_equal(iommu_detach(d, VF0), 0);
	assert_blocked(VF0, IO);
	assert_reaches(VF1, IO, RAM);
	assert_int_equal(iommu_detach(d, VF0), -ENODEV);
	/* another domain, most likely with the same number next time: nothing of the old one shines through */
	end_domain(d, VF1);
	struct iommu_domain *next = domain();
	assert_int_equal(iommu_detach(next, VF0), -ENODEV);
	assert_int_equal(iommu_attach(next, VF1), 0);
	assert_blocked(VF1, IO);
	end_domain(next, VF1);
	assert_nothing_left();
}

static void one_wait_per_call(void **state)
{
	struct iommu_range r[20], many[64];
	(void)state;
	struct iommu_domain *d = domain();
	assert_int_equal(iommu_attach(d, VF0), 0);
	for (u32 i = 0; i < 20; i++)
		r[i] = range(IO + i * 0x10000, RAM + i * 0x1000, 0x1000, RW);
	for (u32 i = 0; i < 64; i++)
		many[i] = range(2 * IO + i * 0x10000, RAM + i * 0x1000, 0x1000, RW);
	struct iommu_stats before = stats();
	assert_int_equal(iommu_map(d, r, 20), 0);
	assert_int_equal(stats().waits, before.waits); /* without Caching Mode there is nothing to wait for */
	assert_int_equal(iommu_unmap(d, r, 20), 0);
	assert_int_equal(stats().waits, before.waits + 1);
	assert_int_equal(stats().invalidations, before.invalidations + 20);
	assert_int_equal(iommu_map(d, many, 64), 0);
	assert_reaches(VF0, 2 * IO + 63 * 0x10000, RAM + 63 * 0x1000);
	assert_int_equal(iommu_unmap(d, many, 64), 0); /* too many for a batch: the whole domain, in one */
	assert_int_equal(stats().waits, before.waits + 2);
	assert_int_equal(stats().invalidations, before.invalidations + 21);
	assert_blocked(VF0, 2 * IO + 63 * 0x10000);
	assert_int_equal(stats().maps, 84);
	assert_int_equal(stats().unmaps, 84);
	assert_int_equal(iommu_map(d, NULL, 0), 0);
	assert_int_equal(iommu_unmap(d, NULL, 0), 0);
	end_domain(d, VF0);
}

static void without_page_selective_invalidation(void **state)
{
	(void)state;
	start_with(MODEL_CAP & ~(1ull << 39 | 0x3full << 48), MODEL_ECAP);
	struct iommu_domain *d = domain();
	assert_int_equal(iommu_attach(d, VF0), 0);
	assert_int_equal(map1(d, IO, RAM, 0x5000, RW), 0);
	assert_reaches(VF0, IO + 0x4000, RAM + 0x4000);
	assert_int_equal(unmap1(d, IO, 0x5000), 0);
	assert_blocked(VF0, IO + 0x4000);
	end_domain(d, VF0);
}

static void largest_mask_is_kept(void **state)
{
	(void)state;
	start_with((MODEL_CAP & ~(0x3full << 48)) | 2ull << 48, MODEL_ECAP); /* at most four pages a descriptor */
	struct iommu_domain *d = domain();
	assert_int_equal(iommu_attach(d, VF0), 0);
	assert_int_equal(map1(d, IO, RAM, 0x10000, RW), 0);
	assert_reaches(VF0, IO + 0xf000, RAM + 0xf000);
	struct iommu_stats before = stats();
	assert_int_equal(unmap1(d, IO, 0x10000), 0);
	assert_int_equal(stats().invalidations - before.invalidations, 4);
	assert_blocked(VF0, IO + 0xf000);
	end_domain(d, VF0);
}

static void unmapping_without_memory_to_split(void **state)
{
	(void)state;
	struct iommu_domain *d = domain();
	assert_int_equal(iommu_attach(d, VF0), 0);
	assert_int_equal(map1(d, IO, RAM, 0x1000, RW), 0);
	assert_int_equal(map1(d, SIZE_1G * 2, RAM, SIZE_2M, RW), 0);
	assert_reaches(VF0, IO, RAM);
	assert_reaches(VF0, SIZE_1G * 2, RAM);
	struct iommu_range r[] = { range(IO, 0, 0x1000, 0), range(SIZE_1G * 2, 0, 0x1000, 0) };
	stub.fail_after = 1;
	assert_int_equal(iommu_unmap(d, r, 2), -ENOMEM);
	stub.fail_after = 0;
	assert_int_equal(stats().unmaps, 1);
	assert_blocked(VF0, IO); /* what came before is gone, from the caches, too */
	assert_reaches(VF0, SIZE_1G * 2, RAM);
	end_domain(d, VF0);
}

static void senseless_ranges_are_refused(void **state)
{
	static const struct iommu_range bad[] = {
		{ { IO + 1 }, { RAM }, 0x1000, RW }, { { IO }, { RAM + 8 }, 0x1000, RW }, { { IO }, { RAM }, 0x1001, RW },
		{ { IO }, { RAM }, 0, RW }, { { IO }, { RAM }, 0x1000, 0 }, { { IO }, { RAM }, 0x1000, 4 },
		{ { ~0xfffull }, { RAM }, 0x1000, RW }, { { ~0xfffull }, { RAM }, 0x2000, RW }, { { 0x1000 }, { RAM }, ~0xfffull, RW },
		{ { 1ull << 48 }, { RAM }, 0x1000, RW }, { { (1ull << 48) - 0x1000 }, { RAM }, 0x2000, RW },
		{ { 0xfee00000 }, { RAM }, 0x1000, RW }, { { 0xfeeff000 }, { RAM }, 0x1000, RW }, { { 0xfedff000 }, { RAM }, 0x2000, RW },
		{ { 0xfe000000 }, { RAM }, 0x2000000, RW },
		{ { IO }, { 0xe0000000 }, 0x1000, RW }, { { IO }, { 0 }, 0x1000, RW }, { { IO }, { 3 * SIZE_1G - 0x1000 }, 0x2000, RW },
		{ { IO }, { ~0xfffull }, 0x1000, RW }, { { IO }, { 8 * SIZE_1G }, 0x1000, RW },
	};
	(void)state;
	struct iommu_domain *d = domain();
	assert_int_equal(iommu_attach(d, VF0), 0);
	u64 pages = stub.vm_owner.pages;
	for (u32 i = 0; i < ARRAY_SIZE(bad); i++) {
		const struct iommu_range list[] = { range(2 * IO, RAM, 0x1000, RW), bad[i] };
		assert_int_equal(iommu_map(d, list, 2), -EINVAL);
		assert_blocked(VF0, 2 * IO); /* all or nothing */
		if (bad[i].perm == RW && IS_ALIGNED(bad[i].hpa.v, 4096) && bad[i].hpa.v == RAM)
			assert_int_equal(iommu_unmap(d, &bad[i], 1), -EINVAL);
	}
	assert_int_equal(stub.vm_owner.pages, pages);
	/* their neighbours are fine */
	assert_int_equal(map1(d, 0xfedff000, RAM, 0x1000, RW), 0);
	assert_int_equal(map1(d, 0xfef00000, RAM, 0x1000, RW), 0);
	assert_int_equal(map1(d, (1ull << 48) - 0x1000, RAM, 0x1000, RW), 0);
	assert_reaches(VF0, (1ull << 48) - 0x1000, RAM);
	end_domain(d, VF0);
}

static void mapping_is_all_or_nothing(void **state)
{
	(void)state;
	struct iommu_domain *d = domain();
	assert_int_equal(iommu_attach(d, VF0), 0);
	assert_int_equal(map1(d, IO + 0x5000, RAM, 0x1000, RW), 0);
	struct iommu_range r[] = { range(IO, RAM + 0x100000, 0x1000, RW), range(IO + 0x2000, RAM + 0x200000, SIZE_2M, RW) };
	assert_int_equal(iommu_map(d, r, 2), -EEXIST);
	assert_blocked(VF0, IO);
	assert_blocked(VF0, IO + 0x2000);
	assert_reaches(VF0, IO + 0x5000, RAM);
	struct iommu_range twice[] = { range(IO, RAM, 0x2000, RW), range(IO + 0x1000, RAM, 0x1000, RW) };
	assert_int_equal(iommu_map(d, twice, 2), -EEXIST);
	assert_blocked(VF0, IO);
	/* memory runs out at every possible allocation in turn */
	struct iommu_range far[] = { range(IO, RAM, 0x1000, RW), range(8 * SIZE_1G, RAM, 0x1000, RW), range(600 * SIZE_1G, RAM, 0x1000, RW) };
	u32 failures = 0;
	for (u64 n = 1; ; n++) {
		stub.fail_after = n;
		int err = iommu_map(d, far, 3);
		stub.fail_after = 0;
		if (!err)
			break;
		failures++;
		assert_int_equal(err, -ENOMEM);
		assert_blocked(VF0, IO);
		assert_blocked(VF0, 8 * SIZE_1G);
	}
	assert_in_range(failures, 1, 8);
	assert_reaches(VF0, 600 * SIZE_1G, RAM);
	end_domain(d, VF0);
	assert_nothing_left();
}

/* The first page of the range is mapped, the second needs a table that there is no memory for. */
#define BORDER (IO + SIZE_2M)
static u32 passed;
static void look_in_between(void) { passed += dma(VF0, BORDER - 0x1000, true) == MODEL_PASSED; /* cached from now on */ }

static void a_range_that_fails_halfway_is_flushed(void **state)
{
	(void)state;
	for (u32 i = 0; i < 4; i++) {
		u32 caching_mode = i & 1, alone = i >> 1; /* the only range of the call, or the one behind a good one */
		start_with(MODEL_CAP | caching_mode << 7, MODEL_ECAP);
		struct iommu_domain *d = domain();
		assert_int_equal(map1(d, IO, RAM, 0x1000, RW), 0);
		assert_int_equal(iommu_attach(d, VF0), 0);
		const struct iommu_range r[] = { range(2 * IO, RAM, 0x1000, RW), range(BORDER - 0x1000, RAM, 0x2000, RW) };
		passed = 0;
		stub.fail_after = alone ? 1 : 3;
		stub.on_failure = look_in_between;
		assert_int_equal(iommu_map(d, r + alone, 2 - alone), -ENOMEM);
		stub.fail_after = 0;
		assert_int_equal(passed, 1);
		assert_blocked(VF0, BORDER - 0x1000);
		assert_blocked(VF0, 2 * IO);
		end_domain(d, VF0);
		assert_nothing_left();
	}
}

static void owners_limit_and_domain_ids(void **state)
{
	struct iommu_domain *all[256];
	u32 n = 0;
	(void)state;
	stub.vm_owner.limit = 1;
	struct iommu_domain *d = domain();
	assert_int_equal(map1(d, IO, RAM, 0x1000, RW), -ENOMEM);
	iommu_domain_destroy(d);
	stub.vm_owner.limit = 0;
	start_with(MODEL_CAP & ~7ull, MODEL_ECAP); /* 16 ids, of which 0 is reserved */
	while (n < ARRAY_SIZE(all) && (all[n] = iommu_domain_create(NULL, &stub.vm_owner)))
		n++;
	assert_int_equal(n, 15);
	assert_int_equal(balance().domains, 15);
	while (n)
		iommu_domain_destroy(all[--n]);
	assert_nothing_left();
}

static void which_unit(void **state)
{
	(void)state;
	machine(2, MODEL_CAP, MODEL_ECAP);
	stub.pci[1].subordinate = stub.pci[1].secondary = 0; /* the second root port is not numbered: it leads nowhere */
	assert_int_equal(iommu_init(), 0);
	struct iommu_domain *d = domain();
	assert_int_equal(iommu_attach(d, ON_UNIT1), -ENODEV);
	assert_int_equal(iommu_attach(d, RID(0, 0x1f, 2)), -ENODEV);
	assert_int_equal(iommu_irq_alloc(ON_UNIT1), -ENODEV);
	/* a VF on a bus that no scope covers, until its PF is known */
	const rid_t far = RID(0x40, 0, 1);
	assert_int_equal(map1(d, IO, RAM, 0x1000, RW), 0);
	assert_int_equal(iommu_attach(d, far), -ENODEV);
	assert_int_equal(iommu_vf_declare(far, PF), 0);
	assert_int_equal(iommu_vf_declare(far, PF), 0);
	assert_int_equal(iommu_attach(d, far), 0);
	assert_reaches(far, IO, RAM);
	end_domain(d, far);
	for (u16 i = 0; i < 63; i++)
		assert_int_equal(iommu_vf_declare((rid_t){ (u16)(0x5000 + i) }, PF), 0);
	assert_int_equal(iommu_vf_declare((rid_t){ 0x6000 }, PF), -ENOSPC);
}

static void tables_are_flushed_where_hardware_does_not_snoop(void **state)
{
	(void)state;
	assert_int_equal(stub.clflushes, 0);
	start_with(MODEL_CAP, MODEL_ECAP & ~1ull);
	u32 before = stub.clflushes;
	assert_true(before >= 64 + 256); /* root table, interrupt table */
	struct iommu_domain *d = domain();
	assert_in_range(stub.clflushes - before, 64, 65);
	before = stub.clflushes;
	assert_int_equal(iommu_attach(d, VF0), 0);
	assert_true(stub.clflushes - before >= 64 + 2); /* a new context table, the root entry, the context entry */
	before = stub.clflushes;
	assert_int_equal(map1(d, IO, RAM, 0x1000, RW), 0);
	assert_true(stub.clflushes - before >= 3 * 64 + 4);
	end_domain(d, VF0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_domain_is_what_a_device_reaches), T(large_pages), T(unmapping_takes_the_page_away),
		T(the_model_sees_missing_flushes), T(caching_mode_is_honoured), T(detaching_ends_everything),
		T(one_wait_per_call), T(without_page_selective_invalidation), T(largest_mask_is_kept), T(unmapping_without_memory_to_split),
		T(senseless_ranges_are_refused),
		T(mapping_is_all_or_nothing), T(a_range_that_fails_halfway_is_flushed), T(owners_limit_and_domain_ids), T(which_unit),
		T(tables_are_flushed_where_hardware_does_not_snoop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
