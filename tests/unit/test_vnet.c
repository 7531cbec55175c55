/*
 * The emulated network device with a well-behaved driver: transmit, receive, END, interrupts and the exits they cost, by all
 * kinds of rings (nic/vnet.h).
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
#define PLAIN (BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_MAC))
#define EVENT (PLAIN | BIT(VIRTIO_F_RING_EVENT_IDX))
#define MERGE (EVENT | BIT(VIRTIO_NET_F_MRG_RXBUF))

static u8 frame[16384];

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

/* ---- transmit ---- */

static void check_sent(u64 features)
{
	u32 id, len;
	assert_true(drv_start(features, 8));
	assert_int_equal(model_seen.starts, 1);
	for (u32 n = 0; n < 40; n++) { /* the ring wraps five times */
		frame_make(frame, 60 + n, peer_mac, model_mac, n);
		drv_send(n % 8, frame, 60 + n);
		assert_true(drv_kick(1));
		assert_int_equal(model_seen.frames, n + 1);
		assert_int_equal(model_seen.flushes, n + 1);
		assert_int_equal(model_seen.len[n], 60 + n);
		assert_memory_equal(model_seen.last, frame, 60 + n);
		assert_true(drv_used(1, &id, &len));
		assert_int_equal(id, n % 8);
		assert_int_equal(len, 0);
		assert_false(drv_used(1, &id, &len));
		drv_want_irq(1, true);
	}
	assert_int_equal(model_seen.msis, 40);
	assert_int_equal(model_seen.msi_data[0], 0x42);
	assert_int_equal(model_seen.msi_addr, 0xfee00000);
}

static void tx_plain(void **state) { (void)state; check_sent(PLAIN); }
static void tx_event(void **state) { (void)state; check_sent(EVENT); }

/* A batch is one kick, one flush, at most one interrupt; with interrupts unwanted none. */
static void tx_batch(void **state)
{
	(void)state;
	assert_true(drv_start(EVENT, 64));
	drv_want_irq(1, false);
	for (u32 n = 0; n < 250; n++) {
		frame_make(frame, 100, peer_mac, model_mac, n);
		drv_send((u16)(n % 64), frame, 100);
		if (n % 50 == 49)
			assert_true(drv_kick(1));
	}
	assert_int_equal(model_seen.frames, 250);
	assert_int_equal(model_seen.flushes, 5);
	assert_int_equal(model_seen.msis, 0);
	drv_want_irq(1, true);
}

/* While one kick is handled, another CPU adds frames: no kick is needed for them. */
static u32 late, late_kicks;
static void add_frames(u64 gpa, u64 len)
{
	if (gpa < MODEL_HIGH || len < HDR + 14 || !late)
		return;
	late--;
	drv_send(late % 64, frame, 100);
	/* Not kicked: it would wait for our lock. */
	late_kicks += virtq_need_event(drv_avail_event(1), drvq[1].posted, (u16)(drvq[1].posted - 1));
	drvq[1].kicked = drvq[1].posted;
}

static void tx_meanwhile(void **state)
{
	(void)state;
	assert_true(drv_start(EVENT, 64));
	drv_want_irq(1, false);
	frame_make(frame, 100, peer_mac, model_mac, 1);
	late = 2;
	late_kicks = 0;
	model_race = add_frames;
	drv_send(10, frame, 100);
	assert_true(drv_kick(1));
	assert_int_equal(model_seen.frames, 3);
	assert_int_equal(late_kicks, 0);
	model_race = NULL;
	drv_send(11, frame, 100); /* and afterwards one is */
	assert_true(drv_kick(1));
	assert_int_equal(model_seen.frames, 4);
}

/* One that adds frames without end does not keep us: the rest is sent by the kick that it must give. */
static void tx_endless(void **state)
{
	(void)state;
	assert_true(drv_start(EVENT, 64));
	late = 1000;
	late_kicks = 0;
	model_race = add_frames;
	frame_make(frame, 100, peer_mac, model_mac, 1);
	drv_send(10, frame, 100);
	drv_kick(1);
	assert_in_range(model_seen.frames, 4, 10);
	assert_int_equal(drvq[1].posted, model_seen.frames + 1);
	assert_int_equal(late_kicks, 1);
	model_race = NULL;
}

/* Header apart, data in pieces, by a table. */
static void tx_pieces(void **state)
{
	(void)state;
	struct virtq_desc table[4];
	u64 at = DATA(1, 20);
	assert_true(drv_start(EVENT | BIT(VIRTIO_F_RING_INDIRECT_DESC), 16));
	frame_make(frame, 1514, peer_mac, model_mac, 3);
	memcpy(model_ram + at + 0x100, frame, 1514);
	desc_set(1, 5, at, 5, VIRTQ_DESC_NEXT, 9);
	desc_set(1, 9, at + 5, 7, VIRTQ_DESC_NEXT, 2);
	desc_set(1, 2, at + 0x100, 14, VIRTQ_DESC_NEXT, 0);
	desc_set(1, 0, at + 0x100 + 14, 1500, 0, 0);
	drv_post(1, 5);
	drv_kick(1);
	assert_int_equal(model_seen.len[0], 1514);
	assert_memory_equal(model_seen.last, frame, 1514);
	table[0] = (struct virtq_desc){ at, HDR, VIRTQ_DESC_NEXT, 3 };
	table[3] = (struct virtq_desc){ at + 0x100, 14, VIRTQ_DESC_NEXT, 1 };
	table[1] = (struct virtq_desc){ at + 0x100 + 14, 600, 0, 77 };
	for (u32 odd = 0; odd < 2; odd++) { /* a table lies anywhere */
		memcpy(model_ram + at + 0x1000 + odd, table, sizeof(table));
		desc_set(1, 6, at + 0x1000 + odd, sizeof(table), VIRTQ_DESC_INDIRECT | (odd ? VIRTQ_DESC_WRITE : 0), 0);
		desc_set(1, 7, at, 0, VIRTQ_DESC_NEXT, 6); /* and behind ordinary ones */
		drv_post(1, odd ? 7 : 6);
		drv_kick(1);
		assert_int_equal(model_seen.frames, 2 + odd);
		assert_int_equal(model_seen.len[1 + odd], 614);
		assert_memory_equal(model_seen.last, frame, 614);
	}
}

/* Rings and data that lie in two leaves; frames of every size the port takes, and what is dropped. */
static void tx_borders(void **state)
{
	struct nest_nic_stats s = { .dropped = 0 };
	(void)state;
	model_lower.max_frame = 9216;
	vnet_changed(model_dev);
	assert_true(drv_negotiate(EVENT));
	drv_msix();
	drv_queue(1, 256, 0x20000 - 0x800, 0x40000 - 0x100, 0x60000 - 0x100);
	reg_write(COMMON(device_status), 15);
	static const u32 sizes[] = { 14, 60, 1514, 9216, 9220, 0, 13, 9221 };
	for (u32 i = 0; i < 600; i++) {
		u32 len = sizes[i % ARRAY_SIZE(sizes)];
		u64 at = MODEL_HIGH + MODEL_LEAF - 40;
		frame_make(frame, 9300, peer_mac, model_mac, i);
		if (len == 9220)
			memcpy(frame + 12, "\x81\0", 2); /* a tag makes it longer */
		memset(model_ram + at, 0, HDR);
		memcpy(model_ram + at + HDR, frame, len);
		desc_set(1, (u16)(i % 256), at, len + HDR, 0, 0);
		drv_post(1, (u16)(i % 256));
		u32 before = model_seen.frames;
		assert_true(drv_kick(1));
		assert_int_equal(model_seen.frames, before + (i % 8 < 5));
		if (i % 8 < 5)
			assert_memory_equal(model_seen.last, frame, len);
		u32 id, n;
		assert_true(drv_used(1, &id, &n) && id == i % 256);
	}
	vnet_stats(model_dev, &s);
	assert_int_equal(s.emu_tx_packets, 375);
	assert_int_equal(s.tx_packets, 375);
	assert_int_equal(s.tx_bytes, 75 * (14 + 60 + 1514 + 9216 + 9220));
}

/* The fence sends what was made available without a kick. */
static void fence(void **state)
{
	(void)state;
	assert_int_equal(vnet_fence(model_dev), 0);
	assert_int_equal(model_seen.fences, 0); /* not running */
	assert_true(drv_start(EVENT, 8));
	frame_make(frame, 60, peer_mac, model_mac, 1);
	drv_send(0, frame, 60);
	assert_int_equal(vnet_fence(model_dev), 0);
	assert_int_equal(model_seen.frames, 1);
	assert_int_equal(model_seen.fences, 1);
}

/* ---- receive ---- */

static void check_got(u16 slot, const u8 *want, u32 len)
{
	const u8 *at = model_ram + DATA(0, slot);
	struct virtio_net_hdr h;
	u32 id, n;
	assert_true(drv_used(0, &id, &n));
	assert_int_equal(id, slot);
	assert_int_equal(n, len + HDR);
	memcpy(&h, at, sizeof(h));
	assert_int_equal(h.num_buffers, 1);
	assert_int_equal(h.flags | h.gso_type, 0);
	assert_memory_equal(at + HDR, want, len);
}

static void check_received(u64 features)
{
	assert_true(drv_start(features, 8));
	u32 kicks = 0;
	for (u16 i = 0; i < 8; i++) {
		drv_give(i, 2048);
		kicks += drv_kick(0);
	}
	for (u32 n = 0; n < 40; n++) {
		frame_make(frame, 60 + n, model_mac, peer_mac, n);
		assert_int_equal(vnet_rx(model_dev, frame, 60 + n), 0);
		assert_int_equal(model_seen.msis, n);
		vnet_rx_flush(model_dev);
		assert_int_equal(model_seen.msis, n + 1);
		vnet_rx_flush(model_dev); /* nothing new */
		assert_int_equal(model_seen.msis, n + 1);
		check_got(n % 8, frame, 60 + n);
		drv_give(n % 8, 2048);
		kicks += drv_kick(0);
		drv_want_irq(0, true);
	}
	assert_int_equal(kicks, 0); /* buffers in time cost no exit */
	assert_int_equal(model_seen.msi_data[0], 0x41);
	assert_int_equal(model_seen.more, 0);
}

static void rx_plain(void **state) { (void)state; check_received(PLAIN); }
static void rx_event(void **state) { (void)state; check_received(EVENT); }
static void rx_merge(void **state) { (void)state; check_received(MERGE); }

/* Without buffers the link keeps the frame, and hears when there are some. */
static u32 delivered;
static void deliver_more(void)
{
	while (delivered < 3 && !vnet_rx(model_dev, frame, 60))
		delivered++;
	vnet_rx_flush(model_dev);
}

static void check_starved(u64 features)
{
	struct nest_nic_stats s = { .dropped = 0 };
	u32 id, n;
	delivered = 0;
	model_lower.more = deliver_more;
	assert_true(drv_start(features, 8));
	frame_make(frame, 60, model_mac, peer_mac, 5);
	assert_int_equal(vnet_rx(model_dev, frame, 60), -EAGAIN);
	drv_give(0, 2048);
	assert_true(drv_kick(0));
	assert_int_equal(delivered, 1);
	assert_true(drv_used(0, &id, &n));
	drv_give(0, 2048);
	drv_give(1, 2048);
	drv_give(2, 2048);
	assert_true(drv_kick(0));
	assert_int_equal(delivered, 3);
	drv_give(3, 2048);
	assert_false(drv_kick(0)); /* nothing waits any more */
	assert_int_equal(model_seen.more, 2);
	vnet_rx_dropped(model_dev);
	vnet_stats(model_dev, &s);
	assert_int_equal(s.dropped, 1);
	assert_int_equal(s.emu_rx_packets, 3);
	assert_int_equal(s.rx_bytes, 180);
}

static void rx_starved_plain(void **state) { (void)state; check_starved(PLAIN); }
static void rx_starved_event(void **state) { (void)state; check_starved(EVENT); }

/* A frame in several buffers, whole or not at all. */
static void rx_merged(void **state)
{
	u32 id, n, at = 0;
	u16 buffers;
	static u8 got[2048];
	(void)state;
	assert_true(drv_start(MERGE, 16));
	frame_make(frame, 1514, model_mac, peer_mac, 5);
	for (u16 i = 0; i < 3; i++)
		drv_give(i, 400);
	assert_int_equal(vnet_rx(model_dev, frame, 1514), -EAGAIN);
	assert_false(drv_used(0, &id, &n));
	drv_give(3, 400);
	assert_true(drv_kick(0));
	assert_int_equal(model_seen.more, 1);
	assert_int_equal(vnet_rx(model_dev, frame, 1514), 0);
	memcpy(&buffers, model_ram + DATA(0, 0) + offsetof(struct virtio_net_hdr, num_buffers), 2);
	assert_int_equal(buffers, 4);
	for (u32 i = 0; i < 4; i++) {
		assert_true(drv_used(0, &id, &n));
		assert_int_equal(id, i);
		memcpy(got + at, model_ram + DATA(0, i), n);
		at += n;
	}
	assert_int_equal(at, 1514 + HDR);
	assert_memory_equal(got + HDR, frame, 1514);
	assert_false(drv_used(0, &id, &n));
}

/* What never fits is dropped, not kept. */
static void rx_too_small(void **state)
{
	struct nest_nic_stats s = { .dropped = 0 };
	(void)state;
	assert_true(drv_start(MERGE, 4));
	frame_make(frame, 1514, model_mac, peer_mac, 5);
	for (u16 i = 0; i < 4; i++)
		drv_give(i, 100);
	assert_int_equal(vnet_rx(model_dev, frame, 1514), 0);
	assert_true(drv_start(EVENT, 4));
	drv_give(0, 100);
	assert_int_equal(vnet_rx(model_dev, frame, 1514), 0);
	assert_int_equal(vnet_rx(model_dev, frame, 88), 0);
	check_got(0, frame, 88);
	vnet_stats(model_dev, &s);
	assert_int_equal(s.dropped, 2);
	assert_int_equal(s.emu_rx_packets, 1);
}

/* Eight pieces of 8 bytes each a buffer, by tables. */
static void give_crumbs(u16 slot)
{
	struct virtq_desc table[8];
	u64 at = DATA(0, 32 + slot);
	for (u16 i = 0; i < 8; i++)
		table[i] = (struct virtq_desc){ DATA(0, slot) + i * 8, 8, VIRTQ_DESC_WRITE | (i < 7 ? VIRTQ_DESC_NEXT : 0), i + 1 };
	memcpy(model_ram + at, table, sizeof(table));
	desc_set(0, slot, at, sizeof(table), VIRTQ_DESC_INDIRECT, 0);
	drv_post(0, slot);
}

/*
 * The link delivers under a lock that all its ports share, so what a frame may cost there is bounded: in all its buffers together it has as
 * many pieces as the queue has entries.
 */
static void rx_crumbs(void **state)
{
	struct nest_nic_stats s = { .dropped = 0 };
	(void)state;
	assert_true(drv_start(MERGE | BIT(VIRTIO_F_RING_INDIRECT_DESC), 8));
	frame_make(frame, 60, model_mac, peer_mac, 5);
	give_crumbs(0);
	give_crumbs(1);
	assert_int_equal(vnet_rx(model_dev, frame, 60), 0); /* 72 bytes with the header: 9 pieces */
	assert_int_equal(vnet_rx(model_dev, frame, 52), 0); /* 64: 8 */
	vnet_stats(model_dev, &s);
	assert_int_equal(s.dropped, 1);
	assert_int_equal(s.emu_rx_packets, 1);
	assert_int_equal(drv_status(), 15);
}

/* No frame is longer than the MTU that the device names, in neither direction; a tag is not part of it. */
/* In a cascade neither an E-TAG nor a tag behind it counts, and nothing else is longer for it. */
extern bool no_ext_cascade;
static void the_mtu_holds_behind_an_e_tag(void **state)
{
	static const struct { u32 len; bool etag, ctag, passes; } row[] = {
		{ 1514, false, false, true }, { 1515, false, false, false }, { 1518, false, true, true }, { 1519, false, true, false },
		{ 1522, true, false, true }, { 1523, true, false, false }, { 1526, true, true, true }, { 1527, true, true, false },
	};
	(void)state;
	static u8 f[2000];
	no_ext_cascade = true;
	vnet_changed(model_dev);
	assert_true(drv_start(BIT(VIRTIO_F_VERSION_1), 16));
	for (u32 i = 0; i < ARRAY_SIZE(row); i++) {
		u32 at = row[i].etag ? 20 : 12, before = model_seen.frames;
		memset(f, 0, sizeof(f));
		frame_make(f, row[i].len, peer_mac, model_mac, i);
		memcpy(f + 12, row[i].etag ? "\x89\x3f" : "\x08\x00", 2);
		memcpy(f + at, row[i].ctag ? "\x81\x00" : row[i].etag || at == 12 ? "\x08\x00" : "\x00\x00", 2);
		drv_send((u16)i, f, row[i].len);
		drv_kick_always(VIRTIO_NET_TXQ);
		assert_int_equal(model_seen.frames - before, row[i].passes);
	}
	no_ext_cascade = false;
}

static void the_mtu_holds(void **state)
{
	static const struct { u32 len; bool tag, good; } cases[] = {
		{ 1514, false, true }, { 1515, false, false }, { 1518, true, true }, { 1519, true, false }, { 9216, false, false },
	};
	u32 id, n, good = 0;
	(void)state;
	assert_true(drv_start(EVENT | BIT(VIRTIO_NET_F_MTU), 8));
	assert_int_equal(reg(VNET_DEVICE + 10, 2), 1500);
	for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
		frame_make(frame, cases[i].len, model_mac, peer_mac, i);
		if (cases[i].tag)
			memcpy(frame + 12, "\x81\0", 2);
		desc_set(0, (u16)i, MODEL_HIGH, 0x3000, VIRTQ_DESC_WRITE, 0);
		drv_post(0, (u16)i);
		assert_int_equal(vnet_rx(model_dev, frame, cases[i].len), 0);
		good += cases[i].good;
		assert_int_equal(*(u16 *)(model_ram + drvq[0].used + 2), good);
		memcpy(frame, peer_mac, 6);
		memcpy(frame + 6, model_mac, 6);
		u64 at = MODEL_HIGH + 0x40000;
		memset(model_ram + at, 0, HDR);
		memcpy(model_ram + at + HDR, frame, cases[i].len);
		desc_set(1, (u16)i, at, cases[i].len + HDR, 0, 0);
		drv_post(1, (u16)i);
		assert_true(drv_kick(1));
		assert_int_equal(model_seen.frames, good);
		assert_true(drv_used(1, &id, &n));
	}
}

/* ---- the END mark ---- */

static void check_end(u16 slot) { check_got(slot, (const u8 *)NEST_NIC_END_MAGIC, 8); }

static void rx_end(void **state)
{
	(void)state;
	assert_true(drv_start(MERGE, 8));
	drv_give(0, 2048);
	vnet_rx_end(model_dev);
	assert_int_equal(model_seen.msis, 1);
	check_end(0);
	struct nest_nic_stats s = { .dropped = 0 };
	vnet_stats(model_dev, &s);
	assert_int_equal(s.emu_rx_packets, 0);
}

/* It waits for a buffer, and what follows waits behind it. */
static void rx_end_waits(void **state)
{
	(void)state;
	delivered = 2;
	model_lower.more = deliver_more;
	assert_true(drv_start(EVENT, 8));
	frame_make(frame, 60, model_mac, peer_mac, 5);
	vnet_rx_end(model_dev);
	assert_int_equal(vnet_rx(model_dev, frame, 60), -EAGAIN);
	drv_give(0, 2048);
	assert_true(drv_kick(0));
	check_end(0);
	assert_int_equal(delivered, 2);
	drv_give(1, 2048);
	assert_true(drv_kick(0));
	check_got(1, frame, 60);
	vnet_rx_end(model_dev);
	vnet_rx_end(model_dev);
	drv_give(2, 2048);
	drv_give(3, 2048);
	assert_true(drv_kick(0));
	check_end(2);
	check_end(3);
}

/* ---- what reaches the VM ---- */

static void rx_filter(void **state)
{
	static const struct { u8 to[6], from[6]; bool wanted; } cases[] = {
		{ { 0x52, 0x54, 0, 0, 0, 2 }, { 2, 0, 0, 0, 0, 9 }, true },
		{ { 0x52, 0x54, 0, 0, 0, 3 }, { 2, 0, 0, 0, 0, 9 }, false },     /* another's */
		{ { 255, 255, 255, 255, 255, 255 }, { 2, 0, 0, 0, 0, 9 }, true },
		{ { 255, 255, 255, 255, 255, 255 }, { 0x52, 0x54, 0, 0, 0, 2 }, false }, /* came back */
		{ { 0x52, 0x54, 0, 0, 0, 2 }, { 0x52, 0x54, 0, 0, 0, 2 }, false },
		{ { 1, 0, 0x5e, 1, 2, 3 }, { 2, 0, 0, 0, 0, 9 }, false },        /* no such group */
	};
	u32 id, n;
	(void)state;
	assert_true(drv_start(EVENT | BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_RX), 8));
	for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
		drv_give((u16)i, 2048);
		frame_make(frame, 60, cases[i].to, cases[i].from, i);
		assert_int_equal(vnet_rx(model_dev, frame, 60), 0);
		assert_int_equal(drv_used(0, &id, &n), cases[i].wanted);
	}
	assert_int_equal(vnet_rx(model_dev, frame, 13), 0);
	assert_int_equal(vnet_rx(model_dev, frame, 9221), 0);
	assert_false(drv_used(0, &id, &n));
	/* A driver that cannot choose gets all groups. */
	assert_true(drv_start(EVENT, 8));
	assert_true(model_seen.filter.all_groups);
	drv_give(0, 2048);
	frame_make(frame, 60, group_mac, peer_mac, 0);
	assert_int_equal(vnet_rx(model_dev, frame, 60), 0);
	assert_true(drv_used(0, &id, &n));
	struct nest_nic_stats s = { .dropped = 0 };
	vnet_stats(model_dev, &s);
	assert_int_equal(s.rx_multicast, 1);
	assert_int_equal(s.emu_rx_multicast, 1);
	assert_int_equal(s.emu_rx_packets, 3);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(tx_plain), TEST(tx_event), TEST(tx_batch), TEST(tx_meanwhile), TEST(tx_endless),
		TEST(tx_pieces), TEST(tx_borders), TEST(fence), TEST(rx_plain), TEST(rx_event), TEST(rx_merge),
		TEST(rx_starved_plain), TEST(rx_starved_event), TEST(rx_merged), TEST(rx_too_small), TEST(rx_crumbs), TEST(the_mtu_holds), TEST(the_mtu_holds_behind_an_e_tag), TEST(rx_end),
		TEST(rx_end_waits), TEST(rx_filter),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
