/*
 * The device's side of a split virtqueue (VIRTIO 1.2, Split Virtqueues), in the memory of a VM that nobody trusts.
 *
 * Invariant: every index, address, length and flag of the driver is read once into a copy of ours and checked there; each walk is
 * bounded by the size of the queue; data is reached through vm_read and vm_write only, the rings also through pointers that were
 * checked when the queue was set up (RAM of a VM stays while the VM exists). What the specification forbids is -EINVAL, an
 * address outside the VM's memory -EFAULT: the caller stops the device. Nothing here takes a lock; the caller's covers the queue.
 */
#ifndef NIC_VIRTQ_DEV_H
#define NIC_VIRTQ_DEV_H

#include "core/vm.h"
#include "nic/virtio.h"

/* Guest memory that we look at again and again; at: ours, NULL if it is not in one piece. */
struct vqd_area { u64 gpa; u8 *at; };

struct virtq_dev {
	struct vm *vm;
	u16 size;            /* 0: not in use */
	bool event_idx, indirect;
	u16 last_avail;      /* buffers taken from the available ring */
	u16 used;            /* buffers given back */
	u16 told;            /* of these, when we last asked whether to interrupt */
	struct vqd_area desc, avail, ring; /* ring: the used ring */
};

/* One buffer, copied: the parts the device may read, then the parts it may write. */
struct vqd_seg { u64 gpa; u32 len; };
struct vqd_chain {
	u16 head;
	u16 nr, nr_read;
	u64 read_len, write_len;
	struct vqd_seg seg[VIRTQ_MAX];
};

/* Begin with the rings at these addresses. size: a power of two up to VIRTQ_MAX. -EINVAL (alignment), -EFAULT. */
int vqd_start(struct virtq_dev *q, struct vm *vm, u16 size, u64 desc, u64 avail, u64 used, u64 features) __must_check;
static inline void vqd_stop(struct virtq_dev *q) { *q = (struct virtq_dev){ .vm = q->vm }; }

/* Buffers there to take: 0..size, -EINVAL. */
int vqd_available(struct virtq_dev *q) __must_check;
/* Copy buffer k of those available, without taking it. */
int vqd_peek(struct virtq_dev *q, u32 k, struct vqd_chain *c) __must_check;
/* Bytes [off, off + len) of a buffer's readable part; into its writable part. -EINVAL: it is shorter. */
int vqd_read(struct virtq_dev *q, const struct vqd_chain *c, u64 off, void *buf, u64 len) __must_check;
int vqd_write(struct virtq_dev *q, const struct vqd_chain *c, u64 off, const void *buf, u64 len) __must_check;
/* Note buffer k as used with len bytes written; then let the driver see n of them at once: they are taken. */
int vqd_use(struct virtq_dev *q, u32 k, u16 head, u32 len) __must_check;
int vqd_publish(struct virtq_dev *q, u32 n) __must_check;

/* Kicks are not wanted for now. */
int vqd_suppress(struct virtq_dev *q) __must_check;
/* A kick is wanted for every buffer that comes after those available now, whose number is returned; -EINVAL, -EFAULT. */
int vqd_arm(struct virtq_dev *q) __must_check;
/* The driver wants an interrupt for what was published since the last call. */
bool vqd_interrupts(struct virtq_dev *q);

#endif
