/*
 * Spinlocks and the one lock order. Take left before right; a lock may be taken without those before it, and of one kind only one at a time.
 *
 *   report -> VM list -> PCI bus of a VM -> vnet ctrl -> nic port -> VM memory (EPT, vm.lock)
 *   nic port -> igb PF -> igb data        PF and routes; its rings and the moment of a switch
 *   nic port -> vnet tx -> the link's data lock: igb data | upstream rx -> upstream tx
 *   the link's data lock -> vnet rx -> vnet irq
 *   vnet ctrl | nic port -> extender control -> igb PF | the link's data lock    it starts, stops, filters the link, sends control frames
 *   the link's data lock -> extender inbox
 *   nic port -> nic interrupt             while it is posted, never across a call of the lower link
 *   nic port -> UART of a VM -> I/O APIC of a VM     vm_end prints what is left of a line
 *   any of them -> iommu -> page allocator, PCI config
 *   mapping window -> page allocator
 *
 * Leaves: interrupt vectors, inboxes of extenders, address spaces of virtual devices, pool of ports, 8259, run queues, slots of guests' timers, self-armed posting, page allocator, PCI
 * config; and the console, under any.
 *
 * What is only tried (port_try_enter) may be tried under anything: so vnet ctrl and upstream rx reach the port when something changed further
 * out, also under an extender's control, which the boot CPU's handler only tries in turn. vnet ctrl calls start, stop and rx_filter of the
 * link, which take igb PF, igb data, upstream rx and tx, and before these an extender's control if there is one; kicks come under the PCI bus
 * (capability PCI_CFG, bus mastering) or under nothing. vm_arch->msi takes no lock.
 *
 * Hypervisor code runs with interrupts off, so locks never nest with handlers.
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
/* Take it only if it is free. */
static inline bool __must_check spin_try(spinlock_t *l) { return !__atomic_exchange_n(&l->held, 1, __ATOMIC_ACQUIRE); }
static inline void spin_unlock(spinlock_t *l) { __atomic_store_n(&l->held, 0, __ATOMIC_RELEASE); }

#endif
