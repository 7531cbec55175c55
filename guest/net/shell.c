/*
 * The shell's interface to the stack (shell.h); shell_switch.c changes the state, shell_emu.c and shell_vf.c are its devices.
 */
#include "guest/net/shell.h"

#include <stdio.h>
#include <string.h>

#include "guest/lib/clock.h"
#include "guest/lib/x86.h"
#include "guest/net/port.h"
#include "guest/net/shell_dev.h"

#define IDLE_US 100 /* one round of waiting by spinning */

static const char *mode_name(u32 mode) { return mode == NEST_MODE_PASSTHROUGH ? "pass-through" : "emulation"; }
static struct nic_dev *receiver(struct nic *n) { return n->mode == NEST_MODE_PASSTHROUGH ? &n->vf : &n->emu; }

/* At once, without a transaction: nobody sends or receives yet. The emulated device is started behind it, for the way back. */
static int open_cold(struct nic *n)
{
	int err;

	n->alloc_flags = 0;
	if ((err = vf_open(n)))
		return err;
	n->mode = NEST_MODE_PASSTHROUGH;
	n->tx = &n->vf;
	if (n->info.emu_rid && emu_open(n))
		printf("guest: nic: pass-through without emulation to fall back to\n");
	return 0;
}

static int open_emulated(struct nic *n)
{
	int err = emu_open(n);

	n->mode = NEST_MODE_EMULATION;
	n->tx = &n->emu;
	return err;
}

/* What changed while no interrupt could tell us. */
static void look_again(struct nic *n)
{
	struct nest_nic_info now;

	if (port_info(n->port, &now))
		return;
	n->info.flags = now.flags;
	if (now.want != n->info.want)
		n->events = 1;
}

int nic_open(struct nic *n)
{
	int err = port_info(n->port, &n->info);
	bool cold = !n->info.emu_rid || n->info.mode == NEST_MODE_PASSTHROUGH;

	if (err)
		return shell_fail("port", err);
	err = cold ? open_cold(n) : open_emulated(n);
	if (err && cold && n->info.emu_rid) {
		printf("guest: nic: stays in emulation\n");
		err = open_emulated(n);
	} else if (!err && n->info.want != n->mode) {
		n->events = 1;
	}
	if (err)
		return err;
	look_again(n);
	dev_irq_on(receiver(n));
	return 0;
}

int nic_close(struct nic *n)
{
	int first = 0, err;

	if (n->vf.running)
		first = vf_close(n);
	if (n->emu.running && (err = emu_close(n)) && !first)
		first = err;
	irq_disable();
	return first;
}

int nic_tx(struct nic *n, const u8 *frame, u32 len) { return n->frozen ? -EAGAIN : n->tx->ops.tx(n->tx->state, frame, len); }
void nic_tx_kick(struct nic *n) { n->tx->ops.tx_kick(n->tx->state); }

static u32 poll(struct nic *n, u32 budget)
{
	if (n->copies)
		vf_discard(n);
	return n->mode == NEST_MODE_PASSTHROUGH ? vf_poll(n, budget) : emu_poll(n, budget);
}

/* Something changed: the link, or what an administrator wishes. A wish that fails is not tried again before the next change. */
static void take_event(struct nic *n)
{
	struct nest_nic_info info;

	if (!__atomic_exchange_n(&n->events, 0, __ATOMIC_ACQUIRE) || port_info(n->port, &info))
		return;
	n->info.flags = info.flags;
	if (info.want == n->mode)
		return;
	int err = nic_switch(n, info.want);
	printf("guest: nic: asked for %s: %s\n", mode_name(info.want), err ? "failed" : "done");
}

u32 nic_poll(struct nic *n, u32 budget)
{
	u32 done;

	if (READ_ONCE(n->events) && !n->switching)
		take_event(n);
	if (n->wait == NIC_POLL)
		return poll(n, budget);
	if (!__atomic_exchange_n(&n->irq_work, 0, __ATOMIC_ACQUIRE))
		return 0;
	done = poll(n, budget);
	if (done < budget) {
		/* Unmask, then look again: what arrived in between may not have raised an interrupt. */
		struct nic_dev *d = receiver(n);
		d->ops.irq_enable(d->state, true);
		done += poll(n, budget - done);
	}
	if (done == budget)
		WRITE_ONCE(n->irq_work, 1); /* masked or not, there may be more: come back without an interrupt */
	return done;
}

static bool work_waits(const struct nic *n) { return READ_ONCE(n->irq_work) || READ_ONCE(n->events); }

void nic_idle(struct nic *n)
{
	if (n->wait == NIC_POLL)
		return;
	if (n->wait == NIC_IRQ_SPIN) {
		u64 end = clock_deadline(IDLE_US);
		while (!work_waits(n) && !clock_passed(end))
			;
		return;
	}
	irq_disable();
	if (!work_waits(n)) {
		n->halts++;
		irq_enable_halt_disable();
	}
	irq_enable();
}

void nic_plugin_counts(const struct nic *n, struct nic_plugin_stats *out)
{
	struct nic_plugin_stats e;

	dev_counts(&n->vf, out);
	dev_counts(&n->emu, &e);
	out->rx_frames += e.rx_frames;
	out->rx_bytes += e.rx_bytes;
	out->tx_frames += e.tx_frames;
	out->tx_bytes += e.tx_bytes;
	out->rx_errors += e.rx_errors;
	out->tx_full += e.tx_full;
}

const char *nic_plugin_name(const struct nic *n) { return n->tx->ops.name; }
