/*
 * The guest: boots, finds the Nestling below it, runs the workloads that the command line names, reports, ends the VM.
 *
 * Invariant: the first line on the console is "guest: up"; the VM always ends by the exit port, with a code of README.md.
 */
#include "core/multiboot2.h"

#include <stdio.h>
#include <string.h>

#include "guest/lib/clock.h"
#include "guest/lib/console.h"
#include "guest/lib/memory.h"
#include "guest/lib/nest.h"
#include "guest/lib/traps.h"
#include "guest/work/blast.h"
#include "guest/work/work.h"

#define EXIT_GOOD 0
#define EXIT_FAILED 1      /* a workload's check failed */
#define EXIT_NO_NESTLING 2
#define EXIT_CANNOT_RUN 3  /* boot information, machine or command line */
#define BURST_NESTLING 1024
#define LOW_LIMIT (4 * SIZE_1G)

typedef unsigned long long ull;

extern u64 guest_tsc_entry;
void guest_main(u32 magic, u32 mbi) __noreturn; /* from start.S */

static const struct work works[] = {
	{ "echo", work_echo, "answer ARP, ping and UDP" },
	{ "ping", work_ping, "send pings" },
	{ "blast", work_blast, "numbered datagrams both ways" },
	{ "mesh", work_mesh, "everybody with everybody: pings and broadcasts" },
	{ "switch", work_switch, "change between emulation and pass-through under traffic" },
	{ "inject", work_inject, "every injected failure on the way to pass-through" },
	{ "die", work_die, "end in the middle of a switch" },
	{ "cycle", work_cycle, "open and close the port again and again" },
	{ "state", work_state, "stop, save and restore the function, also into another" },
	{ "tscloop", work_tscloop, "loop of known length against the TSC" },
	{ "exits", work_exits, "one kind of exit many times" },
	{ "inner", work_inner, "be a hypervisor with a guest: what its exits cost" },
	{ "inner-sipi", work_inner_sipi, "the same on two vCPUs: its guest waits for a SIPI, gets an INIT" },
	{ "torture", work_torture, "hypercalls and instructions that must fail" },
	{ "torture-nic", work_torture_nic, "NIC calls and registers that must fail" },
	{ "torture-post", work_torture_post, "nonsense in a descriptor of self-armed posting" },
	{ "inherit", work_inherit, "take functions in turn with another VM, each as hostile as can be" },
	{ "torture-virtio", work_torture_virtio, "the emulated network device driven wrongly in every way" },
	{ "torture-virtio-end", work_torture_virtio_end, "end while two vCPUs change its modes" },
	{ "vtivar", work_vtivar, "raise interrupt causes of other functions" },
	{ "torture-vmx", work_torture_vmx, "VMX instructions that must fail" },
	{ "attack", work_attack, "DMA where it must not reach" },
	{ "spin", work_spin, "loop for ever" },
	{ "hlt", work_hlt, "halt for ever" },
	{ "triplefault", work_triplefault, "reset" },
	{ "exception", work_exception, "die with a dump" },
	{ "armed", work_armed, "end with the APIC timer running" },
	{ "nowhere", work_nowhere, "jump to where there is no memory" },
	{ "smp-level", work_smp_level, "level-triggered interrupts to vCPU 1" },
	{ "smp-cli-hlt", work_smp_cli_hlt, "vCPU 1 halts with interrupts off" },
	{ "smp-spin", work_smp_spin, "vCPU 1 spins from now on" },
	{ "smp-post", work_smp_post, "self-armed posting to vCPU 1, lent and taken back" },
	{ "smp-storm", work_smp_storm, "interrupts without end for vCPU 1, halted and descheduled" },
	{ "wake", work_wake, "halt until the timer comes, often" },
	{ "real-mode", work_real_mode, "an exception in real mode" },
	{ "xcr0", work_xcr0, "XCR0 stays as set" },
};

/* What a value may be; README.md says what each means to which workload. */
static const struct option options[] = {
	{ "ip", OPTION_IP, 1, 0xfffffffe, NULL },
	{ "peer", OPTION_IP, 1, 0xfffffffe, NULL },
	{ "group", OPTION_IP, 0xe0000000, 0xefffffff, NULL },
	{ "port", OPTION_NUMBER, 1, 65535, NULL },
	{ "nic", OPTION_NUMBER, 0, 63, NULL },
	{ "irq", OPTION_NUMBER, 0, 1, NULL },
	{ "halt", OPTION_NUMBER, 0, 1, NULL },
	{ "post", OPTION_NUMBER, 0, 1, NULL },
	{ "count", OPTION_NUMBER, 0, 1u << 30, NULL },
	{ "window", OPTION_NUMBER, 1, BLAST_WINDOW_MAX, NULL },
	{ "size", OPTION_NUMBER, BLAST_HEADER, BLAST_SIZE_MAX, NULL },
	{ "timeout", OPTION_NUMBER, 1, 1000000, NULL },
	{ "wait", OPTION_NUMBER, 1, 3600, NULL },
	{ "loop", OPTION_NUMBER, 2, 1ull << 40, NULL },
	{ "samples", OPTION_NUMBER, 1, 1u << 20, NULL },
	{ "strict", OPTION_NUMBER, 0, 1, NULL },
	{ "watch", OPTION_NUMBER, 0, 1, NULL },
	{ "xcr0", OPTION_NUMBER, 1, 0x2ff, NULL },
	{ "attack_iova", OPTION_LIST, 0, ~0ull, NULL },
	{ "attack_wait", OPTION_NUMBER, 0, 1, NULL },
	{ "virtio", OPTION_WORD, 0, 0, "event plain" },
	{ "peers", OPTION_LIST, 0, 255, NULL },
	{ "never", OPTION_LIST, 0, 255, NULL },
	{ "turn", OPTION_NUMBER, 0, 1, NULL },
	{ "pause", OPTION_NUMBER, 0, 1000000, NULL },
	{ "every", OPTION_NUMBER, 1, 1u << 20, NULL },
	{ "die", OPTION_WORD, 0, 0, "allocate configure map-registers plugin map-memory start interrupt virtual-function prepare freeze "
				    "fence commit emulation drain" },
	{ "way", OPTION_WORD, 0, 0, "there back" },
	{ "how", OPTION_WORD, 0, 0, "end spin" },
};

static struct boot boot;
static struct cmdline cmdline;
static u64 tsc_up;

static void cannot_run(const char *what, const char *which) __noreturn;
static void cannot_run(const char *what, const char *which)
{
	printf("guest: cannot run: %s%s%s\n", what, which ? ": " : "", which ? which : "");
	nest_exit(EXIT_CANNOT_RUN);
}

static const struct work *find_work(const char *name)
{
	for (u32 i = 0; i < ARRAY_SIZE(works); i++)
		if (!strcmp(works[i].name, name))
			return &works[i];
	return NULL;
}

static void usage(void)
{
	for (u32 i = 0; i < ARRAY_SIZE(works); i++)
		printf("guest:   %-12s %s\n", works[i].name, works[i].help);
}

static void check_cmdline(void)
{
	const char *key;

	if (!cmdline_split(&cmdline, boot.cmdline))
		cannot_run("command line has too many words", NULL);
	if ((key = cmdline_check(&cmdline, options, ARRAY_SIZE(options))))
		cannot_run("unknown option or bad value", key);
	for (u32 i = 0; i < cmdline.nr; i++)
		if (!cmdline.word[i].value && !find_work(cmdline.word[i].key)) {
			usage();
			cannot_run("unknown workload", cmdline.word[i].key);
		}
}

static void find_nestling(struct nest *n)
{
	nest_find(n);
	if (!n->present) {
		printf("guest: no Nestling below: CPUID 40000000h says eax=%x \"%s\"\n", n->max_leaf, n->signature);
		nest_exit(EXIT_NO_NESTLING);
	}
	console_set_burst(BURST_NESTLING);
	if (n->version != NEST_ABI_VERSION)
		cannot_run("the Nestling below speaks another version of the ABI", NULL);
}

static void bring_up(u32 magic, u32 mbi, struct nest *n)
{
	const char *err;

	if (magic != MB2_BOOT_MAGIC)
		cannot_run("not started by a Multiboot2 loader", NULL);
	if ((err = boot_parse(&boot, (const void *)(u64)mbi, LOW_LIMIT - mbi)))
		cannot_run(err, NULL);
	find_nestling(n);
	if ((err = memory_init(&boot)))
		cannot_run(err, NULL);
	if (!clock_init())
		cannot_run("CPUID does not tell the TSC's frequency", NULL);
	if (!apic_init())
		cannot_run("no x2APIC", NULL);
	check_cmdline();
	int e = nest_record_register();
	if (e)
		cannot_run("HC_RECORD_PAGE failed", NULL);
	nest_phase(PHASE_BOOT);
	printf("guest: depth %u, %u NIC port(s), features %x, TSC %llu kHz, RAM to %llx, command line \"%s\"\n", n->depth,
	       n->nr_ports, n->features, (ull)clock_khz(), (ull)memory_top(), boot.cmdline);
}

static u32 run_all(void)
{
	u32 failed = 0;

	for (u32 i = 0; i < cmdline.nr; i++) {
		const struct work *w = cmdline.word[i].value ? NULL : find_work(cmdline.word[i].key);
		if (!w)
			continue;
		u32 n = w->run(&cmdline);
		printf("guest: %s: %u failed\n", w->name, n);
		failed += n;
	}
	return failed;
}

void guest_main(u32 magic, u32 mbi)
{
	struct nest n;

	console_init();
	tsc_up = rdtsc();
	printf("guest: up, tsc %llu\n", (ull)tsc_up);
	traps_init();
	bring_up(magic, mbi, &n);
	u32 failed = run_all();
	nest_phase(PHASE_END);
	printf("@report {\"guest\":\"end\",\"depth\":%u,\"tsc_entry\":%llu,\"tsc_up\":%llu,\"tsc_khz\":%llu,\"irqs\":%llu,"
	       "\"irqs_unbound\":%llu,\"irqs_empty\":%llu,\"failed\":%u}\n", n.depth, (ull)guest_tsc_entry, (ull)tsc_up, (ull)clock_khz(),
	       (ull)irq_taken(), (ull)irq_unbound(), (ull)irq_empty(), failed);
	fflush(stdout);
	nest_call(HC_REPORT, 0, 0, 0, 0);
	nest_exit(failed ? EXIT_FAILED : EXIT_GOOD);
}
