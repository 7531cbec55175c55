/*
 * Bochs's instrumentation points. Debian's build calls them and leaves them empty ("endbr64; ret", 16 bytes apart):
 * those we want are made to jump here.
 *
 * Invariant: a function is overwritten only if it has exactly the expected empty body; otherwise the machine works
 * without what the hook would have told, and the log says so.
 */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/machine/plugin/plugin.h"

void bochs_hook_hlt(void) BOCHS("_Z12bx_instr_hltj");
void bochs_hook_hwinterrupt(void) BOCHS("_Z20bx_instr_hwinterruptjjtm");
void bochs_hook_reset(void) BOCHS("_Z14bx_instr_resetjj");
void bochs_hook_vmexit(void) BOCHS("_Z15bx_instr_vmexitjjm");

static bool ready;
static uint32_t halted; /* one bit per CPU: it executed HLT and has not been seen to leave it */

static void on_hlt(uint32_t cpu)
{
	halted |= 1u << cpu;
}

static void on_hwinterrupt(uint32_t cpu, uint32_t vector, uint16_t cs, uint64_t rip)
{
	(void)vector;
	(void)cs;
	(void)rip;
	halted &= ~(1u << cpu);
}

static void on_reset(uint32_t cpu, uint32_t type)
{
	(void)type;
	halted &= ~(1u << cpu);
}

static void on_vmexit(uint32_t cpu, uint32_t reason, uint64_t qualification)
{
	(void)qualification;
	halted &= ~(1u << cpu);
	if (cpu < MAILBOX_CPUS && reason < EXIT_REASONS) {
		volatile uint64_t *n = &mailbox_exits()->by_reason[cpu][reason];

		*n = *n + 1;
	}
}

static bool patch(void (*at)(void), void *to)
{
	static const uint8_t empty[5] = { 0xF3, 0x0F, 0x1E, 0xFA, 0xC3 };
	uint8_t jump[14] = { 0xFF, 0x25, 0, 0, 0, 0 }; /* jmp *(next 8 bytes) */
	uintptr_t addr = (uintptr_t)at, page = addr & ~0xFFFul;

	if (memcmp((void *)addr, empty, sizeof empty) || addr % 16)
		return false;
	memcpy(jump + 6, &to, 8);
	if (mprotect((void *)page, 0x1000, PROT_READ | PROT_WRITE | PROT_EXEC))
		return false;
	memcpy((void *)addr, jump, sizeof jump);
	return mprotect((void *)page, 0x1000, PROT_READ | PROT_EXEC) == 0;
}

void hooks_init(void)
{
	ready = patch(bochs_hook_vmexit, on_vmexit) && patch(bochs_hook_reset, on_reset) &&
		patch(bochs_hook_hwinterrupt, on_hwinterrupt) && patch(bochs_hook_hlt, on_hlt);
	if (!ready)
		log_line("no instrumentation in this Bochs: no exit counts, idle time is not held back");
}

bool hooks_all_halted(void)
{
	return ready && halted == (1u << bx_cpu_count) - 1;
}
