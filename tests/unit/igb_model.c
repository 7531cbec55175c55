/*
 * The register file of igb_model.h.
 */
#include "tests/unit/igb_model.h"

#include <string.h>

#include "core/errno.h"

#define PF_LEN 0x20000

struct model_write model_log[20000];
u32 model_writes;
bool model_stuck_queue;

static u8 pf_regs[PF_LEN];
static u8 vf_regs[IGB_MAX_VFS][IGB_VF_BAR_LEN], vf_bar3[IGB_MAX_VFS][IGB_VF_BAR_LEN];
static u8 pf_bar3[256];
static struct igb igb;

static u32 *cell(int vf, u32 reg)
{
	ASSERT(!(reg & 3) && reg < (vf < 0 ? PF_LEN : IGB_VF_BAR_LEN));
	return (u32 *)((vf < 0 ? pf_regs : vf_regs[vf]) + reg);
}

static int whose(const volatile u8 *regs)
{
	for (int v = 0; v < IGB_MAX_VFS; v++)
		if (regs == vf_regs[v])
			return v;
	ASSERT(regs == pf_regs);
	return MODEL_PF;
}

u32 model_get(int vf, u32 reg) { return *cell(vf, reg); }
void model_set(int vf, u32 reg, u32 value) { *cell(vf, reg) = value; }
void model_forget(void) { model_writes = 0; }

int model_last_write(int vf, u32 reg)
{
	for (int i = (int)model_writes - 1; i >= 0; i--)
		if (model_log[i].vf == vf && model_log[i].reg == reg)
			return i;
	return -1;
}

u32 igb_rd32(const volatile u8 *regs, u32 reg)
{
	int vf = whose(regs);
	if (vf == MODEL_PF && model_on_read)
		model_on_read(reg);
	u32 v = *cell(vf, reg);
	if (vf == MODEL_PF && reg == IGB_SWSM)
		*cell(vf, reg) |= IGB_SWSM_SMBI;
	if (vf == MODEL_PF && reg == IGB_ICR)
		*cell(vf, reg) = 0;
	return v;
}

static bool is_dctl(u32 reg) { return reg >= IGB_RXQ(0) && reg < IGB_TXQ(IGB_QUEUES) && (reg & 0x3f) == IGB_Q_DCTL; }

static u32 pf_effect(u32 reg, u32 value)
{
	u32 old = *cell(MODEL_PF, reg);
	for (u32 v = 0; v < IGB_MAX_VFS; v++) { /* the PF's view of a VF's masks */
		if (reg == IGB_PVTEIMS(v))
			*cell(MODEL_PF, IGB_EIMS) |= (value & 7) << IGB_VF_CAUSE(v);
		if (reg == IGB_PVTEIMC(v))
			*cell(MODEL_PF, IGB_EIMS) &= ~((value & 7) << IGB_VF_CAUSE(v));
	}
	if (is_dctl(reg) && model_stuck_queue)
		return value | (old & (u32)IGB_Q_DCTL_ENABLE);
	switch (reg) {
	case IGB_CTRL:
		return value & ~(u32)IGB_CTRL_RST;
	case IGB_EIMC:
		*cell(MODEL_PF, IGB_EIMS) &= ~value;
		return value;
	case IGB_EIMS:
		return old | value;
	case IGB_EICR:
	case IGB_VFLRE:
	case IGB_MBVFICR:
		return old & ~value;
	case IGB_MDIC:
		return value | (u32)IGB_MDIC_READY;
	case IGB_EERD:
		return (u32)(IGB_EERD_DONE | 0xabcdull << 16);
	default:
		return value;
	}
}

/* ---- rings ---- */

void (*model_on_read)(u32 reg);
void (*model_on_write)(u32 reg, u32 value);
struct model_frame model_sent[64];
u32 model_nr_sent;
bool model_tx_stalled;

static u8 *ring_at(u32 block) { return (u8 *)(model_get(MODEL_PF, block) | (u64)model_get(MODEL_PF, block + IGB_Q_BAH) << 32); }

static void send_all(void)
{
	const u32 block = IGB_TXQ(IGB_PF_POOL);
	struct igb_tx_data *ring = (struct igb_tx_data *)ring_at(block);
	u32 head = model_get(MODEL_PF, block + IGB_Q_HEAD);
	struct model_frame *f = &model_sent[model_nr_sent % 64];
	if (!(model_get(MODEL_PF, block + IGB_Q_DCTL) & IGB_Q_DCTL_ENABLE))
		return;
	for (; head != model_get(MODEL_PF, block + IGB_Q_TAIL); head = (head + 1) % IGB_RING) {
		u32 n = ring[head].command & 0xffff;
		ASSERT((ring[head].command & 0xfeff0000u) == 0x2a300000u && f->len + n <= sizeof(f->data));
		memcpy(f->data + f->len, (const void *)ring[head].buffer, n);
		f->len += n;
		u32 paylen = ring[head].options >> 14;
		ring[head].options = 1;
		if (!(ring[head].command & IGB_TXD_EOP))
			continue;
		ASSERT(f->len == paylen);
		f = &model_sent[++model_nr_sent % 64];
		f->len = 0;
	}
	model_set(MODEL_PF, block + IGB_Q_HEAD, head);
}

static void to_ring(const u8 *frame, u32 len, u16 vlan)
{
	const u32 block = IGB_RXQ(IGB_PF_POOL);
	u8 *ring = ring_at(block);
	for (u32 at = 0, n; at < len; at += n) {
		u32 head = model_get(MODEL_PF, block + IGB_Q_HEAD);
		struct igb_rx_read r;
		n = MIN(len - at, 2048u);
		ASSERT(head != model_get(MODEL_PF, block + IGB_Q_TAIL)); /* no test means to overrun it */
		memcpy(&r, ring + 16 * head, 16);
		memcpy((void *)r.buffer, frame + at, n);
		struct igb_rx_done d = { .status = (u32)(IGB_RXD_DD | (vlan ? IGB_RXD_VP : 0) | (at + n == len ? IGB_RXD_EOP : 0)),
					 .length = (u16)n, .vlan = vlan };
		memcpy(ring + 16 * head, &d, 16);
		model_set(MODEL_PF, block + IGB_Q_HEAD, (head + 1) % IGB_RING);
	}
}

void model_arrive(u32 pools, const u8 *frame, u32 len, u16 vlan)
{
	for (u32 v = 0; v < IGB_MAX_VFS; v++)
		if (pools & 1u << v)
			model_set(MODEL_PF, IGB_RXQ(v) + IGB_Q_HEAD, model_get(MODEL_PF, IGB_RXQ(v) + IGB_Q_HEAD) + 1);
	if (pools & 1u << IGB_PF_POOL)
		to_ring(frame, len, vlan);
}

/* ---- devices ---- */

struct model_event model_heard[512];
u32 model_nr_heard;
bool model_no_room;

static void hear(enum model_event_kind kind, const struct nic_port *p, const u8 *frame, u32 len)
{
	struct model_event *e = &model_heard[model_nr_heard++ % ARRAY_SIZE(model_heard)];
	*e = (struct model_event){ .kind = kind, .port = p, .len = len };
	if (len)
		memcpy(e->first, frame, MIN(len, (u32)sizeof(e->first)));
}

int nic_port_rx(struct nic_port *p, const u8 *frame, u32 len)
{
	if (model_no_room)
		return -EAGAIN;
	hear(EV_FRAME, p, frame, len);
	return 0;
}
void nic_port_rx_dropped(struct nic_port *p) { hear(EV_DROPPED, p, NULL, 0); }
void nic_port_rx_flush(struct nic_port *p) { hear(EV_FLUSH, p, NULL, 0); }
void nic_port_rx_end(struct nic_port *p) { hear(EV_END, p, NULL, 0); }
void nic_port_changed(struct nic_port *p) { hear(EV_CHANGED, p, NULL, 0); }

void igb_wr32(volatile u8 *regs, u32 reg, u32 value)
{
	int vf = whose(regs);
	ASSERT(model_writes < 20000);
	model_log[model_writes++] = (struct model_write){ vf, reg, value };
	*cell(vf, reg) = vf == MODEL_PF ? pf_effect(reg, value) : value;
	if (vf == MODEL_PF && reg == IGB_TXQ(IGB_PF_POOL) + IGB_Q_TAIL && !model_tx_stalled)
		send_all();
	if (vf == MODEL_PF && model_on_write)
		model_on_write(reg, value);
}

struct igb *model_igb(void)
{
	static const u8 mac[6] = { 0x52, 0x54, 0x00, 0xc0, 0x51, 0x01 };
	memset(pf_regs, 0, sizeof(pf_regs));
	memset(vf_regs, 0, sizeof(vf_regs));
	memset(vf_bar3, 0, sizeof(vf_bar3));
	model_stuck_queue = model_tx_stalled = model_no_room = false;
	model_on_read = NULL;
	model_on_write = NULL;
	model_nr_sent = model_nr_heard = model_sent[0].len = 0;
	memset(pf_bar3, 0, sizeof(pf_bar3));
	igb = (struct igb){ .rid = RID(1, 0, 0), .regs = pf_regs, .nr_vfs = IGB_MAX_VFS,
			    .msix = { .rid = RID(1, 0, 0), .table = pf_bar3, .nr = 10 } };
	for (u32 v = 0; v < IGB_MAX_VFS; v++)
		igb.vf[v] = (struct igb_vf){ .pf = &igb, .index = v, .rid = RID(1, 16, 2 * v), .state = VF_FREE,
					     .regs = vf_regs[v], .bar3 = vf_bar3[v] };
	for (u32 n = 0; n < IGB_MAX_PORTS; n++)
		igb.port[n] = (struct igb_port){ .pf = &igb, .index = n, .last_vf = IGB_MAX_VFS, .frame = IGB_STD_FRAME };
	igb.sriov.bar[0] = HPA(0x800020000);
	model_set(MODEL_PF, IGB_EECD, (u32)IGB_EECD_AUTO_RD);
	model_set(MODEL_PF, IGB_RAL(0), igb_ral(mac));
	model_set(MODEL_PF, IGB_RAH(0), igb_rah(mac, 0));
	model_set(MODEL_PF, IGB_STATUS, (u32)(IGB_STATUS_FD | IGB_STATUS_LU | FIELD_PREP(IGB_STATUS_SPEED, 2) | BIT(31)));
	model_writes = 0;
	return &igb;
}
