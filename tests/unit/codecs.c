/*
 * What the codecs of the port extender have in common (codecs.h).
 */
#include "tests/unit/codecs.h"

#include <stdlib.h>
#include <string.h>

#include "core/errno.h"
#include "nic/frame.h"

#define CHECK(cond) do { if (!(cond)) panic("check failed: %s (line %d)", #cond, __LINE__); } while (0)

static u64 state;

void codec_seed(u64 seed) { state = seed; }

/* splitmix64 */
static u64 next(void)
{
	u64 z = state += 0x9e3779b97f4a7c15ull;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

u32 codec_below(u32 n) { return (u32)(next() >> 16) % n; }

void codec_random_bytes(u8 *p, u32 len)
{
	while (len--)
		*p++ = (u8)next();
}

/* 0..max, its ends often. */
static u32 edgy(u32 max)
{
	switch (codec_below(4)) {
	case 0: return 0;
	case 1: return max;
	default: return (u32)(next() >> 16) % (max + 1);
	}
}

static bool flip(void) { return next() >> 63; }

/* ---- E-TAG ---- */

static void etag_random(void *record)
{
	struct tagged *r = record;
	r->tag = (struct etag){ (u8)edgy(7), flip(), edgy(ETAG_ECID_MAX), (u8)edgy(3), edgy(ETAG_ECID_MAX) };
	r->len = FRAME_HEADER_LEN + edgy(300);
	codec_random_bytes(r->frame, r->len);
}

static bool etag_same(const struct etag *a, const struct etag *b)
{
	return a->pcp == b->pcp && a->dei == b->dei && a->ingress == b->ingress && a->grp == b->grp && a->ecid == b->ecid;
}

static bool etag_equal(const void *a, const void *b)
{
	const struct tagged *x = a, *y = b;
	return etag_same(&x->tag, &y->tag) && x->len == y->len && !memcmp(x->frame, y->frame, x->len);
}

static int etag_build(u8 *pdu, u32 room, const void *record)
{
	const struct tagged *r = record;
	return etag_codec.insert(pdu, room, r->frame, r->len, &r->tag);
}

static int etag_take(const u8 *pdu, u32 len, void *record)
{
	struct tagged *r = record;
	int n = etag_codec.strip(r->frame, sizeof(r->frame), pdu, len, &r->tag);
	r->len = n < 0 ? 0 : (u32)n;
	return n;
}

const struct codec codec_etag = { sizeof(struct tagged), 0, etag_random, etag_equal, etag_build, etag_take };

/* ---- LLDP ---- */

static struct lldp_id id_random(void)
{
	static u8 bytes[4096];
	u32 len = 1 + edgy(LLDP_ID_MAX - 1);
	codec_random_bytes(bytes, 16);
	return (struct lldp_id){ (u8)codec_below(256), len, bytes + codec_below(sizeof(bytes) - LLDP_ID_MAX) };
}

static void lldp_random(void *record)
{
	struct lldp *l = record;
	*l = (struct lldp){ .chassis = id_random(), .port = id_random(), .ttl = (u16)edgy(0xffff), .has_evb = flip(), .has_pe = flip() };
	if (l->has_evb)
		l->evb = (struct lldp_evb){ (u8)edgy(7), (u8)edgy(15), (u8)edgy(7), (u8)edgy(31), (u8)edgy(3), flip(), (u8)edgy(31), flip(),
					    (u8)edgy(31) };
	if (l->has_pe)
		codec_random_bytes(&l->pe.priority, sizeof(l->pe));
}

static bool id_equal(const struct lldp_id *a, const struct lldp_id *b)
{
	return a->subtype == b->subtype && a->len == b->len && !memcmp(a->bytes, b->bytes, a->len);
}

static bool evb_equal(const struct lldp_evb *a, const struct lldp_evb *b)
{
	return a->bridge == b->bridge && a->station == b->station && a->retries == b->retries && a->rte == b->rte && a->mode == b->mode &&
	       a->remote_wait == b->remote_wait && a->rwd == b->rwd && a->remote_keep == b->remote_keep && a->rka == b->rka;
}

static bool lldp_equal(const void *a, const void *b)
{
	const struct lldp *x = a, *y = b;
	return id_equal(&x->chassis, &y->chassis) && id_equal(&x->port, &y->port) && x->ttl == y->ttl && x->has_evb == y->has_evb &&
	       evb_equal(&x->evb, &y->evb) && x->has_pe == y->has_pe && !memcmp(&x->pe, &y->pe, sizeof(x->pe));
}

static int lldp_make(u8 *pdu, u32 room, const void *record) { return lldp_build(pdu, room, record); }
static int lldp_take(const u8 *pdu, u32 len, void *record) { return lldp_parse(pdu, len, record); }
const struct codec codec_lldp = { sizeof(struct lldp), 2, lldp_random, lldp_equal, lldp_make, lldp_take };

/* ---- ECP ---- */

static void ecp_random(void *record)
{
	*(struct ecp *)record = (struct ecp){ (u8)flip(), (u16)edgy(ECP_SUBTYPE_MAX), (u16)edgy(0xffff) };
}

static bool ecp_equal(const void *a, const void *b)
{
	const struct ecp *x = a, *y = b;
	return x->op == y->op && x->subtype == y->subtype && x->seq == y->seq;
}

static int ecp_make(u8 *pdu, u32 room, const void *record) { return ecp_build(pdu, room, record); }
static int ecp_take(const u8 *pdu, u32 len, void *record) { return ecp_parse(pdu, len, record); }
const struct codec codec_ecp = { sizeof(struct ecp), 0, ecp_random, ecp_equal, ecp_make, ecp_take };

/* ---- VDP ---- */

static struct vdp_filter filter_random(u8 format)
{
	struct vdp_filter f = { .vid = (u16)edgy(4095), .pcp = (u8)edgy(7), .ps = flip() };
	if (format >= VDP_FILTER_GROUP_VID)
		f.group = edgy(0xfffffffe);
	if (!(format & 1))
		codec_random_bytes(f.mac, sizeof(f.mac));
	return f;
}

static void vsi_random(struct vdp_vsi *v)
{
	*v = (struct vdp_vsi){
		.type = (u8)(VDP_PREASSOC + codec_below(4)),
		.status = (u8)edgy(VDP_STATUS_MASK),
		.vsi_type = edgy(0xffffff),
		.vsi_type_version = (u8)edgy(255),
		.id_format = (u8)(VDP_VSIID_IPV4 + codec_below(5)),
		.filter_format = (u8)(VDP_FILTER_VID + codec_below(4)),
		.nr_filters = edgy(VDP_MAX_FILTERS),
	};
	codec_random_bytes(v->id, sizeof(v->id));
	for (u32 i = 0; i < v->nr_filters; i++)
		v->filter[i] = filter_random(v->filter_format);
}

static void vdp_random(void *record)
{
	struct vdp_pdu *p = record;
	codec_random_bytes(p->manager, sizeof(p->manager));
	p->nr_vsis = 1 + edgy(VDP_MAX_VSIS - 1);
	for (u32 i = 0; i < p->nr_vsis; i++)
		vsi_random(&p->vsi[i]);
}

static bool filter_equal(const struct vdp_filter *a, const struct vdp_filter *b)
{
	return a->group == b->group && !memcmp(a->mac, b->mac, sizeof(a->mac)) && a->vid == b->vid && a->pcp == b->pcp && a->ps == b->ps;
}

static bool vsi_equal(const struct vdp_vsi *a, const struct vdp_vsi *b)
{
	bool same = a->type == b->type && a->status == b->status && a->vsi_type == b->vsi_type &&
		    a->vsi_type_version == b->vsi_type_version && a->id_format == b->id_format && !memcmp(a->id, b->id, sizeof(a->id)) &&
		    a->filter_format == b->filter_format && a->nr_filters == b->nr_filters;
	for (u32 i = 0; same && i < a->nr_filters; i++)
		same = filter_equal(&a->filter[i], &b->filter[i]);
	return same;
}

static bool vdp_equal(const void *a, const void *b)
{
	const struct vdp_pdu *x = a, *y = b;
	bool same = !memcmp(x->manager, y->manager, sizeof(x->manager)) && x->nr_vsis == y->nr_vsis;
	for (u32 i = 0; same && i < x->nr_vsis; i++)
		same = vsi_equal(&x->vsi[i], &y->vsi[i]);
	return same;
}

static int vdp_make(u8 *pdu, u32 room, const void *record) { return vdp_build(pdu, room, record); }
static int vdp_take(const u8 *pdu, u32 len, void *record) { return vdp_parse(pdu, len, record); }
const struct codec codec_vdp = { sizeof(struct vdp_pdu), 2, vdp_random, vdp_equal, vdp_make, vdp_take };

/* ---- PE-CSP ---- */

static void pe_csp_random(void *record)
{
	struct pe_csp *m = record;
	*m = (struct pe_csp){ .command = (u8)codec_below(PE_CSP_NR_COMMANDS), .response = flip(), .transaction = (u16)edgy(0xffff) };
	if (m->response)
		m->result = (u8)edgy(PE_CSP_NR_RESULTS - 1);
	if (m->command != PE_CSP_OPEN) {
		m->has_port = true;
		m->kind = (u8)flip();
		m->port = edgy(0xfffffffe);
	}
	bool created = m->command == PE_CSP_PORT_CREATE && m->response && !m->result;
	if (m->command == PE_CSP_ECHANNEL_REGISTER && !m->response)
		m->nr_ecids = 1 + edgy(PE_CSP_MAX_ECIDS - 1);
	else
		m->nr_ecids = created;
	for (u32 i = 0; i < m->nr_ecids; i++)
		m->ecid[i] = (struct pe_csp_ecid){ created ? 0 : (u8)edgy(3), 1 + edgy(ETAG_ECID_MAX - 1),
						   created ? (u8)(1 + codec_below(2)) : (u8)codec_below(3) };
}

static bool pe_csp_equal(const void *a, const void *b)
{
	const struct pe_csp *x = a, *y = b;
	bool same = x->command == y->command && x->response == y->response && x->result == y->result && x->transaction == y->transaction &&
		    x->has_port == y->has_port && x->kind == y->kind && x->port == y->port && x->nr_ecids == y->nr_ecids;
	for (u32 i = 0; same && i < x->nr_ecids; i++)
		same = x->ecid[i].grp == y->ecid[i].grp && x->ecid[i].ecid == y->ecid[i].ecid && x->ecid[i].action == y->ecid[i].action;
	return same;
}

static int pe_csp_make(u8 *pdu, u32 room, const void *record) { return pe_csp_build(pdu, room, record); }
static int pe_csp_take(const u8 *pdu, u32 len, void *record) { return pe_csp_parse(pdu, len, record); }
const struct codec codec_pe_csp = { sizeof(struct pe_csp), 2, pe_csp_random, pe_csp_equal, pe_csp_make, pe_csp_take };

/* ---- what holds for all ---- */

/* A record, aligned for any codec's, with what an earlier one left in it. */
struct record { _Alignas(16) u8 bytes[CODEC_RECORD_MAX]; };

static u8 *exact(const u8 *pdu, u32 len)
{
	u8 *copy = malloc(len);
	CHECK(copy || !len);
	if (len)
		memcpy(copy, pdu, len);
	return copy;
}

int codec_parse(const struct codec *c, const u8 *pdu, u32 len, void *record)
{
	u8 *copy = exact(pdu, len);
	int r = c->parse(copy, len, record);
	free(copy);
	return r;
}

bool codec_any_bytes(const struct codec *c, const u8 *pdu, u32 len, u8 *rebuilt, u32 *rebuilt_len)
{
	static struct record first, second;
	u8 again[CODEC_PDU_MAX], *copy = exact(pdu, len);
	CHECK(c->size <= sizeof(first));
	bool accepted = c->parse(copy, len, &first) >= 0;
	if (accepted) {
		int n = c->build(again, sizeof(again), &first);
		CHECK(n >= (int)c->end_len && n <= (int)(len + c->end_len));
		CHECK(c->parse(again, (u32)n, &second) >= 0);
		CHECK(c->equal(&first, &second));
		if (rebuilt) {
			*rebuilt_len = (u32)n - c->end_len;
			memcpy(rebuilt, again, *rebuilt_len);
		}
	}
	free(copy);
	return accepted;
}

/* A random valid record as a PDU; its length. */
static u32 made(const struct codec *c, struct record *r, u8 *pdu)
{
	c->random(r);
	int n = c->build(pdu, CODEC_PDU_MAX, r);
	CHECK(n > 0);
	return (u32)n;
}

void codec_round_trips(const struct codec *c, u64 seed, u32 n)
{
	static struct record sent, got;
	u8 pdu[CODEC_PDU_MAX + 64], copy[CODEC_PDU_MAX];
	codec_seed(seed);
	while (n--) {
		u32 len = made(c, &sent, pdu);
		u8 *at = exact(pdu, len);
		CHECK(c->parse(at, len, &got) >= 0);
		CHECK(c->equal(&sent, &got));
		CHECK(c->build(copy, sizeof(copy), &got) == (int)len && !memcmp(copy, pdu, len));
		free(at);
		if (c->end_len) {
			codec_random_bytes(pdu + len, 64);
			CHECK(c->parse(pdu, len + 64, &got) >= 0);
			CHECK(c->equal(&sent, &got));
		}
	}
}

void codec_truncations(const struct codec *c, u64 seed, u32 n)
{
	static struct record sent;
	u8 pdu[CODEC_PDU_MAX], rest[CODEC_PDU_MAX];
	codec_seed(seed);
	while (n--) {
		u32 len = made(c, &sent, pdu), rest_len;
		for (u32 cut = 0; cut < len; cut++)
			if (codec_any_bytes(c, pdu, cut, rest, &rest_len))
				CHECK(rest_len == cut && !memcmp(rest, pdu, cut));
	}
}

void codec_byte_changes(const struct codec *c, u64 seed, u32 n)
{
	static struct record sent;
	u8 pdu[CODEC_PDU_MAX];
	codec_seed(seed);
	while (n--) {
		u32 len = made(c, &sent, pdu);
		for (u32 at = 0; at < len; at++) {
			u8 was = pdu[at];
			for (u32 bit = 0; bit < 8; bit++) {
				pdu[at] = (u8)(was ^ 1u << bit);
				codec_any_bytes(c, pdu, len, NULL, NULL);
			}
			pdu[at] = (u8)next();
			codec_any_bytes(c, pdu, len, NULL, NULL);
			pdu[at] = was;
		}
	}
}

void codec_no_room(const struct codec *c, u64 seed, u32 n)
{
	static struct record sent;
	u8 pdu[CODEC_PDU_MAX];
	codec_seed(seed);
	while (n--) {
		u32 len = made(c, &sent, pdu);
		for (u32 room = 0; room <= len; room++) {
			u8 *at = exact(pdu, room);
			CHECK(c->build(at, room, &sent) == (room < len ? -ENOSPC : (int)len));
			free(at);
		}
	}
}

void codec_noise(const struct codec *c, u64 seed, u32 n)
{
	u8 pdu[256];
	codec_seed(seed);
	while (n--) {
		u32 len = codec_below(sizeof(pdu) + 1);
		codec_random_bytes(pdu, len);
		codec_any_bytes(c, pdu, len, NULL, NULL);
	}
}

void codec_case_run(void **initial_state)
{
	const struct codec_case *p = *initial_state;
	p->property(p->codec, p->seed, p->n);
}
