/*
 * An LLDP agent's clockwork (lldp_agent.h).
 */
#include "nic/lldp_agent.h"

#include "core/crc32.h"

void lldp_agent_start(struct lldp_agent *a, u64 now_us)
{
	*a = (struct lldp_agent){ .on = true, .next_us = now_us, .fast = LLDP_AGENT_FAST };
}

void lldp_agent_moved(struct lldp_agent *a, u64 now_us)
{
	a->next_us = now_us;
	a->fast = LLDP_AGENT_FAST;
}

void lldp_agent_stop(struct lldp_agent *a) { *a = (struct lldp_agent){ .on = false }; }

void lldp_agent_hurry(struct lldp_agent *a, u64 now_us)
{
	u64 at = MAX(now_us, a->gap_us);
	a->next_us = MIN(a->next_us, at);
}

bool lldp_agent_due(struct lldp_agent *a, u64 now_us)
{
	if (!a->on || now_us < a->next_us)
		return false;
	if (a->fast)
		a->fast--;
	a->next_us = now_us + (a->fast ? LLDP_AGENT_FAST_US : a->heard ? LLDP_AGENT_US : LLDP_AGENT_SEARCH_US);
	a->gap_us = now_us + LLDP_AGENT_GAP_US;
	return true;
}

/* A neighbour is known by its two identifiers. */
static u32 peer_of(const struct lldp *l)
{
	u32 c = crc32(0, &l->chassis.subtype, 1);
	c = crc32(c, l->chassis.bytes, l->chassis.len);
	c = crc32(c, &l->port.subtype, 1);
	return crc32(c, l->port.bytes, l->port.len);
}

static void lose(struct lldp_agent *a, u64 now_us)
{
	a->heard = false;
	a->next_us = MIN(a->next_us, now_us + LLDP_AGENT_SEARCH_US);
}

enum lldp_neighbour lldp_agent_heard(struct lldp_agent *a, const struct lldp *l, u64 now_us)
{
	u32 peer = peer_of(l);
	bool same = a->heard && a->peer == peer;
	if (!l->ttl) {
		if (same)
			lose(a, now_us);
		return same ? LLDP_GONE : LLDP_NONE;
	}
	a->heard = true;
	a->peer = peer;
	a->until_us = now_us + l->ttl * 1000000ull;
	if (same)
		return LLDP_SAME;
	a->fast = LLDP_AGENT_FAST;
	lldp_agent_hurry(a, now_us);
	return LLDP_NEW;
}

bool lldp_agent_expired(struct lldp_agent *a, u64 now_us)
{
	if (!a->heard || now_us < a->until_us)
		return false;
	lose(a, now_us);
	return true;
}

u64 lldp_agent_deadline(const struct lldp_agent *a)
{
	u64 next = a->on ? a->next_us : ~0ull;
	return a->heard ? MIN(next, a->until_us) : next;
}
