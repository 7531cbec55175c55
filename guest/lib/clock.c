/*
 * The TSC's frequency (clock.h).
 */
#include "guest/lib/clock.h"

#include "core/abi.h"

#define CPUID_TSC_CRYSTAL 0x15

static u64 khz;

static u64 crystal_khz(void)
{
	if (cpuid(0, 0).eax < CPUID_TSC_CRYSTAL)
		return 0;
	struct cpuid_regs r = cpuid(CPUID_TSC_CRYSTAL, 0); /* SDM 2A, CPUID: ECX Hz * EBX / EAX */
	return r.eax ? (u64)r.ecx * r.ebx / r.eax / 1000 : 0;
}

bool clock_init(void)
{
	if (cpuid(NEST_CPUID_BASE, 0).eax >= NEST_CPUID_TSC)
		khz = cpuid(NEST_CPUID_TSC, 0).eax;
	if (!khz)
		khz = crystal_khz();
	return khz != 0;
}

u64 clock_khz(void) { return khz; }
