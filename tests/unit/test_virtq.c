/*
 * The device side of a split virtqueue on rings that lie, loop, overflow, point outside and change while we look
 * (nic/virtq_dev.h).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/errno.h"
#include "nic/virtq_dev.h"
#include "tests/unit/vnet_model.h"

#define SIZE 8
#define DESC 0x10000ull
#define AVAIL 0x12000ull
#define USED 0x14000ull
#define INDIRECT BIT(VIRTIO_F_RING_INDIRECT_DESC)
#define EVENT BIT(VIRTIO_F_RING_EVENT_IDX)
#define N VIRTQ_DESC_NEXT
#define W VIRTQ_DESC_WRITE
#define I VIRTQ_DESC_INDIRECT

static struct virtq_dev q;
static struct vqd_chain chain;

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
	return 0;
}

static void desc(u64 table, u32 i, u64 addr, u32 len, u16 flags, u16 next)
{
	struct virtq_desc d = { addr, len, flags, next };
	memcpy(model_ram + table + i * sizeof(d), &d, sizeof(d));
}

static void put16(u64 gpa, u16 v) { memcpy(model_ram + gpa, &v, 2); }
static u16 get16(u64 gpa)
{
	u16 v;
	memcpy(&v, model_ram + gpa, 2);
	return v;
}

/* A queue whose first available buffer begins at descriptor `head`. */
static void start(u64 features, u16 head)
{
	assert_int_equal(vqd_start(&q, &model_vm, SIZE, DESC, AVAIL, USED, features), 0);
	put16(AVAIL + 4, head);
	put16(AVAIL + 2, 1);
}

static int peek(u64 features, u16 head)
{
	start(features, head);
	assert_int_equal(vqd_available(&q), 1);
	return vqd_peek(&q, 0, &chain);
}

/* ---- where rings may lie ---- */

static void places(void **state)
{
	static const struct { u64 desc, avail, used; int want; } cases[] = {
		{ DESC, AVAIL, USED, 0 },
		{ DESC + 8, AVAIL, USED, -EINVAL },
		{ DESC, AVAIL + 1, USED, -EINVAL },
		{ DESC, AVAIL, USED + 2, -EINVAL },
		{ MODEL_LOW, AVAIL, USED, -EFAULT },
		{ MODEL_LOW - 16, AVAIL, USED, -EFAULT },       /* its end is outside */
		{ DESC, MODEL_LOW - 2, USED, -EFAULT },
		{ DESC, AVAIL, MODEL_HIGH - 4, -EFAULT },
		{ DESC, AVAIL, ~0ull - 3, -EFAULT },
		{ ~0ull - 15, AVAIL, USED, -EFAULT },           /* wraps */
		{ MODEL_LEAF - 16, AVAIL, 2 * MODEL_LEAF - 8, 0 }, /* in two pieces */
	};
	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(vqd_start(&q, &model_vm, SIZE, cases[i].desc, cases[i].avail, cases[i].used, 0), cases[i].want);
	vqd_stop(&q);
	assert_int_equal(vqd_available(&q), 0);
	assert_int_equal(vqd_arm(&q), 0);
	assert_int_equal(vqd_suppress(&q), 0);
	assert_false(vqd_interrupts(&q));
}

/* ---- indices ---- */

static void indices(void **state)
{
	(void)state;
	start(0, 0);
	put16(AVAIL + 2, SIZE);
	assert_int_equal(vqd_available(&q), SIZE);
	put16(AVAIL + 2, SIZE + 1);
	assert_int_equal(vqd_available(&q), -EINVAL);
	put16(AVAIL + 2, 0xffff); /* backwards */
	assert_int_equal(vqd_available(&q), -EINVAL);
	assert_int_equal(peek(0, SIZE), -EINVAL);
	assert_int_equal(peek(0, 0xffff), -EINVAL);
	desc(DESC, 0, DATA(0, 0), 10, N, SIZE);
	assert_int_equal(peek(0, 0), -EINVAL);
}

/* ---- chains ---- */

static void loops(void **state)
{
	(void)state;
	desc(DESC, 3, DATA(0, 0), 10, N, 3);
	assert_int_equal(peek(0, 3), -EINVAL);
	desc(DESC, 4, DATA(0, 0), 0, N, 5); /* of nothing, too */
	desc(DESC, 5, DATA(0, 0), 0, N, 4);
	assert_int_equal(peek(0, 4), -EINVAL);
	for (u16 i = 0; i < SIZE; i++)
		desc(DESC, i, DATA(0, i), 1, i < SIZE - 1 ? N : 0, i + 1);
	assert_int_equal(peek(0, 0), 0); /* as long as may be */
	assert_int_equal(chain.nr, SIZE);
	assert_int_equal(chain.read_len, SIZE);
}

static void order(void **state)
{
	(void)state;
	desc(DESC, 0, DATA(0, 0), 10, N, 1);
	desc(DESC, 1, DATA(0, 1), 20, N | W, 2);
	desc(DESC, 2, DATA(0, 2), 30, W, 0);
	assert_int_equal(peek(0, 0), 0);
	assert_int_equal(chain.read_len, 10);
	assert_int_equal(chain.write_len, 50);
	assert_int_equal(chain.nr_read, 1);
	desc(DESC, 2, DATA(0, 2), 30, 0, 0); /* readable behind writable */
	assert_int_equal(peek(0, 0), -EINVAL);
}

static void indirect(void **state)
{
	u64 table = 0x16000;
	(void)state;
	for (u16 i = 0; i < SIZE + 1; i++)
		desc(table, i, DATA(0, i), 1, N, i + 1);
	desc(DESC, 0, table, 16 * (SIZE + 1), I, 0);
	assert_int_equal(peek(0, 0), -EINVAL);           /* not negotiated */
	assert_int_equal(peek(INDIRECT, 0), -EINVAL);    /* too long */
	desc(table, SIZE - 1, DATA(0, 0), 1, 0, 0);
	assert_int_equal(peek(INDIRECT, 0), 0);
	assert_int_equal(chain.nr, SIZE);
	desc(table, 1, DATA(0, 0), 1, N, SIZE + 1);      /* behind the table */
	assert_int_equal(peek(INDIRECT, 0), -EINVAL);
	desc(table, 1, table, 16, I, 0);                 /* a table in a table */
	assert_int_equal(peek(INDIRECT, 0), -EINVAL);
	desc(table, 1, DATA(0, 0), 1, 0, 0);
	static const struct { u64 at; u32 len; u16 flags; int want; } cases[] = {
		{ 0x16000, 0, I, -EINVAL }, { 0x16000, 24, I, -EINVAL }, { 0x16000, 32, I | N, -EINVAL }, { 0x16000, 32, I, 0 },
		{ 0x16000, 32, I | W, 0 }, { MODEL_LOW - 16, 32, I, -EFAULT }, { MODEL_LOW, 16, I, -EFAULT },
		{ ~0ull - 15, 32, I, -EFAULT }, { 0x16000, 0xfffffff0, I, -EFAULT },
	};
	for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
		desc(DESC, 0, cases[i].at, cases[i].len, cases[i].flags, 0);
		int r = peek(INDIRECT, 0);
		assert_int_equal(r, cases[i].want);
	}
	desc(DESC, 0, DATA(0, 0), 5, N | W, 1);
	desc(DESC, 1, table, 32, I, 0);                  /* ordinary writable, then a readable one in the table */
	assert_int_equal(peek(INDIRECT, 0), -EINVAL);
}

static void lengths(void **state)
{
	u8 buf[64];
	(void)state;
	desc(DESC, 0, DATA(0, 0), 0xffffffff, N, 1);
	desc(DESC, 1, DATA(0, 0), 0xffffffff, N, 2);
	desc(DESC, 2, DATA(0, 0), 10, W, 0);
	assert_int_equal(peek(0, 0), 0);
	assert_int_equal(chain.read_len, 2ull * 0xffffffff);
	assert_int_equal(vqd_read(&q, &chain, 0, buf, 64), 0);
	assert_int_equal(vqd_read(&q, &chain, 0xffffffff - 1, buf, 64), -EFAULT);
	assert_int_equal(vqd_write(&q, &chain, 0, buf, 10), 0);
	assert_int_equal(vqd_write(&q, &chain, 0, buf, 11), -EINVAL); /* what is readable is never written */
	assert_int_equal(vqd_write(&q, &chain, 5, buf, 5), 0);
	assert_int_equal(vqd_write(&q, &chain, 11, buf, 0), 0);
}

static void outside(void **state)
{
	static const u64 places[] = {
		MODEL_LOW - 4, MODEL_LOW, MODEL_HIGH - 4, MODEL_END, MODEL_END - 7, ~0ull, ~0ull - 6, 1ull << 63,
	};
	u8 buf[8] = { 0 };
	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(places); i++) {
		desc(DESC, 0, places[i], 8, N, 1);
		desc(DESC, 1, places[i], 8, W, 0);
		assert_int_equal(peek(0, 0), 0);
		assert_int_equal(vqd_read(&q, &chain, 0, buf, 8), -EFAULT);
		assert_int_equal(vqd_write(&q, &chain, 0, buf, 8), -EFAULT);
	}
}

/* ---- the guest's other CPU ---- */

static void rewrite(u64 gpa, u64 len)
{
	if (gpa >= MODEL_LEAF - 16 && gpa < MODEL_LEAF - 16 + SIZE * 16 && len == 16)
		desc(gpa, 0, ~0ull, 0xffffffff, I | N | W, 0xffff);
}

/* What was copied is what is used, whatever becomes of it. */
static void changing(void **state)
{
	u8 buf[4];
	(void)state;
	assert_int_equal(vqd_start(&q, &model_vm, SIZE, MODEL_LEAF - 16, AVAIL, USED, INDIRECT), 0);
	desc(MODEL_LEAF - 16, 0, DATA(0, 0), 4, N, 2);
	desc(MODEL_LEAF - 16, 2, DATA(0, 1), 4, W, 0);
	put16(AVAIL + 2, 1);
	model_race = rewrite;
	assert_int_equal(vqd_peek(&q, 0, &chain), 0);
	assert_int_equal(chain.nr, 2);
	assert_int_equal(chain.read_len, 4);
	assert_int_equal(vqd_read(&q, &chain, 0, buf, 4), 0);
	assert_int_equal(vqd_write(&q, &chain, 0, buf, 4), 0);
	model_race = NULL;
	assert_int_equal(vqd_peek(&q, 0, &chain), -EINVAL);
}

/* The guest's other CPU writes words whole, so we read them whole, also where a ring lies in two pieces of our memory. */
#define SPLIT (2 * MODEL_LEAF - 16) /* an available ring there does */
static u32 small_copies;
static void note_small(u64 gpa, u64 len)
{
	(void)gpa;
	small_copies += len < 4;
}

static void words_are_whole(void **state)
{
	(void)state;
	assert_int_equal(vqd_start(&q, &model_vm, SIZE, DESC, SPLIT, 4 * MODEL_LEAF - 8, EVENT), 0);
	desc(DESC, 0, DATA(0, 0), 4, 0, 0);
	put16(SPLIT + 2, 1);
	small_copies = 0;
	model_race = note_small;
	assert_int_equal(vqd_available(&q), 1);
	assert_int_equal(vqd_peek(&q, 0, &chain), 0);
	assert_int_equal(vqd_use(&q, 0, 0, 4), 0);
	assert_int_equal(vqd_publish(&q, 1), 0);
	assert_int_equal(get16(4 * MODEL_LEAF - 6), 1);
	assert_true(vqd_interrupts(&q));
	assert_int_equal(vqd_arm(&q), 0);
	assert_int_equal(small_copies, 0);
}

/* ---- notifications: the device's and the driver's view agree at every wrap ---- */

static void kicks_and_interrupts(void **state)
{
	u32 kicks = 0, irqs = 0;
	(void)state;
	desc(DESC, 0, DATA(0, 0), 4, 0, 0);
	assert_int_equal(vqd_start(&q, &model_vm, SIZE, DESC, AVAIL, USED, EVENT), 0);
	for (u32 i = 0; i < 0x20010; i++) {
		put16(AVAIL + 2, (u16)(i + 1));
		kicks += virtq_need_event(get16(USED + 4 + SIZE * 8), (u16)(i + 1), (u16)i);
		assert_int_equal(vqd_available(&q), 1);
		assert_int_equal(vqd_peek(&q, 0, &chain), 0);
		assert_int_equal(vqd_use(&q, 0, chain.head, 4), 0);
		assert_int_equal(vqd_publish(&q, 1), 0);
		assert_int_equal(get16(USED + 2), (u16)(i + 1));
		put16(AVAIL + 4 + SIZE * 2, (u16)(i | 3)); /* every fourth */
		irqs += vqd_interrupts(&q);
		assert_false(vqd_interrupts(&q));
		if (i & 1)
			assert_int_equal(vqd_arm(&q), 0);
		else
			assert_int_equal(vqd_suppress(&q), 0);
	}
	assert_int_equal(kicks, 0x20010 / 2); /* the first: both are at 0 */
	assert_int_equal(irqs, 0x20010 / 4);
}

/* At every look of ours at the index one more buffer has come. */
static u32 adds;
static void add_one(u64 gpa, u64 len)
{
	(void)len;
	if (gpa != SPLIT + 2 || !adds)
		return;
	adds--;
	put16(SPLIT + 2, (u16)(get16(SPLIT + 2) + 1));
}

/* A driver that adds as fast as we look cannot make us lose its kick: it has as many buffers as the ring has room for. */
static void armed_while_buffers_come(void **state)
{
	(void)state;
	for (u32 n = 1; n <= 64; n++) {
		assert_int_equal(vqd_start(&q, &model_vm, 64, DESC, SPLIT, USED, EVENT), 0);
		put16(SPLIT + 2, 0);
		adds = n;
		model_race_at = add_one;
		assert_int_equal(vqd_arm(&q), n);
		model_race_at = NULL;
		assert_int_equal(get16(USED + 4 + 64 * 8), n); /* the next one kicks */
	}
}

static void to_and_fro(u64 gpa, u64 len)
{
	(void)len;
	if (gpa == SPLIT + 2)
		put16(SPLIT + 2, get16(SPLIT + 2) ^ 1);
}

static void armed_by_an_index_that_jumps(void **state)
{
	(void)state;
	assert_int_equal(vqd_start(&q, &model_vm, 64, DESC, SPLIT, USED, EVENT), 0);
	model_race_at = to_and_fro;
	assert_int_equal(vqd_arm(&q), -EINVAL);
}

static void flags(void **state)
{
	(void)state;
	start(0, 0);
	desc(DESC, 0, DATA(0, 0), 4, 0, 0);
	assert_int_equal(vqd_suppress(&q), 0);
	assert_int_equal(get16(USED), VIRTQ_USED_NO_NOTIFY);
	assert_int_equal(vqd_arm(&q), 1);
	assert_int_equal(get16(USED), 0);
	put16(AVAIL, VIRTQ_AVAIL_NO_INTERRUPT);
	assert_int_equal(vqd_use(&q, 0, 0, 0), 0);
	assert_int_equal(vqd_publish(&q, 1), 0);
	assert_false(vqd_interrupts(&q));
	put16(AVAIL, 0);
	assert_false(vqd_interrupts(&q)); /* that one is over */
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(places), TEST(indices), TEST(loops), TEST(order), TEST(indirect), TEST(lengths), TEST(outside), TEST(changing),
		TEST(kicks_and_interrupts), TEST(flags), TEST(words_are_whole), TEST(armed_while_buffers_come),
		TEST(armed_by_an_index_that_jumps),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
