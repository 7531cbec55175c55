/*
 * Ports of VMs: bound to lower ports when the VM is created, opened and closed by its hypercalls, closed when it dies.
 *
 * Invariant: ports live in a pool that is never freed, so that a late interrupt or timer finds a port, at worst a closed one. After
 * port_close nothing of the port is left at the lower link, in the IOMMU, in the VM's EPT or on its bill.
 */
#include <string.h>

#include "core/errno.h"
#include "nic/port.h"

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

bool port_try_enter(struct nic_port *p) { return !__atomic_exchange_n(&p->lock.held, 1, __ATOMIC_ACQUIRE); }
void port_leave(struct nic_port *p) { spin_unlock(&p->lock); }

int port_info(struct nic_port *p, struct nest_nic_info *out)
{
	int r = p->lower->ops->info(p->lower, out);
	if (!r && p->cfg->mode != NIC_PASSTHROUGH)
		out->mode = 0;
	return r;
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
	int r = p->open ? p->lower->ops->stats(p->lower, out) : 0;
	if (!r)
		stats_add(out, &p->before);
	return r;
}

int port_open(struct nic_port *p)
{
	if (p->open)
		return -EBUSY;
	if (p->cfg->mode != NIC_PASSTHROUGH)
		return -EPERM;
	int r = port_dma_init(p);
	if (r)
		return r;
	r = p->lower->ops->alloc(p->lower, p->vm, p->cfg);
	if (r) {
		port_dma_fini(p);
		return r;
	}
	p->generation = (p->generation + 1) & 0xffffff;
	p->handle = (p->index + 1) | p->generation << 8;
	p->open = true;
	return 0;
}

/*
 * The guest loses the registers first, then its interrupts; then the lower link stops the device and takes its memory away. An error of
 * the lower link's free is its own to remember: the port is closed all the same.
 */
int port_close(struct nic_port *p)
{
	struct nest_nic_stats total;
	int r = p->regs_mapped ? port_unmap_regs(p) : 0;
	if (r)
		return r;
	if (!port_stats(p, &total))
		p->before = total;
	p->open = false;
	for (u32 i = 0; i < NIC_MAX_VECTORS; i++)
		if (p->irq[i].used)
			port_irq_clear(p, i);
	r = p->lower->ops->free(p->lower);
	if (r)
		log_line("nic: port %u of VM %s: the lower link could not take it back in order (error %d)", p->index,
			 p->vm->cfg->name, -r);
	port_dma_fini(p);
	return r;
}

/* ---- life with the VM ---- */

static struct nic_port *pool_take(struct vm *vm, struct nic_lower *l)
{
	struct nic_port *p = NULL;
	spin_lock(&pool_lock);
	for (u32 i = 0; i < ARRAY_SIZE(pool) && !l->bound && !p; i++)
		if (!pool[i].vm)
			p = &pool[i];
	if (p) {
		p->vm = vm;
		p->lower = l;
		l->bound = p;
	}
	spin_unlock(&pool_lock);
	return p;
}

static void pool_give(struct nic_port *p)
{
	spin_lock(&pool_lock);
	p->lower->bound = NULL;
	p->lower = NULL;
	p->vm = NULL;
	spin_unlock(&pool_lock);
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
	struct nic_port *p = pool_take(vm, l);
	if (!p) {
		log_line("nic: VM %s wants port%u, but another port of a VM is bound to it", vm->cfg->name, cfg->port);
		return -EBUSY;
	}
	p->index = index;
	p->cfg = cfg;
	p->nr_irqs = 0;
	memset(&p->before, 0, sizeof(p->before));
	port_irq_init(p);
	vm->ports[index] = p;
	return 0;
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
		while (p->open && port_close(p) == -EAGAIN)
			cpu_relax();
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
