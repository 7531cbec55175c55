/*
 * The emulated network device driven wrongly: buffers and rings (VIRTIO 1.2, Split Virtqueues). What the specification forbids must
 * give DEVICE_NEEDS_RESET, or be dropped, and after a reset the device works as if nothing had been.
 */
#include <stdio.h>
#include <string.h>

#include "guest/lib/clock.h"
#include "guest/lib/memory.h"
#include "guest/lib/nest.h"
#include "guest/work/torture_virtio.h"
#include "guest/work/work.h"

#define LAPIC 0xfee00000ull
#define IOAPIC 0xfec00000ull
#define N VIRTQ_DESC_NEXT
#define W VIRTQ_DESC_WRITE
#define IND VIRTQ_DESC_INDIRECT
#define INDIRECT BIT(VIRTIO_F_RING_INDIRECT_DESC)
#define MERGE TV_BIT(MRG_RXBUF)

/* BREAKS: DEVICE_NEEDS_RESET. TAKEN: the buffer comes back and the device goes on. EITHER: one of the two. */
enum want { BREAKS, TAKEN, EITHER };

/* One buffer, made of the first descriptors of the queue, made available `ahead` times too much. */
struct bad {
	const char *name;
	enum want want;
	u64 features;
	u16 head, ahead;
	struct virtq_desc d[3];
};

static bool came(struct tv *t, u32 q) { return READ_ONCE(tv_ring(t, q)->used.idx) || tv_broken(t); }

static bool as_wanted(struct tv *t, const struct bad *b, u32 q)
{
	bool any = clock_wait(came(t, q), TV_WAIT_US), broken = tv_broken(t);

	return any && (b->want == EITHER || broken == (b->want == BREAKS));
}

static void make_available(struct tv *t, u32 q, const struct bad *b)
{
	struct virtq_mem *m = tv_ring(t, q);

	memcpy(m->desc, b->d, sizeof(b->d));
	m->avail.ring[0] = b->head;
	compiler_barrier();
	WRITE_ONCE(m->avail.idx, 1 + b->ahead);
}

/* ---- transmit ---- */

static u32 try_tx(struct tv *t, const struct bad *b)
{
	bool up = tv_up(t, TV_PLAIN | b->features);

	make_available(t, VIRTIO_NET_TXQ, b);
	tv_kick(t, VIRTIO_NET_TXQ);
	return tv_case(t, up && as_wanted(t, b, VIRTIO_NET_TXQ), b->name);
}

/* spare: a table of 64 descriptors, each of them one byte, the last one leading to the first. */
static void long_table(struct tv *t)
{
	struct virtq_desc *d = (struct virtq_desc *)t->mem->spare;

	for (u16 i = 0; i < 64; i++)
		d[i] = (struct virtq_desc){ (u64)t->mem->tx[0], 1, N, (u16)((i + 1) % 64) };
}

static u32 bad_tx(struct tv *t)
{
	u64 f = (u64)t->mem->tx[0], s = (u64)t->mem->spare, top = memory_top(), win = memory_device_window();
	const struct bad all[] = {
		{ "tx-loop-of-one", BREAKS, 0, 0, 0, { { f, 60, N, 0 } } },
		{ "tx-loop-of-two", BREAKS, 0, 0, 0, { { f, 60, N, 1 }, { f, 60, N, 0 } } },
		{ "tx-next-outside-table", BREAKS, 0, 0, 0, { { f, 60, N, TV_SIZE } } },
		{ "tx-next-huge", BREAKS, 0, 0, 0, { { f, 60, N, 0xffff } } },
		{ "tx-head-outside-table", BREAKS, 0, TV_SIZE, 0, { { f, 72, 0, 0 } } },
		{ "tx-head-huge", BREAKS, 0, 0xffff, 0, { { f, 72, 0, 0 } } },
		{ "tx-index-one-too-far", BREAKS, 0, 0, TV_SIZE, { { f, 72, 0, 0 } } },
		{ "tx-index-backwards", BREAKS, 0, 0, 0xfffe, { { f, 72, 0, 0 } } },
		{ "tx-index-far-ahead", BREAKS, 0, 0, 0x8000, { { f, 72, 0, 0 } } },
		{ "tx-same-buffer-sixteen-times", TAKEN, 0, 0, TV_SIZE - 1, { { f, 72, 0, 0 } } },
		{ "tx-length-zero", BREAKS, 0, 0, 0, { { f, 0, 0, 0 } } },
		{ "tx-header-cut", BREAKS, 0, 0, 0, { { f, 11, 0, 0 } } },
		{ "tx-no-frame", TAKEN, 0, 0, 0, { { f, 12, 0, 0 } } },
		{ "tx-zero-length-parts", TAKEN, 0, 0, 0, { { f, 0, N, 1 }, { f, 72, N, 2 }, { f, 0, 0, 0 } } },
		{ "tx-length-huge", TAKEN, 0, 0, 0, { { f, ~0u, 0, 0 } } },
		{ "tx-lengths-wrap", TAKEN, 0, 0, 0, { { f, ~0u, N, 1 }, { f, 73, 0, 0 } } },
		{ "tx-writable", BREAKS, 0, 0, 0, { { f, 72, W, 0 } } },
		{ "tx-writable-behind", BREAKS, 0, 0, 0, { { f, 72, N, 1 }, { f, 72, W, 0 } } },
		{ "tx-readable-behind-writable", BREAKS, 0, 0, 0, { { f, 72, W | N, 1 }, { f, 72, 0, 0 } } },
		{ "tx-outside-memory", BREAKS, 0, 0, 0, { { top, 72, 0, 0 } } },
		{ "tx-far-outside-memory", BREAKS, 0, 0, 0, { { win, 72, 0, 0 } } },
		{ "tx-across-end-of-memory", BREAKS, 0, 0, 0, { { top - 40, 72, 0, 0 } } },
		{ "tx-up-to-end-of-memory", EITHER, 0, 0, 0, { { top - 72, 72, 0, 0 } } },
		{ "tx-wraps-address-space", BREAKS, 0, 0, 0, { { ~0ull - 7, 72, 0, 0 } } },
		{ "tx-own-registers", BREAKS, 0, 0, 0, { { (u64)t->pci.bar0, 72, 0, 0 } } },
		{ "tx-config-space", BREAKS, 0, 0, 0, { { PCI_ECAM_BASE, 72, 0, 0 } } },
		{ "tx-local-apic", BREAKS, 0, 0, 0, { { LAPIC, 72, 0, 0 } } },
		{ "tx-io-apic", BREAKS, 0, 0, 0, { { IOAPIC, 72, 0, 0 } } },
		{ "tx-second-part-outside", BREAKS, 0, 0, 0, { { f, 40, N, 1 }, { top, 60, 0, 0 } } },
		{ "tx-indirect-not-negotiated", BREAKS, 0, 0, 0, { { s, 16, IND, 0 } } },
		{ "tx-indirect-with-next", BREAKS, INDIRECT, 0, 0, { { s, 16, IND | N, 1 } } },
		{ "tx-indirect-length-zero", BREAKS, INDIRECT, 0, 0, { { s, 0, IND, 0 } } },
		{ "tx-indirect-length-odd", BREAKS, INDIRECT, 0, 0, { { s, 24, IND, 0 } } },
		{ "tx-indirect-outside-memory", BREAKS, INDIRECT, 0, 0, { { top, 32, IND, 0 } } },
		{ "tx-indirect-across-end-of-memory", BREAKS, INDIRECT, 0, 0, { { top - 16, 32, IND, 0 } } },
		{ "tx-indirect-wraps-address-space", BREAKS, INDIRECT, 0, 0, { { ~15ull, 32, IND, 0 } } },
		{ "tx-indirect-huge", BREAKS, INDIRECT, 0, 0, { { s, 0xfffffff0u, IND, 0 } } },
		{ "tx-indirect-local-apic", BREAKS, INDIRECT, 0, 0, { { LAPIC, 32, IND, 0 } } },
		{ "tx-indirect-chain-too-long", BREAKS, INDIRECT, 0, 0, { { s, 64 * 16, IND, 0 } } },
		{ "tx-indirect-loop", BREAKS, INDIRECT, 0, 0, { { s, 16, IND, 0 } } },
		{ "tx-indirect-in-indirect", BREAKS, INDIRECT, 0, 0, { { (u64)(tv_ring(t, VIRTIO_NET_TXQ)->desc), 16, IND, 0 } } },
	};
	u32 failed = 0;

	long_table(t);
	for (u32 i = 0; i < ARRAY_SIZE(all); i++)
		failed += try_tx(t, &all[i]);
	return failed;
}

/* ---- receive: the peer's answer meets the buffer ---- */

static u32 try_rx(struct tv *t, const struct bad *b)
{
	bool up = tv_start(t, TV_PLAIN | b->features);

	make_available(t, VIRTIO_NET_RXQ, b);
	virtio_status_add(t->common, VIRTIO_STATUS_DRIVER_OK);
	tv_kick(t, VIRTIO_NET_RXQ);
	tv_ask(t);
	return tv_case(t, up && as_wanted(t, b, VIRTIO_NET_RXQ), b->name);
}

static u32 bad_rx(struct tv *t)
{
	u64 f = (u64)t->mem->rx[0], s = (u64)t->mem->spare, top = memory_top();
	const struct bad all[] = {
		{ "rx-loop-of-one", BREAKS, 0, 0, 0, { { f, 60, N | W, 0 } } },
		{ "rx-next-outside-table", BREAKS, 0, 0, 0, { { f, 8, N | W, TV_SIZE } } },
		{ "rx-head-outside-table", BREAKS, 0, TV_SIZE, 0, { { f, TV_BUF, W, 0 } } },
		{ "rx-index-one-too-far", BREAKS, 0, 0, TV_SIZE, { { f, TV_BUF, W, 0 } } },
		{ "rx-index-backwards", BREAKS, 0, 0, 0xfffe, { { f, TV_BUF, W, 0 } } },
		{ "rx-readable", BREAKS, 0, 0, 0, { { f, TV_BUF, 0, 0 } } },
		{ "rx-readable-and-writable", BREAKS, 0, 0, 0, { { f, 12, N, 1 }, { f, TV_BUF, W, 0 } } },
		{ "rx-length-zero", BREAKS, 0, 0, 0, { { f, 0, W, 0 } } },
		{ "rx-header-cut", BREAKS, 0, 0, 0, { { f, 11, W, 0 } } },
		{ "rx-length-zero-merged", BREAKS, MERGE, 0, 1, { { f, 0, W, 0 } } },
		{ "rx-length-huge", TAKEN, 0, 0, 0, { { f, ~0u, W, 0 } } },
		{ "rx-outside-memory", BREAKS, 0, 0, 0, { { top, TV_BUF, W, 0 } } },
		{ "rx-across-end-of-memory", BREAKS, 0, 0, 0, { { top - 16, TV_BUF, W, 0 } } },
		{ "rx-wraps-address-space", BREAKS, 0, 0, 0, { { ~0ull - 7, TV_BUF, W, 0 } } },
		{ "rx-own-registers", BREAKS, 0, 0, 0, { { (u64)t->pci.bar0, TV_BUF, W, 0 } } },
		{ "rx-config-space", BREAKS, 0, 0, 0, { { PCI_ECAM_BASE, TV_BUF, W, 0 } } },
		{ "rx-local-apic", BREAKS, 0, 0, 0, { { LAPIC, TV_BUF, W, 0 } } },
		{ "rx-io-apic", BREAKS, 0, 0, 0, { { IOAPIC, TV_BUF, W, 0 } } },
		{ "rx-indirect-not-negotiated", BREAKS, 0, 0, 0, { { s, 16, IND, 0 } } },
		{ "rx-indirect-length-zero", BREAKS, INDIRECT, 0, 0, { { s, 0, IND, 0 } } },
		{ "rx-indirect-of-readable-parts", BREAKS, INDIRECT, 0, 0, { { s, 64 * 16, IND, 0 } } },
		{ "rx-into-its-own-ring", EITHER, 0, 0, 0, { { (u64)tv_ring(t, VIRTIO_NET_RXQ), TV_BUF, W, 0 } } },
	};
	u32 failed = 0;

	long_table(t);
	for (u32 i = 0; i < ARRAY_SIZE(all); i++)
		failed += try_rx(t, &all[i]);
	return failed;
}

/* ---- rings ---- */

/* Where the transmit queue's rings lie. breaks: must be seen when the queue is enabled; else only nobody may be harmed. */
struct rings { const char *name; bool breaks; u64 desc, avail, used; };

static u32 try_rings(struct tv *t, const struct rings *r)
{
	u64 got;
	bool ok = tv_reset(t) && !virtio_negotiate(t->common, TV_PLAIN, TV_PLAIN, &got);

	tv_queue_raw(t, VIRTIO_NET_TXQ, TV_SIZE, r->desc, r->avail, r->used);
	if (r->breaks)
		ok = ok && tv_broken(t);
	virtio_status_add(t->common, VIRTIO_STATUS_DRIVER_OK);
	for (u32 i = 0; i < TV_QUEUES; i++)
		tv_kick(t, i);
	return tv_case(t, ok, r->name);
}

static u32 bad_rings(struct tv *t)
{
	u64 s = (u64)t->mem->spare, a = s + 0x1000, u = s + 0x2000, top = memory_top();
	const struct rings all[] = {
		{ "ring-table-misaligned", true, s + 8, a, u }, { "ring-available-misaligned", true, s, a + 1, u },
		{ "ring-used-misaligned", true, s, a, u + 2 }, { "ring-table-outside-memory", true, top, a, u },
		{ "ring-table-across-end-of-memory", true, top - 128, a, u }, { "ring-available-across-end-of-memory", true, s, top - 16, u },
		{ "ring-used-across-end-of-memory", true, s, a, top - 64 }, { "ring-table-wraps", true, ~15ull, a, u },
		{ "ring-available-wraps", true, s, ~1ull, u }, { "ring-used-wraps", true, s, a, ~3ull },
		{ "ring-used-in-own-registers", true, s, a, (u64)t->pci.bar0 }, { "ring-used-in-local-apic", true, s, a, LAPIC },
		{ "ring-table-in-config-space", true, PCI_ECAM_BASE, a, u }, { "ring-none", false, 0, 0, 0 },
		{ "ring-used-over-available", false, s, a, a }, { "ring-used-over-table", false, s, a, s },
		{ "ring-all-in-one-place", false, s, s, s },
	};
	u32 failed = 0;

	for (u32 i = 0; i < ARRAY_SIZE(all); i++) {
		struct virtq_desc *d = (struct virtq_desc *)t->mem->spare;
		memset(t->mem->spare, 0, TV_SPARE);
		d[0] = (struct virtq_desc){ (u64)t->mem->tx[0], 72, 0, 0 };
		t->mem->spare[0x1002] = 1; /* one buffer is available */
		failed += try_rings(t, &all[i]);
	}
	return failed;
}

u32 tv_group_queues(struct tv *t) { return bad_tx(t) + bad_rx(t) + bad_rings(t); }

/* ---- the workloads ---- */

static struct tv tv;

u32 work_torture_virtio(const struct cmdline *c)
{
	struct tv *t = &tv;

	nest_phase(PHASE_CONTROL);
	if (!tv_open(t, c))
		return work_check(false, "virtio-open");
	u32 failed = tv_group_registers(t) + tv_group_control(t) + tv_group_queues(t) + tv_group_pci(t) + tv_group_msix(t);
	failed += tv_group_modes(t) + tv_group_races(t);
	tv_close(t);
	return failed;
}

u32 work_torture_virtio_end(const struct cmdline *c)
{
	nest_phase(PHASE_CONTROL);
	if (!tv_open(&tv, c))
		return work_check(false, "virtio-open");
	tv_end_in_the_midst(&tv);
	return 1;
}
