/*
 * The codecs of the port extender as one kind of thing, so that their unit tests and fuzzers ask the same of each: random valid records,
 * and what must hold for any bytes.
 *
 * Invariant: PDUs lie in memory of exactly their length, so that the sanitizers see an access outside. What does not hold ends in
 * panic(), for tests/fuzz has no test library.
 */
#ifndef TESTS_UNIT_CODECS_H
#define TESTS_UNIT_CODECS_H

#include "core/types.h"
#include "nic/ecp.h"
#include "nic/etag.h"
#include "nic/lldp.h"
#include "nic/pe_csp_pdu.h"
#include "nic/vdp_pdu.h"

#define CODEC_PDU_MAX 2048u
#define CODEC_RECORD_MAX 8192u

struct codec {
	u64 size;                 /* of a record */
	u32 end_len;              /* of the end that build appends and parse can do without */
	void (*random)(void *record);
	bool (*equal)(const void *a, const void *b);
	int (*build)(u8 *pdu, u32 room, const void *record);
	int (*parse)(const u8 *pdu, u32 len, void *record); /* 0 or more: accepted */
};

/* A tag with the frame it is on. */
struct tagged {
	struct etag tag;
	u32 len;
	u8 frame[CODEC_PDU_MAX];
};

extern const struct codec codec_etag, codec_lldp, codec_ecp, codec_vdp, codec_pe_csp;

/* Numbers from a seed, the same ones each time; below(n): 0..n-1. */
void codec_seed(u64 seed);
u32 codec_below(u32 n);
void codec_random_bytes(u8 *p, u32 len);

/* Parse a copy of exactly its length. record has room for the codec's size. */
int codec_parse(const struct codec *c, const u8 *pdu, u32 len, void *record);

/*
 * Whatever the bytes: parsing reads none outside them; what is accepted can be built again, and is then accepted as the same. True if it
 * was accepted. What was built, without its end, goes to `rebuilt` (CODEC_PDU_MAX bytes) if not NULL, its length to *rebuilt_len.
 */
bool codec_any_bytes(const struct codec *c, const u8 *pdu, u32 len, u8 *rebuilt, u32 *rebuilt_len);

/* The properties of n random valid records from a seed. */
void codec_round_trips(const struct codec *c, u64 seed, u32 n);   /* build, parse: equal; bytes behind the end do not matter */
void codec_truncations(const struct codec *c, u64 seed, u32 n);   /* each is refused, or a valid beginning */
void codec_byte_changes(const struct codec *c, u64 seed, u32 n);  /* of one byte: codec_any_bytes */
void codec_no_room(const struct codec *c, u64 seed, u32 n);       /* -ENOSPC for every smaller room, and nothing written behind it */
void codec_noise(const struct codec *c, u64 seed, u32 n);         /* random bytes: codec_any_bytes */

/* One of them for one codec, as cmocka's initial state. */
struct codec_case {
	void (*property)(const struct codec *c, u64 seed, u32 n);
	const struct codec *codec;
	u64 seed;
	u32 n;
};
void codec_case_run(void **initial_state);
#define CODEC_CASE(name, c, seed, n) { #name, codec_case_run, NULL, NULL, &(struct codec_case){ codec_##name, &(c), seed, n } }

/* The rows of all five in a codec's table of tests: how many records come back, are cut off (and find no room), have each byte changed. */
#define CODEC_PROPERTIES(c, trips, cuts, changes) \
	CODEC_CASE(round_trips, c, 1, trips), CODEC_CASE(truncations, c, 2, cuts), CODEC_CASE(byte_changes, c, 3, changes), \
	CODEC_CASE(no_room, c, 4, cuts), CODEC_CASE(noise, c, 5, 20000)

#endif
