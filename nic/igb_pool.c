/*
 * A VF's pool: which frames it receives and what its frames carry.
 *
 * Invariant: a pool accepts its own address, broadcasts, and the multicast hashes that its VF asked for, all in its own VLAN or, without
 * one, untagged only. The filter tables that pools share (VLVF, VFTA, MTA) hold exactly what the owned VFs need.
 */
#include "nic/igb.h"

static u32 vlvf_pools(u32 entry) { return (u32)FIELD_GET(IGB_VLVF_POOLS, entry); }

/* Entry of the VLAN, or a free one; there are more entries than VFs. */
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

static void vlan_join(struct igb_vf *vf)
{
	u32 i = vlvf_find(vf->pf, vf->vlan);
	u32 e = igb_read(vf->pf, IGB_VLVF(i));
	u32 pools = (e & IGB_VLVF_EN ? vlvf_pools(e) : 0) | 1u << vf->index;
	igb_set_bits(vf->pf, IGB_VFTA(vf->vlan >> 5), BIT(vf->vlan & 31));
	igb_write(vf->pf, IGB_VLVF(i), igb_vlvf(vf->vlan, pools));
}

static void vlan_leave(struct igb_vf *vf)
{
	u32 i = vlvf_find(vf->pf, vf->vlan);
	u32 e = igb_read(vf->pf, IGB_VLVF(i));
	u32 pools = vlvf_pools(e) & ~(1u << vf->index);
	if (!(e & IGB_VLVF_EN))
		return;
	if (pools) {
		igb_write(vf->pf, IGB_VLVF(i), igb_vlvf(vf->vlan, pools));
		return;
	}
	igb_write(vf->pf, IGB_VLVF(i), 0);
	igb_clear_bits(vf->pf, IGB_VFTA(vf->vlan >> 5), BIT(vf->vlan & 31));
}

/* The table is shared: it is the union of what all VFs want. Only words that change are written. */
void igb_mta_update(struct igb *pf)
{
	u32 want[IGB_MTA_WORDS] = { 0 };
	for (u32 v = 0; v < pf->nr_vfs; v++)
		for (u32 i = 0; i < pf->vf[v].nr_hashes; i++)
			want[pf->vf[v].hash[i] >> 5 & (IGB_MTA_WORDS - 1)] |= 1u << (pf->vf[v].hash[i] & 31);
	for (u32 i = 0; i < IGB_MTA_WORDS; i++) {
		if (want[i] != pf->mta[i])
			igb_write(pf, IGB_MTA(i), want[i]);
		pf->mta[i] = want[i];
	}
}

void igb_pool_update(struct igb_vf *vf)
{
	igb_write(vf->pf, IGB_VMOLR(vf->index), igb_vmolr(vf->vlan, vf->frame, vf->nr_hashes));
	igb_mta_update(vf->pf);
}

void igb_pool_enable(struct igb_vf *vf, bool on)
{
	u64 bit = BIT(vf->index);
	if (on) {
		igb_set_bits(vf->pf, IGB_VFRE, bit);
		igb_set_bits(vf->pf, IGB_VFTE, bit);
	} else {
		igb_clear_bits(vf->pf, IGB_VFRE, bit);
		igb_clear_bits(vf->pf, IGB_VFTE, bit);
	}
}

/* The address comes last: it is what makes frames arrive. */
void igb_pool_open(struct igb_vf *vf)
{
	u32 rar = IGB_VF_RAR(vf->index);
	igb_write(vf->pf, IGB_VMVIR(vf->index), igb_vmvir(vf->vlan));
	if (vf->vlan)
		vlan_join(vf);
	igb_pool_update(vf);
	igb_pool_enable(vf, true);
	igb_write(vf->pf, IGB_RAL(rar), igb_ral(vf->mac));
	igb_write(vf->pf, IGB_RAH(rar), igb_rah(vf->mac, 1u << vf->index));
}

void igb_pool_close(struct igb_vf *vf)
{
	u32 rar = IGB_VF_RAR(vf->index);
	igb_write(vf->pf, IGB_RAH(rar), 0);
	igb_write(vf->pf, IGB_RAL(rar), 0);
	igb_pool_enable(vf, false);
	igb_write(vf->pf, IGB_VMOLR(vf->index), IGB_VMOLR_NOTHING);
	if (vf->vlan)
		vlan_leave(vf);
	vf->nr_hashes = 0;
	igb_mta_update(vf->pf);
	igb_write(vf->pf, IGB_VMVIR(vf->index), IGB_VMVIR_NEVER);
}
