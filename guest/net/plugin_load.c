/*
 * Plugin images (plugin_load.h).
 */
#include "guest/net/plugin_load.h"

#include <stdio.h>
#include <string.h>

#include "core/crc32.h"
#include "guest/net/port.h"

#define STATE_MAX (64 * 1024u)
#define DMA_MAX (8 * SIZE_2M)

static bool licence_accepted(const char tag[16])
{
	static const char *const accepted[] = NIC_PLUGIN_LICENCES;

	for (u32 i = 0; i < ARRAY_SIZE(accepted); i++)
		if (!strncmp(tag, accepted[i], 16))
			return true;
	return false;
}

static bool functions_inside(const struct nic_plugin_image *h)
{
	for (const u32 *offset = &h->start; offset <= &h->stats; offset++)
		if (*offset < h->header_len || *offset >= h->image_len)
			return false;
	return true;
}

static u32 checksum(const struct nic_plugin_image *image)
{
	struct nic_plugin_image h = *image;

	h.crc = 0;
	return crc32(crc32(0, &h, sizeof(h)), image + 1, image->image_len - sizeof(h));
}

const char *plugin_check(const void *image, u64 len, u32 family)
{
	const struct nic_plugin_image *h = image;

	if (len < sizeof(*h) || len > NIC_PLUGIN_IMAGE_MAX)
		return "size";
	if (memcmp(h->magic, NIC_PLUGIN_MAGIC, sizeof(h->magic)))
		return "no plugin";
	if (h->image_len != len)
		return "length differs from what arrived";
	if (h->crc != checksum(h))
		return "checksum";
	if (h->abi != NIC_PLUGIN_ABI || h->header_len != sizeof(*h) || h->reserved || h->reserved2)
		return "version of the contract";
	if (h->family != family)
		return "another family of devices";
	if (!memchr(h->licence, 0, sizeof(h->licence)) || !memchr(h->name, 0, sizeof(h->name)) || !licence_accepted(h->licence))
		return "licence";
	if (!h->state_len || h->state_len > STATE_MAX || !h->dma_len || h->dma_len > DMA_MAX)
		return "memory that it wants";
	return functions_inside(h) ? NULL : "function outside the image";
}

void plugin_bind(const void *image, struct nic_plugin_ops *out)
{
	const struct nic_plugin_image *h = image;
	u64 at = (u64)image;

	*out = (struct nic_plugin_ops){
		.abi = h->abi, .size = sizeof(*out), .state_len = h->state_len, .dma_len = h->dma_len,
		.start = (int (*)(void *, const struct nic_plugin_env *))(at + h->start),
		.stop = (int (*)(void *))(at + h->stop),
		.tx = (int (*)(void *, const u8 *, u32))(at + h->tx),
		.tx_kick = (void (*)(void *))(at + h->tx_kick),
		.tx_pending = (u32 (*)(void *))(at + h->tx_pending),
		.rx_poll = (u32 (*)(void *, u32))(at + h->rx_poll),
		.rx_before = (int (*)(const void *, u32))(at + h->rx_before),
		.irq_enable = (void (*)(void *, bool))(at + h->irq_enable),
		.stats = (void (*)(const void *, struct nic_plugin_stats *))(at + h->stats),
	};
	memcpy(out->name, h->name, sizeof(out->name));
}

/* All pieces; the length, or -errno. */
static s64 fetch(u32 port, u8 *memory)
{
	u64 len = 0;

	while (len < NIC_PLUGIN_IMAGE_MAX) {
		s64 n = port_plugin(port, (u32)len, memory + len);
		if (n < 0)
			return n;
		len += (u64)n;
		if (n < (s64)NEST_PLUGIN_PIECE)
			return (s64)len;
	}
	return -EINVAL;
}

int plugin_load(u32 port, u32 family, u8 *memory, struct nic_plugin_ops *out)
{
	s64 len = fetch(port, memory);
	const char *wrong = len < 0 ? NULL : plugin_check(memory, (u64)len, family);

	if (len < 0) {
		printf("guest: nic: plugin: error %d\n", (int)len);
		return (int)len;
	}
	if (wrong) {
		printf("guest: nic: plugin refused: %s\n", wrong);
		return -EINVAL;
	}
	plugin_bind(memory, out);
	return 0;
}
