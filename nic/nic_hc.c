/*
 * Hypercalls HC_NIC_*: decode, find the port, call it (core/abi.h documents each).
 *
 * Invariant: an argument is looked at before it is used, and a handle leads only to an open port of the caller's own VM; a handle of an
 * earlier opening does not exist.
 */
#include <string.h>

#include "core/errno.h"
#include "core/hypercall.h"
#include "nic/port.h"

/* The caller's port by number, locked. */
static int enter_port(const struct hc_call *c, struct nic_port **out)
{
	struct vm *vm = c->v->vm;
	if (c->arg[0] >= vm->nr_ports || !vm->ports[c->arg[0]])
		return -ENOENT;
	*out = vm->ports[c->arg[0]];
	return port_enter(*out);
}

/* The caller's open port by handle, locked. */
static int enter_handle(const struct hc_call *c, struct nic_port **out)
{
	struct vm *vm = c->v->vm;
	u64 handle = c->arg[0], index = (handle & 0xff) - 1;
	if (handle > ~0u || index >= vm->nr_ports || !vm->ports[index])
		return -ENOENT;
	*out = vm->ports[index];
	int r = port_enter(*out);
	if (r)
		return r;
	if ((*out)->open && (*out)->handle == handle)
		return 0;
	port_leave(*out);
	return -ENOENT;
}

static s64 hc_nic_info(struct hc_call *c)
{
	struct nic_port *p;
	struct nest_nic_info info;
	s64 r = enter_port(c, &p);
	if (r)
		return r;
	r = port_info(p, &info);
	port_leave(p);
	if (!r)
		memcpy(c->rec, &info, sizeof(info));
	return r;
}

static s64 hc_nic_alloc(struct hc_call *c)
{
	struct nic_port *p;
	s64 r = enter_port(c, &p);
	if (r)
		return r;
	r = port_open(p);
	if (!r)
		r = p->handle;
	port_leave(p);
	return r;
}

static s64 hc_nic_configure(struct hc_call *c)
{
	struct nic_port *p;
	struct nest_nic_conf conf;
	memcpy(&conf, c->rec, sizeof(conf));
	s64 r = enter_handle(c, &p);
	if (r)
		return r;
	r = conf.what & ~(NEST_CONF_MAC | NEST_CONF_VLAN | NEST_CONF_MAX_FRAME) ? -EINVAL : p->lower->ops->configure(p->lower, &conf);
	port_leave(p);
	return r;
}

static s64 hc_nic_map_regs(struct hc_call *c)
{
	struct nic_port *p;
	s64 r = enter_handle(c, &p);
	if (r)
		return r;
	r = port_map_regs(p, GPA(c->arg[1]));
	port_leave(p);
	return r;
}

static s64 hc_nic_unmap_regs(struct hc_call *c)
{
	struct nic_port *p;
	s64 r = enter_handle(c, &p);
	if (r)
		return r;
	r = port_unmap_regs(p);
	port_leave(p);
	return r;
}

static s64 dma_call(struct hc_call *c, int (*fn)(struct nic_port *p, const struct nest_nic_dma *list, u32 n))
{
	struct nic_port *p;
	if (!c->arg[1] || c->arg[1] > NEST_DMA_MAX)
		return -EINVAL;
	s64 r = enter_handle(c, &p);
	if (r)
		return r;
	r = fn(p, (const struct nest_nic_dma *)c->rec, (u32)c->arg[1]);
	port_leave(p);
	return r;
}

static s64 hc_nic_dma_map(struct hc_call *c) { return dma_call(c, port_dma_map); }
static s64 hc_nic_dma_unmap(struct hc_call *c) { return dma_call(c, port_dma_unmap); }

static s64 hc_nic_irq_set(struct hc_call *c)
{
	struct nic_port *p;
	struct nest_nic_irq want;
	memcpy(&want, c->rec, sizeof(want));
	if (c->arg[1] >= NIC_MAX_VECTORS)
		return -EINVAL;
	s64 r = enter_handle(c, &p);
	if (r)
		return r;
	r = port_irq_set(p, (u32)c->arg[1], &want);
	port_leave(p);
	return r;
}

static s64 hc_nic_irq_mask(struct hc_call *c)
{
	struct nic_port *p;
	if (c->arg[1] >= NIC_MAX_VECTORS || c->arg[2] > 1)
		return -EINVAL;
	s64 r = enter_handle(c, &p);
	if (r)
		return r;
	r = port_irq_mask(p, (u32)c->arg[1], c->arg[2]);
	port_leave(p);
	return r;
}

static s64 hc_nic_irq_clear(struct hc_call *c)
{
	struct nic_port *p;
	if (c->arg[1] >= NIC_MAX_VECTORS)
		return -EINVAL;
	s64 r = enter_handle(c, &p);
	if (r)
		return r;
	r = port_irq_clear(p, (u32)c->arg[1]);
	port_leave(p);
	return r;
}

static s64 hc_nic_stats(struct hc_call *c)
{
	struct nic_port *p;
	struct nest_nic_stats stats;
	s64 r = enter_handle(c, &p);
	if (r)
		return r;
	r = port_stats(p, &stats);
	port_leave(p);
	if (!r)
		memcpy(c->rec, &stats, sizeof(stats));
	return r;
}

static bool reg_offset_ok(u64 offset) { return offset < PAGE_SIZE && !(offset & 3); }

static s64 hc_nic_reg_read(struct hc_call *c)
{
	struct nic_port *p;
	u32 value = 0;
	if (!reg_offset_ok(c->arg[1]))
		return -EINVAL;
	s64 r = enter_handle(c, &p);
	if (r)
		return r;
	r = p->lower->ops->reg_read(p->lower, (u32)c->arg[1], &value);
	port_leave(p);
	return r ? r : (s64)value;
}

static s64 hc_nic_reg_write(struct hc_call *c)
{
	struct nic_port *p;
	if (!reg_offset_ok(c->arg[1]) || c->arg[2] > ~0u)
		return -EINVAL;
	s64 r = enter_handle(c, &p);
	if (r)
		return r;
	r = p->lower->ops->reg_write(p->lower, (u32)c->arg[1], (u32)c->arg[2]);
	port_leave(p);
	return r;
}

static s64 hc_nic_free(struct hc_call *c)
{
	struct nic_port *p;
	s64 r = enter_handle(c, &p);
	if (r)
		return r;
	r = port_close(p);
	port_leave(p);
	return r;
}

static const struct { u32 nr; struct hc_entry entry; } calls[] = {
	{ HC_NIC_INFO, { "nic_info", hc_nic_info, HC_REC_OUT, sizeof(struct nest_nic_info) } },
	{ HC_NIC_ALLOC, { "nic_alloc", hc_nic_alloc, HC_REC_NONE, 0 } },
	{ HC_NIC_CONFIGURE, { "nic_configure", hc_nic_configure, HC_REC_IN, sizeof(struct nest_nic_conf) } },
	{ HC_NIC_MAP_REGS, { "nic_map_regs", hc_nic_map_regs, HC_REC_NONE, 0 } },
	{ HC_NIC_UNMAP_REGS, { "nic_unmap_regs", hc_nic_unmap_regs, HC_REC_NONE, 0 } },
	{ HC_NIC_DMA_MAP, { "nic_dma_map", hc_nic_dma_map, HC_REC_IN, 0 } },
	{ HC_NIC_DMA_UNMAP, { "nic_dma_unmap", hc_nic_dma_unmap, HC_REC_IN, 0 } },
	{ HC_NIC_IRQ_SET, { "nic_irq_set", hc_nic_irq_set, HC_REC_IN, sizeof(struct nest_nic_irq) } },
	{ HC_NIC_IRQ_MASK, { "nic_irq_mask", hc_nic_irq_mask, HC_REC_NONE, 0 } },
	{ HC_NIC_IRQ_CLEAR, { "nic_irq_clear", hc_nic_irq_clear, HC_REC_NONE, 0 } },
	{ HC_NIC_STATS, { "nic_stats", hc_nic_stats, HC_REC_OUT, sizeof(struct nest_nic_stats) } },
	{ HC_NIC_REG_READ, { "nic_reg_read", hc_nic_reg_read, HC_REC_NONE, 0 } },
	{ HC_NIC_REG_WRITE, { "nic_reg_write", hc_nic_reg_write, HC_REC_NONE, 0 } },
	{ HC_NIC_FREE, { "nic_free", hc_nic_free, HC_REC_NONE, 0 } },
};

void nic_hypercalls_init(void)
{
	for (u32 i = 0; i < ARRAY_SIZE(calls); i++)
		hypercall_bind(calls[i].nr, &calls[i].entry);
}
