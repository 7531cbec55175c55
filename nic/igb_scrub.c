/*
 * Stopping a VF and wiping what its owner left in it.
 *
 * Invariant: after igb_scrub every register that the VF's pages 1..3 or its mailbox could have changed has a fixed value, whatever the
 * owner did, also on hardware or models whose VF reset leaves them alone. The VF cannot master the bus meanwhile.
 */
#include "core/errno.h"
#include "nic/igb.h"

#define QUEUE_STOP_US 10000
#define QUEUES_PER_POOL (IGB_QUEUES / IGB_POOLS)

static u32 queue_of(const struct igb_vf *vf, u32 k) { return vf->index + k * IGB_POOLS; }

static bool queue_running(const struct igb *pf, u32 q)
{
	return (igb_read(pf, IGB_RXQ(q) + IGB_Q_DCTL) | igb_read(pf, IGB_TXQ(q) + IGB_Q_DCTL)) & IGB_Q_DCTL_ENABLE;
}

int igb_quiesce(struct igb_vf *vf)
{
	struct igb *pf = vf->pf;
	int r = 0;
	igb_write(pf, IGB_EIMC, IGB_VF_CAUSES(vf->index));
	igb_write(pf, IGB_PVTEIMC(vf->index), 7);
	for (u32 k = 0; k < QUEUES_PER_POOL; k++) {
		u32 q = queue_of(vf, k);
		igb_clear_bits(pf, IGB_RXQ(q) + IGB_Q_DCTL, IGB_Q_DCTL_ENABLE);
		igb_clear_bits(pf, IGB_TXQ(q) + IGB_Q_DCTL, IGB_Q_DCTL_ENABLE);
		if (!wait_until(!queue_running(pf, q), QUEUE_STOP_US))
			r = -ETIMEDOUT;
	}
	return r;
}

static void scrub_rx(struct igb *pf, u32 block)
{
	static const u8 zero[] = { IGB_Q_BAL, IGB_Q_BAH, IGB_Q_LEN, IGB_Q_SRRCTL, IGB_Q_HEAD, IGB_Q_TAIL, IGB_Q_DCA };
	igb_write(pf, block + IGB_Q_DCTL, IGB_RXDCTL_RESET);
	for (u32 i = 0; i < ARRAY_SIZE(zero); i++)
		igb_write(pf, block + zero[i], 0);
	(void)igb_read(pf, block + IGB_Q_RQDPC);
}

static void scrub_tx(struct igb *pf, u32 block)
{
	static const u8 zero[] = { IGB_Q_DCTL, IGB_Q_BAL, IGB_Q_BAH, IGB_Q_LEN, IGB_Q_HEAD, IGB_Q_TAIL, IGB_Q_WBAL, IGB_Q_WBAH };
	for (u32 i = 0; i < ARRAY_SIZE(zero); i++)
		igb_write(pf, block + zero[i], 0);
	igb_write(pf, block + IGB_Q_DCA, IGB_TXDCA_RESET);
}

static void scrub_irqs(struct igb_vf *vf)
{
	struct igb *pf = vf->pf;
	u32 v = vf->index;
	igb_write(pf, IGB_EIMC, IGB_VF_CAUSES(v));
	igb_write(pf, IGB_PVTEIMC(v), 7);
	igb_write(pf, IGB_PVTEIAC(v), 0);
	igb_write(pf, IGB_PVTEIAM(v), 0);
	igb_write(pf, IGB_PVTEICS(v), 0); /* these three change nothing, but the emulated ones read as last written, by whomever */
	igb_write(pf, IGB_PVTEIMS(v), 0);
	igb_write(pf, IGB_PVTEICR(v), 0);
	igb_write(pf, IGB_IVAR(v), 0);
	igb_wr32(vf->regs, IGB_VTIVAR, 0);
	igb_wr32(vf->regs, IGB_VTIVAR_MISC, 0);
	for (u32 i = 0; i < IGB_VF_VECTORS; i++)
		igb_write(pf, IGB_EITR(IGB_VF_CAUSE(v) + i), 0);
	igb_write(pf, IGB_EICR, IGB_VF_CAUSES(v)); /* writing 1 clears; reading would clear the others' too */
}

static void scrub_mailbox(struct igb_vf *vf)
{
	struct igb *pf = vf->pf;
	for (u32 i = 0; i < IGB_MBX_WORDS; i++)
		igb_write(pf, IGB_VMBMEM(vf->index, i), 0);
	igb_write(pf, IGB_P2VMAILBOX(vf->index), IGB_P2V_RVFU);
	igb_write(pf, IGB_MBVFICR, IGB_MBVFICR_BITS(vf->index));
	igb_write(pf, IGB_VFLRE, BIT(vf->index));
	(void)igb_rd32(vf->regs, IGB_V2PMAILBOX);
	igb_mbx_reset(vf);
}

void igb_scrub(struct igb_vf *vf)
{
	for (u32 k = 0; k < QUEUES_PER_POOL; k++) {
		scrub_rx(vf->pf, IGB_RXQ(queue_of(vf, k)));
		scrub_tx(vf->pf, IGB_TXQ(queue_of(vf, k)));
	}
	scrub_irqs(vf);
	scrub_mailbox(vf);
	igb_write(vf->pf, IGB_PSRTYPE(vf->index), 0);
	vf->kept = (struct igb_kept){ 0 }; /* stopped or not, there is nothing to go on with */
	(void)igb_read(vf->pf, IGB_STATUS); /* pushes the writes */
}
