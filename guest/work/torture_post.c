/*
 * Self-armed posting with a descriptor full of nonsense: whatever we write there harms nobody but us. The page belongs to the processor's
 * delivery of interrupts to this vCPU, so traffic goes on as long as somebody looks at the ring; at the end the VM goes away armed, with
 * interrupts on their way to it.
 */
#include <stdio.h>
#include <string.h>

#include "guest/lib/clock.h"
#include "guest/lib/memory.h"
#include "guest/lib/nest.h"
#include "guest/lib/traps.h"
#include "guest/lib/x86.h"
#include "guest/net/port.h"
#include "guest/work/pinger.h"
#include "guest/work/work.h"
#include "nic/plugin/igbvf_regs.h"

#define WORDS (PAGE_SIZE / sizeof(u64))
#define PIR_WORDS 4u
#define TRIES 8u
#define LAST_INTERRUPTS 50u

static u64 seed = 0x9e3779b97f4a7c15ull;

static u64 noise(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	return seed ^= seed << 17;
}

/* Vectors 16 to 31 are exceptions to our IDT: they would harm us. Those below are no interrupts at all (SDM 3A, Valid Interrupt Vectors). */
#define HARMLESS ~BITS(31, 16)
static void scribble(u64 *page)
{
	for (u32 i = 0; i < WORDS; i++)
		WRITE_ONCE(page[i], noise() & (i ? ~0ull : HARMLESS));
	if (noise() & 1)
		WRITE_ONCE(page[PIR_WORDS], noise() & 1 ? ~0ull : 0); /* outstanding notification, notification vector and destination */
	if (!(noise() & 3))
		memset(page, 0, PAGE_SIZE);
}

static volatile u8 *registers(void) { return (volatile u8 *)memory_device_window(); }

/* A ping whose answer may have come without an interrupt, for the bit may be gone: somebody looks. */
static bool exchange(struct pinger *p, u64 us)
{
	for (u32 i = 0; i < TRIES; i++) {
		WRITE_ONCE(p->net.nic.irq_work, 1);
		if (pinger_exchange(p, us / TRIES))
			return true;
	}
	return false;
}

static u32 refused(const struct nic *n)
{
	u64 page = (u64)n->posted, h = n->handle;
	struct nest_nic_irq irq = { .vector = NIC_VECTOR, .apic_id = apic_id(), .pi_gpa = ~0ull };
	u32 failed = work_check_result(port_irq_post(h, 0, NEST_POST_SELF, page), -EBUSY, "post-twice");

	failed += work_check_result(port_irq_set(h, 0, &irq), -EBUSY, "post-retarget");
	failed += work_check_result(port_irq_post(h, 0, 3, page), -EINVAL, "post-how");
	failed += work_check_result(port_irq_post(h, 1, NEST_POST_SELF, page), -EINVAL, "post-not-set-up");
	failed += work_check_result(port_irq_post(h, 0, NEST_POST_OFF, 0), 0, "post-off");
	failed += work_check_result(port_irq_post(h, 0, NEST_POST_OFF, 0), -EINVAL, "post-off-twice");
	failed += work_check_result(port_irq_post(h, 0, NEST_POST_SELF, page + 64), -EINVAL, "post-alignment");
	failed += work_check_result(port_irq_post(h, 0, NEST_POST_SELF, 0xfee00000), -EFAULT, "post-apic");
	failed += work_check_result(port_irq_post(h, 0, NEST_POST_SELF, memory_device_window()), -EFAULT, "post-device");
	failed += work_check_result(port_irq_post(h, 0, NEST_POST_SELF, ~0xfffull), -EFAULT, "post-nowhere");
	return failed + work_check_result(port_irq_post(h, 0, NEST_POST_SELF, page), 0, "post-on");
}

/* Every vector, while interrupts are off: they stay pending, and the VM ends with them. */
static void leave_armed(const struct nic *n)
{
	irq_disable();
	for (u32 i = 0; i < LAST_INTERRUPTS; i++) {
		memset(n->posted, 0xff, PAGE_SIZE);
		WRITE_ONCE(n->posted[0], HARMLESS);
		vf_write(registers(), VF_EIMS, 1);
		vf_write(registers(), VF_EICS, 1);
	}
}

u32 work_torture_post(const struct cmdline *c)
{
	static struct pinger p;
	u64 count = cmdline_u64(c, "count", 200), us = cmdline_u64(c, "wait", 30) * 1000000, good = 0;

	nest_phase(PHASE_CONTROL);
	if (pinger_open(&p, c, us) || !p.net.nic.posted)
		return work_check(false, "post-open");
	u32 failed = refused(&p.net.nic);
	for (u64 i = 0; i < count; i++) {
		scribble(p.net.nic.posted);
		vf_write(registers(), VF_EIMS, 1);
		vf_write(registers(), VF_EICS, 1);
		scribble(p.net.nic.posted);
		good += exchange(&p, us);
	}
	printf("guest: torture-post: %llu of %llu answered, %llu interrupts, %llu of them nobody's\n", (unsigned long long)good,
	       (unsigned long long)count, (unsigned long long)irq_taken(), (unsigned long long)irq_unbound());
	failed += work_check(good == count, "post-pings");
	leave_armed(&p.net.nic);
	return failed;
}
