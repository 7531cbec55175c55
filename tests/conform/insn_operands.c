/*
 * Operands of VMX instructions: every register, ways of naming memory, operands across pages, faults of each page.
 *
 * Invariant: page tables are as before at the end.
 */
#include <stdio.h>
#include <string.h>

#include "guest/lib/traps.h"
#include "tests/conform/session.h"

#define PTE_P BIT(0)
#define PTE_RW BIT(1)
#define PTE_US BIT(2)
#define PTE_PS BIT(7)
#define WINDOW (3 * SIZE_1G + 512 * SIZE_2M / 2) /* a linear address of nothing that tests give small pages */
#define MSR_FS 0xc0000100

extern u64 guest_pd[2048];
static u64 page_table[512] __aligned_to(4096);
static u8 two_pages[2 * 4096] __aligned_to(4096);

/* The window shows two_pages through entries with these rights; the page behind is not present. */
static u8 *window_open(u64 rights0, u64 rights1)
{
	memset(page_table, 0, sizeof(page_table));
	page_table[0] = (u64)two_pages | rights0;
	page_table[1] = ((u64)two_pages + 4096) | rights1;
	guest_pd[WINDOW / SIZE_2M] = (u64)page_table | PTE_P | PTE_RW | PTE_US;
	write_cr3(read_cr3());
	return (u8 *)WINDOW;
}

static void window_close(u64 entry)
{
	guest_pd[WINDOW / SIZE_2M] = entry;
	write_cr3(read_cr3());
}

static void expect_pf(const char *name, const char *saw, u32 error, u64 at)
{
	char want[48];

	sniprintf(want, sizeof(want), "#PF(%x) at %llx", error, (unsigned long long)at);
	report_text(name, saw, want);
}

static void across_pages(void)
{
	u8 *w = window_open(PTE_P | PTE_RW, PTE_P | PTE_RW);
	u64 region = (u64)vmcs_a, saw = 0;

	memcpy(two_pages + 4096 - 3, &region, 8);
	report_text("vmptrld/across-pages", attempt(OP_VMPTRLD, (u64)w + 4096 - 3, 0), "ok");
	memset(two_pages + 4096 - 5, 0x55, 8);
	report_text("vmptrst/across-pages", attempt(OP_VMPTRST, (u64)w + 4096 - 5, 0), "ok");
	memcpy(&saw, two_pages + 4096 - 5, 8);
	report_u64("vmptrst/across-pages-value", saw, region);
	report_text("vmwrite/field-across-pages", attempt(OP_VMWRITE, VMCS_GUEST_RSP, 0x1122334455667788), "ok");
	report_text("vmread/across-pages", attempt(OP_VMREAD, VMCS_GUEST_RSP, (u64)w + 4096 - 1), "ok");
	memcpy(&saw, two_pages + 4096 - 1, 8);
	report_u64("vmread/across-pages-value", saw, 0x1122334455667788);
}

static void second_page_missing(void)
{
	u8 *w = window_open(PTE_P | PTE_RW, 0);
	u64 saw = 0;

	memset(two_pages, 0xaa, sizeof(two_pages));
	expect_pf("vmptrld/second-page-missing", attempt(OP_VMPTRLD, (u64)w + 4096 - 3, 0), 0, (u64)w + 4096);
	expect_pf("vmptrst/second-page-missing", attempt(OP_VMPTRST, (u64)w + 4096 - 5, 0), 2, (u64)w + 4096);
	memcpy(&saw, two_pages + 4096 - 5, 5);
	report_u64("vmptrst/nothing-written-on-fault", saw, 0xaaaaaaaaaa);
	expect_pf("vmread/second-page-missing", attempt(OP_VMREAD, VMCS_GUEST_RSP, (u64)w + 4096 - 4), 2, (u64)w + 4096);
	expect_pf("invept/second-page-missing", attempt(OP_INVEPT, 2, (u64)w + 4096 - 8), 0, (u64)w + 4096);
}

static void rights(void)
{
	u8 *w = window_open(PTE_P, PTE_P | PTE_US | PTE_RW);
	u64 region = (u64)vmcs_a;

	memcpy(two_pages, &region, 8);
	report_text("vmptrld/read-only-page", attempt(OP_VMPTRLD, (u64)w, 0), "ok");
	expect_pf("vmptrst/read-only-page", attempt(OP_VMPTRST, (u64)w, 0), 3, (u64)w);
	expect_pf("vmread/read-only-page", attempt(OP_VMREAD, VMCS_GUEST_RSP, (u64)w + 8), 3, (u64)w + 8);
	report_text("vmptrst/user-page", attempt(OP_VMPTRST, (u64)w + 4096, 0), "ok");
	w = window_open(PTE_P | PTE_RW | BIT(env.maxpa), PTE_P);
	if (env.maxpa < 52)
		expect_pf("vmptrld/reserved-bit", attempt(OP_VMPTRLD, (u64)w, 0), 9, (u64)w);
}

static void accessed_dirty(void)
{
	u8 *w = window_open(PTE_P | PTE_RW, PTE_P | PTE_RW);
	u64 region = (u64)vmcs_a;

	memcpy(two_pages, &region, 8);
	report_text("vmptrld/page-not-accessed", attempt(OP_VMPTRLD, (u64)w, 0), "ok");
	report_u64("vmptrld/sets-accessed", page_table[0] >> 5 & 3, 1);
	report_text("vmptrst/page-not-accessed", attempt(OP_VMPTRST, (u64)w + 4096, 0), "ok");
	report_u64("vmptrst/sets-dirty", page_table[1] >> 5 & 3, 3);
}

static void vmwrite_memory(void *p) { *(u64 *)p = do_vmwrite_mem(VMCS_GUEST_RSP, (void *)BIT(62)); }

static void registers(void)
{
	static const char names[15][4] = { "rax", "rcx", "rdx", "rbx", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
	       "r15" };
	u64 value = 0x8877665544332211, saw = 0, flags;
	char name[48];

	for (u32 i = 0; i < 15; i++) {
		sniprintf(name, sizeof(name), "vmwrite/register-%s", names[i]);
		report_u64(name, regs_roundtrip(VMCS_GUEST_RSP, value + i, i), value + i);
	}
	report_text("vmwrite/memory", flags_text(do_vmwrite_mem(VMCS_GUEST_RSP, &value)), "ok");
	report_text("vmread/memory", attempt(OP_VMREAD, VMCS_GUEST_RSP, (u64)&saw), "ok");
	report_u64("vmwrite/memory-value", saw, value);
	report_text("vmwrite/memory-not-canonical", attempt_call(vmwrite_memory, &flags), "#GP(0)");
}

static void addressing(void)
{
	static u64 buffer[16];
	u64 region = (u64)vmcs_a, fs = rdmsr(MSR_FS);

	ptrst_rip();
	report_u64("vmptrst/rip-relative", *(u64 *)cf_rip_target, region);
	ptrst_sib((u64)buffer, 3);
	report_u64("vmptrst/base-index-scale", buffer[5], region);
	ptrst_sib((u64)(buffer + 12), (u64)-3);
	report_u64("vmptrst/negative-index", buffer[11], region);
	ptrst_a32((u64)&buffer[7] | BIT(40));
	report_u64("vmptrst/address-size-32", buffer[7], region);
	wrmsr(MSR_FS, (u64)buffer);
	ptrst_fs(8 * 8);
	wrmsr(MSR_FS, fs);
	report_u64("vmptrst/fs-base", buffer[8], region);
}

void insn_operands(void)
{
	u64 entry = guest_pd[WINDOW / SIZE_2M];

	registers();
	addressing();
	across_pages();
	second_page_missing();
	rights();
	accessed_dirty();
	window_close(entry);
}
