/*
 * kmain: everything in the order in which it can work; the tables through which lower folders call upward; the life of the
 * VMs from the bundle to the last exit.
 *
 * Invariant: no VM runs before the machine is closed (no bus mastering, IOMMU on) and the whole configuration has been accepted.
 */
#include <string.h>

#include "boot/ap_start.h"
#include "core/acpi.h"
#include "core/apic.h"
#include "core/bootinfo.h"
#include "core/bundle.h"
#include "core/config.h"
#include "core/console.h"
#include "core/errno.h"
#include "core/exception.h"
#include "core/fault.h"
#include "core/hypercall.h"
#include "core/irq.h"
#include "core/mem.h"
#include "core/monitor.h"
#include "core/pci.h"
#include "core/percpu.h"
#include "core/poweroff.h"
#include "core/report.h"
#include "core/time.h"
#include "core/trace.h"
#include "core/vioapic.h"
#include "core/vm.h"
#include "core/x86.h"
#include "iommu/iommu.h"
#include "nic/nic.h"
#include "vmx/ept.h"
#include "vmx/nested.h"
#include "vmx/posting.h"
#include "vmx/sched.h"
#include "vmx/vlapic.h"

static struct bootinfo boot;
static struct bundle bundle;
static struct config config;
static struct vm *vms[CFG_MAX_VMS];
static u32 last_exit_code;
static u32 go; /* the other CPUs may run VMs */

/* ---- upward calls ---- */
static int arch_vm_init(struct vm *vm)
{
	int error = ept_vm_init(vm);
	return error ? error : vdev_add(&vm->mmio, 0xfee00000, PAGE_SIZE, &vlapic_mmio_ops, NULL);
}

static void arch_vm_kick(struct vm *vm)
{
	for (u32 i = 0; i < vm->nr_vcpus; i++)
		if (vm->vcpus[i])
			vcpu_request(vm->vcpus[i], 0);
	sched_ask_reap();
}

static void arch_vm_fini(struct vm *vm)
{
	for (u32 i = 0; i < vm->nr_vcpus; i++)
		if (vm->vcpus[i])
			vcpu_free(vm->vcpus[i]);
}

static const struct vm_arch_ops arch_ops = {
	.vm_init = arch_vm_init,
	.vcpu_create = vcpu_create,
	.ram_flags = ept_ram_flags,
	.device_flags = ept_device_flags,
	.flush = ept_flush_vm,
	.msi = vlapic_msi,
	.vm_fini = arch_vm_fini,
	.vm_kick = arch_vm_kick,
	.ports_init = nic_ports_init,
	.ports_fini = nic_ports_fini,
};
const struct vm_arch_ops *vm_arch = &arch_ops;

static bool sink_post_own(struct vcpu_core *v, u8 vector)
{
	bool idle = this_cpu()->current != vcpu_of(v) || READ_ONCE(vcpu_of(v)->state) != VCPU_RUNNABLE;
	bool news = !idle || !vlapic_waits(vcpu_of(v), vector);
	v->count.nic_irqs++;
	vlapic_post(vcpu_of(v), vector);
	return news;
}

static bool sink_post_direct(struct vcpu_core *v, hpa_t pi, u8 vector)
{
	bool posted = nested_post_direct(vcpu_of(v), pi, vector);
	v->count.nic_irqs += posted;
	return posted;
}

static hpa_t sink_own_descriptor(struct vcpu_core *v) { return vmx_caps.posted ? vcpu_of(v)->pi_hpa : HPA_NONE; }

static int sink_arm(struct vcpu_core *v, bool inner, u8 vector, u8 host_vector, hpa_t page)
{
	return posting_arm(vcpu_of(v), inner, vector, host_vector, page);
}

static void sink_disarm(struct vcpu_core *v, u8 host_vector) { posting_disarm(vcpu_of(v), host_vector); }

static struct vcpu_core *sink_by_apic_id(struct vm *vm, u32 id)
{
	return id < vm->nr_vcpus && vm->vcpus[id] ? &vm->vcpus[id]->core : NULL;
}

static const struct nic_irq_sink irq_sink = { sink_post_own, sink_post_direct, sink_own_descriptor, sink_by_apic_id,
						sink_arm, sink_disarm };
const struct nic_irq_sink *nic_irq_sink = &irq_sink;

/* ioapic_remap_fn */
static int remap_ioapic(u8 ioapic_id, u32 id, u8 vector)
{
	int handle = iommu_info()->remapping ? iommu_irq_alloc_ioapic(ioapic_id) : -ENOTSUP;
	int error = handle < 0 ? handle : iommu_irq_set(handle, id, vector);
	if (handle >= 0 && error)
		iommu_irq_free(handle);
	return error ? error : handle;
}

/* ---- reports ---- */
static const char *vm_name(void *vm) { return ((struct vm *)vm)->cfg->name; }

static void report_iommu(void)
{
	struct iommu_stats s;
	struct iommu_balance b;
	if (!iommu_info()->present)
		return;
	iommu_faults_poll();
	iommu_stats(&s);
	iommu_balance(&b);
	log_report("{\"section\":\"iommu\",\"maps\":%lu,\"unmaps\":%lu,\"invalidations\":%lu,\"waits\":%lu,\"irte_writes\":%lu,"
		   "\"faults\":%lu,\"domains\":%u,\"devices\":%u,\"irtes\":%u}", s.maps, s.unmaps, s.invalidations, s.waits,
		   s.irte_writes, s.faults, b.domains, b.devices, b.irtes);
}

static void report_vm(struct vm *vm, void *arg)
{
	(void)arg;
	log_report("{\"section\":\"vm\",\"vm\":\"%s\",\"pages\":%lu,\"faults\":%lu}", vm->cfg->name, vm->owner.pages, iommu_faults_of(vm));
}

static void report_vms(void) { vm_for_each(report_vm, NULL); }

/* What we hold for ourselves: a leak of a VM's life would show here from one end of a VM to the next. */
static void report_memory(void)
{
	log_report("{\"section\":\"memory\",\"own_pages\":%lu,\"free_bytes\":%lu}", mem_self.pages, mem_free_bytes());
}

/* A moment of the boot: the TSC, and how much of it this CPU had waited. */
struct moment {
	u64 tsc, waits;
};
static struct moment first_vm, first_phase;

static struct moment moment_now(void) { return (struct moment){ rdtsc(), this_cpu()->wait_tsc }; }

static void guest_is_up(void) { first_phase = moment_now(); }

/* Absolute TSC: where it counts instructions, differences without the waits are the work of a boot. */
static void report_boot(void)
{
	log_report("{\"section\":\"boot\",\"tsc_handoff\":%lu,\"tsc_first_vm\":%lu,\"waits_first_vm\":%lu,"
		   "\"tsc_first_phase\":%lu,\"waits_first_phase\":%lu}", boot.tsc_handoff, first_vm.tsc, first_vm.waits,
		   first_phase.tsc, first_phase.waits);
}

static u64 tsc_offset_of(const struct vcpu_core *v) { return container_of(v, struct vcpu, core)->tsc_offset; }

static void irq_nothing(void *arg, u8 vector) { (void)arg, (void)vector; }

static void wire(void)
{
	vlapic_level_eoi = vioapic_eoi;
	irq_bind_fixed(IRQ_VEC_KICK, irq_nothing);
	irq_bind_fixed(IRQ_VEC_PI, irq_nothing);
	irq_bind_fixed(IRQ_VEC_PI_NESTED, irq_nothing);
	report_init();
	report_set_exit_namer(vmx_exit_name);
	report_on_first_phase(guest_is_up);
	report_add_section(report_boot);
	report_add_section(report_iommu);
	report_add_section(report_vms);
	report_add_section(report_memory);
	iommu_set_vm_namer(vm_name);
	nic_hypercalls_init();
	nic_monitor_init();
}

/* ---- the machine ---- */
/* We cannot go on, through nobody's fault but the machine's or the configuration's: say so and stop, before any VM starts. */
static void __noreturn give_up(const char *why)
{
	log_line("cannot start: %s", why);
	if (outer_present())
		machine_exit_port(1);
	log_line("halted");
	cpu_halt_forever();
	__builtin_unreachable();
}

static void banner(void)
{
	log_line("Nestling at depth %u, loaded by %s", outer_depth(), boot.loader[0] ? boot.loader : "an unknown loader");
	log_line("memory: %lu MiB, %lu MiB free; image %lu KiB at %lx; bundle %lu KiB", mem_total_bytes() >> 20,
		 mem_free_bytes() >> 20, boot.image_len >> 10, boot.image.v, boot.bundle_len >> 10);
}

static void start_processors(void)
{
	struct acpi_cpus found;
	const struct acpi_header *madt = acpi_find("APIC");
	if (!madt || acpi_parse_madt(madt, madt->length, &found)) {
		log_line("acpi: no usable MADT: only this processor is used");
		found = (struct acpi_cpus){ .nr = 1, .apic_id = { apic_id() } };
	}
	ap_start_all(found.apic_id, found.nr);
	log_line("processors: %u of %u, TSC %lu kHz, %s", nr_cpus, found.nr, tsc_khz(), apic_is_x2() ? "x2APIC" : "xAPIC");
}

/* From here on no device masters the bus. */
static void close_machine(void)
{
	if (pci_init() < 0)
		log_line("pci: no ECAM (MCFG): no devices");
	if (!outer_present() || acpi_find("DMAR")) /* inside an outer, devices come by hypercall: it has the IOMMU */
		iommu_init();
}

/* Needs the configuration, and the whole of it is accepted only when its NICs are there. */
static void start_nics(void)
{
	char err[160];
	if (nic_init(&config, err, sizeof(err)) < 0)
		give_up(err);
}

void ap_main(u32 cpu)
{
	percpu_init(cpu, apic_id_from_cpuid());
	mem_init_cpu();
	apic_init_cpu();
	if (vmx_cpu_on()) {
		log_line("processor %u: VT-x cannot be used, it stays off", cpu);
		cpu_halt_forever();
	}
	cpus[cpu].online = true;
	while (!__atomic_load_n(&go, __ATOMIC_ACQUIRE))
		cpu_relax();
	sched_run();
	cpu_halt_forever();
	__builtin_unreachable();
}

/* ---- the VMs ---- */
static void read_bundle(void)
{
	char err[160];
	struct bundle_file file;
	if (!boot.bundle_len)
		give_up("no bundle: give one as a boot module, or as \\nestling\\bundle.cpio on the EFI system partition");
	if (bundle_open(&bundle, hpa_to_virt(boot.bundle), boot.bundle_len, err, sizeof(err)))
		give_up(err);
	if (bundle_find(&bundle, "nestling.cfg", &file))
		give_up("the bundle has no file nestling.cfg");
	if (config_parse(&config, (const char *)file.data, file.len, err, sizeof(err)))
		give_up(err);
	if (!config.nr_vms)
		give_up("nestling.cfg: no [vm] section");
	panic_set_exit_port(config.on_last_exit == LAST_EXIT_PORT);
}

static void create_vms(void)
{
	char err[200];
	for (u32 i = 0; i < config.nr_vms; i++) {
		if (vm_create(&vms[i], &config.vms[i], &bundle, err, sizeof(err)))
			give_up(err);
		log_line("vm %s: %lu MiB, %u vCPU(s), kernel %s", config.vms[i].name, config.vms[i].memory >> 20, config.vms[i].nr_cpus,
			 config.vms[i].kernel);
	}
	for (u32 i = 0; i < config.nr_vms; i++)
		vms[i]->state = VM_RUNNING;
}

static void bury(struct vm **slot)
{
	struct vm *vm = *slot;
	sched_remove_vm(vm);
	log_line("vm %s ended with code %u: %s", vm->cfg->name, vm->exit_code, vm->why);
	report_print();
	if (trace_on && outer_present()) /* our printing would push out what the outer's trace holds */
		(void)outer_call(HC_REPORT, 0, 0, 0, 0);
	trace_print();
	if (vm->exit_code)
		last_exit_code = vm->exit_code;
	*slot = NULL;
	vm_destroy(vm);
	iommu_forget_vm(vm);
}

/* Called by the boot CPU between vCPUs: true when no VM is left. */
static bool reap(void)
{
	bool alive = false;
	for (u32 i = 0; i < config.nr_vms; i++) {
		if (vms[i] && vm_ended(vms[i]))
			bury(&vms[i]);
		alive |= vms[i] != NULL;
	}
	return !alive;
}

static void __noreturn finish(void)
{
	log_line("no VM left");
	report_iommu();
	report_memory();
	switch (config.on_last_exit) {
	case LAST_EXIT_PORT:
		machine_exit_port((u8)last_exit_code);
	case LAST_POWEROFF:
		machine_poweroff();
	default:
		cpu_halt_forever();
		__builtin_unreachable();
	}
}

void kmain(const struct bootinfo *bi)
{
	char why[160];
	boot = *bi;
	percpu_init(0, apic_id_from_cpuid());
	cpus[0].online = true;
	console_init();
	mem_init(&boot);
	banner();
	acpi_init(boot.rsdp);
	apic_init();
	time_init();
	wire();
	if (vmx_probe(why, sizeof(why)) || vmx_cpu_on())
		give_up(why);
	vmx_log_features();
	nested_init();
	nested_page_init();
	nested_premap_init();
	start_processors();
	close_machine();
	read_bundle();
	start_nics();
	fault_init(config.fault_injection);
	if (config.trace)
		trace_init(tsc_offset_of);
	create_vms();
	monitor_start(remap_ioapic);
	sched_set_reaper(reap);
	first_vm = moment_now();
	log_line("hand-off to first VM: %lu instructions", first_vm.tsc - boot.tsc_handoff - first_vm.waits);
	__atomic_store_n(&go, 1, __ATOMIC_RELEASE);
	sched_run();
	finish();
}
