/*
 * Spinlocks and the one lock order.
 *
 * Order (take left before right): report -> hypercall record -> vm list -> nic port -> igb PF -> iommu -> vm memory (EPT) ->
 * nic interrupt -> irq vectors -> mapping window -> page allocator -> PCI config -> console. The interrupt lock of a port is
 * held while its interrupt is posted, never across a call of the lower link; the pool of port books is a leaf. Hypervisor code
 * runs with interrupts off, so locks never nest with handlers.
 */
#ifndef CORE_SPINLOCK_H
#define CORE_SPINLOCK_H

#include "core/types.h"
#include "core/x86.h"

typedef struct { u32 held; } spinlock_t;
#define SPINLOCK_INIT { 0 }

static inline void spin_lock(spinlock_t *l)
{
	while (__atomic_exchange_n(&l->held, 1, __ATOMIC_ACQUIRE))
		while (READ_ONCE(l->held))
			cpu_relax();
}
static inline void spin_unlock(spinlock_t *l) { __atomic_store_n(&l->held, 0, __ATOMIC_RELEASE); }

#endif
