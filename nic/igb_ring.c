/*
 * The PF's own pair of queues (igb_ring.h).
 */
#include "nic/igb_ring.h"

#include <string.h>

#include "core/errno.h"
#include "nic/igb.h"

#define BUF_ORDER 7          /* IGB_RING * IGB_RING_BUF = 512 KiB */
#define DESC_ORDER 1
#define WHOLE_ORDER 2
#define DESC_LEN 16u
#define TX_ROOM_US 10000
#define TX_EMPTY_US 100000
#define RX_WRITTEN_US 1000
#define QUEUE_START_US 10000

_Static_assert(IGB_RING * IGB_RING_BUF == PAGE_SIZE << BUF_ORDER, "buffers");
_Static_assert(IGB_RING * DESC_LEN == PAGE_SIZE, "a ring is one page");
_Static_assert(IGB_RING_MAX <= PAGE_SIZE << WHOLE_ORDER, "a frame put together");

static u32 after(u32 i, u32 n) { return (i + n) % IGB_RING; }
static volatile struct igb_rx_read *rx_read(struct igb_ring *r, u32 i) { return (volatile void *)(r->desc + i * DESC_LEN); }
static volatile struct igb_rx_done *rx_done(struct igb_ring *r, u32 i) { return (volatile void *)(r->desc + i * DESC_LEN); }
static volatile struct igb_tx_data *tx_desc(struct igb_ring *r, u32 i) { return (volatile void *)(r->desc + PAGE_SIZE + i * DESC_LEN); }
static u8 *buf(u8 *bufs, u32 i) { return bufs + i * IGB_RING_BUF; }
static u64 bus(const void *p) { return virt_to_hpa(p).v; } /* our domain maps at identical addresses, as does no IOMMU at all */

/* ---- set up ---- */

static struct iommu_range range(const void *p, unsigned order, u32 perm)
{
	return (struct iommu_range){ IOVA(bus(p)), virt_to_hpa(p), PAGE_SIZE << order, perm };
}

static int confine(struct igb *pf)
{
	struct igb_ring *r = &pf->ring;
	const struct iommu_range maps[] = { range(r->desc, DESC_ORDER, IOMMU_READ | IOMMU_WRITE), range(r->rx_buf, BUF_ORDER, IOMMU_WRITE),
					    range(r->tx_buf, BUF_ORDER, IOMMU_READ) };
	r->domain = iommu_domain_create(NULL, &mem_self);
	if (!r->domain)
		return -ENOMEM;
	int e = iommu_map(r->domain, maps, ARRAY_SIZE(maps));
	return e ? e : iommu_attach(r->domain, pf->rid);
}

/* What fails here stays as it is: an unattached PF reaches nothing, and there is no second try. */
int igb_ring_create(struct igb *pf)
{
	struct igb_ring *r = &pf->ring;
	r->desc = pages_alloc(&mem_self, DESC_ORDER);
	r->rx_buf = pages_alloc(&mem_self, BUF_ORDER);
	r->tx_buf = pages_alloc(&mem_self, BUF_ORDER);
	r->whole = pages_alloc(&mem_self, WHOLE_ORDER);
	if (!r->desc || !r->rx_buf || !r->tx_buf || !r->whole)
		return -ENOMEM;
	return iommu_info()->present ? confine(pf) : 0;
}

static void give_buffer(struct igb_ring *r, u32 i)
{
	volatile struct igb_rx_read *d = rx_read(r, i);
	d->buffer = bus(buf(r->rx_buf, i));
	d->header = 0;
}

static void program(struct igb *pf, u32 block, const void *ring)
{
	igb_write(pf, block + IGB_Q_DCTL, 0);
	igb_write(pf, block + IGB_Q_BAL, bus(ring) & ~0u);
	igb_write(pf, block + IGB_Q_BAH, bus(ring) >> 32);
	igb_write(pf, block + IGB_Q_LEN, PAGE_SIZE);
	igb_write(pf, block + IGB_Q_HEAD, 0);
	igb_write(pf, block + IGB_Q_TAIL, 0);
}

/* 82576 Datasheet, Receive Initialization and Transmit Initialization: the tail moves when the queue is enabled. */
int igb_ring_start(struct igb *pf)
{
	struct igb_ring *r = &pf->ring;
	u32 rx = IGB_RXQ(IGB_PF_POOL), tx = IGB_TXQ(IGB_PF_POOL);
	for (u32 i = 0; i < IGB_RING; i++)
		give_buffer(r, i);
	program(pf, rx, r->desc);
	program(pf, tx, r->desc + PAGE_SIZE);
	igb_write(pf, rx + IGB_Q_SRRCTL, IGB_SRRCTL_DROP | IGB_SRRCTL_ADVANCED | IGB_RING_BUF >> 10);
	igb_write(pf, tx + IGB_Q_WBAL, 0);
	igb_write(pf, rx + IGB_Q_DCTL, IGB_RXDCTL_RESET | IGB_Q_DCTL_ENABLE);
	igb_write(pf, tx + IGB_Q_DCTL, IGB_Q_DCTL_ENABLE);
	if (!wait_until(igb_read(pf, rx + IGB_Q_DCTL) & igb_read(pf, tx + IGB_Q_DCTL) & IGB_Q_DCTL_ENABLE, QUEUE_START_US))
		return -ETIMEDOUT;
	igb_set_bits(pf, IGB_VFRE, BIT(IGB_PF_POOL));
	igb_set_bits(pf, IGB_VFTE, BIT(IGB_PF_POOL));
	compiler_barrier();
	igb_write(pf, rx + IGB_Q_TAIL, IGB_RING - 1);
	r->ready = true;
	return 0;
}

/* ---- transmit ---- */

static bool tx_reclaim(struct igb_ring *r)
{
	while (r->tx_done != r->tx_told && tx_desc(r, r->tx_done)->options & IGB_TXD_DD) {
		r->tx_done = after(r->tx_done, 1);
		r->tx_stuck = false;
	}
	return r->tx_done == r->tx_next;
}

static u32 tx_room(struct igb_ring *r)
{
	tx_reclaim(r);
	return IGB_RING - 1 - (r->tx_next - r->tx_done) % IGB_RING;
}

void igb_ring_tx_kick(struct igb *pf)
{
	struct igb_ring *r = &pf->ring;
	if (r->tx_told == r->tx_next)
		return;
	compiler_barrier(); /* descriptors before the tail */
	r->tx_told = r->tx_next;
	igb_write(pf, IGB_TXQ(IGB_PF_POOL) + IGB_Q_TAIL, r->tx_next);
}

/* A NIC that does not send (no link, pause) holds each caller up once, not for each frame. */
static bool tx_wait_room(struct igb *pf, u32 need)
{
	struct igb_ring *r = &pf->ring;
	if (tx_room(r) >= need)
		return true;
	igb_ring_tx_kick(pf);
	if (tx_room(r) >= need || r->tx_stuck)
		return tx_room(r) >= need;
	r->tx_stuck = !wait_until(tx_room(r) >= need, TX_ROOM_US);
	return !r->tx_stuck;
}

static void tx_piece(struct igb_ring *r, u32 len, u32 total, bool last)
{
	volatile struct igb_tx_data *d = tx_desc(r, r->tx_next);
	d->buffer = bus(buf(r->tx_buf, r->tx_next));
	d->command = (u32)(len | IGB_TXD_DATA | IGB_TXD_DEXT | IGB_TXD_RS | IGB_TXD_IFCS | (last ? IGB_TXD_EOP : 0));
	d->options = (u32)FIELD_PREP(IGB_TXD_PAYLEN, total);
	r->tx_next = after(r->tx_next, 1);
}

static void copy_tagged(u8 *to, const u8 *frame, u32 len, u16 type, u16 vlan)
{
	const u8 tag[4] = { (u8)(type >> 8), (u8)type, (u8)(vlan >> 8), (u8)vlan };
	memcpy(to, frame, 12);
	memcpy(to + 12, tag, 4);
	memcpy(to + 16, frame + 12, len - 12);
}

int igb_ring_tx(struct igb *pf, const u8 *frame, u32 len, u16 vlan)
{
	struct igb_ring *r = &pf->ring;
	u32 first = MIN(len, IGB_RING_BUF - (vlan ? IGB_VLAN_LEN : 0)), total = len + (vlan ? IGB_VLAN_LEN : 0);
	if (!tx_wait_room(pf, (total + IGB_RING_BUF - 1) / IGB_RING_BUF))
		return -EIO;
	u8 *to = buf(r->tx_buf, r->tx_next);
	if (vlan)
		copy_tagged(to, frame, first, igb_tag_type(pf), vlan);
	else
		memcpy(to, frame, first);
	tx_piece(r, first + (total - len), total, first == len);
	for (u32 at = first, n; at < len; at += n) {
		n = MIN(len - at, IGB_RING_BUF);
		memcpy(buf(r->tx_buf, r->tx_next), frame + at, n);
		tx_piece(r, n, total, at + n == len);
	}
	return 0;
}

bool igb_ring_tx_empty(struct igb *pf)
{
	struct igb_ring *r = &pf->ring;
	igb_ring_tx_kick(pf);
	if (tx_reclaim(r) || r->tx_stuck)
		return tx_reclaim(r);
	r->tx_stuck = !wait_until(tx_reclaim(r), TX_EMPTY_US);
	return !r->tx_stuck;
}

/* ---- receive ---- */

static bool rx_written(struct igb_ring *r, bool wait)
{
	volatile struct igb_rx_done *d = rx_done(r, r->rx_next);
	return d->status & IGB_RXD_DD || (wait && wait_until(d->status & IGB_RXD_DD, RX_WRITTEN_US));
}

/* One piece, appended to what there is of the frame; its status says whether that is whole. The hardware gets the buffer back. */
static u32 rx_piece(struct igb_ring *r)
{
	volatile struct igb_rx_done *d = rx_done(r, r->rx_next);
	u32 status = d->status, len = MIN((u32)d->length, IGB_RING_BUF);
	r->whole_vlan = status & IGB_RXD_VP ? d->vlan & IGB_VLAN_VID : 0;
	r->whole_bad |= status & IGB_RXD_RXE || r->whole_len + len > IGB_RING_MAX;
	if (!r->whole_bad)
		memcpy(r->whole + r->whole_len, buf(r->rx_buf, r->rx_next), len);
	r->whole_len += r->whole_bad ? 0 : len;
	give_buffer(r, r->rx_next);
	r->rx_next = after(r->rx_next, 1);
	return status;
}

const u8 *igb_ring_rx(struct igb *pf, u32 *len, u16 *vlan, bool wait)
{
	struct igb_ring *r = &pf->ring;
	while (rx_written(r, wait)) {
		compiler_barrier(); /* the rest of the descriptor and the buffer after its DD bit */
		if (!(rx_piece(r) & IGB_RXD_EOP))
			continue;
		*len = r->whole_bad ? 0 : r->whole_len;
		*vlan = r->whole_vlan;
		r->whole_len = 0;
		r->whole_bad = false;
		return r->whole;
	}
	return NULL;
}

void igb_ring_rx_refill(struct igb *pf)
{
	compiler_barrier();
	igb_write(pf, IGB_RXQ(IGB_PF_POOL) + IGB_Q_TAIL, after(pf->ring.rx_next, IGB_RING - 1));
}

u32 igb_ring_rx_head(struct igb *pf) { return igb_read(pf, IGB_RXQ(IGB_PF_POOL) + IGB_Q_HEAD) % IGB_RING; }
