/*
 * guest/work/blast_proto.c: two ends of the protocol against each other over a channel that loses, changes and reorders; and
 * against the host's end, tests/peers/blast_peer.py, over the loopback interface.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest/work/blast.h"

#define PEER "tests/peers/blast_peer.py"

static struct blast a, b;
static u32 drop_every, corrupt_every, sent; /* 0 = never */
static struct { u8 data[BLAST_SIZE_MAX]; u32 len; struct blast *to; } queue[1024];
static u32 queue_head, queue_tail, queue_most;

static int reset(void **state)
{
	struct blast_conf conf = { .count = 5000, .window = 64, .size = 100, .run = 42 };

	(void)state;
	blast_init(&a, &conf);
	conf.side = 1;
	blast_init(&b, &conf);
	drop_every = corrupt_every = sent = queue_head = queue_tail = queue_most = 0;
	return 0;
}

static void post(struct blast *from, enum blast_type type)
{
	u32 i = queue_tail % ARRAY_SIZE(queue);

	queue[i].to = from == &a ? &b : &a;
	queue[i].len = blast_write(from, type, queue[i].data);
	sent++;
	if (drop_every && sent % drop_every == 0)
		return;
	if (corrupt_every && sent % corrupt_every == 0)
		queue[i].data[queue[i].len - 1] ^= 0x80;
	queue_tail++;
	queue_most = MAX(queue_most, queue_tail - queue_head);
	assert_true(queue_tail - queue_head < ARRAY_SIZE(queue));
}

static void deliver(u32 n)
{
	for (; n && queue_head != queue_tail; n--, queue_head++) {
		u32 i = queue_head % ARRAY_SIZE(queue);
		blast_read(queue[i].to, queue[i].data, queue[i].len);
	}
}

static bool one_side(struct blast *s)
{
	bool did = false;

	for (u32 n = 0; n < 10 && blast_may_send(s); n++) {
		assert_true(s->next - s->acked < s->conf.window);
		post(s, BLAST_DATA);
		did = true;
	}
	if (blast_must_ack(s)) {
		post(s, BLAST_ACK);
		did = true;
	}
	return did;
}

/* Both ends until done or nothing helps. */
static bool play(void)
{
	for (u32 round = 0; round < 100000; round++) {
		bool did = one_side(&a);
		did |= one_side(&b);
		did |= queue_head != queue_tail;
		deliver(7);
		if (blast_done(&a) && blast_done(&b) && queue_head == queue_tail)
			return true;
		if (!did) {
			post(&a, BLAST_PROBE);
			post(&b, BLAST_PROBE);
		}
	}
	return false;
}

static void test_perfect(void **state)
{
	(void)state;
	post(&a, BLAST_HELLO);
	post(&b, BLAST_HELLO);
	deliver(2);
	assert_true(a.hello && b.hello);
	assert_true(play());
	assert_true(queue_most <= 2 * 64 + 8);
	post(&a, BLAST_SUMMARY);
	post(&b, BLAST_SUMMARY);
	deliver(2);
	assert_true(blast_perfect(&a) && blast_perfect(&b));
	assert_int_equal(a.mine.rx_data, 5000);
	assert_int_equal(a.mine.tx_data, 5000);
}

static void test_losses(void **state)
{
	static const u32 rates[] = { 2, 3, 7, 63, 64, 65, 1000, 4999 };

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(rates); i++) {
		reset(NULL);
		drop_every = rates[i];
		assert_true(play());
		assert_int_equal(a.mine.rx_data + a.mine.lost, 5000);
		assert_int_equal(b.mine.rx_data + b.mine.lost, 5000);
		assert_true(a.mine.lost + b.mine.lost > 0);
		drop_every = 0;
		post(&a, BLAST_SUMMARY);
		post(&b, BLAST_SUMMARY);
		deliver(2);
		assert_false(blast_perfect(&a) || blast_perfect(&b));
	}
}

static void test_corruption(void **state)
{
	(void)state;
	corrupt_every = 50;
	assert_true(play());
	assert_true(a.mine.bad > 0 && a.mine.lost == 0);
	assert_int_equal(a.mine.rx_data + a.mine.bad, 5000);
}

static void test_disorder(void **state)
{
	u8 first[BLAST_SIZE_MAX], second[BLAST_SIZE_MAX];

	(void)state;
	u32 len = blast_write(&a, BLAST_DATA, first);
	blast_write(&a, BLAST_DATA, second);
	blast_read(&b, second, len);
	blast_read(&b, first, len);
	blast_read(&b, second, len);
	assert_int_equal(b.mine.rx_data, 1);
	assert_int_equal(b.mine.lost, 1);
	assert_int_equal(b.mine.disorder, 1);
	assert_int_equal(b.mine.dup, 1);
	blast_read(&b, first, len);
	assert_int_equal(b.mine.dup, 2);
	assert_int_equal(b.expect, 2);
}

/* Round the end of what it remembers: a duplicate is known as far back as a window reaches, and never a frame that was lost. */
static void test_duplicates(void **state)
{
	static u8 p[1000][BLAST_SIZE_MAX];
	u32 len = 0, dup = 0;

	(void)state;
	a.conf.window = 1000;
	for (u32 i = 0; i < 1000; i++) {
		len = blast_write(&a, BLAST_DATA, p[i]);
		if (i % 10 == 9)
			continue; /* lost */
		blast_read(&b, p[i], len);
		for (u32 back = 0; back < MIN(i, 192u); back += 37, dup += (i - back + 37) % 10 != 9)
			if ((i - back) % 10 != 9)
				blast_read(&b, p[i - back], len);
	}
	assert_int_equal(b.mine.dup, dup);
	assert_int_equal(b.mine.disorder, 0);
	assert_int_equal(b.mine.lost, 99);
	blast_read(&b, p[989], len);
	assert_int_equal(b.mine.disorder, 1);
	assert_int_equal(blast_stream_of(p[0], len), BLAST_UNICAST);
	for (b.conf.stream = BLAST_BROADCAST; b.conf.stream < BLAST_STREAMS; b.conf.stream++)
		assert_int_equal(blast_stream_of(p[0], blast_write(&b, BLAST_DATA, p[0])), b.conf.stream);
}

static void test_malformed(void **state)
{
	u8 p[BLAST_SIZE_MAX];

	(void)state;
	u32 len = blast_write(&a, BLAST_DATA, p);
	for (u32 n = 0; n < len; n++) {
		u8 *copy = malloc(n ? n : 1); /* exactly n bytes, under ASan */
		memcpy(copy, p, n);
		blast_read(&b, copy, n);
		free(copy);
	}
	assert_int_equal(b.mine.bad, len);
	p[8] ^= 1; /* another run */
	blast_read(&b, p, len);
	assert_int_equal(b.stale, 1);
	p[8] ^= 1;
	p[19] = 99; /* acknowledges what was never sent */
	blast_read(&b, p, len);
	p[19] = 0;
	p[12] = 0xff; /* a number out of range */
	blast_read(&b, p, len);
	p[12] = 0;
	p[5] = 77; /* a type that does not exist */
	blast_read(&b, p, len);
	assert_int_equal(b.mine.bad, len + 3);
	assert_int_equal(b.mine.rx_data, 0);
	assert_int_equal(b.expect, 0);
	p[5] = BLAST_DATA;
	blast_read(&b, p, len);
	assert_int_equal(b.mine.rx_data, 1);
}

static void test_hello_must_agree(void **state)
{
	u8 p[BLAST_SIZE_MAX];

	(void)state;
	a.conf.count++;
	blast_read(&b, p, blast_write(&a, BLAST_HELLO, p));
	assert_false(b.hello);
	assert_int_equal(b.mine.bad, 1);
}

/* ---- against the host's end: a is the unicast stream, b and m those of broadcasts and multicasts, which go as unicast here ---- */

static struct blast m;
static struct blast *const streams[] = { &a, &b, &m };
static u32 nr_streams, lose_every, nr_out;

static void out(int s, struct blast *from, enum blast_type type)
{
	u8 p[BLAST_SIZE_MAX];
	u32 len = blast_write(from, type, p);

	if (!lose_every || ++nr_out % lose_every || type == BLAST_HELLO || type == BLAST_SUMMARY || type == BLAST_BYE)
		(void)!send(s, p, len, 0);
}

static void in(int s, int ms)
{
	u8 p[2048];
	struct pollfd f = { .fd = s, .events = POLLIN };

	for (ssize_t n; poll(&f, 1, ms) > 0; ms = 0)
		if ((n = recv(s, p, sizeof(p), MSG_DONTWAIT)) >= 0)
			blast_read(streams[blast_stream_of(p, (u32)n)], p, (u32)n);
}

static void converse(int s, struct blast *from, enum blast_type type, const bool *answer)
{
	for (u32 i = 0; i < 500 && !*answer; i++) {
		out(s, from, type);
		in(s, 100);
		if (!*answer)
			usleep(20000); /* poll returns at once while the peer has not bound its port yet */
	}
	assert_true(*answer);
}

/* A free port of the loopback interface, and a socket connected to it. */
static int connect_free_port(char *text, size_t size)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(to);
	int s = socket(AF_INET, SOCK_DGRAM, 0), probe = socket(AF_INET, SOCK_DGRAM, 0);

	assert_int_equal(bind(probe, (struct sockaddr *)&to, len), 0);
	assert_int_equal(getsockname(probe, (struct sockaddr *)&to, &len), 0);
	close(probe);
	snprintf(text, size, "%u", ntohs(to.sin_port));
	assert_int_equal(connect(s, (struct sockaddr *)&to, len), 0);
	return s;
}

static void converse_all(int s, enum blast_type type)
{
	for (u32 i = 0; i < nr_streams; i++)
		converse(s, streams[i], type, type == BLAST_HELLO ? &streams[i]->hello : &streams[i]->summary);
}

static void stream_all(int s)
{
	u32 before = 0, now, done = 0;

	for (u32 idle = 0; done < nr_streams && idle < 2000; idle++) {
		bool more = false;
		done = now = 0;
		for (u32 i = 0; i < nr_streams; i++) {
			struct blast *f = streams[i];
			for (u32 n = 0; n < 16 && blast_may_send(f); n++)
				out(s, f, BLAST_DATA);
			if (blast_must_ack(f))
				out(s, f, BLAST_ACK);
			if (idle % 50 == 49)
				out(s, f, BLAST_PROBE);
			more |= blast_may_send(f);
			done += blast_done(f);
			now += f->acked + f->expect;
		}
		in(s, more ? 0 : 20);
		idle = now == before ? idle : 0;
		before = now;
	}
	assert_int_equal(done, nr_streams);
}

/* Runs the protocol with a peer process; returns its exit status. */
static int play_with_host(u32 count)
{
	char port[8];
	int s = connect_free_port(port, sizeof(port)), status;
	pid_t pid = fork();

	if (pid == 0) {
		(void)!freopen("/dev/null", "w", stdout);
		execlp("python3", "python3", PEER, "--ip", "127.0.0.1", "--port", port, "--timeout", "20", "--broadcast", "none",
		       (char *)NULL);
		_exit(127);
	}
	blast_init(&a, &(struct blast_conf){ .count = count, .window = 64, .size = 200, .run = 7 });
	blast_init(&b, &(struct blast_conf){ .count = count / 2, .window = 32, .size = 100, .run = 7, .stream = BLAST_BROADCAST });
	blast_init(&m, &(struct blast_conf){ .count = count / 4, .window = 32, .size = 300, .run = 7, .stream = BLAST_MULTICAST });
	converse_all(s, BLAST_HELLO);
	stream_all(s);
	converse_all(s, BLAST_SUMMARY);
	for (u32 i = 0; i < nr_streams; i++)
		out(s, streams[i], BLAST_BYE);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close(s);
	return WEXITSTATUS(status);
}

static void test_host_perfect(void **state)
{
	(void)state;
	lose_every = 0;
	nr_streams = 1;
	assert_int_equal(play_with_host(3000), 0);
	assert_true(blast_perfect(&a));
}

static void test_host_three_streams(void **state)
{
	(void)state;
	lose_every = 0;
	nr_streams = 3;
	assert_int_equal(play_with_host(2000), 0);
	assert_true(blast_perfect(&a) && blast_perfect(&b) && blast_perfect(&m));
	assert_int_equal(b.mine.rx_data, 1000);
	assert_int_equal(m.mine.rx_data, 500);
}

static void test_host_sees_losses(void **state)
{
	(void)state;
	lose_every = 100;
	nr_streams = 1;
	assert_int_equal(play_with_host(500), 1);
	assert_false(blast_perfect(&a));
	assert_true(a.theirs.lost > 0);
	assert_int_equal(a.theirs.lost + a.theirs.rx_data, 500);
}

#define TEST(fn) cmocka_unit_test_setup(fn, reset)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_perfect), TEST(test_losses), TEST(test_corruption), TEST(test_disorder), TEST(test_malformed),
		TEST(test_hello_must_agree), TEST(test_duplicates), TEST(test_host_perfect),
		TEST(test_host_three_streams), TEST(test_host_sees_losses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
