/*
 * Interrupts from QEMU to Bochs: what QEMU's vCPUs received, after VT-d and QEMU's routing, goes to the local APIC of
 * the Bochs CPU with the same number.
 *
 * Invariant: entries of one vCPU are delivered in their order, each once; an overrun ring ends the machine.
 */
#include <string.h>

#include "tests/machine/plugin/plugin.h"

static uint32_t tail[MAILBOX_CPUS], nmi_seen[MAILBOX_CPUS];

void interrupts_reset(void)
{
	for (unsigned c = 0; c < bx_cpu_count; c++) {
		tail[c] = mailbox_ring(c)->head;
		nmi_seen[c] = mailbox_ring(c)->nmi_count;
	}
}

static void deliver(unsigned cpu, uint32_t entry)
{
	if (entry & RING_LEVEL)
		ioapic_qemu_pin((uint8_t)entry);
	else
		bochs_deliver((uint8_t)entry, cpu, DELIVER_FIXED, false, true, false);
}

static bool poll_cpu(unsigned cpu)
{
	struct ring *r = mailbox_ring(cpu);
	uint32_t head = __atomic_load_n(&r->head, __ATOMIC_ACQUIRE);
	bool any = head != tail[cpu];

	if (head - tail[cpu] > RING_ENTRIES)
		machine_end(END_ERROR, 0, "interrupt ring of CPU %u overran: %u interrupts between two polls", cpu,
			    head - tail[cpu]);
	while (tail[cpu] != head)
		deliver(cpu, r->entry[tail[cpu]++ % RING_ENTRIES]);
	for (; nmi_seen[cpu] != r->nmi_count; nmi_seen[cpu]++, any = true)
		bochs_deliver(VECTOR_NMI, cpu, DELIVER_NMI, false, true, false);
	return any;
}

bool interrupts_poll(void)
{
	bool any = false;

	for (unsigned c = 0; c < bx_cpu_count; c++)
		any |= poll_cpu(c);
	return any;
}

/*
 * Where a CPU keeps the set of pending events, as Bochs's own code says: bochs_interrupt_mask() begins with endbr64, push, mov and a
 * load of the mask, which lies behind it. 0: this build begins otherwise, nothing is mended.
 */
static uint32_t pending_events(void)
{
	static const uint8_t begin[] = { 0xF3, 0x0F, 0x1E, 0xFA, 0x53, 0x48, 0x89, 0xFB, 0x8B, 0x87 };
	const uint8_t *code = (const uint8_t *)(uintptr_t)bochs_interrupt_mask;
	uint32_t mask;

	if (memcmp(code, begin, sizeof begin))
		return 0;
	memcpy(&mask, code + sizeof begin, sizeof mask);
	return mask - sizeof mask;
}

/*
 * Bochs's VM entry keeps the host's mask of interrupts until the guest changes EFLAGS.IF: a guest entered with IF = 0 would never be
 * left for one, whatever "external-interrupt exiting" says. With a virtual interrupt pending it stays so: Bochs would deliver that one
 * instead, whatever IF says.
 */
void interrupts_unmask(void)
{
	uint32_t pending = pending_events(), events;

	for (unsigned c = 0; pending && c < bx_cpu_count; c++) {
		memcpy(&events, bx_cpu_array[c] + pending, sizeof events);
		if (!(events & EVENT_VIRTUAL_INTERRUPT))
			bochs_interrupt_mask(bx_cpu_array[c]);
	}
}
