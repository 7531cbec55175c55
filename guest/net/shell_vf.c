/*
 * The virtual function below the shell: allocated, its plugin loaded, its registers and memory mapped, started; and the same backwards.
 */
#include <stdio.h>
#include <string.h>

#include "guest/lib/memory.h"
#include "guest/lib/traps.h"
#include "guest/lib/x86.h"
#include "guest/net/plugin_load.h"
#include "guest/net/port.h"
#include "guest/net/shell_dev.h"

static struct shell_pool pool, image_pool, post_pool;

static void rx(void *arg, const u8 *frame, u32 len)
{
	struct nic *n = arg;

	if (n->drop_all)
		n->count.left++;
	else if (!memcmp(frame + 6, n->info.mac, 6))
		n->count.own++;
	else if (n->group_twice && frame[0] & 1)
		n->count.duplicate++;
	else
		n->rx(n->rx_arg, frame, len);
}

static struct nest_nic_dma dma_range(const struct nic *n)
{
	return (struct nest_nic_dma){ .iova = n->vf.env.dma_iova, .gpa = n->vf.env.dma_iova, .len = n->vf.dma_len,
				      .perm = NEST_DMA_READ | NEST_DMA_WRITE };
}

static int allocate(struct nic *n)
{
	s64 handle = port_alloc(n->port, n->alloc_flags);

	n->handle = handle > 0 ? (u64)handle : 0;
	return handle > 0 ? 0 : handle ? (int)handle : -EIO;
}

static int give_back(struct nic *n) { return port_free(n->handle); }

/* All groups, as the emulated device takes them when nobody tells it which: the stack sees no difference. */
static int configure(struct nic *n)
{
	struct nest_nic_conf conf = { .what = NEST_CONF_MAX_FRAME, .max_frame = MIN(n->info.max_frame, 1518u) };

	if (n->nr_groups) {
		conf.what |= NEST_CONF_GROUPS;
		conf.nr_groups = MIN(n->nr_groups, NIC_GROUPS);
		memcpy(conf.group, n->group, conf.nr_groups * sizeof(n->group[0]));
	} else if (n->info.caps & NEST_CAP_PROMISC_GROUPS) {
		conf.what |= NEST_CONF_PROMISC;
		conf.flags = NEST_CONF_FLAG_ALL_GROUPS;
	}
	int err = port_configure(n->handle, &conf);

	return err == -ENOTSUP ? 0 : err; /* the hardware's own limit is then as good */
}

static int map_regs(struct nic *n) { return port_map_regs(n->handle, memory_device_window()); }
static int unmap_regs(struct nic *n) { return port_unmap_regs(n->handle); }

/* Each time anew: the function may be another one, further out, and the chain may hand up another plugin. */
static int load(struct nic *n)
{
	u8 *image = shell_pool_take(&image_pool, NIC_PLUGIN_IMAGE_MAX);
	int err = image ? plugin_load(n->port, n->info.family, image, &n->vf.ops) : -ENOMEM;

	n->vf.nic = n;
	return err ? err : dev_init(&n->vf, &pool, memory_device_window(), rx);
}

static int unload(struct nic *n)
{
	dev_fini(&n->vf);
	return 0;
}

static int map_memory(struct nic *n)
{
	struct nest_nic_dma dma = dma_range(n);
	return port_dma_map(n->handle, &dma, 1);
}

static int unmap_memory(struct nic *n)
{
	struct nest_nic_dma dma = dma_range(n);
	return port_dma_unmap(n->handle, &dma, 1);
}

static int start(struct nic *n)
{
	int err = n->vf.ops.start(n->vf.state, &n->vf.env);

	n->vf.running = !err;
	n->twice = 0;
	return err;
}

/* What the function received and nobody wants any more belongs to the counts all the same: the hardware counted it, too. */
static int stop(struct nic *n)
{
	struct nic_plugin_stats s;
	int err = n->vf.ops.stop(n->vf.state);

	n->drop_all = true;
	while (n->vf.ops.rx_poll(n->vf.state, 64))
		;
	n->drop_all = false;
	dev_counts(&n->vf, &s);
	n->vf.past = s;
	n->vf.running = false;
	return err;
}

/* A wish: without it interrupts come all the same. The plugin arms it each time that it unmasks the device. */
static void post_start(struct nic *n)
{
	u64 *page = (u64 *)shell_pool_take(&post_pool, PAGE_SIZE);
	int err = page ? port_irq_post(n->handle, 0, NEST_POST_SELF, (u64)page) : -ENOMEM;

	if (err) {
		printf("guest: nic: no self-armed posting: error %d\n", err);
		return;
	}
	n->posted = page;
	n->vf.env.post_word = page + NIC_VECTOR / 64;
	n->vf.env.post_bit = BIT(NIC_VECTOR % 64);
}

static int irq_start(struct nic *n)
{
	struct nest_nic_irq irq = { .vector = NIC_VECTOR, .apic_id = apic_id(), .pi_gpa = ~0ull };
	int err;

	if (n->wait == NIC_POLL)
		return 0;
	irq_bind(NIC_VECTOR, dev_irq, &n->vf);
	if (!(err = port_irq_set(n->handle, 0, &irq)))
		err = port_irq_mask(n->handle, 0, 0);
	if (err) {
		irq_bind(NIC_VECTOR, NULL, NULL);
		return err;
	}
	if (n->post)
		post_start(n);
	irq_enable();
	return 0;
}

static int irq_stop(struct nic *n)
{
	if (n->wait == NIC_POLL)
		return 0;
	dev_irq_off(&n->vf);
	n->vf.env.post_word = n->posted = NULL;
	int err = port_irq_clear(n->handle, 0);
	irq_bind(NIC_VECTOR, NULL, NULL);
	return err;
}

static const struct shell_step steps[] = {
	{ "allocate", allocate, give_back }, { "configure", configure, NULL }, { "map registers", map_regs, unmap_regs },
	{ "plugin", load, unload }, { "map memory", map_memory, unmap_memory }, { "start", start, stop },
	{ "interrupt", irq_start, irq_stop },
};

int vf_open(struct nic *n) { return shell_run(n, steps, ARRAY_SIZE(steps)); }
int vf_close(struct nic *n) { return shell_undo(n, steps, ARRAY_SIZE(steps)); }

u32 vf_poll(struct nic *n, u32 budget)
{
	u32 done = 0;

	if (n->twice) {
		n->group_twice = true;
		done = n->vf.ops.rx_poll(n->vf.state, MIN(budget, n->twice));
		n->group_twice = false;
		n->twice -= done;
		if (n->twice)
			return done;
	}
	return done + n->vf.ops.rx_poll(n->vf.state, budget - done);
}

/* In small steps, and no more than a ring: who sends without a pause does not keep us here. */
void vf_discard(struct nic *n)
{
	n->group_twice = true;
	for (u32 i = 0; i < 8 && n->vf.ops.rx_poll(n->vf.state, 32) == 32; i++)
		;
	n->group_twice = false;
}
