/*
 * The agent: firmware of QEMU's vCPUs in the joined machine. It performs the port and MMIO accesses that the guest's
 * CPU (Bochs) asks for; the interrupt stubs in start.S report the vectors that arrive.
 *
 * Invariant: the first vCPU alone serves requests, one at a time, in order; the others only take interrupts. Nothing
 * is stored outside the mailbox, so the guest's RAM is never touched by the agent itself.
 */
#include "tests/machine/mailbox.h"

#define SPINS_BEFORE_SLEEP 30000 /* some 100 us: longer than the plugin needs between two requests of a burst */

#define APIC_TPR  0x080
#define APIC_LDR  0x0D0
#define APIC_DFR  0x0E0
#define APIC_SVR  0x0F0
#define APIC_ICR  0x300
#define APIC_ICR2 0x310
#define APIC_LINT0 0x350

#define ICR_INIT_OTHERS 0xC4500
#define ICR_SIPI_OTHERS 0xC4600
#define LINT_EXTINT     0x700
#define SIPI_ROM        0xF0 /* page number of the ROM's copy below 1 MiB */

#define PIC1 0x20
#define PIC2 0xA0
#define COM1 0x3F8

void agent_main(uint32_t id, uint8_t *base);

static inline void outb(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" :: "a"(v), "Nd"(port));
}

static inline uint64_t port_read(uint16_t port, uint32_t size)
{
	uint32_t v = 0;

	switch (size) {
	case 1: __asm__ volatile("inb %1, %b0" : "+a"(v) : "Nd"(port)); break;
	case 2: __asm__ volatile("inw %1, %w0" : "+a"(v) : "Nd"(port)); break;
	case 4: __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port)); break;
	}
	return v;
}

static inline void port_write(uint16_t port, uint32_t size, uint32_t v)
{
	switch (size) {
	case 1: outb(port, (uint8_t)v); break;
	case 2: __asm__ volatile("outw %w0, %1" :: "a"(v), "Nd"(port)); break;
	case 4: __asm__ volatile("outl %0, %1" :: "a"(v), "Nd"(port)); break;
	}
}

static inline uint64_t mmio_read(uint64_t addr, uint32_t size)
{
	switch (size) {
	case 1: return *(volatile uint8_t *)addr;
	case 2: return *(volatile uint16_t *)addr;
	case 4: return *(volatile uint32_t *)addr;
	default: return *(volatile uint64_t *)addr;
	}
}

static inline void mmio_write(uint64_t addr, uint32_t size, uint64_t v)
{
	switch (size) {
	case 1: *(volatile uint8_t *)addr = (uint8_t)v; break;
	case 2: *(volatile uint16_t *)addr = (uint16_t)v; break;
	case 4: *(volatile uint32_t *)addr = (uint32_t)v; break;
	default: *(volatile uint64_t *)addr = v; break;
	}
}

static inline void apic_write(uint32_t reg, uint32_t v)
{
	*(volatile uint32_t *)(uintptr_t)(0xFEE00000 + reg) = v;
}

/*
 * Flat logical mode with one bit per CPU. It answers the physical mode, the usual flat logical mode and the x2APIC
 * cluster mode (whose logical ID of CPU i < 16 is BIT(i)) alike.
 */
static void apic_enable(uint32_t id)
{
	apic_write(APIC_DFR, 0xFFFFFFFF);
	apic_write(APIC_LDR, 1u << (24 + id));
	apic_write(APIC_TPR, 0);
	apic_write(APIC_SVR, 0x1FF);
}

static void short_delay(void)
{
	for (int i = 0; i < 2000; i++)
		port_read(0x80, 1);
}

static void start_other_cpus(void)
{
	apic_write(APIC_ICR2, 0);
	apic_write(APIC_ICR, ICR_INIT_OTHERS);
	short_delay();
	apic_write(APIC_ICR, ICR_SIPI_OTHERS | SIPI_ROM);
	short_delay();
}

static void pic_init(uint16_t pic, uint8_t vector, uint8_t cascade, uint8_t mask)
{
	outb(pic, 0x11);
	outb(pic + 1, vector);
	outb(pic + 1, cascade);
	outb(pic + 1, 1);
	outb(pic + 1, mask);
}

/* COM1 receive -> PIC IRQ4 -> ExtINT, vector 12. The PIC belongs to the first vCPU alone. */
static void doorbell_init(void)
{
	pic_init(PIC1, VECTOR_DOORBELL - 4, 4, (uint8_t)~0x10);
	pic_init(PIC2, VECTOR_DOORBELL - 4, 2, 0xFF);
	outb(COM1 + 2, 7);    /* FIFOs on and empty */
	outb(COM1 + 1, 1);    /* interrupt on receive */
	outb(COM1 + 4, 0x0B); /* OUT2 gates the interrupt */
	apic_write(APIC_LINT0, LINT_EXTINT);
}

static uint64_t perform(struct mailbox *m)
{
	uint64_t addr = m->addr;
	uint32_t size = m->size;

	switch (m->op) {
	case OP_MMIO_READ: return mmio_read(addr, size);
	case OP_MMIO_WRITE: mmio_write(addr, size, m->data); return 0;
	case OP_PORT_READ: return port_read((uint16_t)addr, size);
	case OP_PORT_WRITE: port_write((uint16_t)addr, size, (uint32_t)m->data); return 0;
	}
	return ~0ull;
}

/* `sleeping` is set before the last look at `req`, and STI delays interrupts past HLT: no request can fall between. */
static void sleep_unless_changed(struct mailbox *m, uint32_t last)
{
	__asm__ volatile("cli");
	m->sleeping = 1;
	__asm__ volatile("mfence" ::: "memory");
	if (m->req == last)
		__asm__ volatile("sti; hlt" ::: "memory");
	else
		__asm__ volatile("sti" ::: "memory");
	m->sleeping = 0;
}

static uint32_t next_request(struct mailbox *m, uint32_t last)
{
	uint32_t req, spins = 0;

	while ((req = m->req) == last)
		if (++spins == SPINS_BEFORE_SLEEP) {
			sleep_unless_changed(m, last);
			spins = 0;
		}
	return req;
}

static void serve(struct mailbox *m)
{
	uint32_t last = m->req;

	for (;;) {
		last = next_request(m, last);
		m->result = perform(m);
		m->done = last;
	}
}

void agent_main(uint32_t id, uint8_t *base)
{
	struct mailbox *m = (struct mailbox *)base;
	struct ring *r = (struct ring *)(base + MAILBOX_RING(id));

	apic_enable(id);
	if (id != 0) {
		r->alive = MAILBOX_ALIVE;
		for (;;)
			__asm__ volatile("sti; hlt" ::: "memory");
	}
	start_other_cpus();
	doorbell_init();
	m->done = m->req;
	__asm__ volatile("sti");
	r->alive = MAILBOX_ALIVE; /* last: from here on requests are served */
	serve(m);
}
