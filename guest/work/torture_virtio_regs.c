/*
 * The emulated network device's registers written wrongly: status, features, queues, widths (VIRTIO 1.2, Device Initialization; Common
 * configuration structure layout).
 */
#include <stdio.h>
#include <string.h>

#include "guest/lib/clock.h"
#include "guest/work/torture_virtio.h"
#include "guest/work/work.h"

#define REG(t, reg) ((t)->common + VIRTIO_COMMON(reg))
#define MIDDLE (VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER)

/* ---- status ---- */

static void add(struct tv *t, u8 bits) { virtio_status_add(t->common, bits); }
static bool is_set(struct tv *t, u8 bits) { return (tv_status(t) & bits) == bits; }

static void write_features(struct tv *t, u32 half, u32 value)
{
	mmio_write32(REG(t, driver_feature_select), half);
	mmio_write32(REG(t, driver_feature), value);
}

static u32 features_of(struct tv *t, u32 half)
{
	mmio_write32(REG(t, driver_feature_select), half);
	return mmio_read32(REG(t, driver_feature));
}

static u32 bad_order(struct tv *t)
{
	u32 failed = 0;

	tv_reset(t);
	add(t, VIRTIO_STATUS_DRIVER_OK);
	failed += tv_case(t, !is_set(t, VIRTIO_STATUS_DRIVER_OK), "driver-ok-first");
	tv_reset(t);
	add(t, MIDDLE);
	add(t, VIRTIO_STATUS_DRIVER_OK);
	failed += tv_case(t, !is_set(t, VIRTIO_STATUS_DRIVER_OK), "driver-ok-before-features-ok");
	tv_reset(t);
	write_features(t, 1, 1);
	add(t, VIRTIO_STATUS_FEATURES_OK);
	failed += tv_case(t, !is_set(t, VIRTIO_STATUS_FEATURES_OK), "features-ok-before-driver");
	tv_reset(t);
	tv_queue_raw(t, VIRTIO_NET_TXQ, TV_SIZE, (u64)t->mem->spare, (u64)t->mem->spare + 0x1000, (u64)t->mem->spare + 0x2000);
	failed += tv_case(t, !mmio_read16(REG(t, queue_enable)), "queue-enabled-before-features-ok");
	tv_up(t, TV_PLAIN);
	mmio_write8(REG(t, device_status), VIRTIO_STATUS_DRIVER);
	failed += tv_case(t, is_set(t, MIDDLE | VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK), "status-bits-taken-away");
	tv_up(t, TV_PLAIN);
	add(t, VIRTIO_STATUS_NEEDS_RESET);
	failed += tv_case(t, !tv_broken(t), "needs-reset-written");
	tv_up(t, TV_PLAIN);
	add(t, VIRTIO_STATUS_FAILED);
	tv_ask(t);
	failed += tv_case(t, is_set(t, VIRTIO_STATUS_FAILED) && !tv_ring(t, VIRTIO_NET_TXQ)->used.idx, "failed-moves-nothing");
	tv_start(t, TV_PLAIN);
	tv_ask(t);
	failed += tv_case(t, !tv_ring(t, VIRTIO_NET_TXQ)->used.idx && !tv_broken(t), "kick-before-driver-ok");
	return failed;
}

/* FEATURES_OK must not stay with these. */
static u32 bad_features(struct tv *t)
{
	static const struct { const char *name; u32 half, value, also; } all[] = {
		{ "feature-not-offered", 0, BIT(0), 1 }, { "feature-reserved", 0, BIT(31), 1 }, { "feature-40", 1, BIT(8) | 1, 0 },
		{ "feature-63", 1, BIT(31) | 1, 0 }, { "feature-64", 2, 1, 1 }, { "feature-in-half-of-nowhere", ~0u, ~0u, 1 },
		{ "features-all", 0, ~0u, ~0u }, { "features-none", 0, 0, 0 },
		{ "feature-rx-modes-without-control-queue", 0, TV_BIT(CTRL_RX), 1 },
		{ "feature-vlans-without-control-queue", 0, TV_BIT(CTRL_VLAN), 1 },
	};
	u32 failed = 0;

	for (u32 i = 0; i < ARRAY_SIZE(all); i++) {
		tv_reset(t);
		add(t, MIDDLE);
		write_features(t, 1, all[i].also);
		write_features(t, all[i].half, all[i].value);
		add(t, VIRTIO_STATUS_FEATURES_OK);
		bool refused = !is_set(t, VIRTIO_STATUS_FEATURES_OK);
		add(t, VIRTIO_STATUS_DRIVER_OK);
		failed += tv_case(t, refused && !is_set(t, VIRTIO_STATUS_DRIVER_OK), all[i].name);
	}
	tv_start(t, TV_PLAIN);
	write_features(t, 0, ~0u);
	return failed + tv_case(t, !features_of(t, 0) && is_set(t, VIRTIO_STATUS_FEATURES_OK), "features-changed-after-ok");
}

/* ---- queues ---- */

static void select(struct tv *t, u16 q) { mmio_write16(REG(t, queue_select), q); }
static u16 size(struct tv *t) { return mmio_read16(REG(t, queue_size)); }

static u32 bad_sizes(struct tv *t)
{
	static const u16 sizes[] = { 0, 3, 12, 255, 257, 512, 0x8000, 0xffff };
	u64 got;
	bool same = true;
	u32 failed = 0;

	tv_reset(t);
	virtio_negotiate(t->common, TV_PLAIN, TV_PLAIN, &got);
	select(t, VIRTIO_NET_TXQ);
	u16 max = size(t);
	for (u32 i = 0; i < ARRAY_SIZE(sizes); i++) {
		mmio_write16(REG(t, queue_size), sizes[i]);
		same = same && size(t) == max;
	}
	failed += tv_case(t, same && max == VIRTQ_MAX, "queue-size-bad");
	tv_reset(t);
	virtio_negotiate(t->common, TV_PLAIN, TV_PLAIN, &got);
	select(t, VIRTIO_NET_TXQ);
	mmio_write32(REG(t, queue_size), 65536);
	mmio_write32(REG(t, queue_size), 16);
	mmio_write8(REG(t, queue_size), 16);
	mmio_write8(REG(t, queue_size) + 1, 0);
	mmio_write64(REG(t, queue_select), 16ull << 16 | VIRTIO_NET_TXQ);
	return failed + tv_case(t, size(t) == max, "queue-size-other-widths");
}

static u32 bad_queues(struct tv *t)
{
	static const u16 none[] = { 3, 4, 255, 256, 0xffff };
	bool ok = true;
	u32 failed = 0;

	tv_up(t, TV_PLAIN);
	for (u32 i = 0; i < ARRAY_SIZE(none); i++) {
		select(t, none[i]);
		ok = ok && !size(t);
		tv_queue_raw(t, none[i], TV_SIZE, 0, 0, 0);
		ok = ok && !mmio_read16(REG(t, queue_enable));
	}
	failed += tv_case(t, ok && tv_ping(t), "queue-that-is-not-there");
	tv_up(t, TV_PLAIN);
	tv_queue_raw(t, VIRTIO_NET_TXQ, 2, (u64)t->mem->spare, (u64)t->mem->spare, (u64)t->mem->spare); /* enabled already */
	mmio_write16(REG(t, queue_enable), 0);
	ok = size(t) == TV_SIZE && mmio_read16(REG(t, queue_enable)) == 1 &&
	     mmio_read32(REG(t, queue_desc)) == (u32)(u64)tv_ring(t, VIRTIO_NET_TXQ)->desc;
	failed += tv_case(t, ok && tv_ping(t), "queue-changed-while-enabled");
	tv_reset(t);
	u64 got;
	virtio_negotiate(t->common, TV_PLAIN, TV_PLAIN, &got);
	select(t, VIRTIO_NET_TXQ);
	mmio_write16(REG(t, queue_enable), 2);
	mmio_write16(REG(t, queue_enable), 0xffff);
	ok = !mmio_read16(REG(t, queue_enable));
	mmio_write8(REG(t, queue_enable), 1);
	mmio_write32(REG(t, queue_enable), 1);
	ok = ok && !mmio_read16(REG(t, queue_enable));
	failed += tv_case(t, ok, "queue-enable-bad-value");
	tv_reset(t);
	virtio_negotiate(t->common, TV_PLAIN, TV_PLAIN, &got);
	add(t, VIRTIO_STATUS_DRIVER_OK); /* no queue at all */
	for (u32 q = 0; q < TV_QUEUES; q++)
		tv_kick(t, q);
	return failed + tv_case(t, is_set(t, VIRTIO_STATUS_DRIVER_OK) && !tv_broken(t), "no-queue-enabled");
}

/* ---- every width at every place ---- */

static void write_wide(volatile u8 *at, u32 width, u64 value)
{
	switch (width) {
	case 1: mmio_write8(at, (u8)value); break;
	case 2: mmio_write16(at, (u16)value); break;
	case 4: mmio_write32(at, (u32)value); break;
	default: mmio_write64(at, value);
	}
}

static void read_wide(volatile u8 *at, u32 width)
{
	switch (width) {
	case 1: (void)mmio_read8(at); break;
	case 2: (void)mmio_read16(at); break;
	case 4: (void)mmio_read32(at); break;
	default: (void)mmio_read64(at);
	}
}

static void everywhere(struct tv *t, u32 from, u32 to, u32 step, u64 value)
{
	for (u32 width = 1; width <= 8; width *= 2)
		for (u32 at = from; at < to; at += step) {
			write_wide(t->pci.bar0 + at, width, value);
			read_wide(t->pci.bar0 + at, width);
		}
}

static u32 widths(struct tv *t)
{
	static const u64 values[] = { ~0ull, 0x0101010101010101ull, 0x8000800080008000ull };
	u32 failed = 0;

	for (u32 i = 0; i < ARRAY_SIZE(values); i++) {
		char name[40];
		tv_start(t, TV_PLAIN);
		everywhere(t, VNET_COMMON, VNET_COMMON + 0x48, 1, values[i]);
		sniprintf(name, sizeof(name), "common-registers-filled-%u", i);
		failed += tv_case(t, true, name);
	}
	tv_up(t, TV_PLAIN);
	mmio_write16(REG(t, device_status), 0);
	mmio_write32(REG(t, device_status), 0);
	failed += tv_case(t, is_set(t, VIRTIO_STATUS_DRIVER_OK), "status-other-widths");
	tv_up(t, TV_PLAIN);
	everywhere(t, VNET_ISR - 8, VNET_ISR + 8, 1, ~0ull);
	everywhere(t, VNET_DEVICE - 8, VNET_DEVICE + 24, 1, ~0ull);
	everywhere(t, VNET_NOTIFY - 8, VNET_NOTIFY + 24, 3, ~0ull);
	everywhere(t, VNET_NOTIFY + 24, VNET_BAR0_LEN, 0x101, ~0ull);
	everywhere(t, VNET_BAR0_LEN - 8, VNET_BAR0_LEN + 8, 1, ~0ull); /* across its end, into the table of vectors */
	failed += tv_case(t, !tv_broken(t) && tv_ping(t), "other-registers-filled");
	return failed;
}

u32 tv_group_registers(struct tv *t) { return bad_order(t) + bad_features(t) + bad_sizes(t) + bad_queues(t) + widths(t); }
