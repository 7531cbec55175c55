/*
 * Tests of DMA and interrupts: PF and VF, each in its own domain, with and without what VT-d requires.
 *
 * The pages a device names (IOVA) are never the pages it reaches: the IOVA is the address of a decoy page, so DMA that
 * bypassed translation would be seen there.
 */
#include "tests/machine/selftest/selftest.h"

#define IRTE_PF     5
#define IRTE_VF     6
#define IRTE_LEVEL  7
#define IRTE_ABSENT 9
#define DOMAIN_PF   1
#define DOMAIN_VF   2
#define UNMAPPED    0x7FF00000
#define VF          1
#define VF_IOVA     0x40000000

static const u8 vf_mac[6] = { 0x52, 0x54, 0x00, 0xC0, 0x51, 0x11 };

/* Waits for one more interrupt on vector than `before`. */
static bool got_irq(u8 vector, u32 before)
{
	return wait_until(irq_count(vector) != before, 1000);
}

static bool expect_fault(int reason, u32 rid, u64 addr)
{
	u32 fault_rid = 0;
	u64 fault_addr = 0;
	int got = -1;

	wait_until((got = vtd_fault(&fault_rid, &fault_addr)) >= 0, 500);
	if (got == reason && fault_rid == rid && fault_addr == addr)
		return true;
	print_hex("fault reason", (u32)got);
	print_hex("requester", fault_rid);
	print_hex("address", fault_addr);
	return false;
}

static bool untouched(u64 page)
{
	for (u64 p = page; p < page + 4096; p += 8)
		if (read64(p))
			return false;
	return true;
}

void test_dma(struct nic *n)
{
	u64 domain = vtd_domain_new(), decoy = alloc_pages(4);
	bool sent;

	n->q.rx_ring = alloc_pages(1);
	n->q.tx_ring = alloc_pages(1);
	n->rx_page = alloc_pages(1);
	n->tx_page = alloc_pages(1);
	n->rx_iova = decoy + 0x2000;
	n->tx_iova = decoy + 0x3000;
	vtd_map(domain, decoy, n->q.rx_ring);
	vtd_map(domain, decoy + 0x1000, n->q.tx_ring);
	vtd_map(domain, n->rx_iova, n->rx_page);
	vtd_map(domain, n->tx_iova, n->tx_page);
	vtd_attach(n->bdf, domain, DOMAIN_PF);
	igb_queue_init(&n->q, decoy, decoy + 0x1000);
	igb_rx_post(&n->q, n->rx_iova);
	arp_request(n->tx_page, n->mac, 2);
	sent = igb_tx(&n->q, n->tx_iova, ARP_SIZE);
	check(sent, "PF sends through VT-d");
	check(igb_rx_wait(&n->q) && arp_reply(n->rx_page, n->mac, 2), "PF receives through VT-d");
	check(untouched(decoy) && untouched(decoy + 0x1000) && untouched(decoy + 0x2000) && untouched(decoy + 0x3000),
	      "the untranslated addresses are untouched");
	igb_tx(&n->q, UNMAPPED, ARP_SIZE);
	check(expect_fault(FAULT_NO_READ, n->bdf, UNMAPPED), "PF faults on an unmapped address");
}

void test_msix(struct nic *n)
{
	u64 table = pci_bar(n->bdf, PCI_BAR(3));
	u32 before = irq_count(0x50);

	vtd_irte(IRTE_PF, n->bdf, 0x50, apic_id(), false);
	pci_msix_remapped(n->bdf, table, IRTE_PF);
	igb_interrupts_on(n->regs);
	igb_raise(n->regs);
	check(got_irq(0x50, before), "PF MSI-X through its IRTE");
	before = irq_count(0x50);
	igb_tx(&n->q, n->tx_iova, ARP_SIZE);
	check(got_irq(0x50, before), "PF interrupt when a packet is sent");

	vtd_irte(IRTE_PF, n->bdf + 1, 0x50, apic_id(), false);
	igb_raise(n->regs);
	check(expect_fault(FAULT_IRTE_SOURCE, n->bdf, (u64)IRTE_PF << 48), "an IRTE of another device blocks");
	pci_msix_remapped(n->bdf, table, IRTE_ABSENT);
	before = irq_count(0x50);
	igb_raise(n->regs);
	check(expect_fault(FAULT_IRTE_ABSENT, n->bdf, (u64)IRTE_ABSENT << 48), "an absent IRTE blocks");
	check(irq_count(0x50) == before, "a blocked interrupt does not arrive");
	pci_msix_remapped(n->bdf, table, IRTE_PF);
	vtd_irte(IRTE_PF, n->bdf, 0x50, apic_id(), false);
}

/* --- level-triggered ----------------------------------------------------------------------------------------------- */

#define IOAPIC        0xFEC00000
#define IOAPIC_WINDOW 0x10
#define RTE(pin)      (0x10 + 2 * (pin))
#define RTE_LEVEL_LOW 0xA000
#define RTE_MASKED    0x10000
#define PIN_FIRST     16
#define PIN_LAST      23

static u64 level_regs;
static volatile u32 level_ignore; /* so many interrupts are not served */

static void serve_level(void)
{
	if (level_ignore)
		level_ignore--;
	else
		igb_legacy_clear(level_regs);
}

static void ioapic_write(u32 reg, u32 v)
{
	write32(IOAPIC, reg);
	write32(IOAPIC + IOAPIC_WINDOW, v);
}

/* All PCI pins: which one a slot uses is the chipset's wiring. (VT-d 3.4, I/OxAPIC Programming, remappable format.) */
static void open_pins(u32 handle)
{
	for (u32 pin = PIN_FIRST; pin <= PIN_LAST; pin++) {
		ioapic_write(RTE(pin) + 1, handle << 17 | 1 << 16);
		ioapic_write(RTE(pin), VECTOR_LEVEL | RTE_LEVEL_LOW);
	}
}

static void close_pins(void)
{
	for (u32 pin = PIN_FIRST; pin <= PIN_LAST; pin++)
		ioapic_write(RTE(pin), RTE_MASKED);
}

void test_level(struct nic *n)
{
	u32 before;
	bool ok = true;

	level_regs = n->regs;
	irq_level_handler = serve_level;
	pci_msix_off(n->bdf);
	igb_legacy_on(n->regs);
	vtd_irte(IRTE_LEVEL, IOAPIC_RID, VECTOR_LEVEL, apic_id(), true);
	open_pins(IRTE_LEVEL);
	for (unsigned i = 0; i < 3; i++) {
		before = irq_count(VECTOR_LEVEL);
		igb_legacy_raise(n->regs);
		ok = got_irq(VECTOR_LEVEL, before) && ok;
	}
	check(ok, "level-triggered interrupt through the I/O APIC's IRTE");
	delay_ms(20);
	check(irq_count(VECTOR_LEVEL) == 3, "a served level-triggered interrupt does not repeat");
	level_ignore = 4;
	igb_legacy_raise(n->regs);
	check(wait_until(irq_count(VECTOR_LEVEL) == 8, 1000), "a line that stays up interrupts again after EOI");

	vtd_irte_clear(IRTE_LEVEL);
	open_pins(IRTE_LEVEL);
	igb_legacy_raise(n->regs);
	check(expect_fault(FAULT_IRTE_ABSENT, NO_RID, (u64)IRTE_LEVEL << 48), "an absent IRTE blocks the I/O APIC");
	check(irq_count(VECTOR_LEVEL) == 8, "a blocked level-triggered interrupt does not arrive");
	close_pins();
	igb_legacy_clear(n->regs);
	igb_interrupts_on(n->regs); /* MSI-X mode again, for the VFs too */
}

/* --- VF ------------------------------------------------------------------------------------------------------------ */

static void vf_receive(struct nic *v, u64 vf_bar3, u32 irte)
{
	u32 before = irq_count(0x51);

	vtd_irte(irte, v->bdf, 0x51, apic_id(), false);
	pci_msix_remapped(v->bdf, vf_bar3, irte);
	igb_vf_interrupts_on(v->regs);
	arp_request(v->tx_page, v->mac, 3);
	check(igb_tx(&v->q, v->tx_iova, ARP_SIZE), "VF sends through its own domain");
	check(igb_rx_wait(&v->q) && arp_reply(v->rx_page, v->mac, 3), "VF receives through its own domain");
	check(got_irq(0x51, before), "VF MSI-X through its IRTE");
}

void test_vf(struct nic *n)
{
	u64 bar0, bar3, domain = vtd_domain_new();
	struct nic v = { 0 };
	u32 rid[2];

	if (!check(igb_vfs_on(n->bdf, 2, &bar0, &bar3, rid), "two VFs on"))
		return;
	v.bdf = rid[VF];
	v.regs = bar0 + VF * 0x4000;
	for (unsigned i = 0; i < 6; i++)
		v.mac[i] = vf_mac[i];
	check(read32(v.regs + 8) != 0 && read32(v.regs + 8) != ~0u, "VF registers answer");
	v.q = (struct igb_queue){ .regs = v.regs, .rx = 0x2800, .tx = 0x3800,
				  .rx_ring = alloc_pages(1), .tx_ring = alloc_pages(1) };
	v.rx_page = alloc_pages(1);
	v.tx_page = alloc_pages(1);
	v.rx_iova = VF_IOVA + 0x2000;
	v.tx_iova = VF_IOVA + 0x3000;
	vtd_map(domain, VF_IOVA, v.q.rx_ring);
	vtd_map(domain, VF_IOVA + 0x1000, v.q.tx_ring);
	vtd_map(domain, v.rx_iova, v.rx_page);
	vtd_map(domain, v.tx_iova, v.tx_page);
	vtd_attach(v.bdf, domain, DOMAIN_VF);
	igb_pool(n->regs, VF, v.mac);
	igb_queue_init(&v.q, VF_IOVA, VF_IOVA + 0x1000);
	igb_rx_post(&v.q, v.rx_iova);
	vf_receive(&v, bar3 + VF * 0x4000, IRTE_VF);
	igb_tx(&v.q, n->tx_iova, ARP_SIZE);
	check(expect_fault(FAULT_NO_READ, v.bdf, n->tx_iova), "VF cannot use the PF's addresses");
}
