/*
 * The mode transaction of a port, and what goes upward through its emulated device.
 *
 *                  prepare(pass-through)                      commit
 *      EMULATION ------------------------> EMULATION+prepared --------> PASS-THROUGH
 *          ^  ^ <------------------------        |                      |   |    ^
 *          |  |            abort                 | free, VM's end       |   |    | abort
 *          |  +----------------------------------+----------------------+   v    |
 *          |                                       free, VM's end   PASS-THROUGH+prepared
 *          |                    commit                                      |
 *          +----------------------------------------------------------------+
 *
 * Every level has this machine for its port; a call walks outward, and a level takes its step only when all levels further out have taken
 * theirs (prepare, commit) or undoes its own first (abort). The moment of the switch is one register write of the outermost.
 *
 * Invariant: between prepare and commit nothing has changed for the frames but that group frames arrive twice; after a failed prepare and
 * after abort, nothing at all. Freeing the function, for whatever reason, ends in emulation.
 */
#include "core/errno.h"
#include "core/fault.h"
#include "nic/port.h"
#include "nic/port_ext.h"
#include "nic/vnet.h"

int port_prepare(struct nic_port *p, enum nic_mode mode)
{
	const struct nic_ops *ops = p->lower->ops;
	if (p->mode == mode)
		return -EALREADY;
	if (p->prepared)
		return -EBUSY;
	if (mode == NIC_PASSTHROUGH && !p->open)
		return -ENOENT;
	if (mode == NIC_PASSTHROUGH && (!p->cfg->may_pass || port_ext_refused(p)))
		return -EPERM;
	if (mode == NIC_EMULATION && !(p->dev && vnet_running(p->dev)))
		return -EIO;
	if (p->quiesced || p->halted)
		return -EBUSY;
	if (fault_point("port: prepare, before the lower link"))
		return -EIO;
	int r = ops->prepare(p->lower, mode);
	if (!r && fault_point("port: prepare, after the lower link")) {
		ops->abort(p->lower, mode);
		r = -EIO;
	}
	p->prepared = !r;
	p->wishes_before = p->wishes;
	return r;
}

int port_commit(struct nic_port *p, enum nic_mode mode)
{
	u32 vf_head = 0;
	if (!p->prepared || p->mode == mode)
		return -EINVAL;
	p->lower->ops->commit(p->lower, mode, &vf_head);
	p->prepared = false;
	p->mode = mode;
	if (p->wishes == p->wishes_before) /* else somebody has wished since */
		WRITE_ONCE(p->want, mode);
	p->switches++;
	port_obey(p);
	return (int)(vf_head & 0x7fffffff);
}

int port_abort(struct nic_port *p, enum nic_mode mode)
{
	if (!p->prepared || p->mode == mode)
		return -EINVAL;
	p->prepared = false;
	p->lower->ops->abort(p->lower, mode);
	port_obey(p);
	return 0;
}

int port_fence(struct nic_port *p)
{
	if (fault_point("port: fence"))
		return -ETIMEDOUT;
	return p->dev ? vnet_fence(p->dev) : 0;
}

static void wish(struct nic_port *p, enum nic_mode mode)
{
	WRITE_ONCE(p->want, mode);
	p->wishes++;
}

int port_wish(struct nic_port *p, enum nic_mode mode)
{
	struct nest_nic_info info;
	bool may = p->cfg->may_pass && !p->lower->ops->info(p->lower, &info) && info.flags & NEST_NIC_MAY_PASS;
	if (mode == NIC_PASSTHROUGH && !may)
		return -EPERM;
	wish(p, mode);
	if (p->dev)
		vnet_changed(p->dev);
	return 0;
}

/* ---- upward ---- */

/*
 * At the VM's end the device goes while the link may be at work: read once, it is there or not, and one that was there stays until the link
 * has stopped.
 */
static struct vnet *device(struct nic_port *p) { return READ_ONCE(p->dev); }

int nic_port_rx(struct nic_port *p, const u8 *frame, u32 len)
{
	struct vnet *d = device(p);
	if (p->lower->ext)
		return port_ext_rx(p, frame, len);
	return d ? vnet_rx(d, frame, len) : 0;
}

void nic_port_rx_dropped(struct nic_port *p)
{
	struct vnet *d = device(p);
	if (d)
		vnet_rx_dropped(d);
}

void nic_port_rx_flush(struct nic_port *p)
{
	struct vnet *d = device(p);
	if (d)
		vnet_rx_flush(d);
}

void nic_port_rx_end(struct nic_port *p)
{
	struct vnet *d = device(p);
	if (d)
		vnet_rx_end(d);
}

/* A wish from further out becomes ours when it is made, whatever ours is; then ours stays until the next one. */
void port_adopt(struct nic_port *p)
{
	struct nest_nic_info info;
	if (!p->vm) /* given back meanwhile */
		return;
	if (!p->lower->ops->info(p->lower, &info) && info.wishes != p->lower_wishes) {
		p->lower_wishes = info.wishes;
		if (info.want == NEST_MODE_PASSTHROUGH && !p->cfg->may_pass)
			log_limited(8, "nic: VM %s: the outer wishes pass-through for port %u, which says passthrough=off", p->vm->cfg->name, p->index);
		else
			wish(p, info.want == NEST_MODE_PASSTHROUGH ? NIC_PASSTHROUGH : NIC_EMULATION);
	}
	port_obey(p);
	if (p->dev)
		vnet_changed(p->dev);
}

/* Who leaves the port looks at the news, be it ourselves at once or who has it now. */
void nic_port_changed(struct nic_port *p)
{
	__atomic_store_n(&p->news, true, __ATOMIC_SEQ_CST);
	if (port_try_enter(p))
		port_leave(p);
}
