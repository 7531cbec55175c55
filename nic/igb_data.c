/*
 * Frames of ports in emulation: between their devices, the uplink's rules and the PF's rings.
 *
 * Locks: igb.lock before igb.data_lock, which covers rings, uplink and the moment of a switch; routes (RAR entries) change under
 * both. Under the latter the devices' receive locks are taken, nothing else of nic/.
 *
 * Invariant: the uplink hands frames to a port only while it is started and its route is the PF; the ring is emptied in order, by
 * whoever holds the lock.
 */
#include <string.h>

#include "core/errno.h"
#include "core/fault.h"
#include "nic/igb.h"

#define BUDGET IGB_RING /* frames an interrupt; what is left asks for another one */

/* ---- what the uplink wants of us ---- */

static struct nic_port *device_of(void *arg, u32 port) { return ((struct igb *)arg)->port[port].lower->bound; }

static int up_deliver(void *arg, u32 port, const u8 *frame, u32 len) { return nic_port_rx(device_of(arg, port), frame, len); }
static void up_dropped(void *arg, u32 port) { nic_port_rx_dropped(device_of(arg, port)); }
static void up_flush(void *arg, u32 port) { nic_port_rx_flush(device_of(arg, port)); }
static int up_wire(void *arg, const u8 *frame, u32 len, u16 vlan) { return igb_ring_tx(arg, frame, len, vlan); }

/* By configuration: a port's function may be in it while its emulated device never was. A port that is being bound has none yet. */
static bool up_vlan_taken(void *arg, u16 vlan)
{
	const struct igb *pf = arg;
	for (u32 n = 0; n < IGB_MAX_PORTS; n++) {
		const struct nic_port *bound = pf->port[n].lower ? READ_ONCE(pf->port[n].lower->bound) : NULL;
		const struct nic_config *conf = bound ? READ_ONCE(bound->cfg) : NULL;
		if (conf && conf->vlan == vlan)
			return true;
	}
	return false;
}

static const struct uplink_ops uplink_ops = { up_deliver, up_dropped, up_flush, up_wire, up_vlan_taken };

/* ---- receive ---- */

void igb_data_drain(struct igb *pf, u32 head)
{
	const u8 *frame;
	u32 len;
	u16 vlan;
	for (u32 left = (head - pf->ring.rx_next) % IGB_RING, at, used; left; left -= MIN(used, left)) {
		at = pf->ring.rx_next;
		frame = igb_ring_rx(pf, &len, &vlan, true);
		if (!frame)
			break;
		used = (pf->ring.rx_next - at) % IGB_RING;
		uplink_rx(&pf->uplink, frame, len, vlan);
	}
	igb_ring_rx_refill(pf);
}

/* Budget spent: the cause is raised again by hand, for its edge has gone by. */
static void receive(struct igb *pf)
{
	const u8 *frame = NULL;
	u32 len, n;
	u16 vlan;
	for (n = 0; n < BUDGET && (frame = igb_ring_rx(pf, &len, &vlan, false)); n++)
		uplink_rx(&pf->uplink, frame, len, vlan);
	if (n) {
		igb_ring_rx_refill(pf);
		uplink_flush(&pf->uplink);
	}
	if (frame)
		igb_write(pf, IGB_EICS, BIT(IGB_PF_VECTOR_RX));
}

void igb_data_irq(void *arg, u8 vector)
{
	struct igb *pf = arg;
	(void)vector;
	spin_lock(&pf->data_lock);
	igb_write(pf, IGB_EIMS, BIT(IGB_PF_VECTOR_RX));
	if (pf->ring.ready)
		receive(pf);
	spin_unlock(&pf->data_lock);
}

/* ---- the device's requests ---- */

static void uplink_join(struct igb_port *p)
{
	struct uplink_port *u = &p->pf->uplink.port[p->index];
	memcpy(u->mac, p->mac, 6);
	u->vlan = p->tag;
	u->filter = p->emu_groups;
	u->control = p->pf->external;
}

int igb_data_init(struct igb *pf)
{
	pf->uplink = (struct uplink){ .ops = &uplink_ops, .arg = pf, .max_frame = IGB_MAX_FRAME - IGB_FCS_LEN, .external = pf->external };
	return igb_ring_create(pf);
}

static int data_start(struct nic_lower *l)
{
	struct igb_port *p = igb_port_of(l);
	struct igb *pf = p->pf;
	if (!pf->ring.ready || fault_point("igb: data start"))
		return -ENODEV;
	spin_lock(&pf->lock);
	int r = igb_port_identify(p, l->bound->cfg);
	if (!r) {
		p->started = true;
		igb_pf_pool_join(p);
		igb_pf_pool_update(pf);
	}
	spin_unlock(&pf->lock);
	if (r) {
		igb_port_refused(p, l->bound->vm);
		return r;
	}
	spin_lock(&pf->data_lock);
	uplink_join(p);
	spin_unlock(&pf->data_lock);
	igb_route_device(p);
	return 0;
}

/* A port in pass-through stays there. */
static void data_stop(struct nic_lower *l)
{
	struct igb_port *p = igb_port_of(l);
	struct igb *pf = p->pf;
	if (!p->started)
		return;
	spin_lock(&pf->lock);
	p->started = p->opening = false;
	spin_unlock(&pf->lock);
	igb_route_device(p);
	spin_lock(&pf->lock);
	p->emu_groups = (struct nic_rx_filter){ 0 };
	igb_pf_pool_leave(p);
	igb_pf_pool_update(pf);
	igb_mta_update(pf);
	spin_unlock(&pf->lock);
	spin_lock(&pf->data_lock);
	pf->uplink.port[p->index] = (struct uplink_port){ .state = UPLINK_OFF };
	spin_unlock(&pf->data_lock);
}

static int data_tx(struct nic_lower *l, const u8 *frame, u32 len)
{
	struct igb_port *p = igb_port_of(l);
	spin_lock(&p->pf->data_lock);
	int r = uplink_tx(&p->pf->uplink, p->index, frame, len);
	spin_unlock(&p->pf->data_lock);
	return r;
}

static void data_tx_flush(struct nic_lower *l)
{
	struct igb *pf = igb_port_of(l)->pf;
	spin_lock(&pf->data_lock);
	igb_ring_tx_kick(pf);
	uplink_flush(&pf->uplink);
	spin_unlock(&pf->data_lock);
}

static int data_fence(struct nic_lower *l)
{
	struct igb *pf = igb_port_of(l)->pf;
	if (fault_point("igb: fence"))
		return -ETIMEDOUT;
	spin_lock(&pf->data_lock);
	bool empty = igb_ring_tx_empty(pf);
	uplink_flush(&pf->uplink);
	spin_unlock(&pf->data_lock);
	return empty ? 0 : -ETIMEDOUT;
}

/* A frame without a buffer was dropped, and counted by the device: other ports' frames stand behind it. */
static void data_rx_more(struct nic_lower *l) { (void)l; }

static void data_rx_filter(struct nic_lower *l, const struct nic_rx_filter *f)
{
	struct igb_port *p = igb_port_of(l);
	struct igb *pf = p->pf;
	spin_lock(&pf->lock);
	p->emu_groups = *f;
	igb_mta_update(pf);
	igb_pf_pool_update(pf);
	spin_unlock(&pf->lock);
	spin_lock(&pf->data_lock);
	pf->uplink.port[p->index].filter = *f;
	spin_unlock(&pf->data_lock);
}

const struct nic_data_ops igb_data_ops = {
	.start = data_start, .stop = data_stop, .tx = data_tx, .tx_flush = data_tx_flush, .fence = data_fence,
	.rx_more = data_rx_more, .rx_filter = data_rx_filter,
};
