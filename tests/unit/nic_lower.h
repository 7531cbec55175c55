/*
 * What the tests of HC_NIC_* share: two VMs, "a" on port 0 and "b" on port 1, over a lower link that fails on demand and books
 * what it was told. Include after <cmocka.h>.
 */
#ifndef TESTS_UNIT_NIC_LOWER_H
#define TESTS_UNIT_NIC_LOWER_H

#include "core/errno.h"
#include "core/hypercall.h"
#include "nic/port.h"
#include "tests/unit/nic_fakes.h"

#define MIB 8u
#define HALF (MIB << 19)
#define RW (NEST_DMA_READ | NEST_DMA_WRITE)
#define WINDOW 0x140000000ull

enum op { OP_INFO, OP_ALLOC, OP_CONFIGURE, OP_MAP_REGS, OP_UNMAP_REGS, OP_REG_READ, OP_REG_WRITE, OP_DMA_MAP, OP_DMA_UNMAP, OP_IRQ_SET,
	  OP_IRQ_MASK, OP_IRQ_POST, OP_IRQ_CLEAR, OP_STATS, OP_FREE, OP_QUIESCE, OP_RESUME, OP_SAVE, OP_RESTORE, OP_PREPARE, OP_COMMIT, OP_ABORT,
	  OP_PLUGIN, NR_OPS };

struct piece { u64 iova, hpa, len; u32 perm; };
extern struct low {
	u32 calls[NR_OPS];
	int fail[NR_OPS];       /* the next call fails with it */
	u32 fail_after[NR_OPS]; /* … after so many good ones */
	bool allocated, regs;
	u32 flags;              /* of the last alloc */
	u32 want, wishes;       /* what it says that further out is wished, and how often */
	u64 rx_packets;
	u8 body[512];
	struct piece map[1024];
	u32 nr;
	struct nic_irq_request irq[3];
	bool irq_used[3], irq_masked[3];
	hpa_t irq_page[3];      /* as the last irq_post said */
} low[2];

extern struct vm_config cfg[2];
extern struct vm *vm[2];
extern u8 record[PAGE_SIZE];
extern s64 handle; /* of VM a's port, allocated by start() */

/* Set up and tear down of each test; stop() checks that the books of both sides balance. */
int start(void **state);
int stop(void **state);
#define T(f) cmocka_unit_test_setup_teardown(f, start, stop)

/* Hypercall nr of VM who, with what is in the record page. */
s64 hc(u32 who, u32 nr, u64 a0, u64 a1, u64 a2);
/* VM a's: entry i of a list, one mapping, one taken away, an interrupt set up. */
void record_dma(u32 i, u64 iova, u64 gpa, u64 len, u32 perm);
s64 map_one(u64 iova, u64 gpa, u64 len);
s64 unmap_one(u64 iova, u64 len);
s64 irq(u32 index, u32 vector, u32 apic, u64 pi, u32 pi_vector);
s64 post(u32 index, u64 how, u64 gpa);

#endif
