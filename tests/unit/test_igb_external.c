/*
 * The 82576 behind an external switch: S-tags in both states, who may pass through, control frames, and the registers of all that.
 * Ports 0, 1 and 3 have S-channels 100, 101 and 103; 2 and the others have none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/errno.h"
#include "tests/unit/igb_ports.h"

#define CONTROL_RAL(i) (0x5408u + 8 * (i))
#define CONTROL_RAH(i) (0x540cu + 8 * (i))
#define CONTROL(pools, last) (1u << 31 | (u32)(pools) << 18 | (last) << 8) /* 01-80-C2-00-00-last */
#define VLVF(vid, pools) (1u << 31 | (u32)(pools) << 12 | (vid))

static const u8 customer[6] = { 1, 0x80, 0xc2, 0, 0, 0 }, non_tpmr[6] = { 1, 0x80, 0xc2, 0, 0, 3 };

static int begin(void **state)
{
	prepare(state);
	pf->external = true;
	pf->svid[0] = 100;
	pf->svid[1] = 101;
	pf->svid[3] = 103;
	conf[0].vlan = 7; /* not ours to put on */
	return go_on();
}

static void type(u16 ethertype)
{
	frame[12] = (u8)(ethertype >> 8);
	frame[13] = (u8)ethertype;
}

/* From outside: the S-tag is in the descriptor. */
static void come(u32 pools, const u8 *to, u16 svid, u16 ethertype, u8 mark)
{
	make(to, stranger, mark);
	type(ethertype);
	model_arrive(pools, frame, 60, svid);
	model_nr_heard = 0;
	rx_irq();
}

static int send_type(u32 n, const u8 *to, u16 ethertype)
{
	make(to, conf[n].mac, 0);
	type(ethertype);
	int r = igb_data_ops.tx(&lower[n], frame, 60);
	igb_data_ops.tx_flush(&lower[n]);
	return r;
}

static void the_switch_is_outside(void **state)
{
	(void)state;
	assert_int_equal(model_get(MODEL_PF, 0x3500), 0x7f7f);             /* no loopback; spoof checks stay */
	assert_int_equal(model_get(MODEL_PF, 0x0038) & 0xffff, 0x88a8);    /* VET */
	assert_int_equal(model_get(MODEL_PF, 0x5004), 9216 + 4 + 4 + 8);   /* RLPML: C-tag, S-tag, E-TAG */
	assert_int_equal(model_get(MODEL_PF, 0x5aec) & 0x3fff, 9232);
	assert_int_equal(model_get(MODEL_PF, 0x5d00), VLVF(100, PF_POOL));
	assert_int_equal(model_get(MODEL_PF, 0x5d04), VLVF(101, PF_POOL));
	assert_int_equal(model_get(MODEL_PF, 0x5600 + 4 * 3), 3u << 4);
}

static void emulation_puts_the_tag_on(void **state)
{
	static const u32 lengths[] = { 60, 1514, 2044, 2045, 9212 };
	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(lengths); i++) {
		model_nr_sent = model_sent[0].len = 0;
		assert_int_equal(send(1, stranger, lengths[i]), 0);
		igb_data_ops.tx_flush(&lower[1]);
		assert_int_equal(model_sent[0].len, lengths[i] + 4);
		assert_memory_equal(model_sent[0].data, frame, 12);
		assert_memory_equal(model_sent[0].data + 12, "\x88\xa8\x00\x65", 4);
		assert_memory_equal(model_sent[0].data + 16, frame + 12, lengths[i] - 12);
	}
	model_nr_sent = model_nr_heard = model_sent[0].len = 0;
	assert_int_equal(send(0, conf[1].mac, 60), 0); /* a neighbour: by the bridge */
	assert_int_equal(send(0, broadcast, 60), 0);
	igb_data_ops.tx_flush(&lower[0]);
	assert_int_equal(model_nr_sent, 2);
	assert_string_equal(heard(1), "");
}

static void the_longest_frames(void **state)
{
	(void)state;
	make(stranger, conf[0].mac, 0);
	type(0x893f);
	memcpy(frame + 20, "\x81\x00\x00\x07", 4);
	assert_int_equal(igb_data_ops.tx(&lower[0], frame, 9212 + 8 + 4), 0);
	igb_data_ops.tx_flush(&lower[0]);
	assert_int_equal(model_sent[0].len, 9212 + 16);
	assert_int_equal(igb_data_ops.tx(&lower[0], frame, 9212 + 8 + 5), -EINVAL);
	model_nr_heard = 0;
	model_arrive(PF_POOL, make(conf[0].mac, stranger, 'l'), 9212 + 12, 100);
	rx_irq();
	assert_string_equal(heard(0), "l");
	assert_int_equal(model_heard[0].len, 9212 + 12);
}

static void an_s_channel_is_one_ports(void **state)
{
	(void)state;
	come(PF_POOL, conf[0].mac, 100, 0x800, 'a');
	assert_string_equal(heard(0), "a");
	come(PF_POOL, broadcast, 101, 0x800, 'b');
	assert_string_equal(heard(0), "");
	assert_string_equal(heard(1), "b");
	come(PF_POOL, conf[0].mac, 101, 0x800, 'c'); /* its address in another's channel */
	assert_string_equal(heard(0), "");
	assert_string_equal(heard(1), "");
	come(PF_POOL, broadcast, 0, 0x800, 'd');
	assert_string_equal(heard(0), "");
	assert_string_equal(heard(1), "");
	make(broadcast, conf[1].mac, 'e'); /* a neighbour's, hairpinned: no echo of ours */
	model_arrive(PF_POOL, frame, 60, 100);
	model_nr_heard = 0;
	rx_irq();
	assert_string_equal(heard(0), "e");
}

static void untagged_frames_only_for_who_has_no_channel(void **state)
{
	const u32 vmolr7 = IGB_VMOLR(7);
	(void)state;
	assert_int_equal(model_get(MODEL_PF, vmolr7) & (u32)IGB_VMOLR_AUPE, 0);
	assert_true(model_get(MODEL_PF, vmolr7) & (u32)IGB_VMOLR_STRVLAN);
	assert_int_equal(igb_data_ops.start(&lower[2]), 0);
	assert_true(model_get(MODEL_PF, vmolr7) & (u32)IGB_VMOLR_AUPE);
	come(PF_POOL, broadcast, 0, 0x893f, 'a');
	assert_string_equal(heard(0), "");
	assert_string_equal(heard(2), "a");
	come(PF_POOL, conf[2].mac, 0, 0x893f, 'b');
	assert_string_equal(heard(2), "b");
	assert_int_equal(send_type(2, stranger, 0x800), -EIO);
	assert_int_equal(send_type(2, stranger, 0x88a8), -EIO); /* a way into another's S-channel */
	assert_int_equal(send_type(2, stranger, 0x893f), 0);
	assert_int_equal(model_sent[0].len, 60);
	assert_int_equal(model_sent[0].data[12], 0x89);
	igb_data_ops.stop(&lower[2]);
	assert_int_equal(model_get(MODEL_PF, vmolr7) & (u32)IGB_VMOLR_AUPE, 0);
}

static void who_may_pass(void **state)
{
	struct nest_nic_info info;
	(void)state;
	assert_int_equal(igb_ops.info(&lower[0], &info), 0);
	assert_int_equal(info.flags & (NEST_NIC_MAY_PASS | NEST_NIC_EXTERNAL), NEST_NIC_MAY_PASS | NEST_NIC_EXTERNAL);
	assert_int_equal(info.vlan, 0);
	assert_int_equal(info.caps & NEST_CAP_VLAN, 0);
	assert_int_equal(igb_ops.info(&lower[2], &info), 0);
	assert_int_equal(info.flags & (NEST_NIC_MAY_PASS | NEST_NIC_EXTERNAL), NEST_NIC_EXTERNAL);
	assert_int_equal(igb_ops.alloc(&lower[2], &vm, &conf[2], NEST_ALLOC_PARKED), -EPERM);
	assert_non_null(strstr(seen.last_line, "port2 has no S-VID ([nic 0], svid)"));
	assert_null(pf->port[2].vf);
	pf->external = false;
	assert_int_equal(igb_ops.info(&lower[2], &info), 0);
	assert_int_equal(info.flags & (NEST_NIC_MAY_PASS | NEST_NIC_EXTERNAL), NEST_NIC_MAY_PASS);
	pf->external = true;
}

static void a_vf_gets_the_tag(void **state)
{
	(void)state;
	assert_int_equal(igb_ops.alloc(&lower[0], &vm, &conf[0], 0), 0);
	assert_int_equal(model_get(MODEL_PF, IGB_VMVIR(0)), 1u << 30 | 100);
	u32 vmolr = model_get(MODEL_PF, IGB_VMOLR(0));
	assert_true(vmolr & 1u << 30);            /* taken off */
	assert_int_equal(vmolr & 1u << 24, 0);    /* nothing untagged */
	assert_int_equal(vmolr & 0x3fff, 1522);
	assert_int_equal(model_get(MODEL_PF, 0x5d00), VLVF(100, PF_POOL | 1)); /* the PF keeps hearing of the channel */
	assert_int_equal(igb_ops.free(&lower[0]), 0);
	assert_int_equal(model_get(MODEL_PF, 0x5d00), VLVF(100, PF_POOL));
	igb_data_ops.stop(&lower[0]);
	assert_int_equal(model_get(MODEL_PF, 0x5d00), 0);
}

/* LLDP and ECP reach the port's device and leave it in both states; other frames to those addresses only in emulation. */
static void control_frames_in_every_state(void **state)
{
	const u32 vmolr7 = IGB_VMOLR(7);
	(void)state;
	igb_data_ops.stop(&lower[1]);
	for (u32 pass = 0; pass < 2; pass++) {
		come(PF_POOL, customer, 100, 0x8940, 'e');
		assert_string_equal(heard(0), "e");
		come(PF_POOL, non_tpmr, 100, 0x88cc, 'l');
		assert_string_equal(heard(0), "l");
		come(PF_POOL, non_tpmr, 101, 0x88cc, 'x');
		assert_string_equal(heard(0), "");
		come(PF_POOL, customer, 100, 0x0026, 'b'); /* a BPDU: nobody asked for it */
		assert_string_equal(heard(0), "");
		model_nr_sent = model_sent[0].len = 0;
		assert_int_equal(send_type(0, customer, 0x8940), 0);
		assert_int_equal(model_nr_sent, 1);
		assert_memory_equal(model_sent[0].data + 12, "\x88\xa8\x00\x64\x89\x40", 6);
		assert_int_equal(model_get(MODEL_PF, CONTROL_RAL(0)), 0x00c28001u);
		assert_int_equal(model_get(MODEL_PF, CONTROL_RAH(0)), CONTROL(PF_POOL, 0));
		assert_int_equal(model_get(MODEL_PF, CONTROL_RAH(1)), CONTROL(PF_POOL, 3));
		assert_true(model_get(MODEL_PF, vmolr7) & (u32)IGB_VMOLR_STRVLAN);
		if (pass)
			break;
		assert_int_equal(igb_ops.alloc(&lower[0], &vm, &conf[0], 0), 0);
		assert_int_equal(model_get(MODEL_PF, vmolr7) & (GROUP_BITS | (u32)IGB_VMOLR_AUPE), 0);
		assert_int_equal(send_type(0, stranger, 0x800), -EIO);
	}
	igb_data_ops.stop(&lower[0]); /* its device is gone, its VF is not */
	come(PF_POOL, customer, 100, 0x8940, 'e');
	assert_string_equal(heard(0), "");
	assert_int_equal(send_type(0, customer, 0x8940), -EIO);
	assert_int_equal(model_get(MODEL_PF, CONTROL_RAH(0)), 0);
	assert_int_equal(model_get(MODEL_PF, CONTROL_RAH(1)), 0);
	assert_int_equal(igb_ops.free(&lower[0]), 0);
}

/* They are never a VF's, whatever its guest asks for. */
static void a_guest_wants_a_control_group(void **state)
{
	struct nest_nic_conf want = { .what = NEST_CONF_GROUPS, .nr_groups = 1 };
	(void)state;
	assert_int_equal(igb_ops.alloc(&lower[1], &vm, &conf[1], 0), 0);
	memcpy(want.group[0], customer, 6);
	assert_int_equal(igb_configure(&lower[1], &want), 0);
	want = (struct nest_nic_conf){ .what = NEST_CONF_PROMISC, .flags = NEST_CONF_FLAG_ALL_GROUPS };
	assert_int_equal(igb_configure(&lower[1], &want), 0);
	assert_int_equal(model_get(MODEL_PF, CONTROL_RAH(0)), CONTROL(PF_POOL, 0));
	assert_int_equal(model_get(MODEL_PF, CONTROL_RAH(1)), CONTROL(PF_POOL, 3));
	assert_int_equal(igb_ops.free(&lower[1]), 0);
	struct nic_rx_filter all = { .all_groups = true };
	igb_data_ops.rx_filter(&lower[1], &all);
	come(PF_POOL, customer, 101, 0x0026, 'b');
	assert_string_equal(heard(1), "");
}

/* A switch of state changes one thing outside of the VF's own pool: the address's route. */
static void a_switch_changes_no_encapsulation(void **state)
{
	u32 head;
	(void)state;
	assert_int_equal(igb_ops.alloc(&lower[0], &vm, &conf[0], NEST_ALLOC_PARKED), 0);
	for (u32 round = 0; round < 3; round++) {
		model_forget();
		assert_int_equal(igb_prepare(&lower[0], NIC_PASSTHROUGH), 0);
		igb_commit(&lower[0], NIC_PASSTHROUGH, &head);
		come(PF_POOL, non_tpmr, 100, 0x88cc, 'l');
		assert_string_equal(heard(0), "l");
		assert_int_equal(igb_prepare(&lower[0], NIC_EMULATION), 0);
		igb_commit(&lower[0], NIC_EMULATION, &head);
		assert_int_equal(model_last_write(MODEL_PF, IGB_VMVIR(0)), -1);
		assert_int_equal(model_last_write(MODEL_PF, IGB_VLVF(0)), -1);
		assert_int_equal(model_last_write(MODEL_PF, IGB_VET), -1);
		assert_int_equal(model_last_write(MODEL_PF, CONTROL_RAH(0)), -1);
		assert_int_equal(model_nr_sent, 0);
	}
	assert_int_equal(igb_ops.free(&lower[0]), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, begin, stop)
	const struct CMUnitTest tests[] = {
		T(the_switch_is_outside), T(emulation_puts_the_tag_on), T(the_longest_frames), T(an_s_channel_is_one_ports),
		T(untagged_frames_only_for_who_has_no_channel), T(who_may_pass), T(a_vf_gets_the_tag), T(control_frames_in_every_state),
		T(a_guest_wants_a_control_group), T(a_switch_changes_no_encapsulation),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
