/*
 * LLDPDUs: the bytes that lldpad and the standards have, and every rule that a PDU can break.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/errno.h"
#include "nic/frame.h"
#include "tests/unit/codecs.h"

/* A station's PDU: chassis by MAC, a port's name of our own, the EVB TLV as lldpad's station sends it, Port Extension. */
#define CHASSIS 0x02, 0x07, 0x04, 0x02, 0, 0, 0, 0, 0x01
#define PORT 0x04, 0x06, 0x07, 'p', 'o', 'r', 't', '0'
#define TTL 0x06, 0x02, 0x00, 0x78
#define EVB 0xfe, 0x09, 0x00, 0x80, 0xc2, 0x0d, 0x03, 0x05, 0x68, 0xb4, 0x34
#define PE 0xfe, 0x11, 0x00, 0x80, 0xc2, 0x0f, 0x80, 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 3
#define END 0, 0

static const u8 station[] = { CHASSIS, PORT, TTL, EVB, PE, END };
static const struct lldp said = {
	.chassis = { LLDP_CHASSIS_MAC, 6, (const u8[]){ 2, 0, 0, 0, 0, 1 } },
	.port = { LLDP_PORT_LOCAL, 5, (const u8[]){ 'p', 'o', 'r', 't', '0' } },
	.ttl = 120,
	.has_evb = true,
	.evb = { .bridge = LLDP_EVB_RRCAP | LLDP_EVB_RRCTR, .station = LLDP_EVB_RRREQ | 1, .retries = 3, .rte = 8,
		 .mode = LLDP_EVB_STATION, .remote_wait = true, .rwd = 20, .remote_keep = true, .rka = 20 },
	.has_pe = true,
	.pe = { .priority = 0x80, .pe = { 2, 0, 0, 0, 0, 2 }, .csp = { 2, 0, 0, 0, 0, 3 } },
};

static void bytes(void **state)
{
	(void)state;
	struct lldp l;
	u8 out[128];
	assert_int_equal(lldp_build(out, sizeof(out), &said), sizeof(station));
	assert_memory_equal(out, station, sizeof(station));
	assert_int_equal(lldp_parse(station, sizeof(station), &l), 0);
	assert_true(codec_lldp.equal(&said, &l));
}

/* As lldpad's bridge says it at first: bridge mode, its own delays. */
static void a_bridge(void **state)
{
	(void)state;
	static const u8 pdu[] = { CHASSIS, 0x04, 0x07, 0x03, 2, 0, 0, 0, 0, 9, TTL, 0xfe, 0x09, 0x00, 0x80, 0xc2, 0x0d, 0x02, 0x00, 0x68,
				  0x54, 0x14, END };
	struct lldp l;
	assert_int_equal(lldp_parse(pdu, sizeof(pdu), &l), 0);
	assert_int_equal(l.port.subtype, LLDP_PORT_MAC);
	assert_true(l.has_evb && !l.has_pe);
	assert_int_equal(l.evb.bridge, LLDP_EVB_RRCAP);
	assert_int_equal(l.evb.mode, LLDP_EVB_BRIDGE);
	assert_false(l.evb.remote_wait || l.evb.remote_keep);
	assert_int_equal(l.evb.rwd, 20);
	assert_int_equal(lldp_evb_us(l.evb.rka), 10485760); /* half a second more than ten, as measured */
}

static int parsed(const u8 *pdu, u32 len)
{
	struct lldp l;
	return codec_parse(&codec_lldp, pdu, len, &l);
}
#define PARSED(...) parsed((const u8[]){ __VA_ARGS__ }, sizeof((const u8[]){ __VA_ARGS__ }))

static void mandatory_ones(void **state)
{
	(void)state;
	assert_int_equal(PARSED(CHASSIS, PORT, TTL, END), 0);
	assert_int_equal(PARSED(CHASSIS, PORT, TTL), 0); /* End may be missing */
	assert_int_equal(PARSED(CHASSIS, PORT, TTL, 0), -EINVAL);
	assert_int_equal(PARSED(CHASSIS, PORT, END), -EINVAL);
	assert_int_equal(PARSED(CHASSIS, PORT, EVB, END), -EINVAL);
	assert_int_equal(PARSED(CHASSIS, TTL, END), -EINVAL);
	assert_int_equal(PARSED(PORT, TTL, END), -EINVAL);
	assert_int_equal(PARSED(END), -EINVAL);
	assert_int_equal(parsed(station, 0), -EINVAL);
}

static void order(void **state)
{
	(void)state;
	assert_int_equal(PARSED(PORT, CHASSIS, TTL, END), -EINVAL);
	assert_int_equal(PARSED(CHASSIS, TTL, PORT, END), -EINVAL);
	assert_int_equal(PARSED(EVB, CHASSIS, PORT, TTL, END), -EINVAL);
	assert_int_equal(PARSED(CHASSIS, PORT, EVB, TTL, END), -EINVAL);
	assert_int_equal(PARSED(CHASSIS, PORT, TTL, PE, EVB, END), 0);
}

static void duplicates(void **state)
{
	(void)state;
	assert_int_equal(PARSED(CHASSIS, PORT, TTL, CHASSIS, END), -EINVAL);
	assert_int_equal(PARSED(CHASSIS, PORT, TTL, PORT, END), -EINVAL);
	assert_int_equal(PARSED(CHASSIS, PORT, TTL, TTL, END), -EINVAL);
	assert_int_equal(PARSED(CHASSIS, PORT, TTL, EVB, EVB, END), -EINVAL);
	assert_int_equal(PARSED(CHASSIS, PORT, TTL, PE, EVB, PE, END), -EINVAL);
}

static void lengths_of_tlvs(void **state)
{
	(void)state;
	assert_int_equal(PARSED(2, 1, 4, PORT, TTL, END), -EINVAL);
	assert_int_equal(PARSED(2, 2, 4, 1, PORT, TTL, END), 0);
	assert_int_equal(PARSED(CHASSIS, 4, 0, TTL, END), -EINVAL);
	assert_int_equal(PARSED(CHASSIS, PORT, 6, 1, 0x78, END), -EINVAL);
	assert_int_equal(PARSED(CHASSIS, PORT, 6, 3, 0, 0x78, 0, END), -EINVAL);
	assert_int_equal(PARSED(CHASSIS, PORT, TTL, 0, 1, 0), -EINVAL);
	assert_int_equal(PARSED(CHASSIS, PORT, TTL, 0xfe, 3, 0, 0x80, 0xc2, END), -EINVAL);
	assert_int_equal(PARSED(CHASSIS, PORT, TTL, 0xfe, 8, 0, 0x80, 0xc2, 0x0d, 3, 5, 0x68, 0xb4, END), -EINVAL);
	assert_int_equal(PARSED(CHASSIS, PORT, TTL, 0xfe, 10, 0, 0x80, 0xc2, 0x0d, 3, 5, 0x68, 0xb4, 0x34, 0, END), -EINVAL);
	assert_int_equal(PARSED(CHASSIS, PORT, TTL, 0xfe, 4, 0, 0x80, 0xc2, 0x0f, END), -EINVAL);
	assert_int_equal(PARSED(CHASSIS, PORT, TTL, 8, 200, 1, 2, 3), -EINVAL); /* longer than the PDU */
}

static void others_are_skipped(void **state)
{
	(void)state;
	static const u8 pdu[] = { CHASSIS, PORT, TTL, 8, 0, 10, 3, 'a', 'b', 'c', 0xfe, 5, 0, 0x12, 0x0f, 1, 7, 8, 0, EVB, 0x12, 2, 1, 1,
				  0xfe, 4, 0, 0x80, 0xc2, 0x0e, END, 0xff, 0xff, 0xff };
	struct lldp l;
	assert_int_equal(lldp_parse(pdu, sizeof(pdu), &l), 0);
	assert_true(l.has_evb && !l.has_pe);
	assert_int_equal(l.evb.rte, 8);
}

static void a_refused_one_changes_nothing(void **state)
{
	(void)state;
	struct lldp l = said;
	assert_int_equal(lldp_parse(station, sizeof(station) - 4, &l), -EINVAL);
	assert_true(codec_lldp.equal(&said, &l));
}

static void longest_names(void **state)
{
	(void)state;
	static u8 name[LLDP_ID_MAX + 1], pdu[1024];
	struct lldp l = said, got;
	l.chassis = (struct lldp_id){ 1, LLDP_ID_MAX, name };
	l.port = l.chassis;
	int n = lldp_build(pdu, sizeof(pdu), &l);
	assert_int_equal(n, 2 * (2 + 256) + 4 + 11 + 19 + 2);
	assert_int_equal(lldp_parse(pdu, (u32)n, &got), 0);
	assert_int_equal(got.port.len, LLDP_ID_MAX);
	l.port.len++;
	assert_int_equal(lldp_build(pdu, sizeof(pdu), &l), -EINVAL);
	l.port.len = 0;
	assert_int_equal(lldp_build(pdu, sizeof(pdu), &l), -EINVAL);
	assert_int_equal(PARSED(2, 0, PORT, TTL, END), -EINVAL);
	memset(pdu, 1, sizeof(pdu));
	pdu[0] = 3; /* 257 bytes: subtype and 256 */
	pdu[1] = 1;
	memcpy(pdu + 259, (const u8[]){ PORT, TTL, END }, 14);
	assert_int_equal(parsed(pdu, sizeof(pdu)), -EINVAL);
}

static void out_of_range(void **state)
{
	(void)state;
	static const struct lldp_evb bad[] = { { .bridge = 8 }, { .station = 16 }, { .retries = 8 }, { .rte = 32 }, { .mode = 4 },
					       { .rwd = 32 }, { .rka = 32 } };
	u8 pdu[128];
	struct lldp l = said;
	for (u32 i = 0; i < ARRAY_SIZE(bad); i++) {
		l.evb = bad[i];
		assert_int_equal(lldp_build(pdu, sizeof(pdu), &l), -EINVAL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes),
		cmocka_unit_test(a_bridge),
		cmocka_unit_test(mandatory_ones),
		cmocka_unit_test(order),
		cmocka_unit_test(duplicates),
		cmocka_unit_test(lengths_of_tlvs),
		cmocka_unit_test(others_are_skipped),
		cmocka_unit_test(a_refused_one_changes_nothing),
		cmocka_unit_test(longest_names),
		cmocka_unit_test(out_of_range),
		CODEC_PROPERTIES(codec_lldp, 2000, 60, 12),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
