/*
 * The ping workload: count= ICMP echo requests to peer=, one at a time (pinger.h).
 */
#include <stdio.h>
#include <string.h>

#include "guest/lib/clock.h"
#include "guest/lib/nest.h"
#include "guest/work/pinger.h"
#include "guest/work/work.h"

#define PING_ID 0x4e53
#define PING_LEN 56u

static void take_reply(void *arg, u32 from, u16 id, u16 seq, const u8 *data, u32 len)
{
	struct pinger *p = container_of((struct net *)arg, struct pinger, net);
	bool same = len == PING_LEN;

	if (from != p->peer || id != PING_ID || seq != p->seq)
		return;
	for (u32 i = 0; same && i < len; i++)
		same = data[i] == (u8)(seq + i);
	p->good += same;
	p->bad += !same;
}

int pinger_open(struct pinger *p, const struct cmdline *c, u64 us)
{
	int err;

	memset(p, 0, sizeof(*p));
	p->peer = cmdline_ip(c, "peer", 0x0a000001);
	if ((err = net_open(&p->net, c)))
		return err;
	p->net.ip.echo_reply = take_reply;
	net_settle(&p->net);
	p->mac = net_resolve(&p->net, p->peer, us);
	return 0;
}

bool pinger_exchange(struct pinger *p, u64 us)
{
	u64 good = p->good, seen = p->good + p->bad, end = clock_deadline(us);

	if (!p->mac)
		return false;
	p->seq++;
	ip_ping(&p->net.ip, p->mac, p->peer, PING_ID, p->seq, PING_LEN);
	net_flush(&p->net);
	while (p->good + p->bad == seen && !clock_passed(end))
		net_poll(&p->net);
	return p->good == good + 1;
}

u32 work_ping(const struct cmdline *c)
{
	static struct pinger p;
	u64 count = cmdline_u64(c, "count", 10);
	u64 us = cmdline_u64(c, "wait", 30) * 1000000;

	nest_phase(PHASE_CONTROL);
	if (pinger_open(&p, c, us))
		return work_check(false, "ping-open");
	nest_phase(PHASE_TRAFFIC);
	for (u64 i = 0; i < count && pinger_exchange(&p, us); i++)
		;
	nest_phase(PHASE_END);
	net_report(&p.net, "ping");
	printf("guest: ping: %llu of %llu answered, %llu wrong\n", (unsigned long long)p.good, (unsigned long long)count,
	       (unsigned long long)p.bad);
	return work_check(p.mac != NULL, "ping-arp") + work_check(p.good == count && !p.bad, "ping-answers") +
	       work_check(net_close(&p.net) == 0, "ping-close");
}
