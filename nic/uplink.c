/*
 * The software half of a NIC's switch (uplink.h).
 */
#include "nic/uplink.h"

#include <string.h>

#include "core/errno.h"

#define HEADER 14u
#define TYPE 12u
#define TYPE_CTAG 0x8100u
#define TYPE_LLDP 0x88ccu
#define TYPE_ETAG 0x893fu
#define TYPE_ECP 0x8940u
#define VID_MASK 0xfffu

static bool is_group(const u8 *frame) { return frame[0] & 1; }
static const u8 *source(const u8 *frame) { return frame + 6; }

static u32 type_at(const u8 *frame, u32 len, u32 at) { return len >= at + 2 ? (u32)frame[at] << 8 | frame[at + 1] : 0; }

static bool is_tagged(const u8 *frame, u32 len) { return len >= HEADER + UPLINK_TAG_LEN && type_at(frame, len, TYPE) == TYPE_CTAG; }

/* VLAN of a tagged frame; 0: no tag, or one with a priority only. */
static u16 vid_of(const u8 *frame, u32 len)
{
	return is_tagged(frame, len) ? (u16)((frame[14] << 8 | frame[15]) & VID_MASK) : 0;
}

/* Where the frame's own type is: behind an E-TAG, if it has one. */
static u32 own_type(const u8 *frame, u32 len)
{
	return type_at(frame, len, TYPE) == TYPE_ETAG ? TYPE + UPLINK_ETAG_LEN : TYPE;
}

/* 01-80-C2-00-00-00 to -0F: no bridge forwards them (IEEE 802.1Q, Reserved addresses). */
static bool is_reserved(const u8 *to)
{
	static const u8 prefix[5] = { 0x01, 0x80, 0xc2, 0, 0 };
	return !memcmp(to, prefix, sizeof(prefix)) && to[5] < 0x10;
}

/* Nearest customer bridge and nearest non-TPMR bridge: where extenders and VDP speak. In neither state does a guest get what is sent there. */
static bool is_extenders(const u8 *to) { return is_reserved(to) && (to[5] == 0 || to[5] == 3); }

static bool is_control(const u8 *frame, u32 len)
{
	u32 type = type_at(frame, len, own_type(frame, len));
	return is_reserved(frame) && (type == TYPE_LLDP || type == TYPE_ECP);
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

static int to_wire(struct uplink *u, const struct uplink_port *p, const u8 *frame, u32 len)
{
	int r = u->ops->wire(u->arg, frame, len, p->vlan);
	if (r)
		u->count.failed++;
	else
		u->count.out++;
	return r;
}

static int embedded_tx(struct uplink *u, u32 from, const u8 *frame, u32 len)
{
	const struct uplink_port *p = &u->port[from];
	u32 to = is_group(frame) ? UPLINK_PORTS : find(u, frame, p->vlan);
	if (to == from)
		return 0; /* to itself: a switch sends nothing back to where it came from */
	if (to < UPLINK_PORTS) {
		u->count.local++;
		deliver(u, to, frame, len);
		return 0;
	}
	int r = to_wire(u, p, frame, len);
	if (is_group(frame))
		to_others(u, from, frame, len);
	return r;
}

/* What a port without a tag outside sends without an E-TAG could have any S-tag, and be somebody else's. */
static bool may_send_external(const struct uplink_port *p, const u8 *frame, u32 len)
{
	if (memcmp(source(frame), p->mac, 6))
		return false;
	if (is_control(frame, len))
		return p->control;
	return p->state == UPLINK_ON && (p->vlan || type_at(frame, len, TYPE) == TYPE_ETAG);
}

static u32 tags_len(const struct uplink *u, const u8 *frame, u32 len)
{
	if (!u->external)
		return is_tagged(frame, len) ? UPLINK_TAG_LEN : 0;
	u32 at = own_type(frame, len);
	return at - TYPE + (type_at(frame, len, at) == TYPE_CTAG ? UPLINK_TAG_LEN : 0);
}

int uplink_tx(struct uplink *u, u32 from, const u8 *frame, u32 len)
{
	const struct uplink_port *p = &u->port[from];
	if (len < HEADER || len > u->max_frame + tags_len(u, frame, len))
		return -EINVAL;
	if (!(u->external ? may_send_external(p, frame, len) : may_send(u, p, frame, len))) {
		u->count.refused++;
		return -EIO;
	}
	if (!u->external)
		return embedded_tx(u, from, frame, len);
	u->count.control += is_control(frame, len);
	return to_wire(u, p, frame, len);
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

static bool takes_external(const struct uplink_port *p, const u8 *frame, bool control)
{
	if (control)
		return p->control;
	if (is_group(frame))
		return p->state == UPLINK_ON && !is_extenders(frame) && wants_group(p, frame);
	return p->state != UPLINK_OFF && !memcmp(frame, p->mac, 6);
}

static bool external_rx(struct uplink *u, const u8 *frame, u32 len, u16 svid)
{
	bool control = is_control(frame, len), wanted = false;
	for (u32 i = 0; i < UPLINK_PORTS; i++) {
		if (u->port[i].vlan != svid || !takes_external(&u->port[i], frame, control))
			continue;
		wanted = true;
		u->count.control += control;
		deliver(u, i, frame, len);
	}
	return wanted;
}

void uplink_rx(struct uplink *u, const u8 *frame, u32 len, u16 vlan)
{
	u->count.in++;
	if (u->external) {
		if (len < HEADER || !external_rx(u, frame, len, vlan))
			u->count.unwanted++;
		return;
	}
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
