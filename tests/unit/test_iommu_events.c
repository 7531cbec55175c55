/*
 * Interrupts, faults and failing hardware on a model of the units (vtd_machine.h).
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

/* ---- interrupts ---- */

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
	assert_int_equal(model_msi(UNIT0, VF0, 0xfee00000, 0x41, &msi_apic, &msi_vector), 0x25);
	assert_int_equal(model_msi(UNIT0, VF0, 0xfee00014 | 0x7fff << 5, 0, &msi_apic, &msi_vector), 0x21);
	assert_int_equal(balance().irtes, 2);
	assert_int_equal(stats().irte_writes, 6);
	iommu_irq_free(again);
	iommu_irq_free(other);
	assert_nothing_left();
}

static void interrupts_of_an_ioapic(void **state)
{
	(void)state;
	int h = iommu_irq_alloc_ioapic(1);
	assert_true(h >= 0);
	assert_int_equal(iommu_irq_set(h, 2, 0x41), 0);
	assert_delivers(RID(0xf0, 1, 7), h, 2, 0x41);
	assert_int_equal(msi(VF0, h), 0x26);
	assert_int_equal(iommu_irq_alloc_ioapic(2), -ENODEV); /* not named */
	assert_int_equal(iommu_irq_alloc(RID(0xf0, 1, 7)), -ENODEV); /* an I/O APIC's scope is no device's */
	iommu_irq_free(h);
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
	assert_int_equal(model_reg32(UNIT0, 0x40), 0xfee03000); /* APIC id of CPU 0 */
	assert_int_equal(model_reg32(UNIT0, 0x3c), 0x51);
	struct iommu_domain *d = domain();
	assert_int_equal(iommu_attach(d, VF0), 0);
	assert_int_equal(dma(VF0, 0x7ff00123, false), 6);
	assert_int_equal(UNIT0->events, 1);
	stub.irq_fn(stub.irq_arg, 0x51);
	assert_true(stub_logged("VT-d fault: 01:10.0 read at iova 0x7ff00000 reason 0x6 (no read permission / not present), inner\n"));
	assert_int_equal(dma(VF0, 0x1000, true), 5);
	assert_int_equal(UNIT0->events, 2); /* the record was freed, so the next fault is an event again */
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
	assert_in_range(stub.log_lines - lines, 33, 32 + 8);
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

/*
 * One record, and a device that takes it whenever it is free. What one poll leaves behind would block the record for everybody, and
 * without an event: so it is looked at again.
 */
static void a_storm_does_not_hold_back_others(void **state)
{
	static u8 other;
	(void)state;
	struct iommu_domain *d = domain(), *quiet = iommu_domain_create(&other, &stub.vm_owner);
	assert_int_equal(iommu_attach(d, VF0), 0);
	assert_int_equal(iommu_attach(quiet, VF1), 0);
	UNIT0->storm = VF0;
	assert_int_equal(dma(VF0, 0x7000, true), 5);
	stub.irq_fn(stub.irq_arg, 0x51); /* comes back, although the storm goes on */
	for (u32 i = 0; i < 100; i++) {
		assert_int_equal(model_reg32(UNIT0, 0x34) & 1, 1);
		assert_true(stub_timer());
	}
	u64 counted = stats().faults;
	assert_in_range(counted, 101, 1000);
	assert_int_equal(iommu_faults_of(&stub) >= counted, true); /* looks, too; the timer stays armed, once */
	UNIT0->storm.v = 0;
	u32 events = UNIT0->events;
	assert_int_equal(dma(VF1, 0x8000, true), 5); /* lost: there is no room, nor an event */
	assert_int_equal(UNIT0->events, events);
	assert_true(stub_timer());
	assert_int_equal(model_reg32(UNIT0, 0x34) & 3, 0);
	assert_false(stub_timer()); /* nothing is left, nobody looks again */
	assert_int_equal(dma(VF1, 0x9000, true), 5);
	assert_int_equal(UNIT0->events, events + 1);
	stub.irq_fn(stub.irq_arg, 0x51);
	assert_true(stub_logged("01:10.2 write at iova 0x9000"));
	assert_int_equal(iommu_faults_of(&other), 1);
	assert_false(stub_timer());
	end_domain(d, VF0);
	end_domain(quiet, VF1);
	iommu_forget_vm(&stub);
	iommu_forget_vm(&other);
}

static void overflow_is_cleared(void **state)
{
	(void)state;
	for (u32 records = 1; records <= 8; records += 7) {
		start_with(MODEL_CAP | (u64)(records - 1) << 40, MODEL_ECAP);
		for (u32 i = 0; i < records + 3; i++)
			assert_int_equal(dma(VF0, 0x1000 * i, true), 1); /* its bus has no context table yet */
		assert_true(model_reg32(UNIT0, 0x34) & 1);
		iommu_faults_poll();
		assert_int_equal(model_reg32(UNIT0, 0x34) & 3, 0);
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
	assert_int_equal(UNIT0->events, 0);
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
	UNIT0->refused_types = 1 << 2;
	assert_int_equal(unmap1(d, IO, 0x1000), -EIO);
	UNIT0->refused_types = 0;
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
	UNIT0->deaf_queue = true;
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
	UNIT0->deaf_queue = true;
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(interrupts), T(interrupts_of_an_ioapic), T(interrupt_arguments), T(x2apic_ids), T(faults_are_reported),
		T(a_storm_does_not_flood_the_console), T(a_storm_does_not_hold_back_others), T(overflow_is_cleared), T(without_a_vector_faults_are_polled),
		T(a_refused_descriptor), T(a_queue_that_stops), T(isolation),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
