/*
 * The torture of the emulated network device, its files together: a driver that does as it should (torture_virtio_dev.c), which the
 * cases bend, and their groups (torture_virtio.c, _regs.c, _ctrl.c, _pci.c, _race.c).
 *
 * Invariant: after each case the device is reset, set up in order and answers a ping; only then the case has passed.
 */
#ifndef GUEST_WORK_TORTURE_VIRTIO_H
#define GUEST_WORK_TORTURE_VIRTIO_H

#include "guest/lib/cmdline.h"
#include "guest/net/ip.h"
#include "guest/net/pci.h"
#include "guest/net/port.h"
#include "nic/virtio_pci.h"

#define TV_SIZE 16u     /* entries of each ring, and buffers */
#define TV_BUF 2048u
#define TV_QUEUES 3u
#define TV_VECTOR 0x60  /* for interrupts that should come */
#define TV_SPARE 0x8000u
#define TV_WAIT_US 2000000

#define TV_BIT(name) BIT(VIRTIO_NET_F_##name)
#define TV_PLAIN BIT(VIRTIO_F_VERSION_1)
#define TV_CTRL (TV_PLAIN | TV_BIT(CTRL_VQ) | TV_BIT(CTRL_RX) | TV_BIT(CTRL_VLAN) | TV_BIT(CTRL_MAC_ADDR))

/* What the device can reach; spare is for what a case needs, aligned as a BAR. */
struct tv_mem {
	u8 ring[TV_QUEUES][2 * PAGE_SIZE] __aligned_to(PAGE_SIZE);
	u8 rx[TV_SIZE][TV_BUF], tx[TV_SIZE][TV_BUF];
	u8 spare[TV_SPARE] __aligned_to(0x4000);
};

struct tv {
	u32 port;
	struct nest_nic_info info;
	struct pci_device pci;
	volatile u8 *common;
	struct tv_mem *mem;
	struct virtq_drv q[TV_QUEUES];
	struct ip_stack ip;
	u32 peer;
	u16 seq;
	bool answered;
	/* Sees each frame before anybody else; may be NULL. */
	void (*hook)(void *arg, const u8 *frame, u32 len);
	void *hook_arg;
};

static inline struct virtq_mem *tv_ring(struct tv *t, u32 q) { return (struct virtq_mem *)t->mem->ring[q]; }
_Static_assert(sizeof(struct virtq_mem) <= 2 * PAGE_SIZE, "two pages each");

/* Nobody else uses the port. False: there is no such device, or it does not answer. */
bool tv_open(struct tv *t, const struct cmdline *c);
void tv_close(struct tv *t);
/* To the state before the first write. */
bool tv_reset(struct tv *t);
/* Reset, then FEATURES_OK with these (which must be offered); all queues set up and empty. */
bool tv_start(struct tv *t, u64 features);
/* Receive buffers, DRIVER_OK, kick. */
bool tv_go(struct tv *t);
static inline bool tv_up(struct tv *t, u64 features) { return tv_start(t, features) && tv_go(t); }
/* One ping, on a device that is up. */
bool tv_ping(struct tv *t);
void tv_send(struct tv *t, const u8 *frame, u32 len);
/* Take what has arrived. */
void tv_poll(struct tv *t);
/* Send a request that the peer answers; take nothing. */
void tv_ask(struct tv *t);
void tv_kick(struct tv *t, u32 q);
static inline u8 tv_status(struct tv *t) { return virtio_status(t->common); }
static inline bool tv_broken(struct tv *t) { return tv_status(t) & VIRTIO_STATUS_NEEDS_RESET; }
/* The raw registers of a queue: size 0 leaves it. */
void tv_queue_raw(struct tv *t, u16 q, u16 size, u64 desc, u64 avail, u64 used);
/* A case: what it saw, and whether the device works after it. Returns 1 for a failure. */
u32 tv_case(struct tv *t, bool ok, const char *name);

/* Groups: failures of each. */
u32 tv_group_queues(struct tv *t);
u32 tv_group_registers(struct tv *t);
u32 tv_group_control(struct tv *t);
u32 tv_group_pci(struct tv *t);
u32 tv_group_msix(struct tv *t);
u32 tv_group_modes(struct tv *t);
u32 tv_group_races(struct tv *t);
/* Never returns: ends the VM while its vCPUs change modes, reset and kick. */
void tv_end_in_the_midst(struct tv *t);

#endif
