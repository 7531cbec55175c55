/*
 * A port's extender in its surroundings: when it comes up and goes down, what of that is seen on the wire, what it tells the port.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/ext_model.h"

#define PEER ((const u8[6]){ 2, 0, 0, 0, 0, 9 })

/* ---- life ---- */

static void without_external_switch_nothing_changes(void **state)
{
	(void)state;
	assert_null(extender());
	assert_ptr_equal(port()->lower->data, port()->lower->ops->data);
	assert_int_equal(hc(HC_NIC_EXTENDER, 0, 0), 0);
	assert_int_equal(m.extenders, 0);
	assert_int_equal(device_start(), 0);
	assert_true(sends() && gets());
	run(100 * SECOND);
	assert_int_equal(m.nr_sent, 1);
	assert_int_equal(m.kicks, 0);
	assert_int_equal(port_open(port(), 0), 0);
	assert_int_equal(port_close(port()), 0);
	assert_false(port_ext_refused(port()));
	assert_int_equal(port_ext_tag_room(port()), 0);
	device_stop();
	assert_int_equal(m.starts, 1);
	assert_int_equal(m.stops, 1);
}

static void the_outer_is_told_before_the_device_is_there(void **state)
{
	(void)state;
	assert_int_equal(m.extenders, 1);
	assert_ptr_not_equal(port()->lower->data, port()->lower->ops->data);
	assert_int_equal(m.starts, 0);
	run(10 * SECOND);
	assert_int_equal(m.nr_sent, 0);
}

static void must_say_good_bye_once(u32 from)
{
	u32 deletes = m.bridge.nr_deletes, deassocs = m.bridge.vdp.nr_deassoc;
	run(60 * SECOND);
	assert_int_equal(m.bridge.nr_deletes, deletes + 1);
	assert_int_equal(m.bridge.vdp.nr_deassoc, deassocs + 1);
	assert_int_equal(sent_type(from, FRAME_TYPE_LLDP), 1);
	assert_int_equal(sent_control(from), 3);
	assert_int_equal(m.starts, m.stops);
}

static void up_and_down_with_the_device(void **state)
{
	(void)state;
	m.bridge.vid = 7;
	assert_int_equal(device_start(), 0);
	must_be_associated(0);
	assert_int_equal(vlan(), 7);
	assert_true(sends() && gets());
	u32 before = m.nr_sent;
	device_stop();
	assert_int_equal(vlan(), 0);
	must_say_good_bye_once(before);
	assert_int_equal(m.starts, 1);
}

static void up_and_down_with_the_function(void **state)
{
	(void)state;
	assert_int_equal(port_open(port(), 0), 0);
	must_be_associated(0);
	assert_false(sends()); /* the device does not run */
	u32 before = m.nr_sent;
	assert_int_equal(port_close(port()), 0);
	must_say_good_bye_once(before);
	assert_int_equal(m.starts, 1);
}

static void a_change_between_them_is_no_event(void **state)
{
	(void)state;
	assert_int_equal(device_start(), 0);
	must_be_associated(0);
	u32 before = m.nr_sent, kicks = m.kicks;
	for (u32 i = 0; i < 100; i++) {
		assert_int_equal(port_open(port(), 0), 0);
		device_stop();
		assert_false(sends());
		assert_int_equal(device_start(), 0);
		assert_true(sends());
		assert_int_equal(port_close(port()), 0);
	}
	assert_int_equal(sent_control(before), 0);
	assert_int_equal(m.nr_sent - before, 100);
	assert_int_equal(m.kicks, kicks);
	assert_int_equal(m.starts, 1);
	assert_int_equal(m.stops, 0);
	assert_int_equal(m.bridge.vdp.nr_assoc, 1);
	before = m.nr_sent;
	device_stop();
	must_say_good_bye_once(before);
}

static void groups_of_the_device_and_the_control_frames(void **state)
{
	(void)state;
	struct nic_rx_filter f = { .nr = 1, .group = { { 1, 0, 0x5e, 1, 2, 3 } } };
	assert_int_equal(device_start(), 0);
	port()->lower->data->rx_filter(port()->lower, &f);
	assert_int_equal(m.filter.nr, 3);
	assert_memory_equal(m.filter.group[0], f.group[0], 6);
	assert_int_equal(port_open(port(), 0), 0);
	device_stop();
	assert_int_equal(m.filter.nr, 2);
	assert_int_equal(device_start(), 0); /* anew: its old groups are not its own any more */
	port()->lower->data->rx_filter(port()->lower, &(struct nic_rx_filter){ .nr = NEST_MAX_GROUPS });
	assert_true(m.filter.all_groups);
	assert_int_equal(m.filter.nr, NEST_MAX_GROUPS);
	device_stop();
	assert_int_equal(port_close(port()), 0);
	assert_int_equal(device_start(), 0);
	assert_int_equal(m.filter.nr, 2);
}

static void a_link_that_does_not_start(void **state)
{
	(void)state;
	m.fail_start = -EIO;
	assert_int_equal(device_start(), -EIO);
	assert_false(sends());
	m.fail_info = -EIO;
	assert_int_equal(device_start(), -EIO);
	m.fail_start = -ENOMEM;
	assert_int_equal(port_open(port(), 0), 0); /* the function works without */
	run(10 * SECOND);
	assert_int_equal(m.nr_sent, 0);
	assert_int_equal(m.stops, 0);
	device_stop(); /* of a link that is not started, nothing is asked */
	assert_int_equal(device_start(), 0);
	must_be_associated(0);
	assert_int_equal(port_close(port()), 0);
}

static void no_frame_before_start_and_after_stop(void **state)
{
	(void)state;
	assert_false(sends());
	assert_int_equal(device_start(), 0);
	assert_true(sends());
	device_stop();
	assert_false(sends());
	assert_int_equal(m.nr_sent - sent_control(0), 1);
}

static void the_next_vm_begins_clean(void **state)
{
	(void)state;
	for (u32 i = 0; i < 12; i++) {
		u32 how = i % 6;
		m.bridge.force_vid = how == 3 ? 9 : 0;
		m.bridge.silent = how == 4;
		if (how == 2)
			assert_int_equal(hc(HC_NIC_EXTENDER, 0, 0), 0);
		if (how == 5 || how == 1)
			assert_int_equal(port_open(port(), 0), 0);
		if (how && how != 5)
			assert_int_equal(device_start(), 0);
		run(how == 1 ? WIRE_US * 5 : 5 * SECOND); /* in the middle of it, too */
		assert_int_equal(port_ext_refused(port()), how == 1 || how == 3 || how == 4);
		assert_int_equal(port_ext_tag_room(port()), how == 2 ? ETAG_LEN : 0);
		model_unbind();
		u32 before = m.nr_sent;
		m.bridge.silent = false;
		model_bind(!m.who);
		struct port_ext *e = extender();
		assert_false(e->up || e->begun || e->speaking || e->announced || e->refused || e->vlan || e->device || e->function);
		assert_false(port()->halted || port()->unsettled);
		assert_int_equal(vlan(), 0);
		assert_int_equal(flags() & NEST_NIC_VDP_OUTER, NEST_NIC_VDP_OUTER);
		run(50 * SECOND);
		assert_int_equal(m.nr_sent, before);
		assert_true(fake_deadline() == ~0ull);
	}
	assert_int_equal(device_start(), 0);
	must_be_associated(0);
}

static void frames_of_an_earlier_life_are_forgotten(void **state)
{
	(void)state;
	assert_int_equal(device_start(), 0);
	must_be_associated(0);
	m.bridge.vdp.lldp_us = 0;
	bridge_shutdown(&m.bridge); /* says something … */
	m.now_us += WIRE_US;
	extender()->inbox_nr = 0;
	u8 f[60] = { 0 };
	frame_header_put(f, FRAME_NEAREST_NON_TPMR_BRIDGE, PEER, FRAME_TYPE_LLDP);
	assert_int_equal(wire_in(f, sizeof(f)), 0);
	assert_int_equal(extender()->inbox_nr, 1); /* … which nobody has looked at yet */
	model_unbind();
	model_bind(1);
	m.cut = true;
	assert_int_equal(device_start(), 0);
	assert_int_equal(extender()->inbox_nr, 0);
}

/* ---- who speaks, what is shown ---- */

static void flags_of_all_combinations(void **state)
{
	(void)state;
	static const struct { enum nic_vdp vdp; bool cascade, claimed, shows, speaks; } row[] = {
		{ NIC_VDP_INNERMOST, false, false, true, true }, { NIC_VDP_INNERMOST, true, false, false, false },
		{ NIC_VDP_INNERMOST, false, true, true, false }, { NIC_VDP_INNERMOST, true, true, true, false },
		{ NIC_VDP_HERE, false, false, true, true }, { NIC_VDP_HERE, true, false, true, true },
		{ NIC_VDP_HERE, false, true, true, false }, { NIC_VDP_HERE, true, true, true, false },
		{ NIC_VDP_OFF, false, false, true, false }, { NIC_VDP_OFF, true, false, true, false },
		{ NIC_VDP_OFF, false, true, true, false }, { NIC_VDP_OFF, true, true, true, false },
	};
	u32 base = m.flags;
	m.bridge.vid = 5;
	for (u32 i = 0; i < ARRAY_SIZE(row); i++) {
		model_unbind();
		ext_cfg[0].nics[0].vdp = row[i].vdp;
		m.flags = base | (row[i].claimed ? NEST_NIC_VDP_OUTER : 0);
		m.vlan = row[i].claimed ? 3 : 0; /* of whoever speaks there */
		model_bind(0);
		if (row[i].cascade)
			assert_int_equal(hc(HC_NIC_EXTENDER, 0, 0), 0);
		assert_int_equal(!!(flags() & NEST_NIC_VDP_OUTER), row[i].shows);
		assert_int_equal(device_start(), 0);
		run(10 * SECOND);
		assert_int_equal(extender()->speaking, row[i].speaks);
		assert_int_equal(vlan(), row[i].speaks ? 5 : m.vlan);
		assert_int_equal(!!(flags() & NEST_NIC_VDP_OUTER), row[i].shows);
		assert_true(flags() & NEST_NIC_LINK_UP && flags() & NEST_NIC_MAY_PASS);
	}
}

static void a_cascade_is_announced_while_the_port_is_down(void **state)
{
	(void)state;
	u32 changes = m.changes;
	assert_int_equal(device_start(), 0);
	assert_int_equal(hc(HC_NIC_EXTENDER, 0, 0), -EBUSY);
	assert_int_equal(port_ext_tag_room(port()), 0);
	assert_int_equal(m.changes, changes);
	device_stop();
	assert_int_equal(port_open(port(), 0), 0);
	assert_int_equal(hc(HC_NIC_EXTENDER, 0, 0), -EBUSY);
	assert_int_equal(port_close(port()), 0);
	assert_int_equal(hc(HC_NIC_EXTENDER, 0, 0), 0);
	assert_int_equal(port_ext_tag_room(port()), ETAG_LEN);
	assert_int_equal(m.changes, changes + 1); /* the device knows it */
	assert_int_equal(hc(HC_NIC_EXTENDER, 1, 0), -ENOENT);
}

static void vlan_without_effect_is_said_once(void **state)
{
	(void)state;
	assert_int_equal(hc(HC_NIC_EXTENDER, 0, 0), 0);
	assert_int_equal(device_start(), 0);
	assert_non_null(strstr(seen.last_line, "vlan=7 has no effect: a level further in"));
	device_stop();
	seen.last_line[0] = 0;
	assert_int_equal(device_start(), 0);
	assert_null(strstr(seen.last_line, "no effect"));
	model_unbind();
	model_bind(1);
	m.flags |= NEST_NIC_VDP_OUTER;
	assert_int_equal(device_start(), 0);
	assert_non_null(strstr(seen.last_line, "further out"));
	model_unbind();
	ext_cfg[0].nics[0].vdp = NIC_VDP_OFF;
	m.flags &= ~NEST_NIC_VDP_OUTER;
	model_bind(0);
	assert_int_equal(device_start(), 0);
	assert_non_null(strstr(seen.last_line, "vdp=off"));
}

/* ---- time ---- */

/* What is due may be past when the timer is armed, by as much as the CPU was away. */
static void looks_at_the_clock_take_time(void **state)
{
	(void)state;
	static const u32 skew_us[] = { 3, EXT_TICK_US, 20 * EXT_TICK_US };
	for (u32 k = 0; k < ARRAY_SIZE(skew_us); k++) {
		m.skew_us = skew_us[k];
		assert_int_equal(device_start(), 0);
		for (u32 i = 0; i < 20; i++) {
			run(SECOND);
			assert_true(fake_deadline() < (m.now_us + 60 * SECOND) * 1000);
		}
		m.skew_us = 0;
		run(40 * SECOND);
		assert_true(m.bridge.vdp.associated);
		device_stop();
		run(SECOND);
	}
}

/* Its station begins there at once: the next keep-alive would be too late. */
static void another_ecid_leads_to_another_port_of_the_bridge(void **state)
{
	(void)state;
	assert_int_equal(device_start(), 0);
	must_be_associated(0);
	bridge_change_ecid(&m.bridge, bridge_leaf(&m.bridge), 0x123);
	run(2 * SECOND);
	assert_int_equal(extender()->x.own, 0x123);
	assert_true(m.bridge.vdp.associated);
	assert_int_equal(m.bridge.vdp.channel, 0x123);
	bridge_remove_ecid(&m.bridge, bridge_leaf(&m.bridge));
	run(2 * SECOND);
	assert_true(extender()->x.own && m.bridge.vdp.associated);
	assert_int_equal(m.bridge.vdp.channel, extender()->x.own);
}

static void a_bridge_that_has_forgotten_is_told_again(void **state)
{
	(void)state;
	assert_int_equal(device_start(), 0);
	must_be_associated(0);
	bridge_restart(&m.bridge, false);
	run(90 * SECOND);
	assert_non_null(bridge_leaf(&m.bridge));
	assert_int_equal(bridge_leaf(&m.bridge)->ecid, extender()->x.own);
	assert_true(m.bridge.vdp.associated);
}

#define T(setup, f) cmocka_unit_test_setup_teardown(f, setup, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(embedded, without_external_switch_nothing_changes),
		T(s_channel, the_outer_is_told_before_the_device_is_there),
		T(s_channel, up_and_down_with_the_device),
		T(e_tag, up_and_down_with_the_function),
		T(s_channel, a_change_between_them_is_no_event),
		T(s_channel, groups_of_the_device_and_the_control_frames),
		T(s_channel, a_link_that_does_not_start),
		T(s_channel, no_frame_before_start_and_after_stop),
		T(vlan7, the_next_vm_begins_clean),
		T(s_channel, frames_of_an_earlier_life_are_forgotten),
		T(s_channel, flags_of_all_combinations),
		T(e_tag, a_cascade_is_announced_while_the_port_is_down),
		T(vlan7, vlan_without_effect_is_said_once),
		T(s_channel, looks_at_the_clock_take_time),
		T(e_tag, another_ecid_leads_to_another_port_of_the_bridge),
		T(e_tag, a_bridge_that_has_forgotten_is_told_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
