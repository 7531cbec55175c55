/*
 * The DMAR parser: tables like real ones, every truncation, wrong lengths, random bytes; and which unit covers whom.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/errno.h"
#include "iommu/dmar.h"

/* ---- building tables ---- */

static u8 table[8192];
static u32 len;

static void put(u64 v, u32 bytes)
{
	for (u32 i = 0; i < bytes; i++)
		table[len++] = (u8)(v >> 8 * i);
}
static void finish(void) { memcpy(&table[4], &len, 4); }
static void start(u8 width, u8 flags)
{
	memset(table, 0, sizeof(table));
	memcpy(table, "DMAR", 4);
	table[36] = width - 1;
	table[37] = flags;
	len = 48;
}
static u32 open_struct(u16 type)
{
	u32 at = len;
	put(type, 2);
	put(0, 2);
	return at;
}
static void close_struct(u32 at)
{
	u16 n = (u16)(len - at);
	memcpy(&table[at + 2], &n, 2);
}
static u32 open_drhd(u8 flags, u16 segment, u64 base)
{
	u32 at = open_struct(0);
	put(flags, 1);
	put(0, 1);
	put(segment, 2);
	put(base, 8);
	return at;
}
static void scope1(u8 type, u8 id, u8 bus, u8 dev, u8 fn)
{
	put(type, 1);
	put(8, 1);
	put(0, 2);
	put(id, 1);
	put(bus, 1);
	put(dev, 1);
	put(fn, 1);
}
static void scope2(u8 type, u8 bus, u8 dev1, u8 fn1, u8 dev2, u8 fn2)
{
	put(type, 1);
	put(10, 1);
	put(0, 3);
	put(bus, 1);
	put(dev1, 1);
	put(fn1, 1);
	put(dev2, 1);
	put(fn2, 1);
}

/* What QEMU gives: one unit without INCLUDE_PCI_ALL, I/O APIC at ff:00.0, bus 0 functions, a root port above the NIC. */
static void like_qemu(void)
{
	start(39, DMAR_INTR_REMAP);
	u32 at = open_drhd(0, 0, 0xfed90000);
	scope1(DMAR_IOAPIC, 0, 0xff, 0, 0);
	scope1(DMAR_ENDPOINT, 0, 0, 0, 0);
	scope1(DMAR_BRIDGE, 0, 0, 1, 0);
	scope1(DMAR_ENDPOINT, 0, 0, 0x1f, 2);
	close_struct(at);
	at = open_struct(2);
	put(DMAR_ALL_PORTS, 1);
	put(0, 3);
	close_struct(at);
	finish();
}

/* A server: two units, bridges behind bridges, an RMRR, unknown structures. */
static void like_server(void)
{
	start(46, DMAR_INTR_REMAP | DMAR_X2APIC_OPT_OUT);
	u32 at = open_drhd(0, 0, 0xfbffc000);
	scope1(DMAR_BRIDGE, 0, 0, 3, 0);       /* root port: buses 4..8 */
	scope2(DMAR_ENDPOINT, 0, 5, 0, 0, 1);  /* 00:05.0 -> bus 9 -> 09:00.1 */
	close_struct(at);
	at = open_drhd(0, 0, 0xfbffd000);
	scope2(DMAR_BRIDGE, 0, 3, 0, 2, 0);    /* inside the first unit's bridge: 04:02.0, buses 6..7 */
	close_struct(at);
	at = open_drhd(DMAR_INCLUDE_PCI_ALL, 0, 0xfbffe000);
	scope1(DMAR_IOAPIC, 2, 0xf0, 0x1f, 7);
	scope1(DMAR_HPET, 0, 0xf0, 0x0f, 0);
	close_struct(at);
	at = open_drhd(DMAR_INCLUDE_PCI_ALL, 1, 0xfbfff000); /* another segment */
	close_struct(at);
	at = open_struct(1);
	put(0, 2);
	put(0, 2);
	put(0x7d000000, 8);
	put(0x7d0fffff, 8);
	scope1(DMAR_ENDPOINT, 0, 0, 0x14, 0);
	close_struct(at);
	at = open_struct(0x77);
	put(0x1122334455667788, 8);
	close_struct(at);
	finish();
}

static const struct { rid_t rid; u8 secondary, subordinate; } bridges[] = {
	{ { 0x0008 }, 1, 1 },  /* 00:01.0 */
	{ { 0x0018 }, 4, 8 },  /* 00:03.0 */
	{ { 0x0028 }, 9, 9 },  /* 00:05.0 */
	{ { 0x0410 }, 6, 7 },  /* 04:02.0 */
};
static bool bridge(void *arg, rid_t rid, u8 *secondary, u8 *subordinate)
{
	assert_ptr_equal(arg, bridges);
	for (u32 i = 0; i < ARRAY_SIZE(bridges); i++) {
		if (bridges[i].rid.v == rid.v) {
			*secondary = bridges[i].secondary;
			*subordinate = bridges[i].subordinate;
			return true;
		}
	}
	return false;
}
static const struct dmar_topology topology = { .bridge = bridge, .arg = (void *)bridges };

/* Parse a copy of exactly n bytes, so that reading beyond is seen by the sanitizer. */
static struct dmar d;
static const char *why;
static int parse(u32 n)
{
	u8 *copy = malloc(n ? n : 1);
	memcpy(copy, table, n);
	int err = dmar_parse(copy, n, &d, &why);
	free(copy);
	assert_int_equal(err != 0, why != NULL);
	return err;
}
static int unit_of(u8 bus, u8 dev, u8 fn) { return dmar_unit_for(&d, RID(bus, dev, fn), &topology); }

/* ---- tests ---- */

static void qemu_table(void **state)
{
	(void)state;
	like_qemu();
	assert_int_equal(parse(len), 0);
	assert_int_equal(d.width, 39);
	assert_int_equal(d.flags, DMAR_INTR_REMAP);
	assert_int_equal(d.nr_units, 1);
	assert_int_equal(d.units[0].base, 0xfed90000);
	assert_int_equal(d.units[0].flags, 0);
	assert_int_equal(d.units[0].scopes.count, 4);
	assert_int_equal(d.nr_atsrs, 1);
	assert_int_equal(d.atsrs[0].flags, DMAR_ALL_PORTS);
	assert_int_equal(d.nr_rmrrs, 0);
	assert_int_equal(d.ignored, 0);
	assert_int_equal(d.scopes[0].type, DMAR_IOAPIC);
	assert_int_equal(d.scopes[0].start_bus, 0xff);
	assert_int_equal(unit_of(1, 0, 0), 0);      /* the NIC's PF, below the root port */
	assert_int_equal(unit_of(1, 0x10, 2), 0);   /* a VF, by the same bridge */
	assert_int_equal(unit_of(0, 1, 0), 0);      /* the root port itself */
	assert_int_equal(unit_of(0, 0x1f, 2), 0);
	assert_int_equal(unit_of(0, 0x1f, 3), -ENODEV);
	assert_int_equal(unit_of(2, 0, 0), -ENODEV);
	assert_int_equal(unit_of(0xff, 0, 0), -ENODEV); /* an I/O APIC's scope is no device's */
}

static void server_table(void **state)
{
	(void)state;
	like_server();
	assert_int_equal(parse(len), 0);
	assert_int_equal(d.nr_units, 4);
	assert_int_equal(d.flags, DMAR_INTR_REMAP | DMAR_X2APIC_OPT_OUT);
	assert_int_equal(d.nr_rmrrs, 1);
	assert_int_equal(d.rmrrs[0].base, 0x7d000000);
	assert_int_equal(d.rmrrs[0].limit, 0x7d0fffff);
	assert_int_equal(unit_of(4, 0, 0), 0);
	assert_int_equal(unit_of(8, 0, 0), 0);
	assert_int_equal(unit_of(9, 0, 1), 0);      /* an endpoint by its path */
	assert_int_equal(unit_of(9, 0, 0), 2);      /* its neighbour only by INCLUDE_PCI_ALL */
	assert_int_equal(unit_of(6, 0, 0), 1);      /* the deeper bridge wins over the one above it */
	assert_int_equal(unit_of(4, 2, 0), 1);
	assert_int_equal(unit_of(0x40, 0, 0), 2);
	assert_int_equal(unit_of(0, 5, 0), 2);      /* a step of a path is not the device named */
}

static void truncated_everywhere(void **state)
{
	(void)state;
	for (int server = 0; server < 2; server++) {
		server ? like_server() : like_qemu();
		u32 full = len;
		for (u32 n = 0; n < full; n++) {
			assert_int_equal(parse(n), -EINVAL);
			if (n < 48)
				continue;
			/* the same with a header that agrees: only whole structures parse */
			len = n;
			finish();
			int err = parse(n);
			assert_true(err == 0 || err == -EINVAL);
			len = full;
			finish();
		}
		assert_int_equal(parse(full), 0);
	}
}

static void bad_header(void **state)
{
	(void)state;
	like_qemu();
	table[0] = 'd';
	assert_int_equal(parse(len), -EINVAL);
	like_qemu();
	table[4]++;
	assert_int_equal(parse(len), -EINVAL);
	start(39, 0);
	finish();
	assert_int_equal(parse(len), 0);
	assert_int_equal(d.nr_units, 0);
	assert_int_equal(unit_of(0, 0, 0), -ENODEV);
}

/* Offsets in like_qemu: DRHD at 48, its first scope at 64. */
static void bad_lengths(void **state)
{
	(void)state;
	static const u16 bad_struct[] = { 0, 1, 3, 4, 15, 17, 47, 0xffff };
	static const u8 bad_scope[] = { 0, 1, 5, 6, 7, 9, 0xff };
	for (u32 i = 0; i < ARRAY_SIZE(bad_struct); i++) {
		like_qemu();
		memcpy(&table[50], &bad_struct[i], 2);
		assert_int_equal(parse(len), -EINVAL);
	}
	for (u32 i = 0; i < ARRAY_SIZE(bad_scope); i++) {
		like_qemu();
		table[65] = bad_scope[i];
		assert_int_equal(parse(len), -EINVAL);
	}
	like_qemu();
	table[64 + 6] = 32; /* device number */
	assert_int_equal(parse(len), -EINVAL);
	like_qemu();
	table[64 + 7] = 8; /* function number */
	assert_int_equal(parse(len), -EINVAL);
}

static void bad_units(void **state)
{
	static const u64 bases[] = { 0, 0xfed90800, 1ull << 39, ~0xfffull };
	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(bases); i++) {
		start(39, 0);
		close_struct(open_drhd(1, 0, bases[i]));
		finish();
		assert_int_equal(parse(len), -EINVAL);
	}
	for (u32 i = 0; i < 3; i++) { /* same base; both claim all; both claim all, but of different segments */
		start(39, 0);
		close_struct(open_drhd(1, 0, 0xfed90000));
		close_struct(open_drhd(i ? 1 : 0, i == 2 ? 1 : 0, i ? 0xfed91000 : 0xfed90000));
		finish();
		assert_int_equal(parse(len), i == 2 ? 0 : -EINVAL);
	}
}

static void table_space(void **state)
{
	(void)state;
	for (u32 extra = 0; extra < 2; extra++) {
		start(39, 0);
		for (u32 i = 0; i < DMAR_MAX_UNITS + extra; i++)
			close_struct(open_drhd(0, 0, 0xfed00000 + i * 0x1000));
		finish();
		assert_int_equal(parse(len), extra ? -EINVAL : 0);
	}
	for (u32 extra = 0; extra < 2; extra++) {
		start(39, 0);
		u32 at = open_drhd(0, 0, 0xfed90000);
		for (u32 i = 0; i < DMAR_MAX_SCOPES + extra; i++)
			scope1(DMAR_ENDPOINT, 0, 0, 1, 0);
		close_struct(at);
		finish();
		assert_int_equal(parse(len), extra ? -EINVAL : 0);
	}
}

static void rmrr(u64 base, u64 limit)
{
	u32 at = open_struct(1);
	put(0, 4);
	put(base, 8);
	put(limit, 8);
	scope1(DMAR_ENDPOINT, 0, 0, 0x1d, 0);
	close_struct(at);
}

static void senseless_regions_are_left_out(void **state)
{
	static const struct { u64 base, limit; } bad[] = {
		{ 0x7d000000, 0x7cffffff }, { 0x7d000000, 0x7d000000 }, { 0x7d000100, 0x7d000fff }, { 0x7d000000, 0x7d000ffe },
		{ 0, ~0ull }, { ~0xfffull, ~0ull }, { 0x7d000000, 1ull << 40 },
	};
	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(bad); i++) {
		start(39, 0);
		rmrr(0x7e000000, 0x7e000fff);
		rmrr(bad[i].base, bad[i].limit);
		rmrr(0x7f000000, 0x7f001fff);
		finish();
		assert_int_equal(parse(len), 0);
		assert_int_equal(d.nr_rmrrs, 2);
		assert_int_equal(d.ignored, 1);
		assert_int_equal(d.rmrrs[1].base, 0x7f000000);
		assert_int_equal(d.scopes[d.rmrrs[1].scopes.first].path[0].device, 0x1d);
	}
}

static void overlapping_scopes(void **state)
{
	(void)state;
	start(39, 0);
	u32 at = open_drhd(0, 0, 0xfed90000);
	scope1(DMAR_BRIDGE, 0, 0, 3, 0);
	close_struct(at);
	at = open_drhd(0, 0, 0xfed91000);
	scope1(DMAR_BRIDGE, 0, 0, 3, 0);
	scope2(DMAR_ENDPOINT, 0, 3, 0, 9, 0); /* 04:09.0 by name */
	close_struct(at);
	finish();
	assert_int_equal(parse(len), 0);
	assert_int_equal(unit_of(5, 0, 0), 0); /* equally narrow: the first */
	assert_int_equal(unit_of(4, 9, 0), 1); /* named: narrower than any bridge */
}

static void paths(void **state)
{
	rid_t rid;
	(void)state;
	struct dmar_scope s = { .type = DMAR_ENDPOINT, .start_bus = 0, .steps = 3, .path = { { 3, 0 }, { 2, 0 }, { 7, 1 } } };
	assert_true(dmar_scope_rid(&s, &topology, &rid));
	assert_int_equal(rid.v, RID(6, 7, 1).v);
	s.path[0].device = 4; /* no bridge there */
	assert_false(dmar_scope_rid(&s, &topology, &rid));
	/* deeper than we follow: left out, and counted */
	start(39, 0);
	u32 at = open_drhd(0, 0, 0xfed90000);
	put(DMAR_ENDPOINT, 1);
	put(6 + 2 * (DMAR_MAX_PATH + 1), 1);
	put(0, 4);
	for (u32 i = 0; i <= DMAR_MAX_PATH; i++)
		put(1, 2);
	scope1(DMAR_ENDPOINT, 0, 0, 2, 0);
	close_struct(at);
	finish();
	assert_int_equal(parse(len), 0);
	assert_int_equal(d.ignored, 1);
	assert_int_equal(d.nr_scopes, 1);
	assert_int_equal(unit_of(0, 2, 0), 0);
}

/* What parsed is well-formed, whatever the bytes were. */
static void check_result(void)
{
	assert_true(d.nr_units <= DMAR_MAX_UNITS && d.nr_rmrrs <= DMAR_MAX_RMRRS && d.nr_scopes <= DMAR_MAX_SCOPES);
	for (u32 i = 0; i < d.nr_units; i++)
		assert_true(d.units[i].scopes.first + d.units[i].scopes.count <= d.nr_scopes && IS_ALIGNED(d.units[i].base, 4096));
	for (u32 i = 0; i < d.nr_rmrrs; i++)
		assert_true(d.rmrrs[i].scopes.first + d.rmrrs[i].scopes.count <= d.nr_scopes && d.rmrrs[i].base < d.rmrrs[i].limit);
	for (u32 i = 0; i < d.nr_scopes; i++)
		assert_true(d.scopes[i].steps > 0 && d.scopes[i].steps <= DMAR_MAX_PATH);
	(void)unit_of((u8)rand(), rand() & 31, rand() & 7);
}

static void random_bytes(void **state)
{
	u32 parsed = 0;
	(void)state;
	srand(7);
	for (u32 round = 0; round < 50000; round++) {
		if (round % 8 == 0) { /* nothing but noise behind the signature */
			start(39, 0);
			for (len = 36; len < 48u + (u32)rand() % 200; len++)
				table[len] = (u8)rand();
		} else {              /* a good table with a few bytes changed */
			round % 2 ? like_server() : like_qemu();
			for (u32 i = (u32)rand() % 4 + 1; i; i--)
				table[36 + (u32)rand() % (len - 36)] = (u8)(rand() % 3 ? rand() % 12 : rand());
		}
		if (len < 48)
			len = 48;
		finish();
		int err = parse(len);
		if (!err) {
			parsed++;
			check_result();
		}
	}
	assert_in_range(parsed, 1000, 49999); /* both outcomes were seen */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(qemu_table), cmocka_unit_test(server_table), cmocka_unit_test(truncated_everywhere),
		cmocka_unit_test(bad_header), cmocka_unit_test(bad_lengths), cmocka_unit_test(bad_units), cmocka_unit_test(table_space),
		cmocka_unit_test(senseless_regions_are_left_out), cmocka_unit_test(overlapping_scopes), cmocka_unit_test(paths),
		cmocka_unit_test(random_bytes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
