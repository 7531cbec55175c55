/*
 * PCI configuration space (PCI Local Bus Specification 3.0, Configuration Mechanism #1; PCI Express Base Specification,
 * Enhanced Configuration Access Mechanism). Functions are plugged in with their own configuration-space operations; the
 * host bridge 00:00.0 is the first.
 *
 * Invariant: a function sees only aligned accesses inside its 4 KiB; an access to a function that does not exist, a
 * misaligned or a wider one reads ones and writes nothing. The lock protects the address register and serialises the
 * functions' operations.
 */
#include "core/vpci.h"

#include "core/errno.h"
#include "core/vmisc.h"

#define PORT_ADDRESS 0xcf8
#define PORT_DATA_OFFSET 4
#define PORT_RESET_OFFSET 1 /* CF9h: reset control lies inside the address port's dword */
#define PORTS 8
#define ADDRESS_ENABLE BIT(31)
#define ADDRESS_RID BITS(23, 8)
#define ADDRESS_REGISTER BITS(7, 2)
#define ECAM_RID BITS(27, 12)
#define ECAM_REGISTER BITS(11, 0)

/* A generic PCIe host bridge: nothing in it to program, and no guest's driver knows quirks of it. */
#define BRIDGE_ID 0x00081b36u
#define BRIDGE_COMMAND (PCI_COMMAND_MEM | PCI_COMMAND_MASTER)
#define BRIDGE_CLASS 0x06000000u

struct function {
	rid_t rid;
	const struct vpci_ops *ops;
	void *dev;
};

struct vpci {
	spinlock_t lock;
	u32 address;
	u32 window;          /* first byte of the BAR window that is not assigned; nobody but the VM's maker changes it */
	u32 nr;
	struct function fn[VPCI_MAX_FUNCTIONS];
};

static const struct function *find(const struct vpci *p, u16 rid)
{
	for (u32 i = 0; i < p->nr; i++)
		if (p->fn[i].rid.v == rid)
			return &p->fn[i];
	return NULL;
}

static bool well_formed(u32 offset, u32 size) { return size <= 4 && IS_ALIGNED(offset, size); }

static u32 config_read(struct vpci *p, u16 rid, u32 offset, u32 size)
{
	const struct function *f = find(p, rid);
	return f && well_formed(offset, size) ? f->ops->read(f->dev, offset, size) : ~0u;
}

static void config_write(struct vpci *p, u16 rid, u32 offset, u32 size, u32 value)
{
	const struct function *f = find(p, rid);
	if (f && well_formed(offset, size))
		f->ops->write(f->dev, offset, size, value);
}

/* ---- the host bridge ---- */

static u32 bridge_read(void *dev, u32 offset, u32 size)
{
	u32 dword = offset >> 2 == 0 ? BRIDGE_ID : offset >> 2 == PCI_COMMAND >> 2 ? (u32)BRIDGE_COMMAND :
		    offset >> 2 == PCI_CLASS_REVISION >> 2 ? BRIDGE_CLASS : 0;

	(void)dev;
	(void)size; /* the caller cuts the value */
	return dword >> (offset & 3) * 8;
}

static void bridge_write(void *dev, u32 offset, u32 size, u32 value)
{
	(void)dev;
	(void)offset;
	(void)size;
	(void)value;
}

static const struct vpci_ops bridge_ops = { .read = bridge_read, .write = bridge_write };

/* ---- ports ---- */

static u32 port_register(const struct vpci *p, u64 offset)
{
	return (u32)(p->address & ADDRESS_REGISTER) | (u32)(offset - PORT_DATA_OFFSET);
}

static u64 port_read(void *dev, struct vcpu_core *v, u64 offset, u32 size)
{
	struct vpci *p = dev;
	u64 value = ~0ull;

	(void)v;
	spin_lock(&p->lock);
	if (offset >= PORT_DATA_OFFSET && p->address & ADDRESS_ENABLE)
		value = config_read(p, (u16)FIELD_GET(ADDRESS_RID, p->address), port_register(p, offset), size);
	else if (offset == 0 && size == 4)
		value = p->address;
	else if (offset == PORT_RESET_OFFSET && size == 1)
		value = 0;
	spin_unlock(&p->lock);
	return value;
}

static void port_write(void *dev, struct vcpu_core *v, u64 offset, u32 size, u64 value)
{
	struct vpci *p = dev;

	if (offset == PORT_RESET_OFFSET && size == 1) {
		vmisc_reset_control(v->vm, (u8)value);
		return;
	}
	spin_lock(&p->lock);
	if (offset >= PORT_DATA_OFFSET && p->address & ADDRESS_ENABLE)
		config_write(p, (u16)FIELD_GET(ADDRESS_RID, p->address), port_register(p, offset), size, (u32)value);
	else if (offset == 0 && size == 4)
		p->address = (u32)value & (u32)(ADDRESS_ENABLE | ADDRESS_RID | ADDRESS_REGISTER);
	spin_unlock(&p->lock);
}

static const struct vdev_ops port_ops = { .read = port_read, .write = port_write };

/* ---- ECAM ---- */

static u64 ecam_read(void *dev, struct vcpu_core *v, u64 offset, u32 size)
{
	struct vpci *p = dev;

	(void)v;
	spin_lock(&p->lock);
	u32 value = config_read(p, (u16)FIELD_GET(ECAM_RID, offset), (u32)(offset & ECAM_REGISTER), size);
	spin_unlock(&p->lock);
	return size == 8 ? ~0ull : value;
}

static void ecam_write(void *dev, struct vcpu_core *v, u64 offset, u32 size, u64 value)
{
	struct vpci *p = dev;

	(void)v;
	spin_lock(&p->lock);
	config_write(p, (u16)FIELD_GET(ECAM_RID, offset), (u32)(offset & ECAM_REGISTER), size, (u32)value);
	spin_unlock(&p->lock);
}

static const struct vdev_ops ecam_ops = { .read = ecam_read, .write = ecam_write };

int vpci_add(struct vm *vm, rid_t rid, const struct vpci_ops *ops, void *dev)
{
	struct vpci *p = vm->pci;

	if (find(p, rid.v))
		return -EEXIST;
	if (p->nr == VPCI_MAX_FUNCTIONS)
		return -ENOSPC;
	p->fn[p->nr++] = (struct function){ .rid = rid, .ops = ops, .dev = dev };
	return 0;
}

void vpci_remove(struct vm *vm, rid_t rid)
{
	struct vpci *p = vm->pci;

	for (u32 i = 0; i < p->nr; i++) {
		if (p->fn[i].rid.v == rid.v) {
			p->fn[i] = p->fn[--p->nr];
			break;
		}
	}
}

u32 vpci_window_alloc(struct vm *vm, u32 len)
{
	u64 at = ALIGN_UP(vm->pci->window, len);

	if (at + len > VPCI_ECAM_BASE)
		return 0;
	vm->pci->window = (u32)(at + len);
	return (u32)at;
}

int vpci_create(struct vm *vm)
{
	struct vpci *p = page_alloc(&vm->owner);
	if (!p)
		return -ENOMEM;
	vm->pci = p;
	p->window = VPCI_WINDOW_BASE;
	int err = vpci_add(vm, RID(0, 0, 0), &bridge_ops, NULL);
	if (!err)
		err = vdev_add(&vm->pio, PORT_ADDRESS, PORTS, &port_ops, p);
	if (!err)
		err = vdev_add(&vm->mmio, VPCI_ECAM_BASE, VPCI_ECAM_LEN, &ecam_ops, p);
	return err;
}

void vpci_destroy(struct vm *vm)
{
	if (vm->pci)
		page_free(&vm->owner, vm->pci);
	vm->pci = NULL;
}
