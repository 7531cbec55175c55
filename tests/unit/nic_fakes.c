/*
 * The environment of nic/ in its unit tests (nic_fakes.h).
 */
#include "tests/unit/nic_fakes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/errno.h"
#include "core/fault.h"
#include "core/irq.h"
#include "core/percpu.h"
#include "core/report.h"
#include "nic/sriov.h"

u64 host_direct_map_base;
struct fake_balance fake_balance;
struct fake_answers fake;
struct fake_seen seen;
struct cpu cpus[MAX_CPUS];
u32 nr_cpus = 2;
struct mem_owner mem_self = { .name = "self" };

/* ---- log, time, injected failures ---- */

bool fault_hit(struct fault_point *p)
{
	if (!fake.fault || strcmp(p->name, fake.fault))
		return false;
	fake.fault = NULL;
	return true;
}

static void keep(char *to, size_t size, const char *fmt, va_list args) { vsnprintf(to, size, fmt, args); }

void log_line(const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	seen.lines++;
	keep(seen.last_line, sizeof(seen.last_line), fmt, args);
	va_end(args);
}

void log_report(const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	keep(seen.last_report, sizeof(seen.last_report), fmt, args);
	va_end(args);
}

int format(char *buf, size_t size, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	int n = vsnprintf(buf, size, fmt, args);
	va_end(args);
	return n;
}

void report_add_section(void (*fn)(void)) { (void)fn; }
u64 tsc_khz(void) { return 1000000; }
u64 wait_begin(void) { seen.waits++; return rdtsc(); }
void wait_end(u64 start) { (void)start; }
void wait_pause(u32 *polls) { ++*polls; }
void delay_us(u64 us) { (void)us; }

static struct timer *armed;
void timer_arm(struct timer *t, u64 deadline)
{
	t->deadline = deadline;
	armed = t;
	seen.timers++;
}

void timer_cancel(struct timer *t) { armed = armed == t ? NULL : armed; }
u64 fake_deadline(void) { return armed ? armed->deadline : ~0ull; }

bool fake_timer(void)
{
	struct timer *t = armed;
	armed = NULL;
	if (t)
		t->fn(t->arg);
	return t;
}

/* ---- memory ---- */

void *pages_alloc(struct mem_owner *owner, unsigned order)
{
	u64 pages = 1ull << order;
	if (owner->limit && owner->pages + pages > owner->limit)
		return NULL;
	void *p = aligned_alloc(PAGE_SIZE << order, PAGE_SIZE << order);
	memset(p, 0, PAGE_SIZE << order);
	owner->pages += pages;
	fake_balance.pages += (int)pages;
	return p;
}

void pages_free(struct mem_owner *owner, void *p, unsigned order)
{
	owner->pages -= 1ull << order;
	fake_balance.pages -= 1 << order;
	free(p);
}

void *mmio_map(hpa_t a, u64 len)
{
	(void)len;
	return (void *)a.v;
}

/* ---- PCI ---- */

static u16 *command_of(rid_t r) { return &seen.command[(r.v & 0xff) < 0x80 ? 7 : (r.v & 0xf) / 2]; }
u16 pci_read16(rid_t r, u16 off) { return off == PCI_COMMAND ? *command_of(r) : off == 0x72 ? 2 : 0; }
u32 pci_read32(rid_t r, u16 off)
{
	(void)r;
	return off == 0x74 ? 3 : off == 0x78 ? 0x2000 | 3 : 0; /* MSI-X table and pending bits in BAR 3 */
}
void pci_write16(rid_t r, u16 off, u16 v)
{
	if (off == PCI_COMMAND)
		*command_of(r) = v;
}
u16 pci_find_cap(rid_t r, u8 id)
{
	(void)r;
	return id == PCI_CAP_ID_MSIX ? 0x70 : 0;
}
int pci_bar(rid_t r, u16 off, hpa_t *base, u64 *size)
{
	(void)r, (void)off, (void)base, (void)size;
	return -EINVAL;
}
u32 pci_count(void) { return 0; }
const struct pci_dev *pci_get(u32 i)
{
	(void)i;
	return NULL;
}
void sriov_disable(rid_t pf) { (void)pf; }
void sriov_settle(const struct sriov *s) { (void)s; }
int sriov_enable(struct sriov *s, rid_t pf, u32 want, const char **why)
{
	(void)s, (void)pf, (void)want, (void)why;
	return -ENOTSUP;
}

static int once(int *err)
{
	int r = *err;
	*err = 0;
	return r;
}

int pci_flr(rid_t r)
{
	seen.flrs++;
	*command_of(r) = 0;
	if (fake.pending)
		*fake.pending = fake.late_irqs ? 7 : 0;
	fake.late_irqs -= fake.late_irqs ? 1 : 0;
	return once(&fake.err_flr);
}

/* ---- IOMMU ---- */

struct iommu_domain { rid_t rid; bool used, attached; };
static struct iommu_domain domains[16];

const struct iommu_info *iommu_info(void)
{
	static struct iommu_info info;
	info = (struct iommu_info){ .present = !fake.no_iommu, .remapping = !fake.no_iommu };
	return &info;
}
int iommu_vf_declare(rid_t vf, rid_t pf)
{
	(void)vf, (void)pf;
	return 0;
}

struct iommu_domain *iommu_domain_create(void *vm, struct mem_owner *owner)
{
	(void)vm, (void)owner;
	if (fake.no_domain)
		return NULL;
	for (u32 i = 0; i < ARRAY_SIZE(domains); i++)
		if (!domains[i].used) {
			domains[i] = (struct iommu_domain){ .used = true };
			fake_balance.domains++;
			return &domains[i];
		}
	return NULL;
}

void iommu_domain_destroy(struct iommu_domain *d)
{
	ASSERT(!d->attached);
	fake_balance.domains--;
	d->used = false;
}

/* Function 0 is the PF, the VFs are 16 and above. */
static struct iommu_domain *domains_of[9];
static struct iommu_domain **domain_of(rid_t rid) { return &domains_of[(rid.v & 0xff) < 0x80 ? 8 : (rid.v & 0xf) / 2]; }

int iommu_attach(struct iommu_domain *d, rid_t rid)
{
	int r = once(&fake.err_attach);
	if (r)
		return r;
	ASSERT(!(*command_of(rid) & PCI_COMMAND_MASTER));
	d->rid = rid;
	d->attached = true;
	*domain_of(rid) = d;
	fake_balance.attached++;
	return 0;
}

int iommu_detach(struct iommu_domain *d, rid_t rid)
{
	int r = once(&fake.err_detach);
	if (r)
		return r;
	ASSERT(d->attached && d->rid.v == rid.v);
	ASSERT(!(*command_of(rid) & PCI_COMMAND_MASTER));
	d->attached = false;
	fake_balance.attached--;
	return 0;
}

bool iommu_isolate(rid_t rid)
{
	struct iommu_domain *d = *domain_of(rid);
	seen.isolated++;
	if (fake.not_isolated)
		return false;
	if (d->attached)
		fake_balance.attached--;
	d->attached = false;
	return true;
}

int iommu_map(struct iommu_domain *d, const struct iommu_range *r, u32 n)
{
	(void)d, (void)r;
	seen.maps += n;
	return once(&fake.err_map);
}

int iommu_unmap(struct iommu_domain *d, const struct iommu_range *r, u32 n)
{
	(void)d, (void)r;
	seen.unmaps += n;
	return once(&fake.err_unmap);
}

int iommu_irq_alloc(rid_t rid)
{
	static int next;
	(void)rid;
	int r = once(&fake.err_irq_alloc);
	if (r)
		return r;
	fake_balance.irtes++;
	next = (next + 1) % 16;
	return next;
}

int iommu_irq_set(int handle, u32 apic_id, u8 vector)
{
	int r = once(&fake.err_irq_set);
	if (r)
		return r;
	seen.irte_apic[handle] = apic_id;
	seen.irte_vector[handle] = vector;
	return 0;
}

void iommu_irq_free(int handle)
{
	(void)handle;
	fake_balance.irtes--;
}

void iommu_irq_message(int handle, u64 *addr, u32 *data)
{
	*addr = 0xfee00010 | (u64)handle << 5;
	*data = 0;
}

u64 iommu_faults_of(const void *vm)
{
	(void)vm;
	return 0;
}

/* ---- vectors ---- */

static struct { irq_fn fn; void *arg; } handlers[2][256];

int irq_alloc(u32 cpu, irq_fn fn, void *arg)
{
	int r = once(&fake.err_vector);
	if (r)
		return r;
	for (int v = IRQ_VEC_FIRST; v <= IRQ_VEC_LAST; v++)
		if (!handlers[cpu][v].fn) {
			handlers[cpu][v].fn = fn;
			handlers[cpu][v].arg = arg;
			fake_balance.vectors++;
			return v;
		}
	return -ENOSPC;
}

void irq_free(u32 cpu, u8 vector)
{
	ASSERT(handlers[cpu][vector].fn);
	handlers[cpu][vector].fn = NULL;
	fake_balance.vectors--;
}

bool fake_irq(u32 cpu, int vector)
{
	if (vector < 0 || !handlers[cpu][vector].fn)
		return false;
	handlers[cpu][vector].fn(handlers[cpu][vector].arg, (u8)vector);
	return true;
}

/* ---- vCPUs ---- */

struct vcpu_core fake_vcpus[2];
u8 fake_own_vector[2];
u32 fake_own_posts[2], fake_direct_posts;
hpa_t fake_running_pi;

static bool post_own(struct vcpu_core *v, u8 vector)
{
	fake_own_vector[v->index] = vector;
	fake_own_posts[v->index]++;
	return !fake.idle;
}

static bool post_direct(struct vcpu_core *v, hpa_t pi, u8 vector)
{
	(void)v, (void)vector;
	fake_direct_posts += pi.v == fake_running_pi.v;
	return pi.v == fake_running_pi.v;
}

static hpa_t own_descriptor(struct vcpu_core *v) { return HPA(0xd000 + v->index * PAGE_SIZE); }
static struct vcpu_core *by_apic_id(struct vm *vm, u32 id)
{
	(void)vm;
	return id < 2 ? &fake_vcpus[id] : NULL;
}
struct fake_lent fake_lent[2][2];

static int arm(struct vcpu_core *v, bool inner, u8 vector, u8 host_vector, hpa_t page)
{
	struct fake_lent *l = &fake_lent[v->index][inner];
	int r = fake.err_arm;
	fake.err_arm = 0;
	if (r || l->on)
		return r ? r : -EBUSY;
	ASSERT(handlers[v->cpu][host_vector].fn); /* the vector has a handler for all who do not borrow it */
	*l = (struct fake_lent){ true, vector, host_vector, page };
	fake_balance.lent++;
	return 0;
}

static void disarm(struct vcpu_core *v, u8 host_vector)
{
	struct fake_lent *l = &fake_lent[v->index][fake_lent[v->index][1].on && fake_lent[v->index][1].host_vector == host_vector];
	ASSERT(l->on);
	ASSERT(l->host_vector == host_vector && handlers[v->cpu][host_vector].fn); /* … and is nobody else's yet */
	l->on = false;
	fake_balance.lent--;
}

static const struct nic_irq_sink sink = { post_own, post_direct, own_descriptor, by_apic_id, arm, disarm };
const struct nic_irq_sink *nic_irq_sink = &sink;

/* ---- VMs ---- */

void vm_end(struct vm *vm, u32 exit_code, const char *fmt, ...)
{
	(void)exit_code, (void)fmt;
	vm->state = VM_ENDED;
	seen.vms_ended++;
}

static u64 flags_of_device(void) { return BIT(0) | BIT(1) | VM_MAP_DEVICE; }
static void flush(struct vm *vm)
{
	(void)vm;
	seen.flushes++;
}
static const struct vm_arch_ops arch = { .device_flags = flags_of_device, .flush = flush };
const struct vm_arch_ops *vm_arch = &arch;

hpa_t vm_gpa_to_hpa(struct vm *vm, gpa_t gpa, u64 len)
{
	struct ptab_leaf leaf;
	if (!ptab_walk(&vm->ept, gpa.v, &leaf) || !(leaf.flags & VM_MAP_RAM) || (gpa.v & (leaf.size - 1)) + len > leaf.size)
		return HPA_NONE;
	return leaf.pa;
}

static const struct ptab_fmt fmt = { "test", BITS(2, 0), BIT(7), BITS(2, 0), BITS(51, 12) };

struct vm *fake_vm(const char *name, u32 mib, const struct vm_config *cfg)
{
	struct vm *vm = calloc(1, sizeof(*vm));
	u64 half = (u64)mib << 19;
	vm->cfg = cfg;
	vm->owner.name = name;
	vm->ram_low = half * 2;
	ASSERT(!ptab_init(&vm->ept, &fmt, 4, 2, false, &vm->owner));
	for (u32 i = 0; i < 2; i++) {
		/* a page apart, so that the halves never join */
		u8 *ram = aligned_alloc(SIZE_2M, ALIGN_UP(half + SIZE_2M, SIZE_2M));
		ASSERT(!ptab_map(&vm->ept, i * half, HPA((u64)ram), half, BITS(2, 0) | VM_MAP_RAM));
	}
	return vm;
}

u8 *fake_vm_ram(struct vm *vm, u64 gpa)
{
	struct ptab_leaf leaf;
	return ptab_walk(&vm->ept, gpa, &leaf) ? (u8 *)leaf.pa.v : NULL;
}

void fake_vm_free(struct vm *vm)
{
	free(fake_vm_ram(vm, 0));
	free(fake_vm_ram(vm, vm->ram_low / 2));
	ptab_destroy(&vm->ept);
	free(vm);
}

void fakes_reset(void)
{
	memset(&fake_balance, 0, sizeof(fake_balance));
	memset(&fake, 0, sizeof(fake));
	memset(&seen, 0, sizeof(seen));
	memset(handlers, 0, sizeof(handlers));
	memset(domains, 0, sizeof(domains));
	memset(fake_own_posts, 0, sizeof(fake_own_posts));
	memset(fake_lent, 0, sizeof(fake_lent));
	fake_direct_posts = 0;
	fake_running_pi = HPA_NONE;
	armed = NULL;
	for (u32 i = 0; i < 2; i++) {
		cpus[i] = (struct cpu){ .index = i, .apic_id = 10 + i };
		fake_vcpus[i] = (struct vcpu_core){ .index = i, .apic_id = i, .cpu = i };
	}
}
