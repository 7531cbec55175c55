/*
 * Finding ACPI tables: from the RSDP to a list of tables that were checked and stay mapped.
 *
 * Invariant: tables[] holds only tables whose length and checksum are right. What is wrong is said once and left out.
 */
#include <string.h>

#include "core/acpi.h"
#include "core/console.h"
#include "core/errno.h"
#include "core/mem.h"

#define MAX_TABLES 64
#define MAX_TABLE_LEN (4u << 20)
#define RSDP_SIZE 36
#define BIOS_START 0xe0000
#define BIOS_END 0x100000
#define EBDA_SEGMENT 0x40e
#define EBDA_SEARCH 1024

static const struct acpi_header *tables[MAX_TABLES];
static u32 nr_tables;

/* Nobody vouches for the name of a bad table: its printable characters. NULL. */
static const struct acpi_header *left_out(hpa_t a, const struct acpi_header *h, const char *why)
{
	char name[] = "????";

	for (u32 i = 0; i < sizeof(h->signature); i++)
		if (h->signature[i] > ' ' && h->signature[i] <= '~')
			name[i] = h->signature[i];
	log_line("acpi: table %s at %lx left out: %s", name, a.v, why);
	return NULL;
}

/* Map and check one table; NULL if it is bad. signature NULL: any. */
static const struct acpi_header *table_open(hpa_t a, const char *signature)
{
	const struct acpi_header *h = a.v ? firmware_map(a, sizeof(*h)) : NULL;

	if (!h) {
		log_line("acpi: no table can be at %lx", a.v);
		return NULL;
	}
	u32 len = h->length;
	const struct acpi_header *all = len >= sizeof(*h) && len <= MAX_TABLE_LEN ? firmware_map(a, len) : NULL;
	if (!all)
		return left_out(a, h, "its length is senseless");
	if (signature && memcmp(all->signature, signature, sizeof(all->signature)))
		return left_out(a, all, "it is not the table that should be there");
	return acpi_check_table(all, len, signature) ? all : left_out(a, all, "bad checksum");
}

static void table_add(const struct acpi_header *h)
{
	if (!h)
		return;
	if (nr_tables == MAX_TABLES)
		log_limited(1, "acpi: more than %d tables: the rest is left out", MAX_TABLES);
	else
		tables[nr_tables++] = h;
}

/* ACPI, Finding the RSDP on IA-PC Systems: on a 16-byte boundary. */
static hpa_t rsdp_search(u64 start, u64 len)
{
	const u8 *p = firmware_map(HPA(start), len);
	hpa_t sdt;
	bool is_xsdt;

	for (u64 i = 0; p && i + RSDP_SIZE <= len; i += 16)
		if (!acpi_check_rsdp(p + i, RSDP_SIZE, &sdt, &is_xsdt))
			return HPA(start + i);
	return HPA(0);
}

static hpa_t rsdp_find(void)
{
	const u8 *segment = firmware_map(HPA(EBDA_SEGMENT), 2);
	u64 ebda = segment ? (u64)(segment[0] | segment[1] << 8) << 4 : 0;
	hpa_t found = HPA(0);

	if (ebda >= 0x80000 && ebda < 0xa0000)
		found = rsdp_search(ebda, EBDA_SEARCH);
	return found.v ? found : rsdp_search(BIOS_START, BIOS_END - BIOS_START);
}

/* Entries are physical addresses of 8 (XSDT) or 4 bytes (RSDT), not aligned. */
static void sdt_read(const struct acpi_header *sdt, u32 size)
{
	const u8 *entry = (const u8 *)(sdt + 1), *end = (const u8 *)sdt + sdt->length;

	for (; (size_t)(end - entry) >= size; entry += size) {
		u64 a = 0;

		memcpy(&a, entry, size);
		table_add(table_open(HPA(a), NULL));
	}
}

static void dsdt_read(void)
{
	const struct acpi_header *h = acpi_find("FACP");
	struct acpi_fadt fadt;

	if (h && !acpi_parse_fadt(h, h->length, &fadt) && fadt.dsdt.v)
		table_add(table_open(fadt.dsdt, "DSDT"));
}

int acpi_init(hpa_t rsdp)
{
	hpa_t at = rsdp.v ? rsdp : rsdp_find(), sdt;
	const void *p = at.v ? firmware_map(at, RSDP_SIZE) : NULL;
	bool is_xsdt;

	nr_tables = 0;
	if (!p) {
		log_line("acpi: no RSDP found: no tables");
		return -ENOENT;
	}
	int err = acpi_check_rsdp(p, RSDP_SIZE, &sdt, &is_xsdt);
	if (err) {
		log_line("acpi: the RSDP at %lx is %s: no tables", at.v, err == -ENOENT ? "none" : "corrupt");
		return err;
	}
	const struct acpi_header *h = table_open(sdt, is_xsdt ? "XSDT" : "RSDT");
	if (!h)
		return -EINVAL;
	sdt_read(h, is_xsdt ? 8 : 4);
	dsdt_read();
	return 0;
}

const struct acpi_header *acpi_find(const char *signature)
{
	for (u32 i = 0; i < nr_tables; i++)
		if (!memcmp(tables[i]->signature, signature, 4))
			return tables[i];
	return NULL;
}
