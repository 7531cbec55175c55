/*
 * PE-CSP PDUs: the table of pe_csp_pdu.h, row by row, and every rule that a PDU can break. Numbers come from pe_csp_codes.h, so that a
 * correction there needs none here.
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
#include "nic/pe_csp_codes.h"

#define COMMAND(type, ...) (type) << 1, 4, __VA_ARGS__, 0x12, 0x34
#define PORT PE_CSP_TLV_PORT << 1, 6, 0, 0, 0, 0, 1, 2
#define ECIDS(n) PE_CSP_TLV_ECIDS << 1, 4 * (n)
#define END 0, 0
#define ASK PE_CSP_OP_REQUEST, 0
#define ANSWER PE_CSP_OP_RESPONSE, 0
#define OPEN(...) COMMAND(PE_CSP_TLV_OPEN, __VA_ARGS__)
#define CREATE(...) COMMAND(PE_CSP_TLV_PORT_CREATE, __VA_ARGS__)
#define DELETE(...) COMMAND(PE_CSP_TLV_PORT_DELETE, __VA_ARGS__)
#define REGISTER(...) COMMAND(PE_CSP_TLV_ECHANNEL_REGISTER, __VA_ARGS__)
#define NO PE_CSP_OP_RESPONSE, PE_CSP_NO_RESOURCES

static struct pe_csp got;
static int parsed(const u8 *pdu, u32 len) { return codec_parse(&codec_pe_csp, pdu, len, &got); }
#define PARSED(...) parsed((const u8[]){ __VA_ARGS__ }, sizeof((const u8[]){ __VA_ARGS__ }))

static void assert_is(const struct pe_csp *m, const u8 *pdu, u32 len)
{
	u8 out[512];
	assert_int_equal(pe_csp_build(out, sizeof(out), m), len);
	assert_memory_equal(out, pdu, len);
	assert_int_equal(parsed(pdu, len), 0);
	assert_true(codec_pe_csp.equal(m, &got));
}
#define ASSERT_IS(m, ...) assert_is(m, (const u8[]){ __VA_ARGS__ }, sizeof((const u8[]){ __VA_ARGS__ }))

static void bytes(void **state)
{
	(void)state;
	struct pe_csp m = { .command = PE_CSP_OPEN, .transaction = 0x1234 };
	ASSERT_IS(&m, OPEN(ASK), END);
	m.response = true;
	ASSERT_IS(&m, OPEN(ANSWER), END);

	m = (struct pe_csp){ .command = PE_CSP_PORT_CREATE, .transaction = 0x1234, .has_port = true, .port = 0x102 };
	ASSERT_IS(&m, CREATE(ASK), PORT, END);
	m.response = true;
	m.nr_ecids = 1;
	m.ecid[0] = (struct pe_csp_ecid){ 0, 0x12345, PE_CSP_UNTAGGED };
	ASSERT_IS(&m, CREATE(ANSWER), PORT, ECIDS(1), 0x10, 0x01, 0x23, 0x45, END);

	m = (struct pe_csp){ .command = PE_CSP_ECHANNEL_REGISTER, .transaction = 0x1234, .has_port = true, .port = 0x102, .nr_ecids = 2 };
	m.ecid[0] = (struct pe_csp_ecid){ 3, 0xfffff, PE_CSP_TAGGED };
	m.ecid[1] = (struct pe_csp_ecid){ 1, 1, PE_CSP_REMOVE };
	ASSERT_IS(&m, REGISTER(ASK), PORT, ECIDS(2), 0x20, 0x3f, 0xff, 0xff, 0x00, 0x10, 0x00, 0x01, END);
	m.response = true;
	m.nr_ecids = 0;
	ASSERT_IS(&m, REGISTER(ANSWER), PORT, END);

	m = (struct pe_csp){ .command = PE_CSP_PORT_DELETE, .transaction = 0x1234, .response = true, .result = PE_CSP_NO_RESOURCES,
			     .has_port = true, .kind = PE_CSP_CASCADE, .port = 0x102 };
	ASSERT_IS(&m, DELETE(NO), PE_CSP_TLV_PORT << 1, 6, 1, 0, 0, 0, 1, 2, END);
}

#define ONE ECIDS(1), 0x10, 0, 0, 1

/* What the table of the header gives to each, and nothing else. */
static void the_table(void **state)
{
	(void)state;
	assert_int_equal(PARSED(OPEN(ASK)), 0); /* End may be missing */
	assert_int_equal(PARSED(OPEN(NO), END), 0);
	assert_int_equal(PARSED(OPEN(ASK), PORT, END), -EINVAL);
	assert_int_equal(PARSED(OPEN(ASK), ONE, END), -EINVAL);

	assert_int_equal(PARSED(CREATE(ASK), END), -EINVAL);
	assert_int_equal(PARSED(CREATE(ASK), PORT, ONE, END), -EINVAL);
	assert_int_equal(PARSED(CREATE(ANSWER), PORT, END), -EINVAL);
	assert_int_equal(PARSED(CREATE(ANSWER), ONE, END), -EINVAL);
	assert_int_equal(PARSED(CREATE(ANSWER), PORT, ONE, END), 0);
	assert_int_equal(PARSED(CREATE(ANSWER), ONE, PORT, END), 0); /* in any order */
	assert_int_equal(PARSED(CREATE(ANSWER), PORT, ECIDS(2), 0x10, 0, 0, 1, 0x10, 0, 0, 2, END), -EINVAL);
	assert_int_equal(PARSED(CREATE(ANSWER), PORT, ECIDS(1), 0x10, 0x10, 0, 1, END), -EINVAL); /* a group */
	assert_int_equal(PARSED(CREATE(ANSWER), PORT, ECIDS(1), 0x00, 0, 0, 1, END), -EINVAL); /* removed */
	assert_int_equal(PARSED(CREATE(NO), PORT, END), 0);
	assert_int_equal(PARSED(CREATE(NO), PORT, ONE, END), -EINVAL);

	assert_int_equal(PARSED(DELETE(ASK), PORT, END), 0);
	assert_int_equal(PARSED(DELETE(ASK), END), -EINVAL);
	assert_int_equal(PARSED(DELETE(ASK), PORT, ONE, END), -EINVAL);

	assert_int_equal(PARSED(REGISTER(ASK), PORT, ONE, END), 0);
	assert_int_equal(PARSED(REGISTER(ASK), PORT, END), -EINVAL);
	assert_int_equal(PARSED(REGISTER(ASK), ONE, END), -EINVAL);
	assert_int_equal(PARSED(REGISTER(ANSWER), PORT, ONE, END), -EINVAL);
}

static void one_command_and_it_first(void **state)
{
	(void)state;
	assert_int_equal(PARSED(OPEN(ASK), OPEN(ASK), END), -EINVAL);
	assert_int_equal(PARSED(CREATE(ASK), PORT, DELETE(ASK), END), -EINVAL);
	assert_int_equal(PARSED(PORT, CREATE(ASK), END), -ENOTSUP); /* a command that we do not know, as it seems */
	assert_int_equal(PARSED(COMMAND(0x7e, ASK), END), -ENOTSUP);
	assert_int_equal(PARSED(END), -EINVAL);
	assert_int_equal(PARSED(END, OPEN(ASK)), -EINVAL);
	assert_int_equal(parsed(NULL, 0), -EINVAL);
}

static void duplicates(void **state)
{
	(void)state;
	assert_int_equal(PARSED(DELETE(ASK), PORT, PORT, END), -EINVAL);
	assert_int_equal(PARSED(REGISTER(ASK), PORT, ONE, ONE, END), -EINVAL);
}

static void lengths_and_limits(void **state)
{
	(void)state;
	assert_int_equal(PARSED(PE_CSP_TLV_OPEN << 1, 3, 0, 0, 0, END), -EINVAL);
	assert_int_equal(PARSED(PE_CSP_TLV_OPEN << 1, 5, 0, 0, 0, 0, 0, END), -EINVAL);
	assert_int_equal(PARSED(OPEN(2, 0), END), -EINVAL);
	assert_int_equal(PARSED(OPEN(PE_CSP_OP_REQUEST, 1), END), -EINVAL); /* a request has no result */
	assert_int_equal(PARSED(OPEN(PE_CSP_OP_RESPONSE, PE_CSP_NR_RESULTS - 1), END), 0);
	assert_int_equal(PARSED(OPEN(PE_CSP_OP_RESPONSE, PE_CSP_NR_RESULTS), END), -EINVAL);
	assert_int_equal(PARSED(DELETE(ASK), PE_CSP_TLV_PORT << 1, 5, 0, 0, 0, 0, 1, END), -EINVAL);
	assert_int_equal(PARSED(DELETE(ASK), PE_CSP_TLV_PORT << 1, 7, 0, 0, 0, 0, 1, 2, 3, END), -EINVAL);
	assert_int_equal(PARSED(DELETE(ASK), PE_CSP_TLV_PORT << 1, 6, PE_CSP_NR_KINDS, 0, 0, 0, 1, 2, END), -EINVAL);
	assert_int_equal(PARSED(REGISTER(ASK), PORT, ECIDS(0), END), -EINVAL);
	assert_int_equal(PARSED(REGISTER(ASK), PORT, PE_CSP_TLV_ECIDS << 1, 5, 0x10, 0, 0, 1, 0, END), -EINVAL);
	assert_int_equal(PARSED(REGISTER(ASK), PORT, ECIDS(1), 0x10, 0, 0, 0, END), -EINVAL); /* E-CID 0 */
	assert_int_equal(PARSED(REGISTER(ASK), PORT, ECIDS(1), PE_CSP_NR_ACTIONS << 4, 0, 0, 1, END), -EINVAL);
	assert_int_equal(PARSED(REGISTER(ASK), PORT, ECIDS(1), 0x1f, 0xc0, 0, 1, END), 0); /* reserved bits */
	assert_int_equal(got.ecid[0].ecid, 1);
}

static void others_are_skipped(void **state)
{
	(void)state;
	assert_int_equal(PARSED(DELETE(ASK), 0xfe, 3, 1, 2, 3, PORT, 0xfc, 0, END, 0xff, 0xff), 0);
	assert_int_equal(got.port, 0x102);
	assert_int_equal(PARSED(DELETE(ASK), PORT, 0xfe, 3, 1, 2), -EINVAL);
}

static void as_many_as_we_hold(void **state)
{
	(void)state;
	struct pe_csp m = { .command = PE_CSP_ECHANNEL_REGISTER, .has_port = true, .nr_ecids = PE_CSP_MAX_ECIDS };
	u8 pdu[512];
	for (u32 i = 0; i < PE_CSP_MAX_ECIDS; i++)
		m.ecid[i] = (struct pe_csp_ecid){ 1, i + 1, PE_CSP_UNTAGGED };
	int n = pe_csp_build(pdu, sizeof(pdu), &m);
	assert_int_equal(n, 6 + 8 + 2 + 4 * PE_CSP_MAX_ECIDS + 2);
	assert_int_equal(parsed(pdu, (u32)n), 0);
	assert_true(codec_pe_csp.equal(&m, &got));
	be16_put(pdu + 14, PE_CSP_TLV_ECIDS << 9 | 4 * (PE_CSP_MAX_ECIDS + 1));
	assert_int_equal(parsed(pdu, (u32)n + 2), -ENOSPC);
	m.nr_ecids++;
	assert_int_equal(pe_csp_build(pdu, sizeof(pdu), &m), -EINVAL);
}

static void out_of_range(void **state)
{
	(void)state;
	static const struct pe_csp bad[] = {
		{ .command = PE_CSP_NR_COMMANDS },
		{ .command = PE_CSP_OPEN, .result = PE_CSP_REFUSED },
		{ .command = PE_CSP_OPEN, .response = true, .result = PE_CSP_NR_RESULTS },
		{ .command = PE_CSP_OPEN, .port = 1 },
		{ .command = PE_CSP_OPEN, .kind = PE_CSP_CASCADE },
		{ .command = PE_CSP_PORT_DELETE },
		{ .command = PE_CSP_PORT_DELETE, .has_port = true, .kind = PE_CSP_NR_KINDS },
		{ .command = PE_CSP_ECHANNEL_REGISTER, .has_port = true, .nr_ecids = 1, .ecid = { { 4, 1, PE_CSP_TAGGED } } },
		{ .command = PE_CSP_ECHANNEL_REGISTER, .has_port = true, .nr_ecids = 1, .ecid = { { 0, 0, PE_CSP_TAGGED } } },
		{ .command = PE_CSP_ECHANNEL_REGISTER, .has_port = true, .nr_ecids = 1, .ecid = { { 0, ETAG_ECID_MAX + 1, PE_CSP_TAGGED } } },
		{ .command = PE_CSP_ECHANNEL_REGISTER, .has_port = true, .nr_ecids = 1, .ecid = { { 0, 1, PE_CSP_NR_ACTIONS } } },
	};
	u8 pdu[512];
	for (u32 i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(pe_csp_build(pdu, sizeof(pdu), &bad[i]), -EINVAL);
}

/* No two numbers of one kind are the same, whatever they are corrected to. */
static void codes_differ(void **state)
{
	(void)state;
	static const u8 code[] = { PE_CSP_TLV_END, PE_CSP_TLV_OPEN, PE_CSP_TLV_PORT_CREATE, PE_CSP_TLV_PORT_DELETE,
				   PE_CSP_TLV_ECHANNEL_REGISTER, PE_CSP_TLV_PORT, PE_CSP_TLV_ECIDS };
	for (u32 i = 0; i < ARRAY_SIZE(code); i++)
		for (u32 k = 0; k < i; k++)
			assert_int_not_equal(code[i], code[k]);
	assert_int_not_equal(PE_CSP_OP_REQUEST, PE_CSP_OP_RESPONSE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes),
		cmocka_unit_test(the_table),
		cmocka_unit_test(one_command_and_it_first),
		cmocka_unit_test(duplicates),
		cmocka_unit_test(lengths_and_limits),
		cmocka_unit_test(others_are_skipped),
		cmocka_unit_test(as_many_as_we_hold),
		cmocka_unit_test(out_of_range),
		cmocka_unit_test(codes_differ),
		CODEC_PROPERTIES(codec_pe_csp, 5000, 100, 40),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
