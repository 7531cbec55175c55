/*
 * libFuzzer: a port extender with both engines, as one level has them. An input is a program for a hostile wire and a hostile cascade: frames of
 * any bytes, PDUs that are right but for what they say, and time.
 *
 * Invariant that is tested besides: no frame leaves with an E-CID that was not given; a deadline lies ahead; whatever was before, with a bridge
 * that behaves the extender gets its E-CID and the port its association.
 */
#include <stdlib.h>
#include <string.h>

#include "nic/pe_csp.h"
#include "nic/vdp.h"

int LLVMFuzzerTestOneInput(const u8 *bytes, size_t len);

#define CHECK(cond) do { if (!(cond)) panic("check failed: " #cond); } while (0)
#define MAC ((const u8[6]){ 2, 0, 0, 0, 0, 1 })
#define BRIDGE ((const u8[6]){ 2, 0, 0, 0, 0, 9 })

static struct extender x;
static struct pe_csp_engine pe;
static struct vdp_station vdp;
static u64 now;
static const u8 *in, *in_end;
static u32 nr_sent;
/* control frames handed over, for the engines when nobody is in the middle of something */
static struct { enum extender_plane plane; u16 type; u32 len; u8 body[600]; } inbox[8];
static u32 nr_inbox;
/* the last request of each engine, for answers that fit */
static struct pe_csp asked;
static struct vdp_pdu vdp_asked;
static bool has_asked, has_vdp_asked;
static u16 seq;

static u64 take(u32 n)
{
	u64 v = 0;
	for (u32 i = 0; i < n; i++)
		v |= (u64)(in < in_end ? *in++ : 0) << i * 8;
	return v;
}

/* ---- what goes out ---- */

static int down(void *arg, const u8 *frame, u32 len)
{
	struct etag t;
	(void)arg;
	CHECK(len >= FRAME_HEADER_LEN && len <= EXTENDER_FRAME_MAX);
	int r = etag_parse(frame, len, &t);
	CHECK(r != -22 || !x.conf.external);
	if (!r)
		CHECK(!t.grp && !t.ingress && t.ecid && (t.ecid == x.own || extender_registered(&x, 0, t.ecid)));
	else
		CHECK(x.conf.s_channel || !memcmp(frame, FRAME_NEAREST_NON_TPMR_BRIDGE, 6));
	return 0;
}

static int up(void *arg, const u8 *frame, u32 len)
{
	(void)arg, (void)frame;
	CHECK(len >= FRAME_HEADER_LEN);
	return 0;
}

static void control(void *arg, enum extender_plane plane, u16 type, const u8 *body, u32 len)
{
	(void)arg;
	if (nr_inbox == ARRAY_SIZE(inbox) || len > sizeof(inbox[0].body))
		return;
	inbox[nr_inbox].plane = plane;
	inbox[nr_inbox].type = type;
	inbox[nr_inbox].len = len;
	memcpy(inbox[nr_inbox++].body, body, len);
}


static void pe_send(void *arg, u16 type, const u8 *body, u32 len)
{
	(void)arg;
	nr_sent++;
	CHECK(!extender_send_pe(&x, type, body, len));
	if (type == FRAME_TYPE_ECP && !(body[0] & 0x0c) && !pe_csp_parse(body + ECP_LEN, len - ECP_LEN, &asked))
		has_asked = !asked.response;
}

static void vdp_send(void *arg, u16 type, const u8 *body, u32 len)
{
	(void)arg;
	nr_sent++;
	(void)extender_send_vdp(&x, type, body, len);
	if (type == FRAME_TYPE_ECP && !(body[0] & 0x0c))
		has_vdp_asked = !vdp_parse(body + ECP_LEN, len - ECP_LEN, &vdp_asked);
}

static void pe_changed(void *arg, enum pe_state state, u32 ecid, enum pe_why why)
{
	(void)arg, (void)why;
	CHECK(state == pe.state && ecid == x.own);
}
static void vdp_changed(void *arg, enum vdp_state state, u16 vid, enum vdp_why why)
{
	(void)arg;
	CHECK(state == vdp.state && (state == VDP_STATION_ASSOCIATED || !vid || why == VDP_WHY_VLAN));
}

static const struct extender_ops ops = { down, up, control };
static const struct pe_ops pe_ops = { pe_send, pe_changed };
static const struct vdp_station_ops vdp_ops = { vdp_send, vdp_changed };

/* ---- what comes in ---- */

static void to_engine(enum extender_plane plane, u16 type, const u8 *body, u32 len)
{
	u8 *exact = malloc(len + !len); /* so that the sanitizer sees where it ends */
	memcpy(exact, body, len);
	if (plane == EXTENDER_PE)
		pe_csp_receive(&pe, type, exact, len, now);
	else
		vdp_station_receive(&vdp, type, exact, len, now);
	free(exact);
}

static void run(void)
{
	u32 before = nr_sent;
	for (u32 i = 0; i < nr_inbox; i++)
		to_engine(inbox[i].plane, inbox[i].type, inbox[i].body, inbox[i].len);
	nr_inbox = 0;
	pe_csp_tick(&pe, now);
	vdp_station_tick(&vdp, now);
	CHECK(pe_csp_deadline(&pe) > now && vdp_station_deadline(&vdp) > now);
	CHECK(nr_sent - before < 64);
}

static void acknowledge(u16 subtype)
{
	u8 ack[ECP_LEN];
	u16 n = subtype == ECP_VDP ? vdp.ecp.seq : pe.ecp.seq;
	CHECK(ecp_build(ack, sizeof(ack), &(struct ecp){ ECP_ACK, subtype, n }) > 0);
	to_engine(subtype == ECP_VDP ? EXTENDER_VDP : EXTENDER_PE, FRAME_TYPE_ECP, ack, sizeof(ack));
}

static void csp(const struct pe_csp *m)
{
	u8 pdu[400];
	int n = ecp_build(pdu, sizeof(pdu), &(struct ecp){ ECP_REQUEST, ECP_PE_CSP, ++seq });
	int k = pe_csp_build(pdu + n, sizeof(pdu) - (u32)n, m);
	if (k > 0)
		to_engine(EXTENDER_PE, FRAME_TYPE_ECP, pdu, (u32)(n + k));
}

static void vdp_pdu(const struct vdp_pdu *p)
{
	u8 pdu[400];
	int n = ecp_build(pdu, sizeof(pdu), &(struct ecp){ ECP_REQUEST, ECP_VDP, ++seq });
	int k = vdp_build(pdu + n, sizeof(pdu) - (u32)n, p);
	if (k > 0)
		to_engine(EXTENDER_VDP, FRAME_TYPE_ECP, pdu, (u32)(n + k));
}

static void lldp(enum extender_plane plane, u8 name, u16 ttl, u32 odd)
{
	u8 pdu[200];
	struct lldp l = { { LLDP_CHASSIS_MAC, 6, BRIDGE }, { LLDP_PORT_LOCAL, 1, &name }, .ttl = ttl, .has_pe = plane == EXTENDER_PE };
	l.has_evb = plane == EXTENDER_VDP;
	l.evb = (struct lldp_evb){ .mode = LLDP_EVB_BRIDGE, .bridge = odd & 7, .station = odd >> 3 & 7, .retries = odd >> 6 & 7,
	                           .rte = odd >> 9 & 31, .remote_wait = odd >> 14 & 1, .rwd = odd >> 15 & 31, .remote_keep = odd >> 20 & 1,
	                           .rka = odd >> 21 & 31 };
	if (odd >> 30)
		l.evb.mode = odd >> 30;
	int n = lldp_build(pdu, sizeof(pdu), &l);
	if (n > 0)
		to_engine(plane, FRAME_TYPE_LLDP, pdu, (u32)n);
}

static void answer_csp(u32 odd)
{
	struct pe_csp m = asked;
	m.response = true;
	m.result = odd % 8 ? 0 : odd / 8 % PE_CSP_NR_RESULTS;
	m.transaction += odd >> 6 & 1 & odd >> 7;
	if (m.command == PE_CSP_PORT_CREATE && !m.result) {
		m.nr_ecids = 1;
		m.ecid[0] = (struct pe_csp_ecid){ 0, 1 + (odd >> 8) % 40, PE_CSP_UNTAGGED };
	}
	if (has_asked)
		csp(&m);
}

static void request_csp(void)
{
	u32 odd = (u32)take(2);
	struct pe_csp m = { .command = odd % PE_CSP_NR_COMMANDS, .transaction = (u16)(odd >> 8), .has_port = odd % PE_CSP_NR_COMMANDS };
	m.port = m.has_port ? (odd >> 3 & 7 ? 1 : 2) : 0;
	if (m.command == PE_CSP_ECHANNEL_REGISTER)
		for (u32 n = 1 + odd / 64 % 40; m.nr_ecids < n; m.nr_ecids++) {
			u32 e = (u32)take(1);
			m.ecid[m.nr_ecids] = (struct pe_csp_ecid){ e & 3, 1 + (e >> 2) % 40, (u8)take(1) % PE_CSP_NR_ACTIONS };
		}
	csp(&m);
}

static void answer_vdp(u32 odd)
{
	struct vdp_pdu p = vdp_asked;
	p.vsi[0].status = odd % 4 ? VDP_ACK : (u8)(odd >> 8) & VDP_STATUS_MASK;
	if (!(odd & 0x30))
		p.vsi[0].type = 1 + (odd >> 6 & 3);
	if (odd & 0x8000)
		p.vsi[0].filter[0].vid = odd >> 16 & 0xfff;
	if (has_vdp_asked)
		vdp_pdu(&p);
}

/* A frame of any bytes, often with addresses, types and E-CIDs that mean something. */
static void any_frame(void)
{
	u8 frame[300];
	u32 how = (u32)take(1), len = (u32)take(2) % sizeof(frame), tag = 0;
	for (u32 i = 0; i < len; i++)
		frame[i] = in < in_end ? *in++ : (u8)i;
	if (len >= 40) {
		memcpy(frame, (const u8 *[]){ MAC, BRIDGE, FRAME_NEAREST_CUSTOMER_BRIDGE, FRAME_NEAREST_NON_TPMR_BRIDGE }[how & 3], 6);
		if (how & 4) {
			(void)etag_put(frame + 12, &(struct etag){ .ecid = 1 + (how >> 3 & 15), .grp = how >> 7, .ingress = frame[20] & 15 });
			tag = ETAG_LEN;
		}
		be16_put(frame + 12 + tag, (u16[]){ FRAME_TYPE_LLDP, FRAME_TYPE_ECP, FRAME_TYPE_ETAG, 0x0800 }[how >> 3 & 3]);
	}
	u8 *exact = malloc(len + !len);
	memcpy(exact, frame, len);
	CHECK(!(take(1) & 1 ? extender_tx : extender_rx)(&x, exact, len));
	free(exact);
}

static void step(void)
{
	static const u64 pass[] = { 1000, 200000, 1000000, 11000000, 31000000, 130000000, 400000000, 3600000000ull };
	u32 odd;
	switch (take(1) % 14) {
	case 0: case 1: any_frame(); break;
	case 2: odd = (u32)take(4); lldp(EXTENDER_PE, odd & 1, (u16)(odd >> 1 & 7 ? 120 : 0), odd); break;
	case 3: odd = (u32)take(4); lldp(EXTENDER_VDP, (u8)take(1) & 1, (u16)(odd & 0x1c000000 ? 120 : 0), odd); break;
	case 4: acknowledge(ECP_PE_CSP); break;
	case 5: acknowledge(ECP_VDP); break;
	case 6: answer_csp((u32)take(2)); break;
	case 7: request_csp(); break;
	case 8: answer_vdp((u32)take(4)); break;
	case 9: now += pass[take(1) & 7]; break;
	case 10: odd = (u32)take(1); pe_csp_port(&pe, odd & 1, now); break;
	case 11: (take(1) & 1 ? vdp_station_up : vdp_station_down)(&vdp, now); break;
	case 12: odd = (u32)take(1); extender_set_user(&x, odd & 1, odd >> 1 & 1 ? EXTENDER_VDP_PASS : EXTENDER_VDP_SPEAK); break;
	default:
		odd = (u32)take(1) & 7;
		if (odd == 0)
			pe_csp_stop(&pe, now);
		else if (odd == 1)
			vdp_station_moved(&vdp, now);
		else
			pe_csp_start(&pe, now);
	}
	run();
}

/* As if nothing had been: a bridge that answers at once. */
static void works(void)
{
	pe_csp_start(&pe, now);
	pe_csp_port(&pe, true, now);
	extender_set_user(&x, false, EXTENDER_VDP_SPEAK);
	vdp_station_up(&vdp, now);
	lldp(EXTENDER_PE, 9, 120, 0);
	lldp(EXTENDER_VDP, 9, 120, 0);
	for (u32 i = 0; i < 200 && (pe.state != PE_UP || vdp.state != VDP_STATION_ASSOCIATED); i++) {
		lldp(EXTENDER_PE, 9, 120, 0);
		lldp(EXTENDER_VDP, 9, 120, 0);
		acknowledge(ECP_PE_CSP);
		acknowledge(ECP_VDP);
		if (pe.asking)
			answer_csp(1);
		if (vdp.type)
			answer_vdp(0x31);
		now += i % 8 ? 100000 : 40000000;
		run();
	}
	CHECK(pe.state == PE_UP && x.own && vdp.state == VDP_STATION_ASSOCIATED);
}

int LLVMFuzzerTestOneInput(const u8 *bytes, size_t len)
{
	struct extender_conf c = { .external = true, .cascade = true, .vdp = EXTENDER_VDP_SPEAK };
	struct pe_conf p = { .port = 1, .confirm_us = PE_CSP_CONFIRM_US };
	struct vdp_conf v = { .vsi_type = 1 };
	in = bytes;
	in_end = bytes + len;
	now = 1000000;
	nr_sent = nr_inbox = seq = 0;
	has_asked = has_vdp_asked = false;
	memcpy(c.mac, MAC, 6);
	memcpy(p.mac, MAC, 6);
	memcpy(v.mac, MAC, 6);
	u32 how = (u32)take(1);
	c.s_channel = how & 1;
	c.outermost = how & 2;
	v.vlan = how & 4 ? 5 : 0;
	extender_init(&x, &c, &ops, NULL);
	pe_csp_init(&pe, &p, &x, &pe_ops, NULL);
	vdp_station_init(&vdp, &v, &vdp_ops, NULL);
	if (how & 8)
		works();
	for (u32 i = 0; in < in_end && i < 500; i++)
		step();
	works();
	return 0;
}
