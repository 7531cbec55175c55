/* See nested_machine.h. */
#include "tests/unit/nested_machine.h"

#include <asm/prctl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/apic.h"
#include "core/errno.h"
#include "core/hypercall.h"
#include "core/irq.h"
#include "core/percpu.h"
#include "core/time.h"
#include "vmx/exit_family.h"
#include "vmx/no_ug.h"
#include "vmx/vmcs.h"

/* ---- the processor ---- */
struct vmx_caps vmx_caps;
bool vmcs_in_memory;
u64 model_tsc, model_cr2;
u32 vpid_flushes;
struct cpu cpus[MAX_CPUS];
static struct nest_vmx_assist our_assist;
const char vmx_exit_entry[1], vmx_exit_entry_nested[1], vmx_exit_entry_traced[1], vmx_exit_entry_nested_traced[1];

#define NR_VMCS 24
static struct model_vmcs { u64 hpa; u64 field[FIELD_SLOTS]; } hw_vmcs[NR_VMCS];
static struct model_vmcs *current;

enum vmx_result vmclear(hpa_t at)
{
	if (current && current->hpa == at.v)
		current = NULL;
	return VMX_OK;
}

enum vmx_result vmptrld(hpa_t at)
{
	for (u32 i = 0; i < NR_VMCS; i++) {
		current = &hw_vmcs[i];
		if (current->hpa == at.v)
			return VMX_OK;
		if (current->hpa)
			continue;
		current->hpa = at.v;
		return VMX_OK;
	}
	fail_msg("more VMCSs than the model has");
	return VMX_FAIL_INVALID;
}

u64 vmread(enum vmcs_field field)
{
	if (vmcs_in_memory)
		return vmread_memory(field);
	assert_non_null(current);
	return current->field[FIELD_SLOT(field)];
}

void vmwrite(enum vmcs_field field, u64 v)
{
	static const u64 width_mask[] = { 0xffff, ~0ull, 0xffffffff, ~0ull };

	if (vmcs_in_memory) {
		vmwrite_memory(field, v);
		return;
	}
	assert_non_null(current);
	current->field[FIELD_SLOT(field)] = v & width_mask[field_width(field)];
}


u64 rdtsc(void) { return model_tsc; }
u64 rdmsr(u32 msr) { return msr; }
u64 read_cr0(void) { return CR0_PE | CR0_PG; }
u64 read_cr2(void) { return model_cr2; }
u64 read_cr3(void) { return 0; }
u64 read_cr4(void) { return CR4_VMXE | CR4_PAE; }
void write_cr2(u64 v) { model_cr2 = v; }
void irq_enable_disable(void) {}
void sgdt(struct desc_ptr *d) { *d = (struct desc_ptr){ .base = (u64)cpus[0].gdt }; }
void sidt(struct desc_ptr *d) { *d = (struct desc_ptr){ 0 }; }

/* ---- what the engine stands on ---- */
struct vm vm;
struct vm_config config;
struct vcpu vcpu;
struct vlapic vlapic;
struct env env;
u8 *ram;
u32 killed, outer_has, requests, wakes;
const char *killed_by;
u64 tsc_khz(void) { return 1000000; }

void ept_flush_vpid(u16 vpid) { (void)vpid; vpid_flushes++; }
s64 ept_declare(u64 eptp, const struct nest_premap *range, u32 nr, u64 height) { (void)eptp, (void)range, (void)nr, (void)height; return 0; }
u32 outer_features(void) { return outer_has; }

bool no_ug_needed(void) { return !vmx_caps.unrestricted; }
void no_ug_apply(struct vcpu *v, u64 cr0) { (void)v, (void)cr0; }
u64 no_ug_read_cr3(struct vcpu *v) { (void)v; return vmread(VMCS_GUEST_CR3); }
void no_ug_write_cr3(struct vcpu *v, u64 value) { (void)v; vmwrite(VMCS_GUEST_CR3, value); }
void cpuid_cache_drop(struct vcpu *v) { (void)v; }

void apic_send(u32 apic_id, u8 vector) { (void)apic_id, (void)vector; }
bool irq_pending_here(void) { return false; }
void timer_arm(struct timer *t, u64 deadline) { (void)t, (void)deadline; }
void timer_cancel(struct timer *t) { (void)t; }
void vlapic_mode_changed(struct vcpu *v) { (void)v; }

u16 vcpu_alloc_vpid(void) { static u16 last; return ++last; }
void vcpu_look_again(struct vcpu *v) { (void)v; }
void vcpu_request(struct vcpu *v, u32 bits) { (void)v; requests |= bits; }
void vcpu_wake(struct vcpu *v) { v->state = VCPU_RUNNABLE; wakes++; }
void vcpu_nmi_done(struct vcpu *v) { v->nmi_pending = false; }
u32 vcpu_cpl(void) { return (u32)FIELD_GET(BITS(6, 5), vmread(VMCS_GUEST_SS_AR)); }
u64 vcpu_gpr(struct vcpu *v, u32 reg) { return reg == GPR_RSP ? vmread(VMCS_GUEST_RSP) : v->gpr[reg]; }

void vcpu_set_gpr(struct vcpu *v, u32 reg, u64 value)
{
	if (reg == GPR_RSP)
		vmwrite(VMCS_GUEST_RSP, value);
	else
		v->gpr[reg] = value;
}

void vcpu_load_vmcs(struct vcpu *v, struct vmcs *m)
{
	vmcs_load(m);
	v->loaded = m;
	v->nested = m->engine ? m->engine : v->nested_base;
}

void vcpu_advance(struct vcpu *v)
{
	vmwrite(VMCS_GUEST_RIP, vmread(VMCS_GUEST_RIP) + vmread(VMCS_EXIT_INSN_LEN));
	vmwrite(VMCS_GUEST_INTERRUPTIBILITY, vmread(VMCS_GUEST_INTERRUPTIBILITY) & ~(u64)(BLOCK_STI | BLOCK_MOV_SS));
	if (nested_in_l2(v))
		nested_advanced(v);
}

enum exit_action vcpu_inject_exception(struct vcpu *v, u8 vector, bool has_error, u32 error)
{
	if (nested_exception_exits(v, vector, has_error, error))
		return EXIT_RESUME;
	v->event = (struct vcpu_event){ (u32)(INTR_VALID | FIELD_PREP(INTR_TYPE, INTR_HW_EXCEPTION) | vector | (has_error ? INTR_HAS_ERROR : 0)),
					error, 0 };
	return EXIT_INJECT;
}

void vcpu_requeue_event(struct vcpu *v)
{
	u64 info = vmread(VMCS_IDT_VECTORING_INFO);

	if (info & INTR_VALID)
		v->event = (struct vcpu_event){ (u32)info, (u32)vmread(VMCS_IDT_VECTORING_ERROR), (u32)vmread(VMCS_EXIT_INSN_LEN) };
}

enum exit_action vcpu_kill(struct vcpu *v, const char *fmt, ...) { (void)v; killed_by = fmt; killed++; return EXIT_KILL; }

/* MSRs that an L1 reaches by its MSR areas. */
static struct { u32 index; u64 value; } msrs[] = { { MSR_FEATURE_CONTROL, FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMXON }, { MSR_STAR, 0 }, { MSR_LSTAR, 0 } };

u64 *l1_msr(u32 index)
{
	for (u32 i = 0; i < ARRAY_SIZE(msrs); i++)
		if (msrs[i].index == index)
			return &msrs[i].value;
	return NULL;
}

bool vcpu_read_msr(struct vcpu *v, u32 msr, u64 *value)
{
	if (l1_msr(msr))
		*value = *l1_msr(msr);
	return l1_msr(msr) || nested_read_msr(v, msr, value);
}

bool vcpu_write_msr(struct vcpu *v, u32 msr, u64 value)
{
	(void)v;
	if (l1_msr(msr))
		*l1_msr(msr) = value;
	return l1_msr(msr);
}

static const struct hc_entry *bound;
void hypercall_bind(u32 nr, const struct hc_entry *e)
{
	if (nr == HC_VMX_ASSIST)
		bound = e;
}

s64 hc_assist(u64 gpa)
{
	struct hc_call c = { .v = &vcpu.core, .arg = { gpa } };

	return bound->fn(&c);
}

/* ---- power on ---- */
#define MAPPED(perm) ept_leaf_flags(perm, MEMTYPE_WB)

static void make_vm(void)
{
	memset(&vm, 0, sizeof(vm));
	memset(&config, 0, sizeof(config));
	config.vmx = true;
	strcpy(config.name, "inner");
	vm.cfg = &config;
	ram = aligned_alloc(SIZE_2M, L1_RAM);
	memset(ram, 0, L1_RAM);
	assert_int_equal(ptab_init(&vm.ept, &ept_fmt, 4, 3, false, &vm.owner), 0);
	assert_int_equal(ptab_map(&vm.ept, 0, HPA((u64)ram), L1_RAM, MAPPED(EPT_RWX) | VM_MAP_RAM), 0);
	assert_int_equal(ptab_map(&vm.ept, L1_DEVICE, HPA(0xfe000000), PAGE_SIZE,
				  ept_leaf_flags(EPT_READ | EPT_WRITE, MEMTYPE_UC) | EPT_IPAT | VM_MAP_DEVICE), 0);
	*l1_word(L1_PML4) = (L1_PML4 + PAGE_SIZE) | 3;
	*l1_word(L1_PML4 + PAGE_SIZE) = 0x83; /* the first GiB */
	*(u32 *)l1_mem(L1_VMXON) = *(u32 *)l1_mem(L1_VMCS) = *(u32 *)l1_mem(L1_OTHER_VMCS) = NESTED_REVISION;
	*(u32 *)l1_mem(L1_SHADOW) = NESTED_REVISION | (u32)REVISION_SHADOW;
	*l1_word(L1_EPT) = (L1_EPT + PAGE_SIZE) | EPT_RWX;
	*l1_word(L1_EPT + PAGE_SIZE) = (L1_EPT + 2 * PAGE_SIZE) | EPT_RWX;
	for (u64 i = 0; i < 4; i++)
		l1_word(L1_EPT + 2 * PAGE_SIZE)[i] = i * SIZE_2M | MAPPED(EPT_RWX) | EPT_PAGE;
}

static void make_vcpu(void)
{
	memset(&vcpu, 0, sizeof(vcpu));
	memset(&vlapic, 0, sizeof(vlapic));
	vcpu.core.vm = &vm;
	vcpu.vlapic = &vlapic;
	vlapic.regs = page_alloc(&vm.owner);
	vcpu.pi = page_alloc(&vm.owner);
	vcpu.msr_bitmap_page = page_alloc(&vm.owner);
	vcpu.io_bitmap_pages = pages_alloc(&vm.owner, 1);
	memset(vcpu.msr_bitmap_page, 0xff, PAGE_SIZE);
	memset(vcpu.io_bitmap_pages, 0xff, 2 * PAGE_SIZE);
	vcpu.vpid = vcpu_alloc_vpid();
	vcpu.fast_left = FAST_RUN;
	assert_int_equal(vmcs_create(&vcpu.vmcs01, &vm.owner), 0);
	assert_int_equal(nested_create(&vcpu), 0);
	vcpu_load_vmcs(&vcpu, &vcpu.vmcs01);
}

static void put_l1_in_64bit_mode(void)
{
	SET(GUEST_CR0, CR0_PE | CR0_PG | CR0_NE | CR0_ET | CR0_WP);
	SET(CR0_READ_SHADOW, CR0_PE | CR0_PG | CR0_NE | CR0_ET | CR0_WP);
	SET(CR0_MASK, vcpu_cr0_owned(&vcpu));
	SET(GUEST_CR4, CR4_PAE | CR4_VMXE);
	SET(CR4_READ_SHADOW, CR4_PAE | CR4_VMXE);
	SET(CR4_MASK, vcpu_cr4_owned(&vcpu));
	SET(GUEST_CR3, L1_PML4);
	SET(GUEST_EFER, EFER_LME | EFER_LMA);
	SET(ENTRY_CONTROLS, ENTRY_IA32E);
	SET(GUEST_CS_AR, 0xa09b);
	SET(GUEST_SS_AR, 0xc093);
	SET(GUEST_DS_AR, 0xc093);
	SET(GUEST_ES_AR, 0xc093);
	SET(GUEST_RFLAGS, RFLAGS_FIXED);
	SET(GUEST_RIP, L1_RIP);
	SET(GUEST_PAT, 0x0007040600070406ull);
	SET(GUEST_DR7, 0x400);
	SET(EXIT_INSN_LEN, 3);
}

static void describe(void)
{
	const struct nested_caps *c = &nested_caps;

	env = (struct env){
		.basic = c->basic, .misc = c->misc, .ept_vpid = c->ept_vpid, .cr0_fixed0 = c->cr0_fixed0, .cr0_fixed1 = c->cr0_fixed1,
		.cr4_fixed0 = c->cr4_fixed0, .cr4_fixed1 = c->cr4_fixed1, .pin = c->pin, .proc = c->proc, .proc2 = c->proc2,
		.exit = c->exit, .entry = c->entry, .maxpa = c->maxphyaddr, .revision = NESTED_REVISION | (u32)REVISION_SHADOW,
		.io_a = L1_IO_A, .io_b = L1_IO_B, .msr_bitmap = L1_MSR_BITMAP, .vapic = L1_VAPIC, .apic_access = L1_APIC_ACCESS, .ept_root = L1_EPT,
		.link = L1_SHADOW, .pi_desc = L1_PI, .msr_area = L1_AREA, .this_vmcs = L1_VMCS, .pae_pdpt = L1_PDPT_PAE,
		.vapic_bytes = l1_mem(L1_VAPIC), .link_words = l1_mem(L1_SHADOW), .pdptes = l1_mem(L1_PDPT_PAE),
		.host_rip = L1_RIP + 0x1000, .host_rsp = 0x101000, .host_cr3 = L1_PML4, .guest_rip = L2_RIP, .guest_rip32 = L2_RIP,
		.guest_rsp = 0x203000, .guest_cr3 = L1_PML4,
	};
}

void machine_on(const struct vmx_caps *hw)
{
	vmx_caps = *hw;
	nested_caps_make(&nested_caps, hw, 39);
	memset(hw_vmcs, 0, sizeof(hw_vmcs));
	memset(cpus, 0, sizeof(cpus));
	current = NULL;
	pages_left = -1;
	killed = outer_has = requests = wakes = vpid_flushes = ept_flushes = 0;
	model_tsc = 1000;
	cpus[0].self = &cpus[0];
	cpus[0].vmx_assist = &our_assist;
	assert_int_equal(syscall(SYS_arch_prctl, ARCH_SET_GS, &cpus[0]), 0);
	make_vm();
	make_vcpu();
	put_l1_in_64bit_mode();
	describe();
	nested_page_init();
}

void machine_off(void)
{
	vcpu_load_vmcs(&vcpu, &vcpu.vmcs01);
	nested_free(&vcpu);
	vmcs_destroy(&vcpu.vmcs01, &vm.owner);
	page_free(&vm.owner, vlapic.regs);
	page_free(&vm.owner, vcpu.pi);
	page_free(&vm.owner, vcpu.msr_bitmap_page);
	pages_free(&vm.owner, vcpu.io_bitmap_pages, 1);
	ptab_destroy(&vm.ept);
	assert_int_equal(vm.owner.pages, 0);
	free(ram);
	vmcs_in_memory = false;
}

int machine_full(void **state)
{
	const struct vmx_caps hw = full_hw();

	(void)state;
	machine_on(&hw);
	return 0;
}

int machine_in_memory(void **state)
{
	struct vmx_caps hw = full_hw();

	(void)state;
	hw.shadow_vmcs = false; /* there is nothing to shadow then */
	vmcs_in_memory = true;
	machine_on(&hw);
	return 0;
}

int machine_stop(void **state)
{
	(void)state;
	machine_off();
	return 0;
}
