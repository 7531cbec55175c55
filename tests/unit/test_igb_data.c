/*
 * Emulation on the PF's own queues, and the transaction between the states: routes, rings, and what arrives at the moment of a switch.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/errno.h"
#include "core/irq.h"
#include "tests/unit/igb_model.h"
#include "tests/unit/nic_fakes.h"

#define PF_POOL (1u << 7)
#define RAH(p) IGB_RAH(IGB_PORT_RAR(p))
#define RDH IGB_RXQ(7) + IGB_Q_HEAD
#define VF_RDH IGB_RXQ(0) + IGB_Q_HEAD
#define GROUP_BITS ((u32)(IGB_VMOLR_BAM | IGB_VMOLR_ROMPE))

static const u8 stranger[6] = { 2, 0, 0, 0, 0, 0x99 }, broadcast[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
static const struct vm_config vm_cfg = { .name = "a" };
static struct nic_config conf[IGB_MAX_PORTS];
static struct vm vm;
static struct igb *pf;
static struct nic_port port[IGB_MAX_PORTS];
static struct nic_lower lower[IGB_MAX_PORTS];
static u8 frame[9300];

static int prepare(void **state)
{
	(void)state;
	fakes_reset();
	pf = model_igb();
	memset(frame, 0, sizeof(frame));
	vm = (struct vm){ .cfg = &vm_cfg };
	for (u32 n = 0; n < IGB_MAX_PORTS; n++) {
		conf[n] = (struct nic_config){ .port = n, .has_mac = true, .mac = { 0x52, 0x54, 0, 0, 0, (u8)n }, .vlan = n >= 4 ? 7 : 0 };
		port[n] = (struct nic_port){ .vm = &vm, .cfg = &conf[n], .index = n };
		lower[n] = (struct nic_lower){ .ops = &igb_ops, .priv = &pf->port[n], .bound = &port[n], .index = n };
		pf->port[n].lower = &lower[n];
	}
	return 0;
}

static int start(void **state)
{
	prepare(state);
	igb_setup_switch(pf);
	assert_int_equal(igb_data_init(pf), 0);
	seen.command[7] |= PCI_COMMAND_MASTER;
	assert_int_equal(igb_pf_irq_init(pf), 0);
	assert_int_equal(igb_ring_start(pf), 0);
	for (u32 n = 0; n < 2; n++)
		assert_int_equal(igb_data_ops.start(&lower[n]), 0);
	model_forget();
	return 0;
}

/* What pages_alloc gave stays with a PF for good; a test's goes with it. */
static int stop(void **state)
{
	(void)state;
	pages_free(&mem_self, pf->ring.desc, 1);
	pages_free(&mem_self, pf->ring.rx_buf, 7);
	pages_free(&mem_self, pf->ring.tx_buf, 7);
	pages_free(&mem_self, pf->ring.whole, 2);
	return 0;
}

static const u8 *make(const u8 *to, const u8 *from, u8 mark)
{
	memcpy(frame, to, 6);
	memcpy(frame + 6, from, 6);
	frame[12] = 8;
	frame[14] = mark;
	return frame;
}
static void arrive(u32 pools, const u8 *to, u8 mark) { model_arrive(pools, make(to, stranger, mark), 60, 0); }
static int send(u32 n, const u8 *to, u32 len) { return igb_data_ops.tx(&lower[n], make(to, conf[n].mac, 0), len); }
static void rx_irq(void) { igb_data_irq(pf, 0); }

/* The marks of the frames a port's device got, END as 'E'. */
static const char *heard(u32 n)
{
	static char s[512];
	u32 len = 0;
	for (u32 i = 0; i < model_nr_heard; i++) {
		if (model_heard[i].port != &port[n])
			continue;
		if (model_heard[i].kind == EV_FRAME)
			s[len++] = (char)model_heard[i].first[14];
		if (model_heard[i].kind == EV_END)
			s[len++] = 'E';
	}
	s[len] = 0;
	return s;
}

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

/* ---- the transaction ---- */

static void to_pass_through(u32 *head)
{
	assert_int_equal(igb_ops.alloc(&lower[0], &vm, &conf[0], NEST_ALLOC_PARKED), 0);
	assert_int_equal(igb_prepare(&lower[0], NIC_PASSTHROUGH), 0);
	igb_commit(&lower[0], NIC_PASSTHROUGH, head);
}

/* Frames that come before the write, between the write and the snapshot, and while the heads are read. */
static u32 readings;
static void on_rah(u32 reg, u32 value)
{
	(void)value;
	if (reg != RAH(0))
		return;
	arrive(1 | PF_POOL, broadcast, 'c');
	arrive(value >> 18 & 0xff, conf[0].mac, 'd'); /* where the address points now */
}
static void on_head(u32 reg)
{
	if (reg == RDH && readings++ == 1) {
		arrive(1 | PF_POOL, broadcast, 'e');
		arrive(model_get(MODEL_PF, RAH(0)) >> 18 & 0xff, conf[0].mac, 'f');
	}
}

static void switched_to_pass_through(void **state)
{
	u32 head = ~0u;
	(void)state;
	assert_int_equal(igb_ops.alloc(&lower[0], &vm, &conf[0], NEST_ALLOC_PARKED), 0);
	assert_int_equal(igb_prepare(&lower[0], NIC_PASSTHROUGH), 0);
	assert_true(model_get(MODEL_PF, IGB_VMOLR(0)) & IGB_VMOLR_BAM); /* its groups are open, its address is not yet there */
	assert_int_equal(model_get(MODEL_PF, RAH(0)) & IGB_RAH_POOL, PF_POOL << 18);
	arrive(1 | PF_POOL, broadcast, 'a');
	arrive(PF_POOL, conf[0].mac, 'b');
	assert_int_equal(send(1, broadcast, 60), 0); /* handed over, not yet told to the hardware */
	readings = 0;
	model_on_write = on_rah;
	model_on_read = on_head;
	model_forget();
	model_nr_heard = 0;
	igb_commit(&lower[0], NIC_PASSTHROUGH, &head);
	model_on_write = NULL;
	model_on_read = NULL;
	assert_int_equal(model_nr_sent, 1); /* the ring was emptied, before the address moved */
	assert_true(model_last_write(MODEL_PF, IGB_TXQ(7) + IGB_Q_TAIL) < model_last_write(MODEL_PF, RAH(0)));
	assert_int_equal(model_get(MODEL_PF, RAH(0)) & IGB_RAH_POOL, 1u << 18);
	assert_string_equal(heard(0), "abceE"); /* d and f came to the VF */
	assert_string_equal(heard(1), "ace");
	assert_int_equal(head, 5); /* a c d e f */
	model_nr_heard = 0;
	arrive(1 | PF_POOL, broadcast, 'g');
	rx_irq();
	assert_string_equal(heard(0), "");
	assert_string_equal(heard(1), "g");
	assert_int_equal(send(0, stranger, 60), -EIO); /* the device is parked */
}

/* Another port's frames never pause: the PF's head is never read twice alike. One group frame comes somewhere in between. */
static u32 late;
static void on_flood(u32 reg)
{
	if (reg == RDH)
		arrive(PF_POOL, conf[1].mac, 'x');
	if ((reg == RDH || reg == VF_RDH) && ++readings == late)
		arrive(1 | PF_POOL, broadcast, 'g');
}

static void a_flood_hides_no_group_frame(void **state)
{
	u32 head;
	(void)state;
	for (late = 1; late <= 140; late++) {
		model_forget();
		model_set(MODEL_PF, VF_RDH, 0);
		model_nr_heard = readings = 0;
		assert_int_equal(igb_ops.alloc(&lower[0], &vm, &conf[0], NEST_ALLOC_PARKED), 0);
		assert_int_equal(igb_prepare(&lower[0], NIC_PASSTHROUGH), 0);
		model_on_read = on_flood;
		igb_commit(&lower[0], NIC_PASSTHROUGH, &head);
		model_on_read = NULL;
		assert_int_equal(strchr(heard(0), 'g') != NULL, head); /* by both before the switch, or by the VF behind it */
		assert_int_equal(igb_ops.free(&lower[0]), 0);
		rx_irq();
	}
}

/* While the heads are read both pools take group frames, whatever other ports do; what they do they do under igb.lock. */
static bool closed_early;
static void on_other_port(u32 reg)
{
	if (reg != RDH)
		return;
	if (!pf->lock.held)
		igb_pf_pool_update(pf);
	closed_early |= !(model_get(MODEL_PF, IGB_VMOLR(7)) & IGB_VMOLR_BAM) || !(model_get(MODEL_PF, IGB_VMOLR(0)) & IGB_VMOLR_BAM);
}

static void others_close_no_filter(void **state)
{
	u32 head;
	(void)state;
	igb_data_ops.stop(&lower[1]);
	closed_early = false;
	assert_int_equal(igb_ops.alloc(&lower[0], &vm, &conf[0], NEST_ALLOC_PARKED), 0);
	assert_int_equal(igb_prepare(&lower[0], NIC_PASSTHROUGH), 0);
	model_on_read = on_other_port;
	igb_commit(&lower[0], NIC_PASSTHROUGH, &head);
	assert_false(closed_early);
	assert_int_equal(model_get(MODEL_PF, IGB_VMOLR(7)) & GROUP_BITS, 0);
	assert_int_equal(igb_prepare(&lower[0], NIC_EMULATION), 0);
	igb_commit(&lower[0], NIC_EMULATION, &head);
	assert_false(closed_early);
	model_on_read = NULL;
}

/* The PF's own queues could not be set up: nothing is emulated, and a function is switched to all the same. */
static void without_the_pfs_queues(void **state)
{
	u32 head = 0;
	(void)state;
	igb_data_ops.stop(&lower[0]);
	pf->ring.ready = false;
	assert_int_equal(igb_data_ops.start(&lower[0]), -ENODEV);
	assert_int_equal(igb_ops.alloc(&lower[0], &vm, &conf[0], NEST_ALLOC_PARKED), 0);
	assert_int_equal(model_get(MODEL_PF, RAH(0)), 0);
	assert_int_equal(igb_prepare(&lower[0], NIC_PASSTHROUGH), 0);
	model_set(MODEL_PF, VF_RDH, 3);
	model_forget();
	igb_commit(&lower[0], NIC_PASSTHROUGH, &head);
	assert_int_equal(model_get(MODEL_PF, RAH(0)) & IGB_RAH_POOL, 1u << 18);
	assert_int_equal(head, 3);
	assert_int_equal(model_last_write(MODEL_PF, IGB_RXQ(7) + IGB_Q_TAIL), -1);
	assert_string_equal(heard(0), ""); /* no device, no mark */
}

static void and_back(void **state)
{
	u32 head;
	(void)state;
	to_pass_through(&head);
	assert_int_equal(igb_prepare(&lower[0], NIC_EMULATION), 0);
	model_nr_heard = 0;
	arrive(1 | PF_POOL, broadcast, 'a');
	arrive(1, conf[0].mac, 'b');
	readings = 0;
	model_on_write = on_rah;
	model_on_read = on_head;
	igb_commit(&lower[0], NIC_EMULATION, &head);
	model_on_write = NULL;
	model_on_read = NULL;
	assert_int_equal(head, 4); /* a b c e: by the VF */
	assert_string_equal(heard(0), "df"); /* by the device: what was addressed to it after the write; groups came by the VF */
	assert_string_equal(heard(1), "ace");
	assert_int_equal(model_get(MODEL_PF, IGB_VMOLR(0)) & GROUP_BITS, 0);
	model_nr_heard = 0;
	arrive(PF_POOL, broadcast, 'g');
	arrive(PF_POOL, conf[0].mac, 'h');
	rx_irq();
	assert_string_equal(heard(0), "gh");
	assert_int_equal(send(0, stranger, 60), 0);
	assert_int_equal(igb_ops.free(&lower[0]), 0);
	assert_int_equal(model_get(MODEL_PF, RAH(0)) & IGB_RAH_POOL, PF_POOL << 18);
}

/* What another port in emulation hears of what this one sends by its VF, replicated by the NIC: each frame once. */
static void others_hear_each_frame_once(void **state)
{
	u32 head;
	(void)state;
	to_pass_through(&head);
	assert_int_equal(igb_prepare(&lower[0], NIC_EMULATION), 0);
	model_nr_heard = 0;
	model_arrive(1 | PF_POOL, make(broadcast, conf[0].mac, 'p'), 60, 0); /* sent by the VF, still in the ring */
	igb_commit(&lower[0], NIC_EMULATION, &head);
	assert_string_equal(heard(1), "p");
	assert_string_equal(heard(0), "");
	igb_data_ops.tx(&lower[0], make(broadcast, conf[0].mac, 'q'), 60);
	model_arrive(PF_POOL, make(broadcast, conf[0].mac, 'q'), 60, 0); /* its echo */
	rx_irq();
	assert_string_equal(heard(1), "pq");
}

static void a_frame_across_the_head_stays_whole(void **state)
{
	u32 head;
	(void)state;
	model_arrive(PF_POOL, make(conf[0].mac, stranger, 'j'), 9000, 0);
	model_arrive(PF_POOL, make(conf[0].mac, stranger, 'k'), 9000, 0);
	spin_lock(&pf->data_lock);
	igb_data_drain(pf, 7); /* in the middle of the second */
	spin_unlock(&pf->data_lock);
	assert_string_equal(heard(0), "jk");
	to_pass_through(&head);
	assert_string_equal(heard(0), "jkE");
}

static void nothing_prepared_stays(void **state)
{
	static const char *const points[] = { "igb: prepare, before the filters", "igb: prepare, after the filters" };
	(void)state;
	assert_int_equal(igb_prepare(&lower[0], NIC_PASSTHROUGH), -EIO); /* no VF */
	assert_int_equal(igb_ops.alloc(&lower[0], &vm, &conf[0], NEST_ALLOC_PARKED), 0);
	for (u32 i = 0; i < ARRAY_SIZE(points); i++) {
		fake.fault = points[i];
		assert_int_equal(igb_prepare(&lower[0], NIC_PASSTHROUGH), -EIO);
		assert_int_equal(model_get(MODEL_PF, IGB_VMOLR(0)) & GROUP_BITS, 0);
	}
	assert_int_equal(igb_prepare(&lower[0], NIC_PASSTHROUGH), 0);
	igb_abort(&lower[0], NIC_PASSTHROUGH);
	assert_int_equal(model_get(MODEL_PF, IGB_VMOLR(0)) & GROUP_BITS, 0);
	assert_int_equal(model_get(MODEL_PF, RAH(0)) & IGB_RAH_POOL, PF_POOL << 18);
	u32 head;
	igb_prepare(&lower[0], NIC_PASSTHROUGH);
	igb_commit(&lower[0], NIC_PASSTHROUGH, &head);
	igb_data_ops.stop(&lower[1]);
	assert_int_equal(igb_prepare(&lower[0], NIC_EMULATION), 0);
	assert_true(model_get(MODEL_PF, IGB_VMOLR(7)) & IGB_VMOLR_BAM); /* before the switch */
	igb_abort(&lower[0], NIC_EMULATION);
	assert_int_equal(model_get(MODEL_PF, IGB_VMOLR(7)) & GROUP_BITS, 0);
	assert_int_equal(model_get(MODEL_PF, IGB_VMOLR(0)) & (u32)IGB_VMOLR_BAM, (u32)IGB_VMOLR_BAM);
	igb_data_ops.stop(&lower[0]);
	assert_int_equal(igb_prepare(&lower[0], NIC_EMULATION), -EIO); /* its driver is gone */
	fake.fault = "igb: fence";
	assert_int_equal(igb_data_ops.fence(&lower[0]), -ETIMEDOUT);
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
		T(a_vlan_is_closed_to_others), T(routes_of_a_life),
		T(addresses_are_unique), T(groups_of_devices), T(switched_to_pass_through), T(a_flood_hides_no_group_frame),
		T(others_close_no_filter), T(without_the_pfs_queues), T(and_back), T(others_hear_each_frame_once),
		T(a_frame_across_the_head_stays_whole), T(nothing_prepared_stays), T(ports_hear_of_the_link),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
