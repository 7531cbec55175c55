/*
 * A port's extender and those who mean it no good: floods from the wire, a guest that starts and stops, a bridge with another VLAN; and
 * when there is nothing to make it of.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/irq.h"
#include "tests/unit/ext_model.h"

#define PEER ((const u8[6]){ 2, 0, 0, 0, 0, 9 })

/* ---- floods ---- */

static void lldp_in(u32 i)
{
	u8 f[64] = { 0 };
	frame_header_put(f, FRAME_NEAREST_NON_TPMR_BRIDGE, PEER, FRAME_TYPE_LLDP);
	f[20] = (u8)i;
	assert_int_equal(wire_in(f, sizeof(f)), 0);
}

static void control_frames_in_order(void **state)
{
	(void)state;
	m.cut = true;
	assert_int_equal(device_start(), 0);
	run(SECOND);
	u32 kicks = m.kicks;
	struct port_ext *e = extender();
	for (u32 i = 0; i < EXT_INBOX + 3; i++)
		lldp_in(i);
	assert_int_equal(m.kicks, kicks + 1); /* one message is enough */
	assert_int_equal(e->inbox_nr, EXT_INBOX);
	assert_int_equal(e->inbox_full, 3);
	for (u32 i = 0; i < EXT_INBOX; i++)
		assert_int_equal(e->inbox[(e->inbox_first + i) % EXT_INBOX].body[6], i);
	u64 before = e->pe.count.malformed;
	assert_true(take_kick());
	assert_int_equal(e->pe.count.malformed - before, EXT_INBOX);
	assert_int_equal(e->taken.body[6], EXT_INBOX - 1);
	assert_int_equal(e->inbox_nr, 0);
	u8 f[14 + EXTENDER_CONTROL_MAX + 1] = { 0 };
	frame_header_put(f, FRAME_NEAREST_NON_TPMR_BRIDGE, PEER, FRAME_TYPE_LLDP);
	assert_int_equal(wire_in(f, sizeof(f)), 0);
	assert_int_equal(e->inbox_full, 4);
}

static void a_flood_from_the_wire_costs_the_boot_cpu_little(void **state)
{
	(void)state;
	m.bridge.silent = true;
	assert_int_equal(device_start(), 0);
	run(SECOND);
	struct port_ext *e = extender();
	u64 looked = e->pe.count.malformed;
	u32 kicks = m.kicks;
	for (u32 i = 0; i < 100000; i++) { /* a second of it */
		lldp_in(i);
		if (i % 10 == 9)
			run(100);
	}
	assert_in_range(e->pe.count.malformed - looked, 100, EXT_FRAMES + SECOND / EXT_FRAME_US + 1);
	assert_in_range(m.kicks - kicks, 0, EXT_FRAMES + SECOND / EXT_FRAME_US + 1);
	assert_true(e->flood > 90000);
	m.bridge.silent = false;
	run(20 * SECOND);
	assert_true(m.bridge.vdp.associated); /* nothing is left of it */
}

static void a_guest_that_starts_and_stops_does_not_flood_the_bridge(void **state)
{
	(void)state;
	u32 kicks = m.kicks;
	for (u32 i = 0; i < 1000; i++) { /* in two seconds */
		assert_int_equal(device_start(), 0);
		run(1000);
		assert_true(sends());
		device_stop();
		run(1000);
	}
	assert_in_range(sent_control(m.nr_sent - MIN(m.nr_sent, SENT_MAX)), 0, 7 * 12);
	assert_in_range(m.nr_sent, 1000, 1000 + 7 * 12);
	assert_in_range(m.kicks - kicks, 0, 2000 + 7 * 12);
	assert_int_equal(m.starts, m.stops);
	assert_int_equal(device_start(), 0);
	must_be_associated(m.nr_sent);
}

/* What it says is bounded, and does not use up what others may say: each port has a rate of its own, and after a while all is said again. */
static void a_guest_that_starts_and_stops_does_not_fill_the_console(void **state)
{
	(void)state;
	u32 lines = seen.lines, rounds = 200;
	for (u32 i = 0; i < rounds; i++) {
		assert_int_equal(device_start(), 0);
		run(5 * SECOND);
		device_stop();
		run(SECOND);
	}
	assert_in_range(seen.lines - lines, EXT_LINES, EXT_LINES + rounds * 6 * SECOND / EXT_LINE_US + 1);
	run(EXT_LINES * (u64)EXT_LINE_US);
	lines = seen.lines;
	assert_int_equal(device_start(), 0);
	run(5 * SECOND);
	assert_int_equal(seen.lines - lines, 2);
	assert_non_null(strstr(seen.last_line, "associated with the bridge"));
}

static void the_boot_cpu_does_not_wait(void **state)
{
	(void)state;
	assert_int_equal(device_start(), 0);
	run(SECOND);
	lldp_in(1);
	spin_lock(&extender()->control); /* somebody waits for the link */
	assert_true(take_kick());
	spin_unlock(&extender()->control);
	assert_int_equal(extender()->inbox_nr, 1);
	assert_int_equal(fake_deadline() / 1000, m.now_us + EXT_TICK_US);
	run(2 * EXT_TICK_US);
	assert_int_equal(extender()->inbox_nr, 0);
}

/* ---- the wrong VLAN ---- */

static void refuse(void)
{
	m.bridge.force_vid = 9;
	if (m.bridge.vdp.associated)
		bridge_dissolve(&m.bridge, 0);
	run(35 * SECOND);
	assert_true(port_ext_refused(port()));
	assert_int_equal(flags() & (NEST_NIC_LINK_UP | NEST_NIC_MAY_PASS), 0);
}

static void accept(void)
{
	m.bridge.force_vid = 0;
	run(400 * SECOND);
	assert_false(port_ext_refused(port()));
	assert_true(m.bridge.vdp.associated);
	assert_int_equal(vlan(), 7);
	assert_int_equal(flags() & (NEST_NIC_LINK_UP | NEST_NIC_MAY_PASS), NEST_NIC_LINK_UP | NEST_NIC_MAY_PASS);
}

static void held_until_the_bridge_has_spoken(void **state)
{
	(void)state;
	m.bridge.silent = true;
	assert_int_equal(device_start(), 0);
	run(60 * SECOND);
	assert_int_equal(flags() & (NEST_NIC_LINK_UP | NEST_NIC_MAY_PASS), 0);
	assert_false(sends() || gets());
	assert_int_equal(hc(HC_NIC_ALLOC, 0, 0), -EPERM);
	m.bridge.silent = false;
	accept();
	assert_true(sends() && gets());
	device_stop();
	run(5 * SECOND);

	/* Nobody but the function would bring the extender up: it is given, and stands still. */
	m.bridge.silent = true;
	s64 h = hc(HC_NIC_ALLOC, 0, 0);
	assert_true(h > 0);
	assert_true(m.stopped);
	assert_true(port()->halted);
	run(60 * SECOND);
	assert_true(m.stopped);
	m.bridge.silent = false;
	accept();
	assert_false(m.stopped);
	assert_int_equal(hc(HC_NIC_FREE, (u64)h, 0), 0);
	run(5 * SECOND);

	/* One that cannot be stopped is not given. */
	m.fail_quiesce = -ETIMEDOUT;
	port()->want = NIC_EMULATION;
	assert_int_equal(hc(HC_NIC_ALLOC, 0, 0), -EIO);
	assert_false(port()->open);
	assert_int_equal(port()->want, NIC_EMULATION);
	m.fail_quiesce = 0;

	/* Without the link there is no word of the bridge; the next time there may be. */
	m.fail_start = -EIO;
	h = hc(HC_NIC_ALLOC, 0, 0);
	assert_true(h > 0);
	assert_true(m.stopped);
	assert_int_equal(hc(HC_NIC_FREE, (u64)h, 0), 0);
	assert_false(port_ext_refused(port()));
}

/* The device's driver sees the same link as HC_NIC_INFO does: it looks whenever it is told that something has changed. */
static void a_held_port_says_so_to_its_device(void **state)
{
	(void)state;
	m.bridge.silent = true;
	u32 changes = m.changes;
	assert_int_equal(device_start(), 0);
	assert_false(flags() & NEST_NIC_LINK_UP);
	assert_true(m.changes > changes);
	changes = m.changes;
	device_stop();
	assert_true(flags() & NEST_NIC_LINK_UP);
	assert_true(m.changes > changes);
}

/* A link that does not start holds nothing: nobody is there whom the bridge's word could free. */
static void a_link_that_does_not_start_holds_nothing(void **state)
{
	(void)state;
	m.fail_start = -EIO;
	assert_int_equal(device_start(), -EIO);
	assert_false(port_ext_refused(port()));
	s64 h = hc(HC_NIC_ALLOC, 0, 0);
	assert_true(h > 0);
	assert_true(m.stopped); /* held by its own start */
	m.fail_start = -EIO;
	assert_int_equal(device_start(), 0); /* it was there already */
	device_stop();
	assert_true(port_ext_refused(port()));
	assert_int_equal(hc(HC_NIC_FREE, (u64)h, 0), 0);

	/* With a function that waits, a device that fails changes nothing. */
	m.fail_start = -EIO;
	h = hc(HC_NIC_ALLOC, 0, 0);
	assert_true(h > 0 && m.stopped);
	m.fail_start = -EIO;
	assert_int_equal(device_start(), -EIO);
	assert_true(port_ext_refused(port()) && m.stopped);
	assert_int_equal(hc(HC_NIC_FREE, (u64)h, 0), 0);
	assert_false(port_ext_refused(port()));
}

static void refused_in_emulation(void **state)
{
	(void)state;
	assert_int_equal(device_start(), 0);
	run(5 * SECOND);
	assert_true(sends() && gets());
	u32 changes = m.changes;
	refuse();
	assert_true(m.changes > changes);
	assert_false(sends() || gets());
	assert_int_equal(hc(HC_NIC_ALLOC, 0, 0), -EPERM);
	assert_int_equal(m.quiesces, 0);
	accept();
	assert_true(sends() && gets());
}

static void refused_with_a_function(void **state)
{
	(void)state;
	s64 h = hc(HC_NIC_ALLOC, 0, 0);
	assert_true(h > 0);
	run(5 * SECOND);
	assert_true(m.bridge.vdp.associated);
	assert_false(m.stopped);
	refuse();
	assert_true(m.stopped);
	assert_int_equal(hc(HC_NIC_RESUME, (u64)h, 0), -EPERM);
	accept();
	assert_false(m.stopped);
	assert_int_equal(m.quiesces, 2); /* before the bridge's first word, too */
	assert_int_equal(m.resumes, 2);
	assert_int_equal(hc(HC_NIC_RESUME, (u64)h, 0), -EINVAL);

	/* The VM's own wish stays its own. */
	assert_int_equal(hc(HC_NIC_QUIESCE, (u64)h, 0), 0);
	refuse();
	assert_int_equal(hc(HC_NIC_RESUME, (u64)h, 0), -EPERM);
	accept();
	assert_true(m.stopped);
	assert_int_equal(hc(HC_NIC_RESUME, (u64)h, 0), 0);
	assert_false(m.stopped);
	refuse();
	assert_int_equal(hc(HC_NIC_QUIESCE, (u64)h, 0), 0);
	assert_int_equal(hc(HC_NIC_PREPARE, 0, NEST_MODE_EMULATION), -EIO); /* no device */
	accept();
	assert_true(m.stopped);
	assert_int_equal(hc(HC_NIC_FREE, (u64)h, 0), 0);
	assert_false(port()->halted || port()->quiesced);
}

static void a_function_that_does_not_stop_at_once(void **state)
{
	(void)state;
	s64 h = hc(HC_NIC_ALLOC, 0, 0);
	run(5 * SECOND);
	m.fail_quiesce = -ETIMEDOUT;
	refuse();
	assert_true(m.stopped);
	assert_int_equal(m.quiesces, 3);
	m.fail_resume = -ETIMEDOUT;
	accept();
	assert_false(m.stopped);
	assert_int_equal(m.resumes, 3);
	m.fail_quiesce = -EIO; /* lost: it moves nothing any more */
	refuse();
	assert_int_equal(m.quiesces, 4);
	assert_true(port()->halted);
	m.stopped = true;
	assert_int_equal(hc(HC_NIC_FREE, (u64)h, 0), 0);
}

/* Another E-CID may be another port of the bridge, which has confirmed nothing. */
static void held_again_on_another_ecid(void **state)
{
	(void)state;
	m.flags &= ~(u32)NEST_NIC_S_CHANNEL;
	bridge_init(&m.bridge, false, m.bridge.send);
	m.bridge.now_us = m.now_us;
	assert_int_equal(device_start(), 0);
	run(10 * SECOND);
	assert_true(m.bridge.vdp.associated && extender()->x.own);
	assert_true(sends());
	m.bridge.vdp_silent = 1000;
	bridge_change_ecid(&m.bridge, bridge_leaf(&m.bridge), 0x123);
	run(40 * SECOND);
	assert_int_equal(extender()->x.own, 0x123);
	assert_false(m.bridge.vdp.associated);
	assert_true(port_ext_refused(port()));
	assert_false(sends());
	m.bridge.vdp_silent = 0;
	accept();
	assert_true(sends());
}

static void a_transaction_is_in_the_way(void **state)
{
	(void)state;
	s64 h = hc(HC_NIC_ALLOC, 0, 0);
	assert_int_equal(device_start(), 0);
	run(5 * SECOND);
	assert_int_equal(hc(HC_NIC_PREPARE, 0, NEST_MODE_EMULATION), 0);
	m.bridge.force_vid = 9;
	bridge_dissolve(&m.bridge, 0);
	for (u32 i = 0; i < 60000 && !port_ext_refused(port()); i++)
		run(1000);
	assert_true(port()->unsettled);
	assert_false(m.stopped);
	nic_port_changed(port()); /* other news are no reason to be impatient */
	assert_true(port()->prepared);
	assert_true(hc(HC_NIC_COMMIT, 0, NEST_MODE_EMULATION) >= 0); /* in time */
	assert_true(m.stopped);
	assert_int_equal(hc(HC_NIC_PREPARE, 0, NEST_MODE_PASSTHROUGH), -EPERM);
	accept();
	assert_false(m.stopped);
	assert_int_equal(hc(HC_NIC_PREPARE, 0, NEST_MODE_PASSTHROUGH), 0);
	refuse(); /* this one never ends */
	assert_int_equal(m.aborts, 1);
	assert_true(m.stopped);
	assert_int_equal(hc(HC_NIC_COMMIT, 0, NEST_MODE_PASSTHROUGH), -EINVAL);
	assert_int_equal(hc(HC_NIC_PREPARE, 0, NEST_MODE_EMULATION), -EALREADY);
	assert_int_equal(hc(HC_NIC_FREE, (u64)h, 0), 0);
}

/* ---- nothing to make it of ---- */

/* As before the first VM had the port; what the books have then. */
static struct fake_balance without_an_extender(void)
{
	struct port_ext *e = extender();
	model_unbind();
	irq_free(EXT_HOME, (u8)e->vector);
	pages_free(&mem_self, e, 4);
	nic_lower_get(0)->ext = NULL;
	return fake_balance;
}

/* The VM is not made, the console says why, and nothing is kept. */
static void must_be_refused(int error, const char *why, struct fake_balance books)
{
	assert_int_equal(nic_ports_init(m.vm[0]), error);
	assert_string_equal(seen.last_line, why);
	assert_null(nic_lower_get(0)->ext);
	assert_null(nic_lower_get(0)->bound);
	assert_int_equal(m.vm[0]->nr_ports, 0);
	assert_memory_equal(&fake_balance, &books, sizeof(books));
}

static void memory_and_vectors_that_are_not_there(void **state)
{
	(void)state;
	struct fake_balance books = without_an_extender();
	mem_self.limit = mem_self.pages + 15; /* it takes 16 */
	must_be_refused(-ENOMEM, "nic: VM a gets no extender for its port 0 (error 12)", books);
	mem_self.limit = 0;
	fake.err_vector = -ENOSPC;
	must_be_refused(-ENOSPC, "nic: VM a gets no extender for its port 0 (error 28)", books);
	model_bind(0); /* the next one has better luck */
	assert_int_equal(device_start(), 0);
	must_be_associated(0);
}

static void once_made_it_is_there_for_good(void **state)
{
	(void)state;
	struct port_ext *e = extender();
	model_unbind();
	m.no_info = true; /* there was a switch, so there is one */
	model_bind(1);
	m.no_info = false;
	assert_ptr_equal(extender(), e);
	assert_ptr_not_equal(port()->lower->data, port()->lower->ops->data);
	assert_int_equal(device_start(), 0);
	must_be_associated(0);
}

#define T(setup, f) cmocka_unit_test_setup_teardown(f, setup, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(s_channel, control_frames_in_order),
		T(s_channel, a_flood_from_the_wire_costs_the_boot_cpu_little),
		T(s_channel, a_guest_that_starts_and_stops_does_not_flood_the_bridge),
		T(s_channel, a_guest_that_starts_and_stops_does_not_fill_the_console),
		T(s_channel, the_boot_cpu_does_not_wait),
		T(vlan7, held_until_the_bridge_has_spoken),
		T(vlan7, a_held_port_says_so_to_its_device),
		T(vlan7, a_link_that_does_not_start_holds_nothing),
		T(vlan7, refused_in_emulation),
		T(vlan7, refused_with_a_function),
		T(vlan7, a_function_that_does_not_stop_at_once),
		T(vlan7, a_transaction_is_in_the_way),
		T(vlan7, held_again_on_another_ecid),
		T(s_channel, memory_and_vectors_that_are_not_there),
		T(s_channel, once_made_it_is_there_for_good),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
