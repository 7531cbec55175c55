/*
 * The mailbox between a VF and the PF, and the policy behind it.
 *
 * A guest never reaches the hardware's mailbox: it lies in page 0, which is trapped, so V2PMAILBOX and VMBMEM are kept here in
 * software and a request is answered before the guest's write returns. The hardware's mailbox is answered by the same policy.
 *
 * Invariant: whatever a VF asks for, its address, VLAN, longest frame and promiscuity stay as the configuration says; a request costs a
 * bounded number of register writes and touches no other VF's pool.
 */
#include <string.h>

#include "core/errno.h"
#include "nic/igb.h"

static bool same_mac(const struct igb_vf *vf, const u32 *words)
{
	return words[0] == igb_ral(vf->port->mac) && (words[1] & IGB_RAH_MAC) == (igb_rah(vf->port->mac, 0) & IGB_RAH_MAC);
}

static bool set_multicast(struct igb_vf *vf, u32 count, const u32 *words)
{
	if (count > IGB_MBX_MAX_HASHES)
		return false;
	for (u32 i = 0; i < count; i++)
		vf->port->hash[i] = (u16)(words[i / 2] >> (16 * (i & 1)) & 0xfff);
	vf->port->nr_hashes = count;
	igb_pool_update(vf);
	return true;
}

static bool set_frame(struct igb_vf *vf, u32 frame)
{
	if (frame < IGB_MIN_FRAME || frame > igb_frame_limit(vf->port))
		return false;
	vf->port->frame = frame;
	igb_pool_update(vf);
	return true;
}

static u32 answer_reset(struct igb_vf *vf, u32 msg[IGB_MBX_WORDS])
{
	igb_port_forget(vf->port);
	igb_pool_update(vf);
	igb_pool_enable(vf, true);
	vf->mbx.clear_to_send = true;
	msg[0] = (u32)(IGB_MSG_RESET | IGB_MSG_ACK);
	msg[1] = igb_ral(vf->port->mac);
	msg[2] = (u32)(igb_rah(vf->port->mac, 0) & IGB_RAH_MAC);
	return 3;
}

static bool granted(struct igb_vf *vf, const u32 *msg)
{
	u32 info = (u32)FIELD_GET(IGB_MSG_INFO, msg[0]);
	switch (FIELD_GET(IGB_MSG_TYPE, msg[0])) {
	case IGB_MSG_SET_MAC:
		return info == IGB_MAC_FILTER_CLEAR || same_mac(vf, msg + 1);
	case IGB_MSG_SET_MULTICAST:
		return set_multicast(vf, info, msg + 1);
	case IGB_MSG_SET_VLAN:
		return info && (msg[1] & 0xfff) == vf->port->vlan;
	case IGB_MSG_SET_LPE:
		return set_frame(vf, msg[1]);
	default: /* promiscuity, and what we do not know */
		return false;
	}
}

u32 igb_mbx_answer(struct igb_vf *vf, u32 msg[IGB_MBX_WORDS])
{
	if (FIELD_GET(IGB_MSG_TYPE, msg[0]) == IGB_MSG_RESET)
		return answer_reset(vf, msg);
	u32 request = (u32)(msg[0] & (IGB_MSG_TYPE | IGB_MSG_INFO));
	if (!vf->mbx.clear_to_send) {
		msg[0] = (u32)(request | IGB_MSG_NACK);
		return 1;
	}
	bool ok = granted(vf, msg);
	if (!ok)
		log_limited(20, "nic: VF " RID_FMT " of VM %s asked for what its port may not have (message %x); refused",
			    RID_ARG(vf->rid), vf->vm ? vf->vm->cfg->name : "-", request);
	msg[0] = (u32)(request | (ok ? IGB_MSG_ACK : IGB_MSG_NACK) | IGB_MSG_CTS);
	return 1;
}

/* ---- the mailbox that the guest sees ---- */

void igb_mbx_reset(struct igb_vf *vf)
{
	memset(&vf->mbx, 0, sizeof(vf->mbx));
	vf->mbx.v2p = IGB_V2P_RSTD; /* the PF is there: "reset done" */
}

u32 igb_mbx_read(struct igb_vf *vf, u32 offset)
{
	if (offset != IGB_V2PMAILBOX)
		return vf->mbx.mem[(offset - IGB_VMBMEM(0, 0)) / 4];
	u32 v = vf->mbx.v2p;
	vf->mbx.v2p &= ~(u32)IGB_V2P_READ_CLEARS;
	return v;
}

void igb_mbx_write(struct igb_vf *vf, u32 offset, u32 value)
{
	struct igb_mailbox *m = &vf->mbx;
	if (offset != IGB_V2PMAILBOX) {
		m->mem[(offset - IGB_VMBMEM(0, 0)) / 4] = value;
		return;
	}
	/* Ownership of the buffer: we hold it only while we answer, so a VF always gets it. */
	m->v2p = value & IGB_V2P_VFU ? m->v2p | (u32)IGB_V2P_VFU : m->v2p & ~(u32)IGB_V2P_VFU;
	if (value & IGB_V2P_REQ) {
		igb_mbx_answer(vf, m->mem);
		m->v2p |= (u32)(IGB_V2P_PFACK | IGB_V2P_PFSTS);
	}
}

/* igbvf looks at the link again when a message comes; its interrupt is what it wrote to VTIVAR_MISC. */
void igb_mbx_ping(struct igb_vf *vf)
{
	u32 misc = igb_rd32(vf->regs, IGB_VTIVAR_MISC);
	if (!vf->mbx.clear_to_send || vf->mbx.v2p & IGB_V2P_VFU)
		return;
	vf->mbx.mem[0] = (u32)(IGB_MSG_PING | IGB_MSG_CTS);
	vf->mbx.v2p |= (u32)IGB_V2P_PFSTS;
	if (misc & IGB_IVAR_VALID)
		igb_wr32(vf->regs, IGB_EICS, 1u << (misc & 3));
}

/* ---- the hardware's mailboxes ---- */

static bool take_buffer(struct igb *pf, u32 v)
{
	igb_write(pf, IGB_P2VMAILBOX(v), IGB_P2V_PFU);
	return igb_read(pf, IGB_P2VMAILBOX(v)) & IGB_P2V_PFU;
}

static void answer_hardware(struct igb_vf *vf)
{
	struct igb *pf = vf->pf;
	u32 msg[IGB_MBX_WORDS];
	if (!take_buffer(pf, vf->index))
		return; /* it still writes: it will ask again */
	for (u32 i = 0; i < IGB_MBX_WORDS; i++)
		msg[i] = igb_read(pf, IGB_VMBMEM(vf->index, i));
	igb_write(pf, IGB_P2VMAILBOX(vf->index), IGB_P2V_ACK | IGB_P2V_PFU);
	u32 n = igb_mbx_answer(vf, msg);
	for (u32 i = 0; i < n; i++)
		igb_write(pf, IGB_VMBMEM(vf->index, i), msg[i]);
	igb_write(pf, IGB_P2VMAILBOX(vf->index), IGB_P2V_STS);
}

void igb_mbx_service(struct igb *pf)
{
	u32 cause = igb_read(pf, IGB_MBVFICR), reset = igb_read(pf, IGB_VFLRE);
	igb_write(pf, IGB_MBVFICR, cause);
	igb_write(pf, IGB_VFLRE, reset);
	for (u32 v = 0; v < pf->nr_vfs; v++) {
		struct igb_vf *vf = &pf->vf[v];
		if (vf->state != VF_OWNED)
			continue;
		if (reset & 1u << v)
			igb_pool_enable(vf, true);
		if (cause & 1u << v)
			answer_hardware(vf);
	}
}
