/*
 * The blast workload: the guest's end of the protocol in blast.h over the NIC.
 *
 * Invariant: between the traffic phase's begin and end, run_traffic() executes nothing that exits when the NIC is polled: no
 * console, no HLT, no MSR, no PAUSE; only ring memory, the VF's own registers and the TSC.
 */
#include "guest/work/blast.h"

#include <stdio.h>
#include <string.h>

#include "guest/lib/clock.h"
#include "guest/lib/nest.h"
#include "guest/net/net.h"
#include "guest/work/work.h"

#define HELLO_INTERVAL_US 100000
#define TRIES 20               /* probes without an answer before giving up */
#define SEND_BURST 32u         /* data packets between two looks at the receive ring */
#define SAMPLE_EVERY 4096      /* data packets per sample of the TSC loop */
#define SAMPLE_ROUNDS 1000

struct blaster {
	struct net net;
	struct blast blast;
	u32 peer;
	u16 port;
	const u8 *mac;
	u64 timeout_us;
	struct tsc_samples tsc;
	u32 probes;
	bool gave_up;
};

static void take(void *arg, const struct udp_datagram *d)
{
	struct blaster *w = container_of((struct net *)arg, struct blaster, net);

	if (d->from == w->peer && d->from_port == w->port && d->to_port == w->port)
		blast_read(&w->blast, d->payload, d->len);
}

static void send(struct blaster *w, enum blast_type type)
{
	struct ip_stack *ip = &w->net.ip;
	u32 len = blast_write(&w->blast, type, ip_udp_payload(ip));

	ip_udp_send(ip, w->mac, w->peer, w->port, w->port, len);
}

/* Send a control packet again and again until *answer, at most tries times. */
static bool converse(struct blaster *w, enum blast_type type, const bool *answer, u64 us, u64 tries)
{
	for (u64 i = 0; i < tries && !*answer; i++) {
		u64 end = clock_deadline(us);
		send(w, type);
		net_flush(&w->net);
		while (!*answer && !clock_passed(end))
			if (!net_poll(&w->net) && w->net.nic.wait == NIC_IRQ_SPIN)
				net_idle(&w->net);
	}
	return *answer;
}

/* One round: receive, send what the window allows, acknowledge. False if there was nothing to do. */
static bool round_trip(struct blaster *w)
{
	struct blast *b = &w->blast;
	bool busy = net_poll(&w->net) > 0;
	u32 n = 0;

	for (; n < SEND_BURST && blast_may_send(b); n++)
		send(w, BLAST_DATA);
	if (blast_must_ack(b)) {
		send(w, BLAST_ACK);
		n++;
	}
	net_flush(&w->net);
	return busy || n;
}

static void run_traffic(struct blaster *w)
{
	struct blast *b = &w->blast;
	u64 moved = 0, since = rdtsc(), sample_at = SAMPLE_EVERY, timeout = clock_us(w->timeout_us);

	while (!blast_done(b) && !w->gave_up) {
		bool busy = round_trip(w);
		u64 now = (u64)b->acked + b->expect + b->next;
		if (now != moved) {
			moved = now;
			since = rdtsc();
			w->probes = 0;
		} else if (rdtsc() - since > timeout) {
			since = rdtsc();
			w->gave_up = ++w->probes > TRIES;
			send(w, BLAST_PROBE);
			net_flush(&w->net);
		} else if (!busy) {
			net_idle(&w->net);
		}
		if (now >= sample_at) {
			tsc_sample(&w->tsc);
			sample_at += SAMPLE_EVERY;
		}
	}
}

static void report(const struct blaster *w)
{
	const struct blast *b = &w->blast;
	const struct blast_counts *m = &b->mine, *t = &b->theirs;

	printf("@report {\"guest\":\"blast\",\"count\":%u,\"window\":%u,\"size\":%u,\"tx_data\":%u,\"rx_data\":%u,\"lost\":%u,"
	       "\"disorder\":%u,\"bad\":%u,\"tx_control\":%u,\"rx_control\":%u,\"stale\":%u}\n", b->conf.count, b->conf.window,
	       b->conf.size, m->tx_data, m->rx_data, m->lost, m->disorder, m->bad, b->tx_control, b->rx_control, b->stale);
	printf("@report {\"guest\":\"blast-peer\",\"tx_data\":%u,\"rx_data\":%u,\"lost\":%u,\"disorder\":%u,\"bad\":%u}\n",
	       t->tx_data, t->rx_data, t->lost, t->disorder, t->bad);
}

static u32 run_open(struct blaster *w, u64 wait_us)
{
	w->mac = net_resolve(&w->net, w->peer, wait_us);
	if (work_check(w->mac != NULL, "blast-arp"))
		return 1;
	if (work_check(converse(w, BLAST_HELLO, &w->blast.hello, HELLO_INTERVAL_US, wait_us / HELLO_INTERVAL_US), "blast-hello"))
		return 1;
	w->net.ip.count = (struct ip_counts){ 0 }; /* the traffic phase's own */
	nest_phase(PHASE_TRAFFIC);
	run_traffic(w);
	nest_phase(PHASE_END);
	converse(w, BLAST_SUMMARY, &w->blast.summary, w->timeout_us, TRIES);
	send(w, BLAST_BYE);
	net_flush(&w->net);
	report(w);
	tsc_samples_report(&w->tsc, "blast");
	net_report(&w->net, "blast");
	return work_check(!w->gave_up, "blast-complete") + work_check(blast_perfect(&w->blast), "blast-every-packet");
}

u32 work_blast(const struct cmdline *c)
{
	static struct blaster w;
	struct blast_conf conf = {
		.count = (u32)cmdline_u64(c, "count", 100000),
		.window = (u32)cmdline_u64(c, "window", 128),
		.size = (u32)cmdline_u64(c, "size", 256),
		.run = (u32)rdtsc(),
	};

	memset(&w, 0, sizeof(w));
	blast_init(&w.blast, &conf);
	w.peer = cmdline_ip(c, "peer", 0x0a000001);
	w.port = (u16)cmdline_u64(c, "port", BLAST_PORT);
	w.timeout_us = cmdline_u64(c, "timeout", 1000) * 1000;
	w.tsc.rounds = SAMPLE_ROUNDS;
	nest_phase(PHASE_CONTROL);
	if (net_open(&w.net, c))
		return work_check(false, "blast-open");
	w.net.ip.udp = take;
	u32 failed = run_open(&w, cmdline_u64(c, "wait", 30) * 1000000);
	return failed + work_check(net_close(&w.net) == 0, "blast-close");
}
