/*
 * Registers and descriptors of an 82576 virtual function, as far as its owner may use them: pages 1..3 of BAR0 (Intel 82576
 * Datasheet, Virtual Function Device registers; advanced descriptors).
 *
 * Invariant: constructors give the little-endian words as the device reads them; nothing here touches hardware but
 * vf_read/vf_write.
 */
#ifndef NIC_PLUGIN_IGBVF_REGS_H
#define NIC_PLUGIN_IGBVF_REGS_H

#include "core/x86.h"

/* Page 1: interrupts. One bit per MSI-X vector 0..2. */
#define VF_EICS 0x1520
#define VF_EIMS 0x1524
#define VF_EIMC 0x1528
#define VF_EIAC 0x152c
#define VF_EITR(v) (0x1680 + 4 * (v))
#define VF_IVAR 0x1700
#define VF_IVAR_RX0(vector) (0x80u | (vector)) /* queue 0 receive; transmit in bits 15:8 */
#define VF_ALL_VECTORS 7u

/* Page 2: receive queue 0; page 3: transmit queue 0. Offsets within a queue's block. */
#define VF_RXQ 0x2800
#define VF_TXQ 0x3800
#define VFQ_BAL 0x00
#define VFQ_BAH 0x04
#define VFQ_LEN 0x08
#define VFQ_SRRCTL 0x0c
#define VFQ_HEAD 0x10
#define VFQ_TAIL 0x18
#define VFQ_DCTL 0x28
#define VFQ_DCTL_ENABLE (1u << 25)
#define VF_SRRCTL_BUF_KB(n) ((u32)(n))
#define VF_SRRCTL_ADV_ONE_BUFFER (1u << 25)
#define VF_SRRCTL_DROP (1u << 31)

/* Page 0: trapped by every level; listed for tests that try what must not work. */
#define VF_CTRL 0x0000
#define VF_CTRL_RST (1u << 26)
#define VF_STATUS 0x0008
#define VF_STATUS_LU (1u << 1)
#define VF_MAILBOX 0x0c40
#define VF_MAILBOX_REQ 1u
#define VF_MAILBOX_PFU 8u
#define VF_GPRC 0x0f10

struct vf_desc { u64 lo, hi; };
_Static_assert(sizeof(struct vf_desc) == 16, "advanced descriptors");

/* Receive, read format: an empty buffer. Write-back: hi = vlan 63:48, length 47:32, error 31:20, status 19:0. */
#define VF_RX_DD BIT(0)
#define VF_RX_EOP BIT(1)
#define VF_RX_RXE BIT(31)
#define VF_RX_LEN BITS(47, 32)
/* Transmit: hi = paylen 63:46, command 31:20, data type, buffer length 15:0. Write-back: DD in bit 32. */
#define VF_TX_LEN BITS(15, 0)
#define VF_TX_DTYP_DATA BITS(21, 20)
#define VF_TX_EOP BIT(24)
#define VF_TX_IFCS BIT(25)
#define VF_TX_RS BIT(27)
#define VF_TX_DEXT BIT(29)
#define VF_TX_PAYLEN BITS(63, 46)
#define VF_TX_DD BIT(32)

static inline struct vf_desc vf_rx_desc(u64 iova) { return (struct vf_desc){ iova, 0 }; }
/* A whole frame in one buffer, with completion reported. */
static inline struct vf_desc vf_tx_desc(u64 iova, u32 len)
{
	return (struct vf_desc){ iova, VF_TX_DEXT | VF_TX_RS | VF_TX_IFCS | VF_TX_EOP | VF_TX_DTYP_DATA |
				       FIELD_PREP(VF_TX_LEN, len) | FIELD_PREP(VF_TX_PAYLEN, len) };
}

static inline u32 vf_read(volatile u8 *regs, u32 reg) { return mmio_read32(regs + reg); }
static inline void vf_write(volatile u8 *regs, u32 reg, u32 v) { mmio_write32(regs + reg, v); }

/*
 * Program a queue that is off: ring of len bytes at iova, empty, enabled; the caller moves the tail. Order as the 82576
 * wants it: base, length, (buffers,) head, enable; tail last.
 */
static inline void vf_queue_program(volatile u8 *regs, u32 block, u64 iova, u32 len)
{
	vf_write(regs, block + VFQ_BAL, (u32)iova);
	vf_write(regs, block + VFQ_BAH, (u32)(iova >> 32));
	vf_write(regs, block + VFQ_LEN, len);
	if (block == VF_RXQ)
		vf_write(regs, block + VFQ_SRRCTL, VF_SRRCTL_BUF_KB(2) | VF_SRRCTL_ADV_ONE_BUFFER | VF_SRRCTL_DROP);
	vf_write(regs, block + VFQ_HEAD, 0);
	vf_write(regs, block + VFQ_DCTL, VFQ_DCTL_ENABLE);
}

#endif
