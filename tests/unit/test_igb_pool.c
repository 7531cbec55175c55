/*
 * The 82576 as a switch: register values of set-up, addresses, VLANs, pools and the scrub, as plain numbers of the datasheet.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/igb_model.h"
#include "tests/unit/nic_fakes.h"

static struct igb *pf;

static int start(void **state)
{
	(void)state;
	fakes_reset();
	pf = model_igb();
	return 0;
}

static struct igb_vf *owned(u32 v, u8 last, u16 vlan)
{
	struct igb_vf *vf = &pf->vf[v];
	const u8 mac[6] = { 0x52, 0x54, 0, 0, 0, last };
	struct igb_port *p = &pf->port[v];
	memcpy(p->mac, mac, 6);
	p->vlan = p->tag = vlan;
	p->frame = IGB_STD_FRAME;
	p->vf = vf;
	vf->port = p;
	vf->state = VF_OWNED;
	vf->groups_open = true;
	return vf;
}

static void setup_makes_a_switch(void **state)
{
	(void)state;
	assert_int_equal(igb_reset(pf), 0);
	assert_true(model_last_write(MODEL_PF, 0x0000) >= 0);
	igb_setup_switch(pf);
	assert_int_equal(pf->mac[5], 0x01);
	assert_int_equal(model_get(MODEL_PF, 0x5400), 0xc0005452u); /* 52:54:00:c0 */
	assert_int_equal(model_get(MODEL_PF, 0x5404), 0x80000151u); /* for no pool */
	assert_int_equal(model_get(MODEL_PF, 0x5818) & 7, 3);                       /* MRQC: VMDq */
	assert_int_equal(model_get(MODEL_PF, 0x581c), 7u << 7 | 1u << 29 | 1u << 30); /* no default pool, replication */
	assert_int_equal(model_get(MODEL_PF, 0x3500), 1u << 31 | 0x7f7f);            /* loopback, spoof checks of VFs */
	assert_int_equal(model_get(MODEL_PF, 0x0038) & 0xffff, 0x8100);              /* VET: C-tags */
	assert_int_equal(model_get(MODEL_PF, 0x2408), 0xffff);                       /* no pool holds up the others */
	assert_int_equal(model_get(MODEL_PF, 0x0c8c), 0);                            /* nobody receives or sends yet */
	assert_int_equal(model_get(MODEL_PF, 0x0c90), 0);
	assert_int_equal(model_get(MODEL_PF, 0x0100), 1u << 1 | 1u << 5 | 1u << 15 | 1u << 18 | 1u << 26);
	assert_true(model_get(MODEL_PF, 0x0400) & 2);
	assert_true(model_get(MODEL_PF, 0x0018) & 1u << 14);                         /* VFs out of reset, last */
	assert_true(model_last_write(MODEL_PF, 0x0018) > model_last_write(MODEL_PF, 0x0100));
}

static void mac_comes_from_the_eeprom_if_it_must(void **state)
{
	(void)state;
	model_set(MODEL_PF, IGB_RAL(0), 0);
	model_set(MODEL_PF, IGB_RAH(0), 0);
	igb_setup_switch(pf);
	assert_int_equal(pf->mac[0], 0xcd);
	assert_int_equal(pf->mac[1], 0xab);
}

static void interrupts_are_set_up_in_order(void **state)
{
	(void)state;
	igb_setup_irq(pf);
	assert_int_equal(model_get(MODEL_PF, 0x1514), 0xc0000011u); /* GPIE */
	assert_int_equal(model_get(MODEL_PF, 0x1740), 0x8000);      /* other causes: vector 0 */
	assert_true(model_get(MODEL_PF, 0x152c) & 1);               /* EIAC: or the second interrupt never comes */
	assert_int_equal(model_get(MODEL_PF, 0x00d0), 0x104);       /* link change, mailbox */
	assert_true(model_last_write(MODEL_PF, 0x1514) < model_last_write(MODEL_PF, 0x1740));
	assert_true(model_last_write(MODEL_PF, 0x1740) < model_last_write(MODEL_PF, 0x1524));
}

static void link_is_started_and_not_awaited(void **state)
{
	(void)state;
	model_set(MODEL_PF, IGB_STATUS, 0);
	assert_int_equal(igb_link_start(pf), 0);
	assert_int_equal(model_log[model_last_write(MODEL_PF, 0x0020)].value, 1u << 21 | 0u << 16 | 0x04000000u | 0x1340);
	assert_int_equal(model_get(MODEL_PF, 0x5b5c), 0); /* semaphores are given back */
	assert_int_equal(model_get(MODEL_PF, 0x5b50) & 2, 0);
	assert_false(igb_link_poll(pf));
	assert_false(pf->link_up);
	model_set(MODEL_PF, IGB_STATUS, 0x82);
	assert_true(igb_link_poll(pf));
	assert_true(pf->link_up);
	assert_false(igb_link_poll(pf));
	model_set(MODEL_PF, IGB_STATUS, 0x80);
	assert_true(igb_link_poll(pf));
	assert_non_null(strstr(seen.last_line, "link down"));
}

static void pool_without_vlan(void **state)
{
	(void)state;
	struct igb_vf *vf = owned(1, 7, 0);
	igb_pool_open(vf);
	assert_int_equal(model_last_write(MODEL_PF, 0x54e4 + 8 * 6), -1); /* the address is the route, not the pool */
	igb_port_route(vf->port, IGB_ROUTE_VF);
	assert_int_equal(model_get(MODEL_PF, 0x54e0 + 8 * (22 - 16)), 0x00005452); /* entry 23 - 1 */
	assert_int_equal(model_get(MODEL_PF, 0x54e4 + 8 * (22 - 16)), 0x80000700u | 1u << (18 + 1));
	assert_int_equal(model_get(MODEL_PF, 0x5ad4), 1u << 31 | 1u << 27 | 1u << 24 | 1u << 16 | 1518); /* CRC BAM AUPE LPE */
	assert_int_equal(model_get(MODEL_PF, 0x3704), 1u << 31); /* never a tag */
	assert_int_equal(model_get(MODEL_PF, 0x0c8c), 2);
	assert_int_equal(model_get(MODEL_PF, 0x0c90), 2);
	/* the address comes when everything else stands */
	assert_int_equal(model_last_write(MODEL_PF, 0x54e4 + 8 * 6), (int)model_writes - 1);
}

static void pool_with_vlan(void **state)
{
	(void)state;
	igb_pool_open(owned(0, 7, 100));
	assert_int_equal(model_get(MODEL_PF, 0x5ad0), 1u << 31 | 1u << 30 | 1u << 27 | 1u << 16 | 1522); /* strip, no untagged */
	assert_int_equal(model_get(MODEL_PF, 0x3700), 1u << 30 | 100);
	assert_int_equal(model_get(MODEL_PF, 0x5d00), 1u << 31 | 1u << 12 | 100);
	assert_int_equal(model_get(MODEL_PF, 0x5600 + 4 * 3), 1u << 4); /* VID 100 */
}

static void vlans_are_shared(void **state)
{
	struct igb_vf *a = owned(0, 1, 7), *b = owned(2, 2, 7), *c = owned(3, 3, 8);
	(void)state;
	igb_pool_open(a);
	igb_pool_open(b);
	igb_pool_open(c);
	assert_int_equal(model_get(MODEL_PF, 0x5d00), 1u << 31 | 5u << 12 | 7);
	assert_int_equal(model_get(MODEL_PF, 0x5d04), 1u << 31 | 8u << 12 | 8);
	igb_pool_close(a);
	assert_int_equal(model_get(MODEL_PF, 0x5d00), 1u << 31 | 4u << 12 | 7);
	assert_int_equal(model_get(MODEL_PF, 0x5600), 1u << 7 | 1u << 8);
	igb_pool_close(b);
	assert_int_equal(model_get(MODEL_PF, 0x5d00), 0);
	assert_int_equal(model_get(MODEL_PF, 0x5600), 1u << 8);
	igb_pool_open(a);
	assert_int_equal(model_get(MODEL_PF, 0x5d00), 1u << 31 | 1u << 12 | 7);
	assert_int_equal(model_get(MODEL_PF, 0x5d04), 1u << 31 | 8u << 12 | 8);
}

static void closed_pool_accepts_nothing(void **state)
{
	struct igb_vf *vf = owned(6, 9, 12);
	(void)state;
	igb_pool_open(vf);
	igb_port_route(vf->port, IGB_ROUTE_VF);
	igb_port_route(vf->port, IGB_ROUTE_NONE);
	igb_pool_close(vf);
	assert_int_equal(model_get(MODEL_PF, 0x54e4 + 8 * (17 - 16)), 0);
	assert_int_equal(model_get(MODEL_PF, 0x5ae8), 1u << 31);
	assert_int_equal(model_get(MODEL_PF, 0x3718), 1u << 31);
	assert_int_equal(model_get(MODEL_PF, 0x0c8c), 0);
	assert_int_equal(model_get(MODEL_PF, 0x0c90), 0);
}

static void multicast_table_is_the_union(void **state)
{
	struct igb_vf *a = owned(0, 1, 0), *b = owned(1, 2, 0);
	(void)state;
	a->port->hash[0] = 0x123;
	a->port->nr_hashes = 1;
	b->port->hash[0] = 0x123;
	b->port->hash[1] = 0xfff;
	b->port->nr_hashes = 2;
	igb_pool_update(a);
	igb_pool_update(b);
	assert_int_equal(model_get(MODEL_PF, 0x5200 + 4 * (0x123 >> 5)), 1u << (0x123 & 31));
	assert_int_equal(model_get(MODEL_PF, 0x5200 + 4 * 127), 1u << 31);
	assert_true(model_get(MODEL_PF, 0x5ad0) & 1u << 25);
	igb_pool_close(b);
	assert_int_equal(model_get(MODEL_PF, 0x5200 + 4 * (0x123 >> 5)), 1u << (0x123 & 31));
	assert_int_equal(model_get(MODEL_PF, 0x5200 + 4 * 127), 0);
	model_forget();
	igb_mta_update(pf);
	assert_int_equal(model_writes, 0); /* what has not changed is not written */
}

static void groups_by_address(void **state)
{
	struct igb_vf *a = owned(0, 1, 0);
	(void)state;
	a->port->vf_groups = (struct nic_rx_filter){ .nr = 1, .group = { { 0x01, 0, 0x5e, 0, 0x30, 0x12 } } }; /* hash 123h */
	pf->port[3].emu_groups = (struct nic_rx_filter){ .nr = 1, .group = { { 0x33, 0x33, 0, 0, 0xff, 0xff } } };
	igb_pool_update(a);
	assert_int_equal(model_get(MODEL_PF, 0x5200 + 4 * (0x123 >> 5)), 1u << (0x123 & 31));
	assert_int_equal(model_get(MODEL_PF, 0x5200 + 4 * 127), 1u << 31); /* the emulated devices' groups, too */
	pf->port[3].emu_groups.all_groups = true;
	igb_mta_update(pf);
	for (u32 i = 0; i < 128; i++)
		assert_int_equal(model_get(MODEL_PF, 0x5200 + 4 * i), ~0u);
}

static void a_parked_pool_takes_no_groups(void **state)
{
	struct igb_vf *vf = owned(1, 7, 0);
	(void)state;
	vf->groups_open = false;
	vf->port->nr_hashes = 1;
	igb_pool_open(vf);
	assert_int_equal(model_get(MODEL_PF, 0x5ad4) & (1u << 25 | 1u << 27), 0);
	vf->groups_open = true;
	igb_pool_update(vf);
	assert_int_equal(model_get(MODEL_PF, 0x5ad4) & (1u << 25 | 1u << 27), 1u << 25 | 1u << 27);
}

/* The address moves by one register write; and only it moves. */
static void a_route_is_one_write(void **state)
{
	struct igb_vf *vf = owned(4, 7, 0);
	const u32 rah = 0x54e4 + 8 * (23 - 4 - 16);
	(void)state;
	igb_port_route(vf->port, IGB_ROUTE_PF);
	assert_int_equal(model_get(MODEL_PF, rah), 0x80000700u | 1u << (18 + 7));
	model_forget();
	igb_port_route(vf->port, IGB_ROUTE_VF);
	assert_int_equal(model_writes, 1);
	assert_int_equal(model_log[0].reg, rah);
	assert_int_equal(model_log[0].value, 0x80000700u | 1u << (18 + 4));
	model_forget();
	igb_port_route(vf->port, IGB_ROUTE_PF);
	assert_int_equal(model_writes, 1);
	igb_port_route(vf->port, IGB_ROUTE_NONE);
	assert_int_equal(model_get(MODEL_PF, rah), 0);
}

/* Fill everything a VF's owner could have written; the scrub leaves none of it, and touches nobody else's. */
static void scrub_leaves_nothing(void **state)
{
	static const u8 rx[] = { 0x00, 0x04, 0x08, 0x0c, 0x10, 0x14, 0x18 }, tx[] = { 0x00, 0x04, 0x08, 0x10, 0x18, 0x28, 0x38, 0x3c };
	struct igb_vf *vf = owned(2, 2, 0);
	(void)state;
	for (u32 q = 0; q < IGB_QUEUES; q++)
		for (u32 off = 0; off < 0x40; off += 4) {
			model_set(MODEL_PF, IGB_RXQ(q) + off, ~0u);
			model_set(MODEL_PF, IGB_TXQ(q) + off, ~0u);
		}
	for (u32 r = 0; r < 8; r++)
		model_set(MODEL_PF, IGB_IVAR(r), ~0u);
	for (u32 i = 0; i < 25; i++)
		model_set(MODEL_PF, IGB_EITR(i), ~0u);
	for (u32 i = 0; i < 8 * IGB_MBX_WORDS; i++)
		model_set(MODEL_PF, IGB_VMBMEM(0, i), ~0u);
	for (u32 v = 0; v < 8; v++)
		for (u32 off = 0x20; off <= 0x80; off += 4)
			model_set(MODEL_PF, IGB_PVT(v, off), ~0u);
	model_set(MODEL_PF, IGB_EIMS, ~0u);
	model_set(MODEL_PF, IGB_EICR, ~0u);
	model_set(2, IGB_VTIVAR, ~0u);
	model_set(2, IGB_VTIVAR_MISC, ~0u);
	vf->mbx.clear_to_send = true;
	vf->mbx.mem[3] = 1;
	assert_int_equal(igb_quiesce(vf), 0);
	igb_scrub(vf);
	for (u32 q = 0; q < IGB_QUEUES; q++) {
		u32 want = q % 8 == 2 ? 0 : ~0u;
		for (u32 i = 0; i < sizeof(rx); i++)
			assert_int_equal(model_get(MODEL_PF, IGB_RXQ(q) + rx[i]), want);
		for (u32 i = 0; i < sizeof(tx); i++)
			assert_int_equal(model_get(MODEL_PF, IGB_TXQ(q) + tx[i]), want);
		assert_int_equal(model_get(MODEL_PF, IGB_RXQ(q) + 0x28), q % 8 == 2 ? 0x10000 : ~0u);
	}
	for (u32 r = 0; r < 8; r++)
		assert_int_equal(model_get(MODEL_PF, IGB_IVAR(r)), r == 2 ? 0 : ~0u);
	for (u32 i = 0; i < 25; i++) /* VF 2: causes 16..18 */
		assert_int_equal(model_get(MODEL_PF, IGB_EITR(i)), i >= 16 && i <= 18 ? 0 : ~0u);
	assert_int_equal(model_get(MODEL_PF, IGB_EIMS), ~(7u << 16));
	assert_int_equal(model_get(MODEL_PF, IGB_EICR), ~(7u << 16));
	for (u32 i = 0; i < 8 * IGB_MBX_WORDS; i++)
		assert_int_equal(model_get(MODEL_PF, IGB_VMBMEM(0, i)), i / 16 == 2 ? 0 : ~0u);
	for (u32 v = 0; v < 8; v++) { /* cause set, mask set, auto-clear, auto-mask, cause: what the VF can read of what was written */
		static const u8 causes[] = { 0x20, 0x24, 0x2c, 0x30, 0x80 };
		for (u32 i = 0; i < sizeof(causes); i++)
			assert_int_equal(model_get(MODEL_PF, IGB_PVT(v, causes[i])), v == 2 ? 0 : ~0u);
	}
	assert_int_equal(model_get(2, IGB_VTIVAR), 0);
	assert_int_equal(model_get(2, IGB_VTIVAR_MISC), 0);
	assert_false(vf->mbx.clear_to_send);
	assert_int_equal(vf->mbx.mem[3], 0);
}

static void stuck_queue_is_noticed(void **state)
{
	struct igb_vf *vf = owned(0, 1, 0);
	(void)state;
	model_set(MODEL_PF, IGB_TXQ(8) + IGB_Q_DCTL, (u32)IGB_Q_DCTL_ENABLE);
	model_stuck_queue = true;
	assert_true(igb_quiesce(vf) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(setup_makes_a_switch, start),
		cmocka_unit_test_setup(mac_comes_from_the_eeprom_if_it_must, start),
		cmocka_unit_test_setup(interrupts_are_set_up_in_order, start),
		cmocka_unit_test_setup(link_is_started_and_not_awaited, start),
		cmocka_unit_test_setup(pool_without_vlan, start),
		cmocka_unit_test_setup(pool_with_vlan, start),
		cmocka_unit_test_setup(vlans_are_shared, start),
		cmocka_unit_test_setup(closed_pool_accepts_nothing, start),
		cmocka_unit_test_setup(multicast_table_is_the_union, start),
		cmocka_unit_test_setup(groups_by_address, start),
		cmocka_unit_test_setup(a_parked_pool_takes_no_groups, start),
		cmocka_unit_test_setup(a_route_is_one_write, start),
		cmocka_unit_test_setup(scrub_leaves_nothing, start),
		cmocka_unit_test_setup(stuck_queue_is_noticed, start),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
