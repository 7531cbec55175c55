/*
 * The echo workload: answers ARP, ping and UDP (port= , default 7) until a datagram with the text "stop" arrives, or until
 * count= datagrams were echoed. With watch=1 it also says when the link goes down or comes up.
 */
#include <stdio.h>
#include <string.h>

#include "guest/lib/clock.h"
#include "guest/lib/nest.h"
#include "guest/net/net.h"
#include "guest/net/port.h"
#include "guest/work/work.h"

#define WATCH_US 50000

struct echo {
	struct net net;
	u16 port;
	u64 limit, echoed; /* limit 0: none */
	bool stop;
	bool watch, link;
	u64 look;              /* at the link, then */
};

static void echo_datagram(void *arg, const struct udp_datagram *d)
{
	struct echo *e = container_of((struct net *)arg, struct echo, net);

	if (d->to_port != e->port || d->len > UDP_PAYLOAD_MAX)
		return;
	if (d->len == 4 && !memcmp(d->payload, "stop", 4))
		e->stop = true;
	memcpy(ip_udp_payload(&e->net.ip), d->payload, d->len);
	ip_udp_send(&e->net.ip, d->mac, d->from, d->from_port, d->to_port, d->len);
	e->echoed++;
	if (e->limit && e->echoed >= e->limit)
		e->stop = true;
}

static void watch_link(struct echo *e)
{
	struct nest_nic_info info;

	if (!e->watch || !clock_passed(e->look))
		return;
	e->look = clock_deadline(WATCH_US);
	if (port_info(e->net.nic.port, &info) || !!(info.flags & NEST_NIC_LINK_UP) == e->link)
		return;
	e->link = !e->link;
	printf("guest: echo: link %s\n", e->link ? "up" : "down");
}

u32 work_echo(const struct cmdline *c)
{
	static struct echo e;

	memset(&e, 0, sizeof(e));
	e.port = (u16)cmdline_u64(c, "port", 7);
	e.limit = cmdline_u64(c, "count", 0);
	e.watch = cmdline_u64(c, "watch", 0);
	nest_phase(PHASE_CONTROL);
	if (net_open(&e.net, c))
		return work_check(false, "echo-open");
	e.net.ip.udp = echo_datagram;
	net_settle(&e.net);
	printf("guest: echo: ready, UDP port %u\n", e.port);
	nest_phase(PHASE_TRAFFIC);
	while (!e.stop) {
		if (!net_poll(&e.net))
			net_idle(&e.net);
		watch_link(&e);
	}
	nest_phase(PHASE_END);
	net_report(&e.net, "echo");
	printf("guest: echo: %llu datagrams\n", (unsigned long long)e.echoed);
	return work_check(e.net.tx_dropped == 0, "echo-no-drop") + work_check(net_close(&e.net) == 0, "echo-close");
}
