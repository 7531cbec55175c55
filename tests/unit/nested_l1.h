/*
 * An L1 for the unit tests of ept02: a small RAM, tables in it, one or two engines (vmx/nested_chain.c), and what the files under test stand
 * on. Included by one test each.
 */
#ifndef TESTS_UNIT_NESTED_L1_H
#define TESTS_UNIT_NESTED_L1_H

#include "tests/unit/nested_ram.h"

#include <asm/prctl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/errno.h"
#include "core/hypercall.h"
#include "vmx/vlapic.h"

/* ---- what the files under test stand on ---- */
struct vmx_caps vmx_caps;
bool vmcs_in_memory = true;
static u64 declared_eptp;
static u32 declared, features;
static u64 declared_height;
static bool delegates;
static const struct hc_entry *premap_entry;
static bool offered;

s64 ept_declare(u64 eptp, const struct nest_premap *range, u32 nr, u64 height)
{
	(void)range;
	declared_eptp = eptp;
	declared += nr;
	declared_height = height;
	return 4711;
}
u32 outer_features(void) { return features; }
bool nested_delegates(const struct vm *of) { (void)of; return delegates; }
bool nested_vmx_on(const struct vcpu *v) { return v->nested_base->vmx_on; }
void hypercall_bind(u32 nr, const struct hc_entry *e) { assert_int_equal(nr, HC_EPT_PREMAP); premap_entry = e; }
bool page_delegated(const struct vcpu *v) { return v->nested_base->assist && (features & NEST_FEAT_DELEGATE); }
bool nested_offers_pages(const struct vm *vm) { (void)vm; return offered; }
bool check_eptp(const struct nested_caps *c, u64 eptp) { (void)c; return !(eptp & BITS(11, 7)); }
u16 vcpu_alloc_vpid(void) { return 1; }
void ept_flush_vpid(u16 vpid) { (void)vpid; }
void vcpu_load_vmcs(struct vcpu *v, struct vmcs *m) { v->loaded = m; v->nested = m->engine ? m->engine : v->nested_base; }

/* What the chain has besides; none of it is used here. */
#define UNUSED fail_msg("%s is not for this test", __func__)
enum exit_action nested_enter(struct vcpu *v, bool launch) { (void)v, (void)launch; UNUSED; return EXIT_KILL; }
bool nested_fast_resume(struct vcpu *v) { (void)v; UNUSED; return false; }
bool nested_l1_wants(struct vcpu *v, u32 reason) { (void)v, (void)reason; UNUSED; return false; }
bool nested_take_notification(struct vcpu *v, u8 vector) { (void)v, (void)vector; UNUSED; return false; }
void exit_info_read(struct exit_info *i) { (void)i; UNUSED; }
void exit_info_take_event(const struct vcpu *v, struct exit_info *i) { (void)v, (void)i; UNUSED; }
void reflect(struct vcpu *v, const struct exit_info *info) { (void)v, (void)info; UNUSED; }
#ifndef L1_PARKS /* a test of nested_park.c has its own */
void page_put(struct vcpu *v, struct nested *n) { (void)v, (void)n; UNUSED; }
void page_forget(struct nested *n) { (void)n; UNUSED; }
void chain_forget(struct vcpu *v, struct nested *n) { (void)v, (void)n; UNUSED; }
#endif
void nested_tsc_changed(struct vcpu *v) { (void)v; UNUSED; }
void reflect_event(struct vcpu *v, u32 reason, u32 intr_info) { (void)v, (void)reason, (void)intr_info; UNUSED; }
void vcpu_advance(struct vcpu *v) { (void)v; UNUSED; }
int pi_drain(struct pi_desc *pi, u8 *regs) { (void)pi, (void)regs; UNUSED; return -1; }
void vlapic_sync(struct vcpu *v) { (void)v; UNUSED; }
int vlapic_pending(struct vcpu *v) { (void)v; UNUSED; return -1; }
void apic_reg_clear(u8 *regs, u32 reg, u8 vector) { (void)regs, (void)reg, (void)vector; UNUSED; }
void apic_reg_set(u8 *regs, u32 reg, u8 vector) { (void)regs, (void)reg, (void)vector; UNUSED; }
int apic_reg_highest(const u8 *regs, u32 reg) { (void)regs, (void)reg; UNUSED; return -1; }
u8 vlapic_ack(struct vcpu *v) { (void)v; UNUSED; return 0; }

enum exit_action vcpu_kill(struct vcpu *v, const char *fmt, ...) { (void)v; fail_msg("killed: %s", fmt); return EXIT_KILL; }

/* ---- an L1: 8 MiB of RAM, of which the first 2 hold its tables; a device page at 1 GiB ---- */
#define RAM (4 * SIZE_2M)
#define DEVICE SIZE_1G
#define EPTP_OF(gpa) ((gpa) | MEMTYPE_WB | FIELD_PREP(BITS(5, 3), 3))
#define WB(perm) ept_leaf_flags(perm, MEMTYPE_WB)
#define RAM_WB(perm) (WB(perm) | VM_MAP_RAM)
static struct vm vm;
static struct nested nested, second;
static struct vcpu vcpu;
static u8 *ram;
static u64 next_table;

static u64 *l1(u64 gpa) { return (u64 *)(ram + gpa); }

static u64 new_table(void)
{
	u64 gpa = next_table;

	next_table += PAGE_SIZE;
	assert_true(next_table <= SIZE_2M);
	return gpa;
}

/* Map in the tables with this root, as an L1 would: one leaf. */
static void map12(u64 root, u64 l2_gpa, u64 to, u32 level, u64 flags)
{
	u64 table = root;

	for (u32 at = 4; at > level; at--) {
		u64 *e = &l1(table)[l2_gpa >> (12 + 9 * (at - 1)) & 511];

		if (!*e)
			*e = new_table() | EPT_RWX | EPT_ACCESSED;
		table = *e & EPT_ADDR;
	}
	l1(table)[l2_gpa >> (12 + 9 * (level - 1)) & 511] = to | flags | (level > 1 ? EPT_PAGE : 0);
}

/* vmwrite finds its VMCS page through GS. */
static struct nest_vmcs_page vmcs_page;
static struct cpu cpu = { .self = &cpu, .vmcs = &vmcs_page };

static u64 root12;
static int start(void **state)
{
	(void)state;
	vmx_caps = full_hw();
	nested_caps = full_caps();
	pages_left = -1;
	offered = true;
	ept_flushes = declared = 0;
	memset(&vm, 0, sizeof(vm));
	memset(&nested, 0, sizeof(nested));
	memset(&second, 0, sizeof(second));
	features = 0;
	delegates = false;
	memset(&vcpu, 0, sizeof(vcpu));
	ram = aligned_alloc(SIZE_2M, RAM);
	memset(ram, 0, RAM);
	vcpu.core.vm = &vm;
	vcpu.nested = vcpu.nested_base = &nested;
	vcpu.loaded = &vcpu.vmcs01;
	nested.vmcs01 = &vcpu.vmcs01;
	nested.vmcs02.engine = &nested;
	second.vmcs01 = &nested.vmcs02;
	second.vmcs02.engine = &second;
	second.height = 1;
	assert_int_equal(ptab_init(&vm.ept, &ept_fmt, 4, 3, false, &vm.owner), 0);
	assert_int_equal(ptab_map(&vm.ept, 0, HPA((u64)ram), RAM, WB(EPT_RWX) | VM_MAP_RAM), 0);
	assert_int_equal(ptab_map(&vm.ept, DEVICE, HPA(0xfe000000), PAGE_SIZE,
				  ept_leaf_flags(EPT_READ | EPT_WRITE, MEMTYPE_UC) | EPT_IPAT | VM_MAP_DEVICE), 0);
	for (u32 i = 0; i < NR_EPT02; i++)
		nested.ept02[i].pt.root = second.ept02[i].pt.root = HPA_NONE;
	ept12_forget(&nested);
	ept12_forget(&second);
	nested.apic_access = second.apic_access = HPA_NONE;
	nested.vmx_on = true;
	next_table = 0;
	root12 = new_table();
	nested.v12.EPTP = EPTP_OF(root12);
	nested.v12.PROC_CONTROLS = PROC_SECONDARY;
	nested.v12.PROC2_CONTROLS = PROC2_EPT;
	nested_premap_init();
	assert_int_equal(syscall(SYS_arch_prctl, ARCH_SET_GS, &cpu), 0);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	vcpu_load_vmcs(&vcpu, &vcpu.vmcs01);
	ept02_free_all(&vcpu);
	ptab_destroy(&vm.ept);
	assert_int_equal(vm.owner.pages, 0);
	free(ram);
	return 0;
}

static inline void expect02(u64 l2_gpa, u64 hpa, u64 flags, u64 size)
{
	struct ptab_leaf l;

	assert_true(ptab_walk(&nested.ept->pt, l2_gpa, &l));
	assert_int_equal(l.pa.v, hpa);
	assert_int_equal(l.flags, flags);
	assert_int_equal(l.size, size);
}

static inline void expect_hole02(u64 l2_gpa)
{
	struct ptab_leaf l;

	assert_false(ptab_walk(&nested.ept->pt, l2_gpa, &l));
}

static inline enum l2_fault fault(u64 l2_gpa, u64 access, u32 *perm)
{
	assert_non_null(ept02_select(&vcpu));
	return ept02_fault(&vcpu, l2_gpa, access, perm);
}

static s64 premap_at(u64 eptp, u64 nr, const struct nest_premap *range, u64 height)
{
	struct nest_premap record[NEST_PREMAP_MAX] = { 0 };
	struct hc_call c = { .v = &vcpu.core, .arg = { eptp, nr, height }, .rec = (u8 *)record };

	for (u64 i = 0; i < MIN(nr, (u64)NEST_PREMAP_MAX); i++)
		record[i] = range[i];
	return premap_entry->fn(&c);
}

static inline s64 premap(u64 eptp, u64 nr, const struct nest_premap *range) { return premap_at(eptp, nr, range, 0); }

#endif
