/*
 * The upstream driver, inside: control by hypercalls (upstream.c), frames through the outer's emulated device
 * (upstream_data.c, which owns everything under `data`).
 */
#ifndef NIC_UPSTREAM_H
#define NIC_UPSTREAM_H

#include "nic/nic.h"

struct upstream_net; /* our end of the outer's virtio-net device of this port; made on the first start */

struct upstream {
	u32 port;            /* of ours, at the outer */
	u64 handle;          /* of the function, while open */
	struct upstream_net *data;
};

extern const struct nic_data_ops upstream_data;

#endif
