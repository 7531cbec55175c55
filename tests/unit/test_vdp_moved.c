/*
 * The VDP station when the port's data gets another E-CID: it knows the bridge by the LLDP that it has heard, so it associates again at once,
 * whether the E-CID leads to another port of the bridge, which says LLDP to a new neighbour at once, or to the same one, which does when it is due.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/chain_model.h"

#define AT_ONCE_US (SECOND / 2) /* levels further out know the new E-CID a moment later: ECP repeats */

static struct bridge *const b = &chain.bridge;
static struct chain_level *speaker(void) { return &chain.level[chain_speaker()]; }
static struct vdp_station *station(void) { return &speaker()->vdp; }

/* On E-TAGs, for in an S-channel all E-CIDs are the same port. */
static void bring_up(u32 n, bool same_port)
{
	chain_init(n, false);
	b->same_port = same_port;
	b->vid = 0x123;
	chain_all_up();
	chain_must(chain_settle(10 * SECOND) != ~0ull);
	chain_run(10 * SECOND); /* all that is said fast has been said */
}

/* The port of the innermost extender. */
static void move(void) { bridge_change_ecid(b, bridge_leaf(b), speaker()->x.own ^ 0x307); }

/* The same for one extender without PE-CSP: the bridge's VDP looks at E-CIDs alone. */
static void give_ecid(u32 ecid)
{
	extender_set_own(&chain.level[0].x, ecid);
	vdp_station_moved(station(), chain.now_us);
}

/* The station's frames on E-CID `there`, in order: l LLDP, e ECP. The first `lost` of LLDP are. */
static char said[64];
static u32 nr_said, there, lost;
static enum wire_fate listen(u32 nr, bool outward, const u8 *frame, u32 len)
{
	struct etag t;
	(void)nr;
	if (!outward || memcmp(frame, FRAME_NEAREST_CUSTOMER_BRIDGE, 6) || etag_parse(frame, len, &t) || t.ecid != there || nr_said + 1 == sizeof(said))
		return WIRE_PASS;
	bool lldp = frame_type(frame + ETAG_LEN) == FRAME_TYPE_LLDP, lose = lldp && lost;
	said[nr_said++] = lldp ? 'l' : 'e';
	said[nr_said] = 0;
	lost -= lose;
	return lose ? WIRE_LOSE : WIRE_PASS;
}
static void hear(u32 ecid, u32 lose)
{
	nr_said = 0;
	there = ecid;
	lost = lose;
	chain.fate = listen;
}

static void must_be_associated(void)
{
	chain_must(station()->state == VDP_STATION_ASSOCIATED && b->vdp.associated);
	assert_int_equal(speaker()->vid, 0x123);
	assert_int_equal(b->vdp.channel, speaker()->x.data);
}

#define EVERY_WAY(n, same) \
	for (u32 n = 1; n <= CHAIN_LEVELS; n++) \
		for (u32 same = 0; same < 2; same++)

static void it_associates_again_at_once(void **state)
{
	(void)state;
	EVERY_WAY(n, same) {
		bring_up(n, same);
		for (u32 i = 0; i < 40; i++) {
			chain_run(i * SECOND);
			u32 before = speaker()->associations, preassocs = b->vdp.nr_preassoc;
			move();
			chain_run(AT_ONCE_US);
			must_be_associated();
			chain_run(3 * SECOND); /* what its LLDP says now is no news */
			assert_int_equal(speaker()->associations, before + 1);
			assert_int_equal(b->vdp.nr_preassoc, preassocs + 1);
		}
		chain_must(chain_traffic());
	}
}

/* Before there was a bridge; or when it has been silent for as long as its LLDP is valid. */
static void it_waits_for_a_bridge_that_it_does_not_know(void **state)
{
	(void)state;
	for (u32 how = 0; how < 2; how++) {
		chain_init(1, false);
		b->same_port = true;
		b->vid = 0x123;
		b->no_evb = true;
		chain_all_up();
		chain_run(10 * SECOND);
		if (how) {
			b->no_evb = false;
			chain_must(chain_settle(40 * SECOND) != ~0ull);
			b->no_evb = true;
			b->vdp.lldp_us = 0; /* says now that it is none any more */
			chain_run(SECOND);
		}
		assert_int_equal(station()->state, VDP_STATION_LOOKING);
		u32 asked = b->vdp.nr_preassoc, changes = speaker()->vdp_changes;
		u32 announced = b->vdp.nr_lldp;
		move();
		chain_run(AT_ONCE_US);
		assert_int_equal(b->vdp.nr_lldp, announced + 1);
		chain_run(20 * SECOND);
		assert_int_equal(station()->state, VDP_STATION_LOOKING);
		assert_int_equal(speaker()->vdp_changes, changes);
		assert_int_equal(b->vdp.nr_preassoc, asked);
		b->no_evb = false;
		chain_must(chain_settle(40 * SECOND) != ~0ull);
	}
}

/* The new port answers nothing: tried again at growing intervals, and when its LLDP comes; given up when the old one's has aged out. */
static void nobody_answers_there(void **state)
{
	(void)state;
	for (u32 how = 0; how < 2; how++) {
		bring_up(1, false);
		b->no_evb = true;
		b->vdp_silent = 1000;
		move();
		chain_run(30 * SECOND);
		assert_int_not_equal(station()->state, VDP_STATION_ASSOCIATED);
		assert_int_not_equal(station()->state, VDP_STATION_LOOKING);
		if (how)
			chain_run(100 * SECOND);
		assert_int_equal(station()->state == VDP_STATION_LOOKING, how);
		b->no_evb = false;
		b->vdp_silent = 0;
		b->vdp.lldp_us = 0;
		chain_run(SECOND);
		must_be_associated();
	}
}

/* Each port of the bridge hears who we are before what we want, however soon we go on; and begins with its own numbers. */
static void from_port_to_port(void **state)
{
	(void)state;
	bring_up(1, false);
	give_ecid(0x203);
	hear(0x204, 0);
	give_ecid(0x204);
	assert_string_equal(said, "le");
	while (station()->state != VDP_STATION_ASSOC)
		chain_run(10);
	give_ecid(0x205);
	chain_run(AT_ONCE_US);
	must_be_associated();
	b->vdp_silent = 1000;
	chain_run(60 * SECOND);
	assert_true(station()->tries);
	give_ecid(0x206);
	assert_int_equal(station()->tries, 0);
}

/* A port with the name of the one before, where our LLDP is lost: its TLV has nothing of us, which is no news, and soon has. */
static void our_lldp_is_lost(void **state)
{
	(void)state;
	bring_up(1, false);
	chain_run(60 * SECOND);
	u32 before = b->vdp.nr_preassoc, associations = speaker()->associations, ecid = speaker()->x.own ^ 0x300;
	hear(ecid, 1);
	give_ecid(ecid);
	chain_run(AT_ONCE_US);
	assert_int_equal(lost, 0);
	assert_false(b->vdp.heard);
	must_be_associated();
	chain_run(2 * SECOND);
	assert_true(b->vdp.heard && station()->repeated);
	assert_int_equal(b->vdp.nr_preassoc, before + 1);
	assert_int_equal(speaker()->associations, associations + 1);
}

/* The new port's first LLDP is expected; another bridge's after it is not. */
static void another_bridge_later(void **state)
{
	(void)state;
	EVERY_WAY(n, same) {
		bring_up(n, same);
		move();
		chain_run(40 * SECOND);
		u32 before = b->vdp.nr_preassoc;
		b->name++;
		b->vdp.lldp_us = 0;
		chain_run(AT_ONCE_US);
		assert_int_equal(b->vdp.nr_preassoc, before + 1);
		must_be_associated();
	}
}

static void refused_there_waits_no_longer_here(void **state)
{
	(void)state;
	bring_up(1, true);
	b->vdp_refuse = 1;
	b->vdp_status = VDP_HARD | VDP_INSUFFICIENT_RESOURCES;
	move();
	chain_run(SECOND);
	assert_int_equal(station()->state, VDP_STATION_WAITING);
	move();
	chain_run(AT_ONCE_US);
	must_be_associated();
}

static enum wire_fate lose(u32 nr, bool outward, const u8 *frame, u32 len)
{
	(void)nr, (void)outward, (void)frame, (void)len;
	return WIRE_LOSE;
}

/* The way to the bridge is gone for a time: no association meanwhile, and one at once when there is a way. */
static void without_an_ecid_between(void **state)
{
	(void)state;
	for (u32 same = 0; same < 2; same++) {
		bring_up(1, same);
		chain.fate = lose;
		give_ecid(0);
		chain_run(SECOND);
		assert_int_not_equal(station()->state, VDP_STATION_ASSOCIATED);
		assert_int_equal(speaker()->vid, 0);
		chain_run(20 * SECOND);
		chain.fate = NULL;
		give_ecid(bridge_leaf(b)->ecid);
		chain_run(AT_ONCE_US);
		must_be_associated();
	}
}

/* What the port of E-CID `ecid` says, which is another than the station's. */
static void port_says(u32 ecid, u16 type, const u8 *body, int len)
{
	assert_true(len > 0);
	bridge_put(b, FRAME_NEAREST_CUSTOMER_BRIDGE, type, body, (u32)len, ecid);
	chain_run(AT_ONCE_US);
}

/*
 * vdp=here, and a level further in comes up: the port is another one, but the E-CID before is still this level's. The bridge's port there goes on
 * with LLDP, and ends what it has when nothing keeps it alive.
 */
static void the_port_before_is_not_ours_any_more(void **state)
{
	(void)state;
	chain_init(2, false);
	b->vid = 0x123;
	chain.level[0].option = EXTENDER_VDP_HERE;
	chain_up(0);
	chain_must(chain_settle(10 * SECOND) != ~0ull);
	u32 old = b->vdp.channel;
	struct vdp_vsi had = b->vdp.vsi;
	chain_up(1);
	chain_must(chain_settle(10 * SECOND) != ~0ull);
	chain_run(5 * SECOND);
	must_be_associated();
	assert_int_not_equal(b->vdp.channel, old);
	assert_int_equal(speaker()->x.own, old);
	u32 before = speaker()->associations;
	u8 pdu[256];
	struct lldp l = { { LLDP_CHASSIS_MAC, 6, BRIDGE_MAC }, { LLDP_PORT_LOCAL, 3, (const u8 *)"old" }, .ttl = 120, .has_evb = true, .evb = b->evb };
	port_says(old, FRAME_TYPE_LLDP, pdu, lldp_build(pdu, sizeof(pdu), &l));
	assert_int_equal(speaker()->associations, before);
	struct vdp_pdu p = { .nr_vsis = 1, .vsi = { had } };
	p.vsi[0].type = VDP_DEASSOC;
	p.vsi[0].status = 0;
	int n = ecp_build(pdu, sizeof(pdu), &(struct ecp){ ECP_REQUEST, ECP_VDP, 0x7777 });
	n += vdp_build(pdu + n, sizeof(pdu) - (u32)n, &p);
	port_says(old, FRAME_TYPE_ECP, pdu, n);
	must_be_associated();
	assert_int_equal(speaker()->associations, before);
}

/* Said good-bye on the old way: nobody answers that on the new one. */
static void a_port_that_goes(void **state)
{
	(void)state;
	bring_up(1, true);
	chain.port_down = true;
	b->silent = true;
	struct vdp_station *v = station();
	vdp_station_down(v, chain.now_us);
	assert_int_equal(v->state, VDP_STATION_LEAVING);
	vdp_station_moved(v, chain.now_us);
	assert_int_equal(v->state, VDP_STATION_DOWN);
	vdp_station_moved(v, chain.now_us);
	assert_int_equal(vdp_station_deadline(v), DEADLINE_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_associates_again_at_once),
		cmocka_unit_test(it_waits_for_a_bridge_that_it_does_not_know),
		cmocka_unit_test(nobody_answers_there),
		cmocka_unit_test(from_port_to_port),
		cmocka_unit_test(our_lldp_is_lost),
		cmocka_unit_test(another_bridge_later),
		cmocka_unit_test(refused_there_waits_no_longer_here),
		cmocka_unit_test(without_an_ecid_between),
		cmocka_unit_test(the_port_before_is_not_ours_any_more),
		cmocka_unit_test(a_port_that_goes),
	};
	return cmocka_run_group_tests_name("vdp_moved", tests, NULL, NULL);
}
