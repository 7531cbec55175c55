/*
 * Guests of the processor under test (world.h).
 */
#include "tests/conform/world.h"

#include <stdio.h>
#include <string.h>

#include "guest/lib/traps.h"

#define EXITED 0x40000000 /* world_enter's result if the guest ran */
#define PTE_LARGE_USER 0x87
#define EPT_LEAF (7 | 6 << 3 | 1 << 7)
#define LOW_CODE 0x8000
#define GATE_INTERRUPT 0x8e00
#define GATE_DPL3 0x6000

extern u64 guest_pd[2048], guest_pml4[512];
struct regs guest_regs;
u64 ept_pml4[512] __aligned_to(4096), ept_pdpt[512] __aligned_to(4096), ept_pd[2048] __aligned_to(4096);
static u8 pages[8][4096] __aligned_to(4096);
static u64 pae_tables[1024] __aligned_to(4096); /* PDPT; then a page directory of 32-bit paging */
static u64 guest_idt[512] __aligned_to(16);
static u64 guest_tss[16] __aligned_to(16);

static const u16 encodings[NR_FIELDS] = {
#define ENCODING(name, enc) enc,
	VMCS_FIELDS(ENCODING)
#undef ENCODING
};
static u64 held[NR_FIELDS];
static bool known[NR_FIELDS], missing[NR_FIELDS];
static bool launched;

/* ---- what guests use ---- */
static void make_tables(void)
{
	u32 *pd32 = (u32 *)(pae_tables + 512);

	for (u32 i = 0; i < 1024; i++)
		pd32[i] = i << 22 | PTE_LARGE_USER;
	for (u64 i = 0; i < 4; i++) {
		pae_tables[i] = (u64)(guest_pd + 512 * i) | 1;
		ept_pdpt[i] = (u64)(ept_pd + 512 * i) | 7;
	}
	for (u64 i = 0; i < 2048; i++)
		ept_pd[i] = i << 21 | EPT_LEAF;
	ept_pml4[0] = (u64)ept_pdpt | 7;
	for (u64 v = 0; v < 256; v++) {
		u64 at = (u64)guest_idt_stubs + v * IDT_STUB;
		guest_idt[2 * v] = (at & 0xffff) | SEL_CODE << 16 | (u64)(GATE_INTERRUPT | GATE_DPL3) << 32 | (at >> 16 & 0xffff) << 48;
		guest_idt[2 * v + 1] = at >> 32;
	}
	memcpy((u8 *)guest_tss + 4, (u64[]){ (u64)guest_stack_top - 2048 }, 8);
	memcpy((void *)LOW_CODE, guest_vmcall, 4);
}

static void make_env(void)
{
	u64 *tss = &cf_gdt[SEL_TSS / 8];

	env.io_a = (u64)pages[0];
	env.io_b = (u64)pages[1];
	env.msr_bitmap = (u64)pages[2];
	env.vapic = (u64)pages[3];
	env.apic_access = 0xfee00000;
	env.link = (u64)pages[4];
	env.pi_desc = (u64)pages[5];
	env.msr_area = (u64)pages[6];
	env.other_vmcs = (u64)vmcs_b;
	env.this_vmcs = (u64)vmcs_a;
	env.vapic_bytes = pages[3];
	env.link_words = (u32 *)pages[4];
	env.ept_root = (u64)ept_pml4;
	env.pae_pdpt = (u64)pae_tables;
	env.pdptes = pae_tables;
	env.host_rip = (u64)world_exit;
	env.host_rsp = (u64)exit_stack_top;
	env.host_cr3 = env.guest_cr3 = read_cr3();
	env.host_tr_base = (tss[0] >> 16 & 0xffffff) | (tss[0] >> 56 & 0xff) << 24 | tss[1] << 32;
	env.host_gdtr_base = env.guest_gdtr_base = (u64)cf_gdt;
	struct desc_ptr idt;
	sidt(&idt);
	env.host_idtr_base = idt.base;
	env.guest_idtr_base = (u64)guest_idt;
	env.guest_tr_base = (u64)guest_tss;
	env.guest_rip = env.guest_rip32 = (u64)guest_vmcall;
	env.guest_rsp = (u64)guest_stack_top - 256;
}

void world_open(void)
{
	session_vmxon();
	make_tables();
	make_env();
	memset(known, 0, sizeof(known));
	memset(missing, 0, sizeof(missing));
	launched = false;
}

void world_close(void) { session_vmxoff(); }

/* ---- the VMCS ---- */
static bool is_guest_state(u32 encoding) { return FIELD_GET(VMCS_ENC_TYPE, encoding) == 2; }
static bool is_read_only(u32 encoding) { return FIELD_GET(VMCS_ENC_TYPE, encoding) == 1; }

void world_write(const struct vstate *s)
{
	const u64 *value = (const u64 *)s;

	for (u32 i = 0; i < NR_FIELDS; i++) {
		if (missing[i] || is_read_only(encodings[i]) || (known[i] && held[i] == value[i]))
			continue;
		missing[i] = do_vmwrite(encodings[i], value[i]) != 0;
		known[i] = true;
		held[i] = value[i];
	}
}

/* Guest state is written back at the exit; the processor may keep it in its own way where it is of no consequence. */
static void forget_guest_state(void)
{
	for (u32 i = 0; i < NR_FIELDS; i++)
		if (is_guest_state(encodings[i]))
			known[i] = false;
	known[FIELD_INDEX(ENTRY_INTR_INFO)] = known[FIELD_INDEX(ENTRY_CONTROLS)] = false;
}

void world_forget(u32 encoding)
{
	for (u32 i = 0; i < NR_FIELDS; i++)
		if (encodings[i] == encoding)
			known[i] = false;
}

u64 field(u32 encoding)
{
	u64 v = 0;

	return do_vmread(encoding, &v) ? ~0ull : v;
}

void world_run(struct outcome *o)
{
	u64 flags = world_enter(&guest_regs, !launched);

	*o = (struct outcome){ .entered = flags == EXITED, .flags = flags };
	if (!o->entered) {
		o->error = flags == RFLAGS_ZF ? (u32)field(VMCS_INSN_ERROR) : 0;
		return;
	}
	o->reason = (u32)field(VMCS_EXIT_REASON);
	o->qualification = field(VMCS_EXIT_QUALIFICATION);
	if (o->reason & EXIT_REASON_ENTRY_FAILURE)
		return;
	launched = true;
	forget_guest_state();
}

const char *outcome_text(const struct outcome *o)
{
	static char texts[4][32];
	static u32 next;
	char *t = texts[next++ & 3];

	if (!o->entered && o->flags == RFLAGS_ZF)
		sniprintf(t, 32, "e%u", o->error);
	else if (!o->entered)
		sniprintf(t, 32, "f%x", (u32)o->flags);
	else if (o->reason & EXIT_REASON_ENTRY_FAILURE)
		sniprintf(t, 32, "x%uq%llx", o->reason & 0xffff, (unsigned long long)o->qualification);
	else
		sniprintf(t, 32, "x%u", o->reason & 0xffff);
	return t;
}
