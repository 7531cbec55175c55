/*
 * A chain of levels, each with its extender and both engines, on one wire with the model of a controlling bridge; a clock of its own; a wire
 * that takes time and does to frames what a test orders.
 *
 * Invariant: time goes from deadline to deadline; a deadline that does not move on, or a storm of frames, fails the test.
 */
#ifndef TESTS_UNIT_CHAIN_MODEL_H
#define TESTS_UNIT_CHAIN_MODEL_H

#include "nic/pe_csp.h"
#include "nic/vdp.h"
#include "tests/unit/bridge_model.h"

#define CHAIN_LEVELS 3
#define SECOND 1000000ull

struct chain_level {
	bool alive;
	enum extender_vdp_option option;
	u16 vlan;
	u32 life;
	struct extender x;
	struct pe_csp_engine pe;
	struct vdp_station vdp;
	/* what its engines said last, and how often they said it */
	u32 pe_changes, vdp_changes;
	enum pe_why pe_why;
	enum vdp_why vdp_why;
	u16 vid;
	u32 associations;            /* how often ASSOCIATED was entered */
	struct { u32 nr; struct { enum extender_plane plane; u16 type; u32 len; u8 body[1600]; } frame[64]; } control;
};

enum wire_fate { WIRE_PASS, WIRE_LOSE, WIRE_DOUBLE, WIRE_DELAY, WIRE_CUT, WIRE_SCRAMBLE };

struct chain {
	u32 depth;                   /* levels there are */
	bool s_channel;
	u64 now_us;
	struct bridge bridge;
	struct chain_level level[CHAIN_LEVELS];
	/* the wire. fate: what happens to frame number nr (from 0); NULL: nothing. Frames cut and scrambled keep their 14 bytes of header. */
	enum wire_fate (*fate)(u32 nr, bool outward, const u8 *frame, u32 len);
	u32 nr_frames;
	bool port_down;              /* the guest's port: nobody begins to speak VDP */
	u64 delivered;               /* frames to the guest */
	struct { u32 len; u8 frame[10000]; } guest;
};

extern struct chain chain;

/* Levels 0..depth-1, none of them alive. */
void chain_init(u32 depth, bool s_channel);
/* A level comes up (as the outer ones' cascade), dies (no word to anybody), goes in good order. */
void chain_up(u32 i);
void chain_kill(u32 i);
void chain_down(u32 i);
void chain_all_up(void);
/* Time passes. */
void chain_run(u64 us);
/* Until everything is as it should be, at most so long; how long it took, or ~0. */
u64 chain_settle(u64 at_most_us);
/* The guest sends; the bridge sends to it. Frames of len bytes; true: they arrived whole at the other end. */
bool chain_traffic(void);
/* On the standard error: who is where. For a test that fails: chain_must. */
void chain_dump(const char *what);
#define chain_must(cond) \
	do { \
		if (!(cond)) { \
			chain_dump(#cond); \
			fail(); \
		} \
	} while (0)
/* Which level speaks VDP, or -1. */
int chain_speaker(void);
/* Everything is up: E-CIDs, registrations, the association. */
bool chain_ready(void);

#endif
