/*
 * Control of a NIC port: one function per HC_NIC_* call (and HC_FAULT, which tests arm before them), with the records of core/abi.h instead of the record page.
 *
 * Invariant: nothing here keeps state; results are 0, positive, or -errno as the call returned them.
 */
#ifndef GUEST_NET_PORT_H
#define GUEST_NET_PORT_H

#include "core/abi.h"
#include "guest/lib/nest.h"

#define NEST_PLUGIN_PIECE 4096u

int port_info(u32 port, struct nest_nic_info *out);
/* flags: NEST_ALLOC_*. A handle > 0. */
s64 port_alloc(u32 port, u32 flags);
int port_configure(u64 handle, const struct nest_nic_conf *conf);
int port_map_regs(u64 handle, u64 gpa);
int port_unmap_regs(u64 handle);
int port_dma_map(u64 handle, const struct nest_nic_dma *list, u64 n);
int port_dma_unmap(u64 handle, const struct nest_nic_dma *list, u64 n);
int port_irq_set(u64 handle, u64 index, const struct nest_nic_irq *irq);
int port_irq_mask(u64 handle, u64 index, u64 mask);
int port_irq_post(u64 handle, u64 index, u64 how, u64 gpa);
int port_irq_clear(u64 handle, u64 index);
int port_stats(u64 handle, struct nest_nic_stats *out);
s64 port_reg_read(u64 handle, u64 offset);
int port_reg_write(u64 handle, u64 offset, u64 value);
int port_free(u64 handle);
int port_quiesce(u64 handle);
int port_resume(u64 handle);
int port_save(u64 handle, struct nest_nic_state *out);
int port_restore(u64 handle, const struct nest_nic_state *in);

/* By port. mode: NEST_MODE_*. port_commit returns the head of the function's ring, port_plugin the bytes put at piece (room for NEST_PLUGIN_PIECE). */
int port_prepare(u32 port, u32 mode);
s64 port_commit(u32 port, u32 mode);
int port_abort(u32 port, u32 mode);
int port_fence(u32 port);
int port_want(u32 port, u32 mode);
int port_totals(u32 port, struct nest_nic_stats *out);
s64 port_plugin(u32 port, u32 offset, u8 *piece);

/* HC_FAULT: op is NEST_FAULT_*; out, for a query, may be NULL. */
s64 port_fault(u32 levels, u32 op, u64 index, struct nest_fault *out);

#endif
