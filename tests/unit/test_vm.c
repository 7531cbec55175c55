/*
 * core/vm.c, vm_mem.c, vacpi.c and report*.c with everything under them: a VM made, looked into, measured, ended and taken
 * apart; memory running out at every single allocation; what the console says when it cannot be made.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/acpi.h"
#include "core/bundle.h"
#include "core/errno.h"
#include "core/hypercall.h"
#include "core/report.h"
#include "core/vacpi.h"
#include "core/vm.h"
#include "core/vmisc.h"
#include "core/vpci.h"
#include "tests/unit/core_fakes.h"

#define FLAG_RAM BIT(0)

/* ---- a bundle with a kernel of 64 bytes ---- */

static u8 archive[4096];
static struct bundle bundle;

static void add_file(const char *name, const void *data, u32 size)
{
	static u64 len;
	snprintf((char *)archive + len, 111, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", 1, 0100644, 0, 0, 1, 0, size, 0, 0,
		 0, 0, (u32)strlen(name) + 1, 0);
	strcpy((char *)archive + len + 110, name);
	len = ALIGN_UP(len + 110 + strlen(name) + 1, 4);
	memcpy(archive + len, data, size);
	len = ALIGN_UP(len + size, 4);
	bundle = (struct bundle){ archive, len };
}

static int make_bundle(void **state)
{
	/* multiboot 1 with address fields: loads at 1 MiB, entry behind the header */
	u32 kernel[16] = { 0x1badb002, 1 << 16, -(0x1badb002u + (1 << 16)), 0x100000, 0x100000, 0, 0, 0x100020 };
	char err[100];

	(void)state;
	kernel[15] = 0x600df00d;
	add_file("kernel", kernel, sizeof(kernel));
	add_file("mod", "module", 6);
	add_file("text", "just text, no kernel", 20);
	add_file("TRAILER!!!", "", 0);
	assert_int_equal(bundle_open(&bundle, archive, bundle.len, err, sizeof(err)), 0);
	report_init();
	return 0;
}

/* ---- what vmx/ and nic/ would do ---- */

static const struct ptab_fmt fmt = { "test", BITS(2, 0), BIT(7), BITS(2, 0), BITS(51, 12) };
static struct vm_entry_state entered;
static u32 kicks, order, ports_closed_at, vcpus_freed_at;

static int a_init(struct vm *vm) { return ptab_init(&vm->ept, &fmt, 4, 2, false, &vm->owner); }
static u64 a_flags(void) { return FLAG_RAM; }
static void a_kick(struct vm *vm) { kicks++, assert_true(vm_ended(vm)); }
static void a_msi(struct vm *vm, u64 addr, u32 data) { (void)vm, (void)addr, (void)data; }
static int a_ports(struct vm *vm) { return vm->cfg->nr_nics ? -ENODEV : 0; }
static void a_ports_fini(struct vm *vm) { (void)vm, ports_closed_at = ++order; }

static int a_vcpu(struct vm *vm, u32 i, const struct vm_entry_state *e)
{
	struct vcpu_core *v = page_alloc(&vm->owner);
	if (!v)
		return -ENOMEM;
	*v = (struct vcpu_core){ .vm = vm, .index = i, .record_page = GPA(~0ull), .record = page_alloc(&vm->owner) };
	vm->vcpus[i] = (struct vcpu *)v;
	entered = *e;
	return v->record ? 0 : -ENOMEM;
}

static void a_fini(struct vm *vm)
{
	vcpus_freed_at = ++order;
	for (u32 i = 0; i < vm->nr_vcpus; i++) {
		if (!vm->vcpus[i])
			continue;
		if (vm_vcpu(vm, i)->record)
			page_free(&vm->owner, vm_vcpu(vm, i)->record);
		page_free(&vm->owner, vm->vcpus[i]);
		vm->vcpus[i] = NULL;
	}
}

static const struct vm_arch_ops ops = { .vm_init = a_init, .vcpu_create = a_vcpu, .ram_flags = a_flags, .msi = a_msi,
					.vm_fini = a_fini, .vm_kick = a_kick, .ports_init = a_ports, .ports_fini = a_ports_fini };
const struct vm_arch_ops *vm_arch = &ops;

/* ---- */

static struct vm_config cfg;
static struct vm *vm;
static char err[200];

static int begin(void **state)
{
	(void)state;
	fakes_reset();
	cfg = (struct vm_config){ .name = "vm", .kernel = "kernel", .memory = 6 << 20, .nr_cpus = 2, .cpus = { 0, 1 }, .vmx = true };
	vm = NULL;
	kicks = order = 0;
	err[0] = 0;
	return 0;
}

static int create(void) { return vm_create(&vm, &cfg, &bundle, err, sizeof(err)); }

static int end(void **state)
{
	(void)state;
	if (vm)
		vm_destroy(vm);
	assert_int_equal(mem_self.pages, 0);
	return 0;
}

static void made_and_taken_apart(void **state)
{
	u32 word;

	(void)state;
	cfg.nr_modules = 1;
	strcpy(cfg.modules[0].file, "mod");
	assert_int_equal(create(), 0);
	assert_int_equal(vm->ram_low, 6 << 20);
	assert_int_equal(vm->ram_high, 0);
	assert_int_equal(vm->nr_vcpus, 2);
	assert_true(vm->owner.pages >= 3 * 512);
	assert_int_equal(entered.eip, 0x100020);
	assert_int_equal(vm_read(vm, GPA(0x10003c), &word, 4), 0);
	assert_int_equal(word, 0x600df00d);
	assert_int_equal(vm_gpa_top(vm), 4 * SIZE_1G);
	vm_end(vm, 7, "because %d", 5);
	vm_end(vm, 8, "later");
	assert_int_equal(vm->exit_code, 7);
	assert_string_equal(vm->why, "because 5");
	assert_int_equal(kicks, 1);
	vm_destroy(vm);
	vm = NULL;
	assert_true(ports_closed_at < vcpus_freed_at); /* no device may reach memory that goes */
}

static void memory_is_the_vms_own(void **state)
{
	u8 buf[64], back[64];

	(void)state;
	assert_int_equal(create(), 0);
	for (u32 i = 0; i < sizeof(buf); i++)
		buf[i] = (u8)(i + 1);
	/* across the border of two pieces, which are not neighbours in reality */
	assert_int_equal(vm_write(vm, GPA(SIZE_2M - 32), buf, 64), 0);
	assert_int_equal(vm_read(vm, GPA(SIZE_2M - 32), back, 64), 0);
	assert_memory_equal(buf, back, 64);
	hpa_t a = vm_gpa_to_hpa(vm, GPA(SIZE_2M), 32);
	assert_memory_equal(hpa_to_virt(a), buf + 32, 32);
	assert_int_equal(vm_gpa_to_hpa(vm, GPA(SIZE_2M - 32), 64).v, HPA_NONE.v);
	assert_int_equal(vm_gpa_to_hpa(vm, GPA(SIZE_2M - 32), 32).v + 32, vm_gpa_to_hpa(vm, GPA(SIZE_2M - 1), 1).v + 1);
	/* outside, half outside, wrapping: nothing is copied */
	memset(back, 0x55, sizeof(back));
	static const u64 bad[] = { 6 << 20, (6 << 20) - 32, 0xe0000000, 4 * SIZE_1G, ~0ull, ~0ull - 31, 1ull << 47, 1ull << 52 };
	for (u32 i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(vm_read(vm, GPA(bad[i]), back, 64), -EFAULT);
		assert_int_equal(vm_write(vm, GPA(bad[i]), buf, 64), -EFAULT);
		assert_int_equal(back[0], 0x55);
	}
	assert_int_equal(vm_read(vm, GPA((6 << 20) - 32), back, 32), 0);
	assert_int_equal(back[0], 0);
	assert_int_equal(vm_read(vm, GPA(0), back, ~0ull), -EFAULT);
	/* device registers in the same tables are not RAM */
	assert_int_equal(ptab_map(&vm->ept, 8 << 20, vm_gpa_to_hpa(vm, GPA(0), 4096), 4096, FLAG_RAM | VM_MAP_DEVICE), 0);
	assert_int_equal(vm_read(vm, GPA(8 << 20), back, 1), -EFAULT);
	assert_int_equal(vm_gpa_to_hpa(vm, GPA(8 << 20), 1).v, HPA_NONE.v);
}

static void cannot_be_made(void **state)
{
	static const struct { const char *kernel, *module; u32 cpu, nics; u64 memory; const char *message; } cases[] = {
		{ "nope", NULL, 0, 0, 6 << 20, "vm vm: kernel 'nope' is not in the bundle" },
		{ "kernel", "nope", 0, 0, 6 << 20, "vm vm: module 'nope' is not in the bundle" },
		{ "text", NULL, 0, 0, 6 << 20, "vm vm: text: not a multiboot kernel" },
		{ "kernel", NULL, 2, 0, 6 << 20, "vm vm: vCPU 1 is to run on CPU 2, but the last one is CPU 1" },
		{ "kernel", NULL, 0, 0, 2ull << 30, "vm vm: 2048 MiB of memory are asked for, 1024 MiB are free" },
		{ "kernel", NULL, 0, 1, 6 << 20, "vm vm: its network ports cannot be opened" },
	};

	for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
		begin(state);
		strcpy(cfg.kernel, cases[i].kernel);
		if (cases[i].module)
			strcpy(cfg.modules[cfg.nr_modules++].file, cases[i].module);
		cfg.cpus[1] = cases[i].cpu;
		cfg.nr_nics = cases[i].nics;
		cfg.memory = cases[i].memory;
		int e = create();
		if (e >= 0 || strncmp(err, cases[i].message, strlen(cases[i].message)))
			fail_msg("case %u: returned %d, said '%s'", i, e, err);
		assert_null(vm);
		assert_int_equal(mem_self.pages, 0);
	}
}

/* Memory ends at the n-th allocation, for every n: a sentence, and nothing is left behind (the sanitizer looks, too). */
static void memory_runs_out_everywhere(void **state)
{
	s64 n = 0;

	for (;; n++) {
		begin(state);
		fake_allocs_left = n;
		if (!create())
			break;
		assert_null(vm);
		assert_non_null(strstr(err, "vm vm: "));
		assert_int_equal(mem_self.pages, 0);
	}
	assert_true(n > 10);
}

static void no_more_than_so_many(void **state)
{
	struct vm *many[CFG_MAX_VMS];

	(void)state;
	for (u32 i = 0; i < CFG_MAX_VMS; i++) {
		assert_int_equal(create(), 0);
		many[i] = vm;
		assert_int_equal(vm->id, i + 1);
	}
	vm = NULL;
	assert_int_equal(create(), -ENOMEM);
	vm_destroy(many[3]);
	assert_int_equal(create(), 0);
	assert_int_equal(vm->id, 4);
	many[3] = vm;
	vm = NULL;
	for (u32 i = 0; i < CFG_MAX_VMS; i++)
		vm_destroy(many[i]);
}

/* ---- ACPI: our own readers of firmware tables must like them ---- */

static const struct acpi_header *table(u8 *page, u64 gpa)
{
	const struct acpi_header *h = (void *)(page + (gpa - VACPI_BASE));
	u8 sum = 0;

	assert_in_range(gpa, VACPI_BASE, VACPI_BASE + VACPI_LEN - sizeof(*h));
	assert_true(h->length <= VACPI_BASE + VACPI_LEN - gpa);
	for (u32 i = 0; i < h->length; i++)
		sum = (u8)(sum + ((const u8 *)h)[i]);
	assert_int_equal(sum, 0);
	return h;
}

static void acpi_tables(void **state)
{
	u8 page[VACPI_LEN], sum = 0, a, b;
	struct acpi_cpus cpus;
	struct acpi_mcfg mcfg;
	struct acpi_fadt fadt;
	u64 xsdt, entry;

	(void)state;
	vacpi_make(page, CFG_MAX_CPUS);
	assert_memory_equal(page, "RSD PTR ", 8);
	for (u32 i = 0; i < 20; i++)
		sum = (u8)(sum + page[i]);
	assert_int_equal(sum, 0);
	for (u32 i = 20; i < 36; i++)
		sum = (u8)(sum + page[i]);
	assert_int_equal(sum, 0);
	memcpy(&xsdt, page + 24, 8);
	const struct acpi_header *x = table(page, xsdt);
	assert_memory_equal(x->signature, "XSDT", 4);
	assert_int_equal(x->length, 36 + 3 * 8);
	u32 rsdt;
	memcpy(&rsdt, page + 16, 4);
	assert_memory_equal(table(page, rsdt)->signature, "RSDT", 4);
	for (u32 i = 0; i < 3; i++) {
		memcpy(&entry, (const u8 *)x + 36 + i * 8, 8);
		const struct acpi_header *h = table(page, entry);
		if (!memcmp(h->signature, "APIC", 4)) {
			assert_int_equal(acpi_parse_madt(h, h->length, &cpus), 0);
			assert_int_equal(cpus.nr, CFG_MAX_CPUS);
			for (u32 c = 0; c < CFG_MAX_CPUS; c++)
				assert_int_equal(cpus.apic_id[c], c);
		} else if (!memcmp(h->signature, "MCFG", 4)) {
			assert_int_equal(acpi_parse_mcfg(h, h->length, &mcfg), 0);
			assert_int_equal(mcfg.base.v, VPCI_ECAM_BASE);
			assert_int_equal(mcfg.bus_last, 255);
		} else {
			assert_memory_equal(h->signature, "FACP", 4);
			assert_int_equal(acpi_parse_fadt(h, h->length, &fadt), 0);
		}
	}
	assert_int_equal(fadt.pm_timer_port, VMISC_PM_TIMER);
	assert_true(fadt.pm_timer_32bit && fadt.has_reset);
	assert_int_equal(fadt.reset_addr, VMISC_RESET_PORT);
	assert_int_equal(fadt.reset_space, ACPI_SPACE_IO);
	assert_int_equal(fadt.reset_value, VMISC_RESET_VALUE);
	assert_int_equal(fadt.pm1a_cnt_port, VMISC_PM1_CONTROL);
	assert_int_equal(fadt.smi_cmd_port, 0);
	const struct acpi_header *dsdt = table(page, fadt.dsdt.v);
	assert_memory_equal(dsdt->signature, "DSDT", 4);
	assert_int_equal(acpi_parse_s5(dsdt, dsdt->length, &a, &b), 0);
	assert_int_equal(a, VMISC_SLP_TYP_S5);
	assert_int_equal(b, VMISC_SLP_TYP_S5);
}

/* ---- phases and reports ---- */

static u64 said(const char *phase, const char *kind, const char *name)
{
	char head[160], key[64];
	u64 total = 0;

	snprintf(head, sizeof(head), "@report {\"level\":0,\"vm\":\"vm\",\"phase\":\"%s\",\"kind\":\"%s\"", phase, kind);
	snprintf(key, sizeof(key), "\"%s\":", name);
	for (char *line = fake_console; (line = strstr(line, head)); line++) {
		char *at = strstr(line, key), *eol = strchr(line, '\n');
		if (at && at < eol)
			total += strtoull(at + strlen(key), NULL, 10);
	}
	return total;
}

static s64 phase(u64 nr, const char *name)
{
	struct nest_phase p = { { 0 } };
	strncpy(p.name, name, sizeof(p.name));
	assert_int_equal(vm_write(vm, GPA(0x8000), &p, sizeof(p)), 0);
	vm_vcpu(vm, 1)->record_page = GPA(0x8000);
	return hypercall_dispatch(vm_vcpu(vm, 1), HC_PHASE, (u64[6]){ nr, 0x8000 });
}

static void counts_go_to_their_phase(void **state)
{
	(void)state;
	assert_int_equal(create(), 0);
	vm_vcpu(vm, 0)->count.exits[10] = 3;
	vm_vcpu(vm, 1)->count.exits[10] = 4;
	assert_int_equal(phase(0, "traffic"), 0);
	vm_vcpu(vm, 1)->count.exits[10] += 100;
	vm_vcpu(vm, 0)->count.exits_nested[18] += 5;
	vm_vcpu(vm, 0)->count.fast[10] += 40;
	vm_vcpu(vm, 1)->count.fast_nested[18] += 2;
	vm_vcpu(vm, 0)->count.reflected[18] += 2;
	vm_vcpu(vm, 0)->count.exit_tsc[18] += 999;
	vm_vcpu(vm, 0)->count.halts += 1;
	assert_int_equal(phase(1, "rest"), 0);
	assert_int_equal(phase(0, "traffic"), 0); /* it goes on */
	vm_vcpu(vm, 1)->count.exits[10] += 1000;
	report_print();
	assert_int_equal(said("boot", "exits", "REASON_10"), 7);
	assert_int_equal(said("traffic", "exits", "REASON_10"), 1140);
	assert_int_equal(said("traffic", "exits_fast", "REASON_10"), 40);
	assert_int_equal(said("traffic", "exits_nested", "REASON_18"), 7);
	assert_int_equal(said("traffic", "exits_nested_fast", "REASON_18"), 2);
	assert_int_equal(said("traffic", "reflected", "REASON_18"), 2);
	assert_int_equal(said("traffic", "exit_instructions", "REASON_18"), 999);
	assert_int_equal(said("traffic", "counters", "halts"), 1);
	assert_int_equal(said("traffic", "hypercalls", "phase_begin"), 1);
	assert_int_equal(said("boot", "hypercalls", "phase_begin"), 1);
	assert_int_equal(said("rest", "hypercalls", "phase_begin"), 1);
	assert_non_null(strstr(fake_console, "\"phase\":\"rest\",\"kind\":\"exits\"}")); /* nothing happened: it shows */
	/* printed again: only what is new, so that all lines add up */
	report_print();
	vm_vcpu(vm, 1)->count.exits[10] += 1;
	report_print();
	assert_int_equal(said("traffic", "exits", "REASON_10"), 1141);
	assert_int_equal(said("boot", "exits", "REASON_10"), 7);
}

static void phase_calls_go_outward(void **state)
{
	(void)state;
	assert_int_equal(create(), 0);
	fake_outer = true;
	assert_int_equal(phase(3, "x\"y\n"), 0);
	assert_int_equal(fake_outer_calls, 1);
	assert_int_equal(fake_outer_nr, HC_PHASE);
	assert_int_equal(fake_outer_a0, 3);
	assert_string_equal((char *)fake_record, "x_y_"); /* fit for a JSON string */
	assert_int_equal(phase(5, ""), 0);
	assert_string_equal((char *)fake_record, "phase5");
	assert_int_equal(hypercall_dispatch(vm_vcpu(vm, 0), HC_REPORT, (u64[6]){ 0 }), 0);
	assert_int_equal(fake_outer_nr, HC_REPORT);
}

/* A VM whose memory is used up keeps its counts together for a while; the others, and what is printed, do not notice. */
static void a_vm_without_memory_holds_up_nobody(void **state)
{
	struct vm *poor, *rich;

	(void)state;
	strcpy(cfg.name, "poor");
	assert_int_equal(create(), 0);
	poor = vm;
	struct vm_config other = cfg;
	strcpy(other.name, "vm");
	assert_int_equal(vm_create(&rich, &other, &bundle, err, sizeof(err)), 0);
	vm = rich;
	assert_int_equal(phase(0, "calm"), 0);
	poor->owner.limit = poor->owner.pages;
	vm_vcpu(rich, 0)->count.exits[10] = 7;
	vm_vcpu(poor, 0)->count.exits[10] = 20;
	assert_int_equal(phase(0, "traffic"), 0);
	vm_vcpu(rich, 0)->count.exits[10] += 100;
	vm_vcpu(poor, 0)->count.exits[10] += 1;
	/* its own call fails, and begins nothing */
	vm = poor;
	assert_int_equal(phase(1, "rest"), -ENOMEM);
	vm = rich;
	vm_vcpu(rich, 0)->count.exits[10] += 100;
	poor->owner.limit = 0;
	assert_int_equal(phase(1, "rest"), 0);
	vm_vcpu(rich, 0)->count.exits[10] += 1000;
	report_print();
	assert_int_equal(said("calm", "exits", "REASON_10"), 7);
	assert_int_equal(said("traffic", "exits", "REASON_10"), 200);
	assert_int_equal(said("rest", "exits", "REASON_10"), 1000);
	assert_non_null(strstr(fake_console, "\"vm\":\"poor\",\"phase\":\"traffic\",\"kind\":\"exits\",\"REASON_10\":21}"));
	vm_destroy(poor);
}

static void phase_arguments(void **state)
{
	char name[8];

	(void)state;
	assert_int_equal(create(), 0);
	assert_int_equal(hypercall_dispatch(vm_vcpu(vm, 0), HC_PHASE, (u64[6]){ 0 }), -EFAULT); /* no record page */
	assert_int_equal(phase(COUNT_PHASES, "x"), -EINVAL);
	assert_int_equal(phase(1ull << 32, "x"), -EINVAL);
	assert_int_equal(phase(0, "a name that fills the whole record of 32 bytes"), 0);
	s64 e = 0;
	for (u32 i = 0; i < COUNT_PHASES + 1 && !e; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		e = phase(0, name);
	}
	assert_int_equal(e, -ENOSPC);
	assert_int_equal(phase(0, "n0"), 0);
}

/* With all counters in use each line still passes through an outer's console line. */
static void lines_are_short(void **state)
{
	(void)state;
	strcpy(cfg.name, "a-name-that-is-thirty-one-long.");
	assert_int_equal(create(), 0);
	memset(&vm_vcpu(vm, 0)->count, 0x11, sizeof(struct counters));
	report_print();
	u32 lines = 0;
	for (char *p = fake_console, *eol; *p; p = eol + 1, lines++) {
		eol = strchr(p, '\n');
		assert_true(eol - p < 420);
		assert_memory_equal(p, "@report {", 9);
		assert_int_equal(eol[-1], '}');
	}
	assert_true(lines > 20);
}

#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(made_and_taken_apart), T(memory_is_the_vms_own), T(cannot_be_made), T(memory_runs_out_everywhere),
		T(no_more_than_so_many), T(acpi_tables), T(counts_go_to_their_phase), T(phase_calls_go_outward), T(a_vm_without_memory_holds_up_nobody),
		T(lines_are_short),
		T(phase_arguments), /* last: it uses all names up */
	};
	return cmocka_run_group_tests(tests, make_bundle, NULL);
}
