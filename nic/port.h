/*
 * Ports of VMs, inside: what nic_hc.c calls once a hypercall is decoded. All but port_enter and
 * port_try_enter: with the port's lock held.
 */
#ifndef NIC_PORT_H
#define NIC_PORT_H

#include "nic/nic.h"

/* What a VM's port has mapped, and room to build one list for the lower link. One allocation, paid by the VM. */
#define DMA_BOOK_ORDER 3
struct nic_dma_span { u64 iova, len; };
struct nic_dma_book {
	u32 nr;
	struct iommu_range scratch[NEST_DMA_MAX];
	struct nic_dma_span span[]; /* sorted, never adjacent */
};
#define DMA_BOOK_MAX (((PAGE_SIZE << DMA_BOOK_ORDER) - sizeof(struct nic_dma_book)) / sizeof(struct nic_dma_span))

/*
 * Take the port's lock. -EAGAIN instead of waiting for somebody who waits until our CPU has flushed its TLB.
 */
int port_enter(struct nic_port *p) __must_check;
/* Take it only if it is free: for interrupt handlers. */
bool port_try_enter(struct nic_port *p) __must_check;
/* Give it back. News of further out that came meanwhile (nic_port_changed) are taken in before this returns. */
void port_leave(struct nic_port *p);

/* nic.c */
struct nic_lower *nic_lower_get(u32 index);
u32 nic_lower_count(void);

/* port.c */
/* flags: NEST_ALLOC_* */
int port_open(struct nic_port *p, u32 flags);
int port_close(struct nic_port *p);
int port_configure(struct nic_port *p, const struct nest_nic_conf *conf);
int port_info(struct nic_port *p, struct nest_nic_info *out);
/* Running totals over both states and all openings. */
int port_stats(struct nic_port *p, struct nest_nic_stats *out);
/* Visit every bound port (for the report). */
void port_for_each(void (*fn)(struct nic_port *p));

/* port_mode.c: the mode transaction, as HC_NIC_PREPARE and its family return. */
int port_prepare(struct nic_port *p, enum nic_mode mode);
int port_commit(struct nic_port *p, enum nic_mode mode);
int port_abort(struct nic_port *p, enum nic_mode mode);
int port_fence(struct nic_port *p);
/* An administrator's wish. 0, -EPERM (to pass-through: not possible, or a level does not allow it). */
int port_wish(struct nic_port *p, enum nic_mode mode);

/* Take in what may have changed further out. */
void port_adopt(struct nic_port *p);

/* port_state.c: as HC_NIC_QUIESCE and its family return. */
int port_quiesce(struct nic_port *p);
int port_resume(struct nic_port *p);
/*
 * Halt the function if the bridge refuses the port (port_ext_refused), let it go on if it does no more. unsettled says that this is to be
 * called again, a little later.
 */
void port_obey(struct nic_port *p);
int port_save(struct nic_port *p, struct nest_nic_state *out);
int port_restore(struct nic_port *p, const struct nest_nic_state *in);

/* port_regs.c */
int port_map_regs(struct nic_port *p, gpa_t gpa);
int port_unmap_regs(struct nic_port *p);

/* port_dma.c */
int port_dma_init(struct nic_port *p);
void port_dma_fini(struct nic_port *p);
int port_dma_map(struct nic_port *p, const struct nest_nic_dma *list, u32 n);
int port_dma_unmap(struct nic_port *p, const struct nest_nic_dma *list, u32 n);

/* port_irq.c */
void port_irq_init(struct nic_port *p);
int port_irq_set(struct nic_port *p, u32 index, const struct nest_nic_irq *want);
int port_irq_mask(struct nic_port *p, u32 index, bool mask);
/* how: NEST_POST_*. */
int port_irq_post(struct nic_port *p, u32 index, u32 how, gpa_t page);
int port_irq_clear(struct nic_port *p, u32 index);

#endif
