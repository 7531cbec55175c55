/*
 * State of a port's function: stopping it, saving it, restoring it into the same or another function.
 *
 * Invariant: the identity in a record is the port's own; the totals in it become the port's running totals, so a port that was saved,
 * moved and restored goes on counting where it was.
 */
#include <string.h>

#include "core/errno.h"
#include "nic/port.h"
#include "nic/state.h"

int port_quiesce(struct nic_port *p)
{
	if (p->quiesced)
		return 0;
	if (p->prepared) /* a commit must find the function running */
		return -EBUSY;
	int r = p->lower->ops->quiesce(p->lower);
	p->quiesced = !r;
	return r;
}

int port_resume(struct nic_port *p)
{
	if (!p->quiesced)
		return -EINVAL;
	int r = p->lower->ops->resume(p->lower);
	p->quiesced = r;
	return r;
}

int port_save(struct nic_port *p, struct nest_nic_state *out)
{
	if (!p->quiesced)
		return -EBUSY;
	memset(out, 0, sizeof(*out));
	int r = p->lower->ops->save(p->lower, out);
	if (!r)
		r = port_stats(p, &out->totals);
	if (!r)
		nic_state_seal(out);
	return r;
}

/* Wrapping arithmetic: what is counted plus base is what the record says. */
static int adopt_totals(struct nic_port *p, const struct nest_nic_stats *totals)
{
	struct nest_nic_stats now;
	int r = port_stats(p, &now);
	if (r)
		return r;
	u64 *base = (u64 *)&p->base;
	const u64 *want = (const u64 *)totals, *have = (const u64 *)&now;
	for (u32 i = 0; i < sizeof(now) / sizeof(u64); i++)
		base[i] += want[i] - have[i];
	return 0;
}

int port_restore(struct nic_port *p, const struct nest_nic_state *in)
{
	struct nest_nic_info info;
	if (!p->quiesced)
		return -EBUSY;
	int r = nic_state_check(in);
	if (r)
		return r;
	r = port_info(p, &info);
	if (r)
		return r;
	if (in->family != info.family)
		return -EINVAL;
	if (memcmp(in->mac, info.mac, sizeof(info.mac)) || in->vlan != info.vlan)
		return -EPERM;
	r = p->lower->ops->restore(p->lower, in);
	return r ? r : adopt_totals(p, &in->totals);
}
