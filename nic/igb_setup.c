/*
 * The 82576 PF from reset to a working switch between pools.
 *
 * Invariant: a pool without an owner accepts nothing and sends nothing; frames between pools go through the embedded switch or, where the
 * configuration says so, out to the bridge and back.
 */
#include "core/errno.h"
#include "nic/igb.h"

#define MASTER_DISABLE_US 80000
#define RESET_SETTLE_US 1000
#define EEPROM_US 10000
#define ALL_ONES 0xffffffffu

/* 82576 Datasheet, Software Reset: no master access may be under way, then reset, then the EEPROM is read again. */
int igb_reset(struct igb *pf)
{
	igb_write(pf, IGB_IMC, ALL_ONES);
	igb_write(pf, IGB_EIMC, ALL_ONES);
	igb_write(pf, IGB_RCTL, 0);
	igb_write(pf, IGB_TCTL, IGB_TCTL_PSP);
	igb_set_bits(pf, IGB_CTRL, IGB_CTRL_GIO_MASTER_DISABLE);
	if (!wait_until(!(igb_read(pf, IGB_STATUS) & IGB_STATUS_GIO_MASTER), MASTER_DISABLE_US))
		log_line("nic: igb " RID_FMT ": requests still pending, resetting all the same", RID_ARG(pf->rid));
	igb_set_bits(pf, IGB_CTRL, IGB_CTRL_RST);
	delay_us(RESET_SETTLE_US);
	if (!wait_until(!(igb_read(pf, IGB_CTRL) & IGB_CTRL_RST), EEPROM_US))
		return -ETIMEDOUT;
	/* Cards without an EEPROM, and the emulated one, never say so, and work all the same. */
	bool configured = wait_until(igb_read(pf, IGB_EECD) & IGB_EECD_AUTO_RD, EEPROM_US);
	(void)configured;
	igb_clear_bits(pf, IGB_CTRL, IGB_CTRL_GIO_MASTER_DISABLE);
	igb_write(pf, IGB_IMC, ALL_ONES);
	igb_write(pf, IGB_EIMC, ALL_ONES);
	(void)igb_read(pf, IGB_ICR);
	return 0;
}

static u16 eeprom_word(struct igb *pf, u32 word)
{
	igb_write(pf, IGB_EERD, FIELD_PREP(IGB_EERD_ADDR, word) | IGB_EERD_START);
	if (!wait_until(igb_read(pf, IGB_EERD) & IGB_EERD_DONE, EEPROM_US))
		return 0;
	return (u16)FIELD_GET(IGB_EERD_DATA, igb_read(pf, IGB_EERD));
}

/* The hardware puts the address into entry 0 after a reset; if it did not, its EEPROM words 0..2 have it. */
static void read_mac(struct igb *pf)
{
	u64 mac = igb_read(pf, IGB_RAL(0)) | FIELD_GET(IGB_RAH_MAC, igb_read(pf, IGB_RAH(0))) << 32;
	if (!mac)
		mac = eeprom_word(pf, 0) | (u64)eeprom_word(pf, 1) << 16 | (u64)eeprom_word(pf, 2) << 32;
	for (u32 i = 0; i < 6; i++)
		pf->mac[i] = (u8)(mac >> (8 * i));
}

static void clear_filters(struct igb *pf)
{
	for (u32 i = 0; i < IGB_RAR_ENTRIES; i++) {
		igb_write(pf, IGB_RAH(i), 0);
		igb_write(pf, IGB_RAL(i), 0);
	}
	for (u32 i = 0; i < IGB_MTA_WORDS; i++) {
		igb_write(pf, IGB_MTA(i), 0);
		igb_write(pf, IGB_UTA(i), 0);
		igb_write(pf, IGB_VFTA(i), 0);
		pf->mta[i] = 0;
	}
	for (u32 i = 0; i < IGB_VLVF_ENTRIES; i++)
		igb_write(pf, IGB_VLVF(i), 0);
	for (u32 i = 0; i < IGB_POOLS; i++) {
		igb_write(pf, IGB_VMOLR(i), IGB_VMOLR_NOTHING);
		igb_write(pf, IGB_VMVIR(i), IGB_VMVIR_NEVER);
	}
}

/*
 * VMDq with the PF in the default pool; the switch loops frames between pools back unless it is external, replicates group frames to
 * every pool that wants them, and drops forged source addresses and tags of VFs. A pool without descriptors drops instead of holding up
 * the others. The type of tag is one for inserting, stripping and filtering: behind an external switch S-tags are the hardware's
 * business and C-tags are payload.
 */
static void setup_vmdq(struct igb *pf)
{
	u64 vfs = BIT(IGB_MAX_VFS) - 1;
	igb_write(pf, IGB_VFRE, 0);
	igb_write(pf, IGB_VFTE, 0);
	igb_write(pf, IGB_MRQC, IGB_MRQC_VMDQ);
	igb_write(pf, IGB_VT_CTL, FIELD_PREP(IGB_VT_CTL_DEF_POOL, IGB_PF_POOL) | IGB_VT_CTL_DIS_DEF_POOL |
					IGB_VT_CTL_REPL_EN);
	igb_write(pf, IGB_DTXSWC, FIELD_PREP(IGB_DTXSWC_MAC_SPOOF, vfs) | FIELD_PREP(IGB_DTXSWC_VLAN_SPOOF, vfs) |
				       (pf->external ? 0 : IGB_DTXSWC_LOOPBACK));
	igb_write(pf, IGB_VET, (igb_read(pf, IGB_VET) & ~IGB_VET_TYPE) | igb_tag_type(pf));
	igb_set_bits(pf, IGB_DTXCTL, IGB_DTXCTL_VLAN_ADDED);
	igb_write(pf, IGB_RPLOLR, IGB_RPLOLR_STRVLAN | IGB_RPLOLR_STRCRC);
	igb_write(pf, IGB_QDE, BIT(IGB_QUEUES) - 1);
}

void igb_setup_switch(struct igb *pf)
{
	read_mac(pf);
	clear_filters(pf);
	igb_write(pf, IGB_RAL(0), igb_ral(pf->mac));
	igb_write(pf, IGB_RAH(0), igb_rah(pf->mac, 0)); /* nobody of ours has the PF's own address */
	setup_vmdq(pf);
	igb_write(pf, IGB_FCRTL, 0); /* no pause frames: one slow pool would stop the wire for all */
	igb_write(pf, IGB_FCRTH, 0);
	igb_write(pf, IGB_RLPML, igb_longest(pf));
	igb_set_bits(pf, IGB_CTRL, IGB_CTRL_VME);
	igb_write(pf, IGB_RCTL, IGB_RCTL_EN | IGB_RCTL_LPE | IGB_RCTL_BAM | IGB_RCTL_VFE | IGB_RCTL_SECRC);
	igb_write(pf, IGB_TCTL, IGB_TCTL_EN | IGB_TCTL_PSP | FIELD_PREP(IGB_TCTL_CT, 15) | FIELD_PREP(IGB_TCTL_COLD, 64) | IGB_TCTL_RTLC);
	igb_set_bits(pf, IGB_CTRL_EXT, IGB_CTRL_EXT_PFRSTD); /* VFs may come out of reset */
}

/* GPIE first: what IVAR, EIAC and EIMS mean depends on it. The transmit queue raises none. */
void igb_setup_irq(struct igb *pf)
{
	igb_write(pf, IGB_GPIE, IGB_GPIE_NSICR | IGB_GPIE_MSIX | IGB_GPIE_EIAME | IGB_GPIE_PBA);
	igb_write(pf, IGB_IAM, 0);
	igb_write(pf, IGB_IVAR_MISC, IGB_IVAR_MISC_OTHER(IGB_PF_VECTOR_OTHER));
	igb_write(pf, IGB_IVAR(IGB_PF_POOL), IGB_IVAR_VALID | IGB_PF_VECTOR_RX);
	igb_write(pf, IGB_EIAC, BIT(IGB_PF_VECTOR_OTHER) | BIT(IGB_PF_VECTOR_RX));
	igb_write(pf, IGB_EIAM, 0);
	igb_write(pf, IGB_MBVFIMR, BIT(IGB_POOLS) - 1);
	(void)igb_read(pf, IGB_ICR);
	igb_write(pf, IGB_EIMS, BIT(IGB_PF_VECTOR_OTHER) | BIT(IGB_PF_VECTOR_RX));
	igb_write(pf, IGB_IMS, IGB_ICR_LSC | IGB_ICR_VMMB);
}
