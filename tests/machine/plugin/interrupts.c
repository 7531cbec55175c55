/*
 * Interrupts from QEMU to Bochs: what QEMU's vCPUs received, after VT-d and QEMU's routing, goes to the local APIC of
 * the Bochs CPU with the same number.
 *
 * Invariant: entries of one vCPU are delivered in their order, each once; an overrun ring ends the machine.
 */
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
