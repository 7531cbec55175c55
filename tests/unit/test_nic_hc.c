/*
 * HC_NIC_* of a VM against a lower link that fails on demand: decoding, translation, handles, the book of mappings, roll-back,
 * interrupts; and after every failure the books of both sides balance.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/errno.h"
#include "core/hypercall.h"
#include "nic/port.h"
#include "tests/unit/nic_fakes.h"

#define MIB 8u
#define HALF (MIB << 19)
#define RW (NEST_DMA_READ | NEST_DMA_WRITE)
#define WINDOW 0x140000000ull

/* ---- the lower link ---- */

enum op { OP_INFO, OP_ALLOC, OP_CONFIGURE, OP_MAP_REGS, OP_UNMAP_REGS, OP_REG_READ, OP_REG_WRITE, OP_DMA_MAP, OP_DMA_UNMAP, OP_IRQ_SET,
	  OP_IRQ_MASK, OP_IRQ_CLEAR, OP_STATS, OP_FREE, NR_OPS };

struct piece { u64 iova, hpa, len; u32 perm; };
static struct {
	u32 calls[NR_OPS];
	int fail[NR_OPS];       /* the next call fails with it */
	u32 fail_after[NR_OPS]; /* … after so many good ones */
	bool allocated, regs;
	struct piece map[1024];
	u32 nr;
	struct nic_irq_request irq[3];
	bool irq_used[3], irq_masked[3];
} low[2];

static int passes(struct nic_lower *l, enum op op)
{
	u32 i = l->index;
	low[i].calls[op]++;
	if (!low[i].fail[op])
		return 0;
	if (low[i].fail_after[op]) {
		low[i].fail_after[op]--;
		return 0;
	}
	int r = low[i].fail[op];
	low[i].fail[op] = 0;
	return r;
}

static int f_info(struct nic_lower *l, struct nest_nic_info *out)
{
	*out = (struct nest_nic_info){ .mac = { 2, 0, 0, 0, 0, (u8)l->index }, .mode = 1, .irq_vectors = 3, .family = 1 };
	return passes(l, OP_INFO);
}
static int f_alloc(struct nic_lower *l, struct vm *vm, const struct nic_config *conf)
{
	(void)vm, (void)conf;
	int r = passes(l, OP_ALLOC);
	low[l->index].allocated |= !r;
	return r;
}
static int f_configure(struct nic_lower *l, const struct nest_nic_conf *conf)
{
	(void)conf;
	return passes(l, OP_CONFIGURE);
}
static int f_map_regs(struct nic_lower *l, hpa_t *base)
{
	int r = passes(l, OP_MAP_REGS);
	*base = HPA(0x800020000);
	low[l->index].regs |= !r;
	return r;
}
static int f_unmap_regs(struct nic_lower *l)
{
	low[l->index].regs = false;
	return passes(l, OP_UNMAP_REGS);
}
static int f_reg_read(struct nic_lower *l, u32 offset, u32 *value)
{
	*value = offset | 0x80000000u;
	return passes(l, OP_REG_READ);
}
static int f_reg_write(struct nic_lower *l, u32 offset, u32 value)
{
	(void)offset, (void)value;
	return passes(l, OP_REG_WRITE);
}
static int f_dma_map(struct nic_lower *l, const struct iommu_range *r, u32 n)
{
	int e = passes(l, OP_DMA_MAP);
	assert_true(n && n <= NEST_DMA_MAX);
	for (u32 i = 0; i < n && !e; i++)
		low[l->index].map[low[l->index].nr++] = (struct piece){ r[i].iova.v, r[i].hpa.v, r[i].len, r[i].perm };
	return e;
}
/* Ranges taken away cover whole pieces, except where a test unmaps part of one: then the rest stays. */
static void forget(u32 i, u64 iova, u64 len)
{
	for (u32 k = 0; k < low[i].nr; k++) {
		struct piece old = low[i].map[k];
		if (old.iova >= iova + len || iova >= old.iova + old.len)
			continue;
		low[i].map[k--] = low[i].map[--low[i].nr];
		if (old.iova < iova)
			low[i].map[low[i].nr++] = (struct piece){ old.iova, old.hpa, iova - old.iova, old.perm };
		if (old.iova + old.len > iova + len)
			low[i].map[low[i].nr++] = (struct piece){ iova + len, old.hpa + (iova + len - old.iova),
								   old.iova + old.len - iova - len, old.perm };
	}
}
static int f_dma_unmap(struct nic_lower *l, const struct iommu_range *r, u32 n)
{
	int e = passes(l, OP_DMA_UNMAP);
	for (u32 i = 0; i < n && !e; i++)
		forget(l->index, r[i].iova.v, r[i].len);
	return e;
}
static int f_irq_set(struct nic_lower *l, u32 index, const struct nic_irq_request *req)
{
	int r = passes(l, OP_IRQ_SET);
	if (!r) {
		low[l->index].irq[index] = *req;
		low[l->index].irq_used[index] = true;
	}
	return r;
}
static int f_irq_mask(struct nic_lower *l, u32 index, bool mask)
{
	int r = passes(l, OP_IRQ_MASK);
	if (!r)
		low[l->index].irq_masked[index] = mask;
	return r;
}
static int f_irq_clear(struct nic_lower *l, u32 index)
{
	int r = passes(l, OP_IRQ_CLEAR);
	if (!r)
		low[l->index].irq_used[index] = false;
	return r;
}
static int f_stats(struct nic_lower *l, struct nest_nic_stats *out)
{
	*out = (struct nest_nic_stats){ .rx_packets = 5, .faults = 1 };
	return passes(l, OP_STATS);
}
static int f_free(struct nic_lower *l)
{
	assert_false(low[l->index].regs);
	low[l->index].allocated = false;
	low[l->index].nr = 0;
	return passes(l, OP_FREE);
}

static const struct nic_ops ops = {
	"fake", f_info, f_alloc, f_configure, f_map_regs, f_unmap_regs, f_reg_read, f_reg_write, f_dma_map, f_dma_unmap, f_irq_set,
	f_irq_mask, f_irq_clear, f_stats, f_free,
};

/* ---- what nic.c wants besides ---- */

static const struct hc_entry *bound[HC_MAX];
void hypercall_bind(u32 nr, const struct hc_entry *e) { bound[nr] = e; }
bool outer_present(void) { return false; }
u32 outer_depth(void) { return 0; }
int upstream_init(void) { return 0; }
static const u32 no_ids[] = { 0 };
const struct nic_driver igb_driver = { .name = "none", .ids = no_ids };

/* ---- two VMs ---- */

static struct vm_config cfg[2] = {
	{ .name = "a", .nics = { { .port = 0, .mode = NIC_PASSTHROUGH } }, .nr_nics = 1 },
	{ .name = "b", .nics = { { .port = 1, .mode = NIC_PASSTHROUGH } }, .nr_nics = 1 },
};
static struct vm *vm[2];
static u8 record[PAGE_SIZE];
static s64 handle;

static s64 hc(u32 who, u32 nr, u64 a0, u64 a1, u64 a2)
{
	struct hc_call c = { .v = &fake_vcpus[0], .arg = { a0, a1, a2 }, .rec = record };
	fake_vcpus[0].vm = vm[who];
	return bound[nr]->fn(&c);
}

static void record_dma(u32 i, u64 iova, u64 gpa, u64 len, u32 perm)
{
	((struct nest_nic_dma *)record)[i] = (struct nest_nic_dma){ iova, gpa, len, perm, 0 };
}

static s64 map_one(u64 iova, u64 gpa, u64 len)
{
	record_dma(0, iova, gpa, len, RW);
	return hc(0, HC_NIC_DMA_MAP, (u64)handle, 1, 0);
}

static s64 unmap_one(u64 iova, u64 len)
{
	record_dma(0, iova, 0, len, 0);
	return hc(0, HC_NIC_DMA_UNMAP, (u64)handle, 1, 0);
}

static s64 irq(u32 index, u32 vector, u32 apic, u64 pi, u32 pi_vector)
{
	struct nest_nic_irq want = { vector, apic, pi, pi_vector, 0 };
	memcpy(record, &want, sizeof(want));
	return hc(0, HC_NIC_IRQ_SET, (u64)handle, index, 0);
}

static int start(void **state)
{
	static bool once;
	(void)state;
	fakes_reset();
	memset(low, 0, sizeof(low));
	if (!once) {
		assert_int_equal(nic_lower_add(&ops, NULL), 0);
		assert_int_equal(nic_lower_add(&ops, NULL), 1);
		nic_hypercalls_init();
	}
	once = true;
	for (u32 i = 0; i < 2; i++) {
		vm[i] = fake_vm(cfg[i].name, MIB, &cfg[i]);
		assert_int_equal(nic_ports_init(vm[i]), 0);
	}
	handle = hc(0, HC_NIC_ALLOC, 0, 0, 0);
	assert_true(handle > 0);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	for (u32 i = 0; i < 2; i++) {
		nic_ports_fini(vm[i]);
		assert_false(low[i].allocated);
		fake_vm_free(vm[i]);
	}
	static const struct fake_balance none;
	assert_memory_equal(&fake_balance, &none, sizeof(none));
	return 0;
}

/* ---- handles ---- */

static void handles_are_the_callers(void **state)
{
	static const u32 with_handle[] = { HC_NIC_CONFIGURE, HC_NIC_MAP_REGS, HC_NIC_UNMAP_REGS, HC_NIC_DMA_MAP, HC_NIC_DMA_UNMAP,
					   HC_NIC_IRQ_SET, HC_NIC_IRQ_MASK, HC_NIC_IRQ_CLEAR, HC_NIC_STATS, HC_NIC_REG_READ,
					   HC_NIC_REG_WRITE, HC_NIC_FREE };
	const u64 wrong[] = { 0, 1, (u64)handle + 0x100, (u64)handle + 1, (u64)handle | BIT(32), ~0ull };
	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(with_handle); i++) {
		u64 arg1 = with_handle[i] == HC_NIC_MAP_REGS ? WINDOW : with_handle[i] == HC_NIC_DMA_MAP || with_handle[i] == HC_NIC_DMA_UNMAP;
		memset(record, 0, sizeof(record));
		for (u32 k = 0; k < ARRAY_SIZE(wrong); k++)
			assert_int_equal(hc(0, with_handle[i], wrong[k], arg1, 0), -ENOENT);
		assert_int_equal(hc(1, with_handle[i], (u64)handle, arg1, 0), -ENOENT); /* another VM's */
	}
	assert_int_equal(hc(0, HC_NIC_ALLOC, 0, 0, 0), -EBUSY);
	assert_int_equal(hc(0, HC_NIC_ALLOC, 1, 0, 0), -ENOENT);
	assert_int_equal(hc(0, HC_NIC_INFO, ~0ull, 0, 0), -ENOENT);
	assert_int_equal(hc(0, HC_NIC_FREE, (u64)handle, 0, 0), 0);
	assert_int_equal(hc(0, HC_NIC_STATS, (u64)handle, 0, 0), -ENOENT); /* stale */
	s64 next = hc(0, HC_NIC_ALLOC, 0, 0, 0);
	assert_true(next > 0 && next != handle);
	assert_int_equal(hc(0, HC_NIC_STATS, (u64)handle, 0, 0), -ENOENT);
}

static void emulation_is_not_passed_through(void **state)
{
	struct nest_nic_info info;
	(void)state;
	assert_int_equal(hc(1, HC_NIC_INFO, 0, 0, 0), 0);
	memcpy(&info, record, sizeof(info));
	assert_int_equal(info.mode, 1);
	cfg[1].nics[0].mode = NIC_EMULATION;
	assert_int_equal(hc(1, HC_NIC_ALLOC, 0, 0, 0), -EPERM);
	hc(1, HC_NIC_INFO, 0, 0, 0);
	memcpy(&info, record, sizeof(info));
	cfg[1].nics[0].mode = NIC_PASSTHROUGH;
	assert_int_equal(info.mode, 0);
}

static void ports_are_bound_once(void **state)
{
	struct vm_config c = { .name = "c", .nics = { { .port = 0 } }, .nr_nics = 1 };
	struct vm *third = fake_vm("c", MIB, &c);
	(void)state;
	assert_int_equal(nic_ports_init(third), -EBUSY);
	assert_int_equal(third->nr_ports, 0);
	fake_vm_free(third);
}

static void a_port_the_machine_lacks_is_a_gap(void **state)
{
	(void)state;
	nic_ports_fini(vm[1]);
	cfg[1].nics[1] = cfg[1].nics[0]; /* a good one behind the gap */
	cfg[1].nics[0].port = 2;
	cfg[1].nr_nics = 2;
	assert_int_equal(nic_ports_init(vm[1]), 0);
	assert_non_null(strstr(seen.last_line, "port2, but there are 2 ports: it runs without"));
	assert_int_equal(vm[1]->nr_ports, 2);
	assert_null(vm[1]->ports[0]);
	assert_int_equal(hc(1, HC_NIC_INFO, 0, 0, 0), -ENOENT);
	assert_int_equal(hc(1, HC_NIC_ALLOC, 0, 0, 0), -ENOENT);
	assert_int_equal(hc(1, HC_NIC_STATS, 1, 0, 0), -ENOENT); /* a handle of the gap */
	assert_int_equal(hc(1, HC_NIC_INFO, 1, 0, 0), 0);
	nic_ports_fini(vm[1]);
	assert_int_equal(vm[1]->nr_ports, 0);
	cfg[1].nics[0] = cfg[1].nics[1];
	cfg[1].nr_nics = 1;
	assert_int_equal(nic_ports_init(vm[1]), 0);
}

static void alloc_failure_leaves_nothing(void **state)
{
	(void)state;
	low[1].fail[OP_ALLOC] = -ENODEV;
	int pages = fake_balance.pages;
	assert_int_equal(hc(1, HC_NIC_ALLOC, 0, 0, 0), -ENODEV);
	assert_int_equal(fake_balance.pages, pages);
	vm[1]->owner.limit = vm[1]->owner.pages;
	assert_int_equal(hc(1, HC_NIC_ALLOC, 0, 0, 0), -ENOMEM);
	vm[1]->owner.limit = 0;
	assert_true(hc(1, HC_NIC_ALLOC, 0, 0, 0) > 0);
}

static void a_flushing_port_is_not_waited_for(void **state)
{
	struct nic_port *p = vm[0]->ports[0];
	(void)state;
	spin_lock(&p->lock);
	p->flushing = true;
	assert_int_equal(hc(0, HC_NIC_STATS, (u64)handle, 0, 0), -EAGAIN);
	assert_int_equal(hc(0, HC_NIC_INFO, 0, 0, 0), -EAGAIN);
	p->flushing = false;
	spin_unlock(&p->lock);
}

/* ---- memory ---- */

static void dma_arguments(void **state)
{
	static const struct { u64 iova, gpa, len; u32 perm; int want; } bad[] = {
		{ 0, 0, 0, RW, -EINVAL }, { 1, 0, PAGE_SIZE, RW, -EINVAL }, { 0, 1, PAGE_SIZE, RW, -EINVAL }, { 0, 0, 100, RW, -EINVAL },
		{ 0, 0, PAGE_SIZE, 0, -EINVAL }, { 0, 0, PAGE_SIZE, 4, -EINVAL }, { ~0xfffull, 0, PAGE_SIZE, RW, -EINVAL },
		{ 0, 0, ~0xfffull, RW, -EFAULT }, { PAGE_SIZE, 0, ~0xfffull, RW, -EINVAL }, { 0, 1ull << 63, 1ull << 63, RW, -EFAULT },
		{ 0, 2 * HALF, PAGE_SIZE, RW, -EFAULT }, { 0, 2 * HALF - PAGE_SIZE, 2 * PAGE_SIZE, RW, -EFAULT },
		{ 0, ~0xfffull, PAGE_SIZE, RW, -EFAULT }, { 0, BIT(47), PAGE_SIZE, RW, -EFAULT },
	};
	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(bad); i++) {
		record_dma(0, bad[i].iova, bad[i].gpa, bad[i].len, bad[i].perm);
		assert_int_equal(hc(0, HC_NIC_DMA_MAP, (u64)handle, 1, 0), bad[i].want);
	}
	record_dma(0, 0, 0, PAGE_SIZE, RW);
	((struct nest_nic_dma *)record)[0].reserved = 1;
	assert_int_equal(hc(0, HC_NIC_DMA_MAP, (u64)handle, 1, 0), -EINVAL);
	assert_int_equal(hc(0, HC_NIC_DMA_MAP, (u64)handle, 0, 0), -EINVAL);
	assert_int_equal(hc(0, HC_NIC_DMA_MAP, (u64)handle, NEST_DMA_MAX + 1, 0), -EINVAL);
	assert_int_equal(hc(0, HC_NIC_DMA_MAP, (u64)handle, ~0ull, 0), -EINVAL);
	assert_int_equal(hc(0, HC_NIC_DMA_MAP, (u64)handle, BIT(32) | 1, 0), -EINVAL);
	assert_int_equal(low[0].calls[OP_DMA_MAP], 0);
	assert_int_equal(vm[0]->ports[0]->dma->nr, 0);
}

static void a_range_may_lie_in_several_places(void **state)
{
	u64 low_end = (u64)fake_vm_ram(vm[0], HALF - PAGE_SIZE), high = (u64)fake_vm_ram(vm[0], HALF);
	(void)state;
	assert_int_equal(map_one(0x10000, HALF - PAGE_SIZE, 3 * PAGE_SIZE), 0);
	assert_int_equal(low[0].calls[OP_DMA_MAP], 1);
	assert_int_equal(low[0].nr, 2);
	assert_int_equal(low[0].map[0].iova, 0x10000);
	assert_int_equal(low[0].map[0].hpa, low_end);
	assert_int_equal(low[0].map[0].len, PAGE_SIZE);
	assert_int_equal(low[0].map[1].iova, 0x11000);
	assert_int_equal(low[0].map[1].hpa, high);
	assert_int_equal(low[0].map[1].len, 2 * PAGE_SIZE);
	assert_int_equal(unmap_one(0x10000, 3 * PAGE_SIZE), 0);
	assert_int_equal(low[0].nr, 0);
	/* many large leaves that are neighbours for us, too, are one piece */
	assert_int_equal(map_one(0, 0, HALF), 0);
	assert_int_equal(low[0].nr, 1);
	assert_int_equal(low[0].map[0].len, HALF);
}

static void maps_do_not_overlap(void **state)
{
	(void)state;
	assert_int_equal(map_one(0x10000, 0, 4 * PAGE_SIZE), 0);
	assert_int_equal(map_one(0x10000, 0, PAGE_SIZE), -EEXIST);
	assert_int_equal(map_one(0xf000, 0, 2 * PAGE_SIZE), -EEXIST);
	assert_int_equal(map_one(0x13000, 0, 2 * PAGE_SIZE), -EEXIST);
	assert_int_equal(map_one(0, 0, 64 * PAGE_SIZE), -EEXIST);
	record_dma(0, 0x40000, 0, 2 * PAGE_SIZE, RW);
	record_dma(1, 0x41000, 0, PAGE_SIZE, RW);
	assert_int_equal(hc(0, HC_NIC_DMA_MAP, (u64)handle, 2, 0), -EEXIST);
	assert_int_equal(map_one(0x14000, 0, PAGE_SIZE), 0); /* touching is not overlapping */
	assert_int_equal(map_one(0xf000, 0, PAGE_SIZE), 0);
	assert_int_equal(vm[0]->ports[0]->dma->nr, 1); /* and the book joins them */
}

static void unmaps_are_exact(void **state)
{
	(void)state;
	assert_int_equal(map_one(0x10000, 0, 4 * PAGE_SIZE), 0);
	assert_int_equal(unmap_one(0xf000, PAGE_SIZE), -EINVAL);
	assert_int_equal(unmap_one(0x10000, 5 * PAGE_SIZE), -EINVAL);
	assert_int_equal(unmap_one(0x10000, 0), -EINVAL);
	record_dma(0, 0x10000, 0, PAGE_SIZE, 0);
	record_dma(1, 0x10000, 0, PAGE_SIZE, 0);
	assert_int_equal(hc(0, HC_NIC_DMA_UNMAP, (u64)handle, 2, 0), -EINVAL); /* twice in one list */
	assert_int_equal(low[0].calls[OP_DMA_UNMAP], 0);
	assert_int_equal(unmap_one(0x11000, PAGE_SIZE), 0); /* out of the middle */
	assert_int_equal(vm[0]->ports[0]->dma->nr, 2);
	assert_int_equal(unmap_one(0x11000, PAGE_SIZE), -EINVAL);
	assert_int_equal(unmap_one(0x10000, PAGE_SIZE), 0);
	assert_int_equal(unmap_one(0x13000, PAGE_SIZE), 0);
	assert_int_equal(unmap_one(0x12000, PAGE_SIZE), 0);
	assert_int_equal(vm[0]->ports[0]->dma->nr, 0);
	assert_int_equal(low[0].nr, 0);
	low[0].fail[OP_DMA_UNMAP] = -EIO;
	assert_int_equal(map_one(0x10000, 0, PAGE_SIZE), 0);
	assert_int_equal(unmap_one(0x10000, PAGE_SIZE), -EIO);
	assert_int_equal(vm[0]->ports[0]->dma->nr, 1); /* still mapped, as far as anybody knows */
}

/* Against a page-by-page picture: 20,000 random maps and unmaps. */
static void book_is_right(void **state)
{
	static u8 model[256];
	const struct nic_dma_book *b = vm[0]->ports[0]->dma;
	(void)state;
	memset(model, 0, sizeof(model));
	srand(1);
	for (u32 i = 0; i < 20000; i++) {
		u32 at = (u32)rand() % 256, n = 1 + (u32)rand() % 8, used = 0;
		if (at + n > 256)
			continue;
		for (u32 k = at; k < at + n; k++)
			used += model[k];
		bool map = rand() & 1;
		s64 want = map ? (used ? -EEXIST : 0) : (used == n ? 0 : -EINVAL);
		assert_int_equal(map ? map_one(at * PAGE_SIZE, 0, n * PAGE_SIZE) : unmap_one(at * PAGE_SIZE, n * PAGE_SIZE), want);
		if (!want)
			memset(model + at, map, n);
		u32 spans = 0;
		for (u32 k = 0; k < 256; k++)
			spans += model[k] && (!k || !model[k - 1]);
		assert_int_equal(b->nr, spans);
	}
}

static void book_is_bounded(void **state)
{
	u32 done = 0;
	s64 r;
	(void)state;
	for (u64 iova = 0; !(r = map_one(iova, 0, PAGE_SIZE)) && done < 10000; iova += 2 * PAGE_SIZE) {
		done++;
		low[0].nr = 0;
	}
	assert_int_equal(r, -ENOMEM);
	assert_int_equal(done, DMA_BOOK_MAX);
	assert_int_equal(vm[0]->ports[0]->dma->nr, DMA_BOOK_MAX);
}

/* A list of many pieces goes down in several calls; whichever fails, nothing of it stays. */
static void a_failing_map_is_undone(void **state)
{
	(void)state;
	for (u32 i = 0; i < NEST_DMA_MAX; i++) /* each lies in two places: 256 pieces, at least two calls */
		record_dma(i, i * 0x10000ull, HALF - PAGE_SIZE, 2 * PAGE_SIZE, RW);
	for (u32 after = 0; after < 2; after++) {
		low[0].fail[OP_DMA_MAP] = -ENOMEM;
		low[0].fail_after[OP_DMA_MAP] = after;
		assert_int_equal(hc(0, HC_NIC_DMA_MAP, (u64)handle, NEST_DMA_MAX, 0), -ENOMEM);
		assert_int_equal(low[0].nr, 0);
		assert_int_equal(vm[0]->ports[0]->dma->nr, 0);
	}
	assert_int_equal(hc(0, HC_NIC_DMA_MAP, (u64)handle, NEST_DMA_MAX, 0), 0);
	assert_int_equal(low[0].nr, 2 * NEST_DMA_MAX);
	assert_int_equal(vm[0]->ports[0]->dma->nr, NEST_DMA_MAX);
	/* a bad last range is found before the first is mapped */
	u32 calls = low[0].calls[OP_DMA_MAP];
	for (u32 i = 0; i < 3; i++)
		record_dma(i, BIT(32) + i * PAGE_SIZE, i == 2 ? BIT(40) : 0, PAGE_SIZE, RW);
	assert_int_equal(hc(0, HC_NIC_DMA_MAP, (u64)handle, 3, 0), -EFAULT);
	assert_int_equal(low[0].calls[OP_DMA_MAP], calls);
}

/* ---- registers ---- */

static void windows(void **state)
{
	struct ptab_leaf leaf;
	u64 value;
	(void)state;
	assert_int_equal(hc(0, HC_NIC_UNMAP_REGS, (u64)handle, 0, 0), -EINVAL);
	const u64 bad[] = { 0, WINDOW + 1, WINDOW + PAGE_SIZE, HALF, 0xfee00000, 0xfec00000, BIT(48), ~0x3fffull };
	for (u32 i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(hc(0, HC_NIC_MAP_REGS, (u64)handle, bad[i], 0), -EINVAL);
	static const struct vdev_ops other = { 0 };
	assert_int_equal(vdev_add(&vm[0]->mmio, WINDOW + 0x3000, 16, &other, NULL), 0);
	assert_int_equal(hc(0, HC_NIC_MAP_REGS, (u64)handle, WINDOW, 0), -EINVAL); /* a device under page 3 */
	vdev_remove(&vm[0]->mmio, WINDOW + 0x3000);
	assert_false(low[0].regs); /* the lower link was told each time */
	assert_int_equal(hc(0, HC_NIC_MAP_REGS, (u64)handle, WINDOW, 0), 0);
	assert_int_equal(hc(0, HC_NIC_MAP_REGS, (u64)handle, WINDOW + 0x4000, 0), -EEXIST);
	assert_false(ptab_walk(&vm[0]->ept, WINDOW, &leaf));
	for (u32 i = 1; i < 4; i++) {
		assert_true(ptab_walk(&vm[0]->ept, WINDOW + i * PAGE_SIZE, &leaf));
		assert_int_equal(leaf.pa.v, 0x800020000 + i * PAGE_SIZE);
		assert_true(leaf.flags & VM_MAP_DEVICE);
	}
	assert_true(vdev_read(&vm[0]->mmio, &fake_vcpus[0], WINDOW + 8, 4, &value));
	assert_int_equal(value, 0x80000008u);
	assert_true(vdev_read(&vm[0]->mmio, &fake_vcpus[0], WINDOW + 8, 8, &value));
	assert_int_equal(value, ~0ull);
	assert_true(vdev_read(&vm[0]->mmio, &fake_vcpus[0], WINDOW + 2, 4, &value));
	assert_int_equal(value, 0xffffffff);
	low[0].fail[OP_REG_READ] = -EIO;
	assert_true(vdev_read(&vm[0]->mmio, &fake_vcpus[0], WINDOW, 4, &value));
	assert_int_equal(value, 0);
	assert_true(vdev_write(&vm[0]->mmio, &fake_vcpus[0], WINDOW + 0xffc, 2, 1));
	assert_int_equal(low[0].calls[OP_REG_WRITE], 0);
	assert_true(vdev_write(&vm[0]->mmio, &fake_vcpus[0], WINDOW + 0xffc, 4, 1));
	assert_int_equal(low[0].calls[OP_REG_WRITE], 1);
	assert_int_equal(map_one(0, WINDOW + PAGE_SIZE, PAGE_SIZE), -EFAULT); /* registers are no memory for DMA */
	assert_int_equal(hc(0, HC_NIC_UNMAP_REGS, (u64)handle, 0, 0), 0);
	assert_int_equal(seen.flushes, 1);
	assert_false(ptab_walk(&vm[0]->ept, WINDOW + PAGE_SIZE, &leaf));
	assert_false(vdev_read(&vm[0]->mmio, &fake_vcpus[0], WINDOW, 4, &value));
	assert_false(low[0].regs);
}

static void window_failures(void **state)
{
	struct ptab_leaf leaf;
	(void)state;
	low[0].fail[OP_MAP_REGS] = -EIO;
	assert_int_equal(hc(0, HC_NIC_MAP_REGS, (u64)handle, WINDOW, 0), -EIO);
	vm[0]->owner.limit = vm[0]->owner.pages;
	assert_int_equal(hc(0, HC_NIC_MAP_REGS, (u64)handle, WINDOW, 0), -ENOMEM);
	assert_false(low[0].regs);
	assert_int_equal(vm[0]->mmio.nr, 0);
	assert_false(ptab_walk(&vm[0]->ept, WINDOW + PAGE_SIZE, &leaf));
	vm[0]->owner.limit = 0;
	assert_int_equal(hc(0, HC_NIC_MAP_REGS, (u64)handle, WINDOW, 0), 0); /* closed with the VM */
}

static void registers_by_hypercall(void **state)
{
	(void)state;
	assert_int_equal(hc(0, HC_NIC_REG_READ, (u64)handle, 8, 0), 0x80000008ll);
	assert_int_equal(hc(0, HC_NIC_REG_READ, (u64)handle, 0x1000, 0), -EINVAL);
	assert_int_equal(hc(0, HC_NIC_REG_READ, (u64)handle, 2, 0), -EINVAL);
	assert_int_equal(hc(0, HC_NIC_REG_READ, (u64)handle, BIT(32), 0), -EINVAL);
	assert_int_equal(hc(0, HC_NIC_REG_WRITE, (u64)handle, 8, BIT(32)), -EINVAL);
	low[0].fail[OP_REG_WRITE] = -EPERM;
	assert_int_equal(hc(0, HC_NIC_REG_WRITE, (u64)handle, 8, 0), -EPERM);
	assert_int_equal(hc(0, HC_NIC_REG_WRITE, (u64)handle, 8, 0), 0);
}

/* ---- interrupts ---- */

static void interrupt_arguments(void **state)
{
	(void)state;
	assert_int_equal(irq(3, 0x40, 0, ~0ull, 0), -EINVAL);
	assert_int_equal(irq(0, 15, 0, ~0ull, 0), -EINVAL);
	assert_int_equal(irq(0, 256, 0, ~0ull, 0), -EINVAL);
	assert_int_equal(irq(0, 0x40, 2, ~0ull, 0), -EINVAL);
	assert_int_equal(irq(0, 0x40, 0, 32, 0x40), -EINVAL);
	assert_int_equal(irq(0, 0x40, 0, 64, 15), -EINVAL);
	assert_int_equal(irq(0, 0x40, 0, BIT(40), 0x40), -EFAULT);
	assert_int_equal(hc(0, HC_NIC_IRQ_MASK, (u64)handle, 0, 1), -EINVAL); /* not set up */
	assert_int_equal(hc(0, HC_NIC_IRQ_CLEAR, (u64)handle, 0, 0), -EINVAL);
	assert_int_equal(hc(0, HC_NIC_IRQ_MASK, (u64)handle, 0, 2), -EINVAL);
	assert_int_equal(low[0].calls[OP_IRQ_SET], 0);
	assert_int_equal(fake_balance.vectors, 0);
}

static void interrupts_reach_the_vcpu(void **state)
{
	struct nic_irq_request *req = &low[0].irq[0];
	(void)state;
	assert_int_equal(irq(0, 0x61, 1, ~0ull, 0), 0);
	assert_int_equal(req->cpu, 1);
	assert_int_equal(req->pi.v, 0xd000 + PAGE_SIZE); /* the vCPU's own descriptor, for who takes it below us */
	assert_int_equal(req->pi_vector, 0x61);
	fake_running_pi = req->pi;
	assert_true(fake_irq(1, req->host_vector));
	assert_int_equal(fake_own_posts[1], 1); /* our own vCPU is final: posted, never past it */
	assert_int_equal(fake_own_vector[1], 0x61);
	assert_int_equal(fake_direct_posts, 0);
	assert_int_equal(vm[0]->ports[0]->nr_irqs, 1);
	/* an inner names its guest's descriptor */
	u64 pi = (u64)fake_vm_ram(vm[0], 0x5000);
	assert_int_equal(irq(0, 0x62, 1, 0x5000, 0x99), 0);
	assert_int_equal(fake_balance.vectors, 1); /* same CPU: same vector of ours */
	assert_int_equal(req->pi.v, pi);
	assert_int_equal(req->pi_vector, 0x99);
	assert_true(fake_irq(1, req->host_vector));
	assert_int_equal(fake_own_vector[1], 0x62);
	fake_running_pi = HPA(pi);
	assert_true(fake_irq(1, req->host_vector));
	assert_int_equal(fake_direct_posts, 1);
	assert_int_equal(fake_own_posts[1], 2);
	/* to the other CPU */
	u8 old = req->host_vector;
	assert_int_equal(irq(0, 0x63, 0, ~0ull, 0), 0);
	assert_int_equal(req->cpu, 0);
	assert_false(fake_irq(1, old));
	assert_true(fake_irq(0, req->host_vector));
	assert_int_equal(fake_own_vector[0], 0x63);
	assert_int_equal(hc(0, HC_NIC_IRQ_CLEAR, (u64)handle, 0, 0), 0);
	assert_int_equal(fake_balance.vectors, 0);
	assert_false(low[0].irq_used[0]);
}

static void a_refused_retarget_changes_nothing(void **state)
{
	(void)state;
	low[0].fail[OP_IRQ_SET] = -ENOSPC;
	assert_int_equal(irq(0, 0x61, 0, ~0ull, 0), -ENOSPC);
	assert_int_equal(fake_balance.vectors, 0);
	fake.err_vector = -ENOSPC;
	assert_int_equal(irq(0, 0x61, 0, ~0ull, 0), -ENOMEM);
	assert_int_equal(irq(0, 0x61, 0, ~0ull, 0), 0);
	low[0].fail[OP_IRQ_SET] = -EIO;
	assert_int_equal(irq(0, 0x62, 1, ~0ull, 0), -EIO);
	assert_int_equal(fake_balance.vectors, 1);
	assert_true(fake_irq(0, low[0].irq[0].host_vector));
	assert_int_equal(fake_own_vector[0], 0x61);
	low[0].fail[OP_IRQ_CLEAR] = -EIO;
	assert_int_equal(hc(0, HC_NIC_IRQ_CLEAR, (u64)handle, 0, 0), -EIO);
	assert_true(fake_irq(0, low[0].irq[0].host_vector));
}

static void storms_are_bounded(void **state)
{
	struct nic_port *p = vm[0]->ports[0];
	(void)state;
	assert_int_equal(irq(0, 0x61, 0, ~0ull, 0), 0);
	for (u32 i = 0; i < 30000 && !low[0].irq_masked[0]; i++) {
		p->irq[0].window_start = rdtsc(); /* the window does not end */
		assert_true(fake_irq(0, low[0].irq[0].host_vector));
	}
	assert_true(low[0].irq_masked[0]);
	assert_int_equal(p->irq[0].window_count, 20001);
	assert_int_equal(hc(0, HC_NIC_IRQ_MASK, (u64)handle, 0, 0), 0);
	assert_true(low[0].irq_masked[0]); /* the VM cannot lift it */
	spin_lock(&p->lock);
	assert_true(fake_timer()); /* somebody has the port: later */
	spin_unlock(&p->lock);
	assert_true(low[0].irq_masked[0]);
	assert_true(fake_timer());
	assert_false(low[0].irq_masked[0]);
}

/* ---- the end ---- */

static void statistics_are_running_totals(void **state)
{
	struct nest_nic_stats s;
	(void)state;
	assert_int_equal(hc(0, HC_NIC_STATS, (u64)handle, 0, 0), 0);
	memcpy(&s, record, sizeof(s));
	assert_int_equal(s.rx_packets, 5);
	assert_int_equal(hc(0, HC_NIC_FREE, (u64)handle, 0, 0), 0);
	handle = hc(0, HC_NIC_ALLOC, 0, 0, 0);
	assert_int_equal(hc(0, HC_NIC_STATS, (u64)handle, 0, 0), 0);
	memcpy(&s, record, sizeof(s));
	assert_int_equal(s.rx_packets, 10);
	assert_int_equal(s.faults, 2);
	low[0].fail[OP_STATS] = -EIO;
	assert_int_equal(hc(0, HC_NIC_STATS, (u64)handle, 0, 0), -EIO);
}

static void a_dying_vm_gives_everything_back(void **state)
{
	struct nic_port *p = vm[0]->ports[0];
	(void)state;
	assert_int_equal(hc(0, HC_NIC_MAP_REGS, (u64)handle, WINDOW, 0), 0);
	assert_int_equal(map_one(0, 0, HALF), 0);
	for (u32 i = 0; i < 3; i++)
		assert_int_equal(irq(i, 0x60 + i, i & 1, ~0ull, 0), 0);
	u8 vector = low[0].irq[1].host_vector;
	low[0].fail[OP_FREE] = -EIO;       /* whatever the lower link says */
	low[0].fail[OP_IRQ_CLEAR] = -EIO;
	nic_ports_fini(vm[0]);
	assert_int_equal(vm[0]->nr_ports, 0);
	assert_null(p->vm);
	assert_null(p->dma);
	assert_int_equal(fake_balance.vectors, 0);
	assert_false(fake_irq(1, vector));
	assert_int_equal(nic_ports_init(vm[0]), 0); /* the lower port can be bound again */
}

/* Each operation of the lower link fails in turn during one ordinary life; the caller sees it, and the end balances (stop). */
static void every_operation_fails_once(void **state)
{
	(void)state;
	for (u32 op = OP_CONFIGURE; op < NR_OPS; op++) {
		struct nest_nic_conf conf = { .what = NEST_CONF_MAX_FRAME, .max_frame = 1514 };
		s64 bad = 0;
		low[0].fail[op] = -EIO;
		memcpy(record, &conf, sizeof(conf));
		bad += hc(0, HC_NIC_CONFIGURE, (u64)handle, 0, 0) == -EIO;
		bad += hc(0, HC_NIC_MAP_REGS, (u64)handle, WINDOW, 0) == -EIO;
		bad += hc(0, HC_NIC_REG_READ, (u64)handle, 8, 0) == -EIO;
		bad += hc(0, HC_NIC_REG_WRITE, (u64)handle, 0, 0) == -EIO;
		bad += map_one(0x1000, 0, PAGE_SIZE) == -EIO;
		bad += irq(0, 0x50, 0, ~0ull, 0) == -EIO;
		bad += hc(0, HC_NIC_IRQ_MASK, (u64)handle, 0, 1) == -EIO;
		bad += hc(0, HC_NIC_STATS, (u64)handle, 0, 0) == -EIO;
		bad += hc(0, HC_NIC_IRQ_CLEAR, (u64)handle, 0, 0) == -EIO;
		bad += unmap_one(0x1000, PAGE_SIZE) == -EIO;
		hc(0, HC_NIC_UNMAP_REGS, (u64)handle, 0, 0);
		bad += hc(0, HC_NIC_FREE, (u64)handle, 0, 0) == -EIO;
		assert_int_equal(bad, op != OP_UNMAP_REGS); /* that one is logged: the registers are gone from the VM all the same */
		assert_int_equal(low[0].fail[op], 0);
		assert_int_equal(fake_balance.vectors, 0);
		assert_int_equal(low[0].nr, 0);
		assert_false(low[0].allocated || low[0].regs);
		assert_null(vm[0]->ports[0]->dma);
		handle = hc(0, HC_NIC_ALLOC, 0, 0, 0);
		assert_true(handle > 0);
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, start, stop)
	const struct CMUnitTest tests[] = {
		T(handles_are_the_callers), T(emulation_is_not_passed_through), T(ports_are_bound_once), T(a_port_the_machine_lacks_is_a_gap),
		T(alloc_failure_leaves_nothing),
		T(a_flushing_port_is_not_waited_for), T(dma_arguments), T(a_range_may_lie_in_several_places), T(maps_do_not_overlap),
		T(unmaps_are_exact), T(book_is_right), T(book_is_bounded), T(a_failing_map_is_undone), T(windows), T(window_failures),
		T(registers_by_hypercall), T(interrupt_arguments), T(interrupts_reach_the_vcpu), T(a_refused_retarget_changes_nothing),
		T(storms_are_bounded), T(statistics_are_running_totals), T(a_dying_vm_gives_everything_back),
		T(every_operation_fails_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
