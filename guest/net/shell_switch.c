/*
 * The shell's side of the mode transaction (shell.h has the picture; nic/port_mode.c the levels' side).
 *
 * Invariant: until the commit every step can be undone and the stack notices nothing but a sender that is full for a moment; the commit
 * and what follows only complete. While the sender is frozen nothing is polled, so nobody is asked to send an answer.
 */
#include "guest/lib/clock.h"
#include "guest/net/port.h"
#include "guest/net/shell_dev.h"

#define DRAIN_US 5000000 /* for what has left the sender, or waits for us: bounds a chain that hangs */
#define BATCH 64u

static u64 frozen_at; /* of the switch under way */

static int freeze(struct nic *n)
{
	if (n->copies)
		vf_discard(n);
	frozen_at = rdtsc();
	n->frozen = true;
	n->tx->ops.tx_kick(n->tx->state);
	return 0;
}

static int thaw(struct nic *n)
{
	n->frozen = false;
	return 0;
}

static int prepare_vf(struct nic *n)
{
	int err = port_prepare(n->port, NEST_MODE_PASSTHROUGH);

	n->copies = !err;
	return err;
}

static int abort_vf(struct nic *n)
{
	n->copies = false;
	return port_abort(n->port, NEST_MODE_PASSTHROUGH);
}

static int prepare_emu(struct nic *n) { return port_prepare(n->port, NEST_MODE_EMULATION); }
static int abort_emu(struct nic *n) { return port_abort(n->port, NEST_MODE_EMULATION); }
static int fence(struct nic *n) { return port_fence(n->port); }
static int drain_vf(struct nic *n) { return clock_wait(!n->vf.ops.tx_pending(n->vf.state), DRAIN_US) ? 0 : -ETIMEDOUT; }
static int emu_open_late(struct nic *n) { return n->emu.running ? 0 : emu_open(n); }

/* The point of no return. The levels keep their word: after a prepare this fails only where there is nothing to commit any more. */
static int commit(struct nic *n, const struct shell_step *steps, u32 nr, u32 mode)
{
	s64 head = port_commit(n->port, mode);

	if (head < 0) {
		(void)shell_undo(n, steps, nr);
		return shell_fail("commit", (int)head);
	}
	n->copies = false;
	n->vf_head = (u32)head;
	n->mode = mode;
	n->tx = mode == NEST_MODE_PASSTHROUGH ? &n->vf : &n->emu;
	n->frozen = false; /* what we sent before has left; answers to what is drained may go */
	if (n->step)
		(void)n->step(n->step_arg, "commit");
	return 0;
}

static void gap_note(struct nic *n, u32 mode)
{
	struct nic_gap *g = &n->count.gap[mode];
	u64 ticks = rdtsc() - frozen_at;

	g->min = g->switches ? MIN(g->min, ticks) : ticks;
	g->max = MAX(g->max, ticks);
	g->sum += ticks;
	g->switches++;
}

/* Until the mark: all that the outermost level had for us before it moved our address. */
static int drain_to_end(struct nic *n)
{
	u64 end = clock_deadline(DRAIN_US);

	while (!n->end)
		if (!emu_poll(n, BATCH) && clock_passed(end)) /* behind the mark nothing follows */
			return shell_fail("end of emulation", -ETIMEDOUT);
	return 0;
}

static int to_passthrough(struct nic *n)
{
	static const struct shell_step steps[] = {
		{ "virtual function", vf_open, vf_close }, { "prepare", prepare_vf, abort_vf }, { "freeze", freeze, thaw },
		{ "fence", fence, NULL },
	};
	int err;

	n->alloc_flags = NEST_ALLOC_PARKED;
	n->end = false;
	if ((err = shell_run(n, steps, ARRAY_SIZE(steps))) || (err = commit(n, steps, ARRAY_SIZE(steps), NEST_MODE_PASSTHROUGH)))
		return err;
	err = drain_to_end(n);
	dev_irq_off(&n->emu);
	int before = n->vf.ops.rx_before(n->vf.state, n->vf_head);
	n->twice = before > 0 ? (u32)before : 0;
	dev_irq_on(&n->vf);
	gap_note(n, NEST_MODE_PASSTHROUGH);
	return err;
}

/* What the function took before our address moved, in the order of its ring. */
static int drain_to_head(struct nic *n)
{
	u64 end = clock_deadline(DRAIN_US);
	int left;

	while ((left = n->vf.ops.rx_before(n->vf.state, n->vf_head)) > 0)
		if (!vf_poll(n, MIN((u32)left, BATCH)) && clock_passed(end))
			return shell_fail("frames before the switch", -ETIMEDOUT);
	return left;
}

static int to_emulation(struct nic *n)
{
	static const struct shell_step steps[] = {
		{ "emulation", emu_open_late, NULL }, { "prepare", prepare_emu, abort_emu }, { "freeze", freeze, thaw },
		{ "drain", drain_vf, NULL },
	};
	int err, closed;

	if ((err = shell_run(n, steps, ARRAY_SIZE(steps))) || (err = commit(n, steps, ARRAY_SIZE(steps), NEST_MODE_EMULATION)))
		return err;
	dev_irq_off(&n->vf);
	err = drain_to_head(n);
	dev_irq_on(&n->emu);
	gap_note(n, NEST_MODE_EMULATION);
	closed = vf_close(n);
	return err ? err : closed;
}

int nic_switch(struct nic *n, u32 mode)
{
	int err;

	if (n->switching)
		return -EBUSY;
	if (n->mode == mode)
		return 0;
	n->switching = true;
	err = mode == NEST_MODE_PASSTHROUGH ? to_passthrough(n) : to_emulation(n);
	n->switching = false;
	n->count.failed += err != 0;
	return err;
}
