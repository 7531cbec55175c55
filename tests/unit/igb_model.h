/*
 * A register file that behaves as far as nic/igb*.c looks: what clears itself, what is written to clear, what answers at once; and
 * a log of all writes.
 */
#ifndef TESTS_UNIT_IGB_MODEL_H
#define TESTS_UNIT_IGB_MODEL_H

#include "nic/igb.h"

#define MODEL_PF (-1)
struct model_write { int vf; u32 reg, value; };
extern struct model_write model_log[20000];
extern u32 model_writes;
extern bool model_stuck_queue; /* queues do not stop */

/* A PF with all VFs free, set up as igb_probe would leave it; its lower ports not registered. */
struct igb *model_igb(void);
u32 model_get(int vf, u32 reg);
void model_set(int vf, u32 reg, u32 value);
/* Index in the log of the last write to a register, -1 if there was none since model_forget. */
int model_last_write(int vf, u32 reg);
void model_forget(void);

/* ---- the PF's rings, and the devices above ---- */

/* Called before a PF register is read, after one was written: frames may arrive in between. */
extern void (*model_on_read)(u32 reg);
extern void (*model_on_write)(u32 reg, u32 value);
/* What the PF sent, whole frames with what tags they have. */
struct model_frame { u32 len; u8 data[9300]; };
extern struct model_frame model_sent[64];
extern u32 model_nr_sent;
extern bool model_tx_stalled;      /* it takes descriptors and does nothing */
/* A frame arrives: written into the PF's ring if that is among the pools, the heads of VFs move. vlan: a tag taken off. */
void model_arrive(u32 pools, const u8 *frame, u32 len, u16 vlan);
/* What the devices of the ports heard, in order. */
enum model_event_kind { EV_FRAME, EV_DROPPED, EV_FLUSH, EV_END, EV_CHANGED };
struct model_event { enum model_event_kind kind; const struct nic_port *port; u32 len; u8 first[32]; };
extern struct model_event model_heard[512];
extern u32 model_nr_heard;
extern bool model_no_room;         /* devices have no buffers */

#endif
