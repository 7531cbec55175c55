/*
 * The emulated device of a port: virtio-net, modern, on the VM's PCI bus (Virtual I/O Device (VIRTIO) Version 1.2, Network
 * Device; Virtio Over PCI Bus).
 *
 * Function 00:(port + 1).0, vendor 1AF4, device 1041. BARs and rings are as in nic/virtio.h. Offered: VERSION_1, MAC, STATUS,
 * MTU, CTRL_VQ, CTRL_RX, CTRL_VLAN, CTRL_MAC_ADDR, MRG_RXBUF, RING_EVENT_IDX, RING_INDIRECT_DESC; one receive, one transmit, one
 * control queue. No offloads: every frame is complete.
 *
 * Locks: ctrl (registers, control queue, start and stop of the lower link), tx, rx; in this order of taking, and rx alone may be
 * taken by the lower link's data road. Under none of them a port's lock is waited for; the port's lock comes before tx and rx; ctrl is
 * never taken under the port's lock (core/spinlock.h has the order of all).
 *
 * Invariant: nothing of a queue is trusted: indices, addresses, lengths and flags are read once each and checked at each use;
 * what the specification forbids sets DEVICE_NEEDS_RESET and stops the device until the driver resets it, and touches nobody
 * else.
 */
#ifndef NIC_VNET_H
#define NIC_VNET_H

#include "nic/nic.h"

struct vnet;

/* Plug the device of a port into its VM's bus; before the VM runs. Memory is charged to the VM. 0, -ENOMEM, -ENOSPC. */
int vnet_create(struct vnet **out, struct nic_port *p) __must_check;
/* The VM has ended and none of its vCPUs runs: stop the lower link, free. */
void vnet_destroy(struct vnet *d);
/* PCI function, for nest_nic_info.emu_rid. */
rid_t vnet_rid(const struct vnet *d);

/* The lower link's frames: see nic_port_rx and its family in nic/nic.h. Take the rx lock. */
int vnet_rx(struct vnet *d, const u8 *frame, u32 len);
void vnet_rx_dropped(struct vnet *d);
void vnet_rx_flush(struct vnet *d);
void vnet_rx_end(struct vnet *d);
/*
 * Configuration space may have changed (link; or ask HC_NIC_INFO): ask the lower link, and interrupt if the driver wants it. Under the
 * port's lock.
 */
void vnet_changed(struct vnet *d);

/*
 * Hand every buffer that the driver had made available in the transmit queue to the lower link, then its fence. 0 (also when the
 * device is not running), -ETIMEDOUT. With the port's lock; takes tx.
 */
int vnet_fence(struct vnet *d);
/* The driver has set DRIVER_OK and the device works. */
bool vnet_running(const struct vnet *d);
/* Adds the device's own counts (emu_ members, dropped) to out; also to the totals of packets and bytes. */
void vnet_stats(struct vnet *d, struct nest_nic_stats *out);

#endif
