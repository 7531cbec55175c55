/*
 * The VM's COM1: a 16550A at ports 3F8h-3FFh, interrupt on I/O APIC pin 4, output to the console, input from the monitor.
 */
#ifndef CORE_VUART_H
#define CORE_VUART_H

#include "core/vm.h"

#define VUART_PORT 0x3f8
#define VUART_IRQ 4

/* Create it and claim its ports; vm->ioapic exists. 0, -ENOMEM. */
int vuart_create(struct vm *vm) __must_check;
void vuart_destroy(struct vm *vm);
/* Print what the VM left of a line. Any CPU. */
void vuart_flush(struct vm *vm);

/* Characters for the VM to read, all or none. 0, -ENOSPC (it has not read what came before). Any CPU. */
int vuart_input(struct vm *vm, const char *text, u32 len) __must_check;

#endif
