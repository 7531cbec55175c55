/*
 * VT-d's view of the I/O APIC's interrupts. Messages of QEMU's devices pass QEMU's own VT-d; those of the guest's I/O
 * APIC, which lives here, are remapped here by the guest's own table (VT-d 3.4, Interrupt Remapping Table Entry).
 *
 * Invariant: an entry that remapping forbids is never delivered, and QEMU records the fault: the entry is replayed once
 * on QEMU's I/O APIC, so that the record is the genuine one.
 */
#include "tests/machine/plugin/plugin.h"

#define VTD_GSTS        0xFED9001C
#define VTD_IRTA        0xFED900B8
#define GSTS_IRES       (1u << 25)
#define IRTA_ADDRESS    0xFFFFFFFFFFFFF000ull
#define IRTA_EIME       (1u << 11)
#define IOAPIC_SOURCE   0xFF00 /* the requester ID that the DMAR gives the I/O APIC */

#define RTE_MASK        (1ull << 16)
#define RTE_REMAPPABLE  (1ull << 48)
#define IRTE_PRESENT    1u

#define DOORBELL_PIN    4
#define UART_IER        0x3F9
#define UART_IIR        0x3FA
#define IER_RECEIVE     1
#define IER_TRANSMIT    2

/*
 * Sends the entry's message from QEMU's I/O APIC: it is put on the doorbell UART's pin, and a transmitter-empty
 * interrupt raises that pin. VT-d blocks it as it would have blocked the guest's.
 */
static void replay_blocked(uint64_t rte)
{
	mailbox_call(OP_MMIO_WRITE, QEMU_IOAPIC, 4, 0x10 + 2 * DOORBELL_PIN + 1);
	mailbox_call(OP_MMIO_WRITE, QEMU_IOAPIC + 0x10, 4, rte >> 32);
	mailbox_call(OP_MMIO_WRITE, QEMU_IOAPIC, 4, 0x10 + 2 * DOORBELL_PIN);
	mailbox_call(OP_MMIO_WRITE, QEMU_IOAPIC + 0x10, 4, (uint32_t)rte);
	mailbox_call(OP_PORT_WRITE, UART_IER, 1, IER_RECEIVE | IER_TRANSMIT);
	mailbox_call(OP_PORT_READ, UART_IIR, 1, 0);
	mailbox_call(OP_PORT_WRITE, UART_IER, 1, IER_RECEIVE);
	mailbox_call(OP_MMIO_WRITE, QEMU_IOAPIC + 0x10, 4, RTE_MASK);
}

static void without_remapping(uint64_t rte, struct message *m)
{
	*m = (struct message){
		.vector = (uint8_t)rte,
		.mode = rte >> 8 & 7,
		.logical = rte >> 11 & 1,
		.dest = rte >> 56,
	};
}

/* SVT and SID: who may use the entry. Validation by bus number is not used for an I/O APIC. */
static bool source_allowed(uint64_t high)
{
	unsigned type = high >> 18 & 3;

	return type != 1 || (high & 0xFFFF) == IOAPIC_SOURCE;
}

static bool by_table(uint64_t rte, struct message *m)
{
	uint64_t irta = mailbox_call(OP_MMIO_READ, VTD_IRTA, 8, 0);
	uint32_t handle = (rte >> 49 & 0x7FFF) | (rte >> 11 & 1) << 15;
	uint64_t *irte = ram_at((irta & IRTA_ADDRESS) + handle * 16ull, 16);

	if (!irte || handle >= 2u << (irta & 15) || !(irte[0] & IRTE_PRESENT) || !source_allowed(irte[1]))
		return false;
	*m = (struct message){
		.vector = (uint8_t)(irte[0] >> 16),
		.mode = irte[0] >> 5 & 7,
		.logical = irte[0] >> 2 & 1,
		.dest = (uint32_t)(irta & IRTA_EIME ? irte[0] >> 32 : irte[0] >> 40 & 0xFF),
	};
	return true;
}

bool vtd_remap(uint64_t rte, struct message *m)
{
	if (!(mailbox_call(OP_MMIO_READ, VTD_GSTS, 4, 0) & GSTS_IRES)) {
		without_remapping(rte, m);
		return true;
	}
	if (!(rte & RTE_REMAPPABLE)) {
		log_line("ioapic: compatibility-format entry %#lx blocked by VT-d", (unsigned long)rte);
		return false; /* QEMU lets these pass, so there is no record to be had */
	}
	if (by_table(rte, m))
		return true;
	log_line("ioapic: entry %#lx blocked by VT-d", (unsigned long)rte);
	replay_blocked(rte);
	return false;
}
