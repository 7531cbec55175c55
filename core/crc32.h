/*
 * CRC-32 as in IEEE 802.3 (reflected, initial value and final XOR of all ones), bit by bit: for records and images, not for packets.
 */
#ifndef CORE_CRC32_H
#define CORE_CRC32_H

#include "core/types.h"

/* Goes on from crc, the result for what came before (0 at the start). */
static inline u32 crc32(u32 crc, const void *data, u64 len)
{
	const u8 *p = data;
	crc = ~crc;
	for (u64 i = 0; i < len; i++) {
		crc ^= p[i];
		for (u32 k = 0; k < 8; k++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
	}
	return ~crc;
}

#endif
