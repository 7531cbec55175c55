/*
 * core/config.c and config_value.c: what a good file gives, and a table of bad ones with the message each must produce.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/config.h"
#include "core/errno.h"

#define VM "[vm a]\nkernel=k\nmemory=2M\n"
#define S63 "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0"
#define S128 S63 "x" S63 "x"

static struct config c;
static char err[200];

/* On a copy of exactly that size: no terminating NUL to rely on. */
static int parse_bytes(const char *text, size_t len)
{
	char *copy = malloc(len ? len : 1);
	memcpy(copy, text, len);
	err[0] = 0;
	int e = config_parse(&c, copy, len, err, sizeof(err));
	free(copy);
	return e;
}

static int parse(const char *text) { return parse_bytes(text, strlen(text)); }

static void everything(void **state)
{
	(void)state;
	assert_int_equal(parse("# comment\n[nestling]\non_last_exit = exit # why\ntrace=on\nfault_injection = on\n\n"
			       "[vm inner]\n  kernel = nestling.elf\nmodule = inner.cpio  a  b=c \nmodule=second\n"
			       "cmdline = x=1 y#z  # cut\nmemory = 256M\ncpus = 0 1 1\nvmx = off\n"
			       "nic = port3 mode=passthrough mac=52:54:00:aB:00:02 vlan=7\nnic=port0 passthrough=off mtu=9000 posting=off\n"
			       "[ vm  other ]\nkernel=k\nmemory=2048K"), 0);
	assert_int_equal(c.on_last_exit, LAST_EXIT_PORT);
	assert_true(c.trace);
	assert_true(c.fault_injection);
	assert_int_equal(c.nr_vms, 2);
	const struct vm_config *v = &c.vms[0];
	assert_string_equal(v->name, "inner");
	assert_string_equal(v->kernel, "nestling.elf");
	assert_int_equal(v->nr_modules, 2);
	assert_string_equal(v->modules[0].file, "inner.cpio");
	assert_string_equal(v->modules[0].cmdline, "a  b=c");
	assert_string_equal(v->modules[1].cmdline, "");
	assert_string_equal(v->cmdline, "x=1 y#z");
	assert_int_equal(v->memory, 256ull << 20);
	assert_int_equal(v->nr_cpus, 3);
	assert_int_equal(v->cpus[2], 1);
	assert_false(v->vmx);
	assert_int_equal(v->line, 7);
	assert_int_equal(v->nr_nics, 2);
	assert_int_equal(v->nics[0].port, 3);
	assert_int_equal(v->nics[0].mode, NIC_PASSTHROUGH);
	assert_true(v->nics[0].has_mac);
	assert_memory_equal(v->nics[0].mac, "\x52\x54\x00\xab\x00\x02", 6);
	assert_int_equal(v->nics[0].vlan, 7);
	assert_int_equal(v->nics[1].mode, NIC_EMULATION);
	assert_false(v->nics[1].has_mac);
	assert_true(v->nics[0].may_pass);
	assert_false(v->nics[1].may_pass);
	assert_true(v->nics[0].may_post);
	assert_false(v->nics[1].may_post);
	assert_int_equal(v->nics[0].mtu, 1500);
	assert_int_equal(v->nics[1].mtu, 9000);
	assert_string_equal(c.vms[1].name, "other");
}

static void defaults(void **state)
{
	(void)state;
	assert_int_equal(parse(VM), 0);
	assert_int_equal(c.on_last_exit, LAST_POWEROFF);
	assert_false(c.trace);
	assert_true(c.vms[0].vmx);
	assert_int_equal(c.vms[0].nr_cpus, 1);
	assert_int_equal(c.vms[0].cpus[0], 0);
}

static void switches(void **state)
{
	(void)state;
	assert_int_equal(parse("[nic 1]\nsvid = 1 - 4094 -\nswitch = external\n[ nic  0 ]\n" VM "[nic 3]\nswitch=embedded\n"), 0);
	assert_false(c.switches[0].external);
	assert_int_equal(c.switches[0].line, 4);
	assert_true(c.switches[1].external);
	assert_int_equal(c.switches[1].nr_svids, 4);
	assert_memory_equal(c.switches[1].svid, ((const u16[CFG_NIC_PORTS]){ 1, 0, 4094 }), sizeof(c.switches[1].svid));
	assert_int_equal(c.switches[2].line, 0);
	assert_false(c.switches[3].external);
	assert_int_equal(parse(VM "[nic 0]\nswitch=external\nsvid=1 2 3 4 5 6 7\n[nic 1]\nswitch=external\nsvid=1"), 0);
	assert_int_equal(c.switches[0].svid[6], 7); /* seven, and another NIC has S-channels of its own */
	assert_int_equal(parse(VM "[nic 2]\nswitch=external\n"), 0);
	assert_int_equal(c.switches[2].nr_svids, 0);
}

static void crlf_tabs_and_missing_newline(void **state)
{
	(void)state;
	assert_int_equal(parse("[vm a]\r\n\tkernel\t=\tk\r\nmemory=2M\r"), 0);
	assert_string_equal(c.vms[0].kernel, "k");
}

static void limits_that_still_fit(void **state)
{
	(void)state;
	assert_int_equal(parse("[vm abcdefghijklmnopqrstuvwxyz01234]\nkernel=" S63 "\nmemory=1024G\n"
			       "cpus=0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15\nnic=port255 vlan=4094\n"), 0);
	assert_int_equal(parse("[vm a]\nkernel=k\nmemory=2097152\ncmdline=" S128 S63 S63 "x\n"), 0);
	assert_int_equal(strlen(c.vms[0].cmdline), 255);
}

static const struct { const char *text, *message; } bad[] = {
	{ "", "nestling.cfg:1: there is no [vm NAME] section" },
	{ "\n\n", "nestling.cfg:2: there is no [vm NAME] section" },
	{ "[nestling]\n", "nestling.cfg:1: there is no [vm NAME] section" },
	{ "[vm a]\nmemory=2M\n", "nestling.cfg:1: vm a has no kernel" },
	{ "\n[vm a]\nkernel=k\n[nestling]\n", "nestling.cfg:2: vm a has no memory" },
	{ VM VM, "nestling.cfg:4: vm a exists already (line 1)" },
	{ "[vm]\n", "nestling.cfg:1: a vm section needs a name: [vm NAME]" },
	{ "[vm a b]\n", "nestling.cfg:1: vm name 'a b' may have letters, digits, '_', '-' and '.' only" },
	{ "[vm a\"b]\n", "nestling.cfg:1: vm name 'a\"b' may have letters" },
	{ "[vm abcdefghijklmnopqrstuvwxyz012345]\n", "is longer than 31 characters" },
	{ "[vm a\n", "nestling.cfg:1: section '[vm a' does not end with ']'" },
	{ "[\n", "nestling.cfg:1: section '[' does not end with ']'" },
	{ "[]\n", "nestling.cfg:1: unknown section ''" },
	{ "[guest a]\n", "nestling.cfg:1: unknown section 'guest' (nestling, nic N, vm NAME)" },
	{ "[nestling x]\n", "nestling.cfg:1: unexpected 'x' in the section's name" },
	{ "[nestling]\n[nestling]\n", "nestling.cfg:2: section [nestling] is there twice" },
	{ "kernel=k\n", "nestling.cfg:1: key 'kernel' belongs into a [vm NAME] section" },
	{ VM "trace=on\n", "nestling.cfg:4: key 'trace' belongs into section [nestling]" },
	{ "[nestling]\nmemory=2M\n", "nestling.cfg:2: key 'memory' belongs into a [vm NAME] section" },
	{ VM "switch=external\n", "nestling.cfg:4: key 'switch' belongs into a [nic N] section" },
	{ "[nic 0]\nmemory=2M\n", "nestling.cfg:2: key 'memory' belongs into a [vm NAME] section" },
	{ "[nic 0]\ntrace=on\n", "nestling.cfg:2: key 'trace' belongs into section [nestling]" },
	{ "[nic 0]\nswich=external\n", "nestling.cfg:2: unknown key 'swich' (switch, svid)" },
	{ "[nic]\n", "nestling.cfg:1: a nic section needs a number: [nic N]" },
	{ "[nic 4]\n", "nestling.cfg:1: nic '4' is not a number from 0 to 3" },
	{ "[nic 00]\n", "nestling.cfg:1: nic '00' is not a number from 0 to 3" },
	{ "[nic a]\n", "nestling.cfg:1: nic 'a' is not a number from 0 to 3" },
	{ "[nic 0 1]\n", "nestling.cfg:1: nic '0 1' is not a number from 0 to 3" },
	{ "[nic 0]\n[nic 1]\n[nic 0]\n", "nestling.cfg:3: section [nic 0] is there already (line 1)" },
	{ "[nic 0]\nswitch=internal\n", "nestling.cfg:2: switch is 'embedded' or 'external', not 'internal'" },
	{ "[nic 0]\nswitch=external\nswitch=external\n", "nestling.cfg:3: key 'switch' is there twice" },
	{ "[nic 0]\nswitch=external\nsvid=\n", "nestling.cfg:3: key 'svid' has no value" },
	{ "[nic 0]\nswitch=external\nsvid=0\n", "nestling.cfg:3: svid: '0' is neither a number from 1 to 4094 nor '-'" },
	{ "[nic 0]\nswitch=external\nsvid=7 4095\n", "nestling.cfg:3: svid: '4095' is neither a number from 1 to 4094 nor '-'" },
	{ "[nic 0]\nswitch=external\nsvid=1,2\n", "nestling.cfg:3: svid: '1,2' is neither a number from 1 to 4094 nor '-'" },
	{ "[nic 0]\nswitch=external\nsvid=--\n", "nestling.cfg:3: svid: '--' is neither" },
	{ "[nic 0]\nswitch=external\nsvid=100 - 100\n", "nestling.cfg:3: svid: 100 is there twice" },
	{ "[nic 0]\nswitch=external\nsvid=1 2 3 4 5 6 7 -\n", "nestling.cfg:3: svid: '-' is one too many, a NIC has 7 ports" },
	{ "\n[nic 1]\nsvid=100\n" VM, "nestling.cfg:2: nic 1: svid is for switch = external only" },
	{ VM "[nic 0]\nsvid=100\nswitch=embedded", "nestling.cfg:4: nic 0: svid is for switch = external only" },
	{ "[nic 0]\nswitch=external\n", "nestling.cfg:2: there is no [vm NAME] section" },
	{ VM "memroy=2M\n", "nestling.cfg:4: unknown key 'memroy' (kernel, module, cmdline, memory, cpus, vmx, nic)" },
	{ VM "=2M\n", "nestling.cfg:4: unknown key '' (kernel, module, cmdline, memory, cpus, vmx, nic)" },
	{ VM "hello\n", "nestling.cfg:4: 'hello' is neither [section] nor key = value" },
	{ VM "memory=2M\n", "nestling.cfg:4: key 'memory' is there twice" },
	{ VM "cmdline=\n", "nestling.cfg:4: key 'cmdline' has no value" },
	{ VM "cmdline= # nothing\n", "nestling.cfg:4: key 'cmdline' has no value" },
	{ "[nestling]\ntrace=yes\n", "nestling.cfg:2: trace is 'on' or 'off', not 'yes'" },
	{ VM "vmx=1\n", "nestling.cfg:4: vmx is 'on', 'pages', 'plain' or 'off', not '1'" },
	{ "[nestling]\non_last_exit=reboot\n", "nestling.cfg:2: on_last_exit is 'poweroff', 'halt' or 'exit', not 'reboot'" },
	{ "[vm a]\nkernel=a b\n", "nestling.cfg:2: unexpected 'b' behind the kernel's file name" },
	{ "[vm a]\nkernel=" S63 "x\n", "is longer than 63 characters" },
	{ VM "module=" S63 "x\n", "nestling.cfg:4: module 'abcdefghijklmnopqrstuvwxyz0123456789abcd...' is longer than 63" },
	{ VM "module=m " S128 S128 "\n", "nestling.cfg:4: the module's command line 'abc" },
	{ VM "cmdline=" S128 S128 "\n", "nestling.cfg:4: cmdline 'abcdefghijklmnopqrstuvwxyz0123456789abcd...' is longer than 255" },
	{ VM "cmdline=" S128 S128 S128 S128 "\n", "nestling.cfg:4: line longer than 511 characters" },
	{ VM "module=a\nmodule=a\nmodule=a\nmodule=a\nmodule=a\nmodule=a\nmodule=a\nmodule=a\nmodule=last\n",
	  "nestling.cfg:12: module 'last': more than 8 modules" },
	{ "[vm a]\nmemory=x\n", "nestling.cfg:2: memory 'x' is not a number" },
	{ "[vm a]\nmemory=-2M\n", "nestling.cfg:2: memory '-2M' is not a number" },
	{ "[vm a]\nmemory=2T\n", "nestling.cfg:2: memory '2T': the suffix is K, M or G" },
	{ "[vm a]\nmemory=2M x\n", "nestling.cfg:2: memory '2M x': the suffix is K, M or G" },
	{ "[vm a]\nmemory=0\n", "nestling.cfg:2: memory '0' is not a multiple of 2M" },
	{ "[vm a]\nmemory=3M\n", "nestling.cfg:2: memory '3M' is not a multiple of 2M" },
	{ "[vm a]\nmemory=1025G\n", "nestling.cfg:2: memory '1025G' is beyond 1024G" },
	{ "[vm a]\nmemory=99999999999999999999999M\n", "is not a number, or beyond 1024G" },
	{ "[vm a]\nmemory=18446744073709551616\n", "is not a number, or beyond 1024G" },
	{ VM "cpus=0 one\n", "nestling.cfg:4: cpus: 'one' is not a CPU index" },
	{ VM "cpus=1024\n", "nestling.cfg:4: cpus: '1024' is not a CPU index" },
	{ VM "cpus=0,1\n", "nestling.cfg:4: cpus: '0,1' is not a CPU index" },
	{ VM "cpus=0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n", "nestling.cfg:4: cpus: more than 16 vCPUs" },
	{ VM "nic=eth0\n", "nestling.cfg:4: nic: 'eth0' is not port0 to port255" },
	{ VM "nic=port\n", "nestling.cfg:4: nic: 'port' is not port0 to port255" },
	{ VM "nic=port256\n", "nestling.cfg:4: nic: 'port256' is not port0 to port255" },
	{ VM "nic=port0 speed=1\n", "nestling.cfg:4: nic: unknown option 'speed=1' (mode=, passthrough=, mac=, vlan=, mtu=, posting=, vdp=)" },
	{ VM "nic=port0 posting=1\n", "nestling.cfg:4: posting is 'on' or 'off', not '1'" },
	{ VM "nic=port0 mtu=67\n", "nestling.cfg:4: mtu '67' is not a number from 68 to 9198" },
	{ VM "nic=port0 passthrough=maybe\n", "nestling.cfg:4: passthrough is 'on' or 'off', not 'maybe'" },
	{ VM "nic=port0 mode=passthrough passthrough=off\n",
	  "nestling.cfg:4: nic: mode=passthrough and passthrough=off contradict each other" },
	{ VM "nic=port0 mode=fast\n", "nestling.cfg:4: mode is 'emulation' or 'passthrough', not 'fast'" },
	{ VM "nic=port0 vlan=1 vlan=2\n", "nestling.cfg:4: nic: 'vlan' is there twice" },
	{ VM "nic=port0 vlan=0\n", "nestling.cfg:4: vlan '0' is not a number from 1 to 4094" },
	{ VM "nic=port0 vlan=4095\n", "nestling.cfg:4: vlan '4095' is not a number from 1 to 4094" },
	{ VM "nic=port0 vlan=7x\n", "nestling.cfg:4: vlan '7x' is not a number from 1 to 4094" },
	{ VM "nic=port0 mac=\n", "nestling.cfg:4: mac '' is not six pairs" },
	{ VM "nic=port0 mac=52:54:00:00:00\n", "nestling.cfg:4: mac '52:54:00:00:00' is not six pairs" },
	{ VM "nic=port0 mac=52:54:00:00:00:0g\n", "is not six pairs" },
	{ VM "nic=port0 mac=52-54-00-00-00-01\n", "is not six pairs" },
	{ VM "nic=port0 mac=52:54:00:00:00:01:\n", "is not six pairs" },
	{ VM "nic=port0 mac=53:54:00:00:00:01\n", "is not the address of one station" },
	{ VM "nic=port0 mac=00:00:00:00:00:00\n", "is not the address of one station" },
	{ VM "nic=port0\nnic=port0 passthrough=off\n", "nestling.cfg:5: nic: port0 is given to vm a already" },
	{ VM "nic=port0\nnic=port1\nnic=port2\nnic=port3\nnic=port4\nnic=port5\nnic=port6\nnic=port7\nnic=port8\n",
	  "nestling.cfg:12: nic: more than 8 in one VM" },
	{ "[vm a]\n\x01kernel=k\n", "nestling.cfg:2: character 01h is not printable ASCII" },
	{ "[vm a]\nkernel=\xc3\xa4\n", "nestling.cfg:2: character c3h is not printable ASCII" },
	{ "[vm a]\nker\rnel=k\n", "nestling.cfg:2: character 0dh is not printable ASCII" },
};

static void bad_files(void **state)
{
	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(bad); i++) {
		int e = parse(bad[i].text);
		if (e != -EINVAL || !strstr(err, bad[i].message))
			fail_msg("case %u: returned %d, said '%s', expected '%s'", i, e, err, bad[i].message);
	}
}

static void nul_is_refused(void **state)
{
	(void)state;
	assert_int_equal(parse_bytes(VM "cmdline=a\0b\n", sizeof(VM "cmdline=a\0b\n") - 1), -EINVAL);
	assert_string_equal(err, "nestling.cfg:4: character 00h is not printable ASCII");
}

static void comments_may_hold_anything(void **state)
{
	(void)state;
	assert_int_equal(parse(VM "# \xc3\xa4 \x01\n"), 0);
}

static void too_many_vms(void **state)
{
	char text[1024] = "";

	(void)state;
	for (char n = 'a'; n <= 'i'; n++) {
		char vm[] = VM;
		vm[4] = n;
		strcat(text, vm);
		if (n == 'h')
			assert_int_equal(parse(text), 0);
	}
	assert_int_equal(parse(text), -EINVAL);
	assert_string_equal(err, "nestling.cfg:25: more than 8 VMs");
}

/* Every prefix and every single changed byte of a full file: an answer, no crash; a message with a failure. */
static void survives_damage(void **state)
{
	static const char full[] = "[nestling]\ntrace=on\n" VM "module=m x\ncpus=0 1\nnic=port0 mac=52:54:00:00:00:01 vlan=3\n";
	static const char values[] = { 0, ' ', '=', '[', ']', '\n', '9', '#' };
	char text[sizeof(full)];

	(void)state;
	for (u32 n = 0; n < sizeof(full); n++)
		if (parse_bytes(full, n))
			assert_non_null(strstr(err, "nestling.cfg:"));
	for (u32 i = 0; i < sizeof(full) - 1; i++) {
		for (u32 v = 0; v < sizeof(values); v++) {
			memcpy(text, full, sizeof(full));
			text[i] = values[v];
			if (parse_bytes(text, sizeof(full) - 1))
				assert_non_null(strstr(err, "nestling.cfg:"));
		}
	}
}

static void vmx_words(void **state)
{
	static const struct { const char *word; bool vmx, plain, pages; } all[] = {
		{ "on", true, false, false }, { "pages", true, false, true }, { "plain", true, true, false }, { "off", false, false, false },
	};

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(all); i++) {
		char text[128];
		snprintf(text, sizeof(text), "[vm a]\nkernel=k\nmemory=2M\nvmx=%s\n", all[i].word);
		assert_int_equal(parse(text), 0);
		assert_int_equal(c.vms[0].vmx, all[i].vmx);
		assert_int_equal(c.vms[0].vmx_plain, all[i].plain);
		assert_int_equal(c.vms[0].vmx_pages, all[i].pages);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything), cmocka_unit_test(defaults), cmocka_unit_test(switches), cmocka_unit_test(crlf_tabs_and_missing_newline),
		cmocka_unit_test(limits_that_still_fit), cmocka_unit_test(vmx_words), cmocka_unit_test(bad_files), cmocka_unit_test(nul_is_refused),
		cmocka_unit_test(comments_may_hold_anything), cmocka_unit_test(too_many_vms), cmocka_unit_test(survives_damage),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
