/*
 * Writes one frame of every class that the extender's codecs make to a file in pcap's format, for a decoder that is not ours to read
 * (test_frames.py, which knows the frames by their order and names).
 *
 * Usage: frames FILE    prints a frame's name a line
 */
#include <stdio.h>
#include <stdlib.h>

#include "nic/ecp.h"
#include "nic/etag.h"
#include "nic/frame.h"
#include "nic/lldp.h"
#include "nic/pe_csp_pdu.h"
#include "nic/vdp_pdu.h"

#define ROOM 1514u

static const u8 station[FRAME_MAC_LEN] = { 2, 0, 0, 0, 0, 7 }, bridge[FRAME_MAC_LEN] = { 2, 0, 0, 0, 0, 9 };
static u8 frame[ROOM];
static u16 seq = 0x1234;
static FILE *file;

void panic(const char *fmt, ...)
{
	fprintf(stderr, "panic: %s\n", fmt);
	abort();
}

static u32 made(int len)
{
	if (len <= 0)
		panic("a codec refused");
	return (u32)len;
}

static void put(const void *bytes, u32 len)
{
	if (fwrite(bytes, 1, len, file) != len)
		panic("the file cannot be written");
}

/* One in the file, padded as on a wire. */
static void write_frame(const char *name, u32 len)
{
	u32 padded = MAX(len, FRAME_MIN_LEN);
	memset(frame + len, 0, padded - len);
	put((const u32[]){ 0, 0, padded, padded }, 16);
	put(frame, padded);
	puts(name);
}

static u8 *payload(const u8 *to, const u8 *from, u16 type)
{
	frame_header_put(frame, to, from, type);
	return frame + FRAME_HEADER_LEN;
}

/* ---- E-TAG ---- */

static void etag(const char *name, const struct etag *t)
{
	u8 *p = payload(bridge, station, 0x0806);
	memcpy(p, (const u8[]){ 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 7, 10, 0, 0, 7, 0, 0, 0, 0, 0, 0, 10, 0, 0, 9 }, 28);
	memset(p + 28, 0, 32);
	write_frame(name, made(etag_insert(frame, ROOM, frame, FRAME_MIN_LEN, t)));
}

static void etags(void)
{
	etag("etag-up", &(struct etag){ .pcp = 5, .ecid = 0x12345 });
	etag("etag-down", &(struct etag){ .dei = true, .ecid = 0x12346, .ingress = 0xfffff });
	etag("etag-group", &(struct etag){ .ecid = 0x00001, .grp = 2, .ingress = 0x12345 });
}

/* ---- LLDP ---- */

static void lldp(const char *name, const u8 *to, const u8 *from, struct lldp l)
{
	l.chassis = (struct lldp_id){ LLDP_CHASSIS_MAC, FRAME_MAC_LEN, from };
	l.port = (struct lldp_id){ LLDP_PORT_LOCAL, 5, (const u8 *)"port0" };
	u8 *p = payload(to, from, FRAME_TYPE_LLDP);
	write_frame(name, FRAME_HEADER_LEN + made(lldp_build(p, ROOM - FRAME_HEADER_LEN, &l)));
}

static void lldps(void)
{
	const struct lldp_evb evb = { .bridge = LLDP_EVB_RRCAP | LLDP_EVB_RRCTR, .station = LLDP_EVB_RRREQ | 1, .retries = 3, .rte = 8,
				      .mode = LLDP_EVB_STATION, .remote_wait = true, .rwd = 20, .remote_keep = true, .rka = 20 };
	const struct lldp_pe pe = { .priority = 128, .pe = { 2, 0, 0, 0, 0, 7 }, .csp = { 2, 0, 0, 0, 0, 7 } };
	lldp("lldp", FRAME_NEAREST_BRIDGE, station, (struct lldp){ .ttl = 120 });
	lldp("lldp-goodbye", FRAME_NEAREST_BRIDGE, station, (struct lldp){ .ttl = 0 });
	lldp("lldp-evb", FRAME_NEAREST_CUSTOMER_BRIDGE, station, (struct lldp){ .ttl = 120, .has_evb = true, .evb = evb });
	lldp("lldp-pe", FRAME_NEAREST_NON_TPMR_BRIDGE, station, (struct lldp){ .ttl = 120, .has_pe = true, .pe = pe });
	lldp("lldp-both", FRAME_NEAREST_CUSTOMER_BRIDGE, station,
	     (struct lldp){ .ttl = 120, .has_evb = true, .evb = evb, .has_pe = true, .pe = pe });
}

/* ---- ECP and what it carries ---- */

/* Writes the header; where the payload belongs. */
static u8 *ecp(u8 op, u16 subtype)
{
	u8 *p = payload(subtype == ECP_VDP ? FRAME_NEAREST_CUSTOMER_BRIDGE : FRAME_NEAREST_NON_TPMR_BRIDGE, op ? bridge : station, FRAME_TYPE_ECP);
	return p + made(ecp_build(p, ROOM - FRAME_HEADER_LEN, &(struct ecp){ op, subtype, seq++ }));
}

static void vdp(const char *name, u8 type, u8 status, u8 format, u32 nr)
{
	struct vdp_pdu v = { .manager = { [15] = 1 }, .nr_vsis = 1 };
	v.vsi[0] = (struct vdp_vsi){ .type = type, .status = status, .vsi_type = 5, .vsi_type_version = 1, .id_format = VDP_VSIID_MAC,
				     .filter_format = format, .nr_filters = nr };
	memcpy(v.vsi[0].id + 10, station, FRAME_MAC_LEN);
	for (u32 i = 0; i < nr; i++) {
		struct vdp_filter *f = &v.vsi[0].filter[i];
		f->vid = (u16)(100 + i);
		if (format == VDP_FILTER_MAC_VID || format == VDP_FILTER_GROUP_MAC_VID)
			memcpy(f->mac, station, FRAME_MAC_LEN);
		if (format >= VDP_FILTER_GROUP_VID)
			f->group = 0x01020304;
	}
	u8 *p = ecp(ECP_REQUEST, ECP_VDP);
	write_frame(name, (u32)(p - frame) + made(vdp_build(p, 1024, &v)));
}

static void vdps(void)
{
	vdp("vdp-preassoc", VDP_PREASSOC, VDP_MIGRATED, VDP_FILTER_MAC_VID, 1);
	vdp("vdp-preassoc-rr", VDP_PREASSOC_RR, 0, VDP_FILTER_MAC_VID, 1);
	vdp("vdp-assoc-vid", VDP_ASSOC, 0, VDP_FILTER_VID, 1);
	vdp("vdp-assoc-mac-vid", VDP_ASSOC, 0, VDP_FILTER_MAC_VID, 1);
	vdp("vdp-assoc-group-vid", VDP_ASSOC, 0, VDP_FILTER_GROUP_VID, 1);
	vdp("vdp-assoc-group-mac-vid", VDP_ASSOC, 0, VDP_FILTER_GROUP_MAC_VID, 1);
	vdp("vdp-assoc-many", VDP_ASSOC, 0, VDP_FILTER_MAC_VID, VDP_MAX_FILTERS);
	vdp("vdp-answer", VDP_ASSOC, VDP_ACK, VDP_FILTER_MAC_VID, 1);
	vdp("vdp-refused", VDP_ASSOC, VDP_ACK | VDP_KEEP | VDP_INSUFFICIENT_RESOURCES, VDP_FILTER_MAC_VID, 1);
	vdp("vdp-deassoc", VDP_DEASSOC, 0, VDP_FILTER_MAC_VID, 1);
	ecp(ECP_ACK, ECP_VDP);
	write_frame("ecp-ack", FRAME_HEADER_LEN + ECP_LEN);
}

static void pe_csp(const char *name, const struct pe_csp *m)
{
	u8 *p = ecp(ECP_REQUEST, ECP_PE_CSP);
	write_frame(name, (u32)(p - frame) + made(pe_csp_build(p, 1024, m)));
}

static void pe_csps(void)
{
	struct pe_csp m = { .command = PE_CSP_OPEN, .transaction = 1 };
	pe_csp("pe-csp-open", &m);
	m.response = true;
	pe_csp("pe-csp-open-answer", &m);
	m = (struct pe_csp){ .command = PE_CSP_PORT_CREATE, .transaction = 2, .has_port = true, .port = 1 };
	pe_csp("pe-csp-create", &m);
	m.response = true;
	m.nr_ecids = 1;
	m.ecid[0] = (struct pe_csp_ecid){ 0, 0x12345, PE_CSP_UNTAGGED };
	pe_csp("pe-csp-create-answer", &m);
	m = (struct pe_csp){ .command = PE_CSP_PORT_DELETE, .transaction = 3, .has_port = true, .port = 1 };
	pe_csp("pe-csp-delete", &m);
	m = (struct pe_csp){ .command = PE_CSP_ECHANNEL_REGISTER, .transaction = 4, .has_port = true, .port = 1, .nr_ecids = 1 };
	m.ecid[0] = (struct pe_csp_ecid){ 2, 1, PE_CSP_TAGGED };
	pe_csp("pe-csp-register", &m);
	ecp(ECP_ACK, ECP_PE_CSP);
	write_frame("pe-csp-ack", FRAME_HEADER_LEN + ECP_LEN);
}

int main(int argc, char **argv)
{
	file = argc == 2 ? fopen(argv[1], "wb") : NULL;
	if (!file)
		panic("usage: frames FILE");
	put((const u32[]){ 0xa1b2c3d4, 4 << 16 | 2, 0, 0, 65535, 1 }, 24); /* version 2.4, Ethernet */
	etags();
	lldps();
	vdps();
	pe_csps();
	return fclose(file) ? 1 : 0;
}
