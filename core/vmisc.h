/*
 * The small devices of a VM: exit port, ACPI fixed hardware, reset, keyboard controller, 8259 pair, port 80h.
 */
#ifndef CORE_VMISC_H
#define CORE_VMISC_H

#include "core/vm.h"

/* ACPI fixed hardware; vacpi.c describes it to the guest. */
#define VMISC_PM1_EVENT 0x600   /* status, enable: 2 bytes each */
#define VMISC_PM1_CONTROL 0x604 /* 2 bytes */
#define VMISC_PM_TIMER 0x608    /* 4 bytes, 3.579545 MHz */
#define VMISC_PM_LEN 12
#define VMISC_SLP_TYP_S5 5
#define VMISC_SCI 9             /* I/O APIC pin; never raised */
#define VMISC_RESET_PORT 0xcf9
#define VMISC_RESET_VALUE 6

/* What vm_end gets as exit code from power-off and from a reset (a VM is not started again). */
#define VM_CODE_POWEROFF 0
#define VM_CODE_RESET 0xfe

/* Create all and claim the ports. 0, -ENOMEM. */
int vmisc_create(struct vm *vm) __must_check;
void vmisc_destroy(struct vm *vm);
/* A write to the reset control register CF9h, which lies among the PCI ports. */
void vmisc_reset_control(struct vm *vm, u8 value);

/* ---- vpic.c: a pair of 8259s that can be programmed and never interrupt ---- */
struct vpic_chip {
	spinlock_t lock;
	u8 mask;
	u8 icw;      /* initialisation word that is expected next, 0 = none */
	bool needs_icw4, single;
};
struct vpic { struct vpic_chip master, slave; };
int vpic_init(struct vm *vm, struct vpic *p) __must_check;

#endif
