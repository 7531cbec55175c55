/*
 * The emulated network device and its port's mode transaction from two vCPUs at once: descriptors that change while they are read,
 * resets in the midst of a switch, every call of the transaction at any time, and the VM's end in the midst of all that.
 *
 * Invariant: vCPU 1 works only between other_start and other_stop, makes no call that needs a record page, and prints nothing.
 */
#include <stdio.h>
#include <string.h>

#include "guest/lib/clock.h"
#include "guest/lib/memory.h"
#include "guest/work/modes.h"
#include "guest/work/torture_virtio.h"
#include "guest/work/work.h"

#define EMULATION NEST_MODE_EMULATION
#define PASSTHROUGH NEST_MODE_PASSTHROUGH
#define FLIP_ROUNDS 40u
#define FLIP_KICKS 20u
#define FENCES 40u
#define CALL_ROUNDS 300u
#define STOP_US 10000000

/* ---- vCPU 1 ---- */

static struct tv *shared;
static bool stop, stopped;
static u64 steps;              /* that vCPU 1 has taken */
static void (*step)(u32 random);

static u32 next_random(u32 *state) { return (*state = *state * 1664525u + 1013904223u) >> 8; }

static void other_main(void)
{
	u32 state = 12345;

	irq_enable();
	while (!READ_ONCE(stop)) {
		step(next_random(&state));
		WRITE_ONCE(steps, steps + 1);
	}
	irq_disable();
	WRITE_ONCE(stopped, true);
}

static bool other_start(struct tv *t, void (*fn)(u32 random))
{
	shared = t;
	step = fn;
	WRITE_ONCE(stop, false);
	WRITE_ONCE(stopped, false);
	WRITE_ONCE(steps, 0);
	return smp_start(other_main);
}

static bool other_stop(void)
{
	WRITE_ONCE(stop, true);
	return clock_wait(READ_ONCE(stopped), STOP_US);
}

/* ---- descriptors that change under the device ---- */

static u64 some_address(u32 r)
{
	const u64 all[] = { (u64)shared->mem->tx[0], (u64)shared->mem->spare, memory_top() - 20, memory_top(), 0xfee00000,
			    (u64)shared->pci.bar0, ~0ull - 3, (u64)tv_ring(shared, VIRTIO_NET_TXQ) };
	return all[r % ARRAY_SIZE(all)];
}

static void flip(u32 r)
{
	struct virtq_mem *m = tv_ring(shared, r % TV_QUEUES);
	struct virtq_desc *d = &m->desc[r >> 2 & 7];
	u32 v = r >> 10;

	switch (r >> 5 & 15) {
	case 0: case 1: WRITE_ONCE(d->addr, some_address(v)); break;
	case 2: WRITE_ONCE(d->len, v & 1 ? v : v & 127); break;
	case 3: WRITE_ONCE(d->len, ~0u); break;
	case 4: case 5: WRITE_ONCE(d->flags, (u16)(v & 7)); break;
	case 6: WRITE_ONCE(d->next, (u16)(v & 31)); break;
	case 7: WRITE_ONCE(m->avail.ring[v % TV_SIZE], (u16)(v >> 4 & 31)); break;
	case 8: case 9: WRITE_ONCE(m->avail.idx, (u16)(m->used.idx + (v & 31))); break;
	case 10: WRITE_ONCE(m->used.idx, (u16)v); break;
	case 11: WRITE_ONCE(m->avail.flags, (u16)v); break;
	case 12: tv_kick(shared, r % TV_QUEUES); break;
	default: WRITE_ONCE(d->addr, (u64)shared->mem->rx[v % TV_SIZE]); WRITE_ONCE(d->len, 72); WRITE_ONCE(d->flags, 0);
	}
}

static u32 changing_descriptors(struct tv *t)
{
	u32 broke = 0;
	bool ok = other_start(t, flip);

	for (u32 i = 0; i < FLIP_ROUNDS && ok; i++) {
		tv_up(t, TV_CTRL | BIT(VIRTIO_F_RING_INDIRECT_DESC) | (i & 1 ? BIT(VIRTIO_F_RING_EVENT_IDX) : 0));
		for (u32 k = 0; k < FLIP_KICKS && !tv_broken(t); k++)
			tv_kick(t, k % TV_QUEUES);
		broke += tv_broken(t);
	}
	ok = ok && other_stop();
	printf("guest: virtio: descriptors changed %llu times, the device broke in %u of %u rounds\n", (unsigned long long)steps, broke,
	       FLIP_ROUNDS);
	return tv_case(t, ok && broke && steps, "changing-descriptors");
}

static void reset_or_kick(u32 r)
{
	if (r & 15)
		tv_kick(shared, r % TV_QUEUES);
	else
		virtio_reset(shared->common);
}

/* The one sets up what the other resets. */
static u32 resets(struct tv *t)
{
	bool ok = other_start(t, reset_or_kick);

	for (u32 i = 0; i < FLIP_ROUNDS && ok; i++) {
		tv_up(t, TV_PLAIN);
		tv_ask(t);
	}
	return tv_case(t, ok && other_stop() && steps, "reset-by-another-vcpu");
}

/* ---- the mode transaction, one call after the other ---- */

static u32 state_of(struct tv *t)
{
	struct nest_nic_info info;
	return port_info(t->port, &info) ? ~0u : info.state;
}

static bool back(struct tv *t, s64 handle) { return port_free((u64)handle) == 0 && state_of(t) == EMULATION; }

static void break_device(struct tv *t)
{
	WRITE_ONCE(tv_ring(t, VIRTIO_NET_TXQ)->avail.idx, 0x7000);
	tv_kick(t, VIRTIO_NET_TXQ);
}

/* Prepared; then the device is lost in one of three ways; then the end of the transaction. */
static u32 lost_before_commit(struct tv *t)
{
	static const char *const how[] = { "reset", "broken", "reset-and-up" };
	u32 failed = 0;

	for (u32 i = 0; i < 2 * ARRAY_SIZE(how); i++) {
		bool commit = i % 2;
		char name[48];
		bool ok = tv_up(t, TV_PLAIN);
		s64 h = port_alloc(t->port, NEST_ALLOC_PARKED);
		ok = ok && h > 0 && port_prepare(t->port, PASSTHROUGH) == 0;
		if (i / 2 == 1)
			break_device(t);
		else
			tv_reset(t);
		if (i / 2 == 2)
			tv_up(t, TV_PLAIN);
		ok = ok && (commit ? port_commit(t->port, PASSTHROUGH) >= 0 : port_abort(t->port, PASSTHROUGH) == 0);
		ok = ok && state_of(t) == (commit ? PASSTHROUGH : EMULATION) && back(t, h);
		sniprintf(name, sizeof(name), "prepare-%s-%s", how[i / 2], commit ? "commit" : "abort");
		failed += tv_case(t, ok, name);
	}
	return failed;
}

/* From pass-through, whose way back needs a device that runs. */
static u32 lost_on_the_way_back(struct tv *t)
{
	u32 failed = 0;

	tv_reset(t);
	s64 h = port_alloc(t->port, 0);
	bool ok = h > 0 && port_prepare(t->port, EMULATION) == -EIO && tv_up(t, TV_PLAIN);
	ok = ok && port_prepare(t->port, EMULATION) == 0 && tv_reset(t) && port_commit(t->port, EMULATION) >= 0;
	failed += tv_case(t, ok && state_of(t) == EMULATION && back(t, h), "way-back-reset-commit");
	h = port_alloc(t->port, 0);
	ok = h > 0 && tv_up(t, TV_PLAIN) && port_prepare(t->port, EMULATION) == 0;
	break_device(t);
	ok = ok && port_commit(t->port, EMULATION) >= 0;
	return failed + tv_case(t, ok && back(t, h), "way-back-broken-commit");
}

static u32 fences(struct tv *t)
{
	u32 failed = 0;

	tv_reset(t);
	failed += tv_case(t, port_fence(t->port) == 0, "fence-of-a-reset-device");
	tv_up(t, TV_PLAIN);
	break_device(t);
	failed += tv_case(t, tv_broken(t) && port_fence(t->port) == 0, "fence-of-a-broken-device");
	tv_up(t, TV_PLAIN);
	WRITE_ONCE(tv_ring(t, VIRTIO_NET_TXQ)->avail.idx, 0x7000);
	int r = port_fence(t->port);
	return failed + tv_case(t, r == 0 && tv_broken(t), "fence-that-breaks-the-device");
}

u32 tv_group_modes(struct tv *t) { return lost_before_commit(t) + lost_on_the_way_back(t) + fences(t); }

/* ---- the same from two vCPUs ---- */

static void fence(u32 r)
{
	(void)r;
	(void)port_fence(shared->port);
}

static u32 reset_while_fence(struct tv *t)
{
	bool ok = other_start(t, fence);

	for (u32 i = 0; i < FENCES && ok; i++) {
		tv_up(t, TV_PLAIN);
		tv_ask(t);
		tv_reset(t);
	}
	return tv_case(t, ok && other_stop() && steps, "reset-while-fence");
}

static u64 odd_answers;

/* What abi.h lets such a call say. */
static void expect_any(s64 r)
{
	if (r < 0 && r != -EALREADY && r != -EBUSY && r != -EINVAL && r != -ENOENT && r != -EIO && r != -EAGAIN && r != -ETIMEDOUT &&
	    r != -ENODEV)
		__atomic_fetch_add(&odd_answers, 1, __ATOMIC_SEQ_CST);
}

static void any_call(u32 r)
{
	u32 mode = r >> 4 & 1, port = shared->port;

	switch (r & 15) {
	case 0: case 1: case 2: case 3: expect_any(port_prepare(port, mode)); break;
	case 4: case 5: case 6: expect_any(port_commit(port, mode)); break;
	case 7: case 8: expect_any(port_abort(port, mode)); break;
	case 9: expect_any(port_want(port, mode)); break;
	case 10: case 11: expect_any(port_fence(port)); break;
	case 12: virtio_reset(shared->common); break;
	default: tv_kick(shared, r % TV_QUEUES);
	}
}

/* vCPU 0 also opens and closes, and sets the device up. */
static void any_step(struct tv *t, u32 r, s64 *handle)
{
	if ((r >> 8 & 15) == 0) {
		tv_up(t, TV_PLAIN);
		tv_ask(t);
	} else if ((r >> 8 & 15) == 1 && *handle > 0) {
		expect_any(port_free((u64)*handle));
		*handle = 0;
	} else if (*handle <= 0) {
		*handle = port_alloc(t->port, r & 0x10000 ? NEST_ALLOC_PARKED : 0);
		expect_any(*handle);
	} else {
		any_call(r);
	}
}

static u32 all_at_once(struct tv *t)
{
	u32 state = 777;
	s64 handle = 0;
	struct nest_nic_stats before, after;
	bool ok = port_totals(t->port, &before) == 0 && other_start(t, any_call);

	for (u32 i = 0; i < CALL_ROUNDS && ok; i++)
		any_step(t, next_random(&state), &handle);
	ok = ok && other_stop();
	if (handle > 0)
		ok = ok && port_free((u64)handle) == 0;
	port_want(t->port, EMULATION);
	ok = ok && port_totals(t->port, &after) == 0;
	printf("guest: virtio: %llu calls of vCPU 1 beside %u of vCPU 0, %llu switches, %llu answers that nobody documented\n",
	       (unsigned long long)steps, CALL_ROUNDS, (unsigned long long)(after.switches - before.switches),
	       (unsigned long long)odd_answers);
	return tv_case(t, ok && !odd_answers && state_of(t) == EMULATION, "calls-of-two-vcpus");
}

u32 tv_group_races(struct tv *t)
{
	return changing_descriptors(t) + resets(t) + reset_while_fence(t) + all_at_once(t);
}

void tv_end_in_the_midst(struct tv *t)
{
	u32 state = 4711;
	s64 handle = 0;

	printf("guest: virtio: ending in the midst of mode changes\n");
	if (!other_start(t, any_call))
		return;
	for (u32 i = 0; i < CALL_ROUNDS; i++)
		any_step(t, next_random(&state), &handle);
	nest_exit(0);
}
