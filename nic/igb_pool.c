/*
 * A VF's pool: which frames it receives and what its frames carry.
 *
 * Invariant: a pool accepts what is routed to it and, while its groups are open, broadcasts and the multicast hashes that its VF asked
 * for, all with its port's own tag (C-VLAN, or S-VID behind an external switch) or, without one, untagged only. The filter tables that pools share (VLVF, VFTA, MTA) hold exactly what the
 * ports in use need.
 */
#include <string.h>

#include "nic/igb.h"

static u32 vlvf_pools(u32 entry) { return (u32)FIELD_GET(IGB_VLVF_POOLS, entry); }

/* Entry of the VLAN, or a free one; there are more entries than pools. */
static u32 vlvf_find(struct igb *pf, u16 vid)
{
	u32 spare = IGB_VLVF_ENTRIES;
	for (u32 i = 0; i < IGB_VLVF_ENTRIES; i++) {
		u32 e = igb_read(pf, IGB_VLVF(i));
		if (e & IGB_VLVF_EN && FIELD_GET(IGB_VLVF_VID, e) == vid)
			return i;
		if (!(e & IGB_VLVF_EN) && spare == IGB_VLVF_ENTRIES)
			spare = i;
	}
	ASSERT(spare < IGB_VLVF_ENTRIES);
	return spare;
}

static void vlan_join(struct igb *pf, u32 pool, u16 vid)
{
	u32 i = vlvf_find(pf, vid);
	u32 e = igb_read(pf, IGB_VLVF(i));
	u32 pools = (e & IGB_VLVF_EN ? vlvf_pools(e) : 0) | 1u << pool;
	igb_set_bits(pf, IGB_VFTA(vid >> 5), BIT(vid & 31));
	igb_write(pf, IGB_VLVF(i), igb_vlvf(vid, pools));
}

static void vlan_leave(struct igb *pf, u32 pool, u16 vid)
{
	u32 i = vlvf_find(pf, vid);
	u32 e = igb_read(pf, IGB_VLVF(i));
	u32 pools = vlvf_pools(e) & ~(1u << pool);
	if (!(e & IGB_VLVF_EN))
		return;
	if (pools) {
		igb_write(pf, IGB_VLVF(i), igb_vlvf(vid, pools));
		return;
	}
	igb_write(pf, IGB_VLVF(i), 0);
	igb_clear_bits(pf, IGB_VFTA(vid >> 5), BIT(vid & 31));
}

/* ---- group addresses ---- */

/* 82576 Datasheet, Multicast Table Array, RCTL.MO = 0: bits 47:36 of the address. */
static u32 hash_of(const u8 group[6]) { return (u32)group[4] >> 4 | (u32)group[5] << 4; }

static void want_hash(u32 want[IGB_MTA_WORDS], u32 hash) { want[hash >> 5 & (IGB_MTA_WORDS - 1)] |= 1u << (hash & 31); }

static void want_filter(u32 want[IGB_MTA_WORDS], const struct nic_rx_filter *f)
{
	for (u32 i = 0; i < f->nr; i++)
		want_hash(want, hash_of(f->group[i]));
	if (f->all_groups)
		memset(want, 0xff, IGB_MTA_WORDS * sizeof(u32));
}

/*
 * The table is shared: it is the union of what all ports want in both states, so that a switch changes nothing here. Who wants all
 * groups fills it; the others then get groups that they did not ask for, as any hashed filter may deliver. Only words that change
 * are written.
 */
void igb_mta_update(struct igb *pf)
{
	u32 want[IGB_MTA_WORDS] = { 0 };
	for (u32 i = 0; i < IGB_MAX_PORTS; i++) {
		const struct igb_port *p = &pf->port[i];
		for (u32 h = 0; h < p->nr_hashes; h++)
			want_hash(want, p->hash[h]);
		want_filter(want, &p->vf_groups);
		want_filter(want, &p->emu_groups);
	}
	for (u32 i = 0; i < IGB_MTA_WORDS; i++) {
		if (want[i] != pf->mta[i])
			igb_write(pf, IGB_MTA(i), want[i]);
		pf->mta[i] = want[i];
	}
}

static bool wants_any(const struct nic_rx_filter *f) { return f->nr || f->all_groups; }
static bool wants_groups(const struct igb_port *p) { return p->nr_hashes || wants_any(&p->vf_groups); }

void igb_pool_update(struct igb_vf *vf)
{
	const struct igb_port *p = vf->port;
	u64 groups = vf->groups_open ? IGB_VMOLR_BAM | (wants_groups(p) ? IGB_VMOLR_ROMPE : 0) : 0;
	igb_write(vf->pf, IGB_VMOLR(vf->index), igb_vmolr(p->tag, p->frame, groups));
	igb_mta_update(vf->pf);
}

void igb_pool_enable(struct igb_vf *vf, bool on)
{
	u64 bit = BIT(vf->index);
	if (on && !vf->quiesced) {
		igb_set_bits(vf->pf, IGB_VFRE, bit);
		igb_set_bits(vf->pf, IGB_VFTE, bit);
	} else if (!on) {
		igb_clear_bits(vf->pf, IGB_VFRE, bit);
		igb_clear_bits(vf->pf, IGB_VFTE, bit);
	}
}

void igb_pool_open(struct igb_vf *vf)
{
	igb_write(vf->pf, IGB_VMVIR(vf->index), igb_vmvir(vf->port->tag));
	if (vf->port->tag)
		vlan_join(vf->pf, vf->index, vf->port->tag);
	igb_pool_update(vf);
	igb_pool_enable(vf, true);
}

void igb_pool_close(struct igb_vf *vf)
{
	igb_pool_enable(vf, false);
	vf->groups_open = false;
	if (vf->port->rate) {
		vf->port->rate = 0;
		igb_rate_update(vf);
	}
	igb_write(vf->pf, IGB_VMOLR(vf->index), IGB_VMOLR_NOTHING);
	if (vf->port->tag)
		vlan_leave(vf->pf, vf->index, vf->port->tag);
	igb_port_forget(vf->port);
	igb_mta_update(vf->pf);
	igb_write(vf->pf, IGB_VMVIR(vf->index), IGB_VMVIR_NEVER);
}

/* ---- the PF's pool ---- */

/* In emulation, or about to be: it must have group frames from before the switch on. */
static bool emulated(const struct igb_port *p) { return p->started && (p->route == IGB_ROUTE_PF || p->opening); }

/* What the pool takes for one port. Control frames come by entries of their own, but as any frame must fit and be stripped. */
static u64 pf_pool_takes(const struct igb_port *p)
{
	bool external = p->pf->external;
	u64 v = 0;
	if (emulated(p))
		v = IGB_VMOLR_BAM | (external && p->tag ? 0 : IGB_VMOLR_AUPE) | (wants_any(&p->emu_groups) ? IGB_VMOLR_ROMPE : 0);
	if (v || (external && p->started))
		v |= IGB_VMOLR_STRVLAN | IGB_VMOLR_LPE | FIELD_PREP(IGB_VMOLR_RLPML, igb_longest(p->pf));
	return v;
}

/*
 * Groups of control frames of an external switch (nic/uplink.h): nearest customer bridge, nearest non-TPMR bridge (IEEE 802.1Q, Reserved
 * addresses). The PF's pool must have them while any port is started, whatever its route. Exact entries, which may hold groups (as Linux,
 * e1000_set_rx_mode, uses them): by hash the pool would have every group of every port, for as long as nothing is emulated, too, and
 * VFs would have these.
 */
static const u8 control_groups[IGB_CONTROL_GROUPS][6] = { { 0x01, 0x80, 0xc2, 0, 0, 0 }, { 0x01, 0x80, 0xc2, 0, 0, 3 } };

static bool any_started(const struct igb *pf)
{
	for (u32 i = 0; i < IGB_MAX_PORTS; i++)
		if (pf->port[i].started)
			return true;
	return false;
}

static void control_update(struct igb *pf)
{
	bool want = pf->external && any_started(pf);
	for (u32 i = 0; want != pf->control_open && i < IGB_CONTROL_GROUPS; i++) {
		igb_write(pf, IGB_RAL(IGB_CONTROL_RAR(i)), igb_ral(control_groups[i]));
		igb_write(pf, IGB_RAH(IGB_CONTROL_RAR(i)), want ? igb_rah(control_groups[i], 1u << IGB_PF_POOL) : 0);
	}
	pf->control_open = want;
}

/* Tags come off in hardware, for some come off anyway: RPLOLR's are those of multicast frames. Software tells VLANs apart. */
void igb_pf_pool_update(struct igb *pf)
{
	u64 v = IGB_VMOLR_STRCRC;
	for (u32 i = 0; i < IGB_MAX_PORTS; i++)
		v |= pf_pool_takes(&pf->port[i]);
	igb_write(pf, IGB_VMOLR(IGB_PF_POOL), v);
	control_update(pf);
}

void igb_pf_pool_join(struct igb_port *p)
{
	if (p->tag)
		vlan_join(p->pf, IGB_PF_POOL, p->tag);
}

void igb_pf_pool_leave(struct igb_port *p)
{
	for (u32 i = 0; i < IGB_MAX_PORTS; i++)
		if (p->pf->port[i].started && p->pf->port[i].tag == p->tag)
			return;
	if (p->tag)
		vlan_leave(p->pf, IGB_PF_POOL, p->tag);
}
