/*
 * Streams of the blast protocol (blast.h) over the NIC: one of unicast datagrams, and perhaps one of broadcasts beside it, and one to a group
 * that we belong to.
 *
 * Invariant: traffic_round executes nothing that exits when the NIC is polled in pass-through: no console, no HLT, no MSR, no
 * PAUSE; only ring memory, the VF's own registers and the TSC.
 */
#ifndef GUEST_WORK_TRAFFIC_H
#define GUEST_WORK_TRAFFIC_H

#include "guest/net/net.h"
#include "guest/work/blast.h"

struct traffic {
	struct net net;
	struct blast blast[BLAST_STREAMS]; /* by enum blast_stream */
	u32 nr;
	u32 peer;
	u16 port;
	const u8 *mac;
	u64 timeout_us;
	u64 moved, since;   /* progress when last seen to change, and then */
	u32 probes;
	u32 overlooked;     /* silences in which frames had come without an interrupt */
	bool gave_up;
};

/*
 * Open the NIC from the command line, find the peer, agree with it on `nr` streams of conf, and one more if we belong to a group. Returns how many checks failed, with
 * "name-…" as their names; *open says whether the NIC is open.
 */
u32 traffic_open(struct traffic *t, const struct cmdline *c, const struct blast_conf *conf, u32 nr, const char *name, bool *open);
/* Receive, send what the windows allow, acknowledge, probe after a silence. */
void traffic_round(struct traffic *t);
/* Every stream is complete, or the peer is gone. */
bool traffic_done(const struct traffic *t);
/* Data packets that were sent, confirmed and received, over all streams: grows by three for each that goes and comes. */
u64 traffic_progress(const struct traffic *t);
/* Exchange summaries; say BYE; report. Returns how many checks failed. */
u32 traffic_finish(struct traffic *t, const char *name);

#endif
