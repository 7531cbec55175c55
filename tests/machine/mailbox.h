/*
 * Layout of the mailbox: the memory through which the Bochs plugin, the agent on QEMU's vCPUs and the runner speak.
 *
 * Invariant: each field has one writer, named beside it. A request is complete when `done` equals `req`; a ring entry
 * is valid once `head` has passed it. x86 keeps stores in order, so neither needs more than a compiler barrier in the
 * agent.
 */
#ifndef MACHINE_MAILBOX_H
#define MACHINE_MAILBOX_H

#define MAILBOX_SIZE       0x100000
#define MAILBOX_GPA        0x7000000000     /* where the agent maps it in QEMU's physical address space */
#define MAILBOX_CPUS       8
#define MAILBOX_ALIVE      0xA11FE

#define MAILBOX_END        0x80             /* offset of the result, read by the runner (cosim.py) */
#define MAILBOX_RING(cpu)  (0x10000 + (cpu) * 0x2000)
#define MAILBOX_STACK(cpu) (0x40000 + ((cpu) + 1) * 0x4000)
#define MAILBOX_EXITS      0x2000           /* struct exit_counts, read by the runner */
#define EXIT_REASONS       80
#define RING_ENTRIES       1024
#define RING_ENTRY_OFFSET  0x1000           /* of the entries, from the ring's start */

/* Offsets into struct ring that the assembly needs (asserted below). */
#define RING_HEAD          0x00
#define RING_NMI_COUNT     0x04
#define RING_FAULT         0x08

/* Vectors the agent keeps for itself. A message-signalled interrupt cannot carry a vector below 16. */
#define VECTOR_NMI         2
#define VECTOR_DOORBELL    12               /* the doorbell UART, by the PIC */
#define VECTOR_PIN(pin)    (16 + ((pin) & 15)) /* QEMU's own IOAPIC pins: 16..23 -> 16..23, 9 (SCI) -> 25 */
#define VECTOR_PIN_LAST    31

/* A ring entry is a vector; entries of level-triggered pins have this bit and the vector above. */
#define RING_LEVEL         0x100

#define QEMU_IOAPIC        0xFEC00000

#ifndef __ASSEMBLER__
#include <stddef.h>
#include <stdint.h>

enum mailbox_op { OP_MMIO_READ = 1, OP_MMIO_WRITE, OP_PORT_READ, OP_PORT_WRITE };

enum machine_end {
	END_NONE,      /* still running */
	END_EXIT,      /* a byte was written to port 0xF4: end_code is that byte */
	END_POWEROFF,  /* ACPI S5 */
	END_RESET,     /* one platform reset more than allowed */
	END_ERROR,     /* the machine itself failed: end_text says why */
};

struct mailbox {
	/* plugin -> agent */
	volatile uint32_t req;         /* plugin: incremented once the four fields below are set */
	volatile uint32_t op;          /* plugin: enum mailbox_op */
	volatile uint32_t size;        /* plugin: 1, 2, 4 or 8 */
	uint32_t reserved0;
	volatile uint64_t addr;        /* plugin */
	volatile uint64_t data;        /* plugin */
	uint64_t reserved1[4];
	/* agent -> plugin, in a cache line of its own */
	volatile uint32_t done;        /* agent: == req when answered */
	volatile uint32_t sleeping;    /* agent: in HLT or about to be; a request must ring the doorbell */
	volatile uint64_t result;      /* agent */
	uint64_t reserved2[6];
	/* plugin -> runner */
	volatile uint32_t end;         /* plugin: enum machine_end, set last */
	volatile uint32_t end_code;    /* plugin */
	volatile uint32_t resets;      /* plugin: platform resets so far */
	volatile uint32_t reserved4;
	char end_text[240];            /* plugin */
};

/* VM exits of the hardware, counted by Bochs itself: the oracle for the counts that the hypervisors report. */
struct exit_counts {
	volatile uint64_t by_reason[MAILBOX_CPUS][EXIT_REASONS]; /* plugin */
};

struct ring {
	volatile uint32_t head;        /* agent: entries pushed since its reset, modulo 2^32 */
	volatile uint32_t nmi_count;   /* agent */
	volatile uint64_t fault[4];    /* agent, on its own exception: vector + 1, the two words pushed last, CR2 */
	volatile uint32_t alive;       /* agent: MAILBOX_ALIVE once this vCPU serves */
	uint32_t reserved[(RING_ENTRY_OFFSET - 0x2C) / 4];
	volatile uint32_t entry[RING_ENTRIES]; /* agent */
};

_Static_assert(offsetof(struct mailbox, done) == 0x40, "a cache line of its own");
_Static_assert(offsetof(struct mailbox, end) == MAILBOX_END, "read by the runner");
_Static_assert(offsetof(struct ring, head) == RING_HEAD, "used by start.S");
_Static_assert(offsetof(struct ring, nmi_count) == RING_NMI_COUNT, "used by start.S");
_Static_assert(offsetof(struct ring, fault) == RING_FAULT, "used by start.S");
_Static_assert(offsetof(struct ring, entry) == RING_ENTRY_OFFSET, "used by start.S");
_Static_assert(sizeof(struct exit_counts) <= MAILBOX_RING(0) - MAILBOX_EXITS, "fits before the rings");
_Static_assert(sizeof(struct ring) == 0x2000, "MAILBOX_RING() strides by 0x2000");
_Static_assert(MAILBOX_RING(MAILBOX_CPUS) <= MAILBOX_STACK(-1), "rings end before the stacks");
_Static_assert(MAILBOX_STACK(MAILBOX_CPUS - 1) <= MAILBOX_SIZE, "stacks fit");
#endif
#endif
