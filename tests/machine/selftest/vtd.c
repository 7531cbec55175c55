/*
 * VT-d: queued invalidation, second-level tables, interrupt remapping, fault records.
 * (VT-d 3.4, Register Descriptions and Translation Structure Formats.)
 */
#include "tests/machine/selftest/selftest.h"

#define CAP     0x08
#define ECAP    0x10
#define GCMD    0x18
#define GSTS    0x1C
#define RTADDR  0x20
#define FSTS    0x34
#define IQT     0x88
#define IQA     0x90
#define IRTA    0xB8

#define TE      (1u << 31)
#define SRTP    (1u << 30)
#define QIE     (1u << 26)
#define IRE     (1u << 25)
#define SIRTP   (1u << 24)
#define LASTING (TE | QIE | IRE)

#define QUEUE_ENTRIES 256
#define INV_CONTEXT   (1 | 1 << 4)
#define INV_IOTLB     (2 | 1 << 4 | 1 << 6 | 1 << 7)  /* global, drain reads and writes */
#define INV_IEC       4
#define INV_WAIT      (5 | 1 << 5)
#define READ_WRITE    3
#define AW_48         2
#define IRTA_SIZE_256 7
#define ECAP_EIM      0x10
#define IRTA_EIME     (1 << 11)

static u64 root, table, queue, status;
static u32 tail, command;
static bool eim;

static u64 reg(u32 offset)
{
	return platform.vtd + offset;
}

static bool command_set(u32 bit, bool on)
{
	if (on)
		command |= bit;
	else
		command &= ~bit;
	write32(reg(GCMD), command);
	command &= LASTING;
	return wait_until(!!(read32(reg(GSTS)) & bit) == on, 1000);
}

static void queue_add(u64 low, u64 high)
{
	write64(queue + tail * 16, low);
	write64(queue + tail * 16 + 8, high);
	tail = (tail + 1) % QUEUE_ENTRIES;
}

void vtd_flush(void)
{
	queue_add(INV_CONTEXT, 0);
	queue_add(INV_IOTLB, 0);
	queue_add(INV_IEC, 0);
	write32(status, 0);
	queue_add(INV_WAIT | 1ull << 32, status);
	write64(reg(IQT), tail << 4);
	if (!wait_until(read32(status) == 1, 1000))
		check(false, "VT-d invalidation finishes");
}

void vtd_init(void)
{
	bool ok;

	root = alloc_pages(1);
	table = alloc_pages(1);
	queue = alloc_pages(1);
	status = alloc_pages(1);
	print_hex("CAP", read64(reg(CAP)));
	print_hex("ECAP", read64(reg(ECAP)));
	eim = read64(reg(ECAP)) & ECAP_EIM;
	write64(reg(IQA), queue);
	write64(reg(IQT), 0);
	ok = command_set(QIE, true);
	write64(reg(RTADDR), root);
	ok = ok && command_set(SRTP, true);
	vtd_flush();
	ok = ok && command_set(TE, true);
	write64(reg(IRTA), table | (eim ? IRTA_EIME : 0) | IRTA_SIZE_256);
	ok = ok && command_set(SIRTP, true);
	vtd_flush();
	ok = ok && command_set(IRE, true);
	check(ok, "VT-d translation and interrupt remapping on");
}

u64 vtd_domain_new(void)
{
	return alloc_pages(1);
}

void vtd_map(u64 domain, u64 iova, u64 page)
{
	u64 t = domain;

	for (int shift = 39; shift > 12; shift -= 9) {
		u64 entry = t + (iova >> shift & 511) * 8;

		if (!read64(entry))
			write64(entry, alloc_pages(1) | READ_WRITE);
		t = read64(entry) & ~0xFFFull;
	}
	write64(t + (iova >> 12 & 511) * 8, page | READ_WRITE);
}

void vtd_attach(u32 bdf, u64 domain, u16 id)
{
	u64 bus = root + (bdf >> 8) * 16, entry;

	if (!read64(bus))
		write64(bus, alloc_pages(1) | 1);
	entry = (read64(bus) & ~0xFFFull) + (bdf & 255) * 16;
	write64(entry + 8, AW_48 | (u64)id << 8);
	write64(entry, domain | 1);
	vtd_flush();
}

void vtd_irte(u32 handle, u32 rid, u8 vector, u32 apic, bool level)
{
	vtd_irte_clear(handle);
	write64(table + handle * 16 + 8, rid | 1ull << 18);
	write64(table + handle * 16, 1 | (u64)level << 4 | (u64)vector << 16 | (u64)apic << (eim ? 32 : 40));
	vtd_flush();
}

void vtd_irte_clear(u32 handle)
{
	write64(table + handle * 16, 0);
	vtd_flush();
}

int vtd_fault(u32 *rid, u64 *addr)
{
	u64 record = reg((u32)(read64(reg(CAP)) >> 24 & 0x3FF) * 16);
	u64 high = read64(record + 8);

	if (!(high >> 63))
		return -1;
	*rid = high & 0xFFFF;
	*addr = read64(record) & ~0xFFFull;
	write32(record + 12, 1u << 31);
	write32(reg(FSTS), read32(reg(FSTS)));
	return high >> 32 & 0xFF;
}
