/*
 * The upstream driver, inside: control by hypercalls (upstream.c), frames through the outer's emulated device, of whose driver
 * upstream_dev.c is the set-up and upstream_data.c the packet path.
 */
#ifndef NIC_UPSTREAM_H
#define NIC_UPSTREAM_H

#include "core/errno.h"
#include "core/hypercall.h"
#include "core/pci.h"
#include "core/spinlock.h"
#include "nic/msix.h"
#include "nic/nic.h"
#include "nic/virtio_pci.h"

#define UPSTREAM_FRAME_MAX 16384u
#define UPSTREAM_CHUNK_ORDER 5 /* buffers come in pieces of 128 KiB */
#define UPSTREAM_CHUNK (PAGE_SIZE << UPSTREAM_CHUNK_ORDER)
#define UPSTREAM_MAX_CHUNKS 40
#define UPSTREAM_TX_BYTES (UPSTREAM_CHUNK * 8) /* at most, for transmission: with large frames that queue is shorter */

/* A ring with as many buffers as it has entries; buffer i has descriptor i. */
struct upstream_ring {
	struct virtq_drv q;
	struct virtq_mem *mem;   /* NULL until the first start; then kept, as the chunks are */
	u8 *chunk[UPSTREAM_MAX_CHUNKS];
	volatile u8 *notify;
	bool broken;             /* the outer wrote what cannot be: the ring rests until the next start */
};

/*
 * Our end of the outer's virtio-net device of one port. Made on the first start and never freed: mappings live for ever, and a
 * device that does not confirm its reset must not find its rings with another owner.
 *
 * rx_lock protects rx and rx_again, and is held around every call upward; tx_lock protects tx; running is changed under both. Order:
 * ctrl and tx of the device above -> rx_lock -> tx_lock, and rx_lock -> rx of the device above. All else belongs to the control road
 * (start, stop, rx_filter).
 */
struct upstream_net {
	struct nic_lower *l;
	rid_t rid;
	volatile u8 *common, *notify;
	u32 notify_len, notify_multiplier;
	struct msix msix;
	u32 max_frame;
	u32 room;                /* bytes of a buffer: header, frame, a VLAN tag, an E-TAG if there are any */
	u32 stride, per_chunk;   /* from buffer to buffer; buffers in a chunk */
	u64 features;
	u32 cpu;                 /* of the interrupts */
	int rx_vector, config_vector; /* or -1 */
	bool running;
	spinlock_t rx_lock, tx_lock;
	struct timer rx_again;   /* there is more in the ring than one call took; armed on one CPU at a time, as the next says */
	bool rx_again_armed;
	struct upstream_ring rx, tx, ctrl;
};

struct upstream {
	u32 port;            /* of ours, at the outer */
	u64 handle;          /* of the function, while open */
	struct upstream_net *data; /* made on the first start */
};

static inline u8 *upstream_buffer(const struct upstream_net *n, const struct upstream_ring *r, u32 i)
{
	return r->chunk[i / n->per_chunk] + i % n->per_chunk * n->stride;
}
/* One exit: the outer does its work before it comes back. */
static inline void upstream_notify(const struct upstream_ring *r, u16 queue) { mmio_write16(r->notify, queue); }

/* One call to the outer. -EAGAIN, another CPU of ours takes registers away, is short: answered by another try. */
#define UPSTREAM_AGAIN_TRIES 100000
static inline s64 upstream_call4(u64 nr, u64 a0, u64 a1, u64 a2, u64 a3)
{
	s64 r = -EAGAIN;
	for (u32 i = 0; i < UPSTREAM_AGAIN_TRIES && r == -EAGAIN; i++)
		r = outer_call(nr, a0, a1, a2, a3);
	return r;
}
static inline s64 upstream_call(u64 nr, u64 a0, u64 a1, u64 a2) { return upstream_call4(nr, a0, a1, a2, 0); }

/* upstream_data.c */
extern const struct nic_data_ops upstream_data;
/* Handlers of the two interrupts; arg: struct upstream_net. */
void upstream_rx_irq(void *arg, u8 vector);
void upstream_config_irq(void *arg, u8 vector);

/* upstream_dev.c */
/* Find and map the device. -ENODEV (the outer has none for this port), -ENOMEM, -EIO. */
int upstream_dev_open(struct nic_lower *l);
/*
 * Reset, memory, features, queues with all receive buffers posted, interrupts; all but DRIVER_OK. -EIO, -ENODEV, -ENOMEM; memory
 * that was got is kept in any case.
 */
int upstream_dev_start(struct upstream_net *n);
/* DRIVER_OK. -EIO: what is behind the device did not start. */
int upstream_dev_go(struct upstream_net *n);
/* Reset and tear down, whatever start had reached. */
void upstream_dev_stop(struct upstream_net *n);

#endif
