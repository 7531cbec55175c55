/*
 * Phases and reports: which counts belong to which phase, and the @report lines that tell them (report_print.c).
 *
 * Invariant: at any moment every count of a VM is in exactly one place: in its vCPUs' counters since `start`, in the sums
 * of one phase, or printed. So all lines of a run for one (VM, phase, kind) add up to the exact total.
 *
 * A phase's border. HC_PHASE comes from the innermost guest; each level closes the old phase first, then passes the call
 * outward, and the outermost closes its own last. The exits by which the call travels outward (at each level: the VMCALL,
 * and with trap-and-emulate those of the level between) belong to the old phase; those of its return (at each level what
 * the inner needs to resume its guest) to the new one. A phase thus holds one return and one call, whatever it contains; an
 * empty phase between two calls measures exactly that. Ticks of the VMCALL handler itself are booked when it returns:
 * under the new phase. Names are this level's: any of its VMs moves all of them to the next phase.
 */
#include "core/report.h"

#include <string.h>

#include "core/errno.h"
#include "core/hypercall.h"
#include "core/report_print.h"
#include "core/trace.h"

#define MAX_SECTIONS 8
#define SLOT_BOOT REPORT_NAMES /* until the first HC_PHASE; also a name that a guest gives is another slot */

struct report_vm {
	struct counters *phase[REPORT_NAMES + 1]; /* one page each, while there is something in it */
	u32 printed;                              /* bit s: phase s had its lines, it needs no empty ones */
	struct counters start;
};
_Static_assert(sizeof(struct report_vm) <= PAGE_SIZE && sizeof(struct counters) <= PAGE_SIZE, "a page each");

/* Protects everything here. Lock order: before "vm list". */
static spinlock_t lock = SPINLOCK_INIT;
static char names[REPORT_NAMES + 1][sizeof(struct nest_phase)] = { [SLOT_BOOT] = "boot" };
static u32 current = SLOT_BOOT;
static struct counters now; /* scratch */
static void (*sections[MAX_SECTIONS])(void);
static u32 nr_sections;
static void (*on_first_phase)(void);

/* All counters are u64: they are added and subtracted as an array. */
#define NR_WORDS (sizeof(struct counters) / sizeof(u64))
_Static_assert(sizeof(struct counters) % sizeof(u64) == 0, "words");

static void words_add(struct counters *to, const struct counters *from)
{
	u64 *t = (u64 *)to;
	const u64 *f = (const u64 *)from;
	for (u32 i = 0; i < NR_WORDS; i++)
		t[i] += READ_ONCE(f[i]); /* a running vCPU of another CPU may be counting */
}

static void words_sub(struct counters *to, const struct counters *from)
{
	u64 *t = (u64 *)to;
	const u64 *f = (const u64 *)from;
	for (u32 i = 0; i < NR_WORDS; i++)
		t[i] -= f[i];
}

/* Have the page for the current phase's sums ready. */
static int prepare(struct vm *vm)
{
	if (!vm->report)
		vm->report = page_alloc(&vm->owner);
	struct report_vm *r = vm->report;
	if (r && !r->phase[current])
		r->phase[current] = page_alloc(&vm->owner);
	return r && r->phase[current] ? 0 : -ENOMEM;
}

/* Book what was counted since the last time under the current phase. */
static void settle(struct vm *vm, void *arg)
{
	(void)arg;
	if (prepare(vm)) {
		log_limited(8, "report: VM %s has no memory left for the counts of phase '%s': they go to a later phase", vm->cfg->name,
			    names[current]);
		return;
	}
	struct report_vm *r = vm->report;
	memset(&now, 0, sizeof(now));
	for (u32 i = 0; i < vm->nr_vcpus; i++)
		if (vm_vcpu(vm, i))
			words_add(&now, &vm_vcpu(vm, i)->count);
	counters_add_fast(&now);
	words_add(r->phase[current], &now);
	words_sub(r->phase[current], &r->start);
	r->start = now;
}

/* Slot of a name, taking a free one for a new name. -ENOSPC. */
static int slot_of(const char *name)
{
	for (u32 i = 0; i < REPORT_NAMES; i++) {
		if (!names[i][0])
			strcpy(names[i], name);
		if (!strcmp(names[i], name))
			return (int)i;
	}
	return -ENOSPC;
}

/* Names go into JSON strings: other characters than these become '_'. */
static void clean_name(char out[sizeof(struct nest_phase)], u32 phase, const char *name)
{
	size_t n = 0;

	for (; n < sizeof(struct nest_phase) - 1 && name[n]; n++) {
		char c = name[n];
		bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
		out[n] = plain ? c : '_';
	}
	out[n] = 0;
	if (!n)
		format(out, sizeof(struct nest_phase), "phase%u", phase);
}

/* Who has no memory for its own counts begins no phase; another VM's lack is that VM's own. */
static int begin(struct vm *caller, const char *name)
{
	spin_lock(&lock);
	int slot = prepare(caller);
	if (!slot)
		slot = slot_of(name);
	if (slot >= 0) {
		vm_for_each(settle, NULL);
		if (current == SLOT_BOOT && on_first_phase)
			on_first_phase();
		current = (u32)slot;
	}
	spin_unlock(&lock);
	return MIN(slot, 0);
}

int report_phase(struct vm *caller, u32 phase, const char *name)
{
	struct nest_phase n = { 0 };

	clean_name(n.name, phase, name);
	int err = begin(caller, n.name);
	if (err || !outer_present())
		return err;
	memcpy(outer_record(), &n, sizeof(n));
	return (int)outer_call(HC_PHASE, phase, 0, 0, 0);
}

/* Print and empty one phase's sums of a VM. */
static void print_phase(struct vm *vm, struct report_vm *r, u32 slot)
{
	struct counters *c = r->phase[slot];

	if (!c)
		return;
	report_print_counters(vm, names[slot], c, !(r->printed & BIT(slot)));
	r->printed |= (u32)BIT(slot);
	memset(c, 0, sizeof(*c));
}

static void print_vm(struct vm *vm, void *arg)
{
	(void)arg;
	if (!vm->report)
		return;
	print_phase(vm, vm->report, SLOT_BOOT);
	for (u32 i = 0; i < REPORT_NAMES; i++)
		print_phase(vm, vm->report, i);
}

void report_print(void)
{
	spin_lock(&lock);
	vm_for_each(settle, NULL);
	vm_for_each(print_vm, NULL);
	spin_unlock(&lock);
	for (u32 i = 0; i < nr_sections; i++)
		sections[i]();
}

void report_forget(struct vm *vm)
{
	struct report_vm *r = vm->report;

	spin_lock(&lock);
	vm->report = NULL;
	spin_unlock(&lock);
	for (u32 i = 0; r && i < ARRAY_SIZE(r->phase); i++)
		if (r->phase[i])
			page_free(&vm->owner, r->phase[i]);
	if (r)
		page_free(&vm->owner, r);
}

void report_add_section(void (*fn)(void))
{
	ASSERT(nr_sections < MAX_SECTIONS);
	sections[nr_sections++] = fn;
}

void report_on_first_phase(void (*fn)(void)) { on_first_phase = fn; }

static s64 hc_phase(struct hc_call *c)
{
	struct nest_phase *p = (struct nest_phase *)c->rec;

	if (c->arg[0] >= COUNT_PHASES)
		return -EINVAL;
	p->name[sizeof(p->name) - 1] = 0;
	return report_phase(c->v->vm, (u32)c->arg[0], p->name);
}

static s64 hc_report(struct hc_call *c)
{
	(void)c;
	report_print();
	s64 result = outer_present() ? outer_call(HC_REPORT, 0, 0, 0, 0) : 0;
	trace_print(); /* last: the exits of printing would push out what the outer's trace holds */
	return result;
}

void report_init(void)
{
	/* named so that no count has the name of a line's own keys */
	static const struct hc_entry phase = { "phase_begin", hc_phase, HC_REC_IN, sizeof(struct nest_phase) };
	static const struct hc_entry report = { "report", hc_report, HC_REC_NONE, 0 };

	hypercall_bind(HC_PHASE, &phase);
	hypercall_bind(HC_REPORT, &report);
}
