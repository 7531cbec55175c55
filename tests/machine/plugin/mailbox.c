/*
 * The plugin's side of the mailbox: one request at a time to the agent on QEMU's first vCPU.
 *
 * Invariant: a request returns only with the agent's answer. If QEMU dies or the agent faults, the machine ends with
 * that reason; the guest never sees a made-up value.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/machine/plugin/plugin.h"

#define SPINS_BEFORE_YIELD 1024
#define YIELDS_BEFORE_CHECK 64
#define ANSWER_LIMIT_US 60000000 /* ends a hang; QEMU may be stopped by its monitor for a while */

static uint8_t *base;
static int doorbell = -1;

struct mailbox *mailbox(void)
{
	return (struct mailbox *)base;
}

struct ring *mailbox_ring(unsigned cpu)
{
	return (struct ring *)(base + MAILBOX_RING(cpu));
}

struct exit_counts *mailbox_exits(void)
{
	return (struct exit_counts *)(base + MAILBOX_EXITS);
}

void mailbox_init(void)
{
	int fd = (int)setting("NESTLING_MAILBOX_FD", -1);

	base = mmap(NULL, MAILBOX_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (base == MAP_FAILED)
		_exit(1); /* nowhere to say why: the runner reports that Bochs ended without a reason */
	doorbell = (int)setting("NESTLING_DOORBELL_FD", -1);
}

static void check_qemu(void)
{
	struct pollfd p = { .fd = doorbell, .events = 0 };

	if (poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR)))
		machine_end(END_ERROR, 0, "QEMU is gone");
}

static void check_agents(void)
{
	for (unsigned c = 0; c < bx_cpu_count; c++) {
		volatile uint64_t *f = mailbox_ring(c)->fault;

		if (f[0])
			machine_end(END_ERROR, 0, "the agent on vCPU %u took exception %lu: %#lx %#lx, CR2 %#lx", c,
				    (unsigned long)(f[0] - 1), (unsigned long)f[1], (unsigned long)f[2],
				    (unsigned long)f[3]);
	}
}

static void ring_doorbell(void)
{
	if (mailbox()->sleeping && write(doorbell, "x", 1) != 1 && errno != EAGAIN)
		machine_end(END_ERROR, 0, "QEMU is gone (doorbell: %s)", strerror(errno));
}

/* Bounded wait for *word == value, giving the host's other processes a chance. */
static void wait_for(volatile uint32_t *word, uint32_t value, const char *what, uint64_t addr)
{
	uint32_t spins = 0, yields = 0;
	uint64_t start = 0;

	while (__atomic_load_n(word, __ATOMIC_ACQUIRE) != value) {
		__builtin_ia32_pause();
		if (++spins % SPINS_BEFORE_YIELD)
			continue;
		sched_yield();
		if (++yields % YIELDS_BEFORE_CHECK)
			continue;
		check_qemu();
		check_agents();
		if (!start)
			start = now_us();
		else if (now_us() - start > ANSWER_LIMIT_US)
			machine_end(END_ERROR, 0, "no answer from the agent: %s %#lx", what, (unsigned long)addr);
	}
}

static uint32_t post(enum mailbox_op op, uint64_t addr, uint32_t size, uint64_t data)
{
	struct mailbox *m = mailbox();
	uint32_t req = m->req + 1;

	m->op = op;
	m->size = size;
	m->addr = addr;
	m->data = data;
	__atomic_store_n(&m->req, req, __ATOMIC_SEQ_CST);
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* `req` before `sleeping`: the agent looks in the opposite order */
	ring_doorbell();
	return req;
}

uint64_t mailbox_call(enum mailbox_op op, uint64_t addr, uint32_t size, uint64_t data)
{
	static const char *const name[] = { "?", "MMIO read", "MMIO write", "port read", "port write" };
	uint32_t req = post(op, addr, size, data);

	wait_for(&mailbox()->done, req, name[op], addr);
	return mailbox()->result;
}

void mailbox_wait_agents(void)
{
	for (unsigned c = 0; c < bx_cpu_count; c++)
		wait_for(&mailbox_ring(c)->alive, MAILBOX_ALIVE, "start of vCPU", c);
}

void mailbox_reset_platform(void)
{
	for (unsigned c = 0; c < bx_cpu_count; c++)
		mailbox_ring(c)->alive = 0;
	post(OP_PORT_WRITE, 0xCF9, 1, 6); /* no answer: the agent restarts */
	mailbox_wait_agents();
}
