/*
 * The plugin for a virtual function of the 82576: one receive and one transmit ring (core/plugin.h has the contract). It runs in the
 * guest, handed up the chain as a flat image (header.S, plugin.ld); the instance that carries the image only hands it out.
 *
 * Invariant: descriptor i of either ring belongs to buffer i. Receive: the device owns [rx_next, rx_tail), at most
 * RING - 1. Transmit: it owns [tx_clean, tx_tail), of which it knows those before tx_known. No data of its own but constants.
 */
#include "nic/plugin/igbvf.h"

#include "nic/plugin/igbvf_regs.h"

#define RING 256u
#define BUF 2048u
#define RX_REFILL 32u /* descriptors given back by one tail write */
#define STOP_US 10000
#define FRAME_MIN 60u /* without FCS */

struct vf_dma {
	struct vf_desc rx[RING], tx[RING];
	u8 rx_buf[RING][BUF], tx_buf[RING][BUF];
};

struct vf {
	const struct nic_plugin_env *env;
	struct vf_dma *dma;
	volatile u8 *regs;
	u64 iova;
	u32 rx_next, rx_done;              /* next to look at; done since the last tail write */
	u32 tx_tail, tx_known, tx_clean;
	bool rx_skip;                      /* inside a frame that does not fit one buffer */
	struct nic_plugin_stats count;
};

_Static_assert(sizeof(struct vf) <= IGBVF_STATE_LEN && sizeof(struct vf_dma) == IGBVF_DMA_LEN, "what the header says");

static u64 iova_of(const struct vf *v, const void *p) { return v->iova + (u64)((const u8 *)p - (const u8 *)v->dma); }

static bool queue_wait(const struct vf *v, u32 block, bool on)
{
	u64 end = rdtsc() + v->env->tsc_khz * STOP_US / 1000;

	while (!!(vf_read(v->regs, block + VFQ_DCTL) & VFQ_DCTL_ENABLE) != on)
		if (rdtsc() >= end)
			return false;
	return true;
}

int igbvf_stop(void *state)
{
	struct vf *v = state;

	vf_write(v->regs, VF_EIMC, VF_ALL_VECTORS);
	vf_write(v->regs, VF_TXQ + VFQ_DCTL, 0);
	vf_write(v->regs, VF_RXQ + VFQ_DCTL, 0);
	return queue_wait(v, VF_TXQ, false) && queue_wait(v, VF_RXQ, false) ? 0 : -EIO;
}

static void rx_fill(struct vf *v)
{
	for (u32 i = 0; i < RING; i++)
		v->dma->rx[i] = vf_rx_desc(iova_of(v, v->dma->rx_buf[i]));
}

int igbvf_start(void *state, const struct nic_plugin_env *env)
{
	struct vf *v = state;

	if (env->size < sizeof(*env) || env->max_frame > BUF || !IS_ALIGNED(env->dma_iova, PAGE_SIZE))
		return -EINVAL;
	*v = (struct vf){ .env = env, .dma = (struct vf_dma *)env->dma, .regs = env->regs, .iova = env->dma_iova };
	if (igbvf_stop(v))
		return -EIO;
	rx_fill(v);
	vf_write(v->regs, VF_EITR(0), 0);
	vf_write(v->regs, VF_EIAC, 1u);
	vf_write(v->regs, VF_IVAR, VF_IVAR_RX0(0)); /* no vector for transmit: completions are seen when room is needed */
	vf_queue_program(v->regs, VF_TXQ, iova_of(v, v->dma->tx), sizeof(v->dma->tx));
	vf_queue_program(v->regs, VF_RXQ, iova_of(v, v->dma->rx), sizeof(v->dma->rx));
	if (!queue_wait(v, VF_TXQ, true) || !queue_wait(v, VF_RXQ, true))
		return -EIO;
	vf_write(v->regs, VF_TXQ + VFQ_TAIL, 0);
	vf_write(v->regs, VF_RXQ + VFQ_TAIL, RING - 1);
	return 0;
}

static void tx_reclaim(struct vf *v)
{
	while (v->tx_clean != v->tx_known && READ_ONCE(v->dma->tx[v->tx_clean].hi) & VF_TX_DD)
		v->tx_clean = (v->tx_clean + 1) % RING;
}

int igbvf_tx(void *state, const u8 *frame, u32 len)
{
	struct vf *v = state;
	u32 i = v->tx_tail, next = (i + 1) % RING, wire = MAX(len, FRAME_MIN);

	if (len < 14 || len > v->env->max_frame)
		return -EINVAL;
	if (next == v->tx_clean)
		tx_reclaim(v);
	if (next == v->tx_clean) {
		v->count.tx_full++;
		return -EAGAIN;
	}
	__builtin_memcpy(v->dma->tx_buf[i], frame, len);
	__builtin_memset(v->dma->tx_buf[i] + len, 0, wire - len);
	struct vf_desc d = vf_tx_desc(iova_of(v, v->dma->tx_buf[i]), wire);
	WRITE_ONCE(v->dma->tx[i].lo, d.lo);
	WRITE_ONCE(v->dma->tx[i].hi, d.hi);
	v->tx_tail = next;
	v->count.tx_frames++;
	v->count.tx_bytes += wire;
	return 0;
}

void igbvf_tx_kick(void *state)
{
	struct vf *v = state;

	if (v->tx_known == v->tx_tail)
		return;
	v->tx_known = v->tx_tail;
	vf_write(v->regs, VF_TXQ + VFQ_TAIL, v->tx_tail);
}

u32 igbvf_tx_pending(void *state)
{
	struct vf *v = state;

	tx_reclaim(v);
	return (v->tx_tail - v->tx_clean) % RING;
}

/* One descriptor that the device has written back. */
static void rx_one(struct vf *v, u32 i, u64 hi)
{
	u32 len = (u32)FIELD_GET(VF_RX_LEN, hi);
	bool last = hi & VF_RX_EOP, bad = v->rx_skip || !last || hi & VF_RX_RXE || len > BUF;

	if (last && bad)
		v->count.rx_errors++;
	v->rx_skip = !last;
	if (bad)
		return;
	v->count.rx_frames++;
	v->count.rx_bytes += len;
	v->env->rx(v->env->rx_arg, v->dma->rx_buf[i], len);
}

u32 igbvf_rx_poll(void *state, u32 budget)
{
	struct vf *v = state;
	u32 n = 0;

	for (u64 hi; n < budget && (hi = READ_ONCE(v->dma->rx[v->rx_next].hi)) & VF_RX_DD; n++) {
		u32 i = v->rx_next;
		compiler_barrier(); /* the buffer is read after the status; x86 keeps the order of loads */
		rx_one(v, i, hi);
		WRITE_ONCE(v->dma->rx[i].hi, 0);
		WRITE_ONCE(v->dma->rx[i].lo, iova_of(v, v->dma->rx_buf[i]));
		v->rx_next = (i + 1) % RING;
		if (++v->rx_done == RX_REFILL) {
			v->rx_done = 0;
			vf_write(v->regs, VF_RXQ + VFQ_TAIL, i);
		}
	}
	return n;
}

int igbvf_rx_before(const void *state, u32 head)
{
	/* At most RING - 1 descriptors are the device's, so no turn of the ring can hide in the difference. */
	return head < RING ? (int)((head - ((const struct vf *)state)->rx_next) % RING) : -EINVAL;
}

void igbvf_irq_enable(void *state, bool on)
{
	struct vf *v = state;

	if (on && v->env->post_word)
		__atomic_fetch_or(v->env->post_word, v->env->post_bit, __ATOMIC_SEQ_CST);
	vf_write(v->regs, on ? VF_EIMS : VF_EIMC, 1u);
}

void igbvf_stats(const void *state, struct nic_plugin_stats *out) { *out = ((const struct vf *)state)->count; }
