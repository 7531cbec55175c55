/*
 * A virtio device's registers as a driver uses them (VIRTIO 1.2, Virtio Over PCI Bus; Device Initialization): where they are,
 * reset, features, queues. For our own driver (nic/upstream_dev.c) and the guest's plugin: no library, no waiting.
 *
 * Invariant: `common` is the mapped common configuration; each register is accessed with its own width, 64-bit ones as two halves.
 */
#ifndef NIC_VIRTIO_PCI_H
#define NIC_VIRTIO_PCI_H

#include "core/errno.h"
#include "core/x86.h"
#include "nic/virtq_drv.h"

#define VIRTIO_COMMON(reg) offsetof(struct virtio_common, reg)

/* ---- where they are ---- */

struct virtio_place { bool found; u8 bar; u32 offset, length; };
/* By VIRTIO_CAP_*. notify_multiplier: bytes between the notifications of two queues. */
struct virtio_places { struct virtio_place at[VIRTIO_CAP_DEVICE + 1]; u32 notify_multiplier; };

/*
 * Walk the capabilities of a function; the first of a kind counts. read: 32 bits of its configuration space. 0, -ENODEV (one
 * is missing or makes no sense).
 */
static inline int virtio_find(u32 (*read)(void *arg, u32 offset), void *arg, struct virtio_places *out)
{
	u32 at = read(arg, 4) >> 16 & 0x10 ? read(arg, 0x34) & 0xfc : 0;
	*out = (struct virtio_places){ .notify_multiplier = 0 };
	for (u32 n = 0; n < 48 && at >= 0x40; n++) { /* as many as there is room for: a longer list is a loop */
		u32 head = read(arg, at), type = head >> 24;
		if ((head & 0xff) == 9 && type >= VIRTIO_CAP_COMMON && type <= VIRTIO_CAP_DEVICE && !out->at[type].found) {
			out->at[type] = (struct virtio_place){ true, (u8)read(arg, at + 4), read(arg, at + 8), read(arg, at + 12) };
			if (type == VIRTIO_CAP_NOTIFY)
				out->notify_multiplier = read(arg, at + 16);
		}
		at = head >> 8 & 0xfc;
	}
	for (u32 type = VIRTIO_CAP_COMMON; type <= VIRTIO_CAP_DEVICE; type++) {
		const struct virtio_place *p = &out->at[type];
		if (!p->found || p->bar > 5 || p->offset + p->length < p->offset)
			return -ENODEV;
	}
	return out->at[VIRTIO_CAP_COMMON].length < VIRTIO_COMMON(queue_notify_data) ? -ENODEV : 0;
}

/* ---- status ---- */

static inline u8 virtio_status(volatile u8 *common) { return mmio_read8(common + VIRTIO_COMMON(device_status)); }
static inline void virtio_status_add(volatile u8 *common, u8 bits)
{
	mmio_write8(common + VIRTIO_COMMON(device_status), virtio_status(common) | bits);
}
/* The device stops when virtio_status reads 0: the caller waits, with a bound. */
static inline void virtio_reset(volatile u8 *common) { mmio_write8(common + VIRTIO_COMMON(device_status), 0); }

/* ---- features ---- */

static inline u64 virtio_offered(volatile u8 *common)
{
	mmio_write32(common + VIRTIO_COMMON(device_feature_select), 1);
	u64 high = mmio_read32(common + VIRTIO_COMMON(device_feature));
	mmio_write32(common + VIRTIO_COMMON(device_feature_select), 0);
	return high << 32 | mmio_read32(common + VIRTIO_COMMON(device_feature));
}

/* After a reset: from ACKNOWLEDGE to FEATURES_OK with what is both wanted and offered. -EIO: need is not, or the device refuses. */
static inline int virtio_negotiate(volatile u8 *common, u64 want, u64 need, u64 *features)
{
	virtio_status_add(common, VIRTIO_STATUS_ACKNOWLEDGE);
	virtio_status_add(common, VIRTIO_STATUS_DRIVER);
	*features = virtio_offered(common) & (want | need);
	if ((*features & need) != need)
		return -EIO;
	for (u32 half = 0; half < 2; half++) {
		mmio_write32(common + VIRTIO_COMMON(driver_feature_select), half);
		mmio_write32(common + VIRTIO_COMMON(driver_feature), (u32)(*features >> half * 32));
	}
	virtio_status_add(common, VIRTIO_STATUS_FEATURES_OK);
	return virtio_status(common) & VIRTIO_STATUS_FEATURES_OK ? 0 : -EIO;
}

/* ---- queues and vectors ---- */

static inline void virtio_write_address(volatile u8 *reg, u64 v)
{
	mmio_write32(reg, (u32)v);
	mmio_write32(reg + 4, (u32)(v >> 32));
}

/* Largest size of a queue, 0: there is none. Leaves it selected. */
static inline u16 virtio_queue_max(volatile u8 *common, u16 index)
{
	mmio_write16(common + VIRTIO_COMMON(queue_select), index);
	return mmio_read16(common + VIRTIO_COMMON(queue_size));
}

/* The device takes the vector, or says VIRTIO_NO_VECTOR. */
static inline int virtio_vector(volatile u8 *reg, u16 vector)
{
	mmio_write16(reg, vector);
	return mmio_read16(reg) == vector ? 0 : -EIO;
}
static inline int virtio_config_vector(volatile u8 *common, u16 vector)
{
	return virtio_vector(common + VIRTIO_COMMON(config_msix_vector), vector);
}

/*
 * Set up and enable the selected queue. mem: the device's address of a struct virtq_mem. 0 and *notify_off, by which its
 * notification is found; -EIO (the vector).
 */
static inline int virtio_queue_start(volatile u8 *common, u16 size, u16 vector, u64 mem, u16 *notify_off)
{
	mmio_write16(common + VIRTIO_COMMON(queue_size), size);
	int r = virtio_vector(common + VIRTIO_COMMON(queue_msix_vector), vector);
	if (r)
		return r;
	virtio_write_address(common + VIRTIO_COMMON(queue_desc), mem + offsetof(struct virtq_mem, desc));
	virtio_write_address(common + VIRTIO_COMMON(queue_driver), mem + offsetof(struct virtq_mem, avail));
	virtio_write_address(common + VIRTIO_COMMON(queue_device), mem + offsetof(struct virtq_mem, used));
	*notify_off = mmio_read16(common + VIRTIO_COMMON(queue_notify_off));
	mmio_write16(common + VIRTIO_COMMON(queue_enable), 1);
	return 0;
}

#endif
