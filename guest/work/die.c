/*
 * A guest that dies inside a switch, for its outer to clear up: `die` names the step, `way` the direction, `how` whether it ends or hangs
 * there until somebody kills it. Until it is told to, by a datagram, it answers; one that never is, is the witness beside the others.
 *
 *   "die"     switch, and die behind the step; from pass-through if way=back
 *   "steps"   there and back once; each step is said
 *   "report"  HC_REPORT, then the answer
 *   "switch"  to the other state; its result is said
 *   "want"    HC_NIC_WANT pass-through; its result is said
 *   "stop"    end in good order
 *
 * Every other datagram is only answered with itself, and so are these but "die".
 */
#include <stdio.h>
#include <string.h>

#include "guest/lib/nest.h"
#include "guest/lib/x86.h"
#include "guest/net/port.h"
#include "guest/work/pinger.h"
#include "guest/work/work.h"

struct die {
	struct pinger p;
	u16 port;
	const char *step;      /* NULL: none */
	bool say, spin;
	enum { NOTHING, DIE, STEPS, REPORT, SWITCH, WANT, STOP } order;
};

/* A step's name as a word of the command line: with '-' for its blanks. */
static bool is_word(const char *name, const char *word)
{
	while (*name && *word == (*name == ' ' ? '-' : *name)) {
		name++;
		word++;
	}
	return !*name && !*word;
}

static int step(void *arg, const char *name)
{
	struct die *d = arg;

	if (d->say)
		printf("guest: die: step %s\n", name);
	if (!d->step || !is_word(name, d->step))
		return 0;
	printf("guest: die: at %s\n", name);
	fflush(stdout);
	if (!d->spin)
		nest_exit(0);
	for (;;)
		compiler_barrier();
}

static void take(void *arg, const struct udp_datagram *u)
{
	static const char *const orders[] = { [DIE] = "die", [STEPS] = "steps", [REPORT] = "report",
					[SWITCH] = "switch", [WANT] = "want", [STOP] = "stop" };
	struct die *d = container_of((struct net *)arg, struct die, p.net);
	struct ip_stack *ip = &d->p.net.ip;

	if (u->to_port != d->port || u->len > UDP_PAYLOAD_MAX)
		return;
	for (u32 i = DIE; i <= STOP; i++)
		if (u->len == strlen(orders[i]) && !memcmp(u->payload, orders[i], u->len))
			d->order = i;
	if (d->order == REPORT) {
		nest_call(HC_REPORT, 0, 0, 0, 0);
		printf("guest: die: reported\n");
	}
	if (d->order == DIE)
		return;
	memcpy(ip_udp_payload(ip), u->payload, u->len);
	ip_udp_send(ip, u->mac, u->from, u->from_port, u->to_port, u->len);
}

/* There and back. */
static u32 steps(struct die *d, u64 us)
{
	struct nic *n = &d->p.net.nic;

	d->say = true;
	printf("guest: die: to pass-through\n");
	u32 failed = work_check(!nic_switch(n, NEST_MODE_PASSTHROUGH) && pinger_exchange(&d->p, us), "die-steps-there");
	printf("guest: die: to emulation\n");
	failed += work_check(!nic_switch(n, NEST_MODE_EMULATION) && pinger_exchange(&d->p, us), "die-steps-back");
	printf("guest: die: that were all steps\n");
	d->say = false;
	return failed;
}

/* Does not return, if the step is one of that way's. */
static u32 die(struct die *d, const struct cmdline *c, u64 us)
{
	struct nic *n = &d->p.net.nic;
	u32 failed = 0, to = NEST_MODE_PASSTHROUGH;

	if (cmdline_is(c, "way", "back")) {
		failed = work_check(!nic_switch(n, NEST_MODE_PASSTHROUGH) && pinger_exchange(&d->p, us), "die-there");
		to = NEST_MODE_EMULATION;
	}
	d->step = cmdline_get(c, "die");
	(void)nic_switch(n, to);
	return failed + work_check(false, "die-at-that-step");
}

/* Refused or not, traffic flows. */
static u32 ask(struct die *d, const char *what, int result, u64 us)
{
	printf("guest: die: %s: result %d\n", what, result);
	return work_check(pinger_exchange(&d->p, us), "die-asked-works");
}

static u32 obey(struct die *d, const struct cmdline *c, u64 us)
{
	struct nic *n = &d->p.net.nic;
	u32 order = d->order;

	d->order = NOTHING;
	switch (order) {
	case DIE:
		return die(d, c, us);
	case STEPS:
		return steps(d, us);
	case SWITCH:
		return ask(d, "switch", nic_switch(n, !n->mode), us);
	case WANT:
		return ask(d, "want", port_want(n->port, NEST_MODE_PASSTHROUGH), us);
	default:
		return 0;
	}
}

u32 work_die(const struct cmdline *c)
{
	static struct die d;
	u64 us = cmdline_u64(c, "wait", 30) * 1000000;

	nest_phase(PHASE_CONTROL);
	if (pinger_open(&d.p, c, us))
		return work_check(false, "die-open");
	u32 failed = work_check(pinger_exchange(&d.p, us), "die-emulation-works");
	d.port = (u16)cmdline_u64(c, "port", 5000);
	d.spin = cmdline_is(c, "how", "spin");
	d.p.net.ip.udp = take;
	d.p.net.nic.step = step;
	d.p.net.nic.step_arg = &d;
	printf("guest: die: ready\n");
	while (d.order != STOP) {
		failed += obey(&d, c, us);
		if (!net_poll(&d.p.net))
			net_idle(&d.p.net);
	}
	return failed + work_check(net_close(&d.p.net) == 0, "die-close");
}
