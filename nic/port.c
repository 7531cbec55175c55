/*
 * Ports of VMs: bound to lower ports when the VM is created, opened and closed by its hypercalls, closed when it dies.
 *
 * Invariant: ports live in a pool that is never freed, so that a late interrupt or timer finds a port, at worst a closed one. After
 * port_close nothing of the port is left at the lower link, in the IOMMU, in the VM's EPT or on its bill.
 */
#include <string.h>

#include "core/errno.h"
#include "core/fault.h"
#include "nic/port.h"
#include "nic/port_ext.h"
#include "nic/vnet.h"

#define ETH_HEADER 14u

static struct nic_port pool[CFG_MAX_VMS * CFG_MAX_NICS];
static spinlock_t pool_lock; /* protects pool[].vm and nic_lower.bound; nothing is taken inside */

int port_enter(struct nic_port *p)
{
	while (!port_try_enter(p)) {
		if (READ_ONCE(p->flushing))
			return -EAGAIN;
		cpu_relax();
	}
	return 0;
}

bool port_try_enter(struct nic_port *p) { return spin_try(&p->lock); }

/* Open first, then look: whoever brings news and finds the port taken has written them before we look. */
void port_leave(struct nic_port *p)
{
	for (;;) {
		spin_unlock(&p->lock);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (!READ_ONCE(p->news) || !port_try_enter(p))
			return;
		if (__atomic_exchange_n(&p->news, false, __ATOMIC_SEQ_CST))
			port_adopt(p);
	}
}

int port_info(struct nic_port *p, struct nest_nic_info *out)
{
	int r = p->lower->ops->info(p->lower, out);
	if (r)
		return r;
	out->mode = p->cfg->mode == NIC_PASSTHROUGH ? NEST_MODE_PASSTHROUGH : NEST_MODE_EMULATION;
	out->state = p->mode == NIC_PASSTHROUGH ? NEST_MODE_PASSTHROUGH : NEST_MODE_EMULATION;
	out->want = READ_ONCE(p->want) == NIC_PASSTHROUGH ? NEST_MODE_PASSTHROUGH : NEST_MODE_EMULATION;
	out->wishes = p->wishes;
	if (p->cfg->mtu)
		out->max_frame = MIN(out->max_frame, p->cfg->mtu + ETH_HEADER);
	out->emu_rid = p->dev ? vnet_rid(p->dev).v : 0;
	if (!p->cfg->may_pass)
		out->flags &= ~NEST_NIC_MAY_PASS;
	port_ext_info(p, out);
	return 0;
}

/* The level's own policy, then what is further out. */
int port_configure(struct nic_port *p, const struct nest_nic_conf *conf)
{
	if (conf->what & ~NEST_CONF_ALL || conf->nr_groups > NEST_MAX_GROUPS)
		return -EINVAL;
	if (conf->what & NEST_CONF_MAX_FRAME && p->cfg->mtu && conf->max_frame > p->cfg->mtu + ETH_HEADER)
		return -EPERM;
	return fault_point("port: configure") ? -EIO : p->lower->ops->configure(p->lower, conf);
}

/* The record is nothing but 64-bit counters. */
static void stats_add(struct nest_nic_stats *to, const struct nest_nic_stats *s)
{
	u64 *a = (u64 *)to;
	const u64 *b = (const u64 *)s;
	for (u32 i = 0; i < sizeof(*to) / sizeof(u64); i++)
		a[i] += b[i];
}

int port_stats(struct nic_port *p, struct nest_nic_stats *out)
{
	memset(out, 0, sizeof(*out));
	int r = p->lower->ops->stats(p->lower, out);
	if (r)
		return r;
	if (p->dev)
		vnet_stats(p->dev, out);
	out->switches = p->switches;
	stats_add(out, &p->base);
	return 0;
}

int port_open(struct nic_port *p, u32 flags)
{
	if (p->open)
		return -EBUSY;
	if (!p->cfg->may_pass) {
		log_limited(8, "nic: VM %s gets no virtual function for port %u: its configuration says passthrough=off", p->vm->cfg->name,
			    p->index);
		return -EPERM;
	}
	if (port_ext_refused(p)) { /* it could not move a frame */
		log_limited(8, "nic: VM %s gets no virtual function for port %u: the bridge has not said that its VLAN is %u", p->vm->cfg->name,
			    p->index, p->cfg->vlan);
		return -EPERM;
	}
	if (fault_point("port: memory for the book of DMA"))
		return -ENOMEM;
	int r = port_dma_init(p);
	if (r)
		return r;
	r = p->lower->ops->alloc(p->lower, p->vm, p->cfg, flags);
	if (r) {
		port_dma_fini(p);
		return r;
	}
	p->generation = (p->generation + 1) & 0xffffff;
	p->handle = (p->index + 1) | p->generation << 8;
	p->quiesced = p->halted = p->prepared = false;
	p->open = true;
	port_ext_open(p, true);
	port_obey(p); /* the bridge may have to speak first */
	if (p->unsettled) {
		r = port_close(p);
		return r ? r : -EIO;
	}
	if (!(flags & NEST_ALLOC_PARKED)) {
		p->mode = NIC_PASSTHROUGH;
		WRITE_ONCE(p->want, NIC_PASSTHROUGH);
	}
	return 0;
}

/*
 * The guest loses the registers first, then its interrupts; then the lower link stops the device and takes its memory away. An error of
 * the lower link's free is its own to remember: the port is closed all the same.
 */
int port_close(struct nic_port *p)
{
	int r = p->regs_mapped ? port_unmap_regs(p) : 0;
	if (r)
		return r;
	if (p->prepared)
		port_abort(p, p->mode == NIC_PASSTHROUGH ? NIC_EMULATION : NIC_PASSTHROUGH);
	p->open = false;
	port_ext_open(p, false);
	for (u32 i = 0; i < NIC_MAX_VECTORS; i++)
		if (p->irq[i].used)
			port_irq_clear(p, i);
	r = p->lower->ops->free(p->lower);
	if (r)
		log_line("nic: port %u of VM %s: the lower link could not take it back in order (error %d)", p->index,
			 p->vm->cfg->name, -r);
	p->mode = NIC_EMULATION;
	p->quiesced = p->halted = false;
	WRITE_ONCE(p->unsettled, false);
	port_dma_fini(p);
	return r == -EAGAIN ? -EIO : r; /* "again" is said only where nothing has changed */
}

/* ---- life with the VM ---- */

/* Who brings late news for the port's last owner may look at it as soon as it has a VM: then it has all else, too. */
static struct nic_port *pool_take(struct vm *vm, struct nic_lower *l, u32 index)
{
	struct nic_port *p = NULL;
	spin_lock(&pool_lock);
	for (u32 i = 0; i < ARRAY_SIZE(pool) && !l->bound && !p; i++)
		if (!pool[i].vm)
			p = &pool[i];
	if (p) {
		p->index = index;
		p->cfg = &vm->cfg->nics[index];
		p->lower = l;
		__atomic_store_n(&p->vm, vm, __ATOMIC_RELEASE);
		l->bound = p;
	}
	spin_unlock(&pool_lock);
	return p;
}

static void pool_give(struct nic_port *p)
{
	spin_lock(&pool_lock);
	p->lower->bound = NULL;
	p->vm = NULL;
	p->lower = NULL;
	spin_unlock(&pool_lock);
}

/* The lower link counts since the machine started: what it counted for somebody else is taken off this VM's totals. */
static void totals_begin(struct nic_port *p)
{
	struct nest_nic_stats before;
	memset(&p->base, 0, sizeof(p->base));
	if (port_stats(p, &before))
		return; /* it does not answer: then it counts nothing, either */
	u64 *base = (u64 *)&p->base;
	const u64 *b = (const u64 *)&before;
	for (u32 i = 0; i < sizeof(before) / sizeof(u64); i++)
		base[i] = -b[i]; /* wrapping arithmetic */
}

/*
 * A lower port that the machine lacks is not the configuration's fault: NICs break, and move. The VM's port then stays NULL, and its
 * other ports and all other VMs go on.
 */
static int port_bind(struct vm *vm, u32 index)
{
	const struct nic_config *cfg = &vm->cfg->nics[index];
	struct nic_lower *l = nic_lower_get(cfg->port);
	vm->nr_ports = index + 1;
	if (!l) {
		u32 n = nic_lower_count();
		log_line("nic: VM %s wants port%u, but there %s %u port%s: it runs without", vm->cfg->name, cfg->port, n == 1 ? "is" : "are",
			 n, n == 1 ? "" : "s");
		return 0;
	}
	struct nic_port *p = pool_take(vm, l, index);
	if (!p) {
		log_line("nic: VM %s wants port%u, but another port of a VM is bound to it", vm->cfg->name, cfg->port);
		return -EBUSY;
	}
	p->nr_irqs = 0;
	p->mode = NIC_EMULATION;
	p->want = cfg->mode;
	p->prepared = p->quiesced = p->halted = p->unsettled = p->news = false;
	p->switches = 0;
	totals_begin(p);
	struct nest_nic_info info;
	p->wishes = 0;
	p->lower_wishes = l->ops->info(l, &info) ? 0 : info.wishes;
	port_irq_init(p);
	vm->ports[index] = p;
	int r = port_ext_bind(p);
	if (r) {
		log_line("nic: VM %s gets no extender for its port %u (error %d)", vm->cfg->name, index, -r);
		return r;
	}
	if (l->ops->data)
		r = vnet_create(&p->dev, p);
	if (r)
		log_line("nic: VM %s gets no emulated device for its port %u (error %d)", vm->cfg->name, index, -r);
	return r;
}

int nic_ports_init(struct vm *vm)
{
	for (u32 i = 0; i < vm->cfg->nr_nics; i++) {
		int r = port_bind(vm, i);
		if (r) {
			nic_ports_fini(vm);
			return r;
		}
	}
	return 0;
}

/* No vCPU runs, so nobody holds a port for long; an interrupt handler may, for a moment. */
void nic_ports_fini(struct vm *vm)
{
	for (u32 i = 0; i < vm->nr_ports; i++) {
		struct nic_port *p = vm->ports[i];
		if (!p)
			continue;
		spin_lock(&p->lock);
		struct vnet *dev = p->dev;
		WRITE_ONCE(p->dev, NULL);
		spin_unlock(&p->lock);
		if (dev)
			vnet_destroy(dev); /* outside the lock; afterwards the lower link has no frames for it under way */
		spin_lock(&p->lock);
		while (p->open && port_close(p) == -EAGAIN)
			cpu_relax();
		port_ext_unbind(p);
		vm->ports[i] = NULL;
		pool_give(p); /* under the lock: who waits for it finds p->vm gone */
		spin_unlock(&p->lock);
	}
	vm->nr_ports = 0;
}

void port_for_each(void (*fn)(struct nic_port *p))
{
	for (u32 i = 0; i < ARRAY_SIZE(pool); i++)
		if (pool[i].vm)
			fn(&pool[i]);
}
