/*
 * The small devices: exit port F4h, ACPI fixed hardware (ACPI 6.5, ACPI Hardware Specification, Fixed Hardware), reset by
 * CF9h or the keyboard controller, and port 80h. There is no PIT, RTC, VGA or floppy: their ports read as ones.
 *
 * Invariant: none of these devices ever raises an interrupt; whatever ends the VM goes through vm_end.
 */
#include "core/vmisc.h"

#include "core/errno.h"
#include "core/time.h"

#define PORT_POST 0x80
#define PORT_KBD_DATA 0x60
#define PORT_KBD_COMMAND 0x64
#define KBD_PULSE 0xf0        /* F0h-FFh: pulse output lines; bit 0 clear = pulse the reset line */
#define KBD_NO_RESET BIT(0)
#define RESET_CPU BIT(2)      /* of CF9h */

#define PM_HZ 3579545ull
#define PM_ENABLE_OFFSET 2
#define PM_CONTROL_OFFSET (VMISC_PM1_CONTROL - VMISC_PM1_EVENT)
#define PM_TIMER_OFFSET (VMISC_PM_TIMER - VMISC_PM1_EVENT)
#define PM_SCI_EN BIT(0)
#define PM_SLP_TYP BITS(12, 10)
#define PM_SLP_EN BIT(13)

struct vmisc {
	struct vpic pic;
	u16 pm1_enable;
};

static u64 read_zero(void *dev, struct vcpu_core *v, u64 offset, u32 size)
{
	(void)dev;
	(void)v;
	(void)offset;
	(void)size;
	return 0;
}

static u64 read_ones(void *dev, struct vcpu_core *v, u64 offset, u32 size)
{
	(void)dev;
	(void)v;
	(void)offset;
	(void)size;
	return ~0ull;
}

static void write_nothing(void *dev, struct vcpu_core *v, u64 offset, u32 size, u64 value)
{
	(void)dev;
	(void)v;
	(void)offset;
	(void)size;
	(void)value;
}

static void exit_write(void *dev, struct vcpu_core *v, u64 offset, u32 size, u64 value)
{
	(void)dev;
	(void)size;
	if (offset == 0) /* a wider write has the code in its lowest byte */
		vm_end(v->vm, (u8)value, "exit port");
}

void vmisc_reset_control(struct vm *vm, u8 value)
{
	if (value & RESET_CPU)
		vm_end(vm, VM_CODE_RESET, "reset (port cf9)");
}

/* The keyboard controller: nothing to read, always ready for a command, and the only command it obeys is the reset pulse. */
static void keyboard_write(void *dev, struct vcpu_core *v, u64 offset, u32 size, u64 value)
{
	(void)dev;
	(void)offset;
	(void)size;
	if ((value & KBD_PULSE) == KBD_PULSE && !(value & KBD_NO_RESET))
		vm_end(v->vm, VM_CODE_RESET, "reset (keyboard controller)");
}

/* ---- ACPI fixed hardware ---- */

static u32 pm_timer(void)
{
	u64 hz = tsc_khz() * 1000, t = rdtsc();
	return (u32)(t / hz * PM_HZ + t % hz * PM_HZ / hz);
}

static u64 pm_read(void *dev, struct vcpu_core *v, u64 offset, u32 size)
{
	const struct vmisc *m = dev;

	(void)v;
	(void)size;
	switch (offset) {
	case PM_ENABLE_OFFSET: return m->pm1_enable;
	case PM_CONTROL_OFFSET: return PM_SCI_EN;
	case PM_TIMER_OFFSET: return pm_timer();
	default: return 0; /* status: no event ever happened */
	}
}

static void pm_write(void *dev, struct vcpu_core *v, u64 offset, u32 size, u64 value)
{
	struct vmisc *m = dev;

	if (offset == 0 && size == 4) {
		offset = PM_ENABLE_OFFSET;
		value >>= 16;
	}
	if (offset == PM_ENABLE_OFFSET)
		m->pm1_enable = (u16)value;
	else if (offset == PM_CONTROL_OFFSET && value & PM_SLP_EN && FIELD_GET(PM_SLP_TYP, value) == VMISC_SLP_TYP_S5)
		vm_end(v->vm, VM_CODE_POWEROFF, "power-off");
}

static const struct vdev_ops exit_ops = { .read = read_ones, .write = exit_write };
static const struct vdev_ops post_ops = { .read = read_ones, .write = write_nothing };
static const struct vdev_ops keyboard_data_ops = { .read = read_zero, .write = write_nothing };
static const struct vdev_ops keyboard_ops = { .read = read_zero, .write = keyboard_write };
static const struct vdev_ops pm_ops = { .read = pm_read, .write = pm_write };

int vmisc_create(struct vm *vm)
{
	static const struct { u16 port, len; const struct vdev_ops *ops; } devices[] = {
		{ NEST_EXIT_PORT, 4, &exit_ops }, { PORT_POST, 1, &post_ops }, { PORT_KBD_DATA, 1, &keyboard_data_ops },
		{ PORT_KBD_COMMAND, 1, &keyboard_ops }, { VMISC_PM1_EVENT, VMISC_PM_LEN, &pm_ops },
	};
	struct vmisc *m = page_alloc(&vm->owner);

	if (!m)
		return -ENOMEM;
	vm->misc = m;
	for (u32 i = 0; i < ARRAY_SIZE(devices); i++) {
		int err = vdev_add(&vm->pio, devices[i].port, devices[i].len, devices[i].ops, m);
		if (err)
			return err;
	}
	return vpic_init(vm, &m->pic);
}

void vmisc_destroy(struct vm *vm)
{
	if (vm->misc)
		page_free(&vm->owner, vm->misc);
	vm->misc = NULL;
}
