/*
 * The software half of a NIC's switch (uplink.h).
 */
#include "nic/uplink.h"

#include <string.h>

#include "core/errno.h"

#define HEADER 14u
#define TPID_HIGH 0x81
#define TPID_LOW 0x00
#define VID_MASK 0xfffu

static bool is_group(const u8 *frame) { return frame[0] & 1; }
static const u8 *source(const u8 *frame) { return frame + 6; }

/* VLAN of a tagged frame; 0: no tag, or one with a priority only. */
static bool is_tagged(const u8 *frame, u32 len)
{
	return len >= HEADER + UPLINK_TAG_LEN && frame[12] == TPID_HIGH && frame[13] == TPID_LOW;
}

static u16 vid_of(const u8 *frame, u32 len)
{
	return is_tagged(frame, len) ? (u16)((frame[14] << 8 | frame[15]) & VID_MASK) : 0;
}

static bool wants_group(const struct uplink_port *p, const u8 *to)
{
	static const u8 broadcast[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	if (p->filter.all_groups || !memcmp(to, broadcast, 6))
		return true;
	for (u32 i = 0; i < p->filter.nr; i++)
		if (!memcmp(to, p->filter.group[i], 6))
			return true;
	return false;
}

static void deliver(struct uplink *u, u32 to, const u8 *frame, u32 len)
{
	u->port[to].touched = true;
	if (!u->ops->deliver(u->arg, to, frame, len))
		return;
	u->count.no_room++;
	u->ops->dropped(u->arg, to);
}

/* The port with that address in that VLAN, or UPLINK_PORTS. */
static u32 find(const struct uplink *u, const u8 *mac, u16 vlan)
{
	u32 i;
	for (i = 0; i < UPLINK_PORTS; i++)
		if (u->port[i].state != UPLINK_OFF && u->port[i].vlan == vlan && !memcmp(u->port[i].mac, mac, 6))
			break;
	return i;
}

/* ---- outward ---- */

static bool may_send(const struct uplink *u, const struct uplink_port *p, const u8 *frame, u32 len)
{
	u16 vid = vid_of(frame, len);
	if (p->state != UPLINK_ON || memcmp(source(frame), p->mac, 6))
		return false;
	return !is_tagged(frame, len) || (!p->vlan && !(vid && u->ops->vlan_taken(u->arg, vid)));
}

static void to_others(struct uplink *u, u32 from, const u8 *frame, u32 len)
{
	for (u32 i = 0; i < UPLINK_PORTS; i++) {
		const struct uplink_port *p = &u->port[i];
		if (i == from || p->state != UPLINK_ON || p->vlan != u->port[from].vlan || !wants_group(p, frame))
			continue;
		u->count.local++;
		deliver(u, i, frame, len);
	}
}

int uplink_tx(struct uplink *u, u32 from, const u8 *frame, u32 len)
{
	const struct uplink_port *p = &u->port[from];
	if (len < HEADER || len > u->max_frame + (is_tagged(frame, len) ? UPLINK_TAG_LEN : 0))
		return -EINVAL;
	if (!may_send(u, p, frame, len)) {
		u->count.refused++;
		return -EIO;
	}
	u32 to = is_group(frame) ? UPLINK_PORTS : find(u, frame, p->vlan);
	if (to == from)
		return 0; /* to itself: a switch sends nothing back to where it came from */
	if (to < UPLINK_PORTS) {
		u->count.local++;
		deliver(u, to, frame, len);
		return 0;
	}
	int r = u->ops->wire(u->arg, frame, len, p->vlan);
	if (r)
		u->count.failed++;
	else
		u->count.out++;
	if (is_group(frame))
		to_others(u, from, frame, len);
	return r;
}

/* ---- inward ---- */

static bool is_echo(const struct uplink *u, const u8 *frame)
{
	for (u32 i = 0; i < UPLINK_PORTS; i++)
		if (u->port[i].state == UPLINK_ON && !memcmp(source(frame), u->port[i].mac, 6))
			return true;
	return false;
}

static bool group_rx(struct uplink *u, const u8 *frame, u32 len, u16 vlan)
{
	bool wanted = false;
	for (u32 i = 0; i < UPLINK_PORTS; i++) {
		const struct uplink_port *p = &u->port[i];
		if (p->state != UPLINK_ON || p->vlan != vlan || !wants_group(p, frame))
			continue;
		wanted = true;
		deliver(u, i, frame, len);
	}
	return wanted;
}

static bool unicast_rx(struct uplink *u, const u8 *frame, u32 len, u16 vlan)
{
	u32 to = find(u, frame, vlan);
	if (to == UPLINK_PORTS)
		return false;
	deliver(u, to, frame, len);
	return true;
}

void uplink_rx(struct uplink *u, const u8 *frame, u32 len, u16 vlan)
{
	u->count.in++;
	if (len >= HEADER && is_echo(u, frame)) {
		u->count.echoes++;
		return;
	}
	if (len < HEADER || !(is_group(frame) ? group_rx(u, frame, len, vlan) : unicast_rx(u, frame, len, vlan)))
		u->count.unwanted++;
}

void uplink_flush(struct uplink *u)
{
	for (u32 i = 0; i < UPLINK_PORTS; i++) {
		if (u->port[i].touched)
			u->ops->flush(u->arg, i);
		u->port[i].touched = false;
	}
}
