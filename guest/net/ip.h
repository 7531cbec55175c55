/*
 * A compact responder: ARP, IPv4, ICMP echo and UDP over Ethernet, one address in a /24, no routes, no fragments.
 *
 * Invariant: pure (no hardware, no heap); reads nothing outside [frame, frame + len), answers only what is well-formed,
 * addressed to us (UDP: or to all) and has right checksums, and counts everything it drops by reason.
 */
#ifndef GUEST_NET_IP_H
#define GUEST_NET_IP_H

#include "core/types.h"

#define ETH_HEADER 14u
#define IP_HEADER 20u
#define UDP_HEADER 8u
#define UDP_FRAME (ETH_HEADER + IP_HEADER + UDP_HEADER)
#define FRAME_MAX 1514u
#define UDP_PAYLOAD_MAX (FRAME_MAX - UDP_FRAME)
#define ARP_ENTRIES 8u

extern const u8 eth_broadcast[6];

struct ip_counts {
	u64 rx;                 /* frames looked at */
	u64 rx_arp, rx_echo, rx_udp;
	u64 own;                /* sent by ourselves: 82576 switches return a broadcast to its sender */
	u64 foreign;            /* not for us, or a protocol we do not speak */
	u64 overheard;          /* of these, questions of ARP for somebody else, which everybody hears, and other groups' multicasts */
	u64 malformed;          /* too short, lengths that contradict each other, fragments */
	u64 bad_checksum;
	u64 tx;
};

/* A datagram for us; payload lies in the received frame. */
struct udp_datagram {
	const u8 *mac;          /* of the sender */
	u32 from;
	u16 from_port, to_port;
	const u8 *payload;
	u32 len;
};

struct ip_stack {
	/* set by the owner */
	u8 mac[6];
	u32 addr;               /* 10.0.0.2 = 0x0a000002 */
	u32 group;              /* a group that we belong to: its datagrams are for us, too; 0: none */
	void *arg;
	void (*tx)(void *arg, const u8 *frame, u32 len);
	void (*udp)(void *arg, const struct udp_datagram *d);                             /* may be NULL */
	void (*echo_reply)(void *arg, u32 from, u16 id, u16 seq, const u8 *data, u32 len); /* may be NULL */
	/* private */
	struct { u32 addr; u8 mac[6]; } arp[ARP_ENTRIES];
	u32 arp_next;
	u16 ident;
	u8 out[FRAME_MAX] __aligned_to(8);
	struct ip_counts count;
};

/* The address of an IPv4 group's frames (RFC 1112). */
void ip_group_mac(u32 group, u8 mac[6]);
void ip_init(struct ip_stack *s, const u8 mac[6], u32 addr);
/* Take one received frame and answer it where that is due. */
void ip_input(struct ip_stack *s, const u8 *frame, u32 len);
/* MAC of a neighbour, or NULL: ask by ip_arp_request() and look again after some input. */
const u8 *ip_arp_lookup(const struct ip_stack *s, u32 addr);
void ip_arp_request(struct ip_stack *s, u32 addr);
/*
 * Send: write at most UDP_PAYLOAD_MAX bytes where ip_udp_payload() says, then call ip_udp_send() with nothing in between. data
 * already there is not copied.
 */
static inline u8 *ip_udp_payload(struct ip_stack *s) { return s->out + UDP_FRAME; }
void ip_udp_send(struct ip_stack *s, const u8 mac[6], u32 to, u16 to_port, u16 from_port, u32 len);
/* ICMP echo request with len bytes of data (at most UDP_PAYLOAD_MAX): byte i is seq + i. */
void ip_ping(struct ip_stack *s, const u8 mac[6], u32 to, u16 id, u16 seq, u32 len);
/* One's complement sum (RFC 1071) of len bytes, in memory order, folded to 16 bits; start adds to it. */
u16 ip_sum(const void *data, u32 len, u32 start);

#endif
