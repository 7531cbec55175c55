/*
 * The envelope of saved states (state.h).
 */
#include "nic/state.h"

#include <string.h>

#include "core/crc32.h"
#include "core/errno.h"

static u32 checksum(const struct nest_nic_state *s)
{
	struct nest_nic_state copy = *s;
	copy.crc = 0;
	return crc32(0, &copy, sizeof(copy));
}

void nic_state_seal(struct nest_nic_state *s)
{
	s->magic = NEST_STATE_MAGIC;
	s->version = NEST_STATE_VERSION;
	s->len = sizeof(*s);
	s->crc = checksum(s);
}

static bool all_zero(const void *at, u64 len)
{
	const u8 *p = at;
	for (u64 i = 0; i < len; i++)
		if (p[i])
			return false;
	return true;
}

int nic_state_check(const struct nest_nic_state *s)
{
	if (s->magic != NEST_STATE_MAGIC || s->version != NEST_STATE_VERSION || s->len != sizeof(*s) || s->crc != checksum(s))
		return -EINVAL;
	if (s->reserved0 || !all_zero(s->reserved, sizeof(s->reserved)) || s->nr_groups > NEST_MAX_GROUPS)
		return -EINVAL;
	if (!all_zero(s->totals.reserved, sizeof(s->totals.reserved)))
		return -EINVAL;
	return 0;
}
