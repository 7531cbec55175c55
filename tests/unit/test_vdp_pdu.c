/*
 * VDP PDUs: the bytes of 802.1Qbg's TLVs in every filter format, requests and responses, and every rule that a PDU can break.
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

#define UUID 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
#define MANAGER 0x0a, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9
#define END 0, 0
/* Association TLV with UUID: type, length, status; then filter format, number and entries. */
#define VSI(type, len, status) (type) << 1, (len), (status), 0, 0, 5, 1, 5, UUID
/* What a station says first, and what the bridge answers when it has chosen VLAN 100. */
#define ASSOC VSI(3, 33, 0), 2, 0, 1, 2, 0, 0, 0, 0, 7, 0, 0
#define ANSWER VSI(3, 33, 0x40), 2, 0, 1, 2, 0, 0, 0, 0, 7, 0, 100

static const u8 request[] = { MANAGER, ASSOC, END };
static const u8 response[] = { MANAGER, ANSWER, END };

static struct vdp_pdu pdu_of(u8 type, u8 status, u8 format)
{
	struct vdp_pdu p = { .nr_vsis = 1 };
	p.manager[15] = 9;
	p.vsi[0] = (struct vdp_vsi){ .type = type, .status = status, .vsi_type = 5, .vsi_type_version = 1, .id_format = VDP_VSIID_UUID,
				     .id = { UUID }, .filter_format = format, .nr_filters = 1 };
	return p;
}

static void assert_is(const struct vdp_pdu *p, const u8 *pdu, u32 len)
{
	static struct vdp_pdu got;
	u8 out[256];
	assert_int_equal(vdp_build(out, sizeof(out), p), len);
	assert_memory_equal(out, pdu, len);
	assert_int_equal(codec_parse(&codec_vdp, pdu, len, &got), 0);
	assert_true(codec_vdp.equal(p, &got));
}

static void request_and_response(void **state)
{
	(void)state;
	struct vdp_pdu p = pdu_of(VDP_ASSOC, 0, VDP_FILTER_MAC_VID);
	memcpy(p.vsi[0].filter[0].mac, (const u8[]){ 2, 0, 0, 0, 0, 7 }, 6);
	assert_is(&p, request, sizeof(request));
	assert_false(vdp_is_response(&p.vsi[0]));
	p.vsi[0].status = VDP_ACK;
	p.vsi[0].filter[0].vid = 100;
	assert_is(&p, response, sizeof(response));
	assert_true(vdp_is_response(&p.vsi[0]));
}

/* What lldpad 1.1 has on the wire: a station's PreAssoc and the bridge's answer; its refusal of a filter with a group that we asked for. */
static void as_lldpad_does(void **state)
{
	(void)state;
#define LLDPAD 0x0a, 0x10, 'b', 'l', 'a', 'b', 'l', 'a', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
#define PREASSOC(status) 0x02, 0x21, status, 0, 0, 5, 1, 5, 0x11, 0x22, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1, 2, 0, 0, 0, 0, 7, 0, 100
#define REFUSAL 0x06, 0x1f, 0x42, 0, 0, 5, 1, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 7, 3, 0, 1, 1, 2, 3, 4, 0, 100
	static const u8 asked[] = { LLDPAD, PREASSOC(0) }, answered[] = { LLDPAD, PREASSOC(0x40) };
	static const u8 refused[] = { MANAGER, REFUSAL };
	static struct vdp_pdu p;
	u8 out[256];
	assert_int_equal(codec_parse(&codec_vdp, asked, sizeof(asked), &p), 0);
	assert_memory_equal(p.manager, "blabla", 7);
	assert_true(p.vsi[0].type == VDP_PREASSOC && !vdp_is_response(&p.vsi[0]) && p.vsi[0].vsi_type == 5);
	assert_true(p.vsi[0].filter_format == VDP_FILTER_MAC_VID && p.vsi[0].nr_filters == 1 && p.vsi[0].filter[0].vid == 100);
	assert_int_equal(vdp_build(out, sizeof(out), &p), sizeof(asked) + 2);
	assert_memory_equal(out, asked, sizeof(asked));
	assert_int_equal(codec_parse(&codec_vdp, answered, sizeof(answered), &p), 0);
	assert_true(vdp_is_response(&p.vsi[0]) && (p.vsi[0].status & VDP_ERROR) == VDP_SUCCESS);
	assert_int_equal(codec_parse(&codec_vdp, refused, sizeof(refused), &p), 0);
	assert_true(vdp_is_response(&p.vsi[0]) && (p.vsi[0].status & VDP_ERROR) == VDP_INSUFFICIENT_RESOURCES);
	assert_int_equal(p.vsi[0].filter[0].group, 0x01020304);
}

static void filters(void **state)
{
	(void)state;
	static const u8 vid[] = { MANAGER, VSI(1, 29, 0x20), 1, 0, 2, 0xd0, 5, 0x0f, 0xff, END };
	static const u8 group_vid[] = { MANAGER, VSI(2, 31, 0x10), 3, 0, 1, 1, 2, 3, 4, 0x20, 6, END };
	static const u8 all[] = { MANAGER, VSI(4, 37, 0x55), 4, 0, 1, 1, 2, 3, 4, 2, 0, 0, 0, 0, 8, 0, 9, END };
	struct vdp_pdu p = pdu_of(VDP_PREASSOC, VDP_SUSPENDED, VDP_FILTER_VID);
	p.vsi[0].nr_filters = 2;
	p.vsi[0].filter[0] = (struct vdp_filter){ .vid = 5, .pcp = 5, .ps = true };
	p.vsi[0].filter[1] = (struct vdp_filter){ .vid = 4095 };
	assert_is(&p, vid, sizeof(vid));
	p = pdu_of(VDP_PREASSOC_RR, VDP_MIGRATED, VDP_FILTER_GROUP_VID);
	p.vsi[0].filter[0] = (struct vdp_filter){ .group = 0x01020304, .vid = 6, .pcp = 2 };
	assert_is(&p, group_vid, sizeof(group_vid));
	p = pdu_of(VDP_DEASSOC, VDP_ACK | VDP_HARD | VDP_INVALID_VID_GROUP_MAC, VDP_FILTER_GROUP_MAC_VID);
	p.vsi[0].filter[0] = (struct vdp_filter){ .group = 0x01020304, .mac = { 2, 0, 0, 0, 0, 8 }, .vid = 9 };
	assert_is(&p, all, sizeof(all));
}

static struct vdp_pdu got;
static int parsed(const u8 *pdu, u32 len) { return codec_parse(&codec_vdp, pdu, len, &got); }
#define PARSED(...) parsed((const u8[]){ __VA_ARGS__ }, sizeof((const u8[]){ __VA_ARGS__ }))

static void manager_first_and_once(void **state)
{
	(void)state;
	assert_int_equal(PARSED(MANAGER, ASSOC, END), 0);
	assert_int_equal(PARSED(ASSOC, END), -EINVAL);
	assert_int_equal(PARSED(ASSOC, MANAGER, END), -EINVAL);
	assert_int_equal(PARSED(MANAGER, MANAGER, ASSOC, END), -EINVAL);
	assert_int_equal(PARSED(MANAGER, ASSOC, MANAGER, END), -EINVAL);
	assert_int_equal(PARSED(0x0a, 15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, ASSOC, END), -EINVAL);
	assert_int_equal(PARSED(END, MANAGER, ASSOC, END), -EINVAL);
}

static void some_vsi(void **state)
{
	(void)state;
	assert_int_equal(PARSED(MANAGER, END), -EINVAL);
	assert_int_equal(PARSED(MANAGER), -EINVAL);
	assert_int_equal(parsed(request, 0), -EINVAL);
	assert_int_equal(PARSED(MANAGER, ASSOC), 0); /* End may be missing */
	assert_int_equal(PARSED(MANAGER, ASSOC, ANSWER, END, 0xff, 0xff), 0);
	assert_int_equal(got.nr_vsis, 2);
	assert_int_equal(got.vsi[1].filter[0].vid, 100);
}

static void others_are_skipped(void **state)
{
	(void)state;
	assert_int_equal(PARSED(MANAGER, 0xfe, 5, 0, 0x80, 0xc2, 1, 2, ASSOC, 0x0c, 0, END), 0);
	assert_int_equal(got.nr_vsis, 1);
}

/* Every field with a limit, on either side of it. */
static void limits(void **state)
{
	(void)state;
	static const struct { u32 at; u8 right, wrong; } edge[] = {
		{ 1, 33, 32 }, { 1, 33, 34 }, { 7, 1, 0 }, { 7, 5, 6 }, { 24, 2, 0 }, { 24, 2, 1 }, { 24, 2, 3 }, { 24, 2, 5 },
		{ 25, 0, 1 }, { 26, 1, 0 }, { 26, 1, 2 },
	};
	u8 pdu[sizeof(request)];
	for (u32 i = 0; i < ARRAY_SIZE(edge); i++) {
		memcpy(pdu, request, sizeof(pdu));
		pdu[18 + edge[i].at] = edge[i].right;
		assert_int_equal(parsed(pdu, sizeof(pdu)), 0);
		pdu[18 + edge[i].at] = edge[i].wrong;
		assert_int_equal(parsed(pdu, sizeof(pdu)), -EINVAL);
	}
}

static void no_filters(void **state)
{
	(void)state;
	assert_int_equal(PARSED(MANAGER, VSI(4, 25, 0), 1, 0, 0, END), 0);
	assert_int_equal(got.vsi[0].nr_filters, 0);
	assert_int_equal(PARSED(MANAGER, VSI(4, 24, 0), 1, 0, END), -EINVAL);
	assert_int_equal(PARSED(MANAGER, VSI(4, 24, 0), 1, 0), -EINVAL); /* its number would lie behind the PDU */
}

static void reserved_bit_does_not_matter(void **state)
{
	(void)state;
	assert_int_equal(PARSED(MANAGER, VSI(3, 27, 0xc0), 1, 0, 1, 0, 1, END), 0);
	assert_int_equal(got.vsi[0].status, VDP_ACK);
}

static void as_many_as_we_hold(void **state)
{
	(void)state;
	static struct vdp_pdu p;
	u8 pdu[1500];
	p = pdu_of(VDP_ASSOC, 0, VDP_FILTER_VID);
	p.vsi[0].nr_filters = VDP_MAX_FILTERS;
	p.nr_vsis = VDP_MAX_VSIS;
	for (u32 i = 1; i < VDP_MAX_VSIS; i++)
		p.vsi[i] = p.vsi[0];
	int n = vdp_build(pdu, sizeof(pdu), &p);
	assert_int_equal(n, 18 + VDP_MAX_VSIS * (27 + 2 * VDP_MAX_FILTERS) + 2);
	assert_int_equal(parsed(pdu, (u32)n), 0);
	assert_true(codec_vdp.equal(&p, &got));
	memcpy(pdu + n - 2, pdu + 18, (u32)n - 20); /* the same VSIs again */
	assert_int_equal(parsed(pdu, 2 * (u32)n - 22), -ENOSPC);

	p.nr_vsis++;
	assert_int_equal(vdp_build(pdu, sizeof(pdu), &p), -EINVAL);
	p.nr_vsis = 0;
	assert_int_equal(vdp_build(pdu, sizeof(pdu), &p), -EINVAL);
	p.nr_vsis = 1;
	p.vsi[0].nr_filters++;
	assert_int_equal(vdp_build(pdu, sizeof(pdu), &p), -EINVAL);
	p.vsi[0].nr_filters--;
	n = vdp_build(pdu, sizeof(pdu), &p);
	pdu[19] += 2; /* one entry more: End becomes it */
	pdu[18 + 26]++;
	assert_int_equal(parsed(pdu, (u32)n), -ENOSPC);
}

static void out_of_range(void **state)
{
	(void)state;
	u8 pdu[256];
	struct vdp_pdu p;
#define REFUSED(field, value) \
	(p = pdu_of(VDP_ASSOC, 0, VDP_FILTER_VID), p.vsi[0].field = (value), assert_int_equal(vdp_build(pdu, sizeof(pdu), &p), -EINVAL))
	REFUSED(type, 0);
	REFUSED(type, 5);
	REFUSED(status, 0x80);
	REFUSED(vsi_type, 0x1000000);
	REFUSED(id_format, 0);
	REFUSED(id_format, 6);
	REFUSED(filter_format, 0);
	REFUSED(filter_format, 5);
	REFUSED(filter[0].vid, 4096);
	REFUSED(filter[0].pcp, 8);
	REFUSED(filter[0].group, 1); /* not of this format */
	REFUSED(filter[0].mac[5], 1);
	p = pdu_of(VDP_ASSOC, 0, VDP_FILTER_VID);
	assert_true(vdp_build(pdu, sizeof(pdu), &p) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(request_and_response),
		cmocka_unit_test(as_lldpad_does),
		cmocka_unit_test(filters),
		cmocka_unit_test(manager_first_and_once),
		cmocka_unit_test(some_vsi),
		cmocka_unit_test(others_are_skipped),
		cmocka_unit_test(limits),
		cmocka_unit_test(no_filters),
		cmocka_unit_test(reserved_bit_does_not_matter),
		cmocka_unit_test(as_many_as_we_hold),
		cmocka_unit_test(out_of_range),
		CODEC_PROPERTIES(codec_vdp, 2000, 40, 8),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
