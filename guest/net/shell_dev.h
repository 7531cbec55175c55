/*
 * The shell's two devices, inside: the emulated one and the virtual function, each taken and given back as a whole.
 *
 * Invariant: memory that a device may reach is kept for the next opening, never freed: however often a port is switched, it grows
 * no more after the first time.
 */
#ifndef GUEST_NET_SHELL_DEV_H
#define GUEST_NET_SHELL_DEV_H

#include "guest/net/shell.h"

/* Says what failed; returns err. */
int shell_fail(const char *what, int err);

/* One thing that can fail, and how to undo it (NULL: nothing to undo). undo says what does not work, goes on, and returns the error. */
struct shell_step {
	const char *name;
	int (*go)(struct nic *n);
	int (*undo)(struct nic *n);
};
/* All steps in order; the first failure undoes those before it, backwards, and is returned. */
int shell_run(struct nic *n, const struct shell_step *steps, u32 nr);
/* Backwards; the first error. */
int shell_undo(struct nic *n, const struct shell_step *steps, u32 nr);

/* Pages that are kept: zeroed, len bytes; NULL if there are none left. */
struct shell_pool { u8 *memory; u64 len; };
u8 *shell_pool_take(struct shell_pool *pool, u64 len);

/* dev->ops is set: state and device memory, the environment with its receive function. 0, -ENOMEM. dev_fini: counts go to dev->past. */
int dev_init(struct nic_dev *d, struct shell_pool *pool, u64 regs, void (*rx)(void *arg, const u8 *frame, u32 len));
void dev_fini(struct nic_dev *d);
/* Interrupt handler of a device: masks it, notes that there is work. */
void dev_irq(void *dev);
/* Interrupts of a device on, if the port uses them; what came before is looked for. */
void dev_irq_on(struct nic_dev *d);
void dev_irq_off(struct nic_dev *d);
void dev_counts(const struct nic_dev *d, struct nic_plugin_stats *out);

/* Start the emulated device; its frames go up from now on when it is polled. -ENODEV: there is none. */
int emu_open(struct nic *n);
int emu_close(struct nic *n);
u32 emu_poll(struct nic *n, u32 budget);
/* Allocate (n->alloc_flags), load, map, start the virtual function, with a full ring; frames stay in it until it is polled. */
int vf_open(struct nic *n);
/* Backwards; what is left in the ring is counted and dropped. */
int vf_close(struct nic *n);
u32 vf_poll(struct nic *n, u32 budget);
/* Before a switch has moved our address to it: what it holds are copies of group frames that the emulated device gets, too. */
void vf_discard(struct nic *n);

#endif
