/*
 * The mesh workload: one of several guests that talk to each other and to the outside at the same time. A datagram "go" to port= begins:
 * count= pings to each of peers= (the last numbers of addresses in our network), then count= numbered broadcasts and, with group=, multicasts,
 * while it answers all others and counts theirs; "stop" ends. Pings to never= are sent, and nobody may answer: what is there is in another VLAN.
 *
 * Invariant: of each member's broadcasts and multicasts every one must come, once and in order; frames that are not for us must not reach us.
 */
#include <stdio.h>
#include <string.h>

#include "guest/lib/clock.h"
#include "guest/lib/nest.h"
#include "guest/net/net.h"
#include "guest/work/work.h"

#define MEMBERS 8u
#define PING_ID 0x4d45
#define PING_LEN 56u
#define MAGIC "MESH"
#define GROUP_MAGIC "MESG"
#define BROADCAST_LEN 64u
#define NEVER_PINGS 3u

struct member { u32 addr; u32 sent, answered, heard, grouped, wrong; };

struct mesh {
	struct net net;
	u16 port, seq;
	u64 wait_us, count;
	struct member member[MEMBERS];
	u32 nr, strangers; /* broadcasts and multicasts of somebody who is no member */
	u32 never;         /* pings that nobody may answer */
	struct member *asked;
	bool go, stop;
};

static struct mesh *mesh_of(void *arg) { return container_of((struct net *)arg, struct mesh, net); }

static void take_reply(void *arg, u32 from, u16 id, u16 seq, const u8 *data, u32 len)
{
	struct mesh *m = mesh_of(arg);
	bool good = m->asked && from == m->asked->addr && id == PING_ID && seq == m->seq && len == PING_LEN;

	for (u32 i = 0; good && i < len; i++)
		good = data[i] == (u8)(seq + i);
	if (good && m->asked->answered < m->asked->sent)
		m->asked->answered++;
	else
		m->strangers++;
}

/* A broadcast, or a multicast. */
static void take_many(struct mesh *m, u32 from, const u8 *data, bool group)
{
	u32 seq = (u32)data[4] << 8 | data[5];

	for (u32 i = 0; i < m->nr; i++) {
		if (m->member[i].addr != from)
			continue;
		u32 *heard = group ? &m->member[i].grouped : &m->member[i].heard;
		if (seq == *heard)
			(*heard)++;
		else
			m->member[i].wrong++;
		return;
	}
	m->strangers++;
}

static void take_datagram(void *arg, const struct udp_datagram *d)
{
	struct mesh *m = mesh_of(arg);

	if (d->to_port != m->port)
		return;
	bool group = d->len == BROADCAST_LEN && !memcmp(d->payload, GROUP_MAGIC, 4);
	if (group || (d->len == BROADCAST_LEN && !memcmp(d->payload, MAGIC, 4))) {
		take_many(m, d->from, d->payload, group);
		return;
	}
	m->go |= d->len == 2 && !memcmp(d->payload, "go", 2);
	m->stop |= d->len == 4 && !memcmp(d->payload, "stop", 4);
	if (d->len > UDP_PAYLOAD_MAX)
		return;
	memcpy(ip_udp_payload(&m->net.ip), d->payload, d->len);
	ip_udp_send(&m->net.ip, d->mac, d->from, d->from_port, d->to_port, d->len);
}

static void serve(struct mesh *m)
{
	if (!net_poll(&m->net))
		net_idle(&m->net);
}

static void ping_one(struct mesh *m, struct member *to, const u8 *mac)
{
	u64 end = clock_deadline(m->wait_us);

	m->asked = to;
	m->seq++;
	to->sent++;
	ip_ping(&m->net.ip, mac, to->addr, PING_ID, m->seq, PING_LEN);
	net_flush(&m->net);
	while (to->answered < to->sent && !clock_passed(end))
		serve(m);
}

static void ping_all(struct mesh *m)
{
	for (u32 i = 0; i < m->nr; i++) {
		struct member *to = &m->member[i];
		const u8 *mac = net_resolve(&m->net, to->addr, m->wait_us);
		while (mac && to->sent < m->count && to->answered == to->sent)
			ping_one(m, to, mac);
	}
}

static void ping_never(struct mesh *m, const struct cmdline *c)
{
	u64 number;

	m->asked = NULL;
	for (u32 i = 0; cmdline_list(c, "never", i, &number); i++) {
		u32 addr = (m->net.ip.addr & ~0xffu) | (u8)number;
		const u8 *mac = net_resolve(&m->net, addr, m->wait_us);
		for (u32 n = 0; mac && n < NEVER_PINGS; n++, m->never++)
			ip_ping(&m->net.ip, mac, addr, PING_ID, 0, PING_LEN);
		net_flush(&m->net);
	}
}

static void send_all(struct mesh *m, const char *magic, const u8 *mac, u32 to)
{
	for (u32 seq = 0; seq < m->count; seq++) {
		u8 *p = ip_udp_payload(&m->net.ip);
		memset(p, 0, BROADCAST_LEN);
		memcpy(p, magic, 4);
		p[4] = (u8)(seq >> 8);
		p[5] = (u8)seq;
		ip_udp_send(&m->net.ip, mac, to, m->port, m->port, BROADCAST_LEN);
		net_flush(&m->net);
		net_poll(&m->net);
	}
}

static bool complete(const struct mesh *m)
{
	bool all = true;

	for (u32 i = 0; i < m->nr; i++)
		all &= m->member[i].answered == m->count && m->member[i].heard == m->count &&
		       m->member[i].grouped == (m->net.ip.group ? m->count : 0);
	return all;
}

static void run(struct mesh *m, const struct cmdline *c)
{
	bool said = false;

	printf("guest: mesh: ready\n");
	while (!m->go)
		serve(m);
	ping_all(m);
	ping_never(m, c);
	send_all(m, MAGIC, eth_broadcast, m->net.ip.addr | 0xff);
	if (m->net.ip.group)
		send_all(m, GROUP_MAGIC, m->net.nic.group[0], m->net.ip.group);
	while (!m->stop) {
		serve(m);
		if (!said && complete(m)) {
			said = true;
			printf("guest: mesh: complete\n");
		}
	}
}

static u32 judge(struct mesh *m)
{
	const struct ip_counts *i = &m->net.ip.count;
	u32 wrong = m->strangers;

	for (u32 n = 0; n < m->nr; n++) {
		const struct member *p = &m->member[n];
		wrong += p->wrong;
		printf("@report {\"guest\":\"mesh\",\"peer\":%u,\"answered\":%u,\"heard\":%u,\"grouped\":%u,\"wrong\":%u}\n", p->addr & 255,
		       p->answered, p->heard, p->grouped, p->wrong);
	}
	printf("@report {\"guest\":\"mesh-all\",\"strangers\":%u,\"never\":%u}\n", m->strangers, m->never);
	return work_check(complete(m), "mesh-complete") + work_check(!wrong, "mesh-in-order") +
	       work_check(!i->own && i->foreign == i->overheard && !i->malformed && !i->bad_checksum, "mesh-nothing-foreign") +
	       work_check(!m->net.tx_dropped, "mesh-no-drop");
}

u32 work_mesh(const struct cmdline *c)
{
	static struct mesh m;
	u64 number;

	memset(&m, 0, sizeof(m));
	m.port = (u16)cmdline_u64(c, "port", 7);
	m.count = cmdline_u64(c, "count", 10);
	m.wait_us = cmdline_u64(c, "wait", 30) * 1000000;
	nest_phase(PHASE_CONTROL);
	if (net_open(&m.net, c))
		return work_check(false, "mesh-open");
	while (m.nr < MEMBERS && cmdline_list(c, "peers", m.nr, &number))
		m.member[m.nr++].addr = (m.net.ip.addr & ~0xffu) | (u8)number;
	m.net.ip.udp = take_datagram;
	m.net.ip.echo_reply = take_reply;
	net_settle(&m.net);
	nest_phase(PHASE_TRAFFIC);
	run(&m, c);
	nest_phase(PHASE_END);
	net_report(&m.net, "mesh");
	return judge(&m) + work_check(net_close(&m.net) == 0, "mesh-close");
}
