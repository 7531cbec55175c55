/*
 * The plugin that a guest drives a VF of the 82576 with: handed up the chain piece by piece.
 *
 * Invariant: what is handed out is the image as it was linked in, or nothing.
 */
#include <string.h>

#include "core/errno.h"
#include "nic/igb.h"
#include "nic/plugin_image.h"

u32 igb_plugin_len(void) { return igbvf_plugin_image ? igbvf_plugin_len : 0; }

int igb_plugin(struct nic_lower *l, u32 offset, u8 *piece)
{
	u32 len = igb_plugin_len();
	(void)l;
	if (!len)
		return -ENOENT;
	if (offset >= len)
		return 0;
	u32 n = MIN(len - offset, (u32)PAGE_SIZE);
	memcpy(piece, igbvf_plugin_image + offset, n);
	return (int)n;
}
