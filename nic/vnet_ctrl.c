/*
 * Control queue of the emulated device (VIRTIO 1.2, Network Device, Control Virtqueue): what the driver may decide about its own
 * frames.
 *
 * Invariant: nothing here widens what the port may receive: its own address, broadcasts and group frames. A command that policy
 * forbids or that makes no sense answers VIRTIO_NET_ERR and changes nothing; only a buffer that is no command at all breaks the
 * device. Under ctrl.
 */
#include <string.h>

#include "core/errno.h"
#include "nic/vnet_priv.h"

#define ROUNDS 4
#define MAC_LEN 6
#define COMMAND_LEN 2            /* class and command */

struct command { struct virtq_dev *q; const struct vqd_chain *c; u8 head[COMMAND_LEN]; };

/* ---- the filter ---- */

static void filter_set(struct vnet *d, const struct nic_rx_filter *f)
{
	spin_lock(&d->rx);
	d->filter = *f;
	for (u32 i = 0; i < f->nr; i++)
		d->group[i] = mac_key(f->group[i]);
	spin_unlock(&d->rx);
}

static void filter_apply(struct vnet *d, const struct nic_rx_filter *f)
{
	filter_set(d, f);
	if (d->started)
		d->data->rx_filter(d->lower, &d->filter);
}

/* A driver that cannot say what it wants gets all group frames, and all its tags. */
void vnet_ctrl_default(struct vnet *d)
{
	struct nic_rx_filter f = { .all_groups = !(d->features & F(CTRL_RX)) };
	d->allmulti = d->overflow = false;
	filter_set(d, &f);
	spin_lock(&d->rx);
	d->filter_vlans = d->features & F(CTRL_VLAN);
	memset(d->vlans, 0, sizeof(d->vlans));
	spin_unlock(&d->rx);
}

/* ---- commands: true if granted ---- */

/* Data of exactly len bytes. */
static bool data(const struct command *m, void *buf, u64 len)
{
	return m->c->read_len == COMMAND_LEN + len && !vqd_read(m->q, m->c, COMMAND_LEN, buf, len);
}

static bool rx_mode(struct vnet *d, const struct command *m)
{
	u8 on;
	if (!(d->features & F(CTRL_RX)) || !data(m, &on, sizeof(on)) || on > 1)
		return false;
	if (m->head[1] == VIRTIO_NET_CTRL_RX_PROMISC)
		return !on;
	if (m->head[1] != VIRTIO_NET_CTRL_RX_ALLMULTI)
		return false;
	struct nic_rx_filter f = d->filter;
	d->allmulti = on;
	f.all_groups = d->allmulti || d->overflow;
	filter_apply(d, &f);
	return true;
}

/* A table of addresses at `at` of the data: its number of entries, and where it ends. */
static bool table(const struct command *m, u64 at, u32 *n, u64 *end)
{
	if (m->c->read_len < at + sizeof(*n) || vqd_read(m->q, m->c, at, n, sizeof(*n)))
		return false;
	*end = at + sizeof(*n) + (u64)*n * MAC_LEN;
	return *end <= m->c->read_len;
}

/* Unicast addresses: none but the port's own. */
static bool unicast_good(struct vnet *d, const struct command *m, u32 n)
{
	for (u32 i = 0; i < n; i++) {
		u8 mac[MAC_LEN];
		if (i == NEST_MAX_GROUPS || vqd_read(m->q, m->c, COMMAND_LEN + sizeof(n) + i * MAC_LEN, mac, sizeof(mac)) ||
		    mac_key(mac) != READ_ONCE(d->mac))
			return false;
	}
	return true;
}

static bool mac_table(struct vnet *d, const struct command *m)
{
	struct nic_rx_filter f = { .nr = 0 };
	u32 unicast, groups;
	u64 second, end;
	if (!(d->features & F(CTRL_RX)) || !table(m, COMMAND_LEN, &unicast, &second) || !unicast_good(d, m, unicast) ||
	    !table(m, second, &groups, &end) || end != m->c->read_len)
		return false;
	bool overflow = groups > NEST_MAX_GROUPS;
	f.nr = overflow ? 0 : groups;
	if (f.nr && vqd_read(m->q, m->c, second + sizeof(groups), f.group, f.nr * MAC_LEN))
		return false;
	for (u32 i = 0; i < f.nr; i++)
		if (!(f.group[i][0] & 1))
			return false;
	d->overflow = overflow;
	f.all_groups = d->allmulti || overflow;
	filter_apply(d, &f);
	return true;
}

static bool mac_command(struct vnet *d, const struct command *m)
{
	u8 mac[MAC_LEN];
	if (m->head[1] == VIRTIO_NET_CTRL_MAC_TABLE_SET)
		return mac_table(d, m);
	return m->head[1] == VIRTIO_NET_CTRL_MAC_ADDR_SET && d->features & F(CTRL_MAC_ADDR) && data(m, mac, sizeof(mac)) &&
	       mac_key(mac) == READ_ONCE(d->mac);
}

static bool vlan(struct vnet *d, const struct command *m)
{
	u16 vid;
	if (!(d->features & F(CTRL_VLAN)) || READ_ONCE(d->own_vlan) || !data(m, &vid, sizeof(vid)) || vid > 4095 ||
	    m->head[1] > VIRTIO_NET_CTRL_VLAN_DEL)
		return false;
	u32 bit = (u32)BIT(vid % 32);
	spin_lock(&d->rx);
	if (m->head[1] == VIRTIO_NET_CTRL_VLAN_ADD)
		d->vlans[vid / 32] |= bit;
	else
		d->vlans[vid / 32] &= ~bit;
	spin_unlock(&d->rx);
	return true;
}

static bool perform(struct vnet *d, const struct command *m)
{
	switch (m->head[0]) {
	case VIRTIO_NET_CTRL_RX: return rx_mode(d, m);
	case VIRTIO_NET_CTRL_MAC: return mac_command(d, m);
	case VIRTIO_NET_CTRL_VLAN: return vlan(d, m);
	default: return false;
	}
}

/* ---- the queue ---- */

static int command(struct vnet *d, struct virtq_dev *q)
{
	struct command m = { .q = q, .c = &d->chain[VIRTIO_NET_CTRLQ] };
	int r = vqd_peek(q, 0, &d->chain[VIRTIO_NET_CTRLQ]);
	if (!r && !m.c->write_len)
		r = -EINVAL;
	if (!r)
		r = vqd_read(q, m.c, 0, m.head, sizeof(m.head));
	if (r)
		return r;
	u8 answer = perform(d, &m) ? VIRTIO_NET_OK : VIRTIO_NET_ERR;
	r = vqd_write(q, m.c, 0, &answer, sizeof(answer));
	if (!r)
		r = vqd_use(q, 0, m.c->head, sizeof(answer));
	return r ? r : vqd_publish(q, 1);
}

static int commands(struct vnet *d, struct virtq_dev *q, int n)
{
	int r = n < 0 ? n : 0;
	for (int i = 0; i < n && !r; i++)
		r = command(d, q);
	return r;
}

void vnet_ctrl_kick(struct vnet *d)
{
	struct virtq_dev *q = &d->vq[VIRTIO_NET_CTRLQ];
	spin_lock(&d->ctrl);
	if (vnet_works(d)) {
		if (commands(d, q, vqd_arm(q)))
			vnet_break(d, "a malformed buffer in the control queue");
		if (vqd_interrupts(q))
			vnet_irq_queue(d, VIRTIO_NET_CTRLQ);
	}
	spin_unlock(&d->ctrl);
}
