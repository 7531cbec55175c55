/*
 * Virtio as both sides see it: registers, rings, the network device (Virtual I/O Device (VIRTIO) Version 1.2: Split Virtqueues, Virtio
 * Over PCI Bus, Network Device). Shared by the device (nic/vnet*.c), our driver (nic/upstream_data.c) and the guest's plugin.
 *
 * Invariant: only layouts and constants; everything is little-endian.
 */
#ifndef NIC_VIRTIO_H
#define NIC_VIRTIO_H

#include "core/types.h"

#define VIRTIO_PCI_VENDOR 0x1af4u
#define VIRTIO_PCI_NET 0x1041u

/* Vendor-specific PCI capability (PCI_CAP_ID_VNDR = 9). */
struct virtio_pci_cap { u8 id, next, len, type, bar, cap_id, pad[2]; u32 offset, length; };
#define VIRTIO_CAP_COMMON 1
#define VIRTIO_CAP_NOTIFY 2     /* followed by u32 notify_off_multiplier */
#define VIRTIO_CAP_ISR 3
#define VIRTIO_CAP_DEVICE 4
#define VIRTIO_CAP_PCI_CFG 5    /* followed by u32 data */
_Static_assert(sizeof(struct virtio_pci_cap) == 16, "virtio PCI capability");

struct virtio_common {
	u32 device_feature_select, device_feature, driver_feature_select, driver_feature;
	u16 config_msix_vector, num_queues;
	u8 device_status, config_generation;
	u16 queue_select, queue_size, queue_msix_vector, queue_enable, queue_notify_off;
	u64 queue_desc, queue_driver, queue_device;
	u16 queue_notify_data, queue_reset;
};
_Static_assert(offsetof(struct virtio_common, queue_desc) == 32, "virtio common configuration");
#define VIRTIO_NO_VECTOR 0xffffu
#define VIRTIO_STATUS_ACKNOWLEDGE 1
#define VIRTIO_STATUS_DRIVER 2
#define VIRTIO_STATUS_DRIVER_OK 4
#define VIRTIO_STATUS_FEATURES_OK 8
#define VIRTIO_STATUS_NEEDS_RESET 0x40
#define VIRTIO_STATUS_FAILED 0x80
#define VIRTIO_ISR_QUEUE 1
#define VIRTIO_ISR_CONFIG 2

/* Features, by bit number. */
#define VIRTIO_NET_F_MTU 3
#define VIRTIO_NET_F_MAC 5
#define VIRTIO_NET_F_MRG_RXBUF 15
#define VIRTIO_NET_F_STATUS 16
#define VIRTIO_NET_F_CTRL_VQ 17
#define VIRTIO_NET_F_CTRL_RX 18
#define VIRTIO_NET_F_CTRL_VLAN 19
#define VIRTIO_NET_F_CTRL_MAC_ADDR 23
#define VIRTIO_F_RING_INDIRECT_DESC 28
#define VIRTIO_F_RING_EVENT_IDX 29
#define VIRTIO_F_VERSION_1 32

struct virtq_desc { u64 addr; u32 len; u16 flags, next; };
#define VIRTQ_DESC_NEXT 1
#define VIRTQ_DESC_WRITE 2
#define VIRTQ_DESC_INDIRECT 4
struct virtq_used_elem { u32 id, len; };
/* available ring: u16 flags, idx, ring[n], used_event; used ring: u16 flags, idx, struct virtq_used_elem ring[n], u16 avail_event */
#define VIRTQ_AVAIL_NO_INTERRUPT 1
#define VIRTQ_USED_NO_NOTIFY 1
#define VIRTQ_MAX 256u
_Static_assert(sizeof(struct virtq_desc) == 16 && sizeof(struct virtq_used_elem) == 8, "virtqueue");
/* event: the other side wants to hear of it when idx passes it (VIRTIO 1.2, Used Buffer Notification Suppression). */
static inline bool virtq_need_event(u16 event, u16 new_idx, u16 old_idx)
{
	return (u16)(new_idx - event - 1) < (u16)(new_idx - old_idx);
}

struct virtio_net_config { u8 mac[6]; u16 status, max_virtqueue_pairs, mtu; };
#define VIRTIO_NET_S_LINK_UP 1
struct virtio_net_hdr { u8 flags, gso_type; u16 hdr_len, gso_size, csum_start, csum_offset, num_buffers; };
_Static_assert(sizeof(struct virtio_net_hdr) == 12, "virtio-net header");
#define VIRTIO_NET_RXQ 0
#define VIRTIO_NET_TXQ 1
#define VIRTIO_NET_CTRLQ 2
/* Control queue: class, command, data, then a status byte. */
#define VIRTIO_NET_CTRL_RX 0
#define VIRTIO_NET_CTRL_RX_PROMISC 0
#define VIRTIO_NET_CTRL_RX_ALLMULTI 1
#define VIRTIO_NET_CTRL_MAC 1
#define VIRTIO_NET_CTRL_MAC_TABLE_SET 0
#define VIRTIO_NET_CTRL_MAC_ADDR_SET 1
#define VIRTIO_NET_CTRL_VLAN 2
#define VIRTIO_NET_CTRL_VLAN_ADD 0
#define VIRTIO_NET_CTRL_VLAN_DEL 1
#define VIRTIO_NET_OK 0
#define VIRTIO_NET_ERR 1

/* Our device: BAR0, 16 KiB of memory; its capabilities say the same. MSI-X: BAR1, 4 KiB, table at 0, pending bits at 2048. */
#define VNET_BAR0_LEN 0x4000u
#define VNET_COMMON 0x0000u
#define VNET_ISR 0x1000u
#define VNET_DEVICE 0x2000u
#define VNET_NOTIFY 0x3000u
#define VNET_NOTIFY_MULTIPLIER 4u /* queue q is kicked by a write to VNET_NOTIFY + 4q */
#define VNET_BAR1_LEN 0x1000u
#define VNET_VECTORS 4u

#endif
