/*
 * The small hypervisor of inner.c on two processors: its guest waits for a SIPI, gets an INIT, or ignores them. With a VMCS page, too, and
 * so also where the level below delegates us.
 */
#include "core/types.h"
#include "guest/lib/ap.h"
#include "guest/work/inner.h"
#include "guest/work/work.h"
#include "vmx/vmcs_fields.h"
#include "vmx/vmx.h"

#define SOON 1000000u /* rounds: the guest is entered by then, three levels up as well */
#define NO_EXIT (-1)

/* The qualification of the guest's exit in this state, while the other processor sends these. */
static s64 stay(u64 activity, u64 reason, const struct ap_ipi *list, u32 n)
{
	const u8 *code = activity == ACTIVITY_ACTIVE ? inner_guest_spin : inner_guest_vmcall;

	inner_put(VMCS_GUEST_ACTIVITY, activity);
	ap_send(list, n);
	u32 result = inner_start(code, reason, 0, 1);
	ap_stop();
	return result == INNER_DONE ? (s64)inner_get(VMCS_EXIT_QUALIFICATION) : NO_EXIT;
}
#define STAY(activity, reason, ...) stay(activity, reason, (struct ap_ipi[]){ __VA_ARGS__ }, \
	sizeof((struct ap_ipi[]){ __VA_ARGS__ }) / sizeof(struct ap_ipi))

static u32 goes_on(void)
{
	inner_put(VMCS_GUEST_ACTIVITY, ACTIVITY_ACTIVE);
	return work_check(!inner_start(inner_guest_vmcall, XR_VMCALL, INNER_LEN_VMCALL, 20), inner_name("goes-on"));
}

static u32 round(u32 vector)
{
	u32 failed = goes_on();

	failed += work_check_result(STAY(ACTIVITY_WAIT_SIPI, XR_SIPI, { SOON, IPI_SIPI(vector) }), vector, inner_name("sipi"));
	failed += work_check_result((s64)inner_get(VMCS_GUEST_ACTIVITY), ACTIVITY_WAIT_SIPI, inner_name("sipi-state"));
	failed += work_check_result(STAY(ACTIVITY_WAIT_SIPI, XR_SIPI, { SOON, IPI_SIPI(vector + 1) }), vector + 1, inner_name("sipi-again"));
	return failed + goes_on();
}

static u32 inits(void)
{
	u32 failed = 0;

	/* A SIPI for a guest that runs is lost; the INIT behind it is an exit. */
	failed += work_check_result(STAY(ACTIVITY_ACTIVE, XR_INIT, { SOON, IPI_SIPI(1) }, { SOON, IPI_INIT }, { SOON, IPI_NONE }), 0,
				    inner_name("init"));
	failed += work_check_result(STAY(ACTIVITY_WAIT_SIPI, XR_SIPI, { SOON, IPI_SIPI(2) }), 2, inner_name("init-then-sipi"));
	failed += goes_on();
	failed += work_check_result(STAY(ACTIVITY_WAIT_SIPI, XR_SIPI, { SOON, IPI_INIT }, { SOON, IPI_SIPI(3) }), 3,
				    inner_name("init-blocked"));
	failed += work_check_result(STAY(ACTIVITY_ACTIVE, XR_INIT, { SOON, IPI_NONE }), 0, inner_name("init-after"));
	return failed + goes_on();
}

static u32 all(u64 n, u32 features)
{
	u32 failed = 0;

	(void)features;
	for (u32 i = 0; i < n; i++)
		failed += round(0x40 + 2 * i);
	return failed + inits();
}

u32 work_inner_sipi(const struct cmdline *c)
{
	if (!ap_start())
		return work_check(false, "inner-second-processor");
	return inner_session(all, cmdline_u64(c, "count", 2));
}
