/*
 * State of a port's function: stopping it, saving it, restoring it into the same or another function.
 *
 * Invariant: the identity in a record is the port's own; the totals in it become the port's running totals, so a port that was saved,
 * moved and restored goes on counting where it was. As long as the bridge refuses the port its function stands still.
 */
#include <string.h>

#include "core/errno.h"
#include "core/time.h"
#include "nic/port.h"
#include "nic/port_ext.h"
#include "nic/state.h"

#define PATIENCE_US 500000

int port_quiesce(struct nic_port *p)
{
	if (p->quiesced)
		return 0;
	if (p->prepared) /* a commit must find the function running */
		return -EBUSY;
	int r = p->halted ? 0 : p->lower->ops->quiesce(p->lower);
	p->quiesced = !r;
	return r;
}

int port_resume(struct nic_port *p)
{
	if (port_ext_refused(p))
		return -EPERM;
	if (!p->quiesced && !p->halted)
		return -EINVAL;
	int r = p->lower->ops->resume(p->lower);
	if (!r)
		p->quiesced = p->halted = false;
	return r;
}

/* A transaction that is nearly over may end first; one that does not end is aborted. */
static bool in_the_way(struct nic_port *p)
{
	if (!p->prepared)
		return false;
	if (!p->unsettled)
		p->patience = rdtsc() + us_to_tsc(PATIENCE_US);
	if (rdtsc() < p->patience)
		return true;
	log_limited(8, "nic: VM %s, port %u: its transaction does not end, and is aborted", p->vm->cfg->name, p->index);
	p->prepared = false;
	p->lower->ops->abort(p->lower, p->mode == NIC_PASSTHROUGH ? NIC_EMULATION : NIC_PASSTHROUGH);
	return false;
}

void port_obey(struct nic_port *p)
{
	bool refused = port_ext_refused(p);
	if (!p->open || refused == p->halted) {
		WRITE_ONCE(p->unsettled, false);
		return;
	}
	if (in_the_way(p)) {
		WRITE_ONCE(p->unsettled, true);
		return;
	}
	const struct nic_ops *ops = p->lower->ops;
	int r = p->quiesced ? 0 : refused ? ops->quiesce(p->lower) : ops->resume(p->lower);
	if (!r || r == -EIO) /* a lost function moves nothing, either */
		p->halted = refused;
	WRITE_ONCE(p->unsettled, refused != p->halted);
	if (r)
		log_limited(8, "nic: VM %s, port %u: its function does not %s (error %d)", p->vm->cfg->name, p->index,
			    refused ? "stop, though the bridge refuses the port" : "go on", -r);
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
