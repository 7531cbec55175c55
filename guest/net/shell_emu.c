/*
 * The emulated device below the shell: virtio-net, on the VM's PCI bus, driven by the built-in plugin. It runs from nic_open to nic_close in
 * both states, so that falling back needs nothing that could fail.
 */
#include <string.h>

#include "guest/lib/memory.h"
#include "guest/lib/traps.h"
#include "guest/lib/x86.h"
#include "guest/net/shell_dev.h"
#include "guest/net/virtio_plugin.h"

static struct shell_pool pool;

static void config_changed(void *arg) { WRITE_ONCE(((struct nic *)arg)->events, 1); }

static void rx(void *arg, const u8 *frame, u32 len)
{
	struct nic *n = arg;

	if (len == sizeof(struct nest_nic_end) && !memcmp(frame, NEST_NIC_END_MAGIC, len))
		n->end = true;
	else if (len >= 12 && !memcmp(frame + 6, n->info.mac, 6))
		n->count.own++;
	else
		n->rx(n->rx_arg, frame, len);
}

static int find(struct nic *n) { return n->info.emu_rid ? pci_open(n->info.emu_rid, &n->pci) : -ENODEV; }

static int lose(struct nic *n)
{
	pci_close(&n->pci);
	return 0;
}

static int route(struct nic *n)
{
	int err = pci_msix_set(&n->pci, VIRTIO_PLUGIN_RX_ENTRY, NIC_EMU_VECTOR, apic_id());

	if (!err)
		err = pci_msix_set(&n->pci, VIRTIO_PLUGIN_CONFIG_ENTRY, NIC_CONFIG_VECTOR, apic_id());
	return err;
}

static int memory(struct nic *n)
{
	n->emu.nic = n;
	n->emu.ops = virtio_plugin;
	return dev_init(&n->emu, &pool, (u64)n->pci.bar0, rx);
}

static int give_memory(struct nic *n)
{
	dev_fini(&n->emu);
	return 0;
}

/* Changes may be told from the start on; frames only when the device's interrupt is unmasked. */
static int start(struct nic *n)
{
	irq_bind(NIC_CONFIG_VECTOR, config_changed, n);
	int err = n->emu.ops.start(n->emu.state, &n->emu.env);

	if (err) {
		irq_bind(NIC_CONFIG_VECTOR, NULL, NULL);
		return err;
	}
	n->emu.running = true;
	irq_bind(NIC_EMU_VECTOR, dev_irq, &n->emu);
	irq_enable();
	return 0;
}

static int stop(struct nic *n)
{
	struct nic_plugin_stats s;

	int err = n->emu.ops.stop(n->emu.state);
	irq_bind(NIC_EMU_VECTOR, NULL, NULL);
	irq_bind(NIC_CONFIG_VECTOR, NULL, NULL);
	dev_counts(&n->emu, &s);
	n->emu.past = s;
	n->emu.running = false;
	return err;
}

static const struct shell_step steps[] = {
	{ "emulated device", find, lose }, { "its interrupts", route, NULL }, { "its memory", memory, give_memory },
	{ "its driver", start, stop },
};

int emu_open(struct nic *n) { return shell_run(n, steps, ARRAY_SIZE(steps)); }
int emu_close(struct nic *n) { return shell_undo(n, steps, ARRAY_SIZE(steps)); }
u32 emu_poll(struct nic *n, u32 budget) { return n->emu.ops.rx_poll(n->emu.state, budget); }
