/*
 * The machine of virtio_machine.h: the VM's side of core/, as small as the device needs it.
 */
#include "tests/unit/virtio_machine.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/errno.h"
#include "core/fault.h"
#include "core/vmisc.h"
#include "core/vpci.h"
#include "core/x86.h"
#include "nic/virtio.h"

struct machine machine;
u64 host_direct_map_base;

static struct { u64 base, len; } ram[256];
static u32 nr_ram;

void log_line(const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	vsnprintf(machine.log, sizeof(machine.log), fmt, args);
	va_end(args);
}

bool fault_hit(struct fault_point *p)
{
	bool hit = machine.fault && !strcmp(machine.fault, p->name);
	if (hit)
		machine.fault = NULL;
	return hit;
}

u64 tsc_khz(void) { return 1000000; }
u64 wait_begin(void) { return rdtsc(); }
void wait_end(u64 start) { (void)start; }
void wait_pause(u32 *polls) { ++*polls; }
void vmisc_reset_control(struct vm *vm, u8 value) { (void)vm, (void)value; }

/* ---- memory ---- */

void machine_ram(const void *p, u64 len)
{
	ASSERT(nr_ram < ARRAY_SIZE(ram));
	ram[nr_ram].base = (u64)p;
	ram[nr_ram++].len = len;
}

static bool is_ram(u64 at, u64 len)
{
	for (u32 i = 0; i < nr_ram; i++)
		if (at >= ram[i].base && at - ram[i].base < ram[i].len && ram[i].len - (at - ram[i].base) >= len)
			return true;
	return false;
}

hpa_t vm_gpa_to_hpa(struct vm *vm, gpa_t gpa, u64 len)
{
	(void)vm;
	return is_ram(gpa.v, len) ? HPA(gpa.v) : HPA_NONE;
}

int vm_read(struct vm *vm, gpa_t gpa, void *buf, u64 len)
{
	if (vm_gpa_to_hpa(vm, gpa, len).v == HPA_NONE.v)
		return -EFAULT;
	memcpy(buf, (void *)gpa.v, len);
	return 0;
}

int vm_write(struct vm *vm, gpa_t gpa, const void *buf, u64 len)
{
	if (vm_gpa_to_hpa(vm, gpa, len).v == HPA_NONE.v)
		return -EFAULT;
	memcpy((void *)gpa.v, buf, len);
	return 0;
}

void *pages_alloc(struct mem_owner *owner, unsigned order)
{
	if (owner->limit && owner->pages + (1ull << order) > owner->limit)
		return NULL;
	void *p = aligned_alloc(PAGE_SIZE << order, PAGE_SIZE << order);
	memset(p, 0, PAGE_SIZE << order);
	owner->pages += 1ull << order;
	if (owner != &machine.vm.owner)
		machine_ram(p, PAGE_SIZE << order); /* an inner instance's memory is RAM of the VM that it is */
	return p;
}

void pages_free(struct mem_owner *owner, void *p, unsigned order)
{
	owner->pages -= 1ull << order;
	for (u32 i = 0; i < nr_ram; i++)
		if (ram[i].base == (u64)p)
			ram[i].len = 0;
	free(p);
}

/* ---- registers ---- */

static u64 look(u64 at, u32 size)
{
	u64 value;
	vdev_read(&machine.vm.mmio, NULL, at, size, &value);
	return value;
}

u64 machine_read(const volatile void *p, u32 size)
{
	u64 at = (u64)p, bar0 = look(VPCI_ECAM_BASE + (MACHINE_RID << 12) + PCI_BAR0, 4), value = look(at, size);
	machine.exits++;
	if (at == bar0 + offsetof(struct virtio_common, device_feature))
		value &= ~(machine.hidden >> 32 * look(bar0 + offsetof(struct virtio_common, device_feature_select), 4));
	return value;
}

void machine_write(volatile void *p, u32 size, u64 value)
{
	machine.exits++;
	machine.kicks += size == 2 && ((u64)p & (VNET_BAR0_LEN - 1)) >= VNET_NOTIFY && (u64)p < VPCI_ECAM_BASE;
	vdev_write(&machine.vm.mmio, NULL, (u64)p, size, value);
}

static void msi(struct vm *vm, u64 addr, u32 data)
{
	ASSERT(vm == &machine.vm && data < 256);
	machine.msi_addr = addr;
	machine.msis[data]++;
}
static const struct vm_arch_ops arch = { .msi = msi };
const struct vm_arch_ops *vm_arch = &arch;

/* ---- the lower link ---- */

static int lower_info(struct nic_lower *l, struct nest_nic_info *out)
{
	(void)l;
	*out = machine.info;
	return 0;
}

static int lower_start(struct nic_lower *l)
{
	int r = machine.err_start;
	(void)l;
	machine.err_start = 0;
	machine.starts += !r;
	return r;
}
static void lower_stop(struct nic_lower *l) { (void)l, machine.stops++; }
static int lower_tx(struct nic_lower *l, const u8 *frame, u32 len)
{
	(void)l;
	machine.tx(frame, len);
	return 0;
}
static void lower_flush(struct nic_lower *l) { (void)l, machine.flushes++; }
static int lower_fence(struct nic_lower *l)
{
	(void)l;
	machine.fences++;
	return 0;
}
static void lower_more(struct nic_lower *l) { (void)l, machine.more++; }
static void lower_filter(struct nic_lower *l, const struct nic_rx_filter *f) { (void)l, machine.filter = *f; }

static const struct nic_data_ops data = { lower_start, lower_stop, lower_tx, lower_flush, lower_fence, lower_more, lower_filter };
static const struct nic_ops ops = { .name = "test", .info = lower_info, .data = &data };

void machine_start(void)
{
	static const struct vm_config cfg = { .name = "test" };
	static const u8 mac[6] = { 0x52, 0x54, 0, 0, 0, 2 };
	machine = (struct machine){ .vm = { .cfg = &cfg }, .lower = { .ops = &ops, .data = ops.data }, .info = { .max_frame = MACHINE_FRAME } };
	memcpy(machine.info.mac, mac, 6);
	nr_ram = 0;
	machine.lower.bound = &machine.port;
	machine.port.vm = &machine.vm;
	machine.port.lower = &machine.lower;
	machine.port.cfg = &cfg.nics[0];
	ASSERT(!vpci_create(&machine.vm) && !vnet_create(&machine.port.dev, &machine.port));
	machine.exits = machine.kicks = 0;
}

void machine_stop(void)
{
	vnet_destroy(machine.port.dev);
	vpci_destroy(&machine.vm);
	ASSERT(!machine.vm.owner.pages);
}
