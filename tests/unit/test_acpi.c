/*
 * core/acpi_tables.c and core/acpi.c: right tables are read right; cut, corrupt, looping and random ones are refused, and
 * no byte outside them is read (every buffer is exactly as long as it claims, under AddressSanitizer).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/acpi.h"
#include "core/errno.h"
#include "core/mem.h"
#include "tests/unit/log.h"

/* ---- building tables ---- */

static u8 t[1024];
static u32 tlen;

static void put(u32 at, u64 v, u32 size)
{
	memcpy(t + at, &v, size);
}

static void begin(const char *signature, u32 len)
{
	memset(t, 0, sizeof(t));
	memcpy(t, signature, 4);
	tlen = len;
	put(4, len, 4);
}

static void append(const void *bytes, u32 n)
{
	memcpy(t + tlen, bytes, n);
	tlen += n;
	put(4, tlen, 4);
}

static void sum(u8 *p, u32 len, u32 at)
{
	u8 s = 0;

	p[at] = 0;
	for (u32 i = 0; i < len; i++)
		s = (u8)(s + p[i]);
	p[at] = (u8)-s;
}

/* The same bytes in a buffer that ends exactly there. */
static void *exact(const void *p, u32 len)
{
	void *copy = malloc(len ? len : 1);

	return len ? memcpy(copy, p, len) : copy;
}

#define WITH_EXACT(len_, expression) ({ \
	u32 len = (len_); \
	void *p = exact(t, len); \
	__typeof__(expression) result_ = (expression); \
	free(p); \
	result_; })

/* ---- RSDP ---- */

static void rsdp_make(u8 revision, u32 rsdt, u64 xsdt)
{
	memset(t, 0, sizeof(t));
	memcpy(t, "RSD PTR ", 8);
	t[15] = revision;
	put(16, rsdt, 4);
	if (revision >= 2) {
		put(20, 36, 4);
		put(24, xsdt, 8);
	}
	sum(t, 20, 8);
	if (revision >= 2)
		sum(t, 36, 32);
}

static void rsdp(void **state)
{
	hpa_t sdt;
	bool x;

	(void)state;
	rsdp_make(0, 0x1234000, 0);
	assert_int_equal(WITH_EXACT(20, acpi_check_rsdp(p, len, &sdt, &x)), 0);
	assert_int_equal(sdt.v, 0x1234000);
	assert_false(x);
	rsdp_make(2, 0x1234000, 0x123456789000);
	assert_int_equal(WITH_EXACT(36, acpi_check_rsdp(p, len, &sdt, &x)), 0);
	assert_int_equal(sdt.v, 0x123456789000);
	assert_true(x);
	rsdp_make(2, 0x1234000, 0); /* no XSDT: the RSDT will do */
	assert_int_equal(WITH_EXACT(36, acpi_check_rsdp(p, len, &sdt, &x)), 0);
	assert_false(x);
	rsdp_make(0, 0, 0);
	assert_int_equal(WITH_EXACT(36, acpi_check_rsdp(p, len, &sdt, &x)), -EINVAL);
}

static void rsdp_damaged(void **state)
{
	hpa_t sdt;
	bool x;

	(void)state;
	rsdp_make(2, 0x1000, 0x2000);
	for (u32 n = 0; n < 36; n++)
		assert_int_equal(WITH_EXACT(n, acpi_check_rsdp(p, len, &sdt, &x)), n < 20 ? -ENOENT : -EINVAL);
	for (u32 i = 0; i < 36; i++) { /* any one byte changed */
		t[i] ^= 0x41;
		assert_int_equal(WITH_EXACT(36, acpi_check_rsdp(p, len, &sdt, &x)), i < 8 ? -ENOENT : -EINVAL);
		t[i] ^= 0x41;
	}
	static const u32 lengths[] = { 0, 19, 20, 35, 37, 0x80000000, 0xffffffff };
	for (u32 i = 0; i < ARRAY_SIZE(lengths); i++) {
		put(20, lengths[i], 4);
		sum(t, 36, 32);
		assert_int_equal(WITH_EXACT(36, acpi_check_rsdp(p, len, &sdt, &x)), -EINVAL);
	}
}

/* ---- headers ---- */

static void table_header(void **state)
{
	(void)state;
	begin("TEST", 60);
	sum(t, 60, 9);
	assert_true(WITH_EXACT(60, acpi_check_table(p, len, "TEST")));
	assert_true(WITH_EXACT(60, acpi_check_table(p, len, NULL)));
	assert_false(WITH_EXACT(60, acpi_check_table(p, len, "TESS")));
	for (u32 n = 0; n < 60; n++)
		assert_false(WITH_EXACT(n, acpi_check_table(p, len, "TEST")));
	for (u32 i = 0; i < 60; i++) {
		t[i] ^= 1;
		assert_false(WITH_EXACT(60, acpi_check_table(p, len, NULL)));
		t[i] ^= 1;
	}
	static const u32 lengths[] = { 0, 1, 35, 61, 0xffffffff };
	for (u32 i = 0; i < ARRAY_SIZE(lengths); i++) {
		put(4, lengths[i], 4);
		sum(t, 60, 9);
		assert_false(WITH_EXACT(60, acpi_check_table(p, len, NULL)));
	}
}

/* ---- MADT ---- */

static void madt_lapic(u8 id, u32 flags)
{
	u8 e[8] = { 0, 8, 77, id };

	memcpy(e + 4, &flags, 4);
	append(e, 8);
}

static void madt_x2apic(u32 id, u32 flags)
{
	u8 e[16] = { 9, 16 };

	memcpy(e + 4, &id, 4);
	memcpy(e + 8, &flags, 4);
	append(e, 16);
}

static void madt(void **state)
{
	static const u8 ioapic[12] = { 1, 12, 9, 0 }, odd[3] = { 200, 3, 1 }, empty[2] = { 201, 2 };
	struct acpi_cpus c;

	(void)state;
	begin("APIC", 44);
	assert_int_equal(WITH_EXACT(tlen, acpi_parse_madt(p, len, &c)), -ENOENT);
	append(ioapic, 12);
	madt_lapic(4, 1);
	madt_lapic(5, 0);      /* not there */
	append(odd, 3);
	madt_lapic(2, 3);
	madt_lapic(0xff, 1);   /* no processor has the broadcast id */
	append(empty, 2);
	madt_x2apic(2, 1);     /* the same processor again */
	madt_x2apic(300, 1);
	madt_x2apic(301, 2);   /* online capable, but not enabled */
	assert_int_equal(WITH_EXACT(tlen, acpi_parse_madt(p, len, &c)), 0);
	assert_int_equal(c.nr, 3);
	assert_int_equal(c.apic_id[0], 4);
	assert_int_equal(c.apic_id[1], 2);
	assert_int_equal(c.apic_id[2], 300);
	begin("APIC", 44);
	for (u32 i = 0; i < 100; i++)
		madt_lapic((u8)i, 1);
	assert_int_equal(WITH_EXACT(tlen, acpi_parse_madt(p, len, &c)), 0);
	assert_int_equal(c.nr, ARRAY_SIZE(c.apic_id));
}

static void madt_damaged(void **state)
{
	struct acpi_cpus c;

	(void)state;
	begin("APIC", 44);
	madt_lapic(0, 1);
	madt_x2apic(1, 1);
	for (u32 n = 0; n < tlen; n++) {
		int want = n < 44 ? -EINVAL : n == 44 ? -ENOENT : n == 52 ? 0 : -EINVAL;
		assert_int_equal(WITH_EXACT(n, acpi_parse_madt(p, len, &c)), want);
		assert_int_equal(c.nr, n == 52);
	}
	for (u32 bad = 0; bad < 2; bad++) { /* entries that do not advance */
		t[45] = (u8)bad;
		assert_int_equal(WITH_EXACT(tlen, acpi_parse_madt(p, len, &c)), -EINVAL);
	}
	t[45] = 7; /* too short for its type: passed over, and then everything is shifted */
	assert_int_not_equal(WITH_EXACT(tlen, acpi_parse_madt(p, len, &c)), 0);
	t[45] = 255;
	assert_int_equal(WITH_EXACT(tlen, acpi_parse_madt(p, len, &c)), -EINVAL);
}

/* ---- MCFG ---- */

static void mcfg_entry(u64 base, u16 segment, u8 first, u8 last)
{
	u8 e[16] = { 0 };

	memcpy(e, &base, 8);
	memcpy(e + 8, &segment, 2);
	e[10] = first;
	e[11] = last;
	append(e, 16);
}

static void mcfg(void **state)
{
	struct acpi_mcfg m;

	(void)state;
	begin("MCFG", 44);
	assert_int_equal(WITH_EXACT(tlen, acpi_parse_mcfg(p, len, &m)), -ENOENT);
	mcfg_entry(0x1000000, 1, 0, 3);
	assert_int_equal(WITH_EXACT(tlen, acpi_parse_mcfg(p, len, &m)), -ENOENT);
	mcfg_entry(0x1e0000000, 0, 2, 63);
	mcfg_entry(0x2000000, 0, 64, 255);
	assert_int_equal(WITH_EXACT(tlen, acpi_parse_mcfg(p, len, &m)), 0);
	assert_int_equal(m.base.v, 0x1e0000000);
	assert_int_equal(m.segment, 0);
	assert_int_equal(m.bus_first, 2);
	assert_int_equal(m.bus_last, 63);
	for (u32 n = 0; n < 76; n++)
		assert_int_equal(WITH_EXACT(n, acpi_parse_mcfg(p, len, &m)), n < 44 ? -EINVAL : -ENOENT);
	static const struct { u64 base; u8 first, last; } bad[] = { { 0, 0, 255 }, { 0xe0001000, 0, 255 }, { 0xe0000000, 4, 3 } };
	for (u32 i = 0; i < ARRAY_SIZE(bad); i++) {
		begin("MCFG", 44);
		mcfg_entry(bad[i].base, 0, bad[i].first, bad[i].last);
		assert_int_equal(WITH_EXACT(tlen, acpi_parse_mcfg(p, len, &m)), -EINVAL);
	}
}

/* ---- FADT ---- */

static void gas(u32 at, u8 space, u64 address)
{
	t[at] = space;
	t[at + 1] = 32;
	put(at + 4, address, 8);
}

static void fadt_make(u32 len)
{
	begin("FACP", len);
	put(40, 0x7fe0000, 4);   /* DSDT */
	put(48, 0xb2, 4);
	t[52] = 2;
	put(64, 0x604, 4);
	put(76, 0x608, 4);
	t[91] = 4;
	put(112, BIT(8) | BIT(10), 4);
	gas(116, ACPI_SPACE_IO, 0xcf9);
	t[128] = 0xf;
	put(140, 0x123456000, 8);
	gas(172, ACPI_SPACE_IO, 0x1804);
	gas(208, ACPI_SPACE_IO, 0x1808);
}

static void fadt(void **state)
{
	struct acpi_fadt f;

	(void)state;
	fadt_make(276);
	assert_int_equal(WITH_EXACT(tlen, acpi_parse_fadt(p, len, &f)), 0);
	assert_int_equal(f.pm_timer_port, 0x1808);
	assert_true(f.pm_timer_32bit);
	assert_int_equal(f.pm1a_cnt_port, 0x1804);
	assert_int_equal(f.pm1b_cnt_port, 0);
	assert_int_equal(f.smi_cmd_port, 0xb2);
	assert_int_equal(f.acpi_enable, 2);
	assert_true(f.has_reset);
	assert_int_equal(f.reset_space, ACPI_SPACE_IO);
	assert_int_equal(f.reset_addr, 0xcf9);
	assert_int_equal(f.reset_value, 0xf);
	assert_int_equal(f.dsdt.v, 0x123456000);
	/* Extended registers in memory: the old ones are taken. */
	gas(172, ACPI_SPACE_MEMORY, 0xfed00000);
	gas(208, ACPI_SPACE_IO, 0);
	put(140, 0, 8);
	t[91] = 0; /* no PM timer */
	assert_int_equal(WITH_EXACT(tlen, acpi_parse_fadt(p, len, &f)), 0);
	assert_int_equal(f.pm1a_cnt_port, 0x604);
	assert_int_equal(f.pm_timer_port, 0);
	assert_int_equal(f.dsdt.v, 0x7fe0000);
	put(76, 0x12340608, 4); /* no port number */
	t[91] = 4;
	assert_int_equal(WITH_EXACT(tlen, acpi_parse_fadt(p, len, &f)), 0);
	assert_int_equal(f.pm_timer_port, 0);
}

static void fadt_cut(void **state)
{
	struct acpi_fadt f;

	(void)state;
	fadt_make(276);
	for (u32 n = 0; n < 276; n++) {
		assert_int_equal(WITH_EXACT(n, acpi_parse_fadt(p, len, &f)), n < 116 ? -EINVAL : 0);
		assert_int_equal(f.has_reset, n > 128);
		assert_int_equal(f.pm_timer_port, n < 116 ? 0 : n < 220 ? 0x608 : 0x1808);
		assert_int_equal(f.dsdt.v, n < 116 ? 0 : n < 148 ? 0x7fe0000 : 0x123456000);
	}
}

/* ---- \_S5 ---- */

static int s5(const void *aml, u32 n, u8 *a, u8 *b)
{
	begin("DSDT", 36);
	append("\x10\x20\x30\x40", 4);
	append(aml, n);
	append("\0\0\0\0", 4); /* whatever else there is */
	*a = *b = 0x99;
	return WITH_EXACT(tlen, acpi_parse_s5(p, len, a, b));
}

static void sleep_state(void **state)
{
	u8 a, b;

	(void)state;
	assert_int_equal(s5("\x08_S5_\x12\x06\x04\x00\x00\x00\x00", 12, &a, &b), 0);
	assert_int_equal(a, 0);
	assert_int_equal(b, 0);
	assert_int_equal(s5("\x08\\_S5_\x12\x08\x04\x0a\x05\x0a\x07\x00\x00", 15, &a, &b), 0);
	assert_int_equal(a, 5);
	assert_int_equal(b, 7);
	assert_int_equal(s5("\x08_S5_\x12\x45\x01\x04\x01\x0a\x06\x00", 13, &a, &b), 0); /* two-byte length */
	assert_int_equal(a, 1);
	assert_int_equal(b, 6);
	assert_int_equal(s5("\x14_S5_\x12\x06\x04\x0a\x05\x0a\x05\x00", 13, &a, &b), -ENOENT); /* a method */
	assert_int_equal(s5("\x08_S5_\x11\x06\x04\x0a\x05\x0a\x05\x00", 13, &a, &b), -ENOENT); /* no package */
	assert_int_equal(s5("\x08_S5_\x12\x06\x04\x0b\x05\x0a\x05\x00", 13, &a, &b), -ENOENT); /* no small integer */
	/* A reference first, the definition later. */
	assert_int_equal(s5("\x5c_S5_\x08_S5_\x12\x06\x04\x0a\x03\x0a\x04\x00", 18, &a, &b), 0);
	assert_int_equal(a, 3);
	assert_int_equal(b, 4);
	for (u32 n = 0; n < tlen; n++)
		(void)WITH_EXACT(n, acpi_parse_s5(p, len, &a, &b));
}

/* ---- anything at all ---- */

static void random_bytes(void **state)
{
	static const char *const signatures[] = { "APIC", "MCFG", "FACP", "DSDT", "RSD PTR " };

	(void)state;
	srand(7);
	for (u32 i = 0; i < 100000; i++) {
		u32 n = (u32)rand() % 300;
		u8 *p = malloc(n ? n : 1), a, b;
		struct acpi_cpus cpus;
		struct acpi_mcfg m;
		struct acpi_fadt f;
		hpa_t sdt;
		bool x;

		for (u32 j = 0; j < n; j++)
			p[j] = (u8)(rand() % 4 ? rand() % 20 : rand());
		memcpy(p, signatures[i % 5], MIN(n, (u32)strlen(signatures[i % 5])));
		if (n > 60 && rand() % 2)
			memcpy(p + 36 + (u32)rand() % (n - 50), "\x08_S5_\x12", 6);
		(void)acpi_check_rsdp(p, n, &sdt, &x);
		(void)acpi_check_table(p, n, NULL);
		if (!acpi_parse_madt(p, n, &cpus))
			assert_in_range(cpus.nr, 1, ARRAY_SIZE(cpus.apic_id));
		if (!acpi_parse_mcfg(p, n, &m))
			assert_true(m.base.v && m.bus_first <= m.bus_last && !m.segment);
		(void)acpi_parse_fadt(p, n, &f);
		(void)acpi_parse_s5(p, n, &a, &b);
		free(p);
	}
}

/* ---- core/acpi.c over a small physical memory ---- */

#define PHYS_SIZE 0x200000
static u8 phys[PHYS_SIZE];
static void *mapped[256];
static u32 nr_mapped;

const void *firmware_map(hpa_t a, u64 len)
{
	if (a.v >= PHYS_SIZE || len > PHYS_SIZE - a.v)
		return NULL;
	assert_true(nr_mapped < ARRAY_SIZE(mapped));
	return mapped[nr_mapped++] = exact(phys + a.v, (u32)len);
}

static int finding_setup(void **state)
{
	(void)state;
	memset(phys, 0, sizeof(phys));
	log_reset();
	return 0;
}

static int finding_teardown(void **state)
{
	(void)state;
	while (nr_mapped)
		free(mapped[--nr_mapped]);
	return 0;
}

static void place(u64 at, bool good)
{
	sum(t, tlen, 9);
	t[tlen - 1] ^= !good;
	memcpy(phys + at, t, tlen);
}

/* RSDP at 0x1000, XSDT at 0x2000 with the given tables, FADT at 0x3000, DSDT at 0x4000, MADT at 0x5000. */
static void machine(const u64 *tables, u32 nr)
{
	rsdp_make(2, 0, 0x2000);
	memcpy(phys + 0x1000, t, 36);
	fadt_make(276);
	put(140, 0x4000, 8);
	place(0x3000, true);
	begin("DSDT", 40);
	place(0x4000, true);
	begin("APIC", 44);
	madt_lapic(3, 1);
	place(0x5000, true);
	begin("XSDT", 36);
	append(tables, 8 * nr);
	place(0x2000, true);
}

static void finds_tables(void **state)
{
	static const u64 tables[] = { 0x3000, 0x5000 };
	struct acpi_cpus c;

	(void)state;
	machine(tables, 2);
	assert_int_equal(acpi_init(HPA(0x1000)), 0);
	assert_int_equal(log_count, 0);
	const struct acpi_header *h = acpi_find("APIC");
	assert_non_null(h);
	assert_int_equal(acpi_parse_madt(h, h->length, &c), 0);
	assert_int_equal(c.apic_id[0], 3);
	assert_non_null(acpi_find("FACP"));
	assert_non_null(acpi_find("DSDT"));
	assert_null(acpi_find("MCFG"));
}

static void leaves_bad_tables_out(void **state)
{
	/* Nowhere, beyond memory, length 0, bad checksum, across the end, itself, good. */
	static const u64 tables[] = { 0, 0xfffffffffffff000, 0x9000, 0xa000, PHYS_SIZE - 40, 0x2000, 0x3000, 0x5000 };

	(void)state;
	machine(tables, 8);
	begin("BAD1", 50);
	place(0xa000, false);
	begin("BAD2", 60);
	memcpy(phys + PHYS_SIZE - 40, t, 40);
	assert_int_equal(acpi_init(HPA(0x1000)), 0);
	assert_int_equal(log_count, 5);
	assert_non_null(acpi_find("APIC"));
	assert_null(acpi_find("BAD1"));
	assert_null(acpi_find("BAD2"));
	assert_true(log_has("9000 left out: its length is senseless"));
	assert_true(log_has("a000 left out: bad checksum"));
}

static void corrupt_dsdt_is_absent(void **state)
{
	static const u64 tables[] = { 0x3000 };

	(void)state;
	machine(tables, 1);
	phys[0x4000 + 38] ^= 1;
	assert_int_equal(acpi_init(HPA(0x1000)), 0);
	assert_non_null(acpi_find("FACP"));
	assert_null(acpi_find("DSDT"));
	assert_int_equal(log_count, 1);
}

static void no_way_in(void **state)
{
	static const u64 tables[] = { 0x5000 };

	(void)state;
	machine(tables, 1);
	assert_int_equal(acpi_init(HPA(0x6000)), -ENOENT);
	assert_int_equal(acpi_init(HPA(PHYS_SIZE - 10)), -ENOENT);
	assert_null(acpi_find("APIC"));
	phys[0x1000 + 24] ^= 4;
	assert_int_equal(acpi_init(HPA(0x1000)), -EINVAL);
	phys[0x1000 + 24] ^= 4;
	phys[0x2000] = 'Y'; /* the XSDT is none */
	sum(phys + 0x2000, 44, 9);
	assert_int_equal(acpi_init(HPA(0x1000)), -EINVAL);
	assert_null(acpi_find("APIC"));
}

static void searches_bios_area(void **state)
{
	static const u64 tables[] = { 0x5000 };

	(void)state;
	assert_int_equal(acpi_init(HPA(0)), -ENOENT);
	machine(tables, 1);
	rsdp_make(0, 0x7000, 0);
	memcpy(phys + 0xf1238, t, 20); /* not on a 16-byte boundary */
	assert_int_equal(acpi_init(HPA(0)), -ENOENT);
	memcpy(phys + 0xf1240, t, 20);
	begin("RSDT", 36);
	append("\0\x50\0\0", 4);
	append("\1\2", 2); /* half an entry */
	place(0x7000, true);
	assert_int_equal(acpi_init(HPA(0)), 0);
	assert_non_null(acpi_find("APIC"));
	/* The extended BIOS data area comes first. */
	phys[0x40e] = 0x80;
	phys[0x40f] = 0x9f;
	rsdp_make(2, 0, 0x2000);
	memcpy(phys + 0x9f800 + 1024 - 48, t, 36);
	begin("XSDT", 36);
	place(0x2000, true);
	assert_int_equal(acpi_init(HPA(0)), 0);
	assert_null(acpi_find("APIC"));
}

static void more_tables_than_room(void **state)
{
	u64 tables[100];

	(void)state;
	for (u32 i = 0; i < 100; i++)
		tables[i] = 0x5000;
	machine(tables, 100);
	assert_int_equal(acpi_init(HPA(0x1000)), 0);
	assert_non_null(acpi_find("APIC"));
	assert_int_equal(log_count, 2); /* said, and said that it will not be said again */
}

int main(void)
{
#define FINDING(fn) cmocka_unit_test_setup_teardown(fn, finding_setup, finding_teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rsdp),
		cmocka_unit_test(rsdp_damaged),
		cmocka_unit_test(table_header),
		cmocka_unit_test(madt),
		cmocka_unit_test(madt_damaged),
		cmocka_unit_test(mcfg),
		cmocka_unit_test(fadt),
		cmocka_unit_test(fadt_cut),
		cmocka_unit_test(sleep_state),
		cmocka_unit_test(random_bytes),
		FINDING(finds_tables),
		FINDING(leaves_bad_tables_out),
		FINDING(corrupt_dsdt_is_absent),
		FINDING(no_way_in),
		FINDING(searches_bios_area),
		FINDING(more_tables_than_room),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
