/*
 * Page 0 of a VF's registers: what a guest may read and write there; and the VF's statistics.
 *
 * Invariant: one table says it all; what is not in it reads 0 and is refused for writing. Nothing a guest writes here reaches the
 * hardware except PSRTYPE of its own pool and its own reset, which we carry out.
 */
#include "core/errno.h"
#include "nic/igb.h"

static const u16 stat_offset[IGB_NR_STATS] = {
	[IGB_STAT_RX] = IGB_VF_GPRC, [IGB_STAT_TX] = IGB_VF_GPTC, [IGB_STAT_RX_BYTES] = IGB_VF_GORC,
	[IGB_STAT_TX_BYTES] = IGB_VF_GOTC, [IGB_STAT_RX_MC] = IGB_VF_MPRC,
};

/* ---- statistics ---- */

void igb_stats_start(struct igb_vf *vf)
{
	for (u32 i = 0; i < IGB_NR_STATS; i++) {
		struct igb_counter *c = &vf->port->stat[i];
		c->last = igb_read(vf->pf, IGB_PVF_STAT(vf->index, stat_offset[i]));
		vf->stat_before[i] = c->total;
	}
}

void igb_stats_sample(struct igb_vf *vf)
{
	for (u32 i = 0; i < IGB_NR_STATS; i++) {
		struct igb_counter *c = &vf->port->stat[i];
		u32 now = igb_read(vf->pf, IGB_PVF_STAT(vf->index, stat_offset[i]));
		c->total += (u32)(now - c->last);
		c->last = now;
	}
}

/* The hardware counts the FCS, and a tag that it put in; the port's statistics do not. A tag that it took off it has not counted. */
static u64 octets(const struct igb_counter *c, enum igb_stat bytes, enum igb_stat frames, u32 added)
{
	return c[bytes].total - c[frames].total * (IGB_FCS_LEN + added);
}

int igb_stats(struct nic_lower *l, struct nest_nic_stats *out)
{
	struct igb_port *p = igb_port_of(l);
	const struct igb_counter *c = p->stat;
	u32 tag = p->tag ? IGB_VLAN_LEN : 0;
	spin_lock(&p->pf->lock);
	if (p->vf)
		igb_stats_sample(p->vf);
	*out = (struct nest_nic_stats){
		.rx_packets = c[IGB_STAT_RX].total, .rx_bytes = octets(c, IGB_STAT_RX_BYTES, IGB_STAT_RX, 0),
		.tx_packets = c[IGB_STAT_TX].total, .tx_bytes = octets(c, IGB_STAT_TX_BYTES, IGB_STAT_TX, tag),
		.rx_multicast = c[IGB_STAT_RX_MC].total,
	};
	spin_unlock(&p->pf->lock);
	out->irqs = __atomic_load_n(&l->bound->nr_irqs, __ATOMIC_RELAXED);
	out->faults = p->faults + (p->vf ? iommu_faults_of(p->vf->vm) - p->vf->faults_before : 0);
	return 0;
}

/* ---- page 0 ---- */

static u32 read_status(struct igb_vf *vf, u32 offset)
{
	(void)offset;
	return (u32)(igb_read(vf->pf, IGB_STATUS) & IGB_STATUS_VF_MASK);
}

static u32 read_stat(struct igb_vf *vf, u32 offset)
{
	igb_stats_sample(vf);
	for (u32 i = 0; i < IGB_NR_STATS; i++)
		if (stat_offset[i] == offset)
			return (u32)(vf->port->stat[i].total - vf->stat_before[i]);
	return 0;
}

static u32 read_psrtype(struct igb_vf *vf, u32 offset) { return igb_rd32(vf->regs, offset); }
static void write_psrtype(struct igb_vf *vf, u32 offset, u32 value) { igb_wr32(vf->regs, offset, value); }

static u32 read_zero(struct igb_vf *vf, u32 offset)
{
	(void)vf;
	(void)offset;
	return 0;
}

/* CTRL.RST: the VF's own reset, then everything that it should have reset, then its pool as the configuration says. */
static void write_ctrl(struct igb_vf *vf, u32 offset, u32 value)
{
	if (!(value & IGB_CTRL_RST))
		return;
	igb_pool_enable(vf, false);
	igb_wr32(vf->regs, offset, (u32)IGB_CTRL_RST);
	if (igb_quiesce(vf))
		log_limited(5, "nic: VF " RID_FMT ": a queue did not stop on reset", RID_ARG(vf->rid));
	igb_scrub(vf);
	igb_port_forget(vf->port);
	igb_pool_update(vf);
	igb_pool_enable(vf, true);
}

static const struct page0_reg {
	u16 first, last;
	u32 (*read)(struct igb_vf *vf, u32 offset);
	void (*write)(struct igb_vf *vf, u32 offset, u32 value); /* NULL: refused */
} page0[] = {
	{ IGB_CTRL, IGB_CTRL, read_zero, write_ctrl },
	{ IGB_STATUS, IGB_STATUS, read_status, NULL },
	{ IGB_VMBMEM(0, 0), IGB_VMBMEM(0, IGB_MBX_WORDS - 1), igb_mbx_read, igb_mbx_write },
	{ IGB_V2PMAILBOX, IGB_V2PMAILBOX, igb_mbx_read, igb_mbx_write },
	{ IGB_VF_PSRTYPE, IGB_VF_PSRTYPE, read_psrtype, write_psrtype },
	{ IGB_VF_GPRC, IGB_VF_GORC, read_stat, NULL },
	{ IGB_VF_GOTC, IGB_VF_GOTC, read_stat, NULL },
	{ IGB_VF_MPRC, IGB_VF_MPRC, read_stat, NULL },
};

static const struct page0_reg *page0_find(u32 offset)
{
	for (u32 i = 0; i < ARRAY_SIZE(page0); i++)
		if (offset >= page0[i].first && offset <= page0[i].last)
			return &page0[i];
	return NULL;
}

int igb_reg_read(struct nic_lower *l, u32 offset, u32 *value)
{
	struct igb_vf *vf = igb_vf_of(l);
	const struct page0_reg *reg = page0_find(offset);
	*value = 0;
	if (offset >= PAGE_SIZE || offset & 3)
		return -EINVAL;
	if (!reg)
		return 0;
	spin_lock(&vf->pf->lock);
	*value = reg->read(vf, offset);
	spin_unlock(&vf->pf->lock);
	return 0;
}

int igb_reg_write(struct nic_lower *l, u32 offset, u32 value)
{
	struct igb_vf *vf = igb_vf_of(l);
	const struct page0_reg *reg = page0_find(offset);
	if (offset >= PAGE_SIZE || offset & 3)
		return -EINVAL;
	if (!reg || !reg->write) {
		log_limited(20, "nic: VM %s wrote %x to register %x of VF " RID_FMT ", which is not its own; dropped",
			    vf->vm->cfg->name, value, offset, RID_ARG(vf->rid));
		return -EPERM;
	}
	spin_lock(&vf->pf->lock);
	reg->write(vf, offset, value);
	spin_unlock(&vf->pf->lock);
	return 0;
}
