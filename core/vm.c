/*
 * VM objects: creation from a configuration, the end, and giving everything back. Memory is in vm_mem.c.
 *
 * Invariant: vm_create either returns a VM that could run at once, or nothing is left of it; vm_destroy takes apart in
 * the reverse order of creation: devices that could reach memory first, then vCPUs, then memory.
 */
#include "core/vm.h"

#include <stdarg.h>
#include <string.h>

#include "core/bundle.h"
#include "core/errno.h"
#include "core/loader.h"
#include "core/percpu.h"
#include "core/report.h"
#include "core/vacpi.h"
#include "core/vioapic.h"
#include "core/vm_mem.h"
#include "core/vmisc.h"
#include "core/vpci.h"
#include "core/vuart.h"

_Static_assert(sizeof(struct vm) <= PAGE_SIZE, "a VM object is one page");

/* Protects vms. Lock order: "vm list". */
static spinlock_t list_lock = SPINLOCK_INIT;
static struct vm *vms[CFG_MAX_VMS];

/* A sentence about one VM; returns `error`. */
static int __printf_like(5, 6) fail(char *err, size_t errlen, const struct vm_config *cfg, int error, const char *fmt, ...)
{
	int n = format(err, errlen, "vm %s: ", cfg->name);
	va_list ap;

	if (n >= 0 && (size_t)n < errlen) {
		va_start(ap, fmt);
		format_va(err + n, errlen - (size_t)n, fmt, ap);
		va_end(ap);
	}
	return error;
}

/* ---- the list ---- */

static bool list_add(struct vm *vm)
{
	bool added = false;

	spin_lock(&list_lock);
	for (u32 i = 0; i < CFG_MAX_VMS && !added; i++) {
		if (vms[i])
			continue;
		vms[i] = vm;
		vm->id = i + 1;
		added = true;
	}
	spin_unlock(&list_lock);
	return added;
}

static void list_remove(struct vm *vm)
{
	spin_lock(&list_lock);
	vms[vm->id - 1] = NULL;
	spin_unlock(&list_lock);
}

void vm_for_each(void (*fn)(struct vm *vm, void *arg), void *arg)
{
	spin_lock(&list_lock);
	for (u32 i = 0; i < CFG_MAX_VMS; i++)
		if (vms[i])
			fn(vms[i], arg);
	spin_unlock(&list_lock);
}

/* ---- creation ---- */

/* What can be said before anything is allocated. */
static int check(const struct vm_config *cfg, const struct bundle *b, char *err, size_t errlen)
{
	struct bundle_file f;
	u64 free = mem_free_bytes();

	if (bundle_find(b, cfg->kernel, &f))
		return fail(err, errlen, cfg, -ENOENT, "kernel '%s' is not in the bundle", cfg->kernel);
	for (u32 i = 0; i < cfg->nr_modules; i++)
		if (bundle_find(b, cfg->modules[i].file, &f))
			return fail(err, errlen, cfg, -ENOENT, "module '%s' is not in the bundle", cfg->modules[i].file);
	for (u32 i = 0; i < cfg->nr_cpus; i++)
		if (cfg->cpus[i] >= nr_cpus)
			return fail(err, errlen, cfg, -ENODEV, "vCPU %u is to run on CPU %u, but the last one is CPU %u", i,
				    cfg->cpus[i], nr_cpus - 1);
	if (cfg->memory > free)
		return fail(err, errlen, cfg, -ENOMEM, "%llu MiB of memory are asked for, %llu MiB are free",
			    (unsigned long long)cfg->memory >> 20, (unsigned long long)free >> 20);
	return 0;
}

static struct vm *alloc_vm(const struct vm_config *cfg)
{
	struct vm *vm = page_alloc(&mem_self);

	if (!vm)
		return NULL;
	vm->cfg = cfg;
	vm->owner.name = cfg->name;
	vm->owner.limit = vm_mem_limit(cfg->memory);
	vm->console.tag = cfg->name;
	if (!list_add(vm)) {
		page_free(&mem_self, vm);
		return NULL;
	}
	return vm;
}

static int create_devices(struct vm *vm)
{
	int err = vioapic_create(vm);
	if (!err)
		err = vuart_create(vm);
	if (!err)
		err = vpci_create(vm);
	if (!err)
		err = vmisc_create(vm);
	return err;
}

static int create_vcpus(struct vm *vm, const struct vm_entry_state *entry)
{
	int err = 0;

	vm->nr_vcpus = vm->cfg->nr_cpus;
	for (u32 i = 0; i < vm->nr_vcpus && !err; i++)
		err = vm_arch->vcpu_create(vm, i, entry);
	return err;
}

/* Everything behind the bare object and its empty address space. */
static int build(struct vm *vm, const struct bundle *b, char *err, size_t errlen)
{
	const struct vm_config *cfg = vm->cfg;
	struct vm_entry_state entry;
	char reason[200];

	int e = vm_mem_create(vm);
	if (e)
		return fail(err, errlen, cfg, e, "%llu MiB of memory are asked for, but the free %llu MiB do not have as many whole "
			    "2 MiB pieces", (unsigned long long)cfg->memory >> 20, (unsigned long long)mem_free_bytes() >> 20);
	e = create_devices(vm);
	if (e)
		return fail(err, errlen, cfg, e, "no memory for its devices");
	e = vacpi_create(vm);
	if (e)
		return fail(err, errlen, cfg, e, "its ACPI tables cannot be written");
	e = loader_load(vm, b, &entry, reason, sizeof(reason));
	if (e)
		return fail(err, errlen, cfg, e, "%s", reason);
	e = create_vcpus(vm, &entry);
	if (e)
		return fail(err, errlen, cfg, e, "no memory for its vCPUs");
	e = vm_arch->ports_init(vm);
	if (e)
		return fail(err, errlen, cfg, e, "its network ports cannot be opened (see the message above)");
	return 0;
}

int vm_create(struct vm **out, const struct vm_config *cfg, const struct bundle *b, char *err, size_t errlen)
{
	int e = check(cfg, b, err, errlen);
	if (e)
		return e;
	struct vm *vm = alloc_vm(cfg);
	if (!vm)
		return fail(err, errlen, cfg, -ENOMEM, "no memory for one more VM");
	e = vm_arch->vm_init(vm);
	if (e) {
		list_remove(vm);
		page_free(&mem_self, vm);
		return fail(err, errlen, cfg, e, "no memory for its page tables");
	}
	e = build(vm, b, err, errlen);
	if (e) {
		vm_destroy(vm);
		return e;
	}
	*out = vm;
	return 0;
}

/* ---- the end ---- */

void vm_end(struct vm *vm, u32 exit_code, const char *fmt, ...)
{
	va_list ap;

	if (__atomic_exchange_n(&vm->ending, 1, __ATOMIC_ACQ_REL))
		return;
	vm->exit_code = exit_code;
	va_start(ap, fmt);
	format_va(vm->why, sizeof(vm->why), fmt, ap);
	va_end(ap);
	vuart_flush(vm);
	__atomic_store_n(&vm->state, VM_ENDED, __ATOMIC_RELEASE);
	vm_arch->vm_kick(vm);
}

void vm_destroy(struct vm *vm)
{
	/* First out of sight: from here on no report of another CPU looks at it or allots anything for it. */
	list_remove(vm);
	report_forget(vm);
	vm_arch->ports_fini(vm);
	vm_arch->vm_fini(vm);
	vuart_flush(vm);
	vmisc_destroy(vm);
	vpci_destroy(vm);
	vuart_destroy(vm);
	vioapic_destroy(vm);
	vm_mem_destroy(vm);
	if (vm->owner.pages)
		panic("vm %s: %llu pages were not given back", vm->cfg->name, (unsigned long long)vm->owner.pages);
	page_free(&mem_self, vm);
}
