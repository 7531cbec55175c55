/*
 * Just enough of an 82576 to move a packet and raise an interrupt, by PF or VF.
 */
#include "tests/machine/selftest/selftest.h"

#define CTRL      0x0000
#define STATUS    0x0008
#define CTRL_EXT  0x0018
#define MDIC      0x0020
#define ICR       0x00C0
#define ICS       0x00C8
#define IMS       0x00D0
#define IMC       0x00D8
#define RCTL      0x0100
#define TCTL      0x0400
#define VFRE      0x0C8C
#define VFTE      0x0C90
#define GPIE      0x1514
#define EICS      0x1520
#define EIMS      0x1524
#define EIAC      0x152C
#define IVAR0     0x1700
#define RAL(i)    (0x5400 + 8 * (i))
#define RAH(i)    (0x5404 + 8 * (i))
#define MRQC      0x5818
#define VMOLR(n)  (0x5AD0 + 4 * (n))

#define CTRL_RST  (1u << 26)
#define STATUS_LU 2
#define EXT_PFRSTD (1u << 14)
#define MDIC_RESTART_AN (1u << 21 | 1u << 26 | 0x1340)
#define RCTL_ON   0x04008002   /* EN, BAM, SECRC */
#define TCTL_ON   0x0A
#define GPIE_MSIX 0xC0000011
#define RAH_AV    (1u << 31)
#define RAH_POOL(n) (1u << (18 + (n)))
#define VMOLR_AUPE (1u << 24)
#define VMOLR_BAM (1u << 27)
#define ICR_LSC   4

/* Offsets in a queue's block */
#define BAL 0x00
#define BAH 0x04
#define LEN 0x08
#define SRRCTL 0x0C
#define HEAD 0x10
#define TAIL 0x18
#define DCTL 0x28
#define DCTL_ENABLE (1u << 25)
#define SRRCTL_ADVANCED_2K (2 | 1u << 25)
#define RING_SIZE 4096
#define RING_MASK 255
#define TX_COMMAND 0x2B300000  /* data, DEXT, RS, IFCS, EOP */
#define DONE 1

/* SR-IOV capability */
#define SRIOV_CONTROL 0x08
#define SRIOV_NUMVFS  0x10
#define SRIOV_OFFSET  0x14
#define SRIOV_STRIDE  0x16
#define SRIOV_BAR(n)  (0x24 + 4 * (n))
#define SRIOV_VFE_MSE 0x09

u64 igb_start(u32 bdf, u8 mac[6])
{
	u64 r;

	write16(pci_cfg(bdf, PCI_COMMAND), PCI_MEM_BME);
	r = pci_bar(bdf, PCI_BAR(0));
	write32(r + IMC, ~0u);
	write32(r + CTRL, read32(r + CTRL) | CTRL_RST);
	delay_ms(10);
	write32(r + MDIC, MDIC_RESTART_AN);
	for (unsigned i = 0; i < 6; i++)
		mac[i] = (u8)(i < 4 ? read32(r + RAL(0)) >> 8 * i : read32(r + RAH(0)) >> 8 * (i - 4));
	if (!wait_until(read32(r + STATUS) & STATUS_LU, 3000))
		return 0;
	write32(r + CTRL_EXT, read32(r + CTRL_EXT) | EXT_PFRSTD);
	write32(r + RCTL, RCTL_ON);
	write32(r + TCTL, TCTL_ON);
	return r;
}

static void ring_init(u64 block, u64 iova)
{
	write32(block + DCTL, 0);
	write32(block + BAL, (u32)iova);
	write32(block + BAH, (u32)(iova >> 32));
	write32(block + LEN, RING_SIZE);
	write32(block + HEAD, 0);
	write32(block + TAIL, 0);
}

void igb_queue_init(struct igb_queue *q, u64 rx_iova, u64 tx_iova)
{
	ring_init(q->regs + q->rx, rx_iova);
	write32(q->regs + q->rx + SRRCTL, SRRCTL_ADVANCED_2K);
	write32(q->regs + q->rx + DCTL, DCTL_ENABLE);
	ring_init(q->regs + q->tx, tx_iova);
	write32(q->regs + q->tx + DCTL, DCTL_ENABLE);
	q->rx_tail = q->tx_tail = 0;
}

void igb_rx_post(struct igb_queue *q, u64 iova)
{
	write64(q->rx_ring + q->rx_tail * 16, iova);
	write64(q->rx_ring + q->rx_tail * 16 + 8, 0);
	q->rx_tail = (q->rx_tail + 1) & RING_MASK;
	write32(q->regs + q->rx + TAIL, q->rx_tail);
}

bool igb_rx_wait(struct igb_queue *q)
{
	u64 d = q->rx_ring + ((q->rx_tail - 1) & RING_MASK) * 16;

	return wait_until(read32(d + 8) & DONE, 2000);
}

bool igb_tx(struct igb_queue *q, u64 iova, u32 size)
{
	u64 d = q->tx_ring + q->tx_tail * 16;

	write64(d, iova);
	write64(d + 8, (u64)(size << 14) << 32 | TX_COMMAND | size);
	q->tx_tail = (q->tx_tail + 1) & RING_MASK;
	write32(q->regs + q->tx + TAIL, q->tx_tail);
	return wait_until(read32(d + 12) & DONE, 500);
}

void igb_interrupts_on(u64 regs)
{
	write32(regs + GPIE, GPIE_MSIX);
	write32(regs + EIAC, 1);
	write32(regs + IVAR0, 0x8080);
	write32(regs + EIMS, 1);
}

void igb_vf_interrupts_on(u64 vf_regs)
{
	write32(vf_regs + EIAC, 1);
	write32(vf_regs + IVAR0, 0x8080);
	write32(vf_regs + EIMS, 1);
}

void igb_raise(u64 regs)
{
	write32(regs + EIMS, 1);
	write32(regs + EICS, 1);
}

void igb_legacy_on(u64 regs)
{
	write32(regs + GPIE, 0);
	(void)read32(regs + ICR);
	write32(regs + IMS, ICR_LSC);
}

void igb_legacy_raise(u64 regs)
{
	write32(regs + ICS, ICR_LSC);
}

/* Reading alone clears ICR only in some modes of the chip: write the bits back too. */
void igb_legacy_clear(u64 regs)
{
	write32(regs + ICR, read32(regs + ICR));
}

bool igb_vfs_on(u32 bdf, unsigned count, u64 *bar0, u64 *bar3, u32 rid[])
{
	u32 cap = pci_find_ext_cap(bdf, PCI_EXT_SRIOV);
	u32 offset = read16(pci_cfg(bdf, cap + SRIOV_OFFSET)), stride = read16(pci_cfg(bdf, cap + SRIOV_STRIDE));

	if (!cap)
		return false;
	write16(pci_cfg(bdf, cap + SRIOV_NUMVFS), (u16)count);
	write16(pci_cfg(bdf, cap + SRIOV_CONTROL), SRIOV_VFE_MSE);
	delay_ms(100);
	*bar0 = pci_bar(bdf, cap + SRIOV_BAR(0));
	*bar3 = pci_bar(bdf, cap + SRIOV_BAR(3));
	for (unsigned i = 0; i < count; i++) {
		rid[i] = bdf + offset + i * stride;
		write16(pci_cfg(rid[i], PCI_COMMAND), PCI_MEM_BME);
	}
	return true;
}

void igb_pool(u64 regs, unsigned vf, const u8 mac[6])
{
	write32(regs + MRQC, 3);
	write32(regs + VFTE, read32(regs + VFTE) | 1u << vf);
	write32(regs + VFRE, read32(regs + VFRE) | 1u << vf);
	write32(regs + RAL(1), mac[0] | mac[1] << 8 | mac[2] << 16 | (u32)mac[3] << 24);
	write32(regs + RAH(1), mac[4] | (u32)mac[5] << 8 | RAH_AV | RAH_POOL(vf));
	write32(regs + VMOLR(vf), VMOLR_BAM | VMOLR_AUPE);
}

/* --- ARP: any peer on the wire answers it ------------------------------------------------------------------------ */

#define ETHERTYPE 12
#define OPERATION 20
#define SENDER    22
#define TARGET    32

static void put(u64 at, const void *from, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		write8(at + i, ((const u8 *)from)[i]);
}

static bool same(u64 at, const void *with, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		if (read8(at + i) != ((const u8 *)with)[i])
			return false;
	return true;
}

void arp_request(u64 page, const u8 mac[6], u8 last)
{
	static const u8 everyone[6] = { 255, 255, 255, 255, 255, 255 };
	static const u8 head[10] = { 0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1 };
	u8 mine[4] = { 10, 0, 0, last }, peer[4] = { 10, 0, 0, 1 };

	put(page, everyone, 6);
	put(page + 6, mac, 6);
	put(page + ETHERTYPE, head, sizeof head);
	put(page + SENDER, mac, 6);
	put(page + SENDER + 6, mine, 4);
	put(page + TARGET + 6, peer, 4);
}

bool arp_reply(u64 page, const u8 mac[6], u8 last)
{
	u8 mine[4] = { 10, 0, 0, last }, peer[4] = { 10, 0, 0, 1 };

	return read16(page + ETHERTYPE) == 0x0608 && read8(page + OPERATION + 1) == 2 && same(page + SENDER + 6, peer, 4) &&
	       same(page + TARGET, mac, 6) && same(page + TARGET + 6, mine, 4);
}
