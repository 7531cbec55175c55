/*
 * conform.elf: conformance of VMX with the SDM, as a multiboot kernel that runs on the bare machine and as a guest at any
 * depth.
 *
 * Command line: names of groups (all without any), sample=n (every n-th encoding), blocks=n (every n-th block of random
 * states), rows=n (every n-th row of the tables). The last line is "conform: N passed, N failed"; the machine ends by the
 * exit port with 0, 1 (something failed) or 3 (cannot run).
 */
#include "core/multiboot2.h"

#include <stdio.h>
#include <string.h>

#include "guest/lib/console.h"
#include "guest/lib/memory.h"
#include "guest/lib/nest.h"
#include "guest/lib/traps.h"
#include "tests/conform/session.h"

#define EXIT_GOOD 0
#define EXIT_FAILED 1
#define EXIT_CANNOT_RUN 3
#define BURST_NESTLING 1024
#define LOW_LIMIT (4 * SIZE_1G)
#define MB1_BOOT_MAGIC 0x2badb002u
#define MB1_INFO_CMDLINE BIT(2)
#define X2APIC_LVT_TIMER (MSR_X2APIC_BASE + 0x32)
#define LVT_MASKED BIT(16)
#define PIC_MASTER_MASK 0x21
#define PIC_SLAVE_MASK 0xa1

struct mb1_info { u32 flags, mem_lower, mem_upper, boot_device, cmdline; };
void guest_main(u32 magic, u32 mbi) __noreturn; /* from guest/start.S */

static const struct { const char *name; void (*run)(u32 every); const char *option; } groups[] = {
	{ "insn", group_insn, "rows" },
	{ "fields", group_fields, "sample" },
	{ "entry", group_entry, "rows" },
	{ "exits", group_exits, "rows" },
	{ "events", group_events, "rows" },
	{ "steps", group_steps, "rows" },
	{ "translate", group_translate, "rows" },
	{ "random", group_random, "blocks" },
	{ "sipi", group_sipi, "rows" },
};

static struct boot boot;
static struct cmdline cmdline;

static void cannot_run(const char *why) __noreturn;
static void cannot_run(const char *why)
{
	printf("conform: cannot run: %s\n", why);
	nest_exit(EXIT_CANNOT_RUN);
}

static void boot_info1(const struct mb1_info *i)
{
	boot.map[0] = (struct boot_range){ 0x100000, (u64)i->mem_upper << 10, true };
	boot.nr_map = 1;
	if (i->flags & MB1_INFO_CMDLINE)
		strncpy(boot.cmdline, (const char *)(u64)i->cmdline, sizeof(boot.cmdline) - 1);
}

static void boot_info(u32 magic, u32 mbi)
{
	const char *err = NULL;

	if (magic == MB1_BOOT_MAGIC)
		boot_info1((const void *)(u64)mbi);
	else if (magic == MB2_BOOT_MAGIC)
		err = boot_parse(&boot, (const void *)(u64)mbi, LOW_LIMIT - mbi);
	else
		err = "not started by a multiboot loader";
	if (!err)
		err = memory_init(&boot);
	if (err)
		cannot_run(err);
}

static void find_console(void)
{
	struct nest n;

	nest_find(&n);
	if (n.present)
		console_set_burst(BURST_NESTLING);
}

/* Options stand among the words of GRUB: only those with "=" and the names of groups mean something. */
static bool wanted(const char *group)
{
	bool any = false;

	for (u32 i = 0; i < cmdline.nr; i++) {
		if (cmdline.word[i].value)
			continue;
		if (!strcmp(cmdline.word[i].key, group))
			return true;
		for (u32 k = 0; k < ARRAY_SIZE(groups); k++)
			any |= !strcmp(cmdline.word[i].key, groups[k].name);
	}
	return !any;
}

void guest_main(u32 magic, u32 mbi)
{
	const char *err;

	console_init();
	traps_init();
	boot_info(magic, mbi);
	find_console();
	env.x2apic = apic_init();
	if (env.x2apic)
		wrmsr(X2APIC_LVT_TIMER, LVT_MASKED);
	outb(PIC_MASTER_MASK, 0xff);
	outb(PIC_SLAVE_MASK, 0xff);
	if (!cmdline_split(&cmdline, boot.cmdline))
		cannot_run("command line too long");
	printf("conform: up, \"%s\"\n", boot.cmdline);
	if ((err = session_init()))
		cannot_run(err);
	for (u32 i = 0; i < ARRAY_SIZE(groups); i++)
		if (wanted(groups[i].name)) {
			report_group(groups[i].name);
			groups[i].run((u32)MAX(cmdline_u64(&cmdline, groups[i].option, 1), 1ull));
		}
	printf("conform: %u passed, %u failed\n", report_passed(), report_failed());
	nest_exit(report_failed() ? EXIT_FAILED : EXIT_GOOD);
}
