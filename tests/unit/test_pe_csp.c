/*
 * PE-CSP over whole chains of extenders: self-configuration from nothing, and everything that may go wrong on the way and afterwards. Each
 * recovers by timers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/chain_model.h"

/* Each test in a chain of every depth, on a wire with S-tag and without. */
#define EVERY_CHAIN(n, s) \
	for (u32 n = 1; n <= CHAIN_LEVELS; n++) \
		for (u32 s = 0; s < 2; s++)

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
	chain_must(chain_traffic());
}

static void from_nothing(void **state)
{
	(void)state;
	EVERY_CHAIN(n, s) {
		begin(n, s);
		chain_all_up();
		u64 took = chain_settle(60 * SECOND);
		chain_must(took <= (n + 1) * SECOND); /* one LLDPDU of the fast start per level */
		chain_must(chain_traffic());
		/* and it stays so, with LLDP's frames only */
		u32 frames = chain.nr_frames, opens = chain.bridge.nr_opens;
		chain_run(3600 * SECOND);
		chain_must(chain_ready() && chain_traffic());
		assert_int_equal(chain.bridge.nr_opens, opens);
		assert_in_range(chain.nr_frames - frames, 120 * n, 1700 + 800 * n);
		assert_int_equal(chain.bridge.nr_bad, 0);
	}
}

/* E-TAG on the wire: the innermost port's, as chain_traffic has checked; the outer ones know all further in. */
static void registrations(void **state)
{
	(void)state;
	bring_up(3, false);
	struct chain_level *l = chain.level;
	assert_true(extender_registered(&l[0].x, 0, l[1].x.own) && extender_registered(&l[0].x, 0, l[2].x.own));
	assert_true(extender_registered(&l[1].x, 0, l[2].x.own));
	assert_false(extender_registered(&l[1].x, 0, l[0].x.own));
	for (u32 i = 0; i < 3; i++)
		assert_true(extender_registered(&l[i].x, BRIDGE_GROUP_GRP, BRIDGE_GROUP_ECID));
	assert_int_equal(l[0].x.data, l[2].x.own);
	/* a group frame that the guest sent does not come back to it */
	u8 frame[68];
	memset(frame, 0xff, sizeof(frame));
	u32 len = (u32)etag_insert(frame, sizeof(frame), frame, 60,
	                           &(struct etag){ .grp = BRIDGE_GROUP_GRP, .ecid = BRIDGE_GROUP_ECID, .ingress = l[2].x.own });
	u64 got = chain.delivered;
	assert_int_equal(extender_rx(&l[0].x, frame, len), 0);
	assert_int_equal(chain.delivered, got);
	assert_int_equal(l[0].x.in.dropped[EXTENDER_DROP_ECHO] + l[2].x.in.dropped[EXTENDER_DROP_ECHO], 1);
}

/* The bridge comes late, or a level does. */
static void late_join(void **state)
{
	(void)state;
	EVERY_CHAIN(n, s) {
		begin(n, s);
		chain.bridge.silent = true;
		chain_all_up();
		chain_run(100 * SECOND);
		assert_int_equal(chain.level[0].pe.state, PE_LOOKING);
		chain.bridge.silent = false;
		chain_must(chain_settle(120 * SECOND) != ~0ull);
		chain_must(chain_traffic());
		if (n == 1)
			continue;
		begin(n, s);
		for (u32 i = 0; i < n; i++) {
			chain_up(i);
			chain_must(chain_settle(5 * SECOND) != ~0ull);
			chain_must(chain_traffic());
			chain_run(200 * SECOND);
		}
	}
}

/* Each single frame of the beginning lost once, or whatever else happens to it. */
static u32 victim;
static enum wire_fate evil;
static enum wire_fate single(u32 nr, bool outward, const u8 *frame, u32 len)
{
	(void)outward, (void)frame, (void)len;
	return nr == victim ? evil : WIRE_PASS;
}

static void single_faults(void **state)
{
	(void)state;
	EVERY_CHAIN(n, s) {
		bring_up(n, s);
		u32 frames = chain.nr_frames;
		for (evil = WIRE_LOSE; evil <= WIRE_SCRAMBLE; evil++)
			for (victim = 0; victim < frames; victim++) {
				begin(n, s);
				chain.fate = single;
				chain_all_up();
				chain_must(chain_settle(120 * SECOND) != ~0ull);
				chain.fate = NULL;
				chain_must(chain_traffic());
			}
	}
}

static enum wire_fate awful(u32 nr, bool outward, const u8 *frame, u32 len)
{
	(void)nr, (void)outward, (void)frame, (void)len;
	return rand() % 4 ? WIRE_PASS : (enum wire_fate)(rand() % (evil + 1));
}

/* Frames scrambled on a wire are not taken by its ends; if they were, anything could be believed: a bridge that begins anew clears that up. */

static void an_awful_wire(void **state)
{
	(void)state;
	EVERY_CHAIN(n, s)
		for (u32 seed = 0; seed < 60; seed++) {
			begin(n, s);
			srand(seed);
			evil = seed & 1 ? WIRE_CUT : WIRE_SCRAMBLE;
			chain.fate = awful;
			chain_all_up();
			chain_run(300 * SECOND);
			chain.fate = NULL;
			if (evil == WIRE_SCRAMBLE)
				bridge_restart(&chain.bridge, true);
			chain_must(chain_settle(300 * SECOND) != ~0ull);
			chain_must(chain_traffic());
		}
}

/* Faults of the bridge in answers: each costs a try, no more. */
static void bad_answers(void **state)
{
	(void)state;
	EVERY_CHAIN(n, s)
		for (u32 fault = 0; fault < 4; fault++)
			for (u32 times = 1; times <= 3; times++) {
				begin(n, s);
				struct bridge *b = &chain.bridge;
				*(u32 *[]){ &b->no_response, &b->refuse, &b->wrong_transaction, &b->refuse }[fault] = times;
				b->refuse_result = fault == 1 ? PE_CSP_REFUSED : PE_CSP_NO_RESOURCES;
				chain_all_up();
				chain_must(chain_settle(60 * SECOND) != ~0ull);
				chain_must(chain_traffic());
				if (fault & 1) {
					assert_int_equal(chain.level[0].pe.count.refused, times);
					assert_int_equal(chain.level[0].pe.result, b->refuse_result);
				} else {
					assert_int_equal(chain.level[0].pe.count.unanswered, times);
				}
				assert_int_equal(chain.level[0].pe.count.stray, fault == 2 ? times : 0);
			}
}

/* A refusal that lasts: tried again every 30 s, not faster. */
static void a_lasting_refusal(void **state)
{
	(void)state;
	begin(1, false);
	chain.bridge.refuse = 1000;
	chain.bridge.refuse_result = PE_CSP_NO_RESOURCES;
	chain_all_up();
	chain_run(60 * SECOND);
	assert_int_equal(chain.level[0].pe.state, PE_LOOKING);
	assert_int_equal(chain.level[0].pe_why, PE_WHY_REFUSED);
	u32 before = chain.bridge.refuse;
	chain_run(600 * SECOND);
	assert_in_range(before - chain.bridge.refuse, 19, 21);
	chain.bridge.refuse = 0;
	chain_must(chain_settle(31 * SECOND) != ~0ull);
}

static void bridge_restarts(void **state)
{
	(void)state;
	EVERY_CHAIN(n, s)
		for (u32 how = 0; how < 4; how++) {
			bring_up(n, s);
			chain_run(1000 * SECOND);
			chain.bridge.opens_after_restart = how == 1;
			if (how == 3)
				bridge_shutdown(&chain.bridge);
			bridge_restart(&chain.bridge, how == 0);
			if (how == 2) { /* gone for so long that its LLDP has run out */
				chain.bridge.silent = true;
				chain_run(200 * SECOND);
				for (u32 i = 0; i < n; i++)
					assert_int_equal(chain.level[i].pe.state, PE_LOOKING);
				chain.bridge.silent = false;
			}
			chain_must(chain_settle((35 + 35 * n) * SECOND) != ~0ull);
			chain_must(chain_traffic());
		}
}

/* A bridge that answers each Open with one of its own does not drive anybody in circles. */
static void both_open(void **state)
{
	(void)state;
	EVERY_CHAIN(n, s) {
		begin(n, s);
		chain.bridge.opens_too = true;
		chain_all_up();
		chain_must(chain_settle(30 * SECOND) != ~0ull);
		chain_run(100 * SECOND);
		chain_must(chain_ready() && chain_traffic());
		assert_in_range(chain.bridge.nr_opens, n, 2 * n);
	}
}

/* The bridge opens in the middle of a session, and gives another E-CID then. */
static void reopened(void **state)
{
	(void)state;
	EVERY_CHAIN(n, s)
		for (u32 i = 0; i < n; i++) {
			bring_up(n, s);
			chain_run(60 * SECOND);
			u32 ecid = chain.level[i].x.own;
			struct bridge_pe *p = bridge_pe(&chain.bridge, i ? chain.level[i - 1].x.own : 0);
			chain.bridge.new_ecid = 1;
			bridge_open(&chain.bridge, p);
			chain_run(SECOND);
			chain_must(chain_settle(120 * SECOND) != ~0ull);
			chain_must(chain_traffic());
			assert_int_not_equal(chain.level[i].x.own, ecid);
		}
}

static void ecid_changes(void **state)
{
	(void)state;
	EVERY_CHAIN(n, s)
		for (u32 i = 0; i < n; i++)
			for (u32 how = 0; how < 3; how++) {
				bring_up(n, s);
				u32 ecid = chain.level[i].x.own;
				struct bridge_pe *p = bridge_pe(&chain.bridge, i ? chain.level[i - 1].x.own : 0);
				if (how == 0)
					bridge_change_ecid(&chain.bridge, p, 0xabcde);
				else if (how == 1)
					bridge_remove_ecid(&chain.bridge, p);
				else
					bridge_delete_port(&chain.bridge, p);
				chain_run(SECOND);
				assert_true(chain.level[i].x.own && chain.level[i].x.own != ecid); /* asked for at once */
				chain_must(chain_settle(120 * SECOND) != ~0ull);
				chain_must(chain_traffic());
				assert_int_not_equal(chain.level[i].x.own, ecid);
				if (!how)
					assert_int_equal(chain.level[i].x.own, 0xabcde);
			}
}

/* A level and all further in die, come back, and find their way again; in good order, the bridge hears of it at once. */
static void level_restarts(void **state)
{
	(void)state;
	EVERY_CHAIN(n, s)
		for (u32 i = 0; i < n; i++)
			for (u32 how = 0; how < 3; how++) {
				bring_up(n, s);
				if (how == 2)
					chain_down(i);
				else
					chain_kill(i);
				if (how == 1)
					chain_run(300 * SECOND); /* gone for longer than its LLDP lasts */
				else
					chain_run(SECOND / 10);
				if (how == 2 && i)
					chain_must(!bridge_pe(&chain.bridge, chain.level[i - 1].x.own));
				if (i && how) { /* what is left of the chain works */
					chain_must(chain_settle(60 * SECOND) != ~0ull);
					chain_must(chain_traffic());
				}
				chain_all_up();
				chain_must(chain_settle(120 * SECOND) != ~0ull);
				chain_must(chain_traffic());
			}
}

static void the_port_goes_and_comes(void **state)
{
	(void)state;
	for (u32 s = 0; s < 2; s++) {
		bring_up(1, s);
		struct chain_level *l = &chain.level[0];
		pe_csp_port(&l->pe, false, chain.now_us);
		assert_int_equal(l->x.own, 0); /* nothing of it from now on */
		chain_run(SECOND);
		assert_int_equal(l->pe.state, PE_OPEN);
		assert_int_equal(chain.bridge.nr_deletes, 1);
		assert_int_equal(bridge_pe(&chain.bridge, 0)->ecid, 0);
		chain_run(500 * SECOND);
		assert_int_equal(l->pe.state, PE_OPEN);
		pe_csp_port(&l->pe, true, chain.now_us);
		chain_must(chain_settle(30 * SECOND) != ~0ull);
		/* faster than the bridge answers */
		for (u32 k = 0; k < 7; k++)
			pe_csp_port(&l->pe, k & 1, chain.now_us);
		chain_run(SECOND);
		assert_int_equal(l->pe.state, PE_OPEN);
		pe_csp_port(&l->pe, true, chain.now_us);
		chain_must(chain_settle(30 * SECOND) != ~0ull);
		chain_must(chain_traffic());
		/* a Delete that nobody answers */
		chain.bridge.silent = true;
		pe_csp_port(&l->pe, false, chain.now_us);
		chain_run(60 * SECOND);
		pe_csp_port(&l->pe, true, chain.now_us);
		chain.bridge.silent = false;
		chain_must(chain_settle(60 * SECOND) != ~0ull);
		pe_csp_stop(&l->pe, chain.now_us);
		assert_int_equal(pe_csp_deadline(&l->pe), DEADLINE_NONE);
		assert_int_equal(l->x.own, 0);
		chain_run(SECOND);
		chain_must(!bridge_pe(&chain.bridge, 0));
		pe_csp_start(&l->pe, chain.now_us);
		chain_must(chain_settle(60 * SECOND) != ~0ull);
	}
}

/* Registers that cannot be done are refused whole. */
static struct extender x;
static struct pe_csp_engine engine;
static struct pe_csp last;
static u8 seq;
static void keep_answer(void *arg, u16 type, const u8 *body, u32 len)
{
	(void)arg;
	if (type == FRAME_TYPE_ECP && !(body[0] & 0x0c)) /* a request of ours */
		assert_int_equal(pe_csp_parse(body + ECP_LEN, len - ECP_LEN, &last), 0);
}
static int nowhere(void *arg, const u8 *frame, u32 len) { (void)arg, (void)frame, (void)len; return 0; }
static void to_engine(const struct pe_csp *m)
{
	u8 pdu[400];
	int n = ecp_build(pdu, sizeof(pdu), &(struct ecp){ ECP_REQUEST, ECP_PE_CSP, ++seq });
	n += pe_csp_build(pdu + n, sizeof(pdu) - (u32)n, m);
	pe_csp_receive(&engine, FRAME_TYPE_ECP, pdu, (u32)n, 1);
	n = ecp_build(pdu, sizeof(pdu), &(struct ecp){ ECP_ACK, ECP_PE_CSP, engine.ecp.seq });
	pe_csp_receive(&engine, FRAME_TYPE_ECP, pdu, (u32)n, 1);
}
static u8 register_result(const struct pe_csp_ecid *e, u32 n, u32 port)
{
	struct pe_csp m = { .command = PE_CSP_ECHANNEL_REGISTER, .transaction = seq, .has_port = true, .port = port, .nr_ecids = n };
	memcpy(m.ecid, e, n * sizeof(*e));
	to_engine(&m);
	assert_true(last.response && last.command == PE_CSP_ECHANNEL_REGISTER && last.transaction == m.transaction);
	assert_int_equal(last.port, port);
	return last.result;
}

static void engine_up(void)
{
	static const struct extender_ops xops = { nowhere, nowhere, NULL };
	static const struct pe_ops ops = { keep_answer, NULL };
	u8 pdu[128];
	struct lldp l = { { LLDP_CHASSIS_MAC, 6, (const u8 *)"bridge" }, { LLDP_PORT_LOCAL, 1, (const u8 *)"1" }, .ttl = 120, .has_pe = true };
	extender_init(&x, &(struct extender_conf){ .external = true, .cascade = true }, &xops, NULL);
	pe_csp_init(&engine, &(struct pe_conf){ .depth = 12, .port = 3 }, &x, &ops, NULL);
	assert_string_equal(engine.port_id, "pe12");
	pe_csp_start(&engine, 1);
	assert_int_equal(register_result(&(struct pe_csp_ecid){ 0, 9, PE_CSP_TAGGED }, 1, 3), PE_CSP_NOT_OPEN);
	pe_csp_receive(&engine, FRAME_TYPE_LLDP, pdu, (u32)lldp_build(pdu, sizeof(pdu), &l), 1);
	pe_csp_port(&engine, true, 1);
	for (u8 c = PE_CSP_OPEN; c <= PE_CSP_PORT_CREATE; c++) {
		struct pe_csp m = { .command = c, .response = true, .transaction = engine.transaction };
		assert_true(engine.asking && engine.command == c);
		if (c == PE_CSP_PORT_CREATE) {
			m.has_port = true;
			m.port = 3;
			m.nr_ecids = 1;
			m.ecid[0] = (struct pe_csp_ecid){ 0, 5, PE_CSP_UNTAGGED };
		}
		to_engine(&m);
	}
	assert_int_equal(engine.state, PE_UP);
	assert_int_equal(x.own, 5);
}

static void registers(void **state)
{
	(void)state;
	struct pe_csp_ecid e[40];
	engine_up();
	for (u32 i = 0; i < 40; i++)
		e[i] = (struct pe_csp_ecid){ 0, 100 + i, PE_CSP_TAGGED };
	assert_int_equal(register_result(e, 17, 3), PE_CSP_NO_RESOURCES);
	assert_int_equal(extender_room(&x, 0), EXTENDER_UNICAST);
	assert_int_equal(register_result(e, 16, 4), PE_CSP_NO_PORT);
	assert_int_equal(register_result(e, 16, 3), PE_CSP_SUCCESS);
	assert_int_equal(register_result(e, 16, 3), PE_CSP_SUCCESS);
	assert_int_equal(register_result(e + 16, 1, 3), PE_CSP_NO_RESOURCES);
	e[17] = (struct pe_csp_ecid){ 0, 100, PE_CSP_REMOVE }; /* makes place, though it comes second */
	assert_int_equal(register_result(e + 16, 2, 3), PE_CSP_SUCCESS);
	assert_true(extender_registered(&x, 0, 116) && !extender_registered(&x, 0, 100));
	e[1] = e[0] = (struct pe_csp_ecid){ 1, 7, PE_CSP_TAGGED };
	assert_int_equal(register_result(e, 2, 3), PE_CSP_MALFORMED);
	e[1] = (struct pe_csp_ecid){ 0, 5, PE_CSP_TAGGED }; /* our own */
	assert_int_equal(register_result(e, 2, 3), PE_CSP_REFUSED);
	assert_false(extender_registered(&x, 1, 7));
	e[1] = (struct pe_csp_ecid){ 0, 77, PE_CSP_REMOVE }; /* not there: fine */
	assert_int_equal(register_result(e, 2, 3), PE_CSP_SUCCESS);
	assert_true(extender_registered(&x, 1, 7));
	e[0] = (struct pe_csp_ecid){ 0, 6, PE_CSP_UNTAGGED };
	assert_int_equal(register_result(e, 1, 3), PE_CSP_SUCCESS);
	assert_int_equal(x.own, 6);
	assert_int_equal(engine.state, PE_UP);
	/* a bridge cannot create our port */
	to_engine(&(struct pe_csp){ .command = PE_CSP_PORT_CREATE, .transaction = 9, .has_port = true, .port = 3 });
	assert_int_equal(last.result, PE_CSP_REFUSED);
}

/* A bridge that asks and acknowledges nothing: answers queue up to their bound, then its requests stay unacknowledged. */
static void a_flood_of_requests(void **state)
{
	(void)state;
	engine_up();
	u8 pdu[100];
	for (u32 i = 0; i < 100; i++) {
		int n = ecp_build(pdu, sizeof(pdu), &(struct ecp){ ECP_REQUEST, ECP_PE_CSP, (u16)(1000 + i) });
		n += pe_csp_build(pdu + n, sizeof(pdu) - (u32)n, &(struct pe_csp){ .command = PE_CSP_ECHANNEL_REGISTER, .transaction = (u16)i,
		                  .has_port = true, .port = 3, .nr_ecids = 1, .ecid = { { 2, 1 + i % 3, PE_CSP_UNTAGGED } } });
		pe_csp_receive(&engine, FRAME_TYPE_ECP, pdu, (u32)n, 2);
	}
	assert_int_equal(engine.nr_answers, PE_CSP_ANSWERS);
	assert_int_equal(engine.ecp.count.no_room, 100 - PE_CSP_ANSWERS - 1);
	u64 now = 2;
	for (u32 i = 0; i < 200; i++) {
		now = MIN(pe_csp_deadline(&engine), now + SECOND);
		pe_csp_tick(&engine, now);
	}
	assert_int_equal(engine.nr_answers, 0);
}

static void garbage(void **state)
{
	(void)state;
	u8 body[120];
	srand(11);
	engine_up();
	for (u32 i = 0; i < 100000; i++) {
		u32 len = (u32)rand() % sizeof(body);
		for (u32 k = 0; k < len; k++)
			body[k] = (u8)rand();
		u16 type = rand() % 2 ? FRAME_TYPE_ECP : FRAME_TYPE_LLDP;
		if (type == FRAME_TYPE_ECP && len > 8 && rand() % 4) {
			(void)ecp_build(body, 4, &(struct ecp){ (u8)(rand() % 2), ECP_PE_CSP, (u16)rand() });
			be16_put(body + 4, (u32)(1 + rand() % 4) << 9 | 4);
			body[6] &= 1;
		}
		u8 *exact = malloc(len + !len);
		memcpy(exact, body, len);
		pe_csp_receive(&engine, type, exact, len, 3 + i);
		free(exact);
		pe_csp_tick(&engine, 3 + i);
		assert_true(pe_csp_deadline(&engine) > 3 + i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(from_nothing), cmocka_unit_test(registrations), cmocka_unit_test(late_join), cmocka_unit_test(single_faults),
		cmocka_unit_test(an_awful_wire), cmocka_unit_test(bad_answers), cmocka_unit_test(a_lasting_refusal),
		cmocka_unit_test(bridge_restarts), cmocka_unit_test(both_open), cmocka_unit_test(reopened), cmocka_unit_test(ecid_changes),
		cmocka_unit_test(level_restarts), cmocka_unit_test(the_port_goes_and_comes), cmocka_unit_test(registers),
		cmocka_unit_test(a_flood_of_requests), cmocka_unit_test(garbage),
	};
	return cmocka_run_group_tests_name("pe_csp", tests, NULL, NULL);
}
