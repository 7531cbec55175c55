/*
 * nic/plugin/igbvf.c and igbvf_regs.h: descriptors as the 82576 reads them, and the rings against a device played by the
 * test, whose registers are memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nic/plugin/igbvf.h"
#include "nic/plugin/igbvf_regs.h"

#define RING 256u
#define IOVA_BASE 0x40000000ull

static u8 *regs, *dma, *state_mem;
static struct nic_plugin_env env;
static u32 nr_frames, last_len, device_rx, device_tx;
static u8 last[2048];

static u32 reg(u32 r) { return vf_read(regs, r); }
static struct vf_desc *ring(u32 block) { return (void *)(dma + (reg(block + VFQ_BAL) - IOVA_BASE)); }
static u8 *buffer(u64 iova) { return dma + (iova - IOVA_BASE); }

static void rx(void *arg, const u8 *frame, u32 len)
{
	assert_ptr_equal(arg, &env);
	memcpy(last, frame, len);
	last_len = len;
	nr_frames++;
}

static int setup(void **state)
{
	(void)state;
	regs = aligned_alloc(4096, 0x4000);
	dma = aligned_alloc(4096, IGBVF_DMA_LEN);
	state_mem = calloc(1, IGBVF_STATE_LEN);
	memset(regs, 0, 0x4000);
	memset(dma, 0, IGBVF_DMA_LEN);
	env = (struct nic_plugin_env){ .size = sizeof(env), .max_frame = 1514, .regs = regs, .dma = dma, .dma_iova = IOVA_BASE,
				       .tsc_khz = 1000, .rx = rx, .rx_arg = &env };
	nr_frames = device_rx = device_tx = 0;
	return igbvf_start(state_mem, &env);
}

static int teardown(void **state)
{
	(void)state;
	assert_int_equal(igbvf_stop(state_mem), 0);
	assert_int_equal(reg(VF_TXQ + VFQ_DCTL) | reg(VF_RXQ + VFQ_DCTL), 0);
	free(regs);
	free(dma);
	free(state_mem);
	return 0;
}

/* The device receives: next descriptor that it owns, or false if there is none. */
static bool device_receive(u32 len, u64 status)
{
	struct vf_desc *d = &ring(VF_RXQ)[device_rx];

	if (device_rx == reg(VF_RXQ + VFQ_TAIL))
		return false;
	assert_int_equal(d->hi, 0);
	memset(buffer(d->lo), (int)device_rx, MIN(len, 2048u));
	d->hi = (u64)len << 32 | status;
	device_rx = (device_rx + 1) % RING;
	return true;
}

/* The device sends what it knows of; returns how many. */
static u32 device_send(void)
{
	u32 n = 0;

	for (; device_tx != reg(VF_TXQ + VFQ_TAIL); device_tx = (device_tx + 1) % RING, n++)
		ring(VF_TXQ)[device_tx].hi = VF_TX_DD;
	return n;
}

static void test_descriptors(void **state)
{
	struct vf_desc t = vf_tx_desc(0x123456789000, 60), r = vf_rx_desc(0x123456789000);
	u32 w[4];

	(void)state;
	memcpy(w, &t, 16);
	assert_int_equal(w[0], 0x56789000);
	assert_int_equal(w[1], 0x1234);
	assert_int_equal(w[2], 60 | 0x2b300000); /* DEXT, data, RS, IFCS, EOP */
	assert_int_equal(w[3], 60 << 14);
	memcpy(w, &r, 16);
	assert_int_equal(w[0], 0x56789000);
	assert_int_equal(w[1], 0x1234);
	assert_int_equal(w[2] | w[3], 0);
	assert_int_equal(VF_IVAR_RX0(0), 0x80);
}

static void test_start(void **state)
{
	(void)state;
	assert_int_equal(reg(VF_RXQ + VFQ_LEN), RING * 16);
	assert_int_equal(reg(VF_TXQ + VFQ_LEN), RING * 16);
	assert_int_equal(reg(VF_RXQ + VFQ_SRRCTL), 0x82000002);
	assert_int_equal(reg(VF_RXQ + VFQ_TAIL), RING - 1);
	assert_int_equal(reg(VF_TXQ + VFQ_TAIL), 0);
	assert_int_equal(reg(VF_EIMC), 7);
	assert_int_equal(reg(VF_EIMS), 0);
	assert_int_equal(reg(VF_IVAR), 0x80);
	for (u32 r = 0; r < 0x1000; r += 4)
		assert_int_equal(reg(r), 0); /* page 0 is not ours */
	igbvf_irq_enable(state_mem, true);
	assert_int_equal(reg(VF_EIMS), 1);
	u64 word = BIT(9);
	env.post_word = &word;
	env.post_bit = BIT(3);
	igbvf_irq_enable(state_mem, false);
	assert_int_equal(word, BIT(9));
	igbvf_irq_enable(state_mem, true);
	assert_int_equal(word, BIT(9) | BIT(3));
}

static void test_start_refuses(void **state)
{
	struct nic_plugin_env bad = env;
	void *mem = calloc(1, IGBVF_STATE_LEN);

	(void)state;
	bad.max_frame = 4096;
	assert_int_equal(igbvf_start(mem, &bad), -EINVAL);
	bad = env, bad.size = 8;
	assert_int_equal(igbvf_start(mem, &bad), -EINVAL);
	bad = env, bad.dma_iova = 0x1008;
	assert_int_equal(igbvf_start(mem, &bad), -EINVAL);
	free(mem);
}

static void test_receive(void **state)
{
	u32 total = 0;

	(void)state;
	for (u32 round = 0; round < 3000; round++) {
		u32 n = round % 7;
		for (u32 i = 0; i < n; i++)
			assert_true(device_receive(60 + round % 1000, VF_RX_DD | VF_RX_EOP));
		assert_int_equal(igbvf_rx_poll(state_mem, 64), n);
		total += n;
		assert_int_equal(nr_frames, total);
		if (n) {
			assert_int_equal(last_len, 60 + round % 1000);
			assert_int_equal(last[0], (u8)(device_rx - 1));
		}
	}
	struct nic_plugin_stats s;
	igbvf_stats(state_mem, &s);
	assert_int_equal(s.rx_frames, total);
	assert_int_equal(s.rx_errors, 0);
}

static void test_receive_full_ring(void **state)
{
	u32 n = 0;

	(void)state;
	while (device_receive(60, VF_RX_DD | VF_RX_EOP))
		n++;
	assert_int_equal(n, RING - 1);
	assert_int_equal(igbvf_rx_poll(state_mem, 100), 100);
	assert_int_equal(igbvf_rx_poll(state_mem, 1000), RING - 1 - 100);
	for (n = 0; device_receive(60, VF_RX_DD | VF_RX_EOP); n++)
		;
	assert_true(n >= RING - 1 - 32); /* given back but for the rest of one batch */
}

static void test_receive_bad(void **state)
{
	struct nic_plugin_stats s;

	(void)state;
	device_receive(2048, VF_RX_DD);              /* a frame in three pieces */
	device_receive(2048, VF_RX_DD);
	device_receive(10, VF_RX_DD | VF_RX_EOP);
	device_receive(100, VF_RX_DD | VF_RX_EOP | VF_RX_RXE);
	device_receive(65535, VF_RX_DD | VF_RX_EOP); /* longer than its buffer */
	device_receive(100, VF_RX_DD | VF_RX_EOP);
	assert_int_equal(igbvf_rx_poll(state_mem, 64), 6);
	assert_int_equal(nr_frames, 1);
	assert_int_equal(last[0], 5);
	igbvf_stats(state_mem, &s);
	assert_int_equal(s.rx_errors, 3);
}

static void test_send(void **state)
{
	u8 frame[1514];
	struct nic_plugin_stats s;

	(void)state;
	memset(frame, 0x77, sizeof(frame));
	assert_int_equal(igbvf_tx(state_mem, frame, 1515), -EINVAL);
	assert_int_equal(igbvf_tx(state_mem, frame, 13), -EINVAL);
	assert_int_equal(igbvf_tx(state_mem, frame, 14), 0);
	assert_int_equal(reg(VF_TXQ + VFQ_TAIL), 0); /* no doorbell yet */
	igbvf_tx_kick(state_mem);
	assert_int_equal(reg(VF_TXQ + VFQ_TAIL), 1);
	struct vf_desc d = ring(VF_TXQ)[0], want = vf_tx_desc(d.lo, 60);
	assert_int_equal(d.hi, want.hi);
	assert_int_equal(buffer(d.lo)[13], 0x77);
	assert_int_equal(buffer(d.lo)[14], 0); /* padded with zeroes, not with what was there before */
	assert_int_equal(device_send(), 1);
	for (u32 i = 0; i < 5000; i++) {
		memset(frame, (int)i, 200);
		while (igbvf_tx(state_mem, frame, 200)) {
			igbvf_tx_kick(state_mem);
			assert_true(device_send() > 0);
		}
	}
	igbvf_tx_kick(state_mem);
	device_send();
	igbvf_stats(state_mem, &s);
	assert_int_equal(s.tx_frames, 5001);
	assert_true(s.tx_full > 0);
}

static void test_send_pending(void **state)
{
	u8 frame[64] = { 0 };

	(void)state;
	for (u32 i = 0; i < 300; i++) {
		assert_int_equal(igbvf_tx(state_mem, frame, 64), 0);
		assert_int_equal(igbvf_tx_pending(state_mem), 1);
		igbvf_tx_kick(state_mem);
		assert_int_equal(igbvf_tx_pending(state_mem), 1);
		device_send();
		assert_int_equal(igbvf_tx_pending(state_mem), 0);
	}
}

/* Where the ring was when the port was switched: so many are before it, counted round the end of the ring. */
static void test_receive_before(void **state)
{
	(void)state;
	assert_int_equal(igbvf_rx_before(state_mem, 0), 0);
	assert_int_equal(igbvf_rx_before(state_mem, RING - 1), RING - 1);
	assert_int_equal(igbvf_rx_before(state_mem, RING), -EINVAL);
	for (u32 i = 0; i < 1000; i++) {
		device_receive(60, VF_RX_DD | VF_RX_EOP);
		device_receive(60, VF_RX_DD | VF_RX_EOP);
		assert_int_equal(igbvf_rx_before(state_mem, device_rx), 2);
		assert_int_equal(igbvf_rx_poll(state_mem, 2), 2);
		assert_int_equal(igbvf_rx_before(state_mem, device_rx), 0);
	}
}

/* What had arrived when it stopped is still there. */
static void test_receive_after_stop(void **state)
{
	(void)state;
	for (u32 i = 0; i < 40; i++)
		device_receive(60, VF_RX_DD | VF_RX_EOP);
	assert_int_equal(igbvf_stop(state_mem), 0);
	assert_int_equal(igbvf_rx_poll(state_mem, RING), 40);
	assert_int_equal(nr_frames, 40);
}

/* What the device does not know of yet is never taken for done, whatever is left in the ring. */
static void test_send_without_doorbell(void **state)
{
	u8 frame[64] = { 0 };
	u32 n = 0;

	(void)state;
	while (igbvf_tx(state_mem, frame, 64) == 0)
		n++;
	assert_int_equal(n, RING - 1);
	for (u32 i = 0; i < RING; i++)
		ring(VF_TXQ)[i].hi |= VF_TX_DD;
	assert_int_equal(igbvf_tx(state_mem, frame, 64), -EAGAIN);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_descriptors), TEST(test_start), TEST(test_start_refuses), TEST(test_receive),
		TEST(test_receive_full_ring), TEST(test_receive_bad), TEST(test_send), TEST(test_send_without_doorbell), TEST(test_send_pending),
		TEST(test_receive_before), TEST(test_receive_after_stop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
