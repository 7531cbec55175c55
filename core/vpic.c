/*
 * A pair of 8259A interrupt controllers (8259A data sheet, Programming the 8259A), reduced to what a kernel does before it
 * turns to the APICs: initialise, mask, read the mask back. No device is wired to them, so nothing is ever requested.
 *
 * Invariant: IRR and ISR read zero; outside an initialisation the mask reads back what OCW1 wrote.
 */
#include "core/vmisc.h"

#define PORT_MASTER 0x20
#define PORT_SLAVE 0xa0
#define ICW1 BIT(4)
#define ICW1_NEEDS_ICW4 BIT(0)
#define ICW1_SINGLE BIT(1)

static void write_command(struct vpic_chip *c, u8 value)
{
	if (!(value & ICW1))
		return; /* OCW2 and OCW3: nothing is in service, nothing requested */
	c->icw = 2;
	c->mask = 0;
	c->needs_icw4 = value & ICW1_NEEDS_ICW4;
	c->single = value & ICW1_SINGLE;
}

/* ICW2, ICW3 (unless single), ICW4 (if announced); after them OCW1. */
static void write_data(struct vpic_chip *c, u8 value)
{
	if (!c->icw)
		c->mask = value;
	else if (c->icw == 2 && !c->single)
		c->icw = 3;
	else if (c->icw < 4 && c->needs_icw4)
		c->icw = 4;
	else
		c->icw = 0;
}

static u64 pic_read(void *dev, struct vcpu_core *v, u64 offset, u32 size)
{
	struct vpic_chip *c = dev;

	(void)v;
	spin_lock(&c->lock);
	u64 value = offset ? c->mask : size > 1 ? (u64)c->mask << 8 : 0;
	spin_unlock(&c->lock);
	return value;
}

static void pic_write(void *dev, struct vcpu_core *v, u64 offset, u32 size, u64 value)
{
	struct vpic_chip *c = dev;

	(void)v;
	spin_lock(&c->lock);
	if (offset == 0)
		write_command(c, (u8)value);
	if (offset == 1 || size > 1)
		write_data(c, (u8)(value >> (offset ? 0 : 8)));
	spin_unlock(&c->lock);
}

static const struct vdev_ops pic_ops = { .read = pic_read, .write = pic_write };

int vpic_init(struct vm *vm, struct vpic *p)
{
	int err = vdev_add(&vm->pio, PORT_MASTER, 2, &pic_ops, &p->master);
	return err ? err : vdev_add(&vm->pio, PORT_SLAVE, 2, &pic_ops, &p->slave);
}
