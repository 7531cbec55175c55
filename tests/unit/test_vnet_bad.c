/*
 * The emulated network device with a driver that breaks the rules, asks for what policy forbids, or resets at a bad moment: the
 * device wants a reset, says so once, and moves nothing more; after the reset it works as if nothing had been (nic/vnet.h).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/errno.h"
#include "tests/unit/vnet_model.h"

#define HDR ((u32)sizeof(struct virtio_net_hdr))
#define FEATURES (BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_RING_EVENT_IDX) | BIT(VIRTIO_F_RING_INDIRECT_DESC) | \
		  BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_RX) | \
		  BIT(VIRTIO_NET_F_CTRL_VLAN) | BIT(VIRTIO_NET_F_CTRL_MAC_ADDR))

static u8 frame[2048];

static int begin(void **state)
{
	(void)state;
	model_begin();
	assert_true(drv_start(FEATURES, 8));
	return 0;
}
static int end(void **state)
{
	(void)state;
	assert_int_equal(model_end(), 0);
	assert_false(model_seen.started);
	return 0;
}

/* It works: a frame each way and a command. */
static void works(void)
{
	u32 id, len, sent = model_seen.frames;
	u8 off = 0;
	frame_make(frame, 60, peer_mac, model_mac, 1);
	drv_send(0, frame, 60);
	assert_true(drv_kick(1));
	assert_int_equal(model_seen.frames, sent + 1);
	drv_give(0, 2048);
	frame_make(frame, 60, model_mac, peer_mac, 1);
	assert_int_equal(vnet_rx(model_dev, frame, 60), 0);
	vnet_rx_flush(model_dev);
	assert_true(drv_used(0, &id, &len));
	assert_int_equal(drv_command(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &off, 1), VIRTIO_NET_OK);
}

/* Broken, said once, the link stopped, nothing moves; and a reset heals it. irqs: seen before. */
static void broken(u32 irqs)
{
	assert_int_equal(drv_status(), 15 | VIRTIO_STATUS_NEEDS_RESET);
	assert_false(vnet_running(model_dev));
	assert_false(model_seen.started);
	assert_int_equal(model_seen.msis, irqs + 1);
	assert_int_equal(model_seen.msi_data[irqs], 0x40);
	u32 sent = model_seen.frames, more = model_seen.more;
	for (u32 q = 0; q < 4; q++)
		drv_kick_always(q);
	assert_int_equal(vnet_rx(model_dev, frame, 60), 0);
	vnet_rx_end(model_dev);
	vnet_rx_flush(model_dev);
	assert_int_equal(vnet_fence(model_dev), 0);
	assert_int_equal(model_seen.frames, sent);
	assert_int_equal(model_seen.more, more);
	assert_int_equal(model_seen.msis, irqs + 1);
	assert_int_equal(drv_status(), 15 | VIRTIO_STATUS_NEEDS_RESET);
	assert_true(drv_start(FEATURES, 8));
	works();
}

/* ---- transmit ---- */

static void tx_is_bad(u16 head)
{
	u32 irqs = model_seen.msis;
	drv_post(1, head);
	drv_kick_always(1);
	assert_int_equal(model_seen.frames, 0);
	broken(irqs);
	model_seen.frames = 0;
}

static void tx_descriptors(void **state)
{
	u64 at = DATA(1, 0);
	(void)state;
	tx_is_bad(8);
	tx_is_bad(0xffff);
	desc_set(1, 0, at, 100, VIRTQ_DESC_NEXT, 0); /* loop */
	tx_is_bad(0);
	desc_set(1, 0, at, 100, VIRTQ_DESC_NEXT, 8);
	tx_is_bad(0);
	desc_set(1, 0, at, 100, VIRTQ_DESC_WRITE, 0);
	tx_is_bad(0);
	desc_set(1, 0, at, 100, VIRTQ_DESC_NEXT, 1);
	desc_set(1, 1, at, 100, VIRTQ_DESC_WRITE, 0);
	tx_is_bad(0);
	desc_set(1, 0, at, 100, VIRTQ_DESC_INDIRECT, 0); /* 100 is no multiple of 16 */
	tx_is_bad(0);
	desc_set(1, 0, at, HDR - 1, 0, 0);
	tx_is_bad(0);
	desc_set(1, 0, at, 0, 0, 0);
	tx_is_bad(0);
	static const u64 places[] = {
		MODEL_LOW - 20, MODEL_LOW, MODEL_END - 99, ~0ull - 50, 0xfee00000, 0xc0000000, 0xe0000000, BIT(52),
	};
	for (u32 i = 0; i < ARRAY_SIZE(places); i++) {
		desc_set(1, 0, places[i], 100, 0, 0);
		tx_is_bad(0);
	}
}

static void tx_indices(void **state)
{
	(void)state;
	drvq[1].posted = 8;
	tx_is_bad(0); /* nine buffers in a queue of eight */
	drvq[1].posted = 0x7fff;
	tx_is_bad(0);
}

static void tx_headers(void **state)
{
	(void)state;
	u8 *h = model_ram + DATA(1, 0);
	for (u32 i = 0; i < 2; i++) {
		desc_set(1, 0, DATA(1, 0), 100, 0, 0);
		memset(h, 0, HDR);
		h[i] = 1; /* a checksum; segmentation */
		tx_is_bad(0);
	}
}

/* What came before the bad one has been sent, and is given back. */
static void tx_after_good_ones(void **state)
{
	u32 id, len;
	(void)state;
	frame_make(frame, 60, peer_mac, model_mac, 1);
	drv_send(0, frame, 60);
	drv_send(1, frame, 60);
	desc_set(1, 2, ~0ull, 100, 0, 0);
	drv_post(1, 2);
	drv_send(3, frame, 60);
	drv_kick(1);
	assert_int_equal(model_seen.frames, 2);
	assert_int_equal(model_seen.flushes, 1);
	assert_true(drv_used(1, &id, &len) && id == 0);
	assert_true(drv_used(1, &id, &len) && id == 1);
	assert_false(drv_used(1, &id, &len));
	assert_int_equal(drv_status(), 15 | VIRTIO_STATUS_NEEDS_RESET);
	assert_non_null(strstr(model_log, "test"));
}

/* A link that refuses a frame loses it, and nothing else. */
static void tx_link_refuses(void **state)
{
	struct nest_nic_stats s = { .dropped = 0 };
	u32 id, len;
	(void)state;
	model_lower.err_tx = -EIO;
	frame_make(frame, 60, peer_mac, model_mac, 1);
	drv_send(0, frame, 60);
	drv_kick(1);
	assert_true(drv_used(1, &id, &len));
	vnet_stats(model_dev, &s);
	assert_int_equal(s.tx_packets, 0);
	model_lower.err_tx = 0;
	works();
}

/* ---- receive ---- */

static void rx_is_bad(u16 head)
{
	u32 irqs = model_seen.msis;
	drv_post(0, head);
	frame_make(frame, 60, model_mac, peer_mac, 1);
	assert_int_equal(vnet_rx(model_dev, frame, 60), 0);
	assert_true(model_seen.started); /* the data road cannot stop its link; the driver's next access does */
	broken(irqs);
}

static void rx_descriptors(void **state)
{
	(void)state;
	rx_is_bad(8);
	desc_set(0, 0, DATA(0, 0), 2048, 0, 0); /* not writable */
	rx_is_bad(0);
	desc_set(0, 0, DATA(0, 0), 20, VIRTQ_DESC_NEXT, 1);
	desc_set(0, 1, DATA(0, 0), 2048, VIRTQ_DESC_WRITE, 0);
	rx_is_bad(0);
	desc_set(0, 0, DATA(0, 0), HDR - 1, VIRTQ_DESC_WRITE, 0); /* no room for a header */
	rx_is_bad(0);
	desc_set(0, 0, MODEL_LOW - HDR, 2048, VIRTQ_DESC_WRITE, 0);
	rx_is_bad(0);
	desc_set(0, 0, ~0ull - 5, 2048, VIRTQ_DESC_WRITE, 0);
	rx_is_bad(0);
	desc_set(0, 0, DATA(0, 0), 2048, VIRTQ_DESC_WRITE | VIRTQ_DESC_NEXT, 0);
	rx_is_bad(0);
	drvq[0].posted = 100;
	rx_is_bad(0);
	/* The second buffer of a merged frame. */
	desc_set(0, 0, DATA(0, 0), 40, VIRTQ_DESC_WRITE, 0);
	desc_set(0, 1, 0xc0000000, 2048, VIRTQ_DESC_WRITE, 0);
	drv_post(0, 0);
	rx_is_bad(1);
	desc_set(0, 0, DATA(0, 0), 40, VIRTQ_DESC_WRITE, 0);
	desc_set(0, 1, DATA(0, 1), 0, VIRTQ_DESC_WRITE, 0);
	drv_post(0, 0);
	rx_is_bad(1);
}

static void rx_end_is_bad(void **state)
{
	(void)state;
	u32 irqs = model_seen.msis;
	drv_post(0, 200);
	vnet_rx_end(model_dev);
	broken(irqs);
	/* Without merged buffers one that cannot hold the mark is none. */
	assert_true(drv_start(BIT(VIRTIO_F_VERSION_1), 8));
	drv_give(0, HDR + 7);
	vnet_rx_end(model_dev);
	assert_int_equal(drv_status(), 15 | VIRTIO_STATUS_NEEDS_RESET);
}

/* ---- control ---- */

static void ctrl_is_bad(void **state)
{
	(void)state;
	u32 irqs = model_seen.msis;
	desc_set(2, 0, DATA(2, 0), 2, 0, 0); /* nowhere to answer */
	drv_post(2, 0);
	drv_kick_always(2);
	broken(irqs);
	irqs = model_seen.msis;
	desc_set(2, 0, DATA(2, 0), 1, VIRTQ_DESC_NEXT, 1); /* half a command */
	desc_set(2, 1, DATA(2, 1), 1, VIRTQ_DESC_WRITE, 0);
	drv_post(2, 0);
	drv_kick_always(2);
	broken(irqs);
	irqs = model_seen.msis;
	desc_set(2, 0, DATA(2, 0), 2, VIRTQ_DESC_NEXT, 1);
	desc_set(2, 1, 0xc0000000, 1, VIRTQ_DESC_WRITE, 0);
	drv_post(2, 0);
	drv_kick_always(2);
	broken(irqs);
}

static u32 put32(u8 *p, u32 v)
{
	memcpy(p, &v, 4);
	return 4;
}

/* MAC_TABLE_SET with n addresses of each kind: i-th group 01:00:00:00:00:i, unicast ones the port's own. */
static u8 table_set(u32 unicast, u32 groups)
{
	static u8 buf[4096];
	u32 at = put32(buf, unicast);
	for (u32 i = 0; i < unicast; i++, at += 6)
		memcpy(buf + at, model_mac, 6);
	at += put32(buf + at, groups);
	for (u32 i = 0; i < groups; i++, at += 6)
		memcpy(buf + at, (u8[6]){ 1, 0, 0, 0, 0, (u8)i }, 6);
	return drv_command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, buf, at);
}

static bool gets(const u8 *to, int vid)
{
	u32 id, len;
	frame_make(frame, 64, to, peer_mac, 1);
	if (vid >= 0) {
		frame[12] = 0x81;
		frame[14] = (u8)(0xe0 | vid >> 8); /* the priority does not matter */
		frame[15] = (u8)vid;
	}
	drv_give(3, 2048);
	assert_int_equal(vnet_rx(model_dev, frame, 64), 0);
	if (drv_used(0, &id, &len))
		return true;
	drvq[0].posted--; /* take it back */
	memcpy(model_ram + drvq[0].avail + 2, &drvq[0].posted, 2);
	return false;
}

static void ctrl_groups(void **state)
{
	u8 on = 1, off = 0, two = 2;
	(void)state;
	assert_int_equal(model_seen.filter.nr, 0);
	assert_false(model_seen.filter.all_groups);
	assert_int_equal(table_set(0, 3), VIRTIO_NET_OK);
	assert_int_equal(model_seen.filter.nr, 3);
	assert_true(gets((u8[6]){ 1, 0, 0, 0, 0, 2 }, -1));
	assert_false(gets((u8[6]){ 1, 0, 0, 0, 0, 3 }, -1));
	assert_int_equal(table_set(2, NEST_MAX_GROUPS), VIRTIO_NET_OK);
	assert_int_equal(model_seen.filter.nr, NEST_MAX_GROUPS);
	assert_int_equal(table_set(1, NEST_MAX_GROUPS + 1), VIRTIO_NET_OK); /* too many: all */
	assert_true(model_seen.filter.all_groups);
	assert_true(gets(group_mac, -1));
	assert_int_equal(table_set(0, 1), VIRTIO_NET_OK);
	assert_false(model_seen.filter.all_groups);
	assert_int_equal(drv_command(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, &on, 1), VIRTIO_NET_OK);
	assert_true(model_seen.filter.all_groups);
	assert_int_equal(model_seen.filter.nr, 1);
	assert_int_equal(table_set(0, 0), VIRTIO_NET_OK);
	assert_true(model_seen.filter.all_groups);
	assert_int_equal(drv_command(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, &off, 1), VIRTIO_NET_OK);
	assert_false(gets(group_mac, -1));
	u32 filters = model_seen.filters;
	assert_int_equal(drv_command(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &on, 1), VIRTIO_NET_ERR);
	assert_int_equal(drv_command(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, &two, 1), VIRTIO_NET_ERR);
	assert_int_equal(drv_command(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, frame, 2), VIRTIO_NET_ERR);
	assert_int_equal(drv_command(VIRTIO_NET_CTRL_RX, 2, &on, 1), VIRTIO_NET_ERR);
	assert_int_equal(drv_command(77, 0, &on, 1), VIRTIO_NET_ERR);
	assert_int_equal(model_seen.filters, filters);
	works();
}

static void ctrl_tables_that_lie(void **state)
{
	u8 buf[64] = { 0 };
	u32 filters = model_seen.filters;
	(void)state;
#define LIES(len) assert_int_equal(drv_command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, buf, len), VIRTIO_NET_ERR)
	LIES(0);
	LIES(4);                     /* the second table is missing */
	LIES(7);
	put32(buf, 0xffffffff);
	LIES(8);
	put32(buf, 0x2aaaaaaa);      /* times six wraps 32 bits */
	LIES(8);
	put32(buf, 0);
	put32(buf + 4, 0xffffffff);
	LIES(8);
	put32(buf + 4, 1);
	LIES(8 + 5);
	LIES(8 + 7);
	LIES(8 + 6);                 /* 00:… is no group */
	put32(buf, 1);
	memset(buf + 4, 0, sizeof(buf) - 4);
	LIES(4 + 6 + 4);             /* a unicast address that is not ours */
	assert_int_equal(table_set(NEST_MAX_GROUPS + 1, 0), VIRTIO_NET_ERR);
	assert_int_equal(model_seen.filters, filters);
	works();
}

static void ctrl_addresses(void **state)
{
	(void)state;
	assert_int_equal(drv_command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, model_mac, 6), VIRTIO_NET_OK);
	assert_int_equal(drv_command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, peer_mac, 6), VIRTIO_NET_ERR);
	assert_int_equal(drv_command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, model_mac, 5), VIRTIO_NET_ERR);
	assert_int_equal(drv_command(VIRTIO_NET_CTRL_MAC, 2, model_mac, 6), VIRTIO_NET_ERR);
}

static void ctrl_vlans(void **state)
{
	u16 vid = 7, none = 4096;
	(void)state;
	assert_false(gets(model_mac, 7));
	assert_true(gets(model_mac, 0));
	assert_int_equal(drv_command(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, &vid, 2), VIRTIO_NET_OK);
	assert_true(gets(model_mac, 7));
	assert_false(gets(model_mac, 6));
	assert_int_equal(drv_command(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, &none, 2), VIRTIO_NET_ERR);
	assert_int_equal(drv_command(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, &vid, 1), VIRTIO_NET_ERR);
	assert_int_equal(drv_command(VIRTIO_NET_CTRL_VLAN, 2, &vid, 2), VIRTIO_NET_ERR);
	assert_int_equal(drv_command(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_DEL, &vid, 2), VIRTIO_NET_OK);
	assert_false(gets(model_mac, 7));
	model_lower.vlan = 5; /* the port's own: the guest's are not filtered, and not asked for */
	vnet_changed(model_dev);
	assert_int_equal(drv_command(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, &vid, 2), VIRTIO_NET_ERR);
	assert_true(gets(model_mac, 7));
}

/* What was not negotiated is not there; and the default without it is everything. */
static void ctrl_not_negotiated(void **state)
{
	u8 off = 0;
	u16 vid = 7;
	(void)state;
	assert_true(drv_start(BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_CTRL_VQ), 8));
	assert_int_equal(drv_command(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &off, 1), VIRTIO_NET_ERR);
	assert_int_equal(drv_command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, model_mac, 6), VIRTIO_NET_ERR);
	assert_int_equal(table_set(0, 1), VIRTIO_NET_ERR);
	assert_int_equal(drv_command(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, &vid, 2), VIRTIO_NET_ERR);
	assert_true(gets(group_mac, 7));
}

/* ---- start and reset at bad moments ---- */

static void queue_set_up_wrong(void **state)
{
	(void)state;
	assert_true(drv_negotiate(FEATURES));
	drv_queue(0, 8, 0xc0000000, 0x12000, 0x14000);
	assert_int_equal(reg(COMMON(queue_enable)), 0);
	assert_int_equal(drv_status(), 11 | VIRTIO_STATUS_NEEDS_RESET);
	u32 starts = model_seen.starts;
	reg_write(COMMON(device_status), 15);
	assert_int_equal(model_seen.starts, starts);
	assert_false(vnet_running(model_dev));
	assert_true(drv_start(FEATURES, 8));
	works();
}

static void link_does_not_start(void **state)
{
	(void)state;
	model_lower.err_start = -ENODEV;
	assert_false(drv_start(FEATURES, 8));
	assert_int_equal(drv_status(), 15 | VIRTIO_STATUS_NEEDS_RESET);
	assert_int_equal(model_seen.filters, 1);
	model_lower.err_start = 0;
	assert_true(drv_start(FEATURES, 8));
	works();
}

/* Before DRIVER_OK nothing moves; without queues nothing is there. */
static void not_ready(void **state)
{
	(void)state;
	assert_true(drv_negotiate(FEATURES));
	frame_make(frame, 60, peer_mac, model_mac, 1);
	drv_queue(1, 8, 0x20000, 0x22000, 0x24000);
	drv_send(0, frame, 60);
	drv_kick_always(1);
	assert_int_equal(model_seen.frames, 0);
	frame_make(frame, 60, model_mac, peer_mac, 1);
	assert_int_equal(vnet_rx(model_dev, frame, 60), 0);
	reg_write(COMMON(device_status), 15);
	assert_int_equal(vnet_rx(model_dev, frame, 60), 0); /* no receive queue: dropped */
	for (u32 q = 0; q < 8; q++)
		drv_kick_always(q);
	assert_int_equal(model_seen.frames, 1);
	assert_int_equal(drv_status(), 15);
}

static void reset_now(void) { reg_write(COMMON(device_status), 0); }

/* Waiting frames and marks go with a reset; a reset from inside rx_more is one like any other. */
static void reset_races(void **state)
{
	u32 id, len;
	(void)state;
	vnet_rx_end(model_dev);
	frame_make(frame, 60, model_mac, peer_mac, 1);
	assert_int_equal(vnet_rx(model_dev, frame, 60), -EAGAIN);
	reset_now();
	assert_int_equal(vnet_rx(model_dev, frame, 60), 0);
	vnet_rx_end(model_dev);
	assert_true(drv_start(FEATURES, 8));
	works();
	model_lower.more = reset_now;
	assert_int_equal(vnet_rx(model_dev, frame, 60), -EAGAIN);
	drv_give(0, 2048);
	assert_true(drv_kick(0));
	assert_int_equal(drv_status(), 0);
	assert_false(model_seen.started);
	model_lower.more = NULL;
	assert_true(drv_start(FEATURES, 8));
	assert_false(drv_used(0, &id, &len));
	works();
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(tx_after_good_ones), /* first: the console says such things so many times only */
		TEST(tx_descriptors), TEST(tx_indices), TEST(tx_headers), TEST(tx_link_refuses),
		TEST(rx_descriptors), TEST(rx_end_is_bad), TEST(ctrl_is_bad), TEST(ctrl_groups), TEST(ctrl_tables_that_lie),
		TEST(ctrl_addresses), TEST(ctrl_vlans), TEST(ctrl_not_negotiated), TEST(queue_set_up_wrong),
		TEST(link_does_not_start), TEST(not_ready), TEST(reset_races),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
