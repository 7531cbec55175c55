/*
 * Console commands about ports (core/monitor.h).
 *
 * Invariant: a port is looked at and changed under its lock only, which is waited for with a bound: a command never holds the boot
 * CPU up for a port that somebody else is busy with.
 */
#include <string.h>

#include "core/console.h"
#include "core/errno.h"
#include "core/monitor.h"
#include "nic/port.h"
#include "nic/port_ext.h"

#define PATIENCE_US 10000

static const char *mode_name(u32 mode) { return mode == NIC_PASSTHROUGH ? "passthrough" : "emulation"; }

/* True with the port's lock held, and the port still its VM's. */
static bool enter(struct vm *vm, u32 index)
{
	struct nic_port *p = index < vm->nr_ports ? vm->ports[index] : NULL;

	if (!p) {
		log_line("port %s %u: there is none", vm->cfg->name, index);
		return false;
	}
	if (!wait_until(port_try_enter(p), PATIENCE_US)) {
		log_line("port %s %u: busy, try again", vm->cfg->name, index);
		return false;
	}
	if (p->vm == vm)
		return true;
	port_leave(p);
	return false;
}

static bool self_armed(const struct nic_port *p)
{
	bool any = false;

	for (u32 i = 0; i < NIC_MAX_VECTORS; i++)
		any |= p->irq[i].post != NEST_POST_OFF;
	return any;
}

static void show_port(struct vm *vm, u32 index)
{
	struct nic_port *p = vm->ports[index];
	struct nest_nic_info info = { 0 };
	char vlan[16] = "", extender[96];

	int err = port_info(p, &info);
	const u8 *m = info.mac;
	port_ext_describe(p, extender, sizeof(extender));
	if (info.vlan)
		format(vlan, sizeof(vlan), ", VLAN %u", info.vlan);
	if (err)
		log_line("port %s %u: %s %u below does not answer (error %d)", vm->cfg->name, index, p->lower->ops->name,
			 p->lower->index, -err);
	else
		log_line("port %s %u: %s, wants %s%s; below %s %u; MAC %02x:%02x:%02x:%02x:%02x:%02x%s, link %s; function %s%s%s%s",
			 vm->cfg->name, index, mode_name(p->mode), mode_name(READ_ONCE(p->want)), p->prepared ? ", prepared" : "",
			 p->lower->ops->name, p->lower->index, m[0], m[1], m[2], m[3], m[4], m[5], vlan,
			 info.flags & NEST_NIC_LINK_UP ? "up" : "down", p->open ? "open" : "closed",
			 p->halted ? ", refused" : p->quiesced ? ", quiesced" : "", self_armed(p) ? ", self-armed" : "", extender);
}

static void show_stats(struct vm *vm, u32 index)
{
	struct nest_nic_stats s;
	int err = port_stats(vm->ports[index], &s);

	if (err) {
		log_line("stats %s %u: not to be had (error %d)", vm->cfg->name, index, -err);
		return;
	}
	log_line("stats %s %u: rx %lu packets %lu bytes, tx %lu packets %lu bytes; of these by emulation rx %lu, tx %lu; "
		 "multicast %lu, dropped %lu, interrupts %lu, faults %lu, switches %lu", vm->cfg->name, index, s.rx_packets, s.rx_bytes,
		 s.tx_packets, s.tx_bytes, s.emu_rx_packets, s.emu_tx_packets, s.rx_multicast, s.dropped, s.irqs, s.faults,
		 s.switches);
}

/* vm_for_each's callback runs under the list's lock, which comes before a port's. */
static void all_ports(struct vm *vm, void *arg)
{
	void (*const *show)(struct vm *vm, u32 index) = arg;

	for (u32 i = 0; i < vm->nr_ports; i++) {
		if (!enter(vm, i))
			continue;
		(*show)(vm, i);
		port_leave(vm->ports[i]);
	}
}

static bool cmd_ports(u32 n, char *const *word)
{
	void (*show)(struct vm *vm, u32 index) = show_port;
	(void)word;
	if (n == 1)
		vm_for_each(all_ports, &show);
	return n == 1;
}

static bool cmd_stats(u32 n, char *const *word)
{
	void (*show)(struct vm *vm, u32 index) = show_stats;
	(void)word;
	if (n == 1)
		vm_for_each(all_ports, &show);
	return n == 1;
}

struct only { struct vm *vm; u32 n; };
static void count(struct vm *vm, void *arg)
{
	struct only *o = arg;
	o->vm = vm;
	o->n++;
}

/* The VM that is meant where only one can be. */
static struct vm *only_vm(void)
{
	struct only o = { NULL, 0 };
	vm_for_each(count, &o);
	if (o.n != 1)
		log_line("there are %u VMs: say which", o.n);
	return o.n == 1 ? o.vm : NULL;
}

static bool parse_index(const char *s, u32 *index)
{
	*index = (u32)(s[0] - '0');
	return s[0] >= '0' && s[0] <= '9' && !s[1];
}
_Static_assert(CFG_MAX_NICS <= 10, "one digit is enough");

/* port [VM] N mode passthrough|emulation */
static bool cmd_port(u32 n, char *const *word)
{
	bool named = n == 5;
	if (n != 4 && !named)
		return false;
	char *const *rest = word + 1 + named;
	bool pass = !strcmp(rest[2], "passthrough");
	u32 index;
	if (!parse_index(rest[0], &index) || strcmp(rest[1], "mode") || (!pass && strcmp(rest[2], "emulation")))
		return false;
	struct vm *vm = named ? monitor_vm(word[1]) : only_vm();
	if (!vm || !enter(vm, index))
		return true;
	bool off = !vm->ports[index]->cfg->may_pass;
	int err = port_wish(vm->ports[index], pass ? NIC_PASSTHROUGH : NIC_EMULATION);
	port_leave(vm->ports[index]);
	if (err)
		log_line("port %s %u: refused: %s", vm->cfg->name, index,
			 off ? "its configuration says passthrough=off" : "pass-through is not possible or not allowed further out");
	else
		log_line("port %s %u: wants %s", vm->cfg->name, index, rest[2]);
	return true;
}

void nic_monitor_init(void)
{
	static const struct monitor_command commands[] = {
		{ "ports", "", "each VM's ports: state, wish, what is below", cmd_ports },
		{ "port", "[VM] N mode passthrough|emulation", "ask a VM to switch its port N", cmd_port },
		{ "stats", "", "totals of each port", cmd_stats },
	};
	monitor_add(commands, ARRAY_SIZE(commands));
}
