/*
 * The mode transaction at the hardware: the moment of the switch.
 *
 * commit, under the data lock:
 *   1. the PF's transmit ring runs empty: what other ports sent to this one by the wire side of the switch is in its VF's ring;
 *   2. one write to the RAR entry moves the address to the other pool;
 *   3. the heads of both receive queues are noted, at one moment: read until neither moved between two readings. Frames before
 *      them were switched by what held before or at the write;
 *   4. the PF's ring is drained up to its noted head. To pass-through by the old rules, ended with the END mark; to emulation, unicast
 *      frames only are for the port, for the group frames before the VF's noted head have come by the VF;
 *   5. from here on the new rules hold, and the group filter that is not needed any more is closed.
 *
 * Invariant: between prepare and the end of commit both pools receive group frames, so each one is in both rings, before or behind the
 * noted heads of both; a unicast frame is in exactly one. Everything that can fail is in prepare.
 */
#include "core/errno.h"
#include "core/fault.h"
#include "nic/igb.h"

#define HEAD_READINGS 64

static int prepare_vf(struct igb_port *p)
{
	struct igb_vf *vf = p->vf;
	if (!vf || vf->state != VF_OWNED || vf->quiesced)
		return -EIO;
	vf->groups_open = true;
	igb_pool_update(vf);
	return 0;
}

static int prepare_pf(struct igb_port *p)
{
	if (!p->started)
		return -EIO;
	p->opening = true;
	igb_pf_pool_update(p->pf);
	return 0;
}

int igb_prepare(struct nic_lower *l, enum nic_mode mode)
{
	struct igb_port *p = igb_port_of(l);
	if (fault_point("igb: prepare, before the filters"))
		return -EIO;
	spin_lock(&p->pf->lock);
	int r = mode == NIC_PASSTHROUGH ? prepare_vf(p) : prepare_pf(p);
	spin_unlock(&p->pf->lock);
	if (!r && fault_point("igb: prepare, after the filters")) {
		igb_abort(l, mode);
		return -EIO;
	}
	return r;
}

/* The pools as the port's route says; nothing is prepared any more. */
static void settle(struct igb_port *p)
{
	spin_lock(&p->pf->lock);
	p->opening = false;
	igb_pf_pool_update(p->pf);
	if (p->vf && p->vf->state == VF_OWNED) {
		p->vf->groups_open = p->route == IGB_ROUTE_VF;
		igb_pool_update(p->vf);
	}
	spin_unlock(&p->pf->lock);
}

void igb_abort(struct nic_lower *l, enum nic_mode mode)
{
	(void)mode;
	settle(igb_port_of(l));
}

static u32 vf_head(const struct igb_vf *vf) { return igb_read(vf->pf, IGB_RXQ(vf->index) + IGB_Q_HEAD); }

/* Both heads at one moment, or, under a flood that never pauses, as near as that goes. */
static void snapshot(struct igb_port *p, u32 *pf_at, u32 *vf_at)
{
	*pf_at = igb_ring_rx_head(p->pf);
	*vf_at = vf_head(p->vf);
	for (u32 i = 0; i < HEAD_READINGS; i++) {
		u32 pf_now = igb_ring_rx_head(p->pf), vf_now = vf_head(p->vf);
		bool stood = pf_now == *pf_at && vf_now == *vf_at;
		*pf_at = pf_now;
		*vf_at = vf_now;
		if (stood)
			return;
	}
	log_limited(5, "nic: igb " RID_FMT ": its receive queues did not stand still for one moment", RID_ARG(p->pf->rid));
}

static void switch_over(struct igb_port *p, enum nic_mode mode, u32 *vf_at)
{
	struct igb *pf = p->pf;
	struct uplink_port *u = &pf->uplink.port[p->index];
	u32 pf_at;
	if (!igb_ring_tx_empty(pf))
		log_limited(5, "nic: igb " RID_FMT ": frames were left to send when port %u switched", RID_ARG(pf->rid), p->index);
	if (mode == NIC_EMULATION && p->started)
		u->state = UPLINK_UNICAST;
	igb_port_route(p, mode == NIC_PASSTHROUGH ? IGB_ROUTE_VF : p->started ? IGB_ROUTE_PF : IGB_ROUTE_NONE);
	snapshot(p, &pf_at, vf_at);
	igb_data_drain(pf, pf_at);
	u->state = mode == NIC_PASSTHROUGH || !p->started ? UPLINK_OFF : UPLINK_ON;
	uplink_flush(&pf->uplink);
	if (mode == NIC_PASSTHROUGH && p->started) /* else there is no device that could be told */
		nic_port_rx_end(p->lower->bound);
}

void igb_commit(struct nic_lower *l, enum nic_mode mode, u32 *vf_at)
{
	struct igb_port *p = igb_port_of(l);
	*vf_at = 0;
	spin_lock(&p->pf->data_lock);
	if (p->vf && p->pf->ring.ready)
		switch_over(p, mode, vf_at);
	spin_unlock(&p->pf->data_lock);
	settle(p);
}
