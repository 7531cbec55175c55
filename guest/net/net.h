/*
 * A NIC with the IP stack on it, as workloads use it: opened from the command line, polled, closed, counted.
 *
 * Invariant: one interface at a time. Between net_open and net_close nothing but net_* touches the port; net_poll and
 * net_flush cause no VM exit when the NIC is polled.
 */
#ifndef GUEST_NET_NET_H
#define GUEST_NET_NET_H

#include "guest/lib/cmdline.h"
#include "guest/net/ip.h"
#include "guest/net/shell.h"

struct net {
	struct nic nic;
	struct ip_stack ip;
	u64 tx_dropped;                 /* frames for which the ring had no room: never with a window below its size */
	struct nest_nic_stats before;   /* the port's totals before net_open */
};

/* Options nic= ip= group= irq= halt= post= virtio= of the command line. 0 or -errno; says what failed. */
int net_open(struct net *n, const struct cmdline *c);
int net_close(struct net *n);
/*
 * Before a phase that counts exits: returns when the link is up (or does not come) and what the levels had to say of the port, which
 * costs exits, has been said: nothing for QUIET_US. Answers what arrives meanwhile.
 */
void net_settle(struct net *n);
/* Take what has arrived and answer it (answers go out at once). Returns the number of frames. */
u32 net_poll(struct net *n);
/* Ring the doorbell for what was queued. */
void net_flush(struct net *n);
/* Take what has arrived and still arrives, until clock_deadline `end` at most. */
void net_drain(struct net *n, u64 end);
/* Nothing to do: wait for an interrupt where the NIC is interrupt driven. */
void net_idle(struct net *n);
/* Find the MAC of a neighbour, at most so long; NULL if it does not answer. */
const u8 *net_resolve(struct net *n, u32 addr, u64 us);
/*
 * "@report" lines: frames by plugin, stack and port, interrupts, all of one moment: what arrives until then is taken. Costs hypercalls: not
 * in a measured phase.
 */
void net_report(struct net *n, const char *who);
/* Does the port's own count of frames, of all levels' devices, agree with the plugins'? Takes what still arrives, at most so long. */
bool net_adds_up(struct net *n, u64 us);

#endif
