/*
 * The emulated device, inside: what its files share (vnet.h is the outside).
 *
 *   vnet_pci.c   configuration space, BARs      vnet_regs.c  virtio's registers, status      vnet_msix.c  vectors, interrupts
 *   vnet_tx.c    transmit queue, fence          vnet_rx.c    receive queue, filter, END      vnet_ctrl.c  control queue
 *   vnet.c       life: create, start, stop, break; configuration, statistics
 *
 * Invariant: locks in the order PCI bus of the VM, ctrl, tx, rx, irq; a queue is touched under its own (receive: rx, transmit:
 * tx, control: ctrl). The lower link's start, stop and rx_filter are called under ctrl alone, tx, tx_flush and fence under tx,
 * rx_more under none; vm_arch->msi under irq.
 */
#ifndef NIC_VNET_PRIV_H
#define NIC_VNET_PRIV_H

#include "nic/frame.h"
#include "nic/virtq_dev.h"
#include "nic/vnet.h"

#define VNET_QUEUES 3
#define VNET_BARS 2
#define VNET_FRAME_MIN 14u
#define VNET_FRAME_MAX (9216u + 4u)  /* with a tag of the guest's own */
#define VNET_BUFFER (VNET_FRAME_MAX + 8u) /* … and an E-TAG, where the driver is an extender */
#define VNET_ORDER 3

#define F(name) BIT(VIRTIO_NET_F_##name)
#define VNET_FEATURES (BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_RING_EVENT_IDX) | BIT(VIRTIO_F_RING_INDIRECT_DESC) | F(MTU) | \
		       F(MAC) | F(MRG_RXBUF) | F(STATUS) | F(CTRL_VQ) | F(CTRL_RX) | F(CTRL_VLAN) | F(CTRL_MAC_ADDR))
/* These make sense with a control queue only. */
#define VNET_NEED_CTRL (F(CTRL_RX) | F(CTRL_VLAN) | F(CTRL_MAC_ADDR))

struct vnet_msix { u64 addr; u32 data, control; };

/* A queue's registers, as the driver wrote them. */
struct vnet_queue_regs { u16 size; bool enabled; u64 desc, driver, device; };

struct vnet {
	struct vm *vm;
	struct nic_port *port;
	struct nic_lower *lower;
	const struct nic_data_ops *data; /* where its frames go: an extender, or the lower link itself */
	rid_t rid;
	/* PCI bus's lock */
	u32 cfg[64];                 /* configuration space */
	u64 bar_at[VNET_BARS];       /* where a BAR is decoded now, 0: nowhere */
	u32 command;                 /* (atomic) as in cfg */
	/* ctrl */
	spinlock_t ctrl;
	u8 status;                   /* without NEEDS_RESET, which is `broken` */
	u64 features;                /* the driver's */
	bool strange;                /* it wrote features above 63 */
	u32 device_select, driver_select;
	u16 queue_select;
	struct vnet_queue_regs regs[VNET_QUEUES];
	bool started;                /* the lower link is */
	/* written under ctrl, tx and rx together: any one of them keeps it */
	bool running;                /* DRIVER_OK */
	bool broken;                 /* (atomic) the driver broke the rules: only a reset helps */
	/* irq, a leaf */
	spinlock_t irq;
	struct vnet_msix msix[VNET_VECTORS];
	u32 msix_control, pending;
	u16 config_vector, queue_vector[VNET_QUEUES];
	u8 isr, generation;
	u64 mac;                     /* mac_key(); read without the lock, too */
	u16 link, mtu;               /* as in struct virtio_net_config; mtu: read without the lock, too */
	u32 tag_room;                /* (atomic) bytes of an E-TAG that its frames may have */
	bool own_vlan;               /* the port has a VLAN: the guest's tags are not filtered */
	/* tx */
	spinlock_t tx;
	u64 tx_packets, tx_bytes;
	/* rx */
	spinlock_t rx;
	bool starved;                /* a frame or a mark waits for buffers */
	u32 ends;                    /* END marks that wait for buffers */
	struct nic_rx_filter filter;
	u64 group[NEST_MAX_GROUPS];  /* filter.group as mac_key() */
	bool filter_vlans;
	u32 vlans[4096 / 32];
	u64 rx_packets, rx_bytes, rx_multicast, dropped;
	/* each under its queue's lock */
	struct virtq_dev vq[VNET_QUEUES];
	struct vqd_chain chain[VNET_QUEUES];
	struct vqd_chain rx_next;    /* the second and later buffers of a merged frame */
	struct virtio_net_hdr tx_hdr; /* and behind it, so that one copy fetches both */
	u8 tx_frame[VNET_BUFFER];
	bool allmulti, overflow;     /* ctrl: why filter.all_groups is set */
};
_Static_assert(sizeof(struct vnet) <= PAGE_SIZE << VNET_ORDER, "one allocation");
_Static_assert(offsetof(struct vnet, tx_frame) == offsetof(struct vnet, tx_hdr) + sizeof(struct virtio_net_hdr), "adjacent");

static inline u64 mac_key(const u8 *m)
{
	return (u64)m[0] << 40 | (u64)m[1] << 32 | (u64)m[2] << 24 | (u64)m[3] << 16 | (u64)m[4] << 8 | m[5];
}
#define MAC_BROADCAST 0xffffffffffffull
#define MAC_GROUP BIT(40)

#define VNET_ETHERTYPE_VLAN 0x8100

/* A frame of possible length, and no longer than the MTU and, not counted in that, the E-TAG of an extender and a tag of the guest's own. */
static inline bool vnet_frame_fits(const struct vnet *d, const u8 *frame, u64 len)
{
	u32 room = READ_ONCE(d->tag_room);
	if (len < VNET_FRAME_MIN || len > VNET_FRAME_MAX + room)
		return false;
	u32 tags = room && len >= VNET_FRAME_MIN + room && frame_type(frame) == FRAME_TYPE_ETAG ? room : 0;
	if (len >= VNET_FRAME_MIN + tags + 4 && frame_type(frame + tags) == VNET_ETHERTYPE_VLAN)
		tags += 4;
	return len <= READ_ONCE(d->mtu) + VNET_FRAME_MIN + tags;
}

/* It may move frames. Exact under tx or rx. */
static inline bool vnet_works(const struct vnet *d)
{
	return READ_ONCE(d->running) && !READ_ONCE(d->broken) && READ_ONCE(d->command) & PCI_COMMAND_MASTER;
}

/* ---- vnet.c ---- */
/* The driver broke the rules: nothing moves until it resets the device. Under any lock but irq. */
void vnet_break(struct vnet *d, const char *what);
/* Stop the lower link if it runs for a device that cannot go on. Under ctrl. */
void vnet_settle(struct vnet *d);
/* Status register written. Under ctrl. */
void vnet_set_status(struct vnet *d, u8 value);
/* A queue's lock; ctrl is held. */
void vnet_queue_lock(struct vnet *d, u32 q);
void vnet_queue_unlock(struct vnet *d, u32 q);

/* ---- vnet_pci.c ---- */
int vnet_pci_plug(struct vnet *d);
void vnet_pci_unplug(struct vnet *d);

/* ---- vnet_regs.c: BAR0; under no lock of the device ---- */
u64 vnet_regs_read(struct vnet *d, u64 offset, u32 size);
void vnet_regs_write(struct vnet *d, u64 offset, u32 size, u64 value);

/* ---- vnet_msix.c ---- */
/* BAR1. */
u64 vnet_msix_read(struct vnet *d, u64 offset, u32 size);
void vnet_msix_write(struct vnet *d, u64 offset, u32 size, u64 value);
/* Message Control written (its upper 16 bits as in configuration space), or bus mastering. */
void vnet_msix_control(struct vnet *d, u32 control);
void vnet_irq_queue(struct vnet *d, u32 q);
void vnet_irq_config(struct vnet *d);
void vnet_irq_reset(struct vnet *d);

/* ---- queues; under no lock of the device ---- */
void vnet_tx_kick(struct vnet *d);
void vnet_rx_kick(struct vnet *d);
void vnet_ctrl_kick(struct vnet *d);
/* Filter of a device that was reset, or that begins with these features. Under ctrl. */
void vnet_ctrl_default(struct vnet *d);

#endif
