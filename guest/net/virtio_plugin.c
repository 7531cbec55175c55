/*
 * The virtio plugin (virtio_plugin.h): one receive and one transmit queue of a virtio-net device (VIRTIO 1.2, Network Device).
 *
 * Invariant: descriptor i of either queue belongs to buffer i for ever. Between start and stop a register is written, which exits,
 * only to tell the device of buffers, and only if it wants to be told; none is read.
 */
#include "guest/net/virtio_plugin.h"

#include "guest/lib/x86.h"
#include "nic/virtio_pci.h"

#define RING VIRTQ_MAX
#define BUF 2048u
#define HEADER (u32)sizeof(struct virtio_net_hdr)
#define RESET_US 100000
#define FRAME_MIN 60u /* without FCS: padded as the VF plugin does, so that both states count alike */
#define WANT (BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_STATUS) | BIT(VIRTIO_NET_F_MTU))
#define NEED BIT(VIRTIO_F_VERSION_1)

struct vn_dma {
	struct virtq_mem rx __aligned_to(PAGE_SIZE), tx __aligned_to(PAGE_SIZE);
	u8 rx_buf[RING][BUF] __aligned_to(PAGE_SIZE), tx_buf[RING][BUF];
};

struct vn {
	const struct nic_plugin_env *env;
	struct vn_dma *dma;
	volatile u8 *common, *rx_notify, *tx_notify;
	struct virtq_drv rx, tx;
	bool running;                      /* what is polled goes back to the device */
	struct nic_plugin_stats count;
};

static u64 iova_of(const struct vn *v, const void *p) { return v->env->dma_iova + (u64)((const u8 *)p - v->env->dma); }

/* The vector of an entry of the MSI-X table, if it is routed. */
static u16 vector_of(const struct vn *v, u32 entry) { return entry < v->env->vectors ? (u16)entry : VIRTIO_NO_VECTOR; }

static int vn_stop(void *state)
{
	struct vn *v = state;
	u64 end = rdtsc() + v->env->tsc_khz * RESET_US / 1000;

	v->running = false;
	virtio_reset(v->common);
	while (virtio_status(v->common))
		if (rdtsc() >= end)
			return -EIO;
	return 0;
}

static int queue_start(struct vn *v, struct virtq_drv *q, struct virtq_mem *mem, u16 index, u16 vector, volatile u8 **notify,
		       bool event)
{
	u16 off, size = virtio_queue_max(v->common, index);

	if (size < 2 || size & (size - 1))
		return -EIO;
	size = (u16)MIN(size, RING);
	virtq_start(q, mem, size, event);
	if (virtio_queue_start(v->common, size, vector, iova_of(v, mem), &off) || off > VIRTIO_NET_CTRLQ)
		return -EIO;
	*notify = v->env->regs + VNET_NOTIFY + (u32)off * VNET_NOTIFY_MULTIPLIER;
	return 0;
}

static int queues_start(struct vn *v, bool event)
{
	int err = queue_start(v, &v->rx, &v->dma->rx, VIRTIO_NET_RXQ, vector_of(v, VIRTIO_PLUGIN_RX_ENTRY), &v->rx_notify, event);

	if (!err)
		err = queue_start(v, &v->tx, &v->dma->tx, VIRTIO_NET_TXQ, VIRTIO_NO_VECTOR, &v->tx_notify, event);
	if (!err)
		err = virtio_config_vector(v->common, vector_of(v, VIRTIO_PLUGIN_CONFIG_ENTRY));
	return err;
}

static void rx_kick(struct vn *v)
{
	if (virtq_kick(&v->rx))
		mmio_write16(v->rx_notify, VIRTIO_NET_RXQ);
}

static void rx_fill(struct vn *v)
{
	for (u16 i = 0; i < v->rx.size; i++) {
		v->dma->rx.desc[i] = (struct virtq_desc){ iova_of(v, v->dma->rx_buf[i]), BUF, VIRTQ_DESC_WRITE, 0 };
		virtq_post(&v->rx, i);
	}
	for (u16 i = 0; i < v->tx.size; i++)
		v->dma->tx.desc[i].addr = iova_of(v, v->dma->tx_buf[i]);
}

static int vn_start(void *state, const struct nic_plugin_env *env)
{
	struct vn *v = state;
	u64 want = WANT | (env->flags & NIC_PLUGIN_FLAG_PLAIN ? 0 : BIT(VIRTIO_F_RING_EVENT_IDX)), features;

	if (env->size < sizeof(*env) || env->max_frame > BUF - HEADER || !IS_ALIGNED(env->dma_iova, PAGE_SIZE))
		return -EINVAL;
	*v = (struct vn){ .env = env, .dma = (struct vn_dma *)env->dma, .common = env->regs + VNET_COMMON };
	if (vn_stop(v) || virtio_negotiate(v->common, want, NEED, &features))
		return -EIO;
	if (queues_start(v, features & BIT(VIRTIO_F_RING_EVENT_IDX))) {
		vn_stop(v);
		return -EIO;
	}
	rx_fill(v);
	v->running = true;
	virtio_status_add(v->common, VIRTIO_STATUS_DRIVER_OK);
	if (virtio_status(v->common) & VIRTIO_STATUS_NEEDS_RESET) { /* what is behind the device did not start */
		vn_stop(v);
		return -EIO;
	}
	rx_kick(v);
	return 0;
}

static void tx_reclaim(struct vn *v)
{
	u16 head;
	u32 len;

	while (virtq_peek(&v->tx, &head, &len) > 0)
		virtq_take(&v->tx, head);
}

static int vn_tx(void *state, const u8 *frame, u32 len)
{
	struct vn *v = state;
	u32 wire = MAX(len, FRAME_MIN);
	int head;

	if (len < 14 || len > v->env->max_frame)
		return -EINVAL;
	head = virtq_head(&v->tx);
	if (head < 0) {
		tx_reclaim(v);
		head = virtq_head(&v->tx);
	}
	if (head < 0) {
		v->count.tx_full++;
		return -EAGAIN;
	}
	u8 *to = v->dma->tx_buf[head] + HEADER; /* the header before it is zero and stays so */
	copy_bytes(to, frame, len);
	zero_bytes(to + len, wire - len);
	v->dma->tx.desc[head].len = HEADER + wire;
	virtq_post(&v->tx, (u16)head);
	v->count.tx_frames++;
	v->count.tx_bytes += wire;
	return 0;
}

static void vn_tx_kick(void *state)
{
	struct vn *v = state;

	if (virtq_kick(&v->tx))
		mmio_write16(v->tx_notify, VIRTIO_NET_TXQ);
}

static u32 vn_tx_pending(void *state)
{
	struct vn *v = state;

	tx_reclaim(v);
	return virtq_outstanding(&v->tx);
}

/* A buffer that the device has filled. The mark at the end of emulation is no frame, and handed up all the same. */
static void rx_one(struct vn *v, const u8 *buf, u32 len)
{
	if (len <= HEADER || len > BUF) {
		v->count.rx_errors++;
		return;
	}
	if (len >= HEADER + 14) {
		v->count.rx_frames++;
		v->count.rx_bytes += len - HEADER;
	}
	v->env->rx(v->env->rx_arg, buf + HEADER, len - HEADER);
}

static u32 rx_take(struct vn *v, u32 budget)
{
	u32 n = 0, len;

	for (u16 head; n < budget && virtq_peek(&v->rx, &head, &len) > 0; n++) {
		rx_one(v, v->dma->rx_buf[head], len);
		virtq_take(&v->rx, head);
		if (v->running)
			virtq_post(&v->rx, head);
	}
	return n;
}

static u32 vn_rx_poll(void *state, u32 budget)
{
	struct vn *v = state;
	u32 n = rx_take(v, budget), more = n;

	while (more && v->running && virtq_irq_renew(&v->rx)) {
		more = rx_take(v, budget - n);
		n += more;
	}
	if (n && v->running)
		rx_kick(v);
	return n;
}

/* The heads of the mode transaction are those of virtual functions. */
static int vn_rx_before(const void *state, u32 head)
{
	(void)state, (void)head;
	return -EINVAL;
}

static void vn_irq_enable(void *state, bool on) { virtq_irq(&((struct vn *)state)->rx, on); }

static void vn_stats(const void *state, struct nic_plugin_stats *out) { *out = ((const struct vn *)state)->count; }

const struct nic_plugin_ops virtio_plugin = {
	.abi = NIC_PLUGIN_ABI,
	.size = sizeof(struct nic_plugin_ops),
	.name = "virtio",
	.state_len = sizeof(struct vn),
	.dma_len = sizeof(struct vn_dma),
	.start = vn_start,
	.stop = vn_stop,
	.tx = vn_tx,
	.tx_kick = vn_tx_kick,
	.tx_pending = vn_tx_pending,
	.rx_poll = vn_rx_poll,
	.rx_before = vn_rx_before,
	.irq_enable = vn_irq_enable,
	.stats = vn_stats,
};
