/*
 * The emulated device of a port (vnet.h).
 */
#include "nic/vnet.h"

int vnet_create(struct vnet **out, struct nic_port *p) { (void)p; *out = NULL; return 0; }
void vnet_destroy(struct vnet *d) { (void)d; }
rid_t vnet_rid(const struct vnet *d) { (void)d; return RID(0, 0, 0); }
int vnet_rx(struct vnet *d, const u8 *frame, u32 len) { (void)d, (void)frame, (void)len; return 0; }
void vnet_rx_dropped(struct vnet *d) { (void)d; }
void vnet_rx_flush(struct vnet *d) { (void)d; }
void vnet_rx_end(struct vnet *d) { (void)d; }
void vnet_changed(struct vnet *d) { (void)d; }
int vnet_fence(struct vnet *d) { (void)d; return 0; }
bool vnet_running(const struct vnet *d) { (void)d; return false; }
void vnet_stats(struct vnet *d, struct nest_nic_stats *out) { (void)d, (void)out; }
