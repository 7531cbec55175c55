/*
 * The ACPI tables that a guest finds.
 */
#ifndef CORE_VACPI_H
#define CORE_VACPI_H

#include "core/vm.h"

#define VACPI_BASE 0xf0000ull /* RSDP first, all tables within the next page; reserved in the guest's memory map */
#define VACPI_LEN PAGE_SIZE
#define VACPI_RSDP_LEN 36u
#define VACPI_RSDP_V1_LEN 20u /* the part that ACPI 1.0 defined */

/* Make the page of tables as it is to lie at VACPI_BASE. Pure. */
void vacpi_make(u8 page[VACPI_LEN], u32 nr_cpus);
/* Write the tables into the VM's RAM. 0, -ENOMEM. */
int vacpi_create(struct vm *vm) __must_check;

#endif
