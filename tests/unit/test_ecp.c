/*
 * ECP's header: requests and acknowledgements as lldpad has them on the wire.
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

static void bytes(void **state)
{
	(void)state;
	static const u8 request[] = { 0x10, 0x01, 0x12, 0x34 }, ack[] = { 0x14, 0x01, 0x12, 0x34 }, csp[] = { 0x10, 0x02, 0xff, 0xff };
	struct ecp h;
	u8 out[ECP_LEN];
	assert_int_equal(ecp_build(out, sizeof(out), &(struct ecp){ ECP_REQUEST, ECP_VDP, 0x1234 }), ECP_LEN);
	assert_memory_equal(out, request, ECP_LEN);
	assert_int_equal(ecp_build(out, sizeof(out), &(struct ecp){ ECP_ACK, ECP_VDP, 0x1234 }), ECP_LEN);
	assert_memory_equal(out, ack, ECP_LEN);
	assert_int_equal(ecp_build(out, sizeof(out), &(struct ecp){ ECP_REQUEST, ECP_PE_CSP, 0xffff }), ECP_LEN);
	assert_memory_equal(out, csp, ECP_LEN);
	assert_int_equal(ecp_parse(ack, sizeof(ack), &h), ECP_LEN);
	assert_int_equal(h.op, ECP_ACK);
	assert_int_equal(h.subtype, ECP_VDP);
	assert_int_equal(h.seq, 0x1234);
}

static void refused(void **state)
{
	(void)state;
	struct ecp h = { ECP_ACK, 7, 8 };
	assert_int_equal(ecp_parse((const u8[]){ 0x10, 0x01, 0 }, 3, &h), -EINVAL);
	assert_int_equal(ecp_parse((const u8[]){ 0x00, 0x01, 0, 0 }, 4, &h), -EINVAL); /* versions 0, 2, 15 */
	assert_int_equal(ecp_parse((const u8[]){ 0x20, 0x01, 0, 0 }, 4, &h), -EINVAL);
	assert_int_equal(ecp_parse((const u8[]){ 0xf0, 0x01, 0, 0 }, 4, &h), -EINVAL);
	assert_int_equal(ecp_parse((const u8[]){ 0x18, 0x01, 0, 0 }, 4, &h), -EINVAL); /* operations 2, 3 */
	assert_int_equal(ecp_parse((const u8[]){ 0x1c, 0x01, 0, 0 }, 4, &h), -EINVAL);
	assert_true(h.op == ECP_ACK && h.subtype == 7 && h.seq == 8);
	assert_int_equal(ecp_parse((const u8[]){ 0x13, 0xff, 0, 0 }, 4, &h), ECP_LEN); /* an unknown subtype is the caller's */
	assert_int_equal(h.subtype, ECP_SUBTYPE_MAX);
}

static void out_of_range(void **state)
{
	(void)state;
	u8 out[ECP_LEN];
	assert_int_equal(ecp_build(out, sizeof(out), &(struct ecp){ 2, 1, 1 }), -EINVAL);
	assert_int_equal(ecp_build(out, sizeof(out), &(struct ecp){ 0, ECP_SUBTYPE_MAX + 1, 1 }), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes),
		cmocka_unit_test(refused),
		cmocka_unit_test(out_of_range),
		CODEC_PROPERTIES(codec_ecp, 20000, 2000, 2000),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
