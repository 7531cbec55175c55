/*
 * Interface of the workloads to the network (net.h).
 */
#include "guest/net/net.h"

#include <stdio.h>
#include <string.h>

#include "guest/lib/clock.h"
#include "guest/net/port.h"

#define POLL_BUDGET 64
#define RESOLVE_INTERVAL_US 20000
#define LINK_US 10000000
#define LOOK_US 10000
#define QUIET_US 20000
#define REPORT_US 100000 /* for counts to agree before they are printed as they are */
#define DEFAULT_IP 0x0a000002u /* 10.0.0.2 */

typedef unsigned long long ull;

static void rx(void *arg, const u8 *frame, u32 len) { ip_input(&((struct net *)arg)->ip, frame, len); }

static void tx(void *arg, const u8 *frame, u32 len)
{
	struct net *n = arg;

	if (nic_tx(&n->nic, frame, len) == 0)
		return;
	nic_tx_kick(&n->nic); /* the device may be done with what it knows by now */
	if (nic_tx(&n->nic, frame, len))
		n->tx_dropped++;
}

static enum nic_wait wait_mode(const struct cmdline *c)
{
	if (cmdline_u64(c, "halt", 0))
		return NIC_IRQ_HALT;
	return cmdline_u64(c, "irq", 0) ? NIC_IRQ_SPIN : NIC_POLL;
}

int net_open(struct net *n, const struct cmdline *c)
{
	u32 addr = cmdline_ip(c, "ip", DEFAULT_IP), group = cmdline_ip(c, "group", 0);
	int err;

	memset(n, 0, sizeof(*n));
	n->nic.port = (u32)cmdline_u64(c, "nic", 0);
	n->nic.wait = wait_mode(c);
	n->nic.post = cmdline_u64(c, "post", 0);
	n->nic.flags = cmdline_is(c, "virtio", "plain") ? NIC_PLUGIN_FLAG_PLAIN : 0;
	n->nic.rx = rx;
	n->nic.rx_arg = n;
	if (group) {
		n->nic.nr_groups = 1;
		ip_group_mac(group, n->nic.group[0]);
	}
	if (port_totals(n->nic.port, &n->before))
		memset(&n->before, 0, sizeof(n->before));
	if ((err = nic_open(&n->nic)))
		return err;
	const u8 *mac = n->nic.info.mac;
	ip_init(&n->ip, mac, addr);
	n->ip.group = group;
	n->ip.arg = n;
	n->ip.tx = tx;
	printf("guest: nic: port %u, %s, %02x:%02x:%02x:%02x:%02x:%02x, ip %u.%u.%u.%u, %s%s\n", n->nic.port, nic_plugin_name(&n->nic),
	       mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], addr >> 24, addr >> 16 & 255, addr >> 8 & 255, addr & 255,
	       n->nic.wait == NIC_POLL ? "polled" : n->nic.wait == NIC_IRQ_SPIN ? "interrupts" : "interrupts and halt",
	       n->nic.posted ? ", self-armed" : "");
	return 0;
}

int net_close(struct net *n) { return nic_close(&n->nic); }

static bool link_up(const struct net *n)
{
	struct nest_nic_info info;

	return !port_info(n->nic.port, &info) && info.flags & NEST_NIC_LINK_UP;
}

void net_settle(struct net *n)
{
	u64 end = clock_deadline(LINK_US), quiet = clock_deadline(QUIET_US), look = 0;
	bool up = false;

	while (!clock_passed(end) && !clock_passed(quiet)) {
		if (!up && clock_passed(look)) {
			up = link_up(n);
			look = clock_deadline(LOOK_US);
			quiet = clock_deadline(QUIET_US);
		}
		if (READ_ONCE(n->nic.events))
			quiet = clock_deadline(QUIET_US);
		net_poll(n);
	}
}

u32 net_poll(struct net *n)
{
	u32 done = nic_poll(&n->nic, POLL_BUDGET);

	if (done)
		nic_tx_kick(&n->nic);
	return done;
}

void net_drain(struct net *n, u64 end)
{
	while (net_poll(n) && !clock_passed(end))
		;
}

void net_flush(struct net *n) { nic_tx_kick(&n->nic); }

void net_idle(struct net *n) { nic_idle(&n->nic); }

const u8 *net_resolve(struct net *n, u32 addr, u64 us)
{
	u64 end = clock_deadline(us), again = 0;
	const u8 *mac;

	while (!(mac = ip_arp_lookup(&n->ip, addr)) && !clock_passed(end)) {
		if (clock_passed(again)) {
			ip_arp_request(&n->ip, addr);
			net_flush(n);
			again = clock_deadline(RESOLVE_INTERVAL_US);
		}
		net_poll(n);
	}
	return mac;
}

/*
 * The port's totals and the plugins' counts as of one moment: the port counts a frame when it lies in a ring, a plugin when it was taken
 * from there. Takes what still arrives, at most so long. 0, -ERANGE (they do not agree), or why there are no totals.
 */
static int count_both(struct net *n, u64 us, struct nest_nic_stats *now, struct nic_plugin_stats *p)
{
	const struct nest_nic_stats *then = &n->before;
	u64 end = clock_deadline(us);
	int err;

	for (;;) {
		net_drain(n, end);
		err = port_totals(n->nic.port, now);
		nic_plugin_counts(&n->nic, p);
		if (err)
			return err;
		if (now->rx_packets - then->rx_packets == p->rx_frames && now->tx_packets - then->tx_packets == p->tx_frames &&
		    now->rx_bytes - then->rx_bytes == p->rx_bytes && now->tx_bytes - then->tx_bytes == p->tx_bytes)
			return 0;
		if (clock_passed(end))
			return -ERANGE;
	}
}

bool net_adds_up(struct net *n, u64 us)
{
	struct nic_plugin_stats p;
	struct nest_nic_stats now;

	return !count_both(n, us, &now, &p);
}

static void report_switches(const struct net *n, const char *who)
{
	const struct nic_counts *c = &n->nic.count;

	for (u32 mode = NEST_MODE_EMULATION; mode <= NEST_MODE_PASSTHROUGH; mode++) {
		const struct nic_gap *g = &c->gap[mode];
		if (g->switches)
			printf("@report {\"guest\":\"switch\",\"workload\":\"%s\",\"to\":\"%s\",\"switches\":%llu,\"gap_min\":%llu,"
			       "\"gap_max\":%llu,\"gap_sum\":%llu}\n", who, mode == NEST_MODE_EMULATION ? "emulation" : "passthrough",
			       (ull)g->switches, (ull)g->min, (ull)g->max, (ull)g->sum);
	}
	printf("@report {\"guest\":\"shell\",\"workload\":\"%s\",\"own\":%llu,\"duplicate\":%llu,\"left\":%llu,\"failed\":%llu}\n", who,
	       (ull)c->own, (ull)c->duplicate, (ull)c->left, (ull)c->failed);
}

void net_report(struct net *n, const char *who)
{
	struct nic_plugin_stats p;
	struct nest_nic_stats now, *then = &n->before;
	const struct ip_counts *i = &n->ip.count;
	int err = count_both(n, REPORT_US, &now, &p);

	printf("@report {\"guest\":\"nic\",\"workload\":\"%s\",\"rx\":%llu,\"tx\":%llu,\"rx_bytes\":%llu,\"tx_bytes\":%llu,"
	       "\"rx_errors\":%llu,\"tx_full\":%llu,\"tx_dropped\":%llu,\"irqs\":%llu,\"halts\":%llu,\"posted\":%u}\n", who, (ull)p.rx_frames,
	       (ull)p.tx_frames, (ull)p.rx_bytes, (ull)p.tx_bytes, (ull)p.rx_errors, (ull)p.tx_full, (ull)n->tx_dropped,
	       (ull)n->nic.irqs, (ull)n->nic.halts, n->nic.posted != NULL);
	printf("@report {\"guest\":\"ip\",\"workload\":\"%s\",\"rx\":%llu,\"arp\":%llu,\"echo\":%llu,\"udp\":%llu,\"own\":%llu,"
	       "\"foreign\":%llu,\"overheard\":%llu,\"malformed\":%llu,\"bad_checksum\":%llu,\"tx\":%llu}\n", who, (ull)i->rx, (ull)i->rx_arp,
	       (ull)i->rx_echo, (ull)i->rx_udp, (ull)i->own, (ull)i->foreign, (ull)i->overheard, (ull)i->malformed, (ull)i->bad_checksum,
	       (ull)i->tx);
	report_switches(n, who);
	if (err && err != -ERANGE)
		return;
	printf("@report {\"guest\":\"port\",\"workload\":\"%s\",\"rx\":%llu,\"tx\":%llu,\"irqs\":%llu,\"faults\":%llu,"
	       "\"emu_rx\":%llu,\"emu_tx\":%llu,\"dropped\":%llu,\"switches\":%llu}\n", who,
	       (ull)(now.rx_packets - then->rx_packets), (ull)(now.tx_packets - then->tx_packets), (ull)(now.irqs - then->irqs),
	       (ull)(now.faults - then->faults), (ull)(now.emu_rx_packets - then->emu_rx_packets),
	       (ull)(now.emu_tx_packets - then->emu_tx_packets), (ull)(now.dropped - then->dropped),
	       (ull)(now.switches - then->switches));
}
