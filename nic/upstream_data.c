/*
 * Frames of inner instances: our driver of the outer's virtio-net device.
 */
#include "core/errno.h"
#include "nic/upstream.h"

static int data_start(struct nic_lower *l)
{
	(void)l;
	return -ENODEV;
}

const struct nic_data_ops upstream_data = { .start = data_start };
