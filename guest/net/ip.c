/*
 * ARP, IPv4, ICMP echo, UDP (ip.h has the invariant). RFC 826, 791, 792, 768, 1071.
 */
#include "guest/net/ip.h"

#include <string.h>

#define TYPE_IP 0x0800
#define TYPE_ARP 0x0806
#define ARP_LEN 28u
#define ARP_REQUEST 1
#define ARP_REPLY 2
#define PROTO_ICMP 1
#define PROTO_UDP 17
#define ICMP_ECHO_REPLY 0
#define ICMP_ECHO_REQUEST 8
#define ICMP_HEADER 8u
#define IP_FRAGMENT 0x3fff /* more fragments, or an offset */
#define IP_DONT_FRAGMENT 0x4000
#define IP_TTL 64

const u8 eth_broadcast[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

static u16 get16(const u8 *p) { return (u16)(p[0] << 8 | p[1]); }
static u32 get32(const u8 *p) { return (u32)get16(p) << 16 | get16(p + 2); }
static void put16(u8 *p, u32 v)
{
	p[0] = (u8)(v >> 8);
	p[1] = (u8)v;
}
static void put32(u8 *p, u32 v)
{
	put16(p, v >> 16);
	put16(p + 2, v);
}

u16 ip_sum(const void *data, u32 len, u32 start)
{
	const u8 *p = data;
	u64 sum = start;

	for (; len >= 8; p += 8, len -= 8) {
		u32 w[2];
		__builtin_memcpy(w, p, 8);
		sum += (u64)w[0] + w[1];
	}
	for (; len >= 2; p += 2, len -= 2) {
		u16 w;
		__builtin_memcpy(&w, p, 2);
		sum += w;
	}
	if (len)
		sum += *p; /* the missing byte is the high one in memory order */
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (u16)sum;
}

/* A checksum field is the sum's complement, in memory order. */
static void put_checksum(u8 *p, u16 sum)
{
	u16 v = (u16)~sum;
	memcpy(p, &v, 2);
}

/* Sum of the pseudo header: addresses lie one after the other at `addresses`. */
static u16 pseudo_sum(const u8 *addresses, u8 proto, u32 len)
{
	u8 rest[4] = { 0, proto, (u8)(len >> 8), (u8)len };
	return ip_sum(rest, 4, ip_sum(addresses, 8, 0));
}

void ip_init(struct ip_stack *s, const u8 mac[6], u32 addr)
{
	memset(s, 0, sizeof(*s));
	memcpy(s->mac, mac, 6);
	s->addr = addr;
}

/* ---- sending ---- */

static void send(struct ip_stack *s, const u8 *to, u16 type, u32 len)
{
	memcpy(s->out, to, 6);
	memcpy(s->out + 6, s->mac, 6);
	put16(s->out + 12, type);
	s->count.tx++;
	s->tx(s->arg, s->out, len);
}

/* IP header before len bytes that lie behind it already. */
static void send_ip(struct ip_stack *s, const u8 *mac, u32 to, u8 proto, u32 len)
{
	u8 *h = s->out + ETH_HEADER;

	h[0] = 0x45;
	h[1] = 0;
	put16(h + 2, IP_HEADER + len);
	put16(h + 4, s->ident++);
	put16(h + 6, IP_DONT_FRAGMENT);
	h[8] = IP_TTL;
	h[9] = proto;
	put16(h + 10, 0);
	put32(h + 12, s->addr);
	put32(h + 16, to);
	put_checksum(h + 10, ip_sum(h, IP_HEADER, 0));
	send(s, mac, TYPE_IP, ETH_HEADER + IP_HEADER + len);
}

void ip_udp_send(struct ip_stack *s, const u8 mac[6], u32 to, u16 to_port, u16 from_port, u32 len)
{
	u8 *h = s->out + ETH_HEADER, *u = h + IP_HEADER;
	u32 total = UDP_HEADER + len;

	ASSERT(len <= UDP_PAYLOAD_MAX);
	put16(u, from_port);
	put16(u + 2, to_port);
	put16(u + 4, total);
	put16(u + 6, 0);
	put32(h + 12, s->addr);
	put32(h + 16, to);
	put_checksum(u + 6, ip_sum(u, total, pseudo_sum(h + 12, PROTO_UDP, total)));
	if (get16(u + 6) == 0)
		put16(u + 6, 0xffff); /* zero would mean: no checksum */
	send_ip(s, mac, to, PROTO_UDP, total);
}

void ip_ping(struct ip_stack *s, const u8 mac[6], u32 to, u16 id, u16 seq, u32 len)
{
	u8 *c = s->out + ETH_HEADER + IP_HEADER;

	ASSERT(len <= UDP_PAYLOAD_MAX);
	memset(c, 0, ICMP_HEADER);
	c[0] = ICMP_ECHO_REQUEST;
	put16(c + 4, id);
	put16(c + 6, seq);
	for (u32 i = 0; i < len; i++)
		c[ICMP_HEADER + i] = (u8)(seq + i);
	put_checksum(c + 2, ip_sum(c, ICMP_HEADER + len, 0));
	send_ip(s, mac, to, PROTO_ICMP, ICMP_HEADER + len);
}

static void send_arp(struct ip_stack *s, u16 op, const u8 *to_mac, const u8 *target_mac, u32 target)
{
	u8 *a = s->out + ETH_HEADER;

	put16(a, 1); /* Ethernet */
	put16(a + 2, TYPE_IP);
	a[4] = 6;
	a[5] = 4;
	put16(a + 6, op);
	memcpy(a + 8, s->mac, 6);
	put32(a + 14, s->addr);
	memcpy(a + 18, target_mac, 6);
	put32(a + 24, target);
	send(s, to_mac, TYPE_ARP, ETH_HEADER + ARP_LEN);
}

void ip_arp_request(struct ip_stack *s, u32 addr)
{
	static const u8 unknown[6];
	send_arp(s, ARP_REQUEST, eth_broadcast, unknown, addr);
}

/* ---- receiving ---- */

const u8 *ip_arp_lookup(const struct ip_stack *s, u32 addr)
{
	for (u32 i = 0; i < ARP_ENTRIES; i++)
		if (s->arp[i].addr == addr && addr)
			return s->arp[i].mac;
	return NULL;
}

static void arp_learn(struct ip_stack *s, u32 addr, const u8 *mac)
{
	u32 i = 0;

	while (i < ARP_ENTRIES && s->arp[i].addr != addr)
		i++;
	if (i == ARP_ENTRIES)
		i = s->arp_next++ % ARP_ENTRIES;
	s->arp[i].addr = addr;
	memcpy(s->arp[i].mac, mac, 6);
}

static void input_arp(struct ip_stack *s, const u8 *a, u32 len)
{
	if (len < ARP_LEN || get16(a) != 1 || get16(a + 2) != TYPE_IP || a[4] != 6 || a[5] != 4) {
		s->count.malformed++;
		return;
	}
	u32 sender = get32(a + 14), target = get32(a + 24);
	if (target != s->addr || sender == 0 || sender == s->addr || (a[8] & 1)) { /* a group address is nobody's own */
		s->count.foreign++;
		s->count.overheard += target != s->addr && get16(a + 6) == ARP_REQUEST;
		return;
	}
	s->count.rx_arp++;
	arp_learn(s, sender, a + 8);
	if (get16(a + 6) == ARP_REQUEST)
		send_arp(s, ARP_REPLY, a + 8, a + 8, sender);
}

static void input_icmp(struct ip_stack *s, const u8 *mac, u32 from, const u8 *c, u32 len)
{
	u8 *out = s->out + ETH_HEADER + IP_HEADER;

	if (len < ICMP_HEADER) {
		s->count.malformed++;
	} else if (ip_sum(c, len, 0) != 0xffff) {
		s->count.bad_checksum++;
	} else if (c[0] == ICMP_ECHO_REQUEST && c[1] == 0) {
		s->count.rx_echo++;
		memcpy(out, c, len);
		out[0] = ICMP_ECHO_REPLY;
		put16(out + 2, 0);
		put_checksum(out + 2, ip_sum(out, len, 0));
		send_ip(s, mac, from, PROTO_ICMP, len);
	} else if (c[0] == ICMP_ECHO_REPLY && c[1] == 0 && s->echo_reply) {
		s->echo_reply(s->arg, from, get16(c + 4), get16(c + 6), c + ICMP_HEADER, len - ICMP_HEADER);
	} else {
		s->count.foreign++;
	}
}

/* h: the IP header, for the pseudo header's addresses. */
static void input_udp(struct ip_stack *s, const u8 *mac, const u8 *h, const u8 *u, u32 len)
{
	u32 total = len < UDP_HEADER ? 0 : get16(u + 4);

	if (total < UDP_HEADER || total > len) {
		s->count.malformed++;
	} else if (get16(u + 6) && ip_sum(u, total, pseudo_sum(h + 12, PROTO_UDP, total)) != 0xffff) {
		s->count.bad_checksum++;
	} else if (!s->udp) {
		s->count.foreign++;
	} else {
		struct udp_datagram d = { .mac = mac, .from = get32(h + 12), .from_port = get16(u), .to_port = get16(u + 2),
					  .payload = u + UDP_HEADER, .len = total - UDP_HEADER };
		s->count.rx_udp++;
		s->udp(s->arg, &d);
	}
}

void ip_group_mac(u32 group, u8 mac[6])
{
	memcpy(mac, (const u8[6]){ 0x01, 0, 0x5e, group >> 16 & 0x7f, group >> 8 & 0xff, group & 0xff }, 6);
}

static bool is_our_group(const struct ip_stack *s, const u8 *frame)
{
	u8 mac[6];

	if (!s->group)
		return false;
	ip_group_mac(s->group, mac);
	return !memcmp(frame, mac, 6);
}

/* To us; to all on our network (a /24), to all there is, to our group, in a frame of that kind only. */
static bool is_for_us(const struct ip_stack *s, const u8 *frame, u32 to)
{
	if (!memcmp(frame, eth_broadcast, 6))
		return to == s->addr || to == 0xffffffff || to == (s->addr | 0xff);
	return is_our_group(s, frame) ? to == s->group : to == s->addr;
}

static void input_ip(struct ip_stack *s, const u8 *frame, const u8 *mac, const u8 *h, u32 len)
{
	u32 header = len < IP_HEADER ? 0 : (h[0] & 15) * 4u;
	u32 total = len < IP_HEADER ? 0 : get16(h + 2);

	if (header < IP_HEADER || h[0] >> 4 != 4 || total < header || total > len || get16(h + 6) & IP_FRAGMENT) {
		s->count.malformed++;
	} else if (ip_sum(h, header, 0) != 0xffff) {
		s->count.bad_checksum++;
	} else if (!is_for_us(s, frame, get32(h + 16)) || get32(h + 12) == 0 || get32(h + 12) == s->addr) {
		s->count.foreign++;
	} else if (h[9] == PROTO_ICMP && get32(h + 16) == s->addr) { /* broadcasts are for UDP only */
		input_icmp(s, mac, get32(h + 12), h + header, total - header);
	} else if (h[9] == PROTO_UDP) {
		input_udp(s, mac, h, h + header, total - header);
	} else {
		s->count.foreign++;
	}
}

/* Who has joined a group gets others, too: a NIC's filter for multicasts is a hash. */
static void count_foreign(struct ip_stack *s, const u8 *frame)
{
	s->count.foreign++;
	s->count.overheard += s->group && frame[0] & 1;
}

void ip_input(struct ip_stack *s, const u8 *frame, u32 len)
{
	s->count.rx++;
	if (len < ETH_HEADER || len > FRAME_MAX) {
		s->count.malformed++;
		return;
	}
	const u8 *mac = frame + 6, *body = frame + ETH_HEADER;
	u32 body_len = len - ETH_HEADER;
	if (!memcmp(mac, s->mac, 6))
		s->count.own++;
	else if ((memcmp(frame, s->mac, 6) && memcmp(frame, eth_broadcast, 6) && !is_our_group(s, frame)) || mac[0] & 1)
		count_foreign(s, frame);
	else if (get16(frame + 12) == TYPE_ARP)
		input_arp(s, body, body_len);
	else if (get16(frame + 12) == TYPE_IP)
		input_ip(s, frame, mac, body, body_len);
	else
		s->count.foreign++;
}
