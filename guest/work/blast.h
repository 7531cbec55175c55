/*
 * The blast protocol: both ends send `count` numbered datagrams with a known content to each other at the same time, windowed,
 * never repeated, and compare at the end what each has counted. The other end is tests/peers/blast_peer.py. A run has one stream of
 * unicast datagrams, and may have two more beside it, whose DATA packets are broadcasts and multicasts; each numbers its own.
 *
 * A packet is one UDP payload: a header, all numbers big-endian, then `len` bytes.
 *
 *   0  u32 magic "NBL1"    4  u8 version 3    5  u8 type    6  u16 len    8  u32 run    12 u32 seq    16 u32 ack
 *
 * type: bits 7:6 are the stream's number: 0 unicast, 1 broadcast, 2 multicast.
 * run: chosen by the guest, on every packet; another one is a leftover of an earlier run and ignored. ack, on every packet: the
 * number of the data packet that the sender of this packet expects next.
 *
 *   HELLO    guest, until answered with the same.  len 12: u32 count, window, size. seq 0.
 *   DATA     seq: its number, 0 .. count-1. len = size - 20: byte i is 7 * (seq + i + 128 * side) mod 256; side 0 guest, 1 peer.
 *   ACK      when a quarter of the window is unacknowledged and no DATA is due, and after a PROBE. seq: next DATA of the sender.
 *   PROBE    when nothing has moved for a while. seq: next DATA of the sender, so all before it that have not arrived are lost.
 *   SUMMARY  at the end, until answered with the other's. len 24: u32 tx_data, rx_data, lost, disorder, bad, dup of its sender.
 *   BYE      guest, once, after the peer's SUMMARY.
 *
 * The guest's first packet that is not HELLO starts the peer. At most `window` DATA packets are unacknowledged in each direction,
 * fewer than a receive ring holds. A gap in the numbers is counted as lost and passed over; a number that comes later than its
 * successor is counted as disorder, one that has come before as dup: so a loss never stops a run, and never goes unseen.
 *
 * Invariant: this module is pure, and one code for either side; b->next <= b->acked + window, b->told <= b->expect.
 */
#ifndef GUEST_WORK_BLAST_H
#define GUEST_WORK_BLAST_H

#include "core/types.h"

#define BLAST_MAGIC 0x4e424c31u
#define BLAST_VERSION 3
#define BLAST_HEADER 20u
#define BLAST_SIZE_MAX 1472u
#define BLAST_WINDOW_MAX 192u
#define BLAST_PORT 7001
#define BLAST_STREAM_SHIFT 6   /* in type */
#define BLAST_SEEN 256u        /* numbers before `expect` of which we know whether they came: more than a window */

enum blast_type { BLAST_HELLO = 1, BLAST_DATA, BLAST_ACK, BLAST_PROBE, BLAST_SUMMARY, BLAST_BYE };

enum blast_stream { BLAST_UNICAST, BLAST_BROADCAST, BLAST_MULTICAST, BLAST_STREAMS };
struct blast_conf { u32 count, window, size, run, side; enum blast_stream stream; };
struct blast_counts { u32 tx_data, rx_data, lost, disorder, bad, dup; };

struct blast {
	struct blast_conf conf;
	u32 next;     /* number of our next data packet */
	u32 limit;    /* where the caller wants it to wait; count if nowhere */
	u32 acked;    /* the other end expects this one of ours */
	u32 expect;   /* we expect this one of theirs */
	u32 told;     /* and told them so, last time */
	bool hello, summary, probed; /* received: HELLO that agrees, SUMMARY; a PROBE that was not answered yet */
	u8 seen[BLAST_SEEN];
	struct blast_counts mine, theirs;
	u32 tx_control, rx_control, stale;
};

/* size 20..BLAST_SIZE_MAX, window 1..BLAST_WINDOW_MAX, count < 2^31: checked by the caller. */
void blast_init(struct blast *b, const struct blast_conf *conf);
/* Write one packet; its length. DATA only if blast_may_send(). */
u32 blast_write(struct blast *b, enum blast_type type, u8 *out);
/* Number of the stream that a received payload belongs to; BLAST_UNICAST if it is none. */
u32 blast_stream_of(const u8 *p, u32 len);
/* Take one received payload of this stream. */
void blast_read(struct blast *b, const u8 *p, u32 len);
bool blast_may_send(const struct blast *b);
bool blast_must_ack(const struct blast *b);
/* All sent and acknowledged, all received and told so. */
bool blast_done(const struct blast *b);
/* Both summaries say that every packet arrived, in order and intact. */
bool blast_perfect(const struct blast *b);

#endif
