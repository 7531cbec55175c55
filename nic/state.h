/*
 * The saved state of a port's function as it travels (struct nest_nic_state): its envelope, the same for every family.
 *
 * Invariant: a record that nic_state_check accepts is one that nic_state_seal has closed, unaltered; what its body says is
 * still to be checked by the family.
 */
#ifndef NIC_STATE_H
#define NIC_STATE_H

#include "core/abi.h"
#include "core/types.h"

/* Fill in magic, version, length and checksum; everything unused is zero already. */
void nic_state_seal(struct nest_nic_state *s);
/* 0, -EINVAL: altered, another version, reserved fields not zero. */
int nic_state_check(const struct nest_nic_state *s) __must_check;

#endif
