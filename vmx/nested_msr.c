/*
 * The MSR areas of a vmcs12 (SDM 3C, Loading MSRs; Saving MSRs).
 *
 * Invariant: each entry is copied from L1's memory once; an MSR changes only as if L1 had executed WRMSR, and never one that
 * the SDM forbids in these areas.
 */
#include "core/x86.h"
#include "vmx/nested_priv.h"
#include "vmx/vlapic.h"

struct msr_entry { u32 index, reserved; u64 data; };
_Static_assert(sizeof(struct msr_entry) == 16, "MSR area entry");

#define MSR_BIOS_UPDT_TRIG 0x79
#define MSR_SMM_MONITOR_CTL 0x9b
#define MSR_SMBASE 0x9e

/* SDM 3D, Miscellaneous Data: more entries than this are undefined; here they fail. */
static u64 area_max(void) { return 512 * (FIELD_GET(BITS(27, 25), nested_caps.misc) + 1); }

/* x2APIC registers cannot be switched while the APIC is in that mode. */
static bool x2apic_register(struct vcpu *v, u32 msr) { return msr >> 8 == 8 && (v->vlapic->base_msr & APIC_BASE_EXTD); }

static bool load_allowed(struct vcpu *v, const struct msr_entry *e)
{
	return !e->reserved && !x2apic_register(v, e->index) && e->index != MSR_FS_BASE && e->index != MSR_GS_BASE &&
	       e->index != MSR_SMM_MONITOR_CTL && e->index != MSR_BIOS_UPDT_TRIG && e->index != MSR_BIOS_SIGN_ID;
}

static bool store_allowed(struct vcpu *v, const struct msr_entry *e)
{
	return !e->reserved && !x2apic_register(v, e->index) && e->index != MSR_SMBASE;
}

u32 msr_area_load(struct vcpu *v, u64 gpa, u64 count)
{
	for (u64 i = 0; i < count; i++) {
		struct msr_entry e;

		if (i >= area_max() || l1_read(v, gpa + i * sizeof(e), &e, sizeof(e)) || !load_allowed(v, &e) ||
		    !vcpu_write_msr(v, e.index, e.data))
			return (u32)i + 1;
	}
	return 0;
}

/* The TSC is stored without L2's offset: the exit is over (SDM 3C, Saving MSRs). */
static bool read_for_store(struct vcpu *v, u32 msr, u64 *value)
{
	if (msr != MSR_TSC)
		return vcpu_read_msr(v, msr, value);
	const struct nested *b = v->nested->below;

	*value = b ? tsc_seen(b->merged.tsc, rdtsc()) : rdtsc() + v->tsc_offset;
	return true;
}

u32 msr_area_store(struct vcpu *v, u64 gpa, u64 count)
{
	for (u64 i = 0; i < count; i++) {
		u64 at = gpa + i * sizeof(struct msr_entry);
		struct msr_entry e;

		if (i >= area_max() || l1_read(v, at, &e, sizeof(e)) || !store_allowed(v, &e) ||
		    !read_for_store(v, e.index, &e.data) ||
		    l1_write(v, at + offsetof(struct msr_entry, data), &e.data, sizeof(e.data)))
			return (u32)i + 1;
	}
	return 0;
}
