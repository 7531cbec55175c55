/*
 * The emulated network device as a PCI function, moved and addressed wrongly, by ECAM and by CF8h; and its MSI-X table full of nonsense
 * (PCI Local Bus Specification 3.0).
 */
#include <stdio.h>
#include <string.h>

#include "guest/lib/clock.h"
#include "guest/lib/traps.h"
#include "guest/work/torture_virtio.h"
#include "guest/work/work.h"

#define ADDRESS 0xcf8
#define DATA 0xcfc
#define ENABLE BIT(31)
#define COMMAND 4u
#define COMMAND_MEM BIT(1)
#define COMMAND_MASTER BIT(2)
#define BAR0 0x10u
#define BAR1 0x14u
#define CAP_PCI_CFG 0x98u  /* where the device has it; found_window() looks */
#define IOAPIC 0xfec00000ull
#define IOAPIC_WINDOW 0x10
#define IOAPIC_VERSION 1
#define LAPIC 0xfee00000u

/* ---- configuration space, both roads ---- */

static u32 get(struct tv *t, u32 reg) { return mmio_read32(t->pci.config + reg); }
static void put(struct tv *t, u32 reg, u32 v) { mmio_write32(t->pci.config + reg, v); }

static u32 address_of(struct tv *t, u32 reg) { return (u32)ENABLE | (u32)t->pci.rid << 8 | (reg & 0xfc); }

static u32 port_get(struct tv *t, u32 reg)
{
	outl(ADDRESS, address_of(t, reg));
	return inl(DATA);
}

static void port_put(struct tv *t, u32 reg, u32 v)
{
	outl(ADDRESS, address_of(t, reg));
	outl(DATA, v);
}

static u32 where(struct tv *t, u32 bar) { return get(t, bar) & ~0xfu; }

/* As it was, by the road that is given. */
static void restore(struct tv *t, u32 bar0, u32 bar1, bool ports)
{
	(ports ? port_put : put)(t, BAR0, bar0);
	(ports ? port_put : put)(t, BAR1, bar1);
}

/* ---- BARs where they must not answer, or may ---- */

struct place { const char *name; u32 at; bool answers; };

static bool answers(u32 at) { return mmio_read8((volatile u8 *)(u64)at + VIRTIO_COMMON(num_queues)) == TV_QUEUES; }

static u32 io_apic_version(void)
{
	mmio_write32((void *)IOAPIC, IOAPIC_VERSION);
	return mmio_read32((void *)(IOAPIC + IOAPIC_WINDOW));
}

static u32 move(struct tv *t, const struct place *p, bool ports)
{
	u32 bar0 = where(t, BAR0), bar1 = where(t, BAR1), version = io_apic_version(), id = get(t, 0);
	u64 *ram = (u64 *)t->mem->spare;
	char name[64];

	tv_reset(t);
	*ram = 0x1122334455667788;
	(ports ? port_put : put)(t, BAR0, p->at);
	bool ok = answers(p->at) == p->answers && !answers(bar0);
	for (u32 i = 0; i < 64; i += 4) /* into RAM, a device or nothing: what is there decides */
		(void)mmio_read32((volatile u8 *)(u64)p->at + i);
	ok = ok && *ram == 0x1122334455667788 && get(t, 0) == id && io_apic_version() == version;
	restore(t, bar0, bar1, ports);
	sniprintf(name, sizeof(name), "bar-%s-by-%s", p->name, ports ? "ports" : "ecam");
	return tv_case(t, ok && answers(bar0), name);
}

static u32 places(struct tv *t)
{
	const struct place all[] = {
		{ "over-ram", (u32)(u64)t->mem->spare, false }, { "over-ecam", (u32)PCI_ECAM_BASE, false },
		{ "end-of-window", 0xdfffc000, true }, { "over-io-apic", (u32)IOAPIC, false },
		{ "over-local-apic", LAPIC, false }, { "at-the-top", 0xffffc000, false },
		{ "below-window", 0xbfffc000, false },
	};
	u32 failed = 0;

	for (u32 i = 0; i < ARRAY_SIZE(all); i++)
		failed += move(t, &all[i], false) + move(t, &all[i], true);
	return failed;
}

/* Both at one place: whoever is there first stays, and the other one comes back when it has a place of its own. */
static u32 both(struct tv *t)
{
	u32 bar0 = where(t, BAR0), bar1 = where(t, BAR1), failed = 0;

	tv_reset(t);
	put(t, BAR1, bar0);
	for (u32 i = 0; i < 64; i += 4)
		mmio_write32((volatile u8 *)(u64)bar0 + i, ~0u);
	restore(t, bar0, bar1, false);
	failed += tv_case(t, true, "bar1-over-bar0");
	put(t, BAR0, bar1 & ~(VNET_BAR0_LEN - 1));
	for (u32 i = 0; i < 64; i += 4)
		mmio_write32((volatile u8 *)(u64)bar1 + i, ~0u);
	restore(t, bar0, bar1, true);
	return failed + tv_case(t, true, "bar0-over-bar1");
}

static u32 bits(struct tv *t)
{
	u32 bar0 = where(t, BAR0), bar1 = where(t, BAR1), failed = 0;

	put(t, BAR0, ~0u);
	bool ok = get(t, BAR0) == ~(VNET_BAR0_LEN - 1);
	port_put(t, BAR1, ~0u);
	ok = ok && port_get(t, BAR1) == ~(VNET_BAR1_LEN - 1);
	mmio_write8(t->pci.config + BAR0 + 1, 0); /* byte by byte through addresses that are nowhere */
	mmio_write16(t->pci.config + BAR0 + 2, 0xc000);
	restore(t, bar0, bar1, false);
	failed += tv_case(t, ok, "bar-sized");
	put(t, COMMAND, (u32)COMMAND_MASTER);
	ok = !answers(bar0);
	mmio_write32((volatile u8 *)(u64)bar0, 0);
	put(t, COMMAND, (u32)(COMMAND_MEM | COMMAND_MASTER));
	failed += tv_case(t, ok && answers(bar0), "memory-decoding-off");
	tv_up(t, TV_PLAIN);
	put(t, COMMAND, (u32)COMMAND_MEM);
	tv_ask(t);
	ok = !tv_ring(t, VIRTIO_NET_TXQ)->used.idx && !tv_broken(t);
	put(t, COMMAND, (u32)(COMMAND_MEM | COMMAND_MASTER));
	return failed + tv_case(t, ok, "bus-mastering-off");
}

/* Every byte of configuration space with every width, but for what keeps the device where it is. */
static u32 filled(struct tv *t)
{
	u32 bar0 = where(t, BAR0), bar1 = where(t, BAR1), id = get(t, 0);

	for (u32 reg = 0; reg < 0x108; reg++) {
		mmio_write8(t->pci.config + reg, 0xff);
		mmio_write16(t->pci.config + reg, 0xffff);
		mmio_write32(t->pci.config + reg, ~0u);
		mmio_write64(t->pci.config + reg, ~0ull);
	}
	for (u32 off = 0; off < 8; off++) {
		outl(ADDRESS, address_of(t, 0x40));
		outb((u16)(DATA + (off & 3)), 0xff);
		outw((u16)(DATA + (off & 3)), 0xffff);
		outl((u16)(DATA + (off & 3)), ~0u);
		outb(ADDRESS, 0xff); /* not the address register's width */
		outw(ADDRESS, 0xffff);
		outl(ADDRESS, ~0u);  /* a function that is not there */
		outl(DATA, 0);
	}
	bool ok = inl(DATA) == ~0u && get(t, 0) == id && mmio_read64(t->pci.config) == ~0ull;
	restore(t, bar0, bar1, false);
	put(t, COMMAND, (u32)(COMMAND_MEM | COMMAND_MASTER));
	mmio_write16(t->pci.config + t->pci.msix_cap + 2, 0);
	return tv_case(t, ok, "config-space-filled");
}

/* The window VIRTIO_CAP_PCI_CFG: bar, offset, length, then the data register. */
static u32 window(struct tv *t)
{
	static const struct { u32 bar, offset, length; } all[] = {
		{ 2, 0, 4 }, { 255, 0, 4 }, { 0, ~0u, 4 }, { 0, 0x4000, 4 }, { 0, 0x3ffe, 4 }, { 0, 2, 4 }, { 0, 0, 0 }, { 0, 0, 3 },
		{ 0, 0, 8 }, { 0, 0, ~0u }, { 1, 0x1000, 1 }, { 1, 0xffc, 4 },
	};
	u32 cap = CAP_PCI_CFG;
	bool ok = get(t, cap) >> 24 == VIRTIO_CAP_PCI_CFG;

	for (u32 i = 0; i < ARRAY_SIZE(all); i++) {
		put(t, cap + 4, all[i].bar);
		put(t, cap + 8, all[i].offset);
		port_put(t, cap + 12, all[i].length);
		ok = ok && !get(t, cap + 16);
		port_put(t, cap + 16, ~0u);
	}
	put(t, cap + 4, 0);
	put(t, cap + 8, VIRTIO_COMMON(num_queues));
	put(t, cap + 12, 2);
	return tv_case(t, ok && get(t, cap + 16) == TV_QUEUES, "pci-window");
}

u32 tv_group_pci(struct tv *t) { return places(t) + both(t) + bits(t) + filled(t) + window(t); }

/* ---- MSI-X ---- */

static u64 taken;
static void count(void *unused)
{
	(void)unused;
	__atomic_fetch_add(&taken, 1, __ATOMIC_SEQ_CST);
}

static void message(struct tv *t, u64 address, u32 data)
{
	volatile u8 *e = t->pci.bar1;

	mmio_write32(e + 12, 1);
	mmio_write32(e, (u32)address);
	mmio_write32(e + 4, (u32)(address >> 32));
	mmio_write32(e + 8, data);
	mmio_write32(e + 12, 0);
	mmio_write16(t->pci.config + t->pci.msix_cap + 2, (u16)BIT(15));
}

/* A frame sent whose return interrupts by this message. */
static bool interrupt(struct tv *t, u64 address, u32 data)
{
	bool up = tv_start(t, TV_PLAIN);

	mmio_write16(t->common + VIRTIO_COMMON(queue_select), VIRTIO_NET_TXQ);
	up = up && !virtio_vector(t->common + VIRTIO_COMMON(queue_msix_vector), 0) && tv_go(t);
	message(t, address, data);
	tv_ring(t, VIRTIO_NET_TXQ)->avail.flags = 0;
	tv_ask(t);
	return up && clock_wait(READ_ONCE(tv_ring(t, VIRTIO_NET_TXQ)->used.idx), TV_WAIT_US);
}

struct msi { const char *name; u64 address; u32 data; u64 comes; };

/* apic: our own local APIC's place in an address. */
static u32 messages(struct tv *t, u64 apic)
{
	u64 me = LAPIC | apic << 12;
	const struct msi all[] = {
		{ "good", me, TV_VECTOR, 1 }, { "vector-0", me, 0, 0 }, { "vector-15", me, 15, 0 }, { "mode-smi", me, 2 << 8, 0 },
		{ "mode-reserved", me, 3 << 8 | TV_VECTOR, 0 }, { "mode-extint", me, 7 << 8 | TV_VECTOR, 0 },
		{ "nowhere", LAPIC | 77 << 12, TV_VECTOR, 0 }, { "init-nowhere", LAPIC | 77 << 12, 5 << 8, 0 },
		{ "startup-nowhere", LAPIC | 77 << 12, 6 << 8 | 8, 0 }, { "logical-nobody", LAPIC | 4, TV_VECTOR, 0 },
		{ "address-above-4g", 1ull << 32 | me, TV_VECTOR, 0 }, { "address-of-ram", (u64)t->mem->spare, TV_VECTOR, 0 },
		{ "address-of-io-apic", IOAPIC, TV_VECTOR, 0 }, { "address-0", 0, TV_VECTOR, 0 }, { "address-top", ~3ull, TV_VECTOR, 0 },
		{ "lowest-priority", me, 1 << 8 | TV_VECTOR, 1 }, { "level", me, BIT(15) | BIT(14) | TV_VECTOR, 1 },
		{ "high-bits-of-data", me, 0xffff0000u | TV_VECTOR, 1 }, { "good-again", me, TV_VECTOR, 1 },
	};
	u32 failed = 0;

	for (u32 i = 0; i < ARRAY_SIZE(all); i++) {
		char name[48];
		memset(t->mem->spare, 0, PAGE_SIZE);
		u64 before = READ_ONCE(taken), strays = irq_unbound();
		bool sent = interrupt(t, all[i].address, all[i].data);
		bool came = clock_wait(READ_ONCE(taken) != before || !all[i].comes, TV_WAIT_US);
		bool clean = !*(u64 *)t->mem->spare && READ_ONCE(taken) - before == all[i].comes && irq_unbound() == strays;
		sniprintf(name, sizeof(name), "msi-%s", all[i].name);
		failed += tv_case(t, sent && came && clean && !tv_broken(t), name);
	}
	return failed;
}

/* The table by all widths, and vectors that are not in it. */
static u32 table(struct tv *t)
{
	static const u16 none[] = { 4, 5, 255, 0x7fff, 0xfffe };
	bool ok = tv_start(t, TV_PLAIN);

	for (u32 at = 0; at < VNET_BAR1_LEN; at += at < 80 ? 1 : 61) {
		mmio_write8(t->pci.bar1 + at, 0xff);
		mmio_write16(t->pci.bar1 + at, 0xffff);
		mmio_write32(t->pci.bar1 + at, ~0u);
		mmio_write64(t->pci.bar1 + at, ~0ull);
		(void)mmio_read64(t->pci.bar1 + at);
	}
	for (u32 i = 0; i < ARRAY_SIZE(none); i++)
		ok = ok && virtio_vector(t->common + VIRTIO_COMMON(queue_msix_vector), none[i]) &&
		     virtio_vector(t->common + VIRTIO_COMMON(config_msix_vector), none[i]);
	mmio_write16(t->pci.config + t->pci.msix_cap + 2, 0xffff);
	mmio_write16(t->pci.config + t->pci.msix_cap + 2, 0);
	return tv_case(t, ok, "msix-table-filled");
}

u32 tv_group_msix(struct tv *t)
{
	irq_bind(TV_VECTOR, count, NULL);
	u32 failed = table(t) + messages(t, apic_id());
	mmio_write16(t->pci.config + t->pci.msix_cap + 2, 0);
	irq_bind(TV_VECTOR, NULL, NULL);
	return failed;
}
