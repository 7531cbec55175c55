/*
 * The register file of igb_model.h.
 */
#include "tests/unit/igb_model.h"

#include <string.h>

#define PF_LEN 0x20000

struct model_write model_log[20000];
u32 model_writes;
bool model_stuck_queue;

static u8 pf_regs[PF_LEN];
static u8 vf_regs[IGB_MAX_VFS][IGB_VF_BAR_LEN], vf_bar3[IGB_MAX_VFS][IGB_VF_BAR_LEN];
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

void igb_wr32(volatile u8 *regs, u32 reg, u32 value)
{
	int vf = whose(regs);
	ASSERT(model_writes < 20000);
	model_log[model_writes++] = (struct model_write){ vf, reg, value };
	*cell(vf, reg) = vf == MODEL_PF ? pf_effect(reg, value) : value;
}

struct igb *model_igb(void)
{
	static const u8 mac[6] = { 0x52, 0x54, 0x00, 0xc0, 0x51, 0x01 };
	memset(pf_regs, 0, sizeof(pf_regs));
	memset(vf_regs, 0, sizeof(vf_regs));
	memset(vf_bar3, 0, sizeof(vf_bar3));
	model_stuck_queue = false;
	igb = (struct igb){ .rid = RID(1, 0, 0), .regs = pf_regs, .nr_vfs = IGB_MAX_VFS };
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
