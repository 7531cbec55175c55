/*
 * The shell: owns a NIC port of the guest from opening to closing, and shows the guest's network stack one interface
 * whatever plugin drives the device below it (NPA: shell and plugin).
 *
 * Invariant: between nic_open and nic_close the port's function, registers, memory and interrupt are the shell's; a failing
 * nic_open has given everything back. All functions are called on the main road only; the interrupt handler merely masks
 * the device and notes that there is work.
 */
#ifndef GUEST_NET_SHELL_H
#define GUEST_NET_SHELL_H

#include "core/plugin.h"

#define NIC_SHELL_VERSION 1u
#define NIC_VECTOR 0x40

enum nic_wait { NIC_POLL, NIC_IRQ_SPIN, NIC_IRQ_HALT };

struct nic {
	/* asked by the caller of nic_open */
	u32 port;
	enum nic_wait wait;
	void (*rx)(void *arg, const u8 *frame, u32 len);
	void *rx_arg;
	/* told by it */
	struct nest_nic_info info;
	const struct nic_plugin_ops *plugin;
	u64 handle, dma_len;
	/* private */
	struct nic_plugin_env env;
	void *state;
	u32 irq_work;            /* set by the handler, taken by nic_poll */
	u64 irqs, halts;
};

/*
 * Information, plugin, function, registers, memory, rings, interrupt. 0; -ENODEV (no plugin drives it, or no function); what the
 * hypercalls return. Says on the console what failed.
 */
int nic_open(struct nic *n);
/* The same backwards. -EIO if the device did not stop (it is given back all the same). */
int nic_close(struct nic *n);
int nic_tx(struct nic *n, const u8 *frame, u32 len);
void nic_tx_kick(struct nic *n);
/* Deliver what has arrived, at most budget frames; with interrupts, only if one came. Returns how many. No exit when polled. */
u32 nic_poll(struct nic *n, u32 budget);
/* Nothing to do: returns at once, or after the next interrupt (NIC_IRQ_HALT), or after a while without one (NIC_IRQ_SPIN). */
void nic_idle(struct nic *n);
void nic_plugin_counts(const struct nic *n, struct nic_plugin_stats *out);

#endif
