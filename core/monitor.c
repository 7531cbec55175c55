/*
 * From characters to commands (monitor.h), and the commands about VMs; those about ports are in nic/nic_monitor.c.
 *
 * Invariant: all state is the boot CPU's: the interrupt arrives there and VMs are buried there, so a VM that a command has found
 * stays while the command runs. An interrupt costs at most MAX_READS characters and the commands they make.
 */
#include "core/monitor.h"

#include <string.h>

#include "core/console.h"
#include "core/errno.h"
#include "core/irq.h"
#include "core/percpu.h"
#include "core/report.h"
#include "core/vuart.h"

#define MAX_TABLES 4
#define MAX_READS 4096
#define CODE_KILLED 254
#define BACKSPACE 8
#define RUBOUT 127

static char line[MONITOR_LINE + 1];
static u32 len;
static const char *bad; /* why the line under way will not be carried out */

/* ---- VMs ---- */

struct search {
	const char *name;
	struct vm *vm;
};

static void match(struct vm *vm, void *arg)
{
	struct search *s = arg;
	if (!strcmp(vm->cfg->name, s->name))
		s->vm = vm;
}

struct vm *monitor_vm(const char *name)
{
	struct search s = { name, NULL };
	vm_for_each(match, &s);
	if (!s.vm)
		log_line("there is no VM %s", name);
	return s.vm;
}

static void show_vm(struct vm *vm, void *unused)
{
	static const char *const states[] = { [VM_NEW] = "new", [VM_RUNNING] = "running", [VM_ENDED] = "ended" };
	char on[64];
	int n = 0;

	(void)unused;
	on[0] = 0;
	for (u32 i = 0; i < vm->cfg->nr_cpus && n < (int)sizeof(on); i++)
		n += format(on + n, sizeof(on) - (size_t)n, " %u", vm->cfg->cpus[i]);
	log_line("vm %s: %s, %lu MiB, %u vCPU(s) on CPU%s, %u port(s)", vm->cfg->name, states[READ_ONCE(vm->state)],
		 vm->cfg->memory >> 20, vm->nr_vcpus, on, vm->nr_ports);
}

static bool cmd_vms(u32 n, char *const *word)
{
	(void)word;
	if (n == 1)
		vm_for_each(show_vm, NULL);
	return n == 1;
}

static bool cmd_kill(u32 n, char *const *word)
{
	struct vm *vm = n == 2 ? monitor_vm(word[1]) : NULL;
	if (vm && vm_ended(vm))
		log_line("vm %s has ended already", word[1]);
	else if (vm)
		vm_end(vm, CODE_KILLED, "killed at the console");
	return n == 2;
}

/* ---- exits ---- */

#define EXITS_WIDTH 200

static u64 exits_of_vcpu(const struct counters *c, u32 reason, bool nested)
{
	u64 fast = reason < COUNT_FAST_REASONS ? READ_ONCE((nested ? c->fast_nested : c->fast)[reason]) : 0;

	return fast + READ_ONCE((nested ? c->exits_nested : c->exits)[reason]);
}

static void show_exits(const struct vm *vm, const char *whose, bool nested)
{
	char text[EXITS_WIDTH];
	int n = 0;

	for (u32 reason = 0; reason < COUNT_EXIT_REASONS; reason++) {
		u64 sum = 0;
		for (u32 i = 0; i < vm->nr_vcpus; i++)
			if (vm_vcpu(vm, i))
				sum += exits_of_vcpu(&vm_vcpu(vm, i)->count, reason, nested);
		if (!sum)
			continue;
		const char *name = report_exit_name(reason);
		if (strcmp(name, "?"))
			n += format(text + n, sizeof(text) - (size_t)n, " %.40s %lu", name, sum);
		else
			n += format(text + n, sizeof(text) - (size_t)n, " REASON_%u %lu", reason, sum);
		if (n > EXITS_WIDTH - 64) {
			log_line("exits of %s%s:%s", vm->cfg->name, whose, text);
			n = 0;
		}
	}
	if (n)
		log_line("exits of %s%s:%s", vm->cfg->name, whose, text);
}

static void exits_of(struct vm *vm, void *unused)
{
	(void)unused;
	show_exits(vm, "", false);
	show_exits(vm, "'s guests", true);
}

static bool cmd_exits(u32 n, char *const *word)
{
	struct vm *vm = n == 2 ? monitor_vm(word[1]) : NULL;
	if (vm)
		exits_of(vm, NULL);
	else if (n == 1)
		vm_for_each(exits_of, NULL);
	return n <= 2;
}

/* ---- the tables ---- */

static bool cmd_help(u32 n, char *const *word);
static const struct monitor_command own[] = {
	{ "help", "", "this list", cmd_help },
	{ "vms", "", "the VMs", cmd_vms },
	{ "exits", "[VM]", "VM exits by reason, since the VM began", cmd_exits },
	{ "kill", "VM", "end a VM, with code 254", cmd_kill },
};

static struct { const struct monitor_command *table; u32 n; } tables[MAX_TABLES] = { { own, ARRAY_SIZE(own) } };
static u32 nr_tables = 1;

void monitor_add(const struct monitor_command *table, u32 n)
{
	ASSERT(nr_tables < MAX_TABLES);
	tables[nr_tables].table = table;
	tables[nr_tables++].n = n;
}

static bool cmd_help(u32 n, char *const *word)
{
	(void)word;
	for (u32 t = 0; t < nr_tables && n == 1; t++)
		for (u32 i = 0; i < tables[t].n; i++)
			log_line("%s%s%s: %s", tables[t].table[i].name, *tables[t].table[i].args ? " " : "", tables[t].table[i].args,
				 tables[t].table[i].help);
	if (n == 1)
		log_line("@VM text: text goes to the COM1 of that VM");
	return n == 1;
}

/* ---- lines ---- */

static const struct monitor_command *find(const char *name)
{
	for (u32 t = 0; t < nr_tables; t++)
		for (u32 i = 0; i < tables[t].n; i++)
			if (!strcmp(tables[t].table[i].name, name))
				return &tables[t].table[i];
	return NULL;
}

/* Cut in place. Number of words; MONITOR_WORDS + 1: too many. */
static u32 split(char *s, char **word)
{
	u32 n = 0;

	for (;;) {
		while (*s == ' ')
			*s++ = 0;
		if (!*s)
			return n;
		if (n == MONITOR_WORDS)
			return n + 1;
		word[n++] = s;
		while (*s && *s != ' ')
			s++;
	}
}

/* "@VM text" */
static void forward(char *s)
{
	char *text = strchr(s, ' ');
	char out[MONITOR_LINE + 1];

	if (text)
		*text++ = 0;
	struct vm *vm = monitor_vm(s);
	if (!vm)
		return;
	u32 n = (u32)format(out, sizeof(out), "%s\r", text ? text : "");
	if (vuart_input(vm, out, n))
		log_line("vm %s does not read its console: the line is dropped", s);
}

static void carry_out(char *s)
{
	char *word[MONITOR_WORDS] = { NULL };

	log_line("> %s", s);
	while (*s == ' ')
		s++;
	if (*s == '@') {
		forward(s + 1);
		return;
	}
	u32 n = split(s, word);
	if (!n)
		return;
	const struct monitor_command *c = find(word[0]);
	if (!c)
		log_line("there is no command %s: try help", word[0]);
	else if (n > MONITOR_WORDS || !c->fn(n, word))
		log_line("usage: %s%s%s", c->name, *c->args ? " " : "", c->args);
}

static void end_of_line(void)
{
	const char *why = bad;
	u32 n = len;

	line[n] = 0;
	len = 0;
	bad = NULL;
	if (why)
		log_line("console: line ignored: %s", why);
	else if (n)
		carry_out(line);
}

void monitor_char(int c)
{
	if (c == CONSOLE_LOST)
		bad = "characters were lost";
	else if (c == '\r' || c == '\n')
		end_of_line();
	else if ((c == BACKSPACE || c == RUBOUT) && len)
		len--;
	else if (c < ' ' || c >= RUBOUT)
		return;
	else if (len == MONITOR_LINE)
		bad = "it is longer than 128 characters";
	else
		line[len++] = (char)c;
}
_Static_assert(MONITOR_LINE == 128, "the number that the message names");

/* ---- the interrupt ---- */

/* irq_fn. The receiver is emptied: its line must fall, or no edge would ever follow. */
static void input(void *arg, u8 vector)
{
	(void)arg;
	(void)vector;
	for (u32 i = 0; i < MAX_READS; i++) {
		int c = console_read();
		if (c == CONSOLE_EMPTY)
			return;
		monitor_char(c);
	}
	log_limited(1, "console: the UART's receiver never runs empty: input may stop here");
}

static int route(ioapic_remap_fn remap)
{
	int vector = irq_alloc(0, input, NULL);
	if (vector < 0)
		return vector;
	int err = ioapic_route_isa(CONSOLE_IRQ, cpus[0].apic_id, (u8)vector, remap);
	if (err)
		irq_free(0, (u8)vector);
	return err;
}

void monitor_start(ioapic_remap_fn remap)
{
	int err = console_present() ? route(remap) : -ENODEV;
	if (err == -ENODEV)
		log_line("console: no input: no UART at COM1, or no I/O APIC with its interrupt");
	else if (err)
		log_line("console: no input: its interrupt cannot be routed (error %d)", -err);
	else
		console_input_on();
}
