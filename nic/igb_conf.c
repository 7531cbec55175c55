/*
 * What a guest may change of its port, and what this hardware can do.
 *
 * Invariant: a record is checked whole before the first register is written. Address and VLAN stay what the configuration says, the
 * checks for forged frames stay on, and no port gets unicast frames of others, whatever a guest asks for.
 *
 * Not supported: receive-side scaling. The family has one key, one redirection table and one set of hash types for all pools, and
 * spreads within pools only when MRQC says so for all of them (82575EB Software Developer's Manual, Association Through MAC Address +
 * RSS; for the 82576 Linux, igb_setup_mrqc): it cannot be configured for one VF, and the emulated NIC spreads within no pool.
 */
#include <string.h>

#include "core/errno.h"
#include "nic/igb.h"

/* The emulated NIC takes the registers of rate limits and spoof checks and does nothing. Behind an external switch VLANs are payload. */
u32 igb_caps(const struct igb *pf)
{
	u32 caps = NEST_CAP_CHECKSUM | NEST_CAP_TSO | (pf->external ? 0 : NEST_CAP_VLAN) | NEST_CAP_PROMISC_GROUPS;
	return pf->is_model ? caps : caps | NEST_CAP_RATE | NEST_CAP_SPOOF_CHECK;
}

bool igb_frame_ok(u32 max_frame) { return max_frame >= IGB_MIN_FRAME - IGB_FCS_LEN && max_frame <= IGB_MAX_FRAME - IGB_FCS_LEN; }

u32 igb_frame_limit(const struct igb_port *p)
{
	const struct nic_config *conf = p->lower && p->lower->bound ? p->lower->bound->cfg : NULL;
	if (!conf || !conf->mtu)
		return IGB_MAX_FRAME;
	return MIN(conf->mtu + IGB_ETH_HEADER + IGB_VLAN_LEN + IGB_FCS_LEN, IGB_MAX_FRAME);
}

/* ---- decode ---- */

static bool well_formed(const struct nest_nic_conf *c)
{
	const u32 flags = NEST_CONF_FLAG_SPOOF_CHECK | NEST_CONF_FLAG_ALL_GROUPS | NEST_CONF_FLAG_PROMISC;
	if (c->what & ~NEST_CONF_ALL)
		return false;
	if (c->what & NEST_CONF_MAX_FRAME && !igb_frame_ok(c->max_frame))
		return false;
	if (c->what & NEST_CONF_RATE && c->rate > IGB_MAX_RATE)
		return false;
	if (c->what & (NEST_CONF_SPOOF_CHECK | NEST_CONF_PROMISC) && c->flags & ~flags)
		return false;
	if (c->what & NEST_CONF_GROUPS && c->nr_groups > NEST_MAX_GROUPS)
		return false;
	for (u32 i = 0; c->what & NEST_CONF_GROUPS && i < c->nr_groups; i++)
		if (!(c->group[i][0] & 1))
			return false;
	return true;
}

static bool has_effect(const struct igb *pf, u32 what)
{
	u32 caps = igb_caps(pf);
	return !(what & NEST_CONF_RSS) && (!(what & NEST_CONF_RATE) || caps & NEST_CAP_RATE) &&
	       (!(what & NEST_CONF_SPOOF_CHECK) || caps & NEST_CAP_SPOOF_CHECK);
}

static bool allowed(const struct igb_port *p, const struct nest_nic_conf *c)
{
	if (c->what & NEST_CONF_MAC && memcmp(c->mac, p->mac, 6))
		return false;
	if (c->what & NEST_CONF_VLAN && c->vlan != p->vlan)
		return false;
	if (c->what & NEST_CONF_SPOOF_CHECK && !(c->flags & NEST_CONF_FLAG_SPOOF_CHECK))
		return false;
	return !(c->what & NEST_CONF_PROMISC && c->flags & NEST_CONF_FLAG_PROMISC);
}

/* ---- perform ---- */

/* Linux, igb_set_vf_rate_limit. The factor is link speed / rate, in 14.14 bits; 0 = as fast as the link. */
static u32 rate_config(u32 link, u32 rate)
{
	if (!rate || rate >= link)
		return 0;
	u64 factor = ((u64)link << IGB_RTTBCNRC_FRACTION) / rate;
	return (u32)(IGB_RTTBCNRC_ENABLE | (factor & IGB_RTTBCNRC_FACTOR));
}

static u32 link_speed(struct igb *pf)
{
	static const u32 speed[4] = { 10, 100, 1000, 1000 };
	u32 status = igb_read(pf, IGB_STATUS);
	return status & IGB_STATUS_LU ? speed[FIELD_GET(IGB_STATUS_SPEED, status)] : IGB_MAX_RATE;
}

/* Queue 1 is not offered to guests (nest_nic_info.tx_queues); under a limit it gets the slowest rate, so that it is no way round. */
void igb_rate_update(struct igb_vf *vf)
{
	struct igb *pf = vf->pf;
	u32 rate = vf->port->rate, link = link_speed(pf);
	u32 second = (u32)(rate ? IGB_RTTBCNRC_ENABLE | IGB_RTTBCNRC_FACTOR : 0);
	igb_write(pf, IGB_RTTDQSEL, vf->index);
	igb_write(pf, IGB_RTTBCNRM, IGB_RTTBCNRM_JUMBO);
	igb_write(pf, IGB_RTTBCNRC, rate_config(link, rate));
	igb_write(pf, IGB_RTTDQSEL, vf->index + IGB_POOLS);
	igb_write(pf, IGB_RTTBCNRC, second);
}

void igb_rate_link_changed(struct igb *pf)
{
	for (u32 v = 0; v < pf->nr_vfs; v++)
		if (pf->vf[v].port && pf->vf[v].port->rate)
			igb_rate_update(&pf->vf[v]);
}

static void spoof_check_on(struct igb_vf *vf)
{
	igb_set_bits(vf->pf, IGB_DTXSWC, FIELD_PREP(IGB_DTXSWC_MAC_SPOOF, BIT(vf->index)) |
						 FIELD_PREP(IGB_DTXSWC_VLAN_SPOOF, BIT(vf->index)));
}

static void groups_set(struct igb_port *p, const struct nest_nic_conf *c)
{
	memset(p->vf_groups.group, 0, sizeof(p->vf_groups.group));
	memcpy(p->vf_groups.group, c->group, c->nr_groups * sizeof(c->group[0]));
	p->vf_groups.nr = c->nr_groups;
}

static void perform(struct igb_port *p, const struct nest_nic_conf *c)
{
	if (c->what & NEST_CONF_MAX_FRAME)
		p->frame = c->max_frame + IGB_FCS_LEN;
	if (c->what & NEST_CONF_GROUPS)
		groups_set(p, c);
	if (c->what & NEST_CONF_PROMISC)
		p->vf_groups.all_groups = c->flags & NEST_CONF_FLAG_ALL_GROUPS;
	if (c->what & (NEST_CONF_MAX_FRAME | NEST_CONF_GROUPS | NEST_CONF_PROMISC))
		igb_pool_update(p->vf);
	if (c->what & NEST_CONF_RATE) {
		p->rate = c->rate;
		igb_rate_update(p->vf);
	}
	if (c->what & NEST_CONF_SPOOF_CHECK)
		spoof_check_on(p->vf);
}

int igb_configure(struct nic_lower *l, const struct nest_nic_conf *conf)
{
	struct igb_port *p = igb_port_of(l);
	if (!well_formed(conf))
		return -EINVAL;
	if (!has_effect(p->pf, conf->what))
		return -ENOTSUP;
	if (!allowed(p, conf))
		return -EPERM;
	spin_lock(&p->pf->lock);
	perform(p, conf);
	spin_unlock(&p->pf->lock);
	return 0;
}
