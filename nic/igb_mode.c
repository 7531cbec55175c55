/*
 * The mode transaction at the hardware: the moment of the switch.
 *
 * commit, under both of the NIC's locks:
 *   1. the PF's transmit ring runs empty: what other ports sent to this one by the wire side of the switch is in its VF's ring;
 *   2. one write to the RAR entry moves the address to the other pool; what the NIC has sorted by the old entry and still holds gets
 *      time to reach its ring;
 *   3. the heads of both receive queues are noted, at one moment: one stood still while the other was read. Frames before them were
 *      switched by what held before or at the write;
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
#define SORTED_US 100 /* 64 KiB, the receive packet buffer, by PCI Express */

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

/* The pools as the port's route says; nothing is prepared any more. Under igb.lock. */
static void settle(struct igb_port *p)
{
	p->opening = false;
	igb_pf_pool_update(p->pf);
	if (p->vf && p->vf->state == VF_OWNED) {
		p->vf->groups_open = p->route == IGB_ROUTE_VF;
		igb_pool_update(p->vf);
	}
}

void igb_abort(struct nic_lower *l, enum nic_mode mode)
{
	struct igb_port *p = igb_port_of(l);
	(void)mode;
	spin_lock(&p->pf->lock);
	settle(p);
	spin_unlock(&p->pf->lock);
}

static u32 vf_head(const struct igb_vf *vf) { return igb_read(vf->pf, IGB_RXQ(vf->index) + IGB_Q_HEAD); }

struct heads { u32 pf, vf; };

static struct heads read_heads(const struct igb_port *p)
{
	u32 at = igb_ring_rx_head(p->pf);
	return (struct heads){ at, vf_head(p->vf) };
}

/*
 * Both heads at one moment. Best is a moment at which both stand still. Frames for other ports may never pause, but one head that did
 * not move while the other was read will do: the VF's alone moves with frames for this port only. *certain: there was such a moment.
 */
static struct heads snapshot(const struct igb_port *p, bool *certain)
{
	struct heads was = read_heads(p), found = was;
	*certain = false;
	for (u32 i = 0; i < HEAD_READINGS; i++) {
		struct heads now = read_heads(p);
		bool pf_stood = now.pf == was.pf, vf_stood = now.vf == was.vf;
		if (pf_stood || vf_stood) {
			found = (struct heads){ now.pf, was.vf };
			*certain = true;
		}
		if (pf_stood && vf_stood)
			return found;
		was = now;
	}
	return *certain ? found : was;
}

/* The PF's side of a switch, up to the moment of the snapshot. */
static void pf_catch_up(struct igb_port *p, enum nic_mode mode, u32 pf_at)
{
	struct igb *pf = p->pf;
	struct uplink_port *u = &pf->uplink.port[p->index];
	if (mode == NIC_EMULATION && p->started)
		u->state = UPLINK_UNICAST;
	igb_data_drain(pf, pf_at);
	u->state = mode == NIC_PASSTHROUGH || !p->started ? UPLINK_OFF : UPLINK_ON;
	uplink_flush(&pf->uplink);
	if (mode == NIC_PASSTHROUGH && p->started) /* else there is no device that could be told */
		nic_port_rx_end(p->lower->bound);
}

static u32 switch_over(struct igb_port *p, enum nic_mode mode)
{
	struct igb *pf = p->pf;
	bool certain;
	if (!igb_ring_tx_empty(pf))
		log_limited(5, "nic: igb " RID_FMT ": frames were left to send when port %u switched", RID_ARG(pf->rid), p->index);
	igb_port_route(p, mode == NIC_PASSTHROUGH ? IGB_ROUTE_VF : p->started ? IGB_ROUTE_PF : IGB_ROUTE_NONE);
	if (!pf->is_model) /* which sorts and delivers at once */
		delay_us(SORTED_US);
	struct heads at = snapshot(p, &certain);
	if (!certain)
		log_limited(5, "nic: igb " RID_FMT ": its receive queues did not stand still for one moment", RID_ARG(pf->rid));
	if (pf->ring.ready) /* else nothing is emulated */
		pf_catch_up(p, mode, at.pf);
	return at.vf;
}

void igb_commit(struct nic_lower *l, enum nic_mode mode, u32 *vf_at)
{
	struct igb_port *p = igb_port_of(l);
	*vf_at = 0;
	spin_lock(&p->pf->lock); /* others open and close the pools' filters by the routes that they see */
	spin_lock(&p->pf->data_lock);
	if (p->vf)
		*vf_at = switch_over(p, mode);
	spin_unlock(&p->pf->data_lock);
	settle(p);
	spin_unlock(&p->pf->lock);
}
