/*
 * The data path of a port extender, one level at a time and three in a row: which tag a frame gets or loses, who gets it, what is
 * dropped and as what it is counted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/errno.h"
#include "nic/extender.h"

#define MAC ((const u8[6]){ 2, 0, 0, 0, 0, 1 })
#define PEER ((const u8[6]){ 2, 0, 0, 0, 0, 9 })
#define BROADCAST ((const u8[6]){ 0xff, 0xff, 0xff, 0xff, 0xff, 0xff })
#define RESERVED(x) ((const u8[6]){ 0x01, 0x80, 0xc2, 0x00, 0x00, (x) })
#define IP 0x0800
#define LEVELS 3

static struct extender x[LEVELS];
static struct { u32 nr, len; u8 frame[10000]; } wire, user;  /* the last that came out at the ends of the row */
static struct { u32 nr, level, len; enum extender_plane plane; u16 type; u8 body[1600]; } told;
static u32 nr_levels;
static int answer;

static u32 level_of(void *arg) { return (u32)((struct extender *)arg - x); }

static int down(void *arg, const u8 *frame, u32 len)
{
	u32 l = level_of(arg);
	if (l)
		return extender_tx(&x[l - 1], frame, len);
	if (!answer) {
		wire.nr++;
		wire.len = len;
		memcpy(wire.frame, frame, len);
	}
	return answer;
}

static int up(void *arg, const u8 *frame, u32 len)
{
	u32 l = level_of(arg);
	if (l + 1 < nr_levels)
		return extender_rx(&x[l + 1], frame, len);
	if (!answer) {
		user.nr++;
		user.len = len;
		memcpy(user.frame, frame, len);
	}
	return answer;
}

static void control(void *arg, enum extender_plane plane, u16 type, const u8 *body, u32 len)
{
	told.nr++;
	told.level = level_of(arg);
	told.plane = plane;
	told.type = type;
	told.len = len;
	memcpy(told.body, body, len);
}

static const struct extender_ops ops = { down, up, control };

/* A row of n, outermost first, without any E-CID; the innermost one's user is a guest. */
static void row(u32 n, bool s_channel)
{
	nr_levels = n;
	answer = 0;
	memset(&wire, 0, sizeof(wire));
	memset(&user, 0, sizeof(user));
	memset(&told, 0, sizeof(told));
	bool claimed = false;
	for (u32 i = 0; i < n; i++) {
		struct extender_conf c = { .external = true, .s_channel = s_channel, .outermost = !i, .cascade = i + 1 < n };
		memcpy(c.mac, MAC, 6);
		c.vdp = extender_vdp_role(EXTENDER_VDP_AUTO, claimed, c.cascade);
		claimed = extender_vdp_claims(c.vdp);
		extender_init(&x[i], &c, &ops, &x[i]);
	}
}

/* Level i has E-CID 100 + i; each nearer to the bridge lets it through. */
static void give(u32 n)
{
	for (u32 i = 0; i < n; i++) {
		extender_set_own(&x[i], 100 + i);
		for (u32 k = 0; k < i; k++)
			assert_int_equal(extender_register(&x[k], 0, 100 + i, true), 0);
	}
}

/* ---- frames ---- */

static u8 frame[10000];
static u32 make(const u8 *to, const u8 *from, u16 type, u32 len)
{
	for (u32 i = 0; i < len; i++)
		frame[i] = (u8)(i * 7);
	frame_header_put(frame, to, from, type);
	return len;
}
static u32 make_tagged(const u8 *to, const u8 *from, u16 type, u32 len, struct etag t)
{
	make(to, from, type, len);
	return (u32)etag_insert(frame, sizeof(frame), frame, len, &t);
}
static struct etag unicast(u32 ecid) { return (struct etag){ .ecid = ecid }; }
static struct etag group(u32 ecid, u32 ingress) { return (struct etag){ .grp = 1, .ecid = ecid, .ingress = ingress }; }

static int tx(u32 len) { return extender_tx(&x[nr_levels - 1], frame, len); }
static int rx(u32 len) { return extender_rx(&x[0], frame, len); }

/* E-CID on the wire's last frame, 0: it has no tag. */
static u32 wire_ecid(void)
{
	struct etag t;
	return etag_parse(wire.frame, wire.len, &t) ? 0 : t.ecid;
}
static u32 user_ecid(void)
{
	struct etag t;
	return etag_parse(user.frame, user.len, &t) ? 0 : t.ecid;
}

static u64 sum(const struct extender_counts *c)
{
	u64 n = c->frames;
	for (u32 i = 0; i < EXTENDER_DROPS; i++)
		n += c->dropped[i];
	return n;
}

/* The last frame of the row's end is what make() made of the same arguments. */
static void assert_intact(const u8 *got, u32 len, const u8 *to, const u8 *from, u32 want)
{
	u8 copy[10000];
	assert_int_equal(len, want);
	memcpy(copy, got, len);
	make(to, from, IP, want);
	assert_memory_equal(copy, frame, want);
}

/* ---- tests ---- */

static void transparent(void **state)
{
	(void)state;
	row(1, false);
	x[0].conf.external = false;
	assert_int_equal(tx(make_tagged(RESERVED(3), MAC, FRAME_TYPE_LLDP, 80, unicast(5))), 0);
	assert_int_equal(wire.nr, 1);
	assert_int_equal(wire.len, 88);
	assert_int_equal(rx(make(RESERVED(0), PEER, FRAME_TYPE_ECP, 60)), 0);
	assert_int_equal(user.nr, 1);
	assert_int_equal(tx(make(PEER, MAC, IP, 9000)), 0);
	assert_int_equal(wire.len, 9000);
	assert_int_equal(told.nr, 0);
	assert_int_equal(extender_send_pe(&x[0], FRAME_TYPE_LLDP, frame, 40), -EINVAL);
}

static void nothing_without_ecid(void **state)
{
	(void)state;
	for (u32 n = 1; n <= LEVELS; n++) {
		row(n, false);
		assert_int_equal(tx(make(PEER, MAC, IP, 60)), 0);
		assert_int_equal(wire.nr, 0);
		assert_int_equal(x[n - 1].out.dropped[EXTENDER_DROP_NO_ECID], 1);
		assert_int_equal(rx(make(MAC, PEER, IP, 60)), 0);
		assert_int_equal(rx(make_tagged(MAC, PEER, IP, 60, unicast(100))), 0);
		assert_int_equal(user.nr, 0);
		assert_int_equal(x[0].in.dropped[EXTENDER_DROP_NOBODY], 2);
		assert_int_equal(extender_send_vdp(&x[n - 1], FRAME_TYPE_ECP, frame, 4), -EAGAIN);
	}
}

static void s_channel_passes_before_ecid(void **state)
{
	(void)state;
	for (u32 n = 1; n <= LEVELS; n++)
		for (u32 have = 0; have <= n; have++) { /* E-CIDs come from the outermost on */
			row(n, true);
			give(have);
			assert_int_equal(tx(make(PEER, MAC, IP, 200)), 0);
			assert_int_equal(wire.nr, 1);
			assert_intact(wire.frame, wire.len, PEER, MAC, 200);
			assert_int_equal(rx(make(MAC, PEER, IP, 300)), 0);
			assert_int_equal(user.nr, 1);
			assert_intact(user.frame, user.len, MAC, PEER, 300);
		}
}

static void tags_of_a_row(void **state)
{
	(void)state;
	for (u32 n = 1; n <= LEVELS; n++) {
		row(n, false);
		give(n);
		assert_int_equal(tx(make(PEER, MAC, IP, 1514)), 0);
		assert_int_equal(wire_ecid(), 99 + n);
		assert_int_equal(wire.len, 1522);
		assert_int_equal(x[n - 1].out.inserted, 1);
		assert_int_equal(rx(make_tagged(MAC, PEER, IP, 1514, unicast(99 + n))), 0);
		assert_intact(user.frame, user.len, MAC, PEER, 1514);
		assert_int_equal(x[n - 1].in.stripped, 1);
		if (n > 1) /* nothing for the level between, whose tag is taken off there and means nothing further in */
			assert_int_equal(rx(make_tagged(MAC, PEER, IP, 100, unicast(100))), 0);
		assert_int_equal(user.nr, 1);
		assert_int_equal(rx(make_tagged(MAC, PEER, IP, 100, unicast(77))), 0);
		assert_int_equal(user.nr, 1);
		assert_int_equal(x[0].in.dropped[EXTENDER_DROP_NOBODY], 1);
	}
}

/* On the wire of an S-channel data is untagged; between the levels it has the port's E-CID. */
static void s_channel_edge(void **state)
{
	(void)state;
	for (u32 n = 1; n <= LEVELS; n++) {
		row(n, true);
		give(n);
		assert_int_equal(tx(make(PEER, MAC, IP, 400)), 0);
		assert_int_equal(wire_ecid(), 0);
		assert_int_equal(x[n - 1].out.inserted, n > 1);
		assert_int_equal(x[0].out.stripped, n > 1);
		assert_int_equal(rx(make(BROADCAST, PEER, IP, 400)), 0);
		assert_int_equal(user.nr, 1);
		assert_int_equal(x[0].in.inserted, n > 1);
		assert_int_equal(x[n - 1].in.stripped, n > 1);
	}
	/* the innermost one's E-CID goes away: data belongs to the next one out again */
	assert_int_equal(x[0].data, 102);
	extender_unregister(&x[0], 0, 102);
	assert_int_equal(x[0].data, 101);
	extender_unregister(&x[0], 0, 101);
	assert_int_equal(x[0].data, 100);
	extender_forget(&x[0]);
	assert_int_equal(x[0].data, 0);
}

static void groups(void **state)
{
	(void)state;
	for (u32 n = 1; n <= LEVELS; n++) {
		row(n, false);
		give(n);
		assert_int_equal(rx(make_tagged(BROADCAST, PEER, IP, 60, group(7, 0))), 0);
		assert_int_equal(user.nr, 0);
		for (u32 i = 0; i < n; i++)
			assert_int_equal(extender_register(&x[i], 1, 7, i + 1 < n), 0);
		assert_int_equal(rx(make_tagged(BROADCAST, PEER, IP, 60, group(7, 0))), 0);
		assert_int_equal(rx(make_tagged(BROADCAST, PEER, IP, 60, group(7, 555))), 0);
		assert_int_equal(user.nr, 2);
		assert_intact(user.frame, user.len, BROADCAST, PEER, 60);
		/* the same number of another group, and of a port, is another channel */
		assert_int_equal(rx(make_tagged(BROADCAST, PEER, IP, 60, (struct etag){ .grp = 2, .ecid = 7 })), 0);
		assert_int_equal(rx(make_tagged(BROADCAST, PEER, IP, 60, unicast(7))), 0);
		assert_int_equal(user.nr, 2);
		/* what the guest itself has sent does not come back */
		assert_int_equal(rx(make_tagged(BROADCAST, MAC, IP, 60, group(7, 99 + n))), 0);
		assert_int_equal(user.nr, 2);
		assert_int_equal(x[n - 1].in.dropped[EXTENDER_DROP_ECHO], 1);
		assert_int_equal(extender_unregister(&x[0], 1, 7), 0);
		assert_int_equal(rx(make_tagged(BROADCAST, PEER, IP, 60, group(7, 0))), 0);
		assert_int_equal(user.nr, 2);
	}
}

static void what_a_user_may_not_send(void **state)
{
	(void)state;
	row(2, false);
	give(2);
	assert_int_equal(tx(make_tagged(PEER, MAC, IP, 60, unicast(101))), 0); /* a guest's own tag, be it the right one */
	assert_int_equal(x[1].out.dropped[EXTENDER_DROP_FOREIGN], 1);
	for (u32 i = 0; i < 16; i++)
		for (u32 t = 0; t < 3; t++)
			assert_int_equal(tx(make(RESERVED((u8)i), MAC, (u16[]){ FRAME_TYPE_LLDP, FRAME_TYPE_ECP, IP }[t], 60)), 0);
	assert_int_equal(x[1].out.dropped[EXTENDER_DROP_RESERVED], 48);
	assert_int_equal(wire.nr, 0);
	assert_int_equal(tx(make(RESERVED(0x10), MAC, IP, 60)), 0); /* the first that is not reserved */
	assert_int_equal(wire.nr, 1);
	/* a cascade's: another's E-CID, the bridge's fields, two tags, half a tag */
	const u8 *f = frame;
	assert_int_equal(extender_tx(&x[0], f, make_tagged(PEER, MAC, IP, 60, unicast(55))), 0);
	assert_int_equal(extender_tx(&x[0], f, make_tagged(PEER, MAC, IP, 60, unicast(100))), 0);
	assert_int_equal(x[0].out.dropped[EXTENDER_DROP_FOREIGN], 2);
	assert_int_equal(extender_tx(&x[0], f, make_tagged(PEER, MAC, IP, 60, group(101, 0))), 0);
	assert_int_equal(extender_tx(&x[0], f, make_tagged(PEER, MAC, IP, 60, (struct etag){ .ecid = 101, .ingress = 1 })), 0);
	make_tagged(PEER, MAC, IP, 60, unicast(5));
	assert_int_equal(extender_tx(&x[0], f, (u32)etag_insert(frame, sizeof(frame), frame, 68, &(struct etag){ .ecid = 101 })), 0);
	make_tagged(PEER, MAC, IP, 60, unicast(101));
	assert_int_equal(extender_tx(&x[0], f, 21), 0);
	assert_int_equal(x[0].out.dropped[EXTENDER_DROP_TAG], 4);
	assert_int_equal(extender_tx(&x[0], f, make(RESERVED(0), MAC, IP, 60)), 0); /* a BPDU or the like */
	assert_int_equal(extender_tx(&x[0], f, make_tagged(RESERVED(14), MAC, FRAME_TYPE_LLDP, 60, unicast(101))), 0);
	assert_int_equal(x[0].out.dropped[EXTENDER_DROP_RESERVED], 2);
	/* registered without the tag: a member, but nobody further in sends with it */
	assert_int_equal(extender_register(&x[0], 0, 42, false), 0);
	assert_int_equal(extender_tx(&x[0], f, make_tagged(PEER, MAC, IP, 60, unicast(42))), 0);
	assert_int_equal(x[0].out.dropped[EXTENDER_DROP_FOREIGN], 3);
	assert_int_equal(wire.nr, 1);
}

static void lengths(void **state)
{
	(void)state;
	row(3, false);
	give(3);
	for (u32 len = 0; len < 14; len++)
		assert_int_equal(tx(make(PEER, MAC, IP, 14) ? len : 0), 0);
	assert_int_equal(x[2].out.dropped[EXTENDER_DROP_LENGTH], 14);
	assert_int_equal(tx(make(PEER, MAC, IP, 14)), 0);
	assert_int_equal(wire.len, 22);
	assert_int_equal(tx(make(PEER, MAC, IP, 9220)), 0);
	assert_int_equal(wire.len, 9228);
	assert_int_equal(rx(make_tagged(MAC, PEER, IP, 9220, unicast(102))), 0);
	assert_intact(user.frame, user.len, MAC, PEER, 9220);
	assert_int_equal(tx(make(PEER, MAC, IP, EXTENDER_FRAME_MAX + 1)), 0);
	assert_int_equal(x[2].out.dropped[EXTENDER_DROP_LENGTH], 15);
	for (u32 len = 0; len <= 22; len++) /* cut everywhere in the tag */
		assert_int_equal(rx(make_tagged(MAC, PEER, IP, 60, unicast(102)) ? len : 0), 0);
	assert_int_equal(x[0].in.dropped[EXTENDER_DROP_LENGTH], 14);
	assert_int_equal(x[0].in.dropped[EXTENDER_DROP_TAG], 8);
	assert_int_equal(user.nr, 2); /* 22 bytes are a whole frame */
}

static void pe_control_stays_on_its_level(void **state)
{
	(void)state;
	for (u32 s = 0; s < 2; s++) {
		row(3, s);
		give(3);
		for (u32 i = 0; i < 3; i++) {
			u32 tag = i ? 99 + i : 0; /* a further one's frame has the next outer one's E-CID */
			assert_int_equal(extender_send_pe(&x[i], FRAME_TYPE_ECP, (const u8 *)"abcd", 4), 0);
			assert_int_equal(wire.nr, i + 1);
			assert_int_equal(wire_ecid(), tag);
			assert_int_equal(wire.len, i ? 68 : 60);
			assert_memory_equal(wire.frame, RESERVED(3), 6);
			assert_memory_equal(wire.frame + 6, MAC, 6);
			assert_int_equal(rx(tag ? make_tagged(RESERVED(3), PEER, FRAME_TYPE_ECP, 60, unicast(tag)) :
			                        make(RESERVED(3), PEER, FRAME_TYPE_ECP, 60)), 0);
			assert_int_equal(told.nr, i + 1);
			assert_int_equal(told.level, i);
			assert_int_equal(told.plane, EXTENDER_PE);
			assert_int_equal(told.type, FRAME_TYPE_ECP);
			assert_int_equal(told.len, 46);
		}
		/* and the innermost one's user gets none */
		assert_int_equal(rx(make_tagged(RESERVED(3), PEER, FRAME_TYPE_ECP, 60, unicast(102))), 0);
		assert_int_equal(x[2].in.dropped[EXTENDER_DROP_RESERVED], 1);
		assert_int_equal(user.nr, 0);
	}
}

/* On a wire that several extenders share the bridge uses their addresses. */
static void pe_control_by_address(void **state)
{
	(void)state;
	row(2, false);
	assert_int_equal(rx(make(MAC, PEER, FRAME_TYPE_LLDP, 60)), 0);
	assert_int_equal(rx(make(PEER, PEER, FRAME_TYPE_LLDP, 60)), 0);
	assert_int_equal(told.nr, 1);
	assert_int_equal(told.level, 0);
	give(2);
	assert_int_equal(rx(make_tagged(MAC, PEER, FRAME_TYPE_LLDP, 60, unicast(101))), 0); /* a guest's */
	assert_int_equal(told.nr, 1);
	assert_int_equal(user.nr, 1);
	row(2, true); /* in an S-channel it is a guest's, too */
	assert_int_equal(rx(make(MAC, PEER, FRAME_TYPE_LLDP, 60)), 0);
	assert_int_equal(told.nr, 0);
	assert_int_equal(user.nr, 1);
}

/* vdp=here with a row behind it: only the bridge's port of the data is the station's; an S-channel is one port. */
static void vdp_control_by_the_ecid_of_the_data(void **state)
{
	(void)state;
	for (u32 s = 0; s < 2; s++) {
		row(3, s);
		give(3);
		extender_set_user(&x[0], true, EXTENDER_VDP_SPEAK);
		for (u32 ecid = 100; ecid <= 102; ecid++) {
			u32 before = told.nr;
			assert_int_equal(rx(make_tagged(RESERVED(0), PEER, FRAME_TYPE_ECP, 60, unicast(ecid))), 0);
			assert_int_equal(told.nr - before, s || ecid == 102);
		}
		assert_int_equal(told.plane, EXTENDER_VDP);
		assert_int_equal(x[0].in.dropped[EXTENDER_DROP_NOBODY], s ? 0 : 2);
		assert_int_equal(user.nr, 0);
	}
}

/* A further one's frame before the level that it passes has an E-CID: the answer would not find back. */
static void pe_control_waits_for_the_outer(void **state)
{
	(void)state;
	for (u32 s = 0; s < 2; s++) {
		row(2, s);
		assert_int_equal(extender_send_pe(&x[1], FRAME_TYPE_LLDP, frame, 30), 0);
		assert_int_equal(wire.nr, 0);
		assert_int_equal(x[0].out.dropped[EXTENDER_DROP_NO_ECID], 1);
	}
}

/* Roles of a row of n by their options. */
static u32 speakers(u32 n, const enum extender_vdp_option *option, u32 *who)
{
	bool claimed = false;
	u32 nr = 0;
	for (u32 i = 0; i < n; i++) {
		enum extender_vdp role = extender_vdp_role(option[i], claimed, i + 1 < n);
		extender_set_user(&x[i], i + 1 < n, role);
		claimed = extender_vdp_claims(role);
		if (role == EXTENDER_VDP_SPEAK) {
			nr++;
			*who = i;
		}
	}
	return nr;
}

/*
 * Every combination of vdp= at every depth: one speaker, or none if an `off` stands outside of who would be; frames of VDP reach that one
 * and go out from there only.
 */
static void one_speaker(void **state)
{
	(void)state;
	for (u32 n = 1; n <= LEVELS; n++)
		for (u32 code = 0; code < (n == 1 ? 3u : n == 2 ? 9u : 27u); code++)
			for (u32 s = 0; s < 2; s++) {
				enum extender_vdp_option option[LEVELS] = { code % 3, code / 3 % 3, code / 9 };
				u32 who = 0, want = n - 1;
				bool off = false;
				for (u32 i = n; i-- > 0;) {
					if (option[i] == EXTENDER_VDP_AUTO)
						continue;
					want = i;
					off = option[i] == EXTENDER_VDP_OFF;
				}
				row(n, s);
				give(n);
				assert_int_equal(speakers(n, option, &who), !off);
				assert_int_equal(off ? 0 : who, off ? 0 : want);
				for (u32 i = 0; i < n; i++) /* even if a level behaves as if it spoke */
					(void)extender_send_vdp(&x[i], FRAME_TYPE_ECP, (const u8 *)"abcd", 4);
				u32 barred = off ? want : who;
				assert_int_equal(wire.nr, barred + 1); /* those outside of it are not barred, as they do not send */
				assert_int_equal(wire_ecid(), s ? 0 : 99 + n);
				assert_int_equal(rx(s ? make(RESERVED(0), PEER, FRAME_TYPE_ECP, 60) :
				                       make_tagged(RESERVED(0), PEER, FRAME_TYPE_ECP, 60, unicast(99 + n))), 0);
				assert_int_equal(told.nr, !off);
				assert_int_equal(user.nr, 0);
				if (!off) {
					assert_int_equal(told.level, who);
					assert_int_equal(told.plane, EXTENDER_VDP);
				}
			}
}

static void tables(void **state)
{
	(void)state;
	row(1, false);
	extender_set_user(&x[0], true, EXTENDER_VDP_PASS);
	extender_set_own(&x[0], 1);
	assert_int_equal(extender_register(&x[0], 0, 1, true), -EINVAL);
	assert_int_equal(extender_register(&x[0], 0, 0, true), -EINVAL);
	assert_int_equal(extender_register(&x[0], 4, 5, true), -EINVAL);
	assert_int_equal(extender_register(&x[0], 0, ETAG_ECID_MAX + 1, true), -EINVAL);
	assert_int_equal(extender_unregister(&x[0], 0, 5), -ENOENT);
	for (u32 i = 0; i < EXTENDER_UNICAST; i++)
		assert_int_equal(extender_register(&x[0], 0, ETAG_ECID_MAX - i, true), 0);
	assert_int_equal(extender_register(&x[0], 0, 2, true), -ENOSPC);
	assert_int_equal(x[0].data, ETAG_ECID_MAX - EXTENDER_UNICAST + 1);
	assert_int_equal(extender_register(&x[0], 0, ETAG_ECID_MAX, true), 0); /* again: the last one now */
	assert_int_equal(x[0].data, ETAG_ECID_MAX);
	assert_int_equal(extender_room(&x[0], 0), 0);
	assert_int_equal(extender_room(&x[0], 2), EXTENDER_GROUPS);
	for (u32 i = 0; i < EXTENDER_GROUPS; i++)
		assert_int_equal(extender_register(&x[0], (u8)(1 + i % 3), 1 + i / 3, false), 0);
	assert_int_equal(extender_register(&x[0], 1, 99, false), -ENOSPC);
	extender_set_own(&x[0], ETAG_ECID_MAX - EXTENDER_UNICAST + 1); /* becomes our own: no more one of further in */
	assert_false(extender_registered(&x[0], 0, x[0].own));
	assert_int_equal(x[0].data, ETAG_ECID_MAX);
	assert_int_equal(rx(make_tagged(MAC, PEER, IP, 60, unicast(ETAG_ECID_MAX))), 0);
	assert_int_equal(user_ecid(), ETAG_ECID_MAX);
	extender_forget(&x[0]);
	assert_int_equal(rx(make_tagged(MAC, PEER, IP, 60, unicast(ETAG_ECID_MAX))), 0);
	assert_int_equal(user.nr, 1);
}

/* What belongs further in is not for a guest, who would see a tag: a level has gone, and the bridge does not know it yet. */
static void a_guest_gets_no_tag(void **state)
{
	(void)state;
	row(1, false);
	give(1);
	assert_int_equal(extender_register(&x[0], 0, 55, true), 0);
	assert_int_equal(extender_register(&x[0], 1, 7, true), 0);
	assert_int_equal(rx(make_tagged(MAC, PEER, IP, 60, unicast(55))), 0);
	assert_int_equal(rx(make_tagged(BROADCAST, PEER, IP, 60, group(7, 0))), 0);
	assert_int_equal(user.nr, 0);
	assert_int_equal(x[0].in.dropped[EXTENDER_DROP_NOBODY], 2);
}

static void a_link_that_refuses(void **state)
{
	(void)state;
	row(3, false);
	give(3);
	answer = -EAGAIN;
	assert_int_equal(rx(make_tagged(MAC, PEER, IP, 60, unicast(102))), -EAGAIN);
	assert_int_equal(tx(make(PEER, MAC, IP, 60)), -EAGAIN);
	for (u32 i = 0; i < 3; i++) {
		assert_int_equal(x[i].in.dropped[EXTENDER_DROP_LINK], 1);
		assert_int_equal(x[i].out.dropped[EXTENDER_DROP_LINK], 1);
		assert_int_equal(x[i].in.stripped + x[i].out.inserted, 0);
	}
	answer = 0;
	assert_int_equal(rx(make_tagged(MAC, PEER, IP, 60, unicast(102))), 0);
	assert_int_equal(user.nr, 1);
}

/* Anything at all from either side: each frame is counted once, and none with a foreign E-CID gets out. */
static void garbage(void **state)
{
	(void)state;
	static const u16 types[] = { FRAME_TYPE_ETAG, FRAME_TYPE_LLDP, FRAME_TYPE_ECP, FRAME_TYPE_CTAG, IP };
	u64 total[2] = { 0 };
	srand(5);
	for (u32 s = 0; s < 2; s++) {
		row(1, s);
		extender_set_user(&x[0], true, EXTENDER_VDP_SPEAK);
		extender_set_own(&x[0], 0x123);
		assert_int_equal(extender_register(&x[0], 0, 0x234, true), 0);
		assert_int_equal(extender_register(&x[0], 2, 0x345, true), 0);
		total[0] = total[1] = 0;
		for (u32 i = 0; i < 50000; i++) {
			u32 len = (u32)rand() % 80, before = wire.nr;
			for (u32 k = 0; k < len; k++)
				frame[k] = (u8)rand();
			if (len >= 14) {
				memcpy(frame, (const u8 *[]){ MAC, PEER, RESERVED(0), RESERVED(3) }[rand() % 4], 6);
				be16_put(frame + 12, types[rand() % 5]);
			}
			if (len >= 22 && rand() % 2) {
				frame[14] = frame[15] = frame[18] = frame[19] = 0;
				be16_put(frame + 16, (u32[]){ 0x123, 0x234, 0x2345 | 0x2000, 0x234 | 0x4000 }[rand() % 4]);
				be16_put(frame + 20, types[rand() % 5]);
			}
			u8 *exact = malloc(len); /* so that the sanitizer sees where it ends */
			assert_true(exact || !len);
			memcpy(exact, frame, len);
			bool out = rand() % 2;
			total[out]++;
			assert_int_equal(out ? extender_tx(&x[0], exact, len) : extender_rx(&x[0], exact, len), 0);
			free(exact);
			if (wire.nr != before && wire_ecid())
				assert_true(wire_ecid() == 0x123 || wire_ecid() == 0x234);
		}
		assert_int_equal(sum(&x[0].out), total[1]);
		assert_int_equal(sum(&x[0].in) + x[0].in.control, total[0]);
	}
}

static void names(void **state)
{
	(void)state;
	for (u32 i = 0; i < EXTENDER_DROPS; i++)
		assert_true(strlen(extender_drop_name(i)) > 2);
	assert_string_equal(extender_drop_name(EXTENDER_DROPS), "?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(transparent), cmocka_unit_test(nothing_without_ecid), cmocka_unit_test(s_channel_passes_before_ecid),
		cmocka_unit_test(tags_of_a_row), cmocka_unit_test(s_channel_edge), cmocka_unit_test(groups),
		cmocka_unit_test(what_a_user_may_not_send), cmocka_unit_test(lengths), cmocka_unit_test(pe_control_stays_on_its_level),
		cmocka_unit_test(pe_control_by_address), cmocka_unit_test(pe_control_waits_for_the_outer),
		cmocka_unit_test(vdp_control_by_the_ecid_of_the_data), cmocka_unit_test(one_speaker),
		cmocka_unit_test(tables), cmocka_unit_test(a_guest_gets_no_tag), cmocka_unit_test(a_link_that_refuses), cmocka_unit_test(garbage), cmocka_unit_test(names),
	};
	return cmocka_run_group_tests_name("extender", tests, NULL, NULL);
}
