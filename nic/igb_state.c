/*
 * State of a VF: stopped, started, saved, put back (igb_state.h: the record).
 *
 * Invariant: while a VF is stopped (vf->quiesced) its pool's gates are shut, so nothing that its guest writes to its own pages makes a
 * queue move. A record is checked whole before the first register is written.
 */
#include <string.h>

#include "core/errno.h"
#include "core/fault.h"
#include "nic/igb.h"

#define QUEUE_US 10000
#define TOLD_MAX 500u

/* Registers of ring r, in the PF's view. */
static u32 block(const struct igb_vf *vf, u32 r)
{
	u32 queue = vf->index + r % IGB_VF_QUEUES * IGB_POOLS;
	return r < IGB_VF_QUEUES ? IGB_RXQ(queue) : IGB_TXQ(queue);
}
static bool is_tx(u32 r) { return r >= IGB_VF_QUEUES; }
static u32 ring_get(const struct igb_vf *vf, u32 r, u32 reg) { return igb_read(vf->pf, block(vf, r) + reg); }
static void ring_set(struct igb_vf *vf, u32 r, u32 reg, u64 v) { igb_write(vf->pf, block(vf, r) + reg, v); }
static bool enabled(const struct igb_vf *vf, u32 r) { return ring_get(vf, r, IGB_Q_DCTL) & IGB_Q_DCTL_ENABLE; }

static void ring_switch(struct igb_vf *vf, u32 r, bool on)
{
	u64 dctl = ring_get(vf, r, IGB_Q_DCTL);
	ring_set(vf, r, IGB_Q_DCTL, on ? dctl | IGB_Q_DCTL_ENABLE : dctl & ~IGB_Q_DCTL_ENABLE);
}

/* DCTL is in the guest's pages, too: one that enables its queue again meanwhile must not be able to say that it does not stop. */
static bool has_stopped(struct igb_vf *vf, u32 r, u32 *told)
{
	if (enabled(vf, r) && (*told)++ < TOLD_MAX)
		ring_switch(vf, r, false);
	return !enabled(vf, r);
}

/* Of the rings in the set, those that have not become what they should in time. */
static u32 wait_rings(struct igb_vf *vf, u32 set, bool on)
{
	u32 late = 0, told = 0;
	for (u32 r = 0; r < IGB_VF_RINGS; r++)
		if (set & 1u << r && !wait_until(on ? enabled(vf, r) : has_stopped(vf, r, &told), QUEUE_US))
			late |= 1u << r;
	return late;
}

/* ---- stop and start ---- */

static void gate(struct igb_vf *vf, bool open)
{
	spin_lock(&vf->pf->lock);
	vf->quiesced = !open;
	igb_pool_enable(vf, open);
	spin_unlock(&vf->pf->lock);
}

static void rings_stop(struct igb_vf *vf)
{
	vf->kept.enabled = 0;
	for (u32 r = 0; r < IGB_VF_RINGS; r++)
		if (enabled(vf, r)) {
			vf->kept.enabled |= (u8)(1u << r);
			ring_switch(vf, r, false);
		}
}

/* 82576 Datasheet, Receive and Transmit Initialization: the head before the queue is enabled. running: these never stopped. */
static void rings_start(struct igb_vf *vf, u32 running)
{
	for (u32 r = 0; r < IGB_VF_RINGS; r++) {
		if (!(vf->kept.enabled & 1u << r))
			continue;
		if (!(running & 1u << r))
			ring_set(vf, r, IGB_Q_HEAD, vf->kept.head[r]);
		ring_switch(vf, r, true);
	}
}

/*
 * With the gates open: what was handed over while the VF stood still has not been seen by the emulated NIC, so the tail is written
 * again (FACTS: a tail written while disabled). An interrupt that came to nobody meanwhile is made up for by one too many.
 */
static void go_on(struct igb_vf *vf)
{
	for (u32 r = 0; r < IGB_VF_RINGS; r++)
		if (enabled(vf, r))
			ring_set(vf, r, IGB_Q_TAIL, ring_get(vf, r, IGB_Q_TAIL));
	igb_write(vf->pf, IGB_PVTEIMS(vf->index), vf->kept.causes);
	igb_write(vf->pf, IGB_PVTEICS(vf->index), vf->kept.causes);
}

int igb_state_quiesce(struct nic_lower *l)
{
	struct igb_vf *vf = igb_vf_of(l);
	if (vf->state != VF_OWNED)
		return -EIO;
	vf->kept.causes = (u8)(igb_read(vf->pf, IGB_EIMS) >> IGB_VF_CAUSE(vf->index) & 7);
	igb_write(vf->pf, IGB_PVTEIMC(vf->index), 7);
	gate(vf, false);
	rings_stop(vf);
	u32 late = wait_rings(vf, vf->kept.enabled, false);
	for (u32 r = 0; r < IGB_VF_RINGS; r++)
		vf->kept.head[r] = (u16)ring_get(vf, r, IGB_Q_HEAD);
	if (!late && !fault_point("igb: queues stop for quiesce"))
		return 0;
	rings_start(vf, late);
	gate(vf, true);
	go_on(vf);
	return -ETIMEDOUT;
}

int igb_state_resume(struct nic_lower *l)
{
	struct igb_vf *vf = igb_vf_of(l);
	if (vf->state != VF_OWNED)
		return -EIO;
	rings_start(vf, 0);
	if (wait_rings(vf, vf->kept.enabled, true)) {
		for (u32 r = 0; r < IGB_VF_RINGS; r++)
			ring_switch(vf, r, false);
		return -ETIMEDOUT;
	}
	gate(vf, true);
	go_on(vf);
	return 0;
}

/* ---- out ---- */

static void ring_take(const struct igb_vf *vf, u32 r, struct igb_ring_state *s)
{
	s->base = ring_get(vf, r, IGB_Q_BAL) | (u64)ring_get(vf, r, IGB_Q_BAH) << 32;
	s->len = ring_get(vf, r, IGB_Q_LEN);
	s->head = vf->kept.head[r];
	s->tail = ring_get(vf, r, IGB_Q_TAIL);
	s->dctl = (u32)(ring_get(vf, r, IGB_Q_DCTL) & IGB_Q_DCTL_THRESHOLDS);
	if (vf->kept.enabled & 1u << r)
		s->dctl |= (u32)IGB_Q_DCTL_ENABLE;
	s->dca = (u32)(ring_get(vf, r, IGB_Q_DCA) & IGB_Q_DCA_MEANT);
	if (is_tx(r))
		s->head_wb = ring_get(vf, r, IGB_Q_WBAL) | (u64)ring_get(vf, r, IGB_Q_WBAH) << 32;
	else
		s->srrctl = (u32)(ring_get(vf, r, IGB_Q_SRRCTL) & IGB_Q_SRRCTL_MEANT);
}

static void irqs_take(const struct igb_vf *vf, struct igb_state *s)
{
	s->vtivar = (u32)(igb_rd32(vf->regs, IGB_VTIVAR) & IGB_VTIVAR_MEANT);
	s->vtivar_misc = (u32)(igb_rd32(vf->regs, IGB_VTIVAR_MISC) & IGB_VTIVAR_MISC_MEANT);
	for (u32 i = 0; i < IGB_VF_VECTORS; i++)
		s->eitr[i] = (u32)(igb_read(vf->pf, IGB_EITR(IGB_VF_CAUSE(vf->index) + i)) & IGB_EITR_MEANT);
	s->eiac = igb_read(vf->pf, IGB_PVTEIAC(vf->index)) & 7;
	s->eiam = igb_read(vf->pf, IGB_PVTEIAM(vf->index)) & 7;
	s->eims = vf->kept.causes;
}

static void requests_take(const struct igb_vf *vf, struct igb_state *s)
{
	const struct igb_port *p = vf->port;
	s->v2p = vf->mbx.v2p;
	s->clear_to_send = vf->mbx.clear_to_send;
	memcpy(s->mbx, vf->mbx.mem, sizeof(s->mbx));
	s->flags = p->vf_groups.all_groups ? NEST_CONF_FLAG_ALL_GROUPS : 0;
	s->rate = p->rate;
	s->nr_hashes = p->nr_hashes;
	memcpy(s->hash, p->hash, p->nr_hashes * sizeof(p->hash[0]));
}

int igb_state_save(struct nic_lower *l, struct nest_nic_state *out)
{
	struct igb_port *p = igb_port_of(l);
	struct igb_vf *vf = p->vf;
	struct igb_state s;
	if (!vf->quiesced)
		return -EBUSY;
	memset(&s, 0, sizeof(s));
	spin_lock(&p->pf->lock);
	for (u32 r = 0; r < IGB_VF_RINGS; r++)
		ring_take(vf, r, &s.ring[r]);
	irqs_take(vf, &s);
	s.psrtype = (u32)(igb_rd32(vf->regs, IGB_VF_PSRTYPE) & IGB_PSRTYPE_MEANT);
	requests_take(vf, &s);
	out->family = IGB_FAMILY;
	memcpy(out->mac, p->mac, 6);
	out->vlan = p->vlan;
	out->max_frame = p->frame - IGB_FCS_LEN;
	out->nr_groups = p->vf_groups.nr;
	memcpy(out->group, p->vf_groups.group, p->vf_groups.nr * sizeof(out->group[0]));
	spin_unlock(&p->pf->lock);
	memcpy(out->body, &s, sizeof(s));
	return 0;
}

/* ---- checked ---- */

static bool all_zero(const void *p, u64 len)
{
	const u8 *b = p;
	for (u64 i = 0; i < len; i++)
		if (b[i])
			return false;
	return true;
}

/* A ring that was never set up has no length; then there is no place in it either. */
static bool ring_valid(const struct igb_ring_state *s, bool tx)
{
	u32 n = s->len / IGB_DESC_LEN;
	if (s->len & ~IGB_Q_LEN_MEANT || s->base & ~IGB_Q_BASE_MEANT)
		return false;
	if (n ? s->head >= n || s->tail >= n : s->head || s->tail || s->dctl & IGB_Q_DCTL_ENABLE)
		return false;
	if (s->dctl & ~(IGB_Q_DCTL_THRESHOLDS | IGB_Q_DCTL_ENABLE) || s->dca & ~IGB_Q_DCA_MEANT)
		return false;
	return tx ? !s->srrctl : !(s->srrctl & ~IGB_Q_SRRCTL_MEANT) && !s->head_wb;
}

/* One byte per cause: a vector of the VF, and whether it is valid. */
static bool vectors_valid(u32 ivar)
{
	for (u32 i = 0; i < 4; i++)
		if ((ivar >> 8 * i & 3) >= IGB_VF_VECTORS)
			return false;
	return true;
}

static bool irqs_valid(const struct igb_state *s)
{
	if (s->vtivar & ~IGB_VTIVAR_MEANT || s->vtivar_misc & ~IGB_VTIVAR_MISC_MEANT)
		return false;
	for (u32 i = 0; i < IGB_VF_VECTORS; i++)
		if (s->eitr[i] & ~IGB_EITR_MEANT)
			return false;
	return vectors_valid(s->vtivar) && vectors_valid(s->vtivar_misc) && !((s->eiac | s->eiam | s->eims) & ~7u);
}

static bool requests_valid(const struct igb_state *s)
{
	if (s->v2p & ~(IGB_V2P_VFU | IGB_V2P_READ_CLEARS) || s->clear_to_send > 1)
		return false;
	if (s->flags & ~NEST_CONF_FLAG_ALL_GROUPS || s->rate > IGB_MAX_RATE || s->nr_hashes > IGB_MBX_MAX_HASHES)
		return false;
	for (u32 i = 0; i < IGB_MBX_MAX_HASHES; i++)
		if (i < s->nr_hashes ? s->hash[i] > 0xfff : s->hash[i])
			return false;
	return true;
}

bool igb_state_valid(const struct igb_state *s)
{
	for (u32 r = 0; r < IGB_VF_RINGS; r++)
		if (!ring_valid(&s->ring[r], is_tx(r)))
			return false;
	return irqs_valid(s) && requests_valid(s) && !(s->psrtype & ~IGB_PSRTYPE_MEANT) && all_zero(s->reserved, sizeof(s->reserved));
}

static bool groups_valid(const struct nest_nic_state *in)
{
	if (in->nr_groups > NEST_MAX_GROUPS)
		return false;
	for (u32 i = 0; i < in->nr_groups; i++)
		if (!(in->group[i][0] & 1))
			return false;
	return all_zero(in->group[in->nr_groups], (NEST_MAX_GROUPS - in->nr_groups) * sizeof(in->group[0]));
}

/* ---- in ---- */

/* Portable order: all but the tail while the queue is off; the tail here is only kept, go_on writes it again. */
static void ring_put(struct igb_vf *vf, u32 r, const struct igb_ring_state *s)
{
	ring_set(vf, r, IGB_Q_DCTL, s->dctl & IGB_Q_DCTL_THRESHOLDS);
	ring_set(vf, r, IGB_Q_BAL, s->base);
	ring_set(vf, r, IGB_Q_BAH, s->base >> 32);
	ring_set(vf, r, IGB_Q_LEN, s->len);
	if (is_tx(r)) {
		ring_set(vf, r, IGB_Q_WBAL, s->head_wb);
		ring_set(vf, r, IGB_Q_WBAH, s->head_wb >> 32);
	} else {
		ring_set(vf, r, IGB_Q_SRRCTL, s->srrctl);
	}
	ring_set(vf, r, IGB_Q_DCA, s->dca);
	ring_set(vf, r, IGB_Q_HEAD, s->head);
	ring_set(vf, r, IGB_Q_TAIL, s->tail);
	vf->kept.head[r] = (u16)s->head;
	if (s->dctl & IGB_Q_DCTL_ENABLE)
		vf->kept.enabled |= (u8)(1u << r);
}

/* The emulated VTIVAR only adds to what the PF's row says. */
static void irqs_put(struct igb_vf *vf, const struct igb_state *s)
{
	igb_write(vf->pf, IGB_PVTEIMC(vf->index), 7);
	igb_write(vf->pf, IGB_IVAR(vf->index), 0);
	igb_wr32(vf->regs, IGB_VTIVAR, s->vtivar);
	igb_wr32(vf->regs, IGB_VTIVAR_MISC, s->vtivar_misc);
	for (u32 i = 0; i < IGB_VF_VECTORS; i++)
		igb_write(vf->pf, IGB_EITR(IGB_VF_CAUSE(vf->index) + i), s->eitr[i]);
	igb_write(vf->pf, IGB_PVTEIAC(vf->index), s->eiac);
	igb_write(vf->pf, IGB_PVTEIAM(vf->index), s->eiam);
	vf->kept.causes = (u8)s->eims;
}

static void requests_put(struct igb_vf *vf, const struct nest_nic_state *in, const struct igb_state *s)
{
	struct igb_port *p = vf->port;
	vf->mbx.v2p = s->v2p;
	vf->mbx.clear_to_send = s->clear_to_send;
	memcpy(vf->mbx.mem, s->mbx, sizeof(s->mbx));
	p->frame = in->max_frame + IGB_FCS_LEN;
	p->nr_hashes = s->nr_hashes;
	memcpy(p->hash, s->hash, sizeof(p->hash));
	p->vf_groups.all_groups = s->flags & NEST_CONF_FLAG_ALL_GROUPS;
	p->vf_groups.nr = in->nr_groups;
	memcpy(p->vf_groups.group, in->group, sizeof(p->vf_groups.group));
	if (p->rate != s->rate) {
		p->rate = s->rate;
		igb_rate_update(vf);
	}
	igb_pool_update(vf);
}

int igb_state_restore(struct nic_lower *l, const struct nest_nic_state *in)
{
	struct igb_port *p = igb_port_of(l);
	struct igb_vf *vf = p->vf;
	struct igb_state s;
	memcpy(&s, in->body, sizeof(s));
	if (!vf->quiesced)
		return -EBUSY;
	if (in->family != IGB_FAMILY || !igb_frame_ok(in->max_frame) || !groups_valid(in) || !igb_state_valid(&s))
		return -EINVAL;
	if (s.rate && !(igb_caps(p->pf) & NEST_CAP_RATE))
		return -EINVAL;
	if (memcmp(in->mac, p->mac, 6) || in->vlan != p->vlan || in->max_frame + IGB_FCS_LEN > igb_frame_limit(p))
		return -EPERM;
	spin_lock(&p->pf->lock);
	vf->kept.enabled = 0;
	for (u32 r = 0; r < IGB_VF_RINGS; r++)
		ring_put(vf, r, &s.ring[r]);
	irqs_put(vf, &s);
	igb_wr32(vf->regs, IGB_VF_PSRTYPE, s.psrtype);
	requests_put(vf, in, &s);
	spin_unlock(&p->pf->lock);
	return 0;
}
