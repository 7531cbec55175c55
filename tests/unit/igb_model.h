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

#endif
