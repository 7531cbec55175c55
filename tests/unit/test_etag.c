/*
 * The E-TAG: bits where 802.1BR has them, and frames that come back byte for byte, in place or not.
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

#define MACS 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12

/* A frame with VLAN 5 in a tag with every field different; as Wireshark's dissector reads it. */
static const u8 inner[] = { MACS, 0x81, 0x00, 0x00, 0x05, 0x08, 0x00, 0xaa, 0xbb };
static const u8 tagged[] = { MACS, 0x89, 0x3f, 0xb2, 0x34, 0x25, 0x67, 0x01, 0x89, 0x81, 0x00, 0x00, 0x05, 0x08, 0x00, 0xaa, 0xbb };
static const struct etag fields = { .pcp = 5, .dei = true, .ingress = 0x01234, .grp = 2, .ecid = 0x89567 };

static void assert_fields(const struct etag *t)
{
	assert_int_equal(t->pcp, fields.pcp);
	assert_int_equal(t->dei, fields.dei);
	assert_int_equal(t->ingress, fields.ingress);
	assert_int_equal(t->grp, fields.grp);
	assert_int_equal(t->ecid, fields.ecid);
}

static void bits(void **state)
{
	(void)state;
	struct etag t;
	u8 out[sizeof(tagged)];
	assert_int_equal(etag_insert(out, sizeof(out), inner, sizeof(inner), &fields), sizeof(tagged));
	assert_memory_equal(out, tagged, sizeof(tagged));
	assert_int_equal(etag_parse(tagged, sizeof(tagged), &t), 0);
	assert_fields(&t);
	memset(&t, 0, sizeof(t));
	assert_int_equal(etag_strip(out, sizeof(out), tagged, sizeof(tagged), &t), sizeof(inner));
	assert_memory_equal(out, inner, sizeof(inner));
	assert_fields(&t);
	assert_int_equal(etag_strip(out, sizeof(out), tagged, sizeof(tagged), NULL), sizeof(inner));
	assert_int_equal(etag_put(out, &fields), 0);
	assert_memory_equal(out, tagged + 12, ETAG_LEN);
}

static void reserved_bits_do_not_matter(void **state)
{
	(void)state;
	struct etag t;
	u8 frame[sizeof(tagged)];
	memcpy(frame, tagged, sizeof(frame));
	frame[16] |= 0xc0;
	assert_int_equal(etag_parse(frame, sizeof(frame), &t), 0);
	assert_fields(&t);
}

/* The buffers that the header allows: apart, the frame itself, and where only the addresses move. */
static void in_place(void **state)
{
	(void)state;
	u8 b[64];
	memcpy(b, inner, sizeof(inner));
	assert_int_equal(etag_insert(b, sizeof(b), b, sizeof(inner), &fields), sizeof(tagged));
	assert_memory_equal(b, tagged, sizeof(tagged));
	assert_int_equal(etag_strip(b, sizeof(b), b, sizeof(tagged), NULL), sizeof(inner));
	assert_memory_equal(b, inner, sizeof(inner));

	memcpy(b + ETAG_LEN, inner, sizeof(inner));
	assert_int_equal(etag_insert(b, sizeof(tagged), b + ETAG_LEN, sizeof(inner), &fields), sizeof(tagged));
	assert_memory_equal(b, tagged, sizeof(tagged));
	assert_int_equal(etag_strip(b + ETAG_LEN, sizeof(inner), b, sizeof(tagged), NULL), sizeof(inner));
	assert_memory_equal(b + ETAG_LEN, inner, sizeof(inner));
}

static void in_place_at_random(void **state)
{
	(void)state;
	static struct tagged r;
	u8 apart[CODEC_PDU_MAX], b[CODEC_PDU_MAX + ETAG_LEN];
	codec_seed(7);
	for (u32 i = 0; i < 2000; i++) {
		codec_etag.random(&r);
		int n = etag_insert(apart, sizeof(apart), r.frame, r.len, &r.tag);
		memcpy(b, r.frame, r.len);
		assert_int_equal(etag_insert(b, r.len + ETAG_LEN, b, r.len, &r.tag), n);
		assert_memory_equal(b, apart, (u32)n);
		assert_int_equal(etag_strip(b, r.len, b, (u32)n, NULL), r.len);
		assert_memory_equal(b, r.frame, r.len);
		memcpy(b + ETAG_LEN, r.frame, r.len);
		assert_int_equal(etag_insert(b, r.len + ETAG_LEN, b + ETAG_LEN, r.len, &r.tag), n);
		assert_memory_equal(b, apart, (u32)n);
	}
}

static void out_of_range(void **state)
{
	(void)state;
	static const struct etag bad[] = { { .pcp = 8 }, { .grp = 4 }, { .ingress = ETAG_ECID_MAX + 1 }, { .ecid = ETAG_ECID_MAX + 1 } };
	u8 out[64];
	for (u32 i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(etag_insert(out, sizeof(out), inner, sizeof(inner), &bad[i]), -EINVAL);
		assert_int_equal(etag_put(out, &bad[i]), -EINVAL);
	}
}

static void lengths(void **state)
{
	(void)state;
	struct etag t;
	u8 out[64];
	for (u32 len = 0; len < 14; len++) {
		assert_int_equal(etag_insert(out, sizeof(out), inner, len, &fields), -EINVAL);
		assert_int_equal(etag_parse(tagged, len, &t), -EINVAL);
		assert_false(tag_is(&etag_codec, tagged, len));
	}
	assert_true(tag_is(&etag_codec, tagged, 14));
	for (u32 len = 14; len < 22; len++) { /* a tag, and a type behind it */
		assert_int_equal(etag_parse(tagged, len, &t), -EINVAL);
		assert_int_equal(etag_strip(out, sizeof(out), tagged, len, &t), -EINVAL);
	}
	assert_int_equal(etag_parse(tagged, 22, &t), 0);
	assert_int_equal(etag_strip(out, 14, tagged, 22, &t), 14);
	assert_int_equal(etag_strip(out, 13, tagged, 22, &t), -ENOSPC);
	assert_int_equal(etag_insert(out, 22, inner, 14, &fields), 22);
	assert_int_equal(etag_insert(out, 21, inner, 14, &fields), -ENOSPC);
	assert_int_equal(etag_insert(out, 0, inner, 14, &fields), -ENOSPC);
}

static void another_type_is_no_tag(void **state)
{
	(void)state;
	struct etag t = fields;
	u8 out[64];
	assert_false(tag_is(&etag_codec, inner, sizeof(inner)));
	assert_int_equal(etag_parse(inner, sizeof(inner), &t), -ENOENT);
	assert_int_equal(etag_strip(out, sizeof(out), inner, sizeof(inner), &t), -ENOENT);
	assert_fields(&t);
}

/* Tags stack: an extender does not look under the outermost. */
static void only_the_outermost(void **state)
{
	(void)state;
	struct etag t;
	u8 b[64];
	assert_int_equal(etag_insert(b, sizeof(b), tagged, sizeof(tagged), &(struct etag){ .ecid = 1 }), sizeof(tagged) + ETAG_LEN);
	assert_int_equal(etag_strip(b, sizeof(b), b, sizeof(tagged) + ETAG_LEN, &t), sizeof(tagged));
	assert_int_equal(t.ecid, 1);
	assert_memory_equal(b, tagged, sizeof(tagged));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bits),
		cmocka_unit_test(reserved_bits_do_not_matter),
		cmocka_unit_test(in_place),
		cmocka_unit_test(in_place_at_random),
		cmocka_unit_test(out_of_range),
		cmocka_unit_test(lengths),
		cmocka_unit_test(another_type_is_no_tag),
		cmocka_unit_test(only_the_outermost),
		CODEC_PROPERTIES(codec_etag, 2000, 100, 40),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
