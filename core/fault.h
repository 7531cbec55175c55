/*
 * Injected failures: every step that can fail names a point, and a test makes one of them fail once (HC_FAULT, core/abi.h).
 *
 *   if (fault_point("igb: VF attach"))
 *           return -EIO;
 *
 * Invariant: all points of the image lie in one linker section, in link order, so that their number is what the tests must cover;
 * unless the configuration says fault_injection = on, none can be armed.
 */
#ifndef CORE_FAULT_H
#define CORE_FAULT_H

#include "core/types.h"

/* Aligned to its size: compilers align larger objects as they like, and the section is to be an array. */
struct fault_point { const char *name; u64 reached, fired; } __aligned_to(32);
_Static_assert(sizeof(struct fault_point) == 32, "no gap between two points, whatever the compiler's alignment");

/* True if this point shall fail now. Any CPU. */
#define fault_point(what) ({ \
	static struct fault_point point_ __attribute__((section("fault_points"), used)) = { .name = what }; \
	fault_hit(&point_); })
bool fault_hit(struct fault_point *p);

/* Allow arming (configuration); bind HC_FAULT. */
void fault_init(bool allowed);

#endif
