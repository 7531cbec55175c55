/*
 * HC_NIC_* of a VM against a lower link that fails on demand: decoding, handles, register windows, roll-back, the end of a VM;
 * and after every failure the books of both sides balance.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/nic_lower.h"

/* ---- handles ---- */

static void handles_are_the_callers(void **state)
{
	static const u32 with_handle[] = { HC_NIC_CONFIGURE, HC_NIC_MAP_REGS, HC_NIC_UNMAP_REGS, HC_NIC_DMA_MAP, HC_NIC_DMA_UNMAP,
					   HC_NIC_IRQ_SET, HC_NIC_IRQ_MASK, HC_NIC_IRQ_CLEAR, HC_NIC_STATS, HC_NIC_REG_READ,
					   HC_NIC_REG_WRITE, HC_NIC_FREE };
	const u64 wrong[] = { 0, 1, (u64)handle + 0x100, (u64)handle + 1, (u64)handle | BIT(32), ~0ull };
	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(with_handle); i++) {
		u64 arg1 = with_handle[i] == HC_NIC_MAP_REGS ? WINDOW : with_handle[i] == HC_NIC_DMA_MAP || with_handle[i] == HC_NIC_DMA_UNMAP;
		memset(record, 0, sizeof(record));
		for (u32 k = 0; k < ARRAY_SIZE(wrong); k++)
			assert_int_equal(hc(0, with_handle[i], wrong[k], arg1, 0), -ENOENT);
		assert_int_equal(hc(1, with_handle[i], (u64)handle, arg1, 0), -ENOENT); /* another VM's */
	}
	assert_int_equal(hc(0, HC_NIC_ALLOC, 0, 0, 0), -EBUSY);
	assert_int_equal(hc(0, HC_NIC_ALLOC, 1, 0, 0), -ENOENT);
	assert_int_equal(hc(0, HC_NIC_INFO, ~0ull, 0, 0), -ENOENT);
	assert_int_equal(hc(0, HC_NIC_FREE, (u64)handle, 0, 0), 0);
	assert_int_equal(hc(0, HC_NIC_STATS, (u64)handle, 0, 0), -ENOENT); /* stale */
	s64 next = hc(0, HC_NIC_ALLOC, 0, 0, 0);
	assert_true(next > 0 && next != handle);
	assert_int_equal(hc(0, HC_NIC_STATS, (u64)handle, 0, 0), -ENOENT);
}

static void emulation_is_not_passed_through(void **state)
{
	struct nest_nic_info info;
	(void)state;
	assert_int_equal(hc(1, HC_NIC_INFO, 0, 0, 0), 0);
	memcpy(&info, record, sizeof(info));
	assert_int_equal(info.mode, NEST_MODE_PASSTHROUGH);
	assert_true(info.flags & NEST_NIC_MAY_PASS);
	cfg[1].nics[0].mode = NIC_EMULATION;
	cfg[1].nics[0].may_pass = false;
	assert_int_equal(hc(1, HC_NIC_ALLOC, 0, 0, 0), -EPERM);
	hc(1, HC_NIC_INFO, 0, 0, 0);
	memcpy(&info, record, sizeof(info));
	cfg[1].nics[0].mode = NIC_PASSTHROUGH;
	cfg[1].nics[0].may_pass = true;
	assert_int_equal(info.mode, NEST_MODE_EMULATION);
	assert_false(info.flags & NEST_NIC_MAY_PASS);
}

static void ports_are_bound_once(void **state)
{
	struct vm_config c = { .name = "c", .nics = { { .port = 0 } }, .nr_nics = 1 };
	struct vm *third = fake_vm("c", MIB, &c);
	(void)state;
	assert_int_equal(nic_ports_init(third), -EBUSY);
	assert_int_equal(third->nr_ports, 0);
	fake_vm_free(third);
}

static void a_port_the_machine_lacks_is_a_gap(void **state)
{
	(void)state;
	nic_ports_fini(vm[1]);
	cfg[1].nics[1] = cfg[1].nics[0]; /* a good one behind the gap */
	cfg[1].nics[0].port = 2;
	cfg[1].nr_nics = 2;
	assert_int_equal(nic_ports_init(vm[1]), 0);
	assert_non_null(strstr(seen.last_line, "port2, but there are 2 ports: it runs without"));
	assert_int_equal(vm[1]->nr_ports, 2);
	assert_null(vm[1]->ports[0]);
	assert_int_equal(hc(1, HC_NIC_INFO, 0, 0, 0), -ENOENT);
	assert_int_equal(hc(1, HC_NIC_ALLOC, 0, 0, 0), -ENOENT);
	assert_int_equal(hc(1, HC_NIC_STATS, 1, 0, 0), -ENOENT); /* a handle of the gap */
	assert_int_equal(hc(1, HC_NIC_INFO, 1, 0, 0), 0);
	nic_ports_fini(vm[1]);
	assert_int_equal(vm[1]->nr_ports, 0);
	cfg[1].nics[0] = cfg[1].nics[1];
	cfg[1].nr_nics = 1;
	assert_int_equal(nic_ports_init(vm[1]), 0);
}

static void alloc_failure_leaves_nothing(void **state)
{
	(void)state;
	low[1].fail[OP_ALLOC] = -ENODEV;
	int pages = fake_balance.pages;
	assert_int_equal(hc(1, HC_NIC_ALLOC, 0, 0, 0), -ENODEV);
	assert_int_equal(fake_balance.pages, pages);
	vm[1]->owner.limit = vm[1]->owner.pages;
	assert_int_equal(hc(1, HC_NIC_ALLOC, 0, 0, 0), -ENOMEM);
	vm[1]->owner.limit = 0;
	assert_true(hc(1, HC_NIC_ALLOC, 0, 0, 0) > 0);
}

static void a_flushing_port_is_not_waited_for(void **state)
{
	struct nic_port *p = vm[0]->ports[0];
	(void)state;
	spin_lock(&p->lock);
	p->flushing = true;
	assert_int_equal(hc(0, HC_NIC_STATS, (u64)handle, 0, 0), -EAGAIN);
	assert_int_equal(hc(0, HC_NIC_INFO, 0, 0, 0), -EAGAIN);
	p->flushing = false;
	spin_unlock(&p->lock);
}

/*
 * News that find the port taken are looked at by whoever leaves it. Not by a timer: news come on any CPU, and a timer that is armed on one
 * of them may not be armed on another.
 */
static void news_wait_for_the_port(void **state)
{
	struct nic_port *p = vm[1]->ports[0];
	u32 timers = seen.timers, asked = low[1].calls[OP_INFO];
	(void)state;
	p->want = NIC_EMULATION;
	low[1].want = NEST_MODE_PASSTHROUGH;
	low[1].wishes++;
	assert_int_equal(port_enter(p), 0);
	nic_port_changed(p);
	nic_port_changed(p);
	assert_int_equal(p->want, NIC_EMULATION);
	assert_int_equal(seen.timers, timers);
	port_leave(p);
	assert_int_equal(p->want, NIC_PASSTHROUGH);
	assert_int_equal(low[1].calls[OP_INFO], asked + 1);
	assert_true(port_try_enter(p));
	port_leave(p);
	assert_int_equal(low[1].calls[OP_INFO], asked + 1);
	low[1].want = NEST_MODE_EMULATION;
	low[1].wishes++;
	nic_port_changed(p);
	assert_int_equal(p->want, NIC_EMULATION);
}

/* ---- registers ---- */

static void windows(void **state)
{
	struct ptab_leaf leaf;
	u64 value;
	(void)state;
	assert_int_equal(hc(0, HC_NIC_UNMAP_REGS, (u64)handle, 0, 0), -EINVAL);
	const u64 bad[] = { 0, WINDOW + 1, WINDOW + PAGE_SIZE, HALF, 0xfee00000, 0xfec00000, BIT(48), ~0x3fffull };
	for (u32 i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(hc(0, HC_NIC_MAP_REGS, (u64)handle, bad[i], 0), -EINVAL);
	static const struct vdev_ops other = { 0 };
	assert_int_equal(vdev_add(&vm[0]->mmio, WINDOW + 0x3000, 16, &other, NULL), 0);
	assert_int_equal(hc(0, HC_NIC_MAP_REGS, (u64)handle, WINDOW, 0), -EINVAL); /* a device under page 3 */
	vdev_remove(&vm[0]->mmio, WINDOW + 0x3000);
	assert_false(low[0].regs); /* the lower link was told each time */
	assert_int_equal(hc(0, HC_NIC_MAP_REGS, (u64)handle, WINDOW, 0), 0);
	assert_int_equal(hc(0, HC_NIC_MAP_REGS, (u64)handle, WINDOW + 0x4000, 0), -EEXIST);
	assert_false(ptab_walk(&vm[0]->ept, WINDOW, &leaf));
	for (u32 i = 1; i < 4; i++) {
		assert_true(ptab_walk(&vm[0]->ept, WINDOW + i * PAGE_SIZE, &leaf));
		assert_int_equal(leaf.pa.v, 0x800020000 + i * PAGE_SIZE);
		assert_true(leaf.flags & VM_MAP_DEVICE);
	}
	assert_true(vdev_read(&vm[0]->mmio, &fake_vcpus[0], WINDOW + 8, 4, &value));
	assert_int_equal(value, 0x80000008u);
	assert_true(vdev_read(&vm[0]->mmio, &fake_vcpus[0], WINDOW + 8, 8, &value));
	assert_int_equal(value, ~0ull);
	assert_true(vdev_read(&vm[0]->mmio, &fake_vcpus[0], WINDOW + 2, 4, &value));
	assert_int_equal(value, 0xffffffff);
	low[0].fail[OP_REG_READ] = -EIO;
	assert_true(vdev_read(&vm[0]->mmio, &fake_vcpus[0], WINDOW, 4, &value));
	assert_int_equal(value, 0);
	assert_true(vdev_write(&vm[0]->mmio, &fake_vcpus[0], WINDOW + 0xffc, 2, 1));
	assert_int_equal(low[0].calls[OP_REG_WRITE], 0);
	assert_true(vdev_write(&vm[0]->mmio, &fake_vcpus[0], WINDOW + 0xffc, 4, 1));
	assert_int_equal(low[0].calls[OP_REG_WRITE], 1);
	assert_int_equal(map_one(0, WINDOW + PAGE_SIZE, PAGE_SIZE), -EFAULT); /* registers are no memory for DMA */
	assert_int_equal(hc(0, HC_NIC_UNMAP_REGS, (u64)handle, 0, 0), 0);
	assert_int_equal(seen.flushes, 1);
	assert_false(ptab_walk(&vm[0]->ept, WINDOW + PAGE_SIZE, &leaf));
	assert_false(vdev_read(&vm[0]->mmio, &fake_vcpus[0], WINDOW, 4, &value));
	assert_false(low[0].regs);
}

static void window_failures(void **state)
{
	struct ptab_leaf leaf;
	(void)state;
	low[0].fail[OP_MAP_REGS] = -EIO;
	assert_int_equal(hc(0, HC_NIC_MAP_REGS, (u64)handle, WINDOW, 0), -EIO);
	vm[0]->owner.limit = vm[0]->owner.pages;
	assert_int_equal(hc(0, HC_NIC_MAP_REGS, (u64)handle, WINDOW, 0), -ENOMEM);
	assert_false(low[0].regs);
	assert_int_equal(vm[0]->mmio.nr, 0);
	assert_false(ptab_walk(&vm[0]->ept, WINDOW + PAGE_SIZE, &leaf));
	vm[0]->owner.limit = 0;
	assert_int_equal(hc(0, HC_NIC_MAP_REGS, (u64)handle, WINDOW, 0), 0); /* closed with the VM */
}

static void registers_by_hypercall(void **state)
{
	(void)state;
	assert_int_equal(hc(0, HC_NIC_REG_READ, (u64)handle, 8, 0), 0x80000008ll);
	assert_int_equal(hc(0, HC_NIC_REG_READ, (u64)handle, 0x1000, 0), -EINVAL);
	assert_int_equal(hc(0, HC_NIC_REG_READ, (u64)handle, 2, 0), -EINVAL);
	assert_int_equal(hc(0, HC_NIC_REG_READ, (u64)handle, BIT(32), 0), -EINVAL);
	assert_int_equal(hc(0, HC_NIC_REG_WRITE, (u64)handle, 8, BIT(32)), -EINVAL);
	low[0].fail[OP_REG_WRITE] = -EPERM;
	assert_int_equal(hc(0, HC_NIC_REG_WRITE, (u64)handle, 8, 0), -EPERM);
	assert_int_equal(hc(0, HC_NIC_REG_WRITE, (u64)handle, 8, 0), 0);
}

/* ---- the end ---- */

static void statistics_are_running_totals(void **state)
{
	struct nest_nic_stats s;
	(void)state;
	assert_int_equal(hc(0, HC_NIC_STATS, (u64)handle, 0, 0), 0);
	memcpy(&s, record, sizeof(s));
	assert_int_equal(s.rx_packets, 0); /* the 5 that the lower link has counted before were for somebody else */
	low[0].rx_packets = 10;
	assert_int_equal(hc(0, HC_NIC_FREE, (u64)handle, 0, 0), 0);
	assert_int_equal(hc(0, HC_NIC_PORT_STATS, 0, 0, 0), 0); /* also while it is closed */
	assert_int_equal(((struct nest_nic_stats *)record)->rx_packets, 5);
	low[0].rx_packets = 12; /* the lower link counts over all openings */
	handle = hc(0, HC_NIC_ALLOC, 0, 0, 0);
	assert_int_equal(hc(0, HC_NIC_STATS, (u64)handle, 0, 0), 0);
	memcpy(&s, record, sizeof(s));
	assert_int_equal(s.rx_packets, 7);
	assert_int_equal(s.faults, 0);
	low[0].fail[OP_STATS] = -EIO;
	assert_int_equal(hc(0, HC_NIC_STATS, (u64)handle, 0, 0), -EIO);
}

/* A closed port is closed: the caller is not told to try again with a handle that is gone. */
static void free_is_done_once(void **state)
{
	(void)state;
	low[0].fail[OP_FREE] = -EAGAIN;
	assert_int_equal(hc(0, HC_NIC_FREE, (u64)handle, 0, 0), -EIO);
	assert_int_equal(hc(0, HC_NIC_FREE, (u64)handle, 0, 0), -ENOENT);
}

/* … of one VM: the next one that is bound to the lower port begins at 0. */
static void totals_begin_with_the_vm(void **state)
{
	static const struct nest_nic_stats none;
	(void)state;
	low[0].rx_packets = 1000;
	nic_ports_fini(vm[0]);
	assert_int_equal(nic_ports_init(vm[0]), 0);
	assert_int_equal(hc(0, HC_NIC_PORT_STATS, 0, 0, 0), 0);
	assert_memory_equal(record, &none, sizeof(none));
	low[0].rx_packets += 3;
	assert_int_equal(hc(0, HC_NIC_PORT_STATS, 0, 0, 0), 0);
	assert_int_equal(((struct nest_nic_stats *)record)->rx_packets, 3);
	nic_ports_fini(vm[0]);
	low[0].fail[OP_STATS] = -EIO; /* no reason to refuse the VM */
	assert_int_equal(nic_ports_init(vm[0]), 0);
}

static void a_dying_vm_gives_everything_back(void **state)
{
	struct nic_port *p = vm[0]->ports[0];
	(void)state;
	assert_int_equal(hc(0, HC_NIC_MAP_REGS, (u64)handle, WINDOW, 0), 0);
	assert_int_equal(map_one(0, 0, HALF), 0);
	for (u32 i = 0; i < 3; i++)
		assert_int_equal(irq(i, 0x60 + i, i & 1, ~0ull, 0), 0);
	u8 vector = low[0].irq[1].host_vector;
	low[0].fail[OP_FREE] = -EIO;       /* whatever the lower link says */
	low[0].fail[OP_IRQ_CLEAR] = -EIO;
	nic_ports_fini(vm[0]);
	assert_int_equal(vm[0]->nr_ports, 0);
	assert_null(p->vm);
	assert_null(p->dma);
	assert_int_equal(fake_balance.vectors, 0);
	assert_false(fake_irq(1, vector));
	assert_int_equal(nic_ports_init(vm[0]), 0); /* the lower port can be bound again */
}

/* Each operation of the lower link fails in turn during one ordinary life; the caller sees it, and the end balances (stop). */
static void every_operation_fails_once(void **state)
{
	(void)state;
	for (u32 op = OP_CONFIGURE; op <= OP_FREE; op++) {
		struct nest_nic_conf conf = { .what = NEST_CONF_MAX_FRAME, .max_frame = 1514 };
		s64 bad = 0;
		low[0].fail[op] = -EIO;
		memcpy(record, &conf, sizeof(conf));
		bad += hc(0, HC_NIC_CONFIGURE, (u64)handle, 0, 0) == -EIO;
		bad += hc(0, HC_NIC_MAP_REGS, (u64)handle, WINDOW, 0) == -EIO;
		bad += hc(0, HC_NIC_REG_READ, (u64)handle, 8, 0) == -EIO;
		bad += hc(0, HC_NIC_REG_WRITE, (u64)handle, 0, 0) == -EIO;
		bad += map_one(0x1000, 0, PAGE_SIZE) == -EIO;
		bad += irq(0, 0x50, 0, ~0ull, 0) == -EIO;
		bad += hc(0, HC_NIC_IRQ_MASK, (u64)handle, 0, 1) == -EIO;
		bad += post(0, NEST_POST_SELF, 0x3000) == -EIO;
		bad += hc(0, HC_NIC_STATS, (u64)handle, 0, 0) == -EIO;
		bad += hc(0, HC_NIC_IRQ_CLEAR, (u64)handle, 0, 0) == -EIO;
		bad += unmap_one(0x1000, PAGE_SIZE) == -EIO;
		hc(0, HC_NIC_UNMAP_REGS, (u64)handle, 0, 0);
		bad += hc(0, HC_NIC_FREE, (u64)handle, 0, 0) == -EIO;
		assert_int_equal(bad, op != OP_UNMAP_REGS); /* that one is logged: the registers are gone from the VM all the same */
		assert_int_equal(low[0].fail[op], 0);
		assert_int_equal(fake_balance.vectors, 0);
		assert_int_equal(low[0].nr, 0);
		assert_false(low[0].allocated || low[0].regs);
		assert_null(vm[0]->ports[0]->dma);
		handle = hc(0, HC_NIC_ALLOC, 0, 0, 0);
		assert_true(handle > 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(handles_are_the_callers), T(emulation_is_not_passed_through), T(ports_are_bound_once),
		T(a_port_the_machine_lacks_is_a_gap), T(alloc_failure_leaves_nothing), T(a_flushing_port_is_not_waited_for),
		T(news_wait_for_the_port),
		T(windows), T(window_failures), T(registers_by_hypercall), T(statistics_are_running_totals),
		T(totals_begin_with_the_vm), T(free_is_done_once),
		T(a_dying_vm_gives_everything_back), T(every_operation_fails_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
