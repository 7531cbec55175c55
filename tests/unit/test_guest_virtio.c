/*
 * guest/net/virtio_plugin.c and pci.c against the real emulated device: found by ECAM, started, frames both ways with and without
 * event indices, back-pressure, the mark at the end of emulation, interrupts, what a wrong ring does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "guest/net/pci.h"
#include "guest/net/virtio_plugin.h"
#include "nic/virtq_drv.h"
#include "tests/unit/virtio_machine.h"

#define FRAMES 100000u
#define RX_VECTOR 0x41
#define CONFIG_VECTOR 0x42

static struct pci_device dev;
static struct nic_plugin_env env;
static void *state_mem;
static u32 seed, sent, got, ends, got_at_end, wrong;

static u32 pick(u32 n)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % n;
}

static u32 length_of(u32 nr) { return 60 + nr * 7 % (MACHINE_FRAME - 60 + 1); }

/* A frame that tells its number, to the port or to somebody else. */
static u32 make(u8 *f, u32 nr, bool in)
{
	u32 len = length_of(nr);
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

static void sink_in(void *arg, const u8 *frame, u32 len)
{
	assert_ptr_equal(arg, &env);
	if (len == sizeof(struct nest_nic_end)) {
		wrong += !!memcmp(frame, NEST_NIC_END_MAGIC, 8);
		ends++;
		got_at_end = got;
	} else {
		wrong += !is(frame, len, got++, true);
	}
}

static void begin(u32 flags)
{
	machine_start();
	machine.tx = sink_out;
	seed = 1, sent = got = ends = got_at_end = wrong = 0;
	assert_int_equal(pci_open(MACHINE_RID, &dev), 0);
	assert_int_equal(pci_msix_set(&dev, 0, RX_VECTOR, 3), 0);
	assert_int_equal(pci_msix_set(&dev, 1, CONFIG_VECTOR, 3), 0);
	u8 *dma = aligned_alloc(PAGE_SIZE, virtio_plugin.dma_len);
	memset(dma, 0, virtio_plugin.dma_len);
	machine_ram(dma, virtio_plugin.dma_len);
	state_mem = calloc(1, virtio_plugin.state_len);
	env = (struct nic_plugin_env){ .size = sizeof(env), .max_frame = MACHINE_FRAME, .regs = dev.bar0, .dma = dma,
				       .dma_iova = (u64)dma, .tsc_khz = 1000000, .rx = sink_in, .rx_arg = &env, .flags = flags,
				       .vectors = 2 };
	assert_int_equal(virtio_plugin.start(state_mem, &env), 0);
	assert_int_equal(machine.starts, 1);
	assert_true(vnet_running(machine.port.dev));
}

static void end(void)
{
	assert_int_equal(virtio_plugin.stop(state_mem), 0);
	assert_int_equal(machine.stops, machine.starts);
	pci_close(&dev);
	free(env.dma);
	free(state_mem);
	machine_stop();
	assert_int_equal(wrong, 0);
}

static struct nic_plugin_stats stats(void)
{
	struct nic_plugin_stats s;
	virtio_plugin.stats(state_mem, &s);
	return s;
}

static void finds_and_refuses(void **state)
{
	struct pci_device none;
	(void)state;
	begin(0);
	assert_int_equal(pci_open(0, &none), -ENODEV);       /* the host bridge */
	assert_int_equal(pci_open(0x10, &none), -ENODEV);
	assert_int_equal(pci_msix_set(&dev, 4, 0x50, 0), -EINVAL);
	assert_int_equal(pci_msix_set(&dev, 0, 15, 0), -EINVAL);
	assert_int_equal(pci_msix_set(&dev, 0, 0x50, 256), -EINVAL);
	struct nic_plugin_env bad = env;
	void *mem = calloc(1, virtio_plugin.state_len);
	bad.size = 16;
	assert_int_equal(virtio_plugin.start(mem, &bad), -EINVAL);
	bad = env, bad.max_frame = 2048;
	assert_int_equal(virtio_plugin.start(mem, &bad), -EINVAL);
	bad = env, bad.dma_iova += 8;
	assert_int_equal(virtio_plugin.start(mem, &bad), -EINVAL);
	free(mem);
	end();
}

/* The device's lower link has `want` frames to deliver; as many as go. */
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
	for (u32 i = 0; i < n && *queued < FRAMES; i++) {
		int r = virtio_plugin.tx(state_mem, f, make(f, *queued, false));
		if (r == -EAGAIN)
			break;
		assert_int_equal(r, 0);
		++*queued;
	}
	virtio_plugin.tx_kick(state_mem);
	assert_int_equal(sent, *queued); /* the device works inside the kick */
}

static void both_ways(u32 flags)
{
	u32 fed = 0, queued = 0;
	begin(flags);
	while (got < FRAMES || sent < FRAMES) {
		feed(&fed, MIN(FRAMES, fed + pick(400)));
		send_some(&queued, pick(300));
		virtio_plugin.rx_poll(state_mem, pick(300));
	}
	assert_int_equal(stats().rx_frames, FRAMES);
	assert_int_equal(stats().tx_frames, FRAMES);
	assert_int_equal(stats().rx_errors, 0);
	assert_int_equal(virtio_plugin.tx_pending(state_mem), 0);
	assert_int_equal(machine.msis[RX_VECTOR], 0); /* polled */
	end();
}

static void plain_both_ways(void **state) { (void)state, both_ways(NIC_PLUGIN_FLAG_PLAIN); }
static void event_both_ways(void **state) { (void)state, both_ways(0); }

/* One kick a batch to send; none to receive as long as the device finds buffers. */
static void exits_are_few(void **state)
{
	u32 fed = 0, queued = 0;
	(void)state;
	begin(0);
	machine.exits = 0;
	for (u32 i = 0; i < 2000; i++) {
		feed(&fed, fed + 32);
		assert_int_equal(virtio_plugin.rx_poll(state_mem, 64), 32);
	}
	assert_in_range(machine.exits, 0, 2); /* one for each time that the index wraps */
	machine.exits = 0;
	for (u32 i = 0; i < 1000; i++)
		send_some(&queued, 64);
	assert_int_equal(machine.exits, 1000);
	end();
}

/* A full ring holds frames back; after a poll the device asks for them. */
static void back_pressure_and_end(u32 flags)
{
	u32 fed = 0;
	begin(flags);
	feed(&fed, 1000);
	assert_int_equal(fed, 256);
	vnet_rx_end(machine.port.dev); /* no room for it now */
	assert_int_equal(machine.more, 0);
	assert_int_equal(virtio_plugin.rx_poll(state_mem, 100), 100);
	assert_int_equal(machine.more, 1);
	while (virtio_plugin.rx_poll(state_mem, 10))
		;
	assert_int_equal(got, 256);
	assert_int_equal(ends, 1);
	assert_int_equal(got_at_end, 256);
	feed(&fed, 1000); /* back in emulation later */
	while (fed < 1000) {
		virtio_plugin.rx_poll(state_mem, 7);
		feed(&fed, 1000);
	}
	vnet_rx_end(machine.port.dev);
	while (virtio_plugin.rx_poll(state_mem, 256))
		;
	assert_int_equal(got, 1000);
	assert_int_equal(ends, 2);
	assert_int_equal(got_at_end, 1000);
	assert_int_equal(stats().rx_frames, 1000); /* the mark is no frame */
	end();
}

static void plain_back_pressure(void **state) { (void)state, back_pressure_and_end(NIC_PLUGIN_FLAG_PLAIN); }
static void event_back_pressure(void **state) { (void)state, back_pressure_and_end(0); }

/* As the shell does: handler masks; the poll that empties the ring unmasks and looks again. Nothing may be left behind. */
static void interrupts(u32 flags)
{
	u32 fed = 0, irqs = 0;
	begin(flags);
	virtio_plugin.irq_enable(state_mem, true);
	assert_int_equal(virtio_plugin.rx_poll(state_mem, 64), 0);
	for (u32 i = 0; i < 20000; i++) {
		u32 n = 1 + pick(5);
		machine.msis[RX_VECTOR] = 0;
		feed(&fed, fed + n);
		assert_int_equal(machine.msis[RX_VECTOR], 1);
		irqs++;
		virtio_plugin.irq_enable(state_mem, false);
		feed(&fed, fed + n);
		assert_int_equal(machine.msis[RX_VECTOR], 1);
		while (virtio_plugin.rx_poll(state_mem, 4) == 4)
			;
		u32 late = pick(4); /* between the look and the unmasking: nobody says so */
		feed(&fed, fed + late);
		assert_int_equal(machine.msis[RX_VECTOR], 1);
		virtio_plugin.irq_enable(state_mem, true);
		assert_int_equal(virtio_plugin.rx_poll(state_mem, 4), late);
	}
	assert_int_equal(got, fed);
	assert_int_equal(machine.msi_addr, 0xfee03000);
	pci_msix_mask(&dev, 0, true);
	machine.msis[RX_VECTOR] = 0;
	feed(&fed, fed + 1);
	assert_int_equal(machine.msis[RX_VECTOR], 0);
	pci_msix_mask(&dev, 0, false); /* it was pending */
	assert_int_equal(machine.msis[RX_VECTOR], 1);
	vnet_changed(machine.port.dev);
	assert_int_equal(machine.msis[CONFIG_VECTOR], 1);
	end();
}

static void plain_interrupts(void **state) { (void)state, interrupts(NIC_PLUGIN_FLAG_PLAIN); }
static void event_interrupts(void **state) { (void)state, interrupts(0); }

static u8 last_out[MACHINE_FRAME];
static u32 last_out_len;
static void keep_out(const u8 *frame, u32 len)
{
	memcpy(last_out, frame, len);
	last_out_len = len;
}

static void short_frames_are_padded(void **state)
{
	static const u8 zero[18];
	u8 f[60] = { 2, 0, 0, 0, 0, 1 };
	(void)state;
	begin(0);
	assert_int_equal(virtio_plugin.tx(state_mem, f, 13), -EINVAL);
	assert_int_equal(virtio_plugin.tx(state_mem, f, MACHINE_FRAME + 1), -EINVAL);
	memset(f + 6, 0x11, 54);
	machine.tx = keep_out;
	for (u32 i = 0; i < 300; i++) { /* every buffer has had something else in it */
		if (virtio_plugin.tx(state_mem, f, 60))
			virtio_plugin.tx_kick(state_mem);
	}
	virtio_plugin.tx_kick(state_mem);
	struct nic_plugin_stats before = stats();
	assert_int_equal(virtio_plugin.tx(state_mem, f, 42), 0);
	virtio_plugin.tx_kick(state_mem);
	assert_int_equal(stats().tx_bytes - before.tx_bytes, 60);
	assert_int_equal(last_out_len, 60);
	assert_memory_equal(last_out, f, 42);
	assert_memory_equal(last_out + 42, zero, 18);
	end();
}

/* After stop the device touches nothing, and what it had delivered is still handed out. */
static void stop_and_left_overs(void **state)
{
	u32 fed = 0;
	(void)state;
	begin(0);
	feed(&fed, 20);
	assert_int_equal(virtio_plugin.stop(state_mem), 0);
	assert_int_equal(machine.stops, 1);
	machine.exits = 0;
	feed(&fed, 40); /* dropped by a device that does not run */
	assert_int_equal(virtio_plugin.rx_poll(state_mem, 256), 20);
	assert_int_equal(machine.exits, 0);
	assert_int_equal(got, 20);
	memset(env.dma, 0, virtio_plugin.dma_len);
	memset(state_mem, 0, virtio_plugin.state_len);
	assert_int_equal(virtio_plugin.start(state_mem, &env), 0);
	got = fed = 0;
	feed(&fed, 10);
	assert_int_equal(virtio_plugin.rx_poll(state_mem, 256), 10);
	end();
}

/* A ring that says what cannot be: frames stop, nothing else happens. */
static void a_wrong_ring(void **state)
{
	u32 fed = 0;
	(void)state;
	begin(0);
	struct virtq_mem *rx = (struct virtq_mem *)env.dma;
	feed(&fed, 3);
	rx->used.ring[0].len = 0xffffffff;
	rx->used.ring[1].len = 12;
	got = 2;
	assert_int_equal(virtio_plugin.rx_poll(state_mem, 256), 3);
	assert_int_equal(stats().rx_errors, 2);
	assert_int_equal(got, 3);
	feed(&fed, 4);
	rx->used.ring[3].id = 0xffffffff;
	assert_int_equal(virtio_plugin.rx_poll(state_mem, 256), 0);
	assert_int_equal(virtio_plugin.rx_poll(state_mem, 256), 0);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_and_refuses), cmocka_unit_test(plain_both_ways), cmocka_unit_test(event_both_ways),
		cmocka_unit_test(exits_are_few), cmocka_unit_test(plain_back_pressure), cmocka_unit_test(event_back_pressure),
		cmocka_unit_test(plain_interrupts), cmocka_unit_test(event_interrupts), cmocka_unit_test(short_frames_are_padded),
		cmocka_unit_test(stop_and_left_overs), cmocka_unit_test(a_wrong_ring),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
