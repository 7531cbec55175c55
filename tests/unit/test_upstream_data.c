/*
 * The upstream data path (nic/upstream_dev.c, upstream_data.c) against the real emulated device: we are what runs in the VM, and
 * the port above us is the test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/acpi.h"
#include "core/errno.h"
#include "core/hypercall.h"
#include "core/irq.h"
#include "core/percpu.h"
#include "nic/upstream.h"
#include "tests/unit/virtio_machine.h"

#define FRAMES 100000u
#define HEADER sizeof(struct virtio_net_hdr)

struct cpu cpus[MAX_CPUS];
u32 nr_cpus = 2;
struct mem_owner mem_self = { .name = "self" };

/* ---- our machine ---- */

const struct acpi_header *acpi_find(const char *signature)
{
	static const struct acpi_header mcfg;
	return strcmp(signature, "MCFG") ? NULL : &mcfg;
}
int acpi_parse_mcfg(const void *table, u32 len, struct acpi_mcfg *out)
{
	(void)table, (void)len;
	*out = (struct acpi_mcfg){ .base = HPA(0xe0000000) };
	return 0;
}
void delay_us(u64 us) { (void)us; }
void *mmio_map(hpa_t a, u64 len)
{
	(void)len;
	return (void *)a.v;
}

static struct { irq_fn fn; void *arg; } bound[2][256];
static u32 vectors, err_vector;
int irq_alloc(u32 cpu, irq_fn fn, void *arg)
{
	int v = IRQ_VEC_FIRST;
	if (err_vector && !--err_vector)
		return -ENOSPC;
	while (bound[cpu][v].fn)
		v++;
	bound[cpu][v].fn = fn;
	bound[cpu][v].arg = arg;
	vectors++;
	return v;
}
void irq_free(u32 cpu, u8 vector)
{
	assert_non_null(bound[cpu][vector].fn);
	bound[cpu][vector].fn = NULL;
	vectors--;
}

/* What irq_poll does: handlers run when nobody holds a lock. Returns how many messages there were. */
static u32 take_irqs(void)
{
	u32 n = 0;
	for (u32 v = 0; v < 256; v++) {
		u32 count = machine.msis[v];
		machine.msis[v] = 0;
		n += count;
		if (count && bound[1][v].fn)
			bound[1][v].fn(bound[1][v].arg, (u8)v);
	}
	return n;
}

static struct timer *armed; /* one at a time, on one CPU */
void timer_arm(struct timer *t, u64 deadline)
{
	assert_null(armed);
	t->deadline = deadline;
	armed = t;
}

static s64 fence_result;
s64 outer_call(u64 nr, u64 a0, u64 a1, u64 a2, u64 a3)
{
	assert_int_equal(nr, HC_NIC_FENCE);
	assert_int_equal(a0 | a1 << 8 | a2 << 16 | a3 << 24, 5);
	return fence_result ? fence_result : vnet_fence(machine.port.dev);
}

/* ---- the port above us ---- */

static struct upstream upstream;
static struct nic_lower lower;
static struct vm our_vm;
static struct vcpu_core our_vcpu = { .cpu = 1 };
static struct nic_port our_port = { .vm = &our_vm };
static u32 seed, room, got, refused, ends, got_at_end, rx_flushes, changes, wrong, sent, emu_rid;

static u32 pick(u32 n)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % n;
}

static u32 make(u8 *f, u32 nr, bool in)
{
	u32 len = 60 + nr * 7 % (MACHINE_FRAME - 60 + 1);
	memset(f, (int)nr, len);
	memcpy(f, in ? (const u8 *)"\x52\x54\0\0\0\2\2\0\0\0\0\1" : (const u8 *)"\2\0\0\0\0\1\x52\x54\0\0\0\2", 12);
	f[12] = 8, f[13] = 0;
	memcpy(f + 14, &nr, 4);
	return len;
}

static bool is(const u8 *f, u32 len, u32 nr, bool in)
{
	u8 want[MACHINE_FRAME];
	return make(want, nr, in) == len && !memcmp(want, f, len);
}

static void sink_out(const u8 *frame, u32 len) { wrong += !is(frame, len, sent++, false); }

static u32 flood, flood_fed;
static void feed_one(u32 nr)
{
	u8 f[MACHINE_FRAME];
	(void)vnet_rx(machine.port.dev, f, make(f, nr, true));
}

int nic_port_rx(struct nic_port *p, const u8 *frame, u32 len)
{
	assert_ptr_equal(p, &our_port);
	if (!room) {
		refused++;
		return -EAGAIN;
	}
	room--;
	wrong += !is(frame, len, got++, true);
	if (flood) /* each frame brings another one */
		feed_one(flood_fed++), flood--;
	return 0;
}
void nic_port_rx_flush(struct nic_port *p) { rx_flushes += p == &our_port; }
void nic_port_rx_end(struct nic_port *p)
{
	ends += p == &our_port;
	got_at_end = got;
}
void nic_port_changed(struct nic_port *p) { changes += p == &our_port; }

static int info(struct nic_lower *l, struct nest_nic_info *out)
{
	(void)l;
	*out = machine.info;
	out->emu_rid = (u16)emu_rid;
	return 0;
}

static const struct nic_ops ops = { .name = "upstream", .info = info, .data = &upstream_data };
#define DATA(f, ...) upstream_data.f(&lower, ##__VA_ARGS__)
static struct upstream_net *net(void) { return upstream.data; }

/* ---- a machine for each test ---- */

static int setup(void **state)
{
	(void)state;
	machine_start();
	machine.tx = sink_out;
	memset(bound, 0, sizeof(bound));
	mem_self.pages = mem_self.limit = 0;
	for (u32 i = 0; i < 2; i++)
		cpus[i] = (struct cpu){ .index = i, .apic_id = 10 + i };
	our_vm.vcpus[0] = (struct vcpu *)&our_vcpu;
	our_vm.nr_vcpus = 1;
	upstream = (struct upstream){ .port = 5 };
	lower = (struct nic_lower){ .ops = &ops, .priv = &upstream, .bound = &our_port };
	seed = 1, room = ~0u, emu_rid = MACHINE_RID, fence_result = 0, flood = 0, armed = NULL;
	got = refused = ends = got_at_end = rx_flushes = changes = wrong = sent = vectors = err_vector = 0;
	return 0;
}

static void free_ring(struct upstream_ring *r)
{
	for (u32 i = 0; i < UPSTREAM_MAX_CHUNKS; i++)
		if (r->chunk[i])
			pages_free(&mem_self, r->chunk[i], UPSTREAM_CHUNK_ORDER);
	if (r->mem)
		pages_free(&mem_self, r->mem, 1);
}

/* What is kept for ever must be all that there is. */
static int teardown(void **state)
{
	(void)state;
	DATA(stop);
	machine_stop();
	if (net()) {
		free_ring(&net()->rx);
		free_ring(&net()->tx);
		free_ring(&net()->ctrl);
		page_free(&mem_self, net());
	}
	assert_int_equal(mem_self.pages, 0);
	assert_int_equal(vectors, 0);
	assert_int_equal(wrong, 0);
	return 0;
}

static void feed(u32 *fed, u32 want)
{
	u8 f[MACHINE_FRAME];
	while (*fed < want && !vnet_rx(machine.port.dev, f, make(f, *fed, true)))
		++*fed;
	vnet_rx_flush(machine.port.dev);
}

static void send_some(u32 *queued, u32 n)
{
	u8 f[MACHINE_FRAME];
	for (u32 i = 0; i < n; i++, ++*queued)
		assert_int_equal(DATA(tx, f, make(f, *queued, false)), 0);
	DATA(tx_flush);
	assert_int_equal(sent, *queued);
}

/* ---- tests ---- */

static void starts_and_stops(void **state)
{
	(void)state;
	assert_int_equal(DATA(tx, (const u8 *)"", 60), -EIO);
	DATA(tx_flush);
	for (u32 i = 1; i <= 3; i++) {
		assert_int_equal(DATA(start), 0);
		assert_int_equal(machine.starts, i);
		assert_int_equal(vectors, 2);
		assert_true(net()->features & BIT(VIRTIO_F_RING_EVENT_IDX));
		u64 pages = mem_self.pages;
		u32 fed = got, queued = sent;
		feed(&fed, fed + 300);
		assert_int_equal(take_irqs(), 1);
		assert_int_equal(machine.msi_addr, 0xfee0b000);
		feed(&fed, fed + 44);
		take_irqs();
		assert_int_equal(got, fed);
		send_some(&queued, 100);
		DATA(stop);
		assert_int_equal(machine.stops, i);
		assert_int_equal(vectors, 0);
		assert_int_equal(mem_self.pages, pages);
		feed(&fed, fed + 10);
		assert_int_equal(take_irqs(), 0);
		assert_int_equal(DATA(tx, (const u8 *)"", 60), -EIO);
		DATA(stop);
	}
}

static void failing_starts(void **state)
{
	static const char *const steps[] = { "find", "memory", "reset", "interrupts", "features", "queues" };
	char point[48];
	(void)state;
	emu_rid = 0;
	assert_int_equal(DATA(start), -ENODEV);
	emu_rid = 0x20;
	assert_int_equal(DATA(start), -ENODEV);
	assert_int_equal(mem_self.pages, 0);
	emu_rid = MACHINE_RID;
	for (u32 i = 0; i < ARRAY_SIZE(steps); i++) {
		snprintf(point, sizeof(point), "upstream device: %s", steps[i]);
		machine.fault = point;
		assert_int_equal(DATA(start), i == 1 ? -ENOMEM : -EIO);
		assert_null(machine.fault);
		assert_int_equal(vectors, 0);
		assert_false(vnet_running(machine.port.dev));
	}
	for (err_vector = 1; err_vector <= 2;) {
		u32 which = err_vector;
		assert_int_equal(DATA(start), -ENOSPC);
		assert_int_equal(vectors, 0);
		err_vector = which + 1;
	}
	err_vector = 0;
	cpus[1].apic_id = 300;
	assert_int_equal(DATA(start), -ENODEV);
	cpus[1].apic_id = 11;
	assert_int_equal(DATA(start), 0);
}

static void little_memory(void **state)
{
	(void)state;
	for (mem_self.limit = 1; mem_self.limit < 400; mem_self.limit += 17) {
		int r = DATA(start);
		if (!r)
			break;
		assert_int_equal(r, -ENOMEM);
	}
	assert_in_range(mem_self.limit, 200, 399);
	u32 fed = 0;
	feed(&fed, 10);
	take_irqs();
	assert_int_equal(got, 10);
}

/* Room above comes and goes; every frame is delivered once, in order, and no interrupt is missing. */
static void both_ways(bool event)
{
	u32 fed = 0, queued = 0;
	machine.hidden = event ? 0 : BIT(VIRTIO_F_RING_EVENT_IDX);
	assert_int_equal(DATA(start), 0);
	assert_int_equal(!!(net()->features & BIT(VIRTIO_F_RING_EVENT_IDX)), event);
	room = 0;
	while (got < FRAMES || sent < FRAMES) {
		feed(&fed, MIN(FRAMES, fed + pick(400)));
		take_irqs();
		send_some(&queued, MIN(pick(600), FRAMES - queued));
		if (pick(3)) {
			room = pick(500);
			DATA(rx_more);
		}
		if (room) /* then nothing waits */
			assert_int_equal(got, fed);
	}
	assert_true(refused > 0);
}

static void event_both_ways(void **state) { (void)state, both_ways(true); }
static void plain_both_ways(void **state) { (void)state, both_ways(false); }

/* The mark comes after every frame before it, however often these find no room. */
static void the_end_mark(void **state)
{
	u32 fed = 0;
	(void)state;
	assert_int_equal(DATA(start), 0);
	room = 10;
	feed(&fed, 600);
	assert_int_equal(fed, 256);
	vnet_rx_end(machine.port.dev); /* no buffer for it */
	take_irqs();
	assert_int_equal(machine.more, 1); /* the first ones that are free again are told, and it gets one of them */
	while (got < 256) {
		take_irqs();
		assert_int_equal(ends, 0);
		room = 10;
		DATA(rx_more);
	}
	take_irqs();
	assert_int_equal(ends, 1);
	assert_int_equal(got_at_end, 256);
	room = ~0u;
	feed(&fed, 300); /* emulation again */
	take_irqs();
	vnet_rx_end(machine.port.dev);
	take_irqs();
	assert_int_equal(ends, 2);
	assert_int_equal(got_at_end, 300);
}

static void exits_are_few(void **state)
{
	u32 fed = 0, queued = 0;
	(void)state;
	assert_int_equal(DATA(start), 0);
	machine.exits = 0;
	for (u32 i = 0; i < 1000; i++) {
		feed(&fed, fed + 64);
		assert_int_equal(take_irqs(), 1);
	}
	assert_int_equal(got, 64000);
	assert_in_range(machine.exits, 0, 1);
	machine.exits = 0;
	for (u32 i = 0; i < 1000; i++)
		send_some(&queued, 256);
	assert_int_equal(machine.exits, 1000);
}

static void lengths(void **state)
{
	u8 f[MACHINE_FRAME + 8] = { [12] = 0x81 }; /* with a tag */
	(void)state;
	assert_int_equal(DATA(start), 0);
	assert_int_equal(DATA(tx, f, 13), -EINVAL);
	assert_int_equal(DATA(tx, f, MACHINE_FRAME + 5), -EINVAL);
	assert_int_equal(DATA(tx, f, MACHINE_FRAME + 4), 0);
	DATA(tx_flush);
	assert_int_equal(sent, 1);
	wrong = 0;
}

static void large_frames(void **state)
{
	u32 fed = 0, queued = 0;
	(void)state;
	machine.info.max_frame = 9212;
	vnet_changed(machine.port.dev);
	assert_int_equal(DATA(start), 0);
	assert_int_equal(net()->tx.q.size, 64);
	for (u32 i = 0; i < 50; i++) {
		feed(&fed, fed + 256);
		take_irqs();
		send_some(&queued, 200);
	}
	assert_int_equal(got, 50 * 256);
}

/* Frames that come as fast as they are taken: the CPU does something else now and then. */
static void a_flood_is_cut_into_pieces(void **state)
{
	(void)state;
	assert_int_equal(DATA(start), 0);
	flood = 1000, flood_fed = 1;
	feed_one(0);
	vnet_rx_flush(machine.port.dev);
	take_irqs();
	assert_true(got >= 256 && got < 600);
	assert_non_null(armed);
	for (u32 i = 0; i < 10 && armed; i++) {
		struct timer *t = armed;
		assert_true(t->deadline > rdtsc() - us_to_tsc(1000000));
		armed = NULL;
		u32 before = got;
		t->fn(t->arg);
		assert_true(got - before <= 256);
	}
	assert_int_equal(got, 1001);
	assert_null(armed);
	feed_one(flood_fed++); /* and interrupts are on again */
	vnet_rx_flush(machine.port.dev);
	take_irqs();
	assert_int_equal(got, 1002);
	flood = 300;
	feed_one(flood_fed++);
	vnet_rx_flush(machine.port.dev);
	take_irqs();
	assert_non_null(armed);
	DATA(stop);
	u32 before = got;
	armed->fn(armed->arg); /* too late */
	assert_int_equal(got, before);
	armed = NULL;
}

static void fence(void **state)
{
	u8 f[MACHINE_FRAME];
	(void)state;
	assert_int_equal(DATA(start), 0);
	for (u32 i = 0; i < 10; i++)
		assert_int_equal(DATA(tx, f, make(f, i, false)), 0);
	assert_int_equal(DATA(fence), 0);
	assert_int_equal(sent, 10);
	assert_int_equal(machine.fences, 1);
	fence_result = -EIO;
	assert_int_equal(DATA(fence), -ETIMEDOUT);
	fence_result = 0;
	machine.fault = "upstream data: fence";
	assert_int_equal(DATA(fence), -ETIMEDOUT);
}

static void filters(void **state)
{
	struct nic_rx_filter f = { .nr = NEST_MAX_GROUPS };
	(void)state;
	for (u32 i = 0; i < NEST_MAX_GROUPS; i++)
		memcpy(f.group[i], (u8[6]){ 1, 0, 0x5e, 0, 0, (u8)i }, 6);
	DATA(rx_filter, &f);
	assert_int_equal(DATA(start), 0);
	for (u32 i = 0; i < 600; i++) { /* more often than the queue has entries */
		f.nr = i % (NEST_MAX_GROUPS + 1);
		f.all_groups = i % 3 == 1;
		DATA(rx_filter, &f);
		assert_int_equal(machine.filter.all_groups, f.all_groups);
		if (!f.all_groups) {
			assert_int_equal(machine.filter.nr, f.nr);
			assert_memory_equal(machine.filter.group, f.group, f.nr * 6);
		}
	}
	assert_false(net()->ctrl.broken);
	assert_string_equal(machine.log, "");
	net()->features &= ~BIT(VIRTIO_NET_F_CTRL_VQ); /* an outer that offers the commands without the queue */
	memset(&net()->ctrl.q, 0, sizeof(net()->ctrl.q));
	DATA(rx_filter, &f);
}

static void changes_are_told(void **state)
{
	(void)state;
	assert_int_equal(DATA(start), 0);
	assert_int_equal(changes, 1); /* link and wish of the time before */
	vnet_changed(machine.port.dev);
	assert_int_equal(take_irqs(), 1);
	assert_int_equal(changes, 2);
	DATA(stop);
	upstream_config_irq(net(), 0); /* a late one */
	upstream_rx_irq(net(), 0);
	assert_int_equal(changes, 2);
}

/* Whatever stands in the used ring, we stay inside our buffers and go on after the next start. */
static void wrong_rings(void **state)
{
	u32 fed = 0;
	u8 f[MACHINE_FRAME];
	(void)state;
	assert_int_equal(DATA(start), 0);
	feed(&fed, 4);
	struct virtq_used_elem *used = net()->rx.mem->used.ring;
	used[0].len = ~0u, used[1].len = HEADER + 13, used[2].len = 3;
	got = 3;
	take_irqs();
	assert_int_equal(got, 4);
	assert_non_null(strstr(machine.log, "dropped"));
	feed(&fed, 8);
	used[4].id = 256;
	take_irqs();
	assert_int_equal(got, 4);
	assert_true(net()->rx.broken);
	DATA(rx_more);
	DATA(stop);
	assert_int_equal(DATA(start), 0);
	fed = got = 0;
	feed(&fed, 10);
	net()->rx.mem->used.idx += 300;
	take_irqs();
	assert_true(net()->rx.broken);
	got = 0;
	/* transmit: the same buffer comes back twice */
	for (u32 i = 0; i < 256; i++)
		assert_int_equal(DATA(tx, f, make(f, i, false)), 0);
	DATA(tx_flush);
	net()->tx.mem->used.ring[7].id = 3;
	assert_int_equal(DATA(tx, f, 60), -EIO);
	assert_true(net()->tx.broken);
	DATA(stop);
	assert_int_equal(DATA(start), 0);
	sent = 0;
	send_some(&sent, 0);
	assert_int_equal(DATA(tx, f, make(f, 0, false)), 0);
	DATA(tx_flush);
	assert_int_equal(sent, 1);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(starts_and_stops), TEST(failing_starts), TEST(little_memory), TEST(event_both_ways), TEST(plain_both_ways),
		TEST(the_end_mark), TEST(exits_are_few), TEST(lengths), TEST(large_frames), TEST(a_flood_is_cut_into_pieces), TEST(fence),
		TEST(filters),
		TEST(changes_are_told), TEST(wrong_rings),
	};
	machine_start();
	assert_int_equal(pci_init(), 2);
	machine_stop();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
