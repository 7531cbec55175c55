/*
 * What the units refused: fault records are read, logged and charged to the VM whose device it was (VT-d 3.4, Non-Recoverable
 * Fault Logging).
 *
 * Invariant: a guest can cause faults at will, so the work of one poll is bounded and the log grows only with the logarithm of
 * the number of faults. Records are freed as they are read, and what a poll leaves behind is looked at again soon, so later faults
 * are seen.
 */
#include "core/console.h"
#include "core/errno.h"
#include "core/apic.h"
#include "core/irq.h"
#include "core/percpu.h"
#include "core/time.h"
#include "iommu/vtd.h"

#define MAX_SOURCES 64
#define MAX_VMS 32
#define ALWAYS_LOGGED 32  /* faults of one device that are logged each; then only at powers of two */
#define MAX_PASSES 4      /* over a unit's records in one poll: new faults may arrive meanwhile */
#define FAULT_CPU 0
#define LOOK_AGAIN_US 10000

static struct { bool used; rid_t rid; u64 count; } sources[MAX_SOURCES];
static struct { const void *vm; u64 count; } vms[MAX_VMS];
static const char *(*vm_namer)(void *vm);
/* Armed by whichever CPU left something behind; waiting: until its function has begun, so no other CPU touches it meanwhile. */
static struct timer again;
static bool waiting;

void vtd_faults_reset(void)
{
	for (u32 i = 0; i < MAX_SOURCES; i++)
		sources[i].used = false;
	for (u32 i = 0; i < MAX_VMS; i++)
		vms[i].vm = NULL;
	timer_cancel(&again);
	waiting = false;
}

void vtd_faults_set_namer(const char *(*namer)(void *vm)) { vm_namer = namer; }

u64 vtd_faults_of(const void *vm)
{
	for (u32 i = 0; i < MAX_VMS; i++)
		if (vm && vms[i].vm == vm)
			return vms[i].count;
	return 0;
}

void vtd_faults_forget(const void *vm)
{
	for (u32 i = 0; i < MAX_VMS; i++)
		if (vms[i].vm == vm)
			vms[i].vm = NULL;
}

static void charge_vm(const void *vm)
{
	u32 i, at = MAX_VMS;

	for (i = 0; i < MAX_VMS && vms[i].vm != vm; i++)
		if (!vms[i].vm && at == MAX_VMS)
			at = i;
	if (i == MAX_VMS) {
		if (at == MAX_VMS)
			return;
		i = at;
		vms[i].vm = vm;
		vms[i].count = 0;
	}
	vms[i].count++;
}

/* Faults of this device so far, this one included; 0 if the table has no room for it. */
static u64 count_source(rid_t rid)
{
	u32 i;

	for (i = 0; i < MAX_SOURCES && sources[i].used; i++)
		if (sources[i].rid.v == rid.v)
			return ++sources[i].count;
	if (i == MAX_SOURCES)
		return 0;
	sources[i].used = true;
	sources[i].rid = rid;
	sources[i].count = 1;
	return 1;
}

/* VT-d 3.4, Non-Recoverable Address Translation Faults; Interrupt Remapping Fault Conditions. */
static const char *reason_text(u32 reason)
{
	static const char *const translation[] = {
		[1] = "root entry not present", [2] = "context entry not present", [3] = "context entry invalid",
		[4] = "address beyond the unit's width", [5] = "no write permission / not present",
		[6] = "no read permission / not present", [7] = "page table not accessible", [8] = "root table not accessible",
		[9] = "context table not accessible", [10] = "root entry malformed", [11] = "context entry malformed",
		[12] = "page-table entry malformed", [13] = "translated request refused",
	};
	static const char *const interrupt[] = {
		[0] = "request malformed", [1] = "index beyond the table", [2] = "entry not present",
		[3] = "table not accessible", [4] = "entry malformed", [5] = "compatibility format refused",
		[6] = "not from the entry's device", [7] = "posted-interrupt descriptor malformed",
	};
	const char *text = NULL;

	if (reason < ARRAY_SIZE(translation))
		text = translation[reason];
	else if (reason >= VTD_REASON_IR_FIRST && reason - VTD_REASON_IR_FIRST < ARRAY_SIZE(interrupt))
		text = interrupt[reason - VTD_REASON_IR_FIRST];
	return text ? text : "unknown reason";
}

static const char *whose(const struct vtd_device *dev)
{
	if (!dev)
		return "attached to nothing";
	if (!dev->domain->vm)
		return "a device of ours";
	const char *name = vm_namer ? vm_namer(dev->domain->vm) : NULL;
	return name ? name : "a VM's";
}

static bool power_of_two(u64 n) { return (n & (n - 1)) == 0; }

static void fault_log(rid_t rid, u64 lo, u64 hi, const struct vtd_device *dev, u64 nth)
{
	u32 reason = (u32)FIELD_GET(VTD_FRCD_HI_REASON, hi);
	char what[64];

	if (reason >= VTD_REASON_IR_FIRST && reason <= VTD_REASON_IR_LAST)
		format(what, sizeof(what), "interrupt index %u", (u32)FIELD_GET(VTD_FRCD_LO_INDEX, lo));
	else
		format(what, sizeof(what), "%s at iova 0x%lx", hi & VTD_FRCD_HI_READ ? "read" : "write", lo & VTD_FRCD_LO_ADDR);
	if (nth <= ALWAYS_LOGGED)
		log_line("VT-d fault: " RID_FMT " %s reason 0x%x (%s), %s", RID_ARG(rid), what, reason, reason_text(reason), whose(dev));
	else
		log_line("VT-d fault: " RID_FMT " %s reason 0x%x (%s), %s, %lu so far", RID_ARG(rid), what, reason,
		         reason_text(reason), whose(dev), nth);
}

static void fault_handle(u64 lo, u64 hi)
{
	rid_t rid = { (u16)FIELD_GET(VTD_FRCD_HI_SID, hi) };
	const struct vtd_device *dev = vtd_device_find(rid);
	u64 nth = count_source(rid);

	vtd.stats.faults++;
	if (dev && dev->domain->vm)
		charge_vm(dev->domain->vm);
	if (nth && (nth <= ALWAYS_LOGGED || power_of_two(nth)))
		fault_log(rid, lo, hi, dev, nth);
	else if (!nth)
		log_limited(ALWAYS_LOGGED, "VT-d fault: " RID_FMT ", one of more devices than we keep count of", RID_ARG(rid));
}

/* Read each record that is in use once, from the oldest on, and free it. Number handled. */
static u32 records_drain(struct vtd_unit *u, u32 first)
{
	u32 n = vtd_frcd_count(u->cap), handled = 0;

	for (u32 i = 0; i < n; i++) {
		u32 at = vtd_frcd_offset(u->cap, (first + i) % n);
		u64 hi = vtd_read64(u, at + VTD_FRCD_HI), lo = vtd_read64(u, at);
		if (!(hi & VTD_FRCD_HI_F))
			continue;
		vtd_write32(u, at + VTD_FRCD_TOP, VTD_FRCD_TOP_F);
		fault_handle(lo, hi);
		handled++;
	}
	return handled;
}

static void look_again(void *arg)
{
	(void)arg;
	spin_lock(&vtd_lock);
	waiting = false;
	spin_unlock(&vtd_lock);
	iommu_faults_poll();
}

static void arm_again(void)
{
	if (waiting)
		return;
	waiting = true;
	again.fn = look_again;
	timer_arm(&again, rdtsc() + us_to_tsc(LOOK_AGAIN_US));
}

/*
 * Records first, overflow last: the unit records again only when it is cleared. While a record or the overflow is pending the unit
 * sends no further event (VT-d 3.4, Fault Event Control Register), so one that still is after all passes gets a timer.
 */
void vtd_faults_poll(struct vtd_unit *u)
{
	for (u32 pass = 0; pass < MAX_PASSES; pass++) {
		u32 status = vtd_read32(u, VTD_FSTS);
		if (!(status & (VTD_FSTS_PPF | VTD_FSTS_PFO)))
			return;
		u32 handled = records_drain(u, (u32)FIELD_GET(VTD_FSTS_FRI, status));
		if (status & VTD_FSTS_PFO) {
			vtd_write32(u, VTD_FSTS, VTD_FSTS_PFO);
			log_limited(ALWAYS_LOGGED, "VT-d fault: more faults at unit %u than it has records for", u->index);
		} else if (!handled) {
			break;
		}
	}
	if (vtd_read32(u, VTD_FSTS) & (VTD_FSTS_PPF | VTD_FSTS_PFO))
		arm_again();
}

/* irq_fn: runs from irq_poll on FAULT_CPU. */
static void fault_event(void *arg, u8 vector)
{
	(void)arg;
	(void)vector;
	iommu_faults_poll();
}

static void records_clear(struct vtd_unit *u)
{
	for (u32 i = 0; i < vtd_frcd_count(u->cap); i++)
		vtd_write32(u, vtd_frcd_offset(u->cap, i) + VTD_FRCD_TOP, VTD_FRCD_TOP_F);
	vtd_write32(u, VTD_FSTS, VTD_FSTS_PFO);
}

/* The unit's own MSI is not remapped (VT-d 3.4, Fault Event Control Register). */
void vtd_faults_enable(struct vtd_unit *u)
{
	u32 apic = cpus[FAULT_CPU].apic_id;

	records_clear(u);
	u->fault_vector = irq_alloc(FAULT_CPU, fault_event, u);
	if (u->fault_vector < 0) {
		log_line("IOMMU: unit %u: no vector for fault events, they are only polled", u->index);
		return;
	}
	vtd_write32(u, VTD_FEDATA, (u32)u->fault_vector);
	vtd_write32(u, VTD_FEADDR, vtd_msi_direct(apic));
	vtd_write32(u, VTD_FEUADDR, apic_is_x2() ? vtd_msi_direct_upper(apic) : 0);
	vtd_write32(u, VTD_FECTL, 0);
}

void vtd_faults_disable(struct vtd_unit *u)
{
	vtd_write32(u, VTD_FECTL, VTD_FECTL_IM);
	if (u->fault_vector >= 0)
		irq_free(FAULT_CPU, (u8)u->fault_vector);
	u->fault_vector = -ENOSPC;
}
