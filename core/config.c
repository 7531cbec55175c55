/*
 * Parser of nestling.cfg: lines, sections, and one table of keys. The values are in config_value.c.
 *
 * Invariant: a line is copied, checked to be printable text and cut at its comment before any of it is interpreted; the
 * first thing that is wrong ends the parse with its line number.
 */
#include "core/config.h"

#include <string.h>

#include "core/config_value.h"
#include "core/console.h"
#include "core/errno.h"

#define MAX_LINE 512

enum section { SEC_NONE, SEC_NESTLING, SEC_NIC, SEC_VM };

struct key {
	const char *name;
	enum section section;
	bool repeats;
	int (*set)(struct cfg_parser *p, char *value);
};

static const struct key keys[] = {
	{ "on_last_exit", SEC_NESTLING, false, cfg_set_on_last_exit },
	{ "trace", SEC_NESTLING, false, cfg_set_trace },
	{ "fault_injection", SEC_NESTLING, false, cfg_set_fault_injection },
	{ "switch", SEC_NIC, false, cfg_set_switch },
	{ "svid", SEC_NIC, false, cfg_set_svid },
	{ "kernel", SEC_VM, false, cfg_set_kernel },
	{ "module", SEC_VM, true, cfg_set_module },
	{ "cmdline", SEC_VM, false, cfg_set_cmdline },
	{ "memory", SEC_VM, false, cfg_set_memory },
	{ "cpus", SEC_VM, false, cfg_set_cpus },
	{ "vmx", SEC_VM, false, cfg_set_vmx },
	{ "nic", SEC_VM, true, cfg_set_nic },
};

static const char *const section_words[] = {
	[SEC_NESTLING] = "section [nestling]", [SEC_NIC] = "a [nic N] section", [SEC_VM] = "a [vm NAME] section",
};

struct state {
	struct cfg_parser p;
	enum section section;
	u32 seen;          /* bit i: keys[i] was given in this section */
	bool seen_nestling;
};

/* ---- sections; end_: what can only be known when one is complete ---- */

static int end_nic(struct state *s)
{
	struct switch_config *sw = s->p.sw;

	s->p.line = sw->line;
	if (sw->nr_svids && !sw->external)
		return cfg_fail(&s->p, "nic %u: svid is for switch = external only", (u32)(sw - s->p.c->switches));
	return 0;
}

static int end_section(struct state *s)
{
	struct vm_config *vm = s->p.vm;

	if (s->section == SEC_NIC)
		return end_nic(s);
	if (s->section != SEC_VM)
		return 0;
	s->p.line = vm->line;
	if (!vm->kernel[0])
		return cfg_fail(&s->p, "vm %s has no kernel", vm->name);
	if (!vm->memory)
		return cfg_fail(&s->p, "vm %s has no memory", vm->name);
	if (!vm->nr_cpus)
		vm->nr_cpus = 1; /* cpus[0] is 0 already */
	return 0;
}

static int begin_vm(struct state *s, const char *name)
{
	struct config *c = s->p.c;

	if (!*name)
		return cfg_fail(&s->p, "a vm section needs a name: [vm NAME]");
	for (const char *q = name; *q; q++)
		if (!cfg_is_name_char(*q))
			return cfg_fail(&s->p, "vm name '%.40s' may have letters, digits, '_', '-' and '.' only", name);
	if (strlen(name) >= sizeof(c->vms[0].name))
		return cfg_fail(&s->p, "vm name '%.40s' is longer than %u characters", name,
				(u32)sizeof(c->vms[0].name) - 1);
	for (u32 i = 0; i < c->nr_vms; i++)
		if (!strcmp(c->vms[i].name, name))
			return cfg_fail(&s->p, "vm %s exists already (line %u)", name, c->vms[i].line);
	if (c->nr_vms == CFG_MAX_VMS)
		return cfg_fail(&s->p, "more than %u VMs", CFG_MAX_VMS);
	struct vm_config *vm = &c->vms[c->nr_vms++];
	strcpy(vm->name, name);
	vm->line = s->p.line;
	vm->vmx = true;
	s->p.vm = vm;
	s->section = SEC_VM;
	return 0;
}

static int begin_nic(struct state *s, const char *number)
{
	u32 n = (u32)(*number - '0');

	if (!*number)
		return cfg_fail(&s->p, "a nic section needs a number: [nic N]");
	if (n >= CFG_MAX_SWITCHES || number[1])
		return cfg_fail(&s->p, "nic '%.40s' is not a number from 0 to %u", number, CFG_MAX_SWITCHES - 1);
	struct switch_config *sw = &s->p.c->switches[n];
	if (sw->line)
		return cfg_fail(&s->p, "section [nic %u] is there already (line %u)", n, sw->line);
	sw->line = s->p.line;
	s->p.sw = sw;
	s->section = SEC_NIC;
	return 0;
}

static int parse_section(struct state *s, char *text)
{
	u32 line = s->p.line;
	size_t len = strlen(text);
	int err = end_section(s);

	if (err)
		return err;
	s->p.line = line;
	s->seen = 0;
	s->p.vm = NULL;
	if (text[len - 1] != ']')
		return cfg_fail(&s->p, "section '%.40s' does not end with ']'", text);
	text[len - 1] = 0;
	char *rest = text + 1, *word = cfg_word(&rest);
	if (!strcmp(word, "vm"))
		return begin_vm(s, cfg_trim(rest));
	if (!strcmp(word, "nic"))
		return begin_nic(s, cfg_trim(rest));
	if (strcmp(word, "nestling"))
		return cfg_fail(&s->p, "unknown section '%.40s' (nestling, nic N, vm NAME)", word);
	if (*cfg_trim(rest))
		return cfg_fail(&s->p, "unexpected '%.40s' in the section's name", cfg_trim(rest));
	if (s->seen_nestling)
		return cfg_fail(&s->p, "section [nestling] is there twice");
	s->seen_nestling = true;
	s->section = SEC_NESTLING;
	return 0;
}

/* Says also what would have been right. */
static int unknown_key(struct state *s, const char *name)
{
	char known[96] = "";

	for (u32 i = 0, n = 0; i < ARRAY_SIZE(keys) && n < sizeof(known); i++)
		if (keys[i].section == s->section)
			n += (u32)format(known + n, sizeof(known) - n, "%s%s", n ? ", " : " (", keys[i].name);
	return cfg_fail(&s->p, "unknown key '%.40s'%s%s", name, known, *known ? ")" : "");
}

static int parse_key(struct state *s, char *text)
{
	char *eq = strchr(text, '=');

	if (!eq)
		return cfg_fail(&s->p, "'%.40s' is neither [section] nor key = value", text);
	*eq = 0;
	char *name = cfg_trim(text), *value = cfg_trim(eq + 1);
	for (u32 i = 0; i < ARRAY_SIZE(keys); i++) {
		const struct key *k = &keys[i];
		if (strcmp(k->name, name))
			continue;
		if (k->section != s->section)
			return cfg_fail(&s->p, "key '%s' belongs into %s", name, section_words[k->section]);
		if (!k->repeats && s->seen & BIT(i))
			return cfg_fail(&s->p, "key '%s' is there twice", name);
		if (!*value)
			return cfg_fail(&s->p, "key '%s' has no value", name);
		s->seen |= (u32)BIT(i);
		return k->set(&s->p, value);
	}
	return unknown_key(s, name);
}

/* Copy one line (without its end), check its characters and cut the comment: '#' at the start or behind a blank. */
static int take_line(struct state *s, const char *text, u64 len, char *out)
{
	u64 n = 0;

	if (len && text[len - 1] == '\r')
		len--;
	for (u64 i = 0; i < len; i++) {
		u8 ch = (u8)text[i];
		if (ch == '#' && (i == 0 || text[i - 1] == ' ' || text[i - 1] == '\t'))
			break;
		if (ch != '\t' && (ch < 0x20 || ch > 0x7e))
			return cfg_fail(&s->p, "character %02xh is not printable ASCII", ch);
		if (n == MAX_LINE - 1)
			return cfg_fail(&s->p, "line longer than %u characters", MAX_LINE - 1);
		out[n++] = (char)ch;
	}
	out[n] = 0;
	return 0;
}

static int parse_line(struct state *s, const char *text, u64 len)
{
	char line[MAX_LINE];
	int err = take_line(s, text, len, line);

	if (err)
		return err;
	char *t = cfg_trim(line);
	if (!*t)
		return 0;
	return *t == '[' ? parse_section(s, t) : parse_key(s, t);
}

int config_parse(struct config *c, const char *text, u64 len, char *err, size_t errlen)
{
	struct state s = { .p = { .c = c, .err = err, .errlen = errlen } };

	memset(c, 0, sizeof(*c));
	for (u64 pos = 0; pos < len;) {
		const char *end = memchr(text + pos, '\n', len - pos);
		u64 n = end ? (u64)(end - (text + pos)) : len - pos;
		s.p.line++;
		int e = parse_line(&s, text + pos, n);
		if (e)
			return e;
		pos += n + 1;
	}
	u32 last = s.p.line;
	int e = end_section(&s);
	if (e)
		return e;
	s.p.line = last ? last : 1;
	return c->nr_vms ? 0 : cfg_fail(&s.p, "there is no [vm NAME] section");
}
