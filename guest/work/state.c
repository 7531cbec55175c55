/*
 * The state workload: a virtual function stopped, saved, put back into itself and into another one, between pings; and records that
 * must be refused.
 *
 * Invariant: the plugin notices nothing: its rings lie in the same memory and its registers at the same address before and after.
 */
#include <stdio.h>
#include <string.h>

#include "core/crc32.h"
#include "guest/lib/clock.h"
#include "guest/lib/memory.h"
#include "guest/lib/nest.h"
#include "guest/net/net.h"
#include "guest/net/port.h"
#include "guest/work/work.h"

#define PING_ID 0x5354
#define PING_LEN 48u
#define RING_LEN 16u /* offset of the first ring's length in the body (nic/igb_state.h): behind base and head_wb */

struct run {
	struct net net;
	u32 peer;
	const u8 *mac;
	u16 seq;
	u64 good, count, us;
	struct nest_nic_state first, again, bad;
	struct nest_nic_stats stopped, now;
};

static struct run run;

/* ---- pings ---- */

static void take_reply(void *arg, u32 from, u16 id, u16 seq, const u8 *data, u32 len)
{
	struct run *r = container_of((struct net *)arg, struct run, net);

	if (from == r->peer && id == PING_ID && seq == r->seq && len == PING_LEN && data[len - 1] == (u8)(seq + len - 1))
		r->good++;
}

static bool pings(struct run *r)
{
	u64 before = r->good;

	for (u64 i = 0; i < r->count && r->good - before == i; i++) {
		u64 end = clock_deadline(r->us);
		r->seq++;
		ip_ping(&r->net.ip, r->mac, r->peer, PING_ID, r->seq, PING_LEN);
		net_flush(&r->net);
		while (r->good - before == i && !clock_passed(end))
			net_poll(&r->net);
	}
	return r->good - before == r->count;
}

/* ---- records ---- */

static u64 handle(const struct run *r) { return r->net.nic.handle; }

static bool same_record(const struct run *r) { return !memcmp(&r->first, &r->again, sizeof(r->first)); }

/* The totals of a stopped function in pass-through stand still. */
static bool same_totals(struct run *r)
{
	return !port_totals(r->net.nic.port, &r->now) && !memcmp(&r->now, &r->stopped, sizeof(r->now));
}

static void seal(struct nest_nic_state *s)
{
	s->crc = 0;
	s->crc = crc32(0, s, sizeof(*s));
}

/* Put back and saved again: the same bytes. */
static u32 round_trip(struct run *r, const char *restore, const char *save, const char *bytes)
{
	u32 failed = work_check_result(port_restore(handle(r), &r->first), 0, restore);
	failed += work_check_result(port_save(handle(r), &r->again), 0, save);
	return failed + work_check(same_record(r), bytes);
}

static u32 altered_bytes(struct run *r)
{
	u64 refused = 0, tried = 0;

	for (u64 i = 0; i < sizeof(r->first); i += 13) {
		r->bad = r->first;
		((u8 *)&r->bad)[i] ^= (u8)(1u << i % 8);
		refused += port_restore(handle(r), &r->bad) == -EINVAL;
		tried++;
	}
	return work_check(refused == tried, "state-altered-bytes");
}

/* With a checksum that fits. */
static u32 altered_values(struct run *r)
{
	u32 failed = 0;

	r->bad = r->first;
	r->bad.version++;
	seal(&r->bad);
	failed += work_check_result(port_restore(handle(r), &r->bad), -EINVAL, "state-other-version");
	r->bad = r->first;
	r->bad.family++;
	seal(&r->bad);
	failed += work_check_result(port_restore(handle(r), &r->bad), -EINVAL, "state-other-family");
	r->bad = r->first;
	r->bad.mac[5] ^= 1;
	seal(&r->bad);
	failed += work_check_result(port_restore(handle(r), &r->bad), -EPERM, "state-foreign-mac");
	r->bad = r->first;
	r->bad.max_frame = 70000;
	seal(&r->bad);
	failed += work_check_result(port_restore(handle(r), &r->bad), -EINVAL, "state-long-frame");
	r->bad = r->first;
	r->bad.body[RING_LEN] |= 1; /* not even whole descriptors */
	seal(&r->bad);
	failed += work_check_result(port_restore(handle(r), &r->bad), -EINVAL, "state-odd-ring");
	r->bad = r->first;
	memset(r->bad.body, 0xff, sizeof(r->bad.body));
	seal(&r->bad);
	return failed + work_check_result(port_restore(handle(r), &r->bad), -EINVAL, "state-all-ones");
}

/* ---- the function changes ---- */

static int map_memory(const struct run *r, u64 h)
{
	const struct nic_dev *d = &r->net.nic.vf;
	struct nest_nic_dma dma = { .iova = d->env.dma_iova, .gpa = d->env.dma_iova, .len = d->dma_len,
				    .perm = NEST_DMA_READ | NEST_DMA_WRITE };
	return port_dma_map(h, &dma, 1);
}

/* Behind the shell's back, which knows the function by its handle only. */
static u32 other_function(struct run *r)
{
	struct nic *n = &r->net.nic;
	u64 old = n->handle;
	u32 failed = work_check_result(port_free(old), 0, "state-free");
	s64 h = port_alloc(n->port, NEST_ALLOC_OTHER);

	if (work_check(h > 0, "state-alloc-other"))
		return failed + 1;
	n->handle = (u64)h;
	failed += work_check((u64)h != old && port_quiesce(old) == -ENOENT, "state-old-handle-gone");
	failed += work_check_result(port_map_regs(n->handle, memory_device_window()), 0, "state-map-regs");
	failed += work_check_result(map_memory(r, n->handle), 0, "state-map-memory");
	return failed + work_check_result(port_quiesce(n->handle), 0, "state-other-quiesce");
}

/* ---- what must not work while the function runs ---- */

static u32 while_running(struct run *r)
{
	struct nest_nic_conf conf = { .what = NEST_CONF_MAC };
	u32 failed = work_check_result(port_save(handle(r), &r->bad), -EBUSY, "state-save-running");

	failed += work_check_result(port_restore(handle(r), &r->first), -EBUSY, "state-restore-running");
	failed += work_check_result(port_resume(handle(r)), -EINVAL, "state-resume-running");
	memcpy(conf.mac, r->net.nic.info.mac, 6);
	failed += work_check_result(port_configure(handle(r), &conf), 0, "state-own-mac");
	conf.mac[5] ^= 1;
	failed += work_check_result(port_configure(handle(r), &conf), -EPERM, "state-configure-foreign-mac");
	conf = (struct nest_nic_conf){ .what = NEST_CONF_PROMISC, .flags = NEST_CONF_FLAG_PROMISC };
	failed += work_check_result(port_configure(handle(r), &conf), -EPERM, "state-configure-promiscuous");
	conf = (struct nest_nic_conf){ .what = NEST_CONF_RSS };
	failed += work_check_result(port_configure(handle(r), &conf), -ENOTSUP, "state-configure-rss");
	bool rate = r->net.nic.info.caps & NEST_CAP_RATE;
	conf = (struct nest_nic_conf){ .what = NEST_CONF_RATE };
	failed += work_check_result(port_configure(handle(r), &conf), rate ? 0 : -ENOTSUP, "state-configure-rate");
	conf = (struct nest_nic_conf){ .what = NEST_CONF_GROUPS, .nr_groups = 1, .group = { { 0x01, 0x00, 0x5e, 0, 0, 0xfb } } };
	return failed + work_check_result(port_configure(handle(r), &conf), 0, "state-configure-groups");
}

static u32 stopped(struct run *r)
{
	u32 failed = work_check_result(port_quiesce(handle(r)), 0, "state-quiesce");

	failed += work_check_result(port_quiesce(handle(r)), 0, "state-quiesce-again");
	failed += work_check_result(port_totals(r->net.nic.port, &r->stopped), 0, "state-totals");
	failed += work_check_result(port_save(handle(r), &r->first), 0, "state-save");
	failed += work_check(!memcmp(&r->first.totals, &r->stopped, sizeof(r->stopped)), "state-record-has-totals");
	failed += work_check(r->first.nr_groups == 1 && r->first.group[0][5] == 0xfb, "state-record-has-groups");
	failed += round_trip(r, "state-restore", "state-save-again", "state-same-bytes");
	failed += work_check(same_totals(r), "state-same-totals");
	failed += altered_bytes(r) + altered_values(r);
	failed += work_check_result(port_save(handle(r), &r->again), 0, "state-save-after-bad");
	return failed + work_check(same_record(r), "state-bad-records-changed-nothing");
}

static u32 moved(struct run *r)
{
	u32 failed = other_function(r);

	if (failed)
		return failed;
	failed += round_trip(r, "state-other-restore", "state-other-save", "state-other-same-bytes");
	return failed + work_check(same_totals(r), "state-other-same-totals");
}

static u32 go(struct run *r)
{
	struct nic_plugin_stats before, after;
	u32 failed = work_check(pings(r), "state-pings-before");

	failed += while_running(r) + stopped(r);
	failed += work_check_result(port_resume(handle(r)), 0, "state-resume");
	failed += work_check(pings(r), "state-pings-between");
	failed += work_check_result(port_quiesce(handle(r)), 0, "state-quiesce-2");
	failed += work_check_result(port_totals(r->net.nic.port, &r->stopped), 0, "state-totals-2");
	failed += work_check_result(port_save(handle(r), &r->first), 0, "state-save-2");
	failed += moved(r);
	failed += work_check_result(port_resume(handle(r)), 0, "state-other-resume");
	nic_plugin_counts(&r->net.nic, &before);
	failed += work_check(pings(r), "state-pings-after");
	nic_plugin_counts(&r->net.nic, &after);
	failed += work_check_result(port_totals(r->net.nic.port, &r->now), 0, "state-totals-3");
	return failed + work_check(r->now.tx_packets - r->stopped.tx_packets == after.tx_frames - before.tx_frames, "state-totals-go-on");
}

u32 work_state(const struct cmdline *c)
{
	struct run *r = &run;
	u32 failed;

	memset(r, 0, sizeof(*r));
	r->peer = cmdline_ip(c, "peer", 0x0a000001);
	r->count = cmdline_u64(c, "count", 10);
	r->us = cmdline_u64(c, "wait", 30) * 1000000;
	nest_phase(PHASE_CONTROL);
	if (net_open(&r->net, c))
		return work_check(false, "state-open");
	r->net.ip.echo_reply = take_reply;
	r->mac = net_resolve(&r->net, r->peer, r->us);
	failed = r->mac ? go(r) : work_check(false, "state-arp");
	printf("guest: state: %llu pings answered\n", (unsigned long long)r->good);
	return failed + work_check(net_close(&r->net) == 0, "state-close");
}
