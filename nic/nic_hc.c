/*
 * Hypercalls HC_NIC_*: decode, find the port, call it (core/abi.h documents each).
 *
 * Invariant: an argument is looked at before it is used, and a handle leads only to an open port of the caller's own VM; a handle of an
 * earlier opening does not exist.
 */
#include <string.h>

#include "core/errno.h"
#include "core/fault.h"
#include "core/hypercall.h"
#include "nic/port.h"
#include "nic/port_ext.h"

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
	if (c->arg[1] & ~(u64)(NEST_ALLOC_PARKED | NEST_ALLOC_OTHER))
		return -EINVAL;
	s64 r = enter_port(c, &p);
	if (r)
		return r;
	r = port_open(p, (u32)c->arg[1]);
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
	r = port_configure(p, &conf);
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

static s64 hc_nic_irq_post(struct hc_call *c)
{
	struct nic_port *p;
	if (c->arg[1] >= NIC_MAX_VECTORS || c->arg[2] > NEST_POST_GUEST)
		return -EINVAL;
	s64 r = enter_handle(c, &p);
	if (r)
		return r;
	r = port_irq_post(p, (u32)c->arg[1], (u32)c->arg[2], GPA(c->arg[3]));
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

/* ---- state ---- */

static s64 by_handle(struct hc_call *c, int (*fn)(struct nic_port *p))
{
	struct nic_port *p;
	s64 r = enter_handle(c, &p);
	if (r)
		return r;
	r = fn(p);
	port_leave(p);
	return r;
}

static s64 hc_nic_quiesce(struct hc_call *c) { return by_handle(c, port_quiesce); }
static s64 hc_nic_resume(struct hc_call *c) { return by_handle(c, port_resume); }

static s64 hc_nic_save(struct hc_call *c)
{
	struct nic_port *p;
	s64 r = enter_handle(c, &p);
	if (r)
		return r;
	r = port_save(p, (struct nest_nic_state *)c->rec);
	port_leave(p);
	return r;
}

static s64 hc_nic_restore(struct hc_call *c)
{
	struct nic_port *p;
	s64 r = enter_handle(c, &p);
	if (r)
		return r;
	r = port_restore(p, (const struct nest_nic_state *)c->rec);
	port_leave(p);
	return r;
}

/* ---- the mode transaction ---- */

static s64 mode_call(struct hc_call *c, int (*fn)(struct nic_port *p, enum nic_mode mode))
{
	struct nic_port *p;
	if (c->arg[1] > NEST_MODE_PASSTHROUGH)
		return -EINVAL;
	s64 r = enter_port(c, &p);
	if (r)
		return r;
	r = fn(p, c->arg[1] == NEST_MODE_PASSTHROUGH ? NIC_PASSTHROUGH : NIC_EMULATION);
	port_leave(p);
	return r;
}

static s64 hc_nic_prepare(struct hc_call *c) { return mode_call(c, port_prepare); }
static s64 hc_nic_commit(struct hc_call *c) { return mode_call(c, port_commit); }
static s64 hc_nic_abort(struct hc_call *c) { return mode_call(c, port_abort); }
static s64 hc_nic_want(struct hc_call *c) { return mode_call(c, port_wish); }

static s64 by_port(struct hc_call *c, int (*fn)(struct nic_port *p))
{
	struct nic_port *p;
	s64 r = enter_port(c, &p);
	if (r)
		return r;
	r = fn(p);
	port_leave(p);
	return r;
}

static s64 hc_nic_fence(struct hc_call *c) { return by_port(c, port_fence); }
static s64 hc_nic_extender(struct hc_call *c) { return by_port(c, port_ext_cascade); }

static s64 hc_nic_port_stats(struct hc_call *c)
{
	struct nic_port *p;
	s64 r = enter_port(c, &p);
	if (r)
		return r;
	r = port_stats(p, (struct nest_nic_stats *)c->rec);
	port_leave(p);
	return r;
}

static s64 hc_nic_plugin(struct hc_call *c)
{
	struct nic_port *p;
	if (c->arg[1] & PAGE_MASK || c->arg[1] > ~0u)
		return -EINVAL;
	s64 r = enter_port(c, &p);
	if (r)
		return r;
	r = fault_point("port: plugin handed up") ? -EIO : p->lower->ops->plugin(p->lower, (u32)c->arg[1], c->rec);
	if (r > 0 && fault_point("port: plugin damaged on its way"))
		c->rec[r / 2] ^= 0x10;
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
	{ HC_NIC_IRQ_POST, { "nic_irq_post", hc_nic_irq_post, HC_REC_NONE, 0 } },
	{ HC_NIC_IRQ_CLEAR, { "nic_irq_clear", hc_nic_irq_clear, HC_REC_NONE, 0 } },
	{ HC_NIC_STATS, { "nic_stats", hc_nic_stats, HC_REC_OUT, sizeof(struct nest_nic_stats) } },
	{ HC_NIC_REG_READ, { "nic_reg_read", hc_nic_reg_read, HC_REC_NONE, 0 } },
	{ HC_NIC_REG_WRITE, { "nic_reg_write", hc_nic_reg_write, HC_REC_NONE, 0 } },
	{ HC_NIC_FREE, { "nic_free", hc_nic_free, HC_REC_NONE, 0 } },
	{ HC_NIC_QUIESCE, { "nic_quiesce", hc_nic_quiesce, HC_REC_NONE, 0 } },
	{ HC_NIC_RESUME, { "nic_resume", hc_nic_resume, HC_REC_NONE, 0 } },
	{ HC_NIC_SAVE, { "nic_save", hc_nic_save, HC_REC_OUT, sizeof(struct nest_nic_state) } },
	{ HC_NIC_RESTORE, { "nic_restore", hc_nic_restore, HC_REC_IN, sizeof(struct nest_nic_state) } },
	{ HC_NIC_PREPARE, { "nic_prepare", hc_nic_prepare, HC_REC_NONE, 0 } },
	{ HC_NIC_COMMIT, { "nic_commit", hc_nic_commit, HC_REC_NONE, 0 } },
	{ HC_NIC_ABORT, { "nic_abort", hc_nic_abort, HC_REC_NONE, 0 } },
	{ HC_NIC_FENCE, { "nic_fence", hc_nic_fence, HC_REC_NONE, 0 } },
	{ HC_NIC_PLUGIN, { "nic_plugin", hc_nic_plugin, HC_REC_OUT, 0 } },
	{ HC_NIC_WANT, { "nic_want", hc_nic_want, HC_REC_NONE, 0 } },
	{ HC_NIC_EXTENDER, { "nic_extender", hc_nic_extender, HC_REC_NONE, 0 } },
	{ HC_NIC_PORT_STATS, { "nic_port_stats", hc_nic_port_stats, HC_REC_OUT, sizeof(struct nest_nic_stats) } },
};

void nic_hypercalls_init(void)
{
	for (u32 i = 0; i < ARRAY_SIZE(calls); i++)
		hypercall_bind(calls[i].nr, &calls[i].entry);
}
