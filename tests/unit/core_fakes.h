/* What the VM objects of core/ stand on, for unit tests: memory that can run out, a console that keeps what was said. */
#ifndef TESTS_UNIT_CORE_FAKES_H
#define TESTS_UNIT_CORE_FAKES_H

#include "core/mem.h"

extern char fake_console[1 << 18]; /* all log lines, reports and VM output so far */
extern u64 fake_free_bytes;      /* what mem_free_bytes() says */
extern s64 fake_allocs_left;     /* then pages_alloc() fails; negative: no limit */
extern u64 fake_outer_calls, fake_outer_nr, fake_outer_a0; /* calls to the outer: number of them, and the last */
extern bool fake_outer;          /* there is one */
extern u8 fake_record[PAGE_SIZE];
void fakes_reset(void);

#endif
