/*
 * The virtio plugin: built in; drives the emulated device of a port (nic/virtio.h) below the shell.
 *
 * Invariant: as core/plugin.h, with env->regs the device's BAR0; page 0 of it, the common configuration, is touched by start and
 * stop only.
 */
#ifndef GUEST_NET_VIRTIO_PLUGIN_H
#define GUEST_NET_VIRTIO_PLUGIN_H

#include "core/plugin.h"

/* Entries of the device's MSI-X table that start gives it, as far as they are routed (env->vectors). */
#define VIRTIO_PLUGIN_RX_ENTRY 0u
#define VIRTIO_PLUGIN_CONFIG_ENTRY 1u

extern const struct nic_plugin_ops virtio_plugin;

#endif
