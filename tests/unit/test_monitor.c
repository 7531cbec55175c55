/*
 * core/monitor.c and core/ioapic.c: from characters to commands, whatever the characters; redirection entries, and what the MADT
 * says of them. The VMs' COM1s
 * are real (core/vuart.c).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/errno.h"
#include "core/irq.h"
#include "core/monitor.h"
#include "core/percpu.h"
#include "core/report.h"
#include "core/vioapic.h"
#include "core/vuart.h"
#include "tests/unit/core_fakes.h"

static const struct vm_config cfg[2] = {
	{ .name = "inner", .memory = 64 << 20, .cpus = { 0, 2 }, .nr_cpus = 2 }, { .name = "other", .memory = 2 << 20, .nr_cpus = 1 },
};
static struct vm vm[2];
static struct vcpu_core vcpu[2];
struct cpu cpus[MAX_CPUS];

/* ---- what the monitor calls ---- */

static void msi(struct vm *m, u64 addr, u32 data) { (void)m, (void)addr, (void)data; }
static const struct vm_arch_ops ops = { .msi = msi };
const struct vm_arch_ops *vm_arch = &ops;

void vm_for_each(void (*fn)(struct vm *m, void *arg), void *arg)
{
	fn(&vm[0], arg);
	fn(&vm[1], arg);
}

void vm_end(struct vm *m, u32 exit_code, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(m->why, sizeof(m->why), fmt, ap);
	va_end(ap);
	m->exit_code = exit_code;
	m->state = VM_ENDED;
}

const char *report_exit_name(u32 reason) { return reason == 10 ? "CPUID" : reason == 18 ? "VMCALL" : "?"; }

static bool has_uart;
static const int *input; /* what the UART has, up to CONSOLE_EMPTY */
static u32 reads;
static bool input_is_on, endless;
bool console_present(void) { return has_uart; }
void console_input_on(void) { input_is_on = true; }
int console_read(void)
{
	reads++;
	if (endless)
		return 'a';
	return *input == CONSOLE_EMPTY ? CONSOLE_EMPTY : *input++;
}

static irq_fn handler;
static int next_vector;
int irq_alloc(u32 cpu, irq_fn fn, void *arg)
{
	assert_int_equal(cpu, 0);
	assert_null(arg);
	handler = fn;
	return next_vector;
}
void irq_free(u32 cpu, u8 vector)
{
	assert_int_equal(cpu, 0);
	assert_int_equal(vector, next_vector);
	handler = NULL;
}

/* An MADT with one I/O APIC, id 7, first interrupt 0; ISA 4 arrives at `gsi` with `flags`. */
static u8 madt[44 + 12 + 10];
static bool no_madt;
const struct acpi_header *acpi_find(const char *signature)
{
	assert_string_equal(signature, "APIC");
	return no_madt ? NULL : (const struct acpi_header *)madt;
}

static void make_madt(u8 gsi, u8 flags)
{
	static const u8 ioapic[12] = { 1, 12, 7, 0, 0, 0, 0xc0, 0xfe };
	u8 override[10] = { 2, 10, 0, 4, gsi, 0, 0, 0, flags };

	memset(madt, 0, sizeof(madt));
	madt[4] = sizeof(madt);
	memcpy(madt + 44, ioapic, 12);
	memcpy(madt + 56, override, 10);
}

/* The registers as memory: the window keeps the last value written; reading gives the version. */
static u32 regs[8];
void *mmio_map(hpa_t a, u64 len)
{
	assert_int_equal(a.v, 0xfec00000);
	assert_true(len <= sizeof(regs));
	return regs;
}

static int remap_answer;
static int remap(u8 id, u32 apic_id, u8 vector)
{
	assert_int_equal(id, 7);
	assert_int_equal(apic_id, cpus[0].apic_id);
	assert_int_equal(vector, next_vector);
	return remap_answer;
}

static int begin(void **state)
{
	(void)state;
	fakes_reset();
	for (u32 i = 0; i < 2; i++) {
		vm[i] = (struct vm){ .cfg = &cfg[i], .nr_vcpus = 1, .state = VM_RUNNING };
		vcpu[i] = (struct vcpu_core){ .vm = &vm[i] };
		vm[i].vcpus[0] = (struct vcpu *)&vcpu[i];
		assert_int_equal(vioapic_create(&vm[i]), 0);
		assert_int_equal(vuart_create(&vm[i]), 0);
	}
	has_uart = true;
	input_is_on = endless = no_madt = false;
	handler = NULL;
	next_vector = 0xdf;
	remap_answer = -ENOTSUP;
	cpus[0].apic_id = 3;
	make_madt(4, 0);
	regs[4] = 0x00170020;
	return 0;
}

static int end(void **state)
{
	(void)state;
	for (u32 i = 0; i < 2; i++) {
		vuart_destroy(&vm[i]);
		vioapic_destroy(&vm[i]);
	}
	return 0;
}

static void type(const char *s)
{
	fake_console[0] = 0;
	while (*s)
		monitor_char((u8)*s++);
}
#define assert_says(typed, text) do { type(typed); assert_string_equal(fake_console, text); } while (0)

/* What a VM finds at its COM1. */
static const char *read_com1(struct vm *m)
{
	static char got[2048];
	u32 n = 0;
	u64 v;
	while (vdev_read(&m->pio, vm_vcpu(m, 0), VUART_PORT + 5, 1, &v), v & 1) {
		vdev_read(&m->pio, vm_vcpu(m, 0), VUART_PORT, 1, &v);
		got[n++] = (char)v;
	}
	got[n] = 0;
	return got;
}

/* ---- lines ---- */

static void lines(void **state)
{
	(void)state;
	assert_says("nothing yet", "");
	assert_says("\r", "> nothing yet\nthere is no command nothing: try help\n");
	assert_says("\r\n\n", "");
	assert_says("   \n", ">    \n");
	assert_says("\b\x7f" "foo\b\b\bvmx\bs x\n", "> vms x\nusage: vms\n");
	assert_says("v\tm\x1b\x01s\xff x\n", "> vms x\nusage: vms\n"); /* neither control characters nor what is not ASCII */
	assert_says("kill a b c d e f g h i\n", "> kill a b c d e f g h i\nusage: kill VM\n");
}

static void long_lines(void **state)
{
	char s[MONITOR_LINE + 3];

	(void)state;
	memset(s, 'a', sizeof(s));
	memcpy(s + MONITOR_LINE, "\n", 2);
	type(s);
	assert_non_null(strstr(fake_console, "there is no command aaa"));
	memcpy(s + MONITOR_LINE, "a\n", 3);
	assert_says(s, "console: line ignored: it is longer than 128 characters\n");
	assert_says("kill inn", "");
	monitor_char(CONSOLE_LOST);
	assert_says("r\n", "console: line ignored: characters were lost\n");
	assert_says("hm\n", "> hm\nthere is no command hm: try help\n");
}

static void vms_and_kill(void **state)
{
	(void)state;
	assert_says("vms\n", "> vms\nvm inner: running, 64 MiB, 1 vCPU(s) on CPU 0 2, 0 port(s)\n"
		    "vm other: running, 2 MiB, 1 vCPU(s) on CPU 0, 0 port(s)\n");
	assert_says("kill nobody\n", "> kill nobody\nthere is no VM nobody\n");
	assert_says("kill\n", "> kill\nusage: kill VM\n");
	assert_int_equal(vm[0].state, VM_RUNNING);
	assert_says("  kill   other  \r", ">   kill   other  \n");
	assert_int_equal(vm[1].state, VM_ENDED);
	assert_int_equal(vm[1].exit_code, 254);
	assert_string_equal(vm[1].why, "killed at the console");
	assert_int_equal(vm[0].state, VM_RUNNING);
	assert_says("kill other\n", "> kill other\nvm other has ended already\n");
}

static void exits(void **state)
{
	(void)state;
	vcpu[0].count.exits[10] = 5;
	vcpu[0].count.exits[71] = ~0ull;
	vcpu[0].count.exits[18] = 1;
	vcpu[0].count.fast[18] = 3;
	vcpu[0].count.fast_nested[18] = 2;
	assert_says("exits\n", "> exits\nexits of inner: CPUID 5 VMCALL 4 REASON_71 18446744073709551615\nexits of inner's guests: VMCALL 2\n");
	assert_says("exits other\n", "> exits other\n");
	assert_says("exits inner x\n", "> exits inner x\nusage: exits [VM]\n");
	for (u32 i = 0; i < COUNT_EXIT_REASONS; i++)
		vcpu[0].count.exits[i] = ~0ull - (i == 18 ? 3 : 0); /* many lines, none too long */
	type("exits inner\n");
	u32 seen = 0;
	for (char *s = fake_console; (s = strstr(s, "18446744073709551615")); s++)
		seen++;
	assert_int_equal(seen, COUNT_EXIT_REASONS);
}

static bool cmd_words(u32 n, char *const *word)
{
	log_line("%u words, last %s", n, word[n - 1]);
	return true;
}

static void more_commands(void **state)
{
	static const struct monitor_command more[] = { { "words", "[WORD...]", "counts", cmd_words } };

	(void)state;
	monitor_add(more, 1);
	assert_says("words 2 3 4 5 6 7 8\n", "> words 2 3 4 5 6 7 8\n8 words, last 8\n");
	assert_says("words 2 3 4 5 6 7 8 9\n", "> words 2 3 4 5 6 7 8 9\nusage: words [WORD...]\n");
	type("help\n");
	assert_non_null(strstr(fake_console, "\nwords [WORD...]: counts\n"));
	assert_non_null(strstr(fake_console, "\nhelp: this list\n"));
}

static void forwards(void **state)
{
	char s[MONITOR_LINE + 2];

	(void)state;
	assert_says("@inner  @deep vms \n", "> @inner  @deep vms \n");
	assert_string_equal(read_com1(&vm[0]), " @deep vms \r");
	assert_says("@inner\n", "> @inner\n");
	assert_string_equal(read_com1(&vm[0]), "\r");
	assert_string_equal(read_com1(&vm[1]), "");
	assert_says("@nobody x\n", "> @nobody x\nthere is no VM nobody\n");
	assert_says("@\n", "> @\nthere is no VM \n");
	/* as long as a line can be, until the VM's input is full; then again when it has read */
	memset(s, 'x', sizeof(s));
	memcpy(s, "@other ", 7);
	memcpy(s + MONITOR_LINE, "\n", 2);
	u32 taken = 0;
	for (; type(s), !strstr(fake_console, "\nvm other does not read its console: the line is dropped\n"); taken++)
		assert_true(taken < 100);
	assert_int_equal(taken, 1024 / (MONITOR_LINE - 6));
	assert_int_equal(strlen(read_com1(&vm[1])), taken * (MONITOR_LINE - 6));
	type(s);
	assert_int_equal(strlen(read_com1(&vm[1])), MONITOR_LINE - 6);
}

/* Any characters at all: nothing is reached beyond the line, and the words that harm are not in them. */
static void any_input(void **state)
{
	(void)state;
	srand(1);
	for (u32 i = 0; i < 200000; i++) {
		int c = rand() % 300 - 3;
		monitor_char(c == -1 ? '\n' : c);
		fake_console[0] = 0;
	}
	type("\n");
	assert_int_equal(vm[0].state, VM_RUNNING);
}

/* ---- the interrupt ---- */

static void by_interrupt(void **state)
{
	static const int first[] = { 'v', 'm', CONSOLE_EMPTY }, second[] = { 's', '\r', CONSOLE_LOST, 'v', 'm', 's', '\n', CONSOLE_EMPTY };

	(void)state;
	fake_console[0] = 0;
	monitor_start(remap);
	assert_true(input_is_on);
	assert_int_equal(regs[0], 0x10 + 8); /* the low half last: it unmasks */
	assert_int_equal(regs[4], 0xdf);
	input = first;
	handler(NULL, 0xdf);
	assert_string_equal(fake_console, "");
	input = second;
	handler(NULL, 0xdf);
	assert_non_null(strstr(fake_console, "> vms\nvm inner: running"));
	assert_non_null(strstr(fake_console, "console: line ignored: characters were lost\n"));
	endless = true;
	reads = 0;
	handler(NULL, 0xdf);
	assert_true(reads <= 4096);
	type("\n");
}

static void no_input(void **state)
{
	(void)state;
	has_uart = false;
	fake_console[0] = 0;
	monitor_start(remap);
	assert_non_null(strstr(fake_console, "console: no input: no UART"));
	has_uart = true;
	no_madt = true;
	monitor_start(remap);
	no_madt = false;
	make_madt(24, 0); /* beyond the last pin */
	monitor_start(remap);
	make_madt(4, 0);
	remap_answer = -EIO;
	monitor_start(remap);
	assert_non_null(strstr(fake_console, "cannot be routed (error 5)"));
	remap_answer = -ENOTSUP;
	cpus[0].apic_id = 255; /* not to be named without remapping */
	monitor_start(remap);
	next_vector = -ENOSPC;
	monitor_start(remap);
	assert_false(input_is_on);
}

static void entries(void **state)
{
	static const struct acpi_isa_irq edge = { 0 }, level = { .low = true, .level = true };

	(void)state;
	assert_int_equal(ioapic_entry(3, 0xdf, &edge), 3ull << 56 | 0xdf);
	assert_int_equal(ioapic_entry(3, 0xdf, &level), 3ull << 56 | 1 << 15 | 1 << 13 | 0xdf);
	assert_int_equal(ioapic_entry_remapped(5, 0xdf, &edge), 5ull << 49 | 1ull << 48 | 0xdf);
	assert_int_equal(ioapic_entry_remapped(0x8001, 0xdf, &level), 1ull << 49 | 1ull << 48 | 1 << 15 | 1 << 13 | 1 << 11 | 0xdf);
	make_madt(20, 0xf); /* overridden: low, level */
	remap_answer = 5;
	assert_int_equal(ioapic_route_isa(4, 3, 0xdf, remap), 0);
	assert_int_equal(regs[0], 0x10 + 40);
	assert_int_equal(regs[4], 1 << 15 | 1 << 13 | 0xdf);
}

/* Parse a copy of exactly n bytes, so that reading beyond is seen by the sanitizer. */
static u8 table[512];
static u32 table_len;
static int parse(u32 n, struct acpi_ioapics *io, u8 irq, struct acpi_isa_irq *isa)
{
	u8 *copy = malloc(n);
	memcpy(copy, table, n);
	int err = acpi_parse_isa_irq(copy, n, irq, isa);
	int err_io = acpi_parse_ioapics(copy, n, io);
	free(copy);
	return err ? err : err_io;
}

static void append(const u8 *entry)
{
	memcpy(table + table_len, entry, entry[1]);
	table_len += entry[1];
}

static void interrupts_of_the_madt(void **state)
{
	static const u8 first[12] = { 1, 12, 9, 0, 0, 0, 0xc0, 0xfe }, second[12] = { 1, 12, 10, 0, 0, 0x10, 0xc0, 0xfe, 24 }, cut[8] = { 1, 8 };
	static const u8 timer[10] = { 2, 10, 0, 0, 2 }, sci[10] = { 2, 10, 0, 9, 20, 0, 0, 0, 0xf }, no_isa[10] = { 2, 10, 1, 4, 21 };
	struct acpi_ioapics io;
	struct acpi_isa_irq isa;

	(void)state;
	table_len = 44;
	assert_int_equal(parse(table_len, &io, 4, &isa), -ENOENT);
	append(cut);
	append(first);
	append(timer);
	append(sci);
	append(no_isa);
	append(second);
	assert_int_equal(parse(table_len, &io, 0, &isa), 0);
	assert_int_equal(io.nr, 2);
	assert_int_equal(io.io[0].id, 9);
	assert_int_equal(io.io[0].base.v, 0xfec00000);
	assert_int_equal(io.io[1].first, 24);
	assert_int_equal(isa.gsi, 2);
	assert_false(isa.low || isa.level);
	assert_int_equal(parse(table_len, &io, 9, &isa), 0);
	assert_int_equal(isa.gsi, 20);
	assert_true(isa.low && isa.level);
	assert_int_equal(parse(table_len, &io, 4, &isa), 0); /* not overridden */
	assert_int_equal(isa.gsi, 4);
	assert_int_equal(parse(table_len - 1, &io, 4, &isa), -EINVAL);
	assert_int_equal(parse(43, &io, 4, &isa), -EINVAL);
	for (u32 i = 0; i < 20; i++)
		append(first);
	assert_int_equal(parse(table_len, &io, 4, &isa), 0);
	assert_int_equal(io.nr, ARRAY_SIZE(io.io));
}

#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(lines), T(long_lines), T(vms_and_kill), T(exits), T(more_commands), T(forwards), T(any_input), T(by_interrupt), T(no_input),
		T(entries), T(interrupts_of_the_madt),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
