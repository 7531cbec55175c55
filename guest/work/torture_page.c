/*
 * VMCS pages (core/abi.h) that are no such thing: bad addresses, another revision, rubbish in every field, group bits that lie.
 *
 * Invariant: in VMX operation, without a current VMCS, before and after; nothing is ever launched: the host state is rubbish, too.
 */
#include <string.h>

#include "guest/lib/memory.h"
#include "guest/lib/nest.h"
#include "guest/lib/x86.h"
#include "guest/work/torture_page.h"
#include "guest/work/work.h"

#define INVALID (-1) /* VMfailInvalid; else 0 or the VM-instruction error, which the page holds */
#define FIELD_PIN 0x4000
#define FIELD_ERROR 0x4400
#define ROUNDS 3000

static struct nest_vmx_assist *assist;
static struct nest_vmcs_page *page;
static u64 seed = 1;

static u64 next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	return seed ^= seed << 17;
}

static s64 result(u32 flags)
{
	if (flags & 1)
		return INVALID;
	return flags ? (s64)page->field[NEST_VMCS_SLOT(FIELD_ERROR)] : 0;
}

static u32 launch(u64 gpa, s64 want, const char *name)
{
	assist->vmcs_page = gpa;
	return work_check_result(result(vmx_vmlaunch()), want, name);
}

static u32 bad_pages(u64 vmxon_region)
{
	u32 failed = launch((u64)page + 8, INVALID, "vmcs-page-misaligned") + launch(BIT(51), INVALID, "vmcs-page-nowhere");

	failed += launch(0xfee00000, INVALID, "vmcs-page-not-ram") + launch(vmxon_region, INVALID, "vmcs-page-is-vmxon-region");
	page->revision = NEST_VMCS_REVISION + 1;
	failed += launch((u64)page, INVALID, "vmcs-page-other-revision");
	page->revision = NEST_VMCS_REVISION;
	return failed + launch((u64)page, 7, "vmcs-page-empty");
}

/* A page is current: VMREAD and VMWRITE are not for it. */
static u32 with_page(void)
{
	u64 value = 0;
	u32 failed = work_check_result(result(vmx_vmread(FIELD_PIN, &value)), INVALID, "vmread-of-a-vmcs-page");

	failed += work_check_result(result(vmx_vmwrite(FIELD_PIN, 0)), INVALID, "vmwrite-of-a-vmcs-page");
	failed += work_check(!vmx_vmptrst(&value) && value == ~0ull, "vmptrst-says-no-page");
	return failed + work_check_result(result(vmx_vmresume()), 5, "vmresume-of-a-fresh-page");
}

static u64 rubbish(void)
{
	switch (next_random() % 4) {
	case 0:
		return 0;
	case 1:
		return ~0ull;
	default:
		return next_random();
	}
}

/* Error 7 or 8, whatever is in it and whatever it says about that. */
static u32 random_pages(void)
{
	u32 wrong = 0;

	for (u32 i = 0; i < ROUNDS; i++) {
		for (u32 f = 0; f < NEST_VMCS_SLOTS; f++)
			page->field[f] = rubbish();
		page->clean = (u32)rubbish();
		page->delegate = rubbish();
		s64 r = result(vmx_vmlaunch());
		wrong += r != 7 && r != 8;
	}
	return work_check(wrong == 0, "vmcs-pages-full-of-rubbish");
}

u32 torture_vmcs_pages(u64 vmxon_region)
{
	if (!(cpuid(NEST_CPUID_FEATURES, 0).ebx & NEST_FEAT_VMCS_PAGE))
		return 0;
	assist = memory_pages(2);
	if (work_check(assist, "memory-for-vmcs-pages"))
		return 1;
	page = (struct nest_vmcs_page *)((u8 *)assist + PAGE_SIZE);
	memset(assist, 0, 2 * PAGE_SIZE);
	assist->vmcs_page = page->delegate = NEST_VMCS_NONE;
	u32 failed = work_check_result(nest_call(HC_VMX_ASSIST, (u64)assist, 0, 0, 0), 0, "assist-page");
	failed += bad_pages(vmxon_region) + with_page() + random_pages();
	assist->vmcs_page = NEST_VMCS_NONE;
	failed += work_check_result(result(vmx_vmlaunch()), INVALID, "vmcs-page-none");
	return failed + work_check_result(nest_call(HC_VMX_ASSIST, ~0ull, 0, 0, 0), 0, "assist-page-gone");
}
