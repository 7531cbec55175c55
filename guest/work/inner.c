/*
 * A small hypervisor with a guest of its own: what exits of that guest cost at the level below, to the instruction (inner_loop.S).
 *
 * Invariant: its guest runs in the same address space, on the same tables and registers; nothing of it outlives the workload: VMX
 * operation is left and CR4 is as it was. Each kind runs with a VMCS region and, where the level below has them, with a VMCS page.
 */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "guest/lib/memory.h"
#include "guest/lib/nest.h"
#include "guest/lib/x86.h"
#include "guest/work/inner.h"
#include "guest/work/work.h"
#include "vmx/vmcs_fields.h"
#include "vmx/vmx.h"

typedef unsigned long long ull;

#define PAGES 500               /* of the block, that fills and cold faults touch; the last one stays for loads */
#define BLOCK_LAST (SIZE_2M - PAGE_SIZE)
#define SHOWN_MAX 16
/* SDM 3C, The Extended Page Table Mechanism */
#define EPT_RWX 7ull
#define EPT_WB (6ull << 3)
#define EPT_LARGE BIT(7)
#define EPTP_WB_4 (6ull | 3ull << 3) /* write-back tables, four levels */

_Static_assert(RUN_LAUNCH == offsetof(struct inner_run, launch) && RUN_PAGE == offsetof(struct inner_run, page) &&
	       RUN_SKIP == offsetof(struct inner_run, skip) && RUN_REASON == offsetof(struct inner_run, reason), "inner.h, for assembly");
#define SAME_PLACE(name) (AT_##name == offsetof(struct nest_vmcs_page, field) + 8 * NEST_VMCS_SLOT(VMCS_##name))
_Static_assert(SAME_PLACE(EXIT_REASON) && SAME_PLACE(EXIT_QUALIFICATION) && SAME_PLACE(GUEST_RIP) && SAME_PLACE(EXIT_INSN_LEN) &&
	       SAME_PLACE(GUEST_INTERRUPTIBILITY) && SAME_PLACE(IDT_VECTORING_INFO) && SAME_PLACE(EXIT_INTR_INFO) &&
	       SAME_PLACE(GUEST_RFLAGS) && SAME_PLACE(ENTRY_INTR_INFO), "inner.h, for assembly");

static struct {
	u64 *vmxon, *vmcs, *msr_bitmap, *io_bitmaps, *stacks;
	struct nest_vmcs_page *page;
	struct nest_vmx_assist *assist;
	u64 *pml4, *pdpt, *pd, *pt;
	u64 block;               /* 2 MiB mapped by pt, all else by large pages */
	struct inner_run run;
	bool by_page, refused;
} in;

static struct { char phase[32]; u64 count, ticks, own; } shown[SHOWN_MAX];
static u32 nr_shown;

static u64 eptp(void) { return (u64)in.pml4 | EPTP_WB_4; }

/* ---- its VMCS ---- */
static void put(enum vmcs_field field, u64 value)
{
	if (in.by_page)
		in.page->field[NEST_VMCS_SLOT(field)] = value;
	else
		in.refused |= vmx_vmwrite(field, value) != 0;
}

/* Of what is wanted all that may be, and what must be. */
static u64 controls(u32 msr, u64 wanted)
{
	u64 allowed = rdmsr(msr);

	return (wanted | (u32)allowed) & allowed >> 32;
}

static void put_controls(void)
{
	put(VMCS_PIN_CONTROLS, controls(MSR_VMX_TRUE_PINBASED, PIN_EXT_INT | PIN_NMI));
	put(VMCS_PROC_CONTROLS, controls(MSR_VMX_TRUE_PROCBASED, PROC_HLT | PROC_MSR_BITMAPS | PROC_IO_BITMAPS | PROC_SECONDARY));
	put(VMCS_PROC2_CONTROLS, controls(MSR_VMX_PROCBASED2, PROC2_EPT | PROC2_VPID));
	put(VMCS_EXIT_CONTROLS, controls(MSR_VMX_TRUE_EXIT, EXIT_HOST_64 | EXIT_ACK_INT | EXIT_SAVE_EFER | EXIT_LOAD_EFER | EXIT_SAVE_PAT |
							    EXIT_LOAD_PAT));
	put(VMCS_ENTRY_CONTROLS, controls(MSR_VMX_TRUE_ENTRY, ENTRY_IA32E | ENTRY_LOAD_EFER | ENTRY_LOAD_PAT));
	put(VMCS_VPID, 1);
	put(VMCS_MSR_BITMAP, (u64)in.msr_bitmap);
	put(VMCS_IO_BITMAP_A, (u64)in.io_bitmaps);
	put(VMCS_IO_BITMAP_B, (u64)in.io_bitmaps + PAGE_SIZE);
	put(VMCS_EPTP, eptp());
	put(VMCS_VMCS_LINK_PTR, ~0ull);
	put(VMCS_EXCEPTION_BITMAP, 0);
	put(VMCS_CR3_TARGET_COUNT, 0);
	put(VMCS_EXIT_MSR_STORE_COUNT, 0);
	put(VMCS_EXIT_MSR_LOAD_COUNT, 0);
	put(VMCS_ENTRY_MSR_LOAD_COUNT, 0);
	put(VMCS_ENTRY_INTR_INFO, 0);
	put(VMCS_CR0_MASK, 0);
	put(VMCS_CR4_MASK, 0);
}

#define AR_CODE_64 0xa09b
#define AR_DATA 0xc093
#define AR_TSS 0x8b
#define TSS_LIMIT 0x67
extern u64 guest_gdt[];
static u64 tss_base(void)
{
	const u64 *d = &guest_gdt[SEL_TSS / 8];

	return FIELD_GET(BITS(39, 16), d[0]) | FIELD_GET(BITS(63, 56), d[0]) << 24 | (d[1] & BITS(31, 0)) << 32;
}

static void put_segments(void)
{
	for (u32 s = 0; s < 6; s++) { /* ES CS SS DS FS GS: two encodings apart each */
		put(VMCS_GUEST_ES_SEL + 2 * s, s == 1 ? SEL_CODE : SEL_DATA);
		put(VMCS_GUEST_ES_BASE + 2 * s, 0);
		put(VMCS_GUEST_ES_LIMIT + 2 * s, ~0u);
		put(VMCS_GUEST_ES_AR + 2 * s, s == 1 ? AR_CODE_64 : AR_DATA);
		put(VMCS_HOST_ES_SEL + 2 * s, s == 1 ? SEL_CODE : SEL_DATA);
	}
	put(VMCS_GUEST_TR_SEL, SEL_TSS);
	put(VMCS_GUEST_TR_BASE, tss_base());
	put(VMCS_GUEST_TR_LIMIT, TSS_LIMIT);
	put(VMCS_GUEST_TR_AR, AR_TSS);
	put(VMCS_GUEST_LDTR_SEL, 0);
	put(VMCS_GUEST_LDTR_BASE, 0);
	put(VMCS_GUEST_LDTR_LIMIT, 0);
	put(VMCS_GUEST_LDTR_AR, SEG_AR_UNUSABLE);
	put(VMCS_HOST_TR_SEL, SEL_TSS);
	put(VMCS_HOST_TR_BASE, tss_base());
	put(VMCS_HOST_FS_BASE, rdmsr(MSR_FS_BASE));
	put(VMCS_HOST_GS_BASE, rdmsr(MSR_GS_BASE));
}

/* Guest and host state alike: as it is now. */
#define PUT_BOTH(name, value) do { put(VMCS_GUEST_##name, value); put(VMCS_HOST_##name, value); } while (0)
static void put_state(void)
{
	struct desc_ptr gdt, idt;

	sgdt(&gdt);
	sidt(&idt);
	PUT_BOTH(CR0, read_cr0());
	PUT_BOTH(CR3, read_cr3());
	PUT_BOTH(CR4, read_cr4());
	PUT_BOTH(EFER, rdmsr(MSR_EFER));
	PUT_BOTH(PAT, rdmsr(MSR_PAT));
	PUT_BOTH(GDTR_BASE, gdt.base);
	PUT_BOTH(IDTR_BASE, idt.base);
	PUT_BOTH(SYSENTER_CS, 0);
	PUT_BOTH(SYSENTER_ESP, 0);
	PUT_BOTH(SYSENTER_EIP, 0);
	put(VMCS_GUEST_GDTR_LIMIT, 0xffff);
	put(VMCS_GUEST_IDTR_LIMIT, 0xffff);
	put(VMCS_GUEST_DR7, 0x400);
	put(VMCS_GUEST_DEBUGCTL, 0);
	put(VMCS_GUEST_RFLAGS, RFLAGS_FIXED);
	put(VMCS_GUEST_RSP, (u64)in.stacks + PAGE_SIZE);
	put(VMCS_GUEST_INTERRUPTIBILITY, 0);
	put(VMCS_GUEST_ACTIVITY, ACTIVITY_ACTIVE);
	put(VMCS_GUEST_PENDING_DBG, 0);
	put_segments();
	put(VMCS_HOST_RSP, (u64)in.stacks + 2 * PAGE_SIZE); /* inner_run has its own; none is used between exit and entry */
	put(VMCS_HOST_RIP, (u64)(in.by_page ? inner_exit_page : inner_exit_region));
}

/* ---- its EPT ---- */
static void make_ept(void)
{
	in.pml4[0] = (u64)in.pdpt | EPT_RWX;
	in.pdpt[0] = (u64)in.pd | EPT_RWX;
	for (u64 i = 0; i < 512; i++)
		in.pd[i] = i * SIZE_2M | EPT_RWX | EPT_WB | EPT_LARGE;
	in.pd[in.block / SIZE_2M] = (u64)in.pt | EPT_RWX;
	for (u64 i = 0; i < 511; i++)
		in.pt[i] = (in.block + i * PAGE_SIZE) | EPT_RWX | EPT_WB;
}

static void block_present(bool present)
{
	for (u64 i = 1; i <= PAGES; i++)
		in.pt[i] = present ? (in.block + i * PAGE_SIZE) | EPT_RWX | EPT_WB : 0;
}

static void flush(void)
{
	const u64 desc[2] = { eptp(), 0 };

	in.refused |= vmx_invept(rdmsr(MSR_VMX_EPT_VPID) & EPT_CAP_INVEPT_SINGLE ? 1 : 2, desc) != 0;
}

/* ---- runs ---- */
/* "inner-page-fill": the kind's name in phases, reports and checks. */
static const char *name_of(const char *kind)
{
	static char name[32];

	strcpy(name, in.by_page ? "inner-page-" : "inner-region-");
	return strncat(name, kind, sizeof(name) - 1 - strlen(name));
}

static void note(const char *kind, u64 count, u64 ticks, u64 own)
{
	if (nr_shown == SHOWN_MAX)
		return;
	strcpy(shown[nr_shown].phase, name_of(kind));
	shown[nr_shown].count = count;
	shown[nr_shown].ticks = ticks;
	shown[nr_shown++].own = own;
}

static u32 run(const void *code, u64 rdi, u64 rcx, u64 expected, u64 skip, u64 count)
{
	put(VMCS_GUEST_RIP, (u64)code);
	in.run.rdi = rdi;
	in.run.rcx = rcx;
	in.run.expected = expected;
	in.run.skip = skip;
	in.run.count = count;
	u32 result = inner_run(&in.run);
	in.run.launch = 0;
	return result;
}

/* Exits that are the inner's: the same exit again and again. The first ones fill what is cold. */
static u32 reflected(const char *kind, const void *code, u64 rdi, u64 reason, u64 skip, u64 n)
{
	u32 warm = run(code, rdi, 0, reason, skip, 8);

	nest_phase(name_of(kind));
	u64 start = rdtsc();
	u32 result = run(code, rdi, 0, reason, skip, n);
	u64 ticks = rdtsc() - start;
	nest_phase(PHASE_END);
	note(kind, n, ticks, in.by_page ? INNER_OWN_PAGE : INNER_OWN_REGION);
	return warm | result;
}

/* What is flushed is cold for the code and the tables, too: the block's first page warms them up. */
static u32 warm_up(void)
{
	flush();
	return run(inner_guest_touch, in.block, 1, XR_VMCALL, INNER_LEN_VMCALL, 1);
}

/* Pages that the inner's tables have and the CPU's have not, or, after a premap, have as well. */
static u32 touched(const char *kind)
{
	u32 warm = warm_up();

	nest_phase(name_of(kind));
	u64 start = rdtsc();
	u32 result = run(inner_guest_touch, in.block + PAGE_SIZE, PAGES, XR_VMCALL, INNER_LEN_VMCALL, 1);
	u64 ticks = rdtsc() - start;
	nest_phase(PHASE_END);
	note(kind, PAGES, ticks, INNER_OWN_TOUCH);
	return warm | result;
}

/* Pages that the inner maps when it is told of the fault. */
static u32 cold(void)
{
	u64 faults = 0;

	block_present(false);
	u32 bad = warm_up();
	nest_phase(name_of("cold"));
	u64 start = rdtsc();
	u32 result = run(inner_guest_touch, in.block + PAGE_SIZE, PAGES, XR_EPT_VIOLATION, 0, 1);
	while (result == INNER_DONE && faults <= PAGES) {
		faults++;
		in.pt[(in.run.rdi - in.block) / PAGE_SIZE] = in.run.rdi | EPT_RWX | EPT_WB;
		in.run.count = 1;
		result = inner_run(&in.run);
	}
	u64 ticks = rdtsc() - start;
	nest_phase(PHASE_END);
	note("cold", PAGES, ticks, 0);
	return bad | (result != INNER_OTHER_EXIT || in.run.reason != XR_VMCALL || faults != PAGES);
}

static u32 premapped(void)
{
	struct nest_premap *list = nest_record();
	u32 failed = 0;

	list[0] = (struct nest_premap){ in.block, SIZE_2M };
	failed += work_check_result(nest_call(HC_EPT_PREMAP, eptp(), 1, 0, 0), BLOCK_LAST, "inner-premap-block");
	failed += touched("premap");
	/* A large page, and where nothing is mapped. */
	list[0] = (struct nest_premap){ in.block, 0 };
	list[1] = (struct nest_premap){ SIZE_1G, SIZE_2M };
	failed += work_check_result(nest_call(HC_EPT_PREMAP, eptp(), 2, 0, 0), 0, "inner-premap-nothing");
	list[0] = (struct nest_premap){ PAGE_SIZE + 1, PAGE_SIZE };
	failed += work_check_result(nest_call(HC_EPT_PREMAP, eptp(), 1, 0, 0), -EINVAL, "inner-premap-misaligned");
	list[0] = (struct nest_premap){ ~0xfffull, SIZE_2M };
	failed += work_check_result(nest_call(HC_EPT_PREMAP, eptp(), 1, 0, 0), -EINVAL, "inner-premap-wraps");
	failed += work_check_result(nest_call(HC_EPT_PREMAP, eptp() | BIT(11), 0, 0, 0), -EINVAL, "inner-premap-eptp");
	failed += work_check_result(nest_call(HC_EPT_PREMAP, eptp(), NEST_PREMAP_MAX + 1, 0, 0), -EINVAL, "inner-premap-many");
	failed += work_check_result(nest_call(HC_EPT_PREMAP, eptp(), 0, 0, 0), 0, "inner-premap-none");
	return failed;
}

static void vmreads(u64 n)
{
	nest_phase(name_of("vmread"));
	u64 start = rdtsc();
	inner_vmread(n, VMCS_GUEST_RIP);
	u64 ticks = rdtsc() - start;
	nest_phase(PHASE_END);
	note("vmread", n, ticks, 3);
}

static u32 check(bool ok, const char *what) { return work_check(ok, name_of(what)); }

static u32 prepare(void)
{
	in.run = (struct inner_run){ .page = in.page, .launch = 1 };
	in.refused = false;
	make_ept();
	put_controls();
	put_state();
	return check(!in.refused, "vmcs");
}

static u32 all_kinds(u64 n, u32 features)
{
	u32 failed = 0;

	failed += check(!reflected("vmcall", inner_guest_vmcall, 0, XR_VMCALL, INNER_LEN_VMCALL, n), "vmcall");
	failed += check(!reflected("violation", inner_guest_load, in.block + BLOCK_LAST, XR_EPT_VIOLATION, INNER_LEN_LOAD, n), "violation");
	failed += check(!touched("fill"), "fill");
	failed += check(!cold(), "cold");
	if (features & NEST_FEAT_PREMAP)
		failed += premapped();
	if (!in.by_page)
		vmreads(n);
	return failed;
}

/* ---- life ---- */
static bool allocate(void)
{
	u64 *page = memory_pages(12), block = (u64)memory_pages(1024);
	u64 **const use[] = { &in.vmxon, &in.vmcs, &in.msr_bitmap, &in.pml4, &in.pdpt, &in.pd, &in.pt };

	if (!page || !block)
		return false;
	for (u32 i = 0; i < ARRAY_SIZE(use); i++, page += 512)
		*use[i] = page;
	in.page = (void *)page;
	in.assist = (void *)(page + 512);
	in.io_bitmaps = page + 2 * 512;
	in.stacks = in.io_bitmaps; /* no port is used: a bitmap of anything will do */
	in.block = ALIGN_UP(block, SIZE_2M);
	*(u32 *)in.vmxon = *(u32 *)in.vmcs = (u32)rdmsr(MSR_VMX_BASIC) & 0x7fffffff;
	in.page->revision = NEST_VMCS_REVISION;
	in.assist->vmcs_page = (u64)in.page;
	in.assist->flags = NEST_ASSIST_STEADY;
	return true;
}

static bool vmx_on(void)
{
	u64 region = (u64)in.vmxon, vmcs = (u64)in.vmcs;

	if (!(rdmsr(MSR_FEATURE_CONTROL) & FEATURE_CONTROL_LOCK))
		wrmsr(MSR_FEATURE_CONTROL, FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMXON);
	write_cr0((read_cr0() | rdmsr(MSR_VMX_CR0_FIXED0)) & rdmsr(MSR_VMX_CR0_FIXED1));
	write_cr4(read_cr4() | rdmsr(MSR_VMX_CR4_FIXED0));
	return !vmx_vmxon(&region) && !vmx_vmclear(&vmcs) && !vmx_vmptrld(&vmcs);
}

static void report(void)
{
	for (u32 i = 0; i < nr_shown; i++)
		printf("@report {\"guest\":\"inner\",\"phase\":\"%s\",\"count\":%llu,\"ticks\":%llu,\"own\":%llu}\n", shown[i].phase,
		       (ull)shown[i].count, (ull)shown[i].ticks, (ull)shown[i].own);
}

u32 inner_session(u32 (*fn)(u64 n, u32 features), u64 n)
{
	u64 cr4 = read_cr4(), page;
	struct nest nest;
	u32 failed;

	nest_find(&nest);
	if (!(cpuid(1, 0).ecx & BIT(5)) || !allocate() || !vmx_on())
		return work_check(false, "inner-vmx-on");
	page = (u64)in.page;
	failed = prepare() + fn(n, nest.features);
	if (nest.features & NEST_FEAT_VMCS_PAGE) {
		in.by_page = true;
		failed += work_check_result(nest_call(HC_VMX_ASSIST, (u64)in.assist, 0, 0, 0), 0, "inner-assist");
		failed += prepare() + fn(n, nest.features);
		in.assist->vmcs_page = NEST_VMCS_NONE;
		failed += work_check(!vmx_vmclear(&page), "inner-page-clear");
		nest_call(HC_VMX_ASSIST, ~0ull, 0, 0, 0);
	}
	failed += work_check(!vmx_vmxoff(), "inner-vmx-off");
	write_cr4(cr4);
	return failed;
}

u32 work_inner(const struct cmdline *c)
{
	u32 failed = inner_session(all_kinds, cmdline_u64(c, "count", 1000));

	nest_phase(PHASE_END);
	report();
	return failed;
}

/* ---- for other workloads ---- */
void inner_put(u64 field, u64 value) { put((enum vmcs_field)field, value); }

u64 inner_get(u64 field)
{
	u64 value = 0;

	if (in.by_page)
		return in.page->field[NEST_VMCS_SLOT(field)];
	in.refused |= vmx_vmread(field, &value) != 0;
	return value;
}

u32 inner_start(const void *code, u64 reason, u64 skip, u64 count) { return run(code, 0, 0, reason, skip, count); }
const char *inner_name(const char *kind) { return name_of(kind); }
