/*
 * HC_NIC_CONFIGURE at the 82576, on the register model: the registers as numbers of the datasheet, policy, all or nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/errno.h"
#include "tests/unit/igb_model.h"
#include "tests/unit/nic_fakes.h"

static struct igb *pf;
static struct nic_lower lower; /* of port 1, which has VF 4 */
static struct igb_port *port;

static int start(void **state)
{
	(void)state;
	fakes_reset();
	pf = model_igb();
	port = &pf->port[1];
	*port = (struct igb_port){ .pf = pf, .index = 1, .mac = { 0x52, 0x54, 0, 0, 0, 1 }, .vlan = 7, .tag = 7, .vf = &pf->vf[4] };
	pf->vf[4].port = port;
	pf->vf[4].state = VF_OWNED;
	pf->vf[4].groups_open = true;
	igb_port_forget(port);
	igb_pool_open(&pf->vf[4]);
	lower = (struct nic_lower){ .priv = port };
	model_forget();
	return 0;
}

static int configure(struct nest_nic_conf c) { return igb_configure(&lower, &c); }

static void refused(struct nest_nic_conf c, int error)
{
	struct igb_port before = *port;
	model_forget();
	assert_int_equal(configure(c), error);
	assert_int_equal(model_writes, 0);
	assert_memory_equal(&before, port, sizeof(before));
}

static void what_the_hardware_can_do(void **state)
{
	(void)state;
	u32 always = NEST_CAP_CHECKSUM | NEST_CAP_TSO | NEST_CAP_VLAN | NEST_CAP_PROMISC_GROUPS;
	assert_int_equal(igb_caps(pf), always | NEST_CAP_RATE | NEST_CAP_SPOOF_CHECK);
	pf->is_model = true;
	assert_int_equal(igb_caps(pf), always);
}

static void identity_may_only_be_repeated(void **state)
{
	struct nest_nic_conf c = { .what = NEST_CONF_MAC | NEST_CONF_VLAN, .mac = { 0x52, 0x54, 0, 0, 0, 1 }, .vlan = 7 };
	(void)state;
	assert_int_equal(configure(c), 0);
	assert_int_equal(model_writes, 0);
	c.mac[5] = 2;
	refused(c, -EPERM);
	c.mac[5] = 1;
	c.vlan = 0;
	refused(c, -EPERM);
	c.what = 0; /* nothing asked, nothing done */
	assert_int_equal(configure(c), 0);
}

static void frame_length(void **state)
{
	struct nest_nic_conf c = { .what = NEST_CONF_MAX_FRAME, .max_frame = 9000 };
	(void)state;
	assert_int_equal(configure(c), 0);
	assert_int_equal(model_get(MODEL_PF, 0x5ad0 + 4 * 4) & 0x3fff, 9000 + 4 + 4); /* VMOLR: FCS and the port's tag */
	c.max_frame = 59;
	refused(c, -EINVAL);
	c.max_frame = 9213;
	refused(c, -EINVAL);
	c.max_frame = ~0u;
	refused(c, -EINVAL);
}

static void groups(void **state)
{
	struct nest_nic_conf c = { .what = NEST_CONF_GROUPS, .nr_groups = 2,
				   .group = { { 1, 0, 0x5e, 0, 0, 0xfb }, { 0x33, 0x33, 0, 0, 0x50, 1 } } };
	(void)state;
	assert_int_equal(configure(c), 0);
	assert_int_equal(model_get(MODEL_PF, 0x5200 + 4 * (0xfb0 >> 5)), 1u << (0xfb0 & 31)); /* bits 47:36 */
	assert_int_equal(model_get(MODEL_PF, 0x5200 + 4 * (0x015 >> 5)), 1u << 0x15);
	assert_true(model_get(MODEL_PF, 0x5ad0 + 16) & 1u << 25); /* ROMPE */
	c.nr_groups = 0; /* the new list replaces the old one */
	assert_int_equal(configure(c), 0);
	assert_int_equal(model_get(MODEL_PF, 0x5200 + 4 * (0xfb0 >> 5)), 0);
	assert_false(model_get(MODEL_PF, 0x5ad0 + 16) & 1u << 25);
	c.nr_groups = 33;
	refused(c, -EINVAL);
	c.nr_groups = 2;
	c.group[1][0] = 0x32; /* a station's */
	refused(c, -EINVAL);
	c.nr_groups = 1; /* what lies behind the list does not matter */
	assert_int_equal(configure(c), 0);
	assert_int_equal(port->vf_groups.nr, 1);
	assert_int_equal(port->vf_groups.group[1][0], 0);
}

static void promiscuity(void **state)
{
	struct nest_nic_conf c = { .what = NEST_CONF_PROMISC, .flags = NEST_CONF_FLAG_ALL_GROUPS };
	(void)state;
	assert_int_equal(configure(c), 0);
	assert_true(model_get(MODEL_PF, 0x5ad0 + 16) & 1u << 25);
	for (u32 i = 0; i < 128; i++)
		assert_int_equal(model_get(MODEL_PF, 0x5200 + 4 * i), 0xffffffff);
	c.flags = NEST_CONF_FLAG_PROMISC;
	refused(c, -EPERM);
	c.flags = NEST_CONF_FLAG_PROMISC | NEST_CONF_FLAG_ALL_GROUPS;
	refused(c, -EPERM);
	c.flags = 8;
	refused(c, -EINVAL);
	c.flags = 0;
	assert_int_equal(configure(c), 0);
	assert_int_equal(model_get(MODEL_PF, 0x5200), 0);
	assert_false(model_get(MODEL_PF, 0x5ad0 + 16) & 1u << 25);
}

/* RTTDQSEL 3604h, RTTBCNRM 3690h, RTTBCNRC 36B0h: enable and link / rate in 14.14 bits. */
static void rate_limit(void **state)
{
	struct nest_nic_conf c = { .what = NEST_CONF_RATE, .rate = 300 };
	(void)state;
	assert_int_equal(configure(c), 0);
	assert_int_equal(model_writes, 5);
	assert_int_equal(model_log[0].reg, 0x3604);
	assert_int_equal(model_log[0].value, 4);
	assert_int_equal(model_log[1].reg, 0x3690);
	assert_int_equal(model_log[1].value, 0x14);
	assert_int_equal(model_log[2].reg, 0x36b0);
	assert_int_equal(model_log[2].value, 1u << 31 | 3 << 14 | (1 << 14) / 3);
	assert_int_equal(model_log[3].reg, 0x3604); /* the queue that no guest is offered is no way round */
	assert_int_equal(model_log[3].value, 12);
	assert_int_equal(model_log[4].value, 1u << 31 | 0xfffffff);
	c.rate = 1001;
	refused(c, -EINVAL);
	c.rate = 1;
	assert_int_equal(configure(c), 0);
	assert_int_equal(model_get(MODEL_PF, IGB_RTTBCNRC), 1u << 31 | 0xfffffff); /* of the second queue */
	assert_int_equal(model_log[model_writes - 3].value, 1u << 31 | 1000 << 14);
	c.rate = 0;
	assert_int_equal(configure(c), 0);
	assert_int_equal(model_get(MODEL_PF, IGB_RTTBCNRC), 0);
	assert_int_equal(model_log[model_writes - 3].value, 0);
}

static void a_rate_is_one_of_the_link(void **state)
{
	struct nest_nic_conf c = { .what = NEST_CONF_RATE, .rate = 200 };
	(void)state;
	assert_int_equal(configure(c), 0);
	igb_link_poll(pf); /* up, as it was all the time */
	model_set(MODEL_PF, IGB_STATUS, 0);
	igb_link_poll(pf);
	model_set(MODEL_PF, IGB_STATUS, (u32)(IGB_STATUS_LU | FIELD_PREP(IGB_STATUS_SPEED, 1)));
	model_forget();
	igb_link_poll(pf); /* back with 100 Mb/s, which is the limit now */
	assert_int_equal(model_writes, 5);
	assert_int_equal(model_log[2].value, 0);
	igb_pool_close(&pf->vf[4]); /* the next owner has none */
	assert_int_equal(port->rate, 0);
	assert_int_equal(model_get(MODEL_PF, IGB_RTTBCNRC), 0);
}

static void spoof_checks_stay_on(void **state)
{
	struct nest_nic_conf c = { .what = NEST_CONF_SPOOF_CHECK, .flags = NEST_CONF_FLAG_SPOOF_CHECK };
	(void)state;
	model_set(MODEL_PF, 0x3500, 1u << 31);
	assert_int_equal(configure(c), 0);
	assert_int_equal(model_get(MODEL_PF, 0x3500), 1u << 31 | 1u << 4 | 1u << 12);
	c.flags = 0;
	refused(c, -EPERM);
}

static void without_effect_is_not_supported(void **state)
{
	struct nest_nic_conf c = { .what = NEST_CONF_RSS };
	(void)state;
	refused(c, -ENOTSUP);
	pf->is_model = true;
	refused((struct nest_nic_conf){ .what = NEST_CONF_RATE, .rate = 100 }, -ENOTSUP);
	refused((struct nest_nic_conf){ .what = NEST_CONF_SPOOF_CHECK, .flags = NEST_CONF_FLAG_SPOOF_CHECK }, -ENOTSUP);
	refused((struct nest_nic_conf){ .what = NEST_CONF_SPOOF_CHECK }, -ENOTSUP);
}

static void all_or_nothing(void **state)
{
	struct nest_nic_conf c = { .what = NEST_CONF_ALL & ~NEST_CONF_RSS, .mac = { 0x52, 0x54, 0, 0, 0, 1 }, .vlan = 7,
				   .max_frame = 2000, .rate = 100, .nr_groups = 1, .group = { { 1 } },
				   .flags = NEST_CONF_FLAG_SPOOF_CHECK | NEST_CONF_FLAG_ALL_GROUPS };
	(void)state;
	struct nest_nic_conf bad = c;
	bad.flags = NEST_CONF_FLAG_ALL_GROUPS;
	refused(bad, -EPERM);
	bad = c;
	bad.what |= NEST_CONF_RSS;
	refused(bad, -ENOTSUP);
	bad = c;
	bad.what |= 1u << 8;
	refused(bad, -EINVAL);
	bad = c;
	bad.group[0][0] = 0;
	refused(bad, -EINVAL);
	assert_int_equal(configure(c), 0);
	assert_int_equal(port->frame, 2004);
	assert_int_equal(port->rate, 100);
	assert_true(port->vf_groups.all_groups);
}

/* mtu= of the configuration is policy: neither the mailbox nor a saved state goes round it. A tag of the guest's own is not part of it. */
static void mtu_is_policy(void **state)
{
	struct nic_config cfg = { .mtu = 1500 };
	struct nic_port bound = { .cfg = &cfg };
	struct nest_nic_state rec;
	u32 msg[IGB_MBX_WORDS] = { IGB_MSG_RESET };
	(void)state;
	lower.bound = &bound;
	port->lower = &lower;
	igb_mbx_answer(port->vf, msg);
	msg[0] = IGB_MSG_SET_LPE;
	msg[1] = 1523;
	igb_mbx_answer(port->vf, msg);
	assert_true(msg[0] & IGB_MSG_NACK);
	assert_int_equal(port->frame, 1518);
	msg[0] = IGB_MSG_SET_LPE;
	msg[1] = 1522; /* igbvf asks for that */
	igb_mbx_answer(port->vf, msg);
	assert_true(msg[0] & IGB_MSG_ACK);
	assert_int_equal(igb_state_quiesce(&lower), 0);
	memset(&rec, 0, sizeof(rec));
	assert_int_equal(igb_state_save(&lower, &rec), 0);
	assert_int_equal(igb_state_restore(&lower, &rec), 0);
	rec.max_frame = 1519;
	assert_int_equal(igb_state_restore(&lower, &rec), -EPERM);
	assert_int_equal(port->frame, 1522);
	cfg.mtu = 500;
	igb_port_forget(port);
	assert_int_equal(port->frame, 522);
	cfg.mtu = 9198;
	msg[0] = IGB_MSG_SET_LPE;
	msg[1] = 9217;
	igb_mbx_answer(port->vf, msg);
	assert_true(msg[0] & IGB_MSG_NACK);
}

#define T(f) cmocka_unit_test_setup(f, start)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_the_hardware_can_do),
		T(identity_may_only_be_repeated),
		T(frame_length),
		T(groups),
		T(promiscuity),
		T(rate_limit),
		T(a_rate_is_one_of_the_link),
		T(spoof_checks_stay_on),
		T(without_effect_is_not_supported),
		T(all_or_nothing),
		T(mtu_is_policy),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
