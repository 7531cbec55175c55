/*
 * The lower link and the two VMs of the tests of HC_NIC_* (nic_lower.h).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nic/vnet.h"
#include "tests/unit/nic_lower.h"

/* ---- the lower link ---- */

struct low low[2];

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
	*out = (struct nest_nic_info){ .mac = { 2, 0, 0, 0, 0, (u8)l->index }, .mode = 1, .irq_vectors = 3, .family = 1,
					.flags = NEST_NIC_MAY_PASS, .want = low[l->index].want,
					.wishes = low[l->index].wishes };
	return passes(l, OP_INFO);
}
static int f_alloc(struct nic_lower *l, struct vm *who, const struct nic_config *conf, u32 flags)
{
	(void)who, (void)conf;
	low[l->index].flags = flags;
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
static int f_irq_post(struct nic_lower *l, u32 index, hpa_t page)
{
	int r = passes(l, OP_IRQ_POST);
	if (!r)
		low[l->index].irq_page[index] = page;
	return r;
}
static int f_irq_clear(struct nic_lower *l, u32 index)
{
	int r = passes(l, OP_IRQ_CLEAR);
	if (!r)
		low[l->index].irq_used[index] = low[l->index].irq_masked[index] = false;
	return r;
}
static int f_stats(struct nic_lower *l, struct nest_nic_stats *out)
{
	*out = (struct nest_nic_stats){ .rx_packets = low[l->index].rx_packets, .faults = 1 };
	return passes(l, OP_STATS);
}
static int f_free(struct nic_lower *l)
{
	assert_false(low[l->index].regs);
	low[l->index].allocated = false;
	low[l->index].nr = 0;
	return passes(l, OP_FREE);
}

static int f_quiesce(struct nic_lower *l) { return passes(l, OP_QUIESCE); }
static int f_resume(struct nic_lower *l) { return passes(l, OP_RESUME); }
static int f_save(struct nic_lower *l, struct nest_nic_state *out)
{
	struct nest_nic_info info;
	f_info(l, &info);
	memcpy(out->mac, info.mac, 6);
	out->family = info.family;
	memcpy(out->body, low[l->index].body, sizeof(out->body));
	return passes(l, OP_SAVE);
}
static int f_restore(struct nic_lower *l, const struct nest_nic_state *in)
{
	memcpy(low[l->index].body, in->body, sizeof(in->body));
	return passes(l, OP_RESTORE);
}
static int f_prepare(struct nic_lower *l, enum nic_mode mode)
{
	(void)mode;
	return passes(l, OP_PREPARE);
}
static void f_commit(struct nic_lower *l, enum nic_mode mode, u32 *vf_head)
{
	(void)mode;
	*vf_head = 17;
	passes(l, OP_COMMIT);
}
static void f_abort(struct nic_lower *l, enum nic_mode mode)
{
	(void)mode;
	passes(l, OP_ABORT);
}
static int f_plugin(struct nic_lower *l, u32 offset, u8 *piece)
{
	int r = passes(l, OP_PLUGIN);
	memset(piece, 0x5a, PAGE_SIZE);
	return r ? r : offset ? 0 : 100;
}

static const struct nic_ops ops = {
	"fake", f_info, f_alloc, f_configure, f_map_regs, f_unmap_regs, f_reg_read, f_reg_write, f_dma_map, f_dma_unmap, f_irq_set,
	f_irq_mask, f_irq_post, f_irq_clear, f_stats, f_free, f_quiesce, f_resume, f_save, f_restore, f_prepare, f_commit, f_abort, NULL, f_plugin, NULL,
};

/* ---- what nic.c wants besides ---- */

static const struct hc_entry *bound[HC_MAX];
void hypercall_bind(u32 nr, const struct hc_entry *e) { bound[nr] = e; }
bool outer_present(void) { return false; }
u32 outer_depth(void) { return 0; }
int upstream_init(void) { return 0; }
static const u32 no_ids[] = { 0 };
const struct nic_driver igb_driver = { .name = "none", .ids = no_ids };

/* This link carries no frames, so no port has a device. */
int vnet_create(struct vnet **out, struct nic_port *p)
{
	(void)out, (void)p;
	return -ENOTSUP;
}
void vnet_destroy(struct vnet *d) { (void)d; }
rid_t vnet_rid(const struct vnet *d)
{
	(void)d;
	return RID(0, 1, 0);
}
int vnet_rx(struct vnet *d, const u8 *frame, u32 len)
{
	(void)d, (void)frame, (void)len;
	return 0;
}
void vnet_rx_dropped(struct vnet *d) { (void)d; }
void vnet_rx_flush(struct vnet *d) { (void)d; }
void vnet_rx_end(struct vnet *d) { (void)d; }
void vnet_changed(struct vnet *d) { (void)d; }
int vnet_fence(struct vnet *d)
{
	(void)d;
	return 0;
}
bool vnet_running(const struct vnet *d)
{
	(void)d;
	return false;
}
void vnet_stats(struct vnet *d, struct nest_nic_stats *out) { (void)d, (void)out; }

/* ---- two VMs ---- */

struct vm_config cfg[2] = {
	{ .name = "a", .nics = { { .port = 0, .mode = NIC_PASSTHROUGH, .may_pass = true, .may_post = true } }, .nr_nics = 1 },
	{ .name = "b", .nics = { { .port = 1, .mode = NIC_PASSTHROUGH, .may_pass = true, .may_post = true } }, .nr_nics = 1 },
};
struct vm *vm[2];
u8 record[PAGE_SIZE];
s64 handle;

static s64 hc4(u32 who, u32 nr, u64 a0, u64 a1, u64 a2, u64 a3)
{
	struct hc_call c = { .v = &fake_vcpus[0], .arg = { a0, a1, a2, a3 }, .rec = record };
	fake_vcpus[0].vm = vm[who];
	return bound[nr]->fn(&c);
}

s64 hc(u32 who, u32 nr, u64 a0, u64 a1, u64 a2) { return hc4(who, nr, a0, a1, a2, 0); }
s64 post(u32 index, u64 how, u64 gpa) { return hc4(0, HC_NIC_IRQ_POST, (u64)handle, index, how, gpa); }

void record_dma(u32 i, u64 iova, u64 gpa, u64 len, u32 perm)
{
	((struct nest_nic_dma *)record)[i] = (struct nest_nic_dma){ iova, gpa, len, perm, 0 };
}

s64 map_one(u64 iova, u64 gpa, u64 len)
{
	record_dma(0, iova, gpa, len, RW);
	return hc(0, HC_NIC_DMA_MAP, (u64)handle, 1, 0);
}

s64 unmap_one(u64 iova, u64 len)
{
	record_dma(0, iova, 0, len, 0);
	return hc(0, HC_NIC_DMA_UNMAP, (u64)handle, 1, 0);
}

s64 irq(u32 index, u32 vector, u32 apic, u64 pi, u32 pi_vector)
{
	struct nest_nic_irq want = { vector, apic, pi, pi_vector, 0 };
	memcpy(record, &want, sizeof(want));
	return hc(0, HC_NIC_IRQ_SET, (u64)handle, index, 0);
}

int start(void **state)
{
	static bool once;
	(void)state;
	fakes_reset();
	memset(low, 0, sizeof(low));
	low[0].rx_packets = low[1].rx_packets = 5;
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

int stop(void **state)
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
