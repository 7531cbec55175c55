/*
 * The blast protocol's state machine (blast.h).
 */
#include "guest/work/blast.h"

#include <string.h>

#define PATTERN_PERIOD 256u

static u8 pattern[PATTERN_PERIOD + BLAST_SIZE_MAX];

static void put32(u8 *p, u32 v)
{
	v = __builtin_bswap32(v);
	memcpy(p, &v, 4);
}

static u32 get32(const u8 *p)
{
	u32 v;
	memcpy(&v, p, 4);
	return __builtin_bswap32(v);
}

/* Content of data packet seq as a side sends it. */
static const u8 *content(u32 seq, u32 side) { return pattern + (seq + 128 * side) % PATTERN_PERIOD; }

void blast_init(struct blast *b, const struct blast_conf *conf)
{
	memset(b, 0, sizeof(*b));
	b->conf = *conf;
	b->limit = conf->count;
	for (u32 i = 0; i < sizeof(pattern); i++)
		pattern[i] = (u8)(7 * i);
}

bool blast_may_send(const struct blast *b) { return b->next < MIN(b->limit, b->conf.count) && b->next - b->acked < b->conf.window; }

bool blast_must_ack(const struct blast *b)
{
	u32 unsaid = b->expect - b->told;

	return b->probed || (unsaid && (unsaid >= (b->conf.window + 3) / 4 || b->expect == b->conf.count));
}

bool blast_done(const struct blast *b)
{
	return b->acked == b->conf.count && b->expect == b->conf.count && b->told == b->expect && !b->probed;
}

static bool counts_perfect(const struct blast_counts *c, u32 count)
{
	return c->tx_data == count && c->rx_data == count && !c->lost && !c->disorder && !c->bad && !c->dup;
}

bool blast_perfect(const struct blast *b)
{
	return b->summary && counts_perfect(&b->mine, b->conf.count) && counts_perfect(&b->theirs, b->conf.count);
}

/* ---- writing ---- */

static u32 write_body(struct blast *b, enum blast_type type, u8 *p)
{
	const struct blast_counts *m = &b->mine;
	u32 hello[3] = { b->conf.count, b->conf.window, b->conf.size };
	u32 summary[6] = { m->tx_data, m->rx_data, m->lost, m->disorder, m->bad, m->dup };
	u32 n = type == BLAST_HELLO ? ARRAY_SIZE(hello) : type == BLAST_SUMMARY ? ARRAY_SIZE(summary) : 0;

	for (u32 i = 0; i < n; i++)
		put32(p + 4 * i, type == BLAST_HELLO ? hello[i] : summary[i]);
	if (type != BLAST_DATA)
		return 4 * n;
	memcpy(p, content(b->next, b->conf.side), b->conf.size - BLAST_HEADER);
	return b->conf.size - BLAST_HEADER;
}

u32 blast_write(struct blast *b, enum blast_type type, u8 *out)
{
	u32 len = write_body(b, type, out + BLAST_HEADER);

	put32(out, BLAST_MAGIC);
	put32(out + 4, (u32)BLAST_VERSION << 24 | ((u32)type | (u32)b->conf.stream << BLAST_STREAM_SHIFT) << 16 | len);
	put32(out + 8, b->conf.run);
	put32(out + 12, b->next);
	put32(out + 16, b->expect);
	b->told = b->expect;
	b->probed = false;
	if (type == BLAST_DATA) {
		b->next++;
		b->mine.tx_data++;
	} else {
		b->tx_control++;
	}
	return BLAST_HEADER + len;
}

/* ---- reading ---- */

/* Their next number will be `seq`: what we expected before it will not come any more. */
static void pass_over(struct blast *b, u32 seq)
{
	for (; b->expect < seq; b->expect++) {
		b->mine.lost++;
		b->seen[b->expect % BLAST_SEEN] = 0;
	}
}

static void read_data(struct blast *b, u32 seq, const u8 *body, u32 len)
{
	if (seq >= b->conf.count || len != b->conf.size - BLAST_HEADER) {
		b->mine.bad++;
		return;
	}
	if (seq < b->expect) {
		bool dup = b->expect - seq <= BLAST_SEEN && b->seen[seq % BLAST_SEEN];
		b->mine.dup += dup;
		b->mine.disorder += !dup;
		if (b->expect - seq <= BLAST_SEEN)
			b->seen[seq % BLAST_SEEN] = 1;
		return;
	}
	pass_over(b, seq);
	b->seen[b->expect++ % BLAST_SEEN] = 1;
	if (memcmp(body, content(seq, 1 - b->conf.side), len))
		b->mine.bad++;
	else
		b->mine.rx_data++;
}

static void read_hello(struct blast *b, const u8 *body, u32 len)
{
	if (len == 12 && get32(body) == b->conf.count && get32(body + 4) == b->conf.window && get32(body + 8) == b->conf.size)
		b->hello = true;
	else
		b->mine.bad++;
}

static void read_summary(struct blast *b, const u8 *body, u32 len)
{
	if (len != 24) {
		b->mine.bad++;
		return;
	}
	b->theirs = (struct blast_counts){ get32(body), get32(body + 4), get32(body + 8), get32(body + 12), get32(body + 16),
					   get32(body + 20) };
	b->summary = true;
}

static void read_control(struct blast *b, u32 type, u32 seq, const u8 *body, u32 len)
{
	b->rx_control++;
	switch (type) {
	case BLAST_HELLO:
		read_hello(b, body, len);
		break;
	case BLAST_PROBE:
		if (seq <= b->conf.count)
			pass_over(b, seq);
		b->probed = true;
		break;
	case BLAST_SUMMARY:
		read_summary(b, body, len);
		break;
	case BLAST_ACK:
	case BLAST_BYE:
		break;
	default:
		b->mine.bad++;
	}
}

u32 blast_stream_of(const u8 *p, u32 len) { return len >= BLAST_HEADER ? p[5] >> BLAST_STREAM_SHIFT : BLAST_UNICAST; }

void blast_read(struct blast *b, const u8 *p, u32 len)
{
	if (len < BLAST_HEADER || get32(p) != BLAST_MAGIC || p[4] != BLAST_VERSION ||
	    (get32(p + 4) & 0xffff) != len - BLAST_HEADER) {
		b->mine.bad++;
		return;
	}
	if (get32(p + 8) != b->conf.run) {
		b->stale++;
		return;
	}
	u32 ack = get32(p + 16);
	if (ack > b->next) {
		b->mine.bad++;
		return;
	}
	b->acked = MAX(b->acked, ack);
	u32 type = p[5] & ((1u << BLAST_STREAM_SHIFT) - 1);
	if (type == BLAST_DATA)
		read_data(b, get32(p + 12), p + BLAST_HEADER, len - BLAST_HEADER);
	else
		read_control(b, type, get32(p + 12), p + BLAST_HEADER, len - BLAST_HEADER);
}
