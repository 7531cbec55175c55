/* The core around the units' model (vtd_model.h): just enough for iommu/ to run in a test. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/acpi.h"
#include "core/apic.h"
#include "core/console.h"
#include "core/errno.h"
#include "core/irq.h"
#include "core/percpu.h"
#include "core/time.h"
#include "tests/unit/vtd_model.h"

struct stub_state stub;
u64 host_direct_map_base; /* "physical" addresses are the test's own */
struct mem_owner mem_self = { .name = "hypervisor" };
struct cpu cpus[MAX_CPUS];

static void *pages[4096]; /* not given back yet */

/* Power off: what the last machine had in memory is gone. */
void stub_reset(void)
{
	for (u32 i = 0; i < ARRAY_SIZE(pages); i++) {
		free(pages[i]);
		pages[i] = NULL;
	}
	memset(&stub, 0, sizeof(stub));
	stub.vm_owner.name = "vm";
	stub.ram_end = 8 * SIZE_1G;
	cpus[0].apic_id = 3;
}

/* ---- console ---- */

static void append(const char *fmt, va_list args)
{
	size_t used = strlen(stub.log);
	vsnprintf(stub.log + used, sizeof(stub.log) - used, fmt, args);
	strncat(stub.log, "\n", sizeof(stub.log) - strlen(stub.log) - 1);
	stub.log_lines++;
}
void log_line(const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	append(fmt, args);
	va_end(args);
}
bool stub_logged(const char *text) { return strstr(stub.log, text) != NULL; }
int format(char *buf, size_t size, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	int n = vsnprintf(buf, size, fmt, args);
	va_end(args);
	return n;
}

/* ---- memory ---- */

void *pages_alloc(struct mem_owner *owner, unsigned order)
{
	size_t size = PAGE_SIZE << order;

	bool fails = stub.fail_after && --stub.fail_after == 0;
	if (fails && stub.on_failure)
		stub.on_failure();
	if (fails || (owner->limit && owner->pages + (1u << order) > owner->limit))
		return NULL;
	void *p = aligned_alloc(size, size);
	memset(p, 0, size);
	u32 i = 0;
	while (pages[i])
		ASSERT(++i < ARRAY_SIZE(pages));
	pages[i] = p;
	owner->pages += 1u << order;
	return p;
}
void pages_free(struct mem_owner *owner, void *p, unsigned order)
{
	ASSERT(owner->pages >= 1u << order);
	owner->pages -= 1u << order;
	u32 i = 0;
	while (pages[i] != p)
		ASSERT(++i < ARRAY_SIZE(pages));
	pages[i] = NULL;
	free(p);
}
bool mem_is_ram(hpa_t a, u64 len)
{
	u64 end = a.v + len;
	return end > a.v && a.v >= 0x100000 && end <= stub.ram_end && (end <= 3 * SIZE_1G || a.v >= 4 * SIZE_1G);
}
void *mmio_map(hpa_t a, u64 len)
{
	for (u32 i = 0; i < MODEL_UNITS; i++)
		if (a.v == MODEL_BASE(i) && len <= sizeof(models[i].regs))
			return models[i].regs;
	return NULL;
}
void clflush(const volatile void *p)
{
	(void)p;
	stub.clflushes++;
}

/* ---- the rest ---- */

const struct acpi_header *acpi_find(const char *signature) { return strcmp(signature, "DMAR") ? NULL : stub.dmar; }
bool apic_is_x2(void) { return stub.x2apic; }
int irq_alloc(u32 cpu, irq_fn fn, void *arg)
{
	if (stub.no_vectors)
		return -ENOSPC;
	ASSERT(cpu == 0);
	stub.irq_fn = fn;
	stub.irq_arg = arg;
	return 0x51;
}
void irq_free(u32 cpu, u8 vector)
{
	ASSERT(cpu == 0 && vector == 0x51);
	stub.irq_fn = NULL;
}
u64 tsc_khz(void) { return 1; } /* a second is a thousand ticks: waits for what never comes end at once */
u64 wait_begin(void) { return rdtsc(); }
void wait_end(u64 start) { (void)start; }
void wait_pause(u32 *polls) { (void)polls; }
void timer_arm(struct timer *t, u64 deadline)
{
	ASSERT(!stub.timer);
	t->deadline = deadline;
	stub.timer = t;
	stub.timers++;
}
void timer_cancel(struct timer *t)
{
	if (stub.timer == t)
		stub.timer = NULL;
}
bool stub_timer(void)
{
	struct timer *t = stub.timer;

	stub.timer = NULL;
	if (t)
		t->fn(t->arg);
	return t;
}

const struct pci_dev *pci_find_rid(rid_t rid)
{
	for (u32 i = 0; i < stub.nr_pci; i++)
		if (stub.pci[i].rid.v == rid.v)
			return &stub.pci[i];
	return NULL;
}
void pci_quiesce_all(void) { stub.quiesced = true; }
u16 pci_read16(rid_t r, u16 off)
{
	if (r.v == stub.deaf_rid)
		return 0xffff;
	return off == PCI_COMMAND ? stub.command[r.v] : 0;
}
void pci_write16(rid_t r, u16 off, u16 v)
{
	if (off == PCI_COMMAND)
		stub.command[r.v] = v;
}
u16 pci_find_cap(rid_t r, u8 id)
{
	(void)r;
	return id == PCI_CAP_ID_EXP ? 0xa0 : 0;
}
