/*
 * guest/net/plugin_load.c: an image is taken only if all of it is as core/plugin.h says; each field damaged, each length, each piece.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/crc32.h"
#include "guest/net/plugin_load.h"
#include "guest/net/port.h"

#define LEN 9000u

static u8 image[NIC_PLUGIN_IMAGE_MAX] __aligned_to(PAGE_SIZE), memory[NIC_PLUGIN_IMAGE_MAX] __aligned_to(PAGE_SIZE);
static u64 handed;           /* bytes that the chain has */
static s64 error_at = -1;    /* offset at which it fails */
static struct nic_plugin_image *const h = (struct nic_plugin_image *)image;

s64 port_plugin(u32 port, u32 offset, u8 *piece)
{
	assert_int_equal(port, 3);
	assert_int_equal(offset % NEST_PLUGIN_PIECE, 0);
	if (offset == (u64)error_at)
		return -EIO;
	u64 n = offset < handed ? MIN(handed - offset, (u64)NEST_PLUGIN_PIECE) : 0;
	memcpy(piece, image + offset, n);
	return (s64)n;
}

static void seal(void)
{
	h->crc = 0;
	h->crc = crc32(0, image, h->image_len);
}

static int setup(void **state)
{
	(void)state;
	for (u32 i = 0; i < sizeof(image); i++)
		image[i] = (u8)(i * 31 >> 3);
	*h = (struct nic_plugin_image){ .abi = NIC_PLUGIN_ABI, .header_len = sizeof(*h), .image_len = LEN, .family = 1,
		.licence = "BSD-2-Clause", .name = "test", .state_len = 256, .dma_len = 8192, .start = 112, .stop = 200, .tx = 300,
		.tx_kick = 400, .tx_pending = 500, .rx_poll = 600, .rx_before = 700, .irq_enable = 800, .stats = LEN - 1 };
	memcpy(h->magic, NIC_PLUGIN_MAGIC, 8);
	seal();
	handed = LEN;
	error_at = -1;
	return 0;
}

static void test_good(void **state)
{
	struct nic_plugin_ops ops;

	(void)state;
	assert_null(plugin_check(image, LEN, 1));
	assert_int_equal(plugin_load(3, 1, memory, &ops), 0);
	assert_memory_equal(memory, image, LEN);
	assert_ptr_equal((u8 *)ops.start, memory + 112);
	assert_ptr_equal((u8 *)ops.rx_before, memory + 700);
	assert_ptr_equal((u8 *)ops.stats, memory + LEN - 1);
	assert_string_equal(ops.name, "test");
	assert_int_equal(ops.abi, NIC_PLUGIN_ABI);
	assert_int_equal(ops.state_len, 256);
	assert_int_equal(ops.dma_len, 8192);
	h->image_len = 8192; /* ends with a whole piece */
	h->stats = 900;
	seal();
	handed = 8192;
	assert_int_equal(plugin_load(3, 1, memory, &ops), 0);
}

/* Any byte that changes on the way is noticed. */
static void test_every_byte(void **state)
{
	(void)state;
	for (u32 i = 0; i < LEN; i += i < 200 ? 1 : 97) {
		image[i] ^= 0x10;
		assert_non_null(plugin_check(image, LEN, 1));
		image[i] ^= 0x10;
	}
	assert_null(plugin_check(image, LEN, 1));
}

/* Wrong, and closed with a right checksum. */
static void refused(const char *why)
{
	if (h->image_len == LEN)
		seal();
	const char *said = plugin_check(image, LEN, 1);
	assert_non_null(said);
	assert_string_equal(said, why);
	setup(NULL);
}

static void test_licences(void **state)
{
	static const char *const good[] = NIC_PLUGIN_LICENCES;

	(void)state;
	assert_int_equal(ARRAY_SIZE(good), 5);
	for (u32 i = 0; i < ARRAY_SIZE(good); i++) {
		memset(h->licence, 0, sizeof(h->licence));
		strcpy(h->licence, good[i]);
		seal();
		assert_null(plugin_check(image, LEN, 1));
	}
}

static void test_every_field(void **state)
{
	(void)state;
	h->magic[7] = 'X', refused("no plugin");
	h->abi++, refused("version of the contract");
	h->abi = 1, refused("version of the contract");
	h->header_len += 4, refused("version of the contract");
	h->header_len = 0, refused("version of the contract");
	h->reserved = 1, refused("version of the contract");
	h->reserved2 = 1, refused("version of the contract");
	h->image_len++, refused("length differs from what arrived");
	h->image_len = 0, refused("length differs from what arrived");
	h->image_len = ~0u, refused("length differs from what arrived");
	h->family = 2, refused("another family of devices");
	strcpy(h->licence, "Proprietary"), refused("licence");
	strcpy(h->licence, "BSD-2"), refused("licence");
	strcpy(h->licence, "BSD-2-Clausex"), refused("licence");
	h->licence[0] = 0, refused("licence");
	memset(h->licence, 'M', 16), refused("licence");
	memset(h->name, 'n', 16), refused("licence");
	h->state_len = 0, refused("memory that it wants");
	h->state_len = ~0u, refused("memory that it wants");
	h->dma_len = 0, refused("memory that it wants");
	h->dma_len = 1u << 30, refused("memory that it wants");
	for (u32 *offset = &h->start; offset <= &h->stats; offset++) {
		static const u32 bad[] = { 0, 111, LEN, LEN + 1, 0x80000000, ~0u };
		for (u32 i = 0; i < ARRAY_SIZE(bad); i++)
			*offset = bad[i], refused("function outside the image");
	}
	assert_null(plugin_check(image, LEN, 1));
}

static void test_every_length(void **state)
{
	(void)state;
	for (u64 len = 0; len < LEN + 100; len += len < 200 ? 1 : 37)
		if (len != LEN)
			assert_non_null(plugin_check(image, len, 1));
	assert_non_null(plugin_check(image, NIC_PLUGIN_IMAGE_MAX + 1, 1));
}

static void test_chain(void **state)
{
	struct nic_plugin_ops ops;

	(void)state;
	for (error_at = 0; error_at < LEN; error_at += NEST_PLUGIN_PIECE)
		assert_int_equal(plugin_load(3, 1, memory, &ops), -EIO);
	error_at = -1;
	for (handed = 0; handed < LEN; handed += 1000)
		assert_int_equal(plugin_load(3, 1, memory, &ops), -EINVAL);
	handed = LEN + 1;
	assert_int_equal(plugin_load(3, 1, memory, &ops), -EINVAL);
	handed = 1u << 20; /* without end: nothing is written behind the memory (ASan) */
	assert_int_equal(plugin_load(3, 1, memory, &ops), -EINVAL);
}

#define TEST(fn) cmocka_unit_test_setup(fn, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_good), TEST(test_every_byte), TEST(test_licences), TEST(test_every_field), TEST(test_every_length), TEST(test_chain),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
