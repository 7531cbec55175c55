/*
 * What the shell's two devices have in common: steps, memory, interrupts, counts (shell_dev.h).
 */
#include "guest/net/shell_dev.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/lib/clock.h"
#include "guest/lib/memory.h"

int shell_fail(const char *what, int err)
{
	printf("guest: nic: %s: error %d\n", what, err);
	return err;
}

int shell_undo(struct nic *n, const struct shell_step *steps, u32 nr)
{
	int err, first = 0;

	while (nr--) {
		err = steps[nr].undo ? steps[nr].undo(n) : 0;
		if (err && !first)
			first = shell_fail(steps[nr].name, err);
	}
	return first;
}

int shell_run(struct nic *n, const struct shell_step *steps, u32 nr)
{
	for (u32 i = 0; i < nr; i++) {
		int err = steps[i].go(n);
		bool done = !err;
		if (done && n->step && n->step(n->step_arg, steps[i].name))
			err = -EIO;
		if (err) {
			shell_fail(steps[i].name, err);
			(void)shell_undo(n, steps, i + done);
			return err;
		}
	}
	return 0;
}

u8 *shell_pool_take(struct shell_pool *p, u64 len)
{
	if (p->len < len) {
		p->memory = memory_pages(ALIGN_UP(len, PAGE_SIZE) / PAGE_SIZE);
		p->len = p->memory ? len : 0;
	}
	return p->memory ? memset(p->memory, 0, len) : NULL;
}

int dev_init(struct nic_dev *d, struct shell_pool *pool, u64 regs, void (*rx)(void *arg, const u8 *frame, u32 len))
{
	struct nic *n = d->nic;

	d->dma_len = ALIGN_UP(d->ops.dma_len, PAGE_SIZE);
	d->state = calloc(1, d->ops.state_len);
	d->env = (struct nic_plugin_env){
		.size = sizeof(d->env), .max_frame = MIN(n->info.max_frame, 1518u), .regs = (volatile u8 *)regs,
		.dma = shell_pool_take(pool, d->dma_len), .tsc_khz = clock_khz(), .rx = rx, .rx_arg = n, .flags = n->flags, .vectors = 2,
	};
	d->env.dma_iova = (u64)d->env.dma;
	if (d->state && d->env.dma)
		return 0;
	free(d->state);
	d->state = NULL;
	return -ENOMEM;
}

void dev_fini(struct nic_dev *d)
{
	free(d->state);
	d->state = NULL;
}

void dev_irq(void *dev)
{
	struct nic_dev *d = dev;

	__atomic_fetch_add(&d->nic->irqs, 1, __ATOMIC_RELAXED);
	d->ops.irq_enable(d->state, false);
	WRITE_ONCE(d->nic->irq_work, 1);
}

void dev_irq_on(struct nic_dev *d)
{
	if (d->nic->wait == NIC_POLL)
		return;
	d->ops.irq_enable(d->state, true);
	WRITE_ONCE(d->nic->irq_work, 1);
}

void dev_irq_off(struct nic_dev *d)
{
	if (d->nic->wait != NIC_POLL)
		d->ops.irq_enable(d->state, false);
}

static void add(struct nic_plugin_stats *to, const struct nic_plugin_stats *s)
{
	to->rx_frames += s->rx_frames;
	to->rx_bytes += s->rx_bytes;
	to->tx_frames += s->tx_frames;
	to->tx_bytes += s->tx_bytes;
	to->rx_errors += s->rx_errors;
	to->tx_full += s->tx_full;
}

void dev_counts(const struct nic_dev *d, struct nic_plugin_stats *out)
{
	struct nic_plugin_stats s;

	*out = d->past;
	if (!d->running)
		return;
	d->ops.stats(d->state, &s);
	add(out, &s);
}
