/*
 * The chain of levels of the unit tests (chain_model.h).
 */
#include "tests/unit/chain_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WIRE_US 50u
#define WIRE_MAX 256
#define MAC ((const u8[6]){ 2, 0, 0, 0, 0, 1 })
#define PEER ((const u8[6]){ 2, 0, 0, 0, 0, 9 })

struct chain chain;
static struct { bool used, outward; u64 at_us, order; u32 len; u8 frame[10000]; } wire[WIRE_MAX];
static u64 order;

/* ---- the wire ---- */

static void lay(const u8 *frame, u32 len, bool outward, u64 delay_us)
{
	u32 i = 0;
	while (i < WIRE_MAX && wire[i].used)
		i++;
	assert_in_range(i, 0, WIRE_MAX - 1);
	wire[i].used = true;
	wire[i].outward = outward;
	wire[i].at_us = chain.now_us + delay_us;
	wire[i].order = order++;
	wire[i].len = len;
	memcpy(wire[i].frame, frame, len);
}

static void onto_wire(const u8 *frame, u32 len, bool outward)
{
	static u8 copy[10000];
	enum wire_fate f = chain.fate ? chain.fate(chain.nr_frames, outward, frame, len) : WIRE_PASS;
	chain.nr_frames++;
	memcpy(copy, frame, len);
	if (f == WIRE_CUT)
		len = 14 + (u32)rand() % (len - 13);
	for (u32 i = 0; f == WIRE_SCRAMBLE && i < 4; i++)
		copy[12 + (u32)rand() % (len - 12)] ^= (u8)(1 + rand() % 255);
	if (f != WIRE_LOSE)
		lay(copy, len, outward, f == WIRE_DELAY ? 20 * WIRE_US : WIRE_US);
	if (f == WIRE_DOUBLE)
		lay(copy, len, outward, WIRE_US);
}

static void from_bridge(const u8 *frame, u32 len) { onto_wire(frame, len, false); }

/* ---- levels ---- */

static u32 index_of(void *arg) { return (u32)((struct chain_level *)arg - chain.level); }
static bool is_innermost(u32 i) { return i + 1 == CHAIN_LEVELS || !chain.level[i + 1].alive; }

static int down(void *arg, const u8 *frame, u32 len)
{
	u32 i = index_of(arg);
	if (i)
		return chain.level[i - 1].alive ? extender_tx(&chain.level[i - 1].x, frame, len) : 0;
	onto_wire(frame, len, true);
	return 0;
}

static int up(void *arg, const u8 *frame, u32 len)
{
	u32 i = index_of(arg);
	if (!is_innermost(i))
		return extender_rx(&chain.level[i + 1].x, frame, len);
	chain.delivered++;
	chain.guest.len = len;
	memcpy(chain.guest.frame, frame, len);
	return 0;
}

static void control(void *arg, enum extender_plane plane, u16 type, const u8 *body, u32 len)
{
	struct chain_level *l = arg;
	if (l->control.nr == ARRAY_SIZE(l->control.frame) || len > 1600)
		return;
	l->control.frame[l->control.nr].plane = plane;
	l->control.frame[l->control.nr].type = type;
	l->control.frame[l->control.nr].len = len;
	memcpy(l->control.frame[l->control.nr++].body, body, len);
}

static const struct extender_ops extender_ops = { down, up, control };

static void pe_send(void *arg, u16 type, const u8 *body, u32 len)
{
	(void)extender_send_pe(&((struct chain_level *)arg)->x, type, body, len);
}

static void vdp_send(void *arg, u16 type, const u8 *body, u32 len)
{
	struct chain_level *l = arg;
	assert_int_equal(chain_speaker(), index_of(l));
	(void)extender_send_vdp(&l->x, type, body, len);
}

static void pe_changed(void *arg, enum pe_state state, u32 ecid, enum pe_why why)
{
	struct chain_level *l = arg;
	assert_int_equal(state, l->pe.state);
	assert_int_equal(ecid, l->x.own);
	assert_true(strlen(pe_state_name(state)) && strlen(pe_why_name(why)));
	if (state != PE_UP && state != PE_CREATING)
		assert_int_equal(ecid, 0);
	l->pe_changes++;
	l->pe_why = why;
}

static void vdp_changed(void *arg, enum vdp_state state, u16 vid, enum vdp_why why)
{
	struct chain_level *l = arg;
	assert_int_equal(state, l->vdp.state);
	assert_true(strlen(vdp_state_name(state)) && strlen(vdp_why_name(why)));
	if (state != VDP_STATION_ASSOCIATED)
		assert_true(!vid || why == VDP_WHY_VLAN);
	else if (l->vlan)
		assert_int_equal(vid, l->vlan);
	l->associations += state == VDP_STATION_ASSOCIATED;
	l->vdp_changes++;
	l->vdp_why = why;
	l->vid = vid;
}

static const struct pe_ops pe_ops = { pe_send, pe_changed };
static const struct vdp_station_ops vdp_ops = { vdp_send, vdp_changed };

/* As the glue does: who speaks, whenever a level comes or goes; the station follows. */
static void assign(void)
{
	bool claimed = false;
	for (u32 i = 0; i < CHAIN_LEVELS && chain.level[i].alive; i++) {
		struct chain_level *l = &chain.level[i];
		enum extender_vdp role = extender_vdp_role(l->option, claimed, !is_innermost(i));
		if (l->x.conf.vdp == EXTENDER_VDP_SPEAK && role != EXTENDER_VDP_SPEAK)
			vdp_station_init(&l->vdp, &l->vdp.conf, &vdp_ops, l); /* silently: the port is the same one */
		extender_set_user(&l->x, !is_innermost(i), role);
		claimed = extender_vdp_claims(role);
	}
}

/* The station speaks as soon as data passes. */
static void start_speaker(void)
{
	int s = chain_speaker();
	if (s < 0 || chain.port_down)
		return;
	struct chain_level *l = &chain.level[s];
	if ((chain.s_channel || l->x.data) && l->vdp.state == VDP_STATION_DOWN)
		vdp_station_up(&l->vdp, chain.now_us);
}

void chain_up(u32 i)
{
	struct chain_level *l = &chain.level[i];
	struct extender_conf c = { .external = true, .s_channel = chain.s_channel, .outermost = !i };
	struct pe_conf p = { .depth = i, .port = 1, .seq = (u16)(++l->life * 1000), .confirm_us = PE_CSP_CONFIRM_US };
	struct vdp_conf v = { .vlan = l->vlan, .vsi_type = 7, .seq = (u16)(l->life * 3000) };
	memcpy(c.mac, MAC, 6);
	memcpy(p.mac, MAC, 6);
	memcpy(v.mac, MAC, 6);
	l->alive = true;
	l->control.nr = 0;
	extender_init(&l->x, &c, &extender_ops, l);
	pe_csp_init(&l->pe, &p, &l->x, &pe_ops, l);
	vdp_station_init(&l->vdp, &v, &vdp_ops, l);
	assign();
	pe_csp_start(&l->pe, chain.now_us);
	pe_csp_port(&l->pe, true, chain.now_us);
	start_speaker();
}

void chain_kill(u32 i)
{
	for (u32 k = i; k < CHAIN_LEVELS; k++)
		chain.level[k].alive = false;
	assign();
}

void chain_down(u32 i)
{
	struct chain_level *l = &chain.level[i];
	vdp_station_down(&l->vdp, chain.now_us);
	pe_csp_port(&l->pe, false, chain.now_us);
	chain_run(2 * SECOND);
	pe_csp_stop(&l->pe, chain.now_us);
	chain_kill(i);
}

void chain_all_up(void)
{
	for (u32 i = 0; i < chain.depth; i++)
		if (!chain.level[i].alive)
			chain_up(i);
}

void chain_init(u32 depth, bool s_channel)
{
	memset(&chain, 0, sizeof(chain));
	memset(wire, 0, sizeof(wire));
	chain.depth = depth;
	chain.s_channel = s_channel;
	chain.now_us = 7 * SECOND;
	bridge_init(&chain.bridge, s_channel, from_bridge);
	chain.bridge.now_us = chain.now_us;
}

/* ---- time ---- */

static int first_on_wire(void)
{
	int first = -1;
	for (int i = 0; i < WIRE_MAX; i++)
		if (wire[i].used && (first < 0 || wire[i].at_us < wire[first].at_us ||
		                     (wire[i].at_us == wire[first].at_us && wire[i].order < wire[first].order)))
			first = i;
	return first;
}

static void arrive(int i)
{
	static u8 copy[10000];
	u32 len = wire[i].len;
	u8 *exact = malloc(len); /* so that the sanitizer sees where it ends */
	memcpy(copy, wire[i].frame, len);
	memcpy(exact, copy, len);
	wire[i].used = false;
	if (wire[i].outward)
		bridge_receive(&chain.bridge, exact, len, chain.now_us);
	else if (chain.level[0].alive)
		assert_int_equal(extender_rx(&chain.level[0].x, exact, len), 0);
	free(exact);
}

static void run_control(struct chain_level *l)
{
	for (u32 k = 0; k < l->control.nr; k++) {
		u32 len = l->control.frame[k].len;
		u8 *exact = malloc(len + !len);
		memcpy(exact, l->control.frame[k].body, len);
		if (l->control.frame[k].plane == EXTENDER_PE)
			pe_csp_receive(&l->pe, l->control.frame[k].type, exact, len, chain.now_us);
		else
			vdp_station_receive(&l->vdp, l->control.frame[k].type, exact, len, chain.now_us);
		free(exact);
	}
	l->control.nr = 0;
}

static u64 run_engines(void)
{
	u64 d = DEADLINE_NONE;
	for (u32 i = 0; i < CHAIN_LEVELS; i++) {
		struct chain_level *l = &chain.level[i];
		if (!l->alive)
			continue;
		u32 data = l->x.data;
		run_control(l);
		pe_csp_tick(&l->pe, chain.now_us);
		vdp_station_tick(&l->vdp, chain.now_us);
		if (!chain.s_channel && data != l->x.data)
			vdp_station_moved(&l->vdp, chain.now_us);
		start_speaker();
		assert_true(pe_csp_deadline(&l->pe) > chain.now_us);
		assert_true(vdp_station_deadline(&l->vdp) > chain.now_us);
		d = MIN(d, MIN(pe_csp_deadline(&l->pe), vdp_station_deadline(&l->vdp)));
	}
	bridge_tick(&chain.bridge, chain.now_us);
	return MIN(d, bridge_deadline(&chain.bridge));
}

void chain_run(u64 us)
{
	u64 end = chain.now_us + us;
	u32 frames = chain.nr_frames;
	for (;;) {
		u64 next = run_engines();
		int i = first_on_wire();
		if (i >= 0)
			next = MIN(next, wire[i].at_us);
		if (next > end)
			break;
		chain.now_us = MAX(chain.now_us, next);
		if (i >= 0 && wire[i].at_us <= chain.now_us)
			arrive(i);
	}
	chain.now_us = end;
	assert_in_range(chain.nr_frames - frames, 0, 400 + us / SECOND * 100); /* no storm */
}

/* ---- what is so ---- */

int chain_speaker(void)
{
	int s = -1;
	for (int i = 0; i < CHAIN_LEVELS; i++)
		if (chain.level[i].alive && chain.level[i].x.conf.vdp == EXTENDER_VDP_SPEAK) {
			assert_int_equal(s, -1);
			s = i;
		}
	return s;
}

bool chain_ready(void)
{
	struct bridge_pe *p = bridge_pe(&chain.bridge, 0);
	u32 n = 0;
	for (; n < CHAIN_LEVELS && chain.level[n].alive; n++) {
		if (!p || !p->ecid || p->ecid != chain.level[n].x.own || chain.level[n].pe.state != PE_UP)
			return false;
		p = bridge_pe(&chain.bridge, p->ecid);
	}
	int s = chain_speaker();
	if (s >= 0 && (chain.level[s].vdp.state != VDP_STATION_ASSOCIATED || !chain.bridge.vdp.associated))
		return false;
	return n && !p && bridge_settled(&chain.bridge);
}

u64 chain_settle(u64 at_most_us)
{
	u64 from = chain.now_us;
	while (!chain_ready()) {
		if (chain.now_us - from >= at_most_us)
			return ~0ull;
		chain_run(SECOND / 10);
	}
	return chain.now_us - from;
}

bool chain_traffic(void)
{
	u8 out[300], in[300];
	u32 inner = 0, sent = chain.bridge.data.nr, tag;
	while (inner + 1 < CHAIN_LEVELS && chain.level[inner + 1].alive)
		inner++;
	for (u32 i = 0; i < sizeof(out); i++)
		out[i] = (u8)rand();
	frame_header_put(out, PEER, MAC, 0x0800);
	memcpy(in, out, sizeof(in));
	frame_header_put(in, rand() % 2 ? MAC : (const u8 *)"\xff\xff\xff\xff\xff\xff", PEER, 0x0800);
	u64 got = chain.delivered;
	(void)extender_tx(&chain.level[inner].x, out, sizeof(out));
	bridge_send_data(&chain.bridge, in, sizeof(in));
	chain_run(SECOND / 100);
	if (chain.bridge.data.nr != sent + 1 || chain.delivered != got + 1)
		return false;
	tag = chain.s_channel ? 0 : ETAG_LEN;
	struct bridge_pe *leaf = bridge_leaf(&chain.bridge);
	struct etag t = { 0 };
	if (tag && (etag_parse(chain.bridge.data.frame, chain.bridge.data.len, &t) || !leaf || t.ecid != leaf->ecid))
		return false;
	return chain.bridge.data.len == sizeof(out) + tag && chain.guest.len == sizeof(in) && !memcmp(chain.guest.frame, in, sizeof(in)) &&
	       !memcmp(chain.bridge.data.frame, out, 12) && !memcmp(chain.bridge.data.frame + 12 + tag, out + 12, sizeof(out) - 12);
}

void chain_dump(const char *what)
{
	fprintf(stderr, "%s: depth %u, S-channel %d, %llu ms, %u frames\n", what, chain.depth, chain.s_channel,
	        (unsigned long long)chain.now_us / 1000, chain.nr_frames);
	for (u32 i = 0; i < CHAIN_LEVELS; i++) {
		const struct chain_level *l = &chain.level[i];
		if (!l->alive)
			continue;
		fprintf(stderr, "  level %u: %s (%s) own %x data %x", i, pe_state_name(l->pe.state), pe_why_name(l->pe_why), l->x.own, l->x.data);
		for (u32 k = 0; k < EXTENDER_UNICAST; k++)
			if (l->x.unicast[k])
				fprintf(stderr, " %x", l->x.unicast[k]);
		fprintf(stderr, "; VDP role %u %s (%s)\n", l->x.conf.vdp, vdp_state_name(l->vdp.state), vdp_why_name(l->vdp_why));
	}
	for (u32 i = 0; i < BRIDGE_PES; i++) {
		const struct bridge_pe *p = &chain.bridge.pe[i];
		if (p->used)
			fprintf(stderr, "  bridge: via %x open %d ecid %x have %u asked %d queue %u ecp %d\n", p->via, p->open, p->ecid, p->nr_have, p->asked,
			        p->nr_queue, p->ecp.busy);
	}
	fprintf(stderr, "  bridge: VDP channel %x associated %d bad %u\n", chain.bridge.vdp.channel, chain.bridge.vdp.associated, chain.bridge.nr_bad);
}
