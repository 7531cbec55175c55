/*
 * HC_NIC_IRQ_*: arguments, who is posted to, retargeting, storms.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/nic_lower.h"

/* ---- interrupts ---- */

static void interrupt_arguments(void **state)
{
	(void)state;
	assert_int_equal(irq(3, 0x40, 0, ~0ull, 0), -EINVAL);
	assert_int_equal(irq(0, 15, 0, ~0ull, 0), -EINVAL);
	assert_int_equal(irq(0, 256, 0, ~0ull, 0), -EINVAL);
	assert_int_equal(irq(0, 0x40, 2, ~0ull, 0), -EINVAL);
	assert_int_equal(irq(0, 0x40, 0, 32, 0x40), -EINVAL);
	assert_int_equal(irq(0, 0x40, 0, 64, 15), -EINVAL);
	assert_int_equal(irq(0, 0x40, 0, BIT(40), 0x40), -EFAULT);
	assert_int_equal(hc(0, HC_NIC_IRQ_MASK, (u64)handle, 0, 1), -EINVAL); /* not set up */
	assert_int_equal(hc(0, HC_NIC_IRQ_CLEAR, (u64)handle, 0, 0), -EINVAL);
	assert_int_equal(hc(0, HC_NIC_IRQ_MASK, (u64)handle, 0, 2), -EINVAL);
	assert_int_equal(low[0].calls[OP_IRQ_SET], 0);
	assert_int_equal(fake_balance.vectors, 0);
}

static void interrupts_reach_the_vcpu(void **state)
{
	struct nic_irq_request *req = &low[0].irq[0];
	(void)state;
	assert_int_equal(irq(0, 0x61, 1, ~0ull, 0), 0);
	assert_int_equal(req->cpu, 1);
	assert_int_equal(req->pi.v, 0xd000 + PAGE_SIZE); /* the vCPU's own descriptor, for who takes it below us */
	assert_int_equal(req->pi_vector, 0x61);
	fake_running_pi = req->pi;
	assert_true(fake_irq(1, req->host_vector));
	assert_int_equal(fake_own_posts[1], 1); /* our own vCPU is final: posted, never past it */
	assert_int_equal(fake_own_vector[1], 0x61);
	assert_int_equal(fake_direct_posts, 0);
	assert_int_equal(vm[0]->ports[0]->nr_irqs, 1);
	/* an inner names its guest's descriptor */
	u64 pi = (u64)fake_vm_ram(vm[0], 0x5000);
	assert_int_equal(irq(0, 0x62, 1, 0x5000, 0x99), 0);
	assert_int_equal(fake_balance.vectors, 1); /* same CPU: same vector of ours */
	assert_int_equal(req->pi.v, pi);
	assert_int_equal(req->pi_vector, 0x99);
	assert_true(fake_irq(1, req->host_vector));
	assert_int_equal(fake_own_vector[1], 0x62);
	fake_running_pi = HPA(pi);
	assert_true(fake_irq(1, req->host_vector));
	assert_int_equal(fake_direct_posts, 1);
	assert_int_equal(fake_own_posts[1], 2);
	/* to the other CPU */
	u8 old = req->host_vector;
	assert_int_equal(irq(0, 0x63, 0, ~0ull, 0), 0);
	assert_int_equal(req->cpu, 0);
	assert_false(fake_irq(1, old));
	assert_true(fake_irq(0, req->host_vector));
	assert_int_equal(fake_own_vector[0], 0x63);
	assert_int_equal(hc(0, HC_NIC_IRQ_CLEAR, (u64)handle, 0, 0), 0);
	assert_int_equal(fake_balance.vectors, 0);
	assert_false(low[0].irq_used[0]);
}

static void a_refused_retarget_changes_nothing(void **state)
{
	(void)state;
	low[0].fail[OP_IRQ_SET] = -ENOSPC;
	assert_int_equal(irq(0, 0x61, 0, ~0ull, 0), -ENOSPC);
	assert_int_equal(fake_balance.vectors, 0);
	fake.err_vector = -ENOSPC;
	assert_int_equal(irq(0, 0x61, 0, ~0ull, 0), -ENOMEM);
	assert_int_equal(irq(0, 0x61, 0, ~0ull, 0), 0);
	low[0].fail[OP_IRQ_SET] = -EIO;
	assert_int_equal(irq(0, 0x62, 1, ~0ull, 0), -EIO);
	assert_int_equal(fake_balance.vectors, 1);
	assert_true(fake_irq(0, low[0].irq[0].host_vector));
	assert_int_equal(fake_own_vector[0], 0x61);
	low[0].fail[OP_IRQ_CLEAR] = -EIO;
	assert_int_equal(hc(0, HC_NIC_IRQ_CLEAR, (u64)handle, 0, 0), -EIO);
	assert_true(fake_irq(0, low[0].irq[0].host_vector));
}

static void storms_are_bounded(void **state)
{
	struct nic_port *p = vm[0]->ports[0];
	(void)state;
	assert_int_equal(irq(0, 0x61, 0, ~0ull, 0), 0);
	for (u32 i = 0; i < 30000 && !low[0].irq_masked[0]; i++) {
		p->irq[0].window_start = rdtsc(); /* the window does not end */
		assert_true(fake_irq(0, low[0].irq[0].host_vector));
	}
	assert_true(low[0].irq_masked[0]);
	assert_int_equal(p->irq[0].window_count, 20001);
	assert_int_equal(hc(0, HC_NIC_IRQ_MASK, (u64)handle, 0, 0), 0);
	assert_true(low[0].irq_masked[0]); /* the VM cannot lift it */
	assert_int_equal(hc(0, HC_NIC_IRQ_CLEAR, (u64)handle, 0, 0), 0);
	assert_int_equal(irq(0, 0x61, 0, ~0ull, 0), 0);
	assert_true(low[0].irq_masked[0]); /* … nor by setting it up again */
	spin_lock(&p->lock);
	assert_true(fake_timer()); /* somebody has the port: later */
	spin_unlock(&p->lock);
	assert_true(low[0].irq_masked[0]);
	assert_true(fake_timer());
	assert_false(low[0].irq_masked[0]);
}

/* ---- self-armed posting ---- */

static void posting_arguments(void **state)
{
	(void)state;
	assert_int_equal(post(0, NEST_POST_SELF, 0x3000), -EINVAL); /* not set up */
	assert_int_equal(irq(0, 0x61, 1, ~0ull, 0), 0);
	assert_int_equal(post(3, NEST_POST_SELF, 0x3000), -EINVAL);
	assert_int_equal(post(0, 3, 0x3000), -EINVAL);
	assert_int_equal(post(0, 1ull << 32 | NEST_POST_SELF, 0x3000), -EINVAL);
	assert_int_equal(post(0, NEST_POST_SELF, 0x3040), -EINVAL);
	assert_int_equal(post(0, NEST_POST_SELF, BIT(40)), -EFAULT);
	assert_int_equal(post(0, NEST_POST_SELF, ~0xfffull), -EFAULT);
	assert_int_equal(post(0, NEST_POST_OFF, 0), -EINVAL); /* off already */
	cfg[0].nics[0].may_post = false;
	assert_int_equal(post(0, NEST_POST_SELF, 0x3000), -EPERM);
	assert_int_equal(post(0, NEST_POST_GUEST, 0x3000), -EPERM);
	cfg[0].nics[0].may_post = true;
	fake.err_arm = -ENOTSUP;
	assert_int_equal(post(0, NEST_POST_SELF, 0x3000), -ENOTSUP);
	assert_int_equal(low[0].calls[OP_IRQ_POST], 0);
	low[0].fail[OP_IRQ_POST] = -EPERM; /* further out */
	assert_int_equal(post(0, NEST_POST_SELF, 0x3000), -EPERM);
	assert_int_equal(fake_balance.lent, 0);
	assert_int_equal(irq(0, 0x62, 1, ~0ull, 0), 0); /* as before */
}

static void posting_lends_the_vector(void **state)
{
	struct fake_lent *self = &fake_lent[1][0], *inner = &fake_lent[1][1];
	(void)state;
	assert_int_equal(irq(0, 0x61, 1, ~0ull, 0), 0);
	assert_int_equal(post(0, NEST_POST_SELF, 0x3000), 0);
	assert_true(self->on);
	assert_int_equal(self->vector, 0x61);
	assert_int_equal(self->host_vector, low[0].irq[0].host_vector);
	assert_int_equal(self->page.v, (u64)fake_vm_ram(vm[0], 0x3000));
	assert_int_equal(low[0].irq_page[0].v, self->page.v);
	assert_int_equal(post(0, NEST_POST_SELF, 0x4000), -EBUSY);
	assert_int_equal(irq(1, 0x63, 1, ~0ull, 0), 0);
	assert_int_equal(post(1, NEST_POST_SELF, 0x4000), -EBUSY); /* one for a vCPU … */
	assert_int_equal(post(1, NEST_POST_GUEST, 0x4000), 0);     /* … and one for its guest */
	assert_int_equal(inner->vector, 0x63);
	assert_int_not_equal(inner->host_vector, self->host_vector);
	assert_int_equal(irq(0, 0x62, 0, ~0ull, 0), -EBUSY); /* not moved while it is lent */
	/* whoever else runs there: as ever */
	vm[0]->ports[0]->irq[0].window_count = 0; /* the storm of another test */
	assert_true(fake_irq(1, self->host_vector));
	assert_int_equal(fake_own_posts[1], 1);
	assert_int_equal(fake_own_vector[1], 0x61);
	assert_int_equal(post(0, NEST_POST_OFF, 0), 0);
	assert_false(self->on);
	assert_int_equal(low[0].irq_page[0].v, HPA_NONE.v);
	assert_int_equal(irq(0, 0x62, 0, ~0ull, 0), 0);
	assert_true(inner->on);
}

static void posting_ends_with_the_interrupt(void **state)
{
	(void)state;
	assert_int_equal(irq(0, 0x61, 1, ~0ull, 0), 0);
	assert_int_equal(post(0, NEST_POST_SELF, 0x3000), 0);
	assert_int_equal(hc(0, HC_NIC_IRQ_CLEAR, (u64)handle, 0, 0), 0);
	assert_int_equal(fake_balance.lent, 0);
	assert_int_equal(irq(0, 0x61, 1, ~0ull, 0), 0);
	assert_int_equal(post(0, NEST_POST_SELF, 0x3000), 0);
	assert_int_equal(hc(0, HC_NIC_FREE, (u64)handle, 0, 0), 0);
	assert_int_equal(fake_balance.lent, 0);
	handle = hc(0, HC_NIC_ALLOC, 0, 0, 0);
	assert_int_equal(irq(0, 0x61, 0, ~0ull, 0), 0);
	assert_int_equal(post(0, NEST_POST_SELF, 0x3000), 0); /* stop(): ends with the VM */
}

/* The processor takes those of a vCPU that runs. Those that come to us, because it does not, are bounded as ever. */
static void posting_storms_are_bounded(void **state)
{
	struct nic_port *p = vm[0]->ports[0];
	(void)state;
	assert_int_equal(irq(0, 0x61, 1, ~0ull, 0), 0);
	assert_int_equal(post(0, NEST_POST_SELF, 0x3000), 0);
	p->irq[0].window_count = 0;
	for (u32 i = 0; i < 30000 && !low[0].irq_masked[0]; i++) {
		p->irq[0].window_start = rdtsc();
		assert_true(fake_irq(1, low[0].irq[0].host_vector));
	}
	assert_true(low[0].irq_masked[0]);
	assert_int_equal(fake_own_posts[1], 20001);
	assert_true(fake_timer());
	assert_false(low[0].irq_masked[0]);
	assert_true(fake_lent[1][0].on);
}

/* Interrupts that tell a vCPU nothing, for it does not run: a few of them are enough. One that does begins anew. */
static void idle_storms_are_masked_soon(void **state)
{
	struct nic_port *p = vm[0]->ports[0];
	(void)state;
	assert_int_equal(irq(0, 0x61, 1, ~0ull, 0), 0);
	assert_int_equal(post(0, NEST_POST_SELF, 0x3000), 0);
	p->irq[0].window_count = 0;
	fake.idle = true;
	for (u32 i = 0; i < 31; i++)
		assert_true(fake_irq(1, low[0].irq[0].host_vector));
	fake.idle = false;
	assert_true(fake_irq(1, low[0].irq[0].host_vector));
	fake.idle = true;
	for (u32 i = 0; i < 31; i++)
		assert_true(fake_irq(1, low[0].irq[0].host_vector));
	assert_false(low[0].irq_masked[0]);
	assert_true(fake_irq(1, low[0].irq[0].host_vector));
	assert_true(low[0].irq_masked[0]);
	assert_true(fake_timer());
	assert_false(low[0].irq_masked[0]);
	assert_true(fake_irq(1, low[0].irq[0].host_vector)); /* the one that MSI-X kept */
	assert_false(low[0].irq_masked[0]);
	for (u32 i = 0; i < 31; i++)
		assert_true(fake_irq(1, low[0].irq[0].host_vector));
	assert_true(low[0].irq_masked[0]);
	fake.idle = false;
	assert_true(fake_timer());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(interrupt_arguments), T(interrupts_reach_the_vcpu), T(a_refused_retarget_changes_nothing),
		T(storms_are_bounded), T(posting_arguments), T(posting_lends_the_vector), T(posting_ends_with_the_interrupt),
		T(posting_storms_are_bounded), T(idle_storms_are_masked_soon),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
