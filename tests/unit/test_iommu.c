/*
 * iommu/ as a whole on a model of the hardware (vtd_model.h): default deny, domains and their flushes, interrupts, faults,
 * failing hardware, machines with less than everything. Whether the model sees a missing flush is a test of its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/errno.h"
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

static struct model *const unit = &models[0];

/* ---- machines ---- */

static u8 table[1024];
static u32 len;

static void put(u64 v, u32 bytes)
{
	for (u32 i = 0; i < bytes; i++)
		table[len++] = (u8)(v >> 8 * i);
}
static void drhd(u64 base, u8 bridge_device)
{
	put(0, 2);
	put(16 + 8, 2);
	put(0, 4);
	put(base, 8);
	put(DMAR_BRIDGE | 8 << 8, 4);
	put(bridge_device << 16, 4);
}
static void dmar_finish(void)
{
	memcpy(&table[4], &len, 4);
	stub.dmar = table;
}
static void bridge(u32 i, u8 device, u8 bus)
{
	stub.pci[i] = (struct pci_dev){ .rid = RID(0, device, 0), .header_type = 1, .secondary = bus, .subordinate = bus };
	stub.nr_pci = i + 1;
}

/* Root port 00:01.0 with bus 1 below, and so on for more units. Units as given in models[]. */
static void machine(u32 units, u64 cap, u64 ecap)
{
	stub_reset();
	memset(table, 0, sizeof(table));
	memcpy(table, "DMAR", 4);
	table[36] = 38;
	table[37] = DMAR_INTR_REMAP;
	len = 48;
	for (u32 i = 0; i < MODEL_UNITS; i++)
		model_reset(&models[i], cap, ecap);
	for (u32 i = 0; i < units; i++) {
		drhd(MODEL_BASE(i), (u8)(i + 1));
		bridge(i, (u8)(i + 1), (u8)(i + 1));
	}
	dmar_finish();
}
static void start_with(u64 cap, u64 ecap)
{
	machine(1, cap, ecap);
	assert_int_equal(iommu_init(), 0);
}
static int start(void **state)
{
	(void)state;
	start_with(MODEL_CAP, MODEL_ECAP);
	return 0;
}
/* After each test: the rules for software were kept. */
static int check_rules(void **state)
{
	(void)state;
	for (u32 i = 0; i < MODEL_UNITS; i++) {
		if (models[i].violations)
			print_error("unit %u: %s\n", i, models[i].violation);
		assert_int_equal(models[i].violations, 0);
	}
	return 0;
}

static u64 reached; /* where the last access went */
static u32 dma(rid_t rid, u64 iova, bool write) { return model_dma(unit, rid, iova, write, &reached); }
#define assert_reaches(rid, iova, hpa) do { \
	assert_int_equal(dma(rid, iova, true), MODEL_PASSED); \
	assert_int_equal(reached, hpa); \
	assert_int_equal(dma(rid, iova, false), MODEL_PASSED); \
} while (0)
#define assert_blocked(rid, iova) do { \
	assert_true(dma(rid, iova, true) != MODEL_PASSED); \
	assert_true(dma(rid, iova, false) != MODEL_PASSED); \
} while (0)

static struct iommu_domain *domain(void)
{
	struct iommu_domain *d = iommu_domain_create(&stub, &stub.vm_owner);
	assert_non_null(d);
	return d;
}
static struct iommu_range range(u64 iova, u64 hpa, u64 bytes, u32 perm)
{
	return (struct iommu_range){ .iova = IOVA(iova), .hpa = HPA(hpa), .len = bytes, .perm = perm };
}
static int map1(struct iommu_domain *d, u64 iova, u64 hpa, u64 bytes, u32 perm)
{
	struct iommu_range r = range(iova, hpa, bytes, perm);
	return iommu_map(d, &r, 1);
}
static int unmap1(struct iommu_domain *d, u64 iova, u64 bytes)
{
	struct iommu_range r = range(iova, 0, bytes, 0);
	return iommu_unmap(d, &r, 1);
}
static struct iommu_balance balance(void)
{
	struct iommu_balance b;
	iommu_balance(&b);
	return b;
}
static struct iommu_stats stats(void)
{
	struct iommu_stats s;
	iommu_stats(&s);
	return s;
}
/* Everything given back, exactly. */
static void assert_nothing_left(void)
{
	struct iommu_balance b = balance();
	assert_int_equal(b.domains, 0);
	assert_int_equal(b.devices, 0);
	assert_int_equal(b.irtes, 0);
	assert_int_equal(stub.vm_owner.pages, 0);
}
static void end_domain(struct iommu_domain *d, rid_t rid)
{
	assert_int_equal(iommu_detach(d, rid), 0);
	iommu_domain_destroy(d);
}

/* ---- start-up ---- */

static void default_deny(void **state)
{
	(void)state;
	assert_true(stub.quiesced);
	assert_int_equal(model_reg32(unit, 0x1c) & 0x86000000, 0x86000000); /* TES QIES IRES */
	assert_false(model_reg32(unit, 0x1c) & 1u << 23);                   /* compatibility format blocked */
	for (u32 rid = 0; rid < 0x10000; rid += 0x61)
		assert_blocked((rid_t){ (u16)rid }, RAM);
	assert_true(iommu_info()->present && iommu_info()->remapping);
	assert_null(iommu_info()->why_not);
	assert_int_equal(iommu_info()->units, 1);
	assert_nothing_left();
}

static void taking_over_a_running_unit(void **state)
{
	(void)state;
	machine(1, MODEL_CAP | 1 << 5 | 1 << 6, MODEL_ECAP); /* with protected memory regions */
	u32 *regs = (u32 *)unit->regs;
	struct vtd_entry *old = aligned_alloc(4096, 8192), *old_queue = old + 256;
	memset(old, 0, 8192);
	old[1].lo = (u64)old | 1; /* bus 1: contexts in the same page, all nonsense but 01:00.0, which may reach anything */
	old[0].lo = 1;
	regs[0x1c / 4] = 0xc7800000; /* all on, compatibility format allowed */
	regs[0x64 / 4] = 1u << 31 | 1;
	regs[0x34 / 4] = 1;
	unit->root = (u64)old;
	unit->ring = (u64)old_queue;
	unit->regs[0x80 / 8] = unit->regs[0x88 / 8] = 5 << 4;
	unit->regs[0x220 / 8 + 1] = 1ull << 63 | 6ull << 32 | 0x100; /* a fault from before our time */
	assert_int_equal(iommu_init(), 0);
	assert_true(unit->root != (u64)old);
	assert_blocked(PF, RAM);
	assert_int_equal(model_reg32(unit, 0x1c) & 0x86800000, 0x86000000);
	assert_int_equal(model_reg32(unit, 0x64), 0);
	assert_true(stats().faults == 0 && !stub_logged("VT-d fault: 01:00.0 write at iova 0x0 "));
	free(old);
}

static void expect_nothing(int err, const char *why)
{
	assert_int_equal(iommu_init(), err);
	assert_false(iommu_info()->present || iommu_info()->remapping);
	assert_non_null(iommu_info()->why_not);
	if (!strstr(iommu_info()->why_not, why))
		fail_msg("\"%s\" does not say \"%s\"", iommu_info()->why_not, why);
	assert_true(stub_logged(why) && stub.quiesced);
	assert_null(iommu_domain_create(NULL, &mem_self));
	assert_true(iommu_irq_alloc(PF) < 0);
	iommu_faults_poll();
	for (u32 i = 0; i < MODEL_UNITS; i++) /* all or none */
		assert_int_equal(model_reg32(&models[i], 0x1c) & ~models[i].deaf_commands & 0x82000000, 0);
}

static void machines_without(void **state)
{
	(void)state;
	machine(0, MODEL_CAP, MODEL_ECAP);
	expect_nothing(-ENODEV, "no remapping unit");
	machine(1, MODEL_CAP, MODEL_ECAP);
	stub.dmar = NULL;
	expect_nothing(-ENODEV, "no valid ACPI table DMAR");
	machine(1, MODEL_CAP, MODEL_ECAP);
	table[50] = 0;
	expect_nothing(-EINVAL, "DMAR is corrupt: a structure's length is wrong");
	machine(1, MODEL_CAP, MODEL_ECAP & ~2ull);
	expect_nothing(-ENODEV, "unit 0 at fed90000 has no queued invalidation");
	machine(1, MODEL_CAP & ~0x1f00ull, MODEL_ECAP);
	expect_nothing(-ENODEV, "no page-table depth");
	machine(1, ~0ull, MODEL_ECAP);
	expect_nothing(-ENODEV, "does not answer");
	machine(1, MODEL_CAP, MODEL_ECAP);
	stub.fail_after = 1;
	expect_nothing(-ENOMEM, "no memory");
}

/* Each command in turn has no effect, at the second of two units: the first must not stay behind, half on. */
static void units_that_do_not_obey(void **state)
{
	static const u32 commands[] = { 31, 30, 26, 25, 24 };
	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(commands); i++) {
		machine(2, MODEL_CAP, MODEL_ECAP);
		models[1].deaf_commands = 1u << commands[i];
		expect_nothing(-ETIMEDOUT, "unit 1 at fed91000 does");
	}
	machine(2, MODEL_CAP, MODEL_ECAP);
	models[1].deaf_queue = true;
	expect_nothing(-EIO, "unit 1 at fed91000 does not obey");
}

static void without_remapping(void **state)
{
	(void)state;
	for (u32 i = 0; i < 2; i++) {
		machine(2, MODEL_CAP, MODEL_ECAP);
		if (i)
			table[37] = 0;
		else
			models[1].regs[2] &= ~8ull; /* ECAP.IR of one unit */
		assert_int_equal(iommu_init(), 0);
		assert_true(iommu_info()->present && !iommu_info()->remapping);
		assert_non_null(strstr(iommu_info()->why_not, i ? "platform" : "not supported by unit 1"));
		assert_int_equal(model_reg32(unit, 0x1c) & 0x82000000, 0x80000000);
		assert_int_equal(iommu_irq_alloc(PF), -ENOTSUP);
		struct iommu_domain *d = domain(); /* translation still works */
		assert_int_equal(iommu_attach(d, PF), 0);
		assert_int_equal(map1(d, IO, RAM, 0x1000, RW), 0);
		assert_reaches(PF, IO, RAM);
		end_domain(d, PF);
	}
}

static void capabilities_of_all_units_count(void **state)
{
	(void)state;
	machine(2, MODEL_CAP, MODEL_ECAP);
	models[0].regs[2] |= 1 << 7;                                  /* snoop control only there: the bit is reserved elsewhere */
	models[1].regs[1] = (MODEL_CAP & ~0x3f0f00ull) | 0x260200;    /* 39 bits, 3 levels */
	models[1].regs[1] &= ~(3ull << 34);                           /* no large pages */
	assert_int_equal(iommu_init(), 0);
	struct iommu_domain *d = domain();
	assert_int_equal(iommu_attach(d, PF), 0);
	assert_int_equal(iommu_attach(d, ON_UNIT1), 0);
	assert_int_equal(map1(d, IO, RAM, SIZE_2M, RW), 0);
	assert_reaches(PF, IO + 0x5123, RAM + 0x5123);
	assert_int_equal(model_dma(&models[1], ON_UNIT1, IO + 0x1ff000, true, &reached), MODEL_PASSED);
	assert_int_equal(reached, RAM + 0x1ff000);
	assert_int_equal(map1(d, 1ull << 39, RAM, 0x1000, RW), -EINVAL);
	assert_int_equal(unmap1(d, IO, SIZE_2M), 0); /* both units are told */
	assert_blocked(PF, IO);
	assert_true(model_dma(&models[1], ON_UNIT1, IO + 0x1ff000, true, &reached) != MODEL_PASSED);
	assert_int_equal(iommu_detach(d, ON_UNIT1), 0);
	end_domain(d, PF);
	assert_nothing_left();
}

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
	unit->deaf_types = 1 << 2;
	assert_int_equal(unmap1(d, IO, 0x1000), 0);
	assert_reaches(VF0, IO, RAM);
	unit->deaf_types = 1 << 1;
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
	assert_int_equal(model_msi(unit, VF0, addr, data, &apic, &vector), 0x22);
	assert_int_equal(iommu_irq_set(h, 1, 0x60), 0);
	assert_int_equal(model_msi(unit, VF0, addr, data, &apic, &vector), MODEL_PASSED);
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

/* ---- firmware's reserved regions ---- */

static void reserve(u8 bus, u8 device, u64 base, u64 limit)
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

static void reserved_regions(void **state)
{
	(void)state;
	machine(1, MODEL_CAP, MODEL_ECAP);
	reserve(1, 3, 0xe0000000, 0xe0001fff);
	reserve(1, 3, 0xe0100000, 0xe0100fff); /* the same device once more */
	reserve(1, 4, 0xe0000000, 0xe0000fff); /* another with the same memory */
	reserve(1, 5, RAM, RAM + 0xfff);       /* a lie: this is RAM */
	reserve(1, 6, 0xfee00000, 0xfee00fff); /* interrupts are not memory */
	assert_int_equal(iommu_init(), 0);
	const rid_t a = RID(1, 3, 0), b = RID(1, 4, 0);
	assert_reaches(a, 0xe0001000, 0xe0001000);
	assert_reaches(a, 0xe0100000, 0xe0100000);
	assert_blocked(a, 0xe0002000);
	assert_reaches(b, 0xe0000000, 0xe0000000);
	assert_blocked(b, 0xe0001000);
	assert_blocked(PF, 0xe0000000);
	assert_blocked(RID(1, 5, 0), RAM);
	assert_true(stub_logged("lies in RAM"));
	assert_blocked(RID(1, 6, 0), 0xfee00000);
	assert_nothing_left(); /* these domains are not counted */
	/* a real attachment ends it, and it does not come back */
	struct iommu_domain *d = domain();
	assert_int_equal(iommu_attach(d, a), 0);
	assert_blocked(a, 0xe0001000);
	assert_reaches(b, 0xe0000000, 0xe0000000);
	end_domain(d, a);
	assert_blocked(a, 0xe0001000);
	assert_nothing_left();
}

/* ---- interrupts ---- */

static u32 msi_apic;
static u8 msi_vector;
static u32 msi(rid_t rid, int handle)
{
	u64 addr;
	u32 data;
	iommu_irq_message(handle, &addr, &data);
	return model_msi(unit, rid, addr, data, &msi_apic, &msi_vector);
}
#define assert_delivers(rid, handle, apic, vec) do { \
	assert_int_equal(msi(rid, handle), MODEL_PASSED); \
	assert_int_equal(msi_apic, apic); \
	assert_int_equal(msi_vector, vec); \
} while (0)

static void interrupts(void **state)
{
	(void)state;
	int h = iommu_irq_alloc(VF0), other = iommu_irq_alloc(VF1);
	assert_true(h >= 0 && other >= 0 && h != other);
	assert_int_equal(msi(VF0, h), 0x22); /* nothing before it is set */
	assert_int_equal(iommu_irq_set(h, 2, 0x41), 0);
	assert_delivers(VF0, h, 2, 0x41);
	assert_int_equal(msi(VF1, h), 0x26); /* another device may not use it */
	assert_int_equal(msi(PF, h), 0x26);
	assert_int_equal(iommu_irq_set(h, 3, 0x42), 0); /* retargeted while cached */
	assert_delivers(VF0, h, 3, 0x42);
	assert_int_equal(iommu_irq_mask(h), 0);
	assert_int_equal(msi(VF0, h), 0x22);
	assert_int_equal(iommu_irq_set(h, 3, 0x42), 0);
	assert_delivers(VF0, h, 3, 0x42);
	iommu_irq_free(h);
	assert_int_equal(msi(VF0, h), 0x22);
	/* the same entry for another device: the old one is out */
	int again = iommu_irq_alloc(VF1);
	assert_int_equal(again, h);
	assert_int_equal(iommu_irq_set(again, 1, 0x43), 0);
	assert_int_equal(msi(VF0, again), 0x26);
	assert_delivers(VF1, again, 1, 0x43);
	/* compatibility format, and an index beyond the table */
	assert_int_equal(model_msi(unit, VF0, 0xfee00000, 0x41, &msi_apic, &msi_vector), 0x25);
	assert_int_equal(model_msi(unit, VF0, 0xfee00014 | 0x7fff << 5, 0, &msi_apic, &msi_vector), 0x21);
	assert_int_equal(balance().irtes, 2);
	assert_int_equal(stats().irte_writes, 6);
	iommu_irq_free(again);
	iommu_irq_free(other);
	assert_nothing_left();
}

static void interrupt_arguments(void **state)
{
	(void)state;
	int h = iommu_irq_alloc(VF0), n;
	assert_int_equal(iommu_irq_set(h, 0, 15), -EINVAL);
	assert_int_equal(iommu_irq_set(h, 0, 16), 0);
	assert_int_equal(iommu_irq_set(h, 255, 0x40), -EINVAL); /* broadcast; and ids the format does not hold */
	assert_int_equal(iommu_irq_set(h, 256, 0x40), -EINVAL);
	assert_int_equal(iommu_irq_set(h, ~0u, 0x40), -EINVAL);
	assert_int_equal(iommu_irq_set(h + 1, 0, 0x40), -EINVAL);
	assert_int_equal(iommu_irq_set(-1, 0, 0x40), -EINVAL);
	assert_int_equal(iommu_irq_set(1 << 20, 0, 0x40), -EINVAL);
	assert_int_equal(iommu_irq_mask(-1), -EINVAL);
	iommu_irq_free(-1);
	iommu_irq_free(h + 1);
	for (n = 1; (h = iommu_irq_alloc(VF0)) >= 0; n++)
		assert_in_range(n, 1, 1024);
	assert_int_equal(h, -ENOSPC);
	assert_int_equal(n, 1024);
	for (h = 0; h < n; h++)
		iommu_irq_free(h);
	assert_nothing_left();
}

static void x2apic_ids(void **state)
{
	(void)state;
	machine(1, MODEL_CAP, MODEL_ECAP);
	stub.x2apic = true;
	assert_int_equal(iommu_init(), 0);
	assert_true(iommu_info()->x2apic);
	int h = iommu_irq_alloc(VF0);
	assert_int_equal(iommu_irq_set(h, 0x12345, 0x41), 0);
	assert_delivers(VF0, h, 0x12345, 0x41);
	assert_int_equal(iommu_irq_set(h, 255, 0x41), 0);
	assert_delivers(VF0, h, 255, 0x41);
	assert_int_equal(iommu_irq_set(h, ~0u, 0x41), -EINVAL);
	/* x2APIC, but a unit that does not know it: 8-bit ids */
	machine(1, MODEL_CAP, MODEL_ECAP & ~0x10ull);
	stub.x2apic = true;
	assert_int_equal(iommu_init(), 0);
	assert_false(iommu_info()->x2apic);
	h = iommu_irq_alloc(VF0);
	assert_int_equal(iommu_irq_set(h, 256, 0x41), -EINVAL);
	assert_int_equal(iommu_irq_set(h, 7, 0x41), 0);
	assert_delivers(VF0, h, 7, 0x41);
}

/* ---- faults ---- */

static const char *vm_name(void *vm) { return vm == &stub ? "inner" : "?"; }

static void faults_are_reported(void **state)
{
	(void)state;
	iommu_set_vm_namer(vm_name);
	assert_int_equal(model_reg32(unit, 0x40), 0xfee03000); /* APIC id of CPU 0 */
	assert_int_equal(model_reg32(unit, 0x3c), 0x51);
	struct iommu_domain *d = domain();
	assert_int_equal(iommu_attach(d, VF0), 0);
	assert_int_equal(dma(VF0, 0x7ff00123, false), 6);
	assert_int_equal(unit->events, 1);
	stub.irq_fn(stub.irq_arg, 0x51);
	assert_true(stub_logged("VT-d fault: 01:10.0 read at iova 0x7ff00000 reason 0x6 (no read permission / not present), inner\n"));
	assert_int_equal(dma(VF0, 0x1000, true), 5);
	assert_int_equal(unit->events, 2); /* the record was freed, so the next fault is an event again */
	assert_int_equal(iommu_faults_of(&stub), 2); /* asking looks at what is pending */
	assert_true(stub_logged("01:10.0 write at iova 0x1000 reason 0x5 (no write permission / not present), inner\n"));
	assert_int_equal(dma(PF, 0x2000, true), 2);
	iommu_faults_poll();
	assert_true(stub_logged("01:00.0 write at iova 0x2000 reason 0x2 (context entry not present), attached to nothing\n"));
	int h = iommu_irq_alloc(VF0);
	assert_int_equal(msi(VF0, h), 0x22);
	iommu_faults_poll();
	assert_true(stub_logged("VT-d fault: 01:10.0 interrupt index 0 reason 0x22 (entry not present), inner\n"));
	iommu_irq_free(h);
	/* what happened before the detach is charged, what happens after is not */
	assert_int_equal(dma(VF0, 0x3000, true), 5);
	end_domain(d, VF0);
	assert_int_equal(dma(VF0, 0x4000, true), 2);
	assert_int_equal(iommu_faults_of(&stub), 4);
	assert_int_equal(stats().faults, 6);
	assert_int_equal(iommu_faults_of(NULL), 0);
	iommu_forget_vm(&stub);
	assert_int_equal(iommu_faults_of(&stub), 0);
	iommu_set_vm_namer(NULL);
}

static void a_storm_does_not_flood_the_console(void **state)
{
	(void)state;
	struct iommu_domain *d = domain();
	assert_int_equal(iommu_attach(d, VF0), 0);
	u32 lines = stub.log_lines;
	for (u32 i = 0; i < 10000; i++) {
		assert_int_equal(dma(VF0, 0x5000, true), 5);
		iommu_faults_poll();
	}
	assert_int_equal(iommu_faults_of(&stub), 10000);
	assert_in_range(stub.log_lines - lines, 9, 8 + 14);
	assert_true(stub_logged("8192 so far"));
	lines = stub.log_lines; /* another device is still heard */
	assert_int_equal(dma(VF1, 0x5000, true), 2);
	iommu_faults_poll();
	assert_int_equal(stub.log_lines, lines + 1);
	for (u32 i = 0; i < 5000; i++) { /* requester IDs without end */
		assert_true(dma((rid_t){ (u16)(0x8000 + i) }, 0, true));
		iommu_faults_poll();
	}
	assert_in_range(stub.log_lines - lines, 10, 120);
	end_domain(d, VF0);
	iommu_forget_vm(&stub);
}

static void overflow_is_cleared(void **state)
{
	(void)state;
	for (u32 records = 1; records <= 8; records += 7) {
		start_with(MODEL_CAP | (u64)(records - 1) << 40, MODEL_ECAP);
		for (u32 i = 0; i < records + 3; i++)
			assert_int_equal(dma(VF0, 0x1000 * i, true), 1); /* its bus has no context table yet */
		assert_true(model_reg32(unit, 0x34) & 1);
		iommu_faults_poll();
		assert_int_equal(model_reg32(unit, 0x34) & 3, 0);
		assert_int_equal(stats().faults, records);
		assert_true(dma(VF0, 0, true));
		iommu_faults_poll();
		assert_int_equal(stats().faults, records + 1);
	}
}

static void without_a_vector_faults_are_polled(void **state)
{
	(void)state;
	machine(1, MODEL_CAP, MODEL_ECAP);
	stub.no_vectors = true;
	assert_int_equal(iommu_init(), 0);
	assert_true(dma(VF0, 0, true));
	assert_int_equal(unit->events, 0);
	iommu_faults_poll();
	assert_int_equal(stats().faults, 1);
}

/* ---- hardware that fails ---- */

static void a_refused_descriptor(void **state)
{
	(void)state;
	struct iommu_domain *d = domain();
	assert_int_equal(map1(d, IO, RAM, 0x2000, RW), 0);
	assert_int_equal(iommu_attach(d, VF0), 0);
	unit->refused_types = 1 << 2;
	assert_int_equal(unmap1(d, IO, 0x1000), -EIO);
	unit->refused_types = 0;
	assert_true(stub_logged("invalidation queue error"));
	/* the queue lives on; the domain works, but its id is never used again */
	assert_int_equal(unmap1(d, IO + 0x1000, 0x1000), 0);
	end_domain(d, VF0);
	struct iommu_domain *next = domain();
	assert_true(next != d);
	iommu_domain_destroy(next);
	assert_nothing_left();
}

static void a_queue_that_stops(void **state)
{
	(void)state;
	struct iommu_domain *d = domain(), *other = domain();
	assert_int_equal(map1(d, IO, RAM, 0x1000, RW), 0);
	assert_int_equal(iommu_attach(d, VF0), 0);
	int h = iommu_irq_alloc(VF0);
	assert_int_equal(iommu_irq_set(h, 1, 0x41), 0);
	assert_reaches(VF0, IO, RAM);
	stub.command[VF0.v] = stub.command[VF1.v] = PCI_COMMAND_MASTER | PCI_COMMAND_MEM;
	unit->deaf_queue = true;
	assert_int_equal(unmap1(d, IO, 0x1000), -EIO);
	assert_true(stub_logged("the invalidation queue has stopped"));
	assert_int_equal(iommu_irq_mask(h), -EIO);
	assert_int_equal(iommu_attach(other, VF1), -EIO); /* nobody new: it could never be taken back */
	assert_int_equal(map1(d, 2 * IO, RAM, 0x1000, RW), -EIO);
	assert_int_equal(iommu_detach(d, VF0), -EIO);
	assert_int_equal(iommu_detach(d, VF0), -EIO);
	assert_int_equal(iommu_attach(other, VF0), -EIO);
	expect_assert_failure(iommu_domain_destroy(d)); /* never while a device may still use it */
	spin_unlock(&vtd_lock);                         /* which a panic does not give back */
}

static void isolation(void **state)
{
	(void)state;
	struct iommu_domain *d = domain();
	assert_int_equal(map1(d, IO, RAM, 0x1000, RW), 0);
	assert_int_equal(iommu_attach(d, VF0), 0);
	assert_int_equal(iommu_attach(d, VF1), 0);
	int h = iommu_irq_alloc(VF0);
	stub.command[VF0.v] = stub.command[VF1.v] = PCI_COMMAND_MASTER | PCI_COMMAND_MEM;
	/* the unit works: bus mastering off and detached */
	assert_true(iommu_isolate(VF1));
	assert_int_equal(stub.command[VF1.v], PCI_COMMAND_MEM);
	assert_blocked(VF1, IO);
	assert_true(iommu_isolate(VF1));
	/* the unit does not: the device's own silence is what isolates */
	unit->deaf_queue = true;
	assert_int_equal(iommu_detach(d, VF0), -EIO);
	stub.deaf_rid = VF0.v;
	assert_false(iommu_isolate(VF0));
	assert_int_equal(balance().devices, 1);
	stub.deaf_rid = 0;
	assert_true(iommu_isolate(VF0));
	assert_int_equal(stub.command[VF0.v], PCI_COMMAND_MEM);
	iommu_irq_free(h);
	iommu_domain_destroy(d);
	struct iommu_domain *next = domain();
	assert_true(next != d); /* its id may live on in the cache */
	iommu_domain_destroy(next);
	assert_nothing_left();
	assert_true(iommu_irq_alloc(VF0) != h); /* and so may the interrupt entry */
}

#define T(f) cmocka_unit_test_setup_teardown(f, start, check_rules)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(default_deny), T(taking_over_a_running_unit), T(machines_without), T(units_that_do_not_obey), T(without_remapping),
		T(capabilities_of_all_units_count),
		T(a_domain_is_what_a_device_reaches), T(large_pages), T(unmapping_takes_the_page_away), T(the_model_sees_missing_flushes),
		T(caching_mode_is_honoured), T(detaching_ends_everything), T(one_wait_per_call), T(without_page_selective_invalidation),
		T(senseless_ranges_are_refused), T(mapping_is_all_or_nothing), T(owners_limit_and_domain_ids), T(which_unit),
		T(tables_are_flushed_where_hardware_does_not_snoop), T(reserved_regions),
		T(interrupts), T(interrupt_arguments), T(x2apic_ids),
		T(faults_are_reported), T(a_storm_does_not_flood_the_console), T(overflow_is_cleared), T(without_a_vector_faults_are_polled),
		T(a_refused_descriptor), T(a_queue_that_stops), T(isolation),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
