/*
 * The 82576's link: autonegotiation through the PHY, and what became of it.
 *
 * Invariant: nothing here waits for the link. Autonegotiation is started and left alone; STATUS.LU is the truth, read when
 * the link-change interrupt comes or somebody asks.
 */
#include "core/errno.h"
#include "nic/igb.h"

#define SEMAPHORE_US 50000
#define MDIC_US 10000

/* Firmware on the card may use the PHY as well (82576 Datasheet, Software/Firmware Synchronization). */
static bool take_bit(struct igb *pf, u64 bit)
{
	igb_set_bits(pf, IGB_SWSM, bit);
	return igb_read(pf, IGB_SWSM) & bit;
}

static bool semaphore_take(struct igb *pf)
{
	if (!wait_until(!(igb_read(pf, IGB_SWSM) & IGB_SWSM_SMBI), SEMAPHORE_US))
		log_limited(5, "nic: igb " RID_FMT ": its software semaphore was left taken; taking it over", RID_ARG(pf->rid));
	return wait_until(take_bit(pf, IGB_SWSM_SWESMBI), SEMAPHORE_US);
}

static void semaphore_give(struct igb *pf) { igb_clear_bits(pf, IGB_SWSM, IGB_SWSM_SMBI | IGB_SWSM_SWESMBI); }

static int phy_acquire(struct igb *pf, u32 mine)
{
	if (!semaphore_take(pf))
		return -ETIMEDOUT;
	u32 sync = igb_read(pf, IGB_SW_FW_SYNC);
	bool firmware_has_it = sync & mine << 16;
	if (!firmware_has_it)
		igb_write(pf, IGB_SW_FW_SYNC, sync | mine);
	semaphore_give(pf);
	return firmware_has_it ? -EBUSY : 0;
}

static void phy_release(struct igb *pf, u32 mine)
{
	if (!semaphore_take(pf))
		log_line("nic: igb " RID_FMT ": semaphore stuck while the PHY is released", RID_ARG(pf->rid));
	igb_clear_bits(pf, IGB_SW_FW_SYNC, mine);
	semaphore_give(pf);
}

static int phy_write(struct igb *pf, u32 reg, u16 value)
{
	igb_write(pf, IGB_MDIC, igb_mdic_write(reg, value));
	if (!wait_until(igb_read(pf, IGB_MDIC) & IGB_MDIC_READY, MDIC_US))
		return -ETIMEDOUT;
	return igb_read(pf, IGB_MDIC) & IGB_MDIC_ERROR ? -EIO : 0;
}

int igb_link_start(struct igb *pf)
{
	u32 mine = IGB_SW_FW_PHY(FIELD_GET(IGB_STATUS_LAN_ID, igb_read(pf, IGB_STATUS)));
	igb_clear_bits(pf, IGB_CTRL_EXT, IGB_CTRL_EXT_LINK_MODE);
	igb_write(pf, IGB_CTRL, (igb_read(pf, IGB_CTRL) & ~(IGB_CTRL_FRCSPD | IGB_CTRL_FRCDPX)) | IGB_CTRL_SLU);
	int r = phy_acquire(pf, mine);
	if (r)
		return r;
	r = phy_write(pf, PHY_BMCR, PHY_BMCR_AN_GIGABIT);
	phy_release(pf, mine);
	return r;
}

bool igb_link_poll(struct igb *pf)
{
	static const u16 speed[] = { 10, 100, 1000, 1000 };
	u32 status = igb_read(pf, IGB_STATUS);
	bool up = status & IGB_STATUS_LU;
	if (up == pf->link_up)
		return false;
	pf->link_up = up;
	pf->link_changes++;
	igb_rate_link_changed(pf);
	if (up)
		log_limited(50, "nic: igb " RID_FMT ": link up, %u Mb/s %s duplex", RID_ARG(pf->rid),
			    speed[FIELD_GET(IGB_STATUS_SPEED, status)], status & IGB_STATUS_FD ? "full" : "half");
	else
		log_limited(50, "nic: igb " RID_FMT ": link down", RID_ARG(pf->rid));
	return true;
}
