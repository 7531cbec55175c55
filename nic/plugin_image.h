/*
 * The plugin for virtual functions of the 82576 that this image carries, to be handed up the chain (HC_NIC_PLUGIN). Weak: an image
 * may be linked without one.
 */
#ifndef NIC_PLUGIN_IMAGE_H
#define NIC_PLUGIN_IMAGE_H

#include "core/types.h"

extern const u8 igbvf_plugin_image[] __attribute__((weak));
extern const u32 igbvf_plugin_len __attribute__((weak));

#endif
