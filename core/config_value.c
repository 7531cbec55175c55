/*
 * The values of nestling.cfg's keys: numbers, words, texts, S-VIDs, and the NIC's options.
 *
 * Invariant: a setter either stores a well-formed value or fails with a message that quotes the offending word.
 */
#include "core/config_value.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/console.h"
#include "core/errno.h"

#define MAX_MEMORY (1ull << 40) /* more than any machine we run on; vm_create knows what is really there */
#define MAX_CPU_INDEX 1023u
#define MAX_PORT 255u

int cfg_fail(struct cfg_parser *p, const char *fmt, ...)
{
	char reason[160];
	va_list ap;

	va_start(ap, fmt);
	format_va(reason, sizeof(reason), fmt, ap);
	va_end(ap);
	format(p->err, p->errlen, "nestling.cfg:%u: %s", p->line, reason);
	return -EINVAL;
}

static bool is_blank(char c) { return c == ' ' || c == '\t'; }

char *cfg_trim(char *s)
{
	while (is_blank(*s))
		s++;
	size_t n = strlen(s);
	while (n && is_blank(s[n - 1]))
		s[--n] = 0;
	return s;
}

char *cfg_word(char **rest)
{
	char *w = *rest;
	while (is_blank(*w))
		w++;
	char *e = w;
	while (*e && !is_blank(*e))
		e++;
	*rest = *e ? e + 1 : e;
	*e = 0;
	return w;
}

bool cfg_is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
}

/* Decimal digits at *s, advancing it. False: no digit, or more than max. */
static bool take_number(const char **s, u64 max, u64 *out)
{
	u64 v = 0;
	const char *q = *s;
	for (; *q >= '0' && *q <= '9'; q++) {
		u64 digit = (u64)(*q - '0');
		if (v > (max - digit) / 10)
			return false;
		v = v * 10 + digit;
	}
	bool any = q != *s;
	*s = q;
	*out = v;
	return any;
}

/* A whole word that is a number from min to max. */
static bool word_number(const char *w, u64 min, u64 max, u64 *out)
{
	return take_number(&w, max, out) && !*w && *out >= min;
}

static int set_text(struct cfg_parser *p, const char *key, char *dst, size_t size, const char *src)
{
	if (strlen(src) >= size)
		return cfg_fail(p, "%s '%.40s...' is longer than %u characters", key, src, (u32)size - 1);
	strcpy(dst, src);
	return 0;
}

static int set_switch(struct cfg_parser *p, const char *key, bool *dst, const char *v)
{
	*dst = !strcmp(v, "on");
	return *dst || !strcmp(v, "off") ? 0 : cfg_fail(p, "%s is 'on' or 'off', not '%.40s'", key, v);
}

int cfg_set_trace(struct cfg_parser *p, char *value) { return set_switch(p, "trace", &p->c->trace, value); }

int cfg_set_fault_injection(struct cfg_parser *p, char *value)
{
	return set_switch(p, "fault_injection", &p->c->fault_injection, value);
}
int cfg_set_vmx(struct cfg_parser *p, char *value)
{
	p->vm->vmx = strcmp(value, "off") != 0;
	p->vm->vmx_plain = !strcmp(value, "plain");
	p->vm->vmx_pages = !strcmp(value, "pages");
	if (p->vm->vmx && !p->vm->vmx_plain && !p->vm->vmx_pages && strcmp(value, "on"))
		return cfg_fail(p, "vmx is 'on', 'pages', 'plain' or 'off', not '%.40s'", value);
	return 0;
}

int cfg_set_on_last_exit(struct cfg_parser *p, char *value)
{
	static const struct { const char *word; enum on_last_exit what; } words[] = {
		{ "poweroff", LAST_POWEROFF }, { "halt", LAST_HALT }, { "exit", LAST_EXIT_PORT },
	};
	for (u32 i = 0; i < ARRAY_SIZE(words); i++) {
		if (!strcmp(words[i].word, value)) {
			p->c->on_last_exit = words[i].what;
			return 0;
		}
	}
	return cfg_fail(p, "on_last_exit is 'poweroff', 'halt' or 'exit', not '%.40s'", value);
}

int cfg_set_kernel(struct cfg_parser *p, char *value)
{
	char *rest = value, *file = cfg_word(&rest);
	if (*cfg_trim(rest))
		return cfg_fail(p, "unexpected '%.40s' behind the kernel's file name (use cmdline = ...)", cfg_trim(rest));
	return set_text(p, "kernel", p->vm->kernel, sizeof(p->vm->kernel), file);
}

int cfg_set_cmdline(struct cfg_parser *p, char *value)
{
	return set_text(p, "cmdline", p->vm->cmdline, sizeof(p->vm->cmdline), value);
}

int cfg_set_module(struct cfg_parser *p, char *value)
{
	struct vm_config *vm = p->vm;
	char *rest = value, *file = cfg_word(&rest);

	if (vm->nr_modules == CFG_MAX_MODULES)
		return cfg_fail(p, "module '%.40s': more than %u modules", file, CFG_MAX_MODULES);
	struct module_config *m = &vm->modules[vm->nr_modules];
	int err = set_text(p, "module", m->file, sizeof(m->file), file);
	if (!err)
		err = set_text(p, "the module's command line", m->cmdline, sizeof(m->cmdline), cfg_trim(rest));
	if (!err)
		vm->nr_modules++;
	return err;
}

static u64 unit_of(const char *suffix)
{
	static const struct { const char *s; u64 unit; } units[] = {
		{ "", 1 }, { "K", 1ull << 10 }, { "M", 1ull << 20 }, { "G", 1ull << 30 },
	};
	for (u32 i = 0; i < ARRAY_SIZE(units); i++)
		if (!strcmp(units[i].s, suffix))
			return units[i].unit;
	return 0;
}

int cfg_set_memory(struct cfg_parser *p, char *value)
{
	const char *q = value;
	u64 n;

	if (!take_number(&q, MAX_MEMORY, &n))
		return cfg_fail(p, "memory '%.40s' is not a number, or beyond %lluG", value, MAX_MEMORY >> 30);
	u64 unit = unit_of(q);
	if (!unit)
		return cfg_fail(p, "memory '%.40s': the suffix is K, M or G", value);
	if (n > MAX_MEMORY / unit)
		return cfg_fail(p, "memory '%.40s' is beyond %lluG", value, MAX_MEMORY >> 30);
	if (!n || !IS_ALIGNED(n * unit, SIZE_2M))
		return cfg_fail(p, "memory '%.40s' is not a multiple of 2M", value);
	p->vm->memory = n * unit;
	return 0;
}

int cfg_set_cpus(struct cfg_parser *p, char *value)
{
	struct vm_config *vm = p->vm;
	char *rest = value, *w;
	u64 n;

	while (*(w = cfg_word(&rest))) {
		if (!word_number(w, 0, MAX_CPU_INDEX, &n))
			return cfg_fail(p, "cpus: '%.40s' is not a CPU index", w);
		if (vm->nr_cpus == CFG_MAX_CPUS)
			return cfg_fail(p, "cpus: more than %u vCPUs", CFG_MAX_CPUS);
		vm->cpus[vm->nr_cpus++] = (u32)n;
	}
	return 0;
}

/* ---- [nic N] ---- */

int cfg_set_switch(struct cfg_parser *p, char *value)
{
	p->sw->external = !strcmp(value, "external");
	if (!p->sw->external && strcmp(value, "embedded"))
		return cfg_fail(p, "switch is 'embedded' or 'external', not '%.40s'", value);
	return 0;
}

/* An S-channel is one port's. */
int cfg_set_svid(struct cfg_parser *p, char *value)
{
	struct switch_config *sw = p->sw;
	char *rest = value, *w;

	for (; *(w = cfg_word(&rest)); sw->nr_svids++) {
		u64 id = 0;
		if (sw->nr_svids == CFG_NIC_PORTS)
			return cfg_fail(p, "svid: '%.40s' is one too many, a NIC has %u ports", w, CFG_NIC_PORTS);
		if (strcmp(w, "-") && !word_number(w, 1, 4094, &id))
			return cfg_fail(p, "svid: '%.40s' is neither a number from 1 to 4094 nor '-'", w);
		for (u32 i = 0; id && i < sw->nr_svids; i++)
			if (sw->svid[i] == id)
				return cfg_fail(p, "svid: %s is there twice", w);
		sw->svid[sw->nr_svids] = (u16)id;
	}
	return 0;
}

/* ---- nic = portN [mode=emulation|passthrough] [passthrough=on|off] [mac=xx:xx:xx:xx:xx:xx] [vlan=N] [mtu=N] [posting=on|off] [vdp=innermost|here|off] ---- */

#define MIN_MTU 68u       /* RFC 791 */
#define MAX_MTU 9198u     /* 9216 with header and FCS */
#define DEFAULT_MTU 1500u

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int nic_mac(struct cfg_parser *p, struct nic_config *n, const char *v)
{
	static const u8 zero[6];

	for (u32 i = 0; i < 6; i++) {
		const char *q = v + i * 3;
		int hi = strlen(v) == 17 ? hex_digit(q[0]) : -1, lo = hi < 0 ? -1 : hex_digit(q[1]);
		if (lo < 0 || q[2] != (i < 5 ? ':' : 0))
			return cfg_fail(p, "mac '%.40s' is not six pairs of hexadecimal digits with ':' between", v);
		n->mac[i] = (u8)(hi << 4 | lo);
	}
	if (n->mac[0] & 1 || !memcmp(n->mac, zero, 6))
		return cfg_fail(p, "mac '%.40s' is not the address of one station (group bit set, or all zero)", v);
	n->has_mac = true;
	return 0;
}

static int nic_vlan(struct cfg_parser *p, struct nic_config *n, const char *v)
{
	u64 id;
	if (!word_number(v, 1, 4094, &id))
		return cfg_fail(p, "vlan '%.40s' is not a number from 1 to 4094", v);
	n->vlan = (u16)id;
	return 0;
}

static int nic_mtu(struct cfg_parser *p, struct nic_config *n, const char *v)
{
	u64 mtu;
	if (!word_number(v, MIN_MTU, MAX_MTU, &mtu))
		return cfg_fail(p, "mtu '%.40s' is not a number from %u to %u", v, MIN_MTU, MAX_MTU);
	n->mtu = (u16)mtu;
	return 0;
}

static int nic_mode(struct cfg_parser *p, struct nic_config *n, const char *v)
{
	if (!strcmp(v, "passthrough"))
		n->mode = NIC_PASSTHROUGH;
	else if (strcmp(v, "emulation"))
		return cfg_fail(p, "mode is 'emulation' or 'passthrough', not '%.40s'", v);
	return 0;
}

static int nic_may_pass(struct cfg_parser *p, struct nic_config *n, const char *v)
{
	n->may_pass = !strcmp(v, "on");
	return n->may_pass || !strcmp(v, "off") ? 0 : cfg_fail(p, "passthrough is 'on' or 'off', not '%.40s'", v);
}

static int nic_may_post(struct cfg_parser *p, struct nic_config *n, const char *v)
{
	n->may_post = !strcmp(v, "on");
	return n->may_post || !strcmp(v, "off") ? 0 : cfg_fail(p, "posting is 'on' or 'off', not '%.40s'", v);
}

static int nic_vdp(struct cfg_parser *p, struct nic_config *n, const char *v)
{
	static const char *const names[] = { [NIC_VDP_INNERMOST] = "innermost", [NIC_VDP_HERE] = "here", [NIC_VDP_OFF] = "off" };
	for (u32 i = 0; i < ARRAY_SIZE(names); i++) {
		n->vdp = (enum nic_vdp)i;
		if (!strcmp(v, names[i]))
			return 0;
	}
	return cfg_fail(p, "vdp is 'innermost', 'here' or 'off', not '%.40s'", v);
}

static int nic_option(struct cfg_parser *p, struct nic_config *n, char *word, u32 *seen)
{
	static const struct { const char *name; int (*set)(struct cfg_parser *, struct nic_config *, const char *); } opts[] = {
		{ "mode=", nic_mode }, { "mac=", nic_mac }, { "vlan=", nic_vlan },
		{ "passthrough=", nic_may_pass },
		{ "mtu=", nic_mtu }, { "posting=", nic_may_post }, { "vdp=", nic_vdp },
	};
	for (u32 i = 0; i < ARRAY_SIZE(opts); i++) {
		size_t len = strlen(opts[i].name);
		if (strncmp(word, opts[i].name, len))
			continue;
		if (*seen & BIT(i))
			return cfg_fail(p, "nic: '%.*s' is there twice", (int)len - 1, word);
		*seen |= (u32)BIT(i);
		return opts[i].set(p, n, word + len);
	}
	return cfg_fail(p, "nic: unknown option '%.40s' (mode=, passthrough=, mac=, vlan=, mtu=, posting=, vdp=)", word);
}

/* A lower port serves one VM's port. */
static int nic_port_free(struct cfg_parser *p, u32 port)
{
	for (u32 v = 0; v < p->c->nr_vms; v++)
		for (u32 i = 0; i < p->c->vms[v].nr_nics; i++)
			if (p->c->vms[v].nics[i].port == port)
				return cfg_fail(p, "nic: port%u is given to vm %s already", port, p->c->vms[v].name);
	return 0;
}

int cfg_set_nic(struct cfg_parser *p, char *value)
{
	struct vm_config *vm = p->vm;
	struct nic_config n = { .mode = NIC_EMULATION, .may_pass = true, .may_post = true, .mtu = DEFAULT_MTU };
	char *rest = value, *w = cfg_word(&rest);
	u32 seen = 0;
	u64 port;

	if (strncmp(w, "port", 4) || !word_number(w + 4, 0, MAX_PORT, &port))
		return cfg_fail(p, "nic: '%.40s' is not port0 to port%u", w, MAX_PORT);
	n.port = (u32)port;
	int err = nic_port_free(p, n.port);
	if (!err && vm->nr_nics == CFG_MAX_NICS)
		err = cfg_fail(p, "nic: more than %u in one VM", CFG_MAX_NICS);
	while (!err && *(w = cfg_word(&rest)))
		err = nic_option(p, &n, w, &seen);
	if (!err && n.mode == NIC_PASSTHROUGH && !n.may_pass)
		err = cfg_fail(p, "nic: mode=passthrough and passthrough=off contradict each other");
	if (!err)
		vm->nics[vm->nr_nics++] = n;
	return err;
}
