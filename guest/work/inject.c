/*
 * Failures on the way to pass-through and back: at every point of every level (HC_FAULT), one after the other.
 *
 * Invariant: after each failure the port is in emulation, an echo request is answered, and HC_REPORT shows every level's balances, which
 * the host compares.
 */
#include <stdio.h>
#include <string.h>

#include "guest/lib/nest.h"
#include "guest/net/port.h"
#include "guest/work/pinger.h"
#include "guest/work/work.h"

static const char *stop_at; /* the step of the switch that shall fail */

static int fail_step(void *arg, const char *name)
{
	(void)arg;
	return stop_at && !strcmp(name, stop_at);
}

static u64 fired(u32 level, u64 index)
{
	struct nest_fault f;
	return port_fault(level, NEST_FAULT_QUERY, index, &f) < 0 ? 0 : f.fired;
}

static bool emulation_works(struct pinger *p, u64 us)
{
	struct nest_nic_info info;
	return p->net.nic.mode == NEST_MODE_EMULATION && !port_info(p->net.nic.port, &info) && info.state == NEST_MODE_EMULATION &&
	       pinger_exchange(p, us);
}

/* ---- the ways past points ---- */

/* Close and open: the way for what is taken when the emulated device starts. A failure comes once, so the second try works. */
static void reopen(struct pinger *p, const struct cmdline *c, u64 us)
{
	(void)net_close(&p->net);
	if (pinger_open(p, c, us) && pinger_open(p, c, us))
		p->mac = NULL; /* nothing will be answered */
	p->net.nic.step = fail_step;
}

static void there(struct nic *n, const char *stop)
{
	stop_at = stop;
	(void)nic_switch(n, NEST_MODE_PASSTHROUGH);
	stop_at = NULL;
}

/* A failure on the way back leaves pass-through; it comes once, so the second try ends where the first began. */
static void back(struct nic *n)
{
	for (u32 i = 0; i < 2 && n->mode != NEST_MODE_EMULATION; i++)
		(void)nic_switch(n, NEST_MODE_EMULATION);
}

/* In pass-through: a call that fails has changed nothing, so traffic flows; the second try works. */
static bool try_twice(struct pinger *p, int r, int (*again)(u64 handle), u64 us)
{
	return !r || (pinger_exchange(p, us) && !again(p->net.nic.handle));
}

/* The function stopped, saved, put back and started. False: it did not work afterwards. */
static bool stop_and_go(struct pinger *p, u64 us)
{
	static struct nest_nic_state record;
	u64 h = p->net.nic.handle;

	if (!try_twice(p, port_quiesce(h), port_quiesce, us))
		return false;
	if (port_save(h, &record) && port_save(h, &record))
		return false;
	if (port_restore(h, &record) && port_restore(h, &record))
		return false;
	return (!port_resume(h) || !port_resume(h)) && pinger_exchange(p, us);
}

/*
 * One point: on the way of a switch that succeeds but for it; if that does not come past it, of one that fails between prepare and
 * commit; of a function that is stopped and saved; of an opening. *hit: it was reached. Returns false if the port does not work
 * afterwards.
 */
enum way { SWITCH, ABORT, STATE, REOPEN, WAYS };
static bool go(struct pinger *p, const struct cmdline *c, enum way w, u64 us)
{
	struct nic *n = &p->net.nic;
	bool works = true;

	if (w == REOPEN)
		reopen(p, c, us);
	else
		there(n, w == ABORT ? "fence" : NULL);
	if (w == STATE && n->mode == NEST_MODE_PASSTHROUGH)
		works = stop_and_go(p, us);
	back(&p->net.nic);
	return works && emulation_works(p, us);
}

static bool inject(struct pinger *p, const struct cmdline *c, u32 level, u64 index, u64 us, bool *hit)
{
	bool works = true;

	*hit = fired(level, index); /* at the first opening */
	for (enum way w = SWITCH; w < WAYS && !*hit && works; w++) {
		if (port_fault(level, NEST_FAULT_ARM, index, NULL))
			return false;
		works = go(p, c, w, us);
		port_fault(level, NEST_FAULT_DISARM, 0, NULL);
		*hit = fired(level, index);
	}
	return works;
}

/* ---- all points ---- */

/*
 * What a level does once in its life, when the port is opened for the first time: these points come first. An opening that fails has
 * left nothing; the report shows that.
 */
static void first_opening(struct pinger *p, const struct cmdline *c, u64 us)
{
	static const char once[] = "upstream device: find";
	struct nest_fault f;

	nest_call(HC_REPORT, 0, 0, 0, 0);
	for (u32 level = 0; port_fault(level, NEST_FAULT_QUERY, 0, NULL) > 0; level++) {
		u64 i = 0, points = (u64)port_fault(level, NEST_FAULT_QUERY, 0, NULL);
		while (i < points && port_fault(level, NEST_FAULT_QUERY, i, &f) >= 0 && strcmp(f.name, once))
			i++;
		if (i == points || port_fault(level, NEST_FAULT_ARM, i, NULL))
			continue;
		if (!pinger_open(p, c, us))
			(void)net_close(&p->net);
		port_fault(level, NEST_FAULT_DISARM, 0, NULL);
		if (!fired(level, i))
			continue;
		printf("inject: level %u refused the first opening\n", level);
		fflush(stdout);
		nest_call(HC_REPORT, 0, 0, 0, 0);
	}
}

static u32 inject_level(struct pinger *p, const struct cmdline *c, u32 level, s64 points, u64 us, u32 *reached)
{
	u32 failed = 0;

	for (s64 i = 0; i < points; i++) {
		struct nest_fault f = { .name = "?" };
		bool hit, works;

		port_fault(level, NEST_FAULT_QUERY, (u64)i, &f);
		works = inject(p, c, level, (u64)i, us, &hit);
		*reached += hit;
		printf("inject: level %u point %.47s: %s%s\n", level, f.name, hit ? "fired" : "not reached", works ? "" : ", BROKEN");
		failed += !works;
		fflush(stdout);
		nest_call(HC_REPORT, 0, 0, 0, 0);
	}
	return failed;
}

u32 work_inject(const struct cmdline *c)
{
	static struct pinger p;
	u64 us = cmdline_u64(c, "wait", 30) * 1000000, total = 0;
	u32 failed = 0, reached = 0, level = 0;
	s64 points;

	nest_phase(PHASE_CONTROL);
	first_opening(&p, c, us);
	if (pinger_open(&p, c, us))
		return work_check(false, "inject-open");
	p.net.nic.step = fail_step;
	failed += work_check(go(&p, c, STATE, us), "inject-switch-works"); /* what is allotted once, is: balances are comparable from here on */
	nest_call(HC_REPORT, 0, 0, 0, 0);
	for (; (points = port_fault(level, NEST_FAULT_QUERY, 0, NULL)) >= 0; level++) {
		failed += inject_level(&p, c, level, points, us, &reached);
		total += (u64)points;
	}
	failed += work_check(go(&p, c, SWITCH, us), "inject-switch-still-works");
	printf("inject: %u levels, %llu points, %u fired, %llu not reached, %u broken\n", level, (unsigned long long)total, reached,
	       (unsigned long long)(total - reached), failed);
	net_report(&p.net, "inject");
	return failed + work_check(level > 0 && points == -ENOENT, "inject-levels") + work_check(net_close(&p.net) == 0, "inject-close");
}
