/*
 * kmain: everything in the order in which it can work.
 */
#include "core/acpi.h"
#include "core/apic.h"
#include "core/bootinfo.h"
#include "core/console.h"
#include "core/irq.h"
#include "core/mem.h"
#include "core/pci.h"
#include "core/percpu.h"
#include "core/time.h"
#include "core/x86.h"

static struct bootinfo boot;

static void banner(void)
{
	log_line("Nestling, loaded by %s", boot.loader[0] ? boot.loader : "an unknown loader");
	log_line("memory: %lu MiB, %lu MiB free, image %lu KiB at %lx, bundle %lu KiB at %lx", mem_total_bytes() >> 20,
		 mem_free_bytes() >> 20, boot.image_len >> 10, boot.image.v, boot.bundle_len >> 10, boot.bundle.v);
}

static void processors_find(struct acpi_cpus *found)
{
	const struct acpi_header *madt = acpi_find("APIC");
	int err = madt ? acpi_parse_madt(madt, madt->length, found) : -1;

	if (err) {
		log_line("acpi: %s MADT: only this processor is used", madt ? "corrupt" : "no");
		*found = (struct acpi_cpus){ .nr = 1, .apic_id = { apic_id() } };
	}
}

static void devices_list(void)
{
	for (u32 i = 0; i < pci_count(); i++) {
		const struct pci_dev *d = pci_get(i);

		log_line("pci: " RID_FMT " %04x:%04x class %06x", RID_ARG(d->rid), d->vendor, d->device, d->class_code);
	}
}

void ap_main(u32 cpu)
{
	(void)cpu;
	cpu_halt_forever();
}

void kmain(const struct bootinfo *bi)
{
	struct acpi_cpus processors;

	boot = *bi;
	percpu_init(0, apic_id_from_cpuid());
	cpus[0].online = true;
	console_init();
	mem_init(&boot);
	banner();
	acpi_init(boot.rsdp);
	time_init();
	apic_init();
	pci_init();
	devices_list();
	processors_find(&processors);
	log_line("processors: %u", processors.nr);
	cpu_halt_forever();
}
