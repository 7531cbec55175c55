/*
 * A virtio-net driver as simple as can be, for the torture to bend (torture_virtio.h): polled, small rings, every step of its own.
 */
#include <stdio.h>
#include <string.h>

#include "guest/lib/clock.h"
#include "guest/work/torture_virtio.h"
#include "guest/work/work.h"

#define PING_ID 0x5456
#define PING_LEN 40u
#define PING_US 30000000
#define ASK_US 100000
#define RESET_US 1000000
#define HEADER (u32)sizeof(struct virtio_net_hdr)
#define FRAME_MIN 60u

static struct tv_mem mem;

/* ---- frames ---- */

void tv_kick(struct tv *t, u32 q) { mmio_write16(t->pci.bar0 + VNET_NOTIFY + q * VNET_NOTIFY_MULTIPLIER, (u16)q); }

static void reclaim(struct virtq_drv *q)
{
	u16 head;
	u32 len;

	while (virtq_peek(q, &head, &len) > 0)
		virtq_take(q, head);
}

void tv_send(struct tv *t, const u8 *frame, u32 len)
{
	struct virtq_drv *q = &t->q[VIRTIO_NET_TXQ];
	int head;

	reclaim(q);
	head = virtq_head(q);
	if (head < 0)
		return;
	memset(t->mem->tx[head], 0, HEADER + FRAME_MIN);
	memcpy(t->mem->tx[head] + HEADER, frame, len);
	q->mem->desc[head] = (struct virtq_desc){ (u64)t->mem->tx[head], HEADER + MAX(len, FRAME_MIN), 0, 0 };
	virtq_post(q, (u16)head);
	tv_kick(t, VIRTIO_NET_TXQ);
}

static void send(void *arg, const u8 *frame, u32 len) { tv_send(arg, frame, len); }

void tv_poll(struct tv *t)
{
	struct virtq_drv *q = &t->q[VIRTIO_NET_RXQ];
	bool any = false;
	u16 head;
	u32 len;

	while (virtq_peek(q, &head, &len) > 0) {
		bool frame = len >= HEADER + 14 && len <= TV_BUF;
		if (frame && t->hook)
			t->hook(t->hook_arg, t->mem->rx[head] + HEADER, len - HEADER);
		if (frame)
			ip_input(&t->ip, t->mem->rx[head] + HEADER, len - HEADER);
		virtq_take(q, head);
		virtq_post(q, head);
		any = true;
	}
	if (any)
		tv_kick(t, VIRTIO_NET_RXQ);
}

static void take_reply(void *arg, u32 from, u16 id, u16 seq, const u8 *data, u32 len)
{
	struct tv *t = arg;

	t->answered |= from == t->peer && id == PING_ID && seq == t->seq && len == PING_LEN && data[len - 1] == (u8)(seq + len - 1);
}

void tv_ask(struct tv *t) { ip_arp_request(&t->ip, t->peer); }

static bool resolved(struct tv *t)
{
	tv_poll(t);
	return ip_arp_lookup(&t->ip, t->peer);
}

/* The link may still have to come up: asked again and again, once. */
static bool resolve(struct tv *t)
{
	u64 end = clock_deadline(PING_US);

	while (!ip_arp_lookup(&t->ip, t->peer) && !clock_passed(end)) {
		tv_ask(t);
		(void)!clock_wait(resolved(t), ASK_US);
	}
	return ip_arp_lookup(&t->ip, t->peer);
}

bool tv_ping(struct tv *t)
{
	if (!resolve(t))
		return false;
	t->answered = false;
	t->seq++;
	ip_ping(&t->ip, ip_arp_lookup(&t->ip, t->peer), t->peer, PING_ID, t->seq, PING_LEN);
	return clock_wait((tv_poll(t), t->answered), PING_US);
}

/* ---- the device ---- */

bool tv_reset(struct tv *t)
{
	virtio_reset(t->common);
	return clock_wait(!tv_status(t), RESET_US);
}

void tv_queue_raw(struct tv *t, u16 q, u16 size, u64 desc, u64 avail, u64 used)
{
	volatile u8 *c = t->common;

	mmio_write16(c + VIRTIO_COMMON(queue_select), q);
	if (size)
		mmio_write16(c + VIRTIO_COMMON(queue_size), size);
	virtio_write_address(c + VIRTIO_COMMON(queue_desc), desc);
	virtio_write_address(c + VIRTIO_COMMON(queue_driver), avail);
	virtio_write_address(c + VIRTIO_COMMON(queue_device), used);
	mmio_write16(c + VIRTIO_COMMON(queue_enable), 1);
}

bool tv_start(struct tv *t, u64 features)
{
	u64 got;

	if (!tv_reset(t) || virtio_negotiate(t->common, features, features, &got))
		return false;
	for (u16 i = 0; i < TV_QUEUES; i++) {
		struct virtq_mem *m = tv_ring(t, i);
		memset(m, 0, sizeof(*m));
		virtq_start(&t->q[i], m, TV_SIZE, features & BIT(VIRTIO_F_RING_EVENT_IDX));
		tv_queue_raw(t, i, TV_SIZE, (u64)m->desc, (u64)&m->avail, (u64)&m->used);
	}
	return !tv_broken(t);
}

bool tv_go(struct tv *t)
{
	struct virtq_drv *q = &t->q[VIRTIO_NET_RXQ];

	for (u16 i = 0; i < TV_SIZE; i++) {
		q->mem->desc[i] = (struct virtq_desc){ (u64)t->mem->rx[i], TV_BUF, VIRTQ_DESC_WRITE, 0 };
		virtq_post(q, i);
	}
	virtio_status_add(t->common, VIRTIO_STATUS_DRIVER_OK);
	tv_kick(t, VIRTIO_NET_RXQ);
	return (tv_status(t) & (VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_NEEDS_RESET)) == VIRTIO_STATUS_DRIVER_OK;
}

u32 tv_case(struct tv *t, bool ok, const char *name)
{
	char full[64];
	bool up = tv_up(t, TV_PLAIN), works = up && tv_ping(t);

	sniprintf(full, sizeof(full), "virtio-%s", name);
	if (!works)
		printf("guest: virtio: after %s the device %s\n", name, up ? "is up and a ping is not answered" : "does not start");
	return work_check(ok && works, full);
}

/* ---- life ---- */

bool tv_open(struct tv *t, const struct cmdline *c)
{
	memset(t, 0, sizeof(*t));
	t->mem = &mem;
	t->port = (u32)cmdline_u64(c, "nic", 0);
	t->peer = cmdline_ip(c, "peer", 0x0a000001);
	if (port_info(t->port, &t->info) || !t->info.emu_rid || pci_open(t->info.emu_rid, &t->pci))
		return false;
	t->common = t->pci.bar0 + VNET_COMMON;
	ip_init(&t->ip, t->info.mac, cmdline_ip(c, "ip", 0x0a000002));
	t->ip.arg = t;
	t->ip.tx = send;
	t->ip.echo_reply = take_reply;
	irq_enable(); /* with interrupts off the emulated processor lets nobody in (tests/machine/README.md) */
	return tv_up(t, TV_PLAIN) && tv_ping(t);
}

void tv_close(struct tv *t)
{
	tv_reset(t);
	irq_disable();
	pci_close(&t->pci);
}
