/*
 * HC_NIC_* as functions (port.h).
 */
#include "guest/net/port.h"

#include <string.h>

/* A call that takes a record of len bytes (a full page at most). */
static int call_in(u64 nr, u64 a0, u64 a1, const void *rec, u64 len)
{
	memcpy(nest_record(), rec, MIN(len, PAGE_SIZE));
	return (int)nest_call(nr, a0, a1, 0, 0);
}

/* A call that fills one. */
static int call_out(u64 nr, u64 a0, void *rec, u64 len)
{
	memset(nest_record(), 0, len);
	int err = (int)nest_call(nr, a0, 0, 0, 0);
	memcpy(rec, nest_record(), len);
	return err;
}

/* An absurd n is passed on as it is; only what a page holds goes with it. */
static u64 list_len(u64 n) { return MIN(n, (u64)NEST_DMA_MAX) * sizeof(struct nest_nic_dma); }

int port_info(u32 port, struct nest_nic_info *out) { return call_out(HC_NIC_INFO, port, out, sizeof(*out)); }
s64 port_alloc(u32 port, u32 flags) { return nest_call(HC_NIC_ALLOC, port, flags, 0, 0); }
int port_configure(u64 h, const struct nest_nic_conf *conf) { return call_in(HC_NIC_CONFIGURE, h, 0, conf, sizeof(*conf)); }
int port_map_regs(u64 h, u64 gpa) { return (int)nest_call(HC_NIC_MAP_REGS, h, gpa, 0, 0); }
int port_unmap_regs(u64 h) { return (int)nest_call(HC_NIC_UNMAP_REGS, h, 0, 0, 0); }
int port_dma_map(u64 h, const struct nest_nic_dma *l, u64 n) { return call_in(HC_NIC_DMA_MAP, h, n, l, list_len(n)); }
int port_dma_unmap(u64 h, const struct nest_nic_dma *l, u64 n) { return call_in(HC_NIC_DMA_UNMAP, h, n, l, list_len(n)); }
int port_irq_set(u64 h, u64 i, const struct nest_nic_irq *irq) { return call_in(HC_NIC_IRQ_SET, h, i, irq, sizeof(*irq)); }
int port_irq_mask(u64 h, u64 i, u64 mask) { return (int)nest_call(HC_NIC_IRQ_MASK, h, i, mask, 0); }
int port_irq_post(u64 h, u64 i, u64 how, u64 gpa) { return (int)nest_call(HC_NIC_IRQ_POST, h, i, how, gpa); }
int port_irq_clear(u64 h, u64 i) { return (int)nest_call(HC_NIC_IRQ_CLEAR, h, i, 0, 0); }
int port_stats(u64 h, struct nest_nic_stats *out) { return call_out(HC_NIC_STATS, h, out, sizeof(*out)); }
s64 port_reg_read(u64 h, u64 offset) { return nest_call(HC_NIC_REG_READ, h, offset, 0, 0); }
int port_reg_write(u64 h, u64 offset, u64 v) { return (int)nest_call(HC_NIC_REG_WRITE, h, offset, v, 0); }
int port_free(u64 h) { return (int)nest_call(HC_NIC_FREE, h, 0, 0, 0); }
int port_quiesce(u64 h) { return (int)nest_call(HC_NIC_QUIESCE, h, 0, 0, 0); }
int port_resume(u64 h) { return (int)nest_call(HC_NIC_RESUME, h, 0, 0, 0); }
int port_save(u64 h, struct nest_nic_state *out) { return call_out(HC_NIC_SAVE, h, out, sizeof(*out)); }
int port_restore(u64 h, const struct nest_nic_state *in) { return call_in(HC_NIC_RESTORE, h, 0, in, sizeof(*in)); }

int port_prepare(u32 port, u32 mode) { return (int)nest_call(HC_NIC_PREPARE, port, mode, 0, 0); }
s64 port_commit(u32 port, u32 mode) { return nest_call(HC_NIC_COMMIT, port, mode, 0, 0); }
int port_abort(u32 port, u32 mode) { return (int)nest_call(HC_NIC_ABORT, port, mode, 0, 0); }
int port_fence(u32 port) { return (int)nest_call(HC_NIC_FENCE, port, 0, 0, 0); }
int port_want(u32 port, u32 mode) { return (int)nest_call(HC_NIC_WANT, port, mode, 0, 0); }
int port_totals(u32 port, struct nest_nic_stats *out) { return call_out(HC_NIC_PORT_STATS, port, out, sizeof(*out)); }

s64 port_plugin(u32 port, u32 offset, u8 *piece)
{
	s64 n = nest_call(HC_NIC_PLUGIN, port, offset, 0, 0);

	if (n > (s64)NEST_PLUGIN_PIECE)
		return -EIO;
	if (n > 0)
		memcpy(piece, nest_record(), (u64)n);
	return n;
}

s64 port_fault(u32 levels, u32 op, u64 index, struct nest_fault *out)
{
	memset(nest_record(), 0, sizeof(*out));
	s64 r = nest_call(HC_FAULT, levels, op, index, 0);
	if (out)
		memcpy(out, nest_record(), sizeof(*out));
	return r;
}
