/*
 * libFuzzer: E-TAGs from the wire (nic/etag.c). An input is a frame.
 *
 * Invariant that is tested: codec_any_bytes() of tests/unit/codecs.h; and a tag comes off, and back on, in place as it does apart.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/codecs.h"

int LLVMFuzzerTestOneInput(const u8 *bytes, size_t len);

#define CHECK(cond) do { if (!(cond)) panic("check failed: " #cond); } while (0)

/* A frame without the reserved bits that do not come back. */
static void in_place(const u8 *bytes, u32 len)
{
	u8 *frame = malloc(len), *apart = malloc(len - ETAG_LEN);
	struct etag t;
	CHECK(frame && apart);
	memcpy(frame, bytes, len);
	frame[16] &= 0x3f;
	CHECK(etag_strip(apart, len - ETAG_LEN, frame, len, &t) == (int)(len - ETAG_LEN));

	CHECK(etag_strip(frame + ETAG_LEN, len - ETAG_LEN, frame, len, NULL) == (int)(len - ETAG_LEN));
	CHECK(!memcmp(frame + ETAG_LEN, apart, len - ETAG_LEN));
	CHECK(etag_insert(frame, len, frame + ETAG_LEN, len - ETAG_LEN, &t) == (int)len);

	CHECK(etag_strip(frame, len, frame, len, NULL) == (int)(len - ETAG_LEN));
	CHECK(!memcmp(frame, apart, len - ETAG_LEN));
	CHECK(etag_insert(frame, len, frame, len - ETAG_LEN, &t) == (int)len);
	frame[16] |= bytes[16] & 0xc0;
	CHECK(!memcmp(frame, bytes, len));
	free(frame);
	free(apart);
}

int LLVMFuzzerTestOneInput(const u8 *bytes, size_t len)
{
	if (codec_any_bytes(&codec_etag, bytes, (u32)len, NULL, NULL))
		in_place(bytes, (u32)len);
	return 0;
}
