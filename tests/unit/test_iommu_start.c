/*
 * iommu_init on a model of the hardware (vtd_machine.h): default deny, units that something else left running, machines with
 * less than everything, firmware's reserved regions, which unit covers whom.
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

/* ---- start-up ---- */

static void default_deny(void **state)
{
	(void)state;
	assert_true(stub.quiesced);
	assert_int_equal(model_reg32(UNIT0, 0x1c) & 0x86000000, 0x86000000); /* TES QIES IRES */
	assert_false(model_reg32(UNIT0, 0x1c) & 1u << 23);                   /* compatibility format blocked */
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
	u32 *regs = (u32 *)UNIT0->regs;
	struct vtd_entry *old = aligned_alloc(4096, 8192), *old_queue = old + 256;
	memset(old, 0, 8192);
	old[1].lo = (u64)old | 1; /* bus 1: contexts in the same page, all nonsense but 01:00.0, which may reach anything */
	old[0].lo = 1;
	regs[0x1c / 4] = 0xc7800000; /* all on, compatibility format allowed */
	regs[0x64 / 4] = 1u << 31 | 1;
	regs[0x34 / 4] = 1;
	UNIT0->root = (u64)old;
	UNIT0->ring = (u64)old_queue;
	UNIT0->regs[0x80 / 8] = UNIT0->regs[0x88 / 8] = 5 << 4;
	UNIT0->regs[0x220 / 8 + 1] = 1ull << 63 | 6ull << 32 | 0x100; /* a fault from before our time */
	u32 *status = &regs[0x34 / 4];
	*status |= 2;
	assert_int_equal(iommu_init(), 0);
	assert_int_equal(*status & 3, 0);
	iommu_faults_poll();
	assert_int_equal(stats().faults, 0); /* nobody's fault of today */
	assert_true(UNIT0->root != (u64)old);
	assert_blocked(PF, RAM);
	assert_int_equal(model_reg32(UNIT0, 0x1c) & 0x86800000, 0x86000000);
	assert_int_equal(model_reg32(UNIT0, 0x64), 0);
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
	machine_dmar[50] = 0;
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
			machine_dmar[37] = 0;
		else
			models[1].regs[2] &= ~8ull; /* ECAP.IR of one unit */
		assert_int_equal(iommu_init(), 0);
		assert_true(iommu_info()->present && !iommu_info()->remapping);
		assert_non_null(strstr(iommu_info()->why_not, i ? "platform" : "not supported by unit 1"));
		assert_int_equal(model_reg32(UNIT0, 0x1c) & 0x82000000, 0x80000000);
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
	/* addresses narrower than the tables are deep */
	start_with((MODEL_CAP & ~0x3f0000ull) | 40 << 16, MODEL_ECAP);
	d = domain();
	assert_int_equal(map1(d, 1ull << 41, RAM, 0x1000, RW), -EINVAL);
	assert_int_equal(map1(d, (1ull << 41) - 0x1000, RAM, 0x1000, RW), 0);
	assert_int_equal(iommu_attach(d, PF), 0);
	assert_reaches(PF, (1ull << 41) - 0x1000, RAM);
	end_domain(d, PF);
}

/* ---- firmware's reserved regions ---- */

static void reserved_regions(void **state)
{
	(void)state;
	machine(1, MODEL_CAP, MODEL_ECAP);
	machine_reserve(1, 3, 0xe0000000, 0xe0001fff);
	machine_reserve(1, 3, 0xe0100000, 0xe0100fff); /* the same device once more */
	machine_reserve(1, 4, 0xe0000000, 0xe0000fff); /* another with the same memory */
	machine_reserve(1, 5, RAM, RAM + 0xfff);       /* a lie: this is RAM */
	machine_reserve(1, 6, 0xfee00000, 0xfee00fff); /* interrupts are not memory */
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(default_deny), T(taking_over_a_running_unit), T(machines_without), T(units_that_do_not_obey),
		T(without_remapping), T(capabilities_of_all_units_count), T(reserved_regions),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
