/*
 * Emulation on the PF's own queues: rings, routes, VLANs, what the devices of the ports hear.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/errno.h"
#include "core/irq.h"
#include "tests/unit/igb_ports.h"

/* ---- rings ---- */

static void rings_are_confined(void **state)
{
	(void)state;
	assert_int_equal(fake_balance.domains, 1);
	assert_int_equal(fake_balance.attached, 1);
	assert_int_equal(seen.maps, 3);
	assert_int_equal(model_get(MODEL_PF, IGB_RXQ(7) + IGB_Q_LEN), 4096);
	assert_int_equal(model_get(MODEL_PF, IGB_RXQ(7) + IGB_Q_SRRCTL), 0x82000002u);
	assert_int_equal(model_get(MODEL_PF, IGB_RXQ(7) + IGB_Q_TAIL), 255);
	assert_true(model_get(MODEL_PF, IGB_RXQ(7) + IGB_Q_DCTL) & 1u << 25);
	assert_int_equal(model_get(MODEL_PF, IGB_VFRE), PF_POOL);
	assert_int_equal(model_get(MODEL_PF, IGB_VFTE), PF_POOL);
	assert_int_equal(model_get(MODEL_PF, IGB_IVAR(7)), 0x81);
	assert_int_equal(model_get(MODEL_PF, IGB_EIAC) & 3, 3);
	assert_int_equal(model_get(MODEL_PF, IGB_EIMS) & 3, 3);
	assert_int_equal(fake_balance.irtes, 2);
}

static void without_an_iommu(void **state)
{
	u32 *entry = (u32 *)(pf->msix.table + 16);
	(void)state;
	fake.no_iommu = true;
	assert_int_equal(igb_data_init(pf), 0);
	assert_int_equal(fake_balance.domains, 0);
	assert_int_equal(igb_pf_irq_init(pf), 0);
	assert_int_equal(fake_balance.irtes, 0);
	assert_int_equal(entry[0], 0xfee00000u | 10u << 12); /* the APIC id of CPU 0, compatibility format */
	assert_int_equal(entry[2] & 0xff, fake_irq(0, (int)entry[2]) ? entry[2] : 0);
	assert_int_equal(igb_ring_start(pf), 0);
	pf->nr_vfs = 0;
	for (u32 v = 0; v < IGB_MAX_VFS; v++)
		pf->vf[v].state = VF_ABSENT;
	pf->why_no_vf = "there is no IOMMU";
	assert_int_equal(igb_data_ops.start(&lower[0]), 0);
	assert_int_equal(send(0, stranger, 60), 0);
	igb_data_ops.tx_flush(&lower[0]);
	assert_int_equal(model_nr_sent, 1);
	assert_int_equal(igb_ops.alloc(&lower[0], &vm, &conf[0], 0), -ENODEV);
	assert_non_null(strstr(seen.last_line, "no IOMMU"));
}

static void frames_leave(void **state)
{
	(void)state;
	for (u32 i = 0; i < sizeof(frame); i++)
		frame[i] = (u8)(i * 7);
	assert_int_equal(send(0, stranger, 60), 0);
	assert_int_equal(model_nr_sent, 0); /* a batch goes at its end */
	assert_int_equal(send(0, stranger, 9212), 0);
	igb_data_ops.tx_flush(&lower[0]);
	assert_int_equal(model_nr_sent, 2);
	assert_int_equal(model_sent[0].len, 60);
	assert_int_equal(model_sent[1].len, 9212); /* five pieces */
	assert_memory_equal(model_sent[1].data, frame, 9212);
	assert_int_equal(igb_data_ops.fence(&lower[0]), 0);
	assert_int_equal(send(0, stranger, 9213), -EINVAL);
	assert_int_equal(igb_data_ops.start(&lower[4]), 0); /* VLAN 7 */
	const u32 lengths[] = { 60, 2044, 2045, 2048, 9212 };
	for (u32 i = 0; i < ARRAY_SIZE(lengths); i++) {
		assert_int_equal(send(4, stranger, lengths[i]), 0);
		igb_data_ops.tx_flush(&lower[4]);
		const struct model_frame *f = &model_sent[2 + i];
		assert_int_equal(f->len, lengths[i] + 4);
		assert_memory_equal(f->data, frame, 12);
		assert_memory_equal(f->data + 12, "\x81\x00\x00\x07", 4);
		assert_memory_equal(f->data + 16, frame + 12, lengths[i] - 12);
	}
}

static void a_stuck_ring_is_bounded(void **state)
{
	u32 n;
	(void)state;
	model_tx_stalled = true;
	for (n = 0; n < 300 && !send(0, stranger, 60); n++)
		;
	assert_int_equal(n, 255);
	assert_int_equal(send(0, stranger, 60), -EIO); /* without a wait */
	assert_true(pf->ring.tx_stuck);
	u32 waits = seen.waits;
	assert_int_equal(igb_data_ops.fence(&lower[0]), -ETIMEDOUT);
	assert_int_equal(seen.waits, waits); /* nor a fence: others need the lock */
	model_tx_stalled = false;
	igb_write(pf, IGB_TXQ(7) + IGB_Q_TAIL, pf->ring.tx_told);
	assert_int_equal(igb_data_ops.fence(&lower[0]), 0);
	assert_int_equal(model_nr_sent, 255);
	for (n = 0; n < 1000; n++) /* round and round */
		assert_int_equal(send(0, stranger, 1514), 0);
	igb_data_ops.tx_flush(&lower[0]);
	assert_int_equal(model_nr_sent, 1255);
}

static void frames_arrive(void **state)
{
	(void)state;
	for (u32 round = 0; round < 10; round++) {
		model_nr_heard = 0;
		for (u32 i = 0; i < 100; i++)
			arrive(PF_POOL, conf[i & 1].mac, (u8)('A' + i % 20));
		rx_irq();
		assert_int_equal(strlen(heard(0)), 50);
		assert_int_equal(strlen(heard(1)), 50);
		assert_int_equal(model_heard[model_nr_heard - 1].kind, EV_FLUSH);
		assert_int_equal(model_heard[100].kind, EV_FLUSH); /* once for each port */
		assert_int_equal(model_nr_heard, 102);
	}
	model_nr_heard = 0;
	for (u32 i = 0; i < sizeof(frame); i++)
		frame[i] = (u8)(i * 3);
	model_arrive(PF_POOL, make(conf[0].mac, stranger, 'x'), 9212, 0);
	rx_irq();
	assert_int_equal(model_heard[0].len, 9212);
	assert_memory_equal(pf->ring.whole, frame, 9212);
	model_no_room = true;
	arrive(PF_POOL, conf[0].mac, 'y');
	model_nr_heard = 0;
	rx_irq();
	assert_int_equal(model_heard[0].kind, EV_DROPPED);
}

static u32 budget_arrivals;
static int flood_deliver(void *arg, u32 p, const u8 *f, u32 len)
{
	(void)arg, (void)p, (void)f, (void)len;
	if (budget_arrivals) {
		budget_arrivals--;
		igb_ring_rx_refill(pf);
		arrive(PF_POOL, conf[0].mac, 'a');
	}
	return 0;
}
static void flood_flush(void *arg, u32 p) { (void)arg, (void)p; }
static const struct uplink_ops flooding = { .deliver = flood_deliver, .flush = flood_flush };

static void a_flood_is_cut_into_pieces(void **state)
{
	(void)state;
	for (u32 i = 0; i < 255; i++)
		arrive(PF_POOL, conf[0].mac, 'a');
	rx_irq();
	assert_int_equal(strlen(heard(0)), 255);
	assert_int_equal(model_last_write(MODEL_PF, IGB_EICS), -1);
	model_on_read = NULL;
	budget_arrivals = 300;
	pf->uplink.ops = &flooding;
	arrive(PF_POOL, conf[0].mac, 'a');
	rx_irq(); /* each frame brings another one */
	assert_int_equal(model_log[model_last_write(MODEL_PF, IGB_EICS)].value, 2);
	budget_arrivals = 0;
	u32 before = pf->ring.rx_next;
	rx_irq();
	assert_int_equal(pf->ring.rx_next, (before + 1) % 256);
}

static void vlan_of_a_pool_follows(void **state)
{
	(void)state;
	assert_int_equal(model_get(MODEL_PF, IGB_VLVF(0)), 0);
	igb_data_ops.start(&lower[4]);
	igb_data_ops.start(&lower[5]);
	assert_int_equal(model_get(MODEL_PF, IGB_VLVF(0)), 1u << 31 | PF_POOL << 12 | 7);
	model_arrive(PF_POOL, make(broadcast, stranger, 'v'), 60, 7); /* its tag is in the descriptor */
	rx_irq();
	assert_string_equal(heard(4), "v");
	assert_string_equal(heard(5), "v");
	assert_string_equal(heard(0), "");
	igb_data_ops.stop(&lower[4]);
	assert_int_equal(model_get(MODEL_PF, IGB_VLVF(0)), 1u << 31 | PF_POOL << 12 | 7);
	igb_data_ops.stop(&lower[5]);
	assert_int_equal(model_get(MODEL_PF, IGB_VLVF(0)), 0);
}

/* A VLAN is its ports' by configuration, whether their devices run or a function has it all. */
static void a_vlan_is_closed_to_others(void **state)
{
	(void)state;
	assert_int_equal(igb_ops.alloc(&lower[4], &vm, &conf[4], 0), 0); /* VLAN 7; its emulated device was never started */
	make(conf[4].mac, conf[0].mac, 0);
	memcpy(frame + 12, "\x81\x00\x00\x07", 4);
	assert_int_equal(igb_data_ops.tx(&lower[0], frame, 64), -EIO);
	assert_int_equal(igb_data_ops.start(&lower[4]), 0);
	igb_data_ops.stop(&lower[4]);
	assert_int_equal(igb_data_ops.tx(&lower[0], frame, 64), -EIO);
	frame[15] = 8; /* nobody's */
	assert_int_equal(igb_data_ops.tx(&lower[0], frame, 64), 0);
	port[5].cfg = NULL; /* a VM's port is being bound */
	lower[6].bound = NULL;
	assert_int_equal(igb_data_ops.tx(&lower[0], frame, 64), 0);
	assert_int_equal(igb_ops.free(&lower[4]), 0);
}

/* ---- routes ---- */

static void routes_of_a_life(void **state)
{
	const u32 vmolr7 = IGB_VMOLR(7);
	(void)state;
	assert_int_equal(model_get(MODEL_PF, RAH(0)) & IGB_RAH_POOL, PF_POOL << 18);
	assert_true(model_get(MODEL_PF, vmolr7) & IGB_VMOLR_BAM);
	assert_int_equal(igb_ops.alloc(&lower[0], &vm, &conf[0], NEST_ALLOC_PARKED), 0);
	assert_int_equal(model_get(MODEL_PF, RAH(0)) & IGB_RAH_POOL, PF_POOL << 18); /* still in emulation */
	assert_int_equal(model_get(MODEL_PF, IGB_VMOLR(0)) & GROUP_BITS, 0);
	assert_int_equal(igb_ops.free(&lower[0]), 0);
	assert_int_equal(model_get(MODEL_PF, RAH(0)) & IGB_RAH_POOL, PF_POOL << 18);
	assert_int_equal(igb_ops.alloc(&lower[0], &vm, &conf[0], 0), 0); /* a cold start */
	assert_int_equal(model_get(MODEL_PF, RAH(0)) & IGB_RAH_POOL, 1u << 18);
	arrive(PF_POOL, broadcast, 'b');
	rx_irq();
	assert_string_equal(heard(0), "");
	assert_string_equal(heard(1), "b");
	igb_data_ops.stop(&lower[1]);
	assert_int_equal(model_get(MODEL_PF, vmolr7) & GROUP_BITS, 0); /* nobody is in emulation: broadcasts disturb nobody */
	igb_ops.free(&lower[0]); /* falls back */
	assert_int_equal(model_get(MODEL_PF, RAH(0)) & IGB_RAH_POOL, PF_POOL << 18);
	assert_true(model_get(MODEL_PF, vmolr7) & IGB_VMOLR_BAM);
	igb_data_ops.stop(&lower[0]);
	assert_int_equal(model_get(MODEL_PF, RAH(0)), 0);
}

static void addresses_are_unique(void **state)
{
	(void)state;
	memcpy(conf[2].mac, conf[0].mac, 6);
	assert_int_equal(igb_data_ops.start(&lower[2]), -EINVAL);
	assert_int_equal(igb_ops.alloc(&lower[2], &vm, &conf[2], 0), -EINVAL);
	igb_data_ops.stop(&lower[0]);
	assert_int_equal(igb_data_ops.start(&lower[2]), 0);
	fake.fault = "igb: data start";
	assert_true(igb_data_ops.start(&lower[3]) < 0);
}

static void groups_of_devices(void **state)
{
	struct nic_rx_filter f = { .nr = 1, .group = { { 0x01, 0, 0x5e, 0, 0x30, 0x12 } } };
	(void)state;
	igb_data_ops.rx_filter(&lower[0], &f);
	assert_int_equal(model_get(MODEL_PF, IGB_MTA(0x123 >> 5)), 1u << (0x123 & 31));
	assert_int_equal(model_get(MODEL_PF, IGB_VMOLR(7)) & GROUP_BITS, GROUP_BITS);
	arrive(PF_POOL, f.group[0], 'g');
	rx_irq();
	assert_string_equal(heard(0), "g");
	assert_string_equal(heard(1), "");
	f.nr = 0;
	igb_data_ops.rx_filter(&lower[0], &f);
	assert_int_equal(model_get(MODEL_PF, IGB_VMOLR(7)) & (u32)IGB_VMOLR_ROMPE, 0);
	assert_int_equal(model_get(MODEL_PF, IGB_MTA(0x123 >> 5)), 0);
}

/* ---- the link ---- */

static void ports_hear_of_the_link(void **state)
{
	struct nest_nic_info info;
	(void)state;
	assert_int_equal(igb_ops.info(&lower[0], &info), 0); /* sees it first */
	assert_true(info.flags & NEST_NIC_LINK_UP);
	model_set(MODEL_PF, IGB_ICR, (u32)IGB_ICR_LSC);
	model_nr_heard = 0;
	assert_true(fake_irq(0, IRQ_VEC_FIRST));
	assert_int_equal(model_nr_heard, IGB_MAX_PORTS);
	assert_int_equal(model_heard[0].kind, EV_CHANGED);
	assert_true(fake_irq(0, IRQ_VEC_FIRST)); /* no news */
	assert_int_equal(model_nr_heard, IGB_MAX_PORTS);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, start, stop)
	const struct CMUnitTest tests[] = {
		T(rings_are_confined), cmocka_unit_test_setup_teardown(without_an_iommu, prepare, stop), T(frames_leave),
		T(a_stuck_ring_is_bounded), T(frames_arrive), T(a_flood_is_cut_into_pieces), T(vlan_of_a_pool_follows),
		T(a_vlan_is_closed_to_others), T(routes_of_a_life), T(addresses_are_unique), T(groups_of_devices), T(ports_hear_of_the_link),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
