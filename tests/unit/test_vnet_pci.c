/*
 * The emulated network device as a PCI function and a virtio device: configuration space, BARs, capabilities, MSI-X, status,
 * features, configuration (nic/vnet_pci.c, vnet_msix.c, vnet_regs.c, vnet.c).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/errno.h"
#include "core/vpci.h"
#include "tests/unit/vnet_model.h"

#define V1 BIT(VIRTIO_F_VERSION_1)
#define NET(name) BIT(VIRTIO_NET_F_##name)
#define ALL (V1 | BIT(VIRTIO_F_RING_EVENT_IDX) | BIT(VIRTIO_F_RING_INDIRECT_DESC) | NET(MTU) | NET(MAC) | NET(MRG_RXBUF) | NET(STATUS) | \
	     NET(CTRL_VQ) | NET(CTRL_RX) | NET(CTRL_VLAN) | NET(CTRL_MAC_ADDR))

static u8 frame[2048];

static int begin(void **state)
{
	(void)state;
	model_begin();
	return 0;
}
static int end(void **state)
{
	(void)state;
	assert_int_equal(model_end(), 0);
	assert_false(model_seen.started);
	return 0;
}

/* ---- configuration space ---- */

static void header(void **state)
{
	static const struct { u32 offset, size, value; } cases[] = {
		{ 0, 2, 0x1af4 }, { 2, 2, 0x1041 }, { 0, 4, 0x10411af4 }, { 8, 4, 0x02000001 }, { 0xe, 1, 0 }, { 0x2c, 2, 0x1af4 },
		{ 0x3d, 1, 0 } /* no pin */, { 4, 2, 2 }, { 6, 2, 0x10 }, { 0x34, 1, 0x40 }, { 0x18, 4, 0 }, { 0x30, 4, 0 },
		{ 0x100, 4, 0 }, { 0xffc, 4, 0 },
	};
	(void)state;
	assert_int_equal(vnet_rid(model_dev).v, RID(0, 1, 0).v);
	for (u32 i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(model_config(cases[i].offset, cases[i].size), cases[i].value);
	for (u32 i = 0; i < 0x1000; i += 4) { /* writing ones anywhere does no harm */
		model_config_write(i, 4, ~0u);
		model_config_write(i, 4, 0);
	}
	assert_int_equal(model_config(0, 4), 0x10411af4);
	model_config_write(4, 4, ~0u);
	assert_int_equal(model_config(4, 4), 0x100406);
	model_config_write(0x3c, 1, 11);
	assert_int_equal(model_config(0x3c, 4), 11);
}

static void capabilities(void **state)
{
	u32 seen = 0, n = 0;
	(void)state;
	for (u32 at = model_config(0x34, 1); at; at = model_config(at + 1, 1)) {
		assert_true(n++ < 10);
		if (model_config(at, 1) == PCI_CAP_ID_MSIX) {
			assert_int_equal(model_config(at + 2, 2), VNET_VECTORS - 1);
			assert_int_equal(model_config(at + 4, 4), 1);
			assert_int_equal(model_config(at + 8, 4), 2048 | 1);
			continue;
		}
		assert_int_equal(model_config(at, 1), 9);
		u32 type = model_config(at + 3, 1), offset = model_config(at + 8, 4), len = model_config(at + 12, 4);
		assert_int_equal(model_config(at + 2, 1), type == VIRTIO_CAP_NOTIFY || type == VIRTIO_CAP_PCI_CFG ? 20 : 16);
		assert_true(offset + len <= VNET_BAR0_LEN);
		seen |= 1u << type;
		if (type == VIRTIO_CAP_NOTIFY)
			assert_int_equal(model_config(at + 16, 4), VNET_NOTIFY_MULTIPLIER);
	}
	assert_int_equal(seen, 0x3e); /* all five */
}

static void bars(void **state)
{
	u32 bar0 = model_config(0x10, 4), bar1 = model_config(0x14, 4);
	(void)state;
	assert_true(bar0 >= VPCI_WINDOW_BASE && bar0 % VNET_BAR0_LEN == 0 && bar1 % VNET_BAR1_LEN == 0);
	assert_int_equal(model_load(bar0 + VNET_COMMON + 18, 2), 3); /* three queues: decoded from the start */
	model_config_write(0x10, 4, ~0u);
	assert_int_equal(model_config(0x10, 4), ~(VNET_BAR0_LEN - 1));
	model_config_write(0x14, 4, ~0u);
	assert_int_equal(model_config(0x14, 4), ~(VNET_BAR1_LEN - 1));
	assert_int_equal(model_load(bar0 + 18, 2), 0xffff);
	model_config_write(0x10, 4, 0xd0000000);
	model_config_write(0x14, 4, 0xdffff000);
	assert_int_equal(model_load(0xd0000000 + 18, 2), 3);
	assert_int_equal(model_load(0xdffff00c, 4), 1); /* vector 0 is masked */
	model_config_write(4, 2, 0);                    /* not decoded */
	assert_int_equal(model_load(0xd0000000 + 18, 2), 0xffff);
	model_config_write(4, 2, 2);
	assert_int_equal(model_load(0xd0000000 + 18, 2), 3);
	static const u32 wrong[] = { 0, 0x100000, VPCI_ECAM_BASE, 0xfec00000, 0xfee00000, VPCI_WINDOW_BASE - VNET_BAR0_LEN };
	for (u32 i = 0; i < ARRAY_SIZE(wrong); i++) {
		model_config_write(0x10, 4, wrong[i]);
		assert_false(vdev_claims(&model_vm.mmio, wrong[i], 4) && wrong[i] != VPCI_ECAM_BASE);
	}
	model_config_write(0x10, 4, 0xdfffc000); /* on top of the other: that one was there first */
	assert_int_equal(model_load(0xdfffc000 + 18, 2), 0xffff);
	assert_int_equal(model_load(0xdffff00c, 4), 1);
	model_config_write(0x14, 4, bar1);
	model_config_write(0x10, 4, 0xdfffc000);
	assert_int_equal(model_load(0xdfffc000 + 18, 2), 3);
}

/* ---- the other way to the registers ---- */

static void pci_cfg(void **state)
{
	u32 cap = 0x98;
	(void)state;
	assert_int_equal(model_config(cap + 3, 1), VIRTIO_CAP_PCI_CFG);
	model_config_write(4, 2, 0); /* memory need not be decoded */
	model_config_write(cap + 4, 1, 0);
	model_config_write(cap + 8, 4, VNET_COMMON + 18);
	model_config_write(cap + 12, 4, 2);
	assert_int_equal(model_config(cap + 16, 4), 3);
	model_config_write(cap + 8, 4, VNET_COMMON + 20);
	model_config_write(cap + 12, 4, 1);
	model_config_write(cap + 16, 1, 1);
	assert_int_equal(model_config(cap + 16, 1), 1);
	model_config_write(cap + 8, 4, VNET_DEVICE);
	model_config_write(cap + 12, 4, 4);
	assert_int_equal(model_config(cap + 16, 4), 0x00005452);
	static const struct { u32 bar, offset, len; } wrong[] = {
		{ 2, 0, 4 }, { 0, 2, 4 }, { 0, 0, 3 }, { 0, 0, 8 }, { 0, 0, 0 }, { 0, VNET_BAR0_LEN, 4 }, { 1, VNET_BAR1_LEN, 4 },
		{ 0, ~3u, 4 }, { 255, 0, 1 },
	};
	for (u32 i = 0; i < ARRAY_SIZE(wrong); i++) {
		model_config_write(cap + 4, 1, wrong[i].bar);
		model_config_write(cap + 8, 4, wrong[i].offset);
		model_config_write(cap + 12, 4, wrong[i].len);
		assert_int_equal(model_config(cap + 16, 4), 0);
		model_config_write(cap + 16, 4, ~0u);
	}
}

/* ---- status and features ---- */

static void status(void **state)
{
	(void)state;
	assert_int_equal(drv_status(), 0);
	reg_write(COMMON(device_status), VIRTIO_STATUS_DRIVER_OK); /* too early */
	assert_int_equal(drv_status(), 0);
	assert_int_equal(model_seen.starts, 0);
	reg_write(COMMON(device_status), 1 | VIRTIO_STATUS_FEATURES_OK);
	assert_int_equal(drv_status(), 1);
	assert_true(drv_negotiate(V1));
	reg_write(COMMON(driver_feature_select), 0);
	reg_write(COMMON(driver_feature), ~0u); /* too late */
	assert_int_equal(reg(COMMON(driver_feature)), 0);
	reg_write(COMMON(device_status), 15);
	assert_int_equal(drv_status(), 15);
	assert_int_equal(model_seen.starts, 1);
	reg_write(COMMON(device_status), 15 | VIRTIO_STATUS_NEEDS_RESET); /* not the driver's */
	assert_int_equal(drv_status(), 15);
	reg_write(COMMON(device_status), 1); /* bits do not go */
	assert_int_equal(drv_status(), 15);
	reg_write(COMMON(device_status), 15 | VIRTIO_STATUS_FAILED);
	assert_int_equal(model_seen.stops, 1);
	assert_false(vnet_running(model_dev));
	reg_write(COMMON(device_status), 0);
	assert_int_equal(drv_status(), 0);
	assert_int_equal(model_seen.stops, 1);
	assert_true(drv_start(V1, 8));
	assert_true(vnet_running(model_dev));
	model_config_write(4, 2, 2); /* no bus mastering: it cannot work */
	assert_false(vnet_running(model_dev));
}

static void features(void **state)
{
	static const struct { u64 features; bool good; } cases[] = {
		{ V1, true }, { 0, false }, { ALL, true }, { ALL & ~V1, false }, { V1 | 1, false } /* checksums */,
		{ V1 | BIT(40), false },
		{ V1 | BIT(VIRTIO_NET_F_CTRL_RX), false }, { V1 | BIT(VIRTIO_NET_F_CTRL_RX) | BIT(VIRTIO_NET_F_CTRL_VQ), true },
		{ V1 | BIT(VIRTIO_NET_F_CTRL_VLAN), false }, { V1 | BIT(VIRTIO_NET_F_CTRL_MAC_ADDR), false },
	};
	(void)state;
	reg_write(COMMON(device_feature_select), 0);
	u64 offered = reg(COMMON(device_feature));
	reg_write(COMMON(device_feature_select), 1);
	offered |= reg(COMMON(device_feature)) << 32;
	assert_int_equal(offered, ALL);
	reg_write(COMMON(device_feature_select), 2);
	assert_int_equal(reg(COMMON(device_feature)), 0);
	for (u32 i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(drv_negotiate(cases[i].features), cases[i].good);
	reg_write(COMMON(device_status), 0);
	reg_write(COMMON(device_status), 3);
	reg_write(COMMON(driver_feature_select), 1);
	reg_write(COMMON(driver_feature), 1);
	reg_write(COMMON(driver_feature_select), 5);
	reg_write(COMMON(driver_feature), 1);
	reg_write(COMMON(device_status), 11);
	assert_int_equal(drv_status(), 3);
}

static void queue_registers(void **state)
{
	(void)state;
	assert_true(drv_negotiate(V1));
	for (u32 q = 0; q < 5; q++) {
		reg_write(COMMON(queue_select), q);
		assert_int_equal(reg(COMMON(queue_size)), q < 3 ? VIRTQ_MAX : 0);
		assert_int_equal(reg(COMMON(queue_notify_off)), q < 3 ? q : 0);
		reg_write(COMMON(queue_msix_vector), VNET_VECTORS);
		assert_int_equal(reg(COMMON(queue_msix_vector)), VIRTIO_NO_VECTOR);
		reg_write(COMMON(queue_msix_vector), 3);
		assert_int_equal(reg(COMMON(queue_msix_vector)), q < 3 ? 3 : VIRTIO_NO_VECTOR);
	}
	reg_write(COMMON(queue_select), 0);
	static const u32 wrong[] = { 0, 3, 255, 257, 512, 0x8000 };
	for (u32 i = 0; i < ARRAY_SIZE(wrong); i++) {
		reg_write(COMMON(queue_size), wrong[i]);
		assert_int_equal(reg(COMMON(queue_size)), VIRTQ_MAX);
	}
	drv_queue(0, 16, 0x10000, 0x12000, 0x14000);
	assert_int_equal(reg(COMMON(queue_enable)), 1);
	reg_write(COMMON(queue_size), 32); /* fixed now */
	reg_write(COMMON(queue_desc), 0x30000);
	reg_write(COMMON(queue_enable), 0);
	assert_int_equal(reg(COMMON(queue_size)), 16);
	assert_int_equal(reg(COMMON(queue_desc)), 0x10000);
	assert_int_equal(reg(COMMON(queue_enable)), 1);
	reg_write(VNET_COMMON + 20, 4, 0); /* the status register, as a dword: no */
	assert_int_equal(drv_status(), 11);
	for (u32 size = 1; size <= 8; size *= 2)
		for (u32 at = 0; at < VNET_NOTIFY; at += size) {
			(void)reg(at, size);
			if (at != 20)
				reg_write(at, size, ~0ull);
		}
	reg_write(COMMON(device_status), 0);
	assert_int_equal(reg(COMMON(queue_enable)), 0);
}

/* ---- configuration ---- */

static void configuration(void **state)
{
	(void)state;
	for (u32 i = 0; i < 6; i++)
		assert_int_equal(reg(VNET_DEVICE + i, 1), model_mac[i]);
	assert_int_equal(reg(VNET_DEVICE + 6, 2), VIRTIO_NET_S_LINK_UP);
	assert_int_equal(reg(VNET_DEVICE + 10, 2), 1500);
	assert_int_equal(reg(VNET_DEVICE + 12, 4), 0);
	assert_true(drv_start(V1, 8));
	u64 generation = reg(COMMON(config_generation));
	model_lower.link_down = true;
	vnet_changed(model_dev);
	assert_int_equal(model_seen.msis, 1);
	assert_int_equal(model_seen.msi_data[0], 0x40);
	assert_int_equal(reg(VNET_DEVICE + 6, 2), 0);
	assert_int_not_equal(reg(COMMON(config_generation)), generation);
	reg_write(VNET_DEVICE, 4, 0); /* read only */
	assert_int_equal(reg(VNET_DEVICE, 1), model_mac[0]);
	model_lower.max_frame = 1000000;
	vnet_changed(model_dev);
	assert_int_equal(reg(VNET_DEVICE + 10, 2), 9202);
}

/* ---- MSI-X ---- */

static u64 table(u32 vector, u32 offset) { return (model_config(0x14, 4) & ~15u) + vector * 16 + offset; }

static void msix(void **state)
{
	(void)state;
	u64 pba = table(0, 2048);
	assert_true(drv_start(V1, 8));
	assert_int_equal(model_load(table(1, 0), 8), 0xfee00000);
	assert_int_equal(model_load(table(1, 8), 4), 0x41);
	model_store(table(0, 12), 4, ~0ull);
	assert_int_equal(model_load(table(0, 12), 4), 1);
	vnet_changed(model_dev);
	vnet_changed(model_dev);
	assert_int_equal(model_seen.msis, 0);
	assert_int_equal(model_load(pba, 4), 1);
	model_store(pba, 4, 0); /* read only */
	assert_int_equal(model_load(pba, 8), 1);
	model_store(table(0, 12), 4, 0);
	assert_int_equal(model_seen.msis, 1); /* once */
	assert_int_equal(model_load(pba, 4), 0);
	model_config_write(0x42, 2, 0xc000); /* the whole function */
	vnet_changed(model_dev);
	assert_int_equal(model_seen.msis, 1);
	model_config_write(0x42, 2, 0x8000);
	assert_int_equal(model_seen.msis, 2);
	model_store(table(0, 0), 8, 0x12345000); /* not to a local APIC */
	vnet_changed(model_dev);
	model_store(table(0, 0), 8, 0x1fee00000);
	vnet_changed(model_dev);
	assert_int_equal(model_seen.msis, 2);
	model_store(table(0, 12), 1, 1); /* undefined: dropped */
	model_store(table(0, 10), 4, ~0u);
	assert_int_equal(model_load(table(0, 12), 4), 0);
	reg_write(COMMON(config_msix_vector), 99);
	assert_int_equal(reg(COMMON(config_msix_vector)), VIRTIO_NO_VECTOR);
	vnet_changed(model_dev);
	assert_int_equal(model_seen.msis, 2);
	assert_int_equal(reg(VNET_ISR, 1), 0);
	model_config_write(0x42, 2, 0); /* off: the ISR byte says it, and forgets */
	vnet_changed(model_dev);
	assert_int_equal(reg(VNET_ISR, 1), VIRTIO_ISR_CONFIG);
	assert_int_equal(reg(VNET_ISR, 1), 0);
	drv_give(0, 2048);
	frame_make(frame, 60, model_mac, peer_mac, 1);
	assert_int_equal(vnet_rx(model_dev, frame, 60), 0);
	vnet_rx_flush(model_dev);
	assert_int_equal(reg(VNET_ISR, 1), VIRTIO_ISR_QUEUE);
}

/* ---- many ports ---- */

static void window_is_finite(void **state)
{
	(void)state;
	u32 a = vpci_window_alloc(&model_vm, 0x1000), b = vpci_window_alloc(&model_vm, 0x4000);
	assert_true(a && b && b % 0x4000 == 0 && b >= a + 0x1000);
	assert_int_equal(vpci_window_alloc(&model_vm, 0x20000000), 0);
	assert_true(vpci_window_alloc(&model_vm, 0x10000000));
	assert_int_equal(vpci_window_alloc(&model_vm, 0x10000000), 0);
	vpci_remove(&model_vm, RID(3, 3, 3));
	assert_int_equal(model_config(0, 4), 0x10411af4);
}

/* A device that does not fit leaves nothing behind. */
static void no_room_for_another(void **state)
{
	static const struct vdev_ops none = { 0 };
	struct nic_port second = { .vm = &model_vm, .lower = model_port.lower, .cfg = model_port.cfg, .index = 1 };
	struct vnet *d = NULL;
	u64 pages = model_vm.owner.pages, other = VPCI_ECAM_BASE + ((u64)RID(0, 2, 0).v << 12);
	(void)state;
	for (u64 at = BIT(40); model_vm.mmio.nr < VDEV_MAX_RANGES - 1; at += 16)
		assert_int_equal(vdev_add(&model_vm.mmio, at, 16, &none, NULL), 0);
	assert_int_equal(vnet_create(&d, &second), -ENOSPC);
	assert_null(d);
	assert_int_equal(model_vm.mmio.nr, VDEV_MAX_RANGES - 1);
	assert_int_equal(model_load(other, 4), 0xffffffff);
	assert_int_equal(model_vm.owner.pages, pages);
}

/* Kicks that came without bus mastering are made up for: what waits for buffers would wait for ever. */
static void kicks_without_bus_mastering(void **state)
{
	u32 id, len;
	(void)state;
	assert_true(drv_start(V1, 8));
	frame_make(frame, 60, model_mac, peer_mac, 1);
	assert_int_equal(vnet_rx(model_dev, frame, 60), -EAGAIN);
	model_config_write(4, 2, 2);
	drv_give(0, 2048);
	drv_kick_always(0);
	frame_make(frame, 60, peer_mac, model_mac, 1);
	drv_send(0, frame, 60);
	drv_kick_always(1);
	assert_int_equal(model_seen.more + model_seen.frames, 0);
	model_config_write(4, 2, 6);
	assert_int_equal(model_seen.more, 1);
	assert_int_equal(model_seen.frames, 1);
	assert_true(drv_used(1, &id, &len));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(header), TEST(capabilities), TEST(bars), TEST(pci_cfg), TEST(status), TEST(features), TEST(queue_registers),
		TEST(configuration), TEST(msix), TEST(window_is_finite), TEST(no_room_for_another),
		TEST(kicks_without_bus_mastering),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
