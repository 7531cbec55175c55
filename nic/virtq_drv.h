/*
 * The driver's side of a split virtqueue (VIRTIO 1.2, Split Virtqueues), for our own driver (nic/upstream_data.c) and the guest's
 * plugin: no allocation, no library, no registers. A buffer is named by its head: the descriptor that begins its chain.
 *
 * Invariant: out[head] says that the device has that buffer. Nothing that the device writes is used as an index before it was found
 * to be the head of a buffer that is out, so a wrong ring costs frames and never reaches memory of somebody else. The
 * descriptors are written by us only.
 */
#ifndef NIC_VIRTQ_DRV_H
#define NIC_VIRTQ_DRV_H

#include "core/errno.h"
#include "core/x86.h"
#include "nic/virtio.h"

/* What both sides see; zeroed and aligned to 16 bytes when the queue starts. With fewer entries the event words move up. */
struct virtq_mem {
	struct virtq_desc desc[VIRTQ_MAX];
	struct { u16 flags, idx, ring[VIRTQ_MAX + 1]; } avail; /* ring[size] is used_event */
	u16 pad;
	struct { u16 flags, idx; struct virtq_used_elem ring[VIRTQ_MAX + 1]; } used; /* half of ring[size] is avail_event */
};
_Static_assert(offsetof(struct virtq_mem, used) % 4 == 0, "alignment of a split virtqueue");

struct virtq_drv {
	struct virtq_mem *mem;
	u16 size;            /* a power of two, at most VIRTQ_MAX */
	bool event;          /* VIRTIO_F_RING_EVENT_IDX */
	bool irq;            /* interrupts wanted */
	u16 posted;          /* buffers handed over so far */
	u16 told;            /* the same, when the device was last told or did not want to be */
	u16 taken;           /* buffers that came back so far */
	u16 next;            /* where to look first for a head that is not out */
	bool out[VIRTQ_MAX];
};

/* Begin with an empty queue, interrupts off. mem: zeroed. */
static inline void virtq_start(struct virtq_drv *q, struct virtq_mem *mem, u16 size, bool event)
{
	q->mem = mem;
	q->size = size;
	q->event = event;
	q->irq = false;
	q->posted = q->told = q->taken = q->next = 0;
	for (u32 i = 0; i < VIRTQ_MAX; i++)
		q->out[i] = false;
	mem->avail.flags = event ? 0 : VIRTQ_AVAIL_NO_INTERRUPT;
	mem->avail.ring[size] = (u16)-1;
}

static inline u16 virtq_outstanding(const struct virtq_drv *q) { return (u16)(q->posted - q->taken); }

/* A head that is not out, or -1. For queues whose buffers have one descriptor each. */
static inline int virtq_head(struct virtq_drv *q)
{
	if (virtq_outstanding(q) == q->size)
		return -1;
	while (q->out[q->next]) /* once, unless the device returns buffers out of order */
		q->next = (q->next + 1) % q->size;
	return q->next;
}

/* Hand over the buffer at `head`, whose descriptors are written. The device may use it at once; it is told by virtq_kick. */
static inline void virtq_post(struct virtq_drv *q, u16 head)
{
	WRITE_ONCE(q->mem->avail.ring[q->posted % q->size], head);
	q->out[head] = true;
	q->posted++;
	compiler_barrier(); /* entry before index; x86 keeps the order of stores */
	WRITE_ONCE(q->mem->avail.idx, q->posted);
}

/* True if the device wants to be told of what was posted since the last call. The caller then writes the queue's notification. */
static inline bool virtq_kick(struct virtq_drv *q)
{
	u16 old = q->told, new = q->posted;
	if (old == new)
		return false;
	q->told = new;
	mfence(); /* index before the look: one of the two sides sees the other's store */
	if (q->event)
		return virtq_need_event(READ_ONCE(*(u16 *)&q->mem->used.ring[q->size]), new, old);
	return !(READ_ONCE(q->mem->used.flags) & VIRTQ_USED_NO_NOTIFY);
}

static inline bool virtq_pending(const struct virtq_drv *q) { return READ_ONCE(q->mem->used.idx) != q->taken; }

/*
 * The next buffer that came back, in the device's order; it stays the next until virtq_take. 1; 0: none; -EIO: the ring says
 * what cannot be, and does so until the queue starts anew. len: what the device says that it wrote, believed by nobody.
 */
static inline int virtq_peek(const struct virtq_drv *q, u16 *head, u32 *len)
{
	u16 back = (u16)(READ_ONCE(q->mem->used.idx) - q->taken);
	if (!back)
		return 0;
	compiler_barrier(); /* index before entry; x86 keeps the order of loads */
	const struct virtq_used_elem *e = &q->mem->used.ring[q->taken % q->size];
	u32 id = READ_ONCE(e->id);
	if (back > virtq_outstanding(q) || id >= q->size || !q->out[id])
		return -EIO;
	*head = (u16)id;
	*len = READ_ONCE(e->len);
	return 1;
}

static inline void virtq_take(struct virtq_drv *q, u16 head)
{
	q->out[head] = false;
	q->taken++;
}

/* ---- interrupts ---- */

/*
 * Interrupts wanted or not. After "on" look at the ring once more (virtq_pending): what came before raises none. Single stores,
 * so that an interrupt handler may say "off" inside anything here; at worst one more interrupt comes.
 */
static inline void virtq_irq(struct virtq_drv *q, bool on)
{
	WRITE_ONCE(q->irq, on);
	if (q->event) /* the buffer whose return is to be heard: the next one, or the last one, which is 65,535 buffers away */
		WRITE_ONCE(q->mem->avail.ring[q->size], (u16)(on ? q->taken : q->taken - 1));
	else
		WRITE_ONCE(q->mem->avail.flags, on ? 0 : VIRTQ_AVAIL_NO_INTERRUPT);
	mfence();
}

/*
 * After buffers were taken: by event index the wish is about one buffer, so it moves with them. Off: before those 65,535 have passed. On:
 * the next one is to be heard; true if it came before that was said, which raises no interrupt: look again.
 */
static inline bool virtq_irq_renew(struct virtq_drv *q)
{
	bool on = READ_ONCE(q->irq);
	if (!q->event)
		return false;
	WRITE_ONCE(q->mem->avail.ring[q->size], (u16)(on ? q->taken : q->taken - 1));
	if (!on)
		return false;
	mfence();
	return virtq_pending(q);
}

#endif
