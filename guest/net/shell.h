/*
 * The shell: owns a NIC port of the guest from opening to closing, and shows the guest's network stack one interface
 * whatever state the port is in and whatever plugin drives the device below it (NPA: shell and plugin).
 *
 *                 vf_open(PARKED)   prepare    freeze, fence        commit
 *   EMULATION ------------------> . --------> . ------------> . --------------> drain to END, open the VF's ring: PASS-THROUGH
 *       ^  <---------------------   <--------   <------------                                                       |
 *       |        vf_close            abort         thaw           prepare, freeze, drain the VF's sender, commit     |
 *       +---- vf_close <--- take the VF's frames before vf_head, open the virtio ring <-------------------------------+
 *
 * Invariant: between nic_open and nic_close the port's devices, registers, memory and interrupts are the shell's; a failing
 * nic_open has given everything back; a failing nic_switch has left the port in the state it was in, and given back what it took.
 * Each frame for the stack is handed up once and in order, switches or not. All functions are called on the main road only; the
 * interrupt handlers merely mask the device and note that there is work.
 */
#ifndef GUEST_NET_SHELL_H
#define GUEST_NET_SHELL_H

#include "core/plugin.h"
#include "guest/net/pci.h"

#define NIC_SHELL_VERSION 3u
#define NIC_GROUPS 8u
#define NIC_VECTOR 0x40        /* of the virtual function */
#define NIC_EMU_VECTOR 0x41    /* of the emulated device: frames, and changes of its configuration */
#define NIC_CONFIG_VECTOR 0x42

enum nic_wait { NIC_POLL, NIC_IRQ_SPIN, NIC_IRQ_HALT };
struct nic;

/* One device with the plugin that drives it. */
struct nic_dev {
	struct nic *nic;
	struct nic_plugin_ops ops;
	struct nic_plugin_env env;
	void *state;
	u64 dma_len;
	bool running;
	struct nic_plugin_stats past; /* what plugins counted that have stopped */
};

/* Ticks of the TSC from freezing the sender until both directions work again. */
struct nic_gap { u64 switches, min, max, sum; };

/* Frames that plugins counted and the stack was not given; and what became of switches. */
struct nic_counts {
	u64 own;               /* our own, returned by the NIC's switch */
	u64 duplicate;         /* group frames that came by both devices */
	u64 left;              /* behind the switch, in the ring of a function that was given back */
	u64 failed;            /* switches that did not come about */
	struct nic_gap gap[2]; /* by the state that was switched to, NEST_MODE_* */
};

struct nic {
	/* asked by the caller of nic_open */
	u32 port;
	enum nic_wait wait;
	bool post;             /* with interrupts: self-armed posting of the function's, where it can be had */
	u32 flags;             /* NIC_PLUGIN_FLAG_* for the virtio plugin */
	u32 nr_groups;         /* group addresses whose frames are wanted, besides broadcasts; 0: all that can be had. More than these may come */
	u8 group[NIC_GROUPS][6];
	void (*rx)(void *arg, const u8 *frame, u32 len);
	void *rx_arg;
	/*
	 * For tests, may be NULL: called after each step of a switch by its name; other than 0 makes the step fail, if it still can.
	 * Before "freeze" it may send and poll.
	 */
	int (*step)(void *arg, const char *name);
	void *step_arg;
	/* told by it */
	struct nest_nic_info info;
	u32 mode;              /* NEST_MODE_*, now */
	u64 *posted;           /* the descriptor, while the function's interrupt is self-armed (core/abi.h); else NULL */
	struct nic_counts count;
	/* private */
	struct nic_dev vf, emu;
	struct nic_dev *tx;    /* where frames go */
	struct pci_device pci;
	u64 handle;
	u32 alloc_flags;
	bool switching;        /* inside nic_switch: wishes wait */
	bool frozen;           /* nic_tx takes nothing */
	bool copies;           /* the function gets copies only, which must not fill its ring: prepared for pass-through */
	bool end;              /* the mark came */
	bool group_twice, drop_all; /* what is polled now: group frames came by the other device, too; nobody wants it */
	u32 twice;             /* descriptors of the VF's ring that this is true for */
	u32 vf_head;           /* from the last commit */
	u32 irq_work, events;  /* set by the handlers, taken by nic_poll */
	u64 irqs, halts;
};

/*
 * Starts in the state that the port's configuration says: pass-through at once (cold), or emulation. A port without emulated device can
 * only pass through; one that may not pass through, or whose plugin is refused, stays in emulation if it has that device. 0;
 * -ENODEV (neither); what the hypercalls return. Says on the console what failed.
 */
int nic_open(struct nic *n);
/* The same backwards. -EIO if a device did not stop (it is given back all the same). */
int nic_close(struct nic *n);
/*
 * Switch to NEST_MODE_* under traffic; frames that arrive meanwhile are handed up from inside. 0 (also if it is in that state); -errno
 * as the step that failed returned it; -EBUSY (called from inside a switch); -ETIMEDOUT with n->mode = mode if the switch took place and frames from before it never came.
 */
int nic_switch(struct nic *n, u32 mode);
/* Queue one frame. 0, -EAGAIN (no room, or in the middle of a switch: later), -EINVAL. */
int nic_tx(struct nic *n, const u8 *frame, u32 len);
void nic_tx_kick(struct nic *n);
/*
 * Deliver what has arrived, at most budget frames; with interrupts, only if one came. Follows an administrator's wish for the other
 * state. Returns how many. No exit when polled in pass-through.
 */
u32 nic_poll(struct nic *n, u32 budget);
/* Nothing to do: returns at once, or after the next interrupt (NIC_IRQ_HALT), or after a while without one (NIC_IRQ_SPIN). */
void nic_idle(struct nic *n);
/* Sums over both devices since nic_open. */
void nic_plugin_counts(const struct nic *n, struct nic_plugin_stats *out);
/* Name of the plugin in use. */
const char *nic_plugin_name(const struct nic *n);

#endif
