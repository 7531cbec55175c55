/*
 * ACPI tables, as far as a hypervisor needs them. Nothing is believed before its length and checksum were checked
 * (ACPI 6.5, System Description Table Header); a bad table is reported and treated as absent.
 */
#ifndef CORE_ACPI_H
#define CORE_ACPI_H

#include "core/bootinfo.h"
#include "core/types.h"

struct acpi_header {
	char signature[4];
	u32 length;
	u8 revision, checksum;
	char oem_id[6], oem_table_id[8];
	u32 oem_revision, creator_id, creator_revision;
} __packed;
_Static_assert(sizeof(struct acpi_header) == 36, "ACPI table header");

/* Find and check RSDP, then XSDT or RSDT. 0, -ENOENT (no RSDP), -EINVAL (corrupt; the log says what). */
int acpi_init(hpa_t rsdp);
/*
 * The checked table with this signature (the FADT is "FACP"), mapped; NULL if absent or corrupt (logged once). Length
 * inside the header. "DSDT" is found through the FADT.
 */
const struct acpi_header *acpi_find(const char *signature);

/* ---- MADT (ACPI, Multiple APIC Description Table) ---- */
struct acpi_cpus { u32 nr; u32 apic_id[64]; };
/* Enabled processors in table order. 0, -ENOENT, -EINVAL. Pure: may be given any bytes of `len`. */
int acpi_parse_madt(const void *table, u32 len, struct acpi_cpus *out);
struct acpi_ioapics { u32 nr; struct { u8 id; u32 first; hpa_t base; } io[8]; }; /* first: interrupt of its pin 0 */
/* The I/O APICs in table order. 0, -ENOENT, -EINVAL. Pure. */
int acpi_parse_ioapics(const void *table, u32 len, struct acpi_ioapics *out);
struct acpi_isa_irq { u32 gsi; bool low, level; };
/* Where an ISA interrupt arrives: as the table overrides it, else at the interrupt of the same number, high, edge. 0, -EINVAL. Pure. */
int acpi_parse_isa_irq(const void *table, u32 len, u8 irq, struct acpi_isa_irq *out);

/* ---- MCFG (PCI Firmware Specification, MCFG Table Description) ---- */
struct acpi_mcfg { hpa_t base; u16 segment; u8 bus_first, bus_last; };
/* The first allocation of segment 0. 0, -ENOENT, -EINVAL. */
int acpi_parse_mcfg(const void *table, u32 len, struct acpi_mcfg *out);

/* ---- FADT: PM timer, reset register, what power-off needs (ACPI, Fixed ACPI Description Table); port 0 = none ---- */
enum { ACPI_SPACE_MEMORY = 0, ACPI_SPACE_IO = 1, ACPI_SPACE_PCI = 2 };
struct acpi_fadt {
	u16 pm_timer_port;
	bool pm_timer_32bit;
	bool has_reset;
	u8 reset_space, reset_value;
	u64 reset_addr;
	u16 pm1a_cnt_port, pm1b_cnt_port;
	u16 smi_cmd_port;    /* 0 = the machine is in ACPI mode already */
	u8 acpi_enable;      /* value for smi_cmd_port */
	hpa_t dsdt;          /* 0 = none */
};
/* 0, -EINVAL. */
int acpi_parse_fadt(const void *table, u32 len, struct acpi_fadt *out);
/* The two SLP_TYP values of \_S5 in a DSDT's AML. 0, -ENOENT. Pure. */
int acpi_parse_s5(const void *table, u32 len, u8 *typ_a, u8 *typ_b);

/* ---- checks (pure) ---- */
/* RSDP in the first `avail` bytes at p. 0 and the table to go on with, -ENOENT (no signature), -EINVAL (length, checksum). */
int acpi_check_rsdp(const void *p, u32 avail, hpa_t *sdt, bool *is_xsdt);
/* True if the table's length fits in `avail` and its bytes sum to 0; signature NULL = any. */
bool acpi_check_table(const void *p, u32 avail, const char *signature);

#endif
