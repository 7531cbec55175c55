/*
 * A VF's registers in a VM's address space: page 0 trapped, pages 1..3 the hardware itself.
 *
 * Invariant: when port_unmap_regs returns 0, no CPU of ours translates to the registers any more. The flush waits for CPUs that run
 * the VM's vCPUs, so nobody may meanwhile wait for anything that this CPU holds (port_enter gives up, a second flush is refused).
 */
#include "core/errno.h"
#include "core/fault.h"
#include "nic/port.h"

#define TRAPPED PAGE_SIZE
#define GPA_BITS 48
#define APIC_WINDOW_FIRST 0xfec00000ull /* I/O APIC to the end of the interrupt address range */
#define APIC_WINDOW_LAST 0xfeefffffull

static u32 flushing; /* atomic: some port's registers are being taken away */

/* ---- page 0 ---- */

static bool enter_mapped(struct nic_port *p)
{
	if (port_enter(p))
		return false;
	if (p->open && p->regs_mapped)
		return true;
	port_leave(p);
	return false;
}

static u64 page0_read(void *dev, struct vcpu_core *v, u64 offset, u32 size)
{
	struct nic_port *p = dev;
	u32 value = ~0u;
	(void)v;
	if (size != 4 || offset & 3 || !enter_mapped(p))
		return ~0ull;
	if (p->lower->ops->reg_read(p->lower, (u32)offset, &value))
		value = 0;
	port_leave(p);
	return value;
}

static void page0_write(void *dev, struct vcpu_core *v, u64 offset, u32 size, u64 value)
{
	struct nic_port *p = dev;
	(void)v;
	if (size != 4 || offset & 3 || !enter_mapped(p))
		return;
	/* A refused write is dropped, and said by whoever refused it. */
	(void)p->lower->ops->reg_write(p->lower, (u32)offset, (u32)value);
	port_leave(p);
}

static const struct vdev_ops page0_ops = { .read = page0_read, .write = page0_write };

/* ---- the window ---- */

static bool overlaps(u64 a, u64 a_len, u64 b, u64 b_len) { return a < b + b_len && b < a + a_len; }

/* Free of RAM, devices and interrupt addresses. Under vm->lock. */
static bool window_free(struct vm *vm, u64 gpa)
{
	struct ptab_leaf leaf;
	if (overlaps(gpa, NIC_REGS_LEN, 0, vm->ram_low) || overlaps(gpa, NIC_REGS_LEN, BIT(32), vm->ram_high) ||
	    overlaps(gpa, NIC_REGS_LEN, APIC_WINDOW_FIRST, APIC_WINDOW_LAST + 1 - APIC_WINDOW_FIRST))
		return false;
	if (vdev_claims(&vm->mmio, gpa, NIC_REGS_LEN))
		return false;
	for (u64 off = 0; off < NIC_REGS_LEN; off += PAGE_SIZE)
		if (ptab_walk(&vm->ept, gpa + off, &leaf))
			return false;
	return true;
}

static int window_map(struct nic_port *p, u64 gpa, hpa_t base)
{
	struct vm *vm = p->vm;
	int r = -EINVAL;
	spin_lock(&vm->lock);
	if (!window_free(vm, gpa))
		goto out;
	r = vdev_add(&vm->mmio, gpa, TRAPPED, &page0_ops, p);
	if (r) {
		r = r == -ENOSPC ? -ENOMEM : -EINVAL;
		goto out;
	}
	r = ptab_map(&vm->ept, gpa + TRAPPED, HPA(base.v + TRAPPED), NIC_REGS_LEN - TRAPPED, vm_arch->device_flags());
	if (r)
		vdev_remove(&vm->mmio, gpa);
out:
	spin_unlock(&vm->lock);
	return r;
}

int port_map_regs(struct nic_port *p, gpa_t gpa)
{
	hpa_t base;
	if (p->regs_mapped)
		return -EEXIST;
	if (!IS_ALIGNED(gpa.v, NIC_REGS_LEN) || gpa.v >= BIT(GPA_BITS))
		return -EINVAL;
	int r = p->lower->ops->map_regs(p->lower, &base);
	if (r)
		return r;
	r = fault_point("port: window of the registers") ? -ENOMEM : window_map(p, gpa.v, base);
	if (r) {
		p->lower->ops->unmap_regs(p->lower);
		return r;
	}
	p->regs = gpa;
	WRITE_ONCE(p->regs_mapped, true);
	return 0;
}

int port_unmap_regs(struct nic_port *p)
{
	struct vm *vm = p->vm;
	if (!p->regs_mapped)
		return -EINVAL;
	if (__atomic_exchange_n(&flushing, 1, __ATOMIC_ACQUIRE))
		return -EAGAIN;
	WRITE_ONCE(p->flushing, true);
	WRITE_ONCE(p->regs_mapped, false);
	spin_lock(&vm->lock);
	vdev_remove(&vm->mmio, p->regs.v);
	int r = ptab_unmap(&vm->ept, p->regs.v + TRAPPED, NIC_REGS_LEN - TRAPPED);
	spin_unlock(&vm->lock);
	ASSERT(!r); /* single pages: nothing to split */
	vm_arch->flush(vm);
	WRITE_ONCE(p->flushing, false);
	__atomic_store_n(&flushing, 0, __ATOMIC_RELEASE);
	r = p->lower->ops->unmap_regs(p->lower);
	if (r)
		log_line("nic: port %u of VM %s: the lower link kept the registers mapped (error %d)", p->index, vm->cfg->name, -r);
	return 0;
}
