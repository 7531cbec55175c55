/*
 * The transaction between the states of a port: what arrives at the moment of a switch, and what others do meanwhile.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/errno.h"
#include "tests/unit/igb_ports.h"

#define RDH IGB_RXQ(7) + IGB_Q_HEAD
#define VF_RDH IGB_RXQ(0) + IGB_Q_HEAD

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

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, start, stop)
	const struct CMUnitTest tests[] = {
		T(switched_to_pass_through), T(a_flood_hides_no_group_frame), T(others_close_no_filter), T(without_the_pfs_queues), T(and_back),
		T(others_hear_each_frame_once), T(a_frame_across_the_head_stays_whole), T(nothing_prepared_stays),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
