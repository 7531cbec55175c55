/*
 * Plugin images: fetched from the outermost level, checked, made callable.
 *
 * Invariant: nothing of an image is called before plugin_check accepted all of it.
 */
#ifndef GUEST_NET_PLUGIN_LOAD_H
#define GUEST_NET_PLUGIN_LOAD_H

#include "core/plugin.h"

/*
 * Is this an image for ports of this family, whole, unaltered, of a licence that we accept, with all functions inside? NULL, or
 * what is wrong.
 */
const char *plugin_check(const void *image, u64 len, u32 family);
/* The functions of an accepted image, where it lies. */
void plugin_bind(const void *image, struct nic_plugin_ops *out);
/* Fetch the port's image into memory (NIC_PLUGIN_IMAGE_MAX bytes, page aligned), check and bind it. 0, -errno; says why. */
int plugin_load(u32 port, u32 family, u8 *memory, struct nic_plugin_ops *out);

#endif
