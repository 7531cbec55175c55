/*
 * Registers of the guest's local APIC in x2APIC mode (SDM 3A, x2APIC Register Address Space): which exist, which bits of them, and #GP for the rest.
 */
#include <stdlib.h>

#include "core/apic.h"
#include "core/irq.h"
#include "tests/unit/nested_hw.h"
#include "vmx/exit_family.h"
#include "vmx/vlapic.h"

/* What they stand on. */
struct vmx_caps vmx_caps;
u64 host_direct_map_base;
bool vmcs_in_memory;
struct cpu cpus[MAX_CPUS];
u64 vmread(enum vmcs_field field) { (void)field; return 0; }
void vmwrite(enum vmcs_field field, u64 v) { (void)field, (void)v; }
u64 rdtsc(void) { return 1000; }
void irq_enable_disable(void) {}
u64 tsc_khz(void) { return 1000; }
void timer_arm(struct timer *t, u64 deadline) { (void)t, (void)deadline; }
void timer_cancel(struct timer *t) { (void)t; }
void apic_send(u32 apic_id, u8 vector) { (void)apic_id, (void)vector; }
bool irq_pending_here(void) { return false; }
bool nested_take_notification(struct vcpu *v, u8 vector) { (void)v, (void)vector; return false; }
void *pages_alloc(struct mem_owner *owner, unsigned order) { (void)owner, (void)order; return NULL; }
void pages_free(struct mem_owner *owner, void *p, unsigned order) { (void)owner, (void)p, (void)order; }
void vcpu_look_again(struct vcpu *v) { (void)v; }
void vcpu_request(struct vcpu *v, u32 bits) { (void)v, (void)bits; }
void vcpu_nmi_done(struct vcpu *v) { (void)v; }
void vcpu_load_vmcs(struct vcpu *v, struct vmcs *m) { (void)v, (void)m; }
void vmx_access_failed(bool write, u64 field, u64 value) { fail_msg("VMCS access %d %lx %lx", write, field, value); abort(); }
void msr_bitmap_x2apic(struct vcpu *v, bool on) { (void)v, (void)on; }
void cpuid_cache_drop(struct vcpu *v) { (void)v; }
static u64 sent;
void vlapic_send_ipi(struct vcpu *v, u64 icr) { (void)v; sent = icr; }

static u8 regs[PAGE_SIZE] __aligned_to(PAGE_SIZE);
static struct vlapic_timer slot;
static struct vlapic apic;
static struct pi_desc pi;
static struct vcpu vcpu;

static int start(void **state)
{
	(void)state;
	memset(regs, 0, sizeof(regs));
	memset(&vcpu, 0, sizeof(vcpu));
	pi = (struct pi_desc){ 0 };
	apic = (struct vlapic){ .regs = regs, .slot = &slot, .base_msr = 0xfee00000 | APIC_BASE_EN | APIC_BASE_EXTD };
	vcpu.vlapic = &apic;
	vcpu.pi = &pi;
	vlapic_reset(&vcpu);
	apic.base_msr |= APIC_BASE_EXTD;
	return 0;
}

/* Offsets of the registers; the range of ISR, TMR and IRR is read-only. */
static bool exists(u32 reg, bool write)
{
	static const u16 read_only[] = { APIC_ID, APIC_VERSION, APIC_PPR, APIC_LDR, APIC_TMCCT }, write_only[] = { APIC_EOI, APIC_SELF_IPI };
	static const u16 both[] = { APIC_TPR, APIC_SVR, APIC_ESR, APIC_ICR, APIC_LVT_TIMER, APIC_LVT_THERMAL, APIC_LVT_PERF, APIC_LVT_LINT0,
				    APIC_LVT_LINT1, APIC_LVT_ERROR, APIC_TMICT, APIC_TDCR };

	for (u32 i = 0; i < ARRAY_SIZE(read_only); i++)
		if (reg == read_only[i])
			return !write;
	for (u32 i = 0; i < ARRAY_SIZE(write_only); i++)
		if (reg == write_only[i])
			return write;
	for (u32 i = 0; i < ARRAY_SIZE(both); i++)
		if (reg == both[i])
			return true;
	return !write && reg >= APIC_ISR && reg < APIC_ISR + 0x180;
}

static void registers(void **state)
{
	u64 value;

	(void)state;
	/* The version register counts six entries of the LVT: there is none for corrected machine checks (2F0h). */
	assert_true(vlapic_read(&vcpu, APIC_VERSION, &value));
	assert_int_equal(value >> 16 & 0xff, 5);
	for (u32 reg = 0; reg < 0x1000; reg += 16) {
		pi.control = PI_ON; /* nobody is to be told */
		if (vlapic_read(&vcpu, reg, &value) != exists(reg, false) || vlapic_write(&vcpu, reg, 0) != exists(reg, true))
			fail_msg("register %x", reg);
	}
}

static void reserved_bits(void **state)
{
	static const struct { u32 reg; u64 good, bad; } bits[] = {
		{ APIC_TPR, 0xff, 0x100 }, { APIC_EOI, 0, 1 }, { APIC_ESR, 0, 1 }, { APIC_SELF_IPI, 0xff, 0x100 }, { APIC_LVT_TIMER, 0x100ff, 0x80000 },
		{ APIC_LVT_LINT0, 0x187ff, 0x20000 }, { APIC_LVT_ERROR, 0x100ff, 0x20000 }, { APIC_TMICT, 0xffffffff, BIT(32) },
		{ APIC_SVR, 0x1ff, BIT(40) },
	};

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(bits); i++) {
		pi.control = PI_ON;
		assert_true(vlapic_write(&vcpu, bits[i].reg, bits[i].good));
		assert_false(vlapic_write(&vcpu, bits[i].reg, bits[i].bad));
	}
	assert_true(vlapic_write(&vcpu, APIC_ICR, 5ull << 32 | 0x40f1)); /* one register of 64 bits */
	assert_int_equal(sent, 5ull << 32 | 0x40f1);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, start, NULL)
	const struct CMUnitTest tests[] = { TEST(registers), TEST(reserved_bits) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
