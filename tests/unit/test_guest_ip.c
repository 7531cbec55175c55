/*
 * guest/net/ip.c: what is well-formed and for us is answered rightly, checksums included; everything else is counted and
 * dropped, without a byte read past the frame (each frame lies at the end of its own heap block, under ASan).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "guest/net/ip.h"

#define US 0x0a000002u
#define PEER 0x0a000001u

static const u8 our_mac[6] = { 0x52, 0x54, 0, 0, 0, 2 }, peer_mac[6] = { 0x52, 0x54, 0, 0, 0, 1 };
static struct ip_stack ip;
static u8 sent[FRAME_MAX];
static u32 nr_sent, sent_len;
static struct udp_datagram datagram;
static u32 nr_datagrams, nr_replies;
static u8 payload[FRAME_MAX];

static void tx(void *arg, const u8 *frame, u32 len)
{
	assert_ptr_equal(arg, &ip);
	memcpy(sent, frame, len);
	sent_len = len;
	nr_sent++;
}

static void udp(void *arg, const struct udp_datagram *d)
{
	(void)arg;
	datagram = *d;
	memcpy(payload, d->payload, d->len);
	nr_datagrams++;
}

static void echo_reply(void *arg, u32 from, u16 id, u16 seq, const u8 *data, u32 len)
{
	(void)arg;
	assert_int_equal(from, PEER);
	assert_int_equal(id, 7);
	assert_int_equal(seq, 0x102);
	for (u32 i = 0; i < len; i++)
		assert_int_equal(data[i], (u8)(0x102 + i));
	nr_replies++;
}

static int reset(void **state)
{
	(void)state;
	ip_init(&ip, our_mac, US);
	ip.arg = &ip;
	ip.tx = tx;
	ip.udp = udp;
	ip.echo_reply = echo_reply;
	nr_sent = nr_datagrams = nr_replies = sent_len = 0;
	return 0;
}

/* Hand over the first len bytes of frame, in a block of exactly that size. */
static void input(const u8 *frame, u32 len)
{
	u8 *copy = malloc(len ? len : 1);

	memcpy(copy, frame, len);
	ip_input(&ip, copy, len);
	free(copy);
}

static void put16(u8 *p, u32 v) { p[0] = (u8)(v >> 8), p[1] = (u8)v; }
static u32 get16(const u8 *p) { return (u32)p[0] << 8 | p[1]; }
static void put32(u8 *p, u32 v) { put16(p, v >> 16), put16(p + 2, v); }

/* An independent, plain checksum: the sum of big-endian words, complemented. */
static u32 plain_checksum(const u8 *p, u32 len, u32 sum)
{
	for (u32 i = 0; i < len; i++)
		sum += i & 1 ? p[i] : (u32)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum & 0xffff;
}

static u32 pseudo(const u8 *h, u32 proto, u32 len)
{
	return get16(h + 12) + get16(h + 14) + get16(h + 16) + get16(h + 18) + proto + len;
}

static u32 ethernet(u8 *f, u16 type)
{
	memcpy(f, our_mac, 6);
	memcpy(f + 6, peer_mac, 6);
	put16(f + 12, type);
	return ETH_HEADER;
}

/* IP from the peer to us around len bytes that lie behind the headers; header words of options are zero (end of options). */
static u32 ip_frame(u8 *f, u8 proto, u32 header, u32 len)
{
	u8 *h = f + ethernet(f, 0x0800);

	memset(h, 0, header);
	h[0] = (u8)(0x40 | header / 4);
	put16(h + 2, header + len);
	h[8] = 9;
	h[9] = proto;
	put32(h + 12, PEER);
	put32(h + 16, US);
	put16(h + 10, plain_checksum(h, header, 0));
	return ETH_HEADER + header + len;
}

static u32 udp_frame(u8 *f, const char *text, u32 len)
{
	u8 *h = f + ETH_HEADER, *u = h + IP_HEADER;
	u32 total = ip_frame(f, 17, IP_HEADER, UDP_HEADER + len);

	put16(u, 1000);
	put16(u + 2, 7);
	put16(u + 4, UDP_HEADER + len);
	put16(u + 6, 0);
	memcpy(u + 8, text, len);
	put16(u + 6, plain_checksum(u, UDP_HEADER + len, pseudo(h, 17, UDP_HEADER + len)));
	return total;
}

static u32 echo_frame(u8 *f, u32 len)
{
	u8 *c = f + ETH_HEADER + IP_HEADER;
	u32 total = ip_frame(f, 1, IP_HEADER, 8 + len);

	memset(c, 0, 8);
	c[0] = 8;
	put16(c + 4, 7);
	put16(c + 6, 1);
	for (u32 i = 0; i < len; i++)
		c[8 + i] = (u8)i;
	put16(c + 2, plain_checksum(c, 8 + len, 0));
	return total;
}

static u32 arp_frame(u8 *f, u32 op, u32 sender, u32 target)
{
	u8 *a = f + ethernet(f, 0x0806);

	memcpy(a, (u8[]){ 0, 1, 8, 0, 6, 4 }, 6);
	put16(a + 6, op);
	memcpy(a + 8, peer_mac, 6);
	put32(a + 14, sender);
	memset(a + 18, 0, 6);
	put32(a + 24, target);
	return ETH_HEADER + 28;
}

/* What was sent is a right IP packet from us to the peer. */
static const u8 *sent_ip(u32 proto)
{
	const u8 *h = sent + ETH_HEADER;

	assert_memory_equal(sent, peer_mac, 6);
	assert_memory_equal(sent + 6, our_mac, 6);
	assert_int_equal(get16(sent + 12), 0x0800);
	assert_int_equal(h[0], 0x45);
	assert_int_equal(h[9], proto);
	assert_int_equal(get16(h + 2), sent_len - ETH_HEADER);
	assert_int_equal(plain_checksum(h, IP_HEADER, 0), 0);
	assert_int_equal(get16(h + 12) << 16 | get16(h + 14), US);
	assert_int_equal(get16(h + 16) << 16 | get16(h + 18), PEER);
	return h + IP_HEADER;
}

static void test_sum(void **state)
{
	u8 data[64];

	(void)state;
	for (u32 i = 0; i < sizeof(data); i++)
		data[i] = (u8)(i * 37 + 200);
	for (u32 len = 0; len <= sizeof(data); len++) {
		u16 sum = ip_sum(data, len, 0);
		u8 bytes[2];
		memcpy(bytes, &sum, 2);
		assert_int_equal(get16(bytes), ~plain_checksum(data, len, 0) & 0xffff);
	}
}

static void test_arp_request(void **state)
{
	u8 f[64];

	(void)state;
	u32 len = arp_frame(f, 1, PEER, US);
	memset(f, 0xff, 6);
	input(f, len);
	assert_int_equal(nr_sent, 1);
	assert_memory_equal(sent, peer_mac, 6);
	assert_int_equal(get16(sent + 12), 0x0806);
	assert_int_equal(get16(sent + ETH_HEADER + 6), 2);
	assert_memory_equal(sent + ETH_HEADER + 8, our_mac, 6);
	assert_int_equal(get16(sent + ETH_HEADER + 16), US & 0xffff);
	assert_memory_equal(ip_arp_lookup(&ip, PEER), peer_mac, 6);
}

static void test_arp_not_for_us(void **state)
{
	u8 f[64];

	(void)state;
	input(f, arp_frame(f, 1, PEER, US + 1));
	input(f, arp_frame(f, 2, US, US));
	input(f, arp_frame(f, 2, 0, US));
	assert_int_equal(ip.count.foreign, 3);
	u32 len = arp_frame(f, 2, PEER, US);
	f[ETH_HEADER + 4] = 8;
	input(f, len);
	assert_int_equal(ip.count.malformed, 1);
	assert_int_equal(nr_sent, 0);
	assert_null(ip_arp_lookup(&ip, PEER));
	assert_null(ip_arp_lookup(&ip, 0));
}

static void test_arp_reply_and_table(void **state)
{
	u8 f[64];

	(void)state;
	ip_arp_request(&ip, PEER);
	assert_int_equal(nr_sent, 1);
	assert_memory_equal(sent, "\xff\xff\xff\xff\xff\xff", 6);
	for (u32 i = 0; i < 3 * ARP_ENTRIES; i++)
		input(f, arp_frame(f, 2, PEER + 10 + i, US));
	input(f, arp_frame(f, 2, PEER, US));
	assert_int_equal(nr_sent, 1);
	assert_non_null(ip_arp_lookup(&ip, PEER));
	assert_non_null(ip_arp_lookup(&ip, PEER + 9 + 3 * ARP_ENTRIES));
	assert_null(ip_arp_lookup(&ip, PEER + 10));
}

static void test_echo(void **state)
{
	static const u32 lengths[] = { 0, 1, 2, 55, 56, FRAME_MAX - ETH_HEADER - IP_HEADER - 8 };
	u8 f[FRAME_MAX];

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(lengths); i++) {
		input(f, echo_frame(f, lengths[i]));
		assert_int_equal(nr_sent, i + 1);
		const u8 *c = sent_ip(1);
		assert_int_equal(c[0], 0);
		assert_int_equal(plain_checksum(c, 8 + lengths[i], 0), 0);
		assert_memory_equal(c + 4, f + ETH_HEADER + IP_HEADER + 4, 4 + lengths[i]);
	}
}

static void test_ping(void **state)
{
	(void)state;
	ip_ping(&ip, peer_mac, PEER, 7, 0x102, 33);
	u8 *c = sent + ETH_HEADER + IP_HEADER;
	assert_ptr_equal(sent_ip(1), c);
	assert_int_equal(plain_checksum(c, 41, 0), 0);
	/* Turned round it is an answer, which must come back as it went. */
	u8 f[FRAME_MAX];
	u32 len = ip_frame(f, 1, IP_HEADER, 41);
	memcpy(f + ETH_HEADER + IP_HEADER, c, 41);
	c = f + ETH_HEADER + IP_HEADER;
	c[0] = 0;
	put16(c + 2, 0);
	put16(c + 2, plain_checksum(c, 41, 0));
	input(f, len);
	assert_int_equal(nr_replies, 1);
}

static void test_udp_in(void **state)
{
	u8 f[FRAME_MAX];

	(void)state;
	u32 len = udp_frame(f, "hello", 5);
	memset(f + len, 0xee, 60 - len); /* padding of a short frame is not payload */
	input(f, 60);
	assert_int_equal(nr_datagrams, 1);
	assert_int_equal(datagram.len, 5);
	assert_int_equal(datagram.from, PEER);
	assert_int_equal(datagram.from_port, 1000);
	assert_int_equal(datagram.to_port, 7);
	assert_memory_equal(payload, "hello", 5);
	put16(f + ETH_HEADER + IP_HEADER + 6, 0); /* no checksum */
	f[len - 1] = 'p';
	input(f, len);
	assert_int_equal(nr_datagrams, 2);
	ip.udp = NULL;
	input(f, len);
	assert_int_equal(ip.count.foreign, 1);
}

static void test_udp_out(void **state)
{
	(void)state;
	for (u32 len = 0; len <= UDP_PAYLOAD_MAX; len += len < 20 ? 1 : 97) {
		memset(ip_udp_payload(&ip), (int)len, len);
		ip_udp_send(&ip, peer_mac, PEER, 1000, 7, len);
		const u8 *u = sent_ip(17);
		assert_int_equal(get16(u), 7);
		assert_int_equal(get16(u + 2), 1000);
		assert_int_equal(get16(u + 4), UDP_HEADER + len);
		assert_int_not_equal(get16(u + 6), 0);
		assert_int_equal(plain_checksum(u, UDP_HEADER + len, pseudo(sent + ETH_HEADER, 17, UDP_HEADER + len)), 0);
	}
	expect_assert_failure(ip_udp_send(&ip, peer_mac, PEER, 1, 1, UDP_PAYLOAD_MAX + 1));
}

static void test_udp_checksum_zero(void **state)
{
	(void)state;
	for (u32 v = 0; v < 65536; v++) { /* one of these sums to a checksum of zero, which is sent as ones */
		put16(ip_udp_payload(&ip), v);
		ip_udp_send(&ip, peer_mac, PEER, 1000, 7, 2);
		assert_int_not_equal(get16(sent + ETH_HEADER + IP_HEADER + 6), 0);
	}
}

static void test_options(void **state)
{
	u8 f[FRAME_MAX], *c = f + ETH_HEADER + 60;

	(void)state;
	u32 len = ip_frame(f, 1, 60, 8);
	memset(c, 0, 8);
	c[0] = 8;
	put16(c + 2, plain_checksum(c, 8, 0));
	input(f, len);
	assert_int_equal(nr_sent, 1);
}

/* Every prefix of a right frame: only the whole is answered. */
static void test_truncated(void **state)
{
	u8 f[FRAME_MAX];

	(void)state;
	u32 len = udp_frame(f, "truncate me", 11);
	for (u32 n = 0; n < len; n++)
		input(f, n);
	len = echo_frame(f, 20);
	for (u32 n = 0; n < len; n++)
		input(f, n);
	len = arp_frame(f, 1, PEER, US);
	for (u32 n = 0; n < len; n++)
		input(f, n);
	assert_int_equal(nr_sent + nr_datagrams, 0);
	assert_int_equal(ip.count.malformed, ip.count.rx);
}

/* Every single bit of a right frame turned over: never two answers, never one for what is not for us. */
static void test_bit_flips(void **state)
{
	u8 f[FRAME_MAX];

	(void)state;
	u32 len = udp_frame(f, "flip", 4);
	for (u32 bit = 0; bit < len * 8; bit++) {
		reset(NULL);
		f[bit / 8] ^= (u8)(1 << bit % 8);
		input(f, len);
		f[bit / 8] ^= (u8)(1 << bit % 8);
		bool senders_mac = bit / 8 >= 6 && bit / 8 < 12; /* not covered by any checksum */
		assert_true(nr_datagrams == 0 || senders_mac);
	}
}

static void test_wrong_lengths(void **state)
{
	u8 f[FRAME_MAX], *h = f + ETH_HEADER;

	(void)state;
	u32 len = udp_frame(f, "0123456789", 10);
	for (u32 v = 0; v < 256; v++) { /* IHL and version, checksum made right for it where it can be */
		udp_frame(f, "0123456789", 10);
		h[0] = (u8)v;
		put16(h + 10, 0);
		u32 header = MIN((v & 15) * 4, len - ETH_HEADER);
		put16(h + 10, plain_checksum(h, header, 0));
		input(f, len);
	}
	assert_int_equal(nr_datagrams, 1); /* 0x45 */
	for (u32 v = 0; v < 65536; v += 1 + v / 64) { /* total length */
		udp_frame(f, "0123456789", 10);
		put16(h + 2, v);
		put16(h + 10, 0);
		put16(h + 10, plain_checksum(h, IP_HEADER, 0));
		input(f, len);
		udp_frame(f, "0123456789", 10); /* and UDP's */
		put16(h + IP_HEADER + 4, v);
		put16(h + IP_HEADER + 6, 0);
		input(f, len);
	}
	assert_true(ip.count.malformed > 1000);
}

/* A datagram to an address, in a frame to a MAC address; is it taken? */
static bool taken(u32 to, const u8 mac[6])
{
	u8 f[FRAME_MAX], *h = f + ETH_HEADER, *u = h + IP_HEADER;
	u32 before = nr_datagrams, len = udp_frame(f, "x", 1);

	memcpy(f, mac, 6);
	put32(h + 16, to);
	put16(h + 10, 0);
	put16(h + 10, plain_checksum(h, IP_HEADER, 0));
	put16(u + 6, 0); /* no checksum */
	input(f, len);
	return nr_datagrams != before;
}

static void test_group(void **state)
{
	const u32 group = 0xefc00001; /* 239.192.0.1 */
	static const u8 group_mac[6] = { 0x01, 0, 0x5e, 0x40, 0, 1 }, other[6] = { 0x01, 0, 0x5e, 0x40, 0, 2 };
	u8 mac[6];

	(void)state;
	ip_group_mac(group, mac);
	assert_memory_equal(mac, group_mac, 6);
	assert_false(taken(group, group_mac)); /* we do not belong to it */
	ip.group = group;
	assert_true(taken(group, group_mac));
	assert_false(taken(group ^ 1 << 23, group_mac)); /* another group with the same MAC address */
	assert_false(taken(group + 1, other));
	assert_false(taken(group, our_mac));
	assert_false(taken(group, eth_broadcast));
	assert_false(taken(US, group_mac));
	assert_false(taken(US | 0xff, group_mac));
	assert_true(taken(US | 0xff, eth_broadcast));
	assert_true(taken(US, our_mac));
}

static void test_not_for_us(void **state)
{
	u8 f[FRAME_MAX + 1], *h = f + ETH_HEADER;

	(void)state;
	u32 len = udp_frame(f, "x", 1);
	memcpy(f + 6, our_mac, 6);
	input(f, len);
	assert_int_equal(ip.count.own, 1);
	udp_frame(f, "x", 1);
	f[5] ^= 1;
	input(f, len);
	udp_frame(f, "x", 1);
	f[6] |= 1; /* from a group */
	input(f, len);
	udp_frame(f, "x", 1);
	put16(f + 12, 0x86dd);
	input(f, len);
	udp_frame(f, "x", 1);
	put32(h + 16, US + 1);
	put16(h + 10, 0);
	put16(h + 10, plain_checksum(h, IP_HEADER, 0));
	input(f, len);
	input(f, ip_frame(f, 6, IP_HEADER, 20));
	assert_int_equal(ip.count.foreign, 5);
	udp_frame(f, "x", 1);
	put16(h + 6, 0x2000); /* more fragments */
	put16(h + 10, 0);
	put16(h + 10, plain_checksum(h, IP_HEADER, 0));
	input(f, len);
	input(f, FRAME_MAX + 1);
	assert_int_equal(ip.count.malformed, 2);
	assert_int_equal(nr_sent + nr_datagrams, 0);
}

static void test_noise(void **state)
{
	u8 f[128];

	(void)state;
	srand(1);
	for (u32 i = 0; i < 20000; i++) {
		u32 len = i & 1 ? udp_frame(f, "noise", 5) : echo_frame(f, 10);
		for (u32 k = 0; k < 4; k++)
			f[12 + (u32)rand() % (len - 12)] = (u8)rand();
		input(f, (u32)rand() % (len + 1));
	}
	assert_int_equal(ip.count.rx, 20000);
}

#define TEST(fn) cmocka_unit_test_setup(fn, reset)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_sum), TEST(test_arp_request), TEST(test_arp_not_for_us), TEST(test_arp_reply_and_table), TEST(test_echo),
		TEST(test_ping), TEST(test_udp_in), TEST(test_udp_out), TEST(test_udp_checksum_zero), TEST(test_options),
		TEST(test_truncated), TEST(test_bit_flips), TEST(test_wrong_lengths), TEST(test_not_for_us), TEST(test_group), TEST(test_noise),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
