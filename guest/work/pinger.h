/*
 * One echo request at a time, every byte of the answer checked: for the workloads that want to know whether traffic flows.
 */
#ifndef GUEST_WORK_PINGER_H
#define GUEST_WORK_PINGER_H

#include "guest/net/net.h"

struct pinger {
	struct net net;
	u32 peer;
	const u8 *mac;
	u16 seq;
	u64 good, bad;
};

/* Open the NIC and find peer=. 0, -errno of net_open; mac is NULL if the peer did not answer within us. */
int pinger_open(struct pinger *p, const struct cmdline *c, u64 us);
/* True if the answer came, intact, within us. */
bool pinger_exchange(struct pinger *p, u64 us);

#endif
