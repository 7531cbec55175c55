/*
 * Registers of the Intel 82576 (82576 Datasheet, chapter Programming Interface), for the PF and, where marked VF, in the
 * virtual function's own BAR0.
 *
 * Invariant: the only place where offsets and bits of this chip are written down; everybody else uses these names. All
 * accesses are 32 bits wide and go through igb_rd32 and igb_wr32.
 */
#ifndef NIC_IGB_REGS_H
#define NIC_IGB_REGS_H

#include "core/types.h"
#include "core/x86.h"

/* ---- numbers of things ---- */
#define IGB_POOLS 8              /* VMDq pools; pool n belongs to VF n */
#define IGB_PF_POOL 7            /* the PF keeps the last one, so: */
#define IGB_MAX_VFS 7
#define IGB_MAX_PORTS 7         /* a RAR entry and perhaps a VF each */
#define IGB_QUEUES 16            /* pool p owns queues p and p + 8 */
#define IGB_RAR_ENTRIES 24
#define IGB_VLVF_ENTRIES 32
#define IGB_MTA_WORDS 128
#define IGB_VF_VECTORS 3
#define IGB_VF_BAR_LEN 0x4000u   /* VF BAR0 and BAR3 */
#define IGB_MBX_WORDS 16
#define IGB_MBX_MAX_HASHES 30
#define IGB_ETH_HEADER 14
#define IGB_FCS_LEN 4
#define IGB_VLAN_LEN 4
#define IGB_ETAG_LEN 8
#define IGB_TYPE_CTAG 0x8100u
#define IGB_TYPE_STAG 0x88a8u
#define IGB_VLAN_VID 0xfffu
#define IGB_MIN_FRAME 64         /* with FCS */
#define IGB_STD_FRAME 1518
#define IGB_MAX_FRAME 9216
#define IGB_MAX_RATE 1000u       /* Mb/s */
#define IGB_DESC_LEN 16u
#define IGB_FAMILY 1u            /* nest_nic_info.family */

/* ---- device control ---- */
#define IGB_CTRL 0x0000
#define IGB_CTRL_FD BIT(0)
#define IGB_CTRL_GIO_MASTER_DISABLE BIT(2)
#define IGB_CTRL_SLU BIT(6)
#define IGB_CTRL_FRCSPD BIT(11)
#define IGB_CTRL_FRCDPX BIT(12)
#define IGB_CTRL_RST BIT(26)     /* also VF: resets this VF */
#define IGB_CTRL_VME BIT(30)
#define IGB_STATUS 0x0008        /* also VF */
#define IGB_STATUS_FD BIT(0)
#define IGB_STATUS_LU BIT(1)
#define IGB_STATUS_LAN_ID BITS(3, 2)
#define IGB_STATUS_SPEED BITS(7, 6)
#define IGB_STATUS_GIO_MASTER BIT(19)
#define IGB_STATUS_VF_MASK (IGB_STATUS_FD | IGB_STATUS_LU | IGB_STATUS_SPEED) /* what is a VF's business */
#define IGB_EECD 0x0010
#define IGB_EECD_AUTO_RD BIT(9)
#define IGB_EERD 0x0014
#define IGB_EERD_START BIT(0)
#define IGB_EERD_DONE BIT(1)
#define IGB_EERD_ADDR BITS(15, 2)
#define IGB_EERD_DATA BITS(31, 16)
#define IGB_CTRL_EXT 0x0018
#define IGB_CTRL_EXT_PFRSTD BIT(14)
#define IGB_CTRL_EXT_LINK_MODE BITS(23, 22) /* 0 = copper */
#define IGB_MDIC 0x0020
#define IGB_MDIC_DATA BITS(15, 0)
#define IGB_MDIC_REG BITS(20, 16)
#define IGB_MDIC_PHY BITS(25, 21)
#define IGB_MDIC_OP_WRITE FIELD_PREP(BITS(27, 26), 1)
#define IGB_MDIC_READY BIT(28)
#define IGB_MDIC_ERROR BIT(30)
#define IGB_VET 0x0038           /* type of the tags that are inserted, taken off and filtered */
#define IGB_VET_TYPE BITS(15, 0)
#define IGB_SWSM 0x5b50
#define IGB_SWSM_SMBI BIT(0)
#define IGB_SWSM_SWESMBI BIT(1)
#define IGB_SW_FW_SYNC 0x5b5c
#define IGB_SW_FW_PHY(lan) ((u32)BIT(1 + (lan)))

/* PHY registers (IEEE 802.3, clause 22) */
#define IGB_PHY_ADDR 1
#define PHY_BMCR 0
#define PHY_BMCR_AN_GIGABIT 0x1340 /* autonegotiation enabled and restarted, full duplex, 1000 Mb/s */

/* ---- interrupts ---- */
#define IGB_ICR 0x00c0
#define IGB_ICR_LSC BIT(2)
#define IGB_ICR_VMMB BIT(8)      /* a VF's mailbox or reset */
#define IGB_IMS 0x00d0
#define IGB_IMC 0x00d8
#define IGB_IAM 0x00e0
#define IGB_GPIE 0x1514
#define IGB_GPIE_NSICR BIT(0)
#define IGB_GPIE_MSIX BIT(4)
#define IGB_GPIE_EIAME BIT(30)
#define IGB_GPIE_PBA BIT(31)
#define IGB_EICS 0x1520          /* EICS..EIAM, EICR, EITR(0..2): also VF */
#define IGB_EIMS 0x1524
#define IGB_EIMC 0x1528
#define IGB_EIAC 0x152c
#define IGB_EIAM 0x1530
#define IGB_EICR 0x1580
#define IGB_EITR(n) (0x1680u + 4 * (n))
#define IGB_IVAR(row) (0x1700u + 4 * (row)) /* row q & 7; bytes: RX q<8, TX q<8, RX q>=8, TX q>=8 */
#define IGB_IVAR_MISC 0x1740
#define IGB_IVAR_VALID BIT(7)
#define IGB_IVAR_MISC_OTHER(vector) ((u32)((vector) | IGB_IVAR_VALID) << 8)
/* Bits in EIMS and its family, and first EITR, of VF v: its vectors count down from 22. */
#define IGB_VF_CAUSE(v) (22 - IGB_VF_VECTORS * (v))
#define IGB_VF_CAUSES(v) (7u << IGB_VF_CAUSE(v))
#define IGB_EITR_MEANT BITS(15, 2)
#define IGB_VTIVAR_MEANT 0x83838383ull /* RX0 TX0 RX1 TX1: vector and valid bit */
#define IGB_VTIVAR_MISC_MEANT 0x83ull
#define IGB_VTIVAR 0x1700        /* VF */
#define IGB_VTIVAR_MISC 0x1740   /* VF */

/* ---- receive and transmit ---- */
#define IGB_RCTL 0x0100
#define IGB_RCTL_EN BIT(1)
#define IGB_RCTL_LPE BIT(5)
#define IGB_RCTL_BAM BIT(15)
#define IGB_RCTL_VFE BIT(18)
#define IGB_RCTL_SECRC BIT(26)
#define IGB_TCTL 0x0400
#define IGB_TCTL_EN BIT(1)
#define IGB_TCTL_PSP BIT(3)
#define IGB_TCTL_CT BITS(11, 4)
#define IGB_TCTL_COLD BITS(21, 12)
#define IGB_TCTL_RTLC BIT(24)
#define IGB_FCRTL 0x2160
#define IGB_FCRTH 0x2168
#define IGB_QDE 0x2408           /* one bit per queue: drop when it has no descriptors, whatever SRRCTL.DROP_EN */
#define IGB_RLPML 0x5004
#define IGB_DTXCTL 0x3590
#define IGB_DTXCTL_VLAN_ADDED BIT(3)
/* One queue: RX block at RXQ(n), TX block at TXQ(n). */
#define IGB_RXQ(n) (0xc000u + 0x40 * (n))
#define IGB_TXQ(n) (0xe000u + 0x40 * (n))
#define IGB_Q_BAL 0x00
#define IGB_Q_BAH 0x04
#define IGB_Q_LEN 0x08
#define IGB_Q_SRRCTL 0x0c        /* RX */
#define IGB_Q_HEAD 0x10
#define IGB_Q_DCA 0x14
#define IGB_Q_TAIL 0x18
#define IGB_Q_DCTL 0x28
#define IGB_Q_DCTL_ENABLE BIT(25)
#define IGB_Q_RQDPC 0x30         /* RX, cleared by reading */
#define IGB_Q_DCTL_THRESHOLDS (BITS(4, 0) | BITS(12, 8) | BITS(20, 16))
#define IGB_Q_LEN_MEANT BITS(19, 7)
#define IGB_Q_BASE_MEANT (~0x7full)
#define IGB_Q_SRRCTL_MEANT (BITS(6, 0) | BITS(13, 8) | BITS(24, 20) | BITS(27, 25) | BIT(31)) /* sizes, threshold, type, DROP_EN */
#define IGB_Q_DCA_MEANT BITS(15, 8) /* ordering and snooping; which CPU's cache it was is nobody else's business */
#define IGB_Q_WBAL 0x38          /* TX */
#define IGB_Q_WBAH 0x3c
#define IGB_RXDCTL_RESET 0x10000u /* write-back threshold 1 */
#define IGB_TXDCA_RESET 0x2a00u   /* relaxed ordering bits */
#define IGB_VF_RXQ(k) (0x2800u + 0x100 * (k)) /* VF */
#define IGB_VF_TXQ(k) (0x3800u + 0x100 * (k)) /* VF */

/* ---- filters ---- */
#define IGB_RAL(i) ((i) < 16 ? 0x5400u + 8 * (i) : 0x54e0u + 8 * ((i) - 16))
#define IGB_RAH(i) (IGB_RAL(i) + 4)
#define IGB_RAH_MAC BITS(15, 0)
#define IGB_RAH_POOL BITS(25, 18)
#define IGB_RAH_AV BIT(31)
#define IGB_PORT_RAR(p) (IGB_RAR_ENTRIES - 1 - (p)) /* entry that holds port p's address */
#define IGB_CONTROL_RAR(i) (1u + (i)) /* … the i-th group of control frames */
#define IGB_CONTROL_GROUPS 2
#define IGB_MTA(i) (0x5200u + 4 * (i))
#define IGB_VFTA(i) (0x5600u + 4 * (i))
#define IGB_UTA(i) (0xa000u + 4 * (i))
#define IGB_PSRTYPE(pool) (0x5480u + 4 * (pool))
#define IGB_VF_PSRTYPE 0x0f0c    /* VF */
#define IGB_PSRTYPE_MEANT (BITS(18, 1) | BITS(31, 29)) /* where headers end; queues of the pool */

/* ---- virtualisation ---- */
#define IGB_MRQC 0x5818
#define IGB_MRQC_VMDQ 3u         /* pools by MAC and VLAN, no RSS */
#define IGB_VT_CTL 0x581c
#define IGB_VT_CTL_DEF_POOL BITS(9, 7)
#define IGB_VT_CTL_DIS_DEF_POOL BIT(29) /* what no pool wants is dropped */
#define IGB_VT_CTL_REPL_EN BIT(30)
#define IGB_MBVFICR 0x0c80       /* request [7:0], acknowledge [23:16]; write 1 to clear */
#define IGB_MBVFICR_BITS(v) ((u32)(BIT(v) | BIT(16 + (v))))
#define IGB_MBVFIMR 0x0c84
#define IGB_VFLRE 0x0c88         /* write 1 to clear */
#define IGB_VFRE 0x0c8c
#define IGB_VFTE 0x0c90
#define IGB_DTXSWC 0x3500
#define IGB_DTXSWC_MAC_SPOOF BITS(7, 0)
#define IGB_DTXSWC_VLAN_SPOOF BITS(15, 8)
#define IGB_DTXSWC_LOOPBACK BIT(31)
/* Transmit rate limits, one queue at a time: selected by DQSEL (Linux, e1000_regs.h: write only). */
#define IGB_RTTDQSEL 0x3604
#define IGB_RTTBCNRM 0x3690
#define IGB_RTTBCNRM_JUMBO 0x14  /* window for frames up to 9728 bytes */
#define IGB_RTTBCNRC 0x36b0
#define IGB_RTTBCNRC_FRACTION 14 /* bits behind the point of the factor */
#define IGB_RTTBCNRC_FACTOR BITS(27, 0)
#define IGB_RTTBCNRC_ENABLE BIT(31)
#define IGB_VMVIR(pool) (0x3700u + 4 * (pool))
#define IGB_VMVIR_VLAN BITS(15, 0)
#define IGB_VMVIR_ALWAYS BIT(30) /* insert this tag into every frame */
#define IGB_VMVIR_NEVER BIT(31)  /* insert none, whatever the descriptor says */
#define IGB_VMOLR(pool) (0x5ad0u + 4 * (pool))
#define IGB_VMOLR_RLPML BITS(13, 0)
#define IGB_VMOLR_LPE BIT(16)
#define IGB_VMOLR_AUPE BIT(24)   /* accept untagged */
#define IGB_VMOLR_ROMPE BIT(25)  /* accept what matches MTA */
#define IGB_VMOLR_BAM BIT(27)
#define IGB_VMOLR_STRVLAN BIT(30)
#define IGB_VMOLR_STRCRC BIT(31)
#define IGB_VMOLR_NOTHING IGB_VMOLR_STRCRC /* a pool that accepts only what its RAR entries name: none */
#define IGB_RPLOLR 0x5af0
#define IGB_RPLOLR_STRVLAN BIT(30)
#define IGB_RPLOLR_STRCRC BIT(31)
#define IGB_VLVF(i) (0x5d00u + 4 * (i))
#define IGB_VLVF_VID BITS(11, 0)
#define IGB_VLVF_POOLS BITS(19, 12)
#define IGB_VLVF_EN BIT(31)

/* ---- mailbox ---- */
#define IGB_P2VMAILBOX(v) (0x0c00u + 4 * (v))
#define IGB_P2V_STS BIT(0)
#define IGB_P2V_ACK BIT(1)
#define IGB_P2V_PFU BIT(3)
#define IGB_P2V_RVFU BIT(4)
#define IGB_VMBMEM(v, word) (0x0800u + 64 * (v) + 4 * (word)) /* VF: the same with v = 0 */
#define IGB_V2PMAILBOX 0x0c40    /* VF */
#define IGB_V2P_REQ BIT(0)
#define IGB_V2P_ACK BIT(1)
#define IGB_V2P_VFU BIT(2)
#define IGB_V2P_PFU BIT(3)
#define IGB_V2P_PFSTS BIT(4)
#define IGB_V2P_PFACK BIT(5)
#define IGB_V2P_RSTI BIT(6)
#define IGB_V2P_RSTD BIT(7)
#define IGB_V2P_READ_CLEARS (IGB_V2P_PFSTS | IGB_V2P_PFACK | IGB_V2P_RSTD)
/* Messages as the igb and igbvf drivers have established them. */
#define IGB_MSG_TYPE BITS(15, 0)
#define IGB_MSG_INFO BITS(23, 16)
#define IGB_MSG_CTS BIT(29)
#define IGB_MSG_NACK BIT(30)
#define IGB_MSG_ACK BIT(31)
#define IGB_MSG_RESET 1
#define IGB_MSG_SET_MAC 2
#define IGB_MSG_SET_MULTICAST 3
#define IGB_MSG_SET_VLAN 4
#define IGB_MSG_SET_LPE 5
#define IGB_MSG_SET_PROMISC 6
#define IGB_MSG_PING 0x100u
#define IGB_MAC_FILTER_CLEAR 1   /* INFO of SET_MAC */
#define IGB_MAC_FILTER_ADD 2

/* ---- the PF's view of a VF's own registers ---- */
#define IGB_PVT(v, vf_reg) (0x10000u + 0x100 * (v) + (vf_reg)) /* for those below and the statistics' low byte */
#define IGB_PVTEICS(v) IGB_PVT(v, 0x20)
#define IGB_PVTEIMS(v) IGB_PVT(v, 0x24)
#define IGB_PVTEIMC(v) IGB_PVT(v, 0x28)
#define IGB_PVTEIAC(v) IGB_PVT(v, 0x2c)
#define IGB_PVTEIAM(v) IGB_PVT(v, 0x30)
#define IGB_PVTEICR(v) IGB_PVT(v, 0x80)
/* Statistics in the VF's page 0; never cleared, 32 bits. */
#define IGB_VF_GPRC 0x0f10
#define IGB_VF_GPTC 0x0f14
#define IGB_VF_GORC 0x0f18
#define IGB_VF_GOTC 0x0f34
#define IGB_VF_MPRC 0x0f3c
#define IGB_PVF_STAT(v, vf_stat) IGB_PVT(v, (vf_stat) & 0xffu)

/* ---- descriptors (82576 Datasheet, Advanced Receive / Transmit Descriptor) ---- */
struct igb_rx_read { u64 buffer, header; };
struct igb_rx_done { u32 info, rss; u32 status; u16 length, vlan; };
struct igb_tx_data { u64 buffer; u32 command; u32 options; };
#define IGB_SRRCTL_ADVANCED FIELD_PREP(BITS(27, 25), 1) /* one buffer a descriptor; its size in KiB in the low bits */
#define IGB_SRRCTL_DROP BIT(31)
#define IGB_RXD_DD BIT(0)        /* status */
#define IGB_RXD_EOP BIT(1)
#define IGB_RXD_VP BIT(3)        /* a tag was taken off and is in `vlan` */
#define IGB_RXD_RXE BIT(31)
#define IGB_TXD_DATA FIELD_PREP(BITS(23, 20), 3) /* command */
#define IGB_TXD_EOP BIT(24)
#define IGB_TXD_IFCS BIT(25)
#define IGB_TXD_RS BIT(27)
#define IGB_TXD_DEXT BIT(29)
#define IGB_TXD_DD BIT(0)        /* options */
#define IGB_TXD_PAYLEN BITS(31, 14)
_Static_assert(sizeof(struct igb_rx_read) == 16 && sizeof(struct igb_rx_done) == 16, "receive descriptor");
_Static_assert(offsetof(struct igb_rx_done, status) == 8 && offsetof(struct igb_rx_done, length) == 12, "receive write-back");
_Static_assert(sizeof(struct igb_tx_data) == 16 && offsetof(struct igb_tx_data, options) == 12, "transmit descriptor");

/* ---- constructors ---- */
static inline u32 igb_rah(const u8 mac[6], u32 pools)
{
	return (u32)(mac[4] | mac[5] << 8 | FIELD_PREP(IGB_RAH_POOL, pools) | IGB_RAH_AV);
}
static inline u32 igb_ral(const u8 mac[6]) { return mac[0] | mac[1] << 8 | mac[2] << 16 | (u32)mac[3] << 24; }
static inline u32 igb_vlvf(u16 vid, u32 pools)
{
	return (u32)(FIELD_PREP(IGB_VLVF_VID, vid) | FIELD_PREP(IGB_VLVF_POOLS, pools) | IGB_VLVF_EN);
}
static inline u32 igb_vmvir(u16 vid)
{
	return (u32)(vid ? FIELD_PREP(IGB_VMVIR_VLAN, vid) | IGB_VMVIR_ALWAYS : IGB_VMVIR_NEVER);
}
/* frame: longest frame with FCS, before a tag that the port's VLAN adds. groups: IGB_VMOLR_BAM, _ROMPE or both. */
static inline u32 igb_vmolr(u16 vid, u32 frame, u64 groups)
{
	u64 v = groups | IGB_VMOLR_STRCRC | IGB_VMOLR_LPE;
	v |= FIELD_PREP(IGB_VMOLR_RLPML, frame + (vid ? IGB_VLAN_LEN : 0));
	return (u32)(v | (vid ? IGB_VMOLR_STRVLAN : IGB_VMOLR_AUPE));
}
static inline u32 igb_mdic_write(u32 reg, u16 value)
{
	return (u32)(FIELD_PREP(IGB_MDIC_PHY, IGB_PHY_ADDR) | FIELD_PREP(IGB_MDIC_REG, reg) | IGB_MDIC_OP_WRITE | value);
}

/* ---- the seam: one access. In unit tests a fake register file answers. ---- */
#ifdef NESTLING_HOST_TEST
u32 igb_rd32(const volatile u8 *regs, u32 offset);
void igb_wr32(volatile u8 *regs, u32 offset, u32 value);
#else
static inline u32 igb_rd32(const volatile u8 *regs, u32 offset) { return mmio_read32(regs + offset); }
static inline void igb_wr32(volatile u8 *regs, u32 offset, u32 value) { mmio_write32(regs + offset, value); }
#endif

#endif
