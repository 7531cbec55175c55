/*
 * Discovery of the Nestling below, the hypercall and the phases (nest.h).
 */
#include "guest/lib/nest.h"

#include <stdio.h>
#include <string.h>

#include "guest/lib/console.h"
#include "guest/lib/x86.h"

static u8 record_page[PAGE_SIZE] __aligned_to(PAGE_SIZE);
static char phase_names[16][sizeof(struct nest_phase)];
static u32 nr_phases;

void nest_find(struct nest *n)
{
	struct cpuid_regs r = cpuid(NEST_CPUID_BASE, 0);

	*n = (struct nest){ .max_leaf = r.eax };
	memcpy(n->signature, &r.ebx, 4);
	memcpy(n->signature + 4, &r.ecx, 4);
	memcpy(n->signature + 8, &r.edx, 4);
	for (u32 i = 0; i < 12; i++)
		if (n->signature[i] < ' ' || n->signature[i] > '~')
			n->signature[i] = '.';
	n->present = r.ebx == NEST_SIG_EBX && r.ecx == NEST_SIG_ECX && r.edx == NEST_SIG_EDX && r.eax >= NEST_CPUID_DEPTH;
	if (!n->present)
		return;
	r = cpuid(NEST_CPUID_FEATURES, 0);
	n->version = r.eax;
	n->features = r.ebx;
	n->nr_ports = r.ecx;
	n->depth = cpuid(NEST_CPUID_DEPTH, 0).eax;
}

s64 nest_call(u64 nr, u64 a0, u64 a1, u64 a2, u64 a3) { return vmcall(nr, a0, a1, a2, a3, 0, 0); }

void *nest_record(void) { return record_page; }

int nest_record_register(void) { return (int)nest_call(HC_RECORD_PAGE, (u64)record_page, 0, 0, 0); }

static u32 phase_number(const char *name)
{
	for (u32 i = 0; i < nr_phases; i++)
		if (!strcmp(phase_names[i], name))
			return i;
	ASSERT(nr_phases < ARRAY_SIZE(phase_names) && strlen(name) < sizeof(phase_names[0]));
	strcpy(phase_names[nr_phases], name);
	return nr_phases++;
}

void nest_phase(const char *name)
{
	u32 number = phase_number(name);
	struct nest_phase *rec = nest_record();

	fflush(stdout);
	memset(rec, 0, sizeof(*rec));
	strcpy(rec->name, name);
	s64 err = nest_call(HC_PHASE, number, (u64)rec, 0, 0);
	if (err)
		printf("guest: HC_PHASE(%u, %s) failed: %d\n", number, name, (int)err);
}

void nest_exit(u8 code)
{
	fflush(stdout);
	console_drain();
	outb(NEST_EXIT_PORT, code);
	cpu_halt_forever();
	__builtin_unreachable();
}
