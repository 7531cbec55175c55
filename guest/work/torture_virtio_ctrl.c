/*
 * Commands to the emulated network device that its port's policy forbids, or that are none (VIRTIO 1.2, Control Virtqueue): refused,
 * and nothing changes; a buffer that cannot be answered gives DEVICE_NEEDS_RESET.
 */
#include <string.h>

#include "guest/lib/clock.h"
#include "guest/lib/memory.h"
#include "guest/work/torture_virtio.h"
#include "guest/work/work.h"

#define UNANSWERED 0x55
#define GRANTED VIRTIO_NET_OK
#define REFUSED VIRTIO_NET_ERR

/* Send the command in spare, len bytes with class and command; the answer, or UNANSWERED. */
static u8 command(struct tv *t, u32 len)
{
	struct virtq_drv *q = &t->q[VIRTIO_NET_CTRLQ];
	struct virtq_desc *d = q->mem->desc;
	u8 *ack = t->mem->spare + TV_SPARE - 1;

	*ack = UNANSWERED;
	d[0] = (struct virtq_desc){ (u64)t->mem->spare, len, VIRTQ_DESC_NEXT, 1 };
	d[1] = (struct virtq_desc){ (u64)ack, 1, VIRTQ_DESC_WRITE, 0 };
	virtq_post(q, 0);
	tv_kick(t, VIRTIO_NET_CTRLQ);
	if (clock_wait(virtq_pending(q), TV_WAIT_US))
		virtq_take(q, 0);
	return READ_ONCE(*ack);
}

struct refusal { const char *name; u8 want; u8 class, command, len, data[20]; };

static u32 refuse(struct tv *t, const struct refusal *r)
{
	bool up = tv_up(t, TV_CTRL);

	t->mem->spare[0] = r->class;
	t->mem->spare[1] = r->command;
	memcpy(t->mem->spare + 2, r->data, sizeof(r->data));
	u8 answer = command(t, 2u + r->len);
	return tv_case(t, up && answer == r->want && !tv_broken(t) && tv_ping(t), r->name);
}

#define RX VIRTIO_NET_CTRL_RX
#define MAC VIRTIO_NET_CTRL_MAC
#define VLAN VIRTIO_NET_CTRL_VLAN
#define TABLE VIRTIO_NET_CTRL_MAC_TABLE_SET

static u32 refusals(struct tv *t)
{
	static const struct refusal all[] = {
		{ "promiscuous", REFUSED, RX, 0, 1, { 1 } }, { "not-promiscuous", GRANTED, RX, 0, 1, { 0 } },
		{ "all-groups-2", REFUSED, RX, 1, 1, { 2 } }, { "all-groups-without-data", REFUSED, RX, 1, 0, { 0 } },
		{ "all-groups-too-much-data", REFUSED, RX, 1, 2, { 1 } }, { "all-unicast", REFUSED, RX, 2, 1, { 1 } },
		{ "no-broadcast", REFUSED, RX, 5, 1, { 1 } }, { "foreign-mac", REFUSED, MAC, 1, 6, { 0x52, 0x54, 0, 0, 0, 0x77 } },
		{ "group-as-mac", REFUSED, MAC, 1, 6, { 1, 0, 0x5e, 0, 0, 1 } }, { "zero-mac", REFUSED, MAC, 1, 6, { 0 } },
		{ "mac-cut", REFUSED, MAC, 1, 5, { 0x52, 0x54 } },
		{ "table-foreign-unicast", REFUSED, MAC, TABLE, 14, { 1, 0, 0, 0, 0x52, 0x54, 0, 0, 0, 0x77, 0 } },
		{ "table-unicast-as-group", REFUSED, MAC, TABLE, 14, { 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 1 } },
		{ "table-count-lies", REFUSED, MAC, TABLE, 8, { 0, 0, 0, 0, 200, 0, 0, 0 } },
		{ "table-count-huge", REFUSED, MAC, TABLE, 8, { 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0 } },
		{ "table-second-count-huge", REFUSED, MAC, TABLE, 8, { 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff } },
		{ "table-one-only", REFUSED, MAC, TABLE, 4, { 0 } }, { "table-cut", REFUSED, MAC, TABLE, 3, { 0 } },
		{ "table-longer-than-its-counts", REFUSED, MAC, TABLE, 9, { 0 } }, { "table-empty", GRANTED, MAC, TABLE, 8, { 0 } },
		{ "vlan-4096", REFUSED, VLAN, 0, 2, { 0, 0x10 } }, { "vlan-cut", REFUSED, VLAN, 0, 1, { 1 } },
		{ "vlan-unknown-command", REFUSED, VLAN, 2, 2, { 1, 0 } }, { "class-unknown", REFUSED, 77, 0, 1, { 1 } },
		{ "class-announce", REFUSED, 3, 0, 0, { 0 } }, { "class-queues", REFUSED, 4, 0, 2, { 2, 0 } },
		{ "class-offloads", REFUSED, 5, 0, 8, { 0xff } }, { "command-unknown", REFUSED, MAC, 99, 6, { 0 } },
	};
	u32 failed = 0;

	for (u32 i = 0; i < ARRAY_SIZE(all); i++)
		failed += refuse(t, &all[i]);
	return failed;
}

/* 300 groups: more than anybody keeps; all groups are then let through, and nothing else. */
static u32 many_groups(struct tv *t)
{
	u32 n = 300;
	bool up = tv_up(t, TV_CTRL);

	memset(t->mem->spare, 0, TV_SPARE);
	t->mem->spare[0] = MAC;
	memcpy(t->mem->spare + 6, &n, sizeof(n));
	for (u32 i = 0; i < n; i++) {
		u8 group[6] = { 1, 0, 0x5e, 0, (u8)(i >> 8), (u8)i };
		memcpy(t->mem->spare + 10 + 6 * i, group, 6);
	}
	return tv_case(t, up && command(t, 10 + 6 * n) == GRANTED && tv_ping(t), "too-many-groups");
}

/* ---- what is no command ---- */

struct bad { const char *name; struct virtq_desc d[2]; u16 ahead; };

static u32 nonsense(struct tv *t)
{
	u64 s = (u64)t->mem->spare, top = memory_top();
	const struct bad all[] = {
		{ "command-without-answer", { { s, 3, 0, 0 } }, 0 },
		{ "command-of-one-byte", { { s, 1, VIRTQ_DESC_NEXT, 1 }, { s, 1, VIRTQ_DESC_WRITE, 0 } }, 0 },
		{ "command-answer-only", { { s, 1, VIRTQ_DESC_WRITE, 0 } }, 0 },
		{ "command-answer-of-no-byte", { { s, 3, VIRTQ_DESC_NEXT, 1 }, { s, 0, VIRTQ_DESC_WRITE, 0 } }, 0 },
		{ "command-answer-outside", { { s, 3, VIRTQ_DESC_NEXT, 1 }, { top, 1, VIRTQ_DESC_WRITE, 0 } }, 0 },
		{ "command-outside", { { top, 3, VIRTQ_DESC_NEXT, 1 }, { s, 1, VIRTQ_DESC_WRITE, 0 } }, 0 },
		{ "command-loop", { { s, 3, VIRTQ_DESC_NEXT, 0 } }, 0 },
		{ "command-index-too-far", { { s, 3, VIRTQ_DESC_NEXT, 1 }, { s, 1, VIRTQ_DESC_WRITE, 0 } }, TV_SIZE },
	};
	u32 failed = 0;

	for (u32 i = 0; i < ARRAY_SIZE(all); i++) {
		struct virtq_mem *m = tv_ring(t, VIRTIO_NET_CTRLQ);
		bool up = tv_up(t, TV_CTRL);
		memcpy(m->desc, all[i].d, sizeof(all[i].d));
		WRITE_ONCE(m->avail.idx, 1 + all[i].ahead);
		tv_kick(t, VIRTIO_NET_CTRLQ);
		failed += tv_case(t, up && clock_wait(tv_broken(t), TV_WAIT_US), all[i].name);
	}
	return failed;
}

u32 tv_group_control(struct tv *t) { return refusals(t) + many_groups(t) + nonsense(t); }
