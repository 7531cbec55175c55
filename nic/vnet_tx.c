/*
 * Transmit queue of the emulated device: buffers become frames for the lower link (VIRTIO 1.2, Network Device, Packet
 * Transmission).
 *
 * Invariant: a frame is copied as a whole before anything looks at it. One kick sends all that is there and what comes meanwhile,
 * but not for ever: the last round asks for the next kick first, so none is lost and none is needed before.
 */
#include "core/errno.h"
#include "nic/vnet_priv.h"

#define ROUNDS 4

/* A frame of impossible length is dropped, as a NIC would; one too long to be copied at once. */
static int send(struct vnet *d, struct virtq_dev *q, const struct vqd_chain *c)
{
	u64 len = c->read_len - sizeof(d->tx_hdr);
	if (c->write_len || c->read_len < sizeof(d->tx_hdr))
		return -EINVAL;
	if (len > VNET_BUFFER)
		return 0;
	int r = vqd_read(q, c, 0, &d->tx_hdr, c->read_len);
	if (r)
		return r;
	if (d->tx_hdr.flags || d->tx_hdr.gso_type)
		return -EINVAL; /* an offload that was not offered */
	if (!vnet_frame_fits(d, d->tx_frame, len) || d->data->tx(d->lower, d->tx_frame, (u32)len))
		return 0;
	WRITE_ONCE(d->tx_packets, d->tx_packets + 1);
	WRITE_ONCE(d->tx_bytes, d->tx_bytes + len);
	return 0;
}

/* The next n buffers. */
static int send_all(struct vnet *d, struct virtq_dev *q, u32 n)
{
	struct vqd_chain *c = &d->chain[VIRTIO_NET_TXQ];
	u32 k = 0;
	int r = 0;
	for (; k < n && !r; k++) {
		r = vqd_peek(q, k, c);
		if (!r)
			r = send(d, q, c);
		if (!r)
			r = vqd_use(q, k, c->head, 0);
	}
	int p = vqd_publish(q, r ? k - 1 : k);
	return r ? r : p;
}

static int drain(struct vnet *d, struct virtq_dev *q)
{
	int r = vqd_suppress(q), n = 0;
	for (u32 round = 1; !r && round < ROUNDS; round++) {
		n = vqd_available(q);
		if (n <= 0)
			break;
		r = send_all(d, q, (u32)n);
	}
	if (r || n < 0)
		return r ? r : n;
	n = vqd_arm(q);
	return n > 0 ? send_all(d, q, (u32)n) : n;
}

/* Under tx. */
static void transmit(struct vnet *d)
{
	struct virtq_dev *q = &d->vq[VIRTIO_NET_TXQ];
	if (!vnet_works(d) || !q->size)
		return;
	u16 before = q->used;
	int r = drain(d, q);
	if (q->used != before)
		d->data->tx_flush(d->lower);
	if (r)
		vnet_break(d, "a malformed buffer in the transmit queue");
	if (vqd_interrupts(q))
		vnet_irq_queue(d, VIRTIO_NET_TXQ);
}

void vnet_tx_kick(struct vnet *d)
{
	spin_lock(&d->tx);
	transmit(d);
	spin_unlock(&d->tx);
}

int vnet_fence(struct vnet *d)
{
	spin_lock(&d->tx);
	transmit(d);
	int r = READ_ONCE(d->running) ? d->data->fence(d->lower) : 0;
	spin_unlock(&d->tx);
	return r;
}
