/*
 * The PF's own pair of queues: frames of ports in emulation. The queues are those of the PF's pool, because with VFs enabled all others
 * master the bus as a VF (FACTS: queues q with q % 8 < number of VFs).
 *
 * Invariant: the PF reaches these rings and buffers and nothing else, where there is an IOMMU. All functions under the data lock.
 */
#ifndef NIC_IGB_RING_H
#define NIC_IGB_RING_H

#include "iommu/iommu.h"
#include "nic/igb_regs.h"

#define IGB_RING 256u       /* descriptors each way */
#define IGB_RING_BUF 2048u  /* longer frames come and go in pieces */
#define IGB_RING_MAX (IGB_MAX_FRAME + IGB_ETAG_LEN + 2 * IGB_VLAN_LEN)

struct igb;
struct igb_ring {
	struct iommu_domain *domain;
	u8 *desc;                   /* receive ring, then transmit ring */
	u8 *rx_buf, *tx_buf;
	u8 *whole;                  /* a frame put together */
	u32 rx_next;                /* descriptor to look at next */
	u32 whole_len;
	u16 whole_vlan;
	bool whole_bad;
	u32 tx_next, tx_told, tx_done; /* to fill next; up to where the hardware knows; up to where it is done */
	bool tx_stuck;              /* it did not move in time; nobody waits again before it does */
	bool ready;
};

/* Memory, and the PF's domain; bus mastering is off. 0, -ENOMEM, or what the IOMMU says. */
int igb_ring_create(struct igb *pf);
/* Program and enable the queues. -ETIMEDOUT: one does not start. */
int igb_ring_start(struct igb *pf);

/* Copy a frame into the ring, with a tag of the NIC's type (igb_tag_type) if vlan is not 0. -EIO: no room, also after a wait. */
int igb_ring_tx(struct igb *pf, const u8 *frame, u32 len, u16 vlan);
void igb_ring_tx_kick(struct igb *pf);
/* True: everything has left. Bounded. */
bool igb_ring_tx_empty(struct igb *pf) __must_check;

/*
 * The next whole frame, or NULL if none is complete. It stays where it is until the next call. vlan: of its tag, which the hardware took
 * off; 0 = it had none. len: 0 if the frame is damaged. wait: the hardware's head has passed the next descriptor, but it may still be on its way to memory.
 */
const u8 *igb_ring_rx(struct igb *pf, u32 *len, u16 *vlan, bool wait);
/* The hardware may have the buffers again that were looked at. */
void igb_ring_rx_refill(struct igb *pf);
u32 igb_ring_rx_head(struct igb *pf);

#endif
