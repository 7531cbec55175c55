/*
 * The rules of the software switch: who gets a frame of a port in emulation, and who a frame of the pool's ring.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/errno.h"
#include "nic/uplink.h"

#define WIRE 100u
static struct uplink u;
static struct { u32 to, len; u16 vlan; } got[64];
static u32 nr_got, nr_dropped, nr_flushed;
static bool no_room, wire_stuck;

static void take(u32 to, u32 len, u16 vlan)
{
	got[nr_got].to = to;
	got[nr_got].len = len;
	got[nr_got++].vlan = vlan;
}
static int deliver(void *arg, u32 port, const u8 *frame, u32 len)
{
	(void)arg, (void)frame;
	if (no_room)
		return -EAGAIN;
	take(port, len, 0);
	return 0;
}
static void dropped(void *arg, u32 port) { (void)arg, (void)port, nr_dropped++; }
static void flush(void *arg, u32 port) { (void)arg, (void)port, nr_flushed++; }
static int wire(void *arg, const u8 *frame, u32 len, u16 vlan)
{
	(void)arg, (void)frame;
	if (wire_stuck)
		return -EIO;
	take(WIRE, len, vlan);
	return 0;
}
static bool vlan_taken(void *arg, u16 vlan) { (void)arg; return vlan == 7 || vlan == 8; }
static const struct uplink_ops ops = { deliver, dropped, flush, wire, vlan_taken };

#define GROUP "\x01\x00\x5e\x00\x00\x05"
#define BROADCAST "\xff\xff\xff\xff\xff\xff"
#define STRANGER "\x02\x00\x00\x00\x00\x99"

static const u8 *mac(u32 port)
{
	static u8 m[UPLINK_PORTS][6];
	memcpy(m[port], (const u8[6]){ 2, 0, 0, 0, 0, (u8)port }, 6);
	return m[port];
}

/* Ports 0, 1, 2 without a VLAN, 3 and 4 in VLAN 7, 5 in VLAN 8; the others off. Only 1 and 4 want the group. */
static int start(void **state)
{
	static const u16 vlan[] = { 0, 0, 0, 7, 7, 8 };
	(void)state;
	u = (struct uplink){ .ops = &ops, .max_frame = 1514 };
	for (u32 i = 0; i < ARRAY_SIZE(vlan); i++) {
		u.port[i].state = UPLINK_ON;
		u.port[i].vlan = vlan[i];
		memcpy(u.port[i].mac, mac(i), 6);
	}
	for (u32 i = 1; i <= 4; i += 3) {
		u.port[i].filter.nr = 1;
		memcpy(u.port[i].filter.group[0], GROUP, 6);
	}
	nr_got = nr_dropped = nr_flushed = 0;
	no_room = wire_stuck = false;
	return 0;
}

static u8 frame[2048];
static int tx(u32 from, const void *to, u32 len)
{
	nr_got = 0;
	memset(frame, 0, 64);
	memcpy(frame, to, 6);
	memcpy(frame + 6, mac(from), 6);
	frame[12] = 8;
	return uplink_tx(&u, from, frame, len);
}
static int tx_tagged(u32 from, const void *to, u16 vid)
{
	nr_got = 0;
	memset(frame, 0, 64);
	memcpy(frame, to, 6);
	memcpy(frame + 6, mac(from), 6);
	frame[12] = 0x81;
	frame[14] = (u8)(vid >> 8);
	frame[15] = (u8)vid;
	return uplink_tx(&u, from, frame, 64);
}
static void rx(const void *to, const void *from, u16 vlan)
{
	nr_got = 0;
	memcpy(frame, to, 6);
	memcpy(frame + 6, from, 6);
	uplink_rx(&u, frame, 60, vlan);
}
static void assert_got(u32 n, u32 a, u32 b, u32 c)
{
	const u32 want[] = { a, b, c };
	assert_int_equal(nr_got, n);
	for (u32 i = 0; i < n; i++)
		assert_int_equal(got[i].to, want[i]);
}

static void outward(void **state)
{
	(void)state;
	assert_int_equal(tx(0, mac(1), 60), 0);
	assert_got(1, 1, 0, 0); /* here, and no further */
	assert_int_equal(tx(0, STRANGER, 60), 0);
	assert_got(1, WIRE, 0, 0);
	assert_int_equal(got[0].vlan, 0);
	assert_int_equal(tx(0, BROADCAST, 60), 0);
	assert_got(3, WIRE, 1, 2);
	assert_int_equal(tx(0, GROUP, 60), 0);
	assert_got(2, WIRE, 1, 0);
	u.port[2].filter.all_groups = true;
	assert_int_equal(tx(0, GROUP, 60), 0);
	assert_got(3, WIRE, 1, 2);
	assert_int_equal(tx(0, mac(0), 60), 0);
	assert_got(0, 0, 0, 0); /* a switch sends nothing back */
}

static void vlans_are_apart(void **state)
{
	(void)state;
	assert_int_equal(tx(3, mac(4), 60), 0);
	assert_got(1, 4, 0, 0);
	assert_int_equal(tx(3, mac(0), 60), 0);
	assert_got(1, WIRE, 0, 0); /* another VLAN: a router's business */
	assert_int_equal(got[0].vlan, 7);
	assert_int_equal(tx(3, mac(5), 60), 0);
	assert_got(1, WIRE, 0, 0);
	assert_int_equal(tx(3, BROADCAST, 60), 0);
	assert_got(2, WIRE, 4, 0);
	rx(BROADCAST, STRANGER, 7);
	assert_got(2, 3, 4, 0);
	rx(GROUP, STRANGER, 7);
	assert_got(1, 4, 0, 0);
	rx(mac(3), STRANGER, 7);
	assert_got(1, 3, 0, 0);
	rx(mac(3), STRANGER, 0);
	assert_got(0, 0, 0, 0);
	rx(mac(0), STRANGER, 7);
	assert_got(0, 0, 0, 0);
	rx(BROADCAST, STRANGER, 9);
	assert_got(0, 0, 0, 0);
	assert_int_equal(u.count.unwanted, 3);
}

static void tags_of_guests(void **state)
{
	(void)state;
	assert_int_equal(tx_tagged(0, STRANGER, 100), 0);
	assert_got(1, WIRE, 0, 0);
	assert_int_equal(got[0].vlan, 0);
	assert_int_equal(tx_tagged(0, mac(1), 100), 0);
	assert_got(1, 1, 0, 0);
	assert_int_equal(tx_tagged(0, STRANGER, 0), 0); /* a priority only */
	assert_int_equal(tx_tagged(0, STRANGER, 7), -EIO); /* somebody else's VLAN */
	assert_got(0, 0, 0, 0);
	assert_int_equal(tx_tagged(3, STRANGER, 7), -EIO); /* a port with a VLAN knows no tags */
	assert_int_equal(tx_tagged(3, STRANGER, 100), -EIO);
	assert_int_equal(tx_tagged(3, STRANGER, 0), -EIO);
	assert_int_equal(u.count.refused, 4);
}

static void inward(void **state)
{
	(void)state;
	rx(mac(2), STRANGER, 0);
	assert_got(1, 2, 0, 0);
	rx(BROADCAST, STRANGER, 0);
	assert_got(3, 0, 1, 2);
	rx(GROUP, STRANGER, 0);
	assert_got(1, 1, 0, 0);
	rx(STRANGER, "\x02\x00\x00\x00\x00\x77", 0);
	assert_got(0, 0, 0, 0);
	uplink_rx(&u, frame, 13, 0);
	uplink_rx(&u, frame, 0, 0);
	assert_int_equal(u.count.unwanted, 3);
}

static void echoes_are_dropped(void **state)
{
	(void)state;
	tx(0, BROADCAST, 60);
	rx(BROADCAST, mac(0), 0); /* replicated by the NIC: 1 and 2 had it */
	assert_got(0, 0, 0, 0);
	assert_int_equal(u.count.echoes, 1);
	u.port[0].state = UPLINK_OFF; /* in pass-through: what it sends comes by the ring */
	rx(BROADCAST, mac(0), 0);
	assert_got(2, 1, 2, 0);
	u.port[0].state = UPLINK_UNICAST;
	rx(BROADCAST, mac(0), 0);
	assert_got(2, 1, 2, 0);
}

static void on_the_way_back(void **state)
{
	(void)state;
	u.port[1].state = UPLINK_UNICAST;
	rx(mac(1), STRANGER, 0);
	assert_got(1, 1, 0, 0);
	rx(GROUP, STRANGER, 0);
	assert_got(0, 0, 0, 0);
	tx(0, BROADCAST, 60);
	assert_got(2, WIRE, 2, 0);
	assert_int_equal(tx(1, STRANGER, 60), -EIO); /* it sends nothing yet */
	u.port[1].state = UPLINK_OFF;
	assert_int_equal(tx(0, mac(1), 60), 0);
	assert_got(1, WIRE, 0, 0); /* its VF is behind the NIC's switch */
}

static void identity_and_lengths(void **state)
{
	(void)state;
	frame[12] = 8;
	memcpy(frame, STRANGER, 6);
	memcpy(frame + 6, mac(1), 6);
	assert_int_equal(uplink_tx(&u, 0, frame, 60), -EIO); /* another's address */
	assert_int_equal(u.count.refused, 1);
	assert_int_equal(tx(0, STRANGER, 13), -EINVAL);
	assert_int_equal(tx(0, STRANGER, 14), 0);
	assert_int_equal(tx(0, STRANGER, 1514), 0);
	assert_int_equal(tx(0, STRANGER, 1515), -EINVAL);
	nr_got = 0;
	frame[12] = 0x81;
	frame[13] = 0;
	assert_int_equal(uplink_tx(&u, 0, frame, 1518), 0);
	assert_int_equal(uplink_tx(&u, 0, frame, 1519), -EINVAL);
}

static void drops_and_flushes(void **state)
{
	(void)state;
	rx(BROADCAST, STRANGER, 0);
	uplink_flush(&u);
	assert_int_equal(nr_flushed, 3);
	uplink_flush(&u);
	assert_int_equal(nr_flushed, 3);
	no_room = true;
	rx(mac(0), STRANGER, 0);
	assert_int_equal(nr_dropped, 1);
	assert_int_equal(u.count.no_room, 1);
	no_room = false;
	wire_stuck = true;
	assert_int_equal(tx(0, STRANGER, 60), -EIO);
	assert_int_equal(tx(0, BROADCAST, 60), -EIO);
	assert_got(2, 1, 2, 0); /* those here get it all the same */
	assert_int_equal(u.count.failed, 2);
}

/* ---- an external switch ---- */

#define CONTROL "\x01\x80\xc2\x00\x00"
#define CUSTOMER CONTROL "\x00"
#define NON_TPMR CONTROL "\x03"
#define LLDP 0x88ccu
#define ECP 0x8940u
#define ETAG 0x893fu

/* Ports 0 and 1 have S-channels 100 and 101, ports 2 and 3 none; 4 is off, with channel 104. Only 1 and 3 want the group. */
static int outside(void **state)
{
	static const u16 svid[] = { 100, 101, 0, 0, 104 };
	start(state);
	u = (struct uplink){ .ops = &ops, .max_frame = 1514, .external = true };
	for (u32 i = 0; i < ARRAY_SIZE(svid); i++) {
		u.port[i].state = i == 4 ? UPLINK_OFF : UPLINK_ON;
		u.port[i].control = i != 4;
		u.port[i].vlan = svid[i];
		memcpy(u.port[i].mac, mac(i), 6);
	}
	for (u32 i = 1; i <= 3; i += 2) {
		u.port[i].filter.nr = 1;
		memcpy(u.port[i].filter.group[0], GROUP, 6);
	}
	return 0;
}

/* A frame with its types in order, an E-TAG being eight bytes of which two are the next type's. */
static u32 make(const void *to, const void *from, u32 first, u32 second)
{
	memset(frame, 0, 64);
	memcpy(frame, to, 6);
	memcpy(frame + 6, from, 6);
	frame[12] = (u8)(first >> 8);
	frame[13] = (u8)first;
	u32 at = first == ETAG ? 20 : 16;
	frame[at] = (u8)(second >> 8);
	frame[at + 1] = (u8)second;
	nr_got = 0;
	return 64;
}
static int out(u32 from, const void *to, u32 first, u32 second)
{
	return uplink_tx(&u, from, frame, make(to, mac(from), first, second));
}
static void in(const void *to, u32 first, u32 second, u16 svid) { uplink_rx(&u, frame, make(to, STRANGER, first, second), svid); }

static void all_goes_to_the_wire(void **state)
{
	(void)state;
	assert_int_equal(out(0, mac(1), 0x800, 0), 0);
	assert_got(1, WIRE, 0, 0);
	assert_int_equal(got[0].vlan, 100);
	assert_int_equal(out(0, mac(0), 0x800, 0), 0); /* what a bridge makes of it is its business */
	assert_got(1, WIRE, 0, 0);
	assert_int_equal(out(1, BROADCAST, 0x800, 0), 0);
	assert_got(1, WIRE, 0, 0);
	assert_int_equal(got[0].vlan, 101);
	assert_int_equal(out(0, STRANGER, 0x8100, 0), 0); /* payload, whatever VLAN it names */
	assert_int_equal(out(0, STRANGER, 0x88a8, 0), 0); /* behind the S-tag that the wire adds */
	assert_int_equal(u.count.local, 0);
	make(STRANGER, mac(1), 0x800, 0);
	assert_int_equal(uplink_tx(&u, 0, frame, 64), -EIO); /* another's address */
	make(NON_TPMR, mac(1), LLDP, 0);
	assert_int_equal(uplink_tx(&u, 0, frame, 64), -EIO);
	u.port[0].state = UPLINK_UNICAST;
	assert_int_equal(out(0, STRANGER, 0x800, 0), -EIO);
	assert_int_equal(u.count.refused, 3);
}

static void without_a_channel_an_etag_is_needed(void **state)
{
	(void)state;
	assert_int_equal(out(2, STRANGER, ETAG, 0x800), 0);
	assert_got(1, WIRE, 0, 0);
	assert_int_equal(got[0].vlan, 0);
	assert_int_equal(out(2, BROADCAST, ETAG, 0x806), 0);
	assert_got(1, WIRE, 0, 0); /* not to port 3 */
	assert_int_equal(out(2, STRANGER, 0x800, 0), -EIO);
	assert_int_equal(out(2, STRANGER, 0x88a8, 0x800), -EIO);
	assert_int_equal(out(2, STRANGER, LLDP, 0), -EIO); /* no control frame by its address */
	assert_int_equal(out(2, CONTROL "\x10", LLDP, 0), -EIO);
	assert_int_equal(out(2, NON_TPMR, LLDP, 0), 0);
	assert_int_equal(out(2, CUSTOMER, ECP, 0), 0);
	assert_int_equal(u.count.refused, 4);
	assert_int_equal(u.count.control, 2);
}

static void channels_are_apart(void **state)
{
	(void)state;
	in(mac(0), 0x800, 0, 100);
	assert_got(1, 0, 0, 0);
	in(mac(0), 0x800, 0, 101);
	assert_got(0, 0, 0, 0);
	in(mac(0), 0x800, 0, 0);
	assert_got(0, 0, 0, 0);
	in(BROADCAST, 0x800, 0, 101);
	assert_got(1, 1, 0, 0);
	in(GROUP, 0x800, 0, 100);
	assert_got(0, 0, 0, 0);
	in(GROUP, 0x800, 0, 101);
	assert_got(1, 1, 0, 0);
	in(BROADCAST, 0x800, 0, 102);
	assert_got(0, 0, 0, 0);
	in(BROADCAST, 0x800, 0, 104); /* it is off */
	assert_got(0, 0, 0, 0);
	assert_int_equal(u.count.unwanted, 5);
	make(BROADCAST, mac(1), 0x800, 0); /* hairpinned: another port's source is no echo */
	uplink_rx(&u, frame, 64, 100);
	assert_got(1, 0, 0, 0);
	u.port[0].state = UPLINK_UNICAST;
	in(BROADCAST, 0x800, 0, 100);
	assert_got(0, 0, 0, 0);
	in(mac(0), 0x800, 0, 100);
	assert_got(1, 0, 0, 0);
}

static void without_a_channel_in(void **state)
{
	(void)state;
	in(mac(2), ETAG, 0x800, 0);
	assert_got(1, 2, 0, 0);
	in(mac(3), ECP, 0, 0); /* control frames by the port's address */
	assert_got(1, 3, 0, 0);
	in(BROADCAST, ETAG, 0x800, 0);
	assert_got(2, 2, 3, 0);
	in(GROUP, ETAG, 0x800, 0);
	assert_got(1, 3, 0, 0);
	in(NON_TPMR, LLDP, 0, 0);
	assert_got(2, 2, 3, 0);
	in(NON_TPMR, ETAG, LLDP, 0);
	assert_got(2, 2, 3, 0);
	in(mac(2), ETAG, 0x800, 100);
	assert_got(0, 0, 0, 0);
}

static void control_in_every_state(void **state)
{
	static const enum uplink_state states[] = { UPLINK_ON, UPLINK_UNICAST, UPLINK_OFF };
	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(states); i++) {
		u.port[0].state = states[i];
		for (u32 last = 0; last < 16; last++) {
			const u8 to[6] = { 1, 0x80, 0xc2, 0, 0, (u8)last };
			in(to, LLDP, 0, 100);
			assert_got(1, 0, 0, 0);
			in(to, ECP, 0, 100);
			assert_got(1, 0, 0, 0);
			in(to, ETAG, ECP, 100); /* of an extender further in */
			assert_got(1, 0, 0, 0);
			assert_int_equal(out(0, to, LLDP, 0), 0);
			assert_int_equal(out(0, to, ETAG, ECP), 0);
			assert_got(1, WIRE, 0, 0);
			assert_int_equal(got[0].vlan, 100);
			bool takes = states[i] == UPLINK_ON && last != 0 && last != 3;
			u.port[0].filter.all_groups = true;
			in(to, 0x0026, 0, 100); /* a BPDU: by the filter, like any group, but for the extender's own */
			assert_got(takes, 0, 0, 0);
			in(to, ETAG, 0x0026, 100);
			assert_got(takes, 0, 0, 0);
			u.port[0].filter.all_groups = false;
			in(to, 0x0026, 0, 100);
			assert_got(0, 0, 0, 0);
		}
		in(CONTROL "\x10", LLDP, 0, 100);
		assert_got(0, 0, 0, 0);
	}
	assert_int_equal(u.count.control, 3 * 16 * 5);
	in(CUSTOMER, ECP, 0, 104); /* not started */
	assert_got(0, 0, 0, 0);
	assert_int_equal(out(4, CUSTOMER, ECP, 0), -EIO);
}

static void lengths_outside(void **state)
{
	(void)state;
	make(STRANGER, mac(0), 0x800, 0);
	assert_int_equal(uplink_tx(&u, 0, frame, 13), -EINVAL);
	assert_int_equal(uplink_tx(&u, 0, frame, 14), 0);
	assert_int_equal(uplink_tx(&u, 0, frame, 1514), 0);
	assert_int_equal(uplink_tx(&u, 0, frame, 1515), -EINVAL);
	make(STRANGER, mac(0), ETAG, 0x800);
	assert_int_equal(uplink_tx(&u, 0, frame, 1522), 0);
	assert_int_equal(uplink_tx(&u, 0, frame, 1523), -EINVAL);
	make(STRANGER, mac(0), ETAG, 0x8100);
	assert_int_equal(uplink_tx(&u, 0, frame, 1526), 0);
	assert_int_equal(uplink_tx(&u, 0, frame, 1527), -EINVAL);
	make(STRANGER, mac(0), 0x8100, 0);
	assert_int_equal(uplink_tx(&u, 0, frame, 1518), 0);
	assert_int_equal(uplink_tx(&u, 0, frame, 1519), -EINVAL);
	make(NON_TPMR, mac(4), ETAG, LLDP); /* cut short of the type behind the tag: no control frame */
	assert_int_equal(uplink_tx(&u, 4, frame, 21), -EIO);
	uplink_rx(&u, frame, 21, 100);
	uplink_rx(&u, frame, 13, 100);
	assert_got(0, 0, 0, 0);
	assert_int_equal(u.count.unwanted, 2);
}

int main(void)
{
#define O(f) cmocka_unit_test_setup(f, outside)
#define T(f) cmocka_unit_test_setup(f, start)
	const struct CMUnitTest tests[] = {
		T(outward), T(vlans_are_apart), T(tags_of_guests), T(inward), T(echoes_are_dropped), T(on_the_way_back),
		T(identity_and_lengths), T(drops_and_flushes),
		O(all_goes_to_the_wire), O(without_a_channel_an_etag_is_needed), O(channels_are_apart), O(without_a_channel_in),
		O(control_in_every_state), O(lengths_outside),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
