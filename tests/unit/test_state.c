/*
 * The envelope of saved states: what was sealed is accepted, and nothing else.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/crc32.h"
#include "core/errno.h"
#include "nic/state.h"

static struct nest_nic_state sealed(void)
{
	struct nest_nic_state s;
	memset(&s, 0, sizeof(s));
	s.family = 1;
	s.nr_groups = 2;
	s.max_frame = 1514;
	memset(s.body, 0x5a, sizeof(s.body));
	s.totals.rx_packets = 77;
	nic_state_seal(&s);
	return s;
}

static void crc_is_that_of_ethernet(void **state)
{
	(void)state;
	assert_int_equal(crc32(0, "123456789", 9), 0xcbf43926u);
	assert_int_equal(crc32(crc32(0, "1234", 4), "56789", 5), 0xcbf43926u);
}

static void a_sealed_record_is_accepted(void **state)
{
	(void)state;
	struct nest_nic_state s = sealed(), again = s;
	assert_int_equal(nic_state_check(&s), 0);
	assert_int_equal(s.magic, NEST_STATE_MAGIC);
	assert_int_equal(s.version, NEST_STATE_VERSION);
	assert_int_equal(s.len, 1024);
	nic_state_seal(&again); /* sealing twice makes no difference */
	assert_memory_equal(&s, &again, sizeof(s));
}

static void every_flipped_bit_is_noticed(void **state)
{
	(void)state;
	struct nest_nic_state s = sealed();
	for (u32 bit = 0; bit < 8 * sizeof(s); bit++) {
		((u8 *)&s)[bit / 8] ^= (u8)(1 << bit % 8);
		assert_int_equal(nic_state_check(&s), -EINVAL);
		((u8 *)&s)[bit / 8] ^= (u8)(1 << bit % 8);
	}
	assert_int_equal(nic_state_check(&s), 0);
}

/* A record whose checksum was made to fit. */
static int resealed(struct nest_nic_state s)
{
	s.crc = 0;
	s.crc = crc32(0, &s, sizeof(s));
	return nic_state_check(&s);
}

static void what_cannot_be_is_refused_whatever_its_checksum(void **state)
{
	(void)state;
	struct nest_nic_state s = sealed();
	assert_int_equal(resealed(s), 0);
	s.version++;
	assert_int_equal(resealed(s), -EINVAL);
	s = sealed();
	s.magic = 0;
	assert_int_equal(resealed(s), -EINVAL);
	s = sealed();
	s.len--;
	assert_int_equal(resealed(s), -EINVAL);
	s = sealed();
	s.nr_groups = NEST_MAX_GROUPS + 1;
	assert_int_equal(resealed(s), -EINVAL);
	s = sealed();
	s.reserved0 = 1;
	assert_int_equal(resealed(s), -EINVAL);
	for (u32 i = 0; i < sizeof(s.reserved); i++) {
		s = sealed();
		s.reserved[i] = 1;
		assert_int_equal(resealed(s), -EINVAL);
	}
	for (u32 i = 0; i < ARRAY_SIZE(s.totals.reserved); i++) { /* restored, they would come back as statistics */
		s = sealed();
		s.totals.reserved[i] = 1;
		assert_int_equal(resealed(s), -EINVAL);
	}
	memset(&s, 0, sizeof(s));
	assert_int_equal(nic_state_check(&s), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(crc_is_that_of_ethernet),
		cmocka_unit_test(a_sealed_record_is_accepted),
		cmocka_unit_test(every_flipped_bit_is_noticed),
		cmocka_unit_test(what_cannot_be_is_refused_whatever_its_checksum),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
