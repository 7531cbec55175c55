/*
 * Our own calls to the Nestling beneath us.
 *
 * Invariant: each CPU has one record page, registered with the outer before its first use and never moved. CPUID exits, so
 * what it says about the outer is asked once.
 */
#include "core/abi.h"
#include "core/console.h"
#include "core/errno.h"
#include "core/hypercall.h"
#include "core/percpu.h"

static struct { bool present; u32 features, ports, depth; } outer;
static u32 asked; /* set, with release, after outer was filled; filling it twice is harmless */

static u8 records[MAX_CPUS][PAGE_SIZE] __aligned_to(PAGE_SIZE);
static bool registered[MAX_CPUS]; /* written by its CPU only */

static void ask(void)
{
	if (__atomic_load_n(&asked, __ATOMIC_ACQUIRE))
		return;
	struct cpuid_regs r = cpuid(NEST_CPUID_BASE, 0);
	if (cpuid(1, 0).ecx & BIT(31) && r.ebx == NEST_SIG_EBX && r.ecx == NEST_SIG_ECX && r.edx == NEST_SIG_EDX &&
	    r.eax >= NEST_CPUID_DEPTH) {
		outer.depth = cpuid(NEST_CPUID_DEPTH, 0).eax;
		r = cpuid(NEST_CPUID_FEATURES, 0);
		outer.features = r.ebx;
		outer.ports = r.ecx;
		outer.present = true;
	}
	__atomic_store_n(&asked, 1, __ATOMIC_RELEASE);
}

bool outer_present(void)
{
	ask();
	return outer.present;
}

u32 outer_depth(void)
{
	ask();
	return outer.depth;
}

u32 outer_features(void)
{
	ask();
	return outer.features;
}

u32 outer_ports(void)
{
	ask();
	return outer.ports;
}

s64 outer_call(u64 nr, u64 a0, u64 a1, u64 a2, u64 a3)
{
	if (!outer_present())
		return -ENOSYS;
	if (nr != HC_RECORD_PAGE)
		outer_record(); /* answers come there, too */
	return vmcall(nr, a0, a1, a2, a3, 0, 0);
}

void *outer_record(void)
{
	u32 cpu = this_cpu()->index;

	if (!registered[cpu] && outer_present()) {
		s64 err = outer_call(HC_RECORD_PAGE, image_to_hpa(records[cpu]).v, 0, 0, 0);
		if (err)
			log_line("outer: refuses CPU %u's record page (%d): calls with records will fail", cpu, (int)err);
		registered[cpu] = !err;
	}
	return records[cpu];
}
