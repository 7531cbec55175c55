/*
 * The VDP station at the level that speaks, through chains of extenders: association, keep-alives, refusals, and a bridge that comes, goes,
 * and forgets.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/chain_model.h"

#define KEEP_US (10ull << VDP_STATION_RKA)
#define EVERY_CHAIN(n, s) \
	for (u32 n = 1; n <= CHAIN_LEVELS; n++) \
		for (u32 s = 0; s < 2; s++)

static struct bridge *const b = &chain.bridge;

static struct chain_level *speaker(void) { return &chain.level[chain_speaker()]; }

static void begin(u32 n, bool s)
{
	chain_init(n, s);
	srand(n * 2 + s);
}

static void bring_up(u32 n, bool s)
{
	begin(n, s);
	chain_all_up();
	chain_must(chain_settle(10 * SECOND) <= 10 * SECOND);
}

/* One port whose S-channel is there from the beginning: nothing but VDP matters. */
static void port_up(void) { bring_up(1, true); }

static u64 settles(u64 at_most)
{
	u64 took = chain_settle(at_most);
	chain_must(took != ~0ull);
	return took;
}

/* What the station's frames are, in order: l LLDP, L LLDP that ends, p pre-associate, a associate, d de-associate. */
static char said[4000];
static u32 nr_said;
static enum wire_fate listen(u32 nr, bool outward, const u8 *frame, u32 len)
{
	u8 plain[2000];
	struct lldp l;
	(void)nr;
	int n = etag_strip(plain, sizeof(plain), frame, len, NULL);
	if (n < 0)
		memcpy(plain, frame, (u32)(n = (int)len));
	if (!outward || memcmp(plain, FRAME_NEAREST_CUSTOMER_BRIDGE, 6) || nr_said + 2 > sizeof(said))
		return WIRE_PASS;
	if (frame_type(plain) == FRAME_TYPE_LLDP) {
		assert_int_equal(lldp_parse(plain + 14, (u32)n - 14, &l), 0);
		said[nr_said++] = l.ttl ? 'l' : 'L';
	} else if (!(plain[14] & 0x0c)) {
		said[nr_said++] = "?prad"[plain[14 + 4 + 18] >> 1];
	}
	said[nr_said] = 0;
	return WIRE_PASS;
}
static void hear(void)
{
	nr_said = 0;
	said[0] = 0;
	chain.fate = listen;
}

/* ---- as it should be ---- */

static void association(void **state)
{
	(void)state;
	EVERY_CHAIN(n, s) {
		begin(n, s);
		b->vid = 0x123;
		hear();
		chain_all_up();
		(void)settles(10 * SECOND);
		const char *p = strchr(said, 'p'), *a = strchr(said, 'a');
		assert_true(p && a && said[0] == 'l' && p < a && !strchr(p + 1, 'p') && !strchr(a + 1, 'a'));
		struct chain_level *l = speaker();
		assert_int_equal(l->vid, 0x123);
		assert_int_equal(b->vdp.vid, 0x123);
		assert_int_equal(l->vdp.error, VDP_SUCCESS);
		assert_memory_equal(b->vdp.vsi.id, l->vdp.id, VDP_ID_LEN);
		assert_int_equal(b->vdp.vsi.vsi_type, 7);
		/* keep-alives, each on its time, with the VLAN that was answered */
		hear();
		u32 frames = b->vdp.nr_assoc, changes = l->vdp_changes;
		chain_run(1000 * KEEP_US + KEEP_US / 2);
		assert_in_range(b->vdp.nr_assoc - frames, 990, 1001);
		assert_null(strchr(said, 'p'));
		assert_int_equal(l->vdp_changes, changes);
		assert_int_equal(b->vdp.nr_expired, 0);
		assert_true(chain_ready() && b->vdp.vid == 0x123);
	}
}

static void without_a_bridge(void **state)
{
	(void)state;
	begin(1, true);
	b->no_evb = true; /* one that has LLDP, but not this */
	hear();
	chain_all_up();
	chain_run(100 * SECOND);
	assert_int_equal(speaker()->vdp.state, VDP_STATION_LOOKING);
	assert_in_range(strlen(said), 20, 30);
	assert_int_equal(strspn(said, "l"), strlen(said));
	b->no_evb = false;
	(void)settles(10 * SECOND);
}

/* Whatever vdp= says where: one speaks at every instant (chain_model asserts it), or nobody and no frame of VDP is seen. */
static void every_option(void **state)
{
	(void)state;
	EVERY_CHAIN(n, s)
		for (u32 code = 0; code < (n == 1 ? 3u : n == 2 ? 9u : 27u); code++) {
			u32 option[3] = { code % 3, code / 3 % 3, code / 9 };
			begin(n, s);
			hear();
			for (u32 i = 0; i < n; i++) {
				chain.level[i].option = option[i];
				chain_up(i);
				(void)settles(10 * SECOND);
				assert_int_equal(b->vdp.on, chain_speaker() >= 0 || strlen(said));
				chain_must(chain_traffic());
			}
			if (chain_speaker() >= 0)
				continue;
			hear();
			chain_run(100 * SECOND);
			assert_int_equal(strlen(said), 0);
		}
}

/* A level that comes up inside takes over: the same VSI, so the bridge sees its association go on. */
static void the_speaker_moves(void **state)
{
	(void)state;
	begin(3, true);
	chain_up(0);
	(void)settles(10 * SECOND);
	for (u32 i = 1; i < 3; i++) {
		chain_up(i);
		(void)settles(10 * SECOND);
		assert_int_equal(chain_speaker(), i);
	}
	chain_kill(1);
	(void)settles(130 * SECOND); /* the bridge must age those out that are gone */
	assert_int_equal(chain_speaker(), 0);
	assert_int_equal(b->vdp.nr_deassoc, 0);
	assert_int_equal(b->vdp.nr_expired, 0);
}

static void up_and_down(void **state)
{
	(void)state;
	for (u32 n = 1; n <= 3; n += 2) {
		bring_up(n, true);
		struct vdp_station *v = &speaker()->vdp;
		hear();
		chain.port_down = true;
		vdp_station_down(v, chain.now_us);
		assert_int_equal(v->state, VDP_STATION_LEAVING);
		assert_int_equal(speaker()->vid, 0);
		chain_run(SECOND);
		assert_int_equal(v->state, VDP_STATION_DOWN);
		assert_int_equal(vdp_station_deadline(v), DEADLINE_NONE);
		assert_int_equal(b->vdp.nr_deassoc, 1);
		assert_false(b->vdp.associated);
		assert_string_equal(said, "dL");
		chain.port_down = false;
		(void)settles(10 * SECOND);
		/* several times before the bridge has answered: the last word counts */
		for (u32 i = 0; i < 5; i++) {
			vdp_station_down(v, chain.now_us);
			vdp_station_up(v, chain.now_us);
		}
		(void)settles(10 * SECOND);
		assert_int_equal(b->vdp.nr_deassoc, 2);
	}
}

/* Nobody answers the DeAssociate: the station is down all the same, after ECP's repetitions. */
static void a_dead_bridge_and_a_port_that_goes(void **state)
{
	(void)state;
	port_up();
	struct vdp_station *v = &chain.level[0].vdp;
	b->silent = true;
	hear();
	vdp_station_down(v, chain.now_us);
	u64 now = chain.now_us;
	while (v->state == VDP_STATION_LEAVING) {
		now = vdp_station_deadline(v);
		assert_true(now != DEADLINE_NONE);
		vdp_station_tick(v, now);
	}
	assert_int_equal(v->state, VDP_STATION_DOWN);
	assert_int_equal(now - chain.now_us, 4 * (10ull << 14));
	assert_int_equal(vdp_station_deadline(v), DEADLINE_NONE);
	assert_string_equal(said, "ddddL");
}

/* ---- timers of both sides ---- */

static void negotiation(void **state)
{
	(void)state;
	begin(1, true);
	b->evb.retries = 5;
	b->evb.rte = 16;
	b->evb.rwd = 22;
	b->evb.rka = 23;
	b->evb.bridge = LLDP_EVB_RRCAP | LLDP_EVB_RRCTR;
	chain_all_up();
	(void)settles(20 * SECOND);
	chain_run(10 * SECOND);
	struct lldp_evb heard = b->vdp.station;
	assert_int_equal(heard.mode, LLDP_EVB_STATION);
	assert_int_equal(heard.retries, 5);
	assert_int_equal(heard.rte, 16);
	assert_int_equal(heard.rwd, 22);
	assert_int_equal(heard.rka, 23);
	assert_true(heard.remote_wait && heard.remote_keep);
	assert_int_equal(heard.bridge, b->evb.bridge);
	assert_int_equal(heard.station & LLDP_EVB_RRSTAT, 1);
	u32 before = b->vdp.nr_assoc;
	chain_run(10 * (10ull << 23) + SECOND * 40);
	assert_int_equal(b->vdp.nr_assoc - before, 10);
	assert_int_equal(chain.level[0].vdp.ecp.rte, 16);
	assert_int_equal(chain.level[0].vdp.ecp.retries, 5);
	/* smaller ones than ours do not count */
	begin(1, true);
	b->evb.retries = b->evb.rte = b->evb.rwd = b->evb.rka = 0;
	chain_all_up();
	(void)settles(20 * SECOND);
	chain_run(10 * SECOND);
	heard = b->vdp.station;
	assert_true(heard.retries == 3 && heard.rte == 14 && heard.rwd == 20 && heard.rka == 20 && !heard.remote_wait && !heard.remote_keep);
	/* the largest there are: hours between repetitions, but nothing overflows and nothing storms */
	begin(1, true);
	b->evb.retries = 7;
	b->evb.rte = b->evb.rwd = b->evb.rka = 31;
	chain_all_up();
	(void)settles(20 * SECOND);
	before = b->vdp.nr_assoc;
	chain_run(22000 * SECOND);
	assert_int_equal(b->vdp.nr_assoc - before, 1);
}

/* ---- VLANs ---- */

static void a_vlan_that_is_demanded(void **state)
{
	(void)state;
	for (u32 s = 0; s < 2; s++) {
		begin(2, s);
		chain.level[0].vlan = chain.level[1].vlan = 77;
		b->vid = 5; /* for those who demand none */
		chain_all_up();
		(void)settles(10 * SECOND);
		assert_int_equal(b->vdp.vid, 77);
		assert_int_equal(speaker()->vid, 77);
	}
}

static void another_vlan_than_demanded(void **state)
{
	(void)state;
	begin(1, true);
	chain.level[0].vlan = 77;
	b->force_vid = 78;
	hear();
	chain_all_up();
	chain_run(100 * SECOND);
	struct chain_level *l = &chain.level[0];
	assert_int_equal(l->vdp.state, VDP_STATION_WAITING);
	assert_int_equal(l->vdp_why, VDP_WHY_VLAN);
	assert_int_equal(l->vid, 78); /* for the console */
	assert_int_equal(l->associations, 0);
	assert_false(b->vdp.associated || b->vdp.preassociated);
	const char *p = strchr(said, 'p');
	assert_true(p && strchr(p, 'd') && !strchr(p, 'a'));
	/* put right at the bridge, it comes back by itself */
	b->force_vid = 0;
	(void)settles(VDP_STATION_HARD_US);
	assert_int_equal(l->vid, 77);
	/* or the bridge changes its mind later: out again */
	b->force_vid = 79;
	chain_run(2 * KEEP_US);
	assert_int_equal(l->vdp_why, VDP_WHY_VLAN);
	assert_false(b->vdp.associated);
}

static void the_bridge_changes_the_vlan(void **state)
{
	(void)state;
	begin(1, true);
	b->vid = 10;
	chain_all_up();
	(void)settles(10 * SECOND);
	b->force_vid = 11;
	chain_run(2 * KEEP_US);
	assert_int_equal(chain.level[0].vid, 11);
	assert_int_equal(chain.level[0].vdp.state, VDP_STATION_ASSOCIATED);
	b->force_vid = 0; /* and later requests name it */
	chain_run(2 * KEEP_US);
	assert_int_equal(chain.level[0].vid, 11);
	assert_int_equal(b->vdp.nr_preassoc, 1);
}

/* ---- refusals ---- */

static void refusals(void **state)
{
	(void)state;
	static const struct { u8 status; u64 again_us; } rows[] = {
		{ VDP_INSUFFICIENT_RESOURCES, VDP_STATION_RETRY_US },
		{ VDP_NO_VSI_MANAGER, VDP_STATION_RETRY_US },
		{ VDP_OTHER_FAILURE, VDP_STATION_RETRY_US },
		{ VDP_INVALID_FORMAT, VDP_STATION_HARD_US },
		{ VDP_INVALID_VID_GROUP_MAC, VDP_STATION_HARD_US },
		{ VDP_HARD | VDP_INSUFFICIENT_RESOURCES, VDP_STATION_HARD_US },
		{ VDP_KEEP | VDP_NO_VSI_MANAGER, VDP_STATION_RETRY_US },
	};
	for (u32 i = 0; i < ARRAY_SIZE(rows); i++)
		for (u32 how = 0; how < 2; how++) {
			begin(1, true);
			b->vdp_refuse = 3;
			b->vdp_status = rows[i].status;
			b->refuse_by_deassoc = how;
			chain_all_up();
			chain_run(SECOND);
			struct chain_level *l = &chain.level[0];
			assert_int_equal(l->vdp.state, VDP_STATION_WAITING);
			assert_int_equal(l->vdp_why, VDP_WHY_REFUSED);
			assert_int_equal(l->vdp.error, rows[i].status & VDP_ERROR);
			u64 took = settles(4 * rows[i].again_us);
			assert_in_range(took, 3 * rows[i].again_us - 2 * SECOND, 3 * rows[i].again_us + SECOND);
			assert_int_equal(l->vdp.error, VDP_SUCCESS);
			assert_int_equal(l->vdp.count.refused, 3);
		}
	/* a DeAssociate as answer, with success: refused without a reason */
	begin(1, true);
	b->vdp_refuse = 1;
	b->refuse_by_deassoc = true;
	chain_all_up();
	assert_in_range(settles(40 * SECOND), 29 * SECOND, 31 * SECOND);
}

static void refused_keep_alives(void **state)
{
	(void)state;
	port_up();
	struct chain_level *l = &chain.level[0];
	b->vdp_status = VDP_KEEP | VDP_NO_VSI_MANAGER; /* what was, stays */
	b->vdp_refuse = 3;
	u32 changes = l->vdp_changes;
	chain_run(4 * KEEP_US);
	assert_int_equal(b->vdp_refuse, 0);
	assert_int_equal(l->vdp.state, VDP_STATION_ASSOCIATED);
	assert_int_equal(l->vdp_changes, changes);
	b->vdp_status = VDP_INSUFFICIENT_RESOURCES;
	b->vdp_refuse = 1;
	chain_run(KEEP_US + SECOND);
	assert_int_equal(l->vdp_why, VDP_WHY_REFUSED);
	assert_int_equal(l->vid, 0);
	(void)settles(40 * SECOND);
}

/* ---- the bridge's own doings ---- */

static void dissolved_by_the_bridge(void **state)
{
	(void)state;
	EVERY_CHAIN(n, s) {
		bring_up(n, s);
		chain_run(100 * SECOND);
		bridge_dissolve(b, VDP_NO_VSI_MANAGER);
		chain_run(SECOND / 10);
		assert_int_equal(speaker()->vdp.state, VDP_STATION_WAITING);
		assert_int_equal(speaker()->vdp_why, VDP_WHY_DISSOLVED);
		assert_int_equal(speaker()->vdp.error, VDP_NO_VSI_MANAGER);
		assert_in_range(settles(40 * SECOND), 0, 2 * SECOND);
		/* again so soon: no haste this time */
		bridge_dissolve(b, 0);
		chain_run(SECOND / 10);
		assert_in_range(settles(40 * SECOND), 29 * SECOND, 31 * SECOND);
	}
}

static void bridge_restarts(void **state)
{
	(void)state;
	EVERY_CHAIN(n, s)
		for (u32 how = 0; how < 5; how++) {
			bring_up(n, s);
			chain_run(1000 * SECOND);
			u32 before = speaker()->associations;
			struct bridge_pe pes[BRIDGE_PES];
			memcpy(pes, b->pe, sizeof(pes)); /* only its VDP begins anew */
			if (how == 1)
				bridge_shutdown(b);
			bridge_restart(b, how == 2);
			if (how == 3) {
				b->silent = true;
				chain_run(200 * SECOND);
				assert_int_equal(speaker()->vdp.state, VDP_STATION_LOOKING);
				b->silent = false;
			} else if (how != 2) {
				memcpy(b->pe, pes, sizeof(pes));
			}
			if (how == 4) /* not even that the station must begin is to be seen from its TLV */
				b->evb.rka = 21;
			(void)settles(150 * SECOND);
			chain_run(5 * KEEP_US);
			assert_true(chain_ready());
			assert_in_range(speaker()->associations, before, before + 2);
		}
}

/* The bridge's TLV says that it has forgotten us. */
static void forgotten_by_lldp(void **state)
{
	(void)state;
	port_up();
	chain_run(100 * SECOND);
	assert_true(chain.level[0].vdp.repeated);
	u32 before = b->vdp.nr_preassoc;
	b->vdp.heard = b->vdp.associated = false;
	b->vdp.lldp_us = 0; /* sends one now */
	chain_run(SECOND);
	assert_int_equal(chain.level[0].vdp_why, VDP_WHY_PROGRESS);
	assert_int_equal(b->vdp.nr_preassoc, before + 1);
	assert_true(b->vdp.associated);
}

static void unanswered(void **state)
{
	(void)state;
	for (u32 times = 1; times <= 3; times++) {
		port_up();
		b->vdp_silent = times; /* of VDP's answers; ECP acknowledges */
		chain_run(KEEP_US + 20 * SECOND); /* longer than we wait for an answer */
		(void)settles(100 * SECOND);
		assert_in_range(chain.level[0].vdp.count.unanswered, 1, times); /* the bridge itself may end it first */
		assert_int_equal(chain.level[0].associations, 2);
		/* at the beginning */
		begin(1, true);
		b->vdp_silent = times;
		chain_all_up();
		(void)settles(100 * SECOND);
		assert_int_equal(chain.level[0].vdp.count.unanswered, times);
	}
}

/* Each single frame around a few keep-alives lost, doubled, late: the association does not end. */
static u32 victim;
static enum wire_fate evil;
static enum wire_fate single(u32 nr, bool outward, const u8 *frame, u32 len)
{
	(void)outward, (void)frame, (void)len;
	return nr == victim ? evil : WIRE_PASS;
}

static void keep_alives_on_a_bad_wire(void **state)
{
	(void)state;
	for (u32 n = 1; n <= 3; n += 2)
		for (u32 s = 0; s < 2; s++)
			for (evil = WIRE_LOSE; evil <= WIRE_DELAY; evil++) {
				u32 first = 0, frames = 1;
				for (victim = 0; victim < frames; victim++) {
					bring_up(n, s);
					first = chain.nr_frames;
					victim += first;
					chain.fate = single;
					chain_run(4 * KEEP_US);
					frames = chain.nr_frames - first;
					victim -= first;
					chain_must(chain_ready());
					chain_must(speaker()->associations == 1);
					assert_int_equal(b->vdp.nr_expired, 0);
				}
				assert_in_range(victim, 16, 1000);
			}
}

/* ---- what is no business of ours ---- */

static void strange_answers(void **state)
{
	(void)state;
	port_up();
	struct vdp_station *v = &chain.level[0].vdp;
	u32 changes = chain.level[0].vdp_changes;
	u8 pdu[300];
	for (u32 i = 0; i < 5; i++) {
		struct vdp_pdu p = { .nr_vsis = 1, .vsi = { b->vdp.vsi } };
		p.vsi[0].status = 0;
		p.vsi[0].type = VDP_DEASSOC;
		switch (i) {
		case 0: p.vsi[0].id[15] ^= 1; break;
		case 1: p.vsi[0].filter[0].mac[5] ^= 1; break;
		case 2: p.vsi[0].id_format = VDP_VSIID_MAC; break;
		case 3: p.vsi[0].type = VDP_ASSOC; break;                                /* not an answer, and not a bridge's to say */
		default: p.vsi[0].status = VDP_ACK | VDP_OTHER_FAILURE; break;           /* an answer to nothing */
		}
		int n = ecp_build(pdu, sizeof(pdu), &(struct ecp){ ECP_REQUEST, ECP_VDP, (u16)(5000 + i) });
		n += vdp_build(pdu + n, sizeof(pdu) - (u32)n, &p);
		vdp_station_receive(v, FRAME_TYPE_ECP, pdu, (u32)n, chain.now_us);
		assert_int_equal(v->count.stray, i + 1);
	}
	/* our own LLDP, come back */
	struct lldp l = { { LLDP_CHASSIS_MAC, 6, v->conf.mac }, { LLDP_PORT_MAC, 6, v->conf.mac }, .ttl = 120, .has_evb = true, .evb = v->evb };
	vdp_station_receive(v, FRAME_TYPE_LLDP, pdu, (u32)lldp_build(pdu, sizeof(pdu), &l), chain.now_us);
	/* a neighbour without EVB beside the bridge */
	l = (struct lldp){ { LLDP_CHASSIS_MAC, 6, (const u8 *)"foobar" }, { LLDP_PORT_LOCAL, 1, (const u8 *)"x" }, .ttl = 120 };
	vdp_station_receive(v, FRAME_TYPE_LLDP, pdu, (u32)lldp_build(pdu, sizeof(pdu), &l), chain.now_us);
	assert_int_equal(chain.level[0].vdp_changes, changes);
	assert_true(chain_ready());
}

static void to_nobody(void *arg, u16 type, const u8 *body, u32 len) { (void)arg, (void)type, (void)body, (void)len; }

static void garbage(void **state)
{
	(void)state;
	static const struct vdp_station_ops ops = { to_nobody, NULL };
	static struct vdp_station v;
	port_up();
	v = chain.level[0].vdp;
	v.ops = &ops;
	v.ecp.arg = &v;
	u8 body[160];
	srand(17);
	for (u32 i = 0; i < 100000; i++) {
		u32 len = (u32)rand() % sizeof(body);
		u16 type = rand() % 2 ? FRAME_TYPE_ECP : FRAME_TYPE_LLDP;
		for (u32 k = 0; k < len; k++)
			body[k] = (u8)rand();
		if (type == FRAME_TYPE_ECP && len > 50 && rand() % 4) {
			struct vdp_pdu p = { .nr_vsis = 1, .vsi = { b->vdp.vsi } };
			int n = ecp_build(body, 4, &(struct ecp){ (u8)(rand() % 2), ECP_VDP, (u16)rand() });
			p.vsi[0].type = (u8)(1 + rand() % 4);
			p.vsi[0].status = (u8)(rand() & 0x7f);
			n += vdp_build(body + n, sizeof(body) - (u32)n, &p);
			len = (u32)n;
			if (rand() % 2)
				body[rand() % n] ^= (u8)(1 << rand() % 8);
		}
		u8 *exact = malloc(len + !len);
		memcpy(exact, body, len);
		u64 now = chain.now_us + i * 1000;
		vdp_station_receive(&v, type, exact, len, now);
		vdp_station_tick(&v, now);
		free(exact);
		assert_true(vdp_station_deadline(&v) > now);
	}
}

static void identity(void **state)
{
	(void)state;
	u8 one[VDP_ID_LEN], two[VDP_ID_LEN];
	vdp_station_id(one, (const u8 *)"\2\0\0\0\0\1");
	vdp_station_id(two, (const u8 *)"\2\0\0\0\0\2");
	assert_memory_equal(one, two, 15);
	assert_memory_not_equal(one, two, 16);
	assert_int_equal(one[6] >> 4, 8);   /* UUID version */
	assert_int_equal(one[8] >> 6, 2);   /* and variant */
	assert_string_equal(vdp_state_name(99), "?");
	assert_string_equal(vdp_why_name(99), "?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(association), cmocka_unit_test(without_a_bridge), cmocka_unit_test(every_option),
		cmocka_unit_test(the_speaker_moves), cmocka_unit_test(up_and_down), cmocka_unit_test(a_dead_bridge_and_a_port_that_goes),
		cmocka_unit_test(negotiation), cmocka_unit_test(a_vlan_that_is_demanded), cmocka_unit_test(another_vlan_than_demanded),
		cmocka_unit_test(the_bridge_changes_the_vlan), cmocka_unit_test(refusals), cmocka_unit_test(refused_keep_alives),
		cmocka_unit_test(dissolved_by_the_bridge), cmocka_unit_test(bridge_restarts), cmocka_unit_test(forgotten_by_lldp),
		cmocka_unit_test(unanswered), cmocka_unit_test(keep_alives_on_a_bad_wire), cmocka_unit_test(strange_answers),
		cmocka_unit_test(garbage), cmocka_unit_test(identity),
	};
	return cmocka_run_group_tests_name("vdp", tests, NULL, NULL);
}
