/*
 * nic/virtq_drv.h and virtio_pci.h: the driver's side of a virtqueue against a device of a few lines, which returns buffers in any
 * order, and against rings that say what cannot be.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nic/virtio_pci.h"

static struct virtq_mem mem;
static struct virtq_drv q;
static u16 device_seen, device_used, device_told; /* the device's own indices */
static u32 seed;

static u32 pick(u32 n)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % n;
}

static void begin(u16 size, bool event)
{
	memset(&mem, 0, sizeof(mem));
	virtq_start(&q, &mem, size, event);
	device_seen = device_used = device_told = 0;
	seed = 1;
}

static u16 *used_event(void) { return &mem.avail.ring[q.size]; }
static u16 *avail_event(void) { return (u16 *)&mem.used.ring[q.size]; }

/* ---- the device ---- */

static int device_take(void) { return device_seen == mem.avail.idx ? -1 : mem.avail.ring[device_seen++ % q.size]; }
static void device_return(u32 head, u32 len)
{
	mem.used.ring[device_used % q.size] = (struct virtq_used_elem){ head, len };
	mem.used.idx = ++device_used;
}
static bool device_interrupts(void)
{
	u16 old = device_told;
	device_told = device_used;
	if (old == device_used)
		return false;
	return q.event ? virtq_need_event(*used_event(), device_used, old) : !(mem.avail.flags & VIRTQ_AVAIL_NO_INTERRUPT);
}

/* ---- tests ---- */

static void layout(void **state)
{
	(void)state;
	assert_int_equal(offsetof(struct virtq_mem, avail) % 2, 0);
	assert_int_equal(offsetof(struct virtq_mem, used) % 4, 0);
	begin(8, true);
	assert_ptr_equal((u8 *)used_event(), (u8 *)&mem.avail + 4 + 2 * 8);
	assert_ptr_equal((u8 *)avail_event(), (u8 *)&mem.used + 4 + 8 * 8);
	begin(256, true);
	assert_true((u8 *)(avail_event() + 1) <= (u8 *)(&mem + 1));
	assert_ptr_equal((u8 *)avail_event(), (u8 *)&mem.used + 4 + 8 * 256);
}

/* Every buffer comes back once, whatever the order; indices wrap several times. */
static void out_of_order(u16 size, bool event)
{
	u32 posted = 0, back = 0, held[VIRTQ_MAX], nr_held = 0, where[VIRTQ_MAX];
	begin(size, event);
	while (back < 300000) {
		for (u32 n = pick(size) + 1; n; n--) {
			int head = virtq_head(&q);
			if (head < 0) {
				assert_int_equal(virtq_outstanding(&q), size);
				break;
			}
			where[head] = posted++;
			virtq_post(&q, (u16)head);
		}
		for (int head; (head = device_take()) >= 0; nr_held++)
			held[nr_held] = (u32)head;
		for (u32 n = pick(nr_held + 1); n; n--) {
			u32 i = pick(nr_held);
			device_return(held[i], where[held[i]]);
			held[i] = held[--nr_held];
		}
		u16 head;
		for (u32 len; virtq_peek(&q, &head, &len) == 1; back++) {
			assert_int_equal(len, where[head]);
			where[head] = ~0u;
			virtq_take(&q, head);
		}
		assert_int_equal(virtq_outstanding(&q), nr_held);
	}
}

static void any_order(void **state)
{
	(void)state;
	for (u16 size = 2; size <= VIRTQ_MAX; size *= 2)
		out_of_order(size, size & 0x54);
}

static void kicks(void **state)
{
	(void)state;
	begin(4, false);
	assert_false(virtq_kick(&q)); /* nothing new */
	virtq_post(&q, 0);
	assert_true(virtq_kick(&q));
	assert_false(virtq_kick(&q));
	mem.used.flags = VIRTQ_USED_NO_NOTIFY;
	virtq_post(&q, 1);
	assert_false(virtq_kick(&q));
	mem.used.flags = 0;
	assert_false(virtq_kick(&q)); /* it was not wanted then */
	begin(4, true);
	*avail_event() = 2; /* tell me of the third */
	mem.used.flags = VIRTQ_USED_NO_NOTIFY; /* has no meaning now */
	virtq_post(&q, 0);
	virtq_post(&q, 1);
	assert_false(virtq_kick(&q));
	virtq_post(&q, 2);
	assert_true(virtq_kick(&q));
	virtq_post(&q, 3);
	assert_false(virtq_kick(&q));
}

/*
 * Interrupts on: exactly one for the first buffer that comes back; off: none, however many pass, if it is said again from time
 * to time.
 */
static void one_by_one(bool event)
{
	u16 head;
	u32 len, interrupts = 0;
	begin(4, event);
	virtq_irq(&q, false);
	for (u32 i = 0; i < 200000; i++) {
		virtq_post(&q, (u16)virtq_head(&q));
		device_return((u32)device_take(), 0);
		interrupts += device_interrupts();
		assert_int_equal(virtq_peek(&q, &head, &len), 1);
		virtq_take(&q, head);
		assert_false(virtq_irq_renew(&q));
	}
	assert_int_equal(interrupts, 0);
	virtq_irq(&q, true);
	for (u32 i = 0; i < 200000; i++) {
		virtq_post(&q, (u16)virtq_head(&q));
		assert_false(virtq_pending(&q));
		device_return((u32)device_take(), 0);
		assert_true(virtq_pending(&q));
		assert_true(device_interrupts());
		virtq_irq(&q, false);
		virtq_post(&q, (u16)virtq_head(&q));
		device_return((u32)device_take(), 0);
		assert_false(device_interrupts());
		for (u32 n = 0; n < 2; n++) {
			assert_int_equal(virtq_peek(&q, &head, &len), 1);
			virtq_take(&q, head);
		}
		virtq_irq(&q, true);
	}
}

/* Interrupts are on while buffers are taken: the next one that comes back is heard, or renewing says that it is there. */
static void taken_with_interrupts_on(void **state)
{
	u16 head;
	u32 len;
	(void)state;
	begin(4, true);
	virtq_irq(&q, true);
	for (u32 i = 0; i < 200000; i++) {
		u32 late = pick(2);
		for (u32 n = 0; n <= late; n++) {
			virtq_post(&q, (u16)virtq_head(&q));
			device_return((u32)device_take(), 0);
			assert_int_equal(device_interrupts(), !n);
			if (!n) {
				assert_int_equal(virtq_peek(&q, &head, &len), 1);
				virtq_take(&q, head);
			}
		}
		assert_int_equal(virtq_irq_renew(&q), late);
		if (late) {
			assert_int_equal(virtq_peek(&q, &head, &len), 1);
			virtq_take(&q, head);
			assert_false(virtq_irq_renew(&q));
		}
	}
}

static void interrupts_plain(void **state) { (void)state, one_by_one(false); }
static void interrupts_event(void **state) { (void)state, one_by_one(true); }

static void wrong_rings(void **state)
{
	u16 head;
	u32 len;
	(void)state;
	begin(8, true);
	assert_int_equal(virtq_peek(&q, &head, &len), 0);
	mem.used.idx = 1; /* nothing is out */
	assert_int_equal(virtq_peek(&q, &head, &len), -EIO);
	virtq_post(&q, 5);
	mem.used.ring[0].id = 8;
	assert_int_equal(virtq_peek(&q, &head, &len), -EIO);
	mem.used.ring[0].id = 0x10005;
	assert_int_equal(virtq_peek(&q, &head, &len), -EIO);
	mem.used.ring[0].id = 4; /* not out */
	assert_int_equal(virtq_peek(&q, &head, &len), -EIO);
	mem.used.ring[0].id = 5;
	mem.used.idx = 2; /* more than is out */
	assert_int_equal(virtq_peek(&q, &head, &len), -EIO);
	mem.used.idx = 0xffff;
	assert_int_equal(virtq_peek(&q, &head, &len), -EIO);
	mem.used.idx = 1;
	assert_int_equal(virtq_peek(&q, &head, &len), 1);
	assert_int_equal(head, 5);
	virtq_take(&q, head);
	virtq_post(&q, 1);
	virtq_post(&q, 2);
	mem.used.ring[1].id = mem.used.ring[2].id = 1; /* twice the same */
	mem.used.idx = 3;
	assert_int_equal(virtq_peek(&q, &head, &len), 1);
	virtq_take(&q, head);
	assert_int_equal(virtq_peek(&q, &head, &len), -EIO);
}

/* ---- capabilities ---- */

static u32 config[64];
static u32 config_read(void *arg, u32 offset)
{
	assert_ptr_equal(arg, config);
	assert_true(offset < sizeof(config) && offset % 4 == 0);
	return config[offset / 4];
}

static void capability(u32 at, u32 next, u8 type, u8 bar, u32 offset, u32 length)
{
	struct virtio_pci_cap c = { .id = 9, .next = (u8)next, .len = 16, .type = type, .bar = bar, .offset = offset,
				    .length = length };
	memcpy(&config[at / 4], &c, sizeof(c));
}

static void good_config(void)
{
	memset(config, 0, sizeof(config));
	config[1] = 0x10 << 16;
	config[0x34 / 4] = 0x40;
	capability(0x40, 0x50, VIRTIO_CAP_COMMON, 0, 0, 56);
	capability(0x50, 0x60, VIRTIO_CAP_ISR, 0, 0x1000, 1);
	capability(0x60, 0x70, VIRTIO_CAP_DEVICE, 0, 0x2000, 16);
	capability(0x70, 0x90, VIRTIO_CAP_NOTIFY, 2, 0x3000, 12);
	config[0x80 / 4] = 4;
	capability(0x90, 0xa0, VIRTIO_CAP_COMMON, 4, 0, 56); /* a second one does not count */
	config[0xa0 / 4] = 0x11;
}

static void capabilities(void **state)
{
	struct virtio_places p;
	(void)state;
	good_config();
	assert_int_equal(virtio_find(config_read, config, &p), 0);
	assert_int_equal(p.at[VIRTIO_CAP_COMMON].bar, 0);
	assert_int_equal(p.at[VIRTIO_CAP_NOTIFY].bar, 2);
	assert_int_equal(p.at[VIRTIO_CAP_NOTIFY].offset, 0x3000);
	assert_int_equal(p.notify_multiplier, 4);
	config[1] = 0;
	assert_int_equal(virtio_find(config_read, config, &p), -ENODEV);
	good_config();
	capability(0x50, 0x50, VIRTIO_CAP_ISR, 0, 0x1000, 1); /* a loop */
	assert_int_equal(virtio_find(config_read, config, &p), -ENODEV);
	good_config();
	capability(0x60, 0x70, VIRTIO_CAP_DEVICE, 6, 0, 16);
	assert_int_equal(virtio_find(config_read, config, &p), -ENODEV);
	good_config();
	capability(0x70, 0, VIRTIO_CAP_NOTIFY, 0, 0xfffffffc, 12);
	assert_int_equal(virtio_find(config_read, config, &p), -ENODEV);
	good_config();
	capability(0x40, 0x50, VIRTIO_CAP_COMMON, 0, 0, 20);
	assert_int_equal(virtio_find(config_read, config, &p), -ENODEV);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(layout), cmocka_unit_test(any_order), cmocka_unit_test(kicks), cmocka_unit_test(interrupts_plain),
		cmocka_unit_test(interrupts_event), cmocka_unit_test(taken_with_interrupts_on),
		cmocka_unit_test(wrong_rings), cmocka_unit_test(capabilities),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
