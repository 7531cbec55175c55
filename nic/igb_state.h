/*
 * A VF's state as it is saved: what can move into another VF of an 82576.
 *
 * Invariant: a state that igb_state_valid accepts, put into any stopped VF, reaches that VF's own registers only and is read back the same.
 */
#ifndef NIC_IGB_STATE_H
#define NIC_IGB_STATE_H

#include "core/abi.h"
#include "core/types.h"
#include "nic/igb_regs.h"

#define IGB_VF_QUEUES (IGB_QUEUES / IGB_POOLS)
#define IGB_VF_RINGS (2 * IGB_VF_QUEUES) /* receive 0 and 1, then transmit 0 and 1 */

/* What is kept aside while a VF is stopped. */
struct igb_kept {
	u8 enabled;               /* bit r: ring r was enabled */
	u8 causes;                /* interrupts that were unmasked */
	u16 head[IGB_VF_RINGS];   /* stopping a queue may reset its head */
};

/* struct nest_nic_state.body of family 1, version 1. Registers as the VF sees them; bits without a meaning are 0. */
struct igb_ring_state {
	u64 base, head_wb;        /* head_wb: transmit only */
	u32 len, head, tail, dctl, dca, srrctl; /* dctl: ENABLE as it was before the stop; srrctl: receive only */
};
struct igb_state {
	struct igb_ring_state ring[IGB_VF_RINGS];
	u32 vtivar, vtivar_misc, eitr[IGB_VF_VECTORS], eiac, eiam, eims;
	u32 psrtype;
	u32 v2p, clear_to_send, mbx[IGB_MBX_WORDS];
	u32 flags;                /* NEST_CONF_FLAG_ALL_GROUPS */
	u32 rate;                 /* Mb/s */
	u32 nr_hashes;            /* asked for through the mailbox */
	u16 hash[IGB_MBX_MAX_HASHES];
	u8 reserved[172];
};
_Static_assert(sizeof(struct igb_ring_state) == 40, "saved state");
_Static_assert(offsetof(struct igb_state, vtivar) == 160 && offsetof(struct igb_state, mbx) == 204, "saved state");
_Static_assert(offsetof(struct igb_state, hash) == 280, "saved state");
_Static_assert(sizeof(struct igb_state) == sizeof(((struct nest_nic_state *)0)->body), "saved state");

/* Nothing but what a VF can hold. */
bool igb_state_valid(const struct igb_state *s) __must_check;

#endif
