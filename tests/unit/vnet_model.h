/*
 * A VM with RAM, a PCI bus and one emulated network device on a lower link that records: for the unit tests of nic/vnet*.c and
 * for tests/fuzz. No library of tests in here.
 *
 * RAM is [0, MODEL_LOW) and, behind a hole, [MODEL_HIGH, MODEL_END); leaves are 64 KiB, so what straddles one has no pointer.
 */
#ifndef TESTS_UNIT_VNET_MODEL_H
#define TESTS_UNIT_VNET_MODEL_H

#include "nic/virtio.h"
#include "nic/vnet.h"

#define MODEL_LOW 0x100000ull
#define MODEL_HIGH 0x200000ull
#define MODEL_END 0x300000ull
#define MODEL_LEAF 0x10000ull
#define MODEL_FRAMES 1024

extern struct vm model_vm;
extern u8 model_ram[MODEL_END];
extern struct vnet *model_dev;
extern struct nic_port model_port;
extern const u8 model_mac[6];
extern char model_log[256];             /* last line */
/* Called after every look into RAM by vm_read: the guest's other CPU. */
extern void (*model_race)(u64 gpa, u64 len);
/* The same, before an address is translated for a look that is not by vm_read. */
extern void (*model_race_at)(u64 gpa, u64 len);

struct model_seen {
	u32 starts, stops, fences, flushes, more, filters;
	u32 frames;                     /* sent; the last ones are kept */
	u32 len[MODEL_FRAMES];
	u8 last[16384];                 /* bytes of the last one */
	struct nic_rx_filter filter;
	u32 msis;
	u64 msi_addr;
	u32 msi_data[MODEL_FRAMES];     /* in order, the first ones */
	bool started;
};
extern struct model_seen model_seen;
/* What the lower link answers; more: called by rx_more. */
struct model_lower { int err_start, err_tx; u16 vlan; u32 max_frame; bool link_down; void (*more)(void); };
extern struct model_lower model_lower;

/* A new VM with its device, as the firmware leaves it. */
void model_begin(void);
/* Everything goes; the balance of pages is returned. */
u64 model_end(void);

/* The guest's accesses. */
u32 model_config(u32 offset, u32 size);
void model_config_write(u32 offset, u32 size, u32 value);
u64 model_load(u64 gpa, u32 size);
void model_store(u64 gpa, u32 size, u64 value);

/* ---- a driver ---- */
/* Registers of BAR0 and BAR1, wherever those are. */
u64 reg(u32 offset, u32 size);
void reg_write(u32 offset, u32 size, u64 value);
#define COMMON(r) (VNET_COMMON + (u32)offsetof(struct virtio_common, r)), sizeof(((struct virtio_common *)0)->r)

/* A queue of the driver's. */
struct drvq { u32 index; u16 size; u64 desc, avail, used; u16 posted, seen, kicked; bool event; };
extern struct drvq drvq[3];
/*
 * Reset, negotiate, queues of `size` at their usual places, interrupts on, DRIVER_OK. Vectors: queue q has q + 1, config 0.
 * False: refused.
 */
bool drv_start(u64 features, u16 size);
/* The same in steps. */
bool drv_negotiate(u64 features);
void drv_queue(u32 index, u16 size, u64 desc, u64 avail, u64 used);
void drv_msix(void);
u8 drv_status(void);
void desc_set(u32 q, u16 i, u64 addr, u32 len, u16 flags, u16 next);
/* Make the chain at head available; kick by the rules (true: it was an exit), or whatever they say. */
void drv_post(u32 q, u16 head);
bool drv_kick(u32 q);
void drv_kick_always(u32 q);
/* The next used buffer; false: none. */
bool drv_used(u32 q, u32 *id, u32 *len);
/* used_event of the driver, or NO_INTERRUPT. */
void drv_want_irq(u32 q, bool on);
u16 drv_avail_event(u32 q);
u16 drv_used_flags(u32 q);
/* Post a frame to send in one or more parts; a buffer to receive. Data of queue q, slot i, lies at DATA(q, i). */
#define DATA(q, i) (MODEL_HIGH + (q) * 0x40000ull + (i) * 0x1000ull)
void drv_send(u16 slot, const u8 *frame, u32 len);
void drv_give(u16 slot, u32 len);
/* One command; its answer. */
u8 drv_command(u8 class, u8 cmd, const void *data, u32 len);

/* A frame of len bytes whose content depends on n. */
void frame_make(u8 *frame, u32 len, const u8 *to, const u8 *from, u32 n);
extern const u8 peer_mac[6], all_mac[6], group_mac[6];

#endif
