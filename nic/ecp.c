/*
 * The header of ECP (ecp.h).
 */
#include "nic/ecp.h"

#include "core/errno.h"
#include "nic/frame.h"

#define VERSION BITS(15, 12)
#define OP BITS(11, 10)
#define SUBTYPE BITS(9, 0)
#define SEQ_OFFSET 2

int ecp_build(u8 *pdu, u32 room, const struct ecp *h)
{
	if (h->op > ECP_ACK || h->subtype > ECP_SUBTYPE_MAX)
		return -EINVAL;
	if (room < ECP_LEN)
		return -ENOSPC;
	be16_put(pdu, (u32)(FIELD_PREP(VERSION, ECP_VERSION) | FIELD_PREP(OP, h->op) | h->subtype));
	be16_put(pdu + SEQ_OFFSET, h->seq);
	return ECP_LEN;
}

int ecp_parse(const u8 *pdu, u32 len, struct ecp *h)
{
	if (len < ECP_LEN)
		return -EINVAL;
	u16 word = be16_get(pdu);
	if (FIELD_GET(VERSION, word) != ECP_VERSION || FIELD_GET(OP, word) > ECP_ACK)
		return -EINVAL;
	*h = (struct ecp){ (u8)FIELD_GET(OP, word), (u16)FIELD_GET(SUBTYPE, word), be16_get(pdu + SEQ_OFFSET) };
	return ECP_LEN;
}
