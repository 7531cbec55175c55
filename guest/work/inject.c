/*
 * Failures on the way to pass-through. inject: at every point of every level (HC_FAULT), one after the other. die: the guest itself ends,
 * or hangs, at a step of the switch, for its outer to clear up.
 *
 * Invariant: after each failure the port is in emulation, an echo request is answered, and HC_REPORT shows every level's balances, which
 * the host compares.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/lib/nest.h"
#include "guest/lib/x86.h"
#include "guest/net/port.h"
#include "guest/work/pinger.h"
#include "guest/work/work.h"

static const char *stop_at; /* the step of the switch that shall fail, or die */

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

/* Close and open: the way for what is taken once, when the emulated device starts. A failure comes once, so the second try works. */
static void reopen(struct pinger *p, const struct cmdline *c, u64 us)
{
	(void)net_close(&p->net);
	if (pinger_open(p, c, us) && pinger_open(p, c, us))
		p->mac = NULL; /* nothing will be answered */
	p->net.nic.step = fail_step;
}

/* There and back. A failure on the way back leaves pass-through; it comes once, so the second try ends where the first began. */
static void there_and_back(struct nic *n, const char *stop)
{
	stop_at = stop;
	(void)nic_switch(n, NEST_MODE_PASSTHROUGH);
	stop_at = NULL;
	for (u32 i = 0; i < 2 && n->mode != NEST_MODE_EMULATION; i++)
		(void)nic_switch(n, NEST_MODE_EMULATION);
}

static bool emulation_works(struct pinger *p, u64 us)
{
	struct nest_nic_info info;
	return p->net.nic.mode == NEST_MODE_EMULATION && !port_info(p->net.nic.port, &info) && info.state == NEST_MODE_EMULATION &&
	       pinger_exchange(p, us);
}

/*
 * One point: on the way of a switch that succeeds but for it; if that does not come past it, of one that fails between prepare and
 * commit; if that does not either, of an opening. *hit: it was reached. Returns false if the port does not work afterwards.
 */
enum way { SWITCH, ABORT, REOPEN, WAYS };
static bool inject(struct pinger *p, const struct cmdline *c, u32 level, u64 index, u64 us, bool *hit)
{
	u64 before = fired(level, index);
	bool works = true;

	*hit = false;
	for (enum way w = SWITCH; w < WAYS && !*hit && works; w++) {
		if (port_fault(level, NEST_FAULT_ARM, index, NULL))
			return false;
		if (w == REOPEN)
			reopen(p, c, us);
		else
			there_and_back(&p->net.nic, w == ABORT ? "fence" : NULL);
		works = emulation_works(p, us);
		port_fault(level, NEST_FAULT_DISARM, 0, NULL);
		*hit = fired(level, index) != before;
	}
	return works;
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
	if (pinger_open(&p, c, us))
		return work_check(false, "inject-open");
	p.net.nic.step = fail_step;
	there_and_back(&p.net.nic, NULL); /* what is allotted once, is: balances are comparable from here on */
	failed += work_check(emulation_works(&p, us), "inject-switch-works");
	nest_call(HC_REPORT, 0, 0, 0, 0);
	for (; (points = port_fault(level, NEST_FAULT_QUERY, 0, NULL)) >= 0; level++) {
		failed += inject_level(&p, c, level, points, us, &reached);
		total += (u64)points;
	}
	there_and_back(&p.net.nic, NULL);
	failed += work_check(emulation_works(&p, us), "inject-switch-still-works");
	printf("inject: %u levels, %llu points, %u fired, %llu not reached, %u broken\n", level, (unsigned long long)total, reached,
	       (unsigned long long)(total - reached), failed);
	net_report(&p.net, "inject");
	return failed + work_check(level > 0 && points == -ENOENT, "inject-levels") + work_check(net_close(&p.net) == 0, "inject-close");
}

/* ---- die ---- */

static bool die_spins;

static int die_step(void *arg, const char *name)
{
	(void)arg;
	if (!stop_at || strcmp(name, stop_at))
		return 0;
	printf("guest: die: at %s\n", name);
	fflush(stdout);
	if (!die_spins)
		nest_exit(0);
	for (;;)
		compiler_barrier();
}

u32 work_die(const struct cmdline *c)
{
	static struct pinger p;
	u64 us = cmdline_u64(c, "wait", 30) * 1000000;

	nest_phase(PHASE_CONTROL);
	if (pinger_open(&p, c, us))
		return work_check(false, "die-open");
	u32 failed = work_check(pinger_exchange(&p, us), "die-emulation-works");
	p.net.nic.step = die_step;
	die_spins = cmdline_is(c, "how", "spin");
	stop_at = cmdline_get(c, "die");
	if (cmdline_is(c, "die", "back")) {
		stop_at = NULL;
		failed += work_check(nic_switch(&p.net.nic, NEST_MODE_PASSTHROUGH) == 0, "die-there");
		stop_at = "commit";
		(void)nic_switch(&p.net.nic, NEST_MODE_EMULATION);
	}
	(void)nic_switch(&p.net.nic, NEST_MODE_PASSTHROUGH);
	net_close(&p.net);
	return failed + work_check(false, "die-at-that-step");
}
