/*
 * The guest's ACPI tables (ACPI 6.5, ACPI System Description Tables): RSDP, RSDT, XSDT, FACS, FADT, MADT, MCFG, DSDT in one
 * page of the BIOS area. What they describe is vmisc.c, vioapic.c, vpci.c and the local APICs.
 *
 * Invariant: every table lies at a fixed offset, ends before the next begins (asserted), and is summed last.
 */
#include "core/vacpi.h"

#include <string.h>

#include "core/acpi.h"
#include "core/errno.h"
#include "core/vioapic.h"
#include "core/vmisc.h"
#include "core/vpci.h"

/* Offsets in the page. The RSDP must be 16-byte, the FACS 64-byte aligned. */
#define AT_RSDP 0x000
#define AT_RSDT 0x040
#define AT_XSDT 0x080
#define AT_FACS 0x0c0
#define AT_FADT 0x100
#define AT_MADT 0x280
#define AT_MCFG 0x380
#define AT_DSDT 0x400

#define NR_LISTED 3 /* FADT, MADT, MCFG */
#define FADT_LEN 276u
#define FACS_LEN 64u
#define MCFG_LEN 60u
#define HEADER_LEN sizeof(struct acpi_header)

/* ---- writing fields ---- */

static void put16(u8 *p, u64 v) { memcpy(p, &(u16){ (u16)v }, 2); }
static void put32(u8 *p, u64 v) { memcpy(p, &(u32){ (u32)v }, 4); }
static void put64(u8 *p, u64 v) { memcpy(p, &v, 8); }

static u8 sum(const u8 *p, u32 len)
{
	u8 s = 0;
	while (len--)
		s = (u8)(s + *p++);
	return (u8)-s; /* what makes the total zero */
}

/* Header of a finished table (ACPI, System Description Table Header), and its checksum. */
static void seal(u8 *table, const char *signature, u32 len, u8 revision)
{
	struct acpi_header h = { .length = len, .revision = revision, .oem_revision = 1, .creator_revision = 1 };

	memcpy(h.signature, signature, 4);
	memcpy(h.oem_id, "NESTLG", 6);
	memcpy(h.oem_table_id, "NESTLING", 8);
	memcpy(&h.creator_id, "NEST", 4);
	memcpy(table, &h, sizeof(h));
	table[offsetof(struct acpi_header, checksum)] = sum(table, len);
}

/* ---- RSDP, RSDT, XSDT ---- */

static void make_roots(u8 *page)
{
	static const u16 listed[NR_LISTED] = { AT_FADT, AT_MADT, AT_MCFG };
	u8 *r = page + AT_RSDP;

	for (u32 i = 0; i < NR_LISTED; i++) {
		put32(page + AT_RSDT + HEADER_LEN + i * 4, VACPI_BASE + listed[i]);
		put64(page + AT_XSDT + HEADER_LEN + i * 8, VACPI_BASE + listed[i]);
	}
	seal(page + AT_RSDT, "RSDT", HEADER_LEN + NR_LISTED * 4, 1);
	seal(page + AT_XSDT, "XSDT", HEADER_LEN + NR_LISTED * 8, 1);
	memcpy(r, "RSD PTR ", 8);
	memcpy(r + 9, "NESTLG", 6);
	r[15] = 2; /* revision: the extended fields are there */
	put32(r + 16, VACPI_BASE + AT_RSDT);
	put32(r + 20, VACPI_RSDP_LEN);
	put64(r + 24, VACPI_BASE + AT_XSDT);
	r[8] = sum(r, VACPI_RSDP_V1_LEN);
	r[32] = sum(r, VACPI_RSDP_LEN);
}

/* ---- FACS, FADT ---- */

#define FADT_WBINVD BIT(0)
#define FADT_PROC_C1 BIT(2)
#define FADT_NO_POWER_BUTTON BIT(4)
#define FADT_NO_SLEEP_BUTTON BIT(5)
#define FADT_NO_FIXED_RTC BIT(6)
#define FADT_TIMER_32BIT BIT(8)
#define FADT_RESET BIT(10)
#define BOOT_LEGACY_DEVICES BIT(0) /* COM1 */
#define BOOT_NO_VGA BIT(2)
#define BOOT_NO_RTC BIT(5)

/* A Generic Address Structure for an I/O port (ACPI, Generic Address Structure). */
static void put_port(u8 *p, u64 port, u8 bytes)
{
	p[0] = ACPI_SPACE_IO;
	p[1] = (u8)(bytes * 8);
	p[3] = bytes == 1 ? 1 : bytes == 2 ? 2 : 3;
	put64(p + 4, port);
}

static void make_facs(u8 *f)
{
	memcpy(f, "FACS", 4);
	put32(f + 4, FACS_LEN);
	f[32] = 2; /* version; the FACS has no checksum */
}

/* Numbers: offsets of the table in ACPI 6.5, Fixed ACPI Description Table (FADT). */
static void make_fadt(u8 *t)
{
	put32(t + 36, VACPI_BASE + AT_FACS);
	put32(t + 40, VACPI_BASE + AT_DSDT);
	put16(t + 46, VMISC_SCI);
	put32(t + 56, VMISC_PM1_EVENT);
	put32(t + 64, VMISC_PM1_CONTROL);
	put32(t + 76, VMISC_PM_TIMER);
	t[88] = 4;           /* PM1 event block, control block, timer: lengths */
	t[89] = 2;
	t[91] = 4;
	put16(t + 96, 101);  /* C2, C3: latencies that say "not supported" */
	put16(t + 98, 1001);
	put16(t + 109, BOOT_LEGACY_DEVICES | BOOT_NO_VGA | BOOT_NO_RTC);
	put32(t + 112, FADT_WBINVD | FADT_PROC_C1 | FADT_NO_POWER_BUTTON | FADT_NO_SLEEP_BUTTON | FADT_NO_FIXED_RTC |
		       FADT_TIMER_32BIT | FADT_RESET);
	put_port(t + 116, VMISC_RESET_PORT, 1);
	t[128] = VMISC_RESET_VALUE;
	t[131] = 5;          /* minor version: 6.5 */
	put64(t + 140, VACPI_BASE + AT_DSDT);
	put_port(t + 148, VMISC_PM1_EVENT, 4);
	put_port(t + 172, VMISC_PM1_CONTROL, 2);
	put_port(t + 208, VMISC_PM_TIMER, 4);
	memcpy(t + 268, "Nestling", 8);
	seal(t, "FACP", FADT_LEN, 6);
}

/* ---- MADT, MCFG ---- */

#define LOCAL_APIC_BASE 0xfee00000u
#define MADT_PCAT_COMPAT 1
#define MADT_FIXED (HEADER_LEN + 8)
#define MADT_CPU_LEN 8u
#define MADT_IOAPIC_LEN 12u
#define MADT_OVERRIDE_LEN 10u
#define MADT_SCI_FLAGS 0xd /* active high, level */
#define MADT_MAX_LEN (MADT_FIXED + CFG_MAX_CPUS * MADT_CPU_LEN + MADT_IOAPIC_LEN + MADT_OVERRIDE_LEN)

/*
 * All APIC ids are small, so plain Local APIC entries do for xAPIC and x2APIC mode alike (ACPI, Processor Local x2APIC
 * Structure: only for ids of 255 and above).
 */
static void make_madt(u8 *t, u32 nr_cpus)
{
	u8 *p = t + MADT_FIXED;

	put32(t + 36, LOCAL_APIC_BASE);
	put32(t + 40, MADT_PCAT_COMPAT);
	for (u32 i = 0; i < nr_cpus; i++, p += MADT_CPU_LEN)
		memcpy(p, (u8[]){ 0, MADT_CPU_LEN, (u8)i, (u8)i, 1, 0, 0, 0 }, MADT_CPU_LEN); /* uid, APIC id, enabled */
	p[0] = 1;
	p[1] = MADT_IOAPIC_LEN;
	put32(p + 4, VIOAPIC_BASE); /* id 0, first interrupt 0 */
	p += MADT_IOAPIC_LEN;
	memcpy(p, (u8[]){ 2, MADT_OVERRIDE_LEN, 0, VMISC_SCI, VMISC_SCI, 0, 0, 0, MADT_SCI_FLAGS, 0 }, MADT_OVERRIDE_LEN);
	p += MADT_OVERRIDE_LEN;
	seal(t, "APIC", (u32)(p - t), 5);
}

static void make_mcfg(u8 *t)
{
	put64(t + 44, VPCI_ECAM_BASE); /* segment 0, buses 0 to 255 */
	t[55] = 255;
	seal(t, "MCFG", MCFG_LEN, 1);
}

/*
 * ---- DSDT: AML, assembled by hand (ACPI, ACPI Machine Language Specification) ----
 *   Name (\_S5, Package () { 5, 5, 0, 0 })
 *   Scope (\_SB) { Device (PCI0) { _HID PNP0A08, _CID PNP0A03, _UID 0, _BBN 0, _CRS: buses 0-255, ports CF8-CFF,
 *                  0-CF7, D00-FFFF, memory C0000000-DFFFFFFF } }
 * Two-byte package lengths: 40h | low nibble, then the rest shifted right by 4.
 */
static const u8 aml[] = {
	0x08, '\\', '_', 'S', '5', '_', 0x12, 0x08, 0x04, 0x0a, VMISC_SLP_TYP_S5, 0x0a, VMISC_SLP_TYP_S5, 0x00, 0x00,
	0x10, 0x4d, 0x08, '\\', '_', 'S', 'B', '_',                           /* Scope, 141 bytes */
	0x5b, 0x82, 0x44, 0x08, 'P', 'C', 'I', '0',                           /* Device, 132 bytes */
	0x08, '_', 'H', 'I', 'D', 0x0c, 0x41, 0xd0, 0x0a, 0x08,               /* PNP0A08 as EISA id */
	0x08, '_', 'C', 'I', 'D', 0x0c, 0x41, 0xd0, 0x0a, 0x03,
	0x08, '_', 'U', 'I', 'D', 0x00,
	0x08, '_', 'B', 'B', 'N', 0x00,
	0x08, '_', 'C', 'R', 'S', 0x11, 0x48, 0x05, 0x0a, 0x54,               /* Buffer of 84 bytes */
	0x88, 0x0d, 0x00, 0x02, 0x0c, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0x00, 0x00, 0x00, 0x00, 0x01, /* buses */
	0x47, 0x01, 0xf8, 0x0c, 0xf8, 0x0c, 0x01, 0x08,                       /* ports CF8-CFF, used by the bridge itself */
	0x88, 0x0d, 0x00, 0x01, 0x0c, 0x03, 0x00, 0x00, 0x00, 0x00, 0xf7, 0x0c, 0x00, 0x00, 0xf8, 0x0c, /* ports 0-CF7 */
	0x88, 0x0d, 0x00, 0x01, 0x0c, 0x03, 0x00, 0x00, 0x00, 0x0d, 0xff, 0xff, 0x00, 0x00, 0x00, 0xf3, /* ports D00-FFFF */
	0x87, 0x17, 0x00, 0x00, 0x0c, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xc0, 0xff, 0xff, 0xff, 0xdf,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x20,                       /* memory C0000000-DFFFFFFF */
	0x79, 0x00,
};
_Static_assert(sizeof(aml) == 15 + 142, "the package lengths add up");
_Static_assert(VPCI_WINDOW_BASE == 0xc0000000 && VPCI_ECAM_BASE == 0xe0000000, "the window that the DSDT names");

static void make_dsdt(u8 *t)
{
	memcpy(t + HEADER_LEN, aml, sizeof(aml));
	seal(t, "DSDT", HEADER_LEN + sizeof(aml), 2);
}

_Static_assert(AT_RSDT + HEADER_LEN + NR_LISTED * 4 <= AT_XSDT && AT_XSDT + HEADER_LEN + NR_LISTED * 8 <= AT_FACS &&
	       AT_FACS + FACS_LEN <= AT_FADT && AT_FADT + FADT_LEN <= AT_MADT && AT_MADT + MADT_MAX_LEN <= AT_MCFG &&
	       AT_MCFG + MCFG_LEN <= AT_DSDT && AT_DSDT + HEADER_LEN + sizeof(aml) <= VACPI_LEN, "tables do not overlap");

void vacpi_make(u8 page[VACPI_LEN], u32 nr_cpus)
{
	memset(page, 0, VACPI_LEN);
	make_roots(page);
	make_facs(page + AT_FACS);
	make_fadt(page + AT_FADT);
	make_madt(page + AT_MADT, nr_cpus);
	make_mcfg(page + AT_MCFG);
	make_dsdt(page + AT_DSDT);
}

int vacpi_create(struct vm *vm)
{
	u8 *page = page_alloc(&vm->owner);
	if (!page)
		return -ENOMEM;
	vacpi_make(page, vm->cfg->nr_cpus);
	int err = vm_write(vm, GPA(VACPI_BASE), page, VACPI_LEN);
	page_free(&vm->owner, page);
	return err;
}
