/*
 * The ground of the nested engine's unit tests: what core/mem.h, core/vm_mem.h and vmx/ept.h promise, on the host's own memory.
 */
#ifndef TESTS_UNIT_NESTED_RAM_H
#define TESTS_UNIT_NESTED_RAM_H

#include "tests/unit/nested_hw.h"

extern u64 host_direct_map_base; /* 0: physical addresses are the test's own */
extern s64 pages_left;           /* then the VM's limit is reached; negative: none */
extern u32 ept_flushes;

#endif
