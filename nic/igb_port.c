/*
 * A lower port of the 82576: who it is, and where frames for its address go.
 *
 * Invariant: every port has one RAR entry; its address is in no other port's entry while it is in use. The pool bits of the entry
 * are the port's route; nothing else makes unicast frames arrive, so moving a port between its emulated device and its VF is one
 * register write.
 */
#include <string.h>

#include "core/errno.h"
#include "nic/igb.h"

/* Locally administered, unicast, different for each port, and recognisable: the PF's but for the first byte. */
static void wanted_mac(const struct igb_port *p, const struct nic_config *conf, u8 mac[6])
{
	memcpy(mac, conf && conf->has_mac ? conf->mac : p->pf->mac, 6);
	if (!conf || !conf->has_mac)
		mac[0] = (u8)((p->index + 1) << 2 | 2);
}

/* Behind an external switch the VLAN of a port is the bridge's business, whatever the configuration wishes: nobody here puts its tag on. */
static u16 vlan_of(const struct igb_port *p, const struct nic_config *conf) { return conf && !p->pf->external ? conf->vlan : 0; }

static bool mac_usable(const struct igb_port *p, const u8 mac[6])
{
	static const u8 zero[6];
	if (mac[0] & 1 || !memcmp(mac, zero, 6) || !memcmp(mac, p->pf->mac, 6))
		return false;
	for (u32 i = 0; i < IGB_MAX_PORTS; i++) {
		const struct igb_port *other = &p->pf->port[i];
		if (other != p && igb_port_used(other) && !memcmp(mac, other->mac, 6))
			return false;
	}
	return true;
}

void igb_port_forget(struct igb_port *p)
{
	p->frame = MIN((u32)IGB_STD_FRAME, igb_frame_limit(p));
	p->nr_hashes = 0;
	p->vf_groups = (struct nic_rx_filter){ 0 };
}

int igb_port_identify(struct igb_port *p, const struct nic_config *conf)
{
	u8 mac[6];
	if (igb_port_used(p))
		return 0;
	wanted_mac(p, conf, mac);
	if (!mac_usable(p, mac))
		return -EINVAL;
	memcpy(p->mac, mac, 6);
	p->vlan = vlan_of(p, conf);
	p->tag = p->pf->external ? p->pf->svid[p->index] : p->vlan;
	return 0;
}

void igb_port_refused(const struct igb_port *p, const struct vm *vm)
{
	u8 mac[6];
	wanted_mac(p, p->lower->bound ? p->lower->bound->cfg : NULL, mac);
	log_line("nic: VM %s: its MAC %02x:%02x:%02x:%02x:%02x:%02x is taken or no unicast address", vm->cfg->name, mac[0], mac[1],
		 mac[2], mac[3], mac[4], mac[5]);
}

static u32 pools_of(const struct igb_port *p)
{
	return p->route == IGB_ROUTE_VF ? 1u << p->vf->index : 1u << IGB_PF_POOL;
}

void igb_port_route(struct igb_port *p, enum igb_route route)
{
	u32 rar = IGB_PORT_RAR(p->index);
	enum igb_route old = p->route;
	p->route = route;
	if (old == IGB_ROUTE_NONE && route != IGB_ROUTE_NONE)
		igb_write(p->pf, IGB_RAL(rar), igb_ral(p->mac));
	igb_write(p->pf, IGB_RAH(rar), route == IGB_ROUTE_NONE ? 0 : igb_rah(p->mac, pools_of(p)));
	if (route == IGB_ROUTE_NONE)
		igb_write(p->pf, IGB_RAL(rar), 0);
}

/* of_vf: to the VF, or away from it. Else only between the device and nowhere, as the device starts and stops. */
static void route_now(struct igb_port *p, bool of_vf, enum igb_route to)
{
	struct igb *pf = p->pf;
	spin_lock(&pf->lock);
	spin_lock(&pf->data_lock);
	if (!of_vf && p->route == IGB_ROUTE_VF)
		to = IGB_ROUTE_VF;
	else if (to == IGB_ROUTE_PF && !p->started)
		to = IGB_ROUTE_NONE;
	if (to != p->route)
		igb_port_route(p, to);
	pf->uplink.port[p->index].state = to == IGB_ROUTE_PF ? UPLINK_ON : UPLINK_OFF;
	spin_unlock(&pf->data_lock);
	igb_pf_pool_update(pf);
	spin_unlock(&pf->lock);
}

void igb_route_vf(struct igb_port *p) { route_now(p, true, IGB_ROUTE_VF); }
void igb_route_fall_back(struct igb_port *p) { route_now(p, true, IGB_ROUTE_PF); }
void igb_route_device(struct igb_port *p) { route_now(p, false, IGB_ROUTE_PF); }

/* There is some VF that the port could be given, or has. */
static bool may_pass(const struct igb_port *p)
{
	const struct igb *pf = p->pf;
	for (u32 v = 0; igb_port_taggable(p) && v < pf->nr_vfs; v++)
		if (pf->vf[v].state != VF_ABSENT && pf->vf[v].state != VF_LOST)
			return true;
	return false;
}

int igb_info(struct nic_lower *l, struct nest_nic_info *out)
{
	struct igb_port *p = igb_port_of(l);
	const struct nic_config *conf = l->bound ? l->bound->cfg : NULL;
	bool passes = conf && conf->mode == NIC_PASSTHROUGH;
	spin_lock(&p->pf->lock);
	igb_link_poll(p->pf);
	*out = (struct nest_nic_info){
		.vlan = vlan_of(p, conf),
		.mode = passes ? NEST_MODE_PASSTHROUGH : NEST_MODE_EMULATION,
		.want = passes ? NEST_MODE_PASSTHROUGH : NEST_MODE_EMULATION,
		.state = p->route == IGB_ROUTE_VF ? NEST_MODE_PASSTHROUGH : NEST_MODE_EMULATION,
		.flags = (p->pf->link_up ? NEST_NIC_LINK_UP : 0) | (may_pass(p) ? NEST_NIC_MAY_PASS : 0) |
			 (p->pf->external ? NEST_NIC_EXTERNAL : 0) | (p->pf->svid[p->index] ? NEST_NIC_S_CHANNEL : 0),
		.max_frame = IGB_MAX_FRAME - IGB_FCS_LEN,
		.rx_queues = 1, .tx_queues = 1, .irq_vectors = IGB_VF_VECTORS,
		.family = IGB_FAMILY,
		.caps = igb_caps(p->pf),
		.plugin_len = igb_plugin_len(),
	};
	spin_unlock(&p->pf->lock);
	wanted_mac(p, conf, out->mac);
	return 0;
}
