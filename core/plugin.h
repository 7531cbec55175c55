/*
 * The contract between the shell and a plugin (guest/README.md, The plugin contract), version NIC_PLUGIN_ABI.
 *
 * A plugin drives the rings of one kind of device and nothing else. The shell does all control – allocating the function,
 * mapping registers, giving memory to the device, routing interrupts, switching between devices – and then starts a plugin with
 * what it needs: a register window, memory that the device can reach, and a function that takes received frames.
 *
 * A plugin is either built into the shell's program (struct nic_plugin_ops) or an image: a flat position-independent binary that the
 * outermost level hands up by HC_NIC_PLUGIN (struct nic_plugin_image at its start).
 *
 * Invariants a plugin may rely on: the functions of struct nic_plugin_ops are called one at a time, in the order start, any others,
 * stop, then rx_poll and stats at most; only irq_enable(state, false) may also come from an interrupt, inside any of them. env and
 * state stay where they are from start to the last call. What it must keep: it uses no memory but state, env->dma and its caller's
 * arguments, calls nothing but env's functions, and causes no VM exit on the packet path; of a virtual function it touches no
 * register outside the window's pages 1..3.
 */
#ifndef CORE_PLUGIN_H
#define CORE_PLUGIN_H

#include "core/abi.h"
#include "core/errno.h"
#include "core/types.h"

#define NIC_PLUGIN_ABI 3u

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
	u32 flags;                  /* NIC_PLUGIN_FLAG_* */
	u32 vectors;                /* MSI-X vectors that are routed: 0 receives, 1 tells of changes of the configuration */
	/*
	 * Self-armed posting (core/abi.h, HC_NIC_IRQ_POST) of vector 0: a word of the vCPU's posted-interrupt descriptor, and the bit in it.
	 * NULL: none. The shell sets them between two calls, while interrupts are masked.
	 */
	u64 *post_word;
	u64 post_bit;
};
#define NIC_PLUGIN_FLAG_PLAIN (1u << 0) /* virtio: without event indices */

/* Frames shorter than 60 bytes go out as 60; what is no frame (shorter than 14 bytes) is handed to rx, but not counted. */
struct nic_plugin_stats {
	u64 rx_frames, rx_bytes, tx_frames, tx_bytes;
	u64 rx_errors;              /* frames dropped by the plugin: marked bad, too long, in pieces */
	u64 tx_full;                /* times that tx found no room */
};

struct nic_plugin_ops {
	u32 abi;                    /* NIC_PLUGIN_ABI; the shell refuses any other */
	u32 size;                   /* of this structure */
	char name[16];
	u64 state_len, dma_len;     /* bytes of private state and of device memory that start() needs */
	/* Begin with full receive and empty transmit rings, interrupts masked. state: zeroed. 0, -EINVAL (env), -EIO (the device does not react). */
	int (*start)(void *state, const struct nic_plugin_env *env);
	/* Rings off; afterwards the device touches dma no more, and rx_poll gives what is left. -EIO if it does not confirm that. */
	int (*stop)(void *state);
	/* Queue one frame, copied before return. 0, -EAGAIN (no room: poll and try again), -EINVAL (length). */
	int (*tx)(void *state, const u8 *frame, u32 len);
	/* Tell the device of all that was queued. */
	void (*tx_kick)(void *state);
	/* How many queued frames the device has not confirmed yet. */
	u32 (*tx_pending)(void *state);
	/* Hand up to budget frames to env->rx. Returns how many descriptors were done; fewer than budget = the ring is empty. */
	u32 (*rx_poll)(void *state, u32 budget);
	/* How many descriptors rx_poll has still to do before it comes to number `head` of the ring (HC_NIC_COMMIT); -EINVAL (no such number). */
	int (*rx_before)(const void *state, u32 head);
	/*
	 * Let the device interrupt (its vector 0) when frames arrive, or not. Spurious interrupts are legal. With env->post_word: set the bit
	 * there, atomically, then unmask the device; who calls looks at the ring once more.
	 */
	void (*irq_enable)(void *state, bool on);
	void (*stats)(const void *state, struct nic_plugin_stats *out);
};

/*
 * An image: this header, then code and constants; all addresses in it are relative. It is loaded at any multiple of 4096, whole, and
 * never written to, so it has no data, no bss and no relocations (the build checks that). Offsets count from the image's start
 * and lie behind the header. The shell refuses an image that breaks any of this and stays in emulation.
 */
#define NIC_PLUGIN_MAGIC "NESTPLUG"
#define NIC_PLUGIN_IMAGE_MAX 65536u
/* SPDX identifiers of the licences that the shell accepts; any other tag, written otherwise or longer, is refused. */
#define NIC_PLUGIN_LICENCES { "BSD-2-Clause", "BSD-3-Clause", "MIT", "ISC", "Apache-2.0" }
struct nic_plugin_image {
	char magic[8];              /* NIC_PLUGIN_MAGIC, without a zero at its end */
	u32 abi;                    /* NIC_PLUGIN_ABI */
	u32 header_len;             /* of this structure */
	u32 image_len;              /* of all */
	u32 crc;                    /* CRC-32 (core/crc32.h) of image_len bytes with crc = 0: against accidents */
	u32 family;                 /* nest_nic_info.family that it drives */
	u32 reserved;               /* 0 */
	char licence[16];           /* one of NIC_PLUGIN_LICENCES, filled up with zeroes */
	char name[16];
	u32 state_len, dma_len;     /* as in struct nic_plugin_ops */
	/* offsets of the functions of struct nic_plugin_ops, in its order */
	u32 start, stop, tx, tx_kick, tx_pending, rx_poll, rx_before, irq_enable, stats;
	u32 reserved2;              /* 0 */
};
_Static_assert(sizeof(struct nic_plugin_image) == 112, "plugin image header, also in nic/plugin/header.S");

#endif
