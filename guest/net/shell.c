/*
 * The shell (shell.h).
 */
#include "guest/net/shell.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/lib/clock.h"
#include "guest/lib/memory.h"
#include "guest/lib/traps.h"
#include "guest/net/port.h"
#include "nic/plugin/igbvf.h"

#define IDLE_US 100 /* one round of waiting by spinning */

static const struct nic_plugin_ops vf_plugin = {
	.abi = NIC_PLUGIN_ABI, .size = sizeof(struct nic_plugin_ops), .name = "igbvf", .state_len = IGBVF_STATE_LEN,
	.dma_len = IGBVF_DMA_LEN, .start = igbvf_start, .stop = igbvf_stop, .tx = igbvf_tx, .tx_kick = igbvf_tx_kick,
	.tx_pending = igbvf_tx_pending, .rx_poll = igbvf_rx_poll, .rx_before = igbvf_rx_before, .irq_enable = igbvf_irq_enable,
	.stats = igbvf_stats,
};
static u8 *dma_pool; /* device memory is kept for the next opening: pages are never given back */
static u64 dma_pool_len;

static int fail(const char *what, int err)
{
	printf("guest: nic: %s: error %d\n", what, err);
	return err;
}

static const struct nic_plugin_ops *find_plugin(const struct nest_nic_info *info) { return info->family == 1 ? &vf_plugin : NULL; }

static u8 *dma_memory(u64 len)
{
	if (dma_pool_len < len) {
		dma_pool = memory_pages(ALIGN_UP(len, PAGE_SIZE) / PAGE_SIZE);
		dma_pool_len = dma_pool ? len : 0;
	}
	return dma_pool ? memset(dma_pool, 0, len) : NULL;
}

static struct nest_nic_dma dma_range(const struct nic *n)
{
	return (struct nest_nic_dma){ .iova = n->env.dma_iova, .gpa = n->env.dma_iova, .len = n->dma_len,
				      .perm = NEST_DMA_READ | NEST_DMA_WRITE };
}

static void irq_arrived(void *arg)
{
	struct nic *n = arg;

	__atomic_fetch_add(&n->irqs, 1, __ATOMIC_RELAXED);
	n->plugin->irq_enable(n->state, false);
	WRITE_ONCE(n->irq_work, 1);
}

/* Private state and device memory of the plugin, and what it gets to see. */
static int env_init(struct nic *n)
{
	n->dma_len = ALIGN_UP(n->plugin->dma_len, PAGE_SIZE);
	n->state = calloc(1, n->plugin->state_len);
	n->env = (struct nic_plugin_env){
		.size = sizeof(n->env), .max_frame = MIN(n->info.max_frame, 1518u),
		.regs = (volatile u8 *)memory_device_window(), .dma = dma_memory(n->dma_len), .tsc_khz = clock_khz(),
		.rx = n->rx, .rx_arg = n->rx_arg,
	};
	n->env.dma_iova = (u64)n->env.dma;
	if (n->state && n->env.dma)
		return 0;
	free(n->state);
	return -ENOMEM;
}

static int configure(struct nic *n)
{
	struct nest_nic_conf conf = { .what = NEST_CONF_MAX_FRAME, .max_frame = n->env.max_frame };
	int err = port_configure(n->handle, &conf);

	return err == -ENOTSUP ? 0 : err; /* the hardware's own limit is then as good */
}

static int irq_start(struct nic *n)
{
	struct nest_nic_irq irq = { .vector = NIC_VECTOR, .apic_id = apic_id(), .pi_gpa = ~0ull };
	int err;

	if (n->wait == NIC_POLL)
		return 0;
	irq_bind(NIC_VECTOR, irq_arrived, n);
	err = port_irq_set(n->handle, 0, &irq);
	if (!err)
		err = port_irq_mask(n->handle, 0, 0);
	if (err) {
		irq_bind(NIC_VECTOR, NULL, NULL);
		return err;
	}
	n->plugin->irq_enable(n->state, true);
	irq_enable();
	return 0;
}

static void irq_stop(struct nic *n)
{
	if (n->wait == NIC_POLL)
		return;
	n->plugin->irq_enable(n->state, false);
	port_irq_clear(n->handle, 0);
	irq_disable();
	irq_bind(NIC_VECTOR, NULL, NULL);
}

int nic_open(struct nic *n)
{
	struct nest_nic_dma dma;
	int err = port_info(n->port, &n->info);

	if (err)
		return fail("port", err);
	n->plugin = find_plugin(&n->info);
	if (!n->plugin)
		return fail("no plugin for this family of devices", -ENODEV);
	if ((err = env_init(n)))
		return fail("memory", err);
	s64 handle = port_alloc(n->port, 0);
	if (handle <= 0) {
		err = fail("allocate", handle ? (int)handle : -EIO);
		goto free_state;
	}
	n->handle = (u64)handle;
	if ((err = configure(n))) {
		fail("configure", err);
		goto free_port;
	}
	if ((err = port_map_regs(n->handle, (u64)n->env.regs))) {
		fail("map registers", err);
		goto free_port;
	}
	dma = dma_range(n);
	if ((err = port_dma_map(n->handle, &dma, 1))) {
		fail("map memory", err);
		goto unmap_regs;
	}
	if ((err = n->plugin->start(n->state, &n->env))) {
		fail(n->plugin->name, err);
		goto unmap_dma;
	}
	if (!(err = irq_start(n)))
		return 0;
	fail("interrupt", err);
	n->plugin->stop(n->state);
unmap_dma:
	port_dma_unmap(n->handle, &dma, 1);
unmap_regs:
	port_unmap_regs(n->handle);
free_port:
	port_free(n->handle);
free_state:
	free(n->state);
	return err;
}

int nic_close(struct nic *n)
{
	struct nest_nic_dma dma = dma_range(n);
	int err, first = 0;

	irq_stop(n);
	if ((err = n->plugin->stop(n->state)))
		first = fail("the device does not stop", err);
	if ((err = port_dma_unmap(n->handle, &dma, 1)))
		first = fail("unmap memory", err);
	if ((err = port_unmap_regs(n->handle)))
		first = fail("unmap registers", err);
	if ((err = port_free(n->handle)))
		first = fail("free", err);
	free(n->state);
	n->state = NULL;
	return first;
}

int nic_tx(struct nic *n, const u8 *frame, u32 len) { return n->plugin->tx(n->state, frame, len); }
void nic_tx_kick(struct nic *n) { n->plugin->tx_kick(n->state); }

u32 nic_poll(struct nic *n, u32 budget)
{
	u32 done;

	if (n->wait == NIC_POLL)
		return n->plugin->rx_poll(n->state, budget);
	if (!__atomic_exchange_n(&n->irq_work, 0, __ATOMIC_ACQUIRE))
		return 0;
	done = n->plugin->rx_poll(n->state, budget);
	if (done < budget) {
		/* Unmask, then look again: what arrived in between may not have raised an interrupt. */
		n->plugin->irq_enable(n->state, true);
		done += n->plugin->rx_poll(n->state, budget - done);
	}
	if (done == budget)
		WRITE_ONCE(n->irq_work, 1); /* masked or not, there may be more: come back without an interrupt */
	return done;
}

void nic_idle(struct nic *n)
{
	if (n->wait == NIC_POLL)
		return;
	if (n->wait == NIC_IRQ_SPIN) {
		u64 end = clock_deadline(IDLE_US);
		while (!READ_ONCE(n->irq_work) && !clock_passed(end))
			;
		return;
	}
	irq_disable();
	if (!READ_ONCE(n->irq_work)) {
		n->halts++;
		irq_enable_halt_disable();
	}
	irq_enable();
}

void nic_plugin_counts(const struct nic *n, struct nic_plugin_stats *out) { n->plugin->stats(n->state, out); }
