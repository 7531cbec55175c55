/*
 * ECP's clockwork: repetition, acknowledgement, duplicates; and LLDP's: when PDUs are due, who the neighbour is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/errno.h"
#include "nic/ecp_link.h"
#include "nic/frame.h"
#include "nic/lldp_agent.h"

#define RTE_US (10ull << ECP_LINK_RTE)

/* Two ends; what one sends waits in `line` for the other. */
static struct end {
	struct ecp_link l;
	u32 delivered, acknowledged, failed;
	u32 last;              /* number in the last payload delivered */
	bool full;
	struct { u32 nr, len; u8 pdu[64][400]; } line; /* len: of the last one sent */
} end[2];
static u64 now;

static void send(void *arg, const u8 *pdu, u32 len)
{
	struct end *e = arg;
	assert_in_range(len, ECP_LEN, 400);
	assert_in_range(e->line.nr, 0, 63);
	e->line.len = len;
	memcpy(e->line.pdu[e->line.nr++], pdu, len);
}
static bool room(void *arg) { return !((struct end *)arg)->full; }
static void deliver(void *arg, const u8 *payload, u32 len, u64 now_us)
{
	struct end *e = arg;
	assert_int_equal(now_us, now);
	assert_int_equal(len, 20);
	e->delivered++;
	e->last = be32_get(payload);
}
static void done(void *arg, bool acknowledged, u64 now_us)
{
	struct end *e = arg;
	assert_int_equal(now_us, now);
	*(acknowledged ? &e->acknowledged : &e->failed) += 1;
}
static const struct ecp_link_ops ops = { send, room, deliver, done };

static int begin(void **state)
{
	(void)state;
	now = 1000000;
	memset(end, 0, sizeof(end));
	for (u32 i = 0; i < 2; i++)
		ecp_link_init(&end[i].l, ECP_VDP, (u16)(100 * i), &ops, &end[i]);
	return 0;
}

static int request(u32 i, u32 number)
{
	u8 payload[20] = { 0 };
	be32_put(payload, number);
	return ecp_link_request(&end[i].l, payload, sizeof(payload), now);
}

/* What end i has sent first reaches the other one, or not. */
static void carry(u32 i, bool lost)
{
	struct end *e = &end[i];
	u8 pdu[400];
	assert_true(e->line.nr);
	memcpy(pdu, e->line.pdu[0], 400);
	e->line.nr--;
	memmove(e->line.pdu[0], e->line.pdu[1], e->line.nr * sizeof(e->line.pdu[0]));
	if (!lost)
		ecp_link_receive(&end[!i].l, pdu, pdu[0] == 0x10 ? 24 : ECP_LEN, now);
}

static void on_the_wire(void **state)
{
	(void)state;
	assert_int_equal(request(1, 5), 0);
	assert_int_equal(end[1].line.len, 24);
	assert_memory_equal(end[1].line.pdu[0], "\x10\x01\x00\x65\x00\x00\x00\x05", 8);
	carry(1, false);
	assert_int_equal(end[0].line.len, 4);
	assert_memory_equal(end[0].line.pdu[0], "\x14\x01\x00\x65", 4);
	assert_int_equal(end[0].delivered, 1);
	assert_true(ecp_link_busy(&end[1].l));
	carry(0, false);
	assert_int_equal(end[1].acknowledged, 1);
	assert_false(ecp_link_busy(&end[1].l));
	assert_int_equal(ecp_link_deadline(&end[1].l), DEADLINE_NONE);
}

static void refused_requests(void **state)
{
	(void)state;
	u8 payload[ECP_LINK_PAYLOAD_MAX + 1] = { 0 };
	assert_int_equal(ecp_link_request(&end[0].l, payload, sizeof(payload), now), -EINVAL);
	assert_int_equal(ecp_link_request(&end[0].l, payload, 0, now), -EINVAL);
	assert_int_equal(end[0].line.nr, 0);
	assert_int_equal(ecp_link_request(&end[0].l, payload, sizeof(payload) - 1, now), 0);
	assert_int_equal(request(0, 1), -EBUSY);
	ecp_link_cancel(&end[0].l);
	assert_int_equal(request(0, 1), 0);
	assert_int_equal(end[0].failed + end[0].acknowledged, 0);
}

/* 1 + R transmissions, 10 · 2^RTE µs apart, then it has failed. */
static void repetition(void **state)
{
	(void)state;
	for (u8 r = 0; r <= 7; r++) {
		begin(NULL);
		ecp_link_set(&end[0].l, 10, r);
		assert_int_equal(request(0, 1), 0);
		for (u32 i = 0; i <= r; i++) {
			assert_int_equal(end[0].line.nr, i + 1);
			assert_memory_equal(end[0].line.pdu[i], end[0].line.pdu[0], 24);
			assert_int_equal(ecp_link_deadline(&end[0].l), now + 10240);
			now += 10239;
			ecp_link_tick(&end[0].l, now);
			assert_int_equal(end[0].line.nr, i + 1);
			now++;
			ecp_link_tick(&end[0].l, now);
		}
		assert_int_equal(end[0].failed, 1);
		assert_int_equal(ecp_link_deadline(&end[0].l), DEADLINE_NONE);
		now += 1000000;
		ecp_link_tick(&end[0].l, now);
		assert_int_equal(end[0].line.nr, r + 1u);
		assert_int_equal(end[0].failed, 1);
		assert_int_equal(request(0, 2), 0);
	}
}

static void lost_request_and_lost_ack(void **state)
{
	(void)state;
	assert_int_equal(request(0, 7), 0);
	carry(0, true);
	now += RTE_US;
	ecp_link_tick(&end[0].l, now);
	carry(0, false);
	carry(1, true); /* the acknowledgement */
	now += RTE_US;
	ecp_link_tick(&end[0].l, now);
	carry(0, false);
	assert_int_equal(end[1].delivered, 1);
	assert_int_equal(end[1].l.count.duplicates, 1);
	carry(1, false);
	assert_int_equal(end[0].acknowledged, 1);
	assert_int_equal(end[0].l.count.repeats, 2);
}

static void strange_acks(void **state)
{
	(void)state;
	assert_int_equal(request(0, 7), 0);
	ecp_link_receive(&end[0].l, (const u8 *)"\x14\x01\x00\x02", 4, now);   /* another number */
	ecp_link_receive(&end[0].l, (const u8 *)"\x14\x02\x00\x01", 4, now);   /* another protocol's */
	ecp_link_receive(&end[0].l, (const u8 *)"\x24\x01\x00\x01", 4, now);   /* another version */
	ecp_link_receive(&end[0].l, (const u8 *)"\x18\x01\x00\x01", 4, now);   /* no such operation */
	ecp_link_receive(&end[0].l, (const u8 *)"\x14\x01\x00", 3, now);
	assert_true(ecp_link_busy(&end[0].l));
	assert_int_equal(end[0].l.count.stray_acks, 1);
	assert_int_equal(end[0].l.count.malformed, 3);
	ecp_link_receive(&end[0].l, (const u8 *)"\x14\x01\x00\x01pad", 7, now);
	ecp_link_receive(&end[0].l, (const u8 *)"\x14\x01\x00\x01", 4, now);   /* a copy */
	assert_int_equal(end[0].acknowledged, 1);
	assert_int_equal(end[0].l.count.stray_acks, 2);
}

static void no_room_no_ack(void **state)
{
	(void)state;
	end[1].full = true;
	assert_int_equal(request(0, 7), 0);
	carry(0, false);
	assert_int_equal(end[1].line.nr, 0);
	end[1].full = false;
	now += RTE_US;
	ecp_link_tick(&end[0].l, now);
	carry(0, false);
	assert_int_equal(end[1].delivered, 1);
	assert_int_equal(end[1].line.nr, 1);
}

static void a_peer_that_begins_anew(void **state)
{
	(void)state;
	for (u32 again = 1; again <= 2; again++) { /* with the number of before, and the same content or another */
		begin(NULL);
		assert_int_equal(request(0, 1), 0);
		carry(0, false);
		carry(1, false);
		ecp_link_init(&end[0].l, ECP_VDP, 0, &ops, &end[0]);
		assert_int_equal(request(0, again), 0);
		carry(0, false);
		assert_int_equal(end[1].delivered, again);
		ecp_link_reset(&end[1].l);
		now += RTE_US;
		ecp_link_tick(&end[0].l, now);
		carry(0, false);
		assert_int_equal(end[1].delivered, again + 1);
	}
}

static void numbers_skip_zero(void **state)
{
	(void)state;
	ecp_link_init(&end[0].l, ECP_VDP, 0xfffe, &ops, &end[0]);
	assert_int_equal(request(0, 1), 0);
	ecp_link_cancel(&end[0].l);
	assert_int_equal(request(0, 1), 0);
	assert_memory_equal(end[0].line.pdu[0], "\x10\x01\xff\xff", 4);
	assert_memory_equal(end[0].line.pdu[1], "\x10\x01\x00\x01", 4);
}

/* On a line that loses and doubles: what is acknowledged was delivered once, and nothing twice. */
static void bad_line(void **state)
{
	(void)state;
	u32 number[2] = { 0 }, seen[2] = { 0 };
	srand(9);
	for (u32 step = 0; step < 200000; step++) {
		u32 i = (u32)rand() & 1, before = end[!i].delivered, acks = end[i].acknowledged;
		switch (rand() % 3) {
		case 0:
			number[i] += !request(i, number[i] + 1);
			break;
		case 1:
			if (!end[i].line.nr)
				break;
			if (rand() % 8 == 0 && end[i].line.nr < 60) { /* a copy of it comes next */
				memmove(end[i].line.pdu[1], end[i].line.pdu[0], end[i].line.nr * sizeof(end[i].line.pdu[0]));
				end[i].line.nr++;
			}
			carry(i, rand() % 3 == 0);
			break;
		default:
			if (end[i].line.nr + end[!i].line.nr) /* what is on the line arrives before a timer ends */
				break;
			now += RTE_US;
			ecp_link_tick(&end[0].l, now);
			ecp_link_tick(&end[1].l, now);
		}
		if (end[!i].delivered != before) {
			assert_int_equal(end[!i].delivered, before + 1);
			assert_true(end[!i].last > seen[!i]);
			seen[!i] = end[!i].last;
		}
		if (end[i].acknowledged != acks)
			assert_int_equal(seen[!i], number[i]);
	}
	for (u32 i = 0; i < 2; i++) {
		assert_in_range(end[i].acknowledged, 1000, 200000);
		assert_in_range(end[i].failed, 100, 200000);
		assert_in_range(number[i] - end[i].acknowledged - end[i].failed, 0, 1);
	}
}

static void answer_time(void **state)
{
	(void)state;
	/* what a bridge computes for its keep-alive timer with R 3, RTE 14, RKA 20; HPE's manuals have a table of these */
	assert_int_equal(ecp_link_answer_us(&end[0].l, 10ull << 20), (7 * (10ull << 14) + (10ull << 20)) * 3 / 2);
	ecp_link_set(&end[0].l, 14, 3);
	assert_int_equal(ecp_link_answer_us(&end[0].l, 0) / 1000, 1720);
}

/* ---- LLDP ---- */

static struct lldp neighbour(const char *port, u16 ttl)
{
	return (struct lldp){
		.chassis = { LLDP_CHASSIS_MAC, 6, (const u8 *)"\2\0\0\0\0\1" },
		.port = { LLDP_PORT_LOCAL, (u32)strlen(port), (const u8 *)port },
		.ttl = ttl,
	};
}

static u32 due_until(struct lldp_agent *a, u64 until)
{
	u32 n = 0;
	while (a->next_us <= until) {
		now = MAX(now, a->next_us);
		n += lldp_agent_due(a, now);
	}
	now = until;
	return n;
}

static void lldp_timing(void **state)
{
	(void)state;
	struct lldp_agent a;
	lldp_agent_start(&a, now);
	assert_int_equal(lldp_agent_deadline(&a), now);
	assert_true(lldp_agent_due(&a, now));
	assert_false(lldp_agent_due(&a, now));
	u64 from = now;
	assert_int_equal(due_until(&a, from + 3 * LLDP_AGENT_FAST_US), 3);
	assert_int_equal(due_until(&a, from + 3 * LLDP_AGENT_FAST_US + 10 * LLDP_AGENT_SEARCH_US), 10);
	struct lldp one = neighbour("1", 0xffff);
	assert_int_equal(lldp_agent_heard(&a, &one, now), LLDP_NEW);
	from = now + LLDP_AGENT_GAP_US;
	assert_int_equal(due_until(&a, from + 3 * LLDP_AGENT_FAST_US), 4);
	assert_int_equal(due_until(&a, from + 3 * LLDP_AGENT_FAST_US + 10 * LLDP_AGENT_US), 10);
	lldp_agent_hurry(&a, now);
	assert_false(lldp_agent_due(&a, now)); /* just sent one */
	assert_int_equal(lldp_agent_deadline(&a), now + LLDP_AGENT_GAP_US);
	now += LLDP_AGENT_GAP_US;
	assert_true(lldp_agent_due(&a, now));
	lldp_agent_stop(&a);
	assert_int_equal(lldp_agent_deadline(&a), DEADLINE_NONE);
	assert_false(lldp_agent_due(&a, now + 100 * LLDP_AGENT_US));
}

static void lldp_neighbours(void **state)
{
	(void)state;
	struct lldp_agent a;
	struct lldp one = neighbour("1", 120), two = neighbour("2", 5);
	lldp_agent_start(&a, now);
	(void)due_until(&a, now + 100 * LLDP_AGENT_US);
	assert_int_equal(lldp_agent_heard(&a, &one, now), LLDP_NEW);
	assert_in_range(lldp_agent_deadline(&a), now, now + LLDP_AGENT_GAP_US); /* it hears of us soon */
	now += 119999999;
	assert_false(lldp_agent_expired(&a, now));
	assert_int_equal(lldp_agent_heard(&a, &one, now), LLDP_SAME);
	now += 119999999;
	assert_false(lldp_agent_expired(&a, now));
	now++;
	assert_true(lldp_agent_expired(&a, now));
	assert_false(lldp_agent_expired(&a, now));
	assert_int_equal(lldp_agent_heard(&a, &one, now), LLDP_NEW);
	assert_int_equal(lldp_agent_heard(&a, &two, now), LLDP_NEW);
	one.ttl = 0;
	assert_int_equal(lldp_agent_heard(&a, &one, now), LLDP_NONE);
	two.ttl = 0;
	assert_int_equal(lldp_agent_heard(&a, &two, now), LLDP_GONE);
	assert_int_equal(lldp_agent_heard(&a, &two, now), LLDP_NONE);
	assert_false(lldp_agent_expired(&a, now + 1000 * LLDP_AGENT_US));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(on_the_wire, begin), cmocka_unit_test_setup(refused_requests, begin),
		cmocka_unit_test_setup(repetition, begin), cmocka_unit_test_setup(lost_request_and_lost_ack, begin),
		cmocka_unit_test_setup(strange_acks, begin), cmocka_unit_test_setup(no_room_no_ack, begin),
		cmocka_unit_test_setup(a_peer_that_begins_anew, begin), cmocka_unit_test_setup(numbers_skip_zero, begin),
		cmocka_unit_test_setup(bad_line, begin), cmocka_unit_test_setup(answer_time, begin),
		cmocka_unit_test_setup(lldp_timing, begin), cmocka_unit_test_setup(lldp_neighbours, begin),
	};
	return cmocka_run_group_tests_name("ecp_link", tests, NULL, NULL);
}
