/*
 * Streams of the blast protocol over the NIC (traffic.h).
 */
#include "guest/work/traffic.h"

#include <stdio.h>
#include <string.h>

#include "guest/lib/clock.h"
#include "guest/work/work.h"

#define HELLO_INTERVAL_US 100000
#define TRIES 20               /* probes without an answer before giving up */
#define OVERLOOKED_US 20000    /* longer than an interrupt is under way */
#define SEND_BURST 32u         /* data packets between two looks at the receive ring */

static void take(void *arg, const struct udp_datagram *d)
{
	struct traffic *t = container_of((struct net *)arg, struct traffic, net);
	u32 stream = blast_stream_of(d->payload, d->len);

	if (d->from == t->peer && d->from_port == t->port && d->to_port == t->port && stream < t->nr)
		blast_read(&t->blast[stream], d->payload, d->len);
}

static void send(struct traffic *t, struct blast *b, enum blast_type type)
{
	struct ip_stack *ip = &t->net.ip;
	enum blast_stream stream = type == BLAST_DATA ? b->conf.stream : BLAST_UNICAST;
	u32 len = blast_write(b, type, ip_udp_payload(ip));

	if (stream == BLAST_BROADCAST)
		ip_udp_send(ip, eth_broadcast, t->peer | 0xff, t->port, t->port, len);
	else if (stream == BLAST_MULTICAST)
		ip_udp_send(ip, t->net.nic.group[0], ip->group, t->port, t->port, len);
	else
		ip_udp_send(ip, t->mac, t->peer, t->port, t->port, len);
}

/* Send a control packet again and again until *answer, at most tries times. */
static bool converse(struct traffic *t, struct blast *b, enum blast_type type, const bool *answer, u64 us, u64 tries)
{
	for (u64 i = 0; i < tries && !*answer; i++) {
		u64 end = clock_deadline(us);
		send(t, b, type);
		net_flush(&t->net);
		while (!*answer && !clock_passed(end))
			if (!net_poll(&t->net) && t->net.nic.wait == NIC_IRQ_SPIN)
				net_idle(&t->net);
	}
	return *answer;
}

static u32 check(const char *name, const char *what, bool ok)
{
	char text[64];

	sniprintf(text, sizeof(text), "%s-%s", name, what);
	return work_check(ok, text);
}

static u32 agree(struct traffic *t, const char *name, u64 wait_us)
{
	bool ok = true;

	t->mac = net_resolve(&t->net, t->peer, wait_us);
	if (check(name, "arp", t->mac != NULL))
		return 1;
	for (u32 i = 0; i < t->nr; i++)
		ok &= converse(t, &t->blast[i], BLAST_HELLO, &t->blast[i].hello, HELLO_INTERVAL_US, wait_us / HELLO_INTERVAL_US);
	t->net.ip.count = (struct ip_counts){ 0 }; /* the traffic phase's own */
	t->since = rdtsc();
	return check(name, "hello", ok);
}

u32 traffic_open(struct traffic *t, const struct cmdline *c, const struct blast_conf *conf, u32 nr, const char *name, bool *open)
{
	memset(t, 0, sizeof(*t));
	t->nr = nr == BLAST_MULTICAST && cmdline_get(c, "group") ? nr + 1 : nr;
	for (u32 i = 0; i < t->nr; i++) {
		struct blast_conf one = *conf;
		one.stream = i;
		blast_init(&t->blast[i], &one);
	}
	t->peer = cmdline_ip(c, "peer", 0x0a000001);
	t->port = (u16)cmdline_u64(c, "port", BLAST_PORT);
	t->timeout_us = cmdline_u64(c, "timeout", 1000) * 1000;
	*open = !net_open(&t->net, c);
	if (!*open)
		return check(name, "open", false);
	t->net.ip.udp = take;
	net_settle(&t->net);
	return agree(t, name, cmdline_u64(c, "wait", 30) * 1000000);
}

/* One stream's turn. True if it had something to send. */
static bool turn(struct traffic *t, struct blast *b)
{
	u32 n = 0;

	for (; n < SEND_BURST && blast_may_send(b); n++)
		send(t, b, BLAST_DATA);
	if (blast_must_ack(b)) {
		send(t, b, BLAST_ACK);
		n++;
	}
	return n;
}

u64 traffic_progress(const struct traffic *t)
{
	u64 sum = 0;

	for (u32 i = 0; i < t->nr; i++)
		sum += (u64)t->blast[i].acked + t->blast[i].expect + t->blast[i].next;
	return sum;
}

/* After a silence: do frames lie in the ring whose interrupt never came? */
static bool overlooked(struct traffic *t)
{
	struct nic *n = &t->net.nic;

	if (n->wait == NIC_POLL || clock_wait(READ_ONCE(n->irq_work), OVERLOOKED_US))
		return false;
	WRITE_ONCE(n->irq_work, 1);
	return net_poll(&t->net) > 0;
}

static void probe(struct traffic *t)
{
	t->overlooked += overlooked(t);
	t->since = rdtsc();
	t->gave_up = ++t->probes > TRIES;
	for (u32 i = 0; i < t->nr; i++)
		send(t, &t->blast[i], BLAST_PROBE);
	net_flush(&t->net);
}

void traffic_round(struct traffic *t)
{
	bool busy = net_poll(&t->net) > 0;

	for (u32 i = 0; i < t->nr; i++)
		busy |= turn(t, &t->blast[i]);
	net_flush(&t->net);
	u64 now = traffic_progress(t);
	if (now != t->moved) {
		t->moved = now;
		t->since = rdtsc();
		t->probes = 0;
	} else if (rdtsc() - t->since > clock_us(t->timeout_us)) {
		probe(t);
	} else if (!busy) {
		net_idle(&t->net);
	}
}

bool traffic_done(const struct traffic *t)
{
	bool done = true;

	for (u32 i = 0; i < t->nr; i++)
		done &= blast_done(&t->blast[i]);
	return done || t->gave_up;
}

static void report(const struct blast *b)
{
	const struct blast_counts *m = &b->mine, *t = &b->theirs;
	static const char *const kinds[] = { "unicast", "broadcast", "multicast" };
	const char *kind = kinds[b->conf.stream];

	printf("@report {\"guest\":\"blast\",\"stream\":\"%s\",\"count\":%u,\"window\":%u,\"size\":%u,\"tx_data\":%u,\"rx_data\":%u,\"lost\":%u,"
	       "\"disorder\":%u,\"bad\":%u,\"dup\":%u,\"tx_control\":%u,\"rx_control\":%u,\"stale\":%u}\n", kind, b->conf.count,
	       b->conf.window, b->conf.size, m->tx_data, m->rx_data, m->lost, m->disorder, m->bad, m->dup, b->tx_control,
	       b->rx_control, b->stale);
	printf("@report {\"guest\":\"blast-peer\",\"stream\":\"%s\",\"tx_data\":%u,\"rx_data\":%u,\"lost\":%u,\"disorder\":%u,\"bad\":%u,"
	       "\"dup\":%u}\n", kind, t->tx_data, t->rx_data, t->lost, t->disorder, t->bad, t->dup);
}

u32 traffic_finish(struct traffic *t, const char *name)
{
	bool perfect = true;

	for (u32 i = 0; i < t->nr; i++)
		converse(t, &t->blast[i], BLAST_SUMMARY, &t->blast[i].summary, t->timeout_us, TRIES);
	for (u32 i = 0; i < t->nr; i++) {
		send(t, &t->blast[i], BLAST_BYE);
		perfect &= blast_perfect(&t->blast[i]);
	}
	net_flush(&t->net);
	for (u32 i = 0; i < t->nr; i++)
		report(&t->blast[i]);
	return check(name, "complete", !t->gave_up) + check(name, "no-frame-overlooked", !t->overlooked) + check(name, "every-packet", perfect);
}
