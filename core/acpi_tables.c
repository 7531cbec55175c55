/*
 * Reading ACPI tables: pure functions over bytes that nobody vouches for.
 *
 * Invariant: nothing beyond [table, table + len) is read, and no loop runs longer than len, whatever the bytes say.
 */
#include <string.h>

#include "core/acpi.h"
#include "core/errno.h"

#define RSDP_V1_SIZE 20
#define RSDP_V2_SIZE 36

/* Little-endian field of a table; 0 where the table is too short for it. */
static u64 field(const void *table, u32 len, u32 offset, u32 size)
{
	u64 v = 0;

	if (offset <= len && size <= len - offset)
		memcpy(&v, (const u8 *)table + offset, size);
	return v;
}

static bool sums_to_zero(const void *p, u32 len)
{
	u8 sum = 0;

	for (u32 i = 0; i < len; i++)
		sum = (u8)(sum + ((const u8 *)p)[i]);
	return sum == 0;
}

/* ACPI, Root System Description Pointer (RSDP) Structure. */
int acpi_check_rsdp(const void *p, u32 avail, hpa_t *sdt, bool *is_xsdt)
{
	if (avail < RSDP_V1_SIZE || memcmp(p, "RSD PTR ", 8))
		return -ENOENT;
	if (!sums_to_zero(p, RSDP_V1_SIZE))
		return -EINVAL;
	*is_xsdt = false;
	*sdt = HPA(field(p, avail, 16, 4));
	if (field(p, avail, 15, 1) >= 2) { /* revision */
		u64 len = field(p, avail, 20, 4);

		if (len < RSDP_V2_SIZE || len > avail || !sums_to_zero(p, (u32)len))
			return -EINVAL;
		if (field(p, avail, 24, 8)) {
			*is_xsdt = true;
			*sdt = HPA(field(p, avail, 24, 8));
		}
	}
	return sdt->v ? 0 : -EINVAL;
}

bool acpi_check_table(const void *p, u32 avail, const char *signature)
{
	u64 len = field(p, avail, 4, 4);

	if (avail < sizeof(struct acpi_header) || len < sizeof(struct acpi_header) || len > avail)
		return false;
	return (!signature || !memcmp(p, signature, 4)) && sums_to_zero(p, (u32)len);
}

/* ---- MADT ---- */

#define MADT_ENTRIES 44
#define MADT_LAPIC 0
#define MADT_IOAPIC 1
#define MADT_OVERRIDE 2
#define MADT_X2APIC 9
#define MADT_ENABLED 1
#define XAPIC_BROADCAST 0xff
#define X2APIC_BROADCAST 0xffffffffu
/* MPS INTI flags of an override; 0: as the bus has it, which for ISA is active high, edge */
#define MADT_POLARITY BITS(1, 0)
#define MADT_POLARITY_LOW 3
#define MADT_TRIGGER BITS(3, 2)
#define MADT_TRIGGER_LEVEL 3

/* Call fn for each entry, which lies wholly inside the table. -EINVAL if the entries do not. */
static int madt_walk(const void *table, u32 len, void (*fn)(const u8 *e, u32 len, void *out), void *out)
{
	const u8 *t = table;

	if (len < MADT_ENTRIES)
		return -EINVAL;
	for (u32 at = MADT_ENTRIES; at < len;) {
		u32 n = len - at >= 2 ? t[at + 1] : 0;

		if (n < 2 || n > len - at)
			return -EINVAL;
		fn(t + at, n, out);
		at += n;
	}
	return 0;
}

static void cpu_add(struct acpi_cpus *out, u32 id)
{
	for (u32 i = 0; i < out->nr; i++)
		if (out->apic_id[i] == id)
			return;
	if (out->nr < ARRAY_SIZE(out->apic_id))
		out->apic_id[out->nr++] = id;
}

static void madt_cpu(const u8 *e, u32 len, void *out)
{
	if (e[0] == MADT_LAPIC && len >= 8 && (field(e, len, 4, 4) & MADT_ENABLED) && e[3] != XAPIC_BROADCAST)
		cpu_add(out, e[3]);
	if (e[0] == MADT_X2APIC && len >= 16 && (field(e, len, 8, 4) & MADT_ENABLED) &&
	    field(e, len, 4, 4) != X2APIC_BROADCAST)
		cpu_add(out, (u32)field(e, len, 4, 4));
}

int acpi_parse_madt(const void *table, u32 len, struct acpi_cpus *out)
{
	out->nr = 0;
	int err = madt_walk(table, len, madt_cpu, out);
	if (err)
		out->nr = 0;
	return err ? err : out->nr ? 0 : -ENOENT;
}

static void madt_ioapic(const u8 *e, u32 len, void *out)
{
	struct acpi_ioapics *o = out;

	if (e[0] != MADT_IOAPIC || len < 12 || o->nr == ARRAY_SIZE(o->io))
		return;
	o->io[o->nr].id = e[2];
	o->io[o->nr].base = HPA(field(e, len, 4, 4));
	o->io[o->nr++].first = (u32)field(e, len, 8, 4);
}

int acpi_parse_ioapics(const void *table, u32 len, struct acpi_ioapics *out)
{
	out->nr = 0;
	int err = madt_walk(table, len, madt_ioapic, out);
	return err ? err : out->nr ? 0 : -ENOENT;
}

struct isa_search {
	u8 irq;
	struct acpi_isa_irq *out;
};

static void madt_override(const u8 *e, u32 len, void *arg)
{
	struct isa_search *s = arg;

	if (e[0] != MADT_OVERRIDE || len < 10 || e[2] != 0 || e[3] != s->irq)
		return;
	u64 flags = field(e, len, 8, 2);
	*s->out = (struct acpi_isa_irq){ .gsi = (u32)field(e, len, 4, 4), .low = FIELD_GET(MADT_POLARITY, flags) == MADT_POLARITY_LOW,
					 .level = FIELD_GET(MADT_TRIGGER, flags) == MADT_TRIGGER_LEVEL };
}

int acpi_parse_isa_irq(const void *table, u32 len, u8 irq, struct acpi_isa_irq *out)
{
	struct isa_search s = { irq, out };

	*out = (struct acpi_isa_irq){ .gsi = irq };
	return madt_walk(table, len, madt_override, &s);
}

/* ---- MCFG ---- */

#define MCFG_ENTRIES 44
#define MCFG_ENTRY_SIZE 16

int acpi_parse_mcfg(const void *table, u32 len, struct acpi_mcfg *out)
{
	if (len < MCFG_ENTRIES)
		return -EINVAL;
	for (u32 at = MCFG_ENTRIES; len - at >= MCFG_ENTRY_SIZE; at += MCFG_ENTRY_SIZE) {
		*out = (struct acpi_mcfg){
			.base = HPA(field(table, len, at, 8)),
			.segment = (u16)field(table, len, at + 8, 2),
			.bus_first = (u8)field(table, len, at + 10, 1),
			.bus_last = (u8)field(table, len, at + 11, 1),
		};
		if (out->segment)
			continue;
		/* Each bus takes 1 MiB, so the base is a multiple of that. */
		if (!out->base.v || !IS_ALIGNED(out->base.v, 1u << 20) || out->bus_first > out->bus_last)
			return -EINVAL;
		return 0;
	}
	return -ENOENT;
}

/* ---- FADT ---- */

#define FADT_MIN_LEN 116 /* ACPI 1.0 */
#define FADT_DSDT 40
#define FADT_SMI_CMD 48
#define FADT_ACPI_ENABLE 52
#define FADT_PM1A_CNT 64
#define FADT_PM1B_CNT 68
#define FADT_PM_TMR 76
#define FADT_PM_TMR_LEN 91
#define FADT_FLAGS 112
#define FADT_FLAG_TMR_VAL_EXT BIT(8)
#define FADT_FLAG_RESET_REG BIT(10)
#define FADT_RESET_REG 116
#define FADT_RESET_VALUE 128
#define FADT_X_DSDT 140
#define FADT_X_PM1A_CNT 172
#define FADT_X_PM1B_CNT 184
#define FADT_X_PM_TMR 208
/* Generic Address Structure: space, bit width, bit offset, access size, address. */
#define GAS_ADDRESS 4
#define GAS_SIZE 12

/* The extended field if it names an I/O port, else the old one; 0 if neither is a port number. */
static u16 fadt_port(const void *t, u32 len, u32 old, u32 extended)
{
	u64 port = field(t, len, extended + GAS_ADDRESS, 8);

	if (len < extended + GAS_SIZE || field(t, len, extended, 1) != ACPI_SPACE_IO || !port)
		port = field(t, len, old, 4);
	return port <= 0xffff ? (u16)port : 0;
}

int acpi_parse_fadt(const void *table, u32 len, struct acpi_fadt *out)
{
	u64 flags = field(table, len, FADT_FLAGS, 4);

	*out = (struct acpi_fadt){ .dsdt = HPA(0) };
	if (len < FADT_MIN_LEN)
		return -EINVAL;
	if (field(table, len, FADT_PM_TMR_LEN, 1) == 4)
		out->pm_timer_port = fadt_port(table, len, FADT_PM_TMR, FADT_X_PM_TMR);
	out->pm_timer_32bit = flags & FADT_FLAG_TMR_VAL_EXT;
	out->pm1a_cnt_port = fadt_port(table, len, FADT_PM1A_CNT, FADT_X_PM1A_CNT);
	out->pm1b_cnt_port = fadt_port(table, len, FADT_PM1B_CNT, FADT_X_PM1B_CNT);
	out->smi_cmd_port = (u16)field(table, len, FADT_SMI_CMD, 4);
	out->acpi_enable = (u8)field(table, len, FADT_ACPI_ENABLE, 1);
	out->dsdt = HPA(field(table, len, FADT_X_DSDT, 8));
	if (!out->dsdt.v)
		out->dsdt = HPA(field(table, len, FADT_DSDT, 4));
	if ((flags & FADT_FLAG_RESET_REG) && len > FADT_RESET_VALUE) {
		out->has_reset = true;
		out->reset_space = (u8)field(table, len, FADT_RESET_REG, 1);
		out->reset_addr = field(table, len, FADT_RESET_REG + GAS_ADDRESS, 8);
		out->reset_value = (u8)field(table, len, FADT_RESET_VALUE, 1);
	}
	return 0;
}

/* ---- \_S5 ---- */

#define AML_NAME_OP 0x08
#define AML_PACKAGE_OP 0x12
#define AML_BYTE_PREFIX 0x0a

/* One small integer at *at: ZeroOp, OneOp or BytePrefix. */
static bool aml_integer(const u8 *t, u32 len, u32 *at, u8 *out)
{
	u64 op = field(t, len, *at, 1);

	if (*at >= len || (op > 1 && op != AML_BYTE_PREFIX))
		return false;
	*at += op == AML_BYTE_PREFIX ? 2 : 1;
	if (*at > len)
		return false;
	*out = op == AML_BYTE_PREFIX ? t[*at - 1] : (u8)op;
	return true;
}

/*
 * No AML interpreter: \_S5 is in practice Name(_S5, Package(){a, b, ...}), which a scan finds (ACPI, Package Length
 * Encoding: bits 7:6 of the first byte tell how many more follow).
 */
int acpi_parse_s5(const void *table, u32 len, u8 *typ_a, u8 *typ_b)
{
	const u8 *t = table;

	for (u32 i = sizeof(struct acpi_header) + 2; i < len && len - i >= 8; i++) {
		if (memcmp(t + i, "_S5_", 4) || t[i + 4] != AML_PACKAGE_OP ||
		    (t[i - 1] != AML_NAME_OP && !(t[i - 1] == '\\' && t[i - 2] == AML_NAME_OP)))
			continue;
		u32 at = i + 5 + 1 + (t[i + 5] >> 6) + 1; /* PackageOp, PkgLength, NumElements */
		if (aml_integer(t, len, &at, typ_a) && aml_integer(t, len, &at, typ_b))
			return 0;
	}
	return -ENOENT;
}
