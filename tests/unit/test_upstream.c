/*
 * The upstream link: each operation is one hypercall, with the record as core/abi.h has it; what the outer answers comes back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/errno.h"
#include "core/hypercall.h"
#include "nic/port.h"
#include "tests/unit/nic_fakes.h"

static u8 record[PAGE_SIZE];
static struct call { u64 nr, a0, a1, a2, a3; u8 rec[PAGE_SIZE]; } calls[256];
static u32 nr_calls, nr_ports, missing, features, again; /* missing: bit of each port that the outer's machine lacks */
static s64 answer[HC_MAX];       /* for the next call of that kind, once, */
static u32 answer_after;         /* … after so many others of any kind */
static bool forgets;             /* a handle that was freed, however that ended */
static u64 refuse_below;         /* HC_NIC_MAP_REGS */
static u64 ram_bytes;

void *outer_record(void) { return record; }
u32 outer_features(void) { return features; }
u32 outer_ports(void) { return nr_ports; }
u64 mem_total_bytes(void) { return ram_bytes; }
bool mem_is_ram(hpa_t a, u64 len) { return a.v + len <= ram_bytes; }

static s64 info(u64 port)
{
	struct nest_nic_info i = { .mac = { 2, 0, 0, 0, 0, (u8)port }, .vlan = 7, .mode = 1, .family = 1,
				   .flags = NEST_NIC_LINK_UP | (port == 1 ? NEST_NIC_EXTERNAL | NEST_NIC_VDP_OUTER : 0) };
	if (port >= nr_ports || missing >> port & 1)
		return -ENOENT;
	memcpy(record, &i, sizeof(i));
	return 0;
}

s64 outer_call(u64 nr, u64 a0, u64 a1, u64 a2, u64 a3)
{
	struct call *c = &calls[nr_calls++ % ARRAY_SIZE(calls)];
	assert_true(!a3 || nr == HC_NIC_IRQ_POST);
	*c = (struct call){ nr, a0, a1, a2, a3, { 0 } };
	memcpy(c->rec, record, sizeof(record));
	if (again) {
		again--;
		return -EAGAIN;
	}
	s64 r = answer_after ? 0 : answer[nr];
	if (answer_after)
		answer_after--;
	else
		answer[nr] = 0;
	if (r)
		return r;
	if (nr == HC_NIC_FREE && forgets)
		return -ENOENT;
	if (nr == HC_NIC_INFO)
		return info(a0);
	if (nr == HC_NIC_ALLOC)
		return 0x101;
	if (nr == HC_NIC_MAP_REGS && a1 < refuse_below)
		return -EINVAL;
	return 0;
}

/* The registry, as small as it can be. */
static struct nic_lower lower[NIC_MAX_LOWER];
static u32 nr_lower;
int nic_lower_add(const struct nic_ops *ops, void *priv)
{
	lower[nr_lower] = (struct nic_lower){ .ops = ops, .priv = priv, .index = nr_lower };
	return (int)nr_lower++;
}
struct nic_lower *nic_lower_get(u32 index) { return &lower[index]; }
int nic_lower_skip(void) { return nic_lower_add(NULL, NULL); }

/* Frames are another test's (test_upstream_data.c). */
const struct nic_data_ops upstream_data;

static const struct vm_config cfg = { .name = "a" };
static struct vm vm = { .cfg = &cfg };
static const struct nic_config plain = { .mode = NIC_PASSTHROUGH };
#define OP(f, ...) lower[1].ops->f(&lower[1], ##__VA_ARGS__)

static int start(void **state)
{
	(void)state;
	fakes_reset();
	memset(answer, 0, sizeof(answer));
	memset(record, 0, sizeof(record));
	nr_lower = again = answer_after = missing = 0;
	forgets = false;
	nr_ports = 2;
	features = NEST_FEAT_NIC | NEST_FEAT_PI;
	refuse_below = 0;
	ram_bytes = 256u << 20;
	assert_int_equal(upstream_init(), 2);
	assert_int_equal(OP(alloc, &vm, &plain, 0), 0);
	nr_calls = 0;
	return 0;
}

static const struct call *only_call(u64 nr)
{
	assert_int_equal(nr_calls, 1);
	assert_int_equal(calls[0].nr, nr);
	assert_int_equal(calls[0].a0, 0x101);
	nr_calls = 0;
	return &calls[0];
}

static void ports_are_the_outers(void **state)
{
	struct nest_nic_info i;
	(void)state;
	assert_int_equal(OP(info, &i), 0);
	assert_int_equal(i.mac[5], 1);
	assert_int_equal(i.vlan, 7);
	assert_int_equal(i.flags, NEST_NIC_LINK_UP | NEST_NIC_EXTERNAL | NEST_NIC_VDP_OUTER); /* as they are */
	assert_int_equal(nr_calls, 1);
	assert_false(lower[1].wire);
	nr_ports = 1;
	assert_int_equal(OP(info, &i), -ENOENT);
	features = 0;
	nr_lower = 0;
	assert_int_equal(upstream_init(), 0);
}

/* Port numbers are what configurations name: one that is missing leaves its number unused. */
static void a_missing_port_leaves_a_gap(void **state)
{
	(void)state;
	nr_ports = 4;
	missing = 1 << 0 | 1 << 2;
	nr_lower = 0;
	assert_int_equal(upstream_init(), 2);
	assert_int_equal(nr_lower, 4);
	for (u32 i = 0; i < 4; i++)
		assert_int_equal(lower[i].ops != NULL, i & 1);
	struct nest_nic_info i;
	assert_int_equal(lower[3].ops->info(&lower[3], &i), 0);
	assert_int_equal(i.mac[5], 3);
	nr_ports = ~0u; /* whatever the outer says */
	nr_lower = 0;
	assert_int_equal(upstream_init(), NIC_MAX_LOWER - 2);
	assert_int_equal(nr_lower, NIC_MAX_LOWER);
}

static void alloc_and_configuration(void **state)
{
	struct nic_config want = { .has_mac = true, .mac = { 2, 0, 0, 0, 0, 9 }, .vlan = 7 };
	struct nest_nic_conf sent;
	(void)state;
	assert_int_equal(OP(free), 0);
	only_call(HC_NIC_FREE);
	assert_int_equal(OP(alloc, &vm, &want, NEST_ALLOC_PARKED), 0);
	assert_int_equal(nr_calls, 2);
	assert_int_equal(calls[0].a0, 1); /* the port */
	assert_int_equal(calls[0].a1, NEST_ALLOC_PARKED);
	memcpy(&sent, calls[1].rec, sizeof(sent));
	assert_int_equal(calls[1].nr, HC_NIC_CONFIGURE);
	assert_int_equal(sent.what, NEST_CONF_MAC | NEST_CONF_VLAN);
	assert_memory_equal(sent.mac, want.mac, 6);
	assert_int_equal(sent.vlan, 7);
	nr_calls = 0;
	answer[HC_NIC_CONFIGURE] = -EPERM; /* the outer decides; and nothing stays behind */
	assert_int_equal(OP(alloc, &vm, &want, NEST_ALLOC_PARKED), -EPERM);
	assert_int_equal(nr_calls, 3);
	assert_int_equal(calls[2].nr, HC_NIC_FREE);
	answer[HC_NIC_ALLOC] = -ENODEV;
	nr_calls = 0;
	assert_int_equal(OP(alloc, &vm, &want, NEST_ALLOC_PARKED), -ENODEV);
	assert_int_equal(nr_calls, 1);
	struct nest_nic_conf frame = { .what = NEST_CONF_MAX_FRAME, .max_frame = 9000 };
	nr_calls = 0;
	assert_int_equal(OP(configure, &frame), 0);
	assert_memory_equal(calls[0].rec, &frame, sizeof(frame));
}

static void window_is_above_all_ram(void **state)
{
	hpa_t base;
	(void)state;
	assert_int_equal(OP(map_regs, &base), 0);
	const struct call *c = only_call(HC_NIC_MAP_REGS);
	assert_int_equal(c->a1, base.v);
	assert_true(base.v >= BIT(32) + ram_bytes);
	assert_true(IS_ALIGNED(base.v, NIC_REGS_LEN));
	refuse_below = base.v + 1; /* the outer has something there: the next place */
	hpa_t other;
	assert_int_equal(OP(map_regs, &other), 0);
	assert_true(other.v > base.v);
	assert_int_equal(nr_calls, 2);
	refuse_below = ~0ull;
	nr_calls = 0;
	assert_int_equal(OP(map_regs, &other), -EINVAL);
	assert_true(nr_calls < 100);
	answer[HC_NIC_MAP_REGS] = -EEXIST; /* any other error is final */
	nr_calls = 0;
	assert_int_equal(OP(map_regs, &other), -EEXIST);
	only_call(HC_NIC_MAP_REGS);
	assert_int_equal(OP(unmap_regs), 0);
	only_call(HC_NIC_UNMAP_REGS);
}

static void lists_are_records(void **state)
{
	static struct iommu_range r[300];
	const struct nest_nic_dma *d;
	(void)state;
	for (u32 i = 0; i < 300; i++)
		r[i] = (struct iommu_range){ IOVA(i * 0x10000ull), HPA(0x100000 + i * PAGE_SIZE), PAGE_SIZE, IOMMU_READ };
	assert_int_equal(OP(dma_map, r, 2), 0);
	const struct call *c = only_call(HC_NIC_DMA_MAP);
	assert_int_equal(c->a1, 2);
	d = (const struct nest_nic_dma *)c->rec;
	assert_int_equal(d[1].iova, 0x10000);
	assert_int_equal(d[1].gpa, 0x101000);
	assert_int_equal(d[1].len, PAGE_SIZE);
	assert_int_equal(d[1].perm, NEST_DMA_READ);
	assert_int_equal(d[1].reserved, 0);
	assert_int_equal(OP(dma_map, r, 300), 0);
	assert_int_equal(nr_calls, 3);
	assert_int_equal(calls[2].a1, 300 - 2 * NEST_DMA_MAX);
	nr_calls = 0;
	assert_int_equal(OP(dma_unmap, r, 300), 0);
	assert_int_equal(nr_calls, 3);
	assert_int_equal(calls[0].nr, HC_NIC_DMA_UNMAP);
}

static void part_of_a_list_is_undone(void **state)
{
	static struct iommu_range r[300];
	const struct nest_nic_dma *d;
	(void)state;
	for (u32 i = 0; i < 300; i++)
		r[i] = (struct iommu_range){ IOVA(i * 0x10000ull), HPA(i * PAGE_SIZE), PAGE_SIZE, 3 };
	answer[HC_NIC_DMA_MAP] = -ENOMEM;
	assert_int_equal(OP(dma_map, r, 300), -ENOMEM);
	assert_int_equal(nr_calls, 1);
	answer[HC_NIC_DMA_MAP] = -ENOMEM;
	answer_after = 2;
	nr_calls = 0;
	assert_int_equal(OP(dma_map, r, 300), -ENOMEM);
	assert_int_equal(nr_calls, 5); /* two good, one bad, two back */
	for (u32 i = 3; i < 5; i++) {
		d = (const struct nest_nic_dma *)calls[i].rec;
		assert_int_equal(calls[i].nr, HC_NIC_DMA_UNMAP);
		assert_int_equal(calls[i].a1, NEST_DMA_MAX);
		assert_int_equal(d[0].iova, (4 - i) * NEST_DMA_MAX * 0x10000ull);
	}
}

static void interrupts(void **state)
{
	struct nic_irq_request req = { 1, 0x41, HPA(0x5040), 0x99 };
	struct nest_nic_irq sent;
	(void)state;
	assert_int_equal(OP(irq_set, 2, &req), 0);
	const struct call *c = only_call(HC_NIC_IRQ_SET);
	assert_int_equal(c->a1, 2);
	memcpy(&sent, c->rec, sizeof(sent));
	assert_int_equal(sent.vector, 0x41);
	assert_int_equal(sent.apic_id, 11); /* our CPU's id, not its index */
	assert_int_equal(sent.pi_gpa, 0x5040);
	assert_int_equal(sent.pi_vector, 0x99);
	assert_int_equal(sent.reserved, 0);
	features = NEST_FEAT_NIC; /* the outer cannot post into our vCPUs' descriptors */
	assert_int_equal(OP(irq_set, 2, &req), 0);
	memcpy(&sent, only_call(HC_NIC_IRQ_SET)->rec, sizeof(sent));
	assert_int_equal(sent.pi_gpa, ~0ull);
	features |= NEST_FEAT_PI;
	req.pi = HPA_NONE;
	assert_int_equal(OP(irq_set, 2, &req), 0);
	memcpy(&sent, only_call(HC_NIC_IRQ_SET)->rec, sizeof(sent));
	assert_int_equal(sent.pi_gpa, ~0ull);
	assert_int_equal(OP(irq_mask, 1, true), 0);
	c = only_call(HC_NIC_IRQ_MASK);
	assert_int_equal(c->a1, 1);
	assert_int_equal(c->a2, 1);
	assert_int_equal(OP(irq_post, 2, HPA(0x7000)), 0);
	c = only_call(HC_NIC_IRQ_POST);
	assert_int_equal(c->a1, 2);
	assert_int_equal(c->a2, NEST_POST_GUEST);
	assert_int_equal(c->a3, 0x7000);
	assert_int_equal(OP(irq_post, 2, HPA_NONE), 0);
	c = only_call(HC_NIC_IRQ_POST);
	assert_int_equal(c->a2, NEST_POST_OFF);
	assert_int_equal(c->a3, 0);
	answer[HC_NIC_IRQ_POST] = -ENOSYS; /* an older outer */
	assert_int_equal(OP(irq_post, 2, HPA(0x7000)), -ENOTSUP);
	answer[HC_NIC_IRQ_POST] = 0;
	(void)only_call(HC_NIC_IRQ_POST);
	assert_int_equal(OP(irq_clear, 1), 0);
	assert_int_equal(only_call(HC_NIC_IRQ_CLEAR)->a1, 1);
}

static void registers_and_statistics(void **state)
{
	struct nest_nic_stats s, outers = { .rx_packets = 8, .rx_bytes = 500, .irqs = 4, .emu_rx_packets = 5, .emu_rx_bytes = 300, .dropped = 1,
					    .switches = 2 };
	u32 value;
	(void)state;
	answer[HC_NIC_REG_READ] = 0xfffffffell;
	assert_int_equal(OP(reg_read, 8, &value), 0);
	assert_int_equal(value, 0xfffffffe);
	assert_int_equal(only_call(HC_NIC_REG_READ)->a1, 8);
	answer[HC_NIC_REG_READ] = -EIO;
	assert_int_equal(OP(reg_read, 8, &value), -EIO);
	nr_calls = 0;
	answer[HC_NIC_REG_WRITE] = -EPERM;
	assert_int_equal(OP(reg_write, 0xf10, 5), -EPERM);
	assert_int_equal(only_call(HC_NIC_REG_WRITE)->a2, 5);
	memcpy(record, &outers, sizeof(outers));
	nr_calls = 0;
	assert_int_equal(OP(stats, &s), 0);
	assert_int_equal(calls[0].nr, HC_NIC_PORT_STATS); /* of the port, so also while it is closed */
	assert_int_equal(calls[0].a0, 1);
	/* what went through the function; what the outer's device carried is counted by ours */
	const struct nest_nic_stats want = { .rx_packets = 3, .rx_bytes = 200, .irqs = 4 };
	assert_memory_equal(&s, &want, sizeof(s));
}

static void the_transaction_goes_outward(void **state)
{
	u32 head = 5;
	u8 piece[PAGE_SIZE];
	(void)state;
	assert_int_equal(OP(prepare, NIC_PASSTHROUGH), 0);
	assert_int_equal(calls[0].nr, HC_NIC_PREPARE);
	assert_int_equal(calls[0].a0, 1); /* the port, not the handle */
	assert_int_equal(calls[0].a1, NEST_MODE_PASSTHROUGH);
	answer[HC_NIC_COMMIT] = 77;
	OP(commit, NIC_PASSTHROUGH, &head);
	assert_int_equal(head, 77);
	assert_int_equal(OP(prepare, NIC_EMULATION), 0);
	nr_calls = 0;
	OP(abort, NIC_EMULATION);
	assert_int_equal(calls[0].nr, HC_NIC_ABORT);
	assert_int_equal(calls[0].a1, NEST_MODE_EMULATION);
	nr_calls = 0;
	fake.fault = "upstream: prepare";
	assert_int_equal(OP(prepare, NIC_PASSTHROUGH), -EIO);
	assert_int_equal(nr_calls, 0);
	memset(record, 0x33, sizeof(record));
	answer[HC_NIC_PLUGIN] = 100;
	assert_int_equal(OP(plugin, 4096, piece), 100);
	assert_int_equal(calls[0].a1, 4096);
	assert_int_equal(piece[99], 0x33);
	answer[HC_NIC_PLUGIN] = 4097; /* no more than a page */
	assert_int_equal(OP(plugin, 0, piece), -EIO);
	answer[HC_NIC_PLUGIN] = -ENOENT;
	assert_int_equal(OP(plugin, 0, piece), -ENOENT);
}

static void a_refused_free_is_tried_again(void **state)
{
	(void)state;
	fake.fault = "upstream: free";
	assert_int_equal(OP(free), 0);
	only_call(HC_NIC_FREE);
}

/* Isolated but lost: the outer says so once, and then knows the handle no more. */
static void a_lost_function_is_told(void **state)
{
	(void)state;
	answer[HC_NIC_FREE] = -EIO;
	forgets = true;
	assert_int_equal(OP(free), -EIO);
	assert_int_equal(nr_calls, 2);
}

static void again_is_tried_again(void **state)
{
	(void)state;
	again = 3;
	assert_int_equal(OP(free), 0);
	assert_int_equal(nr_calls, 4);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup(f, start)
	const struct CMUnitTest tests[] = {
		T(ports_are_the_outers), T(a_missing_port_leaves_a_gap),
		T(alloc_and_configuration), T(window_is_above_all_ram), T(lists_are_records),
		T(part_of_a_list_is_undone), T(interrupts), T(registers_and_statistics), T(the_transaction_goes_outward),
		T(a_refused_free_is_tried_again), T(a_lost_function_is_told), T(again_is_tried_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
