/*
 * State that must be right or the vCPU's own: an exception in real mode, XCR0 beside another guest on the same CPU.
 */
#include <string.h>

#include "guest/lib/clock.h"
#include "guest/lib/x86.h"
#include "guest/work/modes.h"
#include "guest/work/work.h"

/* SDM 3A, Real-Address Mode: exceptions push IP, CS, FLAGS and no error code. The hypervisor injects this one. */
u32 work_real_mode(const struct cmdline *c)
{
	(void)c;
	memcpy((void *)LOW_BASE, low_start, (u64)(low_end - low_start));
	real_mode_gp();
	u32 failed = work_check_result(real_mode_pushed, 6, "real-mode-gp-has-no-error-code");
	failed += work_check_result(real_mode_frame[0], real_mode_rdmsr, "real-mode-gp-points-to-rdmsr");
	return failed + work_check_result(real_mode_frame[1], 0, "real-mode-gp-cs") +
	       work_check(read_cr0() & CR0_PG, "long-mode-again");
}

#define CPUID1_ECX_XSAVE BIT(26)
#define XCR0_US 60000 /* many slices of a shared CPU */
u32 work_xcr0(const struct cmdline *c)
{
	u64 mine = cmdline_u64(c, "xcr0", 1), wrong = 0, old;

	if (!(cpuid(1, 0).ecx & CPUID1_ECX_XSAVE))
		return work_check(false, "xsave");
	write_cr4(read_cr4() | CR4_OSXSAVE);
	old = xgetbv(0);
	xsetbv(0, mine);
	for (u64 end = clock_deadline(XCR0_US); !clock_passed(end);)
		wrong += xgetbv(0) != mine;
	xsetbv(0, 1);
	return work_check_result((s64)old, 1, "xcr0-after-reset") + work_check_result((s64)wrong, 0, "xcr0-stays");
}
