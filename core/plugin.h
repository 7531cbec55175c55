/*
 * The contract between the shell and a plugin (README.md, The plugin contract).
 *
 * A plugin drives the rings of one kind of device and nothing else. The shell does all control – allocating the function,
 * mapping registers, giving memory to the device, routing interrupts – and then starts a plugin with what it needs: a
 * register window, memory that the device can reach, and a function that takes received frames.
 *
 * Invariants a plugin may rely on: the functions of struct nic_plugin_ops are called one at a time, in the order probe, start,
 * any others, stop; only irq_enable(state, false) may also come from an interrupt, inside any of them. env and state stay
 * where they are from start to stop. What it must keep: it uses no memory but state, env->dma and its caller's arguments, calls
 * nothing but env's functions, touches no register outside the window's pages 1..3, and causes no VM exit on the packet path.
 * A plugin can therefore be a flat position-independent image.
 */
#ifndef CORE_PLUGIN_H
#define CORE_PLUGIN_H

#include "core/abi.h"
#include "core/errno.h"
#include "core/types.h"

#define NIC_PLUGIN_ABI 1u

/* What the shell gives. All addresses are the guest's own; a device reaches dma + x at iova dma_iova + x. */
struct nic_plugin_env {
	u32 size;                   /* of this structure: a later shell appends */
	u32 max_frame;              /* bytes without FCS, header included */
	volatile u8 *regs;          /* register window */
	u8 *dma;                    /* zeroed, page aligned, ops->dma_len bytes */
	u64 dma_iova;
	u64 tsc_khz;
	/* Take one frame. It may lie in device memory and is read during the call only; transmitting from inside is allowed. */
	void (*rx)(void *arg, const u8 *frame, u32 len);
	void *rx_arg;
};

struct nic_plugin_stats {
	u64 rx_frames, rx_bytes, tx_frames, tx_bytes;
	u64 rx_errors;              /* frames dropped by the plugin: marked bad, too long, in pieces */
	u64 tx_full;                /* times that tx found no room */
};

struct nic_plugin_ops {
	u32 abi;                    /* NIC_PLUGIN_ABI; the shell refuses any other */
	u32 size;                   /* of this structure */
	char name[16];
	char licence[16];           /* SPDX */
	u64 state_len, dma_len;     /* bytes of private state and of device memory that start() needs */
	/* 0 if this plugin drives such a port, -ENODEV if not. */
	int (*probe)(const struct nest_nic_info *info);
	/* Begin with empty rings, interrupts masked. state: zeroed. 0, -EINVAL (env), -EIO (the device does not react). */
	int (*start)(void *state, const struct nic_plugin_env *env);
	/* Rings off; afterwards the device touches dma no more. -EIO if it does not confirm that. */
	int (*stop)(void *state);
	/* Queue one frame, copied before return. 0, -EAGAIN (no room: poll and try again), -EINVAL (length). */
	int (*tx)(void *state, const u8 *frame, u32 len);
	/* Tell the device of all that was queued. */
	void (*tx_kick)(void *state);
	/* Hand up to budget frames to env->rx. Returns how many descriptors were done; fewer than budget = the ring is empty. */
	u32 (*rx_poll)(void *state, u32 budget);
	/* Let the device interrupt (its vector 0) when frames arrive, or not. Spurious interrupts are legal. */
	void (*irq_enable)(void *state, bool on);
	void (*stats)(const void *state, struct nic_plugin_stats *out);
};

/* Built in. */
extern const struct nic_plugin_ops vf_plugin;

#endif
