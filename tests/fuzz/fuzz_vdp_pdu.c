/*
 * libFuzzer: VDP PDUs from the wire (nic/vdp_pdu.c). An input is a PDU.
 *
 * Invariant that is tested: codec_any_bytes() of tests/unit/codecs.h.
 */
#include "tests/unit/codecs.h"

int LLVMFuzzerTestOneInput(const u8 *bytes, size_t len);

int LLVMFuzzerTestOneInput(const u8 *bytes, size_t len)
{
	codec_any_bytes(&codec_vdp, bytes, (u32)len, NULL, NULL);
	return 0;
}
