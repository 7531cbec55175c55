/*
 * Build tool: closes a plugin's image (core/plugin.h). Fills in its length and checksum, in place, when the rest is as it must be.
 *
 * Usage: seal IMAGE
 */
#include <stdio.h>
#include <string.h>

#include "core/crc32.h"
#include "core/plugin.h"

static u8 image[NIC_PLUGIN_IMAGE_MAX];

static const char *wrong(const struct nic_plugin_image *h, size_t len)
{
	const u32 *offset = &h->start;

	if (len < sizeof(*h) || len >= sizeof(image))
		return "length";
	if (memcmp(h->magic, NIC_PLUGIN_MAGIC, sizeof(h->magic)) || h->abi != NIC_PLUGIN_ABI || h->header_len != sizeof(*h))
		return "magic, ABI version or length of the header";
	for (; offset <= &h->stats; offset++)
		if (*offset < sizeof(*h) || *offset >= len)
			return "offset of a function";
	return NULL;
}

int main(int argc, char **argv)
{
	struct nic_plugin_image h;
	FILE *f = argc == 2 ? fopen(argv[1], "r+b") : NULL;
	size_t len = f ? fread(image, 1, sizeof(image), f) : 0;
	const char *what;

	memcpy(&h, image, sizeof(h));
	if ((what = f ? wrong(&h, len) : "no such file")) {
		fprintf(stderr, "seal: %s: wrong: %s\n", argc == 2 ? argv[1] : "usage: seal IMAGE", what);
		return 1;
	}
	h.image_len = (u32)len;
	h.crc = 0;
	memcpy(image, &h, sizeof(h));
	h.crc = crc32(0, image, len);
	rewind(f);
	return fwrite(&h, sizeof(h), 1, f) != 1 || fclose(f) ? 1 : 0;
}
