/*
 * I/O APIC (Intel 82093AA data sheet, Register Description; the EOI register at 40h is that of version 20h, Intel ICH
 * data sheets, "EOIR - EOI Register"). Each interrupt leaves as the MSI that the redirection entry describes
 * (SDM 3A, Message Signalled Interrupts).
 *
 * Invariant: a level-triggered pin sends one message per assertion or EOI: while remote-IRR is set it sends none. The
 * lock protects everything; vm_arch->msi is called under it and takes no lock of a device.
 */
#include "core/vioapic.h"

#include "core/errno.h"

#define REG_SELECT 0x00
#define REG_WINDOW 0x10
#define REG_EOI 0x40
#define INDEX_ID 0
#define INDEX_VERSION 1
#define INDEX_ARBITRATION 2
#define INDEX_REDIRECT 0x10
#define VERSION 0x20u

#define RTE_VECTOR BITS(7, 0)
#define RTE_MODE BITS(10, 8)
#define RTE_LOGICAL BIT(11)
#define RTE_PENDING BIT(12)
#define RTE_LOW_ACTIVE BIT(13)
#define RTE_REMOTE_IRR BIT(14)
#define RTE_LEVEL BIT(15)
#define RTE_MASKED BIT(16)
#define RTE_DEST BITS(63, 56)
#define RTE_WRITABLE (RTE_VECTOR | RTE_MODE | RTE_LOGICAL | RTE_LOW_ACTIVE | RTE_LEVEL | RTE_MASKED | RTE_DEST)

#define MSI_ADDR 0xfee00000ull
#define MSI_ADDR_DEST BITS(19, 12)
#define MSI_ADDR_LOGICAL BIT(2)
#define MSI_DATA_ASSERT BIT(14)
#define MSI_DATA_LEVEL BIT(15)

struct vioapic {
	spinlock_t lock;
	struct vm *vm;
	u32 select, id;
	u32 high;                    /* bit p: pin p is asserted */
	u64 rte[VIOAPIC_PINS];
};

static void send(struct vioapic *io, u64 rte)
{
	u64 addr = MSI_ADDR | FIELD_PREP(MSI_ADDR_DEST, FIELD_GET(RTE_DEST, rte)) | (rte & RTE_LOGICAL ? MSI_ADDR_LOGICAL : 0);
	u32 data = (u32)(rte & (RTE_VECTOR | RTE_MODE)) | (u32)MSI_DATA_ASSERT | (rte & RTE_LEVEL ? (u32)MSI_DATA_LEVEL : 0);
	vm_arch->msi(io->vm, addr, data);
}

/* Send what a level-triggered pin has to say. */
static void evaluate_level(struct vioapic *io, u32 pin)
{
	u64 *rte = &io->rte[pin];
	if (!(*rte & RTE_LEVEL) || *rte & (RTE_MASKED | RTE_REMOTE_IRR) || !(io->high & BIT(pin)))
		return;
	*rte |= RTE_REMOTE_IRR;
	send(io, *rte);
}

void vioapic_set_pin(struct vm *vm, u32 pin, bool high)
{
	struct vioapic *io = vm->ioapic;

	spin_lock(&io->lock);
	bool was = io->high & BIT(pin);
	io->high = high ? io->high | (u32)BIT(pin) : io->high & ~(u32)BIT(pin);
	if (io->rte[pin] & RTE_LEVEL)
		evaluate_level(io, pin);
	else if (high && !was && !(io->rte[pin] & RTE_MASKED))
		send(io, io->rte[pin]);
	spin_unlock(&io->lock);
}

static void eoi(struct vioapic *io, u8 vector)
{
	for (u32 pin = 0; pin < VIOAPIC_PINS; pin++) {
		u64 *rte = &io->rte[pin];
		if (!(*rte & RTE_REMOTE_IRR) || FIELD_GET(RTE_VECTOR, *rte) != vector)
			continue;
		*rte &= ~RTE_REMOTE_IRR;
		evaluate_level(io, pin);
	}
}

void vioapic_eoi(struct vm *vm, u8 vector)
{
	spin_lock(&vm->ioapic->lock);
	eoi(vm->ioapic, vector);
	spin_unlock(&vm->ioapic->lock);
}

/* ---- registers ---- */

static u32 read_indirect(const struct vioapic *io)
{
	u32 r = io->select - INDEX_REDIRECT;

	switch (io->select) {
	case INDEX_ID: case INDEX_ARBITRATION: return io->id;
	case INDEX_VERSION: return VERSION | (VIOAPIC_PINS - 1) << 16;
	default: return r < VIOAPIC_PINS * 2 ? (u32)(io->rte[r / 2] >> (r & 1 ? 32 : 0)) : 0;
	}
}

static void write_redirect(struct vioapic *io, u32 r, u32 value)
{
	u32 pin = r / 2, shift = r & 1 ? 32 : 0;
	u64 mask = (0xffffffffull << shift) & RTE_WRITABLE, *rte = &io->rte[pin];

	*rte = (*rte & ~mask) | ((u64)value << shift & mask);
	if (!(*rte & RTE_LEVEL))
		*rte &= ~RTE_REMOTE_IRR; /* switching to edge clears it: how version 11h is EOIed by software */
	evaluate_level(io, pin);
}

static void write_indirect(struct vioapic *io, u32 value)
{
	u32 r = io->select - INDEX_REDIRECT;

	if (io->select == INDEX_ID)
		io->id = value & 0x0f000000;
	else if (r < VIOAPIC_PINS * 2)
		write_redirect(io, r, value);
}

static u64 vioapic_read(void *dev, struct vcpu_core *v, u64 offset, u32 size)
{
	struct vioapic *io = dev;
	u64 value = 0;

	(void)v;
	(void)size; /* the registers are 32 bits wide: narrower reads see their low part */
	spin_lock(&io->lock);
	if (offset == REG_SELECT)
		value = io->select;
	else if (offset == REG_WINDOW)
		value = read_indirect(io);
	spin_unlock(&io->lock);
	return value;
}

static void vioapic_write(void *dev, struct vcpu_core *v, u64 offset, u32 size, u64 value)
{
	struct vioapic *io = dev;

	(void)v;
	spin_lock(&io->lock);
	if (offset == REG_SELECT)
		io->select = (u8)value;
	else if (offset == REG_WINDOW && size == 4)
		write_indirect(io, (u32)value);
	else if (offset == REG_EOI)
		eoi(io, (u8)value);
	spin_unlock(&io->lock);
}

static const struct vdev_ops vioapic_ops = { .read = vioapic_read, .write = vioapic_write };

int vioapic_create(struct vm *vm)
{
	struct vioapic *io = page_alloc(&vm->owner);
	if (!io)
		return -ENOMEM;
	io->vm = vm;
	for (u32 pin = 0; pin < VIOAPIC_PINS; pin++)
		io->rte[pin] = RTE_MASKED;
	vm->ioapic = io;
	return vdev_add(&vm->mmio, VIOAPIC_BASE, VIOAPIC_LEN, &vioapic_ops, io);
}

void vioapic_destroy(struct vm *vm)
{
	if (vm->ioapic)
		page_free(&vm->owner, vm->ioapic);
	vm->ioapic = NULL;
}
